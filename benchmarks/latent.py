"""Measure the commands that look into the latent space, on MNIST.

    AEKIT_DATA=... python benchmarks/latent.py            # all parts, two hours on two cores
    AEKIT_DATA=... python benchmarks/latent.py curve grid # some of them

Each part is kept in runs/bench/ and written into benchmarks/RESULTS.md. Trainings that are done are not repeated.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

import pandas as pd
import tsne as tsne_benchmark
from program import timed
from report import BENCH, Part, main

# Study 1a after 8 epochs, validation: beta, latent -> total in nats.
STUDY_1A = {
    (0.1, 10): 93.5, (0.1, 20): 85.1, (0.1, 30): 82.9, (0.5, 10): 105.2, (0.5, 20): 101.2, (0.5, 30): 102.6,
    (0.75, 10): 111.4, (0.75, 20): 110.5, (1.0, 10): 114.6, (1.0, 20): 116.0, (1.0, 30): 121.6, (5.0, 10): 163.8,
    (5.0, 20): 167.4, (5.0, 30): 170.4,
}  # fmt: skip
CURVE = ["--model", "ae", "--latent", "2-20,24,30", "--epochs", 5, "--seed", "0,1,2"]
METHODS = "frozen,finetune,scratch,logistic,spread,pixels,pca"
AE_20 = BENCH / "ae-z20-e10-s0.safetensors"


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
    """Return a line per cell, with the study's numbers."""
    lines = [
        f"Fourteen cells in **{result['seconds']:.0f} s**, two at a time.\n",
        "| beta | latent | total | study 1a | reconstruction | KL | squared error per image | active units |",
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
        f"Ten autoencoders of one epoch on 20,000 images: {seconds} one after another, each with all "
        f"cores: **{statistics.median(ratios):.2f}x** the time."
    )


# --- encoding ---


def encode() -> dict:
    """Return the images/s at which 60,000 images become codes, in three rounds."""
    script = (
        "import sys, time, json; from pathlib import Path; from aekit.images.state import read_model\n"
        "import torch, os\n"
        "from aekit.images.config import DataConfig; from aekit.images.data import read_images\n"
        "from aekit.images.inference import *\n"
        "images = read_images(DataConfig(), 'train', data_root=Path(os.environ['AEKIT_DATA']))\n"
        "model = read_model(Path(sys.argv[1]), torch.device('cpu'))[0]; rates = []\n"
        "for _ in range(4):\n"
        "    t = time.perf_counter(); encode_images(model, images); rates.append(60000 / (time.perf_counter() - t))\n"
        "print(json.dumps(rates[1:]))"
    )
    done = subprocess.run([sys.executable, "-c", script, str(AE_20)], capture_output=True, text=True, check=True)
    return {"rates": json.loads(done.stdout)}


def encode_table(result: dict) -> str:
    """Return one line."""
    rates = sorted(result["rates"])
    return f"**{rates[1]:,.0f} images/s** ({rates[0]:,.0f}-{rates[-1]:,.0f} in {len(rates)} rounds); at least 10,000."


# --- autoencoders of 2 to 30 dimensions: against PCA, and how correlated their codes are ---


def curve() -> dict:
    """Return error and correlation at each number of latent dimensions, and the seconds of the two commands."""
    folder = BENCH / "ae-curve"
    _, cells = timed("sweep", *CURVE, "-o", folder)
    paths = [cell["path"] for cell in cells]
    result = {"n": len(paths)}
    for command, name in (("pca-compare", "pca"), ("decorrelation", "correlation")):
        result[f"{name}_seconds"] = timed(command, *paths, "-o", BENCH / f"{name}.png")[0]
        result[name] = pd.read_csv(BENCH / f"{name}.csv").to_dict("records")
    result["elbows"] = pd.read_csv(BENCH / "pca-elbow.csv").to_dict("records")
    return result


