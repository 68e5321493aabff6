import json

import numpy as np
import pandas as pd
import pytest

from aekit.brains.tabular import writing
from aekit.core.checkpoint import read_header

pytestmark = pytest.mark.slow  # each trains, draws or starts the program


@pytest.fixture(scope="module")
def people():
    """Return a table of 90 participants at two sites, with six regions that shrink with age."""
    random = np.random.default_rng(3)
    ages = random.uniform(20, 80, 90).round(2)
    site = np.array(["Oslo", "Bern"])[np.arange(90) % 2]
    values = 60 + np.outer(ages, [-0.2, -0.15, -0.1, 0.1, 0.15, 0.2]) + random.normal(size=(90, 6))
    values += 3.0 * (site == "Bern")[:, None]
    regions = {f"roi_{number}": values[:, number].round(5) for number in range(6)}
    sex = np.where(random.random(90) < 0.5, "F", "M")
    split = np.where(np.arange(90) < 60, "train", np.where(np.arange(90) < 75, "val", "test"))
    ids = [f"p{row:03}" for row in range(90)]
    return pd.DataFrame({"participant_id": ids, "age": ages, "sex": sex, "site": site, "split": split, **regions})


@pytest.fixture
def learn(aekit, people, tmp_path, monkeypatch):
    """Return a function that trains on columns without figures, which take most of the time."""
    monkeypatch.setattr(writing, "write_feature_figures", lambda *arguments: None)
    monkeypatch.setattr(writing, "write_site_figure", lambda *arguments: None)

    def run(*options, table=people, output="m", columns="roi_*"):
        path = tmp_path / "people.csv"
        table.to_csv(path, index=False)
        given = () if columns is None else ("--features", columns, "--no-volumes")
        return aekit("mri-train", path, *given, *options, "-o", tmp_path / f"{output}.safetensors")

    return run


def refused(result, code):
    assert result.exit_code == code, result.stderr
    assert result.stdout == ""
    return result.stderr.splitlines()[-1].removeprefix("aekit: ")


def ages_of(path, model, split):
    table = pd.read_csv(path.with_suffix(".predictions.csv"))
    own = table[(table["model"] == model) & (table["split"] == split)]
    return own.set_index("participant_id")["prediction"]


def test_it_writes_models_tables_and_figures_and_prints_only_the_path(aekit, people, tmp_path):
    people.to_csv(tmp_path / "people.csv", index=False)
    path = tmp_path / "out" / "m.safetensors"
    options = ("--features", "roi_*", "--no-volumes", "--cv", 3, "--combat", "-o", path)
    result = aekit("mri-train", tmp_path / "people.csv", *options)
    assert (result.exit_code, result.stdout) == (0, f"{path}\n")
    names = {path.name, *(path.with_suffix(suffix).name for suffix in writing.COMPANIONS)}
    assert {one.name for one in path.parent.iterdir()} == names
    probe = pd.read_csv(path.with_suffix(".site-probe.csv")).set_index("features")
    assert probe.loc["features", "accuracy"] > 0.9
    assert probe.loc["features after ComBat", "accuracy"] < 0.7
    features = pd.read_csv(path.with_suffix(".features.csv"))
    assert features["feature"].tolist() == [f"roi_{number}" for number in range(6)]
    assert np.sign(features["r_age"]).tolist() == [-1, -1, -1, 1, 1, 1]


@pytest.mark.parametrize("options", [(), ("--combat",), ("--controls", "sex=F")])
def test_new_ages_are_those_of_the_training_for_the_same_held_out_participants(aekit, learn, tmp_path, options):
    path = learn("--test-split", "split", *options).paths[0]
    result = aekit("mri-predict", path, "--table", tmp_path / "people.csv", "-o", tmp_path / "new.csv")
    assert result.exit_code == 0, result.stderr
    table = pd.read_csv(tmp_path / "new.csv").set_index("participant_id")
    columns = {"ridge-features": "ridge_features_age_years", "gp-features": "gp_features_age_years"}
    for model, column in columns.items():
        known = ages_of(path, model, "test")
        np.testing.assert_allclose(table.loc[known.index, column], known, rtol=1e-7)
    best = read_header(path).result["best_age_model"]
    assert set(table["model"]) == {best}
    np.testing.assert_allclose(table["delta"], table["age_years"] - table["true_age_years"], atol=1e-6)


def test_cross_validation_controls_and_json_are_as_with_scans(learn):
    result = learn("--cv", "site", "--controls", "sex=F", "--json")
    values = json.loads(result.stdout)
    assert values["split"] == "cv"
    assert {row["model"] for row in values["metrics"]} >= {"mean", "median", "ridge-features", "gp-features", "stack"}
    assert {row["model"] for row in values["deltas"]} == {"ridge-features", "gp-features"}


