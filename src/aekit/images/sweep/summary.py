"""What a grid leaves besides its checkpoints: figures of the cells and of their learning curves, and a table shown."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import pandas as pd

from aekit import __version__
from aekit.core.artifacts import write_atomically, write_png
from aekit.core.latex import font_note, to_latex
from aekit.core.progress import Progress
from aekit.core.settings import as_text
from aekit.errors import count
from aekit.images.config import Loss
from aekit.images.record import vae_words
from aekit.images.sweep.best import choose_best
from aekit.images.sweep.figure import plot_cells, plot_sweep, shown_measures
from aekit.images.sweep.outcomes import Done, Outcome
from aekit.images.sweep.plan import REPETITIONS, Plan, repeated
from aekit.images.sweep.readable import name_measure, readable_table

_TOTAL_CORRELATION = (
    "total correlation: of the codes of test images under the mixture of all their posteriors, as evaluate measures "
    "it; tc in results.csv is estimated from batches (beta-tc) or by the discriminator (factor), and does not compare"
)
MAX_CURVES = 120  # cells whose learning curves one figure can show


def write_summary(plan: Plan, outcomes: Sequence[Outcome], table: pd.DataFrame, progress: Progress) -> None:
    """Write ``results.png`` and ``curves.png``, and show the table of the cells that were trained, if there are any.

    Args:
        plan: What was swept.
        outcomes: How the cells ended, in their order.
        table: Their rows, as in ``results.csv``.
        progress: Shows the table.
    """
    done = [outcome for outcome in outcomes if isinstance(outcome, Done)]
    if not done:
        return
    rows = table[table["status"] == "done"]
    split = "val" if rows["val_total"].notna().all() else "test"
    # It is measured on test images only, which figure and table say.
    rows = rows.assign(val_total_correlation=rows["test_total_correlation"])
    parameters: dict[str, Any] = {"aekit": __version__, "command": "sweep", "swept": list(plan.swept)}
    parameters["cells"] = [outcome.cell.path.name for outcome in done]
    chosen = _chosen(plan, outcomes, rows)
    _write_results(plan, outcomes, rows, split, chosen, parameters)
    if plan.form != "csv":
        _write_table(plan, rows, chosen, progress)
    _write_curves(plan, done, rows, parameters, progress)
    _show(rows, plan.swept, split, progress)


def _write_results(
    plan: Plan,
    outcomes: Sequence[Outcome],
    rows: pd.DataFrame,
    split: str,
    chosen: tuple[Hashable, str] | None,
    parameters: dict[str, Any],
) -> None:
    over = [name for name in plan.swept if name not in REPETITIONS]
    title = f"{_what(rows, outcomes)}: {_in_full(split)} images, {count(len(rows), 'cell')}"
    title += f" ({len(outcomes) - len(rows)} more failed)" if len(rows) < len(outcomes) else ""
    title += f", mean ± standard deviation over {repeated(plan.swept)}" if over and repeated(plan.swept) else ""
    results = rows.assign(**{name: rows[name].map(_as_axis_value) for name in over})
    losses = {outcome.cell.config.model.loss for outcome in outcomes}
    loss: Loss | None = losses.pop() if len(losses) == 1 else None
    figure = plot_sweep(results, over, split=split, loss=loss, title=title, chosen=chosen)
    write_png(plan.folder / "results.png", figure, parameters)


def _chosen(plan: Plan, outcomes: Sequence[Outcome], rows: pd.DataFrame) -> tuple[Hashable, str] | None:
    """Return the row of the cell that was chosen, and by what; None if there was no choice."""
    if plan.best is None:
        return None
    best = choose_best([outcome for outcome in outcomes if isinstance(outcome, Done)], plan.swept, plan.best)
    return rows.index[rows["path"] == str(best.cell.path)][0], f"--best {plan.best}"


def _write_table(plan: Plan, rows: pd.DataFrame, chosen: tuple[Hashable, str] | None, progress: Progress) -> None:
    """Write the table for reading, and say where it is."""
    table, path = readable_table(plan, rows, chosen), plan.folder / f"results.{plan.form}"
    text = to_latex(table) if plan.form == "tex" else table.to_markdown()
    write_atomically(path, lambda file: file.write(text.encode()))
    progress.notice(f"{path}: one row per combination of settings, on test images")
    if plan.form == "tex" and (note := font_note(table)):
        progress.notice(f"{path}: {note}")


def _write_curves(
    plan: Plan, done: Sequence[Done], rows: pd.DataFrame, parameters: dict[str, Any], progress: Progress
) -> None:
    path, title = plan.folder / "curves.png", _what(rows, done)
    if len(done) > MAX_CURVES:
        title += f": the first {MAX_CURVES} of {len(done)} cells"
        progress.notice(f"{path}: shows the first {MAX_CURVES} of {len(done)} cells")
    shown = done[:MAX_CURVES]
    histories = [pd.DataFrame(outcome.header.result["history"]) for outcome in shown]
    labels = [outcome.cell.label for outcome in shown]
    losses = [outcome.cell.config.model.loss for outcome in shown]
    write_png(path, plot_cells(histories, labels, losses=losses, title=title), parameters)


def _in_full(split: str) -> str:
    return {"val": "validation"}.get(split, split)


def _what(rows: pd.DataFrame, outcomes: Sequence[Outcome]) -> str:
    """Return models and data for a title, with the objective and prior of VAEs where all have the same."""
    configs = [outcome.cell.config for outcome in outcomes]
    words = [vae_words(vars(each.model), vars(each.train)) for each in configs if each.model.has_prior]
    # A beta of all cells is left out, as other options that are not swept.
    shared = [word for word in (words or [[]])[0] if not word.startswith("beta ") and all(word in own for own in words)]
    models = ", ".join([*rows["model"].unique(), *shared])
    return f"{models} on {', '.join(rows['data'].unique())}"


def _as_axis_value(value: Any) -> Any:
    """Return a setting as the figures take it: numbers unchanged, all else as text, None as 'default'."""
    return "default" if value is None else value if isinstance(value, (int, float)) else as_text(value)


def _show(rows: pd.DataFrame, swept: Sequence[str], split: str, progress: Progress) -> None:
    shown = shown_measures(rows, split)
    measures = [f"{split}_{measure}" for measure in shown]
    columns = [*(swept or ["latent"]), *measures]
    cells = [
        [as_text(value) if isinstance(value, (str, int)) else value for value in row]
        for row in rows[[*columns, "active_units", "seconds"]].itertuples(index=False, name=None)
    ]
    headings = [name.replace("_", " ") for name in columns[: -len(shown)]]
    headings += [name_measure(name, split) for name in shown]
    progress.table(f"{count(len(rows), 'cell')}, {_in_full(split)} images", [*headings, "active", "seconds"], cells)
    if "total_correlation" in shown:
        progress.notice(_TOTAL_CORRELATION)
