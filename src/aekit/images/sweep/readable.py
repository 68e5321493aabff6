"""The results of a grid for reading: a row per combination of settings, with means over seeds, on test images."""

from __future__ import annotations

import math
from collections.abc import Hashable

import pandas as pd

from aekit import __version__
from aekit.core.settings import as_text
from aekit.core.text_tables import PLUS_MINUS, TextTable
from aekit.errors import count
from aekit.images.sweep.figure import shown_measures
from aekit.images.sweep.plan import REPETITIONS, Plan, repeated

_HEADINGS = {
    **{"elbo": "negative ELBO", "kl": "KL", "mse": "MSE"},
    **{"dip": "DIP", "mmd": "MMD", "kl_free": "KL with free bits", "bound": "negative weighted bound"},
    "total_correlation": "total correlation",
}
_DIGITS = 4  # of the largest mean of a column


def readable_table(plan: Plan, rows: pd.DataFrame, chosen: tuple[Hashable, str] | None) -> TextTable:
    """Return the table of the cells that were trained, with the settings of the cell that was chosen in bold.

    Args:
        plan: What was swept.
        rows: A row per trained cell, as in ``results.csv``.
        chosen: The row that was chosen, by its index, and by what.
    """
    over = [name for name in plan.swept if name not in REPETITIONS] or ["latent"]
    measures = [("test", name) for name in shown_measures(rows, "test")]
    if plan.best is not None:
        measures.insert(0, ("val", plan.best))
    keys = rows[over].map(lambda value: "" if value is None or value != value else as_text(value))
    groups = rows.assign(**{name: keys[name] for name in over}).groupby(over, sort=False)
    means, spreads, counts = (
        getattr(groups[[f"{split}_{name}" for split, name in measures]], how)() for how in ("mean", "std", "count")
    )
    columns = [_texts(means[name], spreads[name], counts[name]) for name in means]
    active = groups["active_units"].mean()
    columns.append([f"{value:.0f}" if (active % 1 == 0).all() else f"{value:.1f}" for value in active])
    own = list(keys.drop_duplicates().itertuples(index=False, name=None))
    bold = None if chosen is None else own.index(tuple(keys.loc[chosen[0]]))
    headings = [("", name.replace("_", " ")) for name in over]
    headings += [({"val": "validation"}.get(split, split), _HEADINGS.get(name, name)) for split, name in measures]
    body = [[*key, *cells] for key, cells in zip(own, zip(*columns, strict=True), strict=True)]
    return TextTable([*headings, ("", "active")], body, len(over), [_note(plan, rows, chosen)], bold)


def name_measure(name: str, split: str) -> str:
    """Return what a measure of a split is called in a table of one line of headings."""
    split = "test" if name == "total_correlation" else split  # wherever the others are measured
    return f"{split} {_HEADINGS.get(name, name)}"


def _texts(means: pd.Series, spreads: pd.Series, counts: pd.Series) -> list[str]:
    """Return the cells of a column, with as many decimals as give the largest mean four digits."""
    largest = float(means.abs().max())
    decimals = min(max(_DIGITS - 1 - math.floor(math.log10(largest)), 0), 6) if largest > 0 else 0
    return [
        "" if math.isnan(mean) else f"{mean:.{decimals}f}" + (f"{PLUS_MINUS}{spread:.{decimals}f}" if n > 1 else "")
        for mean, spread, n in zip(means, spreads, counts, strict=True)
    ]


def _note(plan: Plan, rows: pd.DataFrame, chosen: tuple[Hashable, str] | None) -> str:
    parts = [f"{', '.join(rows['model'].unique())} on {', '.join(rows['data'].unique())}, {count(len(rows), 'run')}"]
    if over := repeated(plan.swept):
        parts.append(f"mean{PLUS_MINUS}standard deviation over {over}")
    if set(rows["loss"]) != {"mse"}:
        parts.append("losses in nats per image")
    if chosen is not None:
        parts.append(f"bold: chosen by {chosen[1]}")
    return f"{'; '.join(parts)}. Made by aekit {__version__} sweep."
