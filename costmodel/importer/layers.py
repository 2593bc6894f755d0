"""Layers that differ, as the `repeat`s that a person would write."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import groupby
from typing import Generic, NamedTuple, TypeVar

Kind = TypeVar("Kind", bound=Hashable)

MOST_PERIOD = 64


class Repeat(NamedTuple, Generic[Kind]):
    """So many turns, as an expression in dims, of a body: each kind of layer so many times in a row."""

    turns: str
    body: tuple[tuple[int, Kind], ...]


class First(NamedTuple):
    """A dim for how many layers come before the others."""

    name: str
    layers: int


def repeats(kinds: Sequence[Kind], first: First | None = None) -> list[Repeat[Kind]]:
    """The layers, one after the other, with `num_layers` for how many they are.

    They are all the same; or some come first (`first` names how many) and the others are alike; or a pattern comes
    again and again, the last time perhaps in part; or, where nothing else holds, each run is written down.

    >>> [r.turns for r in repeats(["local", "local", "global"] * 4)]
    ['num_layers / 3']
    """
    total = len(kinds)
    period = _period(kinds)
    if period == 1:
        return [Repeat("num_layers", ((1, kinds[0]),))]
    if first is not None and 0 < first.layers < total and len(set(kinds[: first.layers])) == 1:
        rest = kinds[first.layers :]
        period_behind = _period(rest)
        lead = Repeat(first.name, ((1, kinds[0]),))
        if period_behind is not None and len(rest) % period_behind == 0:
            behind = f"num_layers - {first.name}"
            count = behind if period_behind == 1 else f"({behind}) / {period_behind}"
            return [lead, Repeat(count, _runs(rest[:period_behind]))]
    if period is not None:
        left = total % period
        body = _runs(kinds[:period])
        if left == 0:
            return [Repeat(f"num_layers / {period}", body)]
        whole = Repeat(f"num_layers // {period}", body)
        tail = _runs(kinds[:left])
        if len(tail) == 1:
            return [whole, Repeat(f"num_layers % {period}", ((1, tail[0][1]),))]
        return [whole, Repeat("1", tail)]
    runs = _runs(kinds)
    found = [Repeat(str(count), ((1, kind),)) for count, kind in runs[:-1]]
    return [*found, Repeat(f"num_layers - {total - runs[-1][0]}", ((1, runs[-1][1]),))]


def _period(kinds: Sequence[Kind]) -> int | None:
    """After how many layers the pattern starts again, at least once; None where it does not within a few."""
    for period in range(1, min(len(kinds) // 2, MOST_PERIOD) + 1):
        if all(kinds[i] == kinds[i - period] for i in range(period, len(kinds))):
            return period
    return 1 if len(kinds) == 1 else None


def _runs(kinds: Sequence[Kind]) -> tuple[tuple[int, Kind], ...]:
    return tuple((sum(1 for _ in group), kind) for kind, group in groupby(kinds))
