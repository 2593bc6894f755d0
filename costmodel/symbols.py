"""SymPy's symbols and the few operations on expressions that everything uses; the only place that makes symbols.

Symbols are positive and never integer: with `integer=True` SymPy's solvers drop a crossover that is no whole number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from functools import cache
from math import comb, gcd, lcm

from sympy import (
    QQ,
    Add,
    Dummy,
    Expr,
    Float,
    Integer,
    Max,
    Min,
    Mul,
    Pow,
    Rational,
    S,
    Symbol,
    UnevaluatedExpr,
    cancel,
    expand,
    log,
)
from sympy.core.numbers import Number as SympyNumber
from sympy.polys.rings import PolyRing

from costmodel.source import Diagnostic, SpecError

WORKLOAD = ("batch_size", "seq_len", "new_tokens")
DTYPE_ROLES = ("weights", "matrices", "experts", "cache", "activations")
MOST_TERMS = 20_000
_MOST_MOVED = 200
_MOST_CANCELLED = 8
MOST_COMPARED = 100
MOST_BITS = 1 << 19
LEGIBLE_BITS = 64


@cache
def symbol(name: str) -> Symbol:
    """The symbol of a dim."""
    return Symbol(name, positive=True)


batch_size = symbol("batch_size")
seq_len = symbol("seq_len")
new_tokens = symbol("new_tokens")
workload = frozenset({batch_size, seq_len, new_tokens})

# a request: its prompt and answer, and speculative decoding's odds
REQUEST = ("prompt_len", "output_len", "acceptance_rate", "drafts")
prompt_len, output_len, acceptance_rate, drafts = map(symbol, REQUEST)

# A role's bytes a value stay symbols until a figure is wanted. The dot keeps them apart from every dim.
role_bytes = {role: symbol(f"dtype.{role}") for role in DTYPE_ROLES}

ZERO, ONE = S.Zero, S.One


class TooManyTerms(SpecError):
    """An expansion would not fit in memory."""

    def __init__(self) -> None:
        super().__init__(Diagnostic("limit", f"an expression grows to more than {MOST_TERMS:,} terms"))


def rational(value: int | Fraction) -> Rational:
    """A Python number as SymPy's, exactly."""
    return Rational(value.numerator, value.denominator)


def fraction(value: Expr) -> Fraction:
    """SymPy's Rational as Python's Fraction."""
    if not isinstance(value, Rational):
        raise TypeError(f"{value} is no exact number")
    return Fraction(int(value.p), int(value.q))


def is_number(expr: Expr) -> bool:
    """Whether an expression is an exact number."""
    return isinstance(expr, SympyNumber) and not isinstance(expr, Float)


def product(factors: Iterable[Expr]) -> Expr:
    return Mul(*factors)


def total(terms: Iterable[Expr]) -> Expr:
    """A sum built in one go: adding terms one by one costs quadratic time."""
    return Add(*terms)


def put_in(expr: Expr, values: Mapping[Symbol, Expr], longest: int = MOST_BITS) -> Expr:
    """Replace symbols by values, exactly, save what `vanishes`.

    A power of more than `longest` bits stays one: with `LEGIBLE_BITS`, (31/32)^94 is no fraction of 142 digits, and
    (1 − k/E)^94 no sum of 95 terms. A `Max` or `Min` is made anew without SymPy's comparisons, which may look for the
    roots of a polynomial.
    """
    if not values:
        return expr
    return _put_in(expr, values, longest) if expr.has(Max, Min) or _grows(expr) else expr.xreplace(values)


def _grows(expr: Expr) -> bool:
    return any(power.exp.free_symbols for power in expr.atoms(Pow))


def _put_in(expr: Expr, values: Mapping[Symbol, Expr], longest: int) -> Expr:
    if expr in values:
        return values[expr]
    if not expr.args:
        return expr
    arguments = [_put_in(argument, values, longest) for argument in expr.args]
    if all(new is old for new, old in zip(arguments, expr.args, strict=True)):
        return expr
    if isinstance(expr, Max | Min):
        return chosen(expr.func, arguments)
    if isinstance(expr, Pow) and arguments[1].is_Rational and (arguments[0].is_Rational or expr.exp.free_symbols):
        return _power(arguments[0], arguments[1], longest)
    return expr.func(*arguments)


def _power(base: Expr, exponent: Rational, longest: int) -> Expr:
    """A power that is too long to be held stays as it is, or is 0 where it `vanishes`."""
    if not base.is_Rational:
        return Pow(base, exponent if longest == MOST_BITS else UnevaluatedExpr(exponent))
    if vanishes(fraction(base), fraction(exponent)):
        return ZERO
    if _length(fraction(base), fraction(exponent)) <= (MOST_BITS if base.is_Integer else longest):
        return Pow(base, exponent)
    return Pow(base, UnevaluatedExpr(exponent), evaluate=False)


def vanishes(base: Fraction, exponent: Fraction) -> bool:
    """Whether a power is below e^−500 and too long to be held: it is taken for 0."""
    if exponent < 0 and base > 0:
        base, exponent = 1 / base, -exponent
    if not 0 < base < 1 or exponent <= 0:
        return False
    return _length(base, exponent) > MOST_BITS and (1 - base) * exponent > 500


def _length(base: Fraction, exponent: Fraction) -> Fraction:
    """About how many bits a power has."""
    return max(abs(base.numerator).bit_length(), base.denominator.bit_length()) * abs(exponent)


