"""What the operations of a graph cost, as symbolic terms; their totals by fidelity, the hierarchy of blocks kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache

from sympy import Expr, Max, Min, Symbol

from costmodel.elaborate.dataflow import Dataflow, Node
from costmodel.ops import Counting
from costmodel.ops.custom import Custom, Unused
from costmodel.ops.kept import Cache, Keep, Update
from costmodel.symbols import ONE, ZERO, batch_size, is_zero, new_tokens, put_in, rational, sign, total
from costmodel.tensors import Extents, Kind, Region, Storage, Tensor

FIDELITIES = ("params", "cache", "traffic")


@dataclass(frozen=True, slots=True)
class Cost:
    """An operation's cost in one turn: FLOPs by unit, bytes by what they belong to."""

    matmul_flops: Expr = ZERO
    vector_flops: Expr = ZERO
    weight_bytes: Expr = ZERO
    cache_read_bytes: Expr = ZERO
    cache_write_bytes: Expr = ZERO
    activation_bytes: Expr = ZERO

    @property
    def bytes(self) -> Expr:
        return total((self.weight_bytes, self.cache_read_bytes, self.cache_write_bytes, self.activation_bytes))

    def map(self, change: Callable[[Expr], Expr]) -> Cost:
        """Each term changed."""
        return Cost(*(change(getattr(self, f.name)) for f in fields(self)))


TERMS = tuple(f.name for f in fields(Cost))


@dataclass(frozen=True, eq=False)
class Row:
    """An operation with its cost and the parameters that it brings, in one turn; `count` says how many turns.

    A weight counts at the first operation that takes it. `node` is None for weights that this pass never meets: those
    of other graphs and phases.
    """

    node: Node | None
    region: Region
    cost: Cost
    params: Expr
    active_params: Expr

    @property
    def count(self) -> Expr:
        return self.region.turns


@dataclass(frozen=True, eq=False)
class CostTable:
    """The rows of one graph in one phase, in the order of the operations, in the symbols of all dims and dtypes."""

    dataflow: Dataflow
    fidelity: str
    counting: Counting
    rows: tuple[Row, ...]
    weights: tuple[Storage, ...]
    """Every stored weight, of all graphs."""
    open: frozenset[Symbol] = frozenset()
    """What stays a symbol though it has a value: the bytes of a dtype, the phase's new tokens."""

    @cached_property
    def values(self) -> Mapping[Symbol, Expr]:
        """What is put in for dims, the phase's settings and the dtypes."""
        environment = self.dataflow.environment
        known = {**environment.values, **environment.role_values}
        return {s: value for s, value in known.items() if s not in self.open} if self.open else known

    def put_in(self, expr: Expr) -> Expr:
        """An expression with the dims' values, the phase and the dtypes put in."""
        return put_in(expr, self.values)

    @cached_property
    def by_row(self) -> Mapping[Row, tuple[Expr, Expr, Expr]]:
        """Matmul FLOPs, vector FLOPs and bytes of each operation over all its turns, values put in."""

        def over_turns(row: Row, cost: Expr) -> Expr:
            return self.put_in(row.count * cost)

        return {
            row: (
                over_turns(row, row.cost.matmul_flops),
                over_turns(row, row.cost.vector_flops),
                over_turns(row, row.cost.bytes),
            )
            for row in self.rows
        }

    def summed(self, term: Callable[[Row], Expr]) -> Expr:
        """A term over all operations and turns, values put in."""
        return total(self.put_in(row.count * term(row)) for row in self.rows)

    @cached_property
    def matmul_flops(self) -> Expr:
        return self.summed(lambda row: row.cost.matmul_flops)

    @cached_property
    def vector_flops(self) -> Expr:
        """The vector FLOPs of a pass, whether or not the fidelity counts them."""
        if self.fidelity == "params":
            return ZERO
        return self.summed(lambda row: row.cost.vector_flops)

    @property
    def flops(self) -> Expr:
        return self.matmul_flops + self.vector_flops if self.fidelity == "traffic" else self.matmul_flops

    @cached_property
    def bytes(self) -> Expr:
        return self.summed(lambda row: row.cost.bytes)

    @cached_property
    def params(self) -> Expr:
        return self._stored(lambda storage: storage.copies)

    @cached_property
    def active_params(self) -> Expr:
        return self._stored(lambda storage: storage.active)

    def _stored(self, copies: Callable[[Storage], Expr]) -> Expr:
        return total(self.put_in(s.elements * s.turns * copies(s)) for s in self.weights)

    @cached_property
    def weight_memory(self) -> Expr:
        return total(self.put_in(s.elements * s.turns * s.copies * s.bytes_each) for s in self.weights)

    @cached_property
    def bytes_a_parameter(self) -> Expr | None:
        """The bytes of a stored parameter, where all are of one dtype."""
        sizes = {self.put_in(s.bytes_each) for s in self.weights}
        return sizes.pop() if len(sizes) == 1 else None

    @cached_property
    def cache_memory(self) -> Expr:
        return self._kept(self.dataflow.kept)

    @property
    def cache_memory_by_kind(self) -> dict[Kind, Expr]:
        """What a sequence keeps, apart: caches, states, kept values."""
        kinds = dict.fromkeys(storage.kind for storage in self.dataflow.kept)
        return {kind: self._kept(s for s in self.dataflow.kept if s.kind is kind) for kind in kinds}

    def _kept(self, storages: Iterable[Storage]) -> Expr:
        return total(self.put_in(s.elements * s.turns * s.rows * s.bytes_each) for s in storages)

    @cached_property
    def activation_peaks(self) -> tuple[tuple[Expr, Node], ...]:
        """The bytes of activations alive at an operation, for the operations that no other is always above.

        All of them where dtypes are open: which is above which then takes long to tell, and a point decides at once.
        """
        return _peaks(self)

    @property
    def activation_memory(self) -> Expr:
        peaks = [peak for peak, _ in self.activation_peaks]
        return Max(*peaks, evaluate=not self.open) if peaks else ZERO

    @property
    def memory(self) -> Expr:
        held = self.weight_memory + self.cache_memory
        return held + self.activation_memory if self.fidelity == "traffic" else held


