"""docs/language.md 3: tensors, statements and scopes. Figures are worked out by hand."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

import costmodel as cm

from .language import b, codes, dims, faults, forward, holds, refused, row, s, same, shape, spec, table

FLAT = "\ngraph forward(x[batch_size, new_tokens, d]) { weight W[d -> d] return matmul(x, W) }"


def warnings(model: cm.Model) -> list[str]:
    result = model.check()
    assert not result.errors, result.errors[0].message
    return [warning.message for warning in result.warnings]


# --- tensors


def test_the_arrow_says_which_axes_a_matmul_contracts() -> None:
    model = forward(
        "weight W[d, e -> f, g]\nreturn matmul(x, W)", "x[batch_size, new_tokens, d, e]", "dim d dim e dim f dim g"
    )
    d, e, f, g = dims("d e f g")
    assert shape(model) == (b, 1, f, g)
    assert model.cost().params == d * e * f * g
    assert model.cost().flops == 2 * b * d * e * f * g
    assert codes("dim d = 4 graph forward(x[3, d]) { weight W[d] return matmul(x, W) }") == {"shape"}
    assert codes("dim d = 4 graph forward(x[3, d]) { weight W[2 * d -> d] return matmul(x, W) }") == {"shape"}
    assert codes("dim d = 4 graph forward(x[3, d]) { return matmul(x, x) }") == {"shape"}


def test_a_transposed_weight_is_the_same_one() -> None:
    """Tied embeddings: stored once, counted once; 2·d·v FLOPs a token, from [d] back to [v]."""
    body = "weight E[v -> d]\nx = lookup(ids, E)\nreturn matmul(x, E.T)"
    model = forward(body, "ids[batch_size, new_tokens]", "dim v dim d")
    d, v = dims("d v")
    assert shape(model) == (b, 1, v)
    assert model.cost().params == v * d
    assert model.cost().weight_memory == 2 * v * d
    assert model.cost().bytes == 2 * v * d
    assert model.cost().flops == 2 * b * d * v
    # at `traffic` the lookup reads its rows, the matmul the whole; ids and rows, x and logits move
    assert same(model.cost(fidelity="traffic").bytes, 2 * (b * d + v * d) + 2 * (b + b * d) + 2 * (b * d + b * v))
    # both sides swap, whatever their number; twice is nothing
    two = forward("weight W[d, e -> f]\nreturn matmul(x, W.T)", "x[batch_size, f]", "dim d dim e dim f")
    assert shape(two) == (b, *dims("d e"))
    assert codes("dim d = 4 graph forward(x[d]) { weight g[d] return x + g.T }") == {"type"}
    assert codes("dim d = 4 graph forward(x[d]) { return x.T }") == {"type"}
    assert codes("dim d = 4 graph forward(x[d]) { weight W[d -> d] return matmul(x, W.H) }") == {"syntax"}


def test_a_state_is_kept_read_and_written() -> None:
    model = forward(
        """
        state S[batch_size, d, n] : fp32
        S2 = update(S, S * 2)
        return einsum("b t d, b d n -> b t n", x, S2)
        """,
        top="dim d = 4 dim n = 6",
    )
    assert shape(model) == (b, 1, 6)
    assert model.cost().cache_memory == 4 * 24 * b
    assert model.cost().params == 0
    # all of it read and written, however many use it
    assert model.cost().bytes == 2 * 4 * 24 * b
    # at `traffic`: S * 2 reads it, update writes it, the einsum reads it again and moves x and its result
    assert same(model.cost(fidelity="traffic").bytes, 3 * 4 * 24 * b + 2 * 4 * b + 2 * 6 * b)


def test_a_state_in_a_repeat_is_there_once_a_turn() -> None:
    body = "repeat 5 {\nstate S[batch_size, 1, d]\nx = x * update(S, last(x))\n}\nreturn x"
    model = forward(body, top="dim d = 4")
    assert model.cost().cache_memory == 5 * 8 * b
    assert model.cost().bytes == 5 * 16 * b


def test_update_writes_one_axis_in_part() -> None:
    text = "dim d = 4 graph forward(x[batch_size, new_tokens, d]) {{ state S[batch_size, 9, d] {} }}"
    assert codes(text.format("y = update(S, last(x)) return x")) == set()
    assert codes(text.format("y = update(S, x) return x")) == set()
    assert codes(text.format("y = update(x, S) return x")) == {"argument"}
    assert codes(text.format("y = update(S, slice(last(x), 0, 2)) return x")) == {"shape"}


CROSS = """
dim d = 4 dim frames = 10 dim text = 6
block encoder(sound) { weight We[d -> d] return matmul(sound, We) }
graph forward(sound[batch_size, frames, d], x[batch_size, new_tokens, d]) {
    weight Wk[d -> 1, d], Wq[d -> 1, d]
    k = keep(matmul(encoder(sound), Wk))
    return attention(matmul(x, Wq), k, k)
}
phase verify { new_tokens = 5 }
"""


def test_what_is_kept_runs_in_a_pass_without_past_only() -> None:
    """Encoder 10·2·16 and Wk 10·2·16 FLOPs a sequence; Wq 2·16 a token, attention 4·10·4 a token."""
    model = spec(CROSS)
    first, later = 640 * b, 32 + 160
    assert same(model.cost("prefill").flops, first + later * b * s)
    assert model.cost("decode").flops == later * b
    assert model.cost("verify").flops == 5 * later * b
    # the weights behind it are read then only; the kept value is read in every pass, and held
    kept = 2 * 10 * 4 * b
    assert same(model.cost("prefill").bytes, 3 * 32 + kept)
    assert same(model.cost("decode").bytes, 32 + kept)
    for phase in ("prefill", "decode"):
        assert model.cost(phase).cache_memory == kept
        assert model.cost(phase).params == 48
    # at `traffic` the pass without past also writes it
    token = 2 * (4 + 4) * b + 2 * (4 + 4) * b
    assert same(model.cost("decode", fidelity="traffic").bytes, 32 + kept + token)
    encode = 2 * (32 + 2 * (40 + 40) * b)
    assert same(model.cost("prefill", fidelity="traffic").bytes, encode + kept + 32 + kept + token * s)


def test_a_chunk_of_the_whole_context_has_a_past_all_the_same() -> None:
    """Without past is where new_tokens is seq_len, not where two figures agree."""
    assert spec(CROSS).cost("verify").evaluate(batch_size=1, seq_len=5).flops == 5 * 192


# --- statements


def test_variables_may_be_assigned_again_and_dims_weights_and_states_not() -> None:
    model = forward("x = relu(x)\nx = relu(x)\ny = x\ny = relu(y)\nreturn y", top="dim d = 4")
    assert table(model).vector_flops == 12 * b
    for name in ("d", "batch_size", "w", "S", "g"):
        text = (
            f"weight g[4] dim d = 4 graph forward(x[d]) {{ weight w[d] state S[batch_size] {name} = relu(x) return x }}"
        )
        assert codes(text) == {"assign"}, name


def test_several_targets_need_as_many_results() -> None:
    assert codes("graph forward(x[6]) { a, c = split(x, [2, 4]) return a }") == set()
    assert codes("graph forward(x[6]) { a, c = split(x, [2, 2, 2]) return a }") == {"results"}
    assert codes("graph forward(x[6]) { a = split(x, [2, 4]) return a }") == {"results"}


def test_only_route_takes_a_body_and_is_the_whole_right_side() -> None:
    text = "dim d = 4 graph forward(x[batch_size, d]) {{ {} }}"
    route = "route(x, experts=2, top_k=1)"
    assert codes(text.format(f"y = {route} {{ return x }} return y")) == set()
    assert codes(text.format(f"return {route} {{ return x }}")) == set()
    assert codes(text.format("y = relu(x) { return x } return y")) == {"syntax"}
    assert codes(text.format(f"y = {route} return y")) == {"route"}
    assert codes(text.format(f"y = x + {route} return y")) >= {"syntax"}
    assert codes(text.format(f"y = x + {route} {{ return x }} return y")) >= {"syntax"}
    assert codes(text.format(f"y = {route} {{ z = x }} return y")) == {"return"}


# --- repeat


def test_a_repeat_is_a_factor() -> None:
    body = "repeat n {\nweight W[d -> d]\nx = relu(matmul(x, W))\n}\nreturn x"
    n, d = dims("n d")
    model = forward(body, top="dim d dim n")
    assert model.cost().params == n * d**2
    assert model.cost().flops == 2 * n * b * d**2
    assert model.cost().bytes == 2 * n * d**2
    assert len(table(model).rows) == 2
    assert table(model).vector_flops == n * b * d
    # cost does not grow with it
    assert forward(body, top="dim d = 8 dim n = 10 ^ 12").cost().params == 64 * 10**12


def test_a_nested_repeat_multiplies() -> None:
    body = """
    weight W[d -> d]
    x = matmul(x, W)
    repeat 3 {
        weight A[d -> d]
        x = matmul(matmul(x, A), W)
        repeat 5 { weight B[d -> d]  x = matmul(matmul(matmul(x, B), W), W) }
    }
    return x
    """
    model = forward(body, top="dim d = 4")
    # W once, A 3 times, B 15 times
    assert model.cost().params == 16 * (1 + 3 + 15)
    assert model.cost().flops == 32 * b * (1 + 3 * 2 + 15 * 3)
    # W once in each body: the graph's, 3 turns, 15 turns
    assert model.cost().bytes == 32 * ((1 + 3 + 15) + (3 + 15))
    # read at every use
    assert same(model.cost(fidelity="traffic").bytes, (32 + 2 * 8 * b) * (1 + 3 * 2 + 15 * 3))


def test_a_repeat_of_none_is_checked_and_counts_nothing() -> None:
    body = "k = cache(x)\nrepeat 0 {\nweight W[d -> d]\nx = x + matmul(cache(x), W)\n}\nreturn x + 1"
    assert codes(f"dim d = 4 graph forward(x[batch_size, new_tokens, d]) {{ {body} }}") == {"shape"}
    inner = "weight W[d -> d]\nstate S[batch_size, 1, d]\nx = x * update(S, last(matmul(x, W)))"
    model = forward(f"repeat n {{ {inner} }}\nreturn x + 1", top="dim d = 4 dim n = 0")
    for fidelity in ("params", "cache", "traffic"):
        cost = model.cost(fidelity=fidelity)
        assert (cost.params, cost.matmul_flops, cost.bytes, cost.cache_memory) == (0, 0, 0, 0)
    assert model.cost(fidelity="traffic").vector_flops == 4 * b
    # the last addition alone: 4·b in, 4·b out
    assert model.cost(fidelity="traffic").activation_memory == 16 * b
    for count in ("n - 1", "n + 1 / 2"):
        assert codes(f"dim n = 0 graph forward(x[4]) {{ repeat {count} {{ x = relu(x) }} return x }}") == {"repeat"}


def test_a_carried_variable_keeps_its_shape() -> None:
    text = "dim d = 4 dim e = 4 graph forward(x[batch_size, d]) {{ repeat 3 {{ {} }} return x }}"
    assert codes(text.format("weight W[d -> e] x = matmul(x, W)")) == set()
    assert codes(text.format("x = concat(x, x)")) == {"carried"}
    assert codes(text.format("x = reshape(x, [1, d])")) == {"carried"}
    assert codes(text.format("x = 3")) == {"carried"}
    (fault,) = faults("model m dim d = 4 graph forward(x[batch_size, d]) { repeat 3 { x = concat(x, x) } return x }")
    assert "[batch_size, d]" in fault.message
    assert "[batch_size, 2·d]" in fault.message.replace(" · ", "·")


def test_what_is_first_assigned_in_a_repeat_is_not_seen_behind_it() -> None:
    text = "dim d = 4 graph forward(x[batch_size, d]) {{ repeat 3 {{ y = relu(x) weight w[d] }} return x + {} }}"
    assert codes(text.format("x")) == set()
    assert codes(text.format("y")) == {"unknown-name"}
    assert codes(text.format("w")) == {"unknown-name"}


def test_a_variable_used_before_it_is_assigned() -> None:
    assert codes("graph forward(x[4]) { y = z z = relu(x) return y }") == {"unknown-name"}


# --- if


def test_an_if_by_dims() -> None:
    text = """
    dim d = 4 dim tied = 1
    graph forward(ids[batch_size, new_tokens]) {
        weight E[10 -> d]
        x = lookup(ids, E)
        if tied == 1 { return matmul(x, E.T) }
        weight U[d -> 10]
        return matmul(x, U)
    }
    """
    assert spec(text).cost().params == 40
    assert spec(text).set(tied=0).cost().params == 80


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("2 * d == 8", True),
        ("d != 4", False),
        ("d < 5", True),
        ("d <= 3", False),
        ("d > n - n + 3", True),
        ("d >= 5", False),
        ("n * (n + 1) == n ^ 2 + n", True),
        ("n + 1 > 0", True),
        ("n >= 0", True),
        ("n < 0", False),
        ("batch_size > 0", True),
        ("batch_size == 7", False),
        ("seq_len != 4096", True),
        ("seq_len == batch_size", False),
        ("new_tokens == 1", True),
        ("new_tokens == seq_len", False),
        ("d == seq_len", False),
        ("n == seq_len", False),
    ],
)
def test_an_if_is_decided_where_the_graph_is_expanded(condition: str, holds: bool) -> None:
    body = f"if {condition} {{ return relu(x) }} else {{ return relu(relu(x)) }}"
    model = forward(body, top="dim d = 4 dim n")
    assert table(model).vector_flops == 4 * b * (1 if holds else 2)


@pytest.mark.parametrize(
    "condition", ["n == 1", "n == 0", "n > 0", "n != d", "n <= m", "seq_len > 4096", "new_tokens < seq_len"]
)
def test_an_if_that_stays_open_names_the_free_dim(condition: str) -> None:
    with refused("`if` cannot be decided: `(n|m|seq_len)`") as caught:
        _ = forward(f"if {condition} {{ x = relu(x) }}\nreturn x", top="dim d = 4 dim n dim m").cost().flops
    assert caught.value.diagnostics[0].code == "open"


PHASED = """
dim d = 4
graph forward(x[batch_size, new_tokens, d]) {
    if new_tokens == seq_len { weight A[d -> d] y = matmul(x, A) }
    else { weight B[d -> 2 * d] y = matmul(x, B) }
    if new_tokens == 1 { y = relu(y) }
    return y
}
phase verify { new_tokens = 5 }
"""


def test_an_if_by_the_phase() -> None:
    model = spec(PHASED)
    assert model.cost("prefill").flops == 32 * b * s
    assert model.cost("decode").flops == 64 * b
    assert model.cost("verify").flops == 5 * 64 * b
    assert table(model, "prefill").vector_flops == 0
    assert table(model, "decode").vector_flops == 8 * b
    # what is given beside the phase takes its place
    assert model.cost("prefill", new_tokens=1).flops == 64 * b
    assert table(model, "prefill", new_tokens=1).vector_flops == 8 * b
    assert table(model, "decode", new_tokens=2).vector_flops == 0
    # never by a figure: prefill of one token is still a prefill, and no formula changes with the context
    assert model.cost("prefill").evaluate(batch_size=1, seq_len=1).flops == 32
    assert model.cost("verify").evaluate(batch_size=1, seq_len=5).flops == 320


def test_weights_in_arms_exist_where_some_phase_takes_them() -> None:
    for phase in ("prefill", "decode", "verify"):
        assert spec(PHASED).cost(phase).params == 16 + 32
        assert spec(PHASED).cost(phase).weight_memory == 96
    assert spec(PHASED).cost("prefill").bytes == 32
    assert spec(PHASED).cost("decode").bytes == 64
    # also in a block called there; not in an arm that no phase takes
    text = """
    dim d = 4 dim kind = 1
    block f(x) { weight W[d -> d] return matmul(x, W) }
    graph forward(x[batch_size, new_tokens, d]) {
        weight V[d -> d]
        if new_tokens == 1 { x = f(x) } else { x = matmul(x, V) }
        if kind == 2 { x = f(x) }
        return x
    }
    """
    for phase in ("prefill", "decode"):
        assert spec(text).cost(phase).params == 32
    assert spec(text).set(kind=2).cost().params == 48


def test_a_weight_has_one_shape_in_all_phases_and_graphs() -> None:
    by_phase = """
    dim d = 4
    graph forward(x[batch_size, new_tokens, d]) {
        if new_tokens == 1 { n = 4 } else { n = 8 }
        weight W[d -> n]
        return matmul(x, W)
    }
    """
    by_graph = """
    dim d = 4
    shared block f(x, n) { weight W[d -> n] return matmul(x, W) }
    graph forward(x[batch_size, d]) { return f(x, 4) }
    graph draft(x[batch_size, d]) { return f(x, 8) }
    """
    for text in (by_phase, by_graph):
        assert codes(text) == {"shared"}
        assert codes(text.replace("8", "d")) == set()
        with refused("`W` exists once"):
            _ = spec(text).cost().params


def test_an_if_opens_no_scope() -> None:
    assert table(forward("if d == 4 { y = relu(x) }\nreturn relu(y)", top="dim d = 4")).vector_flops == 8 * b
    both = "if d == 4 { y = relu(x) weight w[d] } else { y = exp(x) weight w[1, d] }\nreturn y + w"
    assert forward(both, top="dim d = 4").cost().params == 4
    assert forward(both, top="dim d = 5").check().errors == ()
    with refused("`y` is not known here: only the arm that the `if` of line"):
        _ = forward("if d == 5 { y = relu(x) }\nreturn relu(y)", top="dim d = 4").cost().flops


def test_none_and_truth_values_in_an_if() -> None:
    top = """
    dim d = 4
    block f(x, bias = none, gate = true) {
        if bias != none { x = x + bias }
        if gate == true { x = relu(x) }
        return x
    }
    """
    assert table(forward("return f(x)", top=top)).vector_flops == 4 * b
    assert table(forward("weight w[d]\nreturn f(x, bias=w)", top=top)).vector_flops == 8 * b
    assert table(forward("return f(x, gate=false)", top=top)).vector_flops == 0
    for statement, code in (
        ("x = f(x, gate=1)", "type"),
        ("if true > false { x = relu(x) }", "type"),
        ("if x == x { x = relu(x) }", "type"),
        ("if d ~= 4 { x = relu(x) }", "syntax"),
    ):
        assert codes(f"{top} graph forward(x[batch_size, d]) {{ {statement} return x }}") == {code}


# --- return


def test_a_return_is_the_last_statement() -> None:
    text = "dim d = 4 block f(x) {{ {} }} graph forward(x[batch_size, d]) {{ return f(x) }}"
    assert codes(text.format("return x")) == set()
    assert codes(text.format("return x y = relu(x)")) == {"return"}
    assert codes(text.format("if d == 4 { return x } else { return x } y = relu(x)")) == {"return"}
    assert codes(text.format("if d == 4 { return x y = relu(x) } return x")) == {"return"}
    assert codes(text.format("if d == 4 { return relu(x) } return x")) == set()
    assert codes(text.format("repeat 3 { return x } return x")) == {"syntax"}
    assert codes(text.format("y = relu(x)")) == {"return"}
    # an arm that is not taken gives nothing
    assert codes(text.format("if d == 5 { return x }")) == {"return"}
    # a block that nothing calls is looked at as well
    assert codes("block f(x) { y = relu(x) }") == {"return"}
    # a graph may end without one
    assert codes("graph forward(x[4]) { k = relu(x) }") == set()


# --- what nothing uses


def test_what_nothing_uses_is_counted_with_a_warning() -> None:
    body = "weight W[d -> d], unused[7]\ny = matmul(x, W)\nreturn relu(x)"
    model = forward(body, top="dim d = 4")
    assert model.cost().params == 16 + 7
    assert model.cost().weight_memory == 46
    assert model.cost().flops == 32 * b
    # a pass reads what it uses
    assert model.cost().bytes == 32
    assert model.cost(fidelity="params").bytes == 46
    assert warnings(model) == ["nothing uses weight `unused`", "nothing uses the result of this `matmul`"]
    state = forward("state S[batch_size, d]\nreturn relu(x)", top="dim d = 4")
    assert warnings(state) == ["nothing uses state `S`"]
    for fidelity in ("cache", "traffic"):
        assert same(state.cost(fidelity=fidelity).bytes, 16 * b)
    assert warnings(forward("weight W[d -> d]\nk = cache(x)\nreturn matmul(x, W)", top="dim d = 4")) == []


# --- shapes


def test_shapes_agree_where_their_difference_simplifies_to_zero() -> None:
    assert shape(
        forward("weight W[n * e -> d]\nreturn matmul(reshape(x, [n * e]), W)", top="dim d = n * e dim n dim e")
    ) == (b, 1, dims("n")[0] * dims("e")[0])
    same_axis = forward("return x + y", "x[batch_size, (n + 1) ^ 2], y[batch_size, n ^ 2 + 2 * n + 1]", "dim n")
    assert codes("dim n graph forward(x[n + 1], y[n]) { return x + y }") == {"shape"}
    assert shape(same_axis)[0] == b
    half = "graph forward(x[batch_size, h, d / h]) { weight W[h, d / h -> d] return matmul(x, W) }"
    assert codes(f"dim d dim h {half}") == set()


def test_nothing_broadcasts_only_because_decode_makes_an_axis_one() -> None:
    text = "dim d = 4 graph forward(x[batch_size, new_tokens, d], y[batch_size, 6, d]) { return x + y }"
    with refused("axes of different size") as caught:
        _ = spec(text).cost().flops
    assert "new_tokens" in caught.value.diagnostics[0].message
    assert codes(text) == {"shape"}
    # an axis that is 1 in every phase does
    assert codes(text.replace("6, d", "1, d")) == set()
    # a phase's own figures do not make shapes agree either
    assert codes(text + " phase verify { new_tokens = 6 }") == {"shape"}


def test_a_mismatch_names_both_tensors_shapes_the_axis_and_the_places() -> None:
    text = """model m
