"""Damaged checkpoints, states of unfinished runs, and what commands make of a header that is strange."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from fuzzing import Target, expect_clean, fuzz, raw, record_counts, replay, safetensors_header
from recorded import Recorded

from aekit.brains.cohort.table import read_cohort
from aekit.brains.config import BrainConfig, BrainModelConfig, BrainTrainConfig, CohortConfig
from aekit.brains.finished import from_header
from aekit.brains.members import Ensemble, _empty_normalisation, read_ensemble, write_ensemble
from aekit.brains.runs import COMPANIONS, _read_own
from aekit.brains.scan_people import ScanTables
from aekit.brains.scores import metrics_table
from aekit.brains.tabular.ensemble import to_tensors
from aekit.brains.tabular.limits import fit_feature_limits
from aekit.brains.tabular.predict import run_feature_predict
from aekit.brains.tabular.preparation import gather_features
from aekit.brains.tabular.request import settings_of
from aekit.brains.tabular.training import predict_everyone, train_folds
from aekit.brains.tabular.writing import feature_result
from aekit.brains.training import build_network
from aekit.core.checkpoint import Header, read_header, resume_path
from aekit.core.device import ThreadTeam
from aekit.core.distributed import Group
from aekit.core.progress import SILENT
from aekit.core.run_files import RunFiles, check_same_run
from aekit.core.settings import to_dict
from aekit.core.weights import write_checkpoint
from aekit.errors import AekitError, Stopped
from aekit.images import runs
from aekit.images.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from aekit.images.models import build_model
from aekit.images.run_building import build_run, read_splits
from aekit.images.run_defaults import fill_defaults
from aekit.images.run_headers import build_header, run_files
from aekit.images.runs import Machine
from aekit.images.session import open_session
from aekit.images.state import read_model, read_state
from aekit.images.training import fit
from aekit.plotting.html import build_report
from aekit.results.files import read_results
from aekit.results.info import describe
from aekit.results.page import build_sections

CPU = torch.device("cpu")
CONFIG = RunConfig(
    ModelConfig(arch="dense", latent=2, width=4, loss="gaussian"), DataConfig("digits", limit=20), TrainConfig(epochs=2)
)


@functools.cache
def _folder() -> Path:
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="fuzz-checkpoints-"))
    for stops in (True, False):
        try:
            runs.train_run(
                CONFIG,
                folder / f"{'half' if stops else 'whole'}.safetensors",
                Machine(folder, "cpu", 1),
                overwrite=True,
                resume=False,
                progress=Recorded(stop_after=2 if stops else None),  # the second step is interrupted
            )
        except Stopped:
            continue
    return folder


def _whole() -> bytes:
    return (_folder() / "whole.safetensors").read_bytes()


def _half() -> bytes:
    return resume_path(_folder() / "half.safetensors").read_bytes()


BRAIN = BrainConfig(
    BrainModelConfig(arch="base", target="absolute"), CohortConfig(size=(6, 6, 6)), BrainTrainConfig(epochs=1, lr=1e-3)
)


@functools.cache
def _brain() -> bytes:
    config = BRAIN
    torch.manual_seed(0)
    stages = ("volumes", "age", "chain")
    networks = {stage: build_network(stage, config, _empty_normalisation(config, 4), 4) for stage in stages}
    header = Header(**json.loads(json.dumps(to_dict(config))))
    header.data.update(
        {
            "shape": [6, 6, 6],
            "n_bins": 4,
            "people": 20,
            "fingerprint": "f" * 64,
            "splits": {"train": {"n": 16}, "test": {"n": 4}},
        }
    )
    numbers = {"mae": 5.5, "mae_low": 4.0, "mae_high": None, "mse_z": 1.0, "r2": 0.5, "skill": 0.5}
    header.ran_on.update({"device": "cpu", "threads": 1, "precision": "fp32"})
    header.result.update(
        {
            "parameters": 10,
            "judged": "test",
            "metrics": [{"target": "age_years", "model": "chain", "split": "test", "n": 4, **numbers}],
            "conformal": [
                {"model": "chain", "target": "age_years", "half_width": 9.0, "coverage": 0.9, "wanted": 0.9, "n": 4}
            ],
            "seen": {
                "age_years": [20.0, 80.0],
                "brain_ml": [1000.0, 1500.0],
                "spacing_mm": [1.0, 1.2],
                "shapes": [[6, 6, 6]],
                "intensity": [0.25, 0.5, 0.75, 1.0],
                "intensity_distance": 0.1,
            },
        }
    )
    path = _folder() / "brain.safetensors"
    return write_ensemble(path, Ensemble({(0, 0): networks}), header).read_bytes()


@functools.cache
def _columns() -> bytes:
    random = np.random.default_rng(0)
    ages = random.uniform(20, 80, 40)
    regions = {f"roi_{number}": 50 - 0.1 * ages + random.normal(size=40) for number in range(3)}
    ids, site = [f"p{row}" for row in range(40)], ["A", "B"] * 20
    pd.DataFrame({"participant_id": ids, "age": ages, "site": site, **regions}).to_csv(_folder() / "people.csv")
    config = BrainConfig(BrainModelConfig(features=("roi_*",), combat=True), CohortConfig("people.csv", cv=2, val=0.0))
    found = gather_features(read_cohort(_folder() / "people.csv"), config, SILENT)
    models = train_folds(found, config, SILENT)
    predictions = predict_everyone(found, models, config, SILENT)
    result = feature_result(found, models, predictions, config, metrics_table(predictions))
    settings, path = settings_of(config), _folder() / "columns.safetensors"
    header = Header(settings["model"], settings["data"], settings["train"], result=result)
    limits = fit_feature_limits(found.own.features, found.own.age_years)
    return write_checkpoint(path, to_tensors(models, limits), header).read_bytes()


def _apply_columns(path: Path) -> None:
    table = ScanTables(_folder() / "people.csv")
    run_feature_predict(path, read_header(path), None, tables=table, skip_bad=False, progress=SILENT)


def _ask(path: Path) -> None:
    """Do with a header what commands do that load no weights."""
    header = read_header(path)
    _ = (
        describe(path, header),
        json.dumps(header.to_dict()),
    )
    if header.kind != "brain":
        session = open_session([path])
        session.check_comparable(["test"])
        session.labels()
        run_files(CONFIG, path).finished()


def _report(path: Path) -> None:
    results = read_results([path.parent], output=path.parent / "report.html", max_rows=5, max_bytes=10**6)
    page = build_report(build_sections(results, title="x", max_rows=5, max_mb=1), title="x", parameters={})
    assert "<script>alert" not in page
    if results.unreadable:
        raise AekitError(f"{path}: {next(iter(results.unreadable.values()))}; named in the report")


@functools.cache
def _run() -> tuple[runs.Run, dict]:
    sets = read_splits(CONFIG.data, _folder())
    config = fill_defaults(CONFIG, n_images=len(sets["train"]), image_shape=sets["train"].image_shape)
    model = build_model(config.model, sets["train"].image_shape)
    run = build_run(model, config, sets, CPU, torch.Generator(), ThreadTeam(1).__enter__(), Group())
    return run, build_header(config, sets, run, 1, [])


def _resume(path: Path) -> None:
    run, header = _run()
    check_same_run(path, header.configuration, read_header(path), to_dict(RunConfig()))
    state = read_state(path, run)
    try:
        fit(run, state)
    except AekitError as error:  # of weights that are not numbers, which a training may come to by itself
        raise AekitError(f"{path}: {error}") from error


def _read_brain(path: Path) -> None:
    _, _, header = read_ensemble(path, CPU)
    _ = describe(path, header)
    if header := RunFiles(path, COMPANIONS, functools.partial(_read_own, to_dict(BRAIN)), resume=True).finished():
        from_header(path, header)


def _target(
    name: str, honest: Callable[[], bytes], read: Callable[[Path], object], n_long: int, *, is_checked: bool = False
) -> Target:
    data = honest() if is_checked else _without_checksum(honest())
    return Target(
        name, "x.safetensors", [data], [raw(data), safetensors_header(data), safetensors_header(data)], read, n_long
    )


def _without_checksum(data: bytes) -> bytes:
    """Return a checkpoint as an older aekit wrote it: with a checksum nothing that is damaged would get far."""
    n_head = int.from_bytes(data[:8], "little")
    head = json.loads(data[8 : 8 + n_head])
    own = json.loads(head["__metadata__"]["aekit"])
    del own["sha256"]
    head["__metadata__"]["aekit"] = json.dumps(own)
    text = json.dumps(head).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + n_head :]


TARGETS = {
    "header": lambda: _target("header", _whole, _ask, 6000),
    "header-brain": lambda: _target("header-brain", _brain, _ask, 5000),
    "header-report": lambda: _target("header-report", _whole, _report, 4000),
    "header-brain-report": lambda: _target("header-brain-report", _brain, _report, 3000),
    "model": lambda: _target("model", _whole, lambda path: read_model(path, CPU), 5000),
    "model-checksum": lambda: _target(
        "model-checksum", _whole, lambda path: read_model(path, CPU), 2000, is_checked=True
    ),
    "state": lambda: _target("state", _half, _resume, 4000),
    "brain": lambda: _target("brain", _brain, _read_brain, 3000),
    "columns": lambda: _target("columns", _columns, _apply_columns, 3000),
}


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_checkpoints_are_read_or_refused_in_one_line(name, tmp_path):
    expect_clean(fuzz(TARGETS[name](), tmp_path, 20))


@pytest.mark.parametrize("name", TARGETS)
def test_checkpoints_that_failed_once_do_not_fail_again(name, tmp_path):
    expect_clean(replay(TARGETS[name](), tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_more_damaged_checkpoints_are_read_or_refused_in_one_line(name, tmp_path):
    expect_clean(fuzz(TARGETS[name](), tmp_path, 150))


@pytest.mark.faults
@pytest.mark.parametrize("name", TARGETS)
def test_thousands_of_damaged_checkpoints_are_read_or_refused_in_one_line(name, tmp_path, record):
    target = TARGETS[name]()
    counts = fuzz(target, tmp_path, target.n_long, derandomize=False)
    record_counts(record, name, counts)
    expect_clean(counts)
