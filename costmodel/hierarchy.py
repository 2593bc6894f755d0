"""Costs as a tree of graph, repeats, blocks and operations: a total is a named sum of named parts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, count

from sympy import Expr

from costmodel.costs import CostTable, Row
from costmodel.elaborate.dataflow import Node
from costmodel.latex_symbol import settled
from costmodel.symbols import ONE, is_zero, total
from costmodel.tensors import Kind, Region

Term = Callable[[Row], Expr]


@dataclass
class Branch:
    """A region with what stands in it, in order: operations and further regions."""

    region: Region
    children: list[Branch | Row] = field(default_factory=list)

    def rows(self) -> Iterator[Row]:
        """The operations in it, those of inner regions too."""
        for child in self.children:
            if isinstance(child, Branch):
                yield from child.rows()
            else:
                yield child

    @property
    def path(self) -> tuple[str, ...]:
        return tuple(region.name for region in self.region.path)


def tree(table: CostTable) -> Branch:
    """The operations of a table by region."""
    root = Branch(table.dataflow.root)
    branches = {table.dataflow.root: root}

    def branch(region: Region) -> Branch:
        if region not in branches:
            branches[region] = Branch(region)
            assert region.parent is not None
            branch(region.parent).children.append(branches[region])
        return branches[region]

    for row in table.rows:
        branch(row.region).children.append(row)
    return root


def weight_names(node: Node) -> str:
    """The names of the weights that an operation takes, empty where it takes none."""
    return ", ".join(tensor.name for _, tensor in node.operation.operands if tensor.kind is Kind.WEIGHT)


@dataclass(frozen=True, eq=False)
class Part:
    """A named part of a quantity: what one turn of it costs, and of what that is made.

    `count` says how often it stands in its parent, `scale` what it is multiplied by there because of `repeat`s.
    `expr` is in the symbols of all dims.
    """

    name: str
    latex: str
    what: str
    expr: Expr
    count: int
    scale: Expr
    repeats: tuple[str, ...]
    children: tuple[Part, ...]
    row: Row | None = None


def parts(table: CostTable, term: Term, letter: str) -> Part:
    """A quantity as its parts: blocks under the names that the spec gives them, operations under their weights'.

    Parts that cost nothing are left out; equal calls of one block are one part, counted.
    """
    return _Names(letter).part(tree(table), term)


def parts_by_phase(tables: Sequence[CostTable], term: Callable[[CostTable], Term], letter: str) -> list[Part]:
    """The same in several phases: what costs the same in two of them has one name, and another name otherwise."""
    names = _Names(letter)
    found = []
    for table in tables:
        names.phase = table.dataflow.phase
        found.append(names.part(tree(table), term(table)))
    return found


class _Names:
    """Names of parts, each for one expression; `phase` is that of the parts that are being named."""

    def __init__(self, letter: str) -> None:
        self.letter = letter
        self.phase = ""
        self.given: dict[str, list[tuple[Expr, str]]] = {}
        self.scripts: dict[str, str] = {}

    def part(self, branch: Branch, term: Term) -> Part:
        children = tuple(self._children(branch, term, ONE, ()))
        expr = total(child.scale * child.count * child.expr for child in children)
        return Part(self.letter, self.letter, branch.region.name, expr, 1, ONE, (), children)

    def _children(self, branch: Branch, term: Term, scale: Expr, repeats: tuple[str, ...]) -> Iterator[Part]:
        found: list[Part] = []
        for child in branch.children:
            if isinstance(child, Row):
                expr = term(child)
                if not is_zero(expr):
                    found.append(self._leaf(child, expr, scale, repeats))
            elif child.region.kind == "repeat":
                inside = (*repeats, child.region.name.removeprefix("repeat "))
                found.extend(self._children(child, term, scale * child.region.count, inside))
            elif child.region.kind == "route":
                found.extend(self._children(child, term, scale, repeats))
            else:
                inner = tuple(self._children(child, term, ONE, ()))
                expr = total(c.scale * c.count * c.expr for c in inner)
                if inner:
                    found.append(self._block(child, expr, scale, repeats, inner))
        yield from _merged(found)

    def _leaf(self, row: Row, expr: Expr, scale: Expr, repeats: tuple[str, ...]) -> Part:
        node = row.node
        label = "elsewhere" if node is None else weight_names(node).replace(", ", "_") or node.keyword
        label = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide"}.get(label, label)
        what = "other graphs and phases" if node is None else f"{node.keyword} {node.label}".strip()
        name, latex = self._unique(label, _script(re.sub(r"\bW(?=[a-z])", "", label)), expr)
        return Part(name, latex, what, expr, 1, scale, repeats, (), row)

    def _block(
        self, branch: Branch, expr: Expr, scale: Expr, repeats: tuple[str, ...], inner: tuple[Part, ...]
    ) -> Part:
        region = branch.region
        label = _plain(region.latex) if region.latex else region.name
        script = settled(region.latex) if region.latex else _script(region.name)
        name, latex = self._unique(label, script, expr)
        return Part(name, latex, region.name, expr, 1, scale, repeats, inner)

    def _unique(self, label: str, script: str, expr: Expr) -> tuple[str, str]:
        """A name that no other expression has: C_ffn, then C_ffn2; in another phase C_ffn_prefill."""
        others = chain([_script(label)], (_script(f"{label} {i}") for i in count(2)))
        script = next(s for s in chain([script], others) if self.scripts.setdefault(s, label) == label)
        known = self.given.setdefault(label, [])
        if all(expr != other for other, _ in known):
            known.append((expr, self.phase))
        phase = next(phase for other, phase in known if other == expr)
        index = [other for other, of in known if of == phase].index(expr)
        name, shown = f"{self.letter}_{label}", script
        if index:
            name, shown = f"{name}{index + 1}", f"{shown},{index + 1}"
        if phase != known[0][1]:
            name, shown = f"{name}_{phase}", rf"{shown},\text{{{phase.replace('_', ' ')}}}"
        base, _, index_of_letter = self.letter.partition("_")
        return name, f"{base}_{{{index_of_letter}{',' if index_of_letter else ''}{shown}}}"


def _merged(found: list[Part]) -> Iterator[Part]:
    """Parts of one name in one place as one part, counted."""
    seen: dict[tuple[str, Expr], Part] = {}
    for part in found:
        key = (part.name, part.scale)
        if key in seen and seen[key].expr == part.expr:
            before = seen[key]
            seen[key] = Part(
                part.name,
                part.latex,
                part.what,
                part.expr,
                before.count + part.count,
                part.scale,
                part.repeats,
                part.children,
                part.row,
            )
        else:
            seen[key if key not in seen else (f"{part.name}@{len(seen)}", part.scale)] = part
    yield from seen.values()


def _script(label: str) -> str:
    return rf"\text{{{label.replace('_', ' ')}}}"


def _plain(latex: str) -> str:
    """A LaTeX symbol as plain letters: `\\text{attn}` is attn."""
    return re.sub(r"\\[a-z]+|[{}^_',\s]", "", latex) or "part"
