"""A sweep run to a file: parts computed by threads of this process or by a Dask cluster, then put together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from costmodel.source import SpecError
from costmodel.sweep.compute import compute
from costmodel.sweep.plan import Plan
from costmodel.sweep.store import Store, refused

Step = Callable[[str, int, int], None]
"""Told the stage, what was done just now, and how much there is."""


def _nothing(*_: object) -> None:
    return None


@dataclass(frozen=True)
class Written:
    """What a sweep has given."""

    path: Path
    points: int
    rows: int
    seconds: float
    resumed: int
    odd: tuple[str, ...]


@dataclass(frozen=True)
class Estimate:
    """What a sweep would take: from its first part, computed and held against the number of points."""

    points: int
    seconds: float
    bytes: float


def estimate(plan: Plan) -> Estimate:
    """How long a sweep would take, and how large its file would be."""
    start = perf_counter()
    table = compute(plan, 0)
    took = perf_counter() - start
    points = min(plan.points, plan.chunk if plan.points_a_case > plan.chunk else plan.points)
    share = plan.points / max(1, points)
    rows = table.num_rows if plan.pick is not None else table.num_rows * share
    return Estimate(plan.points, 2 * took * share, 12.0 * rows * len(plan.quantities))


def write(
    plan: Plan,
    target: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    engine: str = "local",
    step: Step | None = None,
) -> Written | None:
    """Run a sweep to a file; None where `resume` finds it whole.

    Raises:
        SpecError: the file cannot be written, a part failed, or the cluster does not answer. Parts that are done stay.
    """
    told = step or _nothing
    store = Store(target, plan, overwrite)
    start = perf_counter()
    if not store.check(resume):
        return None
    with store.opened(), _placed(store):
        missing = store.missing()
        resumed = plan.parts - len(missing)
        told("computed", resumed, plan.parts)
        with _engine(engine, plan) as submit:
            _compute_all(store, missing, submit, lambda done: told("computed", done, plan.parts))
        rows, odd = store.finish(lambda done: told("written", done, plan.parts))
    return Written(target, plan.points, rows, perf_counter() - start, resumed, tuple(odd.told()))


Submit = Callable[[Store, int], "Future[Any]"]


def _compute_all(store: Store, missing: list[int], submit: Submit, done: Callable[[int], None]) -> None:
    """All parts, some at once; after a failure those under way are finished and kept, and no more begun."""
    waiting = iter(missing)
    running: dict[Any, int] = {}
    failed: BaseException | None = None
    most = 2 * _workers()
    while True:
        while failed is None and len(running) < most and (part := next(waiting, None)) is not None:
            running[submit(store, part)] = part
        if not running:
            break
        finished, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in finished:
            running.pop(future)
            error = future.exception()
            if error is None:
                done(1)
            elif failed is None:
                failed = error
    if failed is not None:
        raise failed


def _workers() -> int:
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


@contextmanager
def _engine(name: str, plan: Plan) -> Iterator[Submit]:
    """What computes a part and keeps it: threads of this process, or `dask://HOST:PORT`.

    Raises:
        SpecError: there is no such engine, or it does not answer.
    """
    if name.startswith("dask://"):
        from costmodel.sweep.cluster import connected

        with connected(name.removeprefix("dask://"), plan) as remote, ThreadPoolExecutor(2 * _workers()) as pool:
            yield lambda store, part: pool.submit(lambda: store.keep(part, remote(part)))
        return
    if name != "local":
        raise refused(f"there is no engine `{name}`", "--engine local, or --engine dask://HOST:PORT")
    with ThreadPoolExecutor(_workers()) as pool:
        yield lambda store, part: pool.submit(lambda: store.keep(part, compute(plan, part)))


@contextmanager
def _placed(store: Store) -> Iterator[None]:
    """What goes wrong within says what is kept of the sweep, and how to go on."""
    try:
        yield
    except (SpecError, OSError, MemoryError) as error:
        done = store.plan.parts - len(store.missing())
        kept = f"{done:,} of {store.plan.parts:,} parts are done and kept in {store.folder}; --resume goes on"
        if isinstance(error, SpecError):
            raise SpecError(replace(d, facts=(*d.facts, kept)) for d in error.diagnostics) from None
        if isinstance(error, MemoryError):
            raise refused("there is not enough memory for the parts under way", "--chunk 100000", (kept,)) from None
        why = (error.strerror or str(error)).lower()
        raise refused(f"-o {store.target}: {why}", facts=(kept,)) from None
