"""Ranges as a user writes them: `1:512`, `0:4096:128`, `1024:131072:*2`, `1,8,64`, and what they are of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from math import log
from typing import TypeAlias

from costmodel.figures import exact_number, figure_fault
from costmodel.measures import Measure, measure
from costmodel.parser import parse_expression
from costmodel.source import Diagnostic, Source, SpecError
from costmodel.syntax import Expression
from costmodel.units import BYTES, BYTES_PER_SECOND, FLOP_PER_SECOND, PLAIN, USD_PER_SECOND, Dimension

Figures: TypeAlias = "range | tuple[Fraction, ...]"
MOST_LISTED = 10_000_000
_MOST_FACTORS = 1_000

OF_DEVICE: dict[str, Dimension] = {
    "device.memory": BYTES,
    "device.bandwidth": BYTES_PER_SECOND,
    "device.peak": FLOP_PER_SECOND,
    "device.price": USD_PER_SECOND,
}
"""A device's figures that may vary, with their dimensions; `device.peak` is that of the compute dtype."""


@dataclass(frozen=True)
class Axis:
    """What varies, over which figures. Evenly spaced whole numbers are a `range`, however many there are."""

    name: str
    figures: Figures

    def __len__(self) -> int:
        # len() of a range ends at 2^63
        figures = self.figures
        if isinstance(figures, range):
            return max(0, (figures.stop - figures.start + figures.step - 1) // figures.step)
        return len(figures)

    @property
    def least(self) -> Fraction:
        return Fraction(self.figures[0]) if isinstance(self.figures, range) else min(self.figures)

    @property
    def most(self) -> Fraction:
        return Fraction(self.figures[-1]) if isinstance(self.figures, range) else max(self.figures)

    @property
    def rising(self) -> Axis:
        """The same with its figures in order."""
        return self if isinstance(self.figures, range) else Axis(self.name, tuple(sorted(self.figures)))

    @property
    def whole(self) -> bool:
        return isinstance(self.figures, range) or all(value.denominator == 1 for value in self.figures)


def axis(name: str, text: str, option: str) -> Axis:
    """An axis from what is written behind an option, which messages name.

    Raises:
        SpecError: it cannot be read, is empty, reversed, of step 0, names a figure twice or one that cannot be.
    """
    dimension = OF_DEVICE.get(name, PLAIN)
    parts = [part.strip() for part in text.split(",")]
    found = [_part(part, option, text, dimension) for part in parts]
    figures: Figures = found[0] if len(found) == 1 else tuple(v for part in found for v in _listed(part, option, text))
    return checked(Axis(name, figures), option)


def checked(axis: Axis, option: str) -> Axis:
    """The axis, if its figures are distinct and possible.

    Raises:
        SpecError: they are not.
    """
    if isinstance(axis.figures, tuple):
        seen: set[Fraction] = set()
        for value in axis.figures:
            if value in seen:
                raise refused(option, f"names {value} twice")
            seen.add(value)
    for value in (axis.least, axis.most) if axis.name not in OF_DEVICE else ():
        fault = figure_fault(axis.name, value)
        if fault is not None:
            raise SpecError(Diagnostic("argument", fault, facts=(f"{option} asks for it",)))
    if axis.name not in OF_DEVICE and axis.name != "acceptance_rate" and not axis.whole:
        odd = next(v for v in axis.figures if Fraction(v).denominator != 1)
        raise SpecError(Diagnostic("argument", figure_fault(axis.name, Fraction(odd)) or "", facts=(option,)))
    if axis.name in OF_DEVICE and axis.least <= 0:
        raise refused(option, f"{axis.name} is {axis.least}: more than 0 is needed")
    return axis


def of_values(name: str, values: int | Iterable[int | float | Fraction], option: str) -> Axis:
    """An axis from Python: one figure, a `range`, or any figures one by one."""
    if isinstance(values, range):
        if len(values) == 0:
            raise refused(option, "is empty")
        if values.step < 0:
            raise refused(option, f"goes down: {values!r}")
        return checked(Axis(name, values), option)
    several = [values] if isinstance(values, int | float | Fraction) else list(values)
    if not several:
        raise refused(option, "is empty")
    return checked(Axis(name, tuple(Fraction(str(value)) for value in several)), option)


def refused(option: str, why: str, help: str = "") -> SpecError:
    return SpecError(Diagnostic("argument", f"{option} {why}", help=help))


def _listed(part: Figures, option: str, text: str) -> Iterable[Fraction]:
    if isinstance(part, tuple):
        return part
    if len(part) > MOST_LISTED:
        raise refused(option, f"lists {len(part):,} figures in `{text}`: at most {MOST_LISTED:,} are possible")
    return map(Fraction, part)


def _part(part: str, option: str, text: str, dimension: Dimension) -> Figures:
    """One figure, `FIRST:LAST`, `FIRST:LAST:STEP` or `FIRST:LAST:*FACTOR`; both ends are meant."""
    if not part:
        raise refused(option, f"is empty: `{text}`", "1:512, 0:4096:128, 1024:131072:*2 or 1,8,64")
    ends = [end.strip() for end in part.split(":")]
    if len(ends) > 3 or not all(ends):
        raise refused(option, f"takes FIRST:LAST, FIRST:LAST:STEP or FIRST:LAST:*FACTOR, not `{part}`")
    geometric = len(ends) == 3 and ends[2].startswith("*")
    number = _reader(option, dimension)
    first = number(ends[0])
    if len(ends) == 1:
        return (first,)
    last = number(ends[1])
    if last < first:
        raise refused(option, f"is reversed: `{part}` ends below its beginning", f"{ends[1]}:{ends[0]}")
    if geometric:
        return _geometric(first, last, _plain(ends[2][1:].strip(), option), option, part)
    step = number(ends[2]) if len(ends) == 3 else Fraction(1)
    if len(ends) < 3 and dimension != PLAIN:
        raise refused(option, f"needs a step: `{part}` is of figures with units", f"{part}:STEP or {part}:*2")
    if step <= 0:
        raise refused(option, f"has a step of {ends[2]}: more than 0 is needed")
    if first.denominator == step.denominator == 1:
        return range(first.numerator, last.numerator // last.denominator + 1, step.numerator)
    count = (last - first) // step + 1
    if count > MOST_LISTED:
        raise refused(option, f"lists {count:,} figures in `{part}`: at most {MOST_LISTED:,} are possible")
    return tuple(first + i * step for i in range(count))


def _geometric(first: Fraction, last: Fraction, factor: Fraction, option: str, part: str) -> Figures:
    if factor <= 1:
        raise refused(option, f"has a factor of {factor}: more than 1 is needed")
    if first <= 0:
        raise refused(option, f"begins at {first}, from which no factor leads on: `{part}`")
    if log(last / first) > log(factor) * _MOST_FACTORS:
        raise refused(
            option, f"has a factor of {factor}, with which `{part}` is of more than {_MOST_FACTORS:,} figures"
        )
    figures = [first]
    while figures[-1] * factor <= last:
        figures.append(figures[-1] * factor)
    return tuple(figures)


def _plain(text: str, option: str) -> Fraction:
    value = exact_number(text)
    if value is None:
        raise refused(option, f"takes numbers, not `{text}`")
    return value


def _reader(option: str, dimension: Dimension) -> Callable[[str], Fraction]:
    """What reads one figure: a plain number, or for a device's figures one with its unit."""
    if dimension == PLAIN:
        return lambda text: _plain(text, option)

    def with_unit(text: str) -> Fraction:
        node = parse_expression(Source(option, text))

        def no_names(inner: Expression) -> Measure:
            raise SpecError(Diagnostic("type", f"`{inner.span.text}` is no figure", inner.span))

        found = measure(node, no_names)
        if found.dimension != dimension:
            got = "has no unit" if found.literal else found.dimension.said
            raise SpecError(Diagnostic("dimension", f"a figure in {dimension} is needed, and this {got}", node.span))
        return Fraction(int(found.value.p), int(found.value.q))

    return with_unit
