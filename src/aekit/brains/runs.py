"""A table and a folder of scans become trained networks, and everything that says what they are worth."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from aekit.brains.cohort.table import TISSUES, Cohort, read_cohort
from aekit.brains.config import BrainConfig, CohortConfig, Target
from aekit.brains.domain import describe_seen
from aekit.brains.drawing import write_figures
from aekit.brains.members import Ensemble, read_ensemble, train_members, write_ensemble
from aekit.brains.networks import DEFAULT_EPOCHS, DEFAULT_LR
from aekit.brains.people import Fold, People, Source, check_logarithms, cut_folds, gather_people
from aekit.brains.predictions import brain_data, predict_all
from aekit.brains.scores import (
    conformal_table,
    differences_table,
    judged_split,
    metrics_table,
    predictions_table,
)
from aekit.brains.training import EpochRow, Member, Setting, Stage, stages_of
from aekit.brains.volumes.store import N_BINS
from aekit.core.artifacts import check_writable, write_csv
from aekit.core.checkpoint import Header, read_header, resume_path
from aekit.core.device import choose_device, choose_precision, seed_everything, set_threads
from aekit.core.run_files import check_same_run
from aekit.core.settings import to_dict
from aekit.core.weights import check_intact
from aekit.errors import AekitError

COMPANIONS = (
    ".csv",
    ".png",
    ".predictions.csv",
    ".predictions.png",
    ".metrics.csv",
    ".differences.csv",
    ".left-out.csv",
    ".bland-altman.png",
    ".residuals.png",
    ".decades.png",
)


@dataclass(frozen=True)
class BrainReporting:
    """How a run tells of itself."""

    on_data: Callable[[str, int, int], None] = lambda what, done, total: None
    on_training: Callable[[str, float], object] = lambda what, share: None
    on_message: Callable[[str], object] = lambda text: None
    stop: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class FinishedBrains:
    """A training that is done.

    Attributes:
        path: The checkpoint.
        header: What it says of itself.
        metrics: Its table of metrics.
    """

    path: Path
    header: Header = field(repr=False)
    metrics: pd.DataFrame = field(repr=False)


def fill_brain_defaults(config: BrainConfig, cohort: Cohort) -> BrainConfig:
    """Return the configuration with every None that stands for a default filled in.

    Raises:
        AekitError: The table has no tissue volumes, and ``direct``, which needs none, was not asked for.
    """
    model, train = config.model, config.train
    target: Target | None = model.target or (None if cohort.volumes_ml is None else "absolute")
    if target is None and not model.direct:
        seen = ", ".join(map(str, cohort.table.columns))
        raise AekitError(
            f"{cohort.name}: has no columns gmv, wmv and csfv, only {seen}; add --direct to learn age without volumes"
        )
    lr, epochs = train.lr or DEFAULT_LR[model.arch], train.epochs or DEFAULT_EPOCHS[model.arch]
    return replace(
        config,
        model=replace(model, target=target),
        train=replace(train, lr=lr, epochs=epochs),
    )


def brain_run_name(config: BrainConfig) -> str:
    """Return a file name made of what matters, the same for the same options: ``brain-participants-strided-cv5``."""
    model, data, train = config.model, config.data, config.train
    fresh = BrainConfig(data=CohortConfig(val=0.0, test=0.0)) if data.cv else BrainConfig()
    parts = ["brain", Path(data.name).stem, model.arch]
    for own, default in ((model, fresh.model), (data, fresh.data), (train, fresh.train)):
        for key, value in to_dict(own).items():
            if key not in ("kind", "name", "arch") and value != to_dict(default)[key]:
                text = "x".join(map(str, value)) if isinstance(value, (tuple, list)) else f"{value}"
                parts.append(key.replace("_", "") + ("" if value is True else text))
    return "-".join(parts)


def train_brains(
    config: BrainConfig,
    source: Source,
    output: Path,
    *,
    device_name: str,
    threads: int | None,
    overwrite: bool,
    resume: bool,
    reporting: BrainReporting,
) -> FinishedBrains:
    """Train an ensemble, write ``output`` and its companions, and return it.

    Raises:
        AekitError: The output exists and neither ``overwrite`` nor ``resume`` was asked for, people or scans cannot be
            used, or a loss stopped being finite.
        Stopped: A signal asked for it; ``resume`` goes on after the last stage that was finished.
    """
    need = ("participant_id", "age", *(TISSUES if config.model.target else ()))
    cohort = read_cohort(source.table, need=need, skip_bad=source.skip_bad)
    config = fill_brain_defaults(config, cohort)
    if done := _finished(config, output, overwrite=overwrite, resume=resume):
        return done
    unfinished = resume_path(output)
    if unfinished.exists() and not (overwrite or resume):
        raise AekitError(
            f"{unfinished}: an unfinished run is there; go on with --resume or start over with --overwrite"
        )
    check_writable(output)
    n_threads, device = set_threads(threads), choose_device(device_name)
    people = gather_people(
        cohort, source, config.data, target=config.model.target, jobs=n_threads, on_progress=reporting.on_data
    )
    if config.model.log_age:
        check_logarithms(people.cohort)
    folds = cut_folds(people, config.data, config.model.target)
    _say_people(people, folds, reporting, drops_outliers=config.data.drop_outliers)
    seed_everything(config.train.seed, device)
    members = [_member(fold, seed, config) for fold in folds for seed in _seeds(config)]
    n_workers = min(n_threads, len(members)) if device.type == "cpu" else 1
    threads_per_operator = max(1, n_threads // n_workers)
    precision = choose_precision(config.train.precision, device, threads_per_operator=threads_per_operator)
    header = _header(config, people, folds, device=device, threads=n_threads, precision=precision)
    ensemble = Ensemble()
    if resume and unfinished.exists():
        ensemble = _read_unfinished(unfinished, header, device)
        reporting.on_message(f"going on after {_n_stages(ensemble)} of {len(members) * len(stages_of(config))} stages")
    setting = Setting(
        config=config,
        data=brain_data(people, config),
        device=device,
        precision=precision,
        on_epoch=_Tally(members, config, ensemble, reporting).on_epoch,
        check_stop=reporting.stop,
    )
    train_members(
        members,
        setting,
        ensemble,
        threads=n_threads,
        n_workers=n_workers,
        save=lambda ensemble: _save(unfinished, ensemble, header),
    )
    finished = _finish(people, folds, ensemble, config, device, output, header, reporting)
    unfinished.unlink(missing_ok=True)
    return finished


def _finished(config: BrainConfig, output: Path, *, overwrite: bool, resume: bool) -> FinishedBrains | None:
    if not (overwrite or resume):
        for path in (output, *(output.with_suffix(suffix) for suffix in COMPANIONS)):
            if path.exists():
                raise AekitError(f"{path}: exists; replace it with --overwrite, or keep a finished run with --resume")
    if overwrite:
        return None
    with contextlib.suppress(AekitError):  # as in aekit.images.runs.finished_run
        check_same_run(resume_path(output), to_dict(config), read_header(resume_path(output)))
        return None
    if not output.exists():
        return None
    header = read_header(output)
    check_same_run(output, to_dict(config), header)
    check_intact(output)
    numbers = dict.fromkeys(("mae", "mae_low", "mae_high", "mse_z", "r2", "skill"), float)
    try:
        metrics = pd.DataFrame(header.result["metrics"]).astype(numbers)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise AekitError(f"{output}: its header is damaged; train it again with --overwrite") from error
    return FinishedBrains(output, header, metrics)


def _seeds(config: BrainConfig) -> range:
    return range(config.train.seed, config.train.seed + config.train.seeds)


def _member(fold: Fold, seed: int, config: BrainConfig) -> Member:
    split = next((name for name in ("cv", "val", "test") if name in fold.held_out), "")
    held_out = fold.held_out.get(split, np.empty(0, np.int64))
    return Member(fold.number, seed, fold.train, held_out, split)


def _say_people(people: People, folds: list[Fold], reporting: BrainReporting, *, drops_outliers: bool) -> None:
    for repair in people.cohort.repairs:
        reporting.on_message(f"{people.cohort.name}: {repair.what} ({repair.n:,}: {', '.join(repair.examples)})")
    if len(people.left_out):
        counts = people.left_out["reason"].value_counts(sort=False)
        listed = ", ".join(f"{n:,} {reason}" for reason, n in counts.items())
        reporting.on_message(f"left out: {listed}")
    if people.n_elsewhere:
        reporting.on_message(
            f"{people.n_elsewhere:,} scans are read from where the table's column file says, outside of --volumes; "
            "--pattern goes by names instead"
        )
    for text, n in _warnings(people):
        reporting.on_message(f"{n:,} of {len(people.cohort):,} volumes: {text}")
    first = folds[0]
    sizes = {"train": len(first.train), **{name: len(rows) for name, rows in first.held_out.items()}}
    what = f"{len(people.cohort):,} people, " + ", ".join(f"{name} {n:,}" for name, n in sizes.items())
    what += f", {len(folds)} folds" if len(folds) > 1 else ""
    if drops_outliers:
        what += f", {sum(len(fold.dropped) for fold in folds)} outliers dropped from train"
    reporting.on_message(what)


def _warnings(people: People) -> list[tuple[str, int]]:
    """Return each warning about volumes once, and how many have it; other numbers do not make it another warning."""
    found: dict[str, list[str]] = {}
    for texts in people.volumes.warnings.values():
        for text in texts:
            found.setdefault(re.sub(r"[\d.,]+", "0", text), []).append(text)
    return [(texts[0] if len(set(texts)) == 1 else f"{texts[0]}, or the like", len(texts)) for texts in found.values()]


def _header(
    config: BrainConfig, people: People, folds: list[Fold], *, device: torch.device, threads: int, precision: str
) -> Header:
    """Return what a checkpoint says of its run before there are results."""
    splits = {"train": folds[0].train, **folds[0].held_out}
    header = Header(**to_dict(config), ran_on={"device": device.type, "threads": threads, "precision": precision})
    header.data.update(
        shape=list(config.data.size),
        n_bins=N_BINS,
        people=len(people.cohort),
        fingerprint=people.volumes.fingerprint,
        splits={split: {"n": len(rows)} for split, rows in splits.items()},
    )
    return header


def _save(path: Path, ensemble: Ensemble, header: Header) -> None:
    state = {"epoch": _n_stages(ensemble), "history": [asdict(row) for row in ensemble.history]}
    write_ensemble(path, ensemble, replace(header, state=state))


def _n_stages(ensemble: Ensemble) -> int:
    return sum(len(stages) for stages in ensemble.networks.values())


def _read_unfinished(path: Path, header: Header, device: torch.device) -> Ensemble:
    check_same_run(path, header.configuration, read_header(path))
    ensemble, _, found = read_ensemble(path, device)
    try:
        ensemble.history = [EpochRow(**row) for row in (found.state or {})["history"]]
    except (KeyError, TypeError) as error:
        raise AekitError(f"{path}: is damaged ({error}); start over with --overwrite") from error
    return ensemble


class _Tally:
    """Counts epochs of all members together, and says what a stage reached."""

    def __init__(
        self, members: list[Member], config: BrainConfig, ensemble: Ensemble, reporting: BrainReporting
    ) -> None:
        self._reporting = reporting
        self._n_members = len(members)
        self._stages = stages_of(config)
        done = [stage for stages in ensemble.networks.values() for stage in stages]
        self._share = {stage: 1.0 for stage in self._stages} | {"age": 0.05, "chain": 0.5}
        self._total = self._n_members * sum(self._share[stage] for stage in self._stages)
        self._done = sum(self._share[stage] for stage in done)

    def on_epoch(self, stage: Stage, member: Member, epoch: int, n_epochs: int, loss: float) -> None:
        self._done += self._share[stage] / n_epochs
        self._reporting.on_training("training", min(1.0, self._done / self._total))
        if epoch == n_epochs:
            where = f"fold {member.fold + 1}, " if member.held_out_split == "cv" else ""
            split = member.held_out_split or "train"
            self._reporting.on_message(f"{where}seed {member.seed}: {stage}, {split} loss {loss:.4g}")


def _finish(
    people: People,
    folds: list[Fold],
    ensemble: Ensemble,
    config: BrainConfig,
    device: torch.device,
    output: Path,
    header: Header,
    reporting: BrainReporting,
) -> FinishedBrains:
    # All stages are on disk, so nothing is lost if one of these files cannot be written. The checkpoint comes last:
    # where it is, its companions are.
    def on_progress(what: str, done: int, total: int) -> None:
        reporting.stop()
        reporting.on_data(what, done, total)

    predictions = predict_all(people, folds, ensemble, config, device, on_progress)
    metrics = metrics_table(predictions)
    write_csv(output.with_suffix(".csv"), pd.DataFrame([asdict(row) for row in ensemble.history]))
    write_csv(output.with_suffix(".predictions.csv"), predictions_table(predictions, people.cohort))
    write_csv(output.with_suffix(".metrics.csv"), metrics)
    write_csv(output.with_suffix(".differences.csv"), differences_table(predictions))
    write_csv(output.with_suffix(".left-out.csv"), people.left_out)
    write_figures(output, people, predictions, ensemble.history, header.to_dict())
    train = np.unique(np.concatenate([fold.train for fold in folds]))
    result = {
        "parameters": ensemble.n_parameters(),
        "judged": judged_split(predictions),
        "metrics": [_plain(row) for row in metrics.to_dict("records")],
        "conformal": conformal_table(predictions),
        "seen": describe_seen(people.volumes, people.cohort.age_years, train),
    }
    write_ensemble(output, ensemble, replace(header, result=result))
    return FinishedBrains(output, read_header(output), metrics)


def _plain(row: dict[Any, Any]) -> dict[str, Any]:
    """Return values that JSON has: NaN, which it has not, becomes null."""
    return {str(key): None if isinstance(value, float) and np.isnan(value) else value for key, value in row.items()}
