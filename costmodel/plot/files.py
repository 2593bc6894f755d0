"""A picture as the bytes of a file, in the format that the file's name says."""

from __future__ import annotations

from pathlib import Path

from costmodel.names import near_help, prose
from costmodel.plot.draw import png, svg
from costmodel.plot.page import html
from costmodel.plot.picture import Picture
from costmodel.source import Diagnostic, SpecError

FORMATS = (".svg", ".png", ".html")


def check_ending(path: Path) -> None:
    """Whether a picture can be written there.

    Raises:
        SpecError: the name's ending is that of no format.
    """
    ending = path.suffix.lower()
    if ending in FORMATS:
        return
    found = f"`{path.suffix}` is none" if path.suffix else "there is none"
    message = f"{path}: the ending says which format, {prose(FORMATS, 'or')}, and {found}"
    raise SpecError(Diagnostic("argument", message, help=near_help(ending, FORMATS)))


def drawn(picture: Picture, path: Path) -> bytes:
    """The picture in the format of a file.

    Raises:
        SpecError: the name's ending is that of no format, or matplotlib is not installed.
    """
    check_ending(path)
    match path.suffix.lower():
        case ".png":
            return png(picture)
        case ".html":
            return html(picture).encode()
    return svg(picture).svg.encode()
