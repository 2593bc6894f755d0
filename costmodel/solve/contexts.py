"""The two times by cases, where `min` and `max` change their branch: by context, and by windows that are left free.

One more sequence takes h longer to compute than to read, in the end. So the pass turns compute-bound, and stays so,
exactly where h > 0, which is solved for seq_len. With experts the condition is that of the dense form.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from sympy import Add, And, Expr, Gt, Le, Lt, Max, Min, Or, S
from sympy.logic.boolalg import Boolean

from costmodel.figures import comparable, figure
from costmodel.solve.budget import Unsolvable
from costmodel.solve.exppoly import Root
from costmodel.solve.forms import Form
from costmodel.solve.inequality import closed_root
from costmodel.solve.piecewise import fold
from costmodel.symbols import ZERO, expanded, lowest_terms, rational, seq_len, sign_from_one, total

_MOST_FREE = 3


@dataclass(frozen=True)
class Case:
    """Contexts above `low` up to `high`, under conditions on what else is free, with the form that holds there."""

    conditions: tuple[Boolean, ...]
    low: Fraction
    high: Fraction | None
    form: Form

    @property
    def condition(self) -> Boolean:
        parts = list(self.conditions)
        if self.low > 0:
            parts.append(Gt(seq_len, rational(self.low)))
        if self.high is not None:
            parts.append(Le(seq_len, rational(self.high)))
        return _all(parts)

    def holds(self, context: Fraction) -> bool:
        return self.low < context and (self.high is None or context <= self.high)

    @cached_property
    def feasible(self) -> Feasible:
        """Where in this case a crossover exists."""
        h = self.form.h
        if not h.free_symbols <= {seq_len}:
            return _of_symbols(h)
        try:
            return _stretches(list(_positive(h, self.low, self.high)), self.low, self.high)
        except Unsolvable:
            return Feasible(Gt(h, 0))


def cases(form: Form) -> tuple[Case, ...]:
    """A form by cases, in each of which it holds no `min` or `max`; neighbours with the same form are one case.

    n windows in figures give n + 1 cases, up to three that are free two arms each. With more, their `min` stays.
    """
    try:
        arms = list(_arms(form, ()))
    except _TooMany:
        arms = [((), form)]
    return tuple(case for conditions, arm in arms for case in _by_context(conditions, arm))


class _TooMany(Exception):
    pass


def _choices(form: Form) -> set[Expr]:
    return {atom for expr in form.coefficients for atom in expr.atoms(Min, Max)}


def _arms(form: Form, conditions: tuple[Boolean, ...]) -> Iterator[tuple[tuple[Boolean, ...], Form]]:
    """The form under each order of what is free."""
    free = [a for a in _choices(form) if a.free_symbols - {seq_len} and not any(arg.has(Min, Max) for arg in a.args)]
    if not free:
        yield conditions, form
        return
    atom = min(free, key=str)
    a, b = sorted(atom.args, key=lambda arg: (arg != seq_len, str(arg)))[:2]
    others = [arg for arg in atom.args if arg not in (a, b)]
    first, second = (_put(form, {atom: atom.func(arg, *others)}) for arg in (a, b))
    if isinstance(atom, Max):
        first, second = second, first
    # dims are whole: a ≤ b is a < b + 1
    if sign_from_one(b - a + 1) == 1:
        yield from _arms(first, conditions)
    elif sign_from_one(a - b + 1) == 1:
        yield from _arms(second, conditions)
    elif first == second:
        yield from _arms(first, conditions)
    elif len(conditions) == _MOST_FREE:
        raise _TooMany
    else:
        yield from _arms(first, (*conditions, Le(a, b)))
        yield from _arms(second, (*conditions, Gt(a, b)))


def _by_context(conditions: tuple[Boolean, ...], form: Form) -> list[Case]:
    cuts = _cuts(form)
    if not cuts:
        return [Case(conditions, Fraction(0), None, form)]
    ends = sorted({cut for found in cuts.values() for cut in found})
    found: list[Case] = []
    for low, high in zip([Fraction(0), *ends], [*ends, None], strict=True):
        inside = low + 1 if high is None else (low + high) / 2
        here = _put(form, _taken(cuts.keys(), inside))
        if found and found[-1].form == here:
            found[-1] = Case(conditions, found[-1].low, high, here)
        else:
            found.append(Case(conditions, low, high, here))
    return found


def _cuts(form: Form) -> dict[Expr, list[Fraction]]:
    """The `min` and `max` of seq_len and figures, each with the contexts at which it changes its branch."""
    found = {}
    for atom in _choices(form):
        if atom.free_symbols == {seq_len}:
            try:
                cells = fold(atom, seq_len, {}).cells
            except Unsolvable:
                continue
            found[atom] = [cell.high for cell in cells if cell.high is not None]
    return found


def _put(form: Form, values: Mapping[Expr, Expr]) -> Form:
    return form.map(lambda expr: expr.xreplace(values))


def _taken(atoms: Set[Expr], context: Fraction) -> dict[Expr, Expr]:
    """Each `min` and `max` as the branch that it takes at a context."""
    found: dict[Expr, Expr] = {}
    for atom in sorted(atoms, key=lambda atom: atom.count(Min) + atom.count(Max)):
        choose = min if isinstance(atom, Min) else max
        branch = choose(atom.args, key=lambda arg: comparable(figure(arg, {seq_len: context})))
        found[atom] = branch.xreplace(found)
    return found


# --- feasibility


@dataclass(frozen=True)
class Edge:
    """A critical context: on one side of it a crossover exists. It has no value where that is open."""

    value: Fraction | None
    expr: Expr


@dataclass(frozen=True)
class Feasible:
    """When a crossover exists as the batch grows, solved for seq_len where that can be done, and where it changes."""

    condition: Boolean
    edges: tuple[Edge, ...] = ()


def feasible(found: Sequence[Case]) -> Feasible:
    """For which contexts a crossover exists at all: a union of intervals, where there are several critical ones."""
    if len(found) == 1:
        return found[0].feasible
    edges = tuple(dict.fromkeys(edge for case in found for edge in case.feasible.edges))
    outcomes = {case.feasible.condition for case in found}
    if len(outcomes) == 1 and not edges:
        return Feasible(outcomes.pop())
    if all(case.form.h.free_symbols <= {seq_len} and not case.conditions for case in found):
        try:
            return _stretches(_joined(s for case in found for s in _positive(case.form.h, case.low, case.high)))
        except Unsolvable:
            pass
    return Feasible(Or(*(And(case.condition, case.feasible.condition) for case in found)), edges)


@dataclass(frozen=True)
class _Stretch:
    """Contexts between two edges, on which h is positive; `joins` where it is at the lower edge too."""

    low: Edge
    high: Edge | None
    joins: bool = False


def _stretches(found: Sequence[_Stretch], low: Fraction = Fraction(0), high: Fraction | None = None) -> Feasible:
    """These stretches as a condition, of which the ends of the case itself are no part."""
    parts: list[Boolean] = []
    edges: list[Edge] = []
    for stretch in found:
        bounds: list[Boolean] = []
        if stretch.low.value != low:
            bounds.append(Gt(seq_len, stretch.low.expr))
            edges.append(stretch.low)
        if stretch.high is not None and stretch.high.value != high:
            bounds.append(Lt(seq_len, stretch.high.expr))
            edges.append(stretch.high)
        parts.append(_all(bounds))
    return Feasible(parts[0] if len(parts) == 1 else Or(*parts), tuple(edges))


def _all(parts: Sequence[Boolean]) -> Boolean:
    """These conditions together; `And` looks for contradictions, which one alone cannot have."""
    return parts[0] if len(parts) == 1 else And(*parts)


def _joined(found: Iterable[_Stretch]) -> list[_Stretch]:
    joined: list[_Stretch] = []
    for stretch in found:
        before = joined[-1] if joined else None
        if before is not None and before.high is not None and before.high.value == stretch.low.value and stretch.joins:
            joined[-1] = _Stretch(before.low, stretch.high, before.joins)
        else:
            joined.append(stretch)
    return joined


def _positive(h: Expr, low: Fraction, high: Fraction | None) -> Iterator[_Stretch]:
    """Where a polynomial in seq_len is positive above `low` and up to `high`.

    Raises:
        Unsolvable: it is no polynomial, or a critical context has no closed form.
    """
    cells = fold(h, seq_len, {}).cells
    function = cells[0].function
    if len(cells) > 1 or not function.is_polynomial:
        raise Unsolvable("no polynomial in seq_len")
    roots = [r for r in function.roots if low < r.value and (high is None or r.value < high)]
    edges = [Edge(low, rational(low)), *(Edge(r.value, _closed(r)) for r in roots)]
    ends = [*edges[1:], None if high is None else Edge(high, rational(high))]
    for start, end in zip(edges, ends, strict=True):
        assert start.value is not None
        inside = start.value + 1 if end is None or end.value is None else (start.value + end.value) / 2
        if function.sign(inside) > 0:
            yield _Stretch(start, end, start.value == low > 0 and function.sign(low) > 0)


def _closed(root: Root) -> Expr:
    found = closed_root(root.function, root)
    if found is None:
        raise Unsolvable("a critical context has no closed form")
    return found


def _of_symbols(h: Expr) -> Feasible:
    """h > 0 solved for seq_len where its coefficients' signs allow it: by an open sign nothing is divided."""
    numerator, denominator = expanded(h).together().as_numer_denom()
    raw = Feasible(Gt(h, 0))
    if sign_from_one(denominator) != 1:
        return raw
    powers = _powers(expanded(numerator))
    if powers is None:
        return raw
    signs = {sign_from_one(c) for c in powers.values()}
    if len(signs) == 1 and None not in signs:
        return Feasible(S.true if signs == {1} else S.false)
    least = min(powers)
    if max(powers) - least != 1:
        return raw
    u, v = powers[least], powers[least + 1]
    edge = Edge(None, lowest_terms(-u, v))
    below, above = Lt(seq_len, edge.expr), Gt(seq_len, edge.expr)
    match sign_from_one(u), sign_from_one(v):
        case _, -1:
            return Feasible(below, (edge,))
        case _, 1:
            return Feasible(above, (edge,))
        case 1, None:
            return Feasible(Or(v >= 0, below), (edge,))
        case -1, None:
            return Feasible(And(v > 0, above), (edge,))
    return Feasible(Gt(expanded(u + v * seq_len), 0), (edge,))


def _powers(expr: Expr) -> dict[int, Expr] | None:
    """The coefficients of a polynomial in seq_len by power; None where it is none."""
    found: dict[int, list[Expr]] = {}
    for term in Add.make_args(expr):
        rest, power = term.as_independent(seq_len, as_Add=False)
        base, exponent = (seq_len, ZERO) if power == 1 else power.as_base_exp()
        if base != seq_len or not exponent.is_Integer or exponent < 0:
            return None
        found.setdefault(int(exponent), []).append(rest)
    return {power: total(terms) for power, terms in found.items()}
