"""The crossover, the fit and the batch to run against a plain search over whole batch sizes.

The search shares no code with the solver: a cost becomes a Python function of the batch size, which is tried at one
batch after another, by doubling for "ever" and for the fit, and by bisection between two that differ.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import mpmath
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from sympy import Rational, lambdify

import costmodel as cm
from costmodel.crossover import Crossover
from costmodel.device import Device, shipped_device
from costmodel.solve.crossover import solve
from costmodel.symbols import ZERO

settings.register_profile(
    "crossovers",
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)

Function = Callable[..., Any]
DIGITS = 200
FEW = 200
FAR = 2**80


# --- the search


@dataclass
class Search:
    """Compute and memory time at whole batches: in floats, and in 200 digits where those leave the sign open."""

    times: Callable[[float], tuple[float, float]]
    exact_times: Callable[[mpmath.mpf], tuple[mpmath.mpf, mpmath.mpf]]

    def floats(self, batch: float) -> float:
        compute, memory = self.times(batch)
        return compute - memory

    def sign(self, batch: int) -> int:
        compute, memory = self.times(float(batch))
        value = compute - memory
        if abs(value) <= 1e-9 * (compute + memory):
            value = self.exactly(mpmath.mpf(batch))
        return (value > 0) - (value < 0)

    def exactly(self, batch: mpmath.mpf) -> mpmath.mpf:
        with mpmath.workdps(DIGITS):
            compute, memory = self.exact_times(batch)
            value = compute - memory
            return mpmath.mpf(0) if abs(value) <= (compute + memory) * mpmath.mpf(10) ** -150 else value

    def turns(self) -> list[tuple[int, int]]:
        """The sign at batch 1, and each batch from which on it is another."""
        tried = list(_tried())
        found = [(1, self.sign(1))]
        for below, above in pairwise(tried):
            sign = self.sign(above)
            if sign != found[-1][1]:
                low, high = below, above
                while high - low > 1:
                    middle = (low + high) // 2
                    low, high = (middle, high) if self.sign(middle) == found[-1][1] else (low, middle)
                found.append((high, sign))
        return found

    def dip(self) -> int | None:
        """Where compute time is less only between two whole batches, the upper one: work that does not grow first."""
        if self.floats(1e-9) <= 0:
            return None
        values = [self.floats(float(batch)) for batch in range(1, FEW)]
        least = 1 + values.index(min(values))
        low, high = float(max(1, least - 1)), float(least + 1)
        for _ in range(60):
            a, b = low + (high - low) / 3, high - (high - low) / 3
            low, high = (low, b) if self.floats(a) < self.floats(b) else (a, high)
        return math.ceil(low) if self.exactly(mpmath.mpf(low)) < 0 else None


def _tried() -> Iterator[int]:
    batch = 1
    while batch < FAR:
        yield batch
        batch = batch + 1 if batch < FEW else batch + batch // 10
    yield FAR


def largest(fits: Callable[[int], bool]) -> int | None:
    """The largest whole batch that fits: 0 where not one does, None where all do."""
    high = 1
    while fits(high):
        high *= 2
        if high > FAR:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


@dataclass(frozen=True)
class Found:
    status: str
    batch: int | None
    """The least whole batch from which on compute time is not less, where there is one above 1, or at a root at 1."""
    fits: int | None
    optimum: int | None


def search(times: Search, fits: int | None) -> Found:
    turns = times.turns()
    bound = [sign >= 0 for _, sign in turns]
    batch = None
    if bound[-1]:
        last = next((i for i in range(len(turns) - 1, -1, -1) if not bound[i]), None)
        batch = turns[last + 1][0] if last is not None else times.dip()
        if batch is None and turns[0][1] == 0 and len(turns) > 1:
            batch = 1
    if fits == 0:
        return Found("does_not_fit", batch, fits, None)
    if not any(bound):
        return Found("never", None, fits, fits)
    if not bound[-1]:
        return Found("leaves", None, fits, fits)
    if batch is None:
        return Found("always", None, fits, 1)
    if fits is None or batch <= fits:
        return Found("crosses", batch, fits, batch)
    return Found("beyond_memory", batch, fits, fits)


def compare(found: Found, answer: Crossover) -> None:
    assert answer.status == found.status
    assert answer.max_batch_size.value == found.fits
    assert answer.optimal_batch_size == found.optimum
    limits = {"does_not_fit": "memory", "always": "nothing", "crosses": "crossover"}
    assert answer.limited_by == limits.get(found.status, "memory" if found.fits is not None else "nothing")
    assert answer.solved is not None
    if found.batch is not None:
        assert answer.solved.ceiling == found.batch
        value = answer.batch_size.value
        assert value is not None
        assert found.batch - 1 < value + Fraction(1, 10**20)
        assert value < found.batch + Fraction(1, 10**20)


# --- models as specs


@dataclass
class Draft:
    """A spec while it is drawn."""

    draw: st.DrawFn
    width: int = 0
    count: int = 0

    def upto(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def pick(self, *options: Any) -> Any:
        return self.draw(st.sampled_from(options))

    def name(self, stem: str) -> str:
        self.count += 1
        return f"{stem}{self.count}"

    def typed(self) -> str:
        return self.pick("", "", "", " : fp8", " : fp32", " : int4", " : nvfp4")

    # each gives statements that take x[b, t, width] to x

    def heads(self) -> str:
        """Grouped, multi-query or multi-head attention, with or without a window, stored or only read."""
        groups = self.upto(1, 3)
        heads, size = groups * self.upto(1, 4), self.upto(1, 8)
        window = self.pick(None, None, self.upto(1, 40), self.upto(41, 3000))
        stored = self.pick("", f", window = {window}") if window else ""
        kept = self.pick("", "", ', dtype = "fp8"')
        read = f", window = {window}" if window else ""
        q, k, v, o = (self.name("W") for _ in "qkvo")
        return f"""
            weight {q}[{self.width} -> {heads}, {size}]{self.typed()}, {k}[{self.width} -> {groups}, {size}]
            weight {v}[{self.width} -> {groups}, {size}], {o}[{heads}, {size} -> {self.width}]
            keys = cache(matmul(x, {k}){stored}{kept})
            values = cache(matmul(x, {v}){stored}{kept})
            x = x + matmul(attention(matmul(x, {q}), keys, values, causal = true{read}), {o})
        """

    def latent(self) -> str:
        heads, rank = self.upto(1, 12), self.upto(1, 16)
        q, kv, o = (self.name("W") for _ in range(3))
        return f"""
            weight {q}[{self.width} -> {heads}, {rank}], {kv}[{self.width} -> 1, {rank}]
            weight {o}[{heads}, {rank} -> {self.width}]
            kept = cache(matmul(x, {kv}))
            x = x + matmul(attention(matmul(x, {q}), kept, kept, causal = true), {o})
        """

    def recurrence(self) -> str:
        state, slots = self.name("S"), self.upto(1, 6)
        return f"""
            state {state}[batch_size, {slots}, {self.width}]{self.typed()}
            x = x + einsum("b t d, b n d -> b t d", x, update({state}, last(x)))
        """

    def cross(self) -> str:
        q, k, v, o = (self.name("W") for _ in "qkvo")
        size = self.upto(1, 8)
        return f"""
            weight {q}[{self.width} -> 1, {size}], {k}[{self.width} -> 1, {size}]
            weight {v}[{self.width} -> 1, {size}], {o}[1, {size} -> {self.width}]
            x = x + matmul(attention(matmul(x, {q}), keep(matmul(frames, {k})), keep(matmul(frames, {v}))), {o})
        """

    def dense(self) -> str:
        inner, up, down = self.upto(1, 64), self.name("W"), self.name("W")
        return f"""
            weight {up}[{self.width} -> {inner}]{self.typed()}, {down}[{inner} -> {self.width}]
            x = x + matmul(gelu(matmul(rmsnorm(x), {up})), {down})
        """

    def experts(self) -> str:
        count = self.pick(2, 4, 8, 64, 256, self.upto(2, 40))
        top = self.pick("1", "1", str(min(2, count)), str(self.upto(1, count)), "1/2")
        inner, up, down = self.upto(1, 64), self.name("W"), self.name("W")
        return f"""
            mixed = route(x, experts = {count}, top_k = {top}) {{
                weight {up}[{self.width} -> {inner}], {down}[{inner} -> {self.width}]{self.typed()}
                return matmul(relu(matmul(x, {up})), {down})
            }}
            x = x + mixed
        """

    def spec(self) -> str:
        self.width = self.upto(2, 48)
        fixed = self.pick(0, 0, self.upto(1, 10**4), self.upto(10**4, 10**7))
        mixing = [self.heads, self.heads, self.latent, self.recurrence, self.cross]
        layers = []
        for _ in range(self.upto(1, 3)):
            inside = self.pick(*mixing)() + self.pick(self.dense, self.experts, self.experts, str)()
            layers.append(f"repeat {self.upto(1, 6)} {{ {inside} }}")
        types = [f"dtype {role} = {self.pick('bf16', 'fp8', 'fp32', 'int4')}" for role in ("weights", "cache")]
        tokens = "work(tokens)" if fixed else "tokens"
        return "\n".join(
            [
                "model drawn",
                *types,
                f"op work(x[b, t]) -> [b, t] {{ matmul_flops = {fixed} }}" if fixed else "",
                "phase verify { new_tokens = 5 }",
                f"graph forward(tokens[batch_size, new_tokens], frames[batch_size, 16, {self.width}]) {{",
                f"weight embedding[{self.upto(2, 100)} -> {self.width}]",
                f"x = lookup({tokens}, embedding)",
                *layers,
                "return matmul(x, embedding.T)",
                "}",
            ]
        )


@st.composite
def specs(draw: st.DrawFn) -> str:
    return Draft(draw).spec()


RUNS = st.fixed_dictionaries(
    {
        "phase": st.sampled_from(["decode", "decode", "prefill", "verify"]),
        "fidelity": st.sampled_from(["cache", "cache", "params", "traffic"]),
        "masked": st.sampled_from(["full", "full", "exact"]),
        "fusion": st.sampled_from(["elementwise", "none"]),
    }
)


@dataclass(frozen=True)
class Place:
    """Where a pass runs: the memory is so many times the weights, and a byte is read in the time of `ridge` FLOPs."""

    context: int
    timing: str
    count: int
    fraction: Fraction
    room: Fraction
    ridge: Fraction
    bandwidth: int

    def device(self, weights: Fraction) -> Device:
        peak = self.ridge * self.bandwidth
        return replace(
            DEVICE,
            memory=exact(weights * self.room),
            bandwidth=exact(Fraction(self.bandwidth)),
            peaks={**DEVICE.peaks, "bf16": exact(peak), "vector": exact(peak / 13)},
        )


DEVICE = shipped_device("h100-sxm")
PLACES = st.builds(
    Place,
    st.one_of(st.integers(5, 64), st.integers(5, 8192), st.integers(5, 10**6)),
    st.sampled_from(["overlap", "serial", "per_op"]),
    st.sampled_from([1, 1, 1, 2, 8]),
    st.sampled_from([Fraction(1), Fraction(9, 10), Fraction(11, 10)]),
    st.one_of(st.fractions(Fraction(1, 2), 4), st.fractions(1, 40), st.fractions(1, 10**6)),
    st.one_of(st.fractions(Fraction(1, 10), 40), st.fractions(1, 2000, max_denominator=50)),
    st.integers(1, 10**12),
)


def exact(value: Fraction) -> Rational:
    return Rational(value.numerator, value.denominator)


def digits_of(value: Any) -> mpmath.mpf:
    return mpmath.mpf(int(value.p)) / int(value.q)


@dataclass(frozen=True)
class Costs:
    """A table's costs as functions of the batch and the context, in floats and in digits."""

    floats: dict[str, Function]
    digits: dict[str, Function]

    @classmethod
    def of(cls, cost: cm.Cost) -> Costs:
        names = ("matmul_flops", "vector_flops", "bytes", "memory")
        variables = (cm.batch_size, cm.seq_len)
        exprs = {name: getattr(cost, name) for name in names}
        return cls(*({n: lambdify(variables, e, module) for n, e in exprs.items()} for module in ("math", "mpmath")))

    def search(self, on: Device, fidelity: str, context: int) -> Search:
        vector = fidelity == "traffic"
        rates = (on.peaks["bf16"], on.peaks["vector"], on.bandwidth)

        def taking(functions: dict[str, Function], rates: Sequence[Any]) -> Function:
            matmul, elementwise, moved = (functions[name] for name in ("matmul_flops", "vector_flops", "bytes"))
            peak, vector_peak, bandwidth = rates

            def times(batch: Any) -> tuple[Any, Any]:
                compute = matmul(batch, context) / peak
                if vector:
                    compute += elementwise(batch, context) / vector_peak
                return compute, moved(batch, context) / bandwidth

            return times

        with mpmath.workdps(DIGITS):
            return Search(taking(self.floats, [*map(float, rates)]), taking(self.digits, [*map(digits_of, rates)]))

    def fits(self, on: Device, fraction: Fraction, context: int) -> int | None:
        """What memory a batch needs is a whole number or a fraction of a short one, which 60 digits hold."""
        with mpmath.workdps(60):
            room = digits_of(on.memory) * fraction.numerator / fraction.denominator * (1 + mpmath.mpf(10) ** -50)
            return largest(lambda batch: bool(self.digits["memory"](mpmath.mpf(batch), context) <= room))


