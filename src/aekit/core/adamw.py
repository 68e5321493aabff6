"""AdamW by PyTorch's own operations, without what its optimisers load."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

EPSILON = 1e-8
MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what is remembered of a parameter


class FusedAdamW:
    """AdamW over groups of parameters, on a CPU or a CUDA device, with the bytes of ``torch.optim.AdamW(fused=True)``.

    Every optimiser of ``torch.optim`` loads PyTorch's compiler at its first step, which takes as long as an epoch of a
    small training: 2 s of one core (torch 2.14). The kernel does not need it.

    Args:
        groups: Dicts with ``params``, and what differs from the other arguments in them: ``lr``, ``weight_decay``.
        lr: Learning rate; on a CUDA device a tensor there, which a recorded step reads.
        betas: Decay of the moments.
        weight_decay: Decoupled decay of the weights, times the learning rate per step.

    Attributes:
        param_groups: The groups, with every setting.
        state: The moments of each parameter: ``step``, ``exp_avg``, ``exp_avg_sq``.

    Source:
        Loshchilov & Hutter 2019, arXiv:1711.05101.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        *,
        lr: float | Tensor,
        betas: tuple[float, float],
        weight_decay: float,
    ) -> None:
        usual = {"lr": lr, "betas": betas, "weight_decay": weight_decay}
        self.param_groups: list[dict[str, Any]] = [{**usual, **group} for group in groups]
        self.state: dict[Tensor, dict[str, Tensor]] = {}

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter that has a gradient against it."""
        for group in self.param_groups:
            moved = [parameter for parameter in group["params"] if parameter.grad is not None]
            if moved:
                self._step_group(group, moved)

    def _step_group(self, group: dict[str, Any], moved: list[Tensor]) -> None:
        moments = [self._moments(parameter) for parameter in moved]
        steps = [each["step"] for each in moments]
        torch._foreach_add_(steps, 1)
        torch._fused_adamw_(
            moved,
            [parameter.grad for parameter in moved],  # type: ignore[misc]
            [each["exp_avg"] for each in moments],
            [each["exp_avg_sq"] for each in moments],
            [],
            steps,
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=group["weight_decay"],
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )

    def _moments(self, parameter: Tensor) -> dict[str, Tensor]:
        if parameter not in self.state:
            self.state[parameter] = {
                "step": torch.zeros((), device=parameter.device),
                "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
                "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
            }
        return self.state[parameter]

    def _parameters(self) -> Sequence[Tensor]:
        return [parameter for group in self.param_groups for parameter in group["params"]]

    def state_dict(self) -> dict[str, Any]:
        """Return the moments by the number of their parameter, not copies, and the settings of the groups."""
        numbers = {parameter: number for number, parameter in enumerate(self._parameters())}
        groups = [
            {**group, "params": [numbers[parameter] for parameter in group["params"]]} for group in self.param_groups
        ]
        return {
            "state": {numbers[parameter]: moments for parameter, moments in self.state.items()},
            "param_groups": groups,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take moments and settings as :meth:`state_dict` returned them."""
        parameters = self._parameters()
        self.state = {
            parameters[number]: {name: value.to(parameters[number].device) for name, value in moments.items()}
            for number, moments in state["state"].items()
        }
        for group, settings in zip(self.param_groups, state["param_groups"], strict=True):
            group.update({name: value for name, value in settings.items() if name != "params"})


Optimizer = FusedAdamW | torch.optim.AdamW


def build_adamw(
    groups: Iterable[dict[str, Any]],
    *,
    lr: float | Tensor,
    betas: tuple[float, float],
    weight_decay: float,
    device: torch.device,
) -> Optimizer:
    """Return :class:`FusedAdamW` where there is its kernel, and elsewhere the optimiser of PyTorch; arguments as there.

    Args:
        groups: The groups of parameters.
        lr: Learning rate.
        betas: Decay of the moments.
        weight_decay: Decoupled decay of the weights; with 0.0 this is Adam.
        device: Where the parameters are.
    """
    if device.type not in ("cpu", "cuda"):
        return torch.optim.AdamW(groups, lr=lr, betas=betas, weight_decay=weight_decay)
    return FusedAdamW(groups, lr=lr, betas=betas, weight_decay=weight_decay)


class PlainAdamW:
    """AdamW by one operation after the other, with the bytes of ``torch.optim.AdamW`` with its defaults.

    For small networks whose results must not change with the kernel: the fused one rounds differently. On a CPU it
    loads no compiler, as :class:`FusedAdamW`; elsewhere it is PyTorch's optimiser.

    Args:
        parameters: What is optimised, all on one device.
        betas: Decay of the moments.
        weight_decay: Decoupled decay of the weights, times the learning rate per step; with 0.0 this is Adam.

    Source:
        Kingma & Ba 2015, arXiv:1412.6980; Loshchilov & Hutter 2019, arXiv:1711.05101.
    """

    def __init__(
        self, parameters: Iterable[Tensor], *, betas: tuple[float, float] = (0.9, 0.999), weight_decay: float = 0.0
    ) -> None:
        self._parameters = list(parameters)
        self._betas, self._weight_decay = betas, weight_decay
        self._moments: dict[Tensor, _Moments] = {}
        self._elsewhere: torch.optim.AdamW | None = None
        if self._parameters[0].device.type != "cpu":
            self._elsewhere = torch.optim.AdamW(self._parameters, lr=0.0, betas=betas, weight_decay=weight_decay)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Move every parameter that has a gradient against it, by a learning rate."""
        if self._elsewhere is not None:
            for group in self._elsewhere.param_groups:
                group["lr"] = lr
            self._elsewhere.step()
            return
        for parameter in self._parameters:
            if parameter.grad is not None:
                self._move(parameter, parameter.grad, lr)

    def _move(self, parameter: Tensor, gradient: Tensor, lr: float) -> None:
        if parameter not in self._moments:
            mean, square = (torch.zeros_like(parameter, memory_format=torch.preserve_format) for _ in range(2))
            self._moments[parameter] = _Moments(mean, square)
        moments, (beta1, beta2) = self._moments[parameter], self._betas
        moments.n_steps += 1
        if self._weight_decay != 0:
            parameter.mul_(1 - lr * self._weight_decay)
        moments.mean.lerp_(gradient, 1 - beta1)
        moments.square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        root = (moments.square.sqrt() / (1 - beta2**moments.n_steps) ** 0.5).add_(EPSILON)
        parameter.addcdiv_(moments.mean, root, value=-(lr / (1 - beta1**moments.n_steps)))


@dataclass
class _Moments:
    """Means of the gradient and of its square, and over how many steps."""

    mean: Tensor
    square: Tensor
    n_steps: int = 0
