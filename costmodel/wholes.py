"""Which whole values a dim may have: layers, heads, experts, and what divisibility leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from math import lcm

from sympy import Add, Expr, Poly, PolynomialError, S, Symbol

from costmodel.costs import CostTable
from costmodel.figures import Open, figure
from costmodel.ops.attention import Attention
from costmodel.ops.linear import Conv1d
from costmodel.ops.route import Route
from costmodel.solve.budget import look_at_time
from costmodel.symbols import expanded, is_number, put_in, rational

_MOST_TRIED = 20_000
_MOST_COMPILED = 8


def must_be_whole(table: CostTable) -> tuple[Expr, ...]:
    """What must come out whole, and not negative, in the dims that are free.

    Derived dims, turns of a `repeat`, query heads for each key head, experts beyond top_k, channels of a group.
    """
    flow = table.dataflow
    value = flow.environment.value
    found = [*flow.environment.figures().values()]
    found += [value(region.count) for node in flow.nodes for region in node.region.path]
    for node in flow.nodes:
        match node.operation:
            case Attention() as attention:
                found.append(value(attention.q.shape[2] / attention.k.shape[2]))
            case Route() as route:
                experts = route.count()
                more = S.Zero if experts is None else value(experts - route.top_k)
                found.append(more if more.is_polynomial() else S.Zero)
            case Conv1d() as conv:
                found += [value(conv.x.shape[2] / conv.groups), value(conv.out / conv.groups)]
            case _:
                pass
    return tuple(dict.fromkeys(e for e in found if e.free_symbols))


def structural(table: CostTable) -> frozenset[Symbol]:
    """The dims that count things, or that others divide: layers, heads, experts, and what must divide evenly."""
    flow = table.dataflow
    value = flow.environment.value
    counted = [value(region.count) for node in flow.nodes for region in node.region.path]
    for node in flow.nodes:
        match node.operation:
            case Attention() as attention:
                counted += [value(attention.q.shape[2]), value(attention.k.shape[2])]
            case Route() as route:
                experts = route.count()
                counted += [value(route.top_k), *([] if experts is None else [value(experts)])]
            case _:
                pass
    counted += [expr for expr in must_be_whole(table) if not _stays_whole(expr)]
    return frozenset().union(*(expr.free_symbols for expr in counted))


def _stays_whole(expr: Expr) -> bool:
    """Whether whole figures always give a whole one: a polynomial with whole coefficients."""
    return expr.is_polynomial() and all(term.as_coeff_Mul()[0].is_Integer for term in Add.make_args(expanded(expr)))


def next_value(
    parts: Sequence[Expr], x: Symbol, values: Mapping[Symbol, Fraction], direction: int, works: Callable[[int], bool]
) -> int | None:
    """The next whole value of a dim, up (1) or down (−1), with which all parts come out whole, if there is one.

    `works` says whether the spec compiles with a value.
    """
    known = {s: rational(v) for s, v in values.items() if s != x}
    tests = [_test(put_in(expr, known), x) for expr in parts if x in expr.free_symbols]
    value, compiled = int(values[x]), 0
    for step in range(1, _MOST_TRIED):
        candidate = value + direction * step
        if candidate < 0 or compiled == _MOST_COMPILED:
            return None
        if all(test(candidate) for test in tests):
            look_at_time()
            if works(candidate):
                return candidate
            compiled += 1
    return None


def _test(expr: Expr, x: Symbol) -> Callable[[int], bool]:
    """Whether an expression in one symbol is whole and not negative, in whole numbers where it is rational."""
    try:
        over, under = (Poly(part, x).all_coeffs() for part in expr.as_numer_denom())
    except PolynomialError:
        return lambda value: _is_whole(expr, {x: Fraction(value)})
    if not all(map(is_number, [*over, *under])):
        return lambda _: True
    scale = lcm(*(int(c.q) for c in [*over, *under]))
    top, bottom = ([int(c * scale) for c in part] for part in (over, under))

    def test(value: int) -> bool:
        a, b = _horner(top, value), _horner(bottom, value)
        return b != 0 and a % b == 0 and a // b >= 0

    return test


def _horner(coefficients: Sequence[int], value: int) -> int:
    result = 0
    for coefficient in coefficients:
        result = result * value + coefficient
    return result


def _is_whole(expr: Expr, values: Mapping[Symbol, Fraction]) -> bool:
    try:
        found = figure(expr, values)
    except Open:
        return True
    except ZeroDivisionError:
        return False
    return isinstance(found, Fraction) and found.denominator == 1 and found >= 0
