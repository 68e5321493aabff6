"""What the commands do is had from Python: the same results for the same images, and nothing written unasked."""

from __future__ import annotations

import doctest
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from torch import nn

import aekit as library
from aekit.errors import AekitError, UsageError

PAGE = Path(__file__).parents[1] / "docs" / "python.md"
OPTIONS = {"latent": 3, "epochs": 2, "arch": "dense", "beta": 0.5, "limit": 200, "threads": 1}
COMMAND = ("--data", "digits.npz", "--latent", 3, "--epochs", 2, "--arch", "dense", "--beta", 0.5, "--limit", 200)


@pytest.fixture(scope="module")
def digits():
    found = load_digits()
    return np.round(found.images * (255 / 16)).astype(np.uint8), found.target


@pytest.fixture(scope="module")
def by_command(aekit, digits, tmp_path_factory):
    """Return a folder with digits.npz and a VAE of the command line, trained on it."""
    folder = tmp_path_factory.mktemp("command")
    np.savez(folder / "digits.npz", images=digits[0], labels=digits[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = aekit("train-vae", *COMMAND, "--threads", 1, "-o", "m.safetensors")
    assert result.exit_code == 0, result.stderr
    return folder


def own_network(config, image_shape):
    """Return the parts of a small network of a test."""
    n_values = int(np.prod(image_shape))
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(n_values, 16), nn.Tanh(), nn.Dropout(0.1))
    decoder = nn.Sequential(nn.Linear(config.latent, n_values), nn.Unflatten(1, image_shape))
    return library.Parts(encoder, 16, decoder)


def another_network(config, image_shape):
    """Return the same under another name."""
    return own_network(config, image_shape)


@pytest.fixture(scope="module")
def own(digits, tmp_path_factory):
    """Return a training of a network of one's own, with its checkpoint."""
    path = tmp_path_factory.mktemp("own") / "own.safetensors"
    options = {"latent": 3, "epochs": 2, "limit": 200, "threads": 1}
    return library.train(images=digits[0], labels=digits[1], parts=own_network, output=path, **options)


@pytest.mark.slow
def test_an_array_trains_to_the_bytes_of_the_command_line(by_command, digits, tmp_path):
    done = library.train(images=digits[0], labels=digits[1], data="digits.npz", output=tmp_path / "m", **OPTIONS)
    named = library.train(
        images=digits[0], labels=digits[1], data="digits.npz", output=tmp_path / "m.safetensors", **OPTIONS
    )
    assert named.path.read_bytes() == (by_command / "m.safetensors").read_bytes()
    assert done.path.read_bytes() == named.path.read_bytes()
    history = pd.read_csv(by_command / "m.csv")[done.history.columns]
    pd.testing.assert_frame_equal(done.history.astype(float, errors="ignore"), history, check_dtype=False)


@pytest.mark.parametrize("images", [
    lambda x: x[:, None], lambda x: x[..., None], lambda x: x.astype(np.int64),
    lambda x: x.astype(np.float32) / 255, lambda x: torch.from_numpy(x), lambda x: x.tolist(),
])  # fmt: skip
def test_without_an_output_the_weights_are_the_same_and_nothing_is_written(
    by_command, digits, tmp_path, monkeypatch, images
):
    monkeypatch.chdir(tmp_path)
    done = library.train(images=images(digits[0]), labels=digits[1], **OPTIONS)
    expected = load_file(by_command / "m.safetensors")
    assert all(torch.equal(value, expected[name]) for name, value in done.model.state_dict().items())
    assert (list(tmp_path.iterdir()), done.path) == ([], None)
    assert not done.model.training
    assert not any(parameter.requires_grad for parameter in done.model.parameters())


def test_a_training_is_shown_in_one_short_line(digits, tmp_path):
    options = {"images": digits[0], **OPTIONS, "epochs": 1}
    done = library.train(**options, output=tmp_path / "m.safetensors")
    total = f"{done.history['total'].iloc[-1]:.4g}"
    assert repr(done) == f"Trained(vae dense, latent 3, epoch 1, test total {total}, {done.path})"
    assert repr(library.train(**options)) == f"Trained(vae dense, latent 3, epoch 1, test total {total}, not written)"


def test_a_configuration_is_as_good_as_options(by_command, digits):
    config = library.RunConfig(
        library.ModelConfig(latent=3, arch="dense"),
        library.DataConfig(limit=200),
        library.TrainConfig(epochs=2, beta=0.5),
    )
    model = library.train(config, digits[0], labels=digits[1], threads=1).model
    expected = load_file(by_command / "m.safetensors")
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())
    assert model.header.data["name"] == "array"  # and not the default data set


