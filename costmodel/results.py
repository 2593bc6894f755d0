"""What the library hands out: a pass's costs, its crossover, figures, a check, a picture, a report.

Printed, each is the page that the command line shows; in a notebook it shows formulas, tables or the picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from html import escape
from pathlib import Path

from sympy import Expr, Symbol

from costmodel import crossover as answers
from costmodel.check import CheckResult
from costmodel.compile import Compiled
from costmodel.figures import as_float, figure_fault
from costmodel.files import write_whole
from costmodel.names import near_help, nearest
from costmodel.plot.draw import svg
from costmodel.plot.files import check_ending, drawn
from costmodel.plot.picture import Picture
from costmodel.quantities import Quantities
from costmodel.quantity_names import QUANTITIES
from costmodel.render.checking import checks_page
from costmodel.render.crossover import CrossoverAnswer
from costmodel.render.evaluation import Evaluation
from costmodel.render.formulas import Formulas
from costmodel.render.html import scrolled
from costmodel.render.latex import aligned, latex
from costmodel.render.mathml import display
from costmodel.render.notebook import Paged, Shown
from costmodel.render.numbers import decimal
from costmodel.render.page import Page
from costmodel.render.words import conventions, symbols
from costmodel.source import Diagnostic, SpecError
from costmodel.symbols import REQUEST, WORKLOAD, symbol

# what of a line a formula may take in a notebook, in digits
_ROOM = 80.0


@dataclass(frozen=True, eq=False, repr=False)
class Cost(Shown):
    """A pass's quantities: each that `costmodel list quantities` names is an attribute, a SymPy expression."""

    compiled: Compiled
    quantities: Quantities

    def __repr__(self) -> str:
        table = self.quantities.table
        return f"<Cost of {self.compiled.name}, {table.dataflow.phase}, fidelity {table.fidelity}>"

    def __getattr__(self, name: str) -> Expr:
        if name not in QUANTITIES:
            raise _no_quantity(name)
        if QUANTITIES[name].device and self.quantities.device is None:
            raise SpecError(Diagnostic("device", f"`{name}` needs a device", help='cost(device="h100-sxm")'))
        expr = self.quantities.expr(name)
        if expr is None:
            raise SpecError(Diagnostic("open", f"`{name}` is no single closed form; `crossover` solves for it"))
        return expr

    def evaluate(self, **figures: float | Fraction) -> Evaluated:
        """Figures at a point: `evaluate(batch_size=1, seq_len=8192).flops`.

        A whole number is an int, whatever its size; another is the nearest float.
        """
        point = point_of(self.compiled, figures)
        self.quantities.check_point(point)
        self.compiled.check_dims(self.quantities.table.dataflow, point)
        return Evaluated(self, point)

    @property
    def _formulas(self) -> Formulas:
        return Formulas(self.compiled, self.quantities, ("flops", "bytes"), {})

    def _repr_latex_(self) -> str:
        found = self._formulas
        return _display([line for name in found.exprs for line in aligned(found.equations(name))])

    def _repr_html_(self) -> str:
        found, table = self._formulas, self.quantities.table
        shown = {QUANTITIES[name].meaning: display(found.equations(name), _ROOM) for name in found.exprs}
        said = "".join(f"<p>{escape(meaning)}:</p>{scrolled(formula)}" for meaning, formula in shown.items())
        title = escape(f"{self.compiled.title}, {table.dataflow.phase}")
        counted = escape(conventions(table, self.quantities))
        return f"<p><strong>{title}</strong></p>{said}<p><small>Counted: {counted}</small></p>"


@dataclass(frozen=True, eq=False, repr=False)
class Crossover(Paged, answers.Crossover):
    """The answer of `Model.crossover`; printed, it says why, and in a notebook it shows its formulas."""

    compiled: Compiled

    def __repr__(self) -> str:
        return f"<Crossover of {self.compiled.name}: {self.status}, run batch {self.optimal_batch_size}>"

    def page(self, width: int) -> Page:
        return CrossoverAnswer(self.compiled, self, []).page(width)

    def _repr_latex_(self) -> str:
        names = symbols(self.compiled, None)
        closed, value, condition = self.batch_size.expr, self.batch_size.value, self.feasible_when
        first = latex(self.equation, names) if closed is None else f"b^* &= {latex(closed, names)}"
        lines = [first if value is None else rf"{first} \approx {decimal(value, 4).replace(chr(0x2212), '-')}"]
        if condition is not None:
            lines.append(rf"\text{{exists where }} & {latex(condition, names)}")
        if self.max_batch_size.expr is not None:
            lines.append(f"B &= {latex(self.max_batch_size.expr, names)}")
        return _display(lines)


