"""The quantities of LANGUAGE.md 6 for one graph, phase and device: closed forms, and figures at a point."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from sympy import Expr, Max, Symbol

from costmodel.costs import CostTable, Row
from costmodel.device import VECTOR, Device
from costmodel.figures import Figure, Open, figure
from costmodel.quantity_names import QUANTITIES
from costmodel.solve.memory import Fit, fit
from costmodel.source import Diagnostic, SpecError
from costmodel.symbols import ONE, ZERO, batch_size, new_tokens, rational, total


@dataclass(frozen=True, eq=False)
class Quantities:
    """What can be asked of a cost table, with a device or without one."""

    table: CostTable
    device: Device | None = None
    timing: str = "overlap"
    memory_fraction: Fraction = Fraction(1)

    def expr(self, name: str) -> Expr | None:
        """A quantity in closed form; None where it has none (`crossover` is not one expression), or needs a device.

        Raises:
            SpecError: the device lacks a peak that is needed, or its price.
        """
        if QUANTITIES[name].device and self.device is None:
            return None
        return _EXPRESSIONS[name](self)

    def figure(self, name: str, point: Mapping[Symbol, Fraction]) -> Figure | None:
        """A quantity at a point; None where a symbol in it is free there."""
        expr = self.expr(name)
        if expr is None:
            return None
        try:
            return figure(expr, point)
        except (Open, ZeroDivisionError):
            return None

    @property
    def _device(self) -> Device:
        if self.device is None:
            raise SpecError(Diagnostic("device", "this quantity needs a device", help="--device h100-sxm"))
        return self.device

    @cached_property
    def tokens(self) -> Expr:
        """New tokens of a pass and sequence; 1, a sequence, for a graph that has none."""
        return self.table.put_in(new_tokens) if self.table.dataflow.has_tokens else ONE

    @property
    def matmul_peak(self) -> Expr:
        return self._device.peak(self.table.dataflow.environment.dtypes["compute"])

    def _over_peaks(self, matmul: Expr, vector: Expr) -> Expr:
        """Seconds of FLOPs, each kind over its own peak; a peak is needed only where there are any."""
        seconds = ZERO if matmul == 0 else matmul / self.matmul_peak
        if self.table.fidelity == "traffic" and vector != 0:
            seconds += vector / self._device.peak(VECTOR)
        return seconds

    @cached_property
    def compute_time(self) -> Expr:
        return self._over_peaks(self.table.matmul_flops, self.table.vector_flops).expand()

    @cached_property
    def memory_time(self) -> Expr:
        return (self.table.bytes / self._device.bandwidth).expand()

    def row_times(self, row: Row) -> tuple[Expr, Expr]:
        """Compute and memory time of an operation, all its turns."""
        put_in = self.table.put_in
        compute = self._over_peaks(put_in(row.count * row.cost.matmul_flops), put_in(row.count * row.cost.vector_flops))
        return compute, put_in(row.count * row.cost.bytes) / self._device.bandwidth

    @cached_property
    def times_by_row(self) -> tuple[tuple[Row, Expr, Expr], ...]:
        """The operations that take any time, with their compute and memory times."""
        timed = ((row, *self.row_times(row)) for row in self.table.rows)
        return tuple((row, compute, memory) for row, compute, memory in timed if compute != 0 or memory != 0)

    @cached_property
    def latency(self) -> Expr:
        if self.timing == "serial":
            return self.compute_time + self.memory_time
        if self.timing == "overlap":
            return Max(self.compute_time, self.memory_time, evaluate=False)
        return total(
            memory if compute == 0 else compute if memory == 0 else Max(compute, memory, evaluate=False)
            for _, compute, memory in self.times_by_row
        )

    def latency_at(self, point: Mapping[Symbol, Fraction]) -> Figure:
        """The time of a pass at a point, in seconds.

        Raises:
            Open: a symbol has no figure.
        """
        return figure(self.latency, point)

    @cached_property
    def fit(self) -> Fit | None:
        return fit(self.table, self._device.memory, self.memory_fraction)

    @property
    def price(self) -> Expr:
        if self._device.price is None:
            raise SpecError(
                Diagnostic(
                    "price",
                    f"`{self._device.name}` states no price, and cost_per_million_tokens needs one",
                    self._device.span,
                    facts=("a device file of your own may state one: price = 2.5 USD/h",),
                )
            )
        return self._device.price


_EXPRESSIONS: dict[str, Callable[[Quantities], Expr | None]] = {
    "params": lambda q: q.table.params,
    "active_params": lambda q: q.table.active_params,
    "flops": lambda q: q.table.flops,
    "matmul_flops": lambda q: q.table.matmul_flops,
    "vector_flops": lambda q: q.table.vector_flops,
    "bytes": lambda q: q.table.bytes,
    "intensity": lambda q: q.table.flops / q.table.bytes if q.table.bytes != 0 else None,
    "weight_memory": lambda q: q.table.weight_memory,
    "cache_memory": lambda q: q.table.cache_memory,
    "activation_memory": lambda q: q.table.activation_memory,
    "memory": lambda q: q.table.memory,
    "ridge": lambda q: q.matmul_peak / q._device.bandwidth,
    "compute_time": lambda q: q.compute_time,
    "memory_time": lambda q: q.memory_time,
    "latency": lambda q: q.latency,
    "throughput": lambda q: batch_size * q.tokens / q.latency if q.latency != 0 else None,
    "cost_per_million_tokens": lambda q: q.price * rational(10**6) * q.latency / (batch_size * q.tokens),
    "crossover": lambda _: None,
    "max_batch_size": lambda q: q.fit.largest if q.fit is not None else None,
}
