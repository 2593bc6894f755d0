"""A picture as a value: what is to be drawn where, in the units of its axes, with nothing yet of how it is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, log2, log10
from typing import Literal

from sympy import Expr

from costmodel.render.numbers import plain_float

Scale = Literal["linear", "log"]


@dataclass(frozen=True)
class Hue:
    """A colour for lines and areas, and a darker one for text, of a contrast of 4.5 or more on white."""

    line: str
    text: str


# Okabe and Ito's colours, which stay apart for all common kinds of colour blindness
BLUE, VERMILION, GREEN = Hue("#0072b2", "#00629b"), Hue("#d55e00", "#a84a00"), Hue("#009e73", "#00724f")
PURPLE, ORANGE, SKY = Hue("#cc79a7", "#96476f"), Hue("#e69f00", "#855c00"), Hue("#56b4e9", "#1f6f9f")
INK, GREY, PAPER = Hue("#1a1a1a", "#1a1a1a"), Hue("#6b6b6b", "#5a5a5a"), Hue("#ffffff", "#ffffff")
SERIES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)

# apart in grey too
MEMORY_BOUND, COMPUTE_BOUND, NO_FIT = "#dbe8f3", "#f8cfa6", "#f4f4f4"


@dataclass(frozen=True)
class Axis:
    """An axis with its ticks, each a value and what stands there."""

    label: str
    low: float
    high: float
    scale: Scale
    ticks: tuple[tuple[float, str], ...]

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high

    def at(self, share: float) -> float:
        """The value at a share of the axis's length."""
        if self.scale == "log":
            return float(10 ** (log10(self.low) + share * (log10(self.high) - log10(self.low))))
        return self.low + share * (self.high - self.low)


@dataclass(frozen=True)
class Curve:
    """A line through points, each an x and a y."""

    points: tuple[tuple[float, float], ...]
    hue: Hue
    style: Literal["solid", "dashed", "dotted"] = "solid"
    width: float = 2.2


@dataclass(frozen=True)
class Area:
    """A filled polygon; `behind` the grid. What it is, `title`, is shown where the pointer rests on it."""

    points: tuple[tuple[float, float], ...]
    color: str
    behind: bool = False
    title: str = ""


@dataclass(frozen=True)
class Dot:
    """A point: `open` rings are crossovers, `bar`s the ends of what fits, diamonds a whole pass."""

    x: float
    y: float
    hue: Hue
    form: Literal["open", "bar", "side", "full", "diamond"] = "open"
    size: float = 8.0


@dataclass(frozen=True)
class Note:
    """Text near a point, or one of those that it may `also` be near; `sides` are where it may stand, by compass, the
    best first, `c` on the point itself. One that is not `needed` is left out where it would hide something; those that
    come `last` make room for all others; a `leader` is a line from the point to the text."""

    x: float
    y: float
    text: str
    hue: Hue = INK
    sides: tuple[str, ...] = ("ne", "se", "nw", "sw", "e", "w", "n", "s")
    bold: bool = False
    distance: float = 8.0
    small: bool = False
    needed: bool = True
    last: bool = False
    pinned: bool = False
    leader: bool = False
    also: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Along:
    """Text on a line, turned as it runs from one point to the other; left out where there is no room."""

    start: tuple[float, float]
    end: tuple[float, float]
    text: str
    hue: Hue = GREY


@dataclass(frozen=True)
class Edge:
    """Text in the right margin, at the height of what it names."""

    y: float
    text: str
    hue: Hue
    bold: bool = False


@dataclass(frozen=True)
class Cells:
    """A plane of values on a grid, filled where they are above a level."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]
    level: float
    color: str


@dataclass(frozen=True)
class Levels:
    """Lines on a grid along which a value is one of these levels, each with its label."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]
    levels: tuple[tuple[float, str], ...]
    hue: Hue = GREY


Mark = Curve | Area | Dot | Note | Along | Edge | Cells | Levels


Unit = Literal["rate", "time", "bytes", "flops"]


@dataclass(frozen=True)
class Reading:
    """What the pointer shows at a place: a name, and closed forms in the picture's unknowns, each with its unit.

    `fits` is the last place that fits; `capacity` the bytes that `held` may be. The value of index `plotted`, times
    `factor`, is the height of the curve there.
    """

    name: str
    hue: Hue
    values: tuple[tuple[str, Expr, Unit], ...]
    fits: float | None = None
    capacity: float | None = None
    plotted: int | None = None
    factor: float = 1.0


@dataclass(frozen=True)
class Picture:
    """Title: what is found. Subtitle: of what. Footnote: how it was counted. `unknowns`: what the axes are, x first.

    `narrow` is what stands in its place where there is little room.
    """

    title: str
    subtitle: str
    footnote: str
    x: Axis
    y: Axis
    marks: tuple[Mark, ...]
    readings: tuple[Reading, ...] = ()
    unknowns: tuple[str, ...] = ()
    frame: bool = True
    height: float = 1.0
    narrow: Picture | None = None


# --- axes


def powers_of_two(label: str, low: float, high: float, most: int = 9, binary: bool = False) -> Axis:
    """A logarithmic axis with ticks at powers of two; `binary`: `8Ki` for 8,192."""
    first, last = ceil(log2(low) - 1e-9), floor(log2(high) + 1e-9)
    step = max(1, ceil((last - first + 1) / most))
    exponents = range(first, last + 1, step)
    return Axis(label, low, high, "log", tuple((2.0**e, _power_of_two(e, binary)) for e in exponents))


def _power_of_two(exponent: int, binary: bool) -> str:
    if exponent < 0:
        return f"1/{2**-exponent}" if exponent < -3 else plain_float(2.0**exponent)
    if binary and exponent >= 10:
        tens, rest = min(exponent // 10, 3), exponent - 10 * min(exponent // 10, 3)
        return f"{2**rest:,}{('', 'Ki', 'Mi', 'Gi')[tens]}"
    return f"{2**exponent:,}"


def powers_of_ten(label: str, low: float, high: float) -> Axis:
    """A logarithmic axis with ticks at 1, 2 and 5 times powers of ten, fewer where there are many decades."""
    decades = log10(high / low)
    steps = (1, 2, 5) if decades <= 4.2 else (1,)
    every = 1 if decades <= 8 else ceil(decades / 8)
    ticks = [
        step * 10.0**e
        for e in range(floor(log10(low)), ceil(log10(high)) + 1)
        if e % every == 0
        for step in steps
        if low * (1 - 1e-9) <= step * 10.0**e <= high * (1 + 1e-9)
    ]
    return Axis(label, low, high, "log", tuple((tick, short(tick)) for tick in ticks))


def even(label: str, low: float, high: float, most: int = 8, whole: bool = False) -> Axis:
    """A linear axis with round ticks."""
    rough = (high - low) / most
    base = 10.0 ** floor(log10(rough))
    step = next(base * m for m in (1, 2, 2.5, 5, 10) if base * m >= rough * (1 - 1e-9))
    if whole:
        step = max(1.0, ceil(step))
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    return Axis(label, low, high, "linear", tuple((i * step, short(i * step)) for i in range(first, last + 1)))


def short(value: float) -> str:
    """A tick's figure: `200`, `50k`, `1M`."""
    for power, prefix in ((12, "T"), (9, "G"), (6, "M"), (3, "k")):
        if abs(value) >= 10**power:
            return f"{plain_float(value / 10**power)}{prefix}"
    return plain_float(value)
