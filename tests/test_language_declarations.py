"""docs/language.md 1 and 2: how a spec is written, and what each declaration means. Figures are worked out by hand."""

from __future__ import annotations

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

import costmodel as cm

from .conftest import Done
from .language import b, codes, dims, faults, forward, holds, refused, s, same, shape, spec, t, table

LLAMA = """
model llama_3_1 "Llama 3.1"

dim hidden_size       = 4096   as "d_{model}"
dim num_heads         = 32
dim num_kv_heads      = 8
dim head_dim          = hidden_size / num_heads
dim intermediate_size = 14336
dim num_layers        = 32
dim vocab_size        = 128256

dtype weights = bf16
dtype cache   = bf16

block self_attention(x) {
    weight Wq[hidden_size -> num_heads, head_dim]
    weight Wk[hidden_size -> num_kv_heads, head_dim], Wv[hidden_size -> num_kv_heads, head_dim]
    weight Wo[num_heads, head_dim -> hidden_size]
    q = rope(matmul(x, Wq))
    k = cache(rope(matmul(x, Wk)))
    v = cache(matmul(x, Wv))
    return matmul(attention(q, k, v, causal=true), Wo)
}

block feed_forward(x, inner = intermediate_size) {
    weight Wgate[hidden_size -> inner], Wup[hidden_size -> inner], Wdown[inner -> hidden_size]
    return matmul(silu(matmul(x, Wgate)) * matmul(x, Wup), Wdown)
}

graph forward(tokens[batch_size, new_tokens]) {
    weight embedding[vocab_size -> hidden_size], unembedding[hidden_size -> vocab_size]
    x = lookup(tokens, embedding)
    repeat num_layers {
        x = x + self_attention(rmsnorm(x))
        x = x + feed_forward(rmsnorm(x))
    }
    return matmul(rmsnorm(x), unembedding)
}

variant "8b" { expect params == 8_030_261_248 "sum of the published tensor shapes" }
variant "70b" {
    hidden_size = 8192; num_heads = 64; num_layers = 80; intermediate_size = 28672
    expect params == 70_553_706_496
}
"""


# --- 1. by example


def test_the_first_example() -> None:
    result = cm.parse(LLAMA).check()
    assert result.ok
    assert [(e.variant, e.left) for e in result.expects] == [("8b", "8,030,261,248"), ("70b", "70,553,706,496")]
    model = cm.parse(LLAMA, "70b")
    assert (model.name, model.title) == ("<string>", "Llama 3.1 70B")
    assert model.dims["head_dim"] == 128
    assert model.dims["num_kv_heads"] == 8


def test_white_space_and_line_ends_do_not_matter() -> None:
    flat = " ".join(line.split("#")[0] for line in LLAMA.split())
    assert cm.parse(flat, "70b").cost().params == 70_553_706_496
    assert cm.parse(LLAMA.replace("\n", "\r\n"), "8b").cost().params == 8_030_261_248


def test_semicolons_may_separate_and_comments_end_with_their_line() -> None:
    text = ";dim d = 4; # dim d = 5\n;;graph forward(x[d]) { ; y = relu(x) ; ; return y; # return x\n };"
    assert spec(text).dims == {"d": 4}
    assert spec("dim d = 4 dim e = 5 graph forward(x[d]) { y = relu(x) return y }").dims == {"d": 4, "e": 5}


def test_a_unit_stands_on_the_line_of_its_number() -> None:
    assert spec("dim a = 1 dim B = 2").dims == {"a": 1, "B": 2}
    variants = 'dim a = 1 dim GB = 2 dim c = 3 variant "x" { a = 4 GB = 5 c = 6 }'
    assert spec(variants, "x").dims == {"a": 4, "GB": 5, "c": 6}
    # a name before `,`, `(` or `[` is no unit either, nor one on the next line
    body = "y = x * 2 p, q = split(y, [1, 3]) z = p * 2\nGB = q return z + last(GB)"
    assert shape(forward(body, top="dim d = 4")) == (b, 1, 3)
    assert codes("dim a = 4 GB") == {"syntax"}
    several = "weight A[d] : 4 bits, B2[d] : 3 bits C[d] : 5 bits\nreturn x + A + B2 + C"
    assert codes(f"dim d = 8 graph forward(x[d]) {{ {several} }}") == {"syntax"}
    assert forward(several.replace("bits C", "bits, C"), "x[d]", "dim d = 8").cost().weight_memory == 12
    body = "x = x * 2 weight w[d] x = x * 2 if d == 4 { x = x * 2 repeat 2 { x = x * 2 } } x = x + 2 return x * w"
    assert table(forward(body, top="dim d = 4")).vector_flops == 4 * b * (3 + 2 + 2)
    assert holds("weight_memory == 2 kB", "graph forward(x[1000]) { weight w[1000] return x + w }")


def test_there_are_no_bare_expression_statements() -> None:
    assert codes("graph forward(x[4]) { relu(x) return x }") == {"syntax"}


