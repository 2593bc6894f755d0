"""The best point of a discrete grid, proved: by trends of the closed forms where known, else by looking at all.

A trend that is proved makes it needless to look along an axis: the best is at one end, or at the last figure that meets
the conditions, found by bisection. What is left is enumerated; figures too near for floats are compared exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from math import prod

import numpy as np

from costmodel.figures import Figure, comparable
from costmodel.names import prose
from costmodel.source import Diagnostic, SpecError
from costmodel.sweep.compute import kept_rows
from costmodel.sweep.kernel import Unsupported, Values, evaluate
from costmodel.sweep.plan import Case, Plan
from costmodel.sweep.trend import FALLS, FLAT, RISES, trend
from costmodel.symbols import compared

MOST_POINTS = 10**9
_NEAR = 1e-11
_MOST_BISECTED = 200_000
_MOST_COMPARED = 10_000


@dataclass(frozen=True)
class Way:
    """How an axis was gone along: `end`, `bisection` or `every`; how many figures it has; the trend that was proved."""

    axis: str
    how: str
    figures: int
    trend: int | None


@dataclass(frozen=True)
class Found:
    """The best point of a case: labels and axes by column, and the objective there, exactly."""

    point: dict[str, str | Fraction]
    value: Figure


@dataclass(frozen=True)
class Searched:
    """What a search has found: the best point of every case that has one, best first; `looked_at` were computed."""

    found: tuple[Found, ...]
    ways: tuple[tuple[Way, ...], ...]
    points: int
    looked_at: int
    objective: str
    greatest: bool


def search(plan: Plan, greatest: bool) -> Searched:
    """The best point for the first quantity of a plan, under its conditions.

    Axes rise. Of figures that are as good the least are given.

    Raises:
        SpecError: so many points would have to be looked at, one by one, that it would take hours.
    """
    found: list[Found] = []
    ways, looked_at = [], 0
    for case in plan.cases:
        each = _Case(plan, case, greatest)
        best = each.best()
        looked_at += each.looked_at
        ways.append(tuple(each.ways))
        if best is not None:
            index, value = best
            labels = dict(zip((c.name for c in plan.labels), case.labels, strict=True))
            axes = {a.name: Fraction(a.figures[i]) for a, i in zip(plan.axes, index, strict=True)}
            point = {name: label if isinstance(label, str) else Fraction(label) for name, label in labels.items()}
            found.append(Found({**point, **axes}, value))
    # sorting keeps the order of equal ones
    found.sort(key=lambda each: (-1 if greatest else 1) * comparable(each.value))
    distinct = tuple(dict.fromkeys(ways))
    return Searched(tuple(found), distinct, plan.points, looked_at, plan.quantities[0].name, greatest)


class _Case:
    def __init__(self, plan: Plan, case: Case, greatest: bool) -> None:
        self.plan, self.case, self.program = plan, case, case.program
        self.objective = self.program.outputs[0]
        # from here on less is better
        self.sense = -1 if greatest else 1
        self.looked_at = 0
        self.ways = [self._way(i) for i in range(len(plan.axes))]
        self._one_bisection()

    def _sides(self) -> Iterator[tuple[str, int, int]]:
        first = len(self.plan.quantities)
        for k, relation in enumerate(self.case.relations):
            left, right = self.program.outputs[first + 2 * k : first + 2 * k + 2]
            yield relation, left, right

    # --- which way

    def _way(self, axis: int) -> Way:
        name, size = self.plan.axes[axis].name, len(self.plan.axes[axis])
        rises = trend(self.program, self.objective, axis)
        if size == 1 or self.case.wholes or rises is None:
            return Way(name, "every", size, rises)
        towards = -rises * self.sense if rises != FLAT else FALLS
        margins = [self._margin(side, axis) for side in self._sides()]
        if None in margins:
            return Way(name, "every", size, rises)
        against = [m for m in margins if m not in (FLAT, towards)]
        if not against:
            return Way(name, "end", size, rises)
        return Way(name, "bisection", size, rises)

    def _margin(self, side: tuple[str, int, int], axis: int) -> int | None:
        """The way along an axis in which a condition comes to hold; FLAT where it does not depend on the axis."""
        relation, left, right = side
        a, b = trend(self.program, left, axis), trend(self.program, right, axis)
        if a == FLAT and b == FLAT:
            return FLAT
        if relation not in ("<=", "<", ">=", ">") or a is None or b is None:
            return None
        if {a, b} == {RISES} or {a, b} == {FALLS}:
            return None
        # the trend of left − right
        difference = a if a != FLAT else -b
        return -difference if relation in ("<=", "<") else difference

    def _one_bisection(self) -> None:
        """Of the axes along which one could bisect, the longest; the others are enumerated."""
        usable = [i for i, way in enumerate(self.ways) if way.how == "bisection"]
        longest = max(usable, key=lambda i: self.ways[i].figures, default=None)
        for i in usable:
            if i != longest:
                self.ways[i] = replace(self.ways[i], how="every")

    # --- along it

    def best(self) -> tuple[tuple[int, ...], Figure] | None:
        """The place of the best point, and the objective there."""
        bisected = next((i for i, way in enumerate(self.ways) if way.how == "bisection"), None)
        ends = [i for i, way in enumerate(self.ways) if way.how == "end"]
        rest = [i for i, way in enumerate(self.ways) if way.how == "every"]
        count = prod(len(self.plan.axes[i]) for i in rest)
        if bisected is None:
            found = self._enumerated(ends)
        elif count > _MOST_BISECTED:
            self.ways[bisected] = replace(self.ways[bisected], how="every")
            found = self._enumerated(ends)
        else:
            found = self._bisected(bisected, ends, rest)
        return None if found is None else self._first_of_equals(found)

    def _end(self, axis: int) -> int:
        """The best end: where the objective is flat the one at which the conditions hold most."""
        rises, last = self.ways[axis].trend, len(self.plan.axes[axis]) - 1
        if rises == FLAT:
            return 0
        assert rises is not None
        return last if rises * self.sense == FALLS else 0

    def _bisected(self, axis: int, ends: Sequence[int], rest: Sequence[int]) -> tuple[tuple[int, ...], Figure] | None:
        best: tuple[tuple[int, ...], Figure] | None = None
        size = len(self.plan.axes[axis])
        at_end = self._end(axis)
        for inner in product(*(range(len(self.plan.axes[i])) for i in rest)):
            index = [0] * len(self.plan.axes)
            for i in ends:
                index[i] = self._end(i)
            for i, value in zip(rest, inner, strict=True):
                index[i] = value
            place = self._last_within(index, axis, size, at_end)
            if place is None:
                continue
            index[axis] = place
            reached = self._value(index)
            if best is None or self._less(reached, best[1]):
                best = tuple(index), reached
        return best

    def _last_within(self, index: list[int], axis: int, size: int, best_end: int) -> int | None:
        """The place nearest to the better end at which all conditions hold: each holds on one side of a place."""
        low, high = 0, size - 1
        for side in self._sides():
            way = self._margin(side, axis)
            if way == FLAT:
                if not self._holds(side, index, axis, 0):
                    return None
            elif way == RISES:
                low = self._bisect(low, high, lambda i, s=side: self._holds(s, index, axis, i))
            else:
                high = (
                    size
                    - 1
                    - self._bisect(
                        size - 1 - high, size - 1 - low, lambda i, s=side: self._holds(s, index, axis, size - 1 - i)
                    )
                )
            if low > high:
                return None
        return low if best_end == 0 else high

    @staticmethod
    def _bisect(low: int, high: int, holds: object) -> int:
        """The first place from which a condition holds, one behind the last where it never does."""
        assert callable(holds)
        fails, found = low - 1, high + 1
        while found - fails > 1:
            middle = (fails + found) // 2
            fails, found = (fails, middle) if holds(middle) else (middle, found)
        return found

    def _first_of_equals(self, found: tuple[tuple[int, ...], Figure]) -> tuple[tuple[int, ...], Figure]:
        """The least figures that are as good, axis by axis of those that were not enumerated."""
        index, value = list(found[0]), found[1]
        for axis in range(len(index)):
            if self.ways[axis].how == "every" or index[axis] == 0:
                continue

            def as_good(place: int, axis: int = axis) -> bool:
                other = [*index[:axis], place, *index[axis + 1 :]]
                return comparable(self._value(other)) == comparable(value) and self._meets(other)

            index[axis] = self._bisect(0, index[axis], as_good)
        return tuple(index), value

    # --- at points

    def _point(self, index: Sequence[int]) -> list[Fraction]:
        return [Fraction(axis.figures[i]) for axis, i in zip(self.plan.axes, index, strict=True)]

    def _value(self, index: Sequence[int]) -> Figure:
        self.looked_at += 1
        try:
            return self.program.exact(self.objective, self._point(index))
        except Unsupported:
            # solved beforehand, to the nearest float
            values = self.plan.values([range(i, i + 1) for i in index])
            return Fraction(float(evaluate(self.program, values, starts=index)[0][0]))

    def _less(self, a: Figure, b: Figure) -> bool:
        return bool(self.sense * comparable(a) < self.sense * comparable(b))

    def _holds(self, side: tuple[str, int, int], index: list[int], axis: int, place: int) -> bool:
        relation, left, right = side
        point = self._point([*index[:axis], place, *index[axis + 1 :]])
        self.looked_at += 1
        difference = comparable(self.program.exact(left, point)) - comparable(self.program.exact(right, point))
        return compared(relation, (difference > 0) - (difference < 0))

    def _meets(self, index: list[int]) -> bool:
        return all(self._holds(side, index, 0, index[0]) for side in self._sides())

    # --- all of them

    def _enumerated(self, ends: Sequence[int]) -> tuple[tuple[int, ...], Figure] | None:
        """All points but along axes whose better end is known, in floats; those that are near the best, exactly."""
        stretches = [
            range(self._end(i), self._end(i) + 1) if i in ends else range(len(axis))
            for i, axis in enumerate(self.plan.axes)
        ]
        if prod(map(len, stretches)) > MOST_POINTS:
            every = prose([way.axis for way in self.ways if way.how == "every"])
            message = f"{prod(map(len, stretches)):,} points would have to be looked at: no trend is known of {every}"
            raise SpecError(Diagnostic("limit", message, facts=(f"at most {MOST_POINTS:,} are possible",)))
        near: list[tuple[float, tuple[int, ...]]] = []
        for block in self._blocks(stretches):
            near = self._nearest(near, block)
        best: tuple[tuple[int, ...], Figure] | None = None
        for _, index in sorted(near, key=lambda pair: pair[1]):
            value = self._value(index)
            if best is None or self._less(value, best[1]):
                best = index, value
        return best

    def _blocks(self, stretches: Sequence[range]) -> Iterator[list[range]]:
        """The same as blocks of at most a chunk."""
        if prod(map(len, stretches)) <= self.plan.chunk:
            yield list(stretches)
            return
        cut = max(range(len(stretches)), key=lambda i: (len(stretches[i]) > 1, -i))
        along = stretches[cut]
        half = len(along) // 2
        for part in (along[:half], along[half:]):
            yield from self._blocks([*stretches[:cut], part, *stretches[cut + 1 :]])

    def _nearest(
        self, near: list[tuple[float, tuple[int, ...]]], block: Sequence[range]
    ) -> list[tuple[float, tuple[int, ...]]]:
        shape = tuple(map(len, block))
        values: list[Values] = self.plan.values(block)
        outputs = evaluate(self.program, values, starts=[stretch.start for stretch in block])
        self.looked_at += prod(shape)
        rows = kept_rows(self.plan, self.case, values, outputs[len(self.plan.quantities) :], shape)
        key = self.sense * (outputs[0] if rows is None else outputs[0][rows])
        usable = np.isfinite(key)
        if not usable.any():
            return near
        least = min([float(key[usable].min()), *(value for value, _ in near)])
        limit = least + _NEAR * abs(least)
        close = np.flatnonzero(usable & (key <= limit))
        kept = [(value, index) for value, index in near if value <= limit]
        if len(close) > _MOST_COMPARED:
            # a plateau: of points that are equal in all digits the first ones stand for all
            close = close[np.sort(np.unique(key[close], return_index=True)[1])]
        for i in close:
            row = int(i if rows is None else rows[i])
            place = np.unravel_index(row, shape) if shape else ()
            kept.append((float(key[i]), tuple(s.start + int(p) for s, p in zip(block, place, strict=True))))
        return kept
