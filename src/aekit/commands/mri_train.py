"""``aekit mri-train``: from brain images to tissue volumes and age, and what that is worth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from aekit.brains.config import (
    Augmentation,
    BrainArch,
    BrainConfig,
    BrainModelConfig,
    BrainTrainConfig,
    CohortConfig,
    Target,
)
from aekit.core.durable import one_writer
from aekit.core.output import checkpoint_path
from aekit.errors import AekitError, Stopped, nearest
from aekit.terminal import completion, options
from aekit.terminal.brain_options import Group, Pattern, SkipBad, Table, VoxelSize
from aekit.terminal.console import Console, TrainingProgress
from aekit.terminal.signals import stop_on_signals

if TYPE_CHECKING:
    from collections.abc import Callable

    from aekit.brains.runs import FinishedBrains

Volumes = Annotated[
    Path,
    typer.Option(
        "--volumes", rich_help_panel=options.DATA, help="Folder of skull-stripped T1 volumes: .nii, .nii.gz, .npy."
    ),
]


def mri_train(
    table: Table,
    volumes: Volumes,
    pattern: Pattern = None,
    size: Annotated[
        str,
        typer.Option("--size", rich_help_panel=options.DATA, metavar="N|XxYxZ", help="Voxels of the common grid."),
    ] = "48",
    spacing: Annotated[
        float, typer.Option("--spacing", rich_help_panel=options.DATA, metavar="MM", help="Edge of a voxel of it.")
    ] = 4.0,
    correct_bias: Annotated[
        bool,
        typer.Option(
            "--correct-bias/--no-correct-bias",
            rich_help_panel=options.DATA,
            help="Take the slow drift of intensity, a coil's bias field, out of each volume.",
        ),
    ] = True,
    voxel_size: VoxelSize = None,
    cv: Annotated[
        int, typer.Option("--cv", rich_help_panel=options.DATA, metavar="K", help="Cross-validate in K folds.")
    ] = 0,
    test_split: Annotated[
        str | None,
        typer.Option(
            "--test-split",
            rich_help_panel=options.DATA,
            metavar="SHARE|COLUMN",
            help="Share of people to test on, or the column with train, val and test.",
            show_default="0.2, and none with --cv",
        ),
    ] = None,
    val: Annotated[
        float | None,
        typer.Option(
            "--val",
            rich_help_panel=options.DATA,
            metavar="SHARE",
            help="Share that validates; not with --cv.",
            show_default="0.15",
        ),
    ] = None,
    group: Group = None,
    split_seed: options.SplitSeed = 0,
    drop_outliers: Annotated[
        bool,
        typer.Option("--drop-outliers", rich_help_panel=options.DATA, help="Leave outliers out of train, only there."),
    ] = False,
    skip_bad: SkipBad = False,
    arch: Annotated[
        BrainArch,
        typer.Option("--arch", rich_help_panel=options.MODEL, help="Network that reads the image; strided is fastest."),
    ] = "strided",
    target: Annotated[
        Target | None,
        typer.Option(
            "--target",
            rich_help_panel=options.MODEL,
            help="Tissue volumes in mL, or their shares of the sum.",
            show_default="absolute",
        ),
    ] = None,
    histogram: Annotated[
        bool,
        typer.Option(
            "--histogram/--no-histogram",
            rich_help_panel=options.MODEL,
            help="Feed the intensity histogram beside the image.",
        ),
    ] = True,
    direct: Annotated[
        bool,
        typer.Option("--direct", rich_help_panel=options.MODEL, help="Also learn age from the image without volumes."),
    ] = False,
    log_age: Annotated[
        bool, typer.Option("--log-age", rich_help_panel=options.MODEL, help="Learn the logarithm of age.")
    ] = False,
    hypotheses: Annotated[
        bool,
        typer.Option(
            "--hypotheses",
            rich_help_panel=options.MODEL,
            help="Train base, H1 (proportions), H2 (and no outliers in train), H3 (and --arch deep), and compare.",
        ),
    ] = False,
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs",
            rich_help_panel=options.TRAINING,
            help="Passes over the train people from image to volumes; the chain takes half as many more.",
            show_default="40; base and deep 10",
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", rich_help_panel=options.TRAINING, help="Brains a step.")
    ] = 8,
    lr: options.LearningRate = None,
    weight_decay: options.WeightDecay = 0.05,
    augment: Annotated[
        str,
        typer.Option(
            "--augment",
            autocompletion=completion.several_of(get_args(Augmentation)),
            rich_help_panel=options.TRAINING,
            metavar="LIST",
            help="Of flip, shift, gain, noise; or none.",
        ),
    ] = "flip,shift,gain",
    seeds: Annotated[
        int,
        typer.Option("--seeds", rich_help_panel=options.TRAINING, help="Networks whose predictions are averaged."),
    ] = 2,
    seed: options.Seed = 0,
    precision: options.PrecisionName = "auto",
    output: options.Output = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    overwrite: options.Overwrite = False,
    resume: options.Resume = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Learn tissue volumes and age from brain images: image to volumes, volumes to age, and both joined end to end.

    Reads the table and a brain volume of every person. Beside every network stand predictors that need none: mean,
    median, linear and Gaussian-process regression on the true volumes (what volumes can tell at best), ridge regression
    on voxels and on the intensity histogram. Writes, with x the output's name, x.safetensors (the networks), x.csv
    (history), x.predictions.csv (a row a person), x.metrics.csv (errors with intervals), x.differences.csv (paired,
    against each baseline), x.left-out.csv, and figures. Prints the path of the checkpoint.

    Example: aekit mri-train participants.tsv --volumes t1 --cv 5 --seeds 3 --direct -o runs/brain.safetensors
    """
    from aekit.brains.people import Source
    from aekit.brains.runs import BrainReporting, brain_run_name, train_brains

    console = Console(quiet=quiet, json=json)
    if overwrite and resume:
        raise AekitError("--overwrite, --resume: one starts over, the other goes on; give one of them")
    config = BrainConfig(
        model=BrainModelConfig(arch=arch, target=target, histogram=histogram, direct=direct, log_age=log_age),
        data=CohortConfig(
            name=table.name,
            size=_parse_size(size),
            spacing_mm=spacing,
            correct_bias=correct_bias,
            cv=cv,
            val=_default_val(val, cv=cv),
            test=_parse_split(test_split, cv=cv),
            group=group,
            split_seed=split_seed,
            drop_outliers=drop_outliers,
        ),
        train=BrainTrainConfig(
            epochs=epochs,
            batch_size=batch_size,
            lr=lr,
            weight_decay=weight_decay,
            augment=_parse_augment(augment),
            seeds=seeds,
            seed=seed,
            precision=precision,
        ),
    )
    source = Source(table, volumes, pattern=pattern, spacing_mm=voxel_size, skip_bad=skip_bad)
    path = checkpoint_path(output or Path("runs"), f"{brain_run_name(config)}.safetensors")
    with stop_on_signals() as stop_signal, TrainingProgress(console) as progress:

        def train(config: BrainConfig, path: Path) -> FinishedBrains:
            with one_writer(path):
                return train_brains(
                    config,
                    source,
                    path,
                    device_name=device,
                    threads=threads,
                    overwrite=overwrite,
                    resume=resume,
                    reporting=BrainReporting(progress.on_data, progress.on_share, progress.say, _stopper(stop_signal)),
                )

        if hypotheses:
            from aekit.brains.hypotheses import compare_hypotheses

            all_finished = compare_hypotheses(config, path, train)
        else:
            all_finished = [train(config, path)]
    for finished in all_finished:
        _say(finished, console)
        console.result(finished.path, **_judged(finished))


