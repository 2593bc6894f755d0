"""Data types: how many bytes a stored value takes."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

_BITS: dict[str, Fraction] = {
    name: Fraction(bits)
    for name, bits in {
        "fp64": 64, "fp32": 32, "tf32": 32, "bf16": 16, "fp16": 16, "fp8": 8, "int8": 8, "fp4": 4, "int4": 4,
        # blocks of 32 values share 8 bits of scale; blocks of 16 in nvfp4
        "mxfp4": "4.25", "nvfp4": "4.5",
    }.items()
}  # fmt: skip

ROLES = ("weights", "cache", "activations", "compute")
DTYPE_NAMES = tuple(_BITS)


@dataclass(frozen=True, slots=True)
class DType:
    """A type's name and the bytes of one value: 2 for bf16, 17/32 for mxfp4."""

    name: str
    bytes: Fraction

    def __str__(self) -> str:
        return self.name


def dtype(name: str) -> DType | None:
    """The type of this name, or None."""
    return DType(name, _BITS[name] / 8) if name in _BITS else None


def bits(count: Fraction) -> DType:
    """The type of values of so many bits."""
    shown = str(count.numerator) if count.denominator == 1 else f"{float(count):g}"
    return DType(f"{shown} bits", count / 8)


BF16 = DType("bf16", Fraction(2))
