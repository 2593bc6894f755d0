"""Crossovers whose answer is known beforehand: each special case planted, and what must not change the answer."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import mpmath
import pytest
from sympy import Rational

import costmodel as cm
from costmodel.crossover import Crossover
from costmodel.device import Device, shipped_device
from costmodel.render.crossover import CrossoverAnswer
from costmodel.solve.memory import StepwiseFit

H100 = shipped_device("h100-sxm")


def device(memory: int | Fraction = 10**30, peak: int | Fraction = 1, bandwidth: int | Fraction = 1) -> Device:
    """So many bytes, FLOPs a second and bytes a second."""
    exact = (Rational(value.numerator, value.denominator) for value in map(Fraction, (memory, bandwidth, peak)))
    memory_, bandwidth_, peak_ = exact
    return replace(H100, memory=memory_, bandwidth=bandwidth_, peaks={"bf16": peak_, "vector": peak_}, count=1)


def planted(flops: str, weight: int = 0, state: str = "0", experts: tuple[int, int, int] | None = None) -> cm.Model:
    """A pass with these FLOPs in b sequences, bytes of weights, twice these of a state, experts of E, k and a size."""
    body = [f"weight W[{weight}]" if weight else "", f"state S[b, {state}]" if state != "0" else ""]
    route = "return y"
    if experts is not None:
        count, top, size = experts
        route = f"""
            z = route(y, experts = {count}, top_k = {top}) {{ return expert(y) }}
            return z
        """
        body.append(f"}}\nop expert(x[b, t, d]) -> [b, t, d] {{ weight X[{size}]")
    return cm.parse(f"""
        model planted
        dtype weights = fp8
        dtype cache = fp8
        op work(x[b, t, d]) -> [b, t, d] {{ matmul_flops = {flops}  {" ".join(body)} }}
        graph forward(x[batch_size, new_tokens, 1]) {{
            y = work(x)
            {route}
        }}
    """)


def answered(model: cm.Model, *, memory: int | Fraction = 10**30, seq_len: int | None = None) -> Crossover:
    return model.crossover(device(memory), seq_len)


def said(model: cm.Model, answer: Crossover) -> str:
    return " ".join(CrossoverAnswer(model.compiled, answer, []).why)


def page(model: cm.Model, answer: Crossover) -> str:
    return CrossoverAnswer(model.compiled, answer, []).page(100).show()


def mpf(value: Fraction) -> mpmath.mpf:
    return mpmath.mpf(value.numerator) / value.denominator


# --- two roots, one, none

TWO = (64, 1, 110)


def two_roots(memory: int = 10**30) -> tuple[cm.Model, Crossover]:
    """h = 1, n + d = 105, d = 110, q = 63/64, all times 64."""
    model = planted("320 + 64 * b", experts=TWO)
    return model, answered(model, memory=memory)


def test_two_roots_are_found_and_proved() -> None:
    model, answer = two_roots()
    assert answer.solved is not None
    assert [root.upward for root in answer.solved.roots] == [False, True]
    with mpmath.workdps(40):
        for root, near in zip(answer.solved.roots, ("7.960", "66.248"), strict=True):
            exact = mpmath.findroot(lambda b: b - 105 + 110 * (mpmath.mpf(63) / 64) ** b, mpmath.mpf(near))
            assert abs(mpf(root.value) - exact) < exact * mpmath.mpf(10) ** -12
            assert mpf(root.low) <= exact <= mpf(root.high)
            assert root.high - root.low < root.value / 10**12
            below, above = (mpf(x) - 105 + 110 * (mpmath.mpf(63) / 64) ** mpf(x) for x in (root.low, root.high))
            assert (below < 0 < above) if root.upward else (below > 0 > above)
    assert (answer.status, answer.optimal_batch_size, answer.limited_by) == ("crosses", 67, "crossover")
    assert "up to batch 8.0 too" in said(model, answer)
    assert "between 8.0 and 66.2 reading takes longer" in said(model, answer)
    ((_, first), (second, end)) = answer.solved.compute_bound
    assert (round(first or 0, 2), round(second, 2), end) == (Fraction("7.96"), Fraction("66.25"), None)


def test_both_roots_have_their_closed_forms() -> None:
    _, answer = two_roots()
    assert answer.form is not None
    assert answer.form.closed is not None
    assert answer.form.lower is not None
    assert answer.solved is not None
    for root, expr in zip(answer.solved.roots, (answer.form.lower, answer.form.closed), strict=True):
        assert abs(Fraction(str(expr.evalf(40))) - root.value) < root.value / 10**12


@pytest.mark.parametrize(
    ("fits", "status", "optimum"),
    [(0, "does_not_fit", None), (7, "beyond_memory", 7), (66, "beyond_memory", 66), (67, "crosses", 67)],
)
def test_two_roots_within_a_memory(fits: int, status: str, optimum: int | None) -> None:
    model = planted("320 + 64 * b + 2000 * b", state="1000", experts=TWO)
    answer = answered(model, memory=64 * 110 + 1000 * fits + 999)
    assert (answer.status, answer.optimal_batch_size, answer.max_batch_size.value) == (status, optimum, fits)
    assert answer.solved is not None
    assert len(answer.solved.roots) == 2


def test_a_double_root_touches_and_changes_nothing() -> None:
    model = planted("b * b + 2500", state="50")
    answer = answered(model)
    assert answer.solved is not None
    assert [(root.value, root.upward) for root in answer.solved.roots] == [(Fraction(50), None)]
    assert (answer.status, answer.optimal_batch_size) == ("always", 1)


@pytest.mark.parametrize(("more", "roots"), [(-10, 2), (10, 0)])
def test_experts_that_all_but_touch(more: int, roots: int) -> None:
    """Slope and constant chosen so that the two times meet in one point, and then moved by a hair."""
    scale = 10**24
    with mpmath.workdps(80):
        q, b, d = mpmath.mpf(63) / 64, mpmath.mpf(40), 7040
        h = -d * mpmath.log(q) * q**b
        slope, constant = (int(mpmath.nint(value * scale)) for value in (h, d * (1 - q**b) - h * b))
    answer = answered(planted(f"{constant + more} + {slope} * b", experts=(64, 1, 110 * scale)))
    assert answer.solved is not None
    assert len(answer.solved.roots) == roots
    assert all(abs(root.value - 40) < Fraction(1, 10**9) for root in answer.solved.roots)
    assert answer.status == ("crosses" if roots else "always")


def test_a_pass_that_is_compute_bound_at_one_batch_only_leaves() -> None:
    """g = −2·(b − 25)²: bytes that grow with the square of the batch."""
    model = planted("100 * b", weight=1250, state="b")
    answer = answered(model, memory=1250 + 100)
    assert answer.solved is not None
    assert [(root.value, root.upward) for root in answer.solved.roots] == [(Fraction(25), None)]
    assert isinstance(answer.fit, StepwiseFit)
    assert (answer.status, answer.optimal_batch_size, answer.limited_by) == ("leaves", 10, "memory")


def test_compute_bound_from_one_batch_to_another() -> None:
    model = planted("100 * b", weight=1000, state="b")
    answer = answered(model)
    assert answer.solved is not None
    low, high = (root.value for root in answer.solved.roots)
    assert (round(low, 4), round(high, 4)) == (Fraction("13.8197"), Fraction("36.1803"))
    assert answer.status == "leaves"
    assert answer.batch_size.value == high
    assert CrossoverAnswer(model.compiled, answer, []).verdict[1].startswith("compute-bound only from 13.8 to 36.2,")


# --- roots on and beside whole numbers


@pytest.mark.parametrize(
    ("constant", "slope", "status", "optimum", "value"),
    [
        (7, 7, "crosses", 1, 1),
        (7, 8, "always", 1, Fraction(7, 8)),
        (8, 7, "crosses", 2, Fraction(8, 7)),
        (21, 7, "crosses", 3, 3),
        (20, 7, "crosses", 3, Fraction(20, 7)),
        (22, 7, "crosses", 4, Fraction(22, 7)),
        (10**40, 1, "crosses", 10**40, 10**40),
        (10**40 + 1, 10**40, "crosses", 2, 1 + Fraction(1, 10**40)),
        (10**40 - 1, 10**40, "always", 1, 1 - Fraction(1, 10**40)),
    ],
)
def test_dense_roots(constant: int, slope: int, status: str, optimum: int, value: Fraction) -> None:
    answer = answered(planted(f"{slope} * b", weight=constant), memory=constant)
    assert (answer.status, answer.optimal_batch_size, answer.batch_size.value) == (status, optimum, value)
    assert answer.batch_size.expr == Rational(Fraction(value).numerator, Fraction(value).denominator)
    assert answer.max_batch_size.value is None


@pytest.mark.parametrize("whole", [10, 236, 10_000, 3_000_000])
def test_a_root_a_hair_below_a_whole_number(whole: int) -> None:
    """n + d = h·whole: the root is d/h·(1/2)^whole below, at 236 that is some 1e-71."""
    answer = answered(planted("b", weight=whole - 4, experts=(2, 1, 2)), memory=10**9)
    assert answer.solved is not None
    (root,) = answer.solved.roots
    assert root.against(Fraction(whole)) == -1
    assert whole - root.value < Fraction(1, 200)
    assert (answer.status, answer.optimal_batch_size) == ("crosses", whole)


@pytest.mark.parametrize(("constant", "optimum"), [(234, 235), (235, 236), (236, 237)])
def test_a_root_just_above_a_whole_number(constant: int, optimum: int) -> None:
    """n + d = h·constant + 1, of which q^b has long ceased to take anything away."""
    big = 10**12
    answer = answered(planted(f"{big} * b", weight=constant * big - 3, experts=(2, 1, 2)))
    assert answer.optimal_batch_size == optimum


# --- nothing, and nothing but


def test_no_slope() -> None:
    flat = answered(planted("2 * b", weight=7, state="1"))
    assert (flat.status, flat.batch_size.value, flat.batch_size.expr) == ("never", None, None)
    assert flat.solved is not None
    assert not flat.solved.roots
    above = answered(planted("2 * b + 9", weight=7, state="1"))
    assert (above.status, above.optimal_batch_size, above.batch_size.value) == ("always", 1, None)


def test_balanced_everywhere() -> None:
    model = planted("2 * b + 7", weight=7, state="1")
    answer = answered(model)
    assert (answer.status, answer.optimal_batch_size, answer.limited_by) == ("always", 1, "nothing")
    assert "the pass is balanced" in said(model, answer)


def test_nothing_constant() -> None:
    always = answered(planted("3 * b", state="1"))
    assert (always.status, always.batch_size.value) == ("always", 0)
    never = answered(planted("b", state="1"), memory=50)
    assert (never.status, never.batch_size.value, never.optimal_batch_size) == ("never", 0, 50)


def test_all_weights_in_experts() -> None:
    """n = 0: b = 0 is a root, and where h < d·|ln q| there is one above."""
    wide = answered(planted("b", experts=(64, 1, 10)))
    assert wide.solved is not None
    (root,) = wide.solved.roots
    with mpmath.workdps(40):
        exact = mpmath.findroot(lambda b: b - 640 * (1 - (mpmath.mpf(63) / 64) ** b), 600)
        assert abs(mpf(root.value) - exact) < mpmath.mpf(10) ** -20
    assert (wide.status, wide.optimal_batch_size) == ("crosses", int(exact) + 1)
    always = answered(planted("11 * b", experts=(64, 1, 10)))
    assert (always.status, always.batch_size.value) == ("always", 0)
    never = answered(planted("b", state="1", experts=(64, 1, 10)), memory=640 + 3)
    assert (never.status, never.optimal_batch_size) == ("never", 3)


def test_leaves() -> None:
    model = planted("1000 + b", weight=10, state="1")
    answer = answered(model, memory=10 + 2000)
    assert (answer.status, answer.batch_size.value) == ("leaves", 990)
    assert (answer.optimal_batch_size, answer.limited_by) == (2000, "memory")
    less = answered(model, memory=10 + 20)
    assert (less.status, less.optimal_batch_size) == ("leaves", 20)


# --- memory


def test_capacity_exactly_the_weights() -> None:
    alone = answered(planted("b", weight=1000), memory=1000)
    assert (alone.status, alone.max_batch_size.value, alone.max_batch_size.expr) == ("crosses", None, None)
    assert alone.margin == 0
    kept = answered(planted("b", weight=1000, state="3"), memory=1000)
    assert (kept.status, kept.optimal_batch_size, kept.limited_by) == ("does_not_fit", None, "memory")
    assert (kept.max_batch_size.value, kept.margin, kept.binds) == (0, Fraction(-3), "state")
    one = answered(planted("b", weight=1000, state="3"), memory=1003)
    assert (one.status, one.max_batch_size.value, one.margin) == ("never", 1, Fraction(0))
    short = answered(planted("b", weight=1000, state="3"), memory=1002)
    assert (short.status, short.margin) == ("does_not_fit", Fraction(-1))


def test_weights_alone_too_large() -> None:
    answer = answered(planted("b", weight=1000), memory=999)
    assert (answer.status, answer.max_batch_size.value, answer.margin, answer.binds) == (
        "does_not_fit",
        0,
        Fraction(-1),
        "weights",
    )
    assert answer.batch_size.value == 1000


def test_weights_alone_too_large_whatever_the_context() -> None:
    model = planted("b", weight=1000, state="seq_len")
    answer = answered(model, memory=999)
    assert (answer.status, answer.max_batch_size.value, answer.margin) == ("does_not_fit", 0, None)
    assert "DOES NOT FIT: whatever `seq_len`: the weights alone exceed 999 B." in page(model, answer)


def test_memory_bound_whatever_the_context() -> None:
    model = planted("b", weight=1000, state="2 + seq_len")
    answer = answered(model, memory=10**9)
    assert (answer.status, answer.always_memory_bound) == (None, True)
    assert "NEVER compute-bound, whatever `seq_len`." in page(model, answer)
    assert not answered(planted("b * seq_len", weight=1000, state="2"), memory=10**9).always_memory_bound


@pytest.mark.parametrize("axes", ["ceil(batch_size / 4), 8", "min(batch_size, 100), 2", "max(batch_size, 10), 2"])
def test_memory_that_grows_by_steps(axes: str) -> None:
    model = cm.parse(f"""
        model steps
        dtype cache = fp8
        graph forward(tokens[batch_size, new_tokens]) {{
            weight E[4 -> 2]
            state S[{axes}]
            return matmul(lookup(tokens, E), E.T)
        }}
    """)
    for memory in (15, 16, 17, 23, 24, 25, 36, 40, 216, 217):
        answer = model.crossover(device(memory, 10**9))
        fitting = [b for b in range(1, 400) if model.cost().evaluate(batch_size=b).memory <= memory]
        assert fitting == list(range(1, len(fitting) + 1))
        largest = None if len(fitting) == 399 else len(fitting)
        assert answer.max_batch_size.value == largest
        assert (answer.status == "does_not_fit") == (largest == 0)
        if "ceil" in axes and largest != 0:
            assert answer.unsolvable == "`batch_size` stands under `ceiling`"


def test_memory_that_falls_with_the_batch_is_no_answer() -> None:
    model = cm.parse("""
        model falls
        graph forward(tokens[batch_size, new_tokens]) {
            weight E[4 -> 2]
            state S[max(1, 100 - batch_size), 2]
            return matmul(lookup(tokens, E), E.T)
        }
    """)
    answer = model.crossover(device(100))
    assert (answer.status, answer.optimal_batch_size, answer.max_batch_size.value) == (None, None, None)
    assert answer.unsolvable == "what memory a batch needs may fall as it grows"


def test_activations_bind_at_traffic() -> None:
    model = cm.load("llama-3.1:8b")
    for context, binding in ((1, "activations"), (8192, "cache")):
        answer = model.crossover(H100, context, fidelity="traffic")
        largest = answer.max_batch_size.value
        assert largest is not None
        assert answer.binds == binding
        memory = [
            model.cost(fidelity="traffic").evaluate(batch_size=int(largest) + i, seq_len=context).memory for i in (0, 1)
        ]
        assert memory[0] <= 80 * 10**9 < memory[1]
        assert answer.margin_at(int(largest)) == 80 * 10**9 - memory[0]


# --- contexts

HYBRID = """
    model hybrid
    dtype weights = fp8
    dtype cache = fp8
    graph forward(tokens[batch_size, new_tokens]) {
        weight E[100 -> 8], Wq[8 -> 4, 8], Wk[8 -> 1, 8], Wo[4, 8 -> 8]
        x = lookup(tokens, E)
        kept = cache(matmul(x, Wk)WINDOW)
        return matmul(matmul(attention(matmul(x, Wq), kept, kept, causal = trueWINDOW), Wo), E.T)
    }
