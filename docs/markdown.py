"""What generated pages are written with: tables, and text that is to show as it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]], right: bool = False) -> str:
    """A table in Markdown; with `right`, all but the first column to the right."""
    rule = ["---", *["---:" if right else "---"] * (len(header) - 1)]
    return "".join(f"| {' | '.join(line)} |\n" for line in (header, rule, *rows))


def code(text: str) -> str:
    """A word in code, in a table's cell too."""
    return "`" + text.replace("|", r"\|") + "`"


def fenced(text: str, language: str = "text") -> str:
    """Lines in code."""
    return f"```{language}\n{text.rstrip()}\n```\n"
