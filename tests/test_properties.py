"""Properties of all specs: random ones agree with a naive walk, and totals are sums of their parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, TypeAlias

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from sympy import Expr, Rational

import costmodel as cm
from costmodel.costs import TERMS

from . import naive_walk as naive
from .naive_walk import (
    Arith,
    Block,
    Call,
    Graph,
    If,
    Items,
    Let,
    Lit,
    Minus,
    Model,
    Node,
    Op,
    Ref,
    Repeat,
    Return,
    Run,
    State,
    Statement,
    Weight,
)

settings.register_profile(
    "costs", derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


def examples(count: int) -> settings:
    return settings(settings.get_profile("costs"), max_examples=count)


# --- random specs

Given: TypeAlias = "Node | str | int | bool | Sequence[Node] | None"

UNARY = ("relu", "exp", "tanh", "softplus", "sigmoid", "silu", "gelu", "softmax", "rope")
DTYPES = ("fp32", "bf16", "fp8", "int4", "mxfp4", "nvfp4", "3 bits", "5.5 bits")


def node(value: Given) -> Node:
    """A name for a string, a literal for a figure."""
    match value:
        case str():
            return Ref(value)
        case int() | None:
            return Lit(value)
        case list() | tuple():
            return Items(tuple(value))
        case _:
            assert not isinstance(value, Sequence)
            return value


def call(function: str, *arguments: Given, **named: Given) -> Call:
    return Call(function, tuple(map(node, arguments)), {name: node(value) for name, value in named.items()})


def let(names: str, value: Given) -> Let:
    return Let(tuple(names.split(", ")), node(value))


def weight(name: str, ins: Sequence[Given] | None, outs: Sequence[Given], dtype: str | None = None) -> Weight:
    return Weight(name, tuple(map(node, outs)), None if ins is None else tuple(map(node, ins)), dtype)


def plus(left: Given, right: Given) -> Arith:
    return Arith("+", node(left), node(right))


def times(left: Given, right: Given) -> Arith:
    return Arith("*", node(left), node(right))


def back(value: Given) -> Return:
    return Return((node(value),))


class Draft:
    """A spec while it is drawn. Each of its blocks takes and gives an activation [batch_size, new_tokens, hidden]."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.dims: dict[str, Node] = {}
        self.sizes: dict[str, int] = {}
        self.blocks: list[Block] = []
        self.ops: list[Op] = []
        self.weights: list[Weight] = []
        self.inputs: dict[str, tuple[Node, ...]] = {"tokens": (Ref("batch_size"), Ref("new_tokens"))}
        self.count = 0
        self.hidden = self.dim("hidden", 2, 5)

    def upto(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def maybe(self) -> bool:
        return self.draw(st.booleans())

    def pick(self, *options: Any) -> Any:
        return self.draw(st.sampled_from(options))

    def name(self, stem: str) -> str:
        self.count += 1
        return f"{stem}{self.count}"

    def dim(self, stem: str, low: int, high: int) -> Ref:
        """A dim of its own, given by a figure or by what amounts to it."""
        name = stem if stem not in self.dims else self.name(stem)
        size = self.upto(low, high)
        others = [other for other, known in self.sizes.items() if known <= size]
        if others and self.upto(0, 3) == 0:
            other = self.pick(*others)
            self.dims[name] = plus(other, size - self.sizes[other])
        else:
            self.dims[name] = Lit(size)
        self.sizes[name] = size
        return Ref(name)

    def derived(self, stem: str, value: Node, size: int) -> Ref:
        name = self.name(stem)
        self.dims[name], self.sizes[name] = value, size
        return Ref(name)

    def dtype(self) -> str | None:
        return self.pick(None, None, *DTYPES)

    def block(self, body: Sequence[Statement], shareable: bool = True) -> str:
        name = self.name("block")
        self.blocks.append(Block(name, {"x": None}, tuple(body), shared=shareable and self.upto(0, 3) == 0))
        return name

    def unary(self, value: Given) -> Node:
        """Some elementwise work, or none."""
        match self.upto(0, 6):
            case 0:
                return node(value)
            case 1:
                return Minus(node(value))
            case 2:
                return Arith(self.pick("+", "-", "*", "/"), node(value), Lit(3))
            case 3:
                return self.norm(value)
            case _:
                return call(self.pick(*UNARY), value)

    def norm(self, value: Given) -> Node:
        named = self.pick({}, {}, {"affine": Lit(False)})
        return Call(self.pick("rmsnorm", "layernorm"), (node(value),), named)

    # --- blocks that keep nothing, which a `route` may run as well

    def feed_forward(self) -> str:
        inner, kind = self.dim("inner", 1, 6), self.upto(0, 3)
        narrow = weight("Wdown", [inner], [self.hidden], self.dtype())
        if kind == 0:
            wide = weight("Wup", [self.hidden], [inner], self.dtype())
            bias = weight("bup", None, [inner], self.dtype())
            up = self.unary(plus(call("matmul", "x", "Wup"), "bup"))
            return self.block([wide, bias, narrow, back(call("matmul", up, "Wdown"))])
        if kind == 1:
            wide = weight("Wboth", [self.hidden], [times(2, inner)], self.dtype())
            cut = let("gate, up", call("split", call("matmul", "x", "Wboth"), [inner, inner]))
            return self.block([wide, cut, narrow, back(call("matmul", times(self.unary("gate"), "up"), "Wdown"))])
        gates = [weight("Wgate", [self.hidden], [inner], self.dtype()), weight("Wup", [self.hidden], [inner])]
        gated = times(self.unary(call("matmul", "x", "Wgate")), call("matmul", "x", "Wup"))
        if kind == 2:
            return self.block([*gates, narrow, back(call("matmul", gated, "Wdown"))])
        # an inner width of the caller's, and an arm that a flag chooses
        name = self.name("block")
        tied = If(
            Ref("tied"),
            "==",
            Lit(True),
            (back(call("matmul", gated, "Wgate.T")),),
            (narrow, back(call("matmul", gated, "Wdown"))),
        )
        self.blocks.append(Block(name, {"x": None, "tied": Lit(self.maybe())}, (*gates, tied)))
        return name

    def slices(self) -> str:
        """Two slices of one tensor, which may overlap, taken by one operation."""
        size, width = self.sizes[self.hidden.name], self.upto(1, self.sizes[self.hidden.name])
        low, other = self.upto(0, size - width), self.upto(0, size - width)
        part = [call("slice", "x", start, start + width) for start in (low, other)]
        together = let("y", call("einsum", Lit("b t p, b t p -> b t p"), *part))
        wider = weight("W", [Lit(width)], [self.hidden], self.dtype())
        return self.block([together, wider, back(self.unary(call("matmul", "y", "W")))])

    def joined(self) -> str:
        size = self.sizes[self.hidden.name]
        at = self.upto(1, size - 1)
        cut = let("p, q", call("split", "x", [Lit(at), Arith("-", self.hidden, Lit(at))]))
        return self.block([cut, back(call("concat", self.unary("p"), self.unary("q")))])

    def folded(self) -> str:
        """Two axes behind the tokens, one of them contracted by an einsum with a weight."""
        a, b = self.dim("rows", 2, 3), self.dim("columns", 1, 3)
        body: list[Statement] = [
            weight("Win", [self.hidden], [a, b], self.dtype()),
            weight("Wmid", [a], [a, b], self.dtype()),
            weight("Wout", [times(a, b)], [self.hidden], self.dtype()),
            let("y", call("einsum", Lit("s t a b, a c b -> s t c b"), call("matmul", "x", "Win"), "Wmid")),
            back(call("matmul", call("reshape", self.unary("y"), [times(a, b)]), "Wout")),
        ]
        return self.block(body)

    def own_op(self, keeps: bool) -> str:
        """An operation of the spec's own, with figures, a weight and a state as it likes."""
        name = self.name("own")
        flops: Node = times(times(2, "b"), times("t", "c"))
        body: list[Statement] = []
        if self.maybe():
            body.append(weight("A", None, [Ref("c")], self.dtype()))
        if keeps and self.maybe():
            body.append(State("S", (Ref("b"), Ref("c"), Lit(2)), self.dtype()))
        if self.maybe():
            chunked = let("matmul_flops", times(flops, call("ceil", Arith("/", Ref("t"), Lit(2)))))
            body.append(If(Ref("t"), "==", Lit(1), (let("matmul_flops", flops),), (chunked,)))
        if self.maybe():
            body.append(let("vector_flops", times(5, call("size", "x"))))
        if self.upto(0, 3) == 0:
            body.append(let("read_bytes", plus(call("bytes", "y"), "c")))
        if self.upto(0, 3) == 0:
            body.append(let("write_bytes", Arith("/", call("size", "y"), Lit(2))))
        axes = ("b", "t", "c")
        self.ops.append(Op(name, {"x": axes, "y": axes}, tuple(map(Ref, axes)), tuple(body)))
        return self.block([back(call(name, "x", self.unary("x")))])

    def plain(self) -> str:
        """A block that keeps nothing."""
        makers = (self.feed_forward, self.feed_forward, self.slices, self.joined, self.folded)
        return self.pick(*makers, lambda: self.own_op(keeps=False))()

    # --- blocks that keep something, or route

    def window(self) -> Node:
        return self.pick(Lit(None), Lit(None), Lit(1), Lit(2), Lit(3), Lit(5), Ref("window"))

    def masking(self) -> dict[str, Given]:
        found: dict[str, Given] = {"causal": self.maybe()} if self.maybe() else {}
        found |= self.pick({}, {}, {"softcap": 50})
        return found | self.pick({}, {}, {"bias": True}) | self.pick({}, {}, {"sinks": "sinks"})

    def attention(self) -> str:
        groups, per = self.dim("groups", 1, 2), self.upto(1, 3)
        heads = self.derived("heads", times(groups, per), self.sizes[groups.name] * per)
        size, values = self.dim("size", 1, 3), self.dim("values", 1, 3)
        queries, keys, kept = times(heads, size), times(groups, size), times(groups, values)
        body: list[Statement] = [
            weight("sinks", None, [heads], self.dtype()),
            weight("Wo", [heads, values], [self.hidden], self.dtype()),
        ]
        if self.maybe():
            body += [
                weight("Wqkv", [self.hidden], [plus(plus(queries, keys), kept)], self.dtype()),
                let("q, k, v", call("split", call("matmul", "x", "Wqkv"), [queries, keys, kept])),
                let("q", call("reshape", "q", [heads, size])),
                let("k", call("reshape", "k", [groups, size])),
                let("v", call("reshape", "v", [groups, values])),
            ]
        else:
            body += [
                weight("Wq", [self.hidden], [heads, size]),
                weight("Wk", [self.hidden], [groups, size], self.dtype()),
                weight("Wv", [self.hidden], [groups, values]),
                let("q", self.unary(call("matmul", "x", "Wq"))),
                let("k", self.unary(call("matmul", "x", "Wk"))),
                let("v", call("matmul", "x", "Wv")),
            ]
        if self.upto(0, 4):
            stored = {"window": self.window()}
            for name in "kv":
                own = self.pick({}, {}, {"dtype": Lit(self.pick("fp8", "fp32", "nvfp4"))})
                body.append(let(name, Call("cache", (Ref(name),), stored | own)))
        named = {"window": self.window(), **self.masking()}
        body.append(back(call("matmul", call("attention", "q", "k", "v", **named), "Wo")))
        return self.block(body)

    def latent(self) -> str:
        """Keys and values that are slices of one cache; the pass without past may expand them."""
        heads, rank, rotary = self.dim("heads", 1, 3), self.dim("rank", 1, 3), self.dim("rotary", 1, 2)
        body: list[Statement] = [
            weight("Wq", [self.hidden], [heads, plus(rank, rotary)], self.dtype()),
            weight("Wkv", [self.hidden], [Lit(1), plus(rank, rotary)]),
            weight("Wo", [heads, rank], [self.hidden]),
            weight("sinks", None, [heads]),
            let("q", call("matmul", "x", "Wq")),
            let("kept", call("cache", call("matmul", "x", "Wkv"))),
            let("latents, turned", call("split", "kept", [rank, rotary])),
        ]
        if self.maybe():
            spread = call("einsum", Lit("b s o c, c h -> b s h c"), "latents", "Wspread")
            up: list[Statement] = [
                weight("Wspread", [rank], [heads], self.dtype()),
                let("v", spread),
                let("k", call("concat", "v", "turned")),
                let("o", call("attention", "q", "k", "v", causal=self.maybe())),
                back(call("matmul", "o", "Wo")),
            ]
            body.append(If(Ref("new_tokens"), "==", Ref("seq_len"), tuple(up)))
        named = {"window": self.window(), **self.masking()}
        body.append(back(call("matmul", call("attention", "q", "kept", "latents", **named), "Wo")))
        return self.block(body)

    def convolution(self) -> str:
        named: dict[str, Given] = {"kernel": self.upto(1, 4), "out": self.hidden}
        named |= self.pick({}, {"groups": self.hidden}) | self.pick({}, {"bias": True})
        named |= self.pick({}, {"causal": True}, {"causal": True, "dtype": Lit("fp32")})
        return self.block([back(self.unary(call("conv1d", "x", **named)))])

    def recurrence(self) -> str:
        slots = self.dim("slots", 1, 3)
        body: list[Statement] = [
            State("S", (Ref("batch_size"), slots, self.hidden), self.dtype()),
            let("S2", call("update", "S", call("last", "x"))),
            back(call("einsum", Lit("b t d, b n d -> b t d"), self.unary("x"), "S2")),
        ]
        return self.block(body)

    def mixture(self) -> str:
        """Experts, with or without a router in sight; a fraction of a `top_k`; what is shared stays outside."""
        experts = self.dim("experts", 1, 4)
        count = self.sizes[experts.name]
        top_k: Node = self.pick(Lit(self.upto(1, count)), Arith("/", Lit(self.upto(1, 2 * count)), Lit(2)))
        named: dict[str, Given] = {"top_k": top_k} | self.pick({}, {}, {"distinct": self.upto(1, count)})
        expert = self.plain()
        inner: list[Statement] = [let("y", self.unary("x"))]
        if self.maybe():
            inner.append(weight("own", None, [self.hidden], self.dtype()))
            inner.append(let("y", times("y", "own")))
        inner.append(back(call(expert, "y")))
        body: list[Statement] = []
        arguments: tuple[Given, ...] = ("x",)
        if self.maybe():
            body.append(weight("Wrouter", [self.hidden], [experts], self.dtype()))
            arguments = ("x", call("softmax", call("matmul", "x", "Wrouter")))
        else:
            named["experts"] = experts
        routed = replace(call("route", *arguments, **named), body=tuple(inner))
        body += [Let(("routed",), routed), back(plus("routed", call(self.plain(), "x")) if self.maybe() else "routed")]
        return self.block(body)

    def any_block(self) -> str:
        makers = (self.plain, self.attention, self.attention, self.latent, self.convolution, self.recurrence)
        return self.pick(*makers, self.mixture, self.mixture, lambda: self.own_op(keeps=True))()

    # --- graphs

    def segment(self, depth: int) -> list[Statement]:
        """Statements that carry x on."""
        match self.upto(0, 9 if depth else 5):
            case 0:
                return [let("x", self.unary("x"))]
            case 1 | 2 | 3 | 4:
                # a block of before, called again, or another one
                known = [block.name for block in self.blocks if list(block.parameters) in (["x"], ["x", "tied"])]
                name = self.pick(*known) if known and self.upto(0, 3) == 0 else self.any_block()
                return [let("x", plus("x", call(name, self.unary("x"))))]
            case 5:
                own, inner = self.name("W"), self.name("y")
                return [
                    weight(own, [self.hidden], [self.hidden], self.dtype()),
                    let(inner, call("matmul", "x", own)),
                    let("x", times(inner, "x")),
                ]
            case 6:
                condition = self.pick(
                    (Ref("new_tokens"), Ref("seq_len")), (Ref("new_tokens"), Lit(1)), (self.hidden, Lit(3))
                )
                relation = self.pick("==", "!=")
                otherwise = tuple(self.segment(depth - 1)) if self.maybe() else None
                return [If(condition[0], relation, condition[1], tuple(self.segment(depth - 1)), otherwise)]
            case _:
                turns = self.pick(Lit(2), Lit(self.upto(0, 3)), self.dim("layers", 0, 3))
                body = [s for _ in range(self.upto(1, 2)) for s in self.segment(depth - 1)]
                return [Repeat(turns, tuple(body))]

    def shared_cache(self) -> list[Statement]:
        """A cache that is made once, read in the graph's body and by each turn of a `repeat`."""
        heads, size = self.dim("heads", 1, 2), self.dim("size", 1, 2)
        reader = self.name("reader")
        body = (
            weight("Wq", [self.hidden], [heads, size]),
            weight("Wo", [heads, size], [self.hidden]),
            let("o", call("attention", call("matmul", "x", "Wq"), "k", "v", causal=True, window="reach")),
            back(call("matmul", "o", "Wo")),
        )
        self.blocks.append(Block(reader, {"x": None, "k": None, "v": None, "reach": Lit(None)}, body))
        once, turns = ({"reach": self.window()} for _ in range(2))
        step = let("x", plus("x", call(reader, "x", "keys", self.pick("keys", "kept"), **turns)))
        return [
            weight("Wshared", [self.hidden], [heads, size], self.dtype()),
            let("keys", call("cache", call("matmul", "x", "Wshared"))),
            let("kept", call("cache", self.unary(call("matmul", "x", "Wshared")))),
            let("x", plus("x", call(reader, "x", "keys", "kept", **once))),
            Repeat(Lit(self.upto(0, 3)), (step,)),
        ]

    def encoder(self) -> list[Statement]:
        """Something heard, encoded once, and kept for the tokens to look at."""
        frames, bands = self.dim("frames", 1, 3), self.dim("bands", 1, 3)
        heads, size = self.dim("heads", 1, 2), self.dim("size", 1, 3)
        self.inputs["sound"] = (Ref("batch_size"), times(2, frames), bands)
        inner = (
            weight("Wmix", [self.hidden], [self.hidden]),
            let("z", plus("z", call("matmul", self.unary("z"), "Wmix"))),
        )
        heard = self.name("encoder")
        body = (
            let("z", call("conv1d", "sound", kernel=3, out=self.hidden, stride=2)),
            Repeat(Lit(self.upto(0, 2)), inner),
            back(self.unary("z")),
        )
        self.blocks.append(Block(heard, {"sound": None}, body))
        looking = self.name("looking")
        cross: tuple[Statement, ...] = (
            weight("Wq", [self.hidden], [heads, size]),
            weight("Wk", [self.hidden], [heads, size], self.dtype()),
            weight("Wo", [heads, size], [self.hidden]),
            let("k", call("matmul", "heard", "Wk")),
            let("v", call("keep", self.unary("k"), **self.pick({}, {"dtype": Lit("fp8")}))),
            let("o", call("attention", call("matmul", "x", "Wq"), call("keep", "k"), "v")),
            back(call("matmul", "o", "Wo")),
        )
        self.blocks.append(Block(looking, {"x": None, "heard": None}, cross))
        step = let("x", plus("x", call(looking, "x", "heard")))
        return [let("heard", call(heard, "sound")), Repeat(Lit(self.upto(1, 2)), (step,)), step]

    def forward(self, depth: int) -> Graph:
        vocabulary = self.dim("vocabulary", 2, 9)
        table = weight("embedding", [vocabulary], [self.hidden], self.dtype())
        tied = self.maybe()
        body: list[Statement] = [] if self.maybe() else [table]
        self.weights += [] if body else [table]
        body.append(let("x", call("lookup", "tokens", "embedding")))
        body += self.segment(depth)
        if self.upto(0, 3) == 0:
            body += self.shared_cache()
        if self.upto(0, 3) == 0:
            body += self.encoder()
        for _ in range(self.upto(0, 3)):
            body += self.segment(depth)
        if not tied:
            body.append(weight("unembedding", [self.hidden], [vocabulary], self.dtype()))
        out = self.norm(self.pick(node("x"), call("last", "x")))
        logits = call("matmul", out, "embedding.T" if tied else "unembedding")
        return Graph("forward", self.inputs, (*body, back(self.unary(logits))))

    def vision(self) -> Graph:
        """Another part of the model, without tokens; it may use a weight that `forward` has too."""
        patches = self.dim("patches", 1, 4)
        table = "embedding" if self.weights else "Wpatch"
        own = [] if self.weights else [weight("Wpatch", [Lit(3)], [self.hidden], self.dtype())]
        body: tuple[Statement, ...] = (*own, back(self.unary(call("matmul", "image", f"{table}.T"))))
        return Graph("vision", {"image": (Ref("batch_size"), patches, self.hidden)}, body)

    def model(self, depth: int = 2) -> Model:
        self.dim("window", 1, 6)
        graphs = (self.forward(depth), *([self.vision()] if self.upto(0, 3) == 0 else []))
        chunk: dict[str, Node] = {"new_tokens": self.pick(Lit(self.upto(1, 3)), Arith("-", Ref("seq_len"), Lit(1)))}
        if self.maybe():
            chunk["window"] = Lit(self.upto(1, 4))
        roles = self.draw(
            st.dictionaries(st.sampled_from(("weights", "cache", "activations")), st.sampled_from(DTYPES))
        )
        return Model(
            self.dims, graphs, roles, tuple(self.weights), tuple(self.blocks), tuple(self.ops), {"extend": chunk}
        )


@st.composite
def models(draw: st.DrawFn, depth: int = 2) -> Model:
    return Draft(draw).model(depth)


@st.composite
def runs(draw: st.DrawFn) -> Run:
    seq_len = draw(st.integers(3, 9))
    phase = draw(st.sampled_from(("prefill", "decode", "extend")))
    new_tokens = draw(st.integers(1, seq_len)) if draw(st.integers(0, 4)) == 0 else None
    counting = {
        "masked": draw(st.sampled_from(("full", "exact"))),
        "fusion": draw(st.sampled_from(("elementwise", "none"))),
    }
    return Run(draw(st.integers(1, 3)), seq_len, phase, new_tokens, **counting)


def priced(model: cm.Model, run: Run, **more: object) -> cm.Cost:
    options = {"graph": run.graph, "masked": run.masked, "fusion": run.fusion, "new_tokens": run.new_tokens}
    return model.cost(run.phase, fidelity=run.fidelity, **options, **more)  # type: ignore[arg-type]


def exact(expr: Expr, run: Run) -> Fraction:
    """The figure of a closed form, by SymPy alone."""
    value = expr.subs({cm.batch_size: run.batch_size, cm.seq_len: run.seq_len})
    assert isinstance(value, Rational), f"{expr} is {value}"
    return Fraction(int(value.p), int(value.q))


def found(cost: cm.Cost, names: Sequence[str], run: Run) -> dict[str, Fraction]:
    table = cost.quantities.table

    def expr(name: str) -> Expr:
        return table.summed(lambda row: getattr(row.cost, name)) if name in TERMS[2:] else getattr(cost, name)

    return {name: exact(expr(name), run) for name in names}


# --- a second opinion


@examples(60)
@given(models(), runs(), st.data())
def test_costs_agree_with_a_naive_walk(model: Model, run: Run, data: st.DataObject) -> None:
    spec = cm.parse(naive.text(model))
    graph = data.draw(st.sampled_from([graph.name for graph in model.graphs]))
    phase = run.phase if graph == "forward" or run.phase != "extend" else "decode"
    for fidelity in ("params", "cache", "traffic"):
        case = replace(run, graph=graph, phase=phase, fidelity=fidelity)
        note(str(case))
        wanted = naive.costs(model, case)
        assert found(priced(spec, case), list(wanted), case) == wanted
