"""Figures as people read them: four significant digits with a unit, thousands separated."""

from __future__ import annotations

from fractions import Fraction
from math import floor, log10

from costmodel.figures import Figure, as_float
from costmodel.units import (
    BYTES,
    BYTES_PER_SECOND,
    FLOP,
    FLOP_PER_BYTE,
    FLOP_PER_SECOND,
    PER_SECOND,
    PLAIN,
    SECONDS,
    USD,
    USD_PER_SECOND,
    WATT,
    Dimension,
)

_SCALES = ((15, "P"), (12, "T"), (9, "G"), (6, "M"), (3, "k"), (0, ""))


def significant(value: float, digits: int = 4) -> str:
    """So many significant digits, thousands separated, never in exponents."""
    if value == 0:
        return "0"
    places = digits - 1 - floor(log10(abs(value)))
    rounded = round(value, places)
    places = digits - 1 - floor(log10(abs(rounded)))
    return f"{round(value, places):,.{max(places, 0)}f}".replace("-", "−")


def scaled(value: Figure, unit: str) -> str:
    """With a decimal prefix: `19.30 GFLOP`, `1.074 GB`."""
    number = as_float(value)
    power, prefix = magnitude(number)
    shown = significant(number / 10**power)
    if shown.replace(",", "").replace("−", "").startswith("1000") and power < 15:
        prefix = dict(_SCALES)[power + 3]
        shown = significant(number / 10 ** (power + 3))
    small = power == 0 and number == int(number)
    return f"{int(number):,} {prefix}{unit}" if small else f"{shown} {prefix}{unit}"


def magnitude(number: float) -> tuple[int, str]:
    """The power of ten by whose prefix a number is given, and the prefix: (9, "G") from 10^9 on."""
    return next((power, prefix) for power, prefix in _SCALES if abs(number) >= 10**power or power == 0)


def counted(value: Figure) -> str:
    """A count of things: `8.030 billion`."""
    number = as_float(value)
    for power, name in ((12, "trillion"), (9, "billion"), (6, "million")):
        if number >= 0.99995 * 10**power:
            return f"{significant(number / 10**power)} {name}"
    return f"{number:,.0f}" if number == int(number) else significant(number)


def milliseconds(seconds: Figure, places: int = 2) -> str:
    """`23.94 ms`; microseconds below a hundredth, seconds from a thousand on."""
    number = as_float(seconds)
    if number >= 1:
        return f"{number:,.{places}f} s"
    if 0 < number < 1e-5:
        return f"{significant(number * 1e6, places + 1)} us"
    return f"{number * 1e3:,.{places}f} ms"


def duration(seconds: Figure) -> str:
    """Four significant digits in milliseconds: `23.94 ms`, `0.02311 ms`."""
    return f"{significant(as_float(seconds) * 1e3)} ms"


def rate(value: Figure) -> str:
    """Tokens a second: whole from 100 on."""
    number = as_float(value)
    return f"{number:,.0f}" if number >= 100 else significant(number, 3)


def decimal(value: Figure, places: int) -> str:
    """Fixed decimals, thousands separated, a real minus."""
    return f"{as_float(value):,.{places}f}".replace("-", "−")


def percent(share: Figure, digits: int = 3) -> str:
    """A share in percent, with its sign: `+9.58 %` is `+9.58%`, nothing is `0%`."""
    number = as_float(share) * 100
    if abs(number) < 5e-6:
        return "0%"
    return f"{'+' if number > 0 else '−'}{significant(abs(number), digits)}%"


def whole(value: int) -> str:
    return f"{value:,}"


def plain(value: Fraction) -> str:
    """A number of the user's own as short as it is: `94`, `3.9`, `835.5`."""
    if value.denominator == 1:
        return f"{value.numerator:,}"
    return f"{as_float(value):,.6f}".rstrip("0").rstrip(".")


def plain_float(value: float) -> str:
    """A round number as short as it is, at most six digits: `0.5`, `2,500`."""
    return plain(Fraction(f"{value:.6g}"))


def with_prefix(value: Fraction, unit: str) -> str:
    """A device's figure in its own round unit: `94 GB`, `3.9 TB/s`, `835.5 TFLOP/s`."""
    for power, prefix in ((12, "T"), (9, "G"), (6, "M"), (3, "k"), (0, "")):
        if value >= 10**power:
            if power == 12 and value % 10**12 and value < 10**14 and unit == "B":
                power, prefix = 9, "G"
            return f"{plain(value / 10**power)} {prefix}{unit}"
    return f"{plain(value)} {unit}"


_METRIC = {BYTES: "B", FLOP: "FLOP", BYTES_PER_SECOND: "B/s", FLOP_PER_SECOND: "FLOP/s"}
_PLAIN_UNITS = {
    PLAIN: ("", 1),
    PER_SECOND: ("/s", 1),
    USD: (" USD", 1),
    USD_PER_SECOND: (" USD/h", 3600),
    FLOP_PER_BYTE: (" FLOP/B", 1),
    WATT: (" W", 1),
}


def in_unit(value: Figure, dimension: Dimension, digits: int = 4) -> str:
    """A figure of any dimension in a unit of a size that suits it: `20 ms`, `1.074 GB`, `2.5 USD/h`."""
    size = abs(as_float(value))
    factor: Fraction | int
    if dimension == SECONDS:
        factor, unit = (1, " s") if size >= 1 else (1000, " ms") if size >= 1e-5 or size == 0 else (10**6, " us")
    elif dimension in _METRIC:
        power, prefix = magnitude(size)
        factor, unit = Fraction(1, 10**power), f" {prefix}{_METRIC[dimension]}"
    else:
        unit, factor = _PLAIN_UNITS.get(dimension, (f" {dimension}", 1))
    amount = value * (factor if isinstance(value, Fraction) else as_float(Fraction(factor)))
    if isinstance(amount, Fraction) and (amount * 1000).denominator == 1:
        return plain(amount).replace("-", "−") + unit
    return significant(as_float(amount), digits) + unit


def told_apart(a: Figure, b: Figure, dimension: Dimension) -> tuple[str, str]:
    """Two figures with as many digits as it takes to see that they differ."""
    for digits in (4, 6, 8, 11, 15):
        if a == b or significant(as_float(a), digits) != significant(as_float(b), digits):
            break
    return in_unit(a, dimension, digits), in_unit(b, dimension, digits)
