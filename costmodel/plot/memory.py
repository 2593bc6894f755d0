"""Memory against the batch size or the context: weights, cache, state, activations, and what devices hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from math import ceil, log2

from sympy import Expr, Symbol

from costmodel.figures import as_figure, as_float
from costmodel.names import prose
from costmodel.plot.picture import (
    GREY,
    INK,
    PAPER,
    Area,
    Axis,
    Curve,
    Dot,
    Edge,
    Hue,
    Mark,
    Note,
    Picture,
    Reading,
    Unit,
    even,
    powers_of_ten,
    powers_of_two,
)
from costmodel.plot.sampling import along, kinks, sampled, spaced
from costmodel.plot.subject import Case, Subject, memory_words
from costmodel.quantities import Quantities
from costmodel.render.numbers import scaled
from costmodel.render.words import device_name
from costmodel.solve.memory import linear
from costmodel.symbols import batch_size, put_in, rational, seq_len
from costmodel.tensors import Kind

_PLACES = 120
_GB = 1e9
_WEIGHTS = ("#4a6a87", "#ffffff")
_KEPT = {
    Kind.CACHE: ("cache", "#f0b27a", "#5a2d00"),
    Kind.STATE: ("state", "#8fd0bb", "#00503a"),
    Kind.KEPT: ("kept values", "#d9b3cb", "#5c2547"),
}
_ACTIVATIONS = ("activations", "#f3dd8b", "#5c4500")


def memory(subject: Subject) -> Picture:
    """Stacked for one context, or for one batch size along the context; a line each for several contexts."""
    if subject.batches and len(subject.contexts) != 1 and subject.depends_on_context:
        return _Stack(subject, seq_len, {batch_size: Fraction(subject.batches[0])}).picture()
    if len(subject.contexts) > 1 and seq_len in subject.first.table.memory.free_symbols:
        return _lines(subject)
    return _Stack(subject, batch_size, subject.cases[0].point).picture()


class _Stack:
    """What lies on what, from the bottom: weights, what a sequence keeps, activations."""

    def __init__(self, subject: Subject, unknown: Symbol, point: Mapping[Symbol, Fraction]) -> None:
        self.subject, self.unknown, self.point = subject, unknown, point
        self.of_batch = unknown == batch_size
        self.table = subject.first.table
        self.layers = tuple(self._layers())
        self.total = along(self.table.memory, unknown, point)
        self.limits = [q for q in subject.quantities if q.device is not None]
        self.x = self._x_axis()
        top = self.total(self.x.high) / _GB
        held = [self._capacity(i) for i in range(len(self.limits))]
        self.y = even("memory, GB", 0.0, max([top, *(1.12 * h for h in held if h < 4 * top)]))

    def _layers(self) -> Iterator[tuple[str, Expr, str, str]]:
        """Name, bytes, colour, and the colour of its text."""
        table = self.table
        yield "weights", table.weight_memory, *_WEIGHTS
        for kind, expr in table.cache_memory_by_kind.items():
            name, color, text = _KEPT[kind]
            yield name, expr, color, text
        if table.fidelity == "traffic":
            name, color, text = _ACTIVATIONS
            yield name, table.activation_memory, color, text

    def _capacity(self, i: int) -> float:
        return _capacity(self.limits[i])

    def _x_axis(self) -> Axis:
        name = self.unknown.name
        label = "batch size" if self.of_batch else "context length, tokens"
        if name in self.subject.axes:
            low, high = self.subject.axes[name]
            return even(label, float(low), float(high))
        fits = [fit for i in range(len(self.limits)) if (fit := self._largest(i))]
        reach = 1.22 * max(fits) if fits else self._doubled()
        return even(label, 0.0, float(max(ceil(reach), 4)))

    def _doubled(self) -> float:
        """Where what grows is about as much as the weights, within bounds: as far as a picture without a limit goes."""
        weights = self.total(0.0)
        slope = self.total(1.0) - weights
        reach = min(1024.0, max(8.0, weights / slope)) if slope > 0 else 64.0
        return reach if self.of_batch else max(4096.0, reach)

    def _largest(self, i: int) -> int | None:
        """The largest whole batch or context that a device holds; None where none does, or any."""
        if self.of_batch:
            return self.limits[i].fit.largest_at(self.point)
        held = self._capacity(i) * _GB
        low, high = 0, 1 << 40
        if self.total(float(high)) <= held or self.total(1.0) > held:
            return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.total(float(middle)) <= held else (low, middle)
        return low

    def picture(self) -> Picture:
        marks: list[Mark] = [*self._areas(), *self._devices(), *self._names()]
        subject = self.subject
        at = "" if self.of_batch else f", batch {int(self.point[batch_size]):,}"
        return Picture(
            self._finding(),
            f"{subject.of(devices=len(self.limits) == 1, context=self.of_batch)}{at}: what has to be held",
            subject.footnote,
            self.x,
            self.y,
            tuple(marks),
            self._readings(),
            unknowns=(self.unknown.name,),
        )

    def _areas(self) -> Iterator[Mark]:
        exprs = [expr for _, expr, _, _ in self.layers]
        places = spaced(self.x.low, self.x.high, _PLACES, "linear", kinks(exprs, self.unknown, self.point))
        if not kinks(exprs, self.unknown, self.point):
            places = [self.x.low, self.x.high]
        functions = [along(expr, self.unknown, self.point) for expr in exprs]
        below = [0.0] * len(places)
        for (name, _, color, _), f in zip(self.layers, functions, strict=True):
            above = [low + f(x) / _GB for low, x in zip(below, places, strict=True)]
            top = [(x, min(y, 10 * self.y.high)) for x, y in zip(places, above, strict=True)]
            bottom = [(x, min(y, 10 * self.y.high)) for x, y in zip(places, below, strict=True)]
            yield Area((*top, *reversed(bottom)), color, title=name)
            below = above
        yield Curve(tuple(zip(places, below, strict=True)), INK, width=1.6)

    def _names(self) -> Iterator[Mark]:
        """Each layer's name within it, where it is thick enough; beside it otherwise."""
        low = 0.0
        right = self.x.at(0.72)
        places = (self.x.at(share / 100) for share in range(20, 73))
        cut = min((x for x in places if self.total(x) / _GB > 0.9 * self.y.high), default=right)
        for name, expr, _, text in self.layers:
            f = along(expr, self.unknown, self.point)
            x = cut if name != "weights" else self.x.at(0.25)
            below = sum(along(e, self.unknown, self.point)(x) for _, e, _, _ in self.layers[: self._index(name)]) / _GB
            height = f(x) / _GB
            low = below + height / 2
            words = f"{name} {scaled(f(x), 'B')}" if name == "weights" else f"{name}{self._each(expr)}"
            if height > 0.05 * self.y.high and low < self.y.high:
                hue = Hue(text, text)
                sides = ("c",) if name == "weights" else ("c", "w", "e")
                also = ((self.x.at(0.5), low),) if name == "weights" else ()
                yield Note(x, low, words, hue, sides, bold=True, distance=4, also=also)
            elif height > 0:
                what = "batch " if self.of_batch else ""
                small = f"{name}: {scaled(f(float(int(x))), 'B')} at {what}{int(x):,}" if name != "weights" else words
                top = self.total(x) / _GB
                yield Note(x, top, small, GREY, ("nw", "w", "n", "ne"), distance=14, small=True, needed=False)

    def _index(self, name: str) -> int:
        return [layer for layer, *_ in self.layers].index(name)

    def _each(self, expr: Expr) -> str:
        """What one more sequence, or token, adds, where that is always the same."""
        given = {s: rational(v) for s, v in self.point.items()}
        parts = linear(put_in(expr, given), self.unknown)
        if parts is None or not parts[1].is_Rational or parts[1] == 0:
            return ""
        each = scaled(as_figure(parts[1]), "B")
        return f"\n{each} {'a sequence' if self.of_batch else 'a token'}"

    def _devices(self) -> Iterator[Mark]:
        for i, of in enumerate(self.limits):
            assert of.device is not None
            height, largest = self._capacity(i), self._largest(i)
            only = i == 0
            hue = INK if only else GREY
            if not self.y.holds(height):
                yield Edge(self.y.high, f"{device_name(of.device)}, {memory_words(of)}\nfar above", GREY)
                continue
            ends = ((self.x.low, height), (self.x.high, height))
            yield Curve(ends, PAPER, width=3.6)
            yield Curve(ends, hue, "solid" if only else "dashed", 1.8 if only else 1.1)
            fits = f"fits {largest:,}" if largest else "does not fit" if self.total(1.0) / _GB > height else "fits any"
            yield Edge(height, f"{device_name(of.device)}, {memory_words(of)}\n{fits}", hue, bold=only)
            if largest and self.x.holds(float(largest)):
                there = self.total(float(largest)) / _GB
                yield Curve(((float(largest), 0.0), (float(largest), there)), hue, "dotted", 1.2)
                yield Dot(float(largest), there, hue)

    def _finding(self) -> str:
        if not self.limits:
            each = self._each(self.table.cache_memory).strip()
            weights = scaled(self.total(0.0), "B")
            return f"Weights of {weights}, and {each} beside them" if each else f"{weights} to begin with"
        largest = self._largest(0)
        what = "sequences" if self.of_batch else "tokens of context"
        if self.total(1.0) / _GB > self._capacity(0):
            one = "one sequence" if self.of_batch else "one token of context"
            missing = (self.total(1.0) / _GB - self._capacity(0)) * _GB
            return f"{scaled(missing, 'B')} too much for {one} in {memory_words(self.limits[0])}"
        if largest is None:
            return f"Any {'batch' if self.of_batch else 'context'} fits: nothing grows with it"
        context = self.point.get(seq_len)
        of = f" of {int(context):,} tokens" if context is not None and self.of_batch else ""
        if largest == 1 and self.of_batch:
            return f"One sequence{of} fits beside the weights"
        return f"{largest:,} {what}{of} fit beside the weights"

    def _readings(self) -> tuple[Reading, ...]:
        given = {s: rational(v) for s, v in self.point.items()}
        values: list[tuple[str, Expr, Unit]] = [("held", put_in(self.table.memory, given), "bytes")]
        values += [(name, put_in(expr, given), "bytes") for name, expr, _, _ in self.layers]
        capacity = self._capacity(0) * _GB if self.limits else None
        return (Reading("", INK, tuple(values), capacity=capacity, plotted=0, factor=1 / _GB),)


