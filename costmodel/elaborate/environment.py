"""The dims of a spec and their values under a variant, options and a phase."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import networkx as nx
from sympy import Expr, Symbol

from costmodel import syntax
from costmodel.algebra import text
from costmodel.dtypes import BF16, ROLES, DType, bits, dtype
from costmodel.names import nearest
from costmodel.parser import MOST_NESTING
from costmodel.program import Program
from costmodel.resolve import BUILT_IN_PHASES
from costmodel.scalars import bounded, scalar
from costmodel.source import Diagnostic, Label, Report, Span, SpecError
from costmodel.symbols import (
    DTYPE_ROLES,
    WORKLOAD,
    TooManyTerms,
    expanded,
    is_number,
    put_in,
    rational,
    role_bytes,
    seq_len,
    symbol,
)
from costmodel.walk import walk


@dataclass(frozen=True)
class Choice:
    """What a user asks of a spec: a variant, other values for dims and dtypes, and dims to forget.

    `sets` and `dtypes` are in their order; a later one goes before an earlier one.
    """

    variant: str | None = None
    sets: tuple[tuple[str, syntax.Expression], ...] = ()
    dtypes: tuple[tuple[str, syntax.TypeName], ...] = ()
    free: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False)
class Environment:
    """The dims' values: for each symbol a figure, or an expression in the symbols that stay free.

    `given` is the expression that gives a dim its value, with the place where it stands; None for a free dim.
    """

    program: Program
    values: Mapping[Symbol, Expr]
    given: Mapping[str, syntax.Expression | None]
    dtypes: Mapping[str, DType]
    free: frozenset[str]
    _cache: dict[Expr, Expr] = field(default_factory=dict)

    def value(self, expr: Expr) -> Expr:
        """An expression with the dims' values put in."""
        if is_number(expr):
            return expr
        found = self._cache.get(expr)
        if found is None:
            found = self._cache[expr] = put_in(expr, self.values)
        return found

    @cached_property
    def role_values(self) -> dict[Symbol, Expr]:
        """The bytes of a value by role."""
        return {role_bytes[role]: rational(self.dtypes[role].bytes) for role in DTYPE_ROLES}

    def figures(self) -> dict[str, Expr]:
        """The dims of the spec with their values, in their order."""
        return {name: self.values[symbol(name)] for name in self.program.dims if symbol(name) in self.values}


def environment(
    program: Program, choice: Choice, settings: Mapping[str, syntax.Expression | Expr] | None = None
) -> Environment:
    """The dims' values under a choice and a phase's settings.

    Raises:
        SpecError: a dim has no possible value: a circle, a fraction, a negative figure, one out of bounds.
    """
    given = _given(program, choice)
    settings = settings or {}
    for name, value in settings.items():
        given[name] = value
    order = _in_order(program, given)
    values: dict[Symbol, Expr] = {}
    report = Report()

    def lookup(node: syntax.Name) -> Expr:
        return values.get(symbol(node.id), symbol(node.id))

    for name in order:
        node = given[name]
        if node is None:
            continue
        if isinstance(node, Expr):
            values[symbol(name)] = node
            continue
        try:
            value = bounded(expanded(scalar(node, lookup)), node, f"`{name}`")
            values[symbol(name)] = _whole(name, value, node, given, values)
        except SpecError as error:
            for diagnostic in error.diagnostics:
                report.add(diagnostic)
        except TooManyTerms:
            report.add(Diagnostic("limit", f"`{name}` grows to too many terms", node.span))
    report.raise_errors()
    return Environment(program, values, given, _dtypes(program, choice), choice.free)


def _given(program: Program, choice: Choice) -> dict[str, syntax.Expression | None]:
    given: dict[str, syntax.Expression | None] = dict.fromkeys(WORKLOAD)
    given.update({name: dim.value for name, dim in program.dims.items()})
    if choice.variant is not None:
        for setting in program.variant(choice.variant).settings:
            given[setting.name] = setting.value
    for name, value in choice.sets:
        given[name] = value
    for name in choice.free:
        given[name] = None
    return given


def _in_order(program: Program, given: Mapping[str, syntax.Expression | Expr | None]) -> list[str]:
    """The dims, each behind those that it is computed from.

    Raises:
        SpecError: they are computed from each other in a circle, or more than 200 deep.
    """
    graph: nx.DiGraph = nx.DiGraph()
    places: dict[tuple[str, str], Span] = {}
    for name, node in given.items():
        graph.add_node(name)
        if node is None or isinstance(node, Expr):
            continue
        for part in walk(node):
            if isinstance(part, syntax.Name) and part.id in given:
                graph.add_edge(part.id, name)
                places.setdefault((part.id, name), part.span)
    try:
        order = list(nx.topological_sort(graph))
    except nx.NetworkXUnfeasible:
        edges = nx.find_cycle(graph)
        chain = " → ".join([*(f"`{b}`" for _, b in reversed(edges)), f"`{edges[-1][1]}`"])
        message = (
            f"`{edges[0][0]}` is computed from itself"
            if len(edges) == 1
            else f"dims are computed from each other in a circle: {chain}"
        )
        raise SpecError(
            Diagnostic(
                "cycle",
                message,
                places[edges[0][:2]],
                others=tuple(Label(places[edge[:2]], f"`{edge[1]}` needs `{edge[0]}`") for edge in edges[1:6]),
            )
        ) from None
    depth: dict[str, int] = {}
    for name in order:
        depth[name] = 1 + max((depth[other] for other in graph.predecessors(name)), default=0)
        if depth[name] > MOST_NESTING:
            node = given[name]
            span = program.dims[name].name_span if name in program.dims else getattr(node, "span", None)
            raise SpecError(
                Diagnostic("limit", f"dims are computed from each other deeper than {MOST_NESTING} levels", span)
            )
    return order


