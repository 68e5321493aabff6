"""The known data sets: where they are under the data root, how large they are, and their licences.

Standard library only, so that help and completion need not load numpy; :data:`aekit.images.data.DATASETS` holds the
reader of each.
"""

from __future__ import annotations

from dataclasses import dataclass

_DIGITS = tuple("0123456789")
_LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")


@dataclass(frozen=True)
class KnownDataSet:
    """A public data set with a name.

    Attributes:
        folder: Its folder under the data root, in torchvision's layout; empty if it needs no folder.
        torchvision: Name of the class in ``torchvision.datasets`` that downloads it; empty if there is no download.
        n_train: Number of training images, including those of an official validation split.
        n_test: Number of test images.
        image_shape: (channels, height, width).
        megabytes: Size of the download.
        licence: Its licence, or what is known of it.
        about: What it shows, in one line.
        class_names: One name per class.
    """

    folder: str
    torchvision: str
    n_train: int
    n_test: int
    image_shape: tuple[int, int, int]
    megabytes: float
    licence: str
    about: str
    class_names: tuple[str, ...] = ()


CATALOG: dict[str, KnownDataSet] = {
    "mnist": KnownDataSet(
        "MNIST", "MNIST", 60_000, 10_000, (1, 28, 28), 11.6, "commonly CC BY-SA 3.0", "handwritten digits", _DIGITS
    ),
    "fashion-mnist": KnownDataSet(
        "FashionMNIST", "FashionMNIST", 60_000, 10_000, (1, 28, 28), 30.9, "MIT", "articles of clothing",
        ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    "kmnist": KnownDataSet(
        "KMNIST", "KMNIST", 60_000, 10_000, (1, 28, 28), 21.0, "CC BY-SA 4.0", "cursive hiragana, ten characters",
        ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    ),
    "emnist": KnownDataSet(
        "EMNIST", "EMNIST", 112_800, 18_800, (1, 28, 28), 562.0, "none stated (NIST SD 19)",
        "handwritten letters and digits, the balanced split", (*_DIGITS, *_LETTERS, *"abdefghnqrt"),
    ),
    "cifar10": KnownDataSet(
        "cifar-10-batches-py", "CIFAR10", 50_000, 10_000, (3, 32, 32), 170.5, "none stated",
        "photographs of ten classes of objects",
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    ),
    "celeba": KnownDataSet(
        "celeba", "CelebA", 182_637, 19_962, (3, 218, 178), 1443.0, "non-commercial research only",
        "faces with 40 attributes",
    ),
    "shapes": KnownDataSet(
        "", "", 589_824, 147_456, (1, 64, 64), 0.0, "none needed",
        "drawn shapes with five factors, the grid of dSprites: no download", ("square", "ellipse", "heart"),
    ),
    "shapes-colour": KnownDataSet(
        "", "", 384_000, 96_000, (3, 64, 64), 0.0, "none needed",
        "drawn shapes with six factors, the grid of 3D Shapes: no download",
        ("square", "ellipse", "heart", "triangle"),
    ),
    "dsprites": KnownDataSet(
        "dsprites", "", 589_824, 147_456, (1, 64, 64), 0.0, "Apache 2.0",
        "dSprites, shapes with five factors, from its official file", ("square", "ellipse", "heart"),
    ),
    "digits": KnownDataSet(
        "", "", 1_438, 359, (1, 8, 8), 0.0, "CC BY 4.0", "small handwritten digits, part of scikit-learn: no download",
        _DIGITS,
    ),
}  # fmt: skip
