import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch

from aekit.brains.members import read_ensemble, write_ensemble
from aekit.core.checkpoint import read_header

pytestmark = pytest.mark.slow  # each trains, draws or starts the program

GRID = ("--size", 16, "--spacing", 12)


@pytest.fixture(scope="module")
def brains(aekit, phantom_cohort, tmp_path_factory):
    """Return a checkpoint with all stages, trained on the phantoms for two epochs."""
    path = tmp_path_factory.mktemp("brains") / "m.safetensors"
    options = ("--volumes", phantom_cohort / "volumes", *GRID, "--epochs", 2, "--seeds", 1, "--direct")
    result = aekit("mri-train", phantom_cohort / "participants.tsv", *options, "-o", path)
    assert result.exit_code == 0, result.stderr
    return path


@pytest.fixture(scope="module")
def scans(phantom_cohort):
    return sorted((phantom_cohort / "volumes").iterdir())


def test_predictions_are_those_of_the_training_for_the_same_participants(aekit, brains, scans, tmp_path):
    result = aekit("mri-predict", brains, *scans, "-o", tmp_path / "new.csv", "-q")
    assert result.exit_code == 0
    assert result.paths == [tmp_path / "new.csv"]
    table = pd.read_csv(tmp_path / "new.csv")
    table["participant_id"] = table["file"].str.extract(r"(sub-\d+)", expand=False)
    known = pd.read_csv(brains.with_suffix(".predictions.csv"))
    for column, model, target in (
        ("chain_age_years", "chain", "age_years"),
        ("ridge_age_years", "ridge-histogram", "age_years"),
        ("direct_age_years", "direct", "age_years"),
        ("gmv_ml", "volumes", "gmv_ml"),
        ("csfv_ml", "volumes", "csfv_ml"),
    ):
        own = known[(known["model"] == model) & (known["target"] == target)]
        both = table.merge(own, on="participant_id")
        assert len(both) == len(table)
        np.testing.assert_allclose(both[column], both["prediction"], rtol=1e-4)


def test_the_age_that_comes_first_is_that_of_the_model_with_the_smallest_held_out_error(aekit, brains, scans, tmp_path):
    result = aekit("mri-predict", brains, *scans[:3], "-o", tmp_path / "new.csv")
    table = pd.read_csv(tmp_path / "new.csv")
    columns = {"chain": "chain_age_years", "direct": "direct_age_years", "ridge-histogram": "ridge_age_years"}
    metrics = pd.read_csv(brains.with_suffix(".metrics.csv")).query("target == 'age_years' and split == 'test'")
    best = metrics.set_index("model").loc[list(columns), "mae"].idxmin()
    assert table["model"].tolist() == [best] * 3
    for end in ("", "_low", "_high"):
        assert table[f"age_years{end}"].equals(table[f"{columns[best]}{end}"])
    assert f"age_years by {best}" in " ".join(result.stderr.split())


def test_the_stack_predicts_new_scans_as_it_did_those_that_no_fold_saw(aekit, phantom_cohort, scans, tmp_path):
    path = tmp_path / "cv.safetensors"
    options = ("--volumes", phantom_cohort / "volumes", "--size", 8, "--spacing", 24, "--epochs", 1, "--seeds", 1)
    aekit("mri-train", phantom_cohort / "participants.tsv", *options, "--cv", 2, "--test-split", 0.3, "-o", path)
    assert aekit("mri-predict", path, *scans, "-o", tmp_path / "new.csv").exit_code == 0
    table = pd.read_csv(tmp_path / "new.csv")
    table["participant_id"] = table["file"].str.extract(r"(sub-\d+)", expand=False)
    known = pd.read_csv(path.with_suffix(".predictions.csv")).query("model == 'stack' and split == 'test'")
    both = table.merge(known, on="participant_id")
    assert len(both) == len(known) == 12
    np.testing.assert_allclose(both["stack_age_years"], both["prediction"], rtol=1e-4)
    stack = read_header(path).result["stack"]
    assert sum(stack["weights"]) == pytest.approx(1)
    assert "stack" in pd.read_csv(path.with_suffix(".differences.csv"))["model"].tolist()


