"""What commands do not load: each of these libraries takes as long to import as most of what a command does."""

from __future__ import annotations

import subprocess
import sys

import pytest

COMPILER = {"torch._dynamo", "torch._inductor", "sympy"}
NEVER = COMPILER | {"torchvision", "onnx", "matplotlib.pyplot", "sklearn", "openTSNE", "nibabel", "bokeh"}
TABLES = NEVER | {"pandas", "scipy"}
_SCRIPT = """
import sys
from aekit.cli import main
sys.argv = ["aekit", *sys.argv[1:]]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print("|".join(sys.modules), file=sys.stderr)
"""


def _loaded_by(*words: object) -> set[str]:
    line = [sys.executable, "-c", _SCRIPT, *map(str, words), "--threads", "1", "-q"]
    done = subprocess.run(line, capture_output=True, text=True, check=True, timeout=300)
    return set(done.stderr.splitlines()[-1].split("|"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "options", "absent"),
    [
        ("encode", ["-o", "x.csv"], TABLES | {"matplotlib"}),
        ("evaluate", ["-o", "x.json"], TABLES),
        ("evaluate", ["--importance", "2", "-o", "x.json"], TABLES),
        ("reconstruct", ["--worst", "-o", "x.png"], TABLES),
        ("sample", ["--codes", "codes.csv", "-o", "x.png"], TABLES),
        ("sample", ["--manifold", "-o", "x.png"], TABLES),
        ("sample", ["--density", "two-stage", "-o", "x.png"], TABLES),
        ("decorrelation", ["-o", "x.png"], NEVER | {"scipy.stats"}),
        ("interpolate", ["-o", "x.png"], NEVER | {"scipy.stats", "scipy.optimize"}),
        ("pca-compare", ["-o", "x.png"], NEVER | {"scipy.stats"}),
        ("probe", ["--labels", "10", "--draws", "1", "--methods", "frozen", "-o", "x.png"], COMPILER),
    ],
)
def test_a_study_of_a_model_does_not_load(vae_checkpoint, tmp_path, monkeypatch, command, options, absent):
    monkeypatch.chdir(tmp_path)
    assert not _loaded_by(command, vae_checkpoint, *options) & absent


@pytest.mark.slow
def test_decoding_does_not_load(vae_checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tmp_path.joinpath("codes.csv").write_text("file,z0,z1\na.png,0,1\nb.png,1,0\n")
    assert not _loaded_by("decode", vae_checkpoint, "codes.csv", "-o", "x.png") & TABLES


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "absent"),
    # An objective of whole batches gives autograd gradients to go on from, for which it imports sympy.
    [([], TABLES), (["--objective", "factor"], TABLES - {"sympy"})],
    ids=["elbo", "factor"],
)
def test_training_does_not_load(tmp_path, options, absent):
    words = [
        "train-vae",
        "--data",
        "digits",
        "--epochs",
        "1",
        "--limit",
        "100",
        *options,
        "-o",
        tmp_path / "x.safetensors",
    ]
    assert not _loaded_by(*words) & absent
