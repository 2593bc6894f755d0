"""A spec under a choice of variant, dims and dtypes: compiled on demand for graphs, phases and fidelities."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property

from sympy import Expr, Symbol

from costmodel import syntax
from costmodel.algebra import text as shown
from costmodel.collector import collector_paused
from costmodel.costs import FIDELITIES, CostTable, price
from costmodel.dtypes import ROLES, DType, dtype, no_such_dtype
from costmodel.elaborate.dataflow import Dataflow
from costmodel.elaborate.environment import Choice, Environment, PhaseSettings, environment, find_phase
from costmodel.elaborate.expand import elaborate
from costmodel.importer import as_spec
from costmodel.library import find_spec, is_config
from costmodel.names import listed, near_help, nearest
from costmodel.ops import Counting
from costmodel.parser import parse_expression
from costmodel.program import Program, link
from costmodel.resolve import BUILT_IN_PHASES, offer, resolve, resolve_dims
from costmodel.source import Diagnostic, Report, Source, Span, SpecError
from costmodel.symbols import WORKLOAD, is_zero, rational
from costmodel.tensors import Kind, Shape, Storage
from costmodel.walk import walk

TIMINGS = ("overlap", "serial", "per_op")
MASKED = ("full", "exact")
FUSION = ("elementwise", "none")

# what is wrong with names alone leaves the rest of a spec to be looked at
_MENDABLE = frozenset({"unknown-name", "arguments", "keyword"})


@dataclass(frozen=True)
class Run:
    """How a graph is run and how it is counted. `new_tokens` takes the phase's place; the symbol leaves it open."""

    phase: str = "decode"
    graph: str | None = None
    fidelity: str = "cache"
    masked: str = "full"
    fusion: str = "elementwise"
    new_tokens: int | Symbol | None = None

    def __post_init__(self) -> None:
        for what, value, known in (
            ("fidelity", self.fidelity, FIDELITIES),
            ("masked", self.masked, MASKED),
            ("fusion", self.fusion, FUSION),
        ):
            one_of(what, value, known)
        new = self.new_tokens
        if new is not None and not isinstance(new, Symbol) and (new != int(new) or new < 1):
            raise SpecError(Diagnostic("argument", f"new_tokens is {new}: a whole number, 1 or more, is needed"))


def one_of(what: str, value: str, known: Iterable[str]) -> str:
    """A word of a fixed list.

    Raises:
        SpecError: it is none of them.
    """
    known = tuple(known)
    if value not in known:
        raise _unknown(f"there is no {what} `{value}`", None, value, known)
    return value


