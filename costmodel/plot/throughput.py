"""Throughput and latency against the batch size: asymptotes, crossover, and where memory ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import ceil, log2

from sympy import Expr, Symbol

from costmodel.names import prose
from costmodel.plot.picture import (
    COMPUTE_BOUND,
    GREY,
    MEMORY_BOUND,
    Along,
    Area,
    Axis,
    Curve,
    Dot,
    Edge,
    Mark,
    Note,
    Picture,
    Reading,
    Unit,
    powers_of_ten,
    powers_of_two,
)
from costmodel.plot.sampling import along, kinks, sampled, spaced
from costmodel.plot.subject import Case, Subject, ink_if_only, memory_words, whole_batches
from costmodel.render.numbers import milliseconds, rate, significant
from costmodel.render.words import device_name
from costmodel.solve.forms import parts
from costmodel.symbols import batch_size, put_in, rational

_PLACES = 160
_FARTHEST = 2.0**24
_NONE_FITS = "Not even one sequence fits on any of these devices"


def throughput(subject: Subject) -> Picture:
    """Tokens a second against the batch size, log-log: both asymptotes are straight lines there."""
    return _Batches(subject, "throughput").picture()


def latency(subject: Subject) -> Picture:
    """The time of a pass against the batch size, log-log."""
    return _Batches(subject, "latency").picture()


def batch_axis(subject: Subject, cases: Sequence[Case]) -> Axis:
    """From batch 1 to beyond what fits and where it crosses."""
    if "batch_size" in subject.axes:
        low, high = subject.axes["batch_size"]
        return powers_of_two("batch size", float(low), float(high))
    ends = [float(case.largest) for case in cases if case.largest]
    crossings = [float(case.crossing) for case in cases if case.crossing is not None]
    near = [c for c in crossings if not ends or c <= 64 * max(ends)]
    halves = [float(h) * 8 for case in cases if (h := case.answer.half_batch_size.value) is not None and h > 0]
    reach = max([16.0, *(1.6 * end for end in ends if end < _FARTHEST / 4), *(1.6 * c for c in near)])
    if not ends and not near:
        reach = max([reach, 256.0, *(h for h in halves if h < 1e6)])
    return powers_of_two("batch size", 1.0, 2.0 ** min(24, ceil(log2(reach) - 1e-9)))


class _Batches:
    """A picture of one quantity along the batch size."""

    def __init__(self, subject: Subject, quantity: str) -> None:
        self.subject, self.quantity, self.cases = subject, quantity, subject.cases
        self.factor = 1e3 if quantity == "latency" else 1.0
        self.x = batch_axis(subject, self.cases)
        self.exprs = [self._expr(case) for case in self.cases]
        self.functions = [along(e, batch_size, c.point) for e, c in zip(self.exprs, self.cases, strict=True)]
        self.y = self._axis()

    def _expr(self, case: Case) -> Expr:
        found = case.quantities.expr(self.quantity)
        assert found is not None
        return found

    def value(self, i: int, batch: float) -> float:
        return self.factor * self.functions[i](batch)

    def _axis(self) -> Axis:
        values = [self.value(i, b) for i in range(len(self.cases)) for b in (self.x.low, self.x.high)]
        values += [float(c) for case in self.cases if self._is_throughput and (c := case.answer.ceiling.value)]
        unit = f"throughput, {self.subject.unit}/s" if self._is_throughput else f"time of {self.subject.pass_}, ms"
        low, high = min(values), max(values)
        below, above = (1.25, 1.9) if self._is_throughput else (1.7, 1.3)
        return powers_of_ten(unit, low / below, max(high * above, low * 4))

    @property
    def _is_throughput(self) -> bool:
        return self.quantity == "throughput"

    def picture(self) -> Picture:
        subject = self.subject
        marks: list[Mark] = [*self._regimes()]
        if self._is_throughput:
            marks += [*self._diagonals()]
        else:
            marks += [*self._reading_alone()]
        for i, case in enumerate(self.cases):
            marks += [*self._curve(i, case)]
        finding = self._throughput_finding() if self._is_throughput else self._latency_finding()
        what = "" if self._is_throughput else "; a floor of the real time"
        several = len(self.cases) > 1 and len({case.context for case in self.cases}) == 1
        subtitle = f"{subject.of(devices=not several)}{what}{self._dotted()}"
        return Picture(
            finding,
            subtitle,
            subject.footnote,
            self.x,
            self.y,
            tuple(marks),
            self._readings(),
            unknowns=("batch_size",),
        )

    def _dotted(self) -> str:
        if not any(self._beyond(case) for case in self.cases):
            return ""
        devices = {memory_words(case.quantities) for case in self.cases}
        return f"; dotted beyond what {devices.pop() if len(devices) == 1 else 'the memory'} holds"

    def _beyond(self, case: Case) -> bool:
        return case.largest is not None and case.largest < self.x.high

    # --- marks

    def _regimes(self) -> Iterator[Mark]:
        """Shaded for the one case that crosses, if there is just one."""
        inside = [c for c in self.cases if c.crossing is not None and self.x.low < c.crossing < self.x.high]
        inside = [c for c in inside if c.answer.solved is not None and len(c.answer.solved.compute_bound) == 1]
        case = inside[0] if len(inside) == 1 else self.cases[0]
        if len(self.cases) > 1 and len(inside) != 1:
            return
        solved = case.answer.solved
        if solved is None:
            return
        bound = [
            (max(float(low), self.x.low), min(float(high), self.x.high) if high is not None else self.x.high)
            for low, high in solved.compute_bound
        ]
        bound = [(low, high) for low, high in bound if low < high]
        cuts = [self.x.low, *(edge for stretch in bound for edge in stretch), self.x.high]
        of = f" ({case.name})" if case.name else ""
        for i, (low, high) in enumerate(pairwise(cuts)):
            if low >= high:
                continue
            computes = i % 2 == 1
            color = COMPUTE_BOUND if computes else MEMORY_BOUND
            yield Area(self._box(low, high), color, behind=True)
            words = "compute-bound" if computes else "memory-bound"
            place = (low, self.y.at(0.99), "se") if low == self.x.low else (high, self.y.at(0.01), "nw")
            yield Note(*place[:2], words + of, GREY, place[2:], distance=4, small=True, needed=False)

    def _box(self, low: float, high: float) -> tuple[tuple[float, float], ...]:
        return ((low, self.y.low), (high, self.y.low), (high, self.y.high), (low, self.y.high))

    def _diagonals(self) -> Iterator[Mark]:
        """Throughput if only what the whole batch shares were read, a line each device."""
        seen = set()
        for case in self.cases:
            shared = self._shared(case)
            if shared is None or shared in seen or case.answer.status == "always":
                continue
            seen.add(shared)
            each = float(case.quantities.tokens.subs(_figures(case))) / shared
            high = min(self.x.high, self.y.high / each)
            low = max(self.x.low, self.y.low / each)
            if low < high:
                yield Curve(((low, each * low), (high, each * high)), GREY, "dashed", 1.1)
                if len(self.cases) == len({c.context for c in self.cases}):
                    words = f"only shared bytes read: {significant(each)} · batch"
                    yield Along((low, each * low), (high, each * high), words)

    def _reading_alone(self) -> Iterator[Mark]:
        """The time that reading what the batch shares takes, below which no pass goes."""
        seen = set()
        for case in self.cases:
            shared = self._shared(case)
            if shared is None or shared in seen or case.answer.status == "always":
                continue
            seen.add(shared)
            height = self.factor * shared
            if self.y.holds(height):
                yield Curve(((self.x.low, height), (self.x.high, height)), GREY, "dashed", 1.1)
                if len(self.subject.quantities) == 1:
                    words = f"reading what all share takes {milliseconds(shared)}"
                    yield Note(self.x.high, height, words, GREY, ("nw", "sw"), distance=5, small=True)

    def _shared(self, case: Case) -> float | None:
        """Seconds of reading that do not depend on the batch; None where there are none, or experts are drawn."""
        found = parts(case.quantities.memory_time)
        if found is None or found.groups or case.quantities.timing == "per_op":
            return None
        value = float(along(found.constant, batch_size, case.point)(1.0))
        return value if value > 0 else None

    def _curve(self, i: int, case: Case) -> Iterator[Mark]:
        answer, hue = case.answer, case.hue
        largest = case.largest
        quantities = case.quantities
        turns = kinks([quantities.latency], batch_size, case.point)
        places = spaced(self.x.low, self.x.high, _PLACES, "log", [*turns, *([float(largest)] if largest else [])])
        points = [(x, self.factor * y) for x, y in sampled(self.functions[i], places)]
        end = self.x.high if largest is None else float(largest)
        fits = tuple(p for p in points if p[0] <= end)
        beyond = tuple(p for p in points if p[0] >= end)
        if self._is_throughput and answer.ceiling.value is not None:
            top = float(answer.ceiling.value)
            start = next((x for x, y in points if y >= 0.3 * top), self.x.low)
            yield Curve(((start, top), (self.x.high, top)), hue, "dashed", 1.1)
        if len(fits) > 1:
            yield Curve(fits, hue, width=2.6)
        if len(beyond) > 1:
            yield Curve(beyond, hue, "dotted", 1.6)
        crossing = case.crossing
        if crossing is not None and self.x.holds(float(crossing)) and crossing >= 1 and quantities.timing != "per_op":
            at = float(crossing)
            height = self.value(i, at)
            yield Dot(at, height, hue)
            words = f"crossover\nbatch {whole_batches(crossing)}"
            sides = ("se", "sw", "nw", "ne", "s", "n") if self._is_throughput else ("e", "se", "nw", "w", "n", "s")
            yield Note(at, height, words, ink_if_only(case), sides, bold=True)
        if largest and self.x.holds(float(largest)):
            height = self.value(i, float(largest))
            yield Dot(float(largest), height, hue, "bar")
            below = ("s", "sw", "se", "nw", "n", "ne")
            above = ("n", "nw", "ne", "s", "sw", "se")
            yield Note(float(largest), height, f"fits {largest:,}", hue, above if i == 0 else below, distance=12)
        last = self.value(i, self.x.high)
        yield Edge(
            float(answer.ceiling.value or last) if self._is_throughput else last,
            "\n".join(filter(None, [case.name, *self._limit(case)])),
            hue,
        )

    def _limit(self, case: Case) -> list[str]:
        """What the curve tends to, and by what."""
        if case.largest == 0:
            return ["not one sequence fits"]
        answer = case.answer
        if answer.ceiling.value is None:
            return []
        solved = answer.solved
        computes = solved is not None and bool(solved.compute_bound) and solved.compute_bound[-1][1] is None
        sequence = "token" if case.quantities.tokens == 1 and self.subject.unit == "tokens" else "sequence"
        by = f"= peak / FLOPs a {sequence}" if computes else f"= bandwidth / bytes a {sequence}"
        if self._is_throughput:
            most = f"at most {rate(answer.ceiling.value)} {self.subject.unit}/s"
            return [most, by] if case.quantities.timing == "overlap" else [most]
        each = along(case.quantities.tokens, batch_size, case.point)(1.0) / float(answer.ceiling.value)
        return [f"each one more adds {milliseconds(each)}"]

    # --- words

    def _throughput_finding(self) -> str:
        if len(self.cases) == 1:
            return self._one_finding(self.cases[0])
        statuses = [case.answer.status for case in self.cases]
        contexts = {case.context for case in self.cases}
        if len(contexts) == 1:
            best = max(self.cases, key=self._best)
            if self._best(best) == 0:
                return "Not even one sequence of any fits" if self.subject.labels else _NONE_FITS
            batch = best.answer.optimal_batch_size
            name = best.name if self.subject.labels else device_name(best.device)
            return f"{name} gives the most: {rate(self._best(best))} {self.subject.unit}/s at batch {batch:,}"
        critical = self.cases[0].answer.critical_seq_len.value if len(self.subject.quantities) == 1 else None
        if critical is not None and "never" in statuses and statuses[0] != "never":
            return f"Contexts under {whole_batches(critical)} tokens can saturate compute, longer ones cannot"
        if all(status == "does_not_fit" for status in statuses):
            return f"Not even one sequence fits in {memory_words(self.cases[0].quantities)}"
        if all(status in ("never", "does_not_fit") for status in statuses):
            return "At none of these contexts is the pass ever compute-bound"
        if all(status == "always" for status in statuses):
            return "Compute-bound from batch 1 on: a larger batch adds no throughput"
        if all(status == "crosses" for status in statuses) and len(self.subject.quantities) == 1:
            found = [whole_batches(case.crossing) for case in self.cases if case.crossing is not None]
            if len(set(found)) == 1:
                return f"Turns compute-bound at batch {found[0]}, whatever the context"
            return f"Turns compute-bound at batch {prose(found)}"
        if all(status in ("beyond_memory", "does_not_fit", "never") for status in statuses):
            return "Memory is full before compute is busy"
        return "Where memory, bandwidth and compute end the growth of throughput"

    def _best(self, case: Case) -> float:
        batch = case.answer.optimal_batch_size
        return self.value(self.cases.index(case), float(batch)) if batch else 0.0

    def _one_finding(self, case: Case) -> str:
        answer, unit = case.answer, self.subject.unit
        best = answer.optimal_batch_size
        run = f"{rate(self._best(case))} {unit}/s" if best else ""
        crossing = whole_batches(case.crossing) if case.crossing is not None else ""
        match answer.status:
            case "crosses":
                return f"Throughput stops growing at batch {crossing}, at {run}"
            case "never" if best is not None:
                return f"Never compute-bound: memory ends it at batch {best:,}, at {run}"
            case "never":
                return "Never compute-bound, and nothing limits the batch"
            case "beyond_memory":
                return f"Memory ends at batch {best:,}, before the crossover at {crossing}"
            case "always":
                return f"Compute-bound from batch 1 on: {run}, whatever the batch"
            case "leaves":
                return f"Compute-bound up to batch {crossing}, memory-bound beyond"
            case "does_not_fit":
                return f"Not even one sequence fits in {memory_words(case.quantities)}"
        return f"Throughput of {self.subject.phase}"

    def _latency_finding(self) -> str:
        if len(self.cases) == 1:
            case = self.cases[0]
            first = milliseconds(self.functions[0](1.0))
            what = self.subject.pass_.capitalize()
            best = case.largest
            if best == 0:
                return f"Not even one sequence fits in {memory_words(case.quantities)}"
            if best is None or best == 1 or best > self.x.high:
                return f"{what} takes at least {first} at batch 1"
            last = milliseconds(self.functions[0](float(best)))
            return f"{first} {self.subject.pass_} at batch 1, {last} at {best:,}, the largest that fits"
        firsts = [self.functions[i](1.0) for i in range(len(self.cases))]
        quickest, slowest = min(firsts), max(firsts)
        what = self.subject.pass_.capitalize()
        if len({case.context for case in self.cases}) == 1:
            name = device_name(self.cases[firsts.index(quickest)].device)
            return f"{name} is the quickest at batch 1: {milliseconds(quickest)}"
        if slowest < 1.02 * quickest:
            return f"{what} alone takes {milliseconds(quickest)} or more, whatever the context"
        return f"{what} alone takes {milliseconds(quickest)} to {milliseconds(slowest)}"

    def _readings(self) -> tuple[Reading, ...]:
        found = []
        for case in self.cases:
            of, given = case.quantities, _figures(case)
            rates: list[tuple[str, Expr, Unit]] = []
            if (expr := of.expr("throughput")) is not None:
                rates = [(f"{self.subject.unit}/s", put_in(expr, given), "rate")]
            times: list[tuple[str, Expr, Unit]] = [
                (name, put_in(expr, given), "time")
                for name, expr in (("time", of.latency), ("compute", of.compute_time), ("memory", of.memory_time))
            ]
            largest = None if case.largest is None else float(case.largest)
            plotted = 0 if self._is_throughput else len(rates)
            found.append(Reading(case.name, case.hue, (*rates, *times), largest, plotted=plotted, factor=self.factor))
        return tuple(found)


def _figures(case: Case) -> dict[Symbol, Expr]:
    return {s: rational(v) for s, v in case.point.items()}
