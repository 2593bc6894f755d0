r"""A document of headings, paragraphs, tables and displayed formulas, and how it is written in LaTeX and Markdown.

The LaTeX needs only amsmath, and no line of it is wider than the text of a plain `article`. The Markdown is left alone
by CommonMark and set by KaTeX and MathJax.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from string import Formatter

from costmodel.render.latex import Equation, aligned, broken, escape, width
from costmodel.render.markdown import display, math, plain_text


@dataclass(frozen=True)
class Math:
    """A formula in a line."""

    latex: str


@dataclass(frozen=True)
class Code:
    """A word of the language or the command line."""

    text: str


@dataclass(frozen=True)
class Stressed:
    text: str


Piece = str | Math | Code | Stressed
Words = tuple[Piece, ...]


def words(text: str, **pieces: Piece) -> Words:
    """A text with pieces put where it names them.

    >>> words("At {x} it turns.", x=Math("x = 1"))
    ('At ', Math(latex='x = 1'), ' it turns.')
    """
    found: list[Piece] = []
    for literal, name, _, _ in Formatter().parse(text):
        found += [literal] if literal else []
        found += [pieces[name]] if name else []
    return tuple(found)


@dataclass(frozen=True)
class Heading:
    level: int
    text: str


@dataclass(frozen=True)
class Paragraph:
    """Words; `title` stands in bold before them. One that `goes_on` ends the sentence that a formula stands in."""

    words: Words
    title: str = ""
    goes_on: bool = False


@dataclass(frozen=True)
class Table:
    """Rows in groups, with a rule between these; `columns` are `l` and `r`. A row of one cell goes over all columns."""

    columns: str
    header: tuple[str, ...]
    groups: tuple[tuple[tuple[Words, ...], ...], ...]


@dataclass(frozen=True)
class Display:
    """Equations one below the other, their relations aligned."""

    equations: tuple[Equation, ...]


Block = Heading | Paragraph | Table | Display


@dataclass(frozen=True)
class Document:
    """Blocks from the title down; `made_by` is the command line that makes it."""

    blocks: tuple[Block, ...] = field(default=())
    made_by: str = ""

    def latex(self) -> str:
        """A fragment for a document that loads amsmath; with booktabs its rules are finer."""
        return "\n".join(
            [
                *([f"% {_one_line(self.made_by)}"] if self.made_by else []),
                r"% needs only amsmath",
                r"\providecommand{\toprule}{\hline}\providecommand{\midrule}{\hline}"
                r"\providecommand{\bottomrule}{\hline}",
                *self._body(_latex_table),
            ]
        )

    def standalone(self) -> str:
        """A whole LaTeX document, whose tables go on over pages."""
        made_by = f"% {_one_line(self.made_by)}\n" if self.made_by else ""
        body = "\n".join(self._body(_latex_long_table))
        return f"{made_by}{_PREAMBLE}\\begin{{document}}\n{body}\\end{{document}}\n"

    def _body(self, table: Callable[[Table], Iterator[str]]) -> Iterator[str]:
        yield r"\begingroup\allowdisplaybreaks\emergencystretch=3em"
        for block in self.blocks:
            yield "\n".join(table(block)) if isinstance(block, Table) else _latex_block(block)
        yield from (r"\par\endgroup", "")

    def markdown(self, level: int = 1) -> str:
        """Markdown whose title is a heading of this level."""
        parts = (
            [f"<!-- {_one_line(self.made_by).replace('-->', '--&gt;').replace('$', '&#36;')} -->"]
            if self.made_by
            else []
        )
        parts += [_markdown_block(block, level - 1) for block in self.blocks]
        return "\n\n".join(parts) + "\n"


_PREAMBLE = r"""\documentclass[10pt,a4paper]{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{lmodern}
\usepackage{amsmath}
\usepackage{booktabs}
\usepackage{longtable}
\usepackage{microtype}
\usepackage[margin=30mm,top=20mm,bottom=22mm,footskip=9mm]{geometry}
\setcounter{secnumdepth}{0}
\raggedbottom\setlength{\parindent}{0pt}\setlength{\parskip}{3pt plus 1pt}
\setlength{\LTpre}{5pt plus 2pt}\setlength{\LTpost}{5pt plus 2pt}
"""


def _one_line(text: str) -> str:
    return re.sub(r"[^\S ]|[\x00-\x1f\x7f]", " ", text)


# --- LaTeX


def _latex_block(block: Heading | Paragraph | Display) -> str:
    match block:
        case Heading():
            return f"\n\\{'sub' * (block.level - 1)}section{{{escape(block.text)}}}"
        case Paragraph():
            title = f"\n\\paragraph{{{escape(block.title)}.}}\n" if block.title else "" if block.goes_on else "\n"
            return title + _latex_words(block.words)
        case Display():
            lines = " \\\\\n".join(aligned(block.equations))
            return f"\\begin{{align*}}\n{lines}\n\\end{{align*}}"


def _latex_words(words: Words) -> str:
    return "".join(map(_latex_piece, words))


def _latex_piece(piece: Piece) -> str:
    match piece:
        case Math():
            return f"${piece.latex}$"
        case Code():
            return rf"\texttt{{{escape(piece.text)}}}"
        case Stressed():
            return rf"\emph{{{escape(piece.text)}}}"
        case str():
            return escape(piece)


# in digits: how wide a table may be in a plain article, and in the document that is made whole here; the space beside a
# column; in lines: how much of a table a page holds
_TABLE, _LONG_TABLE, _GAP, _TALLEST = 67.0, 82.0, 2.4, 36
_LETTER = 0.93
LINE_END: Piece = Code("")


def _latex_table(table: Table) -> Iterator[str]:
    """The table, in several where it is taller than a page; cells that are too wide in lines of their own."""
    table, rooms = _fitted(table, _TABLE)
    opening = [
        r"\begin{center}",
        rf"\begin{{tabular}}{{{table.columns}}}",
        r"\toprule",
        _latex_header(table),
        r"\midrule",
    ]
    closing = [r"\bottomrule", r"\end{tabular}", r"\end{center}"]
    yield from opening
    height = 0
    for i, group in enumerate(table.groups):
        rows = [list(_latex_row(row, rooms)) for row in group]
        if height and height + sum(map(len, rows)) > _TALLEST:
            yield from (*closing, *opening)
            height = 0
        elif i:
            yield r"\midrule"
        for lines in rows:
            if height and height + len(lines) > _TALLEST:
                yield from (*closing, *opening)
                height = 0
            yield from (rf"{line} \\" for line in lines)
            height += len(lines)
    yield from closing


def _latex_long_table(table: Table) -> Iterator[str]:
    """The table as one that goes on over pages, cut between rows, and never next to a group's first or last one."""
    table, rooms = _fitted(table, _LONG_TABLE)
    yield rf"\begin{{longtable}}{{{table.columns}}}"
    yield from (r"\toprule", _latex_header(table), r"\midrule", r"\endhead", r"\bottomrule", r"\endlastfoot")
    for i, group in enumerate(table.groups):
        if i:
            yield r"\midrule"
        for row in group:
            *most, last = _latex_row(row, rooms)
            yield from (rf"{line} \\*" for line in most)
            yield rf"{last} \\*" if row in (group[0], *group[-2:-1]) else rf"{last} \\"
    yield r"\end{longtable}"


def _latex_header(table: Table) -> str:
    return " & ".join(map(escape, table.header)) + r" \\"


def _latex_row(row: Sequence[Words], rooms: Sequence[float]) -> Iterator[str]:
    """The lines of a row."""
    if len(row) < len(rooms):
        yield rf"\multicolumn{{{len(rooms)}}}{{l}}{{{_latex_words(row[0])}}}"
        return
    cells = [_cell_lines(cell, room) for cell, room in zip(row, rooms, strict=True)]
    for i in range(max(map(len, cells))):
        yield " & ".join(_latex_words(cell[i]) if i < len(cell) else "" for cell in cells).lstrip()


def _fitted(table: Table, room: float) -> tuple[Table, list[float]]:
    """The table with how wide each column may be; with two columns stacked where all do not fit side by side."""
    rooms = _rooms(table, room)
    if rooms is not None:
        return table, rooms
    stacked = _stacked(table)
    return stacked, _rooms(stacked, room, anyway=True) or []


def _columns(table: Table) -> list[list[Words]]:
    rows = [tuple((head,) for head in table.header), *(row for group in table.groups for row in group)]
    return [[row[i] for row in rows if len(row) > 1] for i in range(len(table.header))]


def _rooms(table: Table, width: float, anyway: bool = False) -> list[float] | None:
    """How wide each column may be, so that all fit: the widest give way first. None where they cannot."""
    columns = _columns(table)
    room = width - _GAP * len(columns)
    widths = [max(map(_wide, column)) for column in columns]
    least = [max(_wide((atom,)) for words in column for atom in _atoms(words)) for column in columns]
    cap = max(widths)
    while sum(max(low, min(wide, cap)) for low, wide in zip(least, widths, strict=True)) > room:
        if cap <= min(least):
            if not anyway:
                return None
            break
        cap -= 0.5
    return [max(low, min(wide, cap)) for low, wide in zip(least, widths, strict=True)]


def _stacked(table: Table) -> Table:
    """The table with its last left columns one below the other."""
    at = table.columns.rindex("l")

    def merged(row: tuple[Words, ...]) -> tuple[Words, ...]:
        if len(row) == 1:
            return row
        joint: Words = (LINE_END, *row[at]) if row[at] != ("",) and row[at - 1] not in ((), ("",)) else row[at]
        return (*row[: at - 1], (*row[at - 1], *joint), *row[at + 1 :])

    header = (*table.header[: at - 1], f"{table.header[at - 1]}, {table.header[at]}", *table.header[at + 1 :])
    groups = tuple(tuple(map(merged, group)) for group in table.groups)
    return Table(table.columns[:at] + table.columns[at + 1 :], header, groups)


def _wide(words: Words) -> float:
    """About how wide words are set, in digits."""
    return sum(map(_width, words))


def _width(piece: Piece) -> float:
    if isinstance(piece, Math):
        return width(piece.latex)
    return _LETTER * len(piece if isinstance(piece, str) else piece.text)


def _atoms(words: Words) -> list[Piece]:
    """What is never cut: words, and the smallest parts of formulas."""
    atoms: list[Piece] = []
    for piece in words:
        if isinstance(piece, Math):
            atoms += [Math(part) for part in _parts(piece.latex)]
        elif isinstance(piece, str) and piece is not LINE_END:
            atoms += re.findall(r" *[^ ]+ *$| *[^ ]+", piece) or [piece]
        else:
            atoms.append(piece)
    return atoms


_CUT = re.compile(r"\\[A-Za-z]+|\\.|[{}]| (?:\\times|\\cdot|[+-]) | \\, |, |/")


def _parts(math: str) -> list[str]:
    """A formula cut at signs, commas and between factors, not inside braces."""
    found, start, braces = [], 0, 0
    for match in _CUT.finditer(math):
        braces += (match[0] == "{") - (match[0] == "}")
        if braces or match[0][0] not in " ,/":
            continue
        end = match.end() if match[0] == ", " else match.start()
        found.append(math[start:end].strip())
        start = match.end() if match[0] == r" \, " else end
    return [*found, math[start:].strip()]


def _cell_lines(words: Words, room: float) -> list[Words]:
    """A cell in lines that fit: text cut at spaces, formulas where an author would."""
    lines: list[list[Piece]] = [[]]
    for piece in words:
        if piece is LINE_END:
            lines.append([])
            continue
        atoms: list[Piece] = [piece]
        if isinstance(piece, Math) and width(piece.latex) > room:
            atoms = [Math(part) for part in broken(piece.latex, room)]
            if max(map(_width, atoms)) > room:
                atoms = [Math(part) for part in _filled(_parts(piece.latex), room)]
        elif isinstance(piece, str) and _wide((*lines[-1], piece)) > room:
            atoms = _atoms((piece,))
        for atom in atoms:
            if lines[-1] and _wide((*lines[-1], atom)) > room + 0.01:
                lines.append([])
                atom = atom.lstrip() if isinstance(atom, str) else atom
            lines[-1].append(atom)
    return [tuple(line) for line in lines]


def _filled(parts: list[str], room: float) -> list[str]:
    """Parts of a formula put together as far as they fit."""
    lines = parts[:1]
    for part in parts[1:]:
        joined = (
            f"{lines[-1]} {part}"
            if part.startswith(("\\times", "\\cdot", "+", "-", "/")) or lines[-1].endswith(",")
            else rf"{lines[-1]} \, {part}"
        )
        if width(joined) <= room:
            lines[-1] = joined
        else:
            lines.append(part)
    return lines


# --- Markdown


def _markdown_block(block: Block, deeper: int) -> str:
    match block:
        case Heading():
            return f"{'#' * min(block.level + deeper, 6)} {plain_text(block.text)}"
        case Paragraph():
            title = f"**{plain_text(block.title)}.** " if block.title else ""
            return title + _markdown_words(block.words)
        case Table():
            rules = [":--" if column == "l" else "--:" for column in block.columns]
            rows = [tuple(map(plain_text, block.header)), tuple(rules)]
            empty = ("",) * (len(rules) - 1)
            rows += [(*map(_markdown_words, row), *empty)[: len(rules)] for group in block.groups for row in group]
            return "\n".join(f"| {' | '.join(row)} |" for row in rows)
        case Display():
            return display(block.equations)


def _markdown_words(words: Words) -> str:
    return "".join(map(_markdown_piece, words))


def _markdown_piece(piece: Piece) -> str:
    match piece:
        case Math():
            return f"${math(piece.latex)}$"
        case Code():
            return f"`{piece.text}`"
        case Stressed():
            return f"*{plain_text(piece.text)}*"
        case str():
            return plain_text(piece)
