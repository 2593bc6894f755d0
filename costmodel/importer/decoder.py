"""Decoders: a residual stream, layers that mix its tokens and then work on each, and an output layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

from costmodel.importer.config import Config, Size
from costmodel.importer.draft import Call, Draft, Statement, lines_of
from costmodel.importer.layers import First, Repeat, repeats
from costmodel.importer.precision import Precision

MOST_LAYERS = 1_000


class Half(NamedTuple):
    """Half a layer: what it does, and its name among others of the same model (`local`, `sparse`)."""

    call: Call
    name: str = ""


class Layer(NamedTuple):
    """What mixes tokens, then what works on each token."""

    mixer: Half
    feed: Half

    @property
    def key(self) -> tuple[str, str]:
        return str(self.mixer.call), str(self.feed.call)


Norm = Callable[[str], str]
Arrangement = Callable[[Layer, Norm], list[Statement]]


def rmsnorm(x: str) -> str:
    return f"rmsnorm({x})"


def layernorm(x: str) -> str:
    return f"layernorm({x})"


def scale_only(x: str) -> str:
    return f"layernorm({x}, bias = false)"


def plain_norm(x: str) -> str:
    return f"layernorm({x}, affine = false)"


# --- how norms and sums stand round the two halves


def pre_norm(layer: Layer, norm: Norm) -> list[Statement]:
    return [("x = x + ", half.call.of(norm("x"))) for half in layer]


def post_norm(layer: Layer, norm: Norm) -> list[Statement]:
    """The norms stand on what the halves give."""
    return [("x = x + ", *_around(norm, half.call.of("x"))) for half in layer]


def sandwich(layer: Layer, norm: Norm) -> list[Statement]:
    """Norms before and after each half."""
    return [("x = x + ", *_around(norm, half.call.of(norm("x")))) for half in layer]


def parallel(layer: Layer, norm: Norm) -> list[Statement]:
    """Both halves side by side on one norm."""
    return [(f"y = {norm('x')}",), ("x = x + ", layer.mixer.call.of("y"), " + ", layer.feed.call.of("y"))]


def parallel_two_norms(layer: Layer, norm: Norm) -> list[Statement]:
    """Both halves side by side, each on a norm of its own."""
    return [("x = x + ", layer.mixer.call.of(norm("x")), " + ", layer.feed.call.of(norm("x")))]


def _around(norm: Norm, call: Call) -> Statement:
    before, after = norm("\0").split("\0")
    return (before, call, after)


# --- sizes that decoders have in common


def num_layers(config: Config, key: str = "num_hidden_layers") -> Size:
    return config.size(key, most=MOST_LAYERS)


def heads(config: Config, draft: Draft, query: str = "num_attention_heads", kv: str = "num_key_value_heads") -> None:
    """`num_heads` and `num_kv_heads`; as many of both where the config has no other number."""
    h, g = config.size(query), config.optional(kv)
    draft.dim("num_heads", h)
    if g is None:
        draft.dim("num_kv_heads", "num_heads", f"no {kv} is given")
    else:
        config.divides(kv, query, g.value, h.value)
        draft.dim("num_kv_heads", g)


def head_dim(config: Config, draft: Draft, width: str = "hidden_size", query: str = "num_attention_heads") -> int:
    """`head_dim`, given or derived; its figure."""
    given = config.optional("head_dim")
    if given is not None:
        draft.dim("head_dim", given)
        return given.value
    return derived_head_dim(config, draft, width, query)


def attention_sizes(config: Config, draft: Draft) -> int:
    """The residual stream's width, the heads and a head's size; the figure of that."""
    width(config, draft)
    heads(config, draft)
    return head_dim(config, draft)


def derived_head_dim(
    config: Config, draft: Draft, width: str = "hidden_size", query: str = "num_attention_heads"
) -> int:
    d, h = config.size(width), config.size(query)
    config.divides(query, width, h.value, d.value)
    draft.dim("head_dim", "hidden_size / num_heads")
    return max(d.value // h.value, 1)


def partial_rotary(config: Config, draft: Draft, size: int, key: str = "partial_rotary_factor") -> dict[str, str]:
    """How much of a head of that size is rotated, as an option of attention: none where all of it is."""
    share: Fraction | None = None
    for place in ("rope_parameters", "rope_scaling"):
        member = config.within(place).get("partial_rotary_factor")
        if member is not None and isinstance(member.json.value, int | Fraction):
            share = Fraction(member.json.value)
    own = config.number(key)
    share = own if own is not None and (share is None or config.member(key) is not None) else share
    if share is None or share == 1:
        return {}
    rotated = size * share
    if not 1 <= rotated < size:
        config.fault(f"`{key}` is {float(share):g}: a part of a head of {size} is needed, or 1", key)
        return {}
    # transformers rounds down
    draft.dim("rope_size", int(rotated), f"{key} of {float(share):g}")
    return {"rope_size": "rope_size"}


def biases(**flags: bool) -> dict[str, str]:
    """Options for those biases that there are."""
    return {name: "true" for name, flag in flags.items() if flag}


def qkv_bias(flag: bool, output: bool) -> dict[str, str]:
    return biases(q_bias=flag, k_bias=flag, v_bias=flag, o_bias=output)


def gated(config: Config, draft: Draft, act: str = "hidden_act", bias: bool = False, inner: str = "") -> Half:
    """A gated feed-forward block of `intermediate_size`, or of another dim."""
    draft.use("feed_forward")
    options = {"inner": inner} if inner else {}
    options |= biases(gelu_gate=activation(config, act, ("silu", "gelu")) == "gelu", bias=bias)
    return Half(Call("feed_forward", options), "dense")


def mlp(config: Config, draft: Draft, act: str, bias: bool = True) -> Half:
    """A plain feed-forward block: two matrices."""
    draft.use("feed_forward")
    options = biases(rectified=activation(config, act, ("gelu", "relu")) == "relu")
    return Half(Call("mlp", options | ({} if bias else {"bias": "false"})), "dense")


_ACTIVATIONS = {
    **dict.fromkeys(("silu", "swish"), "silu"),
    **dict.fromkeys(("gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu_python", "quick_gelu"), "gelu"),
    "relu": "relu",
}


def activation(config: Config, key: str, known: Sequence[str]) -> str:
    """An activation by what it costs: silu, gelu or relu."""
    names = [name for of in known for name, kind in _ACTIVATIONS.items() if kind == of]
    return _ACTIVATIONS[config.word(key, names)]


def width(config: Config, draft: Draft, key: str = "hidden_size") -> None:
    draft.dim("hidden_size", config.size(key))


def inner(config: Config, draft: Draft, key: str = "intermediate_size") -> None:
    draft.dim("intermediate_size", config.size(key))


# --- windows


def window(config: Config, draft: Draft, key: str = "sliding_window") -> dict[str, str]:
    """A window for every layer, where the config has one."""
    size = config.optional(key)
    if size is None:
        return {}
    draft.dim("sliding_window", size, doc="positions that a layer sees")
    return {"window": "sliding_window"}


def local_layers(config: Config, total: int, default: Callable[[int], bool]) -> list[bool]:
    """Which layers are local: what `layer_types` says, or the class's own rule."""
    types = config.words("layer_types", ("full_attention", "sliding_attention", "chunked_attention"), total)
    if types is not None:
        return [name != "full_attention" for name in types]
    return [default(i) for i in range(total)]


