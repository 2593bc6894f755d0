"""Expressions on symbolic tensors: names, arithmetic, calls of operations, and the conditions of `if`s."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from sympy import Add, Expr, Symbol

from costmodel import syntax
from costmodel.dtypes import WEIGHT_ROLES, DType
from costmodel.elaborate.builder import Builder, fault_of_axis, one_line
from costmodel.elaborate.environment import Environment, PhaseSettings, type_of
from costmodel.elaborate.values import BROKEN, Broken, Scope, Value, kind_of, place
from costmodel.ops import OPERATIONS, Operation
from costmodel.ops.linear import transposed
from costmodel.ops.route import Route
from costmodel.program import Program
from costmodel.resolve import OP_FUNCTIONS, SCALAR_FUNCTIONS
from costmodel.scalars import divide_or_multiply, function, power
from costmodel.source import Report, Span, SpecError
from costmodel.symbols import ONE, ZERO, compared, expanded, is_zero, rational, sign, symbol, total, workload
from costmodel.tensors import Kind, Shape, Tensor

_MISSING = object()


def _signs(difference: Expr) -> set[int]:
    """The signs that a difference may have: a dim without a value is 0 or more, the workload 1 or more."""
    if is_zero(difference):
        return {0}
    known = sign(difference)
    if known is None:
        return {-1, 0, 1}
    terms = Add.make_args(expanded(difference))
    return {known} if any(term.free_symbols <= workload for term in terms) else {0, known}


class Evaluator(Builder):
    """Evaluates expressions, putting the operations that they call into the model."""

    globals: Scope

    def __init__(
        self,
        program: Program,
        decided: Environment,
        shapes: Environment,
        phase: PhaseSettings,
        settings: Mapping[Symbol, Expr],
        report: Report,
    ) -> None:
        super().__init__(program, decided, shapes, phase, settings, report)
        self.decided: set[Symbol] = set()
        self.by_phase = False
        varying = {setting.name for p in program.phases.values() for setting in p.settings}
        self.varying = self._depending({"new_tokens", "seq_len", "batch_size", *varying})

    def block(self, block: syntax.Block, call: syntax.Call, scope: Scope) -> Value:
        """Expand a block where it is called."""
        raise NotImplementedError

    def custom(self, op: syntax.OpDeclaration, call: syntax.Call, scope: Scope, label: str) -> Value:
        """Put an operation of the spec's own into the model."""
        raise NotImplementedError

    def _depending(self, names: set[str]) -> set[Symbol]:
        """Dims whose value changes with one of these."""
        found = set(names)
        for name, node in self.env.given.items():
            if node is not None and not isinstance(node, Expr):
                value = self.env.values.get(symbol(name), ZERO)
                if any(symbol(n) in value.free_symbols for n in names):
                    found.add(name)
        return {symbol(name) for name in found}

    def holds(self, condition: syntax.Condition, scope: Scope) -> bool | None:
        """Whether a condition holds; None where that could not be told."""
        left, right = self.eval(condition.left, scope), self.eval(condition.right, scope)
        if left is BROKEN or right is BROKEN:
            return None
        relation = condition.relation
        if not isinstance(left, Expr) or not isinstance(right, Expr):
            if relation not in ("==", "!="):
                self.error("type", f"`{relation}` compares numbers", condition.span)
                return None
            if left is not None and right is not None:
                for side, node in ((left, condition.left), (right, condition.right)):
                    if isinstance(side, Tensor | tuple):
                        self.error("type", "an `if` compares dims, not tensors", node.span)
                        return None
                if kind_of(left) != kind_of(right):
                    self.error("type", f"`if` compares {kind_of(left)} with {kind_of(right)}", condition.span)
                    return None
            same = left is right or (left is not None and right is not None and left == right)
            return same if relation == "==" else not same
        difference = left - right
        self.decided |= difference.free_symbols
        self.by_phase = self.by_phase or bool(difference.free_symbols & self.varying)
        return self._compare(condition, relation, self.env.value(difference))

    def _compare(self, condition: syntax.Condition, relation: str, difference: Expr) -> bool | None:
        decided = {compared(relation, possible) for possible in _signs(difference)}
        if len(decided) == 1:
            return decided.pop()
        if relation in ("==", "!=") and difference.free_symbols & workload:
            return relation == "!="
        free = sorted(s.name for s in difference.free_symbols)
        self.error(
            "open",
            f"`if` cannot be decided: {' and '.join(f'`{name}`' for name in free)}"
            f" {'has' if len(free) == 1 else 'have'} no value",
            condition.span,
            facts=("an `if` chooses structure, by the values of dims and by the phase",),
        )
        return None

    def weight(self, node: syntax.Weight, scope: Scope) -> Value:
        ins = self.axes(node.inputs or (), scope)
        outs = self.axes(node.axes, scope)
        if ins is None or outs is None:
            return BROKEN
        spans = tuple(axis.span for axis in (*(node.inputs or ()), *node.axes))
        named = node.dtype.name if node.dtype is not None else ""
        expert = any(region.kind == "route" for region in self.region.path)
        role = named if named in WEIGHT_ROLES else self.env.weight_role(node.inputs is not None, expert)
        own = None if named in WEIGHT_ROLES else self._type(node.dtype)
        storage = self.stored(node.name, (*ins, *outs), place(node.span), own, node.span, spans, role)
        if storage is None:
            return BROKEN
        inputs = len(ins) if node.inputs is not None else None
        tensor = Tensor(storage.shape, storage, inputs=inputs, name=node.name)
        self.declared.append((tensor, self.region, node.name_span))
        return tensor

    def state(self, node: syntax.State, scope: Scope) -> Value:
        shape = self.axes(node.axes, scope)
        if shape is None:
            return BROKEN
        spans = tuple(axis.span for axis in node.axes)
        tensor = self.kept(Kind.STATE, node.name, shape, self._type(node.dtype), None, node.span, spans)
        self.declared.append((tensor, self.region, node.name_span))
        return tensor

    def _type(self, node: syntax.TypeName | None) -> DType | None:
        if node is None:
            return None
        try:
            return type_of(node)
        except SpecError:
            return None

    def axes(self, nodes: Iterable[syntax.Expression], scope: Scope) -> Shape | None:
        shape: list[Expr | None] = []
        for node in nodes:
            axis = self.eval(node, scope)
            if axis is BROKEN:
                shape.append(None)
                continue
            if not isinstance(axis, Expr):
                called = self._callers(node.span)
                message = f"an axis is a number or a dim, and `{one_line(node.span.text)}` is {kind_of(axis)}"
                self.error("type", message, node.span, facts=(called,) if called else ())
                shape.append(None)
                continue
            fault = self.axis_fault(axis)
            if fault:
                self.error(*fault_of_axis(fault, node.span), node.span, facts=self.values_in(axis))
                shape.append(None)
                continue
            shape.append(axis)
        return None if None in shape else tuple(shape)

    def eval(self, node: syntax.Expression, scope: Scope) -> Value:
        match node:
            case syntax.Number():
                return rational(node.value)
            case syntax.Name():
                return self._name(node, scope)
            case syntax.Text() | syntax.Truth():
                return node.value
            case syntax.Call():
                return self.call(node, scope)
            case syntax.Sum() | syntax.Product() | syntax.Negative() | syntax.Power():
                with self.deeper(node.span):
                    return self._arithmetic(node, scope)
            case syntax.ListOf():
                values = tuple(self.eval(item, scope) for item in node.items)
                return BROKEN if BROKEN in values else values
            case syntax.Attribute():
                return self._attribute(node, scope)
            case _:
                return BROKEN

    def _name(self, node: syntax.Name, scope: Scope) -> Value:
        value = scope.values.get(node.id, _MISSING)
        if value is not _MISSING:
            return value
        if node.id in scope.lost:
            self.error("unknown-name", f"`{node.id}` is not known here: {scope.lost[node.id]}", node.span)
        elif node.id in scope.later:
            self.error("unknown-name", f"`{node.id}` is used before it is assigned", node.span)
        return BROKEN

    def _attribute(self, node: syntax.Attribute, scope: Scope) -> Value:
        if len(node.parts) != 2 or node.parts[1] != "T":
            return BROKEN
        weight = self._name(syntax.Name(node.parts[0], node.span), scope)
        if weight is BROKEN:
            return BROKEN
        if not isinstance(weight, Tensor) or weight.inputs is None:
            self.error("type", f"`{node.parts[0]}.T` needs a weight with an arrow, whose sides it swaps", node.span)
            return BROKEN
        return transposed(weight)

    def _arithmetic(self, node: syntax.Sum | syntax.Product | syntax.Negative | syntax.Power, scope: Scope) -> Value:
        match node:
            case syntax.Negative():
                value = self.eval(node.operand, scope)
                if isinstance(value, Tensor):
                    return self.apply(
                        OPERATIONS["-"], {"x": (ZERO, node.span), "y": (value, node.operand.span)}, node.span
                    )
                return self._number(value, node.operand, "negated", lambda v: -v)
            case syntax.Power():
                base, exponent = self.eval(node.base, scope), self.eval(node.exponent, scope)
                if isinstance(base, Tensor) or isinstance(exponent, Tensor):
                    self.error("type", "`^` is for dims; write a tensor's square as a product", node.span)
                    return BROKEN
                if not isinstance(base, Expr) or not isinstance(exponent, Expr):
                    return self._no_number((base, exponent), (node.base, node.exponent))
                return self._guarded(lambda: power(base, exponent, node, self.env.value))
            case syntax.Sum():
                pairs = node.terms
            case syntax.Product():
                pairs = node.factors
        result = self.eval(pairs[0][1], scope)
        start = pairs[0][1].span
        plain = [result]
        for operator, operand in pairs[1:]:
            value = self.eval(operand, scope)
            span = start.to(operand.span)
            if result is BROKEN or value is BROKEN:
                result = BROKEN
                continue
            if isinstance(result, Tensor) or isinstance(value, Tensor):
                if operator in ("//", "%"):
                    self.error("type", f"`{operator}` is for dims", span)
                    result = BROKEN
                    continue
                label = ", ".join(v.name for v in (result, value) if isinstance(v, Tensor) and v.kind is Kind.WEIGHT)
                sides = {"x": (result, start), "y": (value, operand.span)}
                result = self.apply(OPERATIONS[operator], sides, span, label)
            elif not isinstance(result, Expr) or not isinstance(value, Expr):
                result = self._no_number((result, value), (pairs[0][1], operand))
            elif isinstance(node, syntax.Sum):
                # a long sum of numbers is added up in one go; beside a tensor no number matters
                plain.append(value if operator == "+" else -value)
                result = total(plain) if operand is pairs[-1][1] else value
            else:
                left = result
                result = self._guarded(lambda: divide_or_multiply(operator, left, value, operand, self.env.value))  # noqa: B023
        return result

    def _guarded(self, compute: Callable[[], Value]) -> Value:
        try:
            return compute()
        except SpecError as error:
            for diagnostic in error.diagnostics:
                self.report.add(diagnostic)
            return BROKEN

    def _number(self, value: Value, node: syntax.Expression, what: str, change: Callable[[Expr], Expr]) -> Value:
        if value is BROKEN:
            return BROKEN
        if not isinstance(value, Expr):
            self.error("type", f"only a number or a tensor can be {what}", node.span)
            return BROKEN
        return change(value)

    def _no_number(self, values: Sequence[Value], nodes: Sequence[syntax.Expression]) -> Broken:
        for value, node in zip(values, nodes, strict=True):
            if value is not BROKEN and not isinstance(value, Expr):
                self.error("type", f"{kind_of(value)} is no number", node.span)
        return BROKEN

    def call(self, node: syntax.Call, scope: Scope, label: str = "") -> Value:
        with self.deeper(node.span):
            self.count(node.span)
            name = node.function
            if name in self.program.blocks:
                return self.block(self.program.blocks[name], node, scope)
            if name in self.program.ops:
                return self.custom(self.program.ops[name], node, scope, label)
            if name in SCALAR_FUNCTIONS:
                values = tuple(self.eval(a.value, scope) for a in node.arguments)
                if not all(isinstance(v, Expr) for v in values):
                    return self._no_number(values, [a.value for a in node.arguments])
                return self._guarded(lambda: function(node, values, self.env.value)) if values else BROKEN
            if name in OPERATIONS:
                return self._operation(OPERATIONS[name], node, scope, label)
            return self._measure(node, scope) if name in OP_FUNCTIONS and node.arguments else BROKEN

    def _measure(self, node: syntax.Call, scope: Scope) -> Value:
        """`size(x)` or `bytes(x)` in an op's body."""
        tensor = self.eval(node.arguments[0].value, scope)
        if tensor is BROKEN:
            return BROKEN
        if not isinstance(tensor, Tensor):
            self.error("type", f"`{node.function}` measures a tensor, and this is {kind_of(tensor)}", node.span)
            return BROKEN
        return tensor.elements * (tensor.storage.bytes_each if node.function == "bytes" else ONE)

    def bound(
        self, call: syntax.Call, parameters: Sequence[tuple[str, bool]], scope: Scope
    ) -> dict[str, tuple[Value, Span]] | None:
        """Arguments by parameter; None where they do not fit, which has been reported."""
        names = [name for name, _ in parameters]
        known = set(names)
        bound: dict[str, tuple[Value, Span]] = {}
        for i, argument in enumerate(call.arguments):
            value = self.eval(argument.value, scope)
            name = argument.name or (names[i] if i < len(names) else "")
            if name not in known or name in bound:
                return None
            bound[name] = (value, argument.value.span)
        return None if any(required and name not in bound for name, required in parameters) else bound

    def _operation(self, kind: type[Operation], call: syntax.Call, scope: Scope, label: str) -> Value:
        parameters = kind.parameters()
        bound = self.bound(call, [(p.name, p.required) for p in parameters], scope)
        if bound is None or kind is Route:
            return BROKEN
        return self.apply(kind, bound, call.span, self._label(call, bound) or label)

    def _label(self, call: syntax.Call, bound: Mapping[str, tuple[Value, Span]]) -> str:
        """What an operation works on, by name: its weights, else its arguments where all are plain names."""
        tensors = [(value, span) for value, span in bound.values() if isinstance(value, Tensor)]
        weights = [value.name for value, _ in tensors if value.kind is Kind.WEIGHT]
        if weights:
            return ", ".join(weights)
        names = {a.value.span: a.value.id for a in call.arguments if isinstance(a.value, syntax.Name)}
        plain = [names[span] for _, span in tensors if span in names]
        return ", ".join(plain) if len(plain) == len(tensors) > 1 else ""
