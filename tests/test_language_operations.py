"""docs/language.md 4, the table of operations: results, matmul and vector FLOPs. Figures are worked out by hand."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from sympy import Expr, Min, Rational

import costmodel as cm
from costmodel.figures import Figure, figure

from .language import b, codes, dims, forward, refused, row, s, same, shape, spec, t, table

d, e, f, g, h, n, k = dims("d e f g h n k")
FREE = "dim d dim e dim f dim g dim h dim n dim k"


def counted(model: cm.Model, phase: str = "decode", masked: str = "full") -> tuple[Expr, Expr]:
    found = table(model, phase, masked=masked, new_tokens=t)
    return found.matmul_flops, found.vector_flops


# --- matmul, einsum


@pytest.mark.parametrize(
    ("inputs", "weight", "wanted", "flops"),
    [
        ("x[batch_size, new_tokens, d]", "[d -> e]", (b, t, e), 2 * b * t * d * e),
        ("x[batch_size, new_tokens, d]", "[d -> h, e]", (b, t, h, e), 2 * b * t * d * h * e),
        ("x[batch_size, new_tokens, h, e]", "[h, e -> d]", (b, t, d), 2 * b * t * h * e * d),
        ("x[batch_size, d]", "[d -> d]", (b, d), 2 * b * d * d),
        ("x[d]", "[d -> e]", (e,), 2 * d * e),
        ("x[batch_size, n, d]", "[n, d -> 1]", (b, 1), 2 * b * n * d),
        ("x[batch_size, new_tokens, d]", "[2 -> 3]", None, 0),
    ],
)
def test_matmul(inputs: str, weight: str, wanted: tuple[Expr, ...] | None, flops: Expr) -> None:
    """x's axes, W's in-axes replaced by its out-axes; 2·|x|·∏out."""
    body = f"weight W{weight}\nreturn matmul(x, W)"
    if wanted is None:
        assert codes(f"{FREE} graph forward({inputs}) {{ {body} }}") == {"shape"}
        return
    model = forward(body, inputs, FREE)
    assert shape(model, new_tokens=t) == wanted
    assert counted(model) == (flops, 0)


@pytest.mark.parametrize(
    ("pattern", "inputs", "wanted", "flops"),
    [
        (
            "b t h d, c h d -> b t h c",
            "x[batch_size, new_tokens, h, d], y[e, h, d]",
            (b, t, h, e),
            2 * b * t * h * d * e,
        ),
        ("b t d, b s d -> b t s", "x[batch_size, new_tokens, d], y[batch_size, n, d]", (b, t, n), 2 * b * t * d * n),
        ("i, j -> j i", "x[d], y[e]", (e, d), 2 * d * e),
        ("a b, a b -> ", "x[d, e], y[d, e]", (), 2 * d * e),
        ("left mid,mid right->left right", "x[d, e], y[e, f]", (d, f), 2 * d * e * f),
    ],
)
def test_einsum(pattern: str, inputs: str, wanted: tuple[Expr, ...], flops: Expr) -> None:
    """As written; 2·∏ of all distinct axes."""
    model = forward(f'return einsum("{pattern}", x, y)', inputs, FREE)
    assert shape(model, new_tokens=t) == wanted
    assert counted(model) == (flops, 0)


def test_an_einsum_takes_weights_on_either_side() -> None:
    body = (
        'weight A[d -> h, e], B[f]\ny = einsum("b d, d h e -> b h e", x, A)\nreturn einsum("f, b h e -> b h f", B, y)'
    )
    model = forward(body, "x[batch_size, d]", FREE)
    assert shape(model) == (b, h, f)
    assert counted(model)[0] == 2 * b * d * h * e + 2 * f * b * h * e
    weights = forward('weight A[d, e], B[e, f]\nreturn einsum("d e, e f -> d f", A, B)', "x[batch_size, d]", FREE)
    assert shape(weights) == (d, f)
    assert counted(weights)[0] == 2 * d * e * f


@pytest.mark.parametrize(
    "call",
    [
        'einsum("a b, b c -> a c", x, x)',
        'einsum("a b -> b a", x, x)',
        'einsum("a b, b c", x, x)',
        'einsum("a a, a b -> b", x, x)',
        'einsum("a b, a b -> c", x, x)',
        'einsum("a b, a b -> a a", x, x)',
        'einsum("a b c, a b -> c", x, x)',
        'einsum("a b, a b -> a")',
    ],
)
def test_no_einsum(call: str) -> None:
    assert codes(f"graph forward(x[3, 4]) {{ return {call} }}") <= {"shape", "argument", "arguments"}
    assert codes(f"graph forward(x[3, 4]) {{ return {call} }}")


# --- attention

QKV = "q[batch_size, new_tokens, h, d], k[batch_size, n, g, d], v[batch_size, n, g, e]"


@pytest.mark.parametrize(
    ("arguments", "matmul", "vector"),
    [
        ("", 2 * b * t * h * n * (d + e), 5 * b * t * h * n),
        ("causal=true", 2 * b * t * h * n * (d + e), 5 * b * t * h * n),
        ("softcap=50", 2 * b * t * h * n * (d + e), 8 * b * t * h * n),
        ("bias=true", 2 * b * t * h * n * (d + e), 6 * b * t * h * n),
        ("bias=false, sinks=false", 2 * b * t * h * n * (d + e), 5 * b * t * h * n),
        ("bias=p", 2 * b * t * h * n * (d + e), 6 * b * t * h * n),
        ("sinks=true", 2 * b * t * h * n * (d + e), 5 * b * t * h * n + b * t * h),
        ("sinks=u, softcap=30, bias=p", 2 * b * t * h * n * (d + e), 9 * b * t * h * n + b * t * h),
        ("window=f", 2 * b * t * h * Min(n, f) * (d + e), 5 * b * t * h * Min(n, f)),
        ("window=none, softcap=none, bias=none, sinks=none", 2 * b * t * h * n * (d + e), 5 * b * t * h * n),
    ],
)
def test_attention(arguments: str, matmul: Expr, vector: Expr) -> None:
    """[b, t, h, e]; with n keys a query 2·b·t·h·n·(d+e), and 5 vector FLOPs a pair, + 3, + 1, + 1 a query."""
    call = f"attention(q, k, v{', ' if arguments else ''}{arguments})"
    model = forward(f"weight p[h, n], u[h]\nreturn {call}", QKV, f"{FREE} dim ratio").set(h="g * ratio")
    (ratio,) = dims("ratio")
    assert shape(model, new_tokens=t) == (b, t, g * ratio, e)
    found = counted(model)
    assert same(found[0], matmul.subs(h, g * ratio))
    assert same(found[1], vector.subs(h, g * ratio))


def test_grouped_heads_cost_what_the_queries_heads_cost() -> None:
    for groups in (1, 2, 4, 8):
        inputs = f"q[2, 3, 8, 5], k[2, 7, {groups}, 5], v[2, 7, {groups}, 5]"
        assert (
            row(forward("return attention(q, k, v)", inputs, ""), "attention").cost.matmul_flops
            == 4 * 2 * 3 * 8 * 7 * 5
        )
    for groups in (3, 5, 16):
        inputs = f"q[2, 3, 8, 5], k[2, 7, {groups}, 5], v[2, 7, {groups}, 5]"
        assert codes(f"graph forward({inputs}) {{ return attention(q, k, v) }}") == {"shape"}


@pytest.mark.parametrize(
    "inputs",
    [
        "q[2, 3, 8, 5], k[2, 7, 4, 6], v[2, 7, 4, 5]",
        "q[2, 3, 8, 5], k[3, 7, 4, 5], v[2, 7, 4, 5]",
        "q[2, 3, 8, 5], k[2, 7, 4, 5], v[2, 6, 4, 5]",
        "q[2, 3, 8, 5], k[2, 7, 4, 5], v[2, 7, 2, 5]",
        "q[2, 3, 8, 5], k[2, 7, 4, 5], v[3, 7, 4, 5]",
        "q[2, 3, 40], k[2, 7, 40], v[2, 7, 40]",
    ],
)
def test_no_attention(inputs: str) -> None:
    assert codes(f"graph forward({inputs}) {{ return attention(q, k, v) }}") == {"shape"}


def cached(stored: str = "", reads: str = "") -> cm.Model:
    """One head of one number, so that a pair is 4 matmul FLOPs."""
    read = f", window={reads}" if reads else ""
    kept = f", window={stored}" if stored else ""
    body = f"k = cache(reshape(x, [1, 1]){kept})\nreturn attention(reshape(x, [1, 1]), k, k, causal=true{read})"
    return forward(body, "x[batch_size, new_tokens, 1]", "dim w dim c")


w, c = dims("w c")


@pytest.mark.parametrize(
    ("stored", "reads", "keys"),
    [("", "", s), ("", "w", Min(s, w)), ("w", "", Min(s, w)), ("w", "w", Min(s, w)), ("c", "w", Min(s, c, w))],
)
def test_the_windows_of_cache_and_attention(stored: str, reads: str, keys: Expr) -> None:
    """`window` of cache is what is stored, `window` of attention what a query reads."""
    model = cached(stored, reads)
    assert counted(model)[0] == 4 * b * t * keys
    assert model.cost("decode").flops == 4 * b * keys
    assert same(model.cost("prefill").flops, 4 * b * s * keys)
    assert model.cost().cache_memory == 2 * b * (Min(s, dims(stored)[0]) if stored else s)


def pairs(tokens: int, length: int, window: int | None) -> int:
    """The pairs that a causal mask and a window keep, one by one: the queries are the last of the sequence."""
    return sum(
        1
        for query in range(length - tokens, length)
        for key in range(length)
        if key <= query and (window is None or query - key < window)
    )


def by_the_formula(tokens: int, length: int, window: int | None) -> int:
    """As the language's description has it."""
    if window is None or length <= window:
        return tokens * length - tokens * (tokens - 1) // 2
    m = window - 1 - (length - tokens)
    return tokens * window - (m * (m + 1) // 2 if m > 0 else 0)


def kept_pairs(model: cm.Model, phase: str, new_tokens: Any, tokens: int, length: int) -> Figure:
    found = table(model, phase, masked="exact", new_tokens=new_tokens).matmul_flops / (4 * b)
    return figure(found, {t: Fraction(tokens), s: Fraction(length)})


@pytest.mark.parametrize("window", [None, 1, 2, 3, 5, 8, 9, 40])
def test_exact_masks_against_a_count_of_pairs(window: int | None) -> None:
    models = [cached()] if window is None else [cached(*x).set(w=window) for x in (("", "w"), ("w", ""), ("w", "w"))]
    for model in models:
        for tokens in range(1, 10):
            for length in range(tokens, 10):
                count = pairs(tokens, length, window)
                assert by_the_formula(tokens, length, window) == count
                assert kept_pairs(model, "decode", t, tokens, length) == count
                assert kept_pairs(model, "decode", tokens, tokens, length) == count
            assert kept_pairs(model, "prefill", None, tokens, tokens) == pairs(tokens, tokens, window)


def test_exact_masks_with_both_windows() -> None:
    """What the cache has dropped cannot be read: the smaller window counts."""
    for stored, reads in ((4, 7), (7, 4)):
        model = cached("c", "w").set(c=stored, w=reads)
        for length in range(1, 12):
            for tokens in range(1, length + 1):
                assert kept_pairs(model, "decode", t, tokens, length) == pairs(tokens, length, 4)


def test_exact_masks_in_closed_form() -> None:
    """In symbols: t·s − t·(t−1)/2 pairs; the rectangle where nothing masks; vector FLOPs are of the same pairs."""
    body = (
        "k = cache(reshape(x, [1, 1]))\nreturn attention(reshape(x, [1, 1]), k, k, causal=true, softcap=1, sinks=true)"
    )
    model = forward(body, "x[batch_size, new_tokens, 1]", "")
    matmul, vector = counted(model, masked="exact")
    assert same(matmul, 4 * b * (t * s - t * (t - 1) / 2))
    assert same(vector, 8 * b * (t * s - t * (t - 1) / 2) + b * t)
    assert same(model.cost("prefill", masked="exact").flops, 2 * b * s * (s + 1))
    free = forward("y = reshape(x, [1, 1])\nreturn attention(y, y, y, window=3)", "x[batch_size, new_tokens, 1]", "")
    assert counted(free, masked="exact")[0] == 4 * b * t * Min(t, 3)


# --- lookup, cache, keep


def test_lookup() -> None:
    """ids' axes, then the row's; no FLOPs."""
    for weight, wanted in (
        ("[n -> d]", (b, t, d)),
        ("[n, d]", (b, t, d)),
        ("[n -> d, e]", (b, t, d, e)),
        ("[n]", (b, t)),
    ):
        model = forward(f"weight T{weight}\nreturn lookup(ids, T)", "ids[batch_size, new_tokens]", FREE)
        assert shape(model, new_tokens=t) == wanted
        assert counted(model) == (0, 0)
    assert codes("graph forward(ids[3]) { weight T[4, 5 -> 6] return lookup(ids, T) }") == {"shape"}


def test_cache_grows_the_axis_of_tokens() -> None:
    for arguments, length in (("", s), (", window=n", Min(s, n)), (", window=7", Min(s, 7)), (", window=none", s)):
        model = forward(f"return cache(x{arguments})", "x[batch_size, new_tokens, g, d]", FREE)
        assert shape(model, new_tokens=t) == (b, length, g, d)
        assert counted(model) == (0, 0)
        assert model.cost().cache_memory == 2 * b * length * g * d
        assert model.cost("prefill").cache_memory == 2 * b * length * g * d
    ids = forward("return cache(x)", "x[batch_size, new_tokens]", FREE)
    assert shape(ids) == (b, s)
    assert codes("graph forward(x[batch_size, 7, 4]) { return cache(x) }") == {"shape"}
    assert codes("graph forward(x[batch_size]) { return cache(x) }") == {"shape"}


def test_keep_is_as_x() -> None:
    model = forward("return keep(relu(x))", "x[batch_size, n, d]", FREE)
    assert shape(model) == (b, n, d)
    assert model.cost().cache_memory == 2 * b * n * d
    assert table(model, "prefill").vector_flops == b * n * d
    assert table(model, "decode").vector_flops == 0


# --- elementwise work and norms


@pytest.mark.parametrize(
    ("keyword", "each"),
    {
        "relu": 1,
        "exp": 1,
        "tanh": 1,
        "softplus": 3,
        "sigmoid": 4,
        "silu": 5,
        "gelu": 8,
        "softmax": 5,
        "rope": 3,
        "rmsnorm": 4,
        "layernorm": 7,
    }.items(),
)
def test_work_an_element(keyword: str, each: int) -> None:
    model = forward(f"return {keyword}(x)", "x[batch_size, new_tokens, h, d]", FREE)
    assert shape(model, new_tokens=t) == (b, t, h, d)
    assert counted(model) == (0, each * b * t * h * d)


def test_norms_own_their_scale_over_the_last_axis() -> None:
    for call, params in (
        ("rmsnorm(x)", d),
        ("layernorm(x)", 2 * d),
        ("rmsnorm(x, affine=true)", d),
        ("rmsnorm(x, affine=false)", 0),
        ("layernorm(x, affine=false)", 0),
        ("layernorm(x, bias=false)", d),
        ("relu(x)", 0),
    ):
        model = forward(f"return {call}", "x[batch_size, h, d]", FREE)
        assert model.cost().params == params
        assert model.cost().bytes == 2 * params


@pytest.mark.parametrize("operator", ["+", "-", "*", "/"])
def test_numpys_broadcasting(operator: str) -> None:
    """1 vector FLOP an output element."""
    for inputs, wanted in (
        ("x[batch_size, h, d], y[batch_size, h, d]", (b, h, d)),
        ("x[batch_size, h, d], y[d]", (b, h, d)),
        ("x[d], y[batch_size, h, d]", (b, h, d)),
        ("x[batch_size, 1, d], y[h, 1]", (b, h, d)),
        ("x[1], y[d]", (d,)),
    ):
        model = forward(f"return x {operator} y", inputs, FREE)
        elements = 1
        for axis in wanted:
            elements = elements * axis
        assert shape(model) == wanted
        assert counted(model) == (0, elements)
    for inputs in ("x[d], y[h]", "x[d, 1], y[d, h, 2]", "x[3, 4], y[3]"):
        assert codes(f"{FREE} graph forward({inputs}) {{ return x {operator} y }}") == {"shape"}


def test_numbers_beside_tensors() -> None:
    for body in ("x * 2", "2 - x", "x / d", "-x", "n + x"):
        model = forward(f"return {body}", "x[batch_size, d]", FREE)
        assert shape(model) == (b, d)
        assert counted(model) == (0, b * d)
    # dims among themselves are no work of the model's
    model = forward("y = n * 2 + d ^ 2\nreturn x * (y / 2)", "x[batch_size, d]", FREE)
    assert counted(model) == (0, b * d)
    for body in ("x // 2", "x % 2", "x ^ 2", "true + x", "none * x"):
        assert codes(f"graph forward(x[4]) {{ return {body} }}") == {"type"}


# --- conv1d


def test_conv1d() -> None:
    """[b, t/stride, n]; 2·b·t/stride·k·in·n/groups; its weight is k·in/groups·n."""
    model = forward("return conv1d(x, kernel=k, out=e)", "x[batch_size, n, d]", FREE)
    assert shape(model) == (b, n, e)
    assert counted(model) == (2 * b * n * k * d * e, 0)
    assert model.cost().params == k * d * e
    strided = forward("return conv1d(x, kernel=3, out=6, stride=2, groups=2, bias=true)", "x[batch_size, 10, 4]", "")
    assert shape(strided) == (b, 5, 6)
    assert counted(strided)[0] == 2 * b * 5 * 3 * 4 * 6 / 2
    assert strided.cost().params == 3 * 2 * 6 + 6
    depthwise = forward("return conv1d(x, kernel=4, out=d, groups=d)", "x[batch_size, n, d]", FREE)
    assert counted(depthwise)[0] == 8 * b * n * d
    assert depthwise.cost().params == 4 * d
    assert depthwise.cost().cache_memory == 0
    for arguments in (
        "kernel=3, out=6, groups=4",
        "kernel=3, out=5, groups=2",
        "kernel=3, out=6, stride=3",
        "kernel=3",
    ):
        assert codes(f"graph forward(x[batch_size, 10, 6]) {{ return conv1d(x, {arguments}) }}")
    assert codes("graph forward(x[batch_size, 10]) { return conv1d(x, kernel=3, out=6) }") == {"shape"}


def test_a_causal_conv1d_keeps_its_last_columns() -> None:
    """A state of k-1 columns, of the dtype of `cache` unless it is written."""
    for arguments, kept in (
        ("kernel=4, out=d, causal=true", 3 * d * 2),
        ("kernel=k, out=e, causal=true", (k - 1) * d * 2),
        ('kernel=4, out=d, causal=true, dtype="fp32"', 3 * d * 4),
        ("kernel=1, out=d, causal=true", 0),
        ("kernel=4, out=d", 0),
    ):
        model = forward(f"return conv1d(x, {arguments})", "x[batch_size, new_tokens, d]", FREE)
        assert same(model.cost().cache_memory, b * kept)
        # read and written once a pass
        assert same(model.cost().bytes - model.cost().weight_memory, 2 * b * kept)
    fp8 = forward("return conv1d(x, kernel=4, out=d, causal=true)", top="dim d\ndtype cache = fp8")
    assert fp8.cost().cache_memory == 3 * b * d


# --- shapes


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("p, q = split(x, [d, e])\nreturn p", (b, t, d)),
        ("p, q = split(x, [d, e])\nreturn q", (b, t, e)),
        ("p, q, r = split(x, [d - 1, 1, e])\nreturn p", (b, t, d - 1)),
        ("return slice(x, 0, d)", (b, t, d)),
        ("return slice(x, d, d + e)", (b, t, e)),
        ("return slice(x, 2, 5)", (b, t, 3)),
        ("return concat(x, x)", (b, t, 2 * d + 2 * e)),
        ("return concat(x, x, axis=-1)", (b, t, 2 * d + 2 * e)),
        ("return concat(x, x, axis=2)", (b, t, 2 * d + 2 * e)),
        ("return concat(x, x, axis=1)", (b, 2 * t, d + e)),
        ("return concat(x, x, axis=-3)", (2 * b, t, d + e)),
        ("weight p[1, 1, n]\nreturn concat(x, p)", (b, t, d + e + n)),
        ("weight p[1, n, 1]\nreturn concat(p, x, axis=1)", (b, n + t, d + e)),
        ("return reshape(x, [1, d + e])", (b, t, 1, d + e)),
        ("return reshape(x, [d + e, 1, 1])", (b, t, d + e, 1, 1)),
        ("return reshape(x, [new_tokens * (d + e)])", (b, t * (d + e))),
        ("return reshape(x, [new_tokens, d + e])", (b, t, d + e)),
        ("return reshape(x, [batch_size * new_tokens, d + e])", (b * t, d + e)),
        ("return reshape(reshape(x, [1, d + e]), [d + e])", (b, t, 1, d + e)),
        ("return last(x)", (b, 1, d + e)),
        ("return last(x, n=n)", (b, n, d + e)),
        ("return last(x, new_tokens)", (b, t, d + e)),
        ("return last(slice(x, 0, d), 3)", (b, 3, d)),
    ],
)
def test_shapes_without_work(body: str, wanted: tuple[Expr, ...]) -> None:
    model = forward(body, "x[batch_size, new_tokens, d + e]", FREE)
    found = shape(model, new_tokens=t)
    assert len(found) == len(wanted)
    assert all(same(x, y) for x, y in zip(found, wanted, strict=True)), found
    assert counted(model) == (0, 0)


