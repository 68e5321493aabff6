"""A grid on a Ray cluster leaves what a grid on this machine leaves, whatever happens to the cluster."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from aekit.core.checkpoint import read_header
from aekit.errors import AekitError, Stopped
from aekit.images.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from aekit.images.runs import Machine
from aekit.images.sweep import ray_grid
from aekit.images.sweep.grid import Cell, GridHooks, Progressed, run_grid
from aekit.images.sweep.ray_grid import RayCluster, run_ray_grid

QUICK = ["--data", "digits", "--limit", 60, "--epochs", 1, "--model", "ae"]
NO_ROOT = Path("/nowhere")


# --- without ray ---


def test_without_ray_one_line_says_how_to_install_it(aekit, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    result = aekit("sweep", *QUICK, "--latent", 2, "--ray", "auto", "-o", tmp_path / "grid")
    assert result.exit_code == 1
    assert result.stderr == "aekit: --ray: needs the package ray; pip install 'aekit[ray]'\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", "cannot be reached (Connection refused); start a cluster with ray start --head"),
        ("ray://127.0.0.1:10001", "a driver outside the cluster is not supported"),
        ("local", "is no address of a cluster; give auto or HOST:PORT"),
        ("127.0.0.1", "is no address of a cluster"),
        ("127.0.0.1:99999", "cannot be reached"),
    ],
)
def test_an_address_that_cannot_be_is_one_line_at_once(aekit, tmp_path, monkeypatch, address, message):
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    started = time.monotonic()
    result = aekit("sweep", *QUICK, "--latent", 2, "--ray", address, "-o", tmp_path / "grid")
    assert time.monotonic() - started < ray_grid.ANSWER_SECONDS + 2
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert f"--ray {address}: " in result.stderr
    assert message in result.stderr
    assert not list(tmp_path.iterdir())


def test_gpus_are_handed_out_by_ray_alone(aekit):
    result = aekit("sweep", *QUICK, "--gpus-per-cell", 0.5)
    assert result.exit_code == 2
    assert "needs --ray" in result.stderr


@pytest.mark.slow
def test_cells_that_are_all_done_need_no_cluster(aekit, tmp_path, monkeypatch):
    options = [*QUICK, "--latent", "2", "--threads", 1, "-o", tmp_path]
    first = aekit("sweep", *options)
    monkeypatch.setitem(sys.modules, "ray", None)
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
def test_a_cell_takes_a_gpu_where_there_is_one_unless_told(monkeypatch, device, gpus, has_gpu, wanted):
    nodes = [{"Resources": {"CPU": 4.0}}, {"Resources": {"CPU": 4.0} | ({"GPU": 2.0} if has_gpu else {})}]
    monkeypatch.setattr(ray_grid, "_nodes", lambda: nodes)
    needs = ray_grid._needs(Machine(NO_ROOT, device), RayCluster("auto", gpus))
    assert (needs.gpus, needs.device) == wanted
    assert needs.threads == 1


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
    submit = ray_grid._Driver._submit

    def counted(driver, cell, *arguments):
        counts[cell.label] += 1
        submit(driver, cell, *arguments)

    monkeypatch.setattr(ray_grid._Driver, "_submit", counted)
    return counts


def _cells(folder: Path, n_cells: int, *, epochs: int = 1, data: DataConfig | None = None) -> list[Cell]:
    data = data or DataConfig(name="digits", limit=300)
    train = TrainConfig(epochs=epochs)
    configs = [RunConfig(ModelConfig(kind="ae", latent=2 + i), data, train) for i in range(n_cells)]
    return [Cell(config, folder / f"z{config.model.latent}.safetensors", f"latent {config.model.latent}")
            for config in configs]  # fmt: skip


def _on_ray(cluster, cells: list[Cell], hooks: GridHooks | None = None):
    return run_ray_grid(
        cells,
        Machine(NO_ROOT),
        RayCluster(cluster.address),
        jobs=None,
        overwrite=False,
        hooks=hooks or GridHooks(),
    )


def _assert_as_trained_here(cells: list[Cell], tmp_path: Path) -> None:
    here = [Cell(cell.config, tmp_path / "here" / cell.path.name, cell.label) for cell in cells]
    run_grid(here, Machine(NO_ROOT, threads=1), jobs=1, overwrite=False, hooks=GridHooks())
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
    done, running, messages, killed = [], {}, [], []

    def on_progress(cell: Cell, progressed: Progressed) -> None:
        running[cell.label] = progressed
        if not killed and done and len(running) - len(done) == 3:  # all three nodes are in the middle of a cell
            killed.extend(done)
            cluster.remove_node(doomed, allow_graceful=False)

    def on_outcome(outcome) -> None:
        done.append(outcome.cell.label)
        running.setdefault(outcome.cell.label, None)

    hooks = GridHooks(on_progress=on_progress, on_outcome=on_outcome, on_message=messages.append)
    outcomes = _on_ray(cluster, cells, hooks)
    assert killed
    assert [outcome.error for outcome in outcomes] == [""] * 8
    assert len(messages) == 1
    assert messages[0].endswith("; running it again")
    lost = messages[0].split(":")[0]
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
    assert [outcome.error for outcome in outcomes] == [""] * 4
    assert len(n_read) == len(n_put) == 1
    file.write_bytes(content)
    _assert_as_trained_here(cells, tmp_path)


@pytest.mark.slow
def test_after_a_signal_running_cells_send_their_state_and_the_next_time_go_on(cluster, tmp_path):
    cells = _cells(tmp_path, 4, epochs=40)
    seen = set()
    hooks = GridHooks(
        on_progress=lambda cell, at: seen.add(cell.label) if at.epoch > 2 else None,
        stop_signal=lambda: signal.SIGINT if len(seen) >= 2 else None,
    )
    with pytest.raises(Stopped, match="of 4 cells done; go on with the same command"):
        _on_ray(cluster, cells, hooks)
    states = sorted(tmp_path.glob("*.resume.safetensors"))
    assert states
    assert all(read_header(path).state["epoch"] >= 2 for path in states)
    messages = []
    outcomes = _on_ray(cluster, cells, GridHooks(on_message=messages.append))
    assert [outcome.error for outcome in outcomes] == [""] * 4
    assert sum("going on after epoch" in message for message in messages) == len(states)
    assert not list(tmp_path.glob("*.resume.safetensors"))
    _assert_as_trained_here(cells, tmp_path)


@pytest.mark.slow
def test_ctrl_c_ends_a_sweep_with_its_exit_code_and_leaves_no_task_behind(cluster, tmp_path):
    command = [sys.executable, "-m", "aekit", "sweep", "--data", "digits", "--epochs", "5000", "--latent", "2-4"]
    words = [*command, "--ray", cluster.address, "-o", str(tmp_path)]
    sweep = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    _wait_for_free_cpus(cluster, 0)
    sweep.send_signal(signal.SIGINT)
    stdout, stderr = sweep.communicate(timeout=60)
    assert sweep.returncode == 130, stderr
    assert stdout == ""
    assert stderr.splitlines()[-1].endswith("stopped with 0 of 3 cells done; go on with the same command")
    _wait_for_free_cpus(cluster, 2)


def _wait_for_free_cpus(cluster, n_cpus: int) -> None:
    import ray

    with ray_grid._connection(cluster.address):
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
        (["--gpus-per-cell", 1.5], "neither a share of a GPU nor a number of GPUs"),
        (["--gpus-per-cell", 1, "--device", "cpu"], "would lie idle"),
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
    monkeypatch.setattr(ray_grid, "_nodes", lambda: nodes)
    with pytest.raises(AekitError, match=r"--data digits: takes .* GB.* ray start --object-store-memory"):
        _on_ray(cluster, _cells(tmp_path, 1))


@pytest.mark.slow
def test_a_port_where_something_else_listens_is_one_line_in_bounded_time(tmp_path, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setattr(ray_grid, "CONNECT_SECONDS", 4.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(AekitError, match=f"--ray {address}: no Ray cluster answers there"):
            run_ray_grid(
                _cells(tmp_path, 1), Machine(NO_ROOT), RayCluster(address), jobs=None, overwrite=False,
                hooks=GridHooks(),
            )  # fmt: skip
