"""`embed`: what stands between markers is made anew, and nothing else is touched."""

from __future__ import annotations

import re
import shlex
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodel.cli.main import COMMANDS
from costmodel.cli.regions import COMMANDS as EMBEDDED
from costmodel.cli.regions import with_answers
from costmodel.source import Source, SpecError

from .conftest import ROOT, Done
from .typesetting import formulas, markdown_faults

Cli = Callable[..., Done]
OPENING, CLOSING = "<!-- costmodel: formula gpt-2 --of params -->", "<!-- /costmodel -->"


@pytest.fixture(autouse=True)
def _there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def made(text: str) -> str:
    return with_answers(Source("page.md", text))


def test_a_region_is_filled_and_stays(cli: Cli) -> None:
    page = Path("page.md")
    page.write_text(f"# Title\n\n{OPENING}\nold\n{CLOSING}\nafter", encoding="utf-8")
    assert cli("embed", "--check", "page.md").status == 1
    assert "old" in page.read_text()
    done = cli("embed", "page.md")
    assert (done.status, done.out) == (0, "brought up to date: page.md\n")
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# Title\n\n{OPENING}\n\n**params**, decode, fidelity cache:\n\n$$\n")
    assert text.endswith(f"\n\n{CLOSING}\nafter")
    assert "N &= " in text and "old" not in text
    assert markdown_faults(text) == [] and len(formulas(text)) == 1
    assert (cli("embed", "--check", "page.md").out, cli("embed", "page.md").out) == ("", "")


def test_check_shows_what_would_change(cli: Cli) -> None:
    Path("page.md").write_text(f"{OPENING}\nold\n{CLOSING}\n", encoding="utf-8")
    done = cli("embed", "--check", "page.md")
    assert done.status == 1
    assert done.out.startswith("--- page.md\n+++ now\n")
    assert "\n-old\n" in done.out


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("around", [("", ""), ("\ufeff", ""), ("\ufeffa  ", "\tb"), ("x\u2028y\x0bz\x85", "no end")])
def test_all_else_stays_to_the_byte(end: str, around: tuple[str, str], cli: Cli) -> None:
    before, after = around
    before = before + end if before.strip("\ufeff") else before
    page = Path("page.md")
    page.write_bytes(f"{before}{OPENING}{end}old{end}{CLOSING}{end}{after}".encode())
    page.chmod(0o640)
    assert cli("embed", "page.md").status == 0
    data = page.read_bytes()
    assert data.startswith(f"{before}{OPENING}{end}{end}**params**".encode())
    assert data.endswith(f"{end}{CLOSING}{end}{after}".encode())
    inside = data.decode()[len(before) : -len(after) or None]
    assert set(re.findall(r"\r\n|\r|\n", inside)) == {end}
    assert stat.S_IMODE(page.stat().st_mode) == 0o640


@settings(derandomize=True, database=None, deadline=None, max_examples=40)
@given(st.text(alphabet=st.sampled_from("ab`~#<!- \n\r\t\\\u2028é/"), max_size=60), st.text(max_size=40))
def test_text_without_markers_stays(before: str, after: str) -> None:
    assert made(before) == before
    assert made(after) == after


def test_markers_in_code_are_left_alone() -> None:
    page = f"```markdown\n{OPENING}\n{CLOSING}\n```\n\n~~~~\n~~~\n{OPENING}\n~~~~~\n"
    assert made(page) == page


def test_a_region_in_a_list_is_indented() -> None:
    text = made(f"- item\n\n    {OPENING}\n    {CLOSING}\n")
    inside = text.split("\n")[3:-2]
    assert all(not line or line.startswith("    ") for line in inside)
    assert "    $$" in inside


def test_headings_stand_below_the_one_above() -> None:
    text = made("# A\n\n## B\n\n<!-- costmodel: latex gpt-2 -->\n<!-- /costmodel -->\n")
    assert "\n### The cost of GPT-2\n" in text and "\n#### Symbols\n" in text
    assert text.count("<!--") == 2


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("crossover gpt-2 --device a10 --seq-len 512", "GPT-2 on A10, decode at 512 tokens\n\n**"),
        ("crossover gpt-2 --device a10 --seq-len 512 --format text", "```text\n"),
        ("crossover --format=text gpt-2 --device a10 --seq-len 512", "```text\n"),
        ("evaluate gpt-2 --batch-size 1 --seq-len 1 --json", "```json\n"),
        ("explain gpt-2", "GPT-2, decode\n\n| "),
        ("compare gpt-2 opt --of bytes", "GPT-2 and OPT, decode\n\n**"),
        ("search gpt-2 --device a10,h100-sxm --seq-len 512 --vary batch_size=1:64 --maximize throughput", "**greatest"),
        ("graph gpt-2", "```mermaid\n"),
        ("formula gpt-2 --format python", "```python\n"),
        ("formula gpt-2 --format=latex", "```latex\n"),
        ("list quantities", "| quantity | unit |  |\n| :-- | :-- | :-- |\n"),
        ("latex gpt-2 --device a10", "# The cost of GPT-2\n"),
    ],
)
def test_every_kind_of_answer(command: str, expected: str, cli: Cli) -> None:
    text = made(f"<!-- costmodel: {command} -->\n<!-- /costmodel -->")
    body = text.split("\n", 2)[2].rsplit("\n\n", 1)[0]
    assert body.startswith(expected)
    if expected == "```text\n":
        plain = re.sub(" --format[= ]text", "", command)
        assert body == f"```text\n{cli(*shlex.split(plain)).out.strip(chr(10))}\n```"


