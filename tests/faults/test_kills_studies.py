"""SIGKILL anywhere in a study: it leaves no half file, and run again it ends as if nothing had happened."""

from __future__ import annotations

from pathlib import Path

import pytest
from fault_lab import Experiment, Zygote, fsync_faults, kill_everywhere

SMALL = ["--limit", 400, "--threads", 1, "--device", "cpu", "--arch", "dense", "--latent", 2, "--epochs", 1]
OPTIONS = ["--threads", 1, "--device", "cpu"]


@pytest.fixture(scope="module")
def models(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    (folder / "codes.csv").write_text("name,z0,z1\n" + "".join(f"{row},{row / 9:g},-0.5\n" for row in range(9)))
    for name, data in (("vae", "digits"), ("shapes", "shapes")):
        words = ["train-vae", "--data", data, "--image-size", 8, *SMALL, "-o", folder / f"{name}.safetensors"]
        ended = zygote.run(words)
        assert ended.code == 0, ended.err
    return folder


def _study(models: Path, name: str):
    vae = models / "vae.safetensors"
    words = {
        "outliers": ["outliers", vae, "-n", 4, "--outliers", "shapes"],
        "neighbours": ["neighbours", vae, models / "vae.png", "-k", 4],
        "sample": ["sample", vae, "--density", "gmm", "--gaussians", 2, "-n", 6],
        "samples-quality": ["samples-quality", vae, "--density", "prior,gaussian", "--features", "pca"],
        "compare-codes": ["compare-codes", vae, "--bootstrap", 2],
        "decode": ["decode", vae, models / "codes.csv"],
        "disentangle": ["disentangle", models / "shapes.safetensors", "--samples", 200, "--draws", 1],
    }[name]

    def into(folder: Path) -> list[object]:
        files = ["--each", folder / "each"] if name in ("sample", "decode") else []
        files += ["--codes", folder / "codes.csv"] if name == "sample" else []
        return [*words, *files, *OPTIONS, "-o", folder / ("x.npy" if name == "decode" else "x.png")]

    return into


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["outliers", "neighbours", "sample", "decode", "samples-quality", "compare-codes", "disentangle"]
)
def test_a_study_that_was_killed_and_run_again_ends_with_the_same_bytes(models, zygote, tmp_path, name):
    into = _study(models, name)

    def again(folder: Path) -> list[object]:
        return into(folder)

    def nothing(folder: Path) -> list[object]:
        return ["info", models / "vae.safetensors"]  # the folder of images, which is refused if it is there, comes last

    ways = [again, nothing] if name in ("sample", "decode") else [again]
    lab = kill_everywhere(Experiment(into, ways, prepare=lambda folder: None), zygote, tmp_path, points=2, moments=1)
    assert fsync_faults(lab.points, lambda target: True) == []
