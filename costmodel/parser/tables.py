"""The parser's tables: made from the grammar, or read from where they were put beforehand.

Making them takes most of the time of a short command, so they are shipped; they hold for one grammar and one lark.
"""

from __future__ import annotations

import json
from hashlib import sha256
from importlib import resources
from typing import Any

import lark
from lark.grammar import Rule
from lark.lexer import TerminalDef

STARTS = ("spec", "expr", "condition")
OPTIONS: dict[str, Any] = {
    "start": list(STARTS),
    "parser": "lalr",
    "lexer": "basic",
    "keep_all_tokens": True,
    "maybe_placeholders": False,
}


def grammar_text() -> str:
    return resources.files("costmodel.grammar").joinpath("arch.lark").read_text(encoding="utf-8")


def build_tables() -> dict[str, Any]:
    """The parser's tables as plain data, with what they were made from."""
    text = grammar_text()
    data, memo = lark.Lark(text, **OPTIONS).memo_serialize([TerminalDef, Rule])
    return {"lark": lark.__version__, "grammar": sha256(text.encode()).hexdigest(), "data": data, "memo": memo}


def load_tables() -> dict[str, Any] | None:
    """The tables made beforehand, where they are those of this grammar and this lark."""
    try:
        tables: dict[str, Any] = json.loads(resources.files("costmodel.grammar").joinpath("tables.json").read_text())
    except (OSError, ValueError):
        return None
    if tables.get("lark") != lark.__version__ or tables.get("grammar") != sha256(grammar_text().encode()).hexdigest():
        return None
    tables["memo"] = {int(key): value for key, value in tables["memo"].items()}
    parser = tables["data"]["parser"]["parser"]
    parser["tokens"] = {int(key): value for key, value in parser["tokens"].items()}
    parser["states"] = {
        int(state): {int(token): tuple(action) for token, action in actions.items()}
        for state, actions in parser["states"].items()
    }
    return tables


def make_parser(builder: object) -> lark.Lark:
    """A parser that calls the builder for each rule."""
    tables = load_tables()
    if tables is None:
        return lark.Lark(grammar_text(), transformer=builder, **OPTIONS)
    return lark.Lark._load_from_dict(tables["data"], tables["memo"], transformer=builder)
