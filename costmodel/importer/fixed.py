"""Families whose structure does not vary: each is a shipped model with other sizes."""

from __future__ import annotations

from typing import Any

from costmodel.importer.config import Config, Size
from costmodel.importer.decoder import MOST_LAYERS, activation, num_layers
from costmodel.importer.draft import Draft
from costmodel.importer.family import family
from costmodel.importer.mixtures import mamba_sizes
from costmodel.importer.precision import Precision
from costmodel.importer.template import Value, like


def _divided(config: Config, width: str, heads: str) -> tuple[Size, Size]:
    """A width and the heads that divide it."""
    d, h = config.size(width), config.size(heads)
    config.divides(heads, width, h.value, d.value)
    return d, h


# --- decoders


@family(
    "opt",
    title="OPT",
    config="OPTConfig",
    defaults={
        "vocab_size": 50272,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "ffn_dim": 3072,
        "max_position_embeddings": 2048,
        "do_layer_norm_before": True,
        "num_attention_heads": 12,
        "activation_function": "relu",
        "enable_bias": True,
        "layer_norm_elementwise_affine": True,
        "tie_word_embeddings": True,
        "_remove_final_layer_norm": False,
    },
)
def opt(config: Config, draft: Draft, precision: Precision) -> None:
    for key in ("enable_bias", "layer_norm_elementwise_affine", "tie_word_embeddings"):
        config.must_be(key, True, why="only true is understood")
    config.must_be("_remove_final_layer_norm", False, None, why="only false is understood")
    config.word("activation_function", ("relu",))
    d, h = _divided(config, "hidden_size", "num_attention_heads")
    e = config.optional("word_embed_proj_dim")
    positions = config.size("max_position_embeddings")
    values: dict[str, Value] = {
        "hidden_size": d,
        "num_heads": h,
        "intermediate_size": config.size("ffn_dim"),
        "num_layers": num_layers(config),
        "max_positions": (positions.value + 2, f"{positions.origin}, and 2"),
        "vocab_size": config.size("vocab_size"),
        "post_norm": (0 if config.flag("do_layer_norm_before") else 1, config.origin("do_layer_norm_before")),
    }
    if e is not None:
        values["embedding_size"] = e
    like(draft, "opt", precision, values)


@family(
    "mamba",
    title="Mamba",
    config="MambaConfig",
    defaults={
        "vocab_size": 50280,
        "hidden_size": 768,
        "state_size": 16,
        "num_hidden_layers": 32,
        "expand": 2,
        "conv_kernel": 4,
        "use_bias": False,
        "use_conv_bias": True,
        "hidden_act": "silu",
        "time_step_rank": "auto",
        "tie_word_embeddings": True,
    },
    harmless="time_step_scale time_step_min time_step_max time_step_init_scheme time_step_floor residual_in_fp32"
    " rescale_prenorm_residual fused_add_norm ssm_cfg pad_vocab_size_multiple rms_norm d_model d_inner n_layer",
)
def mamba(config: Config, draft: Draft, precision: Precision) -> None:
    config.must_be("use_bias", False, None, why="only false is understood")
    config.must_be("use_conv_bias", True, why="only true is understood")
    config.must_be("tie_word_embeddings", True, why="only true is understood")
    activation(config, "hidden_act", ("silu",))
    d, layers, vocab = config.size("hidden_size"), num_layers(config), config.size("vocab_size")
    inner = config.optional("intermediate_size")
    if inner is not None and inner.value != config.size("expand").value * d.value:
        config.fault(f"`intermediate_size` is {inner}, and `expand` times `hidden_size` is not", "intermediate_size")
    draft.dim("hidden_size", d)
    mamba_sizes(config, draft, "expand", "state_size", "time_step_rank", "conv_kernel")
    like(draft, "mamba", precision, {"num_layers": layers, "vocab_size": vocab})


@family(
    "mamba2",
    title="Mamba-2",
    config="Mamba2Config",
    defaults={
        "num_heads": 128,
        "head_dim": 64,
        "vocab_size": 32768,
        "hidden_size": 4096,
        "state_size": 128,
        "num_hidden_layers": 64,
        "expand": 2,
        "conv_kernel": 4,
        "n_groups": 8,
        "use_bias": False,
        "use_conv_bias": True,
        "hidden_act": "silu",
        "chunk_size": 256,
        "tie_word_embeddings": False,
    },
    harmless="time_step_min time_step_max time_step_floor time_step_limit time_step_rank residual_in_fp32"
    " rescale_prenorm_residual norm_before_gate rms_norm fused_add_norm pad_vocab_size_multiple A_initializer_range",
)
def mamba2(config: Config, draft: Draft, precision: Precision) -> None:
    config.must_be("use_bias", False, None, why="only false is understood")
    config.must_be("use_conv_bias", True, why="only true is understood")
    config.must_be("rms_norm", True, None, why="only true is understood")
    activation(config, "hidden_act", ("silu",))
    d, factor = config.size("hidden_size"), config.size("expand")
    h, size = config.size("num_heads"), config.size("head_dim")
    if config.sound("num_heads", "head_dim", "expand") and h.value * size.value != factor.value * d.value:
        message = (
            f"`num_heads` of {h} times `head_dim` of {size} is not `expand` of {factor} times `hidden_size` of {d}"
        )
        config.fault(message, "num_heads", others=["head_dim", "expand", "hidden_size"])
    groups = config.size("n_groups")
    config.divides("n_groups", "num_heads", groups.value, h.value)
    values: dict[str, Value] = {
        "hidden_size": d,
        "inner_size": (f"{factor} * hidden_size", factor.origin),
        "head_dim": size,
        "num_groups": groups,
        "state_size": config.size("state_size"),
        "conv_kernel": config.size("conv_kernel"),
        "chunk_size": config.size("chunk_size"),
        "num_layers": num_layers(config),
        "vocab_size": config.size("vocab_size"),
        "tied": (int(config.flag("tie_word_embeddings")), config.origin("tie_word_embeddings")),
    }
    like(draft, "mamba-2", precision, values)


