import gzip
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from aekit.brains import runs, training
from aekit.core.checkpoint import read_header

pytestmark = pytest.mark.slow  # each trains, draws or starts the program

FAST = ("--size", 8, "--spacing", 24, "--epochs", 1, "--seeds", 1, "--threads", 1, "--device", "cpu")


@pytest.fixture
def mri_train(aekit, phantom_cohort, tmp_path, monkeypatch):
    """Return a function that trains on phantoms briefly, without figures, which take most of the time."""
    monkeypatch.setattr(runs, "write_figures", lambda *arguments: None)
    monkeypatch.setattr(training, "AGE_EPOCHS", (1, 5))

    def run(*options, table=phantom_cohort / "participants.tsv", volumes=phantom_cohort / "volumes", output="m"):
        path = tmp_path / f"{output}.safetensors"
        return aekit("mri-train", table, "--volumes", volumes, *FAST, *options, "-o", path)

    return run


@pytest.fixture
def folder(phantom_cohort, tmp_path):
    """Return a folder with the table and the volumes of 14 phantoms, to be damaged."""
    (tmp_path / "volumes").mkdir()
    table = pd.read_csv(phantom_cohort / "participants.tsv", sep="\t", dtype={"participant_id": str}).head(14)
    for who in table["participant_id"]:
        shutil.copy(phantom_cohort / "volumes" / f"{who}_T1w.nii.gz", tmp_path / "volumes")
    table.drop(columns="file").to_csv(tmp_path / "people.tsv", sep="\t", index=False)
    return tmp_path


def refused(result, code=1):
    """Return the only line on stderr of a run that failed with an error that users can fix."""
    assert result.exit_code == code, result.stderr
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("aekit: ")
    return line.removeprefix("aekit: ")


def config_of(result):
    assert result.exit_code == 0, result.stderr
    return read_header(result.paths[0])


# --- output ---


def test_it_writes_networks_tables_and_figures_and_prints_only_the_path(aekit, phantom_cohort, tmp_path):
    path = tmp_path / "m.safetensors"
    table = phantom_cohort / "participants.tsv"
    result = aekit("mri-train", table, "--volumes", phantom_cohort / "volumes", *FAST, "--direct", "-o", path)
    assert (result.exit_code, result.stdout) == (0, f"{path}\n")
    assert {one.name for one in tmp_path.iterdir()} == {
        path.name, *(path.with_suffix(suffix).name for suffix in runs.COMPANIONS),
    }  # fmt: skip
    for figure in tmp_path.glob("*.png"):
        content = figure.read_bytes()
        width, height = struct.unpack(">II", content[16:24])
        assert content.startswith(b"\x89PNG")
        assert min(width, height) > 300
    metrics = pd.read_csv(tmp_path / "m.metrics.csv")
    assert list(metrics.columns) == [
        "model",
        "target",
        "split",
        "n",
        "mae",
        "mae_low",
        "mae_high",
        "mse_z",
        "r2",
        "skill",
    ]
    ages = metrics[(metrics["target"] == "age_years") & (metrics["split"] == "test")]
    models = "mean median linear gp ridge-voxels ridge-histogram ridge-tissues volumes chain direct"
    assert list(ages["model"]) == models.split()
    assert set(metrics["target"]) == {"age_years", "gmv_ml", "wmv_ml", "csfv_ml"}
    people = pd.read_csv(tmp_path / "m.predictions.csv", dtype={"participant_id": str})
    assert people.groupby(["model", "target"])["participant_id"].agg(["size", "nunique"]).eq(40).all(axis=None)
    assert people.groupby("participant_id")["split"].nunique().eq(1).all()
    for _, row in ages.iterrows():  # the tables agree with each other
        own = people[
            (people["model"] == row["model"]) & (people["target"] == "age_years") & (people["split"] == "test")
        ]
        assert np.abs(own["truth"] - own["prediction"]).mean() == pytest.approx(row["mae"], rel=1e-6)
    history = pd.read_csv(tmp_path / "m.csv")
    assert list(history.columns) == ["stage", "fold", "seed", "epoch", "split", "loss"]
    assert set(history["stage"]) == {"volumes", "age", "chain", "direct"}
    assert len(pd.read_csv(tmp_path / "m.left-out.csv")) == 0
    header = read_header(path)
    assert {(one["model"], one["target"]) for one in header.result["conformal"]} >= {("chain", "age_years")}
    assert header.result["seen"]["shapes"] == [[16, 16, 16]]
    assert str(phantom_cohort) not in json.dumps(header.to_dict())
    told = aekit("info", path)
    assert told.exit_code == 0, told.stderr
    for expected in ("brain", "strided", "participants.tsv", "train 26, val 6, test 8", "chain"):
        assert expected in told.stderr


