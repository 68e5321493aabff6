"""``aekit compare`` compares results with those of a study, and refuses tables that cannot be compared."""

from __future__ import annotations

import json

import pandas as pd
import pytest

OURS = """model,beta,latent,seed,total,kl,note
vae,0.1,10,0,90.25,20,x
vae,0.1,10,1,91.75,21,x
vae,0.1,20,0,85,25,x
vae,1,10,0,104.5,18,x
ae,,10,0,70,,x
"""
STUDY = """beta,latent,total,kl,source
0.10,10,92.5,20.0,Tab. 1
1.0,10,103.25,,Tab. 1
5,10,130.5,10.0,Tab. 2
"""


@pytest.fixture
def tables(tmp_path):
    (tmp_path / "results.csv").write_text(OURS)
    (tmp_path / "paper.csv").write_text(STUDY)
    return tmp_path


def _compare(aekit, folder, *options, by="beta,latent"):
    return aekit("compare", folder / "results.csv", "--with", folder / "paper.csv", "--by", by, *options)


def test_it_writes_a_table_for_machines_and_one_for_reading(aekit, tables):
    result = _compare(aekit, tables, "-o", tables / "x.csv", "--label", "paper")
    assert result.exit_code == 0, result.stderr
    assert result.paths == [tables / "x.csv"]
    rows = pd.read_csv(tables / "x.csv", dtype={"beta": str}).set_index(["beta", "measure"])
    assert list(rows.columns) == ["latent", "ours", "sd", "n", "study", "difference", "ratio"]
    assert rows.loc[("0.10", "total"), ["ours", "n", "study", "difference"]].tolist() == [91, 2, 92.5, -1.5]
    assert rows.loc[("0.10", "total"), "sd"] == pytest.approx(1.5 / 2**0.5)
    assert rows.loc[("5", "kl"), "n"] == 0
    lines = (tables / "x.md").read_text().splitlines()
    assert lines[0].split(" | ")[2:5] == ["total ours", "total paper", "total difference"]
    assert lines[2] == "| 0.10 | 10 | 91.00 ± 1.06 | 92.5 | \u22121.50 | 20.5 ± 0.7 | 20.0 | +0.5 |"
    assert lines[4] == "| 5 | 10 |  | 130.5 |  |  | 10.0 |  |"
    assert "results.csv" in lines[-1]
    assert "paper: paper.csv" in lines[-1]
    assert "91.00 ± 1.06" in result.stderr
    assert "1 of 3 reference rows has no match in our tables, the first with beta=5, latent=10" in result.stderr


def test_json_has_the_values_and_null_where_there_is_none(aekit, tables):
    result = _compare(aekit, tables, "-o", tables / "x.csv", "--json", "-q")
    rows = json.loads(result.stdout)["rows"]
    assert [(row["measure"], row["ours"], row["sd"]) for row in rows][2:] == [
        ("total", 104.5, None),
        ("total", None, None),
        ("kl", None, None),
    ]
    assert "NaN" not in result.stdout


def test_rows_are_chosen_by_value_of_a_column(aekit, tables):
    result = _compare(aekit, tables, "--where", "seed=0.0", "--where", "model=vae", "-o", tables / "x.csv")
    assert pd.read_csv(tables / "x.csv")["n"].max() == 1
    assert "where seed=0.0, model=vae" in (tables / "x.md").read_text()
    assert result.exit_code == 0
    _compare(aekit, tables, "--where", "seed=0", "--where", "seed=1", "-o", tables / "x.csv")
    assert pd.read_csv(tables / "x.csv")["n"].max() == 2  # of one column either value


def test_several_tables_are_distinguished_by_the_name_of_their_file(aekit, tmp_path):
    for name, total in (("b1", 104), ("b5", 130)):
        (tmp_path / f"{name}.csv").write_text(f"epoch,split,total\n1,test,{total}\n2,test,{total - 1}\n")
    (tmp_path / "paper.csv").write_text("file,epoch,total\nb1,2,103.5\nb5,2,128.5\n")
    stdin = f"{tmp_path / 'b1.csv'}\n{tmp_path / 'b5.csv'}\n"
    result = aekit("compare", "-", "--with", tmp_path / "paper.csv", "--by", "file,epoch", "-o", tmp_path, stdin=stdin)
    assert result.exit_code == 0, result.stderr
    assert result.paths == [tmp_path / "comparison.csv"]
    assert pd.read_csv(result.paths[0])["difference"].tolist() == [-0.5, 0.5]


def test_averages_over_other_settings_are_reported(aekit, tables):
    (tables / "paper.csv").write_text("beta,total\n0.1,92.5\n")
    result = _compare(aekit, tables, "-o", tables / "x.csv", by="beta")
    assert "averages over rows that differ in latent" in result.stderr
    assert "seed" not in result.stderr


def test_measures_that_ours_lacks_are_reported_and_text_is_not(aekit, tables):
    (tables / "paper.csv").write_text("beta,latent,total,totl,source\n0.1,10,92.5,3,Tab. 1\n")
    result = _compare(aekit, tables, "-o", tables / "x.csv")
    assert "totl is left out, our tables have no such column; did you mean 'total'?" in result.stderr
    assert "source" not in result.stderr


