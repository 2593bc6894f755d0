"""Whether a spec is sound: parsed, shapes checked in every phase and variant, every `expect` proved or refuted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from costmodel import syntax
from costmodel.against import Agreement, hold_against
from costmodel.algebra import FIRST, order_of, text
from costmodel.checkpoint import Checkpoint
from costmodel.compile import Compiled, compile_spec, phases_of, with_free
from costmodel.conditions import Outcome, evaluate
from costmodel.device import devices_of
from costmodel.elaborate.dataflow import Dataflow
from costmodel.figures import as_figure
from costmodel.measures import Measure
from costmodel.names import prose
from costmodel.ops.custom import Unused
from costmodel.solve.budget import Unsolvable
from costmodel.solve.piecewise import fold
from costmodel.source import Diagnostic, Report, SpecError
from costmodel.symbols import is_number, put_in, rational, symbol
from costmodel.unused import idle, warning


@dataclass(frozen=True)
class ExpectResult:
    """A checked fact: under which variant, both sides, and whether it holds."""

    expect: syntax.Expect
    variant: str | None
    ok: bool
    left: str
    right: str
    diagnostic: Diagnostic | None = None


@dataclass(frozen=True)
class CheckResult:
    """What `check` finds of one spec. `errors` and `warnings` are faults of the spec itself."""

    spec: str
    title: str
    operations: int
    variants: tuple[str, ...]
    expects: tuple[ExpectResult, ...]
    errors: tuple[Diagnostic, ...]
    warnings: tuple[Diagnostic, ...]
    unchecked: str = ""
    has_graph: bool = False
    against: Agreement | None = None

    @property
    def ok(self) -> bool:
        agrees = self.against is None or self.against.ok
        return not self.errors and agrees and all(expect.ok for expect in self.expects)


def check(argument: str, checkpoint: Checkpoint | None = None) -> CheckResult:
    """Check a spec and, unless one is named, all of its variants; its weights against a checkpoint, if there is one."""
    try:
        compiled = compile_spec(argument)
    except SpecError as error:
        return CheckResult(argument, "", 0, (), (), error.diagnostics, (), error.unchecked)
    return check_compiled(compiled, checkpoint)


def check_compiled(compiled: Compiled, checkpoint: Checkpoint | None = None) -> CheckResult:
    """Check what was read already."""
    report = Report()
    program = compiled.program
    named = compiled.choice.variant
    variants = [named] if named is not None else [None, *program.variants]
    choices = [Compiled(program, replace(compiled.choice, variant=v), compiled.name) for v in variants]
    operations, unused = 0, None
    expects: list[_Checked] = []
    unchecked = ""
    try:
        _try(report, lambda: devices_of(program))
        for choice in choices:
            flows = list(_flows(choice, report))
            operations = max([operations, *(_size(flow) for flow in flows)])
            for graph in program.graphs:
                found = [set(idle(flow)) for flow in flows if flow.graph == graph]
                common = set.intersection(*found) if found else set()
                unused = common if unused is None else unused | common
        if report.errors:
            stated = len(program.expects) + sum(len(v.expects) for v in program.variants.values())
            unchecked = f"not checked: {stated} expect{'s' if stated != 1 else ''}" if stated else ""
        else:
            for choice in choices:
                expects.extend(_expects(choice, report))
            _add_remedies(expects)
    except SpecError as stopped:
        report = Report(list(stopped.diagnostics))
        unchecked, unused = stopped.unchecked, None
    for what, kind, span in sorted(unused or (), key=lambda u: u[2].start):
        report.add(warning(what, kind, span))
    against = None
    if checkpoint is not None and not report.errors:
        try:
            against = hold_against(compiled, checkpoint)
        except SpecError as error:
            for diagnostic in error.diagnostics:
                report.add(diagnostic)
    errors = tuple(report.errors)
    return CheckResult(
        compiled.name,
        program.title,
        operations,
        tuple(program.variants),
        tuple(checked.result for checked in expects),
        errors,
        tuple(report.warnings) if not errors else (),
        unchecked,
        bool(program.graphs),
        against,
    )


def _try(report: Report, action: Callable[[], object]) -> None:
    try:
        action()
    except SpecError as error:
        for diagnostic in error.diagnostics:
            report.add(diagnostic)


def _flows(compiled: Compiled, report: Report) -> Iterator[Dataflow]:
    """Every graph of a spec in every phase; of a spec without graphs the dims are looked at all the same."""
    if not compiled.program.graphs:
        _try(report, lambda: compiled.environment)
    for graph in compiled.program.graphs:
        for phase in phases_of(compiled.program, graph):
            try:
                flow = compiled.expand(phase)
                compiled.weights(flow)
                yield flow
            except SpecError as error:
                for diagnostic in error.diagnostics:
                    report.add(diagnostic)


def _size(flow: Dataflow) -> int:
    return sum(1 for node in flow.nodes if not isinstance(node.operation, Unused))


@dataclass(frozen=True)
class _Remedy:
    """A single dim that, changed to another whole number, makes an equality hold."""

    dim: str
    value: int
    says: str
    """What gives it its value now, and which: `line 5 says 32`."""


@dataclass
class _Checked:
    """A checked fact, with its condition's outcome where it fails."""

    result: ExpectResult
    compiled: Compiled
    outcome: Outcome


