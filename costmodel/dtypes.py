"""Data types: how many bytes a stored value takes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from costmodel.names import listed, near_help
from costmodel.source import Diagnostic, Span

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


# as frameworks and vendors call them
_ALSO = {
    **dict.fromkeys("double float64 f64".split(), "fp64"),
    **dict.fromkeys("float float32 single f32".split(), "fp32"),
    **dict.fromkeys("half float16 f16".split(), "fp16"),
    **dict.fromkeys("bfloat16 bfloat brain".split(), "bf16"),
    **dict.fromkeys("float8 f8 e4m3 e5m2 fp8_e4m3 fp8_e5m2".split(), "fp8"),
    **dict.fromkeys("i8 uint8 u8".split(), "int8"),
    **dict.fromkeys("i4 uint4 u4".split(), "int4"),
    **dict.fromkeys("float4 f4 e2m1".split(), "fp4"),
}
_COUNTED = re.compile(r"[a-z]*?([0-9]{1,3})_?-? ?(bits?)?", re.IGNORECASE)


def meant(name: str) -> str | None:
    """The type that a name of another system, or a count of bits, very likely means.

    >>> meant("bfloat16"), meant("int3")
    ('bf16', '3 bits')
    """
    if name.lower() in _ALSO:
        return _ALSO[name.lower()]
    match = _COUNTED.fullmatch(name)
    return f"{match[1]} bits" if match and bits(Fraction(match[1])) is not None else None


def no_such_dtype(name: str, span: Span | None) -> Diagnostic:
    """What is to be said of a name that is no dtype's."""
    known = meant(name)
    help = near_help(name, DTYPE_NAMES) or (f"`{known}` is very likely meant" if known is not None else "")
    facts = () if help else (f"dtypes are {listed(DTYPE_NAMES)}, or `N bits`",)
    return Diagnostic("unknown-name", f"there is no dtype `{name}`", span, facts=facts, help=help)


BF16 = DType("bf16", Fraction(2))
