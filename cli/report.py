"""`costmodel report`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from costmodel.render.report import Entry, Report, usual_context

from .common import compiled, device_of, fraction_option, quantities_of, refuse, run_of, whole, write
from .options import DEVICE, MODEL, POINT, options


@click.command("report")
@click.argument("specs", nargs=-1, required=True, metavar="SPEC...")
@options(DEVICE, POINT, MODEL, "budget", "names", "output", "overwrite")
def command(specs: tuple[str, ...], **given: Any) -> None:
    """One page in one file, with nothing to fetch: the verdict and why, what would change it, formulas, tables,
    pictures that show figures where the pointer is, and the spec. Several specs, or devices with commas between, stand
    side by side. Where the costs follow the context and none is given, it is 8,192 tokens.

    \b
    costmodel report llama-3.1:8b --device h100-nvl --seq-len 8192 -o llama.html
    costmodel report llama-3.1:8b --device h100-nvl,h200-sxm --seq-len 8192 -o devices.html
    """
    output = given["output"]
    if not output or Path(output).suffix.lower() not in (".html", ".htm"):
        raise refuse("-o says where the page goes, a file that ends in .html", "-o report.html")
    seconds = float(fraction_option("budget", given["budget"], most=10**6))
    entries = list(_entries(specs, given))
    write(Path(output), Report(entries, seconds).html().encode(), bool(given["overwrite"]))


def _entries(specs: tuple[str, ...], given: dict[str, Any]) -> Iterator[Entry]:
    devices = [name.strip() for name in given["device"].split(",")] if given["device"] is not None else [None]
    batch = whole("batch-size", given["batch_size"])
    for spec in specs:
        model = compiled(spec, given)
        for device in devices:
            options = {**given, "device": device}
            quantities = quantities_of(model, options, device_of(model, options))
            context = whole("seq-len", given["seq_len"]) or usual_context(quantities)
            yield Entry(model, run_of(given), quantities, context, batch, given["names"])
