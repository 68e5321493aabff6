"""Measure training on a CPU: against what people use instead, against what the processor can do, and how it scales.

    AEKIT_DATA=... python benchmarks/cpu.py             # all parts, about 40 minutes on an otherwise idle machine
    AEKIT_DATA=... python benchmarks/cpu.py rivals peak

The parts: `rivals` (the loops of a notebook, of PyTorch's example and of pythae, in turn with aekit), `peak`
(images/s by network, batch and precision, as a fraction of what matrix products reach), `precision` (bf16 against
fp32 over seeds), `scaling` (against the number of images and of latent dimensions, and two processes), `fits` (PCA
and label spreading against scikit-learn). pythae gets an environment of its own under runs/bench/. Each part is
kept in runs/bench/ and written into benchmarks/RESULTS.md.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import pandas as pd
from program import ADAMW, aekit, command, printed, pythae
from report import BENCH, Part, main

T = TypeVar("T")
ROUNDS = 3
SOME = 20_000  # images, enough to measure a rate
NETWORKS = {
    "conv": (),
    "conv, adamw": ADAMW,
    "dense": ("--arch", "dense"),
    "resize-conv": ("--arch", "resize-conv"),
    "strided": ("--arch", "strided"),
    "blocks": ("--arch", "blocks"),
}


def history(*options: object, name: str = "rate", **environment: str) -> pd.DataFrame:
    """Return the history of a training that starts over."""
    output = BENCH / f"{name}.safetensors"
    aekit(*options, "--overwrite", "--quiet", "-o", output, **environment)
    return pd.read_csv(output.with_suffix(".csv"))


def rate(*options: object, **environment: str) -> float:
    """Return the images/s of training, by a pass over some of MNIST."""
    some = () if "--epochs" in options else ("--epochs", 1, "--samples-per-epoch", SOME)
    return float(history("train-vae", *some, *options, **environment)["images_per_second"][0])


# --- rivals ---


def rivals() -> dict:
    """Return a list of rounds, each with a rate in images/s by name, and how the losses fall with the seconds."""
    other = pythae()
    root = os.environ["AEKIT_DATA"]
    example = ["--arch", "dense", "--width", 400, "--latent", 20, "--batch-size", 128]
    rounds = []
    for _ in range(ROUNDS):
        rounds.append(
            {
                "notebook": printed(sys.executable, "notebook.py", root, SOME)[-1]["images_per_second"],
                "example": printed(sys.executable, "example_loop.py", root, SOME, 1)[-1]["images_per_second"],
                "example's network in aekit": rate(*example),
                "pythae, aekit's network": printed(other, "pythae_loop.py", root, SOME, 1)[-1]["images_per_second"],
                "aekit, fp32": rate("--precision", "fp32"),
                "aekit": rate(),
            }
        )
        print(rounds[-1], file=sys.stderr, flush=True)
    return {
        "rounds": rounds,
        "example": printed(sys.executable, "example_loop.py", root, 60_000, 10),
        "pythae": printed(other, "pythae_loop.py", root, 60_000, 1),
        "aekit": [_whole_command(epochs) for epochs in (1, 3)],
    }


def _whole_command(epochs: int) -> dict:
    started = time.perf_counter()
    found = history("train-vae", "--epochs", epochs)
    return {"epochs": epochs, "seconds": time.perf_counter() - started, "test": float(found["total"].iloc[-1])}


def rivals_table(result: dict) -> str:
    names = list(result["rounds"][0])
    median = {name: statistics.median(r[name] for r in result["rounds"]) for name in names}
    lines = ["| loop | images/s | times the notebook | times pythae |", "| --- | ---: | ---: | ---: |"]
    for name in names:
        against = [_ratio(result["rounds"], name, other) for other in ("notebook", "pythae, aekit's network")]
        lines.append(f"| {name} | {median[name]:,.0f} | {against[0]} | {against[1]} |")
    lines += ["", "Seconds of training, and the test loss that they reach:", ""]
    lines += ["| | network | after | seconds | test loss, nats |", "| --- | --- | --- | ---: | ---: |"]
    for epoch in (1, 3, 10):
        row = result["example"][epoch - 1]
        after = f"{epoch} epoch{'s' if epoch > 1 else ''}"
        lines.append(f"| PyTorch's example | 784-400-20 | {after} | {row['seconds']:.0f} | {row['test']:.1f} |")
    row = result["pythae"][-1]
    lines.append(f"| pythae | aekit's `conv` | 1 epoch | {row['seconds']:.0f} | {row['test']:.1f} |")
    for row in result["aekit"]:
        what = f"`train-vae --epochs {row['epochs']}`, the whole command"
        lines.append(f"| aekit | `conv` | {what} | **{row['seconds']:.0f}** | **{row['test']:.1f}** |")
    return "\n".join(lines)


def _ratio(rounds: list[dict], name: str, other: str) -> str:
    ratios = [r[name] / r[other] for r in rounds]
    return f"**{statistics.median(ratios):.2f}** ({min(ratios):.2f}-{max(ratios):.2f})"


# --- what the processor can do ---


def peak() -> dict:
    """Return for each network its work per image, images/s, and the GFLOP/s of matrix products just before and after.

    On a shared host both change by the minute, so a fraction of a peak measured an hour ago says nothing.
    """
    rows = []
    for network, options in NETWORKS.items():
        for batch in (100, 500):
            for precision in ("fp32", "bf16"):
                before = _products(precision)
                found = rate(*options, "--batch-size", batch, "--precision", precision)
                products = (before + _products(precision)) / 2
                rows.append(
                    {
                        "network": network,
                        "batch": batch,
                        "precision": precision,
                        "rate": found,
                        "flops": _flops(network, batch, precision),
                        "products": products,
                    }
                )
                print(rows[-1], file=sys.stderr, flush=True)
    return {"rows": rows}


def _products(precision: str) -> float:
    """Return the median GFLOP/s of products of two matrices of 2,048 x 2,048, on all cores."""
    code = f"""
