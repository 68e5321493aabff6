"""The tables of the cohort report, one per file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from aekit.brains.cohort.splits import SPLITS
from aekit.brains.measures.cohort import PERCENTILES, Distribution, absolute_error, correlate, describe
from aekit.brains.report.analysis import LABELS, Analysis
from aekit.core.text_rows import Repair

Flags = npt.NDArray[np.bool_]

DECADE_YEARS = 10
# Columns that describe groups of participants are counted, not those that differ for everyone.
_MAX_KINDS = 40
_COUNTED = ("site", "diagnosis", "study", "dataset", "group", "handedness", "ethnicity", "scanner", "field_strength")


def build_tables(analysis: Analysis) -> dict[str, pd.DataFrame]:
    """Return the tables by file name; those without columns in the table are left out."""
    tables = {
        "counts.csv": counts_table(analysis),
        "missing.csv": missing_table(analysis),
        "floor.csv": floor_table(analysis),
    }
    if analysis.measures:
        tables["volumes.csv"] = distributions_table(analysis)
        tables["correlations.csv"] = correlations_table(analysis)
    if analysis.sexes:
        tables["sex-differences.csv"] = sexes_table(analysis)
    if analysis.cohort.site is not None:
        tables["sites.csv"] = sites_table(analysis)
    if analysis.outliers is not None:
        tables["outliers.csv"] = outliers_table(analysis)
    return tables


def counts_table(analysis: Analysis) -> pd.DataFrame:
    """Return the number of participants in each group, with their sexes and ages."""
    cohort = analysis.cohort
    age, sex = cohort.age_years, cohort.sex
    rows = []
    for variable, value, who in _kinds(analysis):
        known = age[who & np.isfinite(age)]
        rows.append(
            {
                "variable": variable,
                "value": value,
                "n": int(who.sum()),
                "share": float(who.mean()),
                "n_female": int((who & (sex == "F")).sum()),
                "n_male": int((who & (sex == "M")).sum()),
                "n_sex_missing": int((who & (sex != "F") & (sex != "M")).sum()),
                "age_mean": float(known.mean()) if len(known) else np.nan,
                "age_sd": float(known.std(ddof=1)) if len(known) > 1 else np.nan,
                "age_min": float(known.min()) if len(known) else np.nan,
                "age_max": float(known.max()) if len(known) else np.nan,
            }
        )
    return pd.DataFrame(rows)


def _kinds(analysis: Analysis) -> Iterator[tuple[str, str, Flags]]:
    """Yield a variable, one of its values, and which participants have it."""
    cohort = analysis.cohort
    age = cohort.age_years
    yield "all", "all", np.ones(len(cohort), dtype=bool)
    for value in ("F", "M"):
        if (cohort.sex == value).any():
            yield "sex", value, cohort.sex == value
    decades = np.floor(np.nan_to_num(age, nan=-1) / DECADE_YEARS) * DECADE_YEARS
    for decade in np.unique(decades[analysis.has_age]):
        yield "age", f"{decade:.0f}-{decade + DECADE_YEARS - 1:.0f}", analysis.has_age & (decades == decade)
    if not analysis.has_age.all():
        yield "age", "missing", ~analysis.has_age
    for column in _COUNTED:
        if column not in cohort.table:
            continue
        values = cohort.table[column].astype(object)
        counted = values.value_counts()
        for value in counted.index[:_MAX_KINDS]:
            yield column, str(value), (values == value).to_numpy(bool)
        if values.isna().any():
            yield column, "missing", values.isna().to_numpy(bool)
    for name in SPLITS:
        if (analysis.split == name).any():
            yield "split", name, analysis.split == name


def missing_table(analysis: Analysis) -> pd.DataFrame:
    """Return the number of missing values in each column, and whether the others are numbers or text."""
    table = analysis.cohort.table
    n_missing = table.isna().sum()
    kinds = ["number" if pd.api.types.is_numeric_dtype(table[name]) else "text" for name in table.columns]
    return pd.DataFrame(
        {
            "column": list(table.columns),
            "kind": kinds,
            "n": (len(table) - n_missing).tolist(),
            "n_missing": n_missing.tolist(),
            "share_missing": (n_missing / len(table)).tolist(),
            "n_different": [int(table[name].nunique()) for name in table.columns],
        }
    )


def floor_table(analysis: Analysis) -> pd.DataFrame:
    """Return the errors of predicting the same age for everyone: within all, and from train to the other splits."""
    floor, age = analysis.floor, analysis.cohort.age_years
    rows: list[tuple[object, ...]] = [
        ("mean", "all", "all", int(analysis.has_age.sum()), floor.mean_years, *floor.mae_mean_years),
        ("median", "all", "all", int(analysis.has_age.sum()), floor.median_years, *floor.mae_median_years),
    ]
    train = age[analysis.has_age & (analysis.split == "train")]
    for name in ("val", "test"):
        own = age[analysis.has_age & (analysis.split == name)]
        if len(own) == 0 or len(train) == 0:
            continue
        for predictor, value in (("mean", float(np.mean(train))), ("median", float(np.median(train)))):
            rows.append((predictor, "train", name, len(own), value, *absolute_error(own, value)))
    columns = ["predictor", "fitted_on", "evaluated_on", "n", "age_years", "mae_years", "mae_low", "mae_high"]
    return pd.DataFrame(rows, columns=columns)


def distributions_table(analysis: Analysis) -> pd.DataFrame:
    """Return the distribution of every measure, for all participants and by sex."""
    sex = analysis.cohort.sex
    who = {"all": np.ones(len(sex), dtype=bool), "F": sex == "F", "M": sex == "M"}
    rows = [
        {"kind": kind, "measure": key, "unit": each.unit, "sex": name, **_distribution(describe(column[rows]))}
        for kind, each in analysis.measures.items()
        for key, column in zip(each.keys, each.values.T, strict=True)
        for name, rows in who.items()
        if rows.any()
    ]
    return pd.DataFrame(rows)


def _distribution(each: Distribution) -> dict[str, object]:
    return {
        "n": each.n,
        "n_missing": each.n_missing,
        "mean": each.mean,
        "sd": each.sd,
        "min": each.smallest,
        **{f"p{percent}": value for percent, value in zip(PERCENTILES, each.percentiles, strict=True)},
        "max": each.largest,
        "skewness": each.skewness,
    }


def correlations_table(analysis: Analysis) -> pd.DataFrame:
    """Return the correlations of every pair of age and the measures of one kind."""
    rows = []
    for kind, found in analysis.correlations.items():
        names = ["age", *analysis.measures[kind].keys]
        for i, first in enumerate(names):
            for j in range(i + 1, len(names)):
                values = (found.n[i, j], found.pearson[i, j], found.low[i, j], found.high[i, j], found.spearman[i, j])
                rows.append((kind, first, names[j], *values))
    columns = ["kind", "first", "second", "n", "pearson", "pearson_low", "pearson_high", "spearman"]
    return pd.DataFrame(rows, columns=columns)


def sexes_table(analysis: Analysis) -> pd.DataFrame:
    """Return the means of women and men and Cohen's d of every measure: (mean M - mean F) / pooled SD."""
    rows = []
    for (kind, key), each in analysis.sexes.items():
        rows.append(
            {
                "kind": kind,
                "measure": key,
                "unit": analysis.measures[kind].unit,
                "n_female": each.female.n,
                "n_male": each.male.n,
                "mean_female": each.female.mean,
                "mean_male": each.male.mean,
                "sd_female": each.female.sd,
                "sd_male": each.male.sd,
                "cohens_d": each.d.value,
                "d_low": each.d.low,
                "d_high": each.d.high,
                "hedges_g": each.hedges_g,
                "d_given_age": each.d_given_age.value,
                "d_given_age_low": each.d_given_age.low,
                "d_given_age_high": each.d_given_age.high,
            }
        )
    return pd.DataFrame(rows)


