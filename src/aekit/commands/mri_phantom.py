"""``aekit mri-phantom``: a synthetic cohort and its brain volumes, for tests and a first look."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aekit.core.settings import MAX_SEED
from aekit.errors import AekitError
from aekit.terminal import options
from aekit.terminal.console import Console, TrainingProgress

if TYPE_CHECKING:
    import pandas as pd

TABLE, QC, ABOUT, VOLUMES = "participants.tsv", "qc.tsv", "dataset_description.json", "volumes"
NAME = "Synthetic brain phantoms of aekit"


def mri_phantom(
    n: Annotated[
        int,
        typer.Option("-n", "--number", rich_help_panel=options.COHORT, min=1, max=100_000, help="Number of people."),
    ] = 466,
    size: Annotated[
        int, typer.Option("--size", rich_help_panel=options.COHORT, help="Voxels along each edge of a volume.")
    ] = 96,
    spacing: Annotated[
        float | None,
        typer.Option(
            "--spacing",
            rich_help_panel=options.COHORT,
            metavar="MM",
            help="Edge of a voxel.",
            show_default="192 / size, a head's box",
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option("--seed", rich_help_panel=options.COHORT, min=0, max=MAX_SEED, help="Seed of people and images."),
    ] = 0,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            rich_help_panel=options.OUTPUT,
            metavar="FOLDER",
            help="Where participants.tsv, qc.tsv and volumes/ go.",
            show_default="runs/phantom-<made of the options>",
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", min=1, rich_help_panel=options.OUTPUT, help="Threads.", show_default="every core"),
    ] = None,
    overwrite: options.Overwrite = False,
    resume: options.Resume = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Make a synthetic cohort: a table of people and a skull-stripped brain volume of each.

    Reads nothing. Writes a folder: participants.tsv, qc.tsv and volumes/. Age and sex decide on the tissue volumes
    alone, with as much scatter as people have; the table states the volumes that the images have, to the voxel. Person
    k is the same for any number of people. An interrupted run goes on. Prints the path of the folder.

    Example: aekit mri-phantom -n 60 --size 48 -o runs/phantom
    """
    from aekit.brains.cohort.phantom import FIELD_MM, check_size

    console = Console(quiet=quiet, json=json)
    spacing_mm = FIELD_MM / size if spacing is None and size > 0 else spacing or 0.0
    check_size(size, spacing_mm)
    name = f"phantom-n{n}-size{size}-seed{seed}" + ("" if spacing is None else f"-spacing{spacing:g}")
    request = Request(n, size, spacing_mm, seed, output or Path("runs") / name)
    is_finished = _look_at(request, overwrite=overwrite, resume=resume)
    if not is_finished:
        n_kept = _make(request, jobs, console)
        kept = f", {n_kept:,} of them from before" if n_kept else ""
        console.message(f"{n:,} synthetic brains of {size}x{size}x{size} voxels of {spacing_mm:.4g} mm{kept}")
    folder = request.folder
    values = {"table": str(folder / TABLE), "volumes": str(folder / VOLUMES), **request.about, "n": n}
    console.result(folder, **values)


@dataclass(frozen=True)
class Request:
    """What to make, and where."""

    n: int
    size: int
    spacing_mm: float
    seed: int
    folder: Path

    @property
    def about(self) -> dict[str, Any]:
        """Return what decides on every single file."""
        return {"size": self.size, "spacing_mm": self.spacing_mm, "seed": self.seed}


def _look_at(request: Request, *, overwrite: bool, resume: bool) -> bool:
    """Return whether all is there already, after what is in the way was refused or removed.

    Raises:
        AekitError: The folder holds something else, or a finished cohort and nobody asked to replace it.
    """
    folder, table = request.folder, request.folder / TABLE
    made = _read_about(folder)
    if made is None:
        if folder.exists() and not folder.is_dir():
            raise AekitError(f"{folder}: is a file; give a folder with --output")
        if folder.is_dir() and any(folder.iterdir()):
            raise AekitError(
                f"{folder}: holds files that mri-phantom did not make; choose another folder with --output"
            )
        return False
    is_finished, is_same = table.exists(), made == request.about | {"n": request.n}
    if overwrite:
        _remove(folder)
        return False
    if is_finished and not (resume and is_same):
        raise AekitError(f"{folder}: holds a finished cohort; replace it with --overwrite, or choose another --output")
    # Of a larger cohort there would be volumes left that no row names.
    if not is_finished and not (made | {"n": request.n} == request.about | {"n": request.n} and made["n"] <= request.n):
        raise AekitError(f"{folder}: holds part of a cohort of other options; replace it with --overwrite")
    return is_finished


