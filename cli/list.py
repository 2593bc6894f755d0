"""`costmodel list`."""

from __future__ import annotations

from typing import Any

import click

from costmodel.render.listing import KINDS, listing_json, listing_page

from .common import emit_json, emit_page, width
from .options import PAGE, OneOf, options


@click.command("list")
@click.argument("kind", type=OneOf(KINDS), required=False)
@click.argument("name", required=False)
@options(PAGE)
def command(kind: str | None, name: str | None, **given: Any) -> None:
    """What is shipped: how many of each kind, all of one, or one of it in full with its sources.

    \b
    costmodel list devices
    costmodel list ops attention
    """
    if given["as_json"]:
        emit_json(listing_json(kind or "", name), given)
    else:
        emit_page(listing_page(kind or "", name, width()), given)
