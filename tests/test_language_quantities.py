"""docs/language.md 5 to 7: devices, quantities, and the worked figures. Figures are worked out by hand."""

from __future__ import annotations

from fractions import Fraction

import pytest
from sympy import Max, Rational

import costmodel as cm
from costmodel.conditions import Setting, evaluate
from costmodel.device import devices_of
from costmodel.parser import parse_condition
from costmodel.quantity_names import QUANTITIES
from costmodel.source import Source
from costmodel.symbols import acceptance_rate, drafts, output_len, prompt_len

from .language import b, codes, forward, holds, refused, s, same, spec, table

NVL = """
device h100_nvl "NVIDIA H100 NVL 94 GB" {
    memory = 94 GB;  bandwidth = 3.9 TB/s
    peak bf16 = 835.5 TFLOP/s;  peak fp8 = 1671 TFLOP/s;  peak vector = 60 TFLOP/s
    price = 2.5 USD/h
    source = "vendor's data sheet, dense figures"
}
"""


# --- 5. devices


def test_a_device() -> None:
    device = devices_of(spec(NVL).compiled.program)["h100_nvl"]
    assert (device.name, device.title) == ("h100_nvl", "NVIDIA H100 NVL 94 GB")
    assert device.memory == 94 * 10**9
    assert device.bandwidth == 39 * 10**11
    assert device.peaks == {"bf16": 8355 * 10**11, "fp8": 1671 * 10**12, "vector": 6 * 10**13}
    assert device.price == Rational(25, 36000)
    assert device.source == "vendor's data sheet, dense figures"
    assert not device.sparse
    four = device.times(4)
    assert (four.memory, four.bandwidth, four.peaks["bf16"]) == (376 * 10**9, 156 * 10**11, 33420 * 10**11)


@pytest.mark.parametrize(
    ("unit", "size", "of"),
    [
        ("B", 1, "memory"),
        ("kB", 10**3, "memory"),
        ("MB", 10**6, "memory"),
        ("GB", 10**9, "memory"),
        ("TB", 10**12, "memory"),
        ("KiB", 2**10, "memory"),
        ("MiB", 2**20, "memory"),
        ("GiB", 2**30, "memory"),
        ("TiB", 2**40, "memory"),
        ("B/s", 1, "bandwidth"),
        ("GB/s", 10**9, "bandwidth"),
        ("TB/s", 10**12, "bandwidth"),
        ("GFLOP/s", 10**9, "peak bf16"),
        ("TFLOP/s", 10**12, "peak bf16"),
        ("PFLOP/s", 10**15, "peak bf16"),
        ("USD/h", Fraction(1, 3600), "price"),
    ],
)
def test_units_of_a_device(unit: str, size: int | Fraction, of: str) -> None:
    fields = {"memory": "1 GB", "bandwidth": "1 GB/s", "peak bf16": "1 TFLOP/s", "price": "1 USD/h"} | {
        of: f"2.5 {unit}"
    }
    text = f"device one {{ {'; '.join(f'{name} = {value}' for name, value in fields.items())} }}"
    device = devices_of(spec(text).compiled.program)["one"]
    found = device.peaks["bf16"] if of == "peak bf16" else getattr(device, of)
    assert found == Rational(5, 2) * Rational(size)
    # and none in the place of another
    for other in {"memory", "bandwidth", "peak bf16", "price"} - {of}:
        wrong = "; ".join(f"{name} = {value}" for name, value in (fields | {other: f"1 {unit}"}).items())
        assert codes(f"device one {{ {wrong} }}") == {"dimension"}


