"""Where a pass turns compute-bound: the batch size at which compute time and memory time are equal.

With C(b) and M(b) the two times, g = C − M. Dense costs are linear in b, so g = h·b − n and b* = n/h, which is
positive exactly where h > 0: the feasibility condition. A group of experts adds −d·(1 − q^b): g stays convex, so with
n > 0 the condition is the same, and Lambert's W gives the root. Windows, `min(seq_len, w)`, are taken by cases.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import gcd, lcm

from sympy import Add, And, Eq, Expr, Gt, LambertW, Lt, Min, Mul, Or, Pow, S, Symbol, cancel, log
from sympy.logic.boolalg import Boolean

from costmodel.figures import Figure, Open, figure
from costmodel.solve.budget import Unsolvable
from costmodel.solve.exppoly import Root
from costmodel.solve.inequality import closed_root
from costmodel.solve.piecewise import Piecewise, fold
from costmodel.symbols import ONE, batch_size, expanded, is_number, rational, seq_len, sign, total


@dataclass(frozen=True)
class Closed:
    """A value with its closed form, where there is one; `value` is None where a symbol in it is free."""

    value: Figure | None
    expr: Expr | None

    def __float__(self) -> float:
        if self.value is None:
            raise TypeError("the value depends on a symbol that is free")
        return float(self.value)

    def __str__(self) -> str:
        return str(self.expr) if self.expr is not None else str(self.value)


@dataclass(frozen=True)
class Case:
    """A closed form with the condition under which it holds."""

    condition: Boolean
    closed: Expr | None
    feasible: Boolean


@dataclass(frozen=True)
class Form:
    """h·b − n − Σ d·(1 − q^b), times the bandwidth: bytes.

    `groups` are pairs of d and (q, rate): one of experts each, read as d·(1 − q^(rate·b)).
    """

    n: Expr
    h: Expr
    groups: tuple[tuple[Expr, Expr, Expr], ...]

    @cached_property
    def closed(self) -> Expr | None:
        """b* in closed form: n/h, with one group Lambert's W, None with several."""
        if not self.groups:
            return _quotient(self.n, self.h) if self.h != 0 else None
        if len(self.groups) > 1 or self.h == 0:
            return None
        d, q, rate = self.groups[0]
        slope = log(q) * rate
        top = (self.n + d) / self.h
        return top - LambertW(d / self.h * slope * q ** (rate * top)) / slope


def _quotient(over: Expr, under: Expr) -> Expr:
    """A fraction in lowest terms, its denominator beginning with what is positive."""
    top, bottom = cancel(over / under).as_numer_denom()
    constant = bottom.as_coeff_Add()[0]
    if constant < 0 or (constant == 0 and bottom.could_extract_minus_sign()):
        top, bottom = -top, -bottom
    return top / bottom


def form(compute: Expr, memory: Expr, bandwidth: Expr) -> Form | None:
    """The two times as a form in the batch size; None where they have another shape."""
    of_compute, of_memory = (_split(expanded(expr * bandwidth)) for expr in (compute, memory))
    if of_compute is None or of_memory is None:
        return None
    (f0, f1, f_groups), (m0, m1, m_groups) = of_compute, of_memory
    if f_groups:
        return None
    groups = tuple((-d, q, rate) for d, q, rate in m_groups)
    constant = m0 - total(d for d, _, _ in groups)
    n, h = expanded(constant - f0), expanded(f1 - m1)
    scale = _content([n, h, *(d for d, _, _ in groups)])
    return Form(n * scale, h * scale, tuple((d * scale, q, rate) for d, q, rate in groups))


def _content(exprs: Iterable[Expr]) -> Expr:
    """The factor that makes all coefficients whole and without a common divisor."""
    over, under = 0, 1
    for expr in exprs:
        for term in Add.make_args(expr):
            coefficient = term.as_coeff_Mul()[0]
            over, under = gcd(over, int(coefficient.p)), lcm(under, int(coefficient.q))
    return rational(Fraction(under, over)) if over else ONE


def _split(expr: Expr) -> tuple[Expr, Expr, list[tuple[Expr, Expr, Expr]]] | None:
    """Constant, slope and exponential terms of an expression in the batch size."""
    constants, slopes = [], []
    powers: dict[tuple[Expr, Expr], list[Expr]] = {}
    for term in Add.make_args(expr):
        if batch_size not in term.free_symbols:
            constants.append(term)
            continue
        inside = [f for f in Mul.make_args(term) if batch_size in f.free_symbols]
        rest = total([term / inside[0]]) if len(inside) == 1 else None
        if rest is None:
            return None
        if inside[0] == batch_size:
            slopes.append(rest)
            continue
        if not isinstance(inside[0], Pow) or batch_size in inside[0].base.free_symbols:
            return None
        rate = inside[0].exp / batch_size
        if batch_size in rate.free_symbols:
            return None
        powers.setdefault((inside[0].base, rate), []).append(rest)
    return total(constants), total(slopes), [(total(d), q, rate) for (q, rate), d in powers.items()]


