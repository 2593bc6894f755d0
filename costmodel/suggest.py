"""What to try when a pass is not where one wants it: each an option to paste, with its result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from sympy import Symbol

from costmodel import library
from costmodel.compile import Compiled, Run
from costmodel.crossover import Crossover, crossover
from costmodel.device import Device, shipped_device
from costmodel.dtypes import WEIGHT_ROLES, DType, dtype
from costmodel.figures import Figure, comparable, figure, quotient
from costmodel.quantities import Quantities
from costmodel.solve.budget import OutOfTime, look_at_time
from costmodel.solve.crossover import Solved
from costmodel.source import SpecError
from costmodel.symbols import DTYPE_ROLES, role_bytes, seq_len

MOST = 6


@dataclass(frozen=True)
class Suggestion:
    """An option with the batch to run then, its throughput, and how much that gains."""

    option: str
    batch_size: int
    throughput: Figure
    latency: Figure
    gain: Figure | None
    status: str
    crossing: Fraction | None


def suggest(compiled: Compiled, run: Run, answer: Crossover) -> list[Suggestion]:
    """Single changes, the best first: narrower dtypes, a shorter context, another device, more devices."""
    before = _throughput(answer)
    found = []
    for option, change in _changes(compiled, run, answer):
        try:
            look_at_time()
            suggestion = _tried(option, change(), answer, before)
        except OutOfTime:
            break
        except SpecError:
            # this change cannot be made: a device without the peak that is needed
            continue
        if suggestion is not None:
            found.append(suggestion)
    found.sort(key=lambda s: (-comparable(s.throughput), s.batch_size, s.option))
    return _one_device(found)[:MOST]


def _tried(option: str, other: Crossover | None, answer: Crossover, before: Figure | None) -> Suggestion | None:
    """What a change comes to; None where it gains nothing, or what it gains is open."""
    if other is None or other.optimal_batch_size is None or other.status is None:
        return None
    there = other.at_batch(other.optimal_batch_size)
    gain = quotient(there.throughput, before) if before else None
    unchanged = gain == 1 and other.optimal_batch_size == answer.optimal_batch_size
    if unchanged or (gain is not None and gain < 1):
        return None
    crossing = other.solved.value if isinstance(other.solved, Solved) and other.solved.roots else None
    return Suggestion(option, other.optimal_batch_size, there.throughput, there.latency, gain, other.status, crossing)


def _one_device(found: list[Suggestion]) -> list[Suggestion]:
    """Of several devices the two that give most."""
    devices = [s for s in found if s.option.startswith("--device")]
    return [s for s in found if s not in devices[2:]]


def _throughput(answer: Crossover) -> Figure | None:
    batch = answer.optimal_batch_size
    return answer.at_batch(batch).throughput if batch else None


def _changes(compiled: Compiled, run: Run, answer: Crossover) -> Iterator[tuple[str, Callable[[], Crossover | None]]]:
    quantities, point = answer.quantities, answer.point
    if answer.status is None or answer.margin is None or quantities.device is None:
        return
    dtypes = quantities.table.dataflow.environment.dtypes
    used = _roles_stored(quantities)
    for role in ("cache", *WEIGHT_ROLES):
        for name in ("fp8", "int4"):
            narrower = dtype(name)
            assert narrower is not None
            if role_bytes[role] in used and narrower.bytes < dtypes[role].bytes:
                if name == "int4" and (role == "cache" or answer.status != "does_not_fit"):
                    continue
                yield f"--set dtype.{role}={name}", _with_dtype(compiled, run, answer, role, narrower)
    context = point.get(seq_len)
    if context is not None and answer.status in ("never", "beyond_memory", "does_not_fit"):
        matters = (quantities.table.bytes.free_symbols | quantities.table.memory.free_symbols) & {seq_len}
        for shorter in _contexts(quantities, answer, context) if matters else ():
            yield f"--seq-len {shorter}", _with_context(quantities, point, shorter)
    if quantities.device.count == 1:
        for name in library.shipped("devices"):
            if name != quantities.device.name and ("sparse" not in name or quantities.device.sparse):
                yield f"--device {name}", _with_device(quantities, point, name)
    if answer.status in ("does_not_fit", "beyond_memory"):
        needed = answer.fit.bytes_at(1, point) / comparable(figure(answer.fit.capacity, {}))
        count = max(2, ceil(needed)) * quantities.device.count
        yield f"--count {count}", _with_count(quantities, point, count)


def _roles_stored(quantities: Quantities) -> set[Symbol]:
    """The dtype roles of what is stored."""
    table = quantities.table
    used: set[Symbol] = set()
    for storage in (*table.weights, *table.dataflow.kept):
        used |= storage.bytes_each.free_symbols
    return used & {role_bytes[role] for role in DTYPE_ROLES}


def _with_dtype(compiled: Compiled, run: Run, answer: Crossover, role: str, narrower: DType) -> Callable[[], Crossover]:
    def change() -> Crossover:
        other = compiled.retyped(role, narrower)
        return crossover(_of_spec(answer.quantities, other, run), answer.point)

    return change


def _of_spec(quantities: Quantities, other: Compiled, run: Run) -> Quantities:
    """The same question asked of another spec."""
    return Quantities(other.table(run), quantities.device, quantities.timing, quantities.memory_fraction)


def _contexts(quantities: Quantities, answer: Crossover, context: Fraction) -> list[int]:
    """Half the context, and the longest power of two at which the pass crosses and fits."""
    found = [int(context) // 2] if context >= 2 else []
    critical = answer.critical_seq_len.value
    if critical is not None and 2 <= critical < context:
        shorter = 1 << ((int(Fraction(critical)) - 1).bit_length() - 1)
        for candidate in (shorter, shorter // 2, shorter // 4):
            if candidate and _with_context(quantities, answer.point, candidate)().status == "crosses":
                found.append(candidate)
                break
    return list(dict.fromkeys(found))


def _with_context(quantities: Quantities, point: Mapping[Symbol, Fraction], context: int) -> Callable[[], Crossover]:
    return lambda: crossover(quantities, {**point, seq_len: Fraction(context)})


def _with_device(quantities: Quantities, point: Mapping[Symbol, Fraction], name: str) -> Callable[[], Crossover]:
    return lambda: crossover(_on(quantities, shipped_device(name)), point)


def _with_count(quantities: Quantities, point: Mapping[Symbol, Fraction], count: int) -> Callable[[], Crossover]:
    assert quantities.device is not None
    device = quantities.device
    return lambda: crossover(_on(quantities, device.times(count // device.count)), point)


def _on(quantities: Quantities, device: Device) -> Quantities:
    return Quantities(quantities.table, device, quantities.timing, quantities.memory_fraction)
