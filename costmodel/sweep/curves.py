"""A sweep's file as curves: one quantity along one of what varied, thinned to what a picture can show.

The file is read batch by batch, twice, so that it may be larger than memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from costmodel.names import near_help, prose
from costmodel.quantity_names import QUANTITIES
from costmodel.source import Diagnostic, SpecError
from costmodel.symbols import WORKLOAD

_BUCKETS = 2_000
_MOST_VALUES = 10_000
_MOST_LINES = 6


@dataclass(frozen=True)
class Line:
    """A curve: what is the same along it, by column, and its points in order."""

    of: tuple[tuple[str, str], ...]
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Curves:
    """What is drawn against what, in which units, of how many rows; `same` is what no row tells apart."""

    x: str
    y: str
    x_unit: str
    y_unit: str
    lines: tuple[Line, ...]
    same: tuple[tuple[str, str], ...]
    rows: int
    about: dict[str, Any]


def curves(
    path: Path, x: str | None = None, y: str | None = None, by: Sequence[str] | None = None, only: Sequence[str] = ()
) -> Curves:
    """The curves of a sweep's file.

    `only` are conditions `NAME=VALUE` on what varied; without `by` every other column that varies tells lines apart.

    Raises:
        SpecError: it is no sweep; there is no such column; points or lines are more than a picture tells apart.
    """
    file = _File(path)
    wanted = dict(file.condition(text) for text in only)
    values = file.values(wanted)
    rows = values.pop("", 0)
    if not rows:
        raise _refused(f"{path} has no row" + (f" of which {prose(list(only))} holds" if only else ""))
    varying = [name for name in file.varied if len(values[name]) > 1]
    x = file.column(x, file.varied) if x is not None else _usual(varying, values)
    y = file.column(y, file.quantities) if y is not None else _usual_quantity(file)
    if not _numeric(values[x]):
        raise _refused(f"`{x}` holds words, and an axis needs figures", "--x batch_size")
    others = [name for name in varying if name != x]
    told = [file.column(name, file.varied) for name in by] if by is not None else others
    left = [name for name in others if name not in told]
    if left:
        first = f"{left[0]}={next(iter(values[left[0]]))}"
        raise _refused(
            f"at one {x} there are several values of {y}: `{left[0]}` varies too", f"--by {left[0]}, or --only {first}"
        )
    lines = file.lines(x, y, [name for name in told if name in others], wanted, values[x])
    if len(lines) > _MOST_LINES:
        names = [f"--only {name}={next(iter(values[name]))}" for name in told[:1]]
        raise _refused(f"{len(lines)} curves are more than can be told apart: at most {_MOST_LINES}", names[0])
    if not any(line.points for line in lines):
        raise _refused(f"`{y}` has no figure in {path}")
    same = tuple((name, _said(next(iter(values[name])))) for name in file.varied if name not in varying)
    return Curves(x, y, file.unit(x), file.unit(y), tuple(lines), same, rows, file.about)


class _File:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.schema = self._schema()
        raw = (self.schema.metadata or {}).get(b"costmodel")
        self.about: dict[str, Any] = json.loads(raw) if raw is not None else {}
        names = self.schema.names
        self.quantities = [name for name in names if name in QUANTITIES]
        self.varied = [name for name in names if name not in QUANTITIES]
        if not self.quantities or "spec" not in names:
            raise _refused(f"{path} is no sweep: it has no column `spec`, or none of a quantity")

    def _schema(self) -> Any:
        if not self.path.is_file():
            raise _refused(f"there is no file `{self.path}`")
        try:
            if self.path.suffix == ".csv":
                with pa_csv.open_csv(self.path) as reader:
                    return reader.schema
            return pq.read_schema(self.path)
        except (OSError, pa.ArrowException) as error:
            raise _refused(f"{self.path} cannot be read as a sweep: {str(error).splitlines()[0]}") from None

    def unit(self, name: str) -> str:
        found = (self.schema.field(name).metadata or {}).get(b"unit")
        if found is not None:
            return str(found.decode())
        return str(QUANTITIES[name].dimension) if name in QUANTITIES else ""

    def column(self, name: str, among: Sequence[str]) -> str:
        if name not in among:
            what = "quantity" if among is self.quantities else "column of what varied"
            raise _refused(f"{self.path} has no {what} `{name}`", near_help(name, among))
        return name

    def condition(self, text: str) -> tuple[str, str]:
        name, equals, value = text.partition("=")
        if not equals:
            raise _refused(f"--only takes NAME=VALUE, not `{text}`")
        return self.column(name.strip(), self.varied), value.strip()

    def batches(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """The columns, some rows at a time, as NumPy arrays."""
        names = list(dict.fromkeys(names))
        try:
            if self.path.suffix == ".csv":
                options = pa_csv.ConvertOptions(include_columns=names)
                with pa_csv.open_csv(self.path, convert_options=options) as reader:
                    yield from ({n: _array(batch.column(n)) for n in names} for batch in reader)
            else:
                with pq.ParquetFile(self.path) as file:
                    for batch in file.iter_batches(1 << 18, columns=names):
                        yield {n: _array(batch.column(n)) for n in names}
        except (OSError, pa.ArrowException) as error:
            raise _refused(f"{self.path} cannot be read as a sweep: {str(error).splitlines()[0]}") from None

    def values(self, wanted: dict[str, str]) -> dict[str, Any]:
        """The distinct values of what varied, at most so many of each; and under "" the number of rows."""
        found: dict[str, Any] = {name: {} for name in self.varied}
        rows = 0
        for batch in self.batches(self.varied):
            kept = _kept(batch, wanted)
            rows += int(kept.sum())
            for name, seen in found.items():
                if len(seen) < _MOST_VALUES:
                    seen.update(dict.fromkeys(np.unique(batch[name][kept]).tolist()))
        return {**found, "": rows}

    def lines(self, x: str, y: str, by: Sequence[str], wanted: dict[str, str], seen: dict[Any, None]) -> list[Line]:
        """Each line's points; of more places than a picture has, the least and the greatest of each stretch."""
        low, high = self._ends(x, wanted) if len(seen) >= _MOST_VALUES else (0.0, 0.0)
        found: dict[tuple[Any, ...], dict[float, tuple[tuple[float, float], tuple[float, float]]]] = {}
        for batch in self.batches([x, y, *by, *wanted]):
            kept = _kept(batch, wanted) & ~np.isnan(batch[y].astype(float))
            xs, ys = batch[x][kept].astype(float), batch[y][kept].astype(float)
            places = xs if high <= low else np.floor(_share(xs, low, high) * _BUCKETS)
            labels = [batch[name][kept] for name in by]
            for key in dict.fromkeys(zip(*(label.tolist() for label in labels), strict=True)) if by else [()]:
                inside = np.ones(len(xs), bool)
                for label, value in zip(labels, key, strict=True):
                    inside &= label == value
                _reach(found.setdefault(key, {}), places[inside], xs[inside], ys[inside])
            if len(found) > 20 * _MOST_LINES:
                break
        lines = []
        for key, held in sorted(found.items(), key=lambda item: tuple(map(_order, item[0]))):
            points = sorted({point for pair in held.values() for point in pair})
            lines.append(Line(tuple(zip(by, map(_said, key), strict=True)), tuple(points)))
        return lines

    def _ends(self, name: str, wanted: dict[str, str]) -> tuple[float, float]:
        ends = [
            (kept.min(), kept.max()) for b in self.batches([name, *wanted]) if len(kept := b[name][_kept(b, wanted)])
        ]
        return float(min(low for low, _ in ends)), float(max(high for _, high in ends))


