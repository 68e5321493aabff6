import numpy as np
import pytest
from PIL import Image

from aekit.errors import AekitError
from aekit.images.data.pixels import check_size, fit, fit_array


def random_images(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_an_image_of_the_requested_size_is_unchanged():
    images = random_images(3, 1, 28, 28)
    np.testing.assert_array_equal(fit_array(images, (28, 28), grayscale=False), images)


def test_a_ramp_stays_a_ramp():
    ramp = Image.fromarray(np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1)))  # 0, 4, ... 252 from left to right
    halved = np.asarray(fit(ramp, (32, 32))).astype(int)
    assert (halved == halved[0]).all()
    np.testing.assert_allclose(halved[0, 2:-2], np.arange(32)[2:-2] * 8 + 2, atol=1)


def test_fine_detail_becomes_its_mean_and_does_not_alias():
    board = Image.fromarray((np.indices((80, 80)).sum(0) % 2 * 255).astype(np.uint8))
    small = np.asarray(fit(board, (12, 12))).astype(int)
    assert np.abs(small[1:-1, 1:-1] - 127).max() <= 2


def test_the_longer_side_is_cropped_in_the_centre():
    picture = np.zeros((20, 60), np.uint8)
    picture[:, 20:40] = 255  # exactly the central square
    np.testing.assert_array_equal(fit(Image.fromarray(picture), (20, 20)), np.full((20, 20), 255))
    np.testing.assert_array_equal(fit(Image.fromarray(picture.T), (20, 20)), np.full((20, 20), 255))


def test_every_size_can_be_fitted_into_every_other():
    for height in range(8, 120):
        for size in [(54, 44), (64, 64), (32, 32), (109, 89), (9, 8)]:
            for width in (29, 45, height):
                assert fit(Image.new("L", (width, height)), size).size == size[::-1]


@pytest.mark.parametrize("size", [(64, 64), (16, 40), (218, 178), (9, 8)])
@pytest.mark.parametrize("channels", [1, 3])
def test_many_at_once_give_the_same_bytes_as_one_by_one(size, channels):
    images = random_images(7, channels, 109, 89)
    one_by_one = [[np.asarray(fit(Image.fromarray(plane), size)) for plane in image] for image in images]
    np.testing.assert_array_equal(fit_array(images, size, grayscale=False), one_by_one)


def test_the_result_does_not_depend_on_the_blocks(monkeypatch):
    images = random_images(11, 3, 20, 20)
    whole = fit_array(images, (16, 16), grayscale=True)
    monkeypatch.setattr("aekit.images.data.pixels._BLOCK_VALUES", 4 * 3 * 20 * 20)
    np.testing.assert_array_equal(fit_array(images, (16, 16), grayscale=True), whole)


def test_luma_is_that_of_pil():
    images = random_images(5, 3, 16, 16)
    by_pil = [np.asarray(Image.fromarray(image.transpose(1, 2, 0)).convert("L"))[None] for image in images]
    np.testing.assert_array_equal(fit_array(images, None, grayscale=True), by_pil)


def test_tiny_images_are_refused():
    check_size(8, 8, "x")
    with pytest.raises(AekitError, match=r"images are too small \(height 7, width 30 pixels\)"):
        check_size(7, 30, "x")
