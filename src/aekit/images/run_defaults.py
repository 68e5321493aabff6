"""What a training takes where its options leave it open: images per step, optimizer, learning rate."""

from __future__ import annotations

from dataclasses import replace

from aekit.errors import AekitError, count
from aekit.images.config import RunConfig, TrainConfig
from aekit.images.models import USUAL_BATCH_SIZE, default_lr, default_optimizer
from aekit.images.models.base import ImageShape

# A few large batches hardly train a network, so that a small set has smaller ones: 50 per epoch while a batch has eight
# images or more, and 12 per epoch below that.
STEPS_PER_EPOCH, LEAST_STEPS_PER_EPOCH = 50, 12
SMALL_BATCH = 8


def fill_defaults(config: RunConfig, *, n_images: int, image_shape: ImageShape) -> RunConfig:
    """Return the configuration with the training options that were left open filled in, for ``n_images`` of train.

    Raises:
        AekitError: A batch is larger than the data.
    """
    train = config.train
    n_samples = train.samples_per_epoch or n_images
    batch_size = train.batch_size or min(default_batch_size(n_images), n_samples)
    if train.batch_size is not None and train.batch_size > min(n_images, n_samples):
        raise AekitError(
            f"--batch-size: {train.batch_size} is more than the {count(min(n_images, n_samples), 'image')} of an "
            "epoch; make it smaller or leave it out"
        )
    optimizer = train.optimizer or default_optimizer(config.model.arch, image_shape, batch_size)
    lr = train.lr or default_lr(config.model.arch, image_shape, batch_size, optimizer)
    schedule = train.schedule or ("linear" if optimizer == "muon" else "one-cycle")
    filled = replace(train, batch_size=batch_size, optimizer=optimizer, lr=lr, schedule=schedule)
    return replace(config, train=filled)


def default_batch_size(n_images: int) -> int:
    """Return how many images a step takes by default, for ``n_images`` of train: 100, or fewer below 5,000 images.

    An epoch then has 50 steps; if a step would have fewer than 8 images, 8; and below 96 images, an epoch has 12 steps.
    """
    at_most_small = min(n_images // LEAST_STEPS_PER_EPOCH, SMALL_BATCH)
    smallest = min(n_images, 2)  # batch norm cannot take a single image
    return max(min(n_images // STEPS_PER_EPOCH, USUAL_BATCH_SIZE), at_most_small, smallest)


def small_set_notice(given: TrainConfig, used: TrainConfig, n_images: int) -> str | None:
    """Return what was chosen for a small training set, and how to choose otherwise; None if nothing was.

    Args:
        given: The training as it was asked for.
        used: The same without open options.
        n_images: Images to train on.
    """
    if given.batch_size is not None or default_batch_size(n_images) == USUAL_BATCH_SIZE:
        return None
    text = f"{count(used.batch_size or n_images, 'image')} per step (--batch-size)"
    if given.lr is None:
        text += f" and a peak learning rate of {used.lr:g} (--lr)"
    there = "is" if n_images == 1 else "are"
    return f"{text}, because there {there} only {count(n_images, 'training image')}"
