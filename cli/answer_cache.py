"""Answers kept on disk: a question asked again of unchanged files is answered without a solver, or SymPy.

An entry is data that is printed, never code. It is named by the question (the command line, the folder, the terminal,
the program) and holds the digests of all files that its answer was made from, and one of itself. What is damaged,
foreign or out of date is passed over, and the answer made anew. Writing is atomic, so runs side by side do no harm.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import Any, TextIO

from costmodel.files import Unusable, read_regular, write_whole
from costmodel.provenance import Provenance, digest, recorded

CACHED = frozenset("check compare crossover evaluate explain formula graph latex list sensitivity solve".split())
MOST_ENTRIES = 2_000
MOST_BYTES = 64_000_000
_MOST_ENTRY = 4_000_000
_FORMAT = 1
# what no answer holds: control characters, save those that colour words
_FOREIGN = re.compile("[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f]|\x1b(?!\\[[0-9;]*m)")


def folder() -> Path | None:
    """Where entries are kept: COSTMODEL_CACHE, or in the user's own folder for caches; None where it is `off`."""
    named = os.environ.get("COSTMODEL_CACHE")
    if named == "off":
        return None
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "costmodel"


def entries() -> list[Path]:
    """All entries, the one that was not used for longest first."""
    where = folder()
    if where is None or not _own(where):
        return []
    found = []
    with suppress(OSError):
        found = [(item.stat(follow_symlinks=False).st_mtime_ns, item.name) for item in os.scandir(where)]
    return [where / name for _, name in sorted(found) if re.fullmatch(r"[0-9a-f]{64}\.json", name)]


def clear() -> int:
    """Remove all entries; how many there were."""
    removed = 0
    for path in entries():
        with suppress(OSError):
            path.unlink()
            removed += 1
    return removed


@dataclass(frozen=True)
class Answer:
    """What a command line printed, and its exit status."""

    out: str
    err: str
    status: int

    def show(self) -> None:
        sys.stdout.write(self.out)
        sys.stderr.write(self.err)
        sys.stdout.flush()


@dataclass(frozen=True)
class Entry:
    """The place of one question's answer."""

    path: Path

    def answer(self) -> Answer | None:
        """The answer, if it is there, whole, and made from what the files hold now."""
        if not _own(self.path.parent):
            return None
        try:
            head, _, body = read_regular(self.path, _MOST_ENTRY, follow=False).partition(b"\n")
            if head.decode("ascii") != digest(body):
                return None
            held = json.loads(body)
            provenance = Provenance(held["files"], held["folders"], set(held["absent"]))
            answer = Answer(held["out"], held["err"], held["status"])
            told = [answer.out, answer.err]
            if not all(isinstance(t, str) and not _FOREIGN.search(t) for t in told) or answer.status not in (0, 1):
                return None
            if not provenance.holds():
                return None
            os.utime(self.path)
        except (Unusable, OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        return answer

    def keep(self, answer: Answer, provenance: Provenance) -> None:
        """Keep an answer; nothing is said where that cannot be done."""
        if answer.status not in (0, 1) or not provenance.repeatable:
            return
        held = {
            "files": provenance.files,
            "folders": provenance.folders,
            "absent": sorted(provenance.absent),
            "out": answer.out,
            "err": answer.err,
            "status": answer.status,
        }
        body = json.dumps(held).encode()
        if len(body) > _MOST_ENTRY - 100:
            return
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if _own(self.path.parent):
                write_whole(self.path, digest(body).encode() + b"\n" + body, overwrite=True)
                _bound()


def entry_for(arguments: Sequence[str]) -> Entry | None:
    """The place for the answer to a command line; None for one whose answer is not kept."""
    where = folder()
    if where is None or not arguments or arguments[0] not in CACHED:
        return None
    if any(
        word in ("--no-cache", "--help", "-h", "--output") or word.startswith(("-o", "--output=")) for word in arguments
    ):
        return None
    encoding = (getattr(sys.stdout, "encoding", None) or "").lower()
    if "utf" not in encoding:
        return None
    terminal = sys.stdout.isatty()
    columns = shutil.get_terminal_size().columns if terminal else 0
    try:
        here = os.getcwd()
    except OSError:
        return None
    shown = [terminal, columns, "NO_COLOR" in os.environ, encoding]
    question = json.dumps([_FORMAT, list(arguments), here, shown, _program()])
    return Entry(where / f"{digest(question.encode('utf-8', 'surrogateescape'))}.json")


def _program() -> list[Any]:
    """What tells this program from another version of it: its modules, and SymPy."""
    found: list[Any] = [sys.version]
    for name in ("costmodel", "costmodel.cli", "costmodel.grammar"):
        spec = util.find_spec(name)
        for place in (spec.submodule_search_locations or []) if spec is not None else []:
            for root, folders, files in os.walk(place):
                folders[:] = sorted(f for f in folders if f != "__pycache__")
                for file in sorted(files):
                    if file.endswith((".py", ".lark", ".json")):
                        status = os.stat(os.path.join(root, file))
                        found.append([file, status.st_size, status.st_mtime_ns])
    sympy = util.find_spec("sympy")
    if sympy is not None and sympy.origin is not None:
        found.append([sympy.origin, os.stat(sympy.origin).st_mtime_ns])
    return found


def _own(where: Path) -> bool:
    """Whether a folder is one of ours, that nobody else may write to."""
    try:
        status = os.lstat(where)
    except OSError:
        return False
    mine = not hasattr(os, "getuid") or status.st_uid == os.getuid()
    return mine and (status.st_mode & 0o170022) == 0o040000


def _bound() -> None:
    """Remove the entries that were not used for longest where there are too many, or they are too large."""
    there = entries()
    sizes = []
    for path in there:
        try:
            sizes.append(path.lstat().st_size)
        except OSError:
            sizes.append(0)
    over, count = sum(sizes) - MOST_BYTES, len(there) - MOST_ENTRIES
    for path, size in zip(there, sizes, strict=True):
        if over <= 0 and count <= 0:
            return
        with suppress(OSError):
            path.unlink()
        over, count = over - size, count - 1


class _Kept:
    """A stream that also keeps what is written to it."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.parts: list[str] = []

    def write(self, text: str) -> int:
        written = self.stream.write(text)
        self.parts.append(text)
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def listened() -> Iterator[tuple[Provenance, list[str], list[str]]]:
    """What is read and printed within."""
    out, err = _Kept(sys.stdout), _Kept(sys.stderr)
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = out, err
    try:
        with recorded() as provenance:
            yield provenance, out.parts, err.parts
    finally:
        sys.stdout, sys.stderr = before
