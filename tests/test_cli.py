"""The command line: what each command and option does, exit statuses, terminals, files, and machine forms."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
import pytest

from costmodel.cli.main import COMMANDS, group

from .conftest import ROOT, Done

Cli = Callable[..., Done]
COSTMODEL = Path(sysconfig.get_path("scripts")) / "costmodel"
LLAMA = "llama-3.1:8b"
NVL = ("--device", "h100-nvl")

SMALL = """
model small "Small"
dim width = 8 as "w"
dim layers = 3 as "L"

graph forward(x[batch_size, new_tokens, width]) {
    weight W[width -> width]
    repeat layers {
        k = cache(matmul(x, W))
        x = relu(x)
    }
    return x
}
graph head(x[batch_size, new_tokens, width]) {
    weight V[width -> 10]
    return matmul(x, V)
}
phase verify { new_tokens = 5 }
variant "wide" { width = 16 }
"""


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A spec in the folder that the command line runs in."""
    monkeypatch.chdir(tmp_path)
    Path("small.arch").write_text(SMALL, encoding="utf-8")
    return "small.arch"


def never(word: str) -> None:
    raise AssertionError(f"{word} in JSON")


def machine(cli: Cli, line: str, status: int = 0) -> Any:
    """The machine form of a command line."""
    done = cli(*shlex.split(line), "--json")
    assert done.status == status, done.err
    return json.loads(done.out, parse_constant=never)


def value(cli: Cli, line: str, quantity: str) -> Any:
    return machine(cli, f"evaluate {line}")["quantities"][quantity]["value"]


# --- the reference


def documented() -> tuple[set[str], set[str]]:
    """The commands and options that docs/cli.md names."""
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8").partition("## Machine form")[0]
    commands = set(re.findall(r"^\| `([a-z]+)[ `]", text.partition("## Commands")[2], flags=re.MULTILINE))
    return commands, set(re.findall(r"(?<![\w-])(--?[a-z][a-z-]*)", text))


def options_of(command: click.Command) -> set[str]:
    return {name for option in command.params if isinstance(option, click.Option) for name in option.opts}


