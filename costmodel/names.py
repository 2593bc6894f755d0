"""Misspelt names: the nearest one that would be legal."""

from __future__ import annotations

import keyword
from collections.abc import Iterable

RESERVED = frozenset(
    "as block device dim dtype else expect graph if mesh model op phase repeat return shared state use variant"
    " weight true false none".split()
)


def is_reserved(name: str) -> bool:
    """Whether no dim, block, weight, state or variable may have this name: it is the language's or Python's."""
    return name in RESERVED or keyword.iskeyword(name)


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate within two edits of `name` (one where it has fewer than five letters), or None.

    >>> nearest("num_head", ["num_heads", "hidden_size"])
    'num_heads'
    """
    most = 1 if len(name) < 5 else 2
    best: tuple[int, str] | None = None
    for candidate in candidates:
        if abs(len(candidate) - len(name)) > most or candidate == name:
            continue
        distance = _distance(name.lower(), candidate.lower(), most)
        if distance <= most and (best is None or (distance, candidate) < best):
            best = (distance, candidate)
    return best[1] if best else None


def _distance(a: str, b: str, most: int) -> int:
    """Levenshtein's distance, given up as soon as it must exceed `most`."""
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (letter != other))
        if min(row) > most:
            return most + 1
    return row[-1]


def listed(names: Iterable[str], most: int = 12) -> str:
    """Names as prose: "`a`, `b` and `c`"."""
    quoted = [f"`{name}`" for name in names]
    if len(quoted) > most:
        return ", ".join(quoted[:most]) + f" and {len(quoted) - most} more"
    return " and ".join(filter(None, [", ".join(quoted[:-1]), quoted[-1]])) if quoted else "none"
