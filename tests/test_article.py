"""What "LLM Inference Essentials" (Sergei Skvortsov) derives by hand, derived from a spec.

Where the article is loose, the exact result is the figure here and the article's stands beside it. data/article.json
holds command lines with a figure of their machine form; the tests have what needs more than that.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from sympy import Expr, Min, Rational, cancel, expand, sympify

import costmodel as cm
from costmodel.figures import as_figure
from costmodel.hierarchy import parts

from .conftest import Done

Cli = Callable[..., Done]

ROWS = json.loads(Path(__file__).with_name("data").joinpath("article.json").read_text(encoding="utf-8"))
DONE: dict[tuple[str, ...], Done] = {}
"""Command lines that have run: several rows ask one of them."""

# the article's figures: Llama-3.1-8B, H100 NVL with the sparse peak
PARAMS = 8_030_261_248
PEAK, DENSE, BANDWIDTH, MEMORY = Fraction(1671 * 10**12), Fraction(8355, 10) * 10**12, Fraction(39 * 10**11), 94 * 10**9
CONTEXT = 8192
F1 = 15_009_316_864 + 524_288 * CONTEXT
M0, M1 = 2 * PARAMS, 131_072 * CONTEXT


@pytest.fixture(scope="module")
def llama() -> cm.Model:
    return cm.load("llama-3.1:8b")


def symbolic(text: str) -> Expr:
    names = "batch_size seq_len hidden_size head_dim num_heads num_kv_heads intermediate_size num_layers vocab_size"
    return sympify(text, locals={name: cm.load("llama-3.1")[name] for name in names.split()})


@pytest.mark.parametrize("row", ROWS, ids=[row["id"] for row in ROWS])
def test_row(row: dict[str, Any], cli: Cli) -> None:
    words = (*row["args"], *(["--json"] if "path" in row else []))
    done = DONE[words] = DONE.get(words) or cli(*words)
    assert done.status == row.get("exit", 0)
    assert all(text in done.err for text in row.get("stderr", []))
    if "path" not in row:
        return
    got = json.loads(done.out)
    for key in row["path"]:
        got = got[key]
    if "expr" in row:
        assert expand(cancel(symbolic(got) - symbolic(row["expr"]))) == 0
    elif isinstance(row["equals"], float):
        assert math.isclose(got, row["equals"], rel_tol=1e-12)
    else:
        assert got == row["equals"]
        assert type(got) is type(row["equals"])


# --- Take 1: no cache, no architecture

TAKE_1 = """
model take_1
dim num_params as "N"
dtype weights = {dtype}
graph forward(tokens[batch_size, new_tokens]) {{
    weight W[num_params]
    return tokens
}}
"""


@pytest.mark.parametrize(("dtype", "size"), [("bf16", 2), ("fp8", 1), ("fp32", 4)])
def test_flops_and_bytes_of_a_model_that_is_only_a_number_of_parameters(dtype: str, size: int) -> None:
    """M = N·B and FLOP = 2·N·batch_size, and so batch* = peak·B / (2·bandwidth), whatever N is."""
    model = cm.parse(TAKE_1.format(dtype=dtype)).set(**{"dtype.compute": "bf16"})
    cost = model.cost(fidelity="params")
    count = model["num_params"]
    assert cost.bytes == size * count
    assert cost.flops == 2 * count * cm.batch_size
    exact = PEAK * size / (2 * BANDWIDTH)
    crossing = model.crossover("h100-nvl-sparse", fidelity="params").batch_size.expr
    assert crossing == Rational(exact.numerator, exact.denominator)


def test_the_optimal_batch_is_independent_of_the_model(llama: cm.Model) -> None:
    answer = llama.crossover("h100-nvl-sparse", fidelity="params")
    assert answer.batch_size.expr == Rational(5570, 13)
    assert f"{5570 / 13:.4f}" == "428.4615"
    assert set(answer.independent_of) == {*llama.dims, "seq_len"}
    assert "seq_len" not in llama.crossover("h100-nvl-sparse").independent_of


def test_throughput_and_its_two_regimes(llama: cm.Model) -> None:
    """batch / (sum of both times); → batch/t_mem for few sequences, → peak/(2·N) for many."""
    serial = llama.cost(fidelity="params", device="h100-nvl-sparse", timing="serial")
    for batch in (1, 32, 428, 5000):
        compute, memory = 2 * PARAMS * batch / PEAK, 2 * PARAMS / BANDWIDTH
        assert serial.evaluate(batch_size=batch).throughput == float(batch / (compute + memory))
    answer = llama.crossover("h100-nvl-sparse", fidelity="params", seq_len=1)
    assert answer.ceiling.expr is not None
    assert as_figure(answer.ceiling.expr) == PEAK / (2 * PARAMS)
    few = llama.cost(fidelity="params", device="h100-nvl-sparse").evaluate(batch_size=7)
    assert few.throughput == float(7 / (2 * PARAMS / BANDWIDTH))


def test_the_true_optimum_is_what_fits_of_it(llama: cm.Model) -> None:
    """min(optimal, largest that fits), with which of the two binds."""
    long = llama.crossover("h100-nvl-sparse", fidelity="params", seq_len=CONTEXT)
    assert (long.optimal_batch_size, long.limited_by) == (72, "memory")
    short = llama.crossover("h100-nvl-sparse", fidelity="params", seq_len=1024)
    assert (short.optimal_batch_size, short.limited_by) == (429, "crossover")


@pytest.mark.parametrize(("dtype", "devices"), [("bf16", 9), ("fp8", 5)])
def test_a_405b_needs_five_devices_only_at_8_bits(dtype: str, devices: int, cli: Cli) -> None:
    """The article's five: 405.85e9 bytes in 94 GB each."""
    setting = ("--set", f"dtype.weights={dtype}", "--set", "dtype.compute=bf16")
    done = cli("crossover", "llama-3.1:405b", "--device", "h100-nvl", "--seq-len", "1", *setting, "--json")
    answer = json.loads(done.out)
    assert answer["crossover"]["status"] == "does_not_fit"
    (change,) = [c for c in answer["memory_fit"]["changes"] if c["option"].startswith("--count")]
    assert change["option"] == f"--count {devices}"
    assert math.ceil(Fraction(405_853_388_800 * (2 if dtype == "bf16" else 1), MEMORY)) == devices


