"""The settings of a run: what is refused, and how they become a name and a command that lead back to them."""

from __future__ import annotations

import re
import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refusal import check_refused

from aekit.errors import AekitError, UsageError
from aekit.images.config import DataConfig, ModelConfig, RunConfig, TrainConfig, parse_image_size
from aekit.images.run_settings import SETTINGS, build_config, command_words, flat, run_name
from aekit.images.sweep.cells import expand

DEFAULTS = {"model": "vae", "data": "digits", "latent": "10"}
REFUSED = [
    (DataConfig, {"image_size": (8, 4097)}, "--image-size: 8x4097 is outside 8 to 4096 pixels"),
    (DataConfig, {"image_size": (8,)}, "image_size: (8,) is not a pair of whole numbers"),
    (DataConfig, {"val": float("nan")}, "--val: nan is outside"),
    (DataConfig, {"split_seed": -1}, "--split-seed: -1"),
    (ModelConfig, {"kind": "brain"}, "--kind"),
    (ModelConfig, {"width": 0}, "--width: 0 is below 1"),
    (ModelConfig, {"kind": "vae", "loss": "mse"}, "--loss: mse is not a log-likelihood"),
    (TrainConfig, {"batch_size": 0}, "--batch-size: 0 is below 1"),
    (TrainConfig, {"lr": float("inf")}, "--lr: inf is not a positive number"),
    (TrainConfig, {"weight_decay": -0.1}, "--weight-decay: -0.1"),
    (TrainConfig, {"keep": "first"}, "--keep"),
    (TrainConfig, {"seed": 2**32}, "--seed: 4294967296"),
    (ModelConfig, {"prior": "flow"}, "--prior"),
    (ModelConfig, {"kind": "ae", "prior": "vamp"}, "--prior, --stochastic-layers: a plain autoencoder has no prior"),
    (ModelConfig, {"components": 5}, "--components: the standard normal has none; add --prior mixture"),
    (ModelConfig, {"prior": "vamp", "components": 0}, "--components: 0 is below 1"),
    (ModelConfig, {"stochastic_layers": 3}, "--stochastic-layers: 3 is not possible; give 1 or 2"),
    (ModelConfig, {"lower_latent": 5}, "--lower-latent: there is one layer of latent variables"),
    (TrainConfig, {"objective": "hvae"}, "--objective"),
    (TrainConfig, {"samples": 5}, "--samples: --objective elbo takes one sample per image; add --objective iwae"),
    (TrainConfig, {"objective": "iwae", "samples": 0}, "--samples: 0 is below 1"),
    (TrainConfig, {"dreg": True}, "--dreg: --objective elbo has no such gradients; add --objective iwae"),
    (TrainConfig, {"objective": "iwae", "beta": 2.0}, "--beta, --beta-warmup: the bound of --objective iwae has no"),
    (TrainConfig, {"capacity": -1.0}, "--capacity: -1"),
    (TrainConfig, {"capacity_warmup": 1.0}, "--capacity-warmup: there is no capacity to reach"),
    (TrainConfig, {"capacity": 5.0, "capacity_warmup": 11.0}, "--capacity-warmup: 11 epochs are more than the 10"),
    (TrainConfig, {"objective": "dip-i", "batch_size": 1}, "--batch-size: --objective dip-i compares the codes of a"),
    (TrainConfig, {"objective": "factor", "batch_size": 3}, "give 4 or more images"),
    (TrainConfig, {"objective": "mmd", "capacity": 5.0}, "--capacity: is for --objective elbo, not mmd"),
    (TrainConfig, {"objective": "iwae", "free_bits": 1.0}, "--free-bits: is for --objective elbo, not iwae"),
    (TrainConfig, {"capacity": 5.0, "free_bits": 1.0}, "--capacity: cannot be combined with --free-bits"),
    (TrainConfig, {"capacity": 5.0, "beta_warmup": 1.0}, "--capacity: cannot be combined with"),
    (TrainConfig, {"capacity": float("nan")}, "--capacity: nan is not a finite number"),
    (TrainConfig, {"free_bits": -1.0}, "--free-bits: -1.0 is below 0"),
    (TrainConfig, {"capacity": 5.0, "beta": 0.0}, "--capacity: --beta 0 does not weigh the KL divergence at all"),
    (TrainConfig, {"epochs": 2, "beta_warmup": 2.5}, "--beta-warmup: 2.5 epochs are more than the 2"),
]