@pytest.mark.parametrize(
    "body",
    [
        "p, q = split(x, [2, 3]) return p",
        "p, q = split(x, [6, 0]) return p",
        "return slice(x, 0, 7)",
        "return slice(x, 3, 3)",
        "return slice(x, 0 - 1, 3)",
        "return concat(x, x, axis=2)",
        "return concat(x, reshape(x, [2, 3]))",
        "return concat(x, slice(x, 0, 2), axis=0)",
        "return reshape(x, [4])",
        "return reshape(x, [0])",
        "return reshape(x, [])",
        "return last(x, 7)",
    ],
)
def test_no_such_shapes(body: str) -> None:
    assert codes(f"graph forward(x[5, 6]) {{ {body} }}") <= {"shape", "axis", "argument", "type"}
    assert codes(f"graph forward(x[5, 6]) {{ {body} }}")


@pytest.mark.parametrize(
    ("call", "names"),
    [
        ("conv1d(x, kernel={}, out=6)", "kernel"),
        ("conv1d(x, kernel=3, out={})", "out"),
        ("conv1d(x, kernel=3, out=6, stride={})", "stride"),
        ("conv1d(x, kernel=3, out=6, groups={})", "groups"),
        ("cache(x, window={})", "window"),
        ("attention(q, q, q, window={})", "window"),
        ("last(x, {})", "n"),
    ],
)
def test_sizes_are_whole(call: str, names: str) -> None:
    """No kernel, stride, group or window is 0, less, or a fraction."""
    inputs = "x[batch_size, new_tokens, 6], q[batch_size, new_tokens, 1, 6]"
    text = f"dim none_at_all = 0 graph forward({inputs}) {{{{ return {{}} }}}}"
    for size in ("0", "0 - 1", "3 / 2", "none_at_all"):
        with refused(f"has a `{names}` of .*: a whole number, 1 or more, is needed"):
            _ = spec(text.format(call.format(size))).cost("prefill").flops
    assert codes(text.format(call.format("true"))) == {"type"}
    assert codes(text.format("slice(x, 1 / 2, 3 / 2)")) == {"argument"}
    if names != "n":
        assert codes(text.format(call.format("2"))) == set()


