"""Many of everything: checkpoints, files, people, cells, commands at once; memory stays bounded."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

MOST_MIB = 1500  # of one process, whatever the number of inputs; torch alone takes 600

# The peak of a process begins with that of the one that started it, so a small one must: this one may have gigabytes.
_MEASURE = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=open(sys.argv[1], "w"))
sys.exit(code)
"""


@dataclass(frozen=True)
class Finished:
    """What a process left: its words, its peak of memory and the time it took."""

    exit_code: int
    stdout: str
    stderr: str
    mib: int
    seconds: float


@pytest.fixture
def run(tmp_path):
    """Return a function that runs a command line as a process of its own in a folder of its own."""

    def start(*arguments: object, stdin: str = "", cache: Path | None = None) -> Finished:
        environment = os.environ | {"AEKIT_CACHE": str(cache or tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
        names = [tmp_path / f"{time.monotonic_ns()}.{suffix}" for suffix in ("in", "out", "err", "peak")]
        names[0].write_text(stdin)
        started = time.monotonic()
        with names[0].open() as stdin_file, names[1].open("w") as stdout, names[2].open("w") as stderr:
            finished = subprocess.run(
                [sys.executable, "-S", "-c", _MEASURE, names[3], sys.executable, "-m", "aekit", *map(str, arguments)],
                stdin=stdin_file, stdout=stdout, stderr=stderr, env=environment, cwd=tmp_path, check=False,
            )  # fmt: skip
        return Finished(
            finished.returncode,
            names[1].read_text(),
            names[2].read_text(),
            int(names[3].read_text()) // 1024,
            round(time.monotonic() - started, 1),
        )

    return start


@pytest.mark.slow
def test_eight_commands_at_once_share_a_cache_that_is_made_once(run, tmp_path):
    _pictures(tmp_path / "photos", n_classes=2, n_each=150)
    options = ("--data", "photos", "--image-size", 16, "--epochs", 1, "--latent", 2, "--threads", 1)
    with ThreadPoolExecutor(8) as pool:
        finished = list(pool.map(lambda i: run("train-ae", *options, "-o", f"{i}.safetensors"), range(8)))
    assert [each.exit_code for each in finished] == [0] * 8, [each.stderr for each in finished]
    assert len({(tmp_path / f"{i}.safetensors").read_bytes() for i in range(8)}) == 1
    caches = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in caches) < 2 * 300 * 3 * 16 * 16, caches


@pytest.mark.parametrize(
    "n", [pytest.param(200, marks=pytest.mark.slow), pytest.param(10_000, marks=pytest.mark.faults)]
)
def test_many_checkpoints_on_stdin_take_the_memory_of_one(run, record, ae_checkpoint, tmp_path, n):
    names = [f"c{i:05d}.safetensors" for i in range(n)]
    for name in names:
        os.link(ae_checkpoint, tmp_path / name)
    told = run("info", "-", stdin="\n".join(names))
    compared = run("pca-compare", "-", "-q", "-o", "pca.png", stdin="\n".join(names))
    assert told.stdout.splitlines() == names
    assert compared.exit_code == 0, compared.stderr
    assert len(pd.read_csv(tmp_path / "pca.csv").query("model != 'PCA'")) >= n
    assert max(told.mib, compared.mib) < MOST_MIB
    if n >= 10_000:
        record("load-checkpoints", n=n, info_s=told.seconds, pca_compare_s=compared.seconds, mib=compared.mib)


@pytest.mark.parametrize(
    "n_each", [pytest.param(500, marks=pytest.mark.slow), pytest.param(50_000, marks=pytest.mark.faults)]
)
def test_a_folder_of_many_files_is_listed_without_reading_them(run, record, tmp_path, n_each):
    _pictures(tmp_path / "photos", n_classes=20, n_each=n_each)
    trained = run("train-ae", "--data", "photos", "--limit", 500, "--epochs", 1, "--latent", 2, "-o", "x.safetensors")
    assert trained.exit_code == 0, trained.stderr
    assert trained.mib < MOST_MIB
    if n_each >= 50_000:
        record("load-files", n=20 * n_each, seconds=trained.seconds, mib=trained.mib)


@pytest.mark.parametrize(
    "n", [pytest.param(20_000, marks=pytest.mark.slow), pytest.param(1_000_000, marks=pytest.mark.faults)]
)
def test_a_cohort_of_many_people_is_described(run, record, tmp_path, n):
    draw = np.random.default_rng(0)
    age = draw.uniform(18, 90, n).round(1)
    table = pd.DataFrame(
        {
            "participant_id": [f"sub-{i:07d}" for i in range(n)],
            "age": age,
            "sex": draw.choice(["F", "M"], n),
            "site": draw.choice(list("ABCD"), n),
            "gmv": (800 - 3 * age + draw.normal(0, 40, n)).round(1),
            "wmv": (600 - age + draw.normal(0, 40, n)).round(1),
            "csfv": (250 + 2 * age + draw.normal(0, 40, n)).round(1),
        }
    )
    table.loc[5, "gmv"] = np.nan
    table.to_csv(tmp_path / "people.tsv", sep="\t", index=False)
    described = run("mri-eda", "people.tsv", "-o", "eda")
    assert described.exit_code == 0, described.stderr
    found = pd.read_csv(tmp_path / "eda" / "participants.tsv", sep="\t", usecols=["participant_id"])
    assert len(found) == n
    assert described.mib < MOST_MIB
    if n >= 1_000_000:
        record("load-people", n=n, seconds=described.seconds, mib=described.mib)


@pytest.mark.faults
def test_a_sweep_of_a_thousand_cells_ends_with_a_row_for_each(run, record, tmp_path):
    options = ("--model", "ae", "--arch", "dense", "--data", "digits", "--limit", 60, "--epochs", 1, "--jobs", 2, "-q")
    swept = run("sweep", *options, "--latent", "2-21", "--seed", "0-49", "-o", "grid")
    assert swept.exit_code == 0, swept.stderr
    assert len(swept.stdout.splitlines()) == len(pd.read_csv(tmp_path / "grid" / "results.csv")) == 1000
    assert swept.mib < MOST_MIB
    record("load-cells", n=1000, seconds=swept.seconds, mib=swept.mib)


def _pictures(folder: Path, *, n_classes: int, n_each: int) -> None:
    """Make folders of images, of which each picture has many names: a file takes no room of its own."""
    draw = np.random.default_rng(0)
    for number in range(n_classes):
        own = folder / f"class{number:02d}"
        own.mkdir(parents=True)
        Image.fromarray(draw.integers(0, 255, (12, 12, 3), dtype=np.uint8)).save(own / "i00000.png")
        for i in range(1, n_each):
            os.link(own / "i00000.png", own / f"i{i:05d}.png")
