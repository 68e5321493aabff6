"""Muon: weight matrices take steps along the orthogonal matrix next to their momentum, all else those of AdamW."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from aekit.core.adamw import FusedAdamW
from aekit.core.device import ThreadTeam

MOMENTUM = "momentum"  # what is remembered of a matrix
DECAY = 0.9  # of the momentum
RATE_OF_MATRICES = 6.0  # times the learning rate of AdamW
DECAY_OF_MATRICES = 2.5  # times the decay of its weights
# Five steps of x -> ax + bx^3 + cx^5 bring singular values between 0.01 and 1 to between 0.68 and 1.2, faster than
# polynomials that would bring them to 1.
STEPS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
# Rows and columns of large matrices. On a CPU they take most of the time of a step, so they move every other time; and
# products of smaller ones are faster in fp32: 0.3 ms against 0.9 for 48 x 384, where 256 x 256 takes 4.0 against 1.2.
LARGE = 128
# Of a norm: the squares of numbers below are lost in fp32. A matrix whose gradient has been zero for hundreds of steps
# has a momentum of this size.
TINY = 1e-18


class Muon(FusedAdamW):
    """Muon over the groups that say ``is_matrix``, AdamW over the others.

    The kernel of a convolution is a matrix of one row per channel, the first dimension of its weights, and one column
    per other weight. On a CPU large matrices move every other time, by the length of two steps, in turn.

    Args:
        groups: Dicts with ``params``, and what differs from the other arguments in them; with ``is_matrix`` true, the
            parameters are matrices, or weights of convolutions with four dimensions.
        team: Threads that share the matrices; results do not depend on how.
        is_bf16: Whether large matrices are orthogonalised in bf16.
        settings: Those of :class:`FusedAdamW`. Matrices take :data:`RATE_OF_MATRICES` times the learning rate, and
            :data:`DECAY_OF_MATRICES` times the decay.

    Attributes:
        state: As :class:`FusedAdamW`; that of a matrix is ``step`` and ``momentum``.

    Source:
        Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], *, team: ThreadTeam, is_bf16: bool, **settings: Any) -> None:
        super().__init__(groups, **settings)
        self._team = team
        self._is_bf16 = is_bf16

    def _step_group(self, group: dict[str, Any], moved: list[Tensor]) -> None:
        if not group.get("is_matrix"):
            super()._step_group(group, moved)
            return
        for parameter in moved:
            if parameter not in self.state:
                step = torch.zeros((), device=parameter.device)
                self.state[parameter] = {"step": step, MOMENTUM: torch.zeros_like(parameter)}
        torch._foreach_add_([self.state[parameter]["step"] for parameter in moved], 1)
        # Of the large ones alone, so that those of either parity cost about the same.
        large = [parameter for parameter in moved if min(_shape(parameter)) >= LARGE]
        late = {id(parameter) for parameter in large[1::2]}
        turns = [_Turn(parameter, self._n_steps_of(parameter, is_late=id(parameter) in late)) for parameter in moved]

        @torch.no_grad()  # it is a property of each thread
        def move(own: list[_Turn]) -> None:
            for turn in own:
                self._move(turn, group)

        self._team.map(move, _shares(turns, self._team.n_threads))

    def _n_steps_of(self, parameter: Tensor, *, is_late: bool) -> int:
        """Return how many steps a matrix takes now: on a CPU large ones two every other time, and not all at once."""
        if parameter.device.type != "cpu" or min(_shape(parameter)) < LARGE:
            return 1
        return 2 if (int(self.state[parameter]["step"]) + is_late) % 2 == 0 else 0

    def _move(self, turn: _Turn, group: dict[str, Any]) -> None:
        parameter, gradient = turn.parameter, turn.parameter.grad
        assert gradient is not None  # the others do not move
        momentum = self.state[parameter][MOMENTUM]
        momentum.lerp_(gradient, 1 - DECAY)
        if turn.n_steps:
            rate = group["lr"] * turn.n_steps
            ahead = gradient.lerp(momentum, DECAY)  # Nesterov's: as after another such gradient
            parameter.mul_(1 - rate * group["weight_decay"] * DECAY_OF_MATRICES)
            parameter.sub_(self._direction(ahead).mul_(rate * RATE_OF_MATRICES))

    def _direction(self, ahead: Tensor) -> Tensor:
        """Return the step of a matrix or kernel at a learning rate of one, in the shape of ``ahead``."""
        if ahead.ndim == 2:
            return self._direction_of_matrix(ahead)
        rows, columns, height, width = ahead.shape  # channels last in memory, so nothing is moved
        direction = self._direction_of_matrix(ahead.permute(0, 2, 3, 1).reshape(rows, -1))
        return direction.view(rows, height, width, columns).permute(0, 3, 1, 2)

    def _direction_of_matrix(self, ahead: Tensor) -> Tensor:
        is_large = min(ahead.shape) >= LARGE
        orthogonal = orthogonalise(ahead, torch.bfloat16 if self._is_bf16 and is_large else torch.float32)
        direction: Tensor = orthogonal.float() * max(1.0, ahead.shape[0] / ahead.shape[1]) ** 0.5
        return direction


