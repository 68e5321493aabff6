"""``aekit info`` describes a checkpoint, at once."""

from __future__ import annotations

import json

from aekit.core.checkpoint import Header, read_header


def test_it_describes_model_data_training_and_result_on_stderr_and_passes_the_path_on(aekit, vae_checkpoint):
    result = aekit("info", vae_checkpoint)
    assert result.exit_code == 0
    assert result.paths == [vae_checkpoint]
    for text in (
        "kind vae",
        "latent 2",
        "digits, height 8, width 8, 1 channel",
        "epochs 3",
        "beta 1,",
        "kl ",
        "parameters",
        "train 300",
    ):
        assert text in result.stderr


def test_json_is_the_whole_header(aekit, vae_checkpoint):
    result = aekit("info", vae_checkpoint, "--json")
    assert json.loads(result.stdout) == {"path": str(vae_checkpoint), **read_header(vae_checkpoint).entries}
    assert result.stderr == ""


def test_several_are_described_one_after_another(aekit, vae_checkpoint, ae_checkpoint):
    result = aekit("info", vae_checkpoint, "-", "-q", stdin=f"{ae_checkpoint}\n")
    assert result.paths == [vae_checkpoint, ae_checkpoint]
    assert result.stderr == ""


def test_a_header_with_less_in_it_is_described_as_far_as_it_goes(aekit, tmp_path):
    from aekit.core.weights import write_checkpoint

    path = write_checkpoint(tmp_path / "x.safetensors", {}, Header({"kind": "ae"}, {}, {}))
    result = aekit("info", path)
    assert result.exit_code == 0
    assert "kind ae" in result.stderr


def test_settings_at_their_default_are_shown_and_those_without_meaning_are_not(aekit, vae_checkpoint, ae_checkpoint):
    from aekit.results.info import describe

    plain = aekit("info", vae_checkpoint).stderr
    for text in ("prior normal", "condition none", "stochastic_layers 1", "objective elbo", "beta 1,", "binarize none"):
        assert text in plain
    autoencoder = aekit("info", ae_checkpoint).stderr
    assert not any(word in autoencoder for word in ("beta", "prior", "objective", "condition"))
    header = read_header(vae_checkpoint)
    header.train["objective"] = "iwae"
    header.model["prior"] = "vamp"
    lines = " ".join(describe(vae_checkpoint, header))
    assert "beta" not in lines
    assert "samples 5" in lines
    assert "prior vamp, components 100" in lines
