"""The whole answer about a crossover: status, closed form, roots, feasibility, fit, optimum, ceiling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from sympy import Expr, Max, Symbol, cancel, limit, oo
from sympy.logic.boolalg import Boolean

from costmodel.figures import Figure, Open, comparable, figure, quotient
from costmodel.quantities import Quantities
from costmodel.solve.budget import Unsolvable
from costmodel.solve.crossover import (
    Case,
    Closed,
    Feasibility,
    Form,
    Solved,
    Stretch,
    at,
    equation,
    feasibility,
    form,
    solve,
    stretches,
)
from costmodel.solve.memory import Fit, linear
from costmodel.solve.piecewise import Piecewise, fold
from costmodel.symbols import ZERO, batch_size, is_zero, put_in, seq_len, symbol, total


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
        """Why the times cannot be solved, if they cannot."""
        return str(self._attempt) if isinstance(self._attempt, Unsolvable) else None

    @cached_property
    def stretches(self) -> list[Stretch]:
        return stretches(self._compute, self._memory, self._bandwidth)

    @cached_property
    def form(self) -> Form | None:
        """The form at this context, or the only one that there is."""
        context = self.point.get(seq_len)
        if len(self.stretches) == 1:
            return self.stretches[0].form
        if context is None:
            return None
        return next(s.form for s in self.stretches if s.holds(context))

    @property
    def status(self) -> str | None:
        """One of the six; None where it depends on a symbol that is free."""
        if self.solved is None:
            return None
        try:
            return self.solved.status(self.max_batch_size_value)
        except Open:
            return "never" if not self.solved.compute_bound and self.fit is None else None

    @cached_property
    def batch_size(self) -> Closed:
        """b*, where compute time equals memory time."""
        value = self.solved.value if self.solved is not None else None
        return Closed(value, self.form.closed if self.form is not None else None)

    @cached_property
    def equation(self) -> Boolean:
        return equation(self._compute, self._memory)

    @cached_property
    def feasible(self) -> Feasibility | None:
        return feasibility(self.stretches)

    @property
    def feasible_when(self) -> Boolean | None:
        """When a crossover exists, solved for seq_len; None where that cannot be solved."""
        return self.feasible.condition if self.feasible is not None else None

    @property
    def critical_seq_len(self) -> Closed:
        """The context at which a crossover ceases to exist, or begins to."""
        return self.feasible.critical if self.feasible is not None else Closed(None, None)

    @cached_property
    def cases(self) -> tuple[Case, ...]:
        """Closed forms by context, where a context is not given and matters."""
        feasible = self.feasible
        return tuple(
            Case(
                s.condition,
                s.form.closed if s.form is not None else None,
                feasible.condition if feasible else s.condition,
            )
            for s in self.stretches
        )

    # --- memory

    @property
    def fit(self) -> Fit | None:
        return self.quantities.fit

    @cached_property
    def max_batch_size_value(self) -> int | None:
        """The largest batch that fits; None where nothing limits it.

        Raises:
            Open: it depends on a symbol that is free.
        """
        return self.fit.largest_at(self.point) if self.fit is not None else None

    @cached_property
    def max_batch_size(self) -> Closed:
        if self.fit is None:
            return Closed(None, None)
        try:
            value = self.max_batch_size_value
        except Open:
            return Closed(None, self.fit.largest)
        return Closed(None if value is None else Fraction(value), self.fit.largest)

    @cached_property
    def margin(self) -> Fraction | None:
        """Bytes left at the batch to run, or missing at batch 1 where that does not fit."""
        if self.fit is None:
            return None
        batch = self.optimal_batch_size if self.status != "does_not_fit" else 1
        try:
            return self.fit.margin_at(batch or 1, self.point)
        except Open:
            return None

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
        if status is None or solved is None:
            return None, None
        if status == "does_not_fit":
            return None, "memory"
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
        slopes = self._slopes
        if slopes is None or is_zero(slopes):
            return Closed(None, None)
        expr = cancel(self.quantities.tokens / slopes) if not slopes.has(Max) else self.quantities.tokens / slopes
        return Closed(at(expr, self.point), expr)

    @cached_property
    def _slopes(self) -> Expr | None:
        """Seconds that one more sequence adds in the end."""
        quantities = self.quantities
        pairs = (
            [(compute, memory) for _, compute, memory in quantities.times_by_row]
            if quantities.timing == "per_op"
            else [(self._compute, self._memory)]
        )
        found = []
        for compute, memory in pairs:
            slopes = [_slope_at_infinity(expr) for expr in (compute, memory)]
            if slopes[0] is None or slopes[1] is None:
                return None
            if quantities.timing == "serial":
                found.append(slopes[0] + slopes[1])
            else:
                values = [at(slope, self.point) for slope in slopes]
                if values[0] is None or values[1] is None:
                    found.append(Max(slopes[0], slopes[1]))
                else:
                    found.append(slopes[0] if values[0] >= values[1] else slopes[1])
        return total(found)

    @cached_property
    def half_batch_size(self) -> Closed:
        """The batch that gives half the ceiling: from where on growing it pays less and less."""
        ceiling = self.ceiling
        if ceiling.expr is None:
            return Closed(None, None)
        try:
            latency = self._latency_folded()
            needed = fold(2 * batch_size * self.quantities.tokens / ceiling.expr, batch_size, self.point)
            roots = [r for r in (needed - latency).roots if r.upward]
            value = roots[0].value if roots else None
        except (Open, Unsolvable):
            value = None
        return Closed(value, self._half_closed())

    def _latency_folded(self) -> Piecewise:
        compute, memory = (fold(e, batch_size, self.point) for e in (self._compute, self._memory))
        if self.quantities.timing == "serial":
            return compute + memory
        if self.quantities.timing == "overlap":
            return compute.chosen(memory, least=False)
        raise Unsolvable("a sum of many maxima")

    def _half_closed(self) -> Expr | None:
        """In closed form where the pass is dense and memory-bound at half the ceiling."""
        slopes, shape = self._slopes, self.form
        if self.quantities.timing == "per_op" or slopes is None or shape is None or shape.groups:
            return None
        of_compute, of_memory = (linear(expr, batch_size) for expr in (self._compute, self._memory))
        if of_compute is None or of_memory is None:
            return None
        (f0, _), (m0, m1) = of_compute, of_memory
        if self.quantities.timing == "serial":
            return cancel((f0 + m0) / slopes) if not is_zero(slopes) else None
        below = 2 * slopes - m1
        return cancel(m0 / below) if not is_zero(below) and is_zero(f0) and not below.has(Max) else None

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
        parts = [_slope_at_infinity(expr) for expr in (self.quantities.table.flops, self.quantities.table.bytes)]
        if parts[0] is None or parts[1] is None or is_zero(parts[1]):
            return None
        return at(parts[0] / parts[1], self.point)

    @cached_property
    def independent_of(self) -> tuple[str, ...]:
        """The dims, and seq_len, that b* does not depend on at all."""
        return _independent(self)


def _slope_at_infinity(expr: Expr) -> Expr | None:
    """What one more sequence adds to a cost in the end: exponentials have died out."""
    parts = linear(put_in(expr, {}), batch_size)
    if parts is not None:
        return parts[1]
    slopes = []
    for term in expr.expand().as_ordered_terms():
        if batch_size not in term.free_symbols:
            continue
        slope = term / batch_size
        if batch_size not in slope.free_symbols:
            slopes.append(slope)
        elif any(p.exp.has(batch_size) and p.base.is_number and p.base < 1 for p in term.atoms(type(batch_size**2))):
            continue
        else:
            found = limit(slope, batch_size, oo)
            if found in (oo, -oo):
                return None
            slopes.append(found)
    return total(slopes)


def _independent(answer: Crossover) -> tuple[str, ...]:
    """By putting other figures in: n/h is a ratio of polynomials of low degree in each dim.

    Where n(x)·h(x₀) − n(x₀)·h(x) is zero at more points than its degree it is zero everywhere, which is a proof.
    """
    table = answer.quantities.table
    environment = table.dataflow.environment
    names = list(environment.program.dims)
    settings = {**table.dataflow.settings, **environment.role_values}
    compute, memory = _symbolic_times(answer)
    point = {**answer.point}
    for name in names:
        value = at(environment.value(symbol(name)), answer.point)
        if isinstance(value, Fraction):
            point[symbol(name)] = value
    here = form(put_in(compute, settings), put_in(memory, settings), answer._bandwidth)
    candidates = [*map(symbol, names), seq_len]
    if here is None:
        used = compute.free_symbols | memory.free_symbols
        return tuple(s.name for s in candidates if s not in used)
    used = here.n.free_symbols | here.h.free_symbols
    for d, q, rate in here.groups:
        used |= d.free_symbols | q.free_symbols | rate.free_symbols
    found = []
    for candidate in candidates:
        if candidate not in used or (not here.groups and _cancels(here, candidate, point)):
            found.append(candidate.name)
    return tuple(found)


_TRIALS = 9


def _cancels(shape: Form, x: Symbol, point: Mapping[Symbol, Fraction]) -> bool:
    base = point.get(x, Fraction(1024))
    try:
        n0, h0 = (figure(e, {**point, x: base}) for e in (shape.n, shape.h))
        for trial in range(1, _TRIALS + 1):
            there = {**point, x: base + 7 * trial}
            n1, h1 = (figure(e, there) for e in (shape.n, shape.h))
            if n1 * h0 != n0 * h1:
                return False
    except Open:
        return False
    return True


def _symbolic_times(answer: Crossover) -> tuple[Expr, Expr]:
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
    return compute, moved / answer._bandwidth


def crossover(quantities: Quantities, point: Mapping[Symbol, Fraction]) -> Crossover:
    """The answer for a pass on a device; `point` gives figures for seq_len and other free symbols."""
    return Crossover(quantities, point)
