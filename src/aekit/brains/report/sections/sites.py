"""The section of the cohort report on the sites."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from aekit.brains.measures.cohort import SiteDifference
from aekit.brains.report.analysis import LABELS, Analysis
from aekit.brains.report.harmonise import Harmonised, describe_harmonised
from aekit.brains.report.tables import site_ages
from aekit.brains.report.words import p_value, picture
from aekit.plotting.html import Block, Paragraph, Section, Table

_MAX_ROWS = 60


def site_section(analysis: Analysis, pictures: Mapping[str, bytes]) -> Section:
    """Return the section on the ages at each of several sites, and how sites differ given age and sex."""
    found = {
        LABELS[name.removeprefix("volumes ")]: difference
        for name, difference in analysis.sites.items()
        if name.startswith("volumes ")
    }
    caption = "Left: ages (box 25 to 75 %, line 5 to 95 %)." if found else "Ages: box 25 to 75 %, line 5 to 95 %."
    if found:
        caption += (
            " Right: each site minus the mean of all sites at equal age and sex, in SDs, with 95 % intervals; positive "
            "where the site has more."
        )
    caption += (
        " If sites differ in age as well, a model can infer age from the scanner: keep each site in one split (--group "
        "site) to test for that."
    )
    blocks: list[Block] = picture(pictures, "sites.png", "Ages and differences by site", caption)
    heads = ["site", "participants", "mean age", "SD", *(f"{name} (mL)" for name in found)]
    rows = [
        [*_age_cells(site, own), *(_cell(each, site) for each in found.values())]
        for site, own in site_ages(analysis).items()
    ]
    about = "Site minus the mean of all sites given age and sex, 95 % interval in brackets. Means: sites.csv."
    blocks.append(Table(heads, rows[:_MAX_ROWS], caption=about if found else "Ages at each site."))
    if found:
        tests = ", ".join(
            f"{name} {100 * each.explained:.1f} % ({p_value(each.p_value)})" for name, each in found.items()
        )
        blocks.append(Paragraph(f"Of the variance not explained by age and sex, sites explain: {tests}."))
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