def test_names_numbers_and_strings() -> None:
    assert spec("dim _a1 = 1_000_000 dim B_ = 1.5e3 dim c = 2E+2 dim d = 40e-1").dims == {
        "_a1": 1_000_000,
        "B_": 1500,
        "c": 200,
        "d": 4,
    }
    assert codes("dim größe = 4") == {"syntax"}
    # kept for sharding
    assert codes("graph forward(x[4]) { return x @ x }") == {"syntax"}
    assert "syntax" in codes("dim a = 4 'doc'")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2 + 3 * 4 ^ 2 // 5", 11),
        ("10 - 3 - 2", 5),
        ("24 / 4 / 3", 2),
        ("7 / 2 * 2", 7),
        ("7 % 4 * 2", 6),
        ("-7 // 2 + 10", 6),
        ("-7 % 3", 2),
        ("-2 ^ 2 + 8", 4),
        ("2 ^ 3 ^ 2", 512),
        ("2 ^ -1 * 4", 2),
        ("--3", 3),
        ("(2 + 3) * 4", 20),
        ("min(3, 5, 2)", 2),
        ("max(3, 5)", 5),
        ("ceil(7 / 2)", 4),
        ("floor(7 / 2)", 3),
        ("min(4, 9) ^ max(1, 2) - ceil(1 / 3)", 15),
    ],
)
def test_operators(text: str, value: int) -> None:
    assert spec(f"dim a = {text}").dims == {"a": value}
    # the same where a figure is wanted only later, and for a repeat's count
    assert holds(f"params == {value}", f"graph forward(x[2]) {{ repeat {text} {{ weight w[1] x = x + w }} return x }}")


WORDS = (
    "as block device dim dtype else expect graph if mesh model op phase repeat return shared state use variant weight"
    " true false none lambda class None"
)


@pytest.mark.parametrize("word", WORDS.split())
def test_words_that_name_nothing(word: str) -> None:
    """No dim, block, weight, state or variable may have the name of a keyword, the language's or Python's."""
    places = (
        f"dim {word} = 3",
        f"block {word}(x) {{ return x }}",
        f"graph forward(x[2]) {{ weight {word}[2] return x }}",
        f"graph forward(x[2]) {{ state {word}[batch_size] return x }}",
        f"graph forward(x[2]) {{ {word} = relu(x) return x }}",
    )
    for place in places:
        assert codes(place) & {"reserved", "syntax"}, place


def test_words_are_free_as_arguments_names_and_behind_a_dot() -> None:
    text = """
    dim d = 4
    graph other(x[batch_size, d]) { weight W[d -> d] return matmul(x, W) }
    expect flops(phase="decode", graph="other", batch_size=3) == 96
    """
    assert spec(text).check().ok
    assert codes("dim d = 4 expect dim.graph == 1") == {"unknown-name"}


def test_a_specs_own_blocks_and_ops_hide_the_built_in_ones() -> None:
    block = forward("return gelu(x)", top="dim d\nblock gelu(x) { return x * 2 }")
    assert table(block).vector_flops == b * dims("d")[0]
    op = forward("return rope(x)", top="dim d\nop rope(x[b, t, c]) -> [b, t, c] { vector_flops = 100 * c }")
    assert table(op).vector_flops == 100 * dims("d")[0]


def test_quantities_are_free_names() -> None:
    text = "dim params = 4 graph forward(flops[batch_size, params]) { weight bytes[params] return flops + bytes }"
    assert holds("dim.params == 4", text)
    assert holds("params(params=7) == 7", text)


# --- 2. model, use


def test_model_names_the_spec_once_and_first() -> None:
    assert {f.code for f in faults('dim d = 4\nmodel late "Late"')} == {"syntax"}
    assert {f.code for f in faults("model one\nmodel two")} == {"duplicate"}
    assert cm.parse("dim d = 4").title == "<string>"


def write(folder: Path, **texts: str) -> None:
    for name, text in texts.items():
        path = folder / f"{name.replace('__', '/')}.arch"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def load(folder: Path, name: str = "main") -> cm.Model:
    return cm.load(str(folder / f"{name}.arch"))


def test_use_brings_in_blocks_ops_dims_and_devices(tmp_path: Path) -> None:
    write(
        tmp_path,
        parts="""
        dim width "left open" dim twice = 2 * width
        block wide(x) { weight W[width -> twice] return matmul(x, W) }
        op own(x[b, w]) -> [b, w] { matmul_flops = 7 * w }
        device here "Here" { memory = 1 GB; bandwidth = 1 GB/s; peak bf16 = 1 TFLOP/s }
        """,
        main="""
        model main
        use "parts.arch"
        dim width = 3
        graph forward(x[batch_size, width]) { return own(wide(x)) }
        expect params == 18
        expect flops(batch_size=1) == 2 * 3 * 6 + 7 * 6
        expect latency(batch_size=1, device="here") == 36e-9 s
        """,
    )
    assert load(tmp_path).check().ok
    # what the used file says of itself is its own affair
    write(tmp_path, parts="dim d = 4 graph forward(x[d]) { return relu(x) } dtype weights = fp8 expect params == 9")
    write(tmp_path, main='use "parts.arch" graph forward(x[d]) { weight W[d -> d] return matmul(x, W) }')
    assert load(tmp_path).cost().weight_memory == 32
    assert load(tmp_path).check().ok


def test_use_is_relative_to_the_file_then_to_the_shipped_specs(tmp_path: Path) -> None:
    write(
        tmp_path,
        main='model main use "parts/a.arch" use "blocks/feed_forward.arch"\n'
        "dim hidden_size = 2 dim intermediate_size = 3 graph forward(x[batch_size, hidden_size])"
        " { return feed_forward(one(x)) } expect params == 3 * 6 + 4",
        parts__a='use "b.arch"',
        parts__b="block one(x) { weight W[hidden_size -> hidden_size] return matmul(x, W) } dim hidden_size",
        b="block one(x) { return x }",
    )
    assert load(tmp_path).check().ok
    # up again, as long as it stays within
    write(tmp_path, parts__a='use "../b.arch" dim hidden_size')
    assert load(tmp_path).cost().params == 3 * 6
    write(tmp_path, parts__a='use "b.arch"')
    # a file of one's own goes before the shipped one
    write(tmp_path, blocks__feed_forward="block feed_forward(x) { return x } dim intermediate_size")
    assert load(tmp_path).cost().params == 4


