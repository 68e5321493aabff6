"""Tab offers what fits at its place, is one word to the shell, and loads nothing heavy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aekit.brains.config import Augmentation
from aekit.images.config import Arch
from aekit.terminal import completion

pytestmark = pytest.mark.slow  # each trains, draws or starts the program

# As the script that pip writes, which a test environment need not have on its path.
START = "import sys; sys.argv[0] = 'aekit'; from aekit.cli import main; main()"
HEAVY = ("torch", "numpy", "pandas", "matplotlib", "sklearn", "scipy", "PIL", "nibabel")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in (
        "runs/a.safetensors",
        "runs/ab.safetensors",
        "runs/a.resume.safetensors",
        "runs/a.csv",
        "paper.toml",
        "x.safetensors",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tab(monkeypatch):
    """Return a function that returns what bash is offered for the last word."""
    import typer
    from typer.testing import CliRunner

    from aekit.cli import app

    def offered(*words: str) -> list[str]:
        environment = {"COMP_WORDS": "\n".join(["aekit", *words]), "COMP_CWORD": str(len(words))}
        environment["_AEKIT_COMPLETE"] = "complete_bash"
        result = CliRunner().invoke(app, [], env=environment, prog_name="aekit")
        assert isinstance(result.exception, (SystemExit, typer.Exit, type(None)))
        return result.stdout.split("\n")[:-1] if result.stdout.strip() else []

    return offered


def test_checkpoints_are_finished_ones_and_folders(folder):
    assert completion.checkpoints("") == ["runs/", "x.safetensors"]
    assert completion.checkpoints("runs/") == ["runs/a.safetensors", "runs/ab.safetensors"]
    assert completion.checkpoints("runs/ab") == ["runs/ab.safetensors"]
    assert completion.checkpoints("nowhere/") == []


def test_a_single_folder_is_entered_as_a_shell_would_put_a_space_behind_it(folder):
    (folder / "deep" / "er").mkdir(parents=True)
    assert completion.checkpoints("ru") == ["runs/a.safetensors", "runs/ab.safetensors"]
    (folder / "deep" / "er" / "z.safetensors").touch()
    assert completion.checkpoints("d") == ["deep/er/z.safetensors"]


def test_a_home_folder_stays_as_it_was_typed(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    assert completion.checkpoints("~/x") == ["~/x.safetensors"]


def test_hidden_files_are_offered_if_asked_for(folder):
    (folder / ".h.safetensors").touch()
    assert ".h.safetensors" not in completion.checkpoints("")
    assert completion.checkpoints(".h") == [".h.safetensors"]


def test_the_last_item_of_a_list_is_completed_and_none_offered_twice():
    complete = completion.several_of(("flip", "shift", "gain"))
    assert complete("") == ["flip", "shift", "gain"]
    assert complete("flip,") == ["flip,shift", "flip,gain"]
    assert complete("flip,s") == ["flip,shift"]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["train-"], ["train-ae", "train-vae"]),
        (["tsne", "--meth"], ["--method"]),
        (["tsne", "--method", ""], ["tsne", "pca"]),
        (["tsne", "runs/"], ["runs/a.safetensors", "runs/ab.safetensors"]),
        (["tsne", "x.safetensors", "runs/ab"], ["runs/ab.safetensors"]),
        (["mri-predict", "runs/ab"], ["runs/ab.safetensors"]),
        (["mri-explain", "runs/ab"], ["runs/ab.safetensors"]),
        (["mri-explain", "x.safetensors", "x.nii", "--model", ""], ["chain", "direct"]),
        (["neighbours", "runs/ab"], ["runs/ab.safetensors"]),
        (["neighbours", "x.safetensors", "--codes", "runs/ab"], ["runs/ab.safetensors"]),
        (["train-vae", "--data", "mn"], ["mnist"]),
        (["train-vae", "--data", "ru"], ["runs/a.safetensors", "runs/ab.safetensors"]),
        (["data", "fashion"], ["fashion-mnist"]),
        (["train-ae", "--device", ""], ["auto", "cpu", "cuda", "mps"]),
        (["train-ae", "--arch", ""], list(Arch.__args__)),
        (["sweep", "--arch", "conv,de"], ["conv,dense"]),
        (["sweep", "--data", "mnist,k"], ["mnist,kmnist"]),
        (["probe", "x", "--methods", "frozen,s"], ["frozen,scratch", "frozen,spread"]),
        (["mri-train", "t", "--augment", ""], list(Augmentation.__args__)),
        (["compare", "runs/"], ["runs/a.csv"]),
        (["decode", "runs/a"], ["runs/a.safetensors", "runs/ab.safetensors"]),
        (["decode", "x.safetensors", "runs/a"], ["runs/a.csv", "runs/a.safetensors", "runs/ab.safetensors"]),
        (["reproduce", "mnist-vae-"], ["mnist-vae-1", "mnist-vae-grid"]),
        (["reproduce", "al"], ["all"]),
        (["reproduce", "pa"], ["paper.toml"]),
        (["train-vae", "-o", "ru"], []),  # the shell completes paths
    ],
)
def test_a_place_has_its_candidates(folder, tab, words, offered):
    assert tab(*words) == offered


def test_a_name_with_spaces_is_one_word_of_bash(folder, tab):
    (folder / "my runs").mkdir()
    (folder / "my runs" / "it's $x (1).safetensors").touch()
    (offered,) = tab("tsne", "my\\ r")
    shown = subprocess.run(["bash", "-c", f"printf %s {offered}"], capture_output=True, text=True, check=True).stdout
    assert shown == "my runs/it's $x (1).safetensors"
    assert tab("tsne", '"my r') == [shown]  # within quotes as it is


def test_bash_itself_gets_the_candidates(folder, tmp_path):
    if not shutil.which("bash"):
        pytest.skip("no bash")
    command = tmp_path / "bin" / "aekit"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{START}" "$@"\n')
    command.chmod(0o755)
    script = (
        'eval "$(_AEKIT_COMPLETE=source_bash aekit)"\n'
        "complete -p aekit\n"
        "COMP_WORDS=(aekit tsne runs/); COMP_CWORD=2; _aekit_completion aekit\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    environment = os.environ | {"PATH": f"{command.parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert done.stderr == ""
    first, *offered = done.stdout.splitlines()
    assert first.endswith("aekit")
    assert offered == ["runs/a.safetensors", "runs/ab.safetensors"]


@pytest.mark.parametrize("words", [["tr"], ["tsne", "runs/"], ["train-vae", "--data", ""]])
def test_completing_loads_nothing_heavy(folder, words):
    environment = os.environ | {"COMP_WORDS": "\n".join(["aekit", *words]), "COMP_CWORD": str(len(words))}
    environment["_AEKIT_COMPLETE"] = "complete_bash"
    report = "import atexit, sys; atexit.register(lambda: print('|'.join(sys.modules), file=sys.stderr)); "
    done = subprocess.run(
        [sys.executable, "-c", report + START], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.strip()
    assert not set(HEAVY) & set(done.stderr.splitlines()[-1].split("|"))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(shell):
    environment = os.environ | {"_AEKIT_COMPLETE": f"source_{shell}"}
    done = subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, env=environment, check=True)
    assert f"_AEKIT_COMPLETE=complete_{shell}" in done.stdout
    assert Path(sys.executable).name not in done.stdout
