"""Random conditions on random small models, against a second opinion: the same costs written out by hand.

Membership is compared value by value: at every whole number up to a bound, or at 400 points of a line; the best value
with that of a search through all of them; conflicts and what binds with each condition by itself. The figures are
computed for one family of models by the rules of the language's page, with floats, and with fractions where a value is
too near to the bound to tell.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from sympy import Integer, Symbol

from costmodel.compile import Run, compile_source
from costmodel.conditions import Setting
from costmodel.device import devices_of
from costmodel.figures import comparable, figure
from costmodel.question import Question
from costmodel.solve.budget import budget
from costmodel.solve.symbolic import Bound
from costmodel.solve_for import Solution, solve_for
from costmodel.source import Source, SpecError
from costmodel.symbols import symbol

Number = Any
"""A float, or a Fraction."""

MOST = 400
PASS = ("latency", "memory", "throughput", "compute_time", "intensity", "flops", "bytes", "cost_per_million_tokens")
REQUEST = (
    *("ttft", "tpot", "request_time", "request_flops", "request_bytes"),
    *("cost_per_million_output_tokens", "output_input_ratio"),
)
UNITS = {
    **dict.fromkeys(("latency", "compute_time", "memory_time", "ttft", "tpot", "request_time"), "us"),
    **dict.fromkeys(("memory", "bytes", "request_bytes"), "B"),
}
PER_STEP = {"tpot", "cost_per_million_output_tokens", "output_input_ratio"}
DEVICE = {"bandwidth": 10**9, "peak": 10**9, "memory": 10**6, "price": 1}


@dataclass(frozen=True)
class Model:
    """One model of the family. `window` is that of every other layer; without `experts` the second half is dense.

    Where it is `derived`, the size of a head follows from `wide`, which all heads share.
    """

    hidden: int
    heads: int
    groups: int
    size: int
    inner: int
    layers: int
    vocab: int
    window: int | None
    experts: int | None
    top_k: int
    phase: str
    timing: str
    derived: bool = False

    @property
    def text(self) -> str:
        window = "window" if self.window is not None else "none"
        if self.experts is not None:
            feed = """
            scores = matmul(x, Wrouter)
            x = route(x, scores, top_k = top_k) { return up_down(x) }"""
            router = "weight Wrouter[hidden -> experts]"
        else:
            feed, router = "x = up_down(x)", ""
        dims: dict[str, int | str] = {
            "hidden": self.hidden, "groups": self.groups, "inner": self.inner, "layers": self.layers,
            "vocab": self.vocab, "heads": self.heads,
        }  # fmt: skip
        dims |= {"wide": self.wide, "size": "wide / heads"} if self.derived else {"size": self.size}
        if self.window is not None:
            dims["window"] = self.window
        if self.experts is not None:
            dims |= {"experts": self.experts, "top_k": self.top_k}
        declared = "\n".join(f"dim {name} = {value}" for name, value in dims.items())
        return f"""
        model random
        {declared}
        block up_down(x) {{
            weight Wup[hidden -> inner], Wdown[inner -> hidden]
            return matmul(relu(matmul(x, Wup)), Wdown)
        }}
        block attend(x, window) {{
            weight Wq[hidden -> heads, size], Wk[hidden -> groups, size], Wv[hidden -> groups, size]
            weight Wo[heads, size -> hidden]
            k = cache(matmul(x, Wk), window = window)
            v = cache(matmul(x, Wv), window = window)
            return matmul(attention(matmul(x, Wq), k, v, causal = true, window = window), Wo)
        }}
        graph forward(tokens[batch_size, new_tokens]) {{
            weight embedding[vocab -> hidden], unembedding[hidden -> vocab]
            x = lookup(tokens, embedding)
            repeat layers {{
                {router}
                x = attend(x, window = none)
                x = attend(x, window = {window})
                {feed}
            }}
            return matmul(x, unembedding)
        }}
        device card {{
            memory = 1 MB; bandwidth = 1 GB/s; peak bf16 = 1 GFLOP/s; price = 3600 USD/h
        }}
        """

    @property
    def wide(self) -> int:
        return self.heads * self.size


def costs(model: Model, at: Mapping[str, Number]) -> dict[str, Number]:
    """Every quantity at a point: dims, workload and `device.*` by name, floats or fractions."""
    if "prompt_len" not in at:
        return of_pass(model, at)
    prompt, given = at["prompt_len"], int(at["output_len"])
    first = of_pass(model, {**at, "seq_len": prompt, "new_tokens": prompt})
    steps = [of_pass(model, {**at, "seq_len": prompt + j, "new_tokens": 1}) for j in range(1, given)]
    found = {
        "ttft": first["latency"],
        "request_flops": first["flops"] + sum(step["flops"] for step in steps),
        "request_bytes": first["bytes"] + sum(step["bytes"] for step in steps),
        "request_time": first["latency"] + sum(step["latency"] for step in steps),
    }
    if steps:
        found["tpot"] = sum(step["latency"] for step in steps) / len(steps)
        per_token = first["latency"] / prompt
        found["cost_per_million_output_tokens"] = at["device.price"] * 10**6 * found["tpot"] / at["batch_size"]
        found["output_input_ratio"] = found["tpot"] / per_token
    return found


def of_pass(model: Model, at: Mapping[str, Number]) -> dict[str, Number]:
    """Operation by operation: FLOPs, bytes moved, bytes stored, and how often it runs."""
    b, s, t = at["batch_size"], at["seq_len"], at["new_tokens"]
    d, f, h, g, n = (at[name] for name in ("hidden", "inner", "heads", "groups", "layers"))
    e = at["wide"] / h if model.derived else at["size"]
    ops: list[tuple[Number, Number, Number, Number]] = []

    def matmul(rows: Number, into: Number, out: Number, often: Number, k: Number = 1, copies: Number = 1) -> None:
        stored = 2 * copies * into * out
        distinct = copies * (1 - (1 - k / copies) ** rows) if copies != 1 else 1
        ops.append((2 * k * rows * into * out, 2 * distinct * into * out, stored, often))

    ops.append((0 * b, 2 * d * at["vocab"], 2 * d * at["vocab"], 1))
    kept = 0
    for reach in (s, s if model.window is None else min(s, at["window"])):
        for into, out in ((d, h * e), (d, g * e), (d, g * e), (h * e, d)):
            matmul(b * t, into, out, n)
        ops.append((2 * b * t * h * reach * 2 * e, 2 * 2 * b * reach * g * e, 0, n))
        kept += n * 2 * 2 * b * reach * g * e
    if model.experts is not None:
        matmul(b * t, d, at["experts"], n)
    for into, out in ((d, f), (f, d)):
        if model.experts is not None:
            matmul(b * t, into, out, n, at["top_k"], at["experts"])
        else:
            matmul(b * t, into, out, n)
    matmul(b * t, d, at["vocab"], 1)
    peak, bandwidth = at["device.peak"] * 10**9, at["device.bandwidth"] * 10**9
    flops, moved, stored = (sum(op[i] * op[3] for op in ops) for i in range(3))
    compute, transfer = flops / peak, moved / bandwidth
    latency = {
        "overlap": lambda: max(compute, transfer),
        "serial": lambda: compute + transfer,
        "per_op": lambda: sum(often * max(x / peak, y / bandwidth) for x, y, _, often in ops),
    }[model.timing]()
    return {
        "flops": flops,
        "bytes": moved,
        "memory": stored + kept,
        "compute_time": compute,
        "memory_time": transfer,
        "latency": latency,
        "throughput": b * t / latency,
        "intensity": flops / moved,
        "cost_per_million_tokens": at["device.price"] * 10**6 * latency / (b * t),
        "capacity": at["device.memory"] * 10**6,
    }


def crossover(model: Model, at: Mapping[str, Number]) -> float | None:
    """The batch size from which compute takes longer, by bisection; None where it never does."""

    def balance(batch: float) -> float:
        found = of_pass(model, {name: float(value) for name, value in {**at, "batch_size": batch}.items()})
        return (found["compute_time"] - found["memory_time"]) / found["memory_time"]

    low, high = 1e-12, 1e15
    if balance(high) <= 0:
        return None
    for _ in range(60):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if balance(middle) >= 0 else (middle, high)
    return high


@dataclass(frozen=True)
class Case:
    """A question with the figures that are given, and the same question for the second opinion."""

    model: Model
    point: dict[str, int]
    unknown: str
    conditions: tuple[tuple[str, str, Fraction | str], ...]
    objective: tuple[str, int] | None

    def written(self, condition: tuple[str, str, Fraction | str]) -> str:
        left, relation, right = condition
        if isinstance(right, str):
            return f"{left} {relation} {'device.memory' if right == 'capacity' else right}"
        unit = UNITS.get(left, "")
        value = right * 10**6 if unit == "us" else right
        shown = f"{value.numerator} {unit}".strip()
        if value.denominator != 1:
            shown += f" / {value.denominator}"
        return f"{left} {relation} {shown}"

    def question(self) -> Question:
        compiled = compile_source(Source("random", self.model.text))
        device = devices_of(compiled.program)["card"]
        new = self.point.get("new_tokens") if self.model.phase == "decode" else None
        setting = Setting(Run(self.model.phase, new_tokens=new), self.model.timing, device)
        point = {symbol(n): Fraction(v) for n, v in self.point.items() if n != "new_tokens"}
        best = self.objective
        return Question(
            compiled,
            setting,
            point,
            tuple(map(self.written, self.conditions)),
            self.unknown,
            best[0] if best is not None and best[1] > 0 else None,
            best[0] if best is not None and best[1] < 0 else None,
        )

    def at(self, x: Number) -> dict[str, Number]:
        return costs(self.model, self.given(x))

    def given(self, x: Number) -> dict[str, Number]:
        exact = isinstance(x, Fraction)
        kind: Callable[[Any], Number] = Fraction if exact else float
        dims = ("hidden", "heads", "groups", "size", "wide", "inner", "layers", "vocab", "window", "experts", "top_k")
        found = {name: kind(value) for name in dims if (value := getattr(self.model, name)) is not None}
        found |= {f"device.{name}": kind(1) for name in DEVICE}
        found |= {name: kind(value) for name, value in self.point.items()}
        if self.unknown.startswith("device."):
            found[self.unknown] = x / DEVICE[self.unknown.removeprefix("device.")]
        else:
            found[self.unknown] = x
        if self.model.phase == "prefill" and "seq_len" in found:
            found["new_tokens"] = found["seq_len"]
        return found

    def sides(self, condition: tuple[str, str, Fraction | str], x: Number) -> tuple[Number | None, Number]:
        left, _, right = condition
        values = self.at(x)
        other = values[right] if isinstance(right, str) else type(x)(right)
        return crossover(self.model, self.given(x)) if left == "crossover" else values[left], other

    def holds(self, x: Fraction, only: int | None = None) -> bool | None:
        """Whether all conditions hold, or one of them, by floats where they tell; None where nothing does."""
        for condition in self.conditions if only is None else [self.conditions[only]]:
            left, right = self.sides(condition, float(x))
            if left is None:
                return False
            if abs(left - right) < 1e-7 * max(abs(left), abs(right)):
                if self.unknown.startswith("device.") or condition[0] == "crossover":
                    return None
                left, right = self.sides(condition, x)
            relation = condition[1]
            met = {"<=": left <= right, "<": left < right, ">=": left >= right, ">": left > right, "==": left == right}
            if not met[relation]:
                return False
        return True

    def allowed(self, x: int) -> bool:
        """What the model can be at all."""
        model, point = self.model, self.point
        match self.unknown:
            case "groups":
                return model.heads % x == 0
            case "heads":
                return x % model.groups == 0 and (not model.derived or model.wide % x == 0)
            case "wide":
                return x % model.heads == 0
            case "top_k":
                return model.experts is not None and x <= model.experts
            case "experts":
                return x >= model.top_k
            case "seq_len":
                return model.phase == "prefill" or x >= point["new_tokens"]
            case "output_len":
                asked = {self.objective[0] if self.objective else "", *(left for left, _, _ in self.conditions)}
                return x >= 2 or not asked & PER_STEP
            case "new_tokens":
                return x <= point["seq_len"]
        return True


def a_case(draw: random.Random) -> Case:
    groups = draw.choice([1, 2, 3, 4])
    model = Model(
        hidden=draw.randint(2, 24),
        heads=groups * draw.randint(1, 6),
        groups=groups,
        size=draw.randint(1, 6),
        inner=draw.randint(1, 40),
        layers=draw.randint(1, 4),
        vocab=draw.randint(1, 60),
        window=draw.choice([None, None, 3, 17, 64, 150]),
        experts=draw.choice([None, None, 4, 7, 16]),
        top_k=draw.choice([1, 2, 3]),
        phase=draw.choice(["decode", "decode", "prefill"]),
        timing=draw.choice(["overlap", "overlap", "serial", "per_op"]),
        derived=draw.random() < 0.4,
    )
    unknowns = ["batch_size"] * 3 + ["groups", "inner", "layers", "vocab", "hidden", "heads"]
    unknowns.append("wide" if model.derived else "size")
    unknowns += [f"device.{name}" for name in DEVICE]
    unknowns += ["window"] if model.window is not None else []
    unknowns += ["experts", "top_k"] if model.experts is not None else []
    point = {"batch_size": draw.choice([1, 2, 5, 17, 60])}
    if draw.random() < 0.25:
        model = replace(model, phase="decode")
        point |= {"prompt_len": draw.choice([1, 7, 60]), "output_len": draw.choice([2, 5, 30])}
        unknown = draw.choice([*unknowns, *["prompt_len", "output_len"] * 3])
    else:
        point |= {"seq_len": draw.choice([1, 5, 40, 200])}
        if model.phase == "decode":
            point["new_tokens"] = min(draw.choice([1, 1, 1, 3]), point["seq_len"])
            unknowns += ["new_tokens"] * 2
        unknown = draw.choice([*unknowns, *["seq_len"] * 3])
    if unknown in ("groups", "heads"):
        model = replace(model, groups=draw.choice([1, 2, 3]), heads=draw.choice([12, 24, 30, 60]))
    found = Case(model, {n: v for n, v in point.items() if n != unknown}, unknown, (), None)
    count = draw.choice([1, 1, 2, 3])
    found = replace(found, conditions=tuple(a_condition(draw, found) for _ in range(count)))
    if draw.random() < 0.4:
        names = REQUEST if "output_len" in point else PASS
        found = replace(found, objective=(draw.choice(names), draw.choice([1, -1])))
    return found


def a_condition(draw: random.Random, case: Case) -> tuple[str, str, Fraction | str]:
    """One that depends on the unknown, as far as three values tell."""
    for _ in range(40):
        left, relation, right = any_condition(draw, case)
        gaps = []
        for x in (2, 3, 4, 5, 6, 10, 12):
            if case.allowed(x):
                one, other = case.sides((left, relation, right), float(x))
                gaps.append(None if one is None else round(one / other, 9) if other else one)
        if len(set(gaps)) > 1:
            break
    return left, relation, right


def any_condition(draw: random.Random, case: Case) -> tuple[str, str, Fraction | str]:
    """One whose bound is met somewhere, most of the time."""
    relation = draw.choice(["<=", "<=", "<", ">=", ">=", ">", "<=", "<", ">=", ">", "=="])
    request = "output_len" in {*case.point, case.unknown} or "prompt_len" in {*case.point, case.unknown}
    if not request and draw.random() < 0.2:
        return draw.choice(["compute_time", "memory_time"]), relation, draw.choice(["memory_time", "latency"])
    if not request and draw.random() < 0.1:
        return "memory", relation, "capacity"
    left = draw.choice(REQUEST if request else PASS)
    if not request and case.unknown not in ("batch_size", "device.price", "device.memory") and draw.random() < 0.2:
        return "crossover", relation, Fraction(draw.choice([1, 2, 5, 30, 200]) * draw.randint(3, 7), 4)
    if case.unknown.startswith("device."):
        met = Fraction(draw.randint(1, 2000), draw.choice([1, 10, 1000])) * DEVICE[case.unknown.removeprefix("device.")]
    else:
        met = Fraction(draw.choice([x for x in range(2, 41 if request else 301) if case.allowed(x)] or [1]))
    value = Fraction(case.at(met)[left])
    if draw.random() < 0.7:
        # no round figure: a bound between two whole numbers
        value *= Fraction(draw.randint(900, 1100), 1000)
    # a bound met exactly at a whole number, where it can be written
    return left, relation, value if value.denominator < 10**12 else Fraction(f"{float(value):.6e}")


def check(case: Case) -> str:
    """What the solver says is what the second opinion says; `skipped` where the question was refused."""
    try:
        with budget(60):
            found = solve_for(case.question())
    except SpecError as error:
        message = str(error)
        assert "does not depend on" in message, message
        return "skipped"
    assert found.status != "incomplete", found.unfinished
    if found.between:
        found = replace(found, values=type(found.values)(()))
    tried = points(case, found)
    if any(left == "crossover" for left, _, _ in case.conditions):
        # the second opinion looks for it again at each
        tried = tried[:: len(tried) // 40 + 1]
    for x in tried:
        if real(case) or case.allowed(int(x)):
            expected = case.holds(x)
            if expected is not None:
                assert found.holds(x) == expected, (x, expected, shown(found))
            for i, values in enumerate(found.each):
                expected = case.holds(x, only=i)
                if expected is not None:
                    assert values.holds(x) == expected, (x, i, expected)
        else:
            assert not found.holds(x), (x, "is not allowed", shown(found))
    compare_conflict(found)
    compare_binding(case, found)
    if case.objective is not None:
        compare_best(case, found, tried)
    return found.status


def compare_conflict(found: Solution) -> None:
    """Nothing satisfies the conditions named, and without any one of them something does."""
    if found.status != "unsatisfiable" or not found.conflict:
        return
    assert found.domain is not None
    each = dict(zip((c.text for c in found.conditions), found.each, strict=True))
    named = [condition.text for condition in found.conflict]
    for left_out in [None, *named]:
        values = found.domain.values
        for text in named:
            values = values & each[text] if text != left_out else values
        assert values.empty == (left_out is None)


def compare_binding(case: Case, found: Solution) -> None:
    """A condition that binds holds at the last value and fails at the next."""
    texts = [" ".join(case.written(condition).split()) for condition in case.conditions]
    for binding in found.binding:
        i = texts.index(binding.condition.text)
        assert case.holds(binding.at, only=i) in (True, None)
        assert case.holds(binding.beyond, only=i) in (False, None)


def real(case: Case) -> bool:
    return case.unknown.startswith("device.")


def points(case: Case, found: Solution) -> list[Fraction]:
    draw = random.Random(repr(case))
    if case.unknown.startswith("device."):
        unit = DEVICE[case.unknown.removeprefix("device.")]
        return [
            Fraction(unit) * Fraction(10) ** draw.randint(-6, 6) * Fraction(draw.randint(100, 999), 100)
            for _ in range(400)
        ]
    ends = [int(e.value) + i for run in found.values.intervals for e in (run.low, run.high) if e for i in (-1, 0, 1)]
    if "output_len" in {*case.point, case.unknown}:
        # the second opinion adds up step by step
        return [Fraction(x) for x in {*range(1, 21), *ends, *draw.sample(range(1, 300), 10)} if 1 <= x <= 1000]
    beyond = [draw.randint(MOST, 10**6) for _ in range(20)]
    most = 60 if case.unknown in ("experts", "top_k", "groups") else MOST
    return [Fraction(x) for x in {*range(1, most + 1), *ends, *beyond} if 1 <= x <= 10**7]


def compare_best(case: Case, found: Solution, tried: list[Fraction]) -> None:
    assert case.objective is not None
    name, direction = case.objective
    inside = [x for x in tried if found.holds(x)]
    for interval in found.values.intervals if not real(case) else ():
        low, high = int(interval.low.value), MOST if interval.high is None else int(interval.high.value)
        inside += [x for x in map(Fraction, range(low, min(high, low + 1500) + 1)) if found.holds(x)]
    known = [case.at(float(x))[name] * direction for x in inside]
    if not known:
        return
    top = max(known)
    if found.best is not None:
        assert real(case) or found.holds(found.best.value)
        best = case.at(float(found.best.value))[name] * direction
    elif found.tends is not None and found.tends.limit is not None:
        best = float(found.tends.limit) * direction
    else:
        return
    assert best >= top - abs(top) * 1e-9, (best, top, found.best, found.tends)


def shown(found: Solution) -> list[tuple[float, float | None]]:
    return [(float(i.low.value), None if i.high is None else float(i.high.value)) for i in found.values.intervals[:10]]


settings.register_profile(
    "solve",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    # a case is small as it is, and shown whole
    phases=[Phase.generate],
)


@settings(settings.get_profile("solve"), max_examples=180)
@given(st.randoms(use_true_random=False))
def test_solutions_are_what_costs_written_by_hand_say(draw: random.Random) -> None:
    assume(check(a_case(draw)) != "skipped")


def a_case_with_a_free_symbol(draw: random.Random) -> tuple[Case, str]:
    """One of which a workload's figure is left out."""
    model = replace(a_case(draw).model, experts=None, timing=draw.choice(["overlap", "serial"]))
    free = draw.choice(["batch_size", "seq_len"])
    others = ["inner", "vocab", "layers", "hidden", "device.bandwidth", "device.memory", "device.peak"]
    unknown = draw.choice([*(name for name in ("batch_size", "seq_len") if name != free), *others])
    point = {"batch_size": draw.choice([1, 5, 60]), "seq_len": draw.choice([3, 40, 200])}
    if model.phase == "decode":
        point["new_tokens"] = 1
    found = Case(model, {n: v for n, v in point.items() if n != unknown}, unknown, (), None)
    conditions = tuple(a_condition(draw, found) for _ in range(draw.choice([1, 1, 2])))
    return replace(found, conditions=conditions), free