def test_images_are_taken_by_path_and_by_name(by_command):
    expected = load_file(by_command / "m.safetensors")
    model = library.train(images=by_command / "digits.npz", **OPTIONS).model
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())
    named = library.train(data="digits", **OPTIONS).model
    assert named.header.data["name"] == "digits"


def test_a_run_is_claimed_and_resumed_as_on_the_command_line(digits, tmp_path):
    path = tmp_path / "m.safetensors"
    first = library.train(images=digits[0], output=path, **OPTIONS)
    before = path.stat().st_mtime_ns
    with pytest.raises(AekitError, match="already exists"):
        library.train(images=digits[0], output=path, **OPTIONS)
    again = library.train(images=digits[0], output=path, resume=True, **OPTIONS)
    assert path.stat().st_mtime_ns == before
    assert again.result == first.result
    with pytest.raises(AekitError, match="was trained with beta"):
        library.train(images=digits[0], output=path, resume=True, **{**OPTIONS, "beta": 1.0})


@pytest.mark.slow
def test_codes_reconstructions_and_losses_are_those_of_the_commands(aekit, by_command, digits, tmp_path):
    model = library.load(by_command / "m.safetensors")
    words = (by_command / "m.safetensors", "--data", by_command / "digits.npz", "--split", "all", "--threads", 1)
    aekit("encode", *words, "-o", tmp_path / "codes.safetensors")
    aekit("evaluate", *words, "--importance", 3, "-o", tmp_path / "e.json")
    aekit("reconstruct", *words, "-o", tmp_path / "r.png")
    # --limit of the training leaves some images out, and the array has all.
    kept = library.read_codes(tmp_path / "codes.safetensors")
    rows = kept.origins.rows
    codes = library.encode(model, digits[0][rows], threads=1)
    assert (codes.mean == kept.mean).all()
    assert (codes.logvar == kept.logvar).all()
    assert [str(label) for label in digits[1][rows]] == kept.labels
    found = library.evaluate(model, digits[0][rows], importance=3, threads=1)
    expected = json.loads((tmp_path / "e.json").read_text())
    assert {name: expected[name] for name in found} == found
    x_hat = library.reconstruct(model, digits[0][rows], threads=1)
    assert (x_hat == library.decode(model, codes.mean, threads=1)).all()
    mse = np.square(x_hat[:, 0] - digits[0][rows] / 255).mean((1, 2))
    assert mse == pytest.approx(pd.read_csv(tmp_path / "r.csv")["mse"].to_numpy(), rel=1e-4)


def test_a_csv_of_codes_is_read_as_the_tensors_are(aekit, by_command, tmp_path, monkeypatch):
    monkeypatch.chdir(by_command)
    for name in ("x.safetensors", "x.csv"):
        aekit("encode", "m.safetensors", "-o", tmp_path / name)
    tensors, table = (library.read_codes(tmp_path / name) for name in ("x.safetensors", "x.csv"))
    assert table.mean == pytest.approx(tensors.mean, rel=1e-6)
    assert (table.labels, table.index.tolist()) == (tensors.labels, tensors.index.tolist())
    assert [table.origins.text(i) for i in range(5)] == [tensors.origins.text(i) for i in range(5)]
    assert tensors.parameters["checkpoint"] == "m.safetensors"


def test_a_model_that_is_told_classes_is_given_them(digits):
    model = library.train(images=digits[0], labels=digits[1], condition="label", **OPTIONS).model
    codes = library.encode(model, digits[0][:5], labels=digits[1][:5])
    images = library.decode(model, codes.mean, labels=digits[1][:5])
    assert images.shape == (5, 1, 8, 8)
    assert (images == library.reconstruct(model, digits[0][:5], labels=digits[1][:5])).all()
    for labels, said in ((None, "give labels, one per code"), ([11] * 5, "has no class 11"), ([1], "1 labels for 5")):
        with pytest.raises(AekitError, match=said):
            library.decode(model, codes.mean, labels=labels)
    with pytest.raises(AekitError, match="told the class of each image"):
        library.encode(model, digits[0][:5])


