"""A network that classifies from few labels: with a frozen or fine-tuned encoder, or trained from scratch.

All three are the same network, an encoder and a head of one hidden layer, trained on the same input: the labelled
images, randomly rotated, stretched and shifted a little at each step, with noise on the features. Every setting was
chosen on validation images that were held out of train: benchmarks/probe_settings.py.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aekit.core.adamw import PlainAdamW
from aekit.core.device import ThreadTeam, torch_generator, without_weights
from aekit.images.principal_components import ImageRows
from aekit.images.probe.classifiers import Scale, fit_scale

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
OnImages = Callable[[int], object]
Seed = tuple[int, ...]

ENCODE_BATCH = 500
WIDTH = 256  # units of the head
BATCH = 100
HEAD_STEPS = 600
STEPS = 200  # of encoder and head, after HEAD_STEPS of the head alone
# All networks take the same number of steps. Twice as many are better: at 100 labels (ten draws, 10,000 test images)
# fine-tuning has 90.3 % after 800 steps in total and 90.9 % after 1,400, random weights 91.0 % after 800 and 91.6 %
# after 1,600; but 160 networks are trained by default.
SCRATCH_STEPS = HEAD_STEPS + STEPS
HEAD_RATE = 3e-3
TUNED_RATE = 3e-4  # of encoder and head when both are trained further
SCRATCH_RATE = 3e-3
WARM_UP = 0.1  # fraction of the steps
NOISE = 0.5  # standard deviation, where that of the features is one
N_VARIANTS = 16  # versions of a labelled image for the frozen encoder
MAX_VARIANT_BYTES = 2**30
# Largest rotation in radians, stretch, shear, and shift in half sides: one pixel of 28.
ROTATION, STRETCH, SHEAR, SHIFT = 0.2, 0.1, 0.15, 2 / 28


class Classifier(nn.Module):
    """An encoder, a scale for its features, and a head of one hidden layer.

    Args:
        encoder: Maps x (B, C, H, W) to features (B, F).
        scale: Transforms features to mean zero and mean variance one.
        head: Maps scaled features to logits (B, K).
    """

    def __init__(self, encoder: nn.Module, scale: Scale, head: nn.Sequential) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("mean", torch.from_numpy(scale.mean))
        self.spread = scale.spread
        self.head = head

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return logits (B, K) of images x, (B, C, H, W) in [0, 1], with standard normal noise, (B, F), if any."""
        features = (self.encoder(x) - self.mean) / self.spread
        logits: Tensor = self.head(features if noise is None else features + NOISE * noise)
        return logits


def _draw_head(n_features: int, n_classes: int, generator: torch.Generator) -> nn.Sequential:
    # Made without weights: torch would draw them from its global generator.
    with without_weights():
        first, last = nn.Linear(n_features, WIDTH), nn.Linear(WIDTH, n_classes)
    with torch.no_grad():
        first.weight.copy_(torch.randn(WIDTH, n_features, generator=generator) / math.sqrt(n_features))
        first.bias.copy_(torch.rand(WIDTH, generator=generator) * 2 - 1)
        last.weight.zero_()
        last.bias.zero_()
    return nn.Sequential(first, nn.ReLU(), last)


