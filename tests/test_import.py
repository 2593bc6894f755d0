"""Specs from configs: the figures that transformers counts, the shipped specs again, and nothing guessed.

data/families.json has small models of every family, as transformers builds and counts them; data/configs the published
configurations of shipped models.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import costmodel as cm
from costmodel.check import check_compiled
from costmodel.compile import compile_source, compile_spec, with_sets
from costmodel.costs import FIDELITIES
from costmodel.importer import import_config
from costmodel.importer.family import FAMILIES
from costmodel.importer.layers import First, repeats
from costmodel.layout import laid_out
from costmodel.library import read as read_source
from costmodel.quantity_names import QUANTITIES
from costmodel.source import Source, SpecError
from costmodel.symbols import is_zero

from .conftest import GOLDEN, Done
from .extra_counts import extra_flops
from .transformers_models import Row, read

Cli = Callable[..., Done]

CONFIGS = Path(__file__).with_name("data") / "configs"
SHIPPED = {
    "bert-base": "bert:base",
    "deepseek-v2-lite": "deepseek-v2:lite",
    "deepseek-v3": "deepseek-v3",
    "falcon-7b": "falcon:7b",
    "gemma-2-9b": "gemma-2:9b",
    "gpt-2": "gpt-2",
    "gpt-oss-20b": "gpt-oss:20b",
    "jamba-v0.1": "jamba:v0.1",
    "llama-2-7b": "llama-2:7b",
    "llama-3.1-405b": "llama-3.1:405b",
    "llama-3.1-70b": "llama-3.1:70b",
    "llama-3.1-8b": "llama-3.1:8b",
    "mamba2-2.7b": "mamba-2:2.7b",
    "mistral-7b-v0.1": "mistral:7b-v0.1",
    "mixtral-8x7b-v0.1": "mixtral:8x7b",
    "phi-3-mini-4k": "phi-3:mini-4k",
    "qwen2.5-7b": "qwen2.5:7b",
    "qwen3-30b-a3b": "qwen3-moe:30b-a3b",
    "qwen3-8b": "qwen3:8b",
    "qwen3-next-80b-a3b": "qwen3-next:80b-a3b",
    "vit-l-16": "vit:l-16",
    "whisper-large-v3": "whisper:large-v3",
}
FAMILY_ROWS: list[Row] = read("families")["models"]

Json = dict[str, Any]


def config(name: str, **other: Any) -> Json:
    """A published config with other values; a key that is None here is left out."""
    published: Json = json.loads((CONFIGS / f"{name}.json").read_text(encoding="utf-8"))
    return {key: value for key, value in {**published, **other}.items() if value is not None}


def spec(given: Json | str, *ignored: str) -> str:
    """What is written for a config."""
    text = given if isinstance(given, str) else json.dumps(given, indent=2)
    return import_config(Source("config.json", text), ignored).text


def model(given: Json | str) -> cm.Model:
    return cm.parse(spec(given))


def faults(given: Json | str, *ignored: str) -> list[str]:
    """What is said of a config that is refused."""
    with pytest.raises(SpecError) as refused:
        spec(given, *ignored)
    return [found.message for found in refused.value.diagnostics]


# --- what transformers counts

by_family = pytest.mark.parametrize("row", FAMILY_ROWS, ids=[row["spec"] for row in FAMILY_ROWS])
PASSES = [(row, phase) for row in FAMILY_ROWS for phase in ("prefill", "decode") if phase in row]

# by model type: the shipped spec beyond which transformers counts the same again
LIKE = {
    "deepseek_v2": "deepseek-v2",
    "deepseek_v3": "deepseek-v3",
    "jamba": "jamba",
    "llama4_text": "",
    "mamba": "mamba",
    "mamba2": "mamba-2",
    "qwen3_next": "qwen3-next",
}


def of_row(row: Row) -> Json:
    return {"architectures": [row["class"]], **row["config"]}


def as_run(row: Row, phase: str) -> cm.Model:
    """The model as transformers runs it: in prefill all pairs of tokens are multiplied, window or not, and every expert
    of Llama 4 works on every token."""
    found = model(of_row(row))
    for window in {"sliding_window", "chunk_size"} & set(found.dims) if phase == "prefill" else ():
        if found.dims[window] == 32:
            found = found.set(**{window: 10**6})
    if row["config"]["model_type"] == "llama4_text":
        found = found.set(top_k="num_experts")
    return found


@by_family
def test_parameters_of_every_family(row: Row) -> None:
    assert model(of_row(row)).cost().params == row["params"]


@pytest.mark.parametrize(("row", "phase"), PASSES, ids=[f"{row['spec']}-{phase}" for row, phase in PASSES])
def test_flops_of_every_family(row: Row, phase: str) -> None:
    batch, context, counted = row[phase]
    found = as_run(row, phase)
    extra = extra_flops(LIKE.get(row["config"]["model_type"], ""), phase, found.dims)
    point = {cm.batch_size: batch, cm.seq_len: context or 1}
    assert (found.cost(phase=phase).matmul_flops + extra).subs(point) == counted


@by_family
def test_every_family_is_sound(row: Row) -> None:
    """Nothing is declared that no pass uses, and every dim says what it is."""
    compiled = compile_source(Source("config.json, imported", spec(of_row(row))))
    checked = check_compiled(compiled)
    assert (checked.errors, checked.warnings) == ((), ())
    assert [name for name, dim in compiled.program.dims.items() if not dim.doc and not dim.latex] == []


def test_every_family_is_held_against_transformers() -> None:
    held = {FAMILIES[row["config"]["model_type"]].build for row in FAMILY_ROWS}
    assert {family.build for family in FAMILIES.values()} == held


@by_family
def test_what_the_class_has_may_be_left_out(row: Row) -> None:
    """A config that says what its class has anyway is the same model as one that says nothing."""
    given, family = of_row(row), FAMILIES[row["config"]["model_type"]]
    said = set(given) | {family.aliases.get(key) for key in given}
    said |= {key for key, alias in family.aliases.items() if alias in given}
    defaults = {key: value for key, value in family.defaults.items() if key not in said and value is not None}
    full = model({**given, **defaults})
    assert full.cost().params == row["params"]
    assert is_zero(full.cost().flops - model(given).cost().flops)


# --- the shipped specs again


# the shipped Jamba has a `repeat` in a `repeat`, which carries the residual stream once more
STREAM = 2 * 4096 * cm.batch_size
NESTED = {("jamba-v0.1", "prefill"): STREAM * cm.seq_len, ("jamba-v0.1", "decode"): STREAM}


@pytest.mark.parametrize("name", SHIPPED)
def test_a_published_config_is_the_shipped_spec(name: str) -> None:
    """In every quantity of every phase at every fidelity, as formulas."""
    plain = [f"dtype.{role}=bf16" for role in ("weights", "matrices", "experts", "cache", "activations")]
    specs = (str(CONFIGS / f"{name}.json"), SHIPPED[name])
    ours, theirs = (cm.Model(with_sets(compile_spec(each), plain)) for each in specs)
    quantities = [name for name in QUANTITIES if _is_of_a_pass(theirs, name)]
    assert {"params", "active_params", "flops", "bytes", "memory"} < set(quantities)
    for phase in ("prefill", "decode"):
        for fidelity in FIDELITIES:
            a, b = (each.cost(phase=phase, fidelity=fidelity) for each in (ours, theirs))
            nested = NESTED.get((name, phase), 0)
            for quantity in quantities:
                peak = quantity == "activation_memory" or (quantity, fidelity) == ("memory", "traffic")
                more = nested if peak else 0
                assert is_zero(getattr(b, quantity) - getattr(a, quantity) - more), (phase, fidelity, quantity)


def _is_of_a_pass(shipped: cm.Model, name: str) -> bool:
    """Whether a quantity needs neither a device nor a request."""
    try:
        getattr(shipped.cost(), name)
    except (AttributeError, ValueError, SpecError):
        return False
    return True


@pytest.mark.parametrize("name", ["llama-3.1-8b", "gemma-2-9b", "deepseek-v3", "gpt-oss-20b", "jamba-v0.1", "vit-l-16"])
def test_what_is_written(name: str, golden: Callable[[str, str], None]) -> None:
    """Laid out as `costmodel fmt` would."""
    text = import_config(read_source(CONFIGS / f"{name}.json")).text
    golden(f"import/{name}.arch", text)
    assert laid_out(Source("spec", text)) == text


def test_a_name_of_its_own() -> None:
    """From the config, else from the file, else from its folder."""
    text = json.dumps(config("gpt-2"))
    named = json.dumps(config("gpt-2", _name_or_path="models/Mine-1.5B/"))
    assert 'model mine_1_5b "Mine-1.5B"' in spec(named)
    for place, title in (("x/tiny.json", "tiny"), ("x/Tiny GPT/config.json", "Tiny GPT"), ("config.json", "GPT-2")):
        assert f'"{title}"' in import_config(Source(place, text)).text.partition("\nuse")[0]


# --- keys


def test_the_text_part_of_a_config() -> None:
    """Of a model for several kinds of input the language model is taken, and that is said."""
    text = config("gemma-2-9b", model_type="gemma3_text")
    both = {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "text_config": {k: v for k, v in text.items() if k not in ("model_type", "final_logit_softcapping")},
        "vision_config": {"model_type": "siglip_vision_model", "hidden_size": 1152},
        "tie_word_embeddings": True,
        "dtype": "float16",
    }
    found = import_config(Source("config.json", json.dumps(both)))
    assert "vision_config" in found.notes[0]
    assert "dtype weights     = fp16" in found.text
    alone = {k: v for k, v in text.items() if k != "final_logit_softcapping"}
    assert cm.parse(found.text).cost().params == model({**alone, "dtype": "float16"}).cost().params


@pytest.mark.parametrize(
    ("changed", "params"),
    [
        ({"head_dim": 64}, 8_030_261_248 - 32 * 64 * 4096 * (2 * 32 + 2 * 8)),
        ({"tie_word_embeddings": True}, 8_030_261_248 - 128256 * 4096),
        ({"attention_bias": True}, 8_030_261_248 + 32 * (128 * (32 + 16) + 4096)),
        ({"mlp_bias": True}, 8_030_261_248 + 32 * (2 * 14336 + 4096)),
        ({"num_key_value_heads": None}, 8_030_261_248 + 32 * 2 * 24 * 128 * 4096),
        ({"architectures": ["LlamaModel"]}, 8_030_261_248 - 128256 * 4096),
        ({"auto_map": {"AutoConfig": "mine.Mine"}, "rope_scaling": None, "num_labels": 3}, 8_030_261_248),
        ({"n_ctx": 4096, "new_flag": False, "new_list": [], "new_word": ""}, 8_030_261_248),
    ],
)
def test_keys_that_change_the_structure(changed: Json, params: int) -> None:
    assert model(config("llama-3.1-8b", **changed)).cost().params == params


def test_layers_that_differ() -> None:
    """As few `repeat`s as say it."""
    turns = {
        "aaaa": ["num_layers"],
        "abab": ["num_layers / 2"],
        "aabaab": ["num_layers / 3"],
        "ababa": ["num_layers // 2", "num_layers % 2"],
        "aabbaabba": ["num_layers // 4", "num_layers % 4"],
        "aabbaabbaab": ["num_layers // 4", "1"],
        "abbb": ["1", "num_layers - 1"],
        "abba": ["1", "2", "num_layers - 3"],
        "a": ["num_layers"],
    }
    assert {kinds: [repeat.turns for repeat in repeats(kinds)] for kinds in turns} == turns
    assert [r.turns for r in repeats("aabcbcbc", First("n", 2))] == ["n", "(num_layers - n) / 2"]


@pytest.mark.parametrize("kinds", ["a", "aab", "abab", "ababa", "aabbaabbaab", "abba", "abcabcab", "aabcbcbc"])
def test_layers_come_out_as_they_went_in(kinds: str) -> None:
    for first in (None, First("n", 2)):
        found = ""
        for repeat in repeats(kinds, first):
            count = eval(repeat.turns, {"num_layers": len(kinds), "n": 2})
            found += int(count) * "".join(count * kind for count, kind in repeat.body)
        assert found == kinds


# --- dtypes


def dtypes(**changed: Any) -> dict[str, str]:
    lines = spec(config("gpt-oss-20b", **changed)).splitlines()
    pairs = (line.partition("#")[0].removeprefix("dtype ").split("=") for line in lines if line.startswith("dtype "))
    return {role.strip(): kind.strip() for role, kind in pairs}


PLAIN = {"weights": "bf16", "cache": "bf16", "activations": "bf16"}


def test_dtypes() -> None:
    assert dtypes() == PLAIN
    assert dtypes(torch_dtype="float32") == dict.fromkeys(PLAIN, "fp32")
    assert dtypes(dtype="torch.float16", torch_dtype="bfloat16") == dict.fromkeys(PLAIN, "fp16")
    assert dtypes(dtype="auto") == PLAIN
    assert dtypes(torch_dtype="float8_e4m3fn") == {**PLAIN, "weights": "fp8"}
    said = "neither dtype nor torch_dtype stands in the config: bf16 is taken"
    assert said in spec(config("gpt-2"))
    assert faults(config("gpt-2", dtype="int3")) == ['`dtype` is "int3", which is no dtype that is known']


@pytest.mark.parametrize(
    ("quantised", "roles"),
    [
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, {"matrices": "fp8"}),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, {"matrices": "4.15625 bits"}),
        ({"quant_method": "gptq", "bits": 8, "group_size": -1}, {"matrices": "int8"}),
        ({"quant_method": "awq", "w_bit": 4, "q_group_size": 64, "zero_point": False}, {"matrices": "4.25 bits"}),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, {"matrices": "int8"}),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, {"matrices": "4.5 bits"}),
        (
            {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_use_double_quant": True},
            {"matrices": "4.126953125 bits"},
        ),
        (
            {
                "quant_method": "mxfp4",
                "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router", "lm_head"],
            },
            {"experts": "mxfp4"},
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"targets": ["Linear"], "weights": {"num_bits": 8, "type": "float"}}},
                "ignore": ["lm_head"],
                "kv_cache_scheme": {"num_bits": 8, "type": "float"},
            },
            {"matrices": "fp8", "cache": "fp8"},
        ),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4", "exclude_modules": ["lm_head"]}, {"matrices": "nvfp4"}),
        (
            {"quant_method": "awq", "bits": 8, "group_size": -1, "modules_to_not_convert": ["gate"]},
            {"matrices": "int8"},
        ),
        ({"quant_method": "fp8", "modules_to_not_convert": ["mlp.experts"]}, {"matrices": "fp8", "experts": "bf16"}),
        (None, {}),
    ],
)
def test_quantised_checkpoints(quantised: Json | None, roles: dict[str, str]) -> None:
    assert dtypes(quantization_config=quantised) == {**PLAIN, **roles}


def test_a_quantised_checkpoint_keeps_the_others() -> None:
    """gpt-oss-20b as it is published is a file of 13.76 GB: the experts' matrices in mxfp4, all else in bf16."""
    kept = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]
    quantised = {"quant_method": "mxfp4", "modules_to_not_convert": kept}
    found = model(config("gpt-oss-20b", quantization_config=quantised))
    assert found.cost().weight_memory == cm.load("gpt-oss:20b").cost().weight_memory == 13_761_264_768
    # of Llama, matrices of the layers in 4 bits, and embeddings and norms in 16
    awq = {"quant_method": "awq", "bits": 4, "group_size": 128}
    found = model(config("llama-3.1-8b", quantization_config=awq))
    others = 2 * 128256 * 4096 + 65 * 4096
    assert found.cost().weight_memory == 2 * others + (8_030_261_248 - others) * 133 // 256


