"""Sums over the steps of a decode, whose context grows by one token a step: in closed form, never step by step.

A pass's cost is, between cuts, a polynomial in `seq_len`; each piece is summed by Faulhaber's formula.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import cache
from math import comb
from math import floor as floor_of

from sympy import Add, Expr, Max, Min, Poly, PolynomialError, Pow, Sum, Symbol, cancel, floor

from costmodel.figures import Figure, comparable, figure, rounded
from costmodel.solve.budget import Unsolvable
from costmodel.solve.piecewise import fold
from costmodel.symbols import ZERO, is_number, put_in, rational, seq_len, sign, symbol, total

step = symbol("step")
_MOST_DEGREE = 8

Cell = tuple[int, int | None, Expr]
"""Above one whole number and up to another, or without end: the expression there, without `min`."""


def summed_over_contexts(expr: Expr, first: Expr, last: Expr, cuts: bool = True) -> Expr:
    """Σ expr over seq_len = first + 1 … last, which is 0 where last is first.

    With F_i the sum of the i-th piece from 1 up to a context and c_i the whole numbers that end the pieces:
    Σ_i F_i(max(min(last, c_i), c_{i−1})) − F_i(min(max(first, c_{i−1}), c_i)), which holds for symbols too. Two times
    of which the longer counts change places at a context s*, which may hold symbols; floor(s*) then ends a piece.
    Without `cuts` such a sum stays a `Sum`, which tells more of how it grows.

    Example:
        >>> summed_over_contexts(seq_len, rational(0), symbol("n"))
        n**2/2 + n/2
    """
    return total(_summed(term, seq_len, first, last, cuts) for term in Add.make_args(expr))


def free_symbols(expr: Expr) -> set[Symbol]:
    """The symbols of an expression, without the index of its sums; SymPy's own makes each sum anew to tell."""
    return set(expr.atoms(Symbol)) - {step}


def figure_at(expr: Expr, values: Mapping[Symbol, Fraction]) -> Figure:
    """`figure`, with sums over steps taken in closed form.

    Raises:
        Open: a symbol has no figure.
    """
    sums = {found: symbol(f"sum.{i}") for i, found in enumerate(expr.atoms(Sum))}
    if not sums:
        return figure(expr, values)
    taken = {stand_in: _sum_at(found, values) for found, stand_in in sums.items()}
    return figure(expr.xreplace(sums), {**values, **taken})


def _sum_at(found: Sum, values: Mapping[Symbol, Fraction]) -> Figure:
    ((index, first, last),) = found.limits
    # a power too long to be held is near enough with 60 digits
    powers = {p: figure(p, values) for p in found.function.atoms(Pow) if index not in p.free_symbols}
    near = {p: rational(comparable(v)) for p, v in powers.items() if not isinstance(v, Fraction)}
    start, end = rational(comparable(figure(first, values)) - 1), rational(comparable(figure(last, values)))
    parts: list[Figure] = []
    for term in Add.make_args(found.function.xreplace(near)):
        pieces = _exact_pieces(term, index, start, end, values)
        if pieces is None:
            return figure(found, values)
        parts += [figure(piece, values) for piece in pieces]
    exact = sum(map(comparable, parts), Fraction(0))
    return rounded(exact) if near else exact


def _summed(term: Expr, index: Symbol, first: Expr, last: Expr, cuts: bool) -> Expr:
    if not term.has(index):
        return term * (last - first)
    if last - first == 1:
        return put_in(term, {index: last})
    pieces: list[Expr] | None
    if term.free_symbols == {index}:
        pieces = _exact_pieces(term, index, first, last, {})
    elif cuts or not any(index in found.free_symbols for found in term.atoms(Max)):
        pieces = _open_pieces(term, index, first, last)
    else:
        pieces = None
    if pieces is None:
        return Sum(put_in(term, {index: first + step}), (step, 1, last - first))
    return total(pieces)


