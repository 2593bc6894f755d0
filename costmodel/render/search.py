"""`search`: the best point, how it was found, and the best of the other cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from costmodel.figures import Figure, as_float, as_json
from costmodel.quantity_names import QUANTITIES
from costmodel.render.evaluation import shown_value
from costmodel.render.notebook import Paged
from costmodel.render.numbers import plain
from costmodel.render.page import Page

if TYPE_CHECKING:
    from costmodel.sweep.search import Found, Searched, Way

_SHOWN = 8
_TRENDS = {1: "rises", -1: "falls", 0: "stays"}


@dataclass(frozen=True, repr=False)
class SearchAnswer(Paged):
    """What a search has found, for people and for programs."""

    searched: Searched
    conditions: Sequence[str]

    @property
    def best(self) -> Mapping[str, str | Fraction] | None:
        """The best point, by the names of what varies; None where no point meets the conditions."""
        return self.searched.found[0].point if self.searched.found else None

    @property
    def value(self) -> Figure | None:
        """The objective there, exactly."""
        return self.searched.found[0].value if self.searched.found else None

    def __repr__(self) -> str:
        return f"<Search for {self.searched.objective} over {self.searched.points:,} points>"

    def page(self, width: int) -> Page:
        searched, page = self.searched, Page(width)
        sense = "greatest" if searched.greatest else "least"
        page.text("")
        if not searched.found:
            page.text("no point of the grid meets the conditions", indent=2, style="bold")
        else:
            best = searched.found[0]
            page.text(f"{sense} {searched.objective}: {self._value(best)}", indent=2, style="bold")
            page.space()
            page.table([(name, _shown(value)) for name, value in best.point.items()], "lr")
        page.space()
        for ways in searched.ways:
            for way in ways:
                page.text(f"{way.axis}: {self._said(way)}", indent=2)
        cases = len(searched.found)
        page.text(
            f"{searched.looked_at:,} points were computed of {searched.points:,}: no other meets the conditions and is"
            " better",
            indent=2,
        )
        if cases > 1:
            page.heading("The best of each case")
            names = [n for n in searched.found[0].point if len({str(each.point[n]) for each in searched.found}) > 1]
            rows = [(*(_shown(each.point[n]) for n in names), self._value(each)) for each in searched.found[:_SHOWN]]
            page.table([(*names, searched.objective), *rows], "l" * len(names) + "r")
            if cases > _SHOWN:
                page.text(f"and {cases - _SHOWN:,} more", indent=2)
        return page

    def _value(self, found: Found) -> str:
        return shown_value(self.searched.objective, found.value)

    def _said(self, way: Way) -> str:
        """How an axis was gone along, and what proves it enough."""
        named = f"{self.searched.objective} {_TRENDS.get(way.trend, '')} with it" if way.trend is not None else ""
        match way.how:
            case "end":
                return f"{named}, and so do the conditions, so the best of {way.figures:,} is at an end"
            case "bisection":
                return f"{named}, so the last of {way.figures:,} that meets the conditions, found by bisection"
        why = "no trend of it is proved" if way.trend is None else f"{named}, but not every condition has one side"
        return "one value" if way.figures == 1 else f"all {way.figures:,} were looked at: {why}"

    def as_json(self) -> dict[str, Any]:
        searched = self.searched
        return {
            "objective": searched.objective,
            "sense": "maximize" if searched.greatest else "minimize",
            "unit": str(QUANTITIES[searched.objective].dimension),
            "conditions": list(self.conditions),
            "points": searched.points,
            "looked_at": searched.looked_at,
            "status": "solved" if searched.found else "unsatisfiable",
            "best": _point(searched.found[0]) if searched.found else None,
            "cases": [_point(found) for found in searched.found],
            "ways": [
                [{"axis": w.axis, "how": w.how, "figures": w.figures, "trend": _TRENDS.get(w.trend)} for w in ways]  # type: ignore[arg-type]
                for ways in searched.ways
            ],
        }


def _point(found: Found) -> dict[str, Any]:
    point = {name: value if isinstance(value, str) else as_json(value) for name, value in found.point.items()}
    return {"point": point, "value": as_json(found.value)}


def _shown(value: str | Fraction) -> str:
    if isinstance(value, str):
        return value
    return plain(value) if value.denominator == 1 else f"{as_float(value):g}"
