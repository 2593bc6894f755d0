"""A spec with every parameter a symbol, and its figure beside it: the workload, dims, dtypes, a device's figures."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property

from sympy import Symbol

from costmodel.compile import Compiled, Run
from costmodel.costs import CostTable
from costmodel.device import VECTOR, Device
from costmodel.elaborate.environment import environment
from costmodel.figures import as_figure
from costmodel.quantities import Quantities
from costmodel.source import SpecError
from costmodel.symbols import DTYPE_ROLES, batch_size, is_number, new_tokens, role_bytes, seq_len, symbol


@dataclass(frozen=True, eq=False)
class Opened:
    """A run of a spec on a device, asked in some phases, with all that may change a symbol.

    `closed` are its quantities as they are; `held` are the dims that cannot be changed alone, each with the reason.
    """

    compiled: Compiled
    run: Run
    closed: Quantities
    phases: tuple[str, ...] = ()
    held: dict[str, str] = field(default_factory=dict)

    @cached_property
    def free(self) -> Compiled:
        """The spec with every dim free that is a plain number and can be changed alone."""
        compiled, flow = self.compiled, self.closed.table.dataflow
        names = compiled.plain - compiled.read_by_if
        found = compiled.freed(names)
        try:
            self._tables(found)
        except SpecError:
            found = self._one_by_one(names)
        self.held.update(
            (name, f"phase {flow.phase} sets it") for name in compiled.program.dims if symbol(name) in flow.settings
        )
        return found

    @cached_property
    def decided(self) -> frozenset[Symbol]:
        """The dims given as numbers that an `if` reads: symbols too, but only for values that take the same arm."""
        read = self.compiled.plain & self.compiled.read_by_if
        return frozenset(map(symbol, read)) - self.closed.table.dataflow.settings.keys()

    def _tables(self, compiled: Compiled) -> CostTable:
        for phase in self.phases:
            compiled.in_phase(self.run)(phase)
        return compiled.table(self.run)

    def _one_by_one(self, names: frozenset[str]) -> Compiled:
        """As many dims free as the spec bears: shapes that agree by their figures alone hold the others."""
        found = self.compiled
        for name in [n for n in self.compiled.program.dims if n in names]:
            candidate = found.freed([name])
            try:
                self._tables(candidate)
            except SpecError as error:
                self.held[name] = error.diagnostics[0].message
            else:
                found = candidate
        return found

    @cached_property
    def _symbols(self) -> frozenset[Symbol]:
        """What is a symbol beside the dims: dtypes' bytes, and new tokens where they are more than decode's one."""
        tokens = self.closed.table.put_in(new_tokens)
        several = is_number(tokens) and tokens > 1 and not self.phases
        return frozenset(role_bytes.values()) | ({new_tokens} if several else frozenset())

    def _open(self, table: CostTable) -> CostTable:
        """A table of the freed spec with dtypes, and dims that an `if` has read, as symbols too."""
        flow = table.dataflow
        if self.decided:
            free = self.free.choice.free | {s.name for s in self.decided}
            settings = {s.name: value for s, value in flow.settings.items()}
            known = environment(self.compiled.program, replace(self.free.choice, free=free), settings)
            flow = replace(flow, environment=known)
        return replace(table, dataflow=flow, open=self._symbols)

    @cached_property
    def quantities(self) -> Quantities:
        """Its quantities in every parameter."""
        closed, in_phase = self.closed, self.free.in_phase(self.run)
        return Quantities(
            self._open(self.free.table(self.run)),
            None if closed.device is None else _opened(closed.device),
            closed.timing,
            closed.memory_fraction,
            lambda phase: self._open(in_phase(phase)),
        )

    @cached_property
    def figures(self) -> dict[Symbol, Fraction]:
        """Every parameter's figure, but for the workload's, which a point gives."""
        closed = self.closed.table.dataflow.environment
        known = closed.figures()
        found = {symbol(name): as_figure(value) for name, value in known.items() if is_number(value)}
        found |= {role_bytes[role]: closed.dtypes[role].bytes for role in DTYPE_ROLES}
        if new_tokens in self._symbols:
            found[new_tokens] = as_figure(self.closed.table.put_in(new_tokens))
        return found if self.closed.device is None else found | device_figures(self.closed.device)

    @property
    def workload(self) -> list[Symbol]:
        """The dims of the workload that may change."""
        return [batch_size, seq_len, *self._symbols & {new_tokens}]

    @property
    def dims(self) -> list[Symbol]:
        """The dims of the spec that may change alone."""
        settings, known = self.closed.table.dataflow.settings, self.quantities.table.dataflow.environment.values
        names = [symbol(name) for name in self.compiled.program.dims]
        return [s for s in names if s not in known and s not in settings and s not in (batch_size, seq_len, new_tokens)]

    @property
    def of_device(self) -> list[Symbol]:
        """The device's figures that a time or a price may depend on: the peaks that are computed at, not all."""
        device, table = self.closed.device, self.closed.table
        if device is None:
            return []
        peaks = [str(table.dataflow.environment.dtypes["compute"]), *([VECTOR] if table.fidelity == "traffic" else [])]
        used = {"device.memory", "device.bandwidth", "device.price", *(f"device.peak.{kind}" for kind in peaks)}
        return [s for s in device_figures(device) if s.name in used]


def _opened(device: Device) -> Device:
    """A device with a symbol for each figure: that of a single one, where it stands for several."""
    count = device.count
    return replace(
        device,
        memory=symbol("device.memory") * count,
        bandwidth=symbol("device.bandwidth") * count,
        peaks={kind: symbol(f"device.peak.{kind}") * count for kind in device.peaks},
        price=None if device.price is None else symbol("device.price") * count,
    )


def device_figures(device: Device) -> dict[Symbol, Fraction]:
    """The figures of a single device, by their symbols."""
    found = {"bandwidth": device.bandwidth, "memory": device.memory, "price": device.price}
    found |= {f"peak.{kind}": peak for kind, peak in device.peaks.items()}
    return {
        symbol(f"device.{name}"): as_figure(value) / device.count for name, value in found.items() if value is not None
    }
