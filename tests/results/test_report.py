"""A report from Python: where it goes, what it counts, and what it names."""

from __future__ import annotations

import pytest
from html_page import Page
from recorded import Recorded

from aekit.core.artifacts import write_png
from aekit.errors import AekitError
from aekit.plotting.style import build_figure
from aekit.results.report import run_report


@pytest.fixture
def folders(tmp_path):
    """Return two folders of one table each, side by side."""
    for name in ("one", "two"):
        (tmp_path / "grid" / name).mkdir(parents=True)
        (tmp_path / "grid" / name / "x.csv").write_text("a\n1\n")
    return [tmp_path / "grid" / "one", tmp_path / "grid" / "two"]


@pytest.mark.parametrize(
    ("n", "output", "expected"),
    [
        (1, None, "grid/one/report.html"),
        (2, None, "grid/report.html"),  # the folder that both are in
        (1, "new", "new/report.html"),
        (1, "x.v2.HTM", "x.v2.HTM"),
    ],
)
def test_the_page_goes_where_it_was_asked_for_or_into_the_folder_that_all_share(folders, tmp_path, n, output, expected):
    result = run_report(folders[:n], None if output is None else tmp_path / output)
    assert result.path.resolve() == tmp_path / expected
    assert result.path.is_file()


def test_a_folder_with_a_dot_in_its_name_is_a_folder(folders, tmp_path):
    (tmp_path / "v1.0").mkdir()
    assert run_report(folders, tmp_path / "v1.0").path == tmp_path / "v1.0" / "report.html"


def test_a_path_is_as_relative_as_the_folders_that_were_given(folders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(run_report([folders[0].relative_to(tmp_path)]).path) == "grid/one/report.html"
    assert str(run_report(folders).path) == "grid/report.html"


def test_what_is_found_is_counted_and_what_cannot_be_read_is_named(folders, tmp_path):
    (folders[0] / "values.json").write_text('{"mse": 1}')
    (folders[0] / "empty.csv").write_text("")
    write_png(folders[0] / "x.png", build_figure(1, 1), {})
    progress = Recorded()
    result = run_report(folders[:1], tmp_path / "x.html", progress=progress)
    assert result.values == {
        "runs": 0, "unfinished": 0, "figures": 1, "figures_left_out": 0, "tables": 2, "unreadable": 1,
    }  # fmt: skip
    assert progress.notices == [
        "empty.csv: is empty; named in the report",
        "figures 1, tables 2, unreadable 1",
    ]


def test_a_report_of_nothing_leaves_no_page(tmp_path):
    with pytest.raises(AekitError, match="holds no checkpoint, figure or table"):
        run_report([tmp_path], tmp_path / "new" / "x.html")
    assert list(tmp_path.iterdir()) == []


def test_long_and_wide_tables_and_too_many_figures_are_cut_with_a_note(tmp_path):
    (tmp_path / "long.csv").write_text("a,b\n" + "".join(f"{n},{n / 7}\n" for n in range(500)))
    (tmp_path / "wide.csv").write_text(",".join(map(str, range(100))) + "\n" + ",".join(["1"] * 100) + "\n")
    for name in ("a.png", "b.png"):
        write_png(tmp_path / name, build_figure(1, 1), {})
    size = (tmp_path / "a.png").stat().st_size
    result = run_report([tmp_path], title="A & B", max_rows=50, max_mb=1.5 * size / 1e6)
    page = Page((tmp_path / "report.html").read_text())
    assert len(page.table("long.csv: the first 50 of 500 rows")["rows"]) == 51
    assert len(page.table("wide.csv: 1 row, the first 60 of 100 columns")["rows"][0]) == 60
    assert len(page.attributes("img")) == 1
    assert "1 of 2 figures are left out" in page.text
    assert "b.png is left out because of its size" in page.text
    assert result.values["figures_left_out"] == 1
    assert page.text.count("A & B") == 2


def test_several_folders_are_named_apart_and_nothing_is_shown_twice(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.csv").write_text(f"{name}\n1\n")
    folders = [tmp_path / "one", tmp_path / "two", tmp_path / "two"]
    result = run_report(folders, tmp_path / "out" / "x.html")
    assert result.path == tmp_path / "out" / "x.html"
    page = Page(result.path.read_text())
    assert [table["rows"][0] for table in page.tables] == [["one"], ["two"]]
    assert page.text.count("one, two") == 2
