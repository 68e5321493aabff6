"""A synthetic cohort in a folder: a table of participants, their quality measures, and a brain volume of each."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from aekit.brains.cohort.phantom_people import draw_person, draw_scan
from aekit.brains.cohort.phantom_volumes import (
    FIELD_MM,
    LABELS,
    build_phantom,
    check_size,
    count_voxels,
    encode_nifti,
)
from aekit.core.artifacts import write_atomically, write_json
from aekit.core.output import Result
from aekit.core.progress import SILENT, Progress
from aekit.core.threads import in_threads
from aekit.errors import AekitError

TABLE, QC, ABOUT, VOLUMES = "participants.tsv", "qc.tsv", "dataset_description.json", "volumes"
NAME = "Synthetic brain phantoms of aekit"


def run_phantom(
    n: int = 466,
    output: Path | None = None,
    size: int = 96,
    spacing_mm: float | None = None,
    seed: int = 0,
    jobs: int | None = None,
    *,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress = SILENT,
) -> Result:
    """Return the folder of a synthetic cohort, with the paths of its table and volumes; an interrupted one continues.

    Args:
        n: Number of participants.
        output: The folder; None names it after the options.
        size: Voxels along each edge of a volume.
        spacing_mm: Voxel size; None fits the box to a head.
        seed: Of participants and images.
        jobs: Threads; None uses all cores.
        overwrite: Replace a finished cohort.
        resume: Leave a finished cohort as it is.
        progress: Shows how many volumes are done.

    Raises:
        AekitError: No brain fits the box, or the folder holds something else, or a finished cohort.
    """
    spacing = FIELD_MM / size if spacing_mm is None and size > 0 else spacing_mm or 0.0
    check_size(size, spacing)
    name = f"phantom-n{n}-size{size}-seed{seed}" + ("" if spacing_mm is None else f"-spacing{spacing:g}")
    request = Request(n, size, spacing, seed, output or Path("runs") / name)
    if not _is_finished(request, overwrite=overwrite, resume=resume):
        n_kept = _write_cohort(request, jobs, progress)
        kept = f", {n_kept:,} of which existed" if n_kept else ""
        progress.notice(f"{n:,} synthetic brains of {size}x{size}x{size} voxels of {spacing:.4g} mm{kept}")
    folder = request.folder
    values = {"table": str(folder / TABLE), "volumes": str(folder / VOLUMES), **request.about, "n": n}
    return Result(folder, values)


@dataclass(frozen=True)
class Request:
    """What to generate, and where."""

    n: int
    size: int
    spacing_mm: float
    seed: int
    folder: Path

    @property
    def about(self) -> dict[str, Any]:
        """Return the options that determine every single file."""
        return {"size": self.size, "spacing_mm": self.spacing_mm, "seed": self.seed}


def _is_finished(request: Request, *, overwrite: bool, resume: bool) -> bool:
    """Return whether the cohort is finished; with ``overwrite`` it is removed first.

    Raises:
        AekitError: The folder holds something else, or a finished cohort that nobody asked to replace.
    """
    folder = request.folder
    made = _read_about(folder)
    if made is None:
        _check_empty(folder)
        return False
    if overwrite:
        _remove(folder)
        return False
    is_finished = (folder / TABLE).exists()
    if is_finished and not (resume and made == request.about | {"n": request.n}):
        raise AekitError(f"{folder}: holds a finished cohort; replace it with --overwrite, or choose another --output")
    if not is_finished and not _is_part(made, request):
        raise AekitError(f"{folder}: holds part of a cohort of other options; replace it with --overwrite")
    return is_finished


def _check_empty(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise AekitError(f"{folder}: is a file; give a folder with --output")
    if folder.is_dir() and any(folder.iterdir()):
        raise AekitError(f"{folder}: holds files that mri-phantom did not write; choose another folder with --output")


def _is_part(made: Mapping[str, Any], request: Request) -> bool:
    """Return whether the options that made a folder are those of a cohort that is no larger than the request.

    A larger cohort would leave volumes behind that no row of the table names.
    """
    return {**made, "n": request.n} == request.about | {"n": request.n} and made["n"] <= request.n


def _read_about(folder: Path) -> dict[str, Any] | None:
    """Return the options that made a folder; None if mri-phantom did not make it."""
    try:
        about = json.loads((folder / ABOUT).read_text("utf-8"))
        made = dict(about["GeneratedBy"][0]["Parameters"])
        return made if about["Name"] == NAME and isinstance(made["n"], int) else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _remove(folder: Path) -> None:
    """Remove a cohort, its table first, so that a half removed one does not look finished."""
    try:
        for path in (folder / TABLE, folder / QC, *sorted((folder / VOLUMES).glob("sub-*_T1w.nii.gz"))):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise AekitError(f"{folder}: cannot be replaced ({error.strerror}); choose another --output") from error


def _write_cohort(request: Request, jobs: int | None, progress: Progress) -> int:
    """Write all files, the table last; return how many volumes existed already."""
    write_json(request.folder / ABOUT, _description(request))
    kept = 0
    for done, existed in enumerate(in_threads(partial(_write_volume, request), range(request.n), jobs=jobs), start=1):
        kept += existed
        progress.update("generating brains", done, request.n)
    for name, table in ((QC, _qc_table(request)), (TABLE, _participants_table(request))):
        content = table.to_csv(sep="\t", index=False, float_format="%.9g", lineterminator="\n").encode()
        write_atomically(request.folder / name, lambda file, content=content: file.write(content))  # type: ignore[misc]
    return kept


def _write_volume(request: Request, number: int) -> bool:
    """Write one volume; return whether it existed already, as files are written whole or not at all."""
    person = draw_person(request.seed, number)
    path = request.folder / VOLUMES / f"{person.participant_id}_T1w.nii.gz"
    if path.exists():
        return True
    counts = count_voxels(person.volumes_ml, request.spacing_mm)
    phantom = build_phantom(counts, size=request.size, spacing_mm=request.spacing_mm, seed=request.seed, number=number)
    # Level 1: noise is hardly smaller at level 9, which takes ten times as long. No time stamp, for the same bytes.
    content = gzip.compress(encode_nifti(phantom), 1, mtime=0)
    write_atomically(path, lambda file: file.write(content))
    return False


def _participants_table(request: Request) -> pd.DataFrame:
    """Return the participants with the volumes of their images."""
    rows = []
    voxel_ml = request.spacing_mm**3 / 1000.0
    for number in range(request.n):
        person = draw_person(request.seed, number)
        counts = count_voxels(person.volumes_ml, request.spacing_mm)
        rows.append(
            {
                "participant_id": person.participant_id,
                "age": person.age_years,
                "sex": person.sex,
                "diagnosis": "control",
                "study": "phantom",
                "site": person.site,
                "tiv": sum(counts) * voxel_ml,
                **{name: count * voxel_ml for name, count in zip(LABELS, counts, strict=True)},
                "file": f"{VOLUMES}/{person.participant_id}_T1w.nii.gz",
                "synthetic": "true",
            }
        )
    return pd.DataFrame(rows)


def _qc_table(request: Request) -> pd.DataFrame:
    """Return measures of the quality of each scan."""
    rows = []
    for number in range(request.n):
        scan = draw_scan(request.seed, number)
        tilt_deg, shift_mm = max(map(abs, scan.rotation_deg)), max(map(abs, scan.shift_mm))
        known = {"qc": 1, "cnr": round(scan.cnr, 3), "tilt_deg": round(tilt_deg, 3), "shift_mm": round(shift_mm, 3)}
        rows.append({"participant_id": draw_person(request.seed, number).participant_id, **known, "synthetic": "true"})
    return pd.DataFrame(rows)


def _description(request: Request) -> dict[str, Any]:
    """Return the dataset_description.json of BIDS, which marks the cohort as synthetic."""
    return {
        "Name": NAME,
        "BIDSVersion": "1.9.0",
        "DatasetType": "derivative",
        "Synthetic": True,
        "Description": "SYNTHETIC: shapes, no people. Tissue volumes are exact; only they depend on age and sex.",
        "GeneratedBy": [{"Name": "aekit mri-phantom", "Parameters": {**request.about, "n": request.n}}],
    }
