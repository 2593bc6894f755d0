"""Families of decoders whose layers all have one attention and one feed-forward block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from costmodel.importer.config import Config
from costmodel.importer.decoder import (
    Arrangement,
    Frame,
    Half,
    Layer,
    attention_sizes,
    biases,
    decoder,
    derived_head_dim,
    gated,
    heads,
    inner,
    layernorm,
    local_layers,
    local_window,
    mlp,
    num_layers,
    parallel,
    parallel_two_norms,
    partial_rotary,
    plain_norm,
    post_norm,
    pre_norm,
    qkv_bias,
    sandwich,
    scale_only,
    width,
    window,
)
from costmodel.importer.draft import Call, Draft
from costmodel.importer.family import family
from costmodel.importer.layers import First
from costmodel.importer.precision import Precision


def attention(draft: Draft, options: Mapping[str, str], name: str = "") -> Half:
    draft.use("attention")
    return Half(Call("self_attention", options), name)


def uniform(
    config: Config,
    draft: Draft,
    precision: Precision,
    options: Mapping[str, str],
    feed: Half,
    frame: Frame = Frame(),  # noqa: B008
    layers: str = "num_hidden_layers",
) -> None:
    """A decoder whose layers are all the same."""
    n = num_layers(config, layers)
    draft.dim("num_layers", n)
    decoder(config, draft, precision, [Layer(attention(draft, options), feed)] * n.value, frame)


def windowed(
    config: Config,
    draft: Draft,
    precision: Precision,
    local: Sequence[bool],
    options: Mapping[str, str],
    everywhere: Mapping[str, str],
    feed: Half,
    frame: Frame = Frame(),  # noqa: B008
    pattern: tuple[str, ...] = ("layer_types",),
    far: Mapping[str, str] | None = None,
) -> None:
    """A decoder some of whose layers are local: options of those, of all layers, and of the others; `pattern` are the
    keys that say which are which."""
    draft.dim("num_layers", num_layers(config), doc="layers, local and global ones" if len(set(local)) > 1 else "")
    near = attention(draft, {**options, **everywhere}, "local")
    beyond = attention(draft, {**(far or {}), **everywhere}, "global")
    layers = [Layer(near if is_local else beyond, feed) for is_local in local]
    decoder(config, draft, precision, layers, frame._replace(pattern=config.whence(*pattern)))


# --- Llama and what differs from it little


LLAMA: dict[str, Any] = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "attention_bias": False,
    "mlp_bias": False,
}


def _sizes(config: Config, draft: Draft) -> int:
    """The sizes of attention and of a feed-forward block; the figure of a head's."""
    size = attention_sizes(config, draft)
    inner(config, draft)
    return size


@family("llama", title="Llama", config="LlamaConfig", defaults=LLAMA)
def llama(config: Config, draft: Draft, precision: Precision) -> None:
    _sizes(config, draft)
    bias = config.flag("attention_bias")
    feed = gated(config, draft, bias=config.flag("mlp_bias"))
    uniform(config, draft, precision, qkv_bias(bias, bias), feed)


@family(
    "granite",
    title="Granite",
    config="GraniteConfig",
    defaults={**LLAMA, "hidden_size": 4096},
    harmless="embedding_multiplier logits_scaling residual_multiplier attention_multiplier",
)
def granite(config: Config, draft: Draft, precision: Precision) -> None:
    config.note("The multipliers of embeddings, residual sums and logits are not counted.")
    llama(config, draft, precision)


@family(
    "mistral",
    title="Mistral",
    config="MistralConfig",
    defaults={**LLAMA, "intermediate_size": 14336, "num_key_value_heads": 8, "sliding_window": 4096},
)
def mistral(config: Config, draft: Draft, precision: Precision) -> None:
    attention_sizes(config, draft)
    options = window(config, draft)
    inner(config, draft)
    uniform(config, draft, precision, options, gated(config, draft))


