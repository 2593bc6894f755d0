"""A picture drawn by matplotlib: labels where they hide nothing, and the same bytes each time."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from html import escape
from itertools import pairwise
from math import atan2, ceil, cos, degrees, hypot, sin
from typing import Any

from costmodel.plot.picture import GREY, INK, Along, Area, Axis, Cells, Curve, Dot, Edge, Levels, Mark, Note, Picture
from costmodel.source import Diagnostic, SpecError

WIDTH, HEIGHT, NARROW = 800, 520, 372
_DPI = 100
_TEXT, _SMALL, _TITLE = 9.5, 8.5, 13.0
_SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "costmodel",
    "font.family": "sans-serif",
    "text.hinting": "none",
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "path.simplify": True,
    "hatch.linewidth": 0.6,
}
_STRAIGHT = {"n": (0, 1), "s": (0, -1), "e": (1, 0), "w": (-1, 0)}
_COMPASS = {**_STRAIGHT, "ne": (1, 1), "nw": (-1, 1), "se": (1, -1), "sw": (-1, -1)}

# what a label may hide before it is better left out, and what it hides where another text stands
_HIDES, _COVERS = 60.0, 250.0

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Drawing:
    """An SVG, and its axes' left, top, right and bottom in the units of its viewBox."""

    svg: str
    frame: tuple[float, float, float, float]


def svg(picture: Picture, width: int = WIDTH) -> Drawing:
    """The picture as SVG, its text as text.

    Raises:
        SpecError: matplotlib is not installed.
    """
    with _matplotlib():
        from matplotlib.backends.backend_svg import FigureCanvasSVG

        sheet = drawn(picture, width)
        wide, high = (72 * inches for inches in sheet.figure.get_size_inches())
        at = sheet.axes.get_position()
        frame = (at.x0 * wide, (1 - at.y1) * high, at.x1 * wide, (1 - at.y0) * high)
        out = io.StringIO()
        FigureCanvasSVG(sheet.figure).print_svg(out, metadata={"Date": None, "Creator": None, "Title": picture.title})
        return Drawing(_titled(out.getvalue(), sheet.titles), frame)


def _titled(svg: str, titles: Sequence[str]) -> str:
    """The areas with their titles, which a browser shows where the pointer rests."""
    for i, title in enumerate(titles):
        svg = svg.replace(f'<g id="area-{i}">', f'<g id="area-{i}"><title>{escape(title)}</title>')
    return svg


def png(picture: Picture, width: int = WIDTH, scale: float = 2.0) -> bytes:
    """The picture as PNG, `scale` pixels a pixel.

    Raises:
        SpecError: matplotlib is not installed.
    """
    with _matplotlib():
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        sheet = drawn(picture, width)
        out = io.BytesIO()
        sheet.figure.set_dpi(_DPI * scale)
        FigureCanvasAgg(sheet.figure).print_png(out, metadata={"Software": None, "Title": picture.title})
        return out.getvalue()


@contextmanager
def measured(picture: Picture, width: int = WIDTH) -> Iterator[Sheet]:
    """The figure as it is laid out, for whoever wants to know where its texts are."""
    with _matplotlib():
        yield drawn(picture, width)


@contextmanager
def _matplotlib() -> Iterator[None]:
    """The library with the settings of this module, whatever the user's are.

    Raises:
        SpecError: it is not installed.
    """
    try:
        import matplotlib
    except ImportError:
        raise SpecError(
            Diagnostic("plot", "pictures are drawn by matplotlib, which is not installed here", help=_INSTALL)
        ) from None
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


_INSTALL = "pip install 'costmodel[plot]'"


