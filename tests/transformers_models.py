"""Models of published configurations, built by transformers on PyTorch's meta device: no weights, no memory.

`python -m tests.transformers_models` counts every row of data/parameters.json and data/families.json again and writes
the files. It needs `pip install -e '.[oracle]'`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

DATA = Path(__file__).with_name("data")

Row = dict[str, Any]

TOKENS = 63
"""Tokens of the measured prefill; the decode step is the one behind them."""
FEW_TOKENS = 5
"""The same where the library runs a recurrence token by token."""
CHUNKED_TOKENS = 64
"""The same where it fills up the last chunk."""


def read(name: str) -> dict[str, Any]:
    """`{"transformers", "torch", "models": [{"spec", "class", "config", "params", PHASE: [batch, tokens, FLOPs]}]}`.

    The file `parameters` has published sizes of the shipped specs, `families` small models of all families that can be
    imported.
    """
    recorded: dict[str, Any] = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
    return recorded


def build(row: Row) -> Any:
    """The model of a row."""
    import torch
    import transformers

    config = transformers.AutoConfig.for_model(**row["config"])
    config._attn_implementation = "eager"
    config._experts_implementation = "batched_mm"
    with torch.device("meta"):
        model = getattr(transformers, row["class"])(config)
        if row.get("untied"):  # transformers 5 ties these whatever the configuration says; the checkpoints hold both
            model.lm_head.weight = torch.nn.Parameter(torch.empty_like(model.lm_head.weight))
    return model.eval()


def parameters(model: Any) -> int:
    """Parameters, each tensor once, and the buffers that published totals include."""
    buffers = [b for name, b in model.named_buffers() if name.endswith("e_score_correction_bias")]
    return sum(tensor.numel() for tensor in (*model.parameters(), *buffers))


def shapes(model: Any) -> dict[str, int]:
    """How many tensors of a checkpoint have each shape: `{"96x509": 1}`."""
    held = {**dict(model.named_parameters()), **{n: b for n, b in model.named_buffers() if n in model.state_dict()}}
    return dict(Counter("x".join(map(str, tensor.shape)) for tensor in held.values()))


def flops(row: Row, model: Any) -> dict[str, list[int]]:
    """FlopCounterMode's counts of a prefill and of the decode step behind it: `[batch_size, seq_len, FLOPs]`."""
    import torch

    def ids(batch: int, tokens: int) -> Any:
        return torch.zeros(batch, tokens, dtype=torch.long, device="meta")

    kind = row["config"]["model_type"]
    if kind in ("bert", "roberta"):
        return {"prefill": [2, 48, _counted(lambda: model(input_ids=ids(2, 48)))[0]]}
    if kind == "vit":
        image = torch.zeros(2, 3, 224, 224, device="meta")
        return {"prefill": [2, 0, _counted(lambda: model(pixel_values=image))[0]]}
    if kind in ("t5", "mt5", "whisper"):
        bins = getattr(model.config, "num_mel_bins", None)
        source = {"input_features": torch.zeros(2, bins, 3000, device="meta")} if bins else {"input_ids": ids(2, 512)}
        prefill, out = _counted(lambda: model(**source, decoder_input_ids=ids(2, TOKENS), use_cache=True))
        step, _ = _counted(
            lambda: model(
                encoder_outputs=(out.encoder_last_hidden_state,),
                decoder_input_ids=ids(2, 1),
                past_key_values=out.past_key_values,
                use_cache=True,
            )
        )
        return {"prefill": [2, TOKENS, prefill], "decode": [2, TOKENS + 1, step]}
    # a batch of 1 for RWKV: transformers 5.24 broadcasts its state against the batch, and does the work batch times
    batch = 1 if kind == "rwkv" else 2
    lengths = {"rwkv": FEW_TOKENS, "mamba": FEW_TOKENS, "mamba2": CHUNKED_TOKENS, "qwen3_next": CHUNKED_TOKENS}
    tokens = lengths.get(kind, TOKENS)
    prefill, out = _counted(lambda: model(input_ids=ids(batch, tokens), use_cache=True))
    past = {"rwkv": "state", "mamba": "cache_params", "mamba2": "cache_params"}.get(kind, "past_key_values")
    step, _ = _counted(lambda: model(input_ids=ids(batch, 1), use_cache=True, **{past: out[past]}))
    return {"prefill": [batch, tokens, prefill], "decode": [batch, tokens + 1, step]}


def _counted(run: Callable[[], Any]) -> tuple[int, Any]:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        out = run()
    return counter.get_total_flops(), out


def main() -> None:
    """Count every row again and write the files."""
    import torch
    import transformers

    versions = {"transformers": transformers.__version__, "torch": torch.__version__.partition("+")[0]}
    head = json.dumps(versions)[1:-1]
    for name in ("parameters", "families"):
        rows = []
        for row in read(name)["models"]:
            model = build(row)
            given = {key: row[key] for key in ("spec", "class", "config", "untied", "note") if key in row}
            more = {"tensors": shapes(model)} if name == "families" else {}
            rows.append({**given, "params": parameters(model), **flops(row, model), **more})
            print(row["spec"], rows[-1]["params"])
        body = ",\n".join(f" {json.dumps(row)}" for row in rows)
        (DATA / f"{name}.json").write_text(f'{{{head}, "models": [\n{body}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
