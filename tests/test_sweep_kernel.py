"""Closed forms as NumPy programs: held against their exact values at points of many grids."""

from __future__ import annotations

import random
from fractions import Fraction
from itertools import product
from math import prod

import numpy as np
import pytest
from sympy import Add, Expr, Integer, Max, Min, Mod, Mul, Pow, Rational, ceiling, floor

import costmodel as cm
from costmodel.figures import comparable, figure
from costmodel.sweep.kernel import Tabulated, Unsupported, compile_forms, evaluate, evaluate_directly
from costmodel.symbols import batch_size, new_tokens, seq_len, symbol

AXES = [batch_size, seq_len, new_tokens]


def off(expr: Expr, axes: list[range], found: float, point: tuple[int, ...]) -> float:
    """How far a figure is from the exact one, relative to it."""
    exact = figure(expr, {s: Fraction(v[i]) for s, v, i in zip(AXES, axes, point, strict=False)})
    exact = comparable(exact)
    # below the smallest floats there is nothing to be near to
    return float(abs(Fraction(found) - exact) / max(abs(exact), Fraction(1, 10**290)))


@pytest.mark.parametrize("timing", ["overlap", "serial", "per_op"])
@pytest.mark.parametrize(
    ("spec", "device"),
    [("llama-3.1:8b", "h100-sxm"), ("gpt-oss:20b", "h100-sxm"), ("gemma-3:27b", "h200-sxm"), ("deepseek-v3", "b200")],
)
def test_figures_are_within_1e_12(spec: str, device: str, timing: str) -> None:
    cost = cm.load(spec).cost(device=device, timing=timing)
    names = ("latency", "throughput", "memory", "max_batch_size", "intensity", "bytes", "cost_per_million_tokens")
    forms = {name: cost.quantities.expr(name) for name in names if name != names[-1] or cost.quantities.device.price}  # type: ignore[union-attr]
    axes: list[range] = [range(1, 3000, 7), range(1, 200_000, 1117)]
    outputs = evaluate(compile_forms(forms.values(), AXES[:2]), axes)
    chance = random.Random(7)
    for _ in range(150):
        i, j = chance.randrange(len(axes[0])), chance.randrange(len(axes[1]))
        for expr, output in zip(forms.values(), outputs, strict=True):
            assert off(expr, axes, float(output[i * len(axes[1]) + j]), (i, j)) < 1e-12


def test_any_form_over_any_axes() -> None:
    """Random trees of all that a closed form may hold, over axes of all shapes: the same as point by point."""
    chance = random.Random(3)

    def form(depth: int) -> Expr:
        if depth == 0:
            return chance.choice([*AXES, Integer(chance.randint(1, 9)), Rational(chance.randint(1, 9), 7)])
        a, b = form(depth - 1), form(depth - 1)
        axis = chance.choice(AXES)
        several: list[Expr] = [
            Add(a, b),
            Mul(a, b),
            Max(a, b, evaluate=False),
            Min(a, b, evaluate=False),
            a / b if b != 0 else a,
            Pow(a, 2),
            floor(a),
            ceiling(a / 3, evaluate=False),
            Mod(axis, chance.randint(2, 9), evaluate=False),
            Pow(Rational(31, 32), axis),
        ]
        return chance.choice(several)

    shapes = [(1, 1, 1), (5, 7, 3), (1, 40, 1), (2, 1, 90), (3, 700, 1), (2, 9000, 1)]
    for turn in range(60):
        forms = [form(chance.randint(1, 4)) for _ in range(2)]
        shape = shapes[turn % len(shapes)]
        axes: list[range] = [range(1, 1 + 3 * size, 3) for size in shape]
        outputs = evaluate(compile_forms(forms, AXES), axes)
        for expr, output in zip(forms, outputs, strict=True):
            assert output.shape == (prod(shape),)
            for _ in range(6):
                point = tuple(chance.randrange(size) for size in shape)
                found = float(output[np.ravel_multi_index(point, shape)])
                try:
                    figure(expr, {s: Fraction(v[i]) for s, v, i in zip(AXES, axes, point, strict=True)})
                except ZeroDivisionError:
                    assert not np.isfinite(found)
                    continue
                assert off(expr, axes, found, point) < 1e-11, (expr, point)


def test_what_is_rounded_is_decided_exactly() -> None:
    """floor(x) where a float of x falls on the wrong side of a whole number."""
    third = Rational(1, 3)
    expr = floor(third * batch_size * 3 * seq_len / 49 * Rational(49, 1) + 0, evaluate=False)
    tenth = floor(batch_size * seq_len * Rational(1, 10) * 3, evaluate=False)
    axes: list[range] = [range(1, 400), range(10, 1000, 10)]
    outputs = evaluate(compile_forms([expr, tenth], AXES[:2]), axes)
    for (i, b), (j, s) in product(enumerate(axes[0]), enumerate(axes[1])):
        assert outputs[0][i * len(axes[1]) + j] == b * s
        assert outputs[1][i * len(axes[1]) + j] == 3 * b * s // 10


def test_whole_numbers_beyond_2_53() -> None:
    expr = Integer(2**40 + 1) * batch_size * seq_len + 1
    program = compile_forms([expr], AXES[:2])
    axes: list[range] = [range(1, 100), range(1, 20_000, 999)]
    bound = program.bound(program.outputs[0], [(Fraction(1), Fraction(99)), (Fraction(1), Fraction(20_000))])
    assert program.whole(program.outputs[0])
    assert bound is not None and 2**53 < bound < 2**63
    found = evaluate_directly(program, program.outputs[0], axes, np.int64)
    expected = [(2**40 + 1) * b * s + 1 for b in axes[0] for s in axes[1]]
    assert found.tolist() == expected


def test_a_part_of_the_grid_is_that_part() -> None:
    table = Tabulated((seq_len,), (50,), tuple(float(i) ** 2 for i in range(50)))
    program = compile_forms([table, batch_size * seq_len], AXES[:2])
    found = evaluate(program, [range(3, 6), range(20, 30)], starts=(2, 20))
    assert found[0].reshape(3, 10)[1].tolist() == [float(i) ** 2 for i in range(20, 30)]
    assert found[1].reshape(3, 10)[1].tolist() == [4.0 * s for s in range(20, 30)]


def test_what_has_no_program_is_said() -> None:
    with pytest.raises(Unsupported, match="num_layers has no value"):
        compile_forms([batch_size * symbol("num_layers")], AXES)


def test_equal_parts_are_computed_once() -> None:
    form = (batch_size + seq_len) ** 2
    program = compile_forms([form, form + 1, Max(form, 5, evaluate=False)], AXES)
    assert sum(node[0] == "pow" for node in program.nodes) == 1
