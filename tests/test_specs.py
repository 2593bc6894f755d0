"""What every shipped spec must have: a sound text, facts with their sources, and symbols for formulas."""

from __future__ import annotations

import pytest

from costmodel import library
from costmodel.check import check
from costmodel.compile import read_program
from costmodel.program import Program
from costmodel.source import Report

MODELS = sorted(library.shipped("models"))
FILES = [(kind, name) for kind in ("models", "blocks", "devices") for name in sorted(library.shipped(kind))]


def program(kind: str, name: str) -> Program:
    report = Report()
    found = read_program(library.read(library.shipped(kind)[name]), report)
    assert not report.diagnostics
    return found


@pytest.mark.parametrize("name", MODELS)
def test_a_model_passes_its_check(name: str) -> None:
    found = check(name)
    assert [d.message for d in found.errors] == []
    assert [d.message for d in found.warnings] == []
    assert [f"{e.variant}: {e.left} {e.right}" for e in found.expects if not e.ok] == []
    assert found.operations > 0


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, name in FILES if kind != "models"])
def test_what_others_use_passes_its_check(kind: str, name: str) -> None:
    found = check(str(library.shipped(kind)[name]))
    assert [d.message for d in (*found.errors, *found.warnings)] == []


@pytest.mark.parametrize("name", MODELS)
def test_a_model_states_its_parameters_and_their_source(name: str) -> None:
    """For each size that it has, as an `expect`; and every `expect` of a figure says where that is from."""
    model = program("models", name)
    assert model.model is not None
    assert model.model.title
    for variant in model.variants.values():
        stated = (*model.expects, *variant.expects)
        assert any(e.condition.left.span.text.startswith("params") for e in stated), variant.name
    if not model.variants:
        assert any(e.condition.left.span.text.startswith("params") for e in model.expects)
    every = [*model.expects, *(e for variant in model.variants.values() for e in variant.expects)]
    assert [e.span.text for e in every if not e.source] == []


@pytest.mark.parametrize("name", MODELS)
def test_dims_and_blocks_have_symbols(name: str) -> None:
    """A letter a dim makes the difference between a formula that one reads and one that one scans."""
    model = program("models", name)
    assert [dim for dim, node in model.dims.items() if not node.latex] == []
    assert [block for block, node in model.blocks.items() if not node.latex] == []
    letters = [node.latex for node in model.dims.values()]
    assert sorted({letter for letter in letters if letters.count(letter) > 1}, key=str) == []


@pytest.mark.parametrize(("kind", "name"), FILES)
def test_a_file_begins_with_what_it_is(kind: str, name: str) -> None:
    text = library.read(library.shipped(kind)[name]).text
    assert text.startswith("# ")
    assert max(map(len, text.splitlines())) <= 200
