"""Cohorts at the level of tables: predicted age = true age + trend + what was planted + noise."""

import json

import numpy as np
import pandas as pd
import pytest

from aekit.plotting.png import read_parameters

HEADER = "participant_id,split,model,target,truth,prediction\n"
FAST = ("--permutations", 199)


def make_cohort(folder, n=90, *, seed=0, effect=5.0):
    """Write predictions of mri-train and a table of participants; return both paths and the table."""
    random = np.random.default_rng(seed)
    age = random.uniform(20, 80, n).round(1)
    patient = np.arange(n) % 3 == 0
    table = pd.DataFrame(
        {
            "participant_id": [f"sub-{number:03}" for number in range(n)],
            "age": age,
            "sex": random.choice(["F", "M"], n),
            "site": random.choice(["A", "B"], n),
            "diagnosis": np.where(patient, "patient", "control"),
            "mmse": (29 - 2 * patient + random.normal(0, 1, n)).round(1),
            "gmv": (800 - 3 * age - 10 * patient + random.normal(0, 40, n)).round(2),
            "wmv": (500 + random.normal(0, 30, n)).round(2),
            "csfv": (200 + 2 * age + random.normal(0, 20, n)).round(2),
        }
    )
    delta = 6 - 0.12 * age + effect * patient + random.normal(0, 4, n)
    parts = []
    for model, more in (("mean", 20.0), ("chain", 0.0), ("direct", 3.0)):
        prediction = age + delta + random.normal(0, 1, n) * more
        own = {"participant_id": table["participant_id"], "split": "cv", "fold": 0, "model": model}
        parts.append(pd.DataFrame({**own, "target": "age_years", "truth": age, "prediction": prediction}))
    parts.append(parts[0].assign(target="gmv_ml", truth=700.0, prediction=690.0))
    predictions = pd.concat(parts)
    predictions["delta"] = predictions["prediction"] - predictions["truth"]
    predictions.to_csv(folder / "brain.predictions.csv", index=False)
    table.to_csv(folder / "people.tsv", sep="\t", index=False)
    return folder / "brain.predictions.csv", folder / "people.tsv", table


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return make_cohort(tmp_path_factory.mktemp("cohort"))


@pytest.fixture(scope="module")
def done(aekit, cohort):
    predictions, people, _ = cohort
    options = ("--with", "diagnosis,mmse", "--controls", "diagnosis=control", *FAST, "--json")
    result = aekit("mri-associate", predictions, people, *options)
    assert result.exit_code == 0, result.stderr
    return result, pd.read_csv(predictions.with_name("brain.predictions.associate.csv"))


def _one(table, measure, covariate):
    return table[(table["measure"] == measure) & (table["covariate"] == covariate)].iloc[0]


def test_the_planted_difference_is_in_its_interval_and_all_numbers_agree(done):
    row = _one(done[1], "gap", "diagnosis")
    assert row["contrast"] == "patient - control"
    assert (row["n"], row["n_group"], row["n_reference"]) == (90, 30, 60)
    assert row["low"] < 5 < row["high"]
    assert row["d"] == pytest.approx(row["estimate"] / 4, rel=0.3)  # the noise has an SD of 4
    assert row["auc_low"] > 0.5
    assert row["p"] < 0.001
    assert row["p_permutation"] == pytest.approx(1 / 200)
    assert _one(done[1], "gap", "mmse")["r"] < -0.2


def test_the_difference_is_the_mean_distance_from_the_trend_of_the_controls(done, cohort):
    # With age alone in the model: regression in the controls, applied to the patients. Here sex and site are shared.
    predictions, _, table = cohort
    chain = pd.read_csv(predictions).query("model == 'chain' and target == 'age_years'")
    delta = (chain["prediction"] - chain["truth"]).to_numpy()
    age, control = table["age"].to_numpy(), (table["diagnosis"] == "control").to_numpy()
    coded = [(table[name] == value).to_numpy(float) for name, value in (("sex", "M"), ("site", "B"))]
    away = age - np.where(control, age[control].mean(), age[~control].mean())
    columns = [np.ones(90), ~control, age, ~control * away, *coded]
    solution = np.linalg.lstsq(np.column_stack(columns).astype(float), delta, rcond=None)[0]
    assert _one(done[1], "gap", "diagnosis")["estimate"] == pytest.approx(solution[1], rel=1e-6)


