"""A grid of training runs, each in a process of its own, some at a time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from aekit.core.artifacts import check_writable
from aekit.core.checkpoint import Header
from aekit.core.device import choose_device, free_memory
from aekit.core.environment import count_cores
from aekit.core.progress import Progress, Silent
from aekit.errors import AekitError, Stopped
from aekit.images.config import RunConfig, Split
from aekit.images.data import read_images
from aekit.images.runs import Machine, run_files, train_run

TOLD_SECONDS = 0.25  # how often a worker tells how far it is
ORPHAN_SECONDS = 20.0  # for a worker to save its state and end when its parent has gone
# What a worker needs beside its images: torch, the network, its gradients and moments, activations of a batch.
WORKER_BYTES = 10**9
FLOATS_AN_IMAGE_BYTE = 2.0  # an image set is held as bytes, and a copy of it exists while it is cut into splits


@dataclass(frozen=True)
class Cell:
    """One run of a grid.

    Attributes:
        config: What is trained.
        path: Its checkpoint.
        label: What tells it from the other cells, in a few words.
    """

    config: RunConfig
    path: Path
    label: str


@dataclass(frozen=True)
class Progressed:
    """How far a running cell has come.

    Attributes:
        done: Steps behind it.
        total: Steps of the whole run.
        detail: Epoch, loss and speed, in words.
    """

    done: int
    total: int
    detail: str


@dataclass(frozen=True)
class Outcome:
    """How a cell ended.

    Attributes:
        cell: The cell.
        header: What its checkpoint says of itself; None if there is none.
        error: Why it failed, in one line; empty if it did not.
        is_old: Whether it was there before.
    """

    cell: Cell
    header: Header | None
    error: str = ""
    is_old: bool = False


@dataclass(frozen=True)
class GridHooks:
    """What a grid tells the outside, and asks of it."""

    on_data: Callable[[str, int, int], object] = lambda what, done, total: None
    on_progress: Callable[[Cell, Progressed], object] = lambda cell, progressed: None
    on_message: Callable[[str], object] = lambda text: None
    on_outcome: Callable[[Outcome], object] = lambda outcome: None
    stop_signal: Callable[[], int | None] = lambda: None


def run_grid(
    cells: Sequence[Cell], machine: Machine, *, jobs: int | None, overwrite: bool, hooks: GridHooks
) -> list[Outcome]:
    """Train the cells that are not there yet, and return how each ended, in their order.

    Args:
        cells: The runs.
        machine: Where they run; ``threads`` are those of each worker, None shares the cores out among them.
        jobs: Runs at a time; None is as many as help.
        overwrite: Train those again that are there.
        hooks: Progress, and whether to stop.

    Raises:
        AekitError: The images cannot be read, or a file of another run is in the way.
        Stopped: A signal asked for it; running cells saved their state.
    """

    def train(todo: list[Cell]) -> Iterator[Outcome]:
        largest = _read_all(todo, machine, Reading(hooks))
        check_writable(todo[0].path)
        # Shared out as for all cells, so that one that is trained later has as many threads, and so the same bytes.
        workers = _share(machine, len(cells), jobs, largest)
        return _train(todo, workers, overwrite, hooks)

    return run_missing(cells, train, overwrite=overwrite, hooks=hooks)


def run_missing(
    cells: Sequence[Cell], train: Callable[[list[Cell]], Iterator[Outcome]], *, overwrite: bool, hooks: GridHooks
) -> list[Outcome]:
    """Return how each cell ended, in their order, after ``train`` yielded the outcomes of those that are not there.

    Raises:
        AekitError: A file of another run is in the way.
        Stopped: A signal asked for it, and cells are missing.
    """
    outcomes: dict[Path, Outcome] = {}
    todo = []
    for cell in cells:
        header = None if overwrite else run_files(cell.config, cell.path).finished()
        if header is None:
            todo.append(cell)
        else:
            outcomes[cell.path] = Outcome(cell, header, is_old=True)
            hooks.on_outcome(outcomes[cell.path])
    if todo:
        for outcome in train(todo):
            outcomes[outcome.cell.path] = outcome
            hooks.on_outcome(outcome)
    if stop := hooks.stop_signal():
        raise Stopped(f"stopped with {len(outcomes)} of {len(cells)} cells done; go on with the same command", stop)
    return [outcomes[cell.path] for cell in cells]


class Reading(Silent):
    """Progress of reading that is passed on to the hooks of a grid."""

    def __init__(self, hooks: GridHooks) -> None:
        self._hooks = hooks

    def update(
        self, what: str, done: int, total: int, *, lane: str = "", detail: Callable[[], str] | None = None
    ) -> None:
        """Pass on how far reading has come."""
        self._hooks.on_data(what, done, total)

    def notice(self, text: str) -> None:
        """Pass on a line."""
        self._hooks.on_message(text)


def _read_all(cells: list[Cell], machine: Machine, progress: Progress) -> int:
    """Read every image set once, and return the bytes of the largest.

    So that what cannot be read is one error and not one a cell, and that a set is downloaded or decoded into the
    cache once and not by every worker.
    """
    splits: tuple[Split, ...] = ("train", "test")
    largest = 0
    for config in dict.fromkeys(replace(cell.config.data, val=0.0) for cell in cells):
        sets = [read_images(config, split, data_root=machine.data_root, progress=progress) for split in splits]
        largest = max(largest, sum(len(s) * int(np.prod(s.image_shape)) for s in sets))
    return largest


def _share(machine: Machine, n_cells: int, jobs: int | None, image_bytes: int) -> list[Machine]:
    """Return the machine as each of the workers that run at a time sees it."""
    n_cores = count_cores()
    device = choose_device(machine.device)
    devices = [machine.device]
    if device.type == "cuda" and ":" not in machine.device:
        devices = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    if jobs is None:
        fitting = int(free_memory() // (WORKER_BYTES + FLOATS_AN_IMAGE_BYTE * image_bytes))
        jobs = max(1, min(n_cores // (machine.threads or 1), fitting)) if device.type == "cpu" else len(devices)
    n_workers = min(jobs, n_cells)
    threads = machine.threads or max(1, n_cores // n_workers)
    return [replace(machine, device=devices[i % len(devices)], threads=threads) for i in range(n_workers)]


# --- the parent ---


@dataclass
class _Worker:
    cell: Cell
    machine: Machine
    process: BaseProcess
    connection: Connection
    told: tuple[str, Any] | None = None


def _train(cells: list[Cell], machines: list[Machine], overwrite: bool, hooks: GridHooks) -> Iterator[Outcome]:
    """Yield the outcome of each cell as it ends; after a signal, those that end by themselves still."""
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(_loaded_before_the_fork(machines))
    waiting, idle, workers = list(cells), list(machines), list[_Worker]()
    is_stopping = False
    try:
        while workers or (waiting and not is_stopping):
            while waiting and idle and not is_stopping:
                cell, machine = waiting.pop(0), idle.pop(0)
                here, there = context.Pipe(duplex=False)
                process: BaseProcess = context.Process(  # type: ignore[attr-defined]
                    target=_work, args=(cell, machine, overwrite, there), daemon=True
                )
                process.start()
                there.close()  # so that its end is seen when the worker dies
                workers.append(_Worker(cell, machine, process, here))
            for connection in wait([worker.connection for worker in workers], timeout=TOLD_SECONDS):
                (worker,) = (worker for worker in workers if worker.connection is connection)
                if not _listen(worker, hooks):
                    workers.remove(worker)
                    idle.append(worker.machine)
                    if outcome := _outcome(worker, is_stopping=is_stopping):
                        yield outcome
            if hooks.stop_signal() and not is_stopping:
                is_stopping = True
                for worker in workers:
                    worker.process.terminate()  # which asks it to save its state
    finally:
        for worker in workers:
            worker.process.kill()


def _loaded_before_the_fork(machines: list[Machine]) -> list[str]:
    """Return the modules that every cell needs, which are so loaded once: five sixths of the time of a tiny cell."""
    if any(choose_device(machine.device).type != "cpu" for machine in machines):
        return ["aekit.images.runs"]  # the compiler looks at the GPUs, after which a forked process may not use them
    # Every optimizer of torch loads the compiler, needed or not.
    return ["aekit.images.runs", "torch._dynamo", "torch._inductor.config", "matplotlib.backends.backend_agg"]


def _listen(worker: _Worker, hooks: GridHooks) -> bool:
    """Pass on what a worker says; return False when it has ended."""
    try:
        kind, value = worker.connection.recv()
    except (EOFError, OSError):
        worker.process.join()
        return False
    if kind == "progress":
        hooks.on_progress(worker.cell, value)
    elif kind == "message":
        hooks.on_message(f"{worker.cell.label}: {value}")
    else:
        worker.told = (kind, value)
    return True


def _outcome(worker: _Worker, *, is_stopping: bool) -> Outcome | None:
    """Return how a worker's cell ended, or None if it was stopped."""
    kind, value = worker.told or ("stopped" if is_stopping else "", None)
    if kind == "done":
        return Outcome(worker.cell, value)
    if kind == "failed":
        return Outcome(worker.cell, None, error=str(value))
    if kind == "stopped":
        return None
    code = worker.process.exitcode or 0
    reason = f"was killed by signal {-code}" if code < 0 else f"crashed with exit code {code}"
    if code == -signal.SIGKILL:
        reason += ", as when memory runs out; try fewer --jobs"
    return Outcome(worker.cell, None, error=reason)


