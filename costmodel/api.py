"""The library: load a spec, ask for costs and crossovers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from functools import cached_property
from typing import Any

import networkx as nx
from sympy import Expr, Symbol

from costmodel import crossover as answers
from costmodel.check import CheckResult, check_compiled
from costmodel.comparison import UNKNOWNS, Column, Comparison
from costmodel.compile import TIMINGS, Compiled, Run, compile_source, compile_spec, one_of, with_free, with_sets
from costmodel.device import Device, find_device
from costmodel.figures import as_float, figure_fault
from costmodel.names import near_help, nearest
from costmodel.quantities import Quantities
from costmodel.quantity_names import QUANTITIES
from costmodel.render.comparison import ComparisonAnswer
from costmodel.render.crossover import CrossoverAnswer
from costmodel.render.evaluation import Evaluation
from costmodel.render.latex import latex
from costmodel.render.numbers import decimal
from costmodel.render.page import WIDTH
from costmodel.render.sensitivity import SensitivityAnswer
from costmodel.render.sweep import SweepTable
from costmodel.render.words import symbols
from costmodel.sensitivity import sensitivity
from costmodel.source import Diagnostic, Source, SpecError
from costmodel.sweep.ranges import OF_DEVICE, of_values
from costmodel.symbols import REQUEST, WORKLOAD, symbol


def load(spec: str) -> Model:
    """A model from a path or the name of a shipped spec, either with `:VARIANT` behind it.

    Raises:
        SpecError: there is no such spec, or it has faults; `diagnostics` say which.

    Example:
        >>> load("llama-3.1:8b").cost().params
        8030261248
    """
    return Model(compile_spec(spec))


def parse(text: str, variant: str | None = None) -> Model:
    """A model from a spec's text.

    Raises:
        SpecError: it has faults.
    """
    return Model(compile_source(Source("<string>", text), "<string>", variant))


@dataclass(frozen=True, eq=False, repr=False)
class Model:
    """A spec with a choice of variant, dims and dtypes."""

    compiled: Compiled

    def __repr__(self) -> str:
        return f"<Model {self.name}>"

    @property
    def name(self) -> str:
        return self.compiled.name

    @property
    def title(self) -> str:
        return self.compiled.title

    @property
    def dims(self) -> dict[str, Expr]:
        """The dims' values: figures, or expressions in the symbols that are free."""
        return self.compiled.environment.figures()

    def __getitem__(self, dim: str) -> Symbol:
        """The symbol of a dim, as it stands in formulas where the dim is free."""
        if dim not in self.compiled.program.dims and dim not in WORKLOAD:
            near = nearest(dim, [*self.compiled.program.dims, *WORKLOAD])
            raise KeyError(f"no dim {dim!r}" + (f"; {near!r} is near" if near else ""))
        return symbol(dim)

    def set(self, **values: int | str) -> Model:
        """The same model with other values: `set(num_kv_heads=1)`, `set(**{"dtype.cache": "fp8"})`."""
        return Model(with_sets(self.compiled, [f"{name}={value}" for name, value in values.items()]))

    def free(self, *dims: str) -> Model:
        """The same model with dims left as symbols; `all` frees every one."""
        return Model(with_free(self.compiled, dims))

    def cost(
        self,
        phase: str = "decode",
        *,
        graph: str | None = None,
        fidelity: str = "cache",
        masked: str = "full",
        fusion: str = "elementwise",
        new_tokens: int | None = None,
        device: str | Device | None = None,
        timing: str = "overlap",
        memory_fraction: float | Fraction = 1,
        count: int = 1,
    ) -> Cost:
        """What a pass costs, as closed forms in `batch_size`, `seq_len` and the dims that are free.

        Example:
            >>> load("llama-3.1:8b").cost(phase="decode").flops
            524288*batch_size*seq_len + 15009316864*batch_size
        """
        one_of("timing", timing, TIMINGS)
        for name, value in (("count", count), ("new_tokens", new_tokens), ("memory_fraction", memory_fraction)):
            fault = figure_fault(name, Fraction(str(value))) if value is not None else None
            if fault is not None:
                raise SpecError(Diagnostic("argument", fault))
        run = Run(phase, graph, fidelity, masked, fusion, new_tokens)
        found = self._device(device, count)
        quantities = Quantities(
            self.compiled.table(run), found, timing, Fraction(str(memory_fraction)), self.compiled.in_phase(run)
        )
        return Cost(self.compiled, quantities)

    def _device(self, device: str | Device | None, count: int) -> Device | None:
        if device is None:
            return None
        return (find_device(device, self.compiled.program) if isinstance(device, str) else device).times(count)

    def crossover(self, device: str | Device, seq_len: int | None = None, **options: Any) -> Crossover:
        """Where a pass turns compute-bound on a device; the options are those of `cost`.

        Example:
            >>> load("llama-3.1:8b").crossover(device="h100-nvl", seq_len=256).optimal_batch_size
            433
        """
        cost = self.cost(device=device, **options)
        point = _point(self.compiled, {"seq_len": seq_len} if seq_len is not None else {})
        cost.quantities.check_point(point)
        return Crossover(cost.quantities, point, self.compiled)

    def sensitivity(self, of: str = "latency", device: str | Device | None = None, **options: Any) -> SensitivityAnswer:
        """What a quantity follows: each parameter's elasticity, and what 10 % more of it changes, exactly.

        The options are those of `cost` and the workload's figures: `batch_size=32, seq_len=8192`.

        Raises:
            SpecError: there is no such quantity, it needs a device, or a figure that decides between two branches.

        Example:
            >>> load("llama-3.1:8b").sensitivity("bytes", batch_size=1, seq_len=8192)["dtype.cache"].elasticity.expr
            8*batch_size*dtype.cache*seq_len/(8*batch_size*dtype.cache*seq_len + 1960513)
        """
        one_of("quantity", of, QUANTITIES)
        column = _column(self, device, options)
        if QUANTITIES[of].device and column.quantities.device is None:
            raise SpecError(Diagnostic("device", f"`{of}` needs a device", help='device="h100-sxm"'))
        found = sensitivity(self.compiled, column.run, column.quantities, of, column.point)
        return SensitivityAnswer(self.compiled, column.quantities, column.point, found)

    def sweep(
        self,
        device: str | Device | Iterable[str | Device] | None = None,
        quantities: str | Iterable[str] = (),
        where: str | Iterable[str] = (),
        **options: Any,
    ) -> SweepTable:
        """Quantities over a grid, in memory: `batch_size=range(1, 513), seq_len=[1024, 8192], num_kv_heads=[1, 8]`.

        Whatever has figures varies: workload, dims, `**{"dtype.cache": ["bf16", "fp8"], "device.bandwidth": [...]}` (in
        the base unit). The other options are those of `cost`. Rows of which `where` does not hold are left out. The
        command `sweep` writes what does not fit in memory to a file.

        Raises:
            SpecError: a quantity stays open, a name is unknown, or there are more than 10^8 points.

        Example:
            >>> load("llama-3.1:8b").sweep("h100-nvl", ["bytes"], batch_size=[1, 2], seq_len=8192)["bytes"].tolist()
            [17134264320, 18208006144]
        """
        from costmodel.sweep.compute import columns_of
        from costmodel.sweep.plan import Question, Varied, conditions_of, plan

        axes, varied = [], []
        for name, values in options.items():
            if name in (*WORKLOAD, *REQUEST, *OF_DEVICE):
                axes.append(of_values(name, values, name))
            elif name not in _OPTIONS:
                several = (values,) if isinstance(values, str | int) else tuple(values)
                varied.append(Varied(name, tuple(map(str, several))))
        run = Run(**{n: v for n, v in options.items() if n in _OF_A_RUN and n != "new_tokens"})
        timing = options.get("timing", "overlap")
        one_of("timing", timing, TIMINGS)
        one_device = isinstance(device, str | Device)
        question = Question(
            (self.compiled,),
            () if device is None else (device,) if one_device else tuple(device),  # type: ignore[arg-type]
            run,
            timing,
            Fraction(str(options.get("memory_fraction", 1))),
            options.get("count", 1),
            tuple(varied),
            tuple(axes),
            (quantities,) if isinstance(quantities, str) else tuple(quantities),
            conditions_of([where] if isinstance(where, str) else where) if where else (),
        )
        found = plan(question)
        arrays, odd = columns_of(found)
        return SweepTable(arrays, {c.name: c.unit for c in found.columns if c.unit}, (*found.notes, *odd))

    def graph(self, phase: str = "decode", graph: str | None = None) -> nx.MultiDiGraph:
        """The dataflow graph: operations as nodes, tensors with symbolic shapes on the edges."""
        return self.compiled.dataflow(Run(phase, graph)).network

    def check(self) -> CheckResult:
        """Shapes in every phase and variant, and every `expect`."""
        return check_compiled(self.compiled)


