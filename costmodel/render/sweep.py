"""Sweeps: what is said of them, and their tables in a notebook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from costmodel.names import nearest
from costmodel.render.html import table
from costmodel.render.notebook import Shown


def span_said(seconds: float) -> str:
    """A stretch of time: `0.4 s`, `12 min`, `3 h`, `40 days`."""
    for most, unit, size in ((120, "s", 1), (7200, "min", 60), (172_800, "h", 3600)):
        if seconds < most:
            return f"{seconds / size:.3g} {unit}"
    days = seconds / 86_400
    return f"{days:,.0f} days" if days < 730 else f"{days / 365:,.0f} years"


def bytes_said(size: float) -> str:
    """`12 GB`, `3.4 PB`."""
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.0f} EB"


_SHOWN = 10


@dataclass(frozen=True, eq=False, repr=False)
class SweepTable(Shown, Mapping[str, Any]):
    """A sweep's columns as NumPy arrays, by name; `units` of those that have one. In a notebook, a table.

    Example:
        >>> SweepTable({"batch_size": [1, 2], "latency": [0.0049, 0.0051]}, {"latency": "seconds"})["latency"][1]
        0.0051
    """

    arrays: Mapping[str, Any]
    units: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Any:
        if name not in self.arrays:
            near = nearest(name, self.arrays)
            raise KeyError(f"no column {name!r}" + (f"; {near!r} is near" if near else ""))
        return self.arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)

    @property
    def rows(self) -> int:
        return len(next(iter(self.arrays.values())))

    def __repr__(self) -> str:
        return f"<SweepTable of {self.rows:,} rows: {', '.join(self.arrays)}>"

    def _repr_html_(self) -> str:
        names = [f"{name} / {self.units[name]}" if name in self.units else name for name in self.arrays]
        rows = [[_cell(array[i]) for array in self.arrays.values()] for i in range(min(_SHOWN, self.rows))]
        said = f"{self.rows:,} rows" if self.rows <= _SHOWN else f"the first {_SHOWN} of {self.rows:,} rows"
        return table(names, rows, said)


def _cell(value: Any) -> str:
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
