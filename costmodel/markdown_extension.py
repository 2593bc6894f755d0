r"""A Python-Markdown extension, for MkDocs too: a fenced block of `costmodel` commands shows their answers.

In `mkdocs.yml`: `markdown_extensions: [costmodel]`. Then

    ```costmodel
    formula llama-3.1:8b --of flops
    ```

stands for what the command answers, as `embed` would write it. Formulas are in elements of the class `arithmatex`
between `\(` and `\)` or `\[` and `\]`, as MathJax and KaTeX look for them. With

    markdown_extensions:
      - costmodel: {formulas: mathml}

they are MathML, which a browser sets without a script, and so are those that `embed` wrote into the page between `$`
and `$$`. Only the LaTeX that costmodel writes is read; anything else there ends the build.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from html import escape
from typing import Any

from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor
from markdown.preprocessors import Preprocessor

from costmodel.cli.regions import answered, fence_behind
from costmodel.render.diagnostics import render
from costmodel.render.markdown import spaced
from costmodel.render.mathml import displayed, mathml
from costmodel.source import Diagnostic, SpecError

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,}) *costmodel *")
# a `$` that ends a formula stands close to it, so that prices are none
_INLINE = r"\$(?![\s$])([^$\n]+?)(?<!\s)\$(?!\d)"
_FORMULA = re.compile(r"\$\$\n(.+?)\n\$\$|\$([^$\n]+?)\$", re.S)


class CostmodelExtension(Extension):  # type: ignore[misc]
    """Shows the answers of fenced commands. A command without an answer is an error of the build."""

    def __init__(self, **options: Any) -> None:
        self.config = {"formulas": ["tex", "tex: for MathJax and KaTeX; mathml: for the browser itself"]}
        super().__init__(**options)

    def extendMarkdown(self, md: Markdown) -> None:
        form = self.getConfig("formulas")
        if form not in ("tex", "mathml"):
            raise SpecError(Diagnostic("usage", f"`formulas` is tex or mathml, not `{form}`"))
        md.registerExtensions(["tables"], {})
        # behind the normalising of white space, before fenced code
        md.preprocessors.register(_Blocks(md, form == "mathml"), "costmodel", 27)
        if form == "mathml":
            md.preprocessors.register(_Displays(md), "costmodel-display", 26.5)
            # behind code in a line, before what a backslash escapes
            md.inlinePatterns.register(_Inline(_INLINE, md), "costmodel-formula", 185)


class _Displays(Preprocessor):  # type: ignore[misc]
    """The page's displays, each between lines of `$$`."""

    def run(self, lines: list[str]) -> list[str]:
        out: list[str] = []
        fence = ""
        shown: list[str] | None = None
        for line in lines:
            fence = fence_behind(fence, line) if shown is None else ""
            if fence or (line.strip() != "$$" and shown is None):
                out.append(line)
            elif line.strip() != "$$":
                shown = [*(shown or []), line]
            elif shown is None:
                shown = []
            else:
                html = f'<div class="math">{_as_mathml(chr(10).join(shown), displayed)}</div>'
                out += ["", self.md.htmlStash.store(html), ""]
                shown = None
        if shown is not None:
            raise SpecError(Diagnostic("marker", "a display is not closed: `$$`"))
        return out


class _Inline(InlineProcessor):  # type: ignore[misc]
    """The page's formulas in a line of text."""

    def handleMatch(self, m: re.Match[str], data: str) -> tuple[str, int, int]:
        return self.md.htmlStash.store(_as_mathml(m[1], mathml)), m.start(), m.end()


class _Blocks(Preprocessor):  # type: ignore[misc]
    def __init__(self, md: Markdown, as_mathml: bool) -> None:
        super().__init__(md)
        self.formulas_stay = as_mathml

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
        text = found.markdown(level)
        return text if self.formulas_stay else _FORMULA.sub(self._formula, text)

    def _formula(self, match: re.Match[str]) -> str:
        if match[1] is not None:
            return self._kept(f'<div class="arithmatex">\\[\n{escape(match[1])}\n\\]</div>')
        return self._kept(f'<span class="arithmatex">\\({escape(match[2])}\\)</span>')

    def _kept(self, html: str) -> str:
        placeholder: str = self.md.htmlStash.store(html)
        return placeholder


def _as_mathml(latex: str, write: Callable[[str], str]) -> str:
    try:
        return write(spaced(latex))
    except ValueError as fault:
        raise SpecError(Diagnostic("marker", f"this formula is none that costmodel writes: {latex}")) from fault


def makeExtension(**options: Any) -> CostmodelExtension:
    """What Python-Markdown calls."""
    return CostmodelExtension(**options)
