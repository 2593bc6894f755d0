"""Specs side by side: break-evens by hand, and who is better against evaluating every context."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy import Expr

import costmodel as cm
from costmodel.comparison import MORE_IS_BETTER, BreakEven
from costmodel.figures import comparable, figure
from costmodel.render.comparison import ComparisonAnswer
from costmodel.symbols import batch_size, rational, seq_len, symbol

from .conftest import Done
from .test_properties import examples

Cli = Callable[..., Done]

LLAMA = cm.load("llama-3.1:8b")
MQA = LLAMA.set(num_kv_heads=1, intermediate_size=16384)


def of(answer: ComparisonAnswer, name: str, unknown: str = "seq_len") -> BreakEven:
    return next(b for b in answer.break_evens if (b.name, b.unknown) == (name, unknown))


def shares(found: BreakEven) -> list[tuple[int, int | None, tuple[int, ...]]]:
    return [(s.low, s.high, s.best) for s in found.stretches]


# --- by hand


def test_one_kv_head_with_a_wider_feed_forward_by_hand() -> None:
    """Of 32 layers: two matrices of 4,096 × 128 for 7 heads fewer, three of 4,096 × 2,048 more; 7/8 of the cache."""
    batch = 4
    fewer, more = 32 * 2 * 4096 * 128 * 7, 32 * 3 * 4096 * 2048
    weights = 2 * (more - fewer)
    cache = 131_072 * Fraction(7, 8)
    context = weights / (cache * batch)
    answer = cm.compare(LLAMA, MQA, device="h100-nvl", batch_size=batch, seq_len=8192)
    for name in ("latency", "bytes", "memory"):
        found = of(answer, name)
        (crossing,) = found.crossings
        assert crossing.found.value == context
        assert crossing.found.expr == rational(context * batch) / batch_size
        assert (crossing.before, crossing.after) == ((0,), (1,))
        assert shares(found) == [(1, int(context), (0,)), (int(context) + 1, None, (1,))]
    (crossing,) = of(answer, "bytes", "batch_size").crossings
    assert crossing.found.value == weights / (cache * 8192)


def test_a_break_even_without_figures_is_a_formula() -> None:
    symbolic = of(cm.compare(LLAMA, MQA), "bytes")
    (crossing,) = symbolic.crossings
    assert (crossing.found.value, crossing.before, crossing.after) == (None, (0,), (1,))
    (known,) = of(cm.compare(LLAMA, MQA, batch_size=4), "bytes").crossings
    assert figure(crossing.found.expr or Expr(), {batch_size: Fraction(4)}) == known.found.value
    (fewer,) = of(cm.compare(LLAMA, LLAMA.set(num_kv_heads=1)), "bytes").stretches
    assert (fewer.low, fewer.high, fewer.best) == (1, None, (1,))


def test_a_tie_at_a_whole_number_is_said() -> None:
    """Weights of 64 and 8 bytes, caches of 4 and 7.5 bytes a token: equal at 16 tokens."""
    spec = cm.parse("""
    model tie
    dim d = 2
    dim f = 16
    graph forward(x[batch_size, new_tokens, d]) {
        weight W[f -> d]
        k = cache(x)
        return matmul(x, W.T)
    }
    """)
    answer = cm.compare(spec, spec.set(f=2, **{"dtype.cache": "30 bits"}), of="bytes", batch_size=1)
    (crossing,) = of(answer, "bytes").crossings
    assert crossing.found.value == 16
    assert shares(of(answer, "bytes")) == [(1, 15, (1,)), (16, 16, (0, 1)), (17, None, (0,))]
    assert "both are the same at 16 tokens" in str(answer)


def test_where_computing_takes_over_both_are_the_same() -> None:
    """A prefill at batch 1 turns compute-bound before narrower weights are any faster: b · F(s) / P = weights / W."""
    narrow = LLAMA.set(**{"dtype.weights": "fp8"})
    options: dict[str, Any] = {"phase": "prefill", "device": "h100-nvl", "batch_size": 1}
    answer = cm.compare(LLAMA, narrow, of="latency", break_even="seq_len", **options)
    found = of(answer, "latency")
    assert [s.best for s in found.stretches] == [(1,), (0, 1)]
    times = LLAMA.cost("prefill", device="h100-nvl")
    for context, memory_bound in ((227, True), (228, False)):
        point = {batch_size: Fraction(1), seq_len: Fraction(context)}
        assert (figure(times.memory_time, point) > figure(times.compute_time, point)) is memory_bound
    assert "dtype.weights=fp8 is faster up to 227 tokens, the same beyond" in str(answer)
    assert "compared at the point only" in str(cm.compare(LLAMA, narrow, of="max_batch_size", **options))


def test_three_columns_each_have_their_stretch() -> None:
    """Weights and cache a token, in bytes: 13.5 GB and 512 kB, 16.1 GB and 128 kB, 18.5 GB and less behind a window."""
    answer = cm.compare("gpt-2", "mamba-2:2.7b", "llama-2:7b", of="memory", batch_size=4)
    found = of(answer, "memory")
    (crossing,) = found.crossings
    assert (crossing.before, crossing.after) == ((0,), (1,))
    gpt, mamba = (cm.load(name).cost().memory for name in ("gpt-2", "mamba-2:2.7b"))
    last = found.stretches[0].high
    assert last is not None
    for context, better in ((last, True), (last + 1, False)):
        point = {batch_size: Fraction(4), seq_len: Fraction(context)}
        assert (figure(gpt, point) < figure(mamba, point)) is better


def test_windows_make_a_long_context_cheaper() -> None:
    answer = cm.compare("llama-3.1:8b", "gemma-2:9b", of="cache_memory", batch_size=1)
    assert shares(of(answer, "cache_memory")) == [(1, None, (0,))]
    wide = cm.load("gemma-2:9b").set(num_kv_heads=4)
    answer = cm.compare("llama-3.1:8b", wide, of="cache_memory", batch_size=1)
    found = of(answer, "cache_memory")
    (crossing,) = found.crossings
    # 131,072 · s against 86,016 · (s + 4,096), beyond the window
    assert crossing.found.value == Fraction(86_016 * 4096, 131_072 - 86_016)
    assert str(crossing.found.expr) == "86016/11"


# --- against evaluating


SPECS = ("llama-2:7b", "llama-3.1:8b", "gemma-2:9b", "mamba-2:2.7b", "gpt-2", "mixtral:8x7b")
SETS: tuple[dict[str, Any], ...] = (
    {},
    {"num_layers": 20},
    {"vocab_size": 50_000},
    {"dtype.cache": "fp8"},
    {"dtype.weights": "fp8"},
    {"dtype.weights": "int4", "num_layers": 60},
)
ASKED = ("latency", "bytes", "memory", "throughput", "flops", "intensity", "cost_per_million_tokens")


@settings(examples(100), print_blob=False)
@given(st.data())
def test_who_is_better_agrees_with_evaluating(data: st.DataObject) -> None:
    def drawn() -> cm.Model:
        model = cm.load(data.draw(st.sampled_from(SPECS)))
        return model.set(**data.draw(st.sampled_from(SETS)))

    models = [drawn() for _ in range(data.draw(st.integers(2, 3)))]
    name = data.draw(st.sampled_from(ASKED))
    unknown = data.draw(st.sampled_from(("seq_len", "batch_size")))
    options: dict[str, Any] = {
        "phase": data.draw(st.sampled_from(("decode", "decode", "prefill"))),
        "fidelity": data.draw(st.sampled_from(("cache", "traffic"))),
        "timing": data.draw(st.sampled_from(("overlap", "serial"))),
    }
    point = {"batch_size": data.draw(st.integers(1, 200)), "seq_len": data.draw(st.integers(1, 9000))}
    answer = cm.compare(*models, device="h100-nvl", of=name, break_even=unknown, **options, **point)
    found = of(answer, name, unknown)
    if found.why:
        assert found.why in (f"it does not depend on {unknown}", "`seq_len` stands under `ceil`")
        return
    x = symbol(unknown)
    exprs = [getattr(model.cost(device="h100-nvl", **options), name) for model in models]
    edges = [n for s in found.stretches for n in (s.low, s.high) if n is not None]
    values = {n + d for n in edges for d in (-1, 0, 1)} | set(data.draw(st.lists(st.integers(1, 50_000), max_size=10)))
    best = max if name in MORE_IS_BETTER else min
    assert found.stretches[0].low == 1
    for value in sorted(v for v in values if v >= 1):
        here = {symbol(n): Fraction(v) for n, v in point.items()} | {x: Fraction(value)}
        figures = [comparable(figure(expr, here)) for expr in exprs]
        winners = tuple(i for i, v in enumerate(figures) if v == best(figures))
        (stretch,) = [s for s in found.stretches if s.low <= value and (s.high is None or value <= s.high)]
        assert stretch.best == winners, (name, unknown, value)


def test_along_new_tokens_up_to_the_context() -> None:
    answer = cm.compare(
        "llama-3.1:8b",
        "mixtral:8x7b",
        device="h100-nvl",
        of="latency",
        break_even="new_tokens",
        phase="prefill",
        batch_size=1,
        seq_len=4096,
    )
    found = of(answer, "latency", "new_tokens")
    assert found.stretches[-1].high == 4096
    for tokens in (1, 64, 4096):
        costs = [
            cm.load(name).cost("prefill", new_tokens=tokens, device="h100-nvl")
            for name in ("llama-3.1:8b", "mixtral:8x7b")
        ]
        times = [figure(cost.latency, {batch_size: Fraction(1), seq_len: Fraction(4096)}) for cost in costs]
        (stretch,) = [s for s in found.stretches if s.low <= tokens and (s.high is None or tokens <= s.high)]
        assert stretch.best == (times.index(min(times)),)


# --- ratios


def test_ratios_are_in_lowest_terms_and_agree_with_the_values() -> None:
    answer = cm.compare("llama-3.1:8b", "mixtral:8x7b", device="h100-nvl", batch_size=8, seq_len=1024)
    ratios = {ratio.name: ratio.found for ratio in answer.ratios}
    assert str(ratios["flops"].expr) == "(seq_len + 48632)/(seq_len + 28628)"
    assert str(ratios["cache_memory"].expr) == "1"
    for name, found in ratios.items():
        values = [answer.value(name, i) for i in (0, 1)]
        assert found.value == (values[1] or 0) / (values[0] or 1)
        if found.expr is not None:
            assert figure(found.expr, {batch_size: Fraction(8), seq_len: Fraction(1024)}) == found.value, name


def test_devices_differ_by_their_figures_alone() -> None:
    answer = cm.compare("llama-3.1:8b", device=("h100-sxm", "h200-sxm"), batch_size=8, seq_len=1024)
    assert answer.labels == ("h100-sxm", "h200-sxm")
    ratios = {ratio.name: ratio.found.value for ratio in answer.ratios}
    assert ratios["bytes"] == 1
    assert ratios["latency"] == Fraction(3350, 4800)
    shown = str(answer)
    assert "The same in every column: params 8.030 billion" in shown


# --- the command


def test_what_a_column_lacks_is_a_dash_with_its_reason(cli: Cli) -> None:
    done = cli(*"compare llama-3.1:8b --device h100-nvl,h200-sxm --batch-size 8 --seq-len 1024".split())
    assert done.status == 0
    assert "cost_per_million_tokens of h200-sxm: `h200-sxm` states no price" in done.out
    line = next(line for line in done.out.splitlines() if line.strip().startswith("cost_per_million_tokens "))
    assert line.split()[-1] == "–"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("llama-3.1:8b", "there is one column"),
        ("llama-3.1:8b gpt-3", "gpt-3"),
        ("llama-3.1:8b gpt-2 --of speed", "there is no quantity `speed`"),
        ("llama-3.1:8b gpt-2 --of latency", "`latency` needs a device"),
        ("llama-3.1:8b gpt-2 --device h100-nvl,h100-nlv", "there is no device `h100-nlv`"),
        ("llama-3.1:8b gpt-2 --phase verify", "asked of llama-3.1:8b"),
        ("llama-3.1:8b gpt-2 --break-even layers", "layers"),
        ("llama-3.1:8b --with num_kv_head=1", "`num_kv_heads` is near"),
        ("llama-3.1:8b --with num_kv_heads", "--with takes DIM=EXPR"),
    ],
)
def test_bad_input_is_said(line: str, said: str, cli: Cli) -> None:
    done = cli("compare", *line.split())
    assert done.status == 2
    assert said in done.err
    assert done.out == ""


def test_settings_make_columns(cli: Cli) -> None:
    done = cli("compare", "llama-3.1:8b", "--with", "num_kv_heads=1; dtype.cache=fp8", "--with", "num_layers=16")
    assert done.status == 0
    assert "num_kv_heads=1, dtype.cache=fp8" in done.out.replace("…", "") or "num_kv_heads=1" in done.out
    assert "num_layers=16" in done.out


def test_it_shows_itself() -> None:
    answer = cm.compare(LLAMA, MQA, device="h100-nvl", batch_size=4, seq_len=8192)
    assert "llama-3.1:8b is faster up to" in str(answer)
    assert "<table>" in answer._repr_html_()
    assert repr(answer) == "<Comparison of llama-3.1:8b, num_kv_heads=1, intermediate_size=16384>"
