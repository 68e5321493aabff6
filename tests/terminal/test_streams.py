"""The standard streams: what is printed is escaped, closed ones do no harm, and paths come from stdin."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from aekit.errors import AekitError
from aekit.terminal.streams import say, with_stdin


def test_control_characters_are_escaped_on_stderr(capsys):
    say("a\x1b[31m\nb")
    assert capsys.readouterr().err == "a\\x1b[31m\\nb\n"


def test_only_the_first_of_several_processes_prints(capsys, monkeypatch):
    for name, value in {"MASTER_ADDR": "127.0.0.1", "RANK": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    say("x")
    assert capsys.readouterr().err == ""


def test_a_dash_stands_for_the_paths_on_stdin_in_its_place(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("b\n\n c \n"))
    assert with_stdin(["a", "-", "d"]) == ["a", "b", "c", "d"]


def test_no_path_at_all_is_an_error_that_names_what_is_missing(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    with pytest.raises(AekitError, match="give a table's path"):
        with_stdin(["-"], kind="table")


@pytest.mark.parametrize("text", ["z0,z1\n1,2\n", "z0;z1\n1,5;2,5\n3,5;4\n", "file\tz0\na.png\t1\n"])
def test_a_table_on_stdin_is_named_and_a_path_with_commas_is_one(tmp_path, monkeypatch, text):
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    with pytest.raises(AekitError, match="looks like a table, and - reads paths"):
        with_stdin(["-"])
    paths = [f"{tmp_path}/a,b.png", f"{tmp_path}/c,d.png"]
    (tmp_path / "a,b.png").touch()
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(paths)))
    assert with_stdin(["-"]) == paths


@pytest.mark.parametrize("text", ["x" * 5000, "a\0b"])
def test_what_cannot_be_a_path_is_refused(text):
    with pytest.raises(AekitError, match="is not a path that can be read"):
        with_stdin([text])


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-"])
def test_a_closed_stream_is_replaced_so_that_no_file_takes_its_number(tmp_path, closed):
    script = (
        "from aekit.terminal.streams import open_streams; open_streams()\n"
        f"file = open({str(tmp_path / 'x')!r}, 'w'); raise SystemExit(0 if file.fileno() > 2 else 1)"
    )
    command = f'exec {sys.executable} -c "$SCRIPT" {closed}'
    assert subprocess.run(["sh", "-c", command], env={**os.environ, "SCRIPT": script}).returncode == 0
