"""The figures of the cohort report, one per file."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from aekit.brains.figures.ages import plot_ages, plot_split
from aekit.brains.figures.measures import (
    Estimate,
    plot_against_age,
    plot_brain_volume,
    plot_correlations,
    plot_distributions,
    plot_sex_differences,
)
from aekit.brains.figures.outliers import plot_outliers
from aekit.brains.figures.scans import plot_scans
from aekit.brains.figures.sexes import split_by_sex
from aekit.brains.figures.sites import plot_sites
from aekit.brains.measures.age_trend import SmoothLine, smooth_line
from aekit.brains.report.analysis import LABELS, Analysis, Measures
from aekit.brains.report.scans import Scans
from aekit.brains.report.tables import site_ages
from aekit.brains.report.words import measure_name

SPACES = {
    "native": "native space: the scans keep the size of the head",
    "normalised": "normalised space: the size of the head has been removed",
    "undecided": "undecided: neither clearly native nor normalised space",
}


def draw_figures(analysis: Analysis, scans: Scans | None) -> dict[str, Figure]:
    """Return the figures by file name; those without columns in the table are left out."""
    cohort, known = analysis.cohort, analysis.has_age
    age, sex = cohort.age_years[known], cohort.sex[known]
    floor, ids = analysis.floor, [one for one, has_age in zip(_ids(analysis), known, strict=True) if has_age]
    figures = {"age.png": plot_ages(age, sex, mean_years=floor.mean_years, median_years=floor.median_years, ids=ids)}
    for each in analysis.measures.values():
        figures |= _measure_figures(analysis, each)
    if analysis.correlations:
        figures["correlations.png"] = _correlations(analysis)
    if analysis.sexes:
        figures["sex-differences.png"] = _sex_differences(analysis)
    if len(site_ages(analysis)) > 1:
        figures["sites.png"] = _sites(analysis)
    if analysis.outliers is not None:
        figures["outliers.png"] = _outliers(analysis)
    figures["split.png"] = plot_split(age, sex, analysis.split[known], ids=ids)
    if scans is not None and scans.space is not None and scans.space.n > 1:
        figures["brain-volume.png"] = _brain_volume(analysis, scans)
    if scans is not None and scans.judged is not None:
        figures["scans.png"] = plot_scans(scans.judged.pictures(), title=scans.judged.picture_title())
    return figures


def _measure_figures(analysis: Analysis, each: Measures) -> dict[str, Figure]:
    cohort, known = analysis.cohort, analysis.has_age
    unit = each.unit or "proportion"
    ids = _ids(analysis)
    trends = [_trends(analysis, each, number) for number in range(len(each.keys))]
    n_panels = len([key for key in each.keys if key != "total"])  # the total would make the other panels narrow
    return {
        f"{each.kind}.png": plot_distributions(each.values, cohort.sex, names=each.names, ids=ids, unit=unit),
        f"{each.kind}-age.png": plot_against_age(
            cohort.age_years[known],
            each.values[known, :n_panels],
            cohort.sex[known],
            names=each.names[:n_panels],
            trends=trends[:n_panels],
            ids=[ids[row] for row in np.flatnonzero(known)],
            unit=unit,
        ),
    }


def _ids(analysis: Analysis) -> list[str]:
    return [str(one) for one in analysis.cohort.table["participant_id"]]


def _trends(analysis: Analysis, each: Measures, number: int) -> dict[str, SmoothLine]:
    age, column = analysis.cohort.age_years, each.values[:, number]
    usable = analysis.has_age & np.isfinite(column)
    lines = {}
    for key, rows in split_by_sex(analysis.cohort.sex).items():
        own = usable & rows
        if own.sum() >= 10 and np.ptp(age[own]) > 0:
            lines[key] = smooth_line(age[own], column[own])
    return lines


def _correlations(analysis: Analysis) -> Figure:
    kinds = list(analysis.correlations)
    return plot_correlations(
        [analysis.correlations[kind].pearson for kind in kinds],
        [["age", *analysis.measures[kind].names] for kind in kinds],
        captions=["volumes in mL" if kind == "volumes" else "proportions of the total" for kind in kinds],
    )


def _sex_differences(analysis: Analysis) -> Figure:
    estimates, given_age = [], []
    for (kind, key), each in analysis.sexes.items():
        label = measure_name(kind, key)
        estimates.append(Estimate(label, *each.d, group=kind))
        given_age.append(Estimate(label, *each.d_given_age, group=kind))
    return plot_sex_differences(estimates, given_age)


def _sites(analysis: Analysis) -> Figure:
    differences = {
        LABELS[name.removeprefix("volumes ")]: [
            Estimate(site, difference / found.sd, low / found.sd, high / found.sd)
            for site, difference, low, high in zip(found.sites, found.difference, found.low, found.high, strict=True)
        ]
        for name, found in analysis.sites.items()
        if name.startswith("volumes ") and name != "volumes total" and found.sd > 0
    }
    return plot_sites(site_ages(analysis), differences)


def _outliers(analysis: Analysis) -> Figure:
    found = analysis.outliers
    assert found is not None
    return plot_outliers(
        found.z,
        found.squared,
        found.flagged,
        names=[LABELS[key] for key in found.keys],
        ids=_ids(analysis),
        z_limit=found.limits.z_limit,
        squared_limit=found.limits.squared_limit,
    )


def _brain_volume(analysis: Analysis, scans: Scans) -> Figure:
    assert scans.space is not None
    return plot_brain_volume(
        scans.table_ml,
        scans.brain_ml,
        analysis.cohort.sex,
        slope=scans.space.slope,
        columns=scans.table_columns,
        ids=_ids(analysis),
        caption=f"r = {scans.space.r:.3f}, {SPACES[scans.space.space].split(':')[0]}",
    )
