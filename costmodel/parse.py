"""Text to syntax: lark with the tables of `grammar/arch.lark`, and messages for what is not the language.

A file with errors is repaired where it can be (a misspelt keyword is taken for the one meant, a declaration that
cannot be read is left out) so that one run reports all that is independently wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from hashlib import sha256
from importlib import resources
from threading import Lock
from typing import Any

import lark
from lark.exceptions import UnexpectedCharacters, UnexpectedToken
from lark.lexer import Token

from costmodel import syntax
from costmodel.latex_symbol import latex_fault
from costmodel.names import RESERVED, is_reserved, nearest
from costmodel.source import Diagnostic, Label, Report, Source, Span, SpecError

MOST_NESTING = 200
MOST_DIGITS = 400
STARTS = ("spec", "expr", "condition")
_OPTIONS: dict[str, Any] = {
    "start": list(STARTS),
    "parser": "lalr",
    "lexer": "basic",
    "keep_all_tokens": True,
    "maybe_placeholders": False,
}


@dataclass(frozen=True)
class Parsed:
    """A file's syntax. `suspects` are names that stood in parts which could not be read."""

    spec: syntax.Spec
    suspects: frozenset[str]


def parse_spec(source: Source, report: Report) -> Parsed:
    """Read a whole file; what is wrong goes to `report`."""
    tokens = _tokens(source, report)
    if not tokens and not report.errors:
        report.add(
            Diagnostic("syntax", "the spec is empty: it holds no declaration", source.span(0, 0) if source.text else None)
        )
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
    tokens = _tokens(source, report)
    report.raise_errors()
    node, _ = _Attempt(source, report, start).run(tokens)
    report.raise_errors()
    return node


# --- tables


def grammar_text() -> str:
    return resources.files("costmodel.grammar").joinpath("arch.lark").read_text(encoding="utf-8")


def build_tables() -> dict[str, Any]:
    """The parser's tables as plain data, with what they were made from."""
    from lark.grammar import Rule
    from lark.lexer import TerminalDef

    text = grammar_text()
    data, memo = lark.Lark(text, **_OPTIONS).memo_serialize([TerminalDef, Rule])
    return {"lark": lark.__version__, "grammar": sha256(text.encode()).hexdigest(), "data": data, "memo": memo}


def _load_tables() -> dict[str, Any] | None:
    """The tables made beforehand, where they are those of this grammar and this lark."""
    try:
        tables: dict[str, Any] = json.loads(resources.files("costmodel.grammar").joinpath("tables.json").read_text())
    except (OSError, ValueError):
        return None
    if tables.get("lark") != lark.__version__ or tables.get("grammar") != sha256(grammar_text().encode()).hexdigest():
        return None
    tables["memo"] = {int(key): value for key, value in tables["memo"].items()}
    parser = tables["data"]["parser"]["parser"]
    parser["tokens"] = {int(key): value for key, value in parser["tokens"].items()}
    parser["states"] = {
        int(state): {int(token): tuple(action) for token, action in actions.items()}
        for state, actions in parser["states"].items()
    }
    return tables


@lru_cache(maxsize=1)
def _parser() -> tuple[lark.Lark, _Builder]:
    builder = _Builder()
    tables = _load_tables()
    if tables is None:
        return lark.Lark(grammar_text(), transformer=builder, **_OPTIONS), builder
    return lark.Lark._load_from_dict(tables["data"], tables["memo"], transformer=builder), builder


_lock = Lock()


# --- tokens

_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]")
_OPEN = {"LPAR": "RPAR", "LSQB": "RSQB", "LBRACE": "RBRACE"}
_CLOSE = {close: opening for opening, close in _OPEN.items()}


def _tokens(source: Source, report: Report) -> list[Token]:
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
    parser, _ = _parser()
    while True:
        try:
            reader = parser.parse_interactive(text, start="spec")
            tokens = list(reader.lexer_thread.lex(reader.parser_state))
            break
        except UnexpectedCharacters as error:
            at = error.pos_in_stream
            report.add(_unknown_character(source, at))
            end = text.find("\n", at) if text[at] == '"' else at + 1
            end = len(text) if end < 0 else end
            text = text[:at] + " " * (end - at) + text[end:]
    _check_nesting(source, tokens)
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
        if token.type in _OPEN:
            depth += 1
            if depth > MOST_NESTING:
                raise SpecError(_too_deep(_span(source, token)))
        elif token.type in _CLOSE:
            depth -= 1


