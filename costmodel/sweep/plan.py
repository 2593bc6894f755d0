"""What a sweep computes: every spec, setting and device as a case with its closed forms, over the same axes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from hashlib import sha256
from importlib.metadata import version
from itertools import product
from math import prod
from typing import Any

from sympy import Expr, Max, Symbol

from costmodel.compile import Compiled, Run, one_of, with_sets
from costmodel.conditions import Setting, measured
from costmodel.costs import CostTable
from costmodel.device import Device, find_device
from costmodel.figures import as_float
from costmodel.measures import common_dimension
from costmodel.names import prose
from costmodel.parser import parse_condition
from costmodel.points import value_at
from costmodel.provenance import digest
from costmodel.quantities import Quantities
from costmodel.quantity_names import QUANTITIES
from costmodel.solve.budget import Unsolvable
from costmodel.source import Diagnostic, Source, SpecError
from costmodel.sweep.kernel import EXACT_FLOAT, EXACT_INT, Program, Tabulated, Unsupported, Values, compile_forms
from costmodel.sweep.long_range import FEW, Held, check_alike
from costmodel.sweep.ranges import OF_DEVICE, Axis
from costmodel.symbols import REQUEST, WORKLOAD, ZERO, batch_size, new_tokens, put_in, rational, seq_len, symbol
from costmodel.units import PLAIN, Dimension

MOST_CASES = 100_000
MOST_SOLVED = 20_000
CHUNK = 1 << 20
_WIDE = 12

GREATEST = frozenset({"throughput", "intensity", "max_batch_size", "expected_tokens"})
"""The quantities of which more is better; of all others less is."""


@dataclass(frozen=True)
class Column:
    """A column of the result: text, whole numbers or floats, in a unit (empty for text and plain numbers)."""

    name: str
    kind: str
    unit: str = ""


@dataclass(frozen=True)
class Pick:
    """Which rows are kept: the best `most` by one quantity, or those that none beats in all (`most` is None).

    `by` are names of columns, each with whether more of it is better.
    """

    by: tuple[tuple[str, bool], ...]
    most: int | None = None


@dataclass(frozen=True)
class Varied:
    """A dim of the spec, or a dtype's role, and its values as they would be written behind --set."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Question:
    """What is asked. `of` is empty for every quantity that has a figure everywhere.

    With `free_long` a dim of many values is an axis where it can be free, and else compiled for each of them.
    """

    specs: tuple[Compiled, ...]
    devices: tuple[str | Device, ...] = ()
    run: Run = Run()
    timing: str = "overlap"
    memory_fraction: Fraction = Fraction(1)
    count: int = 1
    varied: tuple[Varied, ...] = ()
    axes: tuple[Axis, ...] = ()
    of: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    pick: Pick | None = None
    chunk: int | None = None
    free_long: bool = True

    @property
    def long(self) -> Varied | None:
        """The dim with the most values, where these are many."""
        dims = [v for v in self.varied if not v.name.startswith("dtype.")]
        most = max(dims, key=lambda v: len(v.values), default=None)
        return most if most is not None and len(most.values) > FEW else None


