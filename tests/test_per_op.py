"""Each operation's own crossover, and a pass in which each takes the longer of its own two times."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from sympy import Max

import costmodel as cm
from costmodel.compile import Run
from costmodel.conditions import Setting
from costmodel.device import shipped_device
from costmodel.figures import comparable, figure
from costmodel.question import Question
from costmodel.render.explanation import Explanation
from costmodel.solve.budget import budget
from costmodel.solve.inequality import solution
from costmodel.solve_for import Solution, solve_for
from costmodel.symbols import batch_size, rational, seq_len


def operations(spec: str, device: str, context: int, **options: Any) -> list[dict[str, Any]]:
    """What `explain --device --json` says of each operation."""
    model = cm.load(spec)
    quantities = model.cost(device=device, **options).quantities
    ops = Explanation(model.compiled, quantities, {seq_len: Fraction(context)}).as_json()["ops"]
    return [op for op in ops if op["crossover"] is not None]


def ridge(device: str, dtype: str = "bf16") -> Fraction:
    found = shipped_device(device)
    return Fraction(str(found.peaks[dtype] / found.bandwidth))


@pytest.mark.parametrize("device", ["h100-sxm", "h100-nvl", "b200", "rtx-4090", "mi300x"])
@pytest.mark.parametrize("spec", ["llama-3.1:8b", "llama-2:7b", "gemma-2:9b", "mixtral:8x7b"])
def test_attention_never_crosses_and_matmuls_cross_at_the_ridge(spec: str, device: str) -> None:
    """Decode: a head's cache is read once for each sequence, so more of them change nothing; 2 FLOPs for 2 bytes."""
    at = ridge(device)
    seen = set()
    for op in operations(spec, device, 3000):
        crossover = op["crossover"]
        inside_route = "route" in " ".join(op["path"])
        if op["op"] == "attention":
            assert crossover == {"status": "never", "batch_size": 0}
        elif op["name"] == "embedding":
            # tied: its bytes belong to the lookup, which uses it first
            assert crossover["status"] == ("always" if op["op"] == "matmul" else "never")
        elif op["op"] == "matmul" and not inside_route:
            assert crossover["status"] == "crosses"
            assert crossover["batch_size"] == pytest.approx(float(at), rel=1e-15)
        elif op["op"] == "matmul":
            # k of E experts for each sequence, all E of them read: no crossover before E/k times the ridge
            assert crossover["status"] == "crosses"
            assert crossover["batch_size"] == pytest.approx(float(4 * at), rel=1e-3)
        seen.add(op["op"])
    assert {"attention", "matmul"} <= seen


def test_the_intensity_of_attention_does_not_depend_on_the_batch() -> None:
    quantities = cm.load("llama-3.1:8b").cost(device="h100-sxm").quantities
    (row,) = (row for row in quantities.table.rows if row.node is not None and row.node.keyword == "attention")
    compute, memory = quantities.row_times(row)
    found = {
        comparable(figure(compute / memory, {batch_size: Fraction(b), seq_len: Fraction(700)})) for b in (1, 9, 10**6)
    }
    assert len(found) == 1


def test_narrow_weights_cross_at_half_the_ridge() -> None:
    for op in operations("deepseek-v3", "h200-sxm", 4096):
        if op["op"] == "matmul" and "route" not in " ".join(op["path"]):
            assert op["crossover"]["batch_size"] == pytest.approx(float(ridge("h200-sxm") / 2), rel=1e-12)


def test_latent_attention_is_above_the_ridge_where_that_is_low() -> None:
    """128 heads read one latent cache: 241.8 FLOP a byte, more than an H200's 206.1 and less than an H100's 295.4."""
    found = {}
    for device in ("h200-sxm", "h100-sxm"):
        (status,) = {
            op["crossover"]["status"] for op in operations("deepseek-v3", device, 4096) if op["op"] == "attention"
        }
        found[device] = status
    assert found == {"h200-sxm": "always", "h100-sxm": "never"}


# --- the time of a pass

SPECS = ["llama-3.1:8b", "gemma-2:9b", "mixtral:8x7b", "mamba-2:2.7b"]


