"""Sweeps: every figure that of `evaluate`, rows kept exactly, what is best of them, and bad input."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import costmodel as cm
from costmodel.api import Model
from costmodel.figures import as_float
from costmodel.source import SpecError
from costmodel.sweep.ranges import axis
from costmodel.sweep.store import _guarded, read_sweep
from costmodel.symbols import symbol

from .conftest import Done, Terminal

Run = Callable[..., Done]
LLAMA = ("llama-3.1:8b", "--device", "h100-sxm")
GRID = ("--batch-size", "1:64:9", "--seq-len", "1024:131072:*4")


@pytest.fixture
def sweep(cli: Run, tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """Runs a sweep and gives its rows."""
    count = iter(range(100))

    def rows(*arguments: str, ending: str = "parquet") -> list[dict[str, Any]]:
        path = tmp_path / f"sweep-{next(count)}.{ending}"
        done = cli("sweep", *arguments, "-o", str(path))
        assert done.status == 0, done.err
        assert not list(tmp_path.glob("*.parts"))
        found: list[dict[str, Any]] = read_sweep(path).to_pylist()
        return found

    return rows


def same(found: float | None, expected: float | None) -> bool:
    if found is None or expected is None:
        return found is expected
    return abs(found - expected) <= 1e-12 * abs(expected)


# --- figures


def test_every_figure_is_that_of_evaluate(sweep: Callable[..., list[dict[str, Any]]]) -> None:
    rows = sweep("llama-3.1:8b", "gpt-oss:20b", "--device", "h100-sxm,h200-sxm", *GRID)
    assert len(rows) == 2 * 2 * 8 * 4
    keys = [(r["spec"], r["device"], r["batch_size"], r["seq_len"]) for r in rows]
    order = product(
        ("llama-3.1:8b", "gpt-oss:20b"), ("h100-sxm", "h200-sxm"), range(1, 65, 9), (2**10, 2**12, 2**14, 2**16)
    )
    assert keys[:8] == list(order)[:8]
    for row in rows[::7]:
        cost = cm.load(row["spec"]).cost(device=row["device"])
        known = cost.evaluate(batch_size=row["batch_size"], seq_len=row["seq_len"])
        for name in row.keys() - {"spec", "device", "batch_size", "seq_len"}:
            assert same(row[name], getattr(known, name)), (row, name)
    for name in ("params", "flops", "bytes", "memory", "max_batch_size"):
        if name not in ("bytes",):
            assert isinstance(rows[0][name], int)


def test_dims_dtypes_and_devices_figures_vary(sweep: Callable[..., list[dict[str, Any]]]) -> None:
    rows = sweep(
        *LLAMA,
        *(
            "--vary",
            "num_kv_heads=1,8",
            "--vary",
            "dtype.cache=bf16,fp8",
            "--vary",
            "device.bandwidth=2 TB/s:4 TB/s:500 GB/s",
        ),
        *("--batch-size", "8", "--seq-len", "8192", "--of", "latency", "--of", "cache_memory"),
    )
    assert len(rows) == 2 * 2 * 5
    model = cm.load("llama-3.1:8b")
    for row in rows:
        cost = model.set(num_kv_heads=row["num_kv_heads"], **{"dtype.cache": row["dtype.cache"]}).cost(
            device="h100-sxm"
        )
        at = {"batch_size": 8, "seq_len": 8192}
        known = cost.evaluate(**at)
        assert row["cache_memory"] == known.cache_memory
        seconds = known.bytes / row["device.bandwidth"]
        assert same(row["latency"], max(known.compute_time, seconds))


def test_new_tokens_vary_and_must_fit(sweep: Callable[..., list[dict[str, Any]]]) -> None:
    rows = sweep(*LLAMA, "--new-tokens", "1:64:*4", "--seq-len", "16,4096", "--batch-size", "1:3", "--of", "flops")
    pairs = {(row["new_tokens"], row["seq_len"]) for row in rows}
    assert pairs == {(1, 16), (4, 16), (16, 16), (1, 4096), (4, 4096), (16, 4096), (64, 4096)}
    for row in rows:
        cost = cm.load("llama-3.1:8b").cost(new_tokens=row["new_tokens"])
        assert row["flops"] == cost.evaluate(batch_size=row["batch_size"], seq_len=row["seq_len"]).flops


def test_quantities_of_a_request(sweep: Callable[..., list[dict[str, Any]]]) -> None:
    wanted = ("ttft", "tpot", "request_time", "request_flops")
    options = [word for name in wanted for word in ("--of", name)]
    grid = ("--batch-size", "8,20", "--prompt-len", "100,3000", "--output-len", "2:500:200")
    for spec in ("llama-3.1:8b", "gpt-oss:20b"):
        rows = sweep(spec, "--device", "h100-sxm", *grid, *options)
        assert len(rows) == 2 * 2 * 3
        cost = cm.load(spec).cost(device="h100-sxm")
        for row in rows[1::5]:
            point = {symbol(n): Fraction(row[n]) for n in ("batch_size", "prompt_len", "output_len")}
            for name in wanted:
                exact = cost.quantities.figure(name, point)
                assert exact is not None
                assert same(row[name], as_float(exact)), (row, name)


def test_what_has_no_closed_form_is_solved_point_by_point(sweep: Callable[..., list[dict[str, Any]]]) -> None:
    rows = sweep(*LLAMA, "--seq-len", "100:900:200", "--batch-size", "1:3", "--of", "crossover")
    assert len(rows) == 3 * 5
    model = cm.load("llama-3.1:8b")
    for row in rows[:5]:
        answer = model.crossover("h100-sxm", seq_len=row["seq_len"])
        assert answer.batch_size.value is not None
        assert same(row["crossover"], float(answer.batch_size.value))


def test_beyond_2_53_whole_numbers_stay_exact(sweep: Callable[..., list[dict[str, Any]]]) -> None:
    rows = sweep(
        "llama-3.1:405b", "--batch-size", "4001,4003", "--seq-len", "131071", "--phase", "prefill", "--of", "flops"
    )
    cost = cm.load("llama-3.1:405b").cost(phase="prefill")
    for row in rows:
        exact = cost.evaluate(batch_size=row["batch_size"], seq_len=131071).flops
        assert exact > 2**63
        assert isinstance(row["flops"], float)
        assert same(row["flops"], exact)
    rows = sweep("llama-3.1:405b", "--batch-size", "1:5", "--seq-len", "131071", "--phase", "prefill", "--of", "flops")
    for row in rows:
        exact = cost.evaluate(batch_size=row["batch_size"], seq_len=131071).flops
        assert exact > 2**53
        assert row["flops"] == exact


def test_figures_that_are_none_are_counted(cli: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    grid = ("--batch-size", "8", "--prompt-len", "10", "--output-len", "1:3")
    done = cli("sweep", *LLAMA, *grid, "--of", "tpot", "-o", str(path))
    assert done.status == 0
    assert "tpot has no finite figure at 1 point, left empty; first at" in done.err
    assert "output_len 1" in done.err
    assert [row["tpot"] is None for row in read_sweep(path).to_pylist()] == [True, False, False]


# --- rows


def test_where_keeps_what_holds(sweep: Callable[..., list[dict[str, Any]]]) -> None:
    grid = ("--batch-size", "1:300", "--seq-len", "512:8192:512")
    every = sweep(*LLAMA, *grid)
    kept = sweep(*LLAMA, *grid, "--where", "memory <= device.memory and latency <= 8 ms")
    assert 0 < len(kept) < len(every)
    assert kept == [row for row in every if row["memory"] <= 80 * 10**9 and row["latency"] <= 0.008]


def test_where_is_exact_at_the_edge(sweep: Callable[..., list[dict[str, Any]]]) -> None:
    """A latency that floats cannot tell from the limit is decided by fractions."""
    cost = cm.load("llama-3.1:8b").cost(device="h100-sxm")
    edge = cost.evaluate(batch_size=7, seq_len=1000)
    point = {cm.batch_size: Fraction(7), cm.seq_len: Fraction(1000)}
    exact = cost.quantities.latency_at(point)
    assert isinstance(exact, Fraction)
    assert edge.latency
    seconds = f"{exact.numerator} / {exact.denominator} * 1 s"
    grid = ("--batch-size", "7", "--seq-len", "998:1002", "--of", "latency")
    for relation, expected in (("<=", [998, 999, 1000]), ("<", [998, 999]), ("==", [1000]), (">", [1001, 1002])):
        rows = sweep(*LLAMA, *grid, "--where", f"latency {relation} {seconds}")
        assert [row["seq_len"] for row in rows] == expected


def test_top_and_pareto_are_those_of_brute_force(sweep: Callable[..., list[dict[str, Any]]]) -> None:
    devices = ("llama-3.1:8b", "--device", "h100-sxm,h200-sxm,a100-80gb", "--where", "memory <= device.memory")
    grid = ("--batch-size", "1:128", "--seq-len", "1024:65536:*2")
    of = ("--of", "latency", "--of", "throughput", "--of", "memory")
    every = sweep(*devices, *grid, *of)
    for chunk in ("100", "1000", "100000"):
        top = sweep(*devices, *grid, *of, "--top", "25", "--by", "throughput", "--chunk", chunk)
        assert top == sorted(every, key=lambda row: -row["throughput"])[:25]
        least = sweep(*devices, *grid, *of, "--top", "25", "--by", "throughput:min", "--chunk", chunk)
        assert least == sorted(every, key=lambda row: row["throughput"])[:25]
        for names in ("throughput,latency", "throughput,latency,memory"):
            found = sweep(*devices, *grid, *of, "--pareto", names, "--chunk", chunk)
            assert found == list(front(every, names.split(",")))


def front(rows: list[dict[str, Any]], names: list[str]) -> Iterator[dict[str, Any]]:
    """By definition: no other is as good in all and, where equal in all, none comes before."""
    keys = np.array([[-row[name] if name == "throughput" else row[name] for name in names] for row in rows])
    for i, row in enumerate(rows):
        as_good = (keys <= keys[i]).all(axis=1)
        better = as_good & (keys < keys[i]).any(axis=1)
        if not better.any() and not as_good[:i].any():
            yield row


# --- files


def test_parquet_says_what_it_is(cli: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    assert cli("sweep", *LLAMA, *GRID, "--of", "latency", "--of", "memory", "-o", str(path)).status == 0
    schema = pq.read_schema(path)
    assert [(f.name, str(f.type)) for f in schema] == [
        ("spec", "dictionary<values=string, indices=int32, ordered=0>"),
        ("device", "dictionary<values=string, indices=int32, ordered=0>"),
        ("batch_size", "int64"),
        ("seq_len", "int64"),
        ("latency", "double"),
        ("memory", "int64"),
    ]
    assert schema.field("latency").metadata[b"unit"] == b"seconds"
    about = json.loads(schema.metadata[b"costmodel"])
    assert about["units"] == {"latency": "seconds", "memory": "bytes"}
    assert {"llama-3.1.arch", "h100-sxm.arch"} <= {Path(name).name for name in about["files"]}
    group = pq.read_metadata(path).row_group(0)
    assert all(group.column(i).statistics.has_min_max for i in range(2, 6))


def test_duckdb_pandas_and_polars_read_it(cli: Run, tmp_path: Path) -> None:
    path, text = tmp_path / "a.parquet", tmp_path / "a.csv"
    for file in (path, text):
        assert cli("sweep", *LLAMA, *GRID, "--of", "latency", "--of", "memory", "-o", str(file)).status == 0
    rows = read_sweep(path).to_pylist()
    assert read_sweep(text).to_pylist() == rows
    best = min(row["latency"] for row in rows)
    found = duckdb.sql(f"select min(latency), typeof(any_value(memory)) from '{path}'").fetchall()
    assert found == [(best, "BIGINT")]
    frame = pd.read_parquet(path)
    assert (str(frame.dtypes["memory"]), str(frame.dtypes["spec"])) == ("int64", "category")
    assert frame["latency"].min() == best
    lazy = pl.read_parquet(path)
    assert lazy.schema["memory"] == pl.Int64
    assert lazy["latency"].min() == best


def test_a_spreadsheet_runs_no_cell(cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (Path(cm.__file__).parents[1] / "specs/models/gpt-2.arch").read_text(encoding="utf-8")
    for name in ("=1+2.arch", "@a, b.arch", "plain.arch"):
        Path(name).write_text(text, encoding="utf-8")
    done = cli("sweep", "./=1+2.arch", "@a, b.arch", "plain.arch", "--batch-size", "1", "--seq-len", "8", "-o", "a.csv")
    assert done.status == 0, done.err
    with open("a.csv", encoding="utf-8", newline="") as file:
        assert [row["spec"] for row in csv.DictReader(file)] == ["./=1+2.arch", "'@a, b.arch", "plain.arch"]


@pytest.mark.parametrize("first", list("=+-@\t\r"))
def test_no_cell_begins_a_formula(first: str) -> None:
    """Whatever a spec or a device is called: text cells alone, figures below zero stay figures."""
    column = pa.array([f"{first}1", "plain", "1" + first, f"{first}1"]).dictionary_encode()
    table = pa.table({"spec": column, "latency": [-1.0, 2.0, 3.0, 4.0]})
    found = _guarded(table, ["spec"])
    assert found.column("spec").to_pylist() == [f"'{first}1", "plain", "1" + first, f"'{first}1"]
    assert found.column("latency").to_pylist() == [-1.0, 2.0, 3.0, 4.0]


# --- a question before a very large sweep

LARGE = ("--batch-size", "1:1e6", "--seq-len", "1:1e9", "--of", "latency")


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_a_very_large_sweep_is_asked_about_on_a_terminal(tmp_path: Path) -> None:
    """A real process whose input is a terminal: what it would take is said, and `no` leaves nothing behind."""
    ours, theirs = os.openpty()
    words = [sys.executable, "-m", "costmodel", "sweep", *LLAMA, *LARGE, "-o", str(tmp_path / "a.parquet")]
    process = subprocess.Popen(words, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    os.close(theirs)
    os.write(ours, b"n\n")
    out, err = process.communicate(timeout=100)
    os.close(ours)
    assert process.returncode == 130
    assert re.search(
        r"1,000,000,000,000,000 points would take about [\d.,]+ \w+ and about [\d.,]+ \wB\. Go on\? \[y/N\]", err
    )
    assert out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("n\n", 130), ("", 130)])
def test_the_answer_decides(
    cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, status: int
) -> None:
    monkeypatch.setattr("costmodel.cli.sweep._ASKED_BEYOND", 10)
    path = tmp_path / "a.csv"
    words = ("sweep", *LLAMA, "--batch-size", "1:12", "--seq-len", "8", "--of", "latency", "-o", str(path))
    typed = Terminal(answer)
    monkeypatch.setattr("sys.stdin", typed)
    done = cli(*words)
    assert (done.status, path.exists()) == (status, status == 0)
    assert "12 points would take about" in done.err
    path.unlink(missing_ok=True)
    typed.seek(0)
    assert cli(*words, "--yes").status == 0
    assert typed.tell() == 0


# --- Python


def test_a_table_in_python() -> None:
    model = cm.load("llama-3.1:8b")
    table = model.sweep("h100-nvl", ["latency", "memory"], batch_size=range(1, 513), seq_len=[1024, 8192])
    assert list(table) == ["spec", "device", "batch_size", "seq_len", "latency", "memory"]
    assert table.rows == 1024
    assert table["memory"].dtype == np.int64
    assert table.units["latency"] == "seconds"
    cost = model.cost(device="h100-nvl")
    assert same(table["latency"][-1], cost.evaluate(batch_size=512, seq_len=8192).latency)
    assert "the first 10 of 1,024 rows" in table._repr_html_()
    assert "latency / seconds" in table._repr_html_()
    with pytest.raises(KeyError, match="'latency' is near"):
        table["latncy"]


def test_python_varies_what_the_command_does() -> None:
    model = cm.load("llama-3.1:8b")
    dtypes: dict[str, Any] = {"dtype.cache": ["bf16", "fp8"]}
    table = model.sweep(
        ["h100-nvl", "h200-sxm"], "latency", "memory <= device.memory", batch_size=8, seq_len=8192, **dtypes
    )
    assert table["dtype.cache"].tolist() == ["bf16", "bf16", "fp8", "fp8"]
    assert table["device"].tolist() == ["h100-nvl", "h200-sxm"] * 2
    with pytest.raises(SpecError, match="100,000,000 are possible"):
        model.sweep(None, "flops", batch_size=range(1, 10**6), seq_len=range(1, 10**6))


# --- bad input


@pytest.mark.parametrize(
    ("text", "figures"),
    [
        ("1:4", [1, 2, 3, 4]),
        ("8:32:8", [8, 16, 24, 32]),
        ("8:33:8", [8, 16, 24, 32]),
        ("1024:131072:*2", [1024 * 2**i for i in range(8)]),
        ("1,8,64", [1, 8, 64]),
        ("1:3,8,16:64:*2", [1, 2, 3, 8, 16, 32, 64]),
        ("1e3", [1000]),
    ],
)
def test_ranges(text: str, figures: list[int]) -> None:
    assert list(axis("batch_size", text, "--batch-size").figures) == figures


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("1,,2", "is empty"),
        ("8:1", "is reversed"),
        ("1:8:0", "has a step of 0"),
        ("1:8:-1", "has a step of -1"),
        ("1:8:*1", "has a factor of 1"),
        ("1:8:*1.0000001", "has a factor of"),
        ("0:8", "batch_size is 0"),
        ("1:8:1/2", "batch_size is 3/2"),
        ("1,1", "names 1 twice"),
        ("1:2:3:4", "takes FIRST:LAST"),
        ("a", "takes numbers, not `a`"),
        ("1:99999999,3", "at most 10,000,000"),
    ],
)
def test_ranges_that_are_none(text: str, said: str) -> None:
    with pytest.raises(SpecError, match=said.replace("*", r"\*")):
        axis("batch_size", text, "--batch-size")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--of", "latncy"), "`latency` is near"),
        (("--of", "latency"), "depends on seq_len, which has no value"),
        (("--seq-len", "8", "--vary", "seq_len=9"), "column `seq_len` has two meanings"),
        (("--seq-len", "8", "--vary", "flops=1,2"), "column `flops` has two meanings: it is a quantity, and varies"),
        (("--seq-len", "8", "--vary", "num_kv_heads=3"), "asked of llama-3.1:8b num_kv_heads=3"),
        (("--seq-len", "8", "--vary", "num_kv_head=3"), "`num_kv_heads` is near"),
        (("--seq-len", "8", "--vary", "device.bandwidth=3"), "has no unit"),
        (("--seq-len", "8", "--vary", "device.bandwidth=3 GB"), "is in bytes"),
        (("--seq-len", "8", "--vary", "device.tdp=3 W"), "`tdp` does not vary"),
        (("--seq-len", "8", "--where", "latency <= 3 GB"), "is in bytes"),
        (("--seq-len", "8", "--where", "latency ~= 3 ms"), "not `~=`"),
        (("--seq-len", "8", "--top", "3"), "--top and --by go together"),
        (("--seq-len", "8", "--top", "3", "--by", "speed"), "there is no quantity `speed`"),
        (("--seq-len", "8", "--pareto", "latency,latency"), "names latency twice"),
        (("--seq-len", "1:10^15"), "takes numbers"),
        (("--seq-len", "1:9", "--new-tokens", "20:30"), "fit in no context of up to 9"),
        (
            ("--seq-len", "1:1e9", "--batch-size", "1:1e6", "--of", "latency"),
            "1,000,000,000,000,000 points would take about",
        ),
        (("--seq-len", "8", "--engine", "spark"), "there is no engine `spark`"),
    ],
)
def test_bad_input(cli: Run, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    options = arguments if "--batch-size" in arguments else ("--batch-size", "1:4", *arguments)
    done = cli("sweep", *LLAMA, *options, "-o", str(tmp_path / "a.parquet"))
    assert done.status == 2
    assert said in " ".join(done.err.replace("|", " ").split()), done.err
    assert not list(tmp_path.glob("*.parquet"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.xlsx", "written as .parquet or .csv"),
        ("no/a.csv", "there is no folder"),
        ("", "-o takes the name of a file"),
    ],
)
def test_where_it_cannot_be_written(cli: Run, tmp_path: Path, name: str, said: str) -> None:
    done = cli("sweep", *LLAMA, *GRID, "-o", str(tmp_path / name) if name else "")
    assert done.status == 2
    assert said in " ".join(done.err.split())


def test_a_file_that_is_there_is_kept(cli: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("mine")
    done = cli("sweep", *LLAMA, *GRID, "-o", str(path))
    assert done.status == 2
    assert "--overwrite" in done.err
    assert path.read_text() == "mine"
    assert cli("sweep", *LLAMA, *GRID, "-o", str(path), "--overwrite").status == 0
    assert path.read_text().startswith('"spec","device","batch_size"')


def test_a_dim_that_follows_the_context_must_be_whole(cli: Run, tmp_path: Path) -> None:
    spec = tmp_path / "chunked.arch"
    spec.write_text(
        "model m  dim d = 8  dim chunks = seq_len / 4\n"
        "graph forward(x[batch_size, new_tokens, d]) { weight W[d -> chunks]  return matmul(x, W) }\n"
    )
    command = ("sweep", str(spec), "--batch-size", "1", "--of", "flops", "-o", str(tmp_path / "a.csv"), "--seq-len")
    done = cli(*command, "4:10")
    assert done.status == 2
    assert "dim `chunks` is 1.25: a whole number is needed" in done.err
    assert cli(*command, "4:12:4", "--overwrite").status == 0


def test_many_small_cases_share_a_part() -> None:
    from costmodel.sweep.plan import Question, Varied, plan
    from costmodel.sweep.ranges import of_values

    model: Model = cm.load("gpt-2")
    varied = Varied("num_layers", tuple(map(str, range(1, 41))))
    axes = (of_values("batch_size", range(1, 4), "batch_size"), of_values("seq_len", [8, 16], "seq_len"))
    for chunk, parts in ((1000, 1), (60, 4), (6, 40), (5, 80), (2, 120), (1, 240)):
        each = Question((model.compiled,), varied=(varied,), axes=axes, of=("flops",), chunk=chunk, free_long=False)
        found = plan(each)
        assert found.parts == parts
        blocks = [block for part in range(found.parts) for block in found.blocks(part)]
        points = [(case.labels[1], *point) for case, stretches in blocks for point in product(*found.values(stretches))]
        assert points == list(product(range(1, 41), range(1, 4), (8, 16)))


def test_what_is_shown_of_sizes() -> None:
    from costmodel.render.sweep import bytes_said, span_said

    assert [span_said(s) for s in (0.5, 600, 7300, 9e5, 1e9)] == ["0.5 s", "10 min", "2.03 h", "10 days", "32 years"]
    assert [bytes_said(s) for s in (12, 1.2e10, 3e20)] == ["12 B", "12 GB", "300 EB"]
