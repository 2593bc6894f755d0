"""Columns side by side, a spec on a device each: values, ratios in closed form, and which is better where.

Along one dim of the workload every pair of columns is compared with proof: the differences' roots cut the dim's values
into stretches, in each of which the same columns are best.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from itertools import combinations, pairwise
from math import ceil, floor

from sympy import Expr, Max, Min, Poly, PolynomialError, Sum, Symbol, cancel, sqrt

from costmodel.compile import Compiled, Run
from costmodel.crossover import Closed, crossover
from costmodel.figures import Open, as_figure, comparable, figure, quotient
from costmodel.names import listed
from costmodel.points import value_at
from costmodel.quantities import Quantities
from costmodel.quantity_names import QUANTITIES
from costmodel.solve.branches import Point, branch
from costmodel.solve.budget import Unsolvable
from costmodel.solve.inequality import solution
from costmodel.solve.sets import Edge, Interval, Values
from costmodel.source import SpecError
from costmodel.symbols import (
    batch_size,
    in_lowest_terms,
    is_number,
    new_tokens,
    put_in,
    rational,
    seq_len,
    sign,
    symbol,
)

UNKNOWNS = ("seq_len", "batch_size", "new_tokens")
MORE_IS_BETTER = frozenset({"throughput", "max_batch_size", "intensity", "expected_tokens"})
"""Quantities of which more is better; of all others less."""
_NOT_COMPARED = frozenset({"crossover", "max_batch_size", "expected_tokens"})
_CLOSE = Fraction(1, 10**20)


@dataclass(frozen=True, eq=False)
class Column:
    """A spec on a device, asked at a point."""

    compiled: Compiled
    run: Run
    quantities: Quantities
    point: Mapping[Symbol, Fraction]

    @property
    def settings(self) -> tuple[str, ...]:
        """What was set of the spec's dims and dtypes."""
        choice = self.compiled.choice
        dims = [f"{name}={' '.join(node.span.text.split())}" for name, node in choice.sets]
        return (*dims, *(f"dtype.{role}={node.name}" for role, node in choice.dtypes))

    @cached_property
    def cells(self) -> dict[str, Cell]:
        """Every quantity that can be asked here, with its value, or with the reason why it has none."""
        asked = {s.name for s in self.point}
        return {
            name: self._cell(name) for name, q in QUANTITIES.items() if not q.request or asked.intersection(q.request)
        }

    def _cell(self, name: str) -> Cell:
        if QUANTITIES[name].device and self.quantities.device is None:
            return Cell(Closed(None, None), "no device is given")
        try:
            if name == "crossover":
                found = crossover(self.quantities, {s: v for s, v in self.point.items() if s != batch_size})
                why = "never compute-bound" if found.status == "never" else ""
                return Cell(found.batch_size, why or ("" if found.batch_size.value is not None else "there is none"))
            value, expr = value_at(self.quantities, name, self.point), self.quantities.expr(name)
        except SpecError as error:
            return Cell(Closed(None, None), error.diagnostics[0].message)
        return Cell(Closed(value, expr), "" if value is not None else self._missing(expr))

    @cached_property
    def missing_memory(self) -> Fraction | None:
        """The bytes that are missing for the point to fit in the device's memory; None where it fits, or is open."""
        if self.quantities.device is None or batch_size not in self.point:
            return None
        try:
            margin = self.quantities.fit.margin_at(self.point[batch_size], self.point)
        except Open:
            return None
        return -margin if margin < 0 else None

    def _missing(self, expr: Expr | None) -> str:
        free = sorted(s.name for s in (expr.free_symbols if expr is not None else ()) if s not in self.point)
        return f"depends on {listed(free)}" if free else "there is none"

    def along(self, name: str, unknown: Symbol) -> Expr | None:
        """A quantity in one dim of the workload and what else is free, the point's figures put in.

        Raises:
            SpecError: the device lacks a figure that it needs.
        """
        if QUANTITIES[name].device and self.quantities.device is None:
            return None
        given = {s: rational(v) for s, v in self.point.items() if s != unknown}
        if QUANTITIES[name].request:
            return self.quantities.expr(name, given)
        expr = self._open_tokens.expr(name) if unknown == new_tokens else self.quantities.expr(name)
        return None if expr is None else put_in(expr, given)

    @cached_property
    def _open_tokens(self) -> Quantities:
        of = self.quantities
        table = self.compiled.table(replace(self.run, new_tokens=new_tokens))
        return Quantities(table, of.device, of.timing, of.memory_fraction, of.in_phase)

    @property
    def tokens(self) -> Fraction:
        """New tokens of a pass, where they are a figure; else 1."""
        tokens = self.quantities.table.put_in(new_tokens)
        return as_figure(tokens) if is_number(tokens) else Fraction(1)


