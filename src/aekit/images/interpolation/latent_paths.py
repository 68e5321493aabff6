"""What ``aekit interpolate`` draws and measures: ends of paths, codes to measure them against, and the paths."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from aekit.commands.checkpoints import Images, Trained
from aekit.errors import AekitError
from aekit.images.config import Split
from aekit.terminal.console import Console

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from aekit.images.data.image_set import ImageSet
    from aekit.images.data.selection import Choice

    Floats = npt.NDArray[np.floating]
    Indices = npt.NDArray[np.int64]

PathKind = Literal["linear", "slerp"]
Space = Literal["latent", "pixels", "both"]

N_SHOWN = 4  # pairs, or images to walk from, in the figure if none is named
MEASURES = ("length_ratio", "unevenness", "farthest", "start_error", "end_error")


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        pairs: What ``--pairs`` says.
        n_prior: What ``--prior`` says.
        attribute: What ``--attribute`` says.
        starts: What ``--from`` says.
        alphas: Places along each path, (S,).
        path: Kind of the paths between codes.
        space: Where the paths are.
        n_draws: Paths that the measures of a pair rest on, where there is something to draw.
        seed: Seed of the draws.
        split: Split that the images are of.
    """

    pairs: str | None
    n_prior: int | None
    attribute: str | None
    starts: str | None
    alphas: Floats
    path: PathKind
    space: Space
    n_draws: int
    seed: int
    split: Split

    @property
    def spaces(self) -> tuple[str, ...]:
        """Return the spaces in the order of the rows."""
        return ("pixels", "latent") if self.space == "both" else (self.space,)

    def parameters(self) -> dict[str, Any]:
        """Return the options by their names on the command line."""
        values = asdict(self) | {"alphas": self.alphas.tolist()}
        renamed = {"n_prior": "prior", "starts": "from", "n_draws": "draws"}
        return {renamed.get(key, key): value for key, value in values.items()}


@dataclass(frozen=True)
class Group:
    """Paths of one kind, as all those between images of two classes.

    Attributes:
        name: What they join, as ``4-7``, or where they start.
        ends: The names of each path's ends, D times two, or one where a walk starts.
        indices: Images at the ends, (D, 2) or (D, 1); None for samples of the prior.
        n_shown: So many of the paths, the first, are in the figure.
    """

    name: str
    ends: list[tuple[str, ...]]
    indices: Indices | None
    n_shown: int


@dataclass(frozen=True)
class Cloud:
    """A model's codes, to measure paths against.

    Attributes:
        codes: Codes of all images of the split, (N, L).
        used: Dimensions in which distances are measured, bool (L,).
        typical: Median distance from a code to the nearest other; NaN if the codes do not differ.
        centre: What arcs turn around, (L,).
    """

    codes: Floats
    used: npt.NDArray[np.bool_]
    typical: float
    centre: Floats


@dataclass(frozen=True)
class Direction:
    """Where an attribute lies.

    Attributes:
        z: Mean code with it less mean code without, (L,).
        x: The same of the images, (C, H, W); None if no walk through pixel space is asked for.
        auc: Area under the ROC curve of the projection on ``z``, of the split's images, and the ends of its interval.
    """

    z: Floats
    x: Floats | None
    auc: tuple[float, float, float]


@dataclass(frozen=True)
class Path:
    """One path.

    Attributes:
        kind: ``linear`` or ``slerp``.
        images: What lies along it, (S, C, H, W) in [0, 1].
        z: Codes along it, (S, L); None in pixel space.
        left_out: Images at its ends, (E,), whose codes are no neighbours.
        errors: Mean squared error of the reconstruction at each end, one or two; NaN for samples of the prior.
    """

    kind: PathKind
    images: Floats
    z: Floats | None
    left_out: Indices | None
    errors: tuple[float, ...]