def test_patients_have_no_part_in_the_age_trend(aekit, tmp_path):
    # The gap of patients grows with age, and they are old: a shared slope would take part of the difference away.
    predictions, people, table = make_cohort(tmp_path, effect=0.0)
    frame = pd.read_csv(predictions)
    frame = frame[(frame["model"] == "chain") & (frame["target"] == "age_years")]
    patient, age = (table["diagnosis"] == "patient").to_numpy(), table["age"].to_numpy()
    frame["prediction"] = age + 3 - 0.1 * age + patient * 0.2 * (age - 20)  # no noise
    frame["truth"] = age
    frame.to_csv(predictions, index=False)
    options = ("--with", "diagnosis", "--adjust", "age", "--permutations", 0, "-o", tmp_path / "out.csv", "-q")
    aekit("mri-associate", predictions, people, *options, "--controls", "diagnosis=control")
    row = pd.read_csv(tmp_path / "out.csv").iloc[0]
    assert row["estimate"] == pytest.approx((0.2 * (age[patient] - 20)).mean(), rel=1e-6)


def test_volumes_go_through_the_same_tests_and_the_gap_given_them_is_an_increment(done):
    table = done[1]
    fractions = [f"{name} fraction" for name in ("gmv", "wmv", "csfv")]
    assert list(dict.fromkeys(table["measure"])) == ["gap", "gap given volumes", "gmv", "wmv", "csfv", *fractions]
    assert _one(table, "gmv", "diagnosis")["unit"] == "mL"
    # The gap was planted independently of the volumes, so they take nothing of it away.
    gap, given = (_one(table, name, "diagnosis") for name in ("gap", "gap given volumes"))
    assert given["estimate"] == pytest.approx(gap["estimate"], abs=1.0)


def test_each_measure_is_corrected_for_its_own_tests(done):
    for _, own in done[1].groupby("measure"):
        assert (own["p_holm"] >= own["p_fdr"] - 1e-12).all()
        assert own["p_holm"].min() == pytest.approx(min(1, own["p"].min() * len(own)), rel=1e-6)


def test_the_better_network_is_chosen_by_its_error_of_age(done, aekit, cohort, tmp_path):
    result, _ = done
    assert json.loads(result.stdout)["model"] == "chain"
    assert "gap of chain, the smaller MAE of" in result.stderr
    options = ("--with", "mmse", "--model", "direct", *FAST, "--json", "-o", tmp_path)
    assert json.loads(aekit("mri-associate", *cohort[:2], *options).stdout)["model"] == "direct"
    refused = aekit("mri-associate", *cohort[:2], "--with", "mmse", "--model", "chian")
    assert refused.exit_code == 1
    assert "did you mean 'chain'?" in refused.stderr


def test_figure_and_paragraph_are_next_to_the_table_and_have_its_numbers(done, cohort):
    table = cohort[0].with_name("brain.predictions.associate.csv")
    parameters = read_parameters(table.with_suffix(".png").read_bytes())
    assert parameters["controls"] == "diagnosis=control"
    text = table.with_suffix(".md").read_text()
    row = _one(done[1], "gap", "diagnosis")
    assert f"{row['estimate']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}] years" in text
    assert "the age trend of the 60 controls alone" in text


@pytest.mark.slow
def test_the_same_command_gives_the_same_bytes(aekit, cohort, tmp_path):
    for name in ("a", "b"):
        aekit("mri-associate", *cohort[:2], "--with", "diagnosis,mmse", *FAST, "-o", tmp_path / name / "x.csv", "-q")
    for suffix in ("csv", "md", "png"):
        assert (tmp_path / "a" / f"x.{suffix}").read_bytes() == (tmp_path / "b" / f"x.{suffix}").read_bytes()


@pytest.mark.slow
def test_more_than_two_groups_have_a_test_of_all_and_one_each_against_the_reference(aekit, cohort, tmp_path):
    predictions, _, table = cohort
    own = table.assign(apoe=np.resize(["e2", "e3", "e3", "e4"], len(table)))
    own.to_csv(tmp_path / "own.csv", index=False)
    options = ("--with", "apoe", *FAST, "-o", tmp_path / "out.csv", "-q")
    aekit("mri-associate", predictions, tmp_path / "own.csv", *options)
    found = pd.read_csv(tmp_path / "out.csv").query("measure == 'gap'")
    assert found["contrast"].tolist() == ["any difference", "e2 - e3", "e4 - e3"]
    assert found["estimate"].isna().tolist() == [True, False, False]
    aekit("mri-associate", predictions, tmp_path / "own.csv", *options, "--reference", "apoe=e2")
    other = pd.read_csv(tmp_path / "out.csv").query("measure == 'gap'")
    assert other["contrast"].tolist() == ["any difference", "e3 - e2", "e4 - e2"]
    assert other["statistic"].iloc[0] == pytest.approx(found["statistic"].iloc[0])
    assert other["estimate"].iloc[1] == pytest.approx(-found["estimate"].iloc[1])


