"""A second opinion on what a pass costs: small models run step by step, in plain numbers, each `repeat` in full.

Nothing is shared with the package. A `Model` is described by the dataclasses below; `text` writes it as a spec, and
`costs` counts what one pass of it costs by the rules of the language, element by element where that is simpler than a
formula: positions that a mask keeps, cells that two slices cover, rows of a cache that a window reaches.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor, prod
from typing import Any, TypeAlias

# --- the description of a model, which is the language's own


@dataclass(frozen=True, eq=False)
class Lit:
    """A number, a truth value, `none` or a string."""

    value: int | bool | str | None


@dataclass(frozen=True, eq=False)
class Ref:
    """A dim, a variable, a weight; `Ref("W.T")` is a weight with its sides swapped."""

    name: str


@dataclass(frozen=True, eq=False)
class Arith:
    """`left op right`; the operators are those of the language."""

    op: str
    left: Node
    right: Node


@dataclass(frozen=True, eq=False)
class Minus:
    operand: Node


@dataclass(frozen=True, eq=False)
class Items:
    """`[a, b]`."""

    items: tuple[Node, ...]


@dataclass(frozen=True, eq=False)
class Call:
    """A call of an operation or a block; only `route` has a body."""

    function: str
    arguments: tuple[Node, ...] = ()
    named: Mapping[str, Node] = field(default_factory=dict)
    body: tuple[Statement, ...] | None = None


Node: TypeAlias = Lit | Ref | Arith | Minus | Items | Call


@dataclass(frozen=True, eq=False)
class Weight:
    name: str
    outs: tuple[Node, ...]
    ins: tuple[Node, ...] | None = None
    dtype: str | None = None


@dataclass(frozen=True, eq=False)
class State:
    name: str
    axes: tuple[Node, ...]
    dtype: str | None = None


@dataclass(frozen=True, eq=False)
class Let:
    """`names = value`."""

    names: tuple[str, ...]
    value: Node


@dataclass(frozen=True, eq=False)
class Repeat:
    count: Node
    body: tuple[Statement, ...]


@dataclass(frozen=True, eq=False)
class If:
    left: Node
    relation: str
    right: Node
    then: tuple[Statement, ...]
    otherwise: tuple[Statement, ...] | None = None


@dataclass(frozen=True, eq=False)
class Return:
    values: tuple[Node, ...]


Statement: TypeAlias = Weight | State | Let | Repeat | If | Return


@dataclass(frozen=True, eq=False)
class Block:
    name: str
    parameters: Mapping[str, Node | None]
    body: tuple[Statement, ...]
    shared: bool = False


@dataclass(frozen=True, eq=False)
class Op:
    """An operation of the spec's own: patterns of its tensors' axes, its result's shape, its figures."""

    name: str
    patterns: Mapping[str, tuple[str, ...]]
    result: tuple[Node, ...]
    body: tuple[Statement, ...]


@dataclass(frozen=True, eq=False)
class Graph:
    name: str
    inputs: Mapping[str, tuple[Node, ...]]
    body: tuple[Statement, ...]


class Model:
    """A whole spec; it shows itself as its text."""

    def __init__(
        self,
        dims: Mapping[str, Node],
        graphs: Sequence[Graph],
        dtypes: Mapping[str, str] | None = None,
        weights: Sequence[Weight] = (),
        blocks: Sequence[Block] = (),
        ops: Sequence[Op] = (),
        phases: Mapping[str, Mapping[str, Node]] | None = None,
    ) -> None:
        self.dims, self.graphs, self.weights, self.blocks, self.ops = dims, graphs, weights, blocks, ops
        self.dtypes, self.phases = dtypes or {}, phases or {}

    def __repr__(self) -> str:
        return text(self)


# --- its text


def text(model: Model) -> str:
    """The model as a spec."""
    lines = ["model sample"]
    lines += [f"dim {name} = {shown(value)}" for name, value in model.dims.items()]
    lines += [f"dtype {role} = {name}" for role, name in model.dtypes.items()]
    lines += [line for weight in model.weights for line in _lines(weight, "")]
    for op in model.ops:
        patterns = ", ".join(f"{name}[{', '.join(axes)}]" for name, axes in op.patterns.items())
        lines += [f"op {op.name}({patterns}) -> [{_listed(op.result)}] {{", *_body(op.body, ""), "}"]
    for block in model.blocks:
        given = (name if value is None else f"{name} = {shown(value)}" for name, value in block.parameters.items())
        word = "shared block" if block.shared else "block"
        lines += [f"{word} {block.name}({', '.join(given)}) {{", *_body(block.body, ""), "}"]
    for graph in model.graphs:
        inputs = ", ".join(f"{name}[{_listed(axes)}]" for name, axes in graph.inputs.items())
        lines += [f"graph {graph.name}({inputs}) {{", *_body(graph.body, ""), "}"]
    for name, settings in model.phases.items():
        lines += [f"phase {name} {{ {'; '.join(f'{dim} = {shown(value)}' for dim, value in settings.items())} }}"]
    return "\n".join(lines) + "\n"


def shown(node: Node) -> str:
    match node:
        case Lit(value=str()):
            return f'"{node.value}"'
        case Lit(value=None):
            return "none"
        case Lit(value=bool()):
            return str(node.value).lower()
        case Lit():
            return str(node.value)
        case Ref():
            return node.name
        case Arith():
            return f"({shown(node.left)} {node.op} {shown(node.right)})"
        case Minus():
            return f"(-{shown(node.operand)})"
        case Items():
            return f"[{_listed(node.items)}]"
        case Call():
            named = (f"{name} = {shown(value)}" for name, value in node.named.items())
            return f"{node.function}({', '.join([*map(shown, node.arguments), *named])})"