def test_json_has_the_metrics_of_the_judged_split(mri_train):
    result = mri_train("--json", "--quiet")
    assert result.stderr == ""
    found = json.loads(result.stdout)
    assert found["split"] == "test"
    assert found["parameters"] > 1000
    assert Path(found["path"]).exists()
    assert {row["split"] for row in found["metrics"]} == {"test"}
    assert {row["model"] for row in found["metrics"]} >= {"mean", "gp", "chain"}


def test_the_same_command_gives_the_same_bytes(mri_train):
    first, second = (mri_train("--seeds", 2, output=name).paths[0] for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    for suffix in (".csv", ".metrics.csv", ".predictions.csv", ".differences.csv"):
        assert first.with_suffix(suffix).read_bytes() == second.with_suffix(suffix).read_bytes()
    third = mri_train("--seeds", 2, "--seed", 5, output="c").paths[0]
    assert first.read_bytes() != third.read_bytes()


def test_a_cross_validation_pools_its_folds_and_has_a_test_split_if_asked(mri_train):
    path = mri_train("--cv", 2, "--test-split", 0.2).paths[0]
    metrics = pd.read_csv(path.with_suffix(".metrics.csv"))
    counts = metrics.groupby("split")["n"].unique()
    assert {split: n.tolist() for split, n in counts.items()} == {"cv": [32], "test": [8]}
    header = read_header(path)
    assert header.result["judged"] == "test"
    assert [one[:2] for one in header.members] == [[0, 0], [1, 0]]
    table = pd.read_csv(path.with_suffix(".predictions.csv"), dtype={"participant_id": str})
    cv = table[table["split"] == "cv"]
    assert cv.groupby("participant_id")["fold"].nunique().eq(1).all()
    assert table.groupby("participant_id")["split"].nunique().eq(1).all()


def test_existing_output_is_replaced_only_when_asked_and_resume_keeps_it(mri_train, monkeypatch, tmp_path):
    first = mri_train()
    before = first.paths[0].read_bytes()
    assert "m.safetensors: already exists; replace it with --overwrite" in refused(mri_train())
    first.paths[0].unlink()
    assert "m.csv: already exists" in refused(mri_train())
    assert mri_train("--overwrite").paths[0].read_bytes() == before
    monkeypatch.setattr(runs, "gather_people", lambda *arguments, **options: pytest.fail("no scan should be read"))
    kept = mri_train("--resume")
    assert kept.stdout == first.stdout
    assert "skill" in kept.stderr  # its metrics are shown as if it had just ended
    assert "trained with lr 0.003, not 0.5" in refused(mri_train("--resume", "--lr", 0.5))
    assert refused(mri_train("--resume", "--overwrite")).startswith("--overwrite, --resume: ")


# --- options ---


@pytest.mark.parametrize(
    ("options", "part", "expected"),
    [
        (("--arch", "deep"), "model", {"arch": "deep", "histogram": True}),
        (
            ("--no-histogram", "--target", "proportion", "--log-age"),
            "model",
            {"arch": "strided", "histogram": False, "target": "proportion", "log_age": True},
        ),
        (
            ("--drop-outliers", "--split-seed", 4, "--val", 0.25, "--test-split", 0.1),
            "data",
            {"drop_outliers": True, "split_seed": 4, "val": 0.25, "test": 0.1},
        ),
        (("--size", "9x10x8", "--spacing", 22), "data", {"size": [9, 10, 8], "spacing_mm": 22.0, "shape": [9, 10, 8]}),
        (
            (
                "--epochs",
                2,
                "--batch-size",
                5,
                "--weight-decay",
                0.1,
                "--augment",
                "noise,flip",
                "--lr",
                0.01,
                "--seeds",
                2,
            ),
            "train",
            {"epochs": 2, "batch_size": 5, "weight_decay": 0.1, "augment": ["flip", "noise"], "lr": 0.01, "seeds": 2},
        ),
        (("--augment", "none", "--precision", "bf16"), "train", {"augment": [], "precision": "bf16"}),
    ],
)
def test_options_reach_the_training_and_the_header(mri_train, options, part, expected):
    header = config_of(mri_train(*options, "--quiet"))
    assert {key: header.to_dict()[part][key] for key in expected} == expected
    if "--seeds" in options:
        assert [one[:2] for one in header.members] == [[0, 0], [0, 1]]


def test_group_keeps_a_site_in_one_fold(mri_train, phantom_cohort):
    result = mri_train("--cv", 3, "--group", "site", "--quiet")
    table = pd.read_csv(result.paths[0].with_suffix(".predictions.csv"), dtype={"participant_id": str})
    sites = pd.read_csv(phantom_cohort / "participants.tsv", sep="\t").set_index("participant_id")["site"]
    assert table.groupby(table["participant_id"].map(sites))["fold"].nunique().eq(1).all()
    assert table["fold"].nunique() == 3


def test_each_site_is_held_out_by_name_and_has_a_row_of_its_own(mri_train, phantom_cohort):
    result = mri_train("--cv", "site")
    assert config_of(result).data["cv"] == "site"
    path = result.paths[0]
    sites = pd.read_csv(phantom_cohort / "participants.tsv", sep="\t").set_index("participant_id")["site"]
    sizes = sites.value_counts()
    listed = ", ".join(f"{name} {sizes[name]}" for name in sorted(sizes.index))
    assert f"40 participants, held out in turn: {listed}" in result.stderr
    errors = pd.read_csv(path.with_suffix(".sites.csv"))
    assert set(errors["site"]) == set(sizes.index)
    assert (errors["in_train"] == "no").all()
    predictions = pd.read_csv(path.with_suffix(".predictions.csv"), dtype={"participant_id": str})
    own = predictions[(predictions["model"] == "chain") & (predictions["target"] == "age_years")]
    means = own.groupby(own["participant_id"].map(sites))["delta"].mean()
    of_chain = errors[errors["model"] == "chain"].set_index("site")["bias"]
    pd.testing.assert_series_equal(of_chain, means, check_names=False)
    assert "MAE of chain by site, in years: " in result.stderr
    assert path.with_suffix(".sites.png").read_bytes().startswith(b"\x89PNG")


def test_without_sites_there_are_no_files_about_them_not_even_those_of_a_run_before(mri_train, folder):
    with_sites = folder / "people.tsv"
    few = ("--val", 0, "--test-split", 0.2)
    result = mri_train(*few, table=with_sites, volumes=folder / "volumes")
    assert result.exit_code == 0, result.stderr
    assert result.paths[0].with_suffix(".sites.csv").exists()
    table = pd.read_csv(with_sites, sep="\t", dtype={"participant_id": str}).drop(columns="site")
    table.to_csv(with_sites, sep="\t", index=False)
    assert mri_train(*few, "--overwrite", table=with_sites, volumes=folder / "volumes").exit_code == 0
    assert not any(result.paths[0].with_suffix(suffix).exists() for suffix in runs._OF_SITES)


def test_a_column_of_the_table_says_who_is_tested(mri_train, phantom_cohort, tmp_path):
    table = pd.read_csv(phantom_cohort / "participants.tsv", sep="\t").drop(columns="file")
    table["part"] = ["train"] * 25 + ["dev"] * 7 + ["test"] * 8
    table.to_csv(tmp_path / "parts.tsv", sep="\t", index=False)
    result = mri_train("--test-split", "part", table=tmp_path / "parts.tsv")
    people = pd.read_csv(result.paths[0].with_suffix(".predictions.csv"), dtype={"participant_id": str})
    split = people.groupby("participant_id")["split"].first()
    assert list(split) == ["train"] * 25 + ["val"] * 7 + ["test"] * 8


def test_dropped_outliers_are_a_split_of_their_own(mri_train, phantom_cohort, tmp_path):
    table = pd.read_csv(phantom_cohort / "participants.tsv", sep="\t").drop(columns="file")
    people = pd.read_csv(mri_train(output="a").paths[0].with_suffix(".predictions.csv"))
    train = people.loc[people["split"] == "train", "participant_id"].iloc[3]
    table.loc[table["participant_id"] == train, "csfv"] *= 5
    table.to_csv(tmp_path / "odd.tsv", sep="\t", index=False)
    result = mri_train("--drop-outliers", table=tmp_path / "odd.tsv", output="b")
    assert "outliers dropped from train" in result.stderr
    metrics = pd.read_csv(result.paths[0].with_suffix(".metrics.csv"))
    assert {"mean", "chain", "volumes"} <= set(metrics.loc[metrics["split"] == "dropped", "model"])
    people = pd.read_csv(result.paths[0].with_suffix(".predictions.csv"))
    assert train in set(people.loc[people["split"] == "dropped", "participant_id"])
    assert train not in set(people.loc[people["split"] == "train", "participant_id"])


def test_a_table_without_volumes_needs_direct_and_then_learns_age_alone(mri_train, phantom_cohort, tmp_path):
    table = pd.read_csv(phantom_cohort / "participants.tsv", sep="\t").drop(columns=["gmv", "wmv", "csfv", "file"])
    table.to_csv(tmp_path / "bare.csv", index=False)
    line = refused(mri_train(table=tmp_path / "bare.csv"))
    assert line.startswith("bare.csv: has no columns gmv, wmv and csfv, only participant_id, age, sex")
    assert line.endswith("add --direct to learn age without volumes")
    assert "gmv" in refused(mri_train("--direct", "--target", "proportion", table=tmp_path / "bare.csv"))
    assert "--drop-outliers: " in refused(mri_train("--direct", "--drop-outliers", table=tmp_path / "bare.csv"))
    result = mri_train("--direct", table=tmp_path / "bare.csv")
    assert "Warning" not in result.stderr
    assert config_of(result).members == [[0, 0, "direct"]]
    metrics = pd.read_csv(result.paths[0].with_suffix(".metrics.csv"))
    assert set(metrics["model"]) == {"mean", "median", "ridge-voxels", "ridge-histogram", "ridge-tissues", "direct"}
    assert set(metrics["target"]) == {"age_years"}


def test_hypotheses_make_four_checkpoints_of_one_split_and_their_table(mri_train, tmp_path):
    result = mri_train("--hypotheses", "--quiet")
    assert result.exit_code == 0, result.stderr
    assert [path.name for path in result.paths] == [f"m-{name}.safetensors" for name in ("base", "h1", "h2", "h3")]
    headers = [read_header(path) for path in result.paths]
    assert [header.model["arch"] for header in headers] == ["base", "base", "base", "deep"]
    assert [header.model["target"] for header in headers] == ["absolute"] + ["proportion"] * 3
    tables = [pd.read_csv(path.with_suffix(".predictions.csv"), dtype={"participant_id": str}) for path in result.paths]
    tested = [set(table.loc[table["split"] == "test", "participant_id"]) for table in tables]
    assert tested == [tested[0]] * 4
    table = pd.read_csv(tmp_path / "m.hypotheses.csv")
    own = table[(table["split"] == "test") & (table["model"] == "chain")].set_index("hypothesis")
    assert list(own.index) == ["base", "H1", "H2", "H3"]
    assert own.loc[["H1", "H2", "H3"], ["difference", "low", "high"]].notna().all(axis=None)
    np.testing.assert_allclose(own["difference"].fillna(0), own["mae"] - own.loc["base", "mae"], atol=1e-6)
    assert (tmp_path / "m.hypotheses.png").exists()


# --- usage ---


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--arch", "wide"), "--arch"),
        (("--target", "volume"), "--target"),
        (("--cv", "1"), "--cv"),
        (("--spacing", "wide"), "--spacing"),
        (("--nonsense",), "--nonsense"),
    ],
)
def test_usage_errors_end_with_code_two(mri_train, options, said):
    result = mri_train(*options)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--size", "8x8"), "--size: '8x8' is not a size; "),
        (("--size", "2"), "--size: 2x2x2 voxels are outside 4 to 512; "),
        (("--size", "5", "--arch", "base"), "--size: 5 voxels are too few for --arch base; "),
        (("--spacing", "nan"), "--spacing: nan mm is outside"),
        (("--augment", "flip,zoom"), "--augment: 'zoom' is not one of flip, shift, gain, noise, scanner, none"),
        (("--augment", "flop"), "did you mean 'flip'?"),
        (("--cv", "1"), "--cv: 1 is below 2; "),
        (("--cv", "41"), "--cv: 40 participants cannot fill 41 folds; "),
        (("--val", "0.6", "--test-split", "0.5"), "--val, --test-split: "),
        (("--test-split", "1.5"), "--test-split: 1.5 is outside [0, 1); "),
        (("--test-split", "fold"), "participants.tsv: has no column fold (it has participant_id, age, sex"),
        (("--group", "scanner"), "--group: participants.tsv has no column 'scanner', only participant_id, "),
        (("--batch-size", "1"), "--batch-size: 1 is below 2; "),
        (("--epochs", "0"), "--epochs: 0 is below 1; "),
        (("--seeds", "0"), "--seeds: 0 is below 1; "),
        (("--lr", "0"), "--lr: 0.0 is not a positive number; "),
        (("--lr", "1e30", "--epochs", "3"), "loss: stopped being finite in epoch "),
        (("--device", "abacus"), "--device: unknown device 'abacus'; "),
        (("--pattern", "{id}_T2w.nii.gz"), "_T2w.nii.gz"),
    ],
)
def test_impossible_values_are_an_error_of_one_line(mri_train, options, said, tmp_path):
    here = ("too few", "cannot fill", "has no column", "finite in", "_T2w", "--val,")  # wrong for these data only
    assert said in refused(mri_train(*options, "--quiet"), code=1 if any(word in said for word in here) else 2)
    assert not [path for path in tmp_path.iterdir() if path.name == "m.safetensors"]


