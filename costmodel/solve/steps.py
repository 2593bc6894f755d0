"""Sums over the steps of a decode, whose context grows by one token a step: in closed form, never step by step.

A pass's cost is, between cuts, a polynomial in `seq_len`; each piece is summed by Faulhaber's formula.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from math import comb, floor

from sympy import Add, Expr, Max, Min, Poly, PolynomialError, Sum

from costmodel.solve.budget import Unsolvable
from costmodel.solve.piecewise import fold
from costmodel.symbols import is_number, put_in, rational, seq_len, symbol, total

step = symbol("step")
_MOST_DEGREE = 8

Piece = tuple[int, int | None, dict[int, Expr]]
"""Contexts above one whole number and up to another, or without end, with the coefficients by power of `seq_len`."""


def summed_over_contexts(expr: Expr, first: Expr, last: Expr) -> Expr:
    """Σ expr over seq_len = first + 1 … last, which is 0 where last is first.

    With F_i the sum of the i-th piece from 1 up to a context and c_i the whole numbers that end the pieces:
    Σ_i F_i(max(min(last, c_i), c_{i−1})) − F_i(min(max(first, c_{i−1}), c_i)), which holds for symbols too. A `max` of
    times whose cut is a symbol has no such form and stays a `Sum`, exact all the same.

    Example:
        >>> summed_over_contexts(seq_len, rational(0), symbol("n"))
        n**2/2 + n/2
    """
    return total(_summed(term, first, last) for term in Add.make_args(expr))


def _summed(term: Expr, first: Expr, last: Expr) -> Expr:
    if seq_len not in term.free_symbols:
        return term * (last - first)
    pieces = _pieces(term)
    if pieces is None:
        return Sum(put_in(term, {seq_len: first + step}), (step, 1, last - first))
    found = []
    for low, high, coefficients in pieces:
        start, end = first, last
        if low:
            start, end = Max(start, rational(low)), Max(end, rational(low))
        if high is not None:
            start = Min(start, rational(high))
            end = Max(Min(last, rational(high)), rational(low)) if low else Min(last, rational(high))
        found += [c * (_power_sum(power, end) - _power_sum(power, start)) for power, c in coefficients.items()]
    return total(found)


def _pieces(term: Expr) -> list[Piece] | None:
    """The polynomials in seq_len that a cost is made of, if it is."""
    if term.free_symbols == {seq_len}:
        return _exact_pieces(term)
    windows = {rest for least in term.atoms(Min) for rest in set(least.args) - {seq_len}}
    if any(seq_len in found.free_symbols for found in term.atoms(Max)) or not all(map(is_number, windows)):
        return None
    cuts = sorted({floor(Fraction(int(w.p), int(w.q))) for w in windows} - {0})
    found: list[Piece] = []
    for low, high in zip([0, *cuts], [*cuts, None], strict=True):
        chosen = {
            least: seq_len if high is not None and all(rest >= high for rest in set(least.args) - {seq_len}) else w
            for least in term.atoms(Min)
            if (w := Min(*(set(least.args) - {seq_len}))) is not None and seq_len in least.args
        }
        coefficients = _coefficients(put_in(term, chosen))
        if coefficients is None:
            return None
        found.append((low, high, coefficients))
    return found


def _exact_pieces(term: Expr) -> list[Piece] | None:
    """Of a cost in which all but seq_len is a figure, `max` and `min` resolved at the exact contexts."""
    try:
        function = fold(term, seq_len, {})
    except Unsolvable:
        return None
    found: list[Piece] = []
    for cell in function.cells:
        if not cell.function.is_polynomial or len(cell.function.polynomial) > _MOST_DEGREE:
            return None
        low, high = floor(cell.low), None if cell.high is None else floor(cell.high)
        if low != high:
            coefficients = {power: rational(c) for power, c in enumerate(cell.function.polynomial) if c}
            found.append((low, high, coefficients))
    return found


def _coefficients(expr: Expr) -> dict[int, Expr] | None:
    try:
        polynomial = Poly(expr, seq_len)
    except PolynomialError:
        return None
    if polynomial.degree() > _MOST_DEGREE or any(seq_len in c.free_symbols for c in polynomial.coeffs()):
        return None
    return {power: c for (power,), c in polynomial.terms()}


def _power_sum(power: int, end: Expr) -> Expr:
    """Σ s^power over s = 1 … end, a polynomial in end."""
    return total(rational(c) * end ** (i + 1) for i, c in enumerate(_faulhaber(power)))


@cache
def _faulhaber(power: int) -> tuple[Fraction, ...]:
    """The coefficients of n, n², … in Σ s^power up to n."""
    return tuple(
        Fraction(comb(power + 1, power + 1 - i), power + 1) * _bernoulli(power + 1 - i) for i in range(1, power + 2)
    )


@cache
def _bernoulli(index: int) -> Fraction:
    """Bernoulli's numbers, with B₁ = +1/2."""
    if index == 0:
        return Fraction(1)
    if index == 1:
        return Fraction(1, 2)
    known = [Fraction(1), Fraction(-1, 2), *(_bernoulli(i) for i in range(2, index))]
    return -sum((comb(index + 1, i) * known[i] for i in range(index)), Fraction(0)) / (index + 1)
