"""What the commands do, for arrays in Python: train, load, encode, decode, reconstruct and evaluate.

Images are what ``--data`` takes: a path, the name of a known data set, or an array, (N, H, W), (N, C, H, W) or
(N, H, W, C) with C 1 or 3; bytes, other integers from 0 to 255, bool, or floats in [0, 1]. As in a file, floats become
one of 256 levels, so that results are those of the command line.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pandas as pd
import torch

from aekit.core.checkpoint import Header, read_header
from aekit.core.device import choose_device, set_threads
from aekit.core.environment import default_data_root
from aekit.core.progress import SILENT, Progress
from aekit.core.settings import check_at_least, check_seed, check_type
from aekit.core.torch_settings import keeps_torch_settings, torch_settings
from aekit.errors import AekitError, shown
from aekit.images.config import RunConfig
from aekit.images.evaluation.evaluate import evaluate_model
from aekit.images.given_arrays import as_codes
from aekit.images.given_images import (
    Images,
    Labels,
    as_file,
    class_numbers,
    image_set_for,
    named_after,
    pixel_seed,
    trained_with,
)
from aekit.images.given_options import configured
from aekit.images.inference import Codes, FloatArray, decode_codes, encode_images, reconstruct_images
from aekit.images.models.base import Autoencoder
from aekit.images.models.own import Builder
from aekit.images.run_building import read_splits
from aekit.images.runs import Machine, epoch_line, run_training, train_model
from aekit.images.state import read_model

Model = Autoencoder | str | os.PathLike[str]


@dataclass(frozen=True)
class Trained:
    """A trained model.

    Attributes:
        model: The network on the CPU, in evaluation mode, its weights without gradients.
        history: A row per epoch and split: losses in nats per image or as the loss says, as in the ``.csv`` of a
            training, without timings.
        result: What the checkpoint says of the results: ``test``, ``parameters``, ``epoch``, ...
        path: The checkpoint; None if nothing was written.
    """

    model: Autoencoder
    history: pd.DataFrame
    result: Mapping[str, Any]
    path: Path | None = None

    def __repr__(self) -> str:
        """Return one line: which network, after how many epochs, its loss on the test images, and its file."""
        config, epoch, total = self.model.config, self.result["epoch"], self.result["test"]["total"]
        where = "not written" if self.path is None else shown(self.path)
        network = f"{config.kind} {config.arch}, latent {config.latent}"
        return f"Trained({network}, epoch {epoch}, test total {total:.4g}, {where})"


def load(path: str | os.PathLike[str], device: str = "cpu", *, parts: Builder | None = None) -> Autoencoder:
    """Return the model of a checkpoint, ready: ``model.encode(x)`` and ``model.decode(z)`` take and give tensors.

    Args:
        path: A checkpoint that aekit wrote.
        device: ``cpu``, ``cuda``, ``cuda:N``, ``mps`` or ``auto``.
        parts: The function that built the parts of the network, for one of your own.

    Raises:
        AekitError: The file is not a checkpoint, or the device is not available; ``parts`` is missing, is another
            function than the one that it was trained with, or is given for a network of aekit.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise AekitError(f"load: {type(path).__name__} is not a path; give that of a checkpoint")
    file = Path(path)
    header = read_header(file)
    # For looking, not for training: codes and images come without a graph, so that .numpy() works on them.
    with torch_settings():  # building it draws random numbers
        model = read_model(file, choose_device(device), header=header, parts=parts)[0].requires_grad_(False)
    if parts is not None and model.config.own_builder is None:
        raise AekitError(f"{file}: is a network of aekit, {model.config.arch}; leave parts out")
    return model


@keeps_torch_settings
def train(
    config: RunConfig | None = None,
    images: Images | None = None,
    *,
    labels: Labels | None = None,
    parts: Builder | None = None,
    output: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    resume: bool = False,
    data_root: str | os.PathLike[str] | None = None,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress = SILENT,
    **options: Any,
) -> Trained:
    """Return a model trained as ``aekit train-vae`` and ``train-ae`` do, with its history and results.

    The same images and options give the weights of the command line, if the number of threads is the same.

    Args:
        config: What is trained; None takes ``options``.
        images: The images, see above; None takes those that ``config.data.name`` names. Without test images a fifth is
            set aside, and ``val`` of the others, as in an array file. Images in memory are recorded by the name in
            ``config.data``, or as ``array`` if that is a known data set.
        labels: Labels of an array: whole numbers or texts, (N,), or a column of zeros and ones per class or attribute.
        parts: Builds the parts of a network of your own: ``parts(config.model, (C, H, W))`` returns
            ``Parts(encoder, n_features, decoder)``; the encoder makes (B, n_features) of images (B, C, H, W), the
            decoder (B, C, H, W) of codes (B, latent). Its learning rate is 0.001 if none is given.
        output: The checkpoint to write with its companions, or a folder; None writes nothing.
        overwrite: Replace what is there.
        resume: Continue an interrupted run; a finished one is read.
        data_root: Folder of the known data sets; None takes ``$AEKIT_DATA`` or the user's data folder.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        threads: CPU threads; None uses all cores.
        progress: Receives updates and notices, one per epoch, and is asked whether to stop.
        options: Options of ``train-vae`` with underscores instead of ``config``, as ``beta=0.5, batch_size=50``;
            ``model="ae"`` is a plain autoencoder, ``image_size`` a number or (height, width).

    Raises:
        AekitError: An option is unknown or out of its range, the images do not fit, the output exists, or the parts
            have other shapes.
        Stopped: ``progress`` asked for it; with ``output`` the state was saved.
    """
    check_type("overwrite", overwrite, bool)
    check_type("resume", resume, bool)
    threads = check_type("threads", threads, int | None)
    device, output = check_type("device", device, str), check_type("output", output, str | None)
    config = named_after(configured(config, options, parts), images)
    machine = Machine(Path(data_root) if data_root else default_data_root(), device, threads)
    sets = None
    if images is not None and not isinstance(images, (str, os.PathLike)):
        sets = read_splits(config.data, machine.data_root, progress, arrays=as_file(images, labels))
    elif labels is not None:
        raise AekitError("labels: belong to images in an array; name a table of labels with config.data.labels")
    if output is None:
        if overwrite or resume:
            raise AekitError("overwrite, resume: without an output there is nothing to replace or to continue")
        model, header = train_model(
            config,
            machine,
            progress=progress,
            on_epoch=lambda rows: progress.notice(epoch_line(rows)),
            sets=sets,
            parts=parts,
        )
        return _trained(model, header, None)
    path = run_training(
        config,
        Path(output),
        machine,
        overwrite=overwrite,
        resume=resume,
        progress=progress,
        sets=sets,
        parts=parts,
    ).path
    header = read_header(path)
    return _trained(read_model(path, torch.device("cpu"), header=header, parts=parts)[0], header, path)


