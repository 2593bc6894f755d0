"""Families with mixtures of experts, in all layers or in some, whatever mixes their tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from costmodel.importer.config import Config
from costmodel.importer.decoder import (
    Frame,
    Half,
    Layer,
    attention_sizes,
    decoder,
    gated,
    inner,
    layernorm,
    local_layers,
    local_window,
    num_layers,
    partial_rotary,
    qkv_bias,
    width,
    window,
)
from costmodel.importer.dense import attention, rotary_layers, windowed
from costmodel.importer.draft import Call, Draft
from costmodel.importer.family import family
from costmodel.importer.layers import First
from costmodel.importer.precision import Precision


def experts(config: Config, draft: Draft, number: str = "num_experts", chosen: str = "num_experts_per_tok") -> None:
    """How many experts a layer has, and how many of them a token runs."""
    draft.use("mixture")
    e, k = config.size(number), config.size(chosen)
    if config.sound(number, chosen) and k.value > e.value:
        config.fault(f"`{chosen}` is {k}, more than the {e} experts that there are", chosen, others=[number])
    draft.dim("num_experts", e)
    draft.dim("top_k", k)


def mixture(options: Mapping[str, str] | None = None) -> Half:
    return Half(Call("mixture", options or {}), "sparse")


def widths(config: Config, draft: Draft, key: str, dense: bool) -> dict[str, str]:
    """The inner width of an expert, beside that of dense layers where there are such; as an option of `mixture`."""
    size = config.size(key)
    if not dense:
        config.unused("intermediate_size")
        draft.dim("intermediate_size", size, doc="inner width of an expert")
        return {}
    inner(config, draft)
    draft.dim("expert_size", size)
    return {"inner": "expert_size"}


def feeds(config: Config, draft: Draft, sparse: Sequence[bool], half: Half) -> list[Half]:
    """What works on each token, layer by layer: experts, or one gated block."""
    dense = None if all(sparse) else gated(config, draft)
    return [half if is_sparse or dense is None else dense for is_sparse in sparse]


def stepped(config: Config, total: int) -> list[bool]:
    """Which layers have experts by Qwen's keys: every `decoder_sparse_step`-th that is not among `mlp_only_layers`."""
    step = config.size("decoder_sparse_step").value
    dense = set(config.integers("mlp_only_layers", 10**6) or ())
    return [i not in dense and (i + 1) % step == 0 for i in range(total)]


def first_dense(draft: Draft, sparse: Sequence[bool]) -> First | None:
    """A dim for the dense layers at the start, where all others have experts."""
    count = sparse.index(True) if True in sparse else len(sparse)
    if not 0 < count < len(sparse) or not all(sparse[count:]):
        return None
    draft.dim("num_dense_layers", count, "first_k_dense_replace")
    return First("num_dense_layers", count)


# --- attention with grouped heads


@family(
    "mixtral",
    title="Mixtral",
    config="MixtralConfig",
    defaults={
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "num_local_experts": 8,
        "num_experts_per_tok": 2,
    },
    aliases={"num_local_experts": "num_experts"},
)
def mixtral(config: Config, draft: Draft, precision: Precision) -> None:
    attention_sizes(config, draft)
    options = window(config, draft)
    inner(config, draft)
    _all_sparse(config, draft, precision, options, mixture(), "num_local_experts")


def _all_sparse(
    config: Config,
    draft: Draft,
    precision: Precision,
    options: Mapping[str, str],
    half: Half,
    number: str,
    frame: Frame = Frame(),  # noqa: B008
) -> None:
    experts(config, draft, number)
    gated_act(config)
    n = num_layers(config)
    draft.dim("num_layers", n)
    decoder(config, draft, precision, [Layer(attention(draft, options), half)] * n.value, frame)


def gated_act(config: Config) -> None:
    """Experts are gated by silu, as `mixture` is."""
    config.word("hidden_act", ("silu", "swish"))


