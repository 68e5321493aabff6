"""``aekit probe``: how far a few labels go with an encoder that was trained without any."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from aekit.commands.checkpoints import (
    Checkpoints,
    FigureOutput,
    Images,
    NoiseSeed,
    OtherData,
    Trained,
    choose_target,
    read_checkpoints,
    read_paths,
    refuse_mixed,
    short_labels,
)
from aekit.errors import AekitError, nearest
from aekit.terminal import completion, options
from aekit.terminal.console import Console, TrainingProgress

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd
    from torch import nn

    from aekit.images.data.image_set import ImageSet
    from aekit.images.models.base import Autoencoder
    from aekit.images.probe.few_labels import Task

    Accuracies = npt.NDArray[np.floating]

Layer = Literal["code", "hidden"]
METHODS = ("frozen", "finetune", "scratch", "logistic", "spread", "pixels", "pca")
TRAINED = ("finetune", "scratch")  # a network for each draw


@dataclass(frozen=True)
class Request:
    """What is asked for, as it goes into the figure's parameters; an empty list of labels is the default."""

    labels: list[int]
    draws: int
    methods: list[str]
    layer: Layer
    augment: bool
    unlabelled: int
    seed: int


def probe(
    checkpoints: Checkpoints,
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            rich_help_panel=options.ANALYSIS,
            metavar="N,...",
            help="Numbers of labelled images in all, each a multiple of the number of classes.",
            show_default="1,2,4,8,10,16,50,100 a class",
        ),
    ] = None,
    draws: Annotated[
        int,
        typer.Option(
            "--draws", rich_help_panel=options.ANALYSIS, min=1, help="Draws of labelled images of each number."
        ),
    ] = 10,
    methods: Annotated[
        str,
        typer.Option(
            "--methods",
            autocompletion=completion.several_of(METHODS),
            rich_help_panel=options.ANALYSIS,
            show_default="all",
            metavar="NAME,...",
            help="Any of frozen, finetune, scratch, logistic, spread, pixels, pca; finetune and scratch take minutes.",
        ),
    ] = ",".join(METHODS),
    layer: Annotated[
        Layer,
        typer.Option(
            "--layer",
            rich_help_panel=options.ANALYSIS,
            help="The code (a VAE's means), or the encoder's last hidden layer.",
        ),
    ] = "code",
    augment: Annotated[
        bool,
        typer.Option(
            "--augment/--no-augment",
            rich_help_panel=options.ANALYSIS,
            help="Whether frozen, finetune and scratch see the images also warped.",
        ),
    ] = True,
    unlabelled: Annotated[
        int,
        typer.Option(
            "--unlabelled",
            rich_help_panel=options.ANALYSIS,
            min=0,
            metavar="N",
            help="Training images that spread uses at least.",
        ),
    ] = 20_000,
    seed: NoiseSeed = 0,
    data: OtherData = None,
    data_root: options.DataRoot = None,
    output: FigureOutput = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Measure how well few labels do on codes: transfer from an encoder that was trained without labels.

    Reads checkpoints and the images that they were trained on (others with --data). Labelled images are drawn from
    train, as many of each class, the same for every method; accuracy is that on all test images. frozen is a small
    network on the frozen encoder, finetune the same with the encoder trained too, scratch the same from random weights;
    logistic is logistic regression, spread label spreading over the graph of nearest neighbours, which uses unlabelled
    images too. Baselines without an encoder: logistic regression on pixels and on as many PCA codes. Writes learning
    curves (.png), a row a draw (.csv) and the paired differences of the methods with 95 % intervals (-differences.csv).
    Prints the path of the figure.

    Example: aekit probe runs/ae-mnist-conv-z20.safetensors --labels 20,100 --methods frozen,logistic,spread
    """
    import pandas as pd

    from aekit.core.artifacts import write_csv, write_png
    from aekit.images.probe.figure import plot_probe

    console = Console(quiet=quiet, json=json)
    names, sizes = _parse_methods(methods), _parse_labels(labels)
    paths = read_paths(checkpoints, console)
    refuse_mixed(paths, ["train", "test"], data=data)
    target = choose_target(paths, output, name="probe" if layer == "code" else f"probe-{layer}")
    images = Images(data, data_root, console)
    request = Request(sizes, draws, names, layer, augment, unlabelled, seed)
    tables, differences, parameters = list[pd.DataFrame](), list[pd.DataFrame](), dict[str, Any]()
    task: Task | None = None
    image_sets: dict[str, ImageSet] = {}
    baselines: dict[tuple[str, int], Accuracies] = {}
    for trained in read_checkpoints(paths, [target] * len(paths), device=device, threads=threads):
        if task is None:
            image_sets = {"train": images.read(trained, "train"), "test": images.read(trained, "test")}
            task = _build_task(**image_sets, request=request, console=console)
            _announce(task, request, len(paths), console)
        found = _measure(trained, task, request, baselines, console)
        tables.append(_table(trained, found, task, request))
        differences.append(_differences(trained, found, task, request))
        parameters[trained.name] = {key: trained.header.configuration[key] for key in ("model", "train")}
    assert task is not None  # there is at least one checkpoint
    table = pd.concat(tables, ignore_index=True)
    write_csv(target.with_suffix(".csv"), table)
    write_csv(target.with_name(f"{target.stem}-differences.csv"), pd.concat(differences, ignore_index=True))
    panels = dict(zip(parameters, short_labels(paths), strict=True))
    title = _title(trained.label() if len(paths) == 1 else f"{len(paths)} checkpoints", image_sets["test"], request)
    figure = plot_probe(table.assign(panel=table["checkpoint"].map(panels)), chance=task.chance, title=title)
    write_png(target, figure, _parameters(image_sets, task, request, parameters))
    console.result(
        target, n=len(task.test), layer=layer, draws=draws, results=_say(table, panels, task, request, console)
    )


def _parse_methods(text: str) -> list[str]:
    """Return the methods named, each once, in the order of :data:`METHODS`."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in METHODS:
            raise AekitError(
                f"--methods: there is no method {name!r}{nearest(name, METHODS)}; give some of {', '.join(METHODS)}"
            )
    if not names:
        raise AekitError(f"--methods: names no method; give some of {', '.join(METHODS)}")
    return [name for name in METHODS if name in names]


