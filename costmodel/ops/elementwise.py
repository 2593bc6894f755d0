"""Elementwise work and norms: vector FLOPs an element; fused into their producer unless nothing is."""

from __future__ import annotations

from typing import ClassVar

from sympy import Expr

from costmodel.ops.base import Counting, Operation, Shaping, Tensor, broadcast, parameter
from costmodel.symbols import rational


class _Elementwise(Operation):
    x: Tensor = parameter("tensor")
    flops_per_element: ClassVar[int] = 0

    def infer(self, model: Shaping) -> Tensor:
        return model.activation(self.x.shape)

    def vector_flops(self, result: Tensor, counting: Counting) -> Expr:
        return rational(self.flops_per_element) * result.elements


class Relu(_Elementwise, keyword="relu"):
    """`relu(x)`: vector_flops = 1 an element, the comparison."""

    flops_per_element = 1


class Exp(_Elementwise, keyword="exp"):
    """`exp(x)`: vector_flops = 1 an element."""

    flops_per_element = 1


class Tanh(_Elementwise, keyword="tanh"):
    """`tanh(x)`: vector_flops = 1 an element."""

    flops_per_element = 1


class Softplus(_Elementwise, keyword="softplus"):
    """`softplus(x)`: vector_flops = 3 an element: exp, add, log."""

    flops_per_element = 3


class Sigmoid(_Elementwise, keyword="sigmoid"):
    """`sigmoid(x)`: vector_flops = 4 an element: negate, exp, add, divide."""

    flops_per_element = 4


class Silu(_Elementwise, keyword="silu"):
    """`silu(x)`: vector_flops = 5 an element: a sigmoid and a product."""

    flops_per_element = 5


class Gelu(_Elementwise, keyword="gelu"):
    """`gelu(x)`: vector_flops = 8 an element, in the form with tanh."""

    flops_per_element = 8


class Softmax(_Elementwise, keyword="softmax"):
    """`softmax(x)` over the last axis: vector_flops = 5 an element: max, subtract, exp, sum, divide."""

    flops_per_element = 5


class Rope(_Elementwise, keyword="rope"):
    """`rope(x)`, rotary positions: vector_flops = 3 an element: two products and a sum."""

    flops_per_element = 3


class RmsNorm(_Elementwise, keyword="rmsnorm"):
    """`rmsnorm(x, affine=true)` over the last axis: vector_flops = 4 an element: square, sum, two products.

    It owns its scale, one parameter for each position of the last axis, unless `affine=false`.
    """

    affine: bool = parameter("flag", True, doc="whether it owns its scale")
    flops_per_element = 4

    def infer(self, model: Shaping) -> Tensor:
        if self.affine:
            model.weight("scale", self.x.shape[-1:])
        return model.activation(self.x.shape)


class LayerNorm(_Elementwise, keyword="layernorm"):
    """`layernorm(x, affine=true, bias=true)` over the last axis: vector_flops = 7 an element.

    It owns its scale and bias, two parameters for each position of the last axis, unless `affine=false`; with
    `bias=false` only its scale.
    """

    affine: bool = parameter("flag", True, doc="whether it owns its scale, and its bias")
    bias: bool = parameter("flag", True, doc="whether it owns a bias beside its scale")
    flops_per_element = 7

    def infer(self, model: Shaping) -> Tensor:
        if self.affine:
            model.weight("scale", self.x.shape[-1:])
            if self.bias:
                model.weight("bias", self.x.shape[-1:])
        return model.activation(self.x.shape)


class _Binary(Operation):
    x: Tensor | Expr = parameter("tensor or dim")
    y: Tensor | Expr = parameter("tensor or dim")

    def infer(self, model: Shaping) -> Tensor:
        if isinstance(self.x, Tensor) and isinstance(self.y, Tensor):
            return model.activation(broadcast(model, ("x", self.x.shape), ("y", self.y.shape), self.keyword))
        tensor = self.x if isinstance(self.x, Tensor) else self.y
        return model.activation(tensor.shape)

    def vector_flops(self, result: Tensor, counting: Counting) -> Expr:
        return result.elements


class Add(_Binary, keyword="+"):
    """`x + y`, broadcasting as NumPy does: vector_flops = 1 an output element."""


class Subtract(_Binary, keyword="-"):
    """`x - y`, broadcasting as NumPy does: vector_flops = 1 an output element. So has `-x`."""


class Multiply(_Binary, keyword="*"):
    """`x * y`, broadcasting as NumPy does: vector_flops = 1 an output element."""


class Divide(_Binary, keyword="/"):
    """`x / y`, broadcasting as NumPy does: vector_flops = 1 an output element."""
