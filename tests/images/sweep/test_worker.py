"""A worker reports now and then, and stops when nobody listens any more."""

from __future__ import annotations

import signal

from aekit.images.sweep import worker
from aekit.images.sweep.worker import RemoteProgress


def test_steps_are_reported_now_and_then_and_reading_is_not(monkeypatch):
    messages, now = [], [10.0]
    monkeypatch.setattr(worker.time, "monotonic", lambda: now[0])
    progress = RemoteProgress(messages.append)
    progress.update("decoding", 1, 2)
    for step in range(4):
        progress.update("training", step, 9, detail=lambda step=step: f"step {step}")
        now[0] += 0.2
    assert messages == [("progress", (0, 9, "step 0")), ("progress", (2, 9, "step 2"))]


def test_notices_are_reported():
    messages = []
    RemoteProgress(messages.append).notice("left out 2 images")
    assert messages == [("notice", "left out 2 images")]


def test_a_run_stops_when_its_parent_is_gone_or_a_signal_has_come():
    def gone(message):
        raise BrokenPipeError

    progress = RemoteProgress(gone)
    assert progress.should_stop() is None
    progress.notice("x")
    assert progress.should_stop() == signal.SIGTERM
