"""`sensitivity`: what a quantity follows, said as a person would: 10% more bandwidth, 9.09% less latency."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from sympy import Expr, Symbol

from costmodel import syntax
from costmodel.algebra import text
from costmodel.compile import Compiled
from costmodel.crossover import Closed
from costmodel.figures import Figure, as_float, as_json
from costmodel.quantities import Quantities
from costmodel.quantity_names import QUANTITIES
from costmodel.render.answers import shown_expr
from costmodel.render.evaluation import shown_value
from costmodel.render.latex import Symbols, latex
from costmodel.render.notebook import Paged
from costmodel.render.numbers import percent, plain, significant, with_prefix
from costmodel.render.page import Page
from costmodel.render.words import conventions, device_name, order, workload
from costmodel.sensitivity import Change, Neighbour, Row, Sensitivity
from costmodel.symbols import batch_size, seq_len
from costmodel.walk import walk

_WHOLE = "max_batch_size"
_LONGEST = 110


@dataclass(frozen=True, eq=False, repr=False)
class SensitivityAnswer(Paged):
    """The parameters of a quantity at a point, the one it follows most first, ready to be shown.

    `answer["num_layers"]` is a parameter's row: its elasticity, the change for 10 % more, the next whole values.
    """

    compiled: Compiled
    quantities: Quantities
    point: Mapping[Symbol, Fraction]
    found: Sensitivity
    names: str | None = None

    @property
    def of(self) -> str:
        return self.found.of

    @property
    def value(self) -> Figure | None:
        """The quantity at the point."""
        return self.found.value

    @property
    def rows(self) -> tuple[Row, ...]:
        return self.found.rows

    @property
    def independent(self) -> tuple[str, ...]:
        """The parameters that the quantity does not depend on at all."""
        return self.found.independent

    def __getitem__(self, name: str) -> Row:
        return self.found[name]

    # --- for programs

    def as_json(self) -> list[dict[str, Any]]:
        return [self._row_json(row) for row in self.rows]

    def _row_json(self, row: Row) -> dict[str, Any]:
        left, right = row.sides or (None, None)
        return {
            "name": row.name,
            **_closed_json(row.elasticity),
            "left": _closed_json(left) if left is not None else None,
            "right": _closed_json(right) if right is not None else None,
            "at": as_json(row.at),
            "ten_percent_more": _change_json(row.change),
            "next": [
                {"at": as_json(n.value), "dtype": n.name or None, **_change_json(n.change)} for n in row.neighbours
            ],
            "effect": row.effect,
            "why": row.why or None,
        }

    # --- for people

    def __repr__(self) -> str:
        return f"<Sensitivity of {self.of} of {self.compiled.name}, {len(self.rows)} parameters>"

    def page(self, width: int) -> Page:
        page = Page(width)
        device = self.quantities.device
        on = f" on {device_name(device)}" if device is not None else ""
        page.text("")
        page.text(f"{self.compiled.title}{on}, {self._workload}")
        page.space()
        page.text(self._verdict, indent=2, style="bold")
        if self._shown and self.value is not None:
            page.space()
            self._table(page)
        self._notes(page)
        self._formulas(page)
        priced = "cost" in self.of and device is not None and device.price is not None
        page.counted(
            conventions(self.quantities.table, self.quantities, price=priced, timing=QUANTITIES[self.of].device)
        )
        return page

    @property
    def _workload(self) -> str:
        """What is run: a pass, or requests."""
        if not QUANTITIES[self.of].request:
            batch = self.of not in ("crossover", _WHOLE)
            return workload(self.quantities.table, self.point, with_batch=batch)
        said = [f"{s.name.replace('_', ' ')} {plain(v)}" for s, v in self.point.items() if s != seq_len]
        return ", ".join(["a step of speculative decoding" if self.of == "expected_tokens" else "a request", *said])

    @cached_property
    def _shown(self) -> list[Row]:
        """The rows of the table: what has an effect here, or would have with the next value."""
        return [r for r in self.rows if r.effect == "here" or (r.effect == "held" and r.neighbours)]

    @property
    def _quantity(self) -> str:
        return self.of.replace("_", " ")

    @property
    def _verdict(self) -> str:
        unit = "tokens" if self.quantities.table.dataflow.has_tokens else "sequences"
        if self.value is None:
            return f"{self._quantity} depends on what has no figure here; so do its elasticities"
        value = shown_value(self.of, self.value, unit)
        said = [f"{self._quantity} is {value}."]
        moving = [r for r in self._shown if r.change is not None and r.change.share is not None]
        groups = (
            [r for r in moving if r.name.startswith("device.")],
            [r for r in moving if r.name in self.compiled.program.dims],
            [r for r in moving if "." not in r.name and r.name not in self.compiled.program.dims],
        )
        for group in filter(None, groups):
            row = max(group, key=lambda r: r.size)
            assert row.change is not None
            more = self._more(row.change) if self.of == _WHOLE else f"{self._more(row.change)} {self._noun}"
            said.append(f"10% more {_word(row.name)}: {more}.")
        return " ".join(said)

    @property
    def _noun(self) -> str:
        return "cost" if "cost" in self.of else self._quantity

    def _more(self, change: Change | None) -> str:
        """`9.09% less`; of whole numbers what they become."""
        if change is None:
            return "–"
        if change.reached is None:
            return "none any more"
        if self.of == _WHOLE and self.value is not None:
            same = change.reached == self.value
            return "the same" if same else plain(Fraction(change.reached))
        if change.share is None:
            return "–"
        shown = percent(change.share)
        return "no change" if shown == "0%" else f"{shown[1:]} {'more' if shown[0] == '+' else 'less'}"

    def _next(self, found: Neighbour) -> str:
        at = found.name or plain(found.value)
        if found.change.reached is None:
            return f"{at}: none"
        if self.of == _WHOLE:
            return f"{at}: {plain(Fraction(found.change.reached))}"
        return f"{at}: {percent(found.change.share)}" if found.change.share is not None else at

    def _table(self, page: Page) -> None:
        slopes = self.of != _WHOLE
        header = ["parameter", "is", *(["elasticity"] if slopes else []), "10% more", "next values"]
        rows = []
        for row in self._shown:
            slope = [self._slope(row)] if slopes else []
            change = "" if row.effect == "held" else self._more(row.change)
            rows.append([row.name, self._at(row), *slope, change, "  ".join(map(self._next, row.neighbours))])
        if page.wide:
            page.table(rows, "l" + "r" * (len(header) - 2) + "l", header=header, expand=len(header) - 1)
        else:
            page.table([row[:-1] for row in rows], "l" + "r" * (len(header) - 2), header=header[:-1])
            stepped = [(row[0], row[-1]) for row in rows if row[-1]]
            if stepped:
                page.heading("Next values")
                page.table(stepped, "ll", expand=1)

    def _slope(self, row: Row) -> str:
        if row.sides is not None:
            return " | ".join(_decimal(side) for side in row.sides)
        return _decimal(row.elasticity)

    def _at(self, row: Row) -> str:
        """A parameter's figure in its own unit."""
        if row.at is None:
            return "–"
        kind, _, rest = row.name.partition(".")
        if kind == "dtype":
            return f"{plain(row.at)} B, {self.quantities.table.dataflow.environment.dtypes[rest]}"
        if kind == "device":
            if rest == "price":
                return f"{plain(row.at * 3600)} USD/h"
            return with_prefix(row.at, {"memory": "B", "bandwidth": "B/s"}.get(rest, "FLOP/s"))
        return plain(row.at)

    def _notes(self, page: Page) -> None:
        notes: list[tuple[str, str]] = []
        if any(row.sides for row in self._shown):
            kinks = ", ".join(row.name for row in self._shown if row.sides)
            notes.append(
                (
                    "left | right",
                    f"two branches meet at this point: the first figure holds below, the second above ({kinks})",
                )
            )
        if self.of != _WHOLE and any(self._stepped(row) for row in self._shown):
            steps = ", ".join(row.name for row in self._shown if self._stepped(row))
            notes.append(("only steps", f"{steps}: rounded in the formula, where a slope says nothing"))
        if any(row.name == "dtype.activations" and row.elasticity.expr == 0 for row in self._shown):
            notes.append(("dtype.activations", "the matmuls compute in it, so another one brings its own peak"))
        derived = self._derived
        if derived:
            notes.append(("follow", derived))
        for title, effect in (("no effect here", "elsewhere"), ("independent of", "never")):
            names = [row.name for row in self.rows if row.effect == effect]
            if names:
                notes.append((title, ", ".join(names)))
        for row in self.rows:
            if row.effect == "held":
                notes.append((row.name, f"cannot change by a share: {row.why}"))
        if notes:
            page.space()
            page.table(notes, "ll", expand=1)

    def _stepped(self, row: Row) -> bool:
        return row.effect == "here" and self.value is not None and row.elasticity.value is None and row.sides is None

    @property
    def _derived(self) -> str:
        """The dims that follow from those in the table."""
        given = self.compiled.environment.given
        shown = {row.name for row in self._shown}
        found = []
        for name in self.compiled.program.dims:
            node = given.get(name)
            if isinstance(node, syntax.Expression) and name not in shown:
                named = {part.id for part in walk(node) if isinstance(part, syntax.Name)}
                shown |= {name} if named & shown else set()
                found += [f"{name} = {' '.join(node.span.text.split())}"] if named & shown else []
        return ", ".join(found)

    def _formulas(self, page: Page) -> None:
        names = order(self.compiled)
        rows = []
        longer = 0
        for row in self._shown:
            for mark, closed in self._closed(row):
                if closed.expr is None or closed.expr.is_number:
                    continue
                formula = text(closed.expr, names)
                if len(formula) > _LONGEST and self.value is not None:
                    longer += 1
                else:
                    rows.append((f"{row.name}{mark}", formula))
        if not rows and not longer:
            return
        page.heading("Elasticities as formulas", self._stands)
        if rows and page.wide:
            page.table(rows, "ll", expand=1)
        for name, formula in () if page.wide else rows:
            page.text(name, indent=2)
            page.spread(formula, "", indent=6)
        if longer:
            page.text(f"{longer} more are longer than a line; --json has them.", indent=2, style="dim")

    @property
    def _stands(self) -> str:
        exprs = [c.expr for row in self._shown for _, c in self._closed(row) if c.expr is not None]
        crossing = self.of == "crossover" and any(batch_size in expr.free_symbols for expr in exprs)
        return "batch_size stands for the crossover" if crossing else ""

    def _closed(self, row: Row) -> list[tuple[str, Closed]]:
        if row.sides is None:
            return [("", row.elasticity)]
        return [(", below", row.sides[0]), (", above", row.sides[1])]


def _latex(expr: Expr, names: Symbols) -> str:
    return latex(expr, names)


def _word(name: str) -> str:
    """A parameter as one would say it: `bandwidth`, `bf16 peak`, `bytes a cached value`."""
    kind, _, rest = name.partition(".")
    if kind == "device":
        return f"{rest.removeprefix('peak.')} peak" if rest.startswith("peak.") else rest
    return name


def _decimal(closed: Closed) -> str:
    if closed.value is None:
        return "–"
    number = as_float(closed.value)
    return (
        "0" if abs(number) < 5e-7 else significant(number, 4) if abs(number) >= 1 else f"{number:.4f}".replace("-", "−")
    )


def _closed_json(closed: Closed) -> dict[str, Any]:
    return {"expr": shown_expr(closed.expr), "value": as_json(closed.value)}


def _change_json(change: Change | None) -> dict[str, Any]:
    if change is None:
        return {"value": None, "change": None}
    return {"value": as_json(change.reached), "change": as_json(change.share)}