def curve_table(result: dict) -> str:
    """Return a line for each number of dimensions, and the elbows."""
    pca, correlation = pd.DataFrame(result["pca"]), pd.DataFrame(result["correlation"])
    lines = [
        "| d | MSE | by seed | PCA | PCA clipped | times better | than clipped | mean abs. correlation | rotated |",
        "| ---: " * 9 + "|",
    ]
    for latent, runs in pca.sort_values("seed").groupby("latent"):
        same = correlation[correlation["latent"] == latent]
        mean, pca_mse, clipped = runs["mse"].mean(), runs["pca_mse"].iloc[0], runs["pca_clipped_mse"].iloc[0]
        by_seed = " ".join(f"{value:.4f}" for value in runs["mse"])
        lines.append(
            f"| {latent} | **{mean:.4f}** | {by_seed} | {pca_mse:.4f} | {clipped:.4f} | {pca_mse / mean:.2f} "
            f"| {clipped / mean:.2f} | {_mean_interval(same['mean_abs'])} | {same['mean_abs_rotated'].mean():.3f} |"
        )
    elbows = ", ".join(f"{row['model']} {row['elbow']:g}" for row in result["elbows"])
    ratio = same["mean_abs"].mean() / same["mean_abs_rotated"].mean()
    lines += [
        "",
        f"Elbows by Kneedle: {elbows}. `pca-compare` of {result['n']} checkpoints took {result['pca_seconds']:.0f} s, "
        f"`decorrelation` {result['correlation_seconds']:.0f} s. Measured / rotated at d = {latent}: {ratio:.2f}.",
    ]
    return "\n".join(lines)


def _mean_interval(values: pd.Series) -> str:
    from aekit.core.intervals import mean_interval

    mean, low, high = mean_interval(values.to_numpy())
    return f"{mean:.3f} [{max(low, 0):.3f}, {min(high, 1):.3f}]"


# --- t-SNE ---


def tsne() -> dict:
    """Return what benchmarks/tsne.py measures."""
    return tsne_benchmark.tsne()


def tsne_table(result: dict) -> str:
    """Return a line per result."""
    seconds = ", ".join(f"{r['aekit_seconds']:.0f} s against {r['sklearn_seconds']:.0f} s" for r in result["rounds"])
    opened = [statistics.median(result[f"page_open_seconds_{n}"]) for n in (10000, 60000)]
    rows = [
        ("t-SNE of 10,000 codes, against scikit-learn's", f"**{result['ratio']:.2f}x** ({seconds})", "at most 0.75x"),
        ("trustworthiness@5 (scikit-learn's map)", f"{_pair(result, 'trustworthiness')}", "at least 0.98"),
        ("the whole command, 10,000 codes", _cost(result, 10000), ""),
        ("the whole command, 60,000 codes", _cost(result, 60000), "under 4 GB"),
        ("page, 10,000 points", f"{result['page_bytes_10000'] / 1e6:.1f} MB, opens in {opened[0]:.1f} s", "8 MB, 3 s"),
        ("page, 60,000 points", f"{result['page_bytes_60000'] / 1e6:.1f} MB, opens in {opened[1]:.1f} s", ""),
    ]
    head = "| what | measured | target |\n| --- | ---: | --- |\n"
    return head + "\n".join(f"| {what} | {value} | {wanted} |" for what, value, wanted in rows)


def _pair(result: dict, name: str) -> str:
    return f"**{result[f'{name}_aekit']:.4f}** ({result[f'{name}_sklearn']:.4f})"


def _cost(result: dict, n: int) -> str:
    return f"{result[f'command_seconds_{n}']:.0f} s, {result[f'command_peak_bytes_{n}'] / 1e9:.2f} GB of memory"


# --- t-SNE by number ---


def scale() -> dict:
    """Return what benchmarks/tsne.py measures at 10,000, 60,000 and 1,000,000 codes."""
    return tsne_benchmark.scale()