@pytest.mark.parametrize(
    ("condition", "ok"),
    [
        ('latency(device="one", batch_size=1) == 64 ms', True),
        ('latency(device="one", batch_size=1) == 0.064 s', True),
        ('latency(device="one", batch_size=1) == 64_000 us', True),
        ('memory_time(device="one") < 0.065 s', True),
        ("weight_memory == 64 B", True),
        ("weight_memory == 0.0625 KiB", True),
        ('weight_memory / memory_time(device="one") == 1 kB/s', True),
        ("flops(batch_size=5) / 1 s == 320e-9 GFLOP/s", True),
    ],
)
def test_units_of_a_condition(condition: str, ok: bool) -> None:
    text = """
    dim d = 4
    device one { memory = 1 GB bandwidth = 1000 B/s peak bf16 = 1 TFLOP/s }
    graph forward(x[batch_size, new_tokens, d]) { weight W[d -> 2 * d] return matmul(x, W) }
    """
    assert holds(condition, text) is ok


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ("memory = 1 GB", "device"),
        ("bandwidth = 1 GB/s", "device"),
        ("memory = 1 GB bandwidth = 1 GB/s memory = 2 GB", "duplicate"),
        ("memory = 1 GB bandwidth = 1 GB/s peak bf16 = 1 TFLOP/s peak bf16 = 1 TFLOP/s", "duplicate"),
        ("memory = 1 GB bandwidth = 1 GB/s peak = 1 TFLOP/s", "syntax"),
        ("memory = 1 GB bandwidth = 1 GB/s peak bf61 = 1 TFLOP/s", "unknown-name"),
        ("memory = 1 GB bandwith = 1 GB/s bandwidth = 1 GB/s", "unknown-name"),
        ("memory = 1 GBit bandwidth = 1 GB/s", "unknown-name"),
        ("memory = 0 GB bandwidth = 1 GB/s", "negative"),
        ("memory = 94 bandwidth = 1 GB/s", "dimension"),
        ("memory = 1 GB bandwidth = 1 GB/s source = 3", "type"),
        ("memory = memory bandwidth = 1 GB/s", "type"),
    ],
)
def test_no_device(fields: str, code: str) -> None:
    assert codes(f"device one {{ {fields} }}") == {code}


def test_a_device_may_compute_its_figures() -> None:
    text = "device two { memory = 2 * 40 GB bandwidth = 2 * (1 TB/s + 500 GB/s) peak bf16 = 0.5 * 1 PFLOP/s }"
    device = devices_of(spec(text).compiled.program)["two"]
    assert (device.memory, device.bandwidth, device.peaks["bf16"]) == (80 * 10**9, 3 * 10**12, 5 * 10**14)


def test_shipped_devices_are_dense_unless_their_name_says_sparse() -> None:
    dense, sparse = (cm.load("llama-3.1:8b").cost(device=name) for name in ("h100-nvl", "h100-nvl-sparse"))
    assert dense.quantities.matmul_peak == 8355 * 10**11
    assert sparse.quantities.matmul_peak == 1671 * 10**12
    assert dense.quantities.device.memory == 94 * 10**9  # type: ignore[union-attr]


# --- 6. quantities

SMALL = """
dim d = 4 dim v = 9 dim layers = 3
graph forward(x[batch_size, new_tokens, 1, d]) {
    repeat layers {
        weight W[1, d -> 1, d], table[v]
        k = cache(x)
        x = attention(matmul(x, W), k, k)
        x = route(x, experts=5, top_k=2) { weight A[1, d -> 1, d] return relu(matmul(x, A)) }
    }
    return x
}
graph other(x[batch_size, v]) { weight V[v -> v] return matmul(x, V) }
device one "One" {
    memory = 10 kB bandwidth = 1 GB/s
    peak bf16 = 8 GFLOP/s peak fp8 = 16 GFLOP/s peak vector = 2 GFLOP/s
    price = 3.6 USD/h
}
"""
# a layer: W 16, a table that nothing uses 9, 5 experts of 16; the other graph 81
PARAMS, ACTIVE, WEIGHTS = 3 * (16 + 9 + 80) + 81, 3 * (16 + 9 + 32) + 81, 2 * 396
# a token of a layer: 32, attention 16 a position, 2 experts of 32
FLOPS = 3 * (32 + 16 * s + 64) * b
# W 32, K and V are one cache of 8 a position, experts 5·(1 − (3/5)^b) of 32
BYTES = 3 * (32 + 8 * b * s + 160 * (1 - Rational(3, 5) ** b))