@family(
    "rwkv",
    title="RWKV-4",
    config="RwkvConfig",
    defaults={"vocab_size": 50277, "hidden_size": 4096, "num_hidden_layers": 32, "tie_word_embeddings": False},
    harmless="context_length rescale_every",
)
def rwkv(config: Config, draft: Draft, precision: Precision) -> None:
    config.must_be("tie_word_embeddings", False, None, why="only false is understood")
    d, inner, f = (
        config.size("hidden_size"),
        config.optional("attention_hidden_size"),
        config.optional("intermediate_size"),
    )
    if inner is not None and inner.value != d.value:
        config.fault(f"`attention_hidden_size` is {inner}: only that of `hidden_size` is understood", inner.origin)
    values: dict[str, Value] = {
        "hidden_size": d,
        "num_layers": num_layers(config),
        "vocab_size": config.size("vocab_size"),
    }
    if f is not None:
        values["intermediate_size"] = f
    like(draft, "rwkv-4", precision, values)


# --- encoders


BERT: dict[str, Any] = {
    "vocab_size": 30522,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "is_decoder": False,
    "add_cross_attention": False,
    "position_embedding_type": "absolute",
}


@family(
    "roberta",
    "xlm-roberta",
    "camembert",
    title="RoBERTa",
    config="RobertaConfig",
    defaults={**BERT, "vocab_size": 50265},
    harmless="output_past",
)
@family("bert", title="BERT", config="BertConfig", defaults=BERT, harmless="gradient_checkpointing")
def bert(config: Config, draft: Draft, precision: Precision) -> None:
    config.must_be("is_decoder", False, None, why="only an encoder is understood")
    config.must_be("add_cross_attention", False, None, why="only an encoder is understood")
    config.must_be("position_embedding_type", "absolute", None, why="only learned positions are understood")
    activation(config, "hidden_act", ("gelu",))
    config.unused("tie_word_embeddings", "architectures")
    config.note("The encoder and its pooler are counted, no head of a task.")
    d, h = _divided(config, "hidden_size", "num_attention_heads")
    values: dict[str, Value] = {
        "hidden_size": d,
        "num_heads": h,
        "intermediate_size": config.size("intermediate_size"),
        "num_layers": num_layers(config),
        "max_positions": config.size("max_position_embeddings"),
        "num_segments": config.size("type_vocab_size"),
        "vocab_size": config.size("vocab_size"),
    }
    like(draft, "bert", precision, values)


@family(
    "vit",
    title="ViT",
    config="ViTConfig",
    defaults={
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "hidden_act": "gelu",
        "image_size": 224,
        "patch_size": 16,
        "num_channels": 3,
        "qkv_bias": True,
    },
    harmless="encoder_stride pooler_act",
)
def vit(config: Config, draft: Draft, precision: Precision) -> None:
    config.must_be("qkv_bias", True, why="only true is understood")
    config.must_be("num_channels", 3, why="only images of 3 colours are understood")
    activation(config, "hidden_act", ("gelu",))
    config.unused("tie_word_embeddings")
    d, h = _divided(config, "hidden_size", "num_attention_heads")
    image, patch = config.size("image_size"), config.size("patch_size")
    config.divides("patch_size", "image_size", patch.value, image.value)
    values: dict[str, Value] = {
        "hidden_size": d,
        "num_heads": h,
        "intermediate_size": config.size("intermediate_size"),
        "num_layers": num_layers(config),
        "image_size": image,
        "patch_size": patch,
        "num_classes": _classes(config),
    }
    like(draft, "vit", precision, values)


