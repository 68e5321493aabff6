"""A cell of a grid as a task of Ray: what runs on a node of the cluster, in a folder of its own.

A task gets numbers and arrays and returns the bytes of its files, so nodes share no file system with the driver.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aekit.core.checkpoint import resume_path
from aekit.core.settings import from_dict
from aekit.errors import AekitError, Stopped
from aekit.images.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from aekit.images.data.image_set import ImageSet
from aekit.images.runs import Machine, train_run
from aekit.images.sweep.worker import Message, RemoteProgress

try:
    import ray
except ImportError:  # it comes with aekit[ray]
    ray = None

SUFFIXES = (".csv", ".png", ".safetensors")  # the checkpoint last: where it is, its companions are


@dataclass(frozen=True)
class Order:
    """What the driver orders of a node, in plain values, as a node with another aekit must be able to read it.

    Attributes:
        number: Which order it is, for messages.
        config: The configuration of the run, as a dictionary.
        device: Where it runs on the node.
        threads: CPU threads.
        state: The state of an unfinished run, as bytes; empty if there is none.
        path: Where the driver keeps the checkpoint.
        parent: The checkpoint of ``init``, as bytes; empty if there is none.
    """

    number: int
    config: dict[str, Any]
    device: str
    threads: int
    state: bytes
    path: str
    parent: bytes = b""

    def read_config(self) -> RunConfig:
        """Return the configuration of the run."""
        parts: dict[str, Any] = {"data": DataConfig, "model": ModelConfig, "train": TrainConfig}
        return RunConfig(**{part: from_dict(cls, self.config[part]) for part, cls in parts.items()})


def train_cell(order: Order, images: dict[str, Any], board: Any) -> tuple[str, Any]:
    """Train one cell in a temporary folder; return how it ended and the files that it leaves.

    Args:
        order: What to train.
        images: Pixels uint8 (N, C, H, W), name, fingerprint and that of a table of labels, by split.
        board: The actor that receives messages.

    Returns:
        ``done`` and the files by suffix, ``stopped`` and the state, or ``failed`` and why.
    """
    line = _Line(board, order.number)
    line.send(("started", _here()))
    sets: Any = {
        split: ImageSet(pixels, name, fingerprint=own, labels_fingerprint="".join(table))
        for split, (pixels, name, own, *table) in images.items()
    }
    path = Path(order.path)
    with tempfile.TemporaryDirectory(prefix="aekit-") as folder:
        output = Path(folder) / path.name
        state = resume_path(output)
        if order.state:
            state.write_bytes(order.state)
        config = order.read_config()
        if order.parent and config.train.init is not None:
            parent = Path(folder) / "init" / Path(config.train.init).name
            parent.parent.mkdir()
            parent.write_bytes(order.parent)
            config = replace(config, train=replace(config.train, init=str(parent)))
        machine = Machine(Path(folder), device=order.device, threads=order.threads)
        try:
            options: dict[str, Any] = {"progress": line.progress, "common": line.progress.common()}
            train_run(config, output, machine, overwrite=False, resume=True, sets=sets, **options)
        except AekitError as error:
            return "failed", str(error).replace(folder, str(path.parent))  # the user knows no folder of the node
        except Stopped:
            return "stopped", {"state": state.read_bytes() if state.exists() else b""}
        return "done", {suffix: output.with_suffix(suffix).read_bytes() for suffix in SUFFIXES}


def _here() -> str:
    return f"{ray.util.get_node_ip_address()} ({ray.get_runtime_context().get_node_id()[:8]})"


class _Line:
    """The line from a run to the board, whose answers ask it to stop."""

    def __init__(self, board: Any, number: int) -> None:
        self.progress = RemoteProgress(self.send)
        self._board = board
        self._number = number

    def send(self, message: Message) -> None:
        """Send a message to the board."""
        # Never ray.get or ray.wait in a task: while it blocks Ray gives its CPU to another cell.
        self._board.tell.remote(self._number, *message).future().add_done_callback(self._hear)

    def _hear(self, answer: Future[int]) -> None:
        # A board that is gone answers with an error: the run continues, without being heard.
        if answer.exception() is None and (signal_number := answer.result()):
            self.progress.signals.append(signal_number)