def warp_images(x: Tensor, generator: torch.Generator) -> Tensor:
    """Return images x, (B, C, H, W), each rotated, stretched, sheared and shifted a little by a random affine map."""
    n_images = len(x)
    draws = 2 * torch.rand(n_images, 6, generator=generator) - 1
    angle, shear = ROTATION * draws[:, 0], SHEAR * draws[:, 1]
    stretch, shift = 1 + STRETCH * draws[:, 2:4], SHIFT * draws[:, 4:]
    upper = torch.stack([stretch[:, 0] * angle.cos(), shear - angle.sin(), shift[:, 0]], dim=1)
    lower = torch.stack([angle.sin(), stretch[:, 1] * angle.cos(), shift[:, 1]], dim=1)
    grid = F.affine_grid(torch.stack([upper, lower], dim=1), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def encode_features(
    encoder: nn.Module, images: ImageRows, *, team: ThreadTeam, on_images: OnImages | None = None
) -> FloatArray:
    """Return the features of all images, (N, F).

    Args:
        encoder: Maps x (B, C, H, W) to features (B, F).
        images: N images.
        team: Threads that share the images.
        on_images: Called with the number of images after each batch, from any thread.
    """
    batches = [
        np.arange(start, min(start + ENCODE_BATCH, len(images))) for start in range(0, len(images), ENCODE_BATCH)
    ]
    device = _device(encoder)
    return np.concatenate(
        _map(team, lambda rows: _encode(encoder, _floats(images.take(rows)), device, on_images), batches)
    )


def encode_variants(
    encoder: nn.Module,
    images: ImageRows,
    rows: IntArray,
    *,
    seed: Seed,
    team: ThreadTeam,
    on_images: OnImages | None = None,
) -> FloatArray:
    """Return the features of some images in several warped versions, (V, M, F), for heads on a frozen encoder.

    Args:
        encoder: Maps x (B, C, H, W) to features (B, F).
        images: N images.
        rows: Which of them to encode, (M,).
        seed: Seed of the warps.
        team: Threads that share the images.
        on_images: Called with the number of images after each batch, from any thread.
    """
    device = _device(encoder)
    encoder_width = _encode(encoder, _floats(images.take(rows[:1])), device, None).shape[1]
    n_variants = int(np.clip(MAX_VARIANT_BYTES // (4 * len(rows) * encoder_width), 1, N_VARIANTS))

    def encode_block(start: int) -> FloatArray:
        x = _floats(images.take(rows[start : start + ENCODE_BATCH]))
        generator = torch_generator(*seed, start)
        return np.stack([_encode(encoder, warp_images(x, generator), device, on_images) for _ in range(n_variants)])

    return np.concatenate(_map(team, encode_block, range(0, len(rows), ENCODE_BATCH)), axis=1)


def fit_heads(
    variants: FloatArray, rows: IntArray, targets: IntArray, *, n_classes: int, seed: Seed, device: torch.device
) -> list[nn.Sequential]:
    """Return a trained head for each draw of labelled images; all draws are trained in parallel.

    Args:
        variants: Scaled features of images in several versions, (V, M, F).
        rows: Which of the M images are labelled in each draw, (R, n).
        targets: Their classes, (R, n).
        n_classes: Number of classes, K.
        seed: Seed of the weights, the batches and the noise.
        device: Where to compute.
    """
    n_draws, n_labels = rows.shape
    n_features = variants.shape[2]
    generators = [torch_generator(*seed, n_labels, draw) for draw in range(n_draws)]
    heads = [_draw_head(n_features, n_classes, generator) for generator in generators]
    weights = [
        torch.stack([value.detach() for value in values]).to(device).requires_grad_()
        for values in zip(*(head.parameters() for head in heads), strict=True)
    ]  # (R, width, F), (R, width), (R, K, width), (R, K)
    table, positions = torch.from_numpy(variants).to(device), torch.from_numpy(rows)
    wanted = torch.from_numpy(targets).to(device)
    optimiser = PlainAdamW(weights)
    n_batch = min(n_labels, BATCH)
    for step in range(HEAD_STEPS):
        picked = torch.stack([torch.randperm(n_labels, generator=generator)[:n_batch] for generator in generators])
        versions = torch.stack([torch.randint(len(table), (n_batch,), generator=generator) for generator in generators])
        noise = torch.stack([torch.randn(n_batch, n_features, generator=generator) for generator in generators])
        x = table[versions.to(device), positions.gather(1, picked).to(device)] + NOISE * noise.to(device)
        logits = _batched_head(weights, x)
        labels = wanted.gather(1, picked.to(device))
        # The sum over draws: they share no weights, so each is trained as if alone.
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten()) * n_draws
        optimiser.zero_grad()
        loss.backward()
        optimiser.step(HEAD_RATE * (0.5 * (1 + math.cos(math.pi * step / HEAD_STEPS))))
    for draw, head in enumerate(heads):
        with torch.no_grad():
            for parameter, values in zip(head.parameters(), weights, strict=True):
                parameter.copy_(values[draw])
    return heads


def _batched_head(weights: list[Tensor], x: Tensor) -> Tensor:
    """Return logits (R, B, K) of R heads, each on its own features x, (R, B, F)."""
    first, first_bias, last, last_bias = weights
    hidden = F.relu(torch.baddbmm(first_bias[:, None], x, first.transpose(1, 2)))
    return torch.baddbmm(last_bias[:, None], hidden, last.transpose(1, 2))


def predict_heads(heads: list[nn.Sequential], features: FloatArray) -> IntArray:
    """Return the class that each of R heads predicts for each row of scaled features (N, F), (R, N)."""
    rows = torch.from_numpy(features)
    with torch.inference_mode():
        return np.stack([head(rows).argmax(dim=1).numpy() for head in heads])


def fine_tune(
    encoder: nn.Module,
    scale: Scale,
    head: nn.Sequential,
    images: npt.NDArray[np.uint8],
    targets: IntArray,
    *,
    augment: bool,
    seed: Seed,
) -> Classifier:
    """Return a classifier whose encoder was trained as well, starting from a head trained on the frozen encoder.

    A random head would first destroy what the encoder has learned. Batch norm keeps the statistics of the many images
    that the encoder was trained on; those of a few labelled images would be poor.

    Args:
        encoder: Maps x (B, C, H, W) to features (B, F); it is not changed.
        scale: The scale of its features.
        head: As returned by :func:`fit_heads`.
        images: Labelled images, uint8 (n, C, H, W).
        targets: Their classes, (n,).
        augment: Whether to warp the images.
        seed: Seed of batches, warps and noise.

    Source:
        Kumar, Raghunathan, Jones, Ma & Liang 2022, arXiv:2202.10054, on training the head first.
    """
    device, generator = _device(encoder), torch_generator(*seed)
    classifier = Classifier(copy.deepcopy(encoder), scale, copy.deepcopy(head))
    _train(
        classifier.to(device).eval(),
        images,
        targets,
        rate=TUNED_RATE,
        n_steps=STEPS,
        augment=augment,
        generator=generator,
    )
    return classifier


def train_from_scratch(
    encoder: nn.Module,
    images: npt.NDArray[np.uint8],
    targets: IntArray,
    *,
    n_classes: int,
    augment: bool,
    seed: Seed,
) -> Classifier:
    """Return a classifier trained on labelled images only.

    Args:
        encoder: Maps x (B, C, H, W) to features (B, F), with random weights; it is trained in place.
        images: Labelled images, uint8 (n, C, H, W).
        targets: Their classes, (n,).
        n_classes: Number of classes.
        augment: Whether to warp the images.
        seed: Seed of the head's weights, batches, warps and noise.
    """
    device, generator = _device(encoder), torch_generator(*seed)
    encoder.train()
    with torch.no_grad():
        features = encoder(_floats(images).to(device)).cpu().numpy()
    try:
        scale = fit_scale(features)
    except ValueError:  # all ReLUs are dead
        scale = Scale(features.mean(axis=0), 1.0)
    classifier = Classifier(encoder, scale, _draw_head(len(scale.mean), n_classes, generator)).to(device)
    _train(
        classifier.train(),
        images,
        targets,
        rate=SCRATCH_RATE,
        n_steps=SCRATCH_STEPS,
        augment=augment,
        generator=generator,
    )
    return classifier.eval()


def _train(
    classifier: Classifier,
    images: npt.NDArray[np.uint8],
    targets: IntArray,
    *,
    rate: float,
    n_steps: int,
    augment: bool,
    generator: torch.Generator,
) -> None:
    device = _device(classifier)
    x, wanted = _floats(images), torch.from_numpy(targets)
    optimiser = PlainAdamW(classifier.parameters())
    n_features = len(classifier.get_buffer("mean"))
    for step in range(n_steps):
        picked = torch.randperm(len(x), generator=generator)[:BATCH]
        batch = warp_images(x[picked], generator) if augment else x[picked]
        noise = torch.randn(len(picked), n_features, generator=generator)
        logits = classifier(batch.contiguous(memory_format=torch.channels_last).to(device), noise.to(device))
        loss = F.cross_entropy(logits, wanted[picked].to(device))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step(rate * _warm_up_and_cosine(step, n_steps))


def _warm_up_and_cosine(step: int, n_steps: int) -> float:
    return min(1.0, (step + 1) / (WARM_UP * n_steps)) * 0.5 * (1 + math.cos(math.pi * step / n_steps))


def predict_images(classifier: Classifier, images: ImageRows) -> IntArray:
    """Return the predicted class of each image, (N,)."""
    device = _device(classifier)
    predicted = []
    with torch.inference_mode():
        for start in range(0, len(images), ENCODE_BATCH):
            x = _floats(images.take(np.arange(start, min(start + ENCODE_BATCH, len(images))))).to(device)
            predicted.append(classifier(x).argmax(dim=1).cpu().numpy())
    return np.concatenate(predicted)


def _map(team: ThreadTeam, function: Callable[..., FloatArray], parts: Iterable[object]) -> list[FloatArray]:
    """Return the results of ``function`` for all parts, in order; each of n threads takes every n-th part."""
    jobs = list(parts)
    stripes = [jobs[i :: team.n_threads] for i in range(min(team.n_threads, len(jobs)))]
    made = team.map(lambda stripe: [function(job) for job in stripe], stripes)
    done: list[FloatArray] = [made[i % len(stripes)][i // len(stripes)] for i in range(len(jobs))]
    return done


def _encode(encoder: nn.Module, x: Tensor, device: torch.device, on_images: OnImages | None) -> FloatArray:
    with torch.inference_mode():
        features: FloatArray = encoder(x.contiguous(memory_format=torch.channels_last).to(device)).cpu().numpy()
    if on_images is not None:
        on_images(len(x))
    return features


def _floats(pixels: npt.NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels)).to(torch.float32, memory_format=torch.channels_last).div_(255)


def _device(module: nn.Module) -> torch.device:
    return next(module.parameters()).device