@dataclass
class Sheet:
    """A figure while it is drawn, with the boxes of the texts on it, in pixels at 100 dots an inch."""

    figure: Any
    axes: Any
    renderer: Any
    narrow: bool = False
    texts: list[Any] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    crowded: list[tuple[float, float]] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)

    def size(self, text: str, size: float, bold: bool = False) -> tuple[float, float]:
        """Width and height of a text in pixels."""
        probe = self.figure.text(0, 0, text, fontsize=size, fontweight="bold" if bold else "normal", linespacing=1.15)
        extent = probe.get_window_extent(self.renderer)
        probe.remove()
        return float(extent.width), float(extent.height)

    def note_size(self, note: Note) -> float:
        return _SMALL - (1 if self.narrow else 0) if note.small or self.narrow else _TEXT - 0.5

    def wrapped(self, text: str, size: float, room: float, bold: bool = False) -> str:
        """The text in as few lines as fit."""
        lines = len(text)
        width = self.size(text, size, bold)[0]
        if width <= room:
            return text
        lines = max(8, int(len(text) * room / width))
        while lines > 8:
            found = "\n".join(textwrap.wrap(text, lines, break_long_words=False, break_on_hyphens=False))
            if self.size(found, size, bold)[0] <= room:
                return found
            lines -= 1
        return found

    def pixel(self, x: float, y: float) -> tuple[float, float]:
        found = self.axes.transData.transform((x, y))
        return float(found[0]), float(found[1])


def drawn(picture: Picture, width: int = WIDTH) -> Sheet:
    """The figure, laid out: margins as the texts need them, then the marks, then the labels around them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    narrow = width < (WIDTH + NARROW) / 2
    if narrow and picture.narrow is not None:
        picture = picture.narrow
    names = sum(isinstance(mark, Edge) for mark in picture.marks)
    height = round(picture.height * (1.1 * width + 30 * names if narrow else HEIGHT))
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0.1, 0.1, 0.8, 0.8))
    sheet = Sheet(figure, axes, canvas.get_renderer(), narrow)
    _axis(axes, picture.x, "x")
    _axis(axes, picture.y, "y")
    _frame(axes, picture)
    top = _heading(sheet, picture, width, height)
    foot = _footnote(sheet, picture, width, height)
    left = _left(sheet, picture)
    right = _right(sheet, picture)
    below = foot + _below(picture)
    axes.set_position((left / width, below / height, (width - left - right) / width, (height - top - below) / height))
    _thin_ticks(sheet, picture)
    figure.canvas.draw()
    sheet.boxes += [tuple(text.get_window_extent(sheet.renderer).extents) for text in sheet.texts]
    for mark in picture.marks:
        _draw(sheet, mark)
    if not narrow:
        _edges(sheet, [m for m in picture.marks if isinstance(m, Edge)])
    for mark in picture.marks:
        if isinstance(mark, Along):
            _along(sheet, mark)
    notes = [m for m in picture.marks if isinstance(m, Note)]
    for note in sorted(notes, key=lambda n: (n.last, not n.needed, not n.bold)):
        _note(sheet, note)
    return sheet


# --- layout


def _axis(axes: Any, axis: Axis, which: str) -> None:
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    getattr(axes, f"set_{which}scale")(axis.scale)
    getattr(axes, f"set_{which}lim")(axis.low, axis.high)
    side = getattr(axes, f"{which}axis")
    side.set_major_locator(FixedLocator([value for value, _ in axis.ticks]))
    side.set_major_formatter(FixedFormatter([label for _, label in axis.ticks]))
    side.set_minor_locator(NullLocator())


def _thin_ticks(sheet: Sheet, picture: Picture) -> None:
    """Fewer ticks where their labels would touch."""
    from matplotlib.ticker import FixedFormatter, FixedLocator

    ticks = picture.x.ticks
    while len(ticks) > 2 and _touching(sheet, ticks):
        ticks = ticks[::2]
    sheet.axes.xaxis.set_major_locator(FixedLocator([value for value, _ in ticks]))
    sheet.axes.xaxis.set_major_formatter(FixedFormatter([label for _, label in ticks]))


def _touching(sheet: Sheet, ticks: Sequence[tuple[float, str]]) -> bool:
    low = sheet.axes.get_ylim()[0]
    spans = [(sheet.pixel(value, low)[0], sheet.size(label, _TEXT)[0] / 2) for value, label in ticks]
    return any(right - left < a + b + 8 for (left, a), (right, b) in pairwise(spans))


def _frame(axes: Any, picture: Picture) -> None:
    axes.tick_params(labelsize=_TEXT, colors=GREY.text, length=4 if picture.frame else 0, width=0.8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(picture.frame)
        axes.spines[side].set_color(GREY.line)
        axes.spines[side].set_linewidth(0.8)
    axes.set_xlabel(picture.x.label, fontsize=_TEXT + 0.5, color=INK.text, labelpad=6)
    axes.set_ylabel(picture.y.label, fontsize=_TEXT + 0.5, color=INK.text, labelpad=8)
    axes.set_axisbelow(True)
    if picture.frame:
        axes.grid(True, axis="y", color="#d9d9d9", linewidth=0.5)


def _heading(sheet: Sheet, picture: Picture, width: int, height: int) -> float:
    """Title, subtitle and, where there is no margin for them, the curves' names; the pixels that they take."""
    lines = [(picture.title, _TITLE - (1.5 if sheet.narrow else 0), True, INK), (picture.subtitle, _TEXT, False, GREY)]
    if sheet.narrow:
        edges = sorted((m for m in picture.marks if isinstance(m, Edge)), key=lambda edge: -edge.y)
        lines += [(edge.text.replace("\n", ", "), _SMALL, edge.bold, edge.hue) for edge in edges]
    offset = 12.0
    for text, size, bold, hue in lines:
        shown = sheet.wrapped(text, size, width - 24, bold)
        _, tall = sheet.size(shown, size, bold)
        artist = sheet.figure.text(
            12 / width, 1 - offset / height, shown, fontsize=size, fontweight="bold" if bold else "normal",
            color=hue.text, va="top", linespacing=1.15,
        )  # fmt: skip
        sheet.texts.append(artist)
        offset += tall + 6
    return offset + 10


