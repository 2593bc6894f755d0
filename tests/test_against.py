"""Specs held against checkpoints: real files of both formats, every family's shapes, and files that are damaged."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from costmodel.against import Agreement, hold_against
from costmodel.checkpoint import Checkpoint, read_checkpoint
from costmodel.compile import compile_source
from costmodel.importer import import_config
from costmodel.source import Source, SpecError

from .conftest import Done
from .transformers_models import Row, read

np = pytest.importorskip("numpy")
gguf = pytest.importorskip("gguf")
safetensors = pytest.importorskip("safetensors.numpy")

Cli = Callable[..., Done]
Shapes = dict[str, tuple[int, ...]]

SPEC = """model tiny
use "blocks/attention.arch"
use "blocks/feed_forward.arch"
dim hidden_size = 24
dim num_heads = 4
dim num_kv_heads = 2
dim head_dim = 8
dim intermediate_size = 40
dim num_layers = 2
dim vocab_size = 50
graph forward(tokens[batch_size, new_tokens]) {
    weight embedding[vocab_size -> hidden_size]
    x = lookup(tokens, embedding)
    repeat num_layers {
        x = x + self_attention(rmsnorm(x), q_bias = true)
        x = x + feed_forward(rmsnorm(x))
    }
    return matmul(rmsnorm(x), embedding.T)
}
"""
LAYER: Shapes = {
    "input_layernorm.weight": (24,),
    "self_attn.q_proj.weight": (32, 24),
    "self_attn.q_proj.bias": (32,),
    "self_attn.k_proj.weight": (16, 24),
    "self_attn.v_proj.weight": (16, 24),
    "self_attn.o_proj.weight": (24, 32),
    "post_attention_layernorm.weight": (24,),
    "mlp.gate_proj.weight": (40, 24),
    "mlp.up_proj.weight": (40, 24),
    "mlp.down_proj.weight": (24, 40),
}
TINY: Shapes = {
    "model.embed_tokens.weight": (50, 24),
    **{f"model.layers.{i}.{name}": shape for i in range(2) for name, shape in LAYER.items()},
    "model.norm.weight": (24,),
}
PARAMS = 50 * 24 + 24 + 2 * (2 * 24 + 32 + 24 * (32 + 16 + 16 + 32) + 3 * 24 * 40)


def write_safetensors(path: Path, shapes: Shapes, dtype: str = "float16") -> Path:
    safetensors.save_file({name: np.zeros(shape, dtype) for name, shape in shapes.items()}, path)
    return path


def write_gguf(path: Path, shapes: Shapes) -> Path:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_token_list([f"token {i}" for i in range(50)])
    writer.add_token_scores([0.5] * 50)
    writer.add_context_length(128)
    for name, shape in shapes.items():
        writer.add_tensor(name, np.zeros(shape, "float16"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


WRITERS = pytest.mark.parametrize(
    ("write", "name"), [(write_safetensors, "tiny.safetensors"), (write_gguf, "tiny.gguf")], ids=["safetensors", "gguf"]
)


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a spec."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.arch").write_text(SPEC)
    return tmp_path


def held(shapes: Mapping[str, tuple[int, ...]], spec: str = SPEC) -> Agreement:
    return hold_against(compile_source(Source("tiny.arch", spec)), Checkpoint("file", dict(shapes)))


def told(path: Path) -> str:
    """What is said of a checkpoint that cannot be read."""
    with pytest.raises(SpecError) as refused:
        read_checkpoint(Path(path.name))
    (found,) = refused.value.diagnostics
    return found.message


# --- what agrees


@WRITERS
def test_the_same(write: Callable[[Path, Shapes], Path], name: str, tiny: Path, cli: Cli) -> None:
    write(tiny / name, TINY)
    done = cli("check", "tiny.arch", "--against", name)
    assert (done.status, done.err) == (0, "")
    assert f"against  {name}: {PARAMS:,} parameters in 22 tensors, by shape the same" in done.out
    machine = json.loads(cli("check", "tiny.arch", "--against", name, "--json").out)[0]
    assert machine["ok"]
    assert machine["against"] == {
        "file": name,
        "unit": "parameters",
        "spec": PARAMS,
        "checkpoint": PARAMS,
        "same_shapes": True,
        "missing": [],
        "extra": [],
    }


def test_without_a_checkpoint_nothing_is_said(tiny: Path, cli: Cli) -> None:  # noqa: ARG001
    assert json.loads(cli("check", "tiny.arch", "--json").out)[0]["against"] is None


FAMILIES: list[Row] = read("families")["models"]


@pytest.mark.parametrize("row", FAMILIES, ids=[row["spec"] for row in FAMILIES])
def test_every_family_has_the_shapes_of_transformers(row: Row) -> None:
    """Fused, stacked, transposed as that library has them."""
    config = json.dumps({"architectures": [row["class"]], **row["config"]})
    spec = import_config(Source("config.json", config)).text
    shapes = {
        f"{shape}.{i}": tuple(map(int, shape.split("x")))
        for shape, count in row["tensors"].items()
        for i in range(count)
    }
    found = held(shapes, spec)
    assert (found.missing, found.extra, found.ours, found.ok) == ((), (), row["params"], True)


def test_a_wrong_size_does_not_pass_for_a_fused_one() -> None:
    """Each single dim of the spec, one more than it is."""
    for dim in ("hidden_size", "num_heads", "num_kv_heads", "intermediate_size", "num_layers", "vocab_size"):
        number = SPEC.partition(f"dim {dim} = ")[2].partition("\n")[0]
        other = SPEC.replace(f"dim {dim} = {number}", f"dim {dim} = {int(number) * 2}")
        found = held(TINY, other)
        assert not found.ok
        assert found.missing


@pytest.mark.parametrize(
    "changed",
    [
        {"self_attn.qkv_proj.weight": (64, 24)},
        {"self_attn.qk_proj.weight": (24, 48), "self_attn.v_proj.weight": (24, 16)},
        {"self_attn.k_proj.weight": (2, 8, 24), "self_attn.qv_proj.weight": (48, 24)},
    ],
)
def test_fused_matrices(changed: Shapes) -> None:
    qkv = {f"self_attn.{name}_proj.weight" for name in "qkv"}
    layer = {name: shape for name, shape in LAYER.items() if name not in qkv} | changed
    shapes = {name: shape for name, shape in TINY.items() if ".layers." not in name}
    assert held(shapes | {f"{i}.{name}": shape for i in range(2) for name, shape in layer.items()}).ok


def test_an_answer_is_not_kept_beyond_the_weights(tiny: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSTMODEL_CACHE", str(tiny / "kept"))
    for shapes, status in ((TINY, 0), ({**TINY, "lm_head.weight": (50, 24)}, 1), (TINY, 0)):
        write_safetensors(tiny / "tiny.safetensors", shapes)
        assert cli("check", "tiny.arch", "--against", "tiny.safetensors").status == status


# --- what differs


def test_what_differs_is_named(tiny: Path, cli: Cli) -> None:
    shapes = {name: shape for name, shape in TINY.items() if not name.endswith("q_proj.bias")}
    write_safetensors(tiny / "tiny.safetensors", {**shapes, "lm_head.weight": (50, 24)})
    done = cli("check", "tiny.arch", "--against", "tiny.safetensors")
    assert done.status == 1
    assert done.out.splitlines()[1].startswith("FAILED")
    more = 50 * 24 - 2 * 32
    assert f"`tiny.arch` has {PARAMS:,} parameters, {more:,} fewer than `tiny.safetensors`" in done.err
    assert "only the spec has 2 of 4 × 8: `bq`" in done.err
    assert "only the checkpoint has 1 of 50 × 24, among `lm_head.weight` and `model.embed_tokens.weight`" in done.err
    found = json.loads(cli("check", "tiny.arch", "--against", "tiny.safetensors", "--json").out)[0]
    assert (found["ok"], found["against"]["same_shapes"]) == (False, False)
    assert found["against"]["missing"] == [{"shape": [4, 8], "count": 2, "names": ["bq"]}]
    assert found["against"]["extra"] == [
        {"shape": [50, 24], "count": 1, "names": ["lm_head.weight", "model.embed_tokens.weight"]}
    ]


def test_as_many_parameters_in_other_shapes() -> None:
    other = {**TINY, "model.layers.0.self_attn.o_proj.weight": (48, 16)}
    found = held(other)
    assert found.ours == found.theirs
    assert not found.ok
    assert [group.names for group in found.extra] == [("model.layers.*.self_attn.o_proj.weight",)]


def test_what_is_no_parameter_is_left_out(tiny: Path, cli: Cli) -> None:
    buffers = {
        "model.layers.0.self_attn.rotary_emb.inv_freq": (4,),
        "h.0.attn.bias": (1, 1, 50, 50),
        "h.0.attn.masked_bias": (1,),
        "model.layers.0.mlp.up_proj.weight_scale_inv": (1, 1),
    }
    write_safetensors(tiny / "tiny.safetensors", TINY | buffers)
    done = cli("check", "tiny.arch", "--against", "tiny.safetensors")
    assert done.status == 0
    assert "by shape the same; 4 more are no parameters" in " ".join(done.out.split())


def test_packed_values_are_refused(tiny: Path) -> None:
    path = write_safetensors(tiny / "tiny.safetensors", {"model.layers.0.mlp.up_proj.qweight": (3, 40)}, "int32")
    assert told(path).endswith(
        "is quantised: `model.layers.0.mlp.up_proj.qweight` is of I32, which packs several values into one"
    )


def test_a_dim_without_value(tiny: Path, cli: Cli) -> None:
    (tiny / "open.arch").write_text(SPEC.replace("dim vocab_size = 50", "dim vocab_size"))
    write_safetensors(tiny / "tiny.safetensors", TINY)
    done = cli("check", "open.arch", "--against", "tiny.safetensors")
    assert done.status == 2
    assert "`params` is open: vocab_size has no value" in done.err


# --- an index of several files


def index(folder: Path, shards: Mapping[str, Shapes], **metadata: Any) -> Path:
    names = {name: shard for shard, shapes in shards.items() for name in shapes}
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"metadata": metadata, "weight_map": names}))
    return path


def halves() -> dict[str, Shapes]:
    parts = list(TINY.items())
    return {f"model-{i + 1}-of-2.safetensors": dict(parts[i * 10 : (i + 1) * 10 + i * 2]) for i in range(2)}


def test_an_index(tiny: Path, cli: Cli) -> None:
    shards = halves()
    path = index(tiny, shards, total_size=2 * PARAMS)
    done = cli("check", "tiny.arch", "--against", path.name)
    assert done.status == 0
    assert f"{2 * PARAMS:,} bytes, as its index says" in " ".join(done.out.split())
    index(tiny, shards, total_size=2 * PARAMS, total_parameters=PARAMS + 1)
    done = cli("check", "tiny.arch", "--against", path.name)
    assert done.status == 1
    assert f"`tiny.arch` has {PARAMS:,} parameters, 1 fewer than" in done.err
    first, second = shards
    write_safetensors(tiny / first, shards[first])
    assert told(path).endswith(f"of the files that it names `{second}` is not here")
    write_safetensors(tiny / second, shards[second])
    assert cli("check", "tiny.arch", "--against", path.name).status == 0
    index(tiny, {**shards, first: {**shards[first], "x.weight": (2, 2)}})
    assert told(path) == "`x.weight` is in none of the files that it names"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "the file ends where "),
        ("{}", "no index of a checkpoint: it has no `weight_map`"),
        ('{"weight_map": {"a": "../b.safetensors"}}', "the name of a file beside the index is needed here"),
        ('{"weight_map": {"a": "/etc/passwd"}}', "the name of a file beside the index is needed here"),
        ('{"weight_map": {"a": 3}}', "the name of a file beside the index is needed here"),
        ('{"weight_map": {"a": "b.safetensors"}}', "the files that it names are not here, and it has no `total_size`"),
        ('{"metadata": {"total_size": NaN}, "weight_map": {"a": "b.safetensors"}}', "and it has no `total_size`"),
        ('{"weight_map": ' + "[" * 100_000, "nested more than 100 deep"),
    ],
)
def test_an_index_that_is_none(text: str, why: str, tiny: Path) -> None:
    path = tiny / "model.safetensors.index.json"
    path.write_text(text)
    assert why in told(path)


# --- damaged files


def safetensors_bytes(header: object, size: int | None = None, data: bytes = b"") -> bytes:
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    return struct.pack("<Q", len(text) if size is None else size) + text + data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 7,
        safetensors_bytes({}, 2**63),
        safetensors_bytes({}, 10**9),
        safetensors_bytes(b"[" * 100_000),
        safetensors_bytes({"a": {"dtype": "F16", "shape": [10**12, 10**12], "data_offsets": [0, 8]}}, data=b"\0" * 8),
        safetensors_bytes({"a": {"dtype": "F16", "shape": [2**63, 4], "data_offsets": [0, 0]}}),
        safetensors_bytes({"a": {"dtype": "F16", "shape": [4], "data_offsets": [0, 8]}}),
        safetensors_bytes({"a": {"dtype": "F16", "shape": [-4], "data_offsets": [0, 8]}}, data=b"\0" * 8),
        safetensors_bytes({"a": {"dtype": "F99", "shape": [4], "data_offsets": [0, 8]}}, data=b"\0" * 8),
    ],
)
def test_damaged_safetensors(data: bytes, tiny: Path) -> None:
    path = tiny / "tiny.safetensors"
    path.write_bytes(data)
    assert told(path).startswith("`tiny.safetensors` cannot be read: a damaged file: ")


def gguf_bytes(tensors: int, values: int, rest: bytes = b"") -> bytes:
    return struct.pack("<IIQQ", gguf.GGUF_MAGIC, 3, tensors, values) + rest


def gguf_list(item: int, length: int, rest: bytes = b"") -> bytes:
    return struct.pack("<Q1sIIQ", 1, b"a", 9, item, length) + rest


@pytest.mark.parametrize(
    "data",
    [
        b"GGUX" + b"\0" * 60,
        b"GGUF",
        gguf_bytes(2**62, 0),
        gguf_bytes(0, 2**62),
        gguf_bytes(10**6 + 1, 0, b"\0" * 100),
        gguf_bytes(0, 1, gguf_list(4, 2**62)),
        gguf_bytes(0, 1, gguf_list(8, 2**62, b"\0" * 1000)),
        gguf_bytes(0, 1, gguf_list(8, 5_000_000, b"\0" * 1000)),
        gguf_bytes(0, 1, gguf_list(9, 2**62, b"\0" * 1000)),
        gguf_bytes(0, 1, gguf_list(77, 1, b"\0" * 1000)),
        gguf_bytes(0, 1, struct.pack("<Q", 2**63)),
        gguf_bytes(1, 0, struct.pack("<Q1sI", 1, b"a", 2**31)),
        gguf_bytes(1, 0, struct.pack("<Q1sIQQIQ", 1, b"a", 2, 2**40, 2**40, 1, 0)),
        gguf_bytes(1, 0, struct.pack("<Q1sIQIQ", 1, b"a", 1, 64, 1, 2**50)),
        gguf_bytes(2, 0, struct.pack("<Q1sIQIQ", 1, b"a", 1, 4, 1, 0) * 2 + b"\0" * 100),
        gguf_bytes(1, 0, struct.pack("<Q1sIQIQ", 1, b"\xff", 1, 4, 1, 0) + b"\0" * 100),
    ],
)
def test_damaged_gguf(data: bytes, tiny: Path) -> None:
    path = tiny / "tiny.gguf"
    path.write_bytes(data)
    assert told(path).startswith("`tiny.gguf` cannot be read: a damaged file: ")


@WRITERS
def test_files_that_are_cut_off(write: Callable[[Path, Shapes], Path], name: str, tiny: Path) -> None:
    whole = write(tiny / name, TINY).read_bytes()
    for length in (*range(0, 200, 7), len(whole) // 4, len(whole) // 2, len(whole) - 40):
        (tiny / name).write_bytes(whole[:length])
        assert "a damaged file" in told(tiny / name)


def test_files_that_are_none(tiny: Path) -> None:
    (tiny / "folder.gguf").mkdir()
    assert told(tiny / "folder.gguf") == "`folder.gguf` cannot be read: a folder, not a file"
    assert told(tiny / "none.gguf") == "`none.gguf` cannot be read: no such file or directory"
    assert told(tiny / "tiny.arch") == "`tiny.arch` cannot be read: no checkpoint that is known"


def test_a_library_that_is_not_installed(tiny: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    write_safetensors(tiny / "tiny.safetensors", TINY)
    monkeypatch.setitem(__import__("sys").modules, "safetensors", None)
    done = cli("check", "tiny.arch", "--against", "tiny.safetensors")
    assert done.status == 2
    assert "pip install 'costmodel[weights]'" in done.err
