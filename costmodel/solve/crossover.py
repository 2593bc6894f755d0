"""Where a pass turns compute-bound: the batch sizes at which compute time and memory time are equal, proved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from sympy import Eq, Expr, Symbol
from sympy.logic.boolalg import Boolean

from costmodel.figures import Figure, Open, figure
from costmodel.solve.exppoly import Root
from costmodel.solve.piecewise import Piecewise, fold
from costmodel.symbols import batch_size


@dataclass(frozen=True)
class Solved:
    """The roots of compute time = memory time in the batch size, and what holds between them.

    `crossing` is b*: the last root at which the pass turns compute-bound; of a pass that ends memory-bound the last at
    which it turns that. `compute_bound` are the stretches of b ≥ 1 in which compute time is not less.
    """

    balance: Piecewise
    roots: tuple[Root, ...]
    crossing: Root | None
    compute_bound: tuple[tuple[Fraction, Fraction | None], ...]

    @cached_property
    def value(self) -> Fraction | None:
        """b*, or the only root that there is where that is not positive."""
        if self.crossing is not None:
            return self.crossing.value
        return None if self.balance.is_zero else _other_root(self.balance)

    def status(self, largest: int | None) -> str:
        """The status, given the largest batch that fits (None: nothing limits it)."""
        if largest == 0:
            return "does_not_fit"
        if not self.compute_bound:
            return "never"
        if self.compute_bound[-1][1] is not None:
            return "leaves"
        if self.crossing is None or not self.crossing.upward or self.crossing.against(Fraction(1)) < 0:
            return "always"
        return "crosses" if largest is None or self.ceiling <= largest else "beyond_memory"

    @property
    def ceiling(self) -> int:
        """The least whole batch at or above b*."""
        return self.crossing.ceiling if self.crossing is not None else 1


def solve(compute: Expr, memory: Expr, point: Mapping[Symbol, Fraction]) -> Solved:
    """Every positive root of compute − memory in the batch size, proved, and what they mean.

    Raises:
        Open: another symbol has no figure.
        Unsolvable: the times are outside the class that is solved with proof.
    """
    balance = fold(compute, batch_size, point) - fold(memory, batch_size, point)
    if balance.is_zero:
        return Solved(balance, (), None, ((Fraction(1), None),))
    roots = balance.roots
    turns = [root for root in roots if root.upward is (balance.sign_at_infinity() >= 0)]
    upward = [root for root in roots if root.upward]
    crossing = next((found[-1] for found in (turns, upward, roots) if found), None)
    return Solved(balance, roots, crossing, tuple(_compute_bound(balance, roots)))


def _other_root(balance: Piecewise) -> Fraction | None:
    """The single root that is not positive, where there is just one."""
    if len(balance.cells) != 1:
        return None
    function = balance.cells[0].function
    start = sum((poly[0] for poly in function.terms.values()), Fraction(0))
    if start == 0:
        return Fraction(0)
    negative = function.mirrored().roots
    return -negative[0].value if len(negative) == 1 else None


def _compute_bound(balance: Piecewise, roots: Sequence[Root]) -> list[tuple[Fraction, Fraction | None]]:
    """The stretches of b ≥ 1 on which compute time is not less than memory time."""
    edges = [root for root in roots if root.against(Fraction(1)) > 0]
    points = [Fraction(1), *(root.value for root in edges)]
    found: list[tuple[Fraction, Fraction | None]] = []
    for i, low in enumerate(points):
        high = points[i + 1] if i + 1 < len(points) else None
        sign_here = balance.sign((low + high) / 2) if high is not None else balance.sign_at_infinity()
        touches = edges[i - 1].upward is None if i else balance.sign(low) == 0
        if sign_here >= 0 and found and found[-1][1] == low:
            found[-1] = (found[-1][0], high)
        elif sign_here >= 0:
            found.append((low, high))
        elif touches and not (found and found[-1][1] == low):
            found.append((low, low))
    return found


def equation(compute: Expr, memory: Expr) -> Boolean:
    """What is solved where there is no closed form."""
    return Eq(compute, memory, evaluate=False)


def at(expr: Expr, point: Mapping[Symbol, Fraction]) -> Figure | None:
    """The figure of an expression, or None where a symbol in it is free, or it has none there."""
    try:
        return figure(expr, point)
    except (Open, ArithmeticError):
        return None