@family(
    "phimoe",
    title="Phi-3.5-MoE",
    config="PhimoeConfig",
    defaults={
        "vocab_size": 32064,
        "hidden_size": 4096,
        "intermediate_size": 6400,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "num_local_experts": 16,
        "num_experts_per_tok": 2,
        "attention_bias": False,
        "lm_head_bias": False,
    },
)
def phimoe(config: Config, draft: Draft, precision: Precision) -> None:
    attention_sizes(config, draft)
    bias = config.flag("attention_bias")
    options = window(config, draft) | qkv_bias(bias, bias)
    inner(config, draft)
    frame = Frame(layernorm, head_bias=config.flag("lm_head_bias"))
    _all_sparse(config, draft, precision, options, mixture(), "num_local_experts", frame)


@family(
    "granitemoe",
    title="Granite MoE",
    config="GraniteMoeConfig",
    defaults={
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "attention_bias": False,
        "num_local_experts": 8,
        "num_experts_per_tok": 2,
    },
    harmless="embedding_multiplier logits_scaling residual_multiplier attention_multiplier",
)
def granitemoe(config: Config, draft: Draft, precision: Precision) -> None:
    config.note("The multipliers of embeddings, residual sums and logits are not counted.")
    attention_sizes(config, draft)
    inner(config, draft)
    bias = config.flag("attention_bias")
    _all_sparse(config, draft, precision, qkv_bias(bias, bias), mixture(), "num_local_experts")


@family(
    "olmoe",
    title="OLMoE",
    config="OlmoeConfig",
    defaults={
        "vocab_size": 50304,
        "hidden_size": 2048,
        "intermediate_size": 2048,
        "num_hidden_layers": 16,
        "num_attention_heads": 16,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "attention_bias": False,
        "num_experts": 64,
        "num_experts_per_tok": 8,
    },
    aliases={"num_experts": "num_local_experts"},
    harmless="clip_qkv",
)
def olmoe(config: Config, draft: Draft, precision: Precision) -> None:
    attention_sizes(config, draft)
    inner(config, draft)
    bias = config.flag("attention_bias")
    _all_sparse(config, draft, precision, {"whole_norm": "true", **qkv_bias(bias, bias)}, mixture(), "num_experts")


QWEN2_MOE: dict[str, Any] = {
    "vocab_size": 151936,
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "use_sliding_window": False,
    "decoder_sparse_step": 1,
    "moe_intermediate_size": 1408,
    "num_experts_per_tok": 4,
    "num_experts": 60,
}


def _no_windows(config: Config) -> None:
    config.must_be("use_sliding_window", False, None, why="only false is understood")
    config.unused("sliding_window", "max_window_layers")


def _shared(config: Config, draft: Draft) -> dict[str, str]:
    """An expert that every token runs, and scales by a gate of its own."""
    size = config.optional("shared_expert_intermediate_size", least=0)
    if size is None or size.value == 0:
        return {}
    draft.dim("shared_size", size)
    return {"shared_inner": "shared_size", "shared_gate": "true"}


def _stepped(config: Config, draft: Draft, precision: Precision, options: Mapping[str, str], shared: bool) -> None:
    _no_windows(config)
    n = num_layers(config)
    sparse = stepped(config, n.value)
    inside = widths(config, draft, "moe_intermediate_size", not all(sparse))
    half = mixture(inside | (_shared(config, draft) if shared else {}))
    experts(config, draft)
    gated_act(config)
    draft.dim("num_layers", n)
    mixer = attention(draft, options)
    layers = [Layer(mixer, feed) for feed in feeds(config, draft, sparse, half)]
    frame = Frame(pattern=config.whence("mlp_only_layers", "decoder_sparse_step"))
    decoder(config, draft, precision, layers, frame)


@family(
    "qwen2_moe",
    title="Qwen2-MoE",
    config="Qwen2MoeConfig",
    defaults={**QWEN2_MOE, "shared_expert_intermediate_size": 5632, "qkv_bias": True},
    harmless="layer_types",
)
def qwen2_moe(config: Config, draft: Draft, precision: Precision) -> None:
    attention_sizes(config, draft)
    _stepped(config, draft, precision, qkv_bias(config.flag("qkv_bias"), False), shared=True)


