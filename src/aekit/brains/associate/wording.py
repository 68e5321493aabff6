"""Method and results in a paragraph of Markdown, made from the numbers of this run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from aekit.brains.associate.analysis import GAP, GIVEN_VOLUMES, OMNIBUS, SLOPE, Nuisance, Row, trend_is_of_controls
from aekit.brains.associate.covariates import Covariate
from aekit.brains.associate.request import Request
from aekit.brains.associate.retest import Retest
from aekit.brains.associate.sample import Sample
from aekit.core.text_tables import TextTable
from aekit.errors import count

ALPHA = 0.05
_MINUS = "\N{MINUS SIGN}"


def interval_text(value: float, low: float, high: float, *, digits: int | None = None, signed: bool = False) -> str:
    """Return a value and its interval as text, three significant digits where none are given; empty for NaN."""
    if math.isnan(value):
        return ""
    if digits is None:
        size = max(abs(end) for end in (value, low, high) if not math.isnan(end))
        digits = 2 if size == 0 else min(max(2 - math.floor(math.log10(size)), 0), 6)
    sign = "+" if signed else ""
    text = f"{value:{sign}.{digits}f}"
    return text if math.isnan(low) else f"{text} [{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"


def p_text(p: float) -> str:
    """Return a p value as text; empty for NaN."""
    if math.isnan(p):
        return ""
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"


def write_paragraph(
    rows: Sequence[Row],
    table: pd.DataFrame,
    sample: Sample,
    nuisance: Nuisance,
    request: Request,
    repeats: Sequence[Retest],
) -> str:
    """Return Markdown: the method, a sentence per test of the gap, what the image adds, and a table of all tests."""
    covariates = list({row.covariate.name: row.covariate for row in rows}.values())
    parts = ["# Brain-age gap and covariates", _method(sample, covariates, nuisance, request, table)]
    records = table.to_dict("records")
    pairs = list(zip(rows, records, strict=True))
    parts += [" ".join(_result(row, record) for row, record in pairs if row.measure.name == GAP)]
    parts += [" ".join(filter(None, (_increment(row) for row in rows if row.measure.name == GIVEN_VOLUMES)))]
    parts += [" ".join(_agreement(one) for one in repeats)]
    parts += list(_tables(records))
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _method(
    sample: Sample, covariates: Sequence[Covariate], nuisance: Nuisance, request: Request, table: pd.DataFrame
) -> str:
    n = len(sample.first_rows)
    text = (
        f"The brain-age gap is the age predicted by {sample.model or 'the network'} minus the true age of "
        f"{count(n, 'participant')} of {sample.name} that it was not trained on."
    )
    if sample.sessions:
        text += f" Of {count(len(sample.sessions), 'participant')} with several sessions the first one was used."
    given = _listed([*_age_names(nuisance), *(name for name in nuisance.names if name != "age")])
    text += f" Each covariate was tested in a linear model{f' with {given}' if given else ' without other columns'};"
    text += " errors are HC3 robust, intervals 95 %"
    if request.n_permutations:
        text += f", and permutation p values are those of Freedman and Lane ({request.n_permutations:,} permutations)"
    text += "."
    everyone = np.arange(n)
    compared = [one.name for one in covariates if trend_is_of_controls(one, nuisance, everyone[one.is_known])]
    if sample.is_control is not None and request.controls is not None and compared:
        n_controls = int(sample.is_control[sample.first_rows].sum())
        text += (
            f" Groups of {_listed(compared)} were compared with the age trend of the "
            f"{count(n_controls, 'control')} alone ({request.controls.text})."
        )
    most = int(table.groupby("measure", sort=False).size().max())
    text += f" p values are corrected for the {count(most, 'test')} of each measure (Holm; Benjamini and Hochberg)."
    return text


def _age_names(nuisance: Nuisance) -> list[str]:
    if nuisance.age_years is None:
        return []
    return ["age", "age squared"] if nuisance.age_trend == "quadratic" else ["age"]


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def _result(row: Row, record: dict[str, Any]) -> str:
    fitted = row.fitted
    holm = record["p_holm"]
    p = f"p = {p_text(fitted.p)}, Holm {p_text(holm)}"
    if not math.isnan(fitted.p_permutation):
        p += f", permutation {p_text(fitted.p_permutation)}"
    missing = f"; missing: {row.missing}" if row.missing else ""
    if row.contrast == OMNIBUS:
        return f"Over all groups of {row.covariate.name} F is {fitted.statistic:.2f} (n = {fitted.n:,}, {p}{missing})."
    r = f"partial r {interval_text(*fitted.r, digits=2, signed=True)}"
    years = interval_text(*fitted.estimate, signed=True)
    if row.contrast == SLOPE:
        return (
            f"Per unit of {row.covariate.name} the gap changes by {years} years ({r}, n = {fitted.n:,}, {p}{missing})."
        )
    group, reference = row.groups or ("", "")
    text = f"The gap of {group} ({row.covariate.name}, n = {row.n_group:,}) minus that of {reference} (n = "
    text += f"{row.n_reference:,}) is {years} years"
    text += f", d {interval_text(*row.d, digits=2, signed=True)}" if row.d.value == row.d.value else ""
    text += f", AUC {interval_text(*row.auc, digits=2)}" if row.auc.value == row.auc.value else ""
    return f"{text}, {p}{missing}."


def _increment(row: Row) -> str:
    """Return what the gap says of a covariate that the volumes do not."""
    if row.contrast == OMNIBUS:
        return ""
    r = f"partial r {interval_text(*row.fitted.r, digits=2, signed=True)}, p = {p_text(row.fitted.p)}"
    of = row.covariate.name if row.contrast == SLOPE else f"{row.covariate.name} ({row.contrast})"
    if row.fitted.p < ALPHA:
        return f"Given the tissue volumes of the table as well, the gap is still related to {of} ({r})."
    return f"Given the tissue volumes of the table as well, no relation of the gap to {of} was found ({r})."


def _agreement(one: Retest) -> str:
    found = one.agreement
    return (
        f"Between the first and second session of {count(found.n, 'participant')}, {one.measure} has an ICC(2,1) of "
        f"{interval_text(*found.icc, digits=2)}, a mean difference of "
        f"{interval_text(*found.difference, digits=2, signed=True)} years, an SD within participants of "
        f"{found.sd_within:.2f} and a smallest detectable change of {found.smallest_change:.2f} years."
    )


GAP_COLUMNS = ("measure", "covariate", "contrast", "n", "estimate, years", "d", "partial r", "AUC")
P_COLUMNS = ("p", "p perm.", "p Holm", "p FDR")


def gap_cells(records: Sequence[dict[str, Any]]) -> list[list[object]]:
    """Return the tests of the gap, with and without the volumes: a cell for each of ``GAP_COLUMNS``, ``P_COLUMNS``."""
    cells = []
    for record in records:
        if record["measure"] not in (GAP, GIVEN_VOLUMES):
            continue
        estimate = interval_text(record["estimate"], record["low"], record["high"], signed=True)
        row = [record["measure"], record["covariate"], record["contrast"], record["n"]]
        row.append(estimate or f"F {record['statistic']:.2f}")
        for name, signed in (("d", True), ("r", True), ("auc", False)):
            ends = (record[name], record[f"{name}_low"], record[f"{name}_high"])
            row.append(interval_text(*ends, digits=2, signed=signed))
        cells.append([*row, *(p_text(record[name]) for name in ("p", "p_permutation", "p_holm", "p_fdr"))])
    return cells


def measure_columns(records: Sequence[dict[str, Any]]) -> list[str]:
    """Return the headings of a table of partial correlations, one column per measure."""
    return ["covariate", "contrast", *dict.fromkeys(str(record["measure"]) for record in records)]


def measure_cells(records: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Return the partial correlations of all measures side by side, a row per covariate and contrast."""
    measures = measure_columns(records)[2:]
    found: dict[tuple[str, str], dict[str, str]] = {}
    for record in records:
        if record["contrast"] != OMNIBUS:
            text = f"{record['r']:+.2f}{'*' if record['p_holm'] < ALPHA else ''}"
            found.setdefault((record["covariate"], record["contrast"]), {})[record["measure"]] = text
    return [[*key, *(cells.get(measure, "") for measure in measures)] for key, cells in found.items()]


MEASURE_NOTE = "* p < 0.05 after Holm's correction for the tests of the measure"


def _tables(records: Sequence[dict[str, Any]]) -> Iterator[str]:
    columns = [("", name) for name in (*GAP_COLUMNS, *P_COLUMNS)]
    yield TextTable(columns, [_minus(row, 4) for row in gap_cells(records)], n_keys=3).to_markdown()
    beside = measure_columns(records)
    if len(beside) > 3:
        yield "Partial correlations of the gap, and of the volumes of the table given the same columns:"
        rows = [_minus(row, 2) for row in measure_cells(records)]
        yield TextTable([("", name) for name in beside], rows, n_keys=2, notes=[f"\\{MEASURE_NOTE}."]).to_markdown()


def _minus(row: Sequence[object], n_keys: int) -> list[str]:
    return [*map(str, row[:n_keys]), *(str(cell).replace("-", _MINUS) for cell in row[n_keys:])]