@pytest.mark.parametrize(("arguments", "said"), [
    ({"images": np.zeros((20, 8, 8, 4))}, "array: images of shape 20x8x8x4"),
    ({"images": np.full((20, 8, 8), 300)}, "integers from 300 to 300, outside 0 to 255"),
    ({"images": np.zeros((20, 8, 8)), "labels": [1, 2]}, "2 labels for 20 images"),
    ({"images": np.full((20, 8, 8), np.nan)}, "not finite"),
    ({"images": "nothing.npz"}, "nothing.npz: no such file"),
    ({"images": "digits", "labels": [1]}, "labels: belong to images in an array"),
    ({"data": "digits", "bta": 2}, "has no option bta; did you mean 'beta'"),
    ({"data": "digits", "beta": -1.0}, "--beta: -1.0 is below 0"),
    ({"data": "digits", "latent": "3"}, "latent: '3' is not a whole number; give one"),
    ({"data": "digits", "epochs": 1.5}, "epochs: 1.5 is not a whole number; give one"),
    ({"data": "digits", "epochs": "3"}, "epochs: '3' is not a whole number"),
    ({"data": "digits", "batch_size": 50.5}, "batch_size: 50.5 is not a whole number"),
    ({"data": "digits", "limit": 100.0}, "limit: 100.0 is not a whole number"),
    ({"data": "digits", "layers": 1.5}, "layers: 1.5 is not a whole number"),
    ({"data": "digits", "latent": True}, "latent: True is not a whole number"),
    ({"data": "digits", "seed": 1.0}, "seed: 1.0 is not a whole number"),
    ({"data": "digits", "seed": 2**70}, f"--seed: {2**70} is not between 0 and"),
    ({"data": "digits", "skip_bad": "no"}, "skip_bad: 'no' is not True or False"),
    ({"data": "digits", "beta": "1"}, "beta: '1' is not a number"),
    ({"data": "digits", "image_size": 8.0}, "image_size: 8.0 is not a pair of whole numbers"),
    ({"data": "digits", "image_size": (8, 8, 8)}, "image_size: (8, 8, 8) is not a pair of whole numbers"),
    ({"data": 3}, "data: 3 is not a text"),
    ({"data": "digits", "threads": "2"}, "threads: '2' is not a whole number"),
    ({"data": "digits", "overwrite": "no"}, "overwrite: 'no' is not True or False"),
    ({"data": "digits", "device": 3}, "device: 3 is not a text"),
    ({"data": "digits", "output": 3}, "output: 3 is not a text"),
    ({"images": np.zeros((20, 8, 8)), "labels": [np.inf] * 20}, "labels: are float64; give whole numbers"),
    ({"data": "digits", "kind": "ae"}, "the option kind is called model"),
    ({"data": "digits", "name": "x"}, "the option name is called data"),
    ({"config": {"epochs": 3}}, "config is dict; give aekit.RunConfig"),
    ({"config": "digits", "beta": 1.0}, "a config or options, not both"),
    ({"data": "digits", "resume": True}, "without an output"),
])  # fmt: skip
def test_what_cannot_be_trained_is_refused_in_one_line(arguments, said):
    with pytest.raises(AekitError, match=re.escape(said)):
        library.train(**arguments)


def test_options_of_the_other_functions_are_checked_as_those_of_a_training(by_command, digits):
    model = library.load(by_command / "m.safetensors")
    for options, said in (
        ({"importance": 1.5}, "importance: 1.5 is not a whole number"),
        ({"seed": "x"}, "seed: 'x' is not a whole number"),
        ({"seed": -1}, "--seed: -1 is not between 0"),
        ({"threads": "2"}, "threads: '2' is not a whole number"),
    ):
        with pytest.raises(AekitError, match=said):
            library.evaluate(model, digits[0][:5], **options)
    with pytest.raises(AekitError, match="threads: '2' is not a whole number"):
        library.encode(model, digits[0][:5], threads="2")