# --- bad input ---


def cell(row, column, value):
    def change(table):
        table.loc[row, column] = value
        return table

    return change


TABLES = {
    "a missing column": (lambda t: t.drop(columns="age"), ("people.tsv", "age", "participant_id, sex")),
    "no overlap": (lambda t: t.assign(participant_id=[f"q{n}" for n in range(14)]), ("volumes", "'q0'", "--pattern")),
    "duplicate ids": (cell(3, "participant_id", "sub-0002"), ("people.tsv", "sub-0002")),
    "an age of 430": (cell(3, "age", "430"), ("people.tsv", "sub-0004", "430")),
    "an age below zero": (cell(3, "age", "-1"), ("people.tsv", "sub-0004", "-1")),
    "a negative volume": (cell(5, "csfv", "-200"), ("people.tsv", "csfv", "sub-0006", "-200")),
    "text in a number": (cell(7, "gmv", "lots"), ("people.tsv", "gmv", "sub-0008", "lots")),
    "nobody with an age": (lambda t: t.assign(age="n/a"), ("people.tsv", "age")),
    "one left": (lambda t: t.assign(age=["30", *["n/a"] * 13]), ("1 participant cannot fill 2 splits",)),
    "ages all alike": (lambda t: t.assign(age="30"), ("train", "of one age")),
    "an empty table": (lambda t: t.head(0), ("people.tsv",)),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_bad_table_is_an_error_of_one_line_with_its_ids(mri_train, folder, name):
    change, said = TABLES[name]
    table = change(pd.read_csv(folder / "people.tsv", sep="\t", dtype=str, keep_default_na=False))
    table.to_csv(folder / "people.tsv", sep="\t", index=False)
    line = refused(mri_train("--quiet", "--val", 0, table=folder / "people.tsv", volumes=folder / "volumes"))
    for text in said:
        assert text in line


def corrupt_gzip(path):
    content = bytearray(path.read_bytes())
    content[-6] ^= 0xFF  # within the checksum and length at the end
    path.write_bytes(bytes(content))


def four_dimensional(path):
    image = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(np.stack([np.asarray(image.dataobj)] * 2, -1), image.affine), path)


