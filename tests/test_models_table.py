"""docs/models.md is what the shipped specs say now."""

from __future__ import annotations

import pytest

import costmodel as cm
from docs.models import PAGE, cache, contexts, page, work


def test_the_page_is_current(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--update-golden"):
        PAGE.write_text(page(), encoding="utf-8", newline="\n")
    assert PAGE.read_text(encoding="utf-8").splitlines() == page().splitlines(), "`make models` writes it again"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        # half of the layers keep everything; 2 · 8 heads · 256 · 2 bytes in each of 42 layers
        ("gemma-2:9b", "344,064; 172,032 beyond 4,096"),
        ("llama-3.1:8b", "131,072"),
        ("mistral:7b-v0.1", "131,072; 0 beyond 4,096"),
        # a state of 16 values in fp32 and 3 columns in bf16 for each of 8,192 channels, in 28 layers
        ("jamba:v0.1", "16,384, and 16,056,320 a sequence"),
    ],
)
def test_cache(spec: str, said: str) -> None:
    assert cache(cm.load(spec).cost().cache_memory) == said


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("gemma-2:9b", "18.48 G + 344.1 k · s + 344.1 k · min(s, 4,096)"),
        ("mamba-2:2.7b", "5.487 G"),
        ("bert:base", "1.180 M + 169.9 M · s + 36.86 k · s²"),
    ],
)
def test_work(spec: str, said: str) -> None:
    assert work(cm.load(spec).cost().flops) == said


@pytest.mark.parametrize(
    ("spec", "said"), [("llama-3.1:8b", "below 393.0"), ("mamba:2.8b", "none"), ("rwkv-4", "every")]
)
def test_contexts(spec: str, said: str) -> None:
    assert contexts(cm.load(spec).crossover(device="h100-sxm").feasible_when) == said
