"""`costmodel solve`."""

from __future__ import annotations

from typing import Any

import click

from costmodel.conditions import Setting
from costmodel.question import Question
from costmodel.render.solution import SolutionAnswer
from costmodel.solve.budget import budget
from costmodel.solve_for import solve_for

from .common import compiled, device_of, emit_json, emit_page, fraction_option, point, quantities_of, refuse, run_of
from .common import width as page_width
from .options import DEVICE, MODEL, PAGE, POINT, REQUEST, options


@click.command("solve")
@click.argument("spec")
@click.argument("conditions", nargs=-1, metavar="CONDITION...")
@click.option(
    "--for", "unknown", required=True, metavar="DIM", help="A dim, or device.memory, .bandwidth, .peak, .price."
)
@click.option("--maximize", metavar="QUANTITY", help="Which of the values is best: where this is greatest.")
@click.option("--minimize", metavar="QUANTITY", help="Which of the values is best: where this is least.")
@options(DEVICE, POINT, MODEL, REQUEST, "budget", "names", PAGE)
@click.option("--strict", is_flag=True, help="Exit with 1 where there is no solution.")
def command(
    spec: str,
    conditions: tuple[str, ...],
    unknown: str,
    maximize: str | None,
    minimize: str | None,
    strict: bool,
    **given: Any,
) -> int:
    """For which values of a dim, or of a device's figure, conditions over quantities hold, and which value is best.

    \b
    costmodel solve llama-3.1:8b 'latency <= 20 ms' --for batch_size --maximize throughput \\
        --device h100-nvl --seq-len 8192
    costmodel solve llama-3.1:8b 'crossover <= 300' --for num_kv_heads --device h100-nvl --seq-len 512
    costmodel solve llama-3.1:8b 'latency <= 10 ms' --for device.bandwidth --device h100-nvl \\
        --batch-size 8 --seq-len 8192
    """
    if maximize and minimize:
        raise refuse("--maximize and --minimize exclude each other")
    if not conditions and not (maximize or minimize):
        raise refuse("there is nothing to solve", "give a condition: 'latency <= 20 ms'")
    model = compiled(spec, given)
    device = device_of(model, given)
    quantities = quantities_of(model, given, device)
    setting = Setting(run_of(given), given["timing"], device, quantities.memory_fraction)
    with budget(float(fraction_option("budget", given["budget"], most=10**6))):
        solution = solve_for(Question(model, setting, point(given), conditions, unknown, maximize, minimize))
    found = SolutionAnswer(model, quantities, point(given), solution, given["names"])
    if given["as_json"]:
        emit_json(found.as_json(), given)
    else:
        emit_page(found.page(page_width()), given)
    if solution.status == "incomplete":
        return 1
    return 1 if strict and solution.status != "solved" else 0
