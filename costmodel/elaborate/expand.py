"""Blocks to operations: the spec is run on symbolic tensors, every shape checked, each `repeat` once.

A value that could not be made is `BROKEN`: what needs it is passed over in silence, so that a fault is told once.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from sympy import Expr, Symbol

from costmodel import syntax
from costmodel.algebra import FIRST, order_of, text
from costmodel.dtypes import DTYPE_NAMES, DType, dtype
from costmodel.elaborate.dataflow import Carried, Dataflow, Node
from costmodel.elaborate.environment import Choice, Environment, PhaseSettings, environment, type_of, where
from costmodel.names import nearest
from costmodel.ops import OPERATIONS, Mismatch, Operation
from costmodel.ops.custom import Custom, Materialise, Unused
from costmodel.ops.linear import transposed
from costmodel.ops.route import Route
from costmodel.program import Program, statements
from costmodel.resolve import MOST_OPERATIONS, OP_COSTS, OP_FUNCTIONS, SCALAR_FUNCTIONS
from costmodel.scalars import divide_or_multiply, function, power
from costmodel.source import Diagnostic, Label, Report, Span, SpecError
from costmodel.symbols import ONE, ZERO, TooManyTerms, is_number, is_zero, rational, sign, symbol, total, workload
from costmodel.tensors import Kind, Region, Shape, Storage, Tensor, View


class Broken:
    """A value that could not be made; the reason has been reported."""


BROKEN = Broken()
_NOTHING = object()
MOST_FRAMES = 2_000

Value = Any
"""Tensor, Expr, bool, None, str, a tuple of values, or BROKEN."""


@dataclass(frozen=True)
class Owner:
    """To whom a new weight belongs: a place that is the same in every phase, and how many such places there are."""

    key: tuple[object, ...]
    turns: Expr = ONE
    copies: Expr = ONE
    active: Expr = ONE
    read: Expr = ONE


@dataclass
class Scope:
    """The names that a body knows. `lost` are those it does not know any more, with the reason."""

    values: dict[str, Value]
    lost: dict[str, str] = field(default_factory=dict)
    later: frozenset[str] = frozenset()


def elaborate(program: Program, choice: Choice, phase: PhaseSettings, report: Report) -> Dataflow | None:
    """Expand one graph for one phase; faults go to `report`, None where there were any.

    Raises:
        SpecError: the dims have no values, or a limit was passed.
    """
    decided = environment(program, choice, phase.settings)
    shapes = environment(program, choice, _symbolic(phase, decided))
    settings = {symbol(name): decided.values[symbol(name)] for name in phase.settings}
    before = len(report.errors)
    limit = sys.getrecursionlimit()
    try:
        # frames of plain Python only, bounded by MOST_FRAMES levels of some few calls each
        sys.setrecursionlimit(max(limit, 12 * MOST_FRAMES))
        dataflow = _Expander(program, decided, shapes, phase, settings, report).run()
    except TooManyTerms:
        raise SpecError(Diagnostic("limit", f"graph `{phase.graph}` has a shape of too many terms")) from None
    finally:
        sys.setrecursionlimit(limit)
    return dataflow if len(report.errors) == before else None


def _symbolic(phase: PhaseSettings, decided: Environment) -> dict[str, syntax.Expression | Expr]:
    """A phase's settings without its plain numbers: nothing may broadcast only because decode makes an axis 1."""
    return {name: value for name, value in phase.settings.items() if not is_number(decided.values[symbol(name)])}


