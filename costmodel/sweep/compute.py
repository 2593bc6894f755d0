"""A part of a sweep: the closed forms over its blocks, rows kept or passed over, and what is best of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from math import prod
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from costmodel.figures import comparable
from costmodel.source import Diagnostic, SpecError
from costmodel.sweep.kernel import EXACT_FLOAT, Floats, Values, as_array, evaluate, evaluate_directly
from costmodel.sweep.plan import Case, Column, Pick, Plan
from costmodel.symbols import compared

Mask: TypeAlias = NDArray[np.bool_]
Rows: TypeAlias = NDArray[np.intp]
MOST_IN_MEMORY = 10**8
_NEAR = 1e-12

_TYPES = {"text": pa.dictionary(pa.int32(), pa.string()), "int": pa.int64(), "float": pa.float64()}


def schema_of(plan: Plan) -> Any:
    """The Arrow schema: names, types, and a unit a field."""
    fields = [pa.field(c.name, _TYPES[c.kind], metadata={"unit": c.unit} if c.unit else None) for c in plan.columns]
    return pa.schema(fields)


def compute(plan: Plan, part: int) -> Any:
    """A part as an Arrow table; its metadata say which figures were no numbers, and where first.

    Raises:
        SpecError: a dim that is computed from an axis is no whole number.
    """
    return compute_blocks(plan, list(plan.blocks(part)))


def compute_blocks(plan: Plan, blocks: Sequence[tuple[Case, Sequence[range]]]) -> Any:
    """The same of the blocks of a part; the plan need not have the cases."""
    tables, odd = [], Odd()
    for case, stretches in blocks:
        tables.append(_block(plan, case, stretches, odd))
    table = pa.concat_tables(tables).unify_dictionaries()
    table = table.combine_chunks() if len(tables) > 1 else table
    if plan.pick is not None:
        table = best(table, plan.pick)
    return table.replace_schema_metadata({"odd": odd.as_json()})


def columns_of(plan: Plan) -> tuple[dict[str, Any], list[str]]:
    """All of a sweep in memory: NumPy arrays by column, and what is to be said of figures that are no numbers.

    Raises:
        SpecError: there are too many points.
    """
    if plan.points > MOST_IN_MEMORY:
        message = f"{plan.points:,} points do not fit in memory: at most {MOST_IN_MEMORY:,} are possible"
        raise SpecError(Diagnostic("limit", message, facts=("the command `sweep` writes them to a file",)))
    odd = Odd()

    def parts() -> Iterator[Any]:
        for part in range(plan.parts):
            table = compute(plan, part)
            odd.merge(Odd(table.schema.metadata[b"odd"].decode()))
            yield table

    table = pa.concat_tables(parts()) if plan.pick is None else folded(parts(), plan.pick)
    return {c.name: _as_numpy(table.column(c.name)) for c in plan.columns}, odd.told()


def _as_numpy(column: Any) -> NDArray[Any]:
    if pa.types.is_dictionary(column.type):
        column = column.cast(pa.string())
    found: NDArray[Any] = column.to_numpy()
    return found


class Odd:
    """Figures that are no numbers, by column: how many, and the first place."""

    def __init__(self, text: str = "{}") -> None:
        self.found: dict[str, list[Any]] = json.loads(text)

    def add(self, column: str, count: int, place: str) -> None:
        held = self.found.setdefault(column, [0, place])
        held[0] += count

    def merge(self, other: Odd) -> None:
        """What a later part has found too."""
        for column, (count, place) in other.found.items():
            self.add(column, count, place)

    def as_json(self) -> str:
        return json.dumps(self.found)

    def told(self) -> list[str]:
        """`tpot has no finite figure at 512 points, which are left empty; the first is batch_size 1, output_len 1`."""
        return [
            f"{column} has no finite figure at {count:,} point{'s' if count > 1 else ''}, left empty; first at {place}"
            for column, (count, place) in self.found.items()
        ]


def _block(plan: Plan, case: Case, stretches: Sequence[range], odd: Odd) -> Any:
    values = plan.values(stretches)
    shape = tuple(map(len, stretches))
    starts = [stretch.start for stretch in stretches]
    outputs = evaluate(case.program, values, starts=starts)
    count = len(plan.quantities)
    rows = kept_rows(plan, case, values, outputs[count:], shape)
    arrays: list[Any] = [_constant(c, v, shape, rows) for c, v in zip(plan.labels, case.labels, strict=True)]
    arrays += [_of_axis(values[i], i, shape, rows) for i in range(len(values))]
    for k, column in enumerate(plan.quantities):
        found = outputs[k]
        if plan.careful[k]:
            found = evaluate_directly(case.program, case.program.outputs[k], values, np.longdouble, starts)
        arrays.append(_quantity(plan, case, k, column, found, values, shape, rows, odd))
    return pa.Table.from_arrays(arrays, schema=schema_of(plan))


def _constant(column: Column, value: str | int, shape: tuple[int, ...], rows: Rows | None) -> Any:
    size = prod(shape) if rows is None else len(rows)
    if column.kind == "text":
        return pa.DictionaryArray.from_arrays(pa.array(np.zeros(size, dtype=np.int32)), pa.array([str(value)]))
    return pa.array(np.full(size, value, dtype=np.int64))


def _of_axis(values: Values, axis: int, shape: tuple[int, ...], rows: Rows | None) -> Any:
    whole = isinstance(values, range) or all(value.denominator == 1 for value in values)
    array = np.array([int(v) for v in values], dtype=np.int64) if whole else as_array(values)
    if rows is not None:
        return pa.array(array[np.unravel_index(rows, shape)[axis]])
    along = array.reshape([size if i == axis else 1 for i, size in enumerate(shape)])
    return pa.array(np.ascontiguousarray(np.broadcast_to(along, shape)).reshape(-1))


def _quantity(
    plan: Plan,
    case: Case,
    k: int,
    column: Column,
    found: Floats,
    values: Sequence[Values],
    shape: tuple[int, ...],
    rows: Rows | None,
    odd: Odd,
) -> Any:
    if column.kind == "int":
        place = case.program.outputs[k]
        ranges = [(Fraction(min(v)), Fraction(max(v))) for v in values]
        bound = case.program.bound(place, ranges)
        if bound is not None and bound < EXACT_FLOAT:
            whole = (found if rows is None else found[rows]).astype(np.int64)
        else:
            whole = evaluate_directly(case.program, place, values, np.int64)
            whole = whole if rows is None else whole[rows]
        return pa.array(whole)
    kept = found if rows is None else found[rows]
    # a sum is finite only where all that it is of is; one that overflows is looked at more closely
    if np.isfinite(np.add.reduce(kept)):
        return pa.array(kept)
    bad = ~np.isfinite(kept)
    if not bad.any():
        return pa.array(kept)
    first = int(np.argmax(bad)) if rows is None else int(rows[int(np.argmax(bad))])
    odd.add(column.name, int(bad.sum()), _place(plan, case, values, shape, first))
    return pa.array(kept, mask=bad)


def _place(plan: Plan, case: Case, values: Sequence[Values], shape: tuple[int, ...], row: int) -> str:
    index = np.unravel_index(row, shape) if shape else ()
    labels = [f"{c.name} {v}" for c, v in zip(plan.labels, case.labels, strict=True)]
    return ", ".join(labels + [f"{a.name} {v[int(i)]}" for a, v, i in zip(plan.axes, values, index, strict=True)])


# --- which rows


def kept_rows(
    plan: Plan, case: Case, values: Sequence[Values], sides: Sequence[Floats], shape: tuple[int, ...]
) -> Rows | None:
    """The rows that meet the conditions; None for all."""
    program, first = case.program, len(plan.quantities)
    for k, name in enumerate(case.wholes):
        found = sides[2 * len(case.relations) + k]
        wrong = (found != np.rint(found)) | (found < 0)
        if wrong.any():
            place = _place(plan, case, values, shape, int(np.argmax(wrong)))
            message = f"dim `{name}` is {float(found[int(np.argmax(wrong))]):g}: a whole number is needed"
            raise SpecError(Diagnostic("fraction", message, facts=(f"at {place}",)))
    if not case.relations:
        return None
    holds: Mask = np.ones(prod(shape), dtype=np.bool_)
    for k, relation in enumerate(case.relations):
        left, right = sides[2 * k], sides[2 * k + 1]
        with np.errstate(invalid="ignore"):
            met = _COMPARED[relation](left, right)
            near = np.abs(left - right) <= _NEAR * np.maximum(np.abs(left), np.abs(right))
        met &= np.isfinite(left) & np.isfinite(right)
        close = np.flatnonzero(near & holds)
        if len(close):
            met[close] = _exactly(program, first + 2 * k, relation, close, values, shape)
        holds &= met
    return np.flatnonzero(holds)


_COMPARED = {
    "<=": np.less_equal,
    "<": np.less,
    ">=": np.greater_equal,
    ">": np.greater,
    "==": np.equal,
    "!=": np.not_equal,
}


def _exactly(
    program: Any, output: int, relation: str, rows: Rows, values: Sequence[Values], shape: tuple[int, ...]
) -> list[bool]:
    """Whether a condition holds where its sides are too near for floats, each point that matters decided once."""
    left, right = program.outputs[output], program.outputs[output + 1]
    mask = program.masks[left] | program.masks[right]
    known: dict[tuple[int, ...], bool] = {}
    found = []
    for index in zip(*np.unravel_index(rows, shape), strict=True) if shape else [()] * len(rows):
        key = tuple(int(i) if mask >> axis & 1 else 0 for axis, i in enumerate(index))
        if key not in known:
            point = [Fraction(v[i]) for v, i in zip(values, key, strict=True)]
            difference = comparable(program.exact(left, point)) - comparable(program.exact(right, point))
            known[key] = compared(relation, (difference > 0) - (difference < 0))
        found.append(known[key])
    return found


# --- which are best


def best(table: Any, pick: Pick) -> Any:
    """The rows of a table that a pick keeps: the best first, or in their order those that none beats."""
    keys = []
    for name, greatest in pick.by:
        key = table.column(name).to_numpy().astype(np.float64)
        keys.append(-key if greatest else key)
    # a figure that is none is never best
    usable = np.flatnonzero(np.logical_and.reduce([~np.isnan(key) for key in keys]))
    keys = [key[usable] for key in keys]
    rows = _first(keys[0], pick.most) if pick.most is not None else _front(keys)
    return table.take(pa.array(usable[rows]))


def _first(key: Floats, most: int) -> Rows:
    """The rows of the least keys, least first, and of equal ones the earlier first."""
    if len(key) > 4 * most:
        limit = np.partition(key, most - 1)[most - 1]
        rows = np.flatnonzero(key <= limit)
        return rows[np.argsort(key[rows], kind="stable")][:most]
    return np.argsort(key, kind="stable")[:most]


def _front(keys: Sequence[Floats]) -> Rows:
    """The rows that no other is at least as good as in every key; of equal ones the first. In the rows' order."""
    order = np.lexsort((np.arange(len(keys[0])), *reversed(keys)))
    if len(keys) <= 2:
        second = keys[-1][order]
        before = np.concatenate([[np.inf], np.minimum.accumulate(second)[:-1]]) if len(order) else second
        chosen = second < before if len(keys) == 2 else np.arange(len(order)) < 1
        if len(order):
            chosen[0] = True
        return np.sort(order[chosen])
    points = np.stack([key[order] for key in keys], axis=1)
    left = np.arange(len(order))
    front: list[int] = []
    while len(left):
        head = left[0]
        front.append(int(head))
        beaten = (points[left] >= points[head]).all(axis=1)
        left = left[~beaten]
    return np.sort(order[front])


def folded(tables: Iterable[Any], pick: Pick) -> Any:
    """The best of several tables, never holding more than two."""
    kept: Any = None
    for table in tables:
        kept = table if kept is None else best(pa.concat_tables([kept, table]).unify_dictionaries(), pick)
    return kept
