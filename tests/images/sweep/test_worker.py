"""A worker reports now and then, and stops when nobody listens any more."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from tiny_training import TINY

from aekit.errors import Stopped
from aekit.images.run_settings import build_config
from aekit.images.runs import Machine, train_run
from aekit.images.sweep import worker
from aekit.images.sweep.worker import RemoteProgress

MACHINE = Machine(Path("/nowhere"), "cpu", 1)


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


def test_what_a_run_chose_for_a_small_set_is_common_to_cells_and_where_it_continues_is_not(tmp_path):
    messages = []
    progress = RemoteProgress(messages.append)
    config = build_config({name: value for name, value in TINY.items() if name != "batch_size"} | {"epochs": 2})
    options = {"overwrite": False, "resume": True, "progress": progress, "common": progress.common()}
    with pytest.raises(Stopped):
        train_run(
            config, tmp_path / "x.safetensors", MACHINE, on_epoch=lambda rows: progress.signals.append(15), **options
        )
    progress.signals.clear()
    train_run(config, tmp_path / "x.safetensors", MACHINE, **options)
    said = [(kind, text.split(" (")[0]) for kind, text in messages if kind != "progress"]
    assert said == [
        ("common", "5 images per step"),
        ("common", "5 images per step"),
        ("notice", "continuing after epoch 1 of 2"),
    ]


def test_a_signal_that_has_come_is_known_where_images_are_read():
    progress = RemoteProgress(lambda message: None)
    common = progress.common()
    progress.signals.append(signal.SIGINT)
    assert common.should_stop() == signal.SIGINT


def test_a_run_stops_when_its_parent_is_gone_or_a_signal_has_come():
    def gone(message):
        raise BrokenPipeError

    progress = RemoteProgress(gone)
    assert progress.should_stop() is None
    progress.notice("x")
    assert progress.should_stop() == signal.SIGTERM
