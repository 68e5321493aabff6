"""Labels of a table find their images, in folders and in arrays, or are refused by name."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from recorded import Recorded

from aekit.core.progress import SILENT
from aekit.errors import AekitError
from aekit.images.config import DataConfig
from aekit.images.data import read_images
from aekit.images.data.labels import UnlabelledError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AEKIT_CACHE", str(tmp_path / "cache"))


def fill(folder, names):
    """Write an image of one value per name, the position of the name times 3, so that pixels tell the files apart."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 3 * number).save(path)
    return folder


def table(tmp_path, lines, header="file,label", name="labels.csv"):
    path = tmp_path / name
    path.write_text("\n".join([header, *lines, ""]))
    return path


def read(data, labels, split="all", progress=SILENT, **options):
    config = DataConfig(str(data), labels=None if labels is None else str(labels), **options)
    return read_images(config, split, data_root=data, progress=progress)


def classes(images):
    """Return the class of each image by its pixels."""
    return {int(image[0, 0, 0]) // 3: images.label_text(index) for index, image in enumerate(images.images)}


NAMES = ["img1.png", "img2.png", "img10.png", "IMG3.PNG"]


def test_each_image_has_the_label_of_its_file_in_every_split(tmp_path):
    names = [f"{number}.png" for number in range(20)]
    folder = fill(tmp_path / "x", names)
    path = table(tmp_path, [f"{number}.png,c{number}" for number in reversed(range(20))])
    sets = {split: read(folder, path, split, val=0.25) for split in ("train", "val", "test")}
    truth = {number: f"c{number}" for number in range(20)}
    assert {k: v for images in sets.values() for k, v in classes(images).items()} == truth
    assert {images.class_names for images in sets.values()} == {tuple(truth.values())}


@pytest.mark.parametrize(
    "spell",
    [
        lambda name: name,
        lambda name: f"./{name}",
        lambda name: f"x/{name}",
        lambda name: f"C:\\photos\\x\\{name}",
        lambda name: f"/elsewhere/{name}",
        lambda name: name.rpartition(".")[0],
        lambda name: name.replace("png", "jpg").replace("PNG", "tif"),
        lambda name: name.upper(),
        lambda name: name.lower().removesuffix(".png"),
    ],
)
def test_files_are_found_by_path_or_name_with_or_without_suffix_in_any_case(tmp_path, spell):
    folder = fill(tmp_path / "x", NAMES)
    path = table(tmp_path, [f"{spell(name)},c{number}" for number, name in enumerate(NAMES)])
    assert classes(read(folder, path)) == {number: f"c{number}" for number in range(4)}


def test_names_in_letters_that_macos_takes_apart_are_the_same(tmp_path):
    folder = fill(tmp_path / "x", ["Mu\u0308ller.png", "b.png"])
    assert classes(read(folder, table(tmp_path, ["M\u00fcller.png,a", "b.png,b"]))) == {0: "a", 1: "b"}


def test_what_was_matched_loosely_is_said_with_an_example(tmp_path):
    folder, said = fill(tmp_path / "x", ["a.png", "b.png"]), Recorded()
    read(folder, table(tmp_path, ["a.png,1", "b,2"]), progress=said)
    assert any("1 file is found by a part of the name, such as b.png for 'b'" in line for line in said.notices)


def test_the_same_name_in_two_folders_needs_the_folder(tmp_path):
    folder = fill(tmp_path / "x", ["cats/1.png", "dogs/1.png", "dogs/2.png"])
    truth = {0: "tabby", 1: "pug", 2: "lab"}
    path = table(tmp_path, ["photos/cats/1.jpg,tabby", "dogs\\1.png,pug", "2.png,lab"])
    said = Recorded()
    images = read(folder, path, progress=said)
    assert classes(images) == truth
    assert images.class_names == ("lab", "pug", "tabby")
    assert any("replaces the classes that x brings along" in line for line in said.notices)
    with pytest.raises(AekitError, match=r"'1.png' can be cats/1.png or dogs/1.png; give more of the path"):
        read(folder, table(tmp_path, ["1.png,a", "2.png,b"]))


def test_a_table_of_several_folders_gives_each_its_own_rows(tmp_path):
    fill(tmp_path / "train", ["1.png", "2.png"])
    fill(tmp_path / "test", ["1.png", "2.png"])
    path = table(tmp_path, ["train/1.png,a", "test/1.png,b", "test/2.png,c", "train/2.png,d"])
    said = Recorded()
    assert classes(read(tmp_path / "train", path, progress=said)) == {0: "a", 1: "d"}
    assert any("2 rows have no image (test/1.png, test/2.png)" in line for line in said.notices)
    assert classes(read(tmp_path / "test", path)) == {0: "b", 1: "c"}


def test_rows_without_an_image_name_each_file_once(tmp_path):
    folder, said = fill(tmp_path / "x", ["a.png"]), Recorded()
    lines = [f"{name}.tif,{row},c" for name in "pq" for row in range(5)]
    read(folder, table(tmp_path, ["a.png,0,c", *lines], "file,row,label"), progress=said)
    assert any("10 rows of 2 files have no image (p.tif, q.tif)" in line for line in said.notices)
    with pytest.raises(UnlabelledError, match=r"its files are p.tif, q.tif\)"):
        read(folder, table(tmp_path, lines, "file,row,label"))


def test_images_without_a_row_are_refused_by_name(tmp_path):
    folder = fill(tmp_path / "x", ["a.png", "b.png", "c.png"])
    with pytest.raises(UnlabelledError, match=r"2 of 3 images have no row \(b.png, c.png\); add the missing rows"):
        read(folder, table(tmp_path, ["a.png,1"]))
    with pytest.raises(UnlabelledError, match=r"none of 3 images has a row .*its files are q.png"):
        read(folder, table(tmp_path, ["q.png,1"]))
    with pytest.raises(AekitError, match=r"1 image has an empty label \(b.png\)"):
        read(folder, table(tmp_path, ["a.png,1", "b.png,", "c.png,3"]))


def test_rows_that_contradict_each_other_are_refused_and_repeats_are_not(tmp_path):
    folder = fill(tmp_path / "x", ["a.png", "b.png"])
    with pytest.raises(AekitError, match=r"a.png is 'cat' in line 2 and 'dog' in line 4; keep one of them"):
        read(folder, table(tmp_path, ["a.png,cat", "b.png,cat", "a.png,dog"]))
    assert classes(read(folder, table(tmp_path, ["a.png,cat", "b.png,cat", "a.png,cat"]))) == {0: "cat", 1: "cat"}
    with pytest.raises(AekitError, match="keep one of them"):
        read(folder, table(tmp_path, ["a.png,1", "b.png,1", "a.png,0"], "file,male"))


def test_attributes_alone_leave_the_classes_of_the_folders(tmp_path):
    folder = fill(tmp_path / "x", ["cats/1.png", "dogs/2.png"])
    images = read(folder, table(tmp_path, ["1.png,yes", "2.png,no"], "file,tabby"))
    assert classes(images) == {0: "cats", 1: "dogs"}
    assert (images.attribute_names, images.attributes.tolist()) == (("tabby",), [[True], [False]])


def test_pages_have_the_label_of_their_file_or_of_their_row(tmp_path):
    folder = fill(tmp_path / "x", ["a.png"])
    pages = [Image.new("L", (8, 8), 3 * (number + 1)) for number in range(3)]
    pages[0].save(folder / "b.tif", save_all=True, append_images=pages[1:])
    assert classes(read(folder, table(tmp_path, ["a.png,x", "b.tif,y"]))) == {0: "x", 1: "y", 2: "y", 3: "y"}
    rows = ["a.png,,x", "b.tif,2,r", "b.tif,0,p", "b.tif,1,q"]
    assert classes(read(folder, table(tmp_path, rows, "file,row,label"))) == {0: "x", 1: "p", 2: "q", 3: "r"}
    assert classes(read(folder / "b.tif", table(tmp_path, ["b.tif,y"]))) == {1: "y", 2: "y", 3: "y"}
    assert classes(read(folder / "b.tif", table(tmp_path, ["b.tif,y"] * 3))) == {1: "y", 2: "y", 3: "y"}


def test_rows_of_pages_without_numbers_are_not_taken_in_their_order(tmp_path):
    pages = [Image.new("L", (8, 8), 3 * (number + 1)) for number in range(3)]
    pages[0].save(tmp_path / "b.tif", save_all=True, append_images=pages[1:])
    rows = ["b.tif,2,r", "b.tif,0,p", "b.tif,1,q"]
    with pytest.raises(AekitError, match="'r' in line 2 and 'p' in line 3; keep one of them, or number the pages in a"):
        read(tmp_path / "b.tif", table(tmp_path, rows, "file,page,label"))


def array(tmp_path, n=12, name="faces.npy"):
    np.save(tmp_path / name, (3 * np.arange(n, dtype=np.uint8))[:, None, None] * np.ones((1, 8, 8), np.uint8))
    return tmp_path / name


@pytest.mark.parametrize(
    ("header", "line"),
    [
        ("label", "c{0}"),
        ("file,label", "faces.npy,c{0}"),
        ("row,label", "{0},c{0}"),
        ("file,row,label", "faces,{0},c{0}"),
    ],
)
def test_rows_of_an_array_go_by_number_or_by_order(tmp_path, header, line):
    data = array(tmp_path)
    images = read(data, table(tmp_path, [line.format(number) for number in range(12)], header), "train")
    assert len(images) == 10
    assert all(name == f"c{number}" for number, name in classes(images).items())
    assert images.class_names == tuple(f"c{number}" for number in range(12))


def test_numbered_rows_may_be_in_any_order(tmp_path):
    lines = [f"{number},c{number}" for number in reversed(range(12))]
    found = classes(read(array(tmp_path), table(tmp_path, lines, "row,label")))
    assert found == {number: f"c{number}" for number in range(12)}


@pytest.mark.parametrize(
    ("header", "lines", "message"),
    [
        ("label", ["a"] * 11, "has 11 rows for 12 images"),
        ("file,label", ["faces.npy,a"] * 3, "has 3 rows for the 12 images of faces.npy"),
        ("file,label", ["faces.npy,a"], "has 1 row for the 12 images of faces.npy"),
        ("file,label", [f"{n}.jpg,a" for n in range(12)], "none of 12 images has a row .*write faces.npy in column"),
        ("row,label", [f"{n},a" for n in range(1, 13)], r"1 of 12 images has no row \(faces.npy\[0\]\)"),
    ],
)
def test_rows_of_an_array_that_do_not_fit_are_refused(tmp_path, header, lines, message):
    with pytest.raises(UnlabelledError, match=message):
        read(array(tmp_path), table(tmp_path, lines, header))


def test_the_parts_of_a_file_are_named_by_their_arrays(tmp_path):
    pixels = (3 * np.arange(8, dtype=np.uint8))[:, None, None] * np.ones((1, 8, 8), np.uint8)
    np.savez(tmp_path / "x.npz", x_train=pixels[:5], x_test=pixels[5:])
    lines = [f"x_train,{n},c{n}" for n in range(5)] + [f"x.npz:x_test,{n},c{n + 5}" for n in range(3)]
    path = table(tmp_path, lines, "file,row,label")
    for split, n in (("train", 5), ("test", 3), ("all", 8)):
        found = classes(read(tmp_path / "x.npz", path, split))
        assert len(found) == n
        assert all(name == f"c{number}" for number, name in found.items())
    with pytest.raises(AekitError, match=r"has no column file to tell x\.npz:x_train"):
        read(tmp_path / "x.npz", table(tmp_path, ["a"] * 8, "label"))


def test_a_table_changes_neither_pixels_nor_their_fingerprint_and_is_never_cached(tmp_path):
    folder = fill(tmp_path / "x", NAMES)
    plain = read(folder, None)
    first = read(folder, table(tmp_path, [f"{name},a" for name in NAMES]))
    second = read(folder, table(tmp_path, [f"{name},b" for name in NAMES]))
    assert first.fingerprint == second.fingerprint == plain.fingerprint
    assert (plain.labels_fingerprint, plain.labels) == ("", None)
    assert first.labels_fingerprint != second.labels_fingerprint
    assert set(classes(second).values()) == {"b"}


def test_a_table_in_the_folder_is_found_with_its_path(tmp_path):
    folder = fill(tmp_path / "x", NAMES)
    path, said = table(folder, [f"{name},a" for name in NAMES]), Recorded()
    read(folder, path, progress=said)
    assert not any("some files are not read" in line or "contains a" in line for line in said.notices)
    with pytest.raises(
        UnlabelledError, match=r"--labels labels.csv: no such file; it is in the folder of images, give"
    ):
        read(folder, "labels.csv")


def test_a_known_data_set_keeps_its_labels(tmp_path):
    with pytest.raises(AekitError, match="digits has labels, leave it out"):
        read_images(DataConfig("digits", labels="x.csv"), "train", data_root=tmp_path)