@pytest.mark.parametrize(
    ("study", "options", "words"),
    [
        ("beta,latnt,total\n1,10,3\n", [], ["--by latent", "paper.csv has no such column", "did you mean 'latnt'"]),
        ("beta,latent,loss\n1,10,3\n", [], ["has no column of numbers in common", "total"]),
        ("beta,latent,note,ota\n1,10,x,3\n", [], ["name its columns as they do: total, "]),
        ("", [], ["paper.csv: is empty"]),
        ("beta,latent,total\n", [], ["paper.csv: holds no table"]),
        ('{"beta": 1}\n', [], ["paper.csv: is not a CSV file"]),
        ("beta,latent,total\n1,10\n", [], ["line 2 has 2 fields, the header has 3"]),
        ("beta,latent,total\n1,10,3\n1.0,10,4\n", [], ["two rows have beta=1.0, latent=10"]),
        ("beta,latent,total\n1,99,3\n", [], ["--by latent", "it is 99", "here 10, 20"]),
        ("beta,latent,total\n1,20,3\n", [], ["none of our rows has a key", "beta=1, latent=20"]),
        ("beta,latent,total\n1,10,97 %\n", [], ["total is '97 %' where beta=1, latent=10"]),
        ("beta,latent,note\n1,10,3\n", [], ["note is 'x', not a number"]),
        ("beta,latent,total,total\n1,10,3,4\n", [], ["two columns named 'total'"]),
        (STUDY, ["--where", "seed"], ["--where seed: has no ="]),
        (STUDY, ["--where", "sed=0"], ["--where sed=0", "did you mean 'seed'"]),
        (STUDY, ["--where", "seed=7"], ["--where seed=7: no row has it; the values are 0, 1"]),
        (STUDY, ["-o", "{}/x.png"], ["--output", ".png"]),
        (STUDY, ["-o", "{}/paper.csv"], ["--output", "one of the tables"]),
        (STUDY, ["--by", "measure"], ["--by measure: is a column of the result"]),
        (STUDY, ["--by", ","], ["--by: names no column"]),
    ],
)
def test_what_cannot_be_compared_is_one_line(aekit, tables, study, options, words):
    (tables / "paper.csv").write_text(study)
    before = sorted(tables.iterdir())
    output = [] if "-o" in options else ["-o", tables / "x.csv"]
    result = _compare(aekit, tables, *output, *(option.format(tables) for option in options))
    assert result.exit_code == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1, result.stderr
    for word in words:
        assert word in result.stderr
    assert sorted(tables.iterdir()) == before
    assert (tables / "paper.csv").read_text() == study


def test_files_that_are_not_tables_are_named(aekit, tables, vae_checkpoint):
    def said(path):
        result = aekit("compare", path, "--with", tables / "paper.csv", "--by", "beta", "-o", tables / "x.csv")
        assert result.exit_code == 1
        return result.stderr

    assert "is a checkpoint, not a table; vae.csv is its history" in said(vae_checkpoint)
    (tables / "noise.csv").write_bytes(bytes(range(256)))
    assert "noise.csv: is not a CSV file" in said(tables / "noise.csv")
    assert "nowhere.csv: cannot be read" in said(tables / "nowhere.csv")
    assert "is a folder" in said(tables)
    result = aekit("compare", "-", "--with", tables / "paper.csv", "--by", "beta", stdin="")
    assert "no path came on stdin" in result.stderr


def test_the_history_of_a_checkpoint_is_compared_and_never_replaced(aekit, vae_checkpoint, tmp_path):
    history = vae_checkpoint.with_suffix(".csv")
    last = pd.read_csv(history).query("split == 'test'").iloc[-1]
    (tmp_path / "paper.csv").write_text(f"epoch,mse\n{int(last['epoch'])},0.05\n")
    command = ["compare", history, "--with", tmp_path / "paper.csv", "--by", "epoch", "--where", "split=test"]
    assert aekit(*command, "-q", "-o", tmp_path / "x.csv").exit_code == 0
    assert pd.read_csv(tmp_path / "x.csv")["ours"][0] == pytest.approx(last["mse"])
    other = tmp_path / "other.csv"
    other.write_text(history.read_text())
    result = aekit("compare", other, *command[2:], "-o", history)
    assert "is the history of a checkpoint" in result.stderr


@pytest.mark.parametrize("options", [["-o", "x.tex"], ["-o", "x.tex", "--format", "tex"]])
def test_the_table_is_written_for_latex_too_and_its_path_is_printed(aekit, tables, monkeypatch, options):
    monkeypatch.chdir(tables)
    result = _compare(aekit, tables, *options, "--label", "p_1 & co")
    assert result.stdout == "x.tex\n"
    assert {"x.csv", "x.md", "x.tex"} <= {path.name for path in tables.iterdir()}
    text = (tables / "x.tex").read_text()
    assert r"\multicolumn{1}{r}{p\_1 \& co}" in text
    # Too wide for a page: the second measure is in a table of its own, with the keys repeated.
    first, second = (part.splitlines()[0] for part in text.split("\\midrule\n")[1:])
    assert first == r"0.10 & 10 & 91.00 & ${}\pm 1.06$ & 92.5\phantom{0} & $-$1.50 \\"
    assert second.startswith(r"0.10 & 10 & 20.5 & ${}\pm 0.7$ & 20.0")
    assert r"% ours: results.csv" in text


def test_formats_that_contradict_each_other_are_refused(aekit, tables):
    result = _compare(aekit, tables, "-o", tables / "x.csv", "--format", "tex")
    assert result.exit_code == 2
    assert "--format tex: --output" in result.stderr
    assert not (tables / "x.csv").exists()
    paper = (tables / "paper.csv").read_bytes()
    for suffix in ("csv", "md", "tex"):
        result = _compare(aekit, tables, "-o", tables / f"paper.{suffix}")
        assert "is one of the tables that are compared" in result.stderr
    assert (tables / "paper.csv").read_bytes() == paper


def test_a_format_in_a_folder_names_the_file(aekit, tables):
    assert _compare(aekit, tables, "-o", tables / "out", "--format", "md").paths == [tables / "out" / "comparison.md"]
