"""Batch size against context: where a pass is memory-bound, compute-bound, and does not fit."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from math import ceil, isfinite, log10, nan

from sympy import Expr, StrictLessThan

from costmodel.crossover import crossover
from costmodel.figures import as_figure, as_float
from costmodel.names import prose
from costmodel.plot.picture import (
    COMPUTE_BOUND,
    GREY,
    INK,
    MEMORY_BOUND,
    NO_FIT,
    Area,
    Cells,
    Curve,
    Dot,
    Hue,
    Levels,
    Mark,
    Note,
    Picture,
    Reading,
    Unit,
    powers_of_two,
)
from costmodel.plot.sampling import Values, function, kinks, spaced
from costmodel.plot.subject import Subject, memory_words, whole_batches
from costmodel.render.numbers import milliseconds
from costmodel.solve.budget import look_at_time
from costmodel.source import Diagnostic, SpecError
from costmodel.symbols import batch_size, seq_len

_COLUMNS, _ROWS = 96, 120
_MEMORY, _COMPUTE = Hue("#11466b", "#11466b"), Hue("#7a2e00", "#7a2e00")
_CRITICAL = Hue("#8b1e1e", "#8b1e1e")
_MOST_MARKED = 4


def regime(subject: Subject) -> Picture:
    """The plane of batch size and context on one device.

    Raises:
        SpecError: the costs do not depend on the context, or there are several devices.
    """
    if not subject.depends_on_context:
        raise SpecError(
            Diagnostic(
                "argument",
                "nothing here depends on seq_len, so batch size and context are no plane",
                help="--kind throughput",
            )
        )
    if len(subject.quantities) > 1:
        raise SpecError(Diagnostic("argument", "one device is needed here"))
    return _Plane(subject).picture()


class _Plane:
    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.of = subject.first
        self.marked = subject.cases
        least = self.of.table.put_in(self.of.tokens)
        low, high = subject.axes.get("seq_len", (64, 131072))
        if least.is_Integer:
            low = max(low, int(least))
        self.x = powers_of_two("context length, tokens", float(low), float(max(high, 2 * low)), most=12, binary=True)
        exprs = [self.of.compute_time, self.of.memory_time, self.of.table.memory]
        cuts = kinks(exprs, seq_len, {batch_size: Fraction(1)})
        self.columns = spaced(self.x.low, self.x.high, _COLUMNS, "log", cuts)
        self.limit = [self._largest(s) for s in self.columns]
        self.y = powers_of_two("batch size", *self._batches())
        self.rows = spaced(self.y.low, self.y.high, _ROWS, "log")
        compute, memory, latency = (function(e) for e in (self.of.compute_time, self.of.memory_time, self.of.latency))
        self.balance, self.times = [], []
        for b in self.rows:
            look_at_time()
            at: list[Values] = [{seq_len: s, batch_size: b} for s in self.columns]
            self.balance.append(tuple(_log_ratio(compute(v), memory(v)) for v in at))
            self.times.append(tuple(log10(latency(v)) for v in at))

    def _largest(self, context: float) -> float | None:
        """The largest batch that fits, not rounded; None where nothing limits it."""
        found = self.of.fit.exact_at({seq_len: Fraction(context)})
        return None if found is None else max(float(found), 1e-9)

    def _batches(self) -> tuple[float, float]:
        if "batch_size" in self.subject.axes:
            low, high = self.subject.axes["batch_size"]
            return float(low), float(max(high, 2 * low))
        fits = [b for b in self.limit if b is not None]
        crossings = [float(c.crossing) for c in self.marked if c.crossing is not None]
        top = max([64.0, *(2.0 * b for b in fits if b < 2**22), *(4 * c for c in crossings if c < 2**18)])
        return 1.0, 2.0 ** min(24, ceil(log10(top) / log10(2) - 1e-9))

    # --- the picture

    def picture(self) -> Picture:
        marks: list[Mark] = [
            Area(_box(self.x.low, self.x.high, self.y.low, self.y.high), MEMORY_BOUND, behind=True),
            Cells(tuple(self.columns), tuple(self.rows), tuple(self.balance), 0.0, COMPUTE_BOUND),
            *self._misfit(),
            *self._contours(),
            *self._boundary(),
            *self._critical(),
            *self._points(),
            *self._names(),
        ]
        return Picture(
            self._finding(),
            f"{self.subject.of(context=False)}; dashed: the least time of {self.subject.pass_}",
            self.subject.footnote,
            self.x,
            self.y,
            tuple(marks),
            (self._reading(),),
            unknowns=("seq_len", "batch_size"),
        )

    def _reading(self) -> Reading:
        of = self.of
        times = (("time", of.latency), ("compute", of.compute_time), ("memory", of.memory_time))
        values: list[tuple[str, Expr, Unit]] = [(name, expr, "time") for name, expr in times]
        values.append(("held", of.table.memory, "bytes"))
        return Reading("", INK, tuple(values), capacity=as_float(as_figure(of.fit.capacity)))

    def _misfit(self) -> Iterator[Mark]:
        """What does not fit lies above everything else, up to the line where the memory is full."""
        if all(b is None for b in self.limit):
            return
        line = [(s, b) for s, b in zip(self.columns, self.limit, strict=True) if b is not None]
        edge = [(s, min(max(b, self.y.low), self.y.high)) for s, b in line]
        yield Area((*edge, (edge[-1][0], self.y.high), (edge[0][0], self.y.high)), NO_FIT)
        inside = tuple((s, b) for s, b in line if self.y.holds(b))
        if len(inside) > 1:
            yield Curve(inside, INK, width=2.2)

    def _contours(self) -> Iterator[Mark]:
        """Lines of equal time, those of round figures that cross what fits."""
        fitting = [
            t
            for b, row in zip(self.rows, self.times, strict=True)
            for t, limit in zip(row, self.limit, strict=True)
            if limit is None or b <= limit
        ]
        if not fitting:
            return
        low, high = min(fitting), max(fitting)
        steps = (1, 2, 5) if high - low < 1.6 else (1, 3) if high - low < 3 else (1,)
        if high - low < 0.9:
            steps = (1, 1.5, 2, 3, 4, 5, 6, 8)  # type: ignore[assignment]
        levels = [
            log10(step) + e for e in range(-9, 9) for step in steps if low + 0.03 < log10(step) + e < high - 0.01
        ][:7]
        shown = tuple(
            tuple(t if limit is None or b <= 1.04 * limit else nan for t, limit in zip(row, self.limit, strict=True))
            for b, row in zip(self.rows, self.times, strict=True)
        )
        if levels:
            named = tuple((level, _round_time(level)) for level in levels)
            yield Levels(tuple(self.columns), tuple(self.rows), shown, named)

    def _boundary(self) -> Iterator[Mark]:
        """The crossover as a line, exact at each column, as far as it fits; dotted beyond."""
        parts: dict[int, list[tuple[float, float]]] = {}
        beyond: dict[int, list[tuple[float, float]]] = {}
        for s, limit in zip(self.columns, self.limit, strict=True):
            solved = crossover(self.of, {seq_len: Fraction(s)}).solved
            for i, root in enumerate(solved.roots if solved is not None else ()):
                b = float(root.value)
                if self.y.holds(b):
                    (parts if limit is None or b <= limit else beyond).setdefault(i, []).append((s, b))
        for style, found in (("solid", parts), ("dotted", beyond)):
            for points in found.values():
                if len(points) > 1:
                    yield Curve(tuple(points), INK, style, 2.2 if style == "solid" else 1.2)  # type: ignore[arg-type]

    def _critical(self) -> Iterator[Mark]:
        answer = self.marked[0].answer
        value = answer.critical_seq_len.value
        if value is None or not self.x.holds(float(value)):
            return
        at = float(value)
        yield Curve(((at, self.y.low), (at, self.y.high)), _CRITICAL, "dotted", 1.6)
        words = f"critical context {whole_batches(value)}:\nbeyond it no batch size\nis compute-bound"
        yield Note(at, self.y.at(0.04), words, _CRITICAL, ("ne", "nw"), distance=6, small=True)

    def _points(self) -> Iterator[Mark]:
        """The contexts asked for: where each crosses, or where its memory ends."""
        for case in self.marked[:_MOST_MARKED]:
            if case.context is None or not self.x.holds(float(case.context)):
                continue
            status, largest = case.answer.status, case.largest
            crossing = float(case.crossing) if case.crossing is not None else None
            tokens = f"{int(case.context):,} tokens:"
            at: float | None
            if status in ("crosses", "leaves") and crossing is not None:
                at, said = crossing, f"crosses at {whole_batches(crossing)}"
            elif status == "beyond_memory" and largest:
                at, said = float(largest), f"{largest:,} fit, crosses at {whole_batches(crossing or 0)}"
            elif status == "never" and largest:
                at, said = float(largest), f"{largest:,} fit, never crosses"
            elif status == "always" and largest:
                at, said = float(largest), f"{largest:,} fit, always compute-bound"
            else:
                continue
            if self.y.holds(at):
                yield Dot(float(case.context), at, INK)
                sides = ("se", "sw", "ne", "nw") if status == "crosses" else ("ne", "e", "sw", "nw")
                yield Note(float(case.context), at, f"{tokens}\n{said}", INK, sides, distance=9, small=True)

    def _names(self) -> Iterator[Mark]:
        """The regions' names: within them where there is room, else beside them with a line."""
        named = {
            "misfit": (f"does not fit in {memory_words(self.of)}", GREY, 0.26),
            "memory": ("memory-bound", _MEMORY, 0.14),
            "compute": ("compute-bound", _COMPUTE, 0.14),
        }
        for kind, (words, hue, wide) in named.items():
            mine = [(j, i) for j in range(len(self.columns)) for i in range(len(self.rows)) if self._kind(j, i) == kind]
            if not mine:
                continue
            half, tall = round(wide * len(self.columns) / 2), 4
            roomy = [(j, i) for j, i in mine if self._all(kind, j - half, j + half, i - tall, i + tall)]
            spots = roomy or mine
            centre = (sum(j for j, _ in spots) / len(spots), sum(i for _, i in spots) / len(spots))
            spots = sorted(spots, key=lambda s: (s[0] - centre[0]) ** 2 + (s[1] - centre[1]) ** 2)
            (x, y), *also = [(self.columns[j], self.rows[i]) for j, i in spots[:: max(1, len(spots) // 60)]]
            if roomy:
                yield Note(x, y, words, hue, ("c",), bold=True, last=True, also=tuple(also))
            elif len(mine) > 40:
                yield Note(x, y, words, hue, ("n", "ne", "nw"), bold=True, last=True, leader=True, distance=50)

    def _kind(self, j: int, i: int) -> str:
        if not (0 <= j < len(self.columns) and 0 <= i < len(self.rows)):
            return ""
        limit = self.limit[j]
        if limit is not None and self.rows[i] > limit:
            return "misfit"
        return "compute" if self.balance[i][j] >= 0 else "memory"

    def _all(self, kind: str, left: int, right: int, low: int, high: int) -> bool:
        corners = ((j, i) for j in (left, (left + right) // 2, right) for i in (low, high))
        return all(self._kind(j, i) == kind for j, i in corners)

    def _finding(self) -> str:
        answer = self.marked[0].answer
        value = answer.critical_seq_len.value
        feasible = answer.feasible_when
        fitting = [
            (i, j) for i, b in enumerate(self.rows) for j, limit in enumerate(self.limit) if limit is None or b <= limit
        ]
        if not fitting:
            return f"Not even one sequence fits in {memory_words(self.of)}"
        computes = {self.balance[i][j] >= 0 for i, j in fitting}
        if computes == {True}:
            return "Compute-bound at every batch and context that fit"
        if computes == {False}:
            return "Memory-bound at every batch and context that fit"
        if value is not None and feasible is not None and _is_upper(feasible):
            return f"Only contexts under {whole_batches(value)} tokens can be compute-bound"
        lows = sorted({self.columns[j] for i, j in fitting if self.balance[i][j] >= 0})
        if lows[-1] < self.columns[-1]:
            return f"Compute-bound only up to {_round_context(lows[-1])} tokens of context"
        crossings = [(c.crossing, c.context) for c in self.marked if c.crossing is not None and c.context is not None]
        found = [f"{whole_batches(batch)} at {int(context):,}" for batch, context in crossings if batch > 1]
        if len(found) == len(self.marked) > 1:
            return f"Compute-bound from batch {prose(found[:3])} tokens on"
        at_one = [balance >= 0 for balance in self.balance[0]]
        if at_one[-1] and not at_one[0]:
            return f"Compute-bound from about {_round_context(self.columns[at_one.index(True)])} tokens on at any batch"
        return "Where the pass is memory-bound, and where compute-bound"


def _is_upper(condition: object) -> bool:
    return isinstance(condition, StrictLessThan) and condition.lhs == seq_len


def _round_context(value: float) -> str:
    return f"{int(float(f'{value:.2g}')):,}"


def _round_time(level: float) -> str:
    seconds = float(f"{10**level:.3g}")
    if seconds >= 1:
        return f"{seconds:g} s"
    if seconds >= 1e-3:
        return f"{seconds * 1e3:g} ms"
    return milliseconds(seconds) if seconds < 1e-6 else f"{seconds * 1e6:g} us"


def _log_ratio(compute: float, memory: float) -> float:
    if compute <= 0:
        return -9.0
    if memory <= 0:
        return 9.0
    found = log10(compute / memory)
    return found if isfinite(found) else 9.0


def _box(left: float, right: float, low: float, high: float) -> tuple[tuple[float, float], ...]:
    return ((left, low), (right, low), (right, high), (left, high))
