"""``aekit pca-compare``: autoencoders against exact principal components with as many dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from aekit.commands.checkpoints import (
    Checkpoints,
    FigureOutput,
    Images,
    OtherData,
    Trained,
    WhichSplit,
    choose_target,
    differing_keys,
    read_checkpoints,
    read_paths,
    refuse_mixed,
)
from aekit.core.checkpoint import Header, read_header
from aekit.errors import AekitError
from aekit.images.config import Split
from aekit.terminal import options
from aekit.terminal.console import Console, TrainingProgress

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from aekit.images.data.image_set import ImageSet
    from aekit.images.pca.components import Pca, PcaErrors
    from aekit.images.pca.figure import Plane

    Floats = npt.NDArray[np.floating]

GRID = 12  # images a side of a decoded plane
MAX_PLANES = 20
MIN_RUNS = 3  # for a band
SHARE_OUTSIDE = 0.01  # of the codes at each end of each dimension, which a decoded plane leaves out
OVER_CODES = f"{1 - 2 * SHARE_OUTSIDE:.0%} of each dimension"
DECODE = 4096  # codes at a time: of large images not all fit into memory as floats
PRODUCTS_PER_SECOND = 6e10  # of a core here, for the covariance of uint8 images
SLOW_S = 10.0
QUANTITIES = ("mse", "ratio", "ratio_clipped", "explained_variance")


@dataclass(frozen=True)
class Rival:
    """Principal components, fitted on train, and how they do on the images of the comparison."""

    pca: Pca
    errors: PcaErrors
    n_train: int

    def at(self, latent: int) -> tuple[float, float]:
        """Return the error with so many components, and that of the clipped images; with all if there are fewer."""
        row = min(latent, int(self.errors.n_components[-1])) == self.errors.n_components
        return float(self.errors.mse[row][0]), float(self.errors.clipped_mse[row][0])

    def explained(self, mse: float) -> float:
        """Return the share of the variance around the mean training image that an error leaves explained."""
        around_mean = self.errors.mean_image_mse
        return 1 - mse / around_mean if around_mean > 0 else float("nan")


@dataclass(frozen=True)
class Comparison:
    """What was measured: PCA, a row a checkpoint, some of the planes of two dimensions, on what, and what made it."""

    rival: Rival
    table: pd.DataFrame
    planes: list[Plane]
    n_planes: int
    image_set: ImageSet
    parameters: dict[str, Any]

    @property
    def images(self) -> str:
        """Return what was measured on, for titles."""
        return f"{len(self.image_set):,} {self.parameters['options']['split']} images of {self.image_set.name}"


def pca_compare(
    checkpoints: Checkpoints,
    split: WhichSplit = "test",
    data: OtherData = None,
    data_root: options.DataRoot = None,
    output: FigureOutput = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Compare models with exact principal component analysis (PCA) of as many dimensions, on the same images.

    Reads checkpoints and the images that they were trained on (others with --data). PCA is fitted once, on all training
    images of the checkpoints. Models are measured at the posterior mean. Writes curves of the error, its ratio to PCA's
    and the explained variance against the latent dimensions (.png), a row a checkpoint (.csv), and the elbow of each
    curve by the Kneedle method (-elbow.csv). Checkpoints that differ in their seed alone share a curve, with a 95 %
    band. With two latent dimensions also the codes coloured by class and what is decoded over their plane (-2d.png).
    Prints the path of the curves.

    Example: aekit sweep --model ae --latent 2-20 | aekit pca-compare - -o out/pca.png
    """
    from aekit.core.artifacts import write_csv

    console = Console(quiet=quiet, json=json)
    paths = read_paths(checkpoints, console)
    target = choose_target(paths, output, name="pca-compare" if split == "test" else f"pca-compare-{split}")
    refuse_mixed(paths, list(dict.fromkeys(("train", split))), data=data)
    images = Images(data, data_root, console)
    found = _compare(paths, target, images, split, device=device, threads=threads, console=console)
    elbows = _elbows(found.table)
    write_csv(target.with_suffix(".csv"), found.table)
    write_csv(target.with_name(f"{target.stem}-elbow.csv"), elbows)
    _write_planes(target, found, console)
    _write_curves(target, found, elbows)
    _say(found, elbows, console)
    console.result(target, split=split, n=len(found.image_set), **_summary(found.table, elbows))


