"""Elasticities: by hand, against differences of the quantity itself, at kinks, and where there are only steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import costmodel as cm
from costmodel.crossover import crossover
from costmodel.device import Device, find_device
from costmodel.figures import Figure, comparable, figure
from costmodel.points import value_at
from costmodel.render.sensitivity import SensitivityAnswer
from costmodel.symbols import batch_size, output_len, prompt_len, rational, seq_len, symbol

from . import naive_walk as naive
from .conftest import Done
from .naive_walk import Model as Drawn
from .test_properties import examples, models

Cli = Callable[..., Done]

WEIGHTS, CACHE = 16_060_522_496, 131_072
"""Bytes of Llama 3.1 8B's weights, and of its cache a token."""


def ask(spec: str | cm.Model, of: str, device: str | Device | None = None, **options: Any) -> SensitivityAnswer:
    model = cm.load(spec) if isinstance(spec, str) else spec
    return model.sensitivity(of, device=device, **options)


def slope(answer: SensitivityAnswer, name: str) -> Fraction:
    value = answer[name].elasticity.value
    assert value is not None, f"{answer.of} has no slope in {name}"
    return comparable(value)


# --- by hand


def test_memory_bound_latency_is_bytes_over_bandwidth() -> None:
    answer = ask("llama-3.1:8b", "latency", "h100-nvl", batch_size=32, seq_len=8192)
    cache = CACHE * 32 * 8192
    share = Fraction(cache, WEIGHTS + cache)
    assert answer.value == Fraction(WEIGHTS + cache, 3_900_000_000_000)
    assert slope(answer, "device.bandwidth") == -1
    assert slope(answer, "seq_len") == slope(answer, "batch_size") == slope(answer, "dtype.cache") == share
    assert slope(answer, "dtype.weights") == 1 - share
    assert answer["device.peak.bf16"].effect == "elsewhere"
    assert answer["dtype.activations"].effect == "elsewhere"
    assert answer.independent == ("device.memory", "device.price")
    more = answer["device.bandwidth"].change
    assert more is not None
    assert more.share == Fraction(-1, 11)
    assert str(answer["seq_len"].elasticity.expr) == "16*batch_size*seq_len/(16*batch_size*seq_len + 1960513)"


def test_layers_by_their_next_values() -> None:
    """A layer is 218,112,000 parameters and 4,096 bytes of cache a token; nothing else changes with their number."""
    answer = ask("llama-3.1:8b", "bytes", batch_size=1, seq_len=8192)
    row = answer["num_layers"]
    layer = 2 * 218_112_000 + 4096 * 8192
    whole = WEIGHTS + CACHE * 8192
    assert [n.value for n in row.neighbours] == [31, 33]
    assert [n.change.share for n in row.neighbours] == [Fraction(-layer, whole), Fraction(layer, whole)]
    assert row.elasticity.value == Fraction(32 * layer, whole)


def test_derived_dims_follow() -> None:
    """GPT-2: head_dim and intermediate_size follow hidden_size, so a layer's 12·d² + 13·d grow with it."""
    answer = ask("gpt-2", "params")
    d, layers, vocabulary, positions = 768, 12, 50257, 1024
    params = layers * (12 * d * d + 13 * d) + (vocabulary + positions) * d + 2 * d
    assert answer.value == params
    assert slope(answer, "hidden_size") == Fraction(params + layers * 12 * d * d, params)
    assert answer["hidden_size"].neighbours[0].value == 756
    with pytest.raises(KeyError):
        _ = answer["intermediate_size"]


def test_a_crossover_by_parameters_is_independent_of_the_models_size() -> None:
    answer = ask("llama-3.1:8b", "crossover", "h100-nvl", fidelity="params")
    dims = set(answer.compiled.program.dims) - {"head_dim"}
    assert dims <= set(answer.independent)
    assert {"seq_len", "dtype.cache", "device.memory"} <= set(answer.independent)
    assert slope(answer, "device.peak.bf16") == slope(answer, "dtype.weights") == 1
    assert slope(answer, "device.bandwidth") == -1