def test_every_quantity() -> None:
    assert (PARAMS, ACTIVE) == (396, 252)
    cost = spec(SMALL).cost(device="one", timing="serial")
    assert cost.params == PARAMS
    assert cost.active_params == ACTIVE
    assert same(cost.flops, FLOPS)
    assert same(cost.matmul_flops, FLOPS)
    # 5 a pair; relu 4 and the weighted sum 2·4 for each of 2 experts
    assert same(cost.vector_flops, 3 * (5 * s + 8 + 16) * b)
    assert same(cost.bytes, BYTES)
    assert cost.weight_memory == WEIGHTS
    assert same(cost.cache_memory, 3 * 8 * b * s)
    # relu's 4 in and 4 out, each twice over, and the 4 that are carried beside them
    assert cost.activation_memory == 2 * (8 + 8) * b + 8 * b
    assert same(cost.memory, WEIGHTS + 24 * b * s)
    assert same(cost.intensity - FLOPS / BYTES, 0)
    assert cost.ridge == 8
    assert same(cost.compute_time, FLOPS / (8 * 10**9))
    assert same(cost.memory_time, BYTES / 10**9)
    time = FLOPS / (8 * 10**9) + BYTES / 10**9
    assert same(cost.latency, time)
    assert (cost.throughput * time - b).simplify() == 0
    assert (cost.cost_per_million_tokens * b - Rational(36, 36000) * 10**6 * time).simplify() == 0
    traffic = spec(SMALL).cost(fidelity="traffic", device="one")
    assert same(traffic.memory, WEIGHTS + 24 * b * s + 40 * b)
    assert same(traffic.flops, FLOPS + traffic.vector_flops)
    assert same(traffic.compute_time, FLOPS / (8 * 10**9) + traffic.vector_flops / (2 * 10**9))


def test_quantities_at_a_point() -> None:
    """2 sequences of 10 tokens: 1,536 FLOPs, 883.2 bytes, 16/25 of the experts being read."""
    at = spec(SMALL).cost(device="one").evaluate(batch_size=2, seq_len=10)
    assert at.flops == 3 * (96 + 160) * 2 == 1536
    # 3·(32 + 160 + 160·16/25)
    assert at.bytes == 883.2
    assert at.compute_time == pytest.approx(192e-9, rel=1e-12)
    assert at.latency == at.memory_time == pytest.approx(883.2e-9, rel=1e-12)
    assert at.throughput == pytest.approx(2 / 883.2e-9, rel=1e-12)
    # 3.6 USD/h is a tenth of a cent a second
    assert at.cost_per_million_tokens == pytest.approx(0.001 * 883.2e-9 / 2 * 10**6, rel=1e-12)
    # 10,000 − 792 bytes are left for 240 a sequence
    assert at.max_batch_size == 38


def test_figures_that_cannot_be_put_in() -> None:
    model = forward(
        "weight W[d -> d]\nreturn matmul(x, W)", top="dim d = 4 dim e\nphase two { new_tokens = 2 seq_len = 9 }"
    )
    cost = model.cost()
    for figures, match in (
        ({"batch_size": 0}, "batch_size is 0: a whole number, 1 or more"),
        ({"seq_len": 2.5}, "seq_len is 5/2: a whole number"),
        ({"e": -1}, "e is -1: a whole number, 0 or more"),
        ({"acceptance_rate": 1.5}, "more than 0 and at most 1"),
        ({"d": 8}, "`d` is 4 here"),
        ({"new_tokens": 8}, "`new_tokens` is 1 here"),
        ({"batchsize": 8}, "no dim `batchsize`"),
    ):
        with refused(match):
            cost.evaluate(**figures)
    with refused("`seq_len` is 9 here"):
        model.cost("two").evaluate(batch_size=1, seq_len=16)
    for options in ({"count": 0}, {"memory_fraction": 0}, {"new_tokens": 0}, {"new_tokens": 1.5}):
        with refused("is needed"):
            model.cost(device="h100-sxm", **options)
    for argument in ("batch_size=2.5", "new_tokens=1.5", "seq_len=0", "prompt_len=0", "acceptance_rate=2", "count=0"):
        with refused("is needed"):
            holds(f"flops({argument}) == 1", "dim d = 4 graph forward(x[batch_size, new_tokens, d]) { return relu(x) }")


