"""What a quantity follows: its elasticity x·Q'/Q in each parameter x, exactly, on the branch that holds at a point.

Every dim, every dtype's bytes and every figure of the device is made a symbol, with its figure beside it. Branches of
`max` and `min` are chosen at the point first and the plain expression is differentiated then; where two branches meet
there are two elasticities, to the left and to the right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property

from sympy import Expr, Mul, Symbol

from costmodel import syntax
from costmodel.compile import Compiled, Run
from costmodel.crossover import Closed
from costmodel.dtypes import DTYPE_NAMES, DType, dtype
from costmodel.figures import Figure, Open, as_figure, comparable, figure
from costmodel.names import listed
from costmodel.parameters import Opened
from costmodel.points import value_at
from costmodel.quantities import Quantities, Request
from costmodel.quantity_names import QUANTITIES
from costmodel.solve.branches import Branch, Point, branch, independent, rounded, runs, slope
from costmodel.solve.budget import Unsolvable, look_at_time
from costmodel.solve.crossover import Solved, solve
from costmodel.solve.forms import Form, form
from costmodel.solve.steps import summed_over_contexts
from costmodel.source import Diagnostic, SpecError
from costmodel.symbols import (
    ONE,
    REQUEST,
    ZERO,
    batch_size,
    fraction,
    in_lowest_terms,
    new_tokens,
    output_len,
    prompt_len,
    put_in,
    rational,
    role_bytes,
    seq_len,
    symbol,
    total,
)
from costmodel.wholes import must_be_whole, next_value, structural

TENTH = Fraction(1, 10)
_DIGITS = Fraction(1, 10**18)
_NOTHING = Fraction(0)


@dataclass(frozen=True)
class Change:
    """What a quantity becomes and by how much that is more, as a share; None where it is nothing any more."""

    reached: Figure | None
    share: Figure | None


@dataclass(frozen=True)
class Neighbour:
    """The next value that a parameter may have, with what the quantity becomes; `name` is a dtype's."""

    value: Fraction
    change: Change
    name: str = ""


@dataclass(frozen=True)
class Row:
    """A parameter, its figure, and what the quantity does when it changes.

    `elasticity` has neither form nor figure where the parameter stands under `ceil` or `floor`, and no figure where a
    symbol is free; at a kink `sides` are those to the left and to the right, and `elasticity` is empty. `change` is the
    exact one for 10 % more of the parameter. `effect` is `here`, `elsewhere` (in a branch that does not hold at this
    point), `never`, or `held` where a dim cannot be changed alone: `why` says what holds it.
    """

    name: str
    at: Fraction | None
    elasticity: Closed
    effect: str
    sides: tuple[Closed, Closed] | None = None
    change: Change | None = None
    neighbours: tuple[Neighbour, ...] = ()
    why: str = ""

    @property
    def size(self) -> Fraction:
        """How strongly the quantity follows, for the order."""
        slopes = [c.value for c in (self.elasticity, *(self.sides or ())) if c.value is not None]
        if slopes:
            return max(abs(comparable(value)) for value in slopes)
        if self.change is not None and self.change.share is not None:
            return abs(comparable(self.change.share)) / TENTH
        steps = [(n.change.share, n.value - self.at) for n in self.neighbours if self.at is not None]
        return max((abs(comparable(share) / step) * (self.at or 0) for share, step in steps if share), default=_NOTHING)


@dataclass(frozen=True)
class Sensitivity:
    """A quantity at a point with every parameter, the one it follows most first."""

    of: str
    value: Figure | None
    rows: tuple[Row, ...]

    def __getitem__(self, name: str) -> Row:
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)

    @property
    def independent(self) -> tuple[str, ...]:
        """The parameters that the quantity does not depend on at all."""
        return tuple(row.name for row in self.rows if row.effect == "never")


def sensitivity(
    compiled: Compiled, run: Run, quantities: Quantities, of: str, point: Mapping[Symbol, Fraction]
) -> Sensitivity:
    """The elasticities of a quantity at a point.

    Raises:
        SpecError: a figure is missing that decides between branches, the quantity has no value at the point, or is 0.
    """
    return _Study(compiled, run, quantities, of, point).found()


# --- the study of one quantity


