"""What sets formulas: KaTeX, pdflatex and a CommonMark parser, and what they say of a text."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from .conftest import ROOT

TOOLS = ROOT / ".tools"

_KATEX = """
const katex = require('katex');
const formulas = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const faults = formulas.map(([tex, displayMode]) => {
  try { katex.renderToString(tex, {displayMode, strict: 'error', throwOnError: true}); return null; }
  catch (error) { return String(error.message); }
});
console.log(JSON.stringify(faults));
"""


@cache
def katex_folder() -> Path | None:
    """Where Node finds KaTeX: where `make test-docs` puts it, or in NODE_PATH."""
    if shutil.which("node") is None:
        return None
    places = [TOOLS / "node_modules", *map(Path, filter(None, os.environ.get("NODE_PATH", "").split(os.pathsep)))]
    return next((place for place in places if (place / "katex").is_dir()), None)


def has(tool: str) -> bool:
    """Whether a tool that tests need is here."""
    if tool == "katex":
        return katex_folder() is not None
    return find_spec(tool) is not None if tool in ("markdown", "mkdocs", "sphinx") else shutil.which(tool) is not None


def node(script: str, given: object) -> str:
    """What a script prints when it is given a value as JSON."""
    environment = {**os.environ, "NODE_PATH": str(katex_folder() or "")}
    done = subprocess.run(
        ["node", "-e", script], input=json.dumps(given), capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def katex_faults(formulas: list[tuple[str, bool]]) -> list[tuple[str, str]]:
    """The formulas, each with whether it is a display, that KaTeX refuses or warns of when it is strict."""
    said = json.loads(node(_KATEX, formulas))
    return [(formula, fault) for (formula, _), fault in zip(formulas, said, strict=True) if fault]


# --- Markdown

_MATH = re.compile(r"\$\$(.+?)\$\$|\$([^$\n]+?)\$", re.S)


def formulas(markdown: str) -> list[tuple[str, bool]]:
    """The formulas of a page, each with whether it is a display; not what stands in code."""
    plain = re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "", markdown)
    return [(match[1] or match[2], match[1] is not None) for match in _MATH.finditer(plain)]


def _texts(tokens: list[Token]) -> list[str]:
    """The text of each inline token, line ends kept; what is no plain text shows as its kind."""
    found = []
    for token in tokens:
        if token.type == "inline":
            parts = []
            for child in token.children or []:
                known = {"text": child.content, "softbreak": "\n", "hardbreak": "\\\n"}
                parts.append(known.get(child.type, f"<{child.type}>{child.content}"))
            found.append("".join(parts))
    return found


def markdown_faults(markdown: str) -> list[str]:
    """The formulas that a CommonMark parser with tables does not leave as they are."""
    kept = "\n".join(_texts(MarkdownIt("commonmark").enable("table").parse(markdown)))
    return [formula for formula, _ in formulas(markdown) if formula not in kept]


# --- LaTeX

_OVERFULL = re.compile(r"Overfull \\[hv]box \(([\d.]+)pt too (?:wide|high)\)[^\n]*")


def latex_faults(source: str, folder: Path, name: str = "document") -> list[str]:
    """Errors, and lines that stand out by more than 5 pt, of a document that is compiled without a shell."""
    (folder / f"{name}.tex").write_text(source, encoding="utf-8")
    command = ["pdflatex", "-no-shell-escape", "-interaction=nonstopmode", "-halt-on-error", f"{name}.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    log = (folder / f"{name}.log").read_text(encoding="latin-1")
    faults = [match[0] for match in _OVERFULL.finditer(log) if float(match[1]) > 5]
    faults += [line for line in log.splitlines() if line.startswith(("!", "LaTeX Warning", "Missing character"))]
    return faults if done.returncode == 0 else [*faults, f"pdflatex ended with {done.returncode}"]