@dataclass(frozen=True)
class Cell:
    """A quantity of a column: its value and closed form; without a value the reason."""

    found: Closed
    why: str = ""


@dataclass(frozen=True)
class Ratio:
    """A quantity of a column over that of the first, in closed form on the branches that hold at the point."""

    name: str
    column: int
    found: Closed


@dataclass(frozen=True)
class Stretch:
    """Whole values from `low` to `high`, or without end, in which these columns are best."""

    low: int
    high: int | None
    best: tuple[int, ...]


@dataclass(frozen=True)
class Crossing:
    """Where one column becomes better than another: its value, and its closed form in the workload's symbols."""

    found: Closed
    before: tuple[int, ...]
    after: tuple[int, ...]


@dataclass(frozen=True)
class BreakEven:
    """Which columns are best along a dim; `why` says why that is not known.

    Where figures are missing there is a closed form alone: `crossings` has it, and `condition` what it takes.
    """

    name: str
    unknown: str
    stretches: tuple[Stretch, ...] = ()
    crossings: tuple[Crossing, ...] = ()
    why: str = ""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Columns, of which the first is the base, and what was asked of them."""

    columns: tuple[Column, ...]
    of: tuple[str, ...] = ()
    along: tuple[str, ...] = ()

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """What tells the columns apart: spec, settings, device, each only where it differs."""
        specs = [column.compiled.name for column in self.columns]
        devices = [column.quantities.device for column in self.columns]
        common = set.intersection(*(set(column.settings) for column in self.columns))
        own = [", ".join(s for s in column.settings if s not in common) for column in self.columns]
        names = ["" if device is None else device.name for device in devices]
        found: list[str] = []
        for spec, settings, device in zip(specs, own, names, strict=True):
            parts = [settings, device if len(set(names)) > 1 else ""]
            if len(set(specs)) > 1 or not any(parts):
                parts.insert(0, spec)
            label = " ".join(filter(None, parts))
            found.append(label if label not in found else f"{label} ({found.count(label) + 1})")
        return tuple(found)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The quantities that one column at least can be asked for, in their order."""
        return tuple(name for name in QUANTITIES if any(name in column.cells for column in self.columns))

    @cached_property
    def ratios(self) -> tuple[Ratio, ...]:
        found = []
        for name in self.names:
            for i in range(1, len(self.columns)):
                ratio = self._ratio(name, i)
                if ratio is not None:
                    found.append(Ratio(name, i, ratio))
        return tuple(found)

    def _ratio(self, name: str, i: int) -> Closed | None:
        base, other = self.columns[0].cells[name].found, self.columns[i].cells[name].found
        value = None
        if base.value is not None and other.value is not None and base.value > 0 and other.value >= 0:
            value = quotient(other.value, base.value)
        expr = None
        if base.expr is not None and other.expr is not None and base.expr != 0:
            expr = self._cancelled(name, other.expr, base.expr, i)
        return None if value is None and expr is None else Closed(value, expr)

    def _cancelled(self, name: str, over: Expr, under: Expr, i: int) -> Expr | None:
        """A quotient in lowest terms, on the branches that hold at the point; left as it is where they are open."""
        if name in _NOT_COMPARED or QUANTITIES[name].request:
            return None
        try:
            parts = [branch(expr, Point(self.columns[k].point)).expr for expr, k in ((over, i), (under, 0))]
        except (Open, Unsolvable):
            return over / under
        return in_lowest_terms(parts[0] / parts[1])

    @cached_property
    def break_evens(self) -> tuple[BreakEven, ...]:
        found = [self._break_even(name, unknown) for name in self._asked for unknown in self._unknowns]
        return tuple(b for b in found if b is not None)

    @property
    def _asked(self) -> tuple[str, ...]:
        if self.of:
            return self.of
        devices = {c.quantities.device.name for c in self.columns if c.quantities.device is not None}
        names = ["latency", "bytes", "memory", *(["cost_per_million_tokens"] if len(devices) > 1 else [])]
        return tuple(n for n in names if all(self._has(column, n) for column in self.columns))

    def _has(self, column: Column, name: str) -> bool:
        return column.cells[name].found.expr is not None

    @property
    def _unknowns(self) -> tuple[str, ...]:
        return self.along or ("seq_len", "batch_size")

    def _break_even(self, name: str, unknown: str) -> BreakEven | None:
        """None where nothing was asked for and the columns do not differ, or do not depend on the dim."""
        x = symbol(unknown)
        if name in _NOT_COMPARED:
            return BreakEven(name, unknown, why="compared at the point only, in the table above")
        try:
            exprs = [column.along(name, x) for column in self.columns]
        except SpecError as error:
            return BreakEven(name, unknown, why=error.diagnostics[0].message)
        known = [expr for expr in exprs if expr is not None]
        if len(known) < len(exprs):
            return BreakEven(name, unknown, why="not every column has a closed form of it")
        if not any(x in expr.free_symbols for expr in known):
            return BreakEven(name, unknown, why=f"it does not depend on {unknown}") if self.along else None
        if not self.of and all(expr == known[0] for expr in known):
            return None
        if any(expr.has(Sum) for expr in known):
            return BreakEven(name, unknown, why=f"a request's time has a closed form at one {unknown} only")
        others = set().union(*(expr.free_symbols for expr in known)) - {x}
        try:
            if others:
                return self._symbolic(name, x, known, others)
            return self._figures(name, x, known)
        except Unsolvable as reason:
            return BreakEven(name, unknown, why=str(reason).replace("`ceiling`", "`ceil`"))

    # --- with all else a figure

    def _figures(self, name: str, x: Symbol, exprs: Sequence[Expr]) -> BreakEven:
        domain = self._domain(x)
        best = [domain] * len(exprs)
        less, more = ("<=", ">=") if name not in MORE_IS_BETTER else (">=", "<=")
        for i, j in combinations(range(len(exprs)), 2):
            difference = exprs[i] - exprs[j]
            if difference == 0:
                continue
            best[i] = (
                best[i] & solution(difference, less, x)
                if x in difference.free_symbols
                else _all_or_none(best[i], difference, less)
            )
            best[j] = (
                best[j] & solution(difference, more, x)
                if x in difference.free_symbols
                else _all_or_none(best[j], difference, more)
            )
        cuts = _cuts(best, domain)
        spans = _spans(best, domain, cuts)
        return BreakEven(
            name,
            x.name,
            tuple(_wholes(best, domain, cuts)),
            tuple(self._crossing(name, x, a, b, cut) for (a, b, cut) in spans),
        )

    def _domain(self, x: Symbol) -> Values:
        """The values that a dim may have: contexts hold the new tokens."""
        low, high = Fraction(1), None
        if x == seq_len:
            low = max(column.tokens for column in self.columns)
        if x == new_tokens and seq_len in self.columns[0].point:
            high = Edge(self.columns[0].point[seq_len], True)
        return Values((Interval(Edge(low, True), high),))

    def _crossing(self, name: str, x: Symbol, before: tuple[int, ...], after: tuple[int, ...], cut: Edge) -> Crossing:
        """A cut with its closed form: in the workload's symbols where one is to be had, else as a number."""
        i = next((k for k in before if k not in after), before[0])
        j = next((k for k in after if k not in before), after[0])
        try:
            closed = self._closed(name, x, i, j, cut.value)
        except (Open, Unsolvable, SpecError, PolynomialError, ZeroDivisionError):
            closed = None
        return Crossing(Closed(cut.value, cut.expr if closed is None else closed), before, after)

    def _closed(self, name: str, x: Symbol, i: int, j: int, value: Fraction) -> Expr | None:
        """The root of the difference on the branches that hold at the cut, where it is of degree 2 at most."""
        if QUANTITIES[name].request or x == new_tokens:
            return None
        parts = []
        for k in (i, j):
            column = self.columns[k]
            expr = column.quantities.expr(name)
            assert expr is not None
            parts.append(branch(expr, Point({**column.point, x: value})).expr)
        point = {s: v for s, v in self.columns[i].point.items() if s != x}
        roots = _roots(parts[0] - parts[1], x) or []
        near = [root for root in roots if abs(comparable(figure(root, point)) - value) <= _CLOSE * value]
        return near[0] if near else None

    # --- with symbols left

    def _symbolic(self, name: str, x: Symbol, exprs: Sequence[Expr], others: set[Symbol]) -> BreakEven:
        """The base against one other, where their difference is linear in the dim and its signs are known."""
        missing = f"needs a figure for {listed(sorted(s.name for s in others))}"
        if any(expr.has(Max, Min) for expr in exprs) or len(exprs) != 2:
            return BreakEven(name, x.name, why=missing)
        over, under = (exprs[0] - exprs[1]).together().as_numer_denom()
        if sign(under) != 1:
            return BreakEven(name, x.name, why=missing)
        try:
            coefficients = Poly(over, x).all_coeffs()
        except PolynomialError:
            return BreakEven(name, x.name, why=missing)
        signs = [sign(c) for c in coefficients if c != 0]
        better = 1 if name in MORE_IS_BETTER else -1
        if len(set(signs)) == 1 and signs[0] is not None:
            winner = 0 if signs[0] == better else 1
            return BreakEven(name, x.name, (Stretch(int(self._domain(x).intervals[0].low.value), None, (winner,)),))
        roots = _roots(over, x)
        if len(coefficients) != 2 or None in signs or not roots:
            return BreakEven(name, x.name, why=missing)
        first = 1 if signs[0] == better else 0
        return BreakEven(name, x.name, crossings=(Crossing(Closed(None, roots[0]), (first,), (1 - first,)),))


