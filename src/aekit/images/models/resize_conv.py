"""The beta-VAE of study 1a: convolutions with pooling, and resize-convolutions to avoid checkerboard artefacts."""

from __future__ import annotations

from torch import Tensor, nn

from aekit.errors import AekitError
from aekit.images.config import ModelConfig
from aekit.images.models.base import Architecture, ImageShape, Parts
from aekit.images.sizes import in_pixels


def build_resize_conv(config: ModelConfig, image_shape: ImageShape) -> Parts:
    """Return the network for 28 x 28 images: 566,249 parameters as a VAE with 28 latent dimensions.

    Source:
        Odena et al. 2016, "Deconvolution and checkerboard artifacts", for resize-convolution.
    """
    check_sizes(config, image_shape)
    if config.layers is not None or config.width is not None:
        raise AekitError("--layers, --width: resize-conv has a fixed depth and width; omit them or use --arch conv")
    channels = image_shape[0]
    encoder = nn.Sequential(
        nn.Conv2d(channels, 16, 4),  # 28 -> 25
        nn.ReLU(),
        nn.AvgPool2d(2),  # -> 12
        nn.Conv2d(16, 32, 4),  # -> 9
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 9 * 9, 128),
        nn.ReLU(),
    )
    decoder = nn.Sequential(
        nn.Linear(config.latent, 128),
        nn.ReLU(),
        nn.Linear(128, 16 * 10 * 10),
        nn.ReLU(),
        nn.Unflatten(1, (16, 10, 10)),
        ResizeConv(16, 32, kernel_size=4, size=18),
        nn.ReLU(),
        ResizeConv(32, channels, kernel_size=3, size=28),
    )
    return Parts(encoder, 128, decoder)


RESIZE_CONV = Architecture(build_resize_conv, default_lr=2e-3)


class ResizeConv(nn.Conv2d):
    """Bilinear resizing, then a convolution without padding whose output has ``size`` x ``size`` pixels."""

    def __init__(self, n_in: int, n_out: int, *, kernel_size: int, size: int) -> None:
        super().__init__(n_in, n_out, kernel_size)
        self.resized = size + kernel_size - 1

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C', size, size) for x (B, C, H, W)."""
        return super().forward(nn.functional.interpolate(x, (self.resized, self.resized), mode="bilinear"))


def check_sizes(config: ModelConfig, image_shape: ImageShape) -> None:
    """Raise an AekitError unless the images are 28 x 28, the only size that some of the studies' networks take."""
    if image_shape[1:] != (28, 28):
        raise AekitError(
            f"--arch {config.arch}: is made for images of {in_pixels(28, 28)}, not {in_pixels(*image_shape[1:])}; "
            "add --image-size 28 or use --arch conv"
        )
