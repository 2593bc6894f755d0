"""The quantities of the language for one graph, phase and device: closed forms, and figures at a point."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from sympy import Expr, Max, Min, Symbol

from costmodel.costs import CostTable, Row
from costmodel.device import VECTOR, Device
from costmodel.figures import Figure, Open, figure
from costmodel.quantity_names import QUANTITIES
from costmodel.solve.memory import Fit, fit
from costmodel.solve.steps import summed_over_contexts
from costmodel.source import Diagnostic, SpecError
from costmodel.symbols import (
    ONE,
    ZERO,
    acceptance_rate,
    batch_size,
    drafts,
    expanded,
    is_number,
    new_tokens,
    output_len,
    prompt_len,
    put_in,
    rational,
    seq_len,
    total,
)

_MOST_ADDED = 100


@dataclass(frozen=True, eq=False)
class Quantities:
    """What can be asked of a cost table, with a device or without one.

    `in_phase` gives the table of the same run in another phase, of which a request's quantities are made.
    """

    table: CostTable
    device: Device | None = None
    timing: str = "overlap"
    memory_fraction: Fraction = Fraction(1)
    in_phase: Callable[[str], CostTable] | None = None

    def expr(self, name: str, given: Mapping[Symbol, Expr] | None = None, cuts: bool = True) -> Expr | None:
        """A quantity in closed form; None where it has none (`crossover` is not one expression), or needs a device.

        What is `given` is put in. A request's steps turn from one bound to the other at a context that may depend on
        what is free; without `cuts` their sum then stays a `Sum`.

        Raises:
            SpecError: the device lacks a peak that is needed, or its price.
        """
        if QUANTITIES[name].device and self.device is None:
            return None
        given = given or {}
        if QUANTITIES[name].request:
            return Request(self, given, cuts).expr(name)
        expr = _EXPRESSIONS[name](self)
        return None if expr is None else put_in(expr, given)

    def figure(self, name: str, point: Mapping[Symbol, Fraction]) -> Figure | None:
        """A quantity at a point; None where a symbol in it is free there."""
        # lengths stay symbols: a power of a length would be a fraction of a million digits
        given = {s: rational(v) for s, v in point.items() if s not in (prompt_len, output_len)}
        given = given if QUANTITIES[name].request else {}
        expr = self.expr(name, given)
        if expr is None:
            return None
        try:
            value = figure(expr, point)
        except (Open, ZeroDivisionError):
            return None
        # negative where free dims are given figures with which not even the weights fit
        return max(value, Fraction(0)) if name == "max_batch_size" else value

    @property
    def _device(self) -> Device:
        if self.device is None:
            raise SpecError(Diagnostic("device", "this quantity needs a device", help="--device h100-sxm"))
        return self.device

    @cached_property
    def tokens(self) -> Expr:
        """New tokens of a pass and sequence; 1, a sequence, for a graph that has none."""
        return self.table.put_in(new_tokens) if self.table.dataflow.has_tokens else ONE

    def check_point(self, point: Mapping[Symbol, Fraction]) -> None:
        """Whether figures may be put in here.

        Raises:
            SpecError: a symbol has a value already, a dim computed from it is no whole number, or there are more new
                tokens than the context has.
        """
        flow = self.table.dataflow
        for known in point:
            value = flow.environment.values.get(known)
            if value is not None:
                by = f"phase `{flow.phase}` sets it" if known in flow.settings else "the spec or an option sets it"
                raise SpecError(Diagnostic("argument", f"`{known}` is {value} here and cannot be put in", facts=(by,)))
        given = {s: rational(v) for s, v in point.items()}
        flow.environment.check_whole(given)
        new, context = (put_in(self.table.put_in(s), given) for s in (new_tokens, seq_len))
        if is_number(new) and is_number(context) and new > context:
            raise SpecError(
                Diagnostic(
                    "argument",
                    f"{int(new):,} new tokens do not fit in a context of {int(context):,} tokens:"
                    " seq_len counts the new ones too",
                )
            )

    @property
    def matmul_peak(self) -> Expr:
        environment = self.table.dataflow.environment
        return self._device.peak(environment.dtypes["compute"], environment.why_computed)

    def _over_peaks(self, matmul: Expr, vector: Expr) -> Expr:
        """Seconds of FLOPs, each kind over its own peak; a peak is needed only where there are any."""
        seconds = ZERO if matmul == 0 else matmul / self.matmul_peak
        if self.table.fidelity == "traffic" and vector != 0:
            seconds += vector / self._device.peak(VECTOR)
        return seconds

    @cached_property
    def compute_time(self) -> Expr:
        return expanded(self._over_peaks(self.table.matmul_flops, self.table.vector_flops))

    @cached_property
    def memory_time(self) -> Expr:
        return expanded(self.table.bytes / self._device.bandwidth)

    def row_times(self, row: Row) -> tuple[Expr, Expr]:
        """Compute and memory time of an operation, all its turns."""
        matmul, vector, moved = self.table.by_row[row]
        return self._over_peaks(matmul, vector), moved / self._device.bandwidth

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
    def fit(self) -> Fit:
        return fit(self.table, self._device.memory, self.memory_fraction)

    @property
    def price(self) -> Expr:
        if self._device.price is None:
            raise SpecError(
                Diagnostic(
                    "price",
                    f"`{self._device.name}` states no price, and a cost needs one",
                    self._device.span,
                    facts=("a device file of your own may state one: price = 2.5 USD/h",),
                )
            )
        return self._device.price

    # --- the passes of a request

    @cached_property
    def prefill(self) -> Quantities:
        return self._of_phase("prefill")

    @cached_property
    def decode(self) -> Quantities:
        return self._of_phase("decode")

    def _of_phase(self, phase: str) -> Quantities:
        if self.in_phase is None:
            raise SpecError(Diagnostic("request", "a request's quantities need a model's prefill and decode"))
        found = Quantities(self.in_phase(phase), self.device, self.timing, self.memory_fraction)
        made = found.tokens
        if not found.table.dataflow.has_tokens or (phase == "decode" and made != 1):
            flow = found.table.dataflow
            why = f"makes {made} tokens a step" if flow.has_tokens else "takes no new tokens"
            raise SpecError(
                Diagnostic("request", f"a request is decoded token by token, and {flow.phase} of {flow.graph} {why}")
            )
        return found


@dataclass(frozen=True)
class Request:
    """`batch_size` requests that run together: a prefill, which makes the first token, then a decode step a token.

    Step j = 1 … output_len − 1 runs at seq_len = prompt_len + j.
    """

    quantities: Quantities
    given: Mapping[Symbol, Expr]
    cuts: bool = True

    @cached_property
    def output_len(self) -> Expr:
        return self.given.get(output_len, output_len)

    def first(self, expr: Expr) -> Expr:
        """A cost of the prefill."""
        return put_in(expr, {**self.given, seq_len: self.given.get(prompt_len, prompt_len)})

    def steps(self, expr: Expr) -> Expr:
        """A cost summed over the decode steps."""
        start = self.given.get(prompt_len, prompt_len)
        known = {s: v for s, v in self.given.items() if s != seq_len}
        return summed_over_contexts(put_in(expr, known), start, start + self.output_len - 1, self.cuts)

    def whole(self, first: Expr, each: Expr) -> Expr:
        """A cost of the prefill and the steps together, as one polynomial where it is one."""
        both = self.first(first) + self.steps(each)
        return both if both.has(Max, Min) else expanded(both)

    @property
    def first_token(self) -> Expr:
        return self.first(self.quantities.prefill.latency)

    @property
    def time_per_token(self) -> Expr | None:
        return self.steps(self.quantities.decode.latency) / (self.output_len - 1) if self.output_len != 1 else None

    @property
    def time(self) -> Expr:
        return self.first_token + self.steps(self.quantities.decode.latency)

    def expr(self, name: str) -> Expr | None:
        """One of the request's quantities."""
        return _REQUEST[name](self)

    @property
    def time_per_prompt_token(self) -> Expr:
        return self.first(self.quantities.prefill.latency / prompt_len)

    def price_of(self, time: Expr | None) -> Expr | None:
        """USD for 10^6 tokens, where `batch_size` of them take this time together."""
        if time is None:
            return None
        return self.quantities.price * rational(10**6) * time / self.given.get(batch_size, batch_size)

    @property
    def output_input_ratio(self) -> Expr | None:
        """Of the two prices, in which price and batch size cancel."""
        return None if self.time_per_token is None else self.time_per_token / self.time_per_prompt_token