def _footnote(sheet: Sheet, picture: Picture, width: int, height: int) -> float:
    shown = sheet.wrapped(picture.footnote, _SMALL - 0.5, width - 24)
    _, tall = sheet.size(shown, _SMALL - 0.5)
    artist = sheet.figure.text(
        12 / width, 8 / height, shown, fontsize=_SMALL - 0.5, color=GREY.text, va="bottom", linespacing=1.15
    )
    sheet.texts.append(artist)
    return tall + 16


def _left(sheet: Sheet, picture: Picture) -> float:
    labels = [sheet.size(label, _TEXT)[0] for _, label in picture.y.ticks]
    return max(labels, default=0) + (44 if picture.y.label else 24)


def _below(picture: Picture) -> float:
    return (24 if picture.x.ticks else 4) + (24 if picture.x.label else 0)


def _right(sheet: Sheet, picture: Picture) -> float:
    """The right margin: the names of the curves."""
    edges = [m for m in picture.marks if isinstance(m, Edge) and not sheet.narrow]
    widest = max((sheet.size(e.text, _SMALL, e.bold)[0] for e in edges), default=0)
    last = sheet.size(picture.x.ticks[-1][1], _TEXT)[0] / 2 + 8 if picture.x.ticks else 12
    return max(widest + 18, last, 16)


# --- marks


def _draw(sheet: Sheet, mark: Mark) -> None:
    axes = sheet.axes
    match mark:
        case Area():
            xs, ys = zip(*mark.points, strict=True)
            (patch,) = axes.fill(xs, ys, facecolor=mark.color, edgecolor="none", zorder=0.2 if mark.behind else 0.6)
            if mark.title:
                patch.set_gid(f"area-{len(sheet.titles)}")
                sheet.titles.append(mark.title)
        case Curve():
            xs, ys = zip(*mark.points, strict=True)
            style = {"solid": "-", "dashed": (0, (5, 3)), "dotted": (0, (1.2, 2))}[mark.style]
            line = {"linestyle": style, "linewidth": mark.width, "solid_capstyle": "butt"}
            axes.plot(xs, ys, color=mark.hue.line, zorder=2.5, **line)
            sheet.crowded += _between(sheet, mark.points)
        case Dot():
            _dot(sheet, mark)
        case Cells():
            above = {"levels": [mark.level, 1e300], "colors": [mark.color]}
            axes.contourf(mark.x, mark.y, mark.values, zorder=0.4, **above)
        case Levels():
            _levels(sheet, mark)
        case _:
            pass