@pytest.mark.parametrize(
    ("quantised", "why"),
    [
        ({"quant_method": "new"}, '`quant_method` of the quantisation is "new", which is not understood'),
        ({}, "`quant_method` of the quantisation is left out, which is not understood"),
        ({"quant_method": "gptq", "bits": "4"}, '`bits` of the quantisation is "4", which is not understood'),
        ({"quant_method": "gptq", "bits": 4, "dynamic": {"+:a": {}}}, "`dynamic` of the quantisation is an object"),
        (
            {"quant_method": "awq", "bits": 4, "modules_to_not_convert": ["model.layers.0.self_attn"]},
            "`quantization_config` leaves attention of some layers as they are, and quantises others",
        ),
        ({"quant_method": "bitsandbytes"}, "`load_in_4bit` of the quantisation is left out, which is not understood"),
        (4, "`quantization_config` is 4, which is not understood"),
    ],
)
def test_quantisation_that_is_not_understood(quantised: Any, why: str) -> None:
    given = config("gpt-oss-20b", quantization_config=quantised)
    assert len(faults(given)) == 1
    assert faults(given)[0].startswith(why)
    assert cm.parse(spec(given, "quantization_config")).cost().params == 20_914_757_184


# --- what is refused

LLAMA = (CONFIGS / "llama-3.1-8b.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"model_type": "lama"}, '`model_type` is "lama", and no such family is known'),
        ({"model_type": None}, "`model_type` is missing, which says how the other keys are read"),
        ({"model_type": ["llama"]}, "`model_type` is a list, and no such family is known"),
        ({"num_hidden_layers": 0}, "`num_hidden_layers` is 0: a whole number, 1 or more, is needed"),
        ({"num_hidden_layers": True}, "`num_hidden_layers` is true: a whole number, 1 or more, is needed"),
        ({"num_hidden_layers": "32"}, '`num_hidden_layers` is "32": a whole number, 1 or more, is needed'),
        ({"num_hidden_layers": 10**30}, f"`num_hidden_layers` is {10**30}: at most 1,000 is possible"),
        ({"hidden_size": 4096.5}, "`hidden_size` is 4096.5: a whole number, 1 or more, is needed"),
        ({"hidden_size": -1}, "`hidden_size` is -1: a whole number, 1 or more, is needed"),
        ({"num_attention_heads": 24}, "`hidden_size` is 4,096, which `num_attention_heads` of 24 does not divide"),
        ({"num_key_value_heads": 7}, "`num_attention_heads` is 32, which `num_key_value_heads` of 7 does not divide"),
        ({"hidden_act": "mish"}, '`hidden_act` is "mish", which is not understood'),
        ({"attention_bias": 1}, "`attention_bias` is 1: true or false is needed"),
        ({"num_hash_layers": 3}, "`num_hash_layers` is not understood: what it changes in Llama is not known"),
        ({"architectures": ["LlamaForTokenClassification"]}, "`architectures` names `LlamaForTokenClassification`"),
    ],
)
def test_configs_that_are_refused(changed: Json, why: str) -> None:
    found = faults(config("llama-3.1-8b", **changed))
    assert len(found) == 1
    assert found[0].startswith(why)