import statistics, time, torch
a, b = (torch.randn(2048, 2048, dtype={"torch.bfloat16" if precision == "bf16" else "torch.float32"}) for _ in "ab")
times = []
for _ in range(60):
    t = time.perf_counter(); a @ b; times.append(time.perf_counter() - t)
print(2 * 2048**3 / statistics.median(times) / 1e9)
"""
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def _flops(network: str, batch: int, precision: Literal["fp32", "bf16"]) -> float:
    """Return the additions and multiplications per image of a step, as torch counts those of matrix products.

    They are those of the forward and the backward pass, and of the optimizer: muon orthogonalises large matrices every
    other step, so two are counted, and in fp32 with fewer products.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from aekit.images.config import ModelConfig, TrainConfig
    from aekit.images.models import build_model, default_optimizer
    from aekit.images.objectives import build_objective
    from aekit.images.run_building import build_optimizer

    arch, _, optimizer_name = network.partition(", ")
    model = build_model(ModelConfig(kind="vae", arch=arch, latent=10), (1, 28, 28))
    train = TrainConfig(optimizer=optimizer_name or default_optimizer(arch, (1, 28, 28), batch))
    optimizer = build_optimizer(model, train, torch.device("cpu"), precision=precision)
    x = torch.rand(batch, 1, 28, 28)
    with FlopCounterMode(display=False) as counter:
        for _ in range(2):
            terms = build_objective(model, train).terms(x, model(x, torch.randn(batch, 10)))
            (terms["reconstruction"].mean() + terms["kl"].mean()).backward()
            optimizer.step()
    return counter.get_total_flops() / (2 * batch)


def peak_table(result: dict) -> str:
    found = pd.DataFrame(result["rows"]).groupby("precision")["products"]
    ranges = [f"{found.get_group(name).min():,.0f} to {found.get_group(name).max():,.0f}" for name in ("fp32", "bf16")]
    lines = [
        "Products of two matrices of 2,048 x 2,048 on all cores, median of 60, before and after each training: "
        f"{ranges[0]} GFLOP/s in fp32, {ranges[1]} in bf16. Latent 10.",
        "",
        "| network | MFLOP per image | batch | fp32, images/s | of peak | bf16, images/s | of peak | bf16 / fp32 |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    table = pd.DataFrame(result["rows"]).pivot_table(
        index=["network", "batch"], columns="precision", values=["rate", "flops", "products"], sort=False
    )
    for (network, batch), row in table.iterrows():
        fp32, bf16 = row["rate", "fp32"], row["rate", "bf16"]
        gflop = {name: row["flops", name] / 1e9 for name in ("fp32", "bf16")}
        shares = [f"{row['rate', name] * each / row['products', name]:.0%}" for name, each in gflop.items()]
        work = " and ".join(dict.fromkeys(f"{each * 1e3:.1f}" for each in gflop.values()))  # once where it is the same
        lines.append(
            f"| `{network}` | {work} | {batch} | {fp32:,.0f} | {shares[0]} | {bf16:,.0f} | {shares[1]} "
            f"| {bf16 / fp32:.2f} |"
        )
    return "\n".join(lines)