def test_only_what_answers_may_stand_there() -> None:
    assert COMMANDS.keys() - EMBEDDED.keys() >= {"embed", "new", "cache"}
    for name in COMMANDS.keys() - EMBEDDED.keys():
        with pytest.raises(SpecError, match="has no answer"):
            made(f"<!-- costmodel: {name} gpt-2 -->\n<!-- /costmodel -->")
    for option in ("-o x", "-ox", "--output x", "--output=x", "--overwrite"):
        with pytest.raises(SpecError, match="only answers"):
            made(f"<!-- costmodel: formula gpt-2 {option} -->\n<!-- /costmodel -->")
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    ("page", "line", "message"),
    [
        (f"a\n{OPENING}\nb\n", 2, "this marker has no end"),
        (f"{OPENING}\n{OPENING}\n{CLOSING}\n", 1, "this marker has no end"),
        (f"a\n\n{CLOSING}\n", 3, "this ends a region that nothing begins"),
        (f"<!-- costmodel: formula gpt-2\n-->\n{CLOSING}\n", 1, "a comment on a line of its own"),
        (f"{OPENING} b\n{CLOSING}\n", 1, "a comment on a line of its own"),
        (f"<!-- costmodel: -->\n{CLOSING}\n", 1, "there is no command"),
        (f"<!-- costmodel: formul gpt-2 -->\n{CLOSING}\n", 1, "`formula` is near"),
        (f"<!-- costmodel: formula gpt-3 -->\n{CLOSING}\n", 1, "`gpt-3`"),
        (f"<!-- costmodel: formula 'gpt-2 -->\n{CLOSING}\n", 1, "a quote of this marker is not closed"),
        (f"<!-- costmodel: formula gpt-2 --off -->\n{CLOSING}\n", 1, "--off"),
        (f"<!-- costmodel: evaluate gpt-2 --format tex -->\n{CLOSING}\n", 1, "`text` is near"),
        (f"<!-- costmodel: evaluate gpt-2 --json --markdown -->\n{CLOSING}\n", 1, "two forms of one answer"),
        (f"<!-- costmodel formula gpt-2 -->\n{CLOSING}\n", 1, "a marker has a colon behind `costmodel`"),
    ],
)
def test_a_fault_leaves_the_file_untouched(page: str, line: int, message: str, cli: Cli) -> None:
    Path("good.md").write_text(f"{OPENING}\n{CLOSING}\n", encoding="utf-8")
    Path("bad.md").write_text(f"{page}\n", encoding="utf-8")
    done = cli("embed", "bad.md", "good.md")
    assert done.status == 2
    assert message in done.err and f"bad.md:{line}:" in done.err
    assert Path("bad.md").read_text(encoding="utf-8") == f"{page}\n"
    assert "N &=" in Path("good.md").read_text(encoding="utf-8")


def test_a_page_without_markers_is_named(cli: Cli) -> None:
    Path("none.md").write_text("<!-- costmodel is a program -->\n", encoding="utf-8")
    done = cli("embed", "none.md")
    assert (done.status, done.out, done.err) == (0, "none.md: there is no marker in it\n", "")
    assert cli("embed", "--check", "none.md").out == ""


def test_every_faulty_marker_is_told(cli: Cli) -> None:
    Path("bad.md").write_text("".join(f"<!-- costmodel: formula gpt-{i} -->\n{CLOSING}\n" for i in (3, 4)), "utf-8")
    done = cli("embed", "bad.md")
    assert "bad.md:1:" in done.err and "bad.md:3:" in done.err


def test_what_cannot_be_read_is_said(cli: Cli) -> None:
    Path("latin.md").write_bytes(b"\xff")
    Path("folder").mkdir()
    done = cli("embed", "latin.md", "folder", "none.md")
    assert done.status == 2
    assert all(f"`{name}`" in done.err for name in ("latin.md", "folder", "none.md"))


def test_a_link_is_followed(cli: Cli) -> None:
    Path("page.md").write_text(f"{OPENING}\n{CLOSING}\n", encoding="utf-8")
    Path("link.md").symlink_to("page.md")
    assert cli("embed", "link.md").status == 0
    assert Path("link.md").is_symlink() and "N &=" in Path("page.md").read_text(encoding="utf-8")


def test_the_hooks_name_commands_that_are_there() -> None:
    text = (ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8")
    entries = re.findall(r"^  entry: costmodel (\w+)(.*)$", text, re.M)
    assert {name for name, _ in entries} == {"embed", "check", "fmt"} <= COMMANDS.keys()
    assert text.count("- id: ") == len(entries)
