"""Bar charts with one bar per latent dimension."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from aekit.plotting.style import (
    BLUE,
    GREY,
    SMALL_FONT_SIZE,
    TINY_FONT_SIZE,
    build_figure,
    figure_style,
    lay_out,
    write_title,
)

# With more, tick labels would touch, so only some dimensions are labelled.
_MAX_LABELS = 60


def plot_kl_per_dimension(
    kl: npt.NDArray[np.floating],
    active: npt.NDArray[np.bool_],
    *,
    ylabel: str = "KL divergence (nats per image)",
    title: str = "",
) -> Figure:
    """Return one bar per latent dimension, the largest first, in two colours for active and inactive units.

    Args:
        kl: Mean KL divergence of each dimension in nats, (L,), or another measure of its information.
        active: Which dimensions are active units, (L,).
        ylabel: Label of the vertical axis.
        title: Title of the figure.
    """
    order = np.argsort(-kl, kind="stable")
    n_active = int(active.sum())
    with figure_style():
        width = float(np.clip(1.5 + 0.16 * len(kl), 4.5, 12.0))
        figure = build_figure(width, 2.9)
        axes = figure.subplots()
        axes.bar(np.arange(len(kl)), kl[order], width=0.8, color=[BLUE if active[i] else GREY for i in order])
        step = -(-len(kl) // _MAX_LABELS)
        positions = np.arange(0, len(kl), step)
        size = SMALL_FONT_SIZE if len(kl) <= 30 else TINY_FONT_SIZE
        axes.set_xticks(positions, [str(order[position]) for position in positions], fontsize=size)
        axes.tick_params(axis="x", length=0)
        axes.set(xlabel="latent dimension", ylabel=ylabel, xlim=(-0.7, len(kl) - 0.3))
        axes.grid(axis="x", visible=False)
        keys = [
            Patch(color=BLUE, label=f"active ({n_active})"),
            Patch(color=GREY, label=f"inactive ({len(kl) - n_active})"),
        ]
        axes.legend(handles=keys, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.2)
        write_title(figure, title, width)
        return lay_out(figure)
