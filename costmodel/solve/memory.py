"""Whether it fits: weights, what a sequence keeps and, at fidelity `traffic`, the peak of the activations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import floor

from sympy import Expr, Min, Symbol
from sympy import floor as floor_of

from costmodel.costs import CostTable
from costmodel.figures import figure
from costmodel.symbols import ZERO, batch_size, is_zero, rational, sign
from costmodel.symbols import total as sum_of


@dataclass(frozen=True)
class Fit:
    """Memory as weights + b·sequence + max over operations of (u + b·a), held against a capacity in bytes.

    Every part rises with the batch, and max ≤ cap is every part ≤ cap, so the largest batch is
    floor(min (cap − weights − u) / (sequence + a)): no cases are needed.
    """

    capacity: Expr
    weights: Expr
    sequence: Expr
    peaks: tuple[tuple[Expr, Expr], ...]

    @cached_property
    def largest(self) -> Expr | None:
        """The largest batch in closed form, rounded down; None where nothing limits it.

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
        held = Fraction(figure(self.weights + self.sequence * rational(Fraction(batch)), point))
        return held + max(Fraction(figure(u + a * rational(Fraction(batch)), point)) for u, a in self.peaks)

    def margin_at(self, batch: int | Fraction, point: Mapping[Symbol, Fraction]) -> Fraction:
        """The bytes left over, negative where they are missing."""
        return Fraction(figure(self.capacity, point)) - self.bytes_at(batch, point)


def fit(table: CostTable, memory: Expr, fraction: Fraction) -> Fit | None:
    """What a batch needs of a device's memory; None where memory is not linear in the batch."""
    constant, sequence = linear(table.cache_memory, batch_size) or (None, None)
    if constant is None or sequence is None:
        return None
    peaks: list[tuple[Expr, Expr]] = []
    if table.fidelity == "traffic":
        for peak, _ in table.activation_peaks:
            parts = linear(peak, batch_size)
            if parts is None:
                return None
            peaks.append(parts)
    if not peaks:
        peaks = [(ZERO, ZERO)]
    return Fit(memory * rational(fraction), table.weight_memory + constant, sequence, tuple(peaks))


def linear(expr: Expr, unknown: Symbol) -> tuple[Expr, Expr] | None:
    """Constant and slope of an expression that is linear in a symbol; None where it is not."""
    if unknown not in expr.free_symbols:
        return expr, ZERO
    slopes, constants = [], []
    for term in expr.expand().as_ordered_terms():
        if unknown not in term.free_symbols:
            constants.append(term)
            continue
        slope = term / unknown
        if unknown in slope.free_symbols:
            return None
        slopes.append(slope)
    return sum_of(constants), sum_of(slopes)
