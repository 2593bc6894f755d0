"""What fits: figures worked out by hand, at the edges of what grows and what does not."""

from __future__ import annotations

import pytest

import costmodel as cm

# weights of 4,002,000 B; the product of two, 2,000,000 B that no batch changes, and a column of 2,000 B made of it;
# 2,002 B a sequence
PRODUCT = """
model product
dim d = 1000
graph forward(x[batch_size, d]) {
    weight V[d -> d], W[d -> d], U[d -> 1]
    column = einsum("a c, c e -> a e", einsum("a b, b c -> a c", V, W), U)
    return einsum("n a, a e -> n e", x, column)
}
device small "Small" { memory = 1 MB  bandwidth = 1 GB/s  peak bf16 = 1 TFLOP/s  peak vector = 1 TFLOP/s }
"""


@pytest.mark.parametrize(
    ("size", "largest"),
    [
        (4_001_999, 0),  # not even the weights
        (6_003_999, 0),  # the product and the column together do not
        (6_004_000, 999),  # from there on the batch counts: 2,000,000 over 2,002
        (6_006_002, 1_000),
    ],
)
def test_activations_that_do_not_grow(size: int, largest: int) -> None:
    model = cm.parse(PRODUCT.replace("1 MB", f"{size} B"))
    answer = model.crossover("small", fidelity="traffic")
    assert answer.max_batch_size_value == largest
    assert answer.status == "does_not_fit" if largest == 0 else answer.status != "does_not_fit"


def test_what_nothing_limits() -> None:
    text = "model m  dim d = 1000  graph forward(x[batch_size, d]) { weight W[d -> d]  return matmul(x, W) }"
    device = 'device small "Small" { memory = 2 MB  bandwidth = 1 GB/s  peak bf16 = 1 TFLOP/s }'
    assert cm.parse(f"{text} {device}").crossover("small").max_batch_size_value is None
    assert cm.parse(f"{text} {device.replace('2 MB', '1.9 MB')}").crossover("small").max_batch_size_value == 0


def test_nothing_fits_is_no_batch_and_never_less() -> None:
    """As a quantity too: in the library, in an `expect`, and where a dim that decides it was freed."""
    model = cm.load("llama-3.1:405b")
    assert model.crossover("h100-nvl", seq_len=1024).max_batch_size_value == 0
    assert model.cost(device="h100-nvl").max_batch_size == 0
    free = model.free("num_layers").cost(device="h100-nvl")
    assert free.evaluate(seq_len=1024, num_layers=126).max_batch_size == 0
    # two layers of 3,187,703,808 parameters, two embeddings and a norm; a sequence keeps 8 MiB
    weights = 2 * (2 * 3_187_703_808 + 2 * 128_256 * 16_384 + 16_384)
    assert free.evaluate(seq_len=1024, num_layers=2).max_batch_size == (94 * 10**9 - weights) // 2**23
    text = PRODUCT + 'expect max_batch_size(device = "small", fidelity = "traffic") == 0'
    assert cm.parse(text).check().ok
