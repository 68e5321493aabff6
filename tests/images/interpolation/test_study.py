"""``run_interpolate`` from Python: files, measures and what is refused before anything is computed."""

from __future__ import annotations

import pandas as pd
import pytest

from aekit.errors import AekitError
from aekit.images.interpolation.request import PathRequest
from aekit.images.interpolation.study import run_interpolate
from aekit.images.session import open_session


def test_without_a_request_paths_join_any_images(vae_checkpoint, tmp_path):
    result = run_interpolate(open_session([vae_checkpoint], device="cpu"), tmp_path / "x.png")
    assert result.path == tmp_path / "x.png"
    assert result.values["checkpoints"] == [str(vae_checkpoint)]
    table = pd.read_csv(tmp_path / "x.csv")
    assert table["draw"].nunique() == 10
    (summary,) = result.values["paths"]
    assert summary["pair"] == "any"
    assert summary["start_error"] == pytest.approx(table.groupby("draw")["start_error"].first().mean())


@pytest.mark.slow
def test_the_name_of_the_figure_contains_what_is_joined(vae_checkpoint, tmp_path):
    session = open_session([vae_checkpoint], device="cpu")
    for request, name in (
        (PathRequest(n_prior=1), "vae.interpolate-prior.png"),
        (PathRequest(attribute="4", n_draws=1, split="train"), "vae.interpolate-4-train.png"),
    ):
        assert run_interpolate(session, tmp_path, request).path.name == name


def test_checkpoints_of_other_training_images_have_no_common_direction(vae_checkpoint, ae_checkpoint, tmp_path):
    session = open_session([vae_checkpoint, ae_checkpoint], device="cpu")
    with pytest.raises(AekitError, match="trained on different images"):
        run_interpolate(session, tmp_path, PathRequest(attribute="4"))
    assert run_interpolate(session, tmp_path, PathRequest(pairs="#1-#2")).path.is_file()