SPECS, PLACES_EACH = 34, 20


def test_random_specs_on_random_devices() -> None:
    """Each spec in three ways to run it, each of those in many places; every status comes up."""
    seen: Counter[str] = Counter()

    @settings(settings.get_profile("crossovers"), max_examples=SPECS)
    @given(specs(), st.lists(RUNS, min_size=3, max_size=3), st.data())
    def each(spec: str, runs: list[dict[str, str]], data: st.DataObject) -> None:
        note(spec)
        model = cm.parse(spec)
        for run in runs:
            cost = model.cost(**run)  # type: ignore[arg-type]
            costs, weights = Costs.of(cost), Fraction(str(cost.weight_memory))
            for place in data.draw(st.lists(PLACES, min_size=PLACES_EACH, max_size=PLACES_EACH)):
                on, context = place.device(weights), place.context
                answer = model.crossover(
                    on, context, timing=place.timing, count=place.count, memory_fraction=place.fraction, **run
                )
                together = on.times(place.count)
                fits = costs.fits(together, place.fraction, context)
                found = search(costs.search(together, run["fidelity"], context), fits)
                note(f"{run} {place} {found}")
                seen[found.status] += 1
                compare(found, answer)

    each()
    assert seen.total() >= 2000
    assert min(seen[status] for status in ("does_not_fit", "always", "crosses", "beyond_memory", "never")) >= 40, seen


