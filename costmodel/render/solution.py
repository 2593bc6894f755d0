"""`solve`: for which values the conditions hold, which is best, and which condition binds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Any

from rich.text import Text
from sympy import Expr, Poly, PolynomialError, Symbol
from sympy.core.relational import Relational
from sympy.logic.boolalg import Boolean

from costmodel.algebra import text
from costmodel.compile import Compiled
from costmodel.figures import Figure, Open, as_figure, as_float, as_json, comparable, figure
from costmodel.names import listed
from costmodel.quantities import Quantities
from costmodel.question import Condition
from costmodel.render.answers import header, shown_expr
from costmodel.render.latex import latex
from costmodel.render.notebook import Paged
from costmodel.render.numbers import decimal, in_unit, plain, scaled, significant, told_apart, with_prefix
from costmodel.render.page import Page
from costmodel.render.words import conventions, device_name, order, symbols, workload
from costmodel.solve.budget import Unsolvable
from costmodel.solve.sets import Edge, Interval, Values
from costmodel.solve.symbolic import Bound, Case
from costmodel.solve_for import Binding, Solution
from costmodel.symbols import batch_size, is_number, new_tokens, rational, symbol

_STYLES = {"solved": "green", "unbounded": "yellow", "incomplete": "yellow", "unsatisfiable": "red"}
_MOST_SHOWN = 12
_MOST_ROWS = 20
_MOST_DIGITS = 40


@dataclass(frozen=True, repr=False)
class SolutionAnswer(Paged):
    """A solution with what it was asked of."""

    compiled: Compiled
    quantities: Quantities
    point: Mapping[Symbol, Fraction]
    solution: Solution
    names: str | None = None

    # --- for programs

    def as_json(self) -> dict[str, Any]:
        solution, best = self.solution, self.solution.best
        table, device = self.quantities.table, self.quantities.device
        timing = self.quantities.timing if device is not None else None
        found = header(self.compiled.name, table, device.name if device is not None else None, timing)
        intervals = [self._interval(interval) for interval in solution.values.intervals]
        return found | {
            "for": solution.unknown.name,
            "unit": solution.unknown.unit or None,
            "conditions": list(solution.asked.question.conditions),
            "status": solution.status,
            "step": solution.domain.step if solution.domain is not None and solution.unknown.whole else None,
            "solution": intervals or [self._case(case) for case in solution.cases],
            "best": {
                "value": self._number(best.value),
                **self._formula(best.expr),
                "condition": "True",
                "objective": as_json(best.objective),
            }
            if best is not None
            else self._best_case,
            "limit": None if solution.tends is None else as_json(solution.tends.limit),
            "binding": list(dict.fromkeys(b.condition.text for b in solution.binding)),
            "conflict": [condition.text for condition in solution.conflict],
            "each": [
                {"condition": condition.text, "solution": [self._interval(i) for i in values.intervals]}
                for condition, values in zip(solution.conditions, solution.each, strict=False)
            ],
            "left": [self._interval(interval) for interval in solution.left.intervals],
            "why": " ".join(self.why),
        }

    def _interval(self, interval: Interval) -> dict[str, Any]:
        low, high = interval.low, interval.high
        return {
            "min": self._number(low.value),
            "max": None if high is None else self._number(high.value),
            "min_closed": low.closed,
            "max_closed": high is not None and high.closed,
            "min_expr": self._formula(low.expr)["expr"],
            "max_expr": self._formula(high.expr)["expr"] if high is not None else None,
        }

    def _case(self, case: Case) -> dict[str, Any]:
        low, high = case.low, case.high
        return {
            "min": None if low is None or not is_number(low.expr) else self._number(_fraction(low.expr)),
            "max": None if high is None or not is_number(high.expr) else self._number(_fraction(high.expr)),
            "min_closed": low is not None and low.closed,
            "max_closed": high is not None and high.closed,
            "min_expr": self._formula(low.expr)["expr"] if low is not None else None,
            "max_expr": self._formula(high.expr)["expr"] if high is not None else None,
            "condition": str(case.condition),
        }

    @property
    def _best_case(self) -> dict[str, Any] | None:
        """Of the only case there is, its upper bound, or its lower one."""
        cases = self.solution.cases
        bound = (cases[0].high or cases[0].low) if len(cases) == 1 else None
        if bound is None:
            return None
        return {"value": None, **self._formula(bound.expr), "condition": str(cases[0].condition), "objective": None}

    def _formula(self, expr: Expr | None) -> dict[str, Any]:
        """In the unit in which values are given."""
        scaled_expr = None if expr is None else expr * rational(self.solution.unknown.scale)
        names = symbols(self.compiled, self.names)
        return {"expr": shown_expr(scaled_expr), "latex": None if scaled_expr is None else latex(scaled_expr, names)}

    def _number(self, value: Fraction) -> int | float | None:
        return as_json(value * self.solution.unknown.scale)

    # --- for people

    def __repr__(self) -> str:
        return f"<Solution for {self.solution.unknown.name} of {self.compiled.name}: {self.solution.status}>"

    def page(self, width: int) -> Page:
        page = Page(width)
        solution, device = self.solution, self.quantities.device
        on = f" on {device_name(device)}" if device is not None else ""
        page.text("")
        page.text(f"{self.compiled.title}{on}, {workload(self.quantities.table, self.point, with_batch=True)}")
        page.space()
        word, rest = self._verdict
        line = Text()
        line.append(word, style=f"bold {_STYLES[solution.status]}")
        line.append(f" {rest}" if rest else "", style="bold")
        page.text(line, indent=2)
        if self.why:
            page.heading("Why")
            page.text(" ".join(self.why), indent=2)
        if len(solution.each) > 1 and solution.status != "incomplete":
            page.heading("Each condition by itself")
            for condition, values in zip(solution.conditions, solution.each, strict=True):
                page.spread(condition.text, self._short(values))
        self._values(page)
        said = [*(c.text for c in solution.conditions), self._objective_text]
        priced = any("cost" in words or "price" in words for words in said)
        page.counted(conventions(self.quantities.table, self.quantities, price=priced))
        return page

    def _values(self, page: Page) -> None:
        """Every stretch with its closed form, where that says more than the verdict."""
        solution = self.solution
        rows = [(self._said(interval), self._exactly(interval)) for interval in solution.values.intervals]
        rows += [(self._case_said(case), "") for case in solution.cases]
        single = all(i.high is not None and i.low.value == i.high.value for i in solution.values.intervals)
        if not rows or (len(rows) == 1 and not rows[0][1] and not self._objective_text):
            return
        if single and not solution.between and len(rows) <= _MOST_SHOWN and not self._objective_text:
            return
        page.heading("All values")
        if single and not solution.between:
            shown = [self._figure(i.low) for i in solution.values.intervals[: 8 * _MOST_SHOWN]]
            page.text(f"{solution.unknown.name} = {', '.join(shown)}", indent=2)
            rows = rows[8 * _MOST_SHOWN :]
            if rows:
                page.text(f"and {len(rows):,} more; --json has them", indent=2)
            return
        for said, closed in rows[:_MOST_ROWS]:
            page.spread(said, closed)
        if len(rows) > _MOST_ROWS:
            page.text(f"and {len(rows) - _MOST_ROWS:,} more stretches; --json has them", indent=2)

    @property
    def _objective_text(self) -> str:
        return self.solution.asked.question.maximize or self.solution.asked.question.minimize or ""

    @property
    def _verdict(self) -> tuple[str, str]:
        solution, name = self.solution, self.solution.unknown.name
        best = solution.best
        match solution.status:
            case "unsatisfiable":
                many = "all conditions" if len(solution.asked.question.conditions) > 1 else "the condition"
                return "NO VALUE", f"of {name} satisfies {many}."
            case "unbounded":
                return "NO BEST", f"value: {self._tends}."
            case "incomplete":
                return "INCOMPLETE", f"{self._all or 'nothing found'}, as far as the time went."
        if best is not None and self._objective_text:
            value = self._objective(best.objective)
            limit = self._limit_word
            return (
                f"{name} = {self._figure(Edge(best.value, True))}",
                f"is best: {self._objective_text} {limit}{value}.",
            )
        return self._all, ""

    @property
    def _limit_word(self) -> str:
        """What a floor of time makes of it."""
        name = self._objective_text.partition("(")[0]
        if name == "throughput":
            return "at most "
        times = ("latency", "ttft", "tpot", "request_time", "request_cost", "compute_time", "memory_time")
        return "at least " if name in times or name.startswith("cost_per") else ""

    @property
    def _tends(self) -> str:
        solution = self.solution
        tends, name = solution.tends, solution.unknown.name
        assert tends is not None
        verb = "rising" if solution.asked.question.maximize else "falling"
        if tends.towards is None:
            grows = f"{self._objective_text} keeps {verb} with {name}"
        else:
            towards = self._figure(Edge(tends.towards, True))
            grows = f"{self._objective_text} keeps {verb} as {name} nears {towards}"
        if tends.limit is None:
            return f"{grows}, without end"
        return f"{grows}, towards {self._objective(tends.limit)}, which no value reaches"

    @property
    def _all(self) -> str:
        solution = self.solution
        if solution.cases:
            return " or ".join(self._case_said(case) for case in solution.cases[:4])
        if solution.between:
            return self._said(solution.values.intervals[0])
        return self._short(solution.values)

    def _short(self, values: Values) -> str:
        """A set on one line."""
        name, intervals, domain = self.solution.unknown.name, values.intervals, self.solution.domain
        if not intervals:
            return "none"
        if domain is not None and values == domain.values and (len(intervals) > 1 or intervals[0].high is None):
            tried = self.solution.tried
            which = f": {self._listed(values)}" if tried is not None else self._from(intervals[0])
            return f"every {name}{which}"
        if domain is not None and values == domain.values and len(intervals) == 1 and intervals[0].high is not None:
            return f"every {name}{self._from(intervals[0])} up to {self._figure(intervals[0].high)}"
        if all(i.high is not None and i.low.value == i.high.value for i in intervals):
            return f"{name} = {self._listed(values)}"
        return " or ".join(self._said(interval) for interval in intervals[:4]) + (" …" if len(intervals) > 4 else "")

    def _listed(self, values: Values) -> str:
        shown = [self._figure(i.low) for i in values.intervals]
        return ", ".join(shown[:_MOST_SHOWN]) + (" …" if len(shown) > _MOST_SHOWN else "")

    def _from(self, interval: Interval) -> str:
        low = interval.low.value
        return f" from {self._figure(interval.low)} on" if self.solution.unknown.whole and low > 1 else ""

    def _said(self, interval: Interval) -> str:
        name, (low, high) = self.solution.unknown.name, (interval.low, interval.high)
        if high is not None and low.value == high.value:
            return f"{name} = {self._figure(low)}"
        least = 1 if self.solution.unknown.whole else 0
        above = "" if low.value <= least else f"{self._figure(low)} {'≤' if low.closed else '<'} "
        if high is None:
            return f"{name} {'≥' if low.closed else '>'} {self._figure(low)}"
        return f"{above}{name} {'≤' if high.closed else '<'} {self._figure(high)}"

    def _case_said(self, case: Case) -> str:
        name = self.solution.unknown.name
        if case.low is not None and case.low == case.high:
            parts = [f"{name} = {self._bound(case.low)}"]
        else:
            parts = [] if case.low is None else [f"{name} {'≥' if case.low.closed else '>'} {self._bound(case.low)}"]
            parts += (
                [] if case.high is None else [f"{name} {'≤' if case.high.closed else '<'} {self._bound(case.high)}"]
            )
        said = " and ".join(parts) or f"every {name}"
        return said if case.condition == True else f"{said} where {self._condition(case.condition)}"  # noqa: E712

    def _condition(self, condition: Boolean) -> str:
        """A bound on one symbol as a decimal figure."""
        if isinstance(condition, Relational) and is_number(condition.rhs) and not condition.rhs.is_Integer:
            shown = self._text(condition.func(condition.lhs, symbol("figure"), evaluate=False))
            return shown.replace("figure", decimal(_fraction(condition.rhs), 2))
        return self._text(condition)

    def _bound(self, bound: Bound) -> str:
        return self._text(bound.expr * rational(self.solution.unknown.scale))

    def _exactly(self, interval: Interval) -> str:
        """The ends before they were rounded, by a formula in figures where it is a quotient of two."""
        edges = [interval.low] if interval.high is None else [interval.low, interval.high]
        found = []
        for edge in edges[:1] if interval.high is not None and interval.low.value == interval.high.value else edges:
            expr = edge.expr
            if not self.solution.unknown.whole:
                found += self._exact_figure(edge)
                continue
            if expr is None or expr == rational(edge.value):
                continue
            binding = next((b for b in (*self.solution.binding, *self.solution.ends) if b.at == edge.value), None)
            formula = self._quotient(binding) if binding is not None else ""
            exact = decimal(figure(expr, {}), 4)
            found.append(f"{formula}{exact}" if formula else f"{exact} before it is rounded")
        return ", ".join(found) if self.solution.unknown.whole or not found else f"exactly {' and '.join(found)}"

    def _exact_figure(self, edge: Edge) -> list[str]:
        """A figure in all its digits, or as a fraction or root, where it is shown rounded and not too long."""
        if edge.expr is None:
            return []
        unit = self.solution.unknown.unit
        exact = f"{self._text(edge.expr * rational(self.solution.unknown.scale))} {unit}".rstrip()
        return [exact] if exact != self._figure(edge) and len(exact) <= _MOST_DIGITS else []

    def _quotient(self, binding: Binding) -> str:
        """`(20 ms − 4.12 ms) / 0.2753 ms = `: the linear part that fails just beyond an end, solved for its end."""
        x, condition = self.solution.unknown.symbol, binding.condition
        left, right = binding.sides_beyond

        def unit(value: Fraction) -> str:
            return in_unit(value, condition.dimension)

        if left is None or right is None:
            return ""
        for part in condition.parts:
            try:
                poly = Poly(part.expr, x)
            except PolynomialError:
                continue
            if poly.degree() != 1 or not all(is_number(c) for c in poly.all_coeffs()):
                continue
            if comparable(figure(part.expr, {x: binding.beyond})) != comparable(left) - comparable(right):
                continue
            slope, constant = (_fraction(c) for c in poly.all_coeffs())
            fixed = next(
                (_fraction(side) for side in (condition.right, condition.left) if is_number(side)), Fraction(0)
            )
            if fixed == 0:
                return f"{unit(abs(constant))} / {unit(abs(slope))} = "
            rest = fixed - abs(constant)
            top = unit(fixed)
            if rest:
                top = f"({top} {'−' if rest > 0 else '+'} {unit(abs(rest))})"
            return f"{top} / {unit(abs(slope))} = "
        return ""

    def _text(self, expr: Expr) -> str:
        return text(expr, order(self.compiled))

    def _figure(self, edge: Edge) -> str:
        unknown = self.solution.unknown
        value = edge.value * unknown.scale
        if unknown.unit in ("B", "B/s", "FLOP/s"):
            return scaled(value, unknown.unit)
        whole = unknown.whole and value.denominator == 1
        shown = plain(value) if whole or value.denominator < 1000 else significant(as_float(value), 6)
        return f"{shown} {unknown.unit}".rstrip()

    def _objective(self, value: Figure | None) -> str:
        objective = self.solution.asked.objective
        if value is None or objective is None:
            return ""
        shown = in_unit(value, objective.dimension, 6)
        return shown.replace("/s", f"{self._tokens}/s") if objective.text.startswith("throughput") else shown

    @property
    def _tokens(self) -> str:
        return " tokens" if self.quantities.table.dataflow.has_tokens else " sequences"

    # --- why

    @property
    def why(self) -> list[str]:
        """What binds, what conflicts, what divisibility leaves."""
        solution = self.solution
        said: list[str] = []
        if solution.status == "unsatisfiable":
            said += self._conflict
        elif solution.between:
            said += self._around
        else:
            said += self._bindings
            if self._objective_text and solution.best is not None and not solution.binding:
                said.append("No condition binds: " + self._inside)
        if solution.cases and solution.unknown.whole:
            said.append("Bounds are rounded inwards, to whole numbers.")
        said += self._needs
        said += self._beyond_memory
        said += self._left
        return said

    @property
    def _beyond_memory(self) -> list[str]:
        """How many fit, where memory is not among the conditions and the answer is more."""
        best, device = self.solution.best, self.quantities.device
        if best is None or device is None or self.solution.unknown.symbol != batch_size:
            return []
        fit = self.quantities.fit
        try:
            largest = fit.largest_at(self.point)
        except (Open, Unsolvable):
            return []
        if largest is None or largest >= best.value:
            return []
        fits = f"only {largest:,} fit" if largest else "not even one fits"
        return [f"Memory is not among the conditions: {fits} in {with_prefix(as_figure(fit.capacity), 'B')}."]

    @property
    def _around(self) -> list[str]:
        """An equation is met between two whole numbers."""
        value = self.solution.values.intervals[0].low.value
        condition = next(c for c in self.solution.conditions if any(part.relation == "==" for part in c.parts))
        sides = [
            f"{self._sides(condition, condition.sides(self.solution.unknown.symbol, Fraction(at)))} at {at:,}"
            for at in (floor(value), floor(value) + 1)
        ]
        return [f"No whole number makes both sides equal: {', '.join(sides)}."]

    @property
    def _bindings(self) -> list[str]:
        found = [self._binds(binding) for binding in self.solution.binding]
        if len(self.solution.values.intervals) <= 2 and not self._objective_text:
            found += [self._binds(binding) for binding in self.solution.ends]
        decode = self.quantities.table.dataflow.phase == "decode"
        if self.solution.unknown.symbol == new_tokens and decode and self.solution.best is not None:
            value = self.solution.best.value
            if value.denominator == 1 and value > 1:
                more = f"{int(value) - 1:,} more: drafts, or a piece of a prefill"
                found.append(f"That is the token that decode makes anyway and {more}.")
        return list(dict.fromkeys(found))

    def _binds(self, binding: Binding) -> str:
        condition = binding.condition
        if not self.solution.unknown.whole:
            return f"`{condition.text}` binds: both sides are equal there."
        at, beyond = (self._figure(Edge(value, True)) for value in (binding.at, binding.beyond))
        here, there = self._sides(condition, binding.sides), self._sides(condition, binding.sides_beyond)
        return f"`{condition.text}` binds: {here} at {at}, {there} at {beyond}."

    def _sides(self, condition: Condition, sides: tuple[Figure | None, Figure | None]) -> str:
        """The side that is no figure given, or both, with digits enough to tell them apart."""
        left, right = sides
        if left is None or right is None:
            return "no crossover" if condition.crossing is not None else "no figure"
        shown = told_apart(left, right, condition.dimension)
        if is_number(condition.right):
            return shown[0]
        return shown[1] if is_number(condition.left) else f"{shown[0]} against {shown[1]}"

    @property
    def _inside(self) -> str:
        best = self.solution.best
        assert best is not None
        at = f"{self.solution.unknown.name} = {self._figure(Edge(best.value, True))}"
        if self.solution.same_beyond:
            return f"beyond {at} {self._objective_text} stays the same."
        return f"{self._objective_text} is best at {at} of all values."

    @property
    def _conflict(self) -> list[str]:
        solution, name = self.solution, self.solution.unknown.name
        texts = [condition.text for condition in solution.conflict]
        if solution.cases or not texts:
            return [f"No value of {name} keeps the model whole."]
        if len(texts) > 1:
            return [f"{listed(texts, 9)} cannot hold together; without any one of them there are values."]
        nearest, tends = solution.nearest, solution.tends
        if tends is not None and tends.limit is not None:
            condition = solution.conflict[0]
            wanted = next(side for side in (condition.left, condition.right) if is_number(side))
            limit, _ = told_apart(tends.limit, as_figure(wanted), condition.dimension)
            return [f"`{texts[0]}` holds for no {name} at all: as {name} grows, it tends to {limit} and stops there."]
        if nearest is None:
            return [f"`{texts[0]}` holds for no {name} at all."]
        here = self._sides(nearest.condition, nearest.sides)
        at = self._figure(Edge(nearest.at, True))
        return [f"`{texts[0]}` holds for no {name} at all; nearest to it is {here}, at {name} = {at}."]

    @property
    def _needs(self) -> list[str]:
        """What has to divide evenly."""
        solution, domain = self.solution, self.solution.domain
        if domain is None:
            return []
        if not domain.needs:
            ends = {edge.value for i in domain.values.intervals for edge in (i.low, i.high) if edge is not None} - {1}
            met = {edge.value for i in solution.values.intervals for edge in (i.low, i.high) if edge is not None}
            return [f"{listed(domain.limits[:3], 3)} must hold."] if domain.limits and ends & met else []
        said = f"{listed(domain.needs[:3], 3)} must be whole"
        if domain.divisors is None:
            steps = (
                f"in steps of {domain.step:,} from {domain.offset:,} on"
                if domain.offset
                else f"multiples of {domain.step:,}"
            )
            return [f"{said}: {steps}."]
        tried = solution.tried or ()
        if solution.values == domain.values:
            return [f"{said}, which leaves these."]
        shown = ", ".join(f"{int(v):,}" for v in tried[:_MOST_SHOWN]) + (" …" if len(tried) > _MOST_SHOWN else "")
        return [f"{said}, which leaves {shown}."]

    @property
    def _left(self) -> list[str]:
        solution = self.solution
        said = []
        if not solution.left.empty:
            first, name = solution.left.intervals[0].low, solution.unknown.name
            said.append(f"The time given by --budget ended: {name} from {self._figure(first)} on was not looked at.")
        if solution.unfinished:
            said.append(f"Not finished: {solution.unfinished}.")
        return said


def _fraction(expr: Expr) -> Fraction:
    return Fraction(int(expr.p), int(expr.q))