def test_numbers_of_numpy_and_paths_are_taken_for_what_they_are(by_command, digits):
    options = {**OPTIONS, "latent": np.int64(3), "beta": np.float32(0.5), "mirror": np.bool_(False)}
    expected = load_file(by_command / "m.safetensors")
    model = library.train(data=by_command / "digits.npz", **options).model
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())
    sized = library.train(images=digits[0], image_size=9, **{**OPTIONS, "epochs": 1}).model
    assert sized.image_shape == (1, 9, 9)


def test_images_of_another_shape_are_refused(by_command):
    model = library.load(by_command / "m.safetensors")
    with pytest.raises(AekitError, match="array: images have height 9, width 9, 1 channel"):
        library.encode(model, np.zeros((2, 9, 9)))
    with pytest.raises(AekitError, match=r"codes are \(4,\)"):
        library.decode(model, np.zeros(4))


def test_integers_that_would_be_nearly_black_are_refused_as_in_a_training(by_command, digits):
    model, faint = library.load(by_command / "m.safetensors"), digits[0] // 16
    for use in (library.encode, library.reconstruct, library.evaluate):
        with pytest.raises(AekitError, match="values from 0 to 15 of 0 to 255 would be nearly black; scale them"):
            use(model, faint[:20])
        with pytest.raises(AekitError, match="would be nearly black"):
            use(model, (faint[:20] > 7).astype(np.int64))
    assert (library.encode(model, faint[:20] * 17).mean == library.encode(model, faint[:20] / 15).mean).all()


