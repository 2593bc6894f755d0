"""Devices: peaks, bandwidth and memory, as their files declare them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from sympy import Expr

from costmodel import library, syntax
from costmodel.dtypes import DTYPE_NAMES, DType
from costmodel.measures import Measure, measure
from costmodel.names import listed, near_help, nearest, prose
from costmodel.program import Program, link
from costmodel.source import Diagnostic, Label, Report, Span, SpecError
from costmodel.units import BYTES, BYTES_PER_SECOND, FLOP_PER_SECOND, UNITS, USD_PER_SECOND, WATT, Dimension

VECTOR = "vector"
_FIELDS: dict[str, Dimension] = {
    "memory": BYTES,
    "bandwidth": BYTES_PER_SECOND,
    "link": BYTES_PER_SECOND,
    "tdp": WATT,
    "price": USD_PER_SECOND,
}


@dataclass(frozen=True)
class Device:
    """An accelerator. Memory in bytes, bandwidth in bytes a second, peaks in FLOP a second, price in USD a second.

    `peaks` are by dtype, `vector` for elementwise work; dense unless the name says `sparse`. `link` is what it
    exchanges with others of its kind, both directions together, in bytes a second; `tdp` its power in watts. Nothing is
    computed from these two.
    """

    name: str
    title: str
    memory: Expr
    bandwidth: Expr
    peaks: Mapping[str, Expr]
    link: Expr | None
    tdp: Expr | None
    price: Expr | None
    source: str | None
    span: Span
    count: int = 1

    @property
    def sparse(self) -> bool:
        return "sparse" in self.name

    def times(self, count: int) -> Device:
        """So many of it as one: memory, bandwidth, peaks, power and price times `count`, communication left out."""
        if count == 1:
            return self
        return replace(
            self,
            memory=self.memory * count,
            bandwidth=self.bandwidth * count,
            peaks={kind: peak * count for kind, peak in self.peaks.items()},
            tdp=None if self.tdp is None else self.tdp * count,
            price=None if self.price is None else self.price * count,
            count=self.count * count,
        )

    def peak(self, dtype: DType | str, why: str = "in which the matmuls compute") -> Expr:
        """The peak for a dtype, or for `vector` work; `why` it is needed is said where the device has none.

        Raises:
            SpecError: the device states none.
        """
        kind = str(dtype)
        if kind in self.peaks:
            return self.peaks[kind]
        has = [k for k in self.peaks if k != VECTOR]
        dense_first = sorted(library.shipped("devices"), key=lambda name: ("sparse" in name, name))
        others = [name for name in dense_first if _states(name, kind)]
        what = f"for {kind}"
        if kind == VECTOR:
            what, why = "for vector work", "which fidelity `traffic` counts"
        facts = [f"it has peaks for {prose(has)}"] if has else ["it states no peak at all"]
        if kind != VECTOR and has:
            best = next((k for k in ("bf16", "fp16") if k in has), has[0])
            options = f"--set dtype.weights={kind} --set dtype.compute={best}"
            facts.append(f"values may be stored as {kind} and computed in {best}: {options}")
        if others:
            facts.append(f"with a peak {what}: {', '.join(others)}")
        raise SpecError(
            Diagnostic("peak", f"`{self.name}` states no peak {what}, {why}", self.span, facts=tuple(facts))
        )


def _states(name: str, kind: str) -> bool:
    return kind in shipped_device(name).peaks


def devices_of(program: Program) -> dict[str, Device]:
    """The devices that a file declares, by name.

    Raises:
        SpecError: a field is missing, unknown, or of the wrong dimension.
    """
    report = Report()
    found = {}
    for declaration in program.devices.values():
        device = _device(declaration, report)
        if device is not None:
            found[declaration.name] = device
    report.raise_errors()
    return found


def _device(node: syntax.DeviceDeclaration, report: Report) -> Device | None:
    values: dict[str, Expr] = {}
    peaks: dict[str, Expr] = {}
    source: str | None = None
    places: dict[tuple[str, str | None], Span] = {}
    before = len(report.errors)
    for item in node.fields:
        key = (item.name, item.kind)
        if key in places:
            report.add(
                Diagnostic(
                    "duplicate",
                    f"`{item.name_span.text}` is stated twice",
                    item.name_span,
                    others=(Label(places[key], "first here"),),
                )
            )
            continue
        places[key] = item.name_span
        try:
            if item.name == "peak" and item.kind is not None:
                if item.kind not in (*DTYPE_NAMES, VECTOR):
                    raise _unknown("dtype of a peak", item.kind, item.name_span, (*DTYPE_NAMES, VECTOR))
                peaks[item.kind] = _stated(item, FLOP_PER_SECOND)
            elif item.name in _FIELDS and item.kind is None:
                values[item.name] = _stated(item, _FIELDS[item.name])
            elif item.name == "source" and item.kind is None:
                if not isinstance(item.value, syntax.Text):
                    raise SpecError(Diagnostic("type", "a source is a string", item.value.span))
                source = item.value.value
            elif item.name == "peak":
                raise SpecError(
                    Diagnostic(
                        "syntax",
                        "`peak` does not say of which dtype",
                        item.name_span,
                        help="`peak bf16 = …`, `peak vector = …`",
                    )
                )
            else:
                raise _unknown("field of a device", item.name, item.name_span, (*_FIELDS, "peak", "source"))
        except SpecError as error:
            for diagnostic in error.diagnostics:
                report.add(diagnostic)
    missing = [f"no {needed}" for needed in ("memory", "bandwidth") if (needed, None) not in places]
    if missing:
        report.add(Diagnostic("device", f"device `{node.name}` states {prose(missing)}", node.name_span))
    if len(report.errors) > before:
        return None
    return Device(
        node.name,
        node.title or node.name,
        values["memory"],
        values["bandwidth"],
        peaks,
        values.get("link"),
        values.get("tdp"),
        values.get("price"),
        source,
        node.name_span,
    )


def _unknown(what: str, name: str, span: Span, candidates: tuple[str, ...]) -> SpecError:
    near = nearest(name, candidates)
    return SpecError(
        Diagnostic(
            "unknown-name",
            f"there is no {what} `{name}`",
            span,
            facts=() if near else (f"there are {listed(candidates, 20)}",),
            help=f"`{near}` is near" if near else "",
        )
    )


def _stated(item: syntax.Field, dimension: Dimension) -> Expr:
    """A field's value, which must be of its dimension and more than nothing."""

    def no_names(node: syntax.Expression) -> Measure:
        said = f"`{node.span.text}` is no figure, and a device states figures"
        raise SpecError(Diagnostic("type", said, node.span))

    found = measure(item.value, no_names)
    if found.dimension != dimension:
        got = "has no unit" if found.literal else found.dimension.said
        units = listed((unit for unit, (_, of) in UNITS.items() if of == dimension), 40)
        message = f"`{item.name_span.text}` is in {dimension}, and this {got}"
        raise SpecError(Diagnostic("dimension", message, item.value.span, facts=(f"such units are {units}",)))
    if found.value <= 0:
        message = f"`{item.name_span.text}` is {' '.join(item.value.span.text.split())}: more than 0 is needed"
        raise SpecError(Diagnostic("negative", message, item.value.span))
    return found.value


