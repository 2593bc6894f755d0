"""Which values an unknown may have at all: its range, and what must come out whole where it is put into the model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import gcd, lcm

from sympy import Expr, Poly, PolynomialError, Rational, Symbol, cancel, divisors

from costmodel import syntax
from costmodel.algebra import text
from costmodel.elaborate.dataflow import Dataflow
from costmodel.figures import Open, as_figure, figure
from costmodel.ops.attention import Attention
from costmodel.ops.route import Route
from costmodel.quantity_names import PER_STEP
from costmodel.question import Asked
from costmodel.solve.budget import OutOfTime, Unsolvable, look_at_time
from costmodel.solve.inequality import solution
from costmodel.solve.search import whole_numbers
from costmodel.solve.sets import Edge, Interval, Values
from costmodel.symbols import acceptance_rate, is_number, new_tokens, output_len, put_in, seq_len

_MOST_DIVIDED = 10**15
_MOST_RESIDUES = 100_000


@dataclass(frozen=True)
class Need:
    """An expression in the unknown that must come out at least so great, and whole where it says so."""

    expr: Expr
    least: int
    words: str
    whole: bool = True

    def met(self, unknown: Symbol, x: Fraction) -> bool:
        return figure(self.expr, {unknown: x}) >= self.least and (not self.whole or _is_whole(self.expr, unknown, x))


@dataclass(frozen=True)
class Domain:
    """The values that the unknown may have: those of `values`, of which whole ones are offset + step · j.

    `divisors` are the few that may divide what they must; None where nothing is divided. In words, `needs` must be
    whole, and `limits` end the range.
    """

    values: Values
    step: int = 1
    offset: int = 0
    divisors: tuple[Fraction, ...] | None = None
    needs: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()

    def allows(self, x: Fraction) -> bool:
        """Whether a whole number is one of those that there may be."""
        return self.values.holds(x) and (self.divisors is not None or (x - self.offset) % self.step == 0)


def domain_of(asked: Asked) -> Domain:
    """The values that the unknown may have.

    Raises:
        Unsolvable: they follow no rule that is known here, so each must be tried.
    """
    if asked.unknown.name in asked.compiled.program.dims:
        return _of_dim(asked)
    return Domain(_range(asked))


def _range(asked: Asked) -> Values:
    """The range by itself: above 0, or from 1 on; new tokens are part of the context."""
    unknown = asked.unknown
    if unknown.symbol == acceptance_rate:
        return Values((Interval(Edge(Fraction(0), False), Edge(Fraction(1), True)),))
    if not unknown.whole:
        return Values((Interval(Edge(Fraction(0), False), None),))
    low, high = Fraction(1), None
    if unknown.symbol == seq_len:
        new = put_in(asked.compiled.table(asked.setting.run).put_in(new_tokens), asked.setting.given)
        if is_number(new):
            low = as_figure(new)
    if unknown.symbol == output_len and asked.quantities.intersection(PER_STEP):
        low = Fraction(2)
    if unknown.symbol == new_tokens and seq_len in asked.question.point:
        high = Edge(asked.question.point[seq_len], True)
    return Values((Interval(Edge(low, True), high),))


def _of_dim(asked: Asked) -> Domain:
    x = asked.unknown.symbol
    flow = asked.compiled.table(asked.setting.run).dataflow
    needs: dict[Expr, Need] = {}
    for need in _needs(asked, flow):
        expr = cancel(need.expr) if need.expr.is_rational_function(x) else need.expr
        known = needs.get(expr)
        if known is None or known.least < need.least:
            words = need.words if known is None else known.words
            needs[expr] = Need(expr, need.least, words, need.whole)
    values, limits = _range(asked), list[str]()
    dividing: list[Need] = []
    rest: list[Need] = []
    for need in needs.values():
        look_at_time()
        within = values & _at_least(need, x, values)
        if _ends(within) != _ends(values):
            limits.append(need.words if not need.whole else f"{need.words} ≥ {need.least}")
        values = within
        if not need.whole:
            continue
        (dividing if x in need.expr.as_numer_denom()[1].free_symbols else rest).append(need)
    if dividing:
        wholes = [*dividing, *rest]
        allowed = [d for d in _divisors(dividing, x) if values.holds(d) and all(need.met(x, d) for need in wholes)]
        return Domain(values, divisors=tuple(allowed), needs=_limiting(wholes, x), limits=tuple(limits))
    step, offset = _grid([need.expr for need in rest], x)
    return Domain(values if step else Values(()), step or 1, offset, None, _limiting(rest, x), tuple(limits))


def _ends(values: Values) -> list[Fraction | None]:
    return [edge.value if edge is not None else None for i in values.intervals for edge in (i.low, i.high)]


def _at_least(need: Need, x: Symbol, within: Values) -> Values:
    """Where what is needed is not too small."""
    expr = need.expr - need.least
    try:
        return solution(expr, ">=", x)
    except OutOfTime:
        raise
    except Unsolvable:
        found = Values(())
        for interval in within.whole().intervals:
            found = found | whole_numbers([(expr, ">=")], x, interval).held
        return found


def _needs(asked: Asked, flow: Dataflow) -> Iterator[Need]:
    """Of derived dims, turns, axes, heads for each group, experts for each token, where the unknown is in them."""
    x = asked.unknown.symbol
    environment = flow.environment

    def need(expr: Expr, least: int, words: str = "", whole: bool = True) -> Iterator[Need]:
        found = put_in(environment.value(expr), asked.setting.given)
        if found.free_symbols == {x}:
            yield Need(found, least, words or text(expr), whole)

    for name, value in environment.figures().items():
        if name != x.name:
            said = environment.given.get(name)
            words = f"{name} = {' '.join(said.span.text.split())}" if isinstance(said, syntax.Expression) else name
            yield from need(value, 0, words)
    axes: set[Expr] = set()
    for storage in flow.storages:
        axes.update(storage.shape)
    for node in flow.nodes:
        axes.update(axis for tensor in node.results for axis in tensor.shape)
        for region in node.region.path:
            yield from need(region.count, 0)
        if isinstance(node.operation, Attention):
            yield from need(node.operation.q.shape[2] / node.operation.k.shape[2], 1)
        if isinstance(node.operation, Route):
            experts = node.operation.count()
            if experts is not None:
                top_k = node.operation.top_k
                yield from need(experts - top_k, 0, f"{text(experts)} ≥ {text(top_k)}", whole=False)
    for axis in sorted(axes, key=str):
        if environment.value(axis).is_rational_function(x):
            yield from need(axis, 1)


def _divisors(needs: list[Need], x: Symbol) -> list[Fraction]:
    """The numbers that divide what they must: where n(x)/(d·x^m) is whole, x divides n(0)."""
    divided = []
    for need in needs:
        over, under = need.expr.as_numer_denom()
        try:
            constant, powers = abs(Poly(over, x).eval(0)), Poly(under, x)
        except PolynomialError:
            raise Unsolvable(f"`{need.words}` must be whole, and is no quotient of polynomials") from None
        if constant == 0 or not constant.is_Integer or len(powers.terms()) > 1:
            raise Unsolvable(f"`{need.words}` must be whole, and {x} is more than a divisor in it")
        divided.append(int(constant))
    common = gcd(*divided)
    if common > _MOST_DIVIDED:
        raise Unsolvable(f"the divisors of {common} are too many")
    return [Fraction(int(d)) for d in divisors(common)]


def _grid(exprs: list[Expr], x: Symbol) -> tuple[int, int]:
    """Step and offset of the numbers at which all expressions are whole.

    Whether a polynomial with rational coefficients is whole, under `floor` too, depends on the remainder alone that x
    leaves by the product of the denominators. A step of 0: nowhere.
    """
    period = lcm(1, *(_period(expr) for expr in exprs))
    if period == 1:
        return 1, 0
    if period > _MOST_RESIDUES:
        raise Unsolvable(f"what follows from {x} must divide evenly by {period:,}")
    found = []
    for residue in range(period):
        look_at_time()
        if all(_is_whole(expr, x, Fraction(residue)) for expr in exprs):
            found.append(residue)
    if not found:
        return 0, 0
    steps = {b - a for a, b in pairwise([*found, found[0] + period])}
    if len(steps) > 1:
        raise Unsolvable(f"the values of {x} at which all divides evenly are unevenly spaced")
    return steps.pop(), found[0]


def _is_whole(expr: Expr, x: Symbol, value: Fraction) -> bool:
    try:
        found = figure(expr, {x: value})
    except (Open, ZeroDivisionError):
        return False
    return isinstance(found, Fraction) and found.denominator == 1


def _period(expr: Expr) -> int:
    found = 1
    for number in expr.atoms(Rational):
        found *= int(number.q)
    return found


def _limiting(needs: list[Need], x: Symbol) -> tuple[str, ...]:
    """Those that not every whole number meets, in words."""
    return tuple(
        need.words for need in needs if x in need.expr.as_numer_denom()[1].free_symbols or _grid([need.expr], x)[0] > 1
    )
