"""Sweeps on disk: parts beside the file until all are there, then the file whole under its name, and nothing else.

`FILE.parts` holds `plan.json`, which says what the parts are of, and a Parquet file a part, each written whole or not
at all. So a sweep that was killed at any moment goes on where it was, to the same bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from costmodel.files import write_whole
from costmodel.source import Diagnostic, SpecError
from costmodel.sweep.compute import Odd, best, schema_of
from costmodel.sweep.plan import Plan

with suppress(ImportError):  # Windows has none
    import fcntl

ENDINGS = (".parquet", ".csv")
# what a spreadsheet takes for a formula
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def refused(message: str, help: str = "", facts: tuple[str, ...] = ()) -> SpecError:
    return SpecError(Diagnostic("argument", message, facts=facts, help=help))


class Store:
    """Where a sweep is written, and the folder of its parts."""

    def __init__(self, target: Path, plan: Plan, overwrite: bool = False) -> None:
        self.target, self.plan, self.overwrite = target, plan, overwrite
        self.folder = target.with_name(target.name + ".parts")
        self.whole = self.folder / f"whole{target.suffix}"
        self.about = self.folder / "plan.json"

    # --- before

    def check(self, resume: bool) -> bool:
        """Whether there is work to do: False where the file is whole already and only that was asked.

        Raises:
            SpecError: the file cannot be written there, is there already, or parts of another sweep are.
        """
        target = self.target
        if target.suffix not in ENDINGS:
            raise refused(f"-o {target}: a sweep is written as .parquet or .csv", f"-o {target}.parquet")
        if target.is_dir():
            raise refused(f"-o {target}: this is a folder, not a file")
        if not target.parent.is_dir():
            raise refused(f"-o {target}: there is no folder `{target.parent}`")
        if self.whole.exists() and target.exists() and self.whole.samefile(target):
            # it was whole, and killed before it had tidied up
            self._remove()
            if resume:
                return False
        if resume and target.exists() and not self.about.exists():
            with suppress(OSError):
                self.folder.rmdir()
            return False
        if target.exists() and not self.overwrite:
            raise refused(f"-o {target}: there is such a file already", "--overwrite writes over it")
        if self.about.exists() and not resume:
            if not self.overwrite:
                facts = (f"{self._done():,} of {self.plan.parts:,} parts are in {self.folder}",)
                message = f"-o {target}: a sweep to there was not finished"
                raise refused(message, "--resume goes on with it, --overwrite starts anew", facts)
            self._remove()
        if self.about.exists() and self._digest() != self.plan.digest:
            message = f"{self.folder} holds parts of another sweep: another question, spec, or version"
            raise refused(message, "--overwrite, without --resume, starts anew")
        return True

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Hold the folder of parts, so that no other process works on it.

        Raises:
            SpecError: another does.
        """
        try:
            self.folder.mkdir(exist_ok=True)
            if not self.about.exists():
                told = {"digest": self.plan.digest, "parts": self.plan.parts, **self.plan.about}
                write_whole(self.about, json.dumps(told, indent=1).encode(), overwrite=True)
        except OSError as error:
            raise refused(f"-o {self.target}: {_why(error)}") from None
        with self.about.open("rb") as held:
            if not _locked(held):
                raise refused(f"-o {self.target}: another process is at work on it")
            for left in self.folder.glob(".*.part"):
                left.unlink(missing_ok=True)
            yield

    def _digest(self) -> str | None:
        try:
            found = json.loads(self.about.read_bytes())
            return str(found["digest"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _done(self) -> int:
        return sum(1 for _ in self.folder.glob("part-*.parquet"))

    # --- parts

    def path(self, part: int) -> Path:
        return self.folder / f"part-{part:08}.parquet"

    def missing(self) -> list[int]:
        """The parts that are still to be computed; those that cannot be read are."""
        there = {path.name for path in self.folder.glob("part-*.parquet")}
        found = []
        for part in range(self.plan.parts):
            path = self.path(part)
            if path.name not in there:
                found.append(part)
                continue
            try:
                pq.read_metadata(path)
            except (OSError, pa.ArrowException):
                path.unlink(missing_ok=True)
                found.append(part)
        return found

    def keep(self, part: int, table: Any) -> int:
        """Write a part, whole or not at all; how many rows it has."""
        path = self.path(part)
        temporary = path.with_name(f".{path.name}.part")
        try:
            pq.write_table(table, temporary, **self.layout)
            _synced(temporary)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return int(table.num_rows)

    @property
    def layout(self) -> dict[str, Any]:
        """How Parquet is written: names and axes by dictionary, figures as they are, with ranges to skip by."""
        plain = [c.name for c in self.plan.columns if c.name not in {q.name for q in self.plan.quantities}]
        return {"use_dictionary": plain, "compression": "zstd", "compression_level": 1, "write_statistics": True}

    # --- the whole

    def finish(self, step: Callable[[int], None]) -> tuple[int, Odd]:
        """Put the parts together under the file's name, and remove them; rows, and what was no number.

        Raises:
            OSError: there is no room.
        """
        rows, odd = self._put_together(step)
        _synced(self.whole)
        if self.overwrite:
            beside = self.folder / f"link{self.target.suffix}"
            beside.unlink(missing_ok=True)
            os.link(self.whole, beside)
            os.replace(beside, self.target)
        else:
            try:
                os.link(self.whole, self.target)
            except FileExistsError:
                message = f"-o {self.target}: there is such a file already, made since this sweep began"
                raise refused(message, f"the result is {self.whole}") from None
        _synced(self.target.parent)
        self._remove()
        return rows, odd

    def _put_together(self, step: Callable[[int], None]) -> tuple[int, Odd]:
        schema = schema_of(self.plan).with_metadata(
            {"costmodel": json.dumps(dict(self.plan.about)), "digest": self.plan.digest}
        )
        odd = Odd()
        rows = 0
        with self._writer(schema) as write:
            for table in self._reduced(odd, step):
                rows += table.num_rows
                write(table.cast(schema).replace_schema_metadata(schema.metadata))
        return rows, odd

    def _reduced(self, odd: Odd, step: Callable[[int], None]) -> Iterator[Any]:
        """The rows in tables of even size, however many of each part were kept; or the best of all."""
        chunk, pick, held = self.plan.chunk, self.plan.pick, None
        for part in range(self.plan.parts):
            table = pq.read_table(self.path(part))
            odd.merge(Odd(table.schema.metadata[b"odd"].decode()))
            held = table if held is None else pa.concat_tables([held, table])
            if pick is not None:
                held = best(held.unify_dictionaries(), pick)
            while pick is None and held.num_rows >= chunk:
                yield held.slice(0, chunk).unify_dictionaries().combine_chunks()
                held = held.slice(chunk) if held.num_rows > chunk else held.slice(0, 0)
            step(1)
        if held is not None and held.num_rows:
            yield held.unify_dictionaries().combine_chunks()

    @contextmanager
    def _writer(self, schema: Any) -> Iterator[Callable[[Any], None]]:
        if self.target.suffix == ".parquet":
            with pq.ParquetWriter(self.whole, schema, **self.layout) as writer:
                yield lambda table: writer.write_table(table, row_group_size=self.plan.chunk)
            return
        names = [f.name for f in schema if pa.types.is_dictionary(f.type)]
        plain = pa.schema([pa.field(f.name, pa.string()) if f.name in names else f for f in schema])
        options = pa_csv.WriteOptions(quoting_style="needed")
        with pa_csv.CSVWriter(self.whole, plain, write_options=options) as writer:
            yield lambda table: writer.write_table(_guarded(table, names).cast(plain))

    def _remove(self) -> None:
        """The parts first and what proves the file whole last, so that a kill in between is understood."""
        for path in self.folder.glob("*part*"):
            path.unlink(missing_ok=True)
        for path in (self.about, self.folder / f"link{self.target.suffix}", self.whole):
            path.unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()


def _guarded(table: Any, names: list[str]) -> Any:
    """Text cells that a spreadsheet would run, with an apostrophe in front."""
    for name in names:
        at = table.schema.get_field_index(name)
        column = table.column(name).combine_chunks()
        column = column if isinstance(column, pa.DictionaryArray) else column.chunk(0)
        said = [f"'{text}" if text.startswith(_FORMULA) else text for text in column.dictionary.to_pylist()]
        table = table.set_column(at, name, pa.array(said, pa.string()).take(column.indices))
    return table


def _synced(path: Path) -> None:
    """On the disk, not only on its way there."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _locked(file: Any) -> bool:
    """Hold a file until it is closed; where the system has no such locks, as if it did."""
    if os.name != "posix":
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _why(error: OSError) -> str:
    return (error.strerror or "cannot be written").lower()


def read_sweep(path: str | Path) -> Any:
    """A sweep's file, Parquet or CSV, as an Arrow table; units are in its fields' metadata where it is Parquet.

    Raises:
        SpecError: it cannot be read, or is none.
    """
    path = Path(path)
    try:
        return pa_csv.read_csv(path) if path.suffix == ".csv" else pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise refused(f"{path} cannot be read as a sweep: {str(error).splitlines()[0]}") from None