def _parse_size(text: str) -> tuple[int, int, int]:
    sides = text.lower().split("x")
    if len(sides) not in (1, 3) or not all(side.isdecimal() for side in sides):
        raise AekitError(f"--size: {text!r} is no size; give one number or XxYxZ, as 48 or 40x48x40")
    return int(sides[0]), int(sides[len(sides) // 2]), int(sides[-1])


def _default_val(val: float | None, *, cv: int) -> float:
    if cv and val:
        raise typer.BadParameter("not with --cv, where each fold is held out once", param_hint="--val")
    return 0.0 if cv else 0.15 if val is None else val


def _parse_split(text: str | None, *, cv: int) -> float | str:
    if text is None:
        return 0.0 if cv else 0.2
    try:
        return float(text)
    except ValueError:
        return text


def _parse_augment(text: str) -> tuple[Augmentation, ...]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if names == ["none"]:
        return ()
    known = get_args(Augmentation)
    for name in names:
        if name not in known:
            hint = nearest(name, known) or "; choose of them"
            raise AekitError(f"--augment: {name!r} is not one of {', '.join(known)}, none{hint}")
    return tuple(name for name in known if name in names)


def _stopper(stop_signal: Callable[[], int | None]) -> Callable[[], None]:
    def stop() -> None:
        if (number := stop_signal()) is not None:
            raise Stopped("stopped; go on with the same command and --resume", number)

    return stop


def _judged(finished: FinishedBrains) -> dict[str, Any]:
    """Return the figures by which the run is judged, for --json."""
    result = finished.header.result
    rows = [row for row in result["metrics"] if row["split"] == result["judged"]]
    return {"split": result["judged"], "parameters": result["parameters"], "metrics": rows}


def _say(finished: FinishedBrains, console: Console) -> None:
    result = finished.header.result
    own = finished.metrics[finished.metrics["split"] == result["judged"]]
    for target, rows in own.groupby("target", sort=False):
        cells = [
            (row.model, f"{row.mae:.3g} [{row.mae_low:.3g}, {row.mae_high:.3g}]", row.r2, row.skill)
            for row in rows.itertuples()
        ]
        unit = {"years": "years", "ml": "mL"}.get(str(target).rpartition("_")[2], "")
        title = f"{finished.path.name}: {target}, {result['judged']}, {int(rows['n'].iloc[0]):,} people"
        console.table(title, ["model", f"MAE {unit} [95 %]".replace("  ", " "), "R2", "skill"], cells)
