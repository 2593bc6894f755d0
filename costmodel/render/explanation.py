"""`explain`: the operations as a tree of blocks, with what each costs and where each crosses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any

from rich.text import Text
from sympy import Expr, Symbol

from costmodel.algebra import text
from costmodel.compile import Compiled
from costmodel.costs import TERMS, CostTable, Row
from costmodel.figures import Figure, Open, as_float, as_json, comparable, figure
from costmodel.hierarchy import Branch, tree
from costmodel.quantities import Quantities
from costmodel.render.answers import all_dims, header, shown_expr
from costmodel.render.numbers import decimal, magnitude, milliseconds, scaled
from costmodel.render.page import Page
from costmodel.render.words import conventions, device_name, order, workload
from costmodel.solve.budget import Unsolvable
from costmodel.solve.crossover import Solved, solve
from costmodel.symbols import LEGIBLE_BITS, ZERO, batch_size, is_zero, put_in, rational, total


@dataclass
class Line:
    """A line of the tree: a region or operations, with their costs over all turns."""

    name: str
    count: str
    rows: list[Row]
    depth: int
    last: tuple[bool, ...] = ()
    is_region: bool = False
    children: list[Line] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Explanation:
    """What a pass is made of."""

    compiled: Compiled
    quantities: Quantities
    point: Mapping[Symbol, Fraction]
    show_all: bool = False

    @property
    def table(self) -> CostTable:
        return self.quantities.table

    # --- for programs

    def as_json(self) -> dict[str, Any]:
        device = self.quantities.device
        found = header(
            self.compiled.name, self.table, device.name if device else None, self.quantities.timing if device else None
        )
        found["dims"] = all_dims(self.table, self.point)
        found["ops"] = [self._row_json(row) for row in self.table.rows if row.node is not None]
        found["elsewhere"] = {
            "params": shown_expr(total(self._put(r.params) for r in self.table.rows if r.node is None))
        }
        totals = {"params": self.table.params, "flops": self.table.flops, "bytes": self.table.bytes}
        for term in TERMS:
            totals[term] = self.table.summed(lambda row, term=term: getattr(row.cost, term))  # type: ignore[misc]
        found["totals"] = {
            name: {"expr": shown_expr(put_in(expr, self._given, LEGIBLE_BITS)), "value": as_json(self._at(expr))}
            for name, expr in totals.items()
        }
        return found

    @cached_property
    def _given(self) -> dict[Symbol, Expr]:
        return {symbol: rational(value) for symbol, value in self.point.items()}

    def _put(self, expr: Expr) -> Expr:
        return put_in(self.table.put_in(expr), self._given, LEGIBLE_BITS)

    def _row_json(self, row: Row) -> dict[str, Any]:
        node = row.node
        assert node is not None
        shape = node.results[0].shape if node.results else ()
        found: dict[str, Any] = {
            "path": [region.name for region in row.region.path],
            "op": node.keyword,
            "name": node.label,
            "count": shown_expr(self._put(row.count)),
            "shape": [shown_expr(axis) for axis in shape],
            "params": shown_expr(self._put(row.params)),
        }
        found |= {term: shown_expr(self._put(getattr(row.cost, term))) for term in TERMS}
        found["line"] = node.span.line
        found["file"] = node.span.source.name
        if self.quantities.device is not None:
            found["crossover"] = self._own_crossover([row])
        return found

    def _own_crossover(self, rows: list[Row]) -> dict[str, Any] | None:
        solved = self._solved(rows)
        if solved is None:
            return None
        return {"status": solved.status(None), "batch_size": as_json(solved.value)}

    # --- crossovers of parts

    def _solved(self, rows: list[Row]) -> Solved | None:
        """Where these operations together turn compute-bound; None where they do no work, or it is open."""
        times = [self.quantities.row_times(row) for row in rows]
        compute, memory = total(c for c, _ in times), total(m for _, m in times)
        if compute == 0 or (compute, memory) == (ZERO, ZERO):
            return None
        key = (compute, memory)
        if key not in self._crossings:
            at = {s: v for s, v in self.point.items() if s != batch_size}
            try:
                self._crossings[key] = solve(compute, memory, at)
            except (Open, Unsolvable):
                self._crossings[key] = None
        return self._crossings[key]

    @cached_property
    def _crossings(self) -> dict[tuple[Expr, Expr], Solved | None]:
        return {}

    def _cross(self, rows: list[Row]) -> str:
        solved = self._solved(rows)
        if solved is None:
            return "–"
        status = solved.status(None)
        if status == "crosses":
            return decimal(solved.value or Fraction(0), 1)
        return status

    # --- the tree

    @cached_property
    def root(self) -> Line:
        branch = tree(self.table)
        root = Line(branch.region.name, "", list(branch.rows()), 0, is_region=True)
        self._fill(root, branch)
        return root

    def _fill(self, line: Line, branch: Branch) -> None:
        for child in branch.children:
            if isinstance(child, Branch):
                region = child.region
                count = f"{self._count(region.count)} ×" if region.kind == "repeat" else ""
                name = region.name
                if region.kind == "route":
                    name = "route"
                    count = f"{self._count(region.top_k)} ×"
                inner = Line(name, count, list(child.rows()), line.depth + 1, is_region=True)
                self._fill(inner, child)
                if self.show_all or self._costs(inner.rows):
                    line.children.append(inner)
            elif self.show_all or self._costs([child]):
                self._leaf(line, child)

    def _leaf(self, line: Line, row: Row) -> None:
        """An operation; equal ones beside each other are one line, counted."""
        node = row.node
        name = "other graphs and phases" if node is None else f"{node.keyword} {node.label}".strip()
        for known in line.children:
            same = not known.is_region and known.name == name and self._equal(known.rows[0], row)
            if same:
                known.rows.append(row)
                known.count = f"{len(known.rows)} ×"
                return
        line.children.append(Line(name, "", [row], line.depth + 1))

    def _equal(self, a: Row, b: Row) -> bool:
        return a.params == b.params and all(getattr(a.cost, t) == getattr(b.cost, t) for t in TERMS)

    def _count(self, expr: Expr) -> str:
        return text(self.table.put_in(expr))

    def _costs(self, rows: list[Row]) -> bool:
        """Whether these cost anything at this fidelity."""
        return any(not is_zero(self._flops(row)) or not is_zero(row.cost.bytes) for row in rows)

    def _flops(self, row: Row) -> Expr:
        cost = row.cost
        return cost.matmul_flops + cost.vector_flops if self.table.fidelity == "traffic" else cost.matmul_flops

    def _lines(self, line: Line, last: tuple[bool, ...] = ()) -> Iterator[tuple[str, Line]]:
        prefix = "".join("   " if end else "│  " for end in last[:-1])
        yield (prefix + ("└─ " if last[-1] else "├─ ") if last else "") + line.name, line
        for i, child in enumerate(line.children):
            yield from self._lines(child, (*last, i == len(line.children) - 1))

    # --- for people

    @cached_property
    def _fixed(self) -> bool:
        """Whether all costs have figures."""
        return self._at(self.table.flops) is not None and self._at(self.table.bytes) is not None

    def _at(self, expr: Expr) -> Figure | None:
        try:
            return figure(expr, self.point)
        except Open:
            return None

    def _held(self, expr: Expr) -> Fraction:
        """A figure to reckon with: of 60 digits where it is a power too long to be held."""
        return comparable(figure(expr, self.point))

    def _summed(self, rows: list[Row], what: str) -> Expr:
        terms: dict[str, Callable[[Row], Expr]] = {
            "params": lambda row: row.params,
            "flops": self._flops,
            "bytes": lambda row: row.cost.bytes,
        }
        return total(self.table.put_in(row.count * terms[what](row)) for row in rows)

    def page(self, width: int) -> Page:
        page = Page(width)
        device = self.quantities.device
        on = f" on {device_name(device)}" if device is not None else ""
        page.text("")
        page.text(f"{self.compiled.title}{on}, {workload(self.table, self.point, with_batch=True)}")
        if device is not None and self._fixed:
            page.space()
            page.text(self._verdict(), indent=2)
        page.space()
        if self._fixed:
            self._values(page)
        else:
            self._formulas(page)
        page.space()
        page.text(self._note(), indent=2)
        page.counted(conventions(self.table, self.quantities))
        return page

    def _note(self) -> str:
        hidden = dict.fromkeys(
            row.node.keyword for row in self.table.rows if row.node is not None and not self._costs([row])
        )
        words = (
            "Totals over all turns."
            if self._fixed
            else "Figures of one turn of the repeats around it, batch_size left free."
        )
        if hidden and not self.show_all:
            names = list(hidden)
            said = ", ".join(names[:-1]) + (" and " if len(names) > 1 else "") + names[-1]
            words += f" {said} cost{'s' if len(names) == 1 else ''} nothing at this fidelity; --all lists them."
        return words

    def _time(self, rows: list[Row]) -> Fraction:
        """The longer of compute and memory time of each operation, added up."""
        return sum((max(self._held(time) for time in self.quantities.row_times(row)) for row in rows), Fraction(0))

    def _verdict(self) -> str:
        quantities = self.quantities
        compute, memory = self._held(quantities.compute_time), self._held(quantities.memory_time)
        latency = quantities.latency_at(self.point)
        bound = "Memory-bound" if memory > compute else "Compute-bound"
        each = "a token" if quantities.tokens == 1 and self.table.dataflow.has_tokens else "a pass"
        words = f"{bound}: {milliseconds(latency)} {each}, at least."
        leaves = [line for _, line in self._lines(self.root) if not line.is_region]
        whole = self._time(self.root.rows)
        if not leaves or not whole:
            return words
        largest = max(leaves, key=lambda line: self._time(line.rows))
        share = as_float(self._time(largest.rows) / whole) * 100
        cross = self._cross(largest.rows)
        turns = {
            "never": "and is memory-bound at every batch size",
            "always": "and is compute-bound from batch 1 on",
            "–": "",
        }.get(cross, f"and turns compute-bound at batch {cross}")
        words += f" {largest.name[:1].upper()}{largest.name[1:]} takes {share:.1f} % of it {turns}".rstrip() + "."
        own = {self._cross(line.rows) for line in leaves if line.name.startswith("matmul ")}
        if len(own) == 1 and not largest.name.startswith("matmul"):
            at = next(iter(own))
            words += f" Every matmul turns compute-bound at batch {at}." if at not in ("never", "always") else ""
        if quantities.timing == "overlap" and as_float(latency) < as_float(whole) * 0.999:
            words += f" One behind the other the operations take {milliseconds(whole)}."
        return words

    def _values(self, page: Page) -> None:
        header, *rows = self.value_rows([name for name, _ in self._lines(self.root)])
        styles = ["bold" if line.is_region else "" for _, line in self._lines(self.root)]
        rows = _fitted([header, *rows], page.width)
        page.table(rows[1:], "l" + "r" * (len(rows[0]) - 1), header=rows[0], indent=0, gap=1, styles=styles)

    @property
    def lines(self) -> list[Line]:
        """The tree's lines from top to bottom."""
        return [line for _, line in self._lines(self.root)]

    def value_rows(self, names: Sequence[str]) -> list[list[str]]:
        """Counts, figures and shares of each line, under these names, behind a header."""
        device = self.quantities.device is not None
        flops, moved = self._held(self.table.flops) or 1, self._held(self.table.bytes) or 1
        whole = self._time(self.root.rows) if device else None
        flop_unit, byte_unit = _unit(as_float(flops) / 10, "FLOP"), _unit(moved, "B")
        header = ["block, operation", "", "params", flop_unit[1], "share", byte_unit[1]]
        header += ["ms", "share", "FLOP/B", "cross"] if device else ["share", "FLOP/B"]
        rows = [header]
        for name, line in zip(names, self.lines, strict=True):
            f, m = self._held(self._summed(line.rows, "flops")), self._held(self._summed(line.rows, "bytes"))
            params = self._at(self._summed(line.rows, "params"))
            cells = [name, line.count, _whole(params), _in_unit(f, flop_unit), _share(f, flops)]
            cells += [_in_unit(m, byte_unit)]
            if device:
                spent = self._time(line.rows)
                cells += [_milliseconds(spent), _share(spent, whole or 1)]
            else:
                cells += [_share(m, moved)]
            cells.append(decimal(f / m, 2) if f and m else "–")
            if device:
                cells.append(self._cross(line.rows))
            rows.append(cells)
        return rows

    def _formulas(self, page: Page) -> None:
        names = order(self.compiled)
        rows: list[list[str | Text]] = []
        for name, line in self._lines(self.root):
            label = f"{name}, {line.count}" if line.count else name
            if line.is_region:
                rows.append([label, "", ""])
                continue
            row, times = line.rows[0], rational(len(line.rows))
            flops, moved = self._put(times * self._flops(row)), self._put(times * row.cost.bytes)
            rows.append([label, *(text(cost, names) if cost != 0 else "–" for cost in (flops, moved))])
        if page.wide:
            page.table(rows, "lll", header=["block, operation", "FLOPs", "bytes"], indent=0, gap=2, expand=2)
            return
        for label, *costs in ([str(cell) for cell in row] for row in rows):
            page.text(label)
            for unit, cost in zip(("FLOPs", "bytes"), costs, strict=True):
                if cost not in ("", "–"):
                    page.spread(f"{unit}  {cost}", "", indent=len(label) - len(label.lstrip("│├└─ ")) + 4)


