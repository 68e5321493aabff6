import os
import re
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.stats import norm

import aekit.brains.volumes.store as module
from aekit.brains.volumes.nifti import Volume
from aekit.brains.volumes.store import N_BINS, TOP, Grid, overlap_weights, prepare_volumes, to_grid
from aekit.errors import AekitError


def volume(data, spacing_mm=(3.0, 3.0, 3.0)):
    return Volume(np.asarray(data, np.float32), np.diag([*spacing_mm, 1.0]), spacing_mm, (), data.shape, "RAS")


def brain(shape=(40, 48, 44), centre=(20, 24, 22), axes=(12, 15, 13), seed=0):
    """Return an ellipsoid of intensities 100 to 200 within zeros."""
    where = np.indices(shape)
    inside = sum(((where[axis] - centre[axis]) / axes[axis]) ** 2 for axis in range(3)) < 1
    return np.where(inside, np.random.default_rng(seed).uniform(100, 200, shape), 0).astype(np.float32)


# --- averaging ---


def test_overlap_weights_are_those_of_a_fine_ruler():
    edges_mm = np.array([-5.0, -2.5, 0.3, 1.1, 6.2])
    weights = overlap_weights(edges_mm, 4, 2.0)
    ruler = np.arange(-6, 7, 1e-4) + 5e-5
    new, old = np.floor((ruler + 4) / 2), np.searchsorted(edges_mm, ruler) - 1
    counted = [[np.sum((new == i) & (old == j)) * 1e-4 / 2 for j in range(4)] for i in range(4)]
    np.testing.assert_allclose(weights, counted, atol=1e-3)


@pytest.mark.parametrize("spacing_mm", [(3.0, 3.0, 3.0), (1.3, 2.0, 4.7), (2.0, 2.0, 2.0)])
@pytest.mark.parametrize("grid", [Grid((50, 50, 50), 5.0), Grid((110, 120, 116), 2.2), Grid((30, 32, 60), 7.31)])
def test_intensity_times_volume_is_kept_at_any_ratio_of_sizes(spacing_mm, grid):
    data = brain()
    gridded = to_grid(volume(data, spacing_mm), grid)
    before = data.sum(dtype=np.float64) / gridded.scale * np.prod(spacing_mm)
    assert gridded.image.sum(dtype=np.float64) * grid.spacing_mm**3 == pytest.approx(before, rel=1e-4)
    assert gridded.cut < 1e-4
    assert not [text for text in gridded.warnings if "outside the grid" in text]


def test_whole_ratios_are_means_of_blocks():
    # A box, so that its centroid lies on a corner of voxels and of blocks.
    data = np.zeros((32, 32, 32), np.float32)
    data[8:24, 6:26, 4:28] = np.random.default_rng(0).uniform(100, 200, (16, 20, 24))
    gridded = to_grid(volume(data, (2.0, 2.0, 2.0)), Grid((16, 16, 16), 4.0))
    blocks = data.reshape(16, 2, 16, 2, 16, 2).mean(axis=(1, 3, 5)) / gridded.scale
    np.testing.assert_allclose(gridded.image, blocks, atol=1e-6)


def test_noise_falls_as_it_must_when_eight_voxels_become_one():
    data = np.zeros((40, 40, 40), np.float32)
    data[4:36, 4:36, 4:36] = np.random.default_rng(0).normal(500, 20, (32, 32, 32))
    gridded = to_grid(volume(data, (2.0, 2.0, 2.0)), Grid((20, 20, 20), 4.0))
    inner = gridded.image[3:17, 3:17, 3:17] * gridded.scale
    assert inner.std() == pytest.approx(20 / np.sqrt(8), rel=0.05)


def test_the_same_grid_gives_the_image_back():
    data = np.zeros((24, 24, 24), np.float32)
    data[6:18, 5:19, 4:20] = np.random.default_rng(0).uniform(100, 200, (12, 14, 16))
    gridded = to_grid(volume(data), Grid((24, 24, 24), 3.0))
    np.testing.assert_allclose(gridded.image, data / gridded.scale, atol=1e-6)


def test_where_the_brain_lies_in_the_file_does_not_matter():
    data = brain()
    moved = np.roll(data, (5, -6, 4), axis=(0, 1, 2))
    grid = Grid((24, 26, 25), 6.5)
    np.testing.assert_allclose(to_grid(volume(moved), grid).image, to_grid(volume(data), grid).image, atol=1e-5)


