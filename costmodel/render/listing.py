"""`list`: what is shipped, as tables, or one of it in full with its sources."""

from __future__ import annotations

from collections.abc import Callable
from inspect import cleandoc
from typing import Any

from sympy import Expr

from costmodel import library, syntax
from costmodel.algebra import text
from costmodel.compile import Compiled, read_program
from costmodel.device import VECTOR, Device, shipped_device
from costmodel.elaborate.environment import Choice
from costmodel.figures import as_figure, as_json
from costmodel.names import listed, nearest
from costmodel.ops import OPERATIONS
from costmodel.program import Program
from costmodel.quantity_names import QUANTITIES
from costmodel.render.diagnostics import visible
from costmodel.render.numbers import decimal, plain, with_prefix
from costmodel.render.page import Page
from costmodel.resolve import summary
from costmodel.source import Diagnostic, Report, SpecError
from costmodel.symbols import symbol

KINDS = ("models", "devices", "ops", "quantities")
_OF_KIND = {
    "models": "published models, most in several sizes",
    "devices": "accelerators, by their data sheets",
    "ops": "operations that a graph may call",
    "quantities": "what conditions, --of and answers name",
}


def named(kind: str) -> list[str]:
    """The names of a kind."""
    return {
        "models": lambda: list(library.shipped("models")),
        "devices": lambda: list(library.shipped("devices")),
        "ops": lambda: sorted(OPERATIONS, key=lambda k: (not k.isidentifier(), k)),
        "quantities": lambda: list(QUANTITIES),
    }[kind]()


def find(kind: str, name: str) -> str:
    """One name of a kind.

    Raises:
        SpecError: there is none.
    """
    known = named(kind)
    if name not in known:
        near = nearest(name, known)
        raise SpecError(
            Diagnostic(
                "unknown-name",
                f"there is no {kind.removesuffix('s').replace('quantitie', 'quantity')} `{name}`",
                facts=(f"there are {listed(known, 60)}",),
                help=f"`{near}` is near" if near else "",
            )
        )
    return name


# --- for programs


def listing_json(kind: str, name: str | None = None) -> list[dict[str, Any]]:
    """`[{"name", "title", "variants" or fields}]`; without a kind the kinds."""
    if not kind:
        return [{"name": k, "title": _OF_KIND[k], "count": len(named(k))} for k in KINDS]
    make: Callable[[str], dict[str, Any]] = {
        "models": _model_json,
        "devices": _device_json,
        "ops": _op_json,
        "quantities": _quantity_json,
    }[kind]
    return [make(n) for n in ([find(kind, name)] if name is not None else named(kind))]


def _program(name: str) -> Program:
    report = Report()
    return read_program(library.read(library.shipped("models")[name]), report)


def _model_json(name: str) -> dict[str, Any]:
    program = _program(name)
    return {
        "name": name,
        "title": program.title,
        "variants": list(program.variants),
        "dims": list(program.dims),
        "phases": list(program.phases),
        "graphs": list(program.graphs),
        "file": program.source.name,
    }


def _device_json(name: str) -> dict[str, Any]:
    device = shipped_device(name)
    return {
        "name": name,
        "title": device.title,
        "memory": _exact(device.memory),
        "bandwidth": _exact(device.bandwidth),
        "peaks": {kind: _exact(peak) for kind, peak in device.peaks.items()},
        "link": None if device.link is None else _exact(device.link),
        "tdp": None if device.tdp is None else _exact(device.tdp),
        "price_per_hour": None if device.price is None else as_json(as_figure(device.price) * 3600),
        "source": device.source,
        "sparse": device.sparse,
    }


def _exact(value: Expr) -> Any:
    return as_json(as_figure(value))


def _op_json(name: str) -> dict[str, Any]:
    kind = OPERATIONS[name]
    return {
        "name": name,
        "title": summary(name),
        "parameters": [{"name": p.name, "kind": p.kind, "required": p.required} for p in kind.parameters()],
        "doc": cleandoc(kind.__doc__ or ""),
    }


def _quantity_json(name: str) -> dict[str, Any]:
    quantity = QUANTITIES[name]
    return {"name": name, "title": quantity.meaning, "unit": str(quantity.dimension), "device": quantity.device}


# --- for people


def listing_page(kind: str, name: str | None, width: int) -> Page:
    """All of a kind, or one in full; without a kind how many there are of each."""
    page = Page(width)
    page.text("")
    if not kind:
        rows = [(f"{len(named(k))}", k, _OF_KIND[k], f"costmodel list {k}") for k in KINDS]
        page.table(rows, "rlll")
    elif name is None:
        {"models": _models, "devices": _devices, "ops": _ops, "quantities": _quantities}[kind](page)
    else:
        find(kind, name)
        {"models": _model, "devices": _device, "ops": _op, "quantities": _quantity}[kind](page, name)
    return page


def _models(page: Page) -> None:
    rows = []
    for name in named("models"):
        program = _program(name)
        rows.append((name, visible(program.title), ", ".join(visible(v) for v in program.variants) or "–"))
    page.table(rows, "lll", header=("name", "title", "variants"), indent=0, expand=2)
    page.space()
    page.text(
        f"{len(rows)} models. `list models {rows[0][0]}` shows one with its dims and sources; NAME:VARIANT is a size.",
        indent=2,
    )


