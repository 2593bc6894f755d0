"""Data types: how many bytes a stored value takes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

_BITS: dict[str, Fraction] = {
    **dict.fromkeys(("fp64",), Fraction(64)),
    **dict.fromkeys(("fp32", "tf32"), Fraction(32)),
    **dict.fromkeys(("bf16", "fp16"), Fraction(16)),
    **dict.fromkeys(("fp8", "int8"), Fraction(8)),
    **dict.fromkeys(("fp4", "int4"), Fraction(4)),
    # blocks of 32 values share 8 bits of scale; blocks of 16 in nvfp4
    "mxfp4": Fraction("4.25"),
    "nvfp4": Fraction("4.5"),
}

_OF_BITS = re.compile(r"([0-9]{1,4}(?:\.[0-9]{1,9})?) bits")
MOST_BITS = 1_024

WEIGHT_ROLES = ("weights", "matrices", "experts")
ROLES = (*WEIGHT_ROLES, "cache", "activations", "compute")
DTYPE_NAMES = tuple(_BITS)


@dataclass(frozen=True, slots=True)
class DType:
    """A type's name and the bytes of one value: 2 for bf16, 17/32 for mxfp4."""

    name: str
    bytes: Fraction

    def __str__(self) -> str:
        return self.name


def dtype(name: str) -> DType | None:
    """The type of this name, `fp8` or `4.5 bits`; None where there is none."""
    if name in _BITS:
        return DType(name, _BITS[name] / 8)
    match = _OF_BITS.fullmatch(name)
    return bits(Fraction(match[1])) if match else None


def bits(count: Fraction) -> DType | None:
    """The type of values of so many bits, more than 0 and at most 1,024; None for others."""
    if not 0 < count <= MOST_BITS:
        return None
    shown = str(count.numerator) if count.denominator == 1 else f"{float(count):g}"
    return DType(f"{shown} bits", count / 8)


BF16 = DType("bf16", Fraction(2))