def test_requests_by_hand() -> None:
    """FLOPs of a request: 15,009,316,864 a token and 524,288 a pair, the prompt's pairs being a square."""
    p, n = 1000, 200
    answer = ask("llama-3.1:8b", "request_flops", prompt_len=p, output_len=n, batch_size=1)
    token, pair = 15_009_316_864, 524_288
    flops = token * (p + n - 1) + pair * (p * p + (n - 1) * p + Fraction(n * (n - 1), 2))
    assert answer.value == flops
    assert slope(answer, "prompt_len") == p * (token + pair * (2 * p + n - 1)) / flops
    assert slope(answer, "output_len") == n * (token + pair * (p + n - Fraction(1, 2))) / flops
    assert slope(answer, "batch_size") == 1
    assert answer["dtype.weights"].effect == "never"


# --- rules that hold everywhere


@pytest.mark.parametrize("timing", ["overlap", "serial", "per_op"])
@pytest.mark.parametrize("fidelity", ["params", "cache", "traffic"])
@pytest.mark.parametrize("spec", ["llama-3.1:8b", "mixtral:8x7b", "mamba-2:2.7b"])
def test_a_device_twice_as_fast_halves_every_time(spec: str, fidelity: str, timing: str) -> None:
    """Times are homogeneous of degree −1 in peaks and bandwidth together."""
    answer = ask(spec, "latency", "h100-sxm", fidelity=fidelity, timing=timing, batch_size=24, seq_len=1000)
    speeds = [row.name for row in answer.rows if row.name.startswith(("device.peak.", "device.bandwidth"))]
    assert sum(slope(answer, name) for name in speeds) == -1


# --- differences of the quantity itself

STEP = Fraction(1, 10**9)
SPECS = ("llama-3.1:8b", "gemma-2:9b", "mixtral:8x7b", "mamba-2:2.7b", "gpt-2", "deepseek-v3")
QUANTITIES = (
    *("bytes", "flops", "memory", "latency", "throughput", "cost_per_million_tokens", "intensity"),
    *("compute_time", "cache_memory", "params"),
)


@cache
def freed(spec: str, phase: str, fidelity: str, timing: str) -> cm.Cost:
    return cm.load(spec).free("all").cost(phase, fidelity=fidelity, timing=timing, device="h100-nvl")


def moved(spec: str, of: str, name: str, factor: Fraction, options: dict[str, Any]) -> Figure:
    """The quantity with a parameter times a factor, from the spec with all dims free: nothing of `sensitivity`."""
    base = cm.load(spec)
    cost = freed(spec, options["phase"], options["fidelity"], options["timing"])
    point = {symbol(n): Fraction(str(v)) for n, v in base.dims.items() if not v.free_symbols}
    point |= {batch_size: Fraction(options["batch_size"]), seq_len: Fraction(options["seq_len"])}
    kind, _, rest = name.partition(".")
    if kind in ("dtype", "device"):
        model, device = base, find_device("h100-nvl")
        if kind == "dtype":
            bits = base.compiled.environment.dtypes[rest].bytes * 8 * factor
            model = base.set(**{"dtype.compute": "bf16", name: f"{float(bits):.9f} bits"})
        elif rest.startswith("peak."):
            peaks = {k: v * (rational(factor) if f"peak.{k}" == rest else 1) for k, v in device.peaks.items()}
            device = replace(device, peaks=peaks)
        else:
            device = replace(device, **{rest: getattr(device, rest) * rational(factor)})
        run = {key: options[key] for key in ("phase", "fidelity", "timing")}
        cost = model.cost(device=device, **run)
    else:
        point[symbol(name)] *= factor
    return figure(getattr(cost, of), point)