# --- bf16 against fp32 ---


def precision() -> list[dict]:
    """Return the validation loss of three epochs by precision and seed."""
    rows = []
    for seed in range(5):
        for name in ("fp32", "bf16"):
            options = ["--epochs", 3, "--val", 1 / 6, "--seed", seed, "--precision", name]
            found = history("train-vae", *options)
            total = found.query("split == 'val'")["total"].iloc[-1]
            rows.append({"seed": seed, "precision": name, "total": float(total)})
            print(rows[-1], file=sys.stderr, flush=True)
    return rows


def precision_table(rows: list[dict]) -> str:
    table = pd.DataFrame(rows).pivot_table(index="seed", columns="precision", values="total")
    differences = table["bf16"] - table["fp32"]
    margin = 2.776 * differences.std(ddof=1) / np.sqrt(len(differences))  # Student, 4 degrees of freedom
    seeds = ", ".join(f"{value:+.2f}" for value in differences)
    mean, low, high = (f"{value:+.3f}" for value in (differences.mean() + np.array([0, -margin, margin])))
    return (
        f"Nats on 10,000 validation images: fp32 {table['fp32'].mean():.2f}, bf16 {table['bf16'].mean():.2f}; bf16 "
        f"minus fp32, by seed {seeds}, mean **{mean}** (95 % interval {low} to {high}). `--precision auto` uses bf16 "
        "as long as it costs less than 0.1."
    )


# --- scaling ---


