"""The roofline: what a device attains at an intensity, where a pass stands on it, and its operations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, inf, log2, log10, sqrt

from sympy import Expr, Min

from costmodel.costs import Row
from costmodel.figures import Open, as_figure, as_float, figure
from costmodel.hierarchy import weight_names
from costmodel.names import prose
from costmodel.plot.picture import (
    GREY,
    INK,
    Along,
    Area,
    Curve,
    Dot,
    Edge,
    Hue,
    Mark,
    Note,
    Picture,
    Reading,
    powers_of_ten,
    powers_of_two,
)
from costmodel.plot.sampling import along, kinks, sampled, spaced
from costmodel.plot.subject import Case, Subject, memory_words
from costmodel.quantities import Quantities
from costmodel.render.numbers import decimal, percent, significant, with_prefix
from costmodel.render.words import device_name
from costmodel.symbols import ZERO, batch_size, symbol

_TERA = 1e12
_PLACES = 120
_UNDER_ROOF = "#f4f6f8"
_SAME = 0.05
_MOST_GROUPS = 5
_LEAST_SHARE = 0.02


def roofline(subject: Subject) -> Picture:
    """FLOP/s that a device attains against FLOPs a byte, log-log."""
    return _Roofline(subject).picture()


@dataclass(frozen=True)
class _Group:
    """Operations of about the same intensity, with their share of the time of all operations."""

    intensity: float
    attained: float
    share: float
    name: str


class _Roofline:
    def __init__(self, subject: Subject) -> None:
        self.subject, self.cases = subject, subject.cases
        self.devices = [q for q in subject.quantities if q.device is not None]
        self.intensity = [along(_per(c, c.quantities.table.bytes), batch_size, c.point) for c in self.cases]
        self.rate = [along(_per(c, c.quantities.latency), batch_size, c.point) for c in self.cases]
        self.batch = self._batch()
        self.groups = self._groups(self.cases[-1]) if len(self.devices) == 1 else []
        values = [f(b) for f, case in zip(self.intensity, self.cases, strict=True) for b in (1.0, self._end(case))]
        values += [self.ridge(q) for q in self.devices] + [g.intensity for g in self.groups]
        values = [v for v in values if 0 < v < inf]
        low, high = floor(log2(min(values) / 1.3)), ceil(log2(max(values) * 1.8))
        self.x = powers_of_two("intensity, FLOP a byte", 2.0 ** (low - 1), 2.0 ** max(high, low + 3), most=12)
        peaks = [self.peak(q) / _TERA for q in self.devices]
        floor_ = min(self.roof(q, self.x.low) for q in self.devices) / _TERA
        attained = [g.attained / _TERA for g in self.groups] + [f(1.0) / _TERA for f in self.rate]
        self.roof_low = min([floor_, *attained])
        top = 2.2 * max(peaks)
        decades = max(1.0, log10(top / self.roof_low))
        below = decades * self.rails / (1 - self.rails)
        self.y = powers_of_ten("attained, TFLOP/s", self.roof_low / 10**below, top)

    @property
    def rails(self) -> float:
        """The share of the picture's height that the rails of batch sizes take."""
        return (0.12 if len(self.cases) < 4 else 0.09) * len(self.cases) + 0.05

    # --- figures

    def peak(self, of: Quantities) -> float:
        return as_float(as_figure(of.matmul_peak))

    def bandwidth(self, of: Quantities) -> float:
        assert of.device is not None
        return as_float(as_figure(of.device.bandwidth))

    def ridge(self, of: Quantities) -> float:
        return self.peak(of) / self.bandwidth(of)

    def roof(self, of: Quantities, intensity: float) -> float:
        return min(self.peak(of), self.bandwidth(of) * intensity)

    def _batch(self) -> int:
        """The batch size at which operations are shown: what was asked for, else the one to run."""
        if self.subject.batches:
            return self.subject.batches[0]
        return self.cases[-1].answer.optimal_batch_size or 1

    def _end(self, case: Case) -> float:
        """The last batch size that is shown for a case."""
        crossing = case.crossing
        ends = [float(case.largest)] if case.largest else []
        if not ends:
            ends = [4 * float(crossing) if crossing is not None else 1024.0]
        return max(1.0, min(2.0**24, *ends))

    # --- operations

    def _groups(self, case: Case) -> list[_Group]:
        point = {**case.point, batch_size: Fraction(self.batch)}
        found: list[tuple[float, float, float, float, Row]] = []
        for row, compute, memory in case.quantities.times_by_row:
            try:
                c, m = as_float(figure(compute, point)), as_float(figure(memory, point))
                flops = as_float(figure(self._flops(case, row), point))
            except Open:
                continue
            moved = m * self.bandwidth(case.quantities)
            if moved > 0 and flops > 0:
                found.append((flops / moved, max(c, m), flops, moved, row))
        everything = sum(max_time for _, max_time, *_ in found)
        groups: list[list[tuple[float, float, float, float, Row]]] = []
        for item in sorted(found, key=lambda f: f[0]):
            if groups and item[0] <= groups[-1][0][0] * (1 + _SAME):
                groups[-1].append(item)
            else:
                groups.append([item])
        keywords = [{item[4].node.keyword for item in group if item[4].node is not None} for group in groups]
        made = []
        for i, group in enumerate(groups):
            time = sum(item[1] for item in group)
            elsewhere = set().union(*(k for j, k in enumerate(keywords) if j != i))
            intensity = sum(item[2] for item in group) / sum(item[3] for item in group)
            attained = sum(item[2] for item in group) / time
            made.append(_Group(intensity, attained, time / everything, _named([item[4] for item in group], elsewhere)))
        shown = sorted((g for g in made if g.share >= _LEAST_SHARE), key=lambda g: -g.share)[:_MOST_GROUPS]
        return sorted(shown, key=lambda g: g.intensity)

    def _flops(self, case: Case, row: Row) -> Expr:
        table = case.quantities.table
        vector = row.cost.vector_flops if table.fidelity == "traffic" else ZERO
        return table.put_in(row.count * (row.cost.matmul_flops + vector))

    # --- the picture

    def picture(self) -> Picture:
        marks: list[Mark] = [*self._roofs()]
        for i, case in enumerate(self.cases):
            marks += [*self._operating(i, case), *self._rail(i, case)]
        marks += [*self._operations()]
        shown = f"; operations at batch {self.batch:,}, area by share of the time" if self.groups else ""
        context = len({case.context for case in self.cases}) == 1
        if self.groups and not context and self.cases[-1].context is not None:
            shown = shown.replace(",", f" and {int(self.cases[-1].context):,} tokens,", 1)
        readings = tuple(
            Reading(device_name(q.device), INK, (("at most", _roof(q), "flops"),), plotted=0, factor=1 / _TERA)
            for q in self.devices
            if q.device is not None
        )
        return Picture(
            self._finding(),
            f"{self.subject.of(context=context)}{shown}",
            self.subject.footnote,
            self.x,
            self.y,
            tuple(marks),
            readings,
            unknowns=("intensity",),
        )

    def _roofs(self) -> Iterator[Mark]:
        for i, of in enumerate(self.devices):
            assert of.device is not None
            ridge, peak = self.ridge(of), self.peak(of) / _TERA
            corner = (max(self.x.low, min(ridge, self.x.high)), self.roof(of, ridge) / _TERA)
            left = (self.x.low, self.roof(of, self.x.low) / _TERA)
            right = (self.x.high, self.roof(of, self.x.high) / _TERA)
            points = (left, (min(ridge, self.x.high), min(peak, right[1])), right)
            if i == 0:
                yield Area((*points, (self.x.high, self.y.low), (self.x.low, self.y.low)), _UNDER_ROOF, behind=True)
            hue = INK if len(self.devices) == 1 else self._device_hue(of)
            yield Curve(points, hue, width=1.8)
            bandwidth = with_prefix(as_figure(of.device.bandwidth), "B/s")
            yield Along(left, points[1], bandwidth, hue)
            name = f"{device_name(of.device)}\n" if len(self.devices) > 1 else ""
            kind = of.table.dataflow.environment.dtypes["compute"]
            rate = with_prefix(as_figure(of.matmul_peak), "FLOP/s")
            yield Edge(points[-1][1], f"{name}{rate}\n{'sparse' if of.device.sparse else 'dense'} {kind}", hue)
            if self.x.holds(ridge):
                yield Curve(((ridge, self.y.low), corner), hue, "dotted", 1.0)
                words, of_ridge = f"ridge {significant(ridge)}", GREY if hue is INK else hue
                yield Note(ridge, self.y.low, words, of_ridge, ("ne", "nw"), distance=5, small=True)

    def _device_hue(self, of: Quantities) -> Hue:
        return next(case.hue for case in self.cases if case.quantities is of)

    def _operating(self, i: int, case: Case) -> Iterator[Mark]:
        """The pass itself from batch 1 to the last that fits."""
        end = self._end(case)
        turns = kinks([case.quantities.latency], batch_size, case.point)
        places = spaced(1.0, max(end, 1.001), _PLACES, "log", turns)
        points = tuple((self.intensity[i](b), self.rate[i](b) / _TERA) for b in places)
        yield Curve(points, case.hue, "solid" if case.largest != 0 else "dotted", 6.0)

    def _rail(self, i: int, case: Case) -> Iterator[Mark]:
        """Batch sizes at their intensities, on a line of their own under the roof."""
        height = self.y.at(self.rails * (len(self.cases) - i - 0.35) / len(self.cases))
        f, end = self.intensity[i], self._end(case)
        marked = {1.0, end}
        best = case.answer.optimal_batch_size
        if best is not None and best <= end:
            marked.add(float(best))
        step = 1.0
        while step * 4 < end:
            step *= 4
            marked.add(step)
        xs = sorted(marked)
        shown: list[float] = []
        for b in sorted(xs, key=lambda b: (b != end, b not in (best, 1.0), b)):
            if all(abs(log2(f(b) / f(other))) > 0.055 * log2(self.x.high / self.x.low) for other in shown):
                shown.append(b)
        ends = sampled(f, [1.0, end])
        yield Curve(((ends[0][1], height), (ends[-1][1], height)), case.hue, width=2.0)
        for b in shown:
            yield Dot(f(b), height, case.hue, size=6)
            yield Note(f(b), height, f"{int(b):,}", case.hue, ("n", "nw", "ne"), distance=6, small=True)
        limit = case.answer.intensity_limit
        words = f"{case.name}, by batch size" if case.name else "by batch size"
        apart = 2 ** (0.02 * log2(self.x.high / self.x.low))
        at = as_float(limit) if limit is not None else inf
        if at > f(end) * apart and self.x.holds(at):
            yield Curve(((f(end), height), (at, height)), case.hue, "dotted", 1.4)
            yield Dot(at, height, case.hue, "bar", 5)
            yield Note(at, height, f"limit {significant(at, 3)}", case.hue, ("e", "ne", "se"), distance=7, small=True)
        yield Note(ends[0][1], height, words, case.hue, ("se", "s", "ne"), distance=7, small=True)

    def _operations(self) -> Iterator[Mark]:
        if not self.groups:
            return
        for group in self.groups:
            y = group.attained / _TERA
            yield Dot(group.intensity, y, INK, "open", 6 + 15 * sqrt(group.share))
            share = f"{percent(group.share).lstrip('+')} of the time"
            words = f"{group.name}\n{significant(group.intensity, 3)} FLOP/B, {share}"
            yield Note(group.intensity, y, words, INK, ("se", "e", "nw", "w", "s", "n"), distance=13, small=True)
        i = len(self.cases) - 1
        x, y = self.intensity[i](float(self.batch)), self.rate[i](float(self.batch)) / _TERA
        yield Dot(x, y, INK, "diamond", 7)
        words = f"whole pass, batch {self.batch:,}\n{significant(x)} FLOP/B, {_attained(y)}"
        yield Note(x, y, words, INK, ("nw", "w", "n", "se"), bold=True, distance=10)

    def _finding(self) -> str:
        if len(self.devices) > 1:
            ridges = [f"{significant(self.ridge(q), 3)} ({device_name(q.device)})" for q in self.devices if q.device]
            return f"Compute-bound from {prose(ridges)} FLOP a byte on"
        ridge = self.ridge(self.devices[0])
        last = self.cases[-1]
        limit = last.answer.intensity_limit
        if last.largest == 0 and all(case.largest == 0 for case in self.cases):
            return f"Not even one sequence fits in {memory_words(last.quantities)}"
        if limit is not None and as_float(limit) < ridge:
            context = f"At {int(last.context):,} tokens no" if last.context is not None else "No"
            return f"{context} batch size gets past {significant(as_float(limit), 3)} FLOP a byte"
        status = {case.answer.status for case in self.cases}
        if status == {"always"}:
            return "Right of the ridge from batch 1 on: compute-bound"
        if last.crossing is not None and last.crossing > 0:
            fits = "" if last.answer.status == "crosses" else ", more than fits"
            return f"The pass reaches the ridge at batch {decimal(last.crossing, 1)}{fits}"
        return f"The pass against the ridge at {significant(ridge)} FLOP a byte"


