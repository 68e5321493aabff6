"""A table becomes models of age from its columns, with tables and figures of how well they predict."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from aekit.brains.cohort.controls import parse_controls
from aekit.brains.cohort.table import read_cohort
from aekit.brains.config import BrainConfig, Source
from aekit.brains.finished import FinishedRun, from_header
from aekit.brains.people import describe_splits
from aekit.brains.tabular.preparation import FeatureCohort, gather_features
from aekit.brains.tabular.request import run_name, settings_of
from aekit.brains.tabular.training import describe_combat, predict_everyone, train_folds
from aekit.brains.tabular.writing import COMPANIONS, write_results
from aekit.core.checkpoint import Header, read_header
from aekit.core.device import set_threads
from aekit.core.output import Result, checkpoint_path
from aekit.core.progress import SILENT, Labelled, Progress
from aekit.core.run_files import RunFiles, check_same_run
from aekit.core.torch_settings import keeps_torch_settings
from aekit.errors import AekitError, UsageError

_DEVICES = ("auto", "cpu")


def run_feature_training(
    config: BrainConfig,
    source: Source,
    output: Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    *,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress = SILENT,
) -> Result:
    """Return the checkpoint of a training on columns of a table, with the metrics of the split by which it is judged.

    Args:
        config: What is trained, with ``model.features``.
        source: Where participants come from.
        output: The checkpoint, or a folder for it; None is ``runs/<name from the options>.safetensors``.
        device: ``auto`` or ``cpu``.
        threads: CPU threads; None uses all cores.
        overwrite: Start over, whatever exists.
        resume: Leave a finished run as it is; it takes seconds, so an unfinished one starts over.
        progress: Receives updates and the metrics, and is asked whether to stop.

    Raises:
        AekitError: The output exists and neither ``overwrite`` nor ``resume`` was asked for, or columns, participants
            or sites cannot be used.
        Stopped: A signal asked for it; nothing is saved.
    """
    if device not in _DEVICES:
        raise UsageError(f"--device {device}: models of columns are fitted on the CPU; leave it out")
    path = checkpoint_path(output or Path("runs"), f"{run_name(config)}.safetensors")
    labelled = Labelled(progress, str(path.with_suffix("")))  # others may be training on the same terminal
    finished = train_features(
        config, path, source=source, threads=threads, overwrite=overwrite, resume=resume, progress=labelled
    )
    finished.show(progress)
    return finished.to_result()


@keeps_torch_settings
def train_features(
    config: BrainConfig,
    output: Path,
    *,
    source: Source,
    threads: int | None = None,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress = SILENT,
) -> FinishedRun:
    """Fit the models of all folds, write ``output`` and its companions, and return the run.

    The arguments are those of :func:`run_feature_training`.
    """
    if overwrite and resume:
        raise AekitError("--overwrite, --resume: one starts over, the other continues; give one of them")
    if config.data.controls is not None:
        parse_controls(config.data.controls)
    cohort = read_cohort(
        source.table,
        need=("participant_id", "age"),
        skip_bad=source.skip_bad,
        chosen=config.data.columns,
        sessions=config.data.session,
    )
    settings = settings_of(config)
    settings["data"]["table_fingerprint"] = cohort.fingerprint()  # all columns, of which patterns choose
    files = RunFiles(output, COMPANIONS, partial(_read_own, settings), overwrite=overwrite, resume=resume)
    with files.writing():
        if header := files.claim(progress):
            return from_header(output, header)
        n_threads = set_threads(threads)
        found = gather_features(cohort, config, progress)
        progress.notice(describe_splits(found.people, found.folds, drops_outliers=config.data.drop_outliers))
        # Matrices are small, and sums in the order of one thread give the same bytes with any number of them.
        with threadpool_limits(1, user_api="blas"):
            models = train_folds(found, config, progress)
            predictions = predict_everyone(found, models, config, progress)
        if config.model.combat:
            progress.notice(f"{cohort.name}: {describe_combat(found, models)}")
        header = _header(settings, found, n_threads)
        finished = write_results(found, models, predictions, config, header, output, progress)
        files.finish()
    return finished


def _read_own(wanted: dict[str, Any], path: Path) -> Header:
    """Return the header of a checkpoint, which must be of the same run."""
    header = read_header(path)
    check_same_run(path, wanted, header, settings_of(BrainConfig()))
    return header


def _header(settings: dict[str, Any], found: FeatureCohort, threads: int) -> Header:
    ran_on = {"device": "cpu", "threads": threads}
    header = Header(settings["model"], settings["data"], settings["train"], ran_on=ran_on)
    first = found.folds[0]
    splits = {"train": first.train, **first.held_out}
    header.data.update(
        people=len(found.people.cohort), splits={split: {"n": len(rows)} for split, rows in splits.items()}
    )
    return header
