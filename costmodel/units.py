"""Units and dimensions: what a number with a unit is in bytes, FLOPs, seconds and dollars."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Dimension:
    """Exponents of FLOP, byte, second, US dollar and watt; all zero is a plain number."""

    flop: int = 0
    byte: int = 0
    second: int = 0
    usd: int = 0
    watt: int = 0

    def __mul__(self, other: Dimension) -> Dimension:
        return Dimension(*(a + b for a, b in zip(self.exponents, other.exponents, strict=True)))

    def __truediv__(self, other: Dimension) -> Dimension:
        return Dimension(*(a - b for a, b in zip(self.exponents, other.exponents, strict=True)))

    def __pow__(self, power: int) -> Dimension:
        return Dimension(*(a * power for a in self.exponents))

    @property
    def exponents(self) -> tuple[int, ...]:
        return (self.flop, self.byte, self.second, self.usd, self.watt)

    @property
    def said(self) -> str:
        """`is in bytes a second`, `is a plain number`."""
        return f"is {'' if self == PLAIN else 'in '}{self}"

    def __str__(self) -> str:
        names = dict(zip(("FLOP", "bytes", "seconds", "USD", "W"), self.exponents, strict=True))
        over = [n if e == 1 else f"{n}^{e}" for n, e in names.items() if e > 0]
        under = [n.rstrip("s") if e == -1 else f"{n}^{-e}" for n, e in names.items() if e < 0]
        return " ".join(over or ["1"] if under else over or ["a plain number"]) + "".join(f" a {u}" for u in under)


PLAIN = Dimension()
FLOP = Dimension(flop=1)
BYTES = Dimension(byte=1)
SECONDS = Dimension(second=1)
USD = Dimension(usd=1)
WATT = Dimension(watt=1)
FLOP_PER_SECOND = FLOP / SECONDS
BYTES_PER_SECOND = BYTES / SECONDS
FLOP_PER_BYTE = FLOP / BYTES
USD_PER_SECOND = USD / SECONDS
PER_SECOND = PLAIN / SECONDS

_BYTE_MULTIPLES = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}

# what people put behind a number for a power of ten
MAGNITUDES = {"k": 3, "K": 3, "M": 6, "G": 9, "T": 12}

UNITS: dict[str, tuple[Fraction, Dimension]] = {
    **{name: (Fraction(size), BYTES) for name, size in _BYTE_MULTIPLES.items()},
    **{f"{name}/s": (Fraction(size), BYTES_PER_SECOND) for name, size in _BYTE_MULTIPLES.items()},
    "GFLOP/s": (Fraction(10**9), FLOP_PER_SECOND),
    "TFLOP/s": (Fraction(10**12), FLOP_PER_SECOND),
    "PFLOP/s": (Fraction(10**15), FLOP_PER_SECOND),
    "s": (Fraction(1), SECONDS),
    "ms": (Fraction(1, 10**3), SECONDS),
    "us": (Fraction(1, 10**6), SECONDS),
    "USD/h": (Fraction(1, 3600), USD_PER_SECOND),
    "W": (Fraction(1), WATT),
}