"""


def hybrid(window: int | None = None) -> cm.Model:
    return cm.parse(HYBRID.replace("WINDOW", f", window = {window}" if window else ""))


def test_the_context_on_the_critical_one_has_no_crossover() -> None:
    """A sequence's FLOPs are 2,752 + 128·s and its bytes 8·s; with 20 FLOP a byte they take as long at s = 86."""
    model = hybrid()
    assert model.cost().flops.coeff(cm.batch_size).subs(cm.seq_len, 0) == 2752
    on = device(peak=20)
    critical = model.crossover(on).critical_seq_len.value
    assert critical == Fraction(2752, 32)
    before, at, behind = (model.crossover(on, s) for s in (85, 86, 87))
    assert (before.status, at.status, behind.status) == ("crosses", "never", "never")
    assert at.batch_size.value is None
    assert before.batch_size.value is not None
    assert before.batch_size.value > 0
    assert behind.batch_size.value is not None
    assert behind.batch_size.value < 0


def test_the_context_on_a_window_is_in_both_cases() -> None:
    model, on = hybrid(50), device(peak=20)
    found = {s: model.crossover(on, s).batch_size.value for s in (49, 50, 51, 10**6)}
    assert found[50] == found[51] == found[10**6] != found[49]
    below, above = model.crossover(on).cases
    assert below.high == above.low == Fraction(50)
    for case in (below, above):
        assert case.form.closed is not None
        assert Fraction(str(case.form.closed.subs(cm.seq_len, 50))) == found[50]


