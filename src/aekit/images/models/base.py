"""The contract of every network: encode, decode, forward, and the meaning of its output."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from aekit.core.checkpoint import Header
from aekit.errors import AekitError
from aekit.images.config import ModelConfig
from aekit.images.densities import Components
from aekit.images.likelihoods import pixel_mean
from aekit.images.models.classes import Classes
from aekit.images.models.layers import init_weights
from aekit.images.models.lower_layer import LowerCodes, LowerLayer, draw
from aekit.images.models.priors import build_prior

ImageShape = tuple[int, int, int]
LARGE_IMAGE = 1024  # values; MNIST has 784, and defaults that were chosen on it hold up to here


def is_large(image_shape: ImageShape) -> bool:
    """Return whether images have more than 1,024 values, so that other defaults are better than those for MNIST."""
    return math.prod(image_shape) > LARGE_IMAGE


class Output(NamedTuple):
    """One pass through a network, with R rows: one per image, or K for K samples of each, image by image.

    Attributes:
        x_hat_logits: Decoder output before the sigmoid, (R, C, H, W).
        mean: Codes, or posterior means, (R, L).
        logvar: Posterior log-variances, (R, L); None for a plain autoencoder.
        z: Codes that were decoded: a sample of the posterior, or the mean, (R, L).
        prior: The prior of the code; None is N(0, I), or none for a plain autoencoder.
        lower: The second layer of latent variables; None if there is none.
    """

    x_hat_logits: Tensor
    mean: Tensor
    logvar: Tensor | None
    z: Tensor
    prior: Components | None = None
    lower: LowerCodes | None = None


class Parts(NamedTuple):
    """The parts of a network that depend on the architecture.

    Attributes:
        encoder: Maps x (B, C, H, W) to features (B, F).
        n_features: F.
        decoder: Maps z (B, L) to logits (B, C, H, W).
        head_gain: Weights of the heads are initialised from N(0, head_gain^2 / F); None is PyTorch's default.
    """

    encoder: nn.Module
    n_features: int
    decoder: nn.Module
    head_gain: float | None = None


@dataclass(frozen=True)
class Architecture:
    """An entry of the table of models.

    Attributes:
        build: Returns the parts of a network for images of shape (channels, height, width).
        default_lr: Default peak of the one-cycle learning rate, for images of up to 1,024 values.
    """

    build: Callable[[ModelConfig, ImageShape], Parts]
    default_lr: float


class Autoencoder(nn.Module):
    """An encoder body, linear heads for the code, and a decoder.

    Args:
        config: The configuration that the network was built from.
        image_shape: (channels, height, width) of input and output.
        parts: The architecture's encoder and decoder.
        class_names: The classes that it is told, if it is told any.

    Attributes:
        log_sigma: Logarithm of the pixel noise, one learned number: the standard deviation of the ``gaussian``
            likelihood, the scale of the ``logistic`` one; None for others.
        prior: The learned prior of the code; None for the standard normal, and for a plain autoencoder.
        lower: The second layer of latent variables; None if the code is the only one.
        classes: What it is told of the class of an image; None if nothing.
        name: Its name in messages: the path of its checkpoint, if it has one.
        header: What its checkpoint says of itself; None without one.
        builder: What built its parts, for a network of your own; None for others.
    """

    name = "the model"
    header: Header | None = None
    builder: Callable[[ModelConfig, ImageShape], Parts] | None = None

    def __init__(
        self, config: ModelConfig, image_shape: ImageShape, parts: Parts, class_names: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.config = config
        self.image_shape = image_shape
        self.prior = build_prior(config, image_shape)
        self.classes = Classes(class_names, image_shape) if config.is_conditional else None
        self.encoder = parts.encoder
        n_features = parts.n_features
        n_lower = config.n_lower
        self.lower = LowerLayer(n_features, n_lower, config.latent) if n_lower else None
        self.mean_head = nn.Linear(n_lower or n_features, config.latent)
        self.logvar_head = nn.Linear(n_lower or n_features, config.latent) if config.has_prior else None
        self.decoder = parts.decoder
        if parts.head_gain is not None:
            for head in (self.mean_head, self.logvar_head):
                if head is not None:
                    init_weights(head, parts.head_gain)
        # exp(-2) = 0.14 is close to the pixel noise of an early MNIST reconstruction.
        has_noise = config.loss in ("gaussian", "logistic")
        self.log_sigma = nn.Parameter(torch.tensor(-2.0)) if has_noise else None

    def init_output_bias(self, mean_image: Tensor) -> None:
        """Initialise the decoder's last bias with the logits of the mean image, (C, H, W) in [0, 1].

        A decoder that starts at grey spends its first hundred steps learning the background: the loss after one epoch
        on MNIST is 1.7 nats lower this way.
        """
        biases = [module for module in self.decoder.modules() if isinstance(getattr(module, "bias", None), Tensor)]
        if not biases:  # as a network of your own may have none
            return
        last = biases[-1]
        assert isinstance(last.bias, Tensor)
        image = mean_image.clamp(0.01, 0.99)
        means = image.flatten() if isinstance(last, nn.Linear) else image.mean((1, 2))
        if last.bias.shape != means.shape:
            return
        with torch.no_grad():
            last.bias.copy_(torch.logit(means))

    def hidden_weights(self) -> list[Tensor]:
        """Return the weights of linear layers and convolutions inside encoder and decoder, in their order.

        Those of the decoder's last layer, which makes pixels, are not among them, nor those of the heads.
        """
        kinds = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
        inside, decoding = (
            [module for module in part.modules() if isinstance(module, kinds)] for part in (self.encoder, self.decoder)
        )
        layers = [*inside, *decoding[:-1]]
        return [module.weight for module in layers if getattr(module, "groups", 1) == 1]

    @property
    def n_noise(self) -> int:
        """Return how many standard normal draws one sample takes: a number for each latent variable."""
        return self.config.latent + self.config.n_lower

    def posterior(self, x: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Return the mean (B, L) and log-variance (B, L; None for an autoencoder) of q(z | x) for x (B, C, H, W).

        With two layers of latent variables it is that of the code at the mean of the lower ones.

        Args:
            x: Images.
            label: As in :meth:`forward`.
        """
        features = self.encoder(self._with_class(x, label))
        return self._posterior(features if self.lower is None else self.lower.posterior(features)[0])

    def _posterior(self, below: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return mean and log-variance of the code given what is below it: features or lower variables."""
        features = below if self.lower is None else self.lower.up(below)
        return self.mean_head(features), None if self.logvar_head is None else self.logvar_head(features)

    def _with_class(self, x: Tensor, label: Tensor | None) -> Tensor:
        return x if self.classes is None else self.classes.add_to_images(x, label)

    def _decode(self, below: Tensor, label: Tensor | None) -> Tensor:
        """Return the decoder's output for the latent variables next to the image."""
        logits: Tensor = self.decoder(below if self.classes is None else self.classes.append_to_codes(below, label))
        return logits

    def encode(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """Return the codes, (B, L), of images x, (B, C, H, W) in [0, 1]: a VAE's posterior means.

        Args:
            x: Images.
            label: As in :meth:`forward`.

        Raises:
            AekitError: The images differ in shape from those that the network was trained on.
        """
        if tuple(x.shape[1:]) != self.image_shape:
            raise AekitError(
                f"encode: x is {tuple(x.shape)}; the network takes (B, {', '.join(map(str, self.image_shape))}): "
                "images, channels, height, width, in [0, 1]"
            )
        return self.posterior(x, label)[0]

    def decode_logits(self, z: Tensor, noise: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        """Return the decoder's output before the sigmoid, (B, C, H, W), for codes z, (B, L).

        Args:
            z: Codes.
            noise: Standard normal draws for a second layer of latent variables, (B, M); None takes its mean.
            label: As in :meth:`forward`.
        """
        return self._decode(z if self.lower is None else draw(*self.lower.prior(z), noise), label)

    def decode(self, z: Tensor, noise: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        """Return the mean image of p(x | z), (B, C, H, W) in [0, 1], for codes z, (B, L).

        Args:
            z: Codes.
            noise: As in :meth:`decode_logits`.
            label: As in :meth:`forward`.

        Raises:
            AekitError: The codes differ from the network in their number of dimensions.
        """
        if z.ndim != 2 or z.shape[1] != self.config.latent:
            raise AekitError(f"decode: z is {tuple(z.shape)}; the network takes (B, {self.config.latent})")
        return pixel_mean(self.decode_logits(z, noise, label), self.config.loss)

    def forward(self, x: Tensor, noise: Tensor | None = None, label: Tensor | None = None) -> Output:
        """Return the output of one forward pass for images x, (B, C, H, W) in [0, 1].

        Args:
            x: Images.
            noise: Standard normal draws, (B, N), for a VAE's code mean + exp(logvar / 2) * noise, or (B, K, N) for K
                samples of each image; N is :attr:`n_noise`, those of the code first. None uses the mean.
            label: Number of each image's class, int64 (B,), for a network that is told it.
        """
        features = self.encoder(self._with_class(x, label))
        n_samples = 1
        if noise is not None and noise.ndim == 3:
            n_samples, noise = noise.shape[1], noise.flatten(0, 1)
            label = None if label is None else label.repeat_interleave(n_samples, 0)
        if self.lower is not None:
            return self._layered(self.lower, features, noise, n_samples, label)
        mean, logvar = self._posterior(features)
        if logvar is not None and n_samples > 1:
            mean, logvar = mean.repeat_interleave(n_samples, 0), logvar.repeat_interleave(n_samples, 0)
        z = mean if logvar is None else draw(mean, logvar, noise)
        return Output(self._decode(z, label), mean, logvar, z, self.prior_components())

    def _layered(
        self, lower: LowerLayer, features: Tensor, noise: Tensor | None, n_samples: int, label: Tensor | None
    ) -> Output:
        latent = self.config.latent
        own_noise, lower_noise = (None, None) if noise is None else (noise[:, :latent], noise[:, latent:])
        lower_mean, lower_logvar = (each.repeat_interleave(n_samples, 0) for each in lower.posterior(features))
        below = draw(lower_mean, lower_logvar, lower_noise)
        mean, logvar = self._posterior(below)
        assert logvar is not None
        z = draw(mean, logvar, own_noise)
        # A tensor of its own for what weighs the sample: its gradient is told from that of the code's posterior.
        weighed = below.view_as(below)
        lower_codes = LowerCodes(weighed, lower_mean, lower_logvar, *lower.prior(z))
        return Output(self._decode(weighed, label), mean, logvar, z, self.prior_components(), lower_codes)

    def fixed_posterior_of_code(self, below: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of q(code | lower), (R, L); their gradient goes to the lower ones, (R, M)."""
        assert self.lower is not None
        assert self.logvar_head is not None
        features = _call_fixed(self.lower.up, below)
        return _call_fixed(self.mean_head, features), _call_fixed(self.logvar_head, features)

    def prior_components(self) -> Components | None:
        """Return the mixture that is the prior of the code; None for the standard normal, and without a prior."""
        return None if self.prior is None else self.prior.components(self._posterior_of_pseudo_inputs)

    def _posterior_of_pseudo_inputs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, logvar = self.posterior(x)
        assert logvar is not None
        return mean, logvar


def _call_fixed(module: nn.Module, x: Tensor) -> Tensor:
    """Return the module's output for x, whose gradient stops at its parameters."""
    fixed = {name: parameter.detach() for name, parameter in module.named_parameters()}
    output: Tensor = torch.func.functional_call(module, fixed, (x,))
    return output


def n_parameters(model: nn.Module) -> int:
    """Return the number of trainable parameters of a network."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
