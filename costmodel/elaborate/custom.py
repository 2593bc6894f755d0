"""Operations that a spec declares with `op`: patterns bound, the body's figures evaluated."""

from __future__ import annotations

from dataclasses import replace

from sympy import Expr

from costmodel import syntax
from costmodel.algebra import text
from costmodel.elaborate.evaluate import Evaluator
from costmodel.elaborate.values import BROKEN, Bound, Scope, Value, fresh, kind_of, place
from costmodel.ops.custom import Custom
from costmodel.resolve import OP_COSTS
from costmodel.source import Label, Span
from costmodel.symbols import ZERO, is_number
from costmodel.tensors import Tensor
from costmodel.walk import assigned_in


class CustomEvaluator(Evaluator):
    """Evaluates also operations of the spec's own."""

    def custom(self, op: syntax.OpDeclaration, call: syntax.Call, scope: Scope, label: str) -> Value:
        bound = self.bound(call, [(p.name, p.default is None) for p in op.parameters], scope)
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
                value, span = self.eval(parameter.default, self.globals), call.span
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
        custom_scope = Scope(values, later=assigned_in(op.body))
        shape = self.axes(op.result, custom_scope)
        own: list[Tensor] = []
        owner = replace(self.owner, key=(*self.owner.key, place(call.span)))
        with self.inside(self.region, owner):
            self._op_body(op.body, custom_scope, own)
        if shape is None:
            return BROKEN
        assigned = assigned_in(op.body)
        costs: dict[str, Expr | None] = dict.fromkeys(OP_COSTS)
        for name in OP_COSTS:
            value = custom_scope.values.get(name) if name in assigned else None
            if value is BROKEN:
                return BROKEN
            if isinstance(value, Expr):
                costs[name] = value
                figure = self.env.value(value)
                if is_number(figure) and figure < 0:
                    self.error("negative", f"op `{op.name}` has {name} of {text(figure)}", call.span)
                    return BROKEN
        operation = Custom(
            name=op.name,
            arguments=tuple(tensors),
            matmul=costs["matmul_flops"] or ZERO,
            vector=costs["vector_flops"] or ZERO,
            read_bytes=costs["read_bytes"],
            write_bytes=costs["write_bytes"],
        )
        self.used |= {tensor.storage for _, tensor in tensors} | {tensor.storage for tensor in own}
        return self.node(operation, op.name, (fresh(shape),), tuple(own), label, call.span)[0]

    def _match(
        self,
        op: syntax.OpDeclaration,
        parameter: syntax.Parameter,
        value: Value,
        span: Span,
        axes: dict[str, tuple[Expr, str]],
    ) -> bool:
        """Bind the names of a pattern to an argument's axes."""
        assert parameter.axes is not None
        if not isinstance(value, Tensor):
            self.error("type", f"`{op.name}` needs a tensor as `{parameter.name}`, and this is {kind_of(value)}", span)
            return False
        if len(value.shape) != len(parameter.axes):
            self.error(
                "shape",
                f"`{op.name}` takes `{parameter.name}` of {len(parameter.axes)} axes, and this has {len(value.shape)}",
                span,
                label=self.shape_text(value.shape),
                others=(Label(parameter.span, "this pattern"),),
            )
            return False
        for axis, pattern in zip(value.shape, parameter.axes, strict=True):
            if isinstance(pattern, syntax.Name):
                known = axes.get(pattern.id)
                if known is None:
                    axes[pattern.id] = (axis, parameter.name)
                elif not self.agree(known[0], axis):
                    self.error(
                        "shape",
                        f"`{op.name}` takes axis `{pattern.id}` in two sizes: {self.figure(known[0])} of `{known[1]}`"
                        f" and {self.figure(axis)} of `{parameter.name}`",
                        span,
                        others=(Label(pattern.span, f"`{pattern.id}` again"),),
                    )
                    return False
        return True

    def _check_pattern(
        self,
        op: syntax.OpDeclaration,
        parameter: syntax.Parameter,
        tensor: Tensor,
        scope: Scope,
        bound: Bound,
        call: syntax.Call,
    ) -> bool:
        """Hold a pattern's axes that are no plain names against an argument's."""
        for axis, pattern in zip(tensor.shape, parameter.axes or (), strict=True):
            if isinstance(pattern, syntax.Name):
                continue
            wanted = self.eval(pattern, scope)
            if wanted is BROKEN:
                return False
            if not isinstance(wanted, Expr) or not self.agree(wanted, axis):
                span = bound.get(parameter.name, (None, call.span))[1]
                self.error(
                    "shape",
                    f"`{op.name}` takes an axis of {pattern.span.text} in `{parameter.name}`, and this is"
                    f" {self.figure(axis)}",
                    span,
                    others=(Label(pattern.span, "wanted here"),),
                )
                return False
        return True

    def _op_body(self, body: syntax.Body, scope: Scope, own: list[Tensor]) -> None:
        for statement in body.statements:
            match statement:
                case syntax.Assign():
                    value = self.eval(statement.value, scope)
                    name = statement.targets[0].id
                    if name in OP_COSTS and value is not BROKEN and not isinstance(value, Expr):
                        self.error("type", f"`{name}` is a number", statement.value.span)
                        value = BROKEN
                    scope.values[name] = value
                case syntax.If():
                    taken = self.holds(statement.condition, scope)
                    arm = statement.then if taken else statement.otherwise
                    if taken is None:
                        for part in filter(None, (statement.then, statement.otherwise)):
                            scope.values.update(dict.fromkeys(assigned_in(part), BROKEN))
                    elif arm is not None:
                        self._op_body(arm, scope, own)
                case syntax.Weights():
                    for weight in statement.weights:
                        scope.values[weight.name] = tensor = self.weight(weight, scope)
                        if isinstance(tensor, Tensor):
                            own.append(tensor)
                case syntax.States():
                    for state in statement.states:
                        scope.values[state.name] = tensor = self.state(state, scope)
                        if isinstance(tensor, Tensor):
                            own.append(tensor)
                case _:
                    pass
