"""``aekit encode``: the codes of a whole split, as a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from aekit.commands.checkpoints import (
    Checkpoints,
    Images,
    OtherData,
    Output,
    WhichSplit,
    choose_targets,
    read_checkpoints,
    read_paths,
)
from aekit.errors import AekitError
from aekit.terminal import options
from aekit.terminal.console import Console

if TYPE_CHECKING:
    from aekit.images.data.image_set import ImageSet
    from aekit.images.inference import Codes

Format = Literal["safetensors", "csv"]


def encode(
    checkpoints: Checkpoints,
    file_format: Annotated[
        Format | None,
        typer.Option(
            "--format",
            rich_help_panel=options.ANALYSIS,
            help="Kind of file.",
            show_default="by the suffix of --output, or safetensors",
        ),
    ] = None,
    split: WhichSplit = "test",
    data: OtherData = None,
    data_root: options.DataRoot = None,
    output: Output = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Write the codes of all images of a split.

    Reads checkpoints and the images that they were trained on (others with --data). Writes a file a checkpoint:
    .safetensors holds the tensors mean (N, L), for a VAE logvar (N, L), index (N,), and where there are any, label (N,)
    and attributes (N, A); a .csv index, label and the codes or posterior means z0, z1, ... Prints its path.

    Example: aekit encode runs/vae.safetensors -o codes.csv
    """
    from aekit.images.inference import encode_images

    console = Console(quiet=quiet, json=json)
    paths = read_paths(checkpoints, console)
    name = "codes" if split == "test" else f"codes-{split}"
    targets = choose_targets(paths, output, name=name, suffixes=_suffixes(file_format, output))
    images = Images(data, data_root, console)
    for trained in read_checkpoints(paths, targets, device=device, threads=threads):
        image_set = images.read(trained, split)
        codes = encode_images(trained.model, image_set)
        if trained.target.suffix == ".csv":
            _write_table(trained.target, codes, image_set)
        else:
            parameters = trained.parameters("encode", image_set, split=split)
            parameters |= {"class_names": image_set.class_names, "attribute_names": image_set.attribute_names}
            _write_tensors(trained.target, codes, image_set, parameters)
        n_images, latent = codes.mean.shape
        console.result(trained.target, checkpoint=str(trained.path), n=n_images, latent=latent, split=split)


def _suffixes(file_format: Format | None, output: Path | None) -> tuple[str, ...]:
    if file_format is None:
        return (".safetensors", ".csv")
    if output is not None and output.suffix in (".safetensors", ".csv") and output.suffix != f".{file_format}":
        raise AekitError(f"--format {file_format}: --output {output} says otherwise; leave one of them out")
    return (f".{file_format}",)


def _write_table(path: Path, codes: Codes, image_set: ImageSet) -> None:
    import pandas as pd

    from aekit.core.artifacts import write_csv

    table = pd.DataFrame(codes.mean, columns=[f"z{i}" for i in range(codes.mean.shape[1])])
    table.insert(0, "index", range(len(image_set)))
    table.insert(1, "label", [image_set.label_text(index) for index in range(len(image_set))])
    write_csv(path, table)


def _write_tensors(path: Path, codes: Codes, image_set: ImageSet, parameters: dict[str, Any]) -> None:
    from json import dumps

    import numpy as np
    from safetensors.numpy import save

    from aekit.core.artifacts import write_atomically

    tensors = {
        "mean": codes.mean,
        "logvar": codes.logvar,
        "index": np.arange(len(image_set)),
        "label": image_set.labels,
        "attributes": image_set.attributes,
    }
    present = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items() if tensor is not None}
    content = save(present, {"aekit": dumps(parameters, sort_keys=True)})
    write_atomically(path, lambda file: file.write(content))
