"""Arithmetic on dims: syntax to SymPy, exactly, and refused where it would grow out of bounds."""

from __future__ import annotations

from collections.abc import Callable

from sympy import Expr, Integer, Max, Min, Mod, ceiling, degree_list, floor

from costmodel import syntax
from costmodel.source import Diagnostic, SpecError
from costmodel.symbols import ONE, TooManyTerms, expanded, is_number, is_zero, rational, total

MOST_VALUE = 10**30
MOST_EXPONENT = 64
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
                result = divide_or_multiply(operator, result, scalar(factor, lookup, value_of), factor, value_of)
            return result
        case syntax.Power():
            return power(scalar(node.base, lookup, value_of), scalar(node.exponent, lookup, value_of), node, value_of)
        case syntax.Call():
            return function(node, tuple(scalar(a.value, lookup, value_of) for a in node.arguments))
        case _:
            raise SpecError(Diagnostic("type", "a number or a dim is needed here", node.span))


def function(node: syntax.Call, arguments: tuple[Expr, ...]) -> Expr:
    """`min`, `max`, `ceil` or `floor`."""
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
        return left * right
    if is_zero(value_of(right)):
        raise SpecError(Diagnostic("division", "a division by zero", node.span))
    if operator == "/":
        return left / right
    return floor(left / right) if operator == "//" else Mod(left, right)


def power(base: Expr, exponent: Expr, node: syntax.Power, value_of: ValueOf) -> Expr:
    """`base ^ exponent`, where it stays computable."""
    base_value, exponent_value = value_of(base), value_of(exponent)
    if is_number(exponent_value):
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
                raise SpecError(Diagnostic("limit", f"a figure larger than 10^{_MOST_BITS * 3 // 10}", node.span))
            return base_value**exponent_value if is_number(base) or size > MOST_EXPONENT else base**exponent_value
        if size * _degree(base_value, node) > MOST_EXPONENT:
            raise SpecError(
                Diagnostic(
                    "limit",
                    f"an exponent of {int(exponent_value) if size < 10**6 else 'more than 10^6'} over free dims;"
                    f" {MOST_EXPONENT} is the limit",
                    node.span,
                )
            )
        return base**exponent_value
    return base**exponent


def _degree(expr: Expr, node: syntax.Power) -> int:
    """The total degree of an expression, as far as an exponent multiplies it."""
    try:
        numerator, denominator = expanded(expr).as_numer_denom()
    except TooManyTerms:
        raise SpecError(Diagnostic("limit", "an expression of too many terms", node.span)) from None
    sizes = [
        sum(abs(int(d)) for d in degree_list(part)) if part.free_symbols and part.is_polynomial() else 1
        for part in (numerator, denominator)
    ]
    return max(1, *sizes)


def bounded(value: Expr, node: syntax.Expression, what: str) -> Expr:
    """A value of at most 10^30.

    Raises:
        SpecError: it is larger.
    """
    if is_number(value) and abs(value) > Integer(MOST_VALUE):
        raise SpecError(Diagnostic("limit", f"{what} is larger than 10^30", node.span))
    return value