def _read_about(folder: Path) -> dict[str, Any] | None:
    """Return the options that made a folder; None if mri-phantom did not make it."""
    from json import loads

    try:
        about = loads((folder / ABOUT).read_text("utf-8"))
        made = dict(about["GeneratedBy"][0]["Parameters"])
        return made if about["Name"] == NAME and isinstance(made["n"], int) else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _remove(folder: Path) -> None:
    """Remove a cohort: the table first, so that nothing half removed looks finished."""
    try:
        for path in (folder / TABLE, folder / QC, *sorted((folder / VOLUMES).glob("sub-*_T1w.nii.gz"))):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise AekitError(f"{folder}: cannot be replaced ({error.strerror}); choose another --output") from error


def _make(request: Request, jobs: int | None, console: Console) -> int:
    """Write everything, the table last; return how many volumes were there already."""
    from aekit.brains.volumes.nifti import in_threads
    from aekit.core.artifacts import write_atomically, write_json

    write_json(request.folder / ABOUT, _description(request))
    kept = 0
    with TrainingProgress(console) as progress:
        found = in_threads(lambda number: _make_volume(request, number), range(request.n), jobs=jobs)
        for done, was_there in enumerate(found, start=1):
            kept += was_there
            progress.on_data("making brains", done, request.n)
    people, qc = _tables(request)
    for name, table in ((QC, qc), (TABLE, people)):
        text = table.to_csv(sep="\t", index=False, float_format="%.9g", lineterminator="\n")
        write_atomically(request.folder / name, lambda file, text=text: file.write(text.encode()))  # type: ignore[misc]
    return kept


def _make_volume(request: Request, number: int) -> bool:
    """Write one volume; return whether it was there already, as files are written whole or not at all."""
    import gzip

    from aekit.brains.cohort.phantom import build_phantom, count_voxels, draw_person, encode_nifti
    from aekit.core.artifacts import write_atomically

    person = draw_person(request.seed, number)
    path = request.folder / VOLUMES / f"{person.participant_id}_T1w.nii.gz"
    if path.exists():
        return True
    counts = count_voxels(person.volumes_ml, request.spacing_mm)
    phantom = build_phantom(counts, size=request.size, spacing_mm=request.spacing_mm, seed=request.seed, number=number)
    # Level 1: noise hardly packs any better at level 9, which takes ten times as long. No time stamp: same bytes.
    content = gzip.compress(encode_nifti(phantom), 1, mtime=0)
    write_atomically(path, lambda file: file.write(content))
    return False


def _tables(request: Request) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the people with the volumes of their images, and how well each was scanned."""
    import pandas as pd

    from aekit.brains.cohort.phantom import count_voxels, draw_person, draw_scan

    people, qc = [], []
    voxel_ml = request.spacing_mm**3 / 1000.0
    for number in range(request.n):
        person, scan = draw_person(request.seed, number), draw_scan(request.seed, number)
        counts = count_voxels(person.volumes_ml, request.spacing_mm)
        people.append(
            {
                "participant_id": person.participant_id,
                "age": person.age_years,
                "sex": person.sex,
                "diagnosis": "control",
                "study": "phantom",
                "site": person.site,
                "tiv": sum(counts) * voxel_ml,
                **{name: count * voxel_ml for name, count in zip(("gmv", "wmv", "csfv"), counts, strict=True)},
                "file": f"{VOLUMES}/{person.participant_id}_T1w.nii.gz",
                "synthetic": "true",
            }
        )
        tilt_deg, shift_mm = max(map(abs, scan.turn_deg)), max(map(abs, scan.shift_mm))
        known = {"qc": 1, "cnr": round(scan.cnr, 3), "tilt_deg": round(tilt_deg, 3), "shift_mm": round(shift_mm, 3)}
        qc.append({"participant_id": person.participant_id, **known, "synthetic": "true"})
    return pd.DataFrame(people), pd.DataFrame(qc)


def _description(request: Request) -> dict[str, Any]:
    """Return the dataset_description.json of BIDS, which says that nobody was scanned."""
    return {
        "Name": NAME,
        "BIDSVersion": "1.9.0",
        "DatasetType": "derivative",
        "Synthetic": True,
        "Description": "SYNTHETIC: shapes, no people. Tissue volumes are exact; only they depend on age and sex.",
        "GeneratedBy": [{"Name": "aekit mri-phantom", "Parameters": {**request.about, "n": request.n}}],
    }
