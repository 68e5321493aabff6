"""``aekit reconstruct``: originals over their reconstructions, and the error of every image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from aekit.core.artifacts import write_columns, write_png
from aekit.core.output import Result
from aekit.core.settings import check_at_least
from aekit.core.torch_settings import keeps_torch_settings
from aekit.errors import count
from aekit.images.config import Split, image_of
from aekit.images.data.image_set import ImageSet
from aekit.images.figures.grids import plot_reconstructions
from aekit.images.inference import reconstruct_images
from aekit.images.loaded import LoadedCheckpoint
from aekit.images.measures.metrics import METRICS
from aekit.images.measures.per_image import evaluate_images
from aekit.images.session import Session


@keeps_torch_settings
def run_reconstruct(
    session: Session, output: Path | None = None, *, split: Split = "test", n: int = 32, worst: bool = False
) -> Iterator[Result]:
    """Yield a figure of reconstructions (.png) per checkpoint; a table of the errors of all images (.csv) joins it.

    Args:
        session: The checkpoints.
        output: A file for one checkpoint, or a folder; None is next to each checkpoint.
        split: Images to reconstruct.
        n: Images in the figure.
        worst: Whether the images with the largest loss come first, in figure and table.

    Raises:
        AekitError: A file cannot be written.
    """
    check_at_least("images", n, 1)
    name = "-".join(["reconstruct", *(["worst"] if worst else []), *([split] if split != "test" else [])])
    targets = session.targets(output, name=name, suffixes=(".png",))
    return (
        _reconstruct(session, checkpoint, target, split, n, worst)
        for checkpoint, target in zip(session.checkpoints(), targets, strict=True)
    )


def _reconstruct(
    session: Session, checkpoint: LoadedCheckpoint, target: Path, split: Split, n: int, worst: bool
) -> Result:
    image_set = session.measured(checkpoint, split, seed=checkpoint.record.train.seed)
    table = _error_table(checkpoint, image_set, worst)
    shown = image_set.subset(table["index"][:n])
    x_hat = reconstruct_images(checkpoint.model, shown)
    which = f"the worst {len(shown)} of" if worst else f"{len(shown)} of"
    title = f"{checkpoint.title}: {which} {count(len(image_set), image_of(split))} of {image_set.name}"
    write_columns(target.with_suffix(".csv"), table)
    parameters = checkpoint.parameters("reconstruct", image_set, split=split, n=n, worst=worst)
    write_png(target, plot_reconstructions(shown.images, x_hat, title=title), parameters)
    means = {name: float(table[name].mean()) for name in ("reconstruction", *METRICS)}
    return Result(target, {"checkpoint": str(checkpoint.path), "n": len(image_set), "split": split, **means})


def _error_table(checkpoint: LoadedCheckpoint, image_set: ImageSet, worst: bool) -> dict[str, Any]:
    """Return a row per image with its loss and metrics, reconstructed from the posterior mean."""
    errors = evaluate_images(checkpoint.model, image_set, seed=None)
    loss = errors.terms["reconstruction"]
    table: dict[str, Any] = {
        "index": np.arange(len(image_set)),
        **image_set.origin_columns(),
        "label": [image_set.label_text(index) for index in range(len(image_set))],
        "reconstruction": loss,
        **errors.metrics,
    }
    if worst:
        order = np.argsort(-loss, kind="stable")
        # Texts as objects: an array of texts has room for the longest in every row.
        texts = {name: np.array(values, object) for name, values in table.items() if isinstance(values, list)}
        table = {name: values[order] for name, values in (table | texts).items()}
    return table
