import numpy as np
import pytest

from aekit.brains.cohort.table import read_cohort
from aekit.brains.report.analysis import add_columns, analyse_cohort
from aekit.errors import AekitError


@pytest.fixture
def analyse(write_table, tmp_path):
    """Return a function that analyses a table with everyone in train."""

    def run(table):
        cohort = read_cohort(write_table(table, tmp_path / "t.tsv"))
        return analyse_cohort(cohort, np.full(len(cohort), "train", dtype=object))

    return run


def test_without_a_third_tissue_there_are_volumes_but_no_proportions(analyse, participants):
    analysis = analyse(participants(30).drop(columns="csfv"))
    assert analysis.measures["volumes"].keys == ("gmv", "wmv")
    assert set(analysis.measures) == {"volumes"}
    assert analysis.comparisons == ()


def test_too_few_participants_have_no_outliers_and_a_reason(analyse, participants):
    analysis = analyse(participants(12))
    assert analysis.outliers is None
    assert "12 participants" in analysis.why_no_outliers


def test_files_that_are_known_replace_those_of_the_table(analyse, participants):
    table = participants(3)
    table["file"] = ["a.nii", "b.nii", "c.nii"]
    analysis = analyse(table)
    assert add_columns(analysis, ["x.nii", None, None])["file"].tolist() == ["x.nii", "b.nii", "c.nii"]
    assert add_columns(analysis, None)["file"].tolist() == ["a.nii", "b.nii", "c.nii"]


def test_a_table_without_ages_is_refused(analyse, participants):
    table = participants(12)
    table["age"] = np.nan
    with pytest.raises(AekitError, match=r"t.tsv: no participant has an age; fill in the column age"):
        analyse(table)
