"""The summary at the top of the cohort report: numbers, warnings, and what proportions add to volumes."""

from __future__ import annotations

from collections.abc import Sequence

from aekit.brains.cohort.splits import SPLITS
from aekit.brains.report.analysis import Analysis
from aekit.brains.report.checks import FailedCheck
from aekit.brains.report.reading import CohortInput
from aekit.brains.report.scans import Scans
from aekit.brains.report.sections.sexes import comparison_sentences
from aekit.brains.report.words import count_participants, ends
from aekit.plotting.html import Block, Bullets, Fact, Facts, Paragraph, Section


def summary_section(
    analysis: Analysis,
    source: CohortInput,
    scans: Scans | None,
    failed: Sequence[FailedCheck],
    *,
    hypotheses: bool = False,
) -> Section:
    """Return the section with the main numbers and the checks that failed."""
    blocks: list[Block] = [
        Facts([*_cohort_facts(analysis), *_study_facts(analysis, source.group), *_scan_facts(scans)]),
        Paragraph(
            "A model of age has learnt something only if its mean absolute error (MAE) is below the floor: the error "
            "of predicting the same age for everyone."
        ),
    ]
    if failed:
        blocks.append(Paragraph("Checks that failed:"))
        blocks.append(Bullets([each.text for each in failed], are_warnings=True))
    else:
        blocks.append(Paragraph("All checks passed."))
    if analysis.outliers is None:
        blocks.append(Paragraph(f"Outliers were not searched for: {analysis.why_no_outliers}."))
    if analysis.comparisons:
        sentences = comparison_sentences(analysis.comparisons, hypotheses=hypotheses)
        blocks += [Paragraph(sentence) for sentence in sentences]
    return Section("Summary", blocks)


def _cohort_facts(analysis: Analysis) -> list[Fact]:
    cohort, floor = analysis.cohort, analysis.floor
    age, sex = cohort.age_years[analysis.has_age], cohort.sex
    n_female, n_male = int((sex == "F").sum()), int((sex == "M").sum())
    n_unknown = len(cohort) - n_female - n_male
    sexes = f"{n_female:,} female, {n_male:,} male" + (f", {n_unknown:,} unknown" if n_unknown else "")
    spread = f"mean {age.mean():.1f}, SD {age.std(ddof=1) if len(age) > 1 else 0:.1f}"
    return [
        Fact("Participants", f"{len(cohort):,}", sexes),
        Fact("Age (years)", f"{age.min():.1f} to {age.max():.1f}", spread),
        Fact(
            "Floor: MAE of the median age",
            f"{floor.mae_median_years.value:.2f} years",
            f"95 % interval {ends(floor.mae_median_years)}",
        ),
        Fact(
            "MAE of the mean age",
            f"{floor.mae_mean_years.value:.2f} years",
            f"95 % interval {ends(floor.mae_mean_years)}",
        ),
    ]


def _study_facts(analysis: Analysis, group: str | None) -> list[Fact]:
    facts = []
    if analysis.outliers is not None:
        n = int(analysis.outliers.flagged.sum())
        facts.append(Fact("Outliers", f"{n:,}", f"{100 * n / len(analysis.cohort):.1f} %, flagged but kept"))
    counts = [f"{int((analysis.split == name).sum()):,}" for name in SPLITS]
    remark = f"each {group} kept together" if group else "stratified by age and sex"
    return [*facts, Fact("Train / validation / test", " / ".join(counts), remark)]


def _scan_facts(scans: Scans | None) -> list[Fact]:
    if scans is None:
        return []
    without = count_participants(len(scans.matched.without_file))
    return [Fact("Scans", f"{len(scans.usable):,}", f"{len(scans.unusable):,} unusable, {without} without a scan")]