def test_the_width_of_an_interval_follows_from_the_validation_residuals(aekit, brains, scans, tmp_path):
    aekit("mri-predict", brains, scans[0], "-o", tmp_path / "new.csv")
    row = pd.read_csv(tmp_path / "new.csv").iloc[0]
    known = pd.read_csv(brains.with_suffix(".predictions.csv"))
    val = known[(known["model"] == "chain") & (known["target"] == "age_years") & (known["split"] == "val")]
    residuals = np.sort(np.abs(val["truth"] - val["prediction"]))
    rank = min(int(np.ceil(0.9 * (len(residuals) + 1) - 1e-9)), len(residuals))
    age, low, high = (row[f"chain_age_years{end}"] for end in ("", "_low", "_high"))
    assert high - age == pytest.approx(residuals[rank - 1], rel=1e-4)
    assert low == pytest.approx(max(age - residuals[rank - 1], 0), rel=1e-4, abs=1e-6)


def test_scans_with_an_impossible_age_are_counted_and_marked(aekit, brains, scans, tmp_path):
    ensemble, _, header = read_ensemble(brains, torch.device("cpu"))
    for stages in ensemble.networks.values():
        stages["direct"].age.mean.fill_(500.0)
    broken = write_ensemble(tmp_path / "broken.safetensors", ensemble, header)
    result = aekit("mri-predict", broken, *scans[:2], "-o", tmp_path / "new.csv")
    assert result.exit_code == 0, result.stderr
    assert "predicted ages outside 0 to 120 years were clipped, by one model or more in 2 of 2 scans" in " ".join(
        result.stderr.split()
    )
    table = pd.read_csv(tmp_path / "new.csv")
    assert table["direct_age_years"].tolist() == [120, 120]
    assert table["warnings"].str.contains("an age outside 0 to 120 years was predicted and clipped").all()


def test_folders_and_stdin_give_the_same_as_paths(aekit, brains, scans, tmp_path):
    aekit("mri-predict", brains, *scans, "-o", tmp_path / "paths.csv")
    aekit("mri-predict", brains, scans[0].parent, "-o", tmp_path / "folder.csv")
    aekit("mri-predict", brains, "-", "-o", tmp_path / "stdin.csv", stdin="\n".join(map(str, scans)))
    texts = {(tmp_path / f"{name}.csv").read_text() for name in ("paths", "folder", "stdin")}
    assert len(texts) == 1


def test_scans_of_the_training_have_no_warnings_and_others_do(aekit, brains, scans, tmp_path):
    other = aekit("mri-phantom", "-n", 1, "--size", 24, "--seed", 5, "-o", tmp_path / "other").paths[0]
    new = next((other / "volumes").iterdir())
    result = aekit("mri-predict", brains, scans[0], scans[1], new, "-o", tmp_path / "new.csv")
    warnings = pd.read_csv(tmp_path / "new.csv", keep_default_na=False)["warnings"].tolist()
    assert warnings[:2] == ["", ""]
    assert "voxel size 8 x 8 x 8 mm differs from that of the training scans (12 mm)" in warnings[2]
    assert "shape of 24x24x24 voxels (x, y, z) differs from that of the training scans (16x16x16)" in warnings[2]
    table = pd.read_csv(tmp_path / "new.csv")
    assert table["unlike_training"].tolist() == ["no", "no", "yes"]
    assert table["age_years_low"].isna().tolist() == [False, False, True]
    stderr = " ".join(result.stderr.split())
    assert "1 of 3 scans is unlike those of the training: " in stderr
    assert "shape (1)" in stderr
    assert "voxel size (1)" in stderr
    assert "* marks its age, and it has no intervals; --reference recalibrates on controls of their scanner" in stderr


def test_json_gives_the_path_and_counts(aekit, brains, scans, tmp_path):
    result = aekit("mri-predict", brains, *scans[:3], "-o", tmp_path / "new.csv", "--json")
    said = json.loads(result.stdout)
    assert said["path"] == str(tmp_path / "new.csv")
    assert (said["n"], said["n_warned"]) == (3, 0)
    n_val = (pd.read_csv(brains.with_suffix(".predictions.csv")).query("model == 'mean' and split == 'val'")).nunique()
    assert said["interval_level"] == n_val["participant_id"] / (n_val["participant_id"] + 1) < 0.9


def test_the_table_is_next_to_the_checkpoint_by_default(aekit, brains, scans):
    assert aekit("mri-predict", brains, scans[0]).paths == [brains.with_suffix(".predicted.csv")]


