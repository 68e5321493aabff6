"""Measure what commands on a few small images cost beyond `import torch`: processor time and wall time, in turn.

    AEKIT_DATA=... python benchmarks/startup.py
    AEKIT_DATA=... AEKIT_BEFORE=../aekit-before python benchmarks/startup.py

AEKIT_BEFORE names another checkout of aekit, whose commands are measured in the same rounds. Each command runs in a
process of its own, with one thread, on the digits of scikit-learn and a model that was trained on them for an epoch.
The part `startup` is kept in runs/bench/ and written into benchmarks/RESULTS.md.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from program import aekit, command
from report import BENCH, HERE, Part, main

ROUNDS = 3
HERE_SOURCE = HERE.parent / "src"
FOLDER = (BENCH / "startup").absolute()
IMPORT = "import torch"


def commands(model: Path, codes: Path) -> dict[str, list[str]]:
    """Return the words of each command by the name that the table has for it, the import of torch first."""
    out = ("--threads", "1", "--quiet", "-o")
    words = {
        "encode": ["encode", model, *out, "x.safetensors"],
        "sample": ["sample", model, *out, "x.png"],
        "reconstruct": ["reconstruct", model, *out, "x.png"],
        "evaluate": ["evaluate", model, *out, "x.json"],
        "decode": ["decode", model, codes, *out, "x.png"],
        "train-vae --epochs 1": ["train-vae", "--data", "digits", "--epochs", 1, "--overwrite", *out, "y.safetensors"],
        "decorrelation": ["decorrelation", model, *out, "x.png"],
    }
    return {IMPORT: [sys.executable, "-c", IMPORT], **{name: command(*line) for name, line in words.items()}}


def startup() -> dict:
    """Return seconds of processor and wall time of each command by round, in this checkout and the other one."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    model, codes = FOLDER / "vae.safetensors", FOLDER / "codes.csv"
    aekit("train-vae", "--data", "digits", "--epochs", 1, "--threads", 1, "--overwrite", "-q", "-o", model)
    aekit("encode", model, "-q", "-o", codes)
    before = os.environ.get("AEKIT_BEFORE")
    sources = {"now": HERE_SOURCE} | ({"before": Path(before).absolute() / "src"} if before else {})
    lines = commands(model, codes)
    rounds: list[dict] = []
    for number in range(ROUNDS):  # medians, so the caches that the first one fills do not count
        rounds.append(
            {name: {when: _taken(line, path) for when, path in sources.items()} for name, line in lines.items()}
        )
        print(number, {name: each["now"] for name, each in rounds[-1].items()}, file=sys.stderr, flush=True)
    return {"rounds": rounds, "torch": _torch_version()}


def _taken(line: list[str], source: Path) -> dict[str, float]:
    """Return the seconds of processor time and of wall time that a process took."""
    started = time.perf_counter()
    process = subprocess.Popen(
        line, cwd=FOLDER, env=os.environ | {"PYTHONPATH": str(source)}, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(line)}: failed with the sources in {source}")
    return {"cpu": usage.ru_utime + usage.ru_stime, "wall": time.perf_counter() - started}


def _torch_version() -> str:
    import torch

    return torch.__version__.partition("+")[0]


def startup_table(result: dict) -> str:
    rounds = result["rounds"]
    has_before = "before" in rounds[0][IMPORT]

    def median(name: str, when: str, kind: str, *, beyond: bool = False) -> float:
        own = [each[name][when][kind] - (each[IMPORT][when][kind] if beyond else 0.0) for each in rounds]
        return statistics.median(own)

    heads = ["processor, s", "beyond `import torch`, s", "wall, s"]
    heads += ["beyond it before, s", "times before"] if has_before else []
    lines = [f"| command | {' | '.join(heads)} |", f"| --- |{' ---: |' * len(heads)}"]
    for name in rounds[0]:
        now, more = median(name, "now", "cpu"), median(name, "now", "cpu", beyond=True)
        cells = [f"{now:.2f}", "" if name == IMPORT else f"**{more:.2f}**", f"{median(name, 'now', 'wall'):.2f}"]
        if has_before:
            ratio = statistics.median(each[name]["before"]["cpu"] / each[name]["now"]["cpu"] for each in rounds)
            then = f"{median(name, 'before', 'cpu', beyond=True):.2f}"
            cells += ["", ""] if name == IMPORT else [then, f"{ratio:.2f}"]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"Medians of {len(rounds)} rounds, torch {result['torch']}."])


PARTS = {"startup": Part(startup, startup_table)}


if __name__ == "__main__":
    main(__doc__, PARTS)
