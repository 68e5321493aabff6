"""The section of the cohort report on female and male participants, and on what proportions add to volumes."""

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


def sex_section(analysis: Analysis, pictures: Mapping[str, bytes], *, hypotheses: bool = False) -> Section:
    """Return the section on the differences between female and male participants, and whether proportions have them.

    Args:
        analysis: The cohort.
        pictures: Figures as PNG by file name.
        hypotheses: State hypothesis H1, and what the numbers say about it.
    """
    caption = (
        "Mean of male minus mean of female participants, in SDs: positive where males have more. An interval that "
        f"crosses zero shows no difference; one that lies within the grey band (|d| < {SMALL_D}) shows that there is "
        "hardly any."
    )
    comparisons = analysis.comparisons
    blocks: list[Block] = [Paragraph(H1)] if comparisons and hypotheses else []
    blocks += picture(pictures, "sex-differences.png", "Cohen's d of every measure, male minus female", caption)
    blocks.append(_d_table(analysis))
    if comparisons:
        blocks += [Paragraph(sentence) for sentence in comparison_sentences(comparisons, hypotheses=hypotheses)]
        blocks.append(_comparison_table(comparisons))
    return Section("Female and male participants" + (" (hypothesis H1)" if hypotheses else ""), blocks)


def _d_table(analysis: Analysis) -> Block:
    rows = []
    for (kind, key), each in analysis.sexes.items():
        digits = 1 if kind == "volumes" else 4
        means = (f"{each.female.mean:.{digits}f}", f"{each.male.mean:.{digits}f}")
        d, d_given_age = ((signed(one.value), ends(one)) for one in (each.d, each.d_given_age))
        rows.append((measure_name(kind, key), *means, *d, *d_given_age))
    heads = ["", "mean, female", "mean, male", "d, male - female", "95 %", "d given age", "95 %"]
    caption = (
        "Cohen's d = (mean of male - mean of female participants) / pooled SD, without small-sample correction "
        "(Hedges' g is in sex-differences.csv); interval from the noncentral t distribution. Given age: at the same "
        "age, by a regression on a spline of age."
    )
    return Table(heads, rows, caption=caption)


def _comparison_table(comparisons: Sequence[Comparison]) -> Block:
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
    caption = (
        "Volumes and proportions at a glance; d is male minus female. The gain is |r| of the proportion minus |r| of "
        "the volume (interval: Zou 2007)."
    )
    return Table(heads, rows, caption=caption)


def comparison_sentences(comparisons: Sequence[Comparison], *, hypotheses: bool = False) -> list[str]:
    """Return whether proportions differ by sex, and whether they say more about age than volumes.

    Args:
        comparisons: One per tissue.
        hypotheses: Say what this means for hypothesis H1, instead of asking a question.
    """
    (sexes, about_sexes), (age, about_age) = _sexes(comparisons), _age(comparisons)
    if not hypotheses:
        return [f"Do proportions differ by sex? {sexes}", f"Do proportions say more about age than volumes? {age}"]
    return [f"H1, sexes: {sexes} {about_sexes}".rstrip(), f"H1, age: {age} {about_age}".rstrip()]


def _sexes(comparisons: Sequence[Comparison]) -> tuple[str, str]:
    """Return what is seen of the sexes, and what it means for H1."""
    volumes = {LABELS[each.key]: each.d_volume for each in comparisons}
    all_ages = {LABELS[each.key]: each.d_proportion for each in comparisons}
    same_age = {LABELS[each.key]: each.d_proportion_given_age for each in comparisons}
    proportions = (*all_ages.values(), *same_age.values())
    if any(d.low != d.low for d in (*volumes.values(), *proportions)):
        return "This cannot be judged, as there are too few female or male participants, or too few ages.", ""
    text = (
        f"Female and male participants differ in the volume of {_count_different(volumes)}, in the proportion of "
        f"{_count_different(all_ages)}, and at the same age in the proportion of {_count_different(same_age)}; d is "
        "male minus female. "
    )
    reach = max(max(abs(d.low), abs(d.high)) for d in proportions)
    if reach <= SMALL_D:
        what = f"All intervals of the proportions lie within \u00b1{SMALL_D}: they hardly differ by sex."
        return text + what, "H1 predicts this."
    what, about = _verdict_on_sexes(_different(all_ages), _different(same_age), reach)
    return text + what, about


def _verdict_on_sexes(all_ages: Sequence[str], same_age: Sequence[str], reach: float) -> tuple[str, str]:
    against = "This is evidence against H1."
    if all_ages and same_age:
        return f"So proportions do differ ({in_words(same_age)}).", against
    if same_age:
        what = "So the proportions look alike only because female and male participants also differ in age; at the "
        return f"{what}same age they differ ({in_words(same_age)}).", against
    if all_ages:
        return f"The differences ({in_words(all_ages)}) are explained by age.", "There is no evidence against H1."
    what = f"So no difference in proportions is seen, but one of up to d = \u00b1{reach:.2f} is possible."
    return what, "H1 predicts no difference."


def _different(differences: Mapping[str, Interval]) -> list[str]:
    """Return the tissues that differ, each with which sex has more."""
    return [
        f"more {name} in {'males' if d.value > 0 else 'females'}"
        for name, d in differences.items()
        if not d.low <= 0 <= d.high
    ]


def _count_different(differences: Mapping[str, Interval]) -> str:
    values = ", ".join(f"{name} {signed(d.value)}" for name, d in differences.items())
    return f"{len(_different(differences))} of {count(len(differences), 'tissue')} ({values})"


def _age(comparisons: Sequence[Comparison]) -> tuple[str, str]:
    """Return what is seen of age, and what it means for H1."""
    if any(each.gained.low != each.gained.low for each in comparisons):
        return "This cannot be judged, as too few participants have an age.", ""
    better = [LABELS[each.key] for each in comparisons if each.gained.low > 0 and each.gained.value >= SMALL_R]
    worse = [LABELS[each.key] for each in comparisons if each.gained.high < 0 and each.gained.value <= -SMALL_R]
    undecided = [LABELS[each.key] for each in comparisons if LABELS[each.key] not in (*better, *worse)]
    groups = {"stronger for the proportion of": better, "stronger for the volume of": worse, "similar for": undecided}
    parts = "; ".join(f"{what} {in_words(tissues)}" for what, tissues in groups.items() if tissues)
    values = ", ".join(
        f"{LABELS[each.key]} {signed(each.r_volume)} to {signed(each.r_proportion)}" for each in comparisons
    )
    about = {
        (True, False): "This agrees with H1" + (", though it is not shown for every tissue" if undecided else ""),
        (False, True): "This is evidence against H1",
        (True, True): "So H1 holds for some tissues and not for others",
        (False, False): "So H1 is neither shown nor refuted",
    }[bool(better), bool(worse)]
    text = f"The correlation with age is {parts} (r of the volume to r of the proportion: {values})."
    return text, f"{about}."
