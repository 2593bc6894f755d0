"""`crossover`: verdict, why, numbers, what to try, what was counted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import log2
from typing import Any

from rich.text import Text
from sympy import Expr, LambertW, cancel

from costmodel.algebra import text
from costmodel.crossover import Point
from costmodel.figures import Figure, Open, as_figure, as_float, as_json
from costmodel.fitting import Change, changes_to_fit
from costmodel.names import prose
from costmodel.render.answers import formula, header, shown_expr, valued, workload_dims
from costmodel.render.numbers import decimal, milliseconds, plain, rate, scaled, significant, with_prefix
from costmodel.render.page import STATUS_STYLES, Page
from costmodel.render.prose import Prose
from costmodel.render.words import conventions, device_name, workload
from costmodel.solve.budget import Unsolvable
from costmodel.solve.exppoly import Root
from costmodel.solve.memory import StepwiseFit, linear
from costmodel.suggest import Suggestion
from costmodel.symbols import seq_len

_LONGEST = 400


@dataclass(frozen=True, eq=False)
class CrossoverAnswer(Prose):
    """The answer with what to try, ready to be shown."""

    def as_json(self) -> dict[str, Any]:
        answer, table, names = self.answer, self.table, self.symbols
        quantities = answer.quantities
        assert quantities.device is not None
        found = header(self.compiled.name, table, quantities.device.name, quantities.timing)
        found["dims"] = workload_dims(table, answer.point)
        found["flops"] = formula(table.flops, names)
        found["bytes"] = formula(table.bytes, names)
        critical = answer.critical_seq_len
        closed = valued(answer.batch_size.value, answer.batch_size.expr, names)
        if closed["expr"] is None:
            closed["latex"] = formula(answer.equation, names)["latex"]
        roots = answer.solved.roots if answer.solved is not None else ()
        crossing: dict[str, Any] = {
            "status": answer.status,
            "batch_size": closed,
            "roots": [as_json(root.value) for root in roots],
            "brackets": [[as_json(root.low), as_json(root.high)] for root in roots],
            "feasible_when": formula(answer.feasible_when, names),
            "critical_seq_len": valued(critical.value, critical.expr, names),
            "critical_seq_lens": [as_json(edge.value) for edge in answer.feasible.edges] if answer.feasible else [],
            "independent_of": list(answer.independent_of),
        }
        if answer.solved is None:
            crossing["cases"] = [
                {
                    "condition": shown_expr(case.condition),
                    **formula(case.form.closed, names),
                    "feasible_when": formula(case.feasible.condition, names),
                }
                for case in answer.cases
            ]
        lower = answer.form.lower if answer.form is not None else None
        if lower is not None and len(roots) > 1:
            crossing["lower_batch_size"] = valued(roots[0].value, lower, names)
        found["crossover"] = crossing
        fit = answer.max_batch_size
        found["memory_fit"] = {
            "max_batch_size": valued(fit.value, fit.expr, names),
            "margin_bytes": as_json(answer.margin),
            "margins": [{"batch_size": batch, "bytes": as_json(answer.margin_at(batch))} for batch in self._margins],
            "binds": answer.binds,
            "changes": [{"option": c.option, "what": c.what, "bound": as_json(c.bound)} for c in self._to_fit],
        }
        found["optimal_batch_size"] = {"value": answer.optimal_batch_size, "limited_by": answer.limited_by}
        ceiling, half = answer.ceiling, answer.half_batch_size
        found["ceiling"] = {
            "throughput": valued(ceiling.value, ceiling.expr, names),
            "half_batch_size": valued(half.value, half.expr, names),
        }
        found["points"] = [_point_json(point) for point, _ in self.points]
        found["try"] = [
            {
                "option": s.option,
                "batch_size": s.batch_size,
                "throughput": as_json(s.throughput),
                "gain": as_json(s.gain),
                "status": s.status,
            }
            for s in self.suggestions
        ]
        found["why"] = " ".join(self.why)
        return found

    @cached_property
    def points(self) -> list[tuple[Point, str]]:
        """Batch sizes worth seeing, each with what is to be said of it."""
        answer = self.answer
        if answer.status is None or answer.solved is None:
            return []
        best, largest = answer.optimal_batch_size, answer.max_batch_size_value
        said: dict[int, str] = {1: ""}
        half = answer.half_batch_size.value
        status = answer.status
        if status == "never" and half is not None and best is not None and 1 < half < best:
            said[max(1, round(half))] = "half the ceiling: shared and own bytes weigh the same"
        end = best or 1
        start = max(said)
        if end > 4 * start:
            said.setdefault(1 << round((log2(start) + log2(end)) / 2), "")
        if status == "crosses" and best is not None:
            if best > 1:
                said[best - 1] = said.get(best - 1) or "the last memory-bound batch"
            said[best] = "optimum: the smallest compute-bound batch"
            if largest is not None and largest > best:
                said[largest] = "the largest that fits"
        elif best is not None:
            words = {
                "never": "optimum: the largest that fits",
                "beyond_memory": "optimum: the largest that fits",
                "leaves": "optimum: the largest that fits",
                "always": "optimum: compute-bound from here on",
            }
            said[best] = words.get(status or "", "")
        crossing = answer.solved.crossing
        if status in ("beyond_memory", "does_not_fit") and crossing is not None and crossing.upward:
            first = max(1, crossing.ceiling)
            needs = scaled(answer.fit.bytes_at(first, answer.point), "B")
            said[first] = f"the smallest compute-bound batch; needs {needs}"
        return [(answer.at_batch(batch), said[batch]) for batch in sorted(said)]

    def page(self, width: int) -> Page:
        page = Page(width)
        answer = self.answer
        device = answer.quantities.device
        assert device is not None
        page.text("")
        page.text(f"{self.compiled.title} on {device_name(device)}, {workload(self.table, answer.point)}")
        page.space()
        word, rest = self.verdict
        line = Text()
        style = STATUS_STYLES.get(answer.status or "", "")
        line.append(word, style=f"bold {style}".strip())
        line.append((": " if word in ("BEYOND MEMORY", "DOES NOT FIT") else " ") + rest, style="bold")
        page.text(line, indent=2)
        if self.why:
            page.heading("Why")
            page.text(" ".join(self.why), indent=2)
        self._numbers(page)
        self._table(page)
        self._cases(page)
        self._fitting(page)
        self._try(page)
        page.counted(conventions(self.table, answer.quantities, fits=True))
        return page

    def _numbers(self, page: Page) -> None:
        context = self.answer.point.get(seq_len)
        page.heading("Numbers", f"at {plain(context)} tokens" if context is not None else "")
        rows = list(self.number_rows())
        names = max(len(name) for name, _, _ in rows)
        for name, closed, value in rows:
            if page.wide:
                page.spread(closed, value, hang=names + 2, name=name.ljust(names))
            else:
                page.spread(name, value)
                page.spread(closed, "", indent=6)

    def number_rows(self) -> Iterator[tuple[str, str, str]]:
        """What a number is called, its closed form, and its figure; empty where there is none."""
        answer = self.answer
        yield "FLOPs", text(self.table.flops, self.order), self._by_batch(self.table.flops, "FLOP")
        yield "bytes", text(self.table.bytes, self.order), self._by_batch(self.table.bytes, "B")
        if answer.solved is not None or answer.form is not None:
            yield "crossover", *self._crossover_row()
        feasible = answer.feasible
        if feasible is not None:
            values = [edge.value for edge in feasible.edges]
            known = [decimal(value, 2) for value in values if value is not None]
            shown = f"{prose(known)} tokens" if known and len(known) == len(values) else ""
            words = text(feasible.condition, self.order)
            always, never = (
                ("at every context", "at no context") if seq_len in self._context_symbols else ("always", "never")
            )
            yield self._exists, {"always": always, "never": never}.get(words, words), shown
        if self._experts is not None:
            best = answer.optimal_batch_size
            at = self._experts_at(best) if best is not None and answer.solved is not None else None
            shown = f"{decimal(at, 2)} at batch {best:,}" if at is not None else ""
            yield "experts read", f"{text(self._experts[1], self.order)}, a layer", shown
        yield from self._fit_rows()

    @property
    def _exists(self) -> str:
        """What h > 0 means: that a crossover exists, or, beside work that does not grow, that the pass stays there."""
        return "stays when" if self.answer.fixed_work else "exists when"

    def _crossover_row(self) -> tuple[str, str]:
        answer = self.answer
        value = answer.batch_size.value
        shown = decimal(value, 4) if value is not None else ""
        expr, solved = answer.batch_size.expr, answer.solved
        closed = text(expr, self.order) if expr is not None else ""
        if expr is not None and (not expr.has(LambertW) or solved is None) and len(closed) <= _LONGEST:
            return closed, shown
        if solved is None:
            return ("not solved" if answer.unsolvable is not None else "longer than a page; --json has it"), shown
        roots = solved.roots
        if not roots:
            return "no positive root", shown
        how = "by Lambert's W" if expr is not None else "no closed form (batch_size stands in several exponents)"
        if len(roots) == 1:
            return f"{how}; one positive root, proved unique in {_between(roots[0])}", shown
        between: dict[tuple[bool | None, ...], str] = {
            (False, True): "; memory-bound between them",
            (True, False): "; compute-bound between them",
        }
        how += f"; {len(roots)} positive roots, proved to be all{between.get(tuple(r.upward for r in roots), '')}"
        return how, prose([decimal(root.value, 4) for root in roots])

    def _fit_rows(self) -> Iterator[tuple[str, str, str]]:
        answer, fit = self.answer, self.answer.fit
        capacity, names = as_figure(fit.capacity), self.order
        try:
            exact = fit.exact_at(answer.point)
        except (Open, Unsolvable):
            exact = None
        largest = max(0, int(exact // 1)) if exact is not None else None
        shown = f"{largest:,} ({decimal(exact, 2)})" if exact is not None and largest is not None else ""
        room = (
            f"({with_prefix(capacity, 'B')} − {scaled(as_figure(fit.weights), 'B')})" if fit.weights.is_number else ""
        )
        if isinstance(fit, StepwiseFit):
            yield "fits", "memory grows by steps; found by trying" if answer.unsolvable is None else "not solved", shown
        elif fit.ratio is None:
            yield "fits", "any batch: nothing grows with it" if largest is None else "no batch", ""
        elif room and len(fit.peaks) == 1:
            piece = text(fit.sequence + fit.peaks[0][1], names)
            single = re.match(r"[\d,]+( ·|$)", piece) and " + " not in piece
            piece = re.sub(r"^([\d,]+)", r"\1 B", piece) if single else f"({piece}) B"
            piece = f"({piece})" if "·" in piece and single else piece
            yield "fits", f"batch_size ≤ {room} / {piece}", shown
        else:
            yield "fits", f"batch_size ≤ {text(fit.ratio, names)}", shown
        yield from self._margin_rows()
        reach = self._crossing_fits()
        if reach is not None:
            closed = text(reach[0], names)
            bound = f"seq_len ≤ {closed}" if len(closed) <= 24 else "the crossover itself, at contexts up to"
            yield "crossing fits", bound, f"{decimal(reach[1], 2)} tokens"

    @property
    def _margins(self) -> list[int]:
        """The batches whose margin is worth knowing: the one to run, the last that fits, the first that does not."""
        largest = self.answer.max_batch_size.value
        edge = [int(largest), int(largest) + 1] if largest is not None else []
        return sorted({b for b in (self.answer.optimal_batch_size, *edge) if b})

    def _margin_rows(self) -> Iterator[tuple[str, str, str]]:
        """What is left over at the batch to run, and what is missing for one more, or for one at all."""
        answer, best = self.answer, self.answer.optimal_batch_size
        left = answer.margin_at(best) if best is not None else None
        if best is not None and left is not None:
            yield "left over", f"at batch {best:,}", scaled(left, "B")
        if answer.status not in ("crosses", "always") and answer.binds is not None:
            first = int(answer.max_batch_size.value or 0) + 1
            lacking = answer.margin_at(first)
            if lacking is not None:
                yield "missing", f"for batch {first:,}, by {_BINDING[answer.binds]}", scaled(-lacking, "B")

    def _crossing_fits(self) -> tuple[Expr, Figure] | None:
        """The longest context at which the batch at the crossover still fits."""
        answer = self.answer
        if answer.status not in ("crosses", "beyond_memory") or answer.fit.ratio is None:
            return None
        closed = answer.batch_size.expr
        if closed is None or len(answer.cases) != 1 or answer.form is None or answer.form.groups:
            return None
        difference = cancel(closed - answer.fit.ratio).as_numer_denom()[0]
        parts = linear(difference, seq_len)
        if parts is None or parts[1].free_symbols or parts[0].free_symbols or parts[1] == 0:
            return None
        edge = -parts[0] / parts[1]
        return (edge, as_figure(edge)) if edge > 0 else None

    def _by_batch(self, expr: Expr, unit: str) -> str:
        """A cost at this context, batch_size left as a symbol: `16.06 GB + 1.074 GB · batch_size`."""
        fixed, slope = self._fixed(expr), self._slope(expr)
        if fixed is None or slope is None:
            return ""
        parts = [scaled(fixed, unit)] if fixed else []
        if slope:
            parts.append(f"{scaled(slope, unit)} · batch_size")
        return " + ".join(parts)

    def _table(self, page: Page) -> None:
        if not self.points:
            return
        page.space()
        header, *rows = self.point_rows()
        styles = ["bold" if row[-1].startswith("optimum") else "" for row in rows]
        page.table(rows, "rrrrrl", header=header, expand=5, styles=styles)

    def point_rows(self) -> list[list[str]]:
        """Batch sizes worth seeing, behind a header."""
        experts = self._experts is not None
        rows = [["batch", "compute", "memory", "experts" if experts else "FLOP/B", f"{self._unit}/s", ""]]
        for point, said in self.points:
            middle = (
                decimal(self._experts_at(point.batch_size) or 0, 2)
                if experts
                else (decimal(point.intensity, 2) if point.intensity is not None else "–")
            )
            rows.append(
                [
                    f"{point.batch_size:,}",
                    milliseconds(point.compute_time),
                    milliseconds(point.memory_time),
                    middle,
                    rate(point.throughput),
                    said,
                ]
            )
        ceiling, limit = self.answer.ceiling.value, self.answer.intensity_limit
        if ceiling is not None:
            words = self._ceiling_words()
            last = "" if experts else decimal(limit, 2) if limit is not None else "–"
            rows.append(["∞", "", "", last, rate(ceiling), words])
        return rows

    def _ceiling_words(self) -> str:
        quantities = self.answer.quantities
        if quantities.timing != "overlap":
            return "ceiling"
        if self.answer.status in ("never", "leaves"):
            return "ceiling: bandwidth / bytes of one sequence"
        solved = self.answer.solved
        bound = solved is not None and bool(solved.compute_bound)
        per = "one token" if self._unit == "tokens" else "one sequence"
        return f"ceiling: peak / FLOPs of {per}" if bound else "ceiling: bandwidth / bytes of one sequence"

    def _cases(self, page: Page) -> None:
        answer = self.answer
        if answer.solved is not None or not answer.cases:
            return
        if len(answer.cases) == 1 and answer.form is not None:
            return
        by_context = all(case.condition.free_symbols <= {seq_len} for case in answer.cases)
        page.heading("By context" if by_context else "By case")
        rows: list[tuple[str, str]] = []
        for case in answer.cases:
            closed, when = case.form.closed, text(case.feasible.condition, self.order)
            said = f"b* = {text(closed, self.order)}" if closed is not None else "no closed form"
            tail = {"always": "", "never": ", never positive"}.get(when, "" if by_context else f", for {when}")
            rows.append((text(case.condition, self.order), said + ("" if self.answer.fixed_work else tail)))
        page.table(rows, "ll", expand=1)

    @cached_property
    def _to_fit(self) -> list[Change]:
        """What makes one sequence fit, where it does not."""
        return changes_to_fit(self.answer.quantities, self.answer.point, 1)

    def _fitting(self, page: Page) -> None:
        changes = [c for c in self._to_fit if not c.option.startswith("--batch-size")]
        if changes:
            page.heading("To fit one sequence")
            page.table([(c.option, c.what) for c in changes], "ll", expand=1)

    def _try(self, page: Page) -> None:
        if not self.suggestions:
            return
        page.space()
        width = max(36, *(len(s.option) for s in self.suggestions))
        (first, *header), *rows = self.try_rows()
        if page.wide:
            rows = [[f"  {option}", *rest] for option, *rest in rows]
            page.table(rows, "lrrrl", header=[first.ljust(width + 2), *header], indent=0, expand=4)
            return
        page.text("Try", style="bold")
        for s in self.suggestions:
            page.text(s.option, indent=2)
            page.text(f"batch {s.batch_size:,}, {rate(s.throughput)} {self._unit}/s; {self._outcome(s)}", indent=6)

    def try_rows(self) -> list[list[str]]:
        """What to try, behind a header: the option, the batch to run then, and what it gives."""
        return [
            ["Try", "batch", f"{self._unit}/s", "", ""],
            *(
                [s.option, f"{s.batch_size:,}", rate(s.throughput), _gain(s.gain), self._outcome(s)]
                for s in self.suggestions
            ),
        ]

    def _outcome(self, s: Suggestion) -> str:
        status, before = s.status, self.answer.status
        if status == "crosses":
            crossing = decimal(s.crossing, 1) if s.crossing is not None else "–"
            same = (
                f": same in {milliseconds(s.latency)}"
                if s.gain is not None and abs(as_float(s.gain) - 1) < 1e-9
                else ""
            )
            return f"crosses at {crossing}{same}"
        again = status == before
        return {
            "never": "still never" if again else "never compute-bound",
            "beyond_memory": "still beyond the memory" if again else "beyond the memory",
            "always": "compute-bound from 1 on",
            "leaves": "still leaves" if again else "leaves",
            "does_not_fit": "does not fit",
        }[status]


_BINDING = {
    "weights": "the weights alone",
    "cache": "the cache",
    "state": "the states",
    "kept": "the values kept",
    "activations": "the activations",
}


def _between(root: Root) -> str:
    """The whole numbers on either side of a root."""
    return f"[{root.ceiling - 1:,}, {root.ceiling:,}]"


def _gain(gain: Figure | None) -> str:
    """`2.00×`; nothing beyond a hundredfold, where there is nothing to compare."""
    if gain is None:
        return ""
    value = as_float(gain)
    return f"{value:.2f}×" if value < 10 else f"{significant(value, 3)}×" if value < 1000 else ""


def _point_json(point: Point) -> dict[str, Any]:
    return {
        "batch_size": point.batch_size,
        "compute_time": as_json(point.compute_time),
        "memory_time": as_json(point.memory_time),
        "intensity": as_json(point.intensity),
        "throughput": as_json(point.throughput),
        "latency": as_json(point.latency),
    }
