"""`costmodel sensitivity`."""

from __future__ import annotations

from typing import Any

import click

from costmodel.compile import one_of
from costmodel.quantity_names import QUANTITIES
from costmodel.render.sensitivity import SensitivityAnswer
from costmodel.sensitivity import sensitivity
from costmodel.solve.budget import budget

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


@click.command("sensitivity")
@click.argument("spec")
@click.option("--of", "of", default="latency", metavar="QUANTITY", show_default=True, help="Which quantity.")
@options(DEVICE, POINT, MODEL, REQUEST, "budget", PAGE)
def command(spec: str, of: str, **given: Any) -> None:
    """What a quantity follows, and how closely: each parameter's elasticity, what 10% more of it changes, the next
    values of what must stay whole, and what the quantity does not depend on.

    \b
    costmodel sensitivity llama-3.1:8b --of latency --device h100-nvl --batch-size 32 --seq-len 8192
    costmodel sensitivity mixtral:8x7b --of bytes --batch-size 8 --seq-len 1024
    costmodel sensitivity llama-3.1:8b --of crossover --device h100-nvl --fidelity params
    """
    one_of("quantity", of, QUANTITIES)
    model = compiled(spec, given)
    device = device_of(model, given)
    if QUANTITIES[of].device and device is None:
        raise refuse(f"`{of}` needs a device", "--device h100-sxm; `costmodel list devices` shows what is shipped")
    quantities = quantities_of(model, given, device)
    with budget(float(fraction_option("budget", given["budget"], most=10**6))):
        found = sensitivity(model, run_of(given), quantities, of, point(given))
    answer = SensitivityAnswer(model, quantities, point(given), found)
    if given["as_json"]:
        emit_json(answer.as_json(), given)
    else:
        emit_page(answer.page(width()), given)
