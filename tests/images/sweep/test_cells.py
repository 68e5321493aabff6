"""Options that take several values span a grid of every combination, each once."""

from __future__ import annotations

import pytest

from aekit.errors import AekitError, UsageError
from aekit.images.sweep.cells import expand

DEFAULTS = {"model": "vae", "data": "digits", "latent": "10"}


@pytest.mark.parametrize(
    ("text", "values"),
    [("7", [7]), ("2-5", [2, 3, 4, 5]), ("2-30:10", [2, 12, 22]), ("1,5-6,50", [1, 5, 6, 50]), ("3-3", [3])],
)
def test_whole_numbers_come_as_lists_and_ranges(text, values):
    configs, _ = expand(DEFAULTS | {"latent": text})
    assert [config.model.latent for config in configs] == values


def test_a_grid_has_every_combination_once_and_the_last_option_changes_fastest():
    configs, swept = expand(DEFAULTS | {"latent": "2,2,4", "beta": "0.5,2", "seed": "0-1"})
    cells = [(config.train.beta, config.model.latent, config.train.seed) for config in configs]
    assert sorted(cells) == [(b, d, s) for b in (0.5, 2) for d in (2, 4) for s in (0, 1)]
    assert [seed for *_, seed in cells] == [0, 1] * 4
    assert set(swept) == {"beta", "latent", "seed"}


def test_a_plain_autoencoder_has_no_beta_and_so_one_cell_where_a_vae_has_several():
    configs, _ = expand(DEFAULTS | {"model": "ae,vae", "beta": "0.5,2"})
    assert [config.model.kind for config in configs] == ["ae", "vae", "vae"]
    with pytest.raises(UsageError, match="only a VAE has it"):
        expand(DEFAULTS | {"model": "ae", "beta": "0.5,2"})


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("latent", "a"),
        ("latent", "5-2"),
        ("latent", "2-9:0"),
        ("latent", "1,,2"),
        ("latent", "9" * 5000),
        ("beta", "0.1,x"),
        ("arch", "conf"),
    ],
)
def test_a_value_that_cannot_be_read_is_a_usage_error(option, text):
    with pytest.raises(UsageError, match=f"^--{option}: "):
        expand(DEFAULTS | {option: text})


def test_a_choice_that_is_left_open_by_default_is_swept_like_any_other():
    configs, swept = expand(DEFAULTS | {"optimizer": "adamw, muon", "schedule": "linear"})
    assert [config.train.optimizer for config in configs] == ["adamw", "muon"]
    assert {config.train.schedule for config in configs} == {"linear"}
    assert "optimizer" in swept
    with pytest.raises(UsageError, match="--optimizer: 'sgd' is not one of adamw, muon"):
        expand(DEFAULTS | {"optimizer": "adamw,sgd"})


def test_a_range_that_no_memory_holds_is_refused_before_it_is_spelled_out():
    with pytest.raises(UsageError, match=r"^--seed: '0-999999999999' has more than 100,000 values"):
        expand(DEFAULTS | {"seed": "0-999999999999"})
    configs, _ = expand(DEFAULTS | {"seed": "0-999999999:500000000"})
    assert [config.train.seed for config in configs] == [0, 500_000_000]


@pytest.mark.parametrize(
    ("options", "cell"),
    [
        ({"objective": "elbo,iwae", "samples": "1,4"}, "--objective elbo --samples 1"),
        ({"prior": "normal,mixture", "components": "3,5"}, "--prior normal --components 3"),
        ({"objective": "elbo,iwae", "beta": "1,4"}, "--objective iwae --beta 4"),
    ],
)
def test_a_grid_of_which_some_cells_make_no_sense_names_one_and_says_to_sweep_apart(options, cell):
    with pytest.raises(UsageError, match=rf"\(the cell {cell}\); other cells can be trained: sweep them apart"):
        expand({"model": "vae", "latent": "2", **options})


def test_a_grid_without_any_sensible_cell_says_what_is_wrong_with_the_first():
    with pytest.raises(UsageError, match=r"add --objective iwae$"):
        expand({"model": "vae", "latent": "2,3", "samples": "4"})


def test_a_value_that_no_run_takes_ends_the_sweep_before_it_begins():
    with pytest.raises(AekitError, match="--latent: 0 is below 1"):
        expand(DEFAULTS | {"latent": "0,2"})
