"""Measure sets of images that do not fit into memory: 200,000 files, prepared and trained from the cache.

    AEKIT_DATA=... python benchmarks/large.py             # both parts; needs 30 GB of disk, half an hour on two cores
    AEKIT_DATA=... python benchmarks/large.py preparing

The 10,000 CelebA images of 109x89 pixels are linked twenty times over as files into a folder outside the repository
(`AEKIT_LARGE`, else `aekit-large` in the folder for temporary files, which is removed in the end). The parts:
`preparing` (decoding at their size and at CelebA's own 218x178, killed half-way and continued) and `feeding`
(training from the cache, against the same images held in memory, in turn). Each part is kept in runs/bench/ and
written into benchmarks/RESULTS.md.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import report
from report import Part

LARGE = Path(os.environ.get("AEKIT_LARGE") or Path(tempfile.gettempdir()) / "aekit-large")
FACES = LARGE / "faces"
N_TIMES = 20
N_IMAGES = 10_000 * N_TIMES
OWN, FULL = (109, 89), (218, 178)
BATCH = 100


def link_images() -> None:
    if FACES.exists():
        return
    originals = sorted((Path(os.environ["AEKIT_DATA"]) / "celeba" / "img_align_celeba").glob("*.jpg"))
    unfinished = LARGE / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for original in originals:
        first = unfinished / f"00-{original.name}"
        shutil.copyfile(original, first)
        for number in range(1, N_TIMES):
            (unfinished / f"{number:02}-{original.name}").hardlink_to(first)
    unfinished.rename(FACES)


def cache(size: tuple[int, int]) -> Path:
    return LARGE / f"cache-{size[0]}x{size[1]}"


# --- preparing ---


def preparing() -> list[dict]:
    """Return one row per way of preparing: seconds on the clock and of processors, and peak memory."""
    link_images()
    rows = []
    for size in (OWN, FULL):
        shutil.rmtree(cache(size), ignore_errors=True)
        killed_after = None
        if size == FULL:
            process = _start_data(size)
            killed_after = _kill_half_way(process, size)
        first = _finish_data(_start_data(size))
        again = _finish_data(_start_data(size))
        rows.append({"size": size, "killed_after": killed_after, "first": first, "again": again})
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def _start_data(size: tuple[int, int]) -> subprocess.Popen:
    command = [sys.executable, "-m", "aekit", "data", str(FACES), "--image-size", "x".join(map(str, size)), "-q"]
    return subprocess.Popen(command, env=os.environ | {"AEKIT_CACHE": str(cache(size))}, stdout=subprocess.DEVNULL)


def _finish_data(process: subprocess.Popen) -> dict:
    started = time.perf_counter()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit("aekit data: failed")
    cpu = usage.ru_utime + usage.ru_stime
    return {"seconds": time.perf_counter() - started, "cpu_seconds": cpu, "peak_bytes": usage.ru_maxrss * 1024}


def _kill_half_way(process: subprocess.Popen, size: tuple[int, int]) -> int:
    """Return how many images were recorded when a preparation was killed."""
    while (done := _recorded(size)) < N_IMAGES // 2:
        if process.poll() is not None:
            raise SystemExit("aekit data: ended before it could be killed")
        time.sleep(1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return done


def _recorded(size: tuple[int, int]) -> int:
    for path in (cache(size) / "images").glob("*.partial"):
        with path.open("rb") as file:
            file.seek(128 + N_IMAGES * 3 * size[0] * size[1])  # behind numpy's header and the pixels
            lines = file.read().splitlines()
        for line in reversed(lines):
            try:
                block = json.loads(line)
            except ValueError:
                continue
            return block["start"] + len(block["digests"]) // 64
    return 0


def preparing_table(rows: list[dict]) -> str:
    lines = [
        "| size | decoded | prepared | images/s | images/s per core | peak memory | opened again |",
        "| --- " * 7 + "|",
    ]
    for row in rows:
        height, width = row["size"]
        n = N_IMAGES - (row["killed_after"] or 0)
        first = row["first"]
        part = f", after `kill -9` at {row['killed_after']:,}" if row["killed_after"] else ""
        lines.append(
            f"| {height}x{width} | {N_IMAGES * 3 * height * width / 1e9:.1f} GB | {n:,} images in "
            f"{first['seconds']:.0f} s{part} | {n / first['seconds']:,.0f} | **{n / first['cpu_seconds']:,.0f}** "
            f"| {first['peak_bytes'] / 2**30:.2f} GiB | {row['again']['seconds']:.1f} s |"
        )
    return "\n".join(lines)


# --- feeding ---


def feeding() -> list[dict]:
    """Return one row per run: where the images come from, images/s, fraction of time spent waiting, peak memory."""
    link_images()
    rows = []
    for size, steps, kinds in (
        (OWN, 80, ("memory", "cache", "memory", "cache")),
        (FULL, 30, ("cache", "cache")),
        (OWN, 600, ("memory alone", "cache alone", "memory alone", "cache alone")),
        (FULL, 600, ("cache alone", "cache alone")),
    ):
        if not list((cache(size) / "images").glob("*.npy")):
            _finish_data(_start_data(size))
        for kind in kinds:
            command = [sys.executable, __file__, "feed", *map(str, size), kind, str(steps)]
            environment = os.environ | {"AEKIT_CACHE": str(cache(size))}
            printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment).stdout
            rows.append({"size": size, "kind": kind, **json.loads(printed.splitlines()[-1])})
            print(rows[-1], file=sys.stderr, flush=True)
    return rows


def feed(size: tuple[int, int], kind: str, n_steps: int) -> dict:
    """Train for some steps in this process, from a cold cache, and return how it went."""
    import resource

    import numpy as np
    import torch

    from aekit.core.device import ThreadTeam, choose_precision, seed_everything
    from aekit.images.config import DataConfig, ModelConfig, TrainConfig
    from aekit.images.data import batches, read_images
    from aekit.images.models import build_model
    from aekit.images.objectives import build_objective
    from aekit.images.training import Run, State, fit

    config = DataConfig(name=str(FACES), image_size=size)
    train, test = (read_images(config, split, data_root=LARGE) for split in ("train", "test"))
    for path in (cache(size) / "images").glob("*.npy"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if kind.startswith("memory"):
        batches.MAX_COPY_BYTES = 2**40
    cpu = torch.device("cpu")
    loader = batches.ImageLoader(train, cpu)
    n_samples = BATCH * n_steps
    if kind.endswith("alone"):
        order = batches.epoch_order(len(loader), n_samples, 0, 0, blocks=loader.blocks)
        started = time.perf_counter()
        for _ in loader.batches(batches.split_batches(order, BATCH)):
            pass
        seconds = time.perf_counter() - started
    else:
        noise = seed_everything(0, cpu)
        model = build_model(ModelConfig(kind="vae", latent=100), train.image_shape)
        model.to(memory_format=torch.channels_last)
        train_config = TrainConfig(epochs=1, batch_size=BATCH, lr=1e-4, samples_per_epoch=n_samples)
        with ThreadTeam(torch.get_num_threads()) as team:
            run = Run(
                model=model,
                optimizer=torch.optim.AdamW(model.parameters(), fused=True),
                noise=noise,
                images=loader,
                held_out=batches.ImageLoader(test.subset(np.arange(500)), cpu),
                held_out_split="test",
                train_config=train_config,
                precision=choose_precision("auto", cpu),
                team=team,
                objective=build_objective(model, train_config),
            )
            seconds = fit(run, State()).history[0].seconds
    return {
        "images_per_second": n_samples / seconds,
        "waited": loader.waited_s / seconds,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def feeding_table(rows: list[dict]) -> str:
    what = {
        "memory": "training, images held in memory", "cache": "training, from the cache on disk",
        "memory alone": "batches alone, images held in memory", "cache alone": "batches alone, from the cache on disk",
    }  # fmt: skip
    lines = ["| size | what | images/s | by round | waiting | peak memory |", "| --- " * 6 + "|"]
    for size, kind in dict.fromkeys((tuple(row["size"]), row["kind"]) for row in rows):
        own = [row for row in rows if (tuple(row["size"]), row["kind"]) == (size, kind)]
        rates = [row["images_per_second"] for row in own]
        waited = "" if kind.endswith("alone") else f"{max(row['waited'] for row in own):.1%}"
        lines.append(
            f"| {size[0]}x{size[1]} | {what[kind]} | **{statistics.median(rates):,.0f}** "
            f"| {' '.join(f'{rate:,.0f}' for rate in rates)} | {waited} "
            f"| {max(row['peak_bytes'] for row in own) / 2**30:.2f} GiB |"
        )
    return "\n".join(lines)


PARTS = {"preparing": Part(preparing, preparing_table), "feeding": Part(feeding, feeding_table)}


def main() -> None:
    if sys.argv[1:2] == ["feed"]:
        height, width, kind, n_steps = sys.argv[2:]
        print(json.dumps(feed((int(height), int(width)), kind, int(n_steps))))
        return
    report.main(__doc__, PARTS)
    if not os.environ.get("AEKIT_LARGE"):
        shutil.rmtree(LARGE, ignore_errors=True)


if __name__ == "__main__":
    main()
