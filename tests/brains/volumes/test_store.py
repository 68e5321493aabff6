import os
import re
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from analytic_head import degrees_between, head, rotation
from recorded import Recorded

import aekit.brains.volumes.store as module
from aekit.brains.volumes.gridding import Grid, to_grid
from aekit.brains.volumes.nifti import Volume
from aekit.brains.volumes.store import prepare_volumes, take_rows, unusual_poses, with_pose_warnings
from aekit.brains.volumes.template import Template, pose_of
from aekit.errors import AekitError

pytestmark = pytest.mark.slow  # each trains, draws or starts the program


def volume(data, spacing_mm=(3.0, 3.0, 3.0)):
    return Volume(np.asarray(data, np.float32), np.diag([*spacing_mm, 1.0]), spacing_mm, (), data.shape, "RAS")


def brain(shape=(40, 48, 44), centre=(20, 24, 22), axes=(12, 15, 13), seed=0):
    """Return an ellipsoid of intensities 100 to 200 within zeros."""
    where = np.indices(shape)
    inside = sum(((where[axis] - centre[axis]) / axes[axis]) ** 2 for axis in range(3)) < 1
    return np.where(inside, np.random.default_rng(seed).uniform(100, 200, shape), 0).astype(np.float32)


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
    # As if written a while ago: a file that has just changed may change again within one tick of the clock.
    os.utime(path, (time.time() - 100,) * 2)
    return path


@pytest.fixture
def paths(tmp_path):
    return [write(tmp_path / "volumes" / f"sub-{number}.nii", seed=number) for number in range(4)]


def test_rows_are_those_of_the_files_and_stay_on_disk(cache, paths):
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


def test_an_unchanged_folder_is_not_read_again(cache, paths, decoded, monkeypatch):
    monkeypatch.setattr(module, "_SETTLED_SECONDS", -1)
    first = prepare_volumes(paths, GRID)
    monkeypatch.setattr(module, "_hash_file", None)
    second = prepare_volumes(paths, GRID)
    assert len(decoded) == 4
    assert second.fingerprint == first.fingerprint
    for name in ("images", "histograms_ml", "brain_ml", "scale", "spacing_mm"):
        np.testing.assert_array_equal(getattr(second, name), getattr(first, name))
    assert (second.shapes, second.warnings, second.digests) == (first.shapes, first.warnings, first.digests)


def test_files_that_have_just_changed_are_read_again(cache, paths):
    prepare_volumes(paths, GRID)
    assert not list(cache.glob("*.key"))


