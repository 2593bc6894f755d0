"""Closed forms as NumPy programs: compiled once, evaluated over a grid at the memory's pace, exact where that matters.

A program is plain data, so that it can be sent to another process: a list of nodes in which equal parts are one. A node
is evaluated over the axes that it depends on and no others. What depends on all of them is computed tile by tile, small
enough for a processor's own cache, and a sum of products Σ uᵢ·vⱼ as a product of two thin matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import reduce
from math import ceil, floor, prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sympy import Add, Expr, Max, Min, Mod, Mul, Pow, Rational, Symbol, ceiling
from sympy import floor as floor_of

from costmodel.figures import Figure, as_float, comparable, power_of
from costmodel.symbols import fraction

Node: TypeAlias = "tuple[Any, ...]"
"""`("const", Fraction)`, `("axis", i)`, `("table", axes, sizes, values)`, or a function and its arguments' places."""
Floats: TypeAlias = NDArray[np.float64]
Values: TypeAlias = Sequence[int] | Sequence[Fraction]
"""An axis: a `range`, or figures one by one."""

EXACT_FLOAT = 1 << 53
EXACT_INT = 1 << 63
# four rows of 32,768 columns: what NumPy and its BLAS are fastest at, still within a cache
_ROWS, _COLUMNS = 4, 1 << 15
_LONG, _SHORT = 1 << 10, 1 << 1
_NEAR = 1e-11
_MOST_MULTIPLIED = 8
_MOST_BITS = 1 << 12


class Unsupported(Exception):
    """An expression holds what no program has: it has to be solved point by point."""


@dataclass(frozen=True)
class Program:
    """Some closed forms over numbered axes. `outputs` are the places of the forms, `masks` the axes of each node."""

    nodes: tuple[Node, ...]
    masks: tuple[int, ...]
    outputs: tuple[int, ...]
    axes: int

    def exact(self, place: int, point: Sequence[Fraction]) -> Figure:
        """The value of a node at a point; exact, save for powers too long to hold."""
        return _exact(self.nodes, place, point, {})

    def whole(self, place: int) -> bool:
        """Whether a node is seen to be a whole number wherever its axes are."""
        return _whole(self.nodes, place, {})

    def bound(self, place: int, ranges: Sequence[tuple[Fraction, Fraction]]) -> Fraction | None:
        """What a node and all its parts do not exceed in size, the axes being in these ranges; None where open."""
        return _bound(self.nodes, place, ranges, {})


# --- from SymPy


class _Builder:
    def __init__(self, axes: Sequence[Symbol]) -> None:
        self.axes = {symbol: i for i, symbol in enumerate(axes)}
        self.nodes: list[Node] = []
        self.masks: list[int] = []
        self.known: dict[Node, int] = {}
        self.seen: dict[Expr, int] = {}

    def node(self, *key: Any, mask: int | None = None) -> int:
        name, *arguments = key
        if mask is None:
            mask = reduce(lambda a, b: a | b, (self.masks[i] for i in arguments), 0)
            if mask == 0 and len(arguments) > 0 and all(self.nodes[i][0] == "const" for i in arguments):
                folded = _apply(name, [self.nodes[i][1] for i in arguments])
                if isinstance(folded, Fraction) and folded.denominator.bit_length() < _MOST_BITS:
                    return self.const(folded)
        found = self.known.get(key)
        if found is None:
            found = self.known[key] = len(self.nodes)
            self.nodes.append(key)
            self.masks.append(mask)
        return found

    def const(self, value: Fraction) -> int:
        return self.node("const", value, mask=0)

    def expr(self, expr: Expr) -> int:
        found = self.seen.get(expr)
        if found is None:
            found = self.seen[expr] = self._expr(expr)
        return found

    def _expr(self, expr: Expr) -> int:
        if isinstance(expr, floor_of | ceiling):
            inner = self.expr(expr.args[0])
            if _whole(self.nodes, inner, {}):
                return inner
        if isinstance(expr, Rational):
            return self.const(fraction(expr))
        if isinstance(expr, Symbol):
            if expr not in self.axes:
                raise Unsupported(f"{expr.name} has no value")
            axis = self.axes[expr]
            return self.node("axis", axis, mask=1 << axis)
        for kind, name in _FUNCTIONS:
            if isinstance(expr, kind):
                return self.node(name, *map(self.expr, expr.args))
        raise Unsupported(f"{expr.func.__name__} is not evaluated over a grid")

    def table(self, found: Tabulated) -> int:
        axes = tuple(self.axes[s] for s in found.axes)
        return self.node("table", axes, found.sizes, found.values, mask=sum(1 << i for i in axes))


