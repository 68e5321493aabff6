"""What the search for damage found, by name."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from aekit.brains.hypotheses import _read_ages
from aekit.brains.volumes.nifti import read_volume
from aekit.core.checkpoint import read_header
from aekit.core.settings import from_dict
from aekit.core.weights import write_checkpoint
from aekit.errors import AekitError
from aekit.images.config import ModelConfig, RunConfig
from aekit.images.data import decode
from aekit.images.run_headers import run_files
from aekit.images.sweep.outcomes import training_seconds

EMPTY = "participant_id,split,model,target,truth,prediction\n"  # predictions of nobody
OBJECTS = "{'descr': '|O', 'fortran_order': False, 'shape': (2,)}"


def _with(path: Path, folder: Path, part: str, **changes: object) -> Path:
    header = read_header(path)
    header = replace(header, **{part: {**header.to_dict()[part], **changes}})
    return write_checkpoint(folder / "x.safetensors", load_file(path), header)


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("data", {"splits": 1.5}),
        ("data", {"splits": {"train": "x"}}),
        ("data", {"shape": "1x8x8"}),
        ("data", {"shape": [1, 8, 10**400]}),
        ("data", {"name": None}),
        ("ran_on", {"device": [1]}),
        ("result", {"parameters": "many"}),
        ("result", {"parameters": True}),
        ("result", {"test": [1]}),
        ("result", {"history": [{"epoch": 1}]}),
        ("result", {"metrics": [{"model": "chain"}]}),
        ("result", {"seen": {"age_years": [20.0]}}),
        ("result", {"conformal": [{"model": "chain", "target": "age_years", "half_width": "x", "coverage": 0.9}]}),
    ],
)
def test_a_header_whose_parts_are_something_else_is_refused_where_it_is_read(vae_checkpoint, tmp_path, part, changes):
    with pytest.raises(AekitError, match=r"x\.safetensors: its header is damaged; train it again"):
        read_header(_with(vae_checkpoint, tmp_path, part, **changes))


def test_a_header_with_parts_of_a_later_version_is_read(vae_checkpoint, tmp_path):
    path = _with(vae_checkpoint, tmp_path, "result", another={"deep": [None, "x"]})
    assert read_header(path).result["another"] == {"deep": [None, "x"]}


@pytest.mark.parametrize(
    "command",
    ["pca-compare", "decorrelation", "disentangle", "compare-codes", "samples-quality", "tsne", "interpolate", "probe"],
)
def test_a_damaged_checkpoint_is_refused_before_the_others_are_computed(
    aekit, ae_checkpoint, tmp_path, monkeypatch, command
):
    content = bytearray(ae_checkpoint.read_bytes())
    content[-5] ^= 4
    (tmp_path / "bad.safetensors").write_bytes(content)
    monkeypatch.setattr("aekit.images.models.build_model", lambda *_: pytest.fail("a network was built"))
    result = aekit(command, ae_checkpoint, tmp_path / "bad.safetensors", "-o", tmp_path / "x.png")
    assert result.exit_code == 1
    assert "bad.safetensors: was damaged after it was written" in result.stderr.splitlines()[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.safetensors"]


@pytest.mark.parametrize(
    "words",
    [
        ("decode", "{codes}", "-o", "{folder}/x.npy", "--each", "{folder}/each"),
        ("neighbours", Path(__file__).parents[2] / "docs" / "aekit.png"),
        ("export", "--format", "torchscript"),
        ("export", "--format", "hub"),
    ],
)
def test_a_command_of_one_checkpoint_refuses_a_damaged_one_and_writes_nothing(
    aekit, ae_checkpoint, tmp_path, tmp_path_factory, monkeypatch, words
):
    content = bytearray(ae_checkpoint.read_bytes())
    content[-5] ^= 4
    (tmp_path / "bad.safetensors").write_bytes(content)
    codes = tmp_path_factory.mktemp("codes") / "codes.csv"
    codes.write_text("z0,z1,z2\n0,0,0\n")
    monkeypatch.setattr("aekit.images.models.build_model", lambda *_: pytest.fail("a network was built"))
    command, *rest = (str(word).format(codes=codes, folder=tmp_path) for word in words)
    result = aekit(command, tmp_path / "bad.safetensors", *rest)
    assert result.exit_code == 1
    assert "bad.safetensors: was damaged after it was written" in result.stderr.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["bad.safetensors"]


@pytest.mark.parametrize("suffix", [".csv", ".safetensors"])
def test_damaged_codes_are_refused_and_nothing_is_written(aekit, vae_checkpoint, tmp_path, tmp_path_factory, suffix):
    codes = tmp_path_factory.mktemp("codes") / f"codes{suffix}"
    assert aekit("encode", vae_checkpoint, "-q", "-o", codes).exit_code == 0
    codes.write_bytes(codes.read_bytes()[:-25])  # a last number alone may be cut short unseen
    photo = Path(__file__).parents[2] / "docs" / "aekit.png"
    for command, *rest in (("decode", codes, "-o", tmp_path / "x.npy", "--each", tmp_path / "each"),
                           ("neighbours", photo, "--codes", codes, "-o", tmp_path / "x.png")):  # fmt: skip
        result = aekit(command, vae_checkpoint, *rest)
        assert result.exit_code == 1
        assert f"{codes.name}: " in result.stderr.splitlines()[-1]
        assert list(tmp_path.iterdir()) == []


def test_a_finished_run_whose_figures_are_gone_is_refused_by_a_grid(vae_checkpoint, tmp_path):
    header = read_header(vae_checkpoint)
    del header.result["test"]
    path = write_checkpoint(tmp_path / "x.safetensors", load_file(vae_checkpoint), header)
    with pytest.raises(AekitError, match="header is damaged"):
        run_files(RunConfig(), path).finished()


@pytest.mark.parametrize("values", [{"latent": "2"}, {"latent": [2]}, {"latent": 2.5}, {"latent": True}, {"kind": {}}])
def test_settings_of_another_type_are_refused_with_their_source(values):
    with pytest.raises(AekitError, match=r"^x: .*; "):
        from_dict(ModelConfig, values, "x")


def test_whole_numbers_are_taken_where_numbers_belong_and_lists_where_pairs_do():
    assert from_dict(ModelConfig, {"latent": 3, "layers": None}).latent == 3


@pytest.mark.parametrize("text", ["", "epoch\n1\n", "seconds\nx\n", 'seconds\n"1', "seconds\n1\n1,2,3\n"])
def test_a_damaged_history_leaves_a_grid_without_a_time(tmp_path, text):
    (tmp_path / "x.csv").write_text(text)
    assert training_seconds(tmp_path / "x.csv") is None


@pytest.mark.parametrize("text", ["", "target\nage_years\n", 'a\n"', EMPTY])
def test_damaged_predictions_are_refused_unless_they_are_only_empty(tmp_path, text):
    (tmp_path / "x.predictions.csv").write_text(text)
    if text.endswith("prediction\n"):
        assert len(_read_ages(tmp_path / "x.safetensors")) == 0
    else:
        with pytest.raises(AekitError, match=r"x\.predictions\.csv: cannot be read or is damaged"):
            _read_ages(tmp_path / "x.safetensors")


@pytest.mark.filterwarnings(
    "ignore::UserWarning"
)  # of PIL, which aekit.images.data.prepared turns off for the whole reading
@pytest.mark.parametrize("compression", ["group4", "jpeg", "tiff_lzw"])
def test_a_damaged_tiff_is_refused_and_libtiff_prints_nothing(compression, capfd):
    file = io.BytesIO()
    mode = "1" if compression == "group4" else "RGB"
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(file, "TIFF", compression=compression)
    data = file.getvalue()
    n_bad = 0
    for at in range(8, len(data), max(1, len(data) // 200)):
        try:
            decode.decode(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :], channels=1, size=None)
        except decode.BadImage:
            n_bad += 1
    assert n_bad > 0
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("text", ["(", "{'descr': (", "(" * 500, OBJECTS])
def test_a_volume_whose_header_is_no_header_is_refused(tmp_path, text):
    path = tmp_path / "x.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + bytes(100))
    with pytest.raises(AekitError, match=r"x\.npy: it (is cut short|holds Python objects)"):
        read_volume(path)