@dataclass(frozen=True)
class Case:
    """One combination of what is compiled anew: its labels by column, and a program.

    The program's outputs are the quantities, then two sides a condition, then the dims that must be whole.
    """

    labels: tuple[str | int, ...]
    program: Program
    relations: tuple[str, ...] = ()
    wholes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """A sweep, ready to be computed part by part; plain data, which another process can be sent."""

    labels: tuple[Column, ...]
    axes: tuple[Axis, ...]
    quantities: tuple[Column, ...]
    careful: tuple[bool, ...]
    cases: tuple[Case, ...]
    pick: Pick | None
    chunk: int
    about: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[Column, ...]:
        axes = tuple(Column(a.name, "int" if a.whole else "float", _unit(_dimension(a.name))) for a in self.axes)
        return (*self.labels, *axes, *self.quantities)

    @property
    def points_a_case(self) -> int:
        return prod(len(axis) for axis in self.axes)

    @property
    def points(self) -> int:
        return self.points_a_case * len(self.cases)

    @property
    def parts(self) -> int:
        """Into how many parts the work is cut: some blocks of one case, or several cases whole."""
        if self.points_a_case > self.chunk:
            return len(self.cases) * self._blocks_a_case
        return -(-len(self.cases) // self._cases_a_part)

    @property
    def _cases_a_part(self) -> int:
        return max(1, self.chunk // self.points_a_case)

    @property
    def _cut(self) -> tuple[int, int]:
        """The axis that blocks cut, and how many of its figures a block has."""
        inner = 1
        for i in reversed(range(len(self.axes))):
            if inner * len(self.axes[i]) > self.chunk:
                return i, max(1, self.chunk // inner)
            inner *= len(self.axes[i])
        raise AssertionError("a case is one block")

    @property
    def _blocks_a_case(self) -> int:
        axis, step = self._cut
        return prod(len(a) for a in self.axes[:axis]) * -(-len(self.axes[axis]) // step)

    def blocks(self, part: int) -> Iterator[tuple[Case, tuple[range, ...]]]:
        """What a part is made of: cases, each with the stretch of every axis."""
        if self.points_a_case <= self.chunk:
            first = part * self._cases_a_part
            for case in self.cases[first : first + self._cases_a_part]:
                yield case, tuple(range(len(axis)) for axis in self.axes)
            return
        number, rest = divmod(part, self._blocks_a_case)
        cut, step = self._cut
        size = len(self.axes[cut])
        rest, block = divmod(rest, -(-size // step))
        outer = []
        for axis in reversed(self.axes[:cut]):
            rest, i = divmod(rest, len(axis))
            outer.append(range(i, i + 1))
        middle = range(block * step, min(size, (block + 1) * step))
        inner = (range(len(axis)) for axis in self.axes[cut + 1 :])
        yield self.cases[number], (*reversed(outer), middle, *inner)

    def values(self, stretches: Sequence[range]) -> list[Values]:
        """The figures of a block's axes."""
        return [a.figures[s.start : s.stop] for a, s in zip(self.axes, stretches, strict=True)]

    @property
    def digest(self) -> str:
        """Equal for two plans that give the same bytes."""
        told = (self.columns, self.axes, self.careful, self.pick, self.chunk)
        found = sha256(repr((told, sorted(self.about.items()))).encode())
        for case in self.cases:
            found.update(repr(case).encode())
        return found.hexdigest()


class _BatchByCase(Exception):
    """A quantity has a closed form only where the batch size has a figure."""


class _TokensByCase(Exception):
    """An `if` asks for the number of new tokens."""


def plan(question: Question) -> Plan:
    """Compile every case of a question.

    Raises:
        SpecError: a case cannot be compiled, a quantity stays open, a column would have two meanings.
    """
    _check_names(question)
    note = ""
    if question.free_long and (long := question.long) is not None:
        try:
            found = _Planner(_with_axis(question, long), (), long).plan()
            note = f"{long.name} is left free, and compiled once for its {len(long.values):,} values"
            return replace(found, notes=(note, *found.notes))
        except _BatchByCase:
            why = "a quantity has a closed form only where the batch size has a figure"
        except _TokensByCase:
            why = "an `if` asks for the number of new tokens"
        except Held as held:
            why = str(held)
        note = f"{long.name} is compiled for each of its {len(long.values):,} values: {why}"
    found = _compiled_each(question)
    return replace(found, notes=(note, *found.notes)) if note else found


def _with_axis(question: Question, long: Varied) -> Question:
    """The question with a dim as the first axis.

    Raises:
        Held: its values are no figures, or 0.
    """
    if not all(value.isdigit() and int(value) > 0 for value in long.values):
        raise Held("not all of them are whole numbers of 1 or more")
    axis = Axis(long.name, tuple(Fraction(value) for value in long.values))
    others = tuple(v for v in question.varied if v is not long)
    return replace(question, varied=others, axes=(axis, *question.axes))


def _compiled_each(question: Question) -> Plan:
    outer: tuple[Axis, ...] = ()
    while True:
        try:
            return _Planner(question, outer).plan()
        except (_BatchByCase, _TokensByCase) as needed:
            wanted = "batch_size" if isinstance(needed, _BatchByCase) else "new_tokens"
            axis = next(axis for axis in question.axes if axis.name == wanted)
            outer = (*outer, axis)
            question = replace(question, axes=tuple(a for a in question.axes if a is not axis))


def _check_names(question: Question) -> None:
    for name in question.of:
        one_of("quantity", name, QUANTITIES)
    for name in dict(question.pick.by) if question.pick else ():
        one_of("quantity", name, QUANTITIES)
    names = ["spec", "device", *(v.name for v in question.varied), *(a.name for a in question.axes)]
    for i, name in enumerate(names):
        what = "a quantity" if name in QUANTITIES else None
        what = "what varies already" if name in names[:i] else what
        if what is not None:
            raise SpecError(Diagnostic("argument", f"column `{name}` has two meanings: it is {what}, and varies"))
    if any(axis.name in OF_DEVICE for axis in question.axes) and not question.devices:
        raise SpecError(Diagnostic("device", "a device's figures vary of a device", help="--device h100-sxm"))


@dataclass
class _Planner:
    """`free` is the dim that is an axis."""

    question: Question
    outer: tuple[Axis, ...]
    free: Varied | None = None
    files: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def plan(self) -> Plan:
        q = self.question
        # a long range stands last, as an axis would
        long = (q.long,) if q.long is not None else ()
        few = [v for v in q.varied if v not in long]
        combinations = list(product(*(v.values for v in few)))
        outer = list(product(*(tuple(map(Fraction, axis.figures)) for axis in self.outer)))
        last = list(product(*(v.values for v in long)))
        count = len(q.specs) * len(combinations) * len(outer) * len(last) * max(1, len(q.devices))
        if count > MOST_CASES:
            message = f"{count:,} cases would be compiled one by one: at most {MOST_CASES:,} are possible"
            raise SpecError(Diagnostic("limit", message, facts=("specs, devices, dims and dtypes make cases",)))
        exprs, labels = [], []
        for spec in q.specs:
            for values in combinations:
                known: dict[tuple[str, ...], Compiled] = {}
                for device, given, end in product(q.devices or (None,), outer, last):
                    sets = [f"{v.name}={value}" for v, value in zip((*few, *long), (*values, *end), strict=True)]
                    if end not in known:
                        known[end] = with_sets(spec, sets, "--vary")
                    compiled = known[end]
                    figures = dict(zip((axis.name for axis in self.outer), given, strict=True))
                    with _of_case(spec.name, sets, len(q.specs) > 1 or bool(sets)):
                        exprs.append(
                            self._found(compiled, device, figures)
                            if self.free is None
                            else self._freed(compiled, device, self.free)
                        )
                    name = (device if isinstance(device, str) else device.name,) if device is not None else ()
                    labels.append((spec.name, *map(_label, values), *name, *(int(v) for v in given), *map(_label, end)))
        names = self._names(exprs)
        return self._plan(exprs, labels, names, few, long)

    def _found(self, compiled: Compiled, device: str | Device | None, figures: Mapping[str, Fraction]) -> _Found:
        forms = _Forms(self.question, compiled, device, figures)
        self.files |= forms.files()
        return forms.all(self._wanted)

    def _freed(self, compiled: Compiled, device: str | Device | None, free: Varied) -> _Found:
        """The closed forms with a dim free, if they are those of each of its values.

        Raises:
            Held: they are not, or a value is not possible.
        """
        values = [int(value) for value in free.values]
        freed = compiled.freed([free.name])
        try:
            found = self._found(freed, device, {})
            for value in dict.fromkeys((min(values), max(values))):
                closed = self._found(with_sets(compiled, [f"{free.name}={value}"], "--vary"), device, {})
                self._compare(found, closed, free.name, value)
            check_alike(compiled, freed, free.name, values)
        except SpecError as error:
            # told of the value that it is of, when that is compiled
            raise Held(error.diagnostics[0].message) from None
        return found

    def _compare(self, freed: _Found, closed: _Found, name: str, value: int) -> None:
        """Whether the same can be told of a value with the dim free: forms of the same kind, figures as whole.

        Raises:
            Held: it cannot.
        """
        if freed.forms.keys() != closed.forms.keys():
            raise Held("other quantities have a closed form then")
        dim, axes = symbol(name), [symbol(axis.name) for axis in self.question.axes]
        ranges = [(Fraction(value), Fraction(value)), *((axis.least, axis.most) for axis in self.question.axes[1:])]
        for quantity, form in freed.forms.items():
            other = closed.forms[quantity]
            if isinstance(form, Tabulated) or isinstance(other, Tabulated):
                raise Held(f"{quantity} is solved point by point")
            kinds = [_kind([compile_forms([expr], axes)], 0, ranges) for expr in (form, other)]
            if dim in form.free_symbols and kinds[0] != kinds[1]:
                raise Held(f"{quantity} is not seen to be whole with it free")

    @property
    def _wanted(self) -> tuple[str, ...]:
        q = self.question
        picked = [name for name, _ in q.pick.by] if q.pick else []
        return tuple(dict.fromkeys((*q.of, *picked))) if q.of else ()

    def _names(self, found: Sequence[_Found]) -> tuple[str, ...]:
        """The quantities that are given: those asked for, or those that every case has."""
        if self._wanted:
            return self._wanted
        common = [name for name in QUANTITIES if all(name in case.forms for case in found)]
        picked = [name for name, _ in self.question.pick.by] if self.question.pick else []
        for name in picked:
            if name not in common:
                raise SpecError(Diagnostic("open", f"`{name}` has no figure in every case", help=f"--of {name}"))
        left = [name for name in QUANTITIES if name not in common and any(name in case.forms for case in found)]
        if left:
            self.notes.append(f"left out: {prose(left)}, which some cases do not have")
        if not common:
            raise SpecError(Diagnostic("open", "no quantity has a figure everywhere", help="--seq-len 1024:131072:*2"))
        return tuple(common)

    def _plan(
        self,
        found: Sequence[_Found],
        labels: Sequence[tuple[str | int, ...]],
        names: Sequence[str],
        few: Sequence[Varied],
        long: Sequence[Varied],
    ) -> Plan:
        q = self.question
        axes, symbols = q.axes, [symbol(axis.name) for axis in q.axes]
        cases = []
        for case, label in zip(found, labels, strict=True):
            forms = [case.forms[name] for name in names]
            sides = [side for pair in case.sides for side in pair]
            program = compile_forms([*forms, *sides, *case.wholes.values()], symbols)
            cases.append(Case(label, program, case.relations, tuple(case.wholes)))
        ranges = [(axis.least, axis.most) for axis in axes]
        kinds = [_kind([case.program for case in cases], k, ranges) for k in range(len(names))]
        columns = []
        for name, (kind, rounded) in zip(names, kinds, strict=True):
            columns.append(Column(name, kind, _unit(QUANTITIES[name].dimension)))
            if rounded:
                self.notes.append(f"{name} may exceed 2^63: whole numbers are given as the nearest floats")
        varied, last = ([_column(v) for v in some] for some in (few, long))
        device = [Column("device", "text")] if q.devices else []
        outer = [Column(axis.name, "int") for axis in self.outer]
        return Plan(
            (Column("spec", "text"), *varied, *device, *outer, *last),
            axes,
            tuple(columns),
            tuple(bool(QUANTITIES[name].request) for name in names),
            tuple(cases),
            q.pick,
            q.chunk or (CHUNK if len(columns) <= _WIDE else CHUNK // 4),
            {
                "version": version("costmodel"),
                "run": str(q.run),
                "timing": q.timing,
                "where": list(q.where),
                "files": dict(sorted(self.files.items())),
                "units": {c.name: c.unit for c in columns if c.unit},
            },
            tuple(dict.fromkeys(self.notes)),
        )


def _column(varied: Varied) -> Column:
    return Column(varied.name, "text" if any(not value.isdigit() for value in varied.values) else "int")


def _label(value: str) -> str | int:
    return int(value) if value.isdigit() else value


def _kind(programs: Sequence[Program], output: int, ranges: Sequence[tuple[Fraction, Fraction]]) -> tuple[str, bool]:
    """`int` or `float`; and whether it is whole but beyond 64 bits.

    Up to 2^53 whole numbers are computed in floats, which are exact there, up to 2^63 in integers.
    """
    whole, size = True, Fraction(0)
    for program in programs:
        place = program.outputs[output]
        bound = program.bound(place, ranges)
        if not program.whole(place):
            return "float", False
        whole = whole and bound is not None
        size = max(size, bound or Fraction(0))
    return ("int", False) if whole and size < EXACT_INT else ("float", size >= EXACT_FLOAT)


class _of_case:
    """What is wrong within is said of this case, where there are several."""

    def __init__(self, spec: str, sets: Sequence[str], several: bool) -> None:
        self.what = " ".join((spec, *sets)) if several else ""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, SpecError) and self.what:
            told = [replace(d, facts=(*d.facts, f"asked of {self.what}")) for d in error.diagnostics]
            raise SpecError(told, error.unchecked) from None


@dataclass(frozen=True)
class _Found:
    """The closed forms of a case."""

    forms: dict[str, Expr | Tabulated]
    sides: tuple[tuple[Expr, Expr], ...]
    relations: tuple[str, ...]
    wholes: dict[str, Expr]


@dataclass
class _Forms:
    """The closed forms of one case."""

    question: Question
    compiled: Compiled
    device_named: str | Device | None
    figures: Mapping[str, Fraction]

    def __post_init__(self) -> None:
        q = self.question
        self.axes = {symbol(axis.name): axis for axis in q.axes}
        self.put = {symbol(n): rational(Fraction(v)) for n, v in self.figures.items() if n != "new_tokens"}
        self.run = self._run()
        self.device = self._device()
        table = self.compiled.table(self.run)
        if new_tokens in self.axes and new_tokens in table.dataflow.decided and len(self.axes[new_tokens]) > 1:
            raise _TokensByCase
        self.quantities = Quantities(table, self.device, q.timing, q.memory_fraction, self.compiled.in_phase(self.run))
        self._check(table)

    def files(self) -> dict[str, str]:
        """The files that the forms were made from, with digests of their texts."""
        sources = [*self.compiled.program.files, *([] if self.device is None else [self.device.span.source])]
        return {source.name: f"sha256:{digest(source.text.encode())}" for source in sources}

    def _run(self) -> Run:
        q = self.question
        tokens: int | Symbol | None = q.run.new_tokens
        if "new_tokens" in self.figures:
            tokens = int(self.figures["new_tokens"])
        elif new_tokens in self.axes:
            axis = self.axes[new_tokens]
            tokens = new_tokens if len(axis) > 1 else int(axis.least)
        return replace(q.run, new_tokens=tokens)

    def _device(self) -> Device | None:
        if self.device_named is None:
            return None
        named = self.device_named
        device = find_device(named, self.compiled.program) if isinstance(named, str) else named
        device = device.times(self.question.count)
        for axis in self.question.axes:
            figure = symbol(axis.name) * device.count
            if axis.name == "device.peak":
                kind = str(self.compiled.environment.dtypes["compute"])
                device = replace(device, peaks={**device.peaks, kind: figure})
            elif axis.name in OF_DEVICE:
                device = replace(device, **{axis.name.removeprefix("device."): figure})
        return device

    def _check(self, table: CostTable) -> None:
        """Whether the figures may be put in: no phase sets them, and the new tokens fit in the least context."""
        point = {s: axis.least for s, axis in self.axes.items() if s.name in ("batch_size", "seq_len")}
        point |= {s: Fraction(int(v.p), int(v.q)) for s, v in self.put.items()}
        fixed = table.put_in(new_tokens)
        if new_tokens in self.axes and fixed == new_tokens:
            # contexts too short for some of the new tokens are passed over, if they fit in any
            least = int(self.axes[new_tokens].least)
            if seq_len in self.axes and least > self.axes[seq_len].most:
                message = f"{least:,} new tokens fit in no context of up to {int(self.axes[seq_len].most):,} tokens"
                raise SpecError(Diagnostic("argument", message))
            point.pop(seq_len, None)
        self.quantities.check_point(point)

    def all(self, wanted: Sequence[str]) -> _Found:
        names = wanted or [name for name in QUANTITIES if name != "crossover"]
        forms = {}
        for name in names:
            found = self._wanted(name) if wanted else self._if_any(name)
            if found is not None:
                forms[name] = found
        sides = [self._sides(text) for text in self.question.where]
        relations = [relation for _, relation in sides]
        pairs = [pair for pair, _ in sides]
        if self.quantities.tokens == new_tokens and seq_len in self.axes:
            pairs.append((new_tokens, seq_len))
            relations.append("<=")
        return _Found(forms, tuple(pairs), tuple(relations), self._wholes())

    def _if_any(self, name: str) -> Expr | Tabulated | None:
        try:
            return self._wanted(name)
        except SpecError:
            return None

    def _wanted(self, name: str) -> Expr | Tabulated:
        """A quantity over the axes.

        Raises:
            SpecError: it needs a device, or a figure that no axis gives.
        """
        if QUANTITIES[name].device and self.device is None:
            raise SpecError(Diagnostic("device", f"`{name}` needs a device", help="--device h100-sxm"))
        expr = self._closed(name)
        if expr is None:
            return self._solved(name)
        open_ = expr.free_symbols - self.axes.keys()
        wanted = sorted(s.name for s in open_ if s.name != "step")
        if wanted:
            raise _stays_open(name, wanted[0])
        try:
            compile_forms([expr], list(self.axes))
        except Unsupported:
            if batch_size in self.axes and batch_size in expr.free_symbols:
                raise _BatchByCase from None
            return self._solved(name)
        return Max(ZERO, expr) if name == "max_batch_size" else expr

    def _closed(self, name: str) -> Expr | None:
        found = self.quantities.expr(name, self.put)
        return None if found is None else put_in(found, self.put)

    def _solved(self, name: str) -> Tabulated:
        """A quantity without a closed form, solved at every point of the axes that it depends on."""
        quantities = self.quantities
        free = set().union(*(e.free_symbols for e in (quantities.table.flops, quantities.table.bytes)))
        free |= set() if self.device is None else {symbol(name) for name in OF_DEVICE}
        free = free - {batch_size} if not QUANTITIES[name].request else free | set(map(symbol, REQUEST)) | {batch_size}
        axes = tuple(s for s in self.axes if s in free)
        count = prod(len(self.axes[s]) for s in axes)
        if count > MOST_SOLVED:
            message = f"`{name}` has no closed form here, and {count:,} points are too many to solve one by one"
            raise SpecError(Diagnostic("limit", message, facts=(f"at most {MOST_SOLVED:,} are possible",)))
        given = {s: Fraction(int(v.p), int(v.q)) for s, v in self.put.items()}
        values = []
        for point in product(*(tuple(map(Fraction, self.axes[s].figures)) for s in axes)):
            figures = {**given, **dict(zip(axes, point, strict=True))}
            try:
                value = value_at(quantities, name, figures)
            except Unsolvable as error:
                raise SpecError(Diagnostic("open", f"`{name}` cannot be solved: {error}")) from None
            values.append(float("nan") if value is None else as_float(value))
        return Tabulated(axes, tuple(len(self.axes[s]) for s in axes), tuple(values))

    def _sides(self, text: str) -> tuple[tuple[Expr, Expr], str]:
        q = self.question
        condition = parse_condition(Source("--where", text))
        if condition.relation == "~=":
            raise SpecError(Diagnostic("argument", "a sweep keeps rows by `<=` and the like, not `~=`", condition.span))
        setting = Setting(self.run, q.timing, self.device, q.memory_fraction)
        left, right = (measured(self.compiled, side, setting) for side in (condition.left, condition.right))
        common_dimension(left, right, condition.left, condition.right)
        sides = put_in(left.value, self.put), put_in(right.value, self.put)
        open_ = sorted(s.name for s in (sides[0].free_symbols | sides[1].free_symbols) - self.axes.keys())
        if open_:
            raise _stays_open(f"{text}", open_[0])
        try:
            compile_forms(sides, list(self.axes))
        except Unsupported as error:
            if batch_size in self.axes:
                raise _BatchByCase from None
            raise SpecError(Diagnostic("open", f"`{text}` has no closed form: {error}", condition.span)) from None
        return sides, condition.relation

    def _wholes(self) -> dict[str, Expr]:
        """The dims that are computed from axes, which have to be whole."""
        values = self.quantities.table.dataflow.environment.values
        found = {s.name: put_in(value, self.put) for s, value in values.items()}
        varying = {name: value for name, value in found.items() if value.free_symbols & self.axes.keys()}
        program = compile_forms(varying.values(), list(self.axes))
        places = zip(varying.items(), program.outputs, strict=True)
        return {name: value for (name, value), place in places if not program.whole(place)}


def _stays_open(what: str, name: str) -> SpecError:
    option = f"--{name.replace('_', '-')}" if name in (*WORKLOAD, *REQUEST) else f"--vary {name}="
    return SpecError(
        Diagnostic("open", f"`{what}` depends on {name}, which has no value", help=f"{option} 1024:131072:*2")
    )


def conditions_of(texts: Iterable[str]) -> tuple[str, ...]:
    """Conditions one by one: `memory <= device.memory and latency <= 20 ms` is two."""
    return tuple(part.strip() for text in texts for part in re.split(r'\band\b(?=(?:[^"]*"[^"]*")*[^"]*$)', text))


def _dimension(name: str) -> Dimension:
    return OF_DEVICE.get(name, PLAIN)


def _unit(dimension: Dimension) -> str:
    return "" if dimension == PLAIN else str(dimension)
