r"""A document of headings, paragraphs, tables and displayed formulas, and how it is written in LaTeX and Markdown.

The LaTeX needs only amsmath, and no line of it is wider than the text of a plain `article`. The Markdown is left alone
by CommonMark and set by KaTeX and MathJax.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
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
    """Rows in groups, with a rule between these; `columns` are `l` and `r`."""

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
                r"\begingroup\allowdisplaybreaks\emergencystretch=3em",
                *(_latex_block(block) for block in self.blocks),
                r"\par\endgroup",
                "",
            ]
        )

    def standalone(self) -> str:
        """A whole LaTeX document."""
        return f"{_PREAMBLE}\\begin{{document}}\n{self.latex()}\\end{{document}}\n"

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
\usepackage{microtype}
\usepackage[margin=30mm,top=20mm,bottom=22mm,footskip=9mm]{geometry}
\setcounter{secnumdepth}{0}
\raggedbottom\setlength{\parindent}{0pt}\setlength{\parskip}{3pt plus 1pt}
"""


def _one_line(text: str) -> str:
    return re.sub(r"[^\S ]|[\x00-\x1f\x7f]", " ", text)


# --- LaTeX


def _latex_block(block: Block) -> str:
    match block:
        case Heading():
            return f"\n\\{'sub' * (block.level - 1)}section{{{escape(block.text)}}}"
        case Paragraph():
            title = f"\n\\paragraph{{{escape(block.title)}.}}\n" if block.title else "" if block.goes_on else "\n"
            return title + _latex_words(block.words)
        case Table():
            return "\n".join(_latex_table(block))
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


# how wide a table may be and the space beside a column, in digits; how many lines of it a page holds
_TABLE, _GAP, _TALLEST = 67.0, 2.4, 36
_LETTER = 0.93
LINE_END: Piece = Code("")


def _latex_table(table: Table) -> Iterator[str]:
    """The table, in several where it is taller than a page; cells that are too wide in lines of their own."""
    rooms = _rooms(table)
    if rooms is None:
        table = _stacked(table)
        rooms = _rooms(table, anyway=True) or []
    header = " & ".join(map(escape, table.header)) + r" \\"
    opening = [r"\begin{center}", rf"\begin{{tabular}}{{{table.columns}}}", r"\toprule", header, r"\midrule"]
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
            yield from lines
            height += len(lines)
    yield from closing


def _latex_row(row: Sequence[Words], rooms: Sequence[float]) -> Iterator[str]:
    cells = [_cell_lines(cell, room) for cell, room in zip(row, rooms, strict=True)]
    for i in range(max(map(len, cells))):
        line = (_latex_words(cell[i]) if i < len(cell) else "" for cell in cells)
        yield (" & ".join(line) + r" \\").lstrip()


def _columns(table: Table) -> list[list[Words]]:
    rows = [tuple((head,) for head in table.header), *(row for group in table.groups for row in group)]
    return [[row[i] for row in rows] for i in range(len(table.header))]


def _rooms(table: Table, anyway: bool = False) -> list[float] | None:
    """How wide each column may be, so that all fit: the widest give way first. None where they cannot."""
    columns = _columns(table)
    room = _TABLE - _GAP * len(columns)
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
            rows += [tuple(map(_markdown_words, row)) for group in block.groups for row in group]
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
