"""A session: each header is parsed once, each file's weights are hashed once, however many checkpoints there are."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from recorded import Recorded
from safetensors.torch import load_file
from small_checkpoint import dense_header

from aekit.core import checkpoint as checkpoint_module
from aekit.core import weights as weights_module
from aekit.core.checkpoint import read_header
from aekit.core.weights import read_tensors, write_checkpoint
from aekit.errors import AekitError
from aekit.images.config import ModelConfig
from aekit.images.evaluation.encode import run_encode
from aekit.images.evaluation.evaluate import run_evaluate
from aekit.images.evaluation.reconstruct import run_reconstruct
from aekit.images.evaluation.sample import run_sample
from aekit.images.models import build_model
from aekit.images.run_settings import build_config
from aekit.images.runs import Machine, run_training
from aekit.images.session import open_session
from aekit.images.state import read_model
from aekit.images.tsne.study import run_tsne


class Notes:
    """Progress that keeps what it was told."""

    def __init__(self):
        self.notices = []

    def update(self, what, done, total, *, lane="", detail=None):
        pass

    def notice(self, text):
        self.notices.append(text)

    def table(self, title, columns, rows):
        pass

    def should_stop(self):
        return None


@pytest.fixture
def counted(monkeypatch):
    """Count how often a header is parsed and weights are hashed, by file."""
    counts = {"parsed": 0, "hashed": 0}
    parse, digest = checkpoint_module._parse_metadata, weights_module._sha256

    def counted_parse(path, text):
        counts["parsed"] += 1
        return parse(path, text)

    def counted_digest(header, tensors):
        counts["hashed"] += 1
        return digest(header, tensors)

    monkeypatch.setattr(checkpoint_module, "_parse_metadata", counted_parse)
    monkeypatch.setattr(weights_module, "_sha256", counted_digest)
    return counts


@pytest.mark.parametrize("n", [1, 3])
def test_a_header_is_parsed_once_and_its_weights_are_hashed_once(vae_checkpoint, tmp_path, counted, n):
    paths = [shutil.copy(vae_checkpoint, tmp_path / f"{i}.safetensors") for i in range(n)]
    session = open_session(paths, device="cpu")
    session.check_comparable(["test"])
    session.labels()
    loaded = list(session.checkpoints())
    for each in loaded:
        session.images(each, "test")
    assert counted == {"parsed": n, "hashed": n}
    assert [each.path for each in loaded] == session.paths


def test_a_file_that_changed_after_it_was_checked_is_checked_again(vae_checkpoint, tmp_path):
    paths = [shutil.copy(vae_checkpoint, tmp_path / f"{i}.safetensors") for i in range(2)]
    session = open_session(paths, device="cpu")
    session.check_comparable(["test"])
    content = bytearray(paths[1].read_bytes())
    content[-1] ^= 1
    paths[1].write_bytes(content)
    with pytest.raises(AekitError, match=r"1\.safetensors: was damaged after it was written"):
        list(session.checkpoints())


def test_what_is_named_twice_or_unfinished_is_reported_and_left_out(vae_checkpoint, tmp_path):
    first = shutil.copy(vae_checkpoint, tmp_path / "x.safetensors")
    unfinished = shutil.copy(vae_checkpoint, tmp_path / "x.resume.safetensors")
    notes = Notes()
    session = open_session([first, unfinished, first], device="cpu", progress=notes)
    assert session.paths == [first]
    assert [str(unfinished) in notes.notices[0], str(first) in notes.notices[1]] == [True, True]


def test_labels_name_the_settings_that_differ(vae_checkpoint, ae_checkpoint):
    session = open_session([vae_checkpoint, ae_checkpoint], device="cpu")
    assert session.labels() == ["vae, latent 2, val 0.2", "ae, latent 3, val 0"]


def test_labels_name_a_table_of_labels_and_not_its_fingerprint(ae_checkpoint, tmp_path):
    header = read_header(ae_checkpoint)
    tensors = read_tensors(ae_checkpoint, header)
    table = {"labels": "kinds.csv", "labels_fingerprint": "0" * 64}
    labelled = replace(header, data=header.data | table)
    begun = replace(header, train=header.train | {"init": "a.safetensors"})
    paths = [write_checkpoint(tmp_path / f"{i}.safetensors", tensors, one) for i, one in enumerate((labelled, begun))]
    session = open_session([ae_checkpoint, *paths], device="cpu")
    assert session.labels() == [
        "ae conv, latent 3",
        "ae conv, latent 3, labels kinds.csv",
        "ae conv, latent 3, init a.safetensors",
    ]


def test_labels_name_what_only_some_files_have_and_no_fingerprints(vae_checkpoint, tmp_path):
    path = tmp_path / "other.safetensors"
    model, header = read_model(vae_checkpoint, torch.device("cpu"))
    header.train.update({"init": "first.safetensors"})
    header.data.update({"labels": "kinds.csv", "labels_fingerprint": "0" * 64})
    write_checkpoint(path, dict(model.state_dict()), header)
    for order in ((vae_checkpoint, path), (path, vae_checkpoint)):
        own = open_session(list(order), device="cpu").labels()[order.index(path)]
        assert own.endswith("init first.safetensors, labels kinds.csv")
        assert open_session(list(order), device="cpu").labels()[order.index(vae_checkpoint)] == "vae conv, latent 2"


def test_the_codes_of_a_session_are_those_of_the_model(ae_checkpoint):
    session = open_session([ae_checkpoint], device="cpu")
    (loaded,) = session.checkpoints()
    images = session.images(loaded, "test")
    with torch.no_grad():
        x = torch.from_numpy(images.take(range(len(images)))).float() / 255
        expected = loaded.model.encode(x)
    assert torch.allclose(torch.from_numpy(loaded.encode(images).mean), expected, atol=1e-5)


def test_checkpoints_are_called_by_what_tells_them_apart(aekit, vae_checkpoint, ae_checkpoint, tmp_path):
    assert open_session([vae_checkpoint]).labels() == ["vae"]
    (first, *_), (second, *_) = (label.split(", ") for label in open_session([vae_checkpoint, ae_checkpoint]).labels())
    assert (first, second) == ("vae", "ae")
    assert "latent 3" in open_session([vae_checkpoint, ae_checkpoint]).labels()[1]
    copy = tmp_path / "copy.safetensors"
    shutil.copy(ae_checkpoint, copy)
    assert open_session([ae_checkpoint, copy]).labels() == ["ae", "copy"]


def test_checkpoints_of_other_images_are_not_compared(aekit, vae_checkpoint, ae_checkpoint, tmp_path):
    open_session([vae_checkpoint, ae_checkpoint]).check_comparable(["test"])
    with pytest.raises(AekitError, match="trained on different images"):  # one of them set a part aside for validation
        open_session([vae_checkpoint, ae_checkpoint]).check_comparable(["train"])
    open_session([vae_checkpoint, ae_checkpoint], data="elsewhere").check_comparable(["train"])
    large = tmp_path / "large.safetensors"
    options = ["--data", "digits", "--image-size", 12, "--limit", 30, "--epochs", 1, "-q"]
    assert aekit("train-ae", *options, "-o", large).exit_code == 0
    with pytest.raises(
        AekitError,
        match=r"of height 12, width 12, 1 channel; .*vae.safetensors of height 8, .*; compare them separately",
    ):
        open_session([vae_checkpoint, large], data="elsewhere").check_comparable([])


def test_a_session_of_no_checkpoint_is_refused_and_a_single_path_is_one(vae_checkpoint):
    with pytest.raises(AekitError, match="give at least one path"):
        open_session([])
    assert open_session(str(vae_checkpoint), device="cpu").paths == [vae_checkpoint]


@pytest.mark.parametrize(
    ("study", "options", "message"),
    [
        (run_evaluate, {"importance": 0}, "--importance: 0 is below 1"),
        (run_reconstruct, {"n": 0}, "--images: 0 is below 1"),
        (run_sample, {"n": 0}, "--images: 0 is below 1"),
        (run_tsne, {"method": "umap"}, "--method: 'umap' is not one of tsne, pca"),
        (run_tsne, {"k": 0}, "--neighbours: 0 is below 1"),
        (run_encode, {"split": "foo"}, "--split: 'foo' is not one of train, val, test"),
    ],
)
def test_a_study_called_from_python_refuses_what_the_command_line_refuses(
    vae_checkpoint, tmp_path, study, options, message
):
    session = open_session([vae_checkpoint], device="cpu")
    with pytest.raises(AekitError, match=message):
        list(study(session, str(tmp_path / "out"), **options))
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.parametrize("n_images", [1, 2, 40])
def test_all_of_other_images_without_splits_are_studied(vae_checkpoint, tmp_path, n_images):
    pixels = np.random.default_rng(0).integers(0, 256, (n_images, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "new.npy", pixels)
    session = open_session([vae_checkpoint], data=str(tmp_path / "new.npy"), device="cpu")
    (checkpoint,) = session.checkpoints()
    for split in ("test", "train", "all"):
        np.testing.assert_array_equal(session.studied(checkpoint, split).images[:, 0], pixels)


def test_other_images_with_splits_keep_them(vae_checkpoint, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "new.npz", x_train=pixels, x_test=pixels[:2])
    session = open_session([vae_checkpoint], data=str(tmp_path / "new.npz"), device="cpu")
    (checkpoint,) = session.checkpoints()
    assert [len(session.studied(checkpoint, split)) for split in ("train", "test", "all")] == [7, 2, 11]


def test_images_of_the_training_at_another_place_have_its_splits(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8)
    for name in ("here", "there"):
        np.save(tmp_path / f"{name}.npy", pixels)
    config = build_config({"data": str(tmp_path / "here.npy"), "model": "ae", "latent": 2, "epochs": 1})
    path = run_training(config, tmp_path / "x.safetensors", Machine(tmp_path, "cpu", 1)).path
    session = open_session([path], data=str(tmp_path / "there.npy"), device="cpu")
    (checkpoint,) = session.checkpoints()
    assert [len(session.studied(checkpoint, split)) for split in ("train", "test", "all")] == [16, 4, 20]


def test_new_images_are_read_with_the_range_of_the_training(tmp_path):
    deep = np.random.default_rng(0).integers(100, 4000, (20, 8, 8), dtype=np.uint16)
    np.save(tmp_path / "deep.npy", deep)
    np.save(tmp_path / "new.npy", np.full((2, 8, 8), deep.max() // 2, np.uint16))
    options = {"data": str(tmp_path / "deep.npy"), "model": "ae", "latent": 2, "epochs": 1, "value_range": "data"}
    path = run_training(build_config(options), tmp_path / "x.safetensors", Machine(tmp_path, "cpu", 1)).path
    session = open_session([path], data=str(tmp_path / "new.npy"), device="cpu")
    (checkpoint,) = session.checkpoints()
    low, high = int(deep.min()), int(deep.max())
    expected = round((high // 2 - low) / (high - low) * 255)
    assert (session.studied(checkpoint, "test").images == expected).all()


def test_long_steps_are_named_by_the_result_of_the_study_that_runs(vae_checkpoint, ae_checkpoint, tmp_path):
    progress = Recorded()
    session = open_session([vae_checkpoint, ae_checkpoint], device="cpu", progress=progress)
    session.target(tmp_path / "first.png", name="tsne")
    session.progress.update("optimising", 1, 2)
    session.targets(tmp_path, name="manifold", suffixes=(".png",))
    session.progress.update("decoding", 1, 2)
    (one, _, _), (several, _, _) = progress.updates[-2:]
    assert one == f"{tmp_path / 'first'}: optimising"
    assert several == f"{tmp_path / vae_checkpoint.stem}.manifold and 1 other: decoding"


@pytest.fixture
def five_networks(tmp_path):
    """Return checkpoints, of which the second and the last are of the network of the one before."""
    vae = {"kind": "vae", "arch": "conv", "latent": 2}
    return [
        _untrained(tmp_path / f"{i}.safetensors", seed=i, **{**vae, **own})
        for i, own in enumerate([{}, {}, {"latent": 3}, {"kind": "ae", "latent": 3}, {"kind": "ae", "latent": 3}])
    ]


def _untrained(path, *, seed, **model):
    torch.manual_seed(seed)
    header = dense_header(width=None, **model)
    return write_checkpoint(path, build_model(ModelConfig(**model), (1, 28, 28)).state_dict(), header)


def test_a_network_that_takes_the_next_weights_computes_as_a_new_one(five_networks):
    x = torch.rand(3, 1, 28, 28)
    found = []
    for path, checkpoint in zip(five_networks, open_session(five_networks).checkpoints(in_place=True), strict=True):
        new = read_model(path, torch.device("cpu"))[0]
        assert torch.equal(checkpoint.model(x).x_hat_logits, new(x).x_hat_logits)
        assert (checkpoint.model.name, checkpoint.model.header) == (str(path), read_header(path))
        found.append(checkpoint.model)
    assert [a is b for a, b in pairwise(found)] == [True, False, False, True]


def test_networks_that_are_kept_stay_as_they_are(five_networks):
    first, second, *_ = list(open_session(five_networks).checkpoints())
    assert torch.equal(first.model.mean_head.weight, read_tensors(first.path, first.header)["mean_head.weight"])
    assert not torch.equal(first.model.mean_head.weight, second.model.mean_head.weight)


@pytest.mark.parametrize("in_place", [True, False])
def test_weights_of_another_network_than_their_header_says_are_refused(five_networks, in_place):
    header = replace(read_header(five_networks[0]), sha256=None)
    write_checkpoint(five_networks[1], load_file(five_networks[2]), header)
    checkpoints = open_session(five_networks[:2]).checkpoints(in_place=in_place)
    next(checkpoints)
    with pytest.raises(AekitError, match=r"1\.safetensors: its weights do not fit its header"):
        next(checkpoints)