@family(
    "phi3",
    title="Phi-3",
    config="Phi3Config",
    defaults={**LLAMA, "vocab_size": 32064, "hidden_size": 3072, "intermediate_size": 8192},
    harmless="full_attn_mod interpolate_factor",
)
def phi3(config: Config, draft: Draft, precision: Precision) -> None:
    for key in ("attention_bias", "mlp_bias", "lm_head_bias"):
        config.must_be(key, False, None, why="only false is understood")
    size = attention_sizes(config, draft)
    options = partial_rotary(config, draft, size) | window(config, draft)
    inner(config, draft)
    uniform(config, draft, precision, options, gated(config, draft))


@family(
    "seed_oss",
    title="Seed-OSS",
    config="SeedOssConfig",
    defaults={
        "vocab_size": 155136,
        "hidden_size": 4096,
        "intermediate_size": 27648,
        "num_hidden_layers": 64,
        "num_attention_heads": 80,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "attention_bias": True,
        "attention_out_bias": False,
        "mlp_bias": False,
    },
)
def seed_oss(config: Config, draft: Draft, precision: Precision) -> None:
    _sizes(config, draft)
    bias = qkv_bias(config.flag("attention_bias"), config.flag("attention_out_bias"))
    uniform(config, draft, precision, bias, gated(config, draft, bias=config.flag("mlp_bias")))


GLM: dict[str, Any] = {
    "vocab_size": 151552,
    "hidden_size": 4096,
    "intermediate_size": 13696,
    "num_hidden_layers": 40,
    "num_attention_heads": 32,
    "num_key_value_heads": 2,
    "head_dim": 128,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "attention_bias": True,
    "partial_rotary_factor": 0.5,
}


def _glm(config: Config, draft: Draft, precision: Precision, arrangement: Arrangement) -> None:
    size = attention_sizes(config, draft)
    options = partial_rotary(config, draft, size) | qkv_bias(config.flag("attention_bias"), False)
    inner(config, draft)
    uniform(config, draft, precision, options, gated(config, draft), Frame(arrangement=arrangement))


@family("glm", title="GLM-4", config="GlmConfig", defaults=GLM)
def glm(config: Config, draft: Draft, precision: Precision) -> None:
    _glm(config, draft, precision, pre_norm)


@family("glm4", title="GLM-4", config="Glm4Config", defaults=GLM)
def glm4(config: Config, draft: Draft, precision: Precision) -> None:
    _glm(config, draft, precision, sandwich)


# --- Qwen


QWEN2: dict[str, Any] = {
    "vocab_size": 151936,
    "hidden_size": 4096,
    "intermediate_size": 22016,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "use_sliding_window": False,
    "sliding_window": 4096,
    "max_window_layers": 28,
}


def _late_windows(config: Config) -> tuple[list[bool], First | None]:
    """Which layers have a window: those from `max_window_layers` on, where windows are used at all."""
    n = num_layers(config).value
    if not config.flag("use_sliding_window") and config.left_out("layer_types"):
        config.unused("sliding_window", "max_window_layers")
        return [False] * n, None
    first = config.size("max_window_layers", least=0).value
    uses = config.flag("use_sliding_window")
    local = local_layers(config, n, lambda i: uses and i >= first)
    if not uses and any(local):
        config.fault("`layer_types` has layers with a window, and `use_sliding_window` is false", "layer_types")
    return local, First("num_first_layers", first)


def _qwen(config: Config, draft: Draft, precision: Precision, options: Mapping[str, str]) -> None:
    attention_sizes(config, draft)
    local, first = _late_windows(config)
    near = local_window(config, draft, local)
    inner(config, draft)
    if first is not None and len(set(local)) > 1 and local == sorted(local):
        draft.dim("num_first_layers", first.layers, "max_window_layers")
    else:
        first = None
    feed, frame, pattern = gated(config, draft), Frame(first=first), ("layer_types", "max_window_layers")
    windowed(config, draft, precision, local, near, options, feed, frame, pattern)


@family("qwen2", title="Qwen2", config="Qwen2Config", defaults=QWEN2)
def qwen2(config: Config, draft: Draft, precision: Precision) -> None:
    _qwen(config, draft, precision, qkv_bias(True, False))


