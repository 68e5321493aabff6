"""Read ages that a network predicted for participants it was not trained on, from mri-train or mri-predict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aekit.brains.cohort.repairs import read_numbers
from aekit.brains.predictions import AGE, BASELINES, FEATURE_MODELS, NETWORKS, TISSUE_TARGETS
from aekit.core.text_table import named, read_text_table
from aekit.errors import AekitError, count, nearest, shown

Floats = npt.NDArray[np.float64]

_OF_TRAINING = ("participant_id", "split", "model", "target", "truth", "prediction")
_MARKS = ("true_age_years", "unlike_training", "reason")  # of mri-predict --table
_OWN = frozenset({*_OF_TRAINING, "fold", "delta", "delta_corrected", "warnings", "file", *_MARKS})
# Splits that are left out; of a cross-validation, those who were dropped are in cv, too.
_SEEN = {"train": "the networks were trained on them", "dropped": "outliers that were left out of train"}
_ORDER = ("cv", "test", "val")
# Prefixes of mri-predict's columns.
_OF_MODELS = {
    "chain_": "chain",
    "direct_": "direct",
    "ridge_": "ridge-histogram",
    "tissues_": "ridge-tissues",
    "stack_": "stack",
}
_OF_MODELS |= {f"{model.replace('-', '_')}_": model for model in FEATURE_MODELS}
CHOSEN = ("chain", "direct", *FEATURE_MODELS)  # those that see nothing but the image, or columns of the table


@dataclass(frozen=True, eq=False)
class Predicted:
    """Predicted ages, one row per participant or scan.

    Attributes:
        path: The file.
        ids: participant_id, (N,); empty texts if the file has names of scans alone.
        files: Path of each scan, (N,); empty texts if the file has ids.
        ages: Model -> predicted ages in years, (N,), NaN where it predicted none.
        age_years: True ages, (N,), NaN where the file has none.
        others: Further columns of the file as texts, (N,) each; true volumes in mL as gmv, wmv and csfv.
        notes: What was left out.
    """

    path: Path
    ids: tuple[str, ...]
    files: tuple[str, ...]
    ages: dict[str, Floats]
    age_years: Floats
    others: dict[str, list[str]]
    notes: tuple[str, ...]


def read_predicted(path: Path) -> Predicted:
    """Return the predictions of a table of mri-train or mri-predict.

    Raises:
        AekitError: It is another kind of table, has no participants that were held out, or has a value that is not a
            finite number.
    """
    if path.suffix == ".safetensors":
        own = path.with_suffix(".predictions.csv")
        raise AekitError(f"{shown(path)}: is a checkpoint, not a table of predictions; give {shown(own)}")
    text = read_text_table(path, table="a table of predictions", row="prediction", keep_repeats=True)
    columns = dict(zip(text.header, text.columns, strict=True))
    if text.ragged:
        line, fields = text.ragged[0]
        raise AekitError(
            f"{shown(path)}: line {line} has {count(len(fields), 'field')}, not {len(text.header)}; fix it"
        )
    if not text.lines:
        raise AekitError(f"{shown(path)}: has a header and no predictions; give a table of mri-train or mri-predict")
    if all(name in columns for name in _OF_TRAINING):
        return _of_training(path, columns)
    if AGE in columns and ("file" in columns or "participant_id" in columns):
        return _of_prediction(path, columns)
    raise AekitError(
        f"{shown(path)}: is not a table of predictions (it has {named(text.header)}); give x.predictions.csv of "
        "mri-train or x.predicted.csv of mri-predict"
    )


def _of_training(path: Path, columns: Mapping[str, list[str]]) -> Predicted:
    """Return one row per participant that was held out, with the ages of all models."""
    ages = [row for row, target in enumerate(columns["target"]) if target == AGE]
    if not ages:
        raise AekitError(f"{shown(path)}: has no rows of target {AGE}; give x.predictions.csv of mri-train")
    splits = Counter(columns["split"][row] for row in ages if columns["model"][row] == columns["model"][ages[0]])
    kept = [row for row in ages if columns["split"][row] not in _SEEN]
    if not kept:
        raise AekitError(
            f"{shown(path)}: has no participants that were held out, only {named(splits)}; train with --cv, --val or "
            "--test-split"
        )
    place = {name: number for number, name in enumerate(_ORDER)}
    _check_once([(columns["participant_id"][row], columns["model"][row], columns["split"][row]) for row in kept], path)
    kept.sort(key=lambda row: place.get(columns["split"][row], len(place)))  # of several splits the first counts
    ids = list(dict.fromkeys(columns["participant_id"][row] for row in kept))
    row_of = {one: number for number, one in enumerate(ids)}
    labels = [columns["participant_id"][row] for row in kept]
    truth, prediction = (
        dict(zip(kept, _numbers([columns[name][row] for row in kept], name, labels, path), strict=True))
        for name in ("truth", "prediction")
    )
    found: dict[str, Floats] = {}
    age_years = np.full(len(ids), np.nan)
    for row in reversed(kept):
        who = row_of[columns["participant_id"][row]]
        found.setdefault(columns["model"][row], np.full(len(ids), np.nan))[who] = prediction[row]
        age_years[who] = truth[row]
    first = {columns["participant_id"][row]: row for row in reversed(kept)}
    others = {
        name: [values[first[one]] for one in ids] for name, values in columns.items() if name and name not in _OWN
    }
    others |= {name: texts for name, texts in _volumes(columns, ids).items() if name not in others}
    used = ", ".join(f"{name} {n:,}" for name, n in splits.items() if name not in _SEEN)
    left = ", ".join(f"{name} {n:,} ({_SEEN[name]})" for name, n in splits.items() if name in _SEEN)
    notes = [f"{path.name}: {count(len(ids), 'participant')} that were held out ({used})"]
    notes += [f"{path.name}: left out: {left}"] if left else []
    return Predicted(path, tuple(ids), ("",) * len(ids), found, age_years, others, tuple(notes))


def _volumes(columns: Mapping[str, list[str]], ids: Sequence[str]) -> dict[str, list[str]]:
    """Return the true volumes in mL of the participants, empty texts where there are none, by tissue."""
    found: dict[str, dict[str, str]] = {}
    for one, target, truth in zip(columns["participant_id"], columns["target"], columns["truth"], strict=True):
        if target in TISSUE_TARGETS["absolute"]:
            found.setdefault(target.removesuffix("_ml"), {}).setdefault(one, truth)
    return {name: [values.get(one, "") for one in ids] for name, values in found.items()}


def _of_prediction(path: Path, columns: Mapping[str, list[str]]) -> Predicted:
    """Return the rows of mri-predict.

    Where there is no column ``model``, an only column of ages does not say which network it is from.
    """
    n = len(columns[AGE])
    ids = columns.get("participant_id") or [""] * n
    files = columns.get("file") or [""] * n
    labels = [one or file for one, file in zip(ids, files, strict=True)]
    _check_once([(label,) for label in labels], path)
    # An empty age is a scan that mri-predict refused, for the reason that stands in its row.
    known = [row for row in range(n) if columns[AGE][row].strip()]
    if not known:
        raise AekitError(f"{shown(path)}: has no predicted ages; give a table of mri-predict")
    names = _age_columns(columns)
    ages = {
        model: _numbers([columns[name][row] for row in known], name, [labels[row] for row in known], path)
        for model, name in names.items()
    }
    prefix = (AGE, *_OF_MODELS, "gmv", "wmv", "csfv")
    others = {
        name: [values[row] for row in known]
        for name, values in columns.items()
        if name and name not in _OWN and not name.startswith(prefix)
    }
    notes = [f"{path.name}: {count(n - len(known), 'scan')} without a predicted age left out"] if len(known) < n else []
    chosen_ids, chosen_files = (tuple(values[row] for row in known) for values in (ids, files))
    texts = columns.get("true_age_years") or [""] * n
    true_years = read_numbers([texts[row] for row in known], "true_age_years", is_decimal=False).values
    return Predicted(path, chosen_ids, chosen_files, ages, true_years, others, tuple(notes))


def _age_columns(columns: Mapping[str, list[str]]) -> dict[str, str]:
    """Return the column of ages of each model in a table of mri-predict."""
    if "model" in columns:
        found = {model: f"{prefix}{AGE}" for prefix, model in _OF_MODELS.items() if f"{prefix}{AGE}" in columns}
        if found:
            return found
    direct = f"direct_{AGE}"
    return {"chain": AGE, "direct": direct} if direct in columns else {"": AGE}


def _check_once(keys: Sequence[tuple[str, ...]], path: Path) -> None:
    """Raise an AekitError that names what has several rows, of which none could be preferred."""
    twice = [" ".join(key) for key, n in Counter(keys).items() if n > 1]
    if twice:
        raise AekitError(f"{shown(path)}: has several rows of {named(twice)}; give one table of one training")


def _numbers(texts: Sequence[str], name: str, labels: Sequence[str], path: Path) -> Floats:
    parsed = read_numbers(texts, name, is_decimal=False)
    bad = [row for row in range(len(texts)) if not np.isfinite(parsed.values[row])]
    if bad:
        who = named(f"{labels[row]} ({texts[row] or 'empty'})" for row in bad)
        raise AekitError(f"{shown(path)}: {name} is not a finite number: {who}; make the table anew")
    return np.asarray(parsed.values, np.float64)


def choose_model(predicted: Predicted, wanted: str | None, age_years: Floats) -> tuple[str, str]:
    """Return the network whose gap is tested, and why.

    The better one is that with the smaller mean absolute error of age; how the gap is related to anything has no part
    in the choice.

    Args:
        predicted: Predictions of all models.
        wanted: A model of the file; None chooses.
        age_years: True ages, (N,), NaN for those who do not count.

    Raises:
        AekitError: The file has no predictions of this model.
    """
    if wanted is not None:
        if wanted not in predicted.ages:
            known = [name for name in predicted.ages if name]
            only = f"has {named(known)}" if known else "does not say which network its ages are from"
            advice = nearest(wanted, known) or ("; choose one of these" if known else "; leave --model out")
            raise AekitError(f"--model: {wanted!r} is not in {shown(predicted.path)}, which {only}{advice}")
        return wanted, "as asked"
    names = [name for name in CHOSEN if name in predicted.ages]
    if not names:
        others = [name for name in predicted.ages if name not in (*BASELINES, *NETWORKS)] or list(predicted.ages)
        return others[0], "the only one"
    errors = {
        name: float(np.nanmean(np.abs(predicted.ages[name] - age_years)))
        for name in names
        if np.isfinite(predicted.ages[name] - age_years).any()
    }
    if len(errors) < 2:
        return names[0], "the only one" if len(names) == 1 else "the first one"
    best = min(errors, key=lambda name: errors[name])
    listed = ", ".join(f"{name} {error:.2f}" for name, error in errors.items())
    return best, f"the smaller MAE of {listed} years"
