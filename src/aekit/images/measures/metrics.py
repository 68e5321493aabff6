"""The metrics of ``aekit evaluate`` and ``aekit reconstruct``.

A new metric is one entry of :data:`METRICS`. Keys of JSON files, columns of tables and rows on the terminal follow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from aekit.images.measures.quality import mse, psnr, ssim


class Metric(NamedTuple):
    """How an image is compared with its reconstruction.

    Attributes:
        function: Takes x and x_hat, (B, C, H, W) in [0, 1], and returns one value per image, (B,).
        unit: Unit of the values; empty if they have none.
    """

    function: Callable[[Tensor, Tensor], Tensor]
    unit: str = ""


METRICS: dict[str, Metric] = {
    "mse": Metric(mse),
    "psnr": Metric(psnr, "dB"),
    "ssim": Metric(ssim),
}
