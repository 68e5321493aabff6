"""``aekit report`` collects folders of results in one page that needs nothing else."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from aekit.core.checkpoint import Header, read_header
from aekit.core.weights import write_checkpoint

NASTY = "<img src=x onerror=alert(1)>"
VOID = {"meta", "link", "img", "input", "br"}


class Page(HTMLParser):
    """A page as a browser takes it: tags with their attributes, text, and tables with the cells that are shown."""

    def __init__(self, html):
        super().__init__()
        self.html, self.tags, self.text, self.open = html, [], "", []
        self.tables = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append({"caption": "", "rows": [], "titles": [], "class": dict(attrs).get("class")})
        elif tag == "tr":
            self.tables[-1]["rows"].append([])
            self.tables[-1]["titles"].append([])
        elif tag in ("td", "th"):
            self.tables[-1]["rows"][-1].append("")
            self.tables[-1]["titles"][-1].append(dict(attrs).get("title"))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.text += data
        if {"td", "th"} & set(self.open):
            self.tables[-1]["rows"][-1][-1] += data
        elif "caption" in self.open:
            self.tables[-1]["caption"] += data

    def table(self, caption):
        """Return the cells of the only table whose caption begins so."""
        (found,) = [table for table in self.tables if table["caption"].startswith(caption)]
        return found

    def attributes(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def folder(aekit, vae_checkpoint, ae_checkpoint, tmp_path_factory):
    """Return a folder with two runs, an evaluation, a codes file, a map of both, and things that are damaged."""
    folder = tmp_path_factory.mktemp("results") / "grid"
    (folder / "inner").mkdir(parents=True)
    for path in (*vae_checkpoint.parent.iterdir(), *ae_checkpoint.parent.iterdir()):
        if path.stem in ("vae", "ae"):
            shutil.copy(path, folder / path.name)
    vae, ae = folder / "vae.safetensors", folder / "ae.safetensors"
    assert aekit("evaluate", vae, "-q").exit_code == 0
    assert aekit("reconstruct", ae, "-q", "-o", folder / "inner" / "few.png").exit_code == 0
    assert aekit("encode", ae, "-q", "-o", folder / "inner" / "codes.safetensors").exit_code == 0
    (folder / f"{NASTY.replace('/', '')}.csv").write_text(f"{NASTY},n\n{NASTY},1\n")
    header = Header(**read_header(vae).configuration)
    write_checkpoint(folder / "late.resume.safetensors", {}, replace(header, state={"epoch": 1}))
    (folder / "inner" / "cut.png").write_bytes((folder / "vae.png").read_bytes()[:-500])
    (folder / "inner" / "cut.safetensors").write_bytes(vae.read_bytes()[:-8])
    (folder / "inner" / "empty.csv").write_text("")
    (folder / "inner" / "broken.json").write_text('{"a": ')
    (folder / "inner" / "map.html").write_text("<p>a page of its own")
    (folder / "inner" / "gone.csv").symlink_to("nowhere.csv")
    (folder / "inner" / "scan.nii.gz").write_bytes(b"")
    (folder / ".hidden.csv").write_text("a\n1\n")
    return folder


@pytest.fixture(scope="module")
def made(aekit, folder, tmp_path_factory):
    """Return the page of that folder, and what the command said."""
    result = aekit("report", folder, "-o", tmp_path_factory.mktemp("page") / "x.html", "--json")
    assert result.exit_code == 0, result.stderr
    return Page(Path(json.loads(result.stdout)["path"]).read_text(encoding="utf-8")), result


def test_the_runs_are_compared_with_the_results_that_they_reached(made, folder):
    page, _ = made
    columns, *rows = page.table("Autoencoders")["rows"]
    assert [row[0] for row in rows] == ["ae", "vae"]
    for row in rows:
        run = dict(zip(columns, row, strict=True))
        result = read_header(folder / f"{run['run']}.safetensors").result
        assert float(run["test total"]) == pytest.approx(result["test"]["total"], rel=5e-4)
        assert float(run["test mse"]) == pytest.approx(result["test"]["mse"], rel=5e-4)
    of = {row[0]: dict(zip(columns, row, strict=True)) for row in rows}
    assert (of["ae"]["latent"], of["vae"]["latent"]) == ("3", "2")
    assert (of["ae"]["val total"], of["ae"]["test kl"]) == ("", "")
    last = read_header(folder / "vae.safetensors").result["history"][-2]
    assert last["split"] == "val"
    assert float(of["vae"]["val total"]) == pytest.approx(last["total"], rel=5e-4)


def test_only_options_that_differ_are_columns_and_the_others_follow_below(made):
    page, _ = made
    columns = page.table("Autoencoders")["rows"][0]
    assert "val" in columns
    assert not {"epochs", "seed", "schedule", "beta"} & set(columns)
    shared = next(table for table in page.tables if table["rows"][0] == ["option", "value"])
    assert ["epochs", "3"] in shared["rows"]
    assert not {row[0] for row in shared["rows"]} & set(columns)


def test_the_command_of_a_run_trains_it_again_to_the_byte(made, aekit, folder, tmp_path):
    page, _ = made
    command = re.search(r"aekit (train-vae .*) -o vae\.safetensors", page.text)[1]
    again = tmp_path / "again.safetensors"
    assert aekit(*shlex.split(command), "-o", again, "-q").exit_code == 0
    assert again.read_bytes() == (folder / "vae.safetensors").read_bytes()


def test_every_figure_is_in_the_page_whole_with_the_parameters_that_made_it(made, folder):
    page, _ = made
    images = [b64decode(attrs["src"].partition(",")[2]) for attrs in page.attributes("img")]
    files = [path.read_bytes() for path in folder.rglob("*.png") if path.stem != "cut"]
    assert len(files) == 4
    assert sorted(images) == sorted(files)
    assert sum("parameter" in table["rows"][0] for table in page.tables) == len(files) + 1  # and the .json
    assert [attrs["alt"] for attrs in page.attributes("img") if attrs.get("class") == "pixels"] == [
        "few.png, by aekit reconstruct"
    ]


def test_tables_and_evaluations_are_shown_with_all_digits_at_hand(made, folder):
    page, _ = made
    history = page.table("vae.csv")
    text = (folder / "vae.csv").read_text().splitlines()
    assert history["class"] == "sortable"
    assert history["rows"][0] == text[0].split(",")
    shown, titles, true = history["rows"][1], history["titles"][1], text[1].split(",")
    total = text[0].split(",").index("total")
    assert titles[total] == str(float(true[total]))
    assert shown[total] == f"{float(true[total]):.4g}"
    values = {row[0]: row[1:] for row in page.table("vae.evaluate.json")["rows"]}
    said = json.loads((folder / "vae.evaluate.json").read_text())
    assert values["mse"] == [f"{said['mse']:.4g}", f"{said['mse_error']:.4g}"]
    assert "total_error" not in values


def test_damaged_unfinished_and_other_files_are_named(made):
    page, result = made
    counts = json.loads(result.stdout)
    for name in ("inner/cut.png: is cut short", "inner/cut.safetensors: is cut short", "inner/empty.csv: is empty"):
        assert name in page.text
        assert name in result.stderr
    assert "inner/broken.json: is not JSON, or is damaged" in page.text
    assert "inner/gone.csv: is not a file that can be read" in page.text
    assert "late.resume.safetensors: unfinished (vae conv, latent 2, beta 1: digits), 1 of 3 epochs done" in page.text
    assert "inner/map.html" in page.text
    assert "1 .gz, 1 .safetensors" in page.text
    assert ".hidden" not in page.text
    assert counts == counts | {"runs": 2, "unfinished": 1, "figures": 4, "unreadable": 5, "figures_left_out": 0}


def test_whatever_files_and_cells_are_called_it_is_shown_and_never_run(made):
    page, _ = made
    assert page.text.count(NASTY) == 5  # contents, heading, caption, column, cell
    assert all("onerror" not in attrs for _, attrs in page.tags)
    assert all(attrs["src"].startswith("data:image/png;base64,") for attrs in page.attributes("img"))
    assert len(page.attributes("script")) == 1


def test_the_page_is_forbidden_to_ask_for_anything(made):
    page, _ = made
    policy = next(a["content"] for a in page.attributes("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    assert "://" not in page.html
    assert all(attrs["href"].startswith(("#", "data:")) for tag, attrs in page.tags if "href" in attrs)


def test_every_link_of_the_page_leads_somewhere(made):
    page, _ = made
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(set(ids)) == len(ids)
    links = [attrs["href"][1:] for attrs in page.attributes("a")]
    assert len(links) > 8
    assert set(links) <= set(ids)


def test_the_same_folder_gives_the_same_bytes_and_the_page_is_not_part_of_itself(aekit, folder, tmp_path):
    copy = tmp_path / "grid"
    shutil.copytree(folder, copy, symlinks=True)
    first = aekit("report", copy, "-q")
    assert first.paths == [copy / "report.html"]
    assert first.stderr == ""
    page = (copy / "report.html").read_bytes()
    assert aekit("report", copy, "-q").exit_code == 0
    assert (copy / "report.html").read_bytes() == page
    assert str(tmp_path).encode() not in page


def test_long_and_wide_tables_and_too_many_figures_are_cut_with_a_note(aekit, folder, tmp_path):
    (tmp_path / "long.csv").write_text("a,b\n" + "".join(f"{n},{n / 7}\n" for n in range(500)))
    (tmp_path / "wide.csv").write_text(",".join(map(str, range(100))) + "\n" + ",".join(["1"] * 100) + "\n")
    shutil.copy(folder / "vae.png", tmp_path / "a.png")
    shutil.copy(folder / "vae.png", tmp_path / "b.png")
    size = (tmp_path / "a.png").stat().st_size
    result = aekit("report", tmp_path, "--max-rows", 50, "--max-mb", 1.5 * size / 1e6, "--title", "A & B", "--json")
    page = Page((tmp_path / "report.html").read_text())
    assert len(page.table("long.csv: the first 50 of 500 rows")["rows"]) == 51
    assert len(page.table("wide.csv: 1 row, the first 60 of 100 columns")["rows"][0]) == 60
    assert len(page.attributes("img")) == 1
    assert "1 of 2 figures are left out" in page.text
    assert "b.png is left out because of its size" in page.text
    assert json.loads(result.stdout)["figures_left_out"] == 1
    assert page.text.count("A & B") == 2


def test_several_folders_are_named_apart_and_nothing_is_shown_twice(aekit, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.csv").write_text(f"{name}\n1\n")
    result = aekit("report", tmp_path / "one", tmp_path / "two", tmp_path / "two", "-o", tmp_path / "out" / "x.html")
    assert result.paths == [tmp_path / "out" / "x.html"]
    page = Page(result.paths[0].read_text())
    assert [table["rows"][0] for table in page.tables] == [["one"], ["two"]]
    assert page.text.count("one, two") == 2


def test_brain_age_models_are_compared_by_their_errors_on_held_out_participants(aekit, tmp_path):
    rows = [
        {"model": model, "target": target, "split": split, "n": 9, "mae": mae, "r2": None}
        for model, target, split, mae in [
            ("chain", "age_years", "test", 5.25),
            ("chain", "age_years", "train", 1.0),
            ("mean", "age_years", "test", 9.5),
            ("volumes", "gmv_ml", "test", 7.125),
        ]
    ]
    for arch in ("base", "deep"):
        header = Header(model={"kind": "brain", "arch": arch}, data={"name": "people.tsv", "people": 44}, train={})
        write_checkpoint(
            tmp_path / f"{arch}.safetensors", {}, replace(header, result={"judged": "test", "metrics": rows})
        )
    assert aekit("report", tmp_path, "-q").exit_code == 0
    page = Page((tmp_path / "report.html").read_text())
    columns, first, second = page.table("Brain age models")["rows"]
    run = dict(zip(columns, first, strict=True))
    assert (run["age MAE: by volumes"], run["age MAE: mean age"], run["gmv MAE, mL"]) == ("5.25", "9.5", "7.125")
    assert [row[columns.index("arch")] for row in (first, second)] == ["base", "deep"]
    assert "brain base: people.tsv, 44 participants" in page.text


def test_what_cannot_be_a_report_is_refused_in_one_line(aekit, tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    for arguments, words in [
        ([tmp_path], "holds no checkpoint, figure or table"),
        ([tmp_path / "nowhere"], "is not there"),
        ([tmp_path / "notes.txt"], "is not a folder"),
        ([tmp_path, "-o", tmp_path / "x.pdf"], "end it in .html"),
        ([tmp_path, "--max-mb", "inf"], "--max-mb: inf is not a number"),
    ]:
        result = aekit("report", *arguments)
        assert result.exit_code == 1
        assert words in result.stderr
        assert result.stdout == ""
    assert not list(tmp_path.glob("*.html"))


def test_a_report_loads_nothing_heavy(folder, tmp_path):
    script = (
        "import sys; from aekit.cli import app\n"
        f"try: app(['report', {str(folder)!r}, '-q', '-o', {str(tmp_path / 'x.html')!r}])\n"
        "except SystemExit as error: assert not error.code\n"
        "print('|'.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not set(done.stdout.splitlines()[-1].split("|")) & {"torch", "numpy", "pandas", "matplotlib", "PIL"}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="asks a browser")
def test_a_click_on_a_heading_sorts_numbers_as_numbers_and_puts_what_is_empty_last(aekit, tmp_path):
    (tmp_path / "x.csv").write_text("n,word\n10,b\n9,a10\n,c\n100.5,a9\n-2e3,\n")
    assert aekit("report", tmp_path, "-q", "-o", tmp_path / "x.html").exit_code == 0
    # The page's own policy forbids foreign scripts, as it should, so a copy goes without it.
    page = re.sub('<meta http-equiv="Content-Security-Policy"[^>]*>', "", (tmp_path / "x.html").read_text())
    click = """<script>
      const table = document.querySelector("table"), log = [];
      for (const column of [0, 0, 1]) {
        table.tHead.rows[0].cells[column].querySelector("button").click();
        const cells = Array.from(table.tBodies[0].rows, row => row.cells[column].textContent);
        log.push(table.querySelector("[aria-sort]").getAttribute("aria-sort") + " " + cells.join(" "));
      }
      document.title = log.join("; ");
    </script>"""
    (tmp_path / "copy.html").write_text(page.replace("</body>", click + "</body>"))
    chromium = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    done = subprocess.run([*chromium, (tmp_path / "copy.html").as_uri()], capture_output=True, text=True, check=True)
    told = re.search(r"<title>(.*)</title>", done.stdout)[1].split("; ")
    assert told == ["ascending -2000 9 10 100.5 ", "descending 100.5 10 9 -2000 ", "ascending a9 a10 b c "]