# --- costs drawn as they are


@st.composite
def balances(draw: st.DrawFn) -> tuple[int, int, list[tuple[int, Fraction, int]], int]:
    """n, h, groups of d, q and rate, and what is the same on both sides: h·b − n − Σ d·(1 − q^(rate·b))."""
    wide = st.one_of(st.integers(0, 30), st.integers(0, 10**4), st.integers(0, 10**12))
    n, h = draw(wide) * draw(st.sampled_from([1, 1, -1])), draw(wide) * draw(st.sampled_from([1, 1, 1, -1]))
    groups = []
    for _ in range(draw(st.integers(0, 3))):
        count = draw(st.sampled_from([2, 3, 8, 64, 256, 1000]))
        top = draw(st.integers(1, count - 1) if draw(st.booleans()) else st.just(1))
        d = abs(n) // draw(st.integers(1, 4)) if draw(st.booleans()) else draw(wide)
        groups.append((d, 1 - Fraction(top, count), draw(st.sampled_from([1, 1, 1, 2, 5, 1000]))))
    return n, h, groups, draw(st.integers(0, 10**6))


@dataclass
class Balance(Search):
    """A search that sees what is left of the powers where all else is equal: 28·(2/3)^1000 at 28·b = 28·(1 − …)."""

    rest: Callable[[mpmath.mpf], mpmath.mpf]
    powers: Callable[[mpmath.mpf], mpmath.mpf]

    def exactly(self, batch: mpmath.mpf) -> mpmath.mpf:
        with mpmath.workdps(DIGITS):
            return self.powers(batch) if self.rest(batch) == 0 else super().exactly(batch)


