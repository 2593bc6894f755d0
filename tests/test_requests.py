"""A request's totals, in closed form, against the sum over its passes, one by one."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import cache
from time import process_time

import pytest
from sympy import Sum

import costmodel as cm
from costmodel.conditions import evaluate
from costmodel.figures import Figure, comparable
from costmodel.parser import parse_condition
from costmodel.quantities import Quantities
from costmodel.solve.budget import OutOfTime, budget, look_at_time
from costmodel.source import Source
from costmodel.symbols import acceptance_rate, batch_size, drafts, output_len, prompt_len, seq_len

from .conftest import Done

REQUESTS = [(1, 1, 1), (1, 100, 2), (3, 1, 40), (16, 4090, 20), (200, 700, 33)]


@cache
def quantities(spec: str, phase: str, timing: str) -> Quantities:
    device = "h200-sxm"
    return cm.load(spec).cost(phase, device=device, timing=timing, count=8).quantities


def passes(spec: str, timing: str, name: str, batch: int, prompt: int, output: int) -> Figure:
    """The prefill and each decode step, added up."""
    found = Fraction(0)
    for phase, context in [("prefill", prompt), *(("decode", prompt + j) for j in range(1, output))]:
        of = quantities(spec, phase, timing)
        value = of.figure(name, {batch_size: Fraction(batch), seq_len: Fraction(context)})
        assert value is not None
        found += value
    return found


@pytest.mark.parametrize("timing", ["overlap", "serial", "per_op"])
@pytest.mark.parametrize("spec", ["llama-3.1:8b", "gemma-2:9b", "mixtral:8x7b", "mamba-2:2.7b"])
def test_totals_are_the_sum_over_passes(spec: str, timing: str) -> None:
    for batch, prompt, output in REQUESTS:
        point = {batch_size: Fraction(batch), prompt_len: Fraction(prompt), output_len: Fraction(output)}
        of = quantities(spec, "decode", timing)
        time = passes(spec, timing, "latency", batch, prompt, output)
        first = passes(spec, timing, "latency", batch, prompt, 1)
        assert of.figure("request_flops", point) == passes(spec, timing, "flops", batch, prompt, output)
        assert of.figure("request_bytes", point) == passes(spec, timing, "bytes", batch, prompt, output)
        assert of.figure("request_time", point) == time
        assert of.figure("ttft", point) == first
        tpot = of.figure("tpot", point)
        assert tpot == (None if output == 1 else (time - first) / (output - 1))
        ratio = of.figure("output_input_ratio", point)
        assert ratio == (None if output == 1 else (time - first) / (output - 1) / (first / prompt))


def test_prices_of_input_and_output_tokens() -> None:
    """All requests' prefill costs what their prompts' tokens do together, all decode steps what the other tokens do."""
    text = """
    model one
    device rented { memory = 80 GB; bandwidth = 3 TB/s; peak bf16 = 900 TFLOP/s; price = 2.5 USD/h }
    graph forward(tokens[batch_size, new_tokens]) {
        weight embedding[1000 -> 64], up[64 -> 4096], down[4096 -> 64]
        x = lookup(tokens, embedding)
        k = cache(x)
        return matmul(relu(matmul(x, up)), down)
    }
    """
    for batch, prompt, output in REQUESTS[1:]:
        point = {"batch_size": batch, "prompt_len": prompt, "output_len": output}
        at = cm.parse(text).cost(device="rented").evaluate(**point)
        paid = at.cost_per_million_input_tokens * batch * prompt
        paid += at.cost_per_million_output_tokens * batch * (output - 1)
        assert paid == pytest.approx(at.request_cost * 10**6, rel=1e-12)
        price = at.cost_per_million_output_tokens / at.cost_per_million_input_tokens
        assert price == pytest.approx(at.output_input_ratio, rel=1e-12)
    alone = {batch_size: Fraction(2), prompt_len: Fraction(10), output_len: Fraction(1)}
    of = cm.parse(text).cost(device="rented").quantities
    for name in ("tpot", "output_input_ratio", "cost_per_million_output_tokens"):
        assert of.figure(name, alone) is None
    assert of.figure("cost_per_million_input_tokens", alone) is not None


def test_closed_forms_hold_no_sum_once_the_batch_is_given() -> None:
    of = quantities("gemma-2:9b", "decode", "overlap")
    for name in ("request_flops", "request_bytes"):
        expr = of.expr(name)
        assert expr is not None
        assert not expr.has(Sum)
    time = of.expr("request_time", {batch_size: 7})
    assert time is not None
    assert not time.has(Sum)
    assert time.free_symbols == {prompt_len, output_len}


def test_a_dense_request_is_a_polynomial() -> None:
    """Each token through the weights once, each pair of tokens through attention; the last token is never read back."""
    of = quantities("llama-3.1:8b", "decode", "overlap")
    p, n, b = prompt_len, output_len, batch_size
    weights, pair = 15_009_316_864, 524_288
    steps = weights * (n - 1) + pair * ((n - 1) * p + n * (n - 1) / 2)
    assert (of.expr("request_flops") - b * (weights * p + pair * p**2 + steps)).expand() == 0


@pytest.mark.parametrize(
    ("rate", "count", "tokens"),
    [(Fraction(8, 10), 4, Fraction(33616, 10000)), (Fraction(1), 4, Fraction(5)), (Fraction(1, 2), 1, Fraction(3, 2))],
)
def test_expected_tokens_of_a_step(rate: Fraction, count: int, tokens: Fraction) -> None:
    of = quantities("llama-3.1:8b", "decode", "overlap")
    assert of.figure("expected_tokens", {acceptance_rate: rate, drafts: Fraction(count)}) == tokens


def test_a_request_in_an_expect() -> None:
    text = """
    model one
    dim d = 64
    graph forward(x[batch_size, new_tokens, d]) {
        weight W[d -> d]
        return matmul(x, W)
    }
    expect request_flops(batch_size=1, prompt_len=10, output_len=5) == 14 * 2 * 64 * 64
    expect request_flops(batch_size=1, prompt_len=10, output_len=5) == 15 * 2 * 64 * 64
    """
    assert [found.ok for found in cm.parse(text).check().expects] == [True, False]


def test_a_request_needs_a_token_a_step() -> None:
    text = """
    model two
    dim d = 64
    graph forward(x[batch_size, new_tokens, d]) {
        weight W[d -> d]
        return matmul(x, W)
    }
    phase decode { new_tokens = 2 }
    """
    with pytest.raises(cm.SpecError, match="token by token"):
        _ = cm.parse(text).cost().request_flops


def test_time_that_is_spent_is_said() -> None:
    with budget(0), pytest.raises(OutOfTime):
        look_at_time()
    look_at_time()
    with budget(0):
        answer = cm.load("deepseek-v3").crossover(device="h200-sxm", seq_len=4096, count=8)
        assert answer.status is None
        assert answer.unsolvable is not None


def test_many_tokens_of_experts_are_figures_at_once(cli: Callable[..., Done]) -> None:
    """(7/8)^900000 is held to 60 digits, never as a fraction of a million."""
    cost = cm.load("gpt-oss:20b").cost(device="h100-sxm")
    point = {batch_size: Fraction(300), prompt_len: Fraction(3000), output_len: Fraction(9)}
    first = cost.quantities.figure("ttft", point)
    prefill = cm.load("gpt-oss:20b").cost("prefill", device="h100-sxm").quantities
    same = prefill.figure("latency", {batch_size: Fraction(300), seq_len: Fraction(3000)})
    assert first is not None
    assert same is not None
    assert abs(comparable(first) - comparable(same)) <= comparable(same) / 10**30
    words = ("--batch-size", "300", "--prompt-len", "3000", "--output-len", "402", "--seq-len", "3000")
    done = cli("evaluate", "gpt-oss:20b", "--device", "h100-sxm", *words)
    assert done.status == 0
    assert "output tokens/s, 300 requests together" in " ".join(done.out.split())


# 900,000 tokens over experts: (7/8)^900000 and the like, whose exact fractions have a million digits
MANY = "ttft(batch_size=300, prompt_len=3000)"
WORDS = ("--device", "h200-sxm", "--batch-size", "300", "--prompt-len", "3000")


@pytest.mark.parametrize("spec", ["gpt-oss:20b", "deepseek-v3", "mixtral"])
@pytest.mark.parametrize(
    "words",
    [
        ("solve", f"{MANY} <= 2 s", "--for", "num_layers", "--device", "h200-sxm"),
        ("solve", "ttft <= 2 s", "--for", "num_layers", *WORDS),
        ("solve", "ttft(prompt_len=30000) <= 100 s", "--for", "batch_size", "--device", "h200-sxm"),
        ("solve", "ttft(batch_size=300) <= 2 s", "--for", "prompt_len", "--device", "h200-sxm"),
        ("solve", "tpot <= 1 s", "--for", "num_layers", *WORDS, "--output-len", "3000"),
        ("sensitivity", "--of", "ttft", *WORDS, "--seq-len", "10"),
        ("compare", "llama-3.1:8b", "--of", "ttft", *WORDS, "--output-len", "300"),
        (
            *("search", "--device", "h200-sxm", "--batch-size", "1:64", "--seq-len", "8192"),
            *("--where", f"{MANY} <= 200 s", "--maximize", "throughput"),
        ),
    ],
    ids=lambda words: " ".join(words[:4]),
)
def test_conditions_on_many_tokens_are_decided_in_time(
    cli: Callable[..., Done], spec: str, words: tuple[str, ...]
) -> None:
    """Processor time, which other work on the machine does not change; each took a minute, or the program's fault."""
    start = process_time()
    done = cli(words[0], spec, *words[1:])
    assert done.status == 0, done.err
    assert process_time() - start < 10


@pytest.mark.parametrize("spec", ["gpt-oss:20b", "deepseek-v3", "mixtral"])
def test_expects_on_many_tokens_are_decided_in_time(spec: str) -> None:
    model = cm.load(spec)
    point = {batch_size: Fraction(300), prompt_len: Fraction(3000)}
    known = model.cost(device="h100-sxm").quantities.figure("ttft", point)
    assert known is not None
    compiled = model.compiled
    start = process_time()
    for factor, holds in ((Fraction(10**6 + 1, 10**6), True), (Fraction(10**6 - 1, 10**6), False)):
        limit = Fraction(str(float(comparable(known)))) * factor
        text = f'{MANY.replace(")", "")}, device="h100-sxm") <= {limit.numerator} / {limit.denominator} * 1 s'
        outcome = evaluate(compiled, parse_condition(Source("--where", text)))
        assert outcome.holds is holds
    assert process_time() - start < 10
