"""Measure how soon a good VAE is there: validation nats against seconds of training, and draw docs/frontier.png.

    AEKIT_DATA=... AEKIT_BEFORE=CHECKOUT python benchmarks/frontier.py     # two hours on two idle cores

MNIST, latent 10, beta 1: 50,000 images to train on, 10,000 to validate. aekit is trained for 1, 2, 5, 10 and 30 epochs,
each a run of its own, in turn with itself at 200 images per step and another checkout of it (`AEKIT_BEFORE`, without
which that row is left out). The other loops have a constant learning rate, so one run has all lengths. Rows are kept in
runs/bench/frontier.jsonl, and an interrupted measurement of the same sources continues. With `AEKIT_BUSY=1`, on a
machine that does other things too, what is measured now gets no seconds: a seed's loss does not depend on them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
from program import command, printed, pythae
from report import BENCH, HERE, Part, main
from scipy.stats import ttest_ind

from aekit.core.artifacts import write_png
from aekit.plotting.style import build_figure, figure_style, lay_out, line_style

NOW, LARGER, BEFORE = "aekit", "aekit --batch-size 200", "aekit before"
EPOCHS = (1, 2, 5, 10, 30)
EPOCHS_OF_LARGER = (1, 2, 5, 10)
EPOCHS_OF_OTHERS = {"pythae_loop.py": 5, "example_loop.py": 10}
N_SEEDS = 3
VAL = 1 / 6
TICKS = (5, 10, 20, 50, 100, 200, 500)  # seconds
FIGURE = HERE.parent / "docs" / "frontier.png"


def frontier() -> list[dict]:
    """Return one row per loop, seed and length: seconds of training, and nats of the validation images."""
    root, rows = os.environ["AEKIT_DATA"], _Rows(BENCH / "frontier.jsonl")
    before = os.environ.get("AEKIT_BEFORE")
    loops: dict[str, tuple] = {NOW: (HERE.parent,), LARGER: (HERE.parent, "--batch-size", 200)}
    if before:
        loops[BEFORE] = (Path(before),)
    for epochs in EPOCHS:
        for seed in range(N_SEEDS):
            for name, (checkout, *options) in loops.items():
                if name != LARGER or epochs in EPOCHS_OF_LARGER:
                    run = partial(_train, checkout, "--epochs", epochs, "--seed", seed, *options)
                    rows.add({"loop": name, "seed": seed, "epochs": epochs}, _tree(checkout, "src/aekit"), run)
    for name, python, script in (
        ("pythae, aekit's network", pythae, "pythae_loop.py"),
        ("PyTorch's example", lambda: sys.executable, "example_loop.py"),
    ):
        n_epochs = EPOCHS_OF_OTHERS[script]
        for seed in range(N_SEEDS):
            run = partial(_train_other, python, script, root, n_epochs, seed)
            rows.add({"loop": name, "seed": seed, "epochs": n_epochs}, _tree(HERE.parent, "benchmarks/rivals"), run)
    return rows.done


class _Rows:
    """Rows of the table, which are kept in a file with the sources that they were measured with."""

    def __init__(self, path: Path) -> None:
        self.done: list[dict] = []
        self._path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self._kept = [json.loads(line) for line in lines]

    def add(self, what: dict, tree: str, measure: Callable[[], list[dict]]) -> None:
        """Add the rows of a run, measured now unless they are in the file."""
        for kept in self._kept:
            if kept["what"] == what and kept["tree"] == tree:
                self.done += kept["rows"]
                return
        is_busy = bool(os.environ.get("AEKIT_BUSY"))
        rows = [what | row | ({"seconds": None} if is_busy else {}) for row in measure()]
        print(rows[-1], file=sys.stderr, flush=True)
        with self._path.open("a") as file:
            file.write(json.dumps({"what": what, "tree": tree, "rows": rows}) + "\n")
        self.done += rows


def _tree(checkout: Path, folder: str) -> str:
    """Return git's name for what is committed in a folder."""
    words = ("git", "-C", checkout, "rev-parse", f"HEAD:{folder}")
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def _train_other(python: Callable[[], str], script: str, root: str, n_epochs: int, seed: int) -> list[dict]:
    reached = printed(python(), script, root, 60_000, n_epochs, seed)
    rows = [{"epochs": epochs, "seconds": row["seconds"], "nats": row["test"]} for epochs, row in enumerate(reached, 1)]
    return [row for row in rows if row["epochs"] in EPOCHS]


