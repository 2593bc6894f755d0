"""Where conditions hold that have no roots in closed form: stretches bounded, and halved where that does not tell.

A stretch over which a condition's bounds are on one side of zero is decided as a whole; a single whole number is
decided exactly. Nothing is left out: what the time did not reach is given back as a stretch of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt

from sympy import Expr, Symbol

from costmodel.solve.budget import OutOfTime, look_at_time
from costmodel.solve.enclosure import bounds, sign_at, spread
from costmodel.solve.sets import Edge, Interval, Values
from costmodel.symbols import compared

Part = tuple[Expr, str]
"""`expr relation 0`."""
_Cell = tuple[Fraction, Fraction, bool | None]
"""From one number to another, and whether all parts hold there."""
MOST = 10**30
_NEAR = Fraction(1, 10**12)


@dataclass(frozen=True)
class Searched:
    """Where all parts hold, and where that was not looked at."""

    held: Values
    left: Values = Values(())


def whole_numbers(parts: Sequence[Part], unknown: Symbol, within: Interval) -> Searched:
    """The whole numbers of an interval at which all parts hold.

    Without an upper end it reaches to 10^30, the largest value that a dim may have.

    Raises:
        Unsolvable: a part holds a function that has no bounds.
    """
    parts = [(spread(expr, unknown), relation) for expr, relation in parts]
    last = MOST if within.high is None else int(within.high.value)
    open_ = [(int(within.low.value), last)]
    runs: list[tuple[int, int]] = []
    while open_:
        low, high = open_.pop()
        try:
            look_at_time()
            decided = _decided(parts, unknown, Fraction(low), Fraction(high))
        except OutOfTime:
            rest = [(low, high), *reversed(open_)]
            return Searched(_runs(runs, within), _runs(rest, within))
        if decided:
            runs.append((low, high))
        elif decided is None:
            middle = isqrt(low * high) if high > 4 * low > 0 else (low + high) // 2
            open_ += [(middle + 1, high), (low, middle)]
    return Searched(_runs(runs, within))


def _decided(parts: Sequence[Part], unknown: Symbol, low: Fraction, high: Fraction) -> bool | None:
    """Whether all parts hold from `low` to `high`, or one of them nowhere; None where that is open."""
    if low == high:
        return all(compared(relation, sign_at(expr, unknown, low)) for expr, relation in parts)
    open_ = False
    for expr, relation in parts:
        inside = bounds(expr, unknown, low, high)
        signs = inside.signs
        if inside.monotone and inside.ends_near_zero:
            # the same at both ends, and so between them; more digits than zero's would not tell
            signs = frozenset(sign_at(expr, unknown, end) for end in (low, high))
            signs |= {0} if len(signs) > 1 else signs
        holds = {compared(relation, sign) for sign in signs}
        if holds == {False}:
            return False
        open_ = open_ or holds != {True}
    return None if open_ else True


def _runs(runs: Sequence[tuple[int, int]], within: Interval) -> Values:
    """Neighbours joined; a run that reaches the end of an interval without one has none."""
    joined: list[tuple[int, int]] = []
    for low, high in runs:
        if joined and joined[-1][1] + 1 == low:
            joined[-1] = (joined[-1][0], high)
        else:
            joined.append((low, high))
    found = []
    for low, high in joined:
        end = None if within.high is None and high == MOST else Edge(Fraction(high), True)
        found.append(Interval(Edge(Fraction(low), True), end))
    return Values(tuple(found))


def real_numbers(parts: Sequence[Part], unknown: Symbol, within: Interval) -> Searched:
    """The numbers of an interval at which all parts hold, its ends to twelve digits, each between two proved sides.

    Without an upper end it reaches to 10^30, and towards 0 down to 10^−30.

    Raises:
        Unsolvable: as `whole_numbers`.
    """
    parts = [(spread(expr, unknown), relation) for expr, relation in parts]
    least, most = max(within.low.value, Fraction(1, MOST)), MOST if within.high is None else within.high.value
    cells: list[_Cell] = []
    open_ = [(least, Fraction(most))]
    while open_:
        low, high = open_.pop()
        try:
            look_at_time()
            decided = _decided(parts, unknown, low, high)
        except OutOfTime:
            left = Interval(Edge(low, True), within.high)
            return Searched(_edges(cells, parts, unknown, within), Values((left,)))
        if decided is None and high - low > _NEAR * high:
            middle = _between(low, high)
            open_ += [(middle, high), (low, middle)]
        elif decided is None and cells and cells[-1][2] is None:
            cells[-1] = (cells[-1][0], high, None)
        else:
            cells.append((low, high, decided))
    return Searched(_edges(cells, parts, unknown, within))


def _between(low: Fraction, high: Fraction) -> Fraction:
    """A number with a short denominator in the middle, by ratio where the two are far apart."""
    if high > 4 * low:
        scale = 1 << max(0, 64 - low.numerator.bit_length() + low.denominator.bit_length())
        return Fraction(isqrt(int(low * scale) * int(high * scale)), scale)
    middle = (low + high) / 2
    bits = max(0, 64 - int(middle).bit_length()) + (0 if middle >= 1 else int(1 / middle).bit_length())
    return Fraction(round(middle * (1 << bits)), 1 << bits)


def _edges(cells: Sequence[_Cell], parts: Sequence[Part], unknown: Symbol, within: Interval) -> Values:
    """Cells that hold, joined. One too narrow to be told is the end of what lies beside it, or a point of equality."""
    closed = all(relation in ("<=", ">=", "==") for _, relation in parts)
    found: list[Interval] = []
    start: Edge | None = within.low
    for i, (low, high, decided) in enumerate(cells):
        if decided:
            end = within.high if high == MOST else Edge(high, True)
            found.append(Interval(start or Edge(low, True), end))
        start = None
        if decided is None:
            middle = Edge((low + high) / 2, closed)
            before, behind = (bool(cells[j][2]) if 0 <= j < len(cells) else False for j in (i - 1, i + 1))
            if before:
                found[-1] = Interval(found[-1].low, middle)
            elif not behind and _changes(parts, unknown, low, high):
                found.append(Interval(middle, middle))
            start = middle
    return Values.of(found)


def _changes(parts: Sequence[Part], unknown: Symbol, low: Fraction, high: Fraction) -> bool:
    """Whether all parts are equations that change their sign in between."""
    return all(
        relation == "==" and sign_at(expr, unknown, low) != sign_at(expr, unknown, high) for expr, relation in parts
    )


# --- the best value


def best_within(
    expr: Expr, direction: int, unknown: Symbol, values: Values, at: Callable[[Fraction], Fraction], whole: bool
) -> Fraction | None:
    """A value of a set at which an expression is greatest (1) or least (−1), `at` giving its figures.

    Stretches whose bounds do not reach what is known already are passed over: for whole numbers exactly, for others to
    twelve digits. Open ends count as if they were in the set. None where time ends before all stretches are looked at.

    Raises:
        Unsolvable: the expression holds a function that has no bounds.
    """
    expr = spread(expr, unknown) * direction
    found: tuple[Fraction, Fraction] | None = None
    open_ = []
    for interval in reversed(values.intervals):
        low = interval.low.value if whole else max(interval.low.value, Fraction(1, MOST))
        open_.append((low, Fraction(MOST) if interval.high is None else interval.high.value))
    while open_:
        low, high = open_.pop()
        try:
            look_at_time()
            for end in (low, high):
                value = at(end) * direction
                if found is None or value > found[0]:
                    found = value, end
            inside = bounds(expr, unknown, low, high)
        except OutOfTime:
            return None
        assert found is not None
        enough = found[0] if whole else found[0] + abs(found[0]) * _NEAR
        if high - low < 2 if whole else high - low <= _NEAR * high:
            continue
        if not inside.monotone and not inside.below(enough):
            middle = (low + high) // 2 if whole else _between(low, high)
            open_ += [(Fraction(middle), high), (low, Fraction(middle))]
    return found[1] if found is not None else None
