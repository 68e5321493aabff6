"""Which paths can be requested, and what a figure records of the request."""

from __future__ import annotations

import pytest

from aekit.errors import UsageError
from aekit.images.interpolation.request import PathRequest


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_prior": 2, "pairs": "4-7"}, "--pairs: cannot be combined with --prior"),
        ({"attribute": "4", "pairs": "4-7"}, "--pairs: cannot be combined with --attribute"),
        ({"starts": "4"}, "--from: needs --attribute, or --to"),
        ({"stops": ("a.png",)}, "--to: needs --from"),
        ({"starts": ("a.png", "b.png"), "stops": ("c.png",)}, "--from, --to: 2 and 1 images"),
        ({"starts": ("a.png",), "stops": ("c.png",), "pairs": "4-7"}, "--pairs: cannot be combined with --to"),
        ({"starts": ("a.png",), "stops": ("c.png",), "n_prior": 2}, "--prior: cannot be combined with --to"),
        ({"starts": ("4",), "stops": ("c.png",), "attribute": "4"}, "--attribute: cannot be combined with --to"),
        ({"attribute": "4", "path": "slerp"}, "--path slerp: a walk along --attribute is straight"),
        ({"space": "pixels", "path": "slerp"}, "--path slerp: images are blended linearly"),
        ({"limits": (1, 0)}, "--range: the first number must be below the second"),
        ({"limits": (float("nan"), 1)}, "--range"),
        ({"limits": (0, float("inf"))}, "--range"),
    ],
)
def test_options_that_do_not_go_together_are_a_usage_error(options, message):
    with pytest.raises(UsageError, match=message):
        PathRequest(**options)


def test_the_range_is_that_of_the_pair_or_of_the_walk_unless_it_is_given():
    assert PathRequest().ends == (0, 1)
    assert PathRequest(attribute="4").ends == (-2, 2)
    assert PathRequest(attribute="4", limits=(0, 3)).ends == (0, 3)


def test_parameters_go_by_the_names_of_the_command_line():
    parameters = PathRequest(n_prior=2, space="both").parameters([0.0, 1.0])
    assert parameters == {
        "pairs": None, "prior": 2, "attribute": None, "from": None, "alphas": [0.0, 1.0], "path": "linear",
        "space": "both", "draws": 10, "seed": 0, "split": "test",
    }  # fmt: skip


def test_places_of_walks_are_joined_and_files_are_paired_in_order():
    walks = PathRequest(attribute="4", starts=["#1", "#2,#3"])
    assert walks.places == ("#1", "#2,#3")
    assert walks.parameters([0.0])["from"] == "#1,#2,#3"
    request = PathRequest(starts=["a,1.png", "b.png"], stops=["c.png", "d.png"])
    assert request.files == [("a,1.png", "c.png"), ("b.png", "d.png")]
    assert request.parameters([0.0, 1.0])["to"] == ("c.png", "d.png")
