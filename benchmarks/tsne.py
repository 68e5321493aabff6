"""Measure `aekit tsne` on MNIST beside scikit-learn's t-SNE, and the page that it writes in headless Chromium.

    AEKIT_DATA=... python benchmarks/tsne.py                      # on an otherwise idle machine, ten minutes
    AEKIT_DATA=... python benchmarks/tsne.py CHECKPOINT ROUNDS

Prints one JSON object: seconds of both in the same run, with all cores, trustworthiness@5 and kNN accuracies on 10,000
test codes, seconds and peak memory of the whole command on 60,000 train codes, bytes and seconds to open of the page.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
CHECKPOINT = Path("runs/bench/vae-z10-e10-s0.safetensors")
K = 5


def tsne(checkpoint: Path = CHECKPOINT, rounds: int = 3) -> dict:
    """Return what was measured; ours and scikit-learn's take turns, so that both meet the same machine."""
    with tempfile.TemporaryDirectory() as folder:
        # First, while this process is small: a child's peak memory counts what its parent held as it was forked.
        commands = _command(checkpoint, Path(folder), "test") | _command(checkpoint, Path(folder), "train")
        codes = _codes(checkpoint, Path(folder))
        from sklearn.manifold import trustworthiness

        turns = []
        for _ in range(rounds):
            seconds, points = _ours(codes)
            sklearn_seconds, sklearn_points = _scikit_learn(codes)
            turns.append({"aekit_seconds": seconds, "sklearn_seconds": sklearn_seconds})
        ratios = [turn["aekit_seconds"] / turn["sklearn_seconds"] for turn in turns]
        result = {
            "checkpoint": checkpoint.name,
            "cores": os.cpu_count(),
            "rounds": turns,
            "ratio": statistics.median(ratios),
            "ratios": ratios,
            # Both maps by scikit-learn's own measure, which needs all 10^8 distances at once.
            "trustworthiness_aekit": float(trustworthiness(codes, points, n_neighbors=K)),
            "trustworthiness_sklearn": float(trustworthiness(codes, sklearn_points, n_neighbors=K)),
        }
    return result | commands


def _codes(checkpoint: Path, folder: Path):
    from safetensors.numpy import load_file

    subprocess.run(_aekit("encode", checkpoint, "-o", folder / "codes.safetensors"), check=True, capture_output=True)
    return load_file(folder / "codes.safetensors")["mean"]


def _aekit(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "aekit", *map(str, arguments)]


def _ours(codes):
    import openTSNE  # noqa: F401 - the time to import it is none of t-SNE

    from aekit.analysis.embedding import embed_tsne, find_neighbours

    start = time.perf_counter()
    near = find_neighbours(codes, 90, n_threads=os.cpu_count())
    points = embed_tsne(codes, near, n_threads=os.cpu_count())
    return time.perf_counter() - start, points


def _scikit_learn(codes):
    from sklearn.manifold import TSNE

    start = time.perf_counter()
    points = TSNE(perplexity=30, random_state=0, n_jobs=os.cpu_count()).fit_transform(codes)
    return time.perf_counter() - start, points


def _command(checkpoint: Path, folder: Path, split: str) -> dict:
    """Return time, peak memory and figures of the whole command on a split, and what its page weighs and takes."""
    target = folder / f"{split}.png"
    start = time.perf_counter()
    done = subprocess.Popen(
        _aekit("tsne", checkpoint, "--split", split, "-o", target, "--json", "-q"), stdout=subprocess.PIPE, text=True
    )
    said = json.loads(done.stdout.read())
    _, status, usage = os.wait4(done.pid, 0)
    assert status == 0
    page = target.with_suffix(".html")
    measured = {
        "command_seconds": time.perf_counter() - start,
        "command_peak_bytes": usage.ru_maxrss * 1024,
        **said["checkpoints"][0],
        "page_bytes": page.stat().st_size,
        "page_open_seconds": _open(page),
    }
    return {f"{key}_{said['n']}": value for key, value in measured.items() if key != "checkpoint"}


def _open(page: Path) -> list[float] | None:
    """Return the seconds until the page is drawn, three times, or None without a Chromium."""
    program = shutil.which("chromium")
    if program is None:
        return None
    place = HERE.parent / "tests" / "figures" / "conftest.py"
    spec = importlib.util.spec_from_file_location("browser", place)
    browser = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(browser)
    chromium = browser.Chromium(program)
    try:
        return [chromium.open(page) for _ in range(3)]
    finally:
        chromium.close()


if __name__ == "__main__":
    arguments = sys.argv[1:]
    rounds = int(arguments[1]) if len(arguments) > 1 else 3
    print(json.dumps(tsne(Path(arguments[0]) if arguments else CHECKPOINT, rounds), indent=1))
