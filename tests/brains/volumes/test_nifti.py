import gzip

import nibabel as nib
import numpy as np
import pytest
from nifti_files import BAD_FILES, SHAPE, affine_of, ball, brain, flipped, nifti, packed, write

from aekit.brains.volumes.checks import inspect_volume
from aekit.brains.volumes.nifti import list_volumes, read_volume
from aekit.errors import AekitError

# --- reading ---


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


def test_a_numpy_file_has_the_voxel_size_it_is_given(tmp_path):
    np.save(tmp_path / "a.npy", np.asfortranarray(brain().astype(np.float64)))
    volume = read_volume(tmp_path / "a.npy", spacing_mm=2.5)
    np.testing.assert_array_equal(volume.data, brain())
    assert volume.spacing_mm == (2.5, 2.5, 2.5)
    assert volume.warnings == ()
    assert "1 mm is assumed" in read_volume(tmp_path / "a.npy").warnings[0]


# --- warnings ---


@pytest.mark.parametrize(
    ("header", "warning"),
    [
        ({"scl_slope": 0.0}, "scl_slope is 0"),
        ({"sform_code": 0, "qform_code": 0}, "left and right are a guess"),
        ({"pixdim": [1, 1, 1, 1, 0, 0, 0, 0]}, "pixdim gives voxels of 1 x 1 x 1 mm, the affine 2 x 2 x 2"),
    ],
)
def test_an_unusual_header_is_a_warning(tmp_path, header, warning):
    volume = read_volume(write(tmp_path / "a.nii", **header))
    assert any(warning in text for text in volume.warnings), volume.warnings


def test_an_affine_of_the_qform_is_that_of_nibabel(tmp_path):
    turned = np.eye(4)
    turned[:3, :3] = nib.eulerangles.euler2mat(0.1, -0.2, 0.15) @ np.diag([-2.0, 1.5, 2.5])
    image = nib.Nifti1Image(brain(), turned)
    image.set_sform(turned, code=0)
    image.set_qform(turned, code=1)
    original = image.to_bytes()
    for number, pixdim in enumerate(
        [{}, {0: 0.0}, {0: -1.0}, {0: 1.0}, {0: 7.0}, {1: -2.0}, {0: 0.0, 2: -1.5, 3: -2.5}]
    ):
        header = nib.Nifti1Header(original[:348], check=False)
        for place, value in pixdim.items():
            header["pixdim"][place] = value
        path = tmp_path / f"{number}.nii"
        path.write_bytes(header.binaryblock + original[348:])
        volume, truth = read_volume(path), nib.as_closest_canonical(nib.load(path))
        np.testing.assert_allclose(volume.affine, truth.affine, atol=1e-6)
        np.testing.assert_array_equal(volume.data, truth.get_fdata())
        is_odd = pixdim.get(0) in (0.0, 7.0) or any(value < 0 for place, value in pixdim.items() if place)
        assert bool(volume.warnings) == is_odd, volume.warnings


def test_without_an_affine_negative_voxel_sizes_count_as_nibabel_has_them(tmp_path):
    path = write(tmp_path / "a.nii", sform_code=0, qform_code=0, pixdim=[1, -2, 1.5, -2.5, 0, 0, 0, 0])
    volume, truth = read_volume(path), nib.as_closest_canonical(nib.load(path))
    np.testing.assert_allclose(volume.affine, truth.affine)
    assert any("negative voxel sizes" in text for text in volume.warnings)


def test_a_sform_goes_before_a_qform_as_in_nibabel(tmp_path):
    image = nib.Nifti1Image(brain(), np.diag([2.0, 2.0, 2.0, 1.0]))
    image.set_qform(np.diag([-3.0, 3.0, 3.0, 1.0]), code=1)
    image.set_sform(np.diag([2.0, -1.0, 2.0, 1.0]), code=2)
    path = tmp_path / "a.nii"
    path.write_bytes(image.to_bytes())
    np.testing.assert_allclose(read_volume(path).affine, nib.as_closest_canonical(nib.load(path)).affine)


def test_a_voxel_of_sheared_axes_has_the_volume_of_its_parallelepiped(tmp_path):
    sheared = affine_of("LPS", (1.0, 2.0, 3.0))
    sheared[0, 1] = 1.0
    volume = read_volume(write(tmp_path / "a.nii", affine=sheared))
    assert volume.voxel_ml == pytest.approx(abs(np.linalg.det(nib.load(tmp_path / "a.nii").affine[:3, :3])) / 1000)
    assert volume.voxel_ml < 0.95 * np.prod(volume.spacing_mm) / 1000
    assert any("sheared" in text for text in volume.warnings)