def test_dims_must_be_possible_with_the_figures_put_in() -> None:
    top = "dim d dim heads dim size = d / heads dim chunks = seq_len / 4"
    body = "weight W[d -> heads, size], V[d -> 2, size]\nreturn attention(matmul(x, W), matmul(x, V), matmul(x, V))"
    cost = forward(body, top=top).cost()
    assert cost.evaluate(d=24, heads=4).params == 24 * 24 + 24 * 2 * 6
    with refused("`size` is 24/5, which is no whole number"):
        cost.evaluate(d=24, heads=5)
    with refused("`chunks` is 9/4, which is no whole number"):
        cost.evaluate(seq_len=9)
    # shapes that only these figures make wrong
    with refused("cannot share 2 key heads among 3 query heads"):
        cost.evaluate(d=24, heads=3)
    with refused("is 0"):
        cost.evaluate(d=0, heads=4)


def test_more_memory_than_is_advertised() -> None:
    """An HBM card reports up to 7 % more: its GB are GiB."""
    at = spec(SMALL).cost(device="one", memory_fraction=1.07).evaluate(seq_len=10)
    # 10,700 − 792 bytes for 240 a sequence
    assert at.max_batch_size == 41


def test_a_condition_with_a_device() -> None:
    model = spec(SMALL).compiled
    setting = Setting(device=devices_of(model.program)["one"])
    for condition in (
        "device.memory == 10 kB",
        "device.bandwidth == 1 GB/s",
        "device.peak == 8 GFLOP/s",
        "device.peak.fp8 == 16 GFLOP/s",
        "device.peak.vector == 2 GFLOP/s",
        "device.price == 3.6 USD/h",
        "memory(batch_size=38, seq_len=10) <= device.memory",
        "memory(batch_size=39, seq_len=10) > device.memory",
        "ridge == device.peak / device.bandwidth",
    ):
        outcome = evaluate(model, parse_condition(Source("condition", condition)), setting)
        assert outcome.holds is True, condition
    for condition in ("device.peak.fp4 > 1 GFLOP/s", "device.memry > 1 GB", "device.memory > 1 GB/s"):
        with refused("states no|in bytes"):
            evaluate(model, parse_condition(Source("condition", condition)), setting)


def test_throughput_is_in_tokens_or_in_sequences() -> None:
    prefill = spec(SMALL).cost("prefill", device="one").evaluate(batch_size=2, seq_len=10)
    assert prefill.throughput == pytest.approx(20 / prefill.latency, rel=1e-12)
    for phase in ("decode", "prefill"):
        other = spec(SMALL).cost(phase, graph="other", device="one").evaluate(batch_size=2, seq_len=10)
        assert other.flops == 2 * 162
        assert other.throughput == pytest.approx(2 / 162e-9, rel=1e-12)


def test_quantities_need_their_device_price_and_peak() -> None:
    for name, quantity in QUANTITIES.items():
        if quantity.device:
            with refused(f"`{name}` needs a device"):
                getattr(spec(SMALL).cost(), name)
    text = SMALL.replace("price = 3.6 USD/h", "")
    assert spec(text).cost(device="one").latency is not None
    with refused("states no price"):
        _ = spec(text).cost(device="one").cost_per_million_tokens
    with refused("no peak for int8"):
        _ = spec(text).set(**{"dtype.compute": "int8"}).cost(device="one").latency


