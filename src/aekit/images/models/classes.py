"""What a network that is told the class of an image does with it, on its way in and on its way out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from aekit.errors import AekitError


class Classes(nn.Module):
    """The classes of a network: a learned image for each, added to the input, and a one-hot code, next to the code.

    The first layer of any encoder makes of the added image what a layer that sees the class makes of a one-hot code,
    and the images begin at zero.

    Args:
        names: The classes in the order of their numbers, K of them.
        image_shape: (channels, height, width).

    Source:
        Kingma, Rezende, Mohamed & Welling 2014, arXiv:1406.5298; Sohn, Lee & Yan 2015 (conditional VAE).
    """

    one_hot: Tensor

    def __init__(self, names: Sequence[str], image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.names = tuple(names)
        self._image_shape = image_shape
        self.images = nn.Parameter(torch.zeros(len(names), math.prod(image_shape)))
        self.register_buffer("one_hot", torch.eye(len(names)), persistent=False)

    def add_to_images(self, x: Tensor, label: Tensor | None) -> Tensor:
        """Return images with those of their classes added, (B, C, H, W)."""
        return x + self.images[_known(label)].view(-1, *self._image_shape)

    def append_to_codes(self, z: Tensor, label: Tensor | None) -> Tensor:
        """Return codes with the one-hot codes of their classes behind them, (B, L + K)."""
        return torch.cat([z, self.one_hot[_known(label)].to(z.dtype)], 1)


def _known(label: Tensor | None) -> Tensor:
    if label is None:
        raise AekitError("label: the network is told the class of each image; give the number of each, (B,)")
    return label
