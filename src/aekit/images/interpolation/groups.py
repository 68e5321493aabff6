"""The ends of paths: images of classes, images by their index, samples of the prior, or images to walk from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aekit.errors import AekitError, shown
from aekit.images.data.decode import SUFFIXES
from aekit.images.data.image_set import ImageSet
from aekit.images.data.selection import Choice, Selector, draw_pairs
from aekit.images.interpolation.request import PathRequest

Indices = npt.NDArray[np.int64]

N_SHOWN = 4  # pairs, or images to walk from, in the figure if none is named


@dataclass(frozen=True)
class Group:
    """Paths of one kind, such as those between images of two classes.

    Attributes:
        name: The pair, such as ``4-7``, or the start.
        ends: The names of each path's ends, D times two, or one where a walk starts.
        indices: Images at the ends, (D, 2) or (D, 1); None for samples of the prior.
        n_shown: Number of paths, the first ones, that are in the figure.
        is_of_files: Whether the indices are of image files that were given, not of the split.
    """

    name: str
    ends: list[tuple[str, ...]]
    indices: Indices | None
    n_shown: int
    is_of_files: bool = False


def choose_groups(request: PathRequest, image_set: ImageSet) -> list[Group]:
    """Return the paths to take: between images of classes, given images, files, samples, or from images.

    Raises:
        AekitError: An image, class or attribute is not there, or there are too few images.
    """
    if request.n_prior is not None:
        n_pairs = max(request.n_prior, request.n_draws)
        ends = [(f"sample {2 * number}", f"sample {2 * number + 1}") for number in range(n_pairs)]
        return [Group("prior", [*ends], None, request.n_prior)]
    if request.files:
        given = [path for pair in request.files for path in pair]
        names = _short_names(given)
        return [
            Group(f"{names[place]}-{names[place + 1]}", [(names[place], names[place + 1])], rows, 1, is_of_files=True)
            for place in range(0, len(names), 2)
            for rows in [np.array([[place, place + 1]])]
        ]
    if request.attribute is not None:
        return _choose_walks(request, image_set)
    selector = Selector(image_set, "--pairs", request.split)
    anything = (selector.anything(), selector.anything())
    pairs = [anything] if request.pairs is None else selector.pairs(request.pairs)
    return [_draw_ends(pair, number, request, image_set) for number, pair in enumerate(pairs)]


def _choose_walks(request: PathRequest, image_set: ImageSet) -> list[Group]:
    """Return a group for each place where walks along the attribute start."""
    of, name = Selector(image_set, "--attribute", request.split), str(request.attribute)
    words = ("without", "with") if of.is_attribute(name) else (f"not class {name}", f"class {name}")
    states = [words[bool(member)] for member in of.members(name)]
    files = _short_names(walk_files(request))
    groups: list[Group] = []
    n_files = 0
    for number, start in enumerate(_starts(request, Selector(image_set, "--from", request.split))):
        if start is None:
            file = files[n_files]
            groups.append(Group(file, [(file,)], np.array([[n_files]]), 1, is_of_files=True))
            n_files += 1
        else:
            groups.append(_draw_starts(start, number, request, image_set, states))
    return groups


def walk_files(request: PathRequest) -> list[str]:
    """Return the image files where walks along an attribute start, in their order.

    Raises:
        AekitError: Several are given with commas, which may be in names.
    """
    files = [place for place in request.places if _is_file(place)]
    for place in files:
        if "," in place and not Path(place).expanduser().is_file():
            raise AekitError(f"--from {shown(place)}: no such file; give each image file a --from of its own")
    return files


def _is_file(place: str) -> bool:
    """Return whether a text names image files, not images of the split or classes: by the suffix."""
    is_image = any(Path(part.strip()).suffix.lower() in SUFFIXES for part in (place, *place.split(",")))
    return is_image or (Path(place).suffix != "" and Path(place).expanduser().is_file())


def _starts(request: PathRequest, selector: Selector) -> list[Choice | None]:
    """Return where walks start, None for an image file.

    Raises:
        AekitError: An image or class is not there, or a file is called like a class.
    """
    starts: list[Choice | None] = []
    for place in request.places:
        if not _is_file(place):
            starts += selector.choices(place)
        elif selector.is_class(place):
            fix = f"give ./{place} for the file, or the number of the class"
            raise AekitError(f"--from {shown(place)}: is an image file, and the name of a class; {fix}")
        else:
            starts.append(None)
    return starts or [selector.anything()]


def _short_names(paths: Sequence[str]) -> list[str]:
    """Return the name of each file, with as many of its folders as tell it from the others of that name."""
    files = [Path(path) for path in paths]
    names = []
    for file in files:
        alike = {other for other in files if other.name == file.name}
        n_parts = 1
        while len({other.parts[-n_parts:] for other in alike}) < len(alike):
            n_parts += 1
        names.append(str(Path(*file.parts[-n_parts:])))
    return names


def _draw_ends(pair: tuple[Choice, Choice], number: int, request: PathRequest, image_set: ImageSet) -> Group:
    is_any = request.pairs is None
    n_draws = max(request.n_draws, N_SHOWN) if is_any else request.n_draws
    # A generator for each pair: the first draws do not depend on the other pairs or on the number of draws.
    indices = draw_pairs(*pair, n_draws, np.random.default_rng([request.seed, number]))
    ends = [tuple(_image_name(image_set, index) for index in row) for row in indices]
    name = pair[0].name if is_any else "-".join(choice.name for choice in pair)
    return Group(name, [*ends], indices, N_SHOWN if is_any else 1)


def name_direction(request: PathRequest, image_set: ImageSet) -> str:
    """Return what the walks of a request go along: an attribute, or ``class 7``; an empty text for other paths."""
    name = request.attribute
    if name is None:
        return ""
    return name if Selector(image_set, "--attribute", request.split).is_attribute(name) else f"class {name}"


def _draw_starts(start: Choice, number: int, request: PathRequest, image_set: ImageSet, states: Sequence[str]) -> Group:
    is_any = not request.places
    n_draws = 1 if start.is_one else max(request.n_draws, N_SHOWN) if is_any else request.n_draws
    generator = np.random.default_rng([request.seed, number])
    indices = generator.choice(start.indices, (n_draws, 1))
    ends = [(f"{_image_name(image_set, i)}, {states[i]}",) for i in indices[:, 0]]
    return Group(start.name, [*ends], indices, N_SHOWN if is_any else 1)


def _image_name(image_set: ImageSet, index: int) -> str:
    return f"#{index}" if image_set.labels is None else f"{image_set.label_text(index)} (#{index})"