@pytest.mark.parametrize(
    "condition",
    [
        'flops(phase="prefill", batch_size=1, seq_len=10) == 7680',
        "flops(batch_size=2, seq_len=10) == 1536",
        "flops(new_tokens=2, batch_size=1, seq_len=10) == 1536",
        'bytes(fidelity="params") == weight_memory',
        'flops(fidelity="params", batch_size=1) == 2 * active_params',
        'flops(graph="other", batch_size=1) == 162',
        "params(layers=0) == 81",
        "params(layers=2 * layers) == 2 * params - 81",
        "active_params < params",
        'matmul_flops(batch_size=1, seq_len=10, phase="prefill", masked="exact") <= 7680',
        'vector_flops(fidelity="traffic", batch_size=1, seq_len=10) == 3 * 74',
        'flops(fidelity="traffic", batch_size=1, seq_len=10) == 768 + 222',
        "cache_memory(batch_size=1, seq_len=10) == 240 B",
        "memory(batch_size=1, seq_len=10) == 1032",
        "activation_memory(batch_size=1) == 40",
        'memory(batch_size=1, seq_len=10, fidelity="traffic") == 1072',
        'ridge(device="one") == 8',
        'ridge(device="one", count=4) == 8',
        'compute_time(device="one", batch_size=2, seq_len=10) == 192e-9 s',
        'compute_time(device="one", batch_size=2, seq_len=10, count=2) == 96e-9 s',
        'max_batch_size(device="one", seq_len=10) == 38',
        'max_batch_size(device="one", seq_len=10, memory_fraction=0.5) == 17',
        'latency(device="one", batch_size=2, seq_len=10) ~= 883.2e-9 s',
        'latency(device="one", batch_size=2, seq_len=10, timing="serial") ~= 1075.2e-9 s',
        'crossover(device="one", graph="other") ~= 8.00',
        'intensity(fidelity="params", batch_size=3) == 6 * 252 / 792',
        "dim.layers == 3",
        "layers == 3",
        "expected_tokens(acceptance_rate=0.5, drafts=3) == 1.875",
    ],
)
def test_a_condition(condition: str) -> None:
    assert holds(condition, SMALL)


def test_a_condition_names_the_quantity_first_and_the_dim_behind_a_dot() -> None:
    text = "dim flops = 3 graph forward(x[batch_size, flops]) { weight W[flops -> 2] return matmul(x, W) }"
    assert holds("flops(batch_size=1) == 12", text)
    assert holds("dim.flops == 3", text)
    assert holds("flops(batch_size=1, flops=5) == 20", text)
    for condition in ("device.memory >= 1 GB", "device.peak >= 1 GFLOP/s"):
        with refused("needs a device"):
            holds(condition, SMALL)


def test_a_request() -> None:
    """A prefill of p tokens makes the first, then a step for each of the others, at p + 1, p + 2, …"""
    cost = spec(SMALL).cost(device="one", timing="serial")
    p, n = prompt_len, output_len
    first = 3 * (96 + 16 * p) * b * p
    steps = 3 * b * (96 * (n - 1) + 16 * ((n - 1) * p + n * (n - 1) / 2))
    assert same(cost.request_flops, first + steps)
    for name in ("ttft", "tpot", "request_time", "request_cost"):
        assert QUANTITIES[name].device
    at = cost.evaluate(batch_size=1, prompt_len=10, output_len=3)
    assert at.request_flops == 7680 + (3 * (96 + 176) + 3 * (96 + 192))
    # a step at 11 and at 12: 3·(32 + 8·s + 64) bytes
    passes = [(7680, 3 * (32 + 80 + 160 * (1 - 0.6**10))), (816, 3 * (96 + 88)), (864, 3 * (96 + 96))]
    times = [flops / 8e9 + moved / 1e9 for flops, moved in passes]
    assert at.request_bytes == pytest.approx(sum(moved for _, moved in passes), rel=1e-12)
    assert at.ttft == pytest.approx(times[0], rel=1e-12)
    assert at.tpot == pytest.approx((times[1] + times[2]) / 2, rel=1e-12)
    assert at.request_time == pytest.approx(sum(times), rel=1e-12)
    assert at.request_cost == pytest.approx(0.001 * sum(times), rel=1e-12)
    # 1 + 1/2 + 1/4 + 1/8 of 3 drafts, each accepted every other time
    assert cost.expected_tokens.subs({acceptance_rate: Rational(1, 2), drafts: 3}) == Rational(15, 8)


