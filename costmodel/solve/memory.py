"""Whether it fits: weights, what a sequence keeps and, at fidelity `traffic`, the peak of the activations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import floor

from sympy import Add, Expr, Max, Min, Mul, Pow, Symbol, ceiling
from sympy import floor as floor_of

from costmodel.costs import CostTable
from costmodel.figures import figure
from costmodel.solve.budget import Unsolvable
from costmodel.symbols import ZERO, batch_size, expanded, is_zero, rational, sign, total


@dataclass(frozen=True)
class Fit:
    """Memory held against a capacity, both in bytes: what is kept whatever runs, and the activations of each operation.

    `weights` is all of the first that does not grow with the batch. What grows linearly is in `sequence`, a sequence's
    own bytes, and `peaks`, of which each operation's is u + b·a. Every part rises with the batch, and max ≤ cap is
    every part ≤ cap, so the largest batch is floor(min (cap − weights − u) / (sequence + a)): no cases are needed.
    """

    capacity: Expr
    memory: Expr
    weights: Expr
    sequence: Expr
    peaks: tuple[tuple[Expr, Expr], ...]

    @cached_property
    def largest(self) -> Expr | None:
        """The largest batch in closed form, rounded down; None where nothing limits it, or there is no closed form.

        0 where not even the weights fit. Where that hangs on free dims it is negative for those at which they do not.
        """
        if any(sign(self.capacity - self.weights - u) == -1 for u, _ in self.peaks):
            return ZERO
        return None if self.ratio is None else floor_of(self.ratio, evaluate=False)

    @cached_property
    def ratio(self) -> Expr | None:
        """What the parts that grow with the batch allow of it, not rounded."""
        bounds = [
            (self.capacity - self.weights - u) / (self.sequence + a)
            for u, a in self.peaks
            if not is_zero(self.sequence + a)
        ]
        return Min(*bounds) if bounds else None

    def largest_at(self, point: Mapping[Symbol, Fraction]) -> int | None:
        """The largest whole batch at a point: 0 where not even one fits, None where nothing limits it.

        Raises:
            Open: a symbol has no figure.
            Unsolvable: memory may fall as the batch grows.
        """
        bounds = self._bounds(point)
        return max(0, floor(min(bounds))) if bounds else None

    def exact_at(self, point: Mapping[Symbol, Fraction]) -> Fraction | None:
        """The largest batch at a point before it is rounded."""
        bounds = self._bounds(point)
        return min(bounds) if bounds else None

    def _bounds(self, point: Mapping[Symbol, Fraction]) -> list[Fraction]:
        """What each part allows; one that does not grow allows every batch, or none."""
        room = Fraction(figure(self.capacity - self.weights, point))
        found = []
        for u, a in self.peaks:
            slope, left = Fraction(figure(self.sequence + a, point)), room - Fraction(figure(u, point))
            if slope > 0:
                found.append(left / slope)
            elif left < 0:
                found.append(Fraction(0))
        return found

    def bytes_at(self, batch: int | Fraction, point: Mapping[Symbol, Fraction]) -> Fraction:
        """The bytes that a batch needs."""
        return Fraction(figure(self.memory, {**point, batch_size: Fraction(batch)}))

    def margin_at(self, batch: int | Fraction, point: Mapping[Symbol, Fraction]) -> Fraction:
        """The bytes left over, negative where they are missing."""
        return Fraction(figure(self.capacity, point)) - self.bytes_at(batch, point)


@dataclass(frozen=True)
class StepwiseFit(Fit):
    """Memory that grows with the batch, and not by the same each time: the largest batch is found by doubling."""

    @cached_property
    def largest(self) -> Expr | None:
        return None

    @cached_property
    def ratio(self) -> Expr | None:
        return None

    def exact_at(self, point: Mapping[Symbol, Fraction]) -> Fraction | None:
        found = self.largest_at(point)
        return None if found is None else Fraction(found)

    def largest_at(self, point: Mapping[Symbol, Fraction]) -> int | None:
        if not _only_grows(self.memory):
            raise Unsolvable("what memory a batch needs may fall as it grows")
        fits, fails = 0, 1
        while self.margin_at(fails, point) >= 0:
            fits, fails = fails, 2 * fails
            if fails > _ENDLESS:
                return None
        while fails - fits > 1:
            middle = (fits + fails) // 2
            fits, fails = (middle, fails) if self.margin_at(middle, point) >= 0 else (fits, middle)
        return fits


_ENDLESS = 1 << 100


def _only_grows(expr: Expr) -> bool:
    """Whether an expression in positive symbols is seen to be positive, and never to fall as the batch grows."""
    if batch_size not in expr.free_symbols:
        return bool(expr.is_nonnegative)
    if isinstance(expr, Pow):
        return batch_size not in expr.exp.free_symbols and bool(expr.exp.is_positive) and _only_grows(expr.base)
    return expr == batch_size or (
        isinstance(expr, Add | Mul | Max | Min | ceiling | floor_of) and all(map(_only_grows, expr.args))
    )


def fit(table: CostTable, memory: Expr, fraction: Fraction) -> Fit:
    """What a batch needs of a device's memory, of which a fraction may be used."""
    capacity, kept = memory * rational(fraction), table.weight_memory + table.cache_memory
    activations = [peak for peak, _ in table.activation_peaks] if table.fidelity == "traffic" else []
    held, peaks = linear(kept, batch_size), [linear(peak, batch_size) for peak in activations or [ZERO]]
    lines = [peak for peak in peaks if peak is not None]
    if held is not None and len(lines) == len(peaks):
        return Fit(capacity, table.memory, *held, tuple(lines))
    constant = total(term for term in Add.make_args(expanded(kept)) if batch_size not in term.free_symbols)
    return StepwiseFit(capacity, table.memory, constant, kept - constant, ())


def linear(expr: Expr, unknown: Symbol) -> tuple[Expr, Expr] | None:
    """Constant and slope of an expression that is linear in a symbol; None where it is not."""
    if unknown not in expr.free_symbols:
        return expr, ZERO
    slopes, constants = [], []
    for term in Add.make_args(expanded(expr)):
        if unknown not in term.free_symbols:
            constants.append(term)
            continue
        slope = term / unknown
        if unknown in slope.free_symbols:
            return None
        slopes.append(slope)
    return total(constants), total(slopes)
