"""`costmodel check`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from costmodel.check import check
from costmodel.checkpoint import read_checkpoint
from costmodel.render.checking import checks_json, checks_page, messages

from .common import emit_json, emit_page, width
from .options import PAGE, options


@click.command("check")
@click.argument("specs", nargs=-1, required=True, metavar="SPEC...")
@click.option(
    "--against",
    metavar="FILE",
    help="Weights: .safetensors, the .index.json of several, or .gguf; read by their header.",
)
@options(PAGE)
def command(specs: tuple[str, ...], against: str | None, **given: Any) -> int:
    """Parse each spec, check its shapes in every phase and variant, and prove or refute every `expect`.

    Exits with 1 if an expect fails, with 2 if a spec has errors. With --against the spec's weights are compared with
    those of a checkpoint, parameters in all and by shape; a difference exits with 1.

    \b
    costmodel check llama-3.1 mine/llama.arch
    """
    checkpoint = read_checkpoint(Path(against)) if against is not None else None
    results = [check(spec, checkpoint) for spec in specs]
    if given["as_json"]:
        emit_json(checks_json(results), given)
    elif len(results) > 1 or not results[0].errors:
        emit_page(checks_page(results, width()), given)
    said = "\n\n".join(filter(None, map(messages, results)))
    if said and not given["as_json"]:
        click.echo(("\n" if results[0].expects or len(results) > 1 else "") + said, err=True)
    return 2 if any(result.errors for result in results) else 0 if all(result.ok for result in results) else 1
