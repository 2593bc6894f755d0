"""`formula`: closed forms, as a hierarchy of named parts or flat, in several formats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from sympy import Expr, Symbol

from costmodel.algebra import Frac as Ratio
from costmodel.algebra import Func, Num, Power, Prod, Series, Sum, Sym, Tree, grouped, text, tree
from costmodel.compile import Compiled
from costmodel.costs import CostTable, Row
from costmodel.figures import as_figure
from costmodel.hierarchy import Part, parts, weight_names
from costmodel.quantities import Quantities
from costmodel.quantity_names import QUANTITIES
from costmodel.render.answers import header, shown_expr
from costmodel.render.javascript import helpers, javascript
from costmodel.render.javascript import name as javascript_name
from costmodel.render.latex import Equation, Symbols, aligned, equation, latex, latex_tree, lettered
from costmodel.render.markdown import display
from costmodel.render.numbers import plain
from costmodel.render.page import Page
from costmodel.render.parts import Standing, definitions, everything, is_flat
from costmodel.render.spreadsheet import TooLong, sheet
from costmodel.render.words import conventions, order, symbols, whole_letter
from costmodel.source import Diagnostic, SpecError
from costmodel.symbols import LEGIBLE_BITS, WORKLOAD, expanded, is_number, is_zero, put_in, rational, total
from costmodel.symbols import symbol as symbol_of
from costmodel.units import PLAIN

FORMATS = ("text", "latex", "markdown", "python", "javascript", "excel", "json")

TERMS: dict[str, Callable[[CostTable], Callable[[Row], Expr]]] = {
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
        if QUANTITIES[name].request:
            return self.quantities.expr(name, self._given)
        expr = self.quantities.expr(name)
        return None if expr is None else put_in(expr, self._given, LEGIBLE_BITS)

    @cached_property
    def exprs(self) -> dict[str, Expr]:
        """The quantities that have a closed form here."""
        found = {name: self._expr(name) for name in self.wanted}
        return {name: expr for name, expr in found.items() if expr is not None}

    def hierarchy(self, name: str) -> Part | None:
        """A quantity by its parts, where it is a sum over operations."""
        if name not in TERMS or self.flat:
            return None
        return parts(self.table, TERMS[name](self.table), QUANTITIES[name].letter)

    @cached_property
    def standing(self) -> Standing:
        """The phase and the dtypes put in, the dims left as symbols."""
        environment = self.table.dataflow.environment
        settled = {**self.table.dataflow.settings, **environment.role_values, **self._given}
        return Standing(settled, {**self.table.values, **self._given}, self.order)

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
                "expr": shown_expr(self.standing.figure(part.expr)),
                "latex": latex(self.standing.settle(part.expr), self.symbols),
                "count": shown_expr(self.standing.figure(part.scale * part.count)),
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
        if name not in TERMS:
            return self.exprs[name]
        return total(row.count * TERMS[name](self.table)(row) for row in self.table.rows)

    def _hierarchy_text(self, page: Page, name: str, root: Part, expr: Expr) -> None:
        factored = self.standing.factored(root)
        width = max(len(part.name) for part in [root, *definitions(root)])
        margin = width + 2
        page.spread(f"{root.name.ljust(width)}  = {text(self.standing.assembly(root, factored))}", "", hang=margin + 2)
        page.spread(f"{'':{width}}  = {text(expr, self.order)}", "", hang=margin + 2)
        page.space()
        for part in definitions(root):
            value = self._part_value(part, factored)
            if not part.children:
                said = text(self.standing.formula(part, factored), self.order)
                page.spread(f"{part.name.ljust(width)}  {said}", value, hang=margin)
                continue
            page.spread(f"{part.name.ljust(width)}  {part.what}{self._each(part, factored)}", value, hang=margin)
            if not is_flat(part):
                page.spread(f"{'':{width}}  = {text(self.standing.assembly(part, False))}", "", hang=margin + 2)
                continue
            labels = [self._label(child) for child in part.children]
            longest = max(map(len, labels))
            for child, label in zip(part.children, labels, strict=True):
                factor = self.standing.settle(child.scale) * child.count
                formula = text(self.standing.formula(child, factored) * factor, self.order)
                figure = text(
                    self.standing.value(child, factored) * self.standing.figure(child.scale) * child.count, self.order
                )
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

    def _part_value(self, part: Part, factored: bool) -> str:
        return text(self.standing.value(part, factored), self.order)

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
        for name in self.exprs:
            out.append(f"% {self._heading(name)}")
            out += [r"\begin{align*}", " \\\\\n".join(aligned(self.equations(name))), r"\end{align*}"]
        return "\n".join(out) + "\n"

    def markdown(self) -> str:
        """The same for Markdown with KaTeX or MathJax, safe on GitHub."""
        out = []
        for name in self.exprs:
            out += [f"**{name}**{self._heading(name).removeprefix(name)}:", "", display(self.equations(name)), ""]
        out.append(f"*Counted: {conventions(self.table, self.quantities)}.*".replace("10^9", "10⁹"))
        return "\n".join(out) + "\n"

    def _heading(self, name: str) -> str:
        return f"{name}, {self.table.dataflow.phase}, fidelity {self.table.fidelity}"

    def equations(self, name: str) -> list[Equation]:
        """The sum of parts and its closed form, then each part."""
        root = self.hierarchy(name)
        shown = whole_letter(lettered(QUANTITIES[name].letter), self.compiled, self.symbols)
        if root is None or not root.children:
            return [equation(shown, latex(self.exprs[name], self.symbols))]
        found = equation(shown, self.assembled(root), latex(self.exprs[name], self.symbols))
        return [found, *self.parts(root)]

    def assembled(self, root: Part) -> str:
        """A quantity as the sum of its parts' names."""
        inner = self.symbols.also({part.name: part.latex for part in everything(root)})
        return latex_tree(self.standing.assembly(root, self.standing.factored(root)), inner)

    def parts(self, root: Part) -> list[Equation]:
        """Each part of a quantity, in the dims' symbols and in figures."""
        names, factored = self.symbols, self.standing.factored(root)
        inner = names.also({part.name: part.latex for part in everything(root)})
        found = []
        for part in definitions(root):
            value = latex(self.standing.value(part, factored), names)
            if part.children and not is_flat(part):
                body = latex_tree(self.standing.assembly(part, False), inner)
            else:
                body = latex(grouped(expanded(self.standing.formula(part, factored)), self.order), names)
            found.append(equation(part.latex, body, value))
        return found

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
                f"def {name}({', '.join(map(_argument, arguments))}):",
                f'    """{QUANTITIES[name].meaning}"""',
                f"    return {bodies[name]}",
                "",
            ]
        return "\n".join(out).rstrip() + "\n"

    # --- JavaScript

    def javascript(self) -> str:
        """A module with a function a quantity, in double precision."""
        bodies = {name: javascript(expr, self.order) for name, expr in self.exprs.items()}
        said = f"{self.compiled.title}: {conventions(self.table, self.quantities)}."
        out = [f"// {' '.join(said.split())}", *helpers(bodies.values())]
        for name, expr in self.exprs.items():
            arguments = sorted((s.name for s in expr.free_symbols), key=lambda n: (self.order.get(n, 99), n))
            shown = ", ".join(map(javascript_name, arguments))
            out += ["", f"// {QUANTITIES[name].meaning}", f"export function {name}({shown}) {{"]
            out += [f"  return {bodies[name]};", "}"]
        return "\n".join(out) + "\n"

    # --- spreadsheets

    def excel(self) -> str:
        """Cells to paste at A1: inputs that are to be changed, and a formula a quantity.

        Raises:
            SpecError: a formula is more than a cell may hold, or has a function that sheets lack.
        """
        used = set().union(*(expr.free_symbols for expr in self.exprs.values()))
        names = sorted((s.name for s in used), key=lambda n: (self.order.get(n, 99), n))
        inputs = [(name, self._usual(name), self._meaning(name)) for name in names]
        counted = f"Counted: {conventions(self.table, self.quantities, timing=self.quantities.device is not None)}"
        rows = []
        for name, expr in self.exprs.items():
            of = QUANTITIES[name]
            rows.append((name, tree(expr, self.order), "" if of.dimension == PLAIN else str(of.dimension), of.meaning))
        try:
            return sheet(f"{self.compiled.title}, {self.table.dataflow.phase}", counted, inputs, rows)
        except TooLong as fault:
            message = f"a formula is more than a cell may hold: {fault}"
            raise SpecError(Diagnostic("limit", message, help="fewer dims free, or --format python")) from None
        except TypeError as fault:
            raise SpecError(Diagnostic("argument", str(fault), help="--format python")) from None

    def _usual(self, name: str) -> Fraction:
        """What a cell begins with: the value that the spec gives, or a short context and one of all else."""
        if name in self.compiled.program.dims and name not in WORKLOAD:
            value = self.compiled.with_all_given.environment.value(symbol_of(name))
            if is_number(value):
                return as_figure(value)
        return Fraction({"seq_len": 1024, "prompt_len": 1024, "output_len": 256}.get(name, 1))

    def _meaning(self, name: str) -> str:
        dim = self.compiled.program.dims.get(name)
        return (dim.doc if dim is not None else None) or BUILT_IN_MEANINGS.get(name, "")


