"""Answers kept on disk: the same as those made anew, never out of date, and nothing that a damaged one could do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from costmodel.cli import answer_cache
from costmodel.cli.answer_cache import Answer, Entry, entry_for
from costmodel.provenance import Provenance, digest, read_file, recorded

from .conftest import Done, Terminal

Cli = Callable[..., Done]

SPEC = """model small
use "part.arch"
dim width = 64
graph forward(x[batch_size, new_tokens, width]) { return layer(x) }
"""
PART = """block layer(x) {
    weight W[width -> width]
    return matmul(x, W)
}
dim width
"""


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for kept answers, and another with a spec, which is where one stands."""
    (tmp_path / "spec.arch").write_text(SPEC)
    (tmp_path / "part.arch").write_text(PART)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COSTMODEL_CACHE", str(tmp_path / "kept"))
    return tmp_path / "kept"


def ask(cli: Cli, *more: str) -> Done:
    return cli("evaluate", "spec.arch", *more, width=100)


def forge(kept: Path, out: str = "forged\n", **other: object) -> None:
    """Put another text into the one entry that there is, with a digest that fits."""
    (entry,) = kept.iterdir()
    held = json.loads(entry.read_bytes().partition(b"\n")[2])
    body = json.dumps({**held, "out": out, **other}).encode()
    entry.write_bytes(digest(body).encode() + b"\n" + body)


def test_a_question_asked_again_is_answered_from_disk(cli: Cli, kept: Path) -> None:
    first = ask(cli)
    assert first.status == 0
    assert ask(cli) == first
    forge(kept)
    assert ask(cli).out == "forged\n"
    assert ask(cli, "--no-cache") == first
    assert ask(cli, "--batch-size", "1").out != first.out
    assert len(list(kept.iterdir())) == 2


@pytest.mark.usefixtures("kept")
def test_no_solver_is_imported_for_a_kept_answer() -> None:
    code = (
        "import sys; from costmodel.cli.main import run; status = run(sys.argv[1:]);"
        "print(status, 'sympy' in sys.modules)"
    )
    command = [sys.executable, "-c", code, "crossover", "llama-3.1:8b", "--device", "h100-nvl", "--seq-len", "256"]
    first, again = (subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2))
    assert first.endswith("0 True\n")
    assert again == first.replace("0 True", "0 False")


@pytest.mark.parametrize("changed", ["spec.arch", "part.arch"])
def test_a_changed_file_is_read_again(cli: Cli, kept: Path, changed: str) -> None:
    ask(cli)
    forge(kept)
    path = Path(changed)
    path.write_text(path.read_text().replace("64", "32") + "# more\n")
    done = ask(cli)
    assert "forged" not in done.out
    assert ("1,024" if changed == "spec.arch" else "4,096") in done.out


def test_a_file_that_appears_is_taken(cli: Cli, kept: Path) -> None:
    before = cli("evaluate", "gpt-2", width=100)
    forge(kept)
    Path("gpt-2").write_text(SPEC)
    done = cli("evaluate", "gpt-2", width=100)
    assert done.status == 0
    assert "4,096" in done.out
    Path("gpt-2").unlink()
    assert cli("evaluate", "gpt-2", width=100).out in ("forged\n", before.out)


def test_what_is_wrong_is_not_kept(cli: Cli, kept: Path) -> None:
    assert cli("evaluate", "spec.arch", "--phase", "decod", width=100).status == 2
    assert not kept.exists()
    assert cli("solve", "llama-3.1:8b", "latency <= 1 ms", "--for", "batch_size", "--device", "h100-sxm",
               "--seq-len", "8192", "--strict", width=100).status == 1  # fmt: skip
    assert len(list(kept.iterdir())) == 1


