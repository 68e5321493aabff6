"""The sections of the cohort report on the measures: their distributions, and how they vary with age."""

from __future__ import annotations

from collections.abc import Mapping

from aekit.brains.measures.cohort import describe
from aekit.brains.report.analysis import Analysis
from aekit.brains.report.words import measure_name, picture, signed
from aekit.plotting.html import Block, Section, Table


def measures_section(analysis: Analysis, pictures: Mapping[str, bytes]) -> Section:
    """Return the section on the distributions of volumes and proportions."""
    blocks: list[Block] = [
        *picture(
            pictures,
            "volumes.png",
            "Distributions of the volumes",
            "Volumes in mL; the marks on the axis are the medians. If the curves differ only by a shift, men's "
            "heads are simply larger; a second peak suggests another site, scanner or unit.",
        )
    ]
    if "proportions" in analysis.measures:
        caption = (
            "Each volume as a proportion of the three. Where the curves of the sexes coincide, the difference in "
            "volume was due to head size."
        )
        blocks.extend(picture(pictures, "proportions.png", "Distributions of the proportions", caption))
    heads = ["", "participants", "missing", "mean", "SD", "min", "5 %", "25 %", "median", "75 %", "95 %", "max"]
    caption = "Volumes in mL, proportions of the sum of the three. By sex: volumes.csv."
    return Section("Volumes and proportions", [*blocks, Table(heads, _distribution_rows(analysis), caption=caption)])


def _distribution_rows(analysis: Analysis) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for kind, each in analysis.measures.items():
        digits = 0 if kind == "volumes" else 3
        for key, column in zip(each.keys, each.values.T, strict=True):
            found = describe(column)
            cells = (found.mean, found.sd, found.smallest, *found.percentiles, found.largest)
            rows.append((measure_name(kind, key), found.n, found.n_missing, *(f"{cell:.{digits}f}" for cell in cells)))
    return rows


def age_section(analysis: Analysis, pictures: Mapping[str, bytes]) -> Section:
    """Return the section on how the measures vary with age and with each other."""
    caption = (
        "Lines are local regressions, one per sex, with the 95 % interval of the mean. Where a line bends, a linear "
        "model of age would miss part of the relation; where points fan out, the spread grows with age."
    )
    blocks: list[Block] = picture(pictures, "volumes-age.png", "Volumes against age by sex", caption)
    if "proportions" in analysis.measures:
        caption = "The same for the proportions. A measure with less spread around its line predicts age better."
        blocks.extend(picture(pictures, "proportions-age.png", "Proportions against age by sex", caption))
    caption = (
        "Red: the two measures rise together; blue: one rises while the other falls. The first row shows what each "
        "measure says about age with a straight line; correlated tissues carry the same information twice."
    )
    blocks.extend(picture(pictures, "correlations.png", "Correlations of age and the measures", caption))
    heads = ["", "participants", "Pearson r with age", "95 %", "Spearman"]
    caption = "Correlation with age. All pairs: correlations.csv."
    return Section("Age", [*blocks, Table(heads, _correlation_rows(analysis), caption=caption)])


def _correlation_rows(analysis: Analysis) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for kind, found in analysis.correlations.items():
        for number, key in enumerate(analysis.measures[kind].keys, start=1):
            low, high = found.low[0, number], found.high[0, number]
            interval = f"{signed(low)} to {signed(high)}"
            r, rho = found.pearson[0, number], found.spearman[0, number]
            rows.append((measure_name(kind, key), int(found.n[0, number]), signed(r), interval, signed(rho)))
    return rows
