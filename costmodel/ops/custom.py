"""Operations that a spec declares itself with `op`, and two that a spec never calls."""

from __future__ import annotations

from sympy import Expr

from costmodel.ops.base import Counting, Operation, Shaping, Tensor, parameter
from costmodel.symbols import ZERO


class Custom(Operation):
    """An operation declared by the spec, in its place: its body's figures with the arguments' axes put in."""

    name: str = ""
    arguments: tuple[tuple[str, Tensor], ...] = ()
    matmul: Expr = ZERO
    vector: Expr = ZERO
    read_bytes: Expr | None = None
    write_bytes: Expr | None = None
    moves = True

    @property
    def operands(self) -> tuple[tuple[str, Tensor], ...]:
        return self.arguments

    def infer(self, model: Shaping) -> Tensor:
        raise NotImplementedError("its result's shape is evaluated with its body")

    def matmul_flops(self, result: Tensor, counting: Counting) -> Expr:
        return self.matmul

    def vector_flops(self, result: Tensor, counting: Counting) -> Expr:
        return self.vector


class Materialise(Operation):
    """A variable that a `repeat` carries, taken out of the weight, cache or state in which it lay."""

    x: Tensor = parameter("tensor")
    moves = True

    def infer(self, model: Shaping) -> Tensor:
        return model.activation(self.x.shape)


class Unused(Operation):
    """A weight or state that was declared and that no operation uses; it is counted all the same."""

    storage: Tensor

    @property
    def operands(self) -> tuple[tuple[str, Tensor], ...]:
        return ()

    def infer(self, model: Shaping) -> Tensor:
        return self.storage
