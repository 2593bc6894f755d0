"""Misspelt names: the nearest one that would be legal."""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Sequence

RESERVED = frozenset(
    "as block device dim dtype else expect graph if mesh model op phase repeat return shared state use variant"
    " weight true false none".split()
)

MOST_CANDIDATES = 5_000


def is_reserved(name: str) -> bool:
    """Whether no dim, block, weight, state or variable may have this name: it is the language's or Python's."""
    return name in RESERVED or keyword.iskeyword(name)


LONGEST = 80
"""Letters of a name that is still compared with others: the comparison takes the square of their number."""


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that was very likely meant, or None.

    It is within two edits of `name`, within one where that has fewer than five letters, and differs in case alone where
    it is one letter. Of several equally near ones none is offered for a short name, whose neighbours mean nothing; nor
    is one of very many names.

    >>> nearest("num_head", ["num_heads", "hidden_size"])
    'num_heads'
    >>> nearest("roep", ["rope"])
    'rope'
    """
    if len(name) > LONGEST:
        return None
    most = min(len(name) - 1, 1 if len(name) < 5 else 2)
    candidates = list(candidates)
    if len(candidates) > MOST_CANDIDATES:
        return None
    found: list[tuple[int, str]] = []
    for candidate in candidates:
        if abs(len(candidate) - len(name)) > most or candidate == name:
            continue
        distance = _distance(name.lower(), candidate.lower(), most)
        if distance <= most:
            found.append((distance, candidate))
    if not found:
        return None
    least = min(found)
    several = sum(distance == least[0] for distance, _ in found) > 1
    return None if several and len(name) < 5 else least[1]


def _distance(a: str, b: str, most: int) -> int:
    """Edits from one word to the other: letters put in, left out, changed, or two neighbours swapped.

    Given up as soon as it must exceed `most`.
    """
    above: list[int] = []
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        last, row = row, [i]
        for j, other in enumerate(b, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == b[j - 2] and a[i - 2] == other:
                cost = min(cost, above[j - 2] + 1)
            row.append(cost)
        if min(row) > most and min(last) > most:
            return most + 1
        above = last
    return row[-1]


def near_help(name: str, candidates: Iterable[str]) -> str:
    """What is offered for a misspelt name: "`num_heads` is near", or nothing."""
    near = nearest(name, candidates)
    return f"`{near}` is near" if near is not None else ""


def listed(names: Iterable[str], most: int = 12) -> str:
    """Names as prose: "`a`, `b` and `c`"."""
    quoted = [f"`{name}`" for name in names]
    if len(quoted) > most:
        return ", ".join(quoted[:most]) + f" and {len(quoted) - most} more"
    return prose(quoted) or "none"


def prose(words: Sequence[str], last: str = "and") -> str:
    """Words one after the other: "a, b and c"."""
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