_FUNCTIONS = (
    (Add, "add"),
    (Mul, "mul"),
    (Pow, "pow"),
    (Max, "max"),
    (Min, "min"),
    (floor_of, "floor"),
    (ceiling, "ceil"),
    (Mod, "mod"),
)


@dataclass(frozen=True)
class Tabulated:
    """A quantity without a closed form, solved at every point of some axes; not a number where it has no value."""

    axes: tuple[Symbol, ...]
    sizes: tuple[int, ...]
    values: tuple[float, ...]


def compile_forms(forms: Iterable[Expr | Tabulated], axes: Sequence[Symbol]) -> Program:
    """A program for some closed forms, in which what they have in common is computed once.

    Raises:
        Unsupported: a form holds another symbol, or a function that has no program.
    """
    builder = _Builder(axes)
    places = []
    for form in forms:
        if isinstance(form, Tabulated):
            places.append(builder.table(form))
        else:
            places.append(builder.expr(form))
    return Program(tuple(builder.nodes), tuple(builder.masks), tuple(places), len(axes))


# --- exactly, at a point


def _apply(name: str, values: Sequence[Figure]) -> Figure:
    match name:
        case "add":
            return sum(values[1:], values[0])
        case "mul":
            return reduce(lambda a, b: a * b, values)
        case "pow":
            return power_of(values[0], values[1])
        case "max":
            return max(values, key=comparable)
        case "min":
            return min(values, key=comparable)
        case "floor":
            return Fraction(floor(comparable(values[0])))
        case "ceil":
            return Fraction(ceil(comparable(values[0])))
        case "mod":
            a, b = map(comparable, values)
            return a - b * floor(a / b)
    raise AssertionError(name)


def _exact(nodes: Sequence[Node], place: int, point: Sequence[Fraction], known: dict[int, Figure]) -> Figure:
    if place not in known:
        name, *arguments = nodes[place]
        if name == "const":
            known[place] = arguments[0]
        elif name == "axis":
            known[place] = point[arguments[0]]
        elif name == "table":
            raise Unsupported("a table is of floats")
        else:
            known[place] = _apply(name, _alike([_exact(nodes, i, point, known) for i in arguments], name))
    return known[place]


def _alike(values: list[Figure], name: str) -> list[Figure]:
    """Fractions, or where one is a number of 60 digits, all as fractions of such: mixed sums have no meaning."""
    if name in ("add", "mul") and not all(isinstance(value, Fraction) for value in values):
        return [comparable(value) for value in values]
    return values


def _whole(nodes: Sequence[Node], place: int, known: dict[int, bool]) -> bool:
    if place not in known:
        name, *arguments = nodes[place]
        match name:
            case "const":
                known[place] = arguments[0].denominator == 1
            case "axis":
                known[place] = True
            case "table":
                known[place] = False
            case "floor" | "ceil":
                known[place] = True
            case "pow":
                exponent = nodes[arguments[1]]
                power = exponent[1] if exponent[0] == "const" else Fraction(-1)
                known[place] = power.denominator == 1 and power >= 0 and _whole(nodes, arguments[0], known)
            case _:
                known[place] = all(_whole(nodes, i, known) for i in arguments)
    return known[place]


