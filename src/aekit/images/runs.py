"""A run configuration becomes data, model and loss, is trained, and leaves a checkpoint, a history and its curves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from aekit.core.artifacts import write_columns, write_png
from aekit.core.checkpoint import Header, read_header, read_state_header
from aekit.core.device import choose_device, seed_everything, set_threads
from aekit.core.distributed import Group, own_device, process_group
from aekit.core.output import Result, checkpoint_path
from aekit.core.progress import SILENT, Labelled, Progress
from aekit.core.run_files import RunFiles
from aekit.core.torch_settings import keeps_torch_settings
from aekit.core.weights import write_checkpoint
from aekit.errors import AekitError
from aekit.images.conditioning import training_classes
from aekit.images.config import RunConfig, Split
from aekit.images.data import images_path
from aekit.images.data.image_set import ImageSet
from aekit.images.events import Events, check_events, claim_events
from aekit.images.figures.curves import plot_history
from aekit.images.identity import check_same, name_other_lengths
from aekit.images.inputs import refuse_replacing_images, say_if_among_images
from aekit.images.lineage import find_lineage, read_lineage, take_weights
from aekit.images.models import build_model
from aekit.images.models.base import Autoencoder
from aekit.images.models.own import Builder
from aekit.images.objectives import build_objective
from aekit.images.official import check_can_choose
from aekit.images.record import read_record
from aekit.images.run_building import (
    as_met,
    build_run,
    build_team,
    read_splits,
    refuse_too_large,
)
from aekit.images.run_defaults import fill_defaults, small_set_notice
from aekit.images.run_headers import (
    build_header,
    build_results,
    refuse_other_images,
    run_files,
)
from aekit.images.run_settings import run_name
from aekit.images.state import read_state, write_state
from aekit.images.steps import Run
from aekit.images.term_names import SHORT
from aekit.images.training import OnEpoch, Row, State, fit

RATE_IS_HIGH = (
    "--patience: with a --schedule that ends at zero the learning rate is still high when a run stops early, and the "
    "loss falls furthest at its end; use --schedule constant or fewer --epochs"
)


@dataclass(frozen=True)
class Machine:
    """Where a run happens: not part of the experiment, and not written into the checkpoint.

    Attributes:
        data_root: Folder of the known data sets.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        threads: CPU threads; None uses all cores.
        tensorboard: Where events for TensorBoard go, in a folder per run; None writes none.
    """

    data_root: Path
    device: str = "auto"
    threads: int | None = None
    tensorboard: Path | None = None


@dataclass(frozen=True)
class FinishedRun:
    """A finished run.

    Attributes:
        path: The checkpoint.
        header: What it says of itself.
    """

    path: Path
    header: Header = field(repr=False)


def run_training(
    config: RunConfig,
    output: Path | None,
    machine: Machine,
    *,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress = SILENT,
    sets: dict[Split, ImageSet] | None = None,
    parts: Builder | None = None,
) -> Result:
    """Return the checkpoint of a trained model, with its test results; each epoch is reported as one line.

    Args:
        config: What is trained.
        output: The checkpoint, or a folder for it; None is ``runs/<made of the options>.safetensors``.
        machine: Where.
        overwrite: Start over, whatever exists.
        resume: Continue an unfinished run; leave a finished one as it is.
        progress: Receives updates, and is asked whether to stop.
        sets: The images as :func:`read_splits` returns them; None reads them.
        parts: Builds the parts of a network of your own.

    Raises:
        AekitError: As :func:`train_run`, or the output cannot be a checkpoint.
        Stopped: As :func:`train_run`.
    """
    path = checkpoint_path(output or Path("runs"), f"{run_name(config)}.safetensors")
    progress = Labelled(progress, str(path.with_suffix("")))  # others may be training on the same terminal
    if resume and (output is None or output.is_dir()):
        name_other_lengths(path, progress)
    if config.train.patience is not None and config.train.schedule != "constant":
        progress.notice(RATE_IS_HIGH)
    done = train_run(
        config,
        path,
        machine,
        overwrite=overwrite,
        resume=resume,
        progress=progress,
        on_epoch=lambda rows: progress.notice(epoch_line(rows)),
        sets=sets,
        parts=parts,
    )
    result = done.header.result
    shown = [name for name in ("parameters", "total_correlation") if name in result]
    return Result(done.path, {**result["test"], **{name: result[name] for name in shown}})


@keeps_torch_settings
def train_run(
    config: RunConfig,
    output: Path,
    machine: Machine,
    *,
    overwrite: bool,
    resume: bool,
    progress: Progress = SILENT,
    on_epoch: OnEpoch = lambda rows: None,
    sets: dict[Split, ImageSet] | None = None,
    common: Progress | None = None,
    parts: Builder | None = None,
) -> FinishedRun:
    """Train one model, write ``output`` and its companions ``.csv`` (history) and ``.png`` (curves), and return it.

    Args:
        config: What is trained.
        output: The checkpoint.
        machine: Where.
        overwrite: Start over, whatever exists.
        resume: Continue an unfinished run; leave a finished one as it is.
        progress: Receives updates, and is asked whether to stop.
        on_epoch: Called with the rows of each epoch.
        sets: The images as :func:`read_splits` returns them; None reads them.
        common: Receives what other runs on the same images would repeat; None is ``progress``.
        parts: Builds the parts of a network of your own.

    Raises:
        AekitError: The output exists and neither ``overwrite`` nor ``resume`` was asked for, the data cannot be read,
            the configuration does not fit them, or the loss stopped being finite.
        Stopped: A signal asked for it; ``resume`` continues from there.
    """
    if overwrite and resume:
        raise AekitError("--overwrite, --resume: one starts over, the other continues; give one of them")
    check_can_choose(config)
    files = run_files(config, output, overwrite=overwrite, resume=resume)
    with process_group(machine.device) as group, contextlib.ExitStack() as held:
        group.in_first(lambda: held.enter_context(files.writing()))
        if header := group.in_first(lambda: _claim(files, config, machine, progress, common or progress)):
            return FinishedRun(output, header)
        lineage = group.in_first(lambda: find_lineage(files, config.train.init))
        make = _Making(config, sets, machine, group, lineage, common or progress, parts)
        with _prepared(make) as (run, header, test):
            return _train(run, files, header, test, machine.tensorboard, progress=progress, on_epoch=on_epoch)


@keeps_torch_settings
def train_model(
    config: RunConfig,
    machine: Machine,
    *,
    progress: Progress = SILENT,
    on_epoch: OnEpoch = lambda rows: None,
    sets: dict[Split, ImageSet] | None = None,
    parts: Builder | None = None,
) -> tuple[Autoencoder, Header]:
    """Train one model without writing anything, and return it on the CPU, with what its checkpoint would say.

    Its weights are those that :func:`train_run` writes. The arguments are those of that function.

    Raises:
        AekitError: The data cannot be read, the configuration does not fit them, or the loss stopped being finite.
    """
    check_can_choose(config)
    with process_group(machine.device) as group:
        lineage = [] if config.train.init is None else read_lineage(Path(config.train.init))
        with _prepared(_Making(config, sets, machine, group, lineage, progress, parts)) as (run, header, test):
            if config.train.init is not None:
                progress.notice(take_weights(run.model, Path(config.train.init), parts=parts))
            state = fit(run, State(), progress=progress, on_epoch=on_epoch)
            header, _ = build_results(run, state, test, header, progress)
            # Built anew, as a checkpoint is read: on a CPU, and with weights in the order of memory that they have.
            names = () if run.model.classes is None else run.model.classes.names
            model = build_model(run.model.config, run.model.image_shape, names, parts=parts)
            model.load_state_dict(run.model.state_dict())
            model.header = header
            return model.eval(), header


class _Making(NamedTuple):
    """What a run is made of: see :func:`train_run`."""

    config: RunConfig
    sets: dict[Split, ImageSet] | None
    machine: Machine
    group: Group
    lineage: list[dict[str, Any]]
    progress: Progress
    parts: Builder | None


@contextlib.contextmanager
def _prepared(make: _Making) -> Iterator[tuple[Run, Header, ImageSet]]:
    """Yield a run before its first step, what its checkpoint says before there are results, and its test images."""
    config, group = make.config, make.group
    device = group.in_all(lambda: choose_device(own_device(make.machine.device)))
    threads = set_threads(make.machine.threads)
    sets = make.sets or group.in_all(lambda: read_splits(config.data, make.machine.data_root, make.progress))
    given, image_shape = config.train, sets["train"].image_shape
    config = fill_defaults(config, n_images=len(sets["train"]), image_shape=image_shape)
    class_names = group.in_all(lambda: training_classes(config.model, sets))
    if config.model.own_builder is None:
        group.in_all(lambda: refuse_too_large(config.model, image_shape, class_names))
    met = as_met(sets, config)
    noise = seed_everything(config.train.seed, device)
    model = group.in_all(lambda: build_model(config.model, image_shape, class_names, parts=make.parts))
    if text := small_set_notice(given, config.train, len(sets["train"])):
        make.progress.notice(text)
    with build_team(model, build_objective(model, config.train), config, device, threads) as team:
        run = build_run(model, config, met, device, noise, team, group)
        yield run, build_header(config, sets, run, threads, make.lineage), met["test"]


def _claim(files: RunFiles, config: RunConfig, machine: Machine, progress: Progress, common: Progress) -> Header | None:
    refuse_own_images(config, files.path)
    header = files.claim(progress)
    if header is None:
        say_if_among_images(files.path.parent, [config.data.name], common)
    if header is None and machine.tensorboard is not None:
        name = files.path.stem
        check_events(machine.tensorboard, name, images_path(config.data.name, machine.data_root))
        claim_events(machine.tensorboard / name, files.path, overwrite=files.overwrite, resume=files.resume)
    return header


def epoch_line(rows: list[Row]) -> str:
    """Return what an epoch reached, in one line."""
    train, held_out = rows
    text = f"epoch {train.epoch}: train {train.total:.5g}, {held_out.split} {held_out.total:.5g}"
    weighed = {name: value for name, value in held_out.terms.items() if name != "mse"}
    if len(weighed) > 1:
        reconstruction = f"reconstruction {weighed.pop('reconstruction'):.5g}"
        others = [f"{SHORT.get(name, name)} {value:.4g}" for name, value in weighed.items()]
        text += f" ({', '.join([reconstruction, *others])})"
    return f"{text}, MSE {held_out.terms['mse']:.4g}, {train.images_per_second:,.0f} images/s"


def _train(
    run: Run,
    files: RunFiles,
    header: Header,
    test: ImageSet,
    tensorboard: Path | None,
    *,
    progress: Progress,
    on_epoch: OnEpoch,
) -> FinishedRun:
    """Train from the start, or from where the run stands, and write what comes out; process 0 alone writes."""
    group, state = run.group, State()
    headers = group.in_first(lambda: header)
    group.in_all(lambda: refuse_other_images(headers, header))
    if group.in_first(files.is_unfinished):
        with group.file_of_first(files.state) as path:
            check_same(files.state, header.configuration, read_state_header(path), run.train_config.init)
            state = read_state(path, run)
        progress.notice(f"continuing after epoch {state.epoch} of {run.train_config.epochs}")
        if group.is_first and state.history:  # which may be older than the state
            _write_history(files, state.history)
    elif (init := run.train_config.init) is not None:
        progress.notice(group.in_first(lambda: take_weights(run.model, Path(init), parts=run.model.builder)))
    group.copy_from_first([*run.model.state_dict().values(), *run.objective.state().values()])
    with contextlib.ExitStack() as opened:
        events = None
        if tensorboard is not None and group.is_first:
            events = opened.enter_context(
                contextlib.closing(Events(tensorboard / files.path.stem, files.path, state.epoch))
            )

        def save(state: State) -> None:
            if not group.is_first:
                return
            is_epoch = state.step == 0 and state.history
            if is_epoch and events is not None:  # before the state, so that no epoch is missing after a kill
                events.add_epoch(run, state)
            write_state(files.state, run, state, header)
            if is_epoch:
                _write_history(files, state.history)

        state = fit(run, state, progress=progress, on_epoch=on_epoch, save=save)
    return _finish(run, state, test, files, header, progress)


def _write_history(files: RunFiles, history: list[Row]) -> dict[str, list[Any]]:
    """Write a history next to the checkpoint, also while its run goes on, and return its columns."""
    rows = [row.to_dict() for row in history]
    columns = {name: [row.get(name) for row in rows] for name in dict.fromkeys(name for row in rows for name in row)}
    write_columns(files.path.with_suffix(".csv"), columns)
    return columns


def refuse_own_images(config: RunConfig, output: Path) -> None:
    """Raise an AekitError if the checkpoint would replace what it is made of, or its history the table of labels."""
    history = output.with_suffix(".csv")
    labels = Path(config.data.labels or "").expanduser()
    if history.is_file() and labels.is_file() and history.samefile(labels):
        raise AekitError(f"--output {output}: its history would replace the table of labels; choose another name")
    if output.exists() and Path(config.data.name).exists() and output.samefile(config.data.name):
        raise AekitError(f"--output {output}: is the file of images, which it would replace; choose another name")
    refuse_replacing_images(output, [output.with_suffix(end) for end in (".csv", ".png")], [config.data.name])
    init = config.train.init
    if init is not None and output.exists() and Path(init).exists() and output.samefile(init):
        raise AekitError(f"--output {output}: is the checkpoint of --init, which it would replace; choose another name")


def _finish(run: Run, state: State, test: ImageSet, files: RunFiles, header: Header, progress: Progress) -> FinishedRun:
    # The last state is on disk, so nothing is lost if one of these files cannot be written. The checkpoint comes
    # last: where it is, its companions are.
    output = files.path
    header, history = build_results(run, state, test, header, progress)
    if not run.group.is_first:
        return FinishedRun(output, header)
    table = _write_history(files, history)
    title = f"{read_record(header, str(output)).title}: {header.data['name']}"
    write_png(
        output.with_suffix(".png"), plot_history(table, loss=run.model.config.loss, title=title), header.to_dict()
    )
    write_checkpoint(output, run.model.state_dict(), header)
    files.finish()
    return FinishedRun(output, read_header(output))
