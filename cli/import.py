"""`costmodel import`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from costmodel.check import check_compiled
from costmodel.compile import Run, compile_source
from costmodel.importer import import_config
from costmodel.library import MOST_CONFIG_BYTES, read
from costmodel.source import Source, SpecError

from .common import emit, emit_json
from .options import options


@click.command("import")
@click.argument("file")
@click.option("--ignore", "ignored", multiple=True, metavar="KEY", help="Leave a key out that changes no count.")
@options("json", "output", "overwrite")
def command(file: str, ignored: tuple[str, ...], **given: Any) -> None:
    """Write the spec of the model that a published config.json describes, with the shipped blocks.

    What the config leaves out is taken from the class that reads it; what it says and is not understood is refused.
    Every command takes a config.json as SPEC, too.

    \b
    costmodel import config.json -o mine.arch
    """
    found = import_config(read(Path(file), most=MOST_CONFIG_BYTES), ignored)
    compiled = compile_source(Source(f"{file}, imported", found.text))
    checked = check_compiled(compiled)
    if checked.errors:
        raise SpecError(checked.errors, checked.unchecked)
    params = int(compiled.table(Run()).params)
    if given["as_json"]:
        answer = {"family": found.family, "params": params, "notes": found.notes, "passed": found.passed}
        emit_json({**answer, "spec": found.text}, given)
        return
    emit(found.text, given)
    if given["output"] is not None:
        click.echo(f"wrote {given['output']}: {found.family}, {params:,} parameters")
        for note in found.notes:
            click.echo(f"  {note}")
        click.echo(f"try: costmodel crossover {given['output']} --device h100-sxm --seq-len 4096")
