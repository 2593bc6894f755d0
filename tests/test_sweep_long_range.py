"""A long range of one dim: compiled once with the dim free gives what compiling each value gives, or is not done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import costmodel as cm
from costmodel import library
from costmodel.source import SpecError
from costmodel.sweep.compute import columns_of
from costmodel.sweep.plan import Plan, Question, Varied, plan
from costmodel.sweep.ranges import axis

from .conftest import Done

AXES = (axis("batch_size", "1,7,301", ""), axis("seq_len", "100,8192", ""))
OF = ("flops", "bytes", "memory", "latency")


def question(spec: str, dim: str, values: Sequence[int], **changed: Any) -> Question:
    varied = Varied(dim, tuple(map(str, values)))
    asked = Question((cm.load(spec).compiled,), ("h100-sxm",), varied=(varied,), axes=AXES, of=OF)
    return replace(asked, **changed)


def told(asked: Question) -> Plan | str:
    """The plan, or what is wrong."""
    try:
        return plan(asked)
    except SpecError as error:
        return str(error)


def differ(a: Plan, b: Plan) -> list[str]:
    """Columns that are not the same: whole numbers and texts exactly, floats to 1e-12."""
    left, right = columns_of(a)[0], columns_of(b)[0]
    assert list(left) == list(right)
    found = []
    for name, column in left.items():
        other = right[name]
        exact = column.dtype.kind != "f"
        same = np.array_equal(column, other) if exact else np.allclose(column, other, rtol=1e-12, atol=0)
        if column.dtype != other.dtype or not same:
            found.append(name)
    return found


def free(found: Plan | str) -> bool:
    return not isinstance(found, str) and len(found.cases) == 1


@pytest.mark.parametrize("spec", library.shipped("models"))
def test_free_or_each_it_is_the_same(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every dim of every shipped spec, over multiples of its value and over values that may be impossible."""
    monkeypatch.setattr("costmodel.sweep.plan.FEW", 3)
    compiled = cm.load(spec).compiled
    freed = set()
    for dim in sorted(compiled.plain & compiled.program.dims.keys()):
        base = int(compiled.environment.figures()[dim])
        for values in ([max(1, base) * k for k in (2, 1, 3, 4)], [max(1, base - 1), base + 1, 1, base + 2]):
            asked = question(spec, dim, list(dict.fromkeys(values)))
            once, each = told(asked), told(replace(asked, free_long=False))
            if isinstance(once, str) or isinstance(each, str):
                assert once == each, dim
                continue
            assert differ(once, each) == [], (dim, values)
            if free(once):
                freed.add(dim)
    assert len(freed) >= 2


def test_all_quantities_over_a_long_range(cli: Callable[..., Done], tmp_path: Path) -> None:
    words = ("--device", "h100-sxm", "--batch-size", "1,8", "--seq-len", "8192", "-o")
    path = tmp_path / "a.csv"
    done = cli("sweep", "llama-3.1:8b", "--vary", "hidden_size=128:8192:128", *words, str(path))
    assert done.status == 0, done.err
    assert "note: hidden_size is left free, and compiled once for its 64 values" in done.err
    rows = path.read_text().splitlines()
    assert rows[0].startswith('"spec","device","hidden_size","batch_size","seq_len","params"')
    assert len(rows) == 1 + 64 * 2
    model = cm.load("llama-3.1:8b")
    for row in (rows[1], rows[34], rows[-1]):
        named = dict(zip((name.strip('"') for name in rows[0].split(",")), row.split(","), strict=True))
        cost = model.set(hidden_size=int(named["hidden_size"])).cost(device="h100-sxm")
        known = cost.evaluate(batch_size=int(named["batch_size"]), seq_len=8192)
        assert int(named["flops"]) == known.flops
        assert int(named["memory"]) == known.memory
        assert float(named["latency"]) == pytest.approx(known.latency, rel=1e-12, abs=0)


def test_an_impossible_value_is_told_of_as_ever() -> None:
    asked = question("llama-3.1:8b", "num_kv_heads", range(1, 33))
    with pytest.raises(SpecError) as error:
        plan(asked)
    assert "asked of llama-3.1:8b num_kv_heads=3" in error.value.diagnostics[0].facts
    asked = question("gpt-oss:20b", "top_k", range(1, 40))
    with pytest.raises(SpecError) as error:
        plan(asked)
    assert "asked of gpt-oss:20b top_k=33" in error.value.diagnostics[0].facts


SPEC = """model small
dim d = 64  dim n = 4
graph forward(x[batch_size, new_tokens, d]) {
    %s
}
"""


@pytest.mark.parametrize(
    ("body", "values", "why"),
    [
        ("weight W[d -> d]  if n > 20 { return matmul(x, W) }  return relu(matmul(x, W))", range(1, 41), "`if`"),
        ("weight W[n -> d]  return matmul(slice(x, 0, n), W)", range(1, 65), ""),
        ("weight W[n -> d]  return matmul(slice(x, 0, n), W)", range(60, 90), "more"),
        ("weight W[d -> n]  return matmul(x, W)", range(1, 65), ""),
        ("repeat n { weight W[d -> d]  x = x + matmul(x, W) }  return x", range(1, 65), ""),
        ("weight W[d -> n]  return concat(matmul(x, W), x)", range(1, 65), ""),
        ("weight W[d -> n]  return slice(matmul(x, W), 0, 30)", range(1, 65), "more"),
        ("weight W[d -> n]  return matmul(x, W) + x", range(1, 65), "agree"),
    ],
)
def test_what_decides_is_not_free(body: str, values: range, why: str, tmp_path: Path) -> None:
    path = tmp_path / "small.arch"
    path.write_text(SPEC % body)
    asked = question(str(path), "n", values)
    once, each = told(asked), told(replace(asked, free_long=False))
    if isinstance(once, str) or isinstance(each, str):
        # an impossible value is told of alike
        assert once == each
        assert why not in ("", "`if`")
        return
    assert differ(once, each) == []
    assert free(once) is (why == "")
    assert why in once.notes[0]


def test_few_values_are_compiled_one_by_one() -> None:
    found = plan(question("gpt-2", "num_layers", range(1, 17)))
    assert len(found.cases) == 16
    assert found.notes == ()
    assert len(plan(question("gpt-2", "num_layers", range(1, 18))).cases) == 1


def test_the_longest_of_several_dims_is_free() -> None:
    varied = (Varied("num_layers", tuple(map(str, range(1, 41)))), Varied("num_kv_heads", ("1", "8")))
    asked = question("llama-3.1:8b", "num_layers", (), devices=("h100-sxm", "h200-sxm"), varied=varied)
    once, each = plan(asked), plan(replace(asked, free_long=False))
    assert (len(once.cases), len(each.cases)) == (4, 160)
    assert differ(once, each) == []
    assert [c.name for c in once.columns[:4]] == ["spec", "num_kv_heads", "device", "num_layers"]
