"""A page for the terminal: paragraphs and tables at a width, styled where the terminal shows it."""

from __future__ import annotations

import re
from collections.abc import Sequence
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


class Page:
    """What an answer shows, from top to bottom."""

    def __init__(self, width: int = WIDTH) -> None:
        self.width = max(40, min(width, WIDTH))
        self.parts: list[RenderableType] = []

    @property
    def wide(self) -> bool:
        return self.width >= WIDTH

    def text(self, text: str | Text, indent: int = 0, style: str = "") -> None:
        """A paragraph, broken at the page's width."""
        body = text if isinstance(text, Text) else Text(text, style=style)
        self.parts.append(Padding(body, (0, 0, 0, indent)) if indent else body)

    def space(self) -> None:
        if self.parts:
            self.parts.append(Text(""))

    def spread(self, left: str, right: str, indent: int = 2, hang: int = 2, style: str = "") -> None:
        """What stands at the left and what at the right end of a line; on two lines where one is too short."""
        room = self.width - indent
        lines = folded(left, room, hang).split("\n")
        if len(lines[-1]) + 2 + len(right) <= room:
            lines[-1] = lines[-1] + right.rjust(room - len(lines[-1]))
        elif right:
            lines.append(right.rjust(room))
        self.parts.append(Padding(Text("\n".join(lines), style=style), (0, 0, 0, indent)))

    def heading(self, text: str, right: str = "") -> None:
        """The name of a section, and what stands at its right end."""
        self.space()
        if not right:
            self.parts.append(Text(text, style="bold"))
            return
        grid = Table.grid(expand=True)
        grid.add_column()
        grid.add_column(justify="right")
        grid.add_row(Text(text, style="bold"), Text(right, style="dim"))
        self.parts.append(grid)

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
        table = Table(
            box=None,
            show_header=header is not None,
            pad_edge=False,
            padding=(0, gap, 0, 0),
            expand=expand is not None,
            header_style="dim",
            collapse_padding=False,
        )
        for i, letter in enumerate(justify):
            table.add_column(
                Text(header[i]) if header else "",
                justify="right" if letter == "r" else "left",
                no_wrap=expand is None or i != expand,
                ratio=1 if i == expand else None,
                overflow="fold",
            )
        room = (
            self.width
            - indent
            - sum(
                max([len(header[i]) if header else 0, *(len(row[i]) for row in rows)]) + gap
                for i in range(len(justify))
                if i != expand
            )
        )
        for i, row in enumerate(rows):
            cells = [cell if isinstance(cell, Text) else Text(cell) for cell in row]
            if expand is not None and isinstance(row[expand], str) and room > 0:
                cells[expand] = Text(folded(str(row[expand]), room))
            table.add_row(*cells, style=styles[i] if styles else None)
        self.parts.append(Padding(table, (0, 0, 0, indent)))

    def counted(self, words: str) -> None:
        """The line of conventions with which each answer ends."""
        self.space()
        lines = wrap("Counted: " + words, self.width, subsequent_indent="  ")
        self.parts.append(Text("\n".join(lines), style="dim"))

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
        console.print(Group(*self.parts))
        text = out.getvalue()
        text = "\n".join(_TRAILING.sub(_codes, line) for line in text.splitlines()) + "\n"
        return text.translate(_ASCII) if ascii_only else text
