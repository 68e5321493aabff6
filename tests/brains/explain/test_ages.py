import numpy as np
import pytest
import torch
from torch import nn

from aekit.brains.explain.ages import age_function, ages_of, networks_of, spread_of
from aekit.brains.explain.maps import Scan

CPU = torch.device("cpu")


class Sum(nn.Module):
    """A network that adds a part of the image and a part of the histogram; a chain returns volumes, too."""

    def __init__(self, image, histogram, *, chain=False):
        super().__init__()
        self.parts, self.chain = (image, histogram), chain

    def forward(self, images, cumulative_ml):
        age = 50 + self.parts[0] * images[:, 0, 0].mean((1, 2)) + self.parts[1] * cumulative_ml[:, 0]
        return (torch.zeros(len(age), 3), age) if self.chain else age


@pytest.fixture
def scans():
    random = torch.Generator().manual_seed(0)
    return [Scan(torch.rand((4, 4, 4), generator=random), torch.rand(2, generator=random)) for _ in range(9)]


def test_the_fractions_of_a_sum_add_up_to_one_and_are_those_of_its_parts(scans):
    age = age_function([Sum(3.0, 2.0)], mirrored=False)
    spread = spread_of(age, scans, CPU)
    image = np.array([3 * float(scan.image[0].mean()) for scan in scans])
    histogram = np.array([2 * float(scan.cumulative_ml[0]) for scan in scans])
    total = image + histogram
    assert spread.histogram == pytest.approx(np.cov(histogram, total)[0, 1] / np.var(total, ddof=1), abs=1e-4)
    assert spread.histogram + spread.image == pytest.approx(1, abs=1e-4)


def test_a_network_that_sees_the_histogram_alone_has_all_of_its_spread_from_it(scans):
    spread = spread_of(age_function([Sum(0.0, 2.0, chain=True)], mirrored=False), scans, CPU)
    assert spread.histogram == pytest.approx(1)
    assert spread.image == pytest.approx(0)


def test_two_scans_or_equal_ages_have_no_spread(scans):
    assert spread_of(age_function([Sum(3.0, 2.0)], mirrored=False), scans[:2], CPU) is None
    assert spread_of(age_function([Sum(0.0, 0.0)], mirrored=False), scans, CPU) is None


def test_the_age_is_the_mean_over_networks_and_mirror_images(scans):
    networks = [Sum(3.0, 2.0), Sum(1.0, 0.0)]
    found = ages_of(age_function(networks, mirrored=True), scans[:1], CPU)
    image, histogram = scans[0].image, float(scans[0].cumulative_ml[0])
    both = float(image[0].mean() + image[-1].mean()) / 2
    assert found == pytest.approx([50 + (3 * both + 2 * histogram + both) / 2], rel=1e-5)


def test_only_members_with_a_model_have_networks_of_it():
    direct = Sum(1.0, 1.0)
    assert networks_of([{"direct": direct}, {}], "direct") == [direct]