def test_the_centroid_of_the_mask_is_the_centre_of_the_grid():
    data = brain(centre=(18.3, 25.8, 21.1))
    data[data > 0] = 100
    image = to_grid(volume(data, (2.0, 3.0, 4.0)), Grid((30, 40, 50), 4.0)).image
    centroid = [
        (np.arange(n) @ image.sum(axis=others)) / image.sum()
        for n, others in zip(image.shape, ((1, 2), (0, 2), (0, 1)), strict=True)
    ]
    np.testing.assert_allclose(centroid, [14.5, 19.5, 24.5], atol=1e-3)


def test_gain_and_offset_of_the_scanner_do_not_matter():
    data, grid = brain(), Grid((24, 26, 25), 6.0)
    plain = to_grid(volume(data), grid)
    other = to_grid(volume(np.where(data > 0, 7 * data, 0) - 50), grid)
    np.testing.assert_allclose(other.image, plain.image, atol=1e-5)
    np.testing.assert_allclose(other.histogram_ml, plain.histogram_ml, atol=1e-3)
    assert other.scale == pytest.approx(7 * plain.scale, rel=1e-5)


def test_a_few_very_bright_voxels_hardly_matter():
    data, grid = brain(), Grid((24, 26, 25), 6.0)
    bright = data.copy()
    bright[20, 24, 20:23] = 1e6
    plain, other = to_grid(volume(data), grid), to_grid(volume(bright), grid)
    assert other.scale == pytest.approx(plain.scale, rel=1e-3)
    assert other.image.max() <= TOP
    assert other.cut < 1e-4
    assert np.abs(other.image - plain.image).max() < 0.2


def test_the_histogram_is_that_of_the_voxels_of_the_file_smoothed_by_a_bin():
    data, spacing_mm = brain(), (1.5, 2.0, 2.5)
    gridded = to_grid(volume(data, spacing_mm), Grid((24, 26, 25), 6.0))
    scaled = data[data > 0] / gridded.scale
    ends = np.linspace(0, TOP, N_BINS + 1)
    shares = np.diff(norm.cdf((ends[:, None] - scaled) / (TOP / N_BINS)), axis=0)
    np.testing.assert_allclose(gridded.histogram_ml, shares.sum(axis=1) * 0.0075, atol=0.02)
    assert gridded.histogram_ml.max() > 1
    assert gridded.brain_ml == pytest.approx(scaled.size * 0.0075)


def test_the_histogram_holds_the_whole_brain_however_bright():
    data = brain()
    data[15:25, 20:28, 18:26] = 900
    gridded = to_grid(volume(data), Grid((24, 26, 25), 6.0))
    assert gridded.histogram_ml.sum() == pytest.approx(gridded.brain_ml, rel=1e-6)
    assert gridded.histogram_ml[-3:].sum() == pytest.approx(640 * 0.027, rel=0.01)


def test_steps_of_eight_bits_hardly_show_in_the_histogram():
    data = brain()
    steps = np.where(data > 0, np.rint(data / 4) * 4, 0)
    plain, rough = (to_grid(volume(each), Grid((24, 26, 25), 6.0)).histogram_ml for each in (data, steps))
    assert np.abs(rough - plain).sum() < 0.03 * plain.sum()


def test_a_brain_that_does_not_fit_is_warned_of_with_the_share_that_is_lost():
    data = np.zeros((30, 30, 30), np.float32)
    data[5:25, 5:25, 5:25] = 100
    gridded = to_grid(volume(data), Grid((20, 20, 10), 3.0))
    assert gridded.cut == pytest.approx(0.5, abs=1e-4)
    assert "50.0 % of the brain lies outside the grid of 20x20x10 voxels of 3 mm" in gridded.warnings[-1]


@pytest.mark.parametrize(
    "values", [((3, 40, 40), 4.0), ((40, 40, 600), 4.0), ((40, 40, 40), 0.0), ((40, 40, 40), 99.0)]
)
def test_a_grid_that_cannot_be_is_refused(values):
    with pytest.raises(AekitError, match=r"--(size|spacing): "):
        Grid(*values)


# --- the store ---

GRID = Grid((16, 18, 17), 9.0)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AEKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "volumes"


@pytest.fixture
def decoded(monkeypatch):
    """Return a list that grows with every volume that is decoded."""
    calls = []
    decode = module.decode_volume

    def counting(path, spacing_mm):
        calls.append(path)
        return decode(path, spacing_mm)

    monkeypatch.setattr(module, "decode_volume", counting)
    return calls