def _expects(compiled: Compiled, report: Report) -> Iterator[_Checked]:
    program, name = compiled.program, compiled.choice.variant
    stated: Iterable[syntax.Expect] = program.expects
    if name is not None:
        stated = (*program.expects, *program.variants[name].expects)
    for expect in stated:
        try:
            outcome = evaluate(compiled, expect.condition)
        except SpecError as error:
            for found in error.diagnostics:
                report.add(found)
            continue
        left, right = (_shown(side, compiled) for side in (outcome.left, outcome.right))
        diagnostic = None if outcome.holds else _failure(compiled, expect, outcome, left, right)
        result = ExpectResult(expect, name, bool(outcome.holds), left, right, diagnostic)
        yield _Checked(result, compiled, outcome)


def _shown(side: Measure, compiled: Compiled) -> str:
    return text(side.value, order_of([*FIRST, *compiled.program.dims]))


_NOT = {
    "==": "not",
    "!=": "and should not be",
    "<": "not less than",
    "<=": "more than",
    ">": "not more than",
    ">=": "less than",
    "~=": "not about",
}


def _failure(compiled: Compiled, expect: syntax.Expect, outcome: Outcome, left: str, right: str) -> Diagnostic:
    """What a refuted `expect` says."""
    condition = expect.condition
    said = " ".join(condition.left.span.text.split())
    facts: list[str] = []
    a, b = outcome.left.value, outcome.right.value
    if outcome.holds is None:
        free = sorted(s.name for s in (a - b).free_symbols)
        whole = " ".join(condition.span.text.split())
        message = f"`{whole}` is open: {prose(free)} {'has' if len(free) == 1 else 'have'} no value"
        facts += [f"left: {left}", f"right: {right}"]
    elif said == left:
        message = f"`{said}` has no value, and is {_NOT[condition.relation]} always {right}"
    else:
        message = f"`{said}` is {left}, {_NOT[condition.relation]} {right}"
    if is_number(a) and is_number(b) and a != b:
        off = as_figure(a) - as_figure(b)
        share = f", {abs(float(off / as_figure(b))) * 100:.4g} % too {'many' if off > 0 else 'few'}" if b != 0 else ""
        facts.append(f"off by {text(abs(a - b))}{share}")
    variant = compiled.choice.variant
    if variant is not None and expect not in compiled.program.variants[variant].expects:
        facts.append(f'with variant "{variant}"')
    return Diagnostic("expect", message, condition.span, facts=tuple(facts))


_MOST_REMEDIES = 3
_MOST_EXPLAINED = 10


def _add_remedies(checked: list[_Checked]) -> None:
    """Say of equalities that fail which single dim would make them hold; one that mends all goes before others."""
    failed = [c for c in checked if c.outcome.holds is False and c.result.expect.condition.relation in ("==", "~=")]
    found = [(c, _remedies(c.compiled, c.result.expect)) for c in failed[:_MOST_EXPLAINED]]
    common = set.intersection(*(set(remedies) for _, remedies in found)) if len(found) == len(failed) > 1 else set()
    for c, remedies in found:
        diagnostic = c.result.diagnostic
        assert diagnostic is not None
        remedies = list(common) if len(common) == 1 else remedies
        if len(remedies) == 1:
            (r,) = remedies
            diagnostic = replace(diagnostic, help=f"it holds with {r.dim} = {r.value:,}; {r.says}")
        elif 1 < len(remedies) <= _MOST_REMEDIES:
            words = [f"{r.dim} = {r.value:,} ({r.says})" for r in remedies]
            diagnostic = replace(diagnostic, facts=(*diagnostic.facts, f"it would hold with {prose(words, 'or')}"))
        c.result = replace(c.result, diagnostic=diagnostic)


def _remedies(compiled: Compiled, expect: syntax.Expect) -> list[_Remedy]:
    """The single dims that, changed to another whole number, make an equality hold."""
    found = []
    for name, node in compiled.environment.given.items():
        if not isinstance(node, syntax.Number) or name not in compiled.program.dims:
            continue
        for value in _candidates(compiled, expect, name):
            if value != node.value and _holds_with(compiled, expect, name, value):
                source = node.span.source
                here = source is compiled.program.source
                place = f"line {node.span.line}" if here else f"{source.name}:{node.span.line}"
                now = text(compiled.environment.value(symbol(name)))
                found.append(_Remedy(name, value, f"{place} says {now}"))
    return found


def _candidates(compiled: Compiled, expect: syntax.Expect, name: str) -> list[int]:
    """Whole numbers at which both sides agree, this dim being free."""
    try:
        outcome = evaluate(with_free(compiled, [name]), expect.condition)
    except SpecError:
        return []
    difference = outcome.left.value - outcome.right.value
    others = difference.free_symbols - {symbol(name)}
    if symbol(name) not in difference.free_symbols:
        return []
    try:
        function = fold(put_in(difference, dict.fromkeys(others, rational(1009))), symbol(name), {})
    except Unsolvable:
        return []
    values = set()
    for root in function.roots:
        near = round(root.value)
        values |= {near} if near >= 1 and function.sign(Fraction(near)) == 0 else set()
    return sorted(values)


def _holds_with(compiled: Compiled, expect: syntax.Expect, name: str, value: int) -> bool:
    node = compiled.program.dims[name]
    number = syntax.Number(Fraction(value), str(value), node.span)
    try:
        return evaluate(compiled.changed({name: number}), expect.condition).holds is True
    except SpecError:
        return False
