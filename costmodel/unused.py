"""What a spec declares or computes and nothing uses: counted all the same, with a warning."""

from __future__ import annotations

from collections.abc import Iterator

from costmodel.elaborate.dataflow import Dataflow
from costmodel.ops.custom import Unused
from costmodel.ops.kept import Cache, Keep, Update
from costmodel.source import Diagnostic, Span


def idle(flow: Dataflow) -> Iterator[tuple[str, str, Span]]:
    """Weights, states and results that nothing uses."""
    for node in flow.nodes:
        if isinstance(node.operation, Unused):
            yield node.label, node.keyword, node.span
        elif node.index not in flow.consumed and not isinstance(node.operation, Cache | Keep | Update):
            yield node.keyword, "result", node.span


def warning(what: str, kind: str, span: Span) -> Diagnostic:
    message = f"nothing uses the result of this `{what}`" if kind == "result" else f"nothing uses {kind} `{what}`"
    return Diagnostic("unused", message, span, facts=("it is counted all the same",), severity="warning")


def unused(flow: Dataflow) -> list[Diagnostic]:
    """Warnings for what nothing uses in this phase; none where another phase may use it."""
    if flow.by_phase:
        return []
    return [warning(*found) for found in idle(flow)]
