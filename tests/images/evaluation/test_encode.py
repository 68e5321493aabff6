"""``run_encode`` writes the codes of a session's checkpoints."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from aekit.errors import AekitError
from aekit.images.evaluation.encode import run_encode
from aekit.images.session import open_session


def test_a_file_per_checkpoint_holds_its_codes(vae_checkpoint, ae_checkpoint, tmp_path):
    session = open_session([vae_checkpoint, ae_checkpoint], device="cpu")
    results = list(run_encode(session, tmp_path))
    assert [result.path.name for result in results] == ["vae.codes.safetensors", "ae.codes.safetensors"]
    for result, checkpoint in zip(results, session.checkpoints(), strict=True):
        codes, found = checkpoint.encode(session.images(checkpoint, "test")), load_file(result.path)
        np.testing.assert_array_equal(found["mean"], codes.mean)
        assert ("logvar" in found) is (codes.logvar is not None)
        assert (result.values["n"], result.values["latent"]) == codes.mean.shape


def test_a_table_has_the_same_codes(ae_checkpoint, tmp_path):
    session = open_session([ae_checkpoint], device="cpu")
    (result,) = run_encode(session, tmp_path, split="train", file_format="csv")
    assert result.path == tmp_path / "ae.codes-train.csv"
    (checkpoint,) = session.checkpoints()
    codes = checkpoint.encode(session.images(checkpoint, "train")).mean
    np.testing.assert_allclose(pd.read_csv(result.path)[["z0", "z1", "z2"]], codes, rtol=1e-6)


def test_a_format_that_contradicts_the_suffix_is_refused_at_once(ae_checkpoint, tmp_path):
    session = open_session([ae_checkpoint], device="cpu")
    with pytest.raises(AekitError, match="--format csv: contradicts --output"):
        run_encode(session, tmp_path / "x.safetensors", file_format="csv")
