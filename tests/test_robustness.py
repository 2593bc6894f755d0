"""Whatever text the parser is given: syntax or a diagnostic, never another exception. `make fuzz` tries the rest."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from costmodel.check import check_compiled
from costmodel.collector import collector_paused
from costmodel.compile import compile_source
from costmodel.parser import parse_spec
from costmodel.source import Report, Source, SpecError

from . import fuzz

ROOT = Path(__file__).parents[1]
FOLDERS = ("blocks", "devices")


# --- the parser


def declarations(text: str) -> list[str]:
    """A text in stretches that end where a line at the margin begins, each of a few lines at least."""
    parts: list[str] = []
    for line in text.splitlines(keepends=True):
        if parts and (line[0] in " }\n#" or len(parts[-1]) < 150):
            parts[-1] += line
        else:
            parts.append(line)
    return parts


def cuts(text: str) -> Iterator[str]:
    """Every beginning of a text and the text without each of its characters, with the declarations beside the cut.

    The parser mends a declaration at a time, so those further away add nothing but time. Inside a name, a string or a
    comment, where it looks at nothing, the ends and one place between stand for all.
    """
    parts = declarations(text)
    for i, part in enumerate(parts):
        before, behind = "".join(parts[max(i - 1, 0) : i]), "".join(parts[i + 1 : i + 2])
        at = 0
        for piece in fuzz.pieces(part):
            places = set(range(len(piece)))
            if piece[0].isalpha() or piece[0] in '_"#' or piece.isspace():
                places &= {0, 1, len(piece) // 2, len(piece) - 1}
            for place in sorted(places):
                yield before + part[: at + place]
                yield before + part[: at + place] + part[at + place + 1 :] + behind
            at += len(piece)


@cache
def parsed(text: str) -> None:
    """Parse a text; specs share blocks, whose cuts are tried once.

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


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_cut_of_a_shipped_block_or_device_parses_or_is_told(folder: str) -> None:
    with collector_paused():
        for path in (ROOT / "specs" / folder).glob("*.arch"):
            for cut in cuts(path.read_text(encoding="utf-8")):
                parsed(cut)
    parsed.cache_clear()


# --- what is mutated


@pytest.mark.parametrize("path", sorted(fuzz.SEEDS.glob("*.arch")), ids=lambda path: path.stem)
def test_seeds_are_specs(path: Path) -> None:
    """What is mutated is whole before it is."""
    found = check_compiled(compile_source(Source(path.name, path.read_text(encoding="utf-8")), path.stem))
    assert not found.errors
    assert all(expect.ok for expect in found.expects)
