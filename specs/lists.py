"""Writes lists.json, the lists of what is shipped: `python -m costmodel.specs.lists`."""

from __future__ import annotations

import json

from costmodel.cli.shipped_answers import LISTS, WIDTHS, key, made_from
from costmodel.render.listing import KINDS, listing_json, listing_page


def rendered() -> str:
    """The lists as they stand in the file."""
    texts = {}
    for kind in ("", *KINDS):
        texts[key(kind, "json")] = json.dumps(listing_json(kind), indent=1, ensure_ascii=False) + "\n"
        for width in WIDTHS:
            page = listing_page(kind, None, width)
            for form, color in (("plain", False), ("colour", True)):
                texts[key(kind, f"{width} {form}")] = page.show(color)
    made = {kind: made_from(kind) for kind in ("", *KINDS)}
    return json.dumps({"made_from": made, "texts": texts}, ensure_ascii=False, indent=0) + "\n"


if __name__ == "__main__":
    LISTS.write_text(rendered(), encoding="utf-8", newline="\n")
