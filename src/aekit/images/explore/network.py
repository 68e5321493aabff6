"""A network as a list of layers that a page can compute, with its weights in one block of bytes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aekit.errors import AekitError
from aekit.images.likelihoods import pixel_mean
from aekit.images.models.base import Autoencoder
from aekit.images.models.layers import FlattenPixels, ResidualLinear, UnflattenPixels, UpConv
from aekit.images.models.resize_conv import ResizeConv

Shape = tuple[int, ...]
Precision = Literal["float16", "float32"]

_ACTIVATIONS: dict[type[nn.Module], str] = {nn.SiLU: "silu", nn.ReLU: "relu", nn.Tanh: "tanh"}


@dataclass(frozen=True)
class Layer:
    """One step of a network for a single example.

    Attributes:
        kind: What is computed: a function of ``web/network.js`` has this name.
        in_shape: Shape of what goes in, (C, H, W) or (F,).
        out_shape: Shape of what comes out.
        options: Numbers that the kind needs, such as a stride.
        weight: Weights as the page multiplies them: (out, in) of a linear layer, (out, in * kernel) of a convolution,
            (out * kernel, in) of a transposed one, (K, F) of the images of K classes; None without any.
        bias: (out,); None without any.
    """

    kind: str
    in_shape: Shape
    out_shape: Shape
    options: dict[str, Any] = field(default_factory=dict)
    weight: Tensor | None = None
    bias: Tensor | None = None


@dataclass(frozen=True)
class Network:
    """The parts of a model.

    Attributes:
        encoder: From an image to what the heads read.
        mean: The head of the code.
        logvar: The head of the posterior's log-variance; empty without one.
        decoder: From a code to the mean image.
    """

    encoder: list[Layer]
    mean: list[Layer]
    logvar: list[Layer]
    decoder: list[Layer]

    def rounded(self, precision: Precision) -> Network:
        """Return the network with the weights that a page of this precision has, as float32."""
        dtype = torch.float16 if precision == "float16" else torch.float32

        def through(layers: list[Layer]) -> list[Layer]:
            return [
                replace(
                    layer,
                    weight=None if layer.weight is None else layer.weight.to(dtype).float(),
                    bias=None if layer.bias is None else layer.bias.to(dtype).float(),
                )
                for layer in layers
            ]

        return Network(*(through(part) for part in (self.encoder, self.mean, self.logvar, self.decoder)))

    def pack(self, precision: Precision) -> tuple[dict[str, Any], bytes]:
        """Return what the page reads of the parts, and the weights as little-endian floats of this precision."""
        dtype = "<f2" if precision == "float16" else "<f4"
        blocks: list[bytes] = []
        n_before = 0

        def place(tensor: Tensor | None) -> list[int] | None:
            nonlocal n_before
            if tensor is None:
                return None
            blocks.append(tensor.numpy().astype(dtype).tobytes())
            n_before += tensor.numel()
            return [n_before - tensor.numel(), tensor.numel()]

        def described(layers: list[Layer]) -> list[dict[str, Any]]:
            return [
                {
                    "kind": layer.kind,
                    "in": list(layer.in_shape),
                    "out": list(layer.out_shape),
                    **layer.options,
                    "weight": place(layer.weight),
                    "bias": place(layer.bias),
                }
                for layer in layers
            ]

        names = ("encoder", "mean", "logvar", "decoder")
        parts = {name: described(part) for name, part in zip(names, vars(self).values(), strict=True)}
        return {"precision": precision, **parts}, b"".join(blocks)


def build_network(model: Autoencoder) -> Network:
    """Return the layers of a model on the CPU, in evaluation mode: batch norms are part of what stands before them.

    Two layers of latent variables are decoded and encoded by the means of the lower one.

    Args:
        model: The model.

    Raises:
        AekitError: It has a layer that a page cannot compute.
    """
    size = math.prod(model.image_shape)
    latent: Shape = (model.config.latent,)
    encoder, decoder = [*_flat(model.encoder)], [*_flat(model.decoder)]
    upward: list[nn.Module] = []
    if model.lower is not None:
        upward = [model.lower.mean_head, *_flat(model.lower.up)]
        decoder = [*_flat(model.lower.down), model.lower.prior_mean_head, *decoder]
    layers: list[Layer] = []
    shape = latent
    if model.classes is not None:
        n_classes = len(model.classes.names)
        layers.append(Layer("add-class", (size,), (size,), weight=_plain(model.classes.images)))
        first = Layer("append-class", latent, (model.config.latent + n_classes,), {"classes": n_classes})
        shape = first.out_shape
    body = _layers([*encoder, *upward], model.image_shape)
    features = body[-1].out_shape
    heads = [[] if head is None else _layers([head], features) for head in (model.mean_head, model.logvar_head)]
    last = "continuous-bernoulli" if model.config.loss == "continuous-bernoulli" else "sigmoid"
    down = [first] if model.classes is not None else []
    down += _layers(decoder, shape)
    down.append(Layer(last, down[-1].out_shape, down[-1].out_shape))
    return Network([*layers, *body], heads[0], heads[1], down)


def run_layers(layers: list[Layer], x: Tensor, label: int | None = None) -> Tensor:
    """Return what layers make of a batch, (B, *in_shape): in torch, for comparison with the model itself.

    Args:
        layers: A part of a network.
        x: Float32.
        label: Number of the class, for a network that is told it.
    """
    for layer in layers:
        x = _apply(layer, x.reshape(len(x), *layer.in_shape), label).reshape(len(x), *layer.out_shape)
    return x


def _flat(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the layers of nested sequences."""
    if isinstance(module, nn.Sequential):
        for child in module:
            yield from _flat(child)
    else:
        yield module


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().float().cpu()


