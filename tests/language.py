"""Small specs and what is asked of them, for the tests that hold the language to its description."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from sympy import Expr, Symbol, expand

import costmodel as cm
from costmodel.compile import Run
from costmodel.costs import CostTable, Row
from costmodel.source import Diagnostic
from costmodel.symbols import symbol

b, s, t = cm.batch_size, cm.seq_len, cm.new_tokens


def dims(names: str) -> tuple[Symbol, ...]:
    """The symbols of dims that are free."""
    return tuple(symbol(name) for name in names.split())


def spec(text: str, variant: str | None = None) -> cm.Model:
    """A spec's text behind its first line."""
    return cm.parse(f"model sample\n{text}\n", variant)


def forward(body: str, inputs: str = "x[batch_size, new_tokens, d]", top: str = "dim d") -> cm.Model:
    """A spec of one graph, with declarations before it."""
    return spec(f"{top}\ngraph forward({inputs}) {{\n{body}\n}}")


def same(found: Expr, wanted: Expr | int | Fraction) -> bool:
    """Whether two closed forms are equal for all values of their symbols."""
    return bool(expand(found - wanted) == 0)


def table(model: cm.Model, phase: str = "decode", **options: Any) -> CostTable:
    """The operations of a pass. `new_tokens=t` leaves the number of new tokens a symbol."""
    return model.compiled.table(Run(phase, **options))


def shape(model: cm.Model, phase: str = "decode", **options: Any) -> tuple[Expr, ...]:
    """The axes of the graph's result."""
    found = table(model, phase, **options)
    (output,) = found.dataflow.outputs
    return tuple(found.put_in(axis) for axis in output.shape)


def row(model: cm.Model, keyword: str, phase: str = "decode", **options: Any) -> Row:
    """The last operation of this keyword, values put in."""
    found = table(model, phase, **options)
    last = [r for r in found.rows if r.node is not None and r.node.keyword == keyword][-1]
    return Row(last.node, last.region, last.cost.map(found.put_in), last.params, last.active_params)


def faults(text: str, variant: str | None = None) -> tuple[Diagnostic, ...]:
    """What is wrong with a spec, its text given whole: in reading it, else in checking it."""
    try:
        return cm.parse(text, variant).check().errors
    except cm.SpecError as error:
        return error.diagnostics


def codes(text: str) -> set[str]:
    """The kinds of faults of a spec, behind its first line."""
    return {fault.code for fault in faults(f"model sample\n{text}\n")}


def holds(condition: str, text: str = "dim d = 4") -> bool:
    """Whether an `expect` of this condition holds; a fault in it is raised."""
    result = spec(f"{text}\nexpect {condition}").check()
    if result.errors:
        raise cm.SpecError(result.errors)
    return result.ok


def refused(match: str) -> Any:
    """What runs in it must be refused with such a message."""
    return pytest.raises(cm.SpecError, match=match)
