"""Measure the commands that look into the latent space, on MNIST.

    AEKIT_DATA=... python benchmarks/latent.py            # all parts, two hours on two cores
    AEKIT_DATA=... python benchmarks/latent.py curve grid # some of them

Each part is written to runs/bench/ and, from there, all parts into benchmarks/RESULTS.md (`report.py`). Trainings that
are done are not repeated.
"""

from __future__ import annotations

import json
import statistics
import sys
import time

import pandas as pd
import report
from foundation import BENCH, aekit

# Study 1a after 8 epochs, validation: beta, latent -> total in nats.
STUDY_1A = {
    (0.1, 10): 93.5, (0.1, 20): 85.1, (0.1, 30): 82.9, (0.5, 10): 105.2, (0.5, 20): 101.2, (0.5, 30): 102.6,
    (0.75, 10): 111.4, (0.75, 20): 110.5, (1.0, 10): 114.6, (1.0, 20): 116.0, (1.0, 30): 121.6, (5.0, 10): 163.8,
    (5.0, 20): 167.4, (5.0, 30): 170.4,
}  # fmt: skip
CURVE = ["--model", "ae", "--latent", "2-20,24,30", "--epochs", 5, "--seed", "0,1,2"]
AE_20 = BENCH / "ae-z20-e10-s0.safetensors"


def timed(*arguments: object) -> tuple[float, list[dict]]:
    """Return the seconds that a command took, and the objects that it printed with --json."""
    started = time.perf_counter()
    done = aekit(*arguments, "--json", "--quiet")
    return time.perf_counter() - started, [json.loads(line) for line in done.stdout.splitlines()]


# --- the grid of study 1a ---


def grid() -> dict:
    """Return the cells of study 1a's grid, and the seconds that it took."""
    folder = BENCH / "study1a"
    options = ["--model", "vae", "--epochs", 8, "--val", 0.2, "-o", folder, "--overwrite"]
    seconds = timed("sweep", "--beta", "0.1,0.5,1,5", "--latent", "10,20,30", *options)[0]
    cells = pd.read_csv(folder / "results.csv")
    seconds += timed("sweep", "--beta", "0.75", "--latent", "10,20", *options)[0]
    cells = pd.concat([cells, pd.read_csv(folder / "results.csv")])
    columns = ["beta", "latent", "val_total", "val_reconstruction", "val_kl", "val_mse", "active_units", "seconds"]
    return {"seconds": seconds, "cells": cells[columns].to_dict("records")}


def grid_table(result: dict) -> str:
    """Return a line a cell, beside the study's."""
    lines = [
        f"Fourteen cells in **{result['seconds']:.0f} s**, two at a time.\n",
        "| beta | latent | total | study 1a | reconstruction | KL | squared error an image | active units |",
        "| ---: " * 8 + "|",
    ]
    for cell in sorted(result["cells"], key=lambda cell: (cell["beta"], cell["latent"])):
        study = STUDY_1A[cell["beta"], cell["latent"]]
        met = "" if cell["val_total"] < study else " (missed)"
        lines.append(
            f"| {cell['beta']:g} | {cell['latent']} | **{cell['val_total']:.1f}**{met} | {study} "
            f"| {cell['val_reconstruction']:.1f} | {cell['val_kl']:.1f} | {784 * cell['val_mse']:.1f} "
            f"| {cell['active_units']} |"
        )
    return "\n".join(lines)


# --- a sweep against the same runs one after another ---


def jobs() -> dict:
    """Return the seconds of ten cells in a sweep, and of the same cells one after another, in turn."""
    rounds = []
    for number in range(2):
        options = ["--epochs", 1, "--limit", 20000]
        sweep = timed("sweep", "--model", "ae", "--latent", "2-11", *options, "-o", BENCH / "jobs", "--overwrite")[0]
        one_by_one = 0.0
        for latent in range(2, 12):
            output = BENCH / "one-by-one" / f"{number}.safetensors"
            one_by_one += timed("train-ae", "--latent", latent, *options, "-o", output, "--overwrite")[0]
        rounds.append({"sweep": sweep, "one_by_one": one_by_one})
    return {"rounds": rounds}


def jobs_table(result: dict) -> str:
    """Return one line."""
    ratios = [r["sweep"] / r["one_by_one"] for r in result["rounds"]]
    seconds = " and ".join(f"{r['sweep']:.0f} s against {r['one_by_one']:.0f} s" for r in result["rounds"])
    return (
        f"Ten autoencoders of one epoch on 20,000 images: {seconds} one after another with all cores each, "
        f"**{statistics.mean(ratios):.2f}x** the time."
    )


# --- encoding ---


def encode() -> dict:
    """Return the images/s at which 60,000 images become codes, in three rounds."""
    script = (
        "import sys, time, json; from pathlib import Path; from aekit.checkpoint import read_model; import torch, os\n"
        "from aekit.config import DataConfig; from aekit.data import read_images; from aekit.inference import *\n"
        "images = read_images(DataConfig(), 'train', data_root=Path(os.environ['AEKIT_DATA']))\n"
        "model = read_model(Path(sys.argv[1]), torch.device('cpu'))[0]; rates = []\n"
        "for _ in range(4):\n"
        "    t = time.perf_counter(); encode_images(model, images); rates.append(60000 / (time.perf_counter() - t))\n"
        "print(json.dumps(rates[1:]))"
    )
    import subprocess

    done = subprocess.run([sys.executable, "-c", script, str(AE_20)], capture_output=True, text=True, check=True)
    return {"rates": json.loads(done.stdout)}


def encode_table(result: dict) -> str:
    """Return one line."""
    rates = sorted(result["rates"])
    return f"**{rates[1]:,.0f} images/s** ({rates[0]:,.0f}-{rates[-1]:,.0f} in {len(rates)} rounds); at least 10,000."


PARTS = {"grid": grid, "jobs": jobs, "encode": encode}


def main() -> None:
    """Measure the parts that are named, or all."""
    BENCH.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or PARTS:
        result = PARTS[name]()
        (BENCH / f"part-{name}.json").write_text(json.dumps(result, indent=1))
    report.write()


if __name__ == "__main__":
    main()