# --- 7. the worked figures


def llama() -> cm.Model:
    return cm.load("llama-3.1:8b")


def test_the_worked_figures() -> None:
    """Llama-3.1-8B, bf16, decode, 8,192 tokens, fidelity `cache`."""
    cost = llama().cost()
    assert cost.params == 8_030_261_248
    assert cost.weight_memory == 16_060_522_496
    assert cost.flops.subs(s, 8192) == 19_304_284_160 * b
    assert cost.cache_memory.subs(s, 8192) == 1_073_741_824 * b
    assert same(cost.bytes.subs(s, 8192), 16_060_522_496 + 1_073_741_824 * b)


@pytest.mark.parametrize(
    ("device", "value", "critical"), [("h100-nvl-sparse", "-15.6126", "269.78"), ("h100-nvl", "-16.3278", "544.70")]
)
def test_the_worked_crossovers(device: str, value: str, critical: str) -> None:
    """b* = M₀ / (F₁·W/P − M₁): memory-bound at every batch; the largest batch in 94 GB is 72."""
    answer = llama().crossover(device, seq_len=8192)
    peak = Fraction("1671") if device == "h100-nvl-sparse" else Fraction("835.5")
    ratio = Fraction("3.9") / peak
    exact = 16_060_522_496 / (19_304_284_160 * ratio - 1_073_741_824)
    assert answer.batch_size.value == exact
    assert f"{float(exact):.4f}" == value
    assert answer.status == "never"
    assert answer.max_batch_size.value == (94 * 10**9 - 16_060_522_496) // 1_073_741_824 == 72
    assert answer.optimal_batch_size == 72
    assert answer.limited_by == "memory"
    assert answer.solved is not None
    assert answer.solved.roots == ()
    # where F₁·W/P = M₁: (15,009,316,864 + 524,288·s)·W/P = 131,072·s
    context = 15_009_316_864 * ratio / (131_072 - 524_288 * ratio)
    assert answer.critical_seq_len.value == context
    assert f"{float(context):.2f}" == critical
    for seq_len, status in ((int(context), "beyond_memory"), (int(context) + 1, "never")):
        assert llama().crossover(device, seq_len=seq_len).status == status


def test_the_rounded_figures() -> None:
    """With 19.3e9, 16e9 and 1e9 it is −16.75 (the text's own rounding of the figures)."""
    text = """
    op rounded(x[b, t, c]) -> [b, t, c] {
        weight W[8_000_000_000]
        state S[b, 250_000_000]
        matmul_flops = 19_300_000_000 * b
    }
    graph forward(x[batch_size, new_tokens, 1]) { return rounded(x) }
    """
    answer = spec(text).crossover("h100-nvl-sparse", seq_len=8192)
    exact = Fraction(16 * 10**9) / (Fraction("19.3e9") * Fraction("3.9") / 1671 - 10**9)
    assert answer.batch_size.value == exact
    assert f"{float(exact):.2f}" == "-16.75"


def test_the_crossover_at_fidelity_params() -> None:
    """b* = M₀·P / (F₁·W) = 1671 / 3.9 where F₁ is 2·A and M₀ is 2·A bytes: 428.46."""
    answer = llama().crossover("h100-nvl-sparse", seq_len=8192, fidelity="params")
    assert answer.batch_size.value == Fraction(1671 * 10, 39)
    assert f"{float(Fraction(16710, 39)):.2f}" == "428.46"