def test_a_causal_query_is_a_token_of_the_sequence() -> None:
    text = "graph forward(q[batch_size, 7, 1, 4], k[batch_size, 5, 1, 4]) {{ return attention(q, k, k{}) }}"
    assert codes(text.format("")) == set()
    assert codes(text.format(", causal=true")) == {"shape"}


def test_update_is_the_state() -> None:
    body = "state S[batch_size, n, d]\nreturn update(S, x)"
    model = forward(body, "x[batch_size, 1, d]", FREE)
    assert shape(model) == (b, n, d)
    assert counted(model) == (0, 0)


# --- route


def test_route() -> None:
    """The body's FLOPs k times, and 2·k·|result|; its weights exist E times; shapes as the body returns."""
    body = """
    weight Wr[d -> n], Wshared[d -> e]
    scores = softmax(matmul(x, Wr))
    y = route(x, scores, top_k=k) {
        weight W[d -> e]
        return relu(matmul(x, W))
    }
    return y + matmul(x, Wshared)
    """
    model = forward(body, top=FREE)
    assert shape(model, new_tokens=t) == (b, t, e)
    matmul, vector = counted(model)
    assert same(matmul, 2 * b * t * (d * n + k * d * e + d * e))
    assert same(vector, b * t * (5 * n + k * e + 2 * k * e + e))
    assert same(model.cost().params, d * n + n * d * e + d * e)
    assert same(model.cost().active_params, d * n + k * d * e + d * e)
    # T = b·t rows: of n experts n·(1 − (1 − k/n)^T) are expected to be read
    distinct = n * (1 - (1 - k / n) ** b)
    assert same(model.cost().bytes, 2 * (d * n + d * e + distinct * d * e))
    assert same(model.cost("prefill").bytes, 2 * (d * n + d * e + n * (1 - (1 - k / n) ** (b * s)) * d * e))


