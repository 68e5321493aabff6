"""Age as a distribution over bins: soft labels, the loss against them, and the expectation, which is the age.

All of it is in z-scores of age or of its logarithm, so that it fits decades as well as months.

Source:
    Peng, Gong, Beckmann, Vedaldi & Smith 2021, Accurate brain age prediction with lightweight deep neural networks,
    doi:10.1016/j.media.2020.101871. There are 40 bins there as well, of one year (42 to 82) or two.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

N_AGE_BINS = 40  # the same for every cohort, so that networks of one checkpoint have one shape
# Of the range of ages in train, at either end: a label of the youngest or oldest is not cut off (it reaches over three
# bins, and the margin over almost six), and a brain can look older than any in train.
MARGIN = 0.2
_REACH = 3.0  # bins from a label's mean at which it is cut off; what is cut off moves the mean by 0.004 bins


class AgeBins(nn.Module):
    """Equal bins of z-scores, over the range of ages in train and a margin at either end.

    A soft label is a normal distribution with an SD of one bin.

    Args:
        lowest: z-score of the youngest in train.
        highest: z-score of the oldest.
    """

    centres: Tensor

    def __init__(self, lowest: Tensor, highest: Tensor) -> None:
        super().__init__()
        margin = MARGIN * (highest - lowest)
        width = (highest - lowest + 2 * margin) / N_AGE_BINS
        self.register_buffer("centres", lowest - margin + width * (torch.arange(N_AGE_BINS) + 0.5))

    @property
    def width(self) -> Tensor:
        """Return the width of a bin."""
        return (self.centres[-1] - self.centres[0]) / (N_AGE_BINS - 1)

    @property
    def labelled(self) -> tuple[Tensor, Tensor]:
        """Return the lowest and the highest z-score whose label is not cut off."""
        inside = (_REACH - 0.5) * self.width
        return self.centres[0] + inside, self.centres[-1] - inside

    def labels(self, z: Tensor) -> Tensor:
        """Return the probability of each bin, (B, K), for z-scores (B,).

        Beyond the lowest and highest that can be labelled, it is that of these.
        """
        width, (lowest, highest) = self.width, self.labelled
        edges = torch.cat([self.centres - width / 2, self.centres[-1:] + width / 2])
        distance = (edges - torch.clamp(z, lowest, highest)[:, None]) / width
        mass: Tensor = torch.special.ndtr(distance).diff(dim=1)
        return mass / mass.sum(1, keepdim=True)

    def expectation(self, outputs: Tensor) -> Tensor:
        """Return z-scores, (B,), from the outputs of the last layer, (B, K)."""
        # Not as a matrix product, which autocast would compute in bf16.
        return (torch.softmax(outputs, 1) * self.centres).sum(1)

    def loss(self, outputs: Tensor, z: Tensor) -> Tensor:
        """Return the mean Kullback-Leibler divergence of outputs, (B, K), from the labels of z-scores (B,), in nats."""
        return F.kl_div(torch.log_softmax(outputs, 1), self.labels(z), reduction="batchmean")

    def outputs_of(self, weight: Tensor, bias: Tensor, error_sd: Tensor) -> tuple[Tensor, Tensor]:
        """Return weights (K, F) and bias (K,) of outputs whose expectation is a linear prediction.

        The logarithm of a normal density is linear in its mean: -(c - m)^2 / 2 s^2 = c m / s^2 - c^2 / 2 s^2, but for
        a term that is the same for all bins. So the distribution is a normal one around the prediction, cut off at the
        ends of the bins, where it moves the expectation inwards.

        Args:
            weight: Of the prediction of z-scores, (1, F).
            bias: Its bias, (1,).
            error_sd: SD of its errors, the SD of the distribution; at least one bin.
        """
        precision = 1 / torch.maximum(error_sd, self.width).square()
        slope = (self.centres * precision)[:, None]
        return slope * weight, slope[:, 0] * bias - precision * self.centres.square() / 2