def write(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(nib.Nifti1Image(brain(seed=seed), np.diag([3.0, 3, 3, 1])).to_bytes())
    # As if it had been there for a while: what has just changed may change again within one tick of the clock.
    os.utime(path, (time.time() - 100,) * 2)
    return path


@pytest.fixture
def paths(tmp_path):
    return [write(tmp_path / "volumes" / f"sub-{number}.nii", seed=number) for number in range(4)]


def test_rows_are_those_of_the_files_and_lie_on_disk(cache, paths):
    prepared = prepare_volumes(paths, GRID)
    for row in range(4):
        alone = to_grid(volume(brain(seed=row)), GRID)
        np.testing.assert_array_equal(prepared.images[row], alone.image.astype(np.float16))
        np.testing.assert_allclose(prepared.histograms_ml[row], alone.histogram_ml)
        assert (prepared.brain_ml[row], prepared.scale[row]) == (alone.brain_ml, alone.scale)
    assert isinstance(prepared.images.base, np.memmap)
    assert prepared.images.dtype == np.float16
    assert not prepared.images.flags.writeable
    assert (prepared.shapes, prepared.bad, len(set(prepared.digests))) == ([(40, 48, 44)] * 4, {}, 4)
    np.testing.assert_allclose(prepared.spacing_mm, 3)
    assert sorted(path.name.partition(".")[2] for path in cache.iterdir()) == ["json", "npy", "rows.npy"]


def test_an_unchanged_folder_is_not_even_read(cache, paths, decoded, monkeypatch):
    monkeypatch.setattr(module, "_SETTLED_S", -1)
    first = prepare_volumes(paths, GRID)
    monkeypatch.setattr(module, "_hash_file", None)
    second = prepare_volumes(paths, GRID)
    assert len(decoded) == 4
    assert second.fingerprint == first.fingerprint
    for name in ("images", "histograms_ml", "brain_ml", "scale", "spacing_mm"):
        np.testing.assert_array_equal(getattr(second, name), getattr(first, name))
    assert (second.shapes, second.warnings, second.digests) == (first.shapes, first.warnings, first.digests)


def test_what_has_just_changed_is_read_again(cache, paths):
    prepare_volumes(paths, GRID)
    assert not list(cache.glob("*.key"))


def test_a_touched_or_copied_folder_is_not_decoded_again(cache, paths, decoded, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_SETTLED_S", -1)
    first = prepare_volumes(paths, GRID)
    for path in paths:
        path.touch()
    copies = [write(tmp_path / "copy" / path.name, seed=number) for number, path in enumerate(paths)]
    assert prepare_volumes(paths, GRID).fingerprint == prepare_volumes(copies, GRID).fingerprint == first.fingerprint
    assert len(decoded) == 4


def test_other_content_another_grid_and_another_order_are_other_stores(cache, paths, monkeypatch):
    monkeypatch.setattr(module, "_SETTLED_S", -1)
    first = prepare_volumes(paths, GRID)
    others = [prepare_volumes(paths[::-1], GRID), prepare_volumes(paths, Grid((16, 18, 17), 8.0))]
    write(paths[2], seed=99)
    others.append(prepare_volumes(paths, GRID))
    assert len({first.fingerprint, *(other.fingerprint for other in others)}) == 4
    np.testing.assert_array_equal(others[0].images, first.images[::-1])


def test_the_number_of_threads_does_not_matter(cache, paths, monkeypatch):
    stores = []
    for jobs in (1, 3):
        monkeypatch.setenv("AEKIT_CACHE", str(cache / str(jobs)))
        stores.append(prepare_volumes(paths, GRID, jobs=jobs))
    assert stores[0].fingerprint == stores[1].fingerprint


def test_all_bad_files_are_named_at_once(cache, paths):
    paths[1].write_bytes(b"<html>" + b" " * 400)
    paths[3].write_bytes(paths[3].read_bytes()[:-7])
    with pytest.raises(AekitError) as caught:
        prepare_volumes(paths, GRID)
    message = str(caught.value)
    assert message.startswith(f"{paths[0].parent}: 2 of 4 volumes cannot be used: sub-1.nii (it is a web page")
    assert "sub-3.nii (it is cut short, 7 of" in message
    assert message.endswith("--skip-bad")
    assert "\n" not in message


def test_of_many_bad_files_twenty_are_named(cache, tmp_path):
    paths = [tmp_path / f"{number}.nii" for number in range(30)]
    for path in paths[1:]:
        path.write_bytes(b"text " * 100)
    write(paths[0])
    with pytest.raises(AekitError, match=r"29 of 30 volumes .* 20\.nii \(it is text, not a volume\), and 9 more; "):
        prepare_volumes(paths, GRID)


def test_a_single_bad_file_is_named_with_its_path(cache, paths):
    paths[2].write_bytes(b"")
    with pytest.raises(AekitError, match=re.escape(f"{paths[2]}: the file is empty; mend it")):
        prepare_volumes(paths, GRID)


def test_bad_files_are_rows_of_zeros_when_skipped(cache, paths, monkeypatch):
    monkeypatch.setattr(module, "_SETTLED_S", -1)
    paths[1].write_bytes(b"")
    for _ in range(2):  # made, then opened
        prepared = prepare_volumes(paths, GRID, skip_bad=True)
        assert prepared.bad == {1: "the file is empty"}
        assert not prepared.images[1].any()
        assert prepared.images[2].any()
        assert prepared.digests[1] == ""
    with pytest.raises(AekitError, match="the file is empty"):
        prepare_volumes(paths, GRID)


def test_nothing_but_bad_files_is_refused_even_when_skipped(cache, tmp_path):
    (tmp_path / "a.nii").write_bytes(b"")
    (tmp_path / "b.nii").write_bytes(b"")
    with pytest.raises(AekitError, match=r"2 of 2 volumes cannot be used: a\.nii .*; give other files"):
        prepare_volumes([tmp_path / "a.nii", tmp_path / "b.nii"], GRID, skip_bad=True)


def test_a_file_that_is_not_there_is_named(cache, paths):
    with pytest.raises(AekitError, match=r"gone\.nii: cannot be read"):
        prepare_volumes([*paths, paths[0].with_name("gone.nii")], GRID)


def test_the_same_scan_under_two_names_has_one_digest(cache, paths, tmp_path):
    prepared = prepare_volumes([*paths, write(tmp_path / "twin.nii", seed=2)], GRID)
    assert prepared.digests[4] == prepared.digests[2]
    assert len(set(prepared.digests)) == 4


@pytest.mark.parametrize("what", ["*.npy", "*.rows.npy", "*.json"])
def test_a_store_that_is_not_whole_is_made_again(cache, paths, decoded, what):
    first = prepare_volumes(paths, GRID)
    for path in cache.glob(what):
        path.write_bytes(path.read_bytes()[:-10])
    assert prepare_volumes(paths, GRID).fingerprint == first.fingerprint
    assert len(decoded) == 8


def test_volumes_are_held_in_memory_where_nothing_can_be_written(cache, paths, monkeypatch):
    whole = prepare_volumes(paths, GRID)
    blocked = cache.parent.parent / "file"
    blocked.write_text("")
    monkeypatch.setenv("AEKIT_CACHE", str(blocked))
    told = []
    held = prepare_volumes(paths, GRID, on_progress=lambda what, *_: told.append(what))
    assert any(what.startswith("decoding into memory") for what in told)
    assert held.fingerprint == whole.fingerprint
    np.testing.assert_array_equal(held.images, whole.images)


def test_a_full_disk_leaves_nothing_half_written(cache, paths, monkeypatch):
    monkeypatch.setattr(module.os, "pwrite", lambda *_: 0)
    assert prepare_volumes(paths, GRID).images.any()
    assert not list(cache.iterdir())


def test_a_file_that_changes_while_it_is_read_is_refused(cache, paths, monkeypatch):
    hash_files = module._hash_files

    def hash_and_change(job):
        digests = hash_files(job)
        write(paths[1], seed=50)
        return digests

    monkeypatch.setattr(module, "_hash_files", hash_and_change)
    with pytest.raises(AekitError, match=r"sub-1\.nii: changed while it was read"):
        prepare_volumes(paths, GRID)
    assert not list(cache.iterdir())


def test_the_voxel_size_of_numpy_files_counts(cache, tmp_path):
    np.save(tmp_path / "a.npy", brain())
    sizes = [None, 3.0]
    prepared = [prepare_volumes([tmp_path / "a.npy"], GRID, spacing_mm=size) for size in sizes]
    assert [store.spacing_mm.tolist() for store in prepared] == [[[1.0] * 3], [[3.0] * 3]]
    assert "a .npy file has no voxel size, 1 mm is taken" in prepared[0].warnings[0]
    assert prepared[1].brain_ml[0] == pytest.approx(27 * prepared[0].brain_ml[0])


@pytest.mark.real_data
def test_the_histograms_of_ixi_tell_the_tissue_volumes(cache):
    import pandas as pd
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import KFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    folder = Path(os.environ["AEKIT_DATA"]) / "brain"
    table = pd.read_csv(folder / "tables" / "ixi_hh_participants.tsv", sep="\t")
    prepared = prepare_volumes([folder / file for file in table["file"]], Grid((48, 48, 48), 4.0))
    assert not prepared.warnings
    truth = table[["gmv", "wmv", "csfv"]].to_numpy()
    model = make_pipeline(StandardScaler(), Ridge(10.0))
    guess = cross_val_predict(model, prepared.histograms_ml, truth, cv=KFold(5, shuffle=True, random_state=0))
    r2 = 1 - ((guess - truth) ** 2).sum(axis=0) / ((truth - truth.mean(axis=0)) ** 2).sum(axis=0)
    assert (r2 > [0.96, 0.93, 0.92]).all(), r2
