"""Files read and written safely: regular ones only, of a bounded size; written whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path


class Unusable(Exception):
    """A path is not that of a file that may be read; `code` is that of a diagnostic."""

    def __init__(self, why: str, code: str = "file") -> None:
        super().__init__(why)
        self.why, self.code = why, code


def read_regular(path: str | Path, most: int, follow: bool = True) -> bytes:
    """The bytes of a regular file of at most `most` bytes; not of a FIFO, whose other end would be waited for.

    Raises:
        Unusable: it is not there, no such file, or too large.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    flags |= 0 if follow else getattr(os, "O_NOFOLLOW", 0)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        raise Unusable((error.strerror or "cannot be read").lower()) from None
    except ValueError:
        raise Unusable("no name of a file") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise Unusable("a folder, not a file" if stat.S_ISDIR(status.st_mode) else "not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        if status.st_size > most:
            raise Unusable(f"{status.st_size:,} bytes, more than the {most:,} that it may have", "limit")
        try:
            data = file.read(most + 1)
        except OSError as error:
            raise Unusable((error.strerror or "cannot be read").lower()) from None
    if len(data) > most:
        raise Unusable(f"more than the {most:,} bytes that it may have", "limit")
    return data


def write_whole(path: Path, data: bytes, overwrite: bool) -> None:
    """The whole file or nothing, never over one that is there unless told so; that one's permissions stay.

    Raises:
        FileExistsError: there is such a file.
        OSError: it cannot be written.
    """
    # as tempfile does, which takes longer to import than a kept answer to show
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}.part")
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, _permissions(path))
        if overwrite:
            os.replace(temporary, path)
        else:
            os.link(temporary, path)
            os.unlink(temporary)
    except BaseException:
        os.unlink(temporary)
        raise


def _permissions(path: Path) -> int:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        umask = os.umask(0)
        os.umask(umask)
        return 0o666 & ~umask