class _Study:
    """A quantity of a spec in which every parameter is a symbol."""

    def __init__(
        self, compiled: Compiled, run: Run, quantities: Quantities, of: str, point: Mapping[Symbol, Fraction]
    ) -> None:
        self.of, self.point = of, point
        self.needs = QUANTITIES[of]
        self.of_request = bool(self.needs.request) and of != "expected_tokens"
        self.opened = Opened(compiled, run, quantities, ("prefill", "decode") if self.of_request else ())
        self.quantities = self.opened.quantities
        self.values = {**self.opened.figures, **point}

    @cached_property
    def parameters(self) -> list[Symbol]:
        """What may change: the workload, dims, dtypes and, where the quantity needs it, the device."""
        own = [symbol(name) for name in self.needs.request]
        if self.of == "expected_tokens":
            return own
        opened = self.opened
        if self.of_request:
            own = [batch_size, *own]
        elif self.of in ("crossover", "max_batch_size"):
            own = [s for s in opened.workload if s != batch_size]
        elif self.of not in ("params", "active_params", "weight_memory", "ridge"):
            own = opened.workload
        dtypes = [role_bytes[role] for role in opened.closed.table.dataflow.environment.roles]
        return [*own, *opened.dims, *dtypes, *(opened.of_device if self.needs.device else [])]

    @cached_property
    def asked(self) -> _Asked:
        kinds: dict[str, type[_Asked]] = {"crossover": _Crossing, "max_batch_size": _Largest}
        return kinds.get(self.of, _Request if self.of_request else _Plain)(self)

    # --- the answer

    def found(self) -> Sensitivity:
        try:
            value = self._value()
            decided = self.opened.decided
            rows = [self._decided(x, value) if x in decided else self._row(x, value) for x in self.parameters]
        except Open:
            raise self._missing() from None
        except Unsolvable as reason:
            raise SpecError(Diagnostic("unsolvable", f"`{self.of}` has no elasticities here: {reason}")) from None
        if self.needs_dims:
            at = {name: self.values.get(symbol(name)) for name in self.opened.held}
            rows += [Row(n, at[n], Closed(None, None), "held", why=why) for n, why in self.opened.held.items()]
        rows.sort(key=lambda row: -row.size)
        return Sensitivity(self.of, value, tuple(rows))

    def _value(self) -> Figure | None:
        """The quantity at the point; None where a symbol in it is free."""
        try:
            value = self.asked.at(self.values)
        except Open:
            if self.of_request:
                raise
            return None
        if value is None:
            raise self._nothing()
        if value == 0 and self.of != "max_batch_size":
            raise SpecError(Diagnostic("zero", f"`{self.of}` is 0 here, and nothing changes it by a share"))
        return value

    @property
    def needs_dims(self) -> bool:
        return self.of != "expected_tokens"

    def _nothing(self) -> SpecError:
        if self.of == "crossover":
            return SpecError(
                Diagnostic(
                    "crossover",
                    "there is no crossover here to change: the pass is bound by the same side at every batch size",
                    help=f"`costmodel crossover {self.opened.compiled.name}` says why, and where there is one",
                )
            )
        what = "nothing limits the batch" if self.of == "max_batch_size" else f"`{self.of}` has no value here"
        return SpecError(Diagnostic("open", what))

    def _missing(self) -> SpecError:
        missing = sorted(s.name for s in self.asked.symbols - set(self.values))
        return SpecError(
            Diagnostic(
                "open",
                f"which branch of `{self.of}` holds depends on {listed(missing)}, which has no value"
                if len(missing) == 1
                else f"which branch of `{self.of}` holds depends on {listed(missing)}, which have no values",
                help=" ".join(map(_option, missing)),
            )
        )

    def _row(self, x: Symbol, value: Figure | None, known: tuple[Neighbour, ...] = ()) -> Row:
        look_at_time()
        at = self.values.get(x)
        right, tied = self._slope(x, 1)
        sides = None
        if tied:
            left, _ = self._slope(x, -1)
            if left.value != right.value:
                sides, right = (left, right), Closed(None, None)
        change = self._changed(x, value)
        if sides is None and _stays(right, [change]) and self._independent(x):
            return Row(x.name, at, Closed(Fraction(0), ZERO), "never", change=Change(value, Fraction(0)))
        neighbours = known or (() if value is None or at is None else tuple(self._neighbours(x, value)))
        still = _stays(right, [change, *(n.change for n in neighbours)])
        return Row(x.name, at, right, "elsewhere" if still and sides is None else "here", sides, change, neighbours)

    def _independent(self, x: Symbol) -> bool:
        """Whether nothing that the parameter brings with it is in the quantity."""
        if x == role_bytes["activations"] and self._compute_follows:
            return self.asked.independent(x) and self.asked.independent(symbol(f"device.peak.{self._compute}"))
        return self.asked.independent(x)

    @property
    def _compute(self) -> DType:
        return self.opened.closed.table.dataflow.environment.dtypes["compute"]

    @property
    def _compute_follows(self) -> bool:
        """Whether the matmuls compute in the activations' dtype, whichever that is."""
        other = next(d for d in map(dtype, _USUAL) if d is not None and d != self._compute)
        return self.opened.compiled.retyped("activations", other).environment.dtypes["compute"] == other

    def _decided(self, x: Symbol, value: Figure | None) -> Row:
        """A dim that an `if` reads: as any other where its next values take the same arm, else those values alone."""
        if value is not None and x in self.values:
            found = []
            same = True
            for direction in (-1, 1):
                near = next_value(self.wholes, x, self.values, direction, self._compiles(x))
                if near is None:
                    continue
                reached = value_at(self._with(x, near), self.of, self.point)
                by_formula = self._change({**self.values, x: Fraction(near)}, value).reached
                same = same and _equal(reached, by_formula)
                found.append(Neighbour(Fraction(near), _change(reached, value)))
            if same and found:
                return self._row(x, value, tuple(found))
        else:
            found = []
        empty = Closed(None, None)
        return Row(x.name, self.values.get(x), empty, "held", neighbours=tuple(found), why="an `if` is decided by it")

    def _with(self, x: Symbol, value: int) -> Quantities:
        """The quantities of the spec with another value for a dim."""
        changed, closed, run = self._changed_to(x, value), self.opened.closed, self.opened.run
        return Quantities(
            changed.table(run), closed.device, closed.timing, closed.memory_fraction, changed.in_phase(run)
        )

    def _changed_to(self, x: Symbol, value: int) -> Compiled:
        compiled = self.opened.compiled
        return compiled.changed(
            {x.name: syntax.Number(Fraction(value), str(value), compiled.program.source.span(0, 0))}
        )

    def _slope(self, x: Symbol, side: int) -> tuple[Closed, bool]:
        found = self.asked.elasticity(x, side)
        if found is None:
            return Closed(None, None), False
        try:
            value = figure(found.expr, self.asked.figures)
        except Open:
            value = None
        return Closed(value, found.expr), found.tied

    def kept(self, x: Symbol) -> Mapping[Symbol, Expr]:
        """What is put into an elasticity: every figure but the parameter's own and the workload's."""
        stay = {x, batch_size, seq_len, new_tokens}
        return {s: rational(v) for s, v in self.values.items() if s not in stay}

    def _changed(self, x: Symbol, value: Figure | None) -> Change | None:
        """The quantity with 10 % more of a parameter; None where that cannot be, or lies between two steps."""
        if value is None or x not in self.values:
            return None
        values = {**self.values, x: self.values[x] * (1 + TENTH)}
        between = values[x].denominator != 1 and self.asked.rounded(x)
        return self._change(values, value) if self._possible(values) and not between else None

    def _possible(self, values: Mapping[Symbol, Fraction]) -> bool:
        if symbol("acceptance_rate") in values and values[symbol("acceptance_rate")] > 1:
            return False
        if new_tokens in values and seq_len in values and values[new_tokens] > values[seq_len]:
            return False
        try:
            return all(figure(expr, values) >= 0 for expr in self.wholes)
        except Open:
            return True

    def _change(self, values: Mapping[Symbol, Fraction], before: Figure) -> Change:
        try:
            reached = self.asked.at(values)
        except ZeroDivisionError:
            reached = None
        return _change(reached, before)

    # --- the next values

    @cached_property
    def wholes(self) -> tuple[Expr, ...]:
        return must_be_whole(self.quantities.table)

    @cached_property
    def structural(self) -> frozenset[Symbol]:
        return structural(self.quantities.table)

    def _neighbours(self, x: Symbol, value: Figure) -> Iterator[Neighbour]:
        if x in role_bytes.values():
            yield from self._next_dtypes(x, value)
            return
        rounded_here = self.asked.rounded(x)
        if x.name in self.opened.compiled.program.dims:
            if x not in self.structural and not rounded_here:
                return
            works = self._compiles(x)
        elif rounded_here or x.name == "drafts":
            works = lambda candidate: self._possible({**self.values, x: Fraction(candidate)})  # noqa: E731
        else:
            return
        for direction in (-1, 1):
            found = next_value(self.wholes, x, self.values, direction, works)
            if found is not None:
                values = {**self.values, x: Fraction(found)}
                yield Neighbour(Fraction(found), self._change(values, value))

    def _compiles(self, x: Symbol) -> Callable[[int], bool]:
        def works(candidate: int) -> bool:
            try:
                self._changed_to(x, candidate).dataflow(self.opened.run)
            except SpecError:
                return False
            return True

        return works

    def _next_dtypes(self, x: Symbol, value: Figure) -> Iterator[Neighbour]:
        role = next(role for role, found in role_bytes.items() if found == x)
        known = [found for found in map(dtype, _USUAL) if found is not None]
        here = self.values[x]
        for narrower in (True, False):
            beyond = [d for d in known if (d.bytes < here if narrower else d.bytes > here)]
            if not beyond:
                continue
            size = max(d.bytes for d in beyond) if narrower else min(d.bytes for d in beyond)
            chosen = next(d for d in beyond if d.bytes == size)
            values = self._with_dtype(role, chosen)
            if values is not None:
                yield Neighbour(size, self._change(values, value), chosen.name)

    def _with_dtype(self, role: str, other: DType) -> dict[Symbol, Fraction] | None:
        """The figures with another dtype; a compute dtype that follows the activations' brings its own peak."""
        values = {**self.values, role_bytes[role]: other.bytes}
        device = self.opened.closed.device
        if role == "activations" and device is not None and self.needs.device and self._compute_follows:
            if str(other) not in device.peaks:
                return None
            values[symbol(f"device.peak.{self._compute}")] = as_figure(device.peaks[str(other)]) / device.count
        return values


