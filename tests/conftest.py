"""What several tests share: the command line in this process, and small checkpoints made once a session."""

from __future__ import annotations

import gc
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

# The tests run beside each other's subprocesses on few cores; one thread each is fastest and repeats to the bit.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.pop("AEKIT_CACHE", None)

pytest_plugins = ["browser", "children", "firefox"]

RunCommand = Callable[..., "Result"]


def pytest_collection_finish() -> None:
    """Leave modules and collected tests, which live to the end, out of what is searched for garbage: a tenth faster."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _text(stream: io.BytesIO) -> str:
    return stream.getvalue().decode("utf-8", "replace").replace("\r\n", "\n")


class Result:
    """What a command left: its exit code and both streams."""

    def __init__(self, exit_code: int, stdout: str, stderr: str) -> None:
        self.exit_code = exit_code
        self.stdout = stdout
        self.stderr = stderr

    @property
    def paths(self) -> list[Path]:
        """Return the lines of stdout as paths."""
        return [Path(line) for line in self.stdout.splitlines()]


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["AEKIT_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def aekit() -> RunCommand:
    """Return a function that runs a command line in this process."""
    from aekit.cli import app

    command = get_command(app)  # once: to read the signatures of all commands takes as long as most of what they refuse

    def run(*arguments: object, stdin: str | None = None) -> Result:
        exit_code = 0
        with CliRunner().isolation(input=stdin) as (stdout, stderr, _):
            try:
                command.main([str(argument) for argument in arguments], prog_name="aekit")
            except SystemExit as end:
                exit_code = end.code
            sys.stdout.flush()
            sys.stderr.flush()
            return Result(exit_code, _text(stdout), _text(stderr))

    return run


def _trained(aekit: RunCommand, folder: Path, command: str, *options: object) -> Path:
    path = folder / f"{command.removeprefix('train-')}.safetensors"
    result = aekit(command, "--data", "digits", "--epochs", 3, "--limit", 300, *options, "-o", path)
    assert result.exit_code == 0, result.stderr
    return path


@pytest.fixture(scope="session")
def vae_checkpoint(aekit: RunCommand, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a VAE of two latent dimensions, trained on a few digits of 8 x 8."""
    return _trained(aekit, tmp_path_factory.mktemp("vae"), "train-vae", "--latent", 2, "--val", 0.2)


@pytest.fixture(scope="session")
def ae_checkpoint(aekit: RunCommand, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an autoencoder of three latent dimensions, trained on a few digits of 8 x 8."""
    return _trained(aekit, tmp_path_factory.mktemp("ae"), "train-ae", "--latent", 3)


@pytest.fixture(scope="session")
def phantom_cohort(aekit: RunCommand, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with participants.tsv and volumes/ of 40 synthetic people, 16 voxels of 12 mm a side."""
    folder = tmp_path_factory.mktemp("phantom") / "cohort"
    result = aekit("mri-phantom", "-n", 40, "--size", 16, "--jobs", 1, "-o", folder)
    assert result.exit_code == 0, result.stderr
    return folder


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Return a checkpoint of an untrained network."""
    from small_checkpoint import dense_header

    from aekit.core.weights import write_checkpoint
    from aekit.images.config import ModelConfig
    from aekit.images.models import build_model

    model = build_model(ModelConfig(arch="dense", latent=2, width=8), (1, 28, 28))
    return write_checkpoint(tmp_path / "x.safetensors", model.state_dict(), dense_header())
