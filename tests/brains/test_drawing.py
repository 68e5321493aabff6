from dataclasses import replace

import pytest

from aekit.brains.drawing import _counted, _title
from aekit.brains.hypotheses import HYPOTHESES
from aekit.core.settings import to_dict


@pytest.mark.parametrize("histogram", [True, False])
def test_the_title_of_each_hypothesis_distinguishes_it(phantom_people, brain_config, histogram):
    titles = {}
    for name, (arch, target, drop) in HYPOTHESES.items():
        config = brain_config(arch=arch, target=target, histogram=histogram)
        titles[name] = _title(phantom_people, to_dict(replace(config, data=replace(config.data, drop_outliers=drop))))
    without = "" if histogram else ", no histogram"
    assert titles == {
        "base": f"participants.tsv, base{without}",
        "H1": f"participants.tsv, base, proportions{without}",
        "H2": f"participants.tsv, base, proportions{without}, outliers dropped from train",
        "H3": f"participants.tsv, deep, proportions{without}, outliers dropped from train",
    }


@pytest.mark.parametrize(("n", "words"), [(1234, "1,234 participants"), (1, "1 participant")])
def test_a_title_counts_the_participants_that_are_shown(n, words):
    assert _counted("participants.tsv, base", n, "test") == f"participants.tsv, base: {words}, test"
