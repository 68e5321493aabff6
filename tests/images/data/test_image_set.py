"""An image set is the rows of its store, with the labels and attributes of these rows."""

from __future__ import annotations

import numpy as np
import pytest

from aekit.images.data.image_set import ImageSet, split_indices

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 1, 8, 9), dtype=np.uint8)
LABELS = np.array([0, 1, 0, 1, 2, 0])


def _set(**options):
    return ImageSet(PIXELS, "noise", labels=LABELS, class_names=("a", "b"), **options)


def test_a_subset_shares_the_store_and_keeps_images_and_labels_together():
    subset = _set().subset(np.array([4, 1, 3]))
    assert subset.store is PIXELS
    assert (len(subset), subset.image_shape) == (3, (1, 8, 9))
    np.testing.assert_array_equal(subset.images, PIXELS[[4, 1, 3]])
    np.testing.assert_array_equal(subset.labels, [2, 1, 1])
    np.testing.assert_array_equal(subset.take(np.array([2, 2])), PIXELS[[3, 3]])


def test_a_subset_of_a_subset_counts_from_the_first_subset():
    subset = _set().subset(np.array([4, 1, 3])).subset(np.array([2, 0]))
    np.testing.assert_array_equal(subset.images, PIXELS[[3, 4]])
    np.testing.assert_array_equal(subset.labels, [1, 2])


def test_the_whole_set_is_not_copied():
    assert _set().images is PIXELS


def test_a_fingerprint_depends_on_pixels_labels_and_order():
    changed = PIXELS.copy()
    changed[5, 0, 7, 8] ^= 1
    sets = [
        _set(),
        ImageSet(changed, "noise", labels=LABELS, class_names=("a", "b")),
        ImageSet(PIXELS, "noise"),
        ImageSet(PIXELS, "noise", labels=LABELS[::-1].copy()),
        ImageSet(PIXELS.reshape(6, 1, 9, 8), "noise", labels=LABELS),
        ImageSet(PIXELS, "noise", labels=LABELS, rows=np.array([1, 0, 2, 3, 4, 5])),
        _set().subset(np.arange(6)),
        _set().subset(np.arange(6)[::-1].copy()),
    ]
    assert len({images.fingerprint for images in sets}) == len(sets)
    assert _set().fingerprint == ImageSet(PIXELS.copy(), "another name", labels=LABELS).fingerprint


def test_the_fingerprint_of_many_images_is_that_of_their_bytes_in_one_piece(monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (5000, 1, 2, 2), dtype=np.uint8)
    whole = ImageSet(pixels, "x").fingerprint
    assert whole == ImageSet(np.concatenate([pixels, pixels]), "x", rows=np.arange(5000)).fingerprint


def test_a_text_names_the_class_or_else_the_attributes_of_an_image():
    assert [_set().label_text(index) for index in (0, 3, 4)] == ["a", "b", "2"]
    attributes = np.array([[True, True], [False, True], [False, False]])
    images = ImageSet(PIXELS[:3], "x", attributes=attributes, attribute_names=("Smiling", "Male"))
    assert [images.label_text(index) for index in range(3)] == ["Smiling;Male", "Male", ""]
    assert ImageSet(PIXELS, "x").label_text(0) == ""


@pytest.mark.parametrize("store", [PIXELS / 255, PIXELS[0]])
def test_only_bytes_of_four_dimensions_are_images(store):
    with pytest.raises(ValueError, match="images must be uint8"):
        ImageSet(store, "x")


def test_one_label_per_image_is_needed():
    with pytest.raises(ValueError, match="5 labels for 6 images"):
        ImageSet(PIXELS, "x", labels=LABELS[:5])


@pytest.mark.parametrize(("fraction", "n_aside"), [(0, 0), (0.2, 20), (0.999, 100)])
def test_a_split_is_disjoint_complete_and_ascending(fraction, n_aside):
    stay, aside = split_indices(100, fraction, seed=3)
    assert len(aside) == n_aside
    assert sorted([*stay, *aside]) == list(range(100))
    assert sorted(stay) == stay.tolist()
    assert sorted(aside) == aside.tolist()