@settings(examples(30), print_blob=False)
@given(st.data())
def test_elasticities_agree_with_differences(data: st.DataObject) -> None:
    spec = data.draw(st.sampled_from(SPECS))
    of = data.draw(st.sampled_from(QUANTITIES))
    options = {
        "phase": data.draw(st.sampled_from(("decode", "decode", "prefill"))),
        "fidelity": data.draw(st.sampled_from(("cache", "traffic"))),
        "timing": data.draw(st.sampled_from(("overlap", "serial", "per_op"))),
        "batch_size": data.draw(st.integers(1, 300)),
        "seq_len": data.draw(st.integers(2, 6000)),
    }
    if of == "memory":
        options["fidelity"] = "cache"
    answer = ask(spec, of, "h100-nvl", **options)
    names = [row.name for row in answer.rows if row.effect != "held"]
    for name in data.draw(st.lists(st.sampled_from(names), min_size=3, max_size=3, unique=True)):
        row = answer[name]
        if row.elasticity.value is None:
            assert row.neighbours or row.sides
            continue
        step = Fraction(1, 10**6) if name.startswith("dtype.") else STEP
        up, down = (moved(spec, of, name, 1 + side * step, options) for side in (1, -1))
        wanted = (up - down) / (2 * step * comparable(answer.value or 0))
        assert abs(comparable(row.elasticity.value) - comparable(wanted)) < Fraction(1, 10**6), name
        if row.change is not None and row.change.reached is not None and "." not in name:
            exact = moved(spec, of, name, Fraction(11, 10), options)
            assert abs(comparable(exact) - comparable(row.change.reached)) <= abs(comparable(exact)) * STEP


@settings(examples(30), print_blob=False)
@given(models(1), st.integers(1, 3), st.integers(3, 9), st.sampled_from(("bytes", "flops", "memory")))
def test_next_values_of_random_specs_are_what_compiling_them_gives(
    drawn: Drawn, batch: int, context: int, of: str
) -> None:
    model = cm.parse(naive.text(drawn))
    point = {batch_size: Fraction(batch), seq_len: Fraction(context)}
    value = value_at(model.cost("decode", fidelity="traffic").quantities, of, point)
    if not value:
        return
    answer = ask(model, of, fidelity="traffic", batch_size=batch, seq_len=context)
    assert answer.value == value
    for row in answer.rows:
        for found in row.neighbours if not found_is_dtype(row.name) else ():
            changed = model.set(**{row.name: int(found.value)}).cost("decode", fidelity="traffic").quantities
            assert value_at(changed, of, point) == found.change.reached, row.name


def found_is_dtype(name: str) -> bool:
    return name.startswith("dtype.")


@pytest.mark.parametrize("spec", ["llama-3.1:8b", "mixtral:8x7b", "gemma-2:9b"])
def test_a_crossover_agrees_with_differences(spec: str) -> None:
    device = find_device("h100-nvl")
    answer = ask(spec, "crossover", device, seq_len=200)
    model = cm.load(spec)

    def crossing(context: Fraction, on: Device) -> Fraction:
        value = crossover(model.cost(device=on).quantities, {seq_len: context}).batch_size.value
        assert value is not None
        return comparable(value)

    step = Fraction(1, 10**7)
    faster, slower = (replace(device, bandwidth=device.bandwidth * rational(1 + s * step)) for s in (1, -1))
    wanted = {
        "seq_len": crossing(200 * (1 + step), device) - crossing(200 * (1 - step), device),
        "device.bandwidth": crossing(Fraction(200), faster) - crossing(Fraction(200), slower),
    }
    for name, difference in wanted.items():
        assert abs(slope(answer, name) - difference / (2 * step * comparable(answer.value or 0))) < Fraction(1, 10**6)
    layers = answer["num_layers"].neighbours[1]
    there = model.set(num_layers=int(layers.value)).crossover(device, seq_len=200).batch_size.value
    assert there is not None
    assert layers.change.reached == pytest.approx(there, rel=1e-20)