def _all_or_none(values: Values, difference: Expr, relation: str) -> Values:
    """The values where a difference that does not depend on them is as wanted."""
    value = figure(difference, {})
    holds = value <= 0 if relation == "<=" else value >= 0
    return values if holds else Values(())


def _roots(expr: Expr, x: Symbol) -> list[Expr] | None:
    """The roots of a polynomial of degree 1 or 2 in closed form."""
    over = expr.together().as_numer_denom()[0]
    match Poly(over, x).all_coeffs():
        case [a, b]:
            return [cancel(-b / a)]
        case [a, b, c]:
            return [(-b + s * sqrt(b**2 - 4 * a * c)) / (2 * a) for s in (1, -1)]
    return None


def _cuts(best: Sequence[Values], domain: Values) -> list[Edge]:
    """Where one of the sets begins or ends, within the domain."""
    low, high = domain.intervals[0].low.value, domain.intervals[0].high
    edges: dict[Fraction, Edge] = {}
    for values in best:
        for interval in values.intervals:
            for edge in (interval.low, interval.high):
                if edge is not None and edge.value > low and (high is None or edge.value < high.value):
                    edges.setdefault(edge.value, edge)
    return [edges[value] for value in sorted(edges)]


def _best_at(best: Sequence[Values], x: Fraction) -> tuple[int, ...]:
    return tuple(i for i, values in enumerate(best) if values.holds(x))