def test_a_finished_run_is_left_alone_and_never_replaced_unasked(learn):
    path = learn("--cv", 3).paths[0]
    before = path.read_bytes()
    assert "already exists" in refused(learn("--cv", 3), 1)
    assert learn("--cv", 3, "--resume").exit_code == 0
    assert path.read_bytes() == before
    assert "cv 3, not 4" in refused(learn("--cv", 4, "--resume"), 1)
    assert "features" in refused(learn("--cv", 3, "--resume", columns="roi_1"), 1)
    assert learn("--cv", 3, "--overwrite").exit_code == 0
    assert path.read_bytes() == before


def test_resume_refuses_another_table_of_the_same_name(learn, people):
    learn("--cv", 3)
    for column, value in (("age", 44.0), ("roi_3", 0.5)):
        changed = people.assign(**{column: people[column].where(people.index != 5, value)})
        said = refused(learn("--cv", 3, "--resume", table=changed), 1)
        assert said.endswith(
            "m.safetensors: was trained on another version of the table; use another --output or --overwrite"
        )
    assert learn("--cv", 3, "--resume").exit_code == 0


@pytest.mark.parametrize(
    ("options", "columns", "said"),
    [
        ((), None, "--volumes: is missing; give a folder of scans, or learn from columns"),
        (("--no-volumes",), None, "--volumes: is missing"),
        (
            ("--features", "roi_*"),
            None,
            "--features: learns from columns of the table, without scans; add",
        ),
        (("--volumes", "."), "roi_*", "--volumes, --no-volumes: contradict each other"),
        (("--volumes", ".", "--features", "roi_*"), None, "--features: columns and scans are not combined"),
        (("--volumes", ".", "--combat"), None, "--combat: removes the effects of sites from columns"),
        ((), " , ", "--features: is empty"),
        (("--size", "32", "--direct"), "roi_*", "--direct, --size: are for scans and networks; leave out with"),
        (("--seeds", "3"), "roi_*", "--seeds: is for scans and networks"),
        (("--hypotheses",), "roi_*", "--hypotheses: is for scans and networks"),
        (("--device", "cuda"), "roi_*", "--device cuda: models of columns are fitted on the CPU"),
    ],
)
def test_options_that_contradict_each_other_are_refused_with_the_way_out(learn, options, columns, said):
    assert said in refused(learn(*options, columns=columns), 2)


@pytest.mark.parametrize(
    ("change", "columns", "options", "said"),
    [
        (lambda t: t, "age,roi_*", (), "age of people.csv cannot be a feature: it is what is learned"),
        (lambda t: t.assign(months=t["age"] * 12), "roi_*,months", (), "months follows from the age"),
        (lambda t: t, "thick_*", (), "no column of people.csv fits thick_*"),
        (lambda t: t.assign(roi_0=np.nan), "roi_0", (), "roi_0 of people.csv cannot be a feature: it has no values"),
        (lambda t: t.drop(columns="age"), "roi_*", (), "age"),
        (lambda t: t.assign(age=40.0), "roi_*", (), "all ages are 40; there is nothing to learn"),
        (lambda t: t.head(6), "roi_*", ("--cv", 2), "at least 10 are needed"),
        (lambda t: t.drop(columns="site"), "roi_*", ("--combat",), "has no column site; name the column with --site"),
        (lambda t: t, "roi_*", ("--drop-outliers",), "--drop-outliers: outliers are defined by tissue volumes"),
        (lambda t: t, "roi_*", ("--test-split", "roi_1"), "no column that fits|--test-split|roi_1"),
    ],
)
def test_tables_that_nothing_can_be_learned_from_are_refused_by_name(learn, people, change, columns, options, said):
    line = refused(learn(*options, table=change(people), columns=columns), 1)
    assert any(part in line for part in said.split("|")), line


@pytest.fixture
def model(learn):
    return learn("--test-split", "split", "--combat").paths[0]


@pytest.fixture
def apply(aekit, model, tmp_path):
    def run(table, *options):
        table.to_csv(tmp_path / "new.tsv", sep="\t", index=False)
        return aekit("mri-predict", model, "--table", tmp_path / "new.tsv", *options, "-o", tmp_path / "new.csv")

    return run


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.drop(columns=["roi_1", "roi_4"]), "needs roi_1, roi_4, which new.tsv lacks; add what is missing"),
        (
            lambda t: t.assign(roi_9=t["roi_0"] * 2),
            "trained on the columns roi_*, without roi_9, which new.tsv has",
        ),
        (lambda t: t.assign(roi_2="high"), "needs numbers in new.tsv, not roi_2 (it is not numeric)"),
        (
            lambda t: t.assign(roi_2=["1.5g", *t["roi_2"][1:]]),
            "needs numbers in new.tsv, not roi_2 (it has text: 1.5g (p000))",
        ),
        (lambda t: t.assign(roi_2=t["roi_2"] * 1000), "other units than those of the training: roi_2 (x 1e+03)"),
        (lambda t: t.assign(roi_2=np.nan), "needs features that nobody in new.tsv has all of"),
    ],
)
def test_new_tables_with_other_columns_are_refused_by_name(apply, people, change, said):
    assert said in refused(apply(change(people)), 1)