def test_parameters_belong_to_the_first_operation_that_takes_them() -> None:
    """In one turn of its region; a weight from outside a `repeat` counts as its share of a turn."""
    body = """
    weight W[d -> d]
    repeat 5 { x = matmul(x, W) x = rmsnorm(matmul(x, W)) }
    return route(x, experts=8, top_k=3) { weight A[d -> d, d] return matmul(x, A) }
    """
    rows = [r for r in table(forward(body, top="dim d = 4")).rows if r.node and r.node.keyword != "route"]
    value = table(forward(body, top="dim d = 4")).put_in
    assert [value(r.params) for r in rows] == [Rational(16, 5), 0, 4, 8 * 64]
    assert [value(r.active_params) for r in rows] == [Rational(16, 5), 0, 4, 3 * 64]
    assert [value(r.count) for r in rows] == [5, 5, 5, 1]


def test_the_expected_number_of_distinct_experts() -> None:
    """4 experts, 1 of them a row: 4·(1 − (3/4)^T)."""
    body = "return route(x, experts=4, top_k=1) { weight W[d -> d] return matmul(x, W) }"
    model = forward(body, top="dim d = 2")
    for batch, distinct in ((1, Fraction(1)), (2, Fraction(7, 4)), (3, Fraction(37, 16))):
        assert model.cost().evaluate(batch_size=batch).bytes == 8 * distinct
    assert model.cost("prefill").evaluate(batch_size=1, seq_len=2).bytes == 14
    # top_k of all of them reads all
    assert forward(body.replace("top_k=1", "top_k=4"), top="dim d = 2").cost().bytes == 32
    # rows are all but the last axis
    rows = forward(body, "x[batch_size, new_tokens, 3, d]", "dim d = 2")
    assert rows.cost().evaluate(batch_size=1).bytes == 8 * Fraction(37, 16)


