"""What a pass is made of: FLOPs, bytes and time by block and operation, as bars side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from sympy import Expr, Symbol

from costmodel.costs import Row
from costmodel.figures import as_float, figure
from costmodel.hierarchy import weight_names
from costmodel.plot.picture import GREY, INK, Area, Axis, Curve, Hue, Mark, Note, Picture
from costmodel.plot.subject import Subject
from costmodel.render.numbers import milliseconds, scaled, significant
from costmodel.source import Diagnostic, SpecError
from costmodel.symbols import ZERO, batch_size, total

_MOST_ROWS = 14
_GAP = 0.16
_COMPUTES, _READS, _FLOPS = Hue("#d55e00", "#a84a00"), Hue("#0072b2", "#00629b"), Hue("#8a8f94", "#4c5054")
_LEAST = 0.004


@dataclass(frozen=True)
class _Line:
    """Operations of one name in one block: their FLOPs and bytes, and both times in seconds."""

    block: str
    name: str
    flops: float
    bytes: float
    compute: float
    memory: float

    @property
    def time(self) -> float:
        return max(self.compute, self.memory)


_Column = tuple[str, Callable[[_Line], float], Callable[[_Line], Hue]]


def breakdown(subject: Subject) -> Picture:
    """Shares by block and operation at one point.

    Raises:
        SpecError: there are several devices or contexts.
    """
    if len(subject.cases) > 1 and subject.depends_on_context and len(subject.contexts) > 1:
        raise SpecError(Diagnostic("argument", "one context is needed here", help=f"--seq-len {subject.contexts[-1]}"))
    if len(subject.quantities) > 1:
        raise SpecError(Diagnostic("argument", "one device is needed here, or none"))
    return _Breakdown(subject).picture()


class _Breakdown:
    def __init__(self, subject: Subject) -> None:
        self.subject, self.of = subject, subject.first
        case = subject.cases[0]
        self.batch = subject.batches[0] if subject.batches else 1
        if not subject.batches and self.of.device is not None:
            self.batch = case.answer.optimal_batch_size or 1
        self.point: dict[Symbol, Fraction] = {**case.point, batch_size: Fraction(self.batch)}
        self.lines = self._lines()
        self.columns = self._columns()

    def _lines(self) -> list[_Line]:
        found: dict[tuple[str, str], list[Row]] = {}
        for row in self.of.table.rows:
            if row.node is not None:
                name = weight_names(row.node) or row.node.keyword
                found.setdefault((_block(row), name), []).append(row)
        made = [self._line(block, name, rows) for (block, name), rows in found.items()]
        costly = [line for line in made if line.flops > 0 or line.bytes > 0]
        size = self._size(costly)
        ranked = [line for line in sorted(costly, key=lambda line: -size(line)) if size(line) >= _LEAST]
        kept = sorted(ranked[:_MOST_ROWS], key=costly.index)
        rest = [line for line in costly if line not in kept]
        if sum(map(size, rest)) >= _LEAST:
            name = f"{len(rest)} others" if len(rest) > 1 else rest[0].name
            sums = (sum(part) for part in zip(*((r.flops, r.bytes, r.compute, r.memory) for r in rest), strict=True))
            kept.append(_Line("", name, *sums))
        return kept

    def _size(self, lines: Sequence[_Line]) -> Callable[[_Line], float]:
        """By what lines are ranked: their greatest share."""
        flops, moved = sum(line.flops for line in lines) or 1, sum(line.bytes for line in lines) or 1
        time = sum(line.time for line in lines) or 1
        return lambda line: max(line.flops / flops, line.bytes / moved, line.time / time)

    def _line(self, block: str, name: str, rows: Sequence[Row]) -> _Line:
        of, table = self.of, self.of.table
        vector = table.fidelity == "traffic"
        flops = total(r.count * (r.cost.matmul_flops + (r.cost.vector_flops if vector else ZERO)) for r in rows)
        moved = total(r.count * r.cost.bytes for r in rows)
        compute = memory = ZERO
        if of.device is not None:
            times = [of.row_times(row) for row in rows]
            compute, memory = total(c for c, _ in times), total(m for _, m in times)
        return _Line(block, name, *(self._figure(e) for e in (flops, moved, compute, memory)))

    def _figure(self, expr: Expr) -> float:
        return as_float(figure(self.of.table.put_in(expr), self.point))

    def _columns(self) -> list[_Column]:
        """Heading, share of a line, and its colour."""
        flops, moved = sum(line.flops for line in self.lines), sum(line.bytes for line in self.lines)
        found: list[_Column] = []
        if flops:
            heading = f"{scaled(flops, 'FLOP')}\ncomputed"
            found.append((heading, lambda line: line.flops / flops, lambda _: _FLOPS))
        if moved:
            found.append((f"{scaled(moved, 'B')}\nmoved", lambda line: line.bytes / moved, lambda _: _FLOPS))
        time = sum(line.time for line in self.lines)
        if self.of.device is not None and time:
            found.append(
                (
                    f"{milliseconds(time)}\none by one",
                    lambda line: line.time / time,
                    lambda line: _COMPUTES if line.compute >= line.memory else _READS,
                )
            )
        return found

    def picture(self) -> Picture:
        return replace(self._of(self.columns), narrow=self._of(self.columns[-1:]))

    def _of(self, columns: Sequence[_Column]) -> Picture:
        lines = self.lines
        greatest = max((share(line) for _, share, _ in columns for line in lines), default=1.0) or 1.0
        count = max(1, len(lines))
        right = len(columns) * (1 + _GAP) - _GAP + 0.12
        marks: list[Mark] = []
        for k, (heading, share, hue) in enumerate(columns):
            left = k * (1 + _GAP)
            marks.append(Note(left, count + 0.05, heading, INK, ("ne",), bold=True, distance=4, pinned=True))
            marks.append(Curve(((left, 0.0), (left, float(count))), GREY, width=0.8))
            for i, line in enumerate(lines):
                middle, part = count - i - 0.5, share(line)
                end = left + 0.86 * part / greatest
                if part > 0:
                    share_said = f"{significant(100 * part, 3)}% of {' '.join(heading.split())}"
                    title = f"{line.block} {line.name}: {share_said}".strip()
                    box = ((left, middle - 0.34), (end, middle - 0.34), (end, middle + 0.34), (left, middle + 0.34))
                    marks.append(Area(box, hue(line).line, title=title))
                if part >= _LEAST:
                    said = Note(end, middle, _percent(part), hue(line), ("e",), distance=3, small=True, pinned=True)
                    marks.append(said)
        ticks = tuple((count - i - 0.5, self._label(i)) for i in range(len(lines)))
        time = self.of.device is not None
        colors = "; orange: compute-bound, blue: memory-bound" if time else ""
        return Picture(
            self._finding(),
            f"{self.subject.of()}, batch {self.batch:,}{colors}",
            self.subject.footnote,
            Axis("", 0.0, right, "linear", ()),
            Axis("", 0.0, count + 1.4, "linear", ticks),
            tuple(marks),
            frame=False,
            height=max(0.55, 0.3 + 0.058 * count),
        )

    def _label(self, i: int) -> str:
        """The operation, behind its block where that begins."""
        line = self.lines[i]
        name = line.name if len(line.name) <= 22 else line.name[:21] + "…"
        begins = line.block and (i == 0 or self.lines[i - 1].block != line.block)
        return f"{line.block}   {name}" if begins else name

    def _finding(self) -> str:
        lines = self.lines
        if not lines:
            return "This pass costs nothing"
        if self.of.device is not None:
            time = sum(line.time for line in lines)
            best = max(lines, key=lambda line: line.time)
            bound = "compute-bound" if best.compute >= best.memory else "memory-bound"
            return f"{_spoken(best)} takes {_percent(best.time / time)} of the time, {bound}"
        flops, moved = max(lines, key=lambda line: line.flops), max(lines, key=lambda line: line.bytes)
        all_flops, all_moved = sum(line.flops for line in lines), sum(line.bytes for line in lines)
        if all_flops == 0 or flops is moved:
            return f"{_spoken(moved)} moves {_percent(moved.bytes / all_moved)} of the bytes"
        most = f"{_spoken(flops)} makes {_percent(flops.flops / all_flops)} of the FLOPs"
        return f"{most}, {_spoken(moved)} moves {_percent(moved.bytes / all_moved)} of the bytes"


def _spoken(line: _Line) -> str:
    words = f"{line.name} in {line.block}" if line.block and line.name != "attention" else line.name
    return words[0].upper() + words[1:]


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%" if share >= 0.0995 else f"{100 * share:.1f}%"


def _block(row: Row) -> str:
    """The innermost block that has a name of its own."""
    named = [region.name for region in row.region.path if region.kind not in ("repeat", "route")]
    return named[-1].replace("_", " ") if len(named) > 1 else ""
