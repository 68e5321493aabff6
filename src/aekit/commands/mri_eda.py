"""``aekit mri-eda``: a cohort explained - what is in the table, what is odd, and what any model must beat."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aekit.brains.report.checks import Failed, Reading, find_failed
from aekit.brains.report.report import build_sections
from aekit.brains.report.scans import Scans, check_scans, files_table, unmatched_table
from aekit.brains.report.study import Study, add_columns, study_cohort
from aekit.brains.report.words import count_people
from aekit.errors import AekitError, nearest
from aekit.terminal import options
from aekit.terminal.brain_options import Group, Pattern, SkipBad, Table
from aekit.terminal.console import Console, TrainingProgress

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from aekit.brains.cohort.table import Cohort

N_NAMED = 20
_PASS = {"1": True, "1.0": True, "pass": True, "true": True, "yes": True, "ok": True}
_PASS |= {"0": False, "0.0": False, "fail": False, "false": False, "no": False}


def mri_eda(
    table: Table,
    volumes: Annotated[
        Path | None,
        typer.Option(
            "--volumes",
            rich_help_panel=options.DATA,
            help="Folder of the scans (.nii, .nii.gz, .npy), to check.",
            show_default="only the table is read",
        ),
    ] = None,
    pattern: Pattern = None,
    qc: Annotated[
        Path | None,
        typer.Option(
            "--qc",
            rich_help_panel=options.DATA,
            help="Table of participant_id and qc (1 pass, 0 fail); who fails is left out.",
            show_default="none",
        ),
    ] = None,
    group: Group = None,
    val: Annotated[
        float, typer.Option("--val", rich_help_panel=options.DATA, help="Share of people for validation.")
    ] = 0.15,
    test: Annotated[
        float, typer.Option("--test-split", rich_help_panel=options.DATA, help="Share of people for test.")
    ] = 0.2,
    split_seed: options.SplitSeed = 0,
    skip_bad: SkipBad = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            rich_help_panel=options.OUTPUT,
            metavar="FOLDER",
            help="Folder of the report, its figures and tables.",
            show_default="runs/eda-<name of the table>",
        ),
    ] = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Explain a cohort: a report of its ages, tissue volumes, sexes, sites, outliers and scans, with a split.

    Reads the table, and with --volumes every scan. Writes a folder: report.html with everything in it, every figure as
    PNG and every table as CSV, and participants.tsv, which is the table put right, with outliers and a split that is
    alike in age and sex as columns: the input of mri-train. Nobody is dropped for being unusual. Prints the report's
    path.

    Example: aekit mri-eda participants.tsv --volumes scans -o report
    """
    from aekit.core.artifacts import check_writable

    console = Console(quiet=quiet, json=json)
    fractions = _fractions(val, test)
    folder = output or Path("runs") / f"eda-{table.stem}"
    if folder.is_file():
        raise AekitError(f"{folder}: is a file; give a folder with --output")
    cohort, reading = _read(table, qc, group=group, skip_bad=skip_bad)
    check_writable(folder / "report.html")
    split = _split(cohort, group, fractions, split_seed)
    study = study_cohort(cohort, split)
    scans = None
    if volumes is not None:
        with TrainingProgress(console) as progress:
            scans = check_scans(
                cohort,
                volumes,
                everyone=reading.everyone,
                table_path=table,
                pattern=pattern,
                on_progress=progress.on_data,
            )
        _say_elsewhere(scans, volumes, console)
    parameters: dict[str, Any] = {
        "command": "mri-eda",
        "table": cohort.name,
        "volumes": volumes.name if volumes is not None else None,
        "qc": qc.name if qc is not None else None,
        "n": len(cohort),
        "val": val,
        "test": test,
        "split_seed": split_seed,
        "group": group,
        "skip_bad": skip_bad,
    }
    failed = find_failed(study, reading, scans)
    _write_tables(folder, study, reading, scans)
    report = _write_report(folder, study, reading, scans, failed, parameters)
    _say(study, reading, failed, console)
    console.result(report, **_facts(study, reading, scans, failed))


def _say_elsewhere(scans: Scans, folder: Path, console: Console) -> None:
    inside = folder.resolve()
    n = sum(path is not None and inside not in path.resolve().parents for path in scans.matched.paths)
    if n:
        console.message(
            f"{n:,} scans are read from where the table's column file says, outside of --volumes; "
            "--pattern goes by names instead"
        )


def _fractions(val: float, test: float) -> dict[str, float]:
    for name, share in (("--val", val), ("--test-split", test)):
        if not 0 <= share < 1:
            raise AekitError(f"{name}: {share:g} is no share of the people; give a number from 0 up to 1")
    if val + test >= 1:
        raise AekitError(f"--val and --test-split: {val:g} and {test:g} leave nobody for train; make them smaller")
    return {"train": 1 - val - test, "val": val, "test": test}