@pytest.mark.parametrize(
    ("name", "changed", "why"),
    [
        ("gpt-oss-20b", {"layer_types": ["full_attention"]}, "`layer_types` has 1 items, and there are 24 layers"),
        ("gpt-oss-20b", {"layer_types": [{}] * 24}, "`layer_types` holds an object, which is not understood"),
        ("gpt-oss-20b", {"num_local_experts": 2}, "`num_experts_per_tok` is 4, more than the 2 experts"),
        (
            "qwen3-next-80b-a3b",
            {"partial_rotary_factor": 1.5},
            "`partial_rotary_factor` is 1.5: a part of a head of 256",
        ),
        ("qwen3-next-80b-a3b", {"partial_rotary_factor": 1e-9}, "`partial_rotary_factor` is 1e-09: a part of a head"),
        ("jamba-v0.1", {"attn_layer_offset": 8}, "`attn_layer_offset` is 8: less than `attn_layer_period` of 8"),
        ("mamba2-2.7b", {"num_heads": 81}, "`num_heads` of 81 times `head_dim` of 64 is not `expand` of 2 times"),
        ("deepseek-v3", {"scoring_func": "tanh"}, '`scoring_func` is "tanh", which is not understood'),
        ("qwen2.5-7b", {"use_sliding_window": True, "max_window_layers": -1}, "`max_window_layers` is -1"),
        ("vit-l-16", {"patch_size": 15}, "`image_size` is 224, which `patch_size` of 15 does not divide"),
        ("whisper-large-v3", {"decoder_attention_heads": 10}, "`decoder_attention_heads` is 10 and"),
        ("gpt-2", {"add_cross_attention": True}, "`add_cross_attention` is true: only a decoder alone is understood"),
        ("bert-base", {"is_decoder": True}, "`is_decoder` is true: only an encoder is understood"),
        ("falcon-7b", {"n_head": 64}, "`n_head` and `num_attention_heads` are two names of one thing, and differ"),
    ],
)
def test_structures_that_are_refused(name: str, changed: Json, why: str) -> None:
    assert faults(config(name, **changed))[0].startswith(why)


