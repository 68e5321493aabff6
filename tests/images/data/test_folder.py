import os

import numpy as np
import pytest
from PIL import Image
from recorded import Recorded

from aekit.core.progress import SILENT
from aekit.errors import AekitError
from aekit.images.config import DataConfig
from aekit.images.data import read_images


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AEKIT_CACHE", str(tmp_path / "cache"))


def write(path, seed=0, size=(10, 12), channels=3):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = size if channels == 1 else (*size, channels)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)).save(path)
    return path


def fill(folder, n, prefix="", **options):
    return [write(folder / f"{prefix}{number:03}.png", seed=number, **options) for number in range(n)]


def read(folder, split="train", *, progress=SILENT, **options):
    return read_images(DataConfig(str(folder), **options), split, data_root=folder, progress=progress)


def pixels(path):
    return np.asarray(Image.open(path)).transpose(2, 0, 1).tobytes()


def test_a_flat_folder_gives_all_its_images_once(tmp_path):
    paths = fill(tmp_path / "faces", 20)
    splits = [read(tmp_path / "faces", split, val=0.25) for split in ("train", "val", "test")]
    assert [len(images) for images in splits] == [12, 4, 4]
    assert {image.tobytes() for images in splits for image in images.images} == {pixels(path) for path in paths}
    assert splits[0].name == "faces"
    assert splits[0].labels is None


def test_class_folders_give_labels_in_the_order_of_their_names(tmp_path):
    truth = {}
    for number, name in enumerate(["zebra", "ant", "Bee"]):
        for seed in range(10):
            truth[pixels(write(tmp_path / name / f"{seed}.png", seed=100 * number + seed))] = name
    images = read(tmp_path)
    assert images.class_names == ("Bee", "ant", "zebra")
    assert [images.label_text(index) for index in range(24)] == [truth[image.tobytes()] for image in images.images]


def test_hidden_files_and_other_files_are_ignored(tmp_path):
    fill(tmp_path, 10)
    write(tmp_path / ".hidden.png")
    write(tmp_path / ".thumbnails" / "x.png")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    assert len(read(tmp_path)) + len(read(tmp_path, "test")) == 10


def test_suffixes_may_be_in_capitals(tmp_path):
    for name in ("a.PNG", "b.JPG", "c.jpeg", "d.bmp", "e.gif", "f.TIF", "g.tiff", "h.webp"):
        write(tmp_path / name)
    assert len(read(tmp_path)) + len(read(tmp_path, "test")) == 8


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["a/b/x.png"], "two folders down"),
        (["a/x.png", "a/b/x.png"], "two folders down"),
        (["x.png", "a/x.png"], "both images and a subfolder of images, a"),
        (["notes.txt/x.gz"], "holds no images"),
    ],
)
def test_other_nestings_are_refused_with_the_supported_ones(tmp_path, names, what):
    for name in names:
        if name.endswith(".png"):
            write(tmp_path / name)
        else:
            (tmp_path / name).parent.mkdir()
            (tmp_path / name).touch()
    with pytest.raises(AekitError, match=what) as error:
        read(tmp_path)
    assert "one folder of images per class" in str(error.value)


def test_mixed_sizes_are_counted_and_the_option_named(tmp_path):
    fill(tmp_path, 5)
    write(tmp_path / "x.png", size=(20, 30))
    with pytest.raises(
        AekitError,
        match=r"5 of height 10, width 12 \(.*/000.png\); 1 of height 20, width 30 \(.*/x.png\); give --image-size",
    ):
        read(tmp_path)
    assert read(tmp_path, image_size=(9, 9)).image_shape == (3, 9, 9)


def test_a_folder_of_gray_images_has_one_channel_and_a_mixed_one_three(tmp_path):
    fill(tmp_path / "gray", 10, channels=1)
    assert read(tmp_path / "gray").image_shape == (1, 10, 12)
    write(tmp_path / "gray" / "colour.png")
    assert read(tmp_path / "gray").image_shape == (3, 10, 12)
    assert read(tmp_path / "gray", grayscale=True).image_shape == (1, 10, 12)


def test_the_splits_of_a_limited_folder_agree_on_the_channels(tmp_path):
    fill(tmp_path, 30, channels=1)
    for number in range(3):
        write(tmp_path / f"colour{number}.png")
    shapes = {read(tmp_path, split, limit=5, val=0.2).image_shape for split in ("train", "val", "test")}
    assert len(shapes) == 1


def test_only_the_images_within_the_limit_are_decoded(tmp_path):
    fill(tmp_path, 50)
    progress = Recorded()
    read(tmp_path, limit=3, progress=progress)
    assert progress.updates[-1] == ("decoding", 6, 6)  # three for training, three for the test


def test_limited_sets_are_nested_subsets_of_the_whole(tmp_path):
    fill(tmp_path, 50)
    whole = {image.tobytes() for image in read(tmp_path).images}
    few, more = ({image.tobytes() for image in read(tmp_path, limit=limit).images} for limit in (5, 15))
    assert few < more < whole


def spoil(path):
    path.write_bytes(path.read_bytes()[:100])


def test_a_bad_image_is_named_with_the_option_that_skips_it(tmp_path):
    spoil(fill(tmp_path, 10)[4])
    with pytest.raises(AekitError, match=r"004.png: .*truncated.* --skip-bad"):
        read(tmp_path)
    (tmp_path / "002.png").write_text("no image")
    with pytest.raises(AekitError, match=r"002.png: it is not an image in a known format; .* --skip-bad"):
        read(tmp_path)