def _train(checkout: Path, *options: object) -> list[dict]:
    output = BENCH / "frontier.safetensors"
    options = ("--latent", 10, "--val", VAL, *options, "--overwrite", "--quiet", "-o", output)
    environment = os.environ | {"PYTHONPATH": str(checkout / "src")}
    subprocess.run(command("train-vae", *options), env=environment, stdout=subprocess.DEVNULL, check=True)
    table = pd.read_csv(output.with_suffix(".csv"))
    seconds = table.loc[table["split"] == "train", "seconds"].sum()
    return [{"seconds": float(seconds), "nats": float(table.loc[table["split"] == "val", "total"].iloc[-1])}]


def frontier_table(rows: list[dict]) -> str:
    table = pd.DataFrame(rows)
    _draw(table)
    lines = ["| loop | epochs | seconds | validation nats | by seed |", "| --- | ---: | ---: | ---: | --- |"]
    for (loop, epochs), own in table.groupby(["loop", "epochs"], sort=False):
        nats = own.sort_values("seed")["nats"]
        by_seed = " ".join(f"{value:.2f}" for value in nats)
        lines.append(f"| {loop} | {epochs} | {own['seconds'].median():.1f} | **{nats.mean():.2f}** | {by_seed} |")
    return "\n".join([*lines, "", *_differences(table)])


def _differences(rows: pd.DataFrame) -> list[str]:
    """Return what aekit now differs by from each other loop after as many epochs, with Welch's interval over seeds."""
    lines = [
        "| aekit minus | epochs | nats | 95 % interval | seconds, ratio |",
        "| --- | ---: | ---: | --- | ---: |",
    ]
    ours = rows[rows["loop"] == NOW].set_index(["epochs", "seed"])
    for (loop, epochs), own in rows[rows["loop"] != NOW].groupby(["loop", "epochs"], sort=False):
        if len(own) < 2:
            continue  # an unfinished measurement
        now, other = ours.loc[epochs], own.set_index("seed")
        low, high = ttest_ind(now["nats"], other["nats"], equal_var=False).confidence_interval()
        ratio = (now["seconds"] / other["seconds"]).median()
        by = now["nats"].mean() - other["nats"].mean()
        lines.append(f"| {loop} | {epochs} | {by:+.2f} | {low:+.2f} to {high:+.2f} | {ratio:.2f} |")
    return lines


def _draw(rows: pd.DataFrame) -> None:
    medians = rows.groupby(["loop", "epochs"])["seconds"].transform("median")
    rows = rows.assign(seconds=rows["seconds"].fillna(medians))
    with figure_style():
        figure = build_figure(5.2, 3.4)
        axes = figure.subplots()
        for number, (loop, own) in enumerate(rows.groupby("loop", sort=False)):
            means = own.groupby("epochs")[["seconds", "nats"]].mean()
            colour, marker = line_style(number)
            axes.plot(means["seconds"], means["nats"], color=colour, marker=marker, markersize=5, label=loop)
            axes.plot(own["seconds"], own["nats"], ".", markersize=3, color=colour)
        axes.set(xscale="log", xlabel="seconds of training", ylabel="validation loss (nats per image)")
        low, high = axes.get_xlim()
        axes.set_xticks([tick for tick in TICKS if low < tick < high], labels=[f"{t}" for t in TICKS if low < t < high])
        axes.minorticks_off()
        axes.legend()
        write_png(FIGURE, lay_out(figure), {"script": "benchmarks/frontier.py"})


PARTS = {"frontier": Part(frontier, frontier_table)}


if __name__ == "__main__":
    main(__doc__, PARTS)
