"""Which paths to take between images; standard library only, so that the command line need not load torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from aekit.core.settings import check_at_least, check_choice
from aekit.errors import UsageError
from aekit.images.config import Split

PathKind = Literal["linear", "slerp"]
Space = Literal["latent", "pixels", "both"]


@dataclass(frozen=True)
class PathRequest:
    """Which paths to take; of ``pairs``, ``n_prior``, ``attribute`` and ``stops`` at most one.

    Attributes:
        pairs: Pairs of classes or images to join, such as ``4-7,#12-#55``; None joins any images.
        n_prior: Number of pairs of samples of the prior to join.
        attribute: Attribute or class along whose direction to walk.
        starts: Images, classes or image files where these walks start, None is any images; or with ``stops`` image
            files.
        limits: First and last alpha; None is 0 to 1, or -2 to 2 along an attribute.
        steps: Images along each path.
        path: Kind of the paths between codes.
        space: Whether paths are between codes, between the images themselves, or both.
        n_draws: Number of paths to measure for each pair, where images are drawn.
        seed: Seed of the draws.
        split: Split of the images.
        stops: The image file where the path from each of the ``starts`` ends; None if paths are not between files.
        label: Class to decode paths as, for a model that is told it; None is that of the first image of each.

    Raises:
        AekitError: Options do not go together, or a value is refused.
    """

    pairs: str | None = None
    n_prior: int | None = None
    attribute: str | None = None
    starts: str | Sequence[str] | None = None
    limits: tuple[float, float] | None = None
    steps: int = 11
    path: PathKind = "linear"
    space: Space = "latent"
    n_draws: int = 10
    seed: int = 0
    split: Split = "test"
    stops: Sequence[str] | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        check_choice("path", self.path, PathKind)
        check_choice("space", self.space, Space)
        check_choice("split", self.split, Split)
        for option, value, least in (("prior", self.n_prior, 1), ("steps", self.steps, 2), ("draws", self.n_draws, 1)):
            check_at_least(option, value, least)
        values = {"--pairs": self.pairs, "--prior": self.n_prior, "--attribute": self.attribute, "--to": self.stops}
        given = [name for name, value in values.items() if value is not None]
        if len(given) > 1:
            raise UsageError(f"{given[0]}: cannot be combined with {given[1]}; give one of them")
        self._check_starts()
        if self.path == "slerp" and self.attribute is not None:
            raise UsageError("--path slerp: a walk along --attribute is straight; leave it out")
        if self.path == "slerp" and self.space == "pixels":
            raise UsageError("--path slerp: images are blended linearly; use --space latent or both")
        low, high = self.ends
        if not (low < high and math.isfinite(high - low)):
            raise UsageError("--range: the first number must be below the second, both finite; give them as -0.5 1.5")

    def _check_starts(self) -> None:
        starts = (self.starts,) if isinstance(self.starts, str) else tuple(self.starts or ())
        if self.stops is None:
            if starts and self.attribute is None:
                raise UsageError("--from: needs --attribute, or --to with the image file at the other end; add one")
            object.__setattr__(self, "starts", starts or None)
            return
        stops = (self.stops,) if isinstance(self.stops, str) else tuple(self.stops)
        if not starts:
            raise UsageError("--to: needs --from with the image file where the path starts; add it")
        if len(starts) != len(stops):
            raise UsageError(
                f"--from, --to: {len(starts)} and {len(stops)} images; give one --to for each --from, in their order"
            )
        object.__setattr__(self, "starts", starts)
        object.__setattr__(self, "stops", stops)

    @property
    def places(self) -> tuple[str, ...]:
        """Return where walks along an attribute start: images and classes, or an image file; none for anywhere."""
        return () if self.stops is not None else tuple(self.starts or ())

    @property
    def files(self) -> list[tuple[str, str]]:
        """Return the pairs of image files to join; none unless they were given."""
        return [] if self.stops is None else list(zip(self.starts or (), self.stops, strict=True))

    @property
    def is_of_images(self) -> bool:
        """Return whether paths are of images of the split, which may have labels, not of files or samples."""
        return self.n_prior is None and self.stops is None

    @property
    def ends(self) -> tuple[float, float]:
        """Return the first and the last alpha."""
        return self.limits or ((0.0, 1.0) if self.attribute is None else (-2.0, 2.0))

    @property
    def spaces(self) -> tuple[str, ...]:
        """Return the spaces in the order of the rows."""
        return ("pixels", "latent") if self.space == "both" else (self.space,)

    def parameters(self, alphas: list[float]) -> dict[str, Any]:
        """Return the options by their names on the command line, with the alphas in place of their range."""
        values = asdict(self) | {"alphas": alphas}
        if self.places:
            values["starts"] = ",".join(self.places)
        renamed = {"n_prior": "prior", "starts": "from", "n_draws": "draws", "stops": "to"}
        left_out = ("limits", "steps", *(name for name in ("stops", "label") if getattr(self, name) is None))
        return {renamed.get(key, key): value for key, value in values.items() if key not in left_out}
