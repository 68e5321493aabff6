"""What kind of map is asked for, and which part its points play."""

from __future__ import annotations

import pytest

from aekit.errors import UsageError
from aekit.images.tsne.request import MAX_JUDGED, MAX_OPTIMISED, MapRequest


def test_all_points_of_a_small_map_are_optimised_and_judged():
    assert MapRequest().counts(300) == {"optimised": 300, "placed": 0, "among": 300, "judged": 300}
    assert MapRequest(method="pca").counts(300) == {"among": 300, "judged": 300}


def test_most_points_of_a_large_map_are_placed():
    counts = MapRequest().counts(10**6)
    assert counts["optimised"] == counts["among"] == MAX_OPTIMISED
    assert counts["optimised"] + counts["placed"] == 10**6
    assert counts["judged"] == MAX_JUDGED


@pytest.mark.parametrize("perplexity", [0.5, float("nan")])
def test_a_perplexity_below_one_is_a_usage_error(perplexity):
    with pytest.raises(UsageError, match="is not a number of 1 or more"):
        MapRequest(perplexity=perplexity)