def test_the_condition_of_feasibility_is_exact() -> None:
    """Finite and positive exactly where F₁·W/P > M₁."""
    text = "op own(x[b, t, c]) -> [b, t, c] {{ weight W[1000] state S[b, {}] matmul_flops = {} * b }}"
    device = "device one { memory = 1 TB bandwidth = 1 GB/s peak bf16 = 1 GFLOP/s }"
    graph = "graph forward(x[batch_size, new_tokens, 1]) { return own(x) }"
    for state, flops, status, value in (
        (1, 5, "crosses", Fraction(2000, 5 - 4)),
        (1, 4, "never", None),
        (1, 3, "never", Fraction(2000, 3 - 4)),
        (1, 2004, "crosses", Fraction(1)),
        (1, 2003, "crosses", Fraction(2000, 1999)),
        (1, 4004, "always", Fraction(1, 2)),
    ):
        answer = spec(f"{text.format(state, flops)} {device} {graph}").crossover("one")
        assert (answer.status, answer.batch_size.value) == (status, value), (state, flops)


def test_what_must_fit() -> None:
    """Weights and caches; at `traffic` the peak activations too; a batch that nothing limits is null."""
    body = "weight W[d -> d]\nk = cache(x)\nreturn matmul(x, W)"
    device = "device one { memory = 1 kB bandwidth = 1 GB/s peak bf16 = 1 GFLOP/s peak vector = 1 GFLOP/s }"
    model = forward(body, top=f"dim d = 4 {device}")
    # (1000 − 32) / 80 at 10 tokens; 16 more a sequence at `traffic`
    for fidelity, largest in (("params", 12), ("cache", 12), ("traffic", 10)):
        assert model.cost(device="one", fidelity=fidelity).evaluate(seq_len=10).max_batch_size == largest
    half = model.cost(device="one", memory_fraction=0.5).evaluate(seq_len=10)
    assert half.max_batch_size == 5
    unbounded = forward("weight W[d -> d]\nreturn matmul(x, W)", top=f"dim d = 4 {device}").crossover("one")
    assert unbounded.max_batch_size.value is None
    tight = forward(body, top=f"dim d = 20 {device}").crossover("one", seq_len=10)
    # 800 bytes of weights leave 200 for 400 a sequence
    assert tight.status == "does_not_fit"
    assert tight.optimal_batch_size is None


def test_statuses_at_their_edges() -> None:
    text = "op own(x[b, t, c]) -> [b, t, c] {{ weight W[{}] : 8 bits state S[b, 1] matmul_flops = {} }}"
    device = "device one { memory = 100 kB bandwidth = 1 GB/s peak bf16 = 1 GFLOP/s }"
    graph = "graph forward(x[batch_size, new_tokens, 1]) { return own(x) }"

    def answer(weights: int, flops: str) -> cm.Crossover:
        return spec(f"{text.format(weights, flops)} {device} {graph}").crossover("one")

    # bytes are the weights' and 4 a sequence, of which 2 are held
    assert answer(40, "8 * b").status == "crosses"
    assert answer(40, "8 * b").batch_size.value == answer(40, "8 * b").optimal_batch_size == 10
    assert answer(41, "8 * b").optimal_batch_size == 11
    # a FLOP too few at every batch size
    assert answer(2, "4 * b + 1").status == "never"
    # equal everywhere
    assert answer(4, "4 * b + 4").status == "always"
    assert answer(4, "4 * b + 4").optimal_batch_size == 1
    # compute-bound up to 2 sequences: the more the better, until memory ends
    leaves = answer(4, "2 * b + 8")
    assert (leaves.status, leaves.batch_size.value, leaves.optimal_batch_size) == ("leaves", 2, 49_998)
    assert answer(4, "2 * b + 8").limited_by == "memory"
    # weights and one sequence just fit, or do not
    assert answer(99_998, "5 * b").max_batch_size.value == 1
    assert answer(99_998, "5 * b").status == "beyond_memory"
    assert answer(99_999, "5 * b").status == "does_not_fit"
    assert answer(99_999, "5 * b").batch_size.value == 99_999


def test_latency_is_the_larger_time() -> None:
    cost = spec(SMALL).cost(device="one")
    assert cost.latency == Max(cost.compute_time, cost.memory_time, evaluate=False)
    assert table(spec(SMALL)).flops == cost.flops
