"""Networks for scans or models of columns: which training options ask for, and which a checkpoint holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from aekit.brains.config import BrainConfig, Source
from aekit.brains.hypotheses import run_hypotheses
from aekit.brains.predict import run_predict
from aekit.brains.runs import run_training
from aekit.brains.scan_people import NO_TABLES, ScanTables
from aekit.brains.tabular.checkpoint import is_of_features
from aekit.brains.tabular.predict import run_feature_predict
from aekit.brains.tabular.request import check_request
from aekit.brains.tabular.runs import run_feature_training
from aekit.core.checkpoint import read_header
from aekit.core.output import Result
from aekit.core.progress import SILENT, Progress
from aekit.errors import UsageError


def find_training(
    config: BrainConfig, source: Source, *, no_volumes: bool, hypotheses: bool
) -> Callable[..., Result | Iterator[Result]]:
    """Return the training that is asked for; its arguments are those of :func:`run_training` after the source.

    Args:
        config: What is trained.
        source: Where participants and scans come from.
        no_volumes: Learn from columns of the table, without scans.
        hypotheses: Compare the hypotheses.

    Raises:
        UsageError: Options contradict each other.
    """
    if check_request(config, source, no_volumes=no_volumes, hypotheses=hypotheses):
        return partial(run_feature_training, config, source)
    return partial(run_hypotheses if hypotheses else run_training, config, source)


def predict_with(
    checkpoint: Path,
    volumes: Sequence[Path],
    output: Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    *,
    spacing_mm: float | None = None,
    skip_bad: bool = False,
    tables: ScanTables = NO_TABLES,
    progress: Progress = SILENT,
) -> Result:
    """Return the table of predictions for new scans, or for new participants if the checkpoint is of columns.

    The arguments are those of :func:`aekit.brains.predict.run_predict`.

    Raises:
        UsageError: Scans are missing, or there are some and the checkpoint is of columns.
        AekitError: As the two predictions.
    """
    header = read_header(checkpoint)
    if not is_of_features(header):
        if not volumes and header.kind == "brain":
            raise UsageError(f"VOLUME: is missing; {checkpoint} has networks for scans; give scans, or folders of them")
        return run_predict(
            checkpoint, volumes, output, device, threads,
            spacing_mm=spacing_mm, skip_bad=skip_bad, tables=tables, progress=progress,
        )  # fmt: skip
    given = {"VOLUME": bool(volumes), "--voxel-size": spacing_mm is not None, "--pattern": tables.pattern is not None}
    if names := [name for name, is_given in given.items() if is_given]:
        raise UsageError(
            f"{', '.join(names)}: {checkpoint} learned from columns of a table, not from scans; give --table alone"
        )
    return run_feature_predict(checkpoint, header, output, tables=tables, skip_bad=skip_bad, progress=progress)
