import numpy as np

from aekit.images.data.binarize import draw_pixels
from aekit.images.data.image_set import ImageSet


def grey_images(n, value=None):
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (n, 1, 8, 8), np.uint8)
    return pixels if value is None else np.concatenate([pixels[:, :, :4], np.full((n, 1, 4, 8), value, np.uint8)], 2)


def test_a_pixel_is_white_with_its_grey_value_as_probability():
    for value in (0, 1, 51, 128, 254, 255):
        drawn = draw_pixels(grey_images(4000, value), 0)[:, :, 4:] == 255
        p = value / 255
        error = max(4 * np.sqrt(p * (1 - p) / drawn.size), 1e-12)
        assert abs(drawn.mean() - p) < error, value
    assert set(np.unique(draw_pixels(grey_images(10), 3))) <= {0, 255}


def test_pixels_are_independent_of_their_neighbours_and_of_other_images():
    drawn = draw_pixels(grey_images(4000, 128), 1)[:, 0, 4:] == 255
    for one, other in ((drawn[:, :, :-1], drawn[:, :, 1:]), (drawn[:-1], drawn[1:])):
        r = np.corrcoef(one.ravel(), other.ravel())[0, 1]
        assert abs(r) < 4 / np.sqrt(one.size)


def test_the_draw_of_an_image_depends_on_its_pixels_and_the_seed_alone():
    images = grey_images(20)
    whole = draw_pixels(images, 5)
    order = np.random.default_rng(1).permutation(20)
    np.testing.assert_array_equal(draw_pixels(images[order], 5), whole[order])
    np.testing.assert_array_equal(draw_pixels(images[7:8], 5), whole[7:8])
    assert (draw_pixels(images, 6) != whole).any()


def test_a_set_that_is_drawn_gives_black_and_white_in_all_ways_and_keeps_its_fingerprint():
    grey = ImageSet(grey_images(12), "grey")
    drawn = grey.drawn(2)
    np.testing.assert_array_equal(drawn.images, draw_pixels(grey.images, 2))
    np.testing.assert_array_equal(drawn.take(np.array([3, 1])), drawn.images[[3, 1]])
    rows = np.array([5, 0, 9])
    np.testing.assert_array_equal(drawn.subset(rows).images, drawn.images[rows])
    assert drawn.fingerprint == grey.fingerprint
    assert grey.drawn(None) is grey
