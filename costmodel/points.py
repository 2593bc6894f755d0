"""A quantity's value at a point, however it is had: a closed form, a root, or a largest whole number."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from sympy import Symbol

from costmodel.crossover import crossover
from costmodel.figures import Figure, Open
from costmodel.quantities import Quantities
from costmodel.symbols import batch_size


def value_at(quantities: Quantities, name: str, point: Mapping[Symbol, Fraction]) -> Figure | None:
    """A quantity at a point; None where a symbol in it is free, or it has no value.

    Raises:
        SpecError: the device lacks a figure that it needs.
    """
    others = {s: v for s, v in point.items() if s != batch_size}
    match name:
        case "crossover":
            return crossover(quantities, others).batch_size.value
        case "max_batch_size":
            try:
                largest = quantities.fit.largest_at(others)
            except Open:
                return None
            return None if largest is None else Fraction(largest)
    return quantities.figure(name, point)
