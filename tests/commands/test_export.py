"""``aekit export`` writes models that compute the same without aekit, and a card that a hub can read."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import aekit as package
from aekit.core.checkpoint import Header, read_header
from aekit.core.weights import write_checkpoint
from aekit.errors import AekitError
from aekit.images.config import ModelConfig
from aekit.images.export import study
from aekit.images.export.onnx_files import MAX_BYTES
from aekit.images.export.parts import build_parts
from aekit.images.likelihoods import pixel_mean
from aekit.images.models import MODELS, build_model

onnxruntime = pytest.importorskip("onnxruntime")
ENTRY = "aekit"


def _untrained(folder, shape=(1, 8, 8), class_names=(), **model):
    """Return a checkpoint with random weights of any kind of model, whose batch norm has seen something."""
    config = ModelConfig(**{"kind": "vae", "arch": "dense", "latent": 3, **model})
    torch.manual_seed(0)
    network = build_model(config, shape, class_names)
    with torch.no_grad():
        for name, buffer in network.named_buffers():
            if "running" in name:
                buffer.uniform_(0.5, 1.5)
        if network.classes is not None:
            network.classes.images.normal_()
    data = {"name": "x", "shape": list(shape), "splits": {}, "class_names": list(class_names)}
    header = Header(model={**vars(config)}, data=data, train={})
    return write_checkpoint(folder / "x.safetensors", network.state_dict(), header)


def _run(path, **inputs):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of torch, which wants programs it exports instead
def test_a_part_without_onnx_computes_what_the_model_does(aekit, vae_checkpoint, tmp_path):
    result = aekit("export", vae_checkpoint, "--part", "decoder", "-o", tmp_path / "m.pt", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["largest_difference"] < 1e-5
    assert [path.name for path in tmp_path.iterdir()] == ["m.pt"]
    z = torch.randn(5, 2)
    (image,) = torch.jit.load(tmp_path / "m.pt")(z)
    np.testing.assert_allclose(image, package.load(vae_checkpoint).decode(z), atol=1e-5)


@pytest.mark.slow  # to load ONNX takes seconds
def test_the_three_files_compute_what_the_model_does_for_any_batch(aekit, vae_checkpoint, tmp_path):
    result = aekit("export", vae_checkpoint, "-o", tmp_path / "web" / "m.onnx", "--json")
    assert result.exit_code == 0, result.stderr
    written = json.loads(result.stdout)
    assert written["largest_difference"] < 1e-5
    assert sorted(path.name for path in (tmp_path / "web").iterdir()) == ["m.decoder.onnx", "m.encoder.onnx", "m.onnx"]
    model = package.load(vae_checkpoint)
    for n in (1, 2, 50):
        x = torch.rand(n, 1, 8, 8)
        mean, logvar = model.posterior(x)
        codes = _run(tmp_path / "web" / "m.encoder.onnx", image=x.numpy())
        both = _run(tmp_path / "web" / "m.onnx", image=x.numpy())
        assert list(both) == ["reconstruction", "mean", "logvar"]
        for found in (codes, both):
            np.testing.assert_allclose(found["mean"], mean, atol=1e-5)
            np.testing.assert_allclose(found["logvar"], logvar, atol=1e-5)
        (image,) = _run(tmp_path / "web" / "m.decoder.onnx", code=codes["mean"]).values()
        np.testing.assert_allclose(image, model.decode(mean), atol=1e-5)
        np.testing.assert_allclose(both["reconstruction"], image, atol=1e-5)


@pytest.mark.slow
def test_an_onnx_file_says_what_it_is_and_nothing_of_this_machine(aekit, vae_checkpoint, tmp_path):
    aekit("export", vae_checkpoint, "--part", "encoder", "-o", tmp_path / "m.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    metadata = json.loads(session.get_modelmeta().custom_metadata_map[ENTRY])
    assert metadata["image_shape"] == [1, 8, 8]
    assert (metadata["loss"], metadata["latent"], metadata["class_names"]) == ("bernoulli", 2, [])
    assert metadata["outputs"] == ["mean", "logvar"]
    assert metadata["sha256"] == read_header(vae_checkpoint).sha256
    content = (tmp_path / "m.onnx").read_bytes()
    for trace in (b"/src/", b"site-packages", b".py", str(tmp_path).encode()):
        assert trace not in content


KINDS = {
    "conditional": {"condition": "label", "class_names": ("a", "b", "c")},
    "autoencoder": {"kind": "ae"},
    "two layers": {"stochastic_layers": 2, "arch": "mlp"},
    "mixture": {"prior": "mixture", "components": 4},
    "vamp": {"prior": "vamp", "components": 4},
    "two layers with vamp": {"stochastic_layers": 2, "arch": "mlp", "prior": "vamp", "components": 4},
    "logistic": {"loss": "logistic"},
    "continuous-bernoulli": {"loss": "continuous-bernoulli"},
    "gaussian": {"loss": "gaussian"},
    "mse": {"kind": "ae", "loss": "mse"},
    **{f"{arch} grey": {"arch": arch, "shape": (1, 28, 28)} for arch in MODELS},
    "conv odd colour": {"arch": "conv", "shape": (3, 13, 9)},
}


CASES = [("onnx", kind) for kind in KINDS]
CASES += [
    (other, kind) for other in ("pt2", "torchscript") for kind in ("conditional", "two layers with vamp", "conv grey")
]


@pytest.mark.slow  # torch.export takes a second per part
@pytest.mark.parametrize(("file_format", "kind"), CASES)
def test_every_kind_of_model_leaves_in_every_format(aekit, tmp_path, kind, file_format):
    path = _untrained(tmp_path, **KINDS[kind])
    result = aekit("export", path, "--format", file_format, "--json")
    assert result.exit_code == 0, result.stderr
    written = json.loads(result.stdout)
    assert written["largest_difference"] < 1e-5
    assert ("learned prior is not part of" in result.stderr) == ("prior" in KINDS[kind])
    if file_format != "onnx":
        return
    model = package.load(path)
    x, label = torch.rand(5, *model.image_shape), torch.tensor([0, 1, 2, 1, 0]) if model.classes is not None else None
    inputs = {} if label is None else {"label": label.numpy()}
    output = model(x, None, label)
    found = _run(written["files"]["both"], image=x.numpy(), **inputs)
    np.testing.assert_allclose(found["reconstruction"], pixel_mean(output.x_hat_logits, model.config.loss), atol=1e-5)
    codes = found["code" if KINDS[kind].get("kind") == "ae" else "mean"]
    np.testing.assert_allclose(codes, output.mean, atol=1e-5)
    image = _run(written["files"]["decoder"], code=codes, **inputs)["image"]
    np.testing.assert_allclose(image, model.decode(output.mean, label=label), atol=1e-5)
    assert 0 <= image.min() <= image.max() <= 1


@pytest.mark.slow
@pytest.mark.parametrize("file_format", ["onnx", "pt2", "torchscript"])
def test_the_same_command_writes_the_same_bytes(vae_checkpoint, tmp_path, file_format):
    for name, seed in (("a", "1"), ("b", "2")):
        words = ["export", vae_checkpoint, "--format", file_format, "-o", tmp_path / name, "-q"]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        run = [sys.executable, "-m", "aekit", *map(str, words)]
        (tmp_path / name).mkdir()
        subprocess.run(run, check=True, env=environment, cwd=tmp_path / name)
    first, second = (sorted((tmp_path / name).iterdir()) for name in ("a", "b"))
    assert len(first) == 3
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    for path in first:
        assert b"site-packages" not in path.read_bytes()
        assert b"/src/aekit" not in path.read_bytes()


def test_a_file_that_computes_something_else_is_not_written(aekit, vae_checkpoint, tmp_path, monkeypatch):
    wrong = study._Kind(".pt", study.write_torchscript, lambda *_: [torch.zeros(1, 2)])
    monkeypatch.setitem(study._KINDS, "torchscript", wrong)
    result = aekit("export", vae_checkpoint, "--format", "torchscript", "-o", tmp_path)
    assert (result.exit_code, "so nothing was written" in result.stderr) == (1, True)
    assert list(tmp_path.iterdir()) == []


def test_a_part_that_no_onnx_file_holds_is_refused_by_name_before_anything_is_traced(vae_checkpoint):
    (checkpoint,) = package.open_session(vae_checkpoint).checkpoints()
    part = build_parts(checkpoint, ["decoder"])[0]
    assert part.n_bytes == sum(tensor.nbytes for tensor in checkpoint.model.decoder.state_dict().values())
    for n_weights, fits in ((2**29, False), (2**29 - 2**21, True)):
        part.portable.model.decoder = nn.Linear(n_weights // 64, 64, bias=False, device="meta")
        if fits:
            study.check_size(checkpoint, part, MAX_BYTES)
            continue
        with pytest.raises(AekitError, match=r"its decoder has 2\.15 GB of weights, .* at most 2\.14 GB"):
            study.check_size(checkpoint, part, MAX_BYTES)


def test_threads_are_those_of_the_option_and_afterwards_as_before(aekit, vae_checkpoint, tmp_path, monkeypatch):
    before, used = torch.get_num_threads(), []
    wrong = study._Kind(".pt", lambda _: used.append(torch.get_num_threads()) or b"", lambda *_: [torch.zeros(1)])
    monkeypatch.setitem(study._KINDS, "torchscript", wrong)
    words = ("export", vae_checkpoint, "--format", "torchscript", "-o", tmp_path)
    assert aekit(*words, "--threads", 2).exit_code == 1
    assert used == [2]
    assert torch.get_num_threads() == before
    assert aekit(*words, "--threads", 0).exit_code == 2


def test_without_the_package_one_line_names_it(aekit, vae_checkpoint, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "onnxscript" else find(name, *a))
    result = aekit("export", vae_checkpoint, "-o", tmp_path / "x.onnx")
    assert result.stderr == "aekit: --format onnx: onnxscript is not installed; run pip install 'aekit[onnx]'\n"
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("options", "code", "error"),
    [
        (("-o", "x.tflite"), 1, "cannot be written as .tflite; use .onnx, .pt, .pt2"),
        (("-o", "x.pt", "--format", "onnx"), 2, "--format onnx: contradicts --output"),
        (("--format", "hub", "--part", "encoder"), 2, "--part encoder: --format hub holds the whole checkpoint"),
        (("-o", "x.safetensors"), 1, "cannot be written as .safetensors"),
    ],
)
def test_options_that_contradict_each_other_are_refused(aekit, vae_checkpoint, options, code, error):
    result = aekit("export", vae_checkpoint, *options)
    assert (result.exit_code, error in result.stderr) == (code, True)


def test_a_hub_folder_holds_the_checkpoint_itself_and_results_with_intervals(aekit, vae_checkpoint, tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(vae_checkpoint.read_bytes())
    assert aekit("evaluate", path).exit_code == 0
    result = aekit("export", path, "--format", "hub", "-o", tmp_path / "hub")
    assert result.paths == [tmp_path / "hub"]
    assert sorted(each.name for each in (tmp_path / "hub").iterdir()) == ["README.md", "model.safetensors"]
    assert (tmp_path / "hub" / "model.safetensors").read_bytes() == path.read_bytes()
    card = (tmp_path / "hub" / "README.md").read_text()
    found = json.loads(path.with_suffix(".evaluate.json").read_text())
    low, high = (found["mse"] + sign * 1.96 * found["mse_error"] for sign in (-1, 1))
    assert f"| MSE | {found['mse']:.5g} | [{low:.5g}, {high:.5g}] | per pixel |" in card
    assert "license:" not in card.split("---")[1]
    assert "names no licence" in result.stderr
    again = aekit("export", path, "--format", "hub", "-o", tmp_path / "hub")
    assert (again.exit_code, "is not empty" in again.stderr) == (1, True)
    snippet = card.split("```python\n")[1].split("```")[0]
    x = torch.rand(2, 1, 8, 8)
    names = {"x": x}
    exec(snippet.replace('"model', f'"{tmp_path}/hub/model'), names)
    assert names["x_hat"].shape == x.shape


def test_results_of_another_model_or_none_are_no_part_of_the_card(aekit, vae_checkpoint, ae_checkpoint, tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(vae_checkpoint.read_bytes())
    assert "results without intervals" in aekit("export", path, "--format", "hub", "-o", tmp_path / "a").stderr
    assert aekit("evaluate", ae_checkpoint, "-o", path.with_suffix(".evaluate.json")).exit_code == 0
    result = aekit("export", path, "--format", "hub", "-o", tmp_path / "b")
    assert "the card leaves it out" in result.stderr
    assert (tmp_path / "a" / "README.md").read_text().replace("# a", "# b") == (
        tmp_path / "b" / "README.md"
    ).read_text()
    path.with_suffix(".evaluate.json").write_text("{")
    result = aekit("export", path, "--format", "hub", "-o", tmp_path / "c")
    assert (result.exit_code, "cannot be read as results of aekit evaluate" in result.stderr) == (1, True)


def test_where_images_lay_is_not_told(aekit, vae_checkpoint, tmp_path):
    header = read_header(vae_checkpoint)
    header.data["name"] = "/home/someone/secret/photos <b>"
    path = write_checkpoint(tmp_path / "m.safetensors", load_file(vae_checkpoint), header)
    aekit("export", path, "--format", "hub", "-o", tmp_path / "hub")
    card = (tmp_path / "hub" / "README.md").read_text()
    assert "someone" not in card
    assert "images: photos \\<b\\>" in card


@pytest.mark.slow
def test_a_hub_reads_the_card(aekit, vae_checkpoint, tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    aekit("export", vae_checkpoint, "--format", "hub", "-o", tmp_path / "hub")
    card = hub.ModelCard.load(tmp_path / "hub" / "README.md")
    assert card.data.library_name == "aekit"
    assert "autoencoder" in card.data.tags
    assert card.data.license is None
    assert card.content.count("---\n") >= 2


@pytest.mark.parametrize("options", [(), ("--format", "hub")])
def test_a_damaged_checkpoint_does_not_leave(aekit, vae_checkpoint, tmp_path, options):
    content = bytearray(vae_checkpoint.read_bytes())
    content[-5] ^= 4
    (tmp_path / "bad.safetensors").write_bytes(content)
    result = aekit("export", tmp_path / "bad.safetensors", *options)
    assert (result.exit_code, "was damaged after it was written" in result.stderr) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.safetensors"]


@pytest.mark.slow  # torch.export takes a second per part
def test_labels_are_as_valid_as_the_page_says(aekit, tmp_path):
    path = _untrained(tmp_path, **KINDS["conditional"])
    result = aekit("export", path, "--part", "decoder", "-o", tmp_path / "d.decoder.onnx")
    assert result.exit_code == 0, result.stderr
    code = np.ones((1, package.load(path).config.latent), np.float32)
    last, negative = (_run(tmp_path / "d.decoder.onnx", code=code, label=np.array([n]))["image"] for n in (2, -1))
    assert (negative == last).all()
    first = _run(tmp_path / "d.decoder.onnx", code=code, label=np.array([0]))["image"]
    assert not (first == last).all()
    with pytest.raises(Exception, match="invalid index found, index = 3"):
        _run(tmp_path / "d.decoder.onnx", code=code, label=np.array([3]))
