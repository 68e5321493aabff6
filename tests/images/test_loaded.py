"""What tables record of a checkpoint."""

from __future__ import annotations

from aekit.core.checkpoint import read_header
from aekit.images.loaded import TABLE_SETTINGS
from aekit.images.session import open_session


def test_settings_are_those_of_the_header_and_an_autoencoder_has_no_beta(vae_checkpoint, ae_checkpoint):
    vae, ae = open_session([vae_checkpoint, ae_checkpoint], device="cpu").checkpoints()
    header = read_header(vae_checkpoint)
    for names in (TABLE_SETTINGS, ("seed", "epochs", "beta_warmup", "width", "loss")):
        assert list(vae.settings(names)) == list(ae.settings(names)) == list(names)
        assert vae.settings(names) == {name: (header.model | header.train)[name] for name in names}
    assert ae.settings() == {"kind": "ae", "arch": "conv", "latent": 3, "beta": None, "seed": 0}