def _compare(
    paths: list[Path],
    target: Path,
    images: Images,
    split: Split,
    *,
    device: str,
    threads: int | None,
    console: Console,
) -> Comparison:
    import pandas as pd

    headers = [read_header(path) for path in paths]
    models = _model_names(headers)
    latents = [int(header.model["latent"]) for header in headers]
    rows: list[dict[str, Any]] = []
    planes: list[Plane] = []
    n_planes = 0
    rival, parameters = None, dict[str, Any]()
    with TrainingProgress(console) as progress:
        all_trained = read_checkpoints(paths, [target] * len(paths), device=device, threads=threads)
        for trained, model in zip(all_trained, models, strict=True):
            if rival is None:
                rival = _fit(trained, images, split, latents, console)
            image_set = images.read(trained, split)
            if not rows:
                planes += _pca_plane(rival.pca, image_set) if 2 in latents else []
                parameters = _parameters(trained, paths, image_set, rival, split)
            codes = trained.encode(image_set).mean
            rows.append(_row(trained, model, _mse(trained, image_set, codes), rival))
            if codes.shape[1] == 2:
                n_planes += 1
                if len(planes) < MAX_PLANES:
                    planes.append(_plane(trained, model, codes, console))
            progress.on_data(f"measuring {len(paths)} checkpoints", len(rows), len(paths))
    assert rival is not None  # there is at least one checkpoint
    order = ["kind", "arch", "beta", "model", "latent", "seed", "checkpoint"]
    table = pd.DataFrame(rows).sort_values(order, kind="stable", ignore_index=True)
    return Comparison(rival, table, planes, n_planes, image_set, parameters)


def _model_names(headers: list[Header]) -> list[str]:
    """Return kind and architecture of each checkpoint, and what else differs among those of the same, but the seed."""
    settings = [{key: header.configuration[key[0]].get(key[1]) for key in _setting_keys(header)} for header in headers]
    plain_names = [_plain_name(header) for header in headers]
    differing = differing_keys(settings, plain_names)
    names = []
    for own, plain_name in zip(settings, plain_names, strict=True):
        words = [
            f"{name.replace('_', ' ')} {value:g}" if isinstance(value, float) else f"{name.replace('_', ' ')} {value}"
            for (part, name), value in own.items()
            if (part, name) in differing[plain_name]
        ]
        names.append(", ".join([plain_name, *words]))
    return names


def _setting_keys(header: Header) -> list[tuple[str, str]]:
    return [
        (part, key)
        for part in ("model", "train")
        for key in header.configuration[part]
        if key not in ("latent", "seed")
    ]


def _plain_name(header: Header) -> str:
    return f"{header.model['kind']} {header.model['arch']}"


def _fit(trained: Trained, images: Images, split: Split, latents: list[int], console: Console) -> Rival:
    from aekit.images.pca.components import count_values, fit_pca, max_components, reconstruction_errors

    train = images.read(trained, "train")
    n_images, n_values, most = len(train), count_values(train), max_components(train)
    if most < 1:
        raise AekitError(f"{trained.path}: was trained on a single image, which has no principal components")
    if max(latents) > most:
        console.message(f"PCA: {n_images:,} images of {n_values:,} values have only {most:,} components; beyond, all")
    seconds = n_images * n_values * min(n_images, n_values) / PRODUCTS_PER_SECOND
    if seconds > SLOW_S:
        memory = 12e-9 * n_values * min(n_images, n_values)
        console.message(
            f"PCA: {n_images:,} images of {n_values:,} values take one core about {seconds / 60:.1f} minutes, and "
            f"{memory:.1f} GB of memory"
        )
    done = 0

    def on_block(n: int) -> None:
        nonlocal done
        done += n
        progress.on_data("fitting PCA", done, n_images)

    with TrainingProgress(console) as progress:
        pca = fit_pca(train, min(max(latents), most), on_block=on_block)
    counts = _component_counts(latents, len(pca.components))
    return Rival(pca, reconstruction_errors(pca, images.read(trained, split), counts), n_images)


def _component_counts(latents: list[int], most: int) -> list[int]:
    """Return the numbers of components to measure: those of the models and all between, or up to a single one."""
    lowest = min(latents) if len(set(latents)) > 1 else 1
    between = range(lowest, max(latents) + 1) if max(latents) - lowest < 200 else ()
    return sorted({min(count, most) for count in (*latents, *between)})


def _mse(trained: Trained, image_set: ImageSet, codes: Floats) -> float:
    """Return the mean squared error over images, pixels and channels of what the codes decode to."""
    import numpy as np

    from aekit.images.inference import decode_codes

    squares = 0.0
    for start in range(0, len(codes), DECODE):
        stop = min(start + DECODE, len(codes))
        error = decode_codes(trained.model, codes[start:stop])
        error -= image_set.take(np.arange(start, stop)) / np.float32(255)
        squares += float(np.square(error, out=error).sum(dtype=np.float64))
    return squares / (len(codes) * int(np.prod(image_set.image_shape)))


