"""Figures: the value of an expression at a point, exactly where that can be held, else to 60 digits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from math import ceil as ceil_of
from math import floor as floor_of
from typing import Any, TypeAlias

import mpmath
from sympy import (
    Add,
    Expr,
    Integer,
    LambertW,
    Max,
    Min,
    Mod,
    Mul,
    Pow,
    Rational,
    Sum,
    Symbol,
    UnevaluatedExpr,
    ceiling,
    floor,
    log,
)

from costmodel.symbols import MOST_BITS, REQUEST, WORKLOAD, fraction

Figure: TypeAlias = "Fraction | Any"
"""A Fraction, or an mpmath number of 60 digits."""
_DIGITS = 60
_MOST_STEPS = 10_000


def figure_fault(name: str, value: Fraction) -> str | None:
    """Why a symbol of this name cannot have this figure, or None where it can.

    >>> figure_fault("batch_size", Fraction(5, 2))
    'batch_size is 5/2: a whole number, 1 or more, is needed'
    """
    if name == "acceptance_rate":
        return None if 0 < value <= 1 else f"{name} is {value}: more than 0 and at most 1 is needed"
    if name == "memory_fraction":
        return None if value > 0 else f"{name} is {value}: more than 0 is needed"
    least = 1 if name in (*WORKLOAD, *REQUEST, "count") else 0
    whole = value.denominator == 1 and value >= least
    return None if whole else f"{name} is {value}: a whole number, {least} or more, is needed"


def exact_number(text: str) -> Fraction | None:
    """An exact number as a user writes one: `8_192`, `1e5`, `9/10`; none that is too long to be meant."""
    if len(text) > 40 or re.search(r"[eE][+-]?\d{4}", text.replace("_", "")):
        return None
    try:
        return Fraction(text.replace("_", ""))
    except (ValueError, ZeroDivisionError):
        return None


class Open(Exception):
    """An expression has no value: a symbol in it is free."""

    def __init__(self, symbol: Symbol) -> None:
        super().__init__(symbol.name)
        self.symbol = symbol


def figure(expr: Expr, values: Mapping[Symbol, Fraction]) -> Figure:
    """The value of an expression with these figures put in.

    Exact, save that a power of more than 2^19 bits is held to 60 digits.

    Raises:
        Open: a symbol has no figure.
    """
    with mpmath.workdps(_DIGITS):
        return _figure(expr, values)


def _figure(expr: Expr, values: Mapping[Symbol, Fraction]) -> Figure:
    if isinstance(expr, Rational):
        return fraction(expr)
    if isinstance(expr, Symbol):
        if expr not in values:
            raise Open(expr)
        return values[expr]
    if isinstance(expr, Sum):
        return _series(expr, values)
    if isinstance(expr, Pow):
        return power_of(_figure(expr.base, values), _figure(expr.exp, values))
    arguments = [_figure(argument, values) for argument in expr.args]
    if isinstance(expr, Add):
        return _sum(arguments)
    if isinstance(expr, Mul):
        result: Figure = Fraction(1)
        for argument in arguments:
            result = _times(result, argument)
        return result
    if isinstance(expr, Max):
        return max(arguments, key=comparable)
    if isinstance(expr, Min):
        return min(arguments, key=comparable)
    if isinstance(expr, ceiling):
        return Fraction(ceil_of(arguments[0]))
    if isinstance(expr, floor):
        return Fraction(floor_of(arguments[0]))
    if isinstance(expr, Mod):
        a, b = arguments
        return a - b * floor_of(a / b)
    if isinstance(expr, LambertW):
        return _lambert(*arguments)
    if isinstance(expr, log):
        return mpmath.log(_mpf(arguments[0]))
    if isinstance(expr, UnevaluatedExpr):
        return arguments[0]
    raise TypeError(f"{expr.func.__name__} has no figure")


def _lambert(z: Figure, branch: Fraction = Fraction(0)) -> mpmath.mpf:
    found = mpmath.lambertw(_mpf(z), int(branch))
    # where two roots meet, W is -1 and the last digits of z may lie on the other side
    if abs(mpmath.im(found)) > mpmath.mpf(10) ** (-_DIGITS // 3):
        raise ArithmeticError("Lambert's W is not real there")
    return mpmath.re(found)


def _series(expr: Sum, values: Mapping[Symbol, Fraction]) -> Figure:
    ((index, low, high),) = expr.limits
    first, last = (int(_figure(limit, values)) for limit in (low, high))
    if last - first > _MOST_STEPS:
        raise Open(index)
    return _sum([_figure(expr.function, {**values, index: Fraction(i)}) for i in range(first, last + 1)])


def comparable(value: Figure) -> Fraction:
    """A figure as a fraction, so that it can be held against another exactly; 0 where it is below 2^(−2^19)."""
    return value if isinstance(value, Fraction) else Fraction(*_ratio(value))


def _ratio(value: mpmath.mpf) -> tuple[int, int]:
    sign, mantissa, exponent, _ = value._mpf_
    mantissa = -int(mantissa) if sign else int(mantissa)
    if exponent < -MOST_BITS:
        return 0, 1
    return (mantissa << exponent, 1) if exponent >= 0 else (mantissa, 1 << -exponent)


def rounded(value: Fraction) -> Figure:
    """A figure that is not exact, as one of 60 digits."""
    with mpmath.workdps(_DIGITS):
        return _mpf(value)


def _mpf(value: Figure) -> mpmath.mpf:
    return mpmath.mpf(value.numerator) / value.denominator if isinstance(value, Fraction) else value


def _sum(values: list[Figure]) -> Figure:
    if all(isinstance(value, Fraction) for value in values):
        return sum(values, Fraction(0))
    return mpmath.fsum([_mpf(value) for value in values])


def _times(a: Figure, b: Figure) -> Figure:
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a * b
    return _mpf(a) * _mpf(b)


def quotient(a: Figure, b: Figure) -> Figure:
    """a / b, exact where both are."""
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a / b
    with mpmath.workdps(_DIGITS):
        return _mpf(a) / _mpf(b)


def power_of(base: Figure, exponent: Figure) -> Figure:
    """A power: exact where the exponent is whole and the result is not too long, else to 60 digits."""
    if isinstance(base, Fraction) and isinstance(exponent, Fraction) and exponent.denominator == 1:
        size = max(base.numerator.bit_length(), base.denominator.bit_length())
        if size * abs(exponent.numerator) <= MOST_BITS or base in (0, 1):
            return base**exponent.numerator
    return _mpf(base) ** _mpf(exponent)


def as_float(value: Figure) -> float:
    """The nearest float; infinite where it is beyond all floats."""
    try:
        return value.numerator / value.denominator if isinstance(value, Fraction) else float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def as_json(value: Figure | None) -> int | float | None:
    """A JSON number: an integer where it is whole, whatever its size; never NaN or Infinity."""
    if value is None:
        return None
    if isinstance(value, Fraction) and value.denominator == 1:
        return value.numerator
    nearest = as_float(value)
    return nearest if abs(nearest) != float("inf") else None


def as_figure(value: int | Fraction | Integer | Rational) -> Fraction:
    """A number from outside as a figure."""
    return Fraction(value) if isinstance(value, int | Fraction) else fraction(value)