def _too_deep(span: Span) -> Diagnostic:
    return Diagnostic("limit", f"nested deeper than {MOST_NESTING} levels", span)


def _span(source: Source, token: Token) -> Span:
    return Span(source, token.start_pos or 0, token.end_pos or 0)


# --- one parse, with repairs

_EXPRESSION = {"NAME", "NUMBER", "QUANTITY", "STRING", "TRUE", "FALSE", "NONE", "LPAR", "LSQB", "MINUS", "DEVICE", "DIM"}
_OPERATORS = {"PLUS", "MINUS", "STAR", "SLASH", "PERCENT", "CIRCUMFLEX", "FLOORDIV"}
_STATEMENT_KEYWORDS = {"REPEAT", "IF", "RETURN", "WEIGHT", "STATE"}
_DECLARATION_KEYWORDS = {
    "MODEL", "USE", "DIM", "DTYPE", "SHARED", "BLOCK", "OP", "GRAPH", "PHASE", "VARIANT", "EXPECT", "DEVICE",
}  # fmt: skip
_KEYWORDS = {word.upper() for word in RESERVED}
_NAMED_BY = {
    "MODEL": "a model", "DIM": "a dim", "BLOCK": "a block", "OP": "an op", "GRAPH": "a graph", "PHASE": "a phase",
    "WEIGHT": "a weight", "STATE": "a state", "DEVICE": "a device", "DTYPE": "a role of dtypes",
}  # fmt: skip


