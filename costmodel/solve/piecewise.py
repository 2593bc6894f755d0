"""A cost in one unknown, all else being figures: exponential polynomials on the cells of a partition of x > 0."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from itertools import pairwise

from sympy import Add, Expr, Max, Min, Mul, Pow, Rational, Symbol

from costmodel.figures import figure, power_of
from costmodel.solve.budget import Unsolvable, look_at_time
from costmodel.solve.exppoly import ExpPoly, Root

_SAME = Fraction(1, 10**25)
# beyond this the roots of what comes out are too many to be isolated one by one
_MOST_POWER = 64


@dataclass(frozen=True)
class Cell:
    """From `low`, which it leaves out, up to `high`, or without end."""

    low: Fraction
    high: Fraction | None
    function: ExpPoly

    def holds(self, x: Fraction) -> bool:
        return self.low < x and (self.high is None or x <= self.high)

    def has_inside(self, x: Fraction) -> bool:
        """Whether a point lies in it and not at an end."""
        above = x - self.low > _SAME * self.low
        return above and (self.high is None or self.high - x > _SAME * self.high)

    @property
    def inside(self) -> Fraction:
        """A point strictly inside."""
        return self.low + 1 if self.high is None else (self.low + self.high) / 2


@dataclass(frozen=True)
class Piecewise:
    """A continuous function on x > 0, by cells from left to right."""

    cells: tuple[Cell, ...]

    @classmethod
    def of(cls, function: ExpPoly) -> Piecewise:
        return cls((Cell(Fraction(0), None, function),))

    def at(self, x: Fraction) -> ExpPoly:
        """The function of the cell that holds x."""
        return self.cells[bisect_left(self._cuts, x)].function

    @cached_property
    def _cuts(self) -> list[Fraction]:
        return [cell.high for cell in self.cells if cell.high is not None]

    @classmethod
    def sum(cls, parts: Sequence[Piecewise]) -> Piecewise:
        """The sum of many functions: all their cuts sorted once, and at each what changes there added."""
        function = sum((part.cells[0].function for part in parts), ExpPoly({}))
        changes = [
            (left.high, right.function - left.function)
            for part in parts
            for left, right in pairwise(part.cells)
            if left.high is not None
        ]
        cells: list[Cell] = []
        low = Fraction(0)
        for cut, change in sorted(changes, key=lambda change: change[0]):
            if cut - low > _SAME * cut:
                look_at_time()
                cells.append(Cell(low, cut, function))
                low = cut
            function = function + change
        return cls((*cells, Cell(low, None, function)))

    def combined(self, other: Piecewise, how: Callable[[ExpPoly, ExpPoly], ExpPoly]) -> Piecewise:
        cells = []
        for low, high in _between(Fraction(0), None, [*self._cuts, *other._cuts]):
            look_at_time()
            point = Cell(low, high, ExpPoly({})).inside
            cells.append(Cell(low, high, how(self.at(point), other.at(point))))
        return Piecewise(tuple(cells))

    def __add__(self, other: Piecewise) -> Piecewise:
        return Piecewise.sum((self, other))

    def __sub__(self, other: Piecewise) -> Piecewise:
        return self.combined(other, lambda a, b: a - b)

    def __mul__(self, other: Piecewise) -> Piecewise:
        return self.combined(other, lambda a, b: a * b)

    def scaled(self, factor: Fraction) -> Piecewise:
        return Piecewise(tuple(Cell(c.low, c.high, c.function.scaled(factor)) for c in self.cells))

    def chosen(self, other: Piecewise, least: bool) -> Piecewise:
        """The lesser, or the greater, of two functions at each point."""
        cells = []
        for low, high in _between(Fraction(0), None, [*self._cuts, *other._cuts]):
            look_at_time()
            point = Cell(low, high, ExpPoly({})).inside
            a, b = self.at(point), other.at(point)
            difference = a - b
            cuts = [r.value for r in difference.roots if r.upward is not None and Cell(low, high, a).holds(r.value)]
            for inner_low, inner_high in _between(low, high, cuts):
                inside = Cell(inner_low, inner_high, a).inside
                smaller = difference.sign(inside) <= 0
                cells.append(Cell(inner_low, inner_high, a if smaller == least else b))
        return Piecewise(tuple(cells))

    def sign(self, x: Fraction) -> int:
        return self.at(x).sign(x)

    def value(self, x: Fraction) -> Fraction:
        return self.at(x).value(x)

    def sign_at_infinity(self) -> int:
        return self.cells[-1].function.sign_at_infinity()

    @property
    def is_zero(self) -> bool:
        return all(cell.function.is_zero for cell in self.cells)

    @cached_property
    def roots(self) -> tuple[Root, ...]:
        """Every root, ascending; of a stretch on which the function is zero, its ends.

        At a cut two functions meet, so whether the whole crosses there is told by the signs on either side.
        """
        found = [root for cell in self.cells for root in cell.function.roots if cell.has_inside(root.value)]
        at_cuts = [root for left, right in pairwise(self.cells) if (root := _root_between(left, right)) is not None]
        found = sorted([*found, *at_cuts], key=lambda root: root.value)
        for i, root in enumerate(found):
            if root in at_cuts:
                before = found[i - 1].value if i else Fraction(0)
                behind = found[i + 1].value if i + 1 < len(found) else 3 * root.value
                signs = [self.sign((x + root.value) / 2) for x in (before, behind)]
                rises, falls = signs[0] < 0 <= signs[1], signs[0] >= 0 > signs[1]
                found[i] = replace(root, upward=rises if rises or falls else None)
        return tuple(found)


def _root_between(left: Cell, right: Cell) -> Root | None:
    """The root at the cut between two cells, where there is one."""
    cut = left.high
    assert cut is not None
    near = [r for cell in (left, right) for r in cell.function.roots if abs(r.value - cut) <= _SAME * cut]
    if near:
        return near[0]
    return Root(left.function, cut, cut, None) if left.function.is_zero or right.function.is_zero else None


def _between(low: Fraction, high: Fraction | None, cuts: list[Fraction]) -> list[tuple[Fraction, Fraction | None]]:
    """The cells of a stretch cut at points; two cuts that agree to 1e-25 are one."""
    kept: list[Fraction] = []
    for cut in sorted(cuts):
        if cut > low and (high is None or cut < high) and (not kept or cut - kept[-1] > _SAME * cut):
            kept.append(cut)
    return list(zip([low, *kept], [*kept, high], strict=True))


def fold(expr: Expr, unknown: Symbol, values: Mapping[Symbol, Fraction]) -> Piecewise:
    """An expression as a function of one unknown, the others being figures.

    Raises:
        Unsolvable: the unknown stands where this class has no place for it.
        Open: another symbol has no figure.
    """
    if not expr.has(unknown):
        value = figure(expr, values)
        if not isinstance(value, Fraction):
            raise Unsolvable("a power is too long to be held exactly")
        return Piecewise.of(ExpPoly.constant(value))
    if expr == unknown:
        return Piecewise.of(ExpPoly.unknown())
    if isinstance(expr, Add):
        return Piecewise.sum([fold(argument, unknown, values) for argument in expr.args])
    if isinstance(expr, Mul):
        return _reduced(expr, unknown, values, lambda a, b: a * b)
    if isinstance(expr, Min | Max):
        return _reduced(expr, unknown, values, lambda a, b: a.chosen(b, least=isinstance(expr, Min)))
    if isinstance(expr, Pow):
        return _power(expr, unknown, values)
    raise Unsolvable(f"`{unknown}` stands under `{expr.func.__name__}`")


def _reduced(
    expr: Expr, unknown: Symbol, values: Mapping[Symbol, Fraction], how: Callable[[Piecewise, Piecewise], Piecewise]
) -> Piecewise:
    parts = [fold(argument, unknown, values) for argument in expr.args]
    result = parts[0]
    for part in parts[1:]:
        result = how(result, part)
    return result


def _power(expr: Expr, unknown: Symbol, values: Mapping[Symbol, Fraction]) -> Piecewise:
    base, exponent = expr.args
    if unknown in base.free_symbols:
        if not isinstance(exponent, Rational) or not exponent.is_Integer or exponent < 0:
            raise Unsolvable(f"`{unknown}` stands in a denominator or under a root")
        if exponent > _MOST_POWER:
            raise Unsolvable(f"`{unknown}` stands in a power of more than {_MOST_POWER}")
        factor = fold(base, unknown, values)
        result = Piecewise.of(ExpPoly.constant(1))
        for _ in range(int(exponent)):
            result = result * factor
        return result
    quotient = figure(base, values)
    rate = fold(exponent, unknown, values)
    linear = rate.cells[0].function
    if (
        len(rate.cells) != 1
        or not linear.is_polynomial
        or len(linear.polynomial) > 2
        or not isinstance(quotient, Fraction)
    ):
        raise Unsolvable(f"`{unknown}` stands in an exponent that is not linear in it")
    constant, slope = linear.coefficient(0), linear.coefficient(1)
    if quotient == 0 and slope > 0:
        return Piecewise.of(ExpPoly.of({}))
    first = power_of(quotient, constant)
    if quotient <= 0 or not isinstance(first, Fraction):
        raise Unsolvable("a power of something that is not positive, or that cannot be held exactly")
    return Piecewise.of(ExpPoly.of({quotient if slope > 0 else 1 / quotient: (first,)}, abs(slope)))