def test_random_balances() -> None:
    """Work that does not grow with the batch too, which alone gives two roots, and a pass that ends memory-bound."""
    seen: Counter[str] = Counter()

    @settings(settings.get_profile("crossovers"), max_examples=1000)
    @given(balances(), st.one_of(st.none(), st.integers(0, 3), st.integers(0, 2000)))
    def each(balance: tuple[int, int, list[tuple[int, Fraction, int]], int], fits: int | None) -> None:
        n, h, groups, both = balance
        b = cm.batch_size
        compute, memory = [max(-n, 0), (max(h, 0) + both) * b], [max(n, 0), (max(-h, 0) + both) * b]
        memory += [d * (1 - exact(q) ** (rate * b)) for d, q, rate in groups]
        solved = solve(sum(compute, ZERO), sum(memory, ZERO), {})

        def read(batch: Any, power: Function) -> Any:
            return sum(d * (1 - power(q, rate * batch)) for d, q, rate in groups)

        def at(batch: Any, power: Function) -> tuple[Any, Any]:
            return max(-n, 0) + (max(h, 0) + both) * batch, max(n, 0) + (max(-h, 0) + both) * batch + read(batch, power)

        def exact_power(q: Fraction, x: mpmath.mpf) -> mpmath.mpf:
            return (mpmath.mpf(q.numerator) / q.denominator) ** x

        times = Balance(
            lambda batch: at(batch, lambda q, x: math.exp(math.log(q) * x)),
            lambda batch: at(batch, exact_power),
            lambda batch: h * batch - n - sum(d for d, _, _ in groups),
            lambda batch: sum(d * exact_power(q, rate * batch) for d, q, rate in groups),
        )
        found = search(times, fits)
        note(str(found))
        seen[found.status] += 1
        assert solved.status(fits) == found.status
        if found.batch is not None:
            assert solved.ceiling == found.batch
        for root in solved.roots:
            with mpmath.workdps(DIGITS):
                below, above = (times.exactly(mpmath.mpf(x.numerator) / x.denominator) for x in (root.low, root.high))
            assert root.high - root.low <= root.high / 10**25
            if root.low == root.high:
                assert below == 0
            elif root.upward is not None:
                # an end may be nearer to the root than the search's digits tell
                assert (below <= 0 <= above) if root.upward else (below >= 0 >= above)
                assert below != above

    each()
    assert min(seen[status] for status in STATUSES) >= 8, seen


STATUSES = ("does_not_fit", "always", "crosses", "beyond_memory", "never", "leaves")
