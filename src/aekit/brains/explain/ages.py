"""The age of an ensemble as one function of its two inputs, and how much of it each input explains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from aekit.brains.explain.maps import AgeFunction, Floats, Scan
from aekit.brains.explain.request import Model

MIN_SCANS = 3  # with fewer, the spread of their ages says nothing


@dataclass(frozen=True)
class Spread:
    """Fractions of the variance of predicted ages; they add up to 1 if the network is a sum of both parts.

    Attributes:
        histogram: Covariance of the ages that follow from the histogram alone with the ages, over their variance.
        image: The same of the ages that follow from the image alone.
    """

    histogram: float
    image: float


def age_function(networks: Sequence[nn.Module], *, mirrored: bool) -> AgeFunction:
    """Return the mean age of several networks in years, as a function of images and histograms.

    Args:
        networks: Chained or direct networks, at least one.
        mirrored: Average over each image and its mirror image, as predictions do after training with flips.
    """

    def age(images: Tensor, cumulative_ml: Tensor) -> Tensor:
        views = (images, images.flip(2)) if mirrored else (images,)
        return torch.stack([_years(network(view, cumulative_ml)) for network in networks for view in views]).mean(0)

    return age


def _years(outputs: Tensor | tuple[Tensor, Tensor]) -> Tensor:
    return outputs[1] if isinstance(outputs, tuple) else outputs  # a chain also returns its volumes


def networks_of(members: Sequence[dict[Model, nn.Module]], model: Model) -> list[nn.Module]:
    """Return the network of each member for a model."""
    return [member[model] for member in members if model in member]


def ages_of(age: AgeFunction, scans: Sequence[Scan], device: torch.device) -> Floats:
    """Return the predicted ages of scans in years, (n,)."""
    with torch.inference_mode():
        ages = [age(scan.image[None, None].to(device), scan.cumulative_ml[None].to(device))[0] for scan in scans]
    return np.array([float(one) for one in ages])


def spread_of(age: AgeFunction, scans: Sequence[Scan], device: torch.device) -> Spread | None:
    """Return how much of the variance of predicted ages each input explains; None for too few or equal ages.

    Each input is varied alone, while the other one is that of the scan with the median age.
    """
    ages = ages_of(age, scans, device)
    if len(scans) < MIN_SCANS or np.ptp(ages) == 0:
        return None
    middle = scans[int(np.argsort(ages, kind="stable")[len(ages) // 2])]
    by_histogram = ages_of(age, [Scan(middle.image, scan.cumulative_ml) for scan in scans], device)
    by_image = ages_of(age, [Scan(scan.image, middle.cumulative_ml) for scan in scans], device)
    centred = ages - ages.mean()
    fractions = [float(centred @ part / (centred @ centred)) for part in (by_histogram, by_image)]
    return Spread(*fractions)