def test_missing_values_and_rows_in_one_file_alone_are_counted_and_named(aekit, cohort, tmp_path):
    predictions, _, table = cohort
    own = table.astype({"mmse": object})
    own.loc[[1, 4, 7], "mmse"] = "n/a"
    own.loc[89, "participant_id"] = "stranger"
    own.to_csv(tmp_path / "own.csv", index=False)
    result = aekit("mri-associate", predictions, tmp_path / "own.csv", "--with", "mmse", *FAST, "-o", tmp_path)
    assert result.exit_code == 0, result.stderr
    row = _one(pd.read_csv(tmp_path / "brain.predictions.associate.csv"), "gap", "mmse")
    assert (row["n"], row["missing"]) == (86, "mmse 3")
    assert "1 row of own.csv without a prediction: stranger" in result.stderr
    assert "1 prediction without a row in own.csv: sub-089" in result.stderr


def test_participants_of_train_are_left_out_and_named_as_such(aekit, cohort, tmp_path):
    frame = pd.read_csv(cohort[0])
    frame.loc[frame["participant_id"] < "sub-030", "split"] = "train"
    frame.to_csv(tmp_path / "p.csv", index=False)
    result = aekit("mri-associate", tmp_path / "p.csv", cohort[1], "--with", "mmse", *FAST)
    assert "left out: train 30" in result.stderr
    assert _one(pd.read_csv(tmp_path / "p.associate.csv"), "gap", "mmse")["n"] == 60
    frame["split"] = "train"
    frame.to_csv(tmp_path / "p.csv", index=False)
    refused = aekit("mri-associate", tmp_path / "p.csv", cohort[1], "--with", "mmse")
    assert refused.exit_code == 1
    assert "no participants that were held out" in refused.stderr


def test_the_table_of_mri_predict_gives_the_same_numbers(aekit, cohort, done, tmp_path):
    chain = pd.read_csv(cohort[0]).query("model == 'chain' and target == 'age_years'")
    files = "/elsewhere/" + chain["participant_id"] + "_T1w.nii.gz"
    pd.DataFrame({"file": files, "age_years": chain["prediction"], "warnings": ""}).to_csv(
        tmp_path / "new.predicted.csv", index=False
    )
    options = ("--with", "diagnosis,mmse", "--controls", "diagnosis=control", *FAST, "-q")
    result = aekit("mri-associate", tmp_path / "new.predicted.csv", cohort[1], *options)
    assert result.exit_code == 0, result.stderr
    found = pd.read_csv(tmp_path / "new.predicted.associate.csv")
    pd.testing.assert_frame_equal(found, done[1], rtol=1e-6)
    refused = aekit("mri-associate", tmp_path / "new.predicted.csv", "--with", "mmse")
    assert "give the participants table" in refused.stderr


def test_columns_that_the_predictions_have_need_no_table(aekit, cohort, done, tmp_path):
    frame = pd.read_csv(cohort[0]).merge(cohort[2].drop(columns="age"), on="participant_id")
    frame.to_csv(tmp_path / "p.csv", index=False)
    options = ("--with", "diagnosis,mmse", "--controls", "diagnosis=control", *FAST, "-q")
    assert aekit("mri-associate", tmp_path / "p.csv", *options).exit_code == 0
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "p.associate.csv"), done[1], rtol=1e-6)


def test_without_a_table_the_volumes_are_those_that_the_predictions_were_compared_with(aekit, cohort, done, tmp_path):
    frame = pd.read_csv(cohort[0]).query("target == 'age_years'")
    table = cohort[2]
    parts = [frame.merge(table[["participant_id", "sex", "site", "diagnosis", "mmse"]], on="participant_id")]
    for name in ("gmv", "wmv", "csfv"):
        own = {"participant_id": table["participant_id"], "split": "cv", "model": "chain", "target": f"{name}_ml"}
        parts.append(pd.DataFrame({**own, "truth": table[name], "prediction": 1.0}))
    pd.concat(parts).to_csv(tmp_path / "p.csv", index=False)
    options = ("--with", "diagnosis,mmse", "--controls", "diagnosis=control", *FAST, "-q")
    assert aekit("mri-associate", tmp_path / "p.csv", *options).exit_code == 0
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "p.associate.csv"), done[1], rtol=1e-6)