@pytest.mark.parametrize("text", ["../store/0.nii.gz", "D:\\scans\\0.nii\n"])
def test_a_link_that_was_copied_as_text_is_called_so(tmp_path, text):
    (tmp_path / "a.nii.gz").write_text(text)
    with pytest.raises(AekitError, match="it is the text of a link, not the volume that the link leads to"):
        read_volume(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("degrees", [0, 10, 33])
def test_a_voxel_of_turned_axes_has_the_product_of_its_sizes(tmp_path, degrees):
    turned = np.eye(4)
    turned[:3, :3] = nib.eulerangles.euler2mat(np.radians(degrees), 0.05, 0) @ np.diag([0.9, 1.1, 1.3])
    volume = read_volume(write(tmp_path / "a.nii", affine=turned))
    assert volume.voxel_ml == np.prod(volume.spacing_mm) / 1000
    assert not any("sheared" in text for text in volume.warnings)


def test_a_slope_that_is_not_a_number_is_taken_as_one(tmp_path):
    volume = read_volume(write(tmp_path / "a.nii", brain().astype(np.int16), scl_slope=np.nan, scl_inter=np.nan))
    np.testing.assert_array_equal(volume.data, brain().astype(np.int16))
    assert "taken as 1" in volume.warnings[0]


@pytest.mark.parametrize(("degrees", "is_warned"), [(10, False), (30, True)])
def test_tilted_axes_are_a_warning(tmp_path, degrees, is_warned):
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    affine = np.array([[cos, -sin, 0, 0], [sin, cos, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]) @ affine_of()
    volume = read_volume(write(tmp_path / "a.nii", affine=affine))
    assert bool(volume.warnings) is is_warned
    np.testing.assert_allclose(volume.spacing_mm, 2, rtol=1e-6)


# --- units ---

METRES, MM, MICROMETRES = 1, 2, 3


@pytest.mark.parametrize(("code", "per_mm", "name"), [(METRES, 1e-3, "metres"), (MICROMETRES, 1e3, "micrometres")])
@pytest.mark.parametrize("form", ["sform", "qform", "pixdim"])
def test_an_affine_in_another_unit_is_that_of_the_same_file_in_mm(tmp_path, code, per_mm, name, form):
    truth = affine_of("LPS", (1.0, 2.0, 1.5))
    scaled = truth.copy()
    scaled[:3] *= per_mm
    for path, affine, unit in ((tmp_path / "mm.nii", truth, MM), (tmp_path / "other.nii", scaled, code)):
        image = nib.Nifti1Image(brain(), affine)
        image.set_sform(affine, code=int(form == "sform"))
        image.set_qform(affine, code=int(form == "qform"))
        image.header["xyzt_units"] = unit | 8  # seconds
        path.write_bytes(image.to_bytes())
    plain, other = (read_volume(tmp_path / name) for name in ("mm.nii", "other.nii"))
    np.testing.assert_allclose(other.affine, plain.affine, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(other.spacing_mm, plain.spacing_mm, rtol=1e-6)
    np.testing.assert_array_equal(other.data, plain.data)
    assert other.voxel_ml == pytest.approx(plain.voxel_ml)
    assert set(other.warnings) - set(plain.warnings) == {f"its affine is in {name}, converted to mm"}


@pytest.mark.parametrize("code", [METRES, MICROMETRES])
def test_a_unit_that_is_impossible_is_taken_as_mm_and_said(tmp_path, code):
    volume = read_volume(write(tmp_path / "a.nii", xyzt_units=code))
    assert volume.spacing_mm == (2, 2, 2)
    assert volume.warnings[0].endswith("are impossible; taken as mm")


@pytest.mark.parametrize(("code", "size", "n_warnings"), [(0, 2.0, 0), (0, 12.0, 1), (5, 2.0, 1), (MM, 12.0, 0)])
def test_an_unknown_unit_is_mm_and_said_where_that_is_doubtful(tmp_path, code, size, n_warnings):
    volume = read_volume(write(tmp_path / "a.nii", affine=affine_of(spacing=(size,) * 3), xyzt_units=code))
    assert volume.spacing_mm == (size,) * 3
    assert len(volume.warnings) == n_warnings
    assert all("taken as mm" in text for text in volume.warnings)


def test_voxels_that_are_impossible_in_mm_are_refused_with_the_unit_that_would_fit(tmp_path):
    path = write(tmp_path / "a.nii", affine=affine_of(spacing=(0.002,) * 3))
    with pytest.raises(AekitError, match=r"0\.002 mm, outside .*if they are metres, say so in xyzt_units"):
        read_volume(path)


# --- voxels without a number ---


def with_background(value):
    """Return a brain whose background is a value, as programs write it, with a hole in the brain."""
    inside = ball(7)
    inside[12, 12, 12] = False
    data = np.where(inside, 100.0, value).astype(np.float32)
    data[12, 12, 12] = 0.0
    data[ball(4)] += np.float32(50)
    return data


@pytest.mark.parametrize(("value", "what"), [(np.nan, "are NaN,"), (np.inf, "are NaN or infinite,"), (-np.inf, "inf")])
@pytest.mark.parametrize("suffix", [".nii", ".npy"])
def test_a_background_without_a_number_is_filled_with_0_and_counted(tmp_path, value, what, suffix):
    data, path = with_background(value), tmp_path / f"a{suffix}"
    n = int((~np.isfinite(data)).sum())
    if suffix == ".npy":
        np.save(path, data)
    else:
        write(path, data)
    volume = read_volume(path, spacing_mm=2.0)
    np.testing.assert_array_equal(volume.data, with_background(0.0))
    assert len(volume.warnings) == 1
    assert f"{n:,} of {data.size:,} voxels" in volume.warnings[0]
    assert what in volume.warnings[0]
    assert "outside the brain, filled with 0" in volume.warnings[0]
    assert inspect_volume(path).problem == ""


def test_a_background_partly_nan_and_partly_0_is_that_of_zeros(tmp_path):
    data = with_background(0.0)
    random = np.random.default_rng(0)
    data[~ball(8) & (random.random(data.shape) < 0.3)] = np.nan
    np.testing.assert_array_equal(read_volume(write(tmp_path / "a.nii", data)).data, with_background(0.0))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("background", [0.0, np.nan])
def test_a_voxel_without_a_number_within_the_brain_stays_an_error(tmp_path, value, background):
    data = with_background(background)
    data[12, 12, 12] = value
    with pytest.raises(AekitError, match="1 of 13,824 voxels is NaN or infinite, within the brain; remove it"):
        read_volume(write(tmp_path / "a.nii", data))


def test_bright_voxels_that_single_precision_cannot_hold_are_no_background(tmp_path):
    data = with_background(0.0).astype(np.float64)
    data[18, 12, 12] = 1e39  # at the edge of the brain, next to zeros
    with pytest.raises(AekitError, match="is NaN or infinite"):
        read_volume(write(tmp_path / "a.nii", data))


def test_noise_around_a_head_is_not_filled(tmp_path):
    data = np.random.default_rng(0).random((24, 24, 24)).astype(np.float32) + 1
    data[5, 5, 5] = np.nan
    with pytest.raises(AekitError, match="1 of 13,824 voxels is NaN"):
        read_volume(write(tmp_path / "a.nii", data))


# --- errors ---


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_an_error_of_one_line_that_names_it(tmp_path, name):
    make, reason = BAD_FILES[name]
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


def test_a_web_page_named_as_gzip_is_an_error(tmp_path):
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
    with pytest.raises(AekitError, match=r"cut short or damaged|not a \.npy"):
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


# --- folders ---


def test_volumes_are_found_in_subfolders_and_hidden_ones_are_not(tmp_path):
    for name in ("b/2.nii.gz", "a/1.NII", "3.npy", ".hidden/4.nii", "b/.5.nii.gz", "b/6.txt", "7.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list_volumes(tmp_path) == [tmp_path / name for name in ("3.npy", "a/1.NII", "b/2.nii.gz")]


def test_an_error_about_a_folder_without_volumes_names_what_it_contains(tmp_path):
    (tmp_path / "a.mgz").touch()
    with pytest.raises(AekitError, match=r"contains no .* \(but \.mgz\)"):
        list_volumes(tmp_path)
    with pytest.raises(AekitError, match="is not a folder"):
        list_volumes(tmp_path / "a.mgz")
