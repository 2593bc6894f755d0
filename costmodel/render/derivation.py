"""`latex`: how the costs of a model are derived, block by block, as a document worth publishing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from sympy import Add, Expr, Symbol

from costmodel.algebra import grouped
from costmodel.compile import Compiled, Run
from costmodel.costs import CostTable, Row
from costmodel.crossover import Crossover
from costmodel.figures import as_figure, as_float
from costmodel.hierarchy import Part, parts_by_phase, weight_names
from costmodel.names import prose
from costmodel.ops.attention import Attention
from costmodel.ops.base import Product
from costmodel.ops.route import Route
from costmodel.quantities import Quantities
from costmodel.render.derived_crossover import DerivedCrossover
from costmodel.render.document import (
    Block,
    Code,
    Display,
    Document,
    Heading,
    Math,
    Paragraph,
    Piece,
    Table,
    Words,
    words,
)
from costmodel.render.formulas import TERMS, Formulas
from costmodel.render.latex import Equation, equation
from costmodel.render.notation import Notation
from costmodel.render.numbers import duration, plain, scaled, significant
from costmodel.render.parts import definitions, everything, is_flat
from costmodel.source import SpecError
from costmodel.symbols import (
    ONE,
    batch_size,
    expanded,
    is_number,
    is_zero,
    new_tokens,
    product,
    put_in,
    seq_len,
    symbol,
    total,
)
from costmodel.tensors import Kind

Cells = tuple[Words, ...]


@dataclass(frozen=True, eq=False)
class Derivation:
    """What a pass costs, derived; with an `answer` also where it turns compute-bound.

    `elsewhere` are the answers at other contexts, of which the figures alone are given.
    """

    notation: Notation
    run: Run
    quantities: Quantities
    answer: Crossover | None = None
    made_by: str = ""
    elsewhere: tuple[Crossover, ...] = ()

    @property
    def compiled(self) -> Compiled:
        return self.notation.compiled

    @property
    def table(self) -> CostTable:
        return self.quantities.table

    # --- which passes

    @cached_property
    def passes(self) -> tuple[CostTable, ...]:
        """The phases whose totals are given: prefill and decode, or the one that is asked for."""
        flow = self.table.dataflow
        if not flow.has_tokens or flow.phase not in ("prefill", "decode") or self.run.new_tokens is not None:
            return (self.table,)
        found = []
        for phase in ("prefill", "decode"):
            try:
                found.append(self.compiled.table(replace(self.run, phase=phase)))
            except SpecError:
                continue
        return tuple(found)

    @cached_property
    def derived(self) -> tuple[CostTable, ...]:
        """The passes by operation: one for all phases, new tokens left open, where that says the same of each."""
        if len(self.passes) > 1:
            whole = self.compiled.table(replace(self.run, new_tokens=new_tokens))
            if all(_says_the_same(whole, each) for each in self.passes):
                return (whole,)
        return self.passes

    def _formulas(self, table: CostTable) -> Formulas:
        quantities = replace(self.quantities, table=table)
        return Formulas(self.compiled, quantities, ("params", "flops", "bytes"), {}, False, self.notation.names)

    def _letter(self, letter: str, table: CostTable) -> str:
        """A quantity's letter, with the phase where there are several."""
        phase = table.dataflow.phase.replace("_", " ")
        return rf"{letter}_{{\text{{{phase}}}}}" if len(self.passes) > 1 else self.notation.whole(letter)

    @cached_property
    def _roots(self) -> list[tuple[Formulas, Part]]:
        """The FLOPs of each derived pass by its parts; what costs the same in two of them has one name."""
        roots = parts_by_phase(self.derived, TERMS["flops"], "C")
        return [(self._formulas(table), root) for table, root in zip(self.derived, roots, strict=True)]

    # --- the document

    def document(self) -> Document:
        return Document(tuple(self._blocks()), self.made_by)

    def _blocks(self) -> Iterator[Block]:
        yield Heading(1, f"The cost of {self.compiled.title}")
        crossing = self._crossing
        if crossing is not None:
            yield Paragraph(crossing.result, "Result")
        yield Heading(2, "Symbols")
        yield self._symbol_table
        yield Heading(2, "What is counted")
        yield Paragraph(self._conventions)
        for formulas, root in self._roots:
            yield from self._operations(formulas, root)
        yield from self._one_pass()
        yield from self._bytes()
        yield from self._memory()
        if crossing is not None:
            others = [(replace(self.notation, point=answer.point), answer) for answer in self.elsewhere]
            yield from crossing.blocks([DerivedCrossover(notation, self.run, answer) for notation, answer in others])

    @cached_property
    def _crossing(self) -> DerivedCrossover | None:
        return None if self.answer is None else DerivedCrossover(self.notation, self.run, self.answer)

    # --- symbols

    @property
    def _symbol_table(self) -> Table:
        groups = [tuple(self._workload_rows()), tuple(self._dim_rows())]
        if self._crossing is not None:
            groups.append(tuple(self._crossing.device_rows()))
        return Table("llr", ("symbol", "meaning", "value"), tuple(group for group in groups if group))

    def _workload_rows(self) -> Iterator[Cells]:
        notation = self.notation
        if batch_size in self._used:
            yield self._workload_row(batch_size, ("batch size",))
        if seq_len in self._used:
            with_new = ", with the new tokens in it" if self.table.dataflow.has_tokens else ""
            yield self._workload_row(seq_len, (f"context length{with_new}",))
        if not self.table.dataflow.has_tokens:
            return
        figures = [(table.dataflow.phase, notation.math(table.put_in(new_tokens))) for table in self.passes]
        meaning: list[Piece] = ["new tokens a sequence"]
        for i, (phase, tokens) in enumerate(figures if len(figures) > 1 else ()):
            meaning += [f"{', ' if i else ': '}{phase} ", tokens]
        yield (notation.math(new_tokens),), tuple(meaning), ("by phase",) if len(figures) > 1 else (figures[0][1],)

    def _workload_row(self, unknown: Symbol, meaning: Words) -> Cells:
        given = self.notation.point.get(unknown)
        return (self.notation.math(unknown),), meaning, ("left free" if given is None else plain(given),)

    @cached_property
    def _used(self) -> set[object]:
        """The symbols that the formulas hold."""
        used: set[object] = set()
        for table in self.passes:
            for row in table.rows:
                for expr in (row.count, row.params, row.cost.matmul_flops, row.cost.vector_flops, row.cost.bytes):
                    used |= expr.free_symbols
        return used

    def _dim_rows(self) -> Iterator[Cells]:
        environment, notation = self.table.dataflow.environment, self.notation
        for name, dim in self.compiled.program.dims.items():
            unknown = symbol(name)
            if unknown not in self._used or name in ("batch_size", "seq_len", "new_tokens"):
                continue
            value = environment.value(unknown)
            meaning: tuple[Piece, ...] = (dim.doc or _in_words(name),)
            derived = environment.derived.get(unknown)
            if derived is not None and not is_number(derived):
                meaning = (*meaning, ": ", notation.math(derived))
            shown = plain(as_figure(value)) if is_number(value) else None
            open_ = value == unknown
            yield (
                (notation.math(unknown),),
                meaning,
                ("left free",) if open_ else (shown,) if shown is not None else (notation.math(value),),
            )

    # --- conventions

    @property
    def _conventions(self) -> Words:
        return tuple(self._conventional())

    def _conventional(self) -> Iterator[Piece]:
        table, quantities = self.table, self.quantities
        fidelity = table.fidelity
        yield f"A multiply and an add are two operations. {self._counted}"
        yield from words(" (fidelity {fidelity}). ", fidelity=Code(fidelity))
        yield self._about_attention
        device = quantities.device
        if self.answer is not None and device is not None:
            yield f"{_TIMINGS[quantities.timing]} "
            yield from words("(timing {timing}); these times are floors. ", timing=Code(quantities.timing))
            yield f"The peak is {'with 2:4 sparsity' if device.sparse else 'dense'}. "
            if device.count > 1:
                yield f"{device.count:,} devices count as one, communication left out. "
            also = ", and by the largest activations" if fidelity == "traffic" else ", alone"
            yield f"Whether a batch fits is decided by weights and by what sequences keep{also}. "
        yield from words("{dtypes}1 GB is {billion} bytes.", dtypes=self._about_dtypes, billion=Math("10^9"))

    @property
    def _counted(self) -> str:
        table = self.table
        if table.fidelity == "params":
            return "A token takes two for every parameter that is active for it, and a pass reads every weight once"
        if table.fidelity == "traffic":
            fused = "elementwise work fused" if table.counting.fusion == "elementwise" else "nothing fused"
            return (
                "Matrix products and elementwise work are counted, each over its own peak; an operation moves its"
                f" weights, what it reads and writes of what a sequence keeps, and its activations, {fused}"
            )
        kinds = {storage.kind for storage in table.dataflow.kept}
        caches = ", and so every sequence's cache" if kinds & {Kind.CACHE, Kind.KEPT} else ""
        states = "; a state is read and written" if Kind.STATE in kinds else ""
        return (
            f"Only matrix products are counted. A pass reads every weight that it uses once, and whole{caches}{states}"
        )

    @property
    def _about_attention(self) -> str:
        attentions = [n.operation for n in self.table.dataflow.nodes if isinstance(n.operation, Attention)]
        if not attentions or self.table.fidelity == "params":
            return ""
        if self.table.counting.masked == "exact":
            return "Of attention only the pairs that masks and windows keep are counted. "
        if not any(attention.causal for attention in attentions):
            return ""
        within = " within windows" if any(a.window is not None for a in attentions) else ""
        return f"The causal mask saves nothing: all pairs of a query and a key are counted{within}. "

    @property
    def _about_dtypes(self) -> str:
        flow = self.table.dataflow
        dtypes: dict[str, dict[str, None]] = {}
        for storage in flow.storages:
            if storage.kind is not Kind.ACTIVATION:
                what = storage.role if storage.kind is Kind.WEIGHT else _KEPT[storage.kind]
                dtypes.setdefault(what, {})[str(storage.own or flow.environment.dtypes[storage.role])] = None
        alike: dict[tuple[str, ...], list[str]] = {}
        for what, names in dtypes.items():
            alike.setdefault(tuple(names), []).append(what)
        each = [f"{prose(whats)} are {prose(list(names))}" for names, whats in alike.items()]
        said = prose(each) if all(len(names) == 1 for names in alike) else "; ".join(each)
        return f"{said[:1].upper()}{said[1:]}. " if said else ""

    # --- operations

    def _operations(self, formulas: Formulas, root: Part) -> Iterator[Block]:
        """The table of operations of a pass, and what they add up to by block."""
        if not root.children:
            return
        table, factored = formulas.table, formulas.standing.factored(root)
        several = f", {table.dataflow.phase}" if len(self.derived) > 1 else ""
        yield Heading(2, f"The operations{several}")
        of = "one sequence, that is without the factor {b}" if factored else "the whole batch"
        turns = ", in one turn of each layer" if any(part.repeats for part in everything(root)) else ""
        yield Paragraph(words(f"The FLOPs of {of}{turns}.", b=self.notation.math(batch_size)))
        yield _operation_table([tuple(self._rows(formulas, parts, factored)) for parts in _table_groups(root)])
        yield Paragraph(("Summed by block,",))
        yield Display(tuple(formulas.parts(root)))

    def _rows(self, formulas: Formulas, parts: tuple[Part, ...], factored: bool) -> Iterator[Cells]:
        block = parts[0] if parts[0].children else None
        if block is not None:
            yield ((Math(block.latex), f" {_in_words(block.what)}"),)
        for part in block.children if block is not None else parts:
            assert part.row is not None
            yield from self._leaf(formulas, part, part.row, factored)

    def _leaf(self, formulas: Formulas, part: Part, row: Row, factored: bool) -> Iterator[Cells]:
        node, standing = row.node, formulas.standing
        whole = standing.formula(part, factored)
        label: Words = (part.what,)
        if node is None:
            yield label, ("",), (self.notation.math(whole),), (self._value(formulas, part.expr, factored),)
            return
        weights = weight_names(node)
        label = _weight(weights) if weights else (node.keyword,)
        if part.count > 1:
            label = (f"{part.count} × ", *label)
        products = node.operation.products(replace(formulas.table.counting, settings=standing.settled))
        if formulas.table.fidelity == "params":
            products = ()
        rows = node.region.rows
        rest = row.cost.matmul_flops - total(each.flops * rows for each in products)
        if products and is_zero(standing.settle(rest)):
            for each in products:
                named = {"scores": ("scores ", Math(r"Q K^{\top}")), "values": ("values ", Math("S V"))}.get(each.name)
                expr = part.count * each.flops * rows
                yield self._cells(
                    formulas, named or label, self._shapes(formulas, each, rows, factored), expr, factored
                )
            vector = row.cost.vector_flops if formulas.table.fidelity == "traffic" else 0
            if vector != 0:
                yield self._cells(formulas, (*label, ", elementwise"), (), part.count * vector, factored)
            return
        shape = node.results[0].shape if node.results and formulas.table.fidelity != "params" else ()
        shown = Math(self._shape(formulas, shape, factored)) if shape else ""
        yield self._cells(formulas, label, (shown,), part.count * part.expr, factored)

    def _cells(self, formulas: Formulas, label: Words, shapes: Words, expr: Expr, factored: bool) -> Cells:
        settled = formulas.standing.settle(expr)
        formula = grouped(expanded(settled / batch_size if factored else settled), self.notation.order)
        return label, shapes, (self.notation.math(formula),), (self._value(formulas, expr, factored),)

    def _value(self, formulas: Formulas, expr: Expr, factored: bool) -> Math:
        value = formulas.standing.figure(expr)
        return self.notation.math(expanded(value / batch_size if factored else value))

    def _shapes(self, formulas: Formulas, each: Product, rows: Expr, factored: bool) -> Words:
        """`h (t, e) × (e, s)`: so many products of two matrices."""
        times = [axis for axis in (rows, *each.times) if axis != ONE]
        left = self._shape(formulas, (product(self._own(each.rows, factored)), product(each.inner)), False)
        right = self._shape(formulas, (product(each.inner), product(each.columns)), False)
        count = product(self._own(times, factored))
        many = "" if count == ONE else self.notation.of(formulas.standing.settle(count)) + r" \, "
        return (Math(rf"{many}{left} \times {right}"),)

    def _shape(self, formulas: Formulas, shape: tuple[Expr, ...], factored: bool) -> str:
        axes = [self.notation.of(formulas.standing.settle(axis)) for axis in self._own(shape, factored)]
        return f"({', '.join(axes)})"

    def _own(self, axes: tuple[Expr, ...] | list[Expr], factored: bool) -> list[Expr]:
        """The axes without the batch, where that stands before the bracket."""
        return [axis for axis in axes if not (factored and axis == batch_size)]

    # --- totals

    def _one_pass(self) -> Iterator[Block]:
        if not any(root.children for _, root in self._roots):
            return
        yield Heading(2, "One pass")
        yield Paragraph(("Over the layers and the batch,",))
        equations: list[Equation] = []
        for formulas, root in self._roots:
            shown = self.notation.whole("C") if len(self.derived) == 1 else self._letter("C", formulas.table)
            equations.append(equation(shown, formulas.assembled(root)))
        for table in self.passes:
            equations.append(equation(self._letter("C", table), self.notation.of(table.flops)))
        yield Display(tuple(_merged(equations)))
        said = [each for table in self.passes if (each := self._taken(table))]
        if said:
            at = words("At {s}, ", s=self.notation.given(seq_len)) if seq_len in self.notation.point else ()
            figures = "; ".join(said)
            yield Paragraph((*at, figures if at else figures[:1].upper() + figures[1:], "."))

    def _taken(self, table: CostTable) -> str:
        """What a pass takes at the given context, for a batch of one; nothing where that is open."""
        notation, flow, one = self.notation, table.dataflow, {batch_size: ONE}
        flops = notation.at(put_in(table.flops, one))
        if not flops:
            return ""
        what = {"decode": "a decoded token", "prefill": "a prompt"}.get(flow.phase, "a pass")
        said = f"{what if flow.has_tokens else 'a sequence'} takes {scaled(flops, 'FLOP')}"
        growing = total(term for term in Add.make_args(expanded(table.flops)) if seq_len in term.free_symbols)
        share = notation.at(put_in(growing, one))
        if share and flow.phase == "decode":
            said += f", of which {significant(as_float(share / flops) * 100, 3)} % grow with the context"
        quantities = replace(self.quantities, table=table)
        if quantities.device is None:
            return said
        times = [notation.at(put_in(t, one)) for t in (quantities.compute_time, quantities.memory_time)]
        if times[0] is None or times[1] is None:
            return said
        return f"{said}, by itself {duration(times[0])} of computing and {duration(times[1])} of reading"

    def _bytes(self) -> Iterator[Block]:
        formulas = self._formulas(self.table)
        root = formulas.hierarchy("bytes")
        if root is None or not root.children:
            return
        several = len(self.passes) > 1
        yield Heading(2, "The bytes of a pass")
        of = f" of {self.table.dataflow.phase}" if several else ""
        yield Paragraph((f"A pass{of} moves",))
        first = equation(self._letter("M", self.table), formulas.assembled(root))
        yield Display((first, *formulas.parts(root)))
        yield from self._experts()
        yield Paragraph(("In figures,",))
        same = len({table.bytes for table in self.passes}) == 1
        shown = [(self.notation.whole("M") if same else self._letter("M", table), table.bytes) for table in self.passes]
        yield Display(tuple(equation(letter, self.notation.of(moved)) for letter, moved in dict(shown).items()))

    def _experts(self) -> Iterator[Block]:
        """How many experts a pass reads, and why."""
        seen: set[Expr] = set()
        standing = self._formulas(self.table).standing
        if self.table.fidelity == "params":
            return
        for node in self.table.dataflow.nodes:
            route = node.operation
            if not isinstance(route, Route) or route.distinct_read() in seen:
                continue
            seen.add(route.distinct_read())
            count, tokens = route.count(), product(route.x.shape[:-1])
            read, value = standing.settle(route.distinct_read()), standing.figure(route.distinct_read())
            shown = equation(r"E_{\text{read}}", self.notation.of(read), self.notation.of(value))
            if count is None or route.distinct is not None:
                yield Paragraph(("The spec says how many distinct experts a pass reads in a layer:",))
                yield Display((shown,))
                continue
            of, top_k, rows = map(self.notation.math, map(standing.settle, (count, route.top_k, tokens)))
            yield Paragraph(
                words(
                    "Of {of} experts each token goes to {top_k}. Drawn evenly and independently, one expert is missed"
                    " by a token with probability {missed}, and by all {rows} tokens with that to the power {rows}. So"
                    " a pass reads on average",
                    **{"of": of, "top_k": top_k, "rows": rows, "missed": Math(f"1 - {top_k.latex}/{of.latex}")},
                )
            )
            yield Display((shown,))
            yield Paragraph(("distinct experts in a layer: few at a small batch, and all in the end.",), goes_on=True)

    # --- memory

    def _memory(self) -> Iterator[Block]:
        notation, table = self.notation, self.table
        formulas = self._formulas(table)
        root = formulas.hierarchy("params")
        yield Heading(2, "Memory")
        if root is not None and root.children:
            yield Paragraph(("The model has",))
            first = equation(notation.whole("N"), formulas.assembled(root), notation.of(table.params))
            yield Display((first, *formulas.parts(root)))
            active = "" if table.active_params == table.params else ", of which {active} are active for a token"
            counted = words(f"parameters{active}.", active=notation.math(table.active_params))
            yield Paragraph(counted, goes_on=True)
        equations = [Equation("M_w", tuple(self._stored()))]
        said = "Stored, the weights take so many bytes:"
        kept = table.dataflow.kept
        if kept:
            named = prose(list(dict.fromkeys(_KEPT[storage.kind] for storage in kept)))
            said = f"Stored, the weights take so many bytes, and the {named} of the batch:"
            symbolic = total(s.elements * s.turns * s.rows * s.bytes_each for s in kept)
            settled = grouped(expanded(formulas.standing.settle(symbolic)), notation.order)
            equations.append(equation("M_c", notation.of(settled), notation.of(table.cache_memory)))
        yield Paragraph((said,))
        if table.fidelity == "traffic" and table.activation_memory != 0:
            equations.append(equation("M_a", notation.of(table.activation_memory)))
        yield Display(tuple(equations))

    def _stored(self) -> Iterator[str]:
        each = self.table.bytes_a_parameter
        if each is not None and each != 1:
            yield rf"{self.notation.of(each)} \, {self.notation.whole('N')}"
        yield self.notation.of(self.table.weight_memory)


