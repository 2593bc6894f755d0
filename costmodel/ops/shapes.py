"""Operations that only give another shape to what is there; no FLOPs."""

from __future__ import annotations

from sympy import Expr

from costmodel.ops.base import Operation, Shape, Shaping, Tensor, fail, parameter
from costmodel.symbols import ONE, ZERO, is_number, product, total


class Split(Operation, keyword="split"):
    """`split(x, [n, ...])`: the last axis cut into parts of these sizes, which add up to it."""

    x: Tensor = parameter("tensor")
    sizes: tuple[Expr, ...] = parameter("dims")
    is_view = True

    def infer(self, model: Shaping) -> tuple[Tensor, ...]:
        _needs_axes(self.x, 1, "split")
        last, whole = self.x.shape[-1], total(self.sizes)
        if not model.agree(last, whole):
            fail(
                f"`split` cuts an axis of {model.figure(last)} into parts of {model.figure(whole)} in all",
                ("x", f"axis {len(self.x.shape) - 1} is {model.shown(last)}"),
                ("sizes", f"together {model.shown(whole)}"),
            )
        parts, low = [], ZERO
        for size in self.sizes:
            parts.append(model.view(self.x, (*self.x.shape[:-1], size), low, low + size))
            low += size
        return tuple(parts)


class Slice(Operation, keyword="slice"):
    """`slice(x, lo, hi)`: positions lo up to hi of the last axis."""

    x: Tensor = parameter("tensor")
    lo: Expr = parameter("dim")
    hi: Expr = parameter("dim")
    is_view = True

    def infer(self, model: Shaping) -> Tensor:
        _needs_axes(self.x, 1, "slice")
        last = model.value(self.x.shape[-1])
        low, high = model.value(self.lo), model.value(self.hi)
        for name, position in (("lo", low), ("hi", high)):
            if is_number(position) and not position.is_Integer:
                fail(f"`slice` takes whole positions, and this is {position}", (name, "a fraction"), code="argument")
        bounds = f"{model.figure(self.lo)} up to {model.figure(self.hi)} of an axis of {model.figure(last)}"
        for name, wrong in (("lo", (low < 0) == True), ("hi", (high > last) == True), ("hi", (high <= low) == True)):  # noqa: E712
            if wrong:
                fail(
                    f"`slice` takes positions {bounds}",
                    (name, "out of bounds"),
                    ("x", f"axis {len(self.x.shape) - 1} is {model.shown(self.x.shape[-1])}"),
                )
        return model.view(self.x, (*self.x.shape[:-1], self.hi - self.lo), self.lo, self.hi)


class Concat(Operation, keyword="concat"):
    """`concat(x, y, axis=-1)`: one behind the other along an axis; the other axes broadcast."""

    x: Tensor = parameter("tensor")
    y: Tensor = parameter("tensor")
    axis: Expr = parameter("dim", -ONE)

    def infer(self, model: Shaping) -> Tensor:
        x, y = self.x.shape, self.y.shape
        if len(x) != len(y):
            fail(
                f"`concat` takes tensors of as many axes: {len(x)} and {len(y)}",
                ("x", f"{len(x)} axes"),
                ("y", f"{len(y)} axes"),
            )
        at = model.value(self.axis)
        if not at.is_Integer or not -len(x) <= int(at) < len(x):
            fail(f"`concat` has no axis {at} among {len(x)}", ("axis", "this"), code="argument")
        position = int(at) % len(x)
        shape = []
        for i, (a, b) in enumerate(zip(x, y, strict=True)):
            if i == position:
                shape.append(a + b)
            elif model.agree(a, b) or model.value(b) == 1:
                shape.append(a)
            elif model.value(a) == 1:
                shape.append(b)
            else:
                fail(
                    f"`concat` takes axes of different size: {model.figure(a)} and {model.figure(b)}",
                    ("x", f"axis {i} is {model.shown(a)}"),
                    ("y", f"axis {i} is {model.shown(b)}"),
                )
        return model.activation(tuple(shape))


class Reshape(Operation, keyword="reshape"):
    """`reshape(x, [n, ...])`: replaces the fewest trailing axes that have the same product."""

    x: Tensor = parameter("tensor")
    axes: tuple[Expr, ...] = parameter("dims")
    is_view = True

    def infer(self, model: Shaping) -> Tensor:
        shape: Shape = self.x.shape
        wanted = product(self.axes)
        for count in range(1, len(shape) + 1):
            if model.agree(product(shape[-count:]), wanted):
                return model.view(self.x, shape[:-count] + self.axes)
        return fail(
            f"`reshape` finds no trailing axes of {model.figure(wanted)} elements",
            ("x", f"[{', '.join(map(model.figure, shape))}]"),
            ("axes", f"together {model.shown(wanted)}"),
        )


class Last(Operation, keyword="last"):
    """`last(x, n=1)`: the last n tokens, [b, n, ...]."""

    x: Tensor = parameter("tensor", doc="[b, t, ...]")
    n: Expr = parameter("size", ONE)
    is_view = True

    def infer(self, model: Shaping) -> Tensor:
        _needs_axes(self.x, 2, "last")
        tokens, n = self.x.shape[1], model.value(self.n)
        if (n > model.value(tokens)) == True:  # noqa: E712
            fail(
                f"`last` takes {model.figure(n)} of {model.figure(tokens)} tokens",
                ("n", "too many"),
                ("x", f"axis 1 is {model.shown(tokens)}"),
            )
        shape = (self.x.shape[0], self.n, *self.x.shape[2:])
        if model.agree(tokens, self.n):
            return model.view(self.x, shape)
        return model.view(self.x, shape, tokens - self.n, tokens, axis=1)


def _needs_axes(x: Tensor, least: int, keyword: str) -> None:
    if len(x.shape) < least:
        fail(f"`{keyword}` takes a tensor of {least} axes or more", ("x", f"{len(x.shape)} axes"))