# --- cases by window


def windows(*exprs: Expr) -> list[Fraction]:
    """The window sizes at which `min(seq_len, w)` changes its branch."""
    found = set()
    for expr in exprs:
        for atom in expr.atoms(Min):
            others = [arg for arg in atom.args if arg != seq_len]
            if len(others) == 1 and len(atom.args) == 2 and is_number(others[0]):
                found.add(Fraction(int(others[0].p), int(others[0].q)))
    return sorted(found)


def in_case(expr: Expr, low: Fraction) -> Expr:
    """An expression where seq_len lies above `low` and not above the next window."""
    chosen = {}
    for atom in expr.atoms(Min):
        others = [arg for arg in atom.args if arg != seq_len]
        if len(others) == 1 and len(atom.args) == 2 and is_number(others[0]):
            window = Fraction(int(others[0].p), int(others[0].q))
            chosen[atom] = others[0] if window <= low else seq_len
    return expr.xreplace(chosen)


@dataclass(frozen=True)
class Stretch:
    """Contexts above `low` up to `high`, with the form that the two times have there."""

    low: Fraction
    high: Fraction | None
    form: Form | None

    @property
    def condition(self) -> Boolean:
        parts = []
        if self.low > 0:
            parts.append(Gt(seq_len, rational(self.low)))
        if self.high is not None:
            parts.append(seq_len <= rational(self.high))
        return And(*parts) if parts else S.true

    def holds(self, x: Fraction) -> bool:
        return self.low < x and (self.high is None or x <= self.high)


def stretches(compute: Expr, memory: Expr, bandwidth: Expr) -> list[Stretch]:
    """The two times by cases in seq_len; neighbours with the same form are one case."""
    cuts = windows(compute, memory)
    found: list[Stretch] = []
    for low, high in zip([Fraction(0), *cuts], [*cuts, None], strict=True):
        here = form(in_case(compute, low), in_case(memory, low), bandwidth)
        if found and found[-1].form == here:
            found[-1] = Stretch(found[-1].low, high, here)
        else:
            found.append(Stretch(low, high, here))
    return found


# --- feasibility


@dataclass(frozen=True)
class Feasibility:
    """When a crossover exists as the batch grows, solved for seq_len; `critical` is where that changes."""

    condition: Boolean
    critical: Closed


def feasibility(cases: Sequence[Stretch]) -> Feasibility | None:
    """The contexts at which one more sequence takes longer to compute than to read; None where that is not linear."""
    forms = [case.form for case in cases]
    if any(f is None for f in forms):
        return None
    free = set().union(*(f.h.free_symbols | f.n.free_symbols for f in forms if f is not None)) - {seq_len}
    if free or any(f is not None and sign(f.n) != 1 for f in forms):
        return _open_feasibility(cases)
    try:
        parts: list[Boolean] = []
        edges: list[tuple[Fraction, Expr]] = []
        joined: list[tuple[Fraction, Fraction | None, Expr, Expr | None]] = []
        for case in cases:
            assert case.form is not None
            for low, high, low_expr, high_expr in _positive(case.form.h, case.low, case.high):
                if joined and joined[-1][1] == low:
                    before = joined.pop()
                    joined.append((before[0], high, before[2], high_expr))
                else:
                    joined.append((low, high, low_expr, high_expr))
        for low, high, low_expr, high_expr in joined:
            bounds = []
            if low > 0:
                bounds.append(Gt(seq_len, low_expr))
                edges.append((low, low_expr))
            if high is not None and high_expr is not None:
                bounds.append(Lt(seq_len, high_expr))
                edges.append((high, high_expr))
            parts.append(And(*bounds) if bounds else S.true)
    except (Unsolvable, Open):
        return None
    condition = Or(*parts) if parts else S.false
    edge = edges[0] if edges else None
    return Feasibility(condition, Closed(edge[0], edge[1]) if edge else Closed(None, None))


def _positive(
    h: Expr, low: Fraction, high: Fraction | None
) -> list[tuple[Fraction, Fraction | None, Expr, Expr | None]]:
    """Where a polynomial in seq_len is positive within a stretch: bounds as figures and as closed forms."""
    function = fold(h, seq_len, {}).cells[0].function
    if not function.is_polynomial:
        raise Unsolvable("not a polynomial in seq_len")
    roots = [r for r in function.roots if r.upward is not None and low < r.value and (high is None or r.value < high)]
    points = [(low, rational(low)), *((r.value, closed_root(function, r)) for r in roots)]
    ends = [*points[1:], (high, None if high is None else rational(high))]
    found = []
    for (a, a_expr), (b, b_expr) in zip(points, ends, strict=True):
        inside = a + 1 if b is None else (a + b) / 2
        if function.sign(inside) > 0:
            found.append((a, b, a_expr, b_expr))
    return found


