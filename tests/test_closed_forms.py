"""Closed forms of the crossover and of when it exists, against figures found without them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import pairwise
from typing import Any

import mpmath
import pytest
from sympy import Expr, Or, lambdify
from sympy.logic.boolalg import Boolean

import costmodel as cm
from costmodel.crossover import Crossover
from costmodel.figures import comparable, figure
from costmodel.render.crossover import CrossoverAnswer
from costmodel.symbols import batch_size, seq_len, symbol

from .test_crossover_cases import answered, device, planted

DEVICES = ("h100-sxm", "h100-nvl-sparse", "b200", "rtx-4090", "mi300x")


def value(expr: Expr, **figures: int) -> mpmath.mpf:
    """An expression at a point, in 50 digits, by SymPy alone."""
    symbols = [symbol(name) for name in figures]
    with mpmath.workdps(50):
        return +lambdify(symbols, expr, "mpmath")(*map(mpmath.mpf, figures.values()))


def holds(condition: Boolean, **figures: int) -> bool:
    return bool(condition.subs({symbol(name): given for name, given in figures.items()}))


def in_the_end(answer: Crossover) -> Callable[[int], bool]:
    """Whether computing takes longer at a context, at a batch so large that only slopes count."""
    quantities = answer.quantities
    both = lambdify((batch_size, seq_len), (quantities.compute_time, quantities.memory_time), "mpmath")

    def longer(context: int) -> bool:
        with mpmath.workdps(50):
            compute, memory = both(mpmath.mpf(10) ** 60, mpmath.mpf(context))
            return bool(compute > memory)

    return longer


def compute_bound_in_the_end(answer: Crossover, context: int) -> bool:
    return in_the_end(answer)(context)


def solved(answer: Crossover) -> Fraction:
    assert answer.batch_size.value is not None
    return Fraction(answer.batch_size.value)


# --- dense, windows, experts at every shipped family's figures

SPECS = (
    "llama-3.1:8b",
    "llama-2:7b",
    "gemma-2:9b",
    "gpt-oss:20b",
    "mixtral:8x7b",
    "deepseek-v3",
    "mamba-2:2.7b",
    "whisper:large-v3",
)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("phase", ["decode", "prefill"])
def test_the_closed_form_is_the_root(spec: str, phase: str) -> None:
    model = cm.load(spec)
    for fidelity in ("params", "cache", "traffic"):
        for name in ("h100-sxm", "b200"):
            free = model.crossover(name, phase=phase, fidelity=fidelity)
            for context in (8, 128, 200, 4096, 4097, 131072):
                answer = model.crossover(name, context, phase=phase, fidelity=fidelity)
                case = next(case for case in free.cases if case.holds(Fraction(context)))
                closed = case.form.closed
                assert answer.form == case.form
                if len(case.form.groups) > 1:
                    assert closed is None
                    continue
                assert closed is not None
                if answer.batch_size.value is None:
                    continue
                exact = solved(answer)
                found = value(closed, seq_len=context)
                assert (
                    abs(found - mpmath.mpf(exact.numerator) / exact.denominator) <= abs(found) * mpmath.mpf(10) ** -12
                )


@pytest.mark.parametrize("spec", SPECS)
def test_critical_contexts_are_where_the_limit_of_intensity_is_the_ridge(spec: str) -> None:
    """By bisection over whole contexts on which side is longer in the end, with no use of the condition itself."""
    model = cm.load(spec)
    contexts = sorted({1, 5, 20, *(2**i for i in range(1, 22)), *(3 * 2**i for i in range(20))})
    for phase in ("decode", "prefill"):
        for fidelity in ("cache", "traffic"):
            for name in DEVICES:
                answer = model.crossover(name, phase=phase, fidelity=fidelity)
                longer, feasible = in_the_end(answer), answer.feasible
                assert feasible is not None
                signs = [longer(context) for context in contexts]
                for context, bound in zip(contexts, signs, strict=True):
                    assert holds(feasible.condition, seq_len=context) == bound
                pairs = zip(pairwise(contexts), pairwise(signs), strict=True)
                found = [bisected(longer, *ends) for ends, (before, behind) in pairs if before != behind]
                edges = [edge.value for edge in feasible.edges if edge.value is not None and edge.value >= 1]
                assert all(below <= edge <= below + 1 for below, edge in zip(found, edges, strict=True))


def bisected(longer: Callable[[int], bool], low: int, high: int) -> int:
    before = longer(low)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if longer(middle) == before else (low, middle)
    return low


# --- windows


SIZES = {"w": 100, "v": 300, "u": 900, "z": 2000}


def windowed(*windows: str) -> str:
    """An attention for each window, with 1, 2, 4 or 8 groups of heads."""
    layers = "".join(
        f"""
        weight Wq{i}[64 -> 8, 4], Wk{i}[64 -> {2**i}, 4], Wo{i}[8, 4 -> 64]
        kept = cache(matmul(x, Wk{i}))
        x = x + matmul(attention(matmul(x, Wq{i}), kept, kept, causal = true, window = {window}), Wo{i})
        """
        for i, window in enumerate(windows)
    )
    return f"""
        model windows
        dim w = 100   dim v = 300   dim u = 900   dim z = 2000
        graph forward(tokens[batch_size, new_tokens]) {{
            weight E[200 -> 64]
            x = lookup(tokens, E)
            {layers}
            return matmul(x, E.T)
        }}
    """


@pytest.mark.parametrize("windows", [("none",), ("w",), ("w", "v"), ("w", "v", "none", "u"), ("v", "w", "none", "z")])
def test_n_windows_give_n_plus_one_cases(windows: tuple[str, ...]) -> None:
    model = cm.parse(windowed(*windows))
    answer = model.crossover("h100-sxm")
    sizes = sorted(SIZES[window] for window in windows if window != "none")
    assert [case.low for case in answer.cases] == [0, *sizes]
    assert [case.high for case in answer.cases] == [*sizes, None]
    assert len({case.form for case in answer.cases}) == len(answer.cases)
    for context in (50, 100, 101, 300, 301, 700, 900, 1000, 5000):
        held = [case for case in answer.cases if holds(case.condition, seq_len=context)]
        assert len(held) == 1
        assert held[0].form.closed is not None
        at = model.crossover("h100-sxm", context)
        if at.batch_size.value is not None:
            assert figure(held[0].form.closed, {seq_len: Fraction(context)}) == at.batch_size.value


def test_windows_that_change_nothing_make_no_case() -> None:
    """At fidelity `params` no cost holds a context; equal windows are one."""
    answer = cm.parse(windowed("w", "w")).crossover("h100-sxm")
    assert [case.high for case in answer.cases] == [100, None]
    (case,) = cm.parse(windowed("w", "v")).crossover("h100-sxm", fidelity="params").cases
    assert case.condition == True  # noqa: E712


def test_cases_are_printed_and_in_json() -> None:
    model = cm.parse(windowed("w", "v"))
    answer = model.crossover("h100-sxm")
    shown = CrossoverAnswer(model.compiled, answer, [])
    cases = shown.as_json()["crossover"]["cases"]
    assert [case["condition"] for case in cases] == [
        "seq_len <= 100",
        "(seq_len <= 300) & (seq_len > 100)",
        "seq_len > 300",
    ]
    assert all(case["expr"] and case["latex"] and case["feasible_when"]["expr"] for case in cases)
    page = shown.page(100).show()
    assert "By context" in page
    assert page.count("b* = ") == 3


@pytest.mark.parametrize("free", [("w",), ("w", "v"), ("w", "v", "u")])
def test_free_windows_are_taken_both_ways(free: tuple[str, ...]) -> None:
    model = cm.parse(windowed("w", "v", "u", "none"))
    answer = model.free(*free).crossover("h100-sxm")
    assert len({case.conditions for case in answer.cases}) == 2 ** len(free)
    for context in (50, 100, 150, 300, 500, 900, 2000):
        at = {"seq_len": context, **{name: SIZES[name] for name in free}}
        held = [case for case in answer.cases if holds(case.condition, **at)]
        assert len(held) == 1
        exact = model.crossover("h100-sxm", context)
        closed = held[0].form.closed
        assert closed is not None
        if exact.batch_size.value is not None:
            assert figure(closed, {symbol(n): Fraction(f) for n, f in at.items()}) == exact.batch_size.value
        assert answer.feasible is not None
        assert holds(answer.feasible.condition, **at) == compute_bound_in_the_end(exact, context)


def test_more_free_windows_than_three_stay_as_they_are() -> None:
    model = cm.parse(windowed("w", "v", "u", "z"))
    (case,) = model.free(*SIZES).crossover("h100-sxm").cases
    assert case.form.closed is not None
    at = {"seq_len": 500, **SIZES}
    exact = model.crossover("h100-sxm", 500).batch_size.value
    assert figure(case.form.closed, {symbol(n): Fraction(f) for n, f in at.items()}) == exact


@pytest.mark.parametrize("masked", ["full", "exact"])
@pytest.mark.parametrize("new", [None, 5, 64])
def test_a_chunk_and_exact_masks_have_cases_too(masked: str, new: int | None) -> None:
    model = cm.parse(windowed("w", "v"))
    phase = "prefill" if new is None else "decode"
    options: dict[str, Any] = {"phase": phase, "masked": masked, "new_tokens": new}
    answer = model.crossover("h100-sxm", **options)
    for context in (64, 99, 100, 104, 130, 163, 164, 300, 304, 363, 400, 3000):
        held = [case for case in answer.cases if holds(case.condition, seq_len=context)]
        assert len(held) == 1
        assert held[0].form.closed is not None
        exact = model.crossover("h100-sxm", context, **options)
        if exact.batch_size.value is not None:
            assert figure(held[0].form.closed, {seq_len: Fraction(context)}) == exact.batch_size.value
        assert answer.feasible is not None
        assert holds(answer.feasible.condition, seq_len=context) == compute_bound_in_the_end(exact, context)


# --- several critical contexts


def test_a_hybrid_has_several_critical_contexts() -> None:
    """Compute leads, falls behind the cache, and leads again where a third kind of layer sets in."""
    model = cm.parse("""
        model hybrid
        op near(x[b, t]) -> [b, t] { state S[b, 500]  matmul_flops = 8000 * b }
        op long(x[b, t]) -> [b, t] { matmul_flops = 3 * b * max(0, seq_len - 5000) }
        dtype weights = fp8
        dtype cache = fp8
        graph forward(tokens[batch_size, new_tokens]) {
            weight E[50 -> 4], Wq[4 -> 1, 1], Wk[4 -> 1, 1]
            x = lookup(long(near(tokens)), E)
            kept = cache(matmul(x, Wk))
            return attention(matmul(x, Wq), kept, kept)
        }
    """)
    on = device(peak=5)
    answer = model.crossover(on)
    longer, feasible = in_the_end(answer), answer.feasible
    assert feasible is not None
    assert isinstance(feasible.condition, Or)
    assert [edge.value for edge in feasible.edges] == [3016, 5992]
    for context in (1, 3015, 3016, 3017, 4999, 5000, 5001, 5991, 5992, 5993, 10**6):
        assert holds(feasible.condition, seq_len=context) == longer(context)
        assert (model.crossover(on, context).status in ("always", "crosses")) == longer(context)
    shown = CrossoverAnswer(model.compiled, answer, [])
    assert shown.as_json()["crossover"]["critical_seq_lens"] == [3016, 5992]
    assert "seq_len < 3,016 or seq_len > 5,992" in shown.page(100).show()


# --- free dims


def conditions(condition: Boolean) -> Iterator[Boolean]:
    yield condition
    for part in condition.args:
        if isinstance(part, Boolean):
            yield from conditions(part)


@pytest.mark.parametrize("fidelity", ["params", "cache", "traffic"])
@pytest.mark.parametrize("phase", ["decode", "prefill"])
@pytest.mark.parametrize(
    ("spec", "free"),
    [
        ("llama-3.1:8b", "num_kv_heads"),
        ("llama-3.1:8b", "num_layers"),
        ("llama-3.1:8b", "hidden_size"),
        ("gemma-2:9b", "num_kv_heads"),
        ("gemma-2:9b", "sliding_window"),
        ("mixtral:8x7b", "intermediate_size"),
        ("mixtral:8x7b", "num_experts"),
        ("mamba-2:2.7b", "num_layers"),
        ("deepseek-v3", "kv_lora_rank"),
    ],
)
def test_a_dim_left_free_keeps_its_symbol(spec: str, free: str, phase: str, fidelity: str) -> None:
    model = cm.load(spec)
    given = int(model.dims[free])
    for timing in ("overlap", "serial", "per_op"):
        options: dict[str, Any] = {"phase": phase, "fidelity": fidelity, "timing": timing}
        answer = model.free(free).crossover("h100-sxm", **options)
        used = answer.quantities.compute_time.free_symbols | answer.quantities.memory_time.free_symbols
        statuses = set()
        for context in (1, 300, 5000):
            exact = model.crossover("h100-sxm", context, **options)
            statuses.add(exact.status)
            at = {"seq_len": context, free: given}
            held = [case for case in answer.cases if holds(case.condition, **at)]
            assert len(held) == 1
            closed = held[0].form.closed
            if closed is not None and exact.batch_size.value is not None:
                found = value(closed, **at)
                expected = solved(exact)
                assert (
                    abs(found - mpmath.mpf(expected.numerator) / expected.denominator)
                    <= abs(found) * mpmath.mpf(10) ** -12
                )
            assert answer.feasible is not None
            assert holds(answer.feasible.condition, **at) == compute_bound_in_the_end(exact, context)
        if symbol(free) in used and timing == "overlap":
            # weights that exceed the device by far do so whatever the dim is
            never_fits = answer.fit.largest == 0
            assert not never_fits or statuses == {"does_not_fit"}
            assert answer.status == ("does_not_fit" if never_fits else None)
            shown = CrossoverAnswer(model.free(free).compiled, answer, []).as_json()["crossover"]
            assert shown["status"] == answer.status
            assert len(shown["cases"]) == len(answer.cases)


def test_every_context_is_feasible_where_reading_grows_no_faster() -> None:
    """h = u + v·s with u > 0: every context if v ≥ 0, else those below u/(−v); both arms where v's sign is open."""
    model = cm.parse("""
        model arms
        dim heads = 4   dim groups = 2   dim more = 3
        graph forward(tokens[batch_size, new_tokens]) {
            weight E[50 -> 8], Wq[8 -> heads * groups, 8], Wk[8 -> groups, 8], Wo[heads * groups, 8 -> 8]
            x = lookup(tokens, E)
            kept = cache(matmul(x, Wk))
            return matmul(attention(matmul(x, Wq), kept, kept, causal = true), Wo)
        }
    """)
    for ridge in (1, 7, 100):
        on = device(peak=ridge)
        answer = model.free("heads", "groups").crossover(on)
        feasible = answer.feasible
        assert feasible is not None
        for heads in (1, 2, 3, 4, 7, 50, 400):
            for groups in (1, 2, 8):
                at = model.set(heads=heads, groups=groups).crossover(on)
                for context in (1, 2, 5, 10, 100, 10**6):
                    expected = compute_bound_in_the_end(at, context)
                    assert holds(feasible.condition, seq_len=context, heads=heads, groups=groups) == expected
    # the sign of h's slope is open at the last ridge, so that both arms are named
    assert feasible is not None
    assert any(seq_len not in part.free_symbols and part.free_symbols for part in conditions(feasible.condition))
    assert any(seq_len in part.free_symbols for part in conditions(feasible.condition))


