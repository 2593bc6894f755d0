"""A page for the terminal: paragraphs and tables at a width, styled where the terminal shows it."""

from __future__ import annotations

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
        lines = wrap(left, room, subsequent_indent=" " * hang, break_long_words=True, drop_whitespace=False) or [""]
        lines = [line.rstrip() for line in lines]
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
        for i, row in enumerate(rows):
            cells = [cell if isinstance(cell, Text) else Text(cell) for cell in row]
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
        text = "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
        return text.translate(_ASCII) if ascii_only else text