@dataclass(frozen=True, eq=False)
class Compiled:
    """A program with a choice; what is asked of it is compiled once.

    `name` is what the user called it: `llama-3.1:8b`.
    """

    program: Program
    choice: Choice = Choice()
    name: str = ""
    _dataflows: dict[tuple[object, ...], Dataflow] = field(default_factory=dict)
    _tables: dict[Run, CostTable] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """`Llama 3.1 8B`, `Qwen3-MoE 30B-A3B`: sizes in capitals, other variants as they are written."""
        variant = self.choice.variant
        if variant is None:
            return self.program.title
        variant = re.sub(r"\b(a?[\d.]+(?:x[\d.]+)?[bm])\b", lambda size: size[0].upper().replace("X", "x"), variant)
        return f"{self.program.title} {variant}"

    @cached_property
    def environment(self) -> Environment:
        """The dims' values, without a phase."""
        return environment(self.program, self.choice)

    @cached_property
    def plain(self) -> frozenset[str]:
        """The dims given as plain numbers, not computed from others."""
        return frozenset(name for name, value in self.environment.given.items() if _is_plain(value))

    @cached_property
    def read_by_if(self) -> frozenset[str]:
        """The dims that an `if` was decided by, those behind derived ones too."""
        decided: set[Symbol] = set()
        for graph in self.program.graphs:
            for phase in phases_of(self.program, graph):
                decided |= self.expand(phase).decided
        given = self.environment.given
        names = {found.name for found in decided}
        open_ = list(names)
        while open_:
            value = given.get(open_.pop())
            if value is None or isinstance(value, Expr):
                continue
            for part in walk(value):
                if isinstance(part, syntax.Name) and part.id not in names:
                    names.add(part.id)
                    open_.append(part.id)
        return frozenset(names)

    def changed(
        self, sets: Mapping[str, syntax.Expression] | None = None, dtypes: Mapping[str, syntax.TypeName] | None = None
    ) -> Compiled:
        """The same spec with other values for dims or dtypes; a dim that was free has a value then."""
        sets = sets or {}
        choice = replace(
            self.choice,
            sets=(*self.choice.sets, *sets.items()),
            dtypes=(*self.choice.dtypes, *(dtypes or {}).items()),
            free=self.choice.free - sets.keys(),
        )
        return Compiled(self.program, choice, self.name)

    def freed(self, names: Iterable[str]) -> Compiled:
        """The same spec with these dims left as symbols too."""
        return Compiled(self.program, replace(self.choice, free=self.choice.free | frozenset(names)), self.name)

    @cached_property
    def with_all_given(self) -> Compiled:
        """The same spec with every dim as it is given, none forgotten."""
        return Compiled(self.program, replace(self.choice, free=frozenset()), self.name)

    def retyped(self, role: str, narrower: DType) -> Compiled:
        """The same spec with another dtype, which changes nothing in expanded graphs but the bytes of values."""
        span = self.program.source.span(0, 0)
        other = self.changed(dtypes={role: syntax.TypeName(narrower.name, None, span)})
        dtypes = other.environment.dtypes
        for key, flow in self._dataflows.items():
            environment = replace(flow.environment, dtypes={**flow.environment.dtypes, **dtypes})
            other._dataflows[key] = replace(flow, environment=environment)
        return other

    def dataflow(self, run: Run) -> Dataflow:
        """The expanded graph of a run.

        Raises:
            SpecError: a phase or graph is unknown, or shapes do not agree.
        """
        return self.expand(self._phase(run))

    def _phase(self, run: Run) -> PhaseSettings:
        if not self.program.graphs:
            raise SpecError(
                Diagnostic("graph", f"`{self.program.source.name}` declares no graph, so there is nothing to cost")
            )
        phase = find_phase(self.program, run.phase, run.graph)
        if run.new_tokens is not None:
            tokens = run.new_tokens if isinstance(run.new_tokens, Symbol) else rational(run.new_tokens)
            phase = replace(phase, settings={**phase.settings, "new_tokens": tokens})
        return phase

    def expand(self, phase: PhaseSettings) -> Dataflow:
        """The expanded graph of a phase."""
        key = (phase.graph, phase.name, str(phase.settings.get("new_tokens")))
        found = self._dataflows.get(key)
        if found is None:
            report = Report()
            found = elaborate(self.program, self.choice, phase, report)
            report.raise_errors()
            assert found is not None
            self._dataflows[key] = found
        return found

    def check_dims(self, flow: Dataflow, figures: Mapping[Symbol, Fraction]) -> None:
        """Whether a graph's shapes agree with figures for dims that are free.

        Raises:
            SpecError: they do not.
        """
        span = self.program.source.span(0, 0)
        sets: dict[str, syntax.Expression] = {
            s.name: syntax.Number(value, str(value), span)
            for s, value in figures.items()
            if s.name in self.program.dims and s.name not in WORKLOAD
        }
        if sets:
            settings = {s.name: value for s, value in flow.settings.items()}
            self.changed(sets).expand(PhaseSettings(flow.phase, flow.graph, settings))

    @property
    def expanded(self) -> list[Dataflow]:
        """The graphs that were expanded so far."""
        return list(self._dataflows.values())

    @property
    def tables(self) -> Mapping[Run, CostTable]:
        """What was priced so far."""
        return dict(self._tables)

    def table(self, run: Run) -> CostTable:
        """What a run costs, by operation."""
        found = self._tables.get(run)
        if found is None:
            with collector_paused():
                dataflow = self.dataflow(run)
                counting = Counting(run.masked, run.fusion)
                found = self._tables[run] = price(dataflow, run.fidelity, counting, self.weights(dataflow))
        return found

    def in_phase(self, run: Run) -> Callable[[str], CostTable]:
        """The tables of the same run in other phases, with the tokens that those have."""
        return lambda phase: self.table(replace(run, phase=phase, new_tokens=None))

    def weights(self, dataflow: Dataflow) -> list[Storage]:
        """The weights of all graphs, and of phases that take another arm of an `if`.

        Raises:
            SpecError: a weight that exists once is wanted in two shapes.
        """
        found: dict[tuple[object, ...], tuple[Storage, Dataflow]] = {}
        for graph in self.program.graphs:
            phases = phases_of(self.program, graph)
            flows = [dataflow] if graph == dataflow.graph else []
            if not flows or dataflow.by_phase:
                for phase in phases:
                    if flows and not flows[0].by_phase:
                        break
                    flows.append(self.expand(phase))
            for flow in flows:
                for storage in flow.storages:
                    if storage.kind is Kind.WEIGHT:
                        known, first = found.setdefault(storage.key, (storage, flow))
                        if known.shape != storage.shape and not self._agree(known.shape, storage.shape):
                            raise _of_two_shapes(known, first, storage, flow)
        return [storage for storage, _ in found.values()]

    def _agree(self, a: Shape, b: Shape) -> bool:
        value = self.environment.value
        return len(a) == len(b) and all(is_zero(value(x) - value(y)) for x, y in zip(a, b, strict=True))


