"""Events for TensorBoard: what they show, that they change nothing, and that no step is there twice."""

from __future__ import annotations

import importlib.util
import io

import pandas as pd
import pytest
from PIL import Image
from recorded import Recorded
from tiny_training import train_tiny

from aekit.errors import AekitError, Stopped
from aekit.images import runs

needs_tensorboard = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="needs aekit[tensorboard]"
)


def _read(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0})
    return events.Reload()


def _steps(folder):
    return [event.step for event in _read(folder).Scalars("total/val")]


@needs_tensorboard
@pytest.mark.slow
def test_events_have_the_columns_of_the_history_the_rate_and_reconstructions(tmp_path):
    train_tiny(tmp_path / "x.safetensors", val=0.3, epochs=12, tensorboard=tmp_path / "logs")
    train_tiny(tmp_path / "y.safetensors", val=0.3, epochs=12)
    assert (tmp_path / "x.safetensors").read_bytes() == (tmp_path / "y.safetensors").read_bytes()
    events, history = _read(tmp_path / "logs" / "x"), pd.read_csv(tmp_path / "x.csv")
    for split in ("train", "val"):
        rows = history[history["split"] == split]
        for name in history.columns.drop(["epoch", "split"]):
            tag = f"{name}/{split}"
            if rows[name].isna().all():
                assert tag not in events.Tags()["scalars"]
                continue
            assert [event.step for event in events.Scalars(tag)] == rows["epoch"].tolist()
            assert [event.value for event in events.Scalars(tag)] == pytest.approx(rows[name].tolist(), rel=1e-5)
    rates = [event.value for event in events.Scalars("learning_rate")]
    assert (len(rates), max(rates) <= 5e-3, rates[-1] < 1e-3) == (12, True, True)
    (tag,) = events.Tags()["images"]
    assert [event.step for event in events.Images(tag)] == [1, 2, 4, 6, 8, 10, 12]
    with Image.open(io.BytesIO(events.Images(tag)[-1].encoded_image_string)) as image:
        assert image.size == (8 * 8, 2 * 8)  # eight images of 8 x 8 above their reconstructions


@pytest.mark.slow
@needs_tensorboard
@pytest.mark.parametrize("stopped_in", ["epoch", "between"])
def test_a_run_that_goes_on_continues_its_events_and_no_step_is_there_twice(tmp_path, monkeypatch, stopped_in):
    options = {"val": 0.3, "epochs": 4, "tensorboard": tmp_path / "logs"}
    if stopped_in == "epoch":
        with pytest.raises(Stopped):
            train_tiny(tmp_path / "x.safetensors", progress=Recorded(stop_after=6), **options)
    else:  # killed after the events of an epoch and before its state
        real, written = runs.write_state, []

        def write_state(*given):
            written.append(given)
            if len(written) == 3:
                raise AekitError("killed: here; go on")
            return real(*given)

        monkeypatch.setattr(runs, "write_state", write_state)
        with pytest.raises(AekitError, match="killed"):
            train_tiny(tmp_path / "x.safetensors", **options)
        assert _steps(tmp_path / "logs" / "x") == [1, 2, 3]
        monkeypatch.undo()
    train_tiny(tmp_path / "x.safetensors", resume=True, **options)
    assert len(list((tmp_path / "logs" / "x").iterdir())) == 2
    assert _steps(tmp_path / "logs" / "x") == [1, 2, 3, 4]
    images = _read(tmp_path / "logs" / "x").Images("reconstructions/val")
    assert [event.step for event in images] == [1, 2, 3, 4]


@pytest.mark.slow
@needs_tensorboard
def test_events_of_another_run_are_not_mixed_with_ones_own(tmp_path):
    options = {"val": 0.3, "tensorboard": tmp_path / "logs"}
    train_tiny(tmp_path / "x.safetensors", **options)
    with pytest.raises(AekitError, match=r"^--tensorboard .*logs: has events of a run of the same name \(x\)"):
        train_tiny(tmp_path / "in" / "x.safetensors", **options)
    assert not (tmp_path / "in").exists()
    train_tiny(tmp_path / "x.safetensors", resume=True, **options)  # it is finished, so nothing is written
    train_tiny(tmp_path / "x.safetensors", overwrite=True, epochs=2, **options)
    assert _steps(tmp_path / "logs" / "x") == [1, 2]
    assert len(list((tmp_path / "logs" / "x").iterdir())) == 1


