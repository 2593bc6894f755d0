"""What an operation is: a class whose fields are its parameters and whose methods are its datasheet.

To add an operation, write one class with a `keyword`; that registers it. Its docstring is its reference entry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NoReturn, Protocol

from sympy import Expr, Symbol

from costmodel.dtypes import DType
from costmodel.frozen import NEEDED, Frozen, changed
from costmodel.symbols import ONE, ZERO, product, rational
from costmodel.tensors import Kind, Shape, Tensor, View


class Mismatch(Exception):
    """Arguments do not fit an operation; `places` are parameters, each with what is to be said of it."""

    def __init__(
        self, message: str, *places: tuple[str, str], code: str = "shape", facts: Sequence[str] = (), help: str = ""
    ) -> None:
        super().__init__(message)
        self.message, self.places, self.code, self.facts, self.help = message, places, code, tuple(facts), help


class Shaping(Protocol):
    """What an operation may ask of the model that it is put into."""

    def agree(self, a: Expr, b: Expr) -> bool:
        """Whether two axes are of the same size with the dims' values put in."""

    def value(self, expr: Expr) -> Expr:
        """An expression with the dims' values put in."""

    def shown(self, expr: Expr) -> str:
        """An axis for a message: `hidden_size, 4,096`."""

    def figure(self, expr: Expr) -> str:
        """An axis as a bare figure for the first line of a message: `4,096`."""

    def activation(self, shape: Shape) -> Tensor:
        """A new tensor that lives within the pass."""

    def weight(self, name: str, shape: Shape) -> Tensor:
        """A parameter of the operation's own."""

    def keeps(self, kind: Kind, name: str, shape: Shape, dtype: DType | None, window: Expr | None = None) -> Tensor:
        """Memory that a sequence keeps between passes."""

    def view(
        self, x: Tensor, shape: Shape, low: Expr | None = None, high: Expr | None = None, axis: int = -1
    ) -> Tensor:
        """The same storage under another shape, or positions `low` to `high` of one axis of it."""


@dataclass(frozen=True, slots=True)
class Counting:
    """How FLOPs and traffic are counted: `masked` is `full` or `exact`, `fusion` is `elementwise` or `none`.

    `settings` are the phase's, so that a closed form can be the one of its case (one new token, or all of them).
    """

    masked: str = "full"
    fusion: str = "elementwise"
    settings: Mapping[Symbol, Expr] = field(default_factory=dict)


class Product(Frozen):
    """A product of two matrices, (rows, inner) × (inner, columns), `times` of them; each size by its axes.

    `flops` are those of all of them, 2 · times · rows · inner · columns unless a mask leaves pairs out.
    """

    times: Shape
    rows: Shape
    inner: Shape
    columns: Shape
    flops: Expr
    name: str = ""


def whole_product(times: Shape, rows: Shape, inner: Shape, columns: Shape, name: str = "") -> Product:
    """A product that nothing is left out of."""
    return Product(times, rows, inner, columns, product((rational(2), *times, *rows, *inner, *columns)), name)


class Parameter(Frozen):
    """A parameter of an operation, as `parameter` declares it."""

    kind: str
    default: Any
    doc: str
    name: str = ""

    @property
    def required(self) -> bool:
        return self.default is NEEDED


def parameter(kind: str, default: Any = NEEDED, doc: str = "") -> Any:
    """A parameter of an operation.

    Kinds: `tensor`; `dim`, a number or an expression in dims; `size`, one that is whole and 1 or more; `flag`; `dtype`;
    `text`; `dims`, a list of sizes; `tensor or flag`.
    """
    return Parameter(kind, default, doc)


class Operation(Frozen):
    """One operation in its place. Subclasses declare their parameters as fields made by `parameter`."""

    keyword: ClassVar[str] = ""
    moves: ClassVar[bool] = False
    """Whether its activations go through memory even where elementwise work is fused."""
    is_view: ClassVar[bool] = False
    """Whether it only gives another shape to what lies in memory already."""

    _parameters: ClassVar[tuple[Parameter, ...]] = ()

    def __init_subclass__(cls, keyword: str = "") -> None:
        super().__init_subclass__()
        declared = [(name, value) for name, value in vars(cls).items() if isinstance(value, Parameter)]
        cls._parameters += tuple(changed(value, name=name) for name, value in declared)
        cls._fields |= {name: value.default for name, value in declared}
        if keyword:
            cls.keyword = keyword
            OPERATIONS[keyword] = cls

    @classmethod
    def parameters(cls) -> tuple[Parameter, ...]:
        """What a call may give it, in order."""
        return cls._parameters

    @property
    def operands(self) -> tuple[tuple[str, Tensor], ...]:
        """The tensors among the arguments, by parameter."""
        found = ((p.name, getattr(self, p.name)) for p in self.parameters())
        return tuple((name, value) for name, value in found if isinstance(value, Tensor))

    def infer(self, model: Shaping) -> Tensor | tuple[Tensor, ...]:
        """The result; checks the arguments' shapes.

        Raises:
            Mismatch: they do not fit.
        """
        raise NotImplementedError

    def matmul_flops(self, result: Tensor, counting: Counting) -> Expr:
        """FLOPs on the matrix units, one multiply and one add being 2."""
        return ZERO

    def vector_flops(self, result: Tensor, counting: Counting) -> Expr:
        """FLOPs on the vector units."""
        return ZERO

    def products(self, counting: Counting) -> tuple[Product, ...]:
        """The matrix products that its matmul_flops are, where they are that."""
        return ()

    def unfused_bytes(self, result: Tensor) -> Expr:
        """Activation elements moved beside its operands and result where nothing is fused."""
        return ZERO

    def elements_read(self, name: str, tensor: Tensor) -> Expr | None:
        """How many elements of an operand it reads, where that is not all of them."""
        return None

    def cache_window(self, name: str) -> Expr | None:
        """The window of positions that it reads of a cache given as this operand; None: the whole."""
        return None


OPERATIONS: dict[str, type[Operation]] = {}


def fail(
    message: str, *places: tuple[str, str], code: str = "shape", facts: Sequence[str] = (), help: str = ""
) -> NoReturn:
    raise Mismatch(message, *places, code=code, facts=facts, help=help)


def broadcast(model: Shaping, first: tuple[str, Shape], second: tuple[str, Shape], keyword: str) -> Shape:
    """The shape of an elementwise operation, by NumPy's rule: axes agree from the right, or one of them is 1."""
    (name_a, a), (name_b, b) = first, second
    longest = max(len(a), len(b))
    left = (ONE,) * (longest - len(a)) + a
    right = (ONE,) * (longest - len(b)) + b
    shape = []
    for i, (x, y) in enumerate(zip(left, right, strict=True)):
        if model.agree(x, y):
            shape.append(x)
        elif model.value(x) == 1:
            shape.append(y)
        elif model.value(y) == 1:
            shape.append(x)
        else:
            axis_a, axis_b = i - longest + len(a), i - longest + len(b)
            fail(
                f"`{keyword}` takes axes of different size: {model.figure(x)} and {model.figure(y)}",
                (name_a, f"axis {axis_a} is {model.shown(x)}"),
                (name_b, f"axis {axis_b} is {model.shown(y)}"),
            )
    return tuple(shape)


__all__ = [
    "OPERATIONS",
    "Counting",
    "DType",
    "Kind",
    "Mismatch",
    "Operation",
    "Parameter",
    "Product",
    "Shape",
    "Shaping",
    "Tensor",
    "View",
    "broadcast",
    "fail",
    "parameter",
    "whole_product",
]