def _fitted(rows: list[list[str]], width: int) -> list[list[str]]:
    """Columns as wide as the page: parameters rounded, shares of FLOPs, intensities and parameters left out, at last
    names cut short."""

    def over() -> int:
        return sum(max(map(len, column)) + 1 for column in zip(*rows, strict=True)) - 1 - width

    if over() > 0:
        rows = [rows[0], *([*row[:2], _rounded(row[2]), *row[3:]] for row in rows[1:])]
    for name in ("share", "FLOP/B", "params"):
        if over() > 0:
            at = rows[0].index(name)
            rows = [row[:at] + row[at + 1 :] for row in rows]
    excess = over()
    if excess > 0:
        longest = max(len(row[0]) for row in rows) - excess
        rows = [[row[0] if len(row[0]) <= longest else row[0][: longest - 1] + "…", *row[1:]] for row in rows]
    return rows


def _rounded(params: str) -> str:
    return scaled(Fraction(params.replace(",", "")), "").strip() if params != "–" else params


def _unit(value: Figure, unit: str) -> tuple[int, str]:
    """The power of ten in which a column is given, by its total."""
    power, prefix = magnitude(as_float(value))
    return power, prefix + unit


def _in_unit(value: Figure, unit: tuple[int, str]) -> str:
    if not value:
        return "–"
    number = as_float(value) / 10 ** unit[0]
    return f"{number:,.3f}" if unit[1].endswith("B") else f"{number:,.2f}"


def _milliseconds(value: Figure) -> str:
    return f"{as_float(value) * 1e3:,.2f}"


def _whole(value: Figure | None) -> str:
    return f"{int(value):,}" if value else "–"


def _share(value: Figure, whole: Figure) -> str:
    return f"{as_float(value / whole) * 100:.1f}%" if value else "–"