@family("qwen3", title="Qwen3", config="Qwen3Config", defaults={**QWEN2, "head_dim": 128, "attention_bias": False})
def qwen3(config: Config, draft: Draft, precision: Precision) -> None:
    bias = config.flag("attention_bias")
    _qwen(config, draft, precision, {"qk_norm": "true", **qkv_bias(bias, bias)})


@family(
    "smollm3",
    title="SmolLM3",
    config="SmolLM3Config",
    defaults={
        "vocab_size": 128256,
        "hidden_size": 2048,
        "intermediate_size": 11008,
        "num_hidden_layers": 36,
        "num_attention_heads": 16,
        "num_key_value_heads": 4,
        "hidden_act": "silu",
        "tie_word_embeddings": True,
        "attention_bias": False,
        "mlp_bias": False,
        "use_sliding_window": False,
        "no_rope_layer_interval": 4,
    },
    harmless="layer_types max_window_layers",
)
def smollm3(config: Config, draft: Draft, precision: Precision) -> None:
    config.must_be("use_sliding_window", False, None, why="only false is understood")
    config.unused("sliding_window")
    _sizes(config, draft)
    n = num_layers(config)
    rotated = rotary_layers(config, n.value)
    draft.dim(
        "num_layers", n, doc="layers, those with rotary positions and those without" if len(set(rotated)) > 1 else ""
    )
    bias = config.flag("attention_bias")
    feed = gated(config, draft, bias=config.flag("mlp_bias"))
    near = attention(draft, qkv_bias(bias, bias), "rotary")
    far = attention(draft, {"rotary": "false", **qkv_bias(bias, bias)}, "plain")
    frame = Frame(pattern=config.whence("no_rope_layers", "no_rope_layer_interval"))
    decoder(config, draft, precision, [Layer(near if rotary else far, feed) for rotary in rotated], frame)


def rotary_layers(config: Config, total: int) -> list[bool]:
    """Which layers have rotary positions: 1 in `no_rope_layers`, or all but every n-th."""
    given = config.integers("no_rope_layers", 1, total) if config.value("no_rope_layers") else None
    if given is not None:
        config.unused("no_rope_layer_interval")
        return [flag == 1 for flag in given]
    every = config.size("no_rope_layer_interval").value
    return [(i + 1) % every != 0 for i in range(total)]


# --- Gemma


@family(
    "gemma",
    title="Gemma",
    config="GemmaConfig",
    defaults={
        "vocab_size": 256000,
        "hidden_size": 3072,
        "intermediate_size": 24576,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "head_dim": 256,
        "hidden_act": "gelu_pytorch_tanh",
        "tie_word_embeddings": True,
        "attention_bias": False,
    },
    harmless="hidden_activation",
)
def gemma(config: Config, draft: Draft, precision: Precision) -> None:
    _causal(config)
    _sizes(config, draft)
    bias = config.flag("attention_bias")
    uniform(config, draft, precision, qkv_bias(bias, bias), gated(config, draft))


def _causal(config: Config) -> None:
    config.must_be("use_bidirectional_attention", False, None, why="only attention to what came before is understood")


GEMMA2: dict[str, Any] = {
    "vocab_size": 256000,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh",
    "tie_word_embeddings": True,
    "attention_bias": False,
    "sliding_window": 4096,
    "attn_logit_softcapping": 50.0,
    "final_logit_softcapping": 30.0,
}


def _gemma(config: Config, draft: Draft, precision: Precision, options: Mapping[str, str], pattern: int) -> None:
    _causal(config)
    attention_sizes(config, draft)
    n = num_layers(config).value
    local = local_layers(config, n, lambda i: (i + 1) % pattern != 0)
    near = local_window(config, draft, local)
    inner(config, draft)
    cap = config.number("attn_logit_softcapping")
    bias = config.flag("attention_bias")
    everywhere = {**options, **({"softcap": f"{float(cap):g}"} if cap else {}), **qkv_bias(bias, bias)}
    frame = Frame(arrangement=sandwich, softcap=config.number("final_logit_softcapping") or None)
    feed, keys = gated(config, draft, "hidden_activation"), ("layer_types", "sliding_window_pattern")
    windowed(config, draft, precision, local, near, everywhere, feed, frame, keys)


