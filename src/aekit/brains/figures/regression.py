"""What predictions of ages and volumes are worth: against the truth, by group, while training, and between models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from textwrap import fill
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from aekit.plotting.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    PURPLE,
    SMALL_FONT_SIZE,
    VERMILION,
    build_figure,
    class_style,
    figure_style,
    lay_out,
)

if TYPE_CHECKING:
    import pandas as pd

FloatArray = npt.NDArray[np.floating]
Labels = npt.NDArray[np.object_] | Sequence[object]

# The same as in learning curves; those of whom the model had seen nothing are drawn last.
_SPLITS = {
    "train": (BLUE, "o"),
    "val": (VERMILION, "s"),
    "cv": (VERMILION, "o"),
    "test": (BLACK, "^"),
    "dropped": (PURPLE, "D"),
}
_SEXES = {"F": VERMILION, "M": BLUE}  # as in the figures of a cohort
_MAX_GROUPS = 12  # strips beside each other; of more sites the largest are shown
_MAX_COLUMNS = 4
_MIN_R2 = 10  # people; of fewer it says nothing
_MISSING = "missing"
_NORMAL_95 = 1.96  # standard deviations either side hold 95 % of a normal distribution
_BOX = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.5}


@dataclass(frozen=True)
class Predicted:
    """One model's predictions of one quantity.

    Attributes:
        name: What predicted it, written above the panel.
        truth: True values, (N,).
        prediction: Predicted values, (N,).
        split: Split of each person, (N,): ``train``, ``val``, ``test``, ``cv``, ``dropped`` or another name.
        quantity: What is predicted.
        unit: Its unit; empty for proportions.
    """

    name: str
    truth: FloatArray
    prediction: FloatArray
    split: Labels
    quantity: str = "age"
    unit: str = "years"


class GroupError(Protocol):
    """The error among the people of one group, as :func:`aekit.brains.measures.regression.by_group` returns it."""

    @property
    def group(self) -> str:
        """Return its name."""

    @property
    def n(self) -> int:
        """Return the number of people."""

    @property
    def mae(self) -> float:
        """Return the mean absolute error."""

    @property
    def low(self) -> float:
        """Return the lower end of its interval, NaN without one."""

    @property
    def high(self) -> float:
        """Return the upper end of its interval, NaN without one."""


def plot_predictions(panels: Sequence[Predicted], *, title: str = "") -> Figure:
    """Return predicted against true values, a panel a model, with the identity line and each split's MAE and R^2.

    R^2 is taken about the mean of the people of the split, and left out where there are fewer than ten.

    Args:
        panels: At least one.
        title: Written above all.
    """
    with figure_style():
        figure, grid = _panels(len(panels), width=3.1, height=3.1)
        for axes, panel in zip(grid, panels, strict=True):
            _draw_predictions(axes, panel)
        return _finish(figure, [split for panel in panels for split in _names(panel.split)], title)


def _draw_predictions(axes: Axes, panel: Predicted) -> None:
    splits = _as_names(panel.split)
    both = np.concatenate([panel.truth, panel.prediction])
    margin = 0.06 * float(np.ptp(both)) or 1.0
    limits = float(both.min()) - margin, float(both.max()) + margin
    axes.axline((limits[0], limits[0]), slope=1, color=GREY, linewidth=0.9, zorder=1)
    lines = []
    for name in _names(panel.split):
        rows = splits == name
        _draw_points(axes, panel.truth[rows], panel.prediction[rows], name)
        lines.append(f"{name}: {_worth(panel.truth[rows], panel.prediction[rows], panel.unit)}")
    # Equal limits on nearly square axes: with equal aspect as well, the layout lets labels of two rows overlap.
    axes.set(xlim=limits, ylim=limits, xlabel=_label(f"true {panel.quantity}", panel.unit))
    axes.set_ylabel(_label(f"predicted {panel.quantity}", panel.unit))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=5))
    axes.set_title(fill(panel.name, 39))
    _write_in_corner(axes, "\n".join(lines), panel.truth, panel.prediction)


def plot_bland_altman(panels: Sequence[Predicted], *, title: str = "") -> Figure:
    """Return predicted less true against the mean of both, a panel a model, with the bias and the limits of agreement.

    The limits are bias +- 1.96 SD and hold 95 % of people if the differences are normal; all three have their 95 %
    interval as a band. People the model was trained on are left out, unless there are no others. A slope is seen in
    every regression, as predictions vary less than the truth.

    Args:
        panels: At least one.
        title: Written above all.

    Source:
        Bland & Altman 1999, doi:10.1177/096228029900800204, sections 2 and 3 (intervals of the limits: section 2.1).
    """
    with figure_style():
        figure, grid = _panels(len(panels), width=3.3, height=2.9)
        shown = [_held_out(panel) for panel in panels]
        for axes, panel in zip(grid, shown, strict=True):
            _draw_bland_altman(axes, panel)
        return _finish(figure, [split for panel in shown for split in _names(panel.split)], title)


def _draw_bland_altman(axes: Axes, panel: Predicted) -> None:
    splits, n = _as_names(panel.split), len(panel.truth)
    middle, difference = (panel.truth + panel.prediction) / 2, panel.prediction - panel.truth
    for name in _names(panel.split):
        _draw_points(axes, middle[splits == name], difference[splits == name], name)
    bias = float(difference.mean())
    axes.axhline(0, color=GREY, linewidth=0.7, zorder=1)
    lines = [(bias, "-", "bias")]
    if n > 1:
        spread = float(difference.std(ddof=1))
        lines += [(bias + sign * _NORMAL_95 * spread, "--", "limit") for sign in (1, -1)]
        errors = {"bias": spread / np.sqrt(n), "limit": spread * np.sqrt(1 / n + _NORMAL_95**2 / (2 * (n - 1)))}
    for value, style, kind in lines:
        axes.axhline(value, color=GREEN, linewidth=1.1, linestyle=style, zorder=2)
        if n > 1:
            half = _NORMAL_95 * errors[kind]
            axes.axhspan(value - half, value + half, color=GREEN, alpha=0.13, linewidth=0, zorder=0)
        axes.annotate(
            _signed(value, difference), (1, value), xycoords=("axes fraction", "data"), xytext=(2, 0),
            textcoords="offset points", va="center", fontsize=SMALL_FONT_SIZE, color=GREEN, annotation_clip=False,
        )  # fmt: skip
    axes.margins(0.08)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.set_xlabel(fill(_label(f"mean of true and predicted {panel.quantity}", panel.unit), 46))
    axes.set_ylabel(_label("predicted less true", panel.unit))
    axes.set_title(fill(panel.name, 36))


def plot_residuals(
    residuals: FloatArray,
    *,
    age_years: FloatArray,
    sex: Labels,
    site: Labels | None = None,
    quantity: str = "age",
    unit: str = "years",
    title: str = "",
) -> Figure:
    """Return residuals by age, sex and site: whom a model errs about.

    Over age a line joins the means of people in bins of equal number with their 95 % intervals; by sex and site each
    person is a point beside a box of the quartiles with whiskers to 1.5 of their distance.

    Args:
        residuals: Predicted less true values of people the model was not trained on, (N,).
        age_years: Their ages, (N,).
        sex: Their sexes, (N,); None and NaN are a group called ``missing``.
        site: Their sites, (N,), of which the twelve largest are shown; None leaves the panel out.
        quantity: What was predicted.
        unit: Its unit.
        title: Written above all.
    """
    by_site = [] if site is None else _largest_groups(site)
    widths = [3.6, 1.9] + ([max(1.9, 0.6 + 0.52 * len(by_site))] if by_site else [])
    with figure_style():
        figure = build_figure(sum(widths) + 0.6, 4.3 if any(map(_is_long, by_site)) else 3.1)
        grid = figure.subplots(1, len(widths), sharey=True, width_ratios=widths)
        _draw_over_age(grid[0], age_years, residuals)
        _draw_strips(grid[1], residuals, sex, sorted(_names(sex)), "sex")
        if site is not None:
            n_sites = len(_names(site))
            heading = "site" if n_sites == len(by_site) else f"the {len(by_site)} largest of {n_sites} sites"
            _draw_strips(grid[2], residuals, site, by_site, heading)
        for axes in grid:
            axes.axhline(0, color=GREY, linewidth=0.9, zorder=1)
        grid[0].set_ylabel(_label(f"predicted less true {quantity}", unit))
        if title:
            figure.suptitle(fill(title, round(14 * sum(widths))), x=0.01, ha="left", fontsize="medium")
        return lay_out(figure)


def _draw_over_age(axes: Axes, age_years: FloatArray, residuals: FloatArray) -> None:
    _draw_points(axes, age_years, residuals, "")
    n_bins = int(np.clip(len(residuals) // 12, 1, 10))
    binned = np.array_split(np.argsort(age_years, kind="stable"), n_bins)
    ages = [float(np.mean(age_years[rows])) for rows in binned]
    means = np.array([np.mean(residuals[rows]) for rows in binned])
    if len(residuals) >= 2 * n_bins:
        errors = np.array([np.std(residuals[rows], ddof=1) / np.sqrt(len(rows)) for rows in binned])
        axes.errorbar(
            ages, means, yerr=_NORMAL_95 * errors, color=BLACK, elinewidth=0.9, capsize=2, linewidth=1.2, marker="o",
            markersize=3.5, zorder=4,
        )  # fmt: skip
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7))
    axes.set(xlabel="true age (years)", title="by age, with means of equal numbers" if n_bins > 1 else "by age")


def _draw_strips(axes: Axes, residuals: FloatArray, groups: Labels, shown: Sequence[str], heading: str) -> None:
    names = _as_names(groups)
    generator = np.random.default_rng(0)
    ticks = []
    for place, name in enumerate(shown):
        own = residuals[names == name]
        colour = _SEXES.get(name, GREY) if heading == "sex" else class_style(place)[0]
        size = _point_size(len(residuals))
        scatter = generator.uniform(-0.38, -0.05, len(own)) + place
        axes.scatter(scatter, own, s=size, color=colour, linewidths=0, alpha=0.7, rasterized=True)
        if len(own) >= 3:
            line = {"color": BLACK, "linewidth": 0.9}
            axes.boxplot(
                own, positions=[place + 0.18], widths=0.26, showfliers=False, manage_ticks=False,
                boxprops=line, whiskerprops=line, capprops=line, medianprops={**line, "linewidth": 1.6},
            )  # fmt: skip
        ticks.append(f"{_cut(name, 22)}\n({len(own):,})")
    axes.set_xticks(range(len(shown)), ticks, rotation=90 if any(map(_is_long, shown)) else 0)
    axes.set(xlim=(-0.6, len(shown) - 0.4), title=f"by {heading}" if len(heading) < 8 else heading)
    axes.grid(axis="x", visible=False)
    axes.tick_params(axis="x", length=0)


def plot_decades(
    errors: Mapping[str, Sequence[GroupError]], *, unit: str = "years", quantity: str = "age", title: str = ""
) -> Figure:
    """Return the mean absolute error of each decade of age, a bar a model with its 95 % interval where it has one.

    Args:
        errors: For each model its errors by group, all of the same people.
        unit: Unit of the errors.
        quantity: What was predicted.
        title: Written above.
    """
    first = next(iter(errors.values()))
    inches = float(np.clip(1.2 + 0.62 * len(first) + 0.13 * len(first) * len(errors), 4.2, 13.0))
    longest = max(len(_cut(model, 60)) for model in errors)
    n_columns = max(1, min(len(errors), int(inches * 13 // (longest + 8))))
    with figure_style():
        figure = build_figure(inches, 3.2 + 0.17 * ceil(len(errors) / n_columns))
        axes = figure.subplots()
        width, keys = 0.84 / len(errors), []
        for number, (model, rows) in enumerate(errors.items()):
            found = {row.group: row for row in rows}
            colour, _ = class_style(number)
            keys.append(Patch(color=colour, label=_cut(model, 60)))
            for place, group in enumerate(row.group for row in first):
                if group in found:
                    x = place + (number - (len(errors) - 1) / 2) * width
                    _draw_bar(axes, x, width * 0.92, found[group], colour)
        axes.set_xticks(range(len(first)), [f"{row.group}\n({row.n:,})" for row in first])
        axes.set(xlim=(-0.6, len(first) - 0.4), xlabel="true age in years (people)")
        axes.set_ylabel(_label("mean absolute error" if quantity == "age" else f"MAE of {quantity}", unit))
        axes.tick_params(axis="x", length=0)
        axes.grid(axis="x", visible=False)
        figure.legend(handles=keys, loc="outside lower left", ncols=n_columns)
        if title:
            figure.suptitle(fill(title, int(14 * inches)), x=0.01, ha="left", fontsize="medium")
        return lay_out(figure)


def _draw_bar(axes: Axes, x: float, width: float, row: GroupError, colour: str) -> None:
    axes.bar(x, row.mae, width=width, color=colour, linewidth=0)
    if np.isfinite(row.low) and np.isfinite(row.high):
        ends = [[row.mae - row.low], [row.high - row.mae]]
        axes.errorbar(x, row.mae, yerr=ends, color=BLACK, elinewidth=0.8, capsize=min(2.0, 20 * width), linestyle="")


def plot_brain_history(history: pd.DataFrame, *, loss_label: str = "MSE of z-scores", title: str = "") -> Figure:
    """Return learning curves, a panel a stage: the loss of train and held-out people against the epoch.

    Several folds or seeds are thin lines, and their mean a thick one as far as all of them go.

    Args:
        history: Columns ``stage``, ``epoch`` (from 1), ``split`` (``train``, ``val`` ...) and ``loss``, and ``fold``
            and ``seed`` where there are several; one row an epoch, split and run.
        loss_label: What the loss is.
        title: Written above all.
    """
    stages = list(dict.fromkeys(history["stage"]))
    with figure_style():
        figure, grid = _panels(len(stages), width=3.3, height=2.7)
        for axes, stage in zip(grid, stages, strict=True):
            _draw_curves(axes, history[history["stage"] == stage])
            axes.set(xlabel="epoch", ylabel=loss_label)
            axes.set_title(fill(str(stage), 36))
        return _finish(figure, list(dict.fromkeys(history["split"])), title, is_line=True)


def _draw_curves(axes: Axes, rows: pd.DataFrame) -> None:
    keys = [name for name in ("fold", "seed") if name in rows]
    losses = rows["loss"].to_numpy(float)
    for split in _names(rows["split"].to_numpy(object)):
        colour, marker = _split_style(split)
        own = rows[rows["split"] == split]
        runs = [run for _, run in own.groupby(keys, dropna=False)] if keys else [own]
        for run in runs if len(runs) > 1 else []:
            axes.plot(run["epoch"], run["loss"], color=colour, linewidth=0.6, alpha=0.35)
        by_epoch = own.groupby("epoch")["loss"].agg(["mean", "count"])
        mean = by_epoch.loc[by_epoch["count"] == len(runs), "mean"]
        size = 3 if len(mean) <= 25 else 0
        axes.plot(mean.index, mean, color=colour, marker=marker, markersize=size, label=split)
    if losses.min() > 0 and losses.max() / losses.min() > 20:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if losses.max() / losses.min() < 1000 else (1,)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))  # the default writes mathtext
        axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, min_n_ticks=1))
    if rows["epoch"].nunique() == 1:
        axes.set_xlim(rows["epoch"].iloc[0] - 1, rows["epoch"].iloc[0] + 1)


def plot_hypotheses(
    results: pd.DataFrame, *, floor: Mapping[str, float] | None = None, unit: str = "years", title: str = ""
) -> Figure:
    """Return the mean absolute error of every hypothesis as a point with its 95 % interval, a panel a model.

    Args:
        results: Columns ``hypothesis``, ``model``, ``split``, ``mae``, ``mae_low`` and ``mae_high`` (NaN without an
            interval), in the order in which they are to be shown.
        floor: MAE of the mean predictor of each split, drawn as a line.
        unit: Unit of the errors.
        title: Written above all.
    """
    models = list(dict.fromkeys(results["model"]))
    names = list(dict.fromkeys(results["hypothesis"]))
    splits = _names(results["split"].to_numpy(object))
    with figure_style():
        figure = build_figure(1.4 + 3.1 * len(models), 1.3 + 0.16 * len(names) * (1 + len(splits)))
        grid = figure.subplots(1, len(models), sharex=True, sharey=True, squeeze=False)[0]
        for axes, model in zip(grid, models, strict=True):
            _draw_hypotheses(axes, results[results["model"] == model], names, splits)
            for split, value in (floor or {}).items():
                colour, _ = _split_style(split)
                axes.axvline(value, color=colour, linewidth=1.0, linestyle=":", zorder=1)
            axes.set(title=fill(str(model), 36), xlabel=_label("mean absolute error", unit))
        grid[0].set_yticks(range(len(names)), [fill(str(name), 30) for name in names])
        grid[0].set_ylim(len(names) - 0.4, -0.6)
        handles = [_key(split) for split in splits]
        handles += [
            Line2D([], [], color=_split_style(split)[0], linewidth=1.0, linestyle=":", label=f"mean predictor, {split}")
            for split in floor or {}
        ]
        figure.legend(handles=handles, loc="outside lower left", ncols=min(len(handles), 2 * len(models)))
        if title:
            figure.suptitle(fill(title, int(14 * figure.get_figwidth())), x=0.01, ha="left", fontsize="medium")
        return lay_out(figure)


def _draw_hypotheses(axes: Axes, rows: pd.DataFrame, names: Sequence[str], splits: Sequence[str]) -> None:
    for number, split in enumerate(splits):
        colour, marker = _split_style(split)
        own = rows[rows["split"] == split]
        shift = 0.0 if len(splits) == 1 else (number / (len(splits) - 1) - 0.5) * 0.44
        y = [names.index(name) + shift for name in own["hypothesis"]]
        mae, low, high = (own[name].to_numpy(float) for name in ("mae", "mae_low", "mae_high"))
        ends = np.nan_to_num(np.stack([mae - low, high - mae]))
        axes.errorbar(mae, y, xerr=ends, color=colour, marker=marker, markersize=4.5, linestyle="", capsize=2.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7))
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)


def _panels(n: int, *, width: float, height: float) -> tuple[Figure, list[Axes]]:
    n_columns = min(n, _MAX_COLUMNS if n not in (5, 6, 9) else 3)
    n_rows = ceil(n / n_columns)
    figure = build_figure(max(width * n_columns, 3.5), height * n_rows + 0.5)
    grid = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axes in grid[n:]:
        axes.set_visible(False)
    return figure, list(grid[:n])


def _finish(figure: Figure, splits: Sequence[str], title: str, *, is_line: bool = False) -> Figure:
    keys = [_key(split, is_line=is_line) for split in _names(splits)]
    figure.legend(handles=keys, loc="outside lower left", ncols=len(keys))
    if title:
        figure.suptitle(fill(title, int(14 * figure.get_figwidth())), x=0.01, ha="left", fontsize="medium")
    return lay_out(figure)


def _key(split: str, *, is_line: bool = False) -> Line2D:
    colour, marker = _split_style(split)
    return Line2D(
        [], [], color=colour, marker=marker, markersize=4.5, linestyle="-" if is_line else "none", label=_cut(split, 40)
    )


def _draw_points(axes: Axes, x: FloatArray, y: FloatArray, split: str) -> None:
    colour, marker = _split_style(split) if split else (BLUE, "o")
    size = _point_size(len(x))
    axes.scatter(x, y, s=size, c=colour, marker=marker, linewidths=0, alpha=0.6, rasterized=True, zorder=3)


def _point_size(n: int) -> float:
    return float(np.clip(16 * np.sqrt(100 / max(n, 1)), 1.0, 16.0))  # square points of 1/72 inch


def _worth(truth: FloatArray, prediction: FloatArray, unit: str) -> str:
    error = f"MAE {f'{np.abs(prediction - truth).mean():#.3g}'.rstrip('.')} {unit}".rstrip()
    spread = float(np.square(truth - truth.mean()).sum())
    if len(truth) < _MIN_R2 or spread == 0:
        return error
    return f"{error}, R² {1 - float(np.square(prediction - truth).sum()) / spread:.2f}"


def _write_in_corner(axes: Axes, text: str, x: FloatArray, y: FloatArray) -> None:
    # Where fewer points are: those above the identity line are near the upper left corner, others the lower right.
    side, (low, high) = 0.45, axes.get_xlim()
    across, up = (x - low) / (high - low), (y - low) / (high - low)
    n_left = int(np.sum((across < side) & (up > 1 - side / 2)))
    n_right = int(np.sum((across > 1 - side) & (up < side / 2)))
    place = 0.97 if n_right < n_left else 0.03
    axes.text(
        place, 1 - place, text, ha="right" if n_right < n_left else "left", va="bottom" if n_right < n_left else "top",
        transform=axes.transAxes, fontsize=SMALL_FONT_SIZE - 0.5, bbox=_BOX, zorder=5,
    )  # fmt: skip


def _signed(value: float, values: FloatArray) -> str:
    spread = float(np.std(values))
    n_decimals = int(np.clip(2 - np.floor(np.log10(spread)), 0, 6)) if spread > 0 else 2
    return f"{value:+.{n_decimals}f}".replace("-", "\N{MINUS SIGN}")


def _held_out(panel: Predicted) -> Predicted:
    splits = _as_names(panel.split)
    rows = splits != "train"
    if not rows.any():
        return panel
    return Predicted(panel.name, panel.truth[rows], panel.prediction[rows], splits[rows], panel.quantity, panel.unit)


def _split_style(split: str) -> tuple[str, str]:
    return _SPLITS.get(split) or class_style(2 + sum(map(ord, split)) % 8)


def _as_names(labels: Labels) -> npt.NDArray[np.object_]:
    is_missing = [label is None or label != label for label in labels]
    names = [_MISSING if gone else str(label) for label, gone in zip(labels, is_missing, strict=True)]
    return np.array(names, dtype=object)


def _names(labels: Labels) -> list[str]:
    # Splits that are known come in their order, and others after them as they occur.
    found = list(dict.fromkeys(_as_names(labels)))
    return [name for name in _SPLITS if name in found] + [name for name in found if name not in _SPLITS]


def _is_long(name: str) -> bool:
    return len(name) > 8  # for a strip


def _largest_groups(labels: Labels) -> list[str]:
    names, counts = np.unique(_as_names(labels).astype(str), return_counts=True)
    return [str(name) for name in names[np.argsort(-counts, kind="stable")][:_MAX_GROUPS]]


def _cut(name: str, length: int) -> str:
    # The end is kept too: names of sites and models often differ there only.
    return name if len(name) <= length else f"{name[: length - length // 3 - 1]}…{name[-(length // 3) :]}"


def _label(quantity: str, unit: str) -> str:
    return f"{quantity} ({unit})" if unit else quantity
