"""A grid of training runs on a Ray cluster: each a task, the images once a node, the results where the grid was begun.

A task gets numbers and arrays and returns the bytes of its files, so nodes share no file system with the driver. What
runs tell on the way goes over a board, an actor beside the driver, which also tells them to stop.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from aekit import __version__
from aekit.core.artifacts import check_writable, write_atomically
from aekit.core.checkpoint import read_header, resume_path
from aekit.core.settings import from_dict, to_dict
from aekit.errors import AekitError, Stopped
from aekit.images.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from aekit.images.data.image_set import ImageSet
from aekit.images.runs import Machine, read_splits, refuse_own_images, train_run
from aekit.images.sweep.grid import Cell, GridHooks, Outcome, Progressed, Reading, Teller, run_missing

LOOK_SECONDS = 0.25  # how often the driver looks at the board
ANSWER_SECONDS = 3.0  # for a connection to an address
CONNECT_SECONDS = 30.0  # for ray to join a cluster; left to itself it tries for two minutes and ends the process
ROOM_SECONDS = 60.0  # with no cell running, after which the user is told that the cluster has no room
SAVE_SECONDS = 30.0  # that running cells have to save their state after a signal
# A process that dies takes one cell with it, which may be what killed it; a node that dies is not the cell's fault.
MAX_CRASHES = 3
ADDRESS = re.compile(r"auto|[^/]+:\d+")
SUFFIXES = (".csv", ".png", ".safetensors")  # the checkpoint last: where it is, its companions are
# Joins the cluster and leaves it: says on stdout why it cannot.
TRIAL = """
import sys, ray
try:
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level="CRITICAL")
except Exception as error:
    print(" ".join(str(error).split()))
    sys.exit(1)
ray.shutdown()
"""


@dataclass(frozen=True)
class RayCluster:
    """Which cluster, and what a cell takes of it beside its threads.

    Attributes:
        address: ``auto`` for the cluster that this machine is part of, or HOST:PORT of its head.
        gpus: GPUs of a cell, below 1 to share one; None is 1 where cells run on cuda.
    """

    address: str
    gpus: float | None = None


def run_ray_grid(
    cells: Sequence[Cell], machine: Machine, cluster: RayCluster, *, jobs: int | None, overwrite: bool, hooks: GridHooks
) -> list[Outcome]:
    """Train the cells that are not there yet on a Ray cluster, and return how each ended, in their order.

    A cell whose node dies is run again elsewhere; nothing else is lost. The files are those of :func:`run_grid` with as
    many threads, to the byte where the processors are the same.

    Args:
        cells: The runs.
        machine: ``data_root`` is the driver's; ``threads`` are those of each cell, None is 1.
        cluster: Where they run.
        jobs: Cells at a time; None is as many as the cluster has room for.
        overwrite: Train those again that are there.
        hooks: Progress, and whether to stop.

    Raises:
        AekitError: The cluster cannot be reached or has no room for a cell, its nodes have another aekit, the images
            cannot be read or are too large for it, or a file of another run is in the way.
        Stopped: A signal asked for it; running cells sent their state.
    """

    def train(todo: list[Cell]) -> Iterator[Outcome]:
        for cell in todo:
            refuse_own_images(cell.config, cell.path)
        with _connection(cluster.address):
            needs = _needs(machine, cluster)
            check_writable(todo[0].path)
            yield from _Driver(needs, _place(todo, machine, needs, hooks), overwrite, hooks).train(todo, jobs)

    return run_missing(cells, train, overwrite=overwrite, hooks=hooks)


# --- the cluster ---


@contextlib.contextmanager
def _connection(address: str) -> Iterator[None]:
    """Connect to a cluster, or raise an AekitError soon."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise AekitError("--ray: needs the package ray; pip install 'aekit[ray]'") from error
    where = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
    if where.startswith("ray://"):
        raise AekitError(
            f"--ray {where}: a driver outside the cluster is not supported; start the sweep on one of its machines, "
            "with --ray auto"
        )
    if not ADDRESS.fullmatch(where):
        raise AekitError(f"--ray {where}: is no address of a cluster; give auto or HOST:PORT")
    _refuse_unreachable(where)
    before = signal.getsignal(signal.SIGTERM)
    # Ray prints on stdout what happens on other nodes, whatever it is told.
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        try:
            ray.init(address=where, log_to_driver=False, logging_level="CRITICAL")
            signal.signal(signal.SIGTERM, before)  # ray has put its own in its place
            yield
        finally:
            ray.shutdown()