def _dot(sheet: Sheet, mark: Dot) -> None:
    marker = {"open": "o", "bar": "|", "side": "_", "full": "o", "diamond": "D"}[mark.form]
    size = mark.size * (2 if mark.form in ("bar", "side") else 1)
    face = "white" if mark.form == "open" else mark.hue.line
    sheet.axes.plot(
        [mark.x], [mark.y], marker, markersize=size, markerfacecolor=face, markeredgecolor=mark.hue.line,
        markeredgewidth=2.6 if mark.form in ("bar", "side") else 1.8, zorder=4, clip_on=False,
    )  # fmt: skip
    x, y = sheet.pixel(mark.x, mark.y)
    reach = size * _DPI / 72 / 2 + 1
    if mark.form == "bar":
        sheet.boxes.append((x - 3, y - reach, x + 3, y + reach))
    else:
        sheet.boxes.append((x - reach, y - reach, x + reach, y + reach))


def _between(sheet: Sheet, points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Pixels along a line, one every four."""
    found: list[tuple[float, float]] = []
    pixels = [sheet.pixel(x, y) for x, y in points]
    for (ax, ay), (bx, by) in pairwise(pixels):
        steps = min(400, max(1, ceil(hypot(bx - ax, by - ay) / 4)))
        found += [(ax + (bx - ax) * i / steps, ay + (by - ay) * i / steps) for i in range(steps)]
    return found


def _levels(sheet: Sheet, mark: Levels) -> None:
    lines = sheet.axes.contour(
        mark.x, mark.y, mark.values, levels=[level for level, _ in mark.levels],
        colors=[mark.hue.line], linewidths=0.9, linestyles=[(0, (5, 3))], zorder=1.5,
    )  # fmt: skip
    for segments, (_, label) in zip(lines.allsegs, mark.levels, strict=True):
        longest = max(segments, key=len, default=())
        if len(longest) < 4:
            continue
        points = [(float(x), float(y)) for x, y in longest]
        middle = 0.62 * len(points)
        spots = sorted(range(1, len(points) - 1), key=lambda i, middle=middle: abs(i - middle))  # type: ignore[misc]
        spots = spots[:: max(1, len(points) // 24)]
        _on_line(sheet, points, spots, label, mark)
        sheet.crowded += _between(sheet, points)


def _on_line(sheet: Sheet, points: list[tuple[float, float]], spots: list[int], label: str, mark: Levels) -> None:
    """A label in a line, turned as the line runs, at the first spot where nothing else stands."""
    wide, tall = sheet.size(label, _SMALL)
    pixels = [sheet.pixel(*p) for p in points]
    frame = sheet.axes.get_window_extent(sheet.renderer)
    for i in spots:
        x, y = pixels[i]
        near = [p for p in pixels if hypot(p[0] - x, p[1] - y) <= wide * 0.7]
        (ax, ay), (bx, by) = near[0], near[-1]
        angle = atan2(by - ay, bx - ax)
        if abs(angle) > 1.6:
            angle -= 3.14159265
        across = wide * abs(cos(angle)) + tall * abs(sin(angle))
        down = wide * abs(sin(angle)) + tall * abs(cos(angle))
        box = (x - across / 2 - 3, y - down / 2 - 3, x + across / 2 + 3, y + down / 2 + 3)
        if any(_overlap(box, other) for other in sheet.boxes):
            continue
        if box[0] < frame.x0 or box[2] > frame.x1 or box[1] < frame.y0 or box[3] > frame.y1:
            continue
        artist = sheet.axes.text(
            *points[i], label, fontsize=_SMALL, color=mark.hue.text, ha="center", va="center", zorder=3,
            rotation=degrees(angle), rotation_mode="anchor",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.75},
        )  # fmt: skip
        sheet.texts.append(artist)
        sheet.boxes.append(box)
        return


# --- labels


def _edges(sheet: Sheet, edges: list[Edge]) -> None:
    """Names in the right margin, pushed apart where they would touch, in the order of their heights."""
    frame = sheet.axes.get_window_extent(sheet.renderer)
    placed: list[list[Any]] = []
    for edge in sorted(edges, key=lambda e: e.y):
        _, tall = sheet.size(edge.text, _SMALL, edge.bold)
        low, high = sheet.axes.get_ylim()
        _, y = sheet.pixel(sheet.axes.get_xlim()[1], min(max(edge.y, low), high))
        placed.append([y, tall, edge])
    gap = 5.0
    for _ in range(200):
        moved = False
        for low, high in pairwise(placed):
            over = low[0] + low[1] / 2 + gap - (high[0] - high[1] / 2)
            if over > 0.5:
                low[0] -= over / 2
                high[0] += over / 2
                moved = True
        for item in placed:
            top, bottom = frame.y1 + 14 - item[1] / 2, frame.y0 - 10 + item[1] / 2
            clipped = max(min(item[0], top), bottom)
            moved = moved or abs(clipped - item[0]) > 0.5
            item[0] = clipped
        if not moved:
            break
    for y, tall, edge in placed:
        artist = sheet.axes.annotate(
            edge.text, (1, (y - frame.y0) / frame.height), xycoords="axes fraction", xytext=(6, 0),
            textcoords="offset points", fontsize=_SMALL, color=edge.hue.text, va="center", ha="left",
            fontweight="bold" if edge.bold else "normal", linespacing=1.15, annotation_clip=False,
        )  # fmt: skip
        sheet.texts.append(artist)
        wide, _ = sheet.size(edge.text, _SMALL, edge.bold)
        sheet.boxes.append((frame.x1 + 6, y - tall / 2, frame.x1 + 8 + wide, y + tall / 2))


def _along(sheet: Sheet, mark: Along) -> None:
    """A text on a straight line, above it, at the place where it hides least."""
    (ax, ay), (bx, by) = sheet.pixel(*mark.start), sheet.pixel(*mark.end)
    length = hypot(bx - ax, by - ay)
    angle = atan2(by - ay, bx - ax)
    wide, tall = sheet.size(mark.text, _SMALL)
    if length < wide + 20:
        return
    best: tuple[float, float, float] | None = None
    for share in (0.2, 0.28, 0.36, 0.44, 0.52, 0.6, 0.68, 0.76, 0.84):
        for lift in (6 + tall / 2, -6 - tall / 2):
            x = ax + share * (bx - ax) - lift * sin(angle)
            y = ay + share * (by - ay) + lift * cos(angle)
            spots = [(x + k * wide / 8 * cos(angle), y + k * wide / 8 * sin(angle)) for k in range(-4, 5)]
            boxes = [(sx - tall / 2, sy - tall / 2, sx + tall / 2, sy + tall / 2) for sx, sy in spots]
            hidden = sum(_cost(sheet, box) for box in boxes) + (0 if lift > 0 else 2)
            if best is None or hidden < best[0]:
                best = (hidden, x, y)
    assert best is not None
    if best[0] > 60:
        return
    _, x, y = best
    at = sheet.axes.transData.inverted().transform((x, y))
    artist = sheet.axes.text(
        *at, mark.text, fontsize=_SMALL, color=mark.hue.text, ha="center", va="center",
        rotation=degrees(angle), rotation_mode="anchor", zorder=3,
    )  # fmt: skip
    sheet.texts.append(artist)
    sheet.boxes += [
        (sx - tall / 2, sy - tall / 2, sx + tall / 2, sy + tall / 2)
        for k in range(-8, 9)
        for sx, sy in [(x + k * wide / 16 * cos(angle), y + k * wide / 16 * sin(angle))]
    ]


def _note(sheet: Sheet, note: Note) -> None:
    """A label beside its point, or farther off, where it hides least.

    One that is not needed stands only where it hides nothing; where there is little room none does, and one that has
    no room says its first line alone.
    """
    cost, box, point, far = _place(sheet, note)
    if sheet.narrow and cost > _HIDES and "\n" in note.text and not note.pinned:
        note = replace(note, text=note.text.partition("\n")[0].rstrip(":"))
        cost, box, point, far = _place(sheet, note)
    spare = sheet.narrow or not note.needed
    if not note.pinned and ((spare and cost > _HIDES) or (note.last and cost > _COVERS)):
        return
    inverse = sheet.axes.transData.inverted()
    at = inverse.transform(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))
    if note.leader or far > 2:
        near = (min(max(point[0], box[0]), box[2]), min(max(point[1], box[1]), box[3]))
        (ax, ay), (bx, by) = inverse.transform(point), inverse.transform(near)
        sheet.axes.plot([ax, bx], [ay, by], color=note.hue.line, linewidth=0.9, zorder=4.5)
    artist = sheet.axes.text(
        *at, note.text, fontsize=sheet.note_size(note), color=note.hue.text, ha="center", va="center",
        linespacing=1.15, multialignment="left", fontweight="bold" if note.bold else "normal", zorder=5,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.6} if _on_lines(sheet, box) else None,
    )  # fmt: skip
    sheet.texts.append(artist)
    sheet.boxes.append(box)


def _place(sheet: Sheet, note: Note) -> tuple[float, Box, tuple[float, float], float]:
    """What a label hides at the place where that is least, its box, its point, and how far it is off."""
    wide, tall = sheet.size(note.text, sheet.note_size(note), note.bold)
    best: tuple[float, Box, tuple[float, float], float] | None = None
    fallback = () if not note.needed or note.pinned or "c" in note.sides else tuple(_COMPASS)
    for order, place in enumerate(((note.x, note.y), *note.also)):
        px, py = sheet.pixel(*place)
        for far in (1.0,) if note.pinned or note.sides == ("c",) else (1.0, 1.7, 2.6, 4.0, 6.0, 9.0):
            for rank, side in enumerate((*note.sides, *fallback)):
                dx, dy = _COMPASS.get(side, (0, 0))
                reach = note.distance * far * (0.75 if dx and dy else 1)
                x, y = px + dx * (reach + wide / 2), py + dy * (reach + tall / 2)
                box = (x - wide / 2 - 2, y - tall / 2 - 1, x + wide / 2 + 2, y + tall / 2 + 1)
                cost = _cost(sheet, box) + rank * 0.6 + (far - 1) * 6 + order
                if best is None or cost < best[0]:
                    best = (cost, box, (px, py), far)
    assert best is not None
    return best


def _on_lines(sheet: Sheet, box: Box) -> bool:
    return any(box[0] <= x <= box[2] and box[1] <= y <= box[3] for x, y in sheet.crowded)


def _cost(sheet: Sheet, box: Box) -> float:
    """How much a text in this box would hide: other texts most of all, lines by their length, the frame's edge."""
    frame = sheet.axes.get_window_extent(sheet.renderer)
    outside = (
        max(0.0, frame.x0 + 2 - box[0]) + max(0.0, box[2] - frame.x1 + 2)
        + max(0.0, frame.y0 + 2 - box[1]) + max(0.0, box[3] - frame.y1 + 1)
    )  # fmt: skip
    texts = sum(1 for other in sheet.boxes if _overlap(box, other))
    lines = sum(1 for x, y in sheet.crowded if box[0] - 2 <= x <= box[2] + 2 and box[1] - 2 <= y <= box[3] + 2)
    return 300.0 * texts + 2.5 * lines + (200 + 8 * outside if outside else 0)


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