@family(
    "qwen3_moe",
    title="Qwen3-MoE",
    config="Qwen3MoeConfig",
    defaults={
        **QWEN2_MOE,
        "intermediate_size": 6144,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
        "moe_intermediate_size": 768,
        "num_experts_per_tok": 8,
        "num_experts": 128,
        "attention_bias": False,
    },
    aliases={"num_experts": "num_local_experts"},
)
def qwen3_moe(config: Config, draft: Draft, precision: Precision) -> None:
    attention_sizes(config, draft)
    bias = config.flag("attention_bias")
    _stepped(config, draft, precision, {"qk_norm": "true", **qkv_bias(bias, bias)}, shared=False)


@family(
    "glm4_moe",
    title="GLM-4.5",
    config="Glm4MoeConfig",
    defaults={
        "vocab_size": 151552,
        "hidden_size": 4096,
        "intermediate_size": 10944,
        "num_hidden_layers": 46,
        "num_attention_heads": 96,
        "num_key_value_heads": 8,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "attention_bias": False,
        "moe_intermediate_size": 1408,
        "num_experts_per_tok": 8,
        "n_shared_experts": 1,
        "n_routed_experts": 128,
        "first_k_dense_replace": 1,
        "use_qk_norm": False,
        "partial_rotary_factor": 0.5,
    },
    aliases={"n_routed_experts": "num_local_experts"},
)
def glm4_moe(config: Config, draft: Draft, precision: Precision) -> None:
    size = attention_sizes(config, draft)
    norm = {"qk_norm": "true"} if config.flag("use_qk_norm") else {}
    options = {**norm, **partial_rotary(config, draft, size), **qkv_bias(config.flag("attention_bias"), False)}
    _sigmoid_scores(config, draft, precision, lambda: attention(draft, options), {"sigmoid_scores", "corrected"})


def _predicted_tokens(config: Config) -> None:
    """Layers that predict further tokens are no part of the model that most libraries run."""
    layers = config.optional("num_nextn_predict_layers", least=0)
    if layers is not None and layers.value:
        config.note(
            "The layers for multi-token prediction (num_nextn_predict_layers) are left out, as in most libraries."
        )


def _sigmoid_scores(
    config: Config, draft: Draft, precision: Precision, mixer: Callable[[], Half], flags: set[str]
) -> None:
    """DeepSeek's mixtures: dense layers first, then routed experts and shared ones."""
    _predicted_tokens(config)
    n = num_layers(config)
    first = config.size("first_k_dense_replace", least=0).value
    every = config.size("moe_layer_freq").value if config.value("moe_layer_freq") is not None else 1
    sparse = [i >= first and i % every == 0 for i in range(n.value)]
    options = widths(config, draft, "moe_intermediate_size", not all(sparse))
    shared = config.optional("n_shared_experts", least=0)
    expert = options.get("inner", "intermediate_size")
    if shared is not None and shared.value == 1:
        options["shared_inner"] = expert
    elif shared is not None and shared.value > 1:
        draft.dim("num_shared_experts", shared)
        options["shared_inner"] = f"num_shared_experts * {expert}"
    options |= {flag: "true" for flag in ("sigmoid_scores", "corrected") if flag in flags}
    experts(config, draft, "n_routed_experts")
    gated_act(config)
    frame = Frame(first=first_dense(draft, sparse))
    draft.dim("num_layers", n)
    half = mixer()
    layers = [Layer(half, feed) for feed in feeds(config, draft, sparse, mixture(options))]
    decoder(config, draft, precision, layers, frame)


# --- latent attention


def latent_attention(config: Config, draft: Draft) -> Half:
    """Multi-head latent attention with its sizes."""
    config.must_be("attention_bias", False, None, why="only false is understood")
    draft.use("latent_attention")
    width(config, draft)
    draft.dim("num_heads", config.size("num_attention_heads"))
    config.unused("num_key_value_heads", "head_dim", "qk_head_dim")
    rank = config.optional("q_lora_rank")
    if rank is None:
        draft.dim("q_lora_rank", 0, "q_lora_rank is null: queries are not compressed")
    else:
        draft.dim("q_lora_rank", rank)
    for name, key in (
        ("kv_lora_rank", "kv_lora_rank"),
        ("nope_head_dim", "qk_nope_head_dim"),
        ("rope_head_dim", "qk_rope_head_dim"),
        ("v_head_dim", "v_head_dim"),
    ):
        draft.dim(name, config.size(key))
    return Half(Call("latent_attention", {}))


