"""The history of a run can be read while it goes on, and is that of its state."""

from __future__ import annotations

import pandas as pd
import pytest
from recorded import Recorded
from tiny_training import train_tiny

from aekit.core.checkpoint import read_header, resume_path
from aekit.errors import AekitError, Stopped

TIMES = ["seconds", "images_per_second"]


def _epochs(path):
    return pd.read_csv(path)["epoch"].tolist()


def test_a_history_grows_by_two_rows_with_each_epoch(tmp_path):
    path, seen = tmp_path / "x.csv", []

    def look(n):
        seen.append(_epochs(path) if path.exists() else [])

    train_tiny(tmp_path / "x.safetensors", progress=Recorded(on_update=look))
    assert seen == [[]] * 3 + [[1, 1]] * 3 + [[1, 1, 2, 2]] * 3  # three steps per epoch
    assert _epochs(path) == [1, 1, 2, 2, 3, 3]


@pytest.mark.slow
def test_the_history_of_a_stopped_run_is_that_of_its_state_and_goes_on_to_that_of_one_that_was_not(tmp_path):
    output = tmp_path / "x.safetensors"
    train_tiny(tmp_path / "whole.safetensors")
    with pytest.raises(Stopped):
        train_tiny(output, progress=Recorded(stop_after=7))
    assert not output.exists()
    assert not output.with_suffix(".png").exists()
    assert _epochs(tmp_path / "x.csv") == [1, 1, 2, 2]
    assert read_header(resume_path(output)).state["epoch"] == 2
    with pytest.raises(AekitError, match=r"x\.resume\.safetensors: holds an unfinished run; continue it with --resume"):
        train_tiny(output)  # the history is not in the way, the state is

    # Killed between the state and the history: the history is one epoch behind, until the run goes on.
    pd.read_csv(tmp_path / "x.csv")[:2].to_csv(tmp_path / "x.csv", index=False)
    with pytest.raises(Stopped):
        train_tiny(output, resume=True, progress=Recorded(stop_after=1))
    assert _epochs(tmp_path / "x.csv") == [1, 1, 2, 2]
    train_tiny(output, resume=True)
    assert output.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    own, whole = (pd.read_csv(tmp_path / name).drop(columns=TIMES) for name in ("x.csv", "whole.csv"))
    pd.testing.assert_frame_equal(own, whole)


def test_a_history_without_its_run_is_not_replaced_unasked(tmp_path):
    (tmp_path / "x.csv").write_text("mine\n1\n")
    with pytest.raises(AekitError, match=r"x\.csv: already exists"):
        train_tiny(tmp_path / "x.safetensors")
    assert (tmp_path / "x.csv").read_text() == "mine\n1\n"
