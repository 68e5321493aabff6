"""``aekit mri-train``: networks that predict tissue volumes and age from brain images, and how well they do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, get_args

import typer

from aekit.brains.config import (
    Augmentation,
    BrainArch,
    BrainConfig,
    BrainModelConfig,
    BrainTrainConfig,
    CohortConfig,
    Source,
    Target,
    parse_augment,
    parse_features,
    parse_grid,
    parse_splits,
)
from aekit.terminal import completion, options
from aekit.terminal.brain_options import (
    AgeColumn,
    Group,
    IdColumn,
    IntensityBy,
    KeepOutlying,
    Pattern,
    RegisterTo,
    Session,
    SexColumn,
    SiteColumn,
    SkipBad,
    Table,
    TemplateFile,
    VoxelSize,
)
from aekit.terminal.console import Console

Volumes = Annotated[
    Path | None,
    typer.Option(
        "--volumes",
        rich_help_panel=options.DATA,
        metavar="FOLDER",
        help="Folder of skull-stripped T1 volumes: .nii, .nii.gz, .npy.",
        show_default="needed, unless --no-volumes",
    ),
]
Features = Annotated[
    str | None,
    typer.Option(
        "--features",
        rich_help_panel=options.DATA,
        metavar="LIST",
        help="Learn age from these columns of the table, with --no-volumes: names and patterns, as 'roi_*,tiv,sex'.",
        show_default="none",
    ),
]
NoVolumes = Annotated[
    bool,
    typer.Option("--no-volumes", rich_help_panel=options.DATA, help="Learn from --features alone, without scans."),
]
Combat = Annotated[
    bool,
    typer.Option(
        "--combat",
        rich_help_panel=options.DATA,
        help="Remove the effects of sites from --features by ComBat, fitted on train.",
    ),
]


def mri_train(
    table: Table,
    volumes: Volumes = None,
    features: Features = None,
    no_volumes: NoVolumes = False,
    combat: Combat = False,
    pattern: Pattern = None,
    id_column: IdColumn = None,
    age_column: AgeColumn = None,
    sex_column: SexColumn = None,
    site_column: SiteColumn = None,
    session: Session = CohortConfig.session,
    size: Annotated[
        str,
        typer.Option("--size", rich_help_panel=options.DATA, metavar="N|XxYxZ", help="Voxels of the common grid."),
    ] = "48",
    spacing: Annotated[
        float,
        typer.Option("--spacing", rich_help_panel=options.DATA, metavar="MM", help="Voxel size of that grid, in mm."),
    ] = CohortConfig.spacing_mm,
    correct_bias: Annotated[
        bool,
        typer.Option(
            "--correct-bias/--no-correct-bias",
            rich_help_panel=options.DATA,
            help="Correct each volume for the bias field, the slow intensity drift caused by the coils.",
        ),
    ] = CohortConfig.correct_bias,
    intensity: IntensityBy = CohortConfig.intensity,
    register: RegisterTo = CohortConfig.register,
    template: TemplateFile = None,
    voxel_size: VoxelSize = None,
    cv: Annotated[
        str,
        typer.Option(
            "--cv",
            rich_help_panel=options.DATA,
            metavar="K|COLUMN",
            help="Cross-validate in K folds, or hold out each value of a column in turn, as in --cv site.",
        ),
    ] = "0",
    test_split: Annotated[
        str | None,
        typer.Option(
            "--test-split",
            rich_help_panel=options.DATA,
            metavar="X|COLUMN",
            help="Fraction of participants for testing, or the column with train, val and test.",
            show_default="0.2, and none with --cv",
        ),
    ] = None,
    val: Annotated[
        float | None,
        typer.Option(
            "--val",
            rich_help_panel=options.DATA,
            metavar="X",
            help="Fraction of participants for validation; not with --cv.",
            show_default="0.15",
        ),
    ] = None,
    group: Group = None,
    split_seed: options.SplitSeed = CohortConfig.split_seed,
    drop_outliers: Annotated[
        bool,
        typer.Option(
            "--drop-outliers", rich_help_panel=options.DATA, help="Remove outliers from train, not from other splits."
        ),
    ] = False,
    keep_outlying: KeepOutlying = CohortConfig.keep_outlying,
    controls: Annotated[
        str | None,
        typer.Option(
            "--controls",
            rich_help_panel=options.DATA,
            metavar="EXPR",
            help="Train on these alone, as 'dx=control' or 'dx!=patient'; the others are predicted, as split cases.",
            show_default="everyone",
        ),
    ] = None,
    skip_bad: SkipBad = False,
    arch: Annotated[
        BrainArch,
        typer.Option(
            "--arch",
            rich_help_panel=options.MODEL,
            help="Network for the image; strided is fastest. sfcn learns direct age as a distribution over bins.",
        ),
    ] = BrainModelConfig.arch,
    target: Annotated[
        Target | None,
        typer.Option(
            "--target",
            rich_help_panel=options.MODEL,
            help="Tissue volumes in mL, or as proportions of their sum.",
            show_default="absolute",
        ),
    ] = None,
    histogram: Annotated[
        bool,
        typer.Option(
            "--histogram/--no-histogram",
            rich_help_panel=options.MODEL,
            help="Use the intensity histogram as a second input.",
        ),
    ] = BrainModelConfig.histogram,
    direct: Annotated[
        bool,
        typer.Option("--direct", rich_help_panel=options.MODEL, help="Also learn age directly from the image."),
    ] = False,
    log_age: Annotated[
        bool, typer.Option("--log-age", rich_help_panel=options.MODEL, help="Learn the logarithm of age.")
    ] = False,
    hypotheses: Annotated[
        bool,
        typer.Option(
            "--hypotheses",
            rich_help_panel=options.MODEL,
            help="Train and compare base (volumes in mL), H1 (proportions), H2 (H1 without training outliers), H3 (H2 "
            "with --arch deep).",
        ),
    ] = False,
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs",
            rich_help_panel=options.TRAINING,
            help="Epochs for image to volumes; the chain adds half that number.",
            show_default="40; base, deep and sfcn 10",
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", rich_help_panel=options.TRAINING, help="Brains per step.")
    ] = BrainTrainConfig.batch_size,
    lr: options.LearningRate = None,
    weight_decay: options.WeightDecay = BrainTrainConfig.weight_decay,
    augment: Annotated[
        str,
        typer.Option(
            "--augment",
            autocompletion=completion.several_of(get_args(Augmentation)),
            rich_help_panel=options.TRAINING,
            metavar="LIST",
            help="Comma-separated list of flip, shift, gain, noise, scanner; or none.",
        ),
    ] = ",".join(BrainTrainConfig.augment),
    seeds: Annotated[
        int,
        typer.Option("--seeds", rich_help_panel=options.TRAINING, help="Number of networks to train and average."),
    ] = BrainTrainConfig.seeds,
    seed: options.Seed = BrainTrainConfig.seed,
    precision: options.PrecisionName = BrainTrainConfig.precision,
    init: Annotated[
        str | None,
        typer.Option(
            "--init",
            autocompletion=completion.checkpoints,
            rich_help_panel=options.TRAINING,
            metavar="FILE",
            help="Begin with the networks of a finished mri-train of other participants.",
            show_default="random weights",
        ),
    ] = None,
    output: options.Output = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    overwrite: options.Overwrite = False,
    resume: options.Resume = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Learn tissue volumes and age from brain images: image to volumes, volumes to age, and the two chained end to end.

    Reads the table and a brain volume of each participant. Every network is compared with baselines: mean, median,
    linear and Gaussian-process regression on the true volumes (the best that volumes allow), ridge regression on voxels
    and on the intensity histogram. Writes x.safetensors (the networks) and, with the same stem, x.csv (history),
    x.predictions.csv (a row per participant), x.metrics.csv (errors with intervals), x.differences.csv (paired, against
    each baseline), x.left-out.csv, and figures. Prints the path of the checkpoint.

    With --features and --no-volumes it learns age from columns of the table, such as regional volumes: by ridge
    regression, a Gaussian process, and their weighted mean.

    Example: aekit mri-train participants.tsv --volumes t1 --cv 5 --seeds 3 --direct -o runs/brain.safetensors
    """
    from aekit.brains.choice import find_training

    splits = parse_splits(cv, val, test_split)
    model = BrainModelConfig(arch=arch, target=target, histogram=histogram, direct=direct, log_age=log_age)
    model = replace(model, features=parse_features(features), combat=combat)
    columns = (id_column, age_column, sex_column, site_column)
    grid = (table.name, parse_grid(size), spacing, correct_bias)
    data = CohortConfig(*grid, *splits, group, split_seed, drop_outliers, *columns, session, keep_outlying, controls)
    data = replace(data, register=register, template=template.name if template else None, intensity=intensity)
    train = BrainTrainConfig(epochs, batch_size, lr, weight_decay, parse_augment(augment), seeds, seed, precision, init)
    source = Source(table, volumes, pattern=pattern, spacing_mm=voxel_size, skip_bad=skip_bad, template=template)
    config = BrainConfig(model, data, train)
    run = find_training(config, source, no_volumes=no_volumes, hypotheses=hypotheses)
    with Console(quiet=quiet, json=json) as console:
        console.result(run(output, device, threads, overwrite=overwrite, resume=resume, progress=console))