def test_all_faults_are_told_at_once() -> None:
    given = config("llama-3.1-8b", hidden_size=0, vocab_size="x", hidden_act="mish", tie_word_embeddings="no")
    assert len(faults(given)) == 4


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "the file ends where a value was expected"),
        ("[]", "a config.json is an object: `{ … }`"),
        ("[" * 100_000, "nested more than 100 deep"),
        ('{"a":' * 100_000, "nested more than 100 deep"),
        (LLAMA[:200], "the file ends where "),
        (LLAMA[: LLAMA.rindex("}")], "the file ends where `,` or `}` was expected"),
        (LLAMA.replace("{", '{"hidden_size": 12, ', 1), "`hidden_size` is given twice"),
        (LLAMA.replace("4096", "NaN", 1), "`hidden_size` is NaN: a whole number"),
        (LLAMA.replace("4096", "1e400", 1), "`hidden_size` is 1e400: a whole number"),
        (LLAMA.replace("4096", "1e999999999", 1), "`hidden_size` is 1e999999999: a whole number"),
        (LLAMA.replace("4096", "1e-999999999", 1), "`hidden_size` is 1e-999999999: a whole number"),
        (LLAMA.replace("4096", "9" * 5_000, 1), "`hidden_size` is 99999999999999999999…9999999999: a whole number"),
        (LLAMA.replace("4096", "4096,,", 1), "`,` where a key in double quotes was expected"),
        (LLAMA.replace("4096", "0x1000", 1), "`x1000` where `,` or `}` was expected"),
        (LLAMA.replace('"llama"', '"lla\\x"', 1), "`\\` and what follows is no escape that JSON has"),
        (LLAMA + "}", "`}` where the end of the file was expected"),
    ],
)
def test_texts_that_are_no_config(text: str, why: str) -> None:
    (found,) = faults(text)
    assert found.startswith(why)


