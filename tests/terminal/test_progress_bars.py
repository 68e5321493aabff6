"""Bars on a terminal: one for each lane, and no more questions about details than an eye can follow."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from aekit.terminal import progress_bars
from aekit.terminal.progress_bars import Bars


@pytest.fixture
def screen(monkeypatch):
    """Return what a terminal of 80 columns receives."""
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=80, color_system=None)
    monkeypatch.setattr(progress_bars, "stderr_console", lambda: console)
    return text


@pytest.fixture
def clock(monkeypatch):
    """Return a clock that stands still until it is set."""
    now = [100.0]
    monkeypatch.setattr(progress_bars.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def bars(screen):
    bars = Bars()
    yield bars
    bars.clear()


def _shown(bars):
    """Return the text, number and details of each bar that is shown."""
    return [(task.description, task.completed, task.total, task.fields["detail"]) for task in bars._bars.tasks]


def test_each_lane_has_a_bar_that_is_gone_once_it_is_done(bars):
    bars.update("cells", 1, 3, "", None)
    bars.update("epoch 1", 2, 9, "a", None)
    bars.update("epoch 1", 5, 9, "b", None)
    assert _shown(bars) == [
        ("cells", 1, 3, "1 of 3"), ("epoch 1", 2, 9, "2 of 9"), ("epoch 1", 5, 9, "5 of 9"),
    ]  # fmt: skip
    bars.update("epoch 1", 9, 9, "a", None)
    bars.update("cells", 2, 3, "", None)
    assert _shown(bars) == [("cells", 2, 3, "2 of 3"), ("epoch 1", 5, 9, "5 of 9")]


def test_what_comes_next_in_a_lane_takes_the_place_of_what_was_before(bars):
    bars.update("reading", 3, 3, "", None)
    bars.update("training", 1, 1000, "", None)
    assert _shown(bars) == [("training", 1, 1000, "1 of 1,000")]


def test_without_a_total_what_was_done_is_counted(bars):
    bars.update("downloading", 12_345, 0, "", None)
    assert _shown(bars) == [("downloading", 12_345, None, "12,345")]


def test_details_are_asked_for_four_times_a_second_and_never_at_the_end(bars, clock):
    asked = []

    def detail():
        asked.append(clock[0])
        return f"loss {len(asked)}"

    for step in range(100):  # a second of training
        clock[0] = 100 + step / 100
        bars.update("epoch 1", step, 100, "a", detail)
    assert len(asked) == 4
    assert _shown(bars) == [("epoch 1", 75, 100, "loss 4")]
    bars.update("epoch 2", 0, 100, "a", detail)  # something else is shown at once
    assert _shown(bars) == [("epoch 2", 0, 100, "loss 5")]
    bars.update("epoch 2", 100, 100, "a", detail)
    assert len(asked) == 5
    assert _shown(bars) == []


def test_lanes_wait_for_their_own_details_alone(bars, clock):
    for lane in ("a", "b"):
        bars.update("epoch 1", 1, 9, lane, lambda: "first")
        clock[0] += 0.2
    for lane in ("a", "b"):  # 0.4 and 0.2 seconds later
        bars.update("epoch 1", 2, 9, lane, lambda: "second")
    assert [shown[3] for shown in _shown(bars)] == ["second", "first"]


def test_control_characters_are_shown_escaped_and_brackets_as_they_are(bars, screen):
    bars.update("a\x1b[31m", 1, 2, "", lambda: "b\x1b[2J")
    bars.say("[red]c\x1b[31m")
    bars.clear()
    for text in ("a\\x1b[31m", "b\\x1b[2J", "[red]c\\x1b[31m"):
        assert text in screen.getvalue()
    assert "\x1b[31m" not in screen.getvalue().replace("\\x1b[31m", "")


def test_bars_that_were_cleared_come_back_with_the_next_update(bars, clock):
    assert not bars.is_shown
    bars.update("cells", 1, 2, "", lambda: "x")
    assert bars.is_shown
    bars.clear()
    assert not bars.is_shown
    bars.update("cells", 1, 2, "", lambda: "y")  # at the same time, and yet it is shown
    assert _shown(bars) == [("cells", 1, 2, "y")]
