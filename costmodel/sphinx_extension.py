"""A Sphinx extension: the closed forms of a spec, in a page that asks for them.

In `conf.py`: `extensions = ["costmodel.sphinx_extension", "sphinx.ext.mathjax"]`. Then

    .. costmodel:: llama-3.1:8b
       :quantity: flops, bytes
       :phase: decode

sets the formulas that `costmodel formula` prints, and :costmodel:`llama-3.1:8b params --seq-len 8192` one in a line,
its options those of `formula`. A page is built again where a spec that it read has changed.
"""

from __future__ import annotations

import shlex
from typing import Any, ClassVar

import click
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective, SphinxRole

from costmodel.cli import formula
from costmodel.provenance import recorded
from costmodel.render.diagnostics import render
from costmodel.render.formulas import Formulas
from costmodel.render.latex import aligned, latex
from costmodel.source import Diagnostic, SpecError

_WITH_VALUE = (
    *("phase", "graph", "device", "fidelity", "timing", "batch-size", "seq-len", "new-tokens", "count"),
    *("masked", "fusion", "memory-fraction", "names"),
    *("prompt-len", "output-len", "acceptance-rate", "drafts"),
)
_SEVERAL = ("set", "free")


class CostmodelDirective(SphinxDirective):  # type: ignore[misc]
    """`.. costmodel:: SPEC`, with the options of `formula`; those that may stand several times take words."""

    required_arguments = 1
    final_argument_whitespace = True
    option_spec: ClassVar = {
        "quantity": directives.unchanged_required,
        "flat": directives.flag,
        **dict.fromkeys((*_WITH_VALUE, *_SEVERAL), directives.unchanged_required),
    }

    def run(self) -> list[nodes.Node]:
        words: list[str] = []
        for name in self.options.get("quantity", "").replace(",", " ").split():
            words += ["--of", name]
        for name in _SEVERAL:
            for value in shlex.split(self.options.get(name, "")):
                words += [f"--{name}", value]
        for name in _WITH_VALUE:
            words += [f"--{name}", self.options[name]] if name in self.options else []
        words += ["--flat"] if "flat" in self.options else []
        try:
            found = _formulas(self.env, self.arguments[0], words)
        except SpecError as error:
            raise self.error(render(error.diagnostics)) from None
        return [self._display(found, name) for name in found.exprs]

    def _display(self, found: Formulas, name: str) -> nodes.Node:
        lines = " \\\\\n".join(aligned(found.equations(name)))
        text = f"\\begin{{aligned}}\n{lines}\n\\end{{aligned}}"
        block = nodes.math_block(text, text, nowrap=False, number=None, label=None)
        block["no-wrap"] = False
        self.set_source_info(block)
        return block


class CostmodelRole(SphinxRole):  # type: ignore[misc]
    """A quantity in a line, SPEC QUANTITY and options of `formula` behind them."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        try:
            words = shlex.split(self.text)
            if len(words) < 2:
                raise SpecError(Diagnostic("argument", "a spec and a quantity are needed", help="llama-3.1:8b params"))
            found = _formulas(self.env, words[0], ["--flat", "--of", *words[1:]])
        except (SpecError, ValueError) as error:
            why = render(error.diagnostics) if isinstance(error, SpecError) else str(error)
            message = self.inliner.reporter.error(why, line=self.lineno)
            return [self.inliner.problematic(self.rawtext, self.rawtext, message)], [message]
        text = latex(next(iter(found.exprs.values())), found.symbols)
        return [nodes.math(self.rawtext, text)], []


def _formulas(env: BuildEnvironment, spec: str, words: list[str]) -> Formulas:
    """The formulas of a spec; a file is looked for beside the page, and the page built again when it changes."""
    path, colon, variant = spec.partition(".arch")
    if colon:
        spec = f"{env.relfn2path(path + colon)[1]}{variant}"
    with recorded() as provenance:
        try:
            context = formula.command.make_context("formula", [spec, *words])
        except click.ClickException as error:
            raise SpecError(Diagnostic("usage", error.format_message())) from None
        found: Formulas = formula.formulas(**context.params)
    for name in provenance.files:
        env.note_dependency(name)
    return found


def setup(app: Sphinx) -> dict[str, Any]:
    """What Sphinx calls."""
    app.add_directive("costmodel", CostmodelDirective)
    app.add_role("costmodel", CostmodelRole())
    return {"parallel_read_safe": True, "parallel_write_safe": True}
