"""A small checkpoint's header, and ways to damage a file, for the tests of files."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import load_file, save_file

from aekit.core.checkpoint import Header, read_header


def dense_header(**model):
    config = {"kind": "vae", "arch": "dense", "latent": 2, "layers": None, "width": 8, "loss": "bernoulli", **model}
    return Header(model=config, data={"name": "x", "shape": [1, 28, 28]}, train={})


def rewrite(path: Path, *, metadata=None, tensors=None) -> None:
    """Write a file again, without the checksum if it is not in the metadata."""
    own = {"aekit": json.dumps(without_checksum(read_header(path)))}
    save_file(tensors or load_file(path), path, own if metadata is None else metadata)


def without_checksum(header):
    return {key: value for key, value in header.entries.items() if key != "sha256"}