@pytest.mark.parametrize("value_range", ["0,4095", "data"])
def test_a_model_with_a_range_of_values_takes_the_units_of_its_training(digits, tmp_path, value_range):
    deep = digits[0].astype(np.uint16) * 16
    deep[:, 0, :2] = 0, 4095  # so that the range of the data is the one that is given
    model = library.train(images=deep, value_range=value_range, **OPTIONS).model
    codes = library.encode(model, deep[:9])
    for same in (deep[:9].astype(float), deep[:9].tolist()):
        assert (library.encode(model, same).mean == codes.mean).all()
    x = torch.from_numpy(np.round(deep[:9, None] / 4095 * 255) / 255).float()
    assert model.encode(x).numpy() == pytest.approx(codes.mean, abs=1e-5)
    np.save(tmp_path / "x.npy", deep[:9] + 1)
    for images, said in (
        (deep[:9] / 4095, "all values become one level of grey in 0 to 4095, the range of the training"),
        (deep[:9] // 16, "fill little of 0 to 4095"),
        (deep[:9] + 1, "9 images hold values outside 0 to 4095"),
        (tmp_path / "x.npy", "9 images hold values outside 0 to 4095"),
    ):
        for use in (library.encode, library.reconstruct, library.evaluate):
            with pytest.raises(AekitError, match=said):
                use(model, images)
    assert library.encode(model, np.zeros((2, 8, 8))).mean.shape == (2, 3)  # a blank image is one


@pytest.mark.parametrize(("images", "said"), [
    (np.ma.masked_less(np.ones((3, 8, 8)), 0.5), "images: are masked, and a network needs every value"),
    ([np.ma.masked_less(np.ones((8, 8)), 0.5)] * 3, "images: are masked"),
    (torch.ones(3, 8, 8).to_sparse(), "images: are a sparse tensor; give x.to_dense()"),
    (torch.ones(3, 8, 8, device="meta"), "images: are a tensor on the device meta"),
    (torch.ones(3, 8, 8, dtype=torch.bfloat16), "images: are a tensor of torch.bfloat16, which numpy lacks"),
    ([np.ones((8, 8)), np.ones((8, 9))], "images: are not one array"),
    ((np.ones((3, 8, 8)), np.arange(3)), "images: are a tuple (x, y); give the array x, and y as labels=y"),
    (np.ones((0, 8, 8)), "images: are empty, of shape 0x8x8"),
    ([], "images: are empty, of shape 0"),
    (np.ones((3, 8, 8), complex), "images: are complex128"),
    (nn.Flatten(), "images: Flatten is a network"),
])  # fmt: skip
def test_images_that_are_no_numbers_are_refused_by_every_function(by_command, images, said):
    model = library.load(by_command / "m.safetensors")
    for use in (library.encode, library.evaluate, lambda _, x: library.train(images=x, **OPTIONS)):
        with pytest.raises(AekitError, match=f"^{re.escape(said)}") as error:
            use(model, images)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(("codes", "said"), [
    (np.ma.masked_equal(np.ones((2, 3)), 0), "codes: are masked"),
    (np.ones((2, 3), complex), "codes: are complex128; give numbers"),
    (np.ones((2, 3), bool), "codes: are bool; give numbers"),
    (np.ones((2, 3), "datetime64[s]"), "codes: are datetime64[s]; give numbers"),
    ([["0.5"] * 3], "codes: are <U3; give numbers"),
    ([[0, 0, 0], [0, np.nan, 0]], "codes: nan in row 1 (from 0) is not a finite number"),
    ([[0, 0, 0], [0, 0, 1e300]], "codes: 1e+300 in row 1 (from 0) is beyond what float32 holds"),
    ([[0, 0, 0], [0, 3e38, 3e38]], "the code in row 1 (from 0), as large as 3e+38, overflows it"),
    (np.ones((0, 3)), "codes are (0, 3)"),
])  # fmt: skip
def test_codes_that_are_no_numbers_are_not_the_fault_of_the_training(by_command, codes, said):
    with pytest.raises(AekitError, match=re.escape(said)) as error:
        library.decode(by_command / "m.safetensors", codes)
    assert "--lr" not in str(error.value)


def test_a_model_is_given_as_a_network_or_a_path(by_command, digits, own):
    path = by_command / "m.safetensors"
    expected = library.encode(library.load(path), digits[0][:9]).mean
    for given in (path, str(path)):
        assert (library.encode(given, digits[0][:9]).mean == expected).all()
    for given, said in ((own, "give its .model"), (nn.Flatten(), "Flatten is not a network of aekit"), (3, "int is")):
        for use in (library.encode, library.reconstruct, library.evaluate):
            with pytest.raises(AekitError, match=said):
                use(given, digits[0][:9])
    with pytest.raises(AekitError, match="Autoencoder is not a path"):
        library.load(library.load(path))


def test_labels_are_taken_alike_by_encode_and_decode(by_command, digits):
    x, y = digits[0], digits[1]
    with pytest.raises(AekitError, match="was not trained with condition label; leave labels out"):
        library.encode(by_command / "m.safetensors", x[:5], labels=y[:5])
    model = library.train(images=x, labels=y, condition="label", **OPTIONS).model
    codes = library.encode(model, x[:5], labels=y[:5]).mean
    images = library.decode(model, codes, labels=y[:5])
    alike = (y[:5].astype(float), y[:5].astype(str), y[:5].tolist(), y[:5, None], pd.Series(y[:5].astype(str)))
    for labels in alike:
        assert (library.encode(model, x[:5], labels=labels).mean == codes).all()
        assert (library.decode(model, codes, labels=labels) == images).all()
    for labels, said in (("3", "'3' is a single one"), (3, "3 is a single one"), ([0.5] * 5, "are float64")):
        with pytest.raises(AekitError, match=f"labels: {said}"):
            library.encode(model, x[:5], labels=labels)
        with pytest.raises(AekitError, match=f"labels: {said}"):
            library.decode(model, codes, labels=labels)


@pytest.mark.slow
def test_importing_aekit_loads_nothing_heavy_and_every_name_is_there():
    script = (
        "import sys, aekit\n"
        "assert not {'torch', 'numpy', 'pandas'} & set(sys.modules)\n"
        "assert set(aekit.__all__) <= set(dir(aekit))\n"
        "assert all(getattr(aekit, name) is not None for name in aekit.__all__)\n"
        "assert not hasattr(aekit, 'nothing')\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


# --- networks of one's own


def test_a_network_of_ones_own_is_saved_and_loaded_by_passing_its_builder(own, digits):
    assert own.model.header.model["arch"] == "own-own_network"
    loaded = library.load(own.path, parts=own_network)
    assert (library.encode(loaded, digits[0][:9]).mean == library.encode(own.model, digits[0][:9]).mean).all()
    assert library.evaluate(loaded, digits[0][:50]) == library.evaluate(own.model, digits[0][:50])
    assert own.history["total"].iloc[-1] < own.history["total"].iloc[0]
    assert own.result["test"]["total"] > 0


def test_without_its_builder_it_is_refused_and_the_way_is_said(aekit, own, by_command):
    for load, said in (
        (lambda: library.load(own.path), "is built by the Python function own_network, which is not in the file"),
        (lambda: library.load(own.path, parts=another_network), "is built by own_network, not by another_network"),
        (lambda: library.load(by_command / "m.safetensors", parts=own_network), "leave parts out"),
    ):
        with pytest.raises(AekitError, match=said):
            load()
    result = aekit("encode", own.path, "--data", "digits")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "use Python: aekit.load(path, parts=own_network)" in result.stderr
    assert aekit("info", own.path).exit_code == 0


def test_studies_take_the_builder_in_their_session(own, digits, tmp_path):
    from aekit.images.evaluation.encode import run_encode

    np.savez(tmp_path / "digits.npz", images=digits[0], labels=digits[1])
    session = library.open_session(own.path, data=str(tmp_path / "digits.npz"), parts=own_network)
    (result,) = run_encode(session, tmp_path / "codes.safetensors", split="all")
    kept = library.read_codes(result.path)
    assert (kept.mean == library.encode(own.model, digits[0][kept.origins.rows]).mean).all()


def wrong_features(config, image_shape):
    """Return an encoder that makes 15 features and says 16."""
    parts = own_network(config, image_shape)
    return parts._replace(encoder=nn.Sequential(nn.Flatten(), nn.Linear(64, 15)))


def wrong_images(config, image_shape):
    """Return a decoder that makes rows instead of images."""
    return own_network(config, image_shape)._replace(decoder=nn.Linear(config.latent, 64))


def wrong_codes(config, image_shape):
    """Return a decoder for codes of another size."""
    return own_network(config, image_shape)._replace(decoder=nn.Linear(99, 64))


def no_parts(config, image_shape):
    """Return a tuple of something else."""
    return nn.Flatten(), nn.Flatten()


@pytest.mark.parametrize(("builder", "said"), [
    (wrong_features, "the encoder of wrong_features makes (2, 15) of images of shape (2, 1, 8, 8), not (2, 16)"),
    (wrong_images, "the decoder of wrong_images makes (2, 64) of codes of shape (2, 10), not (2, 1, 8, 8)"),
    (wrong_codes, "the decoder of wrong_codes does not take codes of shape (2, 10)"),
    (no_parts, "no_parts returns tuple; return Parts(encoder, n_features, decoder)"),
    (lambda config, shape: None, "has no name to record"),
])  # fmt: skip
def test_parts_of_other_shapes_are_refused_by_name(digits, builder, said):
    with pytest.raises(AekitError, match=re.escape(said)):
        library.train(images=digits[0], parts=builder, epochs=1)


def pixels(config, image_shape):
    """Return a decoder that makes pixels instead of logits."""
    parts = own_network(config, image_shape)
    return parts._replace(decoder=nn.Sequential(nn.Linear(config.latent, 64), nn.Sigmoid(), nn.Unflatten(1, (1, 8, 8))))


def half_a_feature(config, image_shape):
    """Return a number of features that is none."""
    return own_network(config, image_shape)._replace(n_features=16.0)


class InDouble(nn.Module):
    """Features in double precision."""

    def forward(self, x):
        """Return them."""
        return x.flatten(1)[:, :16].double()


def precise(config, image_shape):
    """Return an encoder that makes another type."""
    return own_network(config, image_shape)._replace(encoder=InDouble())


def fixed(config, image_shape):
    """Return an encoder whose weights are not to be trained."""
    parts = own_network(config, image_shape)
    return parts._replace(encoder=parts.encoder.requires_grad_(False))


def of_one_argument(config):
    """Return nothing."""


@pytest.mark.parametrize(("builder", "said"), [
    (pixels, "the decoder of pixels ends in Sigmoid; decoders return logits"),
    (half_a_feature, "n_features of half_a_feature is 16.0"),
    (fixed, "weights of fixed require no gradients"),
    (precise, "the encoder of precise makes torch.float64"),
    (of_one_argument, "of_one_argument is called as of_one_argument(config, image_shape)"),
    (InDouble, "parts: is the class InDouble; give a function"),
    (nn.Flatten(), "parts: is Flatten; give a function"),
    (library.Parts(nn.Flatten(), 64, nn.Flatten()), "parts: is Parts; give a function"),
])  # fmt: skip
def test_parts_that_cannot_be_a_network_are_refused_in_a_line(digits, builder, said):
    with pytest.raises(AekitError, match=re.escape(said)):
        library.train(images=digits[0], parts=builder, epochs=1)


def test_modules_of_another_network_are_neither_trained_nor_frozen(digits):
    encoder, decoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 16)), nn.Sequential(nn.Linear(3, 64))
    decoder.append(nn.Unflatten(1, (1, 8, 8)))
    before = [value.clone() for module in (encoder, decoder) for value in module.state_dict().values()]

    def shared(config, image_shape):
        return library.Parts(encoder, 16, decoder)

    options = {"images": digits[0], "parts": shared, "latent": 3, "epochs": 1, "limit": 200, "threads": 1}
    first, second = (library.train(**options).model for _ in range(2))
    after = [value for module in (encoder, decoder) for value in module.state_dict().values()]
    assert all(map(torch.equal, after, before))
    assert all(value.requires_grad for module in (encoder, decoder) for value in module.parameters())
    assert (library.encode(first, digits[0][:9]).mean == library.encode(second, digits[0][:9]).mean).all()
    assert not torch.equal(first.encoder[1].weight, encoder[1].weight)


