"""A checkpoint with its network, and what tables and figures record of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aekit import __version__
from aekit.core.checkpoint import Header
from aekit.images.data.image_set import ImageSet
from aekit.images.inference import Codes, encode_images
from aekit.images.models.base import Autoencoder
from aekit.images.record import RunRecord
from aekit.images.run_settings import VAE_ONLY

TABLE_SETTINGS = ("kind", "arch", "latent", "beta", "seed")  # that say in a table which model a row is of


def study_parameters(command: str, request: Any, checkpoints: Any, images: ImageSet) -> dict[str, Any]:
    """Return what the figure of a study of several checkpoints records of its origin.

    Args:
        command: The command.
        request: What was asked for, a dataclass.
        checkpoints: What is recorded of each checkpoint.
        images: The images that all were studied on.
    """
    return {
        "aekit": __version__,
        "command": command,
        "options": asdict(request),
        "checkpoints": checkpoints,
        "images": _about_images(images),
    }


def _about_images(images: ImageSet) -> dict[str, Any]:
    return {"name": images.name, "n": len(images), "fingerprint": images.fingerprint}


@dataclass(frozen=True)
class LoadedCheckpoint:
    """A checkpoint with its network.

    Attributes:
        path: Its file.
        name: What tables call it: the name of its file, or its path if others of that name are with it.
        label: A few words that tell it from the others of the session.
        model: The network, on its device.
        header: What the file says of itself.
        record: The same, typed.
    """

    path: Path
    name: str
    label: str
    model: Autoencoder
    header: Header
    record: RunRecord

    @property
    def title(self) -> str:
        """Return a few words for a title: model, latent dimensions, and for a VAE beta."""
        return self.record.title

    def settings(self, names: Sequence[str] = TABLE_SETTINGS) -> dict[str, Any]:
        """Return settings of model and training as columns of a table, by the names of their options.

        Args:
            names: Which ones, in their order. What the model does not have, as an autoencoder's beta, is None.
        """
        own = vars(self.record.model) | vars(self.record.train)
        missing = () if self.record.model.has_prior else VAE_ONLY
        return {name: None if name in missing else own[name] for name in names}

    def parameters(self, command: str, image_set: ImageSet | None = None, **options: Any) -> dict[str, Any]:
        """Return what a result file records of its origin."""
        parameters = {
            "aekit": __version__,
            "command": command,
            "options": options,
            "checkpoint": self.path.name,
            **self.header.configuration,
        }
        if image_set is not None:
            parameters["images"] = _about_images(image_set)
            if image_set.labels_fingerprint:
                parameters["labels"] = image_set.labels_fingerprint
        return parameters

    def encode(self, image_set: ImageSet) -> Codes:
        """Return the codes, or posterior means, of images.

        Raises:
            AekitError: Some are not finite, as for a model whose training diverged.
        """
        return encode_images(self.model, image_set)
