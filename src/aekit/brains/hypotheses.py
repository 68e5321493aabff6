"""Four trainings on the same split, compared: the effect of proportions, dropped outliers and a deeper network."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aekit.brains.config import BrainArch, BrainConfig, Source, Target
from aekit.brains.figures.errors import plot_hypotheses
from aekit.brains.finished import FinishedRun
from aekit.brains.measures.regression import paired_difference
from aekit.brains.predictions import AGE
from aekit.brains.runs import choose_checkpoint, train_brains
from aekit.core.artifacts import write_csv, write_png
from aekit.core.output import Result
from aekit.core.progress import SILENT, Labelled, Progress
from aekit.core.torch_settings import keeps_torch_settings
from aekit.errors import AekitError, UsageError

# Each one keeps the changes of those before it.
HYPOTHESES: dict[str, tuple[BrainArch, Target, bool]] = {
    "base": ("base", "absolute", False),
    "H1": ("base", "proportion", False),
    "H2": ("base", "proportion", True),
    "H3": ("deep", "proportion", True),
}
_NAMES = {
    "base": "base: volumes in mL",
    "H1": "H1: proportions",
    "H2": "H2: H1 without training outliers",
    "H3": "H3: H2 with a deeper network",
}
_MODELS = {"volumes": "true volumes to age", "chain": "image to volumes to age"}
_BASELINES = ("mean", "gp", "ridge-voxels", "ridge-histogram", "ridge-tissues")


@keeps_torch_settings
def run_hypotheses(
    config: BrainConfig,
    source: Source,
    output: Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    *,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress = SILENT,
) -> Iterator[Result]:
    """Yield the checkpoint of each hypothesis, with the metrics of the split by which it is judged.

    The arguments are those of :func:`aekit.brains.runs.run_training`; see :func:`compare_hypotheses` for the files.

    Raises:
        UsageError: The networks are to begin with those of another run, which cannot have all architectures.
    """
    if config.train.init is not None:
        raise UsageError("--init: not with --hypotheses, which trains networks of several kinds")

    def train(own: BrainConfig, path: Path) -> FinishedRun:
        return train_brains(
            own,
            path,
            source=source,
            device=device,
            threads=threads,
            overwrite=overwrite,
            resume=resume,
            progress=Labelled(progress, str(path.with_suffix(""))),
        )

    for finished in compare_hypotheses(config, choose_checkpoint(config, output), train):
        finished.show(progress)
        yield finished.to_result()


def compare_hypotheses(
    config: BrainConfig, output: Path, train: Callable[[BrainConfig, Path], FinishedRun]
) -> list[FinishedRun]:
    """Train all four, write their comparison, and return the runs.

    If ``x`` is the name of the output, the runs are ``x-base`` to ``x-h3``. The comparison is ``x.hypotheses.png`` and
    ``x.hypotheses.csv``: a row per hypothesis, model (baselines included) and split, with the MAE of age, its paired
    difference from ``base`` with an interval over the same participants, the MSE of z-scored age, and that of the
    tissue volumes that the model predicts from the image.

    Args:
        config: What they share; architecture, target and outliers are set here.
        output: The path that the names are derived from.
        train: Trains one configuration into a path.
    """
    runs = {}
    for name, (arch, target, drop) in HYPOTHESES.items():
        own = replace(
            config,
            model=replace(config.model, arch=arch, target=target),
            data=replace(config.data, drop_outliers=drop),
        )
        runs[name] = train(own, output.with_name(f"{output.stem}-{name.lower()}.safetensors"))
        _return_memory()
    table = _compare(runs)
    write_csv(output.with_suffix(".hypotheses.csv"), table)
    parameters = {"command": "mri-train --hypotheses", **{name: run.header.train for name, run in runs.items()}}
    write_png(output.with_suffix(".hypotheses.png"), _plot(table, runs), parameters)
    return list(runs.values())


def _return_memory() -> None:
    """Return freed memory to the system: glibc keeps it for the threads that allocated it, which have ended."""
    gc.collect()
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):  # not in musl
        libc.malloc_trim(0)


def _compare(runs: dict[str, FinishedRun]) -> pd.DataFrame:
    predictions = {name: _read_ages(run.path) for name, run in runs.items()}
    rows: list[dict[str, Any]] = []
    for name, run in runs.items():
        metrics = run.metrics
        for row in metrics[(metrics["target"] == AGE) & metrics["model"].isin([*_MODELS, *_BASELINES])].itertuples():
            tissues = metrics[
                (metrics["model"] == row.model) & (metrics["split"] == row.split) & (metrics["target"] != AGE)
            ]
            rows.append(
                {
                    "hypothesis": name,
                    "model": row.model,
                    "split": row.split,
                    "n": row.n,
                    "mae": row.mae,
                    "mae_low": row.mae_low,
                    "mae_high": row.mae_high,
                    "mse_z": row.mse_z,
                    "tissue_mse_z": tissues["mse_z"].mean() if len(tissues) else np.nan,
                    **_against_base(predictions, name, str(row.model), str(row.split)),
                }
            )
    return pd.DataFrame(rows)


def _read_ages(path: Path) -> pd.DataFrame:
    predictions = path.with_suffix(".predictions.csv")
    try:
        table = pd.read_csv(predictions, dtype={"participant_id": str}, keep_default_na=False)
        ages = table.loc[table["target"] == AGE, ["participant_id", "split", "model", "truth", "prediction"]]
        return ages.astype({"truth": float, "prediction": float})
    except (OSError, ValueError, TypeError, LookupError, OverflowError) as error:
        raise AekitError(f"{predictions}: cannot be read or is damaged; train again with --overwrite") from error


def _against_base(predictions: dict[str, pd.DataFrame], name: str, model: str, split: str) -> dict[str, float]:
    """Return the paired difference from base for the participants that both predicted in this split."""
    own, base = (
        table[(table["model"] == model) & (table["split"] == split)].set_index("participant_id")
        for table in (predictions[name], predictions["base"])
    )
    shared = own.index.intersection(base.index)
    if name == "base" or not len(shared):
        return {"difference": np.nan, "low": np.nan, "high": np.nan}
    own, base = own.loc[shared], base.loc[shared]
    found = paired_difference(
        own["truth"].to_numpy(float), own["prediction"].to_numpy(float), base["prediction"].to_numpy(float)
    )
    return {"difference": found.difference, "low": found.low, "high": found.high}


def _plot(table: pd.DataFrame, runs: dict[str, FinishedRun]) -> Any:
    judged = [split for split in ("val", "test", "cv") if (table["split"] == split).any()]
    shown = table[table["model"].isin(list(_MODELS)) & table["split"].isin(judged)]
    shown = shown.assign(hypothesis=shown["hypothesis"].map(_NAMES), model=shown["model"].map(_MODELS))
    means = table[(table["model"] == "mean") & (table["hypothesis"] == "base")].set_index("split")["mae"]
    people = next(iter(runs.values())).header.data["people"]
    floor = {split: float(means[split]) for split in judged}
    return plot_hypotheses(shown, floor=floor, title=f"MAE of age, same split of {people:,} participants")
