"""Generated images show the factors that they are said to have."""

from __future__ import annotations

import numpy as np
import pytest

from aekit.images.config import DataConfig
from aekit.images.data import read_images
from aekit.images.data.generated import generated_file
from aekit.images.data.shapes import COLOURED, GENERATED, SHAPES
from aekit.images.data.sprites import SHAPES as OUTLINES
from aekit.images.data.sprites import draw_sprites


def _white(**factors):
    """Return one image in [0, 1], (64, 64); factors that are not given have the middle value."""
    index = [factors.get(name, len(values) // 2) for name, values in zip(SHAPES.names, SHAPES.values, strict=True)]
    row = np.ravel_multi_index(index, tuple(map(len, SHAPES.values)))
    return GENERATED["shapes"].render(np.array([row]))[0, 0] / 255


def _centre(image):
    y, x = np.mgrid[:64, :64]
    return (image * x).sum() / image.sum(), (image * y).sum() / image.sum()


def test_the_grids_are_those_of_dsprites_and_3d_shapes():
    assert dict(zip(SHAPES.names, map(len, SHAPES.values), strict=True)) == {
        "shape": 3, "scale": 6, "orientation": 40, "x": 32, "y": 32
    }  # fmt: skip
    assert len(SHAPES) == 737_280
    assert len(COLOURED) == 480_000
    assert np.prod(GENERATED["shapes-colour"].image_shape) == 3 * 64 * 64


def test_a_row_of_the_grid_has_the_factors_of_that_row():
    rows = np.array([0, 1, 32, 737_279])
    assert SHAPES.factors(rows).indices.tolist() == [
        [0, 0, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 1, 0], [2, 5, 39, 31, 31]
    ]  # fmt: skip


@pytest.mark.parametrize("shape", [0, 1])  # whose centre of mass is the middle
def test_x_and_y_move_a_shape_by_whole_pixels(shape):
    still = _centre(_white(shape=shape, x=4, y=9))
    for x, y in [(5, 9), (31, 9), (4, 0), (4, 31)]:
        moved = _centre(_white(shape=shape, x=x, y=y))
        np.testing.assert_allclose(np.subtract(moved, still), (x - 4, y - 9), atol=1e-9)
    np.testing.assert_allclose(_centre(_white(shape=shape, x=0, y=31)), (16, 47), atol=0.05)


def test_no_place_or_turn_cuts_a_shape_off():
    for shape in range(3):
        areas = [_white(shape=shape, scale=5, orientation=turn, x=x, y=x).sum() for turn in (0, 5) for x in (0, 15, 31)]
        assert max(areas) - min(areas) < 0.02 * max(areas)  # of samples in a pixel


def test_the_area_grows_with_the_square_of_the_scale():
    areas = np.array([_white(shape=1, scale=scale).sum() for scale in range(6)])
    scales = np.array(SHAPES.values[1], dtype=float)
    np.testing.assert_allclose(areas / areas[-1], scales**2, rtol=0.02)


def test_coverage_is_the_area_of_the_shape():
    square, ellipse = (draw_sprites(name, [1.0], [20.0], 16)[0, 0].sum() / 255 for name in ("square", "ellipse"))
    assert square == pytest.approx((2**0.5 * 16) ** 2, rel=0.005)
    assert ellipse == pytest.approx(np.pi * 16 * 16 * 0.55, rel=0.005)


@pytest.mark.parametrize("name", OUTLINES)
def test_outlines_reach_the_unit_circle_and_no_further(name):
    places = np.linspace(-1.2, 1.2, 601)
    v, u = np.meshgrid(places, places, indexing="ij")
    assert np.hypot(u, v)[OUTLINES[name](u, v)].max() == pytest.approx(1, abs=0.01)


def test_a_square_looks_the_same_after_a_quarter_turn_and_a_heart_does_not():
    np.testing.assert_array_equal(_white(shape=0, orientation=3), _white(shape=0, orientation=13))
    assert abs(_white(shape=2, orientation=3) - _white(shape=2, orientation=13)).sum() > 50


def test_orientation_turns_counterclockwise():
    upright, turned = _white(shape=2, orientation=0), _white(shape=2, orientation=10)  # by 90 degrees
    np.testing.assert_allclose(np.rot90(upright[16:49, 16:49]), turned[16:49, 16:49], atol=0.1)


def test_coloured_images_have_the_hues_of_their_factors_and_are_never_without_a_shape():
    rows = np.random.default_rng(0).choice(len(COLOURED), 300, replace=False)
    images = GENERATED["shapes-colour"].render(rows)
    factors = COLOURED.factors(rows).indices
    for part, place in ((0, (63, 0)), (1, (0, 0)), (2, (36, 32))):
        pixels = images[:, :, place[0], place[1]]
        by_hue = [np.unique(pixels[factors[:, part] == hue], axis=0) for hue in range(10)]
        assert all(len(own) == 1 for own in by_hue)
        assert len(np.unique(np.concatenate(by_hue), axis=0)) == 10
    assert (abs(images[:, :, 36, 32].astype(int) - images[:, :, 0, 0]).sum(1) > 60).all()


@pytest.mark.parametrize("name", GENERATED)
def test_images_do_not_depend_on_what_else_is_drawn_or_on_threads(name):
    rows = np.random.default_rng(0).choice(len(GENERATED[name].grid), 1500, replace=False)
    images = GENERATED[name].render(rows)
    for i in (0, 700, 1499):
        np.testing.assert_array_equal(GENERATED[name].render(rows[[i]])[0], images[i])


def test_a_split_has_factors_origins_and_classes_that_belong_together(tmp_path):
    images = read_images(DataConfig("shapes", limit=300, val=0.1), "val", data_root=tmp_path)
    assert images.factors is not None
    assert len(images) == len(images.factors) == 300
    np.testing.assert_array_equal(images.labels, images.factors.indices[:, 0])
    rows = np.array([int(images.origin_text(i)[7:-1]) for i in range(300)])
    np.testing.assert_array_equal(images.images, GENERATED["shapes"].render(rows))
    np.testing.assert_array_equal(images.factors.indices, SHAPES.factors(rows).indices)
    some = images.subset(np.array([5, 2]))
    np.testing.assert_array_equal(some.factors.indices, images.factors.indices[[5, 2]])


def test_splits_have_no_image_in_common(tmp_path):
    sets = [read_images(DataConfig("shapes-colour", limit=5000, val=0.2), split, data_root=tmp_path)
            for split in ("train", "val", "test")]  # fmt: skip
    rows = [{each.origin_text(i) for i in range(len(each))} for each in sets]
    assert not rows[0] & rows[1]
    assert not rows[0] & rows[2]
    assert not rows[1] & rows[2]


def test_images_are_resized_and_made_grey_on_request(tmp_path):
    images = read_images(DataConfig("shapes-colour", limit=20, image_size=(16, 24), grayscale=True), "test",
                         data_root=tmp_path)  # fmt: skip
    assert images.image_shape == (1, 16, 24)
    plain = read_images(DataConfig("shapes-colour", limit=20), "test", data_root=tmp_path)
    assert images.fingerprint != plain.fingerprint


def test_a_large_split_is_written_to_the_cache_once_and_holds_the_same_pixels(tmp_path, monkeypatch):
    monkeypatch.setenv("AEKIT_CACHE", str(tmp_path))
    monkeypatch.setattr("aekit.images.data.generated.MAX_MEMORY_BYTES", 0)
    small = GENERATED["shapes"].grid
    assert generated_file("shapes") is None
    monkeypatch.setitem(
        GENERATED, "shapes", type(GENERATED["shapes"])(
            type(small)(small.names, (small.values[0], small.values[1][:2], *(v[:4] for v in small.values[2:]))),
            (1, 64, 64), GENERATED["shapes"].draw,
        ),
    )  # fmt: skip
    images = read_images(DataConfig("shapes"), "train", data_root=tmp_path)
    path = generated_file("shapes")
    before = path.stat().st_mtime_ns
    again = read_images(DataConfig("shapes"), "train", data_root=tmp_path)
    assert path.stat().st_mtime_ns == before
    assert again.fingerprint == images.fingerprint
    np.testing.assert_array_equal(images.images, GENERATED["shapes"].render(images.rows))
    assert len((path.with_suffix(".factors.csv")).read_text().splitlines()) == len(GENERATED["shapes"].grid) + 1