class _Expander:
    def __init__(
        self, program: Program, decided: Environment, shapes: Environment, phase: PhaseSettings,
        settings: Mapping[Symbol, Expr], report: Report,
    ) -> None:  # fmt: skip
        self.program, self.phase, self.report = program, phase, report
        self.env, self.shapes, self.settings = decided, shapes, settings
        self.nodes: list[Node] = []
        self.storages: dict[tuple[object, ...], Storage] = {}
        self.declared: list[tuple[Tensor, Region, Span]] = []
        self.used: set[Storage] = set()
        self.carried: list[Carried] = []
        self.decided: set[Symbol] = set()
        self.by_phase = False
        self.expanded = 0
        self.frames = 0
        self.root = Region("graph", phase.graph, latex=program.graphs[phase.graph].latex)
        self.region = self.root
        self.owner = Owner((phase.graph,))
        self.order = order_of([*FIRST, *program.dims])
        self._agreed: dict[tuple[Expr, Expr], bool] = {}
        varying = {name for p in program.phases.values() for name in (s.name for s in p.settings)}
        self.varying = self._depending({"new_tokens", "seq_len", "batch_size", *varying})

    def _depending(self, names: set[str]) -> set[Symbol]:
        """Dims whose value changes with one of these."""
        found = set(names)
        for name, node in self.env.given.items():
            if node is not None and not isinstance(node, Expr):
                value = self.env.values.get(symbol(name), ZERO)
                if any(symbol(n) in value.free_symbols for n in names):
                    found.add(name)
        return {symbol(name) for name in found}

    def run(self) -> Dataflow:
        graph = self.program.graphs[self.phase.graph]
        self.globals = Scope(self._global_values())
        inputs = []
        values = dict(self.globals.values)
        for parameter in graph.inputs:
            shape = self._axes(parameter.axes or (), self.globals)
            if shape is None:
                values[parameter.name] = BROKEN
                continue
            storage = Storage(Kind.ACTIVATION, parameter.name, shape, "activations", span=parameter.span)
            tensor = Tensor(shape, storage, name=parameter.name)
            inputs.append(tensor)
            values[parameter.name] = tensor
        result = self._body(graph.body, Scope(values, later=_assigned(graph.body)))
        outputs = result if isinstance(result, tuple) else () if result is _NOTHING else (result,)
        self._unused()
        return Dataflow(
            self.program, self.env, self.phase.graph, self.phase.name, self.settings, self.root, tuple(inputs),
            tuple(t for t in outputs if isinstance(t, Tensor)), tuple(self.nodes), tuple(self.storages.values()),
            tuple(self.carried), frozenset(self.decided), self.by_phase,
        )  # fmt: skip

    def _global_values(self) -> dict[str, Value]:
        values: dict[str, Value] = {name: symbol(name) for name in self.env.given}
        scope = Scope(values)
        owner, self.owner = self.owner, Owner(())
        for weight in self.program.weights.values():
            values[weight.name] = self._weight(weight, scope)
        self.owner = owner
        return values

    def _unused(self) -> None:
        """What was declared and no operation takes is counted all the same, in a place of its own."""
        for tensor, region, span in self.declared:
            if tensor.storage not in self.used:
                self.used.add(tensor.storage)
                self.region = region
                self._node(Unused(storage=tensor), tensor.kind.value, (tensor,), (tensor,), tensor.name, span)
        self.region = self.root

    # --- statements

    @contextmanager
    def _deeper(self, span: Span) -> Iterator[None]:
        self.frames += 1
        if self.frames > MOST_FRAMES:
            raise SpecError(Diagnostic("limit", f"expanded deeper than {MOST_FRAMES:,} levels", span))
        yield
        self.frames -= 1

    @contextmanager
    def _inside(self, region: Region, owner: Owner) -> Iterator[None]:
        before = self.region, self.owner
        self.region, self.owner = region, owner
        yield
        self.region, self.owner = before

    def _body(self, body: syntax.Body, scope: Scope) -> Value:
        """Run statements; what they return, or _NOTHING."""
        for statement in body.statements:
            match statement:
                case syntax.Assign():
                    self._assign(statement, scope)
                case syntax.Weights():
                    for weight in statement.weights:
                        scope.values[weight.name] = self._weight(weight, scope)
                case syntax.States():
                    for state in statement.states:
                        scope.values[state.name] = self._state(state, scope)
                case syntax.Repeat():
                    self._repeat(statement, scope)
                case syntax.If():
                    result = self._if(statement, scope)
                    if result is not _NOTHING:
                        return result
                case syntax.Return():
                    values = [self._right_side(v, statement.body, scope, ()) for v in statement.values]
                    return values[0] if len(values) == 1 else tuple(values)
        return _NOTHING

    def _assign(self, statement: syntax.Assign, scope: Scope) -> None:
        targets = statement.targets
        value = self._right_side(statement.value, statement.body, scope, targets)
        if len(targets) == 1:
            if isinstance(value, tuple):
                self._error("results", f"{len(value)} results for one name", targets[0].span)
                value = BROKEN
            scope.values[targets[0].id] = value
            return
        if value is not BROKEN and (not isinstance(value, tuple) or len(value) != len(targets)):
            count = len(value) if isinstance(value, tuple) else 1
            self._error(
                "results", f"{len(targets)} names for {count} result{'s' if count != 1 else ''}",
                targets[0].span.to(targets[-1].span), others=(Label(statement.value.span, f"gives {count}"),),
            )  # fmt: skip
            value = BROKEN
        for i, target in enumerate(targets):
            scope.values[target.id] = BROKEN if value is BROKEN else value[i]

    def _right_side(
        self, node: syntax.Expression, body: syntax.Body | None, scope: Scope, targets: Sequence[syntax.Name]
    ) -> Value:
        label = targets[0].id if len(targets) == 1 else ""
        if body is not None and isinstance(node, syntax.Call):
            return self._route(node, body, scope)
        if isinstance(node, syntax.Call):
            return self._call(node, scope, label)
        return self._eval(node, scope)

    def _if(self, statement: syntax.If, scope: Scope) -> Value:
        taken = self._holds(statement.condition, scope)
        arms = (statement.then, statement.otherwise)
        if taken is None:
            for arm in filter(None, arms):
                for name in _assigned(arm):
                    scope.values[name] = BROKEN
            return BROKEN if any(_has_return(arm) for arm in arms if arm is not None) else _NOTHING
        arm, other = arms if taken else arms[::-1]
        if other is not None:
            for name in (*_assigned(other), *_declared(other)):
                if name not in scope.values:
                    scope.lost[name] = (
                        f"only the arm of `if` that is not taken assigns it (line {statement.span.line},"
                        f" phase {self.phase.name})"
                    )
        return self._body(arm, scope) if arm is not None else _NOTHING

    def _holds(self, condition: syntax.Condition, scope: Scope) -> bool | None:
        """Whether a condition holds; None where that could not be told."""
        left, right = self._eval(condition.left, scope), self._eval(condition.right, scope)
        if left is BROKEN or right is BROKEN:
            return None
        relation = condition.relation
        for side, node in ((left, condition.left), (right, condition.right)):
            if isinstance(side, Tensor | tuple):
                self._error("type", "an `if` compares dims, not tensors", node.span)
                return None
        if not isinstance(left, Expr) or not isinstance(right, Expr):
            if relation not in ("==", "!="):
                self._error("type", f"`{relation}` compares numbers", condition.span)
                return None
            same = type(left) is type(right) and left == right
            return same if relation == "==" else not same
        difference = left - right
        self.decided |= difference.free_symbols
        self.by_phase = self.by_phase or bool(difference.free_symbols & self.varying)
        return self._compare(condition, relation, self.env.value(difference))

    def _compare(self, condition: syntax.Condition, relation: str, difference: Expr) -> bool | None:
        zero = is_zero(difference)
        known = 0 if zero else sign(difference)
        if known is None and relation in ("==", "!=") and difference.free_symbols & workload:
            return relation == "!="
        if known is None:
            free = sorted(s.name for s in difference.free_symbols)
            self._error(
                "open",
                f"`if` cannot be decided: {' and '.join(f'`{name}`' for name in free)}"
                f" {'has' if len(free) == 1 else 'have'} no value",
                condition.span,
                facts=("an `if` chooses structure, by the values of dims and by the phase",),
            )
            return None
        return {
            "==": known == 0, "!=": known != 0, "<": known < 0, "<=": known <= 0, ">": known > 0, ">=": known >= 0,
        }[relation]  # fmt: skip

    def _repeat(self, statement: syntax.Repeat, scope: Scope) -> None:
        count = self._eval(statement.count, scope)
        if count is not BROKEN and not isinstance(count, Expr):
            self._error("type", "a `repeat` needs a number of turns", statement.count.span)
            count = BROKEN
        if count is BROKEN:
            count = ONE
        value = self.env.value(count)
        if is_number(value) and (value < 0 or not value.is_Integer):
            self._error(
                "repeat", f"a `repeat` of {value} turns: a whole number, 0 or more, is needed", statement.count.span,
                facts=self._values_in(count),
            )  # fmt: skip
        assigned = _assigned(statement.body)
        outside = dict(scope.values)
        inner = Scope(dict(outside), dict(scope.lost), scope.later | assigned)
        entering: dict[str, Tensor] = {}
        for name in sorted(assigned & outside.keys()):
            before = outside[name]
            if isinstance(before, Tensor):
                if before.kind is not Kind.ACTIVATION:
                    before = outside[name] = self._materialise(before, statement.span)
                storage = Storage(Kind.ACTIVATION, name, before.shape, "activations")
                entering[name] = inner.values[name] = Tensor(before.shape, storage, name=name)
        shown = text(value, self.order)
        region = Region(
            "repeat", f"repeat {statement.count.span.text}", self.region, count=count, span=statement.span,
            carried=tuple(entering.values()),
        )  # fmt: skip
        owner = replace(
            self.owner, key=(*self.owner.key, _place(statement.span)), turns=self.owner.turns * count
        )
        with self._inside(region, owner), self._deeper(statement.span):
            self._body(statement.body, inner)
            for name in sorted(assigned & outside.keys()):
                scope.values[name] = self._carry(name, outside[name], entering.get(name), inner.values[name], statement, shown)
        for name in assigned - outside.keys():
            scope.lost[name] = f"it is first assigned inside the `repeat` of line {statement.span.line}"
        for name in _declared(statement.body):
            if name not in outside:
                scope.lost[name] = f"it is declared inside the `repeat` of line {statement.span.line}"

    def _carry(
        self, name: str, before: Value, entering: Tensor | None, after: Value, statement: syntax.Repeat, shown: str
    ) -> Value:
        """A variable from outside behind a `repeat`, which must come out with the shape that it went in with."""
        if before is BROKEN or after is BROKEN:
            return BROKEN
        if entering is None or not isinstance(after, Tensor):
            if entering is None and not isinstance(after, Tensor) and type(before) is type(after) and before == after:
                return before
            self._error(
                "carried", f"`{name}` changes what it is from turn to turn of a `repeat`", self._where(statement, name),
                facts=("a variable from outside that a `repeat` assigns is carried on, and must stay a tensor of one shape",),
            )  # fmt: skip
            return BROKEN
        if after.storage is entering.storage and after.view is None and after.shape == entering.shape:
            self.carried.append(Carried(before, entering, entering))
            return before
        if len(after.shape) != len(entering.shape) or not all(
            self._agree(a, b) for a, b in zip(after.shape, entering.shape, strict=True)
        ):
            self._error(
                "carried",
                f"`{name}` goes into a turn of `repeat` as {self._shape(entering.shape)}"
                f" and comes out as {self._shape(after.shape)}",
                self._where(statement, name),
                facts=(f"it is carried from one of {shown} turns to the next, so its shape must stay",),
            )
            return BROKEN
        if after.kind is not Kind.ACTIVATION:
            after = self._materialise(after, statement.span)
        self.carried.append(Carried(before, entering, after))
        return after

    def _where(self, statement: syntax.Repeat, name: str) -> Span:
        """Where a `repeat` last assigns a name."""
        spans = [
            target.span
            for inner in statements(statement.body)
            if isinstance(inner, syntax.Assign)
            for target in inner.targets
            if target.id == name
        ]
        return spans[-1]

    def _materialise(self, tensor: Tensor, span: Span) -> Tensor:
        operation = Materialise(x=tensor)
        result = self._node(operation, "carry", (_fresh(tensor.shape),), (), tensor.name, span)
        return result[0]

    # --- weights and states

    def _weight(self, node: syntax.Weight, scope: Scope) -> Value:
        ins = self._axes(node.inputs or (), scope)
        outs = self._axes(node.axes, scope)
        if ins is None or outs is None:
            return BROKEN
        spans = tuple(axis.span for axis in (*(node.inputs or ()), *node.axes))
        own = self._type(node.dtype)
        storage = self._stored(node.name, (*ins, *outs), _place(node.span), own, node.span, spans)
        if storage is None:
            return BROKEN
        inputs = len(ins) if node.inputs is not None else None
        tensor = Tensor(storage.shape, storage, inputs=inputs, name=node.name)
        self.declared.append((tensor, self.region, node.name_span))
        return tensor

    def _stored(
        self, name: str, shape: Shape, place: object, own: DType | None, span: Span, axis_spans: tuple[Span, ...] = ()
    ) -> Storage | None:
        """The storage of a weight: a new one, or the one that a shared block has already at this place."""
        key = (*self.owner.key, place, name)
        known = self.storages.get(key)
        if known is not None:
            if len(known.shape) == len(shape) and all(map(self._agree, known.shape, shape)):
                return known
            self._error(
                "shared",
                f"`{name}` of a shared block exists once, and is wanted as {self._shape(shape)}"
                f" and as {self._shape(known.shape)}",
                span,
            )
            return None
        owner = self.owner
        storage = Storage(
            Kind.WEIGHT, name, shape, "weights", own, owner.turns, ONE, owner.copies, owner.active, owner.read,
            span=span, axis_spans=axis_spans, key=key,
        )  # fmt: skip
        self.storages[key] = storage
        return storage

    def _state(self, node: syntax.State, scope: Scope) -> Value:
        shape = self._axes(node.axes, scope)
        if shape is None:
            return BROKEN
        spans = tuple(axis.span for axis in node.axes)
        tensor = self._kept(Kind.STATE, node.name, shape, self._type(node.dtype), None, node.span, spans)
        self.declared.append((tensor, self.region, node.name_span))
        return tensor

    def _kept(
        self, kind: Kind, name: str, shape: Shape, own: DType | None, window: Expr | None, span: Span,
        axis_spans: tuple[Span, ...] = (),
    ) -> Tensor:  # fmt: skip
        region = self.region
        key = (*self.owner.key, _place(span), name, len(self.storages))
        storage = Storage(
            kind, name, shape, "cache", own, region.turns, region.rows, window=window, span=span,
            axis_spans=axis_spans, key=key,
        )  # fmt: skip
        self.storages[key] = storage
        return Tensor(shape, storage, name=name)

    def _type(self, node: syntax.TypeName | None) -> DType | None:
        if node is None:
            return None
        try:
            return type_of(node)
        except SpecError:
            return None

    def _axes(self, nodes: Iterable[syntax.Expression], scope: Scope) -> Shape | None:
        shape: list[Expr | None] = []
        for node in nodes:
            axis = self._eval(node, scope)
            if axis is BROKEN:
                shape.append(None)
                continue
            if not isinstance(axis, Expr):
                self._error("type", "an axis is a number or a dim", node.span)
                shape.append(None)
                continue
            fault = self._axis_fault(axis)
            if fault:
                self._error("axis", f"an axis of {fault}: a whole number, 1 or more, is needed", node.span,
                            facts=self._values_in(axis))  # fmt: skip
                shape.append(None)
                continue
            shape.append(axis)
        return None if None in shape else tuple(shape)

    def _axis_fault(self, axis: Expr) -> str | None:
        value = self.shapes.value(axis)
        if is_number(value) and (not value.is_Integer or value < 1):
            return str(value)
        return None

    # --- expressions

    def _eval(self, node: syntax.Expression, scope: Scope) -> Value:
        match node:
            case syntax.Number():
                return rational(node.value)
            case syntax.Name():
                return self._name(node, scope)
            case syntax.Text() | syntax.Truth():
                return node.value
            case syntax.Call():
                return self._call(node, scope)
            case syntax.Sum() | syntax.Product() | syntax.Negative() | syntax.Power():
                with self._deeper(node.span):
                    return self._arithmetic(node, scope)
            case syntax.ListOf():
                values = tuple(self._eval(item, scope) for item in node.items)
                return BROKEN if BROKEN in values else values
            case syntax.Attribute():
                return self._attribute(node, scope)
            case _:
                return BROKEN

    def _name(self, node: syntax.Name, scope: Scope) -> Value:
        value = scope.values.get(node.id, _NOTHING)
        if value is not _NOTHING:
            return value
        if node.id in scope.lost:
            self._error("unknown-name", f"`{node.id}` is not known here: {scope.lost[node.id]}", node.span)
        elif node.id in scope.later:
            self._error("unknown-name", f"`{node.id}` is used before it is assigned", node.span)
        return BROKEN

    def _attribute(self, node: syntax.Attribute, scope: Scope) -> Value:
        if len(node.parts) != 2 or node.parts[1] != "T":
            return BROKEN
        weight = self._name(syntax.Name(node.parts[0], node.span), scope)
        if weight is BROKEN:
            return BROKEN
        if not isinstance(weight, Tensor) or weight.inputs is None:
            self._error("type", f"`{node.parts[0]}.T` needs a weight with an arrow, whose sides it swaps", node.span)
            return BROKEN
        return transposed(weight)

    def _arithmetic(self, node: syntax.Sum | syntax.Product | syntax.Negative | syntax.Power, scope: Scope) -> Value:
        match node:
            case syntax.Negative():
                value = self._eval(node.operand, scope)
                if isinstance(value, Tensor):
                    return self._apply(OPERATIONS["-"], {"x": (ZERO, node.span), "y": (value, node.operand.span)}, node.span)
                return self._number(value, node.operand, "negated", lambda v: -v)
            case syntax.Power():
                base, exponent = self._eval(node.base, scope), self._eval(node.exponent, scope)
                if isinstance(base, Tensor) or isinstance(exponent, Tensor):
                    self._error("type", "`^` is for dims; write a tensor's square as a product", node.span)
                    return BROKEN
                if not isinstance(base, Expr) or not isinstance(exponent, Expr):
                    return self._no_number((base, exponent), (node.base, node.exponent))
                return self._guarded(lambda: power(base, exponent, node, self.env.value))
            case syntax.Sum():
                pairs = node.terms
            case syntax.Product():
                pairs = node.factors
        result = self._eval(pairs[0][1], scope)
        start = pairs[0][1].span
        plain = [result]
        for operator, operand in pairs[1:]:
            value = self._eval(operand, scope)
            span = start.to(operand.span)
            if result is BROKEN or value is BROKEN:
                result = BROKEN
                continue
            if isinstance(result, Tensor) or isinstance(value, Tensor):
                if operator in ("//", "%"):
                    self._error("type", f"`{operator}` is for dims", span)
                    result = BROKEN
                    continue
                label = ", ".join(v.name for v in (result, value) if isinstance(v, Tensor) and v.kind is Kind.WEIGHT)
                sides = {"x": (result, start), "y": (value, operand.span)}
                result = self._apply(OPERATIONS[operator], sides, span, label)
                plain = []
            elif not isinstance(result, Expr) or not isinstance(value, Expr):
                result = self._no_number((result, value), (pairs[0][1], operand))
            elif isinstance(node, syntax.Sum):
                if plain:  # a long sum of numbers is added up in one go
                    plain.append(value if operator == "+" else -value)
                    result = value
                    if operand is pairs[-1][1]:
                        result = total(plain)
                else:
                    result = result + value if operator == "+" else result - value
            else:
                left = result
                result = self._guarded(lambda: divide_or_multiply(operator, left, value, operand, self.env.value))  # noqa: B023
        return result

    def _guarded(self, compute: Any) -> Value:
        try:
            return compute()
        except SpecError as error:
            for diagnostic in error.diagnostics:
                self.report.add(diagnostic)
            return BROKEN

    def _number(self, value: Value, node: syntax.Expression, what: str, change: Any) -> Value:
        if value is BROKEN:
            return BROKEN
        if not isinstance(value, Expr):
            self._error("type", f"only a number or a tensor can be {what}", node.span)
            return BROKEN
        return change(value)

    def _no_number(self, values: Sequence[Value], nodes: Sequence[syntax.Expression]) -> Broken:
        for value, node in zip(values, nodes, strict=True):
            if value is not BROKEN and not isinstance(value, Expr):
                self._error("type", f"{_kind_of(value)} is no number", node.span)
        return BROKEN

    # --- calls

    def _count(self, span: Span) -> None:
        self.expanded += 1
        if self.expanded > MOST_OPERATIONS:
            raise SpecError(
                Diagnostic("limit", f"the model expands to more than {MOST_OPERATIONS:,} operations", span)
            )

    def _call(self, node: syntax.Call, scope: Scope, label: str = "") -> Value:
        with self._deeper(node.span):
            self._count(node.span)
            name = node.function
            if name in self.program.blocks:
                return self._block(self.program.blocks[name], node, scope)
            if name in self.program.ops:
                return self._custom(self.program.ops[name], node, scope, label)
            if name in SCALAR_FUNCTIONS:
                values = tuple(self._eval(a.value, scope) for a in node.arguments)
                if not all(isinstance(v, Expr) for v in values):
                    return self._no_number(values, [a.value for a in node.arguments])
                return function(node, values) if values else BROKEN
            if name in OPERATIONS:
                return self._operation(OPERATIONS[name], node, scope, label)
            return self._measure(node, scope) if name in OP_FUNCTIONS and node.arguments else BROKEN

    def _measure(self, node: syntax.Call, scope: Scope) -> Value:
        """`size(x)` or `bytes(x)` in an op's body."""
        tensor = self._eval(node.arguments[0].value, scope)
        if tensor is BROKEN:
            return BROKEN
        if not isinstance(tensor, Tensor):
            self._error("type", f"`{node.function}` measures a tensor, and this is {_kind_of(tensor)}", node.span)
            return BROKEN
        return tensor.elements * (tensor.storage.bytes_each if node.function == "bytes" else ONE)

    def _bound(
        self, call: syntax.Call, parameters: Sequence[tuple[str, bool]], scope: Scope
    ) -> dict[str, tuple[Value, Span]] | None:
        """Arguments by parameter; None where they do not fit, which has been reported."""
        names = [name for name, _ in parameters]
        bound: dict[str, tuple[Value, Span]] = {}
        for i, argument in enumerate(call.arguments):
            value = self._eval(argument.value, scope)
            name = argument.name or (names[i] if i < len(names) else "")
            if name not in names or name in bound:
                return None
            bound[name] = (value, argument.value.span)
        return None if any(required and name not in bound for name, required in parameters) else bound

    def _block(self, block: syntax.Block, call: syntax.Call, scope: Scope) -> Value:
        bound = self._bound(call, [(p.name, p.default is None) for p in block.parameters], scope)
        if bound is None:
            return BROKEN
        values = dict(self.globals.values)
        for parameter in block.parameters:
            if parameter.name in bound:
                values[parameter.name] = bound[parameter.name][0]
            elif parameter.default is not None:
                values[parameter.name] = self._eval(parameter.default, self.globals)
        for parameter in block.parameters:
            if isinstance(values[parameter.name], tuple):
                self._error("type", "a list cannot be given to a block", bound[parameter.name][1])
                values[parameter.name] = BROKEN
        region = Region("block", block.name, self.region, latex=block.latex, span=call.span)
        owner = Owner(("shared", block.name)) if block.shared else replace(
            self.owner, key=(*self.owner.key, _place(call.span))
        )
        with self._inside(region, owner):
            result = self._body(block.body, Scope(values, later=_assigned(block.body)))
        if result is _NOTHING:
            self._error(
                "return", f"block `{block.name}` ends without a `return`", block.name_span,
                others=(Label(call.function_span, "called here"),),
            )  # fmt: skip
            return BROKEN
        return result

    def _operation(self, kind: type[Operation], call: syntax.Call, scope: Scope, label: str) -> Value:
        parameters = kind.parameters()
        bound = self._bound(call, [(p.name, p.required) for p in parameters], scope)
        if bound is None or kind is Route:
            return BROKEN
        if not label or any(isinstance(v, Tensor) and v.kind is Kind.WEIGHT for v, _ in bound.values()):
            label = self._label(call, bound) or label
        return self._apply(kind, bound, call.span, label)

    def _label(self, call: syntax.Call, bound: Mapping[str, tuple[Value, Span]]) -> str:
        """What an operation works on, by name: its weights, else its arguments where all are plain names."""
        tensors = [(value, span) for value, span in bound.values() if isinstance(value, Tensor)]
        weights = [value.name for value, _ in tensors if value.kind is Kind.WEIGHT]
        if weights:
            return ", ".join(weights)
        names = {a.value.span: a.value.id for a in call.arguments if isinstance(a.value, syntax.Name)}
        plain = [names[span] for _, span in tensors if span in names]
        return ", ".join(plain) if len(plain) == len(tensors) > 1 else ""

    def _apply(
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
        shaping = _Shaping(self, span)
        try:
            result = operation.infer(shaping)
        except Mismatch as mismatch:
            self._mismatch(mismatch, operation, {name: place for name, (_, place) in bound.items()}, span)
            return BROKEN
        results = result if isinstance(result, tuple) else (result,)
        for tensor in results:
            for axis in tensor.shape:
                fault = self._axis_fault(axis)
                if fault:
                    self._error("axis", f"`{kind.keyword}` gives an axis of {fault}", span, facts=self._values_in(axis))
                    return BROKEN
        if not operation.is_view:
            self.used |= {tensor.storage for _, tensor in operation.operands}
        made = self._node(operation, kind.keyword, results, tuple(shaping.own), label, span)
        return made if isinstance(result, tuple) else made[0]

    def _node(
        self, operation: Operation, keyword: str, results: Sequence[Tensor], own: tuple[Tensor, ...], label: str, span: Span
    ) -> tuple[Tensor, ...]:
        self._count(span)
        index = len(self.nodes)
        made = tuple(replace(tensor, producer=index, name=label or tensor.name) for tensor in results)
        self.nodes.append(Node(index, operation, keyword, self.region, made, own, label, span))
        return made

    def _converted(self, kind: type[Operation], name: str, wanted: str, required: bool, value: Value, span: Span) -> Value:
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
        if wanted == "flag" and isinstance(value, bool):
            return value
        if wanted == "text" and isinstance(value, str):
            return value
        if wanted == "dims" and isinstance(value, tuple) and value and all(isinstance(v, Expr) for v in value):
            for v in value:
                fault = self._axis_fault(v)
                if fault:
                    self._error("axis", f"an axis of {fault}: a whole number, 1 or more, is needed", span,
                                facts=self._values_in(v))  # fmt: skip
                    return BROKEN
            return value
        if wanted == "dtype" and isinstance(value, str):
            found = dtype(value)
            if found is None:
                near = nearest(value, DTYPE_NAMES)
                self._error("unknown-name", f"there is no dtype `{value}`", span, help=f"`{near}` is near" if near else "")
                return BROKEN
            return found
        needs = {
            "tensor": "a tensor", "tensor or dim": "a tensor or a number", "tensor or flag": "a tensor, true or false",
            "dim": "a number or a dim", "flag": "true or false", "text": "a string",
            "dims": "a list of axes: [n, …]", "dtype": 'a dtype as a string: "fp8"',
        }[wanted]  # fmt: skip
        self._error("type", f"`{kind.keyword}` needs {needs} as `{name}`, and this is {_kind_of(value)}", span)
        return BROKEN

    # --- mixtures of experts

    def _route(self, call: syntax.Call, body: syntax.Body, scope: Scope) -> Value:
        parameters = Route.parameters()
        bound = self._bound(call, [(p.name, p.required) for p in parameters], scope)
        if bound is None:
            return BROKEN
        arguments: dict[str, Value] = {}
        for p in parameters:
            value, span = bound.get(p.name, (p.default, call.span))
            if value is BROKEN:
                return BROKEN
            arguments[p.name] = self._converted(Route, p.name, p.kind, p.required, value, span)
        if BROKEN in arguments.values():
            return BROKEN
        route = Route(**arguments)
        experts = self._experts(route, call, {name: span for name, (_, span) in bound.items()})
        if experts is None:
            return BROKEN
        self._count(call.span)
        region = Region("route", "route", self.region, top_k=route.top_k, span=call.span)
        before = self.owner
        owner = Owner(
            (*before.key, _place(call.span)), before.turns, before.copies * experts, before.active * route.top_k,
            before.read * route.distinct_read(),
        )  # fmt: skip
        inner = Scope(dict(scope.values), dict(scope.lost), scope.later | _assigned(body))
        with self._inside(region, owner):
            result = self._body(body, inner)
        if result is _NOTHING:
            self._error("return", "the body of `route` ends without a `return`", body.span)
            return BROKEN
        if result is BROKEN:
            return BROKEN
        if not isinstance(result, Tensor):
            self._error("type", "the body of `route` returns one tensor", body.span)
            return BROKEN
        operation = replace(route, result=result)
        self.used |= {tensor.storage for _, tensor in operation.operands}
        return self._node(operation, "route", (_fresh(result.shape),), (), "", call.span)[0]

    def _experts(self, route: Route, call: syntax.Call, spans: Mapping[str, Span]) -> Expr | None:
        """The number of experts; None where it is not said, or does not fit."""
        if (route.scores is None) == (route.experts is None):
            what = "both `scores` and `experts`" if route.scores is not None else "neither `scores` nor `experts`"
            self._error("arguments", f"`route` is given {what}: one of them says how many experts there are", call.span)
            return None
        experts = route.count()
        assert experts is not None
        count, top_k = self.env.value(experts), self.env.value(route.top_k)
        fault = self._axis_fault(experts)
        if fault:
            self._error("axis", f"`route` among {fault} experts", spans.get("experts", call.span))
            return None
        if is_number(top_k) and top_k <= 0:
            self._error("argument", f"`top_k` is {top_k}: it is more than 0", spans["top_k"])
            return None
        if is_number(top_k) and is_number(count) and top_k > count:
            self._error(
                "argument", f"`top_k` is {top_k} of {count} experts", spans["top_k"],
                facts=(*self._values_in(route.top_k), *self._values_in(experts)),
            )  # fmt: skip
            return None
        if route.distinct is not None:
            distinct = self.env.value(route.distinct)
            if is_number(distinct) and (distinct <= 0 or (is_number(count) and distinct > count)):
                self._error("argument", f"`distinct` is {distinct} of {count} experts", spans["distinct"])
                return None
        return experts

    # --- operations of the spec's own

    def _custom(self, op: syntax.OpDeclaration, call: syntax.Call, scope: Scope, label: str) -> Value:
        bound = self._bound(call, [(p.name, p.default is None) for p in op.parameters], scope)
        if bound is None:
            return BROKEN
        values = dict(self.globals.values)
        tensors: list[tuple[str, Tensor]] = []
        axes: dict[str, tuple[Expr, str]] = {}
        for parameter in op.parameters:
            if parameter.name in bound:
                value, span = bound[parameter.name]
            else:
                assert parameter.default is not None
                value, span = self._eval(parameter.default, self.globals), call.span
            if value is BROKEN:
                return BROKEN
            values[parameter.name] = value
            if isinstance(value, Tensor):
                tensors.append((parameter.name, value))
            if parameter.axes is not None and not (value is None and parameter.default is not None):
                if not self._match(op, parameter, value, span, axes):
                    return BROKEN
        values.update({name: axis for name, (axis, _) in axes.items()})
        for parameter in op.parameters:
            if parameter.axes is not None and isinstance(values[parameter.name], Tensor):
                if not self._check_pattern(op, parameter, values[parameter.name], Scope(values), bound, call):
                    return BROKEN
        custom_scope = Scope(values, later=_assigned(op.body))
        shape = self._axes(op.result, custom_scope)
        own: list[Tensor] = []
        owner = replace(self.owner, key=(*self.owner.key, _place(call.span)))
        with self._inside(self.region, owner):
            self._op_body(op.body, custom_scope, own)
        if shape is None:
            return BROKEN
        costs: dict[str, Expr | None] = {}
        for name in OP_COSTS:
            value = custom_scope.values.get(name)
            if value is BROKEN:
                return BROKEN
            costs[name] = value if isinstance(value, Expr) else None
            if costs[name] is not None:
                figure = self.env.value(value)
                if is_number(figure) and figure < 0:
                    self._error("negative", f"op `{op.name}` has {name} of {figure}", call.span)
                    return BROKEN
        operation = Custom(
            name=op.name, arguments=tuple(tensors), matmul=costs["matmul_flops"] or ZERO,
            vector=costs["vector_flops"] or ZERO, read_bytes=costs["read_bytes"], write_bytes=costs["write_bytes"],
        )  # fmt: skip
        self.used |= {tensor.storage for _, tensor in tensors} | {tensor.storage for tensor in own}
        return self._node(operation, op.name, (_fresh(shape),), tuple(own), label, call.span)[0]

    def _match(
        self, op: syntax.OpDeclaration, parameter: syntax.Parameter, value: Value, span: Span,
        axes: dict[str, tuple[Expr, str]],
    ) -> bool:  # fmt: skip
        """Bind the names of a pattern to an argument's axes."""
        assert parameter.axes is not None
        if not isinstance(value, Tensor):
            self._error("type", f"`{op.name}` needs a tensor as `{parameter.name}`, and this is {_kind_of(value)}", span)
            return False
        if len(value.shape) != len(parameter.axes):
            self._error(
                "shape",
                f"`{op.name}` takes `{parameter.name}` of {len(parameter.axes)} axes, and this has {len(value.shape)}",
                span, label=self._shape(value.shape), others=(Label(parameter.span, "this pattern"),),
            )  # fmt: skip
            return False
        for axis, pattern in zip(value.shape, parameter.axes, strict=True):
            if isinstance(pattern, syntax.Name):
                known = axes.get(pattern.id)
                if known is None:
                    axes[pattern.id] = (axis, parameter.name)
                elif not self._agree(known[0], axis):
                    self._error(
                        "shape",
                        f"`{op.name}` takes axis `{pattern.id}` in two sizes: {self._figure(known[0])} of `{known[1]}`"
                        f" and {self._figure(axis)} of `{parameter.name}`",
                        span, others=(Label(pattern.span, f"`{pattern.id}` again"),),
                    )  # fmt: skip
                    return False
        return True

    def _check_pattern(
        self, op: syntax.OpDeclaration, parameter: syntax.Parameter, tensor: Tensor, scope: Scope,
        bound: Mapping[str, tuple[Value, Span]], call: syntax.Call,
    ) -> bool:  # fmt: skip
        """Hold a pattern's axes that are no plain names against an argument's."""
        for axis, pattern in zip(tensor.shape, parameter.axes or (), strict=True):
            if isinstance(pattern, syntax.Name):
                continue
            wanted = self._eval(pattern, scope)
            if wanted is BROKEN:
                return False
            if not isinstance(wanted, Expr) or not self._agree(wanted, axis):
                span = bound.get(parameter.name, (None, call.span))[1]
                self._error(
                    "shape",
                    f"`{op.name}` takes an axis of {pattern.span.text} in `{parameter.name}`, and this is"
                    f" {self._figure(axis)}",
                    span, others=(Label(pattern.span, "wanted here"),),
                )  # fmt: skip
                return False
        return True

    def _op_body(self, body: syntax.Body, scope: Scope, own: list[Tensor]) -> None:
        for statement in body.statements:
            match statement:
                case syntax.Assign():
                    value = self._eval(statement.value, scope)
                    name = statement.targets[0].id
                    if name in OP_COSTS and value is not BROKEN and not isinstance(value, Expr):
                        self._error("type", f"`{name}` is a number", statement.value.span)
                        value = BROKEN
                    scope.values[name] = value
                case syntax.If():
                    taken = self._holds(statement.condition, scope)
                    arm = statement.then if taken else statement.otherwise
                    if taken is None:
                        for part in filter(None, (statement.then, statement.otherwise)):
                            scope.values.update(dict.fromkeys(_assigned(part), BROKEN))
                    elif arm is not None:
                        self._op_body(arm, scope, own)
                case syntax.Weights():
                    for weight in statement.weights:
                        scope.values[weight.name] = tensor = self._weight(weight, scope)
                        if isinstance(tensor, Tensor):
                            own.append(tensor)
                case syntax.States():
                    for state in statement.states:
                        scope.values[state.name] = tensor = self._state(state, scope)
                        if isinstance(tensor, Tensor):
                            own.append(tensor)
                case _:
                    pass

    # --- shapes and messages

    def _agree(self, a: Expr, b: Expr) -> bool:
        if a == b:
            return True
        key = (a, b)
        found = self._agreed.get(key)
        if found is None:
            x, y = self.shapes.value(a), self.shapes.value(b)
            found = x == y or (not (is_number(x) and is_number(y)) and is_zero(x - y))
            self._agreed[key] = found
        return found

    def _figure(self, axis: Expr) -> str:
        return text(self.shapes.value(axis), self.order)

    def shown(self, axis: Expr) -> str:
        value = self.shapes.value(axis)
        if axis == value:
            return text(axis, self.order)
        return f"{text(axis, self.order)}, {text(value, self.order)}"

    def _shape(self, shape: Shape) -> str:
        return "[" + ", ".join(text(axis, self.order) for axis in shape) + "]"

    def _values_in(self, expr: Expr) -> tuple[str, ...]:
        """The dims of an expression with their values and the lines where these stand."""
        facts = []
        for found in sorted(expr.free_symbols, key=lambda s: s.name):
            value = self.env.value(found)
            node = self.env.given.get(found.name)
            if value != found and node is not None and not isinstance(node, Expr):
                facts.append(f"{found.name} is {text(value)}{where(node)}")
        return tuple(facts)

    def _mismatch(self, fault: Mismatch, operation: Operation, spans: Mapping[str, Span], span: Span) -> None:
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
            facts += [
                f"{name}: `{_one_line(spans[name].text)}` {self._tensor(operands[name])}"
                for name, _ in fault.places
                if name in operands and name in spans
            ]
        called = self._callers()
        if called:
            facts.append(called)
        self.report.add(Diagnostic(fault.code, fault.message, main, label, tuple(others), tuple(facts)))

    def _tensor(self, tensor: Tensor) -> str:
        if tensor.inputs is None:
            return self._shape(tensor.shape)
        names = [text(axis, self.order) for axis in tensor.shape]
        return f"[{', '.join(names[: tensor.inputs])} -> {', '.join(names[tensor.inputs :])}]"

    def _callers(self) -> str:
        block = next((r for r in reversed(self.region.path) if r.kind == "block"), None)
        if block is None or block.span is None:
            return ""
        return f"in `{block.name}`, called at line {block.span.line}"

    def _error(
        self, code: str, message: str, span: Span, *, label: str = "", others: tuple[Label, ...] = (),
        facts: tuple[str, ...] = (), help: str = "",
    ) -> None:  # fmt: skip
        self.report.add(Diagnostic(code, message, span, label, others, facts, help))


@dataclass
class _Shaping:
    """What an operation may ask for while it is put into the model."""

    expander: _Expander
    span: Span
    own: list[Tensor] = field(default_factory=list)

    def agree(self, a: Expr, b: Expr) -> bool:
        return self.expander._agree(a, b)

    def value(self, expr: Expr) -> Expr:
        return self.expander.shapes.value(expr)

    def shown(self, expr: Expr) -> str:
        return self.expander.shown(expr)

    def activation(self, shape: Shape) -> Tensor:
        return _fresh(shape)

    def weight(self, name: str, shape: Shape) -> Tensor:
        storage = self.expander._stored(name, shape, _place(self.span), None, self.span)
        if storage is None:
            raise Mismatch(f"`{name}` does not fit the shared block's", code="shared")
        tensor = Tensor(storage.shape, storage, name=name)
        self.own.append(tensor)
        return tensor

    def keeps(self, kind: Kind, name: str, shape: Shape, dtype: DType | None, window: Expr | None = None) -> Tensor:
        tensor = self.expander._kept(kind, name, shape, dtype, window, self.span)
        self.own.append(tensor)
        return tensor

    def view(self, x: Tensor, shape: Shape, low: Expr | None = None, high: Expr | None = None, axis: int = -1) -> Tensor:
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


def _fresh(shape: Shape) -> Tensor:
    return Tensor(shape, Storage(Kind.ACTIVATION, "", shape, "activations"))


def _place(span: Span) -> tuple[object, ...]:
    return (span.source.name, span.start)


def _one_line(source: str) -> str:
    folded = " ".join(source.split())
    return folded if len(folded) <= 40 else folded[:39] + "…"


def _kind_of(value: Value) -> str:
    if isinstance(value, Tensor):
        return "a tensor"
    if isinstance(value, bool):
        return "a truth value"
    if value is None:
        return "`none`"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, tuple):
        return "a list"
    return "a number"


def _assigned(body: syntax.Body) -> frozenset[str]:
    """The variables that a body assigns, those in a `route`'s body, which has names of its own, left out."""
    found: set[str] = set()
    for statement in body.statements:
        match statement:
            case syntax.Assign():
                found |= {target.id for target in statement.targets}
            case syntax.Repeat():
                found |= _assigned(statement.body)
            case syntax.If():
                found |= _assigned(statement.then)
                if statement.otherwise is not None:
                    found |= _assigned(statement.otherwise)
            case _:
                pass
    return frozenset(found)


def _declared(body: syntax.Body) -> Iterator[str]:
    for statement in statements(body):
        if isinstance(statement, syntax.Weights):
            yield from (weight.name for weight in statement.weights)
        elif isinstance(statement, syntax.States):
            yield from (state.name for state in statement.states)


def _has_return(body: syntax.Body) -> bool:
    return any(isinstance(statement, syntax.Return) for statement in statements(body))
