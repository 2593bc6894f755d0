"""Operations put into the model: their arguments checked, storages given to what they own, faults told with places."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from sympy import Expr, Symbol

from costmodel.algebra import FIRST, order_of, text
from costmodel.callgraph import MOST_OPERATIONS
from costmodel.dtypes import DType, dtype, no_such_dtype
from costmodel.elaborate.dataflow import Carried, Node
from costmodel.elaborate.environment import Environment, PhaseSettings, where
from costmodel.elaborate.values import BROKEN, Value, fresh, kind_of, place
from costmodel.names import listed
from costmodel.ops import Mismatch, Operation
from costmodel.ops.custom import Materialise
from costmodel.program import Program
from costmodel.source import Diagnostic, Label, Report, Span, SpecError
from costmodel.symbols import ONE, ZERO, is_number, is_zero, terms_estimate, workload
from costmodel.tensors import Kind, Region, Shape, Storage, Tensor, View

MOST_FRAMES = 2_000
MOST_AXIS_TERMS = 500


@dataclass(frozen=True)
class Owner:
    """To whom a new weight belongs: a place that is the same in every phase, and how many such places there are."""

    key: tuple[object, ...]
    turns: Expr = ONE
    copies: Expr = ONE
    active: Expr = ONE
    read: Expr = ONE


class Builder:
    """The model as far as it is expanded, and the place that is being expanded."""

    def __init__(
        self,
        program: Program,
        decided: Environment,
        shapes: Environment,
        phase: PhaseSettings,
        settings: Mapping[Symbol, Expr],
        report: Report,
    ) -> None:
        self.program, self.phase, self.report = program, phase, report
        self.env, self.shapes, self.settings = decided, shapes, settings
        self.nodes: list[Node] = []
        self.storages: dict[tuple[object, ...], Storage] = {}
        self.called_first: dict[tuple[object, ...], Span] = {}
        self.declared: list[tuple[Tensor, Region, Span]] = []
        self.used: set[Storage] = set()
        self.carried: list[Carried] = []
        self.expanded = 0
        self.frames = 0
        self.root = Region("graph", phase.graph, latex=program.graphs[phase.graph].latex)
        self.region = self.root
        self.owner = Owner((phase.graph,))
        self.order = order_of([*FIRST, *program.dims])
        self._agreed: dict[tuple[Expr, Expr], bool] = {}

    def agree(self, a: Expr, b: Expr) -> bool:
        if a == b:
            return True
        key = (a, b)
        found = self._agreed.get(key)
        if found is None:
            x, y = self.shapes.value(a), self.shapes.value(b)
            found = x == y or (not (is_number(x) and is_number(y)) and is_zero(x - y))
            self._agreed[key] = found
        return found

    def axis_fault(self, axis: Expr) -> str | None:
        """Why an expression is no axis, in words behind `is`."""
        value = self.shapes.value(axis)
        if is_number(value):
            return None if value.is_Integer and value >= 1 else text(value)
        return f"a sum of more than {MOST_AXIS_TERMS} terms" if terms_estimate(value) > MOST_AXIS_TERMS else None

    @contextmanager
    def deeper(self, span: Span) -> Iterator[None]:
        self.frames += 1
        if self.frames > MOST_FRAMES:
            raise SpecError(Diagnostic("limit", f"expanded deeper than {MOST_FRAMES:,} levels", span))
        yield
        self.frames -= 1

    @contextmanager
    def inside(self, region: Region, owner: Owner) -> Iterator[None]:
        before = self.region, self.owner
        self.region, self.owner = region, owner
        yield
        self.region, self.owner = before

    def count(self, span: Span) -> None:
        self.expanded += 1
        if self.expanded > MOST_OPERATIONS:
            raise SpecError(Diagnostic("limit", f"the model expands to more than {MOST_OPERATIONS:,} operations", span))

    def stored(
        self,
        name: str,
        shape: Shape,
        place: object,
        own: DType | None,
        span: Span,
        axis_spans: tuple[Span, ...] = (),
        role: str = "weights",
    ) -> Storage | None:
        """The storage of a weight: a new one, or the one that a shared block has already at this place."""
        key = (*self.owner.key, place, name)
        known = self.storages.get(key)
        if known is not None:
            if len(known.shape) == len(shape) and all(map(self.agree, known.shape, shape)):
                return known
            shapes = [f"{self.shape_text(s)}" for s in (known.shape, shape)]
            if len(set(shapes)) == 1:
                shapes = [self._figures(s) for s in (known.shape, shape)]
            calls = [c for c in (self.called_first.get(key), self._call()) if c is not None]
            self.error(
                "shared",
                f"`{name}` of a shared block exists once, and is wanted as {shapes[0]} and as {shapes[1]}",
                span,
                others=tuple(Label(call, f"as {wanted}") for call, wanted in zip(calls, shapes, strict=False)),
            )
            return None
        owner = self.owner
        storage = Storage(
            Kind.WEIGHT,
            name,
            shape,
            role,
            own,
            owner.turns,
            ONE,
            owner.copies,
            owner.active,
            owner.read,
            span=span,
            axis_spans=axis_spans,
            key=key,
        )
        self.storages[key] = storage
        if (call := self._call()) is not None:
            self.called_first[key] = call
        return storage

    def _call(self) -> Span | None:
        """The call of the block that is being expanded."""
        return next((r.span for r in reversed(self.region.path) if r.kind == "block"), None)

    def kept(
        self,
        kind: Kind,
        name: str,
        shape: Shape,
        own: DType | None,
        window: Expr | None,
        span: Span,
        axis_spans: tuple[Span, ...] = (),
    ) -> Tensor:
        region = self.region
        key = (*self.owner.key, place(span), name, len(self.storages))
        storage = Storage(
            kind,
            name,
            shape,
            "cache",
            own,
            region.turns,
            region.rows,
            window=window,
            span=span,
            axis_spans=axis_spans,
            key=key,
        )
        self.storages[key] = storage
        return Tensor(shape, storage, name=name)

    def materialise(self, tensor: Tensor, span: Span) -> Tensor:
        operation = Materialise(x=tensor)
        result = self.node(operation, "carry", (fresh(tensor.shape),), (), tensor.name, span)
        return result[0]

    def apply(
        self, kind: type[Operation], bound: Mapping[str, tuple[Value, Span]], span: Span, label: str = ""
    ) -> Value:
        """Put an operation into the model; its result or results."""
        arguments: dict[str, Value] = {}
        fine = True
        for parameter in kind.parameters():
            if parameter.name not in bound:
                if parameter.required:
                    return BROKEN
                arguments[parameter.name] = parameter.default
                continue
            value, place = bound[parameter.name]
            if value is BROKEN:
                fine = False
                continue
            converted = self._converted(kind, parameter.name, parameter.kind, parameter.required, value, place)
            if converted is BROKEN:
                fine = False
            arguments[parameter.name] = converted
        if not fine:
            return BROKEN
        operation = kind(**arguments)
        shaping = Shaping(self, span)
        try:
            result = operation.infer(shaping)
        except Mismatch as mismatch:
            self.mismatch(mismatch, operation, {name: place for name, (_, place) in bound.items()}, span)
            return BROKEN
        results = result if isinstance(result, tuple) else (result,)
        for tensor in results:
            for axis in tensor.shape:
                fault = self.axis_fault(axis)
                if fault:
                    message = f"an axis of what `{kind.keyword}` gives is {fault}"
                    self.error("axis", message, span, facts=self.values_in(axis))
                    return BROKEN
        if not operation.is_view:
            self.used |= {tensor.storage for _, tensor in operation.operands}
        made = self.node(operation, kind.keyword, results, tuple(shaping.own), label, span)
        return made if isinstance(result, tuple) else made[0]

    def node(
        self,
        operation: Operation,
        keyword: str,
        results: Sequence[Tensor],
        own: tuple[Tensor, ...],
        label: str,
        span: Span,
    ) -> tuple[Tensor, ...]:
        self.count(span)
        index = len(self.nodes)
        made = tuple(replace(tensor, producer=index, name=label or tensor.name) for tensor in results)
        self.nodes.append(Node(index, operation, keyword, self.region, made, own, label, span))
        return made

    def _converted(
        self, kind: type[Operation], name: str, wanted: str, required: bool, value: Value, span: Span
    ) -> Value:
        """An argument as its parameter wants it; BROKEN where it cannot be."""
        if value is None and not required:
            return None
        if wanted == "tensor" and isinstance(value, Tensor):
            return value
        if wanted == "tensor or dim" and isinstance(value, Tensor | Expr):
            return value
        if wanted == "tensor or flag" and isinstance(value, Tensor | bool):
            return value
        if wanted == "dim" and isinstance(value, Expr):
            return value
        if wanted == "size" and isinstance(value, Expr):
            fault = self.axis_fault(value)
            if fault is None:
                return value
            message = f"`{kind.keyword}` has a `{name}` of {fault}: a whole number, 1 or more, is needed"
            self.error("argument", message, span, facts=self.values_in(value))
            return BROKEN
        if wanted == "flag" and isinstance(value, bool):
            return value
        if wanted == "text" and isinstance(value, str):
            return value
        if wanted == "dims" and isinstance(value, tuple) and value and all(isinstance(v, Expr) for v in value):
            for v in value:
                fault = self.axis_fault(v)
                if fault:
                    self.error(*fault_of_axis(fault, span), span, facts=self.values_in(v))
                    return BROKEN
            return value
        if wanted == "dtype" and isinstance(value, str):
            found = dtype(value)
            if found is None:
                self.report.add(no_such_dtype(value, span))
                return BROKEN
            return found
        needs = {
            "tensor": "a tensor",
            "tensor or dim": "a tensor or a number",
            "tensor or flag": "a tensor, true or false",
            "dim": "a number or a dim",
            "size": "a number or a dim",
            "flag": "true or false",
            "text": "a string",
            "dims": "a list of axes: [n, …]",
            "dtype": 'a dtype as a string: "fp8"',
        }[wanted]
        given = kind_of(value)
        if wanted == "dims" and isinstance(value, tuple):
            wrong = next((v for v in value if not isinstance(v, Expr)), None)
            given = "an empty list" if not value else f"a list with {kind_of(wrong)} in it"
        called = self._callers(span)
        message = f"`{kind.keyword}` needs {needs} as `{name}`, and this is {given}"
        self.error("type", message, span, facts=(called,) if called else ())
        return BROKEN

    def figure(self, axis: Expr) -> str:
        """An axis as a bare figure."""
        return text(axis if axis.free_symbols <= workload else self.shapes.value(axis), self.order)

    def shown(self, axis: Expr) -> str:
        """An axis with its figure: `hidden_size, 4,096`."""
        value = self.shapes.value(axis)
        # that a prefill has as many new tokens as the context is no news
        if axis == value or axis.free_symbols <= workload:
            return text(axis, self.order)
        return f"{text(axis, self.order)}, {self.figure(axis)}"

    def shape_text(self, shape: Shape) -> str:
        return "[" + ", ".join(text(axis, self.order) for axis in shape) + "]"

    def _figures(self, shape: Shape) -> str:
        return "[" + ", ".join(map(self.figure, shape)) + "]"

    def values_in(self, expr: Expr) -> tuple[str, ...]:
        """The dims of an expression with their values and the lines where these stand."""
        facts = []
        for found in sorted(expr.free_symbols, key=lambda s: s.name):
            value = self.env.value(found)
            node = self.env.given.get(found.name)
            if value != found and node is not None and not isinstance(node, Expr):
                facts.append(f"{found.name} is {text(value)}{where(node)}")
        return tuple(facts)

    def mismatch(self, fault: Mismatch, operation: Operation, spans: Mapping[str, Span], span: Span) -> None:
        """Report arguments that do not fit: the first place is at fault, the others disagree with it."""
        operands = dict(operation.operands)
        main, label, others = span, "", []
        for i, (name, said) in enumerate(fault.places):
            place = spans.get(name, span)
            tensor = operands.get(name)
            if i == 0:
                main, label = place, said
                continue
            declared = tensor.storage.axis_spans if tensor is not None else ()
            if tensor is not None and declared and tensor.storage.span is not None:
                axis = int(said.split()[1]) if said.startswith("axis ") else None
                at = declared[axis] if axis is not None and axis < len(declared) else tensor.storage.span
                others.append(Label(at, said))
            elif place.start != main.start or place.end != main.end:
                others.append(Label(place, said))
        facts = list(fault.facts)
        if fault.code == "shape":
            facts += self._both_sides([name for name, _ in fault.places], operands, spans)
        called = self._callers(main)
        if called:
            facts.append(called)
        help = fault.help or self._odd_one_out([operands[name] for name, _ in fault.places if name in operands])
        self.report.add(Diagnostic(fault.code, fault.message, main, label, tuple(others), tuple(facts), help))

    def _both_sides(
        self, names: Sequence[str], operands: Mapping[str, Tensor], spans: Mapping[str, Span]
    ) -> Iterator[str]:
        """Each argument with its shape, one under the other."""
        names = [name for name in names if name in operands and name in spans]
        said = {name: f"`{one_line(spans[name].text)}`" for name in names}
        width, wide = max(map(len, names), default=0) + 1, max(map(len, said.values()), default=0)
        for name in names:
            yield f"{name + ':':<{width}} {said[name]:<{wide}} {self._tensor(operands[name])}"

    def _odd_one_out(self, tensors: Sequence[Tensor]) -> str:
        """Of the weights declared beside one that does not fit, those that have the other side's size."""
        weight = next((t for t in tensors if t.inputs is not None), None)
        other = next((t for t in tensors if t is not weight), None)
        if weight is None or other is None or len(tensors) != 2:
            return ""
        assert weight.inputs is not None
        ins = weight.shape[: weight.inputs]
        pairs = list(zip(other.shape[len(other.shape) - len(ins) :], ins, strict=False))
        differing = next(((have, want) for have, want in pairs if not self.agree(have, want)), None)
        if differing is None:
            return ""
        have, want = differing
        beside = [t for t, region, _ in self.declared if region is self.region]
        with_have = [t for t in beside if any(self.agree(axis, have) for axis in t.shape)]
        with_want = [t for t in beside if any(self.agree(axis, want) for axis in t.shape)]
        if len(with_have) < 2 or [t.name for t in with_want] != [weight.name]:
            return ""
        names = listed(t.name for t in with_have)
        return f"{names} have {text(have, self.order)}; only `{weight.name}` has {text(want, self.order)}"

    def _tensor(self, tensor: Tensor) -> str:
        if tensor.inputs is None:
            return self.shape_text(tensor.shape)
        names = [text(axis, self.order) for axis in tensor.shape]
        return f"[{', '.join(names[: tensor.inputs])} -> {', '.join(names[tensor.inputs :])}]"

    def _callers(self, place: Span) -> str:
        """In which block something happened, and where that was called."""
        block = next((r for r in reversed(self.region.path) if r.kind == "block"), None)
        if block is None or block.span is None:
            return ""
        called = block.span
        where = f"line {called.line}" if called.source is place.source else f"{called.source.name}:{called.line}"
        return f"in `{block.name}`, called at {where}"

    def error(
        self,
        code: str,
        message: str,
        span: Span,
        *,
        label: str = "",
        others: tuple[Label, ...] = (),
        facts: tuple[str, ...] = (),
        help: str = "",
    ) -> None:
        self.report.add(Diagnostic(code, message, span, label, others, facts, help))


