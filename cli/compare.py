"""`costmodel compare`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import click

from costmodel.comparison import UNKNOWNS, Column, Comparison
from costmodel.compile import Compiled, one_of, with_sets
from costmodel.quantity_names import QUANTITIES
from costmodel.render.comparison import ComparisonAnswer
from costmodel.solve.budget import budget
from costmodel.source import SpecError

from .common import (
    compiled,
    device_of,
    emit_json,
    emit_page,
    fraction_option,
    point,
    quantities_of,
    refuse,
    run_of,
    width,
)
from .options import DEVICE, MODEL, PAGE, POINT, REQUEST, options


@click.command("compare")
@click.argument("specs", nargs=-1, required=True, metavar="SPEC...")
@click.option(
    "--with",
    "settings",
    multiple=True,
    metavar="DIM=EXPR",
    help="Each spec once more with this set, `;` between several; again and again for more columns.",
)
@click.option(
    "--of",
    "wanted",
    multiple=True,
    metavar="QUANTITY",
    help="Who is better at what, again and again.  [default: latency, bytes, memory; cost on several devices]",
)
@click.option(
    "--break-even",
    "along",
    multiple=True,
    type=click.Choice(UNKNOWNS),
    help="Along which dim, again and again.  [default: seq_len, batch_size]",
)
@options(DEVICE, POINT, MODEL, REQUEST, "budget", PAGE)
def command(
    specs: tuple[str, ...], settings: tuple[str, ...], wanted: tuple[str, ...], along: tuple[str, ...], **given: Any
) -> None:
    """Specs side by side, on one device or several with commas between: values with their ratios, which is better up to
    which context and batch size, and the ratios in closed form. The first column is the base.

    \b
    costmodel compare llama-2:7b llama-3.1:8b --device h100-nvl --batch-size 32 --seq-len 8192
    costmodel compare llama-3.1:8b --with num_kv_heads=1 --with dtype.cache=fp8 --seq-len 8192
    costmodel compare llama-3.1:8b --device h100-nvl,h200-sxm --batch-size 32 --seq-len 8192 \\
        --of throughput --break-even batch_size
    """
    for name in wanted:
        one_of("quantity", name, QUANTITIES)
    columns = tuple(_columns(specs, settings, given))
    if len(columns) < 2:
        raise refuse(
            "there is one column, and nothing to compare it with",
            "name a second spec, several devices (--device h100-nvl,h200-sxm), or --with num_kv_heads=1",
        )
    for name in wanted:
        if QUANTITIES[name].device and given["device"] is None:
            raise refuse(f"`{name}` needs a device", "--device h100-sxm")
    with budget(float(fraction_option("budget", given["budget"], most=10**6))):
        answer = ComparisonAnswer(Comparison(columns, wanted, along))
        shown = answer.as_json() if given["as_json"] else answer.page(width())
    if isinstance(shown, dict):
        emit_json(shown, given)
    else:
        emit_page(shown, given)


def _columns(specs: tuple[str, ...], settings: tuple[str, ...], given: dict[str, Any]) -> Iterator[Column]:
    devices = [name.strip() for name in given["device"].split(",")] if given["device"] is not None else [None]
    for spec in specs:
        model = compiled(spec, given)
        for variant in (model, *(_with(model, text) for text in settings)):
            for device in devices:
                options = {**given, "device": device}
                try:
                    quantities = quantities_of(variant, options, device_of(variant, options))
                except SpecError as error:
                    raise _named(error, spec, len(specs) > 1) from None
                yield Column(variant, run_of(given), quantities, point(given))


def _with(model: Compiled, text: str) -> Compiled:
    return with_sets(model, [part.strip() for part in text.split(";") if part.strip()], "--with")


def _named(error: SpecError, spec: str, several: bool) -> SpecError:
    """A fault with the spec that it is of, where there are several."""
    if not several:
        return error
    asked = (replace(d, facts=(*d.facts, f"asked of {spec}")) for d in error.diagnostics)
    return SpecError(asked, error.unchecked)