def test_a_volume_or_their_sum_is_tested_with_the_gap_and_not_with_itself(aekit, cohort, tmp_path):
    table = cohort[2]
    total = (table["gmv"] + table["wmv"] + table["csfv"]).round(0)  # rounded, as tables are
    table.assign(tiv=total).to_csv(tmp_path / "t.csv", index=False)
    result = aekit("mri-associate", cohort[0], tmp_path / "t.csv", "--with", "tiv,gmv", *FAST, "-o", tmp_path / "o.csv")
    assert result.exit_code == 0, result.stderr
    found = pd.read_csv(tmp_path / "o.csv").groupby("covariate")["measure"].agg(set)
    assert "gap" in found["tiv"] & found["gmv"]
    assert "gmv" in found["tiv"]
    assert not {"gap given volumes", "gmv"} & found["gmv"]
    assert "gap given volumes" not in found["tiv"]
    assert "tiv: not tested with gap given volumes" in result.stderr


def test_columns_of_other_names_are_named(aekit, cohort, done, tmp_path):
    renamed = cohort[2].rename(columns={"participant_id": "who", "age": "years", "sex": "mf", "site": "scanner"})
    renamed.to_csv(tmp_path / "t.csv", index=False)
    options = ("--with", "diagnosis,mmse", "--controls", "diagnosis=control", *FAST, "-q", "-o", tmp_path / "o.csv")
    named = ("--id", "who", "--age", "years", "--sex", "mf", "--site", "scanner")
    result = aekit("mri-associate", cohort[0], tmp_path / "t.csv", *options, *named)
    assert result.exit_code == 0, result.stderr
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "o.csv"), done[1])


def test_two_sessions_are_compared_and_the_tests_use_the_first(aekit, cohort, tmp_path):
    frame, table = pd.read_csv(cohort[0]), cohort[2]
    random = np.random.default_rng(5)
    both, people = [], []
    for session in (1, 2):
        own = frame.assign(participant_id=frame["participant_id"] + f"_ses-{session}")
        own["prediction"] += random.normal(0, 2, len(own)) if session == 2 else 0
        both.append(own)
        people.append(table.assign(participant_id=table["participant_id"] + f"_ses-{session}"))
    pd.concat(both).to_csv(tmp_path / "p.csv", index=False)
    pd.concat(people).to_csv(tmp_path / "t.csv", index=False)
    result = aekit("mri-associate", tmp_path / "p.csv", tmp_path / "t.csv", "--with", "mmse", *FAST, "--json")
    assert "90 participants have several sessions: the tests use the first one of each" in result.stderr
    assert _one(pd.read_csv(tmp_path / "p.associate.csv"), "gap", "mmse")["n"] == 90
    found = pd.read_csv(tmp_path / "p.associate.sessions.csv").set_index("measure")
    assert found.loc["gap", "n"] == 90
    assert found.loc["gap", "sd_within"] == pytest.approx(2 / np.sqrt(2), rel=0.2)  # only the second has noise
    assert found.loc["gap", "smallest_change"] == pytest.approx(1.96 * np.sqrt(2) * found.loc["gap", "sd_within"])
    assert found.loc["predicted age", "icc"] > found.loc["gap", "icc"] > 0.8
    assert json.loads(result.stdout)["sessions"][0]["n"] == 90


@pytest.mark.parametrize("mark", [-999, 999])
def test_a_mark_of_a_missing_value_is_missing_and_said(aekit, cohort, tmp_path, mark):
    n, scores = len(cohort[2]), np.random.default_rng(3).integers(20, 30, len(cohort[2]))
    cohort[2].assign(c=[*scores[2:], mark, mark]).to_csv(tmp_path / "people.tsv", sep="\t", index=False)
    result = aekit("mri-associate", cohort[0], tmp_path / "people.tsv", "--with", "c", *FAST, "-o", tmp_path / "o.csv")
    assert result.exit_code == 0, result.stderr
    assert f"{mark} read as missing" in result.stderr
    assert _one(pd.read_csv(tmp_path / "o.csv"), "gap", "c")["n"] == n - 2


