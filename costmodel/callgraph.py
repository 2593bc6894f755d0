"""Which block calls which: none itself, no chain without end, no graph of more operations than can be held."""

from __future__ import annotations

from collections.abc import Mapping

import networkx as nx

from costmodel import syntax
from costmodel.parser import MOST_NESTING
from costmodel.program import Program
from costmodel.source import Diagnostic, Label, Report, Span
from costmodel.walk import calls_in, values_of, walk

MOST_OPERATIONS = 1_000_000


def check_calls(program: Program, report: Report) -> None:
    """Report blocks that call themselves, chains of calls that are too deep, and graphs that expand too far."""
    calls: nx.DiGraph = nx.DiGraph()
    places: dict[tuple[str, str], Span] = {}
    for block in program.blocks.values():
        calls.add_node(block.name)
        for call in calls_in(block.body):
            if call.function in program.blocks:
                calls.add_edge(block.name, call.function)
                places.setdefault((block.name, call.function), call.function_span)
    circles = [c for c in nx.strongly_connected_components(calls) if len(c) > 1 or calls.has_edge(*(list(c) * 2)[:2])]
    for circle in circles:
        report.add(_circle(program, calls, circle, places))
    if not circles and not report.errors:
        _check_size(program, calls, report)


def _circle(
    program: Program, calls: nx.DiGraph, circle: set[str], places: Mapping[tuple[str, str], Span]
) -> Diagnostic:
    first = min(circle, key=lambda name: program.blocks[name].span.start)
    edges = [edge[:2] for edge in nx.find_cycle(calls.subgraph(circle), first)]
    chain = " → ".join(f"`{a}`" for a, _ in edges) + f" → `{edges[0][0]}`"
    return Diagnostic(
        "recursion",
        f"`{first}` calls itself" if len(edges) == 1 else f"blocks call each other in a circle: {chain}",
        places[edges[0]],
        others=tuple(Label(places[edge], f"`{edge[0]}` calls `{edge[1]}`") for edge in edges[1:6]),
        facts=("a block is expanded at each call, so it cannot call itself",),
    )


def _check_size(program: Program, calls: nx.DiGraph, report: Report) -> None:
    depth: dict[str, int] = {}
    size: dict[str, int] = {}
    for name in reversed(list(nx.topological_sort(calls))):
        block = program.blocks[name]
        depth[name] = 1 + max((depth[called] for called in calls.successors(name)), default=0)
        size[name] = _least_operations(block.body, size)
        if depth[name] > MOST_NESTING:
            message = f"blocks call each other deeper than {MOST_NESTING} levels"
            report.add(Diagnostic("limit", message, block.name_span))
            return
    for graph in program.graphs.values():
        least = _least_operations(graph.body, size)
        if least > MOST_OPERATIONS:
            message = f"graph `{graph.name}` expands to {_count(least)} operations; {MOST_OPERATIONS:,} is the limit"
            fact = "a `repeat` is not expanded and counts once"
            report.add(Diagnostic("limit", message, graph.name_span, facts=(fact,)))


def _count(number: int) -> str:
    return f"{number:,}" if number < 10**12 else f"more than 10^{len(str(number)) - 1}"


def _least_operations(body: syntax.Body, size: Mapping[str, int]) -> int:
    """How many calls a body is expanded to at least, whatever its `if`s decide."""
    total = 0
    for statement in body.statements:
        match statement:
            case syntax.If():
                otherwise = _least_operations(statement.otherwise, size) if statement.otherwise is not None else 0
                total += min(_least_operations(statement.then, size), otherwise)
            case syntax.Repeat():
                total += _least_operations(statement.body, size)
            case _:
                for value in values_of(statement):
                    for node in walk(value):
                        if isinstance(node, syntax.Call):
                            total += 1 + size.get(node.function, 0)
                if isinstance(statement, syntax.Assign | syntax.Return) and statement.body is not None:
                    total += _least_operations(statement.body, size)
    return total