def test_use_stays_within_its_roots(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    write(tmp_path, inside__main="use", outside="dim d = 4")
    (inside / "link.arch").symlink_to(tmp_path / "outside.arch")
    (inside / "folder.arch").mkdir()
    os.mkfifo(inside / "pipe.arch")
    for path in (
        str(tmp_path / "outside.arch"),
        "../outside.arch",
        "link.arch",
        "folder.arch",
        "pipe.arch",
        "none.arch",
    ):
        write(inside, main=f'use "{path}"')
        with refused("absolute|leaves|a folder|not a regular file|no such file"):
            load(inside)


def test_a_circle_of_files_shows_the_chain(tmp_path: Path) -> None:
    write(tmp_path, main='use "a.arch"', a='use "c.arch"', c='use "a.arch"')
    with refused(r"circle: .*a\.arch → .*c\.arch → .*a\.arch"):
        load(tmp_path)
    # to use a file twice is no circle
    write(tmp_path, main='use "a.arch" use "c.arch"', a='use "c.arch"', c="dim d = 4")
    assert load(tmp_path).dims == {"d": 4}


def test_a_name_defined_twice_shows_both_places(tmp_path: Path) -> None:
    for twice in (
        "dim d = 4",
        "block f(x) { return x }",
        "op f(x[n]) -> [n] {}",
        "device f { memory = 1 GB }",
        "weight f[4]",
    ):
        write(tmp_path, main=f'use "a.arch"\n{twice}', a=twice)
        with refused("twice") as caught:
            load(tmp_path)
        (fault,) = caught.value.diagnostics
        places = {Path(fault.span.source.name).stem, *(Path(label.span.source.name).stem for label in fault.others)}
        assert places == {"main", "a"}, twice
    # a dim that one of them leaves open is no second definition
    write(tmp_path, main='use "a.arch"\ndim d = 4', a="dim d")
    assert load(tmp_path).dims == {"d": 4}


# --- 2. dim


def test_a_dim_is_a_whole_number() -> None:
    assert spec("dim a = 0 dim b2 = 10 ^ 30").dims == {"a": 0, "b2": 10**30}
    for text in ("dim a = 7 / 2", "dim a = 0.5", "dim c = 7 dim a = c / 2"):
        with refused("`a` is .*/2, which is no whole number"):
            _ = spec(text).dims
    with refused("0 or more"):
        _ = spec("dim a = 3 - 4").dims
    with refused("10.30"):
        _ = spec("dim a = 10 ^ 30 + 1").dims
    (fault,) = faults("model sample dim heads = 5 dim size = 12 dim each = size / heads")
    assert fault.label == "2 and 2/5"
    assert fault.span is not None and fault.span.text == "size / heads"


def test_an_axis_is_one_or_more() -> None:
    for body in ("return relu(x)", "weight w[n] return x", "state S[batch_size, n] return x"):
        assert codes(f"dim n = 0 dim d = 4 graph forward(x[d]) {{ {body} }}") in (set(), {"axis"})
    assert codes("dim n = 0 graph forward(x[batch_size, n]) { return relu(x) }") == {"axis"}
    assert codes("dim n = 0 graph forward(x[4]) { weight w[n] return x }") == {"axis"}
    assert codes("dim n = 0 graph forward(x[4]) { state S[n] return x }") == {"axis"}
    assert codes("dim n = 3 graph forward(x[4]) { weight w[n / 2 -> 4] return x }") == {"axis"}


def test_a_dim_without_a_value_stays_in_every_result() -> None:
    (d,) = dims("d")
    model = forward("weight W[d -> 2 * d]\nreturn matmul(x, W)")
    cost = model.cost()
    assert cost.params == 2 * d**2
    assert cost.flops == 4 * b * d**2
    assert cost.weight_memory == 4 * d**2
    assert cost.evaluate(batch_size=1, d=3).flops == 36
    assert model["d"] is d


def test_the_order_of_dims_does_not_matter_and_a_circle_is_an_error() -> None:
    assert spec("dim a = c + 1 dim c = e * 2 dim e = 4").dims == {"a": 9, "c": 8, "e": 4}
    with refused("computed from itself"):
        _ = spec("dim a = a + 1").dims
    with refused("in a circle: `a` → `c` → `a`|in a circle: `c` → `a` → `c`"):
        _ = spec("dim a = c dim c = a").dims


DERIVED = 'dim hidden = 12 dim heads = 3 dim size = hidden / heads variant "wide" { hidden = 24 }'


def test_a_derived_dim_follows_unless_it_is_set_itself() -> None:
    assert spec(DERIVED).dims["size"] == 4
    assert spec(DERIVED, "wide").dims["size"] == 8
    assert spec(DERIVED, "wide").set(heads=4).dims["size"] == 6
    assert spec(DERIVED).set(size=5, hidden=24).dims == {"hidden": 24, "heads": 3, "size": 5}
    assert spec(DERIVED + ' variant "own" { size = 7 hidden = 48 }', "own").dims["size"] == 7
    assert spec(DERIVED).set(hidden="heads * 7").dims["size"] == 7
    # what is asked last holds
    assert spec(DERIVED).set(heads=4).set(heads=6).dims["size"] == 2


def test_free_forgets_values() -> None:
    hidden, heads, size = dims("hidden heads size")
    model = spec(DERIVED)
    assert model.free("hidden").dims == {"heads": 3, "size": hidden / 3}
    assert model.free("size").dims == {"hidden": 12, "heads": 3}
    assert model.free("all").dims == {"size": hidden / heads}
    assert model.free("all", "size").dims == {}
    # one after the other, and set again
    assert model.free("hidden").free("heads").dims == {"size": hidden / heads}
    assert model.free("hidden", "size").set(hidden=6).dims == {"hidden": 6, "heads": 3}
    assert model.free("all").set(heads=2).dims == {"heads": 2, "size": hidden / 2}
    with refused("no dim `head` to free"):
        model.free("head")
    del size


def test_free_all_leaves_what_an_if_reads() -> None:
    text = """
    dim kind = 1 dim tied = kind - 1 dim d = 4
    graph forward(x[batch_size, d]) { weight W[d -> d] if tied == 1 { x = relu(x) } return matmul(x, W) }
    """
    model = spec(text).free("all")
    assert model.dims == {"kind": 1, "tied": 0}
    assert model.compiled.read_by_if == {"kind", "tied"}
    with refused("`if` cannot be decided: `tied` has no value"):
        _ = spec(text).free("tied").cost().flops


def test_free_all_says_what_it_leaves(cli: Callable[..., Done], tmp_path: Path) -> None:
    write(
        tmp_path,
        main="dim tied = 1 dim d = 4 graph forward(x[batch_size, d]) { if tied == 1 { x = relu(x) } return x }",
    )
    done = cli("formula", str(tmp_path / "main.arch"), "--of", "vector_flops", "--free", "all", "--flat")
    assert done.status == 0
    assert "`--free all` leaves `tied`, which an `if` reads" in done.err
    assert "batch_size · d" in done.out
    assert "leaves" not in cli("formula", str(tmp_path / "main.arch"), "--free", "d").err


def test_the_workload_has_symbols_of_its_own(cli: Callable[..., Done], tmp_path: Path) -> None:
    """b, s and t unless `dim batch_size as "B"` says otherwise."""
    body = "graph forward(x[batch_size, new_tokens, d]) { weight W[d -> d] k = cache(x) return matmul(x, W) }"
    for said, symbols in (("", "bs"), ('dim batch_size as "B" dim seq_len as "S"', "BS")):
        write(tmp_path, main=f'{said} dim d = 4 as "d" {body}')
        path = str(tmp_path / "main.arch")
        done = cli("formula", path, "--of", "cache_memory", "--flat", "--format", "latex", "--free", "all")
        assert done.status == 0
        for symbol in symbols:
            assert f" {symbol}" in done.out, done.out


def test_the_workload_is_built_in() -> None:
    for name in ("batch_size", "seq_len", "new_tokens"):
        assert codes(f"dim {name} = 4") == {"argument"}
        assert codes(f'variant "x" {{ {name} = 4 }}') == {"argument"}
    model = spec('dim batch_size as "B" "sequences at once" graph forward(x[batch_size]) { return relu(x) }')
    assert table(model).vector_flops == b
    with refused("part of the workload"):
        model.set(batch_size=4)


def test_new_tokens_are_part_of_the_context() -> None:
    model = forward("weight W[d -> d]\nreturn matmul(x, W)", top="dim d = 4\nphase verify { new_tokens = 5 }")
    assert model.cost("verify").evaluate(batch_size=1, seq_len=5).flops == 5 * 32
    for cost in (model.cost("verify"), model.cost(new_tokens=5)):
        with refused("5 new tokens do not fit in a context of 4"):
            _ = cost.evaluate(batch_size=1, seq_len=4).flops
    with refused("5 new tokens do not fit in a context of 4"):
        model.crossover("h100-sxm", seq_len=4, phase="verify")
    with refused("5 new tokens do not fit in a context of 4"):
        holds("flops(new_tokens=5, seq_len=4, batch_size=1) == 160", "dim d = 4" + FLAT)


FLAT = "\ngraph forward(x[batch_size, new_tokens, d]) { weight W[d -> d] return matmul(x, W) }"


@pytest.mark.parametrize(
    "text",
    ["d", "d_{model}", r"\alpha", r"n_{\text{kv}}^{2}", r"\hat{x}'", r"\mathcal{L}_{a,b}", r"\tilde{\bar{\Omega}}"],
)
def test_a_latex_symbol(text: str) -> None:
    assert spec(f'dim a = 1 as "{text}"').dims == {"a": 1}


@pytest.mark.parametrize(
    "text",
    ["", "d_{model", "}", r"\input{x}", "a b", "$x$", "a & b", "x_", "_x", "{}", r"\text{\alpha}", "a%b", "é", r"\def"],
)
def test_no_latex_symbol(text: str) -> None:
    assert codes(f'dim a = 1 as "{text}"') == {"latex"}


# --- 2. dtype


@pytest.mark.parametrize(
    ("dtype", "eighths"),
    [
        ("fp64", 64),
        ("fp32", 32),
        ("tf32", 32),
        ("bf16", 16),
        ("fp16", 16),
        ("fp8", 8),
        ("int8", 8),
        ("fp4", 4),
        ("int4", 4),
        ("mxfp4", Fraction("4.25")),
        ("nvfp4", Fraction("4.5")),
        ("6 bits", 6),
        ("1.58 bits", Fraction("1.58")),
    ],
)
def test_a_dtype_in_every_role_and_place(dtype: str, eighths: int | Fraction) -> None:
    body = """
    weight W[d -> d]
    state S[batch_size, 1, d]
    k = cache(x)
    y = einsum("b t d, b s d -> b t d", x, k)
    return matmul(update(S, last(y)), W)
    """
    each = Fraction(eighths) / 8
    model = forward(body, top="dim d = 8", inputs="x[batch_size, new_tokens, d]")
    assert model.cost().weight_memory == 128
    assert model.set(**{"dtype.weights": dtype}).cost().weight_memory == 64 * each
    assert same(model.set(**{"dtype.cache": dtype}).cost().cache_memory, each * (8 * b * s + 8 * b))
    own = body.replace("W[d -> d]", f"W[d -> d] : {dtype}").replace(
        "S[batch_size, 1, d]", f"S[batch_size, 1, d] : {dtype}"
    )
    own = own.replace("cache(x", f'cache(x, dtype="{dtype}"')
    written = forward(own, top="dim d = 8\ndtype weights = fp64\ndtype cache = fp64").set(
        **{"dtype.weights": "fp32", "dtype.cache": "fp32"}
    )
    assert written.cost().weight_memory == 64 * each
    assert same(written.cost().cache_memory, each * (8 * b * s + 8 * b))


def test_dtypes_by_default_and_by_who_spoke_last() -> None:
    text = 'dim d = 4\ndtype weights = fp8\nvariant "x" { dtype weights = int4 }' + FLAT
    assert spec("dim d = 4" + FLAT).cost().weight_memory == 32
    assert spec(text).cost().weight_memory == 16
    assert spec(text, "x").cost().weight_memory == 8
    assert spec(text, "x").set(**{"dtype.weights": "fp32"}).cost().weight_memory == 64
    assert codes("dtype caches = fp8") == {"unknown-name"}
    assert codes("dtype cache = fp9") == {"unknown-name"}
    assert codes("dtype cache = 0 bits") == {"argument"}
    assert codes("dtype cache = fp8 dtype cache = fp8") == {"duplicate"}


def test_activations_and_what_the_matmuls_compute_in() -> None:
    """A matmul reads 4·b and writes 4·b values, and computes in the dtype of its activations unless that is said."""
    text = (
        "dim d = 4\ndevice here { memory = 1 GB bandwidth = 1 GB/s peak bf16 = 1 TFLOP/s peak fp8 = 2 TFLOP/s }" + FLAT
    )
    assert same(spec(text).cost(fidelity="traffic").bytes, 32 + 16 * b)
    assert same(spec(text + "\ndtype activations = fp8").cost(fidelity="traffic").bytes, 32 + 8 * b)
    assert same(spec(text).cost(device="here").compute_time, 32 * b / Fraction(10**12))
    assert same(spec(text + "\ndtype activations = fp8").cost(device="here").compute_time, 16 * b / Fraction(10**12))
    both = text + "\ndtype activations = fp8 dtype compute = bf16"
    assert same(spec(both).cost(device="here").compute_time, 32 * b / Fraction(10**12))
    weights = text + "\ndtype weights = fp8"
    assert same(spec(weights).cost(device="here").compute_time, 32 * b / Fraction(10**12))
    with refused("no peak for fp32"):
        _ = spec(text).set(**{"dtype.compute": "fp32"}).cost(device="here").compute_time


# --- 2. block, weight


def test_a_block_is_a_function() -> None:
    top = """
    dim d = 4 dim inner = 8
    block twice(x, y, inner = inner, scale = none, gated = false) {
        weight W[d -> inner]
        z = matmul(x, W) + matmul(y, W)
        if gated == true { z = silu(z) }
        if scale != none { z = z * scale }
        return z
    }
    """
    assert table(forward("return twice(x, x)", top=top)).vector_flops == 8 * b
    assert shape(forward("return twice(x, x, 6)", top=top)) == (b, 1, 6)
    named = forward("weight g[5]\nreturn twice(y=relu(x), gated=true, x=x, inner=5, scale=g)", top=top)
    # relu 4, + 5, silu 25, * 5
    assert table(named).vector_flops == 39 * b
    assert named.cost().params == 20 + 5
    assert codes(top + "graph forward(x[batch_size, d]) { return twice(x) }") == {"arguments"}
    assert codes(top + "graph forward(x[batch_size, d]) { return twice(x, x, 2, none, true, x) }") == {"arguments"}
    assert codes(top + "graph forward(x[batch_size, d]) { return twice(x, x, width=2) }") == {"arguments"}
    assert codes(top + "graph forward(x[batch_size, d]) { return twice(x, x=x, y=x) }") == {"arguments"}


def test_a_default_is_read_outside_the_block() -> None:
    """`d = d` is the dim's value; another parameter of the call is not seen."""
    top = "dim d = 4 dim e = 2 block wide(x, d = d, e = d) { weight W[4 -> e] return matmul(x, W) }"
    assert shape(forward("return wide(x)", top=top)) == (b, 1, 4)
    assert shape(forward("return wide(x, d=3)", top=top)) == (b, 1, 4)


def test_two_results() -> None:
    top = "dim d = 6 block cut(x) { p, q = split(x, [2, 4]) return q, p }"
    assert shape(forward("p, q = cut(x)\nreturn concat(q, q)", top=top)) == (b, 1, 4)
    assert codes(top + "graph forward(x[batch_size, d]) { p = cut(x) return p }") == {"results"}
    assert codes(top + "graph forward(x[batch_size, d]) { p, q, r = cut(x) return p }") == {"results"}
    assert codes(top + "graph forward(x[batch_size, d]) { p, q = relu(x) return p }") == {"results"}


def test_a_block_sees_its_parameters_the_dims_and_top_level_weights() -> None:
    top = "dim d = 4 weight g[d] block f(x) { return x * g }"
    assert table(forward("y = relu(x)\nreturn f(y)", top=top)).vector_flops == 8 * b
    assert codes(f"dim d = 4 block f(x) {{ return x + y }} {FLAT.replace('W[d -> d]', 'y[d]')}") == {"unknown-name"}
    assert codes("dim d = 4 graph forward(x[d]) { y = x return f(x) } block f(x) { return y }") == {"unknown-name"}


def test_a_block_is_never_recursive() -> None:
    assert codes("block f(x) { return f(x) }") == {"recursion"}
    assert codes("block f(x) { return g(x) } block g(x) { return f(x) }") == {"recursion"}


def test_each_call_has_weights_of_its_own_and_a_shared_block_has_them_once() -> None:
    body = 'weight W[d -> d]\nk = cache(matmul(x, W))\nreturn einsum("b t d, b s d -> b t d", x, k)'
    for word, copies in (("block", 8), ("shared block", 1)):
        top = f"dim d = 4 {word} f(x) {{ {body} }} block g(x) {{ return f(f(x)) }}"
        model = forward("x = f(g(x))\nrepeat 5 { x = f(x) }\nreturn x", top=top)
        assert model.cost().params == 16 * copies
        # caches are each call's own: 8 calls
        assert model.cost().cache_memory == 8 * (8 * b * s)
    # norms and convolutions in it, too, and blocks that it calls
    inner = "dim d = 4 block inner(x) { return layernorm(x) }"
    top = inner + " shared block f(x) { repeat 3 { x = inner(rmsnorm(x)) } return x }"
    assert forward("return f(f(x))", top=top).cost().params == 3 * (4 + 8)


def test_a_shared_block_is_shared_among_graphs_and_experts() -> None:
    text = """
    dim d = 4
    shared block f(x) { weight W[d -> d] return matmul(x, W) }
    graph forward(x[batch_size, new_tokens, d]) { y = route(x, experts=8, top_k=2) { return f(x) } return y }
    graph draft(x[batch_size, new_tokens, d]) { repeat 3 { x = f(x) } return x }
    """
    assert spec(text).cost().params == 16
    assert spec(text).cost().active_params == 16
    assert spec(text).cost(graph="draft").weight_memory == 32


def test_a_shared_block_wants_one_shape() -> None:
    text = "dim d = 4 shared block f(x, n) { weight W[d -> n] return matmul(x, W) }"
    assert codes(text + "graph forward(x[batch_size, d]) { return f(f(x, 4), 4) }") == set()
    assert codes(text + "graph forward(x[batch_size, d]) { return f(f(x, 4), 5) }") == {"shared"}


def test_a_weight_at_top_level_is_stored_once() -> None:
    text = """
    dim d = 4
    weight W[d -> d], g[d] : fp32
    block f(x) { return matmul(x, W) * g }
    graph forward(x[batch_size, new_tokens, d]) { x = f(f(x)) repeat 7 { x = matmul(x, W) } return x }
    graph other(x[batch_size, new_tokens, d]) { return f(x) }
    """
    for graph in ("forward", "other"):
        assert spec(text).cost(graph=graph).params == 20
        assert spec(text).cost(graph=graph).weight_memory == 2 * 16 + 4 * 4
    # forward reads W in its own body and in 7 turns, g in its own body
    assert spec(text).cost().bytes == 8 * 32 + 16
    assert spec(text).cost(graph="other").bytes == 32 + 16


# --- 2. op


OP = """
dim h = 5 dim chunk = 4
op scan(x[b, t, h, p], y[b, t, h], k = 3, z[b, t] = none) -> [b, t, p * 2] {
    weight A[h], D[p] : fp32
    state S[b, h, p] : fp32
    if t == 1 { matmul_flops = 2 * b * h * p }
    else {
        chunks = ceil(t / chunk)
        matmul_flops = b * chunks * h * k
    }
    vector_flops = 8 * size(x) + bytes(y)
}
"""


def test_an_op_binds_the_axes_of_its_arguments() -> None:
    model = forward("return scan(x, y)", inputs="x[batch_size, new_tokens, 6, 7], y[batch_size, new_tokens, 6]", top=OP)
    assert shape(model) == (b, 1, 14)
    # h is 6 here, not the dim's 5: in decode the arm of t = 1
    assert table(model).matmul_flops == 2 * b * 42
    assert table(model).vector_flops == 8 * 42 * b + 12 * b
    # 10 new tokens are ceil(10/4) = 3 chunks
    assert table(model, new_tokens=10).matmul_flops == b * 3 * 6 * 3
    assert model.cost().params == 6 + 7
    assert model.cost().weight_memory == 12 + 28
    assert model.cost().cache_memory == 4 * 42 * b
    # fidelity cache: weights once, the state twice
    assert same(model.cost().bytes, 40 + 2 * 4 * 42 * b)
    # traffic: inputs and output too
    assert same(model.cost(fidelity="traffic").bytes, 40 + 8 * 42 * b + 2 * b * (42 + 6 + 14))


def test_an_op_in_prefill_takes_the_other_arm() -> None:
    model = forward(
        "return scan(x, y, k=9)", inputs="x[batch_size, new_tokens, 6, 7], y[batch_size, new_tokens, 6]", top=OP
    )
    assert model.cost("prefill").evaluate(batch_size=2, seq_len=9).matmul_flops == 2 * 3 * 6 * 9


def test_an_op_checks_its_patterns() -> None:
    head = "dim d = 4" + OP.strip("\n").join("\n\n")
    for inputs in (
        "x[batch_size, new_tokens, 6], y[batch_size, new_tokens, 6]",
        "x[batch_size, new_tokens, 6, 7], y[batch_size, new_tokens, 5]",
    ):
        assert codes(f"{head} graph forward({inputs}) {{ return scan(x, y) }}") == {"shape"}
    fixed = "op f(x[b, 4, c], y[b, 2 * c]) -> [b] {}"
    assert codes(f"{fixed} graph forward(x[3, 4, 5], y[3, 10]) {{ return f(x, y) }}") == set()
    assert codes(f"{fixed} graph forward(x[3, 5, 5], y[3, 10]) {{ return f(x, y) }}") == {"shape"}
    assert codes(f"{fixed} graph forward(x[3, 4, 5], y[3, 11]) {{ return f(x, y) }}") == {"shape"}


def test_an_op_states_the_bytes_that_it_moves() -> None:
    """Bytes not assigned are those of inputs and outputs, weights read, states read and written."""
    head = "op f(x[b, t, c]) -> [b, t, 2 * c] { weight W[c] state S[b, c] matmul_flops = 1"
    for assigned, moved in (
        # in 2·4·b, out 2·8·b, W 8, S read and written 2·8·b
        ("", 8 + 8 * b + 16 * b + 16 * b),
        ("read_bytes = 3 * size(x)", 12 * b + 16 * b + 8 * b),
        ("write_bytes = bytes(x) / 2", 8 + 8 * b + 8 * b + 4 * b),
        ("read_bytes = 0 write_bytes = 0", 0),
        ("read_bytes = 5 write_bytes = c", 9),
    ):
        model = forward("return f(x)", top=f"dim d = 4 {head} {assigned} }}")
        assert same(model.cost(fidelity="traffic").bytes, moved), assigned
        assert same(model.cost().bytes, 8 + 16 * b), assigned


def test_flops_that_an_op_does_not_assign_are_none() -> None:
    model = forward(
        "return f(x)", top="dim d = 4 dim vector_flops = 9 dim read_bytes = 7 op f(x[b, t, c]) -> [b, t, c] {}"
    )
    assert table(model, fidelity="traffic").flops == 0
    assert model.cost(fidelity="traffic").bytes == 16 * b


def test_an_ops_body_has_locals_and_no_calls() -> None:
    top = """
    dim d = 4
    op f(x[b, t, c], deep = false) -> [b, t, c] {
        n = c ^ 2
        m = n + 1
        if deep == true { m = m * 2 }
        matmul_flops = m
    }
    """
    assert table(forward("return f(f(x), deep=true)", top=top)).matmul_flops == 17 + 34
    assert codes("op f(x[b]) -> [b] { y = relu(x) }") == {"syntax"}
    assert codes("op f(x[b]) -> [b] { repeat 2 { n = 1 } }") == {"syntax"}
    assert codes("op f(x[b]) -> [b] { return x }") == {"syntax"}
    assert codes("op f(x[b]) -> [b] { matmul_flops = size(n) }") == {"unknown-name"}
    assert codes("op f(x[b]) -> [b] { matmul_flops = -b } graph forward(x[3]) { return f(x) }") == {"negative"}


# --- 2. graph, phase, variant

SEVERAL = """
dim d = 4 dim patches = 9
shared block common(x) { weight C[d -> d] return matmul(x, C) }
graph forward(x[batch_size, new_tokens, d]) { weight W[d -> d] return common(matmul(x, W)) }
graph vision(x[batch_size, patches, d]) { weight V[d -> 2 * d] return matmul(common(x), V) }
phase verify { new_tokens = 5 }
phase tile of vision { patches = 18 }
"""


def test_params_are_over_all_graphs() -> None:
    for graph in ("forward", "vision"):
        assert spec(SEVERAL).cost(graph=graph).params == 16 + 16 + 32
        assert spec(SEVERAL).cost(graph=graph).active_params == 64
        assert spec(SEVERAL).cost(graph=graph).weight_memory == 128
    # but each pass reads its own
    assert spec(SEVERAL).cost().bytes == 64
    assert spec(SEVERAL).cost(graph="vision").bytes == 96
    assert spec(SEVERAL).cost().flops == 64 * b
    with refused("no graph `audio`"):
        _ = spec(SEVERAL).cost(graph="audio").flops


def test_forward_is_the_default_graph() -> None:
    with refused("no graph `forward`"):
        _ = spec("dim d = 4 graph other(x[d]) { return relu(x) }").cost().flops


def test_phases_name_a_way_to_run_a_graph() -> None:
    model = spec(SEVERAL)
    assert model.cost("decode").flops == 64 * b
    assert model.cost("prefill").flops == 64 * b * s
    assert model.cost("verify").flops == 5 * 64 * b
    assert model.cost("decode", new_tokens=7).flops == 7 * 64 * b
    # a graph without new tokens costs the same in every phase
    for phase in ("decode", "prefill"):
        assert model.cost(phase, graph="vision").flops == 9 * (32 + 64) * b


def test_a_phase_of_another_graph_may_set_any_dim() -> None:
    text = SEVERAL
    assert spec(text).cost("tile").flops == 18 * (32 + 64) * b
    assert spec(text).cost("tile", graph="vision").flops == 18 * (32 + 64) * b
    with refused("of graph `vision`"):
        _ = spec(text).cost("tile", graph="forward").flops
    with refused("of graph `forward`"):
        _ = spec(text).cost("verify", graph="vision").flops
    with refused("no phase `verfiy`.*|`verify` is near"):
        _ = spec(text).cost("verfiy").flops
    assert codes("phase x of y { }") == {"unknown-name"}
    assert codes("phase x { d = 4 }") == {"unknown-name"}
    assert codes("dim d phase x { d = 4 d = 5 }") == {"duplicate"}


def test_a_spec_may_replace_a_built_in_phase() -> None:
    text = "dim d = 4 dim chunk = 512 phase prefill { new_tokens = chunk } phase decode { new_tokens = 2 }" + FLAT
    assert spec(text).cost("prefill").flops == 512 * 32 * b
    assert spec(text).cost("decode").flops == 2 * 32 * b
    # of another graph it leaves forward's alone
    text = SEVERAL + "phase decode of vision { patches = 3 }"
    assert spec(text).cost("decode", graph="vision").flops == 3 * 96 * b
    assert spec(text).cost("decode", graph="forward").flops == 64 * b


def test_a_variant_changes_dims_and_dtypes() -> None:
    text = 'dim d = 4 dim e = d variant "wide" { d = 8 dtype weights = fp8 expect params == 64 }' + FLAT
    assert spec(text, "wide").cost().weight_memory == 64
    assert spec(text, "wide").dims == {"d": 8, "e": 8}
    assert spec(text).check().ok
    with refused("no variant `wild`"):
        spec(text, "wild")
    assert codes('variant "x" { d = 4 }') == {"unknown-name"}
    assert codes('variant "x" { } variant "x" { }') == {"duplicate"}


# --- 2. expect


@pytest.mark.parametrize(
    ("condition", "ok"),
    [
        ("params == 16", True),
        ("params == 17", False),
        ("params <= 16", True),
        ("params <= 15", False),
        ("params < 17", True),
        ("params < 16", False),
        ("params >= 16", True),
        ("params >= 17", False),
        ("params > 15", True),
        ("params > 16", False),
        ("16 == params", True),
        ("params + dim.d == 20", True),
        ("params / d ~= 4", True),
        ("2 * params ^ 2 // 100 == 5", True),
        ("flops(batch_size=2) == 4 * params", True),
        ("flops == 2 * batch_size * params", True),
        ("flops == 3 * batch_size * params", False),
        ("weight_memory == 32 B", True),
        ("weight_memory == 32", True),
        ("weight_memory == 2 * params", True),
        ('flops(phase="prefill", batch_size=1, seq_len=3) == 96', True),
        ("max(params, 20) == 20", True),
        ("params(d=5) == 25", True),
        ("params(d=5) == dim.d ^ 2", False),
    ],
)
def test_an_expect(condition: str, ok: bool) -> None:
    assert holds(condition, "dim d = 4" + FLAT) is ok


@pytest.mark.parametrize(
    ("written", "low", "high"),
    [
        # 3 digits: 10^7 is 1 in the last place
        ("8.03e9", 8_025_000_000, 8_034_999_999),
        # zeros before an exponent are not counted: 1 digit
        ("800e6", 750_000_000, 849_999_999),
        ("8.0e8", 750_000_000, 849_999_999),
        # written out, every digit counts
        ("800", 800, 800),
        ("800_000_000", 800_000_000, 800_000_000),
        ("8.03 GB", 8_025_000_000, 8_034_999_999),
        ("80 GB", 79_500_000_000, 80_499_999_999),
        ("1.5 KiB", 1485, 1587),
    ],
)
def test_about(written: str, low: int, high: int) -> None:
    """Agree when rounded to the significant digits written, a five up."""
    text = "dim n graph forward(x[batch_size]) { weight w[n] : 8 bits return x }"
    for value, ok in ((low - 1, False), (low, True), (high, True), (high + 1, False)):
        model = spec(text.replace("dim n", f"dim n = {value}") + f"\nexpect weight_memory ~= {written}")
        assert model.check().ok is ok, value
        assert holds(f"{written} ~= weight_memory", text.replace("dim n", f"dim n = {value}")) is ok


def test_an_expect_holds_for_the_base_and_for_every_variant() -> None:
    text = 'dim d = 4 variant "a" { d = 5 } variant "b2" { d = 6 expect params == 36 }' + FLAT
    assert [e.ok for e in spec(text + " expect params <= 25").check().expects] == [True, True, False, True]
    assert [e.ok for e in spec(text + " expect params <= 36").check().expects] == [True, True, True, True]
    assert [e.ok for e in spec(text + " expect params <= 25", "a").check().expects] == [True]


def test_an_expect_compares_what_can_be_compared() -> None:
    flat = "dim d = 4" + FLAT
    assert codes(flat + " expect weight_memory == 2 s") == {"dimension"}
    assert codes(flat + " expect flops == 2 GB") == {"dimension"}
    assert codes(flat + " expect weight_memory == 2 Gb") == {"unknown-name"}
    assert codes(flat + " expect parms == 2") == {"unknown-name"}
    assert codes(flat + " expect params(batch=2) == 2") == {"unknown-name"}
    assert codes(flat + " expect latency == 2") == {"device"}
    # what cannot be told for all values is not taken to hold
    assert not holds("flops <= 1000", flat)
    assert holds("flops(batch_size=1) <= 1000", flat)


@pytest.mark.parametrize("graph", ["graph g(x[4]) { return x }", "graph g(x[batch_size, new_tokens, 4]) { return x }"])
def test_the_first_argument_of_a_tensor_is_its_shape(graph: str) -> None:
    assert codes(graph) == set()
    del graph


def test_new_tokens_left_open() -> None:
    assert same(table(spec("dim d = 4" + FLAT), new_tokens=t).flops, 32 * b * t)
