"""The dims of a spec and their values under a variant, options and a phase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import networkx as nx
from sympy import Expr, Symbol

from costmodel import syntax
from costmodel.algebra import text
from costmodel.dtypes import BF16, ROLES, WEIGHT_ROLES, DType, bits, dtype
from costmodel.names import listed, near_help
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
    new_tokens,
    put_in,
    rational,
    role_bytes,
    seq_len,
    sign,
    symbol,
    terms_estimate,
)
from costmodel.walk import walk

MOST_TERMS = 5_000
_FEW_TERMS = 100


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

    `given` is the expression that gives a dim its value, with the place where it stands; None for a free dim. `said` is
    where a spec or an option names the dtype of a role.
    """

    program: Program
    values: Mapping[Symbol, Expr]
    given: Mapping[str, syntax.Expression | None]
    dtypes: Mapping[str, DType]
    free: frozenset[str]
    said: Mapping[str, syntax.TypeName] = field(default_factory=dict)
    _cache: dict[Expr, Expr] = field(default_factory=dict)

    def value(self, expr: Expr) -> Expr:
        """An expression with the dims' values put in."""
        found = self._cache.get(expr)
        if found is None:
            found = self._cache[expr] = expr if is_number(expr) else put_in(expr, self.values)
        return found

    @property
    def asked(self) -> frozenset[Expr]:
        """The values of all expressions that were asked for: what was decided, was decided by them."""
        return frozenset(self._cache.values())

    def check_whole(self, figures: Mapping[Symbol, Expr]) -> None:
        """Whether the dims that are computed from these symbols are whole with figures put in.

        Raises:
            SpecError: one is a fraction, or negative.
        """
        values = {**self.values, **figures}
        for of, value in self.values.items():
            node = self.given.get(of.name)
            if node is not None and not isinstance(node, Expr) and value.free_symbols & figures.keys():
                _whole(of.name, put_in(value, figures), node, self.given, values)

    @cached_property
    def role_values(self) -> dict[Symbol, Expr]:
        """The bytes of a value by role."""
        return {role_bytes[role]: rational(self.dtypes[role].bytes) for role in DTYPE_ROLES}

    @property
    def roles(self) -> list[str]:
        """The roles that have a dtype of their own, and do not follow another's."""
        return [role for role in DTYPE_ROLES if role in self.said or role not in WEIGHT_ROLES[1:]]

    def weight_role(self, matrix: bool, expert: bool) -> str:
        """The role that gives a weight its dtype: the narrowest that it has and of which something is said."""
        roles = ("experts", "matrices") if expert else ("matrices",)
        return next((role for role in roles if matrix and role in self.said), "weights")

    @property
    def why_computed(self) -> str:
        """What says in which dtype the matmuls compute, in words behind that dtype."""
        role = "compute" if "compute" in self.said else "activations"
        node = self.said.get(role)
        if node is None:
            return "in which matmuls compute where nothing else is said"
        if node.span.source.name == "--set":
            return f"which `--set dtype.{role}={node.name}` asks for"
        return f"which `dtype {role} = {node.name}` asks for{where_of(node.span)}"

    @cached_property
    def derived(self) -> dict[Symbol, Expr]:
        """The dims that are computed from others, as expressions in those that stand by themselves."""
        found: dict[Symbol, Expr] = {}
        for name in _in_order(self.program, self.given, Report()):
            node = self.given[name]
            if isinstance(node, syntax.Expression) and any(isinstance(part, syntax.Name) for part in walk(node)):
                found[symbol(name)] = scalar(node, lambda n: found.get(symbol(n.id), symbol(n.id)))
        return found

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
    report = Report()
    order = _in_order(program, given, report)
    values: dict[Symbol, Expr] = {}

    def lookup(node: syntax.Name) -> Expr:
        return values.get(symbol(node.id), symbol(node.id))

    terms = 0
    broken: set[str] = set()
    for name in order:
        node = given[name]
        if node is None:
            continue
        if isinstance(node, Expr):
            values[symbol(name)] = node
            continue
        if broken and any(isinstance(part, syntax.Name) and part.id in broken for part in walk(node)):
            # what follows from a fault is not told
            broken.add(name)
            continue
        try:
            raw = scalar(node, lookup)
            size = terms_estimate(raw)
            terms += size if size > _FEW_TERMS else 0
            if terms > MOST_TERMS:
                raise TooManyTerms
            value = bounded(expanded(raw), node, f"`{name}`")
            values[symbol(name)] = _whole(name, value, node, given, values)
        except TooManyTerms:
            broken.add(name)
            report.add(Diagnostic("limit", f"`{name}` grows to a sum of too many terms", node.span))
        except SpecError as error:
            broken.add(name)
            for diagnostic in error.diagnostics:
                if diagnostic.code == "division":
                    diagnostic = replace(diagnostic, facts=_parts(node, given, values))
                report.add(diagnostic)
    _check_tokens(given, values, settings, report)
    report.raise_errors()
    said = _said(program, choice)
    return Environment(program, values, given, _dtypes(said), choice.free, said)


