"""``aekit decorrelation``: how correlated the dimensions of codes are, against how many there are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from aekit.commands.checkpoints import (
    Checkpoints,
    FigureOutput,
    Images,
    NoiseSeed,
    OtherData,
    Trained,
    WhichSplit,
    choose_target,
    differing_keys,
    read_checkpoints,
    read_paths,
    refuse_mixed,
)
from aekit.core.checkpoint import read_header
from aekit.errors import AekitError
from aekit.images.config import Split
from aekit.terminal import options
from aekit.terminal.console import Console

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd
    from matplotlib.figure import Figure

    from aekit.images.data.image_set import ImageSet
    from aekit.images.decorrelation.correlation import Decorrelation
    from aekit.images.decorrelation.figure import Curve, Panel

Measure = Literal["mean-abs", "rms", "participation", "effective-rank"]
LABELS: dict[Measure, str] = {
    "mean-abs": "mean |r| off the diagonal",
    "rms": "root mean square r off the diagonal",
    "participation": "participation ratio",
    "effective-rank": "effective rank",
}
MIN_IMAGES = 10
MAX_PANELS = 40
# What a line of the figure may differ in besides: it runs over the first, and averages over the second.
_NOT_IN_GROUPS = ("latent", "seed", "shape", "splits")


@dataclass(frozen=True)
class Request:
    """What is asked for, as it goes into the figure's parameters."""

    split: Split
    images: int
    measure: Measure
    bootstrap: int
    pca: bool
    seed: int


@dataclass(frozen=True)
class Measured:
    """What was found for one checkpoint.

    Attributes:
        row: Its row of the table.
        matrix: The correlations of its codes, (L, L).
        settings: Its name and how it was made, for the figure's parameters.
    """

    row: dict[str, Any]
    matrix: npt.NDArray[np.floating]
    settings: dict[str, Any]


