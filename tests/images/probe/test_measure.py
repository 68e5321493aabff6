"""All methods on one checkpoint."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from aekit.core.checkpoint import read_header
from aekit.core.progress import SILENT
from aekit.core.weights import write_checkpoint
from aekit.errors import AekitError
from aekit.images.config import ModelConfig
from aekit.images.models import build_model
from aekit.images.probe import measure
from aekit.images.probe.baselines import Baselines
from aekit.images.probe.measure import measure_methods
from aekit.images.probe.request import ProbeRequest
from aekit.images.probe.study import build_task
from aekit.images.session import open_session


def _measured(path, request):
    session = open_session([path], device="cpu", threads=1)
    (loaded,) = session.checkpoints()
    task = build_task(session.images(loaded, "train"), session.images(loaded, "test"), request, SILENT)
    return measure_methods(loaded, task, request, Baselines(task))


def test_the_accuracies_stand_with_the_settings_of_the_checkpoint(vae_checkpoint):
    request = ProbeRequest(labels=(10, 20), draws=3, methods=("logistic", "pca"))
    found = _measured(vae_checkpoint, request)
    assert {method: accuracies.shape for method, accuracies in found.accuracies.items()} == {
        "logistic": (2, 3),
        "pca": (2, 3),
    }
    assert found.settings["kind"] == "vae"
    assert found.settings["beta"] == 1.0
    assert set(found.configuration) == {"model", "train"}


def test_an_error_names_the_checkpoint(ae_checkpoint, tmp_path):
    tensors = load_file(ae_checkpoint)
    tensors["mean_head.weight"][:] = 0
    dead = write_checkpoint(tmp_path / "dead.safetensors", tensors, read_header(ae_checkpoint))
    with pytest.raises(AekitError, match=r"dead\.safetensors: the code is the same for all images"):
        _measured(dead, ProbeRequest(labels=(10,), draws=1, methods=("logistic",)))


def test_a_probe_of_two_layers_of_latent_variables_is_one_of_the_code():
    model = build_model(ModelConfig(arch="dense", latent=3, width=8, stochastic_layers=2), (1, 8, 8)).eval()
    x = torch.rand(4, 1, 8, 8)
    assert torch.equal(measure._encoder(model, "code")(x), model.encode(x))
    assert measure._encoder(model, "hidden")(x).shape == (4, 8)
