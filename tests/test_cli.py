"""Bad input gets one line on stderr that says what, where and what to do, the right exit code, and leaves nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

QUICK = ["--data", "digits", "--epochs", 1, "--limit", 20]
# Values that are wrong only for these data, this model or this machine.
WRONG_HERE = (
    ["--batch-size", 21], ["--keep", "best"], ["--arch", "strided"], ["--arch", "dense", "--layers", 99],
    ["--device", "cuda:99"], ["--data", "digist"], ["--data", "/nowhere/faces.npz"],
)  # fmt: skip


def _refused(result, code: int, *words: str) -> None:
    assert result.exit_code == code, result.stderr
    assert result.stdout == ""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    for word in words:
        assert word in lines[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--latent", 0], ["--latent: 0", "1 or more"]),
        (["--beta", -1], ["--beta: -1", "0 or more"]),
        (["--beta", "nan"], ["--beta"]),
        (["--val", 1], ["--val: 1.0", "[0, 1)"]),
        (["--val", -0.1], ["--val"]),
        (["--epochs", 0], ["--epochs"]),
        (["--lr", 0], ["--lr"]),
        (["--limit", 0], ["--limit"]),
        (["--layers", 0], ["--layers"]),
        (["--samples-per-epoch", 0], ["--samples-per-epoch"]),
        (["--batch-size", 21], ["--batch-size: 21", "20 images"]),
        (["--image-size", "big"], ["--image-size", "218x178"]),
        (["--image-size", 4], ["--image-size", "8"]),
        (["--keep", "best"], ["--keep best", "--val"]),
        (["--arch", "strided"], ["--arch strided", "height 28", "height 8"]),
        (["--device", "cuda:99"], ["--device cuda:99"]),
        (["--device", "gpu"], ["--device", "'gpu'"]),
        (["--threads", 0], ["--threads"]),
        (["--beta-warmup", 3], ["--beta-warmup", "never"]),
        (["--arch", "dense", "--layers", 99], ["--layers"]),
        (["--data", "digist"], ["digist", "did you mean 'digits'"]),
        (["--data", "/nowhere/faces.npz"], ["/nowhere/faces.npz"]),
    ],
)
def test_values_that_cannot_be_are_refused_in_one_line(aekit, tmp_path, options, words):
    output = tmp_path / "x.safetensors"
    code = 1 if options in WRONG_HERE else 2
    _refused(aekit("train-vae", *QUICK, *options, "-o", output), code, *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train-vae", "--arch", "cnov"], ["aekit train-vae:", "--arch", "cnov", "did you mean 'conv'", "--help"]),
        (["train-vae", "--loss", "mse"], ["--loss", "mse"]),
        (["train-vae", "--latent", "ten"], ["--latent", "'ten' is not a whole number; see"]),
        (["train-vae", "--lr", "fast"], ["--lr", "'fast' is not a number; see"]),
        (["train-vae", "--latnet", "3"], ["--latnet; did you mean '--latent'? See aekit train-vae --help"]),
        (["train-vea"], ["train-vea", "train-vae"]),
        (["--nonsense"], ["--nonsense"]),
    ],
)
def test_usage_errors_are_one_line_with_exit_code_2(aekit, arguments, words):
    _refused(aekit(*arguments), 2, *words)


def test_an_existing_output_is_never_destroyed(aekit, tmp_path):
    output = tmp_path / "x.safetensors"
    output.write_bytes(b"precious")
    _refused(aekit("train-vae", *QUICK, "-o", output), 1, "--overwrite", "--resume")
    assert output.read_bytes() == b"precious"
    assert aekit("train-vae", *QUICK, "-o", output, "--overwrite").exit_code == 0
    assert output.read_bytes() != b"precious"


@pytest.mark.parametrize("command", [
    ["train-vae", "--data", "digits"], ["encode", "x.safetensors"], ["tsne", "x.safetensors"], ["report", "runs"],
    ["export", "x.safetensors"], ["mri-eda", "x.csv"],
    ["sweep", "--data", "digits"],
])  # fmt: skip
def test_stdout_is_no_place_for_a_result(aekit, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    _refused(aekit(*command, "-o", "-"), 2, "--output -: stdout carries paths, not results; give a file")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".csv", ".png"])
def test_another_run_s_history_is_not_replaced(aekit, tmp_path, suffix):
    (tmp_path / f"x{suffix}").write_text("precious")
    _refused(
        aekit("train-vae", *QUICK, "-o", tmp_path / "x.safetensors"), 1, f"x{suffix}: already exists", "--overwrite"
    )
    assert [path.name for path in tmp_path.iterdir()] == [f"x{suffix}"]


def test_a_checkpoint_ends_in_safetensors_or_goes_into_a_folder(aekit, tmp_path):
    _refused(aekit("train-vae", *QUICK, "-o", tmp_path / "x.csv"), 1, "x.csv", ".safetensors")
    result = aekit("train-vae", *QUICK, "-o", tmp_path / "new", "-q")
    assert result.paths == [tmp_path / "new" / "vae-digits-conv-z10-limit20-epochs1.safetensors"]


@pytest.mark.parametrize(
    ("command", "name"),
    [("encode", "vae.safetensors"), ("encode", "vae.csv"), ("reconstruct", "vae.png"), ("evaluate", "vae.json")],
)
def test_a_result_never_replaces_a_checkpoint_or_what_belongs_to_it(aekit, vae_checkpoint, command, name):
    before = {path: path.read_bytes() for path in vae_checkpoint.parent.iterdir()}
    _refused(aekit(command, vae_checkpoint, "-o", vae_checkpoint.with_name(name)), 1, name, "another name")
    assert {path: path.read_bytes() for path in vae_checkpoint.parent.iterdir()} == before


def test_images_are_not_replaced_by_the_model_that_is_trained_on_them(aekit, tmp_path):
    from safetensors.numpy import save_file

    images = tmp_path / "x.safetensors"
    save_file({"images": np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)}, images)
    _refused(aekit("train-vae", "--data", images, "-o", images, "--overwrite"), 1, "is the file of images")


def test_images_that_moved_are_asked_for_by_option(aekit, tmp_path, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "mine.npy", images)
    output = tmp_path / "x.safetensors"
    assert aekit("train-vae", "--data", tmp_path / "mine.npy", "--epochs", 1, "-q", "-o", output).exit_code == 0
    _refused(aekit("encode", output), 1, "x.safetensors: cannot find the images", "'mine.npy'", "--data")
    assert aekit("encode", output, "--data", tmp_path / "mine.npy", "-q").exit_code == 0
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "mine.npy", images[::-1])  # others under the same name must not pass for them
    _refused(aekit("encode", output), 1, "not those that it was trained with", "--data")


def test_overwrite_and_resume_exclude_each_other(aekit, tmp_path):
    options = ["--overwrite", "--resume", "-o", tmp_path / "x.safetensors"]
    _refused(aekit("train-vae", *QUICK, *options), 1, "--overwrite, --resume")


def test_a_folder_that_cannot_be_made_is_refused_before_training(aekit, tmp_path):
    (tmp_path / "file").touch()
    _refused(aekit("train-vae", *QUICK, "-o", tmp_path / "file" / "x.safetensors"), 1, "cannot be written", "--output")


def test_a_diverging_run_says_where_and_what_to_try(aekit, tmp_path):
    options = ["--data", "digits", "--epochs", 3, "--lr", 1e30, "--schedule", "constant"]
    result = aekit("train-vae", *options, "-o", tmp_path / "x.safetensors", "--quiet")
    _refused(result, 1, "epoch 1", "--lr")
    assert not (tmp_path / "x.safetensors").exists()


def test_control_characters_in_a_name_are_shown_escaped(aekit):
    result = aekit("train-vae", "--data", "a\x1b[31m")
    assert "\x1b" not in result.stderr
    assert "\\x1b" in result.stderr


def test_help_is_shown_without_a_command_and_with_either_flag(aekit):
    for arguments in ([], ["-h"], ["--help"]):
        result = aekit(*arguments)
        assert result.exit_code == 0
        assert "train-vae" in result.stdout


@pytest.mark.slow
def test_a_closed_pipe_ends_quietly(tmp_path):
    script = (
        f"{sys.executable} -m aekit train-vae --data digits --epochs 1 --limit 20 -q -o {tmp_path}/x.safetensors | true"
    )
    done = subprocess.run(["bash", "-o", "pipefail", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(tmp_path):
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)); import signal; "
    limited += "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); from aekit.cli import main; main()"
    command = [
        sys.executable,
        "-c",
        limited,
        "train-vae",
        "--data",
        "digits",
        "--epochs",
        "1",
        "-q",
        "-o",
        "x.safetensors",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, env=os.environ)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "cannot be written" in done.stderr
    assert list(Path(tmp_path).iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ("train-ae", "--data", "digits", "--limit", 60, "--epochs", 1, "-o"),
        ("train-ae", "--data", "digits", "--limit", 60, "--epochs", 1, "--resume", "-o"),
        ("sweep", "--data", "digits", "--limit", 60, "--epochs", 1, "--latent", 2, "-o"),
        ("report", ".", "-o"),
        ("mri-phantom", "-n", 4, "--size", 16, "-o"),
        ("info",),
    ],
)
@pytest.mark.parametrize("length", [pytest.param(250, marks=pytest.mark.slow), 300, 5000])
def test_a_name_that_is_too_long_is_one_line(aekit, tmp_path, monkeypatch, words, length):
    monkeypatch.chdir(tmp_path)
    Path("x.csv").write_text("a\n1\n")  # for the report
    suffix = {"info": ".safetensors", "train-ae": ".safetensors", "report": ".html"}.get(words[0], "")
    result = aekit(*words, f"o/{'n' * (length - len(suffix))}{suffix}")
    if result.exit_code:
        assert result.exit_code == 1
        assert result.stderr.splitlines()[-1].startswith("aekit: o/nnn"), result.stderr
    else:
        assert length == 250


@pytest.mark.parametrize("seed", [-1, 2**32, 10**23, 10**400])
@pytest.mark.parametrize("command", ["train-vae", "sweep", "sample", "mri-phantom", "mri-train"])
def test_a_seed_that_is_no_seed_is_refused_at_once(aekit, vae_checkpoint, tmp_path, command, seed):
    inputs = {"sample": (vae_checkpoint,), "mri-train": ("people.tsv", "--volumes", "volumes")}
    result = aekit(command, *inputs.get(command, ()), "--seed", seed, "-o", tmp_path / "x")
    assert result.exit_code in (1, 2)
    assert "--seed" in result.stderr.splitlines()[-1]
    assert not any(tmp_path.iterdir())


def test_memory_that_cannot_be_had_is_one_line(aekit, vae_checkpoint, tmp_path):
    result = aekit("evaluate", vae_checkpoint, "--importance", 10**12, "-o", tmp_path / "x.json")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("aekit: out of memory; use fewer samples")
    assert list(tmp_path.iterdir()) == []
