"""`plot` of a file that `sweep` wrote: the curves are the file's own figures, thinned without losing an end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from costmodel.plot.grid import grid
from costmodel.plot.picture import Curve, Dot, Edge, Note
from costmodel.source import SpecError
from costmodel.sweep.curves import curves

from .conftest import Done

Cli = Callable[..., Done]
SWEEP = (
    *("sweep", "llama-3.1:8b", "--device", "h100-nvl,h200-sxm", "--batch-size", "1:64", "--seq-len", "1024,8192"),
    *("--of", "latency", "--of", "throughput", "--where", "memory <= device.memory"),
)


@pytest.fixture(autouse=True)
def _there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["grid.parquet", "grid.csv"])
def test_curves_are_the_figures_of_the_file(name: str, cli: Cli) -> None:
    assert cli(*SWEEP, "-o", name).status == 0
    found = curves(Path(name))
    assert (found.x, found.y, found.rows) == ("batch_size", "throughput", 256)
    assert [line.of for line in found.lines] == [
        (("device", device), ("seq_len", context))
        for device in ("h100-nvl", "h200-sxm")
        for context in ("1,024", "8,192")
    ]
    assert found.same == (("spec", "llama-3.1:8b"),)
    for line in found.lines:
        assert [x for x, _ in line.points] == list(range(1, 65))
    evaluated = cli("evaluate", "llama-3.1:8b", "--device", "h100-nvl", "--batch-size", "32", "--seq-len", "8192")
    assert f"{found.lines[1].points[31][1]:,.1f} tokens/s" in evaluated.out
    one = curves(Path(name), "seq_len", "latency", only=["device=h200-sxm", "batch_size=64"])
    assert [x for x, _ in one.lines[0].points] == [1024.0, 8192.0]
    assert one.y_unit == "seconds" and one.rows == 2


@pytest.mark.parametrize("ending", [".svg", ".png", ".html"])
def test_it_is_drawn(ending: str, cli: Cli) -> None:
    assert cli(*SWEEP, "-o", "grid.parquet").status == 0
    done = cli("plot", "grid.parquet", "--y", "latency", "-o", f"grid{ending}")
    assert (done.status, done.err) == (0, "")
    data = Path(f"grid{ending}").read_bytes()
    assert data.startswith(b"\x89PNG") if ending == ".png" else b"latency is at least 3.374 ms" in data


def test_the_best_point_is_marked_and_each_line_named(cli: Cli) -> None:
    assert cli(*SWEEP, "-o", "grid.parquet").status == 0
    picture = grid(curves(Path("grid.parquet"), only=["seq_len=8192"]), greatest=True)
    assert picture.title.startswith("throughput is at most ") and picture.title.endswith(": batch_size 64, h200-sxm")
    assert picture.footnote.startswith("128 rows · memory <= device.memory · costmodel ")
    assert sum(isinstance(mark, Curve) for mark in picture.marks) == 2
    assert {mark.text for mark in picture.marks if isinstance(mark, Edge | Note)} == {"h100-nvl", "h200-sxm"}
    dot = next(mark for mark in picture.marks if isinstance(mark, Dot))
    assert dot.x == 64


def table(path: Path, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """A file with one spike up and one down among its rows."""
    x = np.arange(1, rows + 1)
    y = 5.0 + np.sin(x)
    y[rows // 3], y[rows // 2] = 100.0, -100.0
    spec = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), ["a"])
    pq.write_table(pa.table({"spec": spec, "batch_size": x, "throughput": y}), path)
    return x, y


def test_more_rows_than_a_picture_shows_keep_every_end() -> None:
    x, y = table(Path("large.parquet"), 1_000_000)
    found = curves(Path("large.parquet"))
    (line,) = found.lines
    assert 1_000 < len(line.points) <= 4_002
    assert found.rows == len(x)
    assert (float(x[len(x) // 3]), 100.0) in line.points and (float(x[len(x) // 2]), -100.0) in line.points
    assert {point for point in line.points if y[int(point[0]) - 1] != point[1]} == set()
    assert line.points[0][0] == 1.0


def test_what_is_no_number_is_left_out() -> None:
    spec = pa.array(["a"] * 4)
    figures = {"spec": spec, "batch_size": [1, 2, 3, 4], "throughput": [1.0, None, float("nan"), 4.0]}
    pq.write_table(pa.table(figures), "odd.parquet")
    (line,) = curves(Path("odd.parquet")).lines
    assert line.points == ((1.0, 1.0), (4.0, 4.0))
    pq.write_table(pa.table({**figures, "throughput": [float("nan")] * 4}), "none.parquet")
    with pytest.raises(SpecError, match="`throughput` has no figure"):
        curves(Path("none.parquet"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("grid.parquet --x batch", "has no column of what varied `batch`"),
        ("grid.parquet --y latenzy", "`latency` is near"),
        ("grid.parquet --x device", "`device` holds words"),
        ("grid.parquet --by device", "at one batch_size there are several values of throughput: `seq_len` varies too"),
        ("grid.parquet --x seq_len", "more than can be told apart"),
        ("grid.parquet --only device=a100", "has no row of which"),
        ("grid.parquet --only batch_size=x", "compares with a figure"),
        ("grid.parquet --only device", "--only takes NAME=VALUE"),
        ("grid.parquet --device h100-nvl", "--device is for a spec"),
        ("none.parquet", "there is no file `none.parquet`"),
        ("text.parquet", "cannot be read as a sweep"),
        ("text.csv", "is no sweep"),
        ("empty.csv", "cannot be read as a sweep"),
        ("gpt-2 --x batch_size", "--x is for a file that `sweep` wrote"),
    ],
)
def test_what_cannot_be_drawn_is_said(options: str, said: str, cli: Cli) -> None:
    assert cli(*SWEEP, "-o", "grid.parquet").status == 0
    Path("text.parquet").write_text("no")
    Path("text.csv").write_text("a,b\n1,2\n")
    Path("empty.csv").write_text("")
    done = cli("plot", *options.split(), "-o", "grid.svg")
    assert (done.status, done.out) == (2, "")
    assert said in " ".join(done.err.split())
    assert not Path("grid.svg").exists()
