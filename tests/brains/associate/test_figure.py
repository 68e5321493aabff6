import numpy as np
import pandas as pd
import pytest

from aekit.brains.associate.analysis import build_measures, build_nuisance, run_tests
from aekit.brains.associate.covariates import read_covariate
from aekit.brains.associate.figure import plot_associations
from aekit.brains.associate.request import Request
from aekit.brains.associate.sample import Sample
from aekit.brains.cohort.expressions import parse_expression


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    random = np.random.default_rng(3)
    patient, age, score = np.arange(90) % 3 == 0, random.uniform(20, 80, 90), random.normal(27, 2, 90)
    table = pd.DataFrame({"participant_id": map(str, range(90)), "age": age, "score": score})
    table["diagnosis"] = np.where(patient, "patient", "control")
    predicted = age + 5 - 0.1 * age + 4 * patient - 0.5 * score + random.normal(0, 4, 90)
    sample = Sample("x", table, age, predicted, "chain", ~patient, {}, ())
    request = Request(
        tmp_path_factory.mktemp("p") / "p.csv",
        None,
        ("diagnosis", "score"),
        controls=parse_expression("diagnosis=control", "--controls"),
        n_permutations=0,
    )
    covariates = [read_covariate(sample, name, request) for name in request.covariates]
    nuisance, _ = build_nuisance(sample, request)
    rows = run_tests(covariates, build_measures(sample), nuisance, request, lambda *_: None)
    return rows, plot_associations(rows, nuisance, title="x")


def test_the_forest_has_the_partial_correlation_of_each_test(drawn):
    rows, figure = drawn
    forest = figure.axes[0]
    ends = [line.get_xdata() for line in forest.lines if len(line.get_xdata()) == 2 and line.get_linewidth() > 1]
    assert [tuple(pair) for pair in ends] == [(row.fitted.r.low, row.fitted.r.high) for row in rows]


def test_the_line_over_numbers_has_the_slope_of_the_model(drawn):
    rows, figure = drawn
    line = figure.axes[2].lines[1]
    x, y = line.get_xdata(), line.get_ydata()
    assert (y[1] - y[0]) / (x[1] - x[0]) == pytest.approx(rows[1].fitted.estimate.value)


def test_controls_lie_about_zero_and_every_group_names_its_number(drawn):
    rows, figure = drawn
    names = [text.get_text() for text in figure.axes[1].get_xticklabels()]
    assert names == [f"control\n({rows[0].n_reference})", f"patient\n({rows[0].n_group})"]
    points = [np.asarray(cloud.get_offsets())[:, 1] for cloud in figure.axes[1].collections]
    assert points[0].mean() == pytest.approx(0, abs=1e-9)
    assert points[1].mean() == pytest.approx(rows[0].fitted.estimate.value, rel=1e-6)
