"""The parts of a network that leave it: encoder, decoder, and both, each with named inputs and outputs."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from aekit import __version__
from aekit.core.device import torch_generator
from aekit.images.inference import check_finite, decode_codes, evaluation_mode, to_numpy
from aekit.images.likelihoods import pixel_mean
from aekit.images.loaded import LoadedCheckpoint
from aekit.images.models.base import Autoencoder
from aekit.images.models.layers import DownConv, UpToGrey
from aekit.images.models.small_convolutions import SmallConv2d, SmallConvTranspose2d

PartName = Literal["encoder", "decoder", "both"]
FORMAT = 1  # of the metadata


class _Encoder(nn.Module):
    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor, label: Tensor | None = None) -> tuple[Tensor, ...]:
        mean, logvar = self.model.posterior(image, label)
        return (mean,) if logvar is None else (mean, logvar)


class _Decoder(nn.Module):
    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, code: Tensor, label: Tensor | None = None) -> tuple[Tensor, ...]:
        return (self.model.decode(code, None, label),)


class _Both(nn.Module):
    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor, label: Tensor | None = None) -> tuple[Tensor, ...]:
        output = self.model(image, None, label)
        x_hat = pixel_mean(output.x_hat_logits, self.model.config.loss)
        return (x_hat, output.mean) if output.logvar is None else (x_hat, output.mean, output.logvar)


_MODULES: dict[PartName, type[nn.Module]] = {"encoder": _Encoder, "decoder": _Decoder, "both": _Both}
# What a part does not use: it would only make its file larger.
_UNUSED: dict[PartName, tuple[str, ...]] = {
    "encoder": ("decoder",),
    "decoder": ("encoder", "mean_head", "logvar_head"),
    "both": (),
}


@dataclass(frozen=True)
class Part:
    """A part of a network.

    Attributes:
        name: ``encoder``, ``decoder`` or ``both``.
        module: The part as it is, of the model itself: what an exported one is compared with.
        portable: The same of a copy, on the CPU, with layers that every format has.
        inputs: Names of the inputs: ``image`` or ``code``, and ``label`` for a network that is told the class.
        outputs: Names of the outputs, in their order.
        metadata: What the file says of itself: plain values.
    """

    name: PartName
    module: nn.Module
    portable: nn.Module
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    metadata: dict[str, Any]

    @property
    def n_bytes(self) -> int:
        """Return the bytes of its weights, nearly all of a file."""
        tensors = (*self.portable.parameters(), *self.portable.buffers())
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def example(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, ...]:
        """Return inputs for n images: zeros, or random images in [0, 1], codes from N(0, I), and classes.

        Args:
            n: How many.
            generator: Draws them; None gives zeros.
        """
        model = self.portable.model
        assert isinstance(model, Autoencoder)
        shape = (n, model.config.latent) if "code" in self.inputs else (n, *model.image_shape)
        if generator is None:
            first, labels = torch.zeros(shape), torch.zeros(n, dtype=torch.int64)
        else:
            draw = torch.randn if "code" in self.inputs else torch.rand
            n_classes = 1 if model.classes is None else len(model.classes.names)
            first, labels = draw(shape, generator=generator), torch.randint(n_classes, (n,), generator=generator)
        return (first, labels) if "label" in self.inputs else (first,)


def build_parts(checkpoint: LoadedCheckpoint, names: Sequence[PartName]) -> list[Part]:
    """Return parts of a model, ready to be exported.

    Images are in [0, 1], also the decoded ones, which are means and not logits. ``both`` reconstructs as
    ``reconstruct`` does, from the code or the posterior mean; with two layers of latent variables from the posterior
    mean of the lower one, whereas ``decoder`` decodes its mean given the code.

    Args:
        checkpoint: The model, on the CPU.
        names: Which parts.
    """
    return [_build(checkpoint, name) for name in names]


def check_outputs(checkpoint: LoadedCheckpoint, n: int = 64) -> None:
    """Compute codes, reconstructions and images of random images in [0, 1] and of codes from N(0, I), n of each.

    Raises:
        AekitError: Some of them are not finite, which happens if the training diverged.
    """
    model, generator = checkpoint.model, torch_generator(0, 7)
    x = torch.rand((n, *model.image_shape), generator=generator)
    z = torch.randn((n, model.config.latent), generator=generator)
    label = None if model.classes is None else torch.arange(n) % len(model.classes.names)
    with evaluation_mode(model) as device:
        output = model(x.to(device), None, None if label is None else label.to(device))
    check_finite(model, "codes", *(None if code is None else to_numpy(code) for code in (output.mean, output.logvar)))
    check_finite(model, "reconstructions", to_numpy(output.x_hat_logits))
    decode_codes(model, z.numpy(), labels=None if label is None else label.numpy())


def _build(checkpoint: LoadedCheckpoint, name: PartName) -> Part:
    model = checkpoint.model
    has_prior = model.config.has_prior
    codes = ("mean", "logvar") if has_prior else ("code",)
    outputs = {"encoder": codes, "decoder": ("image",), "both": ("reconstruction", *codes)}
    inputs = ("code" if name == "decoder" else "image", *(("label",) if model.classes is not None else ()))
    build = _MODULES[name]
    return Part(
        name, build(model).eval(), build(_portable(model, name)).eval(), inputs, outputs[name],
        _metadata(checkpoint, name, inputs, outputs[name]),
    )  # fmt: skip


def _portable(model: Autoencoder, name: PartName) -> Autoencoder:
    """Return a copy without what the part does not use, whose layers are plain ones.

    Some of aekit's are faster in training, by operations that not every runtime has; their weights are the same.
    """
    own = copy.deepcopy(model).cpu().float().requires_grad_(False)
    for unused in ("prior", "log_sigma", *_UNUSED[name]):
        setattr(own, unused, None)
    for module in own.modules():
        if isinstance(module, (UpToGrey, SmallConvTranspose2d)):
            module.__class__ = nn.ConvTranspose2d  # type: ignore[assignment]
        elif isinstance(module, (DownConv, SmallConv2d)):
            module.__class__ = nn.Conv2d  # type: ignore[assignment]
    return own


def _metadata(
    checkpoint: LoadedCheckpoint, name: PartName, inputs: Sequence[str], outputs: Sequence[str]
) -> dict[str, Any]:
    record = checkpoint.record
    classes = checkpoint.model.classes
    return {
        "format": FORMAT,
        "aekit": __version__,
        "part": name,
        "kind": record.model.kind,
        "arch": record.model.arch,
        "latent": record.model.latent,
        "loss": record.model.loss,
        "prior": record.model.prior if record.model.has_prior else None,
        "stochastic_layers": record.model.stochastic_layers,
        "image_shape": list(checkpoint.model.image_shape),  # channels, height, width
        "image_range": [0, 1],
        "value_range": record.data.value_range if record.value_range is None else list(record.value_range),
        "class_names": [] if classes is None else list(classes.names),
        "inputs": list(inputs),
        "outputs": list(outputs),
        "sha256": checkpoint.header.sha256,
    }
