"""The ends of paths: which images are drawn, and that draws do not depend on each other."""

from __future__ import annotations

import numpy as np
import pytest

from aekit.images.data.image_set import ImageSet
from aekit.images.interpolation.groups import choose_groups
from aekit.images.interpolation.request import PathRequest

IMAGES = ImageSet(np.zeros((60, 1, 8, 8), np.uint8), "toy", labels=np.arange(60) % 3, class_names=("cat", "dog", "emu"))


def test_images_of_the_classes_are_drawn_and_named():
    first, second = choose_groups(PathRequest(pairs="cat-emu,#4-#5", n_draws=6), IMAGES)
    assert (first.name, first.n_shown, len(first.ends)) == ("cat-emu", 1, 6)
    assert (IMAGES.labels[first.indices] == [0, 2]).all()
    assert first.ends[0] == (f"cat (#{first.indices[0, 0]})", f"emu (#{first.indices[0, 1]})")
    assert (second.name, second.indices.tolist()) == ("#4-#5", [[4, 5]])


def test_the_first_draws_are_the_same_however_many_there_are():
    few, many = (choose_groups(PathRequest(pairs="cat-emu", n_draws=n), IMAGES)[0].indices for n in (2, 9))
    np.testing.assert_array_equal(few, many[:2])
    other = choose_groups(PathRequest(pairs="cat-emu", n_draws=2, seed=1), IMAGES)[0].indices
    assert not np.array_equal(few, other)


def test_without_a_pair_some_images_are_drawn_and_four_shown():
    (group,) = choose_groups(PathRequest(n_draws=2), IMAGES)
    assert (group.name, group.n_shown, group.indices.shape) == ("any", 4, (4, 2))


def test_walks_start_at_images_that_have_the_attribute_or_have_not():
    one, several = choose_groups(PathRequest(attribute="dog", starts="#4,emu", n_draws=3), IMAGES)
    assert one.ends == [("dog (#4), class dog",)]
    assert several.indices.shape == (3, 1)
    assert all(name.endswith("not class dog") for (name,) in several.ends)


def test_samples_of_the_prior_have_no_images():
    (group,) = choose_groups(PathRequest(n_prior=3, n_draws=1), IMAGES)
    assert group.indices is None
    assert group.ends == [("sample 0", "sample 1"), ("sample 2", "sample 3"), ("sample 4", "sample 5")]
    assert group.n_shown == 3


def test_files_go_by_their_names_or_by_the_folders_that_tell_them_apart():
    first, second = choose_groups(PathRequest(starts=["x/a.png", "y/b.png"], stops=["x/c.png", "x/a.png"]), IMAGES)
    assert (first.name, first.ends, first.indices.tolist()) == ("a.png-c.png", [("a.png", "c.png")], [[0, 1]])
    assert (second.name, second.indices.tolist(), second.is_of_files) == ("b.png-a.png", [[2, 3]], True)


@pytest.mark.parametrize(
    ("start", "stop", "names"),
    [
        ("x/a.png", "y/a.png", ("x/a.png", "y/a.png")),
        ("/home/me/data/x/a.png", "/home/me/data/y/a.png", ("x/a.png", "y/a.png")),
        ("/home/me/1/x/a.png", "/home/me/2/x/a.png", ("1/x/a.png", "2/x/a.png")),
        ("a.png", "x/a.png", ("a.png", "x/a.png")),
        ("/x/a.png", "x/a.png", ("/x/a.png", "x/a.png")),
        ("./x/a.png", "x/a.png", ("a.png", "a.png")),  # the same file
        ("x/a.png", "y/A.png", ("a.png", "A.png")),
    ],
)
def test_ends_of_the_same_name_have_the_fewest_folders_that_tell_them_apart(start, stop, names):
    request = PathRequest(starts=[start, "/far/away/b.png"], stops=[stop, "/far/away/c.png"])
    first, second = choose_groups(request, IMAGES)
    assert (first.ends, first.name) == ([names], "-".join(names))
    assert second.name == "b.png-c.png"  # whose names are short