def _per(case: Case, under: Expr) -> Expr:
    """The FLOPs of a pass over its bytes, or its time."""
    return case.quantities.table.flops / under


def _attained(tera: float) -> str:
    return f"{significant(tera)} TFLOP/s" if tera >= 1 else f"{significant(tera * 1e3)} GFLOP/s"


def _roof(of: Quantities) -> Expr:
    """What the device attains at an intensity."""
    assert of.device is not None
    return Min(of.matmul_peak, of.device.bandwidth * symbol("intensity"))


def _named(rows: Sequence[Row], elsewhere: set[str]) -> str:
    """`attention`, `every matmul`, `matmul Wq, Wk, Wv`, `matmul Wq and 5 more`."""
    by_keyword: dict[str, list[str]] = {}
    for row in rows:
        if row.node is not None:
            names = by_keyword.setdefault(row.node.keyword, [])
            label = weight_names(row.node)
            if label and label not in names:
                names.append(label)
    words = []
    for keyword, names in by_keyword.items():
        count = sum(1 for row in rows if row.node is not None and row.node.keyword == keyword)
        if keyword not in elsewhere and count > 1:
            words.append(f"every {keyword}")
        elif names and keyword != "attention":
            more = f" and {len(names) - 2} more" if len(names) > 3 else ""
            words.append(f"{keyword} {', '.join(names[: 2 if more else 3])}{more}")
        else:
            words.append(keyword)
    return ", ".join(words[:2]) + (" …" if len(words) > 2 else "")
