"""`costmodel evaluate`."""

from __future__ import annotations

from typing import Any

import click

from costmodel.render.evaluation import Evaluation

from .common import compiled, device_of, emit_json, emit_page, point, quantities_of, width
from .options import DEVICE, MODEL, PAGE, POINT, REQUEST, options


@click.command("evaluate")
@click.argument("spec")
@options(DEVICE, POINT, MODEL, REQUEST, PAGE)
def command(spec: str, **given: Any) -> None:
    """Every quantity at one point: parameters, FLOPs, bytes, memory and, with a device, times and throughput.

    \b
    costmodel evaluate llama-3.1:8b --device h100-nvl --batch-size 32 --seq-len 8192
    """
    model = compiled(spec, given)
    quantities = quantities_of(model, given, device_of(model, given))
    found = Evaluation(model, quantities, point(given))
    if given["as_json"]:
        emit_json(found.as_json(), given)
    else:
        emit_page(found.page(width()), given)