HOSTILE = 'x"\n}\ndim hidden_size = 1 # { \\ " \u2028'


@pytest.mark.parametrize(
    "changed",
    [
        {"_name_or_path": HOSTILE},
        {"_name_or_path": "a/../}"},
        {"transformers_version": HOSTILE},
        {HOSTILE: False},
        {"architectures": [HOSTILE + "ForCausalLM"]},
        {"id2label": {HOSTILE: HOSTILE}},
        {"rope_scaling": {"type": HOSTILE}},
        {"head_dim": None, HOSTILE * 1000: None},
    ],
)
def test_hostile_texts_change_nothing(changed: Json) -> None:
    """What is written is the same spec, whatever stands in keys and values that no count depends on."""
    given = {**config("llama-3.1-8b"), **changed}
    assert model(given).cost().params == 8_030_261_248


@pytest.mark.parametrize("key", ["model_type", "dtype", "hidden_act"])
def test_hostile_words_are_refused(key: str) -> None:
    assert len(faults(config("llama-3.1-8b", **{key: HOSTILE}))) == 1


def test_long_patterns_take_bounded_time() -> None:
    kinds = ["full_attention" if i * i % 11 < 5 else "sliding_attention" for i in range(1_000)]
    assert "repeat num_layers" in spec(config("gpt-oss-20b", num_hidden_layers=1_000, layer_types=kinds))


