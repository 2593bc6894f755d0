"""Files: the shipped specs and the user's, read safely; a spec from the net reads nothing outside its roots."""

from __future__ import annotations

import os
from functools import cache, lru_cache
from importlib import resources
from itertools import islice
from pathlib import Path

from costmodel import provenance
from costmodel.files import Unusable, read_regular
from costmodel.names import listed, near_help, nearest
from costmodel.source import Diagnostic, Source, Span, SpecError

MOST_BYTES = 16_000_000
MOST_CONFIG_BYTES = 4_000_000
MOST_ENTRIES = 1_000
SHIPPED = "specs"


@lru_cache(maxsize=1)
def shipped_root() -> Path:
    """The folder of the shipped specs."""
    return Path(str(resources.files("costmodel.specs")))


@cache
def shipped(kind: str) -> dict[str, Path]:
    """The shipped files of a kind (`models`, `devices`, `blocks`) by name."""
    provenance.listed_folder(shipped_root() / kind)
    files = (shipped_root() / kind).glob("*.arch")
    return {path.stem: path for path in sorted(files, key=lambda file: file.stem)}


def shown_path(path: Path) -> str:
    """How a file is named to the user: a shipped one by its place among the specs."""
    try:
        return f"{SHIPPED}/{path.relative_to(shipped_root()).as_posix()}"
    except ValueError:
        return str(path)


def read(path: Path, span: Span | None = None, most: int = MOST_BYTES) -> Source:
    """Read a text: a regular file of at most 16 MB, or of less, in UTF-8.

    Raises:
        SpecError: it is not there, no such file, too large, or no text.
    """
    name = shown_path(path)

    def refuse(why: str, code: str = "file") -> SpecError:
        return SpecError(Diagnostic(code, f"`{name}` cannot be read: {why}", span, help=_near_file(path)))

    try:
        data = read_regular(path, most)
    except Unusable as fault:
        raise refuse(fault.why, fault.code) from None
    provenance.read_file(path, data)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise refuse(f"not a text in UTF-8: byte {error.start:,} is 0x{data[error.start]:02x}") from None
    if "\0" in text:
        raise refuse(f"not a text: byte {text.index(chr(0)):,} is zero")
    return Source(name, text, str(path))


def find_spec(argument: str, configs: bool = False) -> tuple[Source, str | None]:
    """What SPEC on the command line means: a source, and the variant behind `:`.

    A path, or the name of a shipped spec; with `configs` a config.json too, whose source is that file's own text.

    Raises:
        SpecError: there is no such spec, or it cannot be read.
    """
    if not argument:
        raise SpecError(Diagnostic("file", "the name of a spec is empty"))
    path, variant = Path(argument), None
    if not is_file(path):
        base, colon, behind = argument.rpartition(":")
        if colon and base:
            path, variant = Path(base), behind
    name = str(path) if variant is None else argument.rpartition(":")[0]
    if name in shipped("models") and not is_file(path):
        return read(shipped("models")[name]), variant
    if is_config(path):
        source = read(path, most=MOST_CONFIG_BYTES)
        if not configs:
            help = f"`costmodel import {source.name} -o {path.stem}.arch` writes the spec"
            raise SpecError(Diagnostic("file", f"`{source.name}` is a config, and no spec", help=help))
        return source, variant
    if path.suffix == ".arch" or os.sep in name or os.path.exists(path):
        return read(path), variant
    raise SpecError(
        Diagnostic(
            "unknown-name",
            f"there is no spec `{name}`: no file of that name, and none of the shipped ones",
            facts=(f"shipped are {listed(shipped('models'), 40)}",),
            help=near_help(name, shipped("models")) or _near_file(path),
        )
    )


def is_config(path: str | Path) -> bool:
    """Whether a file is a model's config, by its name."""
    return str(path).endswith(".json")


def _near_file(path: Path) -> str:
    """The nearest name of a spec beside a path at which there is none."""
    if os.path.lexists(path):
        return ""
    near = nearest(path.name, _specs_in(path.parent))
    return f"`{path.with_name(near)}` is near" if near is not None else ""


def _specs_in(folder: Path) -> list[str]:
    """The names of specs in a folder; not of one that holds very much else."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in islice(entries, MOST_ENTRIES) if entry.name.endswith(".arch"))
    except OSError:
        return []


def is_file(path: Path) -> bool:
    """Whether a path is that of a file."""
    try:
        there = path.is_file()
    except (OSError, ValueError):
        return False
    if not there:
        provenance.found_nothing([path])
    return there


def find_used(using: Source, root: Path, wanted: str, span: Span) -> Path:
    """The file that `use "wanted"` means: relative to the using file, then to the shipped specs.

    Raises:
        SpecError: the path is absolute, leaves those roots, also by a symbolic link, or there is no such file.
    """

    def refuse(why: str, help: str = "", facts: tuple[str, ...] = ()) -> SpecError:
        return SpecError(Diagnostic("use", f"`use` cannot take `{wanted}`: {why}", span, facts=facts, help=help))

    if not wanted:
        raise refuse("it is empty")
    if os.path.isabs(wanted) or wanted.startswith("~") or "\\" in wanted:
        what = "`/` parts the names of a path" if "\\" in wanted else "the path is absolute"
        raise refuse(what, facts=("a path is relative to the file, then to the shipped specs",))
    outside = False
    places = [(shipped_root(), shipped_root())]
    if using.origin is not None:
        places.insert(0, (Path(using.origin).parent, root))
    for folder, limit in places:
        path = Path(os.path.normpath(folder / wanted))
        if not _inside(path, limit) or not _inside(Path(os.path.realpath(path)), Path(os.path.realpath(limit))):
            outside = outside or os.path.exists(path) or not _inside(path, limit)
            continue
        if os.path.exists(path):
            return path
        provenance.found_nothing([path])
    if outside:
        raise refuse("it leaves the folder of the spec")
    names = [f"blocks/{name}.arch" for name in shipped("blocks")]
    if using.origin is not None:
        names += _specs_in(Path(using.origin).parent)
    help = f"`{wanted}.arch` is there" if f"{wanted}.arch" in names else near_help(wanted, names)
    raise refuse("there is no such file", help)


def _inside(path: Path, folder: Path) -> bool:
    try:
        path.absolute().relative_to(folder.absolute())
    except ValueError:
        return False
    return True
