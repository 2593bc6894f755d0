"""Whether a spec is sound: parsed, shapes checked in every phase and variant, every `expect` proved or refuted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from costmodel import syntax
from costmodel.algebra import FIRST, order_of, text
from costmodel.compile import Compiled, compile_spec, phases_of, with_free
from costmodel.conditions import Outcome, evaluate
from costmodel.device import devices_of
from costmodel.elaborate.dataflow import Dataflow
from costmodel.elaborate.environment import where
from costmodel.figures import as_figure
from costmodel.measures import Measure
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

    @property
    def ok(self) -> bool:
        return not self.errors and all(expect.ok for expect in self.expects)


def check(argument: str) -> CheckResult:
    """Check a spec and, unless one is named, all of its variants."""
    try:
        compiled = compile_spec(argument)
    except SpecError as error:
        return CheckResult(argument, "", 0, (), (), error.diagnostics, (), error.unchecked)
    return check_compiled(compiled)


def check_compiled(compiled: Compiled) -> CheckResult:
    """Check what was read already."""
    report = Report()
    program = compiled.program
    named = compiled.choice.variant
    variants = [named] if named is not None else [None, *program.variants]
    choices = [Compiled(program, replace(compiled.choice, variant=v), compiled.name) for v in variants]
    operations, unused = 0, None
    expects: list[ExpectResult] = []
    try:
        _try(report, lambda: devices_of(program))
        for choice in choices:
            flows = list(_flows(choice, report))
            operations = max([operations, *(_size(flow) for flow in flows)])
            for graph in program.graphs:
                found = [set(idle(flow)) for flow in flows if flow.graph == graph]
                common = set.intersection(*found) if found else set()
                unused = common if unused is None else unused | common
        if not report.errors:
            for choice in choices:
                expects.extend(_expects(choice, report))
    except SpecError as stopped:
        return CheckResult(
            compiled.name,
            program.title,
            operations,
            tuple(program.variants),
            tuple(expects),
            stopped.diagnostics,
            (),
            stopped.unchecked,
        )
    warnings = [warning(what, kind, span) for what, kind, span in sorted(unused or (), key=lambda u: u[2].start)]
    return CheckResult(
        compiled.name,
        program.title,
        operations,
        tuple(program.variants),
        tuple(expects),
        tuple(report.errors),
        tuple(warnings) if not report.errors else (),
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


def _expects(compiled: Compiled, report: Report) -> Iterator[ExpectResult]:
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
        yield ExpectResult(expect, name, bool(outcome.holds), left, right, diagnostic)


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
    """What a refuted `expect` says, with the one dim that would make it hold."""
    condition = expect.condition
    said = " ".join(condition.left.span.text.split())
    if outcome.holds is None:
        message = f"`{said}` {condition.relation} {right} cannot be told for all values of what is free"
    else:
        message = f"`{said}` is {left}, {_NOT[condition.relation]} {right}"
    facts = [f"left: {left}", f"right: {right}"]
    a, b = outcome.left.value, outcome.right.value
    if is_number(a) and is_number(b) and a != b:
        off = as_figure(a) - as_figure(b)
        share = f", {abs(float(off / as_figure(b))) * 100:.4g} % too {'many' if off > 0 else 'few'}" if b != 0 else ""
        facts.append(f"left − right: {text(a - b)}{share}")
    if compiled.choice.variant is not None and expect not in compiled.program.variants[compiled.choice.variant].expects:
        facts.append(f'with variant "{compiled.choice.variant}"')
    help = ""
    if condition.relation in ("==", "~=") and outcome.holds is False:
        help = _remedy(compiled, expect)
    return Diagnostic("expect", message, condition.span, facts=tuple(facts), help=help)


_MOST_REMEDIES = 3


def _remedy(compiled: Compiled, expect: syntax.Expect) -> str:
    """The single dims that, changed to another whole number, make an equality hold, if they are few."""
    found: list[tuple[str, int]] = []
    given = compiled.environment.given
    for name, node in given.items():
        if not isinstance(node, syntax.Number) or name not in compiled.program.dims:
            continue
        for value in _candidates(compiled, expect, name):
            if value != node.value and _holds_with(compiled, expect, name, value):
                found.append((name, value))
    if not 0 < len(found) <= _MOST_REMEDIES:
        return ""
    return "it holds with " + ", or ".join(
        f"{name} = {value:,}, which is {text(compiled.environment.value(symbol(name)))}{where(given[name])}"
        for name, value in found
    )


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