def _edit(table, kind):
    """Return the table with something wrong, the options that run into it, and what the message names."""
    n = len(table)
    edits = {
        "unknown column": (table, ("--with", "diagnosiss"), "did you mean 'diagnosis'?"),
        "far column": (table, ("--with", "zzz"), "choose one of them"),
        "constant": (table.assign(c=7), ("--with", "c"), "'c' has one value, '7'"),
        "empty column": (table.assign(c=""), ("--with", "c"), "'c' is empty"),
        "ids": (table.assign(c=[f"x{k}y" for k in range(n)]), ("--with", "c"), "'c' has 90 different values"),
        "small group": (table.assign(c=["a", "a"] + ["b"] * (n - 2)), ("--with", "c"), "a (2)"),
        "number as text": (table.assign(c=["twelve", *map(str, range(1, n))]), ("--with", "c"), "twelve"),
        "no controls": (table, ("--with", "mmse", "--controls", "diagnosis=healthy"), "only control, patient"),
        "few controls": (
            table.assign(c=["x"] * 5 + ["y"] * (n - 5)),
            ("--with", "mmse", "--controls", "c=x"),
            "at least 10",
        ),
        "control column": (table, ("--with", "mmse", "--controls", "dx=control"), "no column 'dx'"),
        "reference": (table, ("--with", "diagnosis", "--reference", "diagnosis=mci"), "no group 'mci'"),
        "confounded": (table.assign(c=table["site"]), ("--with", "c"), "cannot be told from age, sex, site"),
        "other cohort": (table.assign(participant_id=[f"P{k}" for k in range(n)]), ("--with", "mmse"), "in common"),
        "other ages": (table.assign(age=table["age"].to_numpy()[::-1]), ("--with", "mmse"), "ages differ for"),
        "adjust": (table, ("--with", "mmse", "--adjust", "age,educ"), "--adjust: people.tsv has no column 'educ'"),
    }
    return edits[kind]


KINDS = [
    *("unknown column", "far column", "constant", "empty column", "ids", "small group"),
    *("number as text", "no controls", "few controls", "control column", "reference", "confounded"),
    *("other cohort", "other ages", "adjust"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_that_cannot_answer_is_refused_in_one_line_by_column(aekit, cohort, tmp_path, kind):
    table, options, names = _edit(cohort[2], kind)
    table.to_csv(tmp_path / "people.tsv", sep="\t", index=False)
    result = aekit("mri-associate", cohort[0], tmp_path / "people.tsv", *options, "-q", "-o", tmp_path / "o.csv")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert names in result.stderr
    assert not list(tmp_path.glob("o.*"))


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("", "is empty"),
        ("participant_id,age\nsub-001,20\n", "is not a table of predictions"),
        (HEADER, "has a header and no predictions"),
        (HEADER + "sub-001,cv,chain,age_years,20,inf\n", "finite"),
        (HEADER + "sub-001,cv,chain,age_years,20\n", "line 2 has 5 fields"),
        (HEADER + "sub-001,cv,volumes,gmv_ml,20,30\n", "age_years"),
        ("file,age_years\nsub-001.nii,\n", "no predicted ages"),
        ("file,age_years\nsub-001.nii,20\nsub-001.nii,21\n", "several rows of sub-001.nii"),
        (HEADER + "sub-001,cv,chain,age_years,20,21\nsub-001,cv,chain,age_years,20,22\n", "several rows of sub-001"),
    ],
)
def test_a_file_that_is_no_table_of_predictions_is_refused_in_one_line(aekit, cohort, tmp_path, content, names):
    (tmp_path / "p.csv").write_text(content)
    result = aekit("mri-associate", tmp_path / "p.csv", cohort[1], "--with", "mmse")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert names in result.stderr
    assert str(tmp_path / "p.csv") in result.stderr


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--with", ","),
        ("--with", "mmse", "--controls", "control"),
        ("--with", "mmse", "--reference", "diagnosis!=control"),
        ("--with", "mmse", "--permutations", -1),
        ("--with", "mmse", "--age-trend", "cubic"),
    ],
)
def test_options_that_cannot_be_understood_exit_with_2(aekit, cohort, options):
    result = aekit("mri-associate", *cohort[:2], *options)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1


def test_inputs_and_files_of_a_training_are_never_replaced(aekit, cohort, tmp_path):
    for path in cohort[:2]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "people.tsv").rename(tmp_path / "people.csv")
    (tmp_path / "net.safetensors").touch()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for output in ("brain.predictions.csv", "people.csv", "net.csv", "x.txt"):
        given = (tmp_path / "brain.predictions.csv", tmp_path / "people.csv")
        result = aekit("mri-associate", *given, "--with", "mmse", "-o", tmp_path / output)
        assert result.exit_code == 1, output
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_that_the_gap_falls_with_age_is_not_shown_as_a_result(aekit, cohort, tmp_path):
    result = aekit("mri-associate", *cohort[:2], "--with", "age", "-o", tmp_path / "gap.csv", "--permutations", 0)
    assert result.exit_code == 0, result.stderr
    assert "the gap falls with age in every model" in " ".join(result.stderr.split())
