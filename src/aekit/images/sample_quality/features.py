"""The spaces in which samples are compared with images: what they are, and how to map images there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from aekit.core.device import ThreadTeam
from aekit.core.torch_settings import exact_products
from aekit.errors import AekitError
from aekit.images.data.image_set import ImageSet
from aekit.images.principal_components import Pca, fit_pca, max_components
from aekit.images.sample_quality import network, weights
from aekit.images.sample_quality.request import NETWORK, PIXELS

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Extract = Callable[[npt.NDArray[np.float32]], Floats]

N_COMPONENTS = 50
_BLOCK = 100  # images that a network takes at once: the large ones need 100 MB for them


@dataclass(frozen=True)
class FeatureSpace:
    """A feature space.

    Attributes:
        name: What tables call it.
        description: What it is, for a notice.
        distance: What the Fréchet distance in it is called: ``FID`` with the network that is defined with.
        extract: Maps images, (N, C, H, W) in [0, 1], to features, (N, D).
    """

    name: str
    description: str
    distance: str
    extract: Extract


def build_spaces(
    wanted: Sequence[str] | None, images: ImageSet, held_out: ImageSet, *, seed: int, device: torch.device
) -> tuple[list[FeatureSpace], Pca]:
    """Return the feature spaces, fitted to training images, and the principal components.

    Args:
        wanted: ``pca``, ``network``, ``NAME=FILE``; None is the first two, or ``pca`` for images without classes.
        images: Training images that are not compared with.
        held_out: Images on which the accuracy of the network is measured.
        seed: Seed of the network.
        device: Where networks compute.

    Raises:
        AekitError: The network has no classes to learn, or a file does not hold the weights of its network.
    """
    pca = fit_pca(images, min(N_COMPONENTS, max_components(images)))
    labels = _labels(images)
    names = wanted or ((PIXELS,) if labels is None else (PIXELS, NETWORK))
    spaces = []
    for name in names:
        if name == PIXELS:
            spaces.append(_of_pixels(pca))
        elif name == NETWORK:
            spaces.append(_of_network(images, labels, held_out, seed, device))
        else:
            spaces.append(_of_weights(name, device))
    return spaces, pca


def _labels(images: ImageSet) -> Labels | None:
    """Return the classes, (N,), -1 where they are not known; None if there are fewer than two."""
    if images.labels is None or len(np.unique(images.labels[images.labels >= 0])) < 2:
        return None
    return images.labels


def _of_pixels(pca: Pca) -> FeatureSpace:
    n_components = len(pca.components)
    scale = float(np.sqrt(pca.variance.mean())) or 1.0
    share = pca.variance.sum() / pca.total_variance if pca.total_variance else 1.0
    about = f"{n_components} principal components of the pixels, {share:.0%} of their variance"
    return FeatureSpace(
        PIXELS,
        about,
        "Fréchet distance",
        lambda x: np.ascontiguousarray(pca.encode(x, n_components) / scale, np.float64),
    )


def _of_network(
    images: ImageSet, labels: Labels | None, held_out: ImageSet, seed: int, device: torch.device
) -> FeatureSpace:
    if labels is None:
        raise AekitError(f"--features network: {images.name} has no two classes to train it on; use pca")
    known = np.flatnonzero(labels >= 0)
    own = images if len(known) == len(images) else images.subset(known)
    fitted = network.fit_network(own, labels[known], seed=seed, device=device)
    about = f"{network.N_FEATURES} features of a small network trained on the classes of training images"
    own_labels = _labels(held_out)
    if own_labels is not None:
        found = np.flatnonzero(own_labels >= 0)
        right = network.accuracy(fitted, held_out.subset(found), own_labels[found])
        about += f", right for {right:.1%} of held-out ones"
    return FeatureSpace(NETWORK, about, "Fréchet distance", _in_blocks(fitted, device))


def _of_weights(option: str, device: torch.device) -> FeatureSpace:
    name, _, file = option.partition("=")
    found = weights.load_weights(name, file, device)
    return FeatureSpace(
        name,
        found.description,
        "FID" if name == weights.FID else "Fréchet distance",
        _in_blocks(found.features, device),
    )


def _in_blocks(features: Callable[[torch.Tensor], torch.Tensor], device: torch.device) -> Extract:
    """Return a function that maps images block by block, on a CPU one in each thread: the same for any number."""

    def map_block(x: torch.Tensor) -> Floats:
        with torch.inference_mode():
            return features(x.to(device)).cpu().double().numpy()

    def extract(x: npt.NDArray[np.float32]) -> Floats:
        blocks = torch.split(torch.from_numpy(x), _BLOCK)
        n_threads = torch.get_num_threads() if device.type == "cpu" else 1
        with exact_products(), ThreadTeam(n_threads) as team:
            parts = team.map(
                lambda first: [map_block(block) for block in blocks[first::n_threads]],
                range(min(n_threads, len(blocks))),
            )
        return np.concatenate([parts[i % n_threads][i // n_threads] for i in range(len(blocks))])

    return extract
