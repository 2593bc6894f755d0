"""A spec's weights held against a checkpoint's tensors: parameters in all, and by shape what only one of the two has.

Names differ from library to library, so weights are told apart by their shapes. A matrix may lie transposed, its axes
split or flattened; experts may be stacked; matrices of one side may be fused, as queries, keys and values often are.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sympy import Expr

from costmodel.checkpoint import Checkpoint
from costmodel.compile import Compiled, Run
from costmodel.costs import CostTable
from costmodel.names import prose
from costmodel.source import Diagnostic, SpecError
from costmodel.symbols import is_number

MOST_FUSED = 6
_MOST_SHOWN = 12
_MOST_NAMES = 5
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")

Sides = tuple[int, int]
"""A shape as a matrix: the axes left and right of a split, the smaller side first; (1, n) is a vector."""


@dataclass
class Group:
    """So many tensors of one shape that are left of `whole`, and the names of those: `model.layers.*.norm.weight`."""

    shape: tuple[int, ...]
    count: int
    whole: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class Agreement:
    """How a spec and a checkpoint agree. `missing` is what the spec has alone, `extra` what the checkpoint has alone.

    `unit` is what the totals count: bytes where the checkpoint says nothing of parameters.
    """

    checkpoint: Checkpoint
    ours: int
    theirs: int
    unit: str = "parameters"
    missing: tuple[Group, ...] = ()
    extra: tuple[Group, ...] = ()

    @property
    def ok(self) -> bool:
        return self.ours == self.theirs and not self.missing and not self.extra

    def diagnostic(self, spec: str) -> Diagnostic:
        """What differs."""
        name, more = self.checkpoint.name, self.ours - self.theirs
        than = f"{abs(more):,} {'more' if more > 0 else 'fewer'} than" if more else "as many as"
        message = f"`{spec}` has {self.ours:,} {self.unit}, {than} `{name}`"
        facts = [f"only the spec has {_shown(group)}" for group in self.missing]
        facts += [f"only the checkpoint has {_shown(group)}" for group in self.extra]
        left = len(facts) - _MOST_SHOWN
        if left > 0:
            facts[_MOST_SHOWN:] = [f"{left:,} more shape{'s' if left > 1 else ''} differ{'s' if left == 1 else ''}"]
        return Diagnostic("against", message, facts=tuple(facts))


def _shown(group: Group) -> str:
    shape = " × ".join(f"{n:,}" for n in group.shape) or "1"
    names = [f"`{name[:80]}`" for name in group.names[:_MOST_NAMES]]
    others = len(group.names) - len(names)
    told = f"{', '.join(names)} and {others:,} more" if others else prose(names)
    return f"{group.count:,} of {shape}{':' if group.count == group.whole else ', among'} {told}"


def hold_against(compiled: Compiled, checkpoint: Checkpoint) -> Agreement:
    """Compare a spec with a checkpoint.

    Raises:
        SpecError: the spec has no graph, or a dim of its weights has no value.
    """
    table = compiled.table(Run())
    params = _figure(table, table.params, "params")
    if checkpoint.tensors is None:
        if checkpoint.total_parameters is not None:
            return Agreement(checkpoint, params, checkpoint.total_parameters)
        assert checkpoint.total_bytes is not None
        size = _figure(table, table.weight_memory, "weight_memory")
        return Agreement(checkpoint, size, checkpoint.total_bytes, "bytes")
    ours, theirs = list(_of_spec(table)), list(_of_checkpoint(checkpoint.tensors))
    _same(ours, theirs)
    experts = {_figure(table, weight.copies, weight.name) for weight in table.weights} - {1}
    theirs = [_unstacked(group, experts) for group in theirs]
    _same(ours, theirs)
    _fused(ours, theirs)
    _fused(theirs, ours)
    held = sum(map(math.prod, checkpoint.tensors.values()))
    return Agreement(checkpoint, params, held, "parameters", _left(ours), _left(theirs))


def _figure(table: CostTable, expr: Expr, what: str) -> int:
    value = table.put_in(expr)
    if not is_number(value):
        free = sorted(symbol.name for symbol in value.free_symbols)
        message = f"`{what}` is open: {prose(free)} {'has' if len(free) == 1 else 'have'} no value"
        raise SpecError(Diagnostic("against", message, help="give it one with `dim`, to hold the spec against weights"))
    return int(value)


def _of_spec(table: CostTable) -> Iterator[Group]:
    for weight in table.weights:
        shape = tuple(_figure(table, axis, weight.name) for axis in weight.shape)
        count = _figure(table, weight.turns * weight.copies, weight.name)
        yield Group(shape, count, count, (weight.name,))


def _of_checkpoint(tensors: Mapping[str, tuple[int, ...]]) -> Iterator[Group]:
    found: dict[tuple[int, ...], list[str]] = {}
    for name, shape in tensors.items():
        found.setdefault(tuple(n for n in shape if n != 1), []).append(_NUMBER.sub("*", name))
    for shape, names in found.items():
        yield Group(shape, len(names), len(names), tuple(sorted(set(names))))


def _sides(shape: tuple[int, ...], flat: bool) -> set[Sides]:
    """A shape as matrices, one for each split of its axes; as a vector too where it is `flat`, or has one axis."""
    axes = [n for n in shape if n != 1]
    splits = range(0 if flat or len(axes) < 2 else 1, max(len(axes), 1))
    pairs = ((math.prod(axes[:i]), math.prod(axes[i:])) for i in splits)
    return {(min(pair), max(pair)) for pair in pairs}


def _same(ours: Sequence[Group], theirs: Sequence[Group]) -> None:
    """Strike out what both have. Axes of a spec's weight may lie flattened in the checkpoint."""
    for theirs_group in theirs:
        there = _sides(theirs_group.shape, flat=False)
        for group in ours:
            both = min(group.count, theirs_group.count)
            if both and there & _sides(group.shape, flat=True):
                group.count -= both
                theirs_group.count -= both


