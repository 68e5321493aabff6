import gzip
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from aekit.brains.volumes.nifti import (
    BadVolume,
    brain_intensities,
    brain_mask,
    check_volumes,
    list_volumes,
    read_volume,
)
from aekit.errors import AekitError

SHAPE = (9, 12, 7)
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def brain(shape=SHAPE, seed=0):
    """Return a box of 100 to 200 within zeros."""
    data = np.zeros(shape, np.float32)
    inner = tuple(slice(2, size - 2) for size in shape)
    data[inner] = np.random.default_rng(seed).uniform(100, 200, data[inner].shape)
    return data


def affine_of(axes="RAS", spacing=(2.0, 2.0, 2.0), shape=SHAPE):
    """Return the affine of a volume whose axes point to the letters, by nibabel."""
    turn = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(tuple(axes))
    )
    affine = np.diag([*spacing, 1.0]) @ nib.orientations.inv_ornt_aff(turn, shape)
    affine[:3, 3] += (-30, 10, 5)
    return affine


def write(path, data=None, affine=None, kind=nib.Nifti1Image, **header):
    data = brain() if data is None else data
    image = kind(data, affine_of() if affine is None else affine)
    image.header.set_xyzt_units("mm")
    path.write_bytes(patched(image.to_bytes(), kind, **header))
    return path


def patched(content, kind=nib.Nifti1Image, **header):
    """Return a plain NIfTI file with some fields of its header changed."""
    head = kind.header_class(content[: kind.header_class.sizeof_hdr], check=False)
    for name, value in header.items():
        head[name] = value
    return head.binaryblock + content[len(head.binaryblock) :]


def packed(path, content=None):
    path.write_bytes(gzip.compress(write(path.with_suffix(".tmp")).read_bytes() if content is None else content))
    path.with_suffix(".tmp").unlink(missing_ok=True)
    return path


# --- what is read ---


