"""What the commands that take checkpoints share: which ones, on which images, and where the results go."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from aekit.core.checkpoint import RESUME_SUFFIX, Header, read_header
from aekit.core.settings import from_dict
from aekit.errors import AekitError
from aekit.images.config import DataConfig, Split
from aekit.terminal import options
from aekit.terminal.console import Console
from aekit.terminal.streams import with_stdin
from aekit.terminal.study_options import Checkpoints as Checkpoints
from aekit.terminal.study_options import FigureOutput as FigureOutput
from aekit.terminal.study_options import NoiseSeed as NoiseSeed
from aekit.terminal.study_options import OtherData as OtherData
from aekit.terminal.study_options import Output as Output
from aekit.terminal.study_options import WhichSplit as WhichSplit

if TYPE_CHECKING:
    from aekit.images.data.image_set import ImageSet
    from aekit.images.inference import Codes
    from aekit.images.models.base import Autoencoder

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Trained:
    """A checkpoint that was read.

    Attributes:
        path: Its file.
        model: The network, on its device.
        header: What the checkpoint says of itself.
        target: The main file to write for it.
        name: What tables call it: the name of its file, or its path if others of that name are with it.
    """

    path: Path
    model: Autoencoder
    header: Header
    target: Path
    name: str

    def parameters(self, command: str, image_set: ImageSet | None = None, **options: Any) -> dict[str, Any]:
        """Return what goes into a result file, so that it says later where it came from."""
        from aekit import __version__

        origin = self.header.configuration
        parameters = {
            "aekit": __version__,
            "command": command,
            "options": options,
            "checkpoint": self.path.name,
            **origin,
        }
        if image_set is not None:
            parameters["images"] = {"name": image_set.name, "n": len(image_set), "fingerprint": image_set.fingerprint}
        return parameters

    def encode(self, image_set: ImageSet) -> Codes:
        """Return the codes, or posterior means, of images.

        Raises:
            AekitError: Some of them are not finite, as those of a model whose training diverged.
        """
        from aekit.images.inference import encode_images

        return encode_images(self.model, image_set)

    def label(self) -> str:
        """Return a few words for a title: model, latent dimensions, and for a VAE beta."""
        model, train = self.header.model, self.header.train
        beta = f", beta {train['beta']:g}" if model["kind"] == "vae" else ""
        return f"{model['kind']} {model['arch']}, latent {model['latent']}{beta}"


def read_paths(arguments: list[str], console: Console | None = None, *, any_kind: bool = False) -> list[Path]:
    """Return the paths that were given, each once; ``-`` stands for those on stdin, one a line.

    Unfinished runs among others are left out: a pattern as ``runs/*.safetensors`` matches them too.

    Args:
        arguments: What stands on the command line.
        console: Where to say that a path came twice, or is left out.
        any_kind: Whether unfinished runs and networks that read brains are wanted, too.

    Raises:
        AekitError: There is none, or one holds no autoencoder.
    """
    texts = with_stdin(arguments)
    given = [Path(text) for text in texts]
    resumes = [path for path in given if path.name.endswith(RESUME_SUFFIX)]
    if not any_kind and 0 < len(resumes) < len(given):
        given = [path for path in given if path not in resumes]
        if console is not None:
            console.message(f"{resumes[0]}: is an unfinished run; left out, with {len(resumes) - 1} others like it")
    paths: dict[Path, Path] = {}
    for path in given:
        if paths.setdefault(path.resolve(), path) is not path and console is not None:
            console.message(f"{path}: is named twice; it is taken once")
    for path in () if any_kind else paths.values():
        if path.is_file() and read_header(path).model.get("kind") == "brain":
            raise AekitError(f"{path}: holds networks that read brains, no autoencoder; aekit mri-predict takes it")
    return list(paths.values())


def refuse_mixed(paths: Sequence[Path], splits: Sequence[Split], *, data: str | None) -> None:
    """Refuse checkpoints that cannot be compared: images of other shapes, or trained and tested on others, or damaged.

    Several are looked at whole, so that the last one does not fail when all others have been computed.

    Args:
        paths: Checkpoints.
        splits: The splits that must be the same for all.
        data: What ``--data`` says; if anything, all are measured on it and only the shape must be the same.

    Raises:
        AekitError: One of them differs from the first, or is damaged.
    """
    from aekit.core.weights import check_intact

    first, *others = [(path, read_header(path).data) for path in paths]
    for path, found in others:
        shapes = [tuple(header.get("shape", ())) for header in (first[1], found)]
        if shapes[0] != shapes[1]:
            there, wanted = ("x".join(map(str, shape)) for shape in (shapes[1], shapes[0]))
            raise AekitError(f"{path}: takes images of {there}, {first[0]} of {wanted}; compare them separately")
        for split in splits if data is None else ():
            fingerprints = [header.get("splits", {}).get(split) for header in (first[1], found)]
            if fingerprints[0] != fingerprints[1]:
                how = _differing_data(found, first[1])
                raise AekitError(f"{path}: has other {split} images than {first[0]} ({how}); compare them separately")
    for path in paths if others else ():
        check_intact(path)


def _differing_data(found: dict[str, Any], first: dict[str, Any]) -> str:
    """Return in which settings of the data two checkpoints differ: ``--val 0.2, not 0``."""
    for key in [field.name for field in fields(DataConfig)]:
        if found.get(key) != first.get(key):
            flag = "--data" if key == "name" else f"--{key.replace('_', '-')}"
            return f"{flag} {found.get(key)}, not {first.get(key)}"
    return "the files were others"


def differing_keys(settings: Sequence[Mapping[Key, Any]], groups: Sequence[str]) -> dict[str, set[Key]]:
    """Return for each group the settings in which its members differ; one that is missing is None.

    Args:
        settings: Those of each checkpoint.
        groups: The group of each.
    """
    # Against the first of the group alone: all against all takes ten minutes for ten thousand checkpoints.
    first: dict[str, Mapping[Key, Any]] = {}
    differing: dict[str, set[Key]] = {}
    for own, group in zip(settings, groups, strict=True):
        other = first.setdefault(group, own)
        keys = differing.setdefault(group, set())
        keys |= {key for key in own.keys() | other.keys() if own.get(key) != other.get(key)}
    return differing


def short_labels(paths: Sequence[Path]) -> list[str]:
    """Return a few words for each checkpoint that tell it from the others: the settings in which they differ.

    If the model is none of them, it is said too. One alone, or those that do not differ in any setting, are called by
    the name of their file.
    """
    headers = [read_header(path) for path in paths]
    texts = [dict[str, str]() for _ in paths]
    for part in ("model", "train", "data"):
        keys = [key for key in headers[0].configuration[part] if key not in ("lr", "splits", "shape", "batch_size")]
        for key in keys:
            values = [header.configuration[part].get(key) for header in headers]
            if any(value != values[0] for value in values):
                for text, value, header in zip(texts, values, headers, strict=True):
                    if key.startswith("beta") and header.model.get("kind") == "ae":
                        continue
                    plain = part == "model" and key in ("kind", "arch")
                    shown = f"{value:g}" if isinstance(value, float) else str(value)
                    text[key] = shown if plain else f"{key.replace('_', ' ')} {shown}"
    labels = [", ".join(text.values()) for text in texts]
    if len(paths) == 1 or len(set(labels)) < len(labels):
        return [path.stem for path in paths]
    model = headers[0].model
    if any(key in model for text in texts for key in text):
        return labels
    return [f"{model.get('kind')} {model.get('arch')}, latent {model.get('latent')}, {label}" for label in labels]


def choose_target(paths: list[Path], output: Path | None, *, name: str, suffix: str = ".png") -> Path:
    """Return the one file to write for all checkpoints together.

    Args:
        paths: Checkpoints.
        output: What ``--output`` says: a file, or a folder, which has no suffix or is there already.
        name: What is made, for the file name: ``x.<name><suffix>`` beside one checkpoint, ``<name><suffix>`` in the
            folder that several share.
        suffix: Suffix of the file.

    Raises:
        AekitError: A suffix of another kind, or a result that would replace a checkpoint, its history or its curves.
    """
    is_file = output is not None and output.suffix and not output.is_dir()
    if len(paths) == 1 or is_file:
        target = _targets(paths[:1], output, name=name, suffixes=(suffix,))[0]
    else:
        folder = output or _shared_folder(paths)
        target = folder / f"{name}{suffix}"
    _refuse_own_files(paths, [target])
    return target


def choose_targets(paths: list[Path], output: Path | None, *, name: str, suffixes: tuple[str, ...]) -> list[Path]:
    """Return the main file to write for each checkpoint: ``x.<name><suffix>`` beside ``x.safetensors``, or ``output``.

    Args:
        paths: Checkpoints.
        output: What ``--output`` says: a file for one checkpoint, or a folder, which has no suffix or is there already.
        name: What is made, for the file name.
        suffixes: Suffixes that the main file may have; the first is the default.

    Raises:
        AekitError: One file for several checkpoints, a suffix of another kind, two results that would share a file, or
            a result that would replace a checkpoint, its history or its curves.
    """
    targets = _targets(paths, output, name=name, suffixes=suffixes)
    _refuse_own_files(paths, targets)
    return targets


def _shared_folder(paths: list[Path]) -> Path:
    folders = [path.parent for path in paths]
    if len({folder.is_absolute() for folder in folders}) > 1:
        folders = [folder.absolute() for folder in folders]
    return Path(os.path.commonpath(folders))


def _refuse_own_files(paths: list[Path], targets: list[Path]) -> None:
    own = {path.resolve().with_suffix("") for path in paths}
    for target in targets:
        if target.resolve().with_suffix("") in own:
            raise AekitError(
                f"--output {target}: shares its stem with the checkpoint, whose own files it would replace; "
                "choose another name"
            )


def _targets(paths: list[Path], output: Path | None, *, name: str, suffixes: tuple[str, ...]) -> list[Path]:
    if output is not None and output.suffix and not output.is_dir():
        if len(paths) > 1:
            raise AekitError(
                f"--output {output}: is one file for {len(paths)} checkpoints; give a folder, without suffix"
            )
        if output.suffix not in suffixes:
            raise AekitError(f"--output {output}: cannot be written as {output.suffix}; use {' or '.join(suffixes)}")
        return [output]
    targets = [(output or path.parent) / f"{path.stem}.{name}{suffixes[0]}" for path in paths]
    if len(set(targets)) < len(set(paths)):
        raise AekitError(f"--output {output}: checkpoints of the same name would share a file; call for each apart")
    return targets


def read_checkpoints(paths: list[Path], targets: list[Path], *, device: str, threads: int | None) -> Iterator[Trained]:
    """Yield the checkpoints one after another, once it is sure that all can be read and all results written.

    Raises:
        AekitError: One of them cannot.
    """
    from aekit.core.artifacts import check_writable
    from aekit.core.device import choose_device, set_threads
    from aekit.images.state import read_model

    for path, target in zip(paths, targets, strict=True):
        read_header(path)
        check_writable(target)
    set_threads(threads)
    chosen = choose_device(device)
    n_of_name = Counter(path.name for path in paths)
    for path, target in zip(paths, targets, strict=True):
        model, header = read_model(path, chosen)
        yield Trained(path, model, header, target, path.name if n_of_name[path.name] == 1 else str(path))


class Images:
    """The images that checkpoints were trained on, or others; those read last are kept for the next checkpoint.

    Args:
        data: What ``--data`` says, if anything.
        data_root: Folder of the known data sets.
        console: Where to say that they are not those of the training.
    """

    def __init__(self, data: str | None, data_root: Path | None, console: Console) -> None:
        self._data = data
        self._root = options.resolve_data_root(data_root)
        self._console = console
        self._key: tuple[DataConfig, Split] | None = None
        self._images: ImageSet | None = None

    def read(self, trained: Trained, split: Split) -> ImageSet:
        """Return one split of a checkpoint's images.

        Raises:
            AekitError: They cannot be read, the split is empty, or the model takes images of another shape.
        """
        from aekit.images.data import read_images

        config = data_config(trained.header, str(trained.path))
        if split == "val" and config.val == 0:
            raise AekitError(f"--split val: {trained.path} was trained without validation images; use train or test")
        if self._data is not None:
            config = replace(config, name=self._data)
        else:
            _refuse_outside(config.name, str(trained.path))
        if self._images is None or self._key != (config, split):
            try:
                with self._console:
                    self._images = read_images(config, split, data_root=self._root, progress=self._console)
            except AekitError as error:
                if self._data is not None:
                    raise
                raise AekitError(
                    f"{trained.path}: cannot find the images it was trained on, {config.name!r} "
                    f"({str(error).partition(';')[0]}); say where they lie with --data"
                ) from error
            self._key = (config, split)
        self._compare(trained, split, self._images)
        return self._images

    def _compare(self, trained: Trained, split: Split, images: ImageSet) -> None:
        if images.image_shape != trained.model.image_shape:
            there, wanted = ("x".join(map(str, shape)) for shape in (images.image_shape, trained.model.image_shape))
            raise AekitError(f"--data {images.name}: images are {there}, {trained.path} takes {wanted}; use others")
        recorded = trained.header.data.get("splits", {}).get(split, {}).get("fingerprint")
        if recorded == images.fingerprint:
            return
        if self._data is None:
            raise AekitError(
                f"{trained.path}: the {split} images of {images.name} are not those that it was trained with; "
                "say which to take with --data"
            )
        self._console.message(
            f"{trained.path}: these {split} images of {images.name} are not those that it was trained with"
        )


def data_config(header: Header, source: str) -> DataConfig:
    """Return the configuration of a checkpoint's data.

    Raises:
        AekitError: It is damaged.
    """
    known = {field.name for field in fields(DataConfig)}
    return from_dict(DataConfig, {key: value for key, value in header.data.items() if key in known}, source)


def _refuse_outside(name: str, source: str) -> None:
    """Refuse to follow a checkpoint, which may come from anybody, out of the working folder."""
    if Path(name).is_absolute() or ".." in Path(os.path.normpath(name)).parts:
        raise AekitError(f"{source}: names images outside this folder, {name}; if they are yours, use --data")