def _refuse_unreachable(address: str) -> None:
    """Try in a process of its own whether ray can join: where it cannot, it prints, waits minutes, and ends it."""
    mend = "start a cluster with ray start --head, and join it with ray start --address HOST:PORT"
    if address != "auto":
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise AekitError(f"--ray {address}: cannot be reached ({reason}); {mend}") from error
    words = [sys.executable, "-P", "-c", TRIAL, address]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=CONNECT_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise AekitError(f"--ray {address}: no Ray cluster answers there; {mend}") from error
    if done.returncode:
        said = done.stdout.strip().partition(". ")[0].rstrip(".") or f"ray ended with code {done.returncode}"
        raise AekitError(f"--ray {address}: cannot be joined ({said}); {mend}")


@dataclass(frozen=True)
class _Needs:
    """What a cell takes of a node, and where on it it computes."""

    threads: int
    gpus: float
    device: str

    def __str__(self) -> str:
        cpus = f"{self.threads} CPU{'s' if self.threads > 1 else ''}"
        return cpus + (f" and {self.gpus:g} GPU{'s' if self.gpus > 1 else ''}" if self.gpus else "")


def _needs(machine: Machine, cluster: RayCluster) -> _Needs:
    """Return what a cell takes of a node, once there is a node that has it.

    Raises:
        AekitError: No node has it, or the options contradict each other.
    """
    if machine.device not in ("auto", "cpu", "cuda"):
        raise AekitError(f"--device {machine.device}: on Ray, cells get their GPU from it; give auto, cpu or cuda")
    if machine.threads is not None and machine.threads < 1:
        raise AekitError(f"--threads: {machine.threads} is below 1; give 1 or more")
    gpus, nodes = cluster.gpus, _nodes()
    if machine.device == "cpu" and gpus:
        raise AekitError(f"--gpus-per-cell: {gpus:g} with --device cpu would lie idle; leave one of them out")
    if machine.device == "cuda" and gpus == 0:
        raise AekitError("--gpus-per-cell: 0 with --device cuda leaves none; leave one of them out")
    if gpus is not None and (gpus < 0 or (gpus > 1 and gpus != int(gpus))):
        raise AekitError(f"--gpus-per-cell: {gpus:g} is neither a share of a GPU nor a number of GPUs; as 0.25 or 1")
    if gpus is None:
        has_gpu = any(node["Resources"].get("GPU", 0) for node in nodes)
        gpus = 1.0 if machine.device == "cuda" or (machine.device == "auto" and has_gpu) else 0.0
    needs = _Needs(machine.threads or 1, gpus, "cuda" if gpus else "cpu")
    largest = max((node["Resources"].get("CPU", 0) for node in nodes), default=0)
    if not any(_has_room(node, needs) for node in nodes):
        mend = "give less to --threads or --gpus-per-cell" if largest else "add one with ray start --address HOST:PORT"
        raise AekitError(f"--ray: no node of the cluster has {needs} for a cell; {mend}")
    return needs


def _nodes() -> list[dict[str, Any]]:
    import ray

    return [node for node in ray.nodes() if node["Alive"]]


def _has_room(node: dict[str, Any], needs: _Needs) -> bool:
    resources = node["Resources"]
    return bool(resources.get("CPU", 0) >= needs.threads and resources.get("GPU", 0) >= needs.gpus)