def sites_table(analysis: Analysis) -> pd.DataFrame:
    """Return the ages at each site, and each measure's mean and difference from all sites given age and sex."""
    rows: list[dict[str, object]] = []
    for site, ages in site_ages(analysis).items():
        mean, sd = (float(np.mean(ages)), float(np.std(ages, ddof=1)) if len(ages) > 1 else np.nan)
        rows.append({"site": site, "measure": "age", "unit": "years", "n": len(ages), "mean": mean, "sd": sd})
    for name, found in analysis.sites.items():
        kind, key = name.split(" ")
        measure = key if kind == "volumes" else f"{key} proportion"
        unit = "mL" if kind == "volumes" else ""
        for number, site in enumerate(found.sites):
            difference, low, high = found.difference[number], found.low[number], found.high[number]
            rows.append(
                {
                    "site": site,
                    "measure": measure,
                    "unit": unit,
                    "n": int(found.n[number]),
                    "mean": found.mean[number],
                    "difference_given_age_sex": difference,
                    "difference_low": low,
                    "difference_high": high,
                    "difference_in_sd": difference / found.sd if found.sd > 0 else np.nan,
                    "p_all_sites": found.p_value,
                    "share_explained": found.explained,
                }
            )
    columns = ["site", "measure", "unit", "n", "mean", "sd", "difference_given_age_sex", "difference_low"]
    columns += ["difference_high", "difference_in_sd", "p_all_sites", "share_explained"]
    return pd.DataFrame(rows, columns=columns)