def damage(entry: Path, how: str) -> None:
    data = entry.read_bytes()
    match how:
        case "cut short":
            entry.write_bytes(data[: len(data) // 2])
        case "a byte changed":
            entry.write_bytes(data[:-20] + b"!" + data[-19:])
        case "empty":
            entry.write_bytes(b"")
        case "no JSON":
            entry.write_bytes(digest(b"[[").encode() + b"\n[[")
        case "other JSON":
            entry.write_bytes(digest(b"[1]").encode() + b"\n[1]")
        case "nested":
            body = b"[" * 100_000
            entry.write_bytes(digest(body).encode() + b"\n" + body)
        case "too large":
            entry.write_bytes(data + b" " * 5_000_000)
        case "a link":
            entry.rename(entry.with_name("elsewhere"))
            entry.symlink_to(entry.with_name("elsewhere"))
        case "a FIFO":
            entry.unlink()
            os.mkfifo(entry)
        case "a folder":
            entry.unlink()
            entry.mkdir()


@pytest.mark.parametrize(
    "how",
    [
        "cut short",
        "a byte changed",
        "empty",
        "no JSON",
        "other JSON",
        "nested",
        "too large",
        "a link",
        "a FIFO",
        "a folder",
    ],
)
def test_a_damaged_answer_is_made_anew(cli: Cli, kept: Path, how: str) -> None:
    first = ask(cli)
    (entry,) = kept.iterdir()
    damage(entry, how)
    assert ask(cli) == first


@pytest.mark.parametrize("text", ["\x1b]0;title\x07", "\x1b[2J", "a\rb", "\x9b31m", "\x00"])
def test_nothing_is_printed_that_could_steer_a_terminal(cli: Cli, kept: Path, text: str) -> None:
    first = ask(cli)
    forge(kept, text)
    assert ask(cli) == first


@pytest.mark.usefixtures("kept")
def test_colour_is_kept(cli: Cli) -> None:
    command = ("crossover", "llama-3.1:8b", "--device", "h100-nvl", "--seq-len", "256")
    first = cli(*command, width=100, color=True)
    assert "\x1b[" in first.out
    assert cli(*command, width=100, color=True) == first
    assert "\x1b[" not in cli(*command, width=100).out


def test_a_folder_that_others_may_write_to_is_not_used(cli: Cli, kept: Path) -> None:
    ask(cli)
    forge(kept)
    kept.chmod(0o777)
    assert "forged" not in ask(cli).out
    assert answer_cache.entries() == []


def test_runs_side_by_side_keep_whole_answers(kept: Path) -> None:
    entry, provenance = Entry(kept / f"{'0' * 64}.json"), Provenance()
    answers = [Answer(str(i) * 20_000, "", 0) for i in range(8)]

    def turn(i: int) -> bool:
        for _ in range(20):
            entry.keep(answers[i], provenance)
            if entry.answer() not in answers:
                return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(turn, range(8)))
    assert [path.name for path in kept.iterdir()] == [entry.path.name]


def test_processes_side_by_side_answer_alike(kept: Path) -> None:
    words = [sys.executable, "-m", "costmodel", "evaluate", "spec.arch", "--batch-size", "2"]
    started = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    told = {process.communicate()[0] for process in started}
    assert len(told) == 1
    assert "8,192" in told.pop()
    assert all(process.returncode == 0 for process in started)
    (entry,) = kept.iterdir()
    assert Entry(entry).answer() is not None


@pytest.mark.usefixtures("kept")
def test_a_question_is_its_words_its_place_its_terminal_and_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each alone makes another entry; asked alike it is the same one."""
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setenv("COLUMNS", "100")
    words = ["evaluate", "spec.arch"]

    def place(*arguments: str) -> Path:
        found = entry_for(arguments)
        assert found is not None
        return found.path

    found = [place(*words), place(*words, "--batch-size", "1"), place("explain", "spec.arch")]
    assert place(*words) == found[0]
    with monkeypatch.context() as patch:
        patch.setenv("COLUMNS", "80")
        found.append(place(*words))
    with monkeypatch.context() as patch:
        patch.setenv("NO_COLOR", "1")
        found.append(place(*words))
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path.parent)
        found.append(place(*words))
    with monkeypatch.context() as patch:
        patch.setattr(answer_cache, "_program", lambda: ["another version"])
        found.append(place(*words))
    assert place(*words) == found[0]
    assert len(set(found)) == len(found)


def test_another_version_is_another_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module, the grammar or its tables changed, or another SymPy."""
    package, sympy = tmp_path / "package", tmp_path / "sympy.py"
    package.mkdir()
    files = [package / name for name in ("costs.py", "arch.lark", "tables.json")]
    for file in (*files, sympy):
        file.write_text("1")

    def found(_: str) -> SimpleNamespace:
        return SimpleNamespace(submodule_search_locations=[str(package)], origin=str(sympy))

    monkeypatch.setattr(answer_cache.util, "find_spec", found)
    seen = [answer_cache._program()]
    for file in files:
        file.write_text("1, and more")
        seen.append(answer_cache._program())
    os.utime(sympy, (1, 1))
    seen.append(answer_cache._program())
    assert all(a != b for a, b in pairwise(seen))
    assert answer_cache._program() == seen[-1]


def test_what_is_kept_is_bounded(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_cache, "MOST_ENTRIES", 5)
    for i in range(9):
        Entry(kept / f"{i:064x}.json").keep(Answer(str(i), "", 0), Provenance())
        os.utime(kept / f"{i:064x}.json", (i, i))
    assert [int(path.stem, 16) for path in answer_cache.entries()] == [4, 5, 6, 7, 8]
    monkeypatch.setattr(answer_cache, "MOST_BYTES", 1000)
    Entry(kept / f"{9:064x}.json").keep(Answer("9" * 600, "", 0), Provenance())
    assert sum(path.stat().st_size for path in kept.iterdir()) <= 1000


def test_provenance_holds_until_something_changes(tmp_path: Path) -> None:
    there, missing = tmp_path / "there", tmp_path / "missing"
    there.write_bytes(b"1")
    with recorded() as found:
        read_file(there, b"1")
    found.absent.add(str(missing))
    assert found.holds()
    missing.write_bytes(b"")
    assert not found.holds()
    missing.unlink()
    there.write_bytes(b"2")
    assert not found.holds()


def test_the_command_says_what_is_kept_and_removes_it(cli: Cli, kept: Path) -> None:
    assert json.loads(cli("cache", "info", "--json").out)["entries"] == 0
    ask(cli)
    ask(cli, "--json")
    held = json.loads(cli("cache", "info", "--json").out)
    assert held["entries"] == 2
    assert held["bytes"] == sum(path.stat().st_size for path in kept.iterdir())
    assert cli("cache", "info").out.startswith(f"2 kept answers in {kept}\n")
    assert cli("cache", "clear").out == "removed 2 kept answers\n"
    assert list(kept.iterdir()) == []
