"""Networks by name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from torch.nn.modules.batchnorm import _BatchNorm

from aekit.errors import AekitError
from aekit.images.config import Arch, ModelConfig, Optimizer
from aekit.images.models.base import Architecture, Autoencoder, ImageShape, is_large
from aekit.images.models.blocks import BLOCKS
from aekit.images.models.conv import CONV
from aekit.images.models.dense import DENSE
from aekit.images.models.mlp import MLP
from aekit.images.models.own import Builder, build_own
from aekit.images.models.resize_conv import RESIZE_CONV
from aekit.images.models.strided import STRIDED
from aekit.images.sizes import in_pixels

MODELS: dict[Arch, Architecture] = {
    "conv": CONV,
    "dense": DENSE,
    "mlp": MLP,
    "resize-conv": RESIZE_CONV,
    "strided": STRIDED,
    "blocks": BLOCKS,
}
LARGE_IMAGE_LR = 1e-3
OWN_LR = 1e-3  # of a network that is not known
MUON_LR = 2  # times the rate of adamw
SMALL_BATCH_LR = 2e-3  # few images per step lower the rate to this at most: dense at 6e-4 was 13 nats worse
USUAL_BATCH_SIZE = 100  # images per step, for which the learning rates of the architectures were chosen


def build_model(
    config: ModelConfig, image_shape: ImageShape, class_names: Sequence[str] = (), *, parts: Builder | None = None
) -> Autoencoder:
    """Return a network with fresh weights for images of shape (channels, height, width).

    Args:
        config: Which network.
        image_shape: Of the images.
        class_names: The classes that one with ``condition`` is told.
        parts: Builds the parts of a network of your own, whose ``arch`` is ``own-`` and the name of this function.

    Raises:
        AekitError: The architecture does not support such images, or this depth or width; or a network of your own
            comes without its builder, or has parts of other shapes.
    """
    _, height, width = image_shape
    if min(height, width) < 8:
        raise AekitError(
            f"--image-size: {in_pixels(height, width)} is below 8 pixels; enlarge the images with --image-size 8"
        )
    # The decoder's input is the layer of latent variables next to the image.
    n_inputs = (config.n_lower or config.latent) + (len(class_names) if config.is_conditional else 0)
    inside = replace(config, latent=n_inputs)
    if config.own_builder is None:
        built = MODELS[config.arch].build(inside, image_shape)
    else:
        n_shown = image_shape[0] + (len(class_names) if config.is_conditional else 0)
        built = build_own(parts, inside, image_shape, n_channels=n_shown)
    if config.prior == "vamp" and any(isinstance(module, _BatchNorm) for module in built.encoder.modules()):
        raise AekitError(
            f"--prior: vamp sends pseudo-inputs through the encoder, which would shift the statistics of --arch "
            f"{config.arch}'s batch norm; use conv, dense, mlp or resize-conv"
        )
    model = Autoencoder(config, image_shape, built, class_names if config.is_conditional else ())
    model.builder = None if config.own_builder is None else parts
    return model


def default_optimizer(arch: Arch, image_shape: ImageShape, batch_size: int = USUAL_BATCH_SIZE) -> Optimizer:
    """Return the default optimizer for images of shape (channels, height, width): muon where it was found better.

    That is ``conv`` on small images, in usual batches: what a step of it costs does not depend on their number.
    """
    is_known = arch == "conv" and not is_large(image_shape)
    return "muon" if is_known and batch_size >= USUAL_BATCH_SIZE else "adamw"


def default_lr(
    arch: Arch, image_shape: ImageShape, batch_size: int = USUAL_BATCH_SIZE, optimizer: Optimizer = "adamw"
) -> float:
    """Return the default peak of the learning rate for images of shape (channels, height, width).

    Fewer than 100 images per step lower it by the square root of their number, to 2e-3 at least: 400 digits, 8 per
    step, have a validation loss of 146.0 nats at the 5e-3 of ``conv``, 137.9 at 2e-3, 136.9 at 1.4e-3. The loss is a
    sum over pixels, so large images take a lower rate as well: the one that is best for ``conv`` on MNIST diverged
    within 66 steps on colour faces of 48 x 48, where 1e-3 did better than 2e-3.

    Source:
        Malladi, Lyu, Panigrahi & Arora 2022, arXiv:2205.10287, on the square root.
    """
    own = MODELS[arch].default_lr if arch in MODELS else OWN_LR
    own *= MUON_LR if optimizer == "muon" else 1
    scaled = own * math.sqrt(min(batch_size / USUAL_BATCH_SIZE, 1))
    lr = max(float(f"{scaled:.2g}"), min(own, SMALL_BATCH_LR))  # two digits, so that people can type it again
    return min(lr, LARGE_IMAGE_LR) if is_large(image_shape) else lr
