"""`graph`: the dataflow graph as Graphviz, Mermaid or JSON, blocks as clusters, a `repeat` drawn once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sympy import Expr

from costmodel.algebra import text
from costmodel.elaborate.dataflow import Dataflow, Node
from costmodel.render.diagnostics import visible
from costmodel.tensors import Region, Tensor


def graph_json(spec: str, flow: Dataflow) -> dict[str, Any]:
    """Nodes, edges and regions; axes are expressions in the dims' names."""
    return {
        "spec": spec,
        "graph": flow.graph,
        "phase": flow.phase,
        "regions": [
            {
                "path": [r.name for r in region.path],
                "kind": region.kind,
                "count": str(region.count),
                "value": str(flow.environment.value(region.count)),
            }
            for region in _regions(flow)
        ],
        "nodes": [
            *(
                {"id": t.name, "op": "input", "name": t.name, "path": [flow.graph], "shape": _axes(t)}
                for t in flow.inputs
            ),
            *(_node_json(flow, node) for node in flow.nodes),
        ],
        "edges": [
            {
                "from": source,
                "to": target,
                "parameter": data["parameter"],
                "shape": _axes(data["tensor"]),
                "carried": data["carried"],
            }
            for source, target, data in flow.network.edges(data=True)
        ],
        "outputs": [tensor.producer if tensor.producer is not None else tensor.name for tensor in flow.outputs],
    }


def _node_json(flow: Dataflow, node: Node) -> dict[str, Any]:
    return {
        "id": node.index,
        "op": node.keyword,
        "name": node.label,
        "path": [r.name for r in node.region.path],
        "count": str(node.region.turns),
        "shape": _axes(node.results[0]) if node.results else [],
        "runs": node.index in flow.running,
        "line": node.span.line,
    }


def _axes(tensor: Tensor) -> list[str]:
    return [str(axis) for axis in tensor.shape]


def _regions(flow: Dataflow) -> list[Region]:
    found: dict[Region, None] = {flow.root: None}
    for node in flow.nodes:
        found.update(dict.fromkeys(node.region.path))
    return list(found)


def _children(flow: Dataflow) -> dict[Region, list[Region | Node]]:
    inside: dict[Region, list[Region | Node]] = {region: [] for region in _regions(flow)}
    for node in flow.nodes:
        for region in node.region.path[1:]:
            parent = region.parent
            assert parent is not None
            if region not in inside[parent]:
                inside[parent].append(region)
        inside[node.region].append(node)
    return inside


def _title(region: Region, flow: Dataflow) -> str:
    if region.kind == "repeat":
        count, value = _short(region.count), _short(flow.environment.value(region.count))
        return f"repeat {count}" if count == value else f"repeat {count} = {value} times"
    if region.kind == "route":
        return f"experts: {_short(flow.environment.value(region.top_k))} of them"
    return region.name


def _short(expr: Expr) -> str:
    return text(expr).replace(" · ", "·")


def _shape(tensor: Tensor) -> str:
    return "[" + ", ".join(_short(axis) for axis in tensor.shape) + "]"


def _label(node: Node) -> str:
    return f"{node.keyword} {node.label}".strip()


# --- Graphviz