# --- what changes nothing

MODELS = ("llama-3.1:8b", "gemma-2:9b", "mixtral:8x7b", "deepseek-v3", "mamba-2:2.7b", "whisper:large-v3")
WAYS = [{}, {"phase": "prefill"}, {"fidelity": "traffic"}, {"fidelity": "params"}]


def outcome(answer: Crossover) -> tuple[object, ...]:
    value = answer.batch_size.value
    return (
        answer.status,
        None if value is None else round(Fraction(value), 15),
        answer.max_batch_size.value,
        answer.optimal_batch_size,
    )


@pytest.mark.parametrize("name", MODELS)
def test_scaling_peak_and_bandwidth_together_changes_nothing(name: str) -> None:
    model = cm.load(name)
    for way in WAYS:
        scaled = replace(
            H100, bandwidth=H100.bandwidth * 7, peaks={kind: peak * 7 for kind, peak in H100.peaks.items()}
        )
        assert outcome(model.crossover(H100, 300, **way)) == outcome(model.crossover(scaled, 300, **way))


@pytest.mark.parametrize("name", MODELS)
def test_twice_the_bytes_are_half_the_bandwidth_and_memory(name: str) -> None:
    if name.startswith("mamba"):
        pytest.skip("its states have a dtype of their own")
    model = cm.load(name)
    types = {f"dtype.{role}": "16 bits" for role in ("weights", "cache")}
    double = dict.fromkeys(types, "32 bits")
    halved = replace(H100, bandwidth=H100.bandwidth / 2, memory=H100.memory / 2)
    for way in ({}, {"phase": "prefill"}):
        once, twice = model.set(**types).crossover(halved, 300, **way), model.set(**double).crossover(H100, 300, **way)
        assert outcome(once) == outcome(twice)