def test_all_dims_free() -> None:
    model = cm.load("llama-3.1:8b")
    answer = model.free("all").crossover("h100-nvl")
    assert answer.status is None
    (case,) = answer.cases
    assert case.form.closed is not None
    figures = {symbol(name): Fraction(int(dim)) for name, dim in model.dims.items()}
    for context in (100, 8192):
        exact = model.crossover("h100-nvl", context)
        assert figure(case.form.closed, {**figures, seq_len: Fraction(context)}) == exact.batch_size.value
        assert case.feasible.condition.subs(
            {**{s: int(v) for s, v in figures.items()}, seq_len: context}
        ) == compute_bound_in_the_end(exact, context)


# --- experts


def test_lamberts_w_holds_with_symbols_and_at_extremes() -> None:
    """z is as small as 10^-1000, and no power of numbers is worked out."""
    for constant, slope, count, size in (
        (10**6, 1, 2, 50),
        (10**5, 3, 64, 10**4),
        (7, 1, 256, 10**9),
        (10**9, 10**9, 8, 1),
    ):
        answer = answered(planted(f"{slope} * b", weight=constant, experts=(count, 1, size)))
        expr = answer.batch_size.expr
        assert expr is not None
        assert len(str(expr)) < 400
        found, exact = figure(expr, {}), solved(answer)
        assert abs(found - mpmath.mpf(exact.numerator) / exact.denominator) <= found * mpmath.mpf(10) ** -12


