"""Attention, with all that changes its count: grouped heads, windows, masks, unequal head sizes, sinks."""

from __future__ import annotations

from sympy import Expr, Max, Min

from costmodel.ops.base import Counting, Operation, Product, Shaping, Tensor, fail, parameter
from costmodel.symbols import ONE, ZERO, is_number, is_zero, product, put_in, rational, seq_len


class Attention(Operation, keyword="attention"):
    """`attention(q, k, v, causal=false, window=none, softcap=none, bias=none, sinks=none)`

    q[b, t, h, d], k[b, s, g, d], v[b, s, g, e] to [b, t, h, e], where g divides h (grouped heads). With
    n = min(s, window) keys a query:

    matmul_flops = 2 · b · t · h · n · (d + e): scores and weighted values.
    vector_flops = (5, + 3 for softcap, + 1 for bias) · b · t · h · n, + b · t · h for sinks.

    `causal=true` changes no count by default: the full rectangle, as is usual. With `masked="exact"` only the pairs
    that mask and window keep are counted: with t new tokens, the last of s, causal t·s − t·(t−1)/2.
    Scores stay on the chip; where nothing is fused they are written and read twice, and twice more for each of
    softcap and bias. Of a cache it reads the positions that its window can reach.

    Example:
        `attention(q, cache(k), cache(v), causal=true, window=sliding_window)`
    """

    q: Tensor = parameter("tensor", doc="[b, t, h, d]")
    k: Tensor = parameter("tensor", doc="[b, s, g, d]")
    v: Tensor = parameter("tensor", doc="[b, s, g, e]")
    causal: bool = parameter("flag", False)
    window: Expr | None = parameter("size", None)
    softcap: Expr | None = parameter("dim", None)
    bias: Tensor | bool | None = parameter("tensor or flag", None)
    sinks: Tensor | bool | None = parameter("tensor or flag", None)
    moves = True

    def infer(self, model: Shaping) -> Tensor:
        for name, tensor in (("q", self.q), ("k", self.k), ("v", self.v)):
            if len(tensor.shape) != 4:
                fail(
                    f"`attention` takes [batch, tokens, heads, head size], and `{name}` has {len(tensor.shape)} axes",
                    (name, f"{len(tensor.shape)} axes"),
                )
        same = (
            (("q", 0), ("k", 0)),
            (("q", 3), ("k", 3)),
            (("k", 0), ("v", 0)),
            (("k", 1), ("v", 1)),
            (("k", 2), ("v", 2)),
        )
        tensors = {"q": self.q, "k": self.k, "v": self.v}
        for (a, i), (b, j) in same:
            x, y = tensors[a].shape[i], tensors[b].shape[j]
            if not model.agree(x, y):
                fail(
                    f"`attention` takes `{a}` and `{b}` of different {('batch', 'length', 'heads', 'head size')[i]}:"
                    f" {model.figure(x)} and {model.figure(y)}",
                    (b, f"axis {j} is {model.shown(y)}"),
                    (a, f"axis {i} is {model.shown(x)}"),
                )
        heads, groups = self.q.shape[2], self.k.shape[2]
        ratio = model.value(heads / groups)
        if ratio.is_number and not ratio.is_Integer:
            fail(
                f"`attention` cannot share {model.figure(groups)} key heads among {model.figure(heads)} query heads:"
                " the one must divide the other",
                ("k", f"axis 2 is {model.shown(groups)}"),
                ("q", f"axis 2 is {model.shown(heads)}"),
            )
        tokens, length = self.q.shape[1], self.k.shape[1]
        missing = model.value(tokens - length)
        if self.causal and is_number(missing) and missing > 0:
            fail(
                f"`attention` with causal=true takes queries of a sequence's last tokens, and {model.figure(tokens)}"
                f" are more than all {model.figure(length)} of it",
                ("q", f"axis 1 is {model.shown(tokens)}"),
                ("k", f"axis 1 is {model.shown(length)}"),
            )
        return model.activation((*self.q.shape[:3], self.v.shape[3]))

    def _length(self) -> tuple[Expr, Expr | None]:
        """The sequence's length and the window, of what is stored and of what is read, whichever is smaller."""
        length, window = self.k.shape[1], self.window
        if isinstance(length, Min) and seq_len in length.args:
            stored = Min(*(arg for arg in length.args if arg != seq_len))
            return seq_len, stored if window is None else Min(stored, window)
        return length, window

    def pairs(self, counting: Counting) -> Expr:
        """Query-key pairs of one head of one sequence."""
        tokens, (length, window) = self.q.shape[1], self._length()
        keys = length if window is None else Min(length, window)
        if not self.causal or counting.masked == "full":
            return tokens * keys
        here, whole = put_in(tokens, counting.settings), put_in(length, counting.settings)
        if is_zero(here - ONE):
            return tokens * keys
        if window is None:
            return tokens * length - tokens * (tokens - 1) / 2
        if is_zero(here - whole):
            return keys * (keys + 1) / 2 + (length - keys) * window
        # the first queries see all that is before them, the rest a window of it
        first = Min(tokens, Max(ZERO, window - length + tokens))
        return first * (length - tokens) + first * (first + 1) / 2 + (tokens - first) * window

    def matmul_flops(self, result: Tensor, counting: Counting) -> Expr:
        batch, _, heads, size = self.q.shape
        pairs = self.pairs(counting)
        if self.v.shape[3] == size:
            return product((rational(4), batch, pairs, heads, size))
        return product((rational(2), batch, pairs, heads, size + self.v.shape[3]))

    def products(self, counting: Counting) -> tuple[Product, ...]:
        batch, tokens, heads, size = self.q.shape
        length, window = self._length()
        keys = length if window is None else Min(length, window)
        each = 2 * batch * heads * self.pairs(counting)
        return (
            Product((batch, heads), (tokens,), (size,), (keys,), each * size, "scores"),
            Product((batch, heads), (tokens,), (keys,), (self.v.shape[3],), each * self.v.shape[3], "values"),
        )

    def vector_flops(self, result: Tensor, counting: Counting) -> Expr:
        batch, tokens, heads, _ = self.q.shape
        each = 5 + (3 if self.softcap is not None else 0) + (1 if _given(self.bias) else 0)
        flops = product((rational(each), batch, self.pairs(counting), heads))
        return flops + batch * tokens * heads if _given(self.sinks) else flops

    def unfused_bytes(self, result: Tensor) -> Expr:
        batch, tokens, heads, _ = self.q.shape
        length, window = self._length()
        keys = length if window is None else Min(length, window)
        passes = 4 + (2 if self.softcap is not None else 0) + (2 if _given(self.bias) else 0)
        return product((rational(passes), batch, tokens, heads, keys))

    def cache_window(self, name: str) -> Expr | None:
        return self.window if name in ("k", "v") else None


def _given(value: Tensor | bool | None) -> bool:
    return value is not None and value is not False
