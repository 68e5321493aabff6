import json

import pytest
from refusal import check_refused

from aekit.brains.config import (
    BrainConfig,
    BrainModelConfig,
    BrainTrainConfig,
    CohortConfig,
    parse_augment,
    parse_features,
    parse_grid,
    parse_splits,
    to_header,
)
from aekit.core.settings import from_dict, to_dict
from aekit.errors import AekitError, UsageError

REFUSED = [
    (CohortConfig, {"cv": 1}, "--cv: 1 is below 2"),
    (CohortConfig, {"cv": -3}, "--cv: -3 is below 2"),
    (CohortConfig, {"val": 1.0}, "--val: 1.0 is outside"),
    (CohortConfig, {"val": -0.1}, "--val: "),
    (CohortConfig, {"val": float("nan")}, "--val: nan"),
    (CohortConfig, {"test": 1.5}, "--test-split: 1.5 is outside"),
    (CohortConfig, {"test": float("nan")}, "--test-split: nan"),
    (CohortConfig, {"split_seed": -1}, "--split-seed: -1"),
    (BrainModelConfig, {"arch": "wide"}, "arch"),
    (BrainModelConfig, {"target": "volumes"}, "target"),
    (BrainModelConfig, {"kind": "vae"}, "kind"),
    (BrainTrainConfig, {"epochs": 0}, "--epochs: 0 is below 1"),
    (BrainTrainConfig, {"batch_size": 1}, "--batch-size: 1 is below 2"),
    (BrainTrainConfig, {"seeds": 0}, "--seeds: 0 is below 1"),
    (BrainTrainConfig, {"seed": -1}, "--seed: -1"),
    (BrainTrainConfig, {"lr": 0.0}, "--lr: 0.0 is not a positive number"),
    (BrainTrainConfig, {"lr": float("inf")}, "--lr: inf"),
    (BrainTrainConfig, {"weight_decay": -0.1}, "--weight-decay: -0.1"),
    (BrainTrainConfig, {"weight_decay": float("nan")}, "--weight-decay: nan"),
    (BrainTrainConfig, {"precision": "fp8"}, "precision"),
    (BrainTrainConfig, {"augment": ("zoom",)}, "augment"),
]


@pytest.mark.parametrize(("cls", "values", "said"), REFUSED)
def test_what_cannot_be_is_refused_by_the_name_of_its_option(cls, values, said):
    check_refused(cls, values, said)


def test_the_defaults_are_the_cheap_network_in_millilitres_of_one_split():
    config = BrainConfig()
    assert (config.model.arch, config.model.target, config.data.cv) == ("strided", None, 0)
    assert config.data.val + config.data.test < 1
    assert "noise" not in config.train.augment


def test_a_configuration_goes_through_json_and_back():
    config = BrainConfig(
        BrainModelConfig(arch="deep", target="proportion", direct=True, log_age=True, histogram=True),
        CohortConfig(size=(40, 48, 44), cv=5, val=0, test="part", group="site", drop_outliers=True),
        BrainTrainConfig(epochs=3, lr=0.1, augment=("noise", "flip"), seeds=3, precision="bf16"),
    )
    read = json.loads(json.dumps(to_dict(config)))
    parts = zip((BrainModelConfig, CohortConfig, BrainTrainConfig), ("model", "data", "train"), strict=True)
    assert BrainConfig(*(from_dict(cls, read[name], "x") for cls, name in parts)) == config


def test_younger_settings_are_in_a_header_only_where_they_say_something():
    plain = to_header(BrainConfig())
    younger = {"id", "age", "sex", "site", "session"}
    assert not younger & set(plain["data"])
    assert from_dict(CohortConfig, plain["data"], "x") == CohortConfig()
    own = CohortConfig(age="AgeMRI", session="last")
    found = to_header(BrainConfig(data=own))["data"]
    assert younger & set(found) == {"age", "session"}
    assert from_dict(CohortConfig, found, "x") == own


def test_a_setting_of_another_version_is_refused_with_its_source():
    with pytest.raises(AekitError, match=r"^m\.safetensors: unknown setting dropout"):
        from_dict(BrainModelConfig, {"dropout": 0.1}, "m.safetensors")
    with pytest.raises(AekitError, match=r"^m\.safetensors: --cv: 1 is below 2"):
        from_dict(CohortConfig, {"cv": 1}, "m.safetensors")


# --- text ---


@pytest.mark.parametrize(("text", "size"), [("48", (48, 48, 48)), ("40x48x44", (40, 48, 44)), ("9X10x8", (9, 10, 8))])
def test_a_grid_is_one_number_or_three(text, size):
    assert parse_grid(text) == size


@pytest.mark.parametrize("text", ["", "8x8", "8x8x8x8", "8.5", "-8", "x", "9" * 5000])
def test_anything_else_is_not_a_grid(text):
    with pytest.raises(AekitError, match=r"^--size: .* is not a size; give one number or XxYxZ"):
        parse_grid(text)


@pytest.mark.parametrize(
    ("given", "splits"),
    [
        (("0", None, None), (0, 0.15, 0.2)),
        (("0", 0.3, "0.1"), (0, 0.3, 0.1)),
        (("0", None, "split"), (0, 0.15, "split")),
        (("5", None, None), (5, 0.0, 0.0)),
        (("5", 0.0, "0.2"), (5, 0.0, 0.2)),
        (("site", None, None), ("site", 0.0, 0.0)),
    ],
)
def test_a_cross_validation_has_no_other_splits_by_default(given, splits):
    assert parse_splits(*given) == splits


def test_a_cross_validation_takes_no_fraction_for_validation():
    with pytest.raises(UsageError, match=r"^--val: not with --cv"):
        parse_splits("5", 0.1, None)


def test_folds_are_a_number_or_a_column_and_not_both_and_a_group():
    with pytest.raises(UsageError, match=r"^--cv: is empty"):
        parse_splits(" ", None, None)
    with pytest.raises(UsageError, match=r"^--group: not with --cv COLUMN"):
        CohortConfig(cv="site", group="scanner")


def test_augmentations_are_in_their_own_order_and_may_be_none():
    assert parse_augment("noise, flip") == ("flip", "noise")
    assert parse_augment("none") == ()
    with pytest.raises(AekitError, match=r"^--augment: 'flop' is not one of .*; did you mean 'flip'\?$"):
        parse_augment("flop")


def test_headers_have_the_settings_of_alignment_only_where_they_are_used():
    plain = to_header(BrainConfig())
    assert not {"register", "template", "intensity"} & set(plain["data"])
    aligned = to_header(BrainConfig(data=CohortConfig(register="affine", template="mni.nii")))
    assert (aligned["data"]["register"], aligned["data"]["template"]) == ("affine", "mni.nii")
    assert plain["model"] == aligned["model"]


def test_headers_of_networks_do_not_mention_columns_of_the_table():
    assert not {"features", "combat"} & set(to_header(BrainConfig())["model"])


def test_features_are_a_list_of_names_and_patterns():
    assert parse_features(None) == ()
    assert parse_features("roi_*, tiv,roi_*,") == ("roi_*", "tiv")
    with pytest.raises(UsageError, match="--features: is empty"):
        parse_features(" ,")


def test_a_template_to_which_nothing_is_aligned_is_refused():
    with pytest.raises(UsageError, match="--template: no scan is aligned to it; add --register"):
        CohortConfig(template="mni.nii")
    with pytest.raises(UsageError, match="--register: 'warp' is not one of none, rigid, affine"):
        CohortConfig(register="warp")
