"""Which branch of a `max` or `min` holds at a point, so that what is left can be differentiated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor

from sympy import Add, Expr, Max, Min, Mod, Mul, Pow, Sum, Symbol, ceiling, log, prime
from sympy import floor as floor_of

from costmodel.figures import comparable, figure
from costmodel.solve.budget import Unsolvable
from costmodel.solve.piecewise import fold
from costmodel.symbols import ZERO, is_zero, product, put_in, rational, total

ROUNDED = (ceiling, floor_of, Mod)
# beside the digits of a figure that is not held exactly
_SMALL = Fraction(1, 10**40)


@dataclass(frozen=True)
class Branch:
    """An expression as it is next to a point, without `max` and `min`; `tied` where two branches meet there."""

    expr: Expr
    tied: bool = False


@dataclass(frozen=True)
class Point:
    """Figures, and where several branches are equal there the symbol along which one leaves it: 1 up, −1 down."""

    values: Mapping[Symbol, Fraction]
    along: Symbol | None = None
    side: int = 1


def branch(expr: Expr, point: Point) -> Branch:
    """The branch that holds at a point, or just beside it.

    Next to a point at which two branches of a `max` are equal, the one with the greater slope in that direction holds.
    What stands under `ceil` and `floor` stays there: they are constant next to all points but their steps.

    Raises:
        Open: a symbol that decides has no figure.
        Unsolvable: a sum over steps is left in it.

    Example:
        >>> from costmodel.symbols import symbol
        >>> x = symbol("x")
        >>> branch(Max(x, x**2), Point({x: Fraction(1)}, x, 1)).expr
        x**2
    """
    if not expr.has(Max, Min, Sum):
        return Branch(expr)
    if isinstance(expr, Max | Min):
        return _chosen(expr, point)
    if isinstance(expr, Sum):
        raise Unsolvable("a sum over steps changes its branch at a step that is not known")
    parts = [branch(arg, point) for arg in expr.args]
    return Branch(expr.func(*(part.expr for part in parts)), any(part.tied for part in parts))


def _chosen(expr: Expr, point: Point) -> Branch:
    sign = 1 if isinstance(expr, Max) else -1
    parts = [branch(arg, point) for arg in expr.args]
    ranks = [sign * comparable(figure(part.expr, point.values)) for part in parts]
    best = [part for part, rank in zip(parts, ranks, strict=True) if rank == max(ranks)]
    first = best[0]
    others = [part for part in best[1:] if not is_zero(part.expr - first.expr)]
    if not others:
        return first
    if point.along is None:
        return replace(first, tied=True)
    along, side = point.along, sign * point.side
    return replace(
        max([first, *others], key=lambda part: side * comparable(figure(slope(part.expr, along), point.values))),
        tied=True,
    )


def runs(
    expr: Expr, unknown: Symbol, first: int, last: int, values: Mapping[Symbol, Fraction]
) -> Iterator[tuple[int, int]]:
    """The whole numbers from `first` to `last`, cut where an expression changes its branch.

    A number at which two branches meet is a run of its own.

    Raises:
        Unsolvable, Open: as `fold`.
    """
    known = {s: rational(v) for s, v in values.items() if s != unknown}
    start = first
    for cell in fold(put_in(expr, known), unknown, {}).cells:
        if cell.high is None:
            break
        for end in (ceil(cell.high) - 1, floor(cell.high)):
            if start > last:
                return
            if start <= end:
                yield start, min(end, last)
                start = end + 1
    if start <= last:
        yield start, last


def slope(expr: Expr, x: Symbol) -> Expr:
    """x·Q'(x) of an expression without `max` and `min`; what is rounded is taken for constant.

    SymPy's own `diff` asks for signs, and looks for the roots of a polynomial to tell them.

    Example:
        >>> from costmodel.symbols import symbol
        >>> slope(3 * symbol("x") ** 2 + 5, symbol("x"))
        6*x**2
    """
    if x not in expr.free_symbols or isinstance(expr, ROUNDED):
        return ZERO
    if expr == x:
        return x
    if isinstance(expr, Add):
        return total(slope(term, x) for term in expr.args)
    if isinstance(expr, Mul):
        parts = ((i, slope(factor, x)) for i, factor in enumerate(expr.args))
        return total(product((*expr.args[:i], part, *expr.args[i + 1 :])) for i, part in parts if part != 0)
    if isinstance(expr, Pow):
        base, exponent = expr.args
        found = exponent * base ** (exponent - 1) * slope(base, x)
        return found + expr * log(base) * slope(exponent, x) if x in exponent.free_symbols else found
    if isinstance(expr, log):
        return slope(expr.args[0], x) / expr.args[0]
    raise Unsolvable(f"`{x}` stands under `{expr.func.__name__}`")


def independent(expr: Expr, x: Symbol) -> bool:
    """Whether an expression does not depend on a symbol at all, whatever branch holds.

    The symbol is in no branch, or cancels in each. False where that cannot be told.
    """
    if x not in expr.free_symbols:
        return True
    choices = [atom for atom in _outermost(expr) if x in atom.free_symbols]
    if not choices:
        return not rounded(expr, x) and _vanishes(slope(expr, x))
    if isinstance(expr, Mul) and all(independent(arg, x) for arg in expr.args):
        return True
    if expr.is_Add and all(independent(arg, x) for arg in expr.args):
        return True
    first = choices[0]
    return not isinstance(first, Sum) and all(independent(_with(expr, first, arg), x) for arg in first.args)


def _vanishes(expr: Expr) -> bool:
    """Whether an expression is zero everywhere: figures put in refute most, what they do not is expanded."""
    values = {s: Fraction(prime(i)) for i, s in enumerate(sorted(expr.free_symbols, key=str), 7)}
    try:
        value = figure(expr, values)
    except ZeroDivisionError:
        return is_zero(expr)
    return bool(abs(comparable(value)) < _SMALL) and is_zero(expr)


def _with(expr: Expr, old: Expr, new: Expr) -> Expr:
    """An expression with a part of it replaced, nothing else made anew."""
    if expr == old:
        return new
    if not expr.has(old):
        return expr
    arguments = [_with(arg, old, new) for arg in expr.args]
    return expr.func(*arguments, evaluate=False) if isinstance(expr, Max | Min) else expr.func(*arguments)


def _outermost(expr: Expr) -> Iterator[Expr]:
    """The `max`, `min` and sums that stand in no other."""
    if isinstance(expr, Max | Min | Sum):
        yield expr
    elif expr.has(Max, Min, Sum):
        for arg in expr.args:
            yield from _outermost(arg)


def rounded(expr: Expr, x: Symbol) -> bool:
    """Whether a symbol stands under `ceil`, `floor` or `mod`, where a slope says nothing."""
    return any(x in atom.free_symbols for atom in expr.atoms(*ROUNDED))