@pytest.mark.parametrize(("of", "timing"), [("ttft", "overlap"), ("tpot", "per_op"), ("request_time", "overlap")])
def test_a_requests_times_agree_with_the_sum_over_its_passes(of: str, timing: str) -> None:
    """At batch 280 Gemma's decode turns from one bound to the other, and passes its window, within the request."""
    prompt, output, batch = 4010, 160, Fraction(280)
    options = {"prompt_len": prompt, "output_len": output, "batch_size": 280, "timing": timing}
    answer = ask("gemma-2:9b", of, "h100-nvl", **options)
    passes = {
        phase: cm.load("gemma-2:9b").cost(phase, device="h100-nvl", timing=timing).latency
        for phase in ("prefill", "decode")
    }

    def time(of_batch: Fraction) -> Fraction:
        def one(phase: str, context: int) -> Fraction:
            return comparable(figure(passes[phase], {batch_size: of_batch, seq_len: Fraction(context)}))

        first = one("prefill", prompt)
        steps = sum((one("decode", prompt + j) for j in range(1, output)), Fraction(0))
        found: dict[str, Fraction] = {"ttft": first, "tpot": steps / (output - 1), "request_time": first + steps}
        return found[of]

    assert answer.value == time(batch)
    wanted = (time(batch * (1 + STEP)) - time(batch * (1 - STEP))) / (2 * STEP * time(batch))
    assert abs(slope(answer, "batch_size") - wanted) < Fraction(1, 10**6)
    more = answer["batch_size"].change
    assert more is not None
    assert more.reached == time(batch * Fraction(11, 10))


# --- kinks and steps

EVEN = """
model even
dim d = 64
graph forward(x[batch_size, new_tokens, d]) {
    weight W[d -> d]
    return matmul(x, W)
}
device even { memory = 1 GB; bandwidth = 1 TB/s; peak bf16 = 100 TFLOP/s }
"""


def test_where_both_times_are_equal_each_side_has_its_own() -> None:
    answer = cm.parse(EVEN).sensitivity("latency", device="even", batch_size=100)
    sides = {row.name: row.sides for row in answer.rows}
    wanted = {"batch_size": (0, 1), "device.bandwidth": (-1, 0), "device.peak.bf16": (-1, 0), "dtype.weights": (0, 1)}
    for name, (left, right) in wanted.items():
        found = sides[name]
        assert found is not None
        assert (found[0].value, found[1].value) == (left, right), name
        assert answer[name].elasticity.value is None
    assert sides["d"] is None
    assert slope(answer, "d") == 2


def test_a_window_that_is_just_full() -> None:
    answer = ask("gemma-2:9b", "bytes", batch_size=8, seq_len=4096)
    below, above = (
        ask("gemma-2:9b", "bytes", batch_size=8, seq_len=4095),
        ask("gemma-2:9b", "bytes", batch_size=8, seq_len=4097),
    )
    sides = answer["seq_len"].sides
    assert sides is not None
    assert sides[0].value == 2 * (sides[1].value or 0)
    assert sides[0].expr == below["seq_len"].elasticity.expr
    assert sides[1].expr == above["seq_len"].elasticity.expr
    assert below["sliding_window"].effect == "elsewhere"


CHUNKED = """
model chunked
dim d = 64
dim chunk_size = 256
op scan(x[b, t, c]) -> [b, t, c] { matmul_flops = 2 * b * chunk_size * c * ceil(t / chunk_size) }
graph forward(x[batch_size, new_tokens, d]) { return scan(x) }
"""


def test_what_is_rounded_up_has_steps_only() -> None:
    """16 chunks of 256 tokens, or 17 of 255, or 16 of 257."""
    model = cm.parse(CHUNKED)
    answer = model.sensitivity("flops", phase="prefill", batch_size=1, seq_len=4096)
    steps = {row.name: {int(n.value): n.change.share for n in row.neighbours} for row in answer.rows}
    assert steps["seq_len"] == {4095: 0, 4097: Fraction(1, 16)}
    assert steps["chunk_size"] == {255: Fraction(17 * 255, 16 * 256) - 1, 257: Fraction(1, 256)}
    for name in ("seq_len", "chunk_size"):
        assert answer[name].elasticity.expr is None
        assert answer[name].change is None
    whole = model.sensitivity("flops", phase="prefill", batch_size=1, seq_len=2560)["seq_len"].change
    assert whole is not None
    assert whole.share == Fraction(1, 10)