def _layers(modules: Iterable[nn.Module], shape: Shape) -> list[Layer]:
    """Return the layers of modules for an input of this shape."""
    layers: list[Layer] = []
    for module in modules:
        if isinstance(module, nn.BatchNorm2d):
            layers[-1] = _with_norm(layers[-1], module)
        elif isinstance(module, nn.Flatten):
            shape = (math.prod(shape),)
        elif isinstance(module, nn.Unflatten):
            shape = tuple(module.unflattened_size)
        else:
            found = list(_of_module(module, shape))
            layers += found
            shape = found[-1].out_shape
    return layers


def _of_module(module: nn.Module, shape: Shape) -> Iterator[Layer]:
    """Yield what a page computes for a module whose input has this shape."""
    if isinstance(module, nn.Linear):
        sizes = (module.in_features,), (module.out_features,)
        yield Layer("linear", *sizes, weight=_plain(module.weight), bias=_bias(module))
    elif isinstance(module, ResidualLinear):
        linear = module.linear
        yield Layer("residual", shape, shape, weight=_plain(linear.weight), bias=_bias(linear))
    elif type(module) in _ACTIVATIONS:
        yield Layer(_ACTIVATIONS[type(module)], shape, shape)
    elif isinstance(module, nn.LeakyReLU):
        yield Layer("leaky-relu", shape, shape, {"slope": module.negative_slope})
    elif isinstance(module, FlattenPixels):
        yield Layer("transpose", (shape[0], math.prod(shape[1:])), (math.prod(shape),))
    elif isinstance(module, UnflattenPixels):
        channels, height, width = module.shape
        yield Layer("transpose", (height * width, channels), module.shape)
    elif isinstance(module, nn.AvgPool2d) and module.kernel_size == 2:
        yield Layer("halve", shape, (shape[0], shape[1] // 2, shape[2] // 2))
    elif isinstance(module, ResizeConv):
        resized = (shape[0], module.resized, module.resized)
        yield Layer("resize", shape, resized)
        yield _convolution(module, resized)
    elif isinstance(module, nn.ConvTranspose2d):
        yield _transposed(module, shape)
    elif isinstance(module, nn.Conv2d):
        yield _convolution(module, shape)
    else:
        raise AekitError(
            f"explore: the network has a layer that a page cannot compute, {type(module).__name__}; a page knows those "
            "of aekit's own architectures"
        )


def _bias(module: nn.Linear | nn.Conv2d | nn.ConvTranspose2d) -> Tensor:
    n_out = module.out_features if isinstance(module, nn.Linear) else module.out_channels
    return torch.zeros(n_out) if module.bias is None else _plain(module.bias)


def _convolution(module: nn.Conv2d, shape: Shape) -> Layer:
    options = _geometry(module)
    (kernel, stride, padding) = (options[name] for name in ("kernel", "stride", "padding"))
    size = [(shape[1 + i] + 2 * padding[i] - kernel[i]) // stride[i] + 1 for i in range(2)]
    weight = _plain(module.weight).flatten(1)
    return Layer("convolution", shape, (module.out_channels, *size), options, weight, _bias(module))


def _transposed(module: nn.ConvTranspose2d, shape: Shape) -> Layer:
    options = _geometry(module)
    (kernel, stride, padding) = (options[name] for name in ("kernel", "stride", "padding"))
    missing = [int(each) for each in module.output_padding]
    size = [(shape[1 + i] - 1) * stride[i] - 2 * padding[i] + kernel[i] + missing[i] for i in range(2)]
    if isinstance(module, UpConv):
        size = list(module.size)  # cut at the bottom and on the right
    weight = _plain(module.weight).flatten(1).t().contiguous()
    return Layer("transposed-convolution", shape, (module.out_channels, *size), options, weight, _bias(module))


def _geometry(module: nn.Conv2d | nn.ConvTranspose2d) -> dict[str, list[int]]:
    if module.groups != 1 or set(module.dilation) != {1} or isinstance(module.padding, str):
        raise AekitError(
            f"explore: the network has a layer that a page cannot compute, {type(module).__name__} with groups, "
            "dilation or a padding by name"
        )
    return {
        "kernel": list(module.kernel_size),
        "stride": list(module.stride),
        "padding": [int(each) for each in module.padding],
    }


def _with_norm(layer: Layer, norm: nn.BatchNorm2d) -> Layer:
    """Return a convolution whose output is normalised as in evaluation."""
    assert layer.weight is not None
    assert layer.bias is not None
    assert norm.running_mean is not None
    assert norm.running_var is not None
    deviation = torch.sqrt(norm.running_var.double().cpu() + norm.eps)
    gain = torch.ones_like(deviation) if norm.weight is None else norm.weight.detach().double().cpu()
    shift = torch.zeros_like(deviation) if norm.bias is None else norm.bias.detach().double().cpu()
    scale = gain / deviation
    bias = (layer.bias.double() - norm.running_mean.double().cpu()) * scale + shift
    of_rows = scale.repeat_interleave(len(layer.weight) // len(scale))
    return replace(layer, weight=(layer.weight.double() * of_rows[:, None]).float(), bias=bias.float())


def _apply(layer: Layer, x: Tensor, label: int | None) -> Tensor:
    weight, bias = layer.weight, layer.bias
    match layer.kind:
        case "linear" | "residual":
            assert weight is not None
            product = F.linear(x if layer.kind == "linear" else F.silu(x), weight, bias)
            return product if layer.kind == "linear" else x + product
        case "convolution" | "transposed-convolution":
            return _convolve(layer, x)
        case "add-class":
            assert weight is not None
            return x + weight[_known(label)]
        case "append-class":
            one_hot = F.one_hot(torch.tensor(_known(label)), layer.options["classes"]).float()
            return torch.cat([x, one_hot.expand(len(x), -1)], 1)
        case "transpose":
            return x.transpose(1, 2)
        case "halve":
            return F.avg_pool2d(x, 2)
        case "resize":
            return F.interpolate(x, list(layer.out_shape[1:]), mode="bilinear")
        case "leaky-relu":
            return F.leaky_relu(x, layer.options["slope"])
        case "sigmoid" | "continuous-bernoulli":
            return pixel_mean(x, "bernoulli" if layer.kind == "sigmoid" else "continuous-bernoulli")
    activations: dict[str, Callable[[Tensor], Tensor]] = {"silu": F.silu, "relu": F.relu, "tanh": torch.tanh}
    return activations[layer.kind](x)


def _convolve(layer: Layer, x: Tensor) -> Tensor:
    assert layer.weight is not None
    kernel, n_in = layer.options["kernel"], layer.in_shape[0]
    geometry = {"stride": layer.options["stride"], "padding": layer.options["padding"]}
    if layer.kind == "convolution":
        return F.conv2d(x, layer.weight.view(-1, n_in, *kernel), layer.bias, **geometry)
    weight = layer.weight.t().reshape(n_in, -1, *kernel)
    # What the output has beyond the sum of the kernels' reach, on the right and at the bottom, is the bias alone.
    reached = F.conv_transpose2d(x, weight, None, stride=geometry["stride"])
    top, left = geometry["padding"]
    height, width = layer.out_shape[1:]
    part = reached[:, :, top : top + height, left : left + width]
    part = F.pad(part, (0, width - part.shape[3], 0, height - part.shape[2]))
    assert layer.bias is not None
    return part + layer.bias[:, None, None]


def _known(label: int | None) -> int:
    assert label is not None
    return label