# of several dtypes of one size the one that is usual in serving
_USUAL = [name for name in DTYPE_NAMES if name not in ("tf32", "fp16", "int8", "int4")]


def _change(reached: Figure | None, before: Figure) -> Change:
    return Change(reached, None if reached is None or before == 0 else reached / before - 1)


def _equal(a: Figure | None, b: Figure | None) -> bool:
    """Whether two figures are the same, but for what the digits of a root leave."""
    if a is None or b is None:
        return a is b
    return bool(abs(comparable(a) - comparable(b)) <= abs(comparable(a)) * _DIGITS)


def _stays(slope: Closed, changes: Iterable[Change | None]) -> bool:
    """Whether the quantity stays as it is, but for what the digits of a root leave."""
    shares = [change.share for change in changes if change is not None]
    if not all(share is not None and abs(comparable(share)) < _DIGITS for share in shares):
        return False
    return bool(shares) or slope.expr == 0


def _option(name: str) -> str:
    """What to give for a symbol without a figure."""
    plain = name in ("batch_size", "seq_len", "new_tokens", *REQUEST)
    return f"--{name.replace('_', '-')} N" if plain else f"--set {name}=N"


# --- quantities by how they are had


class _Asked:
    """A quantity in every parameter: its value, its elasticities, and what it does not depend on."""

    def __init__(self, study: _Study) -> None:
        self.study = study

    @property
    def figures(self) -> Mapping[Symbol, Fraction]:
        """The figures that an elasticity is taken at."""
        return self.study.values

    @property
    def symbols(self) -> set[Symbol]:
        raise NotImplementedError

    def at(self, values: Mapping[Symbol, Fraction]) -> Figure | None:
        """The value; None where there is none.

        Raises:
            Open: a symbol has no figure.
        """
        raise NotImplementedError

    def elasticity(self, x: Symbol, side: int) -> Branch | None:
        """x·Q'/Q next to the point, and whether two branches meet there; None where a slope says nothing."""
        raise NotImplementedError

    def independent(self, x: Symbol) -> bool:
        raise NotImplementedError

    def rounded(self, x: Symbol) -> bool:
        return False


