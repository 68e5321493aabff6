"""What is known of the public data sets: where they lie under the data root, how large they are, whose they are."""

from __future__ import annotations

from dataclasses import dataclass

_DIGITS = tuple("0123456789")
_LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")


@dataclass(frozen=True)
class Published:
    """A data set that a name stands for.

    Attributes:
        folder: Where it lies under the data root, in torchvision's layout; empty if it needs no folder.
        torchvision: Name of the class in ``torchvision.datasets`` that downloads it; empty if nothing does.
        n_train: Training images, with those of an official validation split.
        n_test: Test images.
        image_shape: (channels, height, width).
        megabytes: Size of the download.
        licence: Its licence, or what is said about it.
        about: One line on what it shows.
        class_names: One name a class.
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


CATALOG: dict[str, Published] = {
    "mnist": Published(
        "MNIST", "MNIST", 60_000, 10_000, (1, 28, 28), 11.6, "commonly CC BY-SA 3.0", "handwritten digits", _DIGITS
    ),
    "fashion-mnist": Published(
        "FashionMNIST", "FashionMNIST", 60_000, 10_000, (1, 28, 28), 30.9, "MIT", "articles of clothing",
        ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    "kmnist": Published(
        "KMNIST", "KMNIST", 60_000, 10_000, (1, 28, 28), 21.0, "CC BY-SA 4.0", "cursive hiragana, ten characters",
        ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    ),
    "emnist": Published(
        "EMNIST", "EMNIST", 112_800, 18_800, (1, 28, 28), 562.0, "none stated (NIST SD 19)",
        "handwritten letters and digits, the balanced split", (*_DIGITS, *_LETTERS, *"abdefghnqrt"),
    ),
    "cifar10": Published(
        "cifar-10-batches-py", "CIFAR10", 50_000, 10_000, (3, 32, 32), 170.5, "none stated",
        "photographs of ten kinds of object",
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    ),
    "celeba": Published(
        "celeba", "CelebA", 182_637, 19_962, (3, 218, 178), 1443.0, "non-commercial research only",
        "faces with 40 attributes",
    ),
    "digits": Published(
        "", "", 1_438, 359, (1, 8, 8), 0.0, "CC BY 4.0", "small handwritten digits, part of scikit-learn: no download",
        _DIGITS,
    ),
}  # fmt: skip
