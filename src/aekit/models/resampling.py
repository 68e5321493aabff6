"""Convolutions that halve and double images of any size, odd ones too."""

from __future__ import annotations

from torch import Tensor, nn

from aekit.errors import AekitError


class UpConv(nn.ConvTranspose2d):
    """A transposed convolution 4x4 of stride 2 that maps to twice the size, cut to ``size`` (height, width)."""

    def __init__(self, n_in: int, n_out: int, size: tuple[int, int]) -> None:
        super().__init__(n_in, n_out, kernel_size=4, stride=2, padding=1)
        self.size = size

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Return x at twice the size, (B, C', height, width)."""
        return super().forward(x, output_size)[:, :, : self.size[0], : self.size[1]]


def halved_sizes(size: tuple[int, int], times: int) -> list[tuple[int, int]]:
    """Return ``size`` and what is left after each of ``times`` halvings, rounded up.

    Raises:
        AekitError: More than one of them has nothing left to halve.
    """
    useful = (max(size) - 1).bit_length()
    if times > useful + 1:
        raise AekitError(
            f"--layers: {times} is too deep for {size[0]}x{size[1]} pixels, one of which is left after {useful}; "
            "use fewer"
        )
    sizes = [size]
    for _ in range(times):
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    return sizes
