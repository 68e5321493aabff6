import shutil

import numpy as np
import pandas as pd
import pytest

from aekit.brains.cohort.table import read_cohort
from aekit.brains.report.scans import check_scans, files_table, geometries, unmatched_table


@pytest.fixture
def cohort(participants, write_table, write_scan, tmp_path):
    """Return a cohort of ten with volumes, and the folder of their scans."""
    table = participants(10)
    (tmp_path / "scans").mkdir()
    for row, total in enumerate(table[["gmv", "wmv", "csfv"]].sum(axis=1)):
        write_scan(tmp_path / "scans" / f"sub-{row:03d}.nii.gz", total, seed=row)
    return read_cohort(write_table(table, tmp_path / "t.tsv"))


def check(cohort, folder, **options):
    options = {"everyone": cohort, **options}
    return check_scans(cohort, folder / "scans", table_path=folder / "t.tsv", pattern=None, **options)


@pytest.mark.slow
def test_files_are_checked_in_the_order_of_the_table(cohort, recorder, tmp_path):
    progress = recorder()
    scans = check(cohort, tmp_path, progress=progress)
    table = files_table(cohort, scans)
    assert table["file"].tolist() == [f"sub-{row:03d}.nii.gz" for row in range(10)]
    np.testing.assert_allclose(table["brain_to_table"], 1, atol=0.03)
    assert geometries(scans) == [("24 x 24 x 24", "8 x 8 x 8", "RAS", 10)]
    assert ("checking volumes", 10, 10) in progress.updates
    assert progress.notices == []


@pytest.mark.slow
def test_identical_scans_name_each_other(cohort, tmp_path):
    shutil.copy(tmp_path / "scans" / "sub-001.nii.gz", tmp_path / "scans" / "sub-002.nii.gz")
    assert check(cohort, tmp_path).same_as[:4] == ((), ("sub-002",), ("sub-001",), ())


@pytest.mark.slow
def test_a_file_of_someone_left_out_is_not_unmatched(cohort, tmp_path):
    (tmp_path / "scans" / "sub-009.nii.gz").unlink()
    scans = check_scans(
        cohort.subset(np.arange(1, 10)),
        tmp_path / "scans",
        everyone=cohort,
        table_path=tmp_path / "t.tsv",
        pattern=None,
    )
    assert unmatched_table(scans).values.tolist() == [["row without file", "sub-009"]]


def test_files_outside_the_folder_are_noticed(cohort, recorder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    shutil.move(tmp_path / "scans" / "sub-000.nii.gz", tmp_path / "elsewhere" / "sub-000.nii.gz")
    files = ["elsewhere/sub-000.nii.gz", *(f"sub-{row:03d}.nii.gz" for row in range(1, 10))]
    cohort.table["file"] = pd.Series(files, dtype=object)
    progress = recorder()
    scans = check(cohort, tmp_path, progress=progress)
    assert scans.relative_files()[:2] == [None, "sub-001.nii.gz"]
    [notice] = progress.notices
    assert notice.startswith("1 file outside of --volumes")


@pytest.mark.slow
@pytest.mark.parametrize(("column", "factor"), [("tiv", 1), ("eTIV", 1000), ("ICV_mm3", 1000), ("TIV (L)", 0.001)])
def test_an_intracranial_volume_stands_in_for_tissue_volumes_in_any_unit(
    participants, write_table, write_scan, tmp_path, column, factor
):
    table = participants(10)
    (tmp_path / "scans").mkdir()
    total = table[["gmv", "wmv", "csfv"]].sum(axis=1)
    for row, volume in enumerate(total):
        write_scan(tmp_path / "scans" / f"sub-{row:03d}.nii.gz", 1.3 * volume if row == 4 else volume, seed=row)
    table = table.drop(columns=["gmv", "wmv", "csfv"]).assign(**{column: total * factor})
    scans = check(read_cohort(write_table(table, tmp_path / "t.tsv")), tmp_path)
    np.testing.assert_allclose(scans.table_ml, total, rtol=1e-5)
    assert scans.table_columns == column
    assert (scans.space.space, scans.space.disagreeing) == ("native", [4])
    assert (
        files_table(read_cohort(tmp_path / "t.tsv"), scans)["space"].tolist()
        == ["native"] * 4 + ["disagrees"] + ["native"] * 5
    )
