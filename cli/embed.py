"""`costmodel embed`."""

from __future__ import annotations

from difflib import unified_diff
from pathlib import Path

import click

from costmodel.files import Unusable, read_regular
from costmodel.render.diagnostics import render
from costmodel.source import Diagnostic, Source, SpecError

from .common import write
from .regions import regions, with_answers

_MOST = 1 << 24


@click.command("embed")
@click.argument("files", nargs=-1, required=True, metavar="FILE.md...")
@click.option("--check", is_flag=True, help="Write nothing; show what would change, and exit with 1 if anything would.")
def command(files: tuple[str, ...], check: bool) -> int:
    """What stands between two markers of a document is made anew, in place; all else stays as it is, to the byte. The
    markers are comments on lines of their own, <!-- costmodel: formula llama-3.1:8b --of flops --> and
    <!-- /costmodel -->; between them comes what the command answers.

    \b
    costmodel embed README.md
    costmodel embed --check README.md
    """
    found: list[tuple[Source, str]] = []
    faults: list[Diagnostic] = []
    for name in files:
        try:
            source = _read(name)
            found.append((source, with_answers(source)))
        except SpecError as error:
            faults += error.diagnostics
    changed = [(source, text) for source, text in found if source.text != text]
    for source, text in changed:
        if check:
            lines = unified_diff(source.text.splitlines(), text.splitlines(), source.name, "now", lineterm="", n=2)
            click.echo("\n".join(lines) or f"{source.name}: only the ends of its lines")
        else:
            write(Path(source.name).resolve(), text.encode(), overwrite=True)
            click.echo(f"brought up to date: {source.name}")
    for source, _ in [] if check else found:
        if not any(regions(source)):
            click.echo(f"{source.name}: there is no marker in it")
    if faults:
        click.echo(render(faults), err=True)
        return 2
    return 1 if check and changed else 0


def _read(name: str) -> Source:
    try:
        return Source(name, read_regular(name, _MOST).decode())
    except Unusable as fault:
        raise SpecError(Diagnostic(fault.code, f"`{name}`: {fault.why}")) from None
    except UnicodeDecodeError:
        raise SpecError(Diagnostic("file", f"`{name}`: not UTF-8")) from None
