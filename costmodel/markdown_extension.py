r"""A Python-Markdown extension, for MkDocs too: a fenced block of `costmodel` commands shows their answers.

In `mkdocs.yml`: `markdown_extensions: [costmodel]`. Then

    ```costmodel
    formula llama-3.1:8b --of flops
    ```

stands for what the command answers, as `embed` would write it. Formulas are in elements of the class `arithmatex`
between `\(` and `\)` or `\[` and `\]`, as MathJax and KaTeX look for them.
"""

from __future__ import annotations

import re
import shlex
from html import escape
from typing import Any

from markdown import Markdown
from markdown.extensions import Extension
from markdown.preprocessors import Preprocessor

from costmodel.cli.regions import answered, fence_behind
from costmodel.render.diagnostics import render
from costmodel.source import Diagnostic, SpecError

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,}) *costmodel *")
_FORMULA = re.compile(r"\$\$\n(.+?)\n\$\$|\$([^$\n]+?)\$", re.S)


class CostmodelExtension(Extension):  # type: ignore[misc]
    """Shows the answers of fenced commands. A command without an answer is an error of the build."""

    def extendMarkdown(self, md: Markdown) -> None:
        md.registerExtensions(["tables"], {})
        # behind the normalising of white space, before fenced code
        md.preprocessors.register(_Blocks(md), "costmodel", 27)


class _Blocks(Preprocessor):  # type: ignore[misc]
    def run(self, lines: list[str]) -> list[str]:
        out: list[str] = []
        fence, level = "", 0
        commands: list[str] | None = None
        for line in lines:
            opening = _FENCE.fullmatch(line) if not fence else None
            fence = fence_behind(fence, line)
            if opening:
                commands = []
            elif commands is None:
                heading = re.match(r"(#{1,6})(?!#)", line) if not fence else None
                level = len(heading[1]) if heading else level
                out.append(line)
            elif fence:
                commands.append(line)
            else:
                for command in filter(str.strip, commands):
                    out += ["", *self._answer(command, level).split("\n"), ""]
                commands = None
        if commands is not None:
            raise SpecError(Diagnostic("marker", "a block of `costmodel` commands is not closed"))
        return out

    def _answer(self, command: str, level: int) -> str:
        try:
            found = answered(shlex.split(command))
        except ValueError:
            raise SpecError(Diagnostic("marker", f"a quote is not closed: {command}")) from None
        except SpecError as error:
            raise RuntimeError(f"`costmodel {command}` has no answer\n{render(error.diagnostics)}") from None
        if found.language != "markdown":
            code = f'<pre><code class="language-{escape(found.language)}">{escape(found.text)}</code></pre>'
            return self._kept(code)
        return _FORMULA.sub(self._formula, found.markdown(level))

    def _formula(self, match: re.Match[str]) -> str:
        if match[1] is not None:
            return self._kept(f'<div class="arithmatex">\\[\n{escape(match[1])}\n\\]</div>')
        return self._kept(f'<span class="arithmatex">\\({escape(match[2])}\\)</span>')

    def _kept(self, html: str) -> str:
        placeholder: str = self.md.htmlStash.store(html)
        return placeholder


def makeExtension(**options: Any) -> CostmodelExtension:
    """What Python-Markdown calls."""
    return CostmodelExtension(**options)
