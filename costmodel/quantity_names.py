"""The quantities that conditions, `--of` and answers may name: what each is, in which dimension, from what."""

from __future__ import annotations

from dataclasses import dataclass

from costmodel.units import BYTES, FLOP, FLOP_PER_BYTE, PER_SECOND, PLAIN, SECONDS, USD, Dimension


@dataclass(frozen=True, slots=True)
class Quantity:
    """A quantity's dimension, letter in formulas, and meaning; whether it needs a device, and what of a request."""

    dimension: Dimension
    letter: str
    meaning: str
    device: bool = False
    request: tuple[str, ...] = ()


_LENGTHS = ("prompt_len", "output_len")


QUANTITIES: dict[str, Quantity] = {
    "params": Quantity(PLAIN, "N", "parameters stored, of all graphs, each weight once"),
    "active_params": Quantity(PLAIN, "A", "params with the weights of experts counted top_k times instead of all"),
    "flops": Quantity(FLOP, "C", "FLOPs of a pass, as the fidelity counts them"),
    "matmul_flops": Quantity(FLOP, "C_m", "FLOPs of a pass on the matrix units"),
    "vector_flops": Quantity(FLOP, "C_v", "FLOPs of a pass on the vector units"),
    "bytes": Quantity(BYTES, "M", "bytes moved in a pass, as the fidelity counts them"),
    "intensity": Quantity(FLOP_PER_BYTE, "I", "flops / bytes"),
    "weight_memory": Quantity(BYTES, "M_w", "bytes of the stored weights, of all graphs"),
    "cache_memory": Quantity(BYTES, "M_c", "bytes of caches, states and kept values"),
    "activation_memory": Quantity(BYTES, "M_a", "bytes of the activations alive at once, at their peak"),
    "memory": Quantity(BYTES, "M_t", "weight_memory + cache_memory; at fidelity traffic + activation_memory"),
    "ridge": Quantity(FLOP_PER_BYTE, "R", "peak / bandwidth of the device", device=True),
    "compute_time": Quantity(SECONDS, "T_c", "FLOPs over the peak, each kind over its own: a floor", device=True),
    "memory_time": Quantity(SECONDS, "T_m", "bytes / bandwidth: a floor", device=True),
    "latency": Quantity(SECONDS, "T", "time of a pass by the timing: a floor", device=True),
    "throughput": Quantity(PER_SECOND, "X", "batch_size · new_tokens / latency: a ceiling", device=True),
    "cost_per_million_tokens": Quantity(USD, "K", "price / throughput, for 10^6 tokens", device=True),
    "crossover": Quantity(PLAIN, "b^*", "batch size from which a pass is compute-bound", device=True),
    "max_batch_size": Quantity(PLAIN, "B", "largest batch size that fits in memory", device=True),
    "ttft": Quantity(SECONDS, "T_1", "time to first token, the prefill's latency: a floor", True, ("prompt_len",)),
    "tpot": Quantity(SECONDS, "T_o", "time per output token, the mean of the decode steps: a floor", True, _LENGTHS),
    "request_flops": Quantity(FLOP, "C_r", "FLOPs of batch_size requests run together", False, _LENGTHS),
    "request_bytes": Quantity(BYTES, "M_r", "bytes moved by batch_size requests run together", False, _LENGTHS),
    "request_time": Quantity(SECONDS, "T_r", "prefill and all decode steps: a floor", True, _LENGTHS),
    "request_cost": Quantity(USD, "K_r", "price · request_time, of all batch_size requests", True, _LENGTHS),
    "cost_per_million_input_tokens": Quantity(
        USD, "K_i", "price · ttft / (batch_size · prompt_len), for 10^6 tokens", True, ("prompt_len",)
    ),
    "cost_per_million_output_tokens": Quantity(
        USD, "K_o", "price · tpot / batch_size, for 10^6 tokens", True, _LENGTHS
    ),
    "output_input_ratio": Quantity(
        PLAIN, "r", "what an output token costs over what an input token does: tpot · prompt_len / ttft", True, _LENGTHS
    ),
    "expected_tokens": Quantity(
        PLAIN, "n", "tokens that a step of speculative decoding gives", False, ("acceptance_rate", "drafts")
    ),
}

# of a request that gives more than one token
PER_STEP = ("tpot", "cost_per_million_output_tokens", "output_input_ratio")

CONDITION_ARGUMENTS = (
    *("phase", "graph", "fidelity", "timing", "masked", "fusion", "device", "memory_fraction", "count"),
    *(*_LENGTHS, "acceptance_rate", "drafts"),
)
