"""A grid of runs, trained and compared: the body of ``aekit sweep``."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from aekit.core.durable import one_writer
from aekit.core.output import Result
from aekit.core.progress import SILENT, Labelled, Progress
from aekit.core.torch_settings import keeps_torch_settings
from aekit.errors import AekitError, Stopped, count
from aekit.images.data import images_path
from aekit.images.events import check_events, check_owner
from aekit.images.runs import RATE_IS_HIGH, Machine
from aekit.images.sweep.best import choose_best
from aekit.images.sweep.grid import OnOutcome, run_grid
from aekit.images.sweep.names import keep_names
from aekit.images.sweep.outcomes import Done, Failed, Outcome, ResultsTable
from aekit.images.sweep.plan import Cell, Plan, cell_path, repeated
from aekit.images.sweep.summary import write_summary

TABLE = "results.csv"


class Train(Protocol):
    """What trains the cells of a grid: processes of this machine (:func:`run_grid`) or a Ray cluster."""

    def __call__(
        self,
        cells: Sequence[Cell],
        machine: Machine,
        *,
        jobs: int | None,
        overwrite: bool,
        on_outcome: OnOutcome,
        progress: Progress,
    ) -> list[Outcome]:
        """Return how each cell ended, in their order."""


@keeps_torch_settings
def run_sweep(
    plan: Plan,
    machine: Machine,
    train: Train | None = None,
    *,
    jobs: int | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Iterator[Result]:
    """Yield the checkpoints of a sweep with their test results: all of them, or the best one if the plan asks for it.

    Cells are trained in new processes, so a script that calls this needs ``if __name__ == "__main__":``. Cells that are
    done are left as they are, under any name in the folder. ``results.csv`` has a row for every cell that has ended,
    at any time; ``results.png`` and ``curves.png`` follow at the end.

    Args:
        plan: What to train, as :func:`aekit.images.sweep.plan.plan_sweep` returned it.
        machine: Where.
        train: What trains the cells; None is processes of this machine.
        jobs: Runs at a time; None is as many as help.
        overwrite: Train all cells, also those that are done.
        progress: Receives updates, and is asked whether to stop.

    Raises:
        AekitError: The images cannot be read, a file of another run is in the way, or, at the end, cells failed.
        Stopped: A signal asked for it; running cells saved their state.
    """
    named = Labelled(progress, str(plan.folder))
    plan = keep_names(plan, named)
    machine = _with_own_events(machine, plan, overwrite=overwrite)
    run = functools.partial(train or run_grid, machine=machine, overwrite=overwrite, progress=named)
    if any(cell.config.train.patience and cell.config.train.schedule != "constant" for cell in plan.cells):
        named.notice(RATE_IS_HIGH)
    with one_writer(plan.folder / TABLE):
        outcomes = _train(plan, run, jobs, named)
        chosen = [outcome for outcome in outcomes if isinstance(outcome, Done)]
        if plan.best is not None and chosen:
            best = choose_best(chosen, plan.swept, plan.best)
            named.notice(_choice(plan, best))
            chosen = [_retrain(plan, best, run) if plan.retrain else best]
    for done in chosen:
        result = done.header.result
        yield Result(done.cell.path, {**result["test"], "parameters": result["parameters"]})
    if failed := [outcome for outcome in outcomes if isinstance(outcome, Failed)]:
        first = f"{failed[0].cell.label}: {failed[0].error}"
        raise AekitError(
            f"{plan.folder / TABLE}: {len(failed)} of {count(len(outcomes), 'cell')} failed, the first {first}"
        )


def _with_own_events(machine: Machine, plan: Plan, *, overwrite: bool) -> Machine:
    """Return the machine with events in a folder per grid, as grids over the same options have cells of one name.

    Raises:
        AekitError: Events cannot be written, would lie among the images, or would mix with those of another grid.
    """
    if machine.tensorboard is None:
        return machine
    name = plan.folder.resolve().name
    for data in dict.fromkeys(cell.config.data.name for cell in plan.cells):
        check_events(machine.tensorboard, name, images_path(data, machine.data_root))
    for cell in () if overwrite else plan.cells:
        if not cell.path.exists():  # the others are not trained
            check_owner(machine.tensorboard / name / cell.path.stem, cell.path)
    return replace(machine, tensorboard=machine.tensorboard / name)


def _train(plan: Plan, run: functools.partial[list[Outcome]], jobs: int | None, progress: Progress) -> list[Outcome]:
    """Train the cells, with those that have ended in the table at any time, and summarise them."""
    table = ResultsTable(plan.folder / TABLE, plan.cells)

    def add(outcome: Outcome) -> None:
        table.add(outcome)
        if not (isinstance(outcome, Done) and outcome.is_old):
            table.write()

    started = time.monotonic()
    outcomes = run(plan.cells, jobs=jobs, on_outcome=add)
    progress.notice(_counts(outcomes, time.monotonic() - started))
    table.write()
    write_summary(plan, outcomes, table.to_frame(), progress)
    if signal_number := progress.should_stop():
        raise Stopped("stopped after all cells were trained", signal_number)
    return outcomes


def _counts(outcomes: Sequence[Outcome], seconds: float) -> str:
    n_failed = sum(isinstance(outcome, Failed) for outcome in outcomes)
    n_old = sum(isinstance(outcome, Done) and outcome.is_old for outcome in outcomes)
    text = f"{len(outcomes) - n_old - n_failed} of {count(len(outcomes), 'cell')} trained in {seconds:.1f} s"
    text += f", {n_old} had been trained before" if n_old else ""
    return text + (f", {n_failed} failed" if n_failed else "")


def _choice(plan: Plan, best: Done) -> str:
    metric = "reconstruction + KL" if plan.best == "elbo" else plan.best
    over = repeated(plan.swept)
    one = "best seed" if "seed" in plan.swept else "first split seed"
    of_seeds = f", by the mean over {over}, and of these the {one}" if over else ""
    of_labels = ", the first of cells that differ in --labels alone" if "labels" in plan.swept else ""
    return f"lowest {metric} on validation images{of_seeds}{of_labels}: {best.cell.label}"


def _retrain(plan: Plan, best: Done, run: functools.partial[list[Outcome]]) -> Done:
    """Train the settings of a cell on all of the training images, next to it, for as many epochs as were best.

    There is no validation to stop by any more. The schedule is that of a run of this length: the learning rate ends
    where it should, which it would not in a longer schedule that is cut off.
    """
    cell = best.cell
    own, n_epochs = cell.config.train, best.header.result["epoch"]
    # A warm-up that ended after the chosen epoch ends with the run: it must reach beta.
    train = replace(own, keep="last", patience=None, epochs=n_epochs, beta_warmup=min(own.beta_warmup, float(n_epochs)))
    config = replace(cell.config, data=replace(cell.config.data, val=0.0), train=train)
    again = Cell(config, cell_path(plan.folder, config, plan.swept), f"{cell.label}, on all training images")
    cells = keep_names(replace(plan, cells=(again,)), run.keywords["progress"]).cells
    (outcome,) = run(cells, jobs=1, on_outcome=lambda outcome: None)
    if isinstance(outcome, Failed):
        raise AekitError(f"--retrain: {outcome.error}")
    return outcome
