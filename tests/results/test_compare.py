"""A comparison from Python: its table, its files, and what it shows."""

from __future__ import annotations

from aekit.core.progress import Silent
from aekit.results.compare import run_compare


class Shown(Silent):
    """Progress that keeps the titles of the tables that it is told to show."""

    def __init__(self) -> None:
        self.titles: list[str] = []

    def table(self, title, columns, rows) -> None:
        self.titles.append(title)


def _compare(folder, progress, **options):
    (folder / "results.csv").write_text("beta,total,kl\n0.1,90,3\n0.1,92,5\n")
    (folder / "paper.csv").write_text("beta,total,kl\n0.10,90.0,\n")
    return run_compare(
        [folder / "results.csv"], folder / "paper.csv", "beta", folder / "x.csv", progress=progress, **options
    )


def test_the_result_has_a_row_per_key_and_measure(tmp_path):
    result = _compare(tmp_path, Shown(), label="paper")
    assert result.path == tmp_path / "x.csv"
    (row,) = result.values["rows"]
    assert (row["measure"], row["ours"], row["n"], row["study"], row["difference"]) == ("total", 91, 2, 90, 1)
    assert (tmp_path / "x.md").read_text().splitlines()[2] == "| 0.10 | 91.0 ± 1.4 | 90.0 | +1.0 |"


def test_a_table_that_is_too_wide_is_shown_by_measure(tmp_path):
    wide, narrow = Shown(), Shown()
    _compare(tmp_path, wide, label="paper")
    _compare(tmp_path, narrow, width=20)
    assert (wide.titles, narrow.titles) == (["ours and paper"], ["total"])
