"""How a document writes dims, expressions and figures; letters for a device that no dim has already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from sympy import Expr, Symbol
from sympy.logic.boolalg import Boolean

from costmodel.algebra import tree
from costmodel.compile import Compiled
from costmodel.figures import Figure, Open, figure
from costmodel.render.document import Math
from costmodel.render.latex import Symbols, escape, inline, latex, number
from costmodel.render.numbers import decimal
from costmodel.render.words import order, symbols, whole_letter
from costmodel.symbols import WORKLOAD, put_in, rational

# what a derivation calls parts of a pass: memory, and what a pass and each of its sequences add
_OWN = frozenset(
    ("M_w", "M_c", "M_a", *(f"{letter}_{i}" for letter in "FVMK" for i in (0, 1)), "W_0", "E_{\\text{read}}")
)


@dataclass(frozen=True, eq=False)
class Notation:
    """The symbols of a spec, and the figures that are given."""

    compiled: Compiled
    point: Mapping[Symbol, Fraction]
    names: str | None = None

    @cached_property
    def order(self) -> dict[str, int]:
        return order(self.compiled)

    @cached_property
    def symbols(self) -> Symbols:
        """As `formula` has them; a dim that is written as one of the document's own letters goes by its name."""
        found = symbols(self.compiled, self.names)
        taken = (name for name in self.compiled.program.dims if found(name) in _OWN)
        return found.also({name: rf"\text{{{escape(name)}}}" for name in taken})

    @cached_property
    def _taken(self) -> frozenset[str]:
        return frozenset(map(self.symbols, (*self.compiled.program.dims, *WORKLOAD)))

    def letter(self, letter: str) -> str:
        """A letter of the document's own, with a mark where a dim has it already."""
        if letter not in self._taken:
            return letter
        base, _, script = letter.partition("_")
        return f"{base}_{{{script}d}}" if script else f"{base}_d"

    def whole(self, letter: str) -> str:
        """The letter of a pass's FLOPs C, its bytes M, or the parameters N."""
        return whole_letter(letter, self.compiled, self.symbols)

    def of(self, expr: Expr | Boolean) -> str:
        """An expression in LaTeX."""
        return latex(expr, self.symbols)

    def math(self, expr: Expr | Boolean) -> Math:
        """The same for a line of text: fractions as a/b."""
        return Math(inline(tree(expr, self.symbols.order), self.symbols))

    def at(self, expr: Expr) -> Figure | None:
        """Its figure, or None where a symbol in it is free."""
        try:
            return figure(expr, self.point)
        except (Open, ArithmeticError):
            return None

    def given(self, symbol: Symbol) -> Math:
        """`s = 8{,}192`"""
        return Math(f"{self.symbols(symbol.name)} = {number(self.point[symbol])}")

    def put_in(self, expr: Expr) -> Expr:
        """An expression with the given figures put in."""
        return put_in(expr, {symbol: rational(value) for symbol, value in self.point.items()})


def set_decimal(value: Figure, places: int) -> str:
    """A decimal in a formula, thousands separated."""
    return decimal(value, places).replace(",", "{,}").replace("−", "-")