def test_layers_that_come_in_turns() -> None:
    """Gemma 3: a sixth of the layers, rounded down, see everything."""
    answer = ask("gemma-3:4b", "bytes", batch_size=8, seq_len=4096)
    row = answer["num_layers"]
    assert row.elasticity.expr is None
    for found in row.neighbours:
        changed = cm.load("gemma-3:4b").set(num_layers=int(found.value)).cost().evaluate(batch_size=8, seq_len=4096)
        assert changed.bytes == found.change.reached
    assert row.size == 34 * abs(comparable(row.neighbours[1].change.share or 0))


def test_heads_go_to_what_divides() -> None:
    answer = ask("llama-3.1:8b", "latency", "h100-nvl", batch_size=32, seq_len=8192)
    steps = {row.name: [int(n.value) for n in row.neighbours] for row in answer.rows}
    assert steps["num_heads"] == [16, 64]
    assert steps["num_kv_heads"] == [4, 16]
    assert steps["hidden_size"] == [4064, 4128]
    assert steps["intermediate_size"] == []
    for row in answer.rows:
        for found in row.neighbours:
            value = found.name or int(found.value)
            changed = cm.load("llama-3.1:8b").set(**{row.name: value}).cost(device="h100-nvl")
            assert figure(changed.latency, {batch_size: Fraction(32), seq_len: Fraction(8192)}) == found.change.reached


def test_the_largest_batch_changes_by_whole_numbers() -> None:
    answer = ask("llama-3.1:8b", "max_batch_size", "h100-nvl", seq_len=8192)
    assert answer.value == 72
    assert all(row.elasticity.value is None for row in answer.rows if row.effect == "here")
    more = answer["device.memory"].change
    assert more is not None
    assert more.reached == (Fraction(94 * 11, 10) * 10**9 - WEIGHTS) // (CACHE * 8192)
    assert {"device.bandwidth", "device.peak.bf16"} <= set(answer.independent)


# --- what cannot change, and what has no figure


def test_dims_that_cannot_change_alone_say_why() -> None:
    model = cm.parse("""
    model held
    dim a = 8
    dim c = 8
    dim tied = 1
    dim w = 4
    graph forward(x[batch_size, new_tokens, a]) {
        weight W[c -> c]
        y = cache(matmul(x, W), window=w)
        if tied == 1 { return matmul(x, W.T) }
        weight U[c -> c]
        return matmul(x, U)
    }
    phase wide { new_tokens = 2; w = 6 }
    """)
    answer = model.sensitivity("memory", phase="wide", batch_size=1, seq_len=9)
    held = {row.name: row.why for row in answer.rows if row.effect == "held"}
    assert set(held) == {"a", "c", "tied", "w"}
    assert "8" in held["a"]
    assert held["w"] == "phase wide sets it"
    assert held["tied"] == "an `if` is decided by it"
    tied = {int(n.value): n.change.reached for n in answer["tied"].neighbours}
    assert tied == {0: answer.value + 2 * 64 if answer.value else 0, 2: answer.value + 2 * 64 if answer.value else 0}
    assert slope(answer, "new_tokens") == 0


def test_a_dim_that_an_if_reads_has_an_elasticity_where_its_neighbours_take_the_same_arm() -> None:
    """Of DeepSeek-V2's two sizes the lite one does not compress its queries, which an `if` decides."""
    answer = ask("deepseek-v2", "params")
    row = answer["q_lora_rank"]
    for found in row.neighbours:
        assert cm.load("deepseek-v2").set(q_lora_rank=int(found.value)).cost().params == found.change.reached
    down, up = (comparable(found.change.share or 0) for found in row.neighbours)
    assert row.elasticity.value == 1536 * up == -1536 * down
    lite = ask("deepseek-v2:lite", "params")["q_lora_rank"]
    assert (lite.effect, lite.elasticity.value) == ("held", None)
    assert [n.value for n in lite.neighbours] == [1]


