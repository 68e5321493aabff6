"""What studies found, at the top of a report: which tables are recognised, and what is shown of them."""

from __future__ import annotations

from aekit.results.files import TableFile
from aekit.results.studies import N_ROWS, studies_section


def _table(text: str) -> TableFile:
    columns, *rows = [line.split(",") for line in text.split()]
    return TableFile(columns, [[cell or None for cell in row] for row in rows], len(rows), len(columns))


OUTLIERS = "checkpoint,score,trivial,auroc,auroc_low,auroc_high,average_precision\nvae,elbo,False,0.45432,0.44,0.46,0.5"
DIFFERENCES = "first,second,measure,n,difference,low,high,larger\na,b,mse,50,-1.5,-2,-1,0.25"
ALIKE = "first,second,cka,cka_low,cka_high,procrustes,procrustes_low,procrustes_high\na,b,0.9,0.8,0.95,0.1,,"


def test_values_stand_with_their_intervals_and_missing_ones_without():
    (table,) = studies_section({"x.outliers-scores.csv": _table(OUTLIERS)}).blocks
    assert list(table.columns) == ["checkpoint", "score", "trivial", "auroc", "average_precision"]
    assert [list(row) for row in table.rows] == [["vae", "elbo", "False", "0.454 [0.44, 0.46]", 0.5]]
    assert "x.outliers-scores.csv: 1 row" in table.caption
    (table,) = studies_section({"y.csv": _table(ALIKE)}).blocks
    assert [list(row) for row in table.rows] == [["a", "b", "0.9 [0.8, 0.95]", 0.1]]


def test_an_interval_without_a_name_is_that_of_the_difference_alone():
    (table,) = studies_section({"evaluate-differences.csv": _table(DIFFERENCES)}).blocks
    assert [list(row) for row in table.rows] == [["a", "b", "mse", "-1.5 [-2, -1]", 0.25]]


def test_other_tables_make_no_section_and_studies_keep_their_order():
    assert (
        studies_section(
            {"x.csv": _table("epoch,split,total\n1,test,3.5"), "y.csv": _table(OUTLIERS.replace("auroc_low", "x"))}
        )
        is None
    )
    found = studies_section({"a.csv": _table(DIFFERENCES), "b.csv": _table(OUTLIERS)})
    assert [block.caption.partition(". ")[2] for block in found.blocks] == ["b.csv: 1 row", "a.csv: 1 row"]


def test_long_tables_are_cut_and_say_so():
    rows = OUTLIERS.split("\n")
    (table,) = studies_section({"x.csv": _table("\n".join([rows[0], *[rows[1]] * 100]))}).blocks
    assert len(table.rows) == N_ROWS
    assert f"the first {N_ROWS} of 100 rows" in table.caption