def test_the_files_of_training_are_not_replaced(aekit, brains, scans):
    before = brains.with_suffix(".csv").read_bytes()
    result = aekit("mri-predict", brains, scans[0], "-o", brains.with_suffix(".csv"))
    assert result.exit_code == 1
    assert brains.with_suffix(".csv").read_bytes() == before


@pytest.mark.parametrize("kind", ["missing", "damaged", "empty folder", "autoencoder", "unfinished"])
def test_an_unusable_input_is_an_error_of_one_line_that_names_it(aekit, brains, scans, vae_checkpoint, tmp_path, kind):
    checkpoint, scan = brains, scans[0]
    if kind == "missing":
        scan = named = tmp_path / "gone.nii.gz"
    elif kind == "damaged":
        body = bytearray(scans[0].read_bytes())
        body[len(body) // 2] ^= 0xFF
        scan = named = tmp_path / "bad.nii.gz"
        scan.write_bytes(body)
    elif kind == "empty folder":
        scan = named = tmp_path / "none"
        scan.mkdir()
    elif kind == "autoencoder":
        checkpoint = named = vae_checkpoint
    else:
        checkpoint = named = tmp_path / "gone.safetensors"
    result = aekit("mri-predict", checkpoint, scan, "-o", tmp_path / "new.csv")
    assert result.exit_code == 1
    assert str(named) in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "new.csv").exists()


def test_bad_volumes_are_left_out_if_asked(aekit, brains, scans, tmp_path):
    (tmp_path / "bad.nii.gz").write_text("<html>")
    result = aekit("mri-predict", brains, scans[0], tmp_path / "bad.nii.gz", "--skip-bad", "-o", tmp_path / "new.csv")
    assert result.exit_code == 0
    assert "bad.nii.gz" in result.stderr
    assert len(pd.read_csv(tmp_path / "new.csv")) == 1


def test_commands_for_autoencoders_do_not_take_brain_networks(aekit, brains):
    for command in ("reconstruct", "encode", "tsne", "pca-compare"):
        result = aekit(command, brains)
        assert result.exit_code == 1
        assert "use aekit mri-predict" in result.stderr


def test_info_shows_metrics_and_the_ranges_of_the_training_data(aekit, brains):
    result = aekit("info", brains)
    assert result.exit_code == 0
    assert "chain" in result.stderr
    assert "test MAE" in result.stderr
    assert "spacing_mm 12" in result.stderr


@pytest.fixture(scope="module")
def shifted(aekit, brains, tmp_path_factory):
    """Return the checkpoint with networks that predict 30 years more, as if they had met another scanner."""
    ensemble, _, header = read_ensemble(brains, torch.device("cpu"))
    for stages in ensemble.networks.values():
        stages["direct"].age.mean.add_(30.0)
        stages["chain"].age.age.mean.add_(30.0)
    header.result["seen"]["age_years"] = [0.0, 120.0]
    return write_ensemble(tmp_path_factory.mktemp("shifted") / "m.safetensors", ensemble, header)


