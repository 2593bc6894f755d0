"""Whatever is given, an answer or a diagnostic, never another exception: texts cut at every place, and mutations."""

from __future__ import annotations

from pathlib import Path

import pytest

from costmodel import library
from costmodel.check import check_compiled
from costmodel.collector import collector_paused
from costmodel.compile import compile_source
from costmodel.parser import parse_spec
from costmodel.source import Report, Source, SpecError

from . import fuzz

SHIPPED = [path for kind in ("models", "blocks", "devices") for path in library.shipped(kind).values()]
SEED, MUTATIONS, BATCH = 1, 2_000, 50


# --- the parser


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_beginning_and_every_deletion_of_a_character(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    with collector_paused():
        for place in range(len(text)):
            parsed(text[:place])
            parsed(text[:place] + text[place + 1 :])


def parsed(text: str) -> None:
    """Parse a text.

    Raises:
        AssertionError: that is no answer.
    """
    report = Report()
    try:
        found = parse_spec(Source("<cut>", text), report)
    except SpecError:
        return
    except Exception as error:
        raise AssertionError(f"of this text:\n\n{text}") from error
    assert report.errors or found.spec.declarations, text


# --- the whole pipeline


@pytest.mark.parametrize("start", range(0, MUTATIONS, BATCH))
def test_mutations_are_answered_or_told(start: int) -> None:
    """Specs most of all, conditions and command lines too; `make fuzz` tries far more, and asks more of each."""
    for number in range(start, start + BATCH):
        case = fuzz.case(SEED, number)
        found = fuzz.tried(case.ask, case.text)
        if isinstance(found, fuzz.Failure):
            pytest.fail(f"case({SEED}, {number}) of tests/fuzz.py:\n\n{case.text}\n\n{found.trace}", pytrace=False)


# --- what is mutated


@pytest.mark.parametrize("path", sorted(fuzz.SEEDS.glob("*.arch")), ids=lambda path: path.stem)
def test_seeds_are_specs(path: Path) -> None:
    """What is mutated is whole before it is."""
    found = check_compiled(compile_source(Source(path.name, path.read_text(encoding="utf-8")), path.stem))
    assert not found.errors
    assert all(expect.ok for expect in found.expects)