def with_affine(value):
    def change(path):
        image = nibabel.load(path)
        header = image.header.copy()
        header["qform_code"], header["sform_code"] = 0, 1
        for row in ("srow_x", "srow_y", "srow_z"):
            header[row] = value
        content = header.binaryblock + bytes(4) + np.asarray(image.dataobj.get_unscaled()).tobytes(order="F")
        path.write_bytes(gzip.compress(content))

    return change


def with_values(values):
    def change(path):
        image = nibabel.load(path)
        nibabel.save(nibabel.Nifti1Image(np.full(image.shape, values, np.float32), image.affine), path)

    return change


FILES = {
    "a corrupt gzip body": corrupt_gzip,
    "a truncated file": lambda path: path.write_bytes(path.read_bytes()[:-300]),
    "a text page": lambda path: path.write_text("<html>404 not found</html>"),
    "an empty file": lambda path: path.write_bytes(b""),
    "two volumes in one": four_dimensional,
    "a zero affine": with_affine(0.0),
    "a NaN affine": with_affine(np.nan),
    "NaN voxels": with_values(np.nan),
    "constant voxels": with_values(7.0),
}


@pytest.mark.parametrize("name", FILES)
def test_a_bad_volume_is_an_error_that_names_it_and_can_be_skipped(mri_train, folder, name):
    FILES[name](folder / "volumes" / "sub-0005_T1w.nii.gz")
    options = {"table": folder / "people.tsv", "volumes": folder / "volumes"}
    assert "sub-0005_T1w.nii.gz" in refused(mri_train("--quiet", "--val", 0, **options))
    if name in ("a corrupt gzip body", "NaN voxels"):
        result = mri_train("--quiet", "--val", 0, "--test-split", 0.1, "--skip-bad", **options)
        assert result.exit_code == 0, result.stderr
        left_out = pd.read_csv(result.paths[0].with_suffix(".left-out.csv"))
        assert list(left_out["participant_id"]) == ["sub-0005"]
        assert list(left_out["file"]) == ["sub-0005_T1w.nii.gz"]


