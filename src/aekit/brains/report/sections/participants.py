"""The sections of the cohort report on who the participants are, and how they are split."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from aekit.brains.cohort.sessions import persons_of
from aekit.brains.report.analysis import Analysis
from aekit.brains.report.tables import counts_table, floor_table
from aekit.brains.report.words import ends, picture
from aekit.core.intervals import Interval
from aekit.plotting.html import Block, Section, Table


def participants_section(analysis: Analysis, pictures: Mapping[str, bytes]) -> Section:
    """Return the section with the histogram of age and the counts by group."""
    table = counts_table(analysis)
    rows = [
        ("" if variable == previous else variable, value, n, f"{100 * fraction:.1f}", n_female, n_male, mean, sd)
        for variable, previous, value, n, fraction, n_female, n_male, mean, sd in zip(
            table["variable"],
            [None, *table["variable"][:-1]],
            table["value"],
            table["n"].tolist(),
            table["share"],
            table["n_female"].tolist(),
            table["n_male"].tolist(),
            _rounded(table["age_mean"]),
            _rounded(table["age_sd"]),
            strict=True,
        )
    ]
    caption = (
        "Ages, with female participants at the bottom. The closer the ages lie to the two lines, the lower the floor, "
        "and the less impressive an error of a few years is."
    )
    heads = ["", "", "participants", "%", "female", "male", "mean age", "SD"]
    blocks: list[Block] = [*picture(pictures, "age.png", "Histogram of age", caption), Table(heads, rows, n_left=2)]
    return Section("Participants", blocks)


def _rounded(values: pd.Series[float]) -> list[str]:
    return ["" if value != value else f"{value:.1f}" for value in values]


def split_section(analysis: Analysis, group: str | None, pictures: Mapping[str, bytes]) -> Section:
    """Return the section on how alike the splits are, and the floor of each.

    Args:
        analysis: The cohort.
        group: Column whose groups stay in one split; None for none.
        pictures: Figures as PNG by file name.
    """
    table = floor_table(analysis)
    table = table[table["fitted_on"] == "train"]
    rows = [
        (name, predictor, n, f"{value:.1f}", f"{mae:.2f}", ends(Interval(mae, low, high)))
        for name, predictor, n, value, mae, low, high in zip(
            table["evaluated_on"],
            table["predictor"],
            table["n"].tolist(),
            table["age_years"],
            table["mae_years"],
            table["mae_low"],
            table["mae_high"],
            strict=True,
        )
    ]
    units = [*([group] if group else []), *(["participant"] if persons_of(analysis.cohort) is not None else [])]
    together = f" Each {' and each '.join(units)} is in one split only, which limits how alike the splits can be."
    together = together if units else ""
    caption = (
        "Cumulative distribution of age: the closer the curves, the more alike the splits. The split is in column "
        f"split of participants.tsv, which mri-train reads with --test-split split.{together}"
    )
    blocks: list[Block] = picture(pictures, "split.png", "Ages and sexes of the splits", caption)
    if rows:
        heads = ["split", "predictor from train", "participants", "age", "MAE (years)", "95 %"]
        blocks.append(Table(heads, rows, caption="The floor in each split.", n_left=2))
    return Section("Split", blocks)
