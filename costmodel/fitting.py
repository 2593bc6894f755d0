"""What makes a batch fit that does not: the smallest change of each kind, by one division each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import floor

from sympy import Expr, Symbol

from costmodel.costs import CostTable
from costmodel.dtypes import DTYPE_NAMES, WEIGHT_ROLES, dtype
from costmodel.figures import Open, comparable, figure
from costmodel.quantities import Quantities
from costmodel.solve.budget import Unsolvable
from costmodel.solve.inequality import solution
from costmodel.solve.memory import linear
from costmodel.symbols import batch_size, is_number, new_tokens, put_in, rational, role_bytes, seq_len, total


@dataclass(frozen=True)
class Change:
    """One change that is enough: an option to paste, and the bound behind it in words and as a figure."""

    option: str
    what: str
    bound: Fraction


def changes_to_fit(quantities: Quantities, point: Mapping[Symbol, Fraction], batch: int) -> list[Change]:
    """The smallest single changes that make a batch fit; empty where it fits, or where a figure is missing.

    With memory = A + values · bytes a value, the bytes that a value may take are (capacity − A) / values; the number of
    devices is memory / capacity, rounded up.
    """
    device = quantities.device
    here = {**point, batch_size: Fraction(batch)}
    if device is None:
        return []
    capacity = comparable(figure(device.memory, {})) * quantities.memory_fraction
    try:
        needed = comparable(figure(quantities.table.memory, here))
        if needed <= capacity:
            return []
        return list(_changes(quantities, here, capacity, needed))
    except Open:
        return []


def _changes(
    quantities: Quantities, here: Mapping[Symbol, Fraction], capacity: Fraction, needed: Fraction
) -> Iterator[Change]:
    table, device = quantities.table, quantities.device
    assert device is not None
    types = table.dataflow.environment.dtypes
    for role in ("cache", *WEIGHT_ROLES):
        values = _values(table, role, here)
        if not values:
            continue
        room = capacity - (needed - values * types[role].bytes)
        bits = 8 * room / values
        fitting = [name for name in DTYPE_NAMES if (known := dtype(name)) is not None and 8 * known.bytes <= bits]
        what = f"{role} of at most {floor(bits * 1000) / 1000:g} bits a value"
        if fitting:
            name = max(fitting, key=lambda n: (_bits(n), n == "fp8"))
            yield Change(f"--set dtype.{role}={name}", what, bits)
        elif bits >= 1:
            yield Change(f"--set 'dtype.{role}={floor(bits * 100) / 100:g} bits'", what, bits)
    context = _context(table, here, capacity)
    if context is not None:
        yield Change(f"--seq-len {context}", f"contexts up to {context:,} tokens", Fraction(context))
    largest = quantities.fit.largest_at(here)
    if largest:
        yield Change(f"--batch-size {largest}", f"batches up to {largest:,}", Fraction(largest))
    each = capacity / device.count
    count = -(-needed // each)
    yield Change(f"--count {count}", f"{count:,} such devices or more, by memory alone", Fraction(count))


def _bits(name: str) -> Fraction:
    found = dtype(name)
    assert found is not None
    return found.bytes


def _values(table: CostTable, role: str, here: Mapping[Symbol, Fraction]) -> Fraction:
    """How many stored values have the dtype of a role."""
    symbol = role_bytes[role]
    sizes = [
        s.elements * s.turns * s.copies * s.bytes_each for s in table.weights if symbol in s.bytes_each.free_symbols
    ]
    sizes += [
        s.elements * s.turns * s.rows * s.bytes_each for s in table.dataflow.kept if symbol in s.bytes_each.free_symbols
    ]
    known = {k: v for k, v in table.values.items() if k != symbol}
    parts = linear(put_in(total(sizes), known), symbol)
    return Fraction(0) if parts is None else comparable(figure(parts[1], here))


def _context(table: CostTable, here: Mapping[Symbol, Fraction], capacity: Fraction) -> int | None:
    """The longest context that fits."""
    if seq_len not in table.memory.free_symbols:
        return None
    memory: Expr = put_in(table.memory, {s: rational(v) for s, v in here.items() if s != seq_len})
    try:
        found = solution(memory - rational(capacity), "<=", seq_len).whole()
    except Unsolvable:
        return None
    if found.empty or found.intervals[0].high is None:
        return None
    context = int(found.intervals[0].high.value)
    fewest = table.put_in(new_tokens)
    return context if context >= (fewest if is_number(fewest) else 1) else None