def _place(cells: list[Cell], machine: Machine, needs: _Needs, hooks: GridHooks) -> dict[DataConfig, Any]:
    """Read each image set once, and return references to them in Ray's object store, which copies them once a node.

    Raises:
        AekitError: A set cannot be read, or is larger than a node's store.
    """
    import ray

    nodes = [node for node in _nodes() if _has_room(node, needs)]
    room = min(node["Resources"].get("object_store_memory", 0) for node in nodes)
    references = {}
    for config in dict.fromkeys(cell.config.data for cell in cells):
        sets = read_splits(config, machine.data_root, Reading(hooks))
        n_bytes = sum(len(images) * int(np.prod(images.image_shape)) for images in sets.values())
        if n_bytes > room:
            raise AekitError(
                f"--data {config.name}: takes {n_bytes / 1e9:.2f} GB, and the object store of a node has "
                f"{room / 1e9:.2f}; use --limit or a smaller --image-size, or ray start --object-store-memory BYTES"
            )
        # Plain values: a node with another aekit must be able to take them, to say so.
        plain = {split: (np.asarray(images.images), images.name, images.fingerprint) for split, images in sets.items()}
        references[config] = ray.put(plain)
    return references


# --- the driver ---


@dataclass
class _Task:
    cell: Cell
    number: int
    node: str = ""  # where it runs, once it does

    @property
    def where(self) -> str:
        return f"node {self.node}" if self.node else "its node"


