"""A long range of one dim as an axis: compiled once with the dim free, where that is the same for each of its values.

What an expansion decides (whether shapes agree, what divides evenly, what fits within what) it decides by the figures
of expressions in dims. Values at which these stand in the same order to each other and to all plain numbers that were
asked for, and are whole where they were, are expanded alike. So the first and the last value of each such stretch are
expanded, and every row of costs held against that of the free dim: in the symbols of all dims they must be equal.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from fractions import Fraction

from sympy import Expr

from costmodel.compile import Compiled, with_sets
from costmodel.costs import CostTable
from costmodel.figures import Figure, comparable
from costmodel.sweep.kernel import Unsupported, compile_forms
from costmodel.symbols import fraction, is_number, symbol

FEW = 16
"""Up to so many values are compiled one by one."""


class Held(Exception):
    """A dim cannot be free: its values decide something."""


def check_alike(spec: Compiled, freed: Compiled, name: str, values: Sequence[int]) -> None:
    """Whether what was priced with a dim free holds for each of these values.

    Raises:
        SpecError: a value is not possible; the first such is told of.
        Held: a value is expanded in another way, or it would take as long to tell as to compile each.
    """
    stretches: dict[tuple[object, ...], list[int]] = {}
    order = _Order(freed, name)
    for value in values:
        stretches.setdefault(order.of(value), []).append(value)
    ends = dict.fromkeys([found[0] for found in stretches.values()] + [found[-1] for found in stretches.values()])
    if 3 * len(ends) > len(values) and len(ends) > FEW:
        raise Held(f"its values fall into {len(stretches):,} stretches that are expanded differently")
    for value in ends:
        given = with_sets(spec, [f"{name}={value}"], "--vary")
        for run, table in freed.tables.items():
            if _told(given.table(run)) != _told(table):
                raise Held(f"{name}={value} is expanded in its own way")


def _told(table: CostTable) -> tuple[object, ...]:
    """What a table says of costs, in the symbols of all dims."""
    rows = [(row.region.turns, row.region.rows, row.cost, row.params, row.active_params) for row in table.rows]
    stored = [(s.kind, s.shape, s.turns, s.rows, s.copies, s.role) for s in (*table.dataflow.storages, *table.weights)]
    return table.fidelity, table.dataflow.by_phase, table.dataflow.has_tokens, rows, stored


class _Order:
    """The order in which the figures of all expressions stand that were asked for."""

    def __init__(self, freed: Compiled, name: str) -> None:
        dim = symbol(name)
        asked = set(freed.environment.asked) | set(freed.environment.values.values())
        for flow in freed.expanded:
            if dim in flow.decided:
                raise Held("an `if` reads it")
            for environment in (flow.environment, flow.shapes):
                asked |= environment.asked | set(environment.values.values())
        varying: set[Expr] = {expr for expr in asked if dim in expr.free_symbols} | {dim}
        mixed = [expr for expr in varying if len(expr.free_symbols) > 1]
        if mixed:
            raise Held(f"it stands with other symbols in what the spec decides by: {mixed[0]}")
        self.numbers = sorted({fraction(expr) for expr in asked if is_number(expr)} | {Fraction(0), Fraction(1)})
        try:
            self.program = compile_forms(varying, [dim])
        except Unsupported as error:
            raise Held(str(error)) from None

    def of(self, value: int) -> tuple[object, ...]:
        known = [self._figure(place, value) for place in self.program.outputs]
        ranks = [(bisect_left(self.numbers, v), bisect_right(self.numbers, v), v.denominator == 1) for v in known]
        each = sorted(set(known))
        return (*ranks, *(bisect_left(each, v) for v in known))

    def _figure(self, place: int, value: int) -> Fraction:
        found: Figure = self.program.exact(place, (Fraction(value),))
        return comparable(found)