def _bound(
    nodes: Sequence[Node], place: int, ranges: Sequence[tuple[Fraction, Fraction]], known: dict[int, Fraction | None]
) -> Fraction | None:
    if place not in known:
        name, *arguments = nodes[place]
        if name == "const":
            known[place] = abs(arguments[0])
        elif name == "axis":
            known[place] = ranges[arguments[0]][1]
        elif name in ("add", "mul", "max", "min"):
            known[place] = _combined(name, [_bound(nodes, i, ranges, known) for i in arguments])
        elif name in ("floor", "ceil"):
            inner = _bound(nodes, arguments[0], ranges, known)
            known[place] = None if inner is None else inner + 1
        elif name == "pow" and nodes[arguments[1]] == ("const", Fraction(-1)):
            least = _least(nodes, arguments[0], ranges)
            known[place] = 1 / least if least else None
        elif name == "pow" and nodes[arguments[1]][0] == "const":
            base, power = _bound(nodes, arguments[0], ranges, known), nodes[arguments[1]][1]
            usable = base is not None and power.denominator == 1 and 0 <= power <= 64
            known[place] = max(base, Fraction(1)) ** power.numerator if usable and base is not None else None
        else:
            known[place] = None
    return known[place]


def _least(nodes: Sequence[Node], place: int, ranges: Sequence[tuple[Fraction, Fraction]]) -> Fraction | None:
    """What a sum or product of what is never negative is at least; None for anything else."""
    name, *arguments = nodes[place]
    if name == "const":
        return arguments[0] if arguments[0] >= 0 else None
    if name == "axis":
        return ranges[arguments[0]][0]
    if name not in ("add", "mul", "max", "min"):
        return None
    parts = [_least(nodes, i, ranges) for i in arguments]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    put_together: dict[str, Callable[[list[Fraction]], Fraction]] = {"add": sum, "mul": prod, "max": max, "min": min}  # type: ignore[dict-item]
    return put_together[name](known)


def _combined(name: str, parts: Sequence[Fraction | None]) -> Fraction | None:
    sizes = [part for part in parts if part is not None]
    if len(sizes) < len(parts):
        return None
    if name == "mul":
        return prod((max(size, Fraction(1)) for size in sizes), start=Fraction(1))
    return sum(sizes, Fraction(0)) if name == "add" else max(sizes)


# --- over a grid


def evaluate(
    program: Program, axes: Sequence[Values], out: Sequence[Floats] | None = None, starts: Sequence[int] | None = None
) -> list[Floats]:
    """The outputs over the product of the axes, each as a flat array of all points, the last axis fastest.

    Axes that are a part of those that were compiled for say where in them they start.

    Relative to the exact value they are within 1e-12; what is rounded down or up is decided exactly.
    """
    shape = tuple(map(len, axes))
    points = prod(shape)
    found = [np.empty(points) for _ in program.outputs] if out is None else list(out)
    with np.errstate(all="ignore"):
        _Block(program, axes, shape, starts or (0,) * len(shape)).run([array.reshape(-1) for array in found])
    return found


