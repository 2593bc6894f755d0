"""`report`: one page with all answers about a spec on a device, or about several side by side; nothing beside it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from html import escape

from sympy import Symbol

from costmodel.comparison import Column, Comparison
from costmodel.compile import Compiled, Run
from costmodel.crossover import Crossover, crossover
from costmodel.device import Device
from costmodel.figures import as_figure
from costmodel.names import RESERVED
from costmodel.plot.draw import NARROW, WIDTH
from costmodel.plot.kinds import KINDS, NEED_DEVICE
from costmodel.plot.page import asset, inline, script, style
from costmodel.plot.picture import Picture
from costmodel.plot.subject import Subject
from costmodel.quantities import Quantities
from costmodel.quantity_names import QUANTITIES
from costmodel.render.comparison import ComparisonAnswer
from costmodel.render.crossover import CrossoverAnswer
from costmodel.render.evaluation import Evaluation
from costmodel.render.explanation import Explanation
from costmodel.render.formulas import Formulas
from costmodel.render.latex import equation, latex, lettered
from costmodel.render.mathml import display, mathml
from costmodel.render.numbers import milliseconds, plain, rate, scaled, with_prefix
from costmodel.render.words import conventions, device_name, together, workload
from costmodel.solve.budget import Unsolvable, budget
from costmodel.source import Diagnostic, Source, SpecError
from costmodel.suggest import suggest
from costmodel.symbols import batch_size, seq_len

# what of a line a formula may take, in digits: a page of 54 em
_ROOM, _LONGEST = 58.0, 4000
_MOST_COLUMNS = 6
_STATUS = {"crosses": "good", "always": "good", "does_not_fit": "bad", "beyond_memory": "warn", "never": "warn"}


@dataclass(frozen=True, eq=False)
class Entry:
    """A spec on a device, or without one, as the report shows it."""

    compiled: Compiled
    run: Run
    quantities: Quantities
    context: int | None
    batch: int | None
    names: str | None

    @cached_property
    def point(self) -> dict[Symbol, Fraction]:
        return {} if self.context is None else {seq_len: Fraction(self.context)}

    @cached_property
    def answer(self) -> Crossover:
        return crossover(self.quantities, self.point)

    @cached_property
    def found(self) -> CrossoverAnswer:
        return CrossoverAnswer(self.compiled, self.answer, suggest(self.compiled, self.run, self.answer), self.names)

    @property
    def device(self) -> Device | None:
        return self.quantities.device

    @cached_property
    def shown_batch(self) -> int:
        """The batch size of the figures: what was asked for, else the one to run, else 1."""
        if self.batch is not None:
            return self.batch
        return (self.answer.optimal_batch_size or 1) if self.device is not None else 1

    @property
    def title(self) -> str:
        on = f" on {device_name(self.device)}" if self.device is not None else ""
        return f"{self.compiled.title}{on}, {workload(self.quantities.table, self.point)}"


def usual_context(quantities: Quantities) -> int | None:
    """The context of a report that is asked for none: 8,192 tokens, where the costs follow it."""
    table = quantities.table
    follows = seq_len in table.flops.free_symbols | table.bytes.free_symbols | table.memory.free_symbols
    return 8192 if follows else None


class Report:
    """A page: of one entry all there is; of several what tells them apart, then each with its pictures.

    `seconds` is how long the answer for an entry, or a picture, may take to be solved.

    Raises:
        SpecError: there are more entries than fit beside each other.
    """

    def __init__(self, entries: Sequence[Entry], seconds: float = 10) -> None:
        if len(entries) > _MOST_COLUMNS:
            message = f"{len(entries)} columns do not fit beside each other: at most {_MOST_COLUMNS}"
            raise SpecError(Diagnostic("argument", message))
        self.entries = tuple(entries)
        self.seconds = seconds
        self.pictures: list[tuple[str, Picture]] = []
        self.colors: set[str] = set()

    @property
    def title(self) -> str:
        return self.entries[0].title if len(self.entries) == 1 else self._comparison.title

    def html(self) -> str:
        """The page.

        Raises:
            SpecError: matplotlib is not installed.
        """
        for entry in self.entries:
            if entry.device is not None:
                with budget(self.seconds):
                    assert entry.found.why is not None
        parts = [*self._one(self.entries[0])] if len(self.entries) == 1 else [*self._several()]
        body = "\n".join(parts)
        return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; \
script-src 'unsafe-inline'">
<title>{escape(self.title)}</title>
<style>
{style(self.colors)}
{asset("report.css")}</style>
</head>
<body>
{body}
<script>
{script(self.pictures)}
</script>
</body>
</html>
"""

    # --- one entry

    def _one(self, entry: Entry) -> Iterator[str]:
        yield f"<h1>{escape(entry.title)}</h1>"
        if entry.device is not None:
            yield from self._verdict(entry)
            yield self._figure(entry, "throughput")
            yield from self._try(entry)
            yield from self._numbers(entry)
            yield "<h2>Where it turns compute-bound</h2>"
            yield self._figure(entry, "regime")
        yield from self._formulas(entry)
        yield from self._operations(entry)
        yield "<h2>Memory</h2>"
        yield self._figure(entry, "memory")
        yield from self._quantities(entry)
        yield from self._counted()
        yield from self._spec(entry.compiled)

    def _verdict(self, entry: Entry) -> Iterator[str]:
        answer, found = entry.answer, entry.found
        word, rest = found.verdict
        joint = ": " if word in ("BEYOND MEMORY", "DOES NOT FIT") else " "
        facts = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in self._facts(entry))
        yield (
            f'<section class="verdict {_STATUS.get(answer.status or "", "warn")}">'
            f"<strong>{escape((word.capitalize() + joint + rest).strip())}</strong><dl>{facts}</dl></section>"
        )
        if found.why:
            yield f"<h2>Why</h2>\n<p>{escape(' '.join(found.why))}</p>"

    def _facts(self, entry: Entry) -> Iterator[tuple[str, str]]:
        """What the batch to run gives."""
        answer, device = entry.answer, entry.device
        best = answer.optimal_batch_size
        assert device is not None
        if best is None:
            return
        there = answer.at_batch(best)
        unit = "tokens" if entry.quantities.table.dataflow.has_tokens else "sequences"
        yield "throughput, at most", f"{rate(there.throughput)} {unit}/s"
        yield "time of a pass, at least", milliseconds(there.latency)
        held = answer.fit.bytes_at(best, answer.point)
        yield "memory", f"{scaled(held, 'B')} of {with_prefix(as_figure(answer.fit.capacity), 'B')}"
        if device.price is not None and there.throughput:
            cost = as_figure(device.price) * 10**6 / Fraction(there.throughput)
            yield f"10⁶ {unit}, at least", f"{float(cost):.3g} USD at {plain(as_figure(device.price) * 3600)} USD/h"

    def _try(self, entry: Entry) -> Iterator[str]:
        header, *rows = entry.found.try_rows()
        if rows:
            yield "<h2>What would change it</h2>"
            yield _table([header, *([_code(row[0]), *row[1:]] for row in rows)], raw=1)

    def _numbers(self, entry: Entry) -> Iterator[str]:
        found = entry.found
        yield "<h2>Numbers</h2>"
        rows = [[_cut(cell) for cell in row] for row in found.number_rows()]
        yield _table([["", "closed form", ""], *rows], classes="closed")
        points = found.point_rows()
        if len(points) > 1:
            yield _table(points, bold=lambda row: row[-1].startswith("optimum"))

    def _formulas(self, entry: Entry) -> Iterator[str]:
        yield "<h2>Formulas</h2>"
        found = Formulas(entry.compiled, entry.quantities, ("flops", "bytes"), {}, names=entry.names)
        for name in found.exprs:
            yield f"<p>{escape(QUANTITIES[name].meaning)}:</p>"
            yield _math(display(found.equations(name), _ROOM))
        if entry.device is None:
            return
        answer, names = entry.answer, entry.found.symbols
        closed = answer.batch_size.expr
        if closed is not None and len(latex(closed, names)) < _LONGEST:
            yield "<p>Compute time and memory time are equal at the batch size</p>"
            yield _math(display([equation(r"b^{\ast}", latex(closed, names))], _ROOM))
        elif answer.unsolvable is None:
            yield "<p>The crossover has no closed form here; it is the root of</p>"
            yield _math(display([equation("", latex(answer.equation, names).replace(" = ", " &= ", 1))], _ROOM))
        feasible = answer.feasible_when
        if feasible is not None and feasible not in (True, False):
            yield f"<p>which exists where {mathml(latex(feasible, names))}.</p>"
        fits = answer.fit.largest
        if fits is not None and len(latex(fits, names)) < _LONGEST:
            yield "<p>The largest batch that fits is</p>"
            yield _math(display([equation(lettered(QUANTITIES["max_batch_size"].letter), latex(fits, names))], _ROOM))

    def _operations(self, entry: Entry) -> Iterator[str]:
        """Where the time, or the bytes, of a pass go."""
        point = {**entry.point, batch_size: Fraction(entry.shown_batch)}
        found = Explanation(entry.compiled, entry.quantities, point)
        what = "time goes" if entry.device is not None else "work goes"
        at = workload(entry.quantities.table, point, with_batch=True)
        yield f'<h2>Where the {what} <span class="dim">{escape(at)}</span></h2>'
        yield self._figure(entry, "breakdown")
        if entry.device is not None:
            yield self._figure(entry, "roofline")
        lines = found.lines
        rows = found.value_rows([line.name for line in lines])
        header, *body = rows
        indented = [
            [f'<span style="padding-left:{line.depth * 0.9:.1f}em">{escape(row[0])}</span>', *row[1:]]
            for line, row in zip(lines, body, strict=True)
        ]
        regions = {id(row): line.is_region for line, row in zip(lines, indented, strict=True)}
        table = _table([header, *indented], raw=1, bold=lambda row: regions[id(row)])
        yield f"<details><summary>Every block and operation</summary>{table}</details>"

    def _quantities(self, entry: Entry) -> Iterator[str]:
        point = {**entry.point, batch_size: Fraction(entry.shown_batch)}
        found = Evaluation(entry.compiled, entry.quantities, point)
        rows = [[_cut(cell) for cell in row] for row in found.rows()]
        table = _table([["quantity", "", ""], *rows], classes="closed last")
        at = workload(entry.quantities.table, point, with_batch=True)
        yield f"<details><summary>Every quantity, {escape(at)}</summary>{table}</details>"

    def _counted(self) -> Iterator[str]:
        counted = ((e.quantities.table, e.quantities, e.device is not None) for e in self.entries)
        words = together(conventions(table, quantities, fits=fits) for table, quantities, fits in counted)
        yield f"<h2>What was counted</h2>\n<p>{escape(words.replace('10^9', '10⁹'))}.</p>"

    def _spec(self, compiled: Compiled) -> Iterator[str]:
        sources = list(dict.fromkeys((compiled.program.source, *compiled.program.files)))
        for i, source in enumerate(sources):
            shown = " open" if i == 0 else ""
            yield (
                f"<details{shown}><summary>{escape(source.name)}</summary><pre>{highlighted(source)}</pre></details>"
            )

    # --- several entries

    @cached_property
    def _comparison(self) -> ComparisonAnswer:
        columns = []
        for entry in self.entries:
            batch = self._common_batch
            point = {**entry.point, **({} if batch is None else {batch_size: Fraction(batch)})}
            columns.append(Column(entry.compiled, entry.run, entry.quantities, point))
        found = Comparison(tuple(columns))
        with budget(self.seconds):
            assert found.break_evens is not None
        return ComparisonAnswer(found)

    @property
    def _common_batch(self) -> int | None:
        """One batch size for all: what was asked for, else the least of those to run."""
        if self.entries[0].batch is not None:
            return self.entries[0].batch
        return min(entry.shown_batch for entry in self.entries)

    def _several(self) -> Iterator[str]:
        found = self._comparison
        yield f"<h1>{escape(found.title)}</h1>"
        yield f'<section class="verdict"><strong>{escape(found.verdict)}</strong></section>'
        if self.entries[0].device is not None:
            yield self._verdicts(found.labels)
        subject = self._together(found.labels)
        for kind in ("throughput",) if subject.labels else ("throughput", "memory"):
            if kind not in NEED_DEVICE or self.entries[0].device is not None:
                yield self._picture(kind, subject)
        yield f'<h2>Side by side <span class="dim">batch {self._common_batch:,}</span></h2>'
        yield _table(found.value_rows(), classes="figures")
        said = found.sentences()
        if said:
            yield "<h2>Which is better where</h2>"
            yield "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in said) + "</ul>"
        for label, entry in zip(found.labels, self.entries, strict=True):
            yield f"<h2>{escape(label)}</h2>"
            if entry.device is not None:
                yield f"<p>{escape(' '.join(entry.found.why))}</p>"
                yield self._figure(entry, "regime")
            yield self._figure(entry, "breakdown")
        for compiled in {entry.compiled.name: entry.compiled for entry in self.entries}.values():
            first = next(entry for entry in self.entries if entry.compiled is compiled)
            yield f"<details><summary>Formulas of {escape(compiled.name)}</summary>"
            yield from self._formulas(first)
            yield "</details>"
            yield from self._spec(compiled)
        yield from self._counted()

    def _verdicts(self, labels: Sequence[str]) -> str:
        """A line each: the verdict, the batch to run, and what it gives."""
        rows = [["", "verdict", "batch", "throughput", "time of a pass"]]
        for label, entry in zip(labels, self.entries, strict=True):
            best = entry.answer.optimal_batch_size
            word = entry.found.verdict[0].lower()
            if best is None:
                rows.append([label, word, "–", "–", "–"])
                continue
            there = entry.answer.at_batch(best)
            unit = "tokens" if entry.quantities.table.dataflow.has_tokens else "sequences"
            rows.append([label, word, f"{best:,}", f"{rate(there.throughput)} {unit}/s", milliseconds(there.latency)])
        return _table(rows)

    def _together(self, labels: Sequence[str]) -> Subject:
        """All in one picture, by their devices where they are one spec."""
        first = self.entries[0]
        contexts = tuple(dict.fromkeys(e.context for e in self.entries if e.context is not None))
        one_spec = all(entry.compiled is first.compiled for entry in self.entries)
        quantities = tuple(entry.quantities for entry in self.entries)
        return Subject(first.compiled, quantities, contexts, (), {}, () if one_spec else tuple(labels))

    # --- pictures

    def _figure(self, entry: Entry, kind: str) -> str:
        """A picture of one entry at its context."""
        contexts: tuple[int, ...] = () if entry.context is None else (entry.context,)
        batches = (entry.shown_batch,) if kind in ("breakdown", "roofline") else ()
        return self._picture(kind, Subject(entry.compiled, (entry.quantities,), contexts, batches, {}))

    def _picture(self, kind: str, subject: Subject) -> str:
        """A picture; where it cannot be drawn, a plane without a context, say, the page goes on with the reason."""
        try:
            with budget(self.seconds):
                picture = KINDS[kind](subject)
        except SpecError as error:
            return f'<p class="dim">{escape(error.diagnostics[0].message)}.</p>'
        except Unsolvable as reason:
            return f'<p class="dim">There is no picture of {kind} here: {escape(str(reason))}.</p>'
        return self._drawn(picture)

    def _drawn(self, picture: Picture) -> str:
        """Drawn once for a wide page and once for a narrow one."""
        drawings = []
        for name, width in (("wide", WIDTH), ("narrow", NARROW)):
            prefix = f"p{len(self.pictures)}"
            figure, colors = inline(picture, prefix, width)
            self.pictures.append((prefix, picture))
            self.colors |= colors
            drawings.append(f'<div class="{name}">{figure}</div>')
        return "\n".join(drawings)


