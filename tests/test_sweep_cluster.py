"""A sweep on a Dask cluster: the same bytes as here, also when workers are killed half-way."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import LocalCluster

import costmodel as cm
from costmodel.source import SpecError
from costmodel.sweep import cluster as clusters
from costmodel.sweep.plan import Plan, Question, plan
from costmodel.sweep.ranges import axis
from costmodel.sweep.run import write

from .conftest import Done


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as found:
        yield found


def grid(batches: int, chunk: int) -> Plan:
    axes = (axis("batch_size", f"1:{batches}", "--batch-size"), axis("seq_len", "1:1000", "--seq-len"))
    model = cm.load("gpt-oss:20b").compiled
    where = ("memory <= device.memory",)
    return plan(Question((model,), ("h100-sxm", "h200-sxm"), axes=axes, of=("latency",), where=where, chunk=chunk))


def test_the_same_bytes_though_workers_are_killed(cluster: Any, tmp_path: Path) -> None:
    found = grid(60, 1000)
    here, there = tmp_path / "here.parquet", tmp_path / "there.parquet"
    write(found, here)
    killed = []

    def kill() -> None:
        for count in (3, 40):
            while len(list(tmp_path.glob("there.parquet.parts/part-*"))) < count:
                time.sleep(0.005)
            worker = next(iter(cluster.workers.values()))
            killed.append(worker.process.pid)
            os.kill(worker.process.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    write(found, there, engine=f"dask://{cluster.scheduler_address.removeprefix('tcp://')}")
    killer.join(10)
    assert len(killed) == 2
    assert here.read_bytes() == there.read_bytes()


def test_a_cluster_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, cli: Callable[..., Done], tmp_path: Path
) -> None:
    monkeypatch.setattr(clusters, "_PATIENCE", 1)
    words = ("--batch-size", "1", "--seq-len", "8", "-o", str(tmp_path / "a.csv"))
    for address in ("127.0.0.1:1", "localhost"):
        done = cli("sweep", "gpt-2", *words, "--engine", f"dask://{address}", "--overwrite")
        assert done.status == 2
        assert "the cluster at" in done.err


def test_a_cluster_without_workers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(clusters, "_PATIENCE", 1)
    with LocalCluster(n_workers=0, processes=True, dashboard_address=None) as empty:
        address = empty.scheduler_address.removeprefix("tcp://")
        with pytest.raises(SpecError, match="has no worker"):
            write(grid(2, 1000), tmp_path / "a.csv", engine=f"dask://{address}")
