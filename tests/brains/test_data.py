import numpy as np
import torch

from aekit.brains.data import build_brain_data, build_unlabelled_data

CPU = torch.device("cpu")


def test_the_cumulative_histogram_is_the_running_sum_of_the_histogram(phantom_people):
    data = build_brain_data(phantom_people, "absolute")
    np.testing.assert_allclose(data.cumulative_ml[:, -1], phantom_people.volumes.brain_ml, rtol=1e-5)
    np.testing.assert_allclose(data.cumulative_ml[:, 9], phantom_people.volumes.histograms_ml[:, :10].sum(1), rtol=1e-5)
    assert data.images is phantom_people.volumes.images  # still on disk


def test_a_batch_has_the_participants_in_the_order_of_the_rows(toy):
    data, rows = toy(), torch.tensor([7, 2, 2])
    batch = data.take(rows, CPU)
    assert batch.images.shape == (3, 1, 8, 8, 8)
    np.testing.assert_array_equal(batch.images[:, 0], data.images[[7, 2, 2]].astype(np.float32))
    for name in ("cumulative_ml", "tissues", "age_years"):
        assert torch.equal(getattr(batch, name), getattr(data, name)[rows])
    assert data.take(rows, CPU, with_images=False).images.numel() == 0


def test_new_scans_have_no_true_volumes(phantom_people):
    data = build_unlabelled_data(phantom_people.volumes)
    known = build_brain_data(phantom_people, "absolute")
    assert data.tissues.shape == (40, 0)
    assert torch.equal(data.cumulative_ml, known.cumulative_ml)
    assert data.images is known.images
