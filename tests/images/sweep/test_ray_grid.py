"""A grid on a Ray cluster leaves what a grid on this machine leaves, whatever happens to the cluster."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from aekit.core.checkpoint import read_header
from aekit.core.progress import SILENT, Silent
from aekit.errors import AekitError, Stopped
from aekit.images.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from aekit.images.runs import Machine
from aekit.images.sweep import ray_cluster, ray_grid
from aekit.images.sweep.grid import run_grid
from aekit.images.sweep.outcomes import Done
from aekit.images.sweep.plan import Cell
from aekit.images.sweep.ray_cluster import RayCluster, connection
from aekit.images.sweep.ray_grid import run_ray_grid

QUICK = ["--data", "digits", "--limit", 60, "--epochs", 1, "--model", "ae"]
NO_ROOT = Path("/nowhere")


# --- on two nodes ---


@pytest.fixture(scope="module")
def cluster():
    """Return a Ray cluster of a head that computes nothing and two nodes of one CPU, as three sets of processes."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        for _ in range(2):
            cluster.add_node(num_cpus=1)
        yield cluster
        cluster.shutdown()


@pytest.fixture
def attempts(monkeypatch):
    """Return how often each cell was handed to Ray, which runs nothing again by itself, by its label."""
    counts = Counter()
    submit = ray_grid._Driver.submit

    def counted(driver, cell, *arguments):
        counts[cell.label] += 1
        submit(driver, cell, *arguments)

    monkeypatch.setattr(ray_grid._Driver, "submit", counted)
    return counts


def _cells(folder: Path, n_cells: int, *, epochs: int = 1, data: DataConfig | None = None) -> list[Cell]:
    data = data or DataConfig(name="digits", limit=300)
    train = TrainConfig(epochs=epochs)
    configs = [RunConfig(ModelConfig(kind="ae", latent=2 + i), data, train) for i in range(n_cells)]
    return [Cell(config, folder / f"z{config.model.latent}.safetensors", f"latent {config.model.latent}")
            for config in configs]  # fmt: skip


def _on_ray(cluster, cells: list[Cell], progress=SILENT, on_outcome=lambda outcome: None):
    where = RayCluster(cluster.address)
    return run_ray_grid(cells, Machine(NO_ROOT), cluster=where, on_outcome=on_outcome, progress=progress)


class Watch(Silent):
    """Progress that keeps what running cells report: the fraction done by lane, and the notices."""

    def __init__(self, on_update=lambda watch: None, should_stop=lambda watch: None) -> None:
        self.fractions, self.notices = {}, []
        self._on_update, self._should_stop = on_update, should_stop

    def update(self, what, done, total, *, lane="", detail=None) -> None:
        if lane != "cells" and total:
            self.fractions[lane] = done / total
            self._on_update(self)

    def notice(self, text) -> None:
        self.notices.append(text)

    def should_stop(self):
        return self._should_stop(self)


def _assert_as_trained_here(cells: list[Cell], tmp_path: Path) -> None:
    here = [Cell(cell.config, tmp_path / "here" / cell.path.name, cell.label) for cell in cells]
    run_grid(here, Machine(NO_ROOT, threads=1), jobs=1)
    for cell, own in zip(cells, here, strict=True):
        for suffix in (".safetensors", ".png"):
            assert cell.path.with_suffix(suffix).read_bytes() == own.path.with_suffix(suffix).read_bytes()


@pytest.mark.slow
def test_everything_is_as_with_processes_of_this_machine(aekit, cluster, tmp_path):
    options = [*QUICK, "--latent", "2-4", "--val", 0.2, "--json"]
    there = aekit("sweep", *options, "--ray", cluster.address, "-o", tmp_path / "there")
    here = aekit("sweep", *options, "--jobs", 1, "--threads", 1, "-o", tmp_path / "here")
    assert there.exit_code == here.exit_code == 0, there.stderr
    assert there.stdout == here.stdout.replace("/here/", "/there/")
    names = sorted(path.name for path in (tmp_path / "here").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "there").iterdir())
    assert len(names) == 3 * 3 + 3
    for name in names:
        own, other = tmp_path / "here" / name, tmp_path / "there" / name
        if own.suffix == ".csv":
            tables = [pd.read_csv(path).drop(columns=["seconds", "images_per_second", "path"], errors="ignore")
                      for path in (own, other)]  # fmt: skip
            pd.testing.assert_frame_equal(*tables)
        else:
            assert own.read_bytes() == other.read_bytes(), name
    assert {read_header(path).ran_on["threads"] for path in (tmp_path / "there").glob("*.safetensors")} == {1}


