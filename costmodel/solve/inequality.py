"""For which values of one unknown an inequality holds, all else being figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

from sympy import Add, Expr, Max, Min, Mul, Pow, Rational, Symbol, sqrt

from costmodel.solve.budget import Unsolvable, look_at_time
from costmodel.solve.exppoly import ExpPoly, Root
from costmodel.solve.piecewise import Piecewise, fold
from costmodel.solve.sets import Edge, Interval, Values
from costmodel.symbols import rational

_HOLDS = {"<=": (-1, 0), "<": (-1,), ">=": (0, 1), ">": (1,), "==": (0,)}


@dataclass(frozen=True)
class Ratio:
    """A quotient of two piecewise exponential polynomials; the denominator is positive, or has its own roots."""

    over: Piecewise
    under: Piecewise

    @property
    def whole(self) -> bool:
        """Whether there is nothing under the line."""
        return self.under == _ONE

    def sign(self, x: Fraction) -> int:
        return self.over.sign(x) * self.under.sign(x)

    def value(self, x: Fraction) -> Fraction:
        """The value at x, where the denominator is not zero."""
        return self.over.value(x) / self.under.value(x)

    @property
    def sign_at_infinity(self) -> int:
        return self.over.sign_at_infinity() * self.under.sign_at_infinity()


_ONE = Piecewise.of(ExpPoly.constant(1))
# beyond this the roots of what comes out are too many to be isolated one by one
_MOST_POWER = 12
# SymPy looks for the factors of what stands under a root
_MOST_BITS = 200


def _small(exponent: Expr) -> bool:
    return bool(exponent.is_Integer and abs(exponent) <= _MOST_POWER)


@lru_cache(maxsize=16)
def ratio(expr: Expr, unknown: Symbol) -> Ratio:
    """An expression in one unknown as a quotient; the last ones are kept, for what else is asked of them.

    Raises:
        Unsolvable: the unknown stands where a quotient of exponential polynomials has no place for it.
        Open: another symbol has no figure.
    """
    return _ratio(expr, unknown)


def _ratio(expr: Expr, unknown: Symbol) -> Ratio:
    if not expr.has(unknown):
        return Ratio(fold(expr, unknown, {}), _ONE)
    if isinstance(expr, Add):
        return _sum([_ratio(arg, unknown) for arg in expr.args])
    if isinstance(expr, Mul):
        return _folded([_ratio(arg, unknown) for arg in expr.args], _times)
    if isinstance(expr, Max | Min):
        least = isinstance(expr, Min)
        return _folded([_ratio(arg, unknown) for arg in expr.args], lambda a, b: _chosen(a, b, least))
    if isinstance(expr, Pow) and unknown in expr.base.free_symbols and not _small(expr.exp):
        raise Unsolvable(f"`{unknown}` stands in a power of more than {_MOST_POWER}")
    if isinstance(expr, Pow) and isinstance(expr.exp, Rational) and expr.exp < 0:
        inverse = _ratio(expr.base ** (-expr.exp), unknown)
        return Ratio(inverse.under, inverse.over)
    if isinstance(expr, Pow) and unknown in expr.base.free_symbols and expr.exp.is_Integer:
        return _folded([_ratio(expr.base, unknown)] * int(expr.exp), _times)
    return Ratio(fold(expr, unknown, {}), _ONE)


def _folded(parts: Sequence[Ratio], how) -> Ratio:  # type: ignore[no-untyped-def]
    result = parts[0]
    for part in parts[1:]:
        result = how(result, part)
    return result


def _sum(parts: Sequence[Ratio]) -> Ratio:
    """Those without a denominator, of which there may be hundreds, are added in one go."""
    plain = [part.over for part in parts if part.whole]
    fractions = [part for part in parts if not part.whole]
    return _folded([*([Ratio(Piecewise.sum(plain), _ONE)] if plain else []), *fractions], _plus)


def _plus(a: Ratio, b: Ratio) -> Ratio:
    if a.under == b.under:
        return Ratio(a.over + b.over, a.under)
    if a.whole:
        return Ratio(a.over * b.under + b.over, b.under)
    if b.whole:
        return Ratio(a.over + b.over * a.under, a.under)
    return Ratio(a.over * b.under + b.over * a.under, a.under * b.under)


def _times(a: Ratio, b: Ratio) -> Ratio:
    under = b.under if a.whole else a.under if b.whole else a.under * b.under
    return Ratio(a.over * b.over, under)


def _chosen(a: Ratio, b: Ratio, least: bool) -> Ratio:
    """The lesser or greater of two quotients, whose denominators must be positive for all x > 0."""
    if a.whole and b.whole:
        return Ratio(a.over.chosen(b.over, least), _ONE)
    for part in (a, b):
        if part.under.roots or part.under.sign_at_infinity() <= 0:
            raise Unsolvable("a `min` or `max` of quotients whose denominators change sign")
    over_a, over_b = a.over * b.under, b.over * a.under
    return Ratio(over_a.chosen(over_b, least), a.under * b.under)


def solution(expr: Expr, relation: str, unknown: Symbol) -> Values:
    """The x > 0 for which `expr relation 0` holds.

    The signs of numerator and denominator change only at their roots, which are found with proof, and at the cuts of
    their pieces; between two of these one sample decides.

    Raises:
        Unsolvable, Open: as `ratio`.

    Example:
        >>> from costmodel.symbols import symbol
        >>> x = symbol("x")
        >>> solution(x**2 - 9, "<", x).intervals[0].high.value
        Fraction(3, 1)
    """
    found = ratio(expr, unknown)
    wanted = _HOLDS[relation]
    zeros, poles = ({root.value: root for root in _told_from_whole(part)} for part in (found.over, found.under))
    cuts = {cell.high for part in (found.over, found.under) for cell in part.cells if cell.high is not None}
    points = sorted({*zeros, *poles, *cuts})
    intervals: list[Interval] = []
    low: Edge = Edge(Fraction(0), False)
    for i in range(len(points) + 1):
        look_at_time()
        high = points[i] if i < len(points) else None
        inside = found.sign_at_infinity if high is None else found.sign((low.value + high) / 2)
        if inside in wanted:
            end = None if high is None else Edge(high, False, _closed(zeros.get(high)))
            intervals.append(Interval(low, end))
        if high is None:
            break
        expr_here = _closed(zeros.get(high))
        at_point = 0 if high in zeros else found.sign(high)
        if high not in poles and at_point in wanted:
            intervals.append(Interval(Edge(high, True, expr_here), Edge(high, True, expr_here)))
        low = Edge(high, False, expr_here)
    return Values.of(intervals)


def _told_from_whole(function: Piecewise) -> Iterator[Root]:
    """The roots, each with its value on the side of a near whole number on which it lies, or on the number itself."""
    for root in function.roots:
        near = Fraction(round(root.value))
        if not root.low <= near <= root.high:
            yield root
            continue
        sign = function.sign(near)
        above = root.upward is None or sign == (-1 if root.upward else 1)
        low, high = (near, near) if sign == 0 else (near, root.high) if above else (root.low, near)
        yield replace(root, low=low, high=high)


def _closed(root: Root | None) -> Expr | None:
    return None if root is None else closed_root(root.function, root)


def closed_root(function: ExpPoly, root: Root) -> Expr | None:
    """A root in closed form: rational, or by the formula for a quadratic.

    None where there is none, or a longer one than can be read.
    """
    if root.low == root.high:
        return rational(root.low)
    if not function.is_polynomial or len(function.polynomial) != 3:
        return None
    coefficients = [function.coefficient(i) for i in range(3)]
    if any(max(abs(c.numerator), c.denominator).bit_length() > _MOST_BITS for c in coefficients):
        return None
    c, b, a = map(rational, coefficients)
    both = [(-b + s * sqrt(b * b - 4 * a * c)) / (2 * a) for s in (1, -1)]
    return min(both, key=lambda expr: abs(Fraction(str(expr.evalf(40))) - root.value))


def stationary(expr: Expr, unknown: Symbol) -> list[Fraction]:
    """The points at which a quotient n/d may be greatest or least inside its pieces: zeros of n'd − nd', and cuts.

    The logarithms in n' and d' are taken to 60 digits, so the points are near to what they stand for, not exact.
    """
    found = ratio(expr, unknown)
    cuts = sorted({cell.high for part in (found.over, found.under) for cell in part.cells if cell.high is not None})
    points = list(cuts)
    for low, high in zip([Fraction(0), *cuts], [*cuts, None], strict=True):
        inside = low + 1 if high is None else (low + high) / 2
        over, under = found.over.at(inside), found.under.at(inside)
        slope = over.derivative() * under - over * under.derivative()
        points += [r.value for r in slope.roots if low < r.value and (high is None or r.value < high)]
    return sorted(points)


def slope_at_infinity(expr: Expr, unknown: Symbol) -> int:
    """Whether a quotient rises (1), falls (−1) or stays (0) for all large x."""
    found = ratio(expr, unknown)
    over, under = found.over.cells[-1].function, found.under.cells[-1].function
    return (over.derivative() * under - over * under.derivative()).sign_at_infinity()


def limit_at_infinity(expr: Expr, unknown: Symbol) -> Fraction | None:
    """What a quotient tends to as x grows; None where it grows without end."""
    found = ratio(expr, unknown)
    over, under = found.over.cells[-1].function, found.under.cells[-1].function
    if over.is_zero:
        return Fraction(0)
    (of_over, a), (of_under, b) = over.leading, under.leading
    if of_over == of_under:
        return a / b
    return None if of_over > of_under else Fraction(0)