def price(dataflow: Dataflow, fidelity: str, counting: Counting, elsewhere: Sequence[Storage] = ()) -> CostTable:
    """The cost of each operation of a graph in its phase.

    `elsewhere` are the weights of other graphs and phases that this one does not have.
    """
    counting = replace(counting, settings=dataflow.settings)
    mine = {s.key for s in dataflow.storages if s.kind is Kind.WEIGHT}
    others = [s for s in elsewhere if s.key not in mine]
    brought = _brought(dataflow)
    rows = []
    costs = _COSTING[fidelity](dataflow, counting)
    places: list[tuple[Node | None, Region, Sequence[Storage]]] = [
        (node, node.region, brought.get(node.index, ())) for node in dataflow.nodes
    ]
    places += [(None, dataflow.root, [storage]) for storage in (*brought.get(None, ()), *others)]
    for node, region, storages in places:
        params, active = _params(storages, region)
        cost = costs.get(node.index, Cost()) if node is not None else Cost()
        if fidelity == "params":
            cost = _by_params(storages, region, active, dataflow)
        rows.append(Row(node, region, cost, params, active))
    weights = (*(s for s in dataflow.storages if s.kind is Kind.WEIGHT), *others)
    return CostTable(dataflow, fidelity, counting, tuple(rows), weights)


def _brought(dataflow: Dataflow) -> dict[int | None, list[Storage]]:
    """Each weight at the first operation that takes it; under None those that none takes in any turn."""
    zero = {r for node in dataflow.nodes for r in node.region.path if dataflow.environment.value(r.count) == 0}
    found: dict[int | None, list[Storage]] = {}
    placed: set[Storage] = set()
    for node in dataflow.nodes:
        tensors = (*(t for _, t in node.operation.operands), *node.own)
        for tensor in () if node.operation.is_view else tensors:
            storage = tensor.storage
            if storage.kind is not Kind.WEIGHT or storage in placed:
                continue
            if zero & set(node.region.path) and dataflow.environment.value(storage.turns) != 0:
                continue
            placed.add(storage)
            found.setdefault(node.index, []).append(storage)
    found[None] = [s for s in dataflow.storages if s.kind is Kind.WEIGHT and s not in placed]
    return found


def _params(storages: Iterable[Storage], region: Region) -> tuple[Expr, Expr]:
    """Parameters and active parameters of these weights for one turn of a region."""
    params, active = [], []
    for storage in storages:
        each = storage.elements
        if storage.turns != region.turns:
            each = each * storage.turns / region.turns
        params.append(each * storage.copies)
        active.append(each * storage.active)
    return total(params), total(active)


# --- fidelity `params`


def _no_costs(dataflow: Dataflow, counting: Counting) -> dict[int, Cost]:  # noqa: ARG001
    return {}


def _by_params(storages: Iterable[Storage], region: Region, active: Expr, dataflow: Dataflow) -> Cost:
    """2 FLOPs for each active parameter and token, and every weight read."""
    tokens = batch_size * new_tokens if dataflow.has_tokens else batch_size
    stored = total(
        s.elements * s.copies * s.bytes_each * (ONE if s.turns == region.turns else s.turns / region.turns)
        for s in storages
    )
    return Cost(matmul_flops=2 * active * tokens, weight_bytes=stored)