# Some values of settings of each kind: numbers, choices, flags, sizes, and those without a value of their own.
_VALUES = {
    "model": st.sampled_from(["ae", "vae"]),
    "data": st.sampled_from(["digits", "mnist"]),
    "image_size": st.sampled_from([None, (16, 16), (16, 12)]),
    "grayscale": st.booleans(),
    "limit": st.none() | st.integers(1, 99),
    "val": st.sampled_from([0.0, 0.1, 0.25]),
    "latent": st.integers(1, 12),
    "width": st.none() | st.integers(1, 64),
    "loss": st.sampled_from(["bernoulli", "gaussian"]),
    "lr": st.none() | st.floats(1e-6, 1.0),
    "beta_warmup": st.sampled_from([0.0, 0.5, 3.0]),
    "mirror": st.booleans(),
    "seed": st.integers(0, 2**32 - 1),
}
configs = st.fixed_dictionaries(_VALUES).map(build_config)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"model": "ae", "objective": "mmd"}, "--objective: mmd is for a VAE"),
        ({"objective": "beta-tc", "prior": "vamp"}, "--objective beta-tc: is defined for a standard normal prior"),
        ({"capacity": 5.0, "prior": "mixture"}, "--capacity: is defined for a standard normal prior"),
        ({"free_bits": 0.5, "stochastic_layers": 2}, "--free-bits: is for one layer of latent variables"),
        ({"objective": "iwae", "dreg": True, "compile": True}, "--dreg: changes gradients inside the network"),
        ({"binarize": "dynamic", "loss": "gaussian"}, "--binarize: dynamic makes pixels black or white"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(values, said):
    with pytest.raises(UsageError, match=f"^{said}"):
        build_config(values)


@pytest.mark.parametrize(("cls", "values", "said"), REFUSED)
def test_what_cannot_be_is_refused_by_the_name_of_its_option(cls, values, said):
    check_refused(cls, values, said)


@pytest.mark.parametrize(
    ("model", "train", "said"),
    [
        ({"latent": 1}, {"objective": "beta-tc"}, "one dimension does not have; give --latent 2 or more"),
        ({"latent": 1}, {"objective": "factor"}, "one dimension does not have; give --latent 2 or more"),
        ({"prior": "vamp"}, {"objective": "beta-tc"}, "--objective beta-tc: is defined for a standard normal prior"),
        ({"stochastic_layers": 2}, {"free_bits": 0.1}, "--free-bits: is for one layer of latent variables"),
        ({"kind": "ae"}, {"objective": "mmd"}, "--objective: mmd is for a VAE"),
    ],
)
def test_objectives_that_a_network_cannot_have_are_refused(model, train, said):
    with pytest.raises(AekitError, match=re.escape(said)):
        RunConfig(model=ModelConfig(**model), train=TrainConfig(**train))


def test_the_ends_of_what_is_allowed_pass():
    assert DataConfig(image_size=[8, 4096], val=0.0).image_size == (8, 4096)
    assert ModelConfig(kind="ae", loss="mse").loss == "mse"
    assert TrainConfig(epochs=2, beta_warmup=2.0, seed=2**32 - 1).beta_warmup == 2.0


def test_every_setting_is_in_the_part_and_under_the_name_that_the_table_says():
    config = build_config({"data": "digits", "model": "ae", "latent": 3, "seed": 7})
    assert (config.data.name, config.model.kind, config.model.latent, config.train.seed) == ("digits", "ae", 3, 7)
    assert len(flat(config)) == len(SETTINGS) == sum(len(vars(part)) for part in vars(config).values())


@settings(max_examples=25)
@given(configs)
def test_the_command_of_a_run_describes_the_same_run(config):
    program, command, *words = command_words(config)
    assert (program, command) == ("aekit", f"train-{config.model.kind}")
    texts, name = {"model": config.model.kind}, None
    for word in words:
        if word.startswith("--"):
            name = word.removeprefix("--").replace("-", "_")
            texts[name] = True
        else:
            texts[name] = word
    # Without a KL divergence nothing depends on its warm-up, which a plain autoencoder's command does not take.
    if config.model.kind == "ae":
        texts.pop("beta_warmup", None)
    ((found,), _) = expand(texts)
    assert flat(found) | {"beta_warmup": config.train.beta_warmup} == flat(config)


def test_sizes_flags_and_open_options_find_their_way_to_the_command_line():
    (config,), _ = expand(DEFAULTS | {"image_size": "16x12", "grayscale": True, "lr": "0.002", "compile": False})
    words = command_words(config)
    assert words[:2] == ["aekit", "train-vae"]
    assert shlex.join(words[2:]) == "--data digits --image-size 16x12 --grayscale --lr 0.002"


@settings(max_examples=25)
@given(configs, st.data())
def test_runs_have_the_same_name_exactly_if_their_settings_are_the_same(config, data):
    name = data.draw(st.sampled_from(sorted(_VALUES)))
    other = build_config(flat(config) | {name: data.draw(_VALUES[name])})
    assert (run_name(config) == run_name(other)) == (config == other)


def test_a_name_begins_with_what_matters_and_goes_on_with_what_is_unusual():
    assert run_name(RunConfig()) == "vae-mnist-conv-z10"
    config = RunConfig(
        ModelConfig(kind="ae", arch="dense", latent=3, layers=2),
        DataConfig(name="photos/faces.npy", image_size=(16, 12)),
        TrainConfig(mirror=True, lr=1e-5),
    )
    assert run_name(config) == "ae-faces-dense-z3-layers2-imagesize16x12-lr1e-05-mirror"
    assert run_name(RunConfig(data=DataConfig(name="/"))) == "vae-data-conv-z10"


@pytest.mark.parametrize(("text", "size"), [(None, None), ("64", (64, 64)), ("218x178", (218, 178)), ("9X10", (9, 10))])
def test_a_size_is_one_number_or_height_and_width(text, size):
    assert parse_image_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "64x", "8x8x8", "8.5", "-8", " 8", "²", "9" * 5000])
def test_anything_else_is_not_a_size(text):
    with pytest.raises(AekitError, match=r"^--image-size: .* is not a size; give one number or HEIGHTxWIDTH"):
        parse_image_size(text)
