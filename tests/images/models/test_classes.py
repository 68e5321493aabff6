"""A network that is told the class: what changes with it, and that nothing does before it has learned anything."""

from __future__ import annotations

import pytest
import torch

from aekit.errors import AekitError, UsageError
from aekit.images.config import ModelConfig, TrainConfig
from aekit.images.models import MODELS, build_model
from aekit.images.objectives import build_objective

NAMES = ("a", "b", "c")


def _model(**options: object):
    torch.manual_seed(0)
    config = ModelConfig(**{"arch": "dense", "latent": 2, "width": 8, "condition": "label", **options})
    return build_model(config, (1, 8, 8), NAMES)


def _images(n: int = 4) -> torch.Tensor:
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("arch", [arch for arch in MODELS if arch not in ("resize-conv", "strided")])
@pytest.mark.parametrize("layers", [1, 2])
def test_encoder_and_decoder_see_the_class(arch, layers):
    model = _model(arch=arch, width=None, stochastic_layers=layers).eval()
    x, label = _images(), torch.tensor([0, 0, 0, 0])
    with torch.no_grad():
        assert torch.equal(model.posterior(x, label)[0], model.posterior(x, label + 1)[0])  # before it has learned
        model.classes.images[1] += 0.5
        assert torch.allclose(model.posterior(x, label + 1)[0], model.posterior(x + 0.5, label)[0], atol=1e-5)
        z = torch.zeros(4, 2)
        assert not torch.equal(model.decode(z, None, label), model.decode(z, None, label + 1))
        noise = torch.randn(4, model.n_noise)
        output = model(x, noise, label + 1)
        if layers == 1:
            assert torch.equal(output.x_hat_logits, model.decode_logits(output.z, None, label + 1))


def test_samples_of_an_image_share_its_class():
    model = _model().eval()
    x, noise, label = _images(), torch.randn(4, 3, 2), torch.tensor([0, 1, 2, 1])
    with torch.no_grad():
        model.classes.images.normal_()
        rows = model(x, noise, label).x_hat_logits
        for i in range(4):
            for k in range(3):
                alone = model(x[i : i + 1], noise[i, k][None], label[i : i + 1]).x_hat_logits[0]
                torch.testing.assert_close(rows[3 * i + k], alone)


def test_all_that_it_has_of_the_classes_is_trained():
    model = _model()
    output = model(_images(), torch.randn(4, 2), torch.tensor([0, 1, 1, 0]))
    terms = build_objective(model, TrainConfig()).terms(_images(), output)
    loss = terms["reconstruction"].mean() + terms["kl"].mean()
    loss.backward()
    moved = model.classes.images.grad.abs().sum(1) > 0
    assert moved.tolist() == [True, True, False]


def test_a_class_that_is_not_given_is_an_error_and_the_table_of_classes_is_no_weight():
    with pytest.raises(AekitError, match="is told the class"):
        _model().encode(_images())
    assert [name for name in _model().state_dict() if name.startswith("classes")] == ["classes.images"]


@pytest.mark.parametrize("options", [{"kind": "ae"}, {"prior": "vamp"}])
def test_what_has_no_class_is_refused(options):
    with pytest.raises(UsageError, match="--condition"):
        ModelConfig(condition="label", **options)
