"""A computation has its own settings of the process, and the caller has theirs back."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import warnings

import matplotlib as mpl
import numpy as np
import pytest
import torch
import torch.utils.deterministic

import aekit as package
from aekit.brains.cohort.phantom import run_phantom
from aekit.core.device import seed_everything
from aekit.core.torch_settings import keeps_torch_settings, torch_settings
from aekit.images.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from aekit.images.data import read_images
from aekit.images.decorrelation.study import run_decorrelation
from aekit.images.evaluation.encode import run_encode
from aekit.images.evaluation.evaluate import run_evaluate
from aekit.images.evaluation.reconstruct import run_reconstruct
from aekit.images.evaluation.sample import run_sample
from aekit.images.inference import decode_codes, encode_images, reconstruct_images
from aekit.images.interpolation.study import run_interpolate
from aekit.images.pca.study import run_pca_compare
from aekit.images.runs import Machine, run_training
from aekit.images.session import open_session
from aekit.images.tsne.study import run_tsne
from aekit.results.report import run_report

pytestmark = pytest.mark.slow  # each trains, draws or starts the program

_LEVELS = (
    torch.backends,
    *(torch.backends.cuda.matmul, torch.backends.cudnn, torch.backends.cudnn.conv, torch.backends.cudnn.rnn),
    *(torch.backends.mkldnn, torch.backends.mkldnn.matmul, torch.backends.mkldnn.conv),
)


def _tf32():
    try:
        return torch.backends.cudnn.allow_tf32
    except RuntimeError as error:  # the older and the newer settings contradict each other
        return str(error)


def _settings():
    """Return every setting of the process that a library might touch."""
    return {
        "precision": [getattr(level, "fp32_precision", None) for level in _LEVELS],
        "tf32": _tf32(),
        "matmul": torch.get_float32_matmul_precision(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warn only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "fill": torch.utils.deterministic.fill_uninitialized_memory,
        "benchmark": torch.backends.cudnn.benchmark,
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "dtype": torch.get_default_dtype(),
        "gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "torch": torch.get_rng_state().tolist(),
        "numpy": str(np.random.get_state()),  # noqa: NPY002
        "python": random.getstate(),
        "errors": np.geterr(),
        "print": (np.get_printoptions(), torch._tensor_str.PRINT_OPTS.precision),
        "filters": list(warnings.filters),
        "show": warnings.showwarning,
        "figures": dict(mpl.rcParams),
        "backend": mpl.get_backend(),
        "environment": {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"},
    }


@pytest.fixture
def callers_settings():
    """Set what a caller might, yield all settings, and put the former ones back."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.manual_seed(7)
    random.seed(7)
    torch.backends.cudnn.benchmark = True
    try:
        yield _settings()
    finally:
        torch.set_num_threads(before)
        torch.backends.cudnn.benchmark = False


def _check(before):
    after = _settings()
    assert [name for name in before if after[name] != before[name]] == []


def test_loading_and_using_a_model_leaves_the_callers_settings(callers_settings, vae_checkpoint):
    model = package.load(vae_checkpoint)
    images = read_images(DataConfig(name="digits", limit=20), "test", data_root=vae_checkpoint.parent)
    reconstruct_images(model, images)
    decode_codes(model, encode_images(model, images).mean)
    model.decode(model.encode(torch.full((1, 1, 8, 8), 0.5)))
    _check(callers_settings)


@pytest.mark.parametrize("part", ["encode", "decode"])
def test_a_loaded_model_can_be_exported(vae_checkpoint, part):
    model = package.load(vae_checkpoint)
    x = torch.rand(3, 1, 8, 8)
    z = model.encode(x)

    class Part(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, given):
            return getattr(self.model, part)(given)

    given = x if part == "encode" else z
    with torch.no_grad():
        exported = torch.export.export(Part().eval(), (given,)).module()
    assert torch.allclose(exported(given), getattr(model, part)(given), atol=1e-6)


SLOW_STUDIES = [pytest.param(study, marks=pytest.mark.slow) for study in (run_pca_compare, run_sample, run_tsne)]


@pytest.mark.parametrize(
    "study", [run_reconstruct, run_encode, run_evaluate, run_interpolate, run_decorrelation, *SLOW_STUDIES]
)
def test_studies_leave_the_callers_settings_also_between_two_results(callers_settings, vae_checkpoint, tmp_path, study):
    output = {run_encode: "codes.csv", run_evaluate: "numbers.json"}.get(study, "figure.png")
    found = study(open_session(vae_checkpoint, threads=1), tmp_path / output)
    for _ in [found] if hasattr(found, "path") else found:
        _check(callers_settings)
    _check(callers_settings)


def test_training_phantoms_and_reports_leave_the_callers_settings(callers_settings, tmp_path):
    config = RunConfig(
        data=DataConfig("digits", limit=200), model=ModelConfig(latent=2), train=TrainConfig(epochs=1, seed=3)
    )
    machine = Machine(tmp_path, device="cpu", threads=1)
    run_training(config, tmp_path / "vae.safetensors", machine)
    run_report([tmp_path], tmp_path / "report.html")
    run_phantom(2, tmp_path / "phantom", 16)
    _check(callers_settings)


def test_a_run_that_fails_leaves_the_callers_settings(callers_settings):
    @keeps_torch_settings
    def fail():
        torch.set_num_threads(1)
        seed_everything(0, torch.device("cpu"))
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    _check(callers_settings)


@pytest.mark.skipif(not hasattr(torch.backends, "fp32_precision"), reason="torch is older than 2.9")
def test_products_are_exact_inside_and_as_the_caller_wants_outside():
    # In a process of its own, as torch cannot tell a setting that was made from one that was left alone.
    code = """
import torch
from aekit.core.torch_settings import _PRECISIONS, _backend, exact_products
def seen():
    return [_backend(name).fp32_precision for name in _PRECISIONS]
def check():
    before = seen()
    with exact_products():
        assert set(seen()) == {"ieee"}, seen()
    assert seen() == before, (before, seen())
check()
torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()  # which fail after a mixture of settings
torch.backends.cudnn.allow_tf32 = True
torch.set_float32_matmul_precision("high")
check()
assert torch.backends.cudnn.allow_tf32 and torch.get_float32_matmul_precision() == "high"
torch.backends.fp32_precision = "tf32"
check()
torch.backends.cudnn.conv.fp32_precision = "ieee"
check()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_random_numbers_of_the_caller_go_on_where_they_were():
    torch.manual_seed(5)
    wanted = torch.rand(4).tolist()
    torch.manual_seed(5)
    first = torch.rand(2).tolist()
    with torch_settings():
        seed_everything(0, torch.device("cpu"))
        torch.rand(9)
    assert first + torch.rand(2).tolist() == wanted


def test_importing_aekit_changes_nothing():
    code = """
import locale, os, signal, warnings
import matplotlib.figure, numpy, pandas, safetensors, scipy, sklearn, torch
def seen():
    return (
        dict(os.environ), list(map(str, warnings.filters)), locale.setlocale(locale.LC_ALL), torch.initial_seed(),
        [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        torch.get_num_threads(), torch.backends.cudnn.allow_tf32, dict(matplotlib.rcParams),
    )
before = seen()
import aekit, aekit.brains.runs, aekit.images.data, aekit.images.runs, aekit.plotting.png, aekit.plotting.style
for one, other in zip(before, seen()):
    assert one == other, (one, other)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
