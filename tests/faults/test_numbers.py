"""Numbers that go wrong: a result is finite, or it is refused by the name of what is wrong."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from aekit.core.checkpoint import read_header
from aekit.core.weights import write_checkpoint

PHOTO = Path(__file__).parents[2] / "docs" / "aekit.png"
ANALYSES = (
    ("reconstruct",),
    ("encode",),
    ("decode", "model.codes.safetensors"),  # of the line before
    ("evaluate",),
    ("decorrelation",),
    ("compare-codes",),
    ("outliers", "--fpr", "0.2"),
    ("neighbours", PHOTO),
    ("samples-quality", "--density", "gaussian,gmm", "--gaussians", 2),
    ("pca-compare",),
    ("tsne",),
    ("explore",),
    ("interpolate",),
    ("sample",),
    ("export", "--format", "torchscript"),
    ("export", "--format", "hub"),
    ("probe", "--labels", "3,5", "--draws", 2, "--methods", "frozen,logistic,spread,pixels,pca"),
)
NOISE = np.random.default_rng(0).random((80, 8, 8))
THIRDS = np.arange(80) % 3
SETS = {
    "black images": (np.zeros((80, 8, 8), np.uint8), THIRDS),
    "white images": (np.full((80, 8, 8), 255, np.uint8), THIRDS),
    "grey images": (np.full((80, 8, 8), 0.5), THIRDS),
    "a class of one image": (NOISE, np.where(np.arange(80) == 7, 3, THIRDS)),
    "a single class": (NOISE, np.zeros(80, np.int64)),
    "fewer images than dimensions": (NOISE[:30], THIRDS[:30]),
    "two images": (NOISE[:2], THIRDS[:2]),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ae", "vae"])
@pytest.mark.parametrize("images", SETS)
def test_whatever_the_images_results_are_finite_or_refused(aekit, tmp_path, monkeypatch, images, kind):
    monkeypatch.chdir(tmp_path)  # a checkpoint knows the name of its images, not their folder
    pixels, labels = SETS[images]
    np.savez(tmp_path / "x.npz", images=pixels, labels=labels)
    path = tmp_path / "model.safetensors"
    trained = aekit(f"train-{kind}", "--data", "x.npz", "--latent", 40, "--epochs", 2, "-o", path)
    if trained.exit_code == 0:
        _is_finite(path.with_suffix(".csv"))
    else:
        _is_one_line(trained)
        return
    n_done = 0
    for command, *options in ANALYSES:
        result = aekit(command, path, *options)
        if result.exit_code:
            _is_one_line(result)
        else:
            n_done += 1
        for made in result.paths:
            _is_finite(made)
            _is_finite(made.with_suffix(".csv"))
    assert n_done >= 5


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize(("command", "options"), [(command, options) for command, *options in ANALYSES])
def test_weights_that_are_not_finite_are_refused_by_name(aekit, vae_checkpoint, tmp_path, command, options, value):
    path = _changed(vae_checkpoint, tmp_path, only="mean_head.weight", value=value)
    result = aekit(command, path, *options)
    assert result.exit_code == 1
    expected = f"aekit: {path}: its weights are not finite (mean_head.weight); train it again, with a lower --lr"
    assert result.stderr.splitlines()[-1] == expected


@pytest.mark.parametrize(
    "command",
    [
        "reconstruct",
        "decode",
        "export",
        "export decoder",
        "export hub",
        "encode",
        "evaluate",
        "decorrelation",
        "compare-codes",
        "outliers",
        "pca-compare",
        "samples-quality",
        "tsne",
        "explore",
    ],
)
def test_a_network_that_overflows_is_refused_by_name_and_writes_nothing(
    aekit, vae_checkpoint, tmp_path, tmp_path_factory, command
):
    path = _changed(vae_checkpoint, tmp_path, only=None, value=1e30)
    options = {
        "export": ("--format", "torchscript"),
        "export decoder": ("--format", "torchscript", "--part", "decoder"),
        "export hub": ("--format", "hub"),
    }
    if command == "decode":
        codes = tmp_path_factory.mktemp("codes") / "codes.csv"
        # Such a decoder makes infinite logits, which a sigmoid turns into pixels that look fine.
        codes.write_text("z0,z1\n0,0\n0.5,-1\n-3,1\n")
        options["decode"] = (codes,)
    result = aekit(command.split()[0], path, *options.get(command, ()))
    assert result.exit_code == 1
    assert f"aekit: {path}: its " in result.stderr.splitlines()[-1]
    assert "not finite for" in result.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "options",
    [
        ("--lr", 10),
        ("--lr", 10, "--precision", "bf16"),
        ("--lr", 1e30),
        ("--beta", 1e38),
        ("--loss", "gaussian", "--lr", 10),
    ],
)
def test_a_training_that_diverges_says_what_to_change_and_leaves_no_result(aekit, tmp_path, options):
    path = tmp_path / "x.safetensors"
    result = aekit("train-vae", "--data", "digits", "--limit", 300, "--epochs", 2, *options, "-o", path)
    if result.exit_code == 0:  # a rate that is far too high need not diverge
        _is_finite(path.with_suffix(".csv"))
        return
    assert "stopped being finite" in result.stderr
    assert "lower --lr" in result.stderr
    _is_one_line(result)
    assert not path.exists()


def test_a_huge_beta_is_trained_on(aekit, tmp_path):
    path = tmp_path / "x.safetensors"
    result = aekit("train-vae", "--data", "digits", "--limit", 300, "--epochs", 2, "--beta", 1e6, "-o", path)
    assert result.exit_code == 0, result.stderr
    _is_finite(path.with_suffix(".csv"))


def _changed(checkpoint: Path, folder: Path, *, only: str | None, value: float) -> Path:
    tensors = load_file(checkpoint)
    for name, tensor in tensors.items():
        if only in (None, name):
            tensor[...] = value
    return write_checkpoint(folder / "changed.safetensors", tensors, read_header(checkpoint))


def _is_one_line(result) -> None:
    assert result.exit_code == 1
    line = result.stderr.splitlines()[-1]
    assert line.startswith("aekit: ")
    assert "; " in line
    assert "Traceback" not in result.stderr


def _is_finite(path: Path) -> None:
    """Check that no cell or value of a table or a JSON file is NaN or infinite; what has no value is empty."""
    if path.suffix == ".json":
        json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{path}: {name}"))
    elif path.suffix == ".csv" and path.exists():
        with path.open() as file:
            for row in csv.reader(file):
                assert not {"nan", "inf", "-inf"} & {cell.lower() for cell in row}, f"{path}: {row}"