@pytest.mark.slow
def test_nothing_but_the_command_s_own_words_come_out_of_it(cluster, tmp_path):
    command = [sys.executable, "-m", "aekit", "sweep", *map(str, QUICK), "--latent", "2,3", "--ray", cluster.address]
    done = subprocess.run([*command, "-o", str(tmp_path)], capture_output=True, text=True, check=True)
    assert sorted(map(Path, done.stdout.splitlines())) == sorted(tmp_path.glob("*.safetensors"))
    assert "2 of 2 cells trained" in done.stderr
    assert "ray" not in done.stderr.lower()


@pytest.mark.slow
def test_a_node_that_dies_loses_its_running_cell_which_is_run_again(cluster, tmp_path, attempts):
    doomed = cluster.add_node(num_cpus=1)
    cells = _cells(tmp_path, 8, epochs=30)
    done, killed = [], []

    def kill(watch: Watch) -> None:
        if not killed and done and sum(fraction < 1 for fraction in watch.fractions.values()) == 3:
            killed.extend(done)  # all three nodes are in the middle of a cell
            cluster.remove_node(doomed, allow_graceful=False)

    watch = Watch(kill)
    outcomes = _on_ray(cluster, cells, watch, lambda outcome: done.append(outcome.cell.label))
    assert killed
    assert all(isinstance(outcome, Done) for outcome in outcomes)
    (message,) = (text for text in watch.notices if text.endswith("; running it again"))
    lost = message.split(":")[0]
    assert lost not in killed
    assert attempts == Counter(cell.label for cell in cells) + Counter([lost])
    _assert_as_trained_here(cells, tmp_path)


@pytest.mark.slow
def test_a_run_that_diverges_is_recorded_and_not_tried_again(aekit, cluster, tmp_path, attempts):
    result = aekit(
        "sweep", *QUICK, "--lr", "1e9,0.001", "--latent", 2, "--ray", cluster.address, "-o", tmp_path
    )  # fmt: skip
    assert result.exit_code == 1
    assert len(result.paths) == 1
    table = pd.read_csv(tmp_path / "results.csv")
    assert table["status"].tolist() == ["failed", "done"]
    assert "finite" in table["error"][0]
    assert set(attempts.values()) == {1}


@pytest.mark.slow
def test_images_are_read_once_by_the_driver_and_nodes_need_no_file(cluster, tmp_path, monkeypatch):
    import ray

    file = tmp_path / "images.npy"
    np.save(file, np.random.default_rng(0).integers(0, 256, (200, 8, 8), dtype=np.uint8))
    content = file.read_bytes()
    read, put, n_read, n_put = ray_grid.read_splits, ray.put, [], []

    def read_and_remove(config, *arguments):
        sets = read(config, *arguments)
        n_read.append(config)
        file.unlink()
        return sets

    def counted_put(value):
        n_put.append(value)
        return put(value)

    monkeypatch.setattr(ray_grid, "read_splits", read_and_remove)
    monkeypatch.setattr(ray, "put", counted_put)
    cells = _cells(tmp_path, 4, data=DataConfig(name=str(file), val=0.2))
    outcomes = _on_ray(cluster, cells)
    assert all(isinstance(outcome, Done) for outcome in outcomes)
    assert len(n_read) == len(n_put) == 1
    file.write_bytes(content)
    _assert_as_trained_here(cells, tmp_path)


