"""Which files an answer was made from: what they held, where none was found, and which names a folder listed.

An answer that was kept is the answer still where all of that is as it was.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from costmodel.files import Unusable, read_regular

MOST_BYTES = 1 << 26


@dataclass
class Provenance:
    """SHA-256 of each file that was read and of each folder's names, by absolute path, and paths at which was none.

    `repeatable` is False where an answer also hung on something else: the time that was given, another program.
    """

    files: dict[str, str] = field(default_factory=dict)
    folders: dict[str, str] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    repeatable: bool = True

    def holds(self) -> bool:
        """Whether all is as it was."""
        try:
            return (
                not any(map(os.path.lexists, self.absent))
                and all(digest(read_regular(path, MOST_BYTES)) == held for path, held in self.files.items())
                and all(_names(path) == held for path, held in self.folders.items())
            )
        except (OSError, Unusable):
            return False


_current: ContextVar[Provenance | None] = ContextVar("_current", default=None)


@contextmanager
def recorded() -> Iterator[Provenance]:
    """What is read within is noted down."""
    found = Provenance()
    token = _current.set(found)
    try:
        yield found
    finally:
        _current.reset(token)


def digest(data: bytes) -> str:
    return sha256(data).hexdigest()


def _names(folder: str) -> str:
    return digest("\0".join(sorted(os.listdir(folder))).encode())


def read_file(path: str | Path, data: bytes) -> None:
    """A file was read, and held this."""
    if (found := _current.get()) is not None:
        found.files[os.path.abspath(path)] = digest(data)


def listed_folder(path: str | Path) -> None:
    """A folder's names were looked through."""
    if (found := _current.get()) is not None:
        found.folders[os.path.abspath(path)] = _names(os.path.abspath(path))


def found_nothing(paths: Iterable[str | Path]) -> None:
    """No file was found at these places; one that appears there would be taken."""
    if (found := _current.get()) is not None:
        found.absent.update(map(os.path.abspath, paths))


def not_repeatable() -> None:
    """The answer hangs on more than files."""
    if (found := _current.get()) is not None:
        found.repeatable = False