@family("gemma2", title="Gemma 2", config="Gemma2Config", defaults=GEMMA2, harmless="hidden_act query_pre_attn_scalar")
def gemma2(config: Config, draft: Draft, precision: Precision) -> None:
    _gemma(config, draft, precision, {}, 2)


@family(
    "gemma3_text",
    title="Gemma 3",
    config="Gemma3TextConfig",
    defaults={
        **GEMMA2,
        "vocab_size": 262208,
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
        "sliding_window_pattern": 6,
    },
    aliases={"sliding_window_pattern": "_sliding_window_pattern"},
    harmless="hidden_act query_pre_attn_scalar",
)
def gemma3(config: Config, draft: Draft, precision: Precision) -> None:
    _gemma(config, draft, precision, {"qk_norm": "true"}, config.size("sliding_window_pattern").value)


# --- OLMo


OLMO: dict[str, Any] = {
    "vocab_size": 50304,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "attention_bias": False,
}


@family("olmo", title="OLMo", config="OlmoConfig", defaults=OLMO, harmless="clip_qkv")
def olmo(config: Config, draft: Draft, precision: Precision) -> None:
    _sizes(config, draft)
    bias = config.flag("attention_bias")
    uniform(config, draft, precision, qkv_bias(bias, bias), gated(config, draft), Frame(plain_norm))


@family("olmo2", title="OLMo 2", config="Olmo2Config", defaults=OLMO)
def olmo2(config: Config, draft: Draft, precision: Precision) -> None:
    _sizes(config, draft)
    bias = config.flag("attention_bias")
    options = {"whole_norm": "true", **qkv_bias(bias, bias)}
    uniform(config, draft, precision, options, gated(config, draft), Frame(arrangement=post_norm))


@family("olmo3", title="OLMo 3", config="Olmo3Config", defaults={**OLMO, "sliding_window": 4096})
def olmo3(config: Config, draft: Draft, precision: Precision) -> None:
    attention_sizes(config, draft)
    local = local_layers(config, num_layers(config).value, lambda i: (i + 1) % 4 != 0)
    near = local_window(config, draft, local)
    inner(config, draft)
    bias = config.flag("attention_bias")
    everywhere = {"whole_norm": "true", **qkv_bias(bias, bias)}
    windowed(config, draft, precision, local, near, everywhere, gated(config, draft), Frame(arrangement=post_norm))


# --- layer norms, and both halves side by side


COHERE: dict[str, Any] = {
    "vocab_size": 256000,
    "hidden_size": 8192,
    "intermediate_size": 22528,
    "num_hidden_layers": 40,
    "num_attention_heads": 64,
    "hidden_act": "silu",
    "tie_word_embeddings": True,
    "attention_bias": False,
}


@family("cohere", title="Command R", config="CohereConfig", defaults=COHERE, harmless="logit_scale")
def cohere(config: Config, draft: Draft, precision: Precision) -> None:
    config.must_be("use_qk_norm", False, None, why="only false is understood")
    _sizes(config, draft)
    bias = config.flag("attention_bias")
    uniform(config, draft, precision, qkv_bias(bias, bias), gated(config, draft), Frame(scale_only, parallel))


@family(
    "cohere2",
    title="Command R7B",
    config="Cohere2Config",
    defaults={**COHERE, "sliding_window": 4096, "sliding_window_pattern": 4},
    aliases={"sliding_window_pattern": "_sliding_window_pattern"},
    harmless="logit_scale layer_switch order_of_interleaved_layers rotary_pct use_embedding_sharing"
    " position_embedding_type",
)
def cohere2(config: Config, draft: Draft, precision: Precision) -> None:
    for key in ("use_gated_activation", "use_parallel_block"):
        config.must_be(key, True, None, why="only true is understood")
    for key in ("use_qk_norm", "use_parallel_embedding"):
        config.must_be(key, False, None, why="only false is understood")
    attention_sizes(config, draft)
    pattern = config.size("sliding_window_pattern").value
    local = local_layers(config, num_layers(config).value, lambda i: (i + 1) % pattern != 0)
    near = local_window(config, draft, local)
    inner(config, draft)
    bias = config.flag("attention_bias")
    feed, frame, keys = gated(config, draft), Frame(scale_only, parallel), ("layer_types", "sliding_window_pattern")
    # layers that see everything have no positions
    far = {"rotary": "false"}
    windowed(config, draft, precision, local, near, qkv_bias(bias, bias), feed, frame, keys, far)