def _trained(model: Autoencoder, header: Header, path: Path | None) -> Trained:
    history = pd.DataFrame(header.result["history"])
    return Trained(model.requires_grad_(False), history, header.result, path)


def _set_threads(threads: int | None) -> None:
    set_threads(check_type("threads", threads, int | None))


def _opened(model: object) -> Autoencoder:
    """Return a network, after loading it if it is given as a path.

    Raises:
        AekitError: It cannot be loaded, or is something else.
    """
    if isinstance(model, (str, os.PathLike)):
        return load(model)
    if isinstance(model, Trained):
        raise AekitError("model: is all that train returns; give its .model")
    if not isinstance(model, Autoencoder):
        kind = type(model).__name__
        raise AekitError(f"model: {kind} is not a network of aekit; give aekit.load(path), or the path of a checkpoint")
    return model


@keeps_torch_settings
def encode(
    model: Model,
    images: Images,
    *,
    labels: Labels | None = None,
    data_root: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    progress: Progress = SILENT,
) -> Codes:
    """Return the codes of images: ``mean`` (N, L), and of a VAE ``logvar`` (N, L), float32.

    Args:
        model: A network, of :func:`load` or :func:`train`, or the path of its checkpoint.
        images: The images, see above; all of a path, whatever they are for.
        labels: The class of each, for a network that is told it.
        data_root: Folder of the known data sets.
        threads: CPU threads; None uses all cores.
        progress: Receives updates and notices of reading.

    Raises:
        AekitError: The images cannot be read, have another shape than those of the training, or codes are not finite.
    """
    _set_threads(threads)
    model = _opened(model)
    return encode_images(model, image_set_for(model, images, labels, data_root, progress))


@keeps_torch_settings
def decode(
    model: Model, codes: npt.ArrayLike | torch.Tensor, *, labels: Labels | None = None, threads: int | None = None
) -> FloatArray:
    """Return the mean images of p(x | z), float32 (N, C, H, W) in [0, 1].

    Args:
        model: A network, of :func:`load` or :func:`train`, or the path of its checkpoint.
        codes: The codes z, (N, L).
        labels: The name of the class of each as the training had it, (N,), for a network that is told it.
        threads: CPU threads; None uses all cores.

    Raises:
        AekitError: The codes are not numbers, not finite, or have another number of dimensions; a class is unknown, or
            images are not finite.
    """
    _set_threads(threads)
    model = _opened(model)
    z = as_codes(codes, model.config.latent)
    return decode_codes(model, z, labels=class_numbers(model, labels, len(z)))


@keeps_torch_settings
def reconstruct(
    model: Model,
    images: Images,
    *,
    labels: Labels | None = None,
    data_root: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    progress: Progress = SILENT,
) -> FloatArray:
    """Return the reconstructions of images from their codes or posterior means, float32 (N, C, H, W) in [0, 1].

    The arguments and errors are those of :func:`encode`. Of a training on black and white pixels (``binarize``) the
    images are drawn so, as in ``aekit reconstruct``.
    """
    _set_threads(threads)
    model = _opened(model)
    found = image_set_for(model, images, labels, data_root, progress)
    return reconstruct_images(model, found.drawn(pixel_seed(model, trained_with(model).seed)))


@keeps_torch_settings
def evaluate(
    model: Model,
    images: Images,
    *,
    labels: Labels | None = None,
    importance: int | None = None,
    seed: int | None = None,
    data_root: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Return the means over images and their standard errors that the ``.json`` file of ``aekit evaluate`` has.

    Args:
        model: A network, of :func:`load` or :func:`train`, or the path of its checkpoint.
        images: The images, see above; all of a path, whatever they are for.
        labels: The class of each, for a network that is told it.
        importance: Samples per image for the importance-weighted bound; None computes none.
        seed: Seed of the samples of the posterior; None takes that of the training.
        data_root: Folder of the known data sets.
        threads: CPU threads; None uses all cores.
        progress: Receives updates and notices.

    Raises:
        AekitError: The images cannot be read or have another shape, values are not finite, or a bound is asked of a
            plain autoencoder.
    """
    importance = check_type("importance", importance, int | None)
    check_at_least("importance", importance, 1)
    seed = check_type("seed", seed, int | None)
    check_seed("seed", seed or 0)
    _set_threads(threads)
    model = _opened(model)
    train_config = trained_with(model)
    own_seed = train_config.seed if seed is None else seed
    found = image_set_for(model, images, labels, data_root, progress).drawn(pixel_seed(model, own_seed))
    return evaluate_model(model, found, train_config, seed=own_seed, importance=importance, progress=progress)[0]
