"""A task of Ray trains in a folder of its own and returns the bytes of its files; no cluster is needed to see that."""

from __future__ import annotations

import signal
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from aekit.core.checkpoint import read_header
from aekit.core.settings import to_dict
from aekit.images.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from aekit.images.data import read_images
from aekit.images.runs import Machine, train_run
from aekit.images.sweep import ray_task
from aekit.images.sweep.ray_task import Order, train_cell

DATA = DataConfig(name="digits", limit=60)


@pytest.fixture
def board(monkeypatch):
    """Return a board that keeps messages and answers with a signal, if it has one."""
    node = SimpleNamespace(get_node_id=lambda: "0123456789")
    util = SimpleNamespace(get_node_ip_address=lambda: "10.0.0.1")
    monkeypatch.setattr(ray_task, "ray", SimpleNamespace(util=util, get_runtime_context=lambda: node))
    board = SimpleNamespace(messages=[], signal_number=0)

    def tell(number, kind, value):
        board.messages.append((number, kind, value))
        answer: Future[int] = Future()
        answer.set_result(board.signal_number)
        return SimpleNamespace(future=lambda: answer)

    board.tell = SimpleNamespace(remote=tell)
    return board


@pytest.fixture
def images():
    """Return the images of the task, as the driver sends them."""
    sets = {split: read_images(DATA, split, data_root=Path("/nowhere")) for split in ("train", "test")}
    return {split: (np.asarray(each.images), each.name, each.fingerprint) for split, each in sets.items()}


def _order(epochs: int = 1, lr: float | None = None, state: bytes = b"") -> Order:
    config = RunConfig(ModelConfig(kind="ae", arch="dense", latent=2), DATA, TrainConfig(epochs=epochs, lr=lr))
    return Order(7, to_dict(config), "cpu", 1, state, "/home/user/grid/x.safetensors")


def test_it_returns_the_files_and_reports_where_it_runs(board, images, tmp_path):
    order = Order(**vars(_order()))  # as it comes to the node
    kind, files = train_cell(order, images, board)
    assert (kind, list(files)) == ("done", [".csv", ".png", ".safetensors"])
    (tmp_path / "x.safetensors").write_bytes(files[".safetensors"])
    assert read_header(tmp_path / "x.safetensors").model["latent"] == 2
    assert board.messages[0] == (7, "started", "10.0.0.1 (01234567)")


@pytest.mark.slow
def test_a_run_that_was_stopped_returns_its_state_and_continues_from_it(board, images):
    board.signal_number = signal.SIGINT
    kind, left = train_cell(_order(epochs=3), images, board)
    assert kind == "stopped"
    assert left["state"]
    board.signal_number = 0
    kind, files = train_cell(_order(epochs=3, state=left["state"]), images, board)
    assert kind == "done"
    assert files[".safetensors"] == train_cell(_order(epochs=3), images, board)[1][".safetensors"]


@pytest.mark.slow
def test_the_weights_to_begin_with_come_with_the_order_as_a_node_has_no_such_file(board, images, tmp_path):
    (tmp_path / "first.safetensors").write_bytes(train_cell(_order(), images, board)[1][".safetensors"])
    order = _order()
    order.config["train"]["init"] = "/home/user/first.safetensors"
    content = (tmp_path / "first.safetensors").read_bytes()
    kind, files = train_cell(replace(order, parent=content), images, board)
    assert kind == "done"
    config = replace(order.read_config(), train=TrainConfig(epochs=1, init=str(tmp_path / "first.safetensors")))
    train_run(config, tmp_path / "x.safetensors", Machine(tmp_path, "cpu", 1), overwrite=False, resume=False)
    assert files[".safetensors"] == (tmp_path / "x.safetensors").read_bytes()


def test_a_run_that_fails_names_the_path_that_the_user_knows(board, images):
    kind, why = train_cell(_order(lr=1e12, epochs=3), images, board)
    assert kind == "failed"
    assert "finite" in why
    assert "aekit-" not in why
