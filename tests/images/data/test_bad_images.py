"""What is wrong with images is the same everywhere; the option that leaves them out is named where there is one."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from aekit.errors import AekitError
from aekit.images.data.bad_images import BadImagesError, read_by_study


def test_a_study_names_no_option_that_it_does_not_have():
    error = BadImagesError("a.png: it is not an image; fix or remove it")
    assert str(error) == "a.png: it is not an image; fix or remove it, or leave such images out with --skip-bad"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    with pytest.raises(AekitError) as told, read_by_study():
        raise error
    assert str(told.value) == "a.png: it is not an image; fix or remove it"


@pytest.mark.slow
def test_every_study_of_damaged_images_names_them_and_no_option_of_trainings(aekit, vae_checkpoint, tmp_path):
    np.save(tmp_path / "nan.npy", np.full((40, 8, 8), np.nan, np.float32))
    (tmp_path / "folder").mkdir()
    for number in range(12):
        (tmp_path / "folder" / f"bad{number}.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    commands = [
        ("outliers", "--data"), ("outliers", "--inliers"), ("outliers", "--outliers"), ("compare-codes", "--data"),
        ("sample", "--density", "gmm", "--data"), ("evaluate", "--data"),
    ]  # fmt: skip
    for command, *options in commands:
        for name, said in (("nan.npy", "not finite"), ("folder", ".png: it is not an image")):
            result = aekit(command, vae_checkpoint, *options, tmp_path / name, "-o", tmp_path / "out" / "x")
            lines = [line for line in result.stderr.splitlines() if line.startswith("aekit: ")]
            assert (result.exit_code, result.stdout, len(lines)) == (1, "", 1), result.stderr
            assert said in lines[0]
            assert name in lines[0]
            assert "--skip-bad" not in lines[0]
    assert not list(tmp_path.glob("out/**/*.*"))
    trained = aekit("train-vae", "--data", tmp_path / "folder", "-o", tmp_path / "x.safetensors")
    assert "--skip-bad" in trained.stderr