# --- Take 2: (almost) all in


def test_the_parts_by_name(llama: cm.Model) -> None:
    """C = batch_size · (n_layers · (C_attn + C_FFN) + C_unemb), a token at 8,192 of them."""
    table = llama.cost().quantities.table
    root = parts(table, lambda row: row.cost.matmul_flops, "C")
    at = {cm.batch_size: 1, cm.seq_len: CONTEXT}
    attention, feed_forward, unembedding = root.children
    assert [part.name for part in root.children] == ["C_attn", "C_ffn", "C_unembedding"]
    assert [table.put_in(part.scale) for part in root.children] == [32, 32, 1]
    figures = {part.what: int(table.put_in(part.expr).subs(at)) for part in attention.children}
    assert figures.pop("attention q, keys, values") == 134_217_728
    assert sum(figures.values()) == 83_886_080
    assert int(table.put_in(feed_forward.expr).subs(at)) == 352_321_536
    assert int(table.put_in(unembedding.expr).subs(at)) == 1_050_673_152


def test_the_cache_of_a_sequence(llama: cm.Model) -> None:
    """2 · bytes · layers · seq_len · heads of K and V · their size; the article's bound leaves out all but the last."""
    free = llama.free("all", "head_dim")
    layers, heads, size = (free[name] for name in ("num_layers", "num_kv_heads", "head_dim"))
    assert expand(free.cost().cache_memory - 4 * layers * cm.seq_len * heads * size * cm.batch_size) == 0


