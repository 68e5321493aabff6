"""Names and texts from outside: escaped on terminals, shown and never run in pages, as paths not followed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.torch import load_file

from aekit.core.checkpoint import read_header
from aekit.core.weights import write_checkpoint
from aekit.errors import AekitError
from aekit.images.tsne.figure import EmbeddingPanel
from aekit.images.tsne.page import build_page

CONTROL = "\x1b]0;pwned\x07\x1b[31m\u202e\x9b"
SCRIPT = "<script>document.title='ran'</script>"
TEXTS = (
    SCRIPT,
    f"</script>{SCRIPT}",
    "\"'><img src=x onerror=document.title='ran'>",
    "<!--",
    "]]>",
    "&lt;b&gt;",
    "{{1}}",
)
CLASSES = ("<img src=x onerror=document.title='ran'>", "\"'><svg onload=document.title='ran'>")  # without a slash


class Page(HTMLParser):
    """What a browser would see of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.bad: list[str] = []
        self.text = ""
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        is_data = tag == "script" and dict(attrs).get("type") == "application/json"
        self._inside = "data" if is_data else tag
        if self._inside == "script":
            self.scripts.append("")
        for name, value in attrs:
            if name.startswith("on") or (name == "src" and not value.startswith("data:")):
                self.bad.append(f"{tag} {name}={value}")
            if name == "href" and not value.startswith(("#", "data:")):
                self.bad.append(f"{tag} {name}={value}")

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside not in ("style", "data"):
            self.text += data


def expect_harmless(path: Path, *, scripts: int) -> Page:
    page = Page(path.read_text(encoding="utf-8"))
    assert page.bad == []
    assert len(page.scripts) == scripts
    return page


def expect_nothing_ran(path: Path) -> None:
    if shutil.which("chromium") is None:
        return
    chromium = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000", "--dump-dom"]
    done = subprocess.run([*chromium, path.as_uri()], capture_output=True, text=True, check=True, timeout=120)
    assert "<title>ran</title>" not in done.stdout
    assert "</html>" in done.stdout


@pytest.fixture
def hostile_folder(vae_checkpoint, tmp_path):
    """Return a folder of results whose every name and text is hostile."""
    folder = tmp_path / CLASSES[0]
    folder.mkdir()
    (folder / f"{CLASSES[1]}.csv").write_text(
        "\n".join([",".join(['"' + t.replace('"', '""') + '"' for t in TEXTS])] * 3)
    )
    (folder / "x.json").write_text(json.dumps({text: text for text in TEXTS} | {"rows": [{t: t for t in TEXTS}]}))
    header = read_header(vae_checkpoint)
    header.data["name"] = f"{TEXTS[1]}{CONTROL}"
    header.model["arch"] = TEXTS[2]
    header.ran_on.update({text: text for text in TEXTS})
    write_checkpoint(folder / "x.safetensors", load_file(vae_checkpoint), header)
    image = Image.new("L", (4, 4))
    from PIL import PngImagePlugin

    info = PngImagePlugin.PngInfo()
    info.add_text("aekit", json.dumps({"command": TEXTS[1], "options": {text: text for text in TEXTS}}))
    image.save(folder / f"{CLASSES[0]}.png", pnginfo=info)
    (folder / f"{CLASSES[1]}.html").write_text("")
    return folder


@pytest.mark.slow
def test_a_report_of_hostile_files_shows_them_and_runs_none(aekit, hostile_folder, tmp_path):
    page = tmp_path / "page.html"
    result = aekit("report", hostile_folder, "--title", TEXTS[1], "-o", page)
    assert result.exit_code == 0, result.stderr
    found = expect_harmless(page, scripts=1)
    for text in (*TEXTS, *CLASSES):
        assert text in found.text
    assert all(c.isprintable() or c == "\n" for c in result.stderr)
    expect_nothing_ran(page)


def test_a_hover_page_of_hostile_classes_shows_them_and_runs_none(tmp_path):
    def page(names, title):
        panel = EmbeddingPanel(title, (title,), np.random.default_rng(0).normal(size=(14, 2)), (title, title))
        html = build_page(
            [panel], np.zeros((14, 1, 8, 8), np.uint8), np.arange(14), np.arange(14) % 7, names,
            title=title, parameters={title: title}, note=title,
        )  # fmt: skip
        (tmp_path / "map.html").write_text(html, encoding="utf-8")
        return tmp_path / "map.html"

    honest = Page(page("abcdefg", "x").read_text()).scripts
    path = page(TEXTS, TEXTS[1])
    found = expect_harmless(path, scripts=len(honest))
    assert found.scripts == honest  # what runs does not depend on any name
    facts = json.loads(path.read_text().partition('id="facts">')[2].partition("</script>")[0])
    assert facts["names"] == list(TEXTS)


@pytest.mark.slow
def test_a_map_of_images_in_folders_of_hostile_names_runs_none(aekit, tmp_path):
    images = tmp_path / "images"
    for number, name in enumerate((*CLASSES, CONTROL)):
        (images / name).mkdir(parents=True)
        for one in range(14):
            pixels = np.random.default_rng([number, one]).integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(images / name / f"{one}{CONTROL}.png")
    checkpoint = tmp_path / "x.safetensors"
    trained = aekit("train-ae", "--data", images, "--epochs", 1, "--latent", 2, "-o", checkpoint)
    assert trained.exit_code == 0, trained.stderr
    made = aekit("tsne", checkpoint, "--data", images, "--split", "train", "-o", tmp_path / "map.png")
    assert made.exit_code == 0, made.stderr
    expect_harmless(tmp_path / "map.html", scripts=len(Page((tmp_path / "map.html").read_text()).scripts))
    expect_nothing_ran(tmp_path / "map.html")
    for result in (trained, made):
        assert all(c.isprintable() or c == "\n" for c in result.stderr)