def _model(page: Page, name: str) -> None:
    program = _program(name)
    page.text(f"{name}: {visible(program.title)}, {program.source.name}")
    page.space()
    compiled = Compiled(program)
    rows = []
    for dim, value in compiled.environment.figures().items():
        doc = program.dims[dim].doc or ""
        rows.append((dim, text(value), visible(doc)))
    page.table(rows, "lrl", header=("dim", "value", ""), expand=2)
    for variant in program.variants.values():
        page.space()
        own = Compiled(program, Choice(variant=variant.name)).environment
        changed = [f"{s.name} {text(own.value(symbol(s.name)))}" for s in variant.settings]
        page.text(f"{name}:{visible(variant.name)}  {', '.join(changed) or 'the dims above'}")
        for expect in variant.expects:
            page.text(_said(expect), indent=4)
    if program.expects:
        page.space()
        page.text("all")
        for expect in program.expects:
            page.text(_said(expect), indent=4)


def _said(expect: syntax.Expect) -> str:
    said = visible(" ".join(expect.condition.span.text.split()))
    return f"{said}  ({visible(expect.source)})" if expect.source else said


def _devices(page: Page) -> None:
    rows = []
    for name in named("devices"):
        device = shipped_device(name)
        ridge = as_figure(device.peaks["bf16"] / device.bandwidth) if "bf16" in device.peaks else None
        rows.append(
            (
                name,
                with_prefix(as_figure(device.memory), "B"),
                f"{decimal(as_figure(device.bandwidth) / 10**12, 3)} TB/s",
                *(_tera(device, kind) for kind in ("bf16", "fp8", "int8")),
                decimal(ridge, 1) if ridge is not None else "–",
            )
        )
    page.table(rows, "lrrrrrr", header=("name", "memory", "bandwidth", "bf16", "fp8", "int8", "ridge"), indent=0)
    page.space()
    page.text(
        f"{len(rows)} devices. `list devices {rows[0][0]}` shows one with every peak, its price and its source; a file"
        " of your own works wherever a name does: --device mine.arch:NAME",
        indent=2,
    )
    page.counted("peaks in TFLOP/s, dense unless the name says sparse; ridge = bf16 peak / bandwidth, FLOP/B")


def _tera(device: Device, kind: str) -> str:
    return plain(as_figure(device.peaks[kind]) / 10**12) if kind in device.peaks else "–"


def _device(page: Page, name: str) -> None:
    device = shipped_device(name)
    page.text(f"{name}: {device.title}")
    page.space()
    rows = [
        ("memory", with_prefix(as_figure(device.memory), "B"), ""),
        ("bandwidth", with_prefix(as_figure(device.bandwidth), "B/s"), ""),
    ]
    for kind, peak in device.peaks.items():
        ridge = "" if kind == VECTOR else f"ridge {decimal(as_figure(peak / device.bandwidth), 1)} FLOP/B"
        rows.append((f"peak {kind}", with_prefix(as_figure(peak), "FLOP/s"), ridge))
    if device.link is not None:
        rows.append(("link", with_prefix(as_figure(device.link), "B/s"), "both directions"))
    if device.tdp is not None:
        rows.append(("power", f"{plain(as_figure(device.tdp))} W", ""))
    price = "not stated" if device.price is None else f"{plain(as_figure(device.price) * 3600)} USD/h"
    rows.append(("price", price, ""))
    page.table(rows, "lrl")
    if device.source:
        page.space()
        page.text(f"source: {visible(device.source)}", indent=2)
    what = "peaks with 2:4 sparsity" if device.sparse else "dense peaks"
    page.counted(f"{what}; {library.shown_path(library.shipped('devices')[name])}")


def _ops(page: Page) -> None:
    rows = [(name, _meaning(name)) for name in named("ops")]
    page.table(rows, "ll", header=("operation", ""), indent=0, expand=1)
    page.space()
    page.text(
        "`list ops attention` shows one with its formulas. A spec may declare its own: op NAME(...) -> [...] { ... }",
        indent=2,
    )


def _meaning(name: str) -> str:
    return summary(name)


def _op(page: Page, name: str) -> None:
    for paragraph in cleandoc(OPERATIONS[name].__doc__ or "").split("\n\n"):
        page.text(" ".join(paragraph.split()), indent=2)
        page.space()
    rows = [
        (p.name, p.kind, "needed" if p.required else f"default {shown_default(p.default)}")
        for p in OPERATIONS[name].parameters()
    ]
    page.table(rows, "lll", header=("parameter", "takes", ""), indent=2, expand=2)


def shown_default(value: object) -> str:
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _quantities(page: Page) -> None:
    rows = [(n, str(q.dimension), q.meaning + (", with a device" if q.device else "")) for n, q in QUANTITIES.items()]
    page.table(rows, "lll", header=("quantity", "unit", ""), indent=0, expand=2)


def _quantity(page: Page, name: str) -> None:
    quantity = QUANTITIES[name]
    page.text(f"{name}: {quantity.meaning}, in {quantity.dimension}" + (", with a device" if quantity.device else ""))