@dataclass
class _Driver:
    """Hands out cells and takes in what comes back."""

    needs: _Needs
    images: dict[DataConfig, Any]
    overwrite: bool
    hooks: GridHooks
    running: dict[Any, _Task] = field(default_factory=dict)  # by the reference of what each returns
    crashes: dict[Path, int] = field(default_factory=dict)
    n_submitted: int = 0
    stopping: float | None = None  # since when
    busy: float = field(default_factory=time.monotonic)  # when a cell last ran
    is_told: bool = False  # that there is no room

    def train(self, cells: list[Cell], jobs: int | None) -> Iterator[Outcome]:
        """Yield the outcome of each cell as it ends; after a signal, those that end by themselves still."""
        import ray

        board, work = _make_board(), _make_task(self.needs)
        waiting = list(cells)
        try:
            while self.running or (waiting and self.stopping is None):
                self._stop_if_asked(board)
                while waiting and self.stopping is None and len(self.running) < (jobs or len(cells)):
                    self._submit(waiting.pop(0), board, work)
                ready, _ = ray.wait(list(self.running), timeout=LOOK_SECONDS) if self.running else ([], [])
                self._listen(board)
                for reference in ready:
                    ended = self._end(reference)
                    if isinstance(ended, Cell):
                        waiting.insert(0, ended)
                    elif ended is not None:
                        yield ended
                self._look_for_room()
        finally:
            self._abandon()

    def _submit(self, cell: Cell, board: Any, work: Any) -> None:
        unfinished = resume_path(cell.path)
        state = unfinished.read_bytes() if unfinished.exists() and not self.overwrite else b""
        order = {
            "number": self.n_submitted,
            "config": to_dict(cell.config),
            "machine": {"device": self.needs.device, "threads": self.needs.threads},
            "state": state,
            "path": str(cell.path),
        }
        reference = work.remote(__version__, order, self.images[cell.config.data], board)
        self.running[reference] = _Task(cell, self.n_submitted)
        self.n_submitted += 1

    def _listen(self, board: Any) -> None:
        """Pass on what the cells have told the board."""
        import ray

        news = []
        with contextlib.suppress(ray.exceptions.RayError):  # without the board cells go on, only unheard
            news = ray.get(board.read.remote(), timeout=ANSWER_SECONDS)
        by_number = {task.number: task for task in self.running.values()}
        for number, kind, value in news:
            task = by_number.get(number)
            if task is None:
                continue
            if kind == "started":
                task.node = value
            elif kind == "progress":
                self.hooks.on_progress(task.cell, Progressed(*value))
            else:
                self.hooks.on_message(f"{task.cell.label}: {value}")

    def _end(self, reference: Any) -> Outcome | Cell | None:
        """Return how a task ended: an outcome, a cell that has to be run again, or None for one that was stopped."""
        import ray

        errors = ray.exceptions
        task = self.running.pop(reference)
        self.busy, self.is_told = time.monotonic(), False
        try:
            kind, value = ray.get(reference)
        except errors.TaskCancelledError:
            return self._again(task.cell, "was cancelled")
        except errors.RayTaskError as error:
            text = " ".join(str(error.cause).split())
            if isinstance(error.cause, OSError):  # as of a process whose node is dying around it
                return self._lost(task, f"broke off ({text})")
            return Outcome(task.cell, None, error=f"crashed with {type(error.cause).__name__}: {text}")
        except errors.NodeDiedError:
            return self._again(task.cell, f"{task.where} died")
        except errors.OutOfMemoryError:
            return self._lost(task, "was killed as memory ran out; more --threads let fewer share a node")
        except errors.RayError:
            return self._lost(task, "died")
        if kind == "unfit":
            raise AekitError(f"--ray: a node {value}; install aekit[ray] {__version__} on every node")
        if kind == "failed":
            return Outcome(task.cell, None, error=value)
        try:
            self._keep(task.cell, kind, value)
        except AekitError as error:
            return Outcome(task.cell, None, error=str(error))
        if kind == "stopped":  # by us, or by its node, which goes down
            return self._again(task.cell, f"{task.where} stopped it")
        return Outcome(task.cell, read_header(task.cell.path))

    def _again(self, cell: Cell, why: str) -> Cell | None:
        """Return a cell to be run again, or None after a signal."""
        if self.stopping is not None:
            return None
        self.hooks.on_message(f"{cell.label}: {why}; running it again")
        return cell

    def _lost(self, task: _Task, what: str) -> Outcome | Cell | None:
        """Return the cell of a process that was lost, to be run again, or that it failed if that goes on."""
        self.crashes[task.cell.path] = n_crashes = self.crashes.get(task.cell.path, 0) + 1
        if n_crashes < MAX_CRASHES or self.stopping is not None:
            return self._again(task.cell, f"its process on {task.where} {what}")
        return Outcome(task.cell, None, error=f"its process was lost {n_crashes} times; the last {what}")

    def _keep(self, cell: Cell, kind: str, files: dict[str, bytes]) -> None:
        """Write what a task returned where the user wants it."""
        unfinished = resume_path(cell.path)
        if kind == "stopped":
            if state := files["state"]:
                _write(unfinished, state)
            return
        for suffix in SUFFIXES:
            _write(cell.path.with_suffix(suffix), files[suffix])
        unfinished.unlink(missing_ok=True)

    def _look_for_room(self) -> None:
        """Say once that no cell runs, where none has for long: all nodes are taken, or gone."""
        if any(task.node for task in self.running.values()):
            self.busy, self.is_told = time.monotonic(), False
        elif time.monotonic() - self.busy > ROOM_SECONDS and not self.is_told:
            self.is_told = True
            self.hooks.on_message(f"waiting for a node with {self.needs} free")

    def _stop_if_asked(self, board: Any) -> None:
        if self.stopping is None and (number := self.hooks.stop_signal()):
            self.stopping = time.monotonic()
            board.end.remote(number)  # which has running cells save their state and return it
            self._cancel(lambda task: not task.node)
        elif self.stopping is not None and time.monotonic() - self.stopping > SAVE_SECONDS:
            self._cancel(lambda task: True)

    def _abandon(self) -> None:
        """End whatever still runs; asked first, as a process that is killed leaves its folder behind."""
        import ray

        if left := list(self.running):
            for reference in left:
                ray.cancel(reference, force=False)
            ray.wait(left, num_returns=len(left), timeout=ANSWER_SECONDS)
            self._cancel(lambda task: True)

    def _cancel(self, is_meant: Callable[[_Task], bool]) -> None:
        import ray

        for reference, task in self.running.items():
            if is_meant(task):
                ray.cancel(reference, force=True)


def _write(path: Path, content: bytes) -> None:
    write_atomically(path, lambda file: file.write(content))


