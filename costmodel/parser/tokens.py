"""A text's tokens, and what is wrong with single characters."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

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


# signs as word processors and foreign keyboards put them, and what is very likely meant
_MEANT = {
    **dict.fromkeys("−–—‐‑", ("MINUS", "-")),
    **dict.fromkeys("×·∙⋅∗", ("STAR", "*")),
    "÷": ("SLASH", "/"),
    "≤": ("REL", "<="),
    "≥": ("REL", ">="),
    "≠": ("REL", "!="),
    "≈": ("REL", "~="),
    "→": ("ARROW", "->"),
    "，": ("COMMA", ","),
    "：": ("COLON", ":"),
    "；": ("SEMICOLON", ";"),
    "＝": ("EQUAL", "="),
    "（": ("LPAR", "("),
    "）": ("RPAR", ")"),
    "［": ("LSQB", "["),
    "］": ("RSQB", "]"),
    "｛": ("LBRACE", "{"),
    "｝": ("RBRACE", "}"),
}
_QUOTES = "'`“”„‟‘’‚«»"
_QUOTED = re.compile(f'[{_QUOTES}][^\n"{_QUOTES}]{{0,1000}}["{_QUOTES}]')
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Tokens:
    """A text's tokens, and the places of characters that belong nowhere."""

    tokens: list[Token]
    faults: list[int]


def tokenize(parser: lark.Lark, source: Source, report: Report) -> Tokens:
    """The text's tokens; each character that belongs nowhere is reported, and taken for what was meant or left out."""
    text = source.text
    faults: list[int] = []
    for match in _UNSEEN.finditer(text):
        at = match.start()
        faults.append(at)
        report.add(
            Diagnostic(
                "character",
                f"the character U+{ord(match[0]):04X}, which is not shown, stands in the text",
                source.span(at, at + 1),
                facts=("control characters and overrides of the direction of writing are not allowed anywhere",),
            )
        )
    if faults:
        text = _UNSEEN.sub(" ", text)
    tokens = _read(parser, source, text, report, faults)
    if len(tokens) > MOST_TOKENS:
        span = span_of(source, tokens[-1])
        raise SpecError(Diagnostic("limit", f"more than {MOST_TOKENS:,} words and signs, the most of a spec", span))
    _check_nesting(source, tokens)
    return Tokens(tokens, faults)


def _read(parser: lark.Lark, source: Source, text: str, report: Report, faults: list[int]) -> list[Token]:
    """The tokens, one more than there may be at most; lark's patterns without its loop, which takes twice the time."""
    match, ignored, words = _patterns(parser)
    tokens: list[Token] = []
    at, line, line_start = 0, 1, 0
    while at < len(text) and len(tokens) <= MOST_TOKENS:
        found = match(text, at)
        if found is not None:
            value, kind = found[0], found.lastgroup
            end = found.end()
            if kind not in ignored:
                column = at - line_start + 1
                kind = words.get((kind, value), kind)
                tokens.append(Token(kind, value, at, line, column, line, column + end - at, end))
            elif "\n" in value:
                line += value.count("\n")
                line_start = at + value.rindex("\n") + 1
        else:
            fault, meant, start, end = _foreign(source, text, at, tokens)
            report.add(fault)
            faults.append(at)
            if start < at:
                del tokens[-1]
            if meant is not None:
                kind, value = meant
                column = start - line_start + 1
                tokens.append(Token(kind, value, start, line, column, line, column + end - start, end))
        at = end
    return tokens


@cache
def _patterns(
    parser: lark.Lark,
) -> tuple[Callable[[str, int], re.Match[str] | None], frozenset[str], dict[tuple[str | None, str], str]]:
    """One pattern for all kinds of tokens, the kinds that are passed over, and the words that are a kind of their own
    though another pattern reads them."""
    lexer = parser.parse_interactive("", start="spec").lexer_thread.lexer
    (pattern,) = lexer.scanner._mres
    words = {(kind, t.pattern.value): t.name for kind, of in lexer.callback.items() for t in of.scanner.terminals}
    return pattern.match, lexer.ignore_types, words


def _foreign(
    source: Source, text: str, at: int, tokens: Sequence[Token]
) -> tuple[Diagnostic, tuple[str, str] | None, int, int]:
    """What is to be said of a character that begins nothing, the token that was meant, and the stretch it takes."""
    character = text[at]

    def said(message: str, end: int, *facts: str, help: str = "", start: int = at) -> Diagnostic:
        return Diagnostic("syntax", message, source.span(start, end), facts=facts, help=help)

    if character == '"':
        line_end = text.find("\n", at)
        line_end = len(text) if line_end < 0 else line_end
        fault = said('a string without its closing `"`', line_end, help="a string ends on its line")
        return fault, ("STRING", text[at:line_end] + '"'), at, line_end
    if text.startswith("```", at):
        end = text.find("\n", at)
        fence = said("a fence of Markdown is no part of a spec", at + 3)
        return fence, None, at, len(text) if end < 0 else end
    if character in _QUOTES:
        quoted = _QUOTED.match(text, at)
        end = quoted.end() if quoted else at + 1
        fault = said(f"the character `{character}` is no quotation mark here", end, help='strings stand in `"`')
        return fault, ("STRING", quoted[0]) if quoted else None, at, end
    if character in _MEANT:
        kind, value = _MEANT[character]
        fault = said(
            f"the character `{character}` has no meaning here", at + 1, help=f"`{value}` is meant, very likely"
        )
        return fault, (kind, value), at, at + 1
    word = _WORD.match(text, at)
    if word is not None:
        before = tokens[-1] if tokens and tokens[-1].type == "NAME" and tokens[-1].end_pos == at else None
        start = before.start_pos or 0 if before is not None else at
        name = text[start : word.end()]
        if name in ("µs", "μs") and tokens and tokens[-1].type == "NUMBER":
            return said(f"there is no unit `{name}`", word.end(), help="`us` is a microsecond"), None, at, word.end()
        fault = said(f"`{name}` is no name", word.end(), "names are ASCII letters, digits and `_`", start=start)
        return fault, ("NAME", name), start, word.end()
    facts = []
    if character.isspace():
        facts.append("only plain spaces, tabs and line ends part words")
    elif character == "@":
        facts.append("`@` is kept for sharding, which is to come")
    elif character in "!&|":
        facts.append("a condition is one comparison with ==, !=, <=, <, >= or >")
    shown = f"U+{ord(character):04X}" if not character.isprintable() else f"`{character}`"
    end = at + 1
    while end < len(text) and text[end] == character:
        end += 1
    return said(f"the character {shown} has no meaning here", end, *facts), None, at, end


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
