"""The pages that are written from the code, and what writes them again: `make reference`.

Each entry of PAGES is a page's file and the function that gives its text; tests/test_reference.py holds the files
against what the functions give now.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from inspect import cleandoc
from itertools import groupby
from pathlib import Path
from sys import modules

import click
from sympy import Expr

from costmodel import library
from costmodel.api import load
from costmodel.cli.main import COMMANDS, group
from costmodel.device import VECTOR, shipped_device
from costmodel.dtypes import DTYPE_NAMES, dtype
from costmodel.figures import as_figure
from costmodel.ops import OPERATIONS, Operation, custom
from costmodel.quantity_names import QUANTITIES, Quantity
from costmodel.render.latex import lettered
from costmodel.render.listing import shown_default
from costmodel.render.markdown import math, plain_text
from costmodel.render.numbers import plain, with_prefix
from costmodel.results import Plot
from costmodel.units import UNITS, USD

from . import models
from .lines import lines
from .markdown import code, fenced, table

FOLDER = Path(__file__).parent


# --- operations

OPERATIONS_HEAD = """\
# Operations

Written by `make reference` from the docstrings in `costmodel/ops/`. `costmodel list ops NAME` shows one of them.

One multiply and one add are 2 FLOPs; |x| is the number of elements of x. What each fidelity counts is in
[the language](language.md#how-finely-costs-are-counted-fidelity). At fidelity `traffic` the activations that go in and
out are counted of those operations that say so, of all others only with `--fusion none`; a view moves nothing. A spec
may declare an operation of its own with [`op`](language.md#2-declarations).
"""


def operations() -> str:
    """Every operation in its module's order: its docstring, its parameters, how its activations count."""
    kinds = [kind for kind in OPERATIONS.values() if kind.__module__ != custom.__name__]
    parts = [OPERATIONS_HEAD]
    for module, of_module in groupby(kinds, key=lambda kind: kind.__module__):
        title = re.split(r"[:;,.]", modules[module].__doc__ or "", maxsplit=1)[0]
        parts.append(f"## {title}\n")
        for named, each in groupby(of_module, key=lambda kind: kind.keyword.isidentifier()):
            if named:
                parts += map(operation, each)
            else:
                parts.append("### Arithmetic\n\n" + "\n".join(f"- {described(kind)}" for kind in each) + "\n")
    return "\n".join(parts)


def operation(kind: type[Operation]) -> str:
    parts = [f"### {kind.keyword}", described(kind)]
    rows = [
        (code(p.name), p.kind, "needed" if p.required else code(shown_default(p.default)), plain_text(p.doc))
        for p in kind.parameters()
    ]
    if kind.is_view or kind.moves:
        parts.append("A view." if kind.is_view else "At fidelity `traffic` its activations are counted.")
    return "\n\n".join([*parts, table(("parameter", "takes", "default", ""), rows)])


def described(kind: type[Operation]) -> str:
    """The docstring as paragraphs, each kind of FLOPs one of its own."""
    text = re.sub(r"\n(?=\w+_flops = )", "\n\n", cleandoc(kind.__doc__ or ""))
    return "\n\n".join(outside_code(" ".join(paragraph.split())) for paragraph in text.split("\n\n"))


def outside_code(text: str) -> str:
    """What Markdown would take for its own, escaped, save what stands in code."""
    parts = text.split("`")
    return "".join(f"`{part}`" if i % 2 else plain_text(part) for i, part in enumerate(parts))


# --- quantities, dtypes, units

QUANTITIES_HEAD = """\
# Quantities, dtypes and units

Written by `make reference` from `costmodel/quantity_names.py`, `dtypes.py` and `units.py`.

## Quantities

What `expect`, `solve`, `--of` and `--where` name; [the language](language.md#6-quantities) says how each is counted.
"""


def quantities() -> str:
    """The tables of quantities, of dtypes and of units."""
    rows = [
        (code(name), f"${math(lettered(q.letter))}$", str(q.dimension), plain_text(q.meaning), needs(q))
        for name, q in QUANTITIES.items()
    ]
    types = [(kind.name, kind.bytes) for kind in map(dtype, DTYPE_NAMES) if kind is not None]
    dtypes = [(code(name), plain(size * 8), plain(size)) for name, size in types]
    units = [(code(name), amount(size), str(dimension)) for name, (size, dimension) in UNITS.items()]
    return "\n".join(
        [
            QUANTITIES_HEAD,
            table(("quantity", "symbol", "unit", "what it is", "needs"), rows),
            "## Dtypes\n\nBesides these `N bits` is a dtype; N may be a fraction.\n",
            table(("dtype", "bits", "bytes"), dtypes, right=True),
            "## Units\n",
            table(("unit", "is", "of"), units),
        ]
    )


def needs(quantity: Quantity) -> str:
    """What must be given for a figure beside the spec and the workload."""
    options = [*(["device"] if quantity.device else []), *quantity.request]
    price = quantity.dimension == USD
    return ", ".join([code("--" + option.replace("_", "-")) for option in options] + (["a price"] if price else []))


def amount(size: Fraction) -> str:
    return plain(size) if size >= 1 else f"1/{plain(1 / size)}"


# --- devices

DEVICES_HEAD = """\
# Devices

Written by `make reference` from `specs/devices/`. `costmodel list devices NAME` shows one with all that it states.

Peaks are in TFLOP/s, dense unless the device's name says `sparse`; the ridge is the bf16 peak over the bandwidth, in
FLOP a byte. To add one: [describe a device](language.md#5-devices).

"""


def devices() -> str:
    """A table of all figures, then where each device's are from."""
    found = {name: shipped_device(name) for name in library.shipped("devices")}
    kinds = [kind for kind in (*DTYPE_NAMES, VECTOR) if any(kind in device.peaks for device in found.values())]
    rows = [
        (
            code(name),
            with_prefix(as_figure(device.memory), "B"),
            with_prefix(as_figure(device.bandwidth), "B/s"),
            *(per(device.peaks.get(kind), Fraction(10**12)) for kind in kinds),
            per(device.peaks.get("bf16"), as_figure(device.bandwidth)),
            per(device.link, Fraction(10**9)),
            per(device.tdp, Fraction(1)),
            per(device.price, Fraction(1, 3600)),
        )
        for name, device in found.items()
    ]
    header = ("device", "memory", "bandwidth", *kinds, "ridge", "link, GB/s", "power, W", "USD/h")
    sources = [
        (code(name), plain_text(device.title), plain_text(device.source or "")) for name, device in found.items()
    ]
    return (
        DEVICES_HEAD
        + table(header, rows, right=True)
        + "\n## Where the figures are from\n\n"
        + table(("device", "title", "source"), sources)
    )


def per(value: Expr | None, unit: Fraction) -> str:
    """A figure in a unit, at most two decimals; a dash where the device states none."""
    return "–" if value is None else plain(Fraction(round(as_figure(value) / unit * 100), 100))


# --- commands

COMMANDS_HEAD = """\
# The help of each command

Written by `make reference` from `--help`. What options and answers mean is in [the command line](cli.md).

"""


def commands() -> str:
    """What `--help` says, of every command."""
    parts = [fenced(helped(group, "costmodel"))]
    with click.Context(group, info_name="costmodel") as context:
        for name in COMMANDS:
            command = group.get_command(context, name)
            assert command is not None
            parts.append(f"## {name}\n\n{fenced(helped(command, name, context))}")
    return COMMANDS_HEAD + "\n".join(parts)


def helped(command: click.Command, name: str, parent: click.Context | None = None) -> str:
    context = click.Context(command, parent, name, terminal_width=80, help_option_names=["-h", "--help"])
    return command.get_help(context)


PAGES: dict[str, Callable[[], str]] = {
    "models.md": models.page,
    "operations.md": operations,
    "quantities.md": quantities,
    "devices.md": devices,
    "commands.md": commands,
    "explanation/lines-256.svg": lambda: lines("llama-3.1:8b", "h100-nvl", 256, -100, 800),
    "explanation/lines-8192.svg": lambda: lines("llama-3.1:8b", "h100-nvl", 8192, -40, 80),
}
# drawn by matplotlib, whose releases differ in what they write: held against the figures in them alone
PICTURES: dict[str, Callable[[], Plot]] = {
    "explanation/regime.svg": lambda: load("llama-3.1:8b").plot("regime", "h100-nvl"),
    "how-to/throughput.svg": lambda: load("llama-3.1:8b").plot("throughput", "h100-nvl", seq_len=[256, 2048, 8192]),
}


if __name__ == "__main__":
    for file, page in PAGES.items():
        FOLDER.joinpath(file).write_text(page(), encoding="utf-8", newline="\n")
    for file, picture in PICTURES.items():
        picture().save(FOLDER / file, overwrite=True)
