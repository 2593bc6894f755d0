"""`evaluate`: every quantity at one point."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from sympy import Expr, Symbol

from costmodel.algebra import text
from costmodel.compile import Compiled
from costmodel.crossover import Crossover, crossover
from costmodel.figures import Figure, Open, as_figure, as_float, as_json, comparable, figure, quotient
from costmodel.fitting import changes_to_fit
from costmodel.quantities import Quantities
from costmodel.quantity_names import PER_STEP, QUANTITIES
from costmodel.render.answers import all_dims, header, shown_expr
from costmodel.render.notebook import Paged
from costmodel.render.numbers import counted, decimal, milliseconds, plain, rate, scaled, significant, with_prefix
from costmodel.render.page import Page
from costmodel.render.words import conventions, device_name, order, workload
from costmodel.symbols import batch_size, output_len
from costmodel.units import BYTES, FLOP, FLOP_PER_BYTE, SECONDS, USD

_PRICED = ("cost_per_million_tokens", "request_cost", "cost_per_million_input_tokens", "cost_per_million_output_tokens")
_UNDER = {"flops": ("matmul_flops", "vector_flops"), "memory": ("weight_memory", "cache_memory", "activation_memory")}
_GROUPS = (
    ("params", "active_params"),
    ("flops", "matmul_flops", "vector_flops", "bytes", "intensity", "ridge"),
    ("memory", "weight_memory", "cache_memory", "activation_memory"),
    ("compute_time", "memory_time", "latency", "throughput", "cost_per_million_tokens"),
    ("crossover", "max_batch_size"),
    ("ttft", "tpot", "request_time", "request_flops", "request_bytes"),
    ("request_cost", "cost_per_million_input_tokens", "cost_per_million_output_tokens", "output_input_ratio"),
    ("expected_tokens",),
)


@dataclass(frozen=True, eq=False)
class Evaluation(Paged):
    """A model's quantities at a point."""

    compiled: Compiled
    quantities: Quantities
    point: Mapping[Symbol, Fraction]

    @cached_property
    def crossover(self) -> Crossover:
        at = {s: v for s, v in self.point.items() if s != batch_size}
        return crossover(self.quantities, at)

    @cached_property
    def exprs(self) -> dict[str, Expr | None]:
        """Closed forms, of the quantities that can be had here."""
        device = self.quantities.device
        asked = {s.name for s in self.point}
        names = [
            name
            for name, q in QUANTITIES.items()
            if (device is not None or not q.device) and (not q.request or asked.intersection(q.request))
        ]
        found: dict[str, Expr | None] = {}
        for name in names:
            if name in _PRICED and device is not None and device.price is None:
                found[name] = None
            elif name == "crossover":
                found[name] = self.crossover.batch_size.expr
            else:
                found[name] = self.quantities.expr(name)
        return found

    @cached_property
    def values(self) -> dict[str, Figure | None]:
        """Figures; None where they depend on a symbol that is free."""
        found: dict[str, Figure | None] = {}
        for name, expr in self.exprs.items():
            if name == "crossover":
                found[name] = self.crossover.batch_size.value
            elif name == "max_batch_size":
                found[name] = self.crossover.max_batch_size.value
            elif QUANTITIES[name].request:
                found[name] = None if expr is None else self.quantities.figure(name, self.point)
            else:
                found[name] = None if expr is None else self._at(expr)
        return found

    def _at(self, expr: Expr) -> Figure | None:
        try:
            return figure(expr, self.point)
        except (Open, ZeroDivisionError):
            return None

    def as_json(self) -> dict[str, Any]:
        table, device = self.quantities.table, self.quantities.device
        timing = self.quantities.timing if device is not None else None
        found = header(self.compiled.name, table, device.name if device else None, timing)
        found["dims"] = all_dims(table, self.point)
        found["quantities"] = {
            name: {"expr": shown_expr(expr), "value": as_json(self.values[name])} for name, expr in self.exprs.items()
        }
        return found

    # --- for people

    def page(self, width: int) -> Page:
        page = Page(width)
        table, device = self.quantities.table, self.quantities.device
        on = f" on {device_name(device)}" if device is not None else ""
        page.text("")
        page.text(f"{self.compiled.title}{on}, {workload(table, self.point, with_batch=True)}")
        page.space()
        page.text(self._verdict(), indent=2, style="bold")
        page.space()
        rows: list[tuple[str, str, str]] = []
        for lines in self._groups():
            rows += [("", "", ""), *lines] if rows else lines
        if page.wide:
            page.table(rows, "lrl", expand=2)
        else:
            self._narrow(page, rows)
        batch = self.point.get(batch_size)
        changes = changes_to_fit(self.quantities, self.point, int(batch)) if batch is not None else []
        if changes:
            page.heading("To fit")
            page.table([(c.option, c.what) for c in changes], "ll", expand=1)
        page.counted(conventions(table, self.quantities, price="cost_per_million_tokens" in self.exprs))
        return page

    def rows(self) -> list[tuple[str, str, str]]:
        """What each quantity is called, its figure, and its closed form or what is to be said of it."""
        return [row for lines in self._groups() for row in lines]

    def _groups(self) -> Iterator[list[tuple[str, str, str]]]:
        """The rows of each group that has any."""
        names = order(self.compiled)
        for group in _GROUPS:
            lines = [self._row(name, names) for name in group if name in self.exprs]
            if lines:
                yield lines

    def _narrow(self, page: Page, rows: list[tuple[str, str, str]]) -> None:
        """The closed forms on lines of their own."""
        for name, value, expr in rows:
            page.table([(name, value)], "lr", expand=0)
            if expr:
                page.text(expr, indent=6, style="dim")

    def _verdict(self) -> str:
        values = self.values
        compute, memory = values.get("compute_time"), values.get("memory_time")
        if compute is None or memory is None or values.get("throughput") is None:
            first, later = values.get("ttft"), values.get("tpot")
            if first is not None:
                then = f", then {milliseconds(later)} a token" if later is not None else ""
                return f"at least {milliseconds(first)} to the first token{then}"
            flops, moved = values["flops"], values["bytes"]
            if flops is not None and moved:
                per = as_float(quotient(flops, moved))
                return f"{scaled(flops, 'FLOP')} and {scaled(moved, 'B')} a pass: {per:.2f} FLOP a byte"
            return f"{as_json(values['params']):,} parameters" if values["params"] is not None else "closed forms"
        throughput, latency = values["throughput"], values["latency"]
        assert throughput is not None and latency is not None
        compute, memory = comparable(compute), comparable(memory)
        slower, faster = ("reading", "computing") if memory > compute else ("computing", "reading")
        bound = "memory-bound" if memory > compute else "compute-bound"
        ratio = as_float(max(compute, memory) / min(compute, memory)) if min(compute, memory) else None
        times = f" ({slower} takes {significant(ratio, 3)} times as long as {faster})" if ratio else ""
        return (
            f"at most {rate(throughput)} {self._unit}/s, at least {milliseconds(latency)} {self._each}, {bound}{times}"
        )

    @property
    def _unit(self) -> str:
        return "tokens" if self.quantities.table.dataflow.has_tokens else "sequences"

    @property
    def _each(self) -> str:
        return "a token" if self.quantities.tokens == 1 and self.quantities.table.dataflow.has_tokens else "a pass"

    def _row(self, name: str, names: Mapping[str, int]) -> tuple[str, str, str]:
        value, expr = self.values[name], self.exprs[name]
        indent = "  " if any(name in under for under in _UNDER.values()) else ""
        return indent + name, shown_value(name, value, self._unit), self._note(name, value, expr, names)

    @property
    def _together(self) -> str:
        batch = self.point.get(batch_size)
        return f", {plain(batch)} requests together" if batch is not None and batch != 1 else ""

    def _request_rate(self, time: Figure | None) -> str:
        """Tokens given a second, over a whole request."""
        batch, given = self.point.get(batch_size), self.point.get(output_len)
        if not time or batch is None or given is None:
            return ""
        return f": at most {rate(quotient(batch * given, time))} output tokens/s" + self._together

    def _note(self, name: str, value: Figure | None, expr: Expr | None, names: Mapping[str, int]) -> str:
        """The closed form, or how the figure follows from the others."""
        device, exprs = self.quantities.device, self.exprs
        if expr is None:
            if name in _PRICED and device is not None and device.price is None:
                return "the device states no price"
            return (
                "no closed form" if value is not None else "nothing limits it" if name == "max_batch_size" else "open"
            )
        follows = {
            "intensity": "flops / bytes",
            "ridge": f"peak / bandwidth = {text(expr)}",
            "latency": {
                "overlap": "max(compute_time, memory_time)",
                "serial": "compute_time + memory_time",
                "per_op": "sum over operations of the longer time",
            }[self.quantities.timing],
            "ttft": "latency of a prefill of prompt_len tokens",
            "tpot": "mean over the decode steps, at prompt_len + 1 … prompt_len + output_len − 1 tokens",
            "request_time": "ttft + (output_len − 1) · tpot" + self._request_rate(value),
            "request_cost": "price · request_time" + self._together,
            "cost_per_million_input_tokens": "price · ttft / (batch_size · prompt_len)",
            "cost_per_million_output_tokens": "price · tpot / batch_size",
            "output_input_ratio": "an output token's price over an input token's: tpot · prompt_len / ttft",
            "throughput": f"{'batch_size · new_tokens' if self.quantities.tokens != 1 else 'batch_size'} / latency",
        }
        if name in PER_STEP and self.point.get(output_len) == 1:
            return "no decode step: the prefill makes the only token"
        if name in follows:
            return follows[name]
        if name == "active_params" and expr == exprs["params"]:
            return "= params"
        if name == "matmul_flops" and expr == exprs["flops"]:
            return f"all that flops counts at fidelity {self.quantities.table.fidelity}"
        if device is not None:
            room = as_figure(device.memory) * self.quantities.memory_fraction
            if name == "memory" and value is not None:
                left = room - Fraction(value)
                state = f"{scaled(left, 'B')} free" if left >= 0 else f"{scaled(-left, 'B')} missing"
                return f"of {with_prefix(room, 'B')}: {state}"
            if name == "memory_time":
                return f"bytes / {with_prefix(as_figure(device.bandwidth), 'B/s')}"
            if name == "compute_time" and self.quantities.table.fidelity != "traffic" and exprs["flops"] != 0:
                return f"flops / {with_prefix(as_figure(self.quantities.matmul_peak), 'FLOP/s')}"
            if name == "cost_per_million_tokens":
                return f"{as_float(as_figure(self.quantities.price)) * 3600:g} USD/h / throughput"
        if name == "activation_memory" and self.quantities.table.activation_peaks:
            peak = self.quantities.table.activation_peaks
            where = f", at {peak[0][1].keyword} {peak[0][1].label}".rstrip() if len(peak) == 1 else ""
            return text(expr, names) + where
        if name == "params":
            return text(expr, names) if value is None else f"{as_json(value):,}"
        each = self.quantities.table.bytes_a_parameter
        if name == "weight_memory" and each is not None:
            return f"{plain(as_figure(each))} B · params"
        return text(expr, names)


def shown_value(name: str, value: Figure | None, unit: str = "tokens") -> str:
    """A quantity's figure with its unit; `unit` is what a pass gives, tokens or sequences."""
    if value is None:
        return "–"
    if name in ("params", "active_params"):
        return counted(value)
    dimension = QUANTITIES[name].dimension
    if dimension == FLOP:
        return scaled(value, "FLOP")
    if dimension == BYTES:
        return scaled(value, "B")
    if dimension == FLOP_PER_BYTE:
        return f"{decimal(value, 2)} FLOP/B"
    if dimension == SECONDS:
        return milliseconds(value, 4)
    if dimension == USD:
        return f"{significant(as_float(value))} USD"
    if name == "throughput":
        return f"{decimal(value, 1)} {unit}/s"
    if name in ("crossover", "output_input_ratio"):
        return decimal(value, 4)
    return f"{as_json(value):,}"
