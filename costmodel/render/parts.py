"""How the parts of a quantity stand in a formula: C = b · (L · (C_attn + C_ffn) + C_unembedding), then each part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

from sympy import Expr, Symbol

from costmodel.algebra import Num, Prod, Sum, Sym, Tree, tree
from costmodel.hierarchy import Part
from costmodel.symbols import LEGIBLE_BITS, ONE, batch_size, expanded, put_in


def _legible(expr: Expr, values: Mapping[Symbol, Expr]) -> Expr:
    """The expression with values put in, and into those too."""
    return put_in(put_in(expr, values, LEGIBLE_BITS), values, LEGIBLE_BITS)


@dataclass(frozen=True, eq=False)
class Standing:
    """What is put in for symbols: `settled` in formulas, `values` in figures; and the order of names."""

    settled: Mapping[Symbol, Expr]
    values: Mapping[Symbol, Expr]
    order: Mapping[str, int]

    def settle(self, expr: Expr) -> Expr:
        return _legible(expr, self.settled)

    def figure(self, expr: Expr) -> Expr:
        return _legible(expr, self.values)

    def factored(self, root: Part) -> bool:
        """Whether every part grows with the batch alone in front, so that it stands before the bracket."""
        return bool(root.children) and all(
            batch_size not in expanded(self.settle(part.expr) / batch_size).free_symbols
            for part in everything(root)
            if not part.children
        )

    def formula(self, part: Part, factored: bool) -> Expr:
        """One turn of a part in the dims' symbols; of one sequence where the batch stands before the bracket."""
        expr = self.settle(part.expr)
        return expanded(expr / batch_size) if factored else expr

    def value(self, part: Part, factored: bool) -> Expr:
        """The same with the dims' values."""
        expr = self.figure(part.expr)
        return expanded(expr / batch_size) if factored else expr

    def assembly(self, part: Part, factored: bool) -> Tree:
        """`batch_size · (num_layers · (C_attn + C_ffn) + C_unemb)`, in the order of the graph."""
        terms: list[tuple[Expr, list[Tree]]] = []
        for child in part.children:
            name: Tree = Sym(child.name)
            if child.count > 1:
                name = Prod((Num(Fraction(child.count)), name))
            scale = self.settle(child.scale)
            known = next((inner for other, inner in terms if other == scale and scale != ONE), None)
            if known is not None:
                known.append(name)
            else:
                terms.append((scale, [name]))
        trees = [self._scaled(scale, inner) for scale, inner in terms]
        whole: Tree = Sum(tuple((False, t) for t in trees)) if len(trees) > 1 else trees[0]
        if not factored:
            return whole
        return Prod((Sym("batch_size"), *(whole.factors if isinstance(whole, Prod) else (whole,))))

    def _scaled(self, scale: Expr, inner: list[Tree]) -> Tree:
        bracket: Tree = Sum(tuple((False, t) for t in inner)) if len(inner) > 1 else inner[0]
        if scale == ONE:
            return bracket
        return Prod((tree(scale, self.order), *(bracket.factors if isinstance(bracket, Prod) else (bracket,))))


def definitions(root: Part) -> Iterator[Part]:
    """The parts to be defined, each once, from the top down."""
    seen: set[str] = set()
    open_ = list(root.children)
    while open_:
        part = open_.pop(0)
        if part.name in seen:
            continue
        seen.add(part.name)
        yield part
        if not is_flat(part):
            open_ = [*part.children, *open_]


def is_flat(part: Part) -> bool:
    """Whether it is made of operations alone."""
    return all(not child.children for child in part.children)


def everything(part: Part) -> Iterator[Part]:
    """A part and all that it is made of."""
    yield part
    for child in part.children:
        yield from everything(child)
