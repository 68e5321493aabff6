"""Do intervals contain what was planted, and do tests of nothing reject as often as they say? Cohorts of tables alone.

Run as a program, it prints the fractions over many cohorts that docs/brains.md quotes.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from aekit.brains.associate.analysis import GAP, build_measures, build_nuisance, run_tests, to_table
from aekit.brains.associate.covariates import read_covariate
from aekit.brains.associate.request import Request
from aekit.brains.associate.sample import Sample
from aekit.brains.cohort.expressions import parse_expression

EFFECT = 5.0
SLOPE = -0.6


def simulate(seed, n, *, effect=EFFECT, slope=SLOPE):
    """Return a cohort whose gap has an age trend, a site effect, and what is planted; patients are older and vary more.

    The gap of patients grows with age on top, on average of them by nothing, so the trend of controls matters.
    """
    random = np.random.default_rng([seed, n])
    patient = random.random(n) < 0.3
    age = random.uniform(20, 80, n) + 5 * patient
    site = random.choice(["A", "B", "C"], n)
    score = 28 - 2 * patient - 0.03 * (age - 50) + random.normal(0, 1.5, n)
    noise = random.standard_t(6, n) * np.where(patient, 6, 4) / np.sqrt(1.5)
    gap = 6 - 0.15 * age + 2.0 * (site == "B") + effect * patient + noise
    gap += 0.1 * patient * (age - age[patient].mean()) + slope * (score - 28)
    columns = {"participant_id": [str(row) for row in range(n)], "age": age, "sex": random.choice(["F", "M"], n)}
    more = {"site": site, "diagnosis": np.where(patient, "patient", "control"), "score": score}
    null = {"other": random.normal(0, 1, n) + 0.02 * age, "coin": random.choice(["heads", "tails"], n)}
    table = pd.DataFrame({**columns, **more, **null})
    return Sample("simulated", table, age, age + gap, "chain", ~patient, {}, ())


def analyse(sample, *names, n_permutations=0, controls="diagnosis=control", adjust=None):
    """Return the tests of the gap with some columns, by name."""
    expression = parse_expression(controls, "--controls")
    request = Request(
        Path("p.csv"), None, names, controls=expression, adjust=adjust, n_permutations=n_permutations, seed=0
    )
    covariates = [read_covariate(sample, name, request) for name in names]
    nuisance, _ = build_nuisance(sample, request)
    measures = [measure for measure in build_measures(sample) if measure.name == GAP]
    return to_table(run_tests(covariates, measures, nuisance, request, lambda *_: None)).set_index("covariate")


def calibrate(n_cohorts, n, *, n_permutations=0):
    """Return how often intervals contain the truth and tests of nothing reject, as counts of ``n_cohorts``."""
    counts = dict.fromkeys(
        ["difference", "slope", "false group", "false number", "false group, permuted", "false number, permuted"], 0
    )
    for seed in range(n_cohorts):
        ill = analyse(simulate(seed, n, slope=0.0), "diagnosis").loc["diagnosis"]
        counts["difference"] += ill["low"] < EFFECT < ill["high"]
        # The score falls with diagnosis, so its slope is planted among people who are equal in that.
        adjust = ("age", "sex", "site", "diagnosis")
        score = analyse(simulate(seed, n), "score", adjust=adjust).loc["score"]
        counts["slope"] += score["low"] < SLOPE < score["high"]
        null = analyse(simulate(seed, n, effect=0.0, slope=0.0), "coin", "other", n_permutations=n_permutations)
        for name, column in (("group", "coin"), ("number", "other")):
            counts[f"false {name}"] += null.loc[column, "p"] < 0.05
            counts[f"false {name}, permuted"] += null.loc[column, "p_permutation"] < 0.05
    return counts


@pytest.mark.slow
def test_intervals_hold_and_nothing_is_found_where_nothing_is():
    counts = calibrate(100, 120, n_permutations=199)
    # Binomial: beyond these with a probability of 0.1 % each if the level is exact.
    least, most = stats.binom.ppf(0.001, 100, 0.95), stats.binom.ppf(0.999, 100, 0.05)
    for name, found in counts.items():
        assert (found <= most) if name.startswith("false") else (found >= least), (name, found)


def test_a_planted_difference_is_found_in_a_cohort_of_tables():
    found = analyse(simulate(1, 300), "diagnosis", n_permutations=199).loc["diagnosis"]
    assert found["p"] < 0.001
    assert found["p_permutation"] == pytest.approx(1 / 200)


if __name__ == "__main__":
    for n_people in (40, 120, 400):
        many = int(sys.argv[1])
        done = calibrate(many, n_people, n_permutations=199)
        print(n_people, {name: round(100 * value / many, 1) for name, value in done.items()})  # noqa: T201