def local_window(config: Config, draft: Draft, local: Sequence[bool], key: str = "sliding_window") -> dict[str, str]:
    """The option of local layers; a dim for the window where some layers are local."""
    if not any(local):
        config.unused(key)
        return {}
    size = config.optional(key)
    if size is None:
        return {}
    if key == "sliding_window":
        draft.dim(key, size, doc="positions that a layer sees" if all(local) else "")
        return {"window": key}
    draft.dim("chunk_size", size, symbol="w", doc="tokens of a chunk: at most so many does a local layer see")
    return {"window": "chunk_size"}


# --- the whole


class Frame(NamedTuple):
    """What stands round the layers, and how they are put together."""

    norm: Norm = rmsnorm
    arrangement: Arrangement = pre_norm
    positions: bool = False
    embedding_norm: bool = False
    softcap: Fraction | None = None
    head_bias: bool = False
    vocab: str = "vocab_size"
    first: First | None = None
    pattern: str = ""
    """What says which layers are of which kind."""
    layer_weights: tuple[str, ...] = ()
    """Weights that each layer declares beside those of its blocks."""


def decoder(config: Config, draft: Draft, precision: Precision, layers: Sequence[Layer], frame: Frame) -> None:
    """Write the graph of a decoder with these layers."""
    draft.dim("vocab_size", config.size(frame.vocab))
    tied = config.flag("tie_word_embeddings")
    headless = _headless(config)
    keep, head = precision.kept, precision.head
    weights = f"weight embedding[vocab_size -> hidden_size]{keep}"
    if frame.positions:
        weights += f", positions[max_positions -> hidden_size]{keep}"
    elif not (tied or headless or frame.head_bias):
        weights += f", unembedding[hidden_size -> vocab_size]{head}"
    lookups = "lookup(tokens, embedding)" + (" + lookup(tokens, positions)" if frame.positions else "")
    body = [weights, f"x = {frame.norm(lookups) if frame.embedding_norm else lookups}"]
    blocks, lines = _layers(layers, frame)
    body += lines
    if headless:
        body.append(f"return {frame.norm('x')}")
    else:
        body += _head(frame, tied, precision)
    draft.body += blocks
    draft.body += ["graph forward(tokens[batch_size, new_tokens]) {", *(f"    {line}" for line in body), "}"]


