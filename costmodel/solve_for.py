"""The question asked backwards: for which values of one dim, or of one figure of a device, do conditions hold?

With all else a figure each condition is the sign of a quotient of exponential polynomials, decided with proof on every
piece; a whole number limited by divisibility is tried exactly, value by value. What stays symbolic is solved where it
is a polynomial of degree 2 at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from math import gcd, lcm

from sympy import Add, And, Expr, Max, Min, Poly, PolynomialError, S, Symbol, cancel, divisors, floor, sqrt
from sympy.logic.boolalg import Boolean

from costmodel import syntax
from costmodel.compile import Compiled
from costmodel.conditions import Setting, measured, quantities_named
from costmodel.device import VECTOR, Device
from costmodel.figures import Figure, Open, as_figure, comparable, figure
from costmodel.measures import common_dimension
from costmodel.names import listed, nearest
from costmodel.ops.attention import Attention
from costmodel.ops.route import Route
from costmodel.parser import parse_condition, parse_expression
from costmodel.resolve import resolve_condition
from costmodel.solve.budget import OutOfTime, Unsolvable, look_at_time
from costmodel.solve.inequality import ratio, slope_at_infinity, solution, stationary
from costmodel.solve.sets import Edge, Interval, Values
from costmodel.source import Diagnostic, Report, Source, SpecError
from costmodel.symbols import WORKLOAD, batch_size, is_number, new_tokens, put_in, rational, seq_len, sign, symbol

MOST_TRIED = 20_000
_MOST_DIVIDED = 10**15
_FEW = 8
_NEAR = Fraction(1, 10**20)
_FLIPPED = {"<=": ">=", "<": ">", ">=": "<=", ">": "<", "==": "=="}
_DEVICE_UNITS = {
    "memory": ("B", Fraction(1)),
    "bandwidth": ("B/s", Fraction(1)),
    "peak": ("FLOP/s", Fraction(1)),
    "price": ("USD/h", Fraction(3600)),
}


@dataclass(frozen=True)
class Unknown:
    """What is solved for. Figures are shown in `unit`, `scale` of which make one of the project's own."""

    name: str
    symbol: Symbol
    whole: bool
    unit: str = ""
    scale: Fraction = Fraction(1)


@dataclass(frozen=True)
class Inequality:
    """`expr relation 0`, a part of the condition of this number."""

    expr: Expr
    relation: str
    condition: int

    def holds(self, unknown: Symbol, x: Fraction) -> bool:
        """Whether it holds at a value, exactly."""
        value = comparable(figure(self.expr, {unknown: x}))
        return {"<=": value <= 0, "<": value < 0, ">=": value >= 0, ">": value > 0, "==": value == 0}[self.relation]


@dataclass(frozen=True)
class Best:
    """The value that is best, its closed form before it is rounded, and the condition under which that holds."""

    value: Fraction | None
    expr: Expr | None
    condition: Boolean = S.true
    objective: Figure | None = None


@dataclass(frozen=True)
class Solution:
    """For which values of the unknown all conditions hold.

    Status: `solved`, `unsatisfiable`, `unbounded` (an objective that grows without end) or `incomplete` (`left` says
    what was not looked at). `binding` are the conditions that end the set at the best value, `conflict` a smallest set
    of conditions that nothing satisfies.
    """

    unknown: Unknown
    conditions: tuple[str, ...]
    status: str
    values: Values
    best: Best | None = None
    binding: tuple[str, ...] = ()
    conflict: tuple[str, ...] = ()
    left: str = ""
    objective: str = ""
    step: int = 1
    limit: Figure | None = None


@dataclass(frozen=True)
class Question:
    """A spec under a setting, the figures that are given, and what is asked of it."""

    compiled: Compiled
    setting: Setting
    point: Mapping[Symbol, Fraction]
    conditions: tuple[str, ...]
    unknown: str
    maximize: str | None = None
    minimize: str | None = None


def solve_for(question: Question) -> Solution:
    """For which values of the unknown the conditions hold, and which of them is best.

    Raises:
        SpecError: a condition cannot be read or compared, does not depend on the unknown, or needs another figure.

    Example:
        The largest batch that answers in 20 ms: `Question(compiled, setting, point, ("latency <= 20 ms",),
        "batch_size", maximize="throughput")`.
    """
    return _Solver(question).solved()


