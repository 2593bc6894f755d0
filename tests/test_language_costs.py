"""docs/language.md 4, how finely costs are counted and how times add up. Figures are worked out by hand."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

import pytest
from sympy import Expr, Max, Min, Rational

import costmodel as cm
from costmodel.costs import TERMS, Cost

from .language import b, dims, faults, forward, holds, row, s, same, spec, t, table


def moved(model: cm.Model, phase: str = "decode", fidelity: str = "cache", **options: Any) -> Expr:
    return table(model, phase, fidelity=fidelity, new_tokens=t if phase == "decode" else None, **options).bytes


def terms(model: cm.Model, keyword: str, **options: Any) -> dict[str, Expr]:
    """What the last operation of this name costs at `traffic`, what is nothing left out."""
    cost = row(model, keyword, fidelity="traffic", new_tokens=t, **options).cost
    return {name: getattr(cost, name) for name in TERMS if getattr(cost, name) != 0}


MODEL = """
dim v = 100 dim d = 8 dim h = 2 dim g = 1 dim e = 4 dim layers = 3
block layer(x) {
    weight Wq[d -> h, e], Wk[d -> g, e], Wv[d -> g, e], Wo[h, e -> d]
    y = rmsnorm(x)
    o = attention(rope(matmul(y, Wq)), cache(rope(matmul(y, Wk))), cache(matmul(y, Wv)), causal=true)
    return x + matmul(o, Wo)
}
graph forward(ids[batch_size, new_tokens]) {
    weight E[v -> d]
    x = lookup(ids, E)
    repeat layers { x = layer(x) }
    return matmul(rmsnorm(x), E.T)
}
"""
# E 800; in each of 3 layers Wq 64, Wk and Wv 32 each, Wo 64, a scale of 8; the last scale 8
PARAMS = 800 + 3 * (64 + 32 + 32 + 64 + 8) + 8


# --- fidelity `params`


def test_params() -> None:
    """2·A·b·t FLOPs, weight_memory bytes, and no vector FLOPs."""
    model = spec(MODEL)
    assert PARAMS == 1408
    for phase, tokens in (("decode", 1), ("prefill", s)):
        cost = model.cost(phase, fidelity="params")
        assert cost.flops == 2 * PARAMS * b * tokens
        assert cost.bytes == cost.weight_memory == 2 * PARAMS
        assert cost.vector_flops == 0
    assert model.cost(fidelity="params", new_tokens=5).flops == 10 * PARAMS * b


def test_params_of_experts_and_of_a_graph_without_tokens() -> None:
    text = """
    dim d = 4 dim n = 6
    graph forward(x[batch_size, new_tokens, d]) {
        y = route(x, experts=8, top_k=2) { weight W[d -> d] return matmul(x, W) }
        return y
    }
    graph vision(x[batch_size, n, d]) { weight V[d -> d] return matmul(x, V) }
    """
    cost = spec(text).cost(fidelity="params")
    assert cost.params == 8 * 16 + 16
    assert cost.active_params == 2 * 16 + 16
    assert cost.flops == 2 * 48 * b
    assert cost.bytes == 2 * 144
    # new tokens are none of a graph's that works on whole pictures, whatever the phase
    for phase in ("decode", "prefill"):
        assert spec(text).cost(phase, graph="vision", fidelity="params").flops == 2 * 48 * b


def test_params_of_weights_that_are_used_in_other_bodies() -> None:
    """Each stored weight once, wherever it is used first, or not at all."""
    text = """
    dim d = 4
    weight W[d -> d], idle[7]
    graph forward(x[batch_size, new_tokens, d]) {
        repeat 5 { weight A[d -> d], g[3] x = matmul(matmul(x, W), A) repeat 2 { x = matmul(x, W) } }
        return x
    }
    """
    cost = spec(text).cost(fidelity="params")
    assert cost.params == 16 + 7 + 5 * (16 + 3)
    assert cost.flops == 2 * 118 * b
    assert cost.bytes == 2 * 118


# --- fidelity `cache`


def test_cache() -> None:
    """Matmul FLOPs; every weight that the pass uses, whole; every cache once, whole."""
    model = spec(MODEL)
    # a token: 3 layers of 2·(64 + 32 + 32 + 64) and 4·2·4 a position; 2·8·100 at the end
    assert same(model.cost().flops, b * (3 * (384 + 32 * s) + 1600))
    assert same(model.cost("prefill").flops, b * s * (3 * (384 + 32 * s) + 1600))
    # K and V: 3 layers, 2·4 values of 2 bytes a position; new rows are not counted again
    for phase in ("decode", "prefill"):
        assert same(model.cost(phase).bytes, 2 * PARAMS + 3 * 16 * b * s)
        assert same(model.cost(phase).cache_memory, 3 * 16 * b * s)
    # the table counts whole, though a pass looks up few of its rows: of Llama-3.1-8B's weights it is 6.5 %
    assert round(128256 * 4096 / 8030261248 * 1000) == 65
    table_only = forward("weight T[v -> d]\nreturn lookup(x, T)", "x[batch_size, new_tokens]", "dim v = 100 dim d = 8")
    assert table_only.cost().bytes == 1600


def test_experts_count_as_the_expected_distinct_ones() -> None:
    body = "y = route(x, experts=8, top_k=2) { weight W[d -> d] return matmul(x, W) }\nreturn y"
    model = forward(f"repeat 3 {{ {body.splitlines()[0]} x = x + y }} return x", top="dim d = 4")
    assert same(model.cost().bytes, 3 * 32 * 8 * (1 - Rational(3, 4) ** b))
    assert model.cost().weight_memory == 3 * 8 * 32


def test_a_storage_counts_once_for_each_body() -> None:
    """In the graph's own body or a `repeat`'s, however often it is used there; blocks and routes are no bodies."""
    text = """
    dim d = 4
    weight W[d -> d]
    block f(x) { return matmul(x, W) }
    graph forward(x[batch_size, new_tokens, d]) {
        x = f(matmul(x, W))
        y = route(x, experts=2, top_k=1) { return matmul(x, W) }
        repeat 15 { x = f(f(matmul(x, W))) repeat 2 { x = f(matmul(x, W)) } }
        return x + y
    }
    """
    assert spec(text).cost().params == 16
    assert spec(text).cost().bytes == 32 * (1 + 15 + 30)


def test_tied_embeddings_once_and_a_shared_block_once_a_turn() -> None:
    body = "weight E[d -> 5]\nx = matmul(matmul(x, E), E.T)\nrepeat 7 { x = f(f(x)) }\nreturn x"
    model = forward(body, top="dim d = 4 shared block f(x) { weight W[d -> d] return matmul(x, W) }")
    assert model.cost().params == 20 + 16
    assert model.cost().bytes == 40 + 7 * 32


SHARED_CACHE = """
dim d = 4
graph forward(x[batch_size, new_tokens, 1, d]) {{
    k = cache(x)
    {outside}
    repeat 15 {{ x = attention(x, k, k{window}) }}
    return x
}}
"""


def test_a_cache_used_outside_and_by_a_repeat_of_15_counts_16_times() -> None:
    outside = "x = attention(x, k, k)"
    model = spec(SHARED_CACHE.format(outside=outside, window=""))
    assert model.cost().bytes == 16 * 8 * b * s
    # held once
    assert model.cost().cache_memory == 8 * b * s
    # made outside and read only inside: 15 times
    assert spec(SHARED_CACHE.format(outside="", window="")).cost().bytes == 15 * 8 * b * s
    # each body reads what its own attentions reach
    windows = spec(SHARED_CACHE.format(outside=outside, window=", window=3"))
    assert same(windows.cost().bytes, 8 * b * s + 15 * 8 * b * Min(s, 3))


def test_a_cache_that_nothing_reads_counts_all_the_same() -> None:
    assert forward("k = cache(x)\nreturn relu(x)", top="dim d = 4").cost().bytes == 8 * b * s


def test_a_kept_value_once_and_a_state_twice() -> None:
    body = """
    m = keep(sound)
    state S[batch_size, 1, d]
    repeat 3 { x = x + last(einsum("b t d, b n d -> b t d", x, m)) + last(einsum("b t d, b n d -> b t d", x, m)) }
    x = einsum("b t d, b n d -> b t d", x, m)
    return x * update(S, last(x))
    """
    model = forward(body, "sound[batch_size, 5, d], x[batch_size, new_tokens, d]", "dim d = 4")
    assert same(model.cost().bytes, (3 + 1) * 40 * b + 2 * 8 * b)
    assert same(model.cost().cache_memory, 40 * b + 8 * b)


@pytest.mark.parametrize(
    ("stored", "calls", "positions"),
    [
        ("", "{}", s),
        ("", "{, window=3}", Min(s, 3 + t - 1)),
        ("", "{, window=3} {, window=5}", Min(s, 5 + t - 1)),
        ("", "{, window=3} {}", s),
        (", window=4", "{}", Min(s, 4)),
        (", window=4", "{, window=3}", Min(s, 4, 3 + t - 1)),
        (", window=2", "{, window=9}", Min(s, 2, 9 + t - 1)),
    ],
)
def test_what_windows_reach_of_a_cache(stored: str, calls: str, positions: Expr) -> None:
    """Whole, at min(seq_len, stored); where all its attentions have a window min(stored, window + new_tokens − 1)."""
    arguments = [call.strip(" {") for call in calls.split("}")[:-1]]
    reads = "\n".join(f"x = x + attention(x, k, k{argument})" for argument in arguments)
    model = forward(f"k = cache(x{stored})\n{reads}\nreturn x", "x[batch_size, new_tokens, 1, 4]", "")
    assert same(moved(model), 8 * b * positions)
    # the same at `traffic`, but for each attention by itself
    alone = row(model, "attention", fidelity="traffic", new_tokens=t).cost
    last = arguments[-1]
    reach = positions if len(arguments) == 1 else s if not last else Min(s, int(last.split("=")[1]) + t - 1)
    assert same(alone.cache_read_bytes, 8 * b * reach)
    # prefill's queries reach everything that is stored
    length = Min(s, int(stored.split("=")[1])) if stored else s
    whole = model.cost("prefill").evaluate(batch_size=1, seq_len=50).bytes
    assert whole == 8 * length.subs(s, 50)


def test_a_cache_that_an_einsum_takes_is_read_whole() -> None:
    body = 'k = cache(x)\ny = attention(x, k, k, window=3)\nreturn y + einsum("b t h d, b s h d -> b t h d", x, k)'
    assert moved(forward(body, "x[batch_size, new_tokens, 1, 4]", "")) == 8 * b * s


def test_slices_of_one_cache_are_one_storage() -> None:
    """Latent attention: keys are the whole cache, values a slice of it."""
    body = "kept = cache(x)\nvalues, rest = split(kept, [3, 2])\nreturn attention(x, kept, values)"
    model = forward(body, "x[batch_size, new_tokens, 1, 5]", "")
    assert moved(model) == 10 * b * s
    assert terms(model, "attention")["cache_read_bytes"] == 10 * b * s
    # two slices that do not meet, or that do
    for low, high, width in ((0, 2, 4), (1, 3, 3), (0, 4, 4)):
        body = f"kept = cache(x)\nreturn attention(slice(x, 0, 2), slice(kept, 2, 4), slice(kept, {low}, {high}))"
        model = forward(body, "x[batch_size, new_tokens, 1, 5]", "")
        assert terms(model, "attention")["cache_read_bytes"] == 2 * width * b * s
        # at `cache` a storage counts whole
        assert moved(model) == 10 * b * s


# --- fidelity `traffic`


def test_traffic_of_each_operation() -> None:
    """Values of 2 bytes: weights read, caches read and written, activations in and out."""
    model = spec(MODEL)
    assert terms(model, "lookup") == {"weight_bytes": 16 * b * t, "activation_bytes": 2 * b * t + 16 * b * t}
    found = terms(model, "matmul")
    assert found == {"matmul_flops": 1600 * b * t, "weight_bytes": 1600, "activation_bytes": 16 * b * t + 200 * b * t}
    assert terms(model, "cache") == {"cache_write_bytes": 8 * b * t}
    assert terms(model, "attention") == {
        "matmul_flops": 32 * b * t * s,
        "vector_flops": 10 * b * t * s,
        "cache_read_bytes": 16 * b * s,
        "activation_bytes": 2 * 16 * b * t,
    }
    # fused into their producer: FLOPs and a scale, no activations
    assert terms(model, "rmsnorm") == {"vector_flops": 32 * b * t, "weight_bytes": 16}
    assert terms(model, "rope") == {"vector_flops": 12 * b * t}
    assert terms(model, "+") == {"vector_flops": 8 * b * t}


def test_the_sum_of_the_traffic() -> None:
    layer_weights = 2 * (64 + 32 + 32 + 64 + 8)
    # Wq in 8 out 8, Wk and Wv in 8 out 4, attention in 8 out 8, Wo in 8 out 8 values a token
    layer_activations = 2 * (16 + 12 + 12 + 16 + 16)
    layer_caches = 16 * b * s + 16 * b * t
    ends = 16 * b * t + 18 * b * t + 16 + 1600 + 216 * b * t
    wanted = 3 * (layer_weights + layer_activations * b * t + layer_caches) + ends
    assert same(moved(spec(MODEL), fidelity="traffic"), wanted)
    cost = table(spec(MODEL), fidelity="traffic", new_tokens=t)
    # a norm of 8, 3·8 and 3·4 in rope, 8 added; 5·2 a pair
    vector = b * t * (3 * (4 * 8 + 24 + 12 + 8) + 4 * 8) + 3 * 10 * b * t * s
    assert same(cost.vector_flops, vector)
    assert same(cost.flops, cost.matmul_flops + vector)
    assert same(table(spec(MODEL), new_tokens=t).flops, cost.matmul_flops)


def test_nothing_fused() -> None:
    """Norms and elementwise work move what they take and give, and attention its scores: out and in, twice."""
    model = spec(MODEL)
    assert terms(model, "rmsnorm", fusion="none")["activation_bytes"] == 2 * 16 * b * t
    assert terms(model, "rope", fusion="none")["activation_bytes"] == 2 * 8 * b * t
    assert terms(model, "+", fusion="none")["activation_bytes"] == 3 * 16 * b * t
    assert terms(model, "cache", fusion="none") == {"cache_write_bytes": 8 * b * t, "activation_bytes": 8 * b * t}
    assert same(terms(model, "attention", fusion="none")["activation_bytes"], 2 * 16 * b * t + 4 * 2 * (2 * b * t * s))
    extra = forward(
        "return attention(x, x, x, softcap=5, bias=true, sinks=true)", "x[batch_size, new_tokens, 1, 4]", ""
    )
    assert same(terms(extra, "attention")["activation_bytes"], 2 * 8 * b * t)
    assert same(
        terms(extra, "attention", fusion="none")["activation_bytes"], 2 * 8 * b * t + (4 + 2 + 2) * 2 * b * t**2
    )
    # it is another thing than the fidelity
    for fidelity in ("params", "cache"):
        assert moved(model, fidelity=fidelity, fusion="none") == moved(model, fidelity=fidelity)


def test_what_an_operation_takes_twice_it_reads_once() -> None:
    squared = forward('return einsum("b t d, b t d -> b t", x, x)', top="dim d = 4")
    assert terms(squared, "einsum")["activation_bytes"] == 8 * b * t + 2 * b * t
    overlap = forward('return einsum("b t d, b t d -> b t", slice(x, 0, 3), slice(x, 1, 4))', top="dim d = 4")
    assert terms(overlap, "einsum")["activation_bytes"] == 8 * b * t + 2 * b * t
    apart = forward('return einsum("b t d, b t d -> b t", slice(x, 0, 1), slice(x, 3, 4))', top="dim d = 4")
    assert terms(apart, "einsum")["activation_bytes"] == 4 * b * t + 2 * b * t
    nested = forward(
        'y = slice(x, 1, 5)\nreturn einsum("b t d, b t d -> b t", slice(y, 0, 2), slice(x, 2, 4))', top="dim d = 6"
    )
    # positions 1 to 3 and 2 to 4 are 3 in all
    assert terms(nested, "einsum")["activation_bytes"] == 6 * b * t + 2 * b * t
    own = forward("y = own(x, x)\nreturn y", top="dim d = 4 op own(x[b, t, c], y[b, t, c]) -> [b, t] {}")
    assert terms(own, "own")["activation_bytes"] == 8 * b * t + 2 * b * t
    weight = forward('weight A[d, d]\nreturn x * einsum("a c, c e -> e", A, A)', top="dim d = 4")
    assert terms(weight, "einsum") == {"matmul_flops": 128, "weight_bytes": 32, "activation_bytes": 8}


def test_weights_as_they_are_used() -> None:
    body = "weight W[d -> d], bias[d], T[9, d]\nx = matmul(matmul(x, W), W) + bias\nreturn x + lookup(ids, T)"
    model = forward(body, "x[batch_size, new_tokens, d], ids[batch_size, new_tokens]", "dim d = 4")
    weights = [
        r.cost.map(table(model, fidelity="traffic").put_in).weight_bytes for r in table(model, fidelity="traffic").rows
    ]
    assert weights == [32, 32, 8, 8 * b, 0]
    # at `cache` each once
    assert model.cost().bytes == 32 + 8 + 72


def test_traffic_of_a_convolution() -> None:
    body = "return conv1d(x, kernel=3, out=6, causal=true, bias=true)"
    assert terms(forward(body, top="dim d = 4"), "conv1d") == {
        "matmul_flops": 2 * b * t * 3 * 4 * 6,
        "weight_bytes": 2 * (3 * 4 * 6 + 6),
        "cache_read_bytes": 2 * 2 * 4 * b,
        "cache_write_bytes": 2 * 2 * 4 * b,
        "activation_bytes": 2 * (4 + 6) * b * t,
    }


def test_traffic_of_experts() -> None:
    """Weights as the expected distinct experts, activations k times."""
    body = "return route(x, experts=8, top_k=2) { weight W[d -> 5] return matmul(x, W) }"
    model = forward(body, top="dim d = 4")
    found = terms(model, "matmul")
    assert same(found["weight_bytes"], 40 * 8 * (1 - Rational(3, 4) ** (b * t)))
    assert found["activation_bytes"] == 2 * (8 + 10) * b * t
    assert found["matmul_flops"] == 2 * 40 * b * t
    assert terms(model, "route") == {"vector_flops": 20 * b * t}
    assert terms(model, "route", fusion="none")["activation_bytes"] == 2 * 10 * b * t + 10 * b * t


def test_what_is_kept_in_a_route_moves_k_times() -> None:
    body = """
    y = route(x, experts=8, top_k=3) {
        k = cache(x)
        m = keep(relu(x))
        z = conv1d(x, kernel=3, out=d, causal=true)
        return einsum("b t d, b s d -> b t d", z, k) + einsum("b t d, b s d -> b t d", z, m)
    }
    return y
    """
    model = forward(body, top="dim d = 4")
    # without past, as many tokens as the context has: all rows of the cache and of what is kept are written
    assert same(prefill(model, "cache").cache_write_bytes, 3 * 8 * b * s)
    assert same(prefill(model, "keep").cache_write_bytes, 3 * 8 * b * s)
    assert same(prefill(model, "conv1d").cache_write_bytes, 3 * 16 * b)
    assert same(prefill(model, "conv1d").cache_read_bytes, 3 * 16 * b)
    assert same(prefill(model, "einsum").cache_read_bytes, 3 * 8 * b * s)
    assert same(prefill(model, "einsum").activation_bytes, 3 * 2 * 8 * b * s)
    own = "op own(x[b, t, c]) -> [b, t, c] { state S[b, c] read_bytes = 5 write_bytes = 7 }"
    body = "y = route(x, experts=8, top_k=3) { return own(x) }\nreturn y"
    assert terms(forward(body, top=f"dim d = 4 {own}"), "own") == {"activation_bytes": 3 * 12}
    body = body.replace("own(x)", "other(x)")
    other = own.replace("own", "other").replace("read_bytes = 5 write_bytes = 7", "")
    found = terms(forward(body, top=f"dim d = 4 {other}"), "other")
    assert found == {"cache_read_bytes": 24 * b, "cache_write_bytes": 24 * b, "activation_bytes": 3 * 16 * b * t}


def prefill(model: cm.Model, keyword: str) -> Cost:
    return row(model, keyword, "prefill", fidelity="traffic").cost


def test_views_move_nothing() -> None:
    body = "p, q = split(x, [2, 2])\ny = reshape(last(slice(p, 0, 1)), [1])\nreturn q + y"
    model = forward(body, top="dim d = 4")
    for fusion in ("elementwise", "none"):
        assert all(terms(model, view, fusion=fusion) == {} for view in ("split", "slice", "last", "reshape"))


def test_a_variable_carried_out_of_a_weight_is_copied() -> None:
    body = "weight start[d]\ny = start\nrepeat 3 { y = y * 2 }\nreturn x + y"
    assert terms(forward(body, top="dim d = 4"), "carry") == {"weight_bytes": 8, "activation_bytes": 8}


# --- timing

DEVICE = "device here { memory = 1 GB bandwidth = 1 GB/s peak bf16 = 8 GFLOP/s peak vector = 1 GFLOP/s }\n"

# A: 32·b FLOPs over 32 bytes; R: 4·b FLOPs a weight that the graph shares, 32 bytes at its first use
TIMED = """
dim d = 4
graph forward(x[batch_size, new_tokens, d]) {
    weight A[d -> d], R[d -> d]
    x = matmul(x, A)
    repeat 2 { x = matmul(matmul(matmul(x, R), R), A) }
    return relu(x)
}
"""


def nanoseconds(expr: Expr) -> Expr:
    return expr * 10**9


def test_how_times_add_up() -> None:
    """FLOPs: 7·32·b = 224·b over 8 an ns; bytes: A 32·(1 + 2), R 32·2 = 160 over 1 a ns."""
    model = spec(DEVICE + TIMED)
    compute, memory = 28 * b, 160
    for timing in ("overlap", "serial", "per_op"):
        cost = model.cost(device="here", timing=timing)
        assert same(nanoseconds(cost.compute_time), compute)
        assert same(nanoseconds(cost.memory_time), memory)
        # the crossover equates the totals, whatever the timing
        assert model.crossover("here", timing=timing).batch_size.value == Fraction(160, 28)
    for batch in (1, 3, 5, 6, 7, 8, 9, 20):
        at = {timing: model.cost(device="here", timing=timing).evaluate(batch_size=batch) for timing in TIMINGS}
        assert at["overlap"].latency == pytest.approx(max(28 * batch, 160) * 1e-9, rel=1e-12)
        assert at["serial"].latency == pytest.approx((28 * batch + 160) * 1e-9, rel=1e-12)
        # the first A, then twice the first R with its bytes, the second without, A with its own
        per_op = max(4 * batch, 32) + 2 * (max(4 * batch, 32) + 4 * batch + max(4 * batch, 32))
        assert at["per_op"].latency == pytest.approx(per_op * 1e-9, rel=1e-12)


TIMINGS = ("overlap", "serial", "per_op")


def test_times_at_traffic_add_both_peaks() -> None:
    """Vector FLOPs 4·b over 1 an ns; each matmul reads 32 and moves 16·b, relu nothing."""
    cost = spec(DEVICE + TIMED).cost(device="here", fidelity="traffic")
    assert same(nanoseconds(cost.compute_time), 28 * b + 4 * b)
    assert same(nanoseconds(cost.memory_time), 7 * (32 + 16 * b))
    per_op = spec(DEVICE + TIMED).cost(device="here", fidelity="traffic", timing="per_op")
    assert same(nanoseconds(per_op.latency).subs(b, 3), 7 * max(12, 32 + 48) + 12)


def test_a_peak_is_needed_only_where_its_flops_are() -> None:
    bare = "device bare { memory = 1 GB bandwidth = 1 GB/s peak bf16 = 8 GFLOP/s }\n"
    assert same(nanoseconds(spec(bare + TIMED).cost(device="bare").compute_time), 28 * b)
    with pytest.raises(cm.SpecError, match="no peak for vector work"):
        _ = spec(bare + TIMED).cost(device="bare", fidelity="traffic").compute_time
    without = spec(bare + TIMED.replace("relu(x)", "x"))
    assert same(nanoseconds(without.cost(device="bare", fidelity="traffic").compute_time), 28 * b)
    none = (
        "device none_at_all { memory = 1 GB bandwidth = 1 GB/s }\n"
        + "graph forward(x[batch_size, 4]) { return cache2(x) }"
    )
    idle = spec(none + " op cache2(x[b, c]) -> [b, c] {}")
    assert idle.cost(device="none_at_all").compute_time == 0


def test_activation_memory() -> None:
    """The largest, over operations, of inputs and outputs that are activations, with what the repeats carry."""
    body = """
    weight W[d -> 3 * d]
    kept = cache(x)
    y = relu(x)
    repeat 2 {
        z = matmul(x, W)
        x, rest = split(z, [d, 2 * d])
    }
    return concat(x, y)
    """
    model = forward(body, top="dim d = 4")
    # relu 8 + 8, matmul 8 (which is x, carried) + 24, concat 8 + 8 + 16: the split is a view of 24
    cost = model.cost(fidelity="traffic", new_tokens=5)
    assert cost.activation_memory == 5 * 32 * b
    assert same(cost.memory, cost.weight_memory + cost.cache_memory + 160 * b)
    assert same(model.cost().memory, cost.weight_memory + cost.cache_memory)
    # what does not run holds nothing: a `repeat` of 0, an encoder behind a `keep`
    idle = forward(
        "repeat n { weight W[d -> 99] y = matmul(x, W) x = relu(x) }\nreturn relu(x)", top="dim d = 4 dim n = 0"
    )
    assert idle.cost().activation_memory == 16 * b
    assert idle.set(n=1).cost().activation_memory == (8 + 198) * b
    heard = forward("m = keep(relu(a))\nreturn x + last(m)", "a[batch_size, 50, 4], x[batch_size, 1, 4]", "")
    assert heard.cost("prefill").activation_memory == 2 * 400 * b
    assert heard.cost("decode").activation_memory == 16 * b
    carried = forward("y = relu(x)\nrepeat 2 { y = exp(y) x = x + last(relu(y)) }\nreturn x + y", top="dim d = 4")
    # x + last(…): x carried and in, the other in, the result, and y carried
    assert carried.cost(new_tokens=1).activation_memory == 4 * 8 * b
    # caches, states, weights and kept values are no activations
    attention = forward("k = cache(x)\nreturn attention(x, k, k)", "x[batch_size, new_tokens, 1, 4]", "")
    assert attention.cost().activation_memory == 16 * b
    twice = forward('return einsum("b t d, b t d -> b t", x, x)', top="dim d = 4")
    assert twice.cost().activation_memory == 8 * b + 2 * b
    either = forward("weight W[d -> e]\nreturn matmul(x, W)", top="dim d = 4 dim e").cost().activation_memory
    (e,) = dims("e")
    assert either == 8 * b + 2 * b * e
    larger = forward("weight A[d -> e], B[e -> d]\nreturn relu(relu(matmul(matmul(x, A), B)))", top="dim d = 4 dim e")
    assert larger.cost().activation_memory == Max(16 * b, 8 * b + 2 * b * e)


def test_a_route_runs_its_body_k_times_over() -> None:
    body = "return route(x, experts=8, top_k=3) { weight W[d -> 5] return matmul(x, W) }"
    # the matmul's rows are there 3 times: 3·(8 + 10)
    assert forward(body, top="dim d = 4").cost().activation_memory == 54 * b


def test_costs_by_role_of_dtype() -> None:
    text = "dtype weights = fp8 dtype cache = fp32 dtype activations = int4" + MODEL
    wanted = PARAMS + 3 * 32 * b * s
    assert same(spec(text).cost().bytes, wanted)
    assert holds("weight_memory == 1408", text)
    found = terms(spec(text), "attention")
    assert found["cache_read_bytes"] == 32 * b * s
    assert found["activation_bytes"] == 8 * b * t


ROLES = """
dim d = 4
graph forward(x[batch_size, new_tokens, d]) {
    weight W[d -> d], bias[d], Wkept[d -> d] : weights, Wown[d -> d] : fp32
    y = rmsnorm(matmul(matmul(matmul(x, W) + bias, Wkept), Wown))
    return route(y, experts=2, top_k=1) { weight Wexpert[d -> d], b[d] return matmul(y, Wexpert) + b }
}
"""
# W 16, bias 4, Wkept 16, the norm's scale 4, two experts of 16 and 4; and Wown 16 in fp32


@pytest.mark.parametrize(
    ("lines", "size"),
    [
        ("", 2 * (16 + 4 + 16 + 4 + 32 + 8)),
        ("dtype weights = fp8", 16 + 4 + 16 + 4 + 32 + 8),
        ("dtype matrices = fp8", 16 + 32 + 2 * (4 + 16 + 4 + 8)),
        ("dtype experts = int4", 16 + 2 * (16 + 4 + 16 + 4 + 8)),
        ("dtype matrices = fp8 dtype experts = int4", 16 + 16 + 2 * (4 + 16 + 4 + 8)),
        ("dtype weights = fp32 dtype experts = fp8", 32 + 4 * (16 + 4 + 16 + 4 + 8)),
    ],
)
def test_narrower_roles_of_weights(lines: str, size: int) -> None:
    """Vectors, and matrices that say so, stay `weights`; what is said at a weight goes before every role."""
    assert spec(lines + ROLES).cost().weight_memory == size + 64
    settings = {f"dtype.{role}": name for role, name in re.findall(r"dtype (\w+) = (\w+)", lines)}
    assert spec(ROLES).set(**settings).cost().weight_memory == size + 64


def test_a_role_that_no_weight_can_have() -> None:
    assert [d.message for d in faults("model m graph forward(x[2]) { weight W[2] : cache return x + W }")] == [
        "there is no dtype `cache`"
    ]
