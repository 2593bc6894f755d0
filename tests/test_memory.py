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