def compare(
    *models: str | Model,
    device: str | Device | Iterable[str | Device] | None = None,
    of: str | Iterable[str] = (),
    break_even: str | Iterable[str] = (),
    **options: Any,
) -> ComparisonAnswer:
    """Models side by side, each on every device that is named: values, ratios, and which is better where.

    `of` are the quantities to be better at, `break_even` the dims along which; the options are those of `Model.cost`
    and the workload's figures.

    Raises:
        SpecError: a model cannot be read, or lacks the phase; a name is unknown; there are not two columns.

    Example:
        >>> compare("llama-2:7b", "llama-3.1:8b", of="bytes").break_evens[0].crossings[0].found.expr
        19712/(3*batch_size)
    """
    names = (of,) if isinstance(of, str) else tuple(of)
    along = (break_even,) if isinstance(break_even, str) else tuple(break_even)
    for name in names:
        one_of("quantity", name, QUANTITIES)
    for name in along:
        one_of("dim to break even along", name, UNKNOWNS)
    devices = (device,) if device is None or isinstance(device, str | Device) else tuple(device)
    loaded = [load(model) if isinstance(model, str) else model for model in models]
    columns = tuple(_column(model, one, options) for model in loaded for one in devices)
    if len(columns) < 2:
        raise SpecError(Diagnostic("argument", "there is one column, and nothing to compare it with"))
    return ComparisonAnswer(Comparison(columns, names, along))


