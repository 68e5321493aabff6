"""``aekit encode``: the codes of a whole split, as a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from aekit.core.array_files import write_arrays
from aekit.core.artifacts import write_columns
from aekit.core.output import Result
from aekit.core.torch_settings import keeps_torch_settings
from aekit.errors import AekitError
from aekit.images.config import Split
from aekit.images.data.image_set import ImageSet
from aekit.images.inference import Codes
from aekit.images.loaded import LoadedCheckpoint
from aekit.images.session import Session

Format = Literal["safetensors", "csv"]


@keeps_torch_settings
def run_encode(
    session: Session, output: Path | None = None, *, split: Split = "test", file_format: Format | None = None
) -> Iterator[Result]:
    """Yield a file of the codes of all images of a split per checkpoint.

    Args:
        session: The checkpoints.
        output: A file for one checkpoint, or a folder; None is next to each checkpoint.
        split: Images to encode.
        file_format: ``safetensors`` or ``csv``; None goes by the suffix of ``output``, or is ``safetensors``.

    Raises:
        AekitError: A file cannot be written, or its suffix contradicts the format.
    """
    name = "codes" if split == "test" else f"codes-{split}"
    targets = session.targets(output, name=name, suffixes=_suffixes(file_format, output))
    return (
        _encode(session, checkpoint, target, split)
        for checkpoint, target in zip(session.checkpoints(in_place=True), targets, strict=True)
    )


def _suffixes(file_format: Format | None, output: Path | None) -> tuple[str, ...]:
    if file_format is None:
        return (".safetensors", ".csv")
    if output is not None and output.suffix in (".safetensors", ".csv") and output.suffix != f".{file_format}":
        raise AekitError(f"--format {file_format}: contradicts --output {output}; leave one of them out")
    return (f".{file_format}",)


def _encode(session: Session, checkpoint: LoadedCheckpoint, target: Path, split: Split) -> Result:
    image_set = session.studied(checkpoint, split)
    codes = checkpoint.encode(image_set)
    if target.suffix == ".csv":
        write_columns(target, _table(codes, image_set))
    else:
        pixels = {"binarize": True} if session.is_binarized else {}
        parameters = checkpoint.parameters("encode", image_set, split=split, **pixels)
        if checkpoint.header.sha256 is not None:  # by which decode tells its codes from those of another model
            parameters["sha256"] = checkpoint.header.sha256
        parameters |= {"class_names": image_set.class_names, "attribute_names": image_set.attribute_names}
        if image_set.factors is not None:
            parameters |= {"factor_names": image_set.factors.names, "factor_values": image_set.factors.values}
        if image_set.origins is not None:
            parameters["files"] = list(image_set.origins.files)
        _write_tensors(target, codes, image_set, parameters)
    n_images, latent = codes.mean.shape
    return Result(target, {"checkpoint": str(checkpoint.path), "n": n_images, "latent": latent, "split": split})


def _table(codes: Codes, image_set: ImageSet) -> dict[str, Any]:
    return {
        "index": range(len(image_set)),
        **image_set.origin_columns(),
        "label": [image_set.label_text(index) for index in range(len(image_set))],
        **({} if image_set.factors is None else image_set.factors.columns()),
        **{f"z{i}": column for i, column in enumerate(codes.mean.T)},
    }


def _write_tensors(path: Path, codes: Codes, image_set: ImageSet, parameters: dict[str, Any]) -> None:
    tensors = {
        "mean": codes.mean,
        "logvar": codes.logvar,
        "index": np.arange(len(image_set)),
        "label": image_set.labels,
        "attributes": image_set.attributes,
        "factors": None if image_set.factors is None else image_set.factors.indices,
        "file": None if image_set.origins is None else image_set.origins.numbers,
        "row": None if image_set.origins is None else image_set.origins.rows,
    }
    write_arrays(path, {name: tensor for name, tensor in tensors.items() if tensor is not None}, parameters)
