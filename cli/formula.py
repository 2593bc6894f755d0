"""`costmodel formula`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from costmodel.compile import one_of
from costmodel.quantity_names import QUANTITIES
from costmodel.render.formulas import FORMATS, Formulas

from .common import compiled, device_of, emit, emit_json, emit_page, point, quantities_of, refuse, width
from .options import DEVICE, MODEL, OUTPUT, POINT, REQUEST, OneOf, options

_OTHERS = {
    "latex": Formulas.latex,
    "markdown": Formulas.markdown,
    "python": Formulas.python,
    "javascript": Formulas.javascript,
    "excel": Formulas.excel,
}
_WORKBOOKS = (".xlsx", ".xlsm", ".xls", ".ods")


@click.command("formula")
@click.argument("spec")
@click.option(
    "--of",
    "wanted",
    multiple=True,
    metavar="QUANTITY",
    help="Which quantity, again and again.  [default: flops, bytes]",
)
@click.option("--format", "form", type=OneOf(FORMATS), default="text", show_default=True)
@click.option("--flat", is_flag=True, help="One sum, without the hierarchy of blocks.")
@options(DEVICE, POINT, MODEL, REQUEST, "names", OUTPUT)
def command(spec: str, wanted: tuple[str, ...], form: str, flat: bool, **given: Any) -> None:
    """Closed forms: a hierarchy of named parts (C = batch_size · (num_layers · (C_attn + C_ffn) + C_unembedding)), each
    part below, or flat.

    \b
    costmodel formula llama-3.1:8b --of flops --of bytes
    costmodel formula llama-3.1:8b --of flops --free all --format latex
    """
    if form == "excel" and Path(given["output"] or "").suffix.lower() in _WORKBOOKS:
        raise refuse(
            f"-o {given['output']}: cells are written as text with tabs between, and no workbook", "-o cells.tsv"
        )
    found = formulas(spec, wanted, flat, **given)
    if given["as_json"] or form == "json":
        emit_json(found.as_json(), given)
    elif form == "text":
        emit_page(found.page(width()), given)
    else:
        emit(_OTHERS[form](found), given)


def formulas(spec: str, wanted: tuple[str, ...], flat: bool, **given: Any) -> Formulas:
    """What these options ask for.

    Raises:
        SpecError: there is no such spec, device or quantity, or a quantity has no closed form.
    """
    for name in wanted:
        one_of("quantity", name, QUANTITIES)
    model = compiled(spec, given)
    device = device_of(model, given)
    names = tuple(dict.fromkeys(wanted)) or ("flops", "bytes")
    for name in names:
        if QUANTITIES[name].device and device is None:
            raise refuse(f"`{name}` needs a device", "--device h100-sxm")
    found = Formulas(model, quantities_of(model, given, device), names, point(given), flat, given["names"])
    for name in names:
        if name not in found.exprs:
            raise refuse(f"`{name}` is no single closed form", "`costmodel crossover` solves for it")
    return found
