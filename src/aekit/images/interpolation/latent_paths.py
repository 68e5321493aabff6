"""Paths through the latent space of a model, decoded, and blends of images to compare them with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aekit.core.intervals import bootstrap_interval
from aekit.errors import AekitError
from aekit.images.conditioning import class_numbers
from aekit.images.data.image_set import ImageSet
from aekit.images.data.selection import Selector
from aekit.images.inference import decode_codes
from aekit.images.interpolation.groups import Group, Indices
from aekit.images.interpolation.measures import (
    has_arc,
    lerp,
    roc_auc,
    slerp,
    typical_distance,
    walk,
)
from aekit.images.interpolation.request import PathKind, PathRequest
from aekit.images.latent import active_units, live_dimensions, mean_difference
from aekit.images.loaded import LoadedCheckpoint
from aekit.images.prior import read_prior
from aekit.images.session import Session

Floats = npt.NDArray[np.floating]

_BLOCK = 2048  # images at a time: a memory-mapped set is never held in memory whole


@dataclass(frozen=True)
class CodeCloud:
    """A model's codes, to measure paths against.

    Attributes:
        codes: Codes of all images of the split, (N, L).
        used: Dimensions in which distances are measured, bool (L,).
        typical: Median distance from a code to the nearest other; NaN if the codes do not differ.
        centre: Centre of arcs, (L,).
    """

    codes: Floats
    used: npt.NDArray[np.bool_]
    typical: float
    centre: Floats


@dataclass(frozen=True)
class Direction:
    """The direction of an attribute.

    Attributes:
        z: Mean code with it minus mean code without, (L,).
        x: The same of the images, (C, H, W); None if no walk through pixel space is needed.
        auc: Area under the ROC curve of the projection of the split's images on ``z``, and the ends of its interval.
    """

    z: Floats
    x: Floats | None
    auc: tuple[float, float, float]


@dataclass(frozen=True)
class LatentPath:
    """One path, decoded; for comparison there are such paths through pixel space, too.

    Attributes:
        kind: ``linear`` or ``slerp``.
        images: Images along it, (S, C, H, W) in [0, 1].
        z: Codes along it, (S, L); None in pixel space.
        left_out: Images at its ends, (E,), whose codes do not count as neighbours.
        errors: Mean squared error of the reconstruction at each end, one or two; NaN for samples of the prior.
        class_name: The class that it was decoded as; None for a model that is told none.
    """

    kind: PathKind
    images: Floats
    z: Floats | None
    left_out: Indices | None
    errors: tuple[float, ...]
    class_name: str | None = None


def path_alphas(request: PathRequest) -> Floats:
    """Return the places along each path, ascending, (S,)."""
    # Rounded, so that 0 and 1 are met exactly where the steps reach them; adding 0 turns -0 into 0.
    alphas: Floats = np.round(np.linspace(*request.ends, request.steps), 12) + 0.0
    return alphas


def build_cloud(session: Session, checkpoint: LoadedCheckpoint, image_set: ImageSet, *, seed: int) -> CodeCloud:
    """Return the codes of a model and how far they lie apart.

    Distances are measured in the dimensions that distinguish images: a VAE's active units, an autoencoder's live
    dimensions. In the others, samples of the prior lie far from every code, but images do not show it.
    """
    codes = checkpoint.encode(image_set).mean
    has_prior = checkpoint.record.model.has_prior
    used = active_units(codes) if has_prior else live_dimensions(codes)
    typical = typical_distance(codes[:, used], seed=seed) if used.any() and len(codes) > 1 else 0.0
    if not typical > 0:
        session.progress.notice(f"{checkpoint.path}: its codes do not differ, so distances to them are left empty")
    # An autoencoder's codes lie anywhere, and their only centre is their mean.
    centre = read_prior(checkpoint.model).centre if has_prior else codes.mean(axis=0, dtype=np.float64)
    return CodeCloud(codes, used, typical if typical > 0 else np.nan, centre)


def find_direction(
    session: Session, checkpoint: LoadedCheckpoint, request: PathRequest, cloud: CodeCloud, image_set: ImageSet
) -> Direction | None:
    """Return the direction of the request's attribute in the codes of the training images; None without an attribute.

    Raises:
        AekitError: There is no such attribute or class, or all training images have it, or none.
    """
    name = request.attribute
    if name is None:
        return None
    if request.split == "train":
        session.progress.notice("--split train: the direction was found on these images, so the AUC is optimistic")
    train = session.images(checkpoint, "train")
    has = Selector(train, "--attribute", "train").members(name)
    if has.all() or not has.any():
        raise AekitError(
            f"--attribute {name}: {'all' if has.all() else 'no'} training images have it; choose another one"
        )
    z = mean_difference(checkpoint.encode(train).mean, has)
    x = _mean_image(train, has) - _mean_image(train, ~has) if "pixels" in request.spaces else None
    scores, held = cloud.codes @ z, Selector(image_set, "--attribute", request.split).members(name)
    auc = bootstrap_interval(lambda rows: roc_auc(scores[rows], held[rows]), len(scores), seed=request.seed)
    return Direction(z, x, auc)


def _mean_image(image_set: ImageSet, has: npt.NDArray[np.bool_]) -> Floats:
    chosen = np.flatnonzero(has)
    total = np.zeros(image_set.image_shape)
    for start in range(0, len(chosen), _BLOCK):
        total += image_set.take(chosen[start : start + _BLOCK]).sum(axis=0, dtype=np.float64)
    return total / (255 * len(chosen))


@dataclass(frozen=True)
class PathBuilder:
    """Builds the paths of one model.

    Attributes:
        checkpoint: The model.
        cloud: Its codes.
        image_set: The images of these codes.
        request: Which paths to take.
        direction: Direction of the walks; None for paths between two ends.
        samples: Samples of the prior, (2 D, L), for the group without images.
        files: Image files that were given, for groups of them; None if there are none.
        file_codes: Their codes, (F, L).
        number: Class to decode all paths as; None is that of each path's first image, if the model is told classes.
    """

    checkpoint: LoadedCheckpoint
    cloud: CodeCloud
    image_set: ImageSet
    request: PathRequest
    direction: Direction | None
    samples: Floats
    files: ImageSet | None = None
    file_codes: Floats | None = None
    number: int | None = None

    def images_of(self, group: Group) -> ImageSet:
        """Return the images that the indices of a group are of: those of the split, or files."""
        return self.files if group.is_of_files and self.files is not None else self.image_set

    def end_codes(self, group: Group, number: int) -> Floats:
        """Return the codes at the ends of path ``number``, (E, L)."""
        if group.indices is None:
            return self.samples[2 * number : 2 * number + 2]
        of = self.file_codes if group.is_of_files and self.file_codes is not None else self.cloud.codes
        codes: Floats = of[group.indices[number]]
        return codes

    def end_images(self, group: Group, number: int) -> Floats:
        """Return the images at the ends of path ``number``, (E, C, H, W) in [0, 1]; samples are decoded."""
        if group.indices is None:
            return self._decode(self.end_codes(group, number), group, number)
        return self.images_of(group).take(group.indices[number]).astype(np.float32) / np.float32(255)

    def pixel_path(self, group: Group, number: int) -> LatentPath:
        """Return the blend of the images at the ends, or a walk along the difference of means, clipped to [0, 1]."""
        x = self.end_images(group, number)
        towards = None if self.direction is None else self.direction.x
        alphas = path_alphas(self.request)
        blend = lerp(x[0], x[1], alphas) if towards is None else walk(x[0], towards, alphas)
        errors = tuple(0.0 if group.indices is not None else np.nan for _ in x)
        return LatentPath("linear", np.clip(blend, 0, 1), None, None, errors)

    def latent_path(self, group: Group, number: int) -> LatentPath:
        """Return the decoded path between the codes at the ends, or along the attribute.

        Raises:
            AekitError: An arc is requested, and there is not exactly one.
        """
        ends = self.end_codes(group, number)
        z = self._points(ends, group.ends[number])
        decoded = self._decode(np.concatenate([z, ends]), group, number)
        images, x_hat = decoded[: len(z)], decoded[len(z) :]
        if group.indices is None:
            return LatentPath(self.request.path, images, z, None, (np.nan, np.nan), self.class_name)
        errors = np.square(x_hat - self.end_images(group, number)).mean(axis=(1, 2, 3), dtype=np.float64)
        left_out = self._same_images(ends, group.indices[number]) if group.is_of_files else group.indices[number]
        name = self._name(self.class_of(group, number))
        return LatentPath(self.request.path, images, z, left_out, tuple(map(float, errors)), name)

    @property
    def class_name(self) -> str | None:
        """Return the name of the class that all paths are decoded as; None if that is not the same."""
        return self._name(self.number)

    def _name(self, number: int | None) -> str | None:
        classes = self.checkpoint.model.classes
        return None if classes is None or number is None else classes.names[number]

    def class_of(self, group: Group, number: int) -> int | None:
        """Return the class that path ``number`` is decoded as; None for a model that is told none."""
        if self.checkpoint.model.classes is None or self.number is not None:
            return self.number
        assert group.indices is not None
        first = self.image_set.subset(group.indices[number, :1])
        numbers = class_numbers(self.checkpoint.model, first)
        return None if numbers is None else int(numbers[0])

    def _decode(self, z: Floats, group: Group, number: int) -> Floats:
        own = self.class_of(group, number)
        return decode_codes(self.checkpoint.model, z, labels=None if own is None else np.full(len(z), own, np.int64))

    def _same_images(self, ends: Floats, numbers: Indices) -> Indices | None:
        """Return the images of the split that are those in files, (E,): their codes do not count as neighbours."""
        assert self.files is not None
        found: list[int] = []
        for z, pixels in zip(ends, self.files.take(numbers), strict=True):
            # Codes of one image differ by rounding from batch to batch.
            near = np.flatnonzero(np.isclose(self.cloud.codes, z, rtol=1e-3, atol=1e-3).all(axis=1))
            found += near[(self.image_set.take(near) == pixels).all(axis=(1, 2, 3))].tolist()
        return np.array(found, np.int64) if found else None

    def _points(self, ends: Floats, names: tuple[str, ...]) -> Floats:
        alphas, centre = path_alphas(self.request), self.cloud.centre
        if self.direction is not None:
            return walk(ends[0], self.direction.z, alphas)
        if self.request.path == "linear":
            return lerp(ends[0], ends[1], alphas)
        if not has_arc(ends[0] - centre, ends[1] - centre):
            raise AekitError(
                f"--path slerp: no single arc joins {' and '.join(names)} in {self.checkpoint.path}, whose codes are "
                "opposite or zero; use --path linear"
            )
        return slerp(ends[0], ends[1], alphas, centre=centre)
