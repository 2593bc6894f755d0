"""Operations whose work is multiply-adds over weights: matmul, einsum, conv1d; and lookup, which only reads."""

from __future__ import annotations

import re
from dataclasses import replace

from sympy import Expr

from costmodel.ops.base import (
    Counting,
    Kind,
    Operation,
    Product,
    Shape,
    Shaping,
    Tensor,
    fail,
    parameter,
    whole_product,
)
from costmodel.symbols import ONE, product, rational


class Matmul(Operation, keyword="matmul"):
    """`matmul(x, W)`: x's last axes, which are W's in-axes, become W's out-axes.

    matmul_flops = 2 · |x| · ∏ out-axes: a multiply and an add for each element of x and each output.
    W is a weight with an arrow; `W.T` swaps its sides.

    Example:
        `q = matmul(x, Wq)` with x[b, t, d] and `weight Wq[d -> h, e]` gives [b, t, h, e] for 2·b·t·d·h·e FLOPs.
    """

    x: Tensor = parameter("tensor", doc="[..., in]")
    W: Tensor = parameter("tensor", doc="a weight with an arrow, [in -> out]")
    moves = True

    def infer(self, model: Shaping) -> Tensor:
        x, weight = self.x, self.W
        if weight.inputs is None:
            what = "has no arrow" if weight.kind is Kind.WEIGHT else "is no weight"
            swapped = x.inputs is not None
            fail(
                f"`matmul` contracts the axes before a weight's arrow, and its second argument {what}",
                ("W", "no arrow here"),
                facts=() if swapped else ("declare `weight W[in -> out]`, or write an `einsum` for two activations",),
                help="the weight stands second: `matmul(x, W)`" if swapped else "",
            )
        ins = weight.shape[: weight.inputs]
        if len(x.shape) < len(ins):
            fail(
                f"`matmul` contracts {len(ins)} axes, and its first argument has {len(x.shape)}",
                ("x", f"{len(x.shape)} axes"),
                ("W", f"{len(ins)} axes before the arrow"),
            )
        offset = len(x.shape) - len(ins)
        for i, axis in enumerate(ins):
            if not model.agree(x.shape[offset + i], axis):
                fail(
                    f"`matmul` contracts axes of different size: {model.figure(x.shape[offset + i])}"
                    f" and {model.figure(axis)}",
                    ("x", f"axis {offset + i} is {model.shown(x.shape[offset + i])}"),
                    ("W", f"axis {i} is {model.shown(axis)}"),
                    help="`W.T`, its sides swapped, fits" if self._fits_transposed(model) else "",
                )
        return model.activation(x.shape[:offset] + weight.shape[weight.inputs :])

    def _fits_transposed(self, model: Shaping) -> bool:
        outs = self.W.shape[self.W.inputs :]
        last = self.x.shape[len(self.x.shape) - len(outs) :]
        return len(last) == len(outs) > 0 and all(map(model.agree, last, outs))

    def matmul_flops(self, result: Tensor, counting: Counting) -> Expr:
        assert self.W.inputs is not None
        return product((rational(2), *self.x.shape, *self.W.shape[self.W.inputs :]))

    def products(self, counting: Counting) -> tuple[Product, ...]:
        assert self.W.inputs is not None
        shape, at = self.x.shape, len(self.x.shape) - self.W.inputs
        return (whole_product((), shape[:at], shape[at:], self.W.shape[self.W.inputs :]),)


_EINSUM = re.compile(r"\s*([\w\s]+?)\s*,\s*([\w\s]+?)\s*->\s*([\w\s]*?)\s*")


class Einsum(Operation, keyword="einsum"):
    """`einsum("b t h d, c h d -> b t h c", x, y)`: a product of two tensors, summed over the axes not in the result.

    matmul_flops = 2 · ∏ of all distinct axes. Each operand is an activation or a weight; a weight's axes are those
    before its arrow, then those behind it.

    Example:
        `einsum("b t h n, c h n -> b t h c", q, Wk_up)` folds an up-projection into the queries.
    """

    pattern: str = parameter("text", doc="axes by name, two operands")
    x: Tensor = parameter("tensor")
    y: Tensor = parameter("tensor")
    moves = True

    def _axes(self) -> tuple[list[str], list[str], list[str]]:
        match = _EINSUM.fullmatch(self.pattern)
        if match is None:
            fail(
                "`einsum` needs two operands and a result: `a b, b c -> a c`",
                ("pattern", "not of that form"),
                code="argument",
            )
        left, right, out = (part.split() for part in match.groups())
        return left, right, out

    def infer(self, model: Shaping) -> Tensor:
        left, right, out = self._axes()
        sizes: dict[str, Expr] = {}
        where: dict[str, tuple[str, int]] = {}
        for name, axes, tensor in (("x", left, self.x), ("y", right, self.y)):
            if len(axes) != len(tensor.shape):
                fail(
                    f"`einsum` names {len(axes)} {'axis' if len(axes) == 1 else 'axes'} of an operand that has"
                    f" {len(tensor.shape)}",
                    (name, f"{len(tensor.shape)} axes"),
                    ("pattern", f"`{' '.join(axes)}`"),
                    facts=("spaces part the names of axes: `b t d`",) if any(len(a) > 1 for a in axes) else (),
                )
            if len(set(axes)) != len(axes):
                fail(
                    "`einsum` names an axis twice in one operand, which would be a diagonal",
                    ("pattern", f"`{' '.join(axes)}`"),
                    code="argument",
                )
            for i, (axis, size) in enumerate(zip(axes, tensor.shape, strict=True)):
                if axis in sizes and not model.agree(sizes[axis], size):
                    first, at = where[axis]
                    fail(
                        f"`einsum` takes axis `{axis}` in two sizes: {model.figure(sizes[axis])}"
                        f" and {model.figure(size)}",
                        (first, f"axis {at} is {model.shown(sizes[axis])}"),
                        (name, f"axis {i} is {model.shown(size)}"),
                    )
                if axis not in sizes:
                    sizes[axis], where[axis] = size, (name, i)
        for axis in out:
            if axis not in sizes:
                fail(f"`einsum` gives an axis `{axis}` that no operand has", ("pattern", "here"), code="argument")
        if len(set(out)) != len(out):
            fail("`einsum` names an axis twice in its result", ("pattern", "here"), code="argument")
        return model.activation(tuple(sizes[axis] for axis in out))

    def matmul_flops(self, result: Tensor, counting: Counting) -> Expr:
        left, right, _ = self._axes()
        sizes = dict(zip(left, self.x.shape, strict=True)) | dict(zip(right, self.y.shape, strict=True))
        return product((rational(2), *sizes.values()))

    def products(self, counting: Counting) -> tuple[Product, ...]:
        left, right, out = self._axes()
        sizes = dict(zip(left, self.x.shape, strict=True)) | dict(zip(right, self.y.shape, strict=True))

        def shape(axes: list[str], kept: bool, shared: bool, other: list[str]) -> Shape:
            return tuple(sizes[axis] for axis in axes if (axis in out) == kept and (axis in other) == shared)

        # an axis of one operand that the result lacks is summed over before: it counts as inner
        inner = (*shape(left, False, True, right), *shape(left, False, False, right), *shape(right, False, False, left))
        times = shape(left, True, True, right)
        return (whole_product(times, shape(left, True, False, right), inner, shape(right, True, False, left)),)


