"""How a closed form follows an axis, told from its structure: it never falls, never rises, or neither is known.

All axes are positive. A trend that is told is proved; one that is not may still be there.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import prod

from costmodel.sweep.kernel import Program

FLAT, RISES, FALLS = 0, 1, -1
"""Trends; `None` is none of them, or an unknown one."""


def trend(program: Program, place: int, axis: int, power: int = 0) -> int | None:
    """The trend, along an axis x, of a node times x^power.

    >>> from costmodel.sweep.kernel import compile_forms
    >>> from costmodel.symbols import batch_size, seq_len
    >>> program = compile_forms([batch_size / (3 + batch_size * seq_len)], [batch_size, seq_len])
    >>> trend(program, program.outputs[0], 0), trend(program, program.outputs[0], 1)
    (1, -1)
    """
    name, *arguments = program.nodes[place]
    if not program.masks[place] >> axis & 1:
        return _of_power(power, sign(program, place))
    match name:
        case "axis":
            return _of_power(power + 1, 1)
        case "add":
            return _of_sum(program, arguments, axis, power)
        case "mul":
            return _of_product(program, arguments, axis, power)
        case "max" | "min":
            return _agreed([trend(program, i, axis, power) for i in arguments])
        case "floor" | "ceil" if power == 0:
            return trend(program, arguments[0], axis)
        case "pow":
            return _of_raised(program, arguments, axis, power)
    return None


def sign(program: Program, place: int) -> int | None:
    """1 where a node is never negative, -1 where it is never positive, 0 where it is nothing; None where open."""
    name, *arguments = program.nodes[place]
    match name:
        case "const":
            return int(arguments[0] > 0) - int(arguments[0] < 0)
        case "axis":
            return 1
        case "add":
            rest, fading = _split(program, arguments)
            constant = sum((program.nodes[i][1] for i in rest if program.nodes[i][0] == "const"), Fraction(0))
            others = [sign(program, i) for i in rest if program.nodes[i][0] != "const"]
            if fading and all(s in (0, 1) for s in others) and constant >= sum(c for c, _ in fading):
                return 1
            return _agreed([sign(program, i) for i in arguments])
        case "mul":
            signs = [sign(program, i) for i in arguments]
            return None if None in signs else prod(each for each in signs if each is not None)
        case "max":
            signs = [sign(program, i) for i in arguments]
            return 1 if 1 in signs else _agreed(signs)
        case "min":
            signs = [sign(program, i) for i in arguments]
            return -1 if -1 in signs else _agreed(signs)
        case "floor" | "mod":
            found = sign(program, arguments[0])
            return found if found in (0, 1) else None
        case "ceil":
            return sign(program, arguments[0])
        case "pow":
            return 1 if sign(program, arguments[0]) == 1 else None
    return None


def _of_power(power: int, factor: int | None) -> int | None:
    """The trend of x^power times a factor of this sign that does not depend on x."""
    if power == 0 or factor == 0:
        return FLAT
    return None if factor is None else factor * (RISES if power > 0 else FALLS)


def _agreed(trends: Sequence[int | None]) -> int | None:
    """The trend of what is put together from parts with these."""
    if None in trends:
        return None
    found = {trend for trend in trends if trend != FLAT}
    return next(iter(found), FLAT) if len(found) < 2 else None


def _reversed(found: int | None) -> int | None:
    return None if found is None else -found


def _of_sum(program: Program, arguments: Sequence[int], axis: int, power: int) -> int | None:
    rest, fading = _split(program, arguments)
    along = [(c, place) for c, place in fading if program.masks[place] >> axis & 1]
    constant = sum((program.nodes[i][1] for i in rest if program.nodes[i][0] == "const"), Fraction(0))
    if power == -1 and along and all(_exponent_is(program, place, axis) for _, place in along):
        # k − c·rˣ = (k − c) + c·(1 − rˣ), and (1 − rˣ)/x falls: 1 − rˣ is concave and 0 at 0
        left = constant - sum(c for c, _ in along)
        if left >= 0:
            known = {place for _, place in along}
            others = [i for i in arguments if i not in known and program.nodes[i][0] != "const"]
            return _agreed([FALLS, *(trend(program, i, axis, power) for i in others)])
    return _agreed([trend(program, i, axis, power) for i in arguments])


def _split(program: Program, arguments: Sequence[int]) -> tuple[list[int], list[tuple[Fraction, int]]]:
    """The terms of a sum: others, and those that are −c·r^(…) with c > 0 and 0 < r < 1, each with its c."""
    rest, fading = [], []
    for place in arguments:
        name, *factors = program.nodes[place]
        constants = [program.nodes[i][1] for i in factors if program.nodes[i][0] == "const"] if name == "mul" else []
        powers = [i for i in factors if program.nodes[i][0] == "pow"] if name == "mul" else []
        if len(factors) == 2 and len(constants) == 1 and constants[0] < 0 and powers and _fades(program, powers[0]):
            fading.append((-constants[0], place))
        else:
            rest.append(place)
    return rest, fading


def _fades(program: Program, place: int) -> bool:
    """Whether a power is r^(…) with 0 < r < 1 and an exponent that is never negative."""
    _, base, exponent = program.nodes[place]
    kind, *value = program.nodes[base]
    return bool(kind == "const" and 0 < value[0] < 1 and sign(program, exponent) in (0, 1))


def _exponent_is(program: Program, place: int, axis: int) -> bool:
    """Whether a term −c·r^(…) has a multiple of the axis as its exponent."""
    power = next(i for i in program.nodes[place][1:] if program.nodes[i][0] == "pow")
    exponent = program.nodes[power][2]
    name, *factors = program.nodes[exponent]
    if name == "mul":
        free = [i for i in factors if program.masks[i] >> axis & 1]
        return len(free) == 1 and program.nodes[free[0]] == ("axis", axis) and sign(program, exponent) == 1
    return bool((name, *factors) == ("axis", axis))


def _of_product(program: Program, arguments: Sequence[int], axis: int, power: int) -> int | None:
    """Powers of the axis are gathered; one more factor that depends on it takes them with it."""
    factor: int | None = 1
    others = []
    for place in arguments:
        name, *inner = program.nodes[place]
        if not program.masks[place] >> axis & 1:
            found = sign(program, place)
            factor = None if factor is None or found is None else factor * found
        elif (name, *inner) == ("axis", axis):
            power += 1
        elif (raised := _power_of_axis(program, place, axis)) is not None:
            power += raised
        else:
            others.append(place)
    if factor is None:
        return None
    if factor == 0:
        return FLAT
    if not others:
        return _of_power(power, factor)
    if len(others) == 1:
        found = trend(program, others[0], axis, power)
    elif all(sign(program, i) == 1 for i in others):
        found = _agreed([_of_power(power, 1), *(trend(program, i, axis) for i in others)])
    else:
        found = None
    return None if found is None else factor * found


def _power_of_axis(program: Program, place: int, axis: int) -> int | None:
    """n where a node is x^n, n whole."""
    name, *inner = program.nodes[place]
    return _whole_power(program, inner[1]) if name == "pow" and program.nodes[inner[0]] == ("axis", axis) else None


def _whole_power(program: Program, place: int) -> int | None:
    kind, *value = program.nodes[place]
    return int(value[0]) if kind == "const" and value[0].denominator == 1 else None


def _of_raised(program: Program, arguments: Sequence[int], axis: int, power: int) -> int | None:
    base, exponent = arguments
    kind, *value = program.nodes[base]
    if kind == "const" and value[0] > 0:
        grown = trend(program, exponent, axis)
        if value[0] < 1:
            grown = _reversed(grown)
        return _agreed([_of_power(power, 1), FLAT if value[0] == 1 else grown])
    whole = _whole_power(program, exponent)
    if whole == -1:
        # x^p / g is the reciprocal of g·x^(−p), of one sign
        return _reversed(trend(program, base, axis, -power)) if sign(program, base) == 1 else None
    if whole is not None and sign(program, base) == 1:
        grown = trend(program, base, axis)
        return _agreed([_of_power(power, 1), grown if whole > 0 else _reversed(grown)])
    return None
