"""Sizes that no oracle covers: the same model built by transformers from its published configuration, without weights.

data/parameters.json keeps what was counted, and data/families.json small models for test_import; where torch and
transformers are installed both are counted again.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

import costmodel as cm
from costmodel import library
from costmodel.compile import compile_spec

from .extra_counts import extra_flops
from .transformers_models import Row, build, flops, parameters, read, shapes

MODELS: list[Row] = read("parameters")["models"]
by_name = pytest.mark.parametrize("row", MODELS, ids=[row["spec"] for row in MODELS])
INSTALLED = all(importlib.util.find_spec(name) for name in ("torch", "transformers"))


@by_name
def test_parameters(row: Row) -> None:
    assert cm.load(row["spec"]).cost().params == row["params"]


PASSES = [(row, phase) for row in MODELS for phase in ("prefill", "decode") if phase in row]


@pytest.mark.parametrize(("row", "phase"), PASSES, ids=[f"{row['spec']}-{phase}" for row, phase in PASSES])
def test_flops(row: Row, phase: str) -> None:
    batch, context, measured = row[phase]
    model = cm.load(row["spec"])
    point = {cm.batch_size: batch, cm.seq_len: context}
    assert (model.cost(phase=phase).matmul_flops + extra_flops(row["spec"], phase, model.dims)).subs(point) == measured


@pytest.mark.skipif(not INSTALLED, reason="needs torch and transformers: pip install -e '.[oracle]'")
def test_recorded_counts_are_those_of_transformers() -> None:
    for row in (*MODELS, *read("families")["models"]):
        model = build(row)
        counted = {"params": parameters(model), **flops(row, model), "tensors": shapes(model)}
        assert counted == {name: row.get(name, counted[name]) for name in counted}, row["spec"]


def test_every_size_has_an_oracle() -> None:
    oracles = json.loads(Path(__file__).with_name("data").joinpath("oracles.json").read_text(encoding="utf-8"))
    held = {row["spec"] for row in (*MODELS, *oracles)}
    sizes = set()
    for name in library.shipped("models"):
        variants = compile_spec(name).program.variants
        sizes |= {f"{name}:{variant}" for variant in variants} or {name}
    assert sizes - held == {"gpt-2:small"}  # the base, which is held under the family's name
    assert held - sizes == {"gpt-2"}
