"""The same command gives the same bytes: twice, with other hashes in Python, and with one process or two."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from children import children

from aekit import cli

_MODULES = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "tools")]  # what the program imports of tests
TIMES = ("seconds", "images_per_second")  # the only columns that may differ, in trainings and grids
BRAIN = ("cohort/participants.tsv", "--volumes", "cohort/volumes", "--spacing", 12, "--size", 16)
PROBE = ("--labels", "10,20", "--draws", 2, "--methods", "frozen,logistic,spread,pixels,pca")
# In the order in which they need each other; JOBS is 1 in one run and 2 in the other.
COMMANDS: dict[str, tuple[object, ...]] = {
    "data": ("data", "digits"),
    "train-ae": ("train-ae", "--data", "digits", "--limit", 300, "--latent", 2, "--epochs", 2, "-o", "ae.safetensors"),
    "train-ae-labels": (
        "train-ae", "--data", "faces.npy", "--labels", "kinds.csv", "--latent", 2, "--epochs", 1, "--arch", "dense",
        "-o", "labelled.safetensors",
    ),
    "train-vae": (
        "train-vae", "--data", "digits", "--limit", 300, "--latent", 3, "--val", 0.2, "--keep", "best",
        "--epochs", 3, "-o", "vae.safetensors",
    ),
    "train-vae --init": (
        "train-vae", "--data", "digits", "--limit", 300, "--init", "vae.safetensors", "--val", 0.2, "--epochs", 30,
        "--patience", 1, "--schedule", "constant", "--lr", 0.008, "-o", "tuned.safetensors",
    ),
    "sweep": (
        "sweep", "--data", "digits", "--limit", 120, "--model", "ae", "--latent", "2-4", "--epochs", 1, "--seed", "0,1",
        "--jobs", "JOBS", "--threads", 1, "-o", "grid",
    ),
    "sweep --init": (
        "sweep", "--data", "digits", "--limit", 120, "--model", "ae,vae", "--init", "vae.safetensors,tuned.safetensors",
        "--epochs", 1, "--jobs", "JOBS", "--threads", 1, "-o", "tuned-grid",
    ),
    "reconstruct": ("reconstruct", "ae.safetensors", "vae.safetensors", "-o", "reconstruct"),
    "sample": ("sample", "ae.safetensors", "vae.safetensors", "-o", "sample"),
    "sample --density": (
        "sample", "vae.safetensors", "--density", "gmm", "--gaussians", 3, "-n", 20, "--each", "samples", "--codes",
        "samples.csv", "-o", "sample",
    ),
    "interpolate": ("interpolate", "ae.safetensors", "vae.safetensors", "-o", "interpolate"),
    "interpolate-labels": ("interpolate", "labelled.safetensors", "--attribute", "male", "-o", "interpolate/male.png"),
    "encode": ("encode", "vae.safetensors", "-o", "encode"),
    "decode": (
        "decode", "vae.safetensors", "encode/vae.codes.safetensors", "--each", "decoded-rows", "-o", "decode/x.png",
    ),
    "decode array": ("decode", "vae.safetensors", "samples.csv", "-o", "decode/y.npy"),
    "decode tensor": ("decode", "vae.safetensors", "samples.csv", "-o", "decode/z.safetensors"),
    "evaluate": ("evaluate", "ae.safetensors", "vae.safetensors", "-o", "evaluate"),
    "train-vae shapes": (
        "train-vae", "--data", "shapes", "--limit", 400, "--image-size", 16, "--arch", "dense", "--latent", 3,
        "--epochs", 1, "-o", "shapes.safetensors",
    ),
    "disentangle": ("disentangle", "shapes.safetensors", "--samples", 200, "-o", "disentangle/x.png"),
    "compare-codes": ("compare-codes", "grid/*.safetensors", "-o", "compare-codes/x.png"),
    "neighbours": ("neighbours", "vae.safetensors", "blocks.npy", "-n", 4, "-o", "neighbours/x.png"),
    "outliers": ("outliers", "vae.safetensors", "--outliers", "blocks.npy", "-n", 4, "-o", "outliers/x.png"),
    "samples-quality": (
        "samples-quality", "vae.safetensors", "--density", "prior,gmm,two-stage", "-o", "quality/x.png",
    ),
    "decorrelation": ("decorrelation", "grid/*.safetensors", "-o", "decorrelation/x.png"),
    "pca-compare": ("pca-compare", "grid/*.safetensors", "-o", "pca/x.png"),
    "tsne": ("tsne", "ae.safetensors", "--limit", 200, "-o", "tsne/x.png"),
    "explore": ("explore", "ae.safetensors", "vae.safetensors", "-n", 60, "-o", "explore/x.html"),
    "probe": ("probe", "ae.safetensors", *PROBE, "-o", "probe/x.png"),
    "export": ("export", "vae.safetensors", "--part", "decoder", "-o", "export/x.onnx"),
    "export pt2": ("export", "vae.safetensors", "--part", "encoder", "-o", "export/x.pt2"),
    "export hub": ("export", "vae.safetensors", "--format", "hub", "-o", "export-hub"),
    "compare": ("compare", "grid/results.csv", "--with", "study.csv", "--by", "latent", "-o", "compare/x.csv"),
    "mri-phantom": ("mri-phantom", "-n", 40, "--size", 16, "--jobs", "JOBS", "-o", "cohort"),
    "mri-eda": ("mri-eda", *BRAIN[:3], "-o", "eda"),
    "mri-train": ("mri-train", *BRAIN, "--epochs", 2, "-o", "brain.safetensors"),
    "mri-predict": ("mri-predict", "brain.safetensors", "cohort/volumes", "-o", "predict/x.csv"),
    "mri-associate": (
        "mri-associate", "brain.predictions.csv", "cohort/participants.tsv", "--with", "tiv", "-o", "associate/x.csv",
    ),
    "mri-explain": (
        "mri-explain", "brain.safetensors", "cohort/volumes/sub-000[1-3]*", "--samples", 2, "--randomisations", 2,
        "-o", "explain",
    ),
    "report": ("report", "pca", "-o", "report.html"),  # one of all would show the seconds that trainings took
    "reproduce": ("reproduce", "tiny.toml", "-o", "reproduce"),
    "info": ("info", "tuned.safetensors", "--json"),
}  # fmt: skip
RUN_ALL = """
import pathlib, sys
import numpy as np
from typer.testing import CliRunner
from aekit.cli import app
import test_determinism as here

