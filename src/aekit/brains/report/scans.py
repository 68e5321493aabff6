"""The scans of a cohort, as ``aekit mri-eda`` checks them."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from aekit.brains.cohort.scans import Matched
    from aekit.brains.cohort.table import Cohort
    from aekit.brains.measures.cohort import SpaceCheck
    from aekit.brains.volumes.nifti import VolumeCheck
    from aekit.core.progress import OnProgress

    Floats = npt.NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Scans:
    """What the files of a cohort say.

    Attributes:
        folder: Where they are.
        matched: Which is whose.
        checks: Of each person's file, None without one, N of them.
        same_as: Ids of other people with the very same scan, for each person, N of them; mostly empty.
        table_ml: Sum of the table's tissue volumes, (N,); NaN where missing.
        space: Whether scans still have the size of the heads; None without volumes in the table.
    """

    folder: Path
    matched: Matched
    checks: tuple[VolumeCheck | None, ...]
    same_as: tuple[tuple[str, ...], ...]
    table_ml: Floats
    space: SpaceCheck | None

    @property
    def usable(self) -> list[VolumeCheck]:
        """Return the checks of files that can be used."""
        return [check for check in self.checks if check is not None and not check.problem]

    @property
    def unusable(self) -> list[VolumeCheck]:
        """Return the checks of files that cannot be used."""
        return [check for check in self.checks if check is not None and check.problem]

    @property
    def brain_ml(self) -> Floats:
        """Return the brain-mask volume of each person's scan, (N,); NaN where there is none."""
        import numpy as np

        return np.array([np.nan if check is None or check.problem else check.brain_ml for check in self.checks])

    def relative_files(self) -> list[str | None]:
        """Return each person's file relative to the folder; None where it lies elsewhere or is missing."""
        inside = [
            path if path is not None and path.is_relative_to(self.folder) else None for path in self.matched.paths
        ]
        return [None if path is None else path.relative_to(self.folder).as_posix() for path in inside]


def check_scans(
    cohort: Cohort,
    folder: Path,
    *,
    everyone: Cohort,
    table_path: Path,
    pattern: str | None,
    on_progress: OnProgress | None = None,
) -> Scans:
    """Return what the files of a cohort say.

    Args:
        cohort: The people.
        folder: Where their volumes are.
        everyone: These and other people of the table, whose files are not nobody's.
        table_path: The table, to which its column ``file`` is relative.
        pattern: Names of files with ``{id}`` in them.
        on_progress: Called with what is done, the number of files done, and of all files.

    Raises:
        AekitError: As :func:`aekit.brains.cohort.scans.match_files`; a bad file is told of in the result.
    """
    import numpy as np

    from aekit.brains.measures.cohort import check_space
    from aekit.brains.volumes.nifti import check_volumes

    matched = _match(cohort, folder, everyone=everyone, table_path=table_path, pattern=pattern)
    rows = [row for row, path in enumerate(matched.paths) if path is not None]
    found = check_volumes([path for path in matched.paths if path is not None], on_progress=on_progress)
    checks: list[VolumeCheck | None] = [None] * len(cohort)
    for row, check in zip(rows, found, strict=True):
        checks[row] = check
    volumes_ml = cohort.volumes_ml
    table_ml = np.full(len(cohort), np.nan) if volumes_ml is None else volumes_ml.sum(axis=1)
    same_as = _same_scans([str(one) for one in cohort.table["participant_id"]], checks)
    scans = Scans(folder, matched, tuple(checks), same_as, table_ml, None)
    space = None if volumes_ml is None else check_space(scans.brain_ml, table_ml)
    return Scans(folder, matched, tuple(checks), same_as, table_ml, space)


def _match(cohort: Cohort, folder: Path, *, everyone: Cohort, table_path: Path, pattern: str | None) -> Matched:
    from aekit.brains.cohort.scans import Matched, match_files

    matched = match_files(everyone, folder, table_path=table_path, pattern=pattern)
    path_of = dict(zip(everyone.table["participant_id"], matched.paths, strict=True))
    ids = [str(one) for one in cohort.table["participant_id"]]
    paths = tuple(path_of[one] for one in ids)
    return Matched(paths, tuple(one for one in ids if path_of[one] is None), matched.without_row)


def _same_scans(ids: list[str], checks: list[VolumeCheck | None]) -> tuple[tuple[str, ...], ...]:
    rows_of: defaultdict[str, list[int]] = defaultdict(list)
    for row, check in enumerate(checks):
        if check is not None and check.digest:
            rows_of[check.digest].append(row)
    same: list[tuple[str, ...]] = [()] * len(ids)
    for rows in rows_of.values():
        for row in rows:
            same[row] = tuple(ids[other] for other in rows if other != row)
    return tuple(same)


def files_table(cohort: Cohort, scans: Scans) -> pd.DataFrame:
    """Return a row a person: the file, what is wrong or odd with it, and how it is made."""
    import numpy as np
    import pandas as pd

    nothing: list[object] = [np.nan] * 3
    files = scans.relative_files()
    rows: list[dict[str, object]] = []
    for row, check in enumerate(scans.checks):
        shape = nothing if check is None or not check.shape or not any(check.shape) else list(check.shape)
        spacing = nothing if check is None else list(check.spacing_mm)
        brain = scans.brain_ml[row]
        rows.append(
            {
                "participant_id": cohort.table["participant_id"].iloc[row],
                "file": files[row] or (check.path.name if check else ""),
                "problem": "no file" if check is None else check.problem,
                "warnings": "" if check is None else "; ".join(check.warnings),
                "same_scan_as": "; ".join(scans.same_as[row]),
                **dict(zip(("size_x", "size_y", "size_z"), shape, strict=True)),
                **dict(zip(("spacing_x_mm", "spacing_y_mm", "spacing_z_mm"), spacing, strict=True)),
                "orientation": "" if check is None else check.orientation,
                "n_nan": np.nan if check is None else check.n_nan,
                "brain_ml": brain,
                "table_ml": scans.table_ml[row],
                "brain_to_table": brain / scans.table_ml[row],
                "sha256": "" if check is None else check.digest,
            }
        )
    table = pd.DataFrame(rows)
    whole = ["size_x", "size_y", "size_z", "n_nan"]
    table[whole] = table[whole].astype("Int64")
    return table


def unmatched_table(scans: Scans) -> pd.DataFrame:
    """Return people without a file, and files that are nobody's."""
    import pandas as pd

    people = [("row without file", one) for one in scans.matched.without_file]
    files = [("file without row", path.relative_to(scans.folder).as_posix()) for path in scans.matched.without_row]
    return pd.DataFrame([*people, *files], columns=["what", "name"])


def geometries(scans: Scans) -> list[tuple[str, str, str, int]]:
    """Return size, spacing in mm, orientation and number of files of each kind of usable file, most frequent first."""
    kinds = Counter(
        (
            " x ".join(str(side) for side in check.shape),
            " x ".join(f"{side:.3g}" for side in check.spacing_mm),
            check.orientation or "-",
        )
        for check in scans.usable
    )
    return [(*kind, n) for kind, n in kinds.most_common()]
