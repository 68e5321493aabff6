"""Checkpoints that do not compare: the setting of the data in which they differ is said as on the command line."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from aekit.core.checkpoint import Header
from aekit.errors import AekitError
from aekit.images.config import DataConfig, ModelConfig, TrainConfig
from aekit.images.differences import check_same_images, label_checkpoints
from aekit.images.record import Checkpoints, RunRecord


def records(*configs):
    found = [
        RunRecord(ModelConfig(), config, TrainConfig(), (1, 8, 8), {"train": str(number)})
        for number, config in enumerate(configs)
    ]
    paths = [Path(f"{number}.safetensors") for number in range(len(configs))]
    return Checkpoints(paths, [Header({}, {}, {})] * len(configs), found)


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ({}, {"limit": 100}, "--limit 100, not without --limit"),
        ({"limit": 100}, {}, "without --limit, not --limit 100"),
        ({"limit": 100}, {"limit": 50}, "--limit 50, not 100"),
        ({"image_size": (64, 48)}, {"image_size": (32, 32)}, "--image-size 32x32, not 64x48"),
        ({"image_size": (64, 48)}, {}, "without --image-size, not --image-size 64x48"),
        ({"grayscale": True}, {}, "without --grayscale, not --grayscale"),
        ({}, {"skip_bad": True}, "--skip-bad, not without --skip-bad"),
        ({}, {"val": 0.2}, "--val 0.2, not 0.0"),
        ({"val": 0.2}, {}, "--val 0.0, not 0.2"),
        ({"name": "a"}, {"name": "b"}, "--data b, not a"),
        ({"labels": "a.csv"}, {}, "the files differ"),  # labels change no image
        ({"labels": "a.csv"}, {"labels": "b.csv", "split_seed": 1}, "--split-seed 1, not 0"),
    ],
)
def test_the_setting_that_makes_images_others_is_said_in_words(first, second, said):
    both = records(DataConfig(**first), DataConfig(**second))
    with pytest.raises(AekitError, match=re.escape(f"different images from 0.safetensors ({said}); compare them")):
        check_same_images(both, ["train"])
    check_same_images(both, [])


def test_a_label_names_the_condition_and_not_each_of_its_classes():
    plain = Header({"kind": "vae", "arch": "conv", "latent": 2}, {"name": "x"}, {})
    told = Header({**plain.model, "condition": "label"}, {"name": "x", "class_names": ["a", "b"]}, {})
    both = records(DataConfig(), DataConfig())._replace(headers=[plain, told])
    assert label_checkpoints(both)[1].endswith("condition label")


def test_a_label_names_the_objective_of_a_model_whose_header_leaves_it_out():
    plain = Header({"kind": "vae", "arch": "conv", "latent": 2}, {"name": "x"}, {"epochs": 3})
    weighted = replace(plain, train={"epochs": 3, "objective": "iwae", "samples": 5, "dreg": True})
    found = records(DataConfig(), DataConfig())
    vaes = [replace(record, model=ModelConfig(kind="vae")) for record in found.records]
    first, second = label_checkpoints(found._replace(headers=[plain, weighted], records=vaes))
    assert first.endswith("objective elbo")
    assert second.endswith("objective iwae, samples 5, dreg")


def test_a_label_names_the_one_layer_of_a_model_whose_header_leaves_it_out():
    plain = Header({"kind": "vae", "arch": "conv", "latent": 2}, {"name": "x"}, {"dreg": True})
    layered = replace(plain, model={**plain.model, "stochastic_layers": 2, "lower_latent": 4}, train={})
    found = records(DataConfig(), DataConfig())
    vaes = [replace(record, model=ModelConfig(kind="vae")) for record in found.records]
    first, second = label_checkpoints(found._replace(headers=[plain, layered], records=vaes))
    assert (first, second) == ("stochastic layers 1, dreg", "stochastic layers 2, lower latent 4")
