"""``aekit explore``: one page of HTML in which models run."""

from __future__ import annotations

from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from aekit.core.artifacts import write_html
from aekit.core.output import Result
from aekit.core.torch_settings import keeps_torch_settings
from aekit.errors import AekitError, count
from aekit.images.config import image_of
from aekit.images.data.image_set import ImageSet, Indices
from aekit.images.embedding import draw_rows
from aekit.images.explore.models import ModelOnPage, study_model
from aekit.images.explore.page import ImagesOnPage, build_page
from aekit.images.explore.request import ExploreRequest
from aekit.images.figures.sheets import MAX_SIDE
from aekit.images.loaded import study_parameters
from aekit.images.session import Session


@keeps_torch_settings
def run_explore(session: Session, output: Path | None = None, request: ExploreRequest | None = None) -> Result:
    """Return a page (.html) in which the models of all checkpoints encode and decode, without a network or a server.

    Args:
        session: The checkpoints.
        output: The page, or a folder; None is next to the checkpoints.
        request: What the page shows.

    Raises:
        AekitError: Checkpoints cannot be compared, codes are not finite, a layer of a model cannot be computed in a
            page, or a file cannot be written.
    """
    request = request or ExploreRequest()
    session.check_comparable([request.split])
    end = "" if request.split == "test" else f"-{request.split}"
    target = session.target(output, name=f"explore{end}", suffix=".html", ends=())
    checkpoints = session.checkpoints()
    first = next(checkpoints)
    images = session.studied(first, request.split)
    if len(images) < 2:
        raise AekitError(f"--split {request.split}: {count(len(images), 'image is', 'images are')} too few for a page")
    rows = draw_rows(len(images), request.n_points, seed=request.seed)
    models = []
    for checkpoint in chain([first], checkpoints):
        session.studied(checkpoint, request.split)  # refuses images of another shape
        models.append(study_model(checkpoint, images, rows, request, progress=session.progress))
    shown = ImagesOnPage(images.subset(rows), rows, len(images), image_of(request.split))
    parameters = study_parameters(
        "explore", request, {each.checkpoint.name: each.checkpoint.header.configuration for each in models}, images
    )
    page = build_page(models, shown, title=_title(models, images), parameters=parameters)
    write_html(target, page)
    _report(session, target, page, models, images, rows)
    return Result(target, _values(page, models, rows) | asdict(request))


def _title(models: list[ModelOnPage], images: ImageSet) -> str:
    what = models[0].checkpoint.title if len(models) == 1 else count(len(models), "model")
    return f"{what}: {images.name}"


def _report(
    session: Session, target: Path, page: str, models: list[ModelOnPage], images: ImageSet, rows: Indices
) -> None:
    progress = session.progress
    if len(rows) < len(images):
        progress.notice(f"{target}: shows {len(rows):,} of {count(len(images), 'image')}, drawn (--points, --seed)")
    if max(images.image_shape[1:]) > MAX_SIDE:
        progress.notice(f"{target}: the images on it are reduced to {MAX_SIDE} pixels; the models decode full ones")
    wide = [str(each.checkpoint.path) for each in models if each.precision == "float32"]
    if wide:
        progress.notice(f"{', '.join(wide)}: 16 bits would change its images, so the page has its weights in 32")
    progress.notice(f"{target}: {len(page) / 1e6:.1f} MB; the page checks itself against torch when it opens")


def _values(page: str, models: list[ModelOnPage], rows: Indices) -> dict[str, Any]:
    return {
        "bytes": len(page.encode()),
        "n": len(rows),
        "checkpoints": [
            {
                "checkpoint": str(each.checkpoint.path),
                "precision": each.precision,
                "map": each.map.kind,
                "directions": [direction.name for direction in each.directions],
                "informative": int(np.count_nonzero(each.dimensions.informative)),
            }
            for each in models
        ],
    }
