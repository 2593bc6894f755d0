"""Why a pass crosses, or never does: sentences for someone who has never heard of a roofline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from typing import Any

from sympy import Expr

from costmodel.algebra import text
from costmodel.compile import Compiled
from costmodel.costs import CostTable
from costmodel.crossover import Crossover
from costmodel.figures import Figure, Open, as_figure, figure
from costmodel.names import prose
from costmodel.ops.route import Route
from costmodel.render.latex import Symbols
from costmodel.render.numbers import decimal, milliseconds, plain, rate, scaled, with_prefix
from costmodel.render.words import order, symbols
from costmodel.solve.crossover import at
from costmodel.solve.forms import parts
from costmodel.solve.memory import linear
from costmodel.suggest import Suggestion
from costmodel.symbols import batch_size, seq_len


@dataclass(frozen=True, eq=False)
class Prose:
    """The verdict on a crossover, and why, with the figures that it speaks of."""

    compiled: Compiled
    answer: Crossover
    suggestions: list[Suggestion]
    names: str | None = None

    @property
    def table(self) -> CostTable:
        return self.answer.quantities.table

    @cached_property
    def order(self) -> dict[str, int]:
        return order(self.compiled)

    @cached_property
    def symbols(self) -> Symbols:
        return symbols(self.compiled, self.names)

    @property
    def _device_bytes(self) -> str:
        return with_prefix(as_figure(self.answer.fit.capacity), "B")

    @cached_property
    def _experts(self) -> tuple[Expr, Expr] | None:
        """Experts and the distinct ones that a pass reads, of the first mixture."""
        for node in self.table.dataflow.nodes:
            if isinstance(node.operation, Route):
                count = node.operation.count()
                assert count is not None
                return self.table.put_in(count), self.table.put_in(node.operation.distinct_read())
        return None

    def _experts_at(self, batch: int) -> Figure | None:
        if self._experts is None:
            return None
        return figure(self._experts[1], {**self.answer.point, batch_size: Fraction(batch)})

    def _slope(self, expr: Expr) -> Figure | None:
        """What one more sequence adds to a cost, where it is linear in the batch."""
        parts = linear(expr, batch_size)
        if parts is None:
            return None
        try:
            return figure(parts[1], self.answer.point)
        except Open:
            return None

    def _fixed(self, expr: Expr) -> Figure | None:
        parts = linear(expr, batch_size)
        if parts is None:
            return None
        try:
            return figure(parts[0], self.answer.point)
        except Open:
            return None

    @property
    def _unit(self) -> str:
        return "tokens" if self.table.dataflow.has_tokens else "sequences"

    @property
    def _each(self) -> str:
        tokens = self.answer.quantities.tokens
        return "a token" if tokens == 1 and self.table.dataflow.has_tokens else "a pass"

    @property
    def _what_is_read(self) -> str:
        """What a sequence makes a pass read: `of cache`, `of state`."""
        kinds = {s.kind.value for s in self.table.dataflow.kept}
        if self.table.fidelity == "traffic":
            return " to move"
        named = {"cache": "cache", "state": "state", "kept": "kept values"}
        said = " and ".join(named[kind] for kind in ("cache", "kept", "state") if kind in kinds)
        return f" of {said} to read" if said else " to read"

    @cached_property
    def verdict(self) -> tuple[str, str]:
        """The status in capitals and what follows it."""
        answer = self.answer
        status, best = answer.status, answer.optimal_batch_size
        crossing = answer.solved.crossing if answer.solved is not None else None
        value = "" if crossing is None else decimal(crossing.value, 1)
        run = self._run(best) if best is not None else ""
        match status:
            case None if answer.unsolvable is not None:
                return "NOT SOLVED", f"because {answer.unsolvable}. What is known all the same stands below."
            case None if answer.always_memory_bound:
                return "NEVER", f"compute-bound, whatever {self._free_words}. What fits depends on it. {self._missing}"
            case None:
                return "DEPENDS", f"on {self._free_words}: see the conditions below. {self._missing}"
            case "never":
                how = ", the largest that fits" if answer.limited_by == "memory" else ""
                tail = f" Run batch {best:,}{how}: {run}." if best is not None else " Nothing limits the batch."
                return "NEVER", f"compute-bound.{tail}"
            case "crosses":
                largest = answer.max_batch_size_value
                fits = f" Up to {largest:,} fit." if largest is not None else " Nothing limits the batch."
                return "CROSSES", f"at batch {value}. Run batch {best:,}: {run}.{fits}"
            case "beyond_memory":
                return "BEYOND MEMORY", f"crosses at batch {value}, but only {best:,} fit. Run {best:,}: {run}."
            case "always":
                return "ALWAYS", f"compute-bound, from batch 1 on. Run batch 1: {run}."
            case "leaves":
                tail = f" Run batch {best:,}, the largest that fits: {run}." if best is not None else ""
                return "LEAVES", f"compute-bound only {self._bound_words}, memory-bound beyond.{tail}"
            case _:
                left = answer.margin_at(1)
                if left is None:
                    alone = f"the weights alone exceed {self._device_bytes}"
                    return "DOES NOT FIT", f"whatever {self._free_words}: {alone}."
                tail = f" It would cross at batch {value}." if crossing is not None and crossing.upward else ""
                return (
                    "DOES NOT FIT",
                    f"{scaled(-left, 'B')} are missing for one sequence in {self._device_bytes}.{tail}",
                )

    @property
    def _bound_words(self) -> str:
        """From which batch up to which a pass is compute-bound that is so at no larger one."""
        solved = self.answer.solved
        assert solved is not None
        low, high = solved.compute_bound[-1]
        return (
            f"up to batch {decimal(high or low, 1)}"
            if low == 1
            else f"from {decimal(low, 1)} to {decimal(high or low, 1)}"
        )

    def _run(self, batch: int) -> str:
        point = self.answer.at_batch(batch)
        return f"{rate(point.throughput)} {self._unit}/s, {milliseconds(point.latency)} {self._each}"

    @property
    def _free_words(self) -> str:
        names = sorted(s.name for s in self._free)
        return " and ".join(f"`{n}`" for n in names)

    @property
    def _free(self) -> set[Any]:
        answer = self.answer
        used = answer.quantities.compute_time.free_symbols | answer.quantities.memory_time.free_symbols
        used |= answer.fit.memory.free_symbols
        return {s for s in used if s != batch_size and s not in answer.point}

    @property
    def _missing(self) -> str:
        return "--seq-len gives one answer." if seq_len in self._free else "--set gives them values."

    @cached_property
    def why(self) -> list[str]:
        """Sentences that say why, for someone who has never heard of a roofline."""
        return list(self._sentences())

    def _sentences(self) -> Iterator[str]:
        answer = self.answer
        if answer.status is None and answer.unsolvable is not None:
            yield f"No batch to run is given, because it could not be proved: {answer.unsolvable}."
            return
        status, solved = answer.status, answer.solved
        if status == "does_not_fit":
            yield from self._misfit_sentences()
            return
        if status is None or solved is None:
            yield from self._open_sentences()
            return
        if solved.balance.is_zero:
            yield "Computing and reading take the same time at every batch size: the pass is balanced."
            return
        if status == "always":
            first = answer.at_batch(1)
            yield (
                f"Already at batch 1 computing takes {milliseconds(first.compute_time)} and reading"
                f" {milliseconds(first.memory_time)}, so the device's arithmetic is the limit from the start."
            )
            yield "A larger batch adds delay in proportion, and no throughput."
            return
        if status == "beyond_memory":
            yield from self._crowded_sentences()
            return
        if status == "leaves":
            yield (
                "Some FLOPs of this pass do not grow with the batch, and cover the reading of a small one; each further"
                " sequence takes longer to read than to compute, so from the crossover on reading is the limit."
            )
            yield from self._critical_sentence()
            return
        yield from self._balance_sentences(status)

    def _balance_sentences(self, status: str) -> Iterator[str]:
        """Why a pass crosses, or never does: what one more sequence adds to compute and to read."""
        answer, quantities = self.answer, self.answer.quantities
        flops = self._slope(self.table.flops)
        compute, memory = self._slope(quantities.compute_time), self._bytes_slope()
        assert quantities.device is not None
        bandwidth = as_figure(quantities.device.bandwidth)
        if flops is None or compute is None or memory is None:
            return
        read = Fraction(memory)
        adds = f"One more sequence adds {scaled(flops, 'FLOP')} to compute and "
        ridge = flops / (compute * bandwidth) if compute else None
        peak = (
            f"{with_prefix(Fraction(flops) / Fraction(compute), 'FLOP/s')} over {with_prefix(bandwidth, 'B/s')}"
            if compute
            else ""
        )
        if self.table.fidelity == "traffic" and ridge is not None:
            peak = f"at this mix of matrix and vector work, over {with_prefix(bandwidth, 'B/s')}"
        if status == "never":
            if read and flops:
                yield f"{adds}{scaled(read, 'B')}{self._what_is_read}: {decimal(flops / read, 2)} FLOP a byte."
            else:
                yield f"{adds}{scaled(read, 'B')}{self._what_is_read}."
            if ridge is not None:
                yield f"The device computes {decimal(ridge, 1)} FLOP in the time it reads a byte ({peak})."
            value = answer.batch_size.value
            tail = ""
            if value is not None and value < 0:
                tail = f", and the two times would be equal only at batch {decimal(value, 2)}, which cannot be run"
            yield f"So every sequence makes reading fall further behind{tail}."
            yield from self._critical_sentence()
            return
        if read:
            yield (
                f"{adds}{scaled(read, 'B')}{self._what_is_read}: {decimal(flops / read, 1)} FLOP a byte, more than the"
                f" {decimal(ridge or 0, 1)} that the device computes in the time it reads one."
            )
        else:
            yield f"{adds}nothing to read."
        experts = self._experts_at(answer.optimal_batch_size or 1)
        shared = self._shared_reading()
        if experts is not None and self._experts is not None:
            total = plain(as_figure(figure(self._experts[0], answer.point)))
            yield (
                f"Reading the weights is shared by the batch; at batch {answer.optimal_batch_size:,} a layer reads"
                f" {decimal(experts, 2)} of its {total} experts. From there on computing takes longer."
            )
        elif shared is not None:
            yield (
                f"So each sequence makes up some of the {milliseconds(shared)} that reading the weights takes, and from"
                f" {answer.optimal_batch_size:,} on computing takes longer."
            )
        yield from self._before_sentence()
        yield from self._beyond_sentence()

    def _before_sentence(self) -> Iterator[str]:
        """What lies below the last root, where there are others: computing takes longer there too, for a while."""
        solved = self.answer.solved
        assert solved is not None
        for (low, high), (above, _) in pairwise(solved.compute_bound):
            assert high is not None
            start = f"up to batch {decimal(high, 1)}" if low == 1 else f"from {decimal(low, 1)} to {decimal(high, 1)}"
            yield (
                f"It does so {start} too, where work that does not grow with the batch outweighs what is read; between"
                f" {decimal(high, 1)} and {decimal(above, 1)} reading takes longer."
            )

    def _beyond_sentence(self) -> Iterator[str]:
        answer, timing = self.answer, self.answer.quantities.timing
        if timing == "serial":
            yield (
                "At serial timing throughput keeps rising with the batch: this is the point where both times are equal,"
                " not a best batch."
            )
            return
        largest = answer.max_batch_size_value
        if timing == "per_op":
            yield "Operations cross one by one at timing per_op, so throughput still rises somewhat beyond."
            return
        if largest is not None and answer.optimal_batch_size is not None and largest > answer.optimal_batch_size:
            there = answer.at_batch(largest)
            yield (
                f"Beyond that a larger batch only adds delay: {largest:,} sequences give the same"
                f" {rate(there.throughput)} {self._unit}/s at {milliseconds(there.latency)}."
            )

    def _critical_sentence(self) -> Iterator[str]:
        feasible = self.answer.feasible
        if feasible is None:
            return
        value = self.answer.critical_seq_len.value
        if value is not None:
            found = "The pass stays compute-bound" if self.answer.fixed_work else "A crossover exists"
            broken = [edge.value for edge in feasible.edges if edge.value is not None and not edge.expr.is_Integer]
            tail = f": {prose([decimal(edge, 1) for edge in broken])} tokens" if broken else ""
            yield f"{found} only for {text(feasible.condition, self.order)}{tail}."
        elif feasible.condition == False and seq_len in self._context_symbols:  # noqa: E712
            yield "No context is short enough to change that."

    @property
    def _context_symbols(self) -> set[Any]:
        quantities = self.answer.quantities
        found: set[Any] = quantities.compute_time.free_symbols | quantities.memory_time.free_symbols
        return found

    def _crowded_sentences(self) -> Iterator[str]:
        """Why memory ends the growth before the pass crosses."""
        answer = self.answer
        assert answer.optimal_batch_size is not None
        batch = answer.optimal_batch_size
        here = answer.at_batch(batch)
        weights = figure(answer.fit.weights, answer.point)
        yield (
            f"The weights take {scaled(weights, 'B')} of {self._device_bytes}, which leaves room for"
            f" {batch:,} sequence{'s' if batch != 1 else ''}."
        )
        experts = self._experts_at(batch)
        already = ""
        if experts is not None and self._experts is not None:
            total = plain(as_figure(figure(self._experts[0], answer.point)))
            already = f"a layer already reads {decimal(experts, 2)} of its {total} experts: "
        yield (
            f"At batch {batch:,} {already}reading takes {milliseconds(here.memory_time)},"
            f" computing {milliseconds(here.compute_time)}."
        )
        better = next(
            (s for s in self.suggestions if s.status == "crosses" and s.option.startswith("--set dtype")), None
        )
        if better is not None and better.crossing is not None:
            role, _, name = better.option.removeprefix("--set dtype.").partition("=")
            yield f"{role.capitalize()} in {name} would leave room to cross, at batch {decimal(better.crossing, 1)}."

    def _misfit_sentences(self) -> Iterator[str]:
        answer = self.answer
        weights = at(answer.fit.weights, answer.point)
        if weights is None:
            used = f"the {self._device_bytes} that may be used"
            yield f"The weights alone are more than {used}, whatever {self._free_words}."
            return
        weights, capacity = Fraction(weights), as_figure(answer.fit.capacity)
        left = answer.margin_at(1)
        needed = weights if left is None else capacity - left
        device = answer.quantities.device
        assert device is not None
        count = -(-needed.numerator * capacity.denominator // (needed.denominator * capacity.numerator))
        if weights > capacity:
            yield (
                f"The weights alone take {scaled(weights, 'B')}, {scaled(weights - capacity, 'B')} more than the"
                f" {self._device_bytes} that may be used."
            )
        else:
            yield (
                f"The weights take {scaled(weights, 'B')} of {self._device_bytes}, and one sequence needs"
                f" {scaled(needed - weights, 'B')} more, of which {scaled(needed - capacity, 'B')} are missing."
            )
        yield f"By memory it takes at least {count * device.count:,} such devices."

    def _open_sentences(self) -> Iterator[str]:
        feasible = self.answer.feasible
        if feasible is None:
            return
        if feasible.condition == True:  # noqa: E712
            yield "A crossover exists at every context: one more sequence always takes longer to compute than to read."
        elif feasible.condition == False:  # noqa: E712
            yield "No crossover exists at any context: one more sequence always takes longer to read than to compute."
        else:
            yield (
                f"A crossover exists where one more sequence takes longer to compute than to read, that is for"
                f" {text(feasible.condition, self.order)}."
            )

    def _bytes_slope(self) -> Figure | None:
        """What one more sequence adds to read once every expert is read."""
        found = parts(self.table.bytes)
        return None if found is None else at(found.slope, self.answer.point)

    def _shared_reading(self) -> Figure | None:
        return self._fixed(self.answer.quantities.memory_time)
