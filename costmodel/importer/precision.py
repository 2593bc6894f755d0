"""In which dtypes a checkpoint keeps what it has: `dtype` or `torch_dtype`, and what `quantization_config` changes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from costmodel.dtypes import bits as of_bits
from costmodel.importer.config import Config, shown
from costmodel.importer.json_text import Member
from costmodel.names import listed
from costmodel.source import Diagnostic

TORCH = {
    "float64": "fp64",
    "double": "fp64",
    "float32": "fp32",
    "float": "fp32",
    "float16": "fp16",
    "half": "fp16",
    "bfloat16": "bf16",
    "float8_e4m3fn": "fp8",
    "float8_e5m2": "fp8",
}
_SCALE_BITS = 16


class Precision(NamedTuple):
    """What a spec says of dtypes: `dtype` lines by role, each with its source, and what stays beside them.

    `kept` is what an embedding declares, `head` what an output layer of its own does: `: weights` where matrices are
    narrower than the other weights.
    """

    lines: tuple[tuple[str, str, str], ...]
    kept: str = ""
    head: str = ""


class _Quantised(NamedTuple):
    """A dtype for matrices, in words where from, and which modules do not have it."""

    dtype: str
    source: str
    spared: tuple[str, ...] = ()
    head: bool = False
    cache: str | None = None


def precision(config: Config) -> Precision:
    """The dtypes of weights, cache and activations."""
    base, source = _base(config)
    lines = [("weights", base, source)]
    cache = activations = base
    if base == "fp8":
        config.note("The config names fp8 as its dtype; cache and activations are taken to be bf16.")
        cache = activations = "bf16"
    found = _quantised(config)
    kept = head = ""
    if found is not None:
        role = _role(config, found.spared)
        if role == "matrices":
            kept = " : weights"
            head = "" if found.head else " : weights"
        elif role == "dense":
            lines.append(("matrices", found.dtype, found.source))
            lines.append(("experts", base, "quantization_config leaves them out"))
            kept, head = " : weights", "" if found.head else " : weights"
        if role in ("matrices", "experts"):
            lines.append((role, found.dtype, found.source))
        cache = found.cache or cache
    lines.append(("cache", cache, ""))
    lines.append(("activations", activations, ""))
    return Precision(tuple(lines), kept, head)


def _base(config: Config) -> tuple[str, str]:
    for key in ("dtype", "torch_dtype"):
        member = config.inherited(key)
        if member is None or member.json.value in (None, "auto"):
            continue
        value = member.json.value
        name = value.removeprefix("torch.") if isinstance(value, str) else ""
        if name in TORCH:
            return TORCH[name], key
        message = f"`{key}` is {shown(member)}, which is no dtype that is known"
        config.report.add(Diagnostic("config", message, member.json.span, facts=(f"known is {listed(TORCH)}",)))
        return "bf16", key
    return "bf16", "neither dtype nor torch_dtype stands in the config: bf16 is taken"


# --- quantisation


def _quantised(config: Config) -> _Quantised | None:
    keys = [key for key in ("quantization_config", "compression_config") if key not in config.ignored]
    member = next((found for key in keys if (found := config.inherited(key)) is not None), None)
    if member is None or member.json.value is None:
        return None
    reader = _Reader(config, member)
    if not isinstance(member.json.value, dict):
        reader.refuse("quantization_config", "an object is needed")
        return None
    method = reader.text("quant_method") or ("compressed-tensors" if "config_groups" in reader.members else "")
    read = _METHODS.get(method)
    if read is None:
        reader.refuse("quant_method", f"known is {listed(_METHODS)}")
        return None
    return read(reader)


class _Reader:
    """The members of a `quantization_config`."""

    def __init__(self, config: Config, member: Member) -> None:
        self.config, self.member = config, member
        value = member.json.value
        self.members: Mapping[str, Member] = value if isinstance(value, dict) else {}

    def value(self, *keys: str) -> Any:
        """The first of these keys that is there and not null."""
        for key in keys:
            if key in self.members and self.members[key].json.value is not None:
                return self.members[key].json.value
        return None

    def text(self, key: str) -> str:
        value = self.value(key)
        return value if isinstance(value, str) else ""

    def whole(self, key: str, least: int, other: str | None = None, default: int | None = None) -> int | None:
        """A whole number of at least so much."""
        value = self.value(key, *([other] if other else []))
        if value is None and default is not None:
            return default
        if type(value) is not int or not least <= value <= 10**6:
            self.refuse(key, f"a whole number, {least} or more, is needed")
            return None
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self.value(key)
        return value if isinstance(value, bool) else default

    def names(self, *keys: str) -> tuple[str, ...]:
        """A list of the names of modules."""
        value = self.value(*keys)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item.value, str) for item in value):
            self.refuse(keys[0], "a list of names is needed")
            return ()
        return tuple(item.value for item in value)

    def refuse(self, key: str, why: str) -> None:
        """What a key says of the quantisation is not understood."""
        found = self.members.get(key)
        said = shown(found) if found is not None else "left out"
        message = f"`{key}` of the quantisation is {said}, which is not understood"
        if key == "quantization_config":
            message = f"`{key}` is {shown(self.member)}, which is not understood"
        self.config.broken.add("quantization_config")
        span = found.json.span if found is not None else self.member.key
        self.config.report.add(Diagnostic("config", message, span, facts=(why,)))


def _fp8(reader: _Reader) -> _Quantised:
    block = reader.value("weight_block_size")
    scales = "; scales, one for each block, are not counted" if block is not None else ""
    spared = reader.names("modules_to_not_convert", "ignored_layers")
    return _Quantised("fp8", f"quantization_config: {reader.text('quant_method')}{scales}", spared)


def _grouped(width: int, group: int, zero_bits: int) -> str:
    """The bits a value of integers in groups: each group has a scale of 16 bits, and a zero point."""
    if group <= 0:
        return _named(Fraction(width))
    return _named(width + Fraction(_SCALE_BITS + zero_bits, group))


def _named(width: Fraction) -> str:
    """So many bits as a dtype of the language."""
    plain = {Fraction(8): "int8", Fraction(4): "int4"}
    if width in plain:
        return plain[width]
    rounded = Fraction(round(width * 10**9), 10**9)
    assert of_bits(rounded) is not None
    whole, part = divmod(round(rounded * 10**9), 10**9)
    return f"{whole}.{part:09d}".rstrip("0").rstrip(".") + " bits"


def _integers(
    reader: _Reader, width_key: str, group_key: str, zero: bool, spared: tuple[str, ...]
) -> _Quantised | None:
    width = reader.whole("bits", 1, width_key)
    group = reader.whole("group_size", -1, group_key, default=128)
    if width is None or group is None:
        return None
    if width > 16:
        reader.refuse("bits", "at most 16 are possible")
        return None
    grouped = f", a scale{' and a zero point' if zero else ''} for each group of {group}" if group > 0 else ""
    source = f"quantization_config: {reader.text('quant_method')} of {width} bits{grouped}"
    return _Quantised(_grouped(width, group, width if zero else 0), source, spared, head=reader.flag("lm_head", False))


def _gptq(reader: _Reader) -> _Quantised | None:
    for key in ("dynamic", "modules_in_block_to_quantize", "modules_to_not_convert"):
        if reader.value(key):
            reader.refuse(key, "a checkpoint whose layers differ cannot be told apart from others")
            return None
    return _integers(reader, "w_bit", "q_group_size", True, ())


def _awq(reader: _Reader) -> _Quantised | None:
    spared = reader.names("modules_to_not_convert")
    return _integers(reader, "w_bit", "q_group_size", reader.flag("zero_point", True), spared)


def _mxfp4(reader: _Reader) -> _Quantised:
    return _Quantised("mxfp4", "quantization_config: mxfp4", reader.names("modules_to_not_convert"))


def _bitsandbytes(reader: _Reader) -> _Quantised | None:
    spared = reader.names("llm_int8_skip_modules")
    if reader.flag("load_in_8bit", False):
        return _Quantised("int8", "quantization_config: bitsandbytes of 8 bits", spared)
    if not reader.flag("load_in_4bit", False):
        reader.refuse("load_in_4bit", "load_in_4bit or load_in_8bit is true")
        return None
    # blocks of 64 share 32 bits of scale; quantised twice, 8 bits, and 32 more for each 256 blocks
    double = reader.flag("bnb_4bit_use_double_quant", False)
    width = 4 + (Fraction(8, 64) + Fraction(32, 64 * 256) if double else Fraction(32, 64))
    words = "a scale for each block of 64" + (", quantised itself" if double else "")
    return _Quantised(_named(width), f"quantization_config: bitsandbytes of 4 bits, {words}", spared)


def _compressed(reader: _Reader) -> _Quantised | None:
    groups = reader.value("config_groups")
    if not isinstance(groups, dict) or len(groups) != 1:
        reader.refuse("config_groups", "one group of weights that are quantised alike is needed")
        return None
    (group,) = groups.values()
    inner = group.json.value if isinstance(group.json.value, dict) else {}
    weights = inner["weights"].json.value if "weights" in inner else None
    targets = inner["targets"].json.value if "targets" in inner else None
    linear = isinstance(targets, list) and [t.value for t in targets] == ["Linear"]
    if not isinstance(weights, dict) or not linear:
        reader.refuse("config_groups", "weights of all Linear modules are needed")
        return None
    said = {key: member.json.value for key, member in weights.items()}
    width, kind = said.get("num_bits"), said.get("type")
    if type(width) is not int or width not in (4, 8) or kind not in ("int", "float"):
        reader.refuse("config_groups", "weights of 4 or 8 bits, of type int or float, are needed")
        return None
    size = said.get("group_size")
    size = size if type(size) is int and size > 0 else 0
    if kind == "float":
        dtype = "fp8" if width == 8 else "nvfp4"
    else:
        dtype = _grouped(width, size, 0 if said.get("symmetric") is not False else width)
    words = f", a scale for each group of {size}" if size else ""
    source = f"quantization_config: compressed-tensors of {width} bits{words}"
    scheme = reader.value("kv_cache_scheme")
    cache = "fp8" if isinstance(scheme, dict) else None
    return _Quantised(dtype, source, reader.names("ignore"), cache=cache)


def _modelopt(reader: _Reader) -> _Quantised | None:
    algorithms = {"FP8": "fp8", "NVFP4": "nvfp4"}
    name = reader.text("quant_algo")
    if name not in algorithms:
        reader.refuse("quant_algo", f"known is {listed(algorithms)}")
        return None
    cache = "fp8" if reader.value("kv_cache_quant_algo") == "FP8" else None
    spared = reader.names("ignore", "exclude_modules")
    return _Quantised(algorithms[name], f"quantization_config: modelopt {name}", spared, cache=cache)


_METHODS: dict[str, Callable[[_Reader], _Quantised | None]] = {
    "fp8": _fp8,
    "fbgemm_fp8": _fp8,
    "gptq": _gptq,
    "awq": _awq,
    "mxfp4": _mxfp4,
    "bitsandbytes": _bitsandbytes,
    "compressed-tensors": _compressed,
    "modelopt": _modelopt,
}


# --- which modules a quantisation spares

_LAYER = re.compile(r"(?:^|[._])(?:layers?|h|blocks?)\.(\d{1,6})(?=\.|$)")
_ALWAYS = (
    "lm_head",
    "output",
    "embed",
    "wte",
    "wpe",
    "norm",
    "ln_",
    "router",
    "visual",
    "vision",
    "multi_modal",
    "mtp",
)


def _kind(module: str) -> str | None:
    """Of which kind a module is that is spared; None for one that no method quantises, or that is no part here."""
    name = module.lower()
    if "shared_expert_gate" in name or re.search(r"(?:^|\W)gate\W*$", name):
        return None
    if "shared_expert" in name:
        return "feed"
    if "experts" in name:
        return "experts"
    if "attn" in name or "attention" in name:
        return None if "norm" in name else "attention"
    if any(word in name for word in _ALWAYS):
        return None
    if re.search(r"mlp|feed_forward|ffn|gate_proj|up_proj|down_proj", name):
        return "feed"
    return "other"


def _role(config: Config, spared: Iterable[str]) -> str:
    """Which weights have the narrow dtype: `matrices`, `experts`, or `dense`, all matrices but the experts'.

    A kind of weights that is spared in some layers and not in others has no dtype of its own in a spec, and is refused.
    """
    layers: dict[str, set[int]] = {}
    whole: set[str] = set()
    for module in spared:
        kind = _kind(module)
        if kind is None:
            continue
        number = _LAYER.search(module)
        if kind == "other":
            return _unrepresentable(config, module)
        if number is None:
            whole.add(kind)
        else:
            layers.setdefault(kind, set()).add(int(number[1]))
    keys = ("num_hidden_layers", "n_layer", "num_layers")
    count = next((number for key in keys if type(number := config.peek(key)) is int), 0)
    for kind, numbers in layers.items():
        if kind not in whole and numbers != set(range(count)):
            return _unrepresentable(config, f"{kind} of some layers")
        whole.add(kind)
    experts = _has(config, "num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
    feed = not experts or _has(config, "n_shared_experts", "shared_expert_intermediate_size", "first_k_dense_replace")
    if not whole:
        return "matrices"
    if whole == {"experts"} and experts:
        return "dense"
    if experts and "experts" not in whole and ("feed" in whole or not feed):
        return "experts"
    return _unrepresentable(config, " and ".join(sorted(whole)))


def _has(config: Config, *keys: str) -> bool:
    return any(type(number := config.peek(key)) is int and number > 0 for key in keys)


def _unrepresentable(config: Config, what: str) -> str:
    member = config.inherited("quantization_config")
    if member is not None:
        config.broken.add("quantization_config")
        message = f"`quantization_config` leaves {what[:80]} as they are, and quantises others"
        facts = (
            "a spec tells matrices, experts and other weights apart, not single modules",
            "`costmodel import --ignore quantization_config` writes a spec of unquantised weights",
        )
        config.report.add(Diagnostic("config", message, member.key, facts=facts))
    return "none"