def _headless(config: Config) -> bool:
    """Whether the config is of a model without an output layer, as `architectures` says."""
    value = config.value("architectures")
    name = value[-1].value if isinstance(value, list) and value else None
    if not isinstance(name, str):
        return False
    if name.endswith(("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")):
        return False
    if name.endswith("Model"):
        config.note("`architectures` names the model without an output layer, so there is none here.")
        return True
    message = f"`architectures` names `{name[:80]}`, whose output layer is not understood"
    config.fault(message, "architectures", facts=("known are …ForCausalLM, …ForConditionalGeneration and …Model",))
    return False


def _head(frame: Frame, tied: bool, precision: Precision) -> Iterator[str]:
    last = frame.norm("x")
    matrix = "embedding.T" if tied else "unembedding"
    if not tied and (frame.positions or frame.head_bias):
        yield f"weight unembedding[hidden_size -> vocab_size]{precision.head}"
    logits = f"matmul({last}, {matrix})"
    if frame.head_bias:
        yield "weight unembedding_bias[vocab_size]"
        logits += " + unembedding_bias"
    if frame.softcap is not None:
        cap = f"{float(frame.softcap):g}"
        yield f"logits = {logits}"
        logits = f"tanh(logits / {cap}) * {cap}"
    yield f"return {logits}" + ("  # tie_word_embeddings" if tied else "")