class _Plain(_Asked):
    """A quantity that is one expression."""

    @cached_property
    def expr(self) -> Expr:
        found = self.study.quantities.expr(self.study.of)
        if found is None:
            raise SpecError(Diagnostic("open", f"`{self.study.of}` has no closed form here"))
        return found

    @property
    def symbols(self) -> set[Symbol]:
        found: set[Symbol] = self.expr.free_symbols
        return found

    def at(self, values: Mapping[Symbol, Fraction]) -> Figure | None:
        return figure(self.expr, values)

    @cached_property
    def _branch(self) -> Branch:
        return branch(self.expr, Point(self.study.values))

    def elasticity(self, x: Symbol, side: int) -> Branch | None:
        here = self._branch
        if here.tied:
            here = branch(self.expr, Point(self.study.values, x, side))
        if rounded(here.expr, x):
            return None
        return replace(here, expr=_log_slope(put_in(here.expr, self.study.kept(x)), x))

    def independent(self, x: Symbol) -> bool:
        return independent(self.expr, x)

    def rounded(self, x: Symbol) -> bool:
        return rounded(self.expr, x)


class _Request(_Asked):
    """A request's quantity: a sum over steps, in closed form once all but one parameter are figures."""

    @cached_property
    def made_of(self) -> _MadeOf:
        """The costs of single passes that it sums."""
        found = _MadeOf(self.study.quantities, {})
        found.expr(self.study.of)
        return found

    @property
    def symbols(self) -> set[Symbol]:
        parts = self.made_of.firsts + self.made_of.each
        found: set[Symbol] = set().union(*(part.free_symbols for part in parts)) - {seq_len}
        return found | {*map(symbol, self.study.needs.request)} | ({batch_size} if self.study.needs.device else set())

    def at(self, values: Mapping[Symbol, Fraction]) -> Figure | None:
        missing = self.symbols - set(values)
        if missing:
            raise Open(min(missing, key=str))
        return self.study.quantities.figure(self.study.of, values)

    def elasticity(self, x: Symbol, side: int) -> Branch | None:
        here = self._next_to(x, side)
        others = {s: rational(v) for s, v in self.study.values.items() if s != x}
        return None if rounded(here.expr, x) else replace(here, expr=_log_slope(put_in(here.expr, others), x))

    def _next_to(self, x: Symbol, side: int) -> Branch:
        quantities, values = self.study.quantities, self.study.values
        point = Point(values, x, side)
        if x in (prompt_len, output_len):
            found = quantities.expr(self.study.of, {s: rational(v) for s, v in values.items() if s != x})
            assert found is not None
            return branch(found, point)
        lengths = {s: rational(v) for s, v in values.items() if s in (prompt_len, output_len)}
        request = _NextTo(quantities, lengths, point=point)
        found = request.expr(self.study.of)
        assert found is not None
        return Branch(found, any(request.tied))

    def independent(self, x: Symbol) -> bool:
        firsts, each = self.made_of.firsts, self.made_of.each
        if x == output_len:
            return not each
        if x == symbol("device.price"):
            return self.study.of != "request_cost"
        return all(independent(part, seq_len if x == prompt_len else x) for part in firsts + each)

    def rounded(self, x: Symbol) -> bool:
        moved = seq_len if x == prompt_len else x
        return any(rounded(part, moved) for part in self.made_of.firsts + self.made_of.each)


