"""Networks of others as feature spaces: torchvision's, or the Inception network of the FID, with given weights."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models
from torchvision.models import inception

from aekit.errors import AekitError, nearest

FID = "fid-inception"  # the network that the Fréchet inception distance is defined with
_SIDE, _INCEPTION_SIDE = 224, 299  # pixels that images are resized to
_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # mean and standard deviation of the channels


class Weights(NamedTuple):
    """A network with weights from a file.

    Attributes:
        features: Maps images (B, 1 or 3, H, W) in [0, 1] to features (B, D).
        description: What it is.
    """

    features: Callable[[Tensor], Tensor]
    description: str


def load_weights(name: str, file: str, device: torch.device) -> Weights:
    """Return the network ``name`` with weights from a file, up to its last layer, which it goes without.

    Args:
        name: A classifier of torchvision, or ``fid-inception``: the Inception network of the original FID, laid out
            like torchvision's, with 1,008 classes.
        file: A state dict: .pth, or .safetensors.
        device: Where to compute.

    Raises:
        AekitError: There is no such network, or the file does not hold its weights.
    """
    option = f"--features {name}={file}"
    network = _fid_inception() if name == FID else _torchvision(name, option)
    try:
        network.load_state_dict(_read(Path(file).expanduser(), option))
    except RuntimeError as error:
        first = str(error).splitlines()[1:2]
        raise AekitError(
            f"{option}: are not the weights of {name} ({' '.join(first).strip()[:120]}); give its own"
        ) from error
    _drop_last_layer(network, option)
    network.to(device).eval().requires_grad_(False)
    side = _INCEPTION_SIDE if "inception" in name else _SIDE
    prepare = _as_fid if name == FID else _as_imagenet
    return Weights(lambda x: network(prepare(x, side)).flatten(1), f"{name} with weights from {Path(file).name}")


def _read(path: Path, option: str) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise AekitError(f"{option}: cannot be read ({error.strerror or error}); check the path") from error
    except (SafetensorError, pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, EOFError, ValueError) as error:
        raise AekitError(f"{option}: is not a file of weights; give a state dict (.pth, .safetensors)") from error
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise AekitError(f"{option}: is not a state dict; save one with torch.save(network.state_dict(), FILE)")
    return found


def _torchvision(name: str, option: str) -> nn.Module:
    known = [each for each in models.list_models(module=models)]
    if name not in known:
        raise AekitError(f"{option}: torchvision has no classifier {name!r}{nearest(name, known)}")
    options: dict[str, Any] = {"weights": None}
    if name in ("inception_v3", "googlenet"):
        # Their weights are for values of another range, which they reach themselves from torchvision's usual one.
        options |= {"transform_input": True, "init_weights": False, "aux_logits": True}
    network: nn.Module = models.get_model(name, **options)
    return network


def _drop_last_layer(network: nn.Module, option: str) -> None:
    """Replace the last dense layer, which makes scores of classes, by nothing."""
    modules = [(name, module) for name, module in network.named_modules() if "aux" not in name.lower()]
    dense = [name for name, module in modules if isinstance(module, nn.Linear)]
    if not dense:
        raise AekitError(f"{option}: has no dense layer to leave out; use another network")
    parent, _, own = dense[-1].rpartition(".")
    setattr(network.get_submodule(parent), own, nn.Identity())


def _as_imagenet(x: Tensor, side: int) -> Tensor:
    mean, spread = (torch.tensor(values, device=x.device).view(1, 3, 1, 1) for values in _IMAGENET)
    x = F.interpolate(x, (side, side), mode="bilinear", antialias=True, align_corners=False)
    return (x.expand(-1, 3, -1, -1) - mean) / spread


def _as_fid(x: Tensor, side: int) -> Tensor:
    # As the FID is usually computed: without antialiasing, so that values compare with published ones.
    x = F.interpolate(x, (side, side), mode="bilinear", align_corners=False)
    return 2 * x.expand(-1, 3, -1, -1) - 1


# --- the Inception network of the original FID ---
#
# It was trained in another framework, whose average pools leave out the padding, and one of whose pools is a maximum.
# Everything else is torchvision's network.


class _BlockA(inception.InceptionA):  # type: ignore[misc]
    def _forward(self, x: Tensor) -> list[Tensor]:
        *others, _ = super()._forward(x)
        return [*others, self.branch_pool(_average(x))]


class _BlockC(inception.InceptionC):  # type: ignore[misc]
    def _forward(self, x: Tensor) -> list[Tensor]:
        *others, _ = super()._forward(x)
        return [*others, self.branch_pool(_average(x))]


class _BlockE(inception.InceptionE):  # type: ignore[misc]
    def _forward(self, x: Tensor) -> list[Tensor]:
        *others, _ = super()._forward(x)
        return [*others, self.branch_pool(_average(x))]


class _LastBlock(inception.InceptionE):  # type: ignore[misc]
    def _forward(self, x: Tensor) -> list[Tensor]:
        *others, _ = super()._forward(x)
        return [*others, self.branch_pool(F.max_pool2d(x, 3, stride=1, padding=1))]


def _average(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def _fid_inception() -> nn.Module:
    network: nn.Module = inception.Inception3(
        num_classes=1008, aux_logits=False, transform_input=False, init_weights=False
    )
    network.Mixed_5b = _BlockA(192, pool_features=32)
    network.Mixed_5c = _BlockA(256, pool_features=64)
    network.Mixed_5d = _BlockA(288, pool_features=64)
    network.Mixed_6b = _BlockC(768, channels_7x7=128)
    network.Mixed_6c = _BlockC(768, channels_7x7=160)
    network.Mixed_6d = _BlockC(768, channels_7x7=160)
    network.Mixed_6e = _BlockC(768, channels_7x7=192)
    network.Mixed_7b = _BlockE(1280)
    network.Mixed_7c = _LastBlock(2048)
    return network