def test_several_groups_have_an_equation_and_no_closed_form() -> None:
    text = """
        model groups
        graph forward(x[batch_size, new_tokens, 8]) {
            a = route(x, experts = 8, top_k = 1) { weight Wa[8 -> 8] return matmul(x, Wa) }
            b = route(a, experts = 64, top_k = 1) { weight Wb[8 -> 8] return matmul(a, Wb) }
            return b
        }
    """
    model = cm.parse(text)
    answer = model.crossover("h100-sxm")
    assert answer.form is not None
    assert len(answer.form.groups) == 2
    shown = CrossoverAnswer(model.compiled, answer, []).as_json()["crossover"]["batch_size"]
    assert shown["expr"] is None
    assert shown["latex"].count("=") == 1
    assert isinstance(shown["value"], float)
    # powers of one base are one group, however they are written
    same = cm.parse(text.replace("experts = 64", "experts = 8")).crossover("h100-sxm")
    assert same.form is not None
    assert len(same.form.groups) == 1
    assert same.form.closed is not None


def test_no_slope_has_a_logarithm() -> None:
    answer = answered(planted("100", experts=(8, 1, 50)))
    expr = answer.batch_size.expr
    assert expr is not None
    assert answer.status == "leaves"
    with mpmath.workdps(30):
        assert (
            abs(figure(expr, {}) - mpmath.log(mpmath.mpf(3) / 4) / mpmath.log(mpmath.mpf(7) / 8))
            < mpmath.mpf(10) ** -25
        )
    assert abs(solved(answer) - comparable(figure(expr, {}))) < Fraction(1, 10**20)


# --- independence


@pytest.mark.parametrize(
    ("spec", "options", "independent"),
    [
        ("llama-3.1:8b", {}, set()),
        (
            "llama-3.1:8b",
            {"fidelity": "params"},
            {"hidden_size", "num_heads", "num_kv_heads", "intermediate_size", "num_layers", "vocab_size", "seq_len"},
        ),
        ("mamba-2:2.7b", {}, {"seq_len"}),
    ],
)
def test_what_the_crossover_does_not_depend_on(spec: str, options: dict[str, str], independent: set[str]) -> None:
    model = cm.load(spec)
    context = 300
    answer = model.crossover("h100-nvl", context, **options)
    named = set(answer.independent_of)
    assert independent <= named
    for name, given in model.dims.items():
        for factor in (2, 4):
            try:
                other = model.set(**{name: int(given) * factor}).crossover("h100-nvl", context, **options)
            except cm.SpecError:
                continue
            if name in named:
                assert other.batch_size.value == answer.batch_size.value, name