def _classes(config: Config) -> Value:
    """What ViT's last layer gives: a number for each class, or, without a head, the pooler's vector."""
    architectures = config.value("architectures")
    name = architectures[-1].value if isinstance(architectures, list) and architectures else ""
    if name == "ViTModel":
        p = config.optional("pooler_output_size")
        config.note("`architectures` names the model without a classifier; its pooler stands in that place.")
        return p if p is not None else ("hidden_size", "the pooler's: architectures names ViTModel")
    if name not in ("", "ViTForImageClassification"):
        config.fault(f"`architectures` names `{str(name)[:80]}`, whose head is not understood", "architectures")
    config.unused("pooler_output_size")
    labels = config.within("id2label")
    if labels:
        return (len(labels), "id2label")
    given = config.optional("num_labels")
    return given if given is not None else (2, "ViTConfig's own: no id2label is given")


# --- encoders with decoders


T5: dict[str, Any] = {
    "vocab_size": 32128,
    "d_model": 512,
    "d_kv": 64,
    "d_ff": 2048,
    "num_layers": 6,
    "num_heads": 8,
    "relative_attention_num_buckets": 32,
    "feed_forward_proj": "relu",
    "tie_word_embeddings": True,
}
_T5_ALIASES = {
    "d_model": "hidden_size",
    "num_heads": "num_attention_heads",
    "num_layers": "num_hidden_layers",
    "d_kv": "head_dim",
}


@family(
    "mt5",
    title="mT5",
    config="MT5Config",
    defaults={
        **T5,
        "vocab_size": 250112,
        "d_ff": 1024,
        "num_layers": 8,
        "num_heads": 6,
        "feed_forward_proj": "gated-gelu",
    },
    aliases=_T5_ALIASES,
    harmless="relative_attention_max_distance layer_norm_epsilon output_past tokenizer_class",
)
@family(
    "t5",
    title="T5",
    config="T5Config",
    defaults=T5,
    aliases=_T5_ALIASES,
    harmless="relative_attention_max_distance layer_norm_epsilon output_past",
)
def t5(config: Config, draft: Draft, precision: Precision) -> None:
    gated = config.word("feed_forward_proj", ("relu", "gated-gelu")) == "gated-gelu"
    config.unused("dense_act_fn", "is_gated_act")
    layers, decoder = num_layers(config, "num_layers"), config.optional("num_decoder_layers", most=MOST_LAYERS)
    source = config.optional("n_positions")
    tied = config.flag("tie_word_embeddings")
    values: dict[str, Value] = {
        "hidden_size": config.size("d_model"),
        "num_heads": config.size("num_heads"),
        "head_dim": config.size("d_kv"),
        "intermediate_size": config.size("d_ff"),
        "num_layers": layers,
        "num_buckets": config.size("relative_attention_num_buckets"),
        "source_len": source if source is not None else (512, "what T5 was trained on; any length is possible"),
        "vocab_size": config.size("vocab_size"),
        "gated": (int(gated), config.origin("feed_forward_proj")),
        "tied": (int(tied), config.origin("tie_word_embeddings")),
    }
    if decoder is not None:
        values["decoder_layers"] = decoder
    like(draft, "t5", precision, values)


@family(
    "whisper",
    title="Whisper",
    config="WhisperConfig",
    defaults={
        "vocab_size": 51865,
        "num_mel_bins": 80,
        "encoder_layers": 4,
        "encoder_attention_heads": 6,
        "decoder_layers": 4,
        "decoder_attention_heads": 6,
        "decoder_ffn_dim": 1536,
        "encoder_ffn_dim": 1536,
        "activation_function": "gelu",
        "d_model": 384,
        "max_source_positions": 1500,
        "max_target_positions": 448,
        "tie_word_embeddings": True,
    },
    harmless="scale_embedding use_weighted_layer_sum classifier_proj_size apply_spec_augment mask_time_prob"
    " mask_time_length mask_time_min_masks mask_feature_prob mask_feature_length mask_feature_min_masks"
    " median_filter_width alignment_heads num_hidden_layers lang_ids lang_to_id task_to_id",
)
def whisper(config: Config, draft: Draft, precision: Precision) -> None:
    config.must_be("tie_word_embeddings", True, why="only true is understood")
    activation(config, "activation_function", ("gelu",))
    d, h = _divided(config, "d_model", "encoder_attention_heads")
    f, positions = config.size("encoder_ffn_dim"), config.size("max_source_positions")
    for mine, other, size in (
        ("encoder_attention_heads", "decoder_attention_heads", h),
        ("encoder_ffn_dim", "decoder_ffn_dim", f),
    ):
        of_decoder = config.size(other)
        if config.sound(mine, other) and of_decoder.value != size.value:
            message = f"`{other}` is {of_decoder} and `{mine}` {size}: only the same of both is understood"
            config.fault(message, other, others=[mine])
    values: dict[str, Value] = {
        "hidden_size": d,
        "num_heads": h,
        "intermediate_size": f,
        "encoder_layers": num_layers(config, "encoder_layers"),
        "decoder_layers": num_layers(config, "decoder_layers"),
        "mel_bins": config.size("num_mel_bins"),
        "mel_frames": (2 * positions.value, f"twice {positions.origin}"),
        "max_text_len": config.size("max_target_positions"),
        "vocab_size": config.size("vocab_size"),
    }
    like(draft, "whisper", precision, values)
