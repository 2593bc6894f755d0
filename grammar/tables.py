"""Writes tables.json, the parser's tables made from arch.lark: `python -m costmodel.grammar.tables`."""

from __future__ import annotations

import json
from pathlib import Path

from costmodel.parser.tables import build_tables

TABLES = Path(__file__).with_name("tables.json")


def rendered() -> str:
    """The tables as they stand in the file."""
    return json.dumps(build_tables(), separators=(",", ":")) + "\n"


if __name__ == "__main__":
    TABLES.write_text(rendered(), encoding="utf-8")