def asked(
    spec: str, condition: str, unknown: str, *, text: bool = False, maximize: str | None = None, **figures: int
) -> Solution:
    model = cm.parse(spec) if text else cm.load(spec)
    setting = Setting(Run(fidelity="traffic"), "per_op", shipped_device("h100-sxm"))
    point = {cm.batch_size if name == "batch_size" else cm.seq_len: Fraction(value) for name, value in figures.items()}
    with budget(20):
        return solve_for(Question(model.compiled, setting, point, (condition,), unknown, maximize))


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("fidelity", ["cache", "traffic"])
def test_the_time_is_the_sum_of_the_longer_times(spec: str, fidelity: str) -> None:
    quantities = cm.load(spec).cost(device="h100-sxm", timing="per_op", fidelity=fidelity).quantities
    for batch in (1, 7, 64, 300, 5000):
        point = {batch_size: Fraction(batch), seq_len: Fraction(900)}
        total = Fraction(0)
        for row in quantities.table.rows:
            compute, memory = (comparable(figure(time, point)) for time in quantities.row_times(row))
            total += max(compute, memory)
        assert comparable(quantities.latency_at(point)) == total


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("milliseconds", [8, 13, 40])
def test_the_largest_batch_within_a_time(spec: str, milliseconds: int) -> None:
    quantities = cm.load(spec).cost(device="h100-sxm", timing="per_op", fidelity="traffic").quantities

    def within(batch: int) -> bool:
        time = quantities.latency_at({batch_size: Fraction(batch), seq_len: Fraction(900)})
        return comparable(time) <= Fraction(milliseconds, 1000)

    found = asked(spec, f"latency <= {milliseconds} ms", "batch_size", seq_len=900)
    if found.status == "unsatisfiable":
        assert not within(1)
        return
    assert found.status == "solved"
    assert found.best is not None
    largest = int(found.best.value or 0)
    assert within(largest)
    assert not within(largest + 1)


def chain(count: int) -> str:
    """So many matmuls, no two alike, so that no two terms of the sum are one."""
    widths = [64, *(64 + 37 * i % 1000 + i for i in range(count))]
    steps = [
        f"weight W{i}[{wide} -> {narrow}]  x = relu(matmul(x, W{i}))"
        for i, (wide, narrow) in enumerate(pairwise(widths))
    ]
    return "\n".join(["model chain", "graph forward(x[batch_size, new_tokens, 64]) {", *steps, "return x", "}"])


@pytest.mark.parametrize("count", [450])
def test_hundreds_of_operations_are_solved_at_once(count: int) -> None:
    """Breakpoints sorted once and slopes summed as they go: the pieces of one another take minutes."""
    quantities = cm.parse(chain(count)).cost(device="h100-sxm", timing="per_op", fidelity="traffic").quantities
    latency = quantities.latency
    assert len(latency.atoms(Max)) == count
    with budget(5):
        values = solution(latency - rational(Fraction(1, 500)), "<=", batch_size)
    (interval,) = values.intervals
    assert interval.high is not None
    for batch, holds in ((int(interval.high.value), True), (int(interval.high.value) + 1, False)):
        assert (comparable(quantities.latency_at({batch_size: Fraction(batch)})) <= Fraction(1, 500)) == holds


def test_the_best_batch_of_hundreds_of_operations() -> None:
    found = asked(chain(100), "latency <= 1 ms", "batch_size", text=True, maximize="throughput")
    assert found.status == "solved"
    assert found.best is not None
    quantities = cm.parse(chain(100)).cost(device="h100-sxm", timing="per_op", fidelity="traffic").quantities
    best = int(found.best.value or 0)

    def throughput(batch: int) -> Fraction:
        return batch / comparable(quantities.latency_at({batch_size: Fraction(batch)}))

    assert best / throughput(best) <= Fraction(1, 1000)
    tried = [b for b in range(1, 12000, 173) if b / throughput(b) <= Fraction(1, 1000)]
    assert all(throughput(best) >= throughput(b) for b in tried)


def test_a_solve_that_runs_out_of_time_says_so() -> None:
    model = cm.parse(chain(60))
    setting = Setting(Run(fidelity="traffic"), "per_op", shipped_device("h100-sxm"))
    with budget(0):
        found = solve_for(Question(model.compiled, setting, {}, ("latency <= 1 ms",), "batch_size", "throughput"))
    assert found.status == "incomplete"
    assert found.values.empty
    assert found.left.holds(Fraction(1))
    assert found.left.holds(Fraction(10**9))


@pytest.mark.parametrize("spec", SPECS)
def test_half_the_ceiling(spec: str) -> None:
    """Under every timing, by bisection on the throughput itself."""
    for timing in ("overlap", "serial", "per_op"):
        for fidelity in ("cache", "traffic"):
            answer = cm.load(spec).crossover("h100-sxm", 900, timing=timing, fidelity=fidelity)
            ceiling, half = answer.ceiling.value, answer.half_batch_size.value
            assert ceiling is not None
            assert half is not None
            quantities = answer.quantities

            def throughput(batch: Fraction, quantities: Any = quantities) -> Fraction:
                return batch / comparable(quantities.latency_at({batch_size: batch, seq_len: Fraction(900)}))

            far = comparable(throughput(Fraction(10**15)))
            assert abs(far / comparable(ceiling) - 1) < Fraction(1, 10**9)
            near = Fraction(half).limit_denominator(10**12)
            assert abs(throughput(near) / comparable(ceiling) - Fraction(1, 2)) < Fraction(1, 10**9)
