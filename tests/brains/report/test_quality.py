import pandas as pd
import pytest

from aekit.brains.cohort.table import read_cohort
from aekit.brains.report.quality import apply_quality_table
from aekit.errors import AekitError


@pytest.fixture
def apply(participants, write_table, tmp_path):
    """Return a function that applies a quality table to twelve participants."""
    cohort = read_cohort(write_table(participants(12), tmp_path / "t.tsv"))
    return lambda table: apply_quality_table(cohort, write_table(table, tmp_path / "qc.tsv"))


def test_a_verdict_is_read_in_its_usual_spellings(apply):
    verdicts = ["1", "pass", "TRUE", "yes", "ok", "0", "Fail", "false", "no", "n/a"]
    ids = [f"sub-{number:03d}" for number in range(len(verdicts))]
    checked = apply(pd.DataFrame({"participant_id": ids, "qc": verdicts}))
    assert checked.rejected["participant_id"].tolist() == ids[5:9]
    assert len(checked.kept) == 8
    assert "3 participants without a verdict in qc.tsv kept." in checked.notes


def test_ids_match_with_and_without_sub(apply):
    checked = apply(pd.DataFrame({"participant_id": ["001", "sub-002", "x"], "qc": [0, 0, 1]}))
    assert checked.rejected["participant_id"].tolist() == ["sub-001", "sub-002"]
    assert "1 participant of qc.tsv not in t.tsv." in checked.notes


def test_quality_measures_are_those_of_the_participants_kept(apply):
    table = pd.DataFrame({"participant_id": [f"sub-{i:03d}" for i in range(12)], "qc": 1, "snr": range(12), "by": "x"})
    table.loc[11, "qc"] = 0
    [measure] = apply(table).measures
    assert (measure.name, measure.n, measure.mean) == ("snr", 11, 5.0)


def test_everyone_with_an_unknown_verdict_is_named(apply):
    with pytest.raises(AekitError, match=r"column qc is neither 1 nor 0 for sub-001 \(maybe\)"):
        apply(pd.DataFrame({"participant_id": ["sub-001", "sub-002"], "qc": ["maybe", "1"]}))


def test_a_quality_table_of_another_cohort_is_refused(apply):
    with pytest.raises(AekitError, match=r"none of its ids \(such as x1\) is in t.tsv \(such as sub-000\)"):
        apply(pd.DataFrame({"participant_id": ["x1"], "qc": [1]}))
