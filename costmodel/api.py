"""The library: load a spec, ask for costs and crossovers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import networkx as nx
from sympy import Expr, Symbol

from costmodel.check import check_compiled
from costmodel.comparison import UNKNOWNS, Column, Comparison
from costmodel.compile import TIMINGS, Compiled, Run, compile_source, compile_spec, one_of, with_free, with_sets
from costmodel.conditions import Setting
from costmodel.device import Device, find_device
from costmodel.figures import figure_fault
from costmodel.names import nearest
from costmodel.plot.kinds import KINDS, NEED_DEVICE, contexts_of
from costmodel.plot.subject import Subject
from costmodel.quantities import Quantities
from costmodel.quantity_names import QUANTITIES
from costmodel.question import Question
from costmodel.render.comparison import ComparisonAnswer
from costmodel.render.notebook import Shown, model_html
from costmodel.render.report import Entry, Report, usual_context
from costmodel.render.search import SearchAnswer
from costmodel.render.sensitivity import SensitivityAnswer
from costmodel.render.solution import SolutionAnswer
from costmodel.render.sweep import SweepTable
from costmodel.results import Checked, Cost, Crossover, Plot, ReportPage, point_of
from costmodel.sensitivity import sensitivity
from costmodel.solve.budget import Unsolvable, budget
from costmodel.solve_for import solve_for
from costmodel.source import Diagnostic, Source, SpecError
from costmodel.sweep.ranges import OF_DEVICE, of_values
from costmodel.symbols import REQUEST, WORKLOAD, symbol

if TYPE_CHECKING:
    from costmodel.sweep.plan import Question as Grid


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
class Model(Shown):
    """A spec with a choice of variant, dims and dtypes."""

    compiled: Compiled

    def __repr__(self) -> str:
        return f"<Model {self.name}>"

    def _repr_html_(self) -> str:
        return model_html(self.compiled)

    def _repr_latex_(self) -> str | None:
        try:
            return self.cost()._repr_latex_()
        except SpecError:  # no such pass: an encoder of its own phases, a spec without a graph
            return None

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
        point = point_of(self.compiled, {"seq_len": seq_len} if seq_len is not None else {})
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
        from costmodel.sweep.plan import plan

        found = plan(_question(self.compiled, device, _several(quantities), where, options))
        arrays, odd = columns_of(found)
        return SweepTable(arrays, {c.name: c.unit for c in found.columns if c.unit}, (*found.notes, *odd))

    def search(
        self,
        device: str | Device | Iterable[str | Device] | None = None,
        minimize: str | None = None,
        maximize: str | None = None,
        where: str | Iterable[str] = (),
        **options: Any,
    ) -> SearchAnswer:
        """The best point of a grid, proved; the grid and the options are those of `sweep`.

        Raises:
            SpecError: not one quantity is to be least or greatest, or what `sweep` raises.

        Example:
            >>> grid = {"num_kv_heads": [1, 8], "batch_size": range(1, 513), "seq_len": 8192}
            >>> best = load("llama-3.1:8b").search("h100-nvl", maximize="throughput", where="latency <= 20 ms", **grid)
            >>> best.best["num_kv_heads"], best.best["batch_size"]
            (Fraction(1, 1), Fraction(464, 1))
        """
        from costmodel.sweep.plan import plan
        from costmodel.sweep.search import search

        objective = _one_objective(minimize, maximize)
        asked = _question(self.compiled, device, (objective,), where, options, in_order=True)
        return SearchAnswer(search(plan(replace(asked, free_long=False)), maximize is not None), asked.where)

    def solve(
        self,
        *conditions: str,
        unknown: str,
        maximize: str | None = None,
        minimize: str | None = None,
        device: str | Device | None = None,
        seconds: float = 10,
        **options: Any,
    ) -> SolutionAnswer:
        """For which values of a dim, or of a device's figure, conditions hold, and which is best.

        The other options are those of `cost` and the workload's figures; `seconds` is how long it may take.

        Raises:
            SpecError: a condition cannot be read, or a figure is missing.

        Example:
            >>> model = load("llama-3.1:8b")
            >>> found = model.solve("latency <= 20 ms", unknown="batch_size", device="h100-nvl", seq_len=8192)
            >>> found.solution.values.intervals[-1].high.value
            Fraction(57, 1)
        """
        if maximize and minimize:
            raise SpecError(Diagnostic("argument", "maximize and minimize exclude each other"))
        column = _column(self, device, options)
        quantities = column.quantities
        setting = Setting(column.run, quantities.timing, quantities.device, quantities.memory_fraction)
        asked = Question(self.compiled, setting, column.point, conditions, unknown, maximize, minimize)
        with budget(seconds):
            return SolutionAnswer(self.compiled, quantities, column.point, solve_for(asked))

    def plot(
        self,
        kind: str = "throughput",
        device: str | Device | Iterable[str | Device] | None = None,
        *,
        batch_size: int | tuple[int, int] | None = None,
        seq_len: int | tuple[int, int] | Sequence[int] | None = None,
        seconds: float = 10,
        **options: Any,
    ) -> Plot:
        """A picture: `throughput`, `latency`, `roofline`, `regime`, `memory` or `breakdown`.

        A list of contexts is a curve each; a pair `(1, 4096)` is the two ends of an axis. The options are those of
        `cost`.

        Raises:
            SpecError: it needs a device, or a figure; there are too many curves; matplotlib is not installed.

        Example:
            >>> load("llama-3.1:8b").plot("throughput", "h100-nvl", seq_len=[256, 8192])
            <Plot: Contexts under 544.7 tokens can saturate compute, longer ones cannot>
        """
        one_of("kind of picture", kind, KINDS)
        devices = _devices(device)
        if kind in NEED_DEVICE and devices == (None,):
            raise SpecError(Diagnostic("device", f"a picture of {kind} needs a device", help='device="h100-sxm"'))
        several = tuple(self.cost(device=one, **options).quantities for one in devices)
        batches, contexts = _ends_or_values(batch_size), _ends_or_values(seq_len)
        axes = {"batch_size": batches[0], "seq_len": contexts[0]}
        shown = contexts_of(kind, contexts[1], len(devices))
        subject = Subject(self.compiled, several, shown, batches[1], {n: e for n, e in axes.items() if e is not None})
        try:
            with budget(seconds):
                return Plot(KINDS[kind](subject))
        except Unsolvable as reason:
            raise SpecError(Diagnostic("argument", f"there is no picture of {kind} here: {reason}")) from None

    def report(
        self,
        device: str | Device | Iterable[str | Device] | None = None,
        *,
        batch_size: int | None = None,
        seq_len: int | None = None,
        seconds: float = 10,
        **options: Any,
    ) -> ReportPage:
        """One page with the verdict, formulas, tables and pictures; several devices stand side by side.

        Where the costs follow the context and none is given, it is 8,192 tokens. The options are those of `cost`.

        Raises:
            SpecError: a figure is missing, there are too many devices, or matplotlib is not installed.

        Example:
            >>> load("llama-3.1:8b").report("h100-nvl", seq_len=8192)
            <Report: Llama 3.1 8B on H100 NVL, decode at 8,192 tokens>
        """
        entries = []
        for one in _devices(device):
            column = _column(self, one, options)
            context = seq_len if seq_len is not None else usual_context(column.quantities)
            entries.append(Entry(self.compiled, column.run, column.quantities, context, batch_size, None))
        found = Report(entries, seconds)
        return ReportPage(found.title, found.html())

    def graph(self, phase: str = "decode", graph: str | None = None) -> nx.MultiDiGraph:
        """The dataflow graph: operations as nodes, tensors with symbolic shapes on the edges."""
        return self.compiled.dataflow(Run(phase, graph)).network

    def check(self) -> Checked:
        """Shapes in every phase and variant, and every `expect`."""
        return Checked(**vars(check_compiled(self.compiled)))


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
    names, along = _several(of), _several(break_even)
    for name in names:
        one_of("quantity", name, QUANTITIES)
    for name in along:
        one_of("dim to break even along", name, UNKNOWNS)
    devices = _devices(device)
    loaded = [load(model) if isinstance(model, str) else model for model in models]
    columns = tuple(_column(model, one, options) for model in loaded for one in devices)
    if len(columns) < 2:
        raise SpecError(Diagnostic("argument", "there is one column, and nothing to compare it with"))
    return ComparisonAnswer(Comparison(columns, names, along))


def _several(names: str | Iterable[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _devices(device: str | Device | Iterable[str | Device] | None) -> tuple[str | Device | None, ...]:
    return (device,) if device is None or isinstance(device, str | Device) else tuple(device)


def _one_objective(minimize: str | None, maximize: str | None) -> str:
    if (minimize is None) == (maximize is None):
        message = "a search is for the least or the greatest of one quantity"
        raise SpecError(Diagnostic("argument", message, help='minimize="latency"'))
    return one_of("quantity", minimize or maximize or "", QUANTITIES)


def _ends_or_values(
    given: int | tuple[int, int] | Sequence[int] | None,
) -> tuple[tuple[int, int] | None, tuple[int, ...]]:
    """The two ends of an axis, or values."""
    if isinstance(given, tuple) and len(given) == 2:
        return given, ()
    return None, () if given is None else (given,) if isinstance(given, int) else tuple(given)


def _question(
    compiled: Compiled,
    device: str | Device | Iterable[str | Device] | None,
    wanted: tuple[str, ...],
    where: str | Iterable[str],
    options: Mapping[str, Any],
    in_order: bool = False,
) -> Grid:
    """A grid, from whatever has several figures."""
    from costmodel.sweep.plan import Question as Grid
    from costmodel.sweep.plan import Varied, conditions_of

    axes, varied = [], []
    for name, values in options.items():
        if name in (*WORKLOAD, *REQUEST, *OF_DEVICE):
            found = of_values(name, values, name)
            axes.append(found.rising if in_order else found)
        elif name not in _OPTIONS:
            several = (values,) if isinstance(values, str | int) else tuple(values)
            varied.append(Varied(name, tuple(map(str, several))))
    run = Run(**{n: v for n, v in options.items() if n in _OF_A_RUN and n != "new_tokens"})
    timing = options.get("timing", "overlap")
    one_of("timing", timing, TIMINGS)
    return Grid(
        (compiled,),
        tuple(one for one in _devices(device) if one is not None),
        run,
        timing,
        Fraction(str(options.get("memory_fraction", 1))),
        options.get("count", 1),
        tuple(varied),
        tuple(axes),
        wanted,
        conditions_of(_several(where)),
    )


_OF_A_RUN = tuple(field.name for field in fields(Run))
_OPTIONS = (*_OF_A_RUN, "timing", "memory_fraction", "count")


def _column(model: Model, device: str | Device | None, options: Mapping[str, Any]) -> Column:
    """A model on a device; what is no option of `Model.cost` is a figure."""
    point = point_of(model.compiled, {name: value for name, value in options.items() if name not in _OPTIONS})
    cost = model.cost(device=device, **{name: options[name] for name in _OPTIONS if name in options})
    cost.quantities.check_point(point)
    model.compiled.check_dims(cost.quantities.table.dataflow, point)
    run = Run(**{name: options[name] for name in _OF_A_RUN if name in options})
    return Column(model.compiled, run, cost.quantities, point)