def _capacity(of: Quantities) -> float:
    """What may be used of a device's memory, in GB."""
    assert of.device is not None
    return as_float(as_figure(of.device.memory) * of.memory_fraction) / _GB


def _lines(subject: Subject) -> Picture:
    """A line a context, log-log, with each device's limit."""
    cases = subject.cases
    limits = [q for q in subject.quantities if q.device is not None]
    fits = [float(case.largest) for case in cases if case.quantities.device is not None and case.largest]
    if "batch_size" in subject.axes:
        low, high = map(float, subject.axes["batch_size"])
    else:
        low, high = 1.0, 2.0 ** min(24, ceil(log2(max([64.0, *(1.6 * f for f in fits)]))))
    x = powers_of_two("batch size", low, high)
    mine = [c for c in cases if c.quantities is subject.first]
    functions = [along(case.quantities.table.memory, batch_size, case.point) for case in mine]
    held = [_capacity(of) for of in limits]
    top = max([3 * h for h in held] or [max(f(high) for f in functions) / _GB])
    weights = along(subject.first.table.weight_memory, batch_size, {})(1.0) / _GB
    y = powers_of_ten("memory, GB", 0.7 * min([weights, *held]), max(top, 4 * weights))
    marks: list[Mark] = [
        Curve(((low, weights), (high, weights)), GREY, "dashed", 1.1),
        Note(high, weights, f"weights {scaled(weights * _GB, 'B')}", GREY, ("sw", "nw"), distance=4, small=True),
    ]
    for of, height in zip(limits, held, strict=True):
        assert of.device is not None
        marks.append(Curve(((low, height), (high, height)), INK, "solid", 1.4))
        marks.append(Edge(height, f"{device_name(of.device)}, {memory_words(of)}", INK, bold=True))
    for case, f in zip(mine, functions, strict=True):
        points = tuple((b, m / _GB) for b, m in sampled(f, spaced(low, high, _PLACES, "log")))
        shown = [p for p in points if p[1] <= y.high]
        marks.append(Curve(points, case.hue, width=2.4))
        if shown:
            end = shown[-1]
            name = case.name.split(", ")[-1]
            marks.append(Note(*end, name, case.hue, ("w", "nw", "se", "e", "sw"), bold=True, distance=10))
    for case in cases:
        if case.quantities.device is not None and case.largest and x.holds(float(case.largest)):
            there = along(case.quantities.table.memory, batch_size, case.point)(float(case.largest)) / _GB
            hue = next(m.hue for m in mine if m.context == case.context)
            marks.append(Dot(float(case.largest), there, hue))
            words = f"fits {case.largest:,}"
            marks.append(Note(float(case.largest), there, words, hue, ("se", "e", "nw", "s"), distance=6))
    readings = []
    for case in mine:
        given = {s: rational(v) for s, v in case.point.items()}
        values: tuple[tuple[str, Expr, Unit], ...] = (("held", put_in(case.quantities.table.memory, given), "bytes"),)
        capacity = held[0] * _GB if held else None
        readings.append(Reading(case.name, case.hue, values, capacity=capacity, plotted=0, factor=1 / _GB))
    return Picture(
        _lines_finding(mine, bool(limits)),
        f"{subject.of(context=False)}: weights and what the sequences keep",
        subject.footnote,
        x,
        y,
        tuple(marks),
        tuple(readings),
        unknowns=("batch_size",),
    )


def _lines_finding(cases: list[Case], limited: bool) -> str:
    if not limited:
        return "What a batch needs, at each context"
    fits = [case.largest for case in cases]
    if all(fit == 0 for fit in fits):
        return f"Not even one sequence fits in {memory_words(cases[0].quantities)}"
    words = ["any number" if fit is None else f"{fit:,}" for fit in fits]
    contexts = [f"{int(case.context):,}" for case in cases if case.context is not None]
    return f"{prose(words)} sequences of {prose(contexts)} tokens fit"
