import numpy as np
import pytest

from aekit.brains.report.analysis import Comparison
from aekit.brains.report.sections.sexes import comparison_sentences, sex_section
from aekit.core.intervals import Interval


def interval(value, half):
    return Interval(value, value - half, value + half)


@pytest.mark.parametrize(
    ("d_proportion", "given_age", "gained", "sexes", "ages"),
    [
        (interval(0.05, 0.1), interval(0.1, 0.05), interval(0.2, 0.1), "H1 predicts this", "This agrees with H1"),
        (
            interval(0.5, 0.1),
            interval(0.6, 0.1),
            interval(-0.2, 0.1),
            "evidence against",
            "This is evidence against H1",
        ),
        (interval(0.0, 0.3), interval(0.6, 0.1), interval(0.02, 0.01), "only because", "neither shown nor refuted"),
        (interval(0.5, 0.1), interval(0.0, 0.3), interval(0.1, 0.3), "explained by age", "neither shown nor refuted"),
        (interval(0.0, 0.3), interval(0.1, 0.3), interval(0.2, 0.1), "up to d = ±0.40", "This agrees with H1"),
        (interval(np.nan, 1), interval(0.1, 0.3), interval(np.nan, 1), "cannot be judged", "cannot be judged"),
    ],
)
def test_the_sentences_on_h1_follow_from_the_intervals(d_proportion, given_age, gained, sexes, ages):
    found = [Comparison(key, interval(1.2, 0.2), d_proportion, given_age, 0.5, 0.7, gained) for key in ("gmv", "csfv")]
    about_sexes, about_age = comparison_sentences(found, hypotheses=True)
    assert sexes in about_sexes
    assert ages in about_age
    plain = comparison_sentences(found)
    assert "H1" not in "".join(plain)
    assert [text.partition("?")[0] for text in plain] == [
        "Do proportions differ by sex",
        "Do proportions say more about age than volumes",
    ]


def test_hypothesis_h1_is_named_only_if_it_is_asked_for(cohort_study, shown):
    plain, asked = (sex_section(cohort_study[0], {}, hypotheses=wanted) for wanted in (False, True))
    assert plain.heading == "Female and male participants"
    assert "H1" not in "".join([*shown(plain).texts, *(table.caption for table in shown(plain).tables)])
    assert asked.heading == "Female and male participants (hypothesis H1)"
    assert sum("H1" in text for text in shown(asked).texts) == 3


@pytest.mark.slow
def test_swapped_sexes_swap_the_signs_of_all_differences(analyse_table, participants, shown):
    table = participants(80)
    table["gmv"] += np.where(table["sex"] == "M", 120, 0)
    swapped = table.assign(sex=table["sex"].map({"F": "M", "M": "F"}))
    first, second = (analyse_table(each)[0] for each in (table, swapped))
    for key, own in first.sexes.items():
        other = second.sexes[key]
        assert (own.d.value, own.d.low, own.d.high) == pytest.approx((-other.d.value, -other.d.high, -other.d.low))
    male, female = (comparison_sentences(each.comparisons)[0] for each in (first, second))
    for name in ("grey matter", "white matter", "CSF"):
        signs = [text.partition(f"{name} ")[2][0] for text in (male, female)]
        assert sorted(signs) == ["+", "-"]
    assert "more grey matter in males" in male
    assert "more grey matter in females" in female
    rows = [shown(sex_section(each, {})).rows()["grey matter"] for each in (first, second)]
    assert [row[2][0] for row in rows] == ["+", "-"]
