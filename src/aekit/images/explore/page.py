"""A page of HTML in which models run: facts and arrays of each, images, and the scripts of the folder ``web``."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from importlib import resources
from typing import Any

import numpy as np

from aekit import __version__
from aekit.errors import shown
from aekit.images.data.image_set import ImageSet, Indices
from aekit.images.explore.codes import N_BINS
from aekit.images.explore.models import ModelOnPage
from aekit.images.explore.reference import N_CODES
from aekit.images.figures.sheets import MAX_SIDE, N_COLUMNS, PER_SHEET, build_sheets, reduce_images
from aekit.images.prior import name_prior
from aekit.plotting.style import class_style

_SCRIPTS = ("network.js", "map.js", "data.js", "check.js", "app.js")
_BLOCK = 1024  # images to reduce at a time


@dataclass(frozen=True)
class ImagesOnPage:
    """The images of a page.

    Attributes:
        images: Those on the map, N of them.
        index: Which of the split each is, (N,).
        n_all: Number of images of the split.
        what: What one of them is called, such as ``test image``.
    """

    images: ImageSet
    index: Indices
    n_all: int
    what: str


def build_page(models: Sequence[ModelOnPage], on_page: ImagesOnPage, *, title: str, parameters: dict[str, Any]) -> str:
    """Return the page, which contains everything; the same arguments give the same bytes.

    Args:
        models: At least one, all for images of the same shape.
        on_page: The images.
        title: Its heading.
        parameters: Recorded in a meta tag named aekit.
    """
    packed = [model.facts() for model in models]
    facts = _facts(models, on_page) | {"models": [each for each, _, _ in packed]}
    blobs = {"products": _web("products.wasm"), "images": models[0].reference.images.tobytes()}
    for number, (_, numbers, weights) in enumerate(packed):
        blobs |= {f"numbers-{number}": numbers, f"weights-{number}": weights}
    style = _web("style.css").decode()
    script = '"use strict";\n' + "\n".join(_web(name).decode() for name in _SCRIPTS)
    parts = {
        "title": escape(shown(title)),
        "parameters": escape(json.dumps(parameters, sort_keys=True)),
        "policy": _policy(style, script),
        "facts": json.dumps(facts, separators=(",", ":")).replace("<", "\\u003c"),  # a class may be called </script>
        "blobs": "\n".join(_blob(name, data) for name, data in blobs.items()),
        "style": style,
        "script": script,
    }
    page = _web("page.html").decode()
    pieces = page.split("@")  # text and names in turn: what is put in may itself contain any sign
    text = "".join(parts[piece] if number % 2 else piece for number, piece in enumerate(pieces))
    return text.encode(errors="replace").decode()  # a lone surrogate, which JSON may contain, has no UTF-8


def _facts(models: Sequence[ModelOnPage], on_page: ImagesOnPage) -> dict[str, Any]:
    """Return what the page reads of the images, and texts about all models."""
    images = on_page.images
    channels, height, width = images.image_shape
    blocks = [np.arange(start, min(start + _BLOCK, len(images))) for start in range(0, len(images), _BLOCK)]
    thumbs = np.concatenate([reduce_images(images.take(block)) for block in blocks])
    n_classes = 0 if images.labels is None else int(images.labels.max(initial=-1)) + 1
    names = [images.class_names[k] if k < len(images.class_names) else str(k) for k in range(n_classes)]
    return {
        "image": {"channels": channels, "height": height, "width": width},
        "thumb": {"height": thumbs.shape[2], "width": thumbs.shape[3]},
        "sheets": list(build_sheets(thumbs, is_lossless=thumbs.shape[2:] == (height, width))),
        "columns": N_COLUMNS,
        "per_sheet": PER_SHEET,
        "index": on_page.index.tolist(),
        "labels": None if images.labels is None else images.labels.tolist(),
        "names": [shown(name) for name in names],
        "colours": [class_style(k)[0] for k in range(n_classes)],
        "origins": None if images.origins is None else [shown(images.origin_text(i)) for i in range(len(images))],
        "has_files": images.origins is not None and images.origins.rows is None,
        "what": on_page.what,
        "n_all": on_page.n_all,
        "n_bins": N_BINS,
        "n_reference": N_CODES,
        "background": _background(images),
        "drawn_from": [_drawn_from(model) for model in models],
        "subtitle": _subtitle(models, on_page),
        "footer": _footer(on_page),
    }


def _drawn_from(model: ModelOnPage) -> str:
    if model.prior is None:
        return "a Gaussian fitted to the codes"
    return name_prior(model.checkpoint.record.model)


def _background(images: ImageSet) -> float:
    """Return the mean value of the corners of some images, in [0, 1]: a drawing starts from dark or from light."""
    some = images.take(np.unique(np.linspace(0, len(images) - 1, 100).astype(np.int64)))
    return float(some[:, :, [0, 0, -1, -1], [0, -1, 0, -1]].mean() / 255)


def _subtitle(models: Sequence[ModelOnPage], on_page: ImagesOnPage) -> str:
    names = ", ".join(shown(model.checkpoint.name) for model in models)
    which = f"{on_page.n_all:,} {on_page.what}s"
    if len(on_page.images) < on_page.n_all:
        which = f"{len(on_page.images):,} of {which}"
    who = "The model runs" if len(models) == 1 else "The models run"
    return f"{names}; {which} of {shown(on_page.images.name)}. {who} in this page, offline."


def _footer(on_page: ImagesOnPage) -> str:
    reduced = max(on_page.images.image_shape[1:]) > MAX_SIDE
    text = (
        f"Ranges, histograms, orders and directions are those of the codes of {on_page.n_all:,} {on_page.what}s. The "
        "nearest image is the nearest of those on the map, by Euclidean distance of codes. "
    )
    if reduced:
        text += f"Images of the data are reduced to {MAX_SIDE} pixels and compressed; decoded ones have full size. "
    return text + f"Made by aekit {__version__}."


def _policy(style: str, script: str) -> str:
    """Return the content security policy: nothing is fetched, and only the page's own style and script apply.

    Styles of single elements are set by the script, which the policy does not concern; the products are compiled.
    """
    hashes = [f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in (style, script)]
    return (
        f"default-src 'none'; img-src data: blob:; style-src {hashes[0]}; script-src {hashes[1]} 'wasm-unsafe-eval'; "
        "base-uri 'none'; form-action 'none'"
    )


def _blob(name: str, data: bytes) -> str:
    return f'<script type="text/plain" id="{name}">{b64encode(data).decode()}</script>'


def _web(name: str) -> bytes:
    return resources.files("aekit.images.explore").joinpath("web", name).read_bytes()
