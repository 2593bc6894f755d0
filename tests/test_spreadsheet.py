"""Formulas in cells: what LibreOffice makes of them at random points, against the exact values."""

from __future__ import annotations

import csv
import random
import re
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from sympy import Integer, LambertW, Mod, Sum, ceiling, floor, sqrt

import costmodel as cm
from costmodel.algebra import tree
from costmodel.compile import Run, compile_spec
from costmodel.device import find_device
from costmodel.figures import as_float, figure
from costmodel.quantities import Quantities
from costmodel.quantity_names import QUANTITIES
from costmodel.render.formulas import Formulas
from costmodel.render.spreadsheet import TooLong, cell, sheet
from costmodel.symbols import symbol

from .conftest import Done

POINTS = 100
SPECS = ["llama-3.1:8b", "gemma-3:4b", "mixtral:8x7b", "mamba-2:2.7b"]


def formulas(spec: str, run: Run = Run(), free: bool = False) -> Formulas:  # noqa: B008
    compiled = compile_spec(spec)
    compiled = cm.load(spec).free("all").compiled if free else compiled
    quantities = Quantities(compiled.table(run), find_device("h100-sxm"))
    without = ("crossover", "cost_per_million_tokens")
    names = tuple(n for n, q in QUANTITIES.items() if not q.request and n not in without)
    return Formulas(compiled, quantities, names, {})


def recomputed(sheets: list[str], folder: Path) -> list[dict[str, str]]:
    """What LibreOffice shows of each sheet, by the cells of the first column."""
    for i, text in enumerate(sheets):
        (folder / f"{i}.tsv").write_text(text, encoding="utf-8")
    subprocess.run(
        [
            "soffice",
            "--headless",
            f"-env:UserInstallation={(folder / 'profile').as_uri()}",
            "--infilter=CSV:9,34,76,1,,0,false,true",
            *("--convert-to", "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,false"),
            *("--outdir", str(folder / "out")),
            *(str(folder / f"{i}.tsv") for i in range(len(sheets))),
        ],
        check=True,
        capture_output=True,
        timeout=300,
    )
    read = []
    for i in range(len(sheets)):
        with (folder / "out" / f"{i}.csv").open(encoding="utf-8", newline="") as file:
            read.append({row[0]: row[1] for row in csv.reader(file) if len(row) > 1 and row[0]})
    return read


@pytest.mark.needs("soffice")
def test_a_sheet_finds_the_exact_values_at_random_points(tmp_path: Path) -> None:
    draw = random.Random(5)
    runs = (Run(), Run("prefill", fidelity="traffic"))
    found = [formulas(spec, run) for run in runs for spec in SPECS] + [formulas("llama-3.1:8b", free=True)]
    texts = [each.excel() for each in found]
    sheets, exact = [], []
    for i in range(POINTS):
        of, text = found[i % len(found)], texts[i % len(found)]
        point = {}
        for line in text.split("\n\nquantity")[0].split("input\t")[1].splitlines()[1:]:
            name, given, *_ = line.split("\t")
            value = draw.randint(1, 4096) if name in ("batch_size", "seq_len") else int(given) * draw.randint(1, 3)
            text = text.replace(f"\n{name}\t{given}\t", f"\n{name}\t{value}\t", 1)
            point[symbol(name)] = Fraction(value)
        sheets.append(text)
        exact.append({name: as_float(figure(expr, point)) for name, expr in of.exprs.items()})
    for there, values in zip(recomputed(sheets, tmp_path), exact, strict=True):
        assert len(values) > 10
        for name, wanted in values.items():
            assert float(there[name]) == pytest.approx(wanted, rel=1e-12), name


@pytest.mark.needs("soffice")
def test_every_kind_of_expression(tmp_path: Path) -> None:
    x = symbol("x")
    exprs = [
        1 - (Integer(1) / 2) ** (1000 * x),
        Mod(x, 7) * x,
        Mod(-x, 5),
        ceiling(x / 7) - 3,
        floor(-x / 3),
        sqrt(x) / (x - 2),
        (x - 1) / (3 * (x + 2)),
        x * (-3) - (x - Integer(2) ** 70) / 3,
        -(x**3) * (Integer(3) / 4) ** x,
        Integer(10) ** 30 * x,
        x / Integer(10) ** 30,
    ]
    text = sheet("=1+1", "@x", [("x", Fraction(10), "+")], [(f"f{i}", tree(e), "", "") for i, e in enumerate(exprs)])
    (there,) = recomputed([text], tmp_path)
    assert "'=1+1\n'@x\n" in text and "\t'+\n" in text
    for i, expr in enumerate(exprs):
        exact: float = 10**0.5 / 8
        if not expr.has(sqrt(x)):
            exact = as_float(figure(expr, {x: Fraction(10)}))
        assert float(there[f"f{i}"]) == pytest.approx(exact, rel=1e-13), expr


def test_a_sheet_begins_with_the_figures_of_the_spec() -> None:
    lines = formulas("llama-3.1:8b", free=True).excel().splitlines()
    assert lines[0] == "Llama 3.1 8B, decode" and lines[1].startswith("Counted: decode, fidelity cache")
    assert "hidden_size\t4096\t\twidth of the residual stream" in lines
    row = next(i for i, line in enumerate(lines, 1) if line.startswith("hidden_size\t"))
    params = next(line for line in lines if line.startswith("params\t"))
    assert f"$B${row}" in params and params.endswith("\tparameters stored, of all graphs, each weight once")
    assert all(re.fullmatch(r"=[-A-Z0-9.+*/(),$]+", line.split("\t")[1]) for line in lines if "\t=" in line)


def test_what_a_cell_cannot_hold_is_said() -> None:
    x, i = symbol("x"), symbol("i")
    with pytest.raises(TooLong, match="9,467 characters"):
        cell(tree(sum(x**n for n in range(1, 600))), {"x": "$B$5"})
    with pytest.raises(TypeError, match="a sum over steps"):
        cell(tree(Sum(i**2, (i, 1, x))), {"x": "$B$5"})
    with pytest.raises(TypeError, match="a cell has no function W"):
        cell(tree(LambertW(x)), {"x": "$B$5"})


def test_the_command_writes_it(cli: Callable[..., Done]) -> None:
    done = cli("formula", "gpt-2", "--of", "bytes", "--format", "excel")
    assert (done.status, done.err) == (0, "")
    assert "\nbytes\t=" in done.out and "\tbytes\tbytes moved in a pass" in done.out


@pytest.mark.parametrize("name", ["a.xlsx", "a.ODS"])
def test_cells_are_no_workbook(name: str, cli: Callable[..., Done], tmp_path: Path) -> None:
    done = cli("formula", "gpt-2", "--format", "excel", "-o", str(tmp_path / name))
    assert done.status == 2 and "no workbook" in " ".join(done.err.split())
    assert not list(tmp_path.iterdir())
