"""The canonical layout of a spec: indents, spaces and columns. Lines stay where their author broke them.

- Four spaces an open bracket, whichever brackets a line opens; four more where a line goes on with a statement.
- One space around operators, none inside brackets, two between statements of one line.
- The parts of `dim` lines that follow each other stand in columns, so do the types of `dtype` lines and the comments
  behind lines.
- No blank line at either end or inside a brace, and never two.

Nothing but white space changes: the tokens, and so the meaning, are the same, and comments are kept to the letter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from lark.lexer import Token

from costmodel import syntax, walk
from costmodel.parser import parse_spec
from costmodel.parser.tokens import CLOSE, OPEN
from costmodel.source import Report, Source

_INDENT = 4
_NUMBER = re.compile(r"[0-9_.]+([eE][+-]?[0-9]+)?")
_OPERANDS = frozenset("NAME NUMBER QUANTITY STRING TRUE FALSE NONE RPAR RSQB".split())


def laid_out(source: Source) -> str:
    """A spec's text in the canonical layout.

    Raises:
        SpecError: it cannot be parsed.

    Example:
        >>> laid_out(Source("a.arch", "model a\\ndim  n=3 # layers\\n"))
        'model a\\ndim n = 3  # layers\\n'
    """
    report = Report()
    parsed = parse_spec(source, report)
    report.raise_errors()
    places = {node.span.start: node.span.end for node in _nodes(parsed.spec)}
    lines = list(_without_idle_blanks(_indented(_lines(source, parsed.tokens), places)))
    return "".join(f"{text}\n" for text in _with_comments(lines, _texts(lines, places)))


@dataclass(frozen=True)
class _Line:
    """Tokens that stand on a line, and the comment behind them or alone; nothing at all on a blank one."""

    tokens: tuple[Token, ...] = ()
    comment: str = ""
    indent: int = 0

    @property
    def blank(self) -> bool:
        return not self.tokens and not self.comment


def _nodes(spec: syntax.Spec) -> Iterator[syntax.Declaration | syntax.Statement | syntax.Setting | syntax.Field]:
    """Whatever begins a line of its own where nobody has two on one."""
    for declaration in spec.declarations:
        yield declaration
        match declaration:
            case syntax.Block() | syntax.OpDeclaration() | syntax.Graph():
                yield from walk.statements(declaration.body)
            case syntax.Phase():
                yield from declaration.settings
            case syntax.Variant():
                yield from declaration.settings
                yield from declaration.dtypes
                yield from declaration.expects
            case syntax.DeviceDeclaration():
                yield from declaration.fields
            case _:
                pass


def _lines(source: Source, tokens: Sequence[Token]) -> Iterator[_Line]:
    on_line: list[Token] = []
    at = 0
    for token in (*tokens, None):
        end = len(source.text) if token is None else token.start_pos or 0
        behind, *others = (piece.strip() for piece in source.text[at:end].split("\n"))
        if others or token is None:
            yield _Line(tuple(on_line), behind)
            yield from (_Line((), comment) for comment in (others if token is None else others[:-1]))
            on_line = []
        if token is not None:
            on_line.append(token)
            at = token.end_pos or 0


def _indented(lines: Iterator[_Line], places: Mapping[int, int]) -> Iterator[_Line]:
    open_brackets: list[tuple[str, int]] = []
    for line in lines:
        inside, indent = open_brackets[-1] if open_brackets else ("LBRACE", -_INDENT)
        first = line.tokens[0] if line.tokens else None
        if first is None or first.type not in CLOSE:
            indent += _INDENT
            if first is not None and inside == "LBRACE" and first.type not in ("ELSE", "LBRACE", "SEMICOLON"):
                indent += 0 if first.start_pos in places else _INDENT
        for token in line.tokens:
            if token.type in OPEN:
                open_brackets.append((token.type, indent))
            elif token.type in CLOSE:
                open_brackets.pop()
        yield replace(line, indent=indent)


def _without_idle_blanks(lines: Iterator[_Line]) -> Iterator[_Line]:
    """Without blank lines at the ends, doubled, behind what opens a bracket and before what closes one."""
    waiting, opened = False, True
    for line in lines:
        if line.blank:
            waiting = True
            continue
        closes = bool(line.tokens) and line.tokens[0].type in CLOSE
        if waiting and not opened and not closes:
            yield _Line()
        yield line
        waiting, opened = False, bool(line.tokens) and line.tokens[-1].type in OPEN


def _texts(lines: Sequence[_Line], places: Mapping[int, int]) -> Iterator[str]:
    """What each line says, its comment left out; declarations of one kind that follow each other as a table."""
    for (kind, indent), group in groupby(lines, key=lambda line: (_kind(line, places), line.indent)):
        rows = [[_spaced(cell, places) for cell in _cells(line.tokens, kind)] for line in group]
        for row in _aligned(rows):
            yield (" " * indent + row).rstrip()


def _kind(line: _Line, places: Mapping[int, int]) -> str:
    """`DIM` or `DTYPE` for a line that is one such declaration, whole."""
    if not line.tokens or line.tokens[0].type not in ("DIM", "DTYPE"):
        return ""
    end = places.get(line.tokens[0].start_pos or 0)
    return line.tokens[0].type if end == line.tokens[-1].end_pos else ""


def _cells(tokens: Sequence[Token], kind: str) -> list[Sequence[Token]]:
    """A `dim`'s name, value, symbol and meaning, a `dtype`'s role and type; all else is one cell."""
    if not kind:
        return [tokens]
    last, end = tokens[-1], len(tokens)
    doc = end - 1 if kind == "DIM" and last.type == "STRING" and tokens[-2].type in (*_OPERANDS, "STRING") else end
    symbol = next((i for i, token in enumerate(tokens[:doc]) if token.type == "AS" and i + 2 == doc), doc)
    return [tokens[:2], tokens[2:symbol], tokens[symbol:doc], tokens[doc:]]


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows as lines, a cell as wide as its column; one space behind a name and a symbol, two behind a value."""
    widths = [0] * max(map(len, rows))
    for row in rows:
        for i, cell in enumerate(row):
            if any(row[i + 1 :]):
                widths[i] = max(widths[i], len(cell))
    for row in rows:
        gaps = ["  " if i == 1 else " " for i in range(len(row))]
        yield "".join(
            f"{cell:{width}}{gap}" if width else cell for cell, width, gap in zip(row, widths, gaps, strict=True)
        )


