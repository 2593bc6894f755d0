"""Text to syntax: lark with the tables of `grammar/arch.lark`, and messages for what is not the language.

A file with errors is repaired where it can be (a misspelt keyword is taken for the one meant, a declaration that
cannot be read is left out) so that one run reports all that is independently wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from threading import Lock
from typing import Any

import lark
from lark.lexer import Token

from costmodel import syntax
from costmodel.names import nearest
from costmodel.parser.build import Builder
from costmodel.parser.driver import END, Follower, Tables
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


@cache
def _tables(start: str) -> Tables:
    return Tables(_parser()[0], start)


# the parser's callbacks are bound to one builder, so one text is read at a time
_lock = Lock()


@dataclass
class _Attempt:
    """Reads tokens; where they do not fit, mends one fault after another, so that all are found."""

    source: Source
    report: Report
    start: str

    def run(self, tokens: list[Token]) -> tuple[Any, frozenset[str]]:
        suspects: set[str] = set()
        node, found = self._read(tokens)
        if found is None:
            mended = self._mend(tokens, suspects)
            node, found = self._read(mended) if mended is not None else (None, None)
        for diagnostic in found.diagnostics if found is not None else ():
            self.report.add(diagnostic)
        return node, frozenset(suspects)

    def _read(self, tokens: Sequence[Token]) -> tuple[Any, Report | None]:
        """The node that the tokens make, and what is wrong in it; None where they do not fit."""
        with _lock:
            _, builder = _parser()
            builder.source, builder.report = self.source, Report()
            end = len(self.source.text)
            node, fault = _tables(self.start).read(tokens, Token(END, "", end, end_pos=end))
            return node, builder.report if fault is None else None

    def _mend(self, tokens: list[Token], suspects: set[str]) -> list[Token] | None:
        """The tokens with what does not fit put right or left out; None for a single expression, where one is said."""
        follower = Follower(_tables(self.start))
        place = 0
        while place <= len(tokens):
            if follower.push(tokens[place].type if place < len(tokens) else END):
                place += 1
                continue
            tokens, place = self._repair(tokens, place, follower, suspects)
            if self.start != "spec":
                return None
            follower.back_to(place)
        return tokens

    def _repair(self, tokens: list[Token], at: int, follower: Follower, suspects: set[str]) -> tuple[list[Token], int]:
        """Report the token that does not fit; the tokens to go on with, and the first place that changed."""
        expected = follower.accepted(at)
        for place in (at, at - 1):
            if 0 <= place < len(tokens) and tokens[place].type == "NAME":
                keyword = self._misspelt_keyword(tokens[place], follower.accepted(place))
                if keyword is not None:
                    return [*tokens[:place], keyword, *tokens[place + 1 :]], place
        for place in (at, at - 1):
            reserved = reserved_word(self.source, tokens, place, at, expected)
            if reserved is not None:
                self.report.add(reserved)
                token = tokens[place]
                suspects.add(str(token))
                name = Token.new_borrow_pos("NAME", str(token), token)
                return [*tokens[:place], name, *tokens[place + 1 :]], place
        self.report.add(unexpected(self.source, tokens, at, expected, whole_file=self.start == "spec"))
        start, end = _declaration_around(tokens, at)
        suspects.update(str(token) for token in tokens[start:end] if token.type == "NAME")
        return tokens[:start] + tokens[end:], start

    def _misspelt_keyword(self, token: Token, accepted: set[str]) -> Token | None:
        """The keyword that a name is a misspelling of, if one may stand there."""
        keywords = {word.lower(): word for word in accepted & KEYWORDS}
        meant = nearest(token, keywords)
        if meant is None:
            return None
        what = "statement" if "return" in keywords else "declaration"
        message, span = f"there is no {what} `{token}`", span_of(self.source, token)
        self.report.add(Diagnostic("unknown-name", message, span, help=f"`{meant}` is near"))
        return Token.new_borrow_pos(keywords[meant], meant, token)


def _declaration_around(tokens: Sequence[Token], at: int) -> tuple[int, int]:
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