def scaling() -> dict:
    """Return seconds and peak memory against the number of images, and images/s against latent and processes."""
    from aekit.images.config import DataConfig
    from aekit.images.data import read_images

    images = read_images(DataConfig(), "train", data_root=Path(os.environ["AEKIT_DATA"])).images
    sizes = []
    for n in (15_000, 60_000, 240_000):
        path = BENCH / f"images-{n}.npy"
        np.save(path, np.concatenate([images] * -(-n // len(images)))[:n])
        sizes.append({"n": n, **_measured("--data", path, "--epochs", 1)})
        path.unlink()
    latents = [{"latent": n, "rate": rate("--latent", n)} for n in (2, 10, 50, 200, 1000)]
    shared = ("--epochs", 1, "--samples-per-epoch", 60_000, "--precision", "fp32")
    pairs = [
        {
            "one": rate(*shared, "--threads", 2),
            "two": rate(*shared, "--threads", 1, "--device", "cpu", "--gpus", 2),
        }
        for _ in range(ROUNDS)
    ]
    return {"sizes": sizes, "latents": latents, "processes": pairs}


def _measured(*options: object) -> dict:
    started = time.perf_counter()
    output = BENCH / "size.safetensors"
    line = command("train-vae", *options, "--overwrite", "-q", "-o", output)
    process = subprocess.Popen(line)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(line)}: failed")
    seconds = time.perf_counter() - started
    found = pd.read_csv(output.with_suffix(".csv"))
    return {
        "seconds": seconds,
        "peak_bytes": usage.ru_maxrss * 1024,
        "training": float(found["seconds"][0]),
        "test": float(found["total"].iloc[-1]),
    }


def scaling_table(result: dict) -> str:
    lines = [
        "| images | training, one epoch, s | whole command, s | peak memory, GiB |",
        "| ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row['n']:,} | {row['training']:.1f} | {row['seconds']:.1f} | {row['peak_bytes'] / 2**30:.2f} |"
        for row in result["sizes"]
    ]
    rates = ", ".join(f"{row['latent']}: {row['rate']:,.0f}" for row in result["latents"])
    ratios = [pair["two"] / pair["one"] for pair in result["processes"]]
    one, two = (statistics.median(pair[name] for pair in result["processes"]) for name in ("one", "two"))
    return "\n".join(
        [
            *lines,
            "",
            f"Images/s by latent dimensions: {rates}.",
            "",
            f"Two processes that share each batch (`--device cpu --gpus 2 --threads 1`, gloo): {two:,.0f} images/s, "
            f"{statistics.median(ratios):.2f} times ({min(ratios):.2f}-{max(ratios):.2f}) one process with two threads "
            f"({one:,.0f}), fp32.",
        ]
    )


# --- fits, against scikit-learn ---


def fits() -> dict:
    """Return seconds of fits in turn with scikit-learn's, by rounds, and that both find the same."""
    from sklearn.decomposition import PCA
    from sklearn.semi_supervised import LabelSpreading

    from aekit.images.config import DataConfig
    from aekit.images.data import read_images
    from aekit.images.principal_components import fit_pca
    from aekit.images.probe.spreading import ALPHA, N_NEIGHBOURS, Spreading

    root = Path(os.environ["AEKIT_DATA"])
    train, test = (read_images(DataConfig(), split, data_root=root) for split in ("train", "test"))
    pixels = train.images.reshape(len(train), -1) / 255
    pca, spreading = [], []
    for _ in range(ROUNDS):
        ours, took = _timed(lambda: fit_pca(train, 50))
        theirs, their_seconds = _timed(lambda: PCA(50, svd_solver="covariance_eigh").fit(pixels))
        pca.append(
            {
                "aekit": took,
                "exact": their_seconds,
                "off_exact": float(np.abs(ours.variance / theirs.explained_variance_ - 1).max()),
            }
        )
    codes = fit_pca(train, 20).encode(train.images[:10_000], 20)
    test_codes = fit_pca(train, 20).encode(test.images, 20)
    draws = np.stack([np.random.default_rng(draw).permutation(10_000)[:100] for draw in range(10)])
    targets = train.labels[draws]
    for _ in range(ROUNDS):
        ours, took = _timed(lambda: Spreading(codes, test_codes).predict(draws, targets))
        known = []
        started = time.perf_counter()
        for draw, labels in zip(draws, targets, strict=True):
            given = np.full(10_000, -1)
            given[draw] = labels
            model = LabelSpreading(kernel="knn", n_neighbors=N_NEIGHBOURS, alpha=ALPHA, max_iter=1000)
            known.append(model.fit(codes, given).predict(test_codes))
        theirs = time.perf_counter() - started
        right = [float((found == test.labels).mean()) for found in (ours, np.stack(known))]
        spreading.append({"aekit": took, "sklearn": theirs, "accuracy": right})
        print(pca[len(spreading) - 1], spreading[-1], file=sys.stderr, flush=True)
    return {"pca": pca, "spreading": spreading}


def _timed(function: Callable[[], T]) -> tuple[T, float]:
    started = time.perf_counter()
    return function(), time.perf_counter() - started


def fits_table(result: dict) -> str:
    def row(what: str, rounds: list[dict], other: str, note: str) -> str:
        ours, theirs = (statistics.median(r[name] for r in rounds) for name in ("aekit", other))
        ratios = [r[other] / r["aekit"] for r in rounds]
        spread = f"**{statistics.median(ratios):.1f}** ({min(ratios):.1f}-{max(ratios):.1f})"
        return f"| {what} | {ours:.2f} | {theirs:.2f} | {spread} | {note} |"

    pca, spreading = result["pca"], result["spreading"]
    accuracy = " and ".join(f"{100 * value:.1f} %" for value in spreading[0]["accuracy"])
    return "\n".join(
        [
            "| fit | aekit, s | scikit-learn, s | times faster | result |",
            "| --- | ---: | ---: | ---: | --- |",
            row("PCA of 60,000 MNIST images, 50 components: `covariance_eigh`", pca, "exact",
                f"variances agree to {max(r['off_exact'] for r in pca):.0e}"),
            row("label spreading over 10,000 codes, ten draws of 100 labels", spreading, "sklearn",
                f"accuracy on 10,000 test images {accuracy}"),
        ]
    )  # fmt: skip


PARTS = {
    "rivals": Part(rivals, rivals_table),
    "peak": Part(peak, peak_table),
    "precision": Part(precision, precision_table),
    "scaling": Part(scaling, scaling_table),
    "fits": Part(fits, fits_table),
}


if __name__ == "__main__":
    main(__doc__, PARTS)
