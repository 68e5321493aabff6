"""Whether the brain-age gap is related to covariates: the body of ``aekit mri-associate``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aekit.brains.associate import retest
from aekit.brains.associate.analysis import (
    GAP,
    GIVEN_VOLUMES,
    Measure,
    Nuisance,
    Row,
    build_measures,
    build_nuisance,
    run_tests,
    to_table,
    trend_is_of_controls,
)
from aekit.brains.associate.covariates import Covariate, read_covariate
from aekit.brains.associate.figure import plot_associations
from aekit.brains.associate.request import Request
from aekit.brains.associate.sample import Sample, read_sample
from aekit.brains.associate.wording import (
    GAP_COLUMNS,
    MEASURE_NOTE,
    P_COLUMNS,
    gap_cells,
    interval_text,
    measure_cells,
    measure_columns,
    write_paragraph,
)
from aekit.core.artifacts import check_writable, write_atomically, write_csv, write_png
from aekit.core.output import Result, choose_target
from aekit.core.progress import SILENT, Named, Progress
from aekit.errors import AekitError, UsageError, count

COMPANIONS = (".csv", ".png", ".md", ".sessions.csv")
MAX_PERMUTATIONS = 1_000_000
FEW_NUMBERS = 6  # that may be codes of groups


def run_associate(request: Request, output: Path | None = None, *, progress: Progress = SILENT) -> Result:
    """Return the table of tests, with a figure and a paragraph next to it.

    Args:
        request: What is asked.
        output: The table, .csv, or a folder for it; None writes next to the predictions.
        progress: Shows the tests as they are done, and their table.

    Raises:
        AekitError: A file or a column cannot be used; see :mod:`aekit.brains.associate.sample` and ``covariates``.
    """
    target = _target(request, output)
    progress = Named(progress, str(target.with_suffix("")))
    sample = read_sample(request)
    covariates = [read_covariate(sample, name, request) for name in request.covariates]
    nuisance, more = build_nuisance(sample, request)
    for text in [*sample.notes, *more, *_notes(sample, covariates, nuisance)]:
        progress.notice(text)
    check_writable(target)
    measures = build_measures(sample)
    rows = run_tests(covariates, measures, nuisance, request, lambda done, total: progress.update("tests", done, total))
    for text in _untested(rows, covariates, measures):
        progress.notice(text)
    table, repeats = to_table(rows), retest.compare_sessions(sample)
    parameters = _parameters(request, sample, nuisance.names)
    title = f"{sample.name}: {count(len(sample.first_rows), 'participant')}, gap of {sample.model or 'the network'}"
    ids = [str(one) for one in sample.table["participant_id"].iloc[sample.first_rows]]
    write_csv(target, table)
    write_png(target.with_suffix(".png"), plot_associations(rows, nuisance, ids=ids, title=title), parameters)
    text = write_paragraph(rows, table, sample, nuisance, request, repeats)
    write_atomically(target.with_suffix(".md"), lambda file: file.write(text.encode()))
    if repeats:
        write_csv(target.with_suffix(".sessions.csv"), retest.to_table(repeats))
    _show(table, repeats, nuisance.names, progress)
    return Result(target, _values(rows, table, sample, nuisance.names, repeats))


def _target(request: Request, output: Path | None) -> Path:
    """Return the table to write.

    Raises:
        AekitError: It or a companion would replace an input or a file of a training.
    """
    if not 0 <= request.n_permutations <= MAX_PERMUTATIONS:
        raise UsageError(f"--permutations: {request.n_permutations:,} is outside 0 to {MAX_PERMUTATIONS:,}")
    target = choose_target([request.predictions], output, name="associate", suffix=".csv")
    inputs = {path.resolve() for path in (request.predictions, request.table) if path is not None}
    for path in (target.with_suffix(suffix) for suffix in COMPANIONS):
        if path.resolve() in inputs:
            raise AekitError(f"--output {target}: {path.name} is an input and would be replaced; choose another name")
    if target.with_suffix(".safetensors").exists():
        raise AekitError(
            f"--output {target}: has the name of a checkpoint, whose files it would replace; choose another"
        )
    return target


def _notes(sample: Sample, covariates: Sequence[Covariate], nuisance: Nuisance) -> list[str]:
    """Return what was decided about controls, groups and sessions."""
    notes = []
    everyone = np.arange(len(sample.first_rows))
    if sample.is_control is not None:
        n = int(sample.is_control[sample.first_rows].sum())
        notes.append(f"{count(n, 'control')} of {count(len(everyone), 'participant')}")
    for one in covariates:
        if one.name == "age":
            notes.append(
                "age: predictions are drawn towards the mean age, so the gap falls with age in every model; this "
                "is not a result about brains"
            )
        if one.numbers is not None:
            different = np.unique(one.numbers[np.isfinite(one.numbers)])
            if len(different) <= FEW_NUMBERS:
                values = ", ".join(f"{value:g}" for value in different)
                notes.append(f"{one.name}: {values} read as numbers; --groups {one.name} compares them as groups")
            continue
        text = f"{one.name}: {', '.join(one.levels[1:])} against {one.levels[0]}"
        if sample.is_control is not None and nuisance.age_years is not None:
            known = everyone[one.is_known]
            alone = trend_is_of_controls(one, nuisance.without(one.name), known)
            text += ", at the age trend of " + (
                "the controls" if alone else "everyone, as groups mix controls and others"
            )
        notes.append(text)
    if sample.sessions:
        n = len(sample.sessions)
        have = "participant has" if n == 1 else "participants have"
        notes.append(f"{n:,} {have} several sessions: the tests use the first one of each")
    return notes


def _untested(rows: Sequence[Row], covariates: Sequence[Covariate], measures: Sequence[Measure]) -> list[str]:
    """Return which measures were not tested with a covariate, as it is one of them or the volumes determine it."""
    done = {(row.measure.name, row.covariate.name) for row in rows}
    notes = []
    for one in covariates:
        left = [measure.name for measure in measures if (measure.name, one.name) not in done]
        if left:
            notes.append(f"{one.name}: not tested with {', '.join(left)}, as the volumes determine it")
    return notes


def _parameters(request: Request, sample: Sample, adjusted: Sequence[str]) -> dict[str, Any]:
    return {
        "command": "mri-associate",
        "with": list(request.covariates),
        "model": sample.model,
        "controls": None if request.controls is None else request.controls.text,
        "adjust": list(adjusted),
        "age_trend": request.age_trend,
        "permutations": request.n_permutations,
        "seed": request.seed,
    }


def _show(table: pd.DataFrame, repeats: Sequence[retest.Retest], adjusted: Sequence[str], progress: Progress) -> None:
    """Show the tests of the gap first, then those of the volumes, and how well two sessions agree."""
    given = f", given {', '.join(adjusted)}" if adjusted else ""
    records: list[dict[str, Any]] = table.to_dict("records")
    progress.table(f"brain-age gap and covariates{given}", [*GAP_COLUMNS, *P_COLUMNS], gap_cells(records))
    if len(columns := measure_columns(records)) > 3:
        progress.table(
            f"partial correlations of the gap and of the volumes ({MEASURE_NOTE})", columns, measure_cells(records)
        )
    if repeats:
        rows = [
            [
                one.measure,
                one.agreement.n,
                interval_text(*one.agreement.icc, digits=2),
                interval_text(*one.agreement.difference, digits=2, signed=True),
                f"{one.agreement.sd_within:.2f}",
                f"{one.agreement.smallest_change:.2f}",
            ]
            for one in repeats
        ]
        names = ["measure", "n", "ICC(2,1)", "second - first, years", "SD within", "smallest change"]
        progress.table("first and second session of the same participants", names, rows)


def _values(
    rows: Sequence[Row], table: pd.DataFrame, sample: Sample, adjusted: Sequence[str], repeats: Sequence[retest.Retest]
) -> dict[str, Any]:
    """Return what ``--json`` reports: the tests of the gap, and what they are given."""
    own = table[table["measure"].isin([GAP, GIVEN_VOLUMES])].drop(columns="missing")
    tests = [
        {str(key): None if value is pd.NA or value != value else value for key, value in record.items()}
        for record in own.astype({"n_group": object, "n_reference": object}).to_dict("records")
    ]
    values: dict[str, Any] = {"n": len(sample.first_rows), "model": sample.model, "adjust": list(adjusted)}
    if sample.is_control is not None:
        values["n_controls"] = int(sample.is_control[sample.first_rows].sum())
    values |= {"tests": tests, "n_tests": len(rows)}
    if repeats:
        values["sessions"] = retest.to_table(repeats).to_dict("records")
    return values