def test_new_participants_need_no_age_and_may_lack_a_feature(apply, people, tmp_path):
    table = people.tail(20).drop(columns=["age", "split"]).reset_index(drop=True)
    table.loc[3, "roi_2"] = np.nan
    result = apply(table)
    assert result.exit_code == 0, result.stderr
    assert "1 participant not predicted: p073 (no value of roi_2)" in " ".join(result.stderr.split())
    found = pd.read_csv(tmp_path / "new.csv")
    assert found["participant_id"].tolist() == table["participant_id"].tolist()
    assert found["age_years"].isna().tolist() == [row == 3 for row in range(20)]
    assert found.loc[3, "reason"] == "no value of roi_2"
    assert found["delta"].isna().all()


def test_values_far_from_training_are_marked_and_have_no_intervals(apply, people, tmp_path):
    table = people.tail(20).reset_index(drop=True)
    table.loc[0, "roi_2"] = 1e4
    result = apply(table)
    found = pd.read_csv(tmp_path / "new.csv")
    assert found["unlike_training"].tolist() == ["yes"] + ["no"] * 19
    assert found["age_years_low"].isna().tolist() == [True] + [False] * 19
    assert "values outside of the training range: roi_2 10000" in found.loc[0, "warnings"]
    assert "1 of 20 participants is unlike those of the training" in " ".join(result.stderr.split())


def test_the_effects_of_unknown_sites_stay_and_are_said(apply, people, tmp_path):
    table = people.tail(20).assign(site=["Oslo"] * 17 + ["Rome"] * 2 + [""])
    result = apply(table)
    said = " ".join(result.stderr.split())
    assert "did not know the site: Rome (2), without a site (1); it knew Bern, Oslo" in said
    assert pd.read_csv(tmp_path / "new.csv")["unlike_training"].tolist() == ["no"] * 17 + ["yes"] * 3


def test_new_participants_without_a_sex_are_counted_if_effects_of_sites_depend_on_it(apply, people):
    said = " ".join(apply(people.assign(sex=["", *people["sex"][1:]])).stderr.split())
    assert "1 participant without a sex: effects of sites are removed as half way between female and male" in said


def test_columns_that_together_tell_the_age_are_said(learn, people):
    born = 1990 + 40 * np.random.default_rng(0).normal(size=len(people))
    result = learn("--cv", 3, table=people.assign(born=born, scanned=born + people["age"]), columns="born,scanned")
    said = " ".join(result.stderr.split())
    assert "the features explain 100.0 % of the variance of held-out ages, more than any brain does" in said
    assert "more than any brain" not in learn("--cv", 3, output="other").stderr


def test_a_reference_recalibrates_ages_of_another_scanner(apply, people, tmp_path):
    table = people.copy()
    table["roi_0"] += 4.0
    plain = apply(table)
    assert plain.exit_code == 0
    before = pd.read_csv(tmp_path / "new.csv")
    table.head(40).to_csv(tmp_path / "controls.csv", index=False)
    result = apply(table, "--reference", tmp_path / "controls.csv", "--json")
    after = pd.read_csv(tmp_path / "new.csv")
    assert after["reference"].tolist() == ["yes"] * 40 + ["no"] * 50
    assert set(json.loads(result.stdout)["recalibrated"]) >= {"ridge-features", "gp-features"}
    rest = slice(40, None)
    assert np.abs(after["delta"][rest]).mean() < np.abs(before["delta"][rest]).mean()


def test_a_checkpoint_of_columns_is_refused_where_scans_are_needed_and_the_reverse(aekit, model, tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(b"")
    line = refused(aekit("mri-predict", model, tmp_path / "a.nii.gz"), 2)
    assert "learned from columns of a table, not from scans; give --table alone" in line
    assert "--table: is missing" in refused(aekit("mri-predict", model), 2)
    line = refused(aekit("mri-explain", model, tmp_path / "a.nii.gz", "-o", tmp_path / "e"), 1)
    assert "holds models of columns of a table" in line


def test_a_damaged_checkpoint_is_refused_by_name(apply, model, people):
    content = bytearray(model.read_bytes())
    content[-3] ^= 0xFF
    model.write_bytes(bytes(content))
    assert "damaged" in refused(apply(people), 1)


@pytest.mark.parametrize("is_new", [False, True])
def test_the_gap_of_columns_is_tested_against_others_of_the_table(aekit, apply, model, people, tmp_path, is_new):
    table = people.assign(score=(people["age"] * 7 % 3).round(3))
    table.to_csv(tmp_path / "scores.csv", index=False)
    assert apply(table).exit_code == 0
    gaps = tmp_path / "new.csv" if is_new else model.with_suffix(".predictions.csv")
    result = aekit("mri-associate", gaps, tmp_path / "scores.csv", "--with", "score", "-o", tmp_path / "gap")
    assert result.exit_code == 0, result.stderr
    assert "-features" in " ".join(result.stderr.split())


def test_info_and_report_read_it(aekit, model, tmp_path):
    result = aekit("info", model)
    assert result.exit_code == 0
    assert "ridge-features" in result.stderr + result.stdout
    assert aekit("report", model.parent, "-o", tmp_path / "report.html").exit_code == 0