class _Attempt:
    def __init__(self, source: Source, report: Report, start: str) -> None:
        self.source, self.report, self.start = source, report, start

    def run(self, tokens: list[Token]) -> tuple[Any, frozenset[str]]:
        suspects: set[str] = set()
        end = len(self.source.text)
        while True:
            closing = Token("$END", "", end, end_pos=end)
            try:
                with _lock:
                    _, builder = _parser()
                    builder.source, builder.report = self.source, Report()
                    node = self._feed([*tokens, closing])
                    found = builder.report
                for diagnostic in found.diagnostics:
                    self.report.add(diagnostic)
                return node, frozenset(suspects)
            except UnexpectedToken as error:
                at = next((i for i, token in enumerate(tokens) if token is error.token), len(tokens))
                tokens = self._repair(tokens, at, suspects)
                if self.start != "spec":
                    return None, frozenset()

    def _feed(self, tokens: Iterable[Token]) -> Any:
        parser, _ = _parser()
        state = parser.parse_interactive("", start=self.start)
        result = None
        for token in tokens:
            result = state.feed_token(token)
        return result

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
        for place in (at, at - 1):
            if not 0 <= place < len(tokens) or tokens[place].type != "NAME":
                continue
            keywords = {word.lower(): word for word in self._accepted(tokens[:place]) & _KEYWORDS}
            meant = nearest(tokens[place], keywords)
            if meant:
                token = tokens[place]
                what = "statement" if "RETURN" in keywords.values() else "declaration"
                self.report.add(
                    Diagnostic(
                        "unknown-name",
                        f"there is no {what} `{token}`",
                        _span(self.source, token),
                        help=f"`{meant}` is near",
                    )
                )
                return [*tokens[:place], Token.new_borrow_pos(keywords[meant], meant, token), *tokens[place + 1 :]]
        expected = self._accepted(tokens[:at])
        for place in (at, at - 1):
            reserved = self._reserved(tokens, place, at, expected)
            if reserved is not None:
                self.report.add(reserved)
                token = tokens[place]
                suspects.add(str(token))
                return [*tokens[:place], Token.new_borrow_pos("NAME", str(token), token), *tokens[place + 1 :]]
        self.report.add(self._unexpected(tokens, at, expected))
        start, end = self._declaration_around(tokens, at)
        suspects.update(str(token) for token in tokens[start:end] if token.type == "NAME")
        return tokens[:start] + tokens[end:]

    def _reserved(self, tokens: Sequence[Token], place: int, at: int, expected: set[str]) -> Diagnostic | None:
        """What is to be said of a word of the language that stands where a name belongs, if that is what is wrong."""
        if not 0 <= place < len(tokens) or tokens[place].type not in _KEYWORDS:
            return None
        word = tokens[place]
        if place == at:
            before = tokens[at - 1].type if at else ""
            if "NAME" not in expected or "RBRACE" in expected or before not in {*_NAMED_BY, "COMMA", "LPAR", "LSQB"}:
                return None
            what = _NAMED_BY.get(before, "anything")
        elif at < len(tokens) and tokens[at].type == "EQUAL":
            what = "a variable"
        else:
            return None
        return Diagnostic(
            "reserved", f"`{word}` is a word of the language and cannot name {what}", _span(self.source, word)
        )

    def _declaration_around(self, tokens: Sequence[Token], at: int) -> tuple[int, int]:
        """The tokens of the top-level declaration that the faulty one stands in."""
        starts, depth = [], 0
        for i, token in enumerate(tokens):
            if token.type in _DECLARATION_KEYWORDS | {"WEIGHT"} and (depth == 0 or token.column == 1):
                if not (i and tokens[i - 1].type == "SHARED") and token.type != "EXPECT" or depth == 0:
                    starts.append(i)
                    depth = 0
            elif token.type in _OPEN:
                depth += 1
            elif token.type in _CLOSE:
                depth = max(depth - 1, 0)
        before = [i for i in starts if i < at]
        behind = [i for i in starts if i > at]
        end = at if at in starts else behind[0] if behind else len(tokens)
        start = before[-1] if before else 0
        if start >= end:
            start, end = at, max(end, at + 1)
        return start, end

    def _unexpected(self, tokens: Sequence[Token], at: int, expected: set[str]) -> Diagnostic:
        token = tokens[at] if at < len(tokens) else None
        before = tokens[at - 1] if at else None
        ends = "the file ends" if self.start == "spec" else "it ends"
        wanted = _words(expected)
        span = _span(self.source, token) if token is not None else _end_of(self.source, before)
        found = f"`{token}`" if token is not None else ends
        opened = _still_open(tokens[:at])
        if token is not None and token.type == "EQUAL" and "REL" in expected:
            return Diagnostic("syntax", "`=` where a comparison was expected", span, help="`==` compares, `=` assigns")
        others: list[Label] = []
        facts: tuple[str, ...] = ()
        label = help = ""
        if opened is not None and _OPEN[opened.type] in expected:
            kind = {"LBRACE": "brace", "LPAR": "bracket", "LSQB": "bracket"}[opened.type]
            others.append(Label(_span(self.source, opened), f"this {kind} is still open"))
            closer = {"LBRACE": "}", "LPAR": ")", "LSQB": "]"}[opened.type]
            if opened.type == "LBRACE" and before is not None and before.type != "LBRACE" and "RBRACE" in expected:
                if token is not None and token.type in _DECLARATION_KEYWORDS:
                    label = f"{_article(token)} cannot stand inside another declaration"
                help = f"a `{closer}` is missing behind line {before.end_line}"
        elif token is not None and opened is None and token.type in _CLOSE:
            label = "nothing is open that this could close"
        missing = [t for t in ("RPAR", "RSQB", "RBRACE", "EQUAL", "LBRACE", "LPAR", "COMMA") if t in expected]
        if (
            token is not None
            and before is not None
            and missing
            and token.line != before.end_line
            and token.type not in _DECLARATION_KEYWORDS
        ):
            span = _end_of(self.source, before)
            found = f"the line ends where {wanted} was expected"
            return Diagnostic("syntax", found, span, label, tuple(others), facts, help)
        return Diagnostic("syntax", f"{found} where {wanted} was expected", span, label, tuple(others), facts, help)


def _article(token: Token) -> str:
    return f"{'an' if str(token)[0] in 'aeiou' else 'a'} `{token}`"


def _end_of(source: Source, token: Token | None) -> Span:
    end = token.end_pos if token is not None and token.end_pos is not None else len(source.text)
    return source.span(end, end)


def _still_open(tokens: Sequence[Token]) -> Token | None:
    """The innermost bracket that is not closed yet."""
    stack: list[Token] = []
    for token in tokens:
        if token.type in _OPEN:
            stack.append(token)
        elif token.type in _CLOSE and stack and stack[-1].type == _CLOSE[token.type]:
            stack.pop()
    return stack[-1] if stack else None


