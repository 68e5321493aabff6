"""Options of the commands that read a cohort: its table, its scans, and who is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aekit.brains.config import Intensity, Register, Sessions
from aekit.terminal import completion, options

Table = Annotated[
    Path,
    typer.Argument(
        autocompletion=completion.people,
        metavar="TABLE",
        help="Participants: BIDS participants.tsv or CSV with participant_id, age, sex, gmv, wmv, csfv.",
    ),
]
Pattern = Annotated[
    str | None,
    typer.Option(
        "--pattern",
        rich_help_panel=options.DATA,
        help="File name pattern, such as {id}_T1w.nii.gz.",
        show_default="column file, or the id in the name",
    ),
]
Group = Annotated[
    str | None,
    typer.Option(
        "--group",
        rich_help_panel=options.DATA,
        metavar="COLUMN",
        help="Keep rows with the same value of this column, such as site or subject, in one split.",
        show_default="none",
    ),
]
IdColumn = Annotated[
    str | None,
    typer.Option(
        "--id",
        rich_help_panel=options.DATA,
        metavar="COLUMN",
        help="Column of the ids of participants.",
        show_default="found by its name",
    ),
]
AgeColumn = Annotated[
    str | None,
    typer.Option(
        "--age",
        rich_help_panel=options.DATA,
        metavar="COLUMN",
        help="Column of ages.",
        show_default="found by its name",
    ),
]
SexColumn = Annotated[
    str | None,
    typer.Option(
        "--sex",
        rich_help_panel=options.DATA,
        metavar="COLUMN",
        help="Column of sexes.",
        show_default="found by its name",
    ),
]
SiteColumn = Annotated[
    str | None,
    typer.Option(
        "--site",
        rich_help_panel=options.DATA,
        metavar="COLUMN",
        help="Column of sites.",
        show_default="found by its name",
    ),
]
Session = Annotated[
    Sessions,
    typer.Option(
        "--session",
        rich_help_panel=options.DATA,
        help="Sessions of a participant with several: the first, the last, or all, which stay in one split.",
    ),
]
KeepOutlying = Annotated[
    bool,
    typer.Option(
        "--keep-outlying",
        rich_help_panel=options.DATA,
        help="Use scans that are unlike the others as well; by default they are left out and listed.",
    ),
]
IntensityBy = Annotated[
    Intensity,
    typer.Option(
        "--intensity",
        rich_help_panel=options.DATA,
        help="Scale intensities by percentiles, or align the peaks of fluid, grey and white matter.",
    ),
]
RegisterTo = Annotated[
    Register,
    typer.Option(
        "--register",
        rich_help_panel=options.DATA,
        help="Align each volume to a template: rotate and shift it (rigid), or also match its size (affine).",
    ),
]
TemplateFile = Annotated[
    Path | None,
    typer.Option(
        "--template",
        rich_help_panel=options.DATA,
        metavar="FILE",
        help="Skull-stripped volume to align to, with --register.",
        show_default="mean of the cohort",
    ),
]
SkipBad = Annotated[
    bool,
    typer.Option(
        "--skip-bad", rich_help_panel=options.DATA, help="Leave out and list rows and volumes that cannot be used."
    ),
]
VoxelSize = Annotated[
    float | None,
    typer.Option(
        "--voxel-size",
        rich_help_panel=options.DATA,
        metavar="MM",
        help="Voxel size of .npy files, which do not state it.",
        show_default="1",
    ),
]
