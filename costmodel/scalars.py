"""Arithmetic on dims: syntax to SymPy, exactly, and refused where it would grow out of bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sympy import Add, Expr, Integer, Max, Min, Mod, Mul, Pow, ceiling, floor

from costmodel import syntax
from costmodel.source import Diagnostic, SpecError
from costmodel.symbols import ONE, is_number, is_zero, rational, total

MOST_VALUE = 10**30
MOST_EXPONENT = 64
MOST_FUNCTIONS = 8
MOST_ARGUMENTS = 100
_MOST_BITS = 4_000

Lookup = Callable[[syntax.Name], Expr]
ValueOf = Callable[[Expr], Expr]


def scalar(node: syntax.Expression, lookup: Lookup, value_of: ValueOf = lambda expr: expr) -> Expr:
    """The value of an expression in dims.

    `lookup` gives a name's value; `value_of` puts the dims' figures into one, to see what cannot be computed.

    Raises:
        SpecError: a division by zero, a figure or exponent out of bounds, or something that is no number.
    """
    match node:
        case syntax.Number():
            return rational(node.value)
        case syntax.Name():
            return lookup(node)
        case syntax.Sum():
            return total(
                value if sign == "+" else -value
                for sign, value in ((sign, scalar(term, lookup, value_of)) for sign, term in node.terms)
            )
        case syntax.Negative():
            return -scalar(node.operand, lookup, value_of)
        case syntax.Product():
            result = ONE
            for operator, factor in node.factors:
                value = scalar(factor, lookup, value_of)
                result = divide_or_multiply(operator, result, value, factor, value_of)
            return result
        case syntax.Power():
            return power(scalar(node.base, lookup, value_of), scalar(node.exponent, lookup, value_of), node, value_of)
        case syntax.Call():
            return function(node, tuple(scalar(a.value, lookup, value_of) for a in node.arguments), value_of)
        case _:
            raise SpecError(Diagnostic("type", "a number or a dim is needed here", node.span))


def function(node: syntax.Call, arguments: tuple[Expr, ...], value_of: ValueOf = lambda expr: expr) -> Expr:
    """`min`, `max`, `ceil` or `floor`."""
    if len(arguments) > MOST_ARGUMENTS:
        raise SpecError(Diagnostic("limit", f"`{node.function}` of more than {MOST_ARGUMENTS} values", node.span))
    for argument in arguments:
        # SymPy compares what stands in a minimum with all else in it, at a cost that doubles with each level
        _check_nesting(argument, node, value_of)
    match node.function:
        case "min":
            return Min(*arguments)
        case "max":
            return Max(*arguments)
        case "ceil":
            return ceiling(arguments[0])
        case "floor":
            return floor(arguments[0])
    raise SpecError(Diagnostic("unknown-name", f"there is no function of dims `{node.function}`", node.function_span))


def divide_or_multiply(operator: str, left: Expr, right: Expr, node: syntax.Expression, value_of: ValueOf) -> Expr:
    """`*`, `/`, `//` (rounded down) or `%`."""
    if operator == "*":
        return _limited(left * right, node, value_of)
    if is_zero(value_of(right)):
        raise SpecError(Diagnostic("division", "a division by zero", node.span))
    if operator == "/":
        return _limited(left / right, node, value_of)
    for side in (left, right):
        _check_nesting(side, node, value_of)
    return floor(left / right) if operator == "//" else Mod(left, right)


def _limited(result: Expr, node: syntax.Expression, value_of: ValueOf) -> Expr:
    """A product or quotient, refused where it would grow out of bounds."""
    value = result
    if not is_number(result) and _size(result).degree > MOST_EXPONENT:
        value = value_of(result)
    if is_number(value):
        if max(int(value.p).bit_length(), int(value.q).bit_length()) > _MOST_BITS:
            raise SpecError(_too_large(node))
    elif (degree := _size(value).degree) > MOST_EXPONENT:
        raise SpecError(_too_high(degree, node))
    return result


def _check_nesting(expr: Expr, node: syntax.Expression, value_of: ValueOf) -> None:
    if _size(expr).nesting >= MOST_FUNCTIONS and _size(value_of(expr)).nesting >= MOST_FUNCTIONS:
        message = f"`min`, `max`, `ceil`, `floor`, `//` and `%` of free dims more than {MOST_FUNCTIONS} levels deep"
        raise SpecError(Diagnostic("limit", message, node.span))


def _too_large(node: syntax.Expression) -> Diagnostic:
    return Diagnostic("limit", f"a figure larger than 10^{_MOST_BITS * 3 // 10}", node.span)


def _too_high(exponent: int, node: syntax.Expression) -> Diagnostic:
    shown = f"{exponent}" if exponent < 10**6 else "more than 10^6"
    return Diagnostic("limit", f"an exponent of {shown} over free dims; {MOST_EXPONENT} is the limit", node.span)


@dataclass(frozen=True, slots=True)
class _Size:
    """How high an expression's degree may be, and how deep functions stand in one another."""

    degree: int
    nesting: int


def _size(expr: Expr) -> _Size:
    known: dict[Expr, _Size] = {}

    def size(part: Expr) -> _Size:
        if part.is_Symbol:
            return _Size(1, 0)
        if not part.args:
            return _Size(0, 0)
        found = known.get(part)
        if found is None:
            inner = [size(argument) for argument in part.args]
            nesting = max(i.nesting for i in inner)
            if isinstance(part, Mul):
                degree = sum(i.degree for i in inner)
            elif isinstance(part, Pow):
                power = abs(int(part.exp)) if isinstance(part.exp, Integer) else 1
                degree = inner[0].degree * power + inner[1].degree
            else:
                degree = max(i.degree for i in inner)
                nesting += not isinstance(part, Add)
            found = known[part] = _Size(degree, nesting)
        return found

    return size(expr)


def power(base: Expr, exponent: Expr, node: syntax.Power, value_of: ValueOf) -> Expr:
    """`base ^ exponent`, where it stays computable."""
    base_value, exponent_value = value_of(base), value_of(exponent)
    if not is_number(exponent_value):
        return _limited(base**exponent, node, value_of)
    if not exponent_value.is_Integer:
        raise SpecError(
            Diagnostic("exponent", f"an exponent is a whole number, not {exponent_value}", node.exponent.span)
        )
    if base_value.is_zero and exponent_value < 0:
        raise SpecError(Diagnostic("division", "a division by zero", node.span))
    size = abs(int(exponent_value))
    if is_number(base_value):
        bits = max(int(base_value.p).bit_length(), int(base_value.q).bit_length())
        if abs(base_value) != 1 and base_value != 0 and (bits - 1) * size > _MOST_BITS:
            raise SpecError(_too_large(node))
        return base_value**exponent_value if is_number(base) or size > MOST_EXPONENT else base**exponent_value
    if size * _size(base_value).degree > MOST_EXPONENT:
        raise SpecError(_too_high(size, node))
    return base**exponent_value


def bounded(value: Expr, node: syntax.Expression, what: str) -> Expr:
    """A value of at most 10^30.

    Raises:
        SpecError: it is larger.
    """
    if is_number(value) and abs(value) > Integer(MOST_VALUE):
        raise SpecError(Diagnostic("limit", f"{what} is larger than 10^30", node.span))
    return value