def _words(expected: set[str]) -> str:
    """A set of terminals in the user's words."""
    rest = set(expected)
    words = []
    if rest >= _DECLARATION_KEYWORDS:
        return "a declaration"
    if rest >= _STATEMENT_KEYWORDS | {"NAME"}:
        return "a statement or `}`"
    if rest >= _EXPRESSION - {"MINUS"}:
        words.append("a value")
        rest -= _EXPRESSION
    if rest >= {"PLUS", "MINUS", "STAR"}:
        words.append("an operator")
        rest -= _OPERATORS | {"DOT", "LPAR", "SEMICOLON"}
    names = {"NAME": "a name", "STRING": "a string", "NUMBER": "a number", "QUANTITY": "", "REL": "a comparison", "$END": ""}
    literal = {
        "LPAR": "(", "RPAR": ")", "LSQB": "[", "RSQB": "]", "LBRACE": "{", "RBRACE": "}", "EQUAL": "=", "COMMA": ",",
        "DOT": ".", "COLON": ":", "SEMICOLON": ";", "PLUS": "+", "MINUS": "-", "STAR": "*", "SLASH": "/",
        "PERCENT": "%", "CIRCUMFLEX": "^", "ARROW": "->", "FLOORDIV": "//",
    }  # fmt: skip
    for terminal in sorted(rest):
        word = names.get(terminal)
        if word is None:
            word = f"`{literal.get(terminal, terminal.lower())}`"
        if word:
            words.append(word)
    if not words:
        return "the end"
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


# --- nodes


class _Children:
    """The children of a rule, taken from left to right."""

    def __init__(self, items: Sequence[Any]) -> None:
        self.items, self.at = items, 0

    def next(self) -> Any:
        self.at += 1
        return self.items[self.at - 1]

    def token(self, kind: str) -> Token | None:
        """The next child if it is a token of this kind."""
        if self.at < len(self.items):
            item = self.items[self.at]
            if isinstance(item, Token) and item.type == kind:
                self.at += 1
                return item
        return None

    def after(self, kind: str) -> Any:
        """What stands behind a token of this kind, if the next child is one; else None."""
        return self.next() if self.token(kind) is not None else None

    def of(self, kind: type) -> Any:
        """The next child if it is a node of this type; else None."""
        if self.at < len(self.items) and isinstance(self.items[self.at], kind):
            return self.next()
        return None