def test_a_table_adds_ids_true_ages_and_deltas_on_the_age_trend_of_the_checkpoint(
    aekit, brains, phantom_cohort, scans, tmp_path
):
    ensemble, _, header = read_ensemble(brains, torch.device("cpu"))
    models = ("chain", "direct", "ridge-histogram", "stack")
    trend = [{"model": model, "intercept": 5.0, "slope": -0.1} for model in models]
    header.result["age_trend"] = trend
    checkpoint = write_ensemble(tmp_path / "m.safetensors", ensemble, header)
    people = pd.read_csv(phantom_cohort / "participants.tsv", sep="\t").set_index("participant_id")
    people.drop(index=["sub-0002"]).to_csv(tmp_path / "p.tsv", sep="\t")
    result = aekit("mri-predict", checkpoint, *scans[:3], "--table", tmp_path / "p.tsv", "-o", tmp_path / "new.csv")
    assert result.exit_code == 0, result.stderr
    table = pd.read_csv(tmp_path / "new.csv", keep_default_na=False, na_values={"true_age_years": [""]})
    assert table["participant_id"].tolist() == ["sub-0001", "", "sub-0003"]
    table = pd.read_csv(tmp_path / "new.csv").iloc[[0, 2]]
    age = people.loc[["sub-0001", "sub-0003"], "age"].to_numpy()
    np.testing.assert_allclose(table["true_age_years"], age)
    for prefix in ("", "chain_", "direct_", "ridge_"):
        delta = table[f"{prefix}age_years"].to_numpy() - age
        np.testing.assert_allclose(table[f"{prefix}delta"], delta, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(table[f"{prefix}delta_corrected"], delta - (5 - 0.1 * age), rtol=1e-5, atol=1e-5)
    assert f"{len(scans) - 3} rows without a scan" in result.stderr
    assert f"1 scan without a row in the table: {scans[1].name}" in " ".join(result.stderr.split())


def test_a_checkpoint_without_an_age_trend_leaves_delta_corrected_empty_and_says_so(
    aekit, brains, phantom_cohort, scans, tmp_path
):
    ensemble, _, header = read_ensemble(brains, torch.device("cpu"))
    del header.result["age_trend"]
    old = write_ensemble(tmp_path / "old.safetensors", ensemble, header)
    result = aekit(
        "mri-predict", old, scans[0], "--table", phantom_cohort / "participants.tsv", "-o", tmp_path / "new.csv"
    )
    row = pd.read_csv(tmp_path / "new.csv").iloc[0]
    assert np.isfinite(row["delta"])
    assert np.isnan(row["delta_corrected"])
    assert "no delta_corrected of chain, direct, ridge-histogram" in " ".join(result.stderr.split())


def test_a_reference_removes_the_offset_of_a_scanner_and_its_own_ages_are_left_out_in_turn(
    aekit, brains, shifted, phantom_cohort, scans, tmp_path
):
    people = pd.read_csv(phantom_cohort / "participants.tsv", sep="\t")
    people[["participant_id", "age"]].iloc[:9].to_csv(tmp_path / "ref.csv", index=False)
    aekit("mri-predict", brains, *scans, "-o", tmp_path / "before.csv")
    before = pd.read_csv(tmp_path / "before.csv")["direct_age_years"].to_numpy()
    result = aekit("mri-predict", shifted, *scans, "--reference", tmp_path / "ref.csv", "-o", tmp_path / "new.csv")
    assert result.exit_code == 0, result.stderr
    table, age = pd.read_csv(tmp_path / "new.csv"), people["age"].to_numpy()
    assert table["reference"].tolist() == ["yes"] * 9 + ["no"] * (len(scans) - 9)
    errors = age[:9] - before[:9]
    expected = before + errors.mean()
    expected[:9] = before[:9] + (errors.sum() - errors) / 8
    np.testing.assert_allclose(table["direct_age_years"], np.clip(expected, 0, 120), rtol=1e-3, atol=1e-3)
    half = np.sort(np.abs(age[:9] - expected[:9]))[8]
    above = table["direct_age_years_high"] - table["direct_age_years"]
    assert above.max() == pytest.approx(half, rel=1e-3)  # those above 120 years are cut
    said = " ".join(result.stderr.split())
    assert f"direct recalibrated on 9 participants: offset {errors.mean() - 30:+.1f} years, slope 1.00" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--reference", "few.csv"], "has 4 participants with an age and a usable scan among those given, at least 5"),
        (["--table", "others.csv"], "none of the scans is of a participant of others.csv; an id is 'x1'"),
        (["--pattern", "{id}.nii"], "--pattern: finds the ids of a table in the names of files; give --table"),
        (["--table", "gone.csv"], "gone.csv"),
        (["--reference", "no-age.csv"], "has no column age"),
        (["--table", "p.csv", "--reference", "other-ages.csv"], "years old in one table and"),
        (["--table", "p.csv", "-o", "p.csv"], "is the --table that is read and would be replaced"),
    ],
)
def test_tables_that_cannot_be_used_are_refused_in_one_line(
    aekit, brains, phantom_cohort, scans, tmp_path, monkeypatch, options, message
):
    monkeypatch.chdir(tmp_path)
    people = pd.read_csv(phantom_cohort / "participants.tsv", sep="\t")[["participant_id", "age"]]
    people.to_csv("p.csv", index=False)
    people.iloc[:4].to_csv("few.csv", index=False)
    people[["participant_id"]].to_csv("no-age.csv", index=False)
    people.assign(age=people["age"] + 2).to_csv("other-ages.csv", index=False)
    people.assign(participant_id=[f"x{row}" for row in range(1, len(people) + 1)]).to_csv("others.csv", index=False)
    result = aekit("mri-predict", brains, *scans, "-q", *(["-o", "new.csv"] if "-o" not in options else []), *options)
    assert result.exit_code == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "new.csv").exists()


