"""Closed forms as JavaScript: what a page evaluates where the pointer is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction

from sympy import Expr

from costmodel.algebra import Frac, Func, Num, Power, Prod, Series, Sum, Sym, Tree, tree
from costmodel.figures import as_float

_FUNCTIONS = {
    "min": "Math.min",
    "max": "Math.max",
    "ceil": "Math.ceil",
    "floor": "Math.floor",
    "log": "Math.log",
    "sqrt": "Math.sqrt",
    "mod": "mod",
}
HELPERS = {
    "mod": "const mod = (a, b) => a - b * Math.floor(a / b);",
    "sum": "const sum = (low, high, term) => { let s = 0; for (let i = low; i <= high; i++) s += term(i); return s; };",
}
_RESERVED = frozenset(
    "arguments await break case catch class const continue debugger default delete do else enum eval export extends"
    " false finally for function if implements import in instanceof interface let new null package private protected"
    " public return static super switch this throw true try typeof var void while with yield Math mod sum".split()
)
_MOST_EXACT = 1 << 53


def name(of: str) -> str:
    """A symbol's name as JavaScript may have it: `new` is `new_`, `new_` is `new__`, `dtype.cache` is `dtype_cache`."""
    plain = of.replace(".", "_")
    return f"{plain}_" if plain.rstrip("_") in _RESERVED else plain


def javascript(value: Expr | Tree, order: Mapping[str, int] | None = None) -> str:
    """An expression as JavaScript's own, in double precision, that uses `mod` and `sum` of HELPERS where it needs them.

    >>> from costmodel.symbols import batch_size
    >>> javascript(batch_size / 3 + 2**70)
    '1.1805916207174113e+21 + (batch_size / 3)'

    Raises:
        TypeError: it holds a function that JavaScript lacks: Lambert's W.
    """
    if isinstance(value, Expr):
        value = tree(value) if order is None else tree(value, order)
    return _written(value)


def helpers(bodies: Iterable[str]) -> list[str]:
    """The definitions that these bodies need."""
    bodies = tuple(bodies)
    return [line for word, line in HELPERS.items() if any(f"{word}(" in body for body in bodies)]


def _written(node: Tree) -> str:
    match node:
        case Num():
            return _number(node.value)
        case Sym():
            return name(node.name)
        case Sum():
            negative, first = node.terms[0]
            out = ("-" if negative else "") + _inside(first)
            for negative, term in node.terms[1:]:
                out += (" - " if negative else " + ") + _inside(term)
            return out
        case Prod():
            return " * ".join(_inside(factor) for factor in node.factors)
        case Frac():
            return f"{_bracketed(node.over)} / {_bracketed(node.under)}"
        case Power():
            return f"Math.pow({_written(node.base)}, {_written(node.exponent)})"
        case Series():
            return f"sum({_written(node.low)}, {_written(node.high)}, {name(node.index)} => {_written(node.body)})"
        case Func() if node.name in _FUNCTIONS:
            return f"{_FUNCTIONS[node.name]}({', '.join(map(_written, node.arguments))})"
        case _:
            raise TypeError(f"{node} is no value in JavaScript")


def _inside(node: Tree) -> str:
    return f"({_written(node)})" if isinstance(node, Sum | Frac) or _is_ratio(node) else _written(node)


def _bracketed(node: Tree) -> str:
    simple = isinstance(node, Sym | Func | Power) or (isinstance(node, Num) and not _is_ratio(node))
    return _written(node) if simple else f"({_written(node)})"


def _is_ratio(node: Tree) -> bool:
    return isinstance(node, Num) and node.value.denominator != 1


def _number(value: Fraction) -> str:
    if value.denominator == 1:
        return _whole(value.numerator)
    if max(abs(value.numerator), value.denominator) < _MOST_EXACT:
        return f"{value.numerator} / {value.denominator}"
    return repr(as_float(value))


def _whole(value: int) -> str:
    return str(value) if abs(value) < _MOST_EXACT else repr(as_float(Fraction(value)))