def _listed(nodes: Iterable[Node]) -> str:
    return ", ".join(map(shown, nodes))


def _body(statements: Iterable[Statement], indent: str) -> Iterator[str]:
    for statement in statements:
        yield from _lines(statement, indent + "    ")


def _right_side(value: Node, indent: str) -> Iterator[str]:
    """An expression, with the body of a `route` behind it."""
    if isinstance(value, Call) and value.body is not None:
        yield f"{shown(value)} {{"
        yield from _body(value.body, indent)
        yield indent + "}"
    else:
        yield shown(value)


def _lines(statement: Statement, indent: str) -> Iterator[str]:
    match statement:
        case Weight():
            arrow = "" if statement.ins is None else f"{_listed(statement.ins)} -> "
            dtype = f" : {statement.dtype}" if statement.dtype else ""
            yield f"{indent}weight {statement.name}[{arrow}{_listed(statement.outs)}]{dtype}"
        case State():
            dtype = f" : {statement.dtype}" if statement.dtype else ""
            yield f"{indent}state {statement.name}[{_listed(statement.axes)}]{dtype}"
        case Let():
            first, *rest = _right_side(statement.value, indent)
            yield f"{indent}{', '.join(statement.names)} = {first}"
            yield from rest
        case Return(values=(value,)):
            first, *rest = _right_side(value, indent)
            yield f"{indent}return {first}"
            yield from rest
        case Return():
            yield f"{indent}return {_listed(statement.values)}"
        case Repeat():
            yield f"{indent}repeat {shown(statement.count)} {{"
            yield from _body(statement.body, indent)
            yield indent + "}"
        case If():
            yield f"{indent}if {shown(statement.left)} {statement.relation} {shown(statement.right)} {{"
            yield from _body(statement.then, indent)
            yield indent + "}"
            if statement.otherwise is not None:
                yield indent + "else {"
                yield from _body(statement.otherwise, indent)
                yield indent + "}"


# --- tensors, and the steps of a pass

_BITS = {"fp64": 64, "fp32": 32, "tf32": 32, "bf16": 16, "fp16": 16, "fp8": 8, "int8": 8, "fp4": 4, "int4": 4}
_FRACTIONAL_BITS = {"mxfp4": Fraction(17, 4), "nvfp4": Fraction(9, 2)}


def bytes_of(dtype: str) -> Fraction:
    """The bytes of one value: `bf16`, `nvfp4`, `5.5 bits`."""
    if dtype.endswith(" bits"):
        return Fraction(dtype.removesuffix(" bits")) / 8
    return Fraction(_BITS.get(dtype) or _FRACTIONAL_BITS[dtype]) / 8


@dataclass(frozen=True, eq=False)
class Storage:
    """A piece of memory. A weight in the body of a `route` exists `copies` times; a token uses `active` of them, and
    a pass is expected to read `read`. What is not a weight is there for `rows` runs of each row.
    """

    kind: str
    shape: tuple[int, ...]
    byte: Fraction
    copies: Fraction = Fraction(1)
    active: Fraction = Fraction(1)
    read: Fraction = Fraction(1)
    rows: Fraction = Fraction(1)
    stored_window: int | None = None

    @property
    def elements(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True, eq=False)
class Tensor:
    """A value: the cells of its storage that it is made of, in order. `maker` is the step that made it."""

    shape: tuple[int, ...]
    storage: Storage
    cells: Sequence[int]
    inputs: int | None = None
    maker: Step | None = None

    @property
    def elements(self) -> int:
        return prod(self.shape)

    @property
    def kind(self) -> str:
        return self.storage.kind


@dataclass(frozen=True, eq=False)
class Take:
    """A tensor that a step takes. It reads all of its cells once, unless `count` says otherwise; of a cache those in
    the `window` of any of its queries.
    """

    tensor: Tensor
    count: Fraction | None = None
    window: int | None = None


@dataclass(eq=False)
class Step:
    """One operation in one turn. `body` is the graph's body, or the turn of a `repeat`, in which it stands directly."""

    name: str
    takes: tuple[Take, ...]
    body: object
    rows: Fraction
    carried: tuple[Tensor, ...]
    gives: tuple[Tensor, ...] = ()
    owns: tuple[Storage, ...] = ()
    matmul: Fraction = Fraction(0)
    vector: Fraction = Fraction(0)
    scores: int = 0
    written: int = 0
    read_bytes: Fraction | None = None
    write_bytes: Fraction | None = None
    is_view: bool = False


Value: TypeAlias = "Tensor | Fraction | bool | str | tuple[Any, ...] | None"

_AN_ELEMENT = {
    "relu": 1,
    "exp": 1,
    "tanh": 1,
    "softplus": 3,
    "sigmoid": 4,
    "silu": 5,
    "gelu": 8,
    "softmax": 5,
    "rope": 3,
}
_THROUGH_MEMORY = {"matmul", "einsum", "attention", "conv1d", "lookup", "op"}
_NOTHING = object()


