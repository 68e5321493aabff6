"""A run configuration becomes data, model and loss, is trained, and leaves a checkpoint, a history and its curves."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import nn

from aekit.core.artifacts import refuse_unwritable, write_csv, write_png
from aekit.core.checkpoint import Header, read_header, read_state_header, resume_path
from aekit.core.device import ThreadTeam, choose_device, choose_precision, free_memory, seed_everything, set_threads
from aekit.core.distributed import Group, joined, own_device, share_batch_norm
from aekit.core.durable import forget_writer, one_writer
from aekit.core.run_files import refuse_other_run
from aekit.core.schedule import ADAM_BETAS
from aekit.core.settings import to_dict
from aekit.core.weights import refuse_damaged, write_checkpoint
from aekit.errors import AekitError
from aekit.images.config import Arch, DataConfig, ModelConfig, RunConfig, Split
from aekit.images.data import read_images
from aekit.images.data.batches import GROUP_BLOCKS, ImageLoader
from aekit.images.data.image_set import ImageSet
from aekit.images.data.readahead import rows_a_block
from aekit.images.figures.curves import plot_history
from aekit.images.models import build_model
from aekit.images.models.base import Autoencoder, ImageShape, is_large, n_parameters
from aekit.images.state import read_state, write_state
from aekit.images.steps import Run
from aekit.images.training import Hooks, Row, State, Step, evaluation_row, fit

DEFAULT_BATCH_SIZE = 100
FLOATS_A_PARAMETER = 4  # itself, its gradient and two moments
TIMINGS = ("seconds", "images_per_second")  # differ from run to run, and so are kept out of checkpoints
# Peaks of the one-cycle schedule.
DEFAULT_LR: dict[Arch, float] = {"conv": 5e-3, "dense": 2e-3, "resize-conv": 2e-3, "strided": 4e-3, "blocks": 2e-3}
LARGE_IMAGE_LR = 1e-3


@dataclass(frozen=True)
class Machine:
    """Where a run happens: what does not belong to the experiment and is not written into the checkpoint.

    Attributes:
        data_root: Folder of the known data sets.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        threads: CPU threads; None takes every core.
    """

    data_root: Path
    device: str = "auto"
    threads: int | None = None


@dataclass(frozen=True)
class Reporting:
    """How a run tells of itself: hooks of the training loop, and the progress of reading data."""

    on_data: Callable[[str, int, int], None] | None = None
    on_step: Callable[[Step], object] = lambda step: None
    on_epoch: Callable[[list[Row]], object] = lambda rows: None
    on_message: Callable[[str], object] = lambda text: None
    stop_signal: Callable[[], int | None] = lambda: None


@dataclass(frozen=True)
class Finished:
    """A run that is done."""

    path: Path
    header: Header = field(repr=False)


def run_name(config: RunConfig) -> str:
    """Return a file name made of what matters, the same for the same options: ``vae-mnist-conv-z10``.

    Options that differ from their default are appended, so that other options give another name.
    """
    model, data, train = config.model, config.data, config.train
    parts = [model.kind, Path(data.name).stem or "data", model.arch, f"z{model.latent}"]
    fresh = RunConfig(model=ModelConfig(kind=model.kind, arch=model.arch, latent=model.latent))
    for own, default in ((model, fresh.model), (data, fresh.data), (train, fresh.train)):
        for key, value in to_dict(own).items():
            if value != to_dict(default)[key] and key != "name":
                text = "x".join(map(str, value)) if isinstance(value, (tuple, list)) else f"{value}"
                parts.append(key.replace("_", "") + ("" if value is True else text))
    return "-".join(parts)


def train_run(
    config: RunConfig,
    output: Path,
    machine: Machine,
    *,
    overwrite: bool,
    resume: bool,
    reporting: Reporting,
    sets: dict[Split, ImageSet] | None = None,
) -> Finished:
    """Train one model, write ``output`` and its companions ``.csv`` (history) and ``.png`` (curves), and return it.

    Args:
        config: What is trained.
        output: The checkpoint.
        machine: Where.
        overwrite: Start over whatever is there.
        resume: Go on with an unfinished run; leave a finished one as it is.
        reporting: How it tells of itself.
        sets: The images as :func:`read_splits` returns them; None reads them.

    Raises:
        AekitError: The output exists and neither ``overwrite`` nor ``resume`` was asked for, the data cannot be read,
            the configuration does not fit them, or the loss stopped being finite.
        Stopped: A signal asked for it; ``resume`` goes on from there.
    """
    with joined(machine.device) as group, contextlib.ExitStack() as held:
        group.in_first(lambda: held.enter_context(one_writer(output)))
        if done := group.in_first(lambda: _before(config, output, reporting, overwrite=overwrite, resume=resume)):
            return done
        device = group.in_all(lambda: choose_device(own_device(machine.device)))
        threads = set_threads(machine.threads)
        sets = sets or group.in_all(lambda: read_splits(config.data, machine.data_root, reporting))
        config = fill_defaults(config, n_images=len(sets["train"]), image_shape=sets["train"].image_shape)
        group.in_all(lambda: _refuse_too_large(config.model, sets["train"].image_shape))
        noise = seed_everything(config.train.seed, device)
        model = group.in_all(lambda: build_model(config.model, sets["train"].image_shape))
        with ThreadTeam(_parts_of_a_batch(model, config, device, threads)) as team:
            run = _build_run(model, config, sets, device, noise, team, group)
            header = _header(config, sets, run, threads)
            return _train(run, output, header, sets["test"], resume=resume, reporting=reporting)


def _refuse_too_large(config: ModelConfig, image_shape: ImageShape) -> None:
    """Refuse a network that memory cannot hold with its gradients and moments, before it is built."""
    try:
        with torch.device("meta"):
            n_bytes = 4 * FLOATS_A_PARAMETER * n_parameters(build_model(config, image_shape))
    except (RuntimeError, OverflowError):  # torch's, of sizes that no tensor has
        n_bytes = sys.maxsize
    if n_bytes > (free := free_memory()):
        raise AekitError(
            f"--latent {config.latent}{f', --width {config.width}' if config.width else ''}: training such a network "
            f"takes {n_bytes / 1e9:,.0f} GB of memory, and {free / 1e9:,.0f} GB are free; make it smaller"
        )


def _before(config: RunConfig, output: Path, reporting: Reporting, *, overwrite: bool, resume: bool) -> Finished | None:
    """Return the run if it is finished already, and refuse what would be lost or could not be written."""
    unfinished = resume_path(output)
    refuse_own_images(config, output)
    if done := _finished(config, output, overwrite=overwrite, resume=resume):
        if unfinished.exists():
            reporting.on_message(f"{unfinished}: is the state of another run; it is left alone")
        return done
    if unfinished.exists() and not (overwrite or resume):
        raise AekitError(
            f"{unfinished}: an unfinished run is there; go on with --resume or start over with --overwrite"
        )
    refuse_unwritable(output)
    return None


def _train(run: Run, output: Path, header: Header, test: ImageSet, *, resume: bool, reporting: Reporting) -> Finished:
    """Train from the start, or from where the run stands, and write what comes out; process 0 alone writes."""
    group, unfinished, state = run.group, resume_path(output), State()
    headers = group.in_first(lambda: header)
    group.in_all(lambda: _refuse_other_images(headers, header))
    if resume and group.in_first(unfinished.exists):
        with group.file_of_first(unfinished) as path:
            refuse_other_run(unfinished, header.configuration, read_state_header(path))
            state = read_state(path, run)
        reporting.on_message(f"going on after epoch {state.epoch} of {run.config.epochs}")
    group.copy_from_first(list(run.model.state_dict().values()))
    hooks = Hooks(
        on_step=reporting.on_step,
        on_epoch=reporting.on_epoch,
        on_message=reporting.on_message,
        save=lambda state: write_state(unfinished, run, state, header) if group.is_first else None,
        stop_signal=reporting.stop_signal,
    )
    state = fit(run, state, hooks)
    return _finish(run, state, test, output, header)


def _refuse_other_images(first: Header, own: Header) -> None:
    if first.data["splits"] != own.data["splits"]:
        raise AekitError("--data: this process reads other images than process 0; give all machines the same")


def refuse_own_images(config: RunConfig, output: Path) -> None:
    """Raise an AekitError if the checkpoint would replace the images that it is trained on."""
    if output.exists() and Path(config.data.name).exists() and output.samefile(config.data.name):
        raise AekitError(f"--output {output}: is the file of images, which it would replace; choose another name")


def _parts_of_a_batch(model: Autoencoder, config: RunConfig, device: torch.device, threads: int) -> int:
    """Return into how many parts a batch is cut, one a thread.

    Batch norm looks at the whole batch, and a compiled model shares out its operators itself.
    """
    is_whole = any(isinstance(module, nn.BatchNorm2d) for module in model.modules()) or config.train.compile
    return threads if device.type == "cpu" and not is_whole else 1


def default_lr(arch: Arch, image_shape: ImageShape) -> float:
    """Return the default peak of the learning rate for images of shape (channels, height, width).

    The loss is a sum over pixels. The rate that is best for ``conv`` on MNIST diverged within 66 steps on colour faces
    of 48 x 48, where 1e-3 did better than 2e-3.
    """
    return min(DEFAULT_LR[arch], LARGE_IMAGE_LR) if is_large(image_shape) else DEFAULT_LR[arch]


def fill_defaults(config: RunConfig, *, n_images: int, image_shape: ImageShape) -> RunConfig:
    """Return the configuration with the training options that were left open filled in, for ``n_images`` of train.

    Raises:
        AekitError: A batch is larger than the data.
    """
    train = config.train
    n_samples = train.samples_per_epoch or n_images
    if train.batch_size is not None and train.batch_size > min(n_images, n_samples):
        raise AekitError(
            f"--batch-size: {train.batch_size} is more than the {min(n_images, n_samples)} images of an epoch; "
            "make it smaller or leave it out"
        )
    return replace(
        config,
        train=replace(
            train,
            batch_size=train.batch_size or min(DEFAULT_BATCH_SIZE, n_images, n_samples),
            lr=train.lr or default_lr(config.model.arch, image_shape),
        ),
    )


def _header(config: RunConfig, sets: dict[Split, ImageSet], run: Run, threads: int) -> Header:
    """Return what a checkpoint says of its run before there are results."""
    header = Header(
        **to_dict(_recorded(config)),
        ran_on={
            "device": run.train.device.type,
            "threads": threads,
            "precision": run.precision,
            **({"processes": run.group.size} if run.group.size > 1 else {}),
        },
        result={"parameters": n_parameters(run.model)},
    )
    header.data.update(
        shape=list(sets["train"].image_shape),
        splits={split: {"n": len(s), "fingerprint": s.fingerprint} for split, s in sets.items()},
    )
    if run.train.blocks is not None:  # a run goes on in the order in which it began, or not at all
        header.data["splits"]["train"]["shuffled_blocks"] = [rows_a_block(sets["train"].store), GROUP_BLOCKS]
    return header


def finished_run(config: RunConfig, output: Path) -> Header | None:
    """Return what the checkpoint of a finished run says of itself, or None if there is none.

    A state of this very run beside it is newer than the checkpoint, as a finished run removes its state: the checkpoint
    was to be replaced, or what remains to be done is to remove the state.

    Raises:
        AekitError: There is a file that is no checkpoint, or one of other settings.
    """
    with contextlib.suppress(AekitError):
        _read_own(config, resume_path(output))
        return None
    if not output.exists():
        return None
    header = _read_own(config, output)
    refuse_damaged(output)  # or it would be taken for whole by every run that goes on, and by nothing that reads it
    forget_writer(output)
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
    refuse_other_run(path, to_dict(_recorded(wanted)), header)
    return header


def _finished(config: RunConfig, output: Path, *, overwrite: bool, resume: bool) -> Finished | None:
    if not (overwrite or resume):
        for path in (output, output.with_suffix(".csv"), output.with_suffix(".png")):
            if path.exists():
                raise AekitError(f"{path}: exists; replace it with --overwrite, or keep a finished run with --resume")
    header = None if overwrite else finished_run(config, output)
    return Finished(output, header) if header else None


def _recorded(config: RunConfig) -> RunConfig:
    """Return the configuration as it is written into files: without absolute paths, which differ by machine."""
    name = Path(config.data.name)
    return replace(config, data=replace(config.data, name=name.name)) if name.is_absolute() else config


def read_splits(config: DataConfig, data_root: Path, reporting: Reporting) -> dict[Split, ImageSet]:
    """Return the images of a run by split: train, test, and val if there is one.

    Raises:
        AekitError: The data cannot be read, or a split is empty.
    """
    splits: tuple[Split, ...] = ("train", "val", "test") if config.val else ("train", "test")
    sets = {split: read_images(config, split, data_root=data_root, on_progress=reporting.on_data) for split in splits}
    for split, images in sets.items():
        if len(images) == 0:
            raise AekitError(f"--data {config.name}: the {split} split is empty; use more images or another --val")
    if skipped := sum(images.n_skipped for images in sets.values()):
        reporting.on_message(f"{skipped} images could not be used and were left out")
    return sets


def _build_run(
    model: Autoencoder,
    config: RunConfig,
    sets: dict[Split, ImageSet],
    device: torch.device,
    noise: torch.Generator,
    team: ThreadTeam,
    group: Group,
) -> Run:
    model.start_at(_mean_image(sets["train"]))
    if group.size > 1:
        share_batch_norm(model)
    model = model.to(device).to(memory_format=torch.channels_last)
    on_cuda = device.type == "cuda"
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=torch.tensor(0.0, device=device) if on_cuda else 0.0,  # where a recorded step reads it
        betas=ADAM_BETAS,
        weight_decay=config.train.weight_decay,
        fused=on_cuda or device.type == "cpu",
        capturable=on_cuda,
    )
    held_out: Literal["val", "test"] = "val" if "val" in sets else "test"
    return Run(
        model=model,
        optimizer=optimizer,
        noise=noise,
        train=ImageLoader(sets["train"], device),
        held_out=ImageLoader(sets[held_out], device),
        held_out_split=held_out,
        config=config.train,
        precision=choose_precision(config.train.precision, device, threads_an_operator=torch.get_num_threads()),
        team=team,
        group=group,
    )


def _mean_image(images: ImageSet) -> torch.Tensor:
    # Ten thousand images fix a mean well enough, and a memory-mapped set need not be read whole for it.
    indices = np.linspace(0, len(images) - 1, min(len(images), 10_000)).astype(np.int64)
    sums = sum(images.take(block).sum(0, dtype=np.int64) for block in np.array_split(indices, len(indices) // 1000 + 1))
    return torch.from_numpy(np.asarray(sums) / (255 * len(indices))).float()


def _finish(run: Run, state: State, test: ImageSet, output: Path, header: Header) -> Finished:
    # The last state is on disk, so nothing is lost if one of these files cannot be written. The checkpoint comes
    # last: where it is, its companions are.
    epoch = state.epoch
    if run.config.keep == "best":
        run.model.load_state_dict(state.best_weights)
        epoch = state.best_epoch
    history = list(state.history)
    if run.held_out_split == "val":
        history.append(evaluation_row(run, "test", ImageLoader(test, run.train.device), epoch))
    rows = [{key: value for key, value in asdict(row).items() if key not in TIMINGS} for row in history]
    header = replace(header, result={**header.result, "epoch": epoch, "test": rows[-1], "history": rows})
    if not run.group.is_first:
        return Finished(output, header)
    table = pd.DataFrame([asdict(row) for row in history]).astype({"active_units": "Int64"})
    write_csv(output.with_suffix(".csv"), table)
    model, data = header.model, header.data
    beta = f", beta {run.config.beta:g}" if model["kind"] == "vae" else ""
    title = f"{model['kind']} {model['arch']}, latent {model['latent']}{beta}: {data['name']}"
    write_png(
        output.with_suffix(".png"), plot_history(table, loss=run.model.config.loss, title=title), header.to_dict()
    )
    write_checkpoint(output, run.model.state_dict(), header)
    resume_path(output).unlink(missing_ok=True)
    return Finished(output, read_header(output))
