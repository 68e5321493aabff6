"""Choose the settings of `aekit probe` on validation images: labels from 50,000 MNIST training images, accuracy on the
other 10,000. No test image is read. One setting at a time differs from those in use.

    AEKIT_DATA=... python benchmarks/probe_settings.py CHECKPOINT code linear    # C, graph, head: a few minutes
    AEKIT_DATA=... python benchmarks/probe_settings.py CHECKPOINT code networks  # fine-tuning, random weights: an hour
    AEKIT_DATA=... python benchmarks/probe_settings.py CHECKPOINT code budgets   # 100 labels, test: 20 minutes

Prints a Markdown table of mean accuracies in per cent. `budgets` chooses nothing: it asks on test images whether
fine-tuning is better than random weights, each with the steps that were best for it on validation images.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from scipy import stats
from torch import nn

from aekit.core.device import ThreadTeam
from aekit.images.config import DataConfig
from aekit.images.data import read_images
from aekit.images.models import build_model
from aekit.images.probe import baselines, few_labels, spreading, transfer
from aekit.images.probe import classifiers as probe
from aekit.images.probe import task as tasks
from aekit.images.state import read_model

N_TRAIN = 50_000
SEED = 100  # another than the command's default
# Method, module, name of the constant, values to try.
LINEAR = [
    ("logistic", probe, "INVERSE_PENALTY", (0.02, 0.05, 0.1, 0.2, 0.5, 2.0)),
    ("pca", probe, "INVERSE_PENALTY", (0.05, 0.1, 0.2, 0.5)),
    ("spread", spreading, "N_NEIGHBOURS", (3, 4, 5, 7, 10)),
    ("spread", spreading, "ALPHA", (0.9, 0.95, 0.98, 0.99, 0.995)),
    ("spread", spreading, "N_VOTERS", (1, 5, 10, 20)),
    ("spread", None, "n_unlabelled", (10_000, 20_000, 50_000)),
    ("frozen", None, "augment", (False, True)),
    ("frozen", transfer, "N_VARIANTS", (4, 8, 16)),
    ("frozen", transfer, "NOISE", (0.0, 0.3, 0.5, 0.7, 1.0)),
    ("frozen", transfer, "HEAD_RATE", (1e-3, 3e-3, 1e-2)),
    ("frozen", transfer, "HEAD_STEPS", (100, 300, 600, 1000)),
    ("frozen", transfer, "WIDTH", (64, 256, 512)),
]
NETWORKS = [
    (method, module, name, values)
    for method, rate, rates, steps, budgets in (
        ("finetune", "TUNED_RATE", (1e-4, 3e-4, 1e-3), "STEPS", (100, 200, 300, 800)),
        ("scratch", "SCRATCH_RATE", (1e-3, 3e-3, 6e-3), "SCRATCH_STEPS", (200, 400, 800, 1600)),
    )
    for module, name, values in (
        (transfer, rate, rates),
        (transfer, steps, budgets),
        (transfer, "NOISE", (0.0, 0.5)),
        (None, "augment", (False, True)),
    )
]
# For `budgets`: those that were best on validation images, and those in use.
BUDGETS = (
    ("finetune", "STEPS", 800),
    ("finetune", "STEPS", 200),
    ("scratch", "SCRATCH_STEPS", 800),
    ("scratch", "SCRATCH_STEPS", 1600),
)


def main(path: str, layer: str, which: str) -> None:
    torch.set_num_threads(1)
    model, _ = read_model(Path(path), torch.device("cpu"))
    if which == "budgets":
        budgets(model, layer)
        return
    sizes, n_draws = ([10, 20, 100, 1000], 10) if which == "linear" else ([20, 100, 1000], 4)
    task = validation_task(sizes, n_draws)
    print(f"| {Path(path).stem}, {layer} | setting | " + " | ".join(map(str, sizes)) + " | s |")
    print("| --- " * (len(sizes) + 3) + "|")
    for method, module, name, values in LINEAR if which == "linear" else NETWORKS:
        for value in values:
            started = time.perf_counter()
            accuracies = measure(model, layer, task, method, module, name, value)
            cells = [f"{100 * mean:.1f}" for mean in accuracies.mean(axis=1)]
            used = getattr(module, name) if module else {"n_unlabelled": 20_000, "augment": True}[name]
            shown = f"{name} {value:g}" + (" (used)" if value == used else "")
            print(f"| {method} | {shown} | {' | '.join(cells)} | {time.perf_counter() - started:.0f} |", flush=True)


def budgets(model, layer) -> None:
    """Print the accuracies on test images with 100 labels, ten draws, and the paired differences from fine-tuning."""
    images, test = (
        read_images(DataConfig(name="mnist"), split, data_root=Path(os.environ["AEKIT_DATA"]))
        for split in ("train", "test")
    )
    drawn = probe.balanced_draws(images.labels, [100], 10, seed=0)
    task = tasks.Task(images, images.labels, test, test.labels, drawn, 0)
    print("| method | steps | accuracy | fine-tuning (1,400 steps) minus this, 95 % interval |")
    print("| --- | ---: | ---: | ---: |")
    first = None
    for method, name, steps in BUDGETS:
        found = 100 * measure(model, layer, task, method, transfer, name, steps)[0]
        first = found if first is None else first
        total = steps + (transfer.HEAD_STEPS if method == "finetune" else 0)
        difference = "" if found is first else interval(first - found)
        print(f"| {method} | {total:,} | {found.mean():.1f} ± {found.std(ddof=1):.1f} | {difference} |", flush=True)


def interval(differences: np.ndarray) -> str:
    """Return the mean of paired differences and its 95 % t interval."""
    half = stats.t.ppf(0.975, len(differences) - 1) * differences.std(ddof=1) / np.sqrt(len(differences))
    return f"{differences.mean():+.2f} ({differences.mean() - half:+.2f} to {differences.mean() + half:+.2f})"


def validation_task(sizes: list[int], n_draws: int) -> tasks.Task:
    images = read_images(DataConfig(name="mnist"), "train", data_root=Path(os.environ["AEKIT_DATA"]))
    train, held_out = (images.subset(rows) for rows in np.split(np.arange(len(images)), [N_TRAIN]))
    drawn = probe.balanced_draws(train.labels, sizes, n_draws, seed=SEED)
    return tasks.Task(train, train.labels, held_out, held_out.labels, drawn, SEED)


def measure(model, layer, task, method, module, name, value):
    def encoder(network):
        return network.encoder if layer == "hidden" else nn.Sequential(network.encoder, network.mean_head)

    changed = patch.object(module, name, value) if module else patch.dict({})
    options = {} if module else {name: value}
    with changed, ThreadTeam(1) as team:
        if method == "pca":
            return baselines.pca_accuracies(task, model.config.latent)
        build = lambda: encoder(build_model(model.config, model.image_shape))  # noqa: E731
        measured = few_labels.Probe(task, encoder(model), build, team=team, **options)
        return getattr(measured, method)()


if __name__ == "__main__":
    main(*sys.argv[1:])
