"""Images that a text names: ``4`` is any image of a class, ``#12`` the one with this index, ``4-7`` a pair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aekit.errors import AekitError, count, nearest
from aekit.images.data.image_set import ImageSet, Indices

ANYTHING = "any"
_MAX_NAMES = 12  # to list in an error
_MAX_COMMAS = 4  # in a name


@dataclass(frozen=True)
class Choice:
    """One image, or any of several.

    Attributes:
        name: The text for it: ``#12``, or a class name.
        indices: The images to choose from, (K,) with K >= 1.
    """

    name: str
    indices: Indices

    @property
    def is_one(self) -> bool:
        """Return whether there is only one image to choose from."""
        return len(self.indices) == 1


@dataclass(frozen=True)
class Selector:
    """Parses texts into choices among the images of a set.

    A class is given by its name, in any case, or else by its number; an image by ``#`` and its index.

    Attributes:
        image_set: The images.
        option: The option with these texts, for errors.
        split: The split of the images, for errors.
    """

    image_set: ImageSet
    option: str
    split: str

    def anything(self) -> Choice:
        """Return the choice among all images."""
        return Choice(ANYTHING, np.arange(len(self.image_set)))

    def choices(self, text: str) -> list[Choice]:
        """Return the choices that a text names, separated by commas.

        Raises:
            AekitError: There is no such image or class.
        """
        return [self.choice(item) for item in split_names(text, self.option, self._is_known)]

    def pairs(self, text: str) -> list[tuple[Choice, Choice]]:
        """Return the pairs that a text names, ``first-second`` or ``first:second``, separated by commas.

        Names may contain dashes and commas, where only one reading names two that are there.

        Raises:
            AekitError: There is no such image or class, something is not a pair, or a text is ambiguous.
        """
        return [self._pair(item) for item in split_names(text, self.option, lambda item: bool(self._readings(item)))]

    def choice(self, text: str) -> Choice:
        """Return the choice that one text names.

        Raises:
            AekitError: There is no such image or class.
        """
        if text.startswith("#"):
            return self._image(text)
        label = self._label(text)
        if label is None:
            raise AekitError(f"{self.option} {text}: {self._no_class(text)}")
        name = self.class_name(label)
        indices = np.flatnonzero(self._labels() == label)
        if not len(indices):
            raise AekitError(
                f"{self.option} {text}: there are no {self.split} images of class {name}; choose another class"
            )
        return Choice(name, indices)

    def class_name(self, label: int) -> str:
        """Return the name of a class, or its number if it has none."""
        names = self.image_set.class_names
        return names[label] if 0 <= label < len(names) else str(label)

    def is_class(self, text: str) -> bool:
        """Return whether a text is the name or number of a class."""
        return self._label(text) is not None

    def is_attribute(self, name: str) -> bool:
        """Return whether a name is that of an attribute, which hides a class of the same name."""
        return self.image_set.attributes is not None and _find(name, self.image_set.attribute_names) is not None

    def members(self, name: str) -> npt.NDArray[np.bool_]:
        """Return which images have an attribute or else belong to a class, bool (N,).

        Raises:
            AekitError: There is neither an attribute nor a class with this name.
        """
        attributes = self.image_set.attributes
        names = self.image_set.attribute_names
        if attributes is not None and (number := _find(name, names)) is not None:
            members: npt.NDArray[np.bool_] = attributes[:, number]
            return members
        label = self._label(name)
        if label is not None:
            of_class: npt.NDArray[np.bool_] = self._labels() == label
            return of_class
        if attributes is None:
            other = (
                f"; {self._no_class(name)}"
                if self.image_set.labels is not None
                else " and no classes; use --pairs of indices instead"
            )
            raise AekitError(f"{self.option} {name}: the images of {self.image_set.name} have no attributes{other}")
        advice = nearest(name, names) or f"; choose one of {', '.join(names)}"
        raise AekitError(f"{self.option} {name}: the images of {self.image_set.name} have no such attribute{advice}")

    def _pair(self, text: str) -> tuple[Choice, Choice]:
        sides = _sides(text)
        if not sides:
            raise AekitError(
                f"{self.option} {text}: is not a pair; give two classes or images separated by a dash, such as 4-7 or "
                "'#12-#55'"
            )
        known = self._readings(text)
        if len(known) > 1:
            ways = " or ".join(f"'{first}' and '{second}'" for first, second in known)
            raise AekitError(
                f"{self.option} {text}: is ambiguous, {len(known)} pairs match: {ways}; put a colon between the two, "
                f"such as '{known[0][0]}:{known[0][1]}', or give the class numbers"
            )
        # If there is no valid reading, the closest one shows the error.
        first, second = known[0] if known else max(sides, key=lambda pair: sum(map(self._is_known, pair)))
        pair = self.choice(first), self.choice(second)
        if pair[0].is_one and np.array_equal(pair[0].indices, pair[1].indices):
            raise AekitError(f"{self.option} {text}: both ends are the same image; give two different ones")
        return pair

    def _readings(self, text: str) -> list[tuple[str, str]]:
        """Return the ways to read a text as two classes or images that are there."""
        return [pair for pair in _sides(text) if all(map(self._is_known, pair))]

    def _is_known(self, text: str) -> bool:
        return _is_index(text) or self._label(text) is not None

    def _image(self, text: str) -> Choice:
        n_images = len(self.image_set)
        if not _is_index(text):
            raise AekitError(f"{self.option} {text}: is not an index; give # and a number, such as '#12'")
        index = int(text[1:])
        if index >= n_images:
            what = "image" if self.split == "all" else f"{self.split} image"
            raise AekitError(
                f"{self.option} {text}: there {'is' if n_images == 1 else 'are'} {count(n_images, what)}; "
                f"give #0 to #{n_images - 1}"
            )
        return Choice(f"#{index}", np.array([index]))

    def _label(self, text: str) -> int | None:
        if self.image_set.labels is None:
            return None
        numbers = self._numbers()
        names = [self.class_name(number) for number in numbers]
        place = _find(text, names)
        if place is None:
            place = _find(text, [str(number) for number in numbers])
        return None if place is None else numbers[place]

    def _labels(self) -> Indices:
        assert self.image_set.labels is not None
        return self.image_set.labels

    def _numbers(self) -> list[int]:
        return sorted({*range(len(self.image_set.class_names)), *np.unique(self._labels()).tolist()})

    def _no_class(self, text: str) -> str:
        if self.image_set.labels is None:
            return f"the images of {self.image_set.name} have no classes; name images by their index, such as '#12'"
        names = [self.class_name(number) for number in self._numbers()]
        advice = f"choose one of {', '.join(names)}" if len(names) <= _MAX_NAMES else ""
        return f"{self.image_set.name} has no class {text!r}{nearest(text, names, advice)}"


def draw_pairs(first: Choice, second: Choice, n_draws: int, generator: np.random.Generator) -> Indices:
    """Return the indices of pairs of different images, (n_draws, 2); (1, 2) if both choices are a single image.

    Args:
        first: Choice for the first image of each pair.
        second: Choice for the second one.
        n_draws: Number of pairs, drawn independently.
        generator: Source of the draws.

    Raises:
        AekitError: There are no two different images.
    """
    if len(np.union1d(first.indices, second.indices)) < 2:
        names = "" if first.name == second.name == ANYTHING else f" {first.name}-{second.name}"
        raise AekitError(f"--pairs{names}: needs two different images, and there is one; use more images")
    n_draws = 1 if first.is_one and second.is_one else n_draws
    pairs: list[tuple[int, int]] = []
    while len(pairs) < n_draws:
        pair = int(generator.choice(first.indices)), int(generator.choice(second.indices))
        if pair[0] != pair[1]:
            pairs.append(pair)
    return np.array(pairs, dtype=np.int64)


def _sides(text: str) -> list[tuple[str, str]]:
    """Return all ways to cut a text in two at a dash or colon."""
    cuts = [place for place, letter in enumerate(text) if letter in "-:" and text[:place] and text[place + 1 :]]
    return [(text[:place].strip(), text[place + 1 :].strip()) for place in cuts]


def split_names(text: str, option: str, is_known: Callable[[str], bool]) -> list[str]:
    """Return the items of a list with commas; words that are an item only with the next one have a comma inside."""
    words = [item.strip() for item in text.split(",")]
    if not all(words):
        raise AekitError(f"{option} {text!r}: has an empty item; remove the extra comma, or give a name")
    items, start = [], 0
    while start < len(words):
        stops = range(start + 1, min(len(words), start + _MAX_COMMAS) + 1)
        joined = (", ".join(words[start:stop]) for stop in stops), (",".join(words[start:stop]) for stop in stops)
        fits = [(stop, text) for texts in joined for stop, text in zip(stops, texts, strict=True) if is_known(text)]
        stop, item = min(fits, default=(start + 1, words[start]))
        items.append(item)
        start = stop
    return items


def _find(word: str, names: tuple[str, ...] | list[str]) -> int | None:
    """Return the position of a name, or else of the only one that differs from it in case."""
    if word in names:
        return names.index(word)
    places = [place for place, name in enumerate(names) if name.casefold() == word.casefold()]
    return places[0] if len(places) == 1 else None


def _is_index(text: str) -> bool:
    return text[:1] == "#" and text[1:].isascii() and text[1:].isdecimal()