@pytest.mark.slow
def test_after_a_signal_running_cells_send_their_state_and_the_next_time_go_on(cluster, tmp_path):
    cells = _cells(tmp_path, 4, epochs=40)
    progress = Watch(
        should_stop=lambda watch: signal.SIGINT if sum(at > 2 / 40 for at in watch.fractions.values()) >= 2 else None
    )
    with pytest.raises(Stopped, match="of 4 cells done; continue with the same command"):
        _on_ray(cluster, cells, progress)
    states = sorted(tmp_path.glob("*.resume.safetensors"))
    assert states
    assert all(read_header(path).state["epoch"] >= 2 for path in states)
    watch = Watch()
    outcomes = _on_ray(cluster, cells, watch)
    assert all(isinstance(outcome, Done) for outcome in outcomes)
    assert sum("continuing after epoch" in text for text in watch.notices) == len(states)
    assert not list(tmp_path.glob("*.resume.safetensors"))
    _assert_as_trained_here(cells, tmp_path)


@pytest.mark.slow
def test_ctrl_c_ends_a_sweep_with_its_exit_code_and_leaves_no_task_behind(start, cluster, tmp_path):
    command = [sys.executable, "-m", "aekit", "sweep", "--data", "digits", "--epochs", "5000", "--latent", "2-4"]
    words = [*command, "--ray", cluster.address, "-o", str(tmp_path)]
    sweep = start(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    _wait_for_free_cpus(cluster, 0)
    sweep.send_signal(signal.SIGINT)
    stdout, stderr = sweep.communicate(timeout=60)
    assert sweep.returncode == 130, stderr
    assert stdout == ""
    assert stderr.splitlines()[-1].endswith("stopped with 0 of 3 cells done; continue with the same command")
    _wait_for_free_cpus(cluster, 2)


def _wait_for_free_cpus(cluster, n_cpus: int) -> None:
    import ray

    with connection(cluster.address):
        deadline = time.monotonic() + 60
        while ray.available_resources().get("CPU", 0) != n_cpus:
            assert time.monotonic() < deadline
            time.sleep(0.2)


@pytest.mark.slow
def test_a_node_with_another_aekit_ends_the_sweep_by_name(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_grid, "__version__", "9.9.9")
    with pytest.raises(AekitError, match=r"has aekit .*; install aekit\[ray\] 9\.9\.9 on every node"):
        _on_ray(cluster, _cells(tmp_path, 2))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--threads", 5], "no node of the cluster has 5 CPUs for a cell"),
        (["--device", "cuda"], "no node of the cluster has 1 CPU and 1 GPU for a cell"),
        (["--gpus-per-cell", 0.25], "no node of the cluster has 1 CPU and 0.25 GPU for a cell"),
        (["--gpus-per-cell", 1.5], "neither a fraction of a GPU nor a number of GPUs"),
        (["--gpus-per-cell", 1, "--device", "cpu"], "would be idle"),
        (["--device", "cuda:1"], "give auto, cpu or cuda"),
    ],
)
def test_what_the_cluster_has_no_room_for_is_one_line(aekit, cluster, tmp_path, options, message):
    result = aekit("sweep", *QUICK, "--latent", 2, *options, "--ray", cluster.address, "-o", tmp_path / "grid")
    assert result.exit_code == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_images_that_no_node_can_hold_are_refused_with_their_size(cluster, tmp_path, monkeypatch):
    nodes = [{"Resources": {"CPU": 1.0, "object_store_memory": 1000.0}}]
    monkeypatch.setattr(ray_grid, "read_nodes", lambda: nodes)
    with pytest.raises(AekitError, match=r"--data digits: takes .* GB.* ray start --object-store-memory"):
        _on_ray(cluster, _cells(tmp_path, 1))


@pytest.mark.slow
def test_a_port_where_something_else_listens_is_one_line_in_bounded_time(tmp_path, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setattr(ray_cluster, "CONNECT_SECONDS", 4.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(AekitError, match=f"--ray {address}: no Ray cluster answers there"):
            run_ray_grid(_cells(tmp_path, 1), Machine(NO_ROOT), cluster=RayCluster(address))