# --- fidelity `cache`


def _whole_storages(dataflow: Dataflow, counting: Counting) -> dict[int, Cost]:
    """FLOPs of each operation; each storage's bytes, whole, at the first that uses it in its body."""
    uses: dict[tuple[Storage, Region], list[tuple[Node, Expr | None]]] = {}
    for node in dataflow.nodes:
        if node.index not in dataflow.running or node.operation.is_view:
            continue
        for name, tensor in node.operation.operands:
            if tensor.kind is not Kind.ACTIVATION:
                window = node.operation.cache_window(name)
                uses.setdefault((tensor.storage, node.region.body), []).append((node, window))
        for tensor in node.own:
            by_itself = tensor.kind is Kind.WEIGHT or tensor.kind is Kind.STATE
            if by_itself and not (tensor.kind is Kind.WEIGHT and isinstance(node.operation, Unused)):
                uses.setdefault((tensor.storage, node.region.body), []).append((node, None))
    read = {storage for storage, _ in uses}
    for node in dataflow.nodes:
        if node.index in dataflow.running and isinstance(node.operation, Cache | Keep):
            for tensor in node.own:
                if tensor.storage not in read:
                    uses[tensor.storage, node.region.body] = [(node, None)]
    weight_bytes: dict[int, list[Expr]] = {}
    cache_bytes: dict[int, list[Expr]] = {}
    for (storage, _), users in uses.items():
        first = users[0][0].index
        if storage.kind is Kind.WEIGHT:
            weight_bytes.setdefault(first, []).append(storage.elements * storage.read * storage.bytes_each)
            continue
        elements = storage.elements * storage.rows
        if storage.kind is Kind.CACHE:
            windows = {window for _, window in users}
            if None not in windows:
                elements = elements * _reach(storage.shape[1], Max(*windows))
        twice = rational(2) if storage.kind is Kind.STATE else ONE
        cache_bytes.setdefault(first, []).append(twice * elements * storage.bytes_each)
    costs = {}
    for node in dataflow.nodes:
        if node.index in dataflow.running:
            matmul, vector = _flops(node, counting)
            costs[node.index] = Cost(
                matmul, vector, total(weight_bytes.get(node.index, ())), total(cache_bytes.get(node.index, ()))
            )
    return costs


def _flops(node: Node, counting: Counting) -> tuple[Expr, Expr]:
    if not node.results:
        return ZERO, ZERO
    matmul = node.operation.matmul_flops(node.results[0], counting)
    vector = node.operation.vector_flops(node.results[0], counting)
    rows = node.region.rows
    return (matmul, vector) if rows == 1 else (matmul * rows, vector * rows)


@lru_cache(1000)
def _reach(positions: Expr, window: Expr) -> Expr:
    """The share of a cache's positions that a window can reach from the new tokens."""
    return Min(positions, window + new_tokens - 1) / positions


# --- fidelity `traffic`


def _traffic(dataflow: Dataflow, counting: Counting) -> dict[int, Cost]:
    return {
        node.index: _moved(node, counting, dataflow.without_past)
        for node in dataflow.nodes
        if node.index in dataflow.running
    }


def _moved(node: Node, counting: Counting, without_past: bool) -> Cost:
    """What one operation moves: its weights as they are used, cache and state, and activations unless fused."""
    operation, rows = node.operation, node.region.rows
    matmul, vector = _flops(node, counting)
    cost = Cost(matmul, vector)
    if operation.is_view or (isinstance(operation, Unused) and operation.storage.kind is Kind.WEIGHT):
        return cost
    unfused = operation.moves or counting.fusion == "none"
    weights, reads, writes, activations = [], [], [], []
    for tensor, elements in _read(node):
        storage = tensor.storage
        amount = elements * storage.bytes_each
        if storage.kind is Kind.WEIGHT:
            weights.append(amount)
        elif storage.kind is not Kind.ACTIVATION:
            reads.append(amount * rows)
        elif unfused:
            activations.append(amount * rows)
    results = Extents.of(node.results)
    for storage in results.parts:
        if storage.kind is Kind.ACTIVATION and unfused:
            activations.append(results.elements(storage) * storage.bytes_each * rows)
    if counting.fusion == "none" and node.results:
        activations.append(operation.unfused_bytes(node.results[0]) * node.results[0].storage.bytes_each * rows)
    for tensor in node.own:
        storage = tensor.storage
        match storage.kind:
            case Kind.WEIGHT:
                weights.append(storage.elements * storage.read * storage.bytes_each)
            case Kind.STATE:
                reads.append(storage.elements * storage.bytes_each * rows)
                writes.append(storage.elements * storage.bytes_each * rows)
            case Kind.CACHE if isinstance(operation, Cache):
                writes.append(operation.x.elements * storage.bytes_each * rows)
            case Kind.KEPT if without_past:
                writes.append(storage.elements * storage.bytes_each * rows)
            case _:
                pass
    if isinstance(operation, Update):
        writes.append(operation.state.elements * operation.state.storage.bytes_each * rows)
    if isinstance(operation, Custom):
        return _declared_bytes(operation, cost, node, weights, reads, writes)
    return replace(
        cost,
        weight_bytes=total(weights),
        cache_read_bytes=total(reads),
        cache_write_bytes=total(writes),
        activation_bytes=total(activations),
    )