def test_a_group_of_layers_split_in_two() -> None:
    text = """
        model split
        block layer(x) {
            weight Wq[16 -> 4, 4], Wk[16 -> 1, 4], Wo[4, 4 -> 16], Up[16 -> 64], Down[64 -> 16]
            k = cache(matmul(x, Wk))
            x = x + matmul(attention(matmul(x, Wq), k, k, causal = true, window = 100), Wo)
            y = route(x, experts = 8, top_k = 2) { return matmul(relu(matmul(x, Up)), Down) }
            return x + y
        }
        graph forward(tokens[batch_size, new_tokens]) { weight E[50 -> 16]  x = lookup(tokens, E)  LAYERS  return x }
    """.replace("Up[16 -> 64], Down[64 -> 16]", "G[16]").replace(
        "{ return matmul(relu(matmul(x, Up)), Down) }",
        "{ weight Up[16 -> 64], Down[64 -> 16] return matmul(relu(matmul(x, Up)), Down) }",
    )
    whole = cm.parse(text.replace("LAYERS", "repeat 12 { x = layer(x) }"))
    split = cm.parse(text.replace("LAYERS", "repeat 5 { x = layer(x) } repeat 7 { x = layer(x) }"))
    for way in WAYS:
        for context in (20, 1000):
            pair = [model.crossover(device(10**6, 50, 3), context, **way) for model in (whole, split)]
            assert outcome(pair[0]) == outcome(pair[1])
            assert pair[0].batch_size.expr == pair[1].batch_size.expr


