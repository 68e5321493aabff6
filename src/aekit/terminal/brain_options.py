"""Options of the commands that read a cohort: the table, the scans, and how text becomes a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer

from aekit.brains.config import Augmentation, CohortConfig
from aekit.errors import AekitError, nearest
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
        help="File name of a participant, such as '{id}_T1w.nii.gz'.",
        show_default="column file, or the id in the name",
    ),
]
Group = Annotated[
    str | None,
    typer.Option(
        "--group",
        rich_help_panel=options.DATA,
        metavar="COLUMN",
        help="Keep participants with the same value in this column, such as site, in one split.",
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


def parse_grid(text: str) -> tuple[int, int, int]:
    """Return the voxels of a grid along its axes from ``48`` or ``40x48x40``.

    Raises:
        AekitError: Anything else.
    """
    sides = text.lower().split("x")
    if len(sides) not in (1, 3) or not all(side.isdecimal() for side in sides):
        raise AekitError(f"--size: {text!r} is not a size; give one number or XxYxZ, such as 48 or 40x48x40")
    return int(sides[0]), int(sides[len(sides) // 2]), int(sides[-1])


def parse_splits(cv: int, val: float | None, test_split: str | None) -> tuple[int, float, float | str]:
    """Return the folds, the fraction for validation, and the fraction for testing or the column with the splits.

    Without a cross-validation the defaults are those of CohortConfig, with one they are 0.

    Raises:
        BadParameter: There is a fraction for validation together with ``cv``.
    """
    if cv and val:
        raise typer.BadParameter("not with --cv, where each fold is held out once", param_hint="--val")
    default_val, default_test = (0.0, 0.0) if cv else (CohortConfig.val, CohortConfig.test)
    test: float | str = default_test
    if test_split is not None:
        try:
            test = float(test_split)
        except ValueError:
            test = test_split
    return cv, default_val if val is None else val, test


def parse_augment(text: str) -> tuple[Augmentation, ...]:
    """Return the augmentations in a list with commas, in their own order; none for ``none``.

    Raises:
        AekitError: One is unknown.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if names == ["none"]:
        return ()
    known = get_args(Augmentation)
    for name in names:
        if name not in known:
            hint = nearest(name, known) or "; choose from these"
            raise AekitError(f"--augment: {name!r} is not one of {', '.join(known)}, none{hint}")
    return tuple(name for name in known if name in names)