def _deepseek(config: Config, draft: Draft, precision: Precision) -> None:
    mixer = latent_attention(config, draft)
    flags = {"sigmoid_scores"} if config.word("scoring_func", ("softmax", "sigmoid")) == "sigmoid" else set()
    methods = ("greedy", "gready", "group_limited_greedy", "noaux_tc")
    flags |= {"corrected"} if config.word("topk_method", methods) == "noaux_tc" else set()
    _sigmoid_scores(config, draft, precision, lambda: mixer, flags)


@family(
    "deepseek_v2",
    title="DeepSeek-V2",
    config="DeepseekV2Config",
    defaults={
        "vocab_size": 102400,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "first_k_dense_replace": 0,
        "kv_lora_rank": 512,
        "q_lora_rank": 1536,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "v_head_dim": 128,
        "n_routed_experts": 64,
        "n_shared_experts": 2,
        "moe_intermediate_size": 1407,
        "topk_method": "greedy",
        "scoring_func": "softmax",
    },
    aliases={"n_routed_experts": "num_experts"},
    harmless="mlp_bias",
)
def deepseek_v2(config: Config, draft: Draft, precision: Precision) -> None:
    config.must_be("mlp_bias", False, None, why="only false is understood")
    _deepseek(config, draft, precision)


@family(
    "deepseek_v3",
    "kimi_k2",
    title="DeepSeek-V3",
    config="DeepseekV3Config",
    defaults={
        "vocab_size": 129280,
        "hidden_size": 7168,
        "intermediate_size": 18432,
        "num_hidden_layers": 61,
        "num_attention_heads": 128,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "first_k_dense_replace": 3,
        "kv_lora_rank": 512,
        "q_lora_rank": 1536,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "v_head_dim": 128,
        "n_routed_experts": 256,
        "n_shared_experts": 1,
        "moe_intermediate_size": 2048,
        "num_experts_per_tok": 8,
        "topk_method": "noaux_tc",
        "scoring_func": "sigmoid",
    },
    aliases={"n_routed_experts": "num_local_experts", "num_nextn_predict_layers": "num_mtp_layers"},
)
def deepseek_v3(config: Config, draft: Draft, precision: Precision) -> None:
    _deepseek(config, draft, precision)


# --- other layers


@family(
    "gpt_oss",
    title="gpt-oss",
    config="GptOssConfig",
    defaults={
        "vocab_size": 201088,
        "hidden_size": 2880,
        "intermediate_size": 2880,
        "num_hidden_layers": 36,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "attention_bias": True,
        "sliding_window": 128,
        "num_local_experts": 128,
        "num_experts_per_tok": 4,
    },
    aliases={"num_local_experts": "num_experts", "num_experts_per_tok": "experts_per_token"},
    harmless="swiglu_limit swiglu_alpha rope_scaling_factor rope_ntk_alpha rope_ntk_beta",
)
def gpt_oss(config: Config, draft: Draft, precision: Precision) -> None:
    attention_sizes(config, draft)
    n = num_layers(config)
    local = local_layers(config, n.value, lambda i: (i + 1) % 2 != 0)
    near = local_window(config, draft, local)
    draft.dim("intermediate_size", config.size("intermediate_size"), doc="inner width of an expert")
    experts(config, draft, "num_local_experts")
    gated_act(config)
    bias = config.flag("attention_bias")
    options = {"sinks": "sinks", **qkv_bias(bias, bias)}
    frame = Frame(layer_weights=("weight sinks[num_heads]",))
    windowed(config, draft, precision, local, near, options, mixture({"biased": "true"}), frame)


