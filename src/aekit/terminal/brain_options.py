"""Options of the commands that read a cohort: its table, its scans, and who is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