def _parse_labels(text: str | None) -> list[int]:
    words = [word.strip() for word in (text or "").split(",") if word.strip()]
    for word in words:
        if not (word.isascii() and word.isdecimal() and int(word) > 0):
            raise AekitError(f"--labels: {word!r} is no number of labels; give whole numbers above 0, as in 20,100")
    if text is not None and not words:
        raise AekitError("--labels: names no number of labels; give some, as in 20,100")
    return sorted({int(word) for word in words})


def _build_task(train: ImageSet, test: ImageSet, *, request: Request, console: Console) -> Task:
    from aekit.images.probe.classifiers import PER_CLASS, balanced_draws, default_labels
    from aekit.images.probe.few_labels import Task

    if train.labels is None or test.labels is None:
        raise AekitError(
            f"probe: the images of {train.name} have no labels to learn from; use a model of images that have"
        )
    sizes = request.labels or default_labels(train.labels)
    if len(sizes) < len(PER_CLASS) and not request.labels:
        console.message(f"{train.name}: its smallest class has training images for {sizes[-1]} labels and no more")
    drawn = balanced_draws(train.labels, sizes, request.draws, seed=request.seed, class_names=train.class_names)
    return Task(train, train.labels, test, test.labels, drawn, request.seed)


def _announce(task: Task, request: Request, n_checkpoints: int, console: Console) -> None:
    slow = [method for method in request.methods if method in TRAINED]
    n_networks = len(slow) * len(task.sizes) * request.draws * n_checkpoints
    if n_networks:
        console.message(
            f"{' and '.join(slow)}: {n_networks:,} networks to train, a few seconds each; quicker without, by "
            f"--methods {','.join(method for method in METHODS if method not in TRAINED)}"
        )


def _measure(
    trained: Trained, task: Task, request: Request, baselines: dict[tuple[str, int], Accuracies], console: Console
) -> dict[str, Accuracies]:
    """Return the accuracy of each method, (sizes, draws); ``baselines`` keeps those that know no encoder."""
    import torch
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    from aekit.core.device import ThreadTeam, seed_everything
    from aekit.images.models import build_model
    from aekit.images.probe.few_labels import Probe, pca_accuracies, pixel_accuracies

    latent = trained.model.config.latent
    n_threads = torch.get_num_threads()
    device = next(trained.model.parameters()).device
    seed_everything(request.seed, device)  # kernels that repeat to the last bit, on a GPU too
    with (
        threadpool_limits(n_threads),
        ThreadTeam(n_threads if device.type == "cpu" else 1) as team,
        TrainingProgress(console) as progress,
    ):
        probe = Probe(
            task,
            _encoder(trained.model, request.layer),
            lambda: _encoder(build_model(trained.model.config, trained.model.image_shape), request.layer),
            augment=request.augment,
            n_unlabelled=request.unlabelled,
            team=team,
            on_progress=progress.on_data,
        )
        by_method: dict[str, Callable[[], Accuracies]] = {
            "frozen": probe.frozen,
            "finetune": probe.finetune,
            "scratch": probe.scratch,
            "logistic": probe.logistic,
            "spread": probe.spread,
            "pixels": lambda: pixel_accuracies(task),
            "pca": lambda: pca_accuracies(task, latent),
        }
        found = {}
        for method in request.methods:
            shared = {"pixels": (method, 0), "pca": (method, latent)}.get(method)
            if shared is None:
                found[method] = _of_checkpoint(trained, by_method[method])
            else:
                if shared not in baselines:
                    baselines[shared] = by_method[method]()
                found[method] = baselines[shared]
    return found