def _reach(held: dict[float, tuple[tuple[float, float], tuple[float, float]]], places: Any, xs: Any, ys: Any) -> None:
    """Put in the lowest and the highest point of each place."""
    order = np.lexsort((ys, places))
    places, xs, ys = places[order], xs[order], ys[order]
    if not len(places):
        return
    starts = np.flatnonzero(np.r_[True, places[1:] != places[:-1]])
    for start, end in zip(starts, [*starts[1:], len(places)], strict=True):
        low, high = (float(xs[start]), float(ys[start])), (float(xs[end - 1]), float(ys[end - 1]))
        place = float(places[start])
        if place in held:
            low, high = min(low, held[place][0], key=_height), max(high, held[place][1], key=_height)
        held[place] = low, high


def _height(point: tuple[float, float]) -> float:
    return point[1]


def _array(column: Any) -> Any:
    column = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    return column.to_numpy(zero_copy_only=False)


def _kept(batch: dict[str, Any], wanted: dict[str, str]) -> Any:
    kept = np.ones(len(next(iter(batch.values()))), bool)
    for name, value in wanted.items():
        column = batch[name]
        kept &= column == (_number(value) if column.dtype != object else value)
    return kept


def _number(text: str) -> float:
    try:
        return float(text.replace("_", ""))
    except ValueError:
        raise _refused(f"--only compares with a figure here, not `{text}`") from None


def _share(xs: Any, low: float, high: float) -> Any:
    """How far along an axis, which is logarithmic where all is positive."""
    return np.log(xs / low) / np.log(high / low) if low > 0 else (xs - low) / (high - low)


def _numeric(values: dict[Any, None]) -> bool:
    return not any(isinstance(value, str) for value in values)


def _usual(varying: Sequence[str], values: dict[str, Any]) -> str:
    figures = [name for name in varying if _numeric(values[name])]
    for name in (*WORKLOAD, *figures):
        if name in figures:
            return name
    raise _refused("nothing that could be an axis varies in this file", "--x NAME")


def _usual_quantity(file: _File) -> str:
    return next((name for name in ("throughput", "latency") if name in file.quantities), file.quantities[0])


def _order(value: Any) -> tuple[bool, Any]:
    return isinstance(value, str), value


def _said(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:,.6g}" if isinstance(value, float) else f"{value:,}"


def _refused(message: str, help: str = "") -> SpecError:
    return SpecError(Diagnostic("argument", message, help=help))