# --- on the command line


def test_import_writes_a_spec(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "mine.arch"
    done = cli("import", str(CONFIGS / "llama-3.1-8b.json"), "-o", str(out))
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines()[0] == f"wrote {out}: Llama, 8,030,261,248 parameters"
    assert out.read_text(encoding="utf-8") == (GOLDEN / "import" / "llama-3.1-8b.arch").read_text(encoding="utf-8")
    assert cli("check", str(out)).status == 0
    again = cli("import", str(CONFIGS / "llama-3.1-8b.json"), "-o", str(out))
    assert again.status == 2


def test_import_for_programs(cli: Cli) -> None:
    done = cli("import", str(CONFIGS / "gpt-2.json"), "--json")
    found = json.loads(done.out)
    assert (found["family"], found["params"], found["notes"]) == ("GPT-2", 124_439_808, [])
    assert cm.parse(found["spec"]).cost().params == 124_439_808
    assert "initializer_range" in found["passed"]


def test_nothing_is_written_for_a_config_that_is_refused(cli: Cli, tmp_path: Path) -> None:
    place, out = tmp_path / "config.json", tmp_path / "mine.arch"
    place.write_text(json.dumps(config("llama-3.1-8b", num_hash_layers=3), indent=1))
    done = cli("import", str(place), "-o", str(out))
    assert (done.status, done.out, out.exists()) == (2, "", False)
    assert "num_hash_layers" in done.err
    assert cli("import", str(place), "--ignore", "num_hash_layers", "-o", str(out)).status == 0


def test_a_config_is_a_spec(cli: Cli) -> None:
    """Wherever a command takes one."""
    place = str(CONFIGS / "llama-3.1-8b.json")
    line = "--device h100-nvl --seq-len 256 --json"
    mine, shipped = (json.loads(cli("crossover", each, *shlex.split(line)).out) for each in (place, "llama-3.1:8b"))
    assert mine["crossover"] == shipped["crossover"]
    assert cli("check", place).status == 0
    assert cli("evaluate", f"{place}:small").err.startswith("error: ")
    assert cli("import", "llama-3.1").status == 2
    assert cli("import", place.replace("8b", "9b")).status == 2


def test_a_config_has_no_layout_and_is_no_start(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text(LLAMA)
    monkeypatch.chdir(tmp_path)
    for line in ("fmt config.json", "new mine --from config.json"):
        done = cli(*line.split())
        assert (done.status, done.out) == (2, "")
        assert "`config.json` is a config, and no spec" in done.err
        assert "costmodel import config.json -o config.arch" in done.err


def test_answers_follow_the_config(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kept answer is not given for a config that has changed."""
    monkeypatch.setenv("COSTMODEL_CACHE", str(tmp_path / "kept"))
    place = tmp_path / "config.json"
    found = []
    for layers in (32, 16, 16):
        place.write_text(json.dumps(config("llama-3.1-8b", num_hidden_layers=layers)))
        found.append(json.loads(cli("evaluate", str(place), "--json").out)["quantities"]["params"]["value"])
    assert found[0] > found[1] == found[2]


def test_large_files_are_refused(cli: Cli, tmp_path: Path) -> None:
    place = tmp_path / "config.json"
    place.write_text('{"model_type": "llama", "x": "' + "y" * 10_000_000 + '"}')
    done = cli("import", str(place))
    assert (done.status, done.out) == (2, "")
    assert "more than the 4,000,000 that it may have" in done.err
