"""PCA as a baseline of models: errors at their dimensions, also where there are fewer components."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from aekit.errors import AekitError
from aekit.images.pca.baseline import _component_counts, fit_baseline
from aekit.images.session import open_session


def _open(path, **options):
    session = open_session([path], device="cpu", **options)
    (checkpoint,) = session.checkpoints()
    return session, checkpoint


def _rows(image_set):
    return image_set.images.reshape(len(image_set), -1) / 255


def test_errors_are_those_of_scikit_learns_pca(ae_checkpoint):
    session, checkpoint = _open(ae_checkpoint)
    train, test = (session.images(checkpoint, split) for split in ("train", "test"))
    baseline = fit_baseline(session, checkpoint, test, [2, 5])
    assert baseline.errors.n_components.tolist() == [2, 3, 4, 5]
    pca = PCA(5).fit(_rows(train))
    restored = pca.inverse_transform(pca.transform(_rows(test)))
    mse, clipped_mse = baseline.mse_at(5)
    assert mse == pytest.approx(np.mean((restored - _rows(test)) ** 2))
    assert clipped_mse == pytest.approx(np.mean((restored.clip(0, 1) - _rows(test)) ** 2))
    around_mean = np.mean((_rows(test) - _rows(train).mean(axis=0)) ** 2)
    assert baseline.explained(mse) == pytest.approx(1 - mse / around_mean)
    assert baseline.n_train == 300


def test_all_components_are_used_where_there_are_too_few(ae_checkpoint):
    session, checkpoint = _open(ae_checkpoint)
    baseline = fit_baseline(session, checkpoint, session.images(checkpoint, "test"), [100])
    assert len(baseline.pca.components) == 64
    assert baseline.mse_at(100) == baseline.mse_at(64)


def test_a_single_image_has_no_components(ae_checkpoint, monkeypatch):
    session, checkpoint = _open(ae_checkpoint)
    test = session.images(checkpoint, "test")
    monkeypatch.setattr(session, "images", lambda *_: test.subset(np.array([3])))
    with pytest.raises(AekitError, match="single image, which has no principal components"):
        fit_baseline(session, checkpoint, test, [2])


def test_errors_are_measured_at_and_between_the_dimensions_of_the_models():
    assert _component_counts([3], 64) == [1, 2, 3]
    assert _component_counts([2, 5, 5], 64) == [2, 3, 4, 5]
    assert _component_counts([2, 900], 64) == [2, 64]
