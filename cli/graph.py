"""`costmodel graph`."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import click

from costmodel.provenance import not_repeatable
from costmodel.render.drawing import dot, graph_json, mermaid

from .common import compiled, emit, emit_json, refuse, run_of
from .options import OUTPUT, OneOf, options


@click.command("graph")
@click.argument("spec")
@click.option("--format", "form", type=OneOf(["dot", "mermaid", "svg", "json"]), default="dot", show_default=True)
@options("phase", "graph", "new-tokens", "set", "free", OUTPUT)
def command(spec: str, form: str, **given: Any) -> None:
    """The dataflow graph: operations as nodes, tensors on the edges, blocks as clusters, a repeat drawn once.

    \b
    costmodel graph llama-3.1:8b --format mermaid
    costmodel graph llama-3.1:8b --format svg -o llama.svg
    """
    model = compiled(spec, given)
    flow = model.dataflow(run_of(given))
    title = f"{model.title}, {flow.phase}"
    if given["as_json"] or form == "json":
        emit_json(graph_json(model.name, flow), given)
    elif form == "mermaid":
        emit(mermaid(flow, title), given)
    elif form == "dot":
        emit(dot(flow, title), given)
    else:
        emit(_svg(dot(flow, title)), given)


def _svg(source: str) -> str:
    program = shutil.which("dot")
    if program is None:
        raise refuse(
            "an SVG is drawn by Graphviz, whose `dot` is not installed here", "--format mermaid or dot needs nothing"
        )
    not_repeatable()
    done = subprocess.run([program, "-Tsvg"], input=source, capture_output=True, text=True, check=False)
    if done.returncode:
        raise refuse(f"Graphviz failed: {done.stderr.strip().splitlines()[0] if done.stderr.strip() else 'no message'}")
    return done.stdout