def scale_table(result: dict) -> str:
    """Return a line per part of the command, and a column per number of codes."""
    runs = result["runs"]
    lines = ["| | " + " | ".join(f"{run['n']:,} codes" for run in runs) + " |", "| --- " + "| ---: " * len(runs) + "|"]
    parts = ["encoding", "neighbours", "optimisation", "placing", "measures", "figure", "table", "page", "whole"]
    for part in parts:
        cells = [run["spent"][part] for run in runs]
        name = "**the whole command**" if part == "whole" else part
        lines.append(f"| {name} | " + " | ".join(f"{wall:.1f} s, {cpu:.1f} s" for wall, cpu in cells) + " |")
    rows = {
        "optimised, placed": [f"{run['optimised']:,}, {run['placed']:,}" for run in runs],
        "peak memory": [f"{run['peak_bytes'] / 1e9:.2f} GB" for run in runs],
        "trustworthiness@5": [_measured(run, "trustworthiness") for run in runs],
        "5-NN accuracy in codes": [_measured(run, "knn_accuracy_codes") for run in runs],
        "5-NN accuracy in the map": [_measured(run, "knn_accuracy_map") for run in runs],
        "figure, table": [f"{run['bytes']['.png'] / 1e6:.1f} MB, {run['bytes']['.csv'] / 1e6:.0f} MB" for run in runs],
        "page": [_page(run) for run in runs],
        "load of the machine": [f"{run['load']:.1f}" for run in runs],
    }
    lines += [f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows.items()]
    return "\n".join(lines)


def _measured(run: dict, name: str) -> str:
    values = run["checkpoints"][0]
    return f"{values[name]:.4f} ± {values[f'{name}_se']:.4f}"


def _page(run: dict) -> str:
    opened = run["page_open_seconds"]
    seconds = f", opens in {statistics.median(opened):.1f} s" if opened else ""
    return f"{run['on_page']:,} points, {run['bytes']['.html'] / 1e6:.1f} MB{seconds}"


# --- few labels ---


def probe() -> dict:
    """Return the accuracies of every method, with the seconds that the command took, for codes and hidden features."""
    result = {}
    for layer, methods in (("code", METHODS), ("hidden", "frozen,logistic,spread")):
        target = BENCH / f"probe-{layer}.png"
        options = ["--layer", layer, "--methods", methods, "-o", target]
        result[f"{layer}_seconds"] = timed("probe", AE_20, *options)[0]
        result[layer] = pd.read_csv(target.with_suffix(".csv"))[["method", "labels", "draw", "accuracy"]].to_dict(
            "list"
        )
        differences = pd.read_csv(target.with_name(f"{target.stem}-differences.csv"))
        result[f"{layer}_differences"] = differences.to_dict("list")
    return result


def probe_table(result: dict) -> str:
    """Return a table per layer: mean and standard deviation over draws by method and number of labels, in percent."""
    parts = []
    for layer in ("code", "hidden"):
        table = pd.DataFrame(result[layer])
        sizes = sorted(table["labels"].unique())
        lines = [
            f"`--layer {layer}`, {result[f'{layer}_seconds'] / 60:.1f} minutes:\n",
            "| method | " + " | ".join(map(str, sizes)) + " |",
            "| --- |" + " ---: |" * len(sizes),
        ]
        for method in dict.fromkeys(table["method"]):
            own = table[table["method"] == method]
            groups = [own[own["labels"] == size]["accuracy"] * 100 for size in sizes]
            cells = [f"{group.mean():.1f} ± {group.std():.1f}" if len(group) else "" for group in groups]
            lines.append(f"| {method} | " + " | ".join(cells) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


PARTS = {
    "curve": Part(curve, curve_table),
    "grid": Part(grid, grid_table),
    "jobs": Part(jobs, jobs_table),
    "encode": Part(encode, encode_table),
    "tsne": Part(tsne, tsne_table),
    "scale": Part(scale, scale_table),
    "probe": Part(probe, probe_table),
}


if __name__ == "__main__":
    main(__doc__, PARTS)
