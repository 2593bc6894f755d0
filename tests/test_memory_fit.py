"""What fits, by how much, and the smallest single changes that make it fit: each is enough, and the next is not."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from fractions import Fraction
from math import floor
from typing import Any

import pytest

import costmodel as cm
from costmodel.device import shipped_device
from costmodel.dtypes import DTYPE_NAMES, dtype
from costmodel.fitting import Change, changes_to_fit
from costmodel.symbols import batch_size, seq_len

# spec, device, batch and context, options: dense, grouped, windows, experts, latent caches, states, kept values
MISFITS: list[tuple[str, str, int, int, dict[str, Any]]] = [
    ("llama-3.1:405b", "h100-nvl", 1, 1024, {}),
    ("llama-3.1:70b", "h200-sxm", 4, 131072, {"fidelity": "traffic"}),
    ("llama-3.1:8b", "rtx-4090", 64, 8192, {}),
    ("llama-3.1:8b", "rtx-4090", 64, 8192, {"memory_fraction": Fraction(9, 10), "count": 2}),
    ("llama-2:13b", "a100-40gb", 20, 4000, {"phase": "prefill", "fidelity": "traffic"}),
    ("gemma-2:9b", "l40s", 300, 4097, {}),
    ("mixtral:8x7b", "h100-sxm", 1, 256, {}),
    ("deepseek-v3", "h100-sxm", 1, 4096, {}),
    ("deepseek-v3", "h100-sxm", 5000, 4096, {"count": 16}),
    ("mamba-2:2.7b", "rtx-4090", 1000, 1, {}),
    ("whisper:large-v3", "rtx-4090", 100, 448, {"phase": "prefill"}),
]


def fits(spec: cm.Model, device: str, batch: int, context: int, options: dict[str, Any]) -> bool:
    """By the memory alone: no solver has a part in it."""
    changed = dict(options)
    fraction, count = Fraction(changed.pop("memory_fraction", 1)), changed.pop("count", 1)
    memory = spec.cost(**changed).evaluate(batch_size=batch, seq_len=context).memory
    return memory <= Fraction(int(shipped_device(device).memory)) * count * fraction


def changes(spec: cm.Model, device: str, batch: int, context: int, options: dict[str, Any]) -> list[Change]:
    quantities = spec.cost(device=device, **options).quantities
    return changes_to_fit(quantities, {batch_size: Fraction(batch), seq_len: Fraction(context)}, batch)


def nearby(change: Change) -> Iterator[tuple[dict[str, Any], bool]]:
    """What a change asks for, and just beyond it; and whether that should fit."""
    option, argument = shlex.split(change.option)
    match option:
        case "--batch-size" | "--seq-len":
            name = option.removeprefix("--").replace("-", "_")
            yield {name: int(argument)}, True
            yield {name: int(argument) + 1}, False
            assert change.bound == int(argument)
        case "--count":
            yield {"count": int(argument)}, True
            yield {"count": int(argument) - 1}, False
            assert change.bound == int(argument)
        case "--set":
            name, _, chosen = argument.partition("=")
            yield {name: chosen}, True
            least = Fraction(chosen.removesuffix(" bits")) if chosen.endswith("bits") else bits(chosen)
            wider = [other for other in DTYPE_NAMES if bits(other) > least]
            yield from (({name: other}, False) for other in wider)
            millionths = floor(change.bound * 10**6)
            yield {name: f"{millionths / 10**6:.6f} bits"}, True
            yield {name: f"{(millionths + 1) / 10**6:.6f} bits"}, False


def bits(name: str) -> Fraction:
    found = dtype(name)
    assert found is not None
    return 8 * found.bytes


@pytest.mark.parametrize(("spec", "device", "batch", "context", "options"), MISFITS)
def test_each_change_is_enough_and_no_smaller_one(
    spec: str, device: str, batch: int, context: int, options: dict[str, Any]
) -> None:
    model = cm.load(spec)
    assert not fits(model, device, batch, context, options)
    found = changes(model, device, batch, context, options)
    assert any(change.option.startswith("--count") for change in found)
    for change in found:
        for asked, enough in nearby(change):
            given = {"batch_size": batch, "seq_len": context, **options}
            types = {name: value for name, value in asked.items() if name.startswith("dtype")}
            given.update({name: value for name, value in asked.items() if not name.startswith("dtype")})
            changed = model.set(**types) if types else model
            at = (given.pop("batch_size"), given.pop("seq_len"))
            assert fits(changed, device, *at, given) == enough, (change, asked)


def test_every_kind_of_change_is_named() -> None:
    kinds = {
        shlex.split(c.option)[1].partition("=")[0] if c.option.startswith("--set") else c.option.split()[0]
        for misfit in MISFITS
        for c in changes(cm.load(misfit[0]), *misfit[1:])
    }
    assert kinds == {"dtype.cache", "dtype.weights", "--seq-len", "--batch-size", "--count"}


def test_what_fits_needs_no_change() -> None:
    assert changes(cm.load("llama-3.1:8b"), "h100-nvl", 1, 100, {}) == []


@pytest.mark.parametrize(("spec", "device", "batch", "context", "options"), MISFITS)
def test_the_largest_batch_fits_and_the_next_does_not(
    spec: str, device: str, batch: int, context: int, options: dict[str, Any]
) -> None:
    """And the margins say by how many bytes."""
    model = cm.load(spec)
    answer = model.crossover(device, context, **options)
    largest = answer.max_batch_size.value
    assert largest is not None
    assert 0 <= largest < batch
    changed = dict(options)
    fraction, count = Fraction(changed.pop("memory_fraction", 1)), changed.pop("count", 1)
    capacity = Fraction(int(shipped_device(device).memory)) * count * fraction
    cost = model.cost(**changed)
    for size in (int(largest), int(largest) + 1):
        if size:
            left = capacity - cost.evaluate(batch_size=size, seq_len=context).memory
            assert answer.margin_at(size) == left
            assert (left >= 0) == (size == largest)


def test_weights_that_are_too_large_alone() -> None:
    answer = cm.load("llama-3.1:405b").crossover("h100-nvl", 1024)
    assert (answer.status, answer.optimal_batch_size, answer.limited_by) == ("does_not_fit", None, "memory")
    assert answer.binds == "weights"
    assert answer.margin == 94 * 10**9 - 811_706_777_600 - 1024 * 516_096
    (count,) = changes(cm.load("llama-3.1:405b"), "h100-nvl", 1, 1024, {})[-1:]
    assert (count.option, count.bound) == ("--count 9", Fraction(9))


def test_what_binds() -> None:
    found = {
        (spec, fidelity): cm.load(spec).crossover("h100-nvl", context, fidelity=fidelity).binds
        for spec, fidelity, context in [
            ("llama-3.1:8b", "cache", 8192),
            ("llama-3.1:405b", "cache", 8192),
            ("mamba-2:2.7b", "cache", 8192),
            ("whisper:large-v3", "cache", 8),
            ("gpt-2", "traffic", 1),
        ]
    }
    assert list(found.values()) == ["cache", "weights", "state", "kept", "activations"]
