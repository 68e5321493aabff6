from __future__ import annotations

import pandas as pd
import pytest

from aekit.brains.figures.history import plot_brain_history


def _history(n_epochs: int = 30, n_runs: int = 6, *, start: float = 8.0) -> pd.DataFrame:
    rows = [
        {"stage": stage, "fold": run % 3, "seed": run // 3, "epoch": epoch, "split": split, "loss": value + 0.01 * run}
        for stage in ("volumes", "age from the true volumes", "chain")
        for run in range(n_runs)
        for epoch in range(1, n_epochs + 1)
        for split, value in (("train", start / epoch**1.3), ("val", start / epoch + 0.3))
    ]
    return pd.DataFrame(rows)


FIGURES = {
    "history-runs": lambda: plot_brain_history(_history(), title="5 folds, 2 seeds"),
    "history-log": lambda: plot_brain_history(_history(60, start=900.0)),
    "history-one-epoch": lambda: plot_brain_history(_history(1, 1).drop(columns=["fold", "seed"])),
}


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_is_cut_off_or_overlaps_another(name, check_readable):
    check_readable(FIGURES[name]())


def test_runs_are_thin_lines_and_their_mean_ends_with_the_shortest():
    history = _history(10, 6)
    history = history[(history["fold"] != 2) | (history["epoch"] <= 7)]  # two runs that stopped early
    axes = plot_brain_history(history).axes[0]
    thick = [line for line in axes.lines if line.get_linewidth() > 1]
    assert len(axes.lines) - len(thick) == 12
    assert [len(line.get_xdata()) for line in thick] == [7, 7]
    expected = history.query("stage == 'volumes' and split == 'train' and epoch == 5")["loss"].mean()
    assert thick[0].get_ydata()[4] == pytest.approx(expected)


def test_a_single_run_is_one_line_per_split():
    axes = plot_brain_history(_history(6, 1)).axes
    assert [len(each.lines) for each in axes] == [2, 2, 2]
    assert axes[0].get_yscale() == "linear"
    assert plot_brain_history(_history(60, 1, start=900.0)).axes[0].get_yscale() == "log"


def test_a_stage_with_another_loss_has_its_name_on_the_axis():
    figure = plot_brain_history(_history(3, 1), other_losses={"chain": "KL divergence, nats"})
    assert [axes.get_ylabel() for axes in figure.axes] == ["MSE of z-scores"] * 2 + ["KL divergence, nats"]
