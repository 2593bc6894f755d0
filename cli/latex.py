"""`costmodel latex`."""

from __future__ import annotations

from typing import Any

import click

from costmodel.crossover import crossover
from costmodel.render.derivation import Derivation
from costmodel.render.notation import Notation
from costmodel.solve.budget import budget

from .common import command_line, compiled, device_of, emit, fraction_option, point, quantities_of, refuse, run_of
from .options import DEVICE, FILE, MODEL, POINT, OneOf, options


@click.command("latex")
@click.argument("spec")
@click.option("--format", "form", type=OneOf(["latex", "markdown"]), default="latex", show_default=True)
@click.option("--standalone", is_flag=True, help="A whole LaTeX document, not a fragment of one.")
@options(DEVICE, POINT, MODEL, "budget", "names", FILE)
def command(spec: str, form: str, standalone: bool, **given: Any) -> None:
    """A derivation to publish: the symbols, each operation with its shapes, sums by block, totals of prefill and
    decode, bytes and memory; with a device where a pass turns compute-bound, step by step.

    \b
    costmodel latex llama-3.1:8b --device h100-nvl --seq-len 8192 --standalone -o llama.tex
    costmodel latex mixtral:8x7b --device h200-sxm --format markdown
    """
    if standalone and form == "markdown":
        raise refuse("--standalone is for LaTeX; Markdown needs nothing around it", "--format latex")
    model = compiled(spec, given)
    device = device_of(model, given)
    quantities, at = quantities_of(model, given, device), point(given)
    with budget(float(fraction_option("budget", given["budget"], most=10**6))):
        answer = crossover(quantities, at) if device is not None else None
        notation = Notation(model, at, given["names"])
        document = Derivation(notation, run_of(given), quantities, answer, command_line("standalone")).document()
        text = document.markdown() if form == "markdown" else document.standalone() if standalone else document.latex()
    emit(text, given)