@dataclass(frozen=True)
class _MadeOf(Request):
    """What a request's quantity sums: costs of the prefill, and of each step."""

    firsts: list[Expr] = field(default_factory=list)
    each: list[Expr] = field(default_factory=list)

    def first(self, expr: Expr) -> Expr:
        self.firsts.append(expr)
        return ONE

    def steps(self, expr: Expr) -> Expr:
        self.each.append(expr)
        return ONE


@dataclass(frozen=True)
class _NextTo(Request):
    """A request's costs on the branches that hold at each of its steps."""

    point: Point = field(kw_only=True)
    tied: list[bool] = field(default_factory=list)

    def first(self, expr: Expr) -> Expr:
        start = self.given[prompt_len]
        found = branch(expr, replace(self.point, values={**self.point.values, seq_len: fraction(start)}))
        self.tied.append(found.tied)
        return put_in(found.expr, {seq_len: start})

    def steps(self, expr: Expr) -> Expr:
        start = fraction(self.given[prompt_len])
        last = start + fraction(self.given[output_len]) - 1
        parts = []
        for low, high in runs(expr, seq_len, int(start) + 1, int(last), self.point.values):
            found = branch(expr, replace(self.point, values={**self.point.values, seq_len: Fraction(low + high, 2)}))
            self.tied.append(found.tied)
            parts.append(summed_over_contexts(found.expr, rational(low - 1), rational(high)))
        return total(parts)


