"""Bounds, proved, of an expression over a stretch of one unknown: interval arithmetic, with slopes.

What the exponential polynomials have no place for (the unknown in a base, under `floor`, in a sum over steps) is still
bounded here. Where the slope keeps its sign the two ends bound the whole stretch, so that stretches may be wide.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache, reduce
from typing import Any

from mpmath.libmp import (
    dps_to_prec,
    finf,
    fninf,
    fone,
    from_rational,
    fzero,
    mpf_cmp,
    mpf_floor,
    mpf_sign,
    round_ceiling,
    round_floor,
)
from mpmath.libmp.libmpi import mpi_add, mpi_div, mpi_exp, mpi_log, mpi_mul, mpi_neg, mpi_pow_int
from sympy import Add, Expr, Max, Min, Mod, Mul, Pow, Rational, Sum, Symbol, ceiling, floor

from costmodel.figures import Figure, Open, comparable
from costmodel.solve.budget import Unsolvable, look_at_time
from costmodel.solve.steps import figure_at
from costmodel.symbols import sign

_DIGITS = (30, 100, 1000, 4000)

_Range = tuple[Any, Any]
"""An interval: mpmath's own numbers, the lower rounded down and the upper rounded up."""
_ZERO: _Range = (fzero, fzero)
_ONE: _Range = (fone, fone)
_ANY: _Range = (fninf, finf)
_UP: _Range = (fzero, finf)
_DOWN: _Range = (fninf, fzero)


@dataclass(frozen=True, slots=True)
class Bounds:
    """A function on a stretch: its values at the two ends, and what all its values and all its slopes lie within.

    A jump, as of `floor`, is a slope without bound.
    """

    low: _Range
    high: _Range
    over: _Range
    slope: _Range

    @property
    def signs(self) -> frozenset[int]:
        """The signs that its values may have."""
        below, above = mpf_sign(self.over[0]), mpf_sign(self.over[1])
        return frozenset(s for s in (-1, 0, 1) if below <= s <= above)

    @property
    def ends_near_zero(self) -> bool:
        """Whether it cannot be told from zero at both ends."""
        return all(mpf_sign(end[0]) <= 0 <= mpf_sign(end[1]) for end in (self.low, self.high))

    @property
    def monotone(self) -> bool:
        """Whether it nowhere falls, or nowhere rises."""
        return _direction(self.slope) != 0

    @property
    def rises(self) -> bool:
        """Whether it nowhere falls."""
        return _direction(self.slope) > 0

    def below(self, value: Fraction) -> bool:
        """Whether all values are less than this one."""
        return bool(mpf_cmp(self.over[1], from_rational(value.numerator, value.denominator, 53, round_floor)) < 0)


def bounds(expr: Expr, unknown: Symbol, low: Fraction, high: Fraction, digits: int = _DIGITS[0]) -> Bounds:
    """What an expression in one unknown does from `low` to `high`.

    Raises:
        Unsolvable: it holds a function that has no bounds here.
        Open: another symbol has no figure.
    """
    return _Fold(unknown, low, high, dps_to_prec(digits)).of(expr)


def spread(expr: Expr, unknown: Symbol) -> Expr:
    """The same with factors inside sums and maxima, where what stands apart rises or falls by itself.

    `max(c·x, m + n·x) / x` is max(c, m/x + n), of which each part is monotone.
    """
    if not expr.has(unknown):
        return expr
    if isinstance(expr, Add):
        return Add(*(spread(term, unknown) for term in expr.args))
    if isinstance(expr, Max | Min):
        return expr.func(*(spread(argument, unknown) for argument in expr.args), evaluate=False)
    if not isinstance(expr, Mul):
        return expr
    inside = [factor for factor in expr.args if _opens(factor)]
    below = [factor for factor in inside if isinstance(factor, Pow)]
    if len(inside) == 2 and len(below) == 1:
        # what grows alike above and below the line is near to constant where both are divided by it
        growth = unknown ** _degree(below[0].base, unknown)
        return spread(expr / below[0] / growth, unknown) / spread(below[0].base / growth, unknown)
    if len(inside) != 1:
        return expr
    (opened,) = inside
    factor = Mul(*(other for other in expr.args if other is not opened))
    if isinstance(opened, Pow):
        return 1 / spread(opened.base / factor, unknown)
    if isinstance(opened, Add):
        return Add(*(spread(factor * term, unknown) for term in opened.args))
    if isinstance(opened, Sum):
        return Sum(spread(factor * opened.function, unknown), *opened.limits)
    direction = sign(factor)
    if direction is None:
        return expr
    chosen = opened.func(*(spread(factor * direction * a, unknown) for a in opened.args), evaluate=False)
    return chosen * direction


