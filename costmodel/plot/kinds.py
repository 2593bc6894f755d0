"""The kinds of pictures by name."""

from __future__ import annotations

from collections.abc import Callable

from costmodel.plot.breakdown import breakdown
from costmodel.plot.memory import memory
from costmodel.plot.picture import Picture
from costmodel.plot.regime import regime
from costmodel.plot.roofline import roofline
from costmodel.plot.subject import CONTEXTS, Subject
from costmodel.plot.throughput import latency, throughput

KINDS: dict[str, Callable[[Subject], Picture]] = {
    "throughput": throughput,
    "latency": latency,
    "roofline": roofline,
    "regime": regime,
    "memory": memory,
    "breakdown": breakdown,
}
NEED_DEVICE = frozenset({"throughput", "latency", "roofline", "regime"})


def contexts_of(kind: str, asked: tuple[int, ...], devices: int) -> tuple[int, ...]:
    """The contexts of the curves; where none is asked for, some short and long ones, or one in the middle."""
    if asked:
        return asked
    return CONTEXTS if devices < 2 and kind != "breakdown" else CONTEXTS[1:2]