dim d = 4
dim e = 5
graph forward(x[batch_size, d]) {
    weight W[e -> d]
    return matmul(x, W)
}
"""
    (fault,) = faults(text)
    assert fault.message == "`matmul` contracts axes of different size: 4 and 5"
    assert fault.span is not None
    assert (fault.span.text, fault.span.line) == ("x", 6)
    assert fault.label == "axis 1 is d, 4"
    assert [(label.span.text, label.span.line, label.text) for label in fault.others] == [("e", 5, "axis 0 is e, 5")]
    assert fault.facts == ("x: `x` [batch_size, d]", "W: `W` [e -> d]")


# --- limits


def test_limits_have_messages_of_their_own() -> None:
    assert codes("dim a = 10 ^ 31 graph forward(x[a]) { return relu(x) }") == {"limit"}
    assert codes("dim a dim c = a ^ 64 graph forward(x[c]) { return relu(x) }") == set()
    assert codes("dim a dim c = a ^ 65 graph forward(x[c]) { return relu(x) }") == {"limit"}
    assert codes(f"dim a = {'(' * 201}1{')' * 201}") == {"limit"}
    assert codes(f"dim a = {'(' * 199}1{')' * 199} graph forward(x[a]) {{ return relu(x) }}") == set()
    deep = " ".join(f"block f{i}(x) {{ return f{i + 1}(f{i + 1}(x)) }}" for i in range(20))
    many = f"{deep} block f20(x) {{ return relu(x) }} graph forward(x[4]) {{ return f0(x) }}"
    (fault,) = faults(f"model m {many}")
    assert fault.code == "limit"
    assert "1,000,000" in fault.message


def test_a_file_of_more_than_16_mb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.arch"
    path.write_text("dim d = 4\n#" + "x" * (16_000_000 - 11))
    assert cm.load(str(path)).dims == {"d": 4}
    path.write_text("dim d = 4\n#" + "x" * (16_000_000 - 10))
    with refused("16,000,001 bytes, more than the 16,000,000"):
        cm.load(str(path))


def test_a_block_called_again_costs_as_much_again() -> None:
    deep = " ".join(f"block f{i}(x) {{ return f{i + 1}(f{i + 1}(x)) }}" for i in range(6))
    text = f"{deep} block f6(x) {{ weight W[4 -> 4] return matmul(x, W) }}"
    text += " graph forward(x[batch_size, 4]) { return f0(x) }"
    assert spec(text).cost().params == 64 * 16
    assert spec(text).cost().flops == 64 * 32 * b


def test_sums_of_numbers_beside_tensors() -> None:
    for body, axis in (("n = 1 + d + 2 - d - 1 + d", 6), ("n = d - 1", 3), ("n = 2 - 3 + d * 2", 7)):
        assert shape(forward(f"{body}\nweight W[d -> n]\nreturn matmul(x, W)", top="dim d = 4")) == (b, 1, axis)
    assert table(forward("return 1 + 2 - x + 3 - 4", top="dim d = 4")).vector_flops == 3 * 4 * b
    assert table(forward("return x + 1 + 2 - 3", top="dim d = 4")).vector_flops == 3 * 4 * b


def test_a_fraction_is_exact() -> None:
    assert holds("weight_memory == 8.5 B", "graph forward(x[16]) { weight w[16] : mxfp4 return x + w }")
    model = forward("weight w[d] : 3 bits\nreturn x + w", top="dim d = 3")
    assert model.cost().weight_memory == Fraction(9, 8)
    assert row(model, "+").cost.vector_flops == 3 * b
