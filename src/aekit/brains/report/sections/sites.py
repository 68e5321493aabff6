"""The section of the cohort report on the sites."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from aekit.brains.measures.cohort import SiteDifference
from aekit.brains.report.analysis import LABELS, Analysis
from aekit.brains.report.harmonise import Harmonised, describe_harmonised
from aekit.brains.report.tables import site_ages
from aekit.brains.report.words import p_value, picture, some_names
from aekit.plotting.html import Block, Paragraph, Section, Table

_MAX_ROWS = 60


def site_section(analysis: Analysis, pictures: Mapping[str, bytes]) -> Section:
    """Return the section on the ages at each site, and how sites differ given age and sex."""
    ages = site_ages(analysis)
    if not analysis.sites:
        names = some_names(list(ages)) or "none"
        return Section("Sites", [Paragraph(f"There is nothing to compare (sites with known ages: {names}).")])
    caption = (
        "Left: ages (box 25 to 75 %, line 5 to 95 %). Right: difference of each site from the mean of all sites at "
        "equal age and sex, in SDs, with 95 % intervals. If sites differ in age as well, a model can infer age from "
        "the scanner: keep each site in one split (--group site) to test for that."
    )
    found = {
        LABELS[name.removeprefix("volumes ")]: difference
        for name, difference in analysis.sites.items()
        if name.startswith("volumes ")
    }
    tests = ", ".join(f"{name} {100 * each.explained:.1f} % ({p_value(each.p_value)})" for name, each in found.items())
    heads = ["site", "participants", "mean age", "SD", *(f"{name} (mL)" for name in found)]
    rows = [[*_age_cells(site, own), *(_cell(each, site) for each in found.values())] for site, own in ages.items()]
    about = "Difference from the mean of all sites given age and sex, 95 % interval in brackets. Means: sites.csv."
    blocks: list[Block] = [
        picture(pictures, "sites.png", "Ages and differences by site", caption),
        Table(heads, rows[:_MAX_ROWS], caption=about),
        Paragraph(f"Of the variance not explained by age and sex, sites explain: {tests}."),
    ]
    return Section("Sites", blocks + _harmonised(analysis.harmonised))


def _harmonised(found: Harmonised | None) -> list[Block]:
    """Return what ComBat removed, if it was asked for."""
    if found is None:
        return []
    rows = [
        [name, f"{100 * before:.1f} %", f"{100 * after:.1f} %"]
        for name, (before, after) in zip(found.names, found.explained, strict=True)
    ]
    heads = ["column", "explained by sites before", "after"]
    about = "Fraction of the variance not explained by age and sex. What was removed of each site: combat.csv."
    return [Paragraph(f"{describe_harmonised(found)}."), Table(heads, rows[:_MAX_ROWS], caption=about)]


def _age_cells(site: str, ages: npt.NDArray[np.floating]) -> list[object]:
    return [site, len(ages), f"{ages.mean():.1f}", f"{ages.std(ddof=1):.1f}" if len(ages) > 1 else ""]


def _cell(found: SiteDifference, site: str) -> str:
    if site not in found.sites:
        return ""
    at = found.sites.index(site)
    return f"{found.difference[at]:+.0f} [{found.low[at]:+.0f}, {found.high[at]:+.0f}]"