def test_the_same_scan_twice_is_an_error_with_both_ids(mri_train, folder):
    shutil.copy(folder / "volumes" / "sub-0002_T1w.nii.gz", folder / "volumes" / "sub-0009_T1w.nii.gz")
    line = refused(mri_train("--quiet", table=folder / "people.tsv", volumes=folder / "volumes"))
    assert line.startswith("--volumes: two ids have the same scan (sub-0002 and sub-0009)")


def test_rows_without_a_file_and_files_without_a_row_are_counted_and_listed(mri_train, folder):
    (folder / "volumes" / "sub-0004_T1w.nii.gz").rename(folder / "volumes" / "sub-0444_T1w.nii.gz")
    options = {"table": folder / "people.tsv", "volumes": folder / "volumes"}
    result = mri_train("--val", 0, "--test-split", 0.1, **options)
    assert "left out: no volume file (1), no row in the table (1)" in result.stderr
    listed = pd.read_csv(result.paths[0].with_suffix(".left-out.csv"), keep_default_na=False)
    assert listed.to_numpy().tolist() == [
        ["sub-0004", "", "no volume file"], ["", "sub-0444_T1w.nii.gz", "no row in the table"],
    ]  # fmt: skip


def test_form_codes_of_zero_are_a_warning(mri_train, folder):
    path = folder / "volumes" / "sub-0005_T1w.nii.gz"
    image = nibabel.load(path)
    image.set_sform(None, code=0)
    image.set_qform(None, code=0)
    image = nibabel.Nifti1Image(np.asarray(image.dataobj), None, image.header)
    nibabel.save(image, path)
    result = mri_train("--val", 0, "--test-split", 0.1, table=folder / "people.tsv", volumes=folder / "volumes")
    assert result.exit_code == 0, result.stderr
    assert "1 of 14 volumes: " in result.stderr


