"""The pages that `make reference` writes are what the code says now."""

from __future__ import annotations

import re

import pytest

import costmodel as cm
from costmodel.cli.main import COMMANDS
from costmodel.library import shipped
from costmodel.ops import OPERATIONS
from costmodel.quantity_names import QUANTITIES
from costmodel.units import UNITS
from docs.models import cache, contexts, work
from docs.reference import FOLDER, PAGES, PICTURES


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_current(name: str, request: pytest.FixtureRequest) -> None:
    path, now = FOLDER / name, PAGES[name]()
    if request.config.getoption("--update-golden"):
        path.write_text(now, encoding="utf-8", newline="\n")
    assert path.read_text(encoding="utf-8").splitlines() == now.splitlines(), "`make reference` writes it again"


@pytest.mark.parametrize("name", PICTURES)
def test_the_picture_is_current(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    there = {said.strip() for said in re.findall(r"<text[^>]*>([^<]*)</text>", text)}
    now = {said.strip() for said in re.findall(r"<text[^>]*>([^<]*)</text>", PICTURES[name]()._repr_svg_())}
    assert there == now and len(now) > 10


@pytest.mark.parametrize(
    ("name", "words", "shape"),
    [
        ("operations.md", [word for word in OPERATIONS if word.isidentifier()], "### {}\n\n`{}("),
        ("operations.md", [word for word in OPERATIONS if not word.isidentifier()], "- `x {} y`"),
        ("quantities.md", QUANTITIES, "\n| `{}` | $"),
        ("quantities.md", UNITS, "\n| `{}` | "),
        ("devices.md", shipped("devices"), "\n| `{}` | "),
        ("commands.md", COMMANDS, "## {}\n\n```text\nUsage: costmodel {} "),
    ],
)
def test_nothing_is_missing(name: str, words: list[str], shape: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert [word for word in words if shape.format(word, word) not in text] == []


def test_what_an_operation_is_said_to_be() -> None:
    """Docstring, formulas on lines of their own, parameters with their defaults."""
    text = (FOLDER / "operations.md").read_text(encoding="utf-8")
    entry = text.partition("### attention\n")[2].partition("\n## ")[0]
    assert "\nmatmul\\_flops = 2 · b · t · h · n · (d + e): scores and weighted values.\n" in entry
    assert "\n| `causal` | flag | `false` |  |\n" in entry
    assert "\nAt fidelity `traffic` its activations are counted.\n" in entry


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
