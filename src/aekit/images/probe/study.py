"""The accuracy that few labels reach on codes: learning curves, and tables of draws and paired differences."""

from __future__ import annotations

from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

from aekit import __version__
from aekit.core.artifacts import write_csv, write_png
from aekit.core.output import Result
from aekit.core.progress import Progress
from aekit.core.torch_settings import keeps_torch_settings
from aekit.errors import AekitError, count
from aekit.images.data.image_set import ImageSet
from aekit.images.probe.baselines import Baselines
from aekit.images.probe.classifiers import PER_CLASS, balanced_draws, default_labels
from aekit.images.probe.figure import plot_probe
from aekit.images.probe.measure import Measured, measure_methods
from aekit.images.probe.request import METHODS, TRAINED, ProbeRequest
from aekit.images.probe.tables import build_difference_table, build_table, show_means, summarise
from aekit.images.probe.task import Task
from aekit.images.session import Session

ALL_METHODS = ProbeRequest()


@keeps_torch_settings
def run_probe(session: Session, output: Path | None = None, request: ProbeRequest = ALL_METHODS) -> Result:
    """Return the figure of learning curves (.png), with the mean accuracies.

    Next to it are a table with one row per draw (.csv) and the paired differences of the methods (-differences.csv).

    Args:
        session: The checkpoints.
        output: The figure, or a folder; None is next to the checkpoints.
        request: What to measure.

    Raises:
        AekitError: Checkpoints cannot be compared, the images have no labels or too few of a class, codes carry
            nothing, or a file cannot be written.
    """
    for path, record in zip(session.paths, session.records, strict=True):
        if record.model.is_conditional:
            raise AekitError(
                f"{path}: its encoder is told the class (--condition label), so a probe for it measures nothing; use "
                "a model without it"
            )
    session.name_table("--label-table")
    session.check_comparable(["train", "test"])
    target = session.target(output, name="probe" if request.layer == "code" else f"probe-{request.layer}")
    task, images, measured = _measure_all(session, request)
    table = build_table(measured, task)
    write_csv(target.with_suffix(".csv"), table)
    write_csv(target.with_name(f"{target.stem}-differences.csv"), build_difference_table(measured, task))
    labels = {each.name: each.label for each in measured}
    what = session.records[0].title if len(measured) == 1 else f"{len(measured)} checkpoints"
    title = _title(what, images["test"], request)
    figure = plot_probe(table.assign(panel=table["checkpoint"].map(labels)), chance=task.chance, title=title)
    write_png(target, figure, _parameters(measured, images, task, request))
    means = summarise(table)
    show_means(means, labels, request.methods, task.sizes, session.progress)
    results = [
        {"checkpoint": row.checkpoint, "method": row.method, "labels": int(row.labels), "accuracy": row.accuracy}
        for row in means.rename(columns={"mean": "accuracy"}).itertuples()
    ]
    return Result(target, {"n": len(task.test), "layer": request.layer, "draws": request.draws, "results": results})


def _measure_all(session: Session, request: ProbeRequest) -> tuple[Task, dict[str, ImageSet], list[Measured]]:
    checkpoints = session.checkpoints()
    first = next(checkpoints)
    train, test = session.images(first, "train"), session.images(first, "test")
    task = build_task(train, test, request, session.progress)
    _announce(task, request, len(session.paths), session.progress)
    baselines = Baselines(task)
    measured = [
        measure_methods(checkpoint, task, request, baselines, progress=session.progress)
        for checkpoint in chain([first], checkpoints)
    ]
    return task, {"train": train, "test": test}, measured


def build_task(train: ImageSet, test: ImageSet, request: ProbeRequest, progress: Progress) -> Task:
    """Return what to learn: the images, and the draws of labelled ones.

    Raises:
        AekitError: The images have no labels, or the draws cannot be balanced.
    """
    if train.labels is None or test.labels is None:
        raise AekitError(
            f"probe: the images of {train.name} have no labels to learn from; use a model of images that have labels"
        )
    sizes = list(request.labels) or default_labels(train.labels)
    if len(sizes) < len(PER_CLASS) and not request.labels:
        progress.notice(
            f"{train.name}: its smallest class has enough training images for at most {count(sizes[-1], 'label')}"
        )
    drawn = balanced_draws(train.labels, sizes, request.draws, seed=request.seed, class_names=train.class_names)
    return Task(train, train.labels, test, test.labels, drawn, request.seed)


def _announce(task: Task, request: ProbeRequest, n_checkpoints: int, progress: Progress) -> None:
    slow = [method for method in request.methods if method in TRAINED]
    n_networks = len(slow) * len(task.sizes) * request.draws * n_checkpoints
    if n_networks:
        quick = ",".join(method for method in METHODS if method not in TRAINED)
        progress.notice(f"{' and '.join(slow)}: {count(n_networks, 'network')} to train; --methods {quick} is quicker")


def _title(what: str, test: ImageSet, request: ProbeRequest) -> str:
    layer = "last hidden layer" if request.layer == "hidden" else "code"
    spread = f", mean and standard deviation of {request.draws} draws" if request.draws > 1 else ", one draw"
    return f"{what}, {layer}: accuracy on {count(len(test), 'test image')} of {test.name}{spread}"


def _parameters(
    measured: list[Measured], images: dict[str, ImageSet], task: Task, request: ProbeRequest
) -> dict[str, Any]:
    return {
        "aekit": __version__,
        "command": "probe",
        "options": {**asdict(request), "labels": task.sizes},
        "checkpoints": {each.name: each.configuration for each in measured},
        "images": {
            split: {"name": each.name, "n": len(each), "fingerprint": each.fingerprint}
            for split, each in images.items()
        },
    }
