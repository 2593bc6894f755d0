"""`costmodel new`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import click

from costmodel import library
from costmodel.compile import read_program
from costmodel.names import is_reserved
from costmodel.program import Program
from costmodel.source import Report, Source

from .common import refuse, write
from .options import options


@click.command("new")
@click.argument("name")
@click.option("--from", "origin", required=True, metavar="SPEC", help="The spec to start from: llama-3.1.")
@options("overwrite")
def command(name: str, origin: str, **given: Any) -> None:
    """Copy a shipped spec, with the blocks that it uses, into this folder, to start one of your own.

    \b
    costmodel new mine --from llama-3.1
    """
    stem = name.removesuffix(".arch")
    identifier = re.sub(r"\W", "_", stem, flags=re.ASCII)
    if not re.fullmatch(r"[A-Za-z][\w.-]*", stem, flags=re.ASCII):
        raise refuse(f"`{name}` cannot name a spec: a letter, then letters, digits, `_`, `-` or `.`")
    if is_reserved(identifier):
        raise refuse(f"`{name}` cannot name a spec: it is a word of the language, or of Python")
    source, variant = library.find_spec(origin)
    program = read_program(source, Report())
    if variant is not None:
        program.variant(variant)
    files = {Path(f"{stem}.arch"): _renamed(program, identifier)}
    for used in program.files[1:]:
        files[_place(used, source)] = used.text
    overwrite = bool(given["overwrite"])
    for path, text in files.items():
        if os.path.exists(path) and not overwrite and (not path.is_file() or path.read_text(encoding="utf-8") != text):
            raise refuse(f"{path}: there is such a file already, and it differs", "--overwrite writes over it")
    for path, text in files.items():
        if os.path.exists(path) and not overwrite:
            click.echo(f"there already: {path}")
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, text.encode(), overwrite)
        click.echo(f"wrote {path}")
    click.echo(f"try: costmodel check {stem}.arch")


def _renamed(program: Program, identifier: str) -> str:
    """The spec's text under another name."""
    if program.model is None:
        raise refuse(f"{program.source.name} is no model: it declares no `model`")
    span, text = program.model.name_span, program.source.text
    return text[: span.start] + identifier + text[span.end :]


def _place(used: Source, source: Source) -> Path:
    """Where a used file goes: to the same place beside the copy as it has among the specs."""
    assert used.origin is not None and source.origin is not None
    path = Path(used.origin)
    for root in (library.shipped_root(), Path(source.origin).absolute().parent):
        if root in path.absolute().parents:
            return Path(os.path.relpath(path.absolute(), root))
    return Path(path.name)