# --- the worker ---


def _work(cell: Cell, machine: Machine, overwrite: bool, connection: Connection) -> None:
    """Train one cell in a process of its own, and tell the parent."""
    teller = Teller(connection.send)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent says what to do
    signal.signal(signal.SIGTERM, lambda number, frame: teller.came.append(number))
    threading.Thread(target=_follow_parent, args=(teller,), daemon=True).start()
    try:
        done = train_run(cell.config, cell.path, machine, overwrite=overwrite, resume=not overwrite, progress=teller)
    except AekitError as error:
        teller.tell("failed", str(error))
    except Stopped:
        teller.tell("stopped", None)
    else:
        teller.tell("done", done.header)


def _follow_parent(teller: Teller) -> None:
    """Stop the run when the process that asked for it has gone, as when it was killed; end it if it cannot be."""
    if (parent := multiprocessing.parent_process()) is not None:
        wait([parent.sentinel])
        teller.came.append(signal.SIGTERM)
        time.sleep(ORPHAN_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)


class Teller:
    """Tells how far a run has come, now and then, and stops it after a signal.

    Args:
        send: Takes what is told, its kind and a value, to whoever runs the grid.

    Attributes:
        came: The signals that have come.
    """

    def __init__(self, send: Callable[[tuple[str, Any]], object]) -> None:
        self.came: list[int] = []
        self._send = send
        self._told = 0.0

    def tell(self, kind: str, value: Any) -> None:
        """Tell, or stop the run if nobody listens any more."""
        try:
            self._send((kind, value))
        except OSError:  # the parent is gone: save and end
            self.came.append(signal.SIGTERM)

    def update(
        self, what: str, done: int, total: int, *, lane: str = "", detail: Callable[[], str] | None = None
    ) -> None:
        """Tell of a step, if the last time was long enough ago."""
        now = time.monotonic()
        if detail is not None and now - self._told > TOLD_SECONDS:
            self._told = now
            self.tell("progress", Progressed(done, total, detail()))

    def notice(self, text: str) -> None:
        """Tell a line that must not be missed."""
        self.tell("message", text)

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Tell no tables: a run has none."""

    def should_stop(self) -> int | None:
        """Return the signal that has come, if any."""
        return self.came[0] if self.came else None


# --- what came out ---


def results_table(outcomes: Sequence[Outcome], settings: Callable[[RunConfig], dict[str, Any]]) -> pd.DataFrame:
    """Return one row a cell: its settings, how it ended, its figures, and its path.

    Figures of the splits are those of the weights that were kept: ``train_total``, ``val_mse`` and so on; those of a
    split that was not measured are missing. ``active_units`` are those of the held-out images, ``seconds`` those of all
    epochs.

    Args:
        outcomes: How the cells ended.
        settings: Returns the columns of settings of a run.
    """
    return pd.DataFrame([result_row(outcome, settings(outcome.cell.config)) for outcome in outcomes])


def result_row(outcome: Outcome, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the row of one cell in :func:`results_table`, whose settings are as given."""
    row = {key: "x".join(map(str, value)) if isinstance(value, tuple) else value for key, value in settings.items()}
    result = outcome.header.result if outcome.header else {}
    row |= {"status": "failed" if outcome.error else "done", "error": outcome.error or None}
    row |= {"parameters": result.get("parameters"), "epoch": result.get("epoch")}
    kept = {r["split"]: r for r in result.get("history", []) if r["epoch"] == result["epoch"]}
    for split in ("train", "val", "test"):
        for name in ("total", "reconstruction", "kl", "mse"):
            row[f"{split}_{name}"] = kept.get(split, {}).get(name)
    row["active_units"] = kept.get("val", kept.get("test", {})).get("active_units")
    history = outcome.cell.path.with_suffix(".csv")
    is_there = outcome.header is not None and history.exists()
    row["seconds"] = _seconds(history) if is_there else None
    row["path"] = str(outcome.cell.path) if outcome.header else None
    return row


def _seconds(history: Path) -> float | None:
    """Return how long a run took, or None if its history is damaged: no reason to lose a grid's results."""
    try:
        return float(pd.to_numeric(pd.read_csv(history)["seconds"]).sum())
    except (OSError, ValueError, TypeError, LookupError, OverflowError):
        return None
