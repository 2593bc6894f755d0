"""A sweep that is killed at any moment goes on where it was, to the same bytes; what fails keeps what is done."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import costmodel as cm
from costmodel.cli.main import run as run_command
from costmodel.source import SpecError
from costmodel.sweep import compute, run, store
from costmodel.sweep.plan import Pick, Plan, Question, plan
from costmodel.sweep.ranges import axis
from costmodel.sweep.run import write

from .conftest import Done

COMMAND = ("llama-3.1:8b", "--device", "h100-sxm", "--seq-len", "1:3000", "--of", "latency", "--chunk", "3000")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    """What a sweep gives that nothing stops."""

    def content(ending: str) -> bytes:
        path = tmp_path_factory.mktemp("whole") / f"a.{ending}"
        write(small(rows=12), path)
        return path.read_bytes()

    return content


def small(rows: int = 20, **changed: Any) -> Plan:
    question = Question(
        (cm.load("llama-3.1:8b").compiled,),
        ("h100-sxm",),
        axes=(axis("batch_size", f"1:{rows}", "--batch-size"), axis("seq_len", "1:50", "--seq-len")),
        of=("latency",),
        chunk=200,
    )
    return plan(replace(question, **changed))


def _write_small(path: Path, **options: Any) -> None:
    write(small(), path, **options)


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_killed_before_each_change_of_the_disk(tmp_path: Path, ending: str, whole: Callable[[str], bytes]) -> None:
    """Every state that a kill can leave: the sweep goes on, gives the same bytes, and leaves nothing else."""
    command = ["sweep", "llama-3.1:8b", "--device", "h100-sxm", "--batch-size", "1:12", "--seq-len", "1:50"]
    expected = whole(ending)
    for count in range(60):
        folder = tmp_path / str(count)
        folder.mkdir()
        path = folder / f"a.{ending}"
        words = [*command, "--of", "latency", "--chunk", "200", "-o", str(path)]
        status = _forked(count, words)
        assert status in (0, -signal.SIGKILL)
        if status == 0:
            break
        # its own name appears only when all of it is there
        assert not path.exists() or path.read_bytes() == expected
        assert _forked(10**6, [*words, "--resume"]) == 0
        assert path.read_bytes() == expected
        assert [p.name for p in folder.iterdir()] == [path.name]
    assert status == 0
    assert count > 15


def _forked(left: int, words: list[str]) -> int:
    """Run a command line in a fork of this process, killed before its so-manieth change of the disk; its status.

    A fork has everything imported; as many processes would take minutes.
    """
    child = os.fork()
    if child == 0:
        status = 99
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            for name in ("replace", "link", "unlink", "rmdir", "mkdir", "fsync"):
                setattr(os, name, _killing(getattr(os, name)))
            _left[0] = left
            status = run_command(words)
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


_left = [0]


def _killing(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, before which the process is killed when its time is up: no handler can stop that."""

    def call(*arguments: Any, **options: Any) -> Any:
        _left[0] -= 1
        if _left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)

    return call