def _degree(expr: Expr, unknown: Symbol) -> int:
    """The highest power of the unknown in an expression."""
    if isinstance(expr, Add | Max | Min):
        degrees = [_degree(argument, unknown) for argument in expr.args]
        return min(degrees) if isinstance(expr, Min) else max(degrees)
    if isinstance(expr, Mul):
        return sum(_degree(factor, unknown) for factor in expr.args)
    if isinstance(expr, Sum):
        return _degree(expr.function, unknown)
    if isinstance(expr, Pow) and expr.base == unknown and expr.exp.is_Integer:
        return int(expr.exp)
    return int(expr == unknown)


def _opens(factor: Expr) -> bool:
    if isinstance(factor, Pow) and factor.exp == -1:
        return isinstance(factor.base, Add | Max | Min | Sum)
    return isinstance(factor, Add | Max | Min | Sum)


def sign_at(expr: Expr, unknown: Symbol, value: Fraction) -> int:
    """The sign at a value: exact, or by as many digits as it takes; 0 also where 4,000 do not tell."""
    try:
        found: Figure = figure_at(expr, {unknown: value})
    except ZeroDivisionError:
        raise Unsolvable(f"a division by zero at {unknown} = {value}") from None
    if isinstance(found, Fraction):
        return (found > 0) - (found < 0)
    for digits in _DIGITS:
        look_at_time()
        signs = bounds(expr, unknown, value, value, digits).signs
        if len(signs) == 1:
            return next(iter(signs))
    return 0


