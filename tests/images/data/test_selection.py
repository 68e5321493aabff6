"""A text names images: by class, by number of a class, by index; and pairs of them."""

from __future__ import annotations

import numpy as np
import pytest

from aekit.errors import AekitError
from aekit.images.data.image_set import ImageSet
from aekit.images.data.selection import Selector, draw_pairs

CLOTHES = ("T-shirt/top", "Trouser", "Bag", "Ankle boot")


def _image_set(class_names=CLOTHES, **extra):
    n_images = 12
    labels = np.arange(n_images) % 3  # there are no ankle boots
    images = np.arange(n_images, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 8, 8), np.uint8)
    return ImageSet(images, "clothes", **{"labels": labels, "class_names": class_names, **extra})


def _selector(**extra):
    return Selector(_image_set(**extra), "--pairs", "test")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Trouser-Bag", ("Trouser", "Bag")),
        ("T-shirt/top-Bag", ("T-shirt/top", "Bag")),
        ("Bag-T-shirt/top", ("Bag", "T-shirt/top")),
        ("T-shirt/top-T-shirt/top", ("T-shirt/top", "T-shirt/top")),
        ("bag - TROUSER", ("Bag", "Trouser")),
        ("0-2", ("T-shirt/top", "Bag")),
        ("#3-#10", ("#3", "#10")),
        ("T-shirt/top-#4", ("T-shirt/top", "#4")),
    ],
)
def test_a_pair_is_split_at_the_dash_between_two_names(text, names):
    ((first, second),) = _selector().pairs(text)
    assert (first.name, second.name) == names


def test_a_class_is_all_of_its_images_and_an_index_is_one():
    (first, second), _ = _selector().pairs("Trouser-#5, 0-1")
    assert first.indices.tolist() == [1, 4, 7, 10]
    assert second.indices.tolist() == [5]


def test_a_name_takes_precedence_over_a_number():
    selector = _selector(class_names=("2", "1", "0"))
    assert selector.choice("2").indices.tolist() == [0, 3, 6, 9]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Trouser", "is not a pair"),
        ("-Bag", "is not a pair"),
        ("", "has an empty item"),
        ("0-1,,1-2", "has an empty item"),
        ("Trouser-Bog", "clothes has no class 'Bog'; did you mean 'Bag'? Choose one of T-shirt/top, Trouser, Bag"),
        ("T-shirt/top-Bog", "has no class 'Bog'"),
        ("Bog-T-shirt/top", "has no class 'Bog'"),
        ("0-4", "has no class '4'"),
        ("0-Ankle boot", "there are no test images of class Ankle boot"),
        ("#1-#12", "there are 12 test images; give #0 to #11"),
        ("#1-#x", "#x: is not an index"),
        ("#1-#-2", "is not an index"),
        ("#1-#1", "both ends are the same image"),
    ],
)
def test_missing_images_and_classes_are_named(text, message):
    with pytest.raises(AekitError, match="--pairs") as caught:
        _selector().pairs(text)
    assert message in str(caught.value)


def test_an_ambiguous_text_is_refused():
    selector = _selector(class_names=("a", "b-a", "a-b"))
    with pytest.raises(AekitError, match=r"2 pairs match: 'a' and 'b-a' or 'a-b' and 'a'; .* such as 'a:b-a'"):
        selector.pairs("a-b-a")
    assert [choice.name for choice in selector.pairs("a:b-a")[0]] == ["a", "b-a"]


def test_names_with_commas_and_colons_are_found_where_they_are_the_only_reading():
    selector = _selector(class_names=("Kim, Jong", "a:b", "x"))
    assert [choice.name for choice in selector.choices("x,Kim, Jong,a:b")] == ["x", "Kim, Jong", "a:b"]
    pairs = selector.pairs("x-Kim, Jong,Kim, Jong-x,a:b:x,x-a:b")
    assert [[choice.name for choice in pair] for pair in pairs] == [
        ["x", "Kim, Jong"],
        ["Kim, Jong", "x"],
        ["a:b", "x"],
        ["x", "a:b"],
    ]
    with pytest.raises(AekitError, match="has no class 'Lee'"):
        selector.choices("x,Lee,Kim, Jong")


def test_images_without_labels_are_chosen_by_index():
    selector = _selector(labels=None, class_names=())
    assert selector.choice("#2").indices.tolist() == [2]
    with pytest.raises(AekitError, match="have no classes; name images by their index"):
        selector.pairs("0-1")


def test_classes_without_names_go_by_their_numbers():
    selector = _selector(class_names=(), labels=np.arange(12) % 2 * 7)
    assert [choice.name for choice in selector.choices("0,7")] == ["0", "7"]


def test_an_attribute_is_found_in_any_case_and_a_class_counts_as_one():
    attributes = np.arange(24).reshape(12, 2) % 3 == 0
    selector = _selector(attributes=attributes, attribute_names=("Smiling", "Male"))
    assert (selector.members("male") == attributes[:, 1]).all()
    assert np.flatnonzero(selector.members("Bag")).tolist() == [2, 5, 8, 11]
    with pytest.raises(AekitError, match="no such attribute; did you mean 'Smiling'"):
        selector.members("Smilng")
    with pytest.raises(AekitError, match="no such attribute; choose one of Smiling, Male"):
        selector.members("xyz")
    with pytest.raises(AekitError, match="have no attributes"):
        _selector().members("Smiling")
    with pytest.raises(AekitError, match="have no attributes and no classes"):
        _selector(labels=None, class_names=()).members("Smiling")


def test_drawn_pairs_belong_to_their_classes_and_are_never_the_same_image_twice():
    ((first, second),) = _selector().pairs("0-0")
    pairs = draw_pairs(first, second, 200, np.random.default_rng(0))
    assert pairs.shape == (200, 2)
    assert (pairs % 3 == 0).all()
    assert (pairs[:, 0] != pairs[:, 1]).all()
    assert len(np.unique(pairs, axis=0)) == 4 * 3  # every pair occurs
    ((first, second),) = _selector().pairs("#3-#4")
    assert draw_pairs(first, second, 200, np.random.default_rng(0)).tolist() == [[3, 4]]


def test_more_draws_begin_with_the_same_ones():
    ((first, second),) = _selector().pairs("0-1")
    few, many = (draw_pairs(first, second, n, np.random.default_rng(5)) for n in (3, 9))
    assert (few == many[:3]).all()


def test_one_image_is_not_a_pair():
    one = Selector(_image_set().subset(np.array([0])), "--pairs", "test").anything()
    with pytest.raises(AekitError, match="needs two different images"):
        draw_pairs(one, one, 1, np.random.default_rng(0))
