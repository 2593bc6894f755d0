"""Formulas in LaTeX, as an author would write them; only amsmath is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from sympy import Expr
from sympy.logic.boolalg import Boolean

from costmodel.algebra import Frac, Func, Num, Power, Prod, Relation, Series, Several, Sum, Sym, Tree, Truth, tree

BUILT_IN = {
    "batch_size": "b",
    "seq_len": "s",
    "new_tokens": "t",
    "dtype.weights": r"\beta_w",
    "dtype.cache": r"\beta_c",
    "dtype.activations": r"\beta_a",
}


@dataclass(frozen=True)
class Symbols:
    """How dims are written: by the symbols that the spec gives them, or by their names."""

    short: Mapping[str, str]
    order: Mapping[str, int]

    def __call__(self, name: str) -> str:
        if name in self.short:
            return self.short[name]
        return BUILT_IN.get(name) or rf"\text{{{escape(name)}}}"


def escape(text: str) -> str:
    r"""Plain text for LaTeX's text mode.

    >>> escape("num_heads")
    'num\\_heads'
    """
    special = {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "$": r"\$",
        "&": r"\&",
        "#": r"\#",
        "^": r"\textasciicircum{}",
        "_": r"\_",
        "~": r"\textasciitilde{}",
        "%": r"\%",
    }
    return "".join(special.get(character, character) for character in text)


def latex(expr: Expr | Boolean, symbols: Symbols) -> str:
    r"""An expression in LaTeX.

    Example:
        `batch_size * (15009316864 + 524288*seq_len)` is `b \cdot (15{,}009{,}316{,}864 + 524{,}288 \, s)`.
    """
    return _latex(tree(expr, symbols.order), symbols)


def latex_tree(node: Tree, symbols: Symbols) -> str:
    """The same of a tree that was put together by hand."""
    return _latex(node, symbols)


def number(value: Fraction) -> str:
    """An exact number, thousands separated."""
    text = f"{abs(value.numerator):,}".replace(",", "{,}")
    sign = "-" if value < 0 else ""
    if value.denominator == 1:
        return sign + text
    return rf"{sign}\frac{{{text}}}{{{f'{value.denominator:,}'.replace(',', '{,}')}}}"


def _latex(node: Tree, name: Callable[[str], str]) -> str:
    match node:
        case Num():
            return number(node.value)
        case Sym():
            return name(node.name)
        case Sum():
            negative, first = node.terms[0]
            out = ("-" if negative else "") + _term(first, name)
            for negative, term in node.terms[1:]:
                out += (" - " if negative else " + ") + _term(term, name)
            return out
        case Prod():
            return _product(node, name)
        case Frac():
            return rf"\frac{{{_latex(node.over, name)}}}{{{_latex(node.under, name)}}}"
        case Power():
            base = _latex(node.base, name)
            if not (isinstance(node.base, Num) and node.base.value.denominator == 1) and not (
                isinstance(node.base, Sym) and "^" not in base and "'" not in base
            ):
                base = rf"\left({base}\right)" if isinstance(node.base, Num | Frac) else f"({base})"
            return f"{base}^{{{_latex(node.exponent, name)}}}"
        case Func():
            return _function(node, name)
        case Series():
            low, high = _latex(node.low, name), _latex(node.high, name)
            return rf"\sum_{{{name(node.index)} = {low}}}^{{{high}}} {_term(node.body, name)}"
        case Relation():
            relation = {"<=": r"\le", ">=": r"\ge", "==": "=", "!=": r"\ne"}.get(node.symbol, node.symbol)
            return f"{_latex(node.left, name)} {relation} {_latex(node.right, name)}"
        case Truth():
            return r"\text{always}" if node.value else r"\text{never}"
        case Several():
            return rf" \text{{ {node.word} }} ".join(_latex(part, name) for part in node.parts)


def _term(node: Tree, name: Callable[[str], str]) -> str:
    return f"({_latex(node, name)})" if isinstance(node, Sum) else _latex(node, name)


def _product(node: Prod, name: Callable[[str], str]) -> str:
    r"""Factors side by side, `\cdot` before what would run together: a bracket or another number."""
    out = ""
    for i, factor in enumerate(node.factors):
        piece = f"({_latex(factor, name)})" if isinstance(factor, Sum) else _latex(factor, name)
        if i == 0:
            out = piece
        elif isinstance(factor, Sum | Num | Frac | Power) and not (
            isinstance(factor, Power) and isinstance(factor.base, Sym)
        ):
            out += rf" \cdot {piece}"
        else:
            out += rf" \, {piece}"
    return out


def _function(node: Func, name: Callable[[str], str]) -> str:
    arguments = [_latex(argument, name) for argument in node.arguments]
    match node.name:
        case "min" | "max":
            return rf"\{node.name}({', '.join(arguments)})"
        case "ceil":
            return rf"\lceil {arguments[0]} \rceil"
        case "floor":
            return rf"\lfloor {arguments[0]} \rfloor"
        case "sqrt":
            return rf"\sqrt{{{arguments[0]}}}"
        case "log":
            return rf"\ln({arguments[0]})"
        case "W":
            index = arguments[1] if len(arguments) > 1 else "0"
            return rf"W_{{{index}}}({arguments[0]})"
        case "mod":
            return rf"({arguments[0]} \bmod {arguments[1]})"
    return rf"\operatorname{{{node.name}}}({', '.join(arguments)})"
