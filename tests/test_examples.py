"""Whole models, as people write them, against figures that were counted on the real ones.

Parameters are sums of published tensor shapes; FLOPs were counted by PyTorch on the models of Hugging Face. Where the
two conventions differ, the difference is worked out beside the figure.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from sympy import ceiling

import costmodel as cm

from .language import b, s, same

FOLDER = Path(__file__).with_name("examples")


def example(name: str) -> cm.Model:
    stem, _, variant = name.partition(":")
    return cm.load(f"{FOLDER / stem}.arch" + (f":{variant}" if variant else ""))


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.arch")))
def test_an_example_passes_its_check(name: str) -> None:
    result = example(name).check()
    assert result.errors == ()
    assert result.warnings == ()
    assert result.expects
    assert result.ok


@pytest.mark.parametrize(
    ("name", "params", "active"),
    [
        # the published total counts a correction a routed expert, 58 · 256, which are no parameters of the model
        ("deepseek_v3", 671_026_404_352 + 14_848, 37_552_282_624 + 14_848),
        ("mamba2_2_7b", 2_702_599_680, 2_702_599_680),
        ("qwen2_5:7b", 7_615_616_512, 7_615_616_512),
        ("qwen2_5:0.5b", 494_032_768, 494_032_768),
        ("whisper_large_v3", 1_543_490_560, 1_543_490_560),
    ],
)
def test_parameters(name: str, params: int, active: int) -> None:
    for phase in ("prefill", "decode"):
        cost = example(name).cost(phase)
        assert cost.params == params
        assert cost.active_params == active


def test_qwen_2_5() -> None:
    model = example("qwen2_5:7b")
    assert same(model.cost("prefill").flops, 14_140_571_648 * b * s + 401_408 * b * s**2)
    assert same(model.cost("decode").flops, 14_140_571_648 * b + 401_408 * b * s)
    # keys and values, 28 layers of 4 heads of 128 of 2 bytes
    assert model.cost().cache_memory == 2 * 28 * 4 * 128 * 2 * b * s
    assert same(model.cost().bytes, 2 * 7_615_616_512 + 57_344 * b * s)
    # without the logits of all but one token: 2·3584·152064 each
    last = model.set(logit_tokens=1).cost("prefill").flops
    assert same(model.cost("prefill").flops - last, 1_089_994_752 * b * (s - 1))


def test_qwen_2_5_with_tied_embeddings() -> None:
    """24 layers: Wq and Wo 896·896, Wk and Wv 896·128, three of 896·4864; the embedding is the output layer too."""
    model = example("qwen2_5:0.5b")
    layer = 2 * 896 * 896 + 2 * 896 * 128 + 3 * 896 * 4864
    assert same(model.cost().flops, b * (2 * (24 * layer + 896 * 151_936) + 24 * 4 * 896 * s))
    assert same(model.cost().bytes, 2 * 494_032_768 + 24 * 2 * 128 * 2 * b * s)
    # the model of 7b but for its dims
    untied = model.set(tied=0).cost().params
    assert untied == 494_032_768 + 896 * 151_936


def test_deepseek_v3() -> None:
    model = example("deepseek_v3")
    assert same(model.cost("prefill").flops, 73_249_193_984 * b * s + 4_997_120 * b * s**2)
    # decode folds the up-projections of 128 heads into queries and outputs, 512·(128 + 128) each, as many FLOPs as
    # expanding one token's latent takes; attention then is over the latents: 576 of keys, 512 of values
    assert same(model.cost("decode").flops, 73_249_193_984 * b + 61 * 2 * 128 * (576 + 512) * b * s)
    # a token keeps 512 of latent and 64 of rotary key a layer
    assert model.cost().cache_memory == 61 * 576 * 2 * b * s
    # 58 layers of 256 experts of 3·7168·2048 values of 1 byte: 8 of them for one token
    one = model.cost().evaluate(batch_size=1, seq_len=1)
    experts = 58 * 3 * 7168 * 2048
    assert one.bytes == 671_026_419_200 - 256 * experts + 8 * experts + 61 * 576 * 2
    assert one.bytes - 61 * 576 * 2 == one.active_params


def test_mamba_2() -> None:
    model = example("mamba2_2_7b")
    chunks = ceiling(s / 256)
    counted = 5_403_492_352 * s + 92_143_616 + 171_966_464_000 * chunks + 83_886_080 * chunks**2
    # PyTorch's convolution makes 3 columns more in prefill and 1 in decode: 64 layers of 2·4·5376 each
    column = 64 * 2 * 4 * 5376
    assert same(model.cost("prefill").flops, b * (counted - 3 * column))
    assert model.cost("decode").flops == (5_490_130_944 - column) * b
    # a state of 80·64·128 in fp32, and 3 columns of 5376 in bf16, a layer; read and written
    state = 64 * (80 * 64 * 128 * 4 + 3 * 5376 * 2)
    assert model.cost().cache_memory == state * b
    assert same(model.cost().bytes, 2 * 2_702_599_680 + 2 * state * b)


def test_whisper_large_v3() -> None:
    model = example("whisper_large_v3")
    assert same(model.cost("prefill").flops, b * (2_588_344_320_000 + 1_846_543_360 * s + 163_840 * s**2))
    assert same(model.cost("decode").flops, b * (1_846_543_360 + 163_840 * s))
    # 32 layers, 20 heads of 64: keys and values of the text and of 1,500 positions of sound
    kept = 2 * 32 * 1280 * 2 * (s + 1500) * b
    assert same(model.cost().cache_memory, kept)
    # a decode step reads the decoder: layers of 8 square matrices, 2 of them made in the first pass alone, and biases
    layer = 6 * 1280**2 + 2 * 1280 * 5120 + 5 * 1280 + 5120 + 1280 + 3 * 2 * 1280
    read = 32 * layer + 2 * 1280 + 51_866 * 1280 + 448 * 1280
    assert same(model.cost().bytes, 2 * read + kept)
    assert model.cost("prefill").evaluate(batch_size=1, seq_len=1).bytes == 2 * 1_543_490_560 + 2 * 32 * 1280 * 2 * 1501
