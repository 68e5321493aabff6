"""Which values of an image become black and white, and whether anything can be seen then."""

from __future__ import annotations

import math

from aekit.core.progress import SILENT, Progress
from aekit.errors import AekitError, count
from aekit.images.config import parse_value_range
from aekit.images.data.image_set import ImageSet

# The largest value must be above this part of its type's: 12 bits in 16 are 1/16, and a mask of 0 and 1 is 1/255.
_VISIBLE = 1 / 8
_VISIBLE_DEEP = 1 / 4  # of more than 8 bits, where few cameras fill all of them; 14 bits in 16 are 1/4


def check_visible(
    source: str, span: tuple[float, float, int], progress: Progress = SILENT, *, advice: str | None = None
) -> None:
    """Check that images are not nearly black because their values fill a small part of their type.

    Args:
        source: Name of the images in messages.
        span: Smallest and largest value, and the largest of the type.
        progress: Receives a notice of images that are all of one value.
        advice: What to do where there are no options of a training; None names those.

    Raises:
        AekitError: They are.
    """
    low, high, full = span
    if low == high:
        progress.notice(f"{source}: all values are {low:g}")
        return
    most = full * (_VISIBLE_DEEP if full > 255 else _VISIBLE)
    if full > 1 and high <= most:
        bits = 2 ** math.ceil(math.log2(high + 1)) - 1 if high >= 1 else 1
        if advice is None:
            advice = (
                f"give --value-range 0,{bits:g}, or data for the range of the images, or dtype to keep them as they are"
            )
        raise AekitError(f"{source}: values from {low:g} to {high:g} of 0 to {full} would be nearly black; {advice}")


def check_as_trained(source: str, value_range: str, images: ImageSet, progress: Progress = SILENT) -> None:
    """Check that other images than those of a training are not nearly black where those of the training may not be.

    The range of a training belongs to its network, so images are scaled instead. One file of 8 bits may be a dark
    picture, which is said and taken.

    Args:
        source: Name of the images in messages.
        value_range: The option of the training; only ``auto`` promises that something can be seen.
        images: The images.
        progress: Receives a notice of images that are all of one value, and of a dark picture.

    Raises:
        AekitError: They are.
    """
    if value_range != "auto" or not images.span:
        return
    full = images.span[2]
    advice = f"scale them to 0 to {full}, or give an array of floats in [0, 1]"
    try:
        check_visible(source, images.span, progress, advice=advice)
    except AekitError:
        is_picture = len(images) == 1 and full == 255 and not source.endswith((".npy", ".npz", ".safetensors"))
        if not is_picture:
            raise
        low, high, _ = images.span
        progress.notice(f"{source}: a dark picture, of values from {low:g} to {high:g} of 0 to {full}")


def check_in_range(source: str, value_range: str, images: ImageSet, *, is_constant: bool = False) -> None:
    """Check that something is left of images in the range of values of a training, where no notice would be read.

    Args:
        source: Name of the images in messages.
        value_range: The option of the training.
        images: The images.
        is_constant: Whether all values are known to be the same, as in a blank image.

    Raises:
        AekitError: Values were clipped, or different ones became black, or one level.
    """
    given = parse_value_range(value_range)
    if given is None:
        what = "the range of their type" if value_range == "dtype" else "0 to 255, or 0 to 1 as floats"
    else:
        what = f"{given[0]:g} to {given[1]:g}, the range of the training"
    advice = "give them in the units of the training images"
    if images.n_clipped:
        n = count(images.n_clipped, "image holds", "images hold")
        raise AekitError(f"{source}: {n} values outside {what}; {advice}, or clip them with np.clip")
    if is_constant:
        return
    low, high = images.levels
    if low == high:
        raise AekitError(f"{source}: all values become one level of grey in {what}; {advice}")
    if given is not None and high <= 255 * _VISIBLE:
        raise AekitError(f"{source}: values that fill little of {what}, would be nearly black; {advice}")


def check_span(source: str, low: float, high: float) -> None:
    """Check that there is a range to stretch.

    Raises:
        AekitError: All values are the same, or there is none.
    """
    if not low < high:
        what = f"all values are {low:g}" if low == high else "there is no finite value"
        raise AekitError(f"{source}: {what}, which is not a range; give --value-range LOW,HIGH")


def clipped_in_words(source: str, n_images: int, found: tuple[float, float], wanted: tuple[float, float]) -> str:
    """Return a notice that values outside a range were clipped."""
    images = count(n_images, "image holds", "images hold")
    return (
        f"{source}: {images} values outside {wanted[0]:g} to {wanted[1]:g} (they range from {found[0]:g} to "
        f"{found[1]:g}), which are clipped"
    )
