"""`costmodel search`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from costmodel.compile import one_of
from costmodel.quantity_names import QUANTITIES
from costmodel.render.search import SearchAnswer

from .common import emit_json, emit_page, library_for, refuse, width
from .options import MODEL, PAGE, REQUEST, options
from .sweep import question


@click.command("search")
@click.argument("specs", nargs=-1, required=True, metavar="SPEC...")
@click.option("--minimize", metavar="QUANTITY", help="The best point is where this is least.")
@click.option("--maximize", metavar="QUANTITY", help="The best point is where this is greatest.")
@click.option("--device", metavar="NAMES", help="Devices, with commas between.")
@click.option("--batch-size", metavar="RANGE", help="1:512, 0:4096:128 (step), 1024:131072:*2 (geometric), or 1,8,64.")
@click.option("--seq-len", metavar="RANGE", help="Context lengths, likewise.")
@click.option("--vary", multiple=True, metavar="NAME=RANGE", help="A dim, a dtype, device, or a figure of the device.")
@click.option("--where", multiple=True, metavar="CONDITION", help="What must hold; `and` between several.")
@options([name for name in MODEL if name not in ("free", "new-tokens")])
@click.option("--new-tokens", metavar="RANGE", help="New tokens a sequence, in the phase's place.")
@options("timing", "memory-fraction", "count", REQUEST, PAGE)
@click.option("--strict", is_flag=True, help="Exit with 1 where no point meets the conditions.")
def command(specs: tuple[str, ...], minimize: str | None, maximize: str | None, strict: bool, **given: Any) -> int:
    """The best point of a grid, proved: what the closed forms' trends decide is not looked at, all else is.

    \b
    costmodel search llama-3.1:8b --vary num_kv_heads=1,2,4,8 --vary dtype.cache=bf16,fp8 \\
        --device h100-sxm,h200-sxm --batch-size 1:1024 --seq-len 8192 \\
        --where 'memory <= device.memory and latency <= 20 ms' --maximize throughput
    """
    if (minimize is None) == (maximize is None):
        raise refuse("a search is for the least or the greatest of one quantity", "--minimize latency")
    objective = str(minimize or maximize)
    one_of("quantity", objective, QUANTITIES)
    with library_for("a search"):
        from costmodel.sweep.plan import plan
        from costmodel.sweep.search import search

    asked = question(specs, {**given, "wanted": (objective,), "top": None, "by": None, "pareto": None})
    rising = tuple(axis.rising for axis in asked.axes)
    found = search(plan(replace(asked, axes=rising, free_long=False)), maximize is not None)
    answer = SearchAnswer(found, asked.where)
    if given["as_json"]:
        emit_json(answer.as_json(), given)
    else:
        emit_page(answer.page(width()), given)
    return 1 if strict and not found.found else 0
