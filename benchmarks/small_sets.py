"""Measure what the defaults reach on small sets: 30 to 2,000 faces and digits, by images per step.

    AEKIT_DATA=... python benchmarks/small_sets.py            # half an hour on two cores

Each size is drawn three times, with three seeds; the validation images are the same for all. Each run is kept in
runs/bench/small/, so an interrupted measurement continues; the table is written into benchmarks/RESULTS.md.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import report
from report import BENCH, Part

from aekit.core.progress import Silent
from aekit.images.config import DataConfig
from aekit.images.data import read_images
from aekit.images.run_defaults import default_batch_size
from aekit.images.run_settings import build_config
from aekit.images.runs import Machine, train_run

SETS = {"celeba": (64, 64), "mnist": None}
SIZES = (30, 100, 400, 2000)
DRAWS = (0, 1, 2)
N_VAL = 250
BATCHES = (None, 100)  # the default, and what was the default for all sets


def small_sets() -> list[dict]:
    """Return the validation loss of each run, in nats per image."""
    return [
        run(name, n_images, draw, batch_size)
        for name in SETS
        for n_images in SIZES
        for draw in DRAWS
        for batch_size in BATCHES
    ]


def run(name: str, n_images: int, draw: int, batch_size: int | None) -> dict:
    """Return what one training reached; it is read if it was run before."""
    folder = BENCH / "small"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-n{n_images}-draw{draw}-batch{batch_size}.json"
    if path.exists():
        return json.loads(path.read_text())
    root = Path(os.environ["AEKIT_DATA"])
    config = DataConfig(name, image_size=SETS[name])
    images = read_images(config, "train", data_root=root)
    order = np.random.default_rng(123).permutation(len(images))
    pool = order[1000:]
    sets = {
        "train": images.subset(pool[draw * n_images : (draw + 1) * n_images]),
        "val": images.subset(order[:N_VAL]),
        "test": images.subset(order[N_VAL : N_VAL + 8]),  # no test image is read here
    }
    options = {"data": name, "image_size": SETS[name], "val": 0.1, "seed": draw}
    if batch_size:
        options |= {"batch_size": min(batch_size, n_images), "lr": 1e-3 if SETS[name] else 5e-3}
    losses = []
    train_run(
        build_config({"model": "vae", **options}),
        folder / "run.safetensors",
        Machine(root, "cpu", threads=1),
        overwrite=True,
        resume=False,
        progress=Silent(),
        on_epoch=lambda rows: losses.append(rows[1].total),
        sets=sets,
    )
    result = {"data": name, "n": n_images, "draw": draw, "batch": batch_size, "val": losses[-1]}
    path.write_text(json.dumps(result))
    print(result, flush=True)
    return result


def small_sets_table(runs: list[dict]) -> str:
    """Return a line per data set and size: the loss with the default, and with 100 images per step."""
    lines = [
        "| images | images per step, steps | validation loss | with 100 per step, or all | difference, by draw |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, n_images in dict.fromkeys((run["data"], run["n"]) for run in runs):
        own, old = (
            np.array([run["val"] for run in runs if (run["data"], run["n"], run["batch"]) == (name, n_images, batch)])
            for batch in BATCHES
        )
        batch = default_batch_size(n_images)
        differences = " ".join(f"{value:+,.1f}" for value in own - old)
        kind = "faces, 64x64" if name == "celeba" else "digits, 28x28"
        lines.append(
            f"| {n_images:,} {kind} | {batch}, {10 * -(-n_images // batch):,} | **{own.mean():,.1f}** "
            f"| {old.mean():,.1f} | {differences} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    report.main(__doc__, {"small": Part(small_sets, small_sets_table)})
