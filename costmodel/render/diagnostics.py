"""Diagnostics as prose: what is wrong, where, and what is known that helps."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from costmodel.names import prose
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


def _width(text: str) -> int:
    """How many columns of a terminal a text takes: two for a wide character, none for a combining one."""
    if text.isascii():
        return len(text)
    return sum(
        2 if unicodedata.east_asian_width(c) in "WF" else 0 if unicodedata.category(c) in ("Mn", "Me") else 1
        for c in text
    )


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def render(diagnostics: Iterable[Diagnostic], unchecked: str = "", counted: bool = True) -> str:
    """All of them, apart by empty lines, and a last line that counts them where there are several."""
    diagnostics = list(diagnostics)
    parts = [render_one(diagnostic) for diagnostic in diagnostics]
    errors = [d for d in diagnostics if d.severity == "error"]
    sources = list(dict.fromkeys(d.span.source.name for d in errors if d.span is not None))
    if (len(errors) > 1 and counted) or unchecked:
        where = f"{visible(sources[0])}: " if len(sources) == 1 else ""
        count = f"{len(errors)} error{'s' if len(errors) > 1 else ''}"
        parts.append("\n".join(_wrapped(f"{where}{count}{'. ' + sentence(unchecked) if unchecked else ''}", "    ")))
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
    facts = [*diagnostic.facts, *_again(diagnostic)]
    if (facts or diagnostic.help) and marks:
        lines.append(f"{gutter} |")
    for fact in facts:
        lines.extend(_wrapped(f"{gutter} = {visible(fact)}", gutter + "   "))
    if diagnostic.help:
        lines.extend(_wrapped(f"{gutter} = help: {visible(diagnostic.help)}", gutter + "   "))
    return "\n".join(lines)


_MOST_PLACES = 8


def _again(diagnostic: Diagnostic) -> list[str]:
    """The further places of which the same holds, in words."""
    if diagnostic.span is None:
        return []
    here = diagnostic.span.line
    columns = [str(span.column) for span in diagnostic.again if span.line == here]
    lines = dict.fromkeys(str(span.line) for span in diagnostic.again if span.line != here)
    places = [_places("column", columns), _places("line", list(lines))]
    return [f"the same at {' and at '.join(filter(None, places))}"] if any(places) else []


def _places(what: str, numbers: Sequence[str]) -> str:
    """`lines 4, 7 and 9`."""
    if not numbers:
        return ""
    more = len(numbers) - _MOST_PLACES
    shown = [*numbers[:_MOST_PLACES], f"{more} more"] if more > 0 else numbers
    return f"{what}{'s' if len(numbers) > 1 else ''} {prose(shown)}"


def as_json(diagnostics: Iterable[Diagnostic]) -> list[dict[str, Any]]:
    """The same facts apart, for programs; each place is told by itself."""
    found = []
    for diagnostic in diagnostics:
        for span in (diagnostic.span, *diagnostic.again):
            found.append(
                {
                    "line": span.line if span else None,
                    "column": span.column if span else None,
                    "end_line": span.end_line if span else None,
                    "end_column": span.end_column if span else None,
                    "code": diagnostic.code,
                    "message": visible(diagnostic.message),
                    "hint": visible(diagnostic.help) or None,
                }
            )
    return found


def _wrapped(text: str, indent: str) -> list[str]:
    """Break at spaces so that no line is wider than the page; a word longer than that is cut."""
    lines: list[str] = []
    rest = text
    while _width(rest) > WIDTH:
        cut = rest.rfind(" ", len(indent) + 1, _fitting(rest, WIDTH) + 1)
        if cut < 0:
            rest = rest[: _fitting(rest, WIDTH - 1)] + "…"
            break
        lines.append(rest[:cut])
        rest = indent + rest[cut + 1 :]
    return [*lines, rest]


def _fitting(text: str, room: int) -> int:
    """How many characters from the start fit in so many columns."""
    count = min(len(text), room)
    while _width(text[:count]) > room:
        count -= 1
    return count


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
        # what is far from the spans is not shown in any case
        self.skipped = max(0, min(span.column for span in spans) - 1 - 2 * room)
        last = max(span.column + span.end - span.start for span in spans)
        pieces = ["    " if c == "\t" else visible(c) for c in raw[self.skipped : last + 2 * room]]
        self.starts = [0]
        for piece in pieces:
            self.starts.append(self.starts[-1] + _width(piece))
        whole, width = "".join(pieces), self.starts[-1]
        self.left, self.room = 0, room
        self.text = whole
        if width <= room:
            return
        first = min(self._from(span) for span in spans)
        spare = max(room - (max(self._to(span) for span in spans) - first), room // 3)
        self.left = max(0, min(first - spare // 2, width - room))
        self.text = _between(whole, self.left, room, width)

    def _from(self, span: Span) -> int:
        return self._at(span.column - 1)

    def _to(self, span: Span) -> int:
        """Where a span ends on its first line."""
        return max(self._at(span.column - 1 + max(span.end - span.start, 1)), self._from(span) + 1)

    def _at(self, index: int) -> int:
        """The column at which a character is shown."""
        return self.starts[max(0, min(index - self.skipped, len(self.starts) - 1))]

    def place(self, span: Span) -> tuple[int, int]:
        """Where a span begins in the shown text, and how long it is there."""
        start = min(max(self._from(span) - self.left, 0), self.room - 1)
        end = min(max(self._to(span) - self.left, start + 1), self.room)
        return start, end - start


def _between(text: str, left: int, room: int, width: int) -> str:
    """The columns of a text from `left` on, with marks where more was cut off."""
    cells: list[str] = []
    for character in text:
        # a wide character stands in the first of its columns
        size = _width(character)
        if size == 0 and cells:
            cells[-1] += character
        else:
            cells.extend([character, *[""] * (size - 1)][:size])
    shown = cells[left : left + room]
    if left:
        shown[:2] = ["…", shown[1] or " "]
    if left + room < width:
        shown[-2:] = [shown[-2] if shown[-1] else " ", "…"]
    return "".join(shown)
