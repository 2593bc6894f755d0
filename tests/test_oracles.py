"""Twenty-two models as PyTorch counts them on the implementations of transformers, held against the shipped specs.

data/oracles.json has, for each: the sum of its tensors' shapes; the polynomials that reproduce FlopCounterMode's counts
at every measured point (b sequences; s tokens in prefill, kv positions behind a decode step); and the shapes of the
cache that it holds. Attention is eager, over all pairs, with the logits of all tokens. Where the library does more than
the architecture needs, the difference is spelt out in extra_counts.py, and must be exactly that.
"""

from __future__ import annotations

import json
import re
from math import prod
from pathlib import Path
from typing import Any

import pytest
from sympy import Expr, Integer, Min, ceiling, expand

import costmodel as cm

from .extra_counts import extra_flops, in_whole_chunks

ROWS = json.loads(Path(__file__).with_name("data").joinpath("oracles.json").read_text(encoding="utf-8"))
by_name = pytest.mark.parametrize("row", ROWS, ids=[row["spec"] for row in ROWS])

Row = dict[str, Any]


def factor(text: str) -> Expr:
    """One factor of a term: `b`, `s^2`, `min(kv,4096)`, `ceil(s/64)`."""
    name, _, power = text.partition("^")
    match = re.fullmatch(r"(\w+)\(\w+[,/](\d+)\)", name)
    if match is None:
        base = {"b": cm.batch_size, "s": cm.seq_len, "kv": cm.seq_len}[name]
    elif match[1] == "min":
        base = Min(cm.seq_len, int(match[2]))
    else:
        assert match[1] == "ceil"
        base = ceiling(cm.seq_len / int(match[2]))
    return base ** int(power or 1)


def polynomial(terms: dict[str, int]) -> Expr:
    """A measured polynomial."""
    return sum((count * prod(map(factor, term.split("*"))) for term, count in terms.items()), Integer(0))


@by_name
def test_parameters(row: Row) -> None:
    assert cm.load(row["spec"]).cost().params == row["params"]


PASSES = [(row, phase) for row in ROWS for phase in ("prefill", "decode") if phase in row]


@pytest.mark.parametrize(("row", "phase"), PASSES, ids=[f"{row['spec']}-{phase}" for row, phase in PASSES])
def test_flops(row: Row, phase: str) -> None:
    model = cm.load(row["spec"])
    measured = polynomial(row[phase])
    if row["spec"] == "vit:l-16":  # measured at several image sizes: s tokens are the patches and one more
        model = model.free("num_patches")
        measured = measured.xreplace({cm.seq_len: model["num_patches"] + 1})
    spec, extra = model.cost(phase=phase).matmul_flops, extra_flops(row["spec"], phase, model.dims)
    difference = spec + extra - measured
    if "chunk_size" in model.dims:
        difference = in_whole_chunks(difference, model.dims["chunk_size"])
    assert expand(difference) == 0


def cache_difference(family: str, dims: dict[str, Expr]) -> Expr:
    """Bytes that a spec's cache has beyond transformers', whose tensors are of 2 bytes an element."""
    match family:
        case "gpt-oss":  # a window of 128 is kept as 127 positions, the newest token comes from the pass
            return dims["num_layers"] / 2 * 2 * dims["num_kv_heads"] * dims["head_dim"] * 2
        case "mamba-2":  # a state in fp32, and 3 columns for the 4 taps
            state = dims["num_heads"] * dims["head_dim"] * dims["state_size"]
            return dims["num_layers"] * 2 * (state - dims["conv_width"])
        case "jamba":
            state = dims["inner_size"] * dims["state_size"]
            return dims["num_layers"] * 7 / 8 * 2 * (state - dims["inner_size"])
        case "qwen3-next":
            state = dims["value_heads"] * dims["key_dim"] * dims["value_dim"]
            return dims["num_layers"] * 3 / 4 * 2 * (state - dims["conv_width"])
        case _:
            return Integer(0)


@by_name
def test_cache(row: Row) -> None:
    model = cm.load(row["spec"])
    held = sum(layers * sum(map(prod, shapes)) for layers, *shapes in row.get("cache", []))
    point = {"batch_size": 1, "seq_len": row.get("cached", 128)}
    assert model.cost().evaluate(**point).cache_memory == 2 * held + cache_difference(
        row["spec"].partition(":")[0], model.dims
    )