class _Fold:
    """One short method a node; values of nodes that occur twice are kept."""

    def __init__(self, unknown: Symbol, low: Fraction, high: Fraction, prec: int) -> None:
        self.unknown, self.low, self.high, self.prec = unknown, low, high, prec
        self.symbols = [unknown]
        ends = self.exact(low), self.exact(high)
        self.known = {unknown: Bounds(*ends, (ends[0][0], ends[1][1]), _ONE)}

    def of(self, expr: Expr) -> Bounds:
        found = self.known.get(expr)
        if found is None:
            found = self.known[expr] = _tightened(self._made(expr))
        return found

    def _made(self, expr: Expr) -> Bounds:
        if not expr.has(*self.symbols) and (
            isinstance(value := figure_at(expr, {}), Fraction) or isinstance(expr, Sum)
        ):
            return self.constant(value)
        match expr:
            case Symbol():
                raise Open(expr)
            case Add():
                return reduce(self.plus, map(self.of, expr.args))
            case Mul():
                return reduce(self.times, map(self.of, expr.args))
            case Max():
                return reduce(_greater, map(self.of, expr.args))
            case Min():
                return _negative(reduce(_greater, (_negative(self.of(a)) for a in expr.args)))
            case Pow():
                return self.power(*expr.args)
            case floor():
                return _floor(self.of(expr.args[0]))
            case ceiling():
                return _negative(_floor(_negative(self.of(expr.args[0]))))
            case Mod():
                over, under = expr.args
                return self.of(over - under * floor(over / under, evaluate=False))
            case Sum():
                return self.sum(expr)
        raise Unsolvable(f"`{self.unknown}` stands under `{expr.func.__name__}`")

    # --- intervals

    def exact(self, value: Fraction) -> _Range:
        n, d = value.numerator, value.denominator
        return from_rational(n, d, self.prec, round_floor), from_rational(n, d, self.prec, round_ceiling)

    def product(self, a: _Range, b: _Range) -> _Range:
        """Nothing times anything is nothing, be it without bound."""
        if _ZERO in (a, b):
            return _ZERO
        found: _Range = mpi_mul(a, b, self.prec)
        return found

    def add(self, a: _Range, b: _Range) -> _Range:
        found: _Range = mpi_add(a, b, self.prec)
        return found

    # --- nodes

    def constant(self, value: Figure) -> Bounds:
        at = self.exact(comparable(value))
        if not isinstance(value, Fraction):
            # a figure of 60 digits, made of sums of such figures
            at = self.product(at, (self.exact(1 - Fraction(1, 10**50))[0], self.exact(1 + Fraction(1, 10**50))[1]))
        return Bounds(at, at, at, _ZERO)

    def plus(self, x: Bounds, y: Bounds) -> Bounds:
        return Bounds(*map(self.add, (x.low, x.high, x.over, x.slope), (y.low, y.high, y.over, y.slope)))

    def times(self, x: Bounds, y: Bounds) -> Bounds:
        slope = self.add(self.product(x.slope, y.over), self.product(x.over, y.slope))
        ends = self.product(x.low, y.low), self.product(x.high, y.high)
        return _tightened(Bounds(*ends, self.product(x.over, y.over), slope))

    def power(self, base: Expr, exponent: Expr) -> Bounds:
        if isinstance(exponent, Rational) and exponent.is_Integer:
            return self.whole_power(self.of(base), int(exponent))
        b, e = self._not_negative(base), self.of(exponent)
        if mpf_sign(b.over[0]) < 0 or (mpf_sign(b.over[0]) == 0 and mpf_sign(e.over[0]) <= 0):
            raise Unsolvable("a power of something that may not be positive")
        low, high, over = (self.exponential(x, y) for x, y in ((b.low, e.low), (b.high, e.high), (b.over, e.over)))
        if mpf_sign(b.over[0]) == 0:
            # from 0 on it rises with its base; its slope there may be without bound
            direction = _direction(b.slope) if e.slope == _ZERO else 0
            slope = _ZERO if b.slope == e.slope == _ZERO else {1: _UP, -1: _DOWN, 0: _ANY}[direction]
            return Bounds(low, high, over, slope)
        logarithm = mpi_log(b.over, self.prec)
        growth = self.product(e.over, mpi_div(b.slope, b.over, self.prec))
        rate = self.add(self.product(e.slope, logarithm), growth)
        return Bounds(low, high, over, self.product(over, rate))

    def _not_negative(self, base: Expr) -> Bounds:
        """Bounds of a base, without what rounding put below zero."""
        b = self.of(base)
        if mpf_sign(b.over[0]) >= 0 or not b.monotone or base.free_symbols != {self.unknown}:
            return b
        if any(comparable(figure_at(base, {self.unknown: end})) < 0 for end in (self.low, self.high)):
            return b
        low, high, over = ((_larger(part[0], fzero), _larger(part[1], fzero)) for part in (b.low, b.high, b.over))
        return Bounds(low, high, over, b.slope)

    def exponential(self, base: _Range, exponent: _Range) -> _Range:
        """A power of what is not negative; of 0, where the exponent is positive, it is 0."""
        if base == _ZERO:
            return _ZERO
        if mpf_sign(base[0]) == 0:
            top = self.exponential((base[1], base[1]), exponent)
            return fzero, top[1]
        found: _Range = mpi_exp(self.product(exponent, mpi_log(base, self.prec)), self.prec)
        return found

    def whole_power(self, x: Bounds, exponent: int) -> Bounds:
        factor = self.exact(Fraction(exponent))
        slope = self.product(self.product(factor, self.power_of(x.over, exponent - 1)), x.slope)
        low, high, over = (self.power_of(part, exponent) for part in (x.low, x.high, x.over))
        return Bounds(low, high, over, slope)

    def power_of(self, base: _Range, exponent: int) -> _Range:
        if exponent < 0 and mpf_sign(base[0]) <= 0 <= mpf_sign(base[1]):
            return _ANY
        found: _Range = mpi_pow_int(base, exponent, self.prec)
        return found

    def sum(self, expr: Sum) -> Bounds:
        """Σ over an index: exact at the ends; between them from the summand, with the index as a stretch too."""
        ((index, first, last),) = expr.limits
        count = self.of(last - first + 1)
        if mpf_sign(count.over[1]) <= 0:
            return self.constant(Fraction(0))
        low, high = (self.constant(_sum_at(expr, self.unknown, end)).over for end in (self.low, self.high))
        inner = _Fold(self.unknown, self.low, self.high, self.prec)
        start, end = self.of(first).over[0], self.of(last).over[1]
        reach = (start, end if mpf_cmp(start, end) < 0 else start)
        inner.symbols.append(index)
        inner.known[index] = Bounds(reach, reach, reach, _ZERO)
        each = inner.of(expr.function)
        many = (count.over[0] if mpf_sign(count.over[0]) > 0 else fzero, count.over[1])
        # the slope of the sum: each term's, and the terms that join at its end
        slope = self.product(many, each.slope)
        if count.slope != _ZERO:
            joined = _direction(each.over) * _direction(count.slope)
            slope = self.add(slope, _UP if joined > 0 else _DOWN if joined < 0 else _ANY)
        return Bounds(low, high, self.product(many, each.over), slope)