@dataclass(frozen=True, eq=False, repr=False)
class Evaluated(Paged):
    """A pass's quantities at a point; printed, and in a notebook, a table of them."""

    cost: Cost
    point: Mapping[Symbol, Fraction]

    def __repr__(self) -> str:
        point = ", ".join(f"{s.name}={v}" for s, v in self.point.items())
        return f"<Figures of {self.cost.compiled.name} at {point}>"

    def __getattr__(self, name: str) -> int | float:
        if name not in QUANTITIES:
            raise _no_quantity(name)
        expr: Expr = getattr(self.cost, name)
        value = self.cost.quantities.figure(name, self.point)
        if value is None:
            open_ = sorted(s.name for s in expr.free_symbols if s not in self.point)
            why = f"depends on {open_[0]}, which has no value" if open_ else "has no value here"
            help = f"evaluate({open_[0]}=…)" if open_ else ""
            raise SpecError(Diagnostic("open", f"`{name}` {why}", help=help))
        if isinstance(value, Fraction) and value.denominator == 1:
            return value.numerator
        return as_float(value)

    @cached_property
    def all(self) -> dict[str, int | float]:
        """Every quantity that has a figure here."""
        found = {}
        for name in QUANTITIES:
            try:
                found[name] = getattr(self, name)
            except SpecError:
                continue
        return found

    @property
    def _evaluation(self) -> Evaluation:
        return Evaluation(self.cost.compiled, self.cost.quantities, self.point)

    def page(self, width: int) -> Page:
        return self._evaluation.page(width)


@dataclass(frozen=True, eq=False, repr=False)
class Checked(Paged, CheckResult):
    """What `check` finds of a model; `ok` says whether all holds."""

    def __repr__(self) -> str:
        return f"<Check of {self.spec}: {'ok' if self.ok else 'failed'}, {len(self.expects)} expects>"

    def page(self, width: int) -> Page:
        return checks_page([self], width)


@dataclass(frozen=True, eq=False, repr=False)
class Plot(Shown):
    """A picture; `save` writes it as SVG, PNG, or a page in which a pointer shows the figures."""

    picture: Picture

    def __repr__(self) -> str:
        return f"<Plot: {self.picture.title}>"

    def _repr_svg_(self) -> str:
        return svg(self.picture).svg

    def save(self, path: str | Path, overwrite: bool = False) -> None:
        """Write FILE.svg, FILE.png or FILE.html, the whole file or nothing.

        Raises:
            SpecError: the ending is that of no format, or the file is there or cannot be written.
        """
        check_ending(Path(path))
        _save(Path(path), drawn(self.picture, Path(path)), overwrite)


@dataclass(frozen=True, eq=False, repr=False)
class ReportPage(Shown):
    """A report, as one page of HTML with nothing beside it."""

    title: str
    html: str

    def __repr__(self) -> str:
        return f"<Report: {self.title}>"

    def _repr_html_(self) -> str:
        """A frame, so that neither page's styles reach into the other."""
        frame = 'style="width:100%;height:40em;border:0" sandbox="allow-scripts"'
        return f'<iframe {frame} srcdoc="{escape(self.html, quote=True)}"></iframe>'

    def save(self, path: str | Path, overwrite: bool = False) -> None:
        """Write the page, the whole file or nothing.

        Raises:
            SpecError: the file is there, or cannot be written.
        """
        _save(Path(path), self.html.encode(), overwrite)


def _save(path: Path, data: bytes, overwrite: bool) -> None:
    try:
        write_whole(path, data, overwrite)
    except FileExistsError:
        raise SpecError(
            Diagnostic("argument", f"{path}: there is such a file already", help="overwrite=True")
        ) from None
    except OSError as error:
        raise SpecError(Diagnostic("argument", f"{path}: {(error.strerror or 'cannot be written').lower()}")) from None


def _no_quantity(name: str) -> AttributeError:
    near = nearest(name, QUANTITIES)
    return AttributeError(f"no quantity {name!r}" + (f"; {near!r} is near" if near else ""))


def _display(lines: list[str]) -> str:
    """Lines of an aligned display, as a notebook sets it."""
    return r"$\displaystyle \begin{aligned}" + r" \\ ".join(lines) + r"\end{aligned}$"


def point_of(compiled: Compiled, figures: Mapping[str, float | Fraction]) -> dict[Symbol, Fraction]:
    """Figures by symbol; a float is the number that it is written as.

    Raises:
        SpecError: a name is no dim, or a figure none that it may have.
    """
    found: dict[Symbol, Fraction] = {}
    known = [*WORKLOAD, *REQUEST, *compiled.program.dims]
    for name, value in figures.items():
        if name not in known:
            raise SpecError(Diagnostic("unknown-name", f"there is no dim `{name}`", help=near_help(name, known)))
        number = Fraction(str(value))
        fault = figure_fault(name, number)
        if fault is not None:
            raise SpecError(Diagnostic("argument", fault))
        found[symbol(name)] = number
    return found