class _Crossing(_Asked):
    """The crossover: n/h where that is a form in the batch size, else by its equation, b' = −g_x/g_b."""

    @cached_property
    def times(self) -> tuple[Expr, Expr]:
        of = self.study.quantities
        return of.compute_time, of.memory_time

    @property
    def symbols(self) -> set[Symbol]:
        found: set[Symbol] = set().union(*(expr.free_symbols for expr in self.times))
        return found - {batch_size}

    def at(self, values: Mapping[Symbol, Fraction]) -> Figure | None:
        known = {s: v for s, v in values.items() if s != batch_size}
        compute, memory = self._in_batch(known)
        found: Solved = solve(compute, memory, known)
        return found.crossing.value if found.crossing is not None and found.crossing.upward else None

    def _in_batch(self, known: Mapping[Symbol, Fraction]) -> tuple[Expr, Expr]:
        """The two times with figures put in where they are a form in the batch size, which is quick to evaluate."""
        found = self._symbolic
        if found is None:
            return self.times
        figures = [figure(part, known) for part in found.coefficients]
        if not all(isinstance(value, Fraction) for value in figures):
            return self.times
        n, h, *groups = map(rational, figures)
        memory = [d * (1 - q ** (rate * batch_size)) for d, q, rate in _batched(groups, 3)]
        return h * batch_size, total([n, *memory])

    @cached_property
    def figures(self) -> Mapping[Symbol, Fraction]:
        crossing = self.at(self.study.values)
        known = {s: v for s, v in self.study.values.items() if s != batch_size}
        return known if crossing is None else {**known, batch_size: comparable(crossing)}

    def _forms(self, point: Point) -> tuple[Form | None, Branch]:
        compute, memory = self.times
        balance = [branch(expr, point) for expr in (compute, memory)]
        tied = any(part.tied for part in balance)
        found = form(balance[0].expr, balance[1].expr)
        return found, Branch(balance[0].expr - balance[1].expr, tied)

    def elasticity(self, x: Symbol, side: int) -> Branch | None:
        try:
            figures = self.figures
        except Open:
            figures = self.study.values
        found, balance = self._forms(Point(figures, x, side))
        kept = self.study.kept(x)
        if found is not None and not found.groups:
            n, h = put_in(found.n, kept), put_in(found.h, kept)
            return replace(balance, expr=_log_slope(n / h, x))
        if rounded(balance.expr, x):
            return None
        here = put_in(balance.expr, kept)
        return replace(balance, expr=in_lowest_terms(-slope(here, x) / slope(here, batch_size)))

    def independent(self, x: Symbol) -> bool:
        if x not in self.symbols:
            return True
        found = self._symbolic
        if found is None:
            return False
        parts = [found.n / found.h, *(p for d, q, rate in found.groups for p in (d / found.h, q**rate))]
        return all(independent(part, x) for part in parts)

    @cached_property
    def _symbolic(self) -> Form | None:
        """Whatever branch holds: `min` and `max` stay in it."""
        return form(*self.times)


class _Largest(_Asked):
    """The largest batch that fits: whole, so only changes to it mean anything."""

    @property
    def symbols(self) -> set[Symbol]:
        fit = self.study.quantities.fit
        parts = [fit.capacity, fit.weights, fit.sequence, *(e for u, a in fit.peaks for e in (u, a))]
        found: set[Symbol] = set().union(*(part.free_symbols for part in parts))
        return found

    def at(self, values: Mapping[Symbol, Fraction]) -> Figure | None:
        found = self.study.quantities.fit.largest_at(values)
        return None if found is None else Fraction(found)

    def elasticity(self, x: Symbol, side: int) -> Branch | None:
        return None

    def independent(self, x: Symbol) -> bool:
        fit = self.study.quantities.fit
        bounds = [(fit.capacity - fit.weights - u) / (fit.sequence + a) for u, a in fit.peaks]
        return all(independent(bound, x) for bound in bounds)


def _batched(values: Sequence[Expr], size: int) -> Iterator[Sequence[Expr]]:
    """Runs of so many values."""
    return (values[i : i + size] for i in range(0, len(values), size))


def _log_slope(expr: Expr, x: Symbol) -> Expr:
    """x·Q'/Q in lowest terms; that of a product is the sum of those of its factors."""
    parts = []
    for factor in Mul.make_args(expr):
        base, exponent = factor.as_base_exp()
        if x in exponent.free_symbols:
            base, exponent = factor, ONE
        moved = slope(base, x)
        if moved != 0:
            parts.append(exponent * moved / base)
    return in_lowest_terms(total(parts)) if parts else ZERO
