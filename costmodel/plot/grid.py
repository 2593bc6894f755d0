"""A sweep's file as a picture: a quantity along one of what varied, a line for each of the rest."""

from __future__ import annotations

from collections.abc import Iterator
from math import log2
from typing import TYPE_CHECKING

from costmodel.plot.picture import (
    INK,
    SERIES,
    Axis,
    Curve,
    Dot,
    Edge,
    Mark,
    Note,
    Picture,
    even,
    powers_of_ten,
    powers_of_two,
)
from costmodel.render.numbers import plain_float

if TYPE_CHECKING:
    from costmodel.sweep.curves import Curves

_UNITS = {"seconds": ("ms", 1e3), "bytes": ("GB", 1e-9), "1 a second": ("/s", 1.0), "FLOP a byte": ("FLOP/B", 1.0)}


def grid(found: Curves, greatest: bool) -> Picture:
    """The picture; `greatest` says whether more of the quantity is better."""
    unit, factor = _UNITS.get(found.y_unit, (found.y_unit, 1.0))
    points = [point for line in found.lines for point in line.points]
    x, y = _x_axis(found, points), _y_axis(found.y, unit, [factor * height for _, height in points])
    sign = 1 if greatest else -1
    best = max(found.lines, key=lambda line: max((sign * height for _, height in line.points), default=float("-inf")))
    at, height = max(best.points, key=lambda point: (sign * point[1], -point[0]))
    value = f"{plain_float(float(f'{factor * height:.4g}'))}{unit if unit.startswith('/') else f' {unit}'}".rstrip()
    where = ", ".join([f"{found.x} {plain_float(at)}", *map(_told, best.of)])
    title = f"{found.y.replace('_', ' ')} is {'at most' if greatest else 'at least'} {value}: {where}"
    said = ", ".join(map(_told, found.same))
    version = [f"costmodel {found.about['version']}"] if "version" in found.about else []
    footnote = " · ".join([f"{found.rows:,} rows", *found.about.get("where", ()), *version])
    marks = (*_marks(found, factor), Dot(at, factor * height, INK))
    return Picture(title, said, footnote, x, y, marks)


def _marks(found: Curves, factor: float) -> Iterator[Mark]:
    last = max(line.points[-1][0] for line in found.lines if line.points)
    for i, line in enumerate(found.lines):
        if not line.points:
            continue
        hue = SERIES[i % len(SERIES)] if len(found.lines) > 1 else INK
        points = tuple((at, factor * height) for at, height in line.points)
        if len(points) == 1:
            yield Dot(*points[0], hue, "full", 6)
        yield Curve(points, hue)
        name = ", ".join(map(_told, line.of)) if len(found.lines) > 1 else ""
        if name and points[-1][0] == last:
            yield Edge(points[-1][1], name, hue, bold=True)
        elif name:
            yield Note(*points[-1], name, hue, ("e", "se", "ne", "sw", "nw", "s", "n"), bold=True)


def _told(of: tuple[str, str]) -> str:
    """What a row has of a column: `h100-nvl`, `seq_len 8,192`."""
    name, value = of
    return value if name in ("spec", "device") else f"{name} {value}"


def _x_axis(found: Curves, points: list[tuple[float, float]]) -> Axis:
    low, high = min(x for x, _ in points), max(x for x, _ in points)
    label = f"{found.x.replace('_', ' ')}{f', {found.x_unit}' if found.x_unit else ''}"
    if low == high:
        return even(label, low - 1, high + 1, whole=True)
    if low > 0 and high / low >= 8 and log2(high / low) >= 3:
        return powers_of_two(label, low, high, binary=found.x == "seq_len")
    return even(label, low, high)


def _y_axis(name: str, unit: str, heights: list[float]) -> Axis:
    low, high = min(heights), max(heights)
    shown = "a second" if unit == "/s" else unit
    label = f"{name.replace('_', ' ')}{f', {shown}' if shown else ''}"
    if low > 0 and high / low > 12:
        return powers_of_ten(label, low / 1.3, high * 1.6)
    room = 0.12 * (high - low) or abs(high) or 1.0
    return even(label, 0.0 if 0 <= low < 0.5 * high else low - room, high + room)