def _of_two_shapes(a: Storage, of_a: Dataflow, b: Storage, of_b: Dataflow) -> SpecError:
    def wanted(storage: Storage, flow: Dataflow) -> str:
        shape = ", ".join(shown(axis) for axis in storage.shape)
        return f"{flow.phase} of graph `{flow.graph}` wants it as [{shape}]"

    return SpecError(
        Diagnostic(
            "shared", f"weight `{a.name}` exists once, in one shape", a.span, facts=(wanted(a, of_a), wanted(b, of_b))
        )
    )


def phases_of(program: Program, graph: str) -> list[PhaseSettings]:
    """Every phase that a graph can be run in."""
    names = [name for name, phase in program.phases.items() if (phase.graph or "forward") == graph]
    names += [name for name in BUILT_IN_PHASES if name not in names]
    return [find_phase(program, name, graph) for name in names]


def _is_plain(value: syntax.Expression | Expr | None) -> bool:
    """Whether a dim is given as a plain number, not computed from others."""
    if value is None or isinstance(value, Expr):
        return False
    return not any(isinstance(part, syntax.Name) for part in walk(value))


# --- from what the user gives


def compile_source(source: Source, name: str | None = None, variant: str | None = None) -> Compiled:
    """Read and check the names of a spec.

    Raises:
        SpecError: with all that is independently wrong.
    """
    report = Report()
    with collector_paused():
        program = read_program(source, report)
    if variant is not None:
        program.variant(variant)
    report.raise_errors()
    return Compiled(program, Choice(variant=variant), name or source.name)


def read_program(source: Source, report: Report) -> Program:
    """Link a spec and resolve its names; where only names are wrong, shapes are looked at too."""
    program = link(source, report)
    unreadable = any(error.code in ("syntax", "character") for error in report.errors)
    resolve(program, report)
    errors = report.errors
    if errors:
        if unreadable:
            unchecked = "not checked: shapes, and what depends on what could not be read"
        elif program.unread:
            unchecked = f"not checked: shapes, and names that {listed(program.unread)} may have"
        elif all(error.code in _MENDABLE for error in errors):
            _expand_anyway(program, report)
            names = dict.fromkeys(_quoted(error.message) for error in errors if error.code == "unknown-name")
            unchecked = f"not checked: what follows from {listed(filter(None, names))}" if names else ""
        else:
            unchecked = "not checked: shapes"
        report.raise_errors(unchecked)
    return program


def _quoted(message: str) -> str:
    parts = message.split("`")
    return parts[-2] if len(parts) >= 3 else ""