@family(
    "starcoder2",
    title="StarCoder2",
    config="Starcoder2Config",
    defaults={
        "vocab_size": 49152,
        "hidden_size": 3072,
        "intermediate_size": 12288,
        "num_hidden_layers": 30,
        "num_attention_heads": 24,
        "num_key_value_heads": 2,
        "hidden_act": "gelu_pytorch_tanh",
        "tie_word_embeddings": True,
        "use_bias": True,
        "norm_type": "layer_norm",
        "mlp_type": "default",
    },
    harmless="activation_function",
)
def starcoder2(config: Config, draft: Draft, precision: Precision) -> None:
    config.must_be("norm_type", "layer_norm", None, why="only layer_norm is understood")
    config.must_be("mlp_type", "default", None, why="only the default is understood")
    attention_sizes(config, draft)
    bias = config.flag("use_bias")
    options = window(config, draft) | qkv_bias(bias, bias)
    inner(config, draft)
    uniform(config, draft, precision, options, mlp(config, draft, "hidden_act", bias), Frame(layernorm))


@family(
    "stablelm",
    title="StableLM",
    config="StableLmConfig",
    defaults={
        "vocab_size": 50304,
        "hidden_size": 2560,
        "intermediate_size": 6912,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "use_qkv_bias": False,
        "qk_layernorm": False,
        "use_parallel_residual": False,
        "partial_rotary_factor": 0.25,
    },
)
def stablelm(config: Config, draft: Draft, precision: Precision) -> None:
    config.must_be("qk_layernorm", False, None, why="only false is understood")
    width(config, draft)
    heads(config, draft)
    size = derived_head_dim(config, draft)
    options = partial_rotary(config, draft, size) | qkv_bias(config.flag("use_qkv_bias"), False)
    inner(config, draft)
    arrangement = parallel if config.flag("use_parallel_residual") else pre_norm
    uniform(config, draft, precision, options, gated(config, draft), Frame(layernorm, arrangement))


@family(
    "phi",
    title="Phi",
    config="PhiConfig",
    defaults={
        "vocab_size": 51200,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 24,
        "num_attention_heads": 32,
        "hidden_act": "gelu_new",
        "tie_word_embeddings": False,
        "qk_layernorm": False,
        "partial_rotary_factor": 0.5,
    },
)
def phi(config: Config, draft: Draft, precision: Precision) -> None:
    config.must_be("qk_layernorm", False, None, why="only false is understood")
    width(config, draft)
    heads(config, draft)
    size = derived_head_dim(config, draft)
    options = partial_rotary(config, draft, size) | qkv_bias(True, True)
    inner(config, draft)
    frame = Frame(layernorm, parallel, head_bias=True)
    uniform(config, draft, precision, options, mlp(config, draft, "hidden_act"), frame)


@family(
    "gpt_neox",
    title="GPT-NeoX",
    config="GPTNeoXConfig",
    defaults={
        "vocab_size": 50432,
        "hidden_size": 6144,
        "intermediate_size": 24576,
        "num_hidden_layers": 44,
        "num_attention_heads": 64,
        "hidden_act": "gelu",
        "tie_word_embeddings": False,
        "use_parallel_residual": True,
        "attention_bias": True,
        "rotary_pct": 0.25,
    },
)
def gpt_neox(config: Config, draft: Draft, precision: Precision) -> None:
    width(config, draft)
    heads(config, draft)
    size = derived_head_dim(config, draft)
    bias = config.flag("attention_bias")
    options = partial_rotary(config, draft, size, "rotary_pct") | qkv_bias(bias, bias)
    inner(config, draft)
    arrangement = parallel_two_norms if config.flag("use_parallel_residual") else pre_norm
    uniform(config, draft, precision, options, mlp(config, draft, "hidden_act"), Frame(layernorm, arrangement))


