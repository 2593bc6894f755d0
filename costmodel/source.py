"""Where something stands in a text, and what is wrong with it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property


@dataclass(frozen=True, eq=False)
class Source:
    """A text that was read, under the name by which the user knows it.

    `origin` is the file that it came from, or None for a text given in memory or on the command line.
    """

    name: str
    text: str
    origin: str | None = None

    @cached_property
    def _line_starts(self) -> list[int]:
        starts = [0]
        starts.extend(i + 1 for i, character in enumerate(self.text) if character == "\n")
        return starts

    def position(self, offset: int) -> tuple[int, int]:
        """The 1-based line and column of an offset."""
        line = bisect_right(self._line_starts, offset)
        return line, offset - self._line_starts[line - 1] + 1

    def line(self, number: int) -> str:
        """A line's text without its end."""
        start = self._line_starts[number - 1]
        end = self._line_starts[number] if number < len(self._line_starts) else len(self.text)
        return self.text[start:end].rstrip("\r\n")

    def span(self, start: int, end: int) -> Span:
        return Span(self, start, end)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a source, from offset `start` up to `end`."""

    source: Source
    start: int
    end: int

    @property
    def line(self) -> int:
        return self.source.position(self.start)[0]

    @property
    def column(self) -> int:
        return self.source.position(self.start)[1]

    @property
    def end_line(self) -> int:
        return self.source.position(max(self.end - 1, self.start))[0]

    @property
    def end_column(self) -> int:
        """The column behind the last character."""
        return self.source.position(max(self.end - 1, self.start))[1] + 1

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.end]

    def to(self, other: Span) -> Span:
        return Span(self.source, self.start, other.end)


@dataclass(frozen=True)
class Label:
    """A place that a diagnostic points at beside its own, and what is to be said of it."""

    span: Span
    text: str


@dataclass(frozen=True)
class Diagnostic:
    """One thing that is wrong: facts and places; `render.diagnostics` makes prose of it.

    `code` is stable. `message` alone is enough for someone who knows the file. `facts` are what is known that helps,
    `help` is a thing to do and is given only where it would very likely be right. `again` are further places of which
    the very same holds.
    """

    code: str
    message: str
    span: Span | None = None
    label: str = ""
    others: tuple[Label, ...] = ()
    facts: tuple[str, ...] = ()
    help: str = ""
    severity: str = "error"
    again: tuple[Span, ...] = ()


class SpecError(Exception):
    """What a user gave cannot be used; `diagnostics` say why, each at its place.

    `unchecked` says what was not looked at because of them.
    """

    def __init__(self, diagnostics: Iterable[Diagnostic] | Diagnostic, unchecked: str = "") -> None:
        self.diagnostics = (diagnostics,) if isinstance(diagnostics, Diagnostic) else tuple(diagnostics)
        self.unchecked = unchecked
        super().__init__("; ".join(str(d.message) for d in self.diagnostics))


MOST_ERRORS = 20
MOST_PLACES = 1_000


@dataclass
class Report:
    """Collects independent diagnostics; the same thing at the same place, or in the same words, is said once."""

    diagnostics: list[Diagnostic] = field(default_factory=list)
    _seen: set[tuple[object, ...]] = field(default_factory=set)
    _alike: dict[tuple[object, ...], int] = field(default_factory=dict)

    def add(self, diagnostic: Diagnostic) -> None:
        span = diagnostic.span
        key = (diagnostic.code, span and (id(span.source), span.start), None if span else diagnostic.message)
        if key in self._seen:
            return
        self._seen.add(key)
        if len(self._seen) > MOST_PLACES:
            raise SpecError(in_order(self.diagnostics), unchecked=f"stopped after {MOST_PLACES:,} places")
        if span is not None:
            alike = (id(span.source), replace(diagnostic, span=None))
            if alike in self._alike:
                at = self._alike[alike]
                first = self.diagnostics[at]
                assert first.span is not None
                places = sorted((first.span, *first.again, span), key=lambda place: place.start)
                self.diagnostics[at] = replace(first, span=places[0], again=tuple(places[1:]))
                return
            self._alike[alike] = len(self.diagnostics)
        self.diagnostics.append(diagnostic)
        if sum(d.severity == "error" for d in self.diagnostics) >= MOST_ERRORS:
            raise SpecError(in_order(self.diagnostics), unchecked=f"stopped after {MOST_ERRORS} errors")

    @property
    def errors(self) -> list[Diagnostic]:
        """The errors in the order of their places."""
        return in_order(d for d in self.diagnostics if d.severity == "error")

    @property
    def warnings(self) -> list[Diagnostic]:
        """The warnings in the order of their places."""
        return in_order(d for d in self.diagnostics if d.severity == "warning")

    def raise_errors(self, unchecked: str = "") -> None:
        """Raise `SpecError` if an error was added."""
        if self.errors:
            raise SpecError(in_order(self.diagnostics), unchecked)


def in_order(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """By place: file by file as they first come up, from top to bottom; those without a place last."""
    diagnostics = list(diagnostics)
    files: dict[int, int] = {}
    for diagnostic in diagnostics:
        if diagnostic.span is not None:
            files.setdefault(id(diagnostic.span.source), len(files))

    def place(diagnostic: Diagnostic) -> tuple[int, int]:
        span = diagnostic.span
        return (len(files), 0) if span is None else (files[id(span.source)], span.start)

    return sorted(diagnostics, key=place)