def decorrelation(
    checkpoints: Checkpoints,
    n: Annotated[
        int,
        typer.Option(
            "--images", "-n", rich_help_panel=options.ANALYSIS, min=MIN_IMAGES, help="Images whose codes are looked at."
        ),
    ] = 5000,
    measure: Annotated[
        Measure,
        typer.Option(
            "--measure",
            rich_help_panel=options.ANALYSIS,
            help="What the figure shows: mean absolute or root mean square correlation off the diagonal, or how many "
            "dimensions the correlations leave. The table has all.",
        ),
    ] = "mean-abs",
    bootstrap: Annotated[
        int,
        typer.Option(
            "--bootstrap", rich_help_panel=options.ANALYSIS, min=2, help="Resamples of the images, for intervals."
        ),
    ] = 200,
    pca: Annotated[
        bool,
        typer.Option(
            "--pca/--no-pca",
            rich_help_panel=options.ANALYSIS,
            help="PCA of the same images as a check: uncorrelated by construction.",
        ),
    ] = True,
    seed: NoiseSeed = 0,
    split: WhichSplit = "test",
    data: OtherData = None,
    data_root: options.DataRoot = None,
    output: FigureOutput = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Measure how correlated the dimensions of codes are, against how many there are.

    Reads checkpoints and the images that they were trained on (others with --data). One value a checkpoint, from the
    Pearson correlations of its codes (a VAE's posterior means), with a 95 % interval over the images; seeds are
    averaged. Dead dimensions, which are the same for all images, are counted and left out. Beside it stand what the
    same codes give when their axes are turned at random, and what independent dimensions give. PCA is fitted to the
    very images that are measured, so that its codes are uncorrelated but for rounding. Writes a figure (.png), the
    matrices below the curve, and a table (.csv) of all measures. Prints the figure's path.

    Example: aekit decorrelation runs/ae-mnist-conv-z*.safetensors
    """
    from aekit.core.artifacts import write_csv, write_png

    console = Console(quiet=quiet, json=json)
    request = Request(split, n, measure, bootstrap, pca, seed)
    paths = read_paths(checkpoints, console)
    refuse_mixed(paths, [split], data=data)
    parts = ["decorrelation", *([measure] if measure != "mean-abs" else []), *([split] if split != "test" else [])]
    target = choose_target(paths, output, name="-".join(parts))
    images = Images(data, data_root, console)
    trained = read_checkpoints(paths, [target] * len(paths), device=device, threads=threads)
    measured, shown = _measure_each(zip(trained, _groups(paths), strict=True), images, request, console)
    table = _with_pca(measured, shown, console) if pca else _table(measured)
    figure = _plot(table, [entry.matrix for entry in measured], request, shown, console)
    write_csv(target.with_suffix(".csv"), table)
    write_png(target, figure, _parameters(request, shown, [entry.settings for entry in measured]))
    _say(console, table, request, len(shown))
    key = _column(measure)
    results = table[["checkpoint", "latent", "n_dead", key, f"{key}_low", f"{key}_high"]].astype(object)
    records = results.where(results.notna(), None).to_dict("records")
    console.result(target, n=len(shown), split=split, measure=measure, checkpoints=records)


def _column(measure: str) -> str:
    return measure.replace("-", "_")


def _groups(paths: list[Path]) -> list[str]:
    """Return for each checkpoint what it is but for latent dimensions and seed: the line it belongs to.

    Model, architecture and a VAE's beta are always named, other settings if they differ within an architecture.
    """
    settings = []
    for path in paths:
        header = read_header(path)
        parts = [header.model, header.train, header.data]
        settings.append({key: value for part in parts for key, value in part.items() if key not in _NOT_IN_GROUPS})
    networks = [f"{own.get('kind')} {own.get('arch')}" for own in settings]
    differing = differing_keys(settings, networks)
    labels = []
    for own, network in zip(settings, networks, strict=True):
        words = [network]
        for key, value in own.items():
            named = key == "beta" and own.get("kind") == "vae"
            differs = key != "beta" and key in differing[network]
            if key not in ("kind", "arch") and value is not None and (named or differs):
                text = f"{value:g}" if isinstance(value, float) else str(value)
                words.append(f"{text} layers" if key == "layers" else f"{key.replace('_', ' ')} {text}")
        labels.append(", ".join(words).replace(" 1 layers", " 1 layer"))
    return labels


def _measure_each(
    checkpoints: Iterable[tuple[Trained, str]], images: Images, request: Request, console: Console
) -> tuple[list[Measured], ImageSet]:
    """Return what was found for each checkpoint and its group, and the images that all were measured on."""
    measured: list[Measured] = []
    shown: ImageSet | None = None
    for trained, group in checkpoints:
        drawn = _draw(images.read(trained, request.split), request, console, said=shown is not None)
        # With --data the checkpoints may still cut the images in ways of their own.
        if shown is not None and drawn.fingerprint != shown.fingerprint:
            raise AekitError(
                f"{trained.path}: takes other images of {drawn.name} than those before; compare them apart"
            )
        shown = drawn
        measured.append(_measure(trained, shown, request, group, console))
    if shown is None:
        raise ValueError("no checkpoint")
    return measured, shown


def _draw(image_set: ImageSet, request: Request, console: Console, *, said: bool) -> ImageSet:
    """Return so many images as asked for, or all, the same at each call."""
    import numpy as np

    if len(image_set) < MIN_IMAGES:
        raise AekitError(
            f"--split {request.split}: {image_set.name} has {len(image_set)} images there, and correlations need at "
            f"least {MIN_IMAGES}; use another split or more data"
        )
    if len(image_set) <= request.images:
        if len(image_set) < request.images and not said:
            console.message(
                f"--images {request.images}: there are {len(image_set):,} {request.split} images; all are taken"
            )
        return image_set
    drawn = np.random.default_rng(request.seed).choice(len(image_set), request.images, replace=False)
    return image_set.subset(np.sort(drawn).astype(np.int64))


def _measure(trained: Trained, image_set: ImageSet, request: Request, group: str, console: Console) -> Measured:
    from aekit.images.decorrelation.correlation import measure_codes

    codes = trained.encode(image_set).mean
    found = measure_codes(codes, n_resamples=request.bootstrap, seed=request.seed)
    model, train = trained.header.model, trained.header.train
    n_live = int(found.live.sum())
    if n_live < len(found.live):
        console.message(
            f"{trained.path}: {len(found.live) - n_live} of {len(found.live)} dimensions are dead, the same for all "
            "images; they are left out"
        )
    if n_live < 2:
        console.message(f"{trained.path}: no value, as there is no pair of dimensions to correlate (live: {n_live})")
    row = {
        "checkpoint": trained.name,
        "group": group,
        **{key: model.get(key) for key in ("kind", "arch", "layers", "width", "latent")},
        "beta": train["beta"] if model["kind"] == "vae" else None,
        "epochs": train["epochs"],
        "seed": train["seed"],
        "split": request.split,
        "n_images": len(image_set),
        "n_dead": len(found.live) - n_live,
        "n_live": n_live,
        **_activity(found, codes, is_vae=model["kind"] == "vae"),
        **_values(found),
    }
    return Measured(row, found.matrix, {"checkpoint": trained.name, "model": model, "train": train})


def _activity(found: Decorrelation, codes: npt.NDArray[np.floating], *, is_vae: bool) -> dict[str, Any]:
    """Return how many units of a VAE are active, and the mean |r| among these alone; nothing for an autoencoder."""
    from aekit.images.decorrelation.correlation import measure_matrix
    from aekit.images.latent import active_units

    if not is_vae:
        return {"n_active": None, "mean_abs_active": None}
    active = active_units(codes)
    return {"n_active": int(active.sum()), "mean_abs_active": measure_matrix(found.matrix, active)["mean-abs"]}


def _values(found: Decorrelation) -> dict[str, float]:
    columns = {}
    for suffix, intervals in (("", found.values), ("_rotated", found.rotated)):
        for name, interval in intervals.items():
            columns[f"{_column(name)}{suffix}"] = interval.value
            columns[f"{_column(name)}{suffix}_low"] = interval.low
            columns[f"{_column(name)}{suffix}_high"] = interval.high
    return columns


def _table(measured: list[Measured]) -> pd.DataFrame:
    import pandas as pd

    table = pd.DataFrame([entry.row for entry in measured])
    # Whole numbers that may be missing stay whole.
    return table.astype({key: "Int64" for key in ("layers", "width", "n_active")})


def _with_pca(measured: list[Measured], image_set: ImageSet, console: Console) -> pd.DataFrame:
    """Return the table with the measures of PCA codes of the same images, of as many components as each code has."""
    import numpy as np

    from aekit.images.decorrelation.correlation import correlation_matrix, measure_matrix
    from aekit.images.pca.components import fit_pca

    table = _table(measured)
    most = min(len(image_set) - 1, int(np.prod(image_set.image_shape)))
    wanted = sorted(set(table["latent"]))
    if wanted[-1] > most:
        console.message(f"pca: these images have at most {most} components; there is no check above")
    n_components = min(most, wanted[-1])
    codes = fit_pca(image_set, n_components).encode_all(image_set, n_components)
    values = {d: measure_matrix(correlation_matrix(codes[:, :d])) for d in wanted if d <= most}
    for name in LABELS:
        table[f"{_column(name)}_pca"] = [values.get(d, {}).get(name, np.nan) for d in table["latent"]]
    return table


def _plot(
    table: pd.DataFrame,
    matrices: list[npt.NDArray[np.floating]],
    request: Request,
    image_set: ImageSet,
    console: Console,
) -> Figure:
    from aekit.images.decorrelation.correlation import noise_floor
    from aekit.images.decorrelation.figure import plot_decorrelation

    key = _column(request.measure)
    title = f"Correlations of the codes of {len(image_set):,} {request.split} images of {image_set.name}"
    check = None
    if request.pca:
        known = table.dropna(subset=f"{key}_pca").drop_duplicates("latent").sort_values("latent")
        check = None if known.empty else (known["latent"].to_numpy(), known[f"{key}_pca"].to_numpy())
    return plot_decorrelation(
        _curves(table, key),
        _panels(table, matrices, key, console),
        ylabel=LABELS[request.measure],
        floor=noise_floor(request.measure, len(image_set)),
        ideal_is_d=request.measure in ("participation", "effective-rank"),
        pca=check,
        title=title,
    )


def _curves(table: pd.DataFrame, key: str) -> list[Curve]:
    """Return a line a group: means over seeds with Student's t interval, or a single value with its bootstrap one."""
    import numpy as np

    from aekit.core.intervals import mean_interval
    from aekit.images.decorrelation.figure import Curve

    curves = []
    for label, group in table.groupby("group", sort=False):
        rows = []
        for d, same in group.groupby("latent"):
            known = same.dropna(subset=key)  # a model with one live dimension has no value
            value, low, high = mean_interval(known[key].to_numpy(float)) if len(known) else (np.nan,) * 3
            if len(known) == 1:
                low, high = known[[f"{key}_low", f"{key}_high"]].to_numpy(float)[0]
            elif len(known) == 2:  # Student's t would make 13 standard errors of two, and hide them
                low = high = value
            elif key in ("mean_abs", "rms"):
                low, high = np.clip([low, high], 0, 1)
            rows.append((d, value, low, high, len(known), same[f"{key}_rotated"].mean()))
        d, value, low, high, n_seeds, rotated = np.array(rows, float).T
        points = group[["latent", key]].to_numpy(float)
        curves.append(Curve(str(label), d, value, low, high, n_seeds.astype(int), rotated, points))
    return curves


def _panels(table: pd.DataFrame, matrices: list[npt.NDArray[np.floating]], key: str, console: Console) -> list[Panel]:
    """Return the matrices to show: of each group and number of dimensions the one with the lowest seed."""
    import numpy as np

    from aekit.images.decorrelation.figure import Panel

    order = {label: number for number, label in enumerate(dict.fromkeys(table["group"]))}
    ranked = table.assign(order=table["group"].map(order)).sort_values(["order", "latent", "seed"], kind="stable")
    first = ranked.drop_duplicates(["group", "latent"])
    if len(first) > MAX_PANELS:
        first = first.iloc[np.linspace(0, len(first) - 1, MAX_PANELS).round().astype(int)]
    if len(first) < len(table):
        console.message(f"the figure shows {len(first)} of {len(table)} matrices, of the lowest seed each")
    panels = []
    for index, row in first.iterrows():
        value = ": no value" if np.isnan(row[key]) else f": {row[key]:.3g}"
        panels.append(Panel(row["group"], f"d = {row['latent']}{value}", matrices[index]))
    return panels


def _parameters(request: Request, image_set: ImageSet, checkpoints: list[dict[str, Any]]) -> dict[str, Any]:
    from aekit import __version__

    return {
        "aekit": __version__,
        "command": "decorrelation",
        "options": asdict(request),
        "checkpoints": checkpoints,
        "images": {"name": image_set.name, "n": len(image_set), "fingerprint": image_set.fingerprint},
    }


def _say(console: Console, table: pd.DataFrame, request: Request, n_images: int) -> None:
    key = _column(request.measure)
    columns = {
        "group": "model",
        "latent": "d",
        "seed": "seed",
        "n_dead": "dead",
        **({"n_active": "active"} if table["n_active"].notna().any() else {}),
        key: request.measure,
        f"{key}_low": "low",
        f"{key}_high": "high",
        f"{key}_rotated": "turned",
        **({f"{key}_pca": "PCA"} if request.pca else {}),
    }
    rows = table.sort_values(["group", "latent", "seed"], kind="stable")[list(columns)].astype(object)
    title = f"{LABELS[request.measure]}, {n_images:,} {request.split} images, 95 % interval"
    console.table(title, list(columns.values()), rows.where(rows.notna(), None).to_numpy().tolist())