# --- learned positions and other early decoders


GPT2: dict[str, Any] = {
    "vocab_size": 50257,
    "n_positions": 1024,
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
    "n_inner": None,
    "activation_function": "gelu_new",
    "tie_word_embeddings": True,
    "add_cross_attention": False,
}
_GPT2_ALIASES = {
    "n_embd": "hidden_size",
    "n_positions": "max_position_embeddings",
    "n_head": "num_attention_heads",
    "n_layer": "num_hidden_layers",
}
_GPT2_HARMLESS = (
    "summary_type summary_use_proj summary_activation summary_proj_to_labels summary_first_dropout"
    " scale_attn_weights scale_attn_by_inverse_layer_idx reorder_and_upcast_attn attention_softmax_in_fp32"
    " scale_attention_softmax_in_fp32 inference_runner validate_runner_input pre_allocate_kv_cache"
    " max_batch_size max_sequence_length pad_key_length"
)


def _early(config: Config, draft: Draft, one_kv: bool = False) -> int:
    """The sizes of a decoder with GPT-2's keys; the figure of a head's."""
    config.must_be("add_cross_attention", False, None, why="only a decoder alone is understood")
    width(config, draft, "n_embd")
    draft.dim("num_heads", config.size("n_head"))
    draft.dim("num_kv_heads", *((1, "multi_query") if one_kv else ("num_heads",)))
    size = derived_head_dim(config, draft, "n_embd", "n_head")
    f = config.optional("n_inner")
    if f is None:
        draft.dim("intermediate_size", "4 * hidden_size", "no n_inner is given")
    else:
        draft.dim("intermediate_size", f)
    return size


def _learned_positions(config: Config, draft: Draft, key: str) -> None:
    draft.dim("max_positions", config.size(key))


def _gpt2(config: Config, draft: Draft, precision: Precision, one_kv: bool) -> None:
    _early(config, draft, one_kv)
    options = {"rotary": "false", **qkv_bias(True, True)}
    _learned_positions(config, draft, "n_positions")
    frame = Frame(layernorm, positions=True)
    uniform(config, draft, precision, options, mlp(config, draft, "activation_function"), frame, "n_layer")


@family("gpt2", title="GPT-2", config="GPT2Config", defaults=GPT2, aliases=_GPT2_ALIASES, harmless=_GPT2_HARMLESS)
def gpt2(config: Config, draft: Draft, precision: Precision) -> None:
    _gpt2(config, draft, precision, one_kv=False)


@family(
    "gpt_bigcode",
    title="StarCoder",
    config="GPTBigCodeConfig",
    defaults={**GPT2, "activation_function": "gelu_pytorch_tanh", "multi_query": True},
    aliases=_GPT2_ALIASES,
    harmless=_GPT2_HARMLESS,
)
def gpt_bigcode(config: Config, draft: Draft, precision: Precision) -> None:
    _gpt2(config, draft, precision, one_kv=config.flag("multi_query"))


@family(
    "gptj",
    title="GPT-J",
    config="GPTJConfig",
    defaults={
        **GPT2,
        "vocab_size": 50400,
        "n_positions": 2048,
        "n_embd": 4096,
        "n_layer": 28,
        "n_head": 16,
        "rotary_dim": 64,
        "tie_word_embeddings": False,
    },
    aliases=_GPT2_ALIASES,
    harmless=f"n_positions rotary {_GPT2_HARMLESS}",
)
def gptj(config: Config, draft: Draft, precision: Precision) -> None:
    size = _early(config, draft)
    rotated = config.optional("rotary_dim")
    options = {}
    if rotated is not None and rotated.value < size:
        draft.dim("rope_size", rotated)
        options = {"rope_size": "rope_size"}
    frame = Frame(layernorm, parallel, head_bias=True)
    uniform(config, draft, precision, options, mlp(config, draft, "activation_function"), frame, "n_layer")