BUILT_IN_MEANINGS = {
    "batch_size": "sequences run together",
    "seq_len": "context length, with the new tokens in it",
    "new_tokens": "new tokens a sequence",
    "prompt_len": "tokens of a request's prompt",
    "output_len": "tokens that a request gives",
}


def escape_docstring(title: str) -> str:
    """A title that cannot end a docstring."""
    return title.replace("\\", "\\\\").replace('"', "'")


_USED_BY_PYTHON = frozenset("Fraction ceil floor max min range sum".split())


def _argument(name: str) -> str:
    """A dim's name where it would not hide a function that the formula calls."""
    return f"{name}_" if name.rstrip("_") in _USED_BY_PYTHON else name


def _python(node: Tree) -> str:
    """An expression as Python's own, with Fractions where a float would round."""
    match node:
        case Num():
            value = node.value
            return (
                str(value.numerator) if value.denominator == 1 else f"Fraction({value.numerator}, {value.denominator})"
            )
        case Sym():
            return _argument(node.name)
        case Sum():
            negative, first = node.terms[0]
            out = ("-" if negative else "") + _python_inside(first)
            for negative, term in node.terms[1:]:
                out += (" - " if negative else " + ") + _python_inside(term)
            return out
        case Prod():
            return " * ".join(_python_inside(factor) for factor in node.factors)
        case Ratio():
            return f"Fraction({_python(node.over)}) / {_python_bracketed(node.under)}"
        case Power():
            return f"{_python_bracketed(node.base)} ** {_python_bracketed(node.exponent)}"
        case Series():
            turns = f"range({_python(node.low)}, {_python(node.high)} + 1)"
            return f"sum({_python(node.body)} for {node.index} in {turns})"
        case Func(name="mod"):
            return " % ".join(map(_python_bracketed, node.arguments))
        case Func():
            return f"{node.name}({', '.join(_python(argument) for argument in node.arguments)})"
        case _:
            raise TypeError(f"{node} is no value")


def _python_inside(node: Tree) -> str:
    apart = isinstance(node, Sum) or (isinstance(node, Func) and node.name == "mod")
    return f"({_python(node)})" if apart else _python(node)


def _python_bracketed(node: Tree) -> str:
    return (
        _python(node)
        if isinstance(node, Sym)
        or (isinstance(node, Func) and node.name != "mod")
        or (isinstance(node, Num) and node.value.denominator == 1)
        else f"({_python(node)})"
    )
