"""What a probe measures; standard library only, so that the command line need not load torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from aekit.core.settings import check_at_least, check_choice, is_whole_number
from aekit.errors import UsageError, nearest

Layer = Literal["code", "hidden"]
METHODS = ("frozen", "finetune", "scratch", "logistic", "spread", "pixels", "pca")
TRAINED = ("finetune", "scratch")  # one network per draw


@dataclass(frozen=True)
class ProbeRequest:
    """What to measure.

    Attributes:
        labels: Numbers of labelled images; none is the default, as far as the smallest class goes.
        draws: Number of draws of labelled images.
        methods: Methods to compare, some of :data:`METHODS`.
        layer: ``code``, or ``hidden`` for the last hidden layer of the encoder.
        augment: Whether networks are also trained on warped images.
        unlabelled: Minimum number of training images for label spreading.
        seed: Seed of everything random.
    """

    labels: tuple[int, ...] = ()
    draws: int = 10
    methods: tuple[str, ...] = METHODS
    layer: Layer = "code"
    augment: bool = True
    unlabelled: int = 20_000
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("layer", self.layer, Layer)
        check_at_least("draws", self.draws, 1)
        check_at_least("unlabelled", self.unlabelled, 0)


def parse_methods(text: str) -> tuple[str, ...]:
    """Return the methods in a list such as ``pca,frozen``, each once, in the order of :data:`METHODS`.

    Raises:
        UsageError: A method is unknown, or there is none.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    advice = f"give some of {', '.join(METHODS)}"
    for name in names:
        if name not in METHODS:
            raise UsageError(f"--methods: there is no method {name!r}{nearest(name, METHODS, advice)}")
    if not names:
        raise UsageError(f"--methods: names no method; {advice}")
    return tuple(name for name in METHODS if name in names)


def parse_labels(text: str | None) -> tuple[int, ...]:
    """Return the numbers in a list such as ``100,20``, each once, ascending; none for None.

    Raises:
        UsageError: One is not a number above 0, or there is none.
    """
    words = [word.strip() for word in (text or "").split(",") if word.strip()]
    for word in words:
        if not (word.isascii() and is_whole_number(word) and int(word) > 0):
            raise UsageError(
                f"--labels: {word!r} is not a number of labels; give whole numbers above 0, as in 20,100, and "
                "a table of labels with --label-table"
            )
    if text is not None and not words:
        raise UsageError("--labels: names no number of labels; give some, as in 20,100")
    return tuple(sorted({int(word) for word in words}))
