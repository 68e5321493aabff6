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
