"""Closed forms as cells of a spreadsheet, to be pasted at A1 of an empty sheet: Excel, LibreOffice, Google Sheets.

Only what all of them have is used, with decimal points and commas between arguments, as an English sheet reads it. A
sheet computes in double precision, and reads 15 digits of a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from costmodel.algebra import Frac, Func, Num, Power, Prod, Sum, Sym, Tree
from costmodel.figures import as_float

# what Excel takes: characters of a formula, arguments of a function, levels of brackets
_LONGEST, _MOST_ARGUMENTS, _DEEPEST = 8_192, 255, 64
_MOST_EXACT = 10**15
_RUN = ("=", "+", "-", "@")


class TooLong(ValueError):
    """A formula is more than a cell may hold."""


def sheet(
    title: str, counted: str, inputs: Sequence[tuple[str, Fraction, str]], rows: Iterable[tuple[str, Tree, str, str]]
) -> str:
    """Rows with tabs between cells: a title, what was counted, inputs to change, and a formula a quantity.

    `inputs` are a symbol's name, its figure and meaning; `rows` a quantity, its closed form, unit and meaning.

    Raises:
        TooLong: a formula is more than a cell may hold.
        TypeError: a formula has a function that sheets lack: Lambert's W, a sum over steps.
    """
    lines: list[Sequence[str]] = [(title,), (counted,), (), ("input", "value", "", "meaning")]
    cells: dict[str, str] = {}
    for name, value, meaning in inputs:
        cells[name] = f"$B${len(lines) + 1}"
        lines.append((name, _number(value), "", meaning))
    lines += [(), ("quantity", "value", "unit", "meaning")]
    for name, body, unit, meaning in rows:
        lines.append((name, cell(body, cells), unit, meaning))
    return "\n".join("\t".join((_inert(c) if i != 1 else c) for i, c in enumerate(line)) for line in lines) + "\n"


def cell(body: Tree, cells: Mapping[str, str]) -> str:
    """A formula in the cells of its symbols.

    >>> cell(Prod((Num(Fraction(2)), Sym("b"))), {"b": "$B$5"})
    '=2*$B$5'

    Raises:
        TooLong: it is more than a cell may hold.
        TypeError: it has a function that sheets lack.
    """
    formula = f"={_written(body, cells)}"
    if len(formula) > _LONGEST or _depth(formula) > _DEEPEST:
        raise TooLong(f"{len(formula):,} characters in {_depth(formula)} levels of brackets")
    return formula


def _written(node: Tree, cells: Mapping[str, str]) -> str:
    def inner(node: Tree) -> str:
        return _written(node, cells)

    match node:
        case Num():
            return _number(node.value)
        case Sym():
            return cells[node.name]
        case Sum():
            negative, first = node.terms[0]
            out = f"{'0-' if negative else ''}{_apart(first, inner(first))}"
            for negative, term in node.terms[1:]:
                out += f"{'-' if negative else '+'}{_apart(term, inner(term))}"
            return out
        case Prod():
            return "*".join(_apart(factor, inner(factor)) for factor in node.factors)
        case Frac():
            return f"({inner(node.over)})/({inner(node.under)})"
        case Power(Num(base), exponent) if 0 < base < 1:
            # LibreOffice fails where POWER comes to less than a number may be, and gives 0 here
            return f"EXP(({inner(exponent)})*LN({_number(base)}))"
        case Power():
            return f"POWER({inner(node.base)},{inner(node.exponent)})"
        case Func():
            return _called(node.name, [inner(argument) for argument in node.arguments])
        case _:
            raise TypeError("a sum over steps is no formula of a cell")


def _apart(node: Tree, written: str) -> str:
    negative = isinstance(node, Num) and (node.value < 0 or node.value.denominator != 1)
    return f"({written})" if isinstance(node, Sum | Frac) or negative else written


def _called(name: str, arguments: Sequence[str]) -> str:
    """A function by what every sheet rounds alike: INT goes down, and MOD fails where the quotient is large."""
    if len(arguments) > _MOST_ARGUMENTS:
        raise TooLong(f"{len(arguments)} arguments")
    match name, arguments:
        case (("min" | "max"), _):
            return f"{name.upper()}({','.join(arguments)})"
        case "floor", (a,):
            return f"INT({a})"
        case "ceil", (a,):
            return f"(0-INT(0-({a})))"
        case "mod", (a, b):
            return f"(({a})-({b})*INT(({a})/({b})))"
        case "log", (a,):
            return f"LN({a})"
        case "sqrt", (a,):
            return f"SQRT({a})"
    raise TypeError(f"a cell has no function {name}")


def _number(value: Fraction) -> str:
    if value.denominator == 1:
        return str(value.numerator) if abs(value) < _MOST_EXACT else repr(as_float(value)).replace("e+", "E").upper()
    if max(abs(value.numerator), value.denominator) < _MOST_EXACT:
        return f"{value.numerator}/{value.denominator}"
    return repr(as_float(value)).upper()


def _depth(formula: str) -> int:
    deepest = depth = 0
    for character in formula:
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
    return deepest


def _inert(text: str) -> str:
    """Text on one line that no sheet runs."""
    line = re.sub(r"[\s\x00-\x1f\x7f]+", " ", text).strip()
    return f"'{line}" if line.startswith(_RUN) else line