def test_scans_of_another_contrast_are_told_together_and_a_reference_gives_them_intervals(
    aekit, brains, phantom_cohort, scans, tmp_path
):
    for path in scans[:14]:
        image = nib.load(path)
        values = np.asarray(image.dataobj, np.float64)
        nib.save(nib.Nifti1Image((values**0.5 * 50).astype(np.float32), image.affine), tmp_path / path.name)
    new = sorted(tmp_path.glob("*.nii.gz"))
    same = aekit("mri-predict", brains, *scans[:14], "-o", tmp_path / "same.csv", "--json")
    assert json.loads(same.stdout)["batch"]["other_scanner"] is False
    assert "another scanner" not in same.stderr
    other = aekit("mri-predict", brains, *new, "-o", tmp_path / "other.csv", "--json")
    found = json.loads(other.stdout)["batch"]
    assert found["n"] >= 10  # without doubtful scans
    assert found["other_scanner"] is True
    assert found["shift"] > found["limit"]
    said = " ".join(aekit("mri-predict", brains, *new, "-o", tmp_path / "other.csv").stderr.split())
    assert f"another scanner: the {found['n']} scans together differ from the training by {found['shift']:.1f}" in said
    table = pd.read_csv(tmp_path / "other.csv")
    assert set(table["unlike_training"]) == {"yes"}
    assert table.filter(regex="_(low|high)$").isna().all(axis=None)
    assert table["warnings"].str.endswith("the scans together are from another scanner than that of the training").all()
    assert "batch" not in json.loads(aekit("mri-predict", brains, *new[:7], "-o", tmp_path / "7.csv", "--json").stdout)
    people = pd.read_csv(phantom_cohort / "participants.tsv", sep="\t")
    people[["participant_id", "age"]].iloc[:14].to_csv(tmp_path / "ref.csv", index=False)
    result = aekit("mri-predict", brains, *new, "--reference", tmp_path / "ref.csv", "-o", tmp_path / "ref-ages.csv")
    assert "ages are those recalibrated on the reference" in " ".join(result.stderr.split())
    table = pd.read_csv(tmp_path / "ref-ages.csv")
    assert (table["age_years_low"].notna() == table["age_years"].notna()).all()
    assert table["gmv_ml_low"].isna().all()


def test_a_checkpoint_without_the_test_of_all_scans_predicts_as_before(aekit, brains, scans, tmp_path):
    ensemble, _, header = read_ensemble(brains, torch.device("cpu"))
    del header.result["batch"]
    old = write_ensemble(tmp_path / "old.safetensors", ensemble, header)
    said = aekit("mri-predict", old, *scans[:9], "-o", tmp_path / "before.csv", "--json")
    assert "batch" not in json.loads(said.stdout)
    aekit("mri-predict", brains, *scans[:9], "-o", tmp_path / "new.csv")
    assert (tmp_path / "before.csv").read_bytes() == (tmp_path / "new.csv").read_bytes()


def test_copies_of_a_scan_are_named_and_count_once(aekit, brains, phantom_cohort, scans, tmp_path):
    copies = [tmp_path / f"sub-{number:04}_T1w.nii.gz" for number in range(1, 10)]
    for path in copies:
        path.write_bytes(scans[0].read_bytes())
    result = aekit("mri-predict", brains, *copies, "-o", tmp_path / "new.csv", "--json")
    assert result.exit_code == 0, result.stderr
    names = " and ".join(path.name for path in copies)
    assert f"the same scan in several files ({names}): check which names are wrong" in " ".join(result.stderr.split())
    assert "batch" not in json.loads(result.stdout)  # nine files, one scan: nothing is told by all scans together
    table = phantom_cohort / "participants.tsv"
    refused = aekit("mri-predict", brains, *copies, "--reference", table, "-o", tmp_path / "new.csv")
    assert refused.exit_code == 1
    assert "has 1 participant with an age and a usable scan among those given" in " ".join(refused.stderr.split())
    assert "the same scan" not in aekit("mri-predict", brains, *scans[:3], "-o", tmp_path / "new.csv").stderr