@pytest.mark.parametrize("axes", ["RAS", "LPS", "PSR", "LIA", "ASL"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_axes_become_right_anterior_superior_as_nibabel_has_it(tmp_path, axes, kind):
    path = write(tmp_path / "a.nii", affine=affine_of(axes, (1.0, 2.0, 3.0)), kind=kind)
    volume = read_volume(path)
    truth = nib.as_closest_canonical(nib.load(path))
    np.testing.assert_array_equal(volume.data, truth.get_fdata())
    np.testing.assert_allclose(volume.affine, truth.affine)
    np.testing.assert_allclose(volume.spacing_mm, nib.affines.voxel_sizes(truth.affine))
    assert (volume.orientation, volume.shape, volume.warnings) == (axes, SHAPE, ())
    assert volume.data.dtype == np.float32
    assert volume.data.flags.c_contiguous


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4", "f8", ">i2", ">f4"])
def test_every_kind_of_number_is_read_as_nibabel_reads_it(tmp_path, dtype):
    # nibabel writes floats into an integer type with a slope of its own.
    image = nib.Nifti1Image(brain(), affine_of())
    if dtype.startswith(">"):
        image = nib.Nifti1Image(brain(), affine_of(), header=nib.Nifti1Header(endianness=">"))
    image.set_data_dtype(dtype)
    path = packed(tmp_path / "a.nii.gz", image.to_bytes())
    np.testing.assert_allclose(read_volume(path).data, nib.load(path).get_fdata(), rtol=1e-6, atol=1e-5)
    assert np.ptp(read_volume(path).data) > 150


def test_a_fourth_axis_of_one_is_dropped(tmp_path):
    path = write(tmp_path / "a.nii", brain()[..., None, None])
    np.testing.assert_array_equal(read_volume(path).data, brain())


def test_a_file_of_joined_gzip_members_is_read_whole(tmp_path):
    content = write(tmp_path / "a.nii").read_bytes()
    path = tmp_path / "b.nii.gz"
    path.write_bytes(b"".join(gzip.compress(content[start : start + 500]) for start in range(0, len(content), 500)))
    np.testing.assert_array_equal(read_volume(path).data, brain())


def test_a_numpy_file_takes_the_voxel_size_it_is_given(tmp_path):
    np.save(tmp_path / "a.npy", np.asfortranarray(brain().astype(np.float64)))
    volume = read_volume(tmp_path / "a.npy", spacing_mm=2.5)
    np.testing.assert_array_equal(volume.data, brain())
    assert volume.spacing_mm == (2.5, 2.5, 2.5)
    assert volume.warnings == ()
    assert "1 mm is taken" in read_volume(tmp_path / "a.npy").warnings[0]


# --- what is odd ---


@pytest.mark.parametrize(
    ("header", "warning"),
    [
        ({"scl_slope": 0.0}, "scl_slope is 0"),
        ({"sform_code": 0, "qform_code": 0}, "left and what is right is a guess"),
        ({"pixdim": [1, 1, 1, 1, 0, 0, 0, 0]}, "pixdim says voxels of 1 x 1 x 1 mm, the affine 2 x 2 x 2"),
    ],
)
def test_what_is_odd_is_warned_of(tmp_path, header, warning):
    volume = read_volume(write(tmp_path / "a.nii", **header))
    assert any(warning in text for text in volume.warnings), volume.warnings


def test_a_slope_that_is_not_a_number_is_taken_as_one(tmp_path):
    volume = read_volume(write(tmp_path / "a.nii", brain().astype(np.int16), scl_slope=np.nan, scl_inter=np.nan))
    np.testing.assert_array_equal(volume.data, brain().astype(np.int16))
    assert "taken as 1" in volume.warnings[0]


@pytest.mark.parametrize(("degrees", "is_warned"), [(10, False), (30, True)])
def test_tilted_axes_are_warned_of(tmp_path, degrees, is_warned):
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    affine = np.array([[cos, -sin, 0, 0], [sin, cos, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]) @ affine_of()
    volume = read_volume(write(tmp_path / "a.nii", affine=affine))
    assert bool(volume.warnings) is is_warned
    np.testing.assert_allclose(volume.spacing_mm, 2, rtol=1e-6)


# --- what is refused ---


def flipped(content, position):
    return content[:position] + bytes([content[position] ^ 4]) + content[position + 1 :]


def nifti(data=None, kind=nib.Nifti1Image, **header):
    return patched(kind(brain() if data is None else data, affine_of()).to_bytes(), kind, **header)


def with_value(value):
    data = brain()
    data[4, 5, 3] = value
    return nifti(data)


BAD = {
    "a flipped byte": (lambda: flipped(gzip.compress(nifti()), 300), "damaged"),
    "a wrong CRC": (lambda: flipped(gzip.compress(nifti()), -6), "damaged"),
    "a truncated gzip file": (lambda: gzip.compress(nifti())[:-300], "cut short"),
    "a gzip file without its end": (lambda: gzip.compress(nifti())[:-4], "cut short"),
    "a truncated body": (lambda: gzip.compress(nifti()[:-40]), "cut short, 40 of 3,024 bytes"),
    "a truncated file": (lambda: nifti()[:-40], "cut short, 40 of"),
    "a header alone": (lambda: nifti()[:200], "no NIfTI"),
    "nothing": (lambda: b"", "empty"),
    "a web page": (lambda: b"\n<!DOCTYPE html><title>404</title>" + b" " * 400, "web page"),
    "a packed web page": (lambda: gzip.compress(b"<html>" + b" " * 400), "web page"),
    "a pointer": (lambda: LFS, "git-lfs"),
    "text": (lambda: b"participant_id\tage\n" * 50, "it is text"),
    "noise": (lambda: bytes(range(256)) * 4, "no NIfTI"),
    "four dimensions": (lambda: nifti(np.zeros((4, 5, 6, 7), np.float32)), "4-D (4x5x6x7)"),
    "a slice": (lambda: nifti(np.zeros((40, 50), np.float32)), "2-D"),
    "a flat volume": (lambda: nifti(np.zeros((40, 50, 1), np.float32)), "slice"),
    "no size": (lambda: nifti(dim=[3, 0, 12, 7, 1, 1, 1, 1]), "header is damaged"),
    "no affine": (lambda: nifti(srow_x=0), "plane"),
    "an affine of NaN": (lambda: nifti(srow_y=np.nan), "not finite"),
    "an affine in metres": (
        lambda: nifti(srow_x=[2e-3, 0, 0, 0], srow_y=[0, 2e-3, 0, 0], srow_z=[0, 0, 2e-3, 0]),
        "mm",
    ),
    "complex numbers": (lambda: nifti(brain().astype(np.complex64)), "complex"),
    "colours": (lambda: nifti(np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])), "colours"),
    "an unknown type": (lambda: nifti(datatype=77), "datatype 77"),
    "half of a pair": (lambda: nifti(magic=b"ni1"), "pair"),
    "NaN": (lambda: with_value(np.nan), "1 of 756 voxels are NaN"),
    "infinity": (lambda: with_value(-np.inf), "1 of 756 voxels are NaN or infinite"),
    "too large for single precision": (lambda: nifti(brain().astype(np.float64) * 1e37), "infinite"),
    "zeros": (lambda: nifti(np.zeros(SHAPE, np.float32)), "empty"),
    "a constant": (lambda: nifti(np.full(SHAPE, 7, np.int16)), "every voxel is 7"),
    "a huge promise": (lambda: gzip.compress(nifti(dim=[3, 30000, 30000, 30000, 1, 1, 1, 1])), "2 GB"),
    "a bomb": (lambda: gzip.compress(nifti() + bytes(30_000_000)), "more than its header"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_in_one_line_that_names_it(tmp_path, name):
    make, reason = BAD[name]
    content = make()
    path = tmp_path / ("a.nii.gz" if content[:2] == b"\x1f\x8b" else "a.nii")
    path.write_bytes(content)
    with pytest.raises(AekitError) as caught:
        read_volume(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert reason in message
    assert "; " in message
    assert "\n" not in message


def test_a_text_page_named_as_packed_is_refused(tmp_path):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(b"<html>not found</html>" + b" " * 400)
    with pytest.raises(AekitError, match="web page"):
        read_volume(path)


@pytest.mark.parametrize("name", ["a.mgz", "a.img", "a.hdr.gz", "a.dcm", "a.txt", "a"])
def test_other_formats_are_refused_by_name(tmp_path, name):
    (tmp_path / name).write_bytes(nifti())
    with pytest.raises(AekitError, match=r"is not read; convert it to \.nii\.gz"):
        read_volume(tmp_path / name)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(AekitError, match=r"a\.nii: cannot be read \(No such file"):
        read_volume(tmp_path / "a.nii")


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.array([[[1, "x"]]], object), "Python objects"),
        (np.zeros((4, 5)), "shape"),
        (np.zeros((4, 5, 6), np.complex64), "complex64"),
        (np.zeros((4, 5, 6)), "empty"),
        (np.full((4, 5, 6), np.nan), "NaN"),
    ],
)
def test_a_bad_numpy_file_is_refused(tmp_path, array, reason):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(AekitError, match=reason):
        read_volume(tmp_path / "a.npy", spacing_mm=1)


@pytest.mark.parametrize("length", [3, 60, 500])
def test_a_truncated_numpy_file_is_refused(tmp_path, length):
    np.save(tmp_path / "a.npy", brain())
    whole = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(whole[:length])
    with pytest.raises(AekitError, match=r"cut short or damaged|no \.npy"):
        read_volume(tmp_path / "a.npy", spacing_mm=1)


def test_no_flipped_bit_of_a_packed_file_changes_the_voxels(tmp_path):
    path = packed(tmp_path / "a.nii.gz")
    content, truth = path.read_bytes(), read_volume(path).data
    n_refused = 0
    for position in np.random.default_rng(0).integers(10, len(content), 150):
        path.write_bytes(flipped(content, int(position)))
        try:
            np.testing.assert_array_equal(read_volume(path).data, truth)
        except AekitError:
            n_refused += 1
    assert n_refused == 150


# --- masks ---


def ball(radius=7, size=24):
    grid = np.indices((size,) * 3) - (size - 1) / 2
    return np.sqrt((grid**2).sum(axis=0)) < radius


def test_a_mask_has_no_holes_and_no_specks():
    truth = ball()
    data = truth.astype(np.float32)
    data[11:13, 11:13, 11:13] = 0
    data[2, 2, 2] = 5
    np.testing.assert_array_equal(brain_mask(data), truth)


def test_the_background_may_be_any_one_value():
    data = np.where(ball(), 300.0, -1024.0).astype(np.float32)
    np.testing.assert_array_equal(brain_mask(data), ball())
    assert brain_intensities(data, ball()).max() == 1324


def test_a_noisy_background_is_left_out():
    random = np.random.default_rng(0)
    noise = random.normal(0, 10, (2, 24, 24, 24))
    data = np.hypot(ball() * 200 + noise[0], noise[1]).astype(np.float32)
    mask = brain_mask(data)
    dice = 2 * (mask & ball()).sum() / (mask.sum() + ball().sum())
    assert dice > 0.995


def test_the_faint_ripples_of_an_interpolation_are_left_out():
    data = np.where(ball(), 200, np.random.default_rng(0).normal(0, 0.5, (24, 24, 24))).astype(np.float32)
    np.testing.assert_array_equal(brain_mask(data), ball())


def test_a_constant_volume_has_no_brain():
    assert not brain_mask(np.ones((5, 6, 7), np.float32)).any()
    with pytest.raises(BadVolume, match="stands out"):
        brain_intensities(np.ones((5, 6, 7), np.float32), np.zeros((5, 6, 7), bool))


def test_a_standardised_brain_is_refused():
    data = np.where(ball(), np.random.default_rng(0).normal(0, 1, (24, 24, 24)), 0).astype(np.float32)
    with pytest.raises(BadVolume, match="darker than the background"):
        brain_intensities(data, brain_mask(data))


def test_a_few_negative_voxels_count_as_black():
    data = np.where(ball(), 100, 0).astype(np.float32)
    data[12, 12, 12] = -3
    assert brain_intensities(data, ball()).min() == 0


# --- folders ---


def test_volumes_are_found_in_subfolders_and_hidden_ones_are_not(tmp_path):
    for name in ("b/2.nii.gz", "a/1.NII", "3.npy", ".hidden/4.nii", "b/.5.nii.gz", "b/6.txt", "7.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list_volumes(tmp_path) == [tmp_path / name for name in ("3.npy", "a/1.NII", "b/2.nii.gz")]


def test_a_folder_without_volumes_says_what_it_holds_instead(tmp_path):
    (tmp_path / "a.mgz").touch()
    with pytest.raises(AekitError, match=r"holds no .* \(but \.mgz\)"):
        list_volumes(tmp_path)
    with pytest.raises(AekitError, match="is no folder"):
        list_volumes(tmp_path / "a.mgz")


def large_brain():
    """Return a ball of 7 mm voxels that has the volume of a brain."""
    return np.where(ball(), 150, 0).astype(np.float32)


def test_checks_tell_shape_spacing_and_volume_of_the_brain(tmp_path):
    affine = affine_of("LPS", (9.0, 9.0, 9.0), (24,) * 3)
    (check,) = check_volumes([write(tmp_path / "a.nii", large_brain(), affine)])
    assert (check.problem, check.warnings, check.orientation) == ("", (), "LPS")
    assert check.brain_ml == pytest.approx(ball().sum() * 0.729)
    np.testing.assert_allclose(check.spacing_mm, 9, rtol=1e-6)


def test_a_brain_of_impossible_volume_is_warned_of(tmp_path):
    (check,) = check_volumes([write(tmp_path / "a.nii", large_brain())])
    assert "12 mL: a wrong voxel size" in check.warnings[0]


def test_checks_go_on_after_bad_files_in_order(tmp_path):
    paths = []
    for number, (make, _) in enumerate(BAD.values()):
        content = make()
        paths.append(tmp_path / f"{number}.nii{'.gz' if content[:2] == bytes([31, 139]) else ''}")
        paths[-1].write_bytes(content)
    paths += [tmp_path / "missing.nii", write(tmp_path / "good.nii"), tmp_path]
    told = []
    checks = check_volumes(paths, jobs=3, on_progress=lambda what, done, total: told.append((done, total)))
    assert [check.path for check in checks] == paths
    assert [not check.problem for check in checks] == [path.name == "good.nii" for path in paths]
    assert checks[list(BAD).index("NaN")].n_nan == 1
    assert told[-1] == (len(paths), len(paths))


def test_checks_survive_damaged_headers(tmp_path):
    random = np.random.default_rng(0)
    whole = nifti(kind=nib.Nifti1Image)
    paths = []
    for number in range(300):
        content = bytearray(whole)
        for position in random.integers(0, 348, 4):
            content[position] = random.integers(256)
        paths.append(tmp_path / f"{number}.nii")
        paths[-1].write_bytes(bytes(content))
    checks = check_volumes(paths, jobs=2)
    assert 20 < sum(bool(check.problem) for check in checks) < 280


def test_a_copy_has_the_digest_of_the_scan_and_another_scan_has_not(tmp_path):
    write(tmp_path / "a.nii")
    paths = [tmp_path / "a.nii", packed(tmp_path / "copy.nii.gz"), tmp_path / "turned.nii"]
    nib.save(nib.load(paths[0]).as_reoriented(np.array([[1, -1], [0, 1], [2, -1]])), paths[2])
    other = brain()
    other[4, 5, 3] += 0.5
    paths += [write(tmp_path / "b.nii", other), write(tmp_path / "c.nii", affine=affine_of(spacing=(2, 2, 2.1)))]
    digests = [check.digest for check in check_volumes(paths)]
    assert digests[0] == digests[1] == digests[2]
    assert len(set(digests)) == 3


@pytest.mark.real_data
def test_the_masks_of_ixi_have_the_volumes_of_the_table():
    import pandas as pd

    folder = Path(os.environ["AEKIT_DATA"]) / "brain"
    table = pd.read_csv(folder / "tables" / "ixi_hh_participants.tsv", sep="\t")
    checks = check_volumes([folder / file for file in table["file"]])
    assert not [check for check in checks if check.problem or check.warnings]
    assert len({check.digest for check in checks}) == 181
    np.testing.assert_allclose([check.brain_ml for check in checks], table["tiv"], rtol=5e-4)
