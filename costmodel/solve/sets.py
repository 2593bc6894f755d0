"""Sets of an unknown's values: unions of intervals whose ends are exact, or known to 1e-25 with their closed form."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

from sympy import Expr


@dataclass(frozen=True)
class Edge:
    """An end of an interval; `expr` is its closed form, where it has one."""

    value: Fraction
    closed: bool
    expr: Expr | None = None


@dataclass(frozen=True)
class Interval:
    """From `low` to `high`; without end where `high` is None."""

    low: Edge
    high: Edge | None

    def holds(self, x: Fraction) -> bool:
        above = x > self.low.value or (self.low.closed and x == self.low.value)
        below = self.high is None or x < self.high.value or (self.high.closed and x == self.high.value)
        return above and below

    @property
    def empty(self) -> bool:
        if self.high is None:
            return False
        if self.low.value == self.high.value:
            return not (self.low.closed and self.high.closed)
        return self.low.value > self.high.value


@dataclass(frozen=True)
class Values:
    """A union of intervals that do not meet, ascending."""

    intervals: tuple[Interval, ...]

    @classmethod
    def of(cls, intervals: Iterable[Interval]) -> Values:
        """The union of intervals given in ascending order, neighbours that meet joined."""
        joined: list[Interval] = []
        for interval in intervals:
            if interval.empty:
                continue
            last = joined[-1] if joined else None
            if last is not None and (last.high is None or _meet(last.high, interval.low)):
                joined[-1] = Interval(last.low, _upper(last.high, interval.high))
            else:
                joined.append(interval)
        return cls(tuple(joined))

    @classmethod
    def points(cls, values: Iterable[Fraction]) -> Values:
        """Single values."""
        return cls(tuple(Interval(Edge(v, True), Edge(v, True)) for v in sorted(set(values))))

    def __and__(self, other: Values) -> Values:
        """What lies in both."""
        found = []
        for a in self.intervals:
            for b in other.intervals:
                both = Interval(_inner(a.low, b.low, low=True), _lower(a.high, b.high))
                if not both.empty:
                    found.append(both)
        return Values(tuple(sorted(found, key=lambda interval: interval.low.value)))

    def __or__(self, other: Values) -> Values:
        """What lies in one of both."""
        return Values.of(sorted((*self.intervals, *other.intervals), key=lambda i: (i.low.value, not i.low.closed)))

    @property
    def empty(self) -> bool:
        return not self.intervals

    def holds(self, x: Fraction) -> bool:
        return any(interval.holds(x) for interval in self.intervals)

    def whole(self, step: int = 1, offset: int = 0) -> Values:
        """The whole numbers offset + step · j in it, each run of them an interval with its ends in it."""
        runs: list[Interval] = []
        for interval in self.intervals:
            low = offset + -((offset - interval.low.value) // step) * step
            if low == interval.low.value and not interval.low.closed:
                low += step
            start = Edge(Fraction(low), True, interval.low.expr)
            if interval.high is None:
                runs.append(Interval(start, None))
                continue
            high = offset + (interval.high.value - offset) // step * step
            if high == interval.high.value and not interval.high.closed:
                high -= step
            if high >= low:
                runs.append(Interval(start, Edge(Fraction(high), True, interval.high.expr)))
        return Values(tuple(_adjacent_joined(runs, step)))


def _adjacent_joined(runs: list[Interval], step: int) -> list[Interval]:
    found = runs[:1]
    for before, run in pairwise(runs):
        assert before.high is not None
        if run.low.value <= before.high.value + step:
            found[-1] = replace(found[-1], high=run.high)
        else:
            found.append(run)
    return found


def _meet(high: Edge, low: Edge) -> bool:
    return high.value > low.value or (high.value == low.value and (high.closed or low.closed))


def _inner(a: Edge, b: Edge, low: bool) -> Edge:
    """The end that leaves less: the greater of two lower ends, or the lesser of two upper ones."""
    if a.value == b.value:
        return a if not a.closed or (b.closed and b.expr is None) else b
    return a if (a.value > b.value) == low else b


def _upper(a: Edge | None, b: Edge | None) -> Edge | None:
    """The end that leaves more, of two upper ones."""
    if a is None or b is None:
        return None
    if a.value == b.value:
        return a if a.closed else b
    return a if a.value > b.value else b


def _lower(a: Edge | None, b: Edge | None) -> Edge | None:
    if a is None or b is None:
        return a or b
    return _inner(a, b, low=False)