class Conv1d(Operation, keyword="conv1d"):
    """`conv1d(x, kernel=k, out=n, stride=1, groups=1, bias=false, causal=false)`: x[b, t, in] to [b, t/stride, n].

    matmul_flops = 2 · b · t/stride · k · in · n / groups. It owns its weight, k · in/groups · n, and with `bias=true`
    n more. `causal=true` keeps a state of k-1 columns, of the dtype of `cache` unless `dtype` says otherwise.

    Example:
        `conv1d(mel, kernel=3, out=d_model, stride=2)`
    """

    x: Tensor = parameter("tensor", doc="[b, t, in]")
    kernel: Expr = parameter("size")
    out: Expr = parameter("size")
    stride: Expr = parameter("size", ONE)
    groups: Expr = parameter("size", ONE)
    bias: bool = parameter("flag", False)
    causal: bool = parameter("flag", False)
    dtype: object = parameter("dtype", None)
    moves = True

    def infer(self, model: Shaping) -> Tensor:
        if len(self.x.shape) != 3:
            fail(f"`conv1d` takes [batch, time, channels], not {len(self.x.shape)} axes", ("x", "this"))
        batch, time, channels = self.x.shape
        for name, size in (("in", channels), ("out", self.out)):
            ratio = model.value(size / self.groups)
            if ratio.is_number and not ratio.is_Integer:
                fail(
                    f"`conv1d` cannot divide {model.figure(size)} {name} channels into"
                    f" {model.figure(self.groups)} groups",
                    ("groups", f"{model.figure(self.groups)} groups"),
                )
        model.weight("kernel", (self.kernel, channels / self.groups, self.out))
        if self.bias:
            model.weight("bias", (self.out,))
        if self.causal and model.value(self.kernel) != 1:
            model.keeps(Kind.STATE, "columns", (batch, self.kernel - 1, channels), self.dtype)  # type: ignore[arg-type]
        return model.activation((batch, time / self.stride, self.out))

    def matmul_flops(self, result: Tensor, counting: Counting) -> Expr:
        batch, time, channels = self.x.shape
        return product((rational(2), batch, time / self.stride, self.kernel, channels, self.out, 1 / self.groups))

    def products(self, counting: Counting) -> tuple[Product, ...]:
        batch, time, channels = self.x.shape
        groups = () if self.groups == 1 else (self.groups,)
        inner = (self.kernel, channels / self.groups)
        return (whole_product(groups, (batch, time / self.stride), inner, (self.out / self.groups,)),)


class Lookup(Operation, keyword="lookup"):
    """`lookup(ids, table)`: for each id a row of the table; ids' axes, then the row's. No FLOPs.

    At fidelity `cache` the table counts whole, as every weight that a pass uses; at `traffic` only the rows read.

    Example:
        `x = lookup(tokens, embedding)` with `weight embedding[vocab_size -> hidden_size]`
    """

    ids: Tensor = parameter("tensor")
    table: Tensor = parameter("tensor", doc="[rows -> row]")
    moves = True

    def infer(self, model: Shaping) -> Tensor:
        if self.ids.kind is Kind.WEIGHT:
            fail("`lookup` takes the ids first, and the table second", ("ids", "this is a weight"), code="argument")
        if self.table.inputs not in (None, 1):
            fail(
                "`lookup` takes a table of one axis of rows before its arrow",
                ("table", f"{self.table.inputs} axes before the arrow"),
            )
        return model.activation(self.ids.shape + self.table.shape[1:])

    def elements_read(self, name: str, tensor: Tensor) -> Expr | None:
        return self.ids.elements * product(tensor.shape[1:]) if name == "table" else None


def transposed(weight: Tensor) -> Tensor:
    """`W.T`: the two sides of the arrow swapped; the storage is the same."""
    assert weight.inputs is not None
    ins, outs = weight.shape[: weight.inputs], weight.shape[weight.inputs :]
    return replace(weight, shape=outs + ins, inputs=len(outs))
