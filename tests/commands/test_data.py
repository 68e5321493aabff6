import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aekit.images.catalog import CATALOG


@pytest.fixture
def pictures(tmp_path):
    for number in range(10):
        folder = tmp_path / "pictures" / ("cat" if number % 2 else "dog")
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("L", (16, 12 + number), number * 20).save(folder / f"{number}.png")
    return tmp_path / "pictures"


def test_a_set_is_checked_and_its_path_printed(aekit, tmp_path):
    np.save(tmp_path / "faces.npy", np.full((10, 3, 8, 8), 200, np.uint8))
    result = aekit("data", "digits", tmp_path / "faces.npy")
    assert result.exit_code == 0
    assert [path.name for path in result.paths] == ["digits.csv.gz", "faces.npy"]
    assert (
        "digits: 1,438 training and 359 test images, height 8, width 8, 1 channel, 10 classes (0, 1, 2,"
        in result.stderr
    )
    assert "faces: 8 training and 2 test images, height 8, width 8, 3 channels\n" in result.stderr


def test_json_gives_one_object_per_line(aekit, pictures):
    result = aekit("data", pictures, "digits", "--image-size", 8, "--json", "--quiet")
    objects = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.stderr == ""
    assert objects[0] == {
        "path": str(pictures),
        "name": "pictures",
        "n": {"train": 8, "test": 2},
        "shape": [1, 8, 8],
        "classes": ["cat", "dog"],
        "attributes": [],
        "n_skipped": 0,
    }
    assert objects[1]["n"] == {"train": 1438, "test": 359}


def test_an_error_in_a_folder_is_one_line(aekit, pictures):
    result = aekit("data", pictures)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "images differ in size" in result.stderr.splitlines()[-1]


def test_images_that_are_left_out_are_counted(aekit, pictures):
    (pictures / "cat" / "1.png").write_text("x")
    result = aekit("data", pictures, "--image-size", 8, "--skip-bad")
    assert result.exit_code == 0
    assert "pictures: " in result.stderr
    assert ", 1 left out\n" in result.stderr


@pytest.mark.parametrize("arguments", [["--list"], []])
def test_the_list_shows_which_data_sets_are_on_disk(aekit, tmp_path, arguments):
    (tmp_path / "celeba" / "img_align_celeba").mkdir(parents=True)
    (tmp_path / "celeba" / "img_align_celeba" / "000001.jpg").touch()
    result = aekit("data", *arguments, "--data-root", tmp_path)
    rows = {words[0]: words[1] for line in result.stderr.splitlines() if len(words := line.split()) > 1}
    assert (rows["mnist"], rows["celeba"], rows["digits"]) == ("no", "1", "1,797")
    assert [path.name for path in result.paths] == ["celeba", "digits.csv.gz"]


def test_an_unknown_name_is_answered_with_the_nearest(aekit):
    result = aekit("data", "digit")
    assert result.exit_code == 1
    assert "did you mean 'digits'?" in result.stderr


@pytest.fixture
def damaged(tmp_path):
    """Return a folder of 20 images, of which five are damaged, and their names in order."""
    folder = tmp_path / "damaged"
    folder.mkdir()
    for number in range(20):
        Image.new("L", (16, 12), number * 10).save(folder / f"{number}.png")
    bad = (2, 3, 9, 10, 19)
    for number in bad[:4]:
        (folder / f"{number}.png").write_bytes(b"nothing")
    whole = (folder / "19.png").read_bytes()
    (folder / "19.png").write_bytes(whole[:-30])
    return folder, [str(folder / f"{number}.png") for number in bad]


def test_every_bad_image_is_named_with_its_reason_and_the_good_ones_are_counted(aekit, damaged):
    folder, bad = damaged
    result = aekit("data", folder)
    assert (result.exit_code, result.stdout) == (1, "")
    lines = [line.split(": ") for line in result.stderr.splitlines() if line.startswith("bad: ")]
    assert [(name, bool(reason)) for _, name, reason in lines] == [(name, True) for name in bad]
    assert "5 of 20 images cannot be used, named above, and 15 are good" in result.stderr.splitlines()[-1]
    skipped = aekit("data", folder, "--skip-bad", "--json")
    assert json.loads(skipped.stdout)["n_skipped"] == 5
    assert sum(json.loads(skipped.stdout)["n"].values()) == 15


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that root cannot read either")
def test_a_file_that_cannot_be_opened_is_listed_and_can_be_left_out(aekit, damaged):
    folder, bad = damaged
    (folder / "locked.png").symlink_to("/proc/self/mem")
    result = aekit("data", folder)
    assert result.exit_code == 1
    lines = [line.split(": ") for line in result.stderr.splitlines() if line.startswith("bad: ")]
    assert [name for _, name, _ in lines] == [*bad, str(folder / "locked.png")]
    assert lines[-1][2].startswith("cannot be read (")
    assert "6 of 21 images cannot be used" in result.stderr.splitlines()[-1]
    skipped = aekit("data", folder, "--skip-bad", "--json")
    assert json.loads(skipped.stdout)["n_skipped"] == 6


def test_bad_images_are_named_as_well_if_the_others_differ_in_size(aekit, pictures):
    (pictures / "cat" / "1.png").write_text("x")
    result = aekit("data", pictures)
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert [line.split(": ")[1] for line in lines if line.startswith("bad: ")] == [str(pictures / "cat" / "1.png")]
    assert "1 image cannot be used, named above" in lines[-2]
    assert lines[-1].count(" of height ") == 3
    assert "6 of 6 other sizes" in lines[-1]


def test_a_folder_named_like_an_image_is_counted_as_passed_over(aekit, tmp_path):
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(5):
            Image.new("L", (16, 16), number * 20).save(tmp_path / "set" / name / f"{number}.png")
    (tmp_path / "set" / "a" / "x.jpg").mkdir()
    result = aekit("data", tmp_path / "set")
    assert result.exit_code == 0
    assert "1 folder without images in a" in result.stderr


def test_bad_rows_of_an_array_are_named_and_other_sets_are_still_checked(aekit, tmp_path):
    images = np.full((20, 8, 8), 0.5, np.float32)
    images[[3, 11], 0, 0] = np.nan
    np.save(tmp_path / "faces.npy", images)
    result = aekit("data", tmp_path / "faces.npy", "digits")
    assert [line.split(": ")[1] for line in result.stderr.splitlines() if line.startswith("bad: ")] == [
        f"{tmp_path / 'faces.npy'} row {row}" for row in (3, 11)
    ]
    assert [path.name for path in result.paths] == ["digits.csv.gz"]
    assert result.exit_code == 1


def test_the_list_as_json_has_all_sets_and_says_which_are_on_disk(aekit, tmp_path):
    result = aekit("data", "--list", "--json", "--quiet", "--data-root", tmp_path)
    sets = {each["name"]: each for each in map(json.loads, result.stdout.splitlines())}
    assert {name for name, each in sets.items() if each["on_disk"]} == {"digits"}
    assert sets["celeba"]["path"] == str(tmp_path / "celeba")
    assert (sets["digits"]["n_on_disk"], sets["mnist"]["n_on_disk"]) == (1797, 0)
    assert set(sets) == set(CATALOG)