def test_age_zero_has_no_logarithm(mri_train, folder):
    table = cell(3, "age", "0")(pd.read_csv(folder / "people.tsv", sep="\t", dtype=str))
    table.to_csv(folder / "people.tsv", sep="\t", index=False)
    options = {"table": folder / "people.tsv", "volumes": folder / "volumes"}
    line = refused(mri_train("--quiet", "--log-age", "--val", 0, "--test-split", 0.1, **options))
    assert line.startswith("--log-age: age 0 has no logarithm: sub-0004; ")
    assert mri_train("--quiet", "--val", 0, "--test-split", 0.1, **options).exit_code == 0


def test_a_sex_with_one_participant_is_not_a_stratum_and_not_an_error(mri_train, folder):
    table = pd.read_csv(folder / "people.tsv", sep="\t").assign(sex=["M", *["F"] * 13])
    table.to_csv(folder / "people.tsv", sep="\t", index=False)
    options = {"table": folder / "people.tsv", "volumes": folder / "volumes"}
    assert mri_train("--quiet", "--val", 0, "--test-split", 0.1, **options).exit_code == 0


def test_missing_paths_are_named(mri_train, tmp_path, phantom_cohort):
    assert "nowhere.tsv" in refused(mri_train(table=tmp_path / "nowhere.tsv"))
    assert "nowhere" in refused(mri_train(volumes=tmp_path / "nowhere"))
    assert refused(mri_train(table=phantom_cohort)).startswith(str(phantom_cohort))


