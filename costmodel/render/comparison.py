"""`compare`: columns side by side, who is better where, and ratios in closed form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sympy import Max, Min

from costmodel.algebra import text
from costmodel.comparison import MORE_IS_BETTER, BreakEven, Comparison, Crossing, Ratio, Stretch
from costmodel.figures import Figure, as_float, as_json
from costmodel.render.answers import shown_expr, workload_dims
from costmodel.render.evaluation import shown_value
from costmodel.render.notebook import Paged
from costmodel.render.numbers import decimal, plain, scaled, significant
from costmodel.render.page import Page
from costmodel.render.words import conventions, device_name, order, together, workload
from costmodel.symbols import is_number

_GROUPS = (
    ("params", "active_params"),
    ("flops", "bytes", "intensity", "ridge"),
    ("memory", "weight_memory", "cache_memory", "activation_memory"),
    ("compute_time", "memory_time", "latency", "throughput", "cost_per_million_tokens"),
    ("crossover", "max_batch_size"),
    ("ttft", "tpot", "request_time", "request_cost", "request_flops", "request_bytes"),
    ("expected_tokens",),
)
_LONGEST = 160
_WORDS = {
    "latency": "is faster",
    "ttft": "is faster",
    "tpot": "is faster",
    "request_time": "is faster",
    "compute_time": "computes faster",
    "memory_time": "reads faster",
    "flops": "computes less",
    "request_flops": "computes less",
    "bytes": "moves less",
    "request_bytes": "moves less",
    "memory": "takes less memory",
    "cost_per_million_tokens": "is cheaper",
    "request_cost": "is cheaper",
    "throughput": "gives more",
}
_PLACES = {
    "seq_len": ("by context", "tokens", "at every context"),
    "batch_size": ("by batch size", "", "at every batch size"),
    "new_tokens": ("by new tokens", "new tokens", "at every number of new tokens"),
}


@dataclass(frozen=True, eq=False, repr=False)
class ComparisonAnswer(Paged):
    """A comparison ready to be shown; `columns`, `ratios` and `break_evens` are its parts."""

    found: Comparison
    names: str | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        return self.found.labels

    @property
    def ratios(self) -> tuple[Ratio, ...]:
        return self.found.ratios

    @property
    def break_evens(self) -> tuple[BreakEven, ...]:
        return self.found.break_evens

    def value(self, name: str, column: int) -> Figure | None:
        """A quantity of a column at the point."""
        return self.found.columns[column].cells[name].found.value

    # --- for programs

    def as_json(self) -> dict[str, Any]:
        return {
            "columns": [self._column_json(i) for i in range(len(self.labels))],
            "ratios": [
                {
                    "name": ratio.name,
                    "column": ratio.column,
                    "expr": shown_expr(ratio.found.expr),
                    "value": as_json(ratio.found.value),
                }
                for ratio in self.ratios
            ],
            "break_even": [self._break_even_json(b) for b in self.break_evens],
        }

    def _column_json(self, i: int) -> dict[str, Any]:
        column = self.found.columns[i]
        table, device = column.quantities.table, column.quantities.device
        return {
            "label": self.labels[i],
            "spec": column.compiled.name,
            "set": list(column.settings),
            "device": None if device is None else device.name,
            "graph": table.dataflow.graph,
            "phase": table.dataflow.phase,
            "fidelity": table.fidelity,
            "timing": None if device is None else column.quantities.timing,
            "dims": workload_dims(table, column.point),
            "quantities": [
                {
                    "name": name,
                    "expr": shown_expr(cell.found.expr),
                    "value": as_json(cell.found.value),
                    "why": cell.why or None,
                }
                for name, cell in column.cells.items()
            ],
        }

    def _break_even_json(self, found: BreakEven) -> dict[str, Any]:
        return {
            "name": found.name,
            "for": found.unknown,
            "crossings": [
                {
                    "expr": shown_expr(c.found.expr),
                    "value": as_json(c.found.value),
                    "before": list(c.before),
                    "after": list(c.after),
                }
                for c in found.crossings
            ],
            "best": [{"min": s.low, "max": s.high, "columns": list(s.best)} for s in found.stretches],
            "why": found.why or None,
        }

    # --- for people

    def __repr__(self) -> str:
        return f"<Comparison of {', '.join(self.labels)}>"

    def page(self, width: int) -> Page:
        page = Page(width)
        page.text("")
        page.text(self.title)
        page.space()
        page.text(self.verdict, indent=2, style="bold")
        page.space()
        self._values(page)
        self._where(page)
        self._formulas(page)
        page.counted(together(conventions(c.quantities.table, c.quantities) for c in self.found.columns))
        return page

    @property
    def _same_device(self) -> bool:
        return len({c.quantities.device.name if c.quantities.device else "" for c in self.found.columns}) == 1

    @property
    def title(self) -> str:
        columns = self.found.columns
        specs = list(dict.fromkeys(column.compiled.title for column in columns))
        device = columns[0].quantities.device
        on = f" on {device_name(device)}" if device is not None and self._same_device else ""
        what = " and ".join([", ".join(specs[:-1]), specs[-1]]) if len(specs) > 1 else specs[0]
        return f"{what}{on}, {workload(columns[0].quantities.table, columns[0].point, with_batch=True)}"

    @property
    def verdict(self) -> str:
        """Where which column is best of the first quantity, or else how much more the others take."""
        for found in self.break_evens:
            everywhere_same = len(found.stretches) == 1 and len(found.stretches[0].best) == len(self.labels)
            if not everywhere_same and (said := self._said(found)):
                return f"{said}."
        name = next((n for n in ("latency", "bytes", "params") if self._both(n)), "params")
        ratios = [r for r in self.ratios if r.name == name and r.found.value is not None]
        if not ratios:
            return "Closed forms side by side; figures for the workload give values."
        shown = ", ".join(f"{self.labels[r.column]} {_times(r.found.value)}" for r in ratios)
        return f"{name.replace('_', ' ')} against {self.labels[0]}: {shown}."

    def _both(self, name: str) -> bool:
        return all(c.cells.get(name) and c.cells[name].found.value is not None for c in self.found.columns)

    # --- values

    def _values(self, page: Page) -> None:
        count = len(self.labels)
        each = 2 if page.wide and count <= 3 else 1
        for start in range(1, count, each) if self._differing else ():
            if start > 1:
                page.space()
            self._block(page, range(start, min(start + each, count)))
        same = [f"{name} {self._shown(name, 0)}" for name in self._known if name not in self._differing]
        said = [f"The same in every column: {', '.join(same)}."] if same else []
        said += self._not_fitting()
        said += dict.fromkeys(self._whys())
        if said and self._differing:
            page.space()
        for line in said:
            page.text(line, indent=2, style="dim")

    def value_rows(self) -> list[list[str]]:
        """What tells any two columns apart, behind a header."""
        rows = [[name, *(self._shown(name, i) for i in range(len(self.labels)))] for name in self._differing]
        return [["", *self.labels], *rows]

    def sentences(self) -> list[str]:
        """Who is better at what, where."""
        return [
            f"{found.name} {_PLACES[found.unknown][0]}: {said}"
            for found in self.break_evens
            if (said := self._said(found))
        ]

    def _block(self, page: Page, others: range) -> None:
        """The base beside some of the others, in what tells any two columns apart."""
        rows: list[list[str]] = []
        for group in _GROUPS:
            lines = [self._row(name, others) for name in group if name in self._differing]
            if rows and lines:
                rows.append([""] * len(lines[0]))
            rows.extend(lines)
        header = ["", _short(self.labels[0])]
        for i in others:
            header += [_short(self.labels[i]), ""]
        page.table(rows, "lr" + "rr" * len(others), header=header)

    @cached_property
    def _known(self) -> list[str]:
        """The quantities of which one column at least has a figure."""
        names = [n for n in self.found.names if any(self._shown(n, i) != "–" for i in range(len(self.labels)))]
        if "params" in names and all(c.cells["params"] == c.cells["active_params"] for c in self.found.columns):
            names.remove("active_params")
        return [n for n in names if not n.endswith("_flops") or n == "request_flops"]

    @cached_property
    def _differing(self) -> list[str]:
        return [n for n in self._known if len({self._shown(n, i) for i in range(len(self.labels))}) > 1]

    def _row(self, name: str, others: range) -> list[str]:
        cells = [name, self._shown(name, 0)]
        for i in others:
            ratio = next((r for r in self.ratios if r.name == name and r.column == i), None)
            cells += [self._shown(name, i), _times(ratio.found.value) if ratio is not None else ""]
        return cells

    def _shown(self, name: str, i: int) -> str:
        column = self.found.columns[i]
        cell = column.cells.get(name)
        if cell is not None and cell.why.startswith("never"):
            return "never"
        unit = "tokens" if column.quantities.table.dataflow.has_tokens else "sequences"
        return shown_value(name, None if cell is None else cell.found.value, unit)

    def _not_fitting(self) -> Iterator[str]:
        """Columns that cannot run at the point, however fast they would be."""
        for label, column in zip(self.labels, self.found.columns, strict=True):
            if column.missing_memory is not None:
                yield f"{label} does not fit at this point: {scaled(column.missing_memory, 'B')} missing."

    def _whys(self) -> Iterator[str]:
        """Why a cell is a dash where another column has a figure."""
        for name in self.found.names:
            if not any(c.cells[name].found.value is not None for c in self.found.columns if name in c.cells):
                continue
            for label, column in zip(self.labels, self.found.columns, strict=True):
                cell = column.cells.get(name)
                if cell is not None and cell.found.value is None and cell.why:
                    yield f"{name} of {label}: {cell.why}"

    # --- who is better where

    def _where(self, page: Page) -> None:
        for unknown, (by, _, _) in _PLACES.items():
            found = [b for b in self.break_evens if b.unknown == unknown]
            rows = [(b.name, said, *self._crossings(b)) for b in found if (said := self._said(b))]
            whys: dict[str, list[str]] = {}
            for b in found:
                if not self._said(b):
                    whys.setdefault(b.why, []).append(b.name)
            rows += [(", ".join(names), why) for why, names in whys.items()]
            if not rows:
                continue
            page.heading(f"Who is better, {by}", self._others(unknown))
            if page.wide:
                lines = [line for name, *said in rows for line in zip((name, *[""] * len(said)), said, strict=False)]
                page.table(lines, "ll", expand=1)
                continue
            for name, said, *closed in rows:
                page.text(name, indent=2)
                page.text(said, indent=6)
                for formula in closed:
                    page.spread(formula, "", indent=6, style="dim")

    def _others(self, unknown: str) -> str:
        """What is fixed while a dim changes."""
        point = {s.name: v for s, v in self.found.columns[0].point.items()}
        said = []
        if unknown != "batch_size" and "batch_size" in point:
            said.append(f"batch {plain(point['batch_size'])}")
        if unknown != "seq_len" and "seq_len" in point:
            said.append(f"{plain(point['seq_len'])} tokens")
        return f"at {', '.join(said)}" if said else ""

    def _crossings(self, found: BreakEven) -> list[str]:
        """The break-evens with their closed forms, where the sentence does not have them already."""
        said = [self._closed(found, crossing) for crossing in found.crossings] if found.stretches else []
        return list(filter(None, said))

    def _closed(self, found: BreakEven, crossing: Crossing) -> str:
        expr, value = crossing.found.expr, crossing.found.value
        shown = decimal(value, 2) if value is not None else ""
        if expr is None:
            return f"{shown}, no closed form" if shown else ""
        formula = text(expr, order(self.found.columns[0].compiled))
        if len(formula) > _LONGEST:
            return f"{shown}; --json has the closed form"
        if is_number(expr) and expr.is_Integer:
            return shown
        return f"{found.unknown} = {formula}" + (f" = {shown}" if shown else "")

    def _said(self, found: BreakEven) -> str:
        """`llama-3.1:8b is faster up to 3,412 tokens, gemma-2:9b beyond`."""
        more = "more" if found.name in MORE_IS_BETTER else "less"
        word = _WORDS.get(found.name, f"has {more} {found.name}")
        _, unit, everywhere = _PLACES[found.unknown]
        stretches = found.stretches
        if not stretches:
            if not found.crossings:
                return ""
            crossing = found.crossings[0]
            formula = text(crossing.found.expr, order(self.found.columns[0].compiled))
            before, after = self._named(crossing.before), self._named(crossing.after)
            return f"{before} {word} where {found.unknown} < {formula}, {after} beyond"
        if len(stretches) == 1:
            only = stretches[0]
            if len(only.best) == len(self.labels):
                return f"the same {everywhere}"
            return f"{self._named(only.best)} {self._agreeing(word, only)} {everywhere}"
        parts = []
        for i, stretch in enumerate(stretches):
            parts.append(self._stretch(stretch, i, stretches, word, unit, found.unknown))
        return ", ".join(parts)

    def _stretch(
        self, stretch: Stretch, i: int, stretches: tuple[Stretch, ...], word: str, unit: str, unknown: str
    ) -> str:
        named = self._named(stretch.best)
        name = "batch " if unknown == "batch_size" else ""
        low, high = f"{name}{stretch.low:,}", None if stretch.high is None else f"{name}{stretch.high:,}"
        units = f" {unit}" if unit else ""
        if len(stretch.best) == len(self.labels):
            if stretch.high == stretch.low:
                return (
                    f"both are the same at {low}{units}" if len(self.labels) == 2 else f"all the same at {low}{units}"
                )
            named = "either" if len(self.labels) == 2 else "any"
        if i == 0:
            return f"{named} {self._agreeing(word, stretch)} up to {high}{units}"
        if len(stretch.best) == len(self.labels) and stretch.high is None:
            return "the same beyond"
        if stretch.high is None or i == len(stretches) - 1:
            after_tie = stretches[i - 1].low == stretches[i - 1].high and len(stretches) > 2
            return f"{named} beyond" if after_tie or i == 1 else f"{named} from {low} on"
        if stretch.high == stretch.low:
            return f"{named} at {low}"
        return f"{named} from {low} to {high}"

    def _agreeing(self, word: str, stretch: Stretch) -> str:
        """A predicate for one column, or for several that are equal."""
        if len(stretch.best) == 1 or len(stretch.best) == len(self.labels):
            return word
        verb, _, rest = word.partition(" ")
        return f"{ {'is': 'are', 'has': 'have'}.get(verb, verb.removesuffix('s')) } {rest}"

    def _named(self, best: tuple[int, ...]) -> str:
        return " and ".join(self.labels[i] for i in best)

    # --- ratios

    def _formulas(self, page: Page) -> None:
        """The ratios of the main quantities, those with one formula together."""
        names = order(self.found.columns[0].compiled)
        said: dict[tuple[int, str], list[str]] = {}
        for ratio in self.ratios:
            expr = ratio.found.expr
            if ratio.name in ("flops", "bytes", "memory", "latency") and expr is not None and not is_number(expr):
                said.setdefault((ratio.column, text(expr, names)), []).append(ratio.name)
        several = len(self.labels) > 2
        rows = [
            (", ".join(quantities) + (f" of {_short(self.labels[column])}" if several else ""), formula)
            for (column, formula), quantities in sorted(said.items(), key=lambda item: item[0][0])
            if len(formula) <= _LONGEST
        ]
        if not rows:
            return
        page.heading(f"Ratios, {'each' if several else self.labels[1]} over {self.labels[0]}", self._branches)
        if page.wide:
            page.table(rows, "ll", expand=1)
        for name, formula in () if page.wide else rows:
            page.text(name, indent=2)
            page.spread(formula, "", indent=6)

    @property
    def _branches(self) -> str:
        exprs = [c.cells[n].found.expr for c in self.found.columns for n in ("bytes", "latency") if n in c.cells]
        chosen = any(expr is not None and expr.has(Max, Min) for expr in exprs)
        return "on the branches that hold here" if chosen else ""


def _short(label: str) -> str:
    return label if len(label) <= 26 else f"{label[:12]}…{label[-13:]}"


def _times(value: Figure | None) -> str:
    if value is None:
        return ""
    number = as_float(value)
    if value == 1:
        return "1×"
    return f"{significant(number, 3)}×" if abs(number) >= 0.001 else "≈0×"
