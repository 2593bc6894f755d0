"""What flows between operations: tensors with symbolic shapes, and the storage that holds them.

Bytes follow storage: a tensor that an operation takes twice, or as two slices of one cache, is read once by it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from itertools import combinations

from sympy import Expr, Max, Min

from costmodel.dtypes import DType
from costmodel.source import Span
from costmodel.symbols import ONE, is_zero, product, rational, role_bytes, sign, total

Shape = tuple[Expr, ...]


class Kind(Enum):
    """Where a tensor lies: made and used within a pass, or kept beyond it."""

    ACTIVATION = "activation"
    WEIGHT = "weight"
    CACHE = "cache"
    STATE = "state"
    KEPT = "kept"


@dataclass(frozen=True, eq=False)
class Region:
    """A stretch of the expanded model: a graph, a block's call, a `repeat` or the body of a `route`.

    `turns` is the product of the `repeat` counts around it, `rows` that of the `top_k`s: how often each row runs here.
    `body` is the innermost region that is a graph's own or a `repeat`'s, in which a storage counts once.
    """

    kind: str
    name: str
    parent: Region | None = None
    latex: str | None = None
    count: Expr = ONE
    top_k: Expr = ONE
    span: Span | None = None
    carried: tuple[Tensor, ...] = ()

    @cached_property
    def turns(self) -> Expr:
        return self.count * self.parent.turns if self.parent else self.count

    @cached_property
    def rows(self) -> Expr:
        return self.top_k * self.parent.rows if self.parent else self.top_k

    @cached_property
    def body(self) -> Region:
        if self.kind in ("graph", "repeat") or self.parent is None:
            return self
        return self.parent.body

    @cached_property
    def path(self) -> tuple[Region, ...]:
        """The regions from the graph down to this one."""
        return (*self.parent.path, self) if self.parent else (self,)


@dataclass(frozen=True, eq=False)
class Storage:
    """A piece of memory: one activation, weight, cache, state or kept value.

    `shape` is that of one copy in one turn. `turns` says how many exist because of `repeat`s; of a weight in the body
    of a `route`, `copies` exist, `active` are used by a token and `read` are read in a pass (the expected distinct).
    `rows` multiplies a cache in such a body. `own` is the dtype said at its place, `role` the role that gives it
    otherwise. `key` tells a weight apart from others over all phases and graphs.
    """

    kind: Kind
    name: str
    shape: Shape
    role: str
    own: DType | None = None
    turns: Expr = ONE
    rows: Expr = ONE
    copies: Expr = ONE
    active: Expr = ONE
    read: Expr = ONE
    window: Expr | None = None
    span: Span | None = None
    axis_spans: tuple[Span, ...] = ()
    key: tuple[object, ...] = ()

    @cached_property
    def elements(self) -> Expr:
        return product(self.shape)

    @property
    def bytes_each(self) -> Expr:
        return rational(self.own.bytes) if self.own else role_bytes[self.role]


@dataclass(frozen=True, slots=True)
class View:
    """Which part of its storage a tensor is: positions `low` up to `high` in `frame`, a numbering of it.

    The bounds have the dims' values put in, so that it can be told which of two views comes first.
    """

    frame: tuple[object, ...]
    low: Expr
    high: Expr


@dataclass(frozen=True, eq=False)
class Tensor:
    """A value with a symbolic shape, lying in a storage, whole or in part.

    `inputs` is the number of a weight's axes before the arrow, None without one. `producer` is the node that made it.
    """

    shape: Shape
    storage: Storage
    view: View | None = None
    inputs: int | None = None
    producer: int | None = None
    name: str = ""

    @cached_property
    def elements(self) -> Expr:
        return product(self.shape)

    @property
    def kind(self) -> Kind:
        return self.storage.kind


@dataclass
class Extents:
    """How much of each storage a set of tensors covers, each element once."""

    parts: dict[Storage, list[Tensor]] = field(default_factory=dict)

    @classmethod
    def of(cls, tensors: Iterable[Tensor]) -> Extents:
        extents = cls()
        for tensor in tensors:
            extents.parts.setdefault(tensor.storage, []).append(tensor)
        return extents

    def elements(self, storage: Storage) -> Expr:
        """The number of the storage's elements covered."""
        tensors = self.parts[storage]
        if len(tensors) == 1:
            return tensors[0].elements
        whole = next((t for t in tensors if t.view is None), None)
        if whole is not None:
            return whole.elements
        distinct = list({t.view: t for t in tensors}.values())
        if len(distinct) == 1:
            return distinct[0].elements
        return _union(storage, distinct)


def _union(storage: Storage, tensors: list[Tensor]) -> Expr:
    views = [t.view for t in tensors if t.view is not None]
    each = total(t.elements for t in tensors)
    if len({view.frame for view in views}) > 1:
        return Min(each, storage.elements)
    if all(_before(a, b) or _before(b, a) for a, b in combinations(views, 2)):
        return each
    across = tensors[0].elements / (views[0].high - views[0].low)
    return across * _length(views)


def _before(a: View, b: View) -> bool:
    gap = b.low - a.high
    return is_zero(gap) or sign(gap) == 1


def _length(views: list[View]) -> Expr:
    """The length of a union of intervals, by inclusion and exclusion, so that their order may be open."""
    terms = []
    for size in range(1, len(views) + 1):
        for some in combinations(views, size):
            common = Max(0, Min(*(v.high for v in some)) - Max(*(v.low for v in some)))
            terms.append(common if size % 2 else -common)
    return total(terms)
