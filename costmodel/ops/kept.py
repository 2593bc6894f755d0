"""What a sequence keeps between passes: caches, kept values and states."""

from __future__ import annotations

from sympy import Expr, Min

from costmodel.dtypes import DType
from costmodel.ops.base import Kind, Operation, Shaping, Tensor, fail, parameter
from costmodel.symbols import new_tokens, seq_len


class Cache(Operation, keyword="cache"):
    """`cache(x, window=none, dtype=none)`: x[b, new_tokens, ...] with its token axis grown to `seq_len`.

    The sequence's cache, kept between passes; a pass writes the new rows. With `window` it holds
    min(seq_len, window) positions. No FLOPs. At fidelity `cache` it counts once a pass, whole.

    Example:
        `k = cache(rope(matmul(x, Wk)))`, and `cache(x, dtype="fp8")` for a dtype of its own
    """

    x: Tensor = parameter("tensor", doc="[b, new_tokens, ...]")
    window: Expr | None = parameter("size", None)
    dtype: DType | None = parameter("dtype", None)

    def infer(self, model: Shaping) -> Tensor:
        shape = self.x.shape
        if len(shape) < 2 or not model.agree(shape[1], new_tokens):
            found = model.shown(shape[1]) if len(shape) > 1 else "missing"
            message = f"`cache` takes [batch, new_tokens, ...], and axis 1 is {found}"
            fail(message, ("x", f"axis 1 is {found}"))
        length = seq_len if self.window is None else Min(seq_len, self.window)
        return model.keeps(Kind.CACHE, "cache", (shape[0], length, *shape[2:]), self.dtype, self.window)


class Keep(Operation, keyword="keep"):
    """`keep(x, dtype=none)`: x, computed in a pass without past and kept; later passes read it.

    A pass without past is one in which `new_tokens` is `seq_len`. What feeds nothing but a `keep` does not run in
    later passes: cross attention's K and V, and the encoder behind them. No FLOPs.

    Example:
        `keep(matmul(audio, Wk))`
    """

    x: Tensor = parameter("tensor")
    dtype: DType | None = parameter("dtype", None)

    def infer(self, model: Shaping) -> Tensor:
        return model.keeps(Kind.KEPT, "kept", self.x.shape, self.dtype)


class Update(Operation, keyword="update"):
    """`update(state, x)`: the state with x written to it. No FLOPs; a pass writes the whole state.

    x has the state's shape, save that one axis may be shorter: the columns or slots written.
    """

    state: Tensor = parameter("tensor")
    x: Tensor = parameter("tensor")

    def infer(self, model: Shaping) -> Tensor:
        if self.state.kind is not Kind.STATE:
            what = _article(self.state.kind)
            fail(f"`update` writes to a state, and this is {what}", ("state", f"this is {what}"), code="argument")
        kept, new = self.state.shape, self.x.shape
        if len(kept) != len(new):
            fail(
                f"`update` writes {len(new)} axes to a state of {len(kept)}",
                ("x", f"{len(new)} axes"),
                ("state", f"{len(kept)} axes"),
            )
        other = [i for i in range(len(kept)) if not model.agree(kept[i], new[i])]
        if len(other) > 1:
            i = other[0]
            fail(
                f"`update` writes axes of another size than the state's: {model.figure(new[i])}"
                f" and {model.figure(kept[i])}",
                ("x", f"axis {i} is {model.shown(new[i])}"),
                ("state", f"axis {i} is {model.shown(kept[i])}"),
            )
        return model.view(self.state, self.state.shape)


def _article(kind: Kind) -> str:
    return "a kept value" if kind is Kind.KEPT else f"a{'n' if kind is Kind.ACTIVATION else ''} {kind.value}"