_KEPT = {Kind.CACHE: "caches", Kind.STATE: "states", Kind.KEPT: "kept values"}
_NAMED: dict[str, Words] = {"scores": ("scores ", Math(r"Q K^{\top}")), "values": ("values ", Math("S V"))}
_TIMINGS = {
    "overlap": "Arithmetic and transfers overlap, so a pass takes the longer of both",
    "serial": "Arithmetic and transfers do not overlap, so a pass takes their sum",
    "per_op": "Each operation takes the longer of its arithmetic and its transfers, and a pass their sum",
}


def _says_the_same(whole: CostTable, each: CostTable) -> bool:
    settings = each.dataflow.settings
    return all(is_zero(put_in(getattr(whole, name), settings) - getattr(each, name)) for name in ("flops", "bytes"))


def _in_words(name: str) -> str:
    return name.removeprefix("num_").replace("_", " ")


def _weight(names: str) -> Words:
    r"""`W_{\text{q}}` for a weight `Wq`, `W_{\text{kv,up}}` for `Wkv_up`; others by their names."""
    match = re.fullmatch(r"W_?([A-Za-z0-9]+(_[A-Za-z0-9]+)*)", names)
    return (Math(rf"W_{{\text{{{match[1].replace('_', ',')}}}}}"),) if match else (names.replace("_", " "),)


def _table_groups(root: Part) -> Iterator[tuple[Part, ...]]:
    """The parts as a table shows them: each flat block with its operations, and single operations together."""
    alone: list[Part] = []
    for part in definitions(root):
        if not part.children:
            alone.append(part)
        elif is_flat(part):
            if alone:
                yield tuple(alone)
                alone = []
            yield (part,)
    if alone:
        yield tuple(alone)


def _operation_table(groups: list[tuple[Cells, ...]]) -> Table:
    """The table of operations; without figures where these say the same as the formulas."""
    rows = [row for group in groups for row in group]
    columns = 4 if any(len(row) > 1 and row[2] != row[3] for row in rows) else 3
    header = ("operation", "shapes", "FLOPs", "in figures")
    kept = tuple(tuple(row[:columns] for row in group) for group in groups if group)
    return Table("lllr"[:columns], header[:columns], kept)


def _merged(equations: list[Equation]) -> Iterator[Equation]:
    """Equations with the same left side as one."""
    sides: dict[str, tuple[str, ...]] = {}
    for e in equations:
        sides[e.left] = (*sides.get(e.left, ()), *e.sides)
    return (equation(left, *found) for left, found in sides.items())
