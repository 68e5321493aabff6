"""A grid of training runs, each in a process of its own, several at a time."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import torch

from aekit.core.artifacts import check_writable
from aekit.core.device import choose_device, free_memory
from aekit.core.environment import count_cores, spin_briefly
from aekit.core.progress import SILENT, Progress
from aekit.errors import Stopped, count
from aekit.images.config import Split
from aekit.images.data import read_images
from aekit.images.run_headers import run_files
from aekit.images.runs import Machine
from aekit.images.sweep.outcomes import Done, Failed, Outcome
from aekit.images.sweep.plan import Cell
from aekit.images.sweep.worker import REPORT_SECONDS, Message, work

# What a worker needs besides its images: torch, the network, its gradients and moments, activations of a batch.
WORKER_BYTES = 10**9
BYTES_PER_IMAGE_BYTE = 2.0  # an image set is held as bytes, and a copy of it exists while it is cut into splits
OnOutcome = Callable[[Outcome], object]


class GridReport:
    """Reports how far a grid has come: a lane for each running cell, one for all, and a line for each that ends.

    Args:
        n_cells: Number of cells.
        progress: Receives all of it.
        on_outcome: Called with each cell that has ended.
    """

    def __init__(self, n_cells: int, progress: Progress, on_outcome: OnOutcome) -> None:
        self.progress = progress
        self._on_outcome = on_outcome
        self._n_cells = n_cells
        self._n_ended = 0
        self._n_failed = 0
        self._said: set[str] = set()

    def add_old(self, outcome: Done) -> None:
        """Count a cell that had been trained before."""
        self._n_ended += 1
        self._on_outcome(outcome)

    def heard(self, cell: Cell, message: Message) -> None:
        """Pass on what a running cell reports: ``progress``, a ``notice``, or what is ``common`` to several, once."""
        kind, value = message
        if kind == "progress":
            done, total, words = value
            self._show()
            self.progress.update(cell.label, done, total, lane=cell.label, detail=lambda: words)
        elif kind == "notice":
            self.progress.notice(f"{cell.label}: {value}")
        elif value not in self._said:
            self._said.add(value)
            self.progress.notice(value)

    def ended(self, outcome: Outcome) -> None:
        """Report a cell that has ended."""
        self._n_ended += 1
        self._n_failed += isinstance(outcome, Failed)
        label = outcome.cell.label
        self.progress.update(label, 1, 1, lane=label, detail=lambda: "")
        self.progress.notice(f"{self._n_ended}/{self._n_cells}  {label}: {outcome}")
        self._show()
        self._on_outcome(outcome)

    def stopped(self, signal_number: int) -> Stopped:
        """Return the exception for a grid that was stopped by a signal."""
        return Stopped(
            f"stopped with {self._n_ended} of {count(self._n_cells, 'cell')} done; continue with the same command",
            signal_number,
        )

    def _show(self) -> None:
        failed = f", {self._n_failed} failed" if self._n_failed else ""
        words = f"{self._n_ended} of {self._n_cells}{failed}"
        self.progress.update("cells", self._n_ended, self._n_cells, lane="cells", detail=lambda: words)


def run_grid(
    cells: Sequence[Cell],
    machine: Machine,
    *,
    jobs: int | None = None,
    overwrite: bool = False,
    on_outcome: OnOutcome = lambda outcome: None,
    progress: Progress = SILENT,
) -> list[Outcome]:
    """Train the cells that are not done yet, and return how each ended, in their order.

    Args:
        cells: The runs.
        machine: Where they run; ``threads`` are those of each worker, None divides the cores among them.
        jobs: Runs at a time; None is as many as help.
        overwrite: Train all cells, also those that are done.
        on_outcome: Called with each cell that has ended, in that order; those that were done before come first.
        progress: Receives updates, and is asked whether to stop.

    Raises:
        AekitError: The images cannot be read, or a file of another run is in the way.
        Stopped: A signal asked for it; running cells saved their state.
    """

    def train(todo: list[Cell], report: GridReport) -> Iterator[Outcome]:
        largest = _read_all(todo, machine, progress)
        check_writable(todo[0].path)
        # Divided as for all cells, so that one that is trained later has as many threads, and so the same bytes.
        workers = _divide(machine, len(cells), jobs, largest)
        return _train(todo, workers, overwrite, report)

    return run_missing(cells, train, GridReport(len(cells), progress, on_outcome), overwrite=overwrite)


def run_missing(
    cells: Sequence[Cell],
    train: Callable[[list[Cell], GridReport], Iterator[Outcome]],
    report: GridReport,
    *,
    overwrite: bool,
) -> list[Outcome]:
    """Return how each cell ended, in their order, after ``train`` yielded the outcomes of those that were not done.

    Raises:
        AekitError: A file of another run is in the way.
        Stopped: A signal asked for it, and cells are missing.
    """
    outcomes: dict[Path, Outcome] = {}
    for cell in () if overwrite else cells:
        if (header := run_files(cell.config, cell.path).finished()) is not None:
            old = outcomes[cell.path] = Done(cell, header, is_old=True)
            report.add_old(old)
    todo = [cell for cell in cells if cell.path not in outcomes]
    for outcome in train(todo, report) if todo else ():
        outcomes[outcome.cell.path] = outcome
        report.ended(outcome)
    if signal_number := report.progress.should_stop():
        raise report.stopped(signal_number)
    return [outcomes[cell.path] for cell in cells]


def _read_all(cells: list[Cell], machine: Machine, progress: Progress) -> int:
    """Read every image set once, and return the bytes of the largest.

    So a set that cannot be read is one error and not one per cell, and it is downloaded or decoded into the cache once
    and not by every worker.
    """
    splits: tuple[Split, ...] = ("train", "test")
    largest = 0
    for config in dict.fromkeys(replace(cell.config.data, val=0.0) for cell in cells):
        sets = [read_images(config, split, data_root=machine.data_root, progress=progress) for split in splits]
        largest = max(largest, sum(len(images) * int(np.prod(images.image_shape)) for images in sets))
    return largest


def _divide(machine: Machine, n_cells: int, jobs: int | None, image_bytes: int) -> list[Machine]:
    """Return the machine as each of the workers that run at the same time sees it."""
    n_cores = count_cores()
    device = choose_device(machine.device)
    devices = [machine.device]
    if device.type == "cuda" and ":" not in machine.device:
        devices = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    if jobs is None:
        fitting = int(free_memory() // (WORKER_BYTES + BYTES_PER_IMAGE_BYTE * image_bytes))
        jobs = max(1, min(n_cores // (machine.threads or 1), fitting)) if device.type == "cpu" else len(devices)
    n_workers = min(jobs, n_cells)
    threads = machine.threads or max(1, n_cores // n_workers)
    return [replace(machine, device=devices[i % len(devices)], threads=threads) for i in range(n_workers)]


@dataclass
class _Worker:
    """A process that trains a cell; ``end`` is the last message of one that said how it ended."""

    cell: Cell
    machine: Machine
    process: BaseProcess
    connection: Connection
    end: Message = ("", None)


def _train(cells: list[Cell], machines: list[Machine], overwrite: bool, report: GridReport) -> Iterator[Outcome]:
    """Yield the outcome of each cell as it ends; after a signal, only those that still end by themselves."""
    context = _context(machines)
    waiting, idle, workers = list(cells), list(machines), list[_Worker]()
    is_stopping = False
    try:
        while workers or (waiting and not is_stopping):
            if report.progress.should_stop() and not is_stopping:  # asked before the first worker starts
                is_stopping = True
                for worker in workers:
                    worker.process.terminate()  # which asks it to save its state
            while waiting and idle and not is_stopping:
                workers.append(_start(context, waiting.pop(0), idle.pop(0), overwrite))
            for worker in _listen(workers, report):
                workers.remove(worker)
                idle.append(worker.machine)
                if outcome := _outcome(worker, is_stopping=is_stopping):
                    yield outcome
    finally:
        for worker in workers:
            worker.process.kill()


def _context(machines: list[Machine]) -> BaseContext:
    """Return how workers are started, with what each of them needs loaded before: 5/6 of the time of a tiny cell."""
    spin_briefly()
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    loaded = ["aekit.images.sweep.worker"]
    # The compiler examines the GPUs, after which a forked process may not use them; but every optimizer of torch loads
    # it, needed or not.
    if all(choose_device(machine.device).type == "cpu" for machine in machines):
        loaded += ["torch._dynamo", "torch._inductor.config", "matplotlib.backends.backend_agg"]
    context.set_forkserver_preload(loaded)
    return context


def _start(context: BaseContext, cell: Cell, machine: Machine, overwrite: bool) -> _Worker:
    here, there = context.Pipe(duplex=False)
    process: BaseProcess = context.Process(  # type: ignore[attr-defined]
        target=work, args=(cell, machine, overwrite, there), daemon=True
    )
    process.start()
    there.close()  # so that its end is seen when the worker dies
    return _Worker(cell, machine, process, here)


def _listen(workers: Sequence[_Worker], report: GridReport) -> list[_Worker]:
    """Pass on what workers report, for a moment, and return those that have ended."""
    by_connection = {worker.connection: worker for worker in workers}
    ended = []
    for connection in wait(list(by_connection), timeout=REPORT_SECONDS):
        worker = by_connection[connection]  # type: ignore[index]
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            worker.process.join()
            ended.append(worker)
            continue
        if message[0] in ("progress", "notice", "common"):
            report.heard(worker.cell, message)
        else:
            worker.end = message
    return ended


def _outcome(worker: _Worker, *, is_stopping: bool) -> Outcome | None:
    """Return how a worker's cell ended, or None if it was stopped."""
    match worker.end:
        case ("done", header):
            return Done(worker.cell, header)
        case ("failed", error):
            return Failed(worker.cell, error)
        case ("stopped", _):
            return None
    if is_stopping:
        return None
    code = worker.process.exitcode or 0
    reason = f"was killed by signal {-code}" if code < 0 else f"crashed with exit code {code}"
    if code == -signal.SIGKILL:
        reason += ", as when memory runs out; try fewer --jobs"
    return Failed(worker.cell, reason)