def _expected_tokens(request: Request) -> Expr:
    """Σ αⁱ over i = 0 … γ (Leviathan et al. 2023, equation 1): γ drafts, each accepted with probability α."""
    rate, count = (request.given.get(s, s) for s in (acceptance_rate, drafts))
    if rate == 1:
        return count + 1
    if count.is_Integer and count <= _MOST_ADDED:
        return total(rate**i for i in range(int(count) + 1))
    return (1 - rate ** (count + 1)) / (1 - rate)


_REQUEST: dict[str, Callable[[Request], Expr | None]] = {
    "ttft": lambda r: r.first_token,
    "tpot": lambda r: r.time_per_token,
    "request_flops": lambda r: r.whole(r.quantities.prefill.table.flops, r.quantities.decode.table.flops),
    "request_bytes": lambda r: r.whole(r.quantities.prefill.table.bytes, r.quantities.decode.table.bytes),
    "request_time": lambda r: r.time,
    "request_cost": lambda r: r.quantities.price * r.time,
    "cost_per_million_input_tokens": lambda r: r.price_of(r.time_per_prompt_token),
    "cost_per_million_output_tokens": lambda r: r.price_of(r.time_per_token),
    "output_input_ratio": lambda r: r.output_input_ratio,
    "expected_tokens": _expected_tokens,
}


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
    "max_batch_size": lambda q: q.fit.largest,
}
