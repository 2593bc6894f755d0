"""Every example in README.md and the pages of docs/ is run, and what stands there is what is printed.

A page is read from top to bottom in a folder of its own. A block in `arch` is a spec that passes `check`; a name behind
`arch` is the file that later examples find it under. A block in `console` holds command lines behind `$` and their
output, one in `python` statements behind `>>>` and theirs. A line `...` in an output stands for any number of lines.
`--update-golden` writes what is printed now into the page. A block in `json` with a command line behind it has the
shape of that command's machine form: the same keys, and values of the same types; a key in capitals stands for any,
and a value in a list has one of the shapes in it. A block of any other language with a file's name behind it is a file
for later examples, a spec that is wrong on purpose too. What stands between the markers of `embed` is what it writes
there.
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import io
import json
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from costmodel.check import check
from costmodel.cli.regions import with_answers
from costmodel.dtypes import DTYPE_NAMES, ROLES
from costmodel.names import RESERVED
from costmodel.ops import OPERATIONS
from costmodel.quantity_names import CONDITION_ARGUMENTS, QUANTITIES
from costmodel.source import Source
from costmodel.units import UNITS

from .conftest import ROOT, Done

Cli = Callable[..., Done]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [str(path.relative_to(ROOT)) for path in PAGES]
FENCE = re.compile(r"```(\w*) *(.*)")
ANYTHING = "..."
RUN = ("arch", "console", "python")
KINDS = {int: "number", float: "number", str: "text", bool: "truth", list: "list", dict: "object"}


@dataclass
class Block:
    """A fenced block: the lines between its fences."""

    language: str
    name: str
    line: int
    lines: list[str]


@dataclass
class Example:
    """What is typed, with its prompts, and what follows it; empty lines behind that are layout."""

    typed: list[str]
    output: list[str] = field(default_factory=list)
    space: int = 0

    @property
    def lines(self) -> list[str]:
        return [*self.typed, *self.output, *[""] * self.space]


def blocks(text: str) -> Iterator[Block]:
    """The fenced blocks of a page."""
    block: Block | None = None
    for number, line in enumerate(text.splitlines(), 1):
        match = FENCE.fullmatch(line)
        if block is None and match:
            block = Block(match[1], match[2], number, [])
        elif block is not None and line == "```":
            yield block
            block = None
        elif block is not None:
            block.lines.append(line)
    assert block is None, f"the block of line {block.line if block else 0} is not closed"


def is_file(block: Block) -> bool:
    """Whether a block is only a file for later examples."""
    return block.language not in RUN and re.fullmatch(r"[\w.-]+\.\w+", block.name) is not None


def write(block: Block) -> None:
    Path(block.name).write_text("\n".join(block.lines) + "\n", encoding="utf-8")


def examples(block: Block) -> list[Example]:
    """The examples of a block, by their prompts."""
    first, more = (">>> ", "... ") if block.language == "python" else ("$ ", "")
    found: list[Example] = []
    for line in block.lines:
        open_ = bool(found) and not found[-1].output
        if line.startswith(first):
            found.append(Example([line]))
        elif (open_ and more and line.startswith(more)) or (open_ and not more and found[-1].typed[-1].endswith("\\")):
            found[-1].typed.append(line)
        else:
            assert found, f"line {block.line + 1}: an example begins with `{first}`"
            found[-1].output.append(line)
    for example in found:
        while example.output and not example.output[-1]:
            example.output.pop()
            example.space += 1
    return found


def agrees(kept: list[str], now: list[str]) -> bool:
    """Whether an output is what stands there."""
    pattern = "".join(r"(?:.*\n)*?" if line == ANYTHING else re.escape(line) + r"\n" for line in kept)
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in now)) is not None


def renewed(kept: list[str], now: list[str]) -> list[str]:
    """What is printed now, left out where it was left out before."""
    if ANYTHING not in kept or agrees(kept, now):
        return kept if agrees(kept, now) else now
    parts: list[list[str]] = [[]]
    for line in kept:
        if line == ANYTHING:
            parts.append([])
        else:
            parts[-1].append(line)
    found, at = now[: len(parts[0])], len(parts[0])
    for part in parts[1:-1]:
        starts = range(at, max(at, len(now) - len(part)) + 1)
        best = max(starts, key=lambda i: sum(a == b for a, b in zip(part, now[i:], strict=False)))
        found += [ANYTHING, *now[best : best + len(part)]]
        at = best + len(part)
    return [*found, ANYTHING, *(now[len(now) - len(parts[-1]) :] if parts[-1] else [])]


class Page:
    """A page while its examples are run."""

    def __init__(self, cli: Cli) -> None:
        self.cli = cli
        self.names: dict[str, Any] = {}

    def run(self, block: Block, example: Example) -> list[str]:
        """What an example prints."""
        if block.language == "python":
            printed = self._python("\n".join(line[4:] for line in example.typed) + "\n")
        else:
            printed = self._command("".join(line.removesuffix("\\") for line in example.typed).removeprefix("$ "))
        lines = printed.splitlines()
        while lines and not lines[-1].strip():
            lines.pop()
        return lines

    def _python(self, code: str) -> str:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(ast.Interactive(ast.parse(code).body), "<example>", "single"), self.names)
        return out.getvalue()

    def _command(self, line: str) -> str:
        words = shlex.split(line)
        assert words[0] == "costmodel", f"only `costmodel` is run here: put `{line}` into a block of another language"
        done = self.cli(*words[1:])
        assert done.status in (0, 1, 2), f"`{line}` fails: {done.err}"
        return done.out + done.err


def differences(shape: Any, now: Any, place: str = "") -> Iterator[str]:
    """Where a value has another shape than the one that is described."""
    if now is None:
        return
    if isinstance(shape, dict) and isinstance(now, dict):
        if len(shape) == 1 and next(iter(shape)).isupper():
            ((_, each),) = shape.items()
            for key, value in now.items():
                yield from differences(each, value, f"{place}.{key}")
            return
        yield from (f"{place}.{key} is not described" for key in now.keys() - shape.keys())
        for key in shape:
            if key in now:
                yield from differences(shape[key], now[key], f"{place}.{key}")
            else:
                yield f"{place}.{key} is not there"
    elif isinstance(shape, list) and isinstance(now, list):
        for value in now:
            yield from min((list(differences(each, value, f"{place}[]")) for each in shape), key=len)
    elif shape is not None and KINDS[type(shape)] != KINDS[type(now)]:
        yield f"{place} is {now!r}, and is described as {shape!r}"


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_machine_forms(path: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for block in blocks(path.read_text(encoding="utf-8")):
        if is_file(block):
            write(block)
        elif block.language == "json" and block.name:
            done = cli(*shlex.split(block.name), "--json")
            assert done.status == 0, done.err
            found = sorted(set(differences(json.loads("\n".join(block.lines)), json.loads(done.out))))
            assert not found, f"line {block.line}, costmodel {block.name} --json: {found}"


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_examples(
    path: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.chdir(tmp_path)
    text = path.read_text(encoding="utf-8")
    page, new = Page(cli), text
    for block in blocks(text):
        if block.language == "arch":
            spec = Path(block.name or f"line-{block.line}.arch")
            spec.write_text("\n".join(block.lines) + "\n", encoding="utf-8")
            found = check(str(spec))
            assert found.ok, f"line {block.line}: {[d.message for d in found.errors]}"
            assert not found.warnings, f"line {block.line}: {[d.message for d in found.warnings]}"
        elif is_file(block):
            write(block)
        elif block.language in ("console", "python"):
            known = examples(block)
            for example in known:
                example.output = renewed(example.output, page.run(block, example))
            old, now = "\n".join(block.lines), "\n".join(line for example in known for line in example.lines)
            new = new.replace(f"```{block.language}\n{old}\n```", f"```{block.language}\n{now}\n```")
    new = with_answers(Source(path.name, new))
    if new != text and request.config.getoption("--update-golden"):
        path.write_text(new, encoding="utf-8", newline="\n")
    else:
        assert new.splitlines() == text.splitlines(), f"{path.name} says something else: --update-golden mends it"


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_links(path: Path) -> None:
    """What a page links to is there."""
    text = without_code(path)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith(("http://", "https://")):
            file, _, anchor = target.partition("#")
            there = (path.parent / file).resolve() if file else path
            assert there.exists(), f"{path.name} links to {file}, which is not there"
            assert not anchor or anchor in anchors(there), f"{path.name} links to {target}, which has no such heading"


def without_code(path: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """The names under which GitHub finds a page's headings."""
    headings = re.findall(r"^#+ (.*)$", without_code(path), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_language_page_names_every_word() -> None:
    """Operations, quantities, dtypes, units, reserved words, arguments of conditions: none is missing."""
    text = (ROOT / "docs" / "language.md").read_text(encoding="utf-8")
    words = set(re.findall(r"[A-Za-z_]\w*", text))
    signs = {"+", "-", "*", "/"}
    for known in (OPERATIONS, QUANTITIES, DTYPE_NAMES, ROLES, RESERVED, CONDITION_ARGUMENTS):
        assert sorted(set(known) - words - signs) == []
    assert sorted({unit for unit in UNITS if unit not in text and unit.removesuffix("/s") not in words}) == []
    for name, kind in OPERATIONS.items():
        for parameter in kind.parameters() if name.isidentifier() else ():
            assert parameter.required or parameter.name in words, (
                f"docs/language.md says nothing of `{parameter.name}` of `{name}`"
            )


def test_the_tests_that_the_architecture_names_are_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for name in re.findall(r"`(?:tests/)?(test_\w+\*?|naive_walk)(?:\.py)?`", text):
        assert list((ROOT / "tests").glob(f"{name}.py")), name


def test_docstrings() -> None:
    """The examples in the package's docstrings, found by their prompts."""
    files = [path for folder in ("costmodel", "cli", "grammar") for path in sorted((ROOT / folder).rglob("*.py"))]
    tried = 0
    for path in files:
        if ">>> " in path.read_text(encoding="utf-8"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts if parts[0] == "costmodel" else ("costmodel", *parts)).removesuffix(".__init__")
            found = doctest.testmod(import_module(name))
            assert not found.failed, name
            tried += found.attempted
    assert tried > 10


def test_what_the_readme_says_of_make() -> None:
    """The two commands of README.md are there, and the first answers at both contexts."""
    make = (ROOT / "Makefile").read_text(encoding="utf-8")
    rules = dict(re.findall(r"^(\w+): \$\(STAMP\).*\n((?:\t.*\n)*)", make, flags=re.MULTILINE))
    named = re.findall(r"(?:^|`)make (\w+)", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert named[:2] == ["demo", "test"]
    assert sorted(set(named) - rules.keys()) == []
    for context in (8192, 256):
        assert f"crossover llama-3.1:8b --device h100-nvl --seq-len {context}\n" in rules["demo"]


def test_an_output_that_is_left_out_in_part() -> None:
    kept = ["a", ANYTHING, "m", "n", ANYTHING, "z"]
    assert agrees(kept, ["a", "b", "m", "n", "z"])
    assert not agrees(kept, ["a", "b", "m", "z"])
    assert renewed(kept, ["a", "b", "m", "n", "z"]) == kept
    assert renewed(kept, ["A", "b", "m", "N", "y", "Z"]) == ["A", ANYTHING, "m", "N", ANYTHING, "Z"]
    assert renewed(["a", ANYTHING], ["b", "c"]) == ["b", ANYTHING]
