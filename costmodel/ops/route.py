"""Mixture of experts."""

from __future__ import annotations

from sympy import Expr

from costmodel.ops.base import Counting, Operation, Shaping, Tensor, parameter
from costmodel.symbols import product, rational


class Route(Operation, keyword="route"):
    """`route(x, scores, top_k=k, distinct=none) { return f(x) }`: a mixture of experts.

    The body's weights exist E times, E being the last axis of `scores`[..., E], or given as `experts=E` for a router
    that the spec does not show. Each row of x runs the body k times; the results are weighted and summed:
    the body's FLOPs k times, and vector_flops = 2 · k · |result|.

    Of T = |x| / (last axis) rows the expected number of distinct experts read is E · (1 − (1 − k/E)^T): rows
    independent, every expert equally likely. `distinct` says otherwise. k may be a fraction (a capacity factor; mixture
    of depths with E = 1). A shared expert is a plain call beside it.

    Example:
        `y = route(x, matmul(x, Wrouter), top_k=2) { return feed_forward(x) }`
    """

    x: Tensor = parameter("tensor")
    scores: Tensor | None = parameter("tensor", None)
    top_k: Expr = parameter("dim")
    distinct: Expr | None = parameter("dim", None)
    experts: Expr | None = parameter("size", None)
    result: Tensor | None = None
    """What the body returns."""

    @property
    def operands(self) -> tuple[tuple[str, Tensor], ...]:
        found = (("scores", self.scores), ("result", self.result))
        return tuple((name, tensor) for name, tensor in found if tensor is not None)

    def elements_read(self, name: str, tensor: Tensor) -> Expr | None:
        return self.top_k * tensor.elements if name == "result" else None

    def count(self) -> Expr | None:
        """The number of experts, or None where nothing says it."""
        return self.scores.shape[-1] if self.scores is not None else self.experts

    def distinct_read(self) -> Expr:
        """The expected number of distinct experts that a pass reads."""
        if self.distinct is not None:
            return self.distinct
        experts = self.count()
        assert experts is not None
        return experts * (1 - (1 - self.top_k / experts) ** product(self.x.shape[:-1]))

    def infer(self, model: Shaping) -> Tensor:
        raise NotImplementedError("the body's result is known where the model is expanded")

    def vector_flops(self, result: Tensor, counting: Counting) -> Expr:
        return rational(2) * self.top_k * result.elements
