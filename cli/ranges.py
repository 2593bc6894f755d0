"""Ranges of whole numbers as options give them: `1,8,64`, `1:512`, `0:4096:128`, `1024:131072:*2`."""

from __future__ import annotations

from dataclasses import dataclass

from costmodel.render.diagnostics import visible

from .common import MOST_WORKLOAD, refuse, whole

MOST_VALUES = 100_000


@dataclass(frozen=True)
class Range:
    """Values that are listed or stepped through, or only the two ends of a range without a step."""

    values: tuple[int, ...] = ()
    ends: tuple[int, int] | None = None


def range_of(option: str, text: str | None) -> Range:
    """What an option says; nothing where it is left out. A step from 0 begins at the first value that is 1 or more.

    Raises:
        SpecError: it is no range, or has too many values.
    """
    if text is None:
        return Range()
    values: list[int] = []
    for part in text.split(","):
        pieces = [piece.strip() for piece in part.split(":")]
        if len(pieces) > 3 or "" in pieces:
            shapes = "1,8,64, 1:512, 0:4096:128 or 1024:131072:*2"
            raise refuse(f"--{option} takes a range, not `{visible(text)}`", f"ranges are written {shapes}")
        if len(pieces) == 2 and part == text:
            return Range(ends=_ends(option, pieces))
        values += _values(option, pieces)
        if len(values) > MOST_VALUES:
            raise refuse(f"--{option} has more than {MOST_VALUES:,} values")
    return Range(tuple(dict.fromkeys(values)))


def _ends(option: str, pieces: list[str]) -> tuple[int, int]:
    low, high = (_number(option, piece) for piece in pieces[:2])
    if high <= low:
        raise refuse(f"--{option} is {pieces[0]}:{pieces[1]}: the second end must be above the first")
    return max(low, 1), high


def _number(option: str, text: str) -> int:
    """A whole number; 0 too, where a range may begin."""
    if text == "0":
        return 0
    found = whole(option, text)
    assert found is not None
    return found


def _values(option: str, pieces: list[str]) -> list[int]:
    if len(pieces) == 1:
        found = whole(option, pieces[0])
        assert found is not None
        return [found]
    low, high = _ends(option, pieces)
    step = pieces[2] if len(pieces) == 3 else "1"
    if step.startswith("*"):
        factor = whole(option, step[1:])
        assert factor is not None
        if factor < 2:
            raise refuse(f"--{option}: a factor of 2 or more is needed, not `{visible(step)}`")
        found_values = [low]
        while found_values[-1] * factor <= high:
            found_values.append(found_values[-1] * factor)
        return found_values
    width = whole(option, step, most=MOST_WORKLOAD)
    assert width is not None
    start = _number(option, pieces[0])
    if (high - start) // width > MOST_VALUES:
        raise refuse(f"--{option} has more than {MOST_VALUES:,} values")
    return [value for value in range(start, high + 1, width) if value >= 1]
