"""The expanded model: operations in their regions, and the graph of what flows between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import networkx as nx
from sympy import Expr, Symbol

from costmodel.elaborate.environment import Environment
from costmodel.ops import Operation
from costmodel.ops.kept import Keep
from costmodel.program import Program
from costmodel.source import Span
from costmodel.symbols import is_zero, new_tokens, put_in, seq_len
from costmodel.tensors import Kind, Region, Storage, Tensor


@dataclass(frozen=True, eq=False, slots=True)
class Node:
    """An operation in its place.

    `own` are the weights, states and caches that it brings with it; `label` names what it works on.
    """

    index: int
    operation: Operation
    keyword: str
    region: Region
    results: tuple[Tensor, ...]
    own: tuple[Tensor, ...]
    label: str
    span: Span


@dataclass(frozen=True, eq=False)
class Carried:
    """A variable that a `repeat` carries: what it is before it, what it enters a turn as and what it leaves it as."""

    initial: Tensor
    entering: Tensor
    leaving: Tensor


@dataclass(frozen=True, eq=False)
class Dataflow:
    """One graph of a program, expanded for one phase.

    `environment` has the phase's settings in it, `shapes` only those that are no plain numbers. `decided` are the
    symbols that an `if` was decided by; `by_phase` says whether one was decided by the phase.
    """

    program: Program
    environment: Environment
    graph: str
    phase: str
    settings: Mapping[Symbol, Expr]
    root: Region
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    nodes: tuple[Node, ...]
    storages: tuple[Storage, ...]
    carried: tuple[Carried, ...]
    decided: frozenset[Symbol]
    by_phase: bool
    shapes: Environment

    @cached_property
    def network(self) -> nx.MultiDiGraph:
        """Operations and inputs as nodes, tensors on the edges.

        A node is an operation's index, or an input's name; an edge has the `tensor` and the `parameter` that takes it.
        Edges from one turn of a `repeat` to the next have `carried=True`.
        """
        network: nx.MultiDiGraph = nx.MultiDiGraph()
        makers: dict[Storage, int | str] = {}
        for tensor in self.inputs:
            network.add_node(tensor.name, kind="input", tensor=tensor)
            makers[tensor.storage] = tensor.name
        for node in self.nodes:
            network.add_node(node.index, kind="operation", node=node)
        entering = {carried.entering.storage: carried for carried in self.carried}

        def maker(tensor: Tensor) -> int | str | None:
            return tensor.producer if tensor.producer is not None else makers.get(tensor.storage)

        def connect(tensor: Tensor, index: int, parameter: str, around: bool) -> None:
            source = maker(tensor)
            if source is not None:
                network.add_edge(source, index, parameter=parameter, tensor=tensor, carried=around)
            carried = entering.get(tensor.storage)
            if carried is not None:
                connect(carried.initial, index, parameter, around)
                if carried.leaving.storage is not tensor.storage:
                    connect(carried.leaving, index, parameter, True)

        for node in self.nodes:
            for parameter, tensor in node.operation.operands:
                connect(tensor, node.index, parameter, False)
        return network

    @cached_property
    def consumed(self) -> frozenset[int]:
        """The nodes that something uses: an operation, a result of the graph, or the sequence's memory."""
        used = {source for source, _ in self.network.edges() if isinstance(source, int)}
        used |= {tensor.producer for tensor in self.outputs if tensor.producer is not None}
        return frozenset(used)

    @cached_property
    def running(self) -> frozenset[int]:
        """The nodes that run in this phase: not what feeds nothing but a `keep`, in a pass that has a past."""
        keeps = {node.index for node in self.nodes if isinstance(node.operation, Keep)}
        if not keeps or self.without_past:
            return frozenset(node.index for node in self.nodes)
        # a sink is what nothing uses, whether it writes to memory, is a result or is simply not used
        outputs = {tensor.producer for tensor in self.outputs}
        network = self.network
        needed: set[int] = set()
        open_ = [
            n.index
            for n in self.nodes
            if n.index not in keeps and (not network.out_degree(n.index) or n.index in outputs)
        ]
        while open_:
            index = open_.pop()
            if index in needed:
                continue
            needed.add(index)
            open_.extend(
                p for p in network.predecessors(index) if isinstance(p, int) and p not in keeps and p not in needed
            )
        return frozenset(needed)

    @cached_property
    def without_past(self) -> bool:
        """Whether all of the sequence's tokens are new in this phase."""
        return is_zero(put_in(new_tokens - seq_len, self.settings))

    @cached_property
    def has_tokens(self) -> bool:
        """Whether the graph works on new tokens at all, or on whole sequences."""
        return any(new_tokens in tensor.elements.free_symbols for tensor in self.inputs) or any(
            new_tokens in tensor.elements.free_symbols for node in self.nodes for tensor in node.results
        )

    @property
    def kept(self) -> tuple[Storage, ...]:
        """What a sequence keeps between passes."""
        return tuple(s for s in self.storages if s.kind in (Kind.CACHE, Kind.STATE, Kind.KEPT))
