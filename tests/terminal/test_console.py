"""What a command prints: results on stdout, the rest on stderr, once, and nothing where nobody wants it."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest

from aekit.core.output import Result
from aekit.errors import AekitError, GlyphWarning
from aekit.terminal import console as module
from aekit.terminal.console import Console


def test_a_path_is_a_line_and_with_json_an_object(capsys):
    results = [Result(Path("a.png"), {"n": 3}), Result(Path("b.png"))]
    Console().result(results)
    Console(json=True).result(iter(results))
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["a.png", "b.png"]
    assert [json.loads(line) for line in lines[2:]] == [{"path": "a.png", "n": 3}, {"path": "b.png"}]


def test_results_are_printed_as_they_are_made(capsys):
    def make():
        yield Result(Path("first"))
        assert capsys.readouterr().out == "first\n"
        yield Result(Path("second"))

    Console().result(make())
    assert capsys.readouterr().out == "second\n"


def test_a_path_with_a_line_break_is_refused(capsys):
    with pytest.raises(AekitError, match="line break"):
        Console().result(Result(Path("a\nb")))
    assert capsys.readouterr().out == ""


def test_a_notice_is_printed_once_and_escaped(capsys):
    console = Console()
    for _ in range(2):
        console.notice("left out: \x1b[2J")
    assert capsys.readouterr().err == "left out: \\x1b[2J\n"


def test_letters_without_a_font_are_said_once_and_not_at_all_when_quiet(capsys):
    before = warnings.showwarning
    for quiet in (False, True, False):
        with Console(quiet=quiet):
            for text in ("no font has x", "no font has x", "no font has y"):
                warnings.warn(text, GlyphWarning, stacklevel=1)
        assert capsys.readouterr().err == ("" if quiet else "no font has x\n")
    assert warnings.showwarning is before


def test_other_warnings_are_left_to_python(capsys):
    with Console(quiet=True), pytest.warns(UserWarning, match="something else"):
        warnings.warn("something else", UserWarning, stacklevel=1)


def test_quiet_prints_no_notices_tables_or_progress(capsys, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_SECONDS", -1.0)
    with Console(quiet=True) as console:
        console.notice("x")
        console.update("reading", 1, 2)
        console.table("title", ["a"], [[1]])
    assert capsys.readouterr() == ("", "")


def test_what_takes_long_is_named_once_without_a_terminal_unless_it_has_details(capsys, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_SECONDS", -1.0)
    with Console() as console:
        for done in range(3):
            console.update("decoding", done, 3)
            console.update("training", done, 3, detail=lambda: "never asked for")
    assert capsys.readouterr().err == "decoding\n"


def test_a_table_shows_four_digits_and_nothing_for_what_is_missing(capsys):
    Console().table("Errors", ["name", "mse"], [["a", 0.123456], ["b", None], ["c", float("nan")]])
    lines = [line.split() for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert lines[0] == ["Errors"]
    assert ["a", "0.1235"] in lines
    assert ["b"] in lines
    assert ["c"] in lines


def test_signals_are_left_alone_until_somebody_asks_whether_to_stop():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Console() as console:
            console.notice("reading")
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
            console.should_stop()
            assert signal.getsignal(signal.SIGINT) != signal.SIG_IGN
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_signal_asks_to_stop_once_somebody_listens(capsys):
    with Console() as console:
        assert console.should_stop() is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert console.should_stop() == signal.SIGTERM
    assert "a second signal stops at once" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is not None


def test_a_console_in_another_thread_leaves_signals_alone():
    before = signal.getsignal(signal.SIGINT)
    found = []

    def work():
        with Console() as console:
            found.append((console.should_stop(), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(None, before)]


LIVE = """
import sys, time
from pathlib import Path
from aekit.core.output import Result
from aekit.terminal.console import Console
with Console() as console:
    console.update("cells", 1, 2, detail=lambda: "1 of 2 cells")
    console.update("epoch 1", 1, 2, lane="a", detail=lambda: "loss 5")
    console.update("epoch 1", 1, 2, lane="b", detail=lambda: "loss 7")
    time.sleep(0.3)
    console.notice("b: failed")
    console.update("epoch 1", 2, 2, lane="b")
    console.result(Result(Path("out.png")))
"""


def test_bars_of_lanes_move_on_a_terminal_and_stdout_carries_only_paths():
    parent, child = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, "-c", LIVE], stdout=subprocess.PIPE, stderr=child, env=environment, check=True
    )
    os.close(child)
    shown = b""
    while chunk := _read(parent):
        shown += chunk
    os.close(parent)
    assert done.stdout == b"out.png\n"
    for text in (b"1 of 2 cells", b"loss 5", b"loss 7", b"b: failed"):
        assert text in shown


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""