def _row(trained: Trained, model: str, mse: float, rival: Rival) -> dict[str, Any]:
    config, train = trained.header.model, trained.header.train
    pca_mse, clipped_mse = rival.at(config["latent"])
    return {
        "latent": config["latent"],
        "model": model,
        "mse": mse,
        "pca_mse": pca_mse,
        "pca_clipped_mse": clipped_mse,
        "ratio": pca_mse / mse if mse > 0 else float("inf"),
        "ratio_clipped": clipped_mse / mse if mse > 0 else float("inf"),
        "explained_variance": rival.explained(mse),
        "pca_explained_variance": rival.explained(pca_mse),
        "kind": config["kind"],
        "arch": config["arch"],
        "beta": train["beta"] if config["kind"] == "vae" else None,
        "seed": train["seed"],
        "checkpoint": trained.name,
    }


def _means(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean and its 95 % interval over the runs of a model with the same latent, one row a quantity."""
    import pandas as pd

    from aekit.core.intervals import mean_interval

    return pd.DataFrame(
        [
            {
                "model": model,
                "latent": latent,
                "quantity": quantity,
                "n": len(runs),
                "mean": mean,
                # Of two runs Student's t makes 13 standard errors, which would hide the runs themselves.
                "low": low if len(runs) >= MIN_RUNS else mean,
                "high": high if len(runs) >= MIN_RUNS else mean,
            }
            for (model, latent), runs in table.groupby(["model", "latent"])
            for quantity in QUANTITIES
            for mean, low, high in [mean_interval(runs[quantity].to_numpy())]
        ]
    )


def _elbows(table: pd.DataFrame) -> pd.DataFrame:
    """Return the elbow of each curve: of the mean over seeds, and the range of those seeds that have every latent."""
    import pandas as pd

    from aekit.images.pca.elbow import METHOD, kneedle
    from aekit.images.pca.figure import CLIPPED, PCA

    by_latent = table.groupby("latent")
    curves = {PCA: by_latent["pca_mse"].first(), CLIPPED: by_latent["pca_clipped_mse"].first()}
    seeds: dict[str, list[float]] = {}
    for model, runs in table.groupby("model", sort=False):
        curves[model] = runs.groupby("latent")["mse"].mean()
        each = [seed_runs.groupby("latent")["mse"].mean() for _, seed_runs in runs.groupby("seed")]
        found = [kneedle(c.index.to_numpy(), c.to_numpy()) for c in each if len(c) == len(curves[model])]
        seeds[model] = [elbow.x for elbow in found if elbow is not None]
    rows = []
    for model, curve in curves.items():
        elbow = kneedle(curve.index.to_numpy(), curve.to_numpy())
        rows.append(
            {
                "model": model,
                "method": METHOD,
                "elbow": None if elbow is None else int(elbow.x),
                "mse": None if elbow is None else elbow.y,
                "sharpness": None if elbow is None else elbow.sharpness,
                "seeds": len(seeds.get(model, [])),
                "lowest": min(seeds.get(model, []), default=None),
                "highest": max(seeds.get(model, []), default=None),
                "points": len(curve),
                "latent_min": curve.index.min(),
                "latent_max": curve.index.max(),
            }
        )
    return pd.DataFrame(rows).astype({"elbow": "Int64", "lowest": "Int64", "highest": "Int64"})


def _pca_plane(pca: Pca, image_set: ImageSet) -> list[Plane]:
    import numpy as np

    from aekit.images.pca.figure import Plane

    if len(pca.components) < 2:
        return []
    starts = range(0, len(image_set), DECODE)
    blocks = [np.arange(start, min(start + DECODE, len(image_set))) for start in starts]
    codes = np.concatenate([pca.encode(image_set.take(block), 2) for block in blocks])
    z0, z1 = _code_range(codes)
    decoded = np.clip(pca.decode(_grid_codes(z0, z1)), 0, 1).reshape(GRID, GRID, *image_set.image_shape)
    return [Plane("PCA", codes, z0, z1, decoded, OVER_CODES)]


def _plane(trained: Trained, model: str, codes: Floats, console: Console) -> Plane:
    import numpy as np

    from aekit.images.inference import decode_codes
    from aekit.images.latent import live_dimensions
    from aekit.images.pca.figure import Plane

    dead = np.flatnonzero(~live_dimensions(codes))
    if len(dead):
        console.message(
            f"{trained.path}: dimension {' and '.join(map(str, dead))} of its code is dead, always the same"
        )
    if trained.model.config.kind == "vae":
        z0 = z1 = np.array([NormalDist().inv_cdf((i + 0.5) / GRID) for i in range(GRID)])
        over = "quantiles of the prior"
    else:
        (z0, z1), over = _code_range(codes), OVER_CODES
    decoded = decode_codes(trained.model, _grid_codes(z0, z1)).reshape(GRID, GRID, *trained.model.image_shape)
    return Plane(f"{model}, seed {trained.header.train['seed']}", codes, z0, z1, decoded, over)


def _code_range(codes: Floats) -> tuple[Floats, Floats]:
    """Return evenly spaced values over the middle 98 % of each of two dimensions; around a dead one, 1 to each side."""
    import numpy as np

    axes = []
    for values in codes.T:
        low, high = np.quantile(values, [SHARE_OUTSIDE, 1 - SHARE_OUTSIDE])
        if high - low <= 1e-6 * max(abs(low), abs(high)):
            low, high = low - 1, high + 1
        axes.append(np.linspace(low, high, GRID))
    return axes[0], axes[1]


def _grid_codes(z0: Floats, z1: Floats) -> Floats:
    import numpy as np

    columns, rows = np.meshgrid(z0, z1)  # z1 changes from row to row
    return np.stack([columns.ravel(), rows.ravel()], axis=1)


def _parameters(first: Trained, paths: list[Path], image_set: ImageSet, rival: Rival, split: Split) -> dict[str, Any]:
    parameters = first.parameters("pca-compare", image_set, split=split)
    for part in ("checkpoint", "model", "train"):
        del parameters[part]
    parameters["checkpoints"] = sorted(path.name for path in paths)
    parameters["pca"] = {"fitted_on": "train", "n": rival.n_train}
    return parameters


def _write_curves(target: Path, found: Comparison, elbows: pd.DataFrame) -> None:
    import pandas as pd

    from aekit.core.artifacts import write_png
    from aekit.images.pca.elbow import METHOD
    from aekit.images.pca.figure import plot_against_pca

    rival = found.rival
    errors = rival.errors
    pca = pd.DataFrame({"latent": errors.n_components, "mse": errors.mse, "clipped_mse": errors.clipped_mse})
    pca["explained_variance"] = [rival.explained(mse) for mse in errors.mse]
    title = f"{found.images}; PCA of {rival.n_train:,} train images"
    places = _elbow_places(elbows)
    figure = plot_against_pca(found.table, _means(found.table), pca, places, elbow_method=METHOD, title=title)
    write_png(target, figure, found.parameters)


def _write_planes(target: Path, found: Comparison, console: Console) -> None:
    from aekit.core.artifacts import write_png
    from aekit.images.pca.figure import plot_planes

    planes, image_set = found.planes, found.image_set
    if not planes:
        return
    if found.n_planes >= MAX_PLANES:
        console.message(f"{found.n_planes} checkpoints have two dimensions; the first {MAX_PLANES - 1} are drawn")
    title = f"{found.images}: codes, and what is decoded over the box"
    figure = plot_planes(planes, image_set.labels, image_set.class_names, title=title)
    path = write_png(target.with_name(f"{target.stem}-2d.png"), figure, {**found.parameters, "grid": GRID})
    console.message(f"two dimensions: {path}")


def _elbow_places(elbows: pd.DataFrame) -> dict[str, float | None]:
    import pandas as pd

    return {row.model: None if pd.isna(row.elbow) else int(row.elbow) for row in elbows.itertuples()}


def _say(found: Comparison, elbows: pd.DataFrame, console: Console) -> None:
    columns = ("mse", "pca_mse", "pca_clipped_mse", "ratio", "ratio_clipped", "explained_variance")
    means = found.table.groupby(["model", "latent"], as_index=False).agg(
        runs=("seed", "size"), **{column: (column, "mean") for column in columns}
    )
    headings = ["model", "latent", "runs", "MSE", "PCA", "PCA clipped", "ratio", "to clipped", "explained"]
    console.table(f"Mean squared error of {found.images}", headings, means.itertuples(index=False))
    rows = elbows[["model", "elbow", "lowest", "highest", "seeds", "points"]].astype(object)
    rows = rows.where(rows.notna(), None)
    if elbows["elbow"].isna().all():
        console.message(f"no elbow in curves of {elbows['points'].max()} points; more latent dimensions show one")
        return
    headings = ["curve", "elbow", "lowest", "highest", "of seeds that have one", "points"]
    console.table(f"Elbow by {elbows['method'][0]}", headings, rows.itertuples(index=False))


def _summary(table: pd.DataFrame, elbows: pd.DataFrame) -> dict[str, Any]:
    """Return what --json says: the worst and best ratio, and each elbow."""
    worst, best = table.loc[table["ratio"].idxmin()], table.loc[table["ratio"].idxmax()]
    return {
        "worst_ratio": float(worst["ratio"]),
        "worst_latent": int(worst["latent"]),
        "best_ratio": float(best["ratio"]),
        "best_latent": int(best["latent"]),
        "elbows": _elbow_places(elbows),
    }
