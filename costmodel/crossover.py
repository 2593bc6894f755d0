"""The whole answer about a crossover: status, closed form, roots, feasibility, fit, optimum, ceiling."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from sympy import Expr, Max, Min, Symbol, ceiling, floor
from sympy.logic.boolalg import Boolean

from costmodel.figures import Figure, Open, comparable, figure, quotient
from costmodel.quantities import Quantities
from costmodel.solve.budget import Unsolvable
from costmodel.solve.contexts import Case, Feasible, cases, feasible
from costmodel.solve.crossover import Solved, at, equation, solve
from costmodel.solve.forms import Form, form, parts
from costmodel.solve.memory import Fit
from costmodel.solve.piecewise import fold
from costmodel.symbols import ZERO, batch_size, is_zero, lowest_terms, put_in, rational, seq_len, sign, symbol, total


@dataclass(frozen=True)
class Closed:
    """A value with its closed form, where there is one; `value` is None where a symbol in it is free."""

    value: Figure | None
    expr: Expr | None

    def __float__(self) -> float:
        if self.value is None:
            raise TypeError("the value depends on a symbol that is free")
        return float(self.value)

    def __str__(self) -> str:
        return str(self.expr) if self.expr is not None else str(self.value)


@dataclass(frozen=True)
class Point:
    """A batch size with its times in seconds, FLOPs a byte, and tokens a second."""

    batch_size: int
    compute_time: Figure
    memory_time: Figure
    latency: Figure
    intensity: Figure | None
    throughput: Figure


@dataclass(frozen=True, eq=False)
class Crossover:
    """Where a pass turns compute-bound on a device, whether that fits, and which batch to run.

    `point` has the figures that are given; what depends on a symbol that is not in it is None.
    """

    quantities: Quantities
    point: Mapping[Symbol, Fraction]

    @property
    def _compute(self) -> Expr:
        return self.quantities.compute_time

    @property
    def _memory(self) -> Expr:
        return self.quantities.memory_time

    @property
    def _bandwidth(self) -> Expr:
        assert self.quantities.device is not None
        return self.quantities.device.bandwidth

    @cached_property
    def _attempt(self) -> Solved | Unsolvable | None:
        try:
            return solve(self._compute, self._memory, self.point)
        except Unsolvable as reason:
            return reason
        except Open:
            return None

    @property
    def solved(self) -> Solved | None:
        """The roots, where all else has a figure and the times can be solved with proof."""
        return self._attempt if isinstance(self._attempt, Solved) else None

    @property
    def unsolvable(self) -> str | None:
        """Why the times, or the largest batch, cannot be solved, if they cannot."""
        return next((str(found) for found in (self._attempt, self._largest) if isinstance(found, Unsolvable)), None)

    @cached_property
    def cases(self) -> tuple[Case, ...]:
        """The two times in closed form, by context and by free windows; none where they have another shape."""
        shape = form(self._compute, self._memory)
        return () if shape is None else cases(shape)

    @cached_property
    def form(self) -> Form | None:
        """The form that holds at this point, or the only one that there is."""
        context = self.point.get(seq_len)
        held = [case for case in self.cases if context is None or case.holds(context)]
        return held[0].form if len(held) == 1 else None

    @property
    def status(self) -> str | None:
        """One of the six; None where it depends on a symbol that is free."""
        if self._largest == 0:
            return "does_not_fit"
        if self.solved is None or isinstance(self._largest, Exception):
            return None
        return self.solved.status(self._largest)

    @cached_property
    def batch_size(self) -> Closed:
        """b*, where compute time equals memory time."""
        value = self.solved.value if self.solved is not None else None
        return Closed(value, self.form.closed if self.form is not None else None)

    @cached_property
    def equation(self) -> Boolean:
        return equation(self._compute, self._memory)

    @cached_property
    def feasible(self) -> Feasible | None:
        """When a crossover exists, and the contexts at which that changes; None where the times have another shape."""
        return feasible(self.cases) if self.cases else None

    @property
    def feasible_when(self) -> Boolean | None:
        """When a crossover exists, solved for seq_len where that can be done."""
        return self.feasible.condition if self.feasible is not None else None

    @cached_property
    def fixed_work(self) -> bool:
        """Whether work that does not grow with the batch takes longer than the reading that does not."""
        return any(sign(case.form.n) == -1 for case in self.cases)

    @property
    def always_memory_bound(self) -> bool:
        """Whether the pass is memory-bound at every batch, whatever the symbols that are free."""
        return self.feasible_when == False and not self.fixed_work  # noqa: E712

    @property
    def critical_seq_len(self) -> Closed:
        """The context at which a crossover ceases to exist, or begins to; the first of several."""
        edges = self.feasible.edges if self.feasible is not None else ()
        return Closed(edges[0].value, edges[0].expr) if edges else Closed(None, None)

    # --- memory

    @property
    def fit(self) -> Fit:
        return self.quantities.fit

    @cached_property
    def _largest(self) -> int | Open | Unsolvable | None:
        try:
            return self.fit.largest_at(self.point)
        except (Open, Unsolvable) as reason:
            return 0 if self.fit.largest == ZERO else reason

    @property
    def max_batch_size_value(self) -> int | None:
        """The largest batch that fits; None where nothing limits it.

        Raises:
            Open: it depends on a symbol that is free.
            Unsolvable: memory may fall as the batch grows.
        """
        if isinstance(self._largest, Exception):
            raise self._largest
        return self._largest

    @property
    def max_batch_size(self) -> Closed:
        known = isinstance(self._largest, int)
        return Closed(Fraction(self.max_batch_size_value or 0) if known else None, self.fit.largest)

    def margin_at(self, batch: int) -> Fraction | None:
        """The bytes that a batch leaves over, or lacks where negative; None where a symbol is free."""
        try:
            return self.fit.margin_at(batch, self.point)
        except Open:
            return None

    @property
    def margin(self) -> Fraction | None:
        """Bytes left at the batch to run, or lacking at batch 1 where that does not fit."""
        return self.margin_at(self.optimal_batch_size or 1)

    @cached_property
    def binds(self) -> str | None:
        """What takes the memory that one sequence more would need: weights, or the most of what grows with the batch.

        `weights`, `cache`, `state`, `kept` or `activations`; None where nothing limits the batch, or it is open.
        """
        if not isinstance(self._largest, int):
            return None
        table, over = self.quantities.table, {**self.point, batch_size: Fraction(self._largest + 1)}
        if sign(put_in(self.fit.capacity - table.weight_memory, _rationals(over))) == -1:
            return "weights"
        amounts: dict[str, Figure] = {}
        try:
            for storage in table.dataflow.kept:
                size = table.put_in(storage.elements * storage.turns * storage.rows * storage.bytes_each)
                kind = storage.kind.value
                amounts[kind] = amounts.get(kind, Fraction(0)) + figure(size, over)
            if table.fidelity == "traffic":
                amounts["activations"] = figure(table.activation_memory, over)
        except Open:
            return None
        return max(amounts, key=lambda kind: comparable(amounts[kind]), default=None)

    # --- the batch to run

    @property
    def optimal_batch_size(self) -> int | None:
        return self._optimum[0]

    @property
    def limited_by(self) -> str | None:
        """`crossover`, `memory` or `nothing`; None where it is open."""
        return self._optimum[1]

    @cached_property
    def _optimum(self) -> tuple[int | None, str | None]:
        status, solved = self.status, self.solved
        if status == "does_not_fit":
            return None, "memory"
        if status is None or solved is None:
            return None, None
        if status == "always":
            return 1, "nothing"
        if status == "crosses":
            return solved.ceiling, "crossover"
        largest = self.max_batch_size_value
        return largest, "memory" if largest is not None else "nothing"

    # --- the ceiling of throughput

    @cached_property
    def ceiling(self) -> Closed:
        """What throughput tends to as the batch grows, in tokens a second."""
        slope, tokens = self._latency_slope, self.quantities.tokens
        if slope is None or is_zero(slope):
            return Closed(None, None)
        expr = tokens / slope if slope.has(Max) else lowest_terms(tokens, slope)
        return Closed(at(expr, self.point), expr)

    @cached_property
    def _latency_slope(self) -> Expr | None:
        """Seconds that one more sequence adds in the end."""
        quantities = self.quantities
        if quantities.timing != "per_op":
            return self._slope(self._compute, self._memory)
        found = [self._slope(compute, memory) for _, compute, memory in quantities.times_by_row]
        return None if any(slope is None for slope in found) else total(found)

    def _slope(self, compute: Expr, memory: Expr) -> Expr | None:
        slopes = [_slope_at_infinity(expr, self.point) for expr in (compute, memory)]
        if slopes[0] is None or slopes[1] is None:
            return None
        if self.quantities.timing == "serial":
            return slopes[0] + slopes[1]
        values = [at(slope, self.point) for slope in slopes]
        if values[0] is None or values[1] is None:
            return Max(*slopes, evaluate=False)
        return slopes[0] if values[0] >= values[1] else slopes[1]

    @cached_property
    def half_batch_size(self) -> Closed:
        """The batch that gives half the ceiling: from where on growing it pays less and less."""
        closed = self._half_closed()
        value = at(closed, self.point) if closed is not None else self._half_solved()
        return Closed(value or None, closed)

    def _half_solved(self) -> Fraction | None:
        if self.ceiling.expr is None:
            return None
        try:
            needed = fold(2 * batch_size * self.quantities.tokens / self.ceiling.expr, batch_size, self.point)
            latency = fold(self.quantities.latency, batch_size, self.point)
            return next((root.value for root in (needed - latency).roots if root.upward), None)
        except (Open, Unsolvable):
            return None

    def _half_closed(self) -> Expr | None:
        """In closed form where the pass is dense and memory-bound at half the ceiling."""
        slope, timing = self._latency_slope, self.quantities.timing
        of_compute, of_memory = parts(self._compute), parts(self._memory)
        if timing == "per_op" or slope is None or of_compute is None or of_memory is None or of_memory.groups:
            return None
        if timing == "serial":
            return lowest_terms(of_compute.constant + of_memory.constant, slope) if slope != 0 else None
        below = 2 * slope - of_memory.slope
        if of_compute.constant != 0 or below.has(Max) or is_zero(below):
            return None
        return lowest_terms(of_memory.constant, below)

    # --- figures

    def at_batch(self, batch: int) -> Point:
        """Times and throughput at a batch size.

        Raises:
            Open: they depend on a symbol that is free.
        """
        point = {**self.point, batch_size: Fraction(batch)}
        compute, memory = figure(self._compute, point), figure(self._memory, point)
        latency = (
            max(compute, memory, key=comparable)
            if self.quantities.timing == "overlap"
            else self.quantities.latency_at(point)
        )
        moved, flops = figure(self.quantities.table.bytes, point), figure(self.quantities.table.flops, point)
        tokens = figure(self.quantities.tokens, point)
        return Point(
            batch,
            compute,
            memory,
            latency,
            quotient(flops, moved) if moved else None,
            quotient(batch * tokens, latency) if latency else Fraction(0),
        )

    @cached_property
    def intensity_limit(self) -> Figure | None:
        """FLOPs a byte as the batch grows without end; None where they grow too, or a symbol is free."""
        flops, moved = (
            _slope_at_infinity(expr, self.point) for expr in (self.quantities.table.flops, self.quantities.table.bytes)
        )
        return None if flops is None or not moved else at(flops / moved, self.point)

    @cached_property
    def independent_of(self) -> tuple[str, ...]:
        """The dims, and seq_len, that b* does not depend on at all."""
        return tuple(_independent(self))


def _rationals(point: Mapping[Symbol, Fraction]) -> dict[Symbol, Expr]:
    return {s: rational(value) for s, value in point.items()}


def _slope_at_infinity(expr: Expr, point: Mapping[Symbol, Fraction]) -> Expr | None:
    """What one more sequence adds to a cost in the end: exponentials have died out."""
    found = parts(expr)
    if found is not None:
        return found.slope
    try:
        last = fold(expr, batch_size, point).cells[-1].function
    except (Open, Unsolvable):
        return None
    return rational(last.coefficient(1)) if len(last.polynomial) <= 2 else None


def _independent(answer: Crossover) -> Iterator[str]:
    """By putting other figures in: the coefficients are polynomials of low degree in each dim, or have it below a line.

    b* stays where all coefficients keep their ratios. Where n(x)·h(x₀) − n(x₀)·h(x) is zero at more points than its
    degree it is zero everywhere, which is a proof. A dim that others are computed from changes them too; one that an
    `if` reads may change the graph, and is never named.
    """
    table = answer.quantities.table
    environment = table.dataflow.environment
    settings = {**table.dataflow.settings, **environment.role_values}
    as_it_stands, derived = _symbolic_times(answer, settings), environment.derived
    from_others = [put_in(expr, derived) for expr in as_it_stands]
    shapes = {False: form(*from_others), True: form(*as_it_stands)}
    point = {**answer.point}
    for name in environment.program.dims:
        value = at(environment.value(symbol(name)), answer.point)
        if isinstance(value, Fraction):
            point[symbol(name)] = value
    decided = {s for d in table.dataflow.decided for s in (d, *derived.get(d, d).free_symbols)}
    for candidate in [*map(symbol, environment.program.dims), seq_len]:
        own = candidate in derived
        used = any(candidate in time.free_symbols for time in (as_it_stands if own else from_others))
        shape = shapes[own]
        if candidate not in decided and (not used or (shape is not None and _cancels(shape, candidate, point))):
            yield candidate.name


_TRIALS = 9


def _cancels(shape: Form, x: Symbol, point: Mapping[Symbol, Fraction]) -> bool:
    """Whether the coefficients keep their ratios whatever x is."""
    if any(x in e.free_symbols for e in shape.coefficients if e.has(Min, Max, floor, ceiling)):
        return False
    scaled = [shape.n, shape.h, *(d for d, _, _ in shape.groups)]
    if any(x in e.free_symbols for _, q, rate in shape.groups for e in (q, rate)):
        return False
    base = point.get(x, Fraction(1024))
    try:
        before = [figure(expr, {**point, x: base}) for expr in scaled]
        for trial in range(1, _TRIALS + 1):
            after = [figure(expr, {**point, x: base + 7 * trial}) for expr in scaled]
            if any(a * before[1] != b * after[1] for a, b in zip(after, before, strict=True)):
                return False
    except (Open, ZeroDivisionError):
        return False
    return before[1] != 0


def _symbolic_times(answer: Crossover, settings: Mapping[Symbol, Expr]) -> list[Expr]:
    """Compute and memory time with every dim a symbol."""
    quantities = answer.quantities
    rows = quantities.table.rows
    matmul = total(row.count * row.cost.matmul_flops for row in rows)
    vector = total(row.count * row.cost.vector_flops for row in rows)
    moved = total(row.count * row.cost.bytes for row in rows)
    compute = ZERO if matmul == 0 else matmul / quantities.matmul_peak
    if quantities.table.fidelity == "traffic" and vector != 0:
        assert quantities.device is not None
        compute += vector / quantities.device.peak("vector")
    return [put_in(expr, settings) for expr in (compute, moved / answer._bandwidth)]


def crossover(quantities: Quantities, point: Mapping[Symbol, Fraction]) -> Crossover:
    """The answer for a pass on a device; `point` gives figures for seq_len and other free symbols."""
    return Crossover(quantities, point)
