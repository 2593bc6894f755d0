"""Where a pass turns compute-bound, derived: both times, equated, solved, and the figures put in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from sympy import Expr

from costmodel.compile import Run
from costmodel.crossover import Crossover, crossover
from costmodel.device import VECTOR
from costmodel.figures import Figure, as_figure
from costmodel.quantities import Quantities
from costmodel.render.document import Block, Display, Heading, Math, Paragraph, Piece, Table, Words, words
from costmodel.render.latex import Equation, equation, width
from costmodel.render.notation import Notation, set_decimal
from costmodel.render.numbers import decimal, duration, milliseconds, plain, rate, scaled, with_prefix
from costmodel.render.words import without_memory
from costmodel.solve.forms import Group, Parts, parts
from costmodel.solve.memory import StepwiseFit
from costmodel.symbols import ZERO, is_zero, seq_len, total

# a closed form that is wider is given by its figure alone
_WIDEST = 110


@dataclass(frozen=True, eq=False)
class DerivedCrossover:
    """The answer about a crossover as an author would derive it."""

    notation: Notation
    run: Run
    answer: Crossover

    @property
    def quantities(self) -> Quantities:
        return self.answer.quantities

    @cached_property
    def _p(self) -> str:
        return self.notation.letter("P")

    @cached_property
    def _w(self) -> str:
        return self.notation.letter("W")

    @cached_property
    def _a(self) -> str:
        return self.notation.letter("A")

    @cached_property
    def _d(self) -> str:
        return self.notation.letter("D")

    @cached_property
    def _q(self) -> str:
        return self.notation.letter("q")

    @property
    def _b(self) -> str:
        return self.notation.symbols("batch_size")

    @property
    def _device(self) -> str:
        device = self.quantities.device
        assert device is not None
        title = without_memory(device.title)
        return f"{device.count:,} × {title}" if device.count > 1 else f"the {title}"

    @property
    def _unit(self) -> str:
        return "tokens" if self.quantities.table.dataflow.has_tokens else "sequences"

    @property
    def _each(self) -> str:
        one = self.quantities.tokens == 1 and self.quantities.table.dataflow.has_tokens
        return "a token" if one else "a pass"

    @property
    def _pass(self) -> str:
        flow = self.quantities.table.dataflow
        return flow.phase if flow.has_tokens else "a pass over whole sequences"

    def device_rows(self) -> Iterator[tuple[Words, ...]]:
        """Rows for the table of symbols."""
        quantities = self.quantities
        device = quantities.device
        assert device is not None
        dtype = quantities.table.dataflow.environment.dtypes["compute"]
        of = f"peak of {self._device}, {dtype}, {'2:4 sparse' if device.sparse else 'dense'}"
        yield (Math(self._p),), (of,), (with_prefix(as_figure(quantities.matmul_peak), "FLOP/s"),)
        if self._vector:
            peak = as_figure(device.peak(VECTOR))
            yield (Math(self._p_vector),), ("its peak for elementwise work",), (with_prefix(peak, "FLOP/s"),)
        yield (Math(self._w),), ("its memory bandwidth",), (with_prefix(as_figure(device.bandwidth), "B/s"),)
        share = "" if quantities.memory_fraction == 1 else f", of which {float(quantities.memory_fraction):g} is used"
        yield (Math(self._a),), (f"its memory{share}",), (with_prefix(as_figure(self.answer.fit.capacity), "B"),)

    @property
    def _vector(self) -> bool:
        return self.quantities.table.fidelity == "traffic" and self.quantities.table.vector_flops != 0

    @property
    def _p_vector(self) -> str:
        return r"P_{\text{vec}}"

    # --- the result

    @property
    def result(self) -> Words:
        return tuple(self._result())

    def _result(self) -> Iterator[Piece]:
        answer = self.answer
        yield f"On {self._device}, {self._pass}"
        if seq_len in answer.point:
            yield " with a context of "
            yield self.notation.given(seq_len)
            yield " tokens"
        yield from self._verdict()
        condition = self._existence()
        if condition and answer.status != "always":
            yield from condition

    def _verdict(self) -> Iterator[Piece]:
        answer = self.answer
        status, best, value = answer.status, answer.optimal_batch_size, answer.batch_size.value
        crossing = Math(f"{self._b}^{{\\ast}} = {set_decimal(value, 2)}") if value is not None else None
        match status:
            case None if answer.unsolvable is not None:
                yield f" is not solved, because {answer.unsolvable}."
            case None if answer.always_memory_bound:
                yield " is limited by memory at every batch size and context."
            case None:
                yield " turns compute-bound, or does not, depending on what is left free, as derived below."
            case "never":
                yield " is limited by memory at every batch size"
                if crossing is not None and value is not None and value < 0:
                    yield ": the two times would be equal only at "
                    yield crossing
                yield "."
                if best is not None:
                    yield f" The largest batch that fits is {best:,}; it gives {self._gives(best)}."
            case "crosses":
                assert crossing is not None and best is not None
                yield " turns compute-bound at "
                yield crossing
                yield f". A batch of {best:,} gives {self._gives(best)}."
                largest = answer.max_batch_size_value
                yield f" Up to {largest:,} fit." if largest is not None else " Nothing limits the batch."
            case "beyond_memory":
                assert crossing is not None and best is not None
                yield " would turn compute-bound at "
                yield crossing
                yield f", but only {best:,} sequences fit, which give {self._gives(best)}."
            case "always":
                yield f" is compute-bound from batch 1 on, which gives {self._gives(1)}."
            case "leaves":
                yield " is compute-bound at small batches alone: beyond "
                yield crossing or "some batch"
                yield " reading takes longer."
                if best is not None:
                    yield f" The largest batch that fits is {best:,}; it gives {self._gives(best)}."
            case _:
                left = answer.margin_at(1)
                missing = "the weights alone exceed its memory"
                if left is not None:
                    missing = f"{scaled(-left, 'B')} are missing for one sequence"
                yield f" does not fit: {missing}."
                if crossing is not None and answer.solved is not None and answer.solved.crossing is not None:
                    yield " It would cross at "
                    yield crossing
                    yield "."

    def _gives(self, batch: int) -> str:
        point = self.answer.at_batch(batch)
        return f"{rate(point.throughput)} {self._unit}/s at {milliseconds(point.latency)} {self._each}"

    def _existence(self) -> list[Piece]:
        """For which contexts a crossover exists at all."""
        feasible = self.answer.feasible
        if feasible is None:
            return []
        exists = "As the batch grows it stays compute-bound" if self.answer.fixed_work else "A crossover exists"
        if feasible.condition == True:  # noqa: E712
            return []
        if feasible.condition == False:  # noqa: E712
            return []
        said = self._condition()
        return [f" {exists} where ", Math(said), "."] if width(said) < 46 else []

    def _condition(self) -> str:
        r"""`s < 544.70`: the condition, long fractions as decimals."""
        feasible = self.answer.feasible
        assert feasible is not None
        said = self.notation.of(feasible.condition)
        for edge in feasible.edges:
            closed = self.notation.of(edge.expr)
            if edge.value is not None and not edge.expr.is_Integer:
                said = said.replace(closed, set_decimal(edge.value, 2))
        return said

    # --- the derivation

    def blocks(self, others: Sequence[DerivedCrossover] = ()) -> Iterator[Block]:
        """The derivation, with the figures put in; then the figures of the same at other contexts."""
        yield from self._fits()
        yield Heading(2, f"Where {self._pass} turns compute-bound")
        flops, read = parts(self.quantities.compute_time), self._read
        if flops is None or flops.groups or read is None:
            yield from self._unformed()
        else:
            yield from self._times(read)
            yield from self._solved(read)
        yield from self._by_case()
        yield from self._at_the_point("In figures")
        for other in others:
            yield Heading(3, f"In figures, at {plain(other.answer.point[seq_len])} tokens")
            yield Paragraph(other.result)
            yield from other._at_the_point()
        yield from self._by_parameters()

    @cached_property
    def _read(self) -> Parts | None:
        """What the bytes of a pass are made of in the batch size."""
        return parts(self.quantities.table.bytes)

    # --- memory

    def _fits(self) -> Iterator[Block]:
        answer, fit, notation = self.answer, self.answer.fit, self.notation
        largest = answer.max_batch_size.value
        if fit.largest == ZERO:
            said = "The weights alone, {w}, exceed the device's memory {a}, so no batch fits."
            yield Paragraph(words(said, w=Math("M_w"), a=Math(self._a)))
            return
        if isinstance(fit, StepwiseFit) or fit.ratio is None:
            if largest is not None:
                said = f"The largest batch that fits a memory of {{a}} is {int(largest):,}."
                yield Paragraph(words(said, a=Math(self._a)))
            return
        exact, plainly = notation.at(fit.ratio), len(fit.peaks) == 1 and is_zero(total(fit.peaks[0]))
        sides = [notation.of(fit.ratio), *([set_decimal(exact, 2)] if exact is not None else [])]
        if plainly:
            sides.insert(0, rf"\frac{{{self._a} - M_w}}{{M_c / {self._b}}}")
        sides[0] = rf"\le {sides[0]}"
        yield Paragraph(words("A device of memory {a} holds the weights and", a=Math(self._a)))
        yield Display((equation(self._b, *sides),))
        said = f"sequences, that is {max(0, int(exact // 1)):,}" if exact is not None else "sequences"
        if exact is not None and seq_len in fit.ratio.free_symbols:
            yield Paragraph(words(f"{said} at {{s}}.", s=notation.given(seq_len)), goes_on=True)
        else:
            yield Paragraph((f"{said}.",), goes_on=True)

    # --- both times

    def _times(self, read: Parts) -> Iterator[Block]:
        """What the two times are made of."""
        b, notation = self._b, self.notation
        names: list[tuple[str, Expr]] = []

        def line(constant: str, slope: str, of: tuple[Expr, Expr]) -> str:
            """`M_0 + M_1 b`, and what these are."""
            terms = []
            for name, value, shown in ((constant, of[0], constant), (slope, of[1], rf"{slope} \, {b}")):
                if value != 0:
                    names.append((name, value))
                    terms.append(shown)
            return " + ".join(terms)

        compute = rf"\frac{{{line('F_0', 'F_1', self._matmul) or 0}}}{{{self._p}}}"
        if self._vector:
            compute += rf" + \frac{{{line('V_0', 'V_1', self._elementwise)}}}{{{self._p_vector}}}"
        memory = line("M_0", "M_1", (self._shared_bytes(read), read.slope))
        for name, share, (d, q, by) in self._experts(read):
            memory += (" + " if memory else "") + rf"{name} \cdot (1 - {share}^{b})"
            names += [(name, -d), (share, q**by)]
        yield Paragraph(("Arithmetic and transfers take",))
        times = (r"T_{\text{compute}}", compute), (r"T_{\text{memory}}", rf"\frac{{{memory or 0}}}{{{self._w}}}")
        yield Display(tuple(equation(*time) for time in times))
        said = "where an index 0 is what a pass needs whatever its batch, and 1 what each sequence adds"
        if read.groups:
            said += "; {d} are the bytes of all experts, each of which one sequence leaves unread with probability {q}"
        yield Paragraph(words(f"{said}:", d=Math(self._d), q=Math(self._q)), goes_on=True)
        yield Display(tuple(equation(name, notation.of(value)) for name, value in names))

    def _experts(self, read: Parts) -> list[tuple[str, str, Group]]:
        """The mixtures with the letters of their bytes and of the share that a sequence leaves unread."""
        several = len(read.groups) > 1
        d, q = self._d, self._q
        return [(f"{d}_{i}" if several else d, f"{q}_{i}" if several else q, g) for i, g in enumerate(read.groups, 1)]

    @cached_property
    def _matmul(self) -> tuple[Expr, Expr]:
        """Constant and slope of the FLOPs on the matrix units."""
        return self._line(self.quantities.table.matmul_flops)

    @cached_property
    def _elementwise(self) -> tuple[Expr, Expr]:
        """The same on the vector units, where they are counted."""
        return self._line(self.quantities.table.vector_flops) if self._vector else (ZERO, ZERO)

    @staticmethod
    def _line(expr: Expr) -> tuple[Expr, Expr]:
        found = parts(expr)
        assert found is not None
        return found.constant, found.slope

    @staticmethod
    def _shared_bytes(read: Parts) -> Expr:
        """What is read whatever the batch, without experts."""
        return read.constant + total(d for d, _, _ in read.groups)

    def _covered(self, i: int) -> str:
        r"""`F_1 \, W / P`: the bytes that could be moved while this is computed."""
        terms = []
        if self._matmul[i] != 0:
            terms.append(rf"F_{i} \, \frac{{{self._w}}}{{{self._p}}}")
        if self._elementwise[i] != 0:
            terms.append(rf"V_{i} \, \frac{{{self._w}}}{{{self._p_vector}}}")
        return " + ".join(terms) or "0"

    @property
    def _shared_work(self) -> bool:
        """Whether some FLOPs do not grow with the batch."""
        return not (self._matmul[0] == 0 and self._elementwise[0] == 0)

    def _solved(self, read: Parts) -> Iterator[Block]:
        """The two times equated, and solved where there is a closed form."""
        b, star = self._b, rf"{self._b}^{{\ast}}"
        shared, own = self._shared_bytes(read) != 0, read.slope != 0
        bottom = "K_1 - M_1" if own else "K_1"
        top = " - ".join([*(["M_0"] if shared else []), *(["K_0"] if self._shared_work else [])])
        top = f"-{top}" if not shared and self._shared_work else top or "0"
        yield Paragraph(("In the time that a sequence takes to compute the device could move",))
        yield Display(tuple(equation(f"K_{i}", self._covered(i)) for i in (0, 1) if i or self._shared_work))
        said = "bytes, those with index 0 once a pass." if self._shared_work else "bytes."
        yield Paragraph((said, " The two times are equal where"), goes_on=True)
        left = "K_0 + " if self._shared_work else ""
        right = [*(["M_0"] if shared else []), *([rf"M_1 \, {b}"] if own else [])]
        right += [rf"{name} \cdot (1 - {share}^{b})" for name, share, _ in self._experts(read)]
        yield Display((equation(rf"{left}K_1 \, {b}", " + ".join(right) or "0"),))
        if not read.groups:
            yield Paragraph(("that is, solved for the batch,",), goes_on=True)
            yield Display((equation(star, rf"\frac{{{top}}}{{{bottom}}}", *self._closed()),))
        elif len(read.groups) == 1:
            d, q, (h, dense) = self._d, self._q, map(self.notation.letter, ("H", "B"))
            yield Paragraph(
                words(
                    "Let {h} be what one sequence makes up, and {dense} the batch that makes up for all experts. Then"
                    " {steps}, which Lambert's {w}, the inverse of {inverse}, solves:",
                    **{"h": Math(h), "dense": Math(dense), "w": Math("W_0"), "inverse": Math("x e^x")},
                    steps=Math(rf"({b} - {dense}) \, {q}^{{-{b}}} = -{d} / {h}"),
                ),
                goes_on=True,
            )
            lambert = rf"{dense} - \frac{{1}}{{\ln {q}}} \, W_0\Bigl( \frac{{{d}}}{{{h}}} \, {q}^{dense} \ln {q} \Bigr)"
            above = f"{top} + {d}" if top != "0" else d
            yield Display((equation(h, bottom), equation(dense, rf"\frac{{{above}}}{{{h}}}"), equation(star, lambert)))
        else:
            said = "The batch stands in several exponents, so there is no closed form. The roots are found by intervals"
            yield Paragraph((f"{said}, which proves that there are no others.",))
        yield from self._feasible(bottom)

    def _closed(self) -> list[str]:
        closed = self.answer.batch_size.expr
        if closed is None or len(self.answer.cases) != 1:
            return []
        said = self.notation.of(closed)
        return [said] if width(said) <= _WIDEST else []

    def _feasible(self, bottom: str) -> Iterator[Block]:
        """When a positive solution exists, solved for the context."""
        feasible = self.answer.feasible
        if feasible is None:
            return
        exists = "The pass stays compute-bound as the batch grows" if self.answer.fixed_work else "A crossover exists"
        yield Paragraph((f"{exists} exactly where one more sequence takes longer to compute than to read:",))
        left, _, right = bottom.partition(" - ")
        relation = equation(left, f"> {right or 0}")
        if feasible.condition in (True, False):
            always, never = ("holds at every context", "holds at no context")
            if seq_len not in self._symbols:
                always, never = "always holds", "never holds"
            yield Display((relation,))
            yield Paragraph((f"which {always if feasible.condition == True else never}.",), goes_on=True)  # noqa: E712
            return
        solved = dict.fromkeys((self.notation.of(feasible.condition), self._condition()))
        lines = [rf"\Longleftrightarrow\quad {condition}" for condition in solved if width(condition) <= 2 * _WIDEST]
        yield Display((relation, *(equation("", line) for line in lines)))

    @cached_property
    def _symbols(self) -> set[object]:
        quantities = self.quantities
        return set(quantities.compute_time.free_symbols | quantities.memory_time.free_symbols)

    def _unformed(self) -> Iterator[Block]:
        found = self.answer.equation
        yield Paragraph(("The two times are no sums of a constant and a multiple of the batch. To be solved is",))
        yield Display((equation(self.notation.of(found.lhs), self.notation.of(found.rhs)),))

    def _by_case(self) -> Iterator[Block]:
        """The closed form by contexts and windows, where it changes with them."""
        cases = self.answer.cases
        if len(cases) < 2:
            return
        yield Paragraph(("Windows change the two times. By case, that is",))
        equations = []
        for case in cases:
            closed = case.form.closed
            said = self.notation.of(closed) if closed is not None else ""
            said = said if said and width(said) <= _WIDEST else r"\quad\text{as above}"
            condition = rf"\quad\text{{for }} {self.notation.of(case.condition)}"
            equations.append(Equation(rf"{self._b}^{{\ast}}", (said, condition)))
        yield Display(tuple(equations))

    # --- figures

    def _at_the_point(self, heading: str = "") -> Iterator[Block]:
        """The figures put in, with their units."""
        answer, notation = self.answer, self.notation
        solved = answer.solved
        if solved is None:
            return
        if heading:
            yield Heading(3, heading)
        given = [notation.given(s) for s in answer.point if s in self._symbols]
        if given:
            yield Paragraph(("At ", *[p for g in given for p in (g, ", ")][:-1], ","))
        read = self._read
        equations: list[Equation] = []
        covered, own = self._covered_at(1), notation.at(read.slope) if read is not None else None
        if covered is not None and own is not None:
            power, unit = _unit(min(covered, own) or max(covered, own))
            shown = [rf"{set_decimal(v / 10**power, 2)}\text{{ {unit}}}" for v in (covered, own)]
            sides = [self._covered(1), shown[0]]
            if own:
                sides.append(rf"{'>' if covered > own else '<' if covered < own else '='} {shown[1]} = M_1")
            equations.append(equation("K_1", *sides))
            if read is not None and not read.groups and covered != own:
                top = (notation.at(self._shared_bytes(read)) or 0) - (self._covered_at(0) or 0)
                over = rf"{set_decimal(top / 10**power, 2)}\text{{ {unit}}}"
                under = " - ".join(shown if own else shown[:1])
                star = rf"{self._b}^{{\ast}}"
                equations.append(equation(star, rf"\frac{{{over}}}{{{under}}}", set_decimal(top / (covered - own), 2)))
        if equations:
            yield Display(tuple(equations))
        yield from self._roots()
        yield from self._limits()
        yield from self._points()

    def _covered_at(self, i: int) -> Figure | None:
        """The figure of `_covered`."""
        quantities = self.quantities
        found = parts(quantities.compute_time)
        assert quantities.device is not None
        if found is None or found.groups:
            return None
        return self.notation.at((found.constant, found.slope)[i] * quantities.device.bandwidth)

    def _roots(self) -> Iterator[Block]:
        solved, read = self.answer.solved, self._read
        assert solved is not None
        if read is not None and not read.groups and len(solved.roots) < 2 and len(solved.balance.cells) == 1:
            return
        if not solved.roots:
            yield Paragraph(("The two times are equal at no positive batch, which is proved.",))
            return
        shown = [Math(rf"{self._b}^{{\ast}} = {set_decimal(root.value, 4)}") for root in solved.roots]
        between = [f"between {root.ceiling - 1:,} and {root.ceiling:,}" for root in solved.roots]
        said: list[Piece] = ["The two times are equal at "]
        for i, (root, where) in enumerate(zip(shown, between, strict=True)):
            said += [" and at " if i else "", root, f", {where}"]
        yield Paragraph((*said, ", and at no other positive batch, which is proved by intervals."))

    def _limits(self) -> Iterator[Block]:
        """What throughput tends to as the batch grows."""
        answer, notation = self.answer, self.notation
        ceiling, limit = answer.ceiling.value, answer.intensity_limit
        if ceiling is None or answer.status not in ("never", "leaves", "does_not_fit") or self._read is None:
            return
        said: list[Piece] = []
        ridge = notation.at(self.quantities.matmul_peak / self._bandwidth)
        if limit is not None and ridge is not None and not self._vector:
            said += words(
                "As {b} grows, the intensity tends to {limit} FLOP a byte, and the device needs {ridge}. ",
                b=Math(self._b),
                limit=Math(rf"F_1 / M_1 = {set_decimal(limit, 2)}"),
                ridge=Math(rf"{self._p} / {self._w} = {set_decimal(ridge, 2)}"),
            )
        if self.quantities.timing == "overlap":
            said += words(f"Throughput tends to {{to}} = {rate(ceiling)} {self._unit}/s", to=Math(rf"{self._w} / M_1"))
            half, best = answer.half_batch_size.value, answer.optimal_batch_size
            said += [f", half of which is reached at batch {decimal(half, 1)}"] if half is not None else []
            if best is not None:
                there = answer.at_batch(best).throughput
                share = decimal(there / ceiling * 100, 1)
                said.append(f"; the {best:,} that fit give {rate(there)}, {share} % of it")
            said.append(".")
        if said:
            yield Paragraph(tuple(said))

    @property
    def _bandwidth(self) -> Expr:
        assert self.quantities.device is not None
        return self.quantities.device.bandwidth

    def _points(self) -> Iterator[Block]:
        """The batch to run beside its neighbours."""
        answer = self.answer
        best, largest = answer.optimal_batch_size, answer.max_batch_size.value
        batches = {1, best or 1}
        if answer.status == "crosses" and best is not None and best > 1:
            batches.add(best - 1)
        if largest:
            batches.add(int(largest))
        rows = []
        for batch in sorted(batches):
            point = answer.at_batch(batch)
            times = (duration(point.compute_time), duration(point.memory_time), duration(point.latency))
            rows.append(tuple((cell,) for cell in (f"{batch:,}", *times, rate(point.throughput))))
        yield Table("rrrrr", ("batch", "compute", "memory", "a pass", f"{self._unit}/s"), (tuple(rows),))

    # --- by parameters alone

    def _by_parameters(self) -> Iterator[Block]:
        """What is left where each parameter costs two FLOPs a token and is read once."""
        quantities, run = self.quantities, self.run
        flow = quantities.table.dataflow
        if run.fidelity == "params" or not flow.has_tokens or quantities.tokens != 1:
            return
        table = self.notation.compiled.table(replace(run, fidelity="params"))
        rough = crossover(replace(quantities, table=table), self.answer.point).batch_size.value
        if rough is None:
            return
        b, each = self._b, table.bytes_a_parameter
        dense = table.active_params == table.params and each is not None
        flops, moved, params = map(self.notation.whole, "CMN")
        active = params if table.active_params == table.params else r"N_{\text{active}}"
        weights = rf"\beta_w \, {params}" if dense else "M_w"
        yield Heading(3, "By parameters alone")
        said = "For short contexts {flops} and {moved}"
        if dense:
            said += " with {beta}, and the size of the model cancels"
        pieces = {"flops": rf"{flops} \approx 2 \, {active} \, {b}", "moved": rf"{moved} \approx {weights}"}
        pieces["beta"] = rf"\beta_w = {self.notation.of(each)}" if each is not None else ""
        yield Paragraph(words(f"{said}:", **{name: Math(piece) for name, piece in pieces.items()}))
        closed = rf"\frac{{M_w \, {self._p}}}{{2 \, {active} \, {self._w}}}"
        if dense:
            closed = rf"\frac{{\beta_w \, {self._p}}}{{2 \, {self._w}}}"
        yield Display((Equation(rf"{b}^{{\ast}}", (rf"\approx {closed}", f"= {set_decimal(rough, 2)}")),))


def _unit(value: Figure) -> tuple[int, str]:
    """The power of ten in which bytes of this size are given."""
    return next((p, f"{u}B") for p, u in ((9, "G"), (6, "M"), (3, "k"), (0, "")) if value >= 10**p or not p)
