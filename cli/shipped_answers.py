"""Lists of what is shipped, as they were written beforehand: `list` imports neither SymPy nor rich for them.

They hold while the files that they were made from are as they were then; else the list is made anew. `make lists`
writes them.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import costmodel
from costmodel import specs
from costmodel.provenance import digest

from .answer_cache import Answer, folder

LISTS = Path(specs.__file__).with_name("lists.json")
WIDTHS = (80, 100)
_CODE = ("render/listing.py", "render/page.py", "render/numbers.py")
_FROM = {
    "": ("models", "devices", "ops", "quantity_names.py"),
    "models": ("models", "blocks"),
    "devices": ("devices",),
    "ops": ("ops",),
    "quantities": ("quantity_names.py", "units.py"),
}


def key(kind: str, form: str) -> str:
    """The name of one text: `devices json`, `devices 100 colour`."""
    return f"{kind} {form}"


def made_from(kind: str) -> str:
    """A digest of all that a list is made from: shipped files, the modules that hold operations, and those that show
    them."""
    package, shipped = Path(str(costmodel.__file__)).parent, LISTS.parent
    told: list[str] = []
    for name in (*_FROM[kind], *_CODE):
        path = shipped / name if (shipped / name).exists() else package / name
        found = sorted(e.path for e in os.scandir(path) if e.is_file()) if path.is_dir() else [str(path)]
        told += (f"{os.path.basename(file)} {digest(Path(file).read_bytes())}" for file in found)
    return digest("\n".join(told).encode())


def shipped_answer(arguments: Sequence[str]) -> Answer | None:
    """What `list`, `list KIND` and either with `--json` print; None where that is to be made anew."""
    command, *rest = arguments or [""]
    kinds: Iterable[str] = [word for word in rest if word != "--json"] or [""]
    if command != "list" or len(rest) > 2 or folder() is None or (kind := " ".join(kinds)) not in _FROM:
        return None
    form = _form("--json" in rest)
    try:
        held = json.loads(LISTS.read_bytes())
        text = held["texts"].get(key(kind, form)) if form is not None else None
        return Answer(text, "", 0) if isinstance(text, str) and held["made_from"][kind] == made_from(kind) else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _form(as_json: bool) -> str | None:
    """How an answer is shown here; None where none of that form was written."""
    if "utf" not in (getattr(sys.stdout, "encoding", None) or "utf-8").lower():
        return None
    if as_json:
        return "json"
    terminal = sys.stdout.isatty()
    width = min(WIDTHS[-1], shutil.get_terminal_size((WIDTHS[-1], 24)).columns) if terminal else WIDTHS[-1]
    return f"{width} {'colour' if terminal and 'NO_COLOR' not in os.environ else 'plain'}" if width in WIDTHS else None