@cache
def shipped_device(name: str) -> Device:
    """A shipped device under its file's name."""
    report = Report()
    program = link(library.read(library.shipped("devices")[name]), report)
    report.raise_errors()
    device = next(iter(devices_of(program).values()))
    return replace(device, name=name)


def named_device(name: str, program: Program | None, *facts: str) -> Device:
    """A shipped device, or one that the spec declares or uses. No file is looked for: a spec may name a device too.

    Raises:
        SpecError: there is none; `facts` are said of it too.
    """
    if program is not None:
        own = {known.replace("_", "-"): known for known in program.devices}
        wanted = own.get(name.replace("_", "-"))
        if wanted is not None:
            return devices_of(program)[wanted]
    shipped = library.shipped("devices")
    if name in shipped:
        return shipped_device(name)
    candidates = {*shipped, *(program.devices if program is not None else ())}
    facts = (f"shipped are {', '.join(shipped)}", *facts)
    raise SpecError(
        Diagnostic("unknown-name", f"there is no device `{name}`", facts=facts, help=near_help(name, candidates))
    )


def find_device(argument: str, program: Program | None = None) -> Device:
    """What --device means: a shipped device, one that the spec declares, a file that declares one, or FILE:NAME.

    Raises:
        SpecError: there is none, or the file declares none or several.
    """
    path, wanted = Path(argument), None
    if not library.is_file(path) and ":" in argument:
        base, _, wanted = argument.rpartition(":")
        path = Path(base)
    own = {name.replace("_", "-") for name in (program.devices if program is not None else ())}
    known = argument in library.shipped("devices") or argument.replace("_", "-") in own
    if known or (not library.is_file(path) and path.suffix != ".arch"):
        return named_device(argument, program, "a file of your own works too: mine.arch:NAME")
    report = Report()
    source = library.read(path)
    linked = link(source, report)
    report.raise_errors()
    found = devices_of(linked)
    if wanted is not None:
        for name, device in found.items():
            if name.replace("_", "-") == wanted.replace("_", "-"):
                return device
        message, has = f"`{source.name}` declares no device `{wanted}`", f"it declares {listed(found)}"
        raise SpecError(Diagnostic("unknown-name", message, facts=(has,), help=near_help(wanted, found)))
    if len(found) != 1:
        raise SpecError(
            Diagnostic(
                "device",
                f"`{source.name}` declares {'no device' if not found else f'{len(found)} devices'}",
                facts=(f"name one: {source.name}:{next(iter(found))}",) if found else (),
            )
        )
    return next(iter(found.values()))
