"""`costmodel explain`."""

from __future__ import annotations

from typing import Any

import click

from costmodel.render.explanation import Explanation

from .common import compiled, device_of, emit_json, emit_page, point, quantities_of, width
from .options import DEVICE, MODEL, PAGE, POINT, options


@click.command("explain")
@click.argument("spec")
@options(DEVICE, POINT, MODEL, PAGE)
@click.option("--all", "show_all", is_flag=True, help="Also the operations that cost nothing at this fidelity.")
def command(spec: str, show_all: bool, **given: Any) -> None:
    """The operations as a tree of blocks: parameters, FLOPs and bytes, as formulas, or as figures with shares where the
    workload is fixed; with a device the time of each and the batch at which it turns compute-bound.

    \b
    costmodel explain llama-3.1:8b --device h100-nvl --batch-size 32 --seq-len 8192
    """
    model = compiled(spec, given)
    found = Explanation(model, quantities_of(model, given, device_of(model, given)), point(given), show_all)
    if given["as_json"]:
        emit_json(found.as_json(), given)
    else:
        emit_page(found.page(width()), given)
