import subprocess
import sys

import numpy as np
from sklearn.datasets import load_digits

from aekit.images.config import DataConfig
from aekit.images.data.digits import read_digits


def test_the_digits_are_those_of_scikit_learn():
    splits = [read_digits(DataConfig("digits", val=0.25), split) for split in ("train", "val", "test")]
    assert [len(images) for images in splits] == [1078, 360, 359]
    ours = {(image.tobytes(), int(label)) for s in splits for image, label in zip(s.images, s.labels, strict=True)}
    truth = load_digits()
    scaled = np.round(truth.images * 255 / 16).astype(np.uint8)
    assert ours == {(image.tobytes(), int(label)) for image, label in zip(scaled, truth.target, strict=True)}
    assert max(images.images.max() for images in splits) == 255


def test_reading_the_digits_loads_neither_torch_nor_scikit_learn():
    script = (
        "import sys; from aekit.images.config import DataConfig; from aekit.images.data.digits import read_digits\n"
        "read_digits(DataConfig('digits'), 'train'); print(not {'torch', 'sklearn'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
