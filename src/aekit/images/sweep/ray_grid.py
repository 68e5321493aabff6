"""A grid of training runs on a Ray cluster: each a task, the images once per node, the results where the sweep started.

Messages of running cells go through a board, an actor next to the driver, which also asks the cells to stop.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from aekit import __version__
from aekit.core.artifacts import check_writable, write_atomically
from aekit.core.checkpoint import read_header, resume_path
from aekit.core.progress import SILENT, Progress
from aekit.core.settings import to_dict
from aekit.errors import AekitError
from aekit.images.config import DataConfig
from aekit.images.run_building import read_splits
from aekit.images.runs import Machine, refuse_own_images
from aekit.images.sweep.grid import GridReport, OnOutcome, run_missing
from aekit.images.sweep.outcomes import Done, Failed, Outcome
from aekit.images.sweep.plan import Cell
from aekit.images.sweep.ray_cluster import ANSWER_SECONDS, Needs, RayCluster, choose_needs, connection, read_nodes
from aekit.images.sweep.ray_task import SUFFIXES, Order

try:
    import ray
except ImportError:  # it comes with aekit[ray]
    ray = None

POLL_SECONDS = 0.25  # the driver reads the board this often
ROOM_SECONDS = 60.0  # with no cell running, after which the user is told that the cluster has no room
SAVE_SECONDS = 30.0  # that running cells have to save their state after a signal
# A process that dies takes one cell with it, which may be what killed it; a node that dies is not the cell's fault.
MAX_CRASHES = 3


def train_on_ray(address: str, gpus: float | None = None) -> functools.partial[list[Outcome]]:
    """Return :func:`run_ray_grid` on the cluster of a :class:`RayCluster` with this address and GPUs per cell."""
    return functools.partial(run_ray_grid, cluster=RayCluster(address, gpus))


def run_ray_grid(
    cells: Sequence[Cell],
    machine: Machine,
    *,
    cluster: RayCluster,
    jobs: int | None = None,
    overwrite: bool = False,
    on_outcome: OnOutcome = lambda outcome: None,
    progress: Progress = SILENT,
) -> list[Outcome]:
    """Train the cells that are not done yet on a Ray cluster, and return how each ended, in their order.

    A cell whose node dies is run again elsewhere; nothing else is lost. The files are those of
    :func:`aekit.images.sweep.grid.run_grid` with as many threads, to the byte where the processors are the same.

    Args:
        cells: The runs.
        machine: ``data_root`` is the driver's; ``threads`` are those of each cell, None is 1.
        cluster: Where they run.
        jobs: Cells at a time; None is as many as the cluster has room for.
        overwrite: Train all cells, also those that are done.
        on_outcome: Called with each cell that has ended; those that were done before come first.
        progress: Receives updates, and is asked whether to stop.

    Raises:
        AekitError: The cluster cannot be reached or has no room for a cell, its nodes have another aekit, the images
            cannot be read or are too large for it, or a file of another run is in the way.
        Stopped: A signal asked for it; running cells sent their state.
    """

    def train(todo: list[Cell], report: GridReport) -> Iterator[Outcome]:
        for cell in todo:
            refuse_own_images(cell.config, cell.path)
        with connection(cluster.address):
            nodes = read_nodes()
            needs = choose_needs(machine, cluster.gpus, nodes)
            check_writable(todo[0].path)
            images = _store_images(todo, machine, [node for node in nodes if needs.fit(node)], progress)
            yield from _Driver(needs, images, overwrite, report).train(todo, jobs)

    return run_missing(cells, train, GridReport(len(cells), progress, on_outcome), overwrite=overwrite)


def _store_images(
    cells: list[Cell], machine: Machine, nodes: Sequence[dict[str, Any]], progress: Progress
) -> dict[DataConfig, Any]:
    """Read each image set once, and return references to them in Ray's object store, which copies them once per node.

    Raises:
        AekitError: A set cannot be read, or is larger than the store of a node.
    """
    room = min(node["Resources"].get("object_store_memory", 0) for node in nodes)
    references = {}
    for config in dict.fromkeys(cell.config.data for cell in cells):
        sets = read_splits(config, machine.data_root, progress)
        n_bytes = sum(len(images) * int(np.prod(images.image_shape)) for images in sets.values())
        if n_bytes > room:
            raise AekitError(
                f"--data {config.name}: takes {n_bytes / 1e9:.2f} GB, and the object store of a node has "
                f"{room / 1e9:.2f}; use --limit or a smaller --image-size, or ray start --object-store-memory BYTES"
            )
        # Plain values: a node with another aekit must be able to read them, to say so.
        plain = {
            split: (np.asarray(each.images), each.name, each.fingerprint, each.labels_fingerprint)
            for split, each in sets.items()
        }
        references[config] = ray.put(plain)
    return references


# --- the driver ---


@dataclass
class _Task:
    """A cell that was handed to Ray, the number of its order, and the node that runs it, once one does."""

    cell: Cell
    number: int
    node: str = ""

    @property
    def where(self) -> str:
        return f"node {self.node}" if self.node else "its node"


@dataclass
class _Driver:
    """Hands out cells and takes back what becomes of them.

    Attributes:
        needs: What a cell takes of a node.
        images: References to the image sets.
        overwrite: Ignore the state of unfinished runs.
        report: Reports how far the grid has come.
        running: Tasks by the reference to what they will return.
        crashes: How often the process of a cell was lost, by its checkpoint.
        n_submitted: Number of orders so far.
        stopping_since: When a signal asked to stop; None if none has.
        busy_at: When a cell last ran.
        has_reported_wait: Whether the user knows that there is no room.
    """

    needs: Needs
    images: dict[DataConfig, Any]
    overwrite: bool
    report: GridReport
    running: dict[Any, _Task] = field(default_factory=dict)
    crashes: dict[Path, int] = field(default_factory=dict)
    n_submitted: int = 0
    stopping_since: float | None = None
    busy_at: float = field(default_factory=time.monotonic)
    has_reported_wait: bool = False

    @property
    def is_stopping(self) -> bool:
        """Whether a signal has asked to stop."""
        return self.stopping_since is not None

    def train(self, cells: list[Cell], jobs: int | None) -> Iterator[Outcome]:
        """Yield the outcome of each cell as it ends; after a signal, only those that still end by themselves."""
        board, work = _create_board(), _create_task(self.needs)
        waiting = list(cells)
        try:
            while self.running or (waiting and not self.is_stopping):
                self.stop_if_asked(board)
                while waiting and not self.is_stopping and len(self.running) < (jobs or len(cells)):
                    self.submit(waiting.pop(0), board, work)
                ready, _ = ray.wait(list(self.running), timeout=POLL_SECONDS) if self.running else ([], [])
                self.read_board(board)
                for reference in ready:
                    ended = self.settle(reference)
                    if isinstance(ended, Cell):
                        waiting.insert(0, ended)
                    elif ended is not None:
                        yield ended
                self.report_wait()
        finally:
            self.abandon()

    def submit(self, cell: Cell, board: Any, work: Any) -> None:
        """Hand a cell to Ray, with the state of an unfinished run if there is one."""
        state = resume_path(cell.path)
        order = Order(
            number=self.n_submitted,
            config=to_dict(cell.config),
            device=self.needs.device,
            threads=self.needs.threads,
            state=state.read_bytes() if state.exists() and not self.overwrite else b"",
            path=str(cell.path),
            parent=b"" if (init := cell.config.train.init) is None else Path(init).read_bytes(),
        )
        reference = work.remote(__version__, vars(order), self.images[cell.config.data], board)
        self.running[reference] = _Task(cell, self.n_submitted)
        self.n_submitted += 1

    def read_board(self, board: Any) -> None:
        """Pass on the messages of running cells."""
        messages = []
        with contextlib.suppress(ray.exceptions.RayError):  # without the board cells continue, without being heard
            messages = ray.get(board.read.remote(), timeout=ANSWER_SECONDS)
        by_number = {task.number: task for task in self.running.values()}
        for number, kind, value in messages:
            task = by_number.get(number)
            if task is None:
                continue
            if kind == "started":
                task.node = value
            else:
                self.report.heard(task.cell, (kind, value))

    def settle(self, reference: Any) -> Outcome | Cell | None:
        """Return how a task ended: an outcome, a cell that has to be run again, or None for one that was stopped."""
        errors = ray.exceptions
        task = self.running.pop(reference)
        self.busy_at, self.has_reported_wait = time.monotonic(), False
        try:
            return self.take(task, *ray.get(reference))
        except errors.TaskCancelledError:
            return self.run_again(task.cell, "was cancelled")
        except errors.RayTaskError as error:
            text = " ".join(str(error.cause).split())
            if isinstance(error.cause, OSError):  # as of a process whose node is dying around it
                return self.count_loss(task, f"broke off ({text})")
            return Failed(task.cell, f"crashed with {type(error.cause).__name__}: {text}")
        except errors.NodeDiedError:
            return self.run_again(task.cell, f"{task.where} died")
        except errors.OutOfMemoryError:
            return self.count_loss(task, "was killed as memory ran out; more --threads let fewer share a node")
        except errors.RayError:
            return self.count_loss(task, "died")

    def take(self, task: _Task, kind: str, value: Any) -> Outcome | Cell | None:
        """Return the outcome of a task that returned a value, after writing its files where the user wants them.

        Raises:
            AekitError: Its node cannot run this aekit, and so no other cell can run there.
        """
        if kind == "unfit":
            raise AekitError(f"--ray: a node {value}; install aekit[ray] {__version__} on every node")
        if kind == "failed":
            return Failed(task.cell, value)
        try:
            _write_files(task.cell, kind, value)
        except AekitError as error:
            return Failed(task.cell, str(error))
        if kind == "stopped":  # by us, or by its node, which goes down
            return self.run_again(task.cell, f"{task.where} stopped it")
        return Done(task.cell, read_header(task.cell.path))

    def run_again(self, cell: Cell, why: str) -> Cell | None:
        """Return a cell to be run again, or None after a signal."""
        if self.is_stopping:
            return None
        self.report.heard(cell, ("notice", f"{why}; running it again"))
        return cell

    def count_loss(self, task: _Task, what: str) -> Outcome | Cell | None:
        """Return the cell of a process that was lost, to be run again, or that it failed if that happens repeatedly."""
        self.crashes[task.cell.path] = n_crashes = self.crashes.get(task.cell.path, 0) + 1
        if n_crashes < MAX_CRASHES or self.is_stopping:
            return self.run_again(task.cell, f"its process on {task.where} {what}")
        return Failed(task.cell, f"its process was lost {n_crashes} times; the last {what}")

    def report_wait(self) -> None:
        """Report once that no cell runs, where none has for long: all nodes are occupied, or gone."""
        if any(task.node for task in self.running.values()):
            self.busy_at, self.has_reported_wait = time.monotonic(), False
        elif time.monotonic() - self.busy_at > ROOM_SECONDS and not self.has_reported_wait:
            self.has_reported_wait = True
            self.report.progress.notice(f"waiting for a node with {self.needs} free")

    def stop_if_asked(self, board: Any) -> None:
        """After a signal, ask running cells to save their state, and end those that take too long."""
        if self.stopping_since is None:
            if signal_number := self.report.progress.should_stop():
                self.stopping_since = time.monotonic()
                board.end.remote(signal_number)  # so that running cells save their state and return it
                self.cancel(lambda task: not task.node)
        elif time.monotonic() - self.stopping_since > SAVE_SECONDS:
            self.cancel(lambda task: True)

    def abandon(self) -> None:
        """End whatever still runs; asked first, as a process that is killed leaves its folder behind."""
        if left := list(self.running):
            for reference in left:
                ray.cancel(reference, force=False)
            ray.wait(left, num_returns=len(left), timeout=ANSWER_SECONDS)
            self.cancel(lambda task: True)

    def cancel(self, applies: Callable[[_Task], bool]) -> None:
        """Kill the processes of some tasks."""
        for reference, task in self.running.items():
            if applies(task):
                ray.cancel(reference, force=True)


def _write_files(cell: Cell, kind: str, files: dict[str, bytes]) -> None:
    """Write what a task returned where the user wants it."""
    state = resume_path(cell.path)
    if kind == "stopped":
        if files["state"]:
            _write(state, files["state"])
        return
    for suffix in SUFFIXES:
        _write(cell.path.with_suffix(suffix), files[suffix])
    state.unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    write_atomically(path, lambda file: file.write(content))


def _create_board() -> Any:
    """Return a new board: an actor on the driver's node, which takes no CPU from the cells."""

    class Board:
        # Pickled by value, as it is defined in a function: its process then need not load torch.
        def __init__(self) -> None:
            self.messages: list[tuple[int, str, Any]] = []
            self.stop_signal = 0

        def tell(self, number: int, kind: str, value: Any) -> int:
            self.messages.append((number, kind, value))
            return self.stop_signal

        def read(self) -> list[tuple[int, str, Any]]:
            messages, self.messages = self.messages, []
            return messages

        def end(self, stop_signal: int) -> None:
            self.stop_signal = stop_signal

    here = ray.get_runtime_context().get_node_id()
    next_to_driver = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(here, soft=True)
    return ray.remote(Board).options(num_cpus=0, scheduling_strategy=next_to_driver).remote()


def _create_task(needs: Needs) -> Any:
    """Return the remote function that trains a cell. The driver itself runs again what is lost, and counts it."""

    def run_cell(version: str, order: dict[str, Any], images: dict[str, Any], board: Any) -> tuple[str, Any]:
        # Pickled by value, as it is defined in a function: so a node with another aekit, or none, can say so.
        where = f"({ray.util.get_node_ip_address()})"
        try:
            aekit = importlib.import_module("aekit")
        except ImportError as error:
            return "unfit", f"{where} cannot import aekit: {error}"
        if aekit.__version__ != version:
            return "unfit", f"{where} has aekit {aekit.__version__}"
        task = importlib.import_module("aekit.images.sweep.ray_task")
        ended: tuple[str, Any] = task.train_cell(task.Order(**order), images, board)
        return ended

    return ray.remote(run_cell).options(
        num_cpus=needs.threads, num_gpus=needs.gpus, max_retries=0, scheduling_strategy="SPREAD"
    )
