"""Measure `aekit tsne` on MNIST against scikit-learn's t-SNE, and the page that it writes in headless Chromium.

    AEKIT_DATA=... python benchmarks/tsne.py                      # on an otherwise idle machine, ten minutes
    AEKIT_DATA=... python benchmarks/tsne.py CHECKPOINT ROUNDS
    python benchmarks/tsne.py scale                               # 10,000, 60,000 and 1,000,000 codes, by part

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
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
CHECKPOINT = Path("runs/bench/vae-z10-e10-s0.safetensors")
K = 5
SIZES = (10_000, 60_000, 1_000_000)


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


def scale(sizes: Sequence[int] = SIZES) -> dict:
    """Return seconds, seconds of CPU by part, and peak memory of the command on many digits of 8 x 8 with noise."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "vae.safetensors"
        trained = ("train-vae", "--data", "digits", "--latent", 8, "--epochs", 20, "-o", checkpoint)
        subprocess.run(_aekit(*trained), check=True, capture_output=True)
        runs = []
        for n in sizes:
            images = Path(folder) / f"{n}.npz"
            subprocess.run([sys.executable, __file__, "--images", images, str(n)], check=True)
            command = [sys.executable, __file__, "--parts", checkpoint, images]
            done = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            printed = json.loads(done.stdout.read())
            _, status, usage = os.wait4(done.pid, 0)
            assert status == 0
            page = _open(images.with_suffix(".html"))
            runs.append({**printed, "peak_bytes": usage.ru_maxrss * 1024, "page_open_seconds": page})
            print(json.dumps(runs[-1]), file=sys.stderr, flush=True)
    return {"cores": os.cpu_count(), "runs": runs}


def _write_images(path: Path, n: int) -> None:
    """Write ``n`` of scikit-learn's digits, drawn with replacement, with noise, and their labels."""
    import numpy as np
    from sklearn.datasets import load_digits

    digits, rng = load_digits(), np.random.default_rng(0)
    rows = rng.integers(0, len(digits.target), n)
    images = np.empty((n, 8, 8), np.uint8)
    for start in range(0, n, 50_000):
        block = digits.images[rows[start : start + 50_000]] * (255 / 16)
        images[start : start + 50_000] = np.clip(block + rng.normal(0, 20, block.shape), 0, 255)
    labels = digits.target[rows]
    np.savez(path, x_train=images, y_train=labels, x_test=images[:10], y_test=labels[:10])


def _parts(checkpoint: Path, images: Path) -> dict:
    """Return what the command says, with the seconds of wall and CPU that each of its parts took."""
    import contextlib
    import io
    from functools import wraps

    from aekit.cli import app
    from aekit.images import session
    from aekit.images.tsne import maps, study

    spent = {}

    def timed(module, name: str, part: str) -> None:
        function = getattr(module, name)

        @wraps(function)
        def call(*arguments, **options):
            start = time.perf_counter(), time.process_time()
            try:
                return function(*arguments, **options)
            finally:
                wall, cpu = spent.get(part, (0.0, 0.0))
                spent[part] = (wall + time.perf_counter() - start[0], cpu + time.process_time() - start[1])

        setattr(module, name, call)

    timed(session, "encode_images", "encoding")
    timed(maps, "_measure", "measures")
    timed(maps, "_place_others", "placing")
    timed(maps, "embed_tsne", "optimisation")
    timed(study, "build_limited_page", "page")
    timed(study, "plot_embeddings", "figure")
    timed(study, "write_png", "figure")
    timed(study, "_table", "table")
    timed(study, "write_csv", "table")
    timed(study, "map_codes", "all of a map")
    start = time.perf_counter(), time.process_time()
    target, stdout = images.with_suffix(".png"), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.suppress(SystemExit):
        app(["tsne", str(checkpoint), "--data", str(images), "--split", "train", "-o", str(target), "--json", "-q"])
    spent["whole"] = time.perf_counter() - start[0], time.process_time() - start[1]
    inner = ("encoding", "measures", "placing", "optimisation")
    spent["neighbours"] = tuple(
        spent["all of a map"][clock] - sum(spent[part][clock] for part in inner) for clock in (0, 1)
    )
    sizes = {suffix: target.with_suffix(suffix).stat().st_size for suffix in (".png", ".csv", ".html")}
    return {**json.loads(stdout.getvalue()), "spent": spent, "bytes": sizes, "load": os.getloadavg()[0]}


def _codes(checkpoint: Path, folder: Path):
    from safetensors.numpy import load_file

    subprocess.run(_aekit("encode", checkpoint, "-o", folder / "codes.safetensors"), check=True, capture_output=True)
    return load_file(folder / "codes.safetensors")["mean"]


def _aekit(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "aekit", *map(str, arguments)]


def _ours(codes):
    from aekit.images.embedding import embed_tsne, find_neighbours

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
    """Return time, peak memory and results of the command on a split, and the size and opening time of its page."""
    target = folder / f"{split}.png"
    start = time.perf_counter()
    done = subprocess.Popen(
        _aekit("tsne", checkpoint, "--split", split, "-o", target, "--json", "-q"), stdout=subprocess.PIPE, text=True
    )
    printed = json.loads(done.stdout.read())
    _, status, usage = os.wait4(done.pid, 0)
    assert status == 0
    page = target.with_suffix(".html")
    measured = {
        "command_seconds": time.perf_counter() - start,
        "command_peak_bytes": usage.ru_maxrss * 1024,
        **printed["checkpoints"][0],
        "page_bytes": page.stat().st_size,
        "page_open_seconds": _open(page),
    }
    return {f"{key}_{printed['n']}": value for key, value in measured.items() if key != "checkpoint"}


def _open(page: Path) -> list[float] | None:
    """Return the seconds until the page is drawn, three times, or None without a Chromium."""
    program = shutil.which("chromium")
    if program is None:
        return None
    place = HERE.parent / "tests" / "tools" / "browser.py"
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
    if arguments[:1] == ["--images"]:
        _write_images(Path(arguments[1]), int(arguments[2]))
        sys.exit()
    if arguments[:1] == ["--parts"]:
        print(json.dumps(_parts(Path(arguments[1]), Path(arguments[2]))))
        sys.exit()
    if arguments[:1] == ["scale"]:
        print(json.dumps(scale([int(n) for n in arguments[1:]] or SIZES), indent=1))
        sys.exit()
    rounds = int(arguments[1]) if len(arguments) > 1 else 3
    print(json.dumps(tsne(Path(arguments[0]) if arguments else CHECKPOINT, rounds), indent=1))