def _spaced(tokens: Sequence[Token], places: Mapping[int, int]) -> str:
    """Tokens with the canonical space between them."""
    text, before = "", list[Token]()
    for token in tokens:
        text += _space(before, token, places) + _canonical(token)
        before.append(token)
    return text


def _space(before: Sequence[Token], token: Token, places: Mapping[int, int]) -> str:
    if not before:
        return ""
    last = before[-1].type
    if last == "LBRACE" or token.type == "RBRACE":
        return "" if last == "LBRACE" and token.type == "RBRACE" else " "
    if token.start_pos in places and last != "SEMICOLON":
        return "  "
    if last in ("LPAR", "LSQB", "DOT") or token.type in ("RPAR", "RSQB", "COMMA", "SEMICOLON", "DOT"):
        return ""
    if token.type in ("LPAR", "LSQB") and last == "NAME":
        return ""
    return "" if last == "MINUS" and not _is_operand(before[:-1]) else " "


def _is_operand(before: Sequence[Token]) -> bool:
    """Whether something to subtract from stands there: a name behind a dot may be a word of the language."""
    return bool(before) and (before[-1].type in _OPERANDS or (len(before) > 1 and before[-2].type == "DOT"))


def _canonical(token: Token) -> str:
    """A token's text, with one space between a number and its unit."""
    if token.type != "QUANTITY":
        return str(token)
    number = _NUMBER.match(token)
    assert number is not None
    return f"{number[0]} {token[number.end() :].strip()}"


def _with_comments(lines: Sequence[_Line], texts: Iterator[str]) -> Iterator[str]:
    """The lines' texts with their comments, those of lines that follow each other at one indent in one column."""
    both = zip(lines, texts, strict=True)
    for _, group in groupby(both, key=lambda pair: (pair[0].indent, bool(pair[0].tokens))):
        pairs = list(group)
        width = max((len(text) for line, text in pairs if line.comment), default=0)
        for line, text in pairs:
            if not line.comment:
                yield text
            else:
                yield f"{text:{width}}  {line.comment}" if line.tokens else " " * line.indent + line.comment