def _layers(layers: Sequence[Layer], frame: Frame) -> tuple[list[str], list[str]]:
    """Blocks for layers that are written more than once, and the `repeat`s."""
    plan = repeats([layer.key for layer in layers], frame.first)
    by_key = {layer.key: layer for layer in layers}
    shared = _by_window(list(by_key.values()), frame)
    if shared is not None and len(by_key) > 1:
        block, call = shared
        return [*block, ""], _said(frame, list(_repeats(plan, lambda key: [f"x = {call(by_key[key])}"])))
    places: dict[tuple[str, str], int] = {}
    for repeat in plan:
        for _, key in repeat.body:
            places[key] = places.get(key, 0) + 1
    blocks: list[str] = []
    names = _names(list(by_key.values()))
    for key, layer in by_key.items():
        if places[key] > 1 or (frame.layer_weights and len(by_key) > 1):
            blocks += [*_block(f"{names[key]}(x)", names[key], _lines(layer, frame)), ""]

    def lines(key: tuple[str, str]) -> list[str]:
        if places[key] > 1 or (frame.layer_weights and len(by_key) > 1):
            return [f"x = {names[key]}(x)"]
        return _lines(by_key[key], frame)

    return blocks, _said(frame, list(_repeats(plan, lines))) if len(by_key) > 1 else list(_repeats(plan, lines))


def _said(frame: Frame, lines: list[str]) -> list[str]:
    """The layers with a comment on where their pattern comes from."""
    return [f"{lines[0]}  # {frame.pattern}", *lines[1:]] if frame.pattern else lines


def _lines(layer: Layer, frame: Frame) -> list[str]:
    """A layer's statements."""
    statements = frame.arrangement(layer, frame.norm)
    return [*frame.layer_weights, *(line for s in statements for line in lines_of(s))]


def _block(head: str, name: str, lines: list[str]) -> list[str]:
    """A block whose result is what its last statement gives `x`."""
    first, *others = name.removesuffix("_layer").split("_")
    symbol = f"\\text{{{first}}}" + (f"_{{\\text{{{','.join(others)}}}}}" if others else "")
    body = _returning(lines)
    return [f'block {head} as "{symbol}" {{', *(f"    {line}" for line in body), "}"]


def _returning(lines: list[str]) -> list[str]:
    last = max(i for i, line in enumerate(lines) if line.startswith("x = "))
    return [*lines[:last], "return " + lines[last].removeprefix("x = "), *lines[last + 1 :]]


def _by_window(layers: list[Layer], frame: Frame) -> tuple[list[str], Callable[[Layer], str]] | None:
    """One block for layers that differ in their window alone, and its call."""

    def without(layer: Layer) -> tuple[str, str]:
        options = {name: value for name, value in layer.mixer.call.options.items() if name != "window"}
        return str(layer.mixer.call._replace(options=options)), str(layer.feed.call)

    if len({without(layer) for layer in layers}) != 1:
        return None
    first = layers[0]
    options = {"window": "window"} | {k: v for k, v in first.mixer.call.options.items() if k != "window"}
    general = first._replace(mixer=Half(first.mixer.call._replace(options=options)))

    def call(layer: Layer) -> str:
        return f"layer(x, window = {layer.mixer.call.options.get('window', 'none')})"

    return _block("layer(x, window)", "layer", _lines(general, frame)), call


def _names(layers: list[Layer]) -> dict[tuple[str, str], str]:
    """A name for each kind of layer, of what tells it apart."""
    mixers = {layer.mixer.name for layer in layers}
    feeds = {layer.feed.name for layer in layers}
    found = {}
    for layer in layers:
        parts = [layer.mixer.name] if len(mixers) > 1 else []
        parts += [layer.feed.name] if len(feeds) > 1 else []
        found[layer.key] = "_".join([*parts, "layer"])
    return found


def _repeats(plan: list[Repeat[tuple[str, str]]], lines: Callable[[tuple[str, str]], list[str]]) -> Iterator[str]:
    for repeat in plan:
        inner: list[str] = []
        for count, key in repeat.body:
            if count == 1:
                inner += lines(key)
            else:
                inner += _repeat(str(count), lines(key))
        yield from inner if repeat.turns == "1" else _repeat(repeat.turns, inner)


def _repeat(count: str, lines: list[str]) -> list[str]:
    if len(lines) == 1:
        return [f"repeat {count} {{ {lines[0]} }}"]
    return [f"repeat {count} {{", *(f"    {line}" for line in lines), "}"]
