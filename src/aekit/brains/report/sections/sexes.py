"""The section of the cohort report on female and male participants, and what hypothesis H1 says about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aekit.brains.report.analysis import LABELS, Analysis, Comparison
from aekit.brains.report.words import ends, in_words, measure_name, picture, signed
from aekit.core.intervals import Interval
from aekit.errors import count
from aekit.plotting.html import Block, Paragraph, Section, Table

H1 = "Hypothesis H1: proportions of the three tissues differ less by sex than volumes do, and predict age better."
SMALL_D = 0.2  # Cohen's "small" effect
SMALL_R = 0.05  # |r| that differ by less carry the same information on age, however large the cohort is


def sex_section(analysis: Analysis, pictures: Mapping[str, bytes]) -> Section:
    """Return the section on the differences between female and male participants, with what they say about H1."""
    caption = (
        "An interval that crosses zero shows no difference; one that lies within the grey band "
        f"(|d| < {SMALL_D}) shows that there is hardly any."
    )
    blocks: list[Block] = [Paragraph(H1)] if analysis.comparisons else []
    blocks += [picture(pictures, "sex-differences.png", "Cohen's d of every measure", caption), _d_table(analysis)]
    if analysis.comparisons:
        blocks += [Paragraph(sentence) for sentence in h1_sentences(analysis.comparisons)]
        blocks.append(_h1_table(analysis.comparisons))
    return Section("Female and male participants (hypothesis H1)", blocks)


def _d_table(analysis: Analysis) -> Block:
    rows = []
    for (kind, key), each in analysis.sexes.items():
        digits = 1 if kind == "volumes" else 4
        means = (f"{each.female.mean:.{digits}f}", f"{each.male.mean:.{digits}f}")
        d, d_given_age = ((signed(one.value), ends(one)) for one in (each.d, each.d_given_age))
        rows.append((measure_name(kind, key), *means, *d, *d_given_age))
    heads = ["", "mean, female", "mean, male", "Cohen's d", "95 %", "d given age", "95 %"]
    caption = (
        "d = (mean of male - mean of female participants) / pooled SD, without small-sample correction (Hedges' g is "
        "in sex-differences.csv); interval from the noncentral t distribution. Given age: at the same age, by a "
        "regression on a spline of age."
    )
    return Table(heads, rows, caption=caption)


def _h1_table(comparisons: Sequence[Comparison]) -> Block:
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
    caption = "H1 at a glance. The gain is |r| of the proportion minus |r| of the volume (interval: Zou 2007)."
    return Table(heads, rows, caption=caption)


def h1_sentences(comparisons: Sequence[Comparison]) -> list[str]:
    """Return what the numbers say about H1: proportions do not differ by sex, and correlate better with age."""
    return [f"H1, sexes: {_h1_sexes(comparisons)}", f"H1, age: {_h1_age(comparisons)}"]


def _h1_sexes(comparisons: Sequence[Comparison]) -> str:
    volumes = [each.d_volume for each in comparisons]
    all_ages = {LABELS[each.key]: each.d_proportion for each in comparisons}
    same_age = {LABELS[each.key]: each.d_proportion_given_age for each in comparisons}
    proportions = (*all_ages.values(), *same_age.values())
    if any(d.low != d.low for d in (*volumes, *proportions)):
        return "cannot be judged, as there are too few female or male participants, or too few ages."
    text = (
        f"female and male participants differ in the volume of {_count_different(volumes)}, in the proportion of "
        f"{_count_different(list(all_ages.values()))}, and at the same age in the proportion of "
        f"{_count_different(list(same_age.values()))}. "
    )
    reach = max(max(abs(d.low), abs(d.high)) for d in proportions)
    if reach <= SMALL_D:
        return (
            text
            + f"All intervals of the proportions lie within +-{SMALL_D}: they hardly differ by sex, as H1 predicts."
        )
    return text + _verdict_on_sexes(_different(all_ages), _different(same_age), reach)


def _verdict_on_sexes(all_ages: Sequence[str], same_age: Sequence[str], reach: float) -> str:
    if all_ages and same_age:
        return f"So proportions do differ ({', '.join(same_age)}), which is evidence against H1."
    if same_age:
        return (
            "So the proportions look alike only because female and male participants also differ in age; at the same "
            f"age they differ ({', '.join(same_age)}), which is evidence against H1."
        )
    if all_ages:
        return f"The differences ({', '.join(all_ages)}) are explained by age, so there is no evidence against H1."
    return f"So no difference in proportions is seen, as H1 predicts, but one of up to |d| = {reach:.2f} is possible."


def _different(differences: Mapping[str, Interval]) -> list[str]:
    return [name for name, d in differences.items() if not d.low <= 0 <= d.high]


def _count_different(differences: Sequence[Interval]) -> str:
    n = sum(not d.low <= 0 <= d.high for d in differences)
    return f"{n} of {count(len(differences), 'tissue')} (|d| up to {max(abs(d.value) for d in differences):.2f})"


def _h1_age(comparisons: Sequence[Comparison]) -> str:
    if any(each.gained.low != each.gained.low for each in comparisons):
        return "cannot be judged, as too few participants have an age."
    better = [LABELS[each.key] for each in comparisons if each.gained.low > 0 and each.gained.value >= SMALL_R]
    worse = [LABELS[each.key] for each in comparisons if each.gained.high < 0 and each.gained.value <= -SMALL_R]
    undecided = [LABELS[each.key] for each in comparisons if LABELS[each.key] not in (*better, *worse)]
    groups = {"stronger for the proportion of": better, "stronger for the volume of": worse, "similar for": undecided}
    parts = "; ".join(f"{what} {in_words(tissues)}" for what, tissues in groups.items() if tissues)
    values = ", ".join(
        f"{LABELS[each.key]} {abs(each.r_volume):.2f} to {abs(each.r_proportion):.2f}" for each in comparisons
    )
    verdict = {
        (True, False): "This agrees with H1" + (", though it is not shown for every tissue" if undecided else ""),
        (False, True): "This is evidence against H1",
        (True, True): "So H1 holds for some tissues and not for others",
        (False, False): "So H1 is neither shown nor refuted",
    }[bool(better), bool(worse)]
    return f"the correlation with age is {parts} (|r| of the volume to |r| of the proportion: {values}). {verdict}."