def _unstacked(group: Group, experts: set[int]) -> Group:
    """Tensors as those that are stacked in them, one an expert."""
    stacked = len(group.shape) == 3 or (len(group.shape) == 2 and group.shape[0] in experts)
    if not stacked:
        return group
    n = group.shape[0]
    return replace(group, shape=group.shape[1:], count=group.count * n, whole=group.whole * n)


def _fused(parts: Sequence[Group], wholes: Sequence[Group]) -> None:
    """Strike out matrices of one side that lie fused in one on the other side."""
    for whole in wholes:
        for a, b in _sides(whole.shape, flat=True):
            for side, length in ((a, b), (b, a)):
                pieces = [(part, other) for part in parts for other in _beside(part, side) if other < length]
                while whole.count and (found := _fewest(pieces, length)):
                    uses = Counter(map(id, found))
                    count = min(whole.count, *(part.count // uses[id(part)] for part in found))
                    for part in found:
                        part.count -= count
                    whole.count -= count


def _beside(part: Group, side: int) -> set[int]:
    """The other sides of a matrix that has this one."""
    pairs = _sides(part.shape, flat=True) if part.count else set()
    return {y if x == side else x for x, y in pairs if side in (x, y)}


def _fewest(pieces: Sequence[tuple[Group, int]], length: int) -> list[Group] | None:
    """As few groups as possible whose lengths add up; None where none do."""
    tried = (_pieces(pieces, length, most) for most in range(2, MOST_FUSED + 1))
    return next((found for found in tried if found is not None), None)


def _pieces(pieces: Sequence[tuple[Group, int]], length: int, most: int) -> list[Group] | None:
    """Groups whose lengths add up, each as often as it is there at most; None where none do."""
    if length == 0:
        return []
    for i, (part, size) in enumerate(pieces if most else ()):
        if size <= length and part.count:
            part.count -= 1
            rest = _pieces(pieces[i:], length - size, most - 1)
            part.count += 1
            if rest is not None:
                return [part, *rest]
    return None


def _left(groups: Sequence[Group]) -> tuple[Group, ...]:
    """What was not struck out, in one group a shape."""
    found: dict[tuple[int, ...], Group] = {}
    for group in groups:
        if group.count:
            known = found.setdefault(tuple(sorted(group.shape)), Group(group.shape, 0, 0, ()))
            known.count += group.count
            known.whole += group.whole
            known.names = tuple(dict.fromkeys((*known.names, *group.names)))
    return tuple(found.values())
