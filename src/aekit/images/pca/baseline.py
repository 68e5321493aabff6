"""Principal components as a baseline: fitted on the training images, measured on those of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aekit.core.progress import Progress
from aekit.errors import AekitError
from aekit.images.data.image_set import ImageSet
from aekit.images.loaded import LoadedCheckpoint
from aekit.images.principal_components import (
    Pca,
    PcaErrors,
    count_values,
    fit_pca,
    max_components,
    reconstruction_errors,
)
from aekit.images.session import Session

PRODUCTS_PER_SECOND = 6e10  # measured on one core, for the covariance of uint8 images
SLOW_SECONDS = 10.0
MAX_BETWEEN = 200  # numbers of components to measure between those of the models


@dataclass(frozen=True)
class PcaBaseline:
    """Principal components, fitted on train, and their errors on the images of the comparison.

    Attributes:
        pca: The components.
        errors: Their errors, for several numbers of components.
        n_train: Images that they were fitted on.
    """

    pca: Pca
    errors: PcaErrors
    n_train: int

    def mse_at(self, latent: int) -> tuple[float, float]:
        """Return the error with that many components (all of them, if there are fewer), and that of clipped images."""
        row = min(latent, int(self.errors.n_components[-1])) == self.errors.n_components
        return float(self.errors.mse[row][0]), float(self.errors.clipped_mse[row][0])

    def explained(self, mse: float) -> float:
        """Return the fraction of the variance around the mean training image that is explained at an error."""
        around_mean = self.errors.mean_image_mse
        return 1 - mse / around_mean if around_mean > 0 else float("nan")


def fit_baseline(
    session: Session, checkpoint: LoadedCheckpoint, image_set: ImageSet, latents: Sequence[int]
) -> PcaBaseline:
    """Return PCA of a checkpoint's training images, with its errors at all of the given dimensions and between them.

    Args:
        session: The session, which reads the training images.
        checkpoint: The checkpoint whose training images are used.
        image_set: Images to measure the errors on.
        latents: Latent dimensions of the models.

    Raises:
        AekitError: The images cannot be read, or there is only one.
    """
    train, progress = session.images(checkpoint, "train"), session.progress
    n_images, most = len(train), max_components(train)
    if most < 1:
        raise AekitError(
            f"{checkpoint.path}: was trained on a single image, which has no principal components; use another one"
        )
    _announce(train, max(latents), progress)
    n_done = 0

    def count(n: int) -> None:
        nonlocal n_done
        n_done += n
        progress.update("fitting PCA", n_done, n_images)

    pca = fit_pca(train, min(max(latents), most), on_block=count)
    errors = reconstruction_errors(pca, image_set, _component_counts(latents, len(pca.components)))
    return PcaBaseline(pca, errors, n_images)


def _announce(train: ImageSet, latent: int, progress: Progress) -> None:
    """Report if there are fewer components than latent dimensions, or if fitting takes long."""
    n_images, n_values, most = len(train), count_values(train), max_components(train)
    if latent > most:
        progress.notice(
            f"PCA: {n_images:,} images of {n_values:,} values have only {most:,} components; models with more latent "
            "dimensions are compared with all of them"
        )
    seconds = n_images * n_values * min(n_images, n_values) / PRODUCTS_PER_SECOND
    if seconds > SLOW_SECONDS:
        gigabytes = 12e-9 * n_values * min(n_images, n_values)
        progress.notice(
            f"PCA: {n_images:,} images of {n_values:,} values take about {seconds / 60:.1f} minutes on one core, and "
            f"{gigabytes:.1f} GB of memory"
        )


def _component_counts(latents: Sequence[int], most: int) -> list[int]:
    """Return the numbers of components to measure: those of the models and all between, or up to a single one."""
    lowest = min(latents) if len(set(latents)) > 1 else 1
    between = range(lowest, max(latents) + 1) if max(latents) - lowest < MAX_BETWEEN else ()
    return sorted({min(count, most) for count in (*latents, *between)})
