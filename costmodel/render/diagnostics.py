"""Diagnostics as prose: what is wrong, where, and what is known that helps."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Any

from costmodel.source import Diagnostic, Span

WIDTH = 100


def visible(text: str) -> str:
    """A text from outside, safe to show: what is not shown, or would change what is, stands escaped.

    >>> visible("a\\u202eb")
    'a\\\\u202eb'
    """
    return "".join(
        c if c == " " or (c.isprintable() and unicodedata.category(c) != "Cf") else _escaped(c) for c in text
    )


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def render(diagnostics: Iterable[Diagnostic], unchecked: str = "") -> str:
    """All of them, apart by empty lines, and a last line that counts them where there are several."""
    diagnostics = list(diagnostics)
    parts = [render_one(diagnostic) for diagnostic in diagnostics]
    errors = [d for d in diagnostics if d.severity == "error"]
    sources = list(dict.fromkeys(d.span.source.name for d in errors if d.span is not None))
    if len(errors) > 1 or unchecked:
        where = f"{visible(sources[0])}: " if len(sources) == 1 else ""
        count = f"{len(errors)} error{'s' if len(errors) > 1 else ''}"
        parts.append(f"{where}{count}{'. ' + sentence(unchecked) if unchecked else ''}")
    return "\n\n".join(parts)


def sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def render_one(diagnostic: Diagnostic) -> str:
    """One diagnostic, at most 100 columns wide."""
    lines = _wrapped(f"{diagnostic.severity}: {visible(diagnostic.message)}", "    ")
    marks = [] if diagnostic.span is None else [(diagnostic.span, "^", diagnostic.label)]
    marks += [(label.span, "-", label.text) for label in diagnostic.others]
    gutter = ""
    if marks:
        width = len(str(max(span.line for span, _, _ in marks)))
        gutter = " " * width
        first = marks[0][0]
        lines.append(f"{gutter}--> {visible(first.source.name)}:{first.line}:{first.column}")
        for source in dict.fromkeys(span.source for span, _, _ in marks):
            here = [mark for mark in marks if mark[0].source is source]
            if source is not first.source:
                lines.append(f"{gutter}::: {visible(source.name)}:{here[0][0].line}:{here[0][0].column}")
            lines.append(f"{gutter} |")
            lines.extend(_excerpt(here, width))
    if (diagnostic.facts or diagnostic.help) and marks:
        lines.append(f"{gutter} |")
    for fact in diagnostic.facts:
        lines.extend(_wrapped(f"{gutter} = {visible(fact)}", gutter + "   "))
    if diagnostic.help:
        lines.extend(_wrapped(f"{gutter} = help: {visible(diagnostic.help)}", gutter + "   "))
    return "\n".join(lines)


def as_json(diagnostic: Diagnostic) -> dict[str, Any]:
    """The same facts apart, for programs."""
    span = diagnostic.span
    return {
        "line": span.line if span else None,
        "column": span.column if span else None,
        "end_line": span.end_line if span else None,
        "end_column": span.end_column if span else None,
        "code": diagnostic.code,
        "message": visible(diagnostic.message),
        "hint": visible(diagnostic.help) or None,
    }


def _wrapped(text: str, indent: str) -> list[str]:
    """Break at spaces so that no line is wider than the page; a word longer than that is cut."""
    lines: list[str] = []
    rest = text
    while len(rest) > WIDTH:
        cut = rest.rfind(" ", len(indent) + 1, WIDTH + 1)
        if cut < 0:
            rest = rest[: WIDTH - 1] + "…"
            break
        lines.append(rest[:cut])
        rest = indent + rest[cut + 1 :]
    return [*lines, rest]


def _excerpt(marks: list[tuple[Span, str, str]], width: int) -> list[str]:
    lines: list[str] = []
    numbers = sorted({span.line for span, _, _ in marks})
    for i, number in enumerate(numbers):
        if i and number > numbers[i - 1] + 1:
            lines.append("...")
        here = sorted((mark for mark in marks if mark[0].line == number), key=lambda mark: -mark[0].start)
        line = _Line([span for span, _, _ in here], WIDTH - width - 3)
        lines.append(f"{number:>{width}} | {line.text}")
        for span, character, label in here:
            start, length = line.place(span)
            under = f"{'':>{width}} | {' ' * start}{character * length}"
            said = visible(label)
            if said and len(under) + 1 + len(said) > WIDTH:
                lines.append(under)
                indent = f"{'':>{width}} | {' ' * max(0, min(start, WIDTH - width - 3 - len(said)))}"
                lines.extend(_wrapped(indent + said, indent))
            else:
                lines.append(f"{under} {said}".rstrip())
    return lines


class _Line:
    """A line as it is shown, cut round the spans in it to fit."""

    def __init__(self, spans: list[Span], room: int) -> None:
        raw = spans[0].source.line(spans[0].line)
        pieces = ["    " if c == "\t" else visible(c) for c in raw]
        self.starts = [0]
        for piece in pieces:
            self.starts.append(self.starts[-1] + len(piece))
        whole = "".join(pieces)
        self.left, self.room = 0, room
        self.text = whole
        if len(whole) <= room:
            return
        first = min(self._from(span) for span in spans)
        last = max(self._to(span) for span in spans)
        spare = max(room - (last - first), room // 3)
        self.left = max(0, min(first - spare // 2, len(whole) - room))
        shown = whole[self.left : self.left + room]
        if self.left:
            shown = "…" + shown[1:]
        if self.left + room < len(whole):
            shown = shown[:-1] + "…"
        self.text = shown

    def _from(self, span: Span) -> int:
        return self.starts[min(span.column - 1, len(self.starts) - 1)]

    def _to(self, span: Span) -> int:
        """Where a span ends on its first line."""
        column = span.column - 1 + max(span.end - span.start, 1)
        end = self.starts[min(column, len(self.starts) - 1)]
        return max(end, self._from(span) + 1)

    def place(self, span: Span) -> tuple[int, int]:
        """Where a span begins in the shown text, and how long it is there."""
        start = min(max(self._from(span) - self.left, 0), self.room - 1)
        end = min(max(self._to(span) - self.left, start + 1), self.room)
        return start, end - start