def _make_board() -> Any:
    """Return a new board: an actor on the driver's node, which takes no CPU from the cells."""
    import ray

    class Board:
        # Pickled by value, as it stands in a function: its process then need not load torch.
        def __init__(self) -> None:
            self.news: list[tuple[int, str, Any]] = []
            self.stop_signal = 0

        def tell(self, number: int, kind: str, value: Any) -> int:
            self.news.append((number, kind, value))
            return self.stop_signal

        def read(self) -> list[tuple[int, str, Any]]:
            news, self.news = self.news, []
            return news

        def end(self, stop_signal: int) -> None:
            self.stop_signal = stop_signal

    here = ray.get_runtime_context().get_node_id()
    beside = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(here, soft=True)
    return ray.remote(Board).options(num_cpus=0, scheduling_strategy=beside).remote()


def _make_task(needs: _Needs) -> Any:
    """Return the remote function that trains a cell. The driver itself runs again what is lost, and counts it."""
    import ray

    def run_cell(version: str, order: dict[str, Any], images: dict[str, Any], board: Any) -> tuple[str, Any]:
        # Pickled by value, as it stands in a function: so a node with another aekit, or none, can say so.
        where = f"({ray.util.get_node_ip_address()})"
        try:
            import aekit
        except ImportError as error:
            return "unfit", f"{where} cannot import aekit: {error}"
        if aekit.__version__ != version:
            return "unfit", f"{where} has aekit {aekit.__version__}"
        from aekit.images.sweep.ray_grid import train_cell

        return train_cell(order, images, board)

    return ray.remote(run_cell).options(
        num_cpus=needs.threads, num_gpus=needs.gpus, max_retries=0, scheduling_strategy="SPREAD"
    )


# --- the task ---


def train_cell(order: dict[str, Any], images: dict[str, Any], board: Any) -> tuple[str, Any]:
    """Train one cell in a folder of its own, as a task of Ray; return how it ended and what it leaves.

    Args:
        order: ``number`` of the task, ``config``, ``machine`` (device and threads), ``state`` of an unfinished run as
            bytes, and ``path``, where the driver keeps the checkpoint.
        images: Pixels uint8 (N, C, H, W), name and fingerprint, by split.
        board: The actor that is told of the run.

    Returns:
        ``done`` and the files by suffix, ``stopped`` and the state, or ``failed`` and why.
    """
    line = _Line(board, order["number"])
    line.send(("started", _here()))
    parts: dict[str, Any] = {"data": DataConfig, "model": ModelConfig, "train": TrainConfig}
    config = RunConfig(**{part: from_dict(cls, order["config"][part]) for part, cls in parts.items()})
    sets: Any = {
        split: ImageSet(pixels, name, fingerprint=fingerprint) for split, (pixels, name, fingerprint) in images.items()
    }
    path = Path(order["path"])
    with tempfile.TemporaryDirectory(prefix="aekit-") as folder:
        output = Path(folder) / path.name
        unfinished = resume_path(output)
        if order["state"]:
            unfinished.write_bytes(order["state"])
        machine = Machine(Path(folder), **order["machine"])
        try:
            train_run(config, output, machine, overwrite=False, resume=True, progress=line.teller, sets=sets)
        except AekitError as error:
            return "failed", str(error).replace(folder, str(path.parent))  # the user knows no folder of the node
        except Stopped:
            return "stopped", {"state": unfinished.read_bytes() if unfinished.exists() else b""}
        return "done", {suffix: output.with_suffix(suffix).read_bytes() for suffix in SUFFIXES}


def _here() -> str:
    import ray

    return f"{ray.util.get_node_ip_address()} ({ray.get_runtime_context().get_node_id()[:8]})"


class _Line:
    """The way of a run to the board, whose answers tell it to stop."""

    def __init__(self, board: Any, number: int) -> None:
        self.teller = Teller(self.send)
        self._board = board
        self._number = number

    def send(self, told: tuple[str, Any]) -> None:
        kind, value = told
        plain = tuple(vars(value).values()) if isinstance(value, Progressed) else value
        # Never ray.get or ray.wait in a task: while it blocks Ray gives its CPU to another cell.
        self._board.tell.remote(self._number, kind, plain).future().add_done_callback(self._hear)

    def _hear(self, answer: Future[int]) -> None:
        # A board that is gone answers with an error: the run goes on, only unheard.
        if answer.exception() is None and (stop_signal := answer.result()):
            self.teller.came.append(stop_signal)