def pairs(queries: int, keys: int, window: int | None, exact_causal: bool) -> int:
    """Query-key pairs of one head: the queries are the last of the keys' positions."""
    reach = keys if window is None else window
    if not exact_causal:
        return queries * min(keys, reach)
    places = range(keys - queries, keys)
    return sum(len(range(max(0, place - reach + 1), place + 1)) for place in places)


# --- a pass


@dataclass(frozen=True)
class Run:
    """Which pass of a model, at which workload, and how it is counted."""

    batch_size: int
    seq_len: int
    phase: str = "decode"
    new_tokens: int | None = None
    graph: str = "forward"
    fidelity: str = "cache"
    masked: str = "full"
    fusion: str = "elementwise"


@dataclass(frozen=True)
class Place:
    """Where a statement stands: what tells its weights apart, how often its rows run, what is carried round it."""

    path: tuple[object, ...]
    body: object
    rows: Fraction = Fraction(1)
    copies: Fraction = Fraction(1)
    active: Fraction = Fraction(1)
    read: Fraction = Fraction(1)
    carried: tuple[Tensor, ...] = ()


Scope: TypeAlias = "ChainMap[str, Value]"

# no figure of a test is as large, so that a symbol without a value equals nothing but itself
_SOME_BATCH, _SOME_LENGTH = Fraction(10**9 + 7), Fraction(10**12 + 39)


def settings_of(model: Model, run: Run) -> Mapping[str, Node]:
    built_in: dict[str, Mapping[str, Node]] = {
        "prefill": {"new_tokens": Ref("seq_len")},
        "decode": {"new_tokens": Lit(1)},
    }
    settings = dict({**built_in, **model.phases}[run.phase])
    if run.new_tokens is not None:
        settings["new_tokens"] = Lit(run.new_tokens)
    return settings