def _nodes(items: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(item for item in items if not isinstance(item, Token))


class _Builder:
    """Makes a node of each rule's children, tokens included; a method a rule of the grammar."""

    source: Source
    report: Report

    def _of(self, items: Sequence[Any]) -> Span:
        return self._place(items[0]).to(self._place(items[-1]))

    def _place(self, item: Any) -> Span:
        if isinstance(item, Token):
            return _span(self.source, item)
        if isinstance(item, tuple):
            return self._of(item)
        span: Span = item.span
        return span

    def _declared(self, token: Token, what: str) -> tuple[str, Span]:
        span = _span(self.source, token)
        if is_reserved(str(token)):
            self.report.add(
                Diagnostic(
                    "reserved",
                    f"`{token}` is a word of Python and cannot name {what}",
                    span,
                    facts=("formulas are also given as Python expressions, where it would not read back",),
                )
            )
        return str(token), span

    def _deep(self, items: Iterable[Any], span: Span) -> int:
        depth = 1 + max((item.depth for item in items), default=0)
        if depth > MOST_NESTING:
            raise SpecError(_too_deep(span))
        return depth

    def _text(self, token: Token) -> str:
        return str(token)[1:-1]

    def _latex(self, token: Token | None) -> str | None:
        if token is None:
            return None
        text = self._text(token)
        fault = latex_fault(text)
        if fault:
            self.report.add(
                Diagnostic(
                    "latex",
                    f"`{text}` is no LaTeX symbol: {fault}",
                    _span(self.source, token),
                    facts=(
                        "letters, digits, _ ^ { } ' , and the commands for Greek letters, \\text \\mathrm \\mathit"
                        " \\mathbf \\mathcal \\hat \\tilde \\bar",
                    ),
                )
            )
            return None
        return text

    def _number(self, text: str, span: Span) -> Fraction:
        mantissa, _, exponent = text.replace("_", "").lower().partition("e")
        if len(mantissa) > MOST_DIGITS or len(exponent) > 4 or abs(int(exponent or 0)) > MOST_DIGITS:
            self.report.add(Diagnostic("limit", f"a number of more than {MOST_DIGITS} digits", span))
            return Fraction(1)
        return Fraction(mantissa) * Fraction(10) ** int(exponent or 0)

    # declarations

    def spec(self, items: list[Any]) -> syntax.Spec:
        return syntax.Spec(_nodes(items), self._of(items) if items else self.source.span(0, 0))

    def model(self, items: list[Any]) -> syntax.ModelName:
        name, span = self._declared(items[1], "a model")
        return syntax.ModelName(name, span, self._text(items[2]) if len(items) > 2 else None, self._of(items))

    def use(self, items: list[Any]) -> syntax.Use:
        return syntax.Use(self._text(items[1]), _span(self.source, items[1]), self._of(items))

    def dim(self, items: list[Any]) -> syntax.Dim:
        c = _Children(items[1:])
        name, span = self._declared(c.next(), "a dim")
        value = c.after("EQUAL")
        latex = self._latex(c.after("AS"))
        doc = c.token("STRING")
        return syntax.Dim(name, span, value, latex, self._text(doc) if doc is not None else None, self._of(items))

    def dtype(self, items: list[Any]) -> syntax.DType:
        return syntax.DType(str(items[1]), _span(self.source, items[1]), items[3], self._of(items))

    def block(self, items: list[Any]) -> syntax.Block:
        c = _Children(items)
        shared = c.token("SHARED") is not None
        c.token("BLOCK")
        name, span = self._declared(c.next(), "a block")
        c.token("LPAR")
        parameters = c.of(tuple) or ()
        c.token("RPAR")
        latex = self._latex(c.after("AS"))
        return syntax.Block(name, span, parameters, latex, shared, c.next(), self._of(items))

    def op(self, items: list[Any]) -> syntax.OpDeclaration:
        c = _Children(items[1:])
        name, span = self._declared(c.next(), "an op")
        c.token("LPAR")
        parameters = c.of(tuple) or ()
        c.token("RPAR")
        c.next()
        return syntax.OpDeclaration(name, span, parameters, c.next().axes, c.next(), self._of(items))

    def graph(self, items: list[Any]) -> syntax.Graph:
        c = _Children(items[1:])
        name, span = self._declared(c.next(), "a graph")
        c.token("LPAR")
        inputs = c.of(tuple) or ()
        c.token("RPAR")
        latex = self._latex(c.after("AS"))
        return syntax.Graph(name, span, inputs, latex, c.next(), self._of(items))

    def phase(self, items: list[Any]) -> syntax.Phase:
        name, span = self._declared(items[1], "a phase")
        graph = graph_span = None
        if items[2].type == "NAME":
            if items[2] != "of":
                self.report.add(
                    Diagnostic("syntax", f"`{items[2]}` where `of` or `{{` was expected", _span(self.source, items[2]))
                )
            graph, graph_span = str(items[3]), _span(self.source, items[3])
        settings = items[-2]
        for item in settings:
            if not isinstance(item, syntax.Setting):
                self.report.add(Diagnostic("syntax", "a phase holds only settings of dims: NAME = value", item.span))
        kept = tuple(s for s in settings if isinstance(s, syntax.Setting))
        return syntax.Phase(name, span, graph, graph_span, kept, self._of(items))

    def variant(self, items: list[Any]) -> syntax.Variant:
        def only(kind: type) -> tuple[Any, ...]:
            return tuple(item for item in items[3] if isinstance(item, kind))

        return syntax.Variant(
            self._text(items[1]),
            _span(self.source, items[1]),
            only(syntax.Setting),
            only(syntax.DType),
            only(syntax.Expect),
            self._of(items),
        )

    def expect(self, items: list[Any]) -> syntax.Expect:
        return syntax.Expect(items[1], self._text(items[2]) if len(items) > 2 else None, self._of(items))

    def device(self, items: list[Any]) -> syntax.DeviceDeclaration:
        c = _Children(items[1:])
        name, span = self._declared(c.next(), "a device")
        title = c.token("STRING")
        c.token("LBRACE")
        fields = c.next()
        return syntax.DeviceDeclaration(
            name, span, self._text(title) if title is not None else None, fields, self._of(items)
        )

    def params(self, items: list[Any]) -> tuple[syntax.Parameter, ...]:
        return _nodes(items)

    op_params = inputs = params

    def param(self, items: list[Any]) -> syntax.Parameter:
        name, _ = self._declared(items[0], "a parameter")
        return syntax.Parameter(name, None, items[2] if len(items) > 2 else None, self._of(items))

    def op_param(self, items: list[Any]) -> syntax.Parameter:
        c = _Children(items)
        name, _ = self._declared(c.next(), "a parameter")
        shape = c.of(_Shape)
        axes = shape.axes if shape is not None else None
        return syntax.Parameter(name, axes, c.after("EQUAL"), self._of(items))

    def input(self, items: list[Any]) -> syntax.Parameter:
        name, _ = self._declared(items[0], "an input")
        return syntax.Parameter(name, items[1].axes, None, self._of(items))

    def settings(self, items: list[Any]) -> tuple[Any, ...]:
        return _nodes(items)

    fields = settings

    def setting(self, items: list[Any]) -> syntax.Setting:
        return syntax.Setting(str(items[0]), _span(self.source, items[0]), items[2], self._of(items))

    def field(self, items: list[Any]) -> syntax.Field:
        kind = str(items[1]) if items[1].type == "NAME" else None
        names = items[:2] if kind else items[:1]
        return syntax.Field(str(items[0]), kind, items[-1], self._of(names), self._of(items))

    # statements

    def body(self, items: list[Any]) -> syntax.Body:
        return syntax.Body(_nodes(items), self._of(items))

    def assign(self, items: list[Any]) -> syntax.Assign:
        equal = next(i for i, item in enumerate(items) if isinstance(item, Token) and item.type == "EQUAL")
        targets = []
        for token in items[:equal:2]:
            name, span = self._declared(token, "a variable")
            targets.append(syntax.Name(name, span))
        body = items[equal + 2] if len(items) > equal + 2 else None
        return syntax.Assign(tuple(targets), items[equal + 1], body, self._of(items))

    def repeat(self, items: list[Any]) -> syntax.Repeat:
        return syntax.Repeat(items[1], items[2], self._of(items))

    def if_(self, items: list[Any]) -> syntax.If:
        return syntax.If(items[1], items[2], items[4] if len(items) > 3 else None, self._of(items))

    def return_(self, items: list[Any]) -> syntax.Return:
        nodes = _nodes(items)
        body = nodes[-1] if isinstance(nodes[-1], syntax.Body) else None
        return syntax.Return(nodes[:-1] if body else nodes, body, self._of(items))

    def weights(self, items: list[Any]) -> syntax.Weights:
        return syntax.Weights(_nodes(items), self._of(items))

    def weight(self, items: list[Any]) -> syntax.Weight:
        c = _Children(items)
        name, span = self._declared(c.next(), "a weight")
        c.token("LSQB")
        first = c.next()
        second = c.after("ARROW")
        c.token("RSQB")
        dtype = c.after("COLON")
        inputs, axes = (None, first) if second is None else (first, second)
        return syntax.Weight(name, span, inputs, axes, dtype, self._of(items))

    def states(self, items: list[Any]) -> syntax.States:
        return syntax.States(_nodes(items), self._of(items))

    def state(self, items: list[Any]) -> syntax.State:
        c = _Children(items)
        name, span = self._declared(c.next(), "a state")
        axes = c.next().axes
        return syntax.State(name, span, axes, c.after("COLON"), self._of(items))

    def shape(self, items: list[Any]) -> _Shape:
        return _Shape(items[1], self._of(items))

    def axes(self, items: list[Any]) -> tuple[Any, ...]:
        return _nodes(items)

    def type(self, items: list[Any]) -> syntax.TypeName:
        span = self._of(items)
        first = items[0]
        if first.type == "NAME":
            return syntax.TypeName(str(first), None, span)
        if first.type == "QUANTITY":
            number, unit, _ = self._split(first)
        else:
            number, unit = str(first), str(items[1])
        if unit != "bits":
            self.report.add(
                Diagnostic("syntax", f"`{number} {unit}` is no dtype", span, facts=("a dtype is a name, or `N bits`",))
            )
        return syntax.TypeName(span.text, self._number(number, span), span)

    # expressions

    def condition(self, items: list[Any]) -> syntax.Condition:
        return syntax.Condition(items[0], str(items[1]), items[2], self._of(items))

    def sum(self, items: list[Any]) -> syntax.Sum:
        signs = ["+", *(str(token) for token in items[1::2])]
        terms = tuple(zip(signs, items[::2], strict=True))
        span = self._of(items)
        return syntax.Sum(terms, span, self._deep(items[::2], span))

    def term(self, items: list[Any]) -> syntax.Product:
        operators = ["*", *(str(token) for token in items[1::2])]
        factors = tuple(zip(operators, items[::2], strict=True))
        span = self._of(items)
        return syntax.Product(factors, span, self._deep(items[::2], span))

    def negative(self, items: list[Any]) -> syntax.Negative:
        span = self._of(items)
        return syntax.Negative(items[1], span, self._deep(items[1:], span))

    def power(self, items: list[Any]) -> syntax.Power:
        span = self._of(items)
        return syntax.Power(items[0], items[2], span, self._deep(items[::2], span))

    def number(self, items: list[Any]) -> syntax.Number:
        span = _span(self.source, items[0])
        return syntax.Number(self._number(str(items[0]), span), str(items[0]), span)

    def _split(self, token: Token) -> tuple[str, str, int]:
        """A quantity's number and unit, and where the unit begins in it."""
        match = re.match(r"([0-9][0-9_]*(?:\.[0-9][0-9_]*)?(?:[eE][+-]?[0-9]+)?)[ \t]*", token)
        assert match is not None
        return match[1], str(token)[match.end() :], match.end()

    def quantity(self, items: list[Any]) -> syntax.Quantity:
        span = _span(self.source, items[0])
        number, unit, at = self._split(items[0])
        unit_span = self.source.span(span.start + at, span.end)
        return syntax.Quantity(self._number(number, span), number, unit, unit_span, span)

    def string(self, items: list[Any]) -> syntax.Text:
        return syntax.Text(self._text(items[0]), _span(self.source, items[0]))

    def name(self, items: list[Any]) -> syntax.Name:
        return syntax.Name(str(items[0]), _span(self.source, items[0]))

    def truth(self, items: list[Any]) -> syntax.Truth:
        return syntax.Truth({"true": True, "false": False, "none": None}[str(items[0])], _span(self.source, items[0]))

    def attribute(self, items: list[Any]) -> syntax.Attribute:
        return syntax.Attribute(tuple(str(token) for token in items[::2]), self._of(items))

    def word(self, items: list[Any]) -> Token:
        token: Token = items[0]
        return token

    def call(self, items: list[Any]) -> syntax.Call:
        span = self._of(items)
        arguments = items[2] if isinstance(items[2], tuple) else ()
        return syntax.Call(
            str(items[0]), _span(self.source, items[0]), arguments, span, self._deep(arguments, span)
        )

    def arguments(self, items: list[Any]) -> tuple[syntax.Argument, ...]:
        return _nodes(items)

    def argument(self, items: list[Any]) -> syntax.Argument:
        name = str(items[0]) if len(items) > 1 else None
        return syntax.Argument(name, items[-1], self._of(items))

    def list(self, items: list[Any]) -> syntax.ListOf:
        nodes = _nodes(items)
        span = self._of(items)
        return syntax.ListOf(nodes, span, self._deep(nodes, span))

    def group(self, items: list[Any]) -> syntax.Expression:
        expression: syntax.Expression = replace(items[1], span=self._of(items))
        return expression

    def __getattr__(self, name: str) -> Callable[[list[Any]], Any]:
        if name in ("if", "return"):
            handler: Callable[[list[Any]], Any] = getattr(self, name + "_")
            return handler
        raise AttributeError(name)


@dataclass(frozen=True)
class _Shape:
    """`[axes]`, told apart from a tuple of parameters."""

    axes: tuple[syntax.Expression, ...]
    span: Span
