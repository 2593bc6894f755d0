"""A text's tokens, and what is wrong with single characters."""

from __future__ import annotations

import re
from collections.abc import Sequence

import lark
from lark.lexer import Token

from costmodel.source import Diagnostic, Report, Source, Span, SpecError

MOST_NESTING = 200
MOST_TOKENS = 1_000_000

_UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
OPEN = {"LPAR": "RPAR", "LSQB": "RSQB", "LBRACE": "RBRACE"}
CLOSE = {close: opening for opening, close in OPEN.items()}


def tokenize(parser: lark.Lark, source: Source, report: Report) -> list[Token]:
    """The text's tokens; each character that belongs nowhere is reported and passed over."""
    text = source.text
    for match in _UNSEEN.finditer(text):
        at = match.start()
        report.add(
            Diagnostic(
                "character",
                f"the character U+{ord(match[0]):04X}, which is not shown, stands in the text",
                source.span(at, at + 1),
                facts=("control characters and overrides of the direction of writing are not allowed anywhere",),
            )
        )
    if report.errors:
        text = _UNSEEN.sub(" ", text)
    tokens = _read(parser, source, text, report)
    if len(tokens) > MOST_TOKENS:
        span = span_of(source, tokens[-1])
        raise SpecError(Diagnostic("limit", f"more than {MOST_TOKENS:,} words and signs, the most of a spec", span))
    _check_nesting(source, tokens)
    return tokens


def _read(parser: lark.Lark, source: Source, text: str, report: Report) -> list[Token]:
    """The tokens, one more than there may be at most; lark's patterns without its loop, which takes twice the time."""
    thread = parser.parse_interactive(text, start="spec").lexer_thread
    lexer, whole = thread.lexer, thread.state.text
    assert lexer.scanner  # made when it is asked for, and `callback` with it
    match, ignored, callback = lexer.match, lexer.ignore_types, lexer.callback
    tokens: list[Token] = []
    at, line, line_start = 0, 1, 0
    while at < len(text) and len(tokens) <= MOST_TOKENS:
        found = match(whole, at)
        if found:
            value, kind = found
            end = at + len(value)
            if kind not in ignored:
                column = at - line_start + 1
                token = Token(kind, value, at, line, column, line, column + len(value), end)
                tokens.append(callback[kind](token) if kind in callback else token)
            elif "\n" in value:
                line += value.count("\n")
                line_start = at + value.rindex("\n") + 1
        else:
            report.add(_unknown_character(source, at))
            end = text.find("\n", at) if text[at] == '"' else at + 1
            end = end if end > 0 else len(text)
        at = end
    return tokens


def _unknown_character(source: Source, at: int) -> Diagnostic:
    character = source.text[at]
    span = source.span(at, at + 1)
    if character == '"':
        end = source.text.find("\n", at)
        span = source.span(at, len(source.text) if end < 0 else end)
        return Diagnostic("syntax", 'a string without its closing `"`', span, help="a string ends on its line")
    facts: tuple[str, ...] = ()
    if character == "'":
        facts = ('strings stand in double quotes: "…"',)
    elif not character.isascii():
        facts = ("names are ASCII letters, digits and `_`",)
    elif character == "@":
        facts = ("`@` is kept for sharding, which is to come",)
    elif character in "!&|":
        facts = ("a condition is one comparison with ==, !=, <=, <, >= or >",)
    return Diagnostic("syntax", f"the character `{character}` has no meaning here", span, facts=facts)


def _check_nesting(source: Source, tokens: Sequence[Token]) -> None:
    depth = 0
    for token in tokens:
        if token.type in OPEN:
            depth += 1
            if depth > MOST_NESTING:
                raise SpecError(too_deep(span_of(source, token)))
        elif token.type in CLOSE:
            depth = max(depth - 1, 0)


def too_deep(span: Span) -> Diagnostic:
    return Diagnostic("limit", f"nested deeper than {MOST_NESTING} levels", span)


def span_of(source: Source, token: Token) -> Span:
    return Span(source, token.start_pos or 0, token.end_pos or 0)
