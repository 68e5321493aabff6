"""The page of the cohort report: its sections in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aekit.brains.report.analysis import Analysis
from aekit.brains.report.checks import FailedCheck
from aekit.brains.report.reading import CohortInput
from aekit.brains.report.scans import Scans
from aekit.brains.report.sections.measures import age_section, measures_section
from aekit.brains.report.sections.outliers import outlier_section
from aekit.brains.report.sections.participants import participants_section, split_section
from aekit.brains.report.sections.reading import reading_section
from aekit.brains.report.sections.scans import scan_section
from aekit.brains.report.sections.sexes import sex_section
from aekit.brains.report.sections.sites import site_section
from aekit.brains.report.sections.summary import summary_section
from aekit.brains.report.tables import site_ages
from aekit.plotting.html import Section


def build_sections(
    analysis: Analysis,
    source: CohortInput,
    scans: Scans | None,
    pictures: Mapping[str, bytes],
    *,
    failed: Sequence[FailedCheck],
    hypotheses: bool = False,
) -> list[Section]:
    """Return the sections of the report, those alone for which there is something in the table or the scans.

    Args:
        analysis: The cohort.
        source: How it was read.
        scans: Its scans.
        pictures: Figures as PNG by file name.
        failed: Checks that failed.
        hypotheses: Say what the numbers mean for hypothesis H1.
    """
    summary = summary_section(analysis, source, scans, failed, hypotheses=hypotheses)
    sections = [summary, participants_section(analysis, pictures)]
    if analysis.measures:
        sections += [measures_section(analysis, pictures), age_section(analysis, pictures)]
    if analysis.sexes:
        sections.append(sex_section(analysis, pictures, hypotheses=hypotheses))
    if len(site_ages(analysis)) > 1:
        sections.append(site_section(analysis, pictures))
    if analysis.outliers is not None:
        sections.append(outlier_section(analysis, analysis.outliers, pictures))
    sections.append(split_section(analysis, source.group, pictures))
    if scans is not None:
        sections.append(scan_section(scans, analysis.cohort, pictures))
    sections.append(reading_section(analysis, source))
    return sections