pathlib.Path("study.csv").write_text(here.STUDY)
pathlib.Path("kinds.csv").write_text(here.KINDS)
pathlib.Path("tiny.toml").write_text(here.RECIPE)
np.save("blocks.npy", np.random.default_rng(0).integers(0, 2, (40, 8, 8)).astype(np.uint8) * 255)
np.save("faces.npy", np.arange(60 * 64, dtype=np.uint8).reshape(60, 8, 8))
for name, words in here.COMMANDS.items():
    before = {path: path.stat().st_mtime_ns for path in pathlib.Path().rglob("*")}
    arguments = []
    for word in words:
        text = sys.argv[1] if word == "JOBS" else str(word)
        arguments += sorted(map(str, pathlib.Path().glob(text))) if "*" in text else [text]
    result = CliRunner().invoke(app, arguments)
    if result.exit_code or result.exception:
        sys.exit(f"{name}: {result.stderr}{result.exception!r}")
    files = [path for path in pathlib.Path().rglob("*") if path.is_file()]
    made = [path for path in files if before.get(path) != path.stat().st_mtime_ns]
    folder = pathlib.Path("told")
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.stdout").write_text(result.stdout)
    (folder / f"{name}.files").write_text("\\n".join(sorted(map(str, made))))
"""
KINDS = "label,male\n" + "".join(f"{n % 3},{n % 2}\n" for n in range(60))
RECIPE = """
title = "a comparison"
source = "a table"
data = ["grid"]
minutes = 0.1
seeds = [0]
commands = ["aekit compare grid/results.csv --with study.csv --by latent -o {out}/x.csv"]

[[values]]
name = "error"
file = "{out}/x.csv"
column = "ours"
where = { latent = 2 }
published = 9
tolerance = 0
direction = "lower"
"""
STUDY = "latent,test_mse\n2,0.06\n3,0.05\n4,0.04\n"


@pytest.fixture(scope="session")
def twice(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return two folders in which all commands ran, with other hashes and another number of processes."""
    folders, processes = [], []
    with children() as start:
        for jobs in (1, 2):
            folder = tmp_path_factory.mktemp(f"jobs{jobs}") / "study"
            folder.mkdir()
            environment = os.environ | {
                "PYTHONHASHSEED": str(jobs),
                "PYTHONPATH": os.pathsep.join([*_MODULES, os.environ.get("PYTHONPATH", "")]),
                "AEKIT_CACHE": str(folder.parent / "cache"),
            }
            folders.append(folder)
            command = [sys.executable, "-c", RUN_ALL, str(jobs)]
            processes.append(start(command, cwd=folder, env=environment, stderr=subprocess.PIPE))
        for process in processes:
            _, stderr = process.communicate(timeout=600)
            assert process.returncode == 0, stderr.decode()
    return folders


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_gives_the_same_bytes_twice(twice: list[Path], command: str) -> None:
    one, two = twice
    names = (one / "told" / f"{command}.files").read_text().split("\n")
    assert names == (two / "told" / f"{command}.files").read_text().split("\n")
    assert (one / "told" / f"{command}.stdout").read_text() == (two / "told" / f"{command}.stdout").read_text()
    assert any(names) or command in ("data", "info")
    for name in filter(None, names):
        if "told/" not in name:
            assert _but_times(one / name) == _but_times(two / name), name


def test_every_command_is_among_them() -> None:
    assert set(cli.COMMANDS) == {str(words[0]) for words in COMMANDS.values()}


def _but_times(path: Path) -> bytes | list[list[str]]:
    content = path.read_bytes()
    if path.suffix != ".csv":
        return content
    rows = list(csv.reader(io.StringIO(content.decode())))
    kept = [i for i, name in enumerate(rows[0]) if name not in TIMES]
    return [[row[i] for i in kept] for row in rows] if len(kept) < len(rows[0]) else content
