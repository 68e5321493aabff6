"""``aekit decode``: images of codes in a file, the inverse of ``encode``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aekit.core.array_files import write_npy_rows, write_safetensors_rows
from aekit.core.artifacts import write_columns, write_png
from aekit.core.folders import check_new_folder, whole_folder
from aekit.core.output import Result, refuse_own_files
from aekit.core.settings import check_at_least
from aekit.core.torch_settings import keeps_torch_settings
from aekit.errors import AekitError, UsageError, count, nearest, shown
from aekit.images.code_files import CodeFile, read_codes
from aekit.images.conditioning import one_class
from aekit.images.evaluation.row_names import picture_names
from aekit.images.figures.grids import plot_images
from aekit.images.inference import BATCH_SIZE, FloatArray, decode_codes
from aekit.images.loaded import LoadedCheckpoint
from aekit.images.pictures import write_picture
from aekit.images.session import Session

N_SHOWN = 256
_OWN = ("codes", "codes_row", "codes_line", "decoded_as", "png")  # columns that say where an image is from


@dataclass(frozen=True)
class _Request:
    """What is decoded, and where to.

    Attributes:
        target: The main file.
        n: Images in a figure.
        each: Folder of a PNG file per row; None writes none.
        labels: Number of the class that each row is decoded as, (N,); None for a model that is told none.
        class_names: Names of these classes.
    """

    target: Path
    n: int
    each: Path | None
    labels: npt.NDArray[np.int64] | None
    class_names: Sequence[str]

    @property
    def is_figure(self) -> bool:
        """Return whether the main file shows the first images, instead of holding all of them."""
        return self.target.suffix == ".png"

    def n_decoded(self, codes: CodeFile) -> int:
        """Return how many rows are decoded: a figure alone needs no more than it shows."""
        return min(self.n, len(codes)) if self.is_figure and self.each is None else len(codes)


@keeps_torch_settings
def run_decode(
    session: Session,
    codes: Path,
    output: Path | None = None,
    *,
    n: int | None = None,
    each: Path | None = None,
    label: str | None = None,
) -> Result:
    """Return a figure (.png) of the images that codes decode to, or all of them as an array.

    A table (.csv) joins it, which says for each image which row of the codes it is.

    Args:
        session: One checkpoint.
        codes: A .csv or .safetensors file: see :func:`read_codes`.
        output: A .png file for a figure; .npy or .safetensors for all images, float32 (N, C, H, W) in [0, 1]; or a
            folder. None is a figure next to the checkpoint.
        n: Images in the figure; None is 256.
        each: Folder for each image as a PNG file of its own, named by its row; None writes none.
        label: Name of the class to decode all codes as, for a model that is told it; None takes the column ``label``.

    Raises:
        UsageError: A number of images for a file that holds all.
        AekitError: There are several checkpoints, the codes are not the model's, or a file cannot be written.
    """
    check_at_least("images", n, 1)
    if len(session.paths) != 1:
        raise AekitError(
            f"decode: takes one checkpoint at a time, not {len(session.paths)}; run it for each separately"
        )
    (target,) = session.targets(output, name="decode", suffixes=(".png", ".npy", ".safetensors"), ends=(".csv",))
    refuse_own_files([codes], [target], what="codes")
    if n is not None and target.suffix != ".png":
        raise UsageError(f"--images: a {target.suffix} file holds all images; leave it out, or end --output in .png")
    if each is not None:
        check_new_folder(each, "--each")
    (checkpoint,) = session.checkpoints()
    found = read_codes(codes, checkpoint.record.model.latent, str(checkpoint.path), session.progress)
    _check_columns(found)
    _say_origin(session, checkpoint, found)
    labels = _labels(session, checkpoint, found, label)
    classes = checkpoint.model.classes
    request = _Request(target, n or N_SHOWN, each, labels, () if classes is None else classes.names)
    return _write(session, checkpoint, found, request)


def _write(session: Session, checkpoint: LoadedCheckpoint, codes: CodeFile, request: _Request) -> Result:
    n_decoded = request.n_decoded(codes)
    names = None if request.each is None else picture_names(codes, session.progress)
    shown_images: list[FloatArray] = []
    with contextlib.ExitStack() as stack:
        folder = None if request.each is None else stack.enter_context(whole_folder(request.each))
        blocks = _decoded(session, checkpoint, codes, request, n_decoded, folder, names)
        if request.is_figure:
            for block in blocks:
                shown_images += list(block[: max(0, request.n - len(shown_images))])
        else:
            _write_array(checkpoint, codes, request, blocks)
        write_columns(request.target.with_suffix(".csv"), _table(codes, request, n_decoded, names))
        if request.is_figure:
            _write_figure(session, checkpoint, codes, request, np.stack(shown_images))
    values: dict[str, Any] = {"checkpoint": str(checkpoint.path), "codes": str(codes.path), "n": n_decoded}
    return Result(request.target, values | ({"shown": len(shown_images)} if request.is_figure else {}))


def _decoded(
    session: Session,
    checkpoint: LoadedCheckpoint,
    codes: CodeFile,
    request: _Request,
    n_decoded: int,
    folder: Path | None,
    names: Sequence[str] | None,
) -> Iterator[FloatArray]:
    """Yield the images, block by block, as they need not fit into memory; write them into the folder on the way."""
    for start in range(0, n_decoded, BATCH_SIZE):
        end = min(start + BATCH_SIZE, n_decoded)
        labels = None if request.labels is None else request.labels[start:end]
        session.progress.update("decode", start, n_decoded)
        try:
            images = decode_codes(checkpoint.model, codes.mean[start:end], labels=labels)
        except AekitError as error:
            # A model whose training diverged fails for the code in the middle of the prior, too, and is named.
            middle = np.zeros_like(codes.mean[:1])
            decode_codes(checkpoint.model, middle, labels=None if labels is None else labels[:1])
            largest = np.abs(codes.mean[start:end]).max()
            raise AekitError(
                f"{codes.place(start)} to {codes.place(end - 1).rpartition(' ')[2]}: some images are not finite, of "
                f"codes of up to {largest:.3g}; correct the codes, or check the model with aekit evaluate"
            ) from error
        if folder is not None and names is not None:
            for name, image in zip(names[start:end], images, strict=True):
                write_picture(folder / name, image)
        yield images
    session.progress.update("decode", n_decoded, n_decoded)


def _write_array(
    checkpoint: LoadedCheckpoint, codes: CodeFile, request: _Request, blocks: Iterator[FloatArray]
) -> None:
    shape = (len(codes), *checkpoint.model.image_shape)
    if request.target.suffix == ".npy":
        write_npy_rows(request.target, shape, blocks)
    else:
        write_safetensors_rows(request.target, "images", shape, blocks, _parameters(checkpoint, codes, request))


def _write_figure(
    session: Session, checkpoint: LoadedCheckpoint, codes: CodeFile, request: _Request, images: FloatArray
) -> None:
    n_all = count(len(codes), "code")
    which = f"{len(images)} of {n_all}" if len(images) < len(codes) else n_all
    if len(images) < len(codes):
        session.progress.notice(f"{request.target}: shows the first {len(images):,} of {n_all}; more with --images")
    title = f"{checkpoint.title}: decoded from {which} in {shown(codes.path.name)}"
    write_png(request.target, plot_images(images, title=title), _parameters(checkpoint, codes, request))


def _parameters(checkpoint: LoadedCheckpoint, codes: CodeFile, request: _Request) -> dict[str, Any]:
    used: dict[str, Any] = {"codes": codes.path.name, "n": request.n if request.is_figure else len(codes)}
    if request.labels is not None:
        used["label"] = [request.class_names[number] for number in np.unique(request.labels)]
    return checkpoint.parameters("decode", **used)


def _table(codes: CodeFile, request: _Request, n: int, names: Sequence[str] | None) -> dict[str, Any]:
    """Return a row per decoded image: the row of the codes that it is, and what they say of it."""
    columns: dict[str, Any] = {"codes": [codes.path.name] * n, "codes_row": range(n)}
    if codes.lines is not None:
        columns["codes_line"] = codes.lines[:n]
    columns |= {name: values[:n] for name, values in codes.columns.items()}
    if request.labels is not None:
        columns["decoded_as"] = [request.class_names[number] for number in request.labels[:n]]
    if names is not None:
        columns["png"] = names[:n]
    return columns


def _check_columns(codes: CodeFile) -> None:
    if taken := [name for name in codes.columns if name in _OWN]:
        raise AekitError(
            f"{shown(codes.path)}: has a column {taken[0]}, which the table of images has itself; rename it"
        )


def _say_origin(session: Session, checkpoint: LoadedCheckpoint, codes: CodeFile) -> None:
    """Say what the file of codes reveals of the model that made it, if that is another one, and what is decoded."""
    if checkpoint.model.lower is not None:
        session.progress.notice(
            f"{checkpoint.path}: images are decoded from the mean of the lower layer given the code; reconstruct "
            "decodes its posterior mean given the image, which is closer"
        )
    maker, own = codes.parameters.get("checkpoint"), checkpoint.header.sha256
    if not isinstance(maker, str):
        return
    if isinstance(codes.parameters.get("sha256"), str) and own is not None:
        is_same = codes.parameters["sha256"] == own
    else:  # of a version of aekit that did not record it
        is_same = all(codes.parameters.get(part) == what for part, what in checkpoint.header.configuration.items())
    if not is_same:
        session.progress.notice(
            f"{shown(codes.path)}: these codes are of another model, {shown(maker)}; what {checkpoint.path} makes of "
            "them means little"
        )


def _labels(
    session: Session, checkpoint: LoadedCheckpoint, codes: CodeFile, label: str | None
) -> npt.NDArray[np.int64] | None:
    """Return the number of the class that each row is decoded as; None for a model that is told none."""
    classes = checkpoint.model.classes
    if label is not None or classes is None:
        number = one_class(checkpoint.model, label, "--label")
        if number is not None and "label" in codes.columns:
            session.progress.notice(f"{shown(codes.path)}: its column label is not used, but --label {label}")
        return None if number is None else np.full(len(codes), number, np.int64)
    if "label" not in codes.columns:
        raise AekitError(
            f"{shown(codes.path)}: has no column label, and {checkpoint.path} decodes a code as a class; add the "
            f"column, or --label with one of {', '.join(classes.names[:10])}"
        )
    numbers = {name: number for number, name in enumerate(classes.names)}
    texts = [str(value) for value in codes.columns["label"]]
    for row, text in enumerate(texts):
        if text not in numbers:
            advice = f"choose one of {', '.join(classes.names[:10])}"
            what = f"has the label '{shown(text)}', which" if text else "has no label, and"
            knows = f"{checkpoint.path} does not know" if text else f"{checkpoint.path} decodes a code as a class"
            raise AekitError(f"{codes.place(row)} {what} {knows}{nearest(text, classes.names, advice)}")
    return np.array([numbers[text] for text in texts], np.int64)
