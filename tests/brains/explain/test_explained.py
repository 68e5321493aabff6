import numpy as np
import pytest
import torch
from torch import nn

from aekit.brains.explain.explained import Explained, RunningMean, common_brain, randomisation_test
from aekit.brains.explain.maps import Scan
from aekit.brains.explain.randomisation import passes
from aekit.brains.explain.request import ExplainRequest
from aekit.brains.volumes.gridding import Grid
from aekit.core.progress import SILENT

GRID = Grid((6, 7, 6), 8.0)
REGION = (slice(1, 3), slice(3, 5), slice(2, 4))


class Linear(nn.Module):
    """A network that is linear in the voxels; of a fixed one, nothing can be made random."""

    def __init__(self, weights, *, fixed=False):
        super().__init__()
        self.head = nn.Linear(weights.numel(), 1)
        with torch.no_grad():
            self.head.weight.copy_(weights.reshape(1, -1))
        self.fixed = weights.reshape(-1) if fixed else None

    def forward(self, images, cumulative_ml):
        voxels = images.flatten(1)
        return 40 + (voxels @ self.fixed if self.fixed is not None else self.head(voxels)[:, 0])


@pytest.fixture
def explained():
    def make(network, n=3, **values):
        random = torch.Generator().manual_seed(0)
        images = [torch.rand(GRID.size, generator=random) * 0.3 + 0.5 for _ in range(n)]
        for image in images:
            image[:, 0] = 0
        request = ExplainRequest(**{"cube_mm": 8.0, "samples": 2, "draws": 2, **values})
        scans = [Scan(image, torch.zeros(1)) for image in images]
        return Explained(request, "direct", [network], False, GRID, torch.device("cpu"), scans)

    return make


def in_region():
    weights = torch.zeros(GRID.size)
    weights[REGION] = 7.0
    return weights


def test_both_maps_recover_the_region_that_a_network_sees(explained):
    one = explained(Linear(in_region()))
    maps = one.maps(one.scans[0])
    inside = in_region().numpy() != 0
    for kind in ("occlusion", "smoothgrad"):
        assert (maps[kind].values[inside] != 0).all()
        assert (np.abs(maps[kind].values[~inside]) < 1e-5).all()
    np.testing.assert_allclose(maps["smoothgrad"].values[inside], 7, rtol=1e-5)


def test_a_region_that_was_learned_passes_the_randomisation_test(explained):
    rows = randomisation_test(explained(Linear(in_region())), SILENT)
    assert passes(rows, "occlusion")
    assert passes(rows, "smoothgrad")
    assert {row.compared for row in rows} == {"trained, head random", "trained, all random", "both random"}


def test_what_a_network_shows_whatever_its_weights_fails_the_randomisation_test(explained):
    rows = randomisation_test(explained(Linear(torch.rand(GRID.size) + 1, fixed=True)), SILENT)
    assert not passes(rows, "occlusion")
    assert not passes(rows, "smoothgrad")


def test_without_draws_there_is_no_test(explained):
    assert randomisation_test(explained(Linear(in_region()), draws=0), SILENT) == []


def test_a_running_mean_is_the_mean_and_the_common_brain_that_of_half_the_scans():
    random = np.random.default_rng(0)
    values = random.normal(size=(4, 2, 2, 2))
    mean = RunningMean()
    for one in values:
        mean.add({"x": one})
    np.testing.assert_allclose(mean.means()["x"], values.mean(0))
    scans = [Scan(torch.from_numpy(np.maximum(one, 0)), torch.zeros(1)) for one in values]
    np.testing.assert_array_equal(common_brain(scans), (values > 0).sum(0) >= 2)