_OF_A_RUN = tuple(field.name for field in fields(Run))
_OPTIONS = (*_OF_A_RUN, "timing", "memory_fraction", "count")


def _column(model: Model, device: str | Device | None, options: Mapping[str, Any]) -> Column:
    """A model on a device; what is no option of `Model.cost` is a figure."""
    point = _point(model.compiled, {name: value for name, value in options.items() if name not in _OPTIONS})
    cost = model.cost(device=device, **{name: options[name] for name in _OPTIONS if name in options})
    cost.quantities.check_point(point)
    model.compiled.check_dims(cost.quantities.table.dataflow, point)
    run = Run(**{name: options[name] for name in _OF_A_RUN if name in options})
    return Column(model.compiled, run, cost.quantities, point)


@dataclass(frozen=True, eq=False, repr=False)
class Cost:
    """A pass's quantities: each that `costmodel list quantities` names is an attribute, a SymPy expression."""

    compiled: Compiled
    quantities: Quantities

    def __repr__(self) -> str:
        table = self.quantities.table
        return f"<Cost of {self.compiled.name}, {table.dataflow.phase}, fidelity {table.fidelity}>"

    def __getattr__(self, name: str) -> Expr:
        if name not in QUANTITIES:
            near = nearest(name, QUANTITIES)
            raise AttributeError(f"no quantity {name!r}" + (f"; {near!r} is near" if near else ""))
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
        point = _point(self.compiled, figures)
        self.quantities.check_point(point)
        self.compiled.check_dims(self.quantities.table.dataflow, point)
        return Evaluated(self, point)

    def _repr_latex_(self) -> str:
        names = symbols(self.compiled, None)
        table = self.quantities.table
        return _display([f"C &= {latex(table.flops, names)}", f"M &= {latex(table.bytes, names)}"])


@dataclass(frozen=True, eq=False, repr=False)
class Crossover(answers.Crossover):
    """The answer of `Model.crossover`; printed, it says why, and in a notebook it shows its formulas."""

    compiled: Compiled

    def __repr__(self) -> str:
        return f"<Crossover of {self.compiled.name}: {self.status}, run batch {self.optimal_batch_size}>"

    def __str__(self) -> str:
        return CrossoverAnswer(self.compiled, self, []).page(WIDTH).show()

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
class Evaluated:
    """A pass's quantities at a point; printed, and in a notebook, a table of them."""

    cost: Cost
    point: Mapping[Symbol, Fraction]

    def __repr__(self) -> str:
        point = ", ".join(f"{s.name}={v}" for s, v in self.point.items())
        return f"<Figures of {self.cost.compiled.name} at {point}>"

    def __getattr__(self, name: str) -> int | float:
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

    def __str__(self) -> str:
        return self._evaluation.page(WIDTH).show()

    def _repr_html_(self) -> str:
        return self._evaluation.html()


def _display(lines: list[str]) -> str:
    """Lines of an aligned display, as a notebook sets it."""
    return r"$\displaystyle \begin{aligned}" + r" \\ ".join(lines) + r"\end{aligned}$"


def _point(compiled: Compiled, figures: Mapping[str, float | Fraction]) -> dict[Symbol, Fraction]:
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