def _expand_anyway(program: Program, report: Report) -> None:
    """Find what is wrong with shapes beside names that are."""
    for graph in program.graphs:
        try:
            elaborate(program, Choice(), find_phase(program, "decode", graph), report)
        except SpecError as error:
            for diagnostic in error.diagnostics:
                report.add(diagnostic)


def compile_spec(argument: str) -> Compiled:
    """What SPEC on the command line means.

    Raises:
        SpecError: there is no such spec or variant, or it has faults.
    """
    source, variant = find_spec(argument, configs=True)
    return compile_source(as_spec(source) if is_config(source.name) else source, argument, variant)


def with_sets(compiled: Compiled, sets: Iterable[str], option_name: str = "--set") -> Compiled:
    """`--set DIM=EXPR` and `--set dtype.ROLE=TYPE`; `option_name` is what a message calls the option.

    Raises:
        SpecError: an assignment cannot be read, or names no dim or role.
    """
    dims: dict[str, syntax.Expression] = {}
    dtypes: dict[str, syntax.TypeName] = {}
    for text in sets:
        name, equals, value = text.partition("=")
        name = name.strip()
        option = Source(option_name, text)
        start = len(text) - len(value)
        if not equals or not name or not value.strip():
            message = f"{option_name} takes DIM=EXPR, not `{text}`"
            raise SpecError(Diagnostic("argument", message, option.span(0, len(text))))
        if name.startswith("dtype."):
            role = name.removeprefix("dtype.")
            if role not in ROLES:
                raise _unknown(f"there is no role of dtypes `{role}`", option.span(0, len(name)), role, ROLES)
            dtypes[role] = _type_option(option, value, start)
            continue
        program = compiled.program
        if name in WORKLOAD:
            help = f"--{name.replace('_', '-')} {value.strip()}"
            message = f"`{name}` is part of the workload"
            raise SpecError(Diagnostic("argument", message, option.span(0, len(name)), help=help))
        if name not in program.dims:
            near = nearest(name, program.dims)
            help = offer(program, near, of_option=True) if near is not None else ""
            facts = () if near is not None else (f"its dims are {listed(program.dims, 40)}",)
            message = f"`{compiled.name}` has no dim `{name}`"
            raise SpecError(Diagnostic("unknown-name", message, option.span(0, len(name)), facts=facts, help=help))
        dims[name] = parse_expression(option, start)
        resolve_dims(program, dims[name])
    return compiled.changed(dims, dtypes) if dims or dtypes else compiled


def _unknown(message: str, span: Span | None, name: str, known: Iterable[str]) -> SpecError:
    """What is to be said of a word that is none of a list, all of which is shown."""
    known = tuple(known)
    facts = (f"there are {listed(known, 40)}",)
    return SpecError(Diagnostic("unknown-name", message, span, facts=facts, help=near_help(name, known)))


def _type_option(option: Source, value: str, start: int) -> syntax.TypeName:
    text = value.strip()
    span = option.span(start, start + len(value))
    if dtype(text) is None:
        raise SpecError(no_such_dtype(text, span))
    return syntax.TypeName(text, None, span)


def with_free(compiled: Compiled, names: Iterable[str]) -> Compiled:
    """`--free DIM`, and `--free all`: each dim given as a plain number, save those that an `if` reads.

    Raises:
        SpecError: a name is no dim.
    """
    names = list(names)
    known = {*compiled.program.dims}
    for name in names:
        if name != "all" and name not in known:
            near = nearest(name, {*known, "all"})
            help = offer(compiled.program, near, of_option=True) if near is not None else ""
            facts = () if near is not None else (f"its dims are {listed(compiled.program.dims, 40)}",)
            message = f"`{compiled.name}` has no dim `{name}` to free"
            raise SpecError(Diagnostic("unknown-name", message, facts=facts, help=help))
    if not names:
        return compiled
    every = compiled.plain - compiled.read_by_if if "all" in names else frozenset()
    return compiled.freed({name for name in names if name != "all"} | every)