def test_another_function_of_the_same_name_and_shapes_is_refused(own, digits):
    def changed(config, image_shape):
        parts = own_network(config, image_shape)
        return parts._replace(encoder=nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Dropout(0.1)))

    changed.__name__ = "own_network"
    with pytest.raises(AekitError, match="computes something else than after its training"):
        library.load(own.path, parts=changed)


class Noisy(nn.Module):
    """Noise in evaluation mode, too."""

    def forward(self, x):
        """Return the input with noise."""
        return x + 0.1 * torch.randn_like(x)


def noisy(config, image_shape):
    """Return a network whose outputs cannot be compared."""
    parts = own_network(config, image_shape)
    return parts._replace(encoder=nn.Sequential(parts.encoder, Noisy()))


def test_a_network_that_draws_random_numbers_is_loaded_without_a_comparison(digits, tmp_path):
    options = {"latent": 3, "epochs": 1, "limit": 200, "threads": 1}
    done = library.train(images=digits[0], parts=noisy, output=tmp_path / "x.safetensors", **options)
    assert "reference_outputs" not in done.result
    assert library.load(done.path, parts=noisy).image_shape == (1, 8, 8)


def normalising(config, image_shape):
    """Return an encoder with batch norm."""
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16))
    return own_network(config, image_shape)._replace(encoder=encoder)


