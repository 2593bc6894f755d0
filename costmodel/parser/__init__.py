"""Text to syntax: lark with the tables of `grammar/arch.lark`, and messages for what is not the language.

A file with errors is repaired where it can be (a misspelt keyword is taken for the one meant, a declaration that
cannot be read is left out) so that one run reports all that is independently wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from threading import Lock
from typing import Any

import lark
from lark.lexer import Token

from costmodel import syntax
from costmodel.names import nearest
from costmodel.parser.build import Builder
from costmodel.parser.driver import END, Follower, Tables
from costmodel.parser.messages import reserved_word, unexpected
from costmodel.parser.recovery import KEYWORDS, declaration_around, statement_around
from costmodel.parser.tables import make_parser
from costmodel.parser.tokens import MOST_NESTING, span_of, tokenize
from costmodel.source import Diagnostic, Report, Source

__all__ = ["MOST_NESTING", "Parsed", "parse_condition", "parse_expression", "parse_spec"]


@dataclass(frozen=True)
class Parsed:
    """A file's syntax, and its tokens. `suspects` are names that stood in parts which could not be read."""

    spec: syntax.Spec
    suspects: frozenset[str]
    tokens: Sequence[Token]


def parse_spec(source: Source, report: Report) -> Parsed:
    """Read a whole file; what is wrong goes to `report`."""
    parser, _ = _parser()
    found = tokenize(parser, source, report)
    if not found.tokens and not found.faults:
        report.add(Diagnostic("syntax", "the spec is empty: it holds no declaration", source.span(0, 0)))
    node, suspects = _Attempt(source, report, "spec", found.faults).run(found.tokens)
    if node is None:
        node = syntax.Spec((), source.span(0, 0))
    return Parsed(node, suspects, found.tokens)


def parse_expression(source: Source, start: int = 0) -> syntax.Expression:
    """Read one expression, as given to an option; it begins at offset `start` of the text.

    Raises:
        SpecError: it is none.
    """
    return _parse_one(source, "expr", start)  # type: ignore[no-any-return]


def parse_condition(source: Source) -> syntax.Condition:
    """Read `EXPR REL EXPR`.

    Raises:
        SpecError: it is none.
    """
    return _parse_one(source, "condition")  # type: ignore[no-any-return]


def _parse_one(source: Source, what: str, start: int = 0) -> Any:
    report = Report()
    parser, _ = _parser()
    tokens = tokenize(parser, source, report).tokens
    report.raise_errors()
    node, _ = _Attempt(source, report, what, []).run([token for token in tokens if (token.start_pos or 0) >= start])
    report.raise_errors()
    return node


@lru_cache(maxsize=1)
def _parser() -> tuple[lark.Lark, Builder]:
    builder = Builder()
    return make_parser(builder), builder


@cache
def _tables(start: str) -> Tables:
    return Tables(_parser()[0], start)


MOST_REPAIRS = 50

# what stands behind a keyword; a name before anything else is no misspelling of it
_BEHIND: dict[str, frozenset[str]] = {
    **dict.fromkeys("MODEL DIM DTYPE BLOCK OP GRAPH PHASE WEIGHT STATE DEVICE".split(), KEYWORDS | {"NAME"}),
    **dict.fromkeys(("USE", "VARIANT"), frozenset({"STRING"})),
    "SHARED": frozenset({"BLOCK", "NAME"}),
}

# the parser's callbacks are bound to one builder, so one text is read at a time
_lock = Lock()