def test_the_reference_names_each_command_and_option() -> None:
    context = click.Context(group)
    there = {name: group.get_command(context, name) for name in COMMANDS}
    options = {option for command in there.values() if command is not None for option in options_of(command)}
    commands, named = documented()
    assert commands == set(COMMANDS)
    assert sorted(options - named) == []
    assert sorted(named - options - {"--help", "--version"}) == []


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_worked_examples(name: str, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each stands there as it can be typed, and does what it says."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "llama.arch").write_text(SMALL, encoding="utf-8")
    (tmp_path / "README.md").write_text("# A page\n", encoding="utf-8")
    shutil.copy(ROOT / "tests" / "data" / "configs" / "llama-3.1-8b.json", tmp_path / "config.json")
    page = re.sub(r"\\\n\s+", "", cli(name, "--help").out)
    examples = re.findall(rf"^  costmodel ({name} .*)$", page, flags=re.MULTILINE)
    assert examples
    for example in examples:
        if "svg" not in example:
            done = cli(*shlex.split(example))
            assert (done.status, done.err) == (0, ""), example
            assert not re.search(r"^  NONE", done.out, flags=re.MULTILINE), example


def test_without_a_command_the_help_is_shown(cli: Cli) -> None:
    assert cli() == cli("--help")
    assert cli("--help").status == 0


# --- exit statuses and messages

STATUSES: list[tuple[int, str, str]] = [
    (0, f"check {LLAMA}", ""),
    (1, "check tests/golden/specs/fails.arch", "`params` is"),
    (2, "check tests/golden/specs/faulty.arch", "error:"),
    (2, "check gpt-2 tests/golden/specs/fails.arch tests/golden/specs/faulty.arch", "error:"),
    (0, f"crossover {LLAMA} --device h100-nvl --seq-len 8192", ""),
    (1, f"crossover {LLAMA} --device h100-nvl --seq-len 8192 --strict", ""),
    (0, f"crossover {LLAMA} --device h100-nvl --seq-len 256 --strict", ""),
    (1, f"crossover {LLAMA} --device h100-nvl --strict", ""),
    (0, f"crossover {LLAMA} --device h100-nvl --phase prefill --seq-len 8192 --strict", ""),
    (1, "crossover deepseek-v3 --device h200-sxm --count 8 --seq-len 4096 --budget 0.000001", ""),
    (0, f"solve {LLAMA} 'latency <= 1 ms' --for batch_size --device h100-nvl --seq-len 8192", ""),
    (1, f"solve {LLAMA} 'latency <= 1 ms' --for batch_size --device h100-nvl --seq-len 8192 --strict", ""),
    (0, f"solve {LLAMA} 'latency <= 20 ms' --for batch_size --device h100-nvl --seq-len 8192 --strict", ""),
    (2, f"check {'a' * 5000}", "there is no spec"),
    (2, "check \udcff\udcfe", "there is no spec `\\udcff\\udcfe`"),
    (2, "crossower", "`crossover` is near"),
    (2, "crossover", "`SPEC` is missing"),
    (2, f"crossover {LLAMA}", "a device is needed"),
    (2, f"crossover {LLAMA} --device h100-nlv", "`h100-nvl` is near"),
    (2, "crossover llama-3.1:8c --device h100-nvl", "`8b` is near"),
    (2, "crossover lama-3.1 --device h100-nvl", "`llama-3.1` is near"),
    (2, f"evaluate {LLAMA} --fidelty cache", "--fidelity"),
    (2, f"evaluate {LLAMA} --fidelity cach", "not `cach`\n = help: `cache` is near"),
    (2, f"evaluate {LLAMA} --phase prefil", "`prefill` is near"),
    (2, f"evaluate {LLAMA} --graph forwad", "`forward` is near"),
    (2, f"evaluate {LLAMA} --set num_head=8", "`num_heads` is near"),
    (2, f"evaluate {LLAMA} --set dtype.cach=fp8", "`cache` is near"),
    (2, f"evaluate {LLAMA} --set dtype.cache=bf17", "`bf16` is near"),
    (2, f"evaluate {LLAMA} --set batch_size=8", "--batch-size 8"),
    (2, f"evaluate {LLAMA} --set num_heads", "--set takes DIM=EXPR"),
    (2, f"evaluate {LLAMA} --set num_heads=33", "`head_dim` is 4,096/33"),
    (2, f"evaluate {LLAMA} --free num_head", "`num_heads` is near"),
    (2, f"evaluate {LLAMA} --batch-size -3", "--batch-size is -3"),
    (2, f"evaluate {LLAMA} --batch-size 1.5", "--batch-size is 1.5"),
    (2, f"evaluate {LLAMA} --batch-size many", "takes a whole number, not `many`"),
    (2, f"evaluate {LLAMA} --batch-size 1e99999999", "takes a whole number"),
    (2, f"evaluate {LLAMA} --seq-len 1e16", "at most 1,000,000,000,000,000"),
    (2, f"evaluate {LLAMA} --seq-len 3 --new-tokens 5", "do not fit in a context of 3"),
    (2, f"evaluate {LLAMA} --device h100-nvl --count 0", "--count is 0"),
    (2, f"evaluate {LLAMA} --device h100-nvl --memory-fraction nan", "takes a number, not `nan`"),
    (2, f"evaluate {LLAMA} --device h100-nvl --memory-fraction 1e-99999999", "takes a number"),
    (2, f"evaluate {LLAMA} --acceptance-rate 2", "at most 1"),
    (2, f"formula {LLAMA} --of flop", "`flops` is near"),
    (2, f"formula {LLAMA} --of latency", "`latency` needs a device"),
    (2, f"formula {LLAMA} --of crossover --device h100-nvl", "`costmodel crossover` solves for it"),
    (2, f"formula {LLAMA} --format latx", "`latex` is near"),
    (2, f"solve {LLAMA} --for batch_size", "there is nothing to solve"),
    (2, f"solve {LLAMA} 'latency <= 20 ms'", "--for"),
    (2, f"solve {LLAMA} 'latncy <= 20 ms' --for batch_size --device h100-nvl", "`latency` is near"),
    (2, f"solve {LLAMA} 'latency <= 20 GB' --for batch_size --device h100-nvl --seq-len 8", "seconds"),
    (2, "list model", "`models` is near"),
    (2, "list models lama-2", "`llama-2` is near"),
    (2, "list devices h100-smx", "`h100-sxm` is near"),
    (2, "list quantities latncy", "`latency` is near"),
    (2, "new mine --from lama-2", "`llama-2` is near"),
    (2, "new 1st --from gpt-2", "cannot name a spec"),
    (2, "new weight --from gpt-2", "cannot name a spec"),
]


@pytest.mark.parametrize(("status", "line", "said"), STATUSES)
def test_exit_status(status: int, line: str, said: str, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    done = cli(*shlex.split(line))
    assert done.status == status
    assert said in done.err
    assert "Traceback" not in done.err
    if status == 2 and not line.startswith("check"):
        assert done.out == ""
        assert done.err.startswith("error: ")


def test_a_fault_of_the_program_is_no_traceback(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr("costmodel.cli.list.listing_page", broken)
    done = cli("list", "models")
    assert done.status == 70
    assert "RuntimeError inside costmodel: a fault of the program, not of the input" in done.err
    assert "Traceback" not in done.err
    monkeypatch.setenv("COSTMODEL_TRACEBACK", "1")
    with pytest.raises(RuntimeError):
        cli("list", "models")


# --- options, each by what it changes


def test_workload_and_phase(small: str, cli: Cli) -> None:
    """A matmul of 8 by 8 in each of 3 layers: 384 FLOPs a token."""
    assert value(cli, f"{small} --batch-size 1", "flops") == 384
    assert value(cli, f"{small} --batch-size 8_0", "flops") == 384 * 80
    assert value(cli, f"{small} --batch-size 1e2 --phase prefill --seq-len 7", "flops") == 384 * 700
    assert value(cli, f"{small} --batch-size 1 --phase verify", "flops") == 384 * 5
    assert value(cli, f"{small} --batch-size 1 --new-tokens 4", "flops") == 384 * 4
    assert value(cli, f"{small} --batch-size 1 --phase prefill --new-tokens 2 --seq-len 9", "flops") == 384 * 2
    found = machine(cli, f"evaluate {small} --batch-size 2 --seq-len 9")
    assert found["dims"] == {"batch_size": 2, "seq_len": 9, "new_tokens": 1, "width": 8, "layers": 3}
    # 3 layers of 9 positions of 8 values of 2 bytes, for 2 sequences
    assert found["quantities"]["cache_memory"]["value"] == 3 * 9 * 8 * 2 * 2


def test_variant_set_and_free(small: str, cli: Cli) -> None:
    assert value(cli, f"{small}:wide --batch-size 1", "flops") == 384 * 4
    assert value(cli, f"{small} --batch-size 1 --set width=16", "flops") == 384 * 4
    assert value(cli, f"{small} --batch-size 1 --set 'width = 4 * layers'", "flops") == 2 * 144 * 3
    assert value(cli, f"{small} --batch-size 1 --seq-len 1 --set dtype.cache=fp8", "cache_memory") == 24
    assert value(cli, f"{small} --batch-size 1 --seq-len 1 --set 'dtype.cache=3 bits'", "cache_memory") == 9
    free = machine(cli, f"evaluate {small} --free width")
    assert free["dims"]["width"] is None
    assert free["quantities"]["flops"] == {"expr": "6*batch_size*width**2", "value": None}
    both = machine(cli, f"evaluate {small} --free width --free layers")["quantities"]["flops"]["expr"]
    assert both == machine(cli, f"evaluate {small} --free all")["quantities"]["flops"]["expr"]
    assert both == "2*batch_size*layers*width**2"


def test_graph_fidelity_masked_fusion(small: str, cli: Cli) -> None:
    head = machine(cli, f"evaluate {small} --graph head --batch-size 1")
    assert head["graph"] == "head"
    assert head["quantities"]["flops"]["value"] == 2 * 8 * 10
    # the parameters of both graphs: 3 layers share one W
    assert head["quantities"]["params"]["value"] == 64 + 80
    assert value(cli, f"{small} --fidelity params --batch-size 3", "flops") == 2 * (64 + 80) * 3
    # 384 on the matrix units, 3 · 8 by relu
    assert value(cli, f"{small} --fidelity traffic --batch-size 1", "flops") == 384 + 24
    assert value(cli, f"{small} --fidelity cache --batch-size 1", "flops") == 384
    fused = value(cli, f"{small} --fidelity traffic --batch-size 1 --seq-len 4", "bytes")
    loose = value(cli, f"{small} --fidelity traffic --fusion none --batch-size 1 --seq-len 4", "bytes")
    # in each layer relu reads and writes 8 values of 2 bytes, and cache reads them
    assert loose - fused == 3 * (2 + 1) * 8 * 2
    full = value(cli, "gpt-2 --phase prefill --batch-size 1 --seq-len 10", "flops")
    exact = value(cli, "gpt-2 --phase prefill --batch-size 1 --seq-len 10 --masked exact", "flops")
    # 12 layers, 12 heads of 64, scores and values: 100 pairs, of which a causal mask keeps 55
    assert full - exact == 12 * 4 * 12 * 64 * (100 - 55)


def test_device_options(cli: Cli) -> None:
    point = f"{LLAMA} --device h100-nvl --batch-size 1 --seq-len 8192"
    one = machine(cli, f"evaluate {point}")["quantities"]
    moved, flops = 16_060_522_496 + 1_073_741_824, 19_304_284_160
    assert one["memory_time"]["value"] == float(Fraction(moved, 39 * 10**11))
    assert one["compute_time"]["value"] == float(Fraction(flops * 10, 8355 * 10**12))
    assert one["ridge"]["value"] == float(Fraction(8355, 39))
    two = machine(cli, f"evaluate {point} --count 2")["quantities"]
    assert two["memory_time"]["value"] == float(Fraction(moved, 78 * 10**11))
    assert two["ridge"]["value"] == one["ridge"]["value"]
    assert two["max_batch_size"]["value"] == (2 * 94 * 10**9 - 16_060_522_496) // 1_073_741_824
    serial = machine(cli, f"evaluate {point} --timing serial")["quantities"]
    assert serial["latency"]["value"] == pytest.approx(one["memory_time"]["value"] + one["compute_time"]["value"])
    assert one["latency"]["value"] == one["memory_time"]["value"]
    half = machine(cli, f"evaluate {point} --memory-fraction 0.5")["quantities"]
    assert half["max_batch_size"]["value"] == (47 * 10**9 - 16_060_522_496) // 1_073_741_824
    assert half == {**one, "max_batch_size": half["max_batch_size"], "throughput": half["throughput"]}
    page = cli("evaluate", *shlex.split(point), "--count", "2").out
    assert "2 devices as one, communication left out" in " ".join(page.split())


def test_a_device_of_one_s_own(small: str, cli: Cli) -> None:
    one = 'device one "One" { memory = 1 GB  bandwidth = 1 GB/s  peak bf16 = 1 TFLOP/s }\n'
    Path("one.arch").write_text(one, encoding="utf-8")
    Path("two.arch").write_text(one + one.replace("one", "fast_one").replace("1 GB/s", "2 GB/s"), encoding="utf-8")
    assert machine(cli, f"evaluate {small} --device one.arch")["quantities"]["ridge"]["value"] == 1000
    assert machine(cli, f"evaluate {small} --device two.arch:fast-one")["quantities"]["ridge"]["value"] == 500
    assert "declares 2 devices" in cli("evaluate", small, "--device", "two.arch").err
    assert "`fast_one` is near" in cli("evaluate", small, "--device", "two.arch:fast_on").err


def test_request_options(small: str, cli: Cli) -> None:
    line = f"{small} --batch-size 1 --prompt-len 10 --output-len 5"
    # 10 tokens at once and 4 more, one by one
    assert value(cli, line, "request_flops") == 384 * 14
    assert value(cli, f"{small} --acceptance-rate 0.5 --drafts 1", "expected_tokens") == 1.5
    assert value(cli, f"{small} --acceptance-rate 1/2 --drafts 2", "expected_tokens") == 1.75
    assert "request_flops" not in machine(cli, f"evaluate {small}")["quantities"]


def test_formula_options(small: str, cli: Cli) -> None:
    short = cli("formula", small, "--of", "flops", "--free", "all", "--format", "latex").out
    assert r"2 \, b \, L \, w^2" in short
    long = cli("formula", small, "--of", "flops", "--free", "all", "--format", "latex", "--names", "long").out
    assert r"\text{width}" in long
    assert r"\text{width}" not in short
    found = machine(cli, f"formula {small} --of flops --of cache_memory")["quantities"]
    assert list(found) == ["flops", "cache_memory"]
    assert found["flops"]["expr"] == "384*batch_size"
    assert [part["count"] for part in found["flops"]["parts"]] == ["3"]
    assert machine(cli, f"formula {small} --of flops --batch-size 3")["quantities"]["flops"]["expr"] == "1152"
    assert machine(cli, f"formula {small} --of flops --flat")["quantities"]["flops"]["parts"] == []
    assert cli("formula", small, "--format", "json") == cli("formula", small, "--json")
    assert "$$" in cli("formula", small, "--format", "markdown").out
    names: dict[str, Any] = {}
    code = cli("formula", LLAMA, *NVL, "--of", "flops", "--of", "latency", "--format", "python").out
    exec(code, names)
    assert names["flops"](2, 8192) == 2 * 19_304_284_160
    assert names["latency"](1, 8192) == pytest.approx((16_060_522_496 + 1_073_741_824) / 39e11, rel=1e-15)


def test_explain_shows_what_costs_nothing_only_on_demand(small: str, cli: Cli) -> None:
    short, full = cli("explain", small).out, cli("explain", small, "--all").out
    assert "relu costs nothing" in " ".join(short.split())
    assert "─ relu" not in short
    assert "─ relu" in full
    ops = machine(cli, f"explain {small} --batch-size 1")["ops"]
    assert {op["op"] for op in ops} >= {"matmul", "relu", "cache"}
    (matmul,) = [op for op in ops if op["op"] == "matmul"]
    assert (matmul["count"], matmul["matmul_flops"], matmul["params"], matmul["line"]) == ("3", "128", "64/3", 9)


def test_crossover_of_what_is_open_and_what_is_not(cli: Cli) -> None:
    """Whatever depends on a dim that is left free is null; what does not is given."""
    free = machine(cli, f"crossover {LLAMA} --device h100-nvl")
    assert free["crossover"]["status"] is None
    assert free["crossover"]["batch_size"]["value"] is None
    assert [case["expr"] for case in free["crossover"]["cases"]] == [free["crossover"]["batch_size"]["expr"]]
    assert free["crossover"]["critical_seq_len"]["value"] == pytest.approx(544.6966703256495)
    assert free["memory_fit"]["max_batch_size"]["value"] is None
    assert free["optimal_batch_size"] == {"value": None, "limited_by": None}
    assert machine(cli, "crossover mamba-2:2.7b --device h100-sxm")["crossover"]["status"] is not None
    misfit = machine(cli, "crossover llama-3.1:405b --device h100-nvl --seq-len 1024")
    assert misfit["crossover"]["status"] == "does_not_fit"
    assert misfit["optimal_batch_size"]["value"] is None
    assert misfit["memory_fit"]["max_batch_size"]["value"] == 0
    spent = machine(cli, "crossover deepseek-v3 --device h200-sxm --count 8 --seq-len 4096 --budget 1e-6", status=1)
    assert spent["crossover"]["status"] is None
    assert "budget" in spent["why"]


def test_whole_numbers_are_whole_whatever_their_size(small: str, cli: Cli) -> None:
    width = 10**15 + 1
    done = cli("evaluate", small, "--set", f"width={width}", "--batch-size", "10_000_000", "--json")
    assert f'"value": {6 * width**2 * 10**7}\n' in done.out


def test_solve_for_each_kind_of_unknown(cli: Cli) -> None:
    batch = machine(cli, f"solve {LLAMA} 'latency <= 20 ms' --for batch_size --device h100-nvl --seq-len 8192")
    room = Fraction(2, 100) * 39 * 10**11 - 16_060_522_496
    assert batch["solution"] == [
        {
            "min": 1, "max": room // 1_073_741_824, "min_closed": True, "max_closed": True, "min_expr": None,
            "max_expr": str(room / 1_073_741_824),
        }
    ]  # fmt: skip
    width = machine(
        cli, f"solve {LLAMA} 'latency <= 10 ms' --for device.bandwidth --device h100-nvl --batch-size 8 --seq-len 8192"
    )
    assert width["unit"] == "B/s"
    assert width["solution"][0]["min"] == pytest.approx((16_060_522_496 + 8 * 1_073_741_824) * 100)
    best = machine(
        cli, f"solve {LLAMA} 'latency <= 20 ms' --for batch_size --maximize throughput --device h100-nvl --seq-len 8192"
    )
    assert (best["best"]["value"], best["binding"]) == (57, ["latency <= 20 ms"])
    none = machine(cli, f"solve {LLAMA} 'latency <= 1 ms' --for batch_size --device h100-nvl --seq-len 8192")
    assert (none["status"], none["solution"], none["conflict"]) == ("unsatisfiable", [], ["latency <= 1 ms"])


def test_graph_formats(small: str, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli("graph", small).out.startswith('digraph "forward" {')
    assert "flowchart TB" in cli("graph", small, "--format", "mermaid").out
    assert cli("graph", small, "--json") == cli("graph", small, "--format", "json")
    assert machine(cli, f"graph {small} --graph head")["graph"] == "head"
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    missing = cli("graph", small, "--format", "svg")
    assert missing.status == 2
    assert "Graphviz" in missing.err
    (tmp_path / "bin").mkdir()
    dot = tmp_path / "bin" / "dot"
    dot.write_text(f'#!/bin/sh\necho "$1"\nexec {sys.executable} -c "import sys; print(len(sys.stdin.read()) > 100)"\n')
    dot.chmod(0o755)
    assert cli("graph", small, "--format", "svg").out == "-Tsvg\nTrue\n"
    dot.write_text("#!/bin/sh\necho no such font >&2\nexit 1\n")
    assert "no such font" in cli("graph", small, "--format", "svg").err


def test_list_shows_one_in_full(cli: Cli) -> None:
    assert "8,030,261,248" not in cli("list", "models").out
    assert "sum of the published tensor shapes" in cli("list", "models", "llama-3.1").out
    assert "source: " in cli("list", "devices", "h100-nvl").out
    assert "2 · b · t · h · n · (d + e)" in cli("list", "ops", "attention").out
    assert "needed" in cli("list", "ops", "attention").out
    (device,) = machine(cli, "list devices h100-nvl")
    assert (device["memory"], device["peaks"]["bf16"], device["price_per_hour"]) == (94 * 10**9, 8355 * 10**11, 2.5)
    (model,) = machine(cli, "list models llama-3.1")
    assert model["variants"] == ["8b", "70b", "405b"]
    assert [op["name"] for op in machine(cli, "list ops matmul")] == ["matmul"]
    assert {row["name"] for row in machine(cli, "list quantities")} >= {"flops", "latency", "ttft"}


def test_new_copies_what_is_used(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = cli("new", "mine", "--from", "mixtral:8x7b")
    assert done.status == 0
    assert cli("check", "mine.arch").status == 0
    assert Path("mine.arch").read_text(encoding="utf-8").count("model mine ") == 1
    for used in re.findall(r'^use "(.*)"', Path("mine.arch").read_text(encoding="utf-8"), flags=re.MULTILINE):
        assert Path(used).is_file()
    assert cli("new", "mine.arch", "--from", "mixtral").out.count("there already") == len(done.out.splitlines()) - 1
    Path("mine.arch").write_text("# mine\n", encoding="utf-8")
    refused = cli("new", "mine", "--from", "mixtral")
    assert (refused.status, Path("mine.arch").read_text(encoding="utf-8")) == (2, "# mine\n")
    assert "--overwrite" in refused.err
    assert cli("new", "mine", "--from", "mixtral", "--overwrite").status == 0
    assert cli("check", "mine.arch").status == 0


# --- output


def test_output_is_whole_or_not_at_all(small: str, cli: Cli, tmp_path: Path) -> None:
    printed = cli("evaluate", small).out
    assert cli("evaluate", small, "-o", "out.txt") == Done(0, "", "")
    assert Path("out.txt").read_text(encoding="utf-8") == printed
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(Path("out.txt").stat().st_mode) == 0o666 & ~umask
    again = cli("evaluate", small, "--json", "-o", "out.txt")
    assert (again.status, Path("out.txt").read_text(encoding="utf-8")) == (2, printed)
    assert "--overwrite" in again.err
    assert cli("evaluate", small, "--json", "--output", "out.txt", "--overwrite").status == 0
    assert json.loads(Path("out.txt").read_text(encoding="utf-8"))["spec"] == small
    for target in (".", "nowhere/out.txt"):
        assert cli("evaluate", small, "-o", target).status == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.txt", "small.arch"]


WIDE = (
    f"crossover {LLAMA} --device h100-nvl --seq-len 8192",
    "crossover gemma-2:9b --device h100-sxm",
    "explain whisper:large-v3 --device h200-sxm --phase prefill --batch-size 8 --seq-len 448",
    "explain gpt-2",
    f"evaluate {LLAMA} --device h100-nvl --batch-size 32 --seq-len 8192 --prompt-len 100 --output-len 10",
    "formula mixtral:8x7b --free all",
    f"solve {LLAMA} 'latency <= 20 ms' --for batch_size --maximize throughput --device h100-nvl --seq-len 8192",
    "check llama-3.1",
    "list devices",
    "list ops",
    "list models deepseek-v3",
)


@pytest.mark.parametrize("line", WIDE)
def test_terminals(line: str, cli: Cli) -> None:
    """A page is as wide as the terminal, from 60 to 100 columns; figures and words are the same whatever that is."""
    said = {width: cli(*shlex.split(line), width=width).out for width in (60, 85, 100)}
    for width, page in said.items():
        assert max(map(len, page.splitlines())) <= width
    colored = cli(*shlex.split(line), width=200, color=True).out
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == said[100]
    assert "\x1b" not in "".join(said.values())


def test_colour_only_on_a_terminal(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    line = ("crossover", LLAMA, *NVL, "--seq-len", "8192")
    assert "\x1b[1;33mNEVER" in cli(*line, width=100, color=True).out
    assert "\x1b" not in cli(*line, color=True).out
    cli(*line, "-o", "out.txt", width=100, color=True)
    assert "\x1b" not in Path("out.txt").read_text(encoding="utf-8")


# --- as a process


def process(words: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "COSTMODEL_CACHE": "off", **options.pop("env", {})}
    return subprocess.run([COSTMODEL, *shlex.split(words)], env=environment, check=False, timeout=60, **options)


def test_a_stream_that_cannot_show_all_signs() -> None:
    line = f"crossover {LLAMA} --device h100-nvl --seq-len 8192"
    done = process(line, capture_output=True, env={"PYTHONIOENCODING": "ascii"})
    page = done.stdout.decode("ascii")
    assert "fits         batch_size <= (94 GB - 16.06 GB) / (131,072 B * seq_len)" in page
    assert "?" not in page
    answer = process(f"{line} --json", capture_output=True, env={"PYTHONIOENCODING": "ascii"})
    assert json.loads(answer.stdout)["crossover"]["status"] == "never"


def test_whoever_reads_may_stop() -> None:
    """As in `costmodel graph deepseek-v3 | head -1`."""
    read, write = os.pipe()
    os.close(read)
    done = process("graph deepseek-v3", stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_no_room_is_said() -> None:
    with open("/dev/full", "wb") as full:
        done = process("graph gpt-2", stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (2, b"error: the answer cannot be written: no space left on device\n")


@pytest.mark.skipif(os.name != "posix", reason="a shell that can close a stream is needed")
def test_a_closed_stream_is_no_fault() -> None:
    done = subprocess.run(["sh", "-c", f"exec {shlex.quote(str(COSTMODEL))} list models >&-"], check=False, timeout=60)
    assert done.returncode == 0


def test_words_are_completed() -> None:
    environment = {"COMP_WORDS": "costmodel cro", "COMP_CWORD": "1", "_COSTMODEL_COMPLETE": "bash_complete"}
    assert process("", capture_output=True, env=environment).stdout == b"plain,crossover\n"


def numbers(found: Any) -> Iterator[float]:
    match found:
        case dict():
            for inner in found.values():
                yield from numbers(inner)
        case list():
            for inner in found:
                yield from numbers(inner)
        case float():
            yield found


def test_machine_forms_hold_only_numbers_that_are_numbers(cli: Cli) -> None:
    """At the edges: a batch of 10^15, no FLOPs, an empty repeat."""
    for line in (
        f"evaluate {LLAMA} --device h100-nvl --batch-size 1e15 --seq-len 1e15",
        f"evaluate {LLAMA} --set num_layers=0 --device h100-nvl --batch-size 1 --seq-len 1",
        f"crossover {LLAMA} --set num_layers=0 --device h100-nvl --seq-len 1",
        "crossover deepseek-v3 --device rtx-4090 --seq-len 1e15",
    ):
        assert all(abs(number) < float("inf") for number in numbers(machine(cli, line)))


@pytest.mark.parametrize("format", ["text", "latex", "markdown", "python", "json"])
def test_a_power_at_a_batch_size_stays_one(format: str, cli: Cli) -> None:
    """(31/32)^4096 is a fraction of 12,000 digits, and (1 − k/E)^4096 a sum of 4,097 terms."""
    page = cli("formula", "deepseek-v3", "--of", "bytes", "--batch-size", "4096", "--format", format)
    assert (page.status, page.err) == (0, "")
    assert not re.search(r"\d{40}", page.out.replace(",", "").replace("{}", ""))
    assert re.search(r"\(?31(/|, )32\)*(\^|\*\*| \*\* )\{?4(\{?,\}?)?096", page.out)


def test_a_condition_of_a_spec_opens_no_file(tmp_path: Path, cli: Cli) -> None:
    device = tmp_path / "mine.arch"
    device.write_text((ROOT / "specs/devices/h100-nvl.arch").read_text(encoding="utf-8"), encoding="utf-8")
    spec = tmp_path / "spec.arch"
    spec.write_text(
        f'{SMALL}\nexpect latency(device = "{device}", batch_size = 1, seq_len = 8) > 0\n', encoding="utf-8"
    )
    found = cli("check", str(spec))
    assert (found.status, found.err.count("there is no device")) == (2, 1)
    assert cli("evaluate", str(spec), "--device", str(device)).status == 0
