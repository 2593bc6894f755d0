"""`costmodel fmt`."""

from __future__ import annotations

import json
from difflib import unified_diff
from pathlib import Path

import click

from costmodel import library
from costmodel.layout import laid_out
from costmodel.render.diagnostics import render
from costmodel.source import Diagnostic, Source, SpecError

from .common import refuse, write


@click.command("fmt")
@click.argument("specs", nargs=-1, required=True, metavar="SPEC...")
@click.option("--check", is_flag=True, help="Write nothing; show what would change, and exit with 1 if anything would.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def command(specs: tuple[str, ...], check: bool, as_json: bool) -> int:
    """Lay specs out canonically, in place: indents, spaces, columns. Lines stay where they are broken, comments as they
    are; a spec that cannot be parsed is left alone.

    \b
    costmodel fmt mine/llama.arch
    costmodel fmt --check mine/llama.arch
    """
    found: list[tuple[Source, str]] = []
    faults: list[Diagnostic] = []
    for spec in specs:
        try:
            source = _source(spec, check)
            found.append((source, laid_out(source)))
        except SpecError as error:
            faults += error.diagnostics
    changed = [(source, text) for source, text in found if source.text != text]
    for source, text in changed:
        if check and not as_json:
            lines = unified_diff(source.text.splitlines(), text.splitlines(), source.name, "laid out", lineterm="", n=1)
            click.echo("\n".join(lines) or f"{source.name}: only the ends of its lines")
        elif not check:
            write(Path(source.origin or "").resolve(), text.encode(), overwrite=True)
            if not as_json:
                click.echo(f"laid out {source.name}")
    if as_json:
        names = {source.name for source, _ in changed}
        click.echo(
            json.dumps([{"spec": source.name, "changed": source.name in names} for source, _ in found], indent=1)
        )
    if faults:
        click.echo(render(faults), err=True)
        return 2
    return 1 if check and changed else 0


def _source(spec: str, check: bool) -> Source:
    source, variant = library.find_spec(spec)
    if variant is not None:
        raise refuse(f"`{spec}`: a variant has no layout of its own", f"`{spec.rpartition(':')[0]}` is the whole spec")
    if not check and spec in library.shipped("models") and not library.is_file(Path(spec)):
        raise refuse(f"`{spec}` is a shipped spec, which is not written over", f"costmodel new mine --from {spec}")
    return source
