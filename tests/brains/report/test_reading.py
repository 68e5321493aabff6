import pandas as pd
import pytest

from aekit.brains.report.reading import read_input
from aekit.errors import AekitError


def test_one_participant_is_too_few_for_a_report(participants, write_table, tmp_path):
    table = participants(3)
    qc = pd.DataFrame({"participant_id": table["participant_id"], "qc": [0, 0, 1]})
    path, checks = write_table(table, tmp_path / "t.tsv"), write_table(qc, tmp_path / "qc.tsv")
    with pytest.raises(AekitError, match="1 participant is left of 3, too few for a report"):
        read_input(path, qc=checks, group=None, skip_bad=False)


def test_everyone_stays_known_after_the_quality_check(participants, write_table, tmp_path):
    table = participants(5)
    qc = pd.DataFrame({"participant_id": table["participant_id"], "qc": [0, 1, 1, 1, 1]})
    source = read_input(
        write_table(table, tmp_path / "t.tsv"), qc=write_table(qc, tmp_path / "qc.tsv"), group="site", skip_bad=False
    )
    assert (len(source.everyone), len(source.cohort), source.group) == (5, 4, "site")
    assert source.left_out["reason"].tolist() == ["failed the quality check of qc.tsv"]


def test_a_group_that_is_not_a_column_is_answered_with_the_columns(participants, write_table, tmp_path):
    path = write_table(participants(12), tmp_path / "t.tsv")
    with pytest.raises(AekitError, match=r"--group: t.tsv has no column sites \(it has participant_id, age, sex, site"):
        read_input(path, qc=None, group="sites", skip_bad=False)
