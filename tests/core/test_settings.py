"""Settings: how they are checked, turned into names and labels, and how several differ."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aekit.core.settings import (
    MAX_SEED,
    as_text,
    changes_in_name,
    check_at_least,
    check_choice,
    check_seed,
    differing_keys,
    flag,
    from_dict,
    in_words,
    is_whole_number,
    to_dict,
)
from aekit.errors import AekitError
from aekit.images.config import DataConfig, Loss, ModelConfig, TrainConfig


@pytest.mark.parametrize("value", [-1, 0.5, math.nan, math.inf])
def test_numbers_below_their_minimum_or_not_finite_are_refused_by_option(value):
    with pytest.raises(AekitError, match=r"^--epochs: .*; "):
        check_at_least("epochs", value, 1)


def test_what_is_allowed_passes():
    check_at_least("epochs", None, 1)
    check_at_least("epochs", 1, 1)
    check_choice("loss", "mse", Loss)
    check_seed("seed", MAX_SEED)
    for check in (lambda: check_choice("loss", "msd", Loss), lambda: check_seed("seed", MAX_SEED + 1)):
        with pytest.raises(AekitError):
            check()


def test_a_value_is_written_as_on_the_command_line():
    assert [as_text(value) for value in (1.0, 0.1, 1e-5, (64, 48), True, "x", 3)] == [
        "1", "0.1", "1e-05", "64x48", "True", "x", "3",
    ]  # fmt: skip
    assert as_text(0.123456789) == "0.123456789"  # no digit is lost
    assert flag("batch_size") == "--batch-size"


def test_a_whole_number_is_one_that_can_be_read():
    for text in ("0", "12", "007", "9" * 4000):
        assert is_whole_number(text)
        assert int(text) >= 0
    assert not any(map(is_whole_number, ("", "-1", "1.0", " 1", "²", "9" * 5000)))


def test_a_label_names_the_setting_unless_the_value_says_it_all():
    assert [in_words("beta", 0.5), in_words("batch_size", 64), in_words("arch", "conv")] == [
        "beta 0.5", "batch size 64", "conv",
    ]  # fmt: skip


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 2)), min_size=1, max_size=6))
def test_keys_differ_exactly_where_not_all_members_of_a_group_agree(settings):
    groups = ["even" if number % 2 == 0 else "odd" for number in range(len(settings))]
    found = differing_keys(settings, groups)
    for group in set(groups):
        members = [own for own, name in zip(settings, groups, strict=True) if name == group]
        expected = {key for key in "abc" if len({own.get(key) for own in members}) > 1}
        assert found[group] == expected


def test_a_name_is_made_of_what_differs_from_the_default():
    own = DataConfig(name="digits", image_size=(16, 12), grayscale=True, val=0.2)
    assert changes_in_name(own, DataConfig(), but=("name",)) == ["imagesize16x12", "grayscale", "val0.2"]
    assert changes_in_name(TrainConfig(), TrainConfig()) == []


@pytest.mark.parametrize(
    "config", [ModelConfig(latent=3, layers=2), DataConfig(image_size=(16, 12)), TrainConfig(lr=0.1)]
)
def test_a_configuration_survives_being_a_dictionary(config):
    assert from_dict(type(config), to_dict(config)) == config


def test_a_label_shows_all_digits_so_that_different_values_look_different():
    assert in_words("lr", 0.0010000001) == "lr 0.0010000001"
    assert in_words("lr", 0.001) == "lr 0.001"
    assert [in_words("skip_bad", value) for value in (True, False)] == ["skip bad", "without skip bad"]
    assert in_words("beta", 1.0) == "beta 1"
