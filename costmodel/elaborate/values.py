"""What names stand for while a model is expanded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from costmodel.source import Span
from costmodel.tensors import Kind, Shape, Storage, Tensor


class Broken:
    """A value that could not be made; the reason has been reported, and what needs it is passed over in silence."""


BROKEN = Broken()

Value = Any
"""Tensor, Expr, bool, None, str, a tuple of values, or BROKEN."""

Bound = dict[str, tuple[Value, Span]]
"""Arguments by parameter, each with its place."""


@dataclass
class Scope:
    """The names that a body knows. `lost` are those it does not know any more, `later` those that it assigns at all."""

    values: dict[str, Value]
    lost: dict[str, str] = field(default_factory=dict)
    later: frozenset[str] = frozenset()


def fresh(shape: Shape) -> Tensor:
    """A new activation."""
    return Tensor(shape, Storage(Kind.ACTIVATION, "", shape, "activations"))


def place(span: Span) -> tuple[object, ...]:
    """Where something stands, the same in every phase."""
    return (span.source.name, span.start)


def kind_of(value: Value) -> str:
    if isinstance(value, Tensor):
        return "a tensor"
    if isinstance(value, bool):
        return "a truth value"
    if value is None:
        return "`none`"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, tuple):
        return f"{len(value)} results" if value and all(isinstance(v, Tensor) for v in value) else "a list"
    return "a number"
