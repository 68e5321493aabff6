"""Runs with other objectives, priors and layers go on to the same bytes."""

from __future__ import annotations

import pytest
from recorded import Recorded
from tiny_training import train_tiny

from aekit.errors import Stopped

pytestmark = pytest.mark.slow  # each trains
RUNS = {
    "iwae": {"objective": "iwae", "samples": 3},
    "dreg": {"objective": "iwae", "samples": 3, "dreg": True},
    "dreg of two layers": {"objective": "iwae", "samples": 3, "dreg": True, "stochastic_layers": 2},
    "mixture": {"prior": "mixture", "components": 3},
    "vamp": {"prior": "vamp", "components": 3, "loss": "gaussian"},
    "layers": {"stochastic_layers": 2, "objective": "iwae", "samples": 2},
}


@pytest.mark.parametrize("name", RUNS)
def test_stopped_in_the_middle_and_continued_it_ends_with_the_same_bytes(tmp_path, name):
    options = {**RUNS[name], "model": "vae", "epochs": 2}
    train_tiny(tmp_path / "whole.safetensors", **options)
    with pytest.raises(Stopped):
        train_tiny(tmp_path / "x.safetensors", progress=Recorded(stop_after=3), **options)
    train_tiny(tmp_path / "x.safetensors", resume=True, **options)
    assert (tmp_path / "x.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


def test_one_sample_gives_the_weights_of_the_evidence_lower_bound(tmp_path):
    for name, options in {"elbo": {}, "iwae": {"objective": "iwae", "samples": 1}}.items():
        header = train_tiny(tmp_path / f"{name}.safetensors", model="vae", epochs=2, **options)
        assert header.result["history"][0]["kl"] > 0
    one, other = ((tmp_path / f"{name}.safetensors").read_bytes() for name in ("elbo", "iwae"))
    sizes = [int.from_bytes(each[:8], "little") + 8 for each in (one, other)]  # of the headers
    assert one[sizes[0] :] == other[sizes[1] :]