@pytest.mark.parametrize(
    ("arguments", "active", "read"),
    [
        ("x, experts=n, top_k=k", k, n * (1 - (1 - k / n) ** b)),
        ("x, experts=n, top_k=k, distinct=n", k, n),
        ("x, experts=n, top_k=k, distinct=3", k, 3),
        ("x, experts=4, top_k=2, distinct=4", 2, 4),
        ("x, experts=n, top_k=k, distinct=none", k, n * (1 - (1 - k / n) ** b)),
        ("x, y, k", k, n * (1 - (1 - k / n) ** b)),
        ("x, top_k=5 / 4, experts=n", Fraction(5, 4), n * (1 - (1 - Rational(5, 4) / n) ** b)),
        ("x, experts=1, top_k=1 / 8", Fraction(1, 8), 1 - Rational(7, 8) ** b),
    ],
)
def test_how_a_route_is_asked_for(arguments: str, active: Expr, read: Expr) -> None:
    body = f"return route({arguments}) {{ weight W[d -> e] return matmul(x, W) }}"
    model = forward(body, "x[batch_size, new_tokens, d], y[batch_size, new_tokens, n]", FREE)
    experts = 1 if "experts=1" in arguments else 4 if "experts=4" in arguments else n
    assert same(counted(model)[0], 2 * b * t * active * d * e)
    assert same(counted(model)[1], 2 * active * b * t * e)
    assert model.cost().params == experts * d * e
    assert same(model.cost().active_params, active * d * e)
    assert same(model.cost().bytes, 2 * read * d * e)


