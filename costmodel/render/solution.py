"""`solve`: for which values the conditions hold, which is best, and which condition binds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from rich.text import Text
from sympy import Expr, Symbol

from costmodel.algebra import text
from costmodel.compile import Compiled
from costmodel.figures import Figure, as_float, as_json, figure
from costmodel.names import listed
from costmodel.quantities import Quantities
from costmodel.quantity_names import QUANTITIES
from costmodel.render.answers import header, shown_expr
from costmodel.render.latex import latex
from costmodel.render.numbers import decimal, milliseconds, plain, scaled, significant
from costmodel.render.page import Page
from costmodel.render.words import conventions, device_name, order, symbols, workload
from costmodel.solve.sets import Edge, Interval
from costmodel.solve_for import Solution
from costmodel.symbols import is_number, rational
from costmodel.units import BYTES, FLOP, SECONDS

_STYLES = {"solved": "green", "unbounded": "yellow", "incomplete": "yellow", "unsatisfiable": "red"}


@dataclass(frozen=True)
class SolutionAnswer:
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
        return found | {
            "for": solution.unknown.name,
            "unit": solution.unknown.unit or None,
            "conditions": list(solution.conditions),
            "status": solution.status,
            "solution": [self._interval(interval) for interval in solution.values.intervals],
            "best": {
                "value": self._number(best.value),
                "expr": shown_expr(best.expr),
                "latex": None if best.expr is None else latex(best.expr, symbols(self.compiled, self.names)),
                "condition": str(best.condition),
                "objective": as_json(best.objective),
            }
            if best is not None
            else None,
            "binding": list(solution.binding),
            "conflict": list(solution.conflict),
            "left": solution.left,
            "why": " ".join(self.why),
        }

    def _interval(self, interval: Interval) -> dict[str, Any]:
        low, high = interval.low, interval.high
        symbolic = self._symbolic
        return {
            "min": None if symbolic and low.expr is not None else self._number(low.value),
            "max": None if high is None or symbolic else self._number(high.value),
            "min_closed": low.closed,
            "max_closed": high is not None and high.closed,
            "min_expr": shown_expr(low.expr),
            "max_expr": shown_expr(high.expr) if high is not None else None,
        }

    def _number(self, value: Fraction | None) -> int | float | None:
        return None if value is None else as_json(value * self.solution.unknown.scale)

    @property
    def _symbolic(self) -> bool:
        best = self.solution.best
        return best is not None and best.value is None

    # --- for people

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
        line.append(f" {rest}", style="bold")
        page.text(line, indent=2)
        if self.why:
            page.heading("Why")
            page.text(" ".join(self.why), indent=2)
        rows = [(self._said(interval), self._closed(interval)) for interval in solution.values.intervals]
        if solution.values.intervals:
            page.heading("All values")
            for said, closed in rows[:20]:
                page.spread(said, closed)
            if len(rows) > 20:
                page.text(f"and {len(rows) - 20:,} more stretches; --json has them", indent=2)
        priced = any("cost" in said or "price" in said for said in (*solution.conditions, solution.objective))
        page.counted(conventions(self.quantities.table, self.quantities, price=priced))
        return page

    @property
    def _verdict(self) -> tuple[str, str]:
        solution, name = self.solution, self.solution.unknown.name
        best = solution.best
        match solution.status:
            case "unsatisfiable":
                return "NONE", f"no value of {name} does."
            case "unbounded":
                tends = f"; it tends to {self._objective(solution.limit)}" if solution.limit is not None else ""
                return "UNBOUNDED", f"{solution.objective} improves with {name} without end{tends}."
            case "incomplete":
                return "INCOMPLETE", f"{self._all}; {solution.left}."
        if best is not None and best.value is not None and solution.objective:
            value = self._figure(Edge(best.value, True))
            return f"{name} = {value}", f"is best: {solution.objective} {self._objective(best.objective)}."
        return self._all, ""

    @property
    def _all(self) -> str:
        name, intervals = self.solution.unknown.name, self.solution.values.intervals
        points = [i.low for i in intervals if i.high is not None and i.low.value == i.high.value]
        if len(points) == len(intervals) and not self._symbolic:
            shown = [self._figure(p) for p in points]
            return f"{name} = {', '.join(shown[:12])}" + (" …" if len(shown) > 12 else "")
        return " or ".join(self._said(interval) for interval in intervals[:4]) + (" …" if len(intervals) > 4 else "")

    def _said(self, interval: Interval) -> str:
        name, (low, high) = self.solution.unknown.name, (interval.low, interval.high)
        if self._symbolic:
            parts = [f"{name} ≥ {self._text(low.expr)}"] if low.expr is not None else []
            parts += [f"{name} ≤ {self._text(high.expr)}"] if high is not None and high.expr is not None else []
            return " and ".join(parts)
        if high is not None and low.value == high.value:
            return f"{name} = {self._figure(low)}"
        least = 1 if self.solution.unknown.whole else 0
        above = "" if low.value <= least else f"{self._figure(low)} {'≤' if low.closed else '<'} "
        if high is None:
            return f"{name} {'≥' if low.closed else '>'} {self._figure(low)}"
        return f"{above}{name} {'≤' if high.closed else '<'} {self._figure(high)}"

    def _closed(self, interval: Interval) -> str:
        """The closed forms of its ends, where they say more than the figures."""
        if self._symbolic or interval.high is None:
            edges = [interval.low]
        else:
            edges = [interval.low, interval.high] if interval.low.value != interval.high.value else [interval.low]
        return "" if self._symbolic else ", ".join(filter(None, map(self._exactly, edges)))

    def _exactly(self, edge: Edge) -> str:
        """An end's closed form, with its figure where the end was rounded."""
        expr, scale = edge.expr, rational(self.solution.unknown.scale)
        if expr is None or expr.is_Integer:
            return ""
        exact = expr * scale
        shown = self._text(exact) if not is_number(exact) or exact.q < 10**9 else ""
        if not shown:
            return ""
        return f"{shown} = {decimal(figure(expr, {}), 4)}" if self.solution.unknown.whole else shown

    def _text(self, expr: Expr | None) -> str:
        return "" if expr is None else text(expr, order(self.compiled))

    def _figure(self, edge: Edge) -> str:
        unknown = self.solution.unknown
        value = edge.value * unknown.scale
        if unknown.unit in ("B", "B/s", "FLOP/s"):
            return scaled(value, unknown.unit)
        shown = plain(value) if unknown.whole or value.denominator < 1000 else significant(as_float(value), 6)
        return f"{shown} {unknown.unit}".rstrip()

    def _objective(self, value: Figure | None) -> str:
        if value is None:
            return ""
        name = self.solution.objective.partition("(")[0]
        dimension = QUANTITIES[name].dimension if name in QUANTITIES else None
        if dimension == SECONDS:
            return milliseconds(value)
        if dimension == BYTES:
            return scaled(value, "B")
        if dimension == FLOP:
            return scaled(value, "FLOP")
        if name == "throughput":
            return f"{significant(as_float(value), 6)} tokens/s"
        return significant(as_float(value), 6)

    @property
    def why(self) -> list[str]:
        """What binds, what conflicts, what divisibility leaves."""
        solution = self.solution
        name, said = solution.unknown.name, []
        if solution.status == "unsatisfiable":
            conflict = solution.conflict
            if len(conflict) == 1:
                said.append(f"`{conflict[0]}` alone holds for no {name}.")
            elif conflict:
                said.append(f"{listed(conflict, 9)} cannot hold together; without any one of them there are values.")
            else:
                said.append(f"No value of {name} keeps the model whole.")
            return said
        if self._symbolic:
            assert solution.best is not None
            condition = solution.best.condition
            if condition != True:  # noqa: E712
                said.append(f"Where {self._text(condition)}.")
            return said
        if solution.binding:
            verb = "binds" if len(solution.binding) == 1 else "bind"
            said.append(f"{listed(solution.binding, 9)} {verb}: just beyond it fails.")
        elif solution.status == "solved" and solution.objective:
            said.append("No condition binds: the best value lies inside.")
        if solution.step > 1:
            said.append(f"{name} is a multiple of {solution.step:,}, or a dim that follows from it is no whole number.")
        whole = [i for i in solution.values.intervals if i.low.value.denominator == 1]
        if solution.unknown.whole and solution.values.intervals and not whole:
            said.append("No whole number makes both sides equal; they change sides between its neighbours.")
        if solution.left:
            said.append(f"Left out: {solution.left}.")
        return said
