import json

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch

from aekit.brains.members import read_ensemble, write_ensemble

pytestmark = pytest.mark.slow  # each trains, draws or starts the program

GRID = ("--size", 12, "--spacing", 16)
FAST = ("--samples", 2, "--randomisations", 0, "--figures", 0, "--cube", 32, "--threads", 1)


@pytest.fixture(scope="module")
def brains(aekit, phantom_cohort, tmp_path_factory):
    """Return a checkpoint with all stages, trained on the phantoms for two epochs."""
    path = tmp_path_factory.mktemp("brains") / "m.safetensors"
    options = ("--volumes", phantom_cohort / "volumes", *GRID, "--epochs", 2, "--seeds", 1, "--direct", "--threads", 1)
    result = aekit("mri-train", phantom_cohort / "participants.tsv", *options, "-o", path)
    assert result.exit_code == 0, result.stderr
    return path


@pytest.fixture(scope="module")
def planted(brains, tmp_path_factory):
    """Return the checkpoint with direct networks that see only one bin of the histogram."""
    ensemble, _, header = read_ensemble(brains, torch.device("cpu"))
    for stages in ensemble.networks.values():
        network = stages["direct"].net
        for parameter in stages["direct"].parameters():
            parameter.data.zero_()
        network.histogram_head.weight.data[0, 20] = 0.5
    return write_ensemble(tmp_path_factory.mktemp("planted") / "p.safetensors", ensemble, header)


@pytest.fixture(scope="module")
def scans(phantom_cohort):
    return sorted((phantom_cohort / "volumes").iterdir())


@pytest.fixture(scope="module")
def explained(aekit, brains, scans, phantom_cohort, tmp_path_factory):
    """Return the folder of the explanation of four scans, and what the command said of it."""
    folder = tmp_path_factory.mktemp("explained") / "maps"
    groups = ("--table", phantom_cohort / "participants.tsv", "--group", "sex")
    options = (*FAST, "--randomisations", 2, "--figures", 1, *groups)
    result = aekit("mri-explain", brains, *scans[:4], *options, "--json", "-o", folder)
    assert result.exit_code == 0, result.stderr
    return folder, result


def test_the_path_is_that_of_the_figure_and_json_has_the_fractions_and_the_test(explained):
    folder, result = explained
    said = json.loads(result.stdout)
    assert said["path"] == str(folder / "explain.png")
    assert (said["model"], said["n"], said["networks"]) == ("chain", 4, 1)
    assert set(said) >= {"histogram_fraction", "image_fraction"}
    table = pd.read_csv(folder / "explain.randomisation.csv")
    for kind in ("occlusion", "smoothgrad"):
        own = table[(table["map"] == kind) & (table["compared"] == "trained, all random")]
        mean = [own[name].abs().mean() for name in ("rank_correlation", "rank_correlation_absolute")]
        assert said[kind]["rank_correlation"]["trained, all random"] == pytest.approx(mean, rel=1e-6)
        assert said[kind]["passes"] == (np.abs(mean).max() <= 0.5)
        assert f"{kind}: {'passes' if said[kind]['passes'] else 'fails'} the randomisation test" in result.stderr


def test_maps_lie_over_their_scans_in_the_files(explained, scans):
    folder, _ = explained
    table = pd.read_csv(folder / "explain.csv")
    for (_, row), scan in zip(table.iterrows(), scans, strict=False):
        original = nibabel.load(scan)
        grid, occlusion, smoothgrad = (
            nibabel.load(folder / f"{row['name']}.{kind}.nii.gz") for kind in ("grid", "occlusion", "smoothgrad")
        )
        brain = np.stack(np.nonzero(original.get_fdata() > 0)).mean(1)
        centre = original.affine[:3, :3] @ brain + original.affine[:3, 3]
        middle = grid.affine @ [*(np.array(grid.shape) - 1) / 2, 1]
        np.testing.assert_allclose(middle[:3], centre, atol=0.5)
        for name, found in (("occlusion_peak_years", occlusion), ("smoothgrad_peak_years_per_unit", smoothgrad)):
            values = found.get_fdata()
            np.testing.assert_array_equal(found.affine, grid.affine)
            assert (values[grid.get_fdata() == 0] == 0).all()
            peak = [row[f"{name.split('_')[0]}_peak_{axis}_mm"] for axis in "xyz"]
            voxel = np.rint(np.linalg.inv(found.affine) @ [*peak, 1])[:3].astype(int)
            assert values[tuple(voxel)] == pytest.approx(row[name], rel=1e-4)
            assert abs(row[name]) == pytest.approx(np.abs(values).max(), rel=1e-4)


def test_ages_are_those_of_mri_predict(aekit, explained, brains, scans, tmp_path):
    aekit("mri-predict", brains, *scans[:4], "-o", tmp_path / "new.csv", "-q")
    ages = pd.read_csv(explained[0] / "explain.csv")["age_years"]
    predicted = pd.read_csv(tmp_path / "new.csv")["chain_age_years"]
    has_age = predicted.notna()  # a doubtful scan has none, but is explained
    assert has_age.any()
    np.testing.assert_allclose(ages[has_age], predicted[has_age], rtol=1e-4)


