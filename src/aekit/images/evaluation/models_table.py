"""Several models that were evaluated, in one table: a row for each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from aekit.core.artifacts import write_csv
from aekit.core.later import Later
from aekit.core.progress import Progress
from aekit.errors import count
from aekit.images.config import Split, image_of
from aekit.images.data.image_set import ImageSet
from aekit.images.loaded import LoadedCheckpoint
from aekit.images.measures.metrics import METRICS
from aekit.images.run_settings import MINIMISED

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = Later("pandas")

_SETTINGS = (
    *("kind", "arch", "latent", "layers", "width", "loss", "prior", "components", "stochastic_layers", "condition"),
    *("objective", "samples", "capacity", "free_bits", "beta", "epochs", "seed"),
)
_MEANS = ("total", "reconstruction", "kl", *METRICS)  # shown before bounds
MAX_LABEL = 24  # characters of a name in the table; with longer ones the numbers next to it have no room in 80
_HEADINGS = {"kl": "KL", "active_units": "active"}


@dataclass(frozen=True)
class EvaluatedModel:
    """What was measured of a model.

    Attributes:
        checkpoint: Name of its file, with the folder where several have the same.
        label: A few words that tell it from the others.
        settings: What it is, by the names of the options.
        images: Name and fingerprint of the images, and whether their pixels were drawn black or white.
        totals: Means and standard errors, as in the file of the model.
        per_image: What images have a value of their own of, (N,), by name.
    """

    checkpoint: str
    label: str
    settings: dict[str, Any]
    images: tuple[str, str, bool]
    totals: dict[str, Any]
    per_image: Mapping[str, npt.NDArray[np.floating]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        checkpoint: LoadedCheckpoint,
        images: ImageSet,
        split: Split,
        totals: dict[str, Any],
        per_image: Mapping[str, npt.NDArray[np.floating]],
    ) -> EvaluatedModel:
        """Return what was measured of a checkpoint on one split."""
        settings = checkpoint.settings(_SETTINGS) | {"binarize": checkpoint.record.data.binarize}
        settings |= {"data": images.name, "split": split}
        measured_on = (images.name, images.fingerprint, images.draw is not None)
        return cls(checkpoint.name, checkpoint.label, settings, measured_on, totals, per_image)

    def to_row(self) -> dict[str, Any]:
        """Return its row of the table."""
        return {"checkpoint": self.checkpoint} | self.settings | {"n": self.totals["n"]} | self.totals


def write_models(path: Path, models: Sequence[EvaluatedModel]) -> Path:
    """Write the table of several models, and return its path: settings, means and standard errors."""
    rows: list[dict[str, Any]] = [model.to_row() for model in models]
    # What only some have, as a KL divergence, is where those have it.
    longest = max(rows, key=len)
    columns = list(dict.fromkeys(name for row in (longest, *rows) for name in row))
    return write_csv(path, pd.DataFrame(rows, columns=columns))


def show_models(path: Path, models: Sequence[EvaluatedModel], split: Split, progress: Progress) -> None:
    """Show the means of several models, and say where their errors are and whether they compare.

    Models that differ in so much that their names are long have numbers in the table, with the names below it.
    """
    losses = {model.settings["loss"] for model in models}
    bounds = [bound_name(model.settings, model.totals) for model in models]
    columns = {name: [model.totals.get(name) for model in models] for name in _MEANS}
    for bound in dict.fromkeys(name for name in bounds if name):  # a column for each kind: they are not the same
        own = [model.totals["log_p"] if bound == name else None for model, name in zip(models, bounds, strict=True)]
        columns[bound] = own
    columns["active_units"] = [model.totals.get("active_units") for model in models]
    columns = {name: values for name, values in columns.items() if any(value is not None for value in values)}
    headings = [_HEADINGS.get(name, name.upper() if name in METRICS else name) for name in columns]
    cells = list(map(_texts, columns.values()))
    if len(losses) > 1:
        headings, cells = ["loss", *headings], [[model.settings["loss"] for model in models], *cells]
    labels = [model.label for model in models]
    is_long = max(map(len, labels)) > MAX_LABEL
    rows = zip([str(number + 1) for number in range(len(models))] if is_long else labels, *cells, strict=True)
    unit = "" if len(losses) > 1 else "losses as MSE" if losses == {"mse"} else "losses in nats"
    counts = sorted({model.totals["n"] for model in models})
    n = f"{counts[0]:,} to " if len(counts) > 1 else ""
    n += count(counts[-1], image_of(split))
    title = ", ".join(text for text in (f"{len(models)} models, {n}", unit) if text)
    progress.table(title, ["#" if is_long else "model", *headings], rows)
    for number, label in enumerate(labels if is_long else ()):
        progress.notice(f"#{number + 1}: {label}")
    progress.notice(f"{path}: has these means with their standard errors, one row per model")
    for text in _incomparable(models):
        progress.notice(f"{path}: {text}")
    if len({model.images for model in models}) > 1:
        progress.notice(
            f"{path}: the models were measured on different images, or on grey pixels and on black and white "
            "ones; their rows do not compare"
        )


def bound_name(settings: Mapping[str, Any], totals: Mapping[str, Any]) -> str:
    """Return what the bound of a model is of, in words; empty if none was measured.

    Args:
        settings: What the model is, by the names of the options.
        totals: Its means.
    """
    if totals.get("log_p") is None:
        return ""
    if not totals.get("log_p_normalised"):
        return "weighted bound (unnormalised)"
    return "log p(x | y), bound" if settings.get("condition") == "label" else "log p(x), bound"


def _incomparable(models: Sequence[EvaluatedModel]) -> list[str]:
    """Return which means of the table do not compare, for VAEs that minimise different things."""
    vaes = [model.settings for model in models if model.settings.get("beta") is not None]
    found = []
    if differing := [name for name in MINIMISED if len({own.get(name) for own in vaes}) > 1]:
        found.append(
            f"totals with different {' or '.join(differing).replace('_', ' ')} do not compare; reconstruction + KL "
            "does, but for iwae, and so do bounds by --importance"
        )
    if len({own.get("loss") for own in vaes}) > 1:
        found.append("losses and bounds under different --loss do not compare")
    if len({own.get("condition") for own in vaes}) > 1:
        found.append("models given the label have losses of p(x | y), the others of p(x); these do not compare")
    return found


def _texts(values: Sequence[float | int | None]) -> list[str]:
    """Return the values of a column, with as many decimals as give the largest five digits."""
    largest = max((abs(value) for value in values if isinstance(value, float) and math.isfinite(value)), default=0.0)
    decimals = min(max(4 - math.floor(math.log10(largest)), 0), 8) if largest else 0
    return [
        "" if value is None else f"{value:.{decimals}f}" if isinstance(value, float) else str(value) for value in values
    ]
