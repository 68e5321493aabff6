"""Tables of labels from training to studies: recorded, found again, replaced, and never guessed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from recorded import Recorded

from aekit.core.checkpoint import read_header
from aekit.errors import AekitError
from aekit.images.decorrelation.study import run_decorrelation
from aekit.images.evaluation.encode import run_encode
from aekit.images.evaluation.evaluate import run_evaluate
from aekit.images.evaluation.sample import run_sample
from aekit.images.interpolation.request import PathRequest
from aekit.images.interpolation.study import run_interpolate
from aekit.images.run_settings import build_config, command_words, run_name
from aekit.images.runs import Machine, run_training
from aekit.images.session import open_session
from aekit.images.sweep.grid import GridReport, run_missing
from aekit.images.sweep.outcomes import Done
from aekit.images.sweep.plan import Cell

pytestmark = pytest.mark.slow  # each trains, draws or starts the program

OPTIONS = {"model": "ae", "arch": "dense", "latent": 2, "width": 8, "epochs": 1}


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Work in a folder with ten photos, and a table of their labels."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (10, 8, 8), dtype=np.uint8)):
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
    (tmp_path / "kinds.csv").write_text("file,label\n" + "".join(f"{n}.png,{'ab'[n % 2]}\n" for n in range(10)))
    return tmp_path


def train(labels="kinds.csv", output="m.safetensors", **extra):
    options = {key: extra.pop(key) for key in ("overwrite", "resume") if key in extra}
    config = build_config({**OPTIONS, "data": "photos", "labels": labels, **extra})
    return run_training(config, Path(output), Machine(Path(), "cpu", 1), **options).path


def encoded(paths, said=None, **options):
    session = open_session(paths, device="cpu", threads=1, progress=said or Recorded(), **options)
    list(run_encode(session, Path("out.csv"), split="all"))
    table = pd.read_csv("out.csv", keep_default_na=False)
    return dict(zip(table["file"], table["label"], strict=True))


TRUTH = {f"{n}.png": "ab"[n % 2] for n in range(10)}


def test_labels_of_the_training_are_found_again(work):
    path = train()
    assert encoded(path) == TRUTH
    data = read_header(path).data
    assert (data["labels"], len(data["labels_fingerprint"])) == ("kinds.csv", 64)
    assert "labels" not in read_header(train(None, "plain.safetensors")).data


def test_a_path_from_the_root_is_not_in_the_checkpoint(work):
    path = train(str(work / "kinds.csv"))
    assert read_header(path).data["labels"] == "kinds.csv"
    assert str(work) not in json.dumps(read_header(path).to_dict())


def test_labels_change_no_weight(work):
    path, plain = train(), train(None, "plain.safetensors")
    first, second = (read_header(each).result for each in (path, plain))
    assert first == second


def test_another_table_than_that_of_the_training_can_be_given(work):
    (work / "other.csv").write_text("file,label\n" + "".join(f"{n}.png,k{n}\n" for n in range(10)))
    truth = {f"{n}.png": f"k{n}" for n in range(10)}
    assert encoded(train(), table="other.csv") == truth
    assert encoded(train(None, "plain.safetensors"), table="other.csv") == truth


def test_new_images_are_not_labelled_by_the_table_of_the_training(work):
    (work / "new").mkdir()
    Image.new("L", (8, 8)).save(work / "new" / "x.png")
    said = Recorded()
    assert encoded(train(), said, data="new") == {"x.png": ""}
    assert any("--data new: some images are not in kinds.csv" in line for line in said.notices)


def test_a_table_that_is_gone_or_changed_is_said(work):
    path, said = train(), Recorded()
    (work / "kinds.csv").write_text((work / "kinds.csv").read_text().replace("0.png,a", "0.png,b"))
    assert encoded(path, said) == {**TRUTH, "0.png": "b"}
    assert any("was changed after training" in line for line in said.notices)
    (work / "kinds.csv").unlink()
    said = Recorded()
    assert set(encoded(path, said).values()) == {""}
    assert any("its table of labels, kinds.csv, is not here; give it with --labels" in line for line in said.notices)


def test_a_run_is_not_continued_with_another_table(work):
    path = train(epochs=1)
    (work / "other.csv").write_text((work / "kinds.csv").read_text())
    with pytest.raises(AekitError, match=r"was trained with labels kinds\.csv, not other\.csv"):
        train("other.csv", resume=True)
    assert train(resume=True) == path


def test_an_empty_text_is_no_table(work, aekit):
    path = train()
    for words in (
        ["train-ae", "--data", "photos"],
        ["sweep", "--data", "photos"],
        ["encode", path],
        ["data", "photos"],
    ):
        result = aekit(*words, "--labels", "")
        assert (result.exit_code, "--labels: '' " in result.stderr) == (2, True), result.stderr
    assert aekit("encode", path, "--labels", "").stdout == ""


def test_a_finished_run_is_only_passed_on_with_the_same_table(work):
    path, kinds = train(), work / "kinds.csv"
    text = kinds.read_text()
    kinds.write_text(text.replace("0.png,a", "0.png,b"))
    with pytest.raises(AekitError, match=r"^m\.safetensors: was trained with other labels; use another --output"):
        train(resume=True)
    kinds.write_text(text.replace(",", ";"))  # which says the same of each image
    assert train(resume=True) == path
    kinds.write_text("file\n0.png\n")
    with pytest.raises(AekitError, match=r"^--labels kinds\.csv: "):
        train(resume=True)
    kinds.unlink()
    assert train(resume=True) == path


def test_a_finished_cell_is_only_passed_on_with_the_same_table(work):
    config = build_config({**OPTIONS, "data": "photos", "labels": "kinds.csv"})
    cell, report = Cell(config, train(), "the only one"), GridReport(1, Recorded(), lambda outcome: None)
    (done,) = run_missing([cell], lambda todo, report: iter([]), report, overwrite=False)
    assert isinstance(done, Done)
    assert done.is_old
    (work / "kinds.csv").write_text((work / "kinds.csv").read_text().replace("0.png,a", "0.png,b"))
    with pytest.raises(AekitError, match="was trained with other labels"):
        run_missing([cell], lambda todo, report: iter([]), report, overwrite=False)


def test_an_output_never_replaces_the_table(work):
    with pytest.raises(AekitError, match="its history would replace the table of labels"):
        train(output="kinds.safetensors", overwrite=True)
    path = train()
    with pytest.raises(AekitError, match="would replace the table of labels"):
        run_encode(open_session(path, table="kinds.csv", device="cpu"), Path("kinds.csv"))
    assert (work / "kinds.csv").read_text().startswith("file,label")


def test_a_run_is_named_after_its_table_without_its_folder():
    config = build_config({**OPTIONS, "data": "photos", "labels": "tables/kinds.csv"})
    assert "-labelskinds-" in run_name(config)
    assert command_words(config)[-2:] == ["--epochs", "1"]
    assert "--labels tables/kinds.csv" in " ".join(command_words(config))


def _wordy_table(work):
    """Write a table of which there is much to say: a column is not used, one is renamed, a row has no image."""
    rows = "".join(f"{n}.png,{'ab'[n % 2]},{n}\n" for n in (*range(10), 77))
    (work / "kinds.csv").write_text(f"file,class,age\n{rows}")


def _of_table(said):
    return [line for line in said.notices if "kinds.csv" in line or ".csv" in line]


def test_what_was_said_of_the_table_in_training_is_not_said_again(work):
    _wordy_table(work)
    path, said = train(), Recorded()
    assert encoded(path, said) == TRUTH
    assert _of_table(said) == []
    said = Recorded()
    assert encoded(path, said, table="kinds.csv") == TRUTH
    assert _of_table(said) == []


def test_what_is_new_of_the_table_is_said(work):
    _wordy_table(work)
    path, said = train(), Recorded()
    (work / "kinds.csv").write_text((work / "kinds.csv").read_text().replace("0.png,a", "0.png,b"))
    encoded(path, said)
    assert sum("was changed after training" in line for line in said.notices) == 1
    assert sum("1 row has no image (77.png)" in line for line in said.notices) == 1
    said = Recorded()
    encoded(train(None, "plain.safetensors"), said, table="kinds.csv")  # a table that this training did not have
    assert sum("age has 11 different values" in line for line in said.notices) == 1


STUDIES = {
    "evaluate": lambda session: list(run_evaluate(session, Path("e.json"), split="test")),
    "sample": lambda session: list(run_sample(session, Path("s.png"), n=4)),
    "decorrelation": lambda session: run_decorrelation(session, Path("d.png"), n_images=10, pca=False, split="all"),
    "files": lambda session: run_interpolate(
        session, Path("i.png"), PathRequest(starts=["photos/1.png"], stops=["photos/2.png"])
    ),
}


@pytest.mark.parametrize("study", STUDIES)
@pytest.mark.parametrize("state", ["there", "broken", "gone", "in the folder"])
def test_a_study_that_uses_no_labels_does_not_read_the_table(work, study, state):
    _wordy_table(work)
    place = Path("photos/kinds.csv" if state == "in the folder" else "kinds.csv")
    if state == "in the folder":
        (work / "kinds.csv").rename(place)
    path, said = train(str(place)), Recorded()
    if state == "broken":
        place.write_text("no,table\n1,2,3\n")
    if state == "gone":
        place.unlink()
    STUDIES[study](open_session(path, device="cpu", threads=1, progress=said))
    assert _of_table(said) == []
