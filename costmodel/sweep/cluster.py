"""A Dask cluster that is there already: parts are computed on its workers and kept here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from costmodel.source import Diagnostic, SpecError
from costmodel.sweep.compute import compute_blocks
from costmodel.sweep.plan import Plan
from costmodel.sweep.store import refused

_PATIENCE = 10


@contextmanager
def connected(address: str, plan: Plan) -> Iterator[Callable[[int], Any]]:
    """What computes a part on the cluster, and again on another worker where one is lost.

    Raises:
        SpecError: Dask is not installed, or the cluster does not answer.
    """
    try:
        from distributed import Client
    except ModuleNotFoundError:
        raise refused("--engine dask://… needs Dask, which is not installed", "pip install 'costmodel[dask]'") from None
    try:
        client = Client(f"tcp://{address}", timeout=_PATIENCE, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        why = "does not answer" if isinstance(error, TimeoutError | OSError) else f"is no address: {error}"
        raise refused(f"the cluster at {address} {why} ({_PATIENCE} s were waited)") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=_PATIENCE)
        except TimeoutError:
            raise refused(f"the cluster at {address} has no worker") from None
        # nothing is left on a worker that another would miss
        shared = replace(plan, cases=())

        def remote(part: int) -> Any:
            future = client.submit(compute_blocks, shared, list(plan.blocks(part)), pure=False, retries=3)
            try:
                return future.result()
            except SpecError:
                raise
            except Exception as error:
                message = f"part {part:,} failed on the cluster: {type(error).__name__}: {error}"
                raise SpecError(Diagnostic("cluster", message)) from None

        yield remote
