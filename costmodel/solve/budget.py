"""How long a solve may take: the solvers' own loops look at the time, so nothing is interrupted halfway."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic

from costmodel.provenance import not_repeatable

_until: ContextVar[float | None] = ContextVar("_until", default=None)


class Unsolvable(Exception):
    """An expression cannot be solved with proof; the message says why."""


class OutOfTime(Unsolvable):
    """The time given to a solve is spent."""


@contextmanager
def budget(seconds: float) -> Iterator[None]:
    """Let what is solved within take so many seconds in all."""
    token = _until.set(monotonic() + seconds)
    try:
        yield
    finally:
        _until.reset(token)


def look_at_time() -> None:
    """Go on, if there is time left.

    Raises:
        OutOfTime: there is none.
    """
    until = _until.get()
    if until is not None and monotonic() > until:
        not_repeatable()
        raise OutOfTime("the time given by --budget is spent")