@pytest.mark.parametrize("context", [40, 50])
def test_a_window_that_is_no_shorter_than_the_context_is_none(context: int) -> None:
    on = device(10**6, 20)
    for way in WAYS:
        for masked in ("full", "exact"):
            options = {**way, "masked": masked}
            windowed, full = (model.crossover(on, context, **options) for model in (hybrid(50), hybrid()))
            assert outcome(windowed) == outcome(full)


def test_experts_that_all_run_are_a_dense_layer() -> None:
    def model(body: str) -> cm.Model:
        return cm.parse(f"""
            model layer
            graph forward(tokens[batch_size, new_tokens]) {{
                weight E[50 -> 16]
                x = lookup(tokens, E)
                {body}
                return matmul(y, E.T)
            }}
        """)

    dense = model("weight Up[16 -> 48], Down[48 -> 16]  y = matmul(relu(matmul(x, Up)), Down)")
    routed = model("""
        y = route(x, experts = 6, top_k = 6) {
            weight Up[16 -> 8], Down[8 -> 16]
            return matmul(relu(matmul(x, Up)), Down)
        }
    """)
    for phase in ("decode", "prefill"):
        pair = [found.crossover(device(10**6, 50, 3), 9, phase=phase) for found in (dense, routed)]
        assert outcome(pair[0]) == outcome(pair[1])


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("fidelity", ["params", "cache", "traffic"])
def test_operations_sum_to_the_whole(name: str, fidelity: str) -> None:
    from costmodel.symbols import is_zero

    for phase in ("decode", "prefill"):
        quantities = cm.load(name).cost(phase, fidelity=fidelity, device=H100).quantities
        rows = quantities.times_by_row
        assert is_zero(sum(compute for _, compute, _ in rows) - quantities.compute_time)
        assert is_zero(sum(memory for _, _, memory in rows) - quantities.memory_time)


def test_more_devices_as_one_leave_the_crossover_alone() -> None:
    model = cm.load("llama-3.1:70b")
    found = [model.crossover(H100, 256, count=count) for count in (1, 2, 4, 8)]
    assert len({answer.batch_size.value for answer in found}) == 1
    assert found[0].status == "does_not_fit"
    for fewer, more in pairwise(found):
        assert (fewer.max_batch_size.value or 0) <= (more.max_batch_size.value or 0)
