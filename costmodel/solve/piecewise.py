"""A cost in one unknown, all else being figures: exponential polynomials on the cells of a partition of x > 0."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from sympy import Add, Expr, Max, Min, Mul, Pow, Rational, Symbol

from costmodel.figures import figure
from costmodel.solve.budget import Unsolvable, look_at_time
from costmodel.solve.exppoly import ExpPoly, Root

_SAME = Fraction(1, 10**25)
_MOST_BITS = 1 << 22


@dataclass(frozen=True)
class Cell:
    """From `low`, which it leaves out, up to `high`, or without end."""

    low: Fraction
    high: Fraction | None
    function: ExpPoly

    def holds(self, x: Fraction) -> bool:
        return self.low < x and (self.high is None or x <= self.high)

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
        return next((cell.function for cell in self.cells if cell.holds(x)), self.cells[0].function)

    def combined(self, other: Piecewise, how: Callable[[ExpPoly, ExpPoly], ExpPoly]) -> Piecewise:
        cells = []
        for low, high in _cells([*_cuts(self), *_cuts(other)]):
            look_at_time()
            point = Cell(low, high, ExpPoly({})).inside
            cells.append(Cell(low, high, how(self.at(point), other.at(point))))
        return Piecewise(tuple(cells))

    def __add__(self, other: Piecewise) -> Piecewise:
        return self.combined(other, lambda a, b: a + b)

    def __sub__(self, other: Piecewise) -> Piecewise:
        return self.combined(other, lambda a, b: a - b)

    def __mul__(self, other: Piecewise) -> Piecewise:
        return self.combined(other, lambda a, b: a * b)

    def scaled(self, factor: Fraction) -> Piecewise:
        return Piecewise(tuple(Cell(c.low, c.high, c.function.scaled(factor)) for c in self.cells))

    def chosen(self, other: Piecewise, least: bool) -> Piecewise:
        """The lesser, or the greater, of two functions at each point."""
        cells = []
        for low, high in _cells([*_cuts(self), *_cuts(other)]):
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

    @property
    def roots(self) -> tuple[Root, ...]:
        """Every root, ascending. A stretch on which the function is zero gives none."""
        found: list[Root] = []
        for cell in self.cells:
            for root in cell.function.roots:
                if cell.holds(root.value) and not any(abs(root.value - r.value) <= _SAME * root.value for r in found):
                    found.append(root)
        return tuple(sorted(found, key=lambda root: root.value))


def _cuts(function: Piecewise) -> list[Fraction]:
    return [cell.high for cell in function.cells if cell.high is not None]


def _cells(cuts: list[Fraction]) -> list[tuple[Fraction, Fraction | None]]:
    return _between(Fraction(0), None, cuts)


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
    if unknown not in expr.free_symbols:
        value = figure(expr, values)
        if not isinstance(value, Fraction):
            raise Unsolvable("a power is too large to be held exactly")
        return Piecewise.of(ExpPoly.constant(value))
    if expr == unknown:
        return Piecewise.of(ExpPoly.unknown())
    if isinstance(expr, Add):
        return _reduced(expr, unknown, values, lambda a, b: a + b)
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
    if constant.denominator != 1 or slope.denominator != 1:
        raise Unsolvable(f"`{unknown}` stands in an exponent that is not whole")
    if (quotient == 0 and slope > 0) or _dies_at_once(quotient, slope):
        return Piecewise.of(ExpPoly.of({}))
    if quotient <= 0:
        raise Unsolvable("a power of something that is not positive")
    return Piecewise.of(ExpPoly.of({quotient**slope.numerator: (quotient**constant.numerator,)}))


def _dies_at_once(quotient: Fraction, slope: Fraction) -> bool:
    """Whether q^(slope·x) is below e^−10000 from x = 1 on, and too long to be held: it is taken for 0."""
    if not 0 < quotient < 1 or slope <= 0:
        return False
    length = max(quotient.numerator.bit_length(), quotient.denominator.bit_length()) * slope
    return length > _MOST_BITS and (1 - quotient) * slope > 10_000