class _Solver:
    def __init__(self, question: Question) -> None:
        self.question = question
        self.unknown = _unknown(question)
        self.x = self.unknown.symbol
        if self.x in question.point:
            raise SpecError(Diagnostic("argument", f"`{self.unknown.name}` is given a value, and is solved for"))
        self.compiled, self.setting = _opened(question, self.unknown)
        self.given = {s: rational(v) for s, v in question.point.items()}

    # --- what is asked

    @cached_property
    def inequalities(self) -> list[Inequality]:
        report = Report()
        found: list[Inequality] = []
        for i, text in enumerate(self.question.conditions):
            try:
                found.extend(self._read(text, i))
            except SpecError as error:
                for diagnostic in error.diagnostics:
                    report.add(diagnostic)
        report.raise_errors()
        return found

    def _read(self, text: str, index: int) -> list[Inequality]:
        source = Source("condition", text)
        condition = parse_condition(source)
        resolve_condition(self.compiled.program, condition)
        if condition.relation not in _FLIPPED:
            raise SpecError(
                Diagnostic(
                    "argument",
                    f"`{condition.relation}` cannot be solved",
                    condition.span,
                    facts=(f"relations are {listed(_FLIPPED)}",),
                )
            )
        crossing = self._crossing(condition, index)
        if crossing is not None:
            return crossing
        left, right = (measured(self.compiled, side, self.setting) for side in (condition.left, condition.right))
        common_dimension(left, right, condition.left, condition.right)
        found = _plain(put_in(left.value, self.given), put_in(right.value, self.given), condition.relation, index)
        return self._dependent(found, condition, self.x in left.value.free_symbols | right.value.free_symbols)

    def _dependent(self, parts: list[Inequality], condition: syntax.Condition, before: bool) -> list[Inequality]:
        """The parts of a condition, of which one depends on the unknown at least."""
        found = []
        for part in parts:
            expr = part.expr
            if self.x in expr.free_symbols and not expr.has(Max, Min) and expr.is_rational_function(self.x):
                expr = cancel(expr)
            found.append(replace(part, expr=expr))
        if any(self.x in part.expr.free_symbols for part in found):
            return found
        said = " ".join(condition.span.text.split())
        what = "cancels from it" if before else "is not in it"
        raise SpecError(
            Diagnostic(
                "argument",
                f"`{said}` does not depend on `{self.unknown.name}`: it {what}",
                condition.span,
                help="leave the condition out, or solve for another dim",
            )
        )

    def _crossing(self, condition: syntax.Condition, index: int) -> list[Inequality] | None:
        """`crossover <= N` as compute_time >= memory_time at batch N, which convexity makes the same."""
        sides = (condition.left, condition.right)
        asked = next((i for i, side in enumerate(sides) if _names(side, "crossover")), None)
        if asked is None:
            return None
        relation = condition.relation if asked == 0 else _FLIPPED[condition.relation]
        bound = put_in(measured(self.compiled, sides[1 - asked], self.setting).value, self.given)
        if self.x == batch_size:
            raise SpecError(
                Diagnostic(
                    "argument",
                    "`crossover` does not depend on `batch_size`: it is one",
                    condition.span,
                    help="'compute_time >= memory_time' --for batch_size",
                )
            )
        if not is_number(bound) or bound <= 0:
            raise SpecError(
                Diagnostic("argument", "`crossover` is held against a figure above 0", sides[1 - asked].span)
            )
        quantities, put = quantities_named(self.compiled, sides[asked], self.setting)
        given = {**self.given, **put}
        compute, memory = (put_in(e, given) for e in (quantities.compute_time, quantities.memory_time))
        at_bound = put_in(compute - memory, {batch_size: bound})
        held = {"<=": ">=", "<": ">", ">=": "<=", ">": "<", "==": "=="}[relation]
        parts = [Inequality(at_bound, held, index)]
        if relation in (">=", ">"):
            # beyond the bound, and there at all: in the end one more sequence takes longer to compute than to read
            slope = (compute - memory).expand().coeff(batch_size, 1)
            parts.append(Inequality(slope, ">", index))
        return self._dependent(parts, condition, before=False)

    # --- which values there may be

    @cached_property
    def domain(self) -> Values:
        """The values that the unknown may have at all."""
        if not self.unknown.whole:
            return Values((Interval(Edge(Fraction(0), False), None),))
        low, high = Fraction(1), None
        new = put_in(self._settings_of(new_tokens), self.given)
        if self.x == seq_len and is_number(new):
            low = as_figure(new)
        if self.x == new_tokens and seq_len in self.question.point:
            high = Edge(self.question.point[seq_len], True)
        return Values((Interval(Edge(low, True), high),))

    def _settings_of(self, found: Symbol) -> Expr:
        return self.compiled.table(self.setting.run).put_in(found)

    @cached_property
    def wholes(self) -> tuple[Expr, ...]:
        """What must come out whole and not negative: derived dims, turns, heads for each group."""
        if self.x.name not in self.compiled.program.dims:
            return ()
        flow = self.compiled.table(self.setting.run).dataflow
        environment = flow.environment
        found = [value for name, value in environment.figures().items() if name != self.x.name]
        found += [environment.value(region.count) for node in flow.nodes for region in node.region.path]
        for node in flow.nodes:
            if isinstance(node.operation, Attention):
                q, k = node.operation.q, node.operation.k
                found.append(environment.value(q.shape[2] / k.shape[2]))
            if isinstance(node.operation, Route):
                experts = node.operation.count()
                if experts is not None:
                    more = environment.value(experts - node.operation.top_k)
                    found.append(more if more.is_polynomial() else S.Zero)
        return tuple(dict.fromkeys(put_in(e, self.given) for e in found if self.x in e.free_symbols))

    @cached_property
    def candidates(self) -> list[Fraction] | None:
        """The few values that divisibility allows, where it does."""
        wholes = [e for e in self.wholes if e.free_symbols == {self.x}]
        over = [e.as_numer_denom() for e in wholes]
        limits = [abs(int(n)) for n, d in over if n.is_Integer and self.x in d.free_symbols]
        if not limits or 0 in limits:
            return None
        if min(limits) > _MOST_DIVIDED:
            raise Unsolvable(f"the divisors of {min(limits)} are too many to be tried")
        allowed = [Fraction(int(d)) for d in divisors(gcd(*limits) if len(limits) > 1 else limits[0])]
        return [c for c in allowed if all(_is_whole(e, self.x, c) for e in wholes) and self._compiles(c)]

    def _compiles(self, value: Fraction) -> bool:
        look_at_time()
        node = syntax.Number(value, str(value), self.compiled.program.source.span(0, 0))
        try:
            self.compiled.changed({self.x.name: node}).dataflow(self.setting.run)
        except SpecError:
            return False
        return True

    @cached_property
    def step(self) -> int:
        """The whole number that the unknown must be a multiple of."""
        steps = [1]
        for expr in self.wholes:
            over, under = expr.as_numer_denom()
            if under.is_Integer and expr.free_symbols == {self.x} and (over / self.x).is_Integer:
                steps.append(int(under) // gcd(int(under), int(over / self.x)))
        return lcm(*steps)

    # --- the answer

    def solved(self) -> Solution:
        conditions = self.question.conditions
        others = set().union(*(p.expr.free_symbols for p in self.inequalities)) - {self.x} if conditions else set()
        objective = self.objective
        if objective is not None:
            others |= objective[0].free_symbols - {self.x}
        if others:
            return self._symbolic(others)
        values = self.domain
        try:
            values, left = self._values(self.inequalities)
            return self._judged(values, left)
        except OutOfTime as reason:
            return self._answer("incomplete", values, left=str(reason))

    def _judged(self, values: Values, left: str) -> Solution:
        """What is to be said of the values at which all conditions hold."""
        if values.empty and not left and any(p.relation == "==" for p in self.inequalities):
            values = self._between()
        if values.empty and not left:
            return self._answer("unsatisfiable", values, conflict=self._conflict())
        status = "incomplete" if left else "solved"
        if self.objective is None:
            best = self._edge(values)
            return self._answer(status, values, best, self._binding(best, values, None), left=left)
        return self._optimum(values, *self.objective, status=status, left=left)

    def _answer(
        self,
        status: str,
        values: Values,
        best: Best | None = None,
        binding: Iterable[int] = (),
        conflict: Iterable[int] = (),
        left: str = "",
        limit: Figure | None = None,
    ) -> Solution:
        said = self.question.conditions
        return Solution(
            self.unknown,
            said,
            status,
            values,
            best,
            tuple(said[i] for i in binding),
            tuple(said[i] for i in conflict),
            left,
            self.question.maximize or self.question.minimize or "",
            self.step if self.unknown.whole else 1,
            limit,
        )

    def _values(self, parts: Sequence[Inequality]) -> tuple[Values, str]:
        """Where all of these hold, and what was not looked at."""
        if self.unknown.whole and self.candidates is not None:
            held = [c for c in self.candidates if self.domain.holds(c) and self._hold(parts, c)]
            return Values.points(held), ""
        found, hard = self.domain, []
        for whole in self.wholes:
            found = found & solution(whole, ">=", self.x) if whole.free_symbols == {self.x} else found
        for part in parts:
            try:
                found = found & solution(part.expr, part.relation, self.x)
            except OutOfTime as reason:
                return found, str(reason)
            except Unsolvable:
                hard.append(part)
        if self.unknown.whole:
            found = found.whole(self.step)
            found = self._exact_ends(found, parts)
        if not hard:
            return found, ""
        if not self.unknown.whole:
            raise SpecError(
                Diagnostic("unsolvable", f"`{self.question.conditions[hard[0].condition]}` cannot be solved for this")
            )
        return self._tried(found, hard)

    def _between(self) -> Values:
        """Where both sides are equal at no whole number: the real values at which they are."""
        if self.candidates is not None:
            return Values(())
        found = self.domain
        for part in self.inequalities:
            found = found & solution(part.expr, part.relation, self.x)
        return found

    def _hold(self, parts: Sequence[Inequality], value: Fraction) -> bool:
        look_at_time()
        return all(part.holds(self.x, value) for part in parts)

    def _exact_ends(self, found: Values, parts: Sequence[Inequality]) -> Values:
        """Ends that fall on whole numbers, decided by the conditions there and not by a root's decimals."""
        runs = []
        for run in found.intervals:
            low, high = run.low, run.high
            while not self._hold(parts, low.value) and (high is None or low.value < high.value):
                low = replace(low, value=low.value + self.step)
            while high is not None and not self._hold(parts, high.value) and high.value > low.value:
                high = replace(high, value=high.value - self.step)
            if self._hold(parts, low.value):
                runs.append(Interval(low, high))
        return Values(tuple(runs))

    def _tried(self, found: Values, hard: Sequence[Inequality]) -> tuple[Values, str]:
        """Whole numbers tried one by one, where a condition has no proved solution."""
        held: list[Fraction] = []
        tried = 0
        for run in found.intervals:
            value = run.low.value
            while run.high is None or value <= run.high.value:
                if tried == MOST_TRIED:
                    return Values.points(held).whole(self.step), f"values from {value} on were not tried"
                tried += 1
                try:
                    if self._hold(hard, value):
                        held.append(value)
                except OutOfTime as reason:
                    return Values.points(held).whole(self.step), f"{reason}: values from {value} on were not tried"
                value += self.step
        return Values.points(held).whole(self.step), ""

    def _conflict(self) -> list[int]:
        """Conditions dropped one by one as long as nothing satisfies the rest: each that stays is needed."""
        kept = list(range(len(self.question.conditions)))
        for i in list(kept):
            fewer = [k for k in kept if k != i]
            values, left = self._values([p for p in self.inequalities if p.condition in fewer])
            if values.empty and not left:
                kept = fewer
        return kept

    # --- the best value

    @cached_property
    def objective(self) -> tuple[Expr, int] | None:
        """What is to be made great (1) or small (−1)."""
        text, direction = self.question.maximize, 1
        if text is None:
            text, direction = self.question.minimize, -1
        if text is None:
            return None
        source = Source("--maximize" if direction > 0 else "--minimize", text)
        node = parse_expression(source)
        resolve_condition(self.compiled.program, node)
        expr = put_in(measured(self.compiled, node, self.setting).value, self.given)
        if self.x not in expr.free_symbols:
            raise SpecError(
                Diagnostic("argument", f"`{text}` does not depend on `{self.unknown.name}`", source.span(0, len(text)))
            )
        return expr, direction

    def _edge(self, values: Values) -> Best | None:
        """Without an objective: the upper end of the set, or else its lower one, where conditions make it."""
        if not values.intervals:
            return None
        high, low = values.intervals[-1].high, values.intervals[0].low
        if high is not None:
            return Best(high.value, self._rounded(high, floor))
        beginning = self.domain.intervals[0].low.value
        return Best(low.value, self._rounded(low, None)) if low.value > beginning else None

    def _rounded(self, edge: Edge, how: type[floor] | None) -> Expr | None:
        """The closed form of an end, with the rounding that made it whole."""
        if edge.expr is None or not self.unknown.whole or edge.expr.is_Integer:
            return edge.expr
        if edge.expr == rational(edge.value) or edge.value.denominator != 1:
            return edge.expr
        return floor(edge.expr, evaluate=False) if how is not None else -floor(-edge.expr, evaluate=False)

    def _binding(self, best: Best | None, values: Values, direction: int | None) -> list[int]:
        """The conditions that fail just beyond the best value."""
        if best is None or best.value is None:
            return []
        x = best.value
        if self.candidates is not None and self.unknown.whole:
            i = self.candidates.index(x) if x in self.candidates else 0
            beyond = [self.candidates[j] for j in (i - 1, i + 1) if 0 <= j < len(self.candidates)]
        else:
            width = Fraction(self.step) if self.unknown.whole else x * Fraction(1, 10**9)
            beyond = [x - width, x + width]
        if direction is not None:
            beyond = beyond[1:] if direction > 0 else beyond[:1]
        outside = [y for y in beyond if self.domain.holds(y) and not values.holds(y)]
        failing = {p.condition for y in outside for p in self.inequalities if not p.holds(self.x, y)}
        return sorted(failing)

    def _optimum(self, values: Values, expr: Expr, direction: int, status: str, left: str) -> Solution:
        def at(x: Fraction) -> Fraction:
            return comparable(figure(expr, {self.x: x})) * direction

        points = self._points(values, expr)
        if values.intervals[-1].high is None and self.candidates is None:
            try:
                rising = slope_at_infinity(expr, self.x) * direction
            except Unsolvable:
                rising = 0
            if rising > 0:
                known = max(map(at, self._foremost(points, expr, direction)), default=None)
                far = Fraction(10) ** 40
                tends = figure(expr, {self.x: far})
                limit = tends if known is not None and abs(comparable(tends)) < abs(known) * 10**15 else None
                return self._answer("unbounded", values, left=left, limit=limit)
        x = max(self._foremost(points, expr, direction), key=lambda p: (at(p), -p))
        best = Best(x, self._closed_form(values, x), objective=figure(expr, {self.x: x}))
        side = None
        for delta in (1, -1):
            near = x + delta * (Fraction(self.step) if self.unknown.whole else x * Fraction(1, 10**9))
            if near > 0 and not values.holds(near) and at(near) > at(x):
                side = delta
        return self._answer(status, values, best, self._binding(best, values, side) if side else (), left=left)

    def _foremost(self, points: list[Fraction], expr: Expr, direction: int) -> list[Fraction]:
        """Of many points those that may be the best: of a sum of hundreds of `max` a figure takes long, a piece not."""
        if len(points) <= _FEW or self.candidates is not None:
            return points
        found = ratio(expr, self.x)
        near = {x: found.value(x) * direction for x in points}
        top = max(near.values())
        return [x for x, value in near.items() if top - value <= abs(top) * _NEAR]

    def _closed_form(self, values: Values, x: Fraction) -> Expr | None:
        for interval in values.intervals:
            if interval.high is not None and interval.high.value == x:
                return self._rounded(interval.high, floor) or rational(x)
            if interval.low.value == x:
                return self._rounded(interval.low, None) or rational(x)
        return rational(x) if self.unknown.whole else None

    def _points(self, values: Values, expr: Expr) -> list[Fraction]:
        """The values at which the objective may be best: ends, and where it turns, rounded both ways."""
        points: list[Fraction] = []
        turns = stationary(expr, self.x) if self.candidates is None else []
        for interval in values.intervals:
            points.append(interval.low.value)
            if interval.high is not None:
                points.append(interval.high.value)
        for turn in turns:
            step = self.step
            near = [turn] if not self.unknown.whole else [turn // step * step + i * step for i in (-1, 0, 1, 2)]
            points += [Fraction(x) for x in near]
        return sorted({p for p in points if p > 0 and values.holds(p)})

    # --- symbols that stay

    def _symbolic(self, others: set[Symbol]) -> Solution:
        """Bounds in the symbols that are free, where each condition is a polynomial of degree 2 at most."""
        missing = listed(sorted(s.name for s in others))
        refusal = SpecError(
            Diagnostic("open", f"these conditions are solved with figures only: {missing} has none", help=_help(others))
        )
        if self.objective is not None or self.candidates is not None:
            raise refusal
        lows: list[Expr] = []
        highs: list[Expr] = []
        conditions: list[Boolean] = []
        for part in self.inequalities:
            bound = _bound(part, self.x)
            if bound is None:
                raise refusal
            expr, upper, condition = bound
            (highs if upper else lows).append(expr)
            if part.relation == "==":
                lows.append(expr)
            conditions.append(condition)
        best = Min(*highs) if highs else Max(*lows)
        interval = Interval(
            Edge(Fraction(0), False, Max(*lows) if lows else None),
            Edge(Fraction(0), True, Min(*highs)) if highs else None,
        )
        return Solution(
            self.unknown,
            self.question.conditions,
            "solved",
            Values((interval,)),
            Best(None, best, And(*conditions)),
            self.question.conditions if len(self.question.conditions) == 1 else (),
        )


def _help(others: set[Symbol]) -> str:
    return " ".join(
        f"--{s.name.replace('_', '-')} N" if s.name in WORKLOAD else f"--set {s.name}=N"
        for s in sorted(others, key=lambda s: s.name)
    )


def _bound(part: Inequality, x: Symbol) -> tuple[Expr, bool, Boolean] | None:
    """The bound that an inequality sets, whether it is an upper one, and when it does."""
    if part.expr.atoms(Max, Min) and any(x in m.free_symbols for m in part.expr.atoms(Max, Min)):
        return None
    over, under = part.expr.together().as_numer_denom()
    if sign(under) != 1:
        return None
    try:
        poly = Poly(over, x)
    except PolynomialError:
        return None
    if any(x in c.free_symbols for c in poly.coeffs()):
        return None
    below = part.relation in ("<=", "<", "==")
    match poly.all_coeffs():
        case [a, b]:
            rising = sign(a)
            value = cancel(-b / a)
            if rising is None:
                return value, below, a > 0
            positive = sign(-b) == rising
            return value, (rising > 0) == below, S.true if positive else value > 0
        case [a, b, c] if sign(a) == 1 and sign(c) == -1:
            return (-b + sqrt(b**2 - 4 * a * c)) / (2 * a), below, S.true
        case [a, b, c] if sign(a) == -1 and sign(c) == 1:
            return (b + sqrt(b**2 - 4 * a * c)) / (-2 * a), not below, S.true
    return None


def _names(node: syntax.Expression, quantity: str) -> bool:
    match node:
        case syntax.Name():
            return node.id == quantity
        case syntax.Call():
            return node.function == quantity
    return False


def _is_whole(expr: Expr, x: Symbol, value: Fraction) -> bool:
    try:
        found = figure(expr, {x: value})
    except (Open, ZeroDivisionError):
        return False
    return isinstance(found, Fraction) and found.denominator == 1 and found >= 0


def _plain(left: Expr, right: Expr, relation: str, index: int) -> list[Inequality]:
    """`left relation right` as inequalities to zero: `floor` undone, a `max` that must be small taken apart."""
    if isinstance(right, floor) and not isinstance(left, floor):
        left, right, relation = right, left, _FLIPPED[relation]
    if isinstance(left, floor) and is_number(right):
        inner, least = left.args[0], -floor(-right)
        match relation:
            case ">=":
                return [Inequality(inner - least, ">=", index)]
            case ">":
                return [Inequality(inner - floor(right) - 1, ">=", index)]
            case "<=":
                return [Inequality(inner - floor(right) - 1, "<", index)]
            case "<":
                return [Inequality(inner - least, "<", index)]
            case _:
                return [Inequality(inner - right, ">=", index), Inequality(inner - right - 1, "<", index)]
    difference = left - right
    kind = {"<=": Max, "<": Max, ">=": Min, ">": Min}.get(relation)
    terms = Add.make_args(difference)
    taken = [t for t in terms if kind is not None and isinstance(t, kind)]
    if len(taken) == 1:
        rest = difference - taken[0]
        return [Inequality(arg + rest, relation, index) for arg in taken[0].args]
    return [Inequality(difference, relation, index)]


def _unknown(question: Question) -> Unknown:
    name = question.unknown
    program = question.compiled.program
    if name.startswith("device."):
        field, _, kind = name.removeprefix("device.").partition(".")
        if field not in _DEVICE_UNITS or (kind and field != "peak"):
            near = nearest(field, _DEVICE_UNITS)
            raise SpecError(
                Diagnostic(
                    "unknown-name",
                    f"a device has no `{name.removeprefix('device.')}` to solve for",
                    facts=(f"it has {listed(_DEVICE_UNITS)}",),
                    help=f"`device.{near}` is near" if near else "",
                )
            )
        unit, scale = _DEVICE_UNITS[field]
        return Unknown(name, symbol(name), False, unit, scale)
    name = name.removeprefix("dim.")
    if name not in program.dims and name not in WORKLOAD:
        known = [*program.dims, *WORKLOAD, *(f"device.{f}" for f in _DEVICE_UNITS)]
        near = nearest(name, known)
        raise SpecError(
            Diagnostic(
                "unknown-name",
                f"there is no dim `{name}` to solve for",
                facts=() if near else (f"there are {listed(known, 40)}",),
                help=f"`{near}` is near" if near else "",
            )
        )
    given = question.compiled.environment.given.get(name)
    if isinstance(given, syntax.Expression) and not isinstance(given, syntax.Number) and name in program.dims:
        raise SpecError(
            Diagnostic(
                "argument",
                f"`{name}` is computed from other dims: {' '.join(given.span.text.split())}",
                given.span,
                help=f"solve for a dim in it, or make it free-standing: --set {name}=1",
            )
        )
    return Unknown(name, symbol(name), True)


def _opened(question: Question, unknown: Unknown) -> tuple[Compiled, Setting]:
    """The spec and the setting with the unknown left open."""
    compiled, setting = question.compiled, question.setting
    if unknown.name.startswith("device."):
        if setting.device is None:
            raise SpecError(Diagnostic("device", f"`{unknown.name}` needs a device", help="--device h100-sxm"))
        return compiled, replace(setting, device=_device(setting.device, unknown, compiled))
    if unknown.symbol == new_tokens:
        return compiled, replace(setting, run=replace(setting.run, new_tokens=new_tokens))
    if unknown.name in WORKLOAD:
        return compiled, setting
    return compiled.freed([unknown.name]), setting


def _device(device: Device, unknown: Unknown, compiled: Compiled) -> Device:
    """A device with one figure open: that of a single one, where it stands for several."""
    field, _, kind = unknown.name.removeprefix("device.").partition(".")
    value = unknown.symbol * device.count
    if field != "peak":
        return replace(device, **{field: value})
    kind = kind or str(compiled.environment.dtypes["compute"])
    if kind != VECTOR:
        device.peak(kind)
    return replace(device, peaks={**device.peaks, kind: value})
