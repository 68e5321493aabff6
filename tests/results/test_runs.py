"""Runs are compared by the options in which they differ and by what they reached."""

from __future__ import annotations

from dataclasses import replace

from aekit.core.checkpoint import Header
from aekit.core.settings import to_dict
from aekit.images.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from aekit.results.runs import describe, details, flatten, options_of, overview, training_command


def _header(*, latent: int = 2, beta: float = 1.0, seed: int = 0, kind: str = "vae", total: float = 9.0) -> Header:
    model = ModelConfig(kind=kind, latent=latent)
    config = RunConfig(model, DataConfig(name="digits", image_size=(16, 12)), TrainConfig(beta=beta, seed=seed))
    test = {"split": "test", "total": total, "reconstruction": total, "kl": None, "mse": 0.5, "active_units": 2}
    return Header(**to_dict(config), result={"epoch": 1, "parameters": 7, "test": test, "history": []})


def _overview(**runs: Header):
    return overview(runs, dict.fromkeys(runs, "_1"), caption="Autoencoders")


def test_the_options_that_differ_are_columns_and_the_shared_ones_follow():
    table, shared = _overview(a=_header(), b=_header(latent=4, beta=0.5, total=8.0))
    assert list(table.columns)[:4] == ["run", "latent", "beta", "test total"]
    assert [row[1:3] for row in table.rows] == [[2, 1.0], [4, 0.5]]
    assert [row[-3] for row in table.rows] == [9.0, 8.0]
    assert shared.summary == "The options that both share"
    assert {("seed", 0), ("arch", "conv"), ("data", "digits")} <= set(shared.blocks[0].rows)
    assert not {"latent", "beta"} & {row[0] for row in shared.blocks[0].rows}


def test_a_single_run_says_what_it_is():
    (table,) = _overview(only=_header())
    assert list(table.columns)[:5] == ["run", "model", "data", "arch", "latent"]


def test_runs_without_test_images_have_no_place_for_them():
    brains = [Header({"kind": "brain", "arch": arch}, {"name": "x.tsv"}, {}) for arch in ("base", "deep")]
    table, shared = _overview(a=brains[0], b=brains[1])
    assert "test images" not in [*table.columns, *(row[0] for row in shared.blocks[0].rows)]


def test_an_option_that_a_model_does_not_have_is_no_difference_and_is_not_shared():
    table, shared = _overview(ae=_header(kind="ae"), vae=_header())
    assert "beta" not in table.columns
    assert "beta" not in [row[0] for row in shared.blocks[0].rows]
    assert "beta" not in [row[1] for row in details("ae.safetensors", _header(kind="ae")).blocks[1].rows]
    assert "beta" in [row[1] for row in details("vae.safetensors", _header()).blocks[1].rows]
    assert "beta" not in options_of(_header(kind="ae"))


def test_results_on_validation_images_come_before_those_on_test_images():
    row = {"split": "val", "epoch": 1, "total": 7.0, "kl": None, "mse": 0.4}
    header = _header()
    header.result["history"].append(row)
    (table,) = _overview(only=header)
    assert list(table.columns)[-6:] == [
        "val total", "val mse", "test total", "test reconstruction", "test mse", "test active units",
    ]  # fmt: skip


def test_a_run_gives_its_command_unless_it_is_of_another_version():
    assert training_command("x.safetensors", _header(latent=3)).endswith("--latent 3 -o x.safetensors")
    other = replace(_header(), model={"kind": "vae", "depth": 9})
    assert training_command("x.safetensors", other) is None
    assert details("x.safetensors", other).summary == "All options"


def test_settings_are_written_as_they_are_read():
    nested = {"a": {"size": (16, 12), "names": ["x", "y"], "codes": [1, 2.5, 3, 4], "empty": {}}}
    assert flatten(nested) == {"a.size": "16x12", "a.names": "x, y", "a.codes": "1, 2.5, 3, 4", "a.empty": "{}"}
    assert describe(_header(beta=0.5)) == "vae conv, latent 2, beta 0.5: digits"
    assert describe(_header(kind="ae")) == "ae conv, latent 2: digits"
