"""`costmodel solve`: what it answers for each kind of unknown, and what it says to questions that cannot be asked."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest

import costmodel as cm
from costmodel.compile import Run
from costmodel.conditions import Setting
from costmodel.device import shipped_device
from costmodel.question import Question
from costmodel.solve.budget import budget
from costmodel.solve_for import Solution, solve_for
from costmodel.symbols import symbol

from .conftest import Done

Cli = Callable[..., Done]

LLAMA = "llama-3.1:8b"
NVL = "--device h100-nvl"


def machine(cli: Cli, line: str, status: int = 0) -> Any:
    done = cli(*shlex.split(f"solve {line}"), "--json")
    assert done.status == status, done.err
    return json.loads(done.out)


def page(cli: Cli, line: str, status: int = 0) -> str:
    done = cli(*shlex.split(f"solve {line}"), width=100)
    assert done.status == status, done.err
    return " ".join(done.out.split())


def ends(found: Any) -> list[tuple[Any, Any]]:
    return [(interval["min"], interval["max"]) for interval in found["solution"]]


# --- each kind of unknown


def test_a_crossover_for_every_number_of_groups(cli: Cli) -> None:
    """Against the crossover itself, for each number that divides the heads."""
    line = f"{LLAMA} 'crossover <= 300' --for num_kv_heads {NVL} --seq-len 512"
    found = machine(cli, line)
    held = []
    for groups in (1, 2, 4, 8, 16, 32):
        answer = cm.load(LLAMA).set(num_kv_heads=groups).crossover("h100-nvl", seq_len=512)
        value = answer.batch_size.value
        if answer.status == "crosses" and value is not None and float(value) <= 300:
            held.append((groups, groups))
    assert ends(found) == held == [(1, 1), (2, 2)]
    assert found["why"].startswith("`crossover <= 300` binds: 297.4 at 2, 432.6 at 4.")


@pytest.mark.parametrize("relation", ["<=", ">="])
def test_a_crossover_for_contexts(relation: str, cli: Cli) -> None:
    found = machine(cli, f"{LLAMA} 'crossover {relation} 300' --for seq_len {NVL}")
    (interval,) = found["solution"]
    model = cm.load(LLAMA)
    for context in (1, 100, 148, 149, 150, 200, 500, 544, 545, 1000):
        value = model.crossover("h100-nvl", seq_len=context).batch_size.value
        holds = value is not None and value > 0 and (float(value) <= 300 if relation == "<=" else float(value) >= 300)
        assert holds == (interval["min"] <= context and (interval["max"] is None or context <= interval["max"])), (
            context
        )


def test_tokens_a_pass(cli: Cli) -> None:
    """Of a pass over part of a prompt, or over a token and its drafts: from how many on it is compute-bound."""
    line = f"{LLAMA} 'compute_time == memory_time' --for new_tokens {NVL} --batch-size 1 --seq-len 8192"
    found = machine(cli, line)
    # 15.0 GFLOP a token and 4.3 GFLOP of attention to 8,192 tokens, against 16.1 GB of weights and 1.1 GB of cache
    a_token = Fraction(15_009_316_864 + 4 * 8192 * 32 * 4096)
    balance = Fraction(16_060_522_496 + 131_072 * 8192, 39 * 10**11) / (a_token / (8355 * 10**11))
    assert ends(found) == [(pytest.approx(float(balance)), pytest.approx(float(balance)))]
    assert "No whole number makes both sides equal" in found["why"]
    bound = machine(cli, line.replace("==", ">="))
    assert ends(bound) == [(-(-balance // 1), 8192)]
    assert "more: drafts, or a piece of a prefill" in bound["why"]


def test_expected_tokens_of_a_step(cli: Cli) -> None:
    def expected(rate: float, count: int) -> float:
        return sum(rate**i for i in range(count + 1))

    found = machine(cli, f"{LLAMA} 'expected_tokens >= 3' --for drafts --acceptance-rate 0.8")
    least = next(count for count in range(1, 100) if expected(0.8, count) >= 3)
    assert ends(found) == [(least, None)]
    rate = machine(cli, f"{LLAMA} 'expected_tokens >= 3' --for acceptance_rate --drafts 4")
    ((low, high),) = ends(rate)
    assert high == 1
    assert expected(low, 4) == pytest.approx(3)
    most = machine(cli, f"{LLAMA} 'expected_tokens >= 6' --for drafts --acceptance-rate 0.8")
    assert (most["status"], most["solution"]) == ("unsatisfiable", [])


@pytest.mark.parametrize(
    ("conditions", "unknown", "unit", "least", "most"),
    [
        ("'latency <= 10 ms'", "device.bandwidth", "B/s", (16_060_522_496 + 8 * 131_072 * 8192) * 100, None),
        ("'memory <= 0.9 * device.memory'", "device.memory", "B", (16_060_522_496 + 8 * 131_072 * 8192) / 0.9, None),
        ("'compute_time <= 1 ms'", "device.peak", "FLOP/s", 8 * 19_304_284_160 * 1000, None),
        ("'cost_per_million_tokens <= 0.5'", "device.price", "USD/h", 0, 0.5e-6 * 3600 * 8 / 6.3206e-3),
    ],
)
def test_figures_of_a_device(
    conditions: str, unknown: str, unit: str, least: float, most: float | None, cli: Cli
) -> None:
    found = machine(cli, f"{LLAMA} {conditions} --for {unknown} {NVL} --batch-size 8 --seq-len 8192")
    assert found["unit"] == unit
    ((low, high),) = ends(found)
    assert low == pytest.approx(least, rel=1e-4)
    assert high == (None if most is None else pytest.approx(most, rel=1e-4))


def test_what_must_divide_evenly(cli: Cli) -> None:
    width = machine(cli, f"{LLAMA} 'params <= 10e9' --for hidden_size")
    assert width["step"] == 32
    assert ends(width)[0][1] % 32 == 0
    assert "`head_dim = hidden_size / num_heads` must be whole: multiples of 32." in width["why"]
    heads = machine(cli, f"{LLAMA} 'params <= 10e9' --for num_heads --set head_dim=128")
    assert {low % 8 for low, _ in ends(heads)} == {0}


def test_the_best_value_and_what_binds(cli: Cli) -> None:
    line = f"{LLAMA} 'latency <= 20 ms' 'memory <= 0.9 * device.memory' --for batch_size {NVL} --seq-len 8192"
    best = machine(cli, f"{line} --maximize throughput")
    assert best["best"]["value"] == 57
    assert best["best"]["expr"] == "floor(60487771/1048576)"
    assert best["binding"] == ["latency <= 20 ms"]
    assert [each["solution"][0]["max"] for each in best["each"]] == [57, 63]
    least = machine(cli, f"{line} --minimize latency")
    assert (least["best"]["value"], least["binding"]) == (1, [])


def test_free_symbols_stay_in_the_bound(cli: Cli) -> None:
    found = machine(cli, f"{LLAMA} 'memory <= device.memory' --for batch_size {NVL}")
    assert found["solution"][0]["max_expr"] == "76112771/(128*seq_len)"
    where = machine(cli, f"{LLAMA} 'compute_time >= memory_time' --for batch_size {NVL}")
    (case,) = where["solution"]
    assert case["condition"] == "seq_len < 1488656/2733"
    assert cli("solve", LLAMA, "latency <= 20 ms", "--for", "batch_size").status == 2


# --- no solution


def test_what_conflicts(cli: Cli) -> None:
    """A smallest set: two of three, none of which is impossible by itself."""
    line = f"{LLAMA} 'latency <= 20 ms' 'throughput >= 3000 / 1 s' 'memory <= device.memory' --for batch_size"
    found = machine(cli, f"{line} {NVL} --seq-len 8192")
    assert (found["status"], found["solution"], found["best"]) == ("unsatisfiable", [], None)
    assert found["conflict"] == ["latency <= 20 ms", "throughput >= 3000 / 1 s"]
    assert machine(cli, f"{line} {NVL} --seq-len 8192 --strict", status=1) == found
    alone = machine(cli, f"{LLAMA} 'latency <= 1 ms' 'memory <= device.memory' --for batch_size {NVL} --seq-len 8192")
    assert alone["conflict"] == ["latency <= 1 ms"]
    assert "nearest to it is 4.393 ms, at batch_size = 1" in alone["why"]


@pytest.mark.parametrize("condition", ["throughput >= 10^6", "10^6 <= throughput"])
def test_what_is_never_reached_is_said_with_its_limit(condition: str, cli: Cli) -> None:
    """3.9 TB/s over 1.0737 GB of cache a sequence of 8,192 tokens."""
    found = machine(cli, f"{LLAMA} '{condition}' --for batch_size {NVL} --seq-len 8192")
    assert (found["status"], found["limit"]) == ("unsatisfiable", 3.9e12 / (8192 * 131072))
    assert "as batch_size grows, it tends to 3,632/s and stops there" in found["why"]


def test_a_batch_that_does_not_fit_is_named_where_memory_is_no_condition(cli: Cli) -> None:
    line = f"{LLAMA} 'throughput >= 3500' {{}} --for batch_size {NVL} --seq-len 8192"
    assert "Memory is not among the conditions: only 72 fit in 94 GB." in machine(cli, line.format(""))["why"]
    assert "Memory is not among" not in machine(cli, line.format("'memory <= device.memory'"))["why"]
    assert "Memory is not among" not in machine(cli, line.replace("3500", "3000").format(""))["why"]


def test_a_best_value_that_there_is_not(cli: Cli) -> None:
    line = f"{LLAMA} --for batch_size {NVL}"
    ceiling = machine(cli, f"{line} --maximize throughput --seq-len 8192")
    assert (ceiling["status"], ceiling["best"]) == ("unbounded", None)
    assert ceiling["limit"] == pytest.approx(39e11 / 1_073_741_824)
    assert machine(cli, f"{line} --maximize memory --seq-len 8192")["limit"] is None
    assert "without end" in page(cli, f"{line} --maximize memory --seq-len 8192")
    assert cli(*shlex.split(f"solve {line} --maximize memory --seq-len 8192 --strict")).status == 1
    nearer = machine(
        cli, f"{LLAMA} --for device.price {NVL} --minimize cost_per_million_tokens --batch-size 1 --seq-len 8"
    )
    assert (nearer["status"], nearer["limit"]) == ("unbounded", 0)


def solved(conditions: tuple[str, ...], unknown: str, point: dict[str, int], maximize: str | None = None) -> Solution:
    setting = Setting(Run(), "overlap", shipped_device("h100-nvl"))
    given = {symbol(name): Fraction(value) for name, value in point.items()}
    return solve_for(Question(cm.load("mixtral:8x7b").compiled, setting, given, conditions, unknown, maximize))


@pytest.mark.parametrize("unknown", ["batch_size", "num_experts", "num_kv_heads", "seq_len"])
def test_without_time_nothing_is_claimed(unknown: str) -> None:
    point = {name: 8 for name in ("batch_size", "seq_len") if name != unknown}
    conditions = ("latency <= 20 ms", "memory <= device.memory")
    with budget(0):
        found = solved(conditions, unknown, point, "throughput")
    assert found.status == "incomplete"
    assert found.values.empty
    assert found.best is None
    assert found.unfinished or not found.left.empty


def test_time_that_ends_is_said(cli: Cli) -> None:
    line = f"mixtral:8x7b 'latency <= 20 ms' --for num_experts {NVL} --batch-size 8 --seq-len 8 --budget 1e-6"
    assert machine(cli, line, status=1)["status"] == "incomplete"
    assert "INCOMPLETE" in page(cli, line, status=1)
    assert "--budget" in page(cli, line, status=1)


# --- questions that cannot be asked

REFUSED = [
    ("'latancy <= 20 ms' --for batch_size", ["no quantity or dim `latancy`", "`latency` is near"]),
    ("'latency <= 5 GB' --for batch_size", ["`latency` is in seconds, and `5 GB` is in bytes"]),
    ("'memory - memory <= 5 GB' --for batch_size", ["does not depend on `batch_size`: it cancels from it"]),
    ("'batch_size <= batch_size + 1' --for batch_size", ["does not depend on `batch_size`: it cancels from it"]),
    ("'params <= 10e9' --for batch_size", ["does not depend on `batch_size`: it is not in it"]),
    ("'latency <= 1 ms' --maximize params --for batch_size", ["`params` does not depend on `batch_size`, so no value"]),
    ("'latency <= 20 ms' --for head_dim", ["computed from other dims: hidden_size / num_heads", "--free head_dim"]),
    ("'latency <= 20 ms' --for batch_sise", ["no dim `batch_sise`", "`batch_size` is near"]),
    ("'latency <= 20 ms' --for latency", ["`latency` is a quantity"]),
    ("'latency <= 20 ms' --for bandwidth", ["--for device.bandwidth"]),
    ("'latency <= 20 ms' --for device.bandwith", ["no `bandwith`", "`device.bandwidth` is near"]),
    ("'latency <= 20 ms' --for dtype.weights", ["a dtype is one of a few"]),
    (
        "'latency <= 20 ms' --for seq_len --batch-size 8",
        ["`seq_len` is given a value and solved for", "--seq-len 8192"],
    ),
    ("'latency != 20 ms' --for batch_size", ["`!=` cannot be solved"]),
    ("'latency = 20 ms' --for batch_size", ["`==` compares"]),
    ("'crossover <= 256' --for batch_size", ["`crossover` is a batch size"]),
    ("'2 * crossover <= 256' --for num_kv_heads", ["stands alone on one side"]),
    ("'crossover <= 0' --for num_kv_heads", ["a number above 0"]),
    ("--maximize crossover --for num_kv_heads", ["`crossover` is no objective"]),
    ("--for batch_size", ["there is nothing to solve"]),
    ("'latency <= 9 ms' --for batch_size --maximize latency --minimize memory", ["exclude each other"]),
    ("'latency <= 9 ms' --for batch_size --budget 0", ["--budget"]),
]


@pytest.mark.parametrize(("words", "said"), REFUSED, ids=[words for words, _ in REFUSED])
def test_refused(words: str, said: list[str], cli: Cli) -> None:
    done = cli(*shlex.split(f"solve {LLAMA} {words} {NVL} --seq-len 8192"))
    assert (done.status, done.out) == (2, "")
    for part in said:
        assert part in " ".join(done.err.split())


def test_all_that_is_wrong_is_said_at_once(cli: Cli) -> None:
    done = cli(*shlex.split(f"solve {LLAMA} 'latancy <= 1 ms' 'memory <= 1 ms' --maximize sped --for batch_size {NVL}"))
    assert done.status == 2
    assert done.err.count("error: ") == 3


def test_without_a_device(cli: Cli) -> None:
    for words in ("'latency <= 20 ms' --for batch_size", "'flops >= 1' --for device.bandwidth"):
        done = cli(*shlex.split(f"solve {LLAMA} {words} --seq-len 8"))
        assert done.status == 2
        assert "--device h100-sxm" in done.err
