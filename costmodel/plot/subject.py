"""What a picture is of: one model, on one device or several, at one context or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from sympy import Symbol

from costmodel.compile import Compiled
from costmodel.crossover import Crossover, crossover
from costmodel.device import Device
from costmodel.figures import Figure, as_figure
from costmodel.names import prose
from costmodel.plot.picture import INK, SERIES, Hue
from costmodel.quantities import Quantities
from costmodel.render.numbers import plain, with_prefix
from costmodel.render.words import conventions, device_name, together
from costmodel.source import Diagnostic, SpecError
from costmodel.symbols import batch_size, new_tokens, seq_len

MOST_CASES = len(SERIES)
CONTEXTS = (256, 2048, 16384)


@dataclass(frozen=True, eq=False)
class Case:
    """One curve: a device and a context; `name` is what tells it from the others, empty where it is the only one."""

    quantities: Quantities
    point: Mapping[Symbol, Fraction]
    name: str
    hue: Hue

    @cached_property
    def answer(self) -> Crossover:
        return crossover(self.quantities, self.point)

    @property
    def device(self) -> Device:
        assert self.quantities.device is not None
        return self.quantities.device

    @property
    def largest(self) -> int | None:
        """The largest batch that fits."""
        return self.answer.max_batch_size_value

    @property
    def crossing(self) -> Fraction | None:
        """The positive batch size at which the pass turns compute-bound."""
        solved = self.answer.solved
        return solved.crossing.value if solved is not None and solved.crossing is not None else None

    @property
    def context(self) -> Fraction | None:
        return self.point.get(seq_len)


@dataclass(frozen=True, eq=False)
class Subject:
    """A model with what it is asked at; `axes` holds the ranges asked for, by the dim's name.

    Several models stand in one picture by their `labels`, one for each of `quantities`; `compiled` is the first.
    """

    compiled: Compiled
    quantities: tuple[Quantities, ...]
    contexts: tuple[int, ...]
    batches: tuple[int, ...]
    axes: Mapping[str, tuple[int, int]]
    labels: tuple[str, ...] = ()

    @property
    def first(self) -> Quantities:
        return self.quantities[0]

    @cached_property
    def depends_on_context(self) -> bool:
        tables = [quantities.table for quantities in self.quantities]
        return any(seq_len in t.flops.free_symbols | t.bytes.free_symbols | t.memory.free_symbols for t in tables)

    @cached_property
    def cases(self) -> tuple[Case, ...]:
        """A case for each device and context.

        Raises:
            SpecError: there are too many of them, or a symbol has no figure.
        """
        contexts: Sequence[int | None] = self.contexts if self.depends_on_context else (None,)
        many = len(self.quantities) * len(contexts)
        if many > MOST_CASES:
            raise SpecError(
                Diagnostic(
                    "argument",
                    f"{many} curves are more than can be told apart: at most {MOST_CASES}",
                    help="fewer --device or --seq-len, or one picture each",
                )
            )
        found: list[Case] = []
        for i, quantities in enumerate(self.quantities):
            for context in contexts:
                words = [self.labels[i]] if self.labels else []
                if not self.labels and len(self.quantities) > 1 and quantities.device is not None:
                    words.append(device_name(quantities.device))
                if len(contexts) > 1 and context is not None:
                    words.append(f"{context:,} tokens")
                point = {} if context is None else {seq_len: Fraction(context)}
                quantities.check_point(point)
                if not self.labels:
                    self.compiled.check_dims(quantities.table.dataflow, point)
                hue = SERIES[len(found) % len(SERIES)]
                found.append(Case(quantities, point, ", ".join(words), hue))
        self._check_free(found[0])
        return tuple(found)

    def _check_free(self, case: Case) -> None:
        table = case.quantities.table
        used = table.flops.free_symbols | table.bytes.free_symbols | table.memory.free_symbols
        free = sorted(s.name for s in used if s != batch_size and s not in case.point)
        if free:
            have = f"{prose([f'`{name}`' for name in free])} {'has' if len(free) == 1 else 'have'}"
            option = "--new-tokens …" if free[0] == "new_tokens" else f"--set {free[0]}=…"
            raise SpecError(Diagnostic("argument", f"a picture needs figures, and {have} none", help=option))

    # --- words

    @property
    def unit(self) -> str:
        return "tokens" if self.first.table.dataflow.has_tokens else "sequences"

    @property
    def phase(self) -> str:
        """`decode`, `prefill`, `verify of 5 tokens`, `graph encode`."""
        flow = self.first.table.dataflow
        if not flow.has_tokens:
            return f"graph {flow.graph}" if flow.graph != "forward" else "a pass"
        tokens = self.first.table.put_in(new_tokens)
        words = flow.phase if flow.graph == "forward" else f"{flow.phase} of graph {flow.graph}"
        return words if tokens == 1 or tokens.free_symbols else f"{words} of {int(tokens):,} tokens"

    @property
    def pass_(self) -> str:
        """What one run makes: `a token` where it is one a sequence."""
        return "a token" if self.first.tokens == 1 and self.first.table.dataflow.has_tokens else "a pass"

    def of(self, devices: bool = True, context: bool = True) -> str:
        """`Llama 3.1 8B on H100 NVL, decode at 8,192 tokens`."""
        words = prose(self.labels) if self.labels else self.compiled.title
        on = list(dict.fromkeys(device_name(q.device) for q in self.quantities if q.device is not None))
        if on and (devices or len(on) == 1):
            words += f" on {prose(on)}"
        words += f", {self.phase}"
        if context and self.depends_on_context and len(self.contexts) == 1:
            joint = "of" if self.first.table.dataflow.without_past else "at"
            words += f" {joint} {self.contexts[0]:,} tokens"
        return words

    @property
    def footnote(self) -> str:
        words = together(conventions(quantities.table, quantities) for quantities in self.quantities)
        return " · ".join(word.replace(" ", "\u00a0") for word in words.replace("10^9", "10⁹").split(", "))


def memory_words(quantities: Quantities) -> str:
    """`94 GB`, `90% of 94 GB`."""
    assert quantities.device is not None
    share = quantities.memory_fraction
    held = with_prefix(as_figure(quantities.device.memory), "B")
    return held if share == 1 else f"{plain(share * 100)}% of {held}"


def ink_if_only(case: Case) -> Hue:
    return INK if not case.name else case.hue


def whole_batches(value: Figure) -> str:
    """A batch size in a title: `432.5`, `1,321`."""
    number = float(value)
    return f"{number:,.1f}" if number < 10_000 else f"{number:,.0f}"
