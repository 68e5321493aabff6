"""A table and a folder of scans become trained networks, with tables and figures of how well they predict."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from aekit.brains.batch import Batchmates, describe_batch
from aekit.brains.cases import build_control_folds, group_deltas
from aekit.brains.cohort.controls import parse_controls
from aekit.brains.cohort.further import describe_left
from aekit.brains.cohort.table import TISSUES, Cohort, read_cohort
from aekit.brains.config import BrainConfig, CohortConfig, Source, Target, to_header
from aekit.brains.data import build_brain_data
from aekit.brains.domain import describe_seen
from aekit.brains.drawing import write_figures, write_site_figure
from aekit.brains.encoders import DEFAULT_EPOCHS, DEFAULT_LR
from aekit.brains.finished import FinishedRun, from_header, plain_rows
from aekit.brains.members import Ensemble, read_ensemble, train_members, write_ensemble
from aekit.brains.parent import Parent, check_ages, check_other_scans, check_same_parent, describe_parent, read_parent
from aekit.brains.people import (
    Fold,
    People,
    check_log_ages,
    describe_splits,
    gather_people,
    report_people,
)
from aekit.brains.predictions import Predictions, image_features, predict_all
from aekit.brains.quality.judgement import standard_to_header, standard_to_images
from aekit.brains.scores import (
    age_trends,
    conformal_table,
    differences_table,
    judged_split,
    metrics_table,
    predictions_table,
)
from aekit.brains.simple_models import fit_simple_models
from aekit.brains.sites import describe_sites, describe_worse_sites, probe_table, site_names, site_table
from aekit.brains.stacking import stack_ages
from aekit.brains.training import EpochCounter, EpochRow, Member, TrainingSetup, stages_of
from aekit.brains.verdict import find_verdict
from aekit.brains.volumes.gridding import N_BINS
from aekit.brains.volumes.template import describe_poses
from aekit.core.artifacts import write_csv
from aekit.core.checkpoint import Header, read_header
from aekit.core.device import choose_device, choose_precision, seed_everything, set_threads
from aekit.core.output import Result, checkpoint_path
from aekit.core.progress import SILENT, Labelled, Progress
from aekit.core.run_files import RunFiles, check_same_run
from aekit.core.settings import changes_in_name, to_dict
from aekit.core.torch_settings import keeps_torch_settings
from aekit.errors import AekitError, Stopped, count

_OF_SITES = (".sites.csv", ".site-probe.csv", ".sites.png")
# Columns of a table may have any name, also one that no file can have.
_NOT_IN_NAME = ("kind", "name", "arch", "id", "age", "sex", "site", "controls", "template")
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
    *_OF_SITES,
    ".scans.png",
)


def run_training(
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
    """Return the checkpoint of a training, with the metrics of the split by which it is judged.

    Args:
        config: What is trained.
        source: Where participants and scans come from.
        output: The checkpoint, or a folder for it; None is ``runs/<name from the options>.safetensors``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        threads: CPU threads; None uses all cores.
        overwrite: Start over, whatever exists.
        resume: Continue an unfinished run; leave a finished one as it is.
        progress: Receives updates and the metrics, and is asked whether to stop.

    Raises:
        AekitError: As :func:`train_brains`, or the output cannot be a checkpoint.
        Stopped: As :func:`train_brains`.
    """
    path = choose_checkpoint(config, output)
    finished = train_brains(
        config,
        path,
        source=source,
        device=device,
        threads=threads,
        overwrite=overwrite,
        resume=resume,
        progress=Labelled(progress, str(path.with_suffix(""))),  # others may be training on the same terminal
    )
    finished.show(progress)
    return finished.to_result()


def choose_checkpoint(config: BrainConfig, output: Path | None) -> Path:
    """Return the checkpoint to write: a file, or one named after the options in a folder, by default ``runs``."""
    return checkpoint_path(output or Path("runs"), f"{brain_run_name(config)}.safetensors")


def brain_run_name(config: BrainConfig) -> str:
    """Return a file name made of what matters, the same for the same options: ``brain-participants-strided-cv5``."""
    model, data, train = config.model, config.data, config.train
    fresh = BrainConfig(data=CohortConfig(val=0.0, test=0.0)) if data.cv else BrainConfig()
    parts = ["brain", Path(data.name).stem, model.arch]
    if train.init is not None:
        train = replace(train, init=Path(train.init).stem)
    for own, default in ((model, fresh.model), (data, fresh.data), (train, fresh.train)):
        parts += changes_in_name(own, default, but=_NOT_IN_NAME)
    if data.controls is not None:  # blanks and slashes of values have no place in the name of a file
        parts.append("controls-" + re.sub(r"[^\w.=!,+-]+", "_", data.controls))
    if data.template is not None:
        parts.append(f"template{data.template.partition('.')[0]}")
    return "-".join(parts)


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
    # As the chain, whose parts are trained already.
    default_lr = DEFAULT_LR[model.arch] / (1 if train.init is None else 3)
    lr, epochs = train.lr or default_lr, train.epochs or DEFAULT_EPOCHS[model.arch]
    return replace(
        config,
        model=replace(model, target=target),
        train=replace(train, lr=lr, epochs=epochs),
    )


@keeps_torch_settings
def train_brains(
    config: BrainConfig,
    output: Path,
    *,
    source: Source,
    device: str = "auto",
    threads: int | None = None,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress = SILENT,
) -> FinishedRun:
    """Train an ensemble, write ``output`` and its companions, and return it.

    The arguments are those of :func:`run_training`.

    Raises:
        AekitError: The output exists and neither ``overwrite`` nor ``resume`` was asked for, participants or scans
            cannot be used, or a loss stopped being finite.
        Stopped: A signal asked for it; ``resume`` continues after the last finished stage.
    """
    if overwrite and resume:
        raise AekitError("--overwrite, --resume: one starts over, the other continues; give one of them")
    if config.data.controls is not None:
        parse_controls(config.data.controls)
    need = ("participant_id", "age", *(TISSUES if config.model.target else ()))
    cohort = read_cohort(
        source.table, need=need, skip_bad=source.skip_bad, chosen=config.data.columns, sessions=config.data.session
    )
    config = fill_brain_defaults(config, cohort)
    wanted, table = to_dict(config), _table_fingerprint(cohort, config)
    wanted["data"]["table_fingerprint"] = table
    read_own = partial(_read_own, wanted)
    files = RunFiles(output, COMPANIONS, read_own, overwrite=overwrite, resume=resume)
    with files.writing():
        if header := files.claim(progress):
            return from_header(output, header)
        if files.is_unfinished():
            table = read_own(files.state).data.get("table_fingerprint")  # older states have none
        chosen, n_threads = choose_device(device), set_threads(threads)
        parent = read_parent(config.train.init, config, output, chosen)
        run = _prepare(config, cohort, table, source, parent, chosen, n_threads, progress)
        ensemble = Ensemble(template=run.people.volumes.template)
        if files.is_unfinished():
            ensemble = _read_unfinished(files.state, run)
            n_all = len(run.members) * len(stages_of(config))
            progress.notice(f"continuing after {_n_stages(ensemble)} of {count(n_all, 'stage')}")
        try:
            _train(run, ensemble, files.state, progress)
        except Stopped as stopped:
            if files.state.exists():
                raise
            text = "stopped before the first stage was finished; nothing was saved"
            raise Stopped(text, stopped.signal_number) from stopped
        finished = _write_results(run, ensemble, output, progress)
        files.finish()
    return finished


@dataclass(frozen=True)
class _Run:
    """What a training is made of."""

    config: BrainConfig
    table_fingerprint: str | None
    people: People
    folds: list[Fold]
    members: list[Member]
    device: torch.device
    threads: int
    n_workers: int
    precision: Literal["fp32", "bf16"]
    parent: Parent | None

    @property
    def header(self) -> Header:
        """Return the header of the checkpoint, before there are results."""
        ran_on = {"device": self.device.type, "threads": self.threads, "precision": self.precision}
        lineage = [] if self.parent is None else self.parent.lineage
        header = Header(**to_header(self.config), ran_on=ran_on, lineage=lineage)
        splits = {"train": self.folds[0].train, **self.folds[0].held_out}
        header.data.update(
            table_fingerprint=self.table_fingerprint,  # compared first: it says more than that scans are others
            shape=list(self.config.data.size),
            n_bins=N_BINS,
            people=len(self.people.cohort),
            fingerprint=self.people.volumes.fingerprint,
            splits={split: {"n": len(rows)} for split, rows in splits.items()},
        )
        return header


def _table_fingerprint(cohort: Cohort, config: BrainConfig) -> str | None:
    """Return what tells whether the table has changed in a column that matters, before anybody is left out."""
    data = config.data
    controls = None if data.controls is None else parse_controls(data.controls).column
    of_splits = [name for name in (data.cv, data.test, data.group, controls) if isinstance(name, str)]
    return cohort.fingerprint(("participant_id", "age", "sex", "site", "file", *TISSUES, *of_splits))


def _read_own(wanted: dict[str, Any], path: Path) -> Header:
    """Return the header of a checkpoint or state, which must be of the same run."""
    header = read_header(path)
    check_same_run(path, wanted, header, to_dict(BrainConfig()))
    check_same_parent(path, header, wanted["train"]["init"])
    return header


def _prepare(
    config: BrainConfig,
    cohort: Cohort,
    table_fingerprint: str | None,
    source: Source,
    parent: Parent | None,
    device: torch.device,
    threads: int,
    progress: Progress,
) -> _Run:
    """Return everything that a training needs, and report the participants."""
    target = config.model.target
    # Networks that go on must see brains in the place where they learned them.
    template = None if parent is None else parent.ensemble.template
    people = gather_people(
        cohort, source, config.data, target=target, template=template, jobs=threads, progress=progress
    )
    if config.model.log_age:
        check_log_ages(people.cohort)
    people, folds = build_control_folds(people, config.data, target, progress)
    if parent is not None:
        check_other_scans(parent, people.volumes.fingerprint)
        train = np.unique(np.concatenate([fold.train for fold in folds]))
        check_ages(parent, people.cohort.table["participant_id"].to_numpy()[train], people.cohort.age_years[train])
        progress.notice(describe_parent(parent))
    report_people(people, progress)
    progress.notice(describe_splits(people, folds, drops_outliers=config.data.drop_outliers))
    seeds = range(config.train.seed, config.train.seed + config.train.seeds)
    members = [_member(fold, seed) for fold in folds for seed in seeds]
    n_workers = min(threads, len(members)) if device.type == "cpu" else 1
    precision = choose_precision(config.train.precision, device, threads_per_operator=max(1, threads // n_workers))
    return _Run(config, table_fingerprint, people, folds, members, device, threads, n_workers, precision, parent)


def _member(fold: Fold, seed: int) -> Member:
    split = next((name for name in ("cv", "val", "test") if name in fold.held_out), "")
    held_out = fold.held_out.get(split, np.empty(0, np.int64))
    return Member(fold.number, seed, fold.train, held_out, split)


def _read_unfinished(path: Path, run: _Run) -> Ensemble:
    """Return the networks and the history of an unfinished run.

    Raises:
        AekitError: It is damaged, or of another run or other scans.
    """
    check_same_run(path, run.header.configuration, read_header(path), to_dict(BrainConfig()))
    ensemble, _, found = read_ensemble(path, run.device)
    try:
        ensemble.history = [EpochRow(**row) for row in (found.state or {})["history"]]
    except (KeyError, TypeError) as error:
        raise AekitError(f"{path}: is damaged ({error}); start over with --overwrite") from error
    return ensemble


def _train(run: _Run, ensemble: Ensemble, state: Path, progress: Progress) -> None:
    """Train what is missing in the ensemble; the state has every finished stage."""
    done = [stage for stages in ensemble.networks.values() for stage in stages]
    setup = TrainingSetup(
        config=run.config,
        data=build_brain_data(run.people, run.config.model.target),
        device=run.device,
        precision=run.precision,
        progress=progress,
        counter=EpochCounter(len(run.members), run.config, done, progress),
        initial=run.parent.networks_for(run.members) if run.parent else {},
    )
    header = run.header

    def save(ensemble: Ensemble) -> None:
        finished = {"epoch": _n_stages(ensemble), "history": [asdict(row) for row in ensemble.history]}
        write_ensemble(state, ensemble, replace(header, state=finished))

    seed_everything(run.config.train.seed, run.device)
    train_members(run.members, setup, ensemble, threads=run.threads, n_workers=run.n_workers, save=save)


def _n_stages(ensemble: Ensemble) -> int:
    return sum(len(stages) for stages in ensemble.networks.values())


def _write_results(run: _Run, ensemble: Ensemble, output: Path, progress: Progress) -> FinishedRun:
    """Write the tables and figures, and then the checkpoint: if it exists, its companions do."""
    people, header = run.people, run.header
    images = image_features(people, run.config, progress)
    predictions = predict_all(people, run.folds, ensemble, run.config, run.device, progress, images)
    predictions += stack_ages(predictions)
    metrics = metrics_table(predictions)
    write_csv(output.with_suffix(".csv"), pd.DataFrame([asdict(row) for row in ensemble.history]))
    write_csv(output.with_suffix(".predictions.csv"), predictions_table(predictions, people.cohort))
    if text := describe_left(people.cohort):
        progress.notice(f"{people.cohort.name}: {text}")
    write_csv(output.with_suffix(".metrics.csv"), metrics)
    write_csv(output.with_suffix(".differences.csv"), differences_table(predictions))
    write_csv(output.with_suffix(".left-out.csv"), people.left_out)
    _write_sites(run, predictions, output, progress)
    write_figures(output, people, predictions, ensemble.history, header.to_dict())
    simple, ensemble.simple = fit_simple_models(people, run.folds, run.config, predictions, images)
    train = np.unique(np.concatenate([fold.train for fold in run.folds]))
    result = {
        "parameters": ensemble.n_parameters(),
        "judged": judged_split(predictions),
        "metrics": plain_rows(metrics),
        "conformal": conformal_table(predictions),
        "age_trend": age_trends(predictions),
        **find_verdict(predictions),
        **simple,
        "seen": describe_seen(people.volumes, people.cohort.age_years, train),
        **_describe_batch(run, train),
    }
    if people.judged is not None and (standard := people.judged.judgement.standard) is not None:
        result["quality"] = standard_to_header(standard)
        ensemble.images.update(standard_to_images(standard))
    if deltas := group_deltas(predictions, people, run.config.data):
        result["deltas"] = deltas
    if people.volumes.template is not None:
        result["poses"] = describe_poses(people.volumes.poses[train])
    write_ensemble(output, ensemble, replace(header, result=result))
    return FinishedRun(output, read_header(output), metrics)


def _describe_batch(run: _Run, train: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Return what tells whether new scans come from another scanner, for a header; empty for a few participants."""
    cohort, config = run.people.cohort, run.config.data
    known = Batchmates(
        cohort.age_years, cohort.sex, cohort.proportions, site_names(run.people, config), isinstance(config.cv, str)
    )
    found = describe_batch(run.people.volumes.histograms_ml[train], known.take(train))
    return {"batch": found} if found else {}


def _write_sites(run: _Run, predictions: list[Predictions], output: Path, progress: Progress) -> None:
    """Write and describe errors at each site and the probe of sites, if there are several; else remove old ones."""
    site = site_names(run.people, run.config.data)
    if site is None:
        for suffix in _OF_SITES:
            output.with_suffix(suffix).unlink(missing_ok=True)
        return
    table = site_table(predictions, run.folds, site)
    write_csv(output.with_suffix(".sites.csv"), table)
    probes = probe_table(run.people, predictions, run.folds, site, seed=run.config.data.split_seed)
    write_csv(output.with_suffix(".site-probe.csv"), probes)
    write_site_figure(output, table, run.people, run.header.to_dict())
    progress.notice(describe_sites(table, probes))
    if text := describe_worse_sites(table, find_verdict(predictions).get("best_age_model", "")):
        progress.notice(text)