def test_other_commands_do_not_take_its_checkpoint(mri_train, aekit):
    path = mri_train("--quiet").paths[0]
    for command in (("reconstruct", path), ("encode", path), ("evaluate", path)):
        assert f"{path.name}: contains brain-image networks" in refused(aekit(*command))


# --- through a shell ---


def environment():
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}


def test_the_phantom_goes_through_a_pipe(tmp_path):
    fast = "--size 8 --spacing 24 --epochs 1 --seeds 1 --threads 1 --device cpu --quiet"
    line = (
        "aekit mri-phantom -n 30 --size 16 --quiet | xargs -I{} "
        f"aekit mri-train {{}}/participants.tsv --volumes {{}}/volumes {fast} -o m.safetensors"
    )
    done = subprocess.run(
        line, shell=True, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "m.safetensors\n", "")
    assert read_header(tmp_path / "m.safetensors").data["people"] == 30


def test_a_signal_stops_it_and_resume_continues(start, phantom_cohort, mri_train, tmp_path):
    command = ["aekit", "mri-train", phantom_cohort / "participants.tsv", "--volumes", phantom_cohort / "volumes"]
    options = [*map(str, FAST), "--epochs", "20", "--precision", "fp32", "--quiet", "-o", "m.safetensors"]
    process = start(
        list(map(str, [*command, *options])), cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True
    )
    unfinished = tmp_path / "m.resume.safetensors"
    deadline = time.monotonic() + 60
    while not unfinished.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert told.endswith("--resume\n")
    assert unfinished.exists()
    assert not (tmp_path / "m.safetensors").exists()
    more = ("--epochs", 20, "--precision", "fp32")
    assert "holds an unfinished run" in refused(mri_train(*more, "--quiet"))
    resumed = mri_train(*more, "--resume")
    assert resumed.paths == [tmp_path / "m.safetensors"]
    assert "continuing after" in resumed.stderr
    assert not unfinished.exists()


