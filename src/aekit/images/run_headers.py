"""What a checkpoint says of its run, before and after there are results, and whether a run may continue it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from aekit.core.checkpoint import Header, read_header
from aekit.core.progress import Progress
from aekit.core.run_files import RunFiles
from aekit.core.settings import to_dict
from aekit.errors import AekitError
from aekit.images.batch_bias import BatchBias, batch_bias, total_correlation
from aekit.images.conditioning import build_loader
from aekit.images.config import RunConfig, Split
from aekit.images.data.batches import GROUP_BLOCKS
from aekit.images.data.image_set import ImageSet
from aekit.images.data.readahead import rows_per_block
from aekit.images.identity import check_same, check_same_labels, in_header, recorded
from aekit.images.models.base import n_parameters
from aekit.images.reference_outputs import REFERENCE, reference_outputs
from aekit.images.run_defaults import fill_defaults
from aekit.images.steps import Run
from aekit.images.training import Row, State, evaluation_row

TIMINGS = ("seconds", "images_per_second")  # differ from run to run, and so are kept out of checkpoints


def run_files(config: RunConfig, output: Path, *, overwrite: bool = False, resume: bool = False) -> RunFiles:
    """Return the files of a run, which are claimed and finished as those of every trainer."""
    return RunFiles(output, (".csv", ".png"), lambda path: _read_own(config, path), overwrite=overwrite, resume=resume)


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


def build_header(
    config: RunConfig, sets: dict[Split, ImageSet], run: Run, threads: int, lineage: list[dict[str, Any]]
) -> Header:
    """Return what a checkpoint says of its run before there are results.

    Args:
        config: What is trained, without open options.
        sets: The images by split.
        run: The run.
        threads: CPU threads.
        lineage: The checkpoints that its weights are from.
    """
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


def refuse_other_images(first: Header, own: Header) -> None:
    """Raise an AekitError if this process reads other images than the first one."""
    if first.data["splits"] != own.data["splits"]:
        raise AekitError("--data: this process reads other images than process 0; give all machines the same")


def build_results(
    run: Run, state: State, test: ImageSet, header: Header, progress: Progress
) -> tuple[Header, list[Row]]:
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
    if run.model.config.own_builder is not None and (found := reference_outputs(run.model)) is not None:
        header.result[REFERENCE] = found
    if (bias := _batch_bias(run, test)) is not None:
        progress.notice(bias.in_words(is_learned=bool(run.objective.learned_names)))
        header.result["total_correlation"] = bias.to_dict()
    elif (correlation := _total_correlation(run, test)) is not None:
        header.result["total_correlation"] = correlation
    return header, history


def _batch_bias(run: Run, test: ImageSet) -> BatchBias | None:
    config = run.train_config
    n_batch = config.batch_size or len(run.images)
    loader = build_loader(run.model, test, run.images.device)
    return batch_bias(run.model, run.objective, loader, batch_size=n_batch, seed=config.seed)


def _total_correlation(run: Run, test: ImageSet) -> dict[str, Any] | None:
    loader = build_loader(run.model, test, run.images.device)
    return total_correlation(run.model, loader, seed=run.train_config.seed)