def test_prefill_has_seq_len_in_every_term(llama: cm.Model) -> None:
    terms = expand(llama.free("all").cost(phase="prefill").flops).args
    assert len(terms) == 5
    assert all({cm.batch_size, cm.seq_len} <= term.free_symbols for term in terms)


@pytest.mark.parametrize(
    ("device", "peak", "batch", "context"),
    [("h100-nvl-sparse", PEAK, "-15.6126", "269.78"), ("h100-nvl", DENSE, "-16.3278", "544.70")],
)
def test_no_batch_is_compute_bound(llama: cm.Model, device: str, peak: Fraction, batch: str, context: str) -> None:
    """b* = M₀ / (F₁·W/P − M₁): "negative batch size inference is cool", and why."""
    answer = llama.crossover(device, seq_len=CONTEXT)
    exact = M0 / (F1 * BANDWIDTH / peak - M1)
    assert answer.status == "never"
    assert answer.batch_size.value == exact
    assert f"{float(exact):.4f}" == batch
    # what one more sequence adds, against what the device wants
    assert answer.intensity_limit == Fraction(F1, M1)
    assert f"{float(Fraction(F1, M1)):.2f}" == "17.98"
    assert llama.cost(device=device).ridge == peak / BANDWIDTH
    critical = answer.critical_seq_len.value
    assert critical is not None
    assert f"{float(critical):.2f}" == context
    below, above = math.floor(critical), math.ceil(critical)
    assert llama.crossover(device, seq_len=below).solved.roots  # type: ignore[union-attr]
    assert not llama.crossover(device, seq_len=above).solved.roots  # type: ignore[union-attr]


def test_attention_alone_computes_four_flops_a_byte(llama: cm.Model) -> None:
    """num_heads / num_kv_heads at 2 bytes, at every batch and context."""
    table = llama.cost().quantities.table
    (row,) = [row for row in table.rows if row.node is not None and row.node.keyword == "attention"]
    assert cancel(table.put_in(row.cost.matmul_flops / row.cost.bytes)) == 4


def test_the_article_s_own_rounding() -> None:
    """19.3e9 FLOPs and 1e9 bytes a sequence over 16e9 bytes of weights: −16.75."""
    model = cm.parse("""
    model rounded
    op pass_of(x[b, t]) -> [b, t] {
        weight W[8_000_000_000]
        state S[b, 250_000_000]
        matmul_flops = 19_300_000_000 * b
    }
    graph forward(tokens[batch_size, new_tokens]) { return pass_of(tokens) }
    """)
    value = model.crossover("h100-nvl-sparse").batch_size.value
    assert value == Fraction(16 * 10**9) / (193 * 10**8 * BANDWIDTH / PEAK - 10**9)
    assert f"{float(value):.4f}" == "-16.7547"


def test_input_tokens_cost_less_than_output_tokens(llama: cm.Model) -> None:
    """At 2.5 USD an hour: 14 times less at the largest batch that fits, where the article's price list says 3."""
    price = Fraction(25, 10) / 3600
    prefill = llama.cost("prefill", device="h100-nvl").evaluate(batch_size=1, seq_len=CONTEXT)
    flops = CONTEXT * 15_009_316_864 + 524_288 * CONTEXT**2
    assert prefill.cost_per_million_tokens == float(price * 10**6 * flops / DENSE / CONTEXT)
    decode = llama.cost(device="h100-nvl").evaluate(batch_size=72, seq_len=CONTEXT)
    assert decode.cost_per_million_tokens == float(price * 10**6 * (M0 + 72 * M1) / BANDWIDTH / 72)
    assert f"{decode.cost_per_million_tokens / prefill.cost_per_million_tokens:.1f}" == "14.4"


def test_activations_are_no_constant(llama: cm.Model) -> None:
    """The peak of what is alive, symbolic: here the logits and what they are made of, in decode 2 bytes each."""
    assert llama.cost().activation_memory == 2 * (4096 + 128_256) * cm.batch_size
    prefill = llama.cost("prefill").activation_memory
    assert cm.seq_len in prefill.free_symbols
    assert not prefill.has(Min)