def _whole(
    name: str,
    value: Expr,
    node: syntax.Expression,
    given: Mapping[str, syntax.Expression | None],
    values: Mapping[Symbol, Expr],
) -> Expr:
    """A dim's value: a whole number, 0 or more, or an expression that is left open."""
    if not is_number(value):
        return value
    names = [part.id for part in walk(node) if isinstance(part, syntax.Name)]
    facts = tuple(
        f"{other} is {text(values[symbol(other)])}{where(given.get(other))}"
        for other in dict.fromkeys(names)
        if symbol(other) in values
    )
    if not value.is_Integer:
        shown = node.span.text
        whole, rest = divmod(int(value.p), int(value.q))
        raise SpecError(
            Diagnostic(
                "fraction",
                f"`{name}` is {text(value)}, which is no whole number",
                node.span,
                label=f"{whole:,} and {rest}/{value.q}" if value > 0 else "",
                facts=(*facts, f"`{shown}` must divide evenly; `//` rounds down") if "/" in shown else facts,
            )
        )
    if value < 0:
        raise SpecError(Diagnostic("negative", f"`{name}` is {value}: a dim is 0 or more", node.span, facts=facts))
    return value


def where(node: syntax.Expression | None) -> str:
    """Where a dim is given its value: ` (line 4)`, ` (--set)`."""
    if node is None or isinstance(node, Expr):
        return ""
    source = node.span.source.name
    return f" ({source})" if source.startswith("--") else f" (line {node.span.line})"


def _dtypes(program: Program, choice: Choice) -> dict[str, DType]:
    said = {role: node.type for role, node in program.dtypes.items()}
    if choice.variant is not None:
        said.update({node.role: node.type for node in program.variant(choice.variant).dtypes})
    said.update(dict(choice.dtypes))
    found = dict.fromkeys(ROLES, BF16)
    for role, node in said.items():
        found[role] = type_of(node)
    if "compute" not in said:
        found["compute"] = found["activations"]
    return found


def type_of(node: syntax.TypeName) -> DType:
    """The dtype that a spec names."""
    known = bits(node.bits) if node.bits is not None else dtype(node.name)
    if known is None:
        raise SpecError(Diagnostic("unknown-name", f"there is no dtype `{node.name}`", node.span))
    return known


@dataclass(frozen=True)
class PhaseSettings:
    """A phase by name, its graph, and what it sets."""

    name: str
    graph: str
    settings: Mapping[str, syntax.Expression | Expr]


def find_phase(program: Program, name: str, graph: str | None = None) -> PhaseSettings:
    """A phase of the spec, or a built-in one, for a graph.

    Raises:
        SpecError: there is none of that name, it is of another graph, or the graph does not exist.
    """
    declared = program.phases.get(name)
    if declared is None and name not in BUILT_IN_PHASES:
        names = {*program.phases, *BUILT_IN_PHASES}
        near = nearest(name, names)
        raise SpecError(
            Diagnostic(
                "unknown-name",
                f"there is no phase `{name}`",
                facts=(f"there are {', '.join(sorted(names))}",),
                help=f"`{near}` is near" if near else "",
            )
        )
    of = (declared.graph or "forward") if declared is not None else None
    if graph is not None and graph != of and name in BUILT_IN_PHASES:
        declared = of = None
    if graph is not None and of is not None and graph != of:
        raise SpecError(
            Diagnostic(
                "argument",
                f"phase `{name}` is of graph `{of}`, not of `{graph}`",
                declared.name_span if declared is not None else None,
            )
        )
    graph = graph or of or "forward"
    if graph not in program.graphs:
        near = nearest(graph, program.graphs)
        has = f"it has {', '.join(program.graphs)}" if program.graphs else "it has no graph at all"
        raise SpecError(
            Diagnostic(
                "unknown-name",
                f"`{program.source.name}` has no graph `{graph}`",
                facts=(has,),
                help=f"`{near}` is near" if near else "",
            )
        )
    if declared is not None:
        return PhaseSettings(name, graph, {s.name: s.value for s in declared.settings})
    new = seq_len if name == "prefill" else rational(1)
    return PhaseSettings(name, graph, {"new_tokens": new})