def test_high_powers_of_what_experts_are_read_stay_quick() -> None:
    """In a prefill of 7 · 300 tokens (1 − k/E)^2100 is a polynomial of degree 2,100 in k."""
    options = {"phase": "prefill", "batch_size": 7, "prompt_len": 300, "output_len": 5}
    answer = ask("mixtral:8x7b", "request_time", "h200-sxm", timing="per_op", **options)
    assert abs(slope(answer, "top_k")) < 2


def test_new_tokens_of_a_chunk_are_a_parameter() -> None:
    answer = ask("llama-3.1:8b", "flops", phase="prefill", new_tokens=512, batch_size=2, seq_len=2048)
    assert slope(answer, "new_tokens") == 1
    assert slope(answer, "seq_len") == Fraction(524_288 * 2048, 15_009_316_864 + 524_288 * 2048)
    with pytest.raises(KeyError):
        _ = ask("llama-3.1:8b", "flops", batch_size=2, seq_len=2048)["new_tokens"]


def test_without_figures_there_are_formulas() -> None:
    answer = ask(cm.load("llama-3.1:8b").free("num_kv_heads"), "cache_memory")
    assert answer.value is None
    assert [str(answer[n].elasticity.expr) for n in ("num_kv_heads", "seq_len", "num_layers")] == ["1", "1", "1"]
    assert answer["dtype.weights"].effect == "never"


def test_a_dtype_of_the_activations_brings_its_own_peak() -> None:
    answer = ask("llama-3.1:8b", "latency", "h100-nvl", batch_size=600, seq_len=128)
    narrower = {n.name: n.change.reached for n in answer["dtype.activations"].neighbours}
    changed = cm.load("llama-3.1:8b").set(**{"dtype.activations": "fp8"}).cost(device="h100-nvl")
    assert narrower["fp8"] == figure(changed.latency, {batch_size: Fraction(600), seq_len: Fraction(128)})


def test_a_request_keeps_its_order() -> None:
    answer = ask("llama-3.1:8b", "request_cost", "h100-nvl", batch_size=8, prompt_len=1000, output_len=200)
    sizes = [row.size for row in answer.rows]
    assert sizes == sorted(sizes, reverse=True)
    assert slope(answer, "device.price") == 1
    assert {prompt_len.name, output_len.name} <= {row.name for row in answer.rows}


# --- bad input


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("llama-3.1:8b --of latensy", "there is no quantity `latensy`"),
        ("llama-3.1:8b --of latency", "`latency` needs a device"),
        ("llama-3.1:8b --device h100-nvl", "--batch-size N --seq-len N"),
        ("llama-3.1:8b --device h100-nvl --of tpot --batch-size 1 --prompt-len 9", "--output-len N"),
        ("llama-3.1:8b --of vector_flops --fidelity params", "`vector_flops` is 0 here"),
        ("llama-3.1:8b --of crossover --device h100-nvl --seq-len 8192", "there is no crossover here"),
        ("llama-3.1:8b --device h200-sxm --of cost_per_million_tokens", "states no price"),
        ("mamba-2:2.7b --of bytes --phase verify", "there is no phase `verify`"),
    ],
)
def test_bad_input_is_said(line: str, said: str, cli: Cli) -> None:
    done = cli("sensitivity", *line.split())
    assert done.status == 2
    assert said in done.err
    assert done.out == ""


def test_it_shows_itself() -> None:
    answer = ask("llama-3.1:8b", "latency", "h100-nvl", batch_size=32, seq_len=8192)
    assert "10% more bandwidth: 9.09% less latency." in str(answer)
    assert "<table>" in answer._repr_html_()
    assert repr(answer) == "<Sensitivity of latency of llama-3.1:8b, 15 parameters>"
