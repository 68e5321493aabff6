"""What a header says of a run of images, as typed records."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from aekit.core.checkpoint import read_header
from aekit.errors import AekitError
from aekit.images.config import TrainConfig
from aekit.images.record import data_config, read_record, vae_words


def test_a_record_is_what_the_run_was_configured_with(vae_checkpoint):
    header = read_header(vae_checkpoint)
    record = read_record(header, "x")
    assert (record.model.kind, record.model.latent, record.data.val, record.train.epochs) == ("vae", 2, 0.2, 3)
    assert record.image_shape == (1, 8, 8)
    assert set(record.fingerprints) == {"train", "val", "test"}
    assert record.title == "vae conv, latent 2, beta 1"
    assert data_config(header, "x") == record.data


def test_options_that_are_younger_than_the_file_have_their_default_and_older_ones_are_passed_over(vae_checkpoint):
    header = read_header(vae_checkpoint)
    train = {key: value for key, value in header.train.items() if key != "mirror"} | {"forgotten": 1}
    assert read_record(replace(header, train=train), "x").train.mirror is TrainConfig().mirror


def test_a_damaged_part_is_refused_by_file(vae_checkpoint):
    header = read_header(vae_checkpoint)
    with pytest.raises(AekitError, match=r"^x: "):
        read_record(replace(header, model={**header.model, "latent": "two"}), "x")


def test_a_plain_autoencoder_has_no_beta_in_its_title(ae_checkpoint):
    assert read_record(read_header(ae_checkpoint), "x").title == "ae conv, latent 3"


def test_records_need_the_standard_library_alone():
    script = "import sys, aekit.images.record; print({'torch', 'numpy', 'pandas'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "set()\n"


def test_titles_name_objective_prior_and_layers_where_they_are_not_the_usual():
    model, train = (
        {"kind": "vae", "prior": "mixture", "components": 8},
        {"objective": "iwae", "samples": 3, "beta": 1.0},
    )
    assert vae_words(model, train) == ["iwae of 3 samples", "mixture prior of 8"]
    model, train = {"kind": "vae", "prior": "vamp", "stochastic_layers": 2}, {"beta": 0.5, "free_bits": 0.25}
    assert vae_words(model, train) == ["beta 0.5", "free bits 0.25 nats", "vamp prior of 100", "2 stochastic layers"]
    assert vae_words({"kind": "vae"}, {"objective": "beta-tc", "beta": 4.0}) == ["beta-tc", "beta 4"]
    assert vae_words({"kind": "ae"}, {"beta": 1.0}) == []
