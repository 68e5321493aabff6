"""Which class a conditional network is told for an image: by name, and refused where there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_training import StopAfter, train_tiny

from aekit.core.checkpoint import read_header
from aekit.errors import AekitError, Stopped
from aekit.images.conditioning import build_loader, choose_classes, class_numbers, one_class, training_classes
from aekit.images.config import ModelConfig
from aekit.images.data.image_set import ImageSet
from aekit.images.inference import decode_codes, encode_images, reconstruct_images
from aekit.images.measures.importance import importance_bound
from aekit.images.measures.per_image import evaluate_images
from aekit.images.models import build_model
from aekit.images.state import read_model

CONDITIONAL = ModelConfig(arch="dense", latent=2, width=8, condition="label")
NAMES = ("cat", "dog", "owl")


def _images(labels, names=NAMES) -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (len(labels), 1, 8, 8), dtype=np.uint8)
    return ImageSet(pixels, "pets", labels=np.array(labels), class_names=names)


def _model(names=NAMES):
    torch.manual_seed(0)
    model = build_model(CONDITIONAL, (1, 8, 8), names)
    with torch.no_grad():
        model.classes.images.normal_()
    return model


def test_the_classes_are_those_of_the_training_images():
    sets = {"train": _images([2, 0, 2]), "test": _images([0])}
    assert training_classes(CONDITIONAL, sets) == ("cat", "owl")
    assert training_classes(replace(CONDITIONAL, condition="none"), sets) == ()
    assert training_classes(CONDITIONAL, {"train": _images([4, 7], ())}) == ("4", "7")


def test_images_without_classes_and_classes_that_train_lacks_are_refused_by_name():
    with pytest.raises(AekitError, match="the test images of pets have no classes"):
        training_classes(CONDITIONAL, {"train": _images([0]), "test": replace(_images([0]), labels=None)})
    with pytest.raises(AekitError, match="val has images of class dog, train has none"):
        training_classes(CONDITIONAL, {"train": _images([0]), "val": _images([1])})


def test_images_with_other_numbers_for_the_same_classes_are_told_by_name():
    other = _images([1, 0, 1], ("owl", "cat"))
    assert class_numbers(_model(), other).tolist() == [0, 2, 0]
    with pytest.raises(AekitError, match="knows the classes cat, dog, owl, and pets has bat"):
        class_numbers(_model(), _images([0], ("bat",)))
    with pytest.raises(AekitError, match="those of pets have none"):
        class_numbers(_model(), replace(other, labels=None))


def test_classes_are_chosen_by_name():
    model = _model(("cat", "dog", "a, b"))
    assert choose_classes(model, None) == [0, 1, 2]
    assert choose_classes(model, "dog,cat,dog") == [1, 0]
    assert choose_classes(model, "a, b") == [2]
    assert choose_classes(model, "dog, a, b") == [1, 2]
    with pytest.raises(AekitError, match="empty item"):
        choose_classes(model, "")
    assert one_class(model, "cat", "--traverse") == 0
    for text in (None, "cat,dog"):
        with pytest.raises(AekitError, match="--traverse: the model decodes a code as a class; add --label"):
            one_class(model, text, "--traverse")
    with pytest.raises(AekitError, match="--label bird: the model has no such class"):
        choose_classes(model, "bird")
    plain = build_model(ModelConfig(arch="dense", latent=2, width=8), (1, 8, 8))
    assert one_class(plain, None, "--traverse") is None
    with pytest.raises(AekitError, match="was not trained with --condition label"):
        choose_classes(plain, "cat")


def test_a_loader_gives_each_image_its_class_in_any_order():
    loader = build_loader(_model(), _images([2, 0, 1, 1]), torch.device("cpu"))
    assert loader.classes(torch.tensor([3, 0])).tolist() == [1, 2]
    found = [label.tolist() for _, label in loader.in_order_with_classes(3)]
    assert found == [[2, 0, 1], [1]]


def test_what_is_measured_of_an_image_is_measured_given_its_class():
    model, images = _model(), _images([2, 0, 1, 1, 0])
    wrong = replace(images, labels=np.array([0, 0, 0, 0, 0]))
    codes = encode_images(model, images).mean
    with torch.no_grad():
        x = torch.from_numpy(images.images).float() / 255
        np.testing.assert_allclose(codes, model.encode(x, torch.tensor([2, 0, 1, 1, 0])), rtol=1e-5)
    np.testing.assert_allclose(
        reconstruct_images(model, images), decode_codes(model, codes, labels=images.labels), atol=1e-6
    )
    own, other = evaluate_images(model, images).total, evaluate_images(model, wrong).total
    np.testing.assert_allclose(own[[1, 4]], other[[1, 4]], rtol=1e-5)
    assert (np.abs(own - other)[[0, 2, 3]] > 1e-3).all()
    bound, other_bound = (importance_bound(model, each, n_samples=2).log_p for each in (images, wrong))
    np.testing.assert_allclose(bound[[1, 4]], other_bound[[1, 4]], rtol=1e-5)
    assert (np.abs(bound - other_bound)[[0, 2, 3]] > 1e-3).all()


@pytest.mark.slow
def test_training_records_the_classes_and_does_not_depend_on_threads_or_interruption(tmp_path):
    settings = {"condition": "label", "epochs": 2, "precision": "fp32"}  # bf16 rounds parts of a batch differently
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    train_tiny(one, **settings)
    train_tiny(two, threads=2, **settings)
    first, _ = read_model(one, torch.device("cpu"))
    second, _ = read_model(two, torch.device("cpu"))
    for name, value in first.state_dict().items():
        torch.testing.assert_close(value, second.state_dict()[name], rtol=1e-4, atol=1e-5)
    assert read_header(one).data["class_names"] == list("0123456789")
    assert first.classes.names == tuple("0123456789")
    assert first.classes.images.abs().max() > 1e-3
    plain = train_tiny(tmp_path / "plain.safetensors", epochs=1)
    assert "condition" not in plain.model
    assert "class_names" not in plain.data


@pytest.mark.slow
def test_a_conditional_run_that_is_stopped_and_resumed_ends_with_the_same_bytes(tmp_path):
    settings = {"condition": "label", "binarize": "dynamic", "mirror": True}
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    train_tiny(whole, **settings)
    with pytest.raises(Stopped):
        train_tiny(parts, progress=StopAfter(4), **settings)
    train_tiny(parts, resume=True, **settings)
    assert whole.read_bytes() == parts.read_bytes()
