"""`costmodel latex`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from costmodel.crossover import crossover
from costmodel.render.derivation import Derivation
from costmodel.render.notation import Notation
from costmodel.solve.budget import budget

from .common import command_line, compiled, device_of, emit, fraction_option, point, quantities_of, refuse, run_of
from .options import DEVICE, FILE, MODEL, OneOf, options

_MOST_CONTEXTS = 6


@click.command("latex")
@click.argument("spec")
@click.option("--format", "form", type=OneOf(["latex", "markdown"]), default="latex", show_default=True)
@click.option("--standalone", is_flag=True, help="A whole LaTeX document, not a fragment of one.")
@options(DEVICE, "batch-size")
@click.option(
    "--seq-len", metavar="N,...", help="Context length, with the new tokens in it; several are worked through."
)
@options(MODEL, "budget", "names", FILE)
def command(spec: str, form: str, standalone: bool, **given: Any) -> None:
    """A derivation to publish: the symbols, each operation with its shapes, sums by block, totals of prefill and
    decode, bytes and memory; with a device where a pass turns compute-bound, step by step.

    \b
    costmodel latex llama-3.1:8b --device h100-nvl --seq-len 8192,256 --standalone -o llama.tex
    costmodel latex mixtral:8x7b --device h200-sxm --format markdown
    """
    if standalone and form == "markdown":
        raise refuse("--standalone is for LaTeX; Markdown needs nothing around it", "--format latex")
    contexts = _contexts(given)
    given["seq_len"] = contexts[0]
    model = compiled(spec, given)
    device = device_of(model, given)
    if device is None and len(contexts) > 1:
        raise refuse("several contexts are worked through on a device", "--device h100-sxm")
    quantities, at = quantities_of(model, given, device), point(given)
    elsewhere = [point({**given, "seq_len": context}) for context in contexts[1:]]
    for other in elsewhere:
        quantities.check_point(other)
    with budget(float(fraction_option("budget", given["budget"], most=10**6))):
        answer = crossover(quantities, at) if device is not None else None
        others = tuple(crossover(quantities, other) for other in elsewhere)
        notation = Notation(model, at, given["names"])
        made_by = command_line("standalone")
        document = Derivation(notation, run_of(given), quantities, answer, made_by, others).document()
        text = document.markdown() if form == "markdown" else document.standalone() if standalone else document.latex()
    emit(text, given)


def _contexts(given: Mapping[str, Any]) -> list[str | None]:
    """The contexts that are asked for, each once."""
    if given["seq_len"] is None:
        return [None]
    found = [part.strip() for part in given["seq_len"].split(",")]
    if len(found) > _MOST_CONTEXTS:
        raise refuse(f"--seq-len lists {len(found)} contexts: at most {_MOST_CONTEXTS} are worked through")
    return list(dict.fromkeys(found))