class Walk:
    """A pass: the steps that it takes, one after the other, the weights that it meets, and what it keeps."""

    def __init__(self, model: Model, run: Run) -> None:
        self.model, self.run = model, run
        self.steps: list[Step] = []
        self.weights: dict[tuple[object, ...], Storage] = {}
        self.kept: list[Storage] = []
        settings = settings_of(model, run)
        self.without_past = isinstance(settings["new_tokens"], Ref)
        self.dims = self._dims(settings, Fraction(run.batch_size), Fraction(run.seq_len))
        self.open_dims = self._dims(settings, _SOME_BATCH, _SOME_LENGTH)
        self.blocks = {block.name: block for block in model.blocks}
        self.ops = {op.name: op for op in model.ops}
        self.place = Place((), object())
        self.globals: dict[str, Value] = dict(self.dims)
        for weight in model.weights:
            self._statement(weight, ChainMap({}, self.globals))
            self.globals[weight.name] = self._declared
        graph = next(graph for graph in model.graphs if graph.name == run.graph)
        self.place = replace(self.place, path=(graph.name,))
        inputs: dict[str, Value] = {}
        for name, axes in graph.inputs.items():
            inputs[name] = self.fresh(self._shape(axes, ChainMap({}, self.globals)))
        result = self._statements(graph.body, ChainMap(inputs, self.globals))
        self.outputs = result if isinstance(result, tuple) else (result,)

    def _dims(self, settings: Mapping[str, Node], batch: Fraction, length: Fraction) -> dict[str, Value]:
        given = {**self.model.dims, **settings}
        found: dict[str, Value] = {"batch_size": batch, "seq_len": length}
        while given.keys() - found.keys():
            for name, node in given.items():
                if name not in found and names_in(node) <= found.keys():
                    found[name] = self.value(node, ChainMap(found))
        return found

    # --- statements

    def _statements(self, body: Iterable[Statement], scope: Scope) -> Any:
        for statement in body:
            result = self._statement(statement, scope)
            if result is not _NOTHING:
                return result
        return _NOTHING

    def _statement(self, statement: Statement, scope: Scope) -> Any:
        match statement:
            case Weight():
                self._declared = self._weight(statement, scope)
                scope[statement.name] = self._declared
            case State():
                scope[statement.name] = self._keep("state", self._shape(statement.axes, scope), statement.dtype)
            case Let(names=(name,)):
                scope[name] = self.value(statement.value, scope)
            case Let():
                values = self.value(statement.value, scope)
                assert isinstance(values, tuple)
                scope.update(zip(statement.names, values, strict=True))
            case Repeat():
                self._repeat(statement, scope)
            case If():
                body = statement.then if self._holds(statement, scope) else statement.otherwise
                return self._statements(body or (), scope)
            case Return(values=(value,)):
                return self.value(value, scope)
            case Return():
                return tuple(self.value(value, scope) for value in statement.values)
        return _NOTHING

    def _holds(self, statement: If, scope: Scope) -> bool:
        """By the values of dims and by the phase, never by a figure for the batch or the length."""
        open_scope = ChainMap(*scope.maps[:-1], self.open_dims)
        left, right = self.value(statement.left, open_scope), self.value(statement.right, open_scope)
        if statement.relation in ("==", "!="):
            same = type(left) is type(right) and left == right
            return same == (statement.relation == "==")
        a, b = number(left), number(right)
        return {"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[statement.relation]

    def _repeat(self, statement: Repeat, scope: Scope) -> None:
        turns = whole(self.value(statement.count, scope))
        if turns:
            self._turns(statement, scope, turns)
            return
        # no turn is taken, yet what is called there is part of the model: a shared block has its weights
        steps, kept, weights = len(self.steps), len(self.kept), set(self.weights)
        self._turns(statement, ChainMap({}, *scope.maps), 1)
        del self.steps[steps:], self.kept[kept:]
        for key in self.weights.keys() - weights:
            if not isinstance(key[0], Block):
                del self.weights[key]

    def _turns(self, statement: Repeat, scope: Scope, turns: int) -> None:
        outside = sorted(name for name in assigned_in(statement.body) if name in scope)
        before = self.place
        for turn in range(turns):
            inner: Scope = ChainMap({}, *scope.maps)
            for name in outside:
                # a turn has its own variable, with what the turn before left in it
                handed = tensor(scope[name])
                assert handed.kind == "activation"
                inner[name] = replace(self.fresh(handed.shape), maker=handed.maker)
            carried = tuple(tensor(inner[name]) for name in outside)
            self.place = replace(
                before, path=(*before.path, statement, turn), body=object(), carried=before.carried + carried
            )
            self._statements(statement.body, inner)
            self.place = before
            for name in outside:
                scope[name] = inner[name]

    def _weight(self, weight: Weight, scope: Scope) -> Tensor:
        ins = self._shape(weight.ins or (), scope)
        shape = ins + self._shape(weight.outs, scope)
        storage = self._parameter((weight, weight.name), shape, weight.dtype)
        return Tensor(shape, storage, range(storage.elements), None if weight.ins is None else len(ins))

    def _parameter(self, key: tuple[object, ...], shape: tuple[int, ...], dtype: str | None = None) -> Storage:
        """A weight of this place; that of a shared block is there from the first call on."""
        place = self.place
        byte = bytes_of(dtype or self.dtype("weights"))
        new = Storage("weight", shape, byte, place.copies, place.active, place.read)
        return self.weights.setdefault((*place.path, *key), new)

    def _keep(
        self, kind: str, shape: tuple[int, ...], dtype: str | None, maker: Step | None = None, window: int | None = None
    ) -> Tensor:
        byte = bytes_of(dtype or self.dtype("cache"))
        storage = Storage(kind, shape, byte, rows=self.place.rows, stored_window=window)
        self.kept.append(storage)
        return Tensor(shape, storage, range(storage.elements), maker=maker)

    def fresh(self, shape: tuple[int, ...], maker: Step | None = None) -> Tensor:
        storage = Storage("activation", shape, bytes_of(self.dtype("activations")), rows=self.place.rows)
        return Tensor(shape, storage, range(storage.elements), maker=maker)

    def dtype(self, role: str) -> str:
        return self.model.dtypes.get(role, "bf16")

    # --- expressions

    def value(self, node: Node, scope: Scope) -> Value:
        match node:
            case Lit():
                given = node.value
                return Fraction(given) if isinstance(given, int) and not isinstance(given, bool) else given
            case Ref() if node.name.endswith(".T"):
                weight = tensor(scope[node.name.removesuffix(".T")])
                assert weight.inputs is not None
                ins, outs = weight.shape[: weight.inputs], weight.shape[weight.inputs :]
                return replace(weight, shape=outs + ins, inputs=len(outs))
            case Ref():
                return scope[node.name]
            case Items():
                return tuple(self.value(item, scope) for item in node.items)
            case Minus():
                operand = self.value(node.operand, scope)
                if isinstance(operand, Tensor):
                    return self._elementwise("-", (operand,), operand.shape, 1)
                return -number(operand)
            case Arith():
                return self._arithmetic(node.op, self.value(node.left, scope), self.value(node.right, scope))
            case Call():
                return self._call(node, scope)

    def _shape(self, axes: Iterable[Node], scope: Scope) -> tuple[int, ...]:
        return tuple(whole(self.value(axis, scope)) for axis in axes)

    def _arithmetic(self, op: str, left: Value, right: Value) -> Value:
        operands = tuple(side for side in (left, right) if isinstance(side, Tensor))
        if operands:
            return self._elementwise(op, operands, broadcast(*(operand.shape for operand in operands)), 1)
        a, b = number(left), number(right)
        match op:
            case "+":
                return a + b
            case "-":
                return a - b
            case "*":
                return a * b
            case "/":
                return a / b
            case "//":
                return Fraction(a // b)
            case "%":
                return a % b
            case _:
                return a ** int(b)

    def _call(self, call: Call, scope: Scope) -> Value:
        if call.body is not None:
            return self._route(call, call.body, scope)
        arguments = [self.value(argument, scope) for argument in call.arguments]
        named = {name: self.value(argument, scope) for name, argument in call.named.items()}
        name = call.function
        if name in self.blocks:
            return self._block(self.blocks[name], call, arguments, named)
        if name in self.ops:
            return self._op(self.ops[name], call, arguments, named)
        if name in ("min", "max"):
            return (min if name == "min" else max)(map(number, arguments))
        if name in ("ceil", "floor"):
            return Fraction((ceil if name == "ceil" else floor)(number(arguments[0])))
        if name in ("size", "bytes"):
            x = tensor(arguments[0])
            return x.elements * (x.storage.byte if name == "bytes" else Fraction(1))
        if name in _AN_ELEMENT:
            x = tensor(arguments[0])
            return self._elementwise(name, (x,), x.shape, _AN_ELEMENT[name])
        self._key = (call,)
        operation: Value = getattr(self, f"op_{name}")(*arguments, **named)
        return operation

    def _block(self, block: Block, call: Call, arguments: Sequence[Value], named: Mapping[str, Value]) -> Value:
        values: dict[str, Value] = dict(zip(block.parameters, arguments, strict=False))
        values.update(named)
        for name, default in block.parameters.items():
            if name not in values:
                assert default is not None
                values[name] = self.value(default, ChainMap({}, self.globals))
        before = self.place
        if block.shared:
            one = Fraction(1)
            self.place = replace(before, path=(block,), copies=one, active=one, read=one)
        else:
            self.place = replace(before, path=(*before.path, call))
        result: Value = self._statements(block.body, ChainMap(values, self.globals))
        self.place = before
        return result

    def _route(self, call: Call, body: tuple[Statement, ...], scope: Scope) -> Value:
        names = ("x", "scores", "top_k", "distinct", "experts")
        given = {**dict(zip(names, call.arguments, strict=False)), **call.named}
        values = {name: self.value(node, scope) for name, node in given.items()}
        x, top_k = tensor(values["x"]), number(values["top_k"])
        scores = values.get("scores")
        experts = Fraction(scores.shape[-1]) if isinstance(scores, Tensor) else number(values["experts"])
        distinct = values.get("distinct")
        if distinct is None:
            distinct = experts * (1 - (1 - top_k / experts) ** (x.elements // x.shape[-1]))
        before = self.place
        self.place = replace(
            before,
            path=(*before.path, call),
            rows=before.rows * top_k,
            copies=before.copies * experts,
            active=before.active * top_k,
            read=before.read * number(distinct),
        )
        result = tensor(self._statements(body, ChainMap({}, *scope.maps)))
        self.place = before
        takes = [Take(result, count=top_k * result.elements)]
        if isinstance(scores, Tensor):
            takes.append(Take(scores))
        step = self._step("route", takes, vector=2 * top_k * result.elements)
        return self._gives(step, result.shape)

    def _op(self, op: Op, call: Call, arguments: Sequence[Value], named: Mapping[str, Value]) -> Value:
        values: dict[str, Value] = {**dict(zip(op.patterns, arguments, strict=False)), **named}
        for name, axes in op.patterns.items():
            sizes = zip(axes, tensor(values[name]).shape, strict=True)
            values.update({axis: Fraction(size) for axis, size in sizes if not axis.isdigit()})
        takes = [Take(tensor(values[name])) for name in op.patterns]
        scope: Scope = ChainMap(values, self.globals)
        before = self.place
        self.place = replace(before, path=(*before.path, call))
        kept, path = len(self.kept), self.place.path
        self._statements(op.body, scope)
        owns = [*self.kept[kept:], *(held for key, held in self.weights.items() if key[: len(path)] == path)]
        self.place = before
        step = self._step(
            "op", takes, owns, number(values.get("matmul_flops", 0)), number(values.get("vector_flops", 0))
        )
        for name in ("read_bytes", "write_bytes"):
            if name in values:
                setattr(step, name, number(values[name]))
        return self._gives(step, self._shape(op.result, scope))

    # --- operations

    def _step(
        self,
        name: str,
        takes: Iterable[Take],
        owns: Iterable[Storage] = (),
        matmul: Fraction | int = 0,
        vector: Fraction | int = 0,
        is_view: bool = False,
    ) -> Step:
        place = self.place
        step = Step(name, tuple(takes), place.body, place.rows, place.carried, owns=tuple(owns), is_view=is_view)
        step.matmul, step.vector = matmul * place.rows, vector * place.rows
        self.steps.append(step)
        return step

    def _gives(self, step: Step, shape: tuple[int, ...]) -> Tensor:
        result = self.fresh(shape, step)
        step.gives = (result,)
        return result

    def _view(self, name: str, x: Tensor, *parts: tuple[tuple[int, ...], Sequence[int]]) -> tuple[Tensor, ...]:
        step = self._step(name, [Take(x)], is_view=True)
        step.gives = tuple(Tensor(shape, x.storage, cells, maker=step) for shape, cells in parts)
        return step.gives

    def _elementwise(
        self, name: str, operands: Sequence[Tensor], shape: tuple[int, ...], each: int, owns: Iterable[Storage] = ()
    ) -> Tensor:
        return self._gives(self._step(name, map(Take, operands), owns, vector=each * prod(shape)), shape)

    def op_rmsnorm(self, x: Tensor, affine: bool = True) -> Tensor:
        owns = [self._parameter((*self._key, "scale"), x.shape[-1:])] if affine else []
        return self._elementwise("rmsnorm", (x,), x.shape, 4, owns)

    def op_layernorm(self, x: Tensor, affine: bool = True) -> Tensor:
        owns = [self._parameter((*self._key, name), x.shape[-1:]) for name in ("scale", "bias") if affine]
        return self._elementwise("layernorm", (x,), x.shape, 7, owns)

    def op_matmul(self, x: Tensor, W: Tensor) -> Tensor:
        assert W.inputs is not None
        ins, outs = W.shape[: W.inputs], W.shape[W.inputs :]
        assert x.shape[len(x.shape) - len(ins) :] == ins
        step = self._step("matmul", [Take(x), Take(W)], matmul=2 * x.elements * prod(outs))
        return self._gives(step, x.shape[: len(x.shape) - len(ins)] + outs)

    def op_einsum(self, pattern: str, x: Tensor, y: Tensor) -> Tensor:
        operands, result = pattern.split("->")
        sizes: dict[str, int] = {}
        for axes, operand in zip(operands.split(","), (x, y), strict=True):
            for axis, size in zip(axes.split(), operand.shape, strict=True):
                assert sizes.setdefault(axis, size) == size
        step = self._step("einsum", [Take(x), Take(y)], matmul=2 * prod(sizes.values()))
        return self._gives(step, tuple(sizes[axis] for axis in result.split()))

    def op_attention(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        causal: bool = False,
        window: Fraction | None = None,
        softcap: Fraction | None = None,
        bias: Tensor | bool | None = None,
        sinks: Tensor | bool | None = None,
    ) -> Tensor:
        b, t, h, d = q.shape
        s, e = k.shape[1], v.shape[3]
        assert k.shape[0] == v.shape[0] == b and v.shape[1] == s and k.shape[3] == d
        assert k.shape[2] == v.shape[2] and h % k.shape[2] == 0
        reads = None if window is None else int(window)
        stored = k.storage.stored_window
        if stored is None:
            length, seen = s, reads
        else:
            # what a windowed cache has dropped counts for the mask: the queries are the last of the whole sequence
            length, seen = self.run.seq_len, stored if reads is None else min(stored, reads)
        kept = b * h * pairs(t, length, seen, causal and self.run.masked == "exact")
        has_bias, has_sinks = bias not in (None, False), sinks not in (None, False)
        each = 5 + (3 if softcap is not None else 0) + (1 if has_bias else 0)
        extra = [Take(given) for given in (bias, sinks) if isinstance(given, Tensor)]
        step = self._step(
            "attention",
            [Take(q), Take(k, window=reads), Take(v, window=reads), *extra],
            matmul=2 * kept * (d + e),
            vector=each * kept + (b * t * h if has_sinks else 0),
        )
        # scores go out and come back at the softmax and behind it, and round softcap and bias
        passes = 4 + (2 if softcap is not None else 0) + (2 if has_bias else 0)
        step.scores = passes * b * h * pairs(t, length, seen, False)
        return self._gives(step, (b, t, h, e))

    def op_lookup(self, ids: Tensor, table: Tensor) -> Tensor:
        row = table.shape[1:]
        step = self._step("lookup", [Take(ids), Take(table, count=Fraction(ids.elements * prod(row)))])
        return self._gives(step, ids.shape + row)

    def op_conv1d(
        self,
        x: Tensor,
        kernel: Fraction,
        out: Fraction,
        stride: Fraction = Fraction(1),
        groups: Fraction = Fraction(1),
        bias: bool = False,
        causal: bool = False,
        dtype: str | None = None,
    ) -> Tensor:
        b, t, channels = x.shape
        k, n, g, steps = whole(kernel), whole(out), whole(groups), whole(t / stride)
        owns = [self._parameter((*self._key, "kernel"), (k, whole(channels / groups), n))]
        if bias:
            owns.append(self._parameter((*self._key, "bias"), (n,)))
        if causal and k > 1:
            owns.append(self._keep("state", (b, k - 1, channels), dtype).storage)
        step = self._step("conv1d", [Take(x)], owns, matmul=Fraction(2 * b * steps * k * channels * n, g))
        return self._gives(step, (b, steps, n))

    def op_cache(self, x: Tensor, window: Fraction | None = None, dtype: str | None = None) -> Tensor:
        length, rows = self.run.seq_len, None
        if window is not None:
            length, rows = min(length, whole(window)), whole(window)
        step = self._step("cache", [Take(x)])
        held = self._keep("cache", (x.shape[0], length, *x.shape[2:]), dtype, step, rows)
        step.owns, step.gives, step.written = (held.storage,), (held,), x.elements
        return held

    def op_keep(self, x: Tensor, dtype: str | None = None) -> Tensor:
        step = self._step("keep", [Take(x)])
        held = self._keep("kept", x.shape, dtype, step)
        step.owns, step.gives, step.written = (held.storage,), (held,), x.elements if self.without_past else 0
        return held

    def op_update(self, state: Tensor, x: Tensor) -> Tensor:
        # whoever takes the state reads it
        step = self._step("update", [Take(state, count=Fraction(0)), Take(x)])
        step.gives, step.written = (replace(state, maker=step),), state.elements
        return step.gives[0]

    def op_split(self, x: Tensor, sizes: tuple[Fraction, ...]) -> tuple[Tensor, ...]:
        edges = [int(sum(sizes[:i])) for i in range(len(sizes) + 1)]
        assert edges[-1] == x.shape[-1]
        return self._view("split", x, *(part(x, -1, low, high) for low, high in pairwise(edges)))

    def op_slice(self, x: Tensor, lo: Fraction, hi: Fraction) -> Tensor:
        return self._view("slice", x, part(x, -1, whole(lo), whole(hi)))[0]

    def op_last(self, x: Tensor, n: Fraction = Fraction(1)) -> Tensor:
        return self._view("last", x, part(x, 1, x.shape[1] - whole(n), x.shape[1]))[0]

    def op_reshape(self, x: Tensor, axes: tuple[Fraction, ...]) -> Tensor:
        new = tuple(map(whole, axes))
        kept = next(n for n in range(len(x.shape) - 1, -1, -1) if prod(x.shape[n:]) == prod(new))
        return self._view("reshape", x, (x.shape[:kept] + new, x.cells))[0]

    def op_concat(self, x: Tensor, y: Tensor, axis: Fraction = Fraction(-1)) -> Tensor:
        at = int(axis) % len(x.shape)
        shape = [max(a, b) for a, b in zip(x.shape, y.shape, strict=True)]
        shape[at] = x.shape[at] + y.shape[at]
        return self._elementwise("concat", (x, y), tuple(shape), 0)


def names_in(node: Node) -> set[str]:
    match node:
        case Ref():
            return {node.name}
        case Arith():
            return names_in(node.left) | names_in(node.right)
        case Minus():
            return names_in(node.operand)
        case Call():
            return set().union(*map(names_in, node.arguments))
        case _:
            return set()


def assigned_in(body: Iterable[Statement]) -> set[str]:
    """The variables that a body assigns, those of a `repeat` or `if` in it too."""
    found: set[str] = set()
    for statement in body:
        match statement:
            case Let():
                found |= set(statement.names)
            case Repeat():
                found |= assigned_in(statement.body)
            case If():
                found |= assigned_in(statement.then) | assigned_in(statement.otherwise or ())
            case _:
                pass
    return found


def number(value: Value | int) -> Fraction:
    assert isinstance(value, Fraction | int)
    return Fraction(value)


def whole(value: Value | int) -> int:
    found = number(value)
    assert found.denominator == 1
    return found.numerator


def tensor(value: Value) -> Tensor:
    assert isinstance(value, Tensor)
    return value


def broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    longest = max(map(len, shapes))
    padded = [(1,) * (longest - len(shape)) + shape for shape in shapes]
    for axes in zip(*padded, strict=True):
        assert len({axis for axis in axes if axis != 1}) <= 1
    return tuple(map(max, *padded)) if len(padded) > 1 else padded[0]


def part(x: Tensor, axis: int, low: int, high: int) -> tuple[tuple[int, ...], Sequence[int]]:
    """The shape and the cells of positions `low` to `high` of an axis."""
    axis %= len(x.shape)
    inner, size = prod(x.shape[axis + 1 :]), x.shape[axis]
    assert 0 <= low < high <= size
    shape = (*x.shape[:axis], high - low, *x.shape[axis + 1 :])
    return shape, [cell for i, cell in enumerate(x.cells) if low <= i // inner % size < high]


# --- what it costs


def running(walk: Walk) -> list[Step]:
    """The steps of this pass: in one that has a past not those that feed nothing but a `keep`."""
    if walk.without_past:
        return walk.steps
    taken = {take.tensor.maker for step in walk.steps for take in step.takes}
    taken -= {output.maker for output in walk.outputs if isinstance(output, Tensor)}
    open_ = [step for step in walk.steps if step not in taken and step.name != "keep"]
    needed: set[Step] = set()
    while open_:
        step = open_.pop()
        needed.add(step)
        makers = (take.tensor.maker for take in step.takes)
        open_ += [maker for maker in makers if maker and maker.name != "keep" and maker not in needed]
    return [step for step in walk.steps if step in needed]


def in_reach(storage: Storage, windows: Iterable[int | None], new_tokens: int) -> range:
    """The positions of a cache that the new tokens' windows reach."""
    stored = storage.shape[1]
    known = [window for window in windows if window is not None]
    first = 0 if len(known) < len(list(windows)) else max(0, stored - (max(known) + new_tokens - 1))
    return range(first, stored)


def by_storage(takes: Iterable[Take]) -> dict[Storage, list[Take]]:
    found: dict[Storage, list[Take]] = {}
    for take in takes:
        found.setdefault(take.tensor.storage, []).append(take)
    return found


def cells_of(takes: Sequence[Take], new_tokens: int) -> int:
    """How many cells of their common storage some takes read, each once."""
    storage = takes[0].tensor.storage
    cells = {cell for tensor in {take.tensor for take in takes} for cell in tensor.cells}
    if storage.kind != "cache":
        return len(cells)
    reach = in_reach(storage, [take.window for take in takes], new_tokens)
    inner = prod(storage.shape[2:])
    return sum(cell // inner % storage.shape[1] in reach for cell in cells)


def whole_storages(steps: Sequence[Step], new_tokens: int) -> dict[str, Fraction]:
    """Fidelity `cache`: each storage whole, once in each body, in each of its turns, that uses it."""
    used: dict[tuple[object, Storage], list[int | None]] = {}
    for step in steps:
        if step.is_view:
            continue
        for take in step.takes:
            if take.tensor.kind != "activation":
                used.setdefault((step.body, take.tensor.storage), []).append(take.window)
        for storage in step.owns:
            if storage.kind in ("weight", "state"):
                used.setdefault((step.body, storage), []).append(None)
    read = {storage for _, storage in used}
    for step in steps:
        for storage in step.owns:
            if storage not in read:
                used[step.body, storage] = [None]
    weights = kept = Fraction(0)
    for (_, storage), windows in used.items():
        match storage.kind:
            case "weight":
                weights += storage.elements * storage.read * storage.byte
            case "state":
                kept += 2 * storage.elements * storage.rows * storage.byte
            case "cache":
                positions = len(in_reach(storage, windows, new_tokens))
                elements = storage.elements // storage.shape[1] * positions
                kept += elements * storage.rows * storage.byte
            case _:
                kept += storage.elements * storage.rows * storage.byte
    return {"weight_bytes": weights, "cache_read_bytes": kept}


def moved(step: Step, fusion: str, new_tokens: int, activation_byte: Fraction) -> dict[str, Fraction]:
    """Fidelity `traffic`: what one step reads and writes."""
    terms = dict.fromkeys(
        ("weight_bytes", "cache_read_bytes", "cache_write_bytes", "activation_bytes", "inputs", "outputs"), Fraction(0)
    )
    if step.is_view:
        return terms
    through_memory = step.name in _THROUGH_MEMORY or fusion == "none"
    for storage, takes in by_storage(step.takes).items():
        counted = [take.count for take in takes if take.count is not None]
        plain = [take for take in takes if take.count is None]
        elements = sum(counted, Fraction(cells_of(plain, new_tokens) if plain else 0))
        match storage.kind:
            case "weight":
                often = step.rows if counted else storage.read
                terms["weight_bytes"] += elements * often * storage.byte
            case "activation":
                terms["inputs"] += elements * storage.byte * step.rows
            case _:
                terms["cache_read_bytes"] += elements * storage.byte * step.rows
    for storage, given in by_storage(map(Take, step.gives)).items():
        if storage.kind == "activation":
            terms["outputs"] += cells_of(given, new_tokens) * storage.byte * step.rows
    for storage in step.owns:
        if storage.kind == "weight":
            terms["weight_bytes"] += storage.elements * storage.read * storage.byte
        elif storage.kind == "state":
            terms["cache_read_bytes"] += storage.elements * storage.byte * step.rows
            terms["cache_write_bytes"] += storage.elements * storage.byte * step.rows
    if step.written:
        terms["cache_write_bytes"] += step.written * step.gives[0].storage.byte * step.rows
    if step.read_bytes is not None:
        terms["weight_bytes"] = terms["cache_read_bytes"] = Fraction(0)
        terms["inputs"] = step.read_bytes * step.rows
    if step.write_bytes is not None:
        terms["cache_write_bytes"] = Fraction(0)
        terms["outputs"] = step.write_bytes * step.rows
    if through_memory:
        terms["activation_bytes"] = terms["inputs"] + terms["outputs"]
    if fusion == "none":
        terms["activation_bytes"] += step.scores * activation_byte * step.rows
    return terms


def alive(step: Step, new_tokens: int) -> Fraction:
    """The activations that a step takes and gives, and what the `repeat`s around it carry besides."""
    held = by_storage([*step.takes, *map(Take, step.gives)])
    amount = Fraction(0)
    for storage, takes in held.items():
        if storage.kind == "activation":
            copies = max((take.count / take.tensor.elements for take in takes if take.count is not None), default=1)
            amount += cells_of(takes, new_tokens) * storage.byte * step.rows * copies
    for carried in step.carried:
        if carried.storage not in held:
            amount += carried.elements * carried.storage.byte * carried.storage.rows
    return amount


def stored(model: Model, run: Run) -> list[Storage]:
    """Every weight of the model, of all its graphs, in whichever phase it is met."""
    found = dict(Walk(model, run).weights)
    for graph in model.graphs:
        for phase in {"prefill", "decode", *model.phases}:
            elsewhere = Walk(model, replace(run, graph=graph.name, phase=phase, new_tokens=None))
            for key, weight in elsewhere.weights.items():
                found.setdefault(key, weight)
    return list(found.values())


def costs(model: Model, run: Run) -> dict[str, Fraction]:
    """What one pass costs: the quantities of the language, by name, and the terms of the bytes."""
    walk = Walk(model, run)
    steps = running(walk)
    weights = stored(model, run)
    new_tokens = whole(walk.dims["new_tokens"])
    params = sum((weight.elements * weight.copies for weight in weights), Fraction(0))
    active = sum((weight.elements * weight.active for weight in weights), Fraction(0))
    weight_memory = sum((weight.elements * weight.copies * weight.byte for weight in weights), Fraction(0))
    cache_memory = sum((kept.elements * kept.rows * kept.byte for kept in walk.kept), Fraction(0))
    activation_memory = max((alive(step, new_tokens) for step in steps), default=Fraction(0))
    matmul = sum((step.matmul for step in steps), Fraction(0))
    vector = sum((step.vector for step in steps), Fraction(0))
    terms = {"weight_bytes": weight_memory}
    if run.fidelity == "params":
        tokens = new_tokens if "new_tokens" in graph_names(model, run.graph) else 1
        matmul, vector = 2 * active * run.batch_size * tokens, Fraction(0)
    elif run.fidelity == "cache":
        terms = whole_storages(steps, new_tokens)
    else:
        each = [moved(step, run.fusion, new_tokens, bytes_of(walk.dtype("activations"))) for step in steps]
        names = ("weight_bytes", "cache_read_bytes", "cache_write_bytes", "activation_bytes")
        terms = {name: sum((step[name] for step in each), Fraction(0)) for name in names}
    in_traffic = run.fidelity == "traffic"
    return {
        "params": params,
        "active_params": active,
        "weight_memory": weight_memory,
        "cache_memory": cache_memory,
        "activation_memory": activation_memory,
        "memory": weight_memory + cache_memory + (activation_memory if in_traffic else 0),
        "matmul_flops": matmul,
        "vector_flops": vector,
        "flops": matmul + (vector if in_traffic else 0),
        "bytes": sum(terms.values(), Fraction(0)),
        **terms,
    }


def graph_names(model: Model, name: str) -> set[str]:
    """The dims in the shapes of a graph's inputs."""
    graph = next(graph for graph in model.graphs if graph.name == name)
    return {dim for axes in graph.inputs.values() for axis in axes for dim in names_in(axis)}
