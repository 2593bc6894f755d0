"""The machine form that answers share: `expr` is SymPy's own string, exact; `value` a JSON number or null."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import suppress
from fractions import Fraction
from typing import Any

from sympy import Expr, Symbol
from sympy.logic.boolalg import Boolean

from costmodel.costs import CostTable
from costmodel.figures import Figure, Open, as_json, figure
from costmodel.render.latex import Symbols, latex
from costmodel.symbols import batch_size, new_tokens, seq_len, symbol


def shown_expr(expr: Expr | Boolean | None) -> str | None:
    """SymPy's own string, also of a number of more digits than Python otherwise prints."""
    if expr is None:
        return None
    try:
        return str(expr)
    except ValueError:
        most = sys.get_int_max_str_digits()
        sys.set_int_max_str_digits(0)
        try:
            return str(expr)
        finally:
            sys.set_int_max_str_digits(most)


def formula(expr: Expr | Boolean | None, symbols: Symbols) -> dict[str, Any]:
    """`{"expr", "latex"}`."""
    return {"expr": shown_expr(expr), "latex": None if expr is None else latex(expr, symbols)}


def valued(value: Figure | int | None, expr: Expr | None, symbols: Symbols) -> dict[str, Any]:
    """`{"value", "expr", "latex"}`."""
    number = Fraction(value) if isinstance(value, int) else value
    return {"value": as_json(number), **formula(expr, symbols)}


def workload_dims(table: CostTable, point: Mapping[Symbol, Fraction]) -> dict[str, Any]:
    """The workload's dims that have a figure."""
    found: dict[str, Any] = {s.name: as_json(point[s]) for s in (batch_size, seq_len) if s in point}
    with suppress(Open):
        found["new_tokens"] = as_json(figure(table.put_in(new_tokens), point))
    return found


def all_dims(table: CostTable, point: Mapping[Symbol, Fraction]) -> dict[str, Any]:
    """The workload's dims and the model's; a free one is null."""
    dims = workload_dims(table, point)
    environment = table.dataflow.environment
    for name in environment.program.dims:
        try:
            dims[name] = as_json(figure(environment.value(symbol(name)), point))
        except Open:
            dims[name] = None
    return dims


def header(spec: str, table: CostTable, device: str | None = None, timing: str | None = None) -> dict[str, Any]:
    """What every answer begins with; `device` and `timing` are null where nothing is timed."""
    return {
        "spec": spec,
        "device": device,
        "graph": table.dataflow.graph,
        "phase": table.dataflow.phase,
        "fidelity": table.fidelity,
        "timing": timing,
    }
