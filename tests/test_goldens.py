"""Whole outputs, kept in tests/golden and read by people: `pytest --update-golden` rewrites them.

A golden holds the command line, what it printed, and its exit status; the JSON of a command is compared as it is.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from costmodel.cli.main import COMMANDS

from .conftest import GOLDEN, Done

Golden = Callable[[str, str], None]
Cli = Callable[..., Done]

SPECS = Path(__file__).with_name("golden") / "specs"

# a file's name, and the command line whose output it holds
PAGES = {
    # crossover: every status; dense, windows, experts, latent attention, state space, encoder and decoder
    "crossover/never": "crossover llama-3.1:8b --device h100-nvl --seq-len 8192",
    "crossover/crosses": "crossover llama-3.1:8b --device h100-nvl --seq-len 256",
    "crossover/beyond-memory": "crossover mixtral:8x7b --device h100-nvl --seq-len 256",
    "crossover/does-not-fit": "crossover llama-3.1:405b --device h100-nvl --seq-len 1024",
    "crossover/always": "crossover whisper:large-v3 --device h100-sxm --seq-len 448 --phase prefill",
    "crossover/two-roots": "crossover tests/golden/specs/two_roots.arch --device h100-sxm --seq-len 2048",
    "crossover/leaves": "crossover tests/golden/specs/leaves.arch --device h100-sxm --seq-len 2048",
    "crossover/latent": "crossover deepseek-v3 --device h200-sxm --count 8 --seq-len 4096",
    "crossover/state": "crossover mamba-2:2.7b --device h100-sxm",
    "crossover/windows-free-context": "crossover gemma-2:9b --device h100-sxm",
    "crossover/free-context": "crossover llama-3.1:8b --device h100-nvl",
    "crossover/free-dim": "crossover llama-3.1:8b --device h100-nvl --seq-len 4096 --free num_kv_heads",
    "crossover/params-fraction": "crossover llama-3.1:8b --device h100-nvl --seq-len 8192 --fidelity params"
    " --memory-fraction 0.9",
    "crossover/traffic-serial": "crossover llama-3.1:8b --device h100-nvl --seq-len 512 --fidelity traffic"
    " --timing serial",
    # explain: formulas, figures, times
    "explain/formulas": "explain llama-3.1:8b",
    "explain/figures": "explain mixtral:8x7b --batch-size 8 --seq-len 1024",
    "explain/device": "explain llama-3.1:8b --device h100-nvl --batch-size 32 --seq-len 8192",
    "explain/latent": "explain deepseek-v3 --device h200-sxm --count 8 --batch-size 8 --seq-len 4096 --timing per_op",
    "explain/encoder-decoder": "explain whisper:large-v3 --phase prefill --batch-size 8 --seq-len 448",
    "explain/all-traffic": "explain gpt-2 --device rtx-4090 --batch-size 4 --seq-len 512 --fidelity traffic --all",
    # formula
    "formula/dense": "formula llama-3.1:8b --of flops --of bytes",
    "formula/free": "formula llama-3.1:8b --free all",
    "formula/experts": "formula mixtral:8x7b --of bytes --of active_params",
    "formula/encoder-decoder": "formula whisper:large-v3 --of flops --phase prefill",
    "formula/flat-traffic-exact": "formula gpt-2 --flat --phase prefill --fidelity traffic --masked exact",
    "formula/device": "formula llama-3.1:8b --device h100-nvl --of latency --of throughput --of max_batch_size",
    # evaluate
    "evaluate/plain": "evaluate llama-3.1:8b",
    "evaluate/device": "evaluate llama-3.1:8b --device h100-nvl --batch-size 32 --seq-len 8192",
    "evaluate/set": "evaluate gemma-2:9b --batch-size 1 --seq-len 8192 --set num_kv_heads=1 --set dtype.cache=fp8",
    "evaluate/traffic-per-op": "evaluate deepseek-v3 --device h200-sxm --count 8 --batch-size 8 --seq-len 4096"
    " --fidelity traffic --timing per_op",
    "evaluate/params-serial": "evaluate mamba-2:2.7b --device h100-sxm --batch-size 8 --fidelity params"
    " --timing serial",
    # sensitivity: kinks, steps, experts, whole numbers, formulas, what is missing
    "sensitivity/latency": "sensitivity llama-3.1:8b --of latency --device h100-nvl --batch-size 32 --seq-len 8192",
    "sensitivity/window": "sensitivity gemma-2:9b --of latency --device h100-nvl --batch-size 32 --seq-len 4096",
    "sensitivity/steps": "sensitivity gemma-3:4b --device h100-sxm --batch-size 8 --seq-len 4096",
    "sensitivity/crossover-params": "sensitivity llama-3.1:8b --of crossover --device h100-nvl --fidelity params",
    "sensitivity/experts": "sensitivity mixtral:8x7b --of crossover --device h200-sxm --seq-len 256",
    "sensitivity/largest-batch": "sensitivity llama-3.1:8b --of max_batch_size --device h100-nvl --seq-len 8192",
    "sensitivity/formulas": "sensitivity llama-3.1:8b --of bytes",
    "sensitivity/request": "sensitivity llama-3.1:8b --of request_cost --device h100-nvl --batch-size 8"
    " --prompt-len 1000 --output-len 200 --timing per_op",
    # compare: specs, settings, devices, more than two, formulas
    "compare/dense": "compare llama-2:7b llama-3.1:8b --device h100-nvl --batch-size 8 --seq-len 1024",
    "compare/settings": "compare llama-3.1:8b --with dtype.weights=fp8 --with 'num_layers=16; dtype.cache=fp32'"
    " --batch-size 8 --seq-len 1024",
    "compare/devices": "compare mixtral:8x7b --device h100-nvl,h200-sxm,mi300x --batch-size 8 --seq-len 1024",
    "compare/three": "compare mamba-2:2.7b gpt-2 llama-2:7b --batch-size 4 --seq-len 1024",
    "compare/formulas": "compare llama-2:7b llama-3.1:8b",
    # check
    "check/one": "check llama-3.1",
    "check/several": "check llama-3.1 tests/golden/specs/fails.arch tests/golden/specs/faulty.arch",
    "check/fails": "check tests/golden/specs/fails.arch",
    # list
    "list/models": "list models",
    "list/devices": "list devices",
    "list/ops": "list ops",
    "list/quantities": "list quantities",
    "list/model": "list models llama-3.1",
    "list/device": "list devices h100-nvl",
    "list/op": "list ops attention",
    "list/quantity": "list quantities throughput",
}

# the same at 72 columns, where the layout differs
NARROW = (
    "crossover/never",
    "explain/device",
    "explain/formulas",
    "formula/dense",
    "evaluate/device",
    "sensitivity/latency",
    "compare/dense",
    "check/one",
    "list/devices",
)

# output that other programs read
TEXTS = {
    "formula/dense.tex": "formula llama-3.1:8b --format latex",
    "formula/free-long.tex": "formula llama-3.1:8b --of bytes --free all --names long --format latex",
    "formula/experts.md": "formula mixtral:8x7b --of bytes --format markdown",
    "formula/device.py.txt": "formula gemma-2:9b --device h100-sxm --of bytes --of latency --of max_batch_size"
    " --format python",
    "latex/dense.md": "latex llama-3.1:8b --device h100-nvl --seq-len 8192 --format markdown",
    "latex/dense.tex": "latex llama-3.1:8b --device h100-nvl --seq-len 256 --standalone",
    "latex/experts.md": "latex mixtral:8x7b --device h200-sxm --seq-len 512 --format markdown",
    "latex/windows.md": "latex gemma-2:9b --device h200-sxm --format markdown",
    "latex/latent.md": "latex deepseek-v3 --seq-len 4096 --format markdown",
    "latex/encoder-decoder.md": "latex whisper --device a10 --seq-len 448 --format markdown",
    "latex/state.tex": "latex mamba-2 --device h100-sxm --fidelity traffic",
    "latex/no-tokens.md": "latex bert --device h100-sxm --seq-len 128 --format markdown",
    "latex/params.md": "latex gpt-2 --fidelity params --format markdown --names long",
    "graph/dense.dot": "graph llama-3.1:8b",
    "graph/encoder-decoder.mmd": "graph whisper:large-v3 --format mermaid",
}
MACHINE = {
    "crossover/never.json": "crossover llama-3.1:8b --device h100-nvl --seq-len 8192 --json",
    "crossover/experts.json": "crossover mixtral:8x7b --device h200-sxm --seq-len 1024 --json",
    "crossover/free-dim.json": "crossover llama-3.1:8b --device h100-nvl --seq-len 4096 --free num_kv_heads --json",
    "explain/state.json": "explain mamba-2:2.7b --batch-size 8 --device h100-sxm --json",
    "formula/dense.json": "formula llama-3.1:8b --format json",
    "evaluate/device.json": "evaluate mixtral:8x7b --device h200-sxm --batch-size 8 --seq-len 1024 --json",
    "sensitivity/window.json": "sensitivity gemma-2:9b --of bytes --batch-size 8 --seq-len 4096 --json",
    "compare/dense.json": "compare llama-2:7b llama-3.1:8b --of memory --batch-size 8 --seq-len 1024 --json",
    "check/several.json": "check gpt-2 tests/golden/specs/fails.arch tests/golden/specs/faulty.arch --json",
    "graph/dense.json": "graph gpt-2 --format json",
    "list/devices.json": "list devices a100-80gb --json",
    "list/ops.json": "list ops matmul --json",
}


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths in messages are as a reader at the top of the repository sees them."""
    monkeypatch.chdir(Path(__file__).parents[1])