def dot(flow: Dataflow, title: str) -> str:
    """For Graphviz: `dot -Tsvg`."""
    quote = _dot_quoted
    lines = [
        f"digraph {quote(flow.graph)} {{",
        f"  label={quote(title)}; labelloc=t; fontname=Helvetica; rankdir=TB; compound=true;",
        '  node [shape=box, style="rounded,filled", fillcolor=white, fontname=Helvetica, fontsize=11];',
        "  edge [fontname=Helvetica, fontsize=9, color=gray40, fontcolor=gray30];",
    ]
    for tensor in flow.inputs:
        lines.append(f"  {quote('in ' + tensor.name)} [label={quote(tensor.name)}, shape=plaintext];")
    inside = _children(flow)
    clusters = iter(range(len(inside)))

    def write(region: Region, indent: str) -> Iterator[str]:
        for child in inside[region]:
            if isinstance(child, Region):
                color = {"repeat": "#eef3fb", "route": "#fdf3e3"}.get(child.kind, "#f6f6f6")
                yield f"{indent}subgraph cluster_{next(clusters)} {{"
                yield f"{indent}  label={quote(_title(child, flow))}; labeljust=l;"
                yield f"{indent}  style=filled; color=gray70; fillcolor={quote(color)};"
                yield from write(child, indent + "  ")
                yield f"{indent}}}"
            else:
                idle = "" if child.index in flow.running else ', style="rounded,dashed", fontcolor=gray50'
                yield f"{indent}n{child.index} [label={quote(_label(child))}{idle}];"

    lines.extend(write(flow.root, "  "))
    for source, target, data in flow.network.edges(data=True):
        start = f"n{source}" if isinstance(source, int) else quote(f"in {source}")
        if data["carried"]:
            lines.append(f"  {start} -> n{target} [style=dashed, constraint=false, label={quote('next turn')}];")
        else:
            lines.append(f"  {start} -> n{target} [label={quote(_shape(data['tensor']))}];")
    for i, tensor in enumerate(flow.outputs):
        lines.append(f"  out{i} [label={quote('result')}, shape=plaintext];")
        start = f"n{tensor.producer}" if tensor.producer is not None else quote("in " + tensor.name)
        lines.append(f"  {start} -> out{i} [label={quote(_shape(tensor))}];")
    return "\n".join([*lines, "}"]) + "\n"


def _dot_quoted(label: str) -> str:
    safe = visible(label).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{safe}"'


# --- Mermaid


def mermaid(flow: Dataflow, title: str) -> str:
    """For Mermaid, which GitHub draws in Markdown."""
    quote = _mermaid_quoted
    names = {tensor.name: f"in{i}" for i, tensor in enumerate(flow.inputs)}
    lines = ["---", f"title: {_yaml_quoted(title)}", "---", "flowchart TB"]
    lines += [f"  {names[tensor.name]}([{quote(tensor.name)}])" for tensor in flow.inputs]
    inside = _children(flow)
    clusters = iter(range(len(inside)))

    def write(region: Region, indent: str) -> Iterator[str]:
        for child in inside[region]:
            if isinstance(child, Region):
                yield f"{indent}subgraph r{next(clusters)}[{quote(_title(child, flow))}]"
                yield from write(child, indent + "  ")
                yield f"{indent}end"
            else:
                yield f"{indent}n{child.index}[{quote(_label(child))}]"

    lines.extend(write(flow.root, "  "))
    place: Callable[[int | str], str] = lambda source: f"n{source}" if isinstance(source, int) else names[source]  # noqa: E731
    for source, target, data in flow.network.edges(data=True):
        if data["carried"]:
            lines.append(f"  {place(source)} -. next turn .-> n{target}")
        else:
            lines.append(f"  {place(source)} -->|{quote(_shape(data['tensor']))}| n{target}")
    for i, tensor in enumerate(flow.outputs):
        start = place(tensor.producer if tensor.producer is not None else tensor.name)
        lines.append(f"  {start} -->|{quote(_shape(tensor))}| out{i}([{quote('result')}])")
    idle = [f"n{node.index}" for node in flow.nodes if node.index not in flow.running]
    if idle:
        lines += ["  classDef idle stroke-dasharray: 4 3,color:#888", f"  class {','.join(idle)} idle"]
    return "\n".join(lines) + "\n"


def _yaml_quoted(title: str) -> str:
    return _mermaid_quoted(title).replace("\\", "\\\\")


def _mermaid_quoted(label: str) -> str:
    safe = visible(label).replace("&", "#amp;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")
    return f'"{safe}"'
