"""A page for the terminal: paragraphs and tables at a width, styled where the terminal shows it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from textwrap import wrap

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

WIDTH = 100
STATUS_STYLES = {
    "crosses": "green",
    "always": "green",
    "beyond_memory": "yellow",
    "never": "yellow",
    "leaves": "yellow",
    "does_not_fit": "red",
}

# stands for a space at which a line is not broken; never shown
GLUE = "\ue000"
_LONGEST = 60

# the end of a line in which nothing is seen: spaces, and codes that switch a style off
_CODE = re.compile(r"\x1b\[[0-9;]*m")
_TRAILING = re.compile(rf"(?: |{_CODE.pattern})+$")

_ASCII = str.maketrans(
    {
        "≤": "<=",
        "≥": ">=",
        "·": "*",
        "∞": "inf",
        "−": "-",
        "×": "x",
        "…": "...",
        "–": "-",
        "≠": "!=",
        "├": "|",
        "─": "-",
        "└": "`",
        "│": "|",
        "→": "->",
        "∑": "sum",
        "µ": "u",
    }
)


def _codes(end: re.Match[str]) -> str:
    return "".join(_CODE.findall(end[0]))


def glued(text: str) -> str:
    """A formula that is broken before its `+` and `−`, within a long bracket too, and at a `·` only in a long term."""
    if " · " not in text and " / " not in text:
        return text
    out, depth, bracket = "", 0, 0
    terms = [len(term) for term in re.split(r" (?=[+−] )", text)]
    for i, character in enumerate(text):
        if character == "(" and depth == 0:
            bracket = _closing(text, i) - i
        depth += (character == "(") - (character == ")")
        before_sign = text[i + 1 : i + 3] in ("+ ", "− ")
        if character == " " and before_sign:
            terms.pop(0)
            kept = depth > 1 or (depth == 1 and bracket <= _LONGEST)
        else:
            kept = depth > 0 or terms[0] <= _LONGEST or out[-1:] in ("+", "−", "/")
        out += GLUE if character == " " and kept else character
    return out


def _closing(text: str, opening: int) -> int:
    """Where the bracket that opens here is closed."""
    depth = 0
    for i in range(opening, len(text)):
        depth += (text[i] == "(") - (text[i] == ")")
        if depth == 0:
            return i
    return len(text)


def folded(text: str, width: int, hang: int = 0) -> str:
    """A formula on lines of a width, the later ones indented."""
    joined = glued(text)
    if max(map(len, joined.split(" "))) + hang > width:
        joined = text
    lines = wrap(joined, width, subsequent_indent=" " * hang, break_on_hyphens=False)
    return "\n".join(lines).replace(GLUE, " ")


@dataclass(frozen=True)
class Words:
    """A paragraph."""

    text: Text
    indent: int = 0

    @property
    def bold(self) -> bool:
        return any("bold" in str(style) for style in (self.text.style, *(span.style for span in self.text.spans)))


@dataclass(frozen=True)
class Line:
    """What stands at the left and what at the right end of a line; `name` is in front, and padded."""

    left: str
    right: str
    indent: int
    hang: int
    style: str
    name: str


@dataclass(frozen=True)
class Heading:
    """The name of a section, and what stands at its right end."""

    text: str
    right: str


@dataclass(frozen=True)
class Rows:
    """A table; `justify` has a letter a column, l or r; column `expand` takes the room that is left."""

    rows: tuple[tuple[str | Text, ...], ...]
    justify: str
    header: tuple[str, ...] | None
    indent: int
    gap: int
    expand: int | None
    styles: tuple[str, ...] | None

    @property
    def used(self) -> list[int]:
        """The columns that are not empty."""
        rows = self.rows if self.header is None else (*self.rows, self.header)
        return [i for i in range(len(self.justify)) if any(str(row[i]) for row in rows)]


@dataclass(frozen=True)
class Counted:
    """The line of conventions with which each answer ends."""

    words: str


Part = Words | Line | Heading | Rows | Counted


class Page:
    """What an answer shows, from top to bottom; `width` is that of the terminal for which it is made up."""

    def __init__(self, width: int = WIDTH) -> None:
        self.width = max(40, min(width, WIDTH))
        self.parts: list[Part] = []

    @property
    def wide(self) -> bool:
        return self.width >= WIDTH

    def text(self, text: str | Text, indent: int = 0, style: str = "") -> None:
        """A paragraph, broken at the page's width."""
        self.parts.append(Words(text if isinstance(text, Text) else Text(text, style=style), indent))

    def space(self) -> None:
        if self.parts:
            self.parts.append(Words(Text("")))

    def spread(self, left: str, right: str, indent: int = 2, hang: int = 2, style: str = "", name: str = "") -> None:
        """What stands at the left and what at the right end of a line; on two lines where one is too short."""
        self.parts.append(Line(left, right, indent, hang, style, name))

    def heading(self, text: str, right: str = "") -> None:
        """The name of a section, and what stands at its right end."""
        self.space()
        self.parts.append(Heading(text, right))

    def table(
        self,
        rows: Sequence[Sequence[str | Text]],
        justify: str,
        header: Sequence[str] | None = None,
        indent: int = 2,
        gap: int = 2,
        expand: int | None = None,
        styles: Sequence[str] | None = None,
    ) -> None:
        """Rows in columns; `justify` has a letter a column, l or r; column `expand` takes the room that is left."""
        cells = tuple(map(tuple, rows))
        head, looks = (tuple(each) if each is not None else None for each in (header, styles))
        self.parts.append(Rows(cells, justify, head, indent, gap, expand, looks))

    def counted(self, words: str) -> None:
        """The line of conventions with which each answer ends."""
        self.space()
        self.parts.append(Counted(words))

    def blocks(self) -> Iterator[Words | Heading | Rows | Counted]:
        """The page for a form that sets tables itself: lines in a row as one, and nothing that only spaces."""
        lines: list[tuple[str, str, str]] = []
        for part in (*self.parts, Words(Text(""))):
            if isinstance(part, Line):
                lines.append((part.name.strip(), part.left, part.right))
                continue
            if lines:
                yield Rows(tuple(lines), "llr", None, 0, 0, None, None)
                lines = []
            if isinstance(part, Rows):
                yield replace(part, rows=tuple(row for row in part.rows if any(map(str, row))))
            elif not isinstance(part, Words) or part.text.plain.strip():
                yield part

    def show(self, color: bool = False, ascii_only: bool = False) -> str:
        """The page as text, with escape codes where `color`."""
        out = StringIO()
        console = Console(
            file=out,
            width=self.width,
            force_terminal=color,
            no_color=not color,
            highlight=False,
            markup=False,
            emoji=False,
            legacy_windows=False,
            color_system="standard" if color else None,
        )
        console.print(Group(*(_rendered(part, self.width) for part in self.parts)))
        text = out.getvalue()
        text = "\n".join(_TRAILING.sub(_codes, line) for line in text.splitlines()) + "\n"
        return text.translate(_ASCII) if ascii_only else text


