"""Bounds on an unknown where other symbols stay free: what is a polynomial in it, of degree 2 at most, case by case.

A case is a stretch between windows and signs of coefficients that are open; an inequality is never divided by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from sympy import And, Eq, Expr, Ge, Gt, Le, Lt, Max, Min, Poly, PolynomialError, S, Symbol, cancel, expand, sqrt
from sympy.logic.boolalg import Boolean

from costmodel.solve.budget import Unsolvable, look_at_time
from costmodel.symbols import is_number, put_in, sign

_MOST_WINDOWS = 3
_MOST_CASES = 16


@dataclass(frozen=True)
class Bound:
    """An end of a case in closed form."""

    expr: Expr
    closed: bool


@dataclass(frozen=True)
class Case:
    """Where `condition` holds for the other symbols, the unknown lies from `low` to `high`; None is no bound."""

    condition: Boolean = S.true
    low: Bound | None = None
    high: Bound | None = None


def cases(parts: Sequence[tuple[Expr, str]], unknown: Symbol) -> tuple[Case, ...]:
    """For which values of an unknown all `expr relation 0` hold, the other symbols being open.

    Raises:
        Unsolvable: a part is no polynomial of degree 2 at most between windows, or has an open sign too many.

    Example:
        >>> from costmodel.symbols import symbol
        >>> x, a = symbol("x"), symbol("a")
        >>> cases([(a * x - 6, "<=")], x)[0].high.expr
        6/a
    """
    found: list[Case] = []
    for here in _between_windows(parts, unknown):
        alternatives = [_alternatives(expr, relation, unknown) for expr, relation in here.parts]
        for chosen in product(*alternatives):
            look_at_time()
            case = _together([here.case, *chosen])
            if case is not None:
                found.append(case)
        if len(found) > _MOST_CASES:
            raise Unsolvable(f"more than {_MOST_CASES} cases")
    return tuple(found)


# --- windows


@dataclass(frozen=True)
class _Here:
    case: Case
    parts: tuple[tuple[Expr, str], ...]


def _between_windows(parts: Sequence[tuple[Expr, str]], unknown: Symbol) -> Iterator[_Here]:
    """The parts with each `min(unknown, window)` decided, and the stretch of the unknown in which it is."""
    least = {atom for expr, _ in parts for atom in expr.atoms(Min) if unknown in atom.args}
    windows = sorted({Min(*(set(atom.args) - {unknown})) for atom in least}, key=str)
    if any(unknown in window.free_symbols for window in windows) or len(windows) > _MOST_WINDOWS:
        raise Unsolvable(f"{unknown} is held against too many windows")
    for below in product((True, False), repeat=len(windows)):
        inside = [w for w, is_below in zip(windows, below, strict=True) if is_below]
        beyond = [w for w, is_below in zip(windows, below, strict=True) if not is_below]
        chosen = {
            atom: unknown if Min(*(set(atom.args) - {unknown})) in inside else Min(*(set(atom.args) - {unknown}))
            for atom in least
        }
        ends = [Case(high=Bound(w, True)) for w in inside] + [Case(low=Bound(w, False)) for w in beyond]
        case = _together(ends)
        if case is not None:
            yield _Here(case, tuple((put_in(expr, chosen), relation) for expr, relation in parts))


def _together(cases: Sequence[Case]) -> Case | None:
    """What lies in all of them; None where that is nothing."""
    condition = And(*(case.condition for case in cases))
    low = _tightest([case.low for case in cases], Max)
    high = _tightest([case.high for case in cases], Min)
    if condition == False:  # noqa: E712
        return None
    if low is not None and high is not None and is_number(low.expr) and is_number(high.expr):
        if low.expr > high.expr or (low.expr == high.expr and not (low.closed and high.closed)):
            return None
    return Case(condition, low, high)


def _tightest(bounds: Sequence[Bound | None], which: type[Max | Min]) -> Bound | None:
    found = [bound for bound in bounds if bound is not None]
    if not found:
        return None
    expr = which(*(bound.expr for bound in found))
    return Bound(expr, all(bound.closed for bound in found if bound.expr == expr or not is_number(expr)))


# --- one inequality


def _alternatives(expr: Expr, relation: str, unknown: Symbol) -> list[Case]:
    """The cases in which one inequality holds; none where it holds nowhere."""
    if relation in (">=", ">"):
        expr, relation = -expr, {">=": "<=", ">": "<"}[relation]
    over, under = expr.together().as_numer_denom()
    direction = sign(under)
    if direction is None:
        raise Unsolvable("a denominator of open sign")
    try:
        poly = Poly(expand(over * direction), unknown)
    except PolynomialError:
        raise Unsolvable(f"{unknown} is more than a polynomial's variable") from None
    if any(unknown in c.free_symbols for c in poly.coeffs()) or poly.degree() > 2:
        raise Unsolvable(f"no polynomial of degree 2 at most in {unknown}")
    a, b, c = (poly.coeff_monomial(unknown**power) for power in (2, 1, 0))
    closed = relation != "<"
    if relation == "==":
        return list(_equal(a, b, c))
    return list(_square(a, b, c, closed)) if a != 0 else list(_linear(b, c, closed))


def _linear(a: Expr, b: Expr, closed: bool) -> Iterator[Case]:
    """a·x + b <= 0, by the signs of a and b."""
    of_a, of_b = sign(a), sign(b)
    if of_a == 0:
        if of_b is None:
            yield Case(_compared(b, Le if closed else Lt))
        elif of_b < 0 or (of_b == 0 and closed):
            yield Case()
        return
    if of_a != -1 and of_b not in (0, 1):
        yield Case(_all_of((of_a, a, Gt), (of_b, b, Lt)), high=Bound(_ratio(-b, a), closed))
    if of_a == 1:
        return
    if of_b in (-1, 0):
        # nothing positive is too small
        yield Case(_all_of((of_a, a, Le)))
    else:
        yield Case(_all_of((of_a, a, Lt)), low=Bound(_ratio(b, -a), closed))
        if of_a is None and of_b is None:
            yield Case(And(_compared(a, Eq), _compared(b, Le if closed else Lt)))


def _square(a: Expr, b: Expr, c: Expr, closed: bool) -> Iterator[Case]:
    """a·x² + b·x + c <= 0, where the signs tell how many roots are positive."""
    root = sqrt(b**2 - 4 * a * c)
    match sign(a), sign(b), sign(c):
        case (1, _, -1 | 0):
            yield Case(high=Bound((-b + root) / (2 * a), closed))
        case (-1, _, 1):
            yield Case(low=Bound((b + root) / (-2 * a), closed))
        case (1, 0 | 1, 1):
            return
        case (1, -1, 1):
            inside = Ge(expand(b**2 - 4 * a * c), 0)
            yield Case(inside, Bound((-b - root) / (2 * a), closed), Bound((-b + root) / (2 * a), closed))
        case (-1, -1 | 0, -1 | 0):
            yield Case()
        case _:
            raise Unsolvable("the signs of a square's coefficients are open")


def _equal(a: Expr, b: Expr, c: Expr) -> Iterator[Case]:
    """a·x² + b·x + c == 0 at a positive x."""
    if a == 0:
        of_b, of_c = sign(b), sign(c)
        if of_b == 0 or (of_b is not None and of_c in (0, of_b)):
            return
        at = Bound(_ratio(-c, b), True)
        positive = S.true if of_b is not None and of_c is not None else _compared(cancel(-c / b), Gt)
        yield Case(positive, at, at)
        return
    if {sign(a), sign(c)} != {1, -1}:
        raise Unsolvable("the signs of a square's coefficients are open")
    top = -b + sqrt(b**2 - 4 * a * c)
    at = Bound(top / (2 * a) if sign(a) == 1 else (b + sqrt(b**2 - 4 * a * c)) / (-2 * a), True)
    yield Case(S.true, at, at)


def _ratio(over: Expr, under: Expr) -> Expr:
    """A fraction in lowest terms, what is over the line positive where that is known."""
    top, bottom = cancel(over / under).as_numer_denom()
    return -top / -bottom if sign(top) == -1 else top / bottom


def _all_of(*open_: tuple[int | None, Expr, type[Boolean]]) -> Boolean:
    """The relations to zero of the expressions whose signs are open."""
    return And(*(_compared(expr, relation) for known, expr, relation in open_ if known is None))


def _compared(expr: Expr, relation: type[Boolean]) -> Boolean:
    """`expr relation 0`, solved for its symbol where it has one and is linear in it."""
    over, under = expr.together().as_numer_denom()
    flips = {Le: Ge, Ge: Le, Lt: Gt, Gt: Lt, Eq: Eq}
    if sign(under) == -1:
        over = -over
    elif sign(under) is None:
        return relation(expr, 0)
    over = Poly(over).primitive()[1].as_expr() if over.is_polynomial() and over.free_symbols else over
    if len(over.free_symbols) == 1:
        (symbol,) = over.free_symbols
        if over.is_polynomial(symbol) and Poly(over, symbol).degree() == 1:
            slope, constant = Poly(over, symbol).all_coeffs()
            return (relation if slope > 0 else flips[relation])(symbol, -constant / slope)
    return relation(over, 0)
