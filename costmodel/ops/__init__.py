"""The operations; importing this package registers all of them."""

from costmodel.ops import attention, custom, elementwise, kept, linear, route, shapes
from costmodel.ops.base import OPERATIONS, Counting, Mismatch, Operation, Parameter, Shaping

__all__ = [
    "OPERATIONS",
    "Counting",
    "Mismatch",
    "Operation",
    "Parameter",
    "Shaping",
    "attention",
    "custom",
    "elementwise",
    "kept",
    "linear",
    "route",
    "shapes",
]