@dataclass
class _Attempt:
    """Reads tokens; where they do not fit, mends one fault after another, so that all are found.

    `faults` are the places of characters that belong nowhere: what does not fit behind one is its consequence.
    """

    source: Source
    report: Report
    start: str
    faults: Sequence[int]
    cut: set[int] = field(default_factory=set)
    """Where something was left out: a token behind it that does not fit is a consequence too."""

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
        place = repairs = 0
        while place <= len(tokens):
            if follower.push(tokens[place].type if place < len(tokens) else END):
                place += 1
                continue
            repairs += 1
            if repairs > MOST_REPAIRS:
                self.report.raise_errors(f"stopped after {MOST_REPAIRS} places that cannot be read")
            tokens, place = self._repair(tokens, place, follower, suspects)
            if self.start != "spec":
                return None
            follower.back_to(place)
        return tokens

    def _repair(self, tokens: list[Token], at: int, follower: Follower, suspects: set[str]) -> tuple[list[Token], int]:
        """Report the token that does not fit; the tokens to go on with, and the first place that changed."""
        expected = follower.accepted(at)
        if expected == {"DOT"}:
            # `dim` and `device` begin a declaration, which is what was meant, unless `.` stands behind them
            at -= 1
            expected = follower.accepted(at) - {"DIM", "DEVICE"}
        for place in (at, at - 1):
            if 0 <= place < len(tokens) and tokens[place].type == "NAME":
                keyword = self._misspelt_keyword(tokens, place, follower.accepted(place))
                if keyword is not None:
                    return [*tokens[:place], keyword, *tokens[place + 1 :]], place
        if 0 < at < len(tokens) and tokens[at - 1].type == "DTYPE" and tokens[at].type in KEYWORDS:
            # no role has this name, as is said where names are looked up
            return [*tokens[:at], Token.new_borrow_pos("NAME", str(tokens[at]), tokens[at]), *tokens[at + 1 :]], at
        for place in (at, at - 1):
            there = follower.accepted(place) if place >= 0 else set()
            reserved = reserved_word(self.source, tokens, place, at, expected, there)
            if reserved is not None:
                self.report.add(reserved)
                token = tokens[place]
                suspects.add(str(token))
                name = Token.new_borrow_pos("NAME", str(token), token)
                return [*tokens[:place], name, *tokens[place + 1 :]], place
        found = statement_around(tokens, at) if self.start == "spec" else None
        start, end = found or declaration_around(tokens, at)
        if not self._follows(tokens, start, at):
            self.report.add(unexpected(self.source, tokens, at, expected, whole_file=self.start == "spec"))
        suspects.update(str(token) for token in tokens[start:end] if token.type == "NAME")
        if end < len(tokens):
            self.cut.add(tokens[end].start_pos or 0)
        return [*tokens[:start], *self._instead(tokens[start:end], found is not None, suspects), *tokens[end:]], start

    def _follows(self, tokens: Sequence[Token], start: int, at: int) -> bool:
        """Whether the fault at a token is only the consequence of another before it."""
        end = tokens[at].start_pos or 0 if at < len(tokens) else len(self.source.text)
        begin = tokens[start].start_pos or 0 if start < len(tokens) else end
        return (at < len(tokens) and end in self.cut) or any(begin <= fault <= end for fault in self.faults)

    def _instead(self, left_out: Sequence[Token], of_body: bool, suspects: set[str]) -> list[Token]:
        """What stands in the place of tokens that are left out: a `return` stays one, of a value that is not known."""
        returns = next((token for token in left_out if token.type == "RETURN"), None)
        if returns is None or not of_body:
            return []
        name = next((str(token) for token in left_out if token.type == "NAME"), "return")
        suspects.add(name)
        return [returns, Token.new_borrow_pos("NAME", name, returns)]

    def _misspelt_keyword(self, tokens: Sequence[Token], place: int, accepted: set[str]) -> Token | None:
        """The keyword that a name is a misspelling of, if one may stand there."""
        token = tokens[place]
        following = tokens[place + 1].type if place + 1 < len(tokens) else END
        keywords = {word.lower(): word for word in accepted & KEYWORDS if following in _BEHIND.get(word, {following})}
        meant = nearest(token, keywords)
        if meant is None:
            return None
        what = "statement" if "return" in keywords else "declaration"
        message, span = f"there is no {what} `{token}`", span_of(self.source, token)
        self.report.add(Diagnostic("keyword", message, span, help=f"`{meant}` is near"))
        return Token.new_borrow_pos(keywords[meant], meant, token)