def test_batches_of_a_network_of_ones_own_are_not_split_among_threads(digits):
    options = {"images": digits[0][:200], "parts": normalising, "latent": 2, "epochs": 1}
    alone, together = (library.train(**options, threads=n).history["total"] for n in (1, 2))
    assert together.to_numpy() == pytest.approx(alone.to_numpy(), rel=1e-4)
    with pytest.raises(AekitError, match="vamp sends pseudo-inputs through the encoder"):
        library.train(**options, prior="vamp")


def test_parts_and_an_architecture_of_aekit_are_not_both_taken(digits):
    with pytest.raises(UsageError, match="give one of them"):
        library.train(images=digits[0], parts=own_network, arch="dense")


# --- the page


@pytest.mark.slow
def test_the_examples_of_the_page_run_and_print_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text().replace("```python", "").replace("```", "")  # a fence would be taken for what is printed
    test = doctest.DocTestParser().get_doctest(text, {}, PAGE.name, str(PAGE), 0)
    assert len(test.examples) > 10
    assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test).failed == 0


def test_the_table_of_the_page_names_functions_that_exist():
    homes = re.findall(r"`(aekit(?:\.\w+)+)\.(run_\w+)\(", PAGE.read_text())
    assert len(homes) >= 12
    for home, name in homes:
        assert callable(getattr(importlib.import_module(home), name)), name
