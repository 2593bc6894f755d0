"""`costmodel cache`."""

from __future__ import annotations

import json
from typing import Any

import click

from .answer_cache import MOST_BYTES, MOST_ENTRIES, clear, entries, folder


@click.command("cache")
@click.argument("action", type=click.Choice(["info", "clear"]))
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def command(action: str, as_json: bool) -> None:
    """The answers that are kept on disk, so that a question asked again is answered at once: how many there are, or
    remove them all. `--no-cache` goes round them; COSTMODEL_CACHE names another folder, or is `off`.

    \b
    costmodel cache info
    """
    where = folder()
    if action == "clear":
        removed = clear()
        click.echo(json.dumps({"removed": removed}) if as_json else f"removed {removed:,} kept answers")
        return
    held: dict[str, Any] = {"folder": str(where) if where else None, "entries": 0, "bytes": 0}
    for path in entries():
        held["entries"] += 1
        held["bytes"] += path.lstat().st_size
    held |= {"most_entries": MOST_ENTRIES, "most_bytes": MOST_BYTES}
    if as_json:
        click.echo(json.dumps(held, indent=1))
        return
    if where is None:
        click.echo("no answers are kept: COSTMODEL_CACHE is off")
        return
    click.echo(f"{held['entries']:,} kept answers in {where}")
    click.echo(f"{held['bytes'] / 1e6:,.1f} MB of at most {MOST_BYTES / 1e6:,.0f}, {MOST_ENTRIES:,} answers at most")
