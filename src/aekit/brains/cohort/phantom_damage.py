"""Damage to scans and to rows of a table, of the kinds that real cohorts have: for tests of what finds it.

Every function takes a skull-stripped scan, float32 (X, Y, Z), background exactly 0, axes R-A-S, and returns another
one. Strengths are drawn within ranges in which an expert sees the damage at a glance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from aekit.brains.cohort.phantom_volumes import Phantom
from aekit.errors import UsageError

Singles = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Spacing = tuple[float, float, float]
Damage = Callable[[Singles, Spacing, np.random.Generator], Singles]

_PARTNERS = 8  # participants before a damaged one, with one of whom age or sex is swapped
MAX_BROKEN = 0.5  # of a cohort: each damaged participant has an undamaged one before it
_BLOB_ML = 1.0
_SPACING_RANGE_MM = (0.1, 20.0)


def damage_scan(
    kind: str, image: Singles, spacing_mm: Spacing, random: np.random.Generator, *, other: Singles | None = None
) -> tuple[Singles, Spacing]:
    """Return a damaged scan and the voxel size that its header states.

    Args:
        kind: One of ``SCAN_DAMAGE``, ``HEADER_DAMAGE`` or ``duplicate``.
        image: The scan, background 0; it stays as it is.
        spacing_mm: Its true voxel size.
        random: Draws strengths, places and noise.
        other: The scan of someone else, of the same shape; for ``duplicate``.
    """
    if kind in HEADER_DAMAGE:
        return image, _wrong_spacing(kind, spacing_mm)
    if kind == "duplicate":
        assert other is not None
        return _noise(other, 0.04, random), spacing_mm
    return SCAN_DAMAGE[kind](image, spacing_mm, random).astype(np.float32), spacing_mm


def _wrong_spacing(kind: str, spacing_mm: Spacing) -> Spacing:
    """Return another voxel size, within what readers accept."""
    most, least = _SPACING_RANGE_MM[1] / max(spacing_mm), _SPACING_RANGE_MM[0] / min(spacing_mm)
    x, y, z = (
        side * min(max(factor, least), most) for side, factor in zip(spacing_mm, HEADER_DAMAGE[kind], strict=True)
    )
    return x, y, z


def _top(image: Singles) -> float:
    return float(np.percentile(image[image > 0], 99))


def _noise(image: Singles, sd: float, random: np.random.Generator) -> Singles:
    """Return a scan with Rician noise, ``sd`` in units of its 99th percentile; the background stays 0."""
    sigma = np.float32(sd * _top(image))
    real = image + sigma * random.standard_normal(image.shape, np.float32)
    found = np.hypot(real, sigma * random.standard_normal(image.shape, np.float32))
    return np.where(image > 0, np.maximum(found, np.float32(1e-3) * sigma), np.float32(0))


def _inverted(image: Singles, spacing_mm: Spacing, random: np.random.Generator) -> Singles:
    return np.where(image > 0, np.maximum(1.05 * _top(image) - image, 0.02 * _top(image)), 0.0)


def _upside_down(image: Singles, spacing_mm: Spacing, random: np.random.Generator) -> Singles:
    return image[:, :, ::-1].copy()


def _front_back(image: Singles, spacing_mm: Spacing, random: np.random.Generator) -> Singles:
    return image[:, ::-1].copy()


def _lying(image: Singles, spacing_mm: Spacing, random: np.random.Generator) -> Singles:
    """Return a scan whose axes A and S were swapped, in the box of the original."""
    found = np.zeros_like(image)
    swapped = np.moveaxis(image, 1, 2)
    sides = [min(a, b) for a, b in zip(image.shape, swapped.shape, strict=True)]
    own, old = ([slice((n - s) // 2, (n - s) // 2 + s) for n, s in zip(a.shape, sides, strict=True)]
                for a in (found, swapped))  # fmt: skip
    found[tuple(own)] = swapped[tuple(old)]
    return found


def _cut(image: Singles, axis: int, fraction: float, *, from_end: bool) -> Singles:
    """Return a scan without the outermost ``fraction`` of the length of its brain along an axis."""
    others = tuple(one for one in range(3) if one != axis)
    inside = np.flatnonzero((image > 0).any(axis=others))
    n = max(1, round(fraction * len(inside)))
    found = image.copy()
    gone: list[slice] = [slice(None)] * 3
    gone[axis] = slice(int(inside[-n]), None) if from_end else slice(0, int(inside[n - 1]) + 1)
    found[tuple(gone)] = 0
    return found


def _cropped_top(image: Singles, spacing_mm: Spacing, random: np.random.Generator) -> Singles:
    return _cut(image, 2, random.uniform(0.15, 0.3), from_end=True)


def _cropped_side(image: Singles, spacing_mm: Spacing, random: np.random.Generator) -> Singles:
    return _cut(image, 0, random.uniform(0.15, 0.3), from_end=bool(random.random() < 0.5))


def _half_empty(image: Singles, spacing_mm: Spacing, random: np.random.Generator) -> Singles:
    return _cut(image, int(random.integers(3)), 0.5, from_end=bool(random.random() < 0.5))


def _out_of_box(image: Singles, spacing_mm: Spacing, random: np.random.Generator) -> Singles:
    """Return a scan that was moved along a diagonal until a quarter of its brain left the box on two sides."""
    found = image
    for axis in random.permutation(3)[:2]:
        found = _cut(found, int(axis), random.uniform(0.12, 0.25), from_end=bool(random.random() < 0.5))
    return found


def _blurred(image: Singles, spacing_mm: Spacing, random: np.random.Generator) -> Singles:
    sigma_mm = random.uniform(5.0, 7.0)
    found = ndimage.gaussian_filter(image, [sigma_mm / side for side in spacing_mm])
    return np.where(image > 0, np.maximum(found, 1e-3 * _top(image)), 0.0)


def _noisy(image: Singles, spacing_mm: Spacing, random: np.random.Generator) -> Singles:
    return _noise(image, random.uniform(0.3, 0.5), random)


def _scalp(image: Singles, spacing_mm: Spacing, random: np.random.Generator) -> Singles:
    """Return a head: fluid and skull, dark, then bright scalp around the brain, as if it was not stripped."""
    away = ndimage.distance_transform_edt(image == 0, sampling=spacing_mm)
    top = _top(image)
    found = image.copy()
    found[(away > 0) & (away <= 6)] = 0.2 * top
    bright = (away > 6) & (away <= random.uniform(11, 15))
    found[bright] = top * np.clip(random.normal(0.95, 0.1, int(bright.sum())), 0.1, None)
    return found


def _ghosting(image: Singles, spacing_mm: Spacing, random: np.random.Generator) -> Singles:
    """Return a scan with ghosts, copies shifted along the phase axis, as a head that moved leaves them."""
    axis, n = 1, image.shape[1]
    strength = random.uniform(0.35, 0.5)
    ghost = 0.5 * (np.roll(image, n // 8, axis) + np.roll(image, -(n // 8), axis))
    found = (1 - strength) * image + strength * ghost
    return np.where(image > 0, np.maximum(found, 1e-3 * _top(image)), 0.0)


def _bias_field(image: Singles, spacing_mm: Spacing, random: np.random.Generator) -> Singles:
    """Return a scan whose intensities change by a factor of about ten from one side to the other."""
    direction = random.standard_normal(3)
    direction /= np.linalg.norm(direction)
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in image.shape], indexing="ij")
    ramp = sum(one * axis for one, axis in zip(direction, axes, strict=True))
    found: Singles = image * np.exp(random.uniform(1.6, 2.2) * ramp)
    return found


def _blob(image: Singles, spacing_mm: Spacing, random: np.random.Generator) -> Singles:
    """Return a single lump of about 1 mL, as a failed skull stripping leaves it."""
    n = max(1, round((_BLOB_ML * 1000 / float(np.prod(spacing_mm))) ** (1 / 3)))
    centre = ndimage.center_of_mass(image > 0)
    box = tuple(slice(int(c) - n // 2, int(c) - n // 2 + n) for c in centre)
    found = np.zeros_like(image)
    found[box] = np.maximum(image[box], 0.1 * _top(image)) + _top(image) * random.uniform(0, 0.05, image[box].shape)
    return found


def _constant(image: Singles, spacing_mm: Spacing, random: np.random.Generator) -> Singles:
    """Return the mask of the brain instead of its intensities."""
    return np.where(image > 0, _top(image), 0.0)


def _spikes(image: Singles, spacing_mm: Spacing, random: np.random.Generator) -> Singles:
    hot = (image > 0) & (random.random(image.shape) < random.uniform(0.03, 0.06))
    return np.where(hot, 3 * _top(image), image)


def _stripes(image: Singles, spacing_mm: Spacing, random: np.random.Generator) -> Singles:
    """Return a scan with stripes all over it, as a single wrong sample of k-space draws them."""
    waves = random.uniform(0.1, 0.25, 3)  # cycles per voxel along each axis
    axes = np.meshgrid(*[np.arange(n) for n in image.shape], indexing="ij")
    phase = 2 * np.pi * sum(wave * axis for wave, axis in zip(waves, axes, strict=True))
    found = image + random.uniform(0.35, 0.5) * _top(image) * np.sin(phase)
    return np.where(image > 0, np.maximum(found, 0.02 * _top(image)), 0.0)


def _missing_slices(image: Singles, spacing_mm: Spacing, random: np.random.Generator) -> Singles:
    """Return a scan every fourth slice of which is almost empty."""
    found = image.copy()
    found[:, :, int(random.integers(4)) :: 4] *= 0.05
    return found


def _saturated(image: Singles, spacing_mm: Spacing, random: np.random.Generator) -> Singles:
    """Return a scan in which everything above the darkest third has the same value."""
    return np.minimum(image, np.percentile(image[image > 0], random.uniform(25, 35)))


def _eaten(image: Singles, spacing_mm: Spacing, random: np.random.Generator) -> Singles:
    """Return a brain with a large bite, where skull stripping took brain away."""
    inside = np.argwhere(image > 0)
    corner = np.quantile(inside, random.choice([0.2, 0.8], 3), axis=0).diagonal()
    axes = np.meshgrid(*[np.arange(n) for n in image.shape], indexing="ij")
    squared = sum(((axis - at) * side) ** 2 for axis, at, side in zip(axes, corner, spacing_mm, strict=True))
    return np.where(squared < random.uniform(45, 55) ** 2, 0.0, image)


SCAN_DAMAGE: dict[str, Damage] = {
    "inverted": _inverted,
    "upside-down": _upside_down,
    "front-back": _front_back,
    "axes-swapped": _lying,
    "cropped-top": _cropped_top,
    "cropped-side": _cropped_side,
    "half-empty": _half_empty,
    "out-of-box": _out_of_box,
    "blurred": _blurred,
    "noisy": _noisy,
    "scalp": _scalp,
    "ghosting": _ghosting,
    "bias-field": _bias_field,
    "blob": _blob,
    "constant": _constant,
    "spikes": _spikes,
    "stripes": _stripes,
    "missing-slices": _missing_slices,
    "saturated": _saturated,
    "eaten": _eaten,
}
# Factors of the voxel size along R, A and S that the header states.
HEADER_DAMAGE: dict[str, Spacing] = {
    "voxels-too-large": (10.0, 10.0, 10.0),
    "voxels-too-small": (0.1, 0.1, 0.1),
    "voxels-1.3-times": (1.3, 1.3, 1.3),
    "slices-1.5-times": (1.0, 1.0, 1.5),
}
ROW_DAMAGE = ("swapped-ages", "swapped-sexes")
DAMAGE = (*SCAN_DAMAGE, *HEADER_DAMAGE, "duplicate", *ROW_DAMAGE)


def damage_of(number: int, broken: float, seed: int) -> str:
    """Return the kind of damage of a participant; an empty text for most.

    It depends on these three alone, as everything about a participant does. The damaged ones are spread evenly over a
    cohort, and the kinds take turns, so that every kind is as frequent as any other.

    Args:
        number: Of the participant, from 0.
        broken: Fraction of participants that are damaged, in [0, 0.5].
        seed: Of the cohort.
    """
    if number == 0 or not broken:
        return ""
    start = _start(seed)
    before, after = int(start + number * broken), int(start + (number + 1) * broken)
    return _turns(seed, after // len(DAMAGE))[after % len(DAMAGE)] if after > before else ""


@cache
def _start(seed: int) -> float:
    return 0.9 * float(np.random.Generator(np.random.PCG64([seed, 5])).random())


@cache
def _turns(seed: int, block: int) -> list[str]:
    """Return all kinds in the order in which they take turns."""
    order = np.random.Generator(np.random.PCG64([seed, block, 6])).permutation(len(DAMAGE))
    return [DAMAGE[number] for number in order]


def is_scan_damage(kind: str) -> bool:
    """Return whether a kind of damage changes the file of a scan, rather than a row of the table."""
    return bool(kind) and kind not in ROW_DAMAGE


def check_broken(broken: float) -> None:
    """Raise a UsageError if a fraction of damaged participants is outside 0 to 0.5."""
    if not 0 <= broken <= MAX_BROKEN:
        raise UsageError(f"--broken: {broken:g} is outside 0 to {MAX_BROKEN:g}; give a fraction, such as 0.1")


def damage_phantom(kind: str, phantom: Phantom, *, seed: int, number: int, other: Phantom | None) -> Phantom:
    """Return a damaged phantom, in 255 steps of intensity as every phantom; its labels are those of before.

    Args:
        kind: Of the scan, see :func:`damage_scan`.
        phantom: The scan of participant ``number``.
        seed: Of the cohort.
        number: Of the participant.
        other: The scan of someone else, for ``duplicate``.
    """
    random = np.random.Generator(np.random.PCG64([seed, number, 7]))
    own, others = (None if one is None else one.data * np.float32(one.slope) for one in (phantom, other))
    assert own is not None
    side = float(phantom.affine[0, 0])
    image, spacing_mm = damage_scan(kind, own, (side,) * 3, random, other=others)
    step = float(image.max()) / 255.0
    data = np.where(image > 0, np.maximum(np.rint(image / step), 1.0), 0.0).astype(np.uint8)
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = [-(n - 1) / 2 * one for n, one in zip(data.shape, spacing_mm, strict=True)]
    return Phantom(data, float(np.float32(step)), phantom.labels, affine)


def swapped_pairs(
    age_years: Sequence[float], sex: Sequence[str], kind: str, broken: float, seed: int
) -> list[tuple[int, int]]:
    """Return the pairs of participants who have each other's age or sex in the table.

    The second of each is the damaged one, the first an undamaged participant of the few before: the one whose age is
    farthest away, or whose sex is another. Where nobody before has another sex, there is no pair.

    Args:
        age_years: True ages.
        sex: True sexes.
        kind: One of ``ROW_DAMAGE``.
        broken: Fraction of participants that are damaged.
        seed: Of the cohort.
    """
    ages, sexes = list(age_years), list(sex)
    pairs = []
    for number in range(len(ages)):
        if damage_of(number, broken, seed) != kind:
            continue
        before = range(max(0, number - _PARTNERS), number)
        free = [other for other in before if not damage_of(other, broken, seed)]
        if kind == "swapped-sexes":
            free = [other for other in free if sexes[other] != sexes[number]]
        if free:
            pairs.append((max(free, key=lambda other: abs(ages[other] - ages[number])), number))
    return pairs
