import numpy as np
import pytest

from aekit.brains.explain.figure import N_SLICES, Panel, blend, limit_of, plot_maps, slices_of
from aekit.core.artifacts import write_png
from aekit.plotting.png import read_parameters


@pytest.fixture
def image():
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in (20, 24, 18)], indexing="ij")
    return np.where(x**2 + y**2 + z**2 < 0.8, 0.7 + 0.2 * x, 0.0)


def test_the_two_directions_have_two_colours_and_nothing_is_seen_at_zero(image):
    grey, strong = blend(np.zeros((20, 24)), image[:, :, 9], 2.0), np.where(image[:, :, 9] > 0, 2.0, 0.0)
    older, younger = blend(strong, image[:, :, 9], 2.0), blend(-strong, image[:, :, 9], 2.0)
    assert np.ptp(grey, axis=-1).max() == 0
    assert older[10, 12, 0] > older[10, 12, 2]
    assert younger[10, 12, 0] < younger[10, 12, 2]
    assert (older[0, 0] == 1).all()  # the background is white
    np.testing.assert_allclose(blend(9 * strong, image[:, :, 9], 2.0), older)


def test_the_scale_ignores_what_is_outside_the_brain_and_a_single_voxel(image):
    values = np.where(image > 0, 1.0, 1000.0)
    values[10, 12, 9] = -50.0
    assert limit_of(values, image > 0) == pytest.approx(1.0)
    assert limit_of(np.zeros(image.shape), image > 0) == 1.0
    alone = np.zeros(image.shape)
    alone[10, 12, 9] = -3.0
    assert limit_of(alone, image > 0) == pytest.approx(3.0)


def test_slices_are_within_the_brain_and_ascend(image):
    for axis in range(3):
        places = slices_of(image > 0, axis)
        assert places == sorted(set(places))
        assert len(places) == N_SLICES
        assert all(np.take(image, place, axis).any() for place in places)


@pytest.mark.slow
def test_a_figure_of_two_maps_is_small_and_the_same_each_time(image, tmp_path):
    random = np.random.default_rng(0)
    panels = [Panel(f"map {n}", "years", random.normal(size=image.shape), image, 8.0) for n in range(2)]
    paths = [write_png(tmp_path / f"{n}.png", plot_maps(panels, title="x"), {"a": 1}) for n in range(2)]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].stat().st_size < 300_000
    assert read_parameters(paths[0].read_bytes()) == {"a": 1}