def _spans(
    best: Sequence[Values], domain: Values, cuts: Sequence[Edge]
) -> Iterable[tuple[tuple[int, ...], tuple[int, ...], Edge]]:
    """Each cut at which the best columns change, with those before and after it."""
    low, high = domain.intervals[0].low.value, domain.intervals[0].high
    ends = [low, *(cut.value for cut in cuts), high.value if high is not None else None]
    inside = [a + 1 if b is None else (a + b) / 2 for a, b in pairwise(ends) if a is not None]
    winners = [_best_at(best, x) for x in inside]
    for before, after, cut in zip(winners, winners[1:], cuts, strict=False):
        if before != after:
            yield before, after, cut


def _wholes(best: Sequence[Values], domain: Values, cuts: Sequence[Edge]) -> Iterable[Stretch]:
    """The runs of whole numbers in which the same columns are best."""
    first = ceil(domain.intervals[0].low.value)
    high = domain.intervals[0].high
    last = None if high is None else floor(high.value)
    runs: list[Stretch] = []
    starts = sorted({first, *(n for cut in cuts for n in (ceil(cut.value), floor(cut.value) + 1) if n > first)})
    for start, after in zip(starts, [*starts[1:], None], strict=True):
        end = after - 1 if after is not None else last
        winners = _best_at(best, Fraction(start))
        if runs and runs[-1].best == winners:
            runs[-1] = Stretch(runs[-1].low, end, winners)
        else:
            runs.append(Stretch(start, end, winners))
    return runs