@pytest.mark.slow
def test_a_cohort_of_hostile_names_is_reported_and_runs_none(aekit, tmp_path):
    n = 40
    generator = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "participant_id": [f"{TEXTS[i % 7]}{i}" for i in range(n)],
            "age": generator.uniform(20, 80, n).round(1),
            "sex": ["F", "M"] * (n // 2),
            "site": [CLASSES[i % 2] for i in range(n)],
            **{name: generator.normal(500, 20, n).round(1) for name in ("gmv", "wmv", "csfv")},
            TEXTS[1]: [TEXTS[2]] * n,
        }
    )
    path = tmp_path / f"{CLASSES[0]}.tsv"
    table.to_csv(path, sep="\t", index=False)
    result = aekit("mri-eda", path, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    page = tmp_path / "out" / "report.html"
    assert "onerror" in expect_harmless(page, scripts=len(Page(page.read_text()).scripts)).text
    expect_nothing_ran(page)


def test_control_characters_of_a_header_are_escaped_on_stderr(aekit, hostile_folder):
    result = aekit("info", hostile_folder / "x.safetensors")
    assert result.exit_code == 0
    assert "\\x1b" in result.stderr
    assert all(c.isprintable() or c == "\n" for c in result.stderr)


def test_control_characters_of_columns_and_cells_are_escaped_in_tables_and_errors(aekit, tmp_path):
    ours, study = tmp_path / "ours.csv", tmp_path / "study.csv"
    ours.write_text(f"k,{CONTROL}\n{CONTROL}[red]a,1\nb,2\n")
    study.write_text(f"k,{CONTROL}\n{CONTROL}[red]a,1.5\nb,2\n")
    shown = aekit("compare", ours, "--with", study, "--by", "k", "-o", tmp_path / "out.csv")
    assert shown.exit_code == 0, shown.stderr
    refused = aekit("compare", ours, "--with", study, "--by", CONTROL + "x", "-o", tmp_path / "out.csv")
    assert refused.exit_code == 1
    for result in (shown, refused):
        assert "\\x1b" in result.stderr
        assert all(c.isprintable() or c == "\n" for c in result.stderr)
    assert "[red]a" in shown.stderr


def test_an_error_is_one_line_whatever_is_in_it():
    error = AekitError(f"a\nb{CONTROL}: {'x' * 10**6}; fix it")
    assert str(error).isprintable()
    assert len(str(error)) < 5000
    assert str(error).endswith("; fix it")


def test_a_path_with_a_line_break_is_refused_by_name_before_the_work(aekit, ae_checkpoint, tmp_path):
    for how in ([], ["--json"]):
        result = aekit("encode", ae_checkpoint, *how, "-o", tmp_path / "a\nb.csv")
        assert result.exit_code == 1
        assert result.stdout == ""
        assert "a\\nb.csv: has a line break in its name" in result.stderr
        assert list(tmp_path.iterdir()) == []
        copy = tmp_path.parent / "c\nd.safetensors"
        shutil.copy(ae_checkpoint, copy)
        result = aekit("info", copy, *how)
        assert result.exit_code == 1
        assert result.stdout == ""
        copy.unlink()


def test_every_other_path_goes_from_command_to_command_byte_for_byte(ae_checkpoint, tmp_path):
    folder = os.fsencode(tmp_path)
    names = [
        b"caf\xe9.safetensors",
        b"\x1b[31mred.safetensors",
        "größe \u202e.safetensors".encode(),
        b"a b'\".safetensors",
    ]
    for name in names:
        shutil.copy(os.fsencode(ae_checkpoint), folder + b"/" + name)
    paths = b"".join(folder + b"/" + name + b"\n" for name in names)
    command = [sys.executable, "-m", "aekit", "info", "-"]
    done = subprocess.run(command, input=paths, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == paths
    assert all(c.isprintable() or c == "\n" for c in done.stderr.decode())


def test_on_a_terminal_paths_are_escaped(ae_checkpoint, tmp_path):
    pty = pytest.importorskip("pty")
    copy = tmp_path / "\x1b[31mred.safetensors"
    shutil.copy(ae_checkpoint, copy)
    main, terminal = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "aekit", "info", "-q", str(copy)], stdout=terminal, stderr=subprocess.PIPE, check=False
    )
    assert done.returncode == 0, done.stderr
    told = os.read(main, 10_000)
    os.close(main)
    os.close(terminal)
    assert b"\x1b" not in told
    assert b"\\x1b[31mred" in told


@pytest.mark.parametrize(
    ("text", "what"),
    [(b"a\0b\n", "null byte"), (b"x" * 5000, "File name too long"), (b"\xff\xfe\n", "No such file")],
    ids=["nul", "long", "bytes"],
)
def test_lines_on_stdin_that_are_no_paths_are_refused_in_one_line(text, what):
    command = [sys.executable, "-m", "aekit", "info", "-"]
    done = subprocess.run(command, input=text, capture_output=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert what in done.stderr.decode()


@pytest.mark.parametrize("name", ["/etc/images", "/", "../images", "here/../../images", ".."])
def test_images_that_a_checkpoint_names_outside_the_working_folder_are_not_opened(aekit, ae_checkpoint, tmp_path, name):
    header = read_header(ae_checkpoint)
    header.data["name"] = name
    path = write_checkpoint(tmp_path / "x.safetensors", load_file(ae_checkpoint), header)
    result = aekit("evaluate", path)
    assert result.exit_code == 1
    assert f"names images outside this folder, {name}; if they are yours, use --data" in result.stderr
    assert aekit("evaluate", path, "--data", "digits", "-o", tmp_path / "e.json").exit_code == 0
