"""Blocks to operations: the spec is run on symbolic tensors, every shape checked, each `repeat` once.

A value that could not be made is `BROKEN`: what needs it is passed over in silence, so that a fault is told once.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sympy import Expr

from costmodel import syntax
from costmodel.algebra import text
from costmodel.elaborate.builder import MOST_FRAMES, Owner
from costmodel.elaborate.custom import CustomEvaluator
from costmodel.elaborate.dataflow import Carried, Dataflow
from costmodel.elaborate.environment import Choice, Environment, PhaseSettings, environment
from costmodel.elaborate.values import BROKEN, Scope, Value, fresh, kind_of, place
from costmodel.frozen import changed
from costmodel.ops.custom import Unused
from costmodel.ops.route import Route
from costmodel.program import Program
from costmodel.source import Diagnostic, Label, Report, Span, SpecError
from costmodel.symbols import ONE, TooManyTerms, is_number, symbol
from costmodel.tensors import Kind, Region, Storage, Tensor
from costmodel.walk import assigned_in, declared_in, returns_in, statements

_NOTHING = object()


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


class _Expander(CustomEvaluator):
    """Runs a graph's statements, and those of the blocks that it calls."""

    def run(self) -> Dataflow:
        graph = self.program.graphs[self.phase.graph]
        self.globals = Scope(self._global_values())
        inputs = []
        values = dict(self.globals.values)
        for parameter in graph.inputs:
            shape = self.axes(parameter.axes or (), self.globals)
            if shape is None:
                values[parameter.name] = BROKEN
                continue
            storage = Storage(Kind.ACTIVATION, parameter.name, shape, "activations", span=parameter.span)
            tensor = Tensor(shape, storage, name=parameter.name)
            inputs.append(tensor)
            values[parameter.name] = tensor
        result = self._body(graph.body, Scope(values, later=assigned_in(graph.body)))
        outputs = result if isinstance(result, tuple) else () if result is _NOTHING else (result,)
        for output in outputs:
            if output is not BROKEN and not isinstance(output, Tensor):
                message = f"graph `{graph.name}` returns {kind_of(output)}, and not a tensor"
                self.error("type", message, graph.name_span)
        self._unused()
        return Dataflow(
            self.program,
            self.env,
            self.phase.graph,
            self.phase.name,
            self.settings,
            self.root,
            tuple(inputs),
            tuple(t for t in outputs if isinstance(t, Tensor)),
            tuple(self.nodes),
            tuple(self.storages.values()),
            tuple(self.carried),
            frozenset(self.decided),
            self.by_phase,
            self.shapes,
        )

    def _global_values(self) -> dict[str, Value]:
        values: dict[str, Value] = {name: symbol(name) for name in self.env.given}
        scope = Scope(values)
        owner, self.owner = self.owner, Owner(())
        for weight in self.program.weights.values():
            values[weight.name] = self.weight(weight, scope)
        self.owner = owner
        return values

    def _unused(self) -> None:
        """What was declared and no operation takes is counted all the same, in a place of its own."""
        for tensor, region, span in self.declared:
            if tensor.storage not in self.used:
                self.used.add(tensor.storage)
                self.region = region
                self.node(Unused(storage=tensor), tensor.kind.value, (tensor,), (tensor,), tensor.name, span)
        self.region = self.root

    def _body(self, body: syntax.Body, scope: Scope) -> Value:
        """Run statements; what they return, or _NOTHING."""
        for statement in body.statements:
            match statement:
                case syntax.Assign():
                    self._assign(statement, scope)
                case syntax.Weights():
                    for weight in statement.weights:
                        scope.values[weight.name] = self.weight(weight, scope)
                case syntax.States():
                    for state in statement.states:
                        scope.values[state.name] = self.state(state, scope)
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
                others = (Label(statement.value.span, f"gives {len(value)}"),)
                self.error("results", f"{len(value)} results for one name", targets[0].span, others=others)
                value = BROKEN
            scope.values[targets[0].id] = value
            return
        if value is not BROKEN and (not isinstance(value, tuple) or len(value) != len(targets)):
            count = len(value) if isinstance(value, tuple) else 1
            self.error(
                "results",
                f"{len(targets)} names for {count} result{'s' if count != 1 else ''}",
                targets[0].span.to(targets[-1].span),
                others=(Label(statement.value.span, f"gives {count}"),),
            )
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
            return self.call(node, scope, label)
        return self.eval(node, scope)

    def _if(self, statement: syntax.If, scope: Scope) -> Value:
        before, self.by_phase = self.by_phase, False
        taken = self.holds(statement.condition, scope)
        by_phase, self.by_phase = self.by_phase, self.by_phase or before
        arms = (statement.then, statement.otherwise)
        if taken is None:
            there = [arm for arm in arms if arm is not None]
            for arm in there:
                scope.values.update(dict.fromkeys(assigned_in(arm), BROKEN))
            return BROKEN if any(True for arm in there for _ in returns_in(arm)) else _NOTHING
        chosen, other = arms if taken else arms[::-1]
        if other is not None:
            in_phase = f", in phase {self.phase.name}," if by_phase else ""
            for name in (*assigned_in(other), *declared_in(other)):
                if name not in scope.values:
                    scope.lost[name] = (
                        f"only the arm that the `if` of line {statement.span.line} does not take{in_phase} assigns it"
                    )
        return self._body(chosen, scope) if chosen is not None else _NOTHING

    def _repeat(self, statement: syntax.Repeat, scope: Scope) -> None:
        count = self.eval(statement.count, scope)
        if count is not BROKEN and not isinstance(count, Expr):
            self.error("type", "a `repeat` needs a number of turns", statement.count.span)
            count = BROKEN
        if count is BROKEN:
            count = ONE
        value = self.env.value(count)
        shown = text(value, self.order)
        if is_number(value) and (value < 0 or not value.is_Integer):
            self.error(
                "repeat",
                f"a `repeat` of {shown} turns: a whole number, 0 or more, is needed",
                statement.count.span,
                facts=self.values_in(count),
            )
        assigned = assigned_in(statement.body)
        outside = dict(scope.values)
        inner = Scope(dict(outside), dict(scope.lost), scope.later | assigned)
        entering: dict[str, Tensor] = {}
        for name in sorted(assigned & outside.keys()):
            before = outside[name]
            if isinstance(before, Tensor):
                if before.kind is not Kind.ACTIVATION:
                    before = outside[name] = self.materialise(before, statement.span)
                storage = Storage(Kind.ACTIVATION, name, before.shape, "activations")
                entering[name] = inner.values[name] = Tensor(before.shape, storage, name=name)
        region = Region(
            "repeat",
            f"repeat {statement.count.span.text}",
            self.region,
            count=count,
            span=statement.span,
            carried=tuple(entering.values()),
        )
        owner = replace(self.owner, key=(*self.owner.key, place(statement.span)), turns=self.owner.turns * count)
        with self.inside(region, owner), self.deeper(statement.span):
            self._body(statement.body, inner)
            for name in sorted(assigned & outside.keys()):
                scope.values[name] = self._carry(
                    name, outside[name], entering.get(name), inner.values[name], statement, shown
                )
        for name in assigned - outside.keys():
            scope.lost[name] = f"it is first assigned inside the `repeat` of line {statement.span.line}"
        for name in declared_in(statement.body):
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
            self.error(
                "carried",
                f"`{name}` changes what it is from turn to turn of a `repeat`",
                self._where(statement, name),
                facts=(
                    "what a `repeat` assigns of variables from outside is carried on: a tensor, always of one shape",
                ),
            )
            return BROKEN
        if after.storage is entering.storage and after.view is None and after.shape == entering.shape:
            self.carried.append(Carried(before, entering, entering))
            return before
        if len(after.shape) != len(entering.shape) or not all(
            self.agree(a, b) for a, b in zip(after.shape, entering.shape, strict=True)
        ):
            self.error(
                "carried",
                f"`{name}` goes into a turn of `repeat` as {self.shape_text(entering.shape)}"
                f" and comes out as {self.shape_text(after.shape)}",
                self._where(statement, name),
                facts=(f"it is carried from one of {shown} turns to the next, so its shape must stay",),
            )
            return BROKEN
        if after.kind is not Kind.ACTIVATION:
            after = self.materialise(after, statement.span)
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

    def block(self, block: syntax.Block, call: syntax.Call, scope: Scope) -> Value:
        bound = self.bound(call, [(p.name, p.default is None) for p in block.parameters], scope)
        if bound is None:
            return BROKEN
        values = dict(self.globals.values)
        for parameter in block.parameters:
            if parameter.name in bound:
                values[parameter.name] = bound[parameter.name][0]
            elif parameter.default is not None:
                values[parameter.name] = self.eval(parameter.default, self.globals)
        for parameter in block.parameters:
            if isinstance(values[parameter.name], tuple):
                self.error("type", "a list cannot be given to a block", bound[parameter.name][1])
                values[parameter.name] = BROKEN
        region = Region("block", block.name, self.region, latex=block.latex, span=call.span)
        owner = (
            Owner(("shared", block.name))
            if block.shared
            else replace(self.owner, key=(*self.owner.key, place(call.span)))
        )
        with self.inside(region, owner):
            result = self._body(block.body, Scope(values, later=assigned_in(block.body)))
        if result is _NOTHING:
            self.error(
                "return",
                f"block `{block.name}` ends without a `return`",
                block.name_span,
                others=(Label(call.function_span, "called here"),),
            )
            return BROKEN
        return result

    def _route(self, call: syntax.Call, body: syntax.Body, scope: Scope) -> Value:
        parameters = Route.parameters()
        bound = self.bound(call, [(p.name, p.required) for p in parameters], scope)
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
        self.count(call.span)
        region = Region("route", "route", self.region, top_k=route.top_k, span=call.span)
        before = self.owner
        owner = Owner(
            (*before.key, place(call.span)),
            before.turns,
            before.copies * experts,
            before.active * route.top_k,
            before.read * route.distinct_read(),
        )
        inner = Scope(dict(scope.values), dict(scope.lost), scope.later | assigned_in(body))
        with self.inside(region, owner):
            result = self._body(body, inner)
        if result is _NOTHING:
            self.error("return", "the body of `route` ends without a `return`", body.span)
            return BROKEN
        if result is BROKEN:
            return BROKEN
        if not isinstance(result, Tensor):
            self.error("type", "the body of `route` returns one tensor", body.span)
            return BROKEN
        operation = changed(route, result=result)
        self.used |= {tensor.storage for _, tensor in operation.operands}
        return self.node(operation, "route", (fresh(result.shape),), (), "", call.span)[0]

    def _experts(self, route: Route, call: syntax.Call, spans: Mapping[str, Span]) -> Expr | None:
        """The number of experts; None where it is not said, or does not fit."""
        if (route.scores is None) == (route.experts is None):
            what = "both `scores` and `experts`" if route.scores is not None else "neither `scores` nor `experts`"
            self.error("arguments", f"`route` is given {what}: one of them says how many experts there are", call.span)
            return None
        experts = route.count()
        assert experts is not None
        count, top_k = self.env.value(experts), self.env.value(route.top_k)
        if is_number(top_k) and top_k <= 0:
            self.error("argument", f"`top_k` is {top_k}: it is more than 0", spans["top_k"])
            return None
        if is_number(top_k) and is_number(count) and top_k > count:
            self.error(
                "argument",
                f"`top_k` is {top_k} of {count} experts",
                spans["top_k"],
                facts=(*self.values_in(route.top_k), *self.values_in(experts)),
            )
            return None
        if route.distinct is not None:
            distinct = self.env.value(route.distinct)
            if is_number(distinct) and (distinct <= 0 or (is_number(count) and distinct > count)):
                self.error("argument", f"`distinct` is {distinct} of {count} experts", spans["distinct"])
                return None
        return experts
