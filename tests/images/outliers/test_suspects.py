"""Near duplicates that were planted are found, others are not; labels that were changed are contradicted."""

from __future__ import annotations

import numpy as np
import pytest

from aekit.images.config import DataConfig
from aekit.images.data.digits import read_digits
from aekit.images.data.image_set import ImageSet
from aekit.images.neighbours import nearest
from aekit.images.outliers.suspects import contradicted_labels, near_duplicates


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return read_digits(DataConfig(name="digits"), "train", data_root=tmp_path_factory.mktemp("none"))


def _codes(images):
    return images.images.reshape(len(images), -1).astype(np.float64) / 255


def test_the_nearest_are_those_of_all_distances():
    generator = np.random.default_rng(0)
    among, codes = generator.normal(size=(50, 4)), generator.normal(size=(20, 4))
    distances = np.linalg.norm(codes[:, None] - among[None], axis=2)
    found = nearest(among, codes, 5)
    assert (found.rows == np.argsort(distances, axis=1)[:, :5]).all()
    assert found.distances == pytest.approx(np.sort(distances, axis=1)[:, :5])


def test_a_code_is_not_its_own_neighbour_and_others_at_its_place_are():
    among = np.array([[0.0], [0.0], [0.0], [0.0], [5.0]])
    found = nearest(among, among[[0, 4]], 2, own_rows=np.array([0, 4]))
    assert 0 not in found.rows[0]
    assert 4 not in found.rows[1]
    assert found.distances.tolist() == [[0, 0], [5, 5]]
    apart = nearest(among, np.array([[5.0]]), 1, own_rows=np.array([-1]))
    assert apart.rows.tolist() == [[4]]


def test_few_codes_have_fewer_neighbours():
    among = np.zeros((3, 1))
    assert nearest(among, among, 10).rows.shape == (3, 3)
    assert nearest(among, among, 10, own_rows=np.arange(3)).rows.shape == (3, 2)


def test_planted_near_duplicates_are_found_each_once_and_nothing_else(digits):
    pixels = digits.images[:200].copy()
    noise = np.random.default_rng(0).normal(0, 6, pixels[:10].shape)
    changed = np.clip(pixels[:10] + noise, 0, 255).astype(np.uint8)
    brighter = np.clip(pixels[10:20] * 1.04, 0, 255).astype(np.uint8)
    images = ImageSet(np.concatenate([pixels, changed, brighter]), "planted")
    neighbours = nearest(_codes(images), _codes(images), 3, own_rows=np.arange(220))
    found = near_duplicates(images, None, neighbours, 0.12)
    planted = {(i, 200 + i) for i in range(20)}
    assert set(zip(found.first.tolist(), found.second.tolist(), strict=True)) == planted
    assert (np.diff(found.difference) >= 0).all()


def test_differences_are_a_fraction_of_contrast_so_that_faint_images_are_told_apart():
    faint = np.zeros((2, 1, 4, 4), np.uint8)
    faint[0, 0, 0], faint[1, 0, 3] = 3, 3
    images = ImageSet(faint, "faint")
    neighbours = nearest(_codes(images), _codes(images), 1, own_rows=np.arange(2))
    assert len(near_duplicates(images, None, neighbours, 0.5).first) == 0
    assert near_duplicates(images, None, neighbours, 2.0).difference == pytest.approx(np.sqrt(2) / np.sqrt(3 / 4))


def test_images_of_one_colour_are_duplicates_if_it_is_the_same():
    flat = np.array([10, 10, 200], np.uint8)[:, None, None, None] * np.ones((1, 1, 4, 4), np.uint8)
    images = ImageSet(flat, "flat")
    neighbours = nearest(_codes(images), _codes(images), 2, own_rows=np.arange(3))
    found = near_duplicates(images, None, neighbours, 0.12)
    assert list(zip(found.first, found.second, found.difference, strict=True)) == [(0, 1, 0.0)]


def test_duplicates_of_other_images_are_found(digits):
    train, test = digits.subset(np.arange(300)), digits.subset(np.arange(290, 400))
    found = near_duplicates(test, train, nearest(_codes(train), _codes(test), 3), 0.0)
    assert sorted(zip(found.first.tolist(), found.second.tolist(), strict=True)) == [(i, 290 + i) for i in range(10)]


def test_changed_labels_are_contradicted_and_few_others(digits):
    assert digits.labels is not None
    labels = digits.labels.copy()
    changed = np.random.default_rng(1).choice(len(labels), 40, replace=False)
    labels[changed] = (labels[changed] + np.random.default_rng(2).integers(1, 10, 40)) % 10
    rows = nearest(_codes(digits), _codes(digits), 10, own_rows=np.arange(len(digits))).rows
    found = contradicted_labels(labels, rows, 10)
    hits = np.isin(found.rows, changed)
    assert hits.sum() >= 38  # of 40
    assert (~hits).sum() <= 25  # of about 1,400
    assert (found.other[hits] == digits.labels[found.rows[hits]]).mean() > 0.95
    assert (np.diff(found.own_share) >= 0).all()


def test_labels_at_random_are_contradicted_rarely_by_a_majority():
    generator = np.random.default_rng(0)
    codes, labels = generator.normal(size=(1000, 3)), generator.integers(0, 10, 1000)
    rows = nearest(codes, codes, 10, own_rows=np.arange(1000)).rows
    assert len(contradicted_labels(labels, rows, 10).rows) < 5