# --- reading ---


def _read(table: Path, qc: Path | None, *, group: str | None, skip_bad: bool) -> tuple[Cohort, Reading]:
    import pandas as pd

    from aekit.brains.cohort.table import read_cohort

    everyone = cohort = read_cohort(table, need=("participant_id", "age"), skip_bad=skip_bad)
    left_out = cohort.left_out
    notes: list[str] = []
    quality: list[tuple[str, int, float, float]] = []
    repairs = cohort.repairs
    if qc is not None:
        cohort, rejected, notes, quality, mended = _apply_qc(cohort, qc)
        left_out = pd.concat([left_out, rejected], ignore_index=True) if len(rejected) else left_out
        repairs = (*repairs, *mended)
    if group is not None and group not in cohort.table:
        columns = ", ".join(map(str, cohort.table.columns[:N_NAMED]))
        hint = nearest(group, map(str, cohort.table.columns)) or "; give one of them"
        raise AekitError(f"--group: {cohort.name} has no column {group} (it has {columns}){hint}")
    if len(cohort) < 2:
        raise AekitError(
            f"{table}: {len(cohort)} participant{'s are' if len(cohort) != 1 else ' is'} left of "
            f"{len(everyone):,} read, which make no cohort; give a larger table or another --qc"
        )
    return cohort, Reading(repairs, left_out, everyone, notes, quality, group)


def _apply_qc(
    cohort: Cohort, path: Path
) -> tuple[Cohort, pd.DataFrame, list[str], list[tuple[str, int, float, float]], tuple[Any, ...]]:
    """Return the people who did not fail, those who did, what was found, quality measures, and repairs of the table."""
    import numpy as np
    import pandas as pd

    from aekit.brains.cohort.table import read_cohort

    checked = read_cohort(path, need=("participant_id", "qc"))
    of = {_bare(one): row for row, one in enumerate(checked.table["participant_id"])}
    rows = [of.get(_bare(one)) for one in cohort.table["participant_id"]]
    if all(row is None for row in rows):
        ours, theirs = cohort.table["participant_id"].iloc[0], checked.table["participant_id"].iloc[0]
        raise AekitError(f"{path}: none of its ids (as {theirs}) is in {cohort.name} (as {ours}); give the table's own")
    passed = _passed(checked, path)
    failed = np.array([row is not None and passed[row] is False for row in rows])
    n_without = sum(row is None for row in rows)
    n_unknown = sum(row is not None and passed[row] is None for row in rows)
    n_other = len(of) - sum(row is not None for row in rows)
    notes = [f"{path.name}: of {len(cohort):,} people {int(failed.sum()):,} failed the quality check and are left out."]
    if n_without + n_unknown:
        notes.append(f"{count_people(n_without + n_unknown)} without a verdict in {path.name} kept.")
    if n_other:
        notes.append(f"{count_people(n_other)} of {path.name} not in {cohort.name}.")
    rejected = pd.DataFrame(
        {
            "participant_id": cohort.table.loc[failed, "participant_id"].tolist(),
            "column": "qc",
            "value": "0",
            "reason": f"failed the quality check of {path.name}",
        }
    )
    kept = cohort.subset(~failed)
    own = [row for row, bad in zip(rows, failed, strict=True) if not bad]
    return kept, rejected, notes, _quality(kept, checked, own), tuple(checked.repairs)


def _bare(one: object) -> str:
    return str(one).removeprefix("sub-")


def _passed(checked: Cohort, path: Path) -> list[bool | None]:
    """Return whether each row of a quality table passed; None where it says nothing."""
    values = checked.table["qc"].tolist()
    ids = checked.table["participant_id"].tolist()
    found: list[bool | None] = []
    unknown = []
    for one, value in zip(ids, values, strict=True):
        key = str(value).strip().lower()
        if value is None or value != value:
            found.append(None)
        elif key in _PASS:
            found.append(_PASS[key])
        else:
            unknown.append(f"{one} ({value})")
    if unknown:
        named = ", ".join(unknown[:N_NAMED]) + (f" and {len(unknown) - N_NAMED} more" if len(unknown) > N_NAMED else "")
        raise AekitError(f"{path}: column qc is neither 1 nor 0 for {named}; correct it")
    return found


def _quality(kept: Cohort, checked: Cohort, rows: list[int | None]) -> list[tuple[str, int, float, float]]:
    """Return each quality measure's name, people, mean and correlation with age."""
    import numpy as np
    import pandas as pd

    from aekit.brains.measures.cohort import correlate, describe

    found = []
    for name in checked.table.columns:
        column = checked.table[name]
        if name in ("participant_id", "qc", "age") or not pd.api.types.is_numeric_dtype(column):
            continue
        all_values = column.to_numpy(np.float64, na_value=np.nan)
        values = np.array([np.nan if row is None else all_values[row] for row in rows])
        r = correlate(np.column_stack([kept.age_years, values])).pearson[0, 1]
        found.append((str(name), describe(values).n, describe(values).mean, float(r)))
    return found[:N_NAMED]