@settings(settings.get_profile("solve"), max_examples=60)
@given(st.randoms(use_true_random=False))
def test_bounds_in_a_free_symbol_hold_for_its_figures(draw: random.Random) -> None:
    case, free = a_case_with_a_free_symbol(draw)
    assume(all(left != "crossover" for left, _, _ in case.conditions))
    asked = replace(case, point={n: v for n, v in case.point.items() if n != free})
    try:
        found = solve_for(asked.question())
    except SpecError as error:
        message = str(error)
        assert "does not depend on" in message or "is solved with figures only" in message, message
        assume(False)
    for _ in range(6):
        value = draw.choice([1, 2, 7, 16, 17, 18, 63, 64, 65, 150, 151, 400, 5000])
        at = replace(case, point={**case.point, free: value})
        for x in points(at, found)[:60]:
            if real(at) or at.allowed(int(x)):
                expected = at.holds(x)
                if expected is not None:
                    assert in_cases(found, symbol(free), value, x) == expected, (free, value, x, expected, found.cases)


def in_cases(found: Solution, free: Symbol, value: int, x: Fraction) -> bool:
    """Whether one of the cases holds there, and x lies within its bounds."""
    if not found.cases:
        return found.holds(x)
    return any(
        bool(case.condition.xreplace({free: Integer(value)}))
        and (case.low is None or beyond(case.low, free, value, x) in ((0, 1) if case.low.closed else (1,)))
        and (case.high is None or beyond(case.high, free, value, x) in ((0, -1) if case.high.closed else (-1,)))
        for case in found.cases
    )


def beyond(bound: Bound, free: Symbol, value: int, x: Fraction) -> int:
    """On which side of a bound a value lies."""
    end = comparable(figure(bound.expr, {free: Fraction(value)}))
    return (x > end) - (x < end)
