"""Networks as lists of layers give what the models give, in torch and in a JavaScript engine."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from importlib import resources

import numpy as np
import pytest
import torch
from torch import nn

from aekit.errors import AekitError
from aekit.images.config import ModelConfig
from aekit.images.explore.network import build_network, run_layers
from aekit.images.models import build_model

CASES = {
    "conv": ((1, 28, 28), {"arch": "conv", "width": 4}),
    "conv of an odd size": ((3, 27, 30), {"arch": "conv", "width": 4}),
    "dense": ((1, 9, 8), {"arch": "dense", "layers": 2, "width": 16}),
    "autoencoder": ((1, 9, 8), {"kind": "ae", "arch": "mlp", "width": 16}),
    "resize-conv": ((1, 28, 28), {"arch": "resize-conv", "loss": "continuous-bernoulli"}),
    "strided of one layer": ((1, 28, 28), {"arch": "strided", "layers": 1}),
    "strided of two": ((1, 28, 28), {"arch": "strided", "layers": 2}),
    "strided of three": ((1, 28, 28), {"arch": "strided", "layers": 3}),
    "blocks": ((3, 23, 18), {"arch": "blocks", "width": 4}),
    "two layers": ((1, 9, 8), {"arch": "mlp", "width": 16, "stochastic_layers": 2}),
    "mixture": ((1, 9, 8), {"arch": "mlp", "width": 16, "prior": "mixture", "components": 3}),
    "classes": ((1, 9, 8), {"arch": "conv", "width": 4, "condition": "label"}),
    "logistic": ((1, 9, 8), {"arch": "mlp", "width": 16, "loss": "logistic"}),
}


def build(name: str):
    """Return a model far from its initialisation, in evaluation mode."""
    shape, options = CASES[name]
    torch.manual_seed(0)
    names = ("a", "b", "c") if "condition" in options else ()
    model = build_model(ModelConfig(**{"kind": "vae", "latent": 5, **options}), shape, class_names=names)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
    return model.eval()


def expected(model):
    """Return images, their class, and what the model makes of them: means, log-variances and decoded means."""
    x = torch.rand(3, *model.image_shape, generator=torch.Generator().manual_seed(1))
    label = None if model.classes is None else 2
    labels = None if label is None else torch.full((3,), label)
    with torch.inference_mode():
        mean, logvar = model.posterior(x, labels)
        return x, label, mean, logvar, model.decode(mean, label=labels).flatten(1)


@pytest.mark.parametrize("name", CASES)
def test_the_layers_are_the_model(name):
    model = build(name)
    network = build_network(model)
    x, label, mean, logvar, decoded = expected(model)
    with torch.inference_mode():
        features = run_layers(network.encoder, x, label)
        torch.testing.assert_close(run_layers(network.mean, features), mean, rtol=1e-4, atol=1e-5)
        if logvar is None:
            assert network.logvar == []
        else:
            torch.testing.assert_close(run_layers(network.logvar, features), logvar, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(run_layers(network.decoder, mean, label).flatten(1), decoded, rtol=0, atol=1e-6)


@pytest.mark.parametrize("precision", ["float16", "float32"])
def test_packed_weights_are_the_rounded_ones(precision):
    network = build_network(build("conv"))
    facts, block = network.pack(precision)
    values = np.frombuffer(block, "<f2" if precision == "float16" else "<f4")
    rounded = network.rounded(precision)
    for part in ("encoder", "mean", "logvar", "decoder"):
        for packed, layer in zip(facts[part], getattr(rounded, part), strict=True):
            for name in ("weight", "bias"):
                tensor = getattr(layer, name)
                assert (packed[name] is None) == (tensor is None)
                if tensor is not None:
                    start, n = packed[name]
                    assert np.array_equal(values[start : start + n].astype(np.float32), tensor.flatten().numpy())


def test_a_layer_that_a_page_does_not_know_is_named():
    model = build("dense")
    model.decoder.append(nn.Hardtanh())
    with pytest.raises(AekitError, match=r"a layer that a page cannot compute, Hardtanh"):
        build_network(model)


_SCRIPT = """
const {facts, weights, images, codes, label} = JSON.parse(require("fs").readFileSync(0));
const bytes = (text) => {
  const raw = Buffer.from(text, "base64");
  return raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.length);
};
const compiled = PRODUCTS ? Network.compile(bytes(PRODUCTS)) : null;
if (PRODUCTS && !compiled) throw new Error("the products are not compiled");
const model = Network.load(facts, bytes(weights), compiled);
const seen = images.map((image) => Network.encode(model, Float32Array.from(image), label));
const plain = (array) => array && Array.from(array);
console.log(JSON.stringify({means: seen.map(({mean}) => plain(mean)), logvars: seen.map(({logvar}) => plain(logvar)),
  decoded: codes.map((code) => plain(Network.decode(model, Float32Array.from(code), label)))}));
"""


@pytest.mark.slow
@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "plain"])
@pytest.mark.parametrize("name", CASES)
def test_a_javascript_engine_computes_what_torch_does(name, compiled):
    if shutil.which("node") is None:
        pytest.skip("there is no Node.js")
    web = resources.files("aekit.images.explore").joinpath("web")
    model = build(name)
    x, label, mean, logvar, decoded = expected(model)
    facts, block = build_network(model).pack("float32")
    given = {
        "facts": facts,
        "weights": base64.b64encode(block).decode(),
        "images": x.flatten(1).tolist(),
        "codes": mean.tolist(),
        "label": label,
    }
    products = base64.b64encode(web.joinpath("products.wasm").read_bytes()).decode() if compiled else ""
    script = web.joinpath("network.js").read_text() + _SCRIPT.replace("PRODUCTS", json.dumps(products))
    done = subprocess.run(
        ["node", "-e", script], input=json.dumps(given), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    torch.testing.assert_close(torch.tensor(found["means"]), mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(torch.tensor(found["decoded"]), decoded, rtol=0, atol=2e-6)
    if logvar is not None:
        torch.testing.assert_close(torch.tensor(found["logvars"]), logvar, rtol=1e-4, atol=1e-5)
