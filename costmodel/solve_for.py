"""The question asked backwards: for which values of one dim, or of one figure of a device, do conditions hold?

With all else a figure each condition is the sign of a quotient of exponential polynomials, decided with proof on every
piece; where it is no such quotient, by bounds over stretches of the unknown. A whole number limited by divisibility is
tried exactly, value by value. What stays symbolic is solved where it is a polynomial of degree 2 at most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from sympy import Expr, Symbol, floor

from costmodel.domain import Domain, domain_of
from costmodel.figures import Figure, comparable
from costmodel.names import listed
from costmodel.question import Asked, Condition, Objective, Question, Unknown, closed_at, on_dims, read, value_at
from costmodel.solve.budget import OutOfTime, Unsolvable, look_at_time
from costmodel.solve.enclosure import bounds
from costmodel.solve.inequality import limit_at_infinity, ratio, slope_at_infinity, solution, stationary
from costmodel.solve.search import MOST, Searched, best_within, real_numbers, whole_numbers
from costmodel.solve.sets import Edge, Interval, Values
from costmodel.solve.symbolic import Case, cases
from costmodel.source import Diagnostic, SpecError
from costmodel.symbols import REQUEST, WORKLOAD, is_number, put_in, rational

MOST_TRIED = 10_000
_FEW = 8
_NEAR = Fraction(1, 10**9)
_VERY_NEAR = Fraction(1, 10**24)


@dataclass(frozen=True)
class Best:
    """The value that is best, its closed form, and the objective there."""

    value: Fraction
    expr: Expr | None
    objective: Figure | None = None


@dataclass(frozen=True)
class Binding:
    """A condition that ends the set: its two sides at the last value that does, and at the next one, which does not."""

    condition: Condition
    at: Fraction
    beyond: Fraction
    sides: tuple[Figure | None, Figure | None]
    sides_beyond: tuple[Figure | None, Figure | None]


@dataclass(frozen=True)
class Tends:
    """What a quantity tends to and never reaches, as the unknown nears a value, or grows without end (None)."""

    towards: Fraction | None
    limit: Figure | None


@dataclass(frozen=True)
class Solution:
    """For which values of the unknown all conditions hold.

    Status: `solved`; `unsatisfiable`; `unbounded`, where no value is best because a better one follows each;
    `incomplete`, where time ended before the values of `left` were looked at. `each` has the values at which each
    condition holds by itself. `binding` are the conditions that end the set at the best value, `ends` those that end it
    elsewhere; `conflict` is a smallest set of conditions that nothing satisfies, `nearest` where the only one of them
    comes nearest. `cases` are bounds in the symbols that are free.
    """

    asked: Asked
    status: str
    values: Values
    each: tuple[Values, ...] = ()
    best: Best | None = None
    binding: tuple[Binding, ...] = ()
    ends: tuple[Binding, ...] = ()
    conflict: tuple[Condition, ...] = ()
    nearest: Binding | None = None
    left: Values = Values(())
    unfinished: str = ""
    tends: Tends | None = None
    same_beyond: bool = False
    between: bool = False
    domain: Domain | None = None
    tried: tuple[Fraction, ...] | None = None
    cases: tuple[Case, ...] = ()

    @property
    def unknown(self) -> Unknown:
        return self.asked.unknown

    def holds(self, x: Fraction) -> bool:
        """Whether a value is one of them: of whole numbers in steps, not what lies between two steps."""
        return self.values.holds(x) and (not self.unknown.whole or self.domain is None or self.domain.allows(x))

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return self.asked.conditions


def solve_for(question: Question) -> Solution:
    """For which values of the unknown the conditions hold, and which of them is best.

    Raises:
        SpecError: a condition cannot be read or compared, does not depend on the unknown, or needs another figure.

    Example:
        The largest batch that answers in 20 ms: `Question(compiled, setting, point, ("latency <= 20 ms",),
        "batch_size", maximize="throughput")`.
    """
    asked = read(question)
    if asked.closed:
        return _answered(asked, _tried_models(asked, asked.closed))
    if asked.free:
        return _in_symbols(asked)
    try:
        domain = domain_of(asked)
    except OutOfTime as reason:
        return Solution(asked, "incomplete", Values(()), unfinished=str(reason))
    except Unsolvable as reason:
        return _answered(asked, _tried_models(asked, str(reason)))
    return _answered(asked, _divisors(asked, domain) if domain.divisors is not None else _ranges(asked, domain))


# --- where each condition holds


@dataclass(frozen=True)
class _Held:
    """Where each condition holds, the values that there may be, and those that were not looked at.

    `tried` are single values, each with the question of its own where the model is another for each.
    """

    domain: Domain
    each: tuple[Searched, ...]
    tried: Mapping[Fraction, Asked] | None = None

    @property
    def values(self) -> Values:
        found = self.domain.values
        for one in self.each:
            found = found & one.held
        return found

    @property
    def left(self) -> Values:
        """What was not looked at, and no condition excludes."""
        possible, open_ = self.domain.values, Values(())
        for one in self.each:
            possible, open_ = possible & (one.held | one.left), open_ | one.left
        return possible & open_

    def holds(self, i: int, x: Fraction) -> bool:
        """Whether condition i holds at a value, exactly."""
        return any(one.holds(x) for one in self.each[i].held.intervals)

    def sides(self, asked: Asked, i: int, x: Fraction) -> tuple[Figure | None, Figure | None]:
        here = asked if self.tried is None else self.tried[x]
        return here.conditions[i].sides(asked.unknown.symbol, x)

    def objective(self, asked: Asked, x: Fraction) -> Figure | None:
        here = asked if self.tried is None else self.tried[x]
        return None if here.objective is None else value_at(here.objective.expr, asked.unknown.symbol, x)

    def beyond(self, asked: Asked, x: Fraction, direction: int) -> Fraction | None:
        """The next value that there may be, above or below; of real ones one that is very near."""
        if self.tried is not None:
            others = [v for v in self.tried if (v - x) * direction > 0]
            return min(others, key=lambda v: abs(v - x), default=None)
        width = Fraction(self.domain.step) if asked.unknown.whole else x * _NEAR
        there = x + direction * width
        return there if self.domain.values.holds(there) else None


def _ranges(asked: Asked, domain: Domain) -> _Held:
    if not asked.unknown.whole:
        return _Held(domain, tuple(_where(asked, domain, condition) for condition in asked.conditions))
    inside = replace(domain, values=domain.values.whole(domain.step, domain.offset))
    return _Held(inside, tuple(_where(asked, inside, condition) for condition in asked.conditions))


def _where(asked: Asked, domain: Domain, condition: Condition) -> Searched:
    """Where one condition holds: from its roots, or else by bounds."""
    x, found = asked.unknown.symbol, domain.values
    try:
        for part in condition.parts:
            found = found & solution(part.expr, part.relation, x)
        return Searched(found.whole(domain.step, domain.offset) if asked.unknown.whole else found)
    except OutOfTime:
        return Searched(Values(()), domain.values)
    except Unsolvable:
        return _by_bounds(asked, domain, condition)


def _by_bounds(asked: Asked, domain: Domain, condition: Condition) -> Searched:
    x, step, offset = asked.unknown.symbol, domain.step, domain.offset
    held, left = Values(()), Values(())
    search = real_numbers
    parts = [(part.expr, part.relation) for part in condition.parts]
    if asked.unknown.whole:
        search = whole_numbers
        parts = [(put_in(expr, {x: offset + step * x}), relation) for expr, relation in parts]
    for interval in domain.values.intervals:
        try:
            found = search(parts, x, _scaled(interval, Fraction(1, step), Fraction(-offset, step)))
        except OutOfTime:
            found = Searched(Values(()), Values((interval,)))
        except Unsolvable as reason:
            raise SpecError(
                Diagnostic("unsolvable", f"`{condition.text}` cannot be solved for `{x}`", facts=(str(reason),))
            ) from None
        held = held | Values(tuple(_scaled(i, Fraction(step), Fraction(offset)) for i in found.held.intervals))
        left = left | Values(tuple(_scaled(i, Fraction(step), Fraction(offset)) for i in found.left.intervals))
    return Searched(held, left)


def _scaled(interval: Interval, factor: Fraction, shift: Fraction) -> Interval:
    def at(edge: Edge) -> Edge:
        return replace(edge, value=edge.value * factor + shift)

    return Interval(at(interval.low), None if interval.high is None else at(interval.high))


# --- values tried one by one


def _divisors(asked: Asked, domain: Domain) -> _Held:
    """The few values that divisibility allows, of which each must give a model."""
    assert domain.divisors is not None
    run = asked.setting.run

    def model(value: Fraction) -> Asked | None:
        look_at_time()
        try:
            closed_at(asked.compiled, asked.unknown, value).dataflow(run)
        except SpecError:
            return None
        return asked

    return _tried(asked, domain, domain.divisors, model)


def _tried_models(asked: Asked, why: str) -> _Held:
    """Values of which each is a model of its own; a condition on the dim must say which."""
    name, x = asked.unknown.name, asked.unknown.symbol
    conditions = on_dims(asked)
    values = Values((Interval(Edge(Fraction(1), True), None),))
    for condition in conditions:
        for part in condition.parts:
            values = values & solution(part.expr, part.relation, x)
    runs = [(i.low.value, i.high.value if i.high else None) for i in values.whole().intervals]
    if runs and (runs[-1][1] is None or runs[-1][1] > MOST_TRIED):
        raise SpecError(
            Diagnostic(
                "unsolvable",
                f"each value of `{name}` makes another model, so they are tried one by one",
                facts=(why, f"a condition says which, {MOST_TRIED:,} at most: '{name} <= 8'"),
            )
        )
    zero = [Fraction(0)] if all(condition.holds(x, Fraction(0)) for condition in conditions) else []
    single = [Fraction(v) for low, high in runs if high is not None for v in range(int(low), int(high) + 1)]
    candidates = (*zero, *single)
    held = _tried(asked, Domain(Values.points(candidates)), candidates, asked.at)
    if not held.tried and held.left.empty:
        raise SpecError(Diagnostic("unsolvable", f"no value of `{name}` that is tried makes a model", facts=(why,)))
    return held


def _tried(
    asked: Asked, domain: Domain, candidates: Sequence[Fraction], model: Callable[[Fraction], Asked | None]
) -> _Held:
    """Each condition at each value that gives a model, until time ends."""
    tried: dict[Fraction, Asked] = {}
    held: list[list[Fraction]] = [[] for _ in asked.question.conditions]
    left = Values(())
    for i, value in enumerate(candidates):
        try:
            here = model(value)
            if here is None:
                continue
            holding = [condition.holds(asked.unknown.symbol, value) for condition in here.conditions]
        except OutOfTime:
            left = Values.points(candidates[i:])
            break
        tried[value] = here
        for values, holds in zip(held, holding, strict=True):
            if holds:
                values.append(value)
    inside = replace(domain, values=Values.points(tried) | left)
    return _Held(inside, tuple(Searched(Values.points(values), left) for values in held), tried)


# --- the answer


def _answered(asked: Asked, held: _Held) -> Solution:
    """The set as it was found, its best value, and what ends it; what time did not allow is left out and said."""
    if held.tried:
        asked = replace(asked, conditions=next(iter(held.tried.values())).conditions)
    found = Solution(
        asked,
        "solved" if held.left.empty else "incomplete",
        held.values,
        tuple(one.held for one in held.each),
        left=held.left,
        domain=held.domain,
        tried=None if held.tried is None else tuple(held.tried),
    )
    try:
        if not found.values.empty:
            return _with_best(found, held)
        return found if not found.left.empty else _without(found, held)
    except OutOfTime as reason:
        return replace(found, status="incomplete", unfinished=str(reason))


def _without(found: Solution, held: _Held) -> Solution:
    """Nothing holds: a smallest conflict; or where an equation is met between whole numbers, there."""
    between = _between(found.asked, held)
    if not between.empty:
        first = between.intervals[0].low
        return replace(found, values=between, between=True, best=Best(first.value, first.expr))
    conflict = _conflict(held)
    found = replace(found, status="unsatisfiable", conflict=tuple(found.conditions[i] for i in conflict))
    if len(conflict) > 1 or held.domain.values.empty:
        return found
    nearest = _nearest(found.asked, held, conflict[0])
    return replace(found, nearest=nearest, tends=None if nearest else _tends(found.asked, held, conflict[0]))


def _between(asked: Asked, held: _Held) -> Values:
    """The numbers at which an equation is met, where none of them is whole."""
    equation = any(part.relation == "==" for condition in asked.conditions for part in condition.parts)
    if not equation or not asked.unknown.whole or held.tried is not None or held.domain.values.empty:
        return Values(())
    found = Values((Interval(held.domain.values.intervals[0].low, held.domain.values.intervals[-1].high),))
    for condition in asked.conditions:
        for part in condition.parts:
            try:
                found = found & solution(part.expr, part.relation, asked.unknown.symbol)
            except OutOfTime:
                raise
            except Unsolvable:
                return Values(())
    return found


def _conflict(held: _Held) -> list[int]:
    """Conditions dropped one by one as long as nothing satisfies the rest: each that stays is needed."""
    kept = list(range(len(held.each)))
    for i in list(kept):
        fewer = [k for k in kept if k != i]
        if replace(held, each=tuple(held.each[k] for k in fewer)).values.empty:
            kept = fewer
    return kept


def _nearest(asked: Asked, held: _Held, i: int) -> Binding | None:
    """Where a condition that holds nowhere comes nearest to it; None where that is not known."""
    condition, x = asked.conditions[i], asked.unknown.symbol
    if not (asked.unknown.whole or held.tried is not None):
        return None
    points = list(held.tried) if held.tried is not None else _turns(condition, held.domain.values, x)
    gaps: dict[Fraction, Fraction] = {}
    for at in points:
        left, right = held.sides(asked, i, at)
        if left is not None and right is not None:
            gaps[at] = abs(comparable(left) - comparable(right))
    if not gaps:
        return None
    at = min(gaps, key=lambda v: (gaps[v], v))
    sides = held.sides(asked, i, at)
    return Binding(condition, at, at, sides, sides)


def _tends(asked: Asked, held: _Held, i: int) -> Tends | None:
    """What a quantity tends to that nears a figure without end and never reaches it."""
    condition = asked.conditions[i]
    sides = [side for side in (condition.left, condition.right) if not is_number(side)]
    if held.tried is not None or held.domain.values.intervals[-1].high is not None or len(sides) != 1:
        return None
    try:
        limit = limit_at_infinity(sides[0], asked.unknown.symbol)
    except OutOfTime:
        raise
    except Unsolvable:
        return None
    return None if limit is None else Tends(None, limit)


def _turns(condition: Condition, values: Values, x: Symbol) -> list[Fraction]:
    """Where the two sides of a condition may be nearest; none where they near each other without end."""
    difference = condition.parts[0].expr if condition.crossing is not None else condition.left - condition.right
    first, last = values.intervals[0].low.value, values.intervals[-1].high
    points = [first] if last is None else [first, last.value]
    here = value_at(difference, x, first)
    if here is None:
        return []
    try:
        if last is None and slope_at_infinity(difference, x) * comparable(here) < 0:
            return []
        turns = [Fraction(round(turn)) for turn in stationary(difference, x)]
        return [*points, *(turn for turn in turns if values.holds(turn))]
    except OutOfTime:
        raise
    except Unsolvable:
        whole = bounds(difference, x, first, Fraction(MOST) if last is None else last.value)
        away = whole.monotone and (last is not None or whole.rises == (comparable(here) > 0))
        return points if away else []


# --- the best value


def _with_best(found: Solution, held: _Held) -> Solution:
    asked = found.asked
    if asked.question.maximize is None and asked.question.minimize is None:
        best, side = _edge(found.values, held, asked), 0
    else:
        direction = 1 if asked.question.maximize is not None else -1
        chosen = _tried_best(found, held, direction) if held.tried is not None else _optimum(found, direction)
        if isinstance(chosen, Tends):
            return replace(
                found, status="unbounded" if found.left.empty else "incomplete", tends=chosen, ends=_ends(found, held)
            )
        best, side = chosen, _better_side(found, held, chosen.value, direction)
    if best is None:
        return replace(found, ends=_ends(found, held))
    beyond = [held.beyond(asked, best.value, side)] if side else [held.beyond(asked, best.value, d) for d in (1, -1)]
    binding = _bindings(found, held, best.value, beyond)
    said = {(b.condition.text, b.at) for b in binding}
    others = tuple(b for b in _ends(found, held) if (b.condition.text, b.at) not in said)
    same = best.objective is not None and not binding and _same_beyond(found, held, best)
    return replace(found, best=best, binding=binding, ends=others, same_beyond=same)


def _bindings(found: Solution, held: _Held, at: Fraction, beyond: Iterable[Fraction | None]) -> tuple[Binding, ...]:
    """The conditions that fail at values just beyond one that does."""
    bound: dict[int, Binding] = {}
    for there in beyond:
        if there is None or found.values.holds(there):
            continue
        for i, condition in enumerate(found.conditions):
            if i not in bound and not held.holds(i, there) and not held.each[i].left.holds(there):
                sides = held.sides(found.asked, i, at), held.sides(found.asked, i, there)
                here = condition if held.tried is None else held.tried[at].conditions[i]
                bound[i] = Binding(here, at, there, *sides)
    return tuple(bound.values())


def _ends(found: Solution, held: _Held) -> tuple[Binding, ...]:
    """What ends the first stretches of the set."""
    ends: list[Binding] = []
    for interval in found.values.intervals[:2]:
        for edge, direction in ((interval.low, -1), (interval.high, 1)):
            if edge is not None:
                ends += _bindings(found, held, edge.value, [held.beyond(found.asked, edge.value, direction)])
    return tuple(ends)


def _edge(values: Values, held: _Held, asked: Asked) -> Best | None:
    """Without an objective: the upper end of the set, or else its lower one, where conditions make it."""
    for edge, direction in ((values.intervals[-1].high, 1), (values.intervals[0].low, -1)):
        if edge is not None and edge.closed and held.beyond(asked, edge.value, direction) is not None:
            return Best(edge.value, _rounded(edge, asked.unknown, direction))
    return None


def _rounded(edge: Edge, unknown: Unknown, direction: int) -> Expr | None:
    """The closed form of an end, with the rounding that made it whole."""
    if edge.expr is None or not unknown.whole or edge.expr == rational(edge.value):
        return edge.expr
    return floor(edge.expr, evaluate=False) if direction > 0 else -floor(-edge.expr, evaluate=False)


def _tried_best(found: Solution, held: _Held, direction: int) -> Best:
    points = [i.low.value for i in found.values.intervals]
    values = {x: held.objective(found.asked, x) for x in points}
    known = {x: comparable(value) * direction for x, value in values.items() if value is not None}
    if not known:
        raise SpecError(Diagnostic("open", "the objective has no figure at any of the values"))
    x = max(known, key=lambda v: (known[v], -v))
    return Best(x, rational(x), values[x])


def _optimum(found: Solution, direction: int) -> Best | Tends:
    """The best of the ends of the set and of the points at which the objective turns, or what it tends to."""
    asked = found.asked
    objective, x = asked.objective, asked.unknown.symbol
    assert objective is not None

    def at(value: Fraction) -> Fraction:
        there = value_at(objective.expr, x, value)
        if there is None:
            raise SpecError(Diagnostic("open", f"`{objective.text}` has no figure at {x} = {value}"))
        return comparable(there)

    try:
        points = _foremost(_points(found, objective), objective.expr, x, direction)
        rising = found.values.intervals[-1].high is None and slope_at_infinity(objective.expr, x) * direction > 0
        tends: list[tuple[Fraction | None, Figure | None]] = []
        if rising:
            tends.append((None, limit_at_infinity(objective.expr, x)))
    except OutOfTime:
        raise
    except Unsolvable:
        return _by_search(found, objective, direction, at)
    best = max(points, key=lambda p: (at(p) * direction, -p), default=None)
    for edge, near in _open_edges(found.values):
        if best is None or at(near) * direction > at(best) * direction:
            tends.append((edge, value_at(objective.expr, x, edge)))
    for towards, limit in tends:
        if best is None or limit is None or comparable(limit) * direction > at(best) * direction:
            return Tends(towards, limit)
    assert best is not None
    return Best(best, _closed_form(found, best), value_at(objective.expr, x, best))


def _by_search(
    found: Solution, objective: Objective, direction: int, at: Callable[[Fraction], Fraction]
) -> Best | Tends:
    """Where no closed form tells where the objective turns."""
    unknown, x = found.unknown, found.unknown.symbol
    step, offset = (found.domain.step, found.domain.offset) if found.domain is not None else (1, 0)
    grid = Values(tuple(_scaled(i, Fraction(1, step), Fraction(-offset, step)) for i in found.values.intervals))
    expr = put_in(objective.expr, {x: offset + step * x})
    try:
        place = best_within(expr, direction, x, grid, lambda j: at(offset + step * j), unknown.whole)
    except OutOfTime:
        raise
    except Unsolvable as reason:
        what = f"the best `{objective.text}` cannot be proved"
        raise SpecError(Diagnostic("unsolvable", what, facts=(str(reason),))) from None
    if place is None:
        raise OutOfTime("the time given by --budget is spent before the best value was proved")
    value = offset + step * place
    last = found.values.intervals[-1].high
    if (last is None and value >= MOST) or not found.values.holds(value):
        towards = None if value >= MOST else Fraction(0) if value * MOST <= 1 else value
        return Tends(towards, value_at(objective.expr, x, value))
    return Best(value, _closed_form(found, value), value_at(objective.expr, x, value))


def _open_edges(values: Values) -> Iterator[tuple[Fraction, Fraction]]:
    """Ends that are not in the set, each with a value of the set very near."""
    for interval in values.intervals:
        low, high = interval.low, interval.high
        if not low.closed:
            yield low.value, low.value * (1 + _VERY_NEAR) if low.value else Fraction(1, MOST)
        if high is not None and not high.closed:
            yield high.value, high.value * (1 - _VERY_NEAR)


def _points(found: Solution, objective: Objective) -> list[Fraction]:
    """The values at which the objective may be best: ends, and where it turns, rounded both ways."""
    values, unknown, domain = found.values, found.unknown, found.domain
    step, offset = (domain.step, domain.offset) if domain is not None else (1, 0)
    points = [edge.value for i in values.intervals for edge in (i.low, i.high) if edge is not None]
    for turn in stationary(objective.expr, unknown.symbol):
        below = offset + (turn - offset) // step * step
        points += [below + Fraction(i * step) for i in (-1, 0, 1, 2)] if unknown.whole else [turn]
    return sorted({Fraction(p) for p in points if values.holds(Fraction(p))})


def _foremost(points: list[Fraction], expr: Expr, unknown: Symbol, direction: int) -> list[Fraction]:
    """Of many points those that may be the best: of a sum of hundreds of `max` a figure takes long, a piece not."""
    if len(points) <= _FEW:
        return points
    pieces = ratio(expr, unknown)
    near = {x: pieces.value(x) * direction for x in points}
    top = max(near.values())
    return [x for x, value in near.items() if top - value <= abs(top) * _VERY_NEAR]


def _closed_form(found: Solution, x: Fraction) -> Expr | None:
    for interval in found.values.intervals:
        if interval.high is not None and interval.high.value == x:
            return _rounded(interval.high, found.unknown, 1) or rational(x)
        if interval.low.value == x:
            return _rounded(interval.low, found.unknown, -1) or rational(x)
    return rational(x) if found.unknown.whole else None


def _better_side(found: Solution, held: _Held, x: Fraction, direction: int) -> int:
    """On which side of the best value a better one lies, that conditions exclude; 0 for neither."""
    here = held.objective(found.asked, x)
    assert here is not None
    for side in (1, -1):
        there = held.beyond(found.asked, x, side)
        if there is None or found.values.holds(there):
            continue
        value = held.objective(found.asked, there)
        if value is not None and comparable(value) * direction > comparable(here) * direction:
            return side
    return 0


def _same_beyond(found: Solution, held: _Held, best: Best) -> bool:
    there = held.beyond(found.asked, best.value, 1)
    return there is not None and found.values.holds(there) and held.objective(found.asked, there) == best.objective


# --- symbols that stay


def _in_symbols(asked: Asked) -> Solution:
    """Bounds in the symbols that are free, where each condition is a polynomial of degree 2 at most."""
    missing = sorted(s.name for s in asked.free)
    try:
        domain = domain_of(asked)
        if asked.objective is not None:
            raise Unsolvable("the best value is a matter of figures")
        if domain.divisors is not None:
            raise Unsolvable(f"values of `{asked.unknown.name}` are tried one by one")
        parts = [(part.expr, part.relation) for condition in asked.conditions for part in condition.parts]
        found = cases(parts, asked.unknown.symbol)
    except Unsolvable as reason:
        raise SpecError(
            Diagnostic(
                "open",
                f"give {listed(missing)} a value: what is asked here is solved with figures only",
                facts=(str(reason),),
                help=" ".join(map(_option, missing)),
            )
        ) from None
    return Solution(asked, "solved" if found else "unsatisfiable", Values(()), domain=domain, cases=found, conflict=())


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')} N" if name in (*WORKLOAD, *REQUEST) else f"--set {name}=N"