@family(
    "llama4_text",
    title="Llama 4",
    config="Llama4TextConfig",
    defaults={
        "vocab_size": 202048,
        "hidden_size": 5120,
        "intermediate_size": 8192,
        "intermediate_size_mlp": 16384,
        "num_hidden_layers": 48,
        "num_attention_heads": 40,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "num_experts_per_tok": 1,
        "num_local_experts": 16,
        "interleave_moe_layer_step": 1,
        "use_qk_norm": True,
        "no_rope_layer_interval": 4,
        "attention_chunk_size": 8192,
        "attention_bias": False,
    },
    harmless="attn_temperature_tuning floor_scale attn_scale for_llm_compressor output_router_logits",
)
def llama4(config: Config, draft: Draft, precision: Precision) -> None:
    attention_sizes(config, draft)
    n = num_layers(config)
    rotary = rotary_layers(config, n.value)
    local = local_layers(config, n.value, lambda i: rotary[i])
    near = local_window(config, draft, local, "attention_chunk_size")
    given = config.integers("moe_layers", n.value - 1)
    step = config.size("interleave_moe_layer_step").value
    sparse = [(i + 1) % step == 0 if given is None else i in given for i in range(n.value)]
    if all(sparse):
        config.unused("intermediate_size_mlp")
        options = {"shared_inner": "intermediate_size"}
        size = config.size("intermediate_size")
        draft.dim("intermediate_size", size, doc="inner width of an expert")
    else:
        inner(config, draft, "intermediate_size_mlp")
        draft.dim("expert_size", config.size("intermediate_size"))
        options = {"inner": "expert_size", "shared_inner": "expert_size"}
    experts(config, draft, "num_local_experts")
    gated_act(config)
    draft.dim("num_layers", n, doc="layers, local and global ones" if len(set(local)) > 1 else "")
    bias = config.flag("attention_bias")
    norm = {"qk_norm": "true", "qk_scale": "false"} if config.flag("use_qk_norm") else {}

    def mixer(is_local: bool, rotated: bool) -> Half:
        options = {**(near if is_local else {}), **(norm if rotated else {"rotary": "false"}), **qkv_bias(bias, bias)}
        name = "local" if is_local else "global"
        return attention(draft, options, name if is_local == rotated else f"{name}_{'rotary' if rotated else 'plain'}")

    halves = feeds(config, draft, sparse, mixture({**options, "sigmoid_scores": "true"}))
    mixers = [mixer(*kind) for kind in zip(local, rotary, strict=True)]
    frame = Frame(pattern=config.whence("layer_types", "no_rope_layers", "no_rope_layer_interval"))
    decoder(config, draft, precision, [Layer(*pair) for pair in zip(mixers, halves, strict=True)], frame)


@family(
    "jamba",
    title="Jamba",
    config="JambaConfig",
    defaults={
        "vocab_size": 65536,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "num_experts_per_tok": 2,
        "num_experts": 16,
        "expert_layer_period": 2,
        "expert_layer_offset": 1,
        "attn_layer_period": 8,
        "attn_layer_offset": 4,
        "mamba_d_state": 16,
        "mamba_d_conv": 4,
        "mamba_expand": 2,
        "mamba_dt_rank": "auto",
        "mamba_conv_bias": True,
        "mamba_proj_bias": False,
    },
    aliases={"num_experts": "num_local_experts"},
    harmless="num_logits_to_keep calc_logits_for_entire_prompt sliding_window mamba_inner_layernorms",
)
def jamba(config: Config, draft: Draft, precision: Precision) -> None:
    config.must_be("mamba_conv_bias", True, why="only true is understood")
    config.must_be("mamba_proj_bias", False, None, why="only false is understood")
    config.must_be("mamba_inner_layernorms", True, None, why="only true is understood")
    config.must_be("sliding_window", None, why="only null is understood")
    draft.use("mamba")
    attention_sizes(config, draft)
    mamba_sizes(config, draft, "mamba_expand", "mamba_d_state", "mamba_dt_rank", "mamba_d_conv")
    inner(config, draft)
    n = num_layers(config)
    attends = _every(config, "attn_layer_period", "attn_layer_offset", n.value)
    sparse = _every(config, "expert_layer_period", "expert_layer_offset", n.value)
    if config.size("num_experts").value == 1:
        sparse = [False] * n.value
    config.unused("num_experts_per_tok")
    if any(sparse):
        experts(config, draft)
    gated_act(config)
    draft.dim("num_layers", n, doc="layers, those of attention and of Mamba")
    scan = Half(Call("mamba", {"normed": "true"}), "mamba")
    look = attention(draft, {"rotary": "false"}, "attention")
    halves = feeds(config, draft, sparse, mixture())
    layers = [Layer(look if attend else scan, half) for attend, half in zip(attends, halves, strict=True)]
    frame = Frame(pattern=config.whence("attn_layer_period", "expert_layer_period"))
    decoder(config, draft, precision, layers, frame)


