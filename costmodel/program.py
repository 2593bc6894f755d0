"""A spec with all that it uses: every declaration in its table, told apart by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from costmodel import library, syntax
from costmodel.names import listed, near_help
from costmodel.parser import MOST_NESTING, parse_spec
from costmodel.source import Diagnostic, Label, Report, Source, SpecError
from costmodel.symbols import WORKLOAD

_Named = TypeVar(
    "_Named", syntax.Block, syntax.OpDeclaration, syntax.Graph, syntax.Phase, syntax.Variant, syntax.DeviceDeclaration
)


@dataclass(frozen=True)
class Program:
    """The declarations of a spec and of the files that it uses.

    `dims` hold, for a dim that a used file leaves open, the declaration that gives it a value. `suspects` are names
    from parts that could not be read, of which nothing is said to be unknown; `unread` are used files not read.
    """

    source: Source
    model: syntax.ModelName | None = None
    dims: dict[str, syntax.Dim] = field(default_factory=dict)
    dtypes: dict[str, syntax.DType] = field(default_factory=dict)
    blocks: dict[str, syntax.Block] = field(default_factory=dict)
    ops: dict[str, syntax.OpDeclaration] = field(default_factory=dict)
    graphs: dict[str, syntax.Graph] = field(default_factory=dict)
    phases: dict[str, syntax.Phase] = field(default_factory=dict)
    variants: dict[str, syntax.Variant] = field(default_factory=dict)
    weights: dict[str, syntax.Weight] = field(default_factory=dict)
    devices: dict[str, syntax.DeviceDeclaration] = field(default_factory=dict)
    expects: tuple[syntax.Expect, ...] = ()
    files: tuple[Source, ...] = ()
    suspects: frozenset[str] = frozenset()
    unread: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.model.name if self.model else Path(self.source.name).stem

    @property
    def called(self) -> str:
        """How a user calls the spec: a shipped one by its name, another by its path."""
        origin = self.source.origin
        return next((n for n, path in library.shipped("models").items() if str(path) == origin), self.source.name)

    @property
    def title(self) -> str:
        return (self.model and self.model.title) or self.name

    def variant(self, name: str) -> syntax.Variant:
        """A variant by name.

        Raises:
            SpecError: there is none of that name.
        """
        if name in self.variants:
            return self.variants[name]
        has = f"it has {listed(self.variants)}" if self.variants else "it has no variants"
        said = f"has no variant `{name}`" if name else "is given without a variant behind `:`"
        near = near_help(name, self.variants)
        raise SpecError(Diagnostic("unknown-name", f"`{self.called}` {said}", facts=(has,), help=near))


def link(source: Source, report: Report) -> Program:
    """Read a spec and all that it uses; faults go to `report`."""
    return _Linker(source, report).link()


class _Linker:
    def __init__(self, source: Source, report: Report) -> None:
        self.report = report
        origin = Path(source.origin).absolute() if source.origin is not None else None
        shipped = library.shipped_root()
        inside = origin is None or shipped in origin.parents
        self.root = shipped if inside or origin is None else origin.parent
        self.program = Program(source)
        self.files: list[Source] = []
        self.suspects: set[str] = set()
        self.unread: list[str] = []
        self.loaded: dict[str, Source] = {}

    def link(self) -> Program:
        source = self.program.source
        expects = self._file(source, main=True, chain=())
        program = self.program
        model = next((d for d in self.declared if isinstance(d, syntax.ModelName)), None)
        dims = dict(sorted(program.dims.items(), key=lambda item: item[1].span.source is not source))
        return Program(
            source,
            model,
            dims,
            program.dtypes,
            program.blocks,
            program.ops,
            program.graphs,
            program.phases,
            program.variants,
            program.weights,
            program.devices,
            tuple(expects),
            tuple(self.files),
            frozenset(self.suspects),
            tuple(self.unread),
        )

    def _file(self, source: Source, main: bool, chain: tuple[tuple[str, syntax.Use], ...]) -> list[syntax.Expect]:
        self.files.append(source)
        parsed = parse_spec(source, self.report)
        self.suspects |= parsed.suspects
        if main:
            self.declared = parsed.spec.declarations
        expects = []
        seen_model: syntax.ModelName | None = None
        for node in parsed.spec.declarations:
            match node:
                case syntax.ModelName():
                    if seen_model is not None:
                        self._twice("`model`", node.name_span, seen_model.name_span)
                    elif node is not parsed.spec.declarations[0]:
                        self.report.add(
                            Diagnostic("syntax", "`model` names the spec and stands first in it", node.span)
                        )
                    seen_model = node
                case syntax.Use():
                    self._use(node, source, chain)
                case syntax.Dim():
                    self._dim(node)
                case syntax.Block():
                    self._add(self.program.blocks, node, "block")
                    self._clash(node, self.program.ops)
                case syntax.OpDeclaration():
                    self._add(self.program.ops, node, "op")
                    self._clash(node, self.program.blocks)
                case syntax.DeviceDeclaration():
                    self._add(self.program.devices, node, "device")
                case syntax.Weights():
                    for weight in node.weights:
                        self._weight(weight)
                case syntax.DType() if main:
                    if node.role in self.program.dtypes:
                        self._twice(f"`dtype {node.role}`", node.role_span, self.program.dtypes[node.role].role_span)
                    self.program.dtypes[node.role] = node
                case syntax.Graph() if main:
                    self._add(self.program.graphs, node, "graph")
                case syntax.Phase() if main:
                    self._add(self.program.phases, node, "phase")
                case syntax.Variant() if main:
                    self._add(self.program.variants, node, "variant")
                case syntax.Expect() if main:
                    expects.append(node)
                case _:
                    pass
        return expects

    def _twice(self, what: str, span: object, first: object) -> None:
        self.report.add(
            Diagnostic(
                "duplicate",
                f"{what} is declared twice",
                span,  # type: ignore[arg-type]
                others=(Label(first, "first here"),),  # type: ignore[arg-type]
            )
        )

    def _add(self, table: dict[str, _Named], node: _Named, what: str) -> None:
        if node.name in table:
            self._twice(f"{what} `{node.name}`", node.name_span, table[node.name].name_span)
        else:
            table[node.name] = node

    def _clash(self, node: syntax.Block | syntax.OpDeclaration, others: dict[str, _Named]) -> None:
        if node.name in others:
            self._twice(f"`{node.name}`", node.name_span, others[node.name].name_span)

    def _weight(self, weight: syntax.Weight) -> None:
        if weight.name in self.program.weights:
            self._twice(f"weight `{weight.name}`", weight.name_span, self.program.weights[weight.name].name_span)
        elif weight.name in self.program.dims:
            self._twice(f"`{weight.name}`", weight.name_span, self.program.dims[weight.name].name_span)
        else:
            self.program.weights[weight.name] = weight

    def _dim(self, node: syntax.Dim) -> None:
        dims = self.program.dims
        if node.name in WORKLOAD and node.value is not None:
            self.report.add(
                Diagnostic(
                    "argument",
                    f"`{node.name}` is part of the workload and has no value in a spec",
                    node.value.span,
                    help=f"give it as --{node.name.replace('_', '-')}, or set it in a phase",
                )
            )
            return
        if node.name in self.program.weights:
            self._twice(f"`{node.name}`", node.name_span, self.program.weights[node.name].name_span)
            return
        first = dims.get(node.name)
        if first is None:
            dims[node.name] = node
            return
        same_file = first.span.source is node.span.source
        if same_file or (first.value is not None and node.value is not None):
            self._twice(f"dim `{node.name}`", node.name_span, first.name_span)
            return
        valued, open_ = (node, first) if first.value is None else (first, node)
        dims[node.name] = syntax.Dim(
            node.name, valued.name_span, valued.value, valued.latex or open_.latex, valued.doc or open_.doc, valued.span
        )

    def _use(self, node: syntax.Use, using: Source, chain: tuple[tuple[str, syntax.Use], ...]) -> None:
        try:
            path = library.find_used(using, self.root, node.path, node.path_span)
            identity = str(path.resolve())
            here = str(Path(using.origin).resolve()) if using.origin is not None else using.name
            cycle = [*chain, (here, node)]
            if identity in [place for place, _ in cycle]:
                start = [place for place, _ in cycle].index(identity)
                steps = [use for _, use in cycle[start:]]
                names = " → ".join([*(use.span.source.name for use in steps), steps[0].span.source.name])
                self.report.add(
                    Diagnostic(
                        "cycle",
                        f"files use each other in a circle: {names}",
                        node.path_span,
                        others=tuple(Label(use.path_span, "used here") for use in steps[:-1]),
                    )
                )
                return
            if len(cycle) > MOST_NESTING:
                raise SpecError(
                    Diagnostic("limit", f"files use each other more than {MOST_NESTING} deep", node.path_span)
                )
            if identity in self.loaded:
                return
            source = library.read(path, node.path_span)
            self.loaded[identity] = source
        except SpecError as error:
            for diagnostic in error.diagnostics:
                self.report.add(diagnostic)
            self.unread.append(node.path)
            return
        self._file(source, main=False, chain=tuple(cycle))
