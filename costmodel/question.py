"""A question read: what is solved for, and each condition as inequalities to zero in it.

`latency <= L` is that compute and memory time each are; `crossover <= N` is that the pass is compute-bound at batch N.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

from sympy import Add, Expr, Integer, Max, Min, Mul, Pow, Sum, Symbol, cancel, floor

from costmodel import syntax
from costmodel.compile import Compiled
from costmodel.conditions import Setting, measured, quantities_named
from costmodel.crossover import crossover
from costmodel.device import VECTOR, Device
from costmodel.figures import Figure, Open
from costmodel.measures import Measure, common_dimension
from costmodel.names import listed, nearest
from costmodel.parser import parse_condition, parse_expression
from costmodel.quantities import Quantities
from costmodel.quantity_names import QUANTITIES
from costmodel.resolve import resolve_condition
from costmodel.scalars import MOST_VALUE
from costmodel.solve.budget import Unsolvable, look_at_time
from costmodel.solve.enclosure import sign_at
from costmodel.solve.steps import figure_at, free_symbols
from costmodel.source import Diagnostic, Report, Source, SpecError
from costmodel.symbols import (
    REQUEST,
    WORKLOAD,
    ZERO,
    acceptance_rate,
    batch_size,
    compared,
    expanded,
    fraction,
    is_number,
    new_tokens,
    put_in,
    rational,
    sign,
    symbol,
    terms_estimate,
)
from costmodel.units import Dimension
from costmodel.walk import walk

MOST_WORKLOAD = 10**15
_ASK_TIMES = "'compute_time >= memory_time' --for batch_size"
_FLIPPED = {"<=": ">=", "<": ">", ">=": "<=", ">": "<", "==": "=="}
_DEVICE_UNITS = {
    "memory": ("B", Fraction(1)),
    "bandwidth": ("B/s", Fraction(1)),
    "peak": ("FLOP/s", Fraction(1)),
    "price": ("USD/h", Fraction(3600)),
}
# beyond these a quotient is not reduced: the unknown is then looked for by bounds
_MOST_POWER = 12
_MOST_TERMS = 400


@dataclass(frozen=True)
class Question:
    """A spec under a setting, the figures that are given, and what is asked of it."""

    compiled: Compiled
    setting: Setting
    point: Mapping[Symbol, Fraction]
    conditions: tuple[str, ...]
    unknown: str
    maximize: str | None = None
    minimize: str | None = None


@dataclass(frozen=True)
class Unknown:
    """What is solved for, up to the largest value that it may have.

    Figures are shown in `unit`, `scale` of which make one of the project's own.
    """

    name: str
    symbol: Symbol
    whole: bool
    most: Fraction | None
    unit: str = ""
    scale: Fraction = Fraction(1)


@dataclass(frozen=True)
class Part:
    """`expr relation 0`."""

    expr: Expr
    relation: str

    def holds(self, unknown: Symbol, x: Fraction) -> bool:
        """Whether it holds at a value, exactly."""
        return compared(self.relation, sign_at(self.expr, unknown, x))


@dataclass(frozen=True)
class Crossing:
    """A crossover of these quantities at these figures, and the symbol that stands for it in a condition."""

    quantities: Quantities
    given: Mapping[Symbol, Fraction]

    @property
    def symbol(self) -> Symbol:
        return symbol("quantity.crossover")

    def at(self, unknown: Symbol, x: Fraction) -> Figure | None:
        """The batch from which the pass is compute-bound, for a value of the unknown; None where there is none."""
        solved = crossover(self.quantities, {**self.given, unknown: x}).solved
        if solved is None or not any(root.upward for root in solved.roots):
            return None
        return solved.value


@dataclass(frozen=True)
class Condition:
    """A condition as it was written, its two sides, and the parts that hold together where it does.

    Where one side is a crossover, which is no expression, `crossing` is what that side stands for.
    """

    text: str
    left: Expr
    right: Expr
    dimension: Dimension
    parts: tuple[Part, ...]
    crossing: Crossing | None = None

    def holds(self, unknown: Symbol, x: Fraction) -> bool:
        """Whether it holds at a value, exactly."""
        look_at_time()
        return all(part.holds(unknown, x) for part in self.parts)

    def sides(self, unknown: Symbol, x: Fraction) -> tuple[Figure | None, Figure | None]:
        """The figures of both sides at a value; None for a crossover that there is not."""
        crossing = self.crossing
        left, right = (
            crossing.at(unknown, x) if crossing is not None and side == crossing.symbol else value_at(side, unknown, x)
            for side in (self.left, self.right)
        )
        return left, right


@dataclass(frozen=True)
class Objective:
    """What is to be made great (direction 1) or small (−1)."""

    text: str
    expr: Expr
    dimension: Dimension
    direction: int


@dataclass(frozen=True, eq=False)
class Asked:
    """A question that was read. `compiled` and `setting` leave the unknown open.

    `closed` says why they cannot: the unknown decides what the model is made of, so that each value is a model of its
    own, `at(value)`.
    """

    question: Question
    unknown: Unknown
    compiled: Compiled
    setting: Setting
    conditions: tuple[Condition, ...]
    objective: Objective | None
    closed: str = ""

    def at(self, value: Fraction) -> Asked | None:
        """The question for one value of a dim, put into the spec; None where the model cannot have it."""
        look_at_time()
        try:
            compiled = closed_at(self.compiled, self.unknown, value)
            compiled.table(self.setting.run)
        except SpecError:
            return None
        conditions, objective = _read(self.question, self.unknown, compiled, self.setting, open_=False)
        return replace(self, compiled=compiled, conditions=conditions, objective=objective)

    @cached_property
    def quantities(self) -> frozenset[str]:
        """The quantities that conditions and objective name."""
        question = self.question
        nodes = [parse_condition(Source("condition", text)) for text in question.conditions]
        sides = [side for node in nodes for side in (node.left, node.right)]
        sides += [parse_expression(Source("", text)) for text in (question.maximize, question.minimize) if text]
        return frozenset(name for name, _ in _quantities_in(sides))

    @cached_property
    def free(self) -> set[Symbol]:
        """The symbols beside the unknown that have no figure."""
        exprs = [part.expr for condition in self.conditions for part in condition.parts]
        if self.objective is not None:
            exprs.append(self.objective.expr)
        return set().union(*map(free_symbols, exprs)) - {self.unknown.symbol}


def value_at(expr: Expr, unknown: Symbol, x: Fraction) -> Figure | None:
    """The figure of an expression at a value, or None where it has none."""
    try:
        return figure_at(expr, {unknown: x})
    except (Open, ZeroDivisionError):
        return None


def closed_at(compiled: Compiled, unknown: Unknown, value: Fraction) -> Compiled:
    """The spec with a figure for the unknown, a dim."""
    return compiled.changed({unknown.name: syntax.Number(value, str(value), compiled.program.source.span(0, 0))})


def read(question: Question) -> Asked:
    """What is asked, with all that is independently wrong said at once.

    Raises:
        SpecError: the unknown is none or has a value; a condition cannot be read or compared, does not depend on the
            unknown, or needs another figure.
    """
    unknown = _unknown(question)
    _not_given(question, unknown)
    compiled, setting = _opened(question, unknown)
    given = {s: rational(v) for s, v in question.point.items()}
    setting = replace(setting, given=given, cuts=False)
    asked = Asked(question, unknown, compiled, setting, (), None)
    if unknown.name in compiled.program.dims:
        try:
            compiled.table(setting.run)
        except SpecError as error:
            return replace(asked, closed=error.diagnostics[0].message)
    conditions, objective = _read(question, unknown, compiled, setting, open_=True)
    return replace(asked, conditions=conditions, objective=objective)


# --- what is solved for


def _unknown(question: Question) -> Unknown:
    name = question.unknown
    program = question.compiled.program
    if name.startswith("device."):
        return _of_device(name)
    name = name.removeprefix("dim.")
    if name in program.dims:
        _not_derived(question.compiled, name)
        return Unknown(name, symbol(name), True, Fraction(MOST_VALUE))
    if name == acceptance_rate.name:
        return Unknown(name, acceptance_rate, False, Fraction(1))
    if name in (*WORKLOAD, *REQUEST):
        return Unknown(name, symbol(name), True, Fraction(MOST_WORKLOAD))
    known = [*program.dims, *WORKLOAD, *REQUEST]
    message, fact, help = f"there is no dim `{name}` to solve for", "", ""
    if name in _DEVICE_UNITS:
        help = f"--for device.{name}"
    elif name in QUANTITIES:
        message = f"`{name}` is a quantity, and follows from the dims"
        fact = "a quantity may stand in a condition, or behind --maximize or --minimize"
    elif name.partition(".")[0] == "dtype":
        message, help = f"`{name}` is no number to solve for: a dtype is one of a few", f"try one: --set {name}=fp8"
    elif near := nearest(name, [*known, *(f"device.{field}" for field in _DEVICE_UNITS)]):
        help = f"`{near}` is near"
    else:
        fact = f"there are {listed(known, 40)}, and of a device {listed(f'device.{field}' for field in _DEVICE_UNITS)}"
    raise SpecError(Diagnostic("unknown-name", message, facts=(fact,) if fact else (), help=help))


def _of_device(name: str) -> Unknown:
    field, _, kind = name.removeprefix("device.").partition(".")
    if field in _DEVICE_UNITS and (not kind or field == "peak"):
        unit, scale = _DEVICE_UNITS[field]
        return Unknown(name, symbol(name), False, None, unit, scale)
    near = nearest(field, _DEVICE_UNITS)
    raise SpecError(
        Diagnostic(
            "unknown-name",
            f"a device has no `{name.removeprefix('device.')}` to solve for",
            facts=(f"it has {listed(_DEVICE_UNITS)}",),
            help=f"`device.{near}` is near" if near else "",
        )
    )


def _not_derived(compiled: Compiled, name: str) -> None:
    given = compiled.environment.given.get(name)
    if given is None or isinstance(given, Expr) or name in compiled.plain:
        return
    shown = " ".join(given.span.text.split())
    inside = [part.id for part in walk(given) if isinstance(part, syntax.Name)]
    raise SpecError(
        Diagnostic(
            "argument",
            f"`{name}` is computed from other dims: {shown}",
            given.span,
            facts=(f"solve for one of them: {listed(dict.fromkeys(inside))}",),
            help=f"--free {name} cuts it loose from them",
        )
    )


def _not_given(question: Question, unknown: Unknown) -> None:
    """Nothing that is solved for has a value from an option."""
    option = ""
    if unknown.symbol in question.point:
        option = f"--{unknown.name.replace('_', '-')} {question.point[unknown.symbol]}"
    elif unknown.symbol == new_tokens and isinstance(question.setting.run.new_tokens, int):
        option = f"--new-tokens {question.setting.run.new_tokens}"
    elif unknown.name in question.compiled.program.dims:
        given = question.compiled.environment.given.get(unknown.name)
        if isinstance(given, syntax.Expression) and given.span.source.name == "--set":
            option = f"--set {unknown.name}={' '.join(given.span.text.split())}"
    if option:
        raise SpecError(
            Diagnostic("argument", f"`{unknown.name}` is given a value and solved for", help=f"leave {option} out")
        )


def _opened(question: Question, unknown: Unknown) -> tuple[Compiled, Setting]:
    """The spec and the setting with the unknown left open."""
    compiled, setting = question.compiled, question.setting
    if unknown.name.startswith("device."):
        if setting.device is None:
            raise SpecError(
                Diagnostic(
                    "device",
                    f"`{unknown.name}` is solved for, and no device is given whose other figures hold",
                    help="--device h100-sxm",
                )
            )
        return compiled, replace(setting, device=_device(setting.device, unknown, compiled))
    if unknown.symbol == new_tokens:
        return compiled, replace(setting, run=replace(setting.run, new_tokens=new_tokens))
    if unknown.name in compiled.program.dims:
        return compiled.freed([unknown.name]), setting
    return compiled, setting


def _device(device: Device, unknown: Unknown, compiled: Compiled) -> Device:
    """A device with one figure open: that of a single one, where it stands for several."""
    field, _, kind = unknown.name.removeprefix("device.").partition(".")
    value = unknown.symbol * device.count
    if field != "peak":
        return replace(device, **{field: value})
    kind = kind or str(compiled.environment.dtypes["compute"])
    if kind != VECTOR:
        device.peak(kind)
    return replace(device, peaks={**device.peaks, kind: value})


# --- conditions and objective


def _read(
    question: Question, unknown: Unknown, compiled: Compiled, setting: Setting, open_: bool
) -> tuple[tuple[Condition, ...], Objective | None]:
    """All conditions and the objective; where the unknown is left open they must depend on it."""
    report = Report()
    found: list[Condition] = []
    objective: Objective | None = None
    for text in question.conditions:
        try:
            node = _parsed(text, compiled, setting)
            found.append(_condition(node, unknown, compiled, setting, open_))
        except SpecError as error:
            _add(report, error)
    try:
        objective = _objective(question, unknown, compiled, setting, open_)
    except SpecError as error:
        _add(report, error)
    report.raise_errors()
    return tuple(found), objective


def _add(report: Report, error: SpecError) -> None:
    for diagnostic in error.diagnostics:
        report.add(diagnostic)


def _parsed(text: str, compiled: Compiled, setting: Setting) -> syntax.Condition:
    source = Source("condition", text)
    condition = parse_condition(source)
    resolve_condition(compiled.program, condition)
    _have_device((condition.left, condition.right), setting)
    if condition.relation not in _FLIPPED:
        raise SpecError(
            Diagnostic(
                "argument",
                f"`{condition.relation}` cannot be solved",
                condition.span,
                facts=(f"relations are {listed(_FLIPPED)}",),
            )
        )
    return condition


def _have_device(sides: Iterable[syntax.Expression], setting: Setting) -> None:
    """What needs a device has one."""
    if setting.device is not None:
        return
    for name, node in _quantities_in(sides):
        own = isinstance(node, syntax.Call) and any(argument.name == "device" for argument in node.arguments)
        if QUANTITIES[name].device and not own:
            raise SpecError(Diagnostic("device", f"`{name}` needs a device", node.span, help="--device h100-sxm"))


def _quantities_in(sides: Iterable[syntax.Expression]) -> Iterator[tuple[str, syntax.Expression]]:
    for side in sides:
        for node in walk(side):
            name = node.id if isinstance(node, syntax.Name) else node.function if isinstance(node, syntax.Call) else ""
            if name in QUANTITIES:
                yield name, node


def on_dims(asked: Asked) -> tuple[Condition, ...]:
    """The conditions on dims alone, which need no graph."""
    nodes = [_parsed(text, asked.compiled, asked.setting) for text in asked.question.conditions]
    plain = [node for node in nodes if not any(_quantities_in((node.left, node.right)))]
    return tuple(_condition(node, asked.unknown, asked.compiled, asked.setting, open_=True) for node in plain)


def _condition(
    node: syntax.Condition, unknown: Unknown, compiled: Compiled, setting: Setting, open_: bool
) -> Condition:
    text = " ".join(node.span.text.split())
    found = _crossing(node, unknown, compiled, setting)
    if found is None:
        left, right = (measured(compiled, side, setting) for side in (node.left, node.right))
        dimension = common_dimension(left, right, node.left, node.right)
        sides = [put_in(side.value, setting.given) for side in (left, right)]
        found = Condition("", sides[0], sides[1], dimension, tuple(_parts(sides[0], sides[1], node.relation)))
    parts = tuple(Part(_reduced(p.expr, unknown.symbol), p.relation) for p in found.parts)
    if open_ and not any(part.expr.has(unknown.symbol) for part in parts):
        what = "cancels from it" if _depends(node, unknown, compiled, setting) else "is not in it"
        raise SpecError(
            Diagnostic(
                "argument",
                f"`{text}` does not depend on `{unknown.name}`: it {what}",
                node.span,
                help="leave the condition out, or solve for another dim",
            )
        )
    return replace(found, text=text, parts=parts)


def _depends(node: syntax.Condition, unknown: Unknown, compiled: Compiled, setting: Setting) -> bool:
    """Whether a name on either side depends on the unknown by itself."""
    sides = (node.left, node.right)
    if any(isinstance(part, syntax.Name) and part.id == unknown.name for side in sides for part in walk(side)):
        return True
    named = [part for name, part in _quantities_in(sides) if name != "crossover"]
    return any(measured(compiled, part, setting).value.has(unknown.symbol) for part in named)


def _reduced(expr: Expr, x: Symbol) -> Expr:
    """A quotient of polynomials in lowest terms, where it is a small one."""
    if not expr.has(x):
        return expr
    powers = [p for p in expr.atoms(Pow) if x in p.free_symbols]
    small = all(isinstance(p.exp, Integer) and abs(p.exp) <= _MOST_POWER for p in powers)
    if expr.has(Max, Min, Sum) or not small or terms_estimate(expr) > _MOST_TERMS or not expr.is_rational_function(x):
        return expr
    return cancel(expr)


def _objective(
    question: Question, unknown: Unknown, compiled: Compiled, setting: Setting, open_: bool
) -> Objective | None:
    option, text, direction = "--maximize", question.maximize, 1
    if text is None:
        option, text, direction = "--minimize", question.minimize, -1
    if text is None:
        return None
    source = Source(option, text)
    node = parse_expression(source)
    resolve_condition(compiled.program, node)
    _have_device((node,), setting)
    if any(name == "crossover" for name, _ in _quantities_in((node,))):
        raise SpecError(
            Diagnostic(
                "argument",
                "`crossover` is no objective",
                source.span(0, len(text)),
                facts=("it may stand in a condition: 'crossover <= 256'",),
            )
        )
    found = measured(compiled, node, setting)
    expr = put_in(found.value, setting.given)
    if open_ and not expr.has(unknown.symbol):
        raise SpecError(
            Diagnostic(
                "argument",
                f"`{text}` does not depend on `{unknown.name}`, so no value of it is best",
                source.span(0, len(text)),
            )
        )
    return Objective(text, expr, found.dimension, direction)


def _parts(left: Expr, right: Expr, relation: str) -> Iterator[Part]:
    """`left relation right` as inequalities to zero: `floor` undone, a `max` that must be small taken apart."""
    if isinstance(right, floor) and not isinstance(left, floor):
        left, right, relation = right, left, _FLIPPED[relation]
    if isinstance(left, floor) and is_number(right):
        yield from _of_floor(left.args[0], right, relation)
        return
    for longest in _denominators(left) | _denominators(right):
        # a time: more than nothing
        left, right = left * longest, right * longest
    difference = left - right
    for term in Add.make_args(difference):
        taken = _apart(term, relation)
        if taken:
            yield from (Part(part + difference - term, relation) for part in taken)
            return
    yield Part(difference, relation)


def _of_floor(inner: Expr, bound: Expr, relation: str) -> Iterator[Part]:
    """`floor(inner) relation bound`."""
    below, above = floor(bound), -floor(-bound)
    match relation:
        case ">=":
            yield Part(inner - above, ">=")
        case ">":
            yield Part(inner - below - 1, ">=")
        case "<=":
            yield Part(inner - below - 1, "<")
        case "<":
            yield Part(inner - above, "<")
        case _:
            yield Part(inner - bound, ">=")
            # a bound that is no whole number leaves nothing
            yield Part(inner - bound - 1 if bound.is_Integer else ZERO, "<")


def _denominators(side: Expr) -> set[Expr]:
    """What stands under a side as a `max` that is more than nothing."""
    return {
        factor.base
        for factor in Mul.make_args(side)
        if isinstance(factor, Pow) and factor.exp == -1 and isinstance(factor.base, Max) and factor.base.is_positive
    }


def _apart(term: Expr, relation: str) -> list[Expr] | None:
    """A term that is small, or great, where each of several is: those."""
    chosen = [factor for factor in Mul.make_args(term) if isinstance(factor, Max | Min)]
    if len(chosen) != 1 or relation == "==":
        return None
    factor = term / chosen[0]
    direction = sign(factor) if terms_estimate(factor) <= _MOST_TERMS else None
    if direction is None or factor.has(Max, Min):
        return None
    upper = isinstance(chosen[0], Max) == (direction > 0)
    if upper != (relation in ("<=", "<")):
        return None
    return [argument * factor for argument in chosen[0].args]


# --- crossover


def _crossing(node: syntax.Condition, unknown: Unknown, compiled: Compiled, setting: Setting) -> Condition | None:
    """A condition on a crossover, which is no expression, as conditions on the two times; None for others."""
    sides = (node.left, node.right)
    asked = [i for i, side in enumerate(sides) if any(name == "crossover" for name, _ in _quantities_in((side,)))]
    if not asked:
        return None
    side, other = sides[asked[0]], sides[1 - asked[0]]
    message = help = ""
    if (
        len(asked) > 1
        or not isinstance(side, syntax.Name | syntax.Call)
        or getattr(side, "function", "") in ("min", "max")
    ):
        message = "`crossover` stands alone on one side of a condition: 'crossover <= 256'"
    elif unknown.symbol == batch_size:
        message, help = "`crossover` is a batch size, so it does not depend on `batch_size`", _ASK_TIMES
    if message:
        raise SpecError(Diagnostic("argument", message, node.span, help=help))
    quantities, put = quantities_named(compiled, side, setting)
    bound = measured(compiled, other, setting)
    common_dimension(Measure(ZERO, QUANTITIES["crossover"].dimension), bound, side, other)
    limit = put_in(bound.value, setting.given)
    if batch_size in limit.free_symbols or (is_number(limit) and limit <= 0):
        raise SpecError(Diagnostic("argument", "`crossover` is held against a number above 0", other.span))
    given = {**{s: v for s, v in setting.given.items() if s != batch_size}, **put}
    balance = expanded(put_in(quantities.compute_time - quantities.memory_time, given))
    relation = node.relation if asked[0] == 0 else _FLIPPED[node.relation]
    try:
        parts = tuple(_of_crossing(balance, limit, relation))
    except Unsolvable as reason:
        raise SpecError(Diagnostic("unsolvable", str(reason), node.span, help=_ASK_TIMES)) from None
    known = {s: fraction(v) for s, v in given.items() if is_number(v)}
    crossing = Crossing(quantities, known)
    left, right = (crossing.symbol, limit) if asked[0] == 0 else (limit, crossing.symbol)
    return Condition("", left, right, bound.dimension, parts, crossing)


def _of_crossing(balance: Expr, limit: Expr, relation: str) -> Iterator[Part]:
    """`crossover relation limit`, of the balance g(b) = compute time − memory time = h·b − n − Σ d·(1 − q^b).

    g is convex. Where n ≥ 0 it is not above 0 at b = 0, so from the first b with g(b) ≥ 0 on it stays so, and
    `crossover <= N` is g(N) ≥ 0. Where n may be negative, a pass without experts is compute-bound from N on where
    g(N) ≥ 0 and h ≥ 0; with experts it may turn twice.

    Raises:
        Unsolvable: it may turn twice, or is no such form.
    """
    start, slope = put_in(balance, {batch_size: ZERO}), balance.coeff(batch_size, 1)
    rest = [
        t
        for t in Add.make_args(balance)
        if batch_size in t.free_symbols and batch_size in (t / batch_size).free_symbols
    ]
    if not all(_falls(term) for term in rest):
        raise Unsolvable("`crossover` is solved for where both times are linear in the batch size, beside experts")
    begins_below = sign(expanded(start)) in (-1, 0)
    if rest and not begins_below:
        raise Unsolvable("with experts, and FLOPs that do not grow with the batch, there may be two crossovers")
    at_limit = put_in(balance, {batch_size: limit})
    yield Part(at_limit, _FLIPPED[relation])
    if relation in ("<=", "<"):
        if not begins_below:
            yield Part(slope, ">=")
    else:
        # there at all: in the end one more sequence takes longer to compute than to read
        yield Part(slope, ">")


def _falls(term: Expr) -> bool:
    """Whether a term is a positive factor times q^b, q < 1 and not negative."""
    inside = [factor for factor in Mul.make_args(term) if batch_size in factor.free_symbols]
    if len(inside) != 1 or not isinstance(inside[0], Pow) or batch_size in inside[0].base.free_symbols:
        return False
    base, exponent = inside[0].base, inside[0].exp
    if is_number(base) and base > 1:
        # (1/2)^b is held as 2^(−b)
        base, exponent = 1 / base, -exponent
    falls = base.free_symbols or 0 <= base < 1
    return bool(falls and sign(term / inside[0]) == 1 and sign(exponent) == 1)
