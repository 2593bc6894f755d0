"""`check`: what holds, what fails, what is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.text import Text

from costmodel import syntax
from costmodel.against import Agreement, Group
from costmodel.check import CheckResult, ExpectResult
from costmodel.render.diagnostics import as_json, render, visible
from costmodel.render.page import Page


def checks_json(results: Iterable[CheckResult]) -> list[dict[str, Any]]:
    return [
        {
            "spec": result.spec,
            "ok": result.ok,
            "errors": as_json(result.errors),
            "warnings": as_json(result.warnings),
            "expects": [
                {
                    "line": e.expect.span.line,
                    "variant": e.variant,
                    "text": _said(e.expect),
                    "ok": e.ok,
                    "left": e.left,
                    "right": e.right,
                }
                for e in result.expects
            ],
            "against": _against_json(result.against),
        }
        for result in results
    ]


def _against_json(found: Agreement | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "file": found.checkpoint.name,
        "unit": found.unit,
        "spec": found.ours,
        "checkpoint": found.theirs,
        "same_shapes": None if found.checkpoint.tensors is None else not found.missing and not found.extra,
        "missing": _groups_json(found.missing),
        "extra": _groups_json(found.extra),
    }


def _groups_json(groups: Iterable[Group]) -> list[dict[str, Any]]:
    return [{"shape": list(group.shape), "count": group.count, "names": list(group.names)} for group in groups]


def checks_page(results: list[CheckResult], width: int) -> Page:
    """A line a spec, the expects of those that hold beneath it."""
    page = Page(width)
    page.text("")
    longest = max(len(r.spec) for r in results)
    for result in results:
        word, style = ("ok", "green") if result.ok else ("FAILED", "red") if not result.errors else ("ERROR", "red")
        page.table(
            [(word.ljust(6), result.spec.ljust(longest), _summary(result))], "lll", indent=0, expand=2, styles=[style]
        )
        rows = [*_held(result), *_against(result)]
        if rows and len(results) == 1:
            page.space()
            page.table(rows, "ll", indent=6, expand=1)
    if len(results) > 1:
        good = sum(result.ok for result in results)
        page.space()
        bad = len(results) - good
        page.text(f"{len(results)} specs checked: {good} ok" + (f", {bad} failed" if bad else ""))
    return page


def _summary(result: CheckResult) -> str:
    if result.errors:
        return f"{len(result.errors)} error{'s' if len(result.errors) != 1 else ''}"
    words = [_held_or_failed(result)]
    if result.variants:
        words.append(f"{len(result.variants)} variant{'s' if len(result.variants) != 1 else ''}")
    count = result.operations
    words.append(f"{count} operation{'s' if count != 1 else ''}" if result.has_graph else "no graph")
    return ", ".join(words)


def _held_or_failed(result: CheckResult) -> str:
    stated = {id(e.expect) for e in result.expects}
    failed = {id(e.expect) for e in result.expects if not e.ok}
    count = f"{len(stated)} expect{'s' if len(stated) != 1 else ''}"
    if not failed:
        return f"{count} hold{'s' if len(stated) == 1 else ''}"
    return f"{len(failed)} of {count} fail{'s' if len(failed) == 1 else ''}"


def messages(result: CheckResult) -> str:
    """What is wrong with a spec, what of it fails, and what is to be warned of; empty where nothing is."""
    failed = [e.diagnostic for e in result.expects if e.diagnostic is not None]
    against = [] if result.against is None or result.against.ok else [result.against.diagnostic(visible(result.spec))]
    parts = [render([*result.errors, *failed, *against, *result.warnings], result.unchecked, counted=not failed)]
    if failed:
        errors = len(result.errors)
        beside = f"{errors} error{'s' if errors != 1 else ''}, and " if errors else ""
        others = " of those without an error" if errors else ""
        parts.append(f"{visible(result.spec)}: {beside}{_held_or_failed(result)}{others}")
    return "\n\n".join(filter(None, parts))


def _held(result: CheckResult) -> Iterable[tuple[str, Text]]:
    """The facts that hold: those of a variant under its name, those of the whole spec once, under `all`."""
    seen: dict[int, list[ExpectResult]] = {}
    for found in result.expects:
        seen.setdefault(id(found.expect), []).append(found)
    common: list[tuple[str, Text]] = []
    own: list[tuple[str, Text]] = []
    for group in seen.values():
        first = group[0]
        if not all(e.ok for e in group):
            continue
        general = len(group) > 1 or first.variant is None
        said = Text(_said(first.expect))
        if first.expect.source:
            source = visible(first.expect.source)
            said.append(("  " if len(said) + len(source) < _ROOM else "\n    ") + source, style="dim")
        (common if general else own).append(("all" if general else visible(first.variant or ""), said))
    return [*own, *common]


_ROOM = 80


def _against(result: CheckResult) -> Iterable[tuple[str, Text]]:
    found = result.against
    if found is None or not found.ok:
        return
    checkpoint = found.checkpoint
    said = f"{visible(checkpoint.name)}: {found.theirs:,} {found.unit}"
    if checkpoint.tensors is None:
        said += ", as its index says; the files with the tensors are not here"
    else:
        said += f" in {len(checkpoint.tensors):,} tensors, by shape the same"
    if checkpoint.left_out:
        said += f"; {len(checkpoint.left_out):,} more are no parameters: buffers, scales"
    yield "against", Text(said)


def _said(expect: syntax.Expect) -> str:
    return visible(" ".join(expect.condition.span.text.split()))