@pytest.mark.slow
@needs_tensorboard
def test_a_run_that_goes_on_does_not_continue_the_events_of_one_with_its_name_elsewhere(tmp_path):
    options = {"val": 0.3, "tensorboard": tmp_path / "logs"}
    train_tiny(tmp_path / "a" / "x.safetensors", **options)
    with pytest.raises(AekitError, match=r"^--tensorboard: .*logs/x has events of a run of the same name in another"):
        train_tiny(tmp_path / "b" / "x.safetensors", resume=True, **options)
    assert not (tmp_path / "b").exists()
    train_tiny(tmp_path / "b" / "x.safetensors", overwrite=True, **options)
    assert _steps(tmp_path / "logs" / "x") == [1, 2, 3]


@needs_tensorboard
def test_a_grid_of_the_same_name_elsewhere_is_refused_before_it_starts(aekit, tmp_path):
    cell = "ae-digits-dense-z2-limit60-epochs1"
    words = ["--data", "digits", "--limit", 60, "--epochs", 1, "--model", "ae", "--arch", "dense", "--latent", "2"]
    train_tiny(tmp_path / "a" / f"{cell}.safetensors", tensorboard=tmp_path / "logs" / "grid")
    result = aekit("sweep", *words, "-o", tmp_path / "b" / "grid", "--tensorboard", tmp_path / "logs")
    assert result.exit_code == 1
    assert f"logs/grid/{cell} has events of a run of the same name in another place" in result.stderr
    assert not list(tmp_path.glob("b/**/*.safetensors"))


@needs_tensorboard
def test_a_place_that_cannot_be_written_is_named_before_training(tmp_path):
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(AekitError, match=r"^--tensorboard .*logs/x: cannot be written"):
        train_tiny(tmp_path / "x.safetensors", tensorboard=tmp_path / "logs")
    assert not (tmp_path / "x.resume.safetensors").exists()


@pytest.mark.slow
@needs_tensorboard
def test_each_cell_of_a_grid_has_a_folder(aekit, tmp_path):
    words = ["--data", "digits", "--limit", 60, "--epochs", 1, "--model", "ae", "--arch", "dense", "--latent", "2,3"]
    result = aekit("sweep", *words, "-j", 1, "-o", tmp_path / "grid", "--tensorboard", tmp_path / "logs")
    assert result.exit_code == 0, result.stderr
    folders = sorted((tmp_path / "logs" / "grid").iterdir())
    assert [path.name for path in folders] == [path.stem for path in sorted(result.paths)]


@needs_tensorboard
@pytest.mark.parametrize(
    ("logs", "folder"), [("photos", "photos/x"), ("photos/a", "photos/a/x"), ("other", "other/x"), ("in", "in/x")]
)
def test_events_are_not_written_among_the_images(aekit, tmp_path, monkeypatch, logs, folder):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos" / "a").mkdir(parents=True)
    for number in range(4):
        Image.new("L", (8, 8), 60 * number).save(tmp_path / "photos" / "a" / f"{number}.png")
    (tmp_path / "other").symlink_to("photos")
    (tmp_path / "in").mkdir()
    data = "in/x" if logs == "in" else "photos"
    if logs == "in":
        (tmp_path / "photos").rename(tmp_path / "in" / "x")
    for command, output in (("train-ae", "x.safetensors"), ("sweep", "out/x")):
        model = ["--model", "ae"] if command == "sweep" else []
        result = aekit(command, *model, "--data", data, "--epochs", 1, "-o", output, "--tensorboard", logs)
        said = f"--tensorboard {logs}: {folder} would lie in {data}, the folder of images; choose another folder"
        assert (result.exit_code, said in result.stderr) == (1, True), result.stderr
    assert not list(tmp_path.glob("**/events*"))
    assert not (tmp_path / "out").exists()


def test_without_the_package_a_run_says_so_before_it_starts(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "tensorboard" else find(name))
    told = Recorded()
    with pytest.raises(AekitError, match=r"^--tensorboard: needs the package tensorboard; .*aekit\[tensorboard\]"):
        train_tiny(tmp_path / "in" / "x.safetensors", tensorboard=tmp_path / "logs", progress=told)
    assert told.updates == []
    assert not list(tmp_path.iterdir())
