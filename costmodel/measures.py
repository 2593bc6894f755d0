"""Numbers with units, and expressions of them: a value with its dimension."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sympy import Expr

from costmodel import syntax
from costmodel.names import listed, near_help
from costmodel.scalars import divide_or_multiply, function, power
from costmodel.source import Diagnostic, Label, SpecError
from costmodel.symbols import is_number, rational
from costmodel.units import BYTES, FLOP, MAGNITUDES, PLAIN, UNITS, Dimension


@dataclass(frozen=True, slots=True)
class Measure:
    """A value and its dimension; `literal` marks numbers and dims, which fit every dimension."""

    value: Expr
    dimension: Dimension
    literal: bool = False


def power_of_ten(node: syntax.Quantity) -> str:
    """What `16M` very likely means where no unit belongs: `16e6`; empty where it means nothing."""
    power = MAGNITUDES.get(node.unit)
    return f"`{node.text}e{power}`" if power is not None and "e" not in node.text.lower() else ""


def no_such_unit(node: syntax.Quantity, count: bool = False) -> Diagnostic:
    """What is to be said of a number with a unit that there is none of; it may be a `count`, without any."""
    help = (power_of_ten(node) if count else "") or near_help(node.unit, UNITS)
    facts = () if help else (f"units are {listed(UNITS, 40)}",)
    return Diagnostic("unknown-name", f"there is no unit `{node.unit}`", node.unit_span, facts=facts, help=help)


def measure(node: syntax.Expression, lookup: Callable[[syntax.Expression], Measure]) -> Measure:
    """The value of an expression with units; `lookup` gives names, attributes and calls of quantities.

    Raises:
        SpecError: an unknown unit, or dimensions that do not agree.
    """
    match node:
        case syntax.Number():
            return Measure(rational(node.value), PLAIN, literal=True)
        case syntax.Quantity():
            if node.unit not in UNITS:
                raise SpecError(no_such_unit(node))
            size, dimension = UNITS[node.unit]
            return Measure(rational(node.value * size), dimension)
        case syntax.Negative():
            inner = measure(node.operand, lookup)
            return Measure(-inner.value, inner.dimension, inner.literal)
        case syntax.Sum():
            result = measure(node.terms[0][1], lookup)
            for sign, term in node.terms[1:]:
                other = measure(term, lookup)
                dimension = common_dimension(result, other, node.terms[0][1], term)
                value = result.value + other.value if sign == "+" else result.value - other.value
                result = Measure(value, dimension, result.literal and other.literal)
            return result
        case syntax.Product():
            result = measure(node.factors[0][1], lookup)
            for operator, factor in node.factors[1:]:
                other = measure(factor, lookup)
                value = divide_or_multiply(operator, result.value, other.value, factor, lambda e: e)
                if operator in ("//", "%"):
                    dimension = PLAIN
                else:
                    dimension = (
                        result.dimension * other.dimension if operator == "*" else result.dimension / other.dimension
                    )
                result = Measure(value, dimension, result.literal and other.literal)
            return result
        case syntax.Power():
            base, exponent = measure(node.base, lookup), measure(node.exponent, lookup)
            if base.dimension != PLAIN and not (is_number(exponent.value) and exponent.value.is_Integer):
                raise SpecError(Diagnostic("dimension", "a measure's exponent is a whole number", node.exponent.span))
            value = power(base.value, exponent.value, node, lambda e: e)
            dimension = base.dimension ** int(exponent.value) if base.dimension != PLAIN else PLAIN
            return Measure(value, dimension, base.literal and exponent.literal)
        case syntax.Call() if node.function in ("min", "max", "ceil", "floor"):
            parts = [measure(argument.value, lookup) for argument in node.arguments]
            dimension = parts[0].dimension
            for part, argument in zip(parts[1:], node.arguments[1:], strict=True):
                dimension = common_dimension(
                    Measure(part.value, dimension, parts[0].literal), part, node, argument.value
                )
            return Measure(function(node, tuple(p.value for p in parts)), dimension, all(p.literal for p in parts))
        case syntax.Name() | syntax.Attribute() | syntax.Call():
            return lookup(node)
        case syntax.Text():
            raise SpecError(Diagnostic("type", "a number is needed here, and this is a string", node.span))
        case _:
            raise SpecError(Diagnostic("type", "a number is needed here", node.span))


def common_dimension(a: Measure, b: Measure, a_node: syntax.Expression, b_node: syntax.Expression) -> Dimension:
    """The dimension of two values that are compared or added; a number without a unit takes the other's.

    So does a count, such as `params`, beside FLOPs or bytes.

    Raises:
        SpecError: they are of different dimensions.
    """
    if a.dimension == b.dimension or b.literal:
        return a.dimension
    if a.literal:
        return b.dimension
    if {a.dimension, b.dimension} in ({PLAIN, FLOP}, {PLAIN, BYTES}):
        return a.dimension if b.dimension == PLAIN else b.dimension
    raise SpecError(
        Diagnostic(
            "dimension",
            f"`{_short(a_node)}` {a.dimension.said}, and `{_short(b_node)}` {b.dimension.said}",
            b_node.span,
            label=str(b.dimension),
            others=(Label(a_node.span, str(a.dimension)),),
        )
    )


def _short(node: syntax.Expression) -> str:
    folded = " ".join(node.span.text.split())
    return folded if len(folded) <= 40 else folded[:39] + "…"
