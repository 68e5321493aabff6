"""``aekit compare-codes``: how alike the codes of several checkpoints are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aekit.core.artifacts import write_csv, write_png
from aekit.core.output import Result
from aekit.core.progress import Progress
from aekit.core.torch_settings import keeps_torch_settings
from aekit.errors import AekitError, count
from aekit.images.config import Split, image_of
from aekit.images.data.image_set import ImageSet
from aekit.images.differences import refuse_other_images
from aekit.images.draws import check_enough_images, draw_images
from aekit.images.loaded import study_parameters
from aekit.images.principal_components import principal_codes
from aekit.images.session import Session
from aekit.images.similarity.figure import MEASURES, plot_similarities
from aekit.images.similarity.measures import Floats
from aekit.images.similarity.pairs import Pair, measure_pairs
from aekit.images.similarity.request import MIN_IMAGES, SimilarityRequest

PIXELS = "pixels (50 principal components)"
_N_COMPONENTS = 50
_MAX_ROWS = 20  # of the table on the terminal


@keeps_torch_settings
def run_compare_codes(
    session: Session,
    output: Path | None = None,
    *,
    n_images: int = 2000,
    neighbours: int = 10,
    pixels: bool = True,
    bootstrap: int = 200,
    seed: int = 0,
    split: Split = "test",
) -> Result:
    """Return the figure of matrices (.png), with the similarities of all pairs; next to it is their table (.csv).

    Args:
        session: The checkpoints, at least two; or one, which is compared with pixels.
        output: The figure, or a folder; None is next to the checkpoints.
        n_images: Maximum number of images.
        neighbours: Nearest neighbours of an image that two codes are asked to share.
        pixels: Whether principal components of the pixels are one more code.
        bootstrap: Number of resamples of the images, for intervals.
        seed: Seed of the draw of images, the resamples and the permutation.
        split: Split of the images.

    Raises:
        AekitError: There is nothing to compare, there are too few images, images cannot be read, or a file cannot be
            written.
    """
    request = SimilarityRequest(split, n_images, neighbours, pixels, bootstrap, seed)
    if len(session.paths) < 2 and not pixels:
        raise AekitError("compare-codes: needs two checkpoints, or leave out --no-pixels")
    session.check_comparable([split])
    target = session.target(output, name="compare-codes" if split == "test" else f"compare-codes-{split}")
    codes, names, files, origins, images = _encode_all(session, request)
    pairs = measure_pairs(codes, request, jobs=session.threads)
    for name, own in zip(names, codes, strict=True):
        if not own.std(axis=0).any():
            session.progress.notice(f"{name}: its codes are the same for all images, so nothing can be said of them")
    table = _table(pairs, names, files, images, request)
    write_csv(target.with_suffix(".csv"), table)
    n = count(len(images), image_of(split))
    figure = plot_similarities(names, pairs, title=f"How alike codes are, {n} of {images.name}")
    write_png(target, figure, study_parameters("compare-codes", request, origins, images))
    _show(pairs, names, n, session.progress)
    records = table.astype(object).where(table.notna(), None).to_dict("records")
    return Result(target, {"n": len(images), "split": split, "pairs": records})


def _encode_all(
    session: Session, request: SimilarityRequest
) -> tuple[list[Floats], list[str], list[str], list[dict[str, Any]], ImageSet]:
    """Return the codes of the same images, their names, files and origins, and the images."""
    checkpoints = session.checkpoints(in_place=True)
    first = next(checkpoints)
    whole = session.studied(first, request.split, with_labels=False)
    check_enough_images(whole, request.split, minimum=MIN_IMAGES, what="similarities")
    images = draw_images(whole, request.split, request.images, seed=request.seed, progress=session.progress)
    codes, names, files, origins = [], [], [], []
    for number, checkpoint in enumerate(chain([first], checkpoints)):
        refuse_other_images(checkpoint.path, session.studied(checkpoint, request.split, with_labels=False), whole)
        codes.append(checkpoint.encode(images).mean.astype(np.float64))
        names.append(checkpoint.label)
        files.append(checkpoint.name)
        origins.append(checkpoint.parameters("compare-codes", images))
        session.progress.update("encoding", number + 1, len(session.paths))
    if request.pixels:
        codes.append(principal_codes(images, _N_COMPONENTS))
        names.append(PIXELS)
        files.append("pixels")
    return codes, names, files, origins, images


def _table(
    pairs: Sequence[Pair], names: Sequence[str], files: Sequence[str], images: ImageSet, request: SimilarityRequest
) -> pd.DataFrame:
    rows = []
    for pair in pairs:
        row: dict[str, Any] = {"first": files[pair.first], "second": files[pair.second]}
        row |= {"data": images.name, "split": request.split, "n_images": len(images)}
        for measure, (value, low, high) in pair.intervals.items():
            chance = getattr(pair.chance, measure)
            row |= {measure: value, f"{measure}_low": low, f"{measure}_high": high, f"{measure}_chance": chance}
        rows.append(row)
    return pd.DataFrame(rows)


def _show(pairs: Sequence[Pair], names: Sequence[str], n: str, progress: Progress) -> None:
    rows = [
        (
            f"{names[pair.first]} - {names[pair.second]}",
            *(
                f"{value:.3f} [{low:.3f}, {high:.3f}]"
                for value, low, high in (pair.intervals[measure] for measure in MEASURES)
            ),
        )
        for pair in pairs[:_MAX_ROWS]
    ]
    progress.table(f"Codes of {n}, 95 % interval over images", ["codes", "CKA", "Procrustes", "neighbours"], rows)
    if len(pairs) > _MAX_ROWS:
        progress.notice(f"{len(pairs) - _MAX_ROWS} more pairs are in the table")
    chance = pairs[0].chance
    progress.notice(
        f"by chance, with the images of one code permuted: CKA {chance.cka:.3f}, Procrustes {chance.procrustes:.3f}, "
        f"neighbours {chance.neighbours:.3f}"
    )
