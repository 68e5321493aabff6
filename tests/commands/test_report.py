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
from pathlib import Path

import pytest
from html_page import Page

from aekit.core.checkpoint import Header, read_header
from aekit.core.weights import write_checkpoint

NASTY = "<img src=x onerror=alert(1)>"


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


@pytest.mark.slow
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
    assert "1 .nii.gz, 1 .safetensors" in page.text
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


def test_what_cannot_be_a_report_is_refused_in_one_line(aekit, tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    for arguments, words in [
        ([tmp_path], "holds no checkpoint, figure or table"),
        ([tmp_path / "nowhere"], "does not exist"),
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
