"""The library: what docs/cli.md says of it, with figures, and what it refuses."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import networkx as nx
import pytest
from sympy import Expr, Symbol, expand

import costmodel as cm
from costmodel.device import shipped_device
from costmodel.quantity_names import QUANTITIES

SPEC = """
model small "Small"
dim width = 8 as "w"
dim layers = 3 as "L"
graph forward(x[batch_size, new_tokens, width]) {
    weight W[width -> width]
    repeat layers { x = matmul(x, W) }
    return x
}
variant "wide" { width = 16 }
expect flops == 2 * batch_size * layers * dim.width ^ 2 "by hand"
"""

TWO_GROUPS = """
model two_groups
dim d = 4096
block expert(x) { weight W[d -> d]  return matmul(x, W) }
graph forward(x[batch_size, new_tokens, d]) {
    y = route(x, experts = 8, top_k = 2) { return expert(x) }
    z = route(y, experts = 64, top_k = 4) { return expert(y) }
    return z
}
"""


@pytest.fixture(scope="module")
def llama() -> cm.Model:
    return cm.load("llama-3.1:8b")


@pytest.fixture(scope="module")
def small() -> cm.Model:
    return cm.parse(SPEC)


def test_every_public_name_is_there() -> None:
    assert set(dir(cm)) == set(cm.__all__)
    assert all(getattr(cm, name) is not None for name in cm.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = cm.nothing


def test_a_model_by_name_by_path_and_from_a_text(llama: cm.Model, small: cm.Model, tmp_path: Any) -> None:
    assert (llama.name, llama.title) == ("llama-3.1:8b", "Llama 3.1 8B")
    (tmp_path / "small.arch").write_text(SPEC, encoding="utf-8")
    assert cm.load(f"{tmp_path}/small.arch:wide").cost().flops == 6 * 256 * cm.batch_size
    assert cm.parse(SPEC, variant="wide").cost().flops == 6 * 256 * cm.batch_size
    assert small.cost().flops == 6 * 64 * cm.batch_size
    assert small.title == "Small"


def test_costs_are_expressions(llama: cm.Model) -> None:
    cost = llama.cost(phase="decode")
    assert cost.params == 8_030_261_248
    assert expand(cost.flops - cm.batch_size * (15_009_316_864 + 524_288 * cm.seq_len)) == 0
    assert cost.flops.subs({cm.batch_size: 1, cm.seq_len: 8192}) == 19_304_284_160
    assert cost.bytes == 16_060_522_496 + 131_072 * cm.batch_size * cm.seq_len
    assert llama.cost("prefill", new_tokens=7).flops == llama.cost("decode", new_tokens=7).flops
    assert llama.cost(new_tokens=7).flops.subs(cm.seq_len, 0) == 7 * 15_009_316_864 * cm.batch_size


@pytest.mark.parametrize("name", QUANTITIES)
def test_every_quantity_can_be_asked_for(name: str, llama: cm.Model) -> None:
    quantity = QUANTITIES[name]
    cost = llama.cost(device="h100-nvl")
    if name == "crossover":
        with pytest.raises(cm.SpecError, match="`crossover` is no single closed form"):
            _ = cost.crossover
        return
    found = getattr(cost, name)
    assert isinstance(found, Expr)
    figures = {"batch_size": 4, "seq_len": 64, "prompt_len": 60, "output_len": 5, "acceptance_rate": 1, "drafts": 3}
    assert {s.name for s in found.free_symbols} <= figures.keys()
    assert getattr(cost.evaluate(**figures), name) > 0
    if quantity.device:
        with pytest.raises(cm.SpecError, match=f"`{name}` needs a device"):
            getattr(llama.cost(), name)


def test_figures_at_a_point(llama: cm.Model) -> None:
    here = llama.cost(device="h100-nvl").evaluate(batch_size=1, seq_len=8192)
    assert here.flops == 19_304_284_160
    assert isinstance(here.flops, int)
    assert isinstance(here.latency, float)
    assert here.latency == float(Fraction(16_060_522_496 + 1_073_741_824, 39 * 10**11))
    assert here.all["memory"] == here.memory == 16_060_522_496 + 1_073_741_824
    assert not {"ttft", "request_flops", "crossover"} & here.all.keys()
    huge = llama.set(hidden_size=32 * 10**12).cost().evaluate(batch_size=1, seq_len=1)
    assert huge.params > 2**80
    assert isinstance(huge.params, int)


def test_what_a_figure_lacks_is_said(llama: cm.Model) -> None:
    with pytest.raises(cm.SpecError, match="`flops` depends on seq_len, which has no value"):
        _ = llama.cost().evaluate(batch_size=1).flops
    with pytest.raises(cm.SpecError, match="batch_size is 0: a whole number, 1 or more, is needed"):
        llama.cost().evaluate(batch_size=0)
    with pytest.raises(cm.SpecError, match="there is no dim `seqlen`") as found:
        llama.cost().evaluate(batch_size=1, seqlen=8)
    assert found.value.diagnostics[0].help == "`seq_len` is near"
    with pytest.raises(AttributeError, match="'flops' is near"):
        _ = llama.cost().flop
    with pytest.raises(AttributeError, match="'flops' is near"):
        _ = llama.cost().evaluate(batch_size=1).flop


def test_figures_are_taken_as_they_are_written(llama: cm.Model) -> None:
    """0.9 is nine tenths, not the float that is nearest to it."""
    cost = llama.cost(device="h100-nvl", memory_fraction=0.9)
    assert cost.evaluate(seq_len=8192).max_batch_size == (94 * 9 * 10**8 - 16_060_522_496) // 1_073_741_824
    assert cost.evaluate(acceptance_rate=0.9, drafts=1).expected_tokens == 1.9
    assert cost.evaluate(acceptance_rate=Fraction(1, 3), drafts=1).expected_tokens == float(Fraction(4, 3))


def test_dims_set_and_free(small: cm.Model) -> None:
    width, layers = small["width"], small["layers"]
    assert isinstance(width, Symbol)
    assert small.dims == {"width": 8, "layers": 3}
    free = small.free("all")
    assert free.cost().flops == 2 * cm.batch_size * layers * width**2
    assert free.cost().evaluate(batch_size=2, width=4, layers=5).flops == 2 * 2 * 5 * 16
    assert small.free("width").cost().flops == 6 * cm.batch_size * width**2
    assert small.set(width=4).cost().flops == 96 * cm.batch_size
    assert small.set(width="2 * layers").cost().flops == 216 * cm.batch_size
    assert small.set(**{"dtype.weights": "fp8"}).cost().weight_memory == 64
    # the first is as it was
    assert small.cost().flops == 384 * cm.batch_size
    with pytest.raises(KeyError, match="'width' is near"):
        _ = small["widht"]
    with pytest.raises(cm.SpecError, match="no dim `widht`"):
        small.set(widht=4)
    with pytest.raises(cm.SpecError, match="no dim `widht` to free"):
        small.free("widht")


def test_options_are_those_of_the_command_line(llama: cm.Model) -> None:
    device = shipped_device("h100-nvl")
    assert llama.cost(device=device).ridge == llama.cost(device="h100-nvl").ridge
    assert llama.cost(device=device, count=2).memory_time * 2 == llama.cost(device=device).memory_time
    assert llama.cost(fidelity="params").flops == 2 * 8_030_261_248 * cm.batch_size
    assert llama.cost("prefill", masked="exact").flops != llama.cost("prefill").flops
    assert llama.cost(fidelity="traffic", fusion="none").bytes != llama.cost(fidelity="traffic").bytes
    serial = llama.cost(device=device, timing="serial")
    assert expand(serial.latency - serial.compute_time - serial.memory_time) == 0
    for name, known in (
        ("phase", "prefill"), ("graph", "forward"), ("fidelity", "cache"), ("masked", "full"), ("timing", "serial"),
        ("fusion", "none"), ("device", "h100-nvl"),
    ):  # fmt: skip
        options: Any = {name: known[:-1]}
        with pytest.raises(cm.SpecError) as found:
            llama.cost(**options)
        assert found.value.diagnostics[0].help == f"`{known}` is near"


def test_crossover(llama: cm.Model) -> None:
    never = llama.crossover(device="h100-nvl", seq_len=8192)
    assert (never.status, never.optimal_batch_size, never.limited_by) == ("never", 72, "memory")
    assert never.batch_size.value == Fraction(16_060_522_496) / (
        Fraction(19_304_284_160 * 39 * 10**11 * 10, 8355 * 10**12) - 1_073_741_824
    )
    crosses = llama.crossover(device="h100-nvl", seq_len=256)
    assert (crosses.status, crosses.optimal_batch_size, crosses.max_batch_size_value) == ("crosses", 433, 2322)
    assert f"{float(crosses.batch_size):.4f}" == "432.5074"
    assert str(crosses.feasible_when) == "seq_len < 1488656/2733"
    before, there = (crosses.at_batch(batch) for batch in (432, 433))
    assert before.compute_time < before.memory_time
    assert there.compute_time >= there.memory_time
    free = llama.crossover(device="h100-nvl")
    assert free.status is None
    assert free.batch_size.value is None
    assert free.batch_size.expr is not None
    assert free.batch_size.expr.free_symbols == {cm.seq_len}
    with pytest.raises(TypeError):
        float(free.batch_size)
    with pytest.raises(cm.SpecError, match="seq_len is 0"):
        llama.crossover(device="h100-nvl", seq_len=0)


def test_faults_are_diagnostics() -> None:
    with pytest.raises(cm.SpecError) as found:
        cm.parse("model m\ndim a = b\ndim c = d\n")
    assert [(d.code, d.span and (d.span.line, d.span.column)) for d in found.value.diagnostics] == [
        ("unknown-name", (2, 9)),
        ("unknown-name", (3, 9)),
    ]
    assert all(isinstance(d, cm.Diagnostic) for d in found.value.diagnostics)
    assert "there is no" in str(found.value)
    with pytest.raises(cm.SpecError, match="there is no spec `llama-3`"):
        cm.load("llama-3")
    with pytest.raises(cm.SpecError, match="declares no graph"):
        cm.parse("model m\ndim a = 1\n").cost()


def test_check(small: cm.Model) -> None:
    found = small.check()
    assert found.ok
    assert [(e.variant, e.ok, e.left) for e in found.expects] == [
        (None, True, "384 · batch_size"),
        ("wide", True, "1,536 · batch_size"),
    ]


def test_graph(llama: cm.Model) -> None:
    graph = llama.graph()
    assert isinstance(graph, nx.MultiDiGraph)
    operations = [data["node"].keyword for _, data in graph.nodes(data=True) if data["kind"] == "operation"]
    assert operations.count("attention") == 1
    assert "tokens" in graph
    edges = list(graph.edges(data=True))
    assert all(data["tensor"].shape for _, _, data in edges)
    assert sum(data["carried"] for _, _, data in edges) == 2


# --- in a session and in a notebook


def test_objects_say_briefly_what_they_are(llama: cm.Model) -> None:
    cost, answer = llama.cost(device="h100-nvl"), llama.crossover("h100-nvl", seq_len=8192)
    assert repr(llama) == "<Model llama-3.1:8b>"
    assert repr(cost) == "<Cost of llama-3.1:8b, decode, fidelity cache>"
    assert repr(cost.evaluate(batch_size=1)) == "<Figures of llama-3.1:8b at batch_size=1>"
    assert repr(answer) == "<Crossover of llama-3.1:8b: never, run batch 72>"


def test_a_cost_shows_itself_in_latex(llama: cm.Model, small: cm.Model) -> None:
    # W, 8 by 8 of 2 bytes, is stored once and read in each of 3 turns
    assert small.cost()._repr_latex_().startswith(r"$\displaystyle \begin{aligned}C &= ")
    assert "= 384 \\, b" in small.cost()._repr_latex_() and "M &= " in small.cost()._repr_latex_()
    shown = llama.free("all").cost()._repr_latex_()
    assert r"2 \, d \, V" in shown
    assert "hidden_size" not in shown
    assert shown.count("{") == shown.count("}")


def test_a_crossover_shows_itself_in_latex_and_in_words(llama: cm.Model) -> None:
    answer = llama.crossover(device="h100-nvl", seq_len=8192)
    shown = answer._repr_latex_()
    assert r"b^* &= \frac{5{,}460{,}028{,}705}{23{,}818{,}496 - 43{,}728 \, s}" in shown
    assert r"s < \frac{1{,}488{,}656}{2{,}733}" in shown
    assert shown.count("{") == shown.count("}")
    assert "NEVER compute-bound. Run batch 72, the largest that fits" in str(answer)
    mixture = cm.load("mixtral:8x7b").crossover(device="h200-sxm", seq_len=1024)
    assert "W_0" in mixture._repr_latex_()
    # two groups of experts: no closed form, so the equation
    several = cm.parse(TWO_GROUPS).crossover(device="h200-sxm", seq_len=16)
    assert several.batch_size.expr is None
    assert " = " in several._repr_latex_()


def test_figures_print_as_a_page(llama: cm.Model) -> None:
    here = llama.cost(device="h100-nvl").evaluate(batch_size=32, seq_len=8192)
    assert "2,475.2 tokens/s" in str(here)
    with pytest.raises(AttributeError, match="'flops' is near"):
        here.flopz  # noqa: B018
