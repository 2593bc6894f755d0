"""What transformers computes and an architecture does not need: what its count exceeds a spec's by, in closed form.

Each entry is (measured − spec) of the matmul FLOPs of a pass, from the model's dims.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sympy import Expr, Integer, Min, Rational, Symbol, ceiling

from costmodel.symbols import batch_size, seq_len

Dims = Mapping[str, Expr]
Extra = Callable[[Dims], Expr]


def beyond_window(window: str, share: Rational) -> Extra:
    """Eager attention multiplies every pair in prefill; a window's layers need `window` keys a query."""

    def extra(dims: Dims) -> Expr:
        layers = dims["num_layers"] * share
        pairs = batch_size * seq_len * (seq_len - Min(seq_len, dims[window]))
        return 4 * layers * dims["num_heads"] * dims["head_dim"] * pairs

    return extra


def columns(count: int, layers: Callable[[Dims], Expr], channels: str) -> Extra:
    """The convolution is padded and computes columns that are then dropped."""

    def extra(dims: Dims) -> Expr:
        return 2 * count * layers(dims) * dims["conv_kernel"] * dims[channels] * batch_size

    return extra


def all_experts(tokens: Expr) -> Extra:
    """Every expert runs on every token, and the scores of those not chosen are 0."""

    def extra(dims: Dims) -> Expr:
        idle = dims["num_layers"] * (dims["num_experts"] - dims["top_k"])
        return 6 * idle * dims["hidden_size"] * dims["intermediate_size"] * batch_size * tokens

    return extra


def latents_expanded(dims: Dims) -> Expr:
    """Every step expands the whole latent cache to keys and values again.

    The spec folds the expansion into the query and the output, and attends to the latents themselves.
    """
    rank, key, value = dims["kv_lora_rank"], dims["nope_head_dim"], dims["v_head_dim"]
    expansions = 2 * rank * (key + value) * (seq_len - 1)
    shorter = 2 * seq_len * (key + value - 2 * rank)
    return dims["num_layers"] * dims["num_heads"] * batch_size * (expansions + shorter)


def ssd_chunks(dims: Dims) -> Expr:
    """Scores are computed for each head though a group shares them, and states meet in a product of all chunks."""
    chunks = ceiling(seq_len / dims["chunk_size"])
    heads, state = dims["num_heads"], dims["state_size"]
    scores = 2 * seq_len * dims["chunk_size"] * state * (heads - dims["num_groups"])
    states = 2 * heads * dims["head_dim"] * state * (chunks + 1) ** 2
    return dims["num_layers"] * batch_size * (scores + states)


def solves_uncounted(dims: Dims) -> Expr:
    """The triangular solves of a chunk have no FLOP formula in PyTorch, so they are missing from its count."""
    sizes = dims["key_dim"] + dims["value_dim"]
    return -linear_layers(dims) * dims["value_heads"] * dims["chunk_size"] * sizes * batch_size * seq_len


def recurrence_uncounted(dims: Dims) -> Expr:
    """A decode step multiplies state, key and query elementwise, which PyTorch does not count."""
    products = 4 * dims["value_heads"] * dims["key_dim"] * dims["value_dim"]
    return -linear_layers(dims) * products * batch_size


def every_layer(dims: Dims) -> Expr:
    return dims["num_layers"]


def linear_layers(dims: Dims) -> Expr:
    return dims["num_layers"] * Rational(3, 4)


def mamba_layers(dims: Dims) -> Expr:
    return dims["num_layers"] * Rational(7, 8)


# by family and phase
EXTRA: dict[tuple[str, str], tuple[Extra, ...]] = {
    ("mistral", "prefill"): (beyond_window("sliding_window", Integer(1)),),
    ("phi-3", "prefill"): (beyond_window("sliding_window", Integer(1)),),
    ("gemma-2", "prefill"): (beyond_window("sliding_window", Rational(1, 2)),),
    ("gpt-oss", "prefill"): (beyond_window("sliding_window", Rational(1, 2)),),
    ("llama-4", "prefill"): (all_experts(seq_len),),
    ("llama-4", "decode"): (all_experts(Integer(1)),),
    ("deepseek-v2", "decode"): (latents_expanded,),
    ("deepseek-v3", "decode"): (latents_expanded,),
    ("kimi-k2", "decode"): (latents_expanded,),
    ("mamba-2", "prefill"): (columns(3, every_layer, "conv_width"), ssd_chunks),
    ("mamba-2", "decode"): (columns(1, every_layer, "conv_width"),),
    ("mamba", "prefill"): (columns(3, every_layer, "inner_size"),),
    ("mamba", "decode"): (columns(1, every_layer, "inner_size"),),
    ("jamba", "prefill"): (columns(3, mamba_layers, "inner_size"),),
    ("jamba", "decode"): (columns(1, mamba_layers, "inner_size"),),
    ("qwen3-next", "prefill"): (columns(3, linear_layers, "conv_width"), solves_uncounted),
    ("qwen3-next", "decode"): (columns(1, linear_layers, "conv_width"), recurrence_uncounted),
}


def extra_flops(spec: str, phase: str, dims: Dims) -> Expr:
    """What transformers counts beyond a spec's matmul FLOPs in a phase."""
    family = spec.partition(":")[0]
    return sum((extra(dims) for extra in EXTRA.get((family, phase), ())), Integer(0))


CHUNKS = Symbol("chunks", positive=True)


def in_whole_chunks(expr: Expr, size: Expr) -> Expr:
    """An expression at a context of so many whole chunks, where nothing is padded."""
    found = expr.xreplace({ceiling(seq_len / size): CHUNKS, Min(seq_len, size): size})
    return found.xreplace({seq_len: size * CHUNKS})