@family(
    "falcon",
    "RefinedWeb",
    "RefinedWebModel",
    title="Falcon",
    config="FalconConfig",
    defaults={
        "vocab_size": 65024,
        "hidden_size": 4544,
        "num_hidden_layers": 32,
        "num_attention_heads": 71,
        "num_kv_heads": None,
        "alibi": False,
        "new_decoder_architecture": False,
        "multi_query": True,
        "parallel_attn": True,
        "bias": False,
        "activation": "gelu",
        "tie_word_embeddings": True,
    },
    aliases={
        "hidden_size": "n_embed",
        "num_hidden_layers": "n_layer",
        "num_attention_heads": "n_head",
        "num_kv_heads": "n_head_kv",
    },
    harmless="apply_residual_connection_post_layernorm",
)
def falcon(config: Config, draft: Draft, precision: Precision) -> None:
    config.must_be("apply_residual_connection_post_layernorm", False, None, why="only false is understood")
    new = config.flag("new_decoder_architecture")
    width(config, draft)
    h = config.size("num_attention_heads")
    draft.dim("num_heads", h)
    g = config.optional("num_kv_heads")
    if not new and config.flag("multi_query"):
        config.unused("num_kv_heads")
        draft.dim("num_kv_heads", 1, "multi_query")
    elif new and g is not None:
        config.divides("num_kv_heads", "num_attention_heads", g.value, h.value)
        draft.dim("num_kv_heads", g)
    else:
        draft.dim("num_kv_heads", "num_heads")
    config.unused("multi_query")
    derived_head_dim(config, draft)
    f = config.optional("ffn_hidden_size")
    if f is None:
        draft.dim("intermediate_size", "4 * hidden_size", "no ffn_hidden_size is given")
    else:
        draft.dim("intermediate_size", f)
    bias = config.flag("bias")
    options = alibi() if config.flag("alibi") else {}
    if new:
        norms = config.optional("num_ln_in_parallel_attn", most=2)
        arrangement = parallel if norms is not None and norms.value == 1 else parallel_two_norms
        config.unused("parallel_attn")
    else:
        config.unused("num_ln_in_parallel_attn")
        arrangement = parallel if config.flag("parallel_attn") else pre_norm
    feed = mlp(config, draft, "activation", bias)
    uniform(config, draft, precision, {**options, **qkv_bias(bias, bias)}, feed, Frame(layernorm, arrangement))


def alibi() -> dict[str, str]:
    """A number that grows with the distance is added to each score; nothing is learned, and nothing rotated."""
    return {"rotary": "false", "position_bias": "true"}


@family(
    "bloom",
    title="BLOOM",
    config="BloomConfig",
    defaults={
        "vocab_size": 250880,
        "hidden_size": 64,
        "n_layer": 2,
        "n_head": 8,
        "tie_word_embeddings": True,
        "apply_residual_connection_post_layernorm": False,
    },
    aliases={"hidden_size": "n_embed", "n_layer": "num_hidden_layers", "n_head": "num_attention_heads"},
    harmless="slow_but_exact skip_bias_add skip_bias_add_qkv attention_softmax_in_fp32 masked_softmax_fusion"
    " bias_dropout_fusion unk_token_id offset_alibi use_cache",
)
def bloom(config: Config, draft: Draft, precision: Precision) -> None:
    config.must_be("apply_residual_connection_post_layernorm", False, None, why="only false is understood")
    width(config, draft)
    draft.dim("num_heads", config.size("n_head"))
    draft.dim("num_kv_heads", "num_heads")
    derived_head_dim(config, draft, "hidden_size", "n_head")
    draft.dim("intermediate_size", "4 * hidden_size")
    draft.use("feed_forward")
    options = {**alibi(), **biases(q_bias=True, k_bias=True, v_bias=True, o_bias=True)}
    frame = Frame(layernorm, embedding_norm=True)
    uniform(config, draft, precision, options, Half(Call("mlp", {}), "dense"), frame, "n_layer")
