"""How much of a text to leave out where it cannot be read, and which of its braces is not closed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lark.lexer import Token

from costmodel.names import RESERVED
from costmodel.parser.tokens import CLOSE, OPEN

KEYWORDS = frozenset(word.upper() for word in RESERVED)
DECLARATION_KEYWORDS = frozenset("MODEL USE DIM DTYPE SHARED BLOCK OP GRAPH PHASE VARIANT EXPECT DEVICE".split())
# declarations that no variant holds
_TOP_LEVEL = DECLARATION_KEYWORDS - {"DTYPE", "EXPECT"}


def first_on_line(tokens: Sequence[Token], at: int) -> bool:
    return at == 0 or tokens[at].line != tokens[at - 1].end_line


def declaration_around(tokens: Sequence[Token], at: int) -> tuple[int, int]:
    """The tokens of the top-level declaration that the faulty one stands in."""
    start, end, depth = 0, len(tokens), 0
    for i, token in enumerate(tokens):
        begins = token.type in DECLARATION_KEYWORDS or token.type == "WEIGHT"
        if begins and (depth == 0 or (token.column == 1 and token.type != "EXPECT")):
            if not (i and tokens[i - 1].type == "SHARED"):
                if i >= at:
                    end = i
                    break
                start = i
            depth = 0
        elif token.type in OPEN:
            depth += 1
        elif token.type in CLOSE:
            depth = max(depth - 1, 0)
    if start >= end:
        start, end = at, max(end, at + 1)
    return start, end


def statement_around(tokens: Sequence[Token], at: int) -> tuple[int, int] | None:
    """The tokens of the statement that the faulty one stands in, by the indentation of a body's lines.

    None where it stands in no body, the body is written in one line, or its braces do not balance.
    """
    brace = _open_brace(tokens, at)
    if brace is None or brace + 1 >= len(tokens) or not first_on_line(tokens, brace + 1):
        return None
    indent = tokens[brace + 1].column or 0
    starts = [i for i in range(brace + 1, at + 1) if i < len(tokens) and _begins(tokens, i, indent)]
    # what is missing at the end of a line is noticed at the first word of the next
    start = next((i for i in reversed(starts) if i < at), None)
    if start is None or (at < len(tokens) and tokens[at].type in _TOP_LEVEL):
        return None
    if start != at - 1 and starts[-1] == at and _balanced(tokens[start:at], brackets=True):
        start = at
    end = next((i for i in range(max(at, start + 1), len(tokens)) if _begins(tokens, i, indent)), None)
    if end is None or not _balanced(tokens[start:end]):
        return None
    return start, end


def _begins(tokens: Sequence[Token], at: int, indent: int) -> bool:
    return first_on_line(tokens, at) and (tokens[at].column or 0) <= indent


def _open_brace(tokens: Sequence[Token], at: int) -> int | None:
    """The innermost brace that is open before a token."""
    depth = 0
    for i in range(min(at, len(tokens)) - 1, -1, -1):
        if tokens[i].type == "RBRACE":
            depth += 1
        elif tokens[i].type == "LBRACE":
            if depth == 0:
                return i
            depth -= 1
    return None


def _balanced(tokens: Sequence[Token], brackets: bool = False) -> bool:
    """Whether each brace that is opened is closed, and none else; brackets too where those are asked for."""
    stack: list[str] = []
    for token in tokens:
        if token.type == "LBRACE" or (brackets and token.type in OPEN):
            stack.append(token.type)
        elif token.type == "RBRACE" or (brackets and token.type in CLOSE):
            if not stack or stack.pop() != CLOSE[token.type]:
                return False
    return not stack


@dataclass(frozen=True)
class Unclosed:
    """A brace that very likely lacks its `}`: the lines behind it say so.

    `closer` is the one of another indentation that closes it as it stands; `last` is the token behind which one is
    missing.
    """

    brace: Token
    closer: Token
    last: Token


def unclosed(tokens: Sequence[Token]) -> Unclosed | None:
    """The first brace whose `}` is indented less than the line that it stands in."""
    stack: list[int] = []
    starts: list[int] = []
    indent = 0
    for i, token in enumerate(tokens):
        if first_on_line(tokens, i):
            indent = token.column or 0
        if token.type == "LBRACE":
            stack.append(i)
            starts.append(indent)
        elif token.type == "RBRACE" and stack:
            opened, at = stack.pop(), starts.pop()
            if first_on_line(tokens, i) and (token.column or 0) < at:
                less = next(j for j in range(opened + 1, i + 1) if _begins(tokens, j, at))
                return Unclosed(tokens[opened], token, tokens[less - 1])
    return None
