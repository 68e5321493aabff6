"""``run_sample`` decodes points of the latent space; what cannot be done is refused at once."""

from __future__ import annotations

import numpy as np
import pytest

from aekit.errors import AekitError, UsageError
from aekit.images.evaluation.sample import _traversal_codes, run_sample
from aekit.images.session import open_session


def test_each_mode_writes_a_figure_and_reports_its_settings(vae_checkpoint, tmp_path):
    session = open_session([vae_checkpoint], device="cpu")
    (samples,) = run_sample(session, tmp_path, n=9)
    (plane,) = run_sample(session, tmp_path, manifold=True, n=9)
    (walk,) = run_sample(session, tmp_path, traverse=True, n=3)
    assert [result.path.name for result in (samples, plane, walk)] == [
        "vae.sample.png", "vae.manifold.png", "vae.traverse.png",
    ]  # fmt: skip
    assert samples.values["drawn_from"] == "the prior"
    assert plane.values["over"] == "quantiles of the prior"
    assert walk.values["values"] == [-3, 0, 3]


def test_a_walk_changes_one_dimension_at_a_time(vae_checkpoint, ae_checkpoint):
    session = open_session([vae_checkpoint, ae_checkpoint], device="cpu")
    values = np.array([-1.0, 0.0, 2.0])
    for checkpoint, has_prior in zip(session.checkpoints(), (True, False), strict=True):
        z, kl, _ = _traversal_codes(session, checkpoint, 7, values)
        codes = checkpoint.encode(session.images(checkpoint, "test")).mean
        assert (kl is not None) is has_prior
        for i in range(len(z)):
            np.testing.assert_allclose(np.delete(z[i], i, axis=1), np.tile(np.delete(codes[7], i), (3, 1)))
            expected = values if has_prior else codes[7, i] + values * codes[:, i].std()
            np.testing.assert_allclose(z[i, :, i], expected, rtol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"manifold": True, "traverse": True},
        {"around": 1},
        {"limits": (0, 1)},
        {"traverse": True, "limits": (2, 1)},
        {"traverse": True, "limits": (0, np.inf)},
    ],
)
def test_options_that_do_not_go_together_are_a_usage_error(vae_checkpoint, options):
    with pytest.raises(UsageError):
        run_sample(open_session([vae_checkpoint], device="cpu"), **options)


def test_a_plane_of_three_dimensions_is_refused_before_anything_is_drawn(vae_checkpoint, ae_checkpoint, tmp_path):
    session = open_session([vae_checkpoint, ae_checkpoint], device="cpu")
    with pytest.raises(AekitError, match=r"ae\.safetensors has 3 latent dimensions, not 2; use --traverse"):
        run_sample(session, tmp_path, manifold=True)
    assert not list(tmp_path.iterdir())