def evaluate_directly(
    program: Program, place: int, axes: Sequence[Values], kind: Any, starts: Sequence[int] | None = None
) -> NDArray[Any]:
    """A node over the product of the axes in another type: integers of 64 bits, or long floats where terms cancel.

    A whole node must be bounded by 2^63. Long floats are given as the nearest floats.
    """
    shape = tuple(map(len, axes))
    block = _Block(program, axes, shape, starts or (0,) * len(shape))
    number = int if kind is np.int64 else lambda value: kind(value.numerator) / kind(value.denominator)
    arrays = [np.array([number(v) for v in vs], dtype=kind).reshape(_along(i, shape)) for i, vs in enumerate(axes)]
    known: dict[int, NDArray[Any]] = {}

    def at(node: int) -> NDArray[Any]:
        if node not in known:
            known[node] = found(node)
        return known[node]

    def found(node: int) -> NDArray[Any]:
        name, *arguments = program.nodes[node]
        if program.masks[node] == 0:
            return np.array(number(comparable(program.exact(node, ()))), dtype=kind)
        if name == "axis":
            return arrays[arguments[0]]
        if name in ("table", "mod", "floor", "ceil"):
            return block.low(node).astype(kind)
        if name == "pow":
            exponent = program.nodes[arguments[1]]
            raised = exponent[0] == "const"
            return _raised(at(arguments[0]), exponent[1]) if raised else np.power(at(arguments[0]), at(arguments[1]))
        result: NDArray[Any] = reduce(_UFUNCS[name], (at(i) for i in _low_first(program, arguments)))
        return result

    with np.errstate(all="ignore"):
        flat = np.ascontiguousarray(np.broadcast_to(at(place), shape)).reshape(-1)
    return flat if kind is np.int64 else flat.astype(np.float64)


def as_array(values: Values) -> Floats:
    """An axis in floats."""
    if isinstance(values, range):
        return np.arange(values.start, values.stop, values.step, dtype=np.float64)
    return np.array([float(value) for value in values], dtype=np.float64)


def _along(axis: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size if i == axis else 1 for i, size in enumerate(shape))


def _low_first(program: Program, arguments: Iterable[int]) -> list[int]:
    """Arguments with those of the fewest axes first, so that they are put together before the array grows."""
    return sorted(arguments, key=lambda i: program.masks[i].bit_count())


_UFUNCS: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "mul": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
    "floor": np.floor,
    "ceil": np.ceil,
}

Operand: TypeAlias = "tuple[str, Any]"
"""`("register", n)`, `("outer", vector)`, `("inner", vector)` or `("scalar", number)`."""


