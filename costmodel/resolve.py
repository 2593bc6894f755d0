"""What can be said of names without expanding anything: each must be known, each call must fit what it calls.

Blocks that nothing calls are checked here too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from costmodel import syntax
from costmodel.callgraph import check_calls
from costmodel.dtypes import MOST_BITS, ROLES, WEIGHT_ROLES, bits, dtype, no_such_dtype
from costmodel.measures import no_such_unit, power_of_ten
from costmodel.names import listed, near_help, nearest
from costmodel.ops import OPERATIONS
from costmodel.program import Program
from costmodel.quantity_names import CONDITION_ARGUMENTS, QUANTITIES
from costmodel.source import Diagnostic, Label, Report, Span
from costmodel.symbols import REQUEST, WORKLOAD
from costmodel.units import UNITS
from costmodel.walk import always_returns, children, declared_in, returns_in, statements, values_of, walk

SCALAR_FUNCTIONS = {"min": (1, None), "max": (1, None), "ceil": (1, 1), "floor": (1, 1)}
OP_FUNCTIONS = {"size", "bytes"}
OP_COSTS = ("matmul_flops", "vector_flops", "read_bytes", "write_bytes")
BUILT_IN_PHASES = ("prefill", "decode")


@dataclass(frozen=True)
class Parameter:
    name: str
    required: bool


def resolve(program: Program, report: Report) -> None:
    """Check every name and call of a program; faults go to `report`."""
    _Resolver(program, report).run()


def resolve_dims(program: Program, node: syntax.Expression) -> None:
    """Check an expression in dims that was given beside a spec.

    Raises:
        SpecError: a name is no dim, or something in it is no number.
    """
    report = Report()
    _Resolver(program, report)._scalar(node)
    report.raise_errors()


def resolve_condition(program: Program, node: syntax.Condition | syntax.Expression) -> None:
    """Check the names in a condition, or in one side of it, that was given beside a spec.

    Raises:
        SpecError: a name is no quantity, dim, argument or field of a device.
    """
    report = Report()
    resolver = _Resolver(program, report)
    for side in (node.left, node.right) if isinstance(node, syntax.Condition) else (node,):
        for part in walk(side):
            resolver._condition_node(part)
    report.raise_errors()


class _Resolver:
    def __init__(self, program: Program, report: Report) -> None:
        self.program, self.report = program, report
        self.dims = {*program.dims, *WORKLOAD}
        self.assigned: dict[str, int] = {}
        """Of the variables of the body that is looked at, where each is assigned first."""

    def run(self) -> None:
        program = self.program
        for dim in program.dims.values():
            if dim.value is not None:
                self._scalar(dim.value)
        for role in program.dtypes.values():
            self._role(role)
        for weight in program.weights.values():
            self._weight(weight, self.dims)
        for block in program.blocks.values():
            self._parameters(block.parameters, defaults=True)
            known = self._scope(block.body, {p.name: p.span for p in block.parameters}, block.name)
            self._body(block.body, known, what=f"block `{block.name}`", top=True)
            self._returns(block.body, f"block `{block.name}`", block.name_span, needed=True)
        for op in program.ops.values():
            self._op(op)
        for graph in program.graphs.values():
            self._parameters(graph.inputs, defaults=False)
            for parameter in graph.inputs:
                for axis in parameter.axes or ():
                    self._scalar(axis)
            known = self._scope(graph.body, {p.name: p.span for p in graph.inputs}, graph.name)
            self._body(graph.body, known, what=f"graph `{graph.name}`", top=True)
            self._returns(graph.body, f"graph `{graph.name}`", graph.name_span, needed=False)
        self._settings()
        for expect in program.expects:
            self._condition(expect.condition)
        check_calls(program, self.report)

    # --- declarations

    def _settings(self) -> None:
        for phase in self.program.phases.values():
            self._each_setting(phase.settings, f"phase `{phase.name}`", workload=True)
            if phase.graph is not None and phase.graph not in self.program.graphs:
                self._unknown("graph", phase.graph, phase.graph_span, self.program.graphs)
        for variant in self.program.variants.values():
            self._each_setting(variant.settings, f'variant "{variant.name}"', workload=False)
            seen: dict[str, syntax.DType] = {}
            for role in variant.dtypes:
                self._role(role)
                if role.role in seen:
                    self._twice(f"`dtype {role.role}`", role.role_span, seen[role.role].role_span)
                seen[role.role] = role
            for expect in variant.expects:
                self._condition(expect.condition)

    def _each_setting(self, settings: Iterable[syntax.Setting], what: str, workload: bool) -> None:
        seen: dict[str, syntax.Setting] = {}
        for setting in settings:
            self._scalar(setting.value)
            if setting.name in seen:
                self._twice(f"`{setting.name}`", setting.name_span, seen[setting.name].name_span, verb="set")
            seen[setting.name] = setting
            if setting.name in WORKLOAD and not workload:
                self.report.add(
                    Diagnostic(
                        "argument",
                        f"{what} sets `{setting.name}`, which is part of the workload",
                        setting.name_span,
                        facts=("a phase may set it, or an option",),
                    )
                )
            elif setting.name not in self.dims and setting.name not in self.program.suspects:
                message = f"{what} sets `{setting.name}`, which is no dim of this spec"
                self._missing(message, setting.name, setting.name_span, self.dims)

    def _role(self, node: syntax.DType) -> None:
        if node.role not in ROLES:
            self._unknown("role of dtypes", node.role, node.role_span, ROLES, (f"the roles are {listed(ROLES)}",))
        self._type(node.type)

    def _type(self, node: syntax.TypeName | None) -> None:
        if node is not None and node.bits is None and dtype(node.name) is None:
            self.report.add(no_such_dtype(node.name, node.span))
        if node is not None and node.bits is not None and bits(node.bits) is None:
            message = f"a value has more than 0 bits and at most {MOST_BITS:,}"
            self.report.add(Diagnostic("argument", message, node.span))

    def _weight(self, weight: syntax.Weight, known: set[str]) -> None:
        if weight.dtype is None or weight.dtype.name not in WEIGHT_ROLES:
            self._type(weight.dtype)
        for axis in (*(weight.inputs or ()), *weight.axes):
            self._expression(axis, known, axis=True)

    def _op(self, op: syntax.OpDeclaration) -> None:
        bound: dict[str, Span] = {}
        self._parameters(op.parameters, defaults=True)
        for parameter in op.parameters:
            for axis in parameter.axes or ():
                if isinstance(axis, syntax.Name):
                    bound.setdefault(axis.id, axis.span)
        bound |= {p.name: p.span for p in op.parameters}
        known = self._scope(op.body, bound, op.name)
        for parameter in op.parameters:
            for axis in parameter.axes or ():
                self._expression(axis, known, axis=True)
        for axis in op.result:
            self._expression(axis, known, axis=True)
        self._body(op.body, known, what=f"op `{op.name}`", top=True, in_op=True)
        self._costs(op)

    def _costs(self, op: syntax.OpDeclaration) -> None:
        """A local name that nothing reads, near that of a cost, is a cost misspelt."""
        read = {n.id for s in statements(op.body) for v in values_of(s) for n in walk(v) if isinstance(n, syntax.Name)}
        for statement in statements(op.body):
            for target in statement.targets if isinstance(statement, syntax.Assign) else ():
                if target.id not in OP_COSTS and target.id not in read and nearest(target.id, OP_COSTS):
                    self._missing(f"an op has no cost `{target.id}`", target.id, target.span, OP_COSTS)

    def _parameters(self, parameters: Iterable[syntax.Parameter], defaults: bool) -> None:
        seen: dict[str, syntax.Parameter] = {}
        for parameter in parameters:
            if parameter.name in seen:
                self._twice(f"parameter `{parameter.name}`", parameter.span, seen[parameter.name].span)
            seen[parameter.name] = parameter
            if defaults and parameter.default is not None:
                self._default(parameter.default, {p.name for p in parameters})

    def _default(self, expression: syntax.Expression, parameters: set[str]) -> None:
        """A default is read outside the block, where its other parameters are not known."""
        outside = {*self.dims, *self.program.weights}
        for node in walk(expression):
            if isinstance(node, syntax.Name) and node.id in parameters - outside:
                message = f"`{node.id}` is not known here: a default is read outside the block"
                self.report.add(Diagnostic("unknown-name", message, node.span))
        self._expression(expression, outside | parameters)

    # --- bodies

    def _scope(self, body: syntax.Body, parameters: Mapping[str, Span], owner: str, inside: bool = False) -> set[str]:
        """Every name that a body may know, checking what it declares and assigns; `inside` another body."""
        declared: dict[str, Span] = {}
        for statement in statements(body):
            nodes: Iterable[syntax.Weight | syntax.State] = ()
            if isinstance(statement, syntax.Weights):
                nodes = statement.weights
            elif isinstance(statement, syntax.States):
                nodes = statement.states
            for node in nodes:
                self._declared_once(node, body, declared, parameters, owner)
                declared[node.name] = node.name_span
        assigned: dict[str, int] = {}
        for statement in statements(body):
            if isinstance(statement, syntax.Assign):
                for target in statement.targets:
                    fixed = declared.get(target.id) or self._fixed(target.id, parameters)
                    if fixed is not None:
                        what = "a dim" if target.id in self.dims else "a weight or state"
                        others = (Label(fixed, "declared here"),) if fixed.start < fixed.end else ()
                        self.report.add(
                            Diagnostic(
                                "assign", f"`{target.id}` is {what} and cannot be assigned", target.span, others=others
                            )
                        )
                    assigned.setdefault(target.id, statement.span.end)
        self.assigned = {**assigned, **self.assigned} if inside else assigned
        for name in (*parameters, *declared, *self.program.weights):
            self.assigned.pop(name, None)
        return {*self.dims, *self.program.weights, *parameters, *declared, *assigned}

    def _declared_once(
        self,
        node: syntax.Weight | syntax.State,
        body: syntax.Body,
        declared: Mapping[str, Span],
        parameters: Mapping[str, Span],
        owner: str,
    ) -> None:
        """A weight or state has a name that its body, its parameters and the dims have not."""
        name, span = node.name, node.name_span
        if name in declared:
            if not self._in_other_arm(body, name):
                self._twice(f"`{name}`", span, declared[name])
        elif name in parameters:
            others = (Label(parameters[name], "this parameter"),)
            self.report.add(Diagnostic("duplicate", f"`{name}` is also a parameter of `{owner}`", span, others=others))
        elif name in self.program.dims:
            self._twice(f"`{name}`", span, self.program.dims[name].name_span)
        elif name in WORKLOAD:
            what = "a state" if isinstance(node, syntax.State) else "a weight"
            self.report.add(Diagnostic("duplicate", f"`{name}` is a dim of every spec and cannot name {what}", span))

    def _in_other_arm(self, body: syntax.Body, name: str) -> bool:
        """Whether a name is declared in both arms of an `if`, which is one declaration an arm."""
        for statement in statements(body):
            if isinstance(statement, syntax.If) and statement.otherwise is not None:
                arms = (statement.then, statement.otherwise)
                if all(any(name == n for n in declared_in(arm)) for arm in arms):
                    return True
        return False

    def _fixed(self, name: str, parameters: Mapping[str, Span]) -> Span | None:
        if name in parameters:
            return None
        if name in self.program.dims:
            return self.program.dims[name].name_span
        if name in self.program.weights:
            return self.program.weights[name].name_span
        if name in WORKLOAD:
            return self.program.source.span(0, 0)
        return None

    def _body(self, body: syntax.Body, known: set[str], what: str, top: bool, in_op: bool = False) -> None:
        for statement in body.statements:
            match statement:
                case syntax.Assign():
                    self._expression(statement.value, known, in_op=in_op)
                    self._routed(statement, known, what)
                    if in_op and len(statement.targets) > 1:
                        self._misplaced(statement.span, "an op's body assigns one name at a time")
                case syntax.Repeat():
                    if in_op:
                        self._misplaced(statement.span, "a `repeat` cannot stand in an op's body")
                    self._expression(statement.count, known)
                    self._body(statement.body, known, what, top=False, in_op=in_op)
                    for inner in returns_in(statement.body):
                        self._misplaced(inner.span, "a `return` cannot stand in a `repeat`")
                case syntax.If():
                    for side in (statement.condition.left, statement.condition.right):
                        self._expression(side, known, in_op=in_op)
                    if statement.condition.relation == "~=":
                        self._misplaced(statement.condition.span, "`~=` is for an `expect`")
                    self._body(statement.then, known, what, top=False, in_op=in_op)
                    if statement.otherwise is not None:
                        self._body(statement.otherwise, known, what, top=False, in_op=in_op)
                case syntax.Return():
                    if in_op:
                        self._misplaced(statement.span, "an op's body returns nothing: its result is in its head")
                    for value in statement.values:
                        self._expression(value, known, in_op=in_op)
                    self._routed(statement, known, what)
                case syntax.Weights():
                    for weight in statement.weights:
                        self._weight(weight, known)
                case syntax.States():
                    for state in statement.states:
                        self._type(state.dtype)
                        for axis in state.axes:
                            self._expression(axis, known, axis=True)
        last = len(body.statements) - 1
        for i, statement in enumerate(body.statements):
            if i < last and always_returns(statement):
                self.report.add(
                    Diagnostic(
                        "return",
                        "code behind a `return` can never run",
                        body.statements[i + 1].span,
                        others=(Label(statement.span, "returns here"),),
                    )
                )

    def _routed(self, statement: syntax.Assign | syntax.Return, known: set[str], what: str) -> None:
        """A body belongs to `route`, and to nothing else."""
        value = statement.value if isinstance(statement, syntax.Assign) else statement.values[-1]
        is_route = isinstance(value, syntax.Call) and value.function == "route" and not self._own("route")
        if statement.body is None:
            if is_route:
                assert isinstance(value, syntax.Call)
                self.report.add(
                    Diagnostic(
                        "route", "`route` needs a body: what each expert does", value.span, help="{ return f(x) }"
                    )
                )
            for inner in values_of(statement):
                for node in walk(inner):
                    if isinstance(node, syntax.Call) and node.function == "route" and node is not value:
                        if not self._own("route"):
                            self._misplaced(node.span, "`route` stands alone behind `=` or `return`")
            return
        if not is_route or (isinstance(statement, syntax.Return) and len(statement.values) > 1):
            self._misplaced(statement.body.span, "only `route` takes a body, as the whole right side")
            return
        inside = known | self._scope(statement.body, {}, what, inside=True)
        self._body(statement.body, inside, "route", top=False)
        self._returns(statement.body, "the body of `route`", statement.body.span, needed=True)

    def _returns(self, body: syntax.Body, what: str, span: Span, needed: bool) -> None:
        if needed and next(returns_in(body), None) is None:
            self.report.add(Diagnostic("return", f"{what} has no `return`", span))

    def _own(self, name: str) -> bool:
        return name in self.program.blocks or name in self.program.ops

    # --- expressions

    def _scalar(self, expression: syntax.Expression) -> None:
        """An expression in dims alone."""
        for node in walk(expression):
            match node:
                case syntax.Name() if node.id not in self.dims:
                    self._unknown_dim(node.id, node.span)
                case syntax.Call() if node.function not in SCALAR_FUNCTIONS:
                    self._unknown("function of dims", node.function, node.function_span, SCALAR_FUNCTIONS)
                case syntax.Call():
                    self._scalar_call(node)
                case syntax.Text() | syntax.Truth() | syntax.ListOf() | syntax.Attribute():
                    self._misplaced(node.span, "a dim is computed from numbers and dims")
                case syntax.Quantity():
                    self._without_unit(node, "a dim has no unit")
                case _:
                    pass

    def _without_unit(self, node: syntax.Quantity, message: str) -> None:
        self.report.add(Diagnostic("syntax", message, node.unit_span, help=power_of_ten(node)))

    def _unit(self, node: syntax.Quantity) -> None:
        if node.unit not in UNITS:
            self.report.add(no_such_unit(node, count=True))

    def _scalar_call(self, call: syntax.Call) -> None:
        least, most = SCALAR_FUNCTIONS[call.function]
        count = len(call.arguments)
        if count < least or (most is not None and count > most):
            wanted = "1 argument" if most else "1 argument or more"
            self.report.add(Diagnostic("arguments", f"`{call.function}` takes {wanted}, not {count}", call.span))
        for argument in call.arguments:
            if argument.name is not None:
                self._misplaced(argument.span, f"`{call.function}` takes no named argument")

    def _expression(
        self, expression: syntax.Expression, known: set[str], axis: bool = False, in_op: bool = False
    ) -> None:
        match expression:
            case syntax.Name():
                if expression.id not in known and expression.id not in self.program.suspects:
                    if axis:
                        self._unknown_dim(expression.id, expression.span)
                    else:
                        self._unknown_value(expression, known)
            case syntax.Attribute(parts=parts):
                if len(parts) != 2 or parts[1] != "T":
                    self._misplaced(expression.span, "behind a weight's dot stands `T`: its two sides swapped")
                elif parts[0] not in known and parts[0] not in self.program.suspects:
                    self._unknown("weight", parts[0], expression.span, known)
            case syntax.Call():
                self._call(expression, known, in_op)
            case syntax.Quantity():
                self._without_unit(expression, "a number of the model has no unit")
            case _:
                pass
        for child in children(expression):
            self._expression(child, known, axis, in_op)

    def _unknown_value(self, node: syntax.Name, known: set[str]) -> None:
        there = {name for name in known if self.assigned.get(name, -1) <= node.span.start}
        facts = (f"`{node.id}` is called: `{node.id}(…)`",) if self._callable(node.id) else ()
        self._unknown("variable, weight or dim", node.id, node.span, {*there, "true", "false", "none"}, facts)

    def _callable(self, name: str) -> bool:
        return name in SCALAR_FUNCTIONS or self._own(name) or (name in OPERATIONS and name.isidentifier())

    def _call(self, call: syntax.Call, known: set[str], in_op: bool) -> None:
        name = call.function
        if name in self.program.blocks:
            block = self.program.blocks[name]
            self._fits(call, [Parameter(p.name, p.default is None) for p in block.parameters], block.name_span)
            if in_op:
                self._misplaced(call.span, "an op's body calls no block")
        elif name in self.program.ops:
            op = self.program.ops[name]
            self._fits(call, [Parameter(p.name, p.default is None) for p in op.parameters], op.name_span)
            if in_op:
                self._misplaced(call.span, "an op's body calls no operation")
        elif name in SCALAR_FUNCTIONS:
            self._scalar_call(call)
        elif in_op and name in OP_FUNCTIONS:
            if len(call.arguments) != 1:
                self.report.add(Diagnostic("arguments", f"`{name}` takes one tensor", call.span))
        elif name in OPERATIONS and name.isidentifier():
            self._fits(call, [Parameter(p.name, p.required) for p in OPERATIONS[name].parameters()], None)
            if in_op:
                self._misplaced(
                    call.span,
                    "an op's body calls no operation",
                    f"it may call {listed([*SCALAR_FUNCTIONS, *OP_FUNCTIONS])}",
                )
        elif name not in self.program.suspects:
            facts = (f"`{name}` is a dim, weight or variable, which is not called",) if name in known else ()
            there = {n for n in OPERATIONS if n.isidentifier()}
            there |= {*self.program.blocks, *self.program.ops, *SCALAR_FUNCTIONS}
            self._unknown("operation or block", name, call.function_span, there, facts)

    def _fits(self, call: syntax.Call, parameters: list[Parameter], declared: Span | None) -> None:
        """Every argument has its parameter, and every parameter that needs one its argument."""
        names = [p.name for p in parameters]
        known = set(names)
        takes = _signature(parameters)
        others = (Label(declared, f"takes {takes}"),) if declared is not None else ()
        facts = (f"`{call.function}` takes {takes}",) if declared is None else ()

        def wrong(message: str, span: Span, *also: Label, help: str = "") -> None:
            self.report.add(Diagnostic("arguments", message, span, others=also or others, facts=facts, help=help))

        given: dict[str, Span] = {}
        by_name = False
        for i, argument in enumerate(call.arguments):
            name = argument.name
            if name is None:
                if by_name:
                    wrong("an argument by place cannot stand behind one by name", argument.span)
                    return
                if i >= len(names):
                    plural = "s" if len(names) != 1 else ""
                    count = f"{len(names)} argument{plural}"
                    wrong(f"`{call.function}` takes {count}, and this is number {i + 1}", argument.span)
                    return
                given[names[i]] = argument.span
                continue
            by_name = True
            span = argument.span.source.span(argument.span.start, argument.span.start + len(name))
            if name not in known:
                wrong(f"`{call.function}` has no parameter `{name}`", span, help=near_help(name, names))
                return
            if name in given:
                wrong(f"`{name}` is given twice", span, Label(given[name], "first here"))
                return
            given[name] = argument.span
        missing = [p.name for p in parameters if p.required and p.name not in given]
        if missing:
            wrong(f"`{call.function}` is called without {listed(missing)}", call.span)

    # --- conditions

    def _condition(self, condition: syntax.Condition) -> None:
        for side in (condition.left, condition.right):
            for node in walk(side):
                self._condition_node(node)

    def _condition_node(self, node: syntax.Expression) -> None:
        match node:
            case syntax.Name():
                known = {*QUANTITIES, *self.dims, *REQUEST}
                if node.id not in known and node.id not in self.program.suspects:
                    self._unknown("quantity or dim", node.id, node.span, known)
            case syntax.Call() if node.function in SCALAR_FUNCTIONS:
                self._scalar_call(node)
            case syntax.Call():
                if node.function not in QUANTITIES:
                    self._unknown("quantity", node.function, node.function_span, QUANTITIES)
                    return
                allowed = {*CONDITION_ARGUMENTS, *self.dims}
                given: dict[str, Span] = {}
                for argument in node.arguments:
                    if argument.name is None:
                        self._misplaced(argument.span, "a quantity's arguments have names: flops(batch_size=1)")
                        continue
                    span = argument.span.source.span(argument.span.start, argument.span.start + len(argument.name))
                    if argument.name not in allowed:
                        self._unknown("argument or dim", argument.name, span, allowed)
                    elif argument.name in given:
                        self._twice(f"`{argument.name}`", span, given[argument.name], verb="given")
                    given[argument.name] = span
            case syntax.Attribute(parts=("dim", name)):
                if name not in self.dims:
                    self._unknown_dim(name, node.span)
            case syntax.Attribute(parts=parts):
                if parts[0] != "device" or len(parts) < 2:
                    self._misplaced(node.span, "behind `dim.` stands a dim, behind `device.` a field of the device")
            case syntax.Quantity():
                self._unit(node)
            case syntax.ListOf() | syntax.Truth():
                self._misplaced(node.span, "a condition compares numbers")
            case _:
                pass

    def _twice(self, what: str, span: Span, first: Span, verb: str = "declared") -> None:
        self.report.add(Diagnostic("duplicate", f"{what} is {verb} twice", span, others=(Label(first, "first here"),)))

    def _misplaced(self, span: Span, message: str, *facts: str) -> None:
        self.report.add(Diagnostic("syntax", message, span, facts=facts))

    def _unknown_dim(self, name: str, span: Span) -> None:
        self._unknown("dim", name, span, self.dims)

    def _unknown(
        self, what: str, name: str, span: Span | None, candidates: Iterable[str], facts: tuple[str, ...] = ()
    ) -> None:
        self._missing(f"there is no {what} `{name}`", name, span, candidates, facts)

    def _missing(
        self, message: str, name: str, span: Span | None, candidates: Iterable[str], facts: tuple[str, ...] = ()
    ) -> None:
        """Report a name that nothing has; not one from a part, or perhaps from a file, that could not be read."""
        near = nearest(name, candidates)
        if name in self.program.suspects or (self.program.unread and near is None):
            return
        help = offer(self.program, near) if near is not None else ""
        self.report.add(Diagnostic("unknown-name", message, span, facts=() if near else facts, help=help))


def offer(program: Program, near: str, of_option: bool = False) -> str:
    """A name that is near, and what it stands for; for an option without the place, which its user may not see."""
    dim = program.dims.get(near)
    if dim is not None:
        value = f" of {dim.value.text}" if isinstance(dim.value, syntax.Number) else ""
        return f"`{near}` is near, a dim{value}{'' if of_option else _line(dim.span, program)}"
    for what, table in (("a block", program.blocks), ("an op", program.ops), ("a weight", program.weights)):
        if near in table:
            return f"`{near}` is near, {what}{_line(table[near].span, program)}"
    if near in OPERATIONS:
        what = re.sub(r"vector_flops = (\d+) an element.*", r"\1 vector FLOPs an element", summary(near))
        return f"`{near}` is near, an operation: {what}"
    return f"`{near}` is near"


def _line(span: Span, program: Program) -> str:
    """Where something is declared, in words."""
    return f" (line {span.line})" if span.source is program.source else f" ({span.source.name}:{span.line})"


def summary(keyword: str) -> str:
    """The first line of an operation's reference entry."""
    return (OPERATIONS[keyword].__doc__ or "").strip().splitlines()[0].rstrip(":.")


def _signature(parameters: list[Parameter]) -> str:
    return "(" + ", ".join(p.name if p.required else f"{p.name}=…" for p in parameters) + ")"
