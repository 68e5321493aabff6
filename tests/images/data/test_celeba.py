import pytest
from PIL import Image

from aekit.errors import AekitError
from aekit.images.config import DataConfig
from aekit.images.data import find_on_disk, read_images

N = 20
NAMES = [f"{number:06}.jpg" for number in range(1, N + 1)]
SMILING = [number % 3 == 0 for number in range(N + 1)]
MALE = [number % 2 == 0 for number in range(N + 1)]


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("AEKIT_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "celeba" / "img_align_celeba"
    folder.mkdir(parents=True)
    for number, name in enumerate(NAMES):
        # The mean of an image identifies it, even as a JPEG.
        Image.new("RGB", (12, 10), (10 * number,) * 3).save(folder / name)
    return tmp_path


def write_attributes(root, names=NAMES, yes="1", no="-1"):
    rows = [f"{n}  {yes if s else no} {yes if m else no}" for n, s, m in zip(names, SMILING, MALE, strict=False)]
    (root / "celeba" / "list_attr_celeba.txt").write_text("\n".join([str(len(rows)), "Smiling Male ", *rows, ""]))


def write_partition(root, parts, names=NAMES):
    rows = [f"{name} {part}" for name, part in zip(names, parts, strict=True)]
    (root / "celeba" / "list_eval_partition.txt").write_text("\n".join(rows) + "\n")


def read(root, split="train", **options):
    return read_images(DataConfig("celeba", **options), split, data_root=root)


def numbers(images):
    return (images.images.reshape(len(images), -1).mean(axis=1) / 10).round().astype(int).tolist()


def test_images_alone_are_enough(root):
    splits = [read(root, split, val=0.25) for split in ("train", "val", "test")]
    assert [len(images) for images in splits] == [12, 4, 4]
    assert sorted(number for images in splits for number in numbers(images)) == list(range(N))
    assert splits[0].attributes is None
    assert splits[0].labels is None
    assert find_on_disk("celeba", root) == root / "celeba"


def test_attributes_stay_with_their_images(root):
    write_attributes(root)
    images = read(root, "test")
    assert images.attribute_names == ("Smiling", "Male")
    assert images.attributes.dtype == bool
    assert images.attributes.tolist() == [[SMILING[number], MALE[number]] for number in numbers(images)]


def test_an_official_partition_is_kept_and_validation_images_are_for_training(root):
    write_partition(root, [0] * 10 + [1] * 4 + [2] * 6)
    assert numbers(read(root, "test")) == list(range(14, 20))
    assert numbers(read(root)) == list(range(14))
    assert len(read(root, "val", val=0.5)) == 7


def test_a_partition_without_test_images_gives_a_random_split(root):
    write_partition(root, [0] * N)
    assert len(read(root)) == 16
    assert len(read(root, "test")) == 4


def test_lists_may_cover_more_images_than_there_are(root):
    more = [*NAMES, "000021.jpg"]
    write_attributes(root, more)
    write_partition(root, [0] * 15 + [2] * 6, more)
    assert len(read(root, "test")) == 5


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda root: write_attributes(root, NAMES[:-1]), "list_attr_celeba.txt: 0 of 2 attributes for 000020.jpg"),
        (lambda root: write_attributes(root, no="0"), "attributes other than 1 and -1"),
        (lambda root: (root / "celeba" / "list_attr_celeba.txt").write_text(""), "0 of 0 attributes for 000001.jpg"),
        (lambda root: (root / "celeba" / "list_attr_celeba.txt").write_bytes(b"\xff\xfe"), "is not plain text"),
        (lambda root: write_partition(root, [0] * 19, NAMES[:-1]), "no split .* for 000020.jpg"),
        (lambda root: write_partition(root, [3] * N), "no split .* for 000001.jpg"),
    ],
)
def test_damaged_lists_are_named(root, spoil, what):
    spoil(root)
    with pytest.raises(AekitError, match=what):
        read(root)
