"""A figure carries the parameters that made it, and says so if it is damaged."""

from __future__ import annotations

import pytest

from aekit.plotting.png import read_parameters


def test_a_figure_with_one_bit_changed_is_damaged(vae_checkpoint):
    png = bytearray(vae_checkpoint.with_suffix(".png").read_bytes())
    assert read_parameters(bytes(png))["model"]["kind"] == "vae"
    png[len(png) // 2] ^= 1
    with pytest.raises(ValueError, match="is damaged"):
        read_parameters(bytes(png))