def _check_tokens(
    given: Mapping[str, syntax.Expression | Expr | None],
    values: Mapping[Symbol, Expr],
    settings: Mapping[str, syntax.Expression | Expr],
    report: Report,
) -> None:
    """The new tokens that a phase sets are part of the context."""
    node = next((settings[name] for name in ("new_tokens", "seq_len") if name in settings), None)
    if (
        node is None
        or isinstance(node, Expr)
        or any(given[n] is not None and symbol(n) not in values for n in WORKLOAD)
    ):
        return
    new, context = (values.get(s, s) for s in (new_tokens, seq_len))
    if sign(new - context) == 1:
        report.add(
            Diagnostic(
                "argument",
                f"{text(new)} new tokens do not fit in a context of {text(context)}",
                node.span,
                facts=("seq_len counts the new tokens too",),
            )
        )


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


def _in_order(program: Program, given: Mapping[str, syntax.Expression | Expr | None], report: Report) -> list[str]:
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
        for circle in nx.strongly_connected_components(graph):
            if len(circle) > 1 or graph.has_edge(*(*circle, *circle)):
                report.add(_circle(nx.find_cycle(graph.subgraph(circle)), places))
        report.raise_errors()
        raise
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


def _circle(found: Sequence[tuple[str, str]], places: Mapping[tuple[str, str], Span]) -> Diagnostic:
    """What is to be said of dims that are computed from each other; `found` pairs each with one that needs it."""
    edges = sorted((edge[:2] for edge in found), key=lambda edge: places[edge].start)
    first = edges[0]
    by_need = {b: (a, b) for a, b in edges}
    chain, name = [first], first[0]
    while name != first[1]:
        chain.append(by_need[name])
        name = by_need[name][0]
    names = " → ".join(f"`{name}`" for name in (*(b for _, b in chain), first[1]))
    message = (
        f"`{first[1]}` is computed from itself"
        if len(chain) == 1
        else f"dims are computed from each other in a circle: {names}"
    )
    others = tuple(Label(places[edge], f"`{edge[1]}` needs `{edge[0]}`") for edge in chain[1:6])
    return Diagnostic("cycle", message, places[first], others=others)


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
    facts = _parts(node, given, values)
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
        raise SpecError(
            Diagnostic("negative", f"`{name}` is {text(value)}: a dim is 0 or more", node.span, facts=facts)
        )
    if value == 0 and name in WORKLOAD:
        raise SpecError(Diagnostic("argument", f"`{name}` is 0: it is 1 or more", node.span, facts=facts))
    return value


def _parts(
    node: syntax.Expression, given: Mapping[str, syntax.Expression | Expr | None], values: Mapping[Symbol, Expr]
) -> tuple[str, ...]:
    """The dims that an expression is made of, with their values."""
    names = dict.fromkeys(part.id for part in walk(node) if isinstance(part, syntax.Name))
    return tuple(
        f"{name} is {text(values[symbol(name)])}{where(given.get(name))}" for name in names if symbol(name) in values
    )


def where(node: syntax.Expression | None) -> str:
    """Where a dim is given its value: ` (line 4)`, ` (--set)`."""
    return "" if node is None or isinstance(node, Expr) else where_of(node.span)


def where_of(span: Span) -> str:
    """A place in words: ` (line 4)`, ` (--set)`."""
    source = span.source.name
    return f" ({source})" if source.startswith("--") else f" (line {span.line})"


def _said(program: Program, choice: Choice) -> dict[str, syntax.TypeName]:
    """The dtypes of roles, where they are named."""
    said = {role: node.type for role, node in program.dtypes.items()}
    if choice.variant is not None:
        said.update({node.role: node.type for node in program.variant(choice.variant).dtypes})
    said.update(dict(choice.dtypes))
    return said


def _dtypes(said: Mapping[str, syntax.TypeName]) -> dict[str, DType]:
    found = dict.fromkeys(ROLES, BF16)
    for role, node in said.items():
        found[role] = type_of(node)
    for role, wider in (("matrices", "weights"), ("experts", "matrices"), ("compute", "activations")):
        if role not in said:
            found[role] = found[wider]
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
        facts = (f"there are {listed(sorted(names))}",)
        message = f"there is no phase `{name}`"
        raise SpecError(Diagnostic("unknown-name", message, facts=facts, help=near_help(name, names)))
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
        has = f"it has {listed(program.graphs)}" if program.graphs else "it has no graph at all"
        message, near = f"`{program.called}` has no graph `{graph}`", near_help(graph, program.graphs)
        raise SpecError(Diagnostic("unknown-name", message, facts=(has,), help=near))
    if declared is not None:
        return PhaseSettings(name, graph, {s.name: s.value for s in declared.settings})
    new = seq_len if name == "prefill" else rational(1)
    return PhaseSettings(name, graph, {"new_tokens": new})
