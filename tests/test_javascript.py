"""Formulas in JavaScript: what Node makes of them, against the exact values."""

from __future__ import annotations

import json
import re
from fractions import Fraction

import pytest
from sympy import Integer, Mod, Sum, ceiling, sqrt

from costmodel.compile import Run, compile_spec
from costmodel.device import find_device
from costmodel.figures import as_float, figure
from costmodel.quantities import Quantities
from costmodel.quantity_names import QUANTITIES
from costmodel.render.formulas import Formulas
from costmodel.render.javascript import helpers, javascript, name
from costmodel.symbols import batch_size, seq_len, symbol

from .typesetting import node

SPECS = ["llama-3.1:8b", "gemma-3:4b", "mixtral:8x7b", "deepseek-v3", "mamba-2:2.7b", "whisper:large-v3"]


def formulas(spec: str, **how: str) -> Formulas:
    compiled = compile_spec(spec)
    quantities = Quantities(compiled.table(Run(**how)), find_device("h100-sxm"), "per_op")
    without = ("crossover", "cost_per_million_tokens")
    names = tuple(n for n, q in QUANTITIES.items() if not q.request and n not in without)
    return Formulas(compiled, quantities, names, {})


@pytest.mark.needs("node")
@pytest.mark.parametrize("how", [{"fidelity": "cache"}, {"fidelity": "traffic", "phase": "prefill", "masked": "exact"}])
@pytest.mark.parametrize("spec", SPECS)
def test_node_finds_the_exact_values(spec: str, how: dict[str, str]) -> None:
    found = formulas(spec, **how)
    module = re.sub(r"^export ", "", found.javascript(), flags=re.MULTILINE)
    points = [{batch_size: Fraction(b), seq_len: Fraction(s)} for b, s in ((1, 64), (17, 4097), (433, 65536))]
    calls = []
    for quantity, expr in found.exprs.items():
        arguments = re.search(rf"^function {quantity}\((.*)\)", module, flags=re.MULTILINE)
        assert arguments is not None
        of = {"batch_size": batch_size, "seq_len": seq_len}
        calls += [
            (quantity, [int(p[of[a]]) for a in filter(None, arguments[1].split(", "))], as_float(figure(expr, p)))
            for p in points
        ]
    script = f"""{module}
const calls = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(calls.map(([name, given]) => eval(name)(...given))));"""
    there = json.loads(node(script, [(quantity, given) for quantity, given, _ in calls]))
    for (quantity, given, exact), shown in zip(calls, there, strict=True):
        assert shown == pytest.approx(exact, rel=1e-12), (quantity, given)


@pytest.mark.needs("node")
def test_every_kind_of_expression() -> None:
    x, i = symbol("x"), symbol("i")
    exprs = [
        Mod(x, 7) * x,
        Mod(-x, 5),
        Sum(i**2 + x, (i, 1, 4)),
        ceiling(x / 7) - 3,
        sqrt(x) / (x - 2),
        (x - 1) / (3 * (x + 2)),
        x * (-3) - (x - Integer(2) ** 70) / 3,
        -(x**3) * (Integer(3) / 4) ** x,
    ]
    bodies = [javascript(expr) for expr in exprs]
    script = f"{' '.join(helpers(bodies))} const x = 10; console.log(JSON.stringify([{', '.join(bodies)}]));"
    exact = [
        as_float(figure(expr.doit(), {x: Fraction(10)})) if not expr.has(sqrt(x)) else 10**0.5 / 8 for expr in exprs
    ]
    assert json.loads(node(script, None)) == pytest.approx(exact, rel=1e-14)


def test_names_are_none_of_the_language() -> None:
    assert [name(n) for n in ("new", "new_", "Math", "dtype.cache", "width")] == [
        *("new_", "new__", "Math_", "dtype_cache", "width")
    ]


def test_a_title_stays_in_its_comment() -> None:
    found = formulas("llama-3.1:8b")
    lines = found.javascript().splitlines()
    assert all(re.match(r"//|export function |  return |\}|const |$", line) for line in lines)