def _rendered(part: Part, width: int) -> RenderableType:
    match part:
        case Words():
            return Padding(part.text, (0, 0, 0, part.indent)) if part.indent else part.text
        case Line():
            return _line(part, width - part.indent)
        case Heading(right=""):
            return Text(part.text, style="bold")
        case Heading():
            grid = Table.grid(expand=True)
            grid.add_column()
            grid.add_column(justify="right")
            grid.add_row(Text(part.text, style="bold"), Text(part.right, style="dim"))
            return grid
        case Rows():
            return _table(part, width - part.indent)
        case Counted():
            return Text("\n".join(wrap("Counted: " + part.words, width, subsequent_indent="  ")), style="dim")


def _line(line: Line, room: int) -> RenderableType:
    lines = folded(f"{line.name}  {line.left}" if line.name else line.left, room, line.hang).split("\n")
    if len(lines[-1]) + 2 + len(line.right) <= room:
        lines[-1] = lines[-1] + line.right.rjust(room - len(lines[-1]))
    elif line.right:
        lines.append(line.right.rjust(room))
    return Padding(Text("\n".join(lines), style=line.style), (0, 0, 0, line.indent))


def _table(part: Rows, width: int) -> RenderableType:
    header, expand, gap = part.header, part.expand, part.gap
    table = Table(
        box=None,
        show_header=header is not None,
        pad_edge=False,
        padding=(0, gap, 0, 0),
        expand=expand is not None,
        header_style="dim",
        collapse_padding=False,
    )
    for i, letter in enumerate(part.justify):
        table.add_column(
            Text(header[i]) if header else "",
            justify="right" if letter == "r" else "left",
            no_wrap=expand is None or i != expand,
            ratio=1 if i == expand else None,
            overflow="fold",
        )
    room = width - sum(
        max([len(header[i]) if header else 0, *(len(row[i]) for row in part.rows)]) + gap
        for i in range(len(part.justify))
        if i != expand
    )
    for i, row in enumerate(part.rows):
        cells = [cell if isinstance(cell, Text) else Text(cell) for cell in row]
        if expand is not None and isinstance(row[expand], str) and room > 0:
            cells[expand] = Text(folded(str(row[expand]), room))
        table.add_row(*cells, style=part.styles[i] if part.styles else None)
    return Padding(table, (0, 0, 0, part.indent))