def site_ages(analysis: Analysis) -> dict[str, npt.NDArray[np.floating]]:
    """Return the ages at each site, the largest site first; participants without a site or an age are left out."""
    if analysis.cohort.site is None:
        return {}
    table = pd.DataFrame({"site": analysis.cohort.site, "age": analysis.cohort.age_years}).dropna()
    groups = {str(site): ages.to_numpy() for site, ages in table.groupby("site")["age"]}
    return dict(sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])))


def outliers_table(analysis: Analysis) -> pd.DataFrame:
    """Return the participants beyond the limits, the most extreme first, and the reason."""
    found = analysis.outliers
    assert found is not None
    order = found.order()
    table = analysis.cohort.table
    kept = [name for name in ("participant_id", "age", "sex", "site", *found.keys) if name in table]
    result: pd.DataFrame = table.loc[order, kept].reset_index(drop=True)
    for key, column in zip(found.keys, found.z.T, strict=True):
        result[f"z_{key}"] = column[order]
    result["mahalanobis"] = np.sqrt(found.squared[order])
    result["split"] = analysis.split[order]
    result["reason"] = [outlier_reason(analysis, row) for row in order]
    return result


def outlier_reason(analysis: Analysis, row: int) -> str:
    """Return in words why a participant is an outlier."""
    found = analysis.outliers
    assert found is not None
    reasons = [
        f"{'more' if z > 0 else 'less'} {LABELS[key]}"
        for key, z in zip(found.keys, found.z[row], strict=True)
        if abs(z) > found.limits.z_limit
    ]
    if not reasons:
        return "unusual combination"
    return f"{' and '.join(reasons)} than others of that age and sex"


def repairs_table(repairs: Sequence[Repair]) -> pd.DataFrame:
    """Return what was corrected while the table was read."""
    rows = [(each.what, each.n, "; ".join(each.examples)) for each in repairs]
    return pd.DataFrame(rows, columns=["what", "n", "examples"])


def other_numbers(analysis: Analysis) -> list[tuple[str, int, float, float, float]]:
    """Return other numeric columns, at most forty: name, participants, mean, SD, and correlation with age."""
    known: tuple[str, ...] = ("age", "gmv", "wmv", "csfv", "outlier")
    rows = []
    for name in analysis.cohort.table.columns:
        column = analysis.cohort.table[name]
        if name in known or str(name).startswith("outlier_") or not pd.api.types.is_numeric_dtype(column):
            continue
        values = column.to_numpy(np.float64, na_value=np.nan)
        each = describe(values)
        r = correlate(np.column_stack([analysis.cohort.age_years, values])).pearson[0, 1]
        rows.append((str(name), each.n, each.mean, each.sd, float(r)))
        if len(rows) == _MAX_KINDS:
            break
    return rows