@dataclass
class _Block:
    """A program over one block of the grid, its axes split in two: rows of the outer ones, columns of the inner ones.

    Nodes of one side are evaluated as a whole, by broadcasting; the others by `code`, tile by tile.
    """

    program: Program
    values: Sequence[Values]
    shape: tuple[int, ...]
    starts: Sequence[int]
    code: list[tuple[Callable[..., Any], tuple[Operand, ...], int]] = field(default_factory=list)
    known: dict[int, Floats] = field(default_factory=dict)
    places: dict[int, int] = field(default_factory=dict)
    registers: int = 0

    def __post_init__(self) -> None:
        sizes = [prod(self.shape[:i]) for i in range(len(self.shape) + 1)]
        points = prod(self.shape)
        # the shortest rows that are long, else the longest; where all are short, one row
        usable = [i for i, rows in enumerate(sizes) if 1 < rows <= points // _SHORT]
        long = [i for i in usable if points >= sizes[i] * _LONG]
        self.split = max(long, default=min(usable, default=0))
        self.rows, self.columns = sizes[self.split], points // max(1, sizes[self.split])
        self.inner = sum(1 << i for i in range(self.split, len(self.shape)))
        self.outer = sum(1 << i for i in range(self.split))
        self.arrays = [as_array(values).reshape(_along(i, self.shape)) for i, values in enumerate(self.values)]

    def run(self, out: Sequence[Floats]) -> None:
        outputs = self.program.outputs
        tiled: dict[int, int] = {}
        for k, place in enumerate(outputs):
            if self._is_full(place):
                if place in tiled:
                    continue
                tiled[place] = k
        for place in tiled:
            self._full(place)
        if tiled:
            self._run_tiles({self.places[p]: out[k].reshape(self.rows, self.columns) for p, k in tiled.items()})
        for k, place in enumerate(outputs):
            if place not in tiled:
                np.copyto(out[k].reshape(self.shape), self.low(place))
            elif tiled[place] != k:
                np.copyto(out[k], out[tiled[place]])

    def _is_full(self, place: int) -> bool:
        mask = self.program.masks[place]
        return bool(mask & self.outer) and bool(mask & self.inner)

    # one side

    def low(self, place: int) -> Floats:
        """A node over its own axes, the others of size 1."""
        if place not in self.known:
            self.known[place] = self._evaluated(place)
        return self.known[place]

    def _evaluated(self, place: int) -> Floats:
        name, *arguments = self.program.nodes[place]
        if name == "axis":
            return self.arrays[arguments[0]]
        if name == "table":
            return self._cut(*arguments)
        if self.program.masks[place] == 0:
            return np.array(as_float(self.program.exact(place, ())))
        if name == "pow":
            return self._power(arguments)
        if name in ("floor", "ceil"):
            return self._settled(place, _UFUNCS[name](self.low(arguments[0])), self.low(arguments[0]))
        if name == "mod":
            a, b = map(self.low, arguments)
            quotient = a / b
            return self._settled(place, a - b * np.floor(quotient), quotient)
        result: Floats = reduce(_UFUNCS[name], map(self.low, _low_first(self.program, arguments)))
        return result

    def _cut(self, axes: tuple[int, ...], sizes: tuple[int, ...], values: tuple[float, ...]) -> Floats:
        ranges = tuple(slice(self.starts[i], self.starts[i] + self.shape[i]) for i in axes)
        shape = [size if i in axes else 1 for i, size in enumerate(self.shape)]
        return np.array(values).reshape(sizes)[ranges].reshape(shape)

    def _power(self, arguments: Sequence[int]) -> Floats:
        base, exponent = self.low(arguments[0]), self.program.nodes[arguments[1]]
        if exponent[0] == "const":
            return _raised(base, exponent[1])
        return np.power(base, self.low(arguments[1]))

    def _settled(self, place: int, rounded: Floats, of: Floats) -> Floats:
        """What was rounded, decided exactly where a rounding of floats may have crossed a whole number."""
        near = np.abs(of - np.rint(of)) <= _NEAR * np.maximum(1.0, np.abs(of))
        if near.any():
            rounded = np.array(np.broadcast_to(rounded, near.shape))
            for index in zip(*np.nonzero(near), strict=True):
                rounded[index] = self._exactly(place, index)
        return rounded

    def _exactly(self, place: int, index: Sequence[Any]) -> float:
        point = [Fraction(values[int(i)]) for values, i in zip(self.values, index, strict=True)]
        return as_float(self.program.exact(place, point))

    # both sides

    def _operand(self, place: int) -> Operand:
        if self._is_full(place):
            return ("register", self._full(place))
        mask, array = self.program.masks[place], self.low(place)
        if mask == 0:
            return ("scalar", float(array))
        if mask & self.outer:
            return ("outer", self._rows_of(array))
        return ("inner", self._columns_of(array))

    def _rows_of(self, array: Floats) -> Floats:
        shape = (*self.shape[: self.split], *(1 for _ in self.shape[self.split :]))
        return np.ascontiguousarray(np.broadcast_to(array, shape)).reshape(self.rows, 1)

    def _columns_of(self, array: Floats) -> Floats:
        shape = (*(1 for _ in self.shape[: self.split]), *self.shape[self.split :])
        return np.ascontiguousarray(np.broadcast_to(array, shape)).reshape(1, self.columns)

    def _emit(self, function: Callable[..., Any], *operands: Operand) -> Operand:
        self.code.append((function, operands, self.registers))
        self.registers += 1
        return ("register", self.registers - 1)

    def _full(self, place: int) -> int:
        """The register that will hold a node of both sides; what computes it is put down once."""
        if place not in self.places:
            name, *arguments = self.program.nodes[place]
            match name:
                case "add":
                    found = self._sum(arguments)
                case "mul":
                    found = self._product(arguments)
                case "pow":
                    found = self._full_power(arguments)
                case "max" | "min":
                    ordered = _low_first(self.program, arguments)
                    found = reduce(lambda a, b: self._emit(_UFUNCS[name], a, b), map(self._operand, ordered))
                case "floor" | "ceil" | "mod":
                    found = self._emit(self._rounding(place), *map(self._operand, arguments))
                case _:
                    raise AssertionError(name)
            self.places[place] = found[1]
        return self.places[place]

    def _sum(self, arguments: Sequence[int]) -> Operand:
        """Terms of one side first, then all that are a product of the two sides at once, then the others."""
        by_inner: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
        by_outer: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
        rest = []
        for argument in arguments:
            sides = self._sides(argument)
            if sides is None:
                rest.append(argument)
                continue
            outer, inner = sides
            by_inner.setdefault(inner, []).append(outer)
            by_outer.setdefault(outer, []).append(inner)
        result: Operand | None = None
        if by_inner:
            flip = len(by_outer) < len(by_inner)
            groups = by_outer if flip else by_inner
            ones, sums = [], []
            for shared, terms in groups.items():
                ones.append(self._multiplied(shared))
                sums.append(reduce(np.add, [self._multiplied(term) for term in terms]))
            outers, inners = (ones, sums) if flip else (sums, ones)
            if len(groups) == 1 or (len(outers) > _MOST_MULTIPLIED and not rest):
                result = self._emit(np.multiply, ("outer", self._rows_of(outers[0])), self._inner(inners[0]))
                for u, v in zip(outers[1:], inners[1:], strict=True):
                    each = self._emit(np.multiply, ("outer", self._rows_of(u)), self._inner(v))
                    result = self._emit(np.add, result, each)
            else:
                u = np.ascontiguousarray(np.concatenate([self._rows_of(x) for x in outers], axis=1))
                v = np.ascontiguousarray(np.concatenate([self._columns_of(x) for x in inners], axis=0))
                result = self._emit(np.matmul, ("outer", u), ("inner", v))
        for argument in rest:
            operand = self._operand(argument)
            result = operand if result is None else self._emit(np.add, result, operand)
        assert result is not None
        return result

    def _inner(self, array: Floats) -> Operand:
        return ("inner", self._columns_of(array))

    def _sides(self, place: int) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """The factors of a term by side; None for one that is no such product. A constant is with the rows."""
        if not self._is_full(place):
            return ((), (place,)) if self.program.masks[place] & self.inner else ((place,), ())
        name, *arguments = self.program.nodes[place]
        if name != "mul" or any(self._is_full(argument) for argument in arguments):
            return None
        inner = tuple(a for a in arguments if self.program.masks[a] & self.inner)
        return tuple(a for a in arguments if a not in inner), inner

    def _multiplied(self, places: Sequence[int]) -> Floats:
        if not places:
            return np.array(1.0)
        result: Floats = reduce(np.multiply, map(self.low, _low_first(self.program, places)))
        return result

    def _product(self, arguments: Sequence[int]) -> Operand:
        full = [a for a in arguments if self._is_full(a)]
        rows = [a for a in arguments if a not in full and not self.program.masks[a] & self.inner]
        columns = [a for a in arguments if a not in full and a not in rows]
        sides: list[Operand] = []
        if rows:
            mask = any(self.program.masks[a] for a in rows)
            array = self._multiplied(rows)
            sides.append(("outer", self._rows_of(array)) if mask else ("scalar", float(array)))
        if columns:
            sides.append(self._inner(self._multiplied(columns)))
        over = [a for a in full if not self._divides(a)]
        operands = [*sides, *map(self._operand, over)]
        result = reduce(lambda a, b: self._emit(np.multiply, a, b), operands) if operands else ("scalar", 1.0)
        for argument in full:
            if self._divides(argument):
                result = self._emit(np.divide, result, self._operand(self.program.nodes[argument][1]))
        return result

    def _divides(self, place: int) -> bool:
        name, *arguments = self.program.nodes[place]
        return bool(name == "pow" and self.program.nodes[arguments[1]] == ("const", Fraction(-1)))

    def _full_power(self, arguments: Sequence[int]) -> Operand:
        base, exponent = arguments
        kind, *value = self.program.nodes[exponent]
        if kind == "const":
            power = value[0]
            return self._emit(lambda x, out: np.copyto(out, _raised(x, power)), self._operand(base))
        return self._emit(np.power, self._operand(base), self._operand(exponent))

    def _rounding(self, place: int) -> Callable[..., Any]:
        name = self.program.nodes[place][0]

        def rounded(*arguments: Floats, out: Floats, at: tuple[int, int]) -> None:
            of = arguments[0] / arguments[1] if name == "mod" else arguments[0]
            near = np.abs(of - np.rint(of)) <= _NEAR * np.maximum(1.0, np.abs(of))
            if name == "mod":
                np.copyto(out, arguments[0] - arguments[1] * np.floor(of))
            else:
                _UFUNCS[name](of, out=out)
            for i, j in zip(*np.nonzero(np.broadcast_to(near, out.shape)), strict=True):
                flat = (at[0] + int(i)) * self.columns + at[1] + int(j)
                index = np.unravel_index(flat, self.shape)
                out[i, j] = self._exactly(place, index)

        rounded.wants_place = True  # type: ignore[attr-defined]
        return rounded

    def _run_tiles(self, outputs: Mapping[int, Floats]) -> None:
        columns = min(self.columns, _COLUMNS)
        rows = max(1, min(self.rows, _ROWS * _COLUMNS // columns))
        buffers, slots = self._allocated(outputs)
        tiles = [np.empty((rows, columns)) for _ in range(buffers)]
        for j in range(0, self.columns, columns):
            width = min(columns, self.columns - j)
            for i in range(0, self.rows, rows):
                height = min(rows, self.rows - i)
                self._run_tile(i, j, height, width, tiles, slots, outputs)

    def _run_tile(
        self,
        i: int,
        j: int,
        height: int,
        width: int,
        tiles: Sequence[Floats],
        slots: Mapping[int, int],
        outputs: Mapping[int, Floats],
    ) -> None:
        registers: dict[int, Floats] = {}
        for function, operands, target in self.code:
            if target in outputs:
                out = outputs[target][i : i + height, j : j + width]
            else:
                out = tiles[slots[target]][:height, :width]
            arguments: list[Any] = []
            for kind, value in operands:
                if kind == "register":
                    arguments.append(registers[value])
                elif kind == "outer":
                    arguments.append(value[i : i + height])
                elif kind == "inner":
                    arguments.append(value[:, j : j + width])
                else:
                    arguments.append(value)
            if hasattr(function, "wants_place"):
                function(*arguments, out=out, at=(i, j))
            else:
                function(*arguments, out=out)
            registers[target] = out

    def _allocated(self, outputs: Mapping[int, Floats]) -> tuple[int, dict[int, int]]:
        """How many tiles are needed at once, and the tile of each register that is no output."""
        last = {
            value: step
            for step, (_, operands, _) in enumerate(self.code)
            for kind, value in operands
            if kind == "register"
        }
        free: list[int] = []
        slots: dict[int, int] = {}
        count = 0
        for step, (_, operands, target) in enumerate(self.code):
            if target not in outputs:
                if free:
                    slots[target] = free.pop()
                else:
                    slots[target], count = count, count + 1
            for value in {value for kind, value in operands if kind == "register"}:
                if last[value] == step and value in slots:
                    free.append(slots[value])
        return count, slots


def _raised(base: NDArray[Any], power: Fraction) -> NDArray[Any]:
    if power == 0:
        return np.ones_like(base)
    if power.denominator == 1 and 0 < abs(power) <= 64:
        raised = reduce(np.multiply, [base] * abs(power.numerator))
        return raised if power > 0 else np.divide(1, raised)
    return np.asarray(np.power(base, float(power)))