def test_mean_maps_are_the_means_of_the_scans_and_of_groups(explained, phantom_cohort):
    folder, _ = explained
    table = pd.read_csv(folder / "explain.csv")
    people = pd.read_csv(phantom_cohort / "participants.tsv", sep="\t").set_index("participant_id")
    assert table["group"].tolist() == [people["sex"][name.split("_")[0]] for name in table["name"]]
    maps = np.stack([nibabel.load(folder / f"{name}.occlusion.nii.gz").get_fdata() for name in table["name"]])
    women = (table["group"] == "F").to_numpy()
    expected = {
        "explain": maps.mean(0),
        "explain.F": maps[women].mean(0),
        "explain.M": maps[~women].mean(0),
        "explain.F-minus-M": maps[women].mean(0) - maps[~women].mean(0),
    }
    for stem, values in expected.items():
        found = nibabel.load(folder / f"{stem}.occlusion.nii.gz").get_fdata()
        np.testing.assert_allclose(found, values, atol=1e-4)
        assert (folder / f"{stem}.png").stat().st_size < 300_000


def test_the_same_seed_gives_the_same_bytes(aekit, explained, brains, scans, phantom_cohort, tmp_path):
    options = (*FAST, "--randomisations", 2, "--figures", 1)
    groups = ("--table", phantom_cohort / "participants.tsv", "--group", "sex")
    result = aekit("mri-explain", brains, *scans[:4], *options, *groups, "-q", "-o", tmp_path / "maps")
    assert result.paths == [tmp_path / "maps" / "explain.png"]
    assert result.stderr == ""
    files = sorted(path.name for path in explained[0].iterdir())
    assert files == sorted(path.name for path in (tmp_path / "maps").iterdir())
    for name in files:
        assert (tmp_path / "maps" / name).read_bytes() == (explained[0] / name).read_bytes(), name


def test_a_network_that_sees_only_the_histogram_has_empty_maps_and_says_so(aekit, planted, scans, tmp_path):
    result = aekit("mri-explain", planted, *scans[:3], *FAST, "--model", "direct", "-o", tmp_path / "maps")
    assert result.exit_code == 0, result.stderr
    assert "100 % comes from the intensity histogram alone and 0 % from the image" in " ".join(result.stderr.split())
    table = pd.read_csv(tmp_path / "maps" / "explain.csv")
    assert table["age_years"].nunique() == 3
    assert (table[["occlusion_sum_years", "occlusion_peak_years", "smoothgrad_peak_years_per_unit"]] == 0).all(
        axis=None
    )


def _refused(aekit, *arguments):
    result = aekit("mri-explain", *arguments)
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, lines
    return result.exit_code, lines[0]


def test_what_cannot_be_explained_is_refused_in_one_line(
    aekit, brains, vae_checkpoint, scans, phantom_cohort, tmp_path
):
    out = ("-o", tmp_path / "maps")
    table = ("--table", phantom_cohort / "participants.tsv")
    one = (brains, scans[0])
    for arguments, code, text in (
        ((vae_checkpoint, scans[0], *out), 1, "holds an autoencoder"),
        ((brains, tmp_path / "none.nii", *out), 1, "does not exist"),
        ((brains, *out), 2, "Missing argument 'SCAN'"),
        ((*one, "--model", "volumes", *out), 2, "'volumes' is not one of"),
        ((*one, "-o", scans[0].parent), 1, "choose a folder without scans"),
        ((*one, "-o", tmp_path / "x.png"), 1, "give a path without a suffix"),
        ((*one, *out, "--group", "sex"), 2, "add --table"),
        ((*one, *out, *table), 2, "add --group"),
        ((*one, *out, *table, "--group", "sexx"), 1, "did you mean 'sex'?"),
        ((*one, *out, *table, "--group", "sex"), 1, "1 value among the scans"),
        ((*one, *out, "--randomisations", 1), 2, "--randomisations"),
        ((*one, *out, "--cube", "-3"), 2, "--cube"),
        ((*one, *out, "--noise", "nan"), 2, "--noise"),
    ):
        found = _refused(aekit, *arguments)
        assert found[0] == code, (arguments, found)
        assert text in found[1], (text, found)
    assert not (tmp_path / "maps").exists() or not list((tmp_path / "maps").iterdir())


def test_an_unfinished_training_and_networks_that_are_not_there_are_refused(aekit, brains, scans, tmp_path):
    ensemble, _, header = read_ensemble(brains, torch.device("cpu"))
    for stages in ensemble.networks.values():
        del stages["direct"]
    without = write_ensemble(tmp_path / "x.safetensors", ensemble, header)
    assert "has no direct networks; use --model chain" in _refused(aekit, without, scans[0], "--model", "direct")[1]
    header.result.clear()
    unfinished = write_ensemble(tmp_path / "y.safetensors", ensemble, header)
    assert "is an unfinished run" in _refused(aekit, unfinished, scans[0])[1]


def test_a_scan_without_a_participant_is_named(aekit, brains, scans, phantom_cohort, tmp_path):
    rows = pd.read_csv(phantom_cohort / "participants.tsv", sep="\t").iloc[1:]
    rows.to_csv(tmp_path / "some.tsv", sep="\t", index=False)
    groups = ("--table", tmp_path / "some.tsv", "--group", "sex")
    code, text = _refused(aekit, brains, *scans[:3], *groups, "-o", tmp_path / "maps")
    assert code == 1
    assert f"has no participant for 1 scan: {scans[0].name}" in text