def _every(config: Config, period: str, offset: str, total: int) -> list[bool]:
    """Which layers are one of so many, counted from an offset."""
    p, o = config.size(period), config.size(offset, least=0)
    if config.sound(period, offset) and o.value >= p.value:
        config.fault(f"`{offset}` is {o}: less than `{period}` of {p} is needed", offset, others=[period])
    return [i % p.value == o.value for i in range(total)]


def mamba_sizes(config: Config, draft: Draft, expand: str, state: str, rank: str, kernel: str) -> None:
    """The sizes of Mamba's mixer."""
    factor = config.size(expand)
    draft.dim("inner_size", f"{factor} * hidden_size", factor.origin)
    draft.dim("state_size", config.size(state))
    if config.value(rank) == "auto":
        d = config.size("hidden_size").value
        exact = d % 16 == 0
        draft.dim("dt_rank", "hidden_size / 16" if exact else -(-d // 16), f"{rank} is auto")
    else:
        draft.dim("dt_rank", config.size(rank))
    draft.dim("conv_kernel", config.size(kernel))


@family(
    "qwen3_next",
    title="Qwen3-Next",
    config="Qwen3NextConfig",
    defaults={
        "vocab_size": 151936,
        "hidden_size": 2048,
        "intermediate_size": 5632,
        "num_hidden_layers": 48,
        "num_attention_heads": 16,
        "num_key_value_heads": 2,
        "head_dim": 256,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "attention_bias": False,
        "partial_rotary_factor": 0.25,
        "full_attention_interval": 4,
        "linear_conv_kernel_dim": 4,
        "linear_key_head_dim": 128,
        "linear_value_head_dim": 128,
        "linear_num_key_heads": 16,
        "linear_num_value_heads": 32,
        "decoder_sparse_step": 1,
        "moe_intermediate_size": 512,
        "shared_expert_intermediate_size": 512,
        "num_experts_per_tok": 10,
        "num_experts": 512,
    },
    aliases={"num_experts": "num_local_experts"},
)
def qwen3_next(config: Config, draft: Draft, precision: Precision) -> None:
    _no_windows(config)
    _predicted_tokens(config)
    draft.use("delta_net")
    size = attention_sizes(config, draft)
    rotated = partial_rotary(config, draft, size)
    h_k, h_v = config.size("linear_num_key_heads"), config.size("linear_num_value_heads")
    config.divides("linear_num_key_heads", "linear_num_value_heads", h_k.value, h_v.value)
    for name, key in (
        ("key_heads", "linear_num_key_heads"),
        ("value_heads", "linear_num_value_heads"),
        ("key_dim", "linear_key_head_dim"),
        ("value_dim", "linear_value_head_dim"),
        ("conv_kernel", "linear_conv_kernel_dim"),
    ):
        draft.dim(name, config.size(key))
    draft.dim("chunk_size", 64, "the library's, no key of the config", "c", "tokens of a chunk in a long pass")
    draft.dim("conv_width", "2 * key_heads * key_dim + value_heads * value_dim")
    n = num_layers(config)
    every = config.size("full_attention_interval").value
    types = config.words("layer_types", ("full_attention", "linear_attention"), n.value)
    full = [(i + 1) % every == 0 for i in range(n.value)] if types is None else [t == "full_attention" for t in types]
    sparse = stepped(config, n.value)
    options = widths(config, draft, "moe_intermediate_size", not all(sparse)) | _shared(config, draft)
    experts(config, draft)
    gated_act(config)
    draft.dim("num_layers", n, doc="layers, linear ones and those of attention")
    bias = config.flag("attention_bias")
    look = attention(draft, {**rotated, "qk_norm": "true", "gated": "true", **qkv_bias(bias, bias)}, "attention")
    delta = Half(Call("delta_net", {}), "linear")
    halves = feeds(config, draft, sparse, mixture(options))
    layers = [Layer(look if is_full else delta, half) for is_full, half in zip(full, halves, strict=True)]
    frame = Frame(pattern=config.whence("layer_types", "full_attention_interval"))
    decoder(config, draft, precision, layers, frame)