def choose_groups(request: Request, image_set: ImageSet) -> list[Group]:
    """Return the paths to walk: between images of classes, given images, samples of the prior, or from images.

    Raises:
        AekitError: An image, class or attribute is not there, or there are too few images.
    """
    from aekit.images.data.selection import Selector

    if request.n_prior is not None:
        n_pairs = max(request.n_prior, request.n_draws)
        ends = [(f"sample {2 * number}", f"sample {2 * number + 1}") for number in range(n_pairs)]
        return [Group("prior", [*ends], None, request.n_prior)]
    if request.attribute is not None:
        selector = Selector(image_set, "--from", request.split)
        starts = [selector.anything()] if request.starts is None else selector.choices(request.starts)
        return [_draw_starts(start, number, request, image_set) for number, start in enumerate(starts)]
    selector = Selector(image_set, "--pairs", request.split)
    anything = (selector.anything(), selector.anything())
    pairs = [anything] if request.pairs is None else selector.pairs(request.pairs)
    return [_draw_ends(pair, number, request, image_set) for number, pair in enumerate(pairs)]


def _draw_ends(pair: tuple[Choice, Choice], number: int, request: Request, image_set: ImageSet) -> Group:
    import numpy as np

    from aekit.images.data.selection import draw_pairs

    is_any = request.pairs is None
    n_draws = max(request.n_draws, N_SHOWN) if is_any else request.n_draws
    # A generator for each pair: the first draws stay the same whatever other pairs and however many draws there are.
    indices = draw_pairs(*pair, n_draws, np.random.default_rng([request.seed, number]))
    ends = [tuple(_image_name(image_set, index) for index in row) for row in indices]
    name = pair[0].name if is_any else "-".join(choice.name for choice in pair)
    return Group(name, [*ends], indices, N_SHOWN if is_any else 1)


def _draw_starts(start: Choice, number: int, request: Request, image_set: ImageSet) -> Group:
    import numpy as np

    from aekit.images.data.selection import Selector

    has = Selector(image_set, "--attribute", request.split).members(str(request.attribute))
    is_any = request.starts is None
    n_draws = 1 if start.is_one else max(request.n_draws, N_SHOWN) if is_any else request.n_draws
    generator = np.random.default_rng([request.seed, number])
    indices = generator.choice(start.indices, (n_draws, 1))
    ends = [(f"{_image_name(image_set, i)}, {'with' if has[i] else 'without'}",) for i in indices[:, 0]]
    return Group(start.name, [*ends], indices, N_SHOWN if is_any else 1)


def _image_name(image_set: ImageSet, index: int) -> str:
    return f"#{index}" if image_set.labels is None else f"{image_set.label_text(index)} (#{index})"


def build_cloud(trained: Trained, image_set: ImageSet, *, seed: int, console: Console) -> Cloud:
    """Return the codes of a model, and what there is to know of them to measure a path.

    Distances are measured in the dimensions that tell images apart: a VAE's active units, an autoencoder's live
    dimensions. In the others samples of the prior lie far from every code, which no image shows.
    """
    import numpy as np

    from aekit.images.interpolation.measures import typical_distance
    from aekit.images.latent import active_units, live_dimensions

    codes = trained.encode(image_set).mean
    is_vae = trained.model.config.kind == "vae"
    used = active_units(codes) if is_vae else live_dimensions(codes)
    typical = typical_distance(codes[:, used], seed=seed) if used.any() and len(codes) > 1 else 0.0
    if not typical > 0:
        console.message(f"{trained.path}: its codes do not differ, so distances to them tell nothing")
    # The prior lies around the origin; an autoencoder's codes lie anywhere, and their mean is the one centre they have.
    centre = np.zeros(codes.shape[1]) if is_vae else codes.mean(axis=0, dtype=np.float64)
    return Cloud(codes, used, typical if typical > 0 else np.nan, centre)


