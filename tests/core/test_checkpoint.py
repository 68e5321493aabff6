"""A checkpoint is whole, self-describing and its own; anything else is refused by name."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file
from small_checkpoint import rewrite

import aekit as package
from aekit.core.checkpoint import read_header
from aekit.errors import AekitError
from aekit.images.state import read_model

CPU = torch.device("cpu")


def test_the_header_is_read_without_torch_and_says_who_wrote_it(checkpoint):
    header = read_header(checkpoint)
    assert header.format == 1
    assert header.aekit == package.__version__
    assert header.model["latent"] == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a safetensors file"),
        (b"PK\x03\x04 some zip file or other", "not a safetensors file"),
        (b"\xff" * 8 + b"{}", "not a safetensors file"),
        ((2).to_bytes(8, "little") + b"{}", "another program"),
        ((2).to_bytes(8, "little") + b"[]", "another program"),
        ((5).to_bytes(8, "little") + b'{"a":', "not a safetensors file"),
        ((10**5).to_bytes(8, "little") + b"[" * 10**5, "not a safetensors file"),
    ],
)
def test_foreign_files_are_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "foreign.safetensors"
    path.write_bytes(content)
    with pytest.raises(AekitError, match=message) as error:
        read_header(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(AekitError, match="No such file"):
        read_header(tmp_path / "none.safetensors")
    with pytest.raises(AekitError, match="cannot be read"):
        read_header(tmp_path)


@pytest.mark.parametrize("keep", [4, 100, 2000, -1])
def test_a_file_that_was_cut_short_is_refused(checkpoint, keep):
    checkpoint.write_bytes(checkpoint.read_bytes()[:keep])
    with pytest.raises(AekitError, match=r"cut short|not a safetensors file"):
        read_header(checkpoint)


def test_a_checkpoint_of_another_program_is_refused(tmp_path):
    save_file({"w": torch.zeros(3)}, tmp_path / "x.safetensors", {"format": "pt"})
    with pytest.raises(AekitError, match="another program"):
        read_model(tmp_path / "x.safetensors", CPU)


def test_a_newer_format_is_refused_by_name(checkpoint):
    rewrite(checkpoint, metadata={"aekit": json.dumps({**read_header(checkpoint).entries, "format": 2})})
    with pytest.raises(AekitError, match=r"format 2, newer than 1.*install a newer aekit"):
        read_model(checkpoint, CPU)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": "1"}', '{"format": 1, "model": 3}'])
def test_a_damaged_header_is_refused(checkpoint, text):
    rewrite(checkpoint, metadata={"aekit": text})
    with pytest.raises(AekitError, match="header is damaged"):
        read_model(checkpoint, CPU)


def test_codes_are_no_model(aekit, vae_checkpoint, tmp_path):
    assert aekit("encode", vae_checkpoint, "-o", tmp_path / "codes.safetensors").exit_code == 0
    with pytest.raises(AekitError, match="holds what aekit encode made, not a model"):
        read_header(tmp_path / "codes.safetensors")