def _open_feasibility(cases: Sequence[Stretch]) -> Feasibility | None:
    """Feasibility where other symbols are free: solved for seq_len where the signs of its coefficients are known."""
    if len(cases) != 1 or cases[0].form is None:
        return None
    n, h = cases[0].form.n, expanded(cases[0].form.h)
    numerator = h.together().as_numer_denom()[0] if not h.is_polynomial() else h
    parts = linear_in(expanded(numerator), seq_len)
    raw = Gt(numerator, 0)
    if parts is None or sign(n) != 1:
        return Feasibility(raw, Closed(None, None))
    u, v = parts
    if v == 0 or sign(v) in (0, 1):
        return Feasibility(S.true if sign(u) == 1 else raw, Closed(None, None))
    edge = cancel(u / -v)
    if sign(u) == 1 and sign(v) == -1:
        return Feasibility(Lt(seq_len, edge), Closed(None, edge))
    return Feasibility(raw, Closed(None, edge))


def linear_in(expr: Expr, unknown: Symbol) -> tuple[Expr, Expr] | None:
    """Constant and slope, or None where an expression is not linear in a symbol."""
    constant, slope = [], []
    for term in Add.make_args(expr):
        if unknown not in term.free_symbols:
            constant.append(term)
        elif unknown not in (term / unknown).free_symbols:
            slope.append(term / unknown)
        else:
            return None
    return total(constant), total(slope)


# --- the answer in figures


@dataclass(frozen=True)
class Solved:
    """The roots of compute time = memory time in the batch size, and what holds between them.

    `crossing` is b*: the last root at which the pass turns compute-bound; where it never does, the only root that
    there is, a negative one too. `compute_bound` are the stretches of b ≥ 1 in which compute time is not less.
    """

    balance: Piecewise
    roots: tuple[Root, ...]
    crossing: Root | None
    value: Fraction | None
    compute_bound: tuple[tuple[Fraction, Fraction | None], ...]

    def status(self, largest: int | None) -> str:
        """The status, given the largest batch that fits (None: nothing limits it)."""
        if largest == 0:
            return "does_not_fit"
        held = self.compute_bound
        if not held:
            return "never"
        if held[-1][1] is not None:
            return "leaves"
        if held == ((Fraction(1), None),) and (self.value is None or self.value < 1):
            return "always"
        return "crosses" if largest is None or self.ceiling <= largest else "beyond_memory"

    @property
    def ceiling(self) -> int:
        """The least whole batch at or above b*."""
        return self.crossing.ceiling if self.crossing is not None else 1


def solve(compute: Expr, memory: Expr, point: Mapping[Symbol, Fraction]) -> Solved:
    """Every positive root of compute − memory in the batch size, proved, and what they mean.

    Raises:
        Open: another symbol has no figure.
        Unsolvable: the times are outside the class that is solved with proof.
    """
    balance = fold(compute, batch_size, point) - fold(memory, batch_size, point)
    if balance.is_zero:
        return Solved(balance, (), None, None, ((Fraction(1), None),))
    roots = balance.roots
    upward = [root for root in roots if root.upward]
    crossing = upward[-1] if upward else roots[-1] if roots else None
    value = crossing.value if crossing is not None else _other_root(balance)
    return Solved(balance, roots, crossing, value, tuple(_compute_bound(balance, roots)))


def _other_root(balance: Piecewise) -> Fraction | None:
    """The single root that is not positive, where there is just one."""
    if len(balance.cells) != 1:
        return None
    function = balance.cells[0].function
    start = sum((poly[0] for poly in function.terms.values()), Fraction(0))
    if start == 0:
        return Fraction(0)
    negative = function.mirrored().roots
    return -negative[0].value if len(negative) == 1 else None


def _compute_bound(balance: Piecewise, roots: Sequence[Root]) -> list[tuple[Fraction, Fraction | None]]:
    """The stretches of b ≥ 1 on which compute time is not less than memory time."""
    edges = [root for root in roots if root.value > 1]
    points = [Fraction(1), *(root.value for root in edges)]
    found: list[tuple[Fraction, Fraction | None]] = []
    for i, low in enumerate(points):
        high = points[i + 1] if i + 1 < len(points) else None
        sign_here = balance.sign((low + high) / 2) if high is not None else balance.sign_at_infinity()
        touches = edges[i - 1].upward is None if i else balance.sign(low) == 0
        if sign_here >= 0 and found and found[-1][1] == low:
            found[-1] = (found[-1][0], high)
        elif sign_here >= 0:
            found.append((low, high))
        elif touches and not (found and found[-1][1] == low):
            found.append((low, low))
    return found


def equation(compute: Expr, memory: Expr) -> Boolean:
    """What is solved where there is no closed form."""
    return Eq(compute, memory, evaluate=False)


def at(expr: Expr, point: Mapping[Symbol, Fraction]) -> Figure | None:
    """The figure of an expression, or None where a symbol in it is free."""
    try:
        return figure(expr, point)
    except Open:
        return None