def test_killed_at_any_time_and_again(tmp_path: Path) -> None:
    """A real process, killed by the clock again and again until it is done."""
    path = tmp_path / "a.parquet"
    words = [sys.executable, "-m", "costmodel", "sweep", *COMMAND, "--batch-size", "1:400", "-o", str(path)]
    chance = random.Random(5)
    kills = 0
    for turn in range(12):
        process = subprocess.Popen([*words, "--resume"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if turn < 3:
            _wait_for_parts(process, tmp_path, 1 + kills * 60)
            time.sleep(chance.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
        status = process.wait()
        if status == 0:
            break
        kills += 1
        assert not path.exists()
    assert kills > 1
    other = tmp_path / "b.parquet"
    subprocess.run([*words[:-1], str(other)], check=True, stdout=subprocess.DEVNULL)
    assert path.read_bytes() == other.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.parquet", "b.parquet"]


def _wait_for_parts(process: subprocess.Popen[bytes], folder: Path, count: int) -> None:
    for _ in range(3000):
        if process.poll() is not None or len(list(folder.glob("*.parts/part-*"))) >= count:
            return
        time.sleep(0.01)


def test_what_is_done_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, done = tmp_path / "a.parquet", []

    def failing(found: Plan, part: int) -> Any:
        if part == 3:
            raise MemoryError
        done.append(part)
        return compute.compute(found, part)

    monkeypatch.setattr(run, "compute", failing)
    with pytest.raises(SpecError) as error:
        _write_small(path)
    assert "there is not enough memory" in str(error.value)
    assert "parts are done and kept in" in error.value.diagnostics[0].facts[-1]
    assert not path.exists()
    with pytest.raises(SpecError, match="a sweep to there was not finished"):
        _write_small(path)
    before = set(done)
    done.clear()

    def noted(found: Plan, part: int) -> Any:
        done.append(part)
        return compute.compute(found, part)

    monkeypatch.setattr(run, "compute", noted)
    written = write(small(), path, resume=True)
    assert written is not None
    assert written.resumed == len(before)
    assert set(done) == {0, 1, 2, 3, 4} - before


def test_parts_of_another_sweep_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.parquet"
    with monkeypatch.context() as patch:
        patch.setattr(run, "compute", _no_room)
        with pytest.raises(SpecError, match="no space left on device"):
            _write_small(path)
    with pytest.raises(SpecError, match="parts of another sweep"):
        write(small(rows=21), path, resume=True)
    written = write(small(rows=21), path, overwrite=True)
    assert written is not None
    assert written.rows == 21 * 50


def _no_room(*_: Any) -> Any:
    raise OSError(28, "No space left on device")


def test_a_part_that_is_damaged_is_computed_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Callable[[str], bytes]
) -> None:
    path = tmp_path / "a.parquet"
    with monkeypatch.context() as patch:
        patch.setattr(store.Store, "finish", _no_room)
        with pytest.raises(SpecError, match="no space left on device"):
            write(small(rows=12), path)
    part = tmp_path / "a.parquet.parts" / "part-00000002.parquet"
    part.write_bytes(part.read_bytes()[:100])
    written = write(small(rows=12), path, resume=True)
    assert written is not None
    assert written.resumed == 2
    assert path.read_bytes() == whole("parquet")


def test_a_full_disk_keeps_what_is_done(tmp_path: Path) -> None:
    """A limit on the size of files stands in for a full disk: the file as a whole does not fit, its parts do."""
    path = tmp_path / "a.csv"
    words = [sys.executable, "-m", "costmodel", "sweep", *COMMAND, "--batch-size", "1:20", "-o", str(path)]
    limited = ["bash", "-c", 'ulimit -f 400; trap "" XFSZ; exec "$@"', "bash", *words]
    done = subprocess.run(limited, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "20 of 20 parts are done and kept in" in " ".join(done.stderr.split())
    assert not path.exists()
    subprocess.run([*words, "--resume"], check=True, stdout=subprocess.DEVNULL)
    assert len(path.read_text().splitlines()) == 60_001


def test_two_processes_do_not_work_on_one_file(tmp_path: Path) -> None:
    found = small()
    first = store.Store(tmp_path / "a.csv", found)
    with first.opened(), pytest.raises(SpecError, match="another process is at work on it"):
        write(found, tmp_path / "a.csv", resume=True)


def test_a_file_made_meanwhile_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv"

    def slow(found: Plan, part: int) -> Any:
        path.write_text("mine")
        return compute.compute(found, part)

    monkeypatch.setattr(run, "compute", slow)
    with pytest.raises(SpecError, match="made since this sweep began"):
        _write_small(path)
    assert path.read_text() == "mine"


def test_rows_lie_in_groups_of_even_size(tmp_path: Path) -> None:
    """However few rows of a part are kept: so that readers can skip, and need not read a thousand headers."""
    path = tmp_path / "a.parquet"
    write(small(rows=200, where=("latency <= 4.81 ms",)), path)
    found = pq.read_metadata(path)
    sizes = [found.row_group(i).num_rows for i in range(found.num_row_groups)]
    assert len(sizes) > 3
    assert set(sizes[:-1]) == {200}


def test_the_best_of_parts_is_the_best_of_all(tmp_path: Path) -> None:
    best = Pick((("latency", True),), 7)
    write(small(pick=best), tmp_path / "a.parquet")
    write(small(pick=best, chunk=10_000), tmp_path / "b.parquet")
    first, second = (pq.read_table(tmp_path / name).to_pylist() for name in ("a.parquet", "b.parquet"))
    assert first == second
    assert len(first) == 7


def test_progress_is_shown_on_a_terminal_only(cli: Callable[..., Done], tmp_path: Path) -> None:
    words = ("sweep", *COMMAND[:-2], "--batch-size", "1:3", "-o")
    assert "points/s" not in cli(*words, str(tmp_path / "a.csv")).err
    assert "computed" in cli(*words, str(tmp_path / "b.csv"), width=120).err