@pytest.mark.parametrize(
    "arguments",
    ["x, top_k=1", "x, x, experts=4, top_k=1", "x, experts=4", "x, experts=4, top_k=5", "x, experts=4, top_k=0",
     "x, experts=4, top_k=1, distinct=5", "x, experts=4, top_k=1, distinct=0", "x, experts=0, top_k=1"],
)  # fmt: skip
def test_no_route(arguments: str) -> None:
    assert codes(f"graph forward(x[batch_size, 4]) {{ return route({arguments}) {{ return relu(x) }} }}") <= {
        "arguments",
        "argument",
        "axis",
    }
    assert codes(f"graph forward(x[batch_size, 4]) {{ return route({arguments}) {{ return relu(x) }} }}")


def test_routes_nest_and_repeat() -> None:
    body = """
    repeat 3 {
        x = route(x, experts=4, top_k=2) {
            y = route(x, experts=5, top_k=1) { weight W[d -> d] return matmul(x, W) }
            return y
        }
    }
    return x
    """
    model = forward(body, top="dim d = 2")
    assert model.cost().params == 3 * 4 * 5 * 4
    assert model.cost().active_params == 3 * 2 * 1 * 4
    assert model.cost().flops == 3 * 2 * 8 * b
    # the inner sum 2·1·|result| in each of the 2 runs, the outer 2·2·|result|
    assert table(model).vector_flops == 3 * (2 * 2 * 2 + 4 * 2) * b


def test_a_cache_in_a_route_is_kept_for_each_run() -> None:
    body = 'return route(x, experts=4, top_k=2) { k = cache(x) return einsum("b t d, b s d -> b t d", x, k) }'
    assert forward(body, top="dim d = 2").cost().cache_memory == 2 * 2 * b * s * 2


def test_an_own_op_is_an_operation_like_the_others() -> None:
    model = forward("return pool(x)", top="dim d = 4 op pool(x[b, t, d]) -> [b, d] { vector_flops = size(x) }")
    assert shape(model) == (b, 4)
    assert counted(model) == (0, 4 * b * t)
    with refused("takes `x` of 3 axes"):
        _ = spec("op pool(x[b, t, d]) -> [b, d] {} graph forward(x[batch_size, 4]) { return pool(x) }").cost().flops
