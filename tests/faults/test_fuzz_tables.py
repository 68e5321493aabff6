"""Damaged tables and texts: cohorts, results, histories, JSON and pictures in a report, and lists of paths on stdin."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from fuzzing import (
    CELLS,
    Target,
    bent,
    expect_clean,
    fuzz,
    json_text,
    png_chunks,
    raw,
    record_counts,
    replay,
    safetensors_header,
    table_cells,
)
from recipes import BOTH
from safetensors.numpy import save

from aekit.brains.associate.analysis import build_measures, build_nuisance, run_tests, to_table
from aekit.brains.associate.covariates import read_covariate
from aekit.brains.associate.request import Request
from aekit.brains.associate.sample import read_sample
from aekit.brains.cohort.expressions import parse_expression
from aekit.brains.cohort.phantom import ABOUT, _read_about
from aekit.brains.cohort.scans import match_files
from aekit.brains.cohort.session_names import person_of
from aekit.brains.cohort.sessions import joint_groups
from aekit.brains.cohort.table import read_cohort
from aekit.brains.config import Sessions, TableColumns
from aekit.brains.hypotheses import _read_ages
from aekit.brains.predict import list_paths
from aekit.core.progress import Silent
from aekit.errors import AekitError
from aekit.images.code_files import read_codes
from aekit.images.config import DataConfig
from aekit.images.data.image_set import ImageSet
from aekit.images.data.labels import read_labels
from aekit.images.data.origins import Origins
from aekit.images.evaluation.row_names import picture_names
from aekit.images.session import open_session
from aekit.images.sweep.outcomes import training_seconds
from aekit.plotting.html import build_report
from aekit.results.compare import run_compare
from aekit.results.files import read_results
from aekit.results.page import build_sections
from aekit.results.recipe import read_recipe
from aekit.results.steps import RECORD, StepRecord
from aekit.terminal.streams import with_stdin

COHORT = """participant_id\tage\tsex\tgmv\twmv\tcsfv\tsite\tfile\tsession
sub-01\t34.5\tF\t612.3\t501.2\t301\tA\tsub-01_T1w.nii\t1
sub-02\t71\tM\t598,1\t499.9\t305\tB\tvolumes/sub-02_T1w.nii\t1
sub-03\t89+\tm\tn/a\t510\t299\tA\t../x.nii\t1
"""
# Headers with units, one row per session, and the data dictionary next to such a table.
SESSIONS = """participant_id\tsession_id\tAge (months)\tSex (1=m, 2=f)\tGMV (L)\twmv_mm3\tcsfv\tsite
sub-01\tses-1\t414\t1\t0.612\t501200\t301\tKöln
sub-01\tses-2\t426\t1\t0.611\t500100\t302\t東京
sub-02\t1\t71 years\t2\t0.598\t499900\t305\t
"""
# Visits, marks of missing values, and columns that options name.
VISITS = """Subject ID,MRI ID,Visit,M/F,AgeMRI,age,MMSE,nWBV,gmv,wmv,csfv
OAS2_0001,OAS2_0001_MR1,1,M,87,-9999,27,0.696,612,500,301
OAS2_0001,OAS2_0001_MR2,2,M,88,999,-999,0.681,598,499,9999
OAS2_0002,OAS2_0002_MR1,bl,F,75,75,23,0.736,-9,520,280
OAS2_0002,OAS2_0002_MR2,m06,F,75.5,75,99,0.713,650,-99,260
OAS2_0004,OAS2_0004_MR1,1,-9,88,88,28,0.710,580,470,0
"""
DICTIONARY = {
    "age": {"Description": "age in years at scan", "Units": "months"},
    "sex": {"Levels": {"M": "male", "F": {"Description": "female"}, "m": "male"}},
    "gmv": {"Units": "mL", "Description": "grey matter (mL)"},
    "site": {"Levels": ["A", "B"]},
}
TABLE = "beta,latent,seed,test_total,test_mse\n0.1,2,0,101.5,0.02\n0.1,2,1,102.5,0.03\n1,2,0,110.25,0.05\n"
STUDY = "beta,latent,test_total\n0.1,2,100\n1,2,111\n"
LABELS = """file;label;Smiling;age
img1.png;Köln;1;20
./photos/IMG2.PNG;cat-dog;0;21
img10;cat-dog;1;n/a
"""
ARRAY_LABELS = "row,label,male\n0,a,-1\n2,b,1\n1,a,1\n"
HISTORY = "epoch,split,total,seconds\n1,train,3.5,0.25\n1,test,3.25,0.125\n"
PREDICTIONS = (
    "participant_id,split,model,target,truth,prediction\n"
    "01,test,chain,age_years,30.5,31.25\nNA,test,chain,gmv_ml,600,601\n"
)
CODES = "index;name;z1;label;z0\n0;a/b;1,5;3;-2\n1;c;2e-1;4;0\n2;d;-0,25;3;1e30\n"
CODES_OF_ENCODE = "\n".join(
    ["index,file,row,label,z0,z1", *(f"{row},x.png,{row},a,{row / 3:.6g},-1" for row in range(6)), ""]
)
CODE_TENSORS = {
    "mean": np.arange(12, dtype=np.float32).reshape(6, 2),
    "logvar": np.zeros((6, 2), np.float32),
    "index": np.arange(6),
    "file": np.arange(6) % 2,
    "row": np.arange(6),
    "label": np.arange(6) % 2,
    "attributes": np.arange(12).reshape(6, 2) % 3 == 0,
}
CODE_ORIGIN = {
    "aekit": json.dumps(
        {
            "command": "encode", "checkpoint": "x.safetensors", "options": {}, "class_names": ["a", "b"],
            "files": ["x.png", "y.png"], "attribute_names": ["c", "d"],
        }
    )
}  # fmt: skip
_AGES = [20 + 3 * row + row % 4 for row in range(16)]
ASSOCIATED = "participant_id,split,fold,model,target,truth,prediction,delta\n" + "".join(
    f"{row:02},{'cv' if row else 'train'},0,{model},age_years,{age},{age + 2 + (row * 7) % 5 * 1.25 + more},\n"
    for model, more in (("chain", 0), ("direct", 1))
    for row, age in enumerate(_AGES)
)
PATIENTS = "participant_id\tage\tsex\tsite\tdiagnosis\tscore\tgmv\n" + "".join(
    f"{row:02}\t{age}\t{'FM'[row % 2]}\t{'AB'[row // 8]}\t{'control' if row < 12 else 'patient'}\t{25 + row % 6}\t"
    f"{700 - age}\n"
    for row, age in enumerate(_AGES)
)
STEPS = '''command,seed,state,seconds,aekit,line,paths,key
1,0,finished,8.5,0.1.0,"aekit tsne ""a, b""","[""seed0.png""]",ea90de369452c7c8
2,,started,0,0.1.0,aekit report {out} -o {out}/x.html,[],4c31bee2aa609f9f
'''
PHANTOM = {
    "Name": "aekit mri-phantom",
    "GeneratedBy": [{"Name": "aekit", "Parameters": {"n": 40, "size": 16, "seed": 0}}],
}
VALUES = {
    "n": 3,
    "mse": 0.25,
    "mse_error": 0.5,
    "parameters": {"a": {"b": [1, 2]}},
    "rows": [{"x": 1, "y": "b"}, {"x": 2.5}],
    "z": [[1]],
}


def _codes(path: Path) -> None:
    """Read codes as Python and ``neighbours`` do, whatever their dimensions, and as ``decode`` does, for a model."""
    with contextlib.suppress(AekitError):
        codes = read_codes(path)
        assert np.isfinite(codes.mean).all()
        assert codes.mean.size
        assert codes.logvar is None or codes.logvar.shape == codes.mean.shape
        assert len(codes.index) == len(codes.labels) == len(codes)
        assert all(isinstance(label, str) for label in codes.labels)
        _ = "" if codes.origins is None else [codes.origins.text(row) for row in range(len(codes))]
    codes = read_codes(path, 2, "vae.safetensors", Silent())
    assert codes.mean.shape == (len(codes), 2)
    assert np.isfinite(codes.mean).all()
    assert all(len(values) == len(codes) for values in codes.columns.values())
    with contextlib.suppress(AekitError):
        names = picture_names(codes, Silent())
        assert len({name.casefold() for name in names}) == len(codes)
        assert all(Path(name).name == name and not name.startswith(".") for name in names)


def _cohort(path: Path) -> None:
    for skip_bad in (False, True):
        try:
            cohort = read_cohort(path, skip_bad=skip_bad)
        except AekitError:
            if skip_bad:
                raise
            continue
        folder = path.parent / "volumes"
        folder.mkdir(exist_ok=True)
        for name in ("sub-01_T1w.nii", "sub-02_T1w.nii"):
            (folder / name).touch()
        _ = cohort.age_years, cohort.volumes_ml, cohort.sex
        matched = match_files(cohort, folder, table_path=path)
        for found in matched.paths:
            assert found is None or path.parent.resolve() in found.resolve().parents


def _dictionary(path: Path) -> None:
    path.with_suffix(".tsv").write_text(COHORT.replace("89+", "89").replace("../x.nii", "x.nii"))
    cohort = read_cohort(path.with_suffix(".tsv"), skip_bad=True)
    assert len(cohort) == 3
    _ = cohort.age_years, cohort.volumes_ml, cohort.sex


def _sessions(path: Path) -> None:
    cohort = read_cohort(path)
    groups = joint_groups(cohort, "site" if "site" in cohort.table else None)
    assert groups is None or len(groups) == len(cohort)


def _visits(path: Path) -> None:
    for chosen in (TableColumns(), TableColumns(participant_id="MRI ID", age="AgeMRI")):
        for sessions in get_args(Sessions):
            cohort = read_cohort(path, chosen=chosen, sessions=sessions, skip_bad=True)
            ages = cohort.age_years[np.isfinite(cohort.age_years)]
            assert ((ages >= 0) & (ages <= 120)).all()
            volumes = cohort.volumes_ml
            assert volumes is None or not (volumes <= 0).any()
            persons = [person_of(one) for one in cohort.table["participant_id"]]
            assert sessions == "all" or len(set(persons)) == len(persons)
            _ = joint_groups(cohort, None), cohort.sex


def _associate(predictions: Path, table: Path | None) -> None:
    request = Request(predictions, table, ("diagnosis", "score"), controls=parse_expression("diagnosis=control", "-"))
    sample = read_sample(request)
    covariates = [read_covariate(sample, name, request) for name in request.covariates]
    nuisance, _ = build_nuisance(sample, request)
    few = replace(request, n_permutations=9)
    assert len(to_table(run_tests(covariates, build_measures(sample), nuisance, few, lambda *_: None)))


def _associated(path: Path) -> None:
    table = path.with_name("patients.txt")
    table.write_text(PATIENTS)
    try:
        _associate(path, table)
    except AekitError as error:
        raise AekitError(f"{path}: {error}") from error  # some name the option or the column instead


def _patients(path: Path) -> None:
    predictions = path.with_name("predictions.txt")
    predictions.write_text(ASSOCIATED)
    try:
        _associate(predictions, path)
    except AekitError as error:
        raise AekitError(f"{path}: {error}") from error


def _compare(path: Path) -> None:
    study = path.with_name("study.txt")
    study.write_text(STUDY)
    run_compare([path], study, "beta,latent", path.with_name("out.csv"))


def _compare_with(path: Path) -> None:
    ours = path.with_name("ours.txt")
    ours.write_text(TABLE)
    run_compare([ours], path, "beta,latent", path.with_name("out.csv"))


def _report(path: Path) -> None:
    results = read_results([path.parent], output=path.parent / "report.html", max_rows=5, max_bytes=10**6)
    page = build_report(build_sections(results, title="x", max_rows=5, max_mb=1), title="x", parameters={})
    assert "<script>alert" not in page
    page.encode()
    if results.unreadable:
        raise AekitError(f"{path}: {next(iter(results.unreadable.values()))}; named in the report")


def _steps(path: Path) -> None:
    said = Said()
    StepRecord(path.parent, said)
    if said.lines:
        raise AekitError(said.lines[0])


class Said(Silent):
    """Progress that keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def notice(self, text: str) -> None:
        self.lines.append(text)


def _history(path: Path) -> None:
    training_seconds(path)


def _labels(names: list[str], numbers: list[int], rows: list[int] | None):
    origins = Origins(names, np.array(numbers), None if rows is None else np.array(rows))
    pixels = np.zeros((len(numbers), 1, 8, 8), np.uint8)

    def read(path: Path) -> None:
        config = DataConfig(str(path.parent), labels=str(path))
        table = read_labels(config, lambda: origins, path.parent)
        images = table.of(ImageSet(pixels, "x", origins=origins))
        for index in range(len(images)):
            assert images.label_text(index).isprintable()

    return read


def _about(path: Path) -> None:
    found = _read_about(path.parent)
    assert found is None or isinstance(found["n"], int)


def _checkpoints(arguments: list[str]) -> object:
    return open_session(with_stdin(arguments)).paths


def _volume_paths(arguments: list[str]) -> list[Path]:
    return list_paths([Path(text) for text in with_stdin(arguments, kind="volume")])


def _stdin(path: Path) -> None:
    for read in (_checkpoints, with_stdin, _volume_paths):
        # As the command line makes it: paths are bytes, of which not all are text.
        before, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(path.read_bytes()), "utf-8", "surrogateescape")
        try:
            read(["-"])
        except AekitError as error:
            raise AekitError(f"{path}: {error}") from error
        finally:
            sys.stdin = before


@functools.cache
def _png() -> bytes:
    from PIL import Image, PngImagePlugin

    info = PngImagePlugin.PngInfo()
    info.add_text("aekit", json.dumps({"command": "tsne", "options": {"seed": 0, "list": [1, 2]}}))
    file = io.BytesIO()
    Image.new("L", (9, 7), 3).save(file, "png", pnginfo=info)
    return file.getvalue()


def _text_target(name: str, file: str, text: str, separator: str, read, n_long: int, *more) -> Target:
    data = text.encode()
    damage = [raw(data), table_cells(data, separator), table_cells(data, separator), *more]
    return Target(name, file, [data], damage, read, n_long)


def _other_encodings(data: str):
    def damage(draw) -> bytes:
        from hypothesis import strategies as st

        return bent(
            draw,
            data.encode(draw(st.sampled_from(("utf-16", "utf-32", "cp1252", "utf-8-sig", "utf-16-be"))), "replace"),
        )

    return damage


def _json_target(name: str, file: str, value: object, read, n_long: int) -> Target:
    data = json.dumps(value).encode()
    return Target(name, file, [data], [raw(data), json_text(value), json_text(value)], read, n_long)


TARGETS = {
    "cohort": lambda: _text_target("cohort", "participants.tsv", COHORT, "\t", _cohort, 8000, _other_encodings(COHORT)),
    "sessions": lambda: _text_target(
        "sessions", "participants.tsv", SESSIONS, "\t", _sessions, 4000, _other_encodings(SESSIONS)
    ),
    "visits": lambda: _text_target("visits", "participants.csv", VISITS, ",", _visits, 4000, _other_encodings(VISITS)),
    "associated": lambda: _text_target("associated", "p.csv", ASSOCIATED, ",", _associated, 2000),
    "patients": lambda: _text_target("patients", "patients.tsv", PATIENTS, "\t", _patients, 2000),
    "dictionary": lambda: _json_target("dictionary", "participants.json", DICTIONARY, _dictionary, 4000),
    "compare": lambda: _text_target("compare", "ours.csv", TABLE, ",", _compare, 3000),
    "compare-with": lambda: _text_target("compare-with", "study.csv", STUDY, ",", _compare_with, 2000),
    "recipe": lambda: _text_target("recipe", "x.toml", BOTH, "=", read_recipe, 4000),
    "steps": lambda: _text_target("steps", RECORD, STEPS, ",", _steps, 3000),
    "report-csv": lambda: _text_target("report-csv", "x.csv", TABLE, ",", _report, 4000),
    "report-json": lambda: _json_target("report-json", "x.json", VALUES, _report, 4000),
    "report-png": lambda: Target("report-png", "x.png", [_png()], [raw(_png()), png_chunks(_png())], _report, 4000),
    "history": lambda: _text_target("history", "x.csv", HISTORY, ",", _history, 2000),
    "predictions": lambda: _text_target(
        "predictions",
        "x.predictions.csv",
        PREDICTIONS,
        ",",
        lambda path: _read_ages(path.with_name("x.safetensors")),
        2000,
    ),
    "labels": lambda: _text_target(
        "labels",
        "labels.csv",
        LABELS,
        ";",
        _labels(["img1.png", "img2.png", "img10.png"], [0, 1, 2], None),
        4000,
        _other_encodings(LABELS),
    ),
    "array-labels": lambda: _text_target(
        "array-labels", "labels.csv", ARRAY_LABELS, ",", _labels(["x.npz"], [0, 0, 0], [0, 1, 2]), 4000
    ),
    "codes": lambda: _text_target("codes", "codes.csv", CODES, ";", _codes, 4000, _other_encodings(CODES)),
    "codes-of-encode": lambda: _text_target("codes-of-encode", "codes.csv", CODES_OF_ENCODE, ",", _codes, 4000),
    "code-tensors": lambda: Target(
        "code-tensors",
        "codes.safetensors",
        [save(CODE_TENSORS, CODE_ORIGIN)],
        [raw(save(CODE_TENSORS, CODE_ORIGIN)), safetensors_header(save(CODE_TENSORS, CODE_ORIGIN))],
        _codes,
        4000,
    ),
    "phantom": lambda: _json_target("phantom", ABOUT, PHANTOM, _about, 3000),
    "stdin": lambda: Target(
        "stdin",
        "list",
        [],
        [
            raw(b"a.safetensors\nruns/b c.safetensors\n./a.safetensors\n"),
            lambda draw: b"a\n" + bent(draw, "\n".join(CELLS).encode(errors="surrogatepass")),
        ],
        _stdin,
        4000,
    ),
}


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_tables_are_read_or_refused_in_one_line(name, tmp_path):
    expect_clean(fuzz(TARGETS[name](), tmp_path, 20))


@pytest.mark.parametrize("name", TARGETS)
def test_tables_that_failed_once_do_not_fail_again(name, tmp_path):
    expect_clean(replay(TARGETS[name](), tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_more_damaged_tables_are_read_or_refused_in_one_line(name, tmp_path):
    expect_clean(fuzz(TARGETS[name](), tmp_path, 150))


@pytest.mark.faults
@pytest.mark.parametrize("name", TARGETS)
def test_thousands_of_damaged_tables_are_read_or_refused_in_one_line(name, tmp_path, record):
    target = TARGETS[name]()
    counts = fuzz(target, tmp_path, target.n_long, derandomize=False)
    record_counts(record, name, counts)
    expect_clean(counts)