def _exact_pieces(
    term: Expr, index: Symbol, first: Expr, last: Expr, values: Mapping[Symbol, Fraction]
) -> list[Expr] | None:
    """Of a cost in which all but the index is a figure, `max` and `min` resolved at the exact contexts."""
    try:
        function = fold(term, index, values)
    except Unsolvable:
        return None
    found: list[Expr] = []
    for cell in function.cells:
        if not cell.function.is_polynomial or len(cell.function.polynomial) > _MOST_DEGREE:
            return None
        low, high = floor_of(cell.low), None if cell.high is None else floor_of(cell.high)
        if low != high:
            coefficients = {power: rational(c) for power, c in enumerate(cell.function.polynomial) if c}
            found.append(_between(coefficients, *_ends(low, high, first, last)))
    return found


def _open_pieces(term: Expr, index: Symbol, first: Expr, last: Expr) -> list[Expr] | None:
    """Of a cost that holds other symbols too."""
    found: list[Expr] = []
    for low, high, expr in _cells(term, index):
        ends = _ends(low, high, first, last)
        factor, longer = expr.as_independent(index, as_Add=False)
        if isinstance(longer, Max):
            piece = _of_the_longer(longer, index, *ends)
        else:
            coefficients = _coefficients(expr, index)
            factor, piece = 1, None if coefficients is None else _between(coefficients, *ends)
        if piece is None:
            return None
        found.append(factor * piece)
    return found


def _cells(term: Expr, index: Symbol) -> Iterator[Cell]:
    """A term between the figures at which its `min(seq_len, window)` changes."""
    windows = {least: set(least.args) - {index} for least in term.atoms(Min) if index in least.args}
    if not all(is_number(rest) for others in windows.values() for rest in others):
        yield 0, None, term
        return
    cuts = sorted({floor_of(Fraction(int(w.p), int(w.q))) for others in windows.values() for w in others} - {0})
    for low, high in zip([0, *cuts], [*cuts, None], strict=True):
        chosen = {
            least: index if high is not None and all(rest >= high for rest in others) else Min(*others)
            for least, others in windows.items()
        }
        yield low, high, put_in(term, chosen)


def _ends(low: int, high: int | None, first: Expr, last: Expr) -> tuple[Expr, Expr]:
    """What of `first` to `last` lies in a cell."""
    start, end = first, last
    if low:
        start, end = Max(start, rational(low)), Max(end, rational(low))
    if high is not None:
        start = Min(start, rational(high))
        end = Max(Min(last, rational(high)), rational(low)) if low else Min(last, rational(high))
    return start, end


def _of_the_longer(longer: Max, index: Symbol, start: Expr, end: Expr) -> Expr | None:
    """Σ max(a, b) where a − b is linear in the index, and it is known which of them grows faster."""
    if len(longer.args) != 2:
        return None
    a, b = (_coefficients(argument, index) for argument in longer.args)
    difference = _coefficients(longer.args[0] - longer.args[1], index)
    if a is None or b is None or difference is None or max(difference, default=0) > 1:
        return None
    slope, constant = difference.get(1, ZERO), difference.get(0, ZERO)
    if slope == 0:
        return _between(b, start, end) + (end - start) * Max(constant, ZERO)
    direction = sign(slope)
    if direction is None:
        return None
    below, above = (b, a) if direction > 0 else (a, b)
    cut = Max(Min(floor(cancel(-constant / slope)), end), start)
    return _between(below, start, cut) + _between(above, cut, end)


def _coefficients(expr: Expr, index: Symbol) -> dict[int, Expr] | None:
    try:
        polynomial = Poly(expr, index)
    except PolynomialError:
        return None
    if polynomial.degree() > _MOST_DEGREE or any(index in c.free_symbols for c in polynomial.coeffs()):
        return None
    return {power: c for (power,), c in polynomial.terms()}


def _between(coefficients: dict[int, Expr], start: Expr, end: Expr) -> Expr:
    """Σ over index = start + 1 … end of a polynomial in it."""
    return total(c * (_power_sum(power, end) - _power_sum(power, start)) for power, c in coefficients.items())


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