def _of_checkpoint(trained: Trained, measure: Callable[[], Accuracies]) -> Accuracies:
    try:
        return measure()
    except AekitError as error:
        raise AekitError(f"{trained.path}: {error}") from error


def _encoder(model: Autoencoder, layer: Layer) -> nn.Module:
    """Return the part of a network that makes the features."""
    from torch import nn

    return model.encoder if layer == "hidden" else nn.Sequential(model.encoder, model.mean_head)


def _settings(trained: Trained, request: Request) -> dict[str, Any]:
    model, train = trained.header.model, trained.header.train
    return {
        "checkpoint": trained.name,
        **{key: model[key] for key in ("kind", "arch", "latent")},
        "beta": train["beta"] if model["kind"] == "vae" else None,
        "seed": train["seed"],
        "layer": request.layer,
    }


def _table(trained: Trained, found: dict[str, Accuracies], task: Task, request: Request) -> pd.DataFrame:
    """Return a row a draw: the checkpoint's settings, method, labels, draw and accuracy."""
    import pandas as pd

    rows = [
        {"method": method, "labels": size, "draw": draw, "accuracy": value}
        for method, accuracies in found.items()
        for size, of_size in zip(task.sizes, accuracies, strict=True)
        for draw, value in enumerate(of_size)
    ]
    return pd.DataFrame(rows).assign(**_settings(trained, request))[[*_settings(trained, request), *rows[0]]]


def _differences(trained: Trained, found: dict[str, Accuracies], task: Task, request: Request) -> pd.DataFrame:
    """Return how much better each method is than each other on the same draws; no rows for a single method."""
    import pandas as pd

    from aekit.images.probe.classifiers import DIFFERENCE_COLUMNS, paired_differences

    table = pd.DataFrame(paired_differences(found, task.sizes), columns=DIFFERENCE_COLUMNS)
    return table.assign(**_settings(trained, request))[[*_settings(trained, request), *DIFFERENCE_COLUMNS]]


def _title(what: str, test: ImageSet, request: Request) -> str:
    layer = "last hidden layer" if request.layer == "hidden" else "code"
    spread = f", mean and standard deviation of {request.draws} draws" if request.draws > 1 else ", one draw"
    return f"{what}, {layer}: accuracy on {len(test):,} test images of {test.name}{spread}"


def _parameters(
    image_sets: dict[str, ImageSet], task: Task, request: Request, checkpoints: dict[str, Any]
) -> dict[str, Any]:
    from aekit import __version__

    return {
        "aekit": __version__,
        "command": "probe",
        "options": {**asdict(request), "labels": task.sizes},
        "checkpoints": checkpoints,
        "images": {
            split: {"name": images.name, "n": len(images), "fingerprint": images.fingerprint}
            for split, images in image_sets.items()
        },
    }


def _say(
    table: pd.DataFrame, panels: dict[str, str], task: Task, request: Request, console: Console
) -> list[dict[str, Any]]:
    """Print means and standard deviations in per cent, and return the means."""
    groups = table.groupby(["checkpoint", "method", "labels"], sort=False)["accuracy"]
    summary = groups.agg(["mean", "std"]).reset_index()
    for path, panel in panels.items():
        own = summary[summary["checkpoint"] == path]
        rows = []
        for method in request.methods:
            values = own[own["method"] == method].sort_values("labels")
            cells = zip(values["mean"], values["std"], strict=True)
            rows.append(
                [method, *(f"{100 * mean:.1f}" + (f" ± {100 * std:.1f}" if std == std else "") for mean, std in cells)]
            )
        console.table(
            f"{panel}: accuracy in % by number of labels", ["method", *(f"{size:,}" for size in task.sizes)], rows
        )
    return [
        {"checkpoint": row.checkpoint, "method": row.method, "labels": int(row.labels), "accuracy": row.accuracy}
        for row in summary.rename(columns={"mean": "accuracy"}).itertuples()
    ]
