"""Conditions over quantities and dims, as `expect` states them: proved or refuted, never guessed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from math import floor

from sympy import Expr, Symbol

from costmodel import syntax
from costmodel.compile import Compiled, Run, one_of
from costmodel.crossover import crossover
from costmodel.device import VECTOR, Device, find_device
from costmodel.figures import Open, figure, figure_fault
from costmodel.measures import Measure, common_dimension, measure
from costmodel.names import nearest
from costmodel.quantities import Quantities
from costmodel.quantity_names import QUANTITIES
from costmodel.source import Diagnostic, SpecError
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
    """Under what a condition's quantities are taken, unless they say otherwise."""

    run: Run = Run()
    timing: str = "overlap"
    device: Device | None = None
    memory_fraction: Fraction = Fraction(1)


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
        near = nearest(name, [*compiled.program.dims, *WORKLOAD])
        raise SpecError(
            Diagnostic("unknown-name", f"there is no dim `{name}`", node.span, help=f"`{near}` is near" if near else "")
        )
    return Measure(compiled.environment.value(symbol(name)), PLAIN, literal=True)


def _of_device(setting: Setting, compiled: Compiled, fields: tuple[str, ...], node: syntax.Expression) -> Measure:
    device = setting.device
    if device is None:
        raise SpecError(Diagnostic("device", f"`{node.span.text}` needs a device", node.span))
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
            return Measure(device.peak(compiled.environment.dtypes["compute"]), FLOP_PER_SECOND)
        case ("peak", kind) if kind in device.peaks or kind == VECTOR:
            return Measure(device.peak(kind), FLOP_PER_SECOND)
    near = nearest(fields[0], ("memory", "bandwidth", "peak", "link", "tdp", "price"))
    raise SpecError(
        Diagnostic(
            "unknown-name",
            f"device `{device.name}` states no `{'.'.join(fields)}`",
            node.span,
            help=f"`{near}` is near" if near else "",
        )
    )


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


def _arguments(compiled: Compiled, node: syntax.Call, setting: Setting) -> tuple[Compiled, Setting, dict[Symbol, Expr]]:
    texts: dict[str, str] = {}
    sets: dict[str, syntax.Expression] = {}
    put: dict[str, Expr] = {}
    fields: dict[str, Fraction] = {}
    for argument in node.arguments:
        name, value = argument.name, argument.value
        assert name is not None
        if name in _TEXTS:
            if not isinstance(value, syntax.Text):
                raise SpecError(Diagnostic("type", f'`{name}` is given as a string: {name}="…"', value.span))
            texts[name] = value.value
        elif name in ("memory_fraction", "count", *WORKLOAD) or (name in REQUEST and name not in compiled.program.dims):
            found = measured(compiled, value, setting).value
            fault = figure_fault(name, fraction(found)) if is_number(found) else None
            if fault is not None:
                raise SpecError(Diagnostic("argument", fault, value.span))
            if name in ("batch_size", "seq_len", *REQUEST):
                put[name] = found
            elif is_number(found):
                fields[name] = fraction(found)
            else:
                raise SpecError(Diagnostic("open", f"`{name}` needs a figure here", value.span))
        else:
            found = measured(compiled, value, setting).value
            sets[name] = syntax.Number(fraction(found), value.span.text, value.span) if is_number(found) else value
    run = setting.run
    if "graph" in texts and "phase" not in texts:
        run = replace(run, phase="decode")
    run = Run(
        texts.get("phase", run.phase),
        texts.get("graph", run.graph),
        texts.get("fidelity", run.fidelity),
        texts.get("masked", run.masked),
        texts.get("fusion", run.fusion),
        int(fields["new_tokens"]) if "new_tokens" in fields else run.new_tokens,
    )
    device = find_device(texts["device"], compiled.program) if "device" in texts else setting.device
    if device is not None and "count" in fields:
        device = device.times(int(fields["count"]))
    timing = one_of("timing", texts.get("timing", setting.timing), ("overlap", "serial", "per_op"))
    changed = compiled.changed(sets) if sets else compiled
    inner = Setting(run, timing, device, fields.get("memory_fraction", setting.memory_fraction))
    return changed, inner, {symbol(n): v for n, v in put.items()}


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
        raise SpecError(Diagnostic("device", f"`{name}` needs a device", node.span, help=f'{name}(device="h100-sxm")'))
    put = put or {}
    point = {s: fraction(v) for s, v in put.items() if is_number(v)}
    try:
        quantities.check_point(point)
    except SpecError as error:
        raise SpecError(replace(d, span=node.span) for d in error.diagnostics) from None
    if name == "crossover":
        value = crossover(quantities, point).batch_size.value
        if value is None:
            raise SpecError(Diagnostic("open", "`crossover` has no value here: it depends on seq_len", node.span))
        return Measure(rational(Fraction(value)), PLAIN)
    expr = quantities.expr(name, put)
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