def _declared_bytes(
    operation: Custom, cost: Cost, node: Node, weights: list[Expr], reads: list[Expr], writes: list[Expr]
) -> Cost:
    """An op of the spec's own: the bytes that it states, else those of its inputs, outputs, weights and states."""
    rows = node.region.rows
    taken = [
        elements * tensor.storage.bytes_each * rows
        for tensor, elements in _read(node)
        if tensor.kind is Kind.ACTIVATION
    ]
    given = [tensor.elements * tensor.storage.bytes_each * rows for tensor in node.results]
    if operation.read_bytes is not None:
        weights, reads, taken = [], [], [operation.read_bytes * rows]
    if operation.write_bytes is not None:
        writes, given = [], [operation.write_bytes * rows]
    return replace(
        cost,
        weight_bytes=total(weights),
        cache_read_bytes=total(reads),
        cache_write_bytes=total(writes),
        activation_bytes=total([*taken, *given]),
    )


def _read(node: Node) -> list[tuple[Tensor, Expr]]:
    """The storages that an operation reads, each with how many elements of it, every element once."""
    operation = node.operation
    found: list[tuple[Tensor, Expr]] = []
    together: dict[Storage, list[tuple[str, Tensor]]] = {}
    for name, tensor in operation.operands:
        if isinstance(operation, Update) and name == "state":
            continue
        if tensor.kind is Kind.ACTIVATION and tensor.storage in {t.storage for t in node.own}:
            continue
        special = operation.elements_read(name, tensor)
        if special is not None:
            by_row = tensor.kind is Kind.WEIGHT
            found.append((tensor, special * node.region.rows if by_row else special))
            continue
        together.setdefault(tensor.storage, []).append((name, tensor))
    for storage, named in together.items():
        elements = Extents.of(tensor for _, tensor in named).elements(storage)
        windows = {operation.cache_window(name) for name, _ in named}
        if storage.kind is Kind.CACHE and None not in windows:
            elements = elements * _reach(storage.shape[1], Max(*windows))
        if storage.kind is Kind.WEIGHT:
            elements = elements * storage.read
        found.append((named[0][1], elements))
    return found


_COSTING: dict[str, Callable[[Dataflow, Counting], dict[int, Cost]]] = {
    "params": _no_costs,
    "cache": _whole_storages,
    "traffic": _traffic,
}


# --- activations


def _peaks(table: CostTable) -> tuple[tuple[Expr, Node], ...]:
    """Live activations by operation, without those that another operation's exceed whatever the free symbols are."""
    dataflow = table.dataflow
    candidates: dict[Expr, Node] = {}
    for node in dataflow.nodes:
        if node.index not in dataflow.running or table.put_in(node.region.turns) == 0:
            continue
        candidates.setdefault(table.put_in(_alive(node)), node)
    if table.open:
        return tuple(candidates.items())
    best: list[tuple[Expr, Node]] = []
    for peak, node in candidates.items():
        if any(_never_less(other, peak) for other, _ in best):
            continue
        best = [(other, n) for other, n in best if not _never_less(peak, other)]
        best.append((peak, node))
    return tuple(best)


def _never_less(a: Expr, b: Expr) -> bool:
    difference = a - b
    return is_zero(difference) or sign(difference) == 1


def _alive(node: Node) -> Expr:
    tensors = [*(t for _, t in node.operation.operands), *node.results]
    extents = Extents.of(t for t in tensors if t.kind is Kind.ACTIVATION)
    own = [extents.elements(s) * s.bytes_each * node.region.rows for s in extents.parts]
    carried = [
        tensor.elements * tensor.storage.bytes_each * region.rows
        for region in node.region.path
        for tensor in region.carried
        if tensor.storage not in extents.parts
    ]
    return total([*own, *carried])
