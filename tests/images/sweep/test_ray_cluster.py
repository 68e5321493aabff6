"""Without Ray, without a cluster, or with options that contradict each other, ``--ray`` ends with one line, at once."""

from __future__ import annotations

import time
from pathlib import Path
from types import ModuleType

import pytest

from aekit.errors import AekitError
from aekit.images.runs import Machine
from aekit.images.sweep import ray_cluster
from aekit.images.sweep.ray_cluster import choose_needs

QUICK = ["--data", "digits", "--limit", 60, "--epochs", 1, "--model", "ae"]


def test_without_ray_one_line_says_how_to_install_it(aekit, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_cluster, "ray", None)
    result = aekit("sweep", *QUICK, "--latent", 2, "--ray", "auto", "-o", tmp_path / "grid")
    assert result.exit_code == 1
    assert result.stderr == "aekit: --ray: needs the package ray; pip install 'aekit[ray]'\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", "cannot be reached (Connection refused); start a cluster with ray start --head"),
        ("ray://127.0.0.1:10001", "a driver outside the cluster is not supported"),
        ("local", "is not an address of a cluster; give auto or HOST:PORT"),
        ("127.0.0.1", "is not an address of a cluster"),
        ("127.0.0.1:99999", "cannot be reached"),
    ],
)
def test_an_address_that_cannot_be_is_one_line_at_once(aekit, tmp_path, monkeypatch, address, message):
    monkeypatch.setattr(ray_cluster, "ray", ModuleType("ray"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    started = time.monotonic()
    result = aekit("sweep", *QUICK, "--latent", 2, "--ray", address, "-o", tmp_path / "grid")
    assert time.monotonic() - started < ray_cluster.ANSWER_SECONDS + 2
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert f"--ray {address}: " in result.stderr
    assert message in result.stderr
    assert not list(tmp_path.iterdir())


def test_only_ray_assigns_gpus_to_cells(aekit):
    result = aekit("sweep", *QUICK, "--gpus-per-cell", 0.5)
    assert result.exit_code == 2
    assert "needs --ray" in result.stderr


@pytest.mark.slow
def test_cells_that_are_all_done_need_no_cluster(aekit, tmp_path, monkeypatch):
    options = [*QUICK, "--latent", "2", "--threads", 1, "-o", tmp_path]
    first = aekit("sweep", *options)
    monkeypatch.setattr(ray_cluster, "ray", None)
    again = aekit("sweep", *options, "--ray", "auto")
    assert again.exit_code == 0
    assert again.stdout == first.stdout


@pytest.mark.parametrize(
    ("device", "gpus", "has_gpu", "wanted"),
    [
        ("auto", None, False, (0, "cpu")),
        ("auto", None, True, (1, "cuda")),
        ("cpu", None, True, (0, "cpu")),
        ("cuda", None, True, (1, "cuda")),
        ("auto", 0.25, True, (0.25, "cuda")),
        ("auto", 0, True, (0, "cpu")),
    ],
)
def test_a_cell_takes_a_gpu_where_there_is_one_unless_the_options_say_otherwise(device, gpus, has_gpu, wanted):
    nodes = [{"Resources": {"CPU": 4.0}}, {"Resources": {"CPU": 4.0} | ({"GPU": 2.0} if has_gpu else {})}]
    needs = choose_needs(Machine(Path("/nowhere"), device), gpus, nodes)
    assert (needs.gpus, needs.device) == wanted
    assert needs.threads == 1


@pytest.mark.parametrize(
    ("options", "gpus", "message"),
    [
        ({"threads": 5}, None, "no node of the cluster has 5 CPUs for a cell; reduce --threads"),
        ({"device": "cuda"}, None, "no node of the cluster has 1 CPU and 1 GPU for a cell"),
        ({}, 0.25, "no node of the cluster has 1 CPU and 0.25 GPU for a cell"),
        ({}, 1.5, "neither a fraction of a GPU nor a number of GPUs"),
        ({"device": "cpu"}, 1, "would be idle"),
        ({"device": "cuda:1"}, None, "give auto, cpu or cuda"),
        ({"threads": 0}, None, "is below 1"),
    ],
)
def test_what_the_cluster_has_no_room_for_is_refused(options, gpus, message):
    with pytest.raises(AekitError, match=message):
        choose_needs(Machine(Path("/nowhere"), **options), gpus, [{"Resources": {"CPU": 4.0}}])
