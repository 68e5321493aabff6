"""A run configuration becomes data, model and loss, is trained, and leaves a checkpoint, a history and its curves."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import nn

from aekit.core.adamw import FusedAdamW
from aekit.core.artifacts import write_csv, write_png
from aekit.core.checkpoint import Header, read_header, read_state_header
from aekit.core.device import (
    ThreadTeam,
    choose_device,
    choose_precision,
    free_memory,
    seed_everything,
    set_threads,
    without_memory,
)
from aekit.core.distributed import Group, own_device, process_group, share_batch_norm
from aekit.core.output import Result, checkpoint_path
from aekit.core.progress import SILENT, Labelled, Progress
from aekit.core.run_files import RunFiles
from aekit.core.schedule import ADAM_BETAS
from aekit.core.settings import to_dict
from aekit.core.torch_settings import keeps_torch_settings
from aekit.core.weights import write_checkpoint
from aekit.errors import AekitError, count
from aekit.images.batch_bias import BatchBias, batch_bias, total_correlation
from aekit.images.conditioning import build_loader, training_classes
from aekit.images.config import DataConfig, ModelConfig, RunConfig, Split, TrainConfig
from aekit.images.data import images_path, read_images
from aekit.images.data.array_labels import Load
from aekit.images.data.arrays import read_arrays
from aekit.images.data.batches import GROUP_BLOCKS
from aekit.images.data.image_set import ImageSet
from aekit.images.data.readahead import rows_per_block
from aekit.images.data.value_range import check_visible
from aekit.images.events import Events, check_events, claim_events
from aekit.images.figures.curves import plot_history
from aekit.images.identity import check_same, check_same_labels, in_header, name_other_lengths, recorded
from aekit.images.inputs import refuse_replacing_images, say_if_among_images
from aekit.images.lineage import find_lineage, read_lineage, take_weights
from aekit.images.models import USUAL_BATCH_SIZE, build_model, default_lr
from aekit.images.models.base import Autoencoder, ImageShape, n_parameters
from aekit.images.models.own import Builder
from aekit.images.models.priors import VampPrior
from aekit.images.objectives import build_objective
from aekit.images.objectives.base import Objective
from aekit.images.official import check_can_choose, has_validation
from aekit.images.record import read_record
from aekit.images.run_settings import run_name
from aekit.images.state import read_state, write_state
from aekit.images.steps import Optimizer, Run
from aekit.images.term_names import SHORT
from aekit.images.training import OnEpoch, Row, State, evaluation_row, fit

# A few large batches hardly train a network, so that a small set has smaller ones: 50 per epoch while a batch has eight
# images or more, and 12 per epoch below that.
STEPS_PER_EPOCH, LEAST_STEPS_PER_EPOCH = 50, 12
SMALL_BATCH = 8
WHOLE_BATCH_PARTS = 4  # parts of a batch for an objective that needs whole batches, and so at most as many threads
FLOATS_PER_PARAMETER = 4  # itself, its gradient and two moments
RATE_IS_HIGH = (
    "--patience: with --schedule one-cycle the learning rate is still high when a run stops early, and the loss falls "
    "furthest at its end; use --schedule constant or fewer --epochs"
)
TIMINGS = ("seconds", "images_per_second")  # differ from run to run, and so are kept out of checkpoints


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
    if config.train.patience is not None and config.train.schedule == "one-cycle":
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
            header, _ = _results(run, state, test, header, progress)
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
        group.in_all(lambda: _refuse_too_large(config.model, image_shape, class_names))
    met = _as_met(sets, config)
    noise = seed_everything(config.train.seed, device)
    model = group.in_all(lambda: build_model(config.model, image_shape, class_names, parts=make.parts))
    if text := _small_set_notice(given, config.train, len(sets["train"])):
        make.progress.notice(text)
    with build_team(model, build_objective(model, config.train), config, device, threads) as team:
        run = _build_run(model, config, met, device, noise, team, group)
        yield run, _header(config, sets, run, threads, make.lineage), met["test"]


def _as_met(sets: dict[Split, ImageSet], config: RunConfig) -> dict[Split, ImageSet]:
    """Return the images as the network meets them: those of training that each step draws anew are grey."""
    seed, is_dynamic = config.data.pixel_seed(config.train.seed), config.data.binarize == "dynamic"
    return {split: each if split == "train" and is_dynamic else each.drawn(seed) for split, each in sets.items()}


def run_files(config: RunConfig, output: Path, *, overwrite: bool = False, resume: bool = False) -> RunFiles:
    """Return the files of a run, which are claimed and finished as those of every trainer."""
    return RunFiles(output, (".csv", ".png"), lambda path: _read_own(config, path), overwrite=overwrite, resume=resume)


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


def _refuse_too_large(config: ModelConfig, image_shape: ImageShape, class_names: Sequence[str]) -> None:
    """Refuse a network that memory cannot hold with its gradients and moments, before it is built."""
    try:
        with without_memory():
            n_bytes = 4 * FLOATS_PER_PARAMETER * n_parameters(build_model(config, image_shape, class_names))
    except (RuntimeError, OverflowError):  # torch's, of sizes that no tensor has
        n_bytes = sys.maxsize
    if n_bytes > (free := free_memory()):
        raise AekitError(
            f"--latent {config.latent}{f', --width {config.width}' if config.width else ''}: training such a network "
            f"takes {n_bytes / 1e9:,.0f} GB of memory, and {free / 1e9:,.0f} GB are free; make it smaller"
        )


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
    group.in_all(lambda: _refuse_other_images(headers, header))
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


def _write_history(files: RunFiles, history: list[Row]) -> pd.DataFrame:
    """Write a history next to the checkpoint, also while its run goes on, and return it."""
    table = pd.DataFrame([row.to_dict() for row in history]).astype({"active_units": "Int64"})
    write_csv(files.path.with_suffix(".csv"), table)
    return table


def _refuse_other_images(first: Header, own: Header) -> None:
    if first.data["splits"] != own.data["splits"]:
        raise AekitError("--data: this process reads other images than process 0; give all machines the same")


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


def build_team(
    model: Autoencoder, objective: Objective, config: RunConfig, device: torch.device, threads: int
) -> ThreadTeam:
    """Return the threads that split each batch among them.

    Batch norm needs the whole batch, as may a network of your own, and a compiled model distributes its operators
    itself: these batches are not split. If the objective needs the whole batch, the number of parts is fixed, so that
    results do not depend on the number of threads.
    """
    is_whole = any(isinstance(module, nn.BatchNorm2d) for module in model.modules()) or config.train.compile
    is_whole |= config.model.own_builder is not None
    if device.type != "cpu" or is_whole:
        return ThreadTeam(1)
    return ThreadTeam(threads, WHOLE_BATCH_PARTS if objective.batch_names else None)


def fill_defaults(config: RunConfig, *, n_images: int, image_shape: ImageShape) -> RunConfig:
    """Return the configuration with the training options that were left open filled in, for ``n_images`` of train.

    Raises:
        AekitError: A batch is larger than the data.
    """
    train = config.train
    n_samples = train.samples_per_epoch or n_images
    batch_size = train.batch_size or min(default_batch_size(n_images), n_samples)
    if train.batch_size is not None and train.batch_size > min(n_images, n_samples):
        raise AekitError(
            f"--batch-size: {train.batch_size} is more than the {count(min(n_images, n_samples), 'image')} of an "
            "epoch; make it smaller or leave it out"
        )
    return replace(
        config,
        train=replace(
            train,
            batch_size=batch_size,
            lr=train.lr or default_lr(config.model.arch, image_shape, batch_size),
        ),
    )


def default_batch_size(n_images: int) -> int:
    """Return how many images a step takes by default, for ``n_images`` of train: 100, or fewer below 5,000 images.

    An epoch then has 50 steps; if a step would have fewer than 8 images, 8; and below 96 images, an epoch has 12 steps.
    """
    at_most_small = min(n_images // LEAST_STEPS_PER_EPOCH, SMALL_BATCH)
    smallest = min(n_images, 2)  # batch norm cannot take a single image
    return max(min(n_images // STEPS_PER_EPOCH, USUAL_BATCH_SIZE), at_most_small, smallest)


def _small_set_notice(given: TrainConfig, used: TrainConfig, n_images: int) -> str | None:
    """Return what was chosen for a small training set, and how to choose otherwise; None if nothing was."""
    if given.batch_size is not None or default_batch_size(n_images) == USUAL_BATCH_SIZE:
        return None
    text = f"{count(used.batch_size or n_images, 'image')} per step (--batch-size)"
    if given.lr is None:
        text += f" and a peak learning rate of {used.lr:g} (--lr)"
    there = "is" if n_images == 1 else "are"
    return f"{text}, because there {there} only {count(n_images, 'training image')}"


def _header(
    config: RunConfig, sets: dict[Split, ImageSet], run: Run, threads: int, lineage: list[dict[str, Any]]
) -> Header:
    """Return what a checkpoint says of its run before there are results."""
    header = Header(
        **in_header(config),
        lineage=lineage,
        ran_on={
            "device": run.images.device.type,
            "threads": threads,
            "precision": run.precision,
            **({"processes": run.group.size} if run.group.size > 1 else {}),
        },
        result={"parameters": n_parameters(run.model)},
    )
    if config.data.labels is None:  # as in files that are older than this setting
        del header.data["labels"]
    else:
        header.data["labels_fingerprint"] = sets["train"].labels_fingerprint
    if config.data.binarize == "none":
        del header.data["binarize"]
    if sets["train"].value_range:  # new images are read with that of the training
        header.data["range"] = list(sets["train"].value_range)
    header.data.update(
        shape=list(sets["train"].image_shape),
        splits={split: {"n": len(s), "fingerprint": s.fingerprint} for split, s in sets.items()},
    )
    if run.model.classes is not None:
        header.data["class_names"] = list(run.model.classes.names)
    if run.images.blocks is not None:  # a run is only continued in the order in which it began
        header.data["splits"]["train"]["shuffled_blocks"] = [rows_per_block(sets["train"].store), GROUP_BLOCKS]
    return header


def _read_own(config: RunConfig, path: Path) -> Header:
    """Return the header of a checkpoint or state.

    Raises:
        AekitError: It cannot be read, or is of other settings.
    """
    header = read_header(path)
    n_images = header.data.get("splits", {}).get("train", {}).get("n", 0)
    shape = header.data.get("shape", (0, 0, 0))
    needed = {"test", "history", "epoch", "parameters"} if header.kind != "brain" else set()
    is_damaged = header.state is None and not needed <= header.result.keys()
    if n_images < 1 or len(shape) != 3 or is_damaged:
        raise AekitError(f"{path}: its header is damaged; train it again with --overwrite")
    wanted = fill_defaults(config, n_images=n_images, image_shape=(shape[0], shape[1], shape[2]))
    check_same(path, to_dict(recorded(wanted)), header, config.train.init)
    check_same_labels(path, header, config.data.labels)
    return header


def read_splits(
    config: DataConfig, data_root: Path, progress: Progress = SILENT, *, arrays: Mapping[str, Load] | None = None
) -> dict[Split, ImageSet]:
    """Return the images of a run by split: train, test, and val if there is one.

    Args:
        config: Which images.
        data_root: Folder of the known data sets.
        progress: Receives updates and notices.
        arrays: Images in memory, as :func:`aekit.images.data.arrays.read_arrays` takes them; None reads files.

    Raises:
        AekitError: The data cannot be read, or a split is empty.
    """
    splits: tuple[Split, ...] = ("train", "val", "test") if has_validation(config) else ("train", "test")
    if arrays is None:
        sets = {split: read_images(config, split, data_root=data_root, progress=progress) for split in splits}
    else:
        sets = {split: read_arrays(config, split, progress=progress, arrays=arrays) for split in splits}
    for split, images in sets.items():
        if len(images) == 0:
            raise AekitError(f"--data {config.name}: the {split} split is empty; use more images or another --val")
    if config.value_range == "auto" and sets["train"].span:
        check_visible(f"--data {config.name}", sets["train"].span, progress)
    if skipped := sum(images.n_skipped for images in sets.values()):
        what = count(skipped, "image could not be used and was", "images could not be used and were")
        progress.notice(f"{what} left out")
    return sets


def build_optimizer(model: Autoencoder, weight_decay: float, device: torch.device) -> Optimizer:
    """Return AdamW over all parameters, in their order; the pixel noise of a gaussian likelihood does not decay.

    Decay would pull its logarithm to zero: a noise of one, the range of the pixels. Nor does a learned prior decay,
    which it would pull to the standard normal.
    """
    free = [] if model.log_sigma is None else [model.log_sigma]
    free += [] if model.prior is None else list(model.prior.parameters())
    groups: list[dict[str, Any]] = [{"params": list(model.parameters())[len(free) :]}]  # these are the first ones
    if free:
        groups.insert(0, {"params": free, "weight_decay": 0.0})
    if device.type not in ("cpu", "cuda"):
        return torch.optim.AdamW(groups, lr=0.0, betas=ADAM_BETAS, weight_decay=weight_decay)
    rate = torch.tensor(0.0, device=device) if device.type == "cuda" else 0.0  # where a recorded step reads it
    return FusedAdamW(groups, lr=rate, betas=ADAM_BETAS, weight_decay=weight_decay)


def _build_run(
    model: Autoencoder,
    config: RunConfig,
    sets: dict[Split, ImageSet],
    device: torch.device,
    noise: torch.Generator,
    team: ThreadTeam,
    group: Group,
) -> Run:
    model.init_output_bias(_mean_image(sets["train"]))
    if isinstance(model.prior, VampPrior):
        model.prior.start_from(_some_images(sets["train"], len(model.prior.image_logits)))
    if group.size > 1:
        share_batch_norm(model)
    model = model.to(device).to(memory_format=torch.channels_last)
    held_out: Literal["val", "test"] = "val" if "val" in sets else "test"
    return Run(
        model=model,
        optimizer=build_optimizer(model, config.train.weight_decay, device),
        noise=noise,
        images=build_loader(model, sets["train"], device),
        held_out=build_loader(model, sets[held_out], device),
        held_out_split=held_out,
        train_config=config.train,
        precision=choose_precision(config.train.precision, device, threads_per_operator=torch.get_num_threads()),
        team=team,
        objective=build_objective(model, config.train),
        group=group,
        draws_pixels=config.data.binarize == "dynamic",
    )


def _mean_image(images: ImageSet) -> torch.Tensor:
    # Ten thousand images fix a mean well enough, and a memory-mapped set need not be read whole for it.
    indices = np.linspace(0, len(images) - 1, min(len(images), 10_000)).astype(np.int64)
    sums = sum(images.take(block).sum(0, dtype=np.int64) for block in np.array_split(indices, len(indices) // 1000 + 1))
    return torch.from_numpy(np.asarray(sums) / (255 * len(indices))).float()


def _some_images(images: ImageSet, n: int) -> torch.Tensor:
    """Return n images, evenly spaced over the set, as floats in [0, 1]; a small set repeats some."""
    return torch.from_numpy(images.take(np.linspace(0, len(images) - 1, n).astype(np.int64))).float() / 255


def _batch_bias(run: Run, test: ImageSet) -> BatchBias | None:
    config = run.train_config
    n_batch = config.batch_size or len(run.images)
    loader = build_loader(run.model, test, run.images.device)
    return batch_bias(run.model, run.objective, loader, batch_size=n_batch, seed=config.seed)


def _total_correlation(run: Run, test: ImageSet) -> dict[str, Any] | None:
    loader = build_loader(run.model, test, run.images.device)
    return total_correlation(run.model, loader, seed=run.train_config.seed)


def _results(run: Run, state: State, test: ImageSet, header: Header, progress: Progress) -> tuple[Header, list[Row]]:
    """Return what a checkpoint says with its results, and the history, after choosing the weights to keep."""
    epoch = state.epoch
    if run.train_config.keep == "best":
        run.model.load_state_dict(state.best_weights)
        run.objective.load_state(state.best_objective)
        epoch = state.best_epoch
    history = list(state.history)
    if run.held_out_split == "val":
        history.append(evaluation_row(run, "test", build_loader(run.model, test, run.images.device), epoch))
    rows = [{key: value for key, value in row.to_dict().items() if key not in TIMINGS} for row in history]
    stopped = {} if run.train_config.patience is None else {"trained_epochs": state.epoch}
    header = replace(header, result={**header.result, "epoch": epoch, **stopped, "test": rows[-1], "history": rows})
    if not run.group.is_first:
        return header, history
    if (bias := _batch_bias(run, test)) is not None:
        progress.notice(bias.in_words(is_learned=bool(run.objective.learned_names)))
        header.result["total_correlation"] = bias.to_dict()
    elif (found := _total_correlation(run, test)) is not None:
        header.result["total_correlation"] = found
    return header, history


def _finish(run: Run, state: State, test: ImageSet, files: RunFiles, header: Header, progress: Progress) -> FinishedRun:
    # The last state is on disk, so nothing is lost if one of these files cannot be written. The checkpoint comes
    # last: where it is, its companions are.
    output = files.path
    header, history = _results(run, state, test, header, progress)
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
