"""The shipped models together: one symbol a thing, each structure written once, all answering."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from costmodel import library, syntax
from costmodel.compile import Compiled, compile_spec
from costmodel.costs import FIDELITIES
from costmodel.elaborate.environment import Choice

NAMES = list(library.shipped("models"))
by_name = pytest.mark.parametrize("name", NAMES)


@by_name
def test_symbols_are_told_apart(name: str) -> None:
    """Also from those of the workload, and those of the blocks from each other."""
    program = compile_spec(name).program
    assert {dim.latex for dim in program.dims.values()} & {"b", "s", "t"} == set()
    blocks = Counter(block.latex for block in program.blocks.values())
    assert [symbol for symbol, count in blocks.items() if count > 1] == []


@by_name
def test_every_dim_says_what_it_is(name: str) -> None:
    assert [dim.name for dim in compile_spec(name).program.dims.values() if not dim.doc] == []


@by_name
def test_base_is_one_of_the_sizes(name: str) -> None:
    program = compile_spec(name).program
    base = Compiled(program).environment.figures()
    sizes = [Compiled(program, Choice(variant=v)).environment.figures() for v in program.variants]
    assert not sizes or sizes.count(base) == 1


@by_name
@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_answers(name: str, fidelity: str, cli: Callable[..., Any]) -> None:
    """In words and for programs, in both phases, at a context that every model takes."""
    for phase in ("prefill", "decode"):
        options = f"--device h200-sxm --count 64 --seq-len 448 --phase {phase} --fidelity {fidelity}".split()
        page, machine = cli("crossover", name, *options), cli("crossover", name, *options, "--json")
        assert (page.status, page.err, machine.status, machine.err) == (0, "", 0, "")
        assert json.loads(machine.out)["crossover"]["status"] in ("crosses", "beyond_memory", "never", "always")


def _bodies(path: Path) -> list[tuple[str, str]]:
    source = library.read(path)
    program = compile_spec(str(path)).program
    found: list[syntax.Block | syntax.OpDeclaration] = [*program.blocks.values(), *program.ops.values()]
    own = [node for node in found if node.span.source.name == source.name]
    return [(f"{path.stem}: {node.name}", " ".join(node.body.span.text.split())) for node in own]


def test_each_structure_is_written_once() -> None:
    """No block of any shipped file repeats another's body, whatever its name."""
    written: dict[str, str] = {}
    for kind in ("blocks", "models"):
        for path in library.shipped(kind).values():
            for name, body in _bodies(path):
                assert body not in written, f"{name} is {written[body]} again"
                written[body] = name


def test_nothing_is_shipped_that_no_model_uses() -> None:
    used = set()
    for name in NAMES:
        used |= set(re.findall(r'^use "blocks/(\w+)\.arch"', library.shipped("models")[name].read_text(), re.MULTILINE))
    used |= {"feed_forward"} if "mixture" in used else set()
    assert used == set(library.shipped("blocks"))