@dataclass
class Shaping:
    """What an operation may ask for while it is put into the model."""

    builder: Builder
    span: Span
    own: list[Tensor] = field(default_factory=list)

    def agree(self, a: Expr, b: Expr) -> bool:
        return self.builder.agree(a, b)

    def value(self, expr: Expr) -> Expr:
        return self.builder.shapes.value(expr)

    def shown(self, expr: Expr) -> str:
        return self.builder.shown(expr)

    def figure(self, expr: Expr) -> str:
        return self.builder.figure(expr)

    def activation(self, shape: Shape) -> Tensor:
        return fresh(shape)

    def weight(self, name: str, shape: Shape) -> Tensor:
        storage = self.builder.stored(name, shape, place(self.span), None, self.span)
        if storage is None:
            raise Mismatch(f"`{name}` does not fit the shared block's", code="shared")
        tensor = Tensor(storage.shape, storage, name=name)
        self.own.append(tensor)
        return tensor

    def keeps(self, kind: Kind, name: str, shape: Shape, dtype: DType | None, window: Expr | None = None) -> Tensor:
        tensor = self.builder.kept(kind, name, shape, dtype, window, self.span)
        self.own.append(tensor)
        return tensor

    def view(
        self, x: Tensor, shape: Shape, low: Expr | None = None, high: Expr | None = None, axis: int = -1
    ) -> Tensor:
        if low is None or high is None:
            return Tensor(shape, x.storage, x.view, name=x.name)
        position, base, within = axis % len(x.shape), ZERO, x.view
        frame: tuple[object, ...] = (position, _but(x.shape, position))
        if within is not None and within.frame[:2] == frame:
            frame, base = within.frame, within.low
        elif within is not None:
            frame = (*frame, within)
        return Tensor(shape, x.storage, View(frame, self.value(base + low), self.value(base + high)), name=x.name)


def _but(shape: Shape, position: int) -> Shape:
    return shape[:position] + shape[position + 1 :]


def fault_of_axis(fault: str, span: Span) -> tuple[str, str]:
    """The code and the message for an expression that is no axis."""
    what = one_line(span.text)
    if fault.startswith("a sum"):
        return "limit", f"the axis `{what}` is {fault}"
    said = f"an axis of {fault}" if what == fault else f"the axis `{what}` is {fault}"
    if what.startswith("["):
        said = f"an axis of `{what}` is {fault}"
    return "axis", f"{said}: a whole number, 1 or more, is needed"


def one_line(source: str) -> str:
    """A stretch of a spec for a message: on one line, and short."""
    folded = " ".join(source.split())
    return folded if len(folded) <= 40 else folded[:39] + "…"