@pytest.fixture(scope="module")
def patients(phantom_cohort, tmp_path_factory):
    """Return a table of the phantoms, of whom every fourth is a patient."""
    table = pd.read_csv(phantom_cohort / "participants.tsv", sep="\t")
    table["diagnosis"] = ["patient" if row % 4 == 0 else "control" for row in range(len(table))]
    path = tmp_path_factory.mktemp("patients") / "participants.tsv"
    table.drop(columns="file", errors="ignore").to_csv(path, sep="\t", index=False)
    return path


def test_controls_are_judged_and_cases_are_predicted_with_their_mean_delta(aekit, phantom_cohort, patients, tmp_path):
    options = ("--volumes", phantom_cohort / "volumes", "--size", 16, "--spacing", 12, "--epochs", 1, "--seeds", 1)
    controls = ("--controls", "diagnosis=control")
    result = aekit("mri-train", patients, *options, "--cv", 2, *controls, "-o", tmp_path, "--json")
    assert result.exit_code == 0, result.stderr
    said = json.loads(result.stdout)
    assert said["path"].endswith("-controls-diagnosis=control.safetensors")
    assert {row["split"] for row in said["metrics"]} == {"cv"}
    assert {row["split"] for row in said["cases"]} == {"cases"}
    table = pd.read_csv(Path(said["path"]).with_suffix(".predictions.csv"))
    labels = pd.read_csv(patients, sep="\t").set_index("participant_id")["diagnosis"]
    assert set(labels[table.query("split == 'cases'")["participant_id"]]) == {"patient"}
    assert set(labels[table.query("split == 'cv'")["participant_id"]]) == {"control"}
    chain = table.query("model == 'chain' and target == 'age_years' and split == 'cases'")
    cases = next(row for row in said["deltas"] if (row["model"], row["group"]) == ("chain", "cases"))
    assert cases["n"] == len(chain) == (labels == "patient").sum()
    assert cases["mean"] == pytest.approx(chain["delta_corrected"].mean(), rel=1e-5)
    assert result.stderr.index("age_years, cv, ") < result.stderr.index("age_years, cases, ")
    assert "delta given age (delta_corrected), years" in " ".join(result.stderr.split())
    again = aekit("mri-train", patients, *options, "--cv", 2, "-o", said["path"], "--resume")
    assert again.exit_code == 1
    assert "controls diagnosis=control" in again.stderr


@pytest.mark.parametrize(
    ("text", "exit_code", "message"),
    [
        ("diagnosis", 2, "is not column=value"),
        ("diagnose=control", 1, "did you mean 'diagnosis'?"),
        ("diagnosis=zzz", 1, "nobody in participants.tsv has diagnosis 'zzz', only control, patient"),
        ("diagnosis!=control,patient", 1, "leaves nobody to train on"),
    ],
)
def test_an_expression_that_does_not_fit_the_table_is_refused(
    aekit, phantom_cohort, patients, tmp_path, text, exit_code, message
):
    options = ("--volumes", phantom_cohort / "volumes", "--size", 16, "--spacing", 12, "-q")
    result = aekit("mri-train", patients, *options, "--controls", text, "-o", tmp_path / "x.safetensors")
    assert result.exit_code == exit_code
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "x.safetensors").exists()
