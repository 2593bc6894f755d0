"""A search's best point is that of brute force, however it was found; and trends that are told are true."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise, product

import pytest
from sympy import Expr, Integer, Rational

import costmodel as cm
from costmodel.figures import comparable
from costmodel.sweep.kernel import Program, compile_forms
from costmodel.sweep.plan import Plan, Question, Varied, plan
from costmodel.sweep.ranges import axis
from costmodel.sweep.search import search
from costmodel.sweep.trend import trend
from costmodel.symbols import batch_size, compared, seq_len

from .conftest import Done

Run = Callable[..., Done]


def brute(found: Plan, greatest: bool) -> tuple[Fraction | None, int]:
    """The best value by definition, every point exactly; and how many points meet the conditions."""
    best: Fraction | None = None
    count = 0
    for case in found.cases:
        program = case.program
        for point in product(*(tuple(map(Fraction, a.figures)) for a in found.axes)):
            sides = [comparable(program.exact(place, point)) for place in program.outputs[1:]]
            differences = [a - b for a, b in zip(sides[::2], sides[1::2], strict=True)]
            if all(compared(r, (d > 0) - (d < 0)) for r, d in zip(case.relations, differences, strict=True)):
                count += 1
                value = comparable(program.exact(program.outputs[0], point))
                if best is None or (value > best if greatest else value < best):
                    best = value
    return best, count


WHERE = (
    (),
    ("memory <= device.memory",),
    ("memory <= device.memory", "latency <= 12 ms"),
    ("latency >= 6 ms", "throughput <= 4000 / 1 s"),
    ("intensity >= 20", "memory < 40 GB"),
    ("latency <= 1 us",),
)


@pytest.mark.parametrize("where", WHERE, ids=lambda where: " and ".join(where) or "all")
@pytest.mark.parametrize("spec", ["llama-3.1:8b", "gpt-oss:20b", "gemma-3:4b"])
def test_the_best_is_that_of_brute_force(spec: str, where: tuple[str, ...]) -> None:
    axes = (axis("batch_size", "1:120:7", "--batch-size"), axis("seq_len", "100:20000:*3", "--seq-len"))
    for objective, greatest, timing in (
        ("throughput", True, "overlap"),
        ("latency", False, "overlap"),
        ("throughput", True, "serial"),
        ("intensity", True, "overlap"),
        ("memory", True, "overlap"),
        ("throughput", False, "per_op"),
    ):
        question = Question(
            (cm.load(spec).compiled,), ("h100-sxm", "l40s"), timing=timing, axes=axes, of=(objective,), where=where
        )
        found = plan(question)
        searched = search(found, greatest)
        best, count = brute(found, greatest)
        if best is None:
            assert count == 0
            assert not searched.found
        else:
            assert comparable(searched.found[0].value) == best
            assert searched.looked_at <= 40 * found.points


def test_structure_varies_too() -> None:
    varied = (Varied("num_kv_heads", ("1", "2", "4", "8")), Varied("dtype.cache", ("bf16", "fp8")))
    axes = (axis("batch_size", "1:2000", "--batch-size"), axis("seq_len", "8192", "--seq-len"))
    where = ("memory <= device.memory", "latency <= 20 ms")
    question = Question(
        (cm.load("llama-3.1:8b").compiled,),
        ("h100-sxm", "h200-sxm"),
        varied=varied,
        axes=axes,
        of=("throughput",),
        where=where,
    )
    searched = search(plan(question), True)
    best = searched.found[0]
    assert [best.point[name] for name in ("num_kv_heads", "dtype.cache", "device")] == [1, "fp8", "h200-sxm"]
    # bisection proves it without looking at many
    assert searched.looked_at < 16 * 100 < searched.points
    assert {way.how for ways in searched.ways for way in ways} == {"bisection", "every"}
    batch = best.point["batch_size"]
    assert isinstance(batch, Fraction)
    cost = cm.load("llama-3.1:8b").set(num_kv_heads=1, **{"dtype.cache": "fp8"}).cost(device="h200-sxm")
    inside, outside = (cost.evaluate(batch_size=int(b), seq_len=8192) for b in (batch, batch + 1))
    assert inside.latency <= 0.02
    assert outside.latency > 0.02 or outside.throughput <= inside.throughput


def follows(program: Program, place: int, along: int, values: Sequence[Fraction], other: Fraction) -> set[int]:
    """The signs of the steps that a node takes along an axis."""
    points = [[v, other] if along == 0 else [other, v] for v in values]
    figures = [comparable(program.exact(place, point)) for point in points]
    return {(b > a) - (b < a) for a, b in pairwise(figures)}


@pytest.mark.parametrize("timing", ["overlap", "serial", "per_op"])
@pytest.mark.parametrize("spec", ["llama-3.1:8b", "mixtral:8x7b", "gemma-3:4b", "deepseek-v2-lite", "mamba-2", "jamba"])
def test_trends_that_are_told_are_true(spec: str, timing: str) -> None:
    try:
        quantities = cm.load(spec).cost(device="h100-sxm", timing=timing).quantities
    except cm.SpecError:
        quantities = cm.load(spec.partition("-lite")[0]).cost(device="h100-sxm", timing=timing).quantities
    names = ("latency", "throughput", "memory", "intensity", "bytes", "flops", "compute_time", "max_batch_size")
    chance = random.Random(11)
    told = 0
    for name in names:
        expr = quantities.expr(name)
        if expr is None:
            continue
        program = compile_forms([expr], [batch_size, seq_len])
        for along in (0, 1):
            found = trend(program, program.outputs[0], along)
            if found is None:
                continue
            told += 1
            values = sorted({*(Fraction(chance.randint(1, 3000)) for _ in range(25)), *map(Fraction, range(1, 12))})
            for other in (1, 37, 5000):
                assert follows(program, program.outputs[0], along, values, Fraction(other)) <= {0, found}, (name, along)
    assert told >= 12


def test_throughput_of_experts_rises_with_the_batch() -> None:
    """E·(1 − (1 − k/E)^b)/b falls, though neither part of it tells."""
    for spec in ("mixtral:8x7b", "gpt-oss:20b"):
        expr = cm.load(spec).cost(device="h100-sxm").quantities.expr("throughput")
        assert expr is not None
        program = compile_forms([expr], [batch_size, seq_len])
        assert trend(program, program.outputs[0], 0) == 1


def test_random_forms_follow_what_is_told() -> None:
    chance = random.Random(2)
    told = 0

    def form(depth: int) -> Expr:
        if depth == 0:
            return chance.choice([batch_size, seq_len, Integer(chance.randint(1, 5)), 1 / batch_size])
        a, b = form(depth - 1), form(depth - 1)
        several: list[Expr] = [a + b, a * b, a - b, a / b if b != 0 else a, a**2, 3 - 2 * Rational(3, 4) ** batch_size]
        return chance.choice(several)

    for _ in range(300):
        program = compile_forms([form(3)], [batch_size, seq_len])
        for along in (0, 1):
            found = trend(program, program.outputs[0], along)
            if found is not None:
                told += 1
                values = [Fraction(i) for i in range(1, 9)]
                try:
                    signs = follows(program, program.outputs[0], along, values, Fraction(3))
                except ZeroDivisionError:
                    continue
                assert signs <= {0, found}
    assert told > 100


def test_the_page_and_the_machine_form(cli: Run) -> None:
    words = ("--device", "h100-sxm,h200-sxm", "--batch-size", "1:512", "--seq-len", "1024:8192:*2")
    where = ("--where", "memory <= device.memory and latency <= 20 ms", "--maximize", "throughput")
    done = cli("search", "llama-3.1:8b", *words, *where)
    assert done.status == 0, done.err
    assert "greatest throughput" in done.out
    assert "found by bisection" in " ".join(done.out.split())
    assert "The best of each case" in done.out
    found = json.loads(cli("search", "llama-3.1:8b", *words, *where, "--json").out)
    assert found["status"] == "solved"
    assert found["best"] == found["cases"][0]
    assert found["best"]["point"]["seq_len"] == 1024
    none = cli("search", "llama-3.1:8b", *words, "--where", "latency <= 1 us", "--minimize", "memory", "--strict")
    assert none.status == 1
    assert "no point of the grid meets the conditions" in none.out


def test_an_objective_that_is_solved_point_by_point(cli: Run) -> None:
    words = ("--device", "h100-sxm", "--batch-size", "1", "--vary", "num_kv_heads=1,8", "--seq-len", "64:512:*2")
    found = json.loads(cli("search", "llama-3.1:8b", *words, "--minimize", "crossover", "--json").out)
    values = []
    for heads, context in product((1, 8), (64, 128, 256, 512)):
        answer = cm.load("llama-3.1:8b").set(num_kv_heads=heads).crossover("h100-sxm", seq_len=context)
        assert answer.batch_size.value is not None
        values.append(float(answer.batch_size.value))
    assert abs(found["best"]["value"] - min(values)) <= 1e-12 * abs(min(values))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "the least or the greatest"),
        (("--minimize", "latency", "--maximize", "throughput"), "the least or the greatest"),
        (("--minimize", "latncy"), "`latency` is near"),
        (("--minimize", "latency"), "depends on seq_len"),
    ],
)
def test_bad_input(cli: Run, words: tuple[str, ...], said: str) -> None:
    done = cli("search", "llama-3.1:8b", "--device", "h100-sxm", "--batch-size", "1:8", *words)
    assert done.status == 2
    assert said in " ".join(done.err.split())
