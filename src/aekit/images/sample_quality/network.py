"""A small network trained on the classes of images, whose last hidden layer is a feature space."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aekit.core.adamw import PlainAdamW
from aekit.core.device import one_thread, without_weights
from aekit.images.data.image_set import ImageSet

N_FEATURES = 64
MOST_IMAGES = 20_000
STEPS, BATCH, RATE = 1200, 100, 2e-3
_BLOCK = 500
_SMALLEST_SIDE = 8  # pixels; larger maps are halved

Labels = npt.NDArray[np.int64]


class FeatureNetwork(nn.Module):
    """Convolutions that halve an image until it is at most 8 pixels high and wide, and two dense layers.

    Args:
        shape: (channels, height, width) of images.
        n_classes: Number of classes.
        generator: Draws the weights.
    """

    def __init__(self, shape: tuple[int, int, int], n_classes: int, generator: torch.Generator) -> None:
        super().__init__()
        channels, height, width = shape
        layers: list[nn.Module] = []
        n_out = 32
        with without_weights():
            while not layers or max(height, width) > _SMALLEST_SIDE:
                stride = 2 if max(height, width) > _SMALLEST_SIDE else 1
                layers += [nn.Conv2d(channels, n_out, 3, stride, padding=1), nn.ReLU()]
                channels, n_out = n_out, 64
                height, width = (math.ceil(side / stride) for side in (height, width))
            layers += [nn.Flatten(), nn.Linear(channels * height * width, N_FEATURES), nn.ReLU()]
            self.body = nn.Sequential(*layers)
            self.head = nn.Linear(N_FEATURES, n_classes)
        self.register_buffer("scale", torch.ones(()))
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                with torch.no_grad():  # not from torch's global generator
                    n_in = layer.weight[0].numel()
                    layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * math.sqrt(2 / n_in))
                    assert layer.bias is not None
                    layer.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Return features (B, 64), of mean variance one over training images, of x, (B, C, H, W) in [0, 1]."""
        features: Tensor = self.body(x - 0.5) / self.get_buffer("scale")
        return features


def fit_network(images: ImageSet, labels: Labels, *, seed: int, device: torch.device) -> FeatureNetwork:
    """Return a network that was trained on at most 20,000 images and their classes, on one thread if on the CPU.

    Args:
        images: N images of at least two classes.
        labels: Their classes, 0 to K - 1, (N,).
        seed: Seed of the draw, the weights and the batches.
        device: Where to compute.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(images), generator=generator)[:MOST_IMAGES].sort().values.numpy()
    x, targets = torch.from_numpy(images.take(rows)), torch.from_numpy(labels[rows])
    network = FeatureNetwork(images.image_shape, int(labels.max()) + 1, generator).to(device)
    with one_thread():
        _train(network, x, targets, generator)
    network.eval()
    features = torch.cat([block for block, _ in _features(network, images, rows)])
    scale = float(features.double().var(dim=0, unbiased=False).mean().sqrt()) or 1.0
    network.get_buffer("scale").fill_(scale)
    with torch.no_grad():
        network.head.weight.mul_(scale)  # it sees what it was trained on
    return network


def _train(network: FeatureNetwork, x: Tensor, targets: Tensor, generator: torch.Generator) -> None:
    device = next(network.parameters()).device
    optimiser = PlainAdamW(network.parameters(), weight_decay=1e-2)
    for step in range(STEPS):
        picked = torch.randint(len(x), (min(BATCH, len(x)),), generator=generator)
        batch = x[picked].to(device).float() / 255
        loss = F.cross_entropy(network.head(network(batch)), targets[picked].to(device))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step(RATE * (0.5 * (1 + math.cos(math.pi * step / STEPS))))


def accuracy(network: FeatureNetwork, images: ImageSet, labels: Labels) -> float:
    """Return the fraction of images that it takes for their class."""
    n_right = 0
    for features, rows in _features(network, images, np.arange(len(images))):
        n_right += int((network.head(features).argmax(dim=1).cpu().numpy() == labels[rows]).sum())
    return n_right / len(images)


def _features(network: FeatureNetwork, images: ImageSet, rows: Labels) -> Iterator[tuple[Tensor, Labels]]:
    """Yield the features of some images block by block, (B, 64), with their rows."""
    device = next(network.parameters()).device
    with torch.inference_mode():
        for start in range(0, len(rows), _BLOCK):
            block = rows[start : start + _BLOCK]
            yield network(torch.from_numpy(images.take(block)).to(device).float() / 255), block
