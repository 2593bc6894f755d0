"""`costmodel crossover`."""

from __future__ import annotations

from typing import Any

import click

from costmodel.crossover import crossover
from costmodel.render.crossover import CrossoverAnswer
from costmodel.solve.budget import budget
from costmodel.suggest import suggest

from .common import compiled, device_of, emit_json, emit_page, fraction_option, point, quantities_of, run_of, width
from .options import DEVICE, MODEL, PAGE, options


@click.command("crossover")
@click.argument("spec")
@options(DEVICE, "seq-len", MODEL, "budget", "names", PAGE)
@click.option("--strict", is_flag=True, help="Exit with 1 where there is no crossover that fits.")
def command(spec: str, strict: bool, **given: Any) -> int:
    """Where a pass turns from memory-bound to compute-bound as the batch grows, whether that exists and fits, which
    batch to run, and why.

    \b
    costmodel crossover llama-3.1:8b --device h100-nvl --seq-len 8192
    costmodel crossover mixtral:8x7b --device h200-sxm --seq-len 1024 --set dtype.weights=fp8
    """
    model = compiled(spec, given)
    quantities = quantities_of(model, given, device_of(model, given, needed=True))
    with budget(float(fraction_option("budget", given["budget"], most=10**6))):
        answer = crossover(quantities, point(given))
        found = CrossoverAnswer(model, answer, suggest(model, run_of(given), answer), given["names"])
        shown = found.as_json() if given["as_json"] else found.page(width())
    if isinstance(shown, dict):
        emit_json(shown, given)
    else:
        emit_page(shown, given)
    if answer.unsolvable is not None:
        return 1
    return 1 if strict and answer.status not in ("crosses", "always") else 0
