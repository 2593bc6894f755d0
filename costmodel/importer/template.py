"""Families whose structure is that of one shipped model: its blocks and graph as they stand there, with other sizes."""

from __future__ import annotations

from collections.abc import Mapping

from costmodel import library, syntax
from costmodel.importer.config import Size
from costmodel.importer.draft import Draft
from costmodel.importer.precision import Precision
from costmodel.parser import parse_spec
from costmodel.source import Report
from costmodel.walk import statements

Value = Size | tuple[int | str, str]
"""A dim's value: a size of the config, or an expression and where it comes from."""

_TABLES = frozenset("embedding unembedding positions segment".split())


def like(draft: Draft, model: str, precision: Precision, values: Mapping[str, Value]) -> None:
    """Take a shipped model's blocks and graph, and its dims with these values."""
    source = library.read(library.shipped("models")[model])
    last = 0
    for node in parse_spec(source, Report()).spec.declarations:
        match node:
            case syntax.Use():
                draft.use(node.path.removeprefix("blocks/").removesuffix(".arch"))
            case syntax.Dim():
                _dim(draft, node, values)
            case syntax.Block() | syntax.OpDeclaration() | syntax.Graph() | syntax.Phase():
                marks = _tables(node) if precision.kept and isinstance(node, syntax.Block | syntax.Graph) else []
                text = source.text[last : node.span.end]
                for at in sorted(marks, reverse=True):
                    text = text[: at - last] + precision.kept + text[at - last :]
                draft.body += [*([""] if draft.body else []), *text.strip("\n").splitlines()]
            case _:
                pass
        last = node.span.end


def _tables(node: syntax.Block | syntax.Graph) -> list[int]:
    """Where the declarations of embeddings and output layers end, which no quantisation changes."""
    return [
        weight.span.end
        for statement in statements(node.body)
        if isinstance(statement, syntax.Weights)
        for weight in statement.weights
        if weight.name in _TABLES and weight.inputs is not None
    ]


def _dim(draft: Draft, node: syntax.Dim, values: Mapping[str, Value]) -> None:
    value = values.get(node.name)
    if value is None:
        assert node.value is not None
        value = (node.value.span.text, "")
    size, comment = (value, "") if isinstance(value, Size) else value
    draft.dim(node.name, size, comment, node.latex or "", node.doc or "")