class _Turn(NamedTuple):
    """A matrix that moves now, by the length of so many steps, or gathers momentum only."""

    parameter: Tensor
    n_steps: int

    def cost(self) -> int:
        """Return about how many products of numbers it takes to orthogonalise it."""
        rows, columns = _shape(self.parameter)
        return min(rows, columns) ** 2 * max(rows, columns) * self.n_steps


def _shape(matrix: Tensor) -> tuple[int, int]:
    """Return rows and columns of a matrix or kernel."""
    return len(matrix), matrix.numel() // len(matrix)


def _shares(turns: list[_Turn], n: int) -> list[list[_Turn]]:
    """Return the matrices in at most n lists that cost about the same."""
    shares: list[list[_Turn]] = [[] for _ in range(min(n, len(turns)))]
    for turn in sorted(turns, key=_Turn.cost, reverse=True):
        min(shares, key=lambda share: sum(other.cost() for other in share)).append(turn)
    return shares


def orthogonalise(matrix: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return a matrix with the singular vectors of one, and singular values near one.

    Newton and Schulz's iteration, which needs products only: of U S V', it returns about U V'. Directions whose
    singular value is below a hundredth of the Frobenius norm are left behind, and a matrix of zeros is returned as one.

    In float32 the iteration of a matrix of twice as many columns as rows, or of rows as columns, is that of its small
    square XX', which all its factors are polynomials of, so that only two products have the long side: 256 x 1536 in
    less than half of the time. In bf16 XX' would lose the small singular values, whose squares it holds.

    Args:
        matrix: (M, N), of float32 or float64.
        dtype: Of the products, and of what is returned.

    Source:
        Higham 2008, Functions of Matrices, chapter 8, on the iteration; Jordan et al. 2024 on the coefficients.
    """
    is_tall = matrix.shape[0] > matrix.shape[1]
    wide = matrix.T if is_tall else matrix
    wide = (wide / wide.norm().clamp_min(TINY)).to(dtype)
    is_long = wide.shape[1] >= 2 * wide.shape[0]
    orthogonal = _iterate_square(wide) if is_long and dtype == torch.float32 else _iterate(wide)
    return orthogonal.T if is_tall else orthogonal


def _iterate(wide: Tensor) -> Tensor:
    """Return a matrix X after all steps of X -> (a + bXX' + c(XX')^2) X."""
    a, b, c = COEFFICIENTS
    for _ in range(STEPS):
        square = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(square, square, square, beta=b, alpha=c), wide, beta=a)
    return wide


def _iterate_square(wide: Tensor) -> Tensor:
    """Return the same by way of XX', which a step with the factor F turns into FXX'F."""
    a, b, c = COEFFICIENTS
    square, product = wide @ wide.T, None
    for step in range(STEPS):
        factor = torch.addmm(square, square, square, beta=b, alpha=c)
        factor.diagonal().add_(a)
        product = factor if product is None else factor @ product
        if step < STEPS - 1:
            square = factor @ (factor @ square)
    assert product is not None  # there are steps
    return product @ wide
