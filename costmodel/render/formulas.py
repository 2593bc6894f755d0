"""`formula`: closed forms, as a hierarchy of named parts or flat, in several formats."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from sympy import Expr, Symbol

from costmodel.algebra import Frac as Ratio
from costmodel.algebra import Func, Num, Power, Prod, Series, Sum, Sym, Tree, text, tree
from costmodel.compile import Compiled
from costmodel.costs import CostTable, Row
from costmodel.figures import as_figure
from costmodel.hierarchy import Part, parts, weight_names
from costmodel.quantities import Quantities
from costmodel.quantity_names import QUANTITIES
from costmodel.render.answers import header, shown_expr
from costmodel.render.latex import Symbols, escape, latex, latex_tree
from costmodel.render.numbers import plain
from costmodel.render.page import Page
from costmodel.render.words import conventions, order, symbols
from costmodel.symbols import ONE, batch_size, is_number, is_zero, put_in, rational, total
from costmodel.symbols import symbol as symbol_of

FORMATS = ("text", "latex", "markdown", "python", "json")

_TERMS: dict[str, Callable[[CostTable], Callable[[Row], Expr]]] = {
    "params": lambda _: lambda row: row.params,
    "active_params": lambda _: lambda row: row.active_params,
    "flops": lambda table: (
        (lambda row: row.cost.matmul_flops + row.cost.vector_flops)
        if table.fidelity == "traffic"
        else (lambda row: row.cost.matmul_flops)
    ),
    "matmul_flops": lambda _: lambda row: row.cost.matmul_flops,
    "vector_flops": lambda _: lambda row: row.cost.vector_flops,
    "bytes": lambda _: lambda row: row.cost.bytes,
}


@dataclass(frozen=True, eq=False)
class Formulas:
    """Closed forms of some quantities."""

    compiled: Compiled
    quantities: Quantities
    wanted: tuple[str, ...]
    point: Mapping[Symbol, Fraction]
    flat: bool = False
    names: str | None = None

    @property
    def table(self) -> CostTable:
        return self.quantities.table

    @cached_property
    def order(self) -> dict[str, int]:
        return order(self.compiled)

    @cached_property
    def symbols(self) -> Symbols:
        return symbols(self.compiled, self.names)

    @cached_property
    def _given(self) -> dict[Symbol, Expr]:
        return {s: rational(v) for s, v in self.point.items()}

    def _expr(self, name: str) -> Expr | None:
        return self.quantities.expr(name, self._given)

    @cached_property
    def exprs(self) -> dict[str, Expr]:
        """The quantities that have a closed form here."""
        found = {name: self._expr(name) for name in self.wanted}
        return {name: expr for name, expr in found.items() if expr is not None}

    def hierarchy(self, name: str) -> Part | None:
        """A quantity by its parts, where it is a sum over operations."""
        if name not in _TERMS or self.flat:
            return None
        return parts(self.table, _TERMS[name](self.table), QUANTITIES[name].letter)

    def _settle(self, expr: Expr) -> Expr:
        """The phase and the dtypes put in, the dims left as symbols."""
        environment = self.table.dataflow.environment
        return put_in(put_in(expr, {**self.table.dataflow.settings, **environment.role_values}), self._given)

    def _figure(self, expr: Expr) -> Expr:
        return put_in(self.table.put_in(expr), self._given)

    # --- for programs

    def as_json(self) -> dict[str, Any]:
        device, timing = self.quantities.device, self.quantities.timing
        found = header(self.compiled.name, self.table, device.name if device else None, timing if device else None)
        found["quantities"] = {name: self._quantity_json(name, expr) for name, expr in self.exprs.items()}
        return found

    def _quantity_json(self, name: str, expr: Expr) -> dict[str, Any]:
        root = self.hierarchy(name)
        found: dict[str, Any] = {"expr": shown_expr(expr), "latex": latex(expr, self.symbols)}
        found["parts"] = [
            {
                "name": part.name,
                "expr": shown_expr(self._figure(part.expr)),
                "latex": latex(self._settle(part.expr), self.symbols),
                "count": shown_expr(self._figure(part.scale * part.count)),
            }
            for part in (root.children if root is not None else ())
        ]
        return found

    # --- text

    def page(self, width: int) -> Page:
        page = Page(width)
        for name, expr in self.exprs.items():
            page.text("")
            page.text(f"{name}, {self.table.dataflow.phase}", style="bold")
            root = self.hierarchy(name)
            if root is None or not root.children:
                page.text(text(expr, self.order), indent=2)
                continue
            self._hierarchy_text(page, name, root, expr)
        dims = self._dims_words()
        if dims:
            page.space()
            page.text(f"with {dims}", indent=2)
        page.counted(conventions(self.table, self.quantities, timing=self.quantities.device is not None))
        return page

    def _dims_words(self) -> str:
        used = set().union(*(self._symbolic(name).free_symbols for name in self.exprs)) if self.exprs else set()
        environment = self.table.dataflow.environment
        said = []
        for name in self.compiled.program.dims:
            value = environment.value(symbol_of(name))
            if symbol_of(name) in used and is_number(value):
                said.append(f"{name} {plain(Fraction(int(value)))}")
        return ", ".join(said)

    def _symbolic(self, name: str) -> Expr:
        if name not in _TERMS:
            return self.exprs[name]
        return total(row.count * _TERMS[name](self.table)(row) for row in self.table.rows)

    def _factored(self, root: Part) -> bool:
        """Whether every part grows with the batch alone in front, so that it stands before the bracket."""
        return bool(root.children) and all(self._per_sequence(part) is not None for part in _all_leaves(root))

    def _per_sequence(self, part: Part) -> Expr | None:
        expr = self._settle(part.expr)
        quotient = (expr / batch_size).expand()
        return None if batch_size in quotient.free_symbols else quotient

    def _assembly(self, part: Part, factored: bool) -> Tree:
        """`batch_size · (num_layers · (C_attn + C_ffn) + C_unemb)`, in the order of the graph."""
        terms: list[tuple[Expr, list[Tree]]] = []
        for child in part.children:
            name: Tree = Sym(child.name)
            if child.count > 1:
                name = Prod((Num(Fraction(child.count)), name))
            scale = self._settle(child.scale)
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

    def _definitions(self, root: Part) -> Iterator[Part]:
        """The parts to be defined, each once, from the top down."""
        seen: set[str] = set()
        open_ = list(root.children)
        while open_:
            part = open_.pop(0)
            if part.name in seen:
                continue
            seen.add(part.name)
            yield part
            if not _is_flat(part):
                open_ = [*part.children, *open_]

    def _hierarchy_text(self, page: Page, name: str, root: Part, expr: Expr) -> None:
        factored = self._factored(root)
        width = max(len(part.name) for part in [root, *self._definitions(root)])
        margin = width + 2
        page.spread(f"{root.name.ljust(width)}  = {text(self._assembly(root, factored))}", "", hang=margin + 2)
        page.spread(f"{'':{width}}  = {text(expr, self.order)}", "", hang=margin + 2)
        page.space()
        for part in self._definitions(root):
            value = self._part_value(part, factored)
            if not part.children:
                said = text(self._part_formula(part, factored), self.order)
                page.spread(f"{part.name.ljust(width)}  {said}", value, hang=margin)
                continue
            page.spread(f"{part.name.ljust(width)}  {part.what}{self._each(part, factored)}", value, hang=margin)
            if not _is_flat(part):
                page.spread(f"{'':{width}}  = {text(self._assembly(part, False))}", "", hang=margin + 2)
                continue
            labels = [self._label(child) for child in part.children]
            longest = max(map(len, labels))
            for child, label in zip(part.children, labels, strict=True):
                factor = self._settle(child.scale) * child.count
                formula = text(self._part_formula(child, factored) * factor, self.order)
                figure = text(self._figure_of(child, factored) * self._figure(child.scale) * child.count, self.order)
                page.spread(f"{'':{width}}    {label.ljust(longest)}  {formula}", figure, hang=margin + longest + 6)
        if name == "bytes":
            page.space()
            page.text(self._bytes_words(), indent=2)

    def _label(self, part: Part) -> str:
        node = part.row.node if part.row is not None else None
        return part.what if node is None else weight_names(node) or node.keyword

    def _each(self, part: Part, factored: bool) -> str:
        words = []
        if part.repeats:
            words.append("a layer" if len(part.repeats) == 1 else "a turn")
        if factored:
            words.append("token" if self.quantities.tokens == 1 else "sequence")
        return f", {' and '.join(words) if words[0].startswith('a') else 'a ' + words[0]}" if words else ""

    def _part_formula(self, part: Part, factored: bool) -> Expr:
        expr = self._settle(part.expr)
        return (expr / batch_size).expand() if factored else expr

    def _figure_of(self, part: Part, factored: bool) -> Expr:
        expr = self._figure(part.expr)
        return (expr / batch_size).expand() if factored else expr

    def _part_value(self, part: Part, factored: bool) -> str:
        return text(self._figure_of(part, factored), self.order)

    def _bytes_words(self) -> str:
        """What the bytes are made of: a value's bytes times the weights, and what a sequence keeps."""
        table = self.table
        weights, kept = table.weight_memory, put_in(table.cache_memory, self._given)
        words = f"stored: weights {text(weights, self.order)}"
        if table.bytes_a_parameter is not None:
            words += f" = {plain(as_figure(table.bytes_a_parameter))} B · params"
        return words + (f"; cache and state {text(kept, self.order)}" if not is_zero(kept) else "")

    # --- LaTeX and Markdown

    def latex(self) -> str:
        r"""Displays for a LaTeX document with amsmath."""
        out = [r"% needs only amsmath"]
        for name, expr in self.exprs.items():
            out.append(f"% {name}, {self.table.dataflow.phase}, fidelity {self.table.fidelity}")
            lines = self._display(name, expr, self.symbols)
            out.append(r"\begin{align*}")
            out.append(" \\\\\n".join(lines))
            out.append(r"\end{align*}")
        return "\n".join(out) + "\n"

    def markdown(self) -> str:
        """The same for Markdown with KaTeX or MathJax, safe on GitHub."""
        safe = Symbols({k: v.replace(r"\_", " ") for k, v in self._spaced().items()}, self.symbols.order)
        out = []
        for name, expr in self.exprs.items():
            lines = [line.replace(r" \, ", " ").replace(r"\,", " ") for line in self._display(name, expr, safe)]
            body = " \\cr\n".join(lines)
            out.append(f"**{name}**, {self.table.dataflow.phase}, fidelity {self.table.fidelity}:\n")
            out.append(f"$$\n\\begin{{aligned}}\n{body}\n\\end{{aligned}}\n$$\n")
        out.append(f"*Counted: {conventions(self.table, self.quantities)}.*".replace("10^9", "10⁹"))
        return "\n".join(out) + "\n"

    def _spaced(self) -> dict[str, str]:
        named = {n: rf"\text{{{n.replace('_', ' ')}}}" for n in self.compiled.program.dims}
        return {**named, **self.symbols.short}

    def _display(self, name: str, expr: Expr, names: Symbols) -> list[str]:
        """The lines of an aligned display: the sum of parts, its closed form, then each part."""
        root = self.hierarchy(name)
        letter = QUANTITIES[name].letter
        shown = letter if len(letter) == 1 or letter == "b^*" else _subscripted(letter)
        if root is None or not root.children:
            return [f"{shown} &= {latex(expr, names)}"]
        factored = self._factored(root)
        called = {part.name: part.latex for part in _all(root)}
        inner = Symbols({**names.short, **called}, names.order)
        lines = [f"{shown} &= {latex_tree(self._assembly(root, factored), inner)}", f"&= {latex(expr, names)}"]
        for part in self._definitions(root):
            formula, value = self._part_formula(part, factored), self._figure_of(part, factored)
            body = (
                latex_tree(self._assembly(part, False), inner)
                if part.children and not _is_flat(part)
                else latex(formula, names)
            )
            lines.append(f"{part.latex} &= {body}")
            if not is_zero(formula - value):
                lines[-1] += f" = {latex(value, names)}"
        return lines

    # --- Python

    def python(self) -> str:
        """A module with a function a quantity; exact for whole numbers."""
        out = [f'"""{escape_docstring(self.compiled.title)}: {conventions(self.table, self.quantities)}."""', ""]
        bodies = {name: _python(tree(expr, self.order)) for name, expr in self.exprs.items()}
        imports = [
            line
            for word, line in (
                ("Fraction(", "from fractions import Fraction"),
                ("ceil(", "from math import ceil"),
                ("floor(", "from math import floor"),
            )
            if any(word in body for body in bodies.values())
        ]
        out += [*sorted(imports), ""] if imports else []
        for name, expr in self.exprs.items():
            arguments = sorted((s.name for s in expr.free_symbols), key=lambda n: (self.order.get(n, 99), n))
            out += [
                "",
                f"def {name}({', '.join(arguments)}):",
                f'    """{QUANTITIES[name].meaning}"""',
                f"    return {bodies[name]}",
                "",
            ]
        return "\n".join(out).rstrip() + "\n"