def chosen(which: type[Max | Min], arguments: Iterable[Expr]) -> Expr:
    """The greatest or the least, without those that the signs of coefficients show to be another's lesser."""
    direction = 1 if which is Max else -1
    kept: list[Expr] = []
    for argument in dict.fromkeys(arguments):
        ahead = [_known_sign(argument - other) for other in kept]
        if any(s is not None and s * direction <= 0 for s in ahead):
            continue
        kept = [other for other, s in zip(kept, ahead, strict=True) if s is None]
        kept.append(argument)
    return kept[0] if len(kept) == 1 else which(*kept, evaluate=False)


def _known_sign(expr: Expr) -> int | None:
    return sign(expr) if terms_estimate(expr) <= MOST_COMPARED else None


def terms_estimate(expr: Expr) -> int:
    """An upper bound for the number of terms that `expand` would give."""
    if isinstance(expr, Add):
        return sum(terms_estimate(arg) for arg in expr.args)
    if isinstance(expr, Mul):
        size = 1
        for arg in expr.args:
            size *= terms_estimate(arg)
        return size
    if isinstance(expr, Pow) and isinstance(expr.exp, Integer) and expr.exp > 0:
        terms = terms_estimate(expr.base)
        return 1 if terms == 1 else comb(int(expr.exp) + terms - 1, terms - 1)
    return 1


def expanded(expr: Expr) -> Expr:
    """`expand`, refused where it would grow out of all bounds."""
    if terms_estimate(expr) > MOST_TERMS:
        raise TooManyTerms
    return expand(expr)


def is_zero(expr: Expr) -> bool:
    """Whether an expression is identically zero."""
    if expr == 0:
        return True
    if is_number(expr):
        return False
    if expanded(expr) == 0:
        return True
    if not any(power.exp.could_extract_minus_sign() for power in expr.atoms(Pow)):
        return False
    together = expr.together()
    numerator, denominator = together.as_numer_denom()
    return bool(together == 0 or (denominator != 1 and expanded(numerator) == 0))


def content(exprs: Iterable[Expr]) -> Rational:
    """The factor that makes the coefficients of these sums whole and without a common divisor."""
    over, under = 0, 1
    for expr in exprs:
        for term in Add.make_args(expr):
            coefficient = term.as_coeff_Mul()[0]
            over, under = gcd(over, int(coefficient.p)), lcm(under, int(coefficient.q))
    return Rational(under, over) if over else ONE


def lowest_terms(over: Expr, under: Expr) -> Expr:
    """A fraction in lowest terms.

    Polynomials are divided as such, which takes a fraction of the time of `cancel`.
    """
    if is_number(under):
        return expanded(over / under)
    if is_number(over):
        scale = over * content([under])
        return _positive_first(rational(scale.p), expanded(under * content([under]) * scale.q))
    symbols = sorted(over.free_symbols | under.free_symbols, key=lambda s: s.name)
    try:
        ring = PolyRing(symbols, QQ)
        parts = ring.from_expr(over).cancel(ring.from_expr(under))
        top, bottom = (part.as_expr() for part in parts)
    except ValueError:
        top, bottom = cancel(over / under).as_numer_denom()
    return _positive_first(top, bottom)


def in_lowest_terms(quotient: Expr) -> Expr:
    """A sum or product of quotients as one in lowest terms.

    Powers with a symbol in the exponent or a high one, and logarithms, are taken for symbols: they stay as they are.
    """
    whole = [atom for atom in quotient.atoms(Pow, log) if not atom.is_Pow or not _is_low(atom.exp)]
    names = {atom: Dummy(positive=atom.is_Pow or None) for atom in whole}
    over, under = quotient.xreplace(names).together().as_numer_denom()
    return lowest_terms(over, under).xreplace({name: atom for atom, name in names.items()})


def _is_low(exponent: Expr) -> bool:
    return is_number(exponent) and bool(abs(exponent) <= _MOST_CANCELLED)


def _positive_first(top: Expr, bottom: Expr) -> Expr:
    """What is negative throughout is turned round; where that is open, the denominator begins with what is positive."""
    signs = sign(top), sign(bottom)
    constant = bottom.as_coeff_Add()[0]
    begins_below = constant < 0 or (constant == 0 and bottom.could_extract_minus_sign())
    if signs[1] == -1 or (signs[1] is None and (signs[0] == -1 or (signs[0] is None and begins_below))):
        top, bottom = -top, -bottom
    return top / bottom


def sign(expr: Expr) -> int | None:
    """The sign of an expression in positive symbols where its coefficients, all of one sign, decide it; else None."""
    expr = expanded(expr)
    if is_number(expr):
        return int(bool(expr > 0)) - int(bool(expr < 0))
    signs = set()
    for term in Add.make_args(expr):
        coefficient, rest = term.as_coeff_Mul()
        if not rest.is_positive:
            return None
        signs.add(1 if coefficient > 0 else -1)
    return signs.pop() if len(signs) == 1 else None


def compared(relation: str, sign: int) -> bool:
    """Whether `left relation right` holds where the difference left − right has this sign."""
    return {"==": sign == 0, "!=": sign != 0, "<": sign < 0, "<=": sign <= 0, ">": sign > 0, ">=": sign >= 0}[relation]


def sign_from_one(expr: Expr) -> int | None:
    """The sign of an expression whose symbols are 1 or more, as whole dims are; None where it is open.

    With x = 1 + y in place of each symbol, coefficients of one sign decide it, where one of them is constant.
    """
    known = sign(expr)
    wholes = {s: s + 1 for s in expr.free_symbols if "." not in s.name and s != acceptance_rate}
    if known is not None or terms_estimate(expr) > _MOST_MOVED:
        return known
    moved = put_in(expr, wholes)
    return sign(moved) if sign(put_in(expr, dict.fromkeys(wholes, ONE))) != 0 else None
