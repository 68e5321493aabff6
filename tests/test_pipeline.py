"""The commands chain in a real shell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

QUICK = "--data digits --limit 60 --epochs 1 --quiet"


def _shell(script: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    aekit = f'aekit() {{ {sys.executable} -m aekit "$@"; }}\n'
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", aekit + script],
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
        env=os.environ | environment,
    )


@pytest.mark.slow
def test_what_one_command_prints_the_next_one_reads(tmp_path):
    done = _shell(f"aekit train-vae {QUICK} --latent 2 | aekit encode - -o codes.csv | xargs cat", tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "index,file,row,label,z0,z1"
    assert len(lines) == 61


@pytest.mark.slow
def test_several_checkpoints_come_through_stdin(tmp_path):
    script = f"for d in 2 3; do aekit train-ae {QUICK} --latent $d; done | aekit evaluate - -o out --quiet"
    done = _shell(script, tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2
    assert all((tmp_path / line).is_file() for line in done.stdout.splitlines())


@pytest.mark.slow
def test_a_sweep_feeds_a_comparison_and_an_interrupted_reader_ends_it_quietly(tmp_path):
    sweep = f"aekit sweep {QUICK} --model ae --latent 2,3,4 -o grid"
    done = _shell(f"{sweep} | aekit pca-compare - -o out/pca.png -q | xargs ls", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "out/pca.png\n"
    assert pd.read_csv(tmp_path / "out" / "pca.csv")["latent"].tolist() == [2, 3, 4]
    assert (tmp_path / "out" / "pca-2d.png").is_file()
    done = _shell(f"{sweep} | head -1", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_makefile_target_repeats_safely(tmp_path):
    makefile = "vae.safetensors:\n\t$(AEKIT) train-vae $(QUICK) --resume -o $@\n"
    makefile += "codes.csv: vae.safetensors\n\t$(AEKIT) encode $< -o $@ -q\n"
    (tmp_path / "Makefile").write_text(makefile)
    make = f"make codes.csv AEKIT='{sys.executable} -m aekit' QUICK='{QUICK}'"
    assert _shell(make, tmp_path).returncode == 0
    written = (tmp_path / "vae.safetensors").stat().st_mtime_ns
    assert _shell(f"touch Makefile; rm codes.csv; {make} -W vae.safetensors", tmp_path).returncode == 0
    assert (tmp_path / "vae.safetensors").stat().st_mtime_ns == written
    assert len(pd.read_csv(tmp_path / "codes.csv")) == 60


@pytest.mark.slow
def test_no_progress_is_drawn_where_there_is_no_terminal(tmp_path):
    done = _shell("aekit train-vae --data digits --limit 60 --epochs 2 -o x.safetensors", tmp_path, FORCE_COLOR="")
    assert done.stdout == "x.safetensors\n"
    assert "\x1b" not in done.stderr
    assert "\r" not in done.stderr
    assert [line.split(":")[:2] for line in done.stderr.splitlines()][-2:] == [["x", " epoch 1"], ["x", " epoch 2"]]
