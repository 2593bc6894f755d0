"""What MkDocs is told of these pages, as a hook in mkdocs.yml: how blocks of code are shown.

A block's second word is a file's name or a command line, as tests/test_docs.py reads them; Python-Markdown knows no
such word. Specs are highlighted as in a report.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from typing import Any

from markdown import Markdown
from markdown.extensions import Extension
from markdown.preprocessors import Preprocessor

from costmodel.cli.regions import fence_behind
from costmodel.render.report import highlighted
from costmodel.source import Source

_OPENING = re.compile(r"`{3,}(\w*) *(.*)")
_FILE = re.compile(r"[\w.-]+\.\w+")
_PROMPT = re.compile(r"(\$|>>>|\.\.\.) ")


def on_config(config: Any) -> Any:
    """What MkDocs calls when it has read mkdocs.yml."""
    config["markdown_extensions"].append(Blocks())
    return config


class Blocks(Extension):  # type: ignore[misc]
    """Blocks of code with their names, and tables with bars in code."""

    def extendMarkdown(self, md: Markdown) -> None:
        # behind the costmodel extension, before fenced code
        md.preprocessors.register(_Blocks(md), "blocks", 26)


class _Blocks(Preprocessor):  # type: ignore[misc]
    def run(self, lines: list[str]) -> list[str]:
        return list(self._lines(lines))

    def _lines(self, lines: list[str]) -> Iterator[str]:
        fence, language, name = "", "", ""
        body: list[str] = []
        for line in lines:
            before, fence = fence, fence_behind(fence, line)
            if fence and not before:
                opening = _OPENING.match(line)
                language, name = opening.groups() if opening else ("", "")
                body = []
            elif fence:
                body.append(line)
            elif before:
                yield from ("", self.md.htmlStash.store(block(language, name, "\n".join(body))), "")
            elif line.startswith("|"):
                # a bar in code is written `\|` for GitHub
                yield re.sub(r"`[^`]*`", lambda found: found[0].replace(r"\|", "|"), line)
            else:
                yield line


def block(language: str, name: str, text: str) -> str:
    """A block of code, its file or command above it."""
    shown = f"costmodel {name}" if language == "json" and not _FILE.fullmatch(name) else name
    head = f'<div class="name"><code>{escape(shown)}</code></div>\n' if name else ""
    body = (
        highlighted(Source(name, text))
        if language == "arch" or name.endswith(".arch")
        else "\n".join(map(_line, text.split("\n")))
    )
    return f'{head}<pre tabindex="0"><code class="language-{language or "text"}">{body}\n</code></pre>'


def _line(line: str) -> str:
    prompt = _PROMPT.match(line)
    return f"<b>{escape(line)}</b>" if prompt else escape(line)