@lru_cache(maxsize=256)
def _sum_at(expr: Sum, unknown: Symbol, value: Fraction) -> Figure:
    """Neighbouring stretches share their ends."""
    return figure_at(expr, {unknown: value})


def _direction(value: _Range) -> int:
    """1 for nowhere negative, −1 for nowhere positive, 0 for neither."""
    return 1 if mpf_sign(value[0]) >= 0 else -1 if mpf_sign(value[1]) <= 0 else 0


def _larger(a: Any, b: Any) -> Any:
    return a if mpf_cmp(a, b) >= 0 else b


def _smaller(a: Any, b: Any) -> Any:
    return a if mpf_cmp(a, b) <= 0 else b


def _tightened(found: Bounds) -> Bounds:
    """The ends bound everything where the function nowhere falls, or nowhere rises."""
    direction = _direction(found.slope)
    if direction == 0:
        return found
    a, b = (found.low, found.high) if direction > 0 else (found.high, found.low)
    over = _larger(a[0], found.over[0]), _smaller(b[1], found.over[1])
    return Bounds(found.low, found.high, over, found.slope)


def _negative(x: Bounds) -> Bounds:
    return Bounds(*map(mpi_neg, (x.low, x.high, x.over, x.slope)))


def _greater(x: Bounds, y: Bounds) -> Bounds:
    if mpf_cmp(x.over[0], y.over[1]) >= 0:
        return x
    if mpf_cmp(y.over[0], x.over[1]) >= 0:
        return y

    def top(a: _Range, b: _Range) -> _Range:
        return _larger(a[0], b[0]), _larger(a[1], b[1])

    slope = _smaller(x.slope[0], y.slope[0]), _larger(x.slope[1], y.slope[1])
    return Bounds(top(x.low, y.low), top(x.high, y.high), top(x.over, y.over), slope)


def _floor(x: Bounds) -> Bounds:
    def down(value: _Range) -> _Range:
        return mpf_floor(value[0]), mpf_floor(value[1])

    over = down(x.over)
    slope = {1: _UP, -1: _DOWN, 0: _ANY}[_direction(x.slope)]
    return Bounds(down(x.low), down(x.high), over, _ZERO if over[0] == over[1] else slope)