def escape_docstring(title: str) -> str:
    """A title that cannot end a docstring."""
    return title.replace("\\", "\\\\").replace('"', "'")


def _subscripted(letter: str) -> str:
    base, _, index = letter.partition("_")
    return rf"{base}_{{\text{{{escape(index)}}}}}"


def _is_flat(part: Part) -> bool:
    return all(not child.children for child in part.children)


def _all(part: Part) -> Iterator[Part]:
    yield part
    for child in part.children:
        yield from _all(child)


def _all_leaves(part: Part) -> Iterator[Part]:
    for child in _all(part):
        if not child.children:
            yield child


def _python(node: Tree) -> str:
    """An expression as Python's own, with Fractions where a float would round."""
    match node:
        case Num():
            value = node.value
            return (
                str(value.numerator) if value.denominator == 1 else f"Fraction({value.numerator}, {value.denominator})"
            )
        case Sym():
            return node.name
        case Sum():
            negative, first = node.terms[0]
            out = ("-" if negative else "") + _python_inside(first)
            for negative, term in node.terms[1:]:
                out += (" - " if negative else " + ") + _python_inside(term)
            return out
        case Prod():
            return " * ".join(_python_inside(factor) for factor in node.factors)
        case Ratio():
            return f"{_python_bracketed(node.over)} / {_python_bracketed(node.under)}"
        case Power():
            return f"{_python_bracketed(node.base)} ** {_python_bracketed(node.exponent)}"
        case Series():
            turns = f"range({_python(node.low)}, {_python(node.high)} + 1)"
            return f"sum({_python(node.body)} for {node.index} in {turns})"
        case Func():
            return f"{node.name}({', '.join(_python(argument) for argument in node.arguments)})"
        case _:
            raise TypeError(f"{node} is no value")


def _python_inside(node: Tree) -> str:
    return f"({_python(node)})" if isinstance(node, Sum | Ratio) else _python(node)


def _python_bracketed(node: Tree) -> str:
    return (
        _python(node)
        if isinstance(node, Sym | Func) or (isinstance(node, Num) and node.value.denominator == 1)
        else f"({_python(node)})"
    )
