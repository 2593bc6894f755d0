"""Text to syntax: lark with the tables of `grammar/arch.lark`, and messages for what is not the language.

A file with errors is repaired where it can be (a misspelt keyword is taken for the one meant, a declaration that
cannot be read is left out) so that one run reports all that is independently wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any

import lark
from lark.exceptions import UnexpectedToken
from lark.lexer import Token

from costmodel import syntax
from costmodel.names import nearest
from costmodel.parser.build import Builder
from costmodel.parser.messages import DECLARATION_KEYWORDS, KEYWORDS, reserved_word, unexpected
from costmodel.parser.tables import make_parser
from costmodel.parser.tokens import CLOSE, MOST_NESTING, OPEN, span_of, tokenize
from costmodel.source import Diagnostic, Report, Source, Span

__all__ = ["MOST_NESTING", "Parsed", "parse_condition", "parse_expression", "parse_spec"]


@dataclass(frozen=True)
class Parsed:
    """A file's syntax. `suspects` are names that stood in parts which could not be read."""

    spec: syntax.Spec
    suspects: frozenset[str]


def parse_spec(source: Source, report: Report) -> Parsed:
    """Read a whole file; what is wrong goes to `report`."""
    parser, _ = _parser()
    tokens = tokenize(parser, source, report)
    if not tokens and not report.errors:
        start: Span | None = source.span(0, 0) if source.text else None
        report.add(Diagnostic("syntax", "the spec is empty: it holds no declaration", start))
    node, suspects = _Attempt(source, report, "spec").run(tokens)
    if node is None:
        node = syntax.Spec((), source.span(0, 0))
    return Parsed(node, suspects)


def parse_expression(source: Source) -> syntax.Expression:
    """Read one expression, as given to an option.

    Raises:
        SpecError: it is none.
    """
    return _parse_one(source, "expr")  # type: ignore[no-any-return]


def parse_condition(source: Source) -> syntax.Condition:
    """Read `EXPR REL EXPR`.

    Raises:
        SpecError: it is none.
    """
    return _parse_one(source, "condition")  # type: ignore[no-any-return]


def _parse_one(source: Source, start: str) -> Any:
    report = Report()
    parser, _ = _parser()
    tokens = tokenize(parser, source, report)
    report.raise_errors()
    node, _ = _Attempt(source, report, start).run(tokens)
    report.raise_errors()
    return node


@lru_cache(maxsize=1)
def _parser() -> tuple[lark.Lark, Builder]:
    builder = Builder()
    return make_parser(builder), builder


# the parser's callbacks are bound to one builder, so one text is read at a time
_lock = Lock()


@dataclass
class _Attempt:
    """Reads tokens again and again, each time with the fault of the last time mended."""

    source: Source
    report: Report
    start: str

    def run(self, tokens: list[Token]) -> tuple[Any, frozenset[str]]:
        suspects: set[str] = set()
        end = len(self.source.text)
        while True:
            try:
                node, found = self._feed([*tokens, Token("$END", "", end, end_pos=end)])
            except UnexpectedToken as error:
                at = next((i for i, token in enumerate(tokens) if token is error.token), len(tokens))
                tokens = self._repair(tokens, at, suspects)
                if self.start != "spec":
                    return None, frozenset()
                continue
            for diagnostic in found.diagnostics:
                self.report.add(diagnostic)
            return node, frozenset(suspects)

    def _feed(self, tokens: Sequence[Token]) -> tuple[Any, Report]:
        """The node that the tokens make, and what is wrong in it."""
        with _lock:
            parser, builder = _parser()
            builder.source, builder.report = self.source, Report()
            state = parser.parse_interactive("", start=self.start)
            result = None
            for token in tokens:
                result = state.feed_token(token)
            return result, builder.report

    def _accepted(self, tokens: Sequence[Token]) -> set[str]:
        """What may stand behind these tokens."""
        with _lock:
            parser, builder = _parser()
            builder.source, builder.report = self.source, Report()
            state = parser.parse_interactive("", start=self.start)
            for token in tokens:
                state.feed_token(token)
            return set(state.accepts())

    def _repair(self, tokens: list[Token], at: int, suspects: set[str]) -> list[Token]:
        """Report the token that does not fit and give the tokens to go on with."""
        mended = self._misspelt_keyword(tokens, at)
        if mended is not None:
            return mended
        expected = self._accepted(tokens[:at])
        for place in (at, at - 1):
            reserved = reserved_word(self.source, tokens, place, at, expected)
            if reserved is not None:
                self.report.add(reserved)
                token = tokens[place]
                suspects.add(str(token))
                return [*tokens[:place], Token.new_borrow_pos("NAME", str(token), token), *tokens[place + 1 :]]
        self.report.add(unexpected(self.source, tokens, at, expected, whole_file=self.start == "spec"))
        start, end = _declaration_around(tokens, at)
        suspects.update(str(token) for token in tokens[start:end] if token.type == "NAME")
        return tokens[:start] + tokens[end:]

    def _misspelt_keyword(self, tokens: list[Token], at: int) -> list[Token] | None:
        """The tokens with a misspelt keyword put right, if that is what is wrong."""
        for place in (at, at - 1):
            if not 0 <= place < len(tokens) or tokens[place].type != "NAME":
                continue
            token = tokens[place]
            keywords = {word.lower(): word for word in self._accepted(tokens[:place]) & KEYWORDS}
            meant = nearest(token, keywords)
            if meant:
                what = "statement" if "return" in keywords else "declaration"
                message, span = f"there is no {what} `{token}`", span_of(self.source, token)
                self.report.add(Diagnostic("unknown-name", message, span, help=f"`{meant}` is near"))
                return [*tokens[:place], Token.new_borrow_pos(keywords[meant], meant, token), *tokens[place + 1 :]]
        return None


def _declaration_around(tokens: Sequence[Token], at: int) -> tuple[int, int]:
    """The tokens of the top-level declaration that the faulty one stands in."""
    starts, depth = [], 0
    for i, token in enumerate(tokens):
        begins = token.type in DECLARATION_KEYWORDS or token.type == "WEIGHT"
        if begins and (depth == 0 or (token.column == 1 and token.type != "EXPECT")):
            if not (i and tokens[i - 1].type == "SHARED"):
                starts.append(i)
            depth = 0
        elif token.type in OPEN:
            depth += 1
        elif token.type in CLOSE:
            depth = max(depth - 1, 0)
    before = [i for i in starts if i < at]
    behind = [i for i in starts if i > at]
    end = at if at in starts else behind[0] if behind else len(tokens)
    start = before[-1] if before else 0
    if start >= end:
        start, end = at, max(end, at + 1)
    return start, end
