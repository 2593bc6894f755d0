"""Closed forms as functions of floats, and curves through points of them, the kinks among these."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from math import ceil, exp, floor, inf, log, prod

from sympy import Add, Expr, Max, Min, Mod, Mul, Pow, Rational, Symbol, ceiling
from sympy import floor as floor_of
from sympy import log as log_of

from costmodel.figures import Open
from costmodel.solve.budget import Unsolvable
from costmodel.solve.piecewise import fold
from costmodel.symbols import put_in, rational

Values = dict[Symbol, float]
Function = Callable[[Values], float]


def function(expr: Expr) -> Function:
    """An expression as a function of floats: good to some 15 digits, which is more than a picture shows.

    Raises:
        TypeError: it holds a function that has no float.
    """
    if isinstance(expr, Rational):
        number = _float(expr)
        return lambda _: number
    if isinstance(expr, Symbol):
        return lambda values: values[expr]
    if isinstance(expr, Pow):
        base, exponent = map(function, expr.args)
        return lambda values: _power(base(values), exponent(values))
    parts = [function(argument) for argument in expr.args]
    if isinstance(expr, Add):
        return lambda values: sum(part(values) for part in parts)
    if isinstance(expr, Mul):
        return lambda values: prod(part(values) for part in parts)
    if isinstance(expr, Max):
        return lambda values: max(part(values) for part in parts)
    if isinstance(expr, Min):
        return lambda values: min(part(values) for part in parts)
    if isinstance(expr, ceiling):
        return lambda values: float(ceil(parts[0](values)))
    if isinstance(expr, floor_of):
        return lambda values: float(floor(parts[0](values)))
    if isinstance(expr, Mod):
        return lambda values: parts[0](values) % parts[1](values)
    if isinstance(expr, log_of):
        return lambda values: log(parts[0](values))
    raise TypeError(f"{expr.func.__name__} has no float")


def _float(number: Rational) -> float:
    try:
        return int(number.p) / int(number.q)
    except OverflowError:
        return inf if number > 0 else -inf


def _power(base: float, exponent: float) -> float:
    if exponent == -1:
        return 1 / base
    try:
        return float(base**exponent)
    except OverflowError:
        return inf


def along(expr: Expr, unknown: Symbol, point: Mapping[Symbol, Fraction]) -> Callable[[float], float]:
    """An expression as a function of one unknown, figures put in for the others.

    Raises:
        Open: another symbol has no figure.
    """
    held = put_in(expr, {s: rational(v) for s, v in point.items() if s != unknown})
    free = sorted(held.free_symbols - {unknown}, key=lambda s: s.name)
    if free:
        raise Open(free[0])
    found = function(held)
    return lambda x: found({unknown: x})


def kinks(exprs: Iterable[Expr], unknown: Symbol, point: Mapping[Symbol, Fraction]) -> list[float]:
    """Where a `max` or `min` in these expressions changes its branch, with the roots of what they differ by."""
    found: set[float] = set()
    given = {s: v for s, v in point.items() if s != unknown}
    for expr in exprs:
        try:
            cells = fold(expr, unknown, given).cells
        except (Open, Unsolvable):
            continue
        found |= {float(cell.high) for cell in cells if cell.high is not None}
    return sorted(found)


def spaced(low: float, high: float, count: int, scale: str, extra: Iterable[float] = ()) -> list[float]:
    """So many places along an axis, and some more of interest."""
    if scale == "log":
        ratio = log(high / low)
        places = [low * exp(ratio * i / (count - 1)) for i in range(count)]
    else:
        places = [low + (high - low) * i / (count - 1) for i in range(count)]
    places[0], places[-1] = low, high
    return sorted({*places, *(x for x in extra if low <= x <= high)})


def sampled(f: Callable[[float], float], places: Iterable[float]) -> tuple[tuple[float, float], ...]:
    """The points of a curve that have a finite value."""
    found = ((x, f(x)) for x in places)
    return tuple((x, y) for x, y in found if -inf < y < inf)