def shown(command: str, done: Done) -> str:
    """A command line with what it printed, as it would stand in a terminal."""
    text = f"$ costmodel {command}\n{done.out}"
    if done.err:
        text += f"\n--- stderr\n{done.err}"
    return text + (f"\n--- exit {done.status}\n" if done.status else "")


@pytest.mark.parametrize("name", PAGES)
def test_page(name: str, cli: Cli, golden: Golden) -> None:
    done = cli(*shlex.split(PAGES[name]))
    golden(f"{name}.txt", shown(PAGES[name], done))
    assert max(map(len, done.out.splitlines())) <= 100


@pytest.mark.parametrize("name", NARROW)
def test_narrow_page(name: str, cli: Cli, golden: Golden) -> None:
    done = cli(*shlex.split(PAGES[name]), width=72)
    golden(f"{name}-72.txt", shown(PAGES[name], done))
    assert max(map(len, done.out.splitlines())) <= 72


@pytest.mark.parametrize("name", TEXTS)
def test_text_for_other_programs(name: str, cli: Cli, golden: Golden) -> None:
    done = cli(*shlex.split(TEXTS[name]))
    assert (done.status, done.err) == (0, "")
    golden(name, done.out)


@pytest.mark.parametrize("name", MACHINE)
def test_json(name: str, cli: Cli, golden: Golden) -> None:
    done = cli(*shlex.split(MACHINE[name]))
    assert done.err == ""
    assert done.out == json.dumps(json.loads(done.out), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    golden(name, done.out)


def test_new(cli: Cli, golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first, again = "new mine --from mixtral", "new mine --from mixtral"
    pages = [shown(command, cli(*shlex.split(command))) for command in (first, again)]
    golden("new/new.txt", "\n".join(pages))
    golden("new/mine.arch", (tmp_path / "mine.arch").read_text(encoding="utf-8"))


def test_help(cli: Cli, golden: Golden) -> None:
    pages = [shown("--help", cli("--help"))]
    pages += [shown(f"{name} --help", cli(name, "--help")) for name in COMMANDS]
    golden("help.txt", "\n".join(pages))


def test_every_golden_has_its_case() -> None:
    """A file that no case writes is a leftover."""
    cases = {f"{name}.txt" for name in PAGES} | {f"{name}-72.txt" for name in NARROW} | set(TEXTS) | set(MACHINE)
    cases |= {"new/new.txt", "new/mine.arch", "help.txt"}
    there = {path.relative_to(GOLDEN).as_posix() for path in GOLDEN.rglob("*") if path.is_file()}
    assert {name for name in there if not name.startswith(("specs/", "import/"))} == cases