def test_a_touched_or_copied_folder_is_not_decoded_again(cache, paths, decoded, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_SETTLED_SECONDS", -1)
    first = prepare_volumes(paths, GRID)
    for path in paths:
        path.touch()
    copies = [write(tmp_path / "copy" / path.name, seed=number) for number, path in enumerate(paths)]
    assert prepare_volumes(paths, GRID).fingerprint == prepare_volumes(copies, GRID).fingerprint == first.fingerprint
    assert len(decoded) == 4


def test_other_content_another_grid_and_another_order_are_other_stores(cache, paths, monkeypatch):
    monkeypatch.setattr(module, "_SETTLED_SECONDS", -1)
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
    with pytest.raises(AekitError, match=re.escape(f"{paths[2]}: the file is empty; fix it")):
        prepare_volumes(paths, GRID)


def test_bad_files_are_rows_of_zeros_when_skipped(cache, paths, monkeypatch):
    monkeypatch.setattr(module, "_SETTLED_SECONDS", -1)
    paths[1].write_bytes(b"")
    for _ in range(2):  # made, then opened
        prepared = prepare_volumes(paths, GRID, skip_bad=True)
        assert prepared.bad == {1: "the file is empty"}
        assert not prepared.images[1].any()
        assert prepared.images[2].any()
        assert prepared.digests[1] == ""
    with pytest.raises(AekitError, match="the file is empty"):
        prepare_volumes(paths, GRID)


def test_only_bad_files_are_an_error_even_when_skipped(cache, tmp_path):
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
def test_a_damaged_store_is_prepared_again(cache, paths, decoded, what):
    first = prepare_volumes(paths, GRID)
    for path in cache.glob(what):
        path.write_bytes(path.read_bytes()[:-10])
    assert prepare_volumes(paths, GRID).fingerprint == first.fingerprint
    assert len(decoded) == 8


def test_volumes_are_held_in_memory_if_the_cache_cannot_be_written(cache, paths, monkeypatch):
    whole = prepare_volumes(paths, GRID)
    blocked = cache.parent.parent / "file"
    blocked.write_text("")
    monkeypatch.setenv("AEKIT_CACHE", str(blocked))
    progress = Recorded()
    held = prepare_volumes(paths, GRID, progress=progress)
    (notice,) = progress.notices
    assert notice.startswith("decoding into memory, not ")
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
    assert "a .npy file has no voxel size, 1 mm is assumed" in prepared[0].warnings[0]
    assert prepared[1].brain_ml[0] == pytest.approx(27 * prepared[0].brain_ml[0])


@pytest.mark.real_data
def test_the_histograms_of_ixi_predict_the_tissue_volumes(cache):
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


# --- aligned to a template ---

POSES = ((8, -6, 10), (-5, 4, 0), (0, 9, -7))


def write_heads(folder, poses=POSES):
    folder.mkdir(exist_ok=True)
    paths = []
    for number, degrees in enumerate(poses):
        paths.append(folder / f"sub-{number}.nii")
        data = 100 * head((48, 56, 48), 4.0, linear=rotation(degrees))
        paths[-1].write_bytes(nib.Nifti1Image(data, np.diag([4.0, 4, 4, 1])).to_bytes())
        os.utime(paths[-1], (time.time() - 100,) * 2)
    return paths


@pytest.fixture(scope="module")
def straight():
    return Template(head().astype(np.float16))


def test_aligned_scans_are_alike_and_their_volumes_are_those_of_the_files(cache, tmp_path, straight):
    paths = write_heads(tmp_path / "heads")
    grid = Grid((24, 28, 24), 8.0)
    native = prepare_volumes(paths, grid)
    aligned = prepare_volumes(paths, grid, register="rigid", template=straight, jobs=1)
    for name in ("histograms_ml", "brain_ml", "scale", "digests", "warnings"):
        np.testing.assert_array_equal(getattr(aligned, name), getattr(native, name))
    for row, degrees in enumerate(POSES):
        pose = pose_of(aligned.poses[row])
        assert degrees_between(pose.matrix[:, :3], rotation(degrees)) < 0.3
    assert native.poses.size == 0
    assert native.template is None
    spread = [np.asarray(each.images, float).std(axis=0).mean() for each in (native, aligned)]
    assert spread[1] < 0.2 * spread[0]


def test_the_template_of_a_cohort_is_kept_with_its_scans_and_gives_the_same_images_to_others(
    cache, tmp_path, decoded, monkeypatch
):
    monkeypatch.setattr(module, "_SETTLED_SECONDS", -1)
    paths = write_heads(tmp_path / "heads")
    first = prepare_volumes(paths, GRID, register="rigid", jobs=1)
    n_decoded = len(decoded)
    again = prepare_volumes(paths, GRID, register="rigid", jobs=1)
    assert len(decoded) == n_decoded
    np.testing.assert_array_equal(again.poses, first.poses)
    np.testing.assert_array_equal(again.template.image, first.template.image)
    # As mri-predict does it: one scan, with the template of the training.
    alone = prepare_volumes(paths[1:2], GRID, register="rigid", template=first.template)
    np.testing.assert_array_equal(alone.images[0], first.images[1])
    np.testing.assert_array_equal(alone.poses[0], first.poses[1])


def test_how_and_to_what_scans_are_aligned_makes_another_store(cache, tmp_path, straight):
    paths = write_heads(tmp_path / "heads", POSES[:1])
    other = Template(head(linear=rotation((0, 0, 20))).astype(np.float16))
    stores = [prepare_volumes(paths, GRID, register="none")]
    stores += [prepare_volumes(paths, GRID, register="rigid", template=each) for each in (straight, other)]
    assert len({store.fingerprint for store in stores}) == 3


def test_bad_files_are_not_aligned(cache, tmp_path):
    paths = write_heads(tmp_path / "heads", POSES[:2])
    paths[0].write_bytes(b"")
    prepared = prepare_volumes(paths, GRID, register="affine", skip_bad=True, jobs=1)
    assert list(prepared.bad) == [0]
    assert not prepared.poses[0].any()
    assert prepared.poses[1, 12] > 0.9
    with pytest.raises(AekitError, match="the file is empty"):
        prepare_volumes(paths, GRID, register="affine")
    with pytest.raises(AekitError, match="the file is empty; fix it"):
        prepare_volumes(paths[:1], GRID, register="affine")


@pytest.mark.parametrize("damage", ["missing", "short", "other"])
def test_a_store_with_a_damaged_template_is_prepared_again(cache, tmp_path, straight, damage):
    paths = write_heads(tmp_path / "heads", POSES[:1])
    first = prepare_volumes(paths, GRID, register="rigid", template=straight)
    (path,) = cache.glob("*.template.npy")
    if damage == "missing":
        path.unlink()
    elif damage == "short":
        path.write_bytes(path.read_bytes()[:-10])
    else:
        np.save(path, np.zeros(3))
    again = prepare_volumes(paths, GRID, register="rigid", template=straight)
    assert again.fingerprint == first.fingerprint
    np.testing.assert_array_equal(again.template.image, straight.image)


def test_a_scan_upside_down_is_named_among_others(cache, tmp_path, straight):
    paths = write_heads(tmp_path / "heads", POSES[:2])
    prepared = prepare_volumes(paths, GRID, register="rigid", template=straight)
    limits = {"correlation": [0.9, 1.0], "scale": [0.9, 1.1], "rotation_deg": [0.0, 10.0]}
    assert list(unusual_poses(prepared, limits)) == [0]
    assert unusual_poses(prepared, {}) == {}


def test_how_intensities_are_scaled_makes_another_store(cache, paths):
    stores = [prepare_volumes(paths, GRID, intensity=how) for how in ("percentiles", "peaks")]
    assert stores[0].fingerprint != stores[1].fingerprint
    assert stores[0].fingerprint == prepare_volumes(paths, GRID).fingerprint
    np.testing.assert_array_equal(stores[0].brain_ml, stores[1].brain_ml)


def test_rows_keep_their_poses_and_are_warned_of_an_unusual_one(cache, tmp_path, straight):
    prepared = prepare_volumes(write_heads(tmp_path / "heads"), GRID, register="rigid", template=straight, jobs=1)
    taken = take_rows(prepared, np.array([2, 0]))
    np.testing.assert_array_equal(taken.poses, prepared.poses[[2, 0]])
    assert taken.template is prepared.template
    limits = {"correlation": [0.0, 1.0], "scale": [0.1, 9.0], "rotation_deg": [0.0, 13.0]}
    assert with_pose_warnings(prepared, {}).warnings == prepared.warnings
    warned = with_pose_warnings(taken, limits).warnings  # only the first was turned by more than 13 degrees
    assert list(warned) == [1]
    assert warned[1][-1].startswith("turned by 14 degrees to match the template")
