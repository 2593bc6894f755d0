"""Conditions over quantities and dims, as `expect` states them: proved or refuted, never guessed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import floor

from sympy import Expr, Symbol

from costmodel import syntax
from costmodel.compile import FUSION, MASKED, TIMINGS, Compiled, Run, one_of
from costmodel.costs import FIDELITIES
from costmodel.crossover import crossover
from costmodel.device import VECTOR, Device, named_device
from costmodel.elaborate.environment import find_phase
from costmodel.figures import Open, figure, figure_fault
from costmodel.measures import Measure, common_dimension, measure
from costmodel.names import near_help
from costmodel.quantities import Quantities
from costmodel.quantity_names import QUANTITIES
from costmodel.resolve import resolve_dims
from costmodel.source import Diagnostic, Span, SpecError
from costmodel.symbols import (
    REQUEST,
    WORKLOAD,
    TooManyTerms,
    compared,
    expanded,
    fraction,
    is_number,
    is_zero,
    rational,
    sign,
    symbol,
)
from costmodel.units import BYTES, BYTES_PER_SECOND, FLOP_PER_SECOND, PLAIN, USD_PER_SECOND, WATT

_TEXTS = ("phase", "graph", "fidelity", "timing", "masked", "fusion", "device")


@dataclass(frozen=True)
class Setting:
    """Under what a condition's quantities are taken, unless they say otherwise.

    `given` are the workload's figures; without `cuts` a sum over steps may stay a `Sum`.
    """

    run: Run = Run()
    timing: str = "overlap"
    device: Device | None = None
    memory_fraction: Fraction = Fraction(1)
    given: Mapping[Symbol, Expr] = field(default_factory=dict)
    cuts: bool = True


@dataclass(frozen=True)
class Outcome:
    """Both sides of a condition and whether it holds; None where that cannot be told."""

    left: Measure
    right: Measure
    holds: bool | None


def evaluate(compiled: Compiled, condition: syntax.Condition, setting: Setting | None = None) -> Outcome:
    """Both sides of a condition, and whether it holds for all values of the symbols left free.

    Raises:
        SpecError: the sides are of different dimensions, or a quantity cannot be had.
    """
    setting = setting or Setting()

    left, right = (measured(compiled, side, setting) for side in (condition.left, condition.right))
    common_dimension(left, right, condition.left, condition.right)
    if condition.relation == "~=":
        return Outcome(left, right, _about(left, right, condition))
    try:
        difference = left.value - right.value
        known = 0 if is_zero(difference) else sign(expanded(difference))
    except TooManyTerms:
        known = None
    if known is None:
        # different for some values: refuted where equality is claimed, open where an order is
        holds = {"==": False, "!=": None}.get(condition.relation)
        return Outcome(left, right, holds)
    return Outcome(left, right, compared(condition.relation, known))


def measured(compiled: Compiled, node: syntax.Expression, setting: Setting) -> Measure:
    """The value of an expression over quantities and dims."""
    return measure(node, lambda inner: _lookup(compiled, inner, setting))


def _about(left: Measure, right: Measure, condition: syntax.Condition) -> bool:
    """`~=`: whether both agree when rounded, a five up, to the significant digits written."""
    for written, other, node in ((right, left, condition.right), (left, right, condition.left)):
        if isinstance(node, syntax.Number | syntax.Quantity):
            if not is_number(other.value):
                free = ", ".join(sorted(s.name for s in other.value.free_symbols))
                raise SpecError(Diagnostic("open", f"`~=` needs a figure, and {free} has none", condition.span))
            unit = fraction(written.value) / node.value if node.value else Fraction(1)
            place = _last_place(node.text) * unit
            return floor(fraction(other.value) / place + Fraction(1, 2)) * place == fraction(written.value)
    raise SpecError(Diagnostic("syntax", "`~=` needs a number as written on one side", condition.span))


def _last_place(text: str) -> Fraction:
    """What 1 in the last significant digit written is: 10^7 for 8.03e9; zeros before an exponent do not count."""
    mantissa, _, exponent = text.replace("_", "").lower().partition("e")
    place = -len(mantissa.partition(".")[2])
    digits = mantissa.replace(".", "")
    if exponent:
        stripped = digits.rstrip("0") or digits
        place += len(digits) - len(stripped)
    return Fraction(10) ** (place + int(exponent or 0))


def _lookup(compiled: Compiled, node: syntax.Expression, setting: Setting) -> Measure:
    match node:
        case syntax.Name():
            if node.id in QUANTITIES:
                return _quantity(compiled, node.id, setting, node)
            if node.id in REQUEST and node.id not in compiled.program.dims:
                return Measure(symbol(node.id), PLAIN, literal=True)
            return _dim(compiled, node.id, node)
        case syntax.Attribute(parts=("dim", name)):
            return _dim(compiled, name, node)
        case syntax.Attribute(parts=("device", *fields)):
            return _of_device(setting, compiled, tuple(fields), node)
        case syntax.Call() if node.function in QUANTITIES:
            return _called(compiled, node, setting)
        case _:
            raise SpecError(Diagnostic("unknown-name", f"`{node.span.text}` is no quantity", node.span))


def _dim(compiled: Compiled, name: str, node: syntax.Expression) -> Measure:
    if name not in compiled.program.dims and name not in WORKLOAD:
        near = near_help(name, [*compiled.program.dims, *WORKLOAD])
        raise SpecError(Diagnostic("unknown-name", f"there is no dim `{name}`", node.span, help=near))
    return Measure(compiled.environment.value(symbol(name)), PLAIN, literal=True)


def _of_device(setting: Setting, compiled: Compiled, fields: tuple[str, ...], node: syntax.Expression) -> Measure:
    device = setting.device
    if device is None:
        help = "" if node.span.source in compiled.program.files else "--device h100-sxm"
        raise SpecError(Diagnostic("device", f"`{node.span.text}` needs a device", node.span, help=help))
    match fields:
        case ("memory",):
            return Measure(device.memory, BYTES)
        case ("bandwidth",):
            return Measure(device.bandwidth, BYTES_PER_SECOND)
        case ("link",) if device.link is not None:
            return Measure(device.link, BYTES_PER_SECOND)
        case ("tdp",) if device.tdp is not None:
            return Measure(device.tdp, WATT)
        case ("price",) if device.price is not None:
            return Measure(device.price, USD_PER_SECOND)
        case ("peak",):
            environment = compiled.environment
            peak = device.peak(environment.dtypes["compute"], environment.why_computed)
            return Measure(peak, FLOP_PER_SECOND)
        case ("peak", kind) if kind in device.peaks or kind == VECTOR:
            return Measure(device.peak(kind), FLOP_PER_SECOND)
    message = f"device `{device.name}` states no `{'.'.join(fields)}`"
    near = near_help(fields[0], ("memory", "bandwidth", "peak", "link", "tdp", "price"))
    raise SpecError(Diagnostic("unknown-name", message, node.span, help=near))


def quantities_named(
    compiled: Compiled, node: syntax.Expression, setting: Setting
) -> tuple[Quantities, dict[Symbol, Expr]]:
    """What a quantity is taken of, and the figures that its own arguments give."""
    put: dict[Symbol, Expr] = {}
    if isinstance(node, syntax.Call):
        compiled, setting, put = _arguments(compiled, node, setting)
    return _quantities(compiled, setting), put


def _called(compiled: Compiled, node: syntax.Call, setting: Setting) -> Measure:
    """A quantity with arguments of its own: `flops(phase="decode", batch_size=1)`."""
    changed, inner, put = _arguments(compiled, node, setting)
    return _quantity(changed, node.function, inner, node, put)


@contextmanager
def _placed(span: Span) -> Iterator[None]:
    """What is wrong within and names no place is wrong here."""
    try:
        yield
    except SpecError as error:
        placed = [d if d.span is not None else replace(d, span=span) for d in error.diagnostics]
        raise SpecError(placed, error.unchecked) from None


def _arguments(compiled: Compiled, node: syntax.Call, setting: Setting) -> tuple[Compiled, Setting, dict[Symbol, Expr]]:
    texts: dict[str, str] = {}
    places: dict[str, Span] = {}
    sets: dict[str, syntax.Expression] = {}
    put: dict[str, Expr] = {}
    fields: dict[str, Fraction] = {}
    for argument in node.arguments:
        name, value = argument.name, argument.value
        assert name is not None
        places[name] = value.span
        if name in _TEXTS:
            if not isinstance(value, syntax.Text):
                raise SpecError(Diagnostic("type", f'`{name}` is given as a string: {name}="…"', value.span))
            texts[name] = value.value
            continue
        found = measured(compiled, value, setting)
        if found.dimension != PLAIN:
            message = f"`{name}` is a plain number, and this {found.dimension.said}"
            raise SpecError(Diagnostic("dimension", message, value.span))
        if name in ("memory_fraction", "count", *WORKLOAD) or (name in REQUEST and name not in compiled.program.dims):
            fault = figure_fault(name, fraction(found.value)) if is_number(found.value) else None
            if fault is not None:
                raise SpecError(Diagnostic("argument", fault, value.span))
            if name in ("batch_size", "seq_len", *REQUEST):
                put[name] = found.value
            elif is_number(found.value):
                fields[name] = fraction(found.value)
            else:
                raise SpecError(Diagnostic("open", f"`{name}` needs a figure here", value.span))
        elif is_number(found.value):
            sets[name] = syntax.Number(fraction(found.value), value.span.text, value.span)
        else:
            resolve_dims(compiled.program, value)
            sets[name] = value
    run = setting.run
    if "graph" in texts and "phase" not in texts:
        run = replace(run, phase="decode")
    for name, known in _WORDS.items():
        if name in texts:
            with _placed(places[name]):
                one_of(name, texts[name], known)
    run = Run(
        texts.get("phase", run.phase),
        texts.get("graph", run.graph),
        texts.get("fidelity", run.fidelity),
        texts.get("masked", run.masked),
        texts.get("fusion", run.fusion),
        int(fields["new_tokens"]) if "new_tokens" in fields else run.new_tokens,
    )
    for name in ("phase", "graph"):
        if name in texts:
            with _placed(places[name]):
                find_phase(compiled.program, run.phase, run.graph)
    device = setting.device
    if "device" in texts:
        with _placed(places["device"]):
            device = named_device(texts["device"], compiled.program)
    if device is not None and "count" in fields:
        device = device.times(int(fields["count"]))
    changed = compiled.changed(sets) if sets else compiled
    share = fields.get("memory_fraction", setting.memory_fraction)
    timing = texts.get("timing", setting.timing)
    inner = replace(setting, run=run, timing=timing, device=device, memory_fraction=share)
    return changed, inner, {symbol(n): v for n, v in put.items()}


_WORDS = {"fidelity": FIDELITIES, "masked": MASKED, "fusion": FUSION, "timing": TIMINGS}


def _quantities(compiled: Compiled, setting: Setting) -> Quantities:
    run = setting.run
    return Quantities(
        compiled.table(run), setting.device, setting.timing, setting.memory_fraction, compiled.in_phase(run)
    )


def _quantity(
    compiled: Compiled, name: str, setting: Setting, node: syntax.Expression, put: dict[Symbol, Expr] | None = None
) -> Measure:
    quantities = _quantities(compiled, setting)
    if QUANTITIES[name].device and setting.device is None:
        # an option may say it, but not for what stands in a spec
        help = f'{name}(device="h100-sxm")' if node.span.source in compiled.program.files else "--device h100-sxm"
        raise SpecError(Diagnostic("device", f"`{name}` needs a device", node.span, help=help))
    put = {**setting.given, **(put or {})}
    point = {s: fraction(v) for s, v in put.items() if is_number(v)}
    with _placed(node.span):
        quantities.check_point(point)
    if name == "crossover":
        value = crossover(quantities, point).batch_size.value
        if value is None:
            raise SpecError(Diagnostic("open", "`crossover` has no value here: it depends on seq_len", node.span))
        return Measure(rational(Fraction(value)), PLAIN)
    expr = quantities.expr(name, put, setting.cuts)
    if expr is None:
        raise SpecError(Diagnostic("open", f"`{name}` has no closed form here", node.span))
    if not expr.free_symbols:
        try:
            value = figure(expr, {})
            if isinstance(value, Fraction):
                expr = rational(value)
        except (Open, ZeroDivisionError):
            pass
    return Measure(expr, QUANTITIES[name].dimension)
