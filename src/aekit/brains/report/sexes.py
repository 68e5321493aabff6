"""Women and men in the report of ``aekit mri-eda``, and what hypothesis H1 says about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from aekit.brains.report.study import LABELS, Comparison, Study
from aekit.brains.report.words import ends, measure_name, picture, signed

if TYPE_CHECKING:
    from aekit.core.intervals import Interval
    from aekit.plotting.html import Block, Section

SMALL_D = 0.2  # what Cohen called small
SMALL_R = 0.05  # |r| that differ by less say the same of age, however many people there are


def sex_section(study: Study, pictures: Mapping[str, bytes]) -> Section:
    """Return the section on women and men, with what it says about H1."""
    from aekit.plotting.html import Paragraph, Section, Table

    rows = []
    for (kind, key), each in study.sexes.items():
        digits = 1 if kind == "volumes" else 4
        means = (f"{each.female.mean:.{digits}f}", f"{each.male.mean:.{digits}f}")
        rows.append(
            (
                measure_name(kind, key),
                *means,
                signed(each.d.value),
                ends(each.d),
                signed(each.d_given_age.value),
                ends(each.d_given_age),
            )
        )
    heads = ["", "mean women", "mean men", "Cohen's d", "95 %", "d given age", "95 %"]
    blocks: list[Block] = [
        picture(
            pictures,
            "sex-differences.png",
            "Cohen's d of every measure",
            f"An interval that crosses the line at 0 shows no difference; one that lies within the grey "
            f"band (|d| < {SMALL_D}) shows that there is hardly any.",
        ),
        Table(
            heads,
            rows,
            caption="d = (mean of men - mean of women) / pooled SD, without small-sample correction "
            "(Hedges' g is in sex-differences.csv), interval by the noncentral t distribution. "
            "Given age: men and women of the same age, by a regression on a spline of age.",
        ),
    ]
    if study.comparisons:
        blocks += [Paragraph(sentence) for sentence in h1_sentences(study.comparisons)]
        blocks.append(_h1_table(study.comparisons))
    return Section("Women and men (hypothesis H1)", blocks)


def _h1_table(comparisons: Sequence[Comparison]) -> Block:
    from aekit.plotting.html import Table

    rows = [
        (
            LABELS[each.key],
            signed(each.d_volume.value),
            signed(each.d_proportion.value),
            signed(each.d_proportion_given_age.value),
            signed(each.r_volume),
            signed(each.r_proportion),
            signed(each.gained.value),
            ends(each.gained),
        )
        for each in comparisons
    ]
    heads = ["", "d volume", "d proportion", "given age", "r(age) volume", "r(age) proportion", "gain in |r|", "95 %"]
    return Table(
        heads,
        rows,
        caption="H1 at a glance. The gain is |r| of the proportion minus |r| of the volume (interval: Zou 2007).",
    )


def h1_sentences(comparisons: Sequence[Comparison]) -> list[str]:
    """Return what the numbers say about H1: proportions do not differ by sex, and correlate better with age."""
    return [*_h1_sexes(comparisons), *_h1_age(comparisons)]


def _h1_sexes(comparisons: Sequence[Comparison]) -> list[str]:
    volumes = [each.d_volume for each in comparisons]
    as_they_are = {LABELS[each.key]: each.d_proportion for each in comparisons}
    of_one_age = {LABELS[each.key]: each.d_proportion_given_age for each in comparisons}
    if any(d.low != d.low for d in (*volumes, *as_they_are.values(), *of_one_age.values())):
        return ["H1, sexes: cannot be judged, as there are too few women or men, or too few ages."]
    text = (
        f"H1, sexes: of the tissues, women and men differ in {_differing(volumes)} as volumes, in "
        f"{_differing(list(as_they_are.values()))} as proportions, and in {_differing(list(of_one_age.values()))} as "
        "proportions at the same age. "
    )
    apart, apart_at_one_age = (
        [name for name, d in each.items() if not _holds_zero(d)] for each in (as_they_are, of_one_age)
    )
    reach = max(max(abs(d.low), abs(d.high)) for d in (*as_they_are.values(), *of_one_age.values()))
    if reach <= SMALL_D:
        text += f"Every interval of the proportions lies within +-{SMALL_D}: they hardly differ by sex, as H1 says."
    elif apart and apart_at_one_age:
        text += f"So proportions do differ ({', '.join(apart_at_one_age)}), which speaks against H1."
    elif apart_at_one_age:
        text += (
            "So the proportions look alike only because women and men differ in age as well; among people of one age "
            f"there is a difference ({', '.join(apart_at_one_age)}), which speaks against H1."
        )
    elif apart:
        text += f"What differs ({', '.join(apart)}) is explained by age, so nothing speaks against H1."
    else:
        text += (
            f"So no difference in proportions can be seen, as H1 says, but one of up to |d| = {reach:.2f} is possible."
        )
    return [text]


def _differing(differences: Sequence[Interval]) -> str:
    n = sum(not _holds_zero(d) for d in differences)
    return f"{n} of {len(differences)} (|d| up to {max(abs(d.value) for d in differences):.2f})"


def _h1_age(comparisons: Sequence[Comparison]) -> list[str]:
    if any(each.gained.low != each.gained.low for each in comparisons):
        return ["H1, age: cannot be judged, as too few people have an age."]
    better = [LABELS[each.key] for each in comparisons if each.gained.low > 0 and each.gained.value >= SMALL_R]
    worse = [LABELS[each.key] for each in comparisons if each.gained.high < 0 and each.gained.value <= -SMALL_R]
    open_ = [LABELS[each.key] for each in comparisons if LABELS[each.key] not in (*better, *worse)]
    parts = []
    if better:
        parts.append(f"better as a proportion: {', '.join(better)}")
    if worse:
        parts.append(f"better as a volume: {', '.join(worse)}")
    if open_:
        parts.append(f"little or no difference: {', '.join(open_)}")
    verdict = {
        (True, False): "This is what H1 says" + ("" if not open_ else ", though not shown for every tissue"),
        (False, True): "This speaks against H1",
        (True, True): "So H1 holds for some tissues and not for others",
        (False, False): "So H1 is neither shown nor refuted",
    }[bool(better), bool(worse)]
    values = ", ".join(
        f"{LABELS[each.key]} {abs(each.r_volume):.2f} to {abs(each.r_proportion):.2f}" for each in comparisons
    )
    return [
        f"H1, age: tissues correlate with age {'; '.join(parts)} (|r| of volume to |r| of proportion: "
        f"{values}). {verdict}."
    ]


def _holds_zero(interval: Interval) -> bool:
    return interval.low <= 0 <= interval.high