def draw_prior(trained: Trained, n_samples: int, seed: int, train: Images, console: Console) -> Floats:
    """Return samples of the prior, (n_samples, L), the same as those of ``aekit sample`` with this seed.

    A plain autoencoder has none; there a Gaussian fitted to the codes of its training images stands in.
    """
    import numpy as np

    generator = np.random.default_rng(seed)
    if trained.model.config.kind == "vae":
        return generator.standard_normal((n_samples, trained.model.config.latent))
    console.message(
        f"{trained.path}: a plain autoencoder has no prior; samples come from a Gaussian fitted to the training codes"
    )
    codes = trained.encode(train.read(trained, "train")).mean
    covariance = np.atleast_2d(np.cov(codes, rowvar=False))
    return generator.multivariate_normal(codes.mean(axis=0), covariance, n_samples, method="eigh", check_valid="ignore")


def find_direction(trained: Trained, request: Request, cloud: Cloud, image_set: ImageSet, train: Images) -> Direction:
    """Return where an attribute lies in the codes of the training images, and how well that holds in the split.

    Raises:
        AekitError: There is no such attribute or class, or all training images have it, or none.
    """
    from aekit.core.intervals import bootstrap_interval
    from aekit.images.data.selection import Selector
    from aekit.images.interpolation.measures import mean_difference, roc_auc

    name = str(request.attribute)
    train_set = train.read(trained, "train")
    has = Selector(train_set, "--attribute", "train").members(name)
    if has.all() or not has.any():
        raise AekitError(f"--attribute {name}: {'all' if has.all() else 'no'} train images have it; choose another one")
    z = mean_difference(trained.encode(train_set).mean, has)
    x = _mean_image(train_set, has) - _mean_image(train_set, ~has) if "pixels" in request.spaces else None
    scores, held = cloud.codes @ z, Selector(image_set, "--attribute", request.split).members(name)
    auc = bootstrap_interval(lambda rows: roc_auc(scores[rows], held[rows]), len(scores), seed=request.seed)
    return Direction(z, x, auc)


def _mean_image(image_set: ImageSet, has: npt.NDArray[np.bool_]) -> Floats:
    import numpy as np

    chosen = np.flatnonzero(has)
    total = np.zeros(image_set.image_shape)
    for start in range(0, len(chosen), 2048):  # a memory-mapped set is never held whole
        total += image_set.take(chosen[start : start + 2048]).sum(axis=0, dtype=np.float64)
    return total / (255 * len(chosen))