# --- pieces


def _math(formula: str) -> str:
    return f'<div class="math">{formula}</div>'


def _code(option: str) -> str:
    return f"<code>{escape(option)}</code>"


def _cut(text: str, most: int = 220) -> str:
    """A closed form that is longer than a reader would follow is left to the machine form."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _table(
    rows: Sequence[Sequence[str]],
    raw: int = 0,
    bold: Callable[[Sequence[str]], bool] = lambda _: False,
    classes: str = "",
) -> str:
    """A table whose first row is its header; the first `raw` cells of the others are HTML already."""
    header, *body = rows
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    lines = []
    for row in body:
        marked = ' class="bold"' if bold(row) else ""
        cells = (cell if i < raw else escape(cell) for i, cell in enumerate(row))
        lines.append(f"<tr{marked}>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    shown = f' class="{classes}"' if classes else ""
    return (
        f'<div class="scroll"><table{shown}><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
    )


_PIECE = re.compile(
    r'(?P<i>#[^\n]*)|(?P<s>"(?:[^"\\\n]|\\.)*"?)|(?P<u>\b\d[\d_.]*(?:[eE][+-]?\d+)?)|(?P<word>[A-Za-z_]\w*)'
)


def highlighted(source: Source) -> str:
    """A spec's text with its comments, strings, numbers and keywords marked.

    >>> highlighted(Source("a", "dim d = 8 # a < b"))
    '<b>dim</b> d = <u>8</u> <i># a &lt; b</i>'
    """
    return "".join(_marked(source.text))


def _marked(text: str) -> Iterable[str]:
    at = 0
    for piece in _PIECE.finditer(text):
        yield escape(text[at : piece.start()])
        kind, said = piece.lastgroup, escape(piece[0])
        if kind == "word":
            yield f"<b>{said}</b>" if piece[0] in RESERVED else said
        else:
            yield f"<{kind}>{said}</{kind}>"
        at = piece.end()
    yield escape(text[at:])
