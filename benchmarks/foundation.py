"""Measure aekit on MNIST: how well the defaults train, and how fast, compared with the loop of a notebook.

    AEKIT_DATA=... python benchmarks/foundation.py accuracy   # 27 runs, two at a time, one thread each
    AEKIT_DATA=... python benchmarks/foundation.py speed      # on an otherwise idle machine, ten minutes
    AEKIT_DATA=... python benchmarks/foundation.py            # both

Each part is kept in runs/bench/ and written into benchmarks/RESULTS.md.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
from program import ADAMW, aekit, command
from report import BENCH, HERE, Part, main

SEEDS = (0, 1, 2)
TARGETS = {  # the most that each may be; MSE of PCA with as many components
    ("vae", 10, 10): (96.5, None),
    ("vae", 10, 1): (105.0, None),
    ("vae", 20, 10): (93.5, None),
    ("ae", 2, 10): (0.0350, 0.0557),
    ("ae", 5, 10): (0.0190, 0.0445),
    ("ae", 10, 10): (0.0092, 0.0341),
    ("ae", 20, 10): (0.0044, 0.0235),
    ("ae", 50, 10): (0.0028, 0.0115),
    ("ae", 100, 10): (0.0024, 0.0056),
}


# --- accuracy ---


def accuracy() -> list[dict]:
    """Return one row per trained model: kind, latent, epochs, seed and its test results."""
    cells = [(*cell, seed) for seed in SEEDS for cell in TARGETS]
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda cell: _train(*cell), cells))


def _train(kind: str, latent: int, epochs: int, seed: int) -> dict:
    options = ["--latent", latent, "--epochs", epochs, "--seed", seed, "--threads", 1]
    output = BENCH / f"{kind}-z{latent}-e{epochs}-s{seed}.safetensors"
    done = aekit(f"train-{kind}", *options, "-o", output, "--json", "--quiet", "--resume", OMP_NUM_THREADS="1")
    row = {"kind": kind, "latent": latent, "epochs": epochs, "seed": seed, **json.loads(done.stdout)}
    print(row, file=sys.stderr, flush=True)
    return row


def accuracy_table(rows: list[dict]) -> str:
    runs = pd.DataFrame(rows)
    lines = ["| command | epochs | test | mean | by seed | target, at most | PCA |", "| --- " * 7 + "|"]
    for (kind, latent, epochs), (target, pca) in TARGETS.items():
        cell = runs.query("kind == @kind and latent == @latent and epochs == @epochs").sort_values("seed")
        values = cell["total" if kind == "vae" else "mse"]
        unit, digits = ("nats", 2) if kind == "vae" else ("MSE", 5)
        by_seed = " ".join(f"{value:.{digits}f}" for value in values)
        met = "" if values.mean() <= target else " (missed)"
        lines.append(
            f"| `train-{kind} --latent {latent}` | {epochs} | {unit} | **{values.mean():.{digits}f}** | {by_seed} "
            f"| {target:g}{met} | {pca or ''} |"
        )
    return "\n".join(lines)


# --- speed ---


def speed() -> dict:
    """Return rates in images/s, seconds, ratios and bytes: see :func:`speed_table`."""
    rounds = [
        {
            "notebook": notebook(),
            "fp32": ours("--precision", "fp32"),
            "auto": ours(),
            "adamw": ours(*ADAMW),
        }
        for _ in range(3)
    ]
    one_epoch = _timed_epoch()
    alone, together = statistics.median(ours() for _ in range(2)), _two_at_once()
    return {
        "rounds": rounds,
        "one_epoch_seconds": one_epoch[0],
        "peak_bytes": one_epoch[1],
        "alone": alone,
        "two_at_once": together,
        "help_seconds": _startup("--help"),
        "info_seconds": _startup("info", str(BENCH / "speed.safetensors")),
        "precision": json.loads(aekit("info", BENCH / "speed.safetensors", "--json").stdout)["ran_on"]["precision"],
    }


def notebook() -> float:
    loop = [sys.executable, str(HERE / "rivals" / "notebook.py"), os.environ["AEKIT_DATA"], "20000"]
    return json.loads(subprocess.run(loop, capture_output=True, text=True, check=True).stdout)["images_per_second"]


def ours(*options: object, name: str = "speed") -> float:
    output = BENCH / f"{name}.safetensors"
    aekit("train-vae", "--epochs", 1, *options, "--overwrite", "--quiet", "-o", output)
    return float(pd.read_csv(output.with_suffix(".csv"))["images_per_second"][0])


def _timed_epoch() -> tuple[float, int]:
    """Return the wall time in seconds of a whole command of one epoch, and the most memory it held, in bytes."""
    started = time.perf_counter()
    output = BENCH / "epoch.safetensors"
    process = subprocess.Popen(command("train-vae", "--epochs", 1, "--overwrite", "-q", "-o", output))
    _, _, usage = os.wait4(process.pid, 0)
    return time.perf_counter() - started, usage.ru_maxrss * 1024


def _two_at_once() -> list[float]:
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda name: ours(name=name), ("first", "second")))


def _startup(*arguments: str) -> float:
    seconds = []
    for _ in range(7):
        started = time.perf_counter()
        aekit(*arguments)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def speed_table(result: dict) -> str:
    rate = {key: statistics.median(r[key] for r in result["rounds"]) for key in result["rounds"][0]}
    ten_epochs = 600_000 / rate["notebook"]
    together = sum(result["two_at_once"])
    rows = [
        ("the notebook's loop", f"{rate['notebook']:,.0f} images/s", ""),
        ("`train-vae --precision fp32`", f"{rate['fp32']:,.0f} images/s", _ratio(result, "fp32", "at least 2.2")),
        (f"`train-vae` ({result['precision']} here)", f"{rate['auto']:,.0f} images/s", _ratio(result, "auto", "")),
        ("`train-vae --optimizer adamw`", f"{rate['adamw']:,.0f} images/s", _ratio(result, "adamw", "")),
        (
            "`train-vae --epochs 1`, the whole command",
            f"{result['one_epoch_seconds']:.1f} s",
            f"1/{ten_epochs / result['one_epoch_seconds']:.0f} of the notebook's ten epochs; at most 1/20",
        ),
        (
            "two `train-vae` at once, summed",
            f"{together:,.0f} images/s",
            f"{together / result['alone']:.0%} of one alone ({result['alone']:,.0f}); at least 80 %",
        ),
        ("peak memory of `train-vae`", f"{result['peak_bytes'] / 2**30:.2f} GiB", "under 1.2"),
        ("`aekit --help`", f"{result['help_seconds']:.2f} s", "at most 0.3"),
        ("`aekit info`", f"{result['info_seconds']:.2f} s", "at most 0.3"),
    ]
    head = "| what | measured | against |\n| --- | ---: | --- |\n"
    return head + "\n".join(f"| {what} | {value} | {note} |" for what, value, note in rows)


def _ratio(result: dict, key: str, wanted: str) -> str:
    ratios = [r[key] / r["notebook"] for r in result["rounds"]]
    spread = f"{min(ratios):.2f}-{max(ratios):.2f} in {len(ratios)} rounds"
    text = f"**{statistics.median(ratios):.2f}x** the notebook ({spread})"
    return f"{text}; {wanted}" if wanted else text


PARTS = {"accuracy": Part(accuracy, accuracy_table), "speed": Part(speed, speed_table)}


if __name__ == "__main__":
    main(__doc__, PARTS)