@dataclass(frozen=True)
class Walker:
    """Walks the paths of one model.

    Attributes:
        trained: The model.
        cloud: Its codes.
        image_set: The images that belong to them.
        request: What is asked for.
        direction: Where the walks lead; None for paths between two ends.
        samples: Samples of the prior, (2 D, L), for the group without images.
    """

    trained: Trained
    cloud: Cloud
    image_set: ImageSet
    request: Request
    direction: Direction | None = None
    samples: Floats | None = None

    def codes(self, group: Group, number: int) -> Floats:
        """Return the codes at the ends of path ``number``, (E, L)."""
        if group.indices is not None:
            codes: Floats = self.cloud.codes[group.indices[number]]
            return codes
        assert self.samples is not None
        return self.samples[2 * number : 2 * number + 2]

    def images(self, group: Group, number: int) -> Floats:
        """Return the images at the ends of path ``number``, (E, C, H, W) in [0, 1]; samples are decoded."""
        import numpy as np

        from aekit.images.inference import decode_codes

        if group.indices is not None:
            return self.image_set.take(group.indices[number]).astype(np.float32) / np.float32(255)
        return decode_codes(self.trained.model, self.codes(group, number))

    def pixel_path(self, group: Group, number: int) -> Path:
        """Return the blend of the images at the ends, or a walk along the mean images' difference, cut to [0, 1]."""
        import numpy as np

        from aekit.images.interpolation.measures import lerp, walk

        x = self.images(group, number)
        towards = None if self.direction is None else self.direction.x
        blend = lerp(x[0], x[1], self.request.alphas) if towards is None else walk(x[0], towards, self.request.alphas)
        errors = tuple(0.0 if group.indices is not None else np.nan for _ in x)
        return Path("linear", np.clip(blend, 0, 1), None, None, errors)

    def latent_path(self, group: Group, number: int) -> Path:
        """Return the decoded path between the codes at the ends, or along the attribute.

        Raises:
            AekitError: It should be an arc, and there is no single one.
        """
        import numpy as np

        from aekit.images.inference import decode_codes

        ends = self.codes(group, number)
        z = self._points(ends, group.ends[number])
        decoded = decode_codes(self.trained.model, np.concatenate([z, ends]))
        images, x_hat = decoded[: len(z)], decoded[len(z) :]
        if group.indices is None:
            return Path(self.request.path, images, z, None, (np.nan, np.nan))
        errors = np.square(x_hat - self.images(group, number)).mean(axis=(1, 2, 3), dtype=np.float64)
        return Path(self.request.path, images, z, group.indices[number], tuple(map(float, errors)))

    def _points(self, ends: Floats, names: tuple[str, ...]) -> Floats:
        from aekit.images.interpolation.measures import has_arc, lerp, slerp, walk

        alphas, centre = self.request.alphas, self.cloud.centre
        if self.direction is not None:
            return walk(ends[0], self.direction.z, alphas)
        if self.request.path == "linear":
            return lerp(ends[0], ends[1], alphas)
        if not has_arc(ends[0] - centre, ends[1] - centre):
            raise AekitError(
                f"--path slerp: no single arc joins {' and '.join(names)} in {self.trained.path}, whose codes are "
                "opposite or zero; use --path linear"
            )
        return slerp(ends[0], ends[1], alphas, centre=centre)


def path_table(path: Path, cloud: Cloud, alphas: Floats) -> pd.DataFrame:
    """Return a row a step: alpha, length of the step, and how far its code lies from the codes of other images."""
    import numpy as np
    import pandas as pd

    from aekit.images.interpolation.measures import nearest_distances, step_lengths

    nearest = np.full(len(alphas), np.nan)
    if path.z is not None and cloud.used.any():
        left_out = None if path.left_out is None else np.tile(path.left_out, (len(alphas), 1))
        nearest = nearest_distances(path.z[:, cloud.used], cloud.codes[:, cloud.used], left_out)
    table = pd.DataFrame({"step": np.arange(len(alphas)), "alpha": alphas, "step_length": step_lengths(path.images)})
    table["nearest_code"], table["nearest_code_ratio"] = nearest, nearest / cloud.typical
    for end, error in zip(("start", "end"), path.errors, strict=False):
        table[f"{end}_error"] = error
    return table


def path_measures(path: Path, table: pd.DataFrame) -> dict[str, float]:
    """Return one number a path for each of :data:`MEASURES`, NaN for those that it does not have."""
    import numpy as np

    from aekit.images.interpolation.measures import path_shape

    shape = path_shape(path.images)
    start_error, end_error = [*path.errors, np.nan][:2]  # a walk has no end
    return {
        "length_ratio": shape.length_ratio,
        "unevenness": shape.unevenness,
        "farthest": float(table["nearest_code_ratio"].max()),
        "start_error": start_error,
        "end_error": end_error,
    }


def summarise(measures: list[dict[str, float]]) -> dict[str, Any]:
    """Return the mean of each measure over paths with the ends of its 95 % interval, None for what there is not."""
    import numpy as np

    from aekit.core.intervals import mean_interval

    summary: dict[str, Any] = {"n_paths": len(measures)}
    for name in MEASURES:
        values = np.array([measure[name] for measure in measures])
        values = values[np.isfinite(values)]
        interval = mean_interval(values) if len(values) else (np.nan,) * 3
        for key, value in zip((name, f"{name}_low", f"{name}_high"), interval, strict=True):
            summary[key] = float(value) if np.isfinite(value) else None
    return summary
