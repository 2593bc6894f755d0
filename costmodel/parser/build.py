"""Syntax nodes from the parser's rules: a method a rule of the grammar."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from lark.lexer import Token

from costmodel import syntax
from costmodel.frozen import changed
from costmodel.latex_symbol import latex_fault
from costmodel.names import is_reserved
from costmodel.parser.tokens import MOST_NESTING, span_of, too_deep
from costmodel.source import Diagnostic, Report, Source, Span, SpecError

MOST_DIGITS = 400


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


class Builder:
    """Makes a node of each rule's children, tokens included; a method a rule of the grammar."""

    source: Source
    report: Report

    def _of(self, items: Sequence[Any]) -> Span:
        return self._place(items[0]).to(self._place(items[-1]))

    def _place(self, item: Any) -> Span:
        if isinstance(item, Token):
            return span_of(self.source, item)
        if isinstance(item, tuple):
            return self._of(item)
        span: Span = item.span
        return span

    def _declared(self, token: Token, what: str) -> tuple[str, Span]:
        span = span_of(self.source, token)
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
            raise SpecError(too_deep(span))
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
                    span_of(self.source, token),
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
        return syntax.Use(self._text(items[1]), span_of(self.source, items[1]), self._of(items))

    def dim(self, items: list[Any]) -> syntax.Dim:
        c = _Children(items[1:])
        name, span = self._declared(c.next(), "a dim")
        value = c.after("EQUAL")
        latex = self._latex(c.after("AS"))
        doc = c.token("STRING")
        return syntax.Dim(name, span, value, latex, self._text(doc) if doc is not None else None, self._of(items))

    def dtype(self, items: list[Any]) -> syntax.DType:
        return syntax.DType(str(items[1]), span_of(self.source, items[1]), items[3], self._of(items))

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
                    Diagnostic(
                        "syntax", f"`{items[2]}` where `of` or `{{` was expected", span_of(self.source, items[2])
                    )
                )
            graph, graph_span = str(items[3]), span_of(self.source, items[3])
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
            span_of(self.source, items[1]),
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
        return syntax.Setting(str(items[0]), span_of(self.source, items[0]), items[2], self._of(items))

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
        span = span_of(self.source, items[0])
        return syntax.Number(self._number(str(items[0]), span), str(items[0]), span)

    def _split(self, token: Token) -> tuple[str, str, int]:
        """A quantity's number and unit, and where the unit begins in it."""
        match = re.match(r"([0-9][0-9_]*(?:\.[0-9][0-9_]*)?(?:[eE][+-]?[0-9]+)?)[ \t]*", token)
        assert match is not None
        return match[1], str(token)[match.end() :], match.end()

    def quantity(self, items: list[Any]) -> syntax.Quantity:
        span = span_of(self.source, items[0])
        number, unit, at = self._split(items[0])
        unit_span = self.source.span(span.start + at, span.end)
        return syntax.Quantity(self._number(number, span), number, unit, unit_span, span)

    def string(self, items: list[Any]) -> syntax.Text:
        return syntax.Text(self._text(items[0]), span_of(self.source, items[0]))

    def name(self, items: list[Any]) -> syntax.Name:
        return syntax.Name(str(items[0]), span_of(self.source, items[0]))

    def truth(self, items: list[Any]) -> syntax.Truth:
        return syntax.Truth({"true": True, "false": False, "none": None}[str(items[0])], span_of(self.source, items[0]))

    def attribute(self, items: list[Any]) -> syntax.Attribute:
        return syntax.Attribute(tuple(str(token) for token in items[::2]), self._of(items))

    def word(self, items: list[Any]) -> Token:
        token: Token = items[0]
        return token

    def call(self, items: list[Any]) -> syntax.Call:
        span = self._of(items)
        arguments = items[2] if isinstance(items[2], tuple) else ()
        return syntax.Call(str(items[0]), span_of(self.source, items[0]), arguments, span, self._deep(arguments, span))

    def arguments(self, items: list[Any]) -> tuple[syntax.Argument, ...]:
        return _nodes(items)

    def argument(self, items: list[Any]) -> syntax.Argument:
        name = str(items[0]) if len(items) > 1 else None
        return syntax.Argument(name, items[-1], self._of(items))

    def list_(self, items: list[Any]) -> syntax.ListOf:
        nodes = _nodes(items)
        span = self._of(items)
        return syntax.ListOf(nodes, span, self._deep(nodes, span))

    def group(self, items: list[Any]) -> syntax.Expression:
        expression: syntax.Expression = changed(items[1], span=self._of(items))
        return expression

    def __getattr__(self, name: str) -> Callable[[list[Any]], Any]:
        if name in ("if", "return", "list"):
            handler: Callable[[list[Any]], Any] = getattr(self, name + "_")
            return handler
        raise AttributeError(name)


@dataclass(frozen=True)
class _Shape:
    """`[axes]`, told apart from a tuple of parameters."""

    axes: tuple[syntax.Expression, ...]
    span: Span