def _split(cohort: Cohort, group: str | None, fractions: dict[str, float], seed: int) -> npt.NDArray[np.object_]:
    import numpy as np

    from aekit.brains.cohort.splits import stratified_split

    groups = None if group is None else np.array(cohort.table[group], dtype=object)
    return stratified_split(cohort.age_years, cohort.sex, fractions=fractions, seed=seed, groups=groups)


# --- writing ---


def _write_tables(folder: Path, study: Study, reading: Reading, scans: Scans | None) -> None:
    from aekit.brains.report.tables import build_tables, repairs_table
    from aekit.core.artifacts import write_atomically, write_csv

    tables = build_tables(study)
    tables["left-out.csv"] = reading.left_out
    tables["repairs.csv"] = repairs_table(reading.repairs)
    if scans is not None:
        tables["files.csv"] = files_table(study.cohort, scans)
        tables["unmatched.csv"] = unmatched_table(scans)
    for name, table in tables.items():
        write_csv(folder / name, table)
    participants = add_columns(study, None if scans is None else scans.relative_files())
    text = participants.to_csv(sep="\t", index=False, na_rep="n/a", float_format="%.9g", lineterminator="\n")
    write_atomically(folder / "participants.tsv", lambda file: file.write(text.encode()))


def _write_report(
    folder: Path,
    study: Study,
    reading: Reading,
    scans: Scans | None,
    failed: list[Failed],
    parameters: dict[str, Any],
) -> Path:
    from aekit import __version__
    from aekit.brains.report.figures import draw_figures
    from aekit.core.artifacts import write_html, write_png
    from aekit.plotting.html import build_report

    pictures = {}
    for name, figure in draw_figures(study, scans).items():
        pictures[name] = write_png(folder / name, figure, parameters).read_bytes()
    page = build_report(
        build_sections(study, reading, scans, pictures, failed=failed),
        title=f"Cohort report: {study.cohort.name}",
        subtitle=f"{len(study.cohort):,} people" + ("" if scans is None else f", {len(scans.usable):,} scans"),
        footer=f"aekit {__version__} mri-eda. Every figure and table is also a file of its own beside this page.",
        parameters=parameters,
    )
    return write_html(folder / "report.html", page)


def _say(study: Study, reading: Reading, failed: list[Failed], console: Console) -> None:
    for repair in reading.repairs:
        examples = f" ({', '.join(repair.examples)})" if repair.examples else ""
        times = "once" if repair.n == 1 else f"{repair.n:,} times"
        console.message(f"put right: {repair.what}, {times}{examples}")
    for note in reading.qc_notes:
        console.message(note)
    floor = study.floor
    columns = ["people", "women", "men", "age", "MAE of the median age (floor)", "of the mean age", "outliers"]
    sex, age = study.cohort.sex, study.cohort.age_years[study.has_age]
    row = [
        f"{len(study.cohort):,}",
        int((sex == "F").sum()),
        int((sex == "M").sum()),
        f"{age.min():.1f} to {age.max():.1f}",
        f"{floor.mae_median_years.value:.2f} years",
        f"{floor.mae_mean_years.value:.2f} years",
        None if study.outliers is None else int(study.outliers.flagged.sum()),
    ]
    console.table(f"Cohort {study.cohort.name}", columns, [row])
    for each in failed:
        console.message(f"{each.name}: {each.text}")


def _facts(study: Study, reading: Reading, scans: Scans | None, failed: list[Failed]) -> dict[str, Any]:
    floor = study.floor
    sex = study.cohort.sex
    facts: dict[str, Any] = {
        "n": len(study.cohort),
        "n_female": int((sex == "F").sum()),
        "n_male": int((sex == "M").sum()),
        "n_left_out": int(reading.left_out["participant_id"].nunique()),
        "n_missing": int(study.cohort.table.isna().to_numpy().sum()),
        "n_missing_age": int((~study.has_age).sum()),
        "mae_mean_years": floor.mae_mean_years.value,
        "mae_median_years": floor.mae_median_years.value,
        "n_outliers": None if study.outliers is None else int(study.outliers.flagged.sum()),
        "split": {name: int((study.split == name).sum()) for name in ("train", "val", "test")},
        "failed": [each.name for each in failed],
    }
    if scans is not None:
        facts |= {
            "n_files": len(scans.usable),
            "n_unusable_files": len(scans.unusable),
            "space": None if scans.space is None else scans.space.space,
        }
    return facts