def test_skipped_images_are_counted_named_and_leave_the_splits_as_they_are(tmp_path):
    fill(tmp_path, 40)
    whole = {split: read(tmp_path, split) for split in ("train", "test")}
    for number in range(5):
        spoil(tmp_path / f"{number:03}.png")
    for _ in ("decoded", "from the cache"):
        progress = Recorded()
        left = {split: read(tmp_path, split, skip_bad=True, progress=progress) for split in whole}
        assert sum(images.n_skipped for images in left.values()) == 5
        for split, images in left.items():
            assert len(images) + images.n_skipped == len(whole[split])
            assert {i.tobytes() for i in images.images} <= {i.tobytes() for i in whole[split].images}
        assert any(text.startswith(f"left out {tmp_path.name}/000.png: ") for text in progress.notices)
        assert "left out 5 images in total" in progress.notices
    with pytest.raises(AekitError, match=r"000\.png"):  # skipped files are still errors without the option
        read(tmp_path)


def test_a_folder_of_nothing_but_bad_images_is_refused(tmp_path):
    for path in fill(tmp_path, 5):
        path.write_text("x")
    with pytest.raises(AekitError, match="none of its 5 images can be decoded"):
        read(tmp_path, skip_bad=True)


def test_odd_names_are_shown_escaped(tmp_path):
    folder = tmp_path / os.fsdecode(b"f\xff")
    for path in fill(folder, 5, prefix="a\x1b[31m"):
        path.write_text("x")
    with pytest.raises(AekitError) as error:
        read(folder)
    assert str(error.value).isprintable()
    assert "f\\udcff" in str(error.value)
    assert "a\\x1b[31m000.png" in str(error.value)


def test_class_names_can_be_printed(tmp_path):
    fill(tmp_path / os.fsdecode(b"\xff"), 10)
    assert read(tmp_path).class_names == ("\\udcff",)


def test_the_current_folder_has_a_name(tmp_path, monkeypatch):
    fill(tmp_path / "flowers", 10)
    monkeypatch.chdir(tmp_path / "flowers")
    assert read(".").name == "flowers"


def test_too_few_images_for_a_split_are_an_error(tmp_path):
    fill(tmp_path, 1)
    with pytest.raises(AekitError, match="too few images, none is left for the test split"):
        read(tmp_path, "test")
    fill(tmp_path, 10)
    with pytest.raises(AekitError, match="none is left for the val split; use a larger --val"):
        read(tmp_path, "val", val=0.01)


def test_what_is_passed_over_is_counted_by_kind_and_folder(tmp_path):
    for name in ("cat", "dog"):
        fill(tmp_path / name, 5)
    for number in range(3):
        (tmp_path / "cat" / f"{number}.HEIC").write_bytes(b"x")
    (tmp_path / "dog" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "labels.csv").write_text("file,label\n")
    (tmp_path / "owl").mkdir()
    said = Recorded()
    images = read(tmp_path, progress=said)
    assert images.class_names == ("cat", "dog")
    (line,) = [line for line in said.notices if "some files are not read" in line]
    for part in ("3 .heic in cat", "1 link to nothing in dog", "1 .csv", "1 folder without images in owl"):
        assert part in line
    assert any("contains a .csv file" in line and "--labels" in line for line in said.notices)


def test_a_folder_of_other_files_says_which_ones_it_holds(tmp_path):
    (tmp_path / "a.heic").write_bytes(b"x")
    with pytest.raises(AekitError, match=r"holds no images \(passed over: 1 \.heic\)"):
        read(tmp_path)


@pytest.mark.parametrize("classes", [("",), ("cat", "horse")])
def test_folders_of_splits_are_the_splits(tmp_path, classes):
    truth = {}
    for number, (folder, split) in enumerate({"Train": "train", "valid": "val", "test": "test"}.items()):
        for name in classes:
            for seed in range(4):
                truth[pixels(write(tmp_path / folder / name / f"{seed}.png", seed=100 * number + seed + len(name)))] = (
                    split
                )
    said = Recorded()
    for split in ("train", "val", "test"):
        images = read(tmp_path, split, progress=said)
        assert {truth[image.tobytes()] for image in images.images} == {split}
        assert images.class_names == (classes if classes[0] else ())
    assert any("its folders are used as the splits" in line for line in said.notices)
    with pytest.raises(AekitError, match=r"--val: .* has validation images of its own"):
        read(tmp_path, val=0.25)


def test_splits_next_to_other_images_are_refused_by_name(tmp_path):
    for name in ("train", "test", "bus"):
        fill(tmp_path / name, 5)
    with pytest.raises(AekitError, match="holds bus next to"):
        read(tmp_path)


def test_images_know_their_files(tmp_path):
    for name in ("cat", "dog"):
        fill(tmp_path / name, 5)
    images = read(tmp_path, "all")
    assert images.origin_columns()["file"] == [f"{name}/{n:03}.png" for name in ("cat", "dog") for n in range(5)]
    for index in range(10):
        assert pixels(tmp_path / images.origin_text(index)) == images.images[index].tobytes()


def test_every_page_is_an_image_that_knows_its_place(tmp_path):
    pages = [Image.fromarray(np.full((10, 12), value, np.uint8)) for value in range(0, 250, 10)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    images = read(tmp_path, "all")
    assert images.images[:, 0, 0, 0].tolist() == list(range(0, 250, 10))
    assert images.origin_text(7) == "stack.tif[7]"
    one = read(tmp_path / "stack.tif", "all")
    assert len(one) == 25
