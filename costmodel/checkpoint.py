"""The tensors of a checkpoint, by its header alone: a safetensors file, the index of several, or a GGUF file."""

from __future__ import annotations

import os
import re
import stat
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from costmodel import library, provenance
from costmodel.importer.json_text import Member, parse_json
from costmodel.names import listed
from costmodel.source import Diagnostic, SpecError

MOST_SHARDS = 10_000
MOST_TENSORS = 1_000_000
MOST_TOKENS = 5_000_000

# what a checkpoint holds beside parameters: rotary angles, positions, masks
_BUFFERS = re.compile(
    r"(.*[._])?(inv_freq|position_ids|masked_bias|rope_freqs\.weight|rope_factors_(long|short)\.weight)"
)
_MASK = re.compile(r"(.*\.)?(attn|attention)\.bias")
_SCALES = re.compile(r".*(_scale|_scale_inv|\.SCB|\.weight_format)")
# types with a value each, in safetensors' and in GGUF's words; that of GGUF's blocks is the number of values too
_ONE_EACH = re.compile(r"B?F(8|16|32|64).*|I8|I?Q\d.*|TQ\d.*|MXFP4|NVFP4")


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds: shapes by name, or, where only the index of absent files is there, totals.

    `left_out` are names of tensors that are no parameters.
    """

    name: str
    tensors: Mapping[str, tuple[int, ...]] | None
    left_out: tuple[str, ...] = ()
    total_parameters: int | None = None
    total_bytes: int | None = None


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint's header.

    Raises:
        SpecError: it is not there, is none, is damaged, holds packed values, or the format's library is not installed.
    """
    name = library.shown_path(path)
    # gigabytes of weights are not read to know whether they have changed
    provenance.not_repeatable()
    _regular(path, name)
    if path.name.endswith(".json"):
        return _index(path, name)
    if path.suffix not in _READERS:
        raise _fault(name, "no checkpoint that is known", (f"known are {listed([*_READERS, '.index.json'])} files",))
    return _of_parameters(name, dict(_tensors(path, name)))


def _regular(path: Path, name: str) -> None:
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        raise _fault(name, (getattr(error, "strerror", None) or "no name of a file").lower()) from None
    if not stat.S_ISREG(status.st_mode):
        raise _fault(name, "a folder, not a file" if stat.S_ISDIR(status.st_mode) else "not a regular file")


def _fault(name: str, why: str, facts: tuple[str, ...] = (), help: str = "") -> SpecError:
    return SpecError(Diagnostic("file", f"`{name}` cannot be read: {why}", facts=facts, help=help))


def _of_parameters(name: str, found: Mapping[str, tuple[tuple[int, ...], str]]) -> Checkpoint:
    """The parameters among a checkpoint's tensors, shape and type by name."""
    kept: dict[str, tuple[int, ...]] = {}
    left_out: list[str] = []
    for tensor, (shape, kind) in found.items():
        mask = _MASK.fullmatch(tensor) and len(shape) == 4
        if mask or _BUFFERS.fullmatch(tensor) or _SCALES.fullmatch(tensor):
            left_out.append(tensor)
        elif not _ONE_EACH.fullmatch(kind):
            raise SpecError(
                Diagnostic(
                    "against",
                    f"`{name}` is quantised: `{tensor[:80]}` is of {kind}, which packs several values into one",
                    facts=("the shapes of packed values are not those of the matrices",),
                    help="compare with the checkpoint that was quantised",
                )
            )
        else:
            kept[tensor] = shape
    return Checkpoint(name, kept, tuple(left_out))


# --- an index of several files


def _index(path: Path, name: str) -> Checkpoint:
    source = library.read(path)
    root = parse_json(source)
    outer = root.value if isinstance(root.value, dict) else {}
    weights = outer["weight_map"].json if "weight_map" in outer else None
    if weights is None or not isinstance(weights.value, dict):
        message = f"`{name}` is no index of a checkpoint: it has no `weight_map`"
        raise SpecError(Diagnostic("against", message, source.span(root.span.start, root.span.start + 1)))
    shards: dict[str, None] = {}
    for member in weights.value.values():
        shard = member.json.value
        if not isinstance(shard, str) or Path(shard).name != shard or Path(shard).suffix not in _READERS:
            message = "the name of a file beside the index is needed here"
            raise SpecError(Diagnostic("against", message, member.json.span))
        shards.setdefault(shard)
    if len(shards) > MOST_SHARDS:
        raise _fault(name, f"it names {len(shards):,} files; at most {MOST_SHARDS:,} are possible")
    absent = [shard for shard in shards if not os.path.lexists(path.parent / shard)]
    if not absent:
        found: dict[str, tuple[tuple[int, ...], str]] = {}
        for shard in shards:
            _regular(path.parent / shard, shard)
            found.update(_tensors(path.parent / shard, shard))
        missing = [tensor for tensor in weights.value if tensor not in found]
        if missing:
            span = weights.value[missing[0]].key
            raise SpecError(Diagnostic("against", f"{_count(missing)} in none of the files that it names", span))
        return _of_parameters(name, found)
    if len(absent) < len(shards):
        raise _fault(
            name, f"of the files that it names {listed(absent[:3])} {'is' if len(absent) == 1 else 'are'} not here"
        )
    metadata = outer["metadata"].json.value if "metadata" in outer else {}
    totals = metadata if isinstance(metadata, dict) else {}
    params, size = _total(totals, "total_parameters"), _total(totals, "total_size")
    if params is None and size is None:
        raise _fault(name, "the files that it names are not here, and it has no `total_size`")
    return Checkpoint(name, None, (), params, size)


def _count(names: list[str]) -> str:
    others = f" and {len(names) - 1:,} more are" if len(names) > 1 else " is"
    return f"`{names[0][:80]}`{others}"


def _total(metadata: Mapping[str, Member], key: str) -> int | None:
    value = metadata[key].json.value if key in metadata else None
    return int(value) if isinstance(value, int | Fraction) and value == int(value) else None


# --- the two formats


def _tensors(path: Path, name: str) -> Iterator[tuple[str, tuple[tuple[int, ...], str]]]:
    """Each tensor's name, shape and type."""
    for count, found in enumerate(_READERS[path.suffix](path, name), 1):
        if count > MOST_TENSORS:
            raise _fault(name, f"it holds more than {MOST_TENSORS:,} tensors")
        yield found


def _safetensors(path: Path, name: str) -> Iterator[tuple[str, tuple[tuple[int, ...], str]]]:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise _not_installed(name, "safetensors") from None
    try:
        with safe_open(path, framework="numpy") as file:
            for tensor in file.keys():  # noqa: SIM118
                piece = file.get_slice(tensor)
                yield tensor, (tuple(map(int, piece.get_shape())), str(piece.get_dtype()))
    except (SafetensorError, OSError, ValueError, OverflowError) as error:
        raise _fault(name, f"a damaged file: {_first_line(error)}") from None


def _gguf(path: Path, name: str) -> Iterator[tuple[str, tuple[tuple[int, ...], str]]]:
    try:
        import gguf
        import numpy
    except ImportError:
        raise _not_installed(name, "gguf") from None

    class Header(gguf.GGUFReader):  # type: ignore[misc]
        """Reads nothing behind the file's end, which the library takes for nothing, and keeps no list of tokens."""

        def _get(self, offset: int, dtype: Any, count: int = 1, *others: Any, **named: Any) -> Any:
            if int(offset) + numpy.dtype(dtype).itemsize * int(count) > len(self.data):
                raise ValueError("it ends within its header")
            return super()._get(offset, dtype, count, *others, **named)

        def _build_tensor_info(self, offs: int, count: int) -> Any:
            if count > MOST_TENSORS:
                raise ValueError(f"it says that it has {count:,} tensors")
            return super()._build_tensor_info(offs, count)

        def _get_field_parts(self, orig_offs: int, raw_type: int) -> Any:
            if raw_type != gguf.GGUFValueType.ARRAY:
                return super()._get_field_parts(orig_offs, raw_type)
            item, length = int(self._get(orig_offs, "u4")[0]), int(self._get(orig_offs + 4, "u8")[0])
            size, plain = 12, self.gguf_scalar_to_np.get(gguf.GGUFValueType(item))
            if plain is None and (item != gguf.GGUFValueType.STRING or length > MOST_TOKENS):
                raise ValueError("it holds a list that is no list of tokens")
            if plain is None:
                # the array's own way to a number takes a hundred times as long, and vocabularies are large
                header, number = memoryview(self.data), struct.Struct("<Q" if self.byte_order == "I" else ">Q")
                for _ in range(length):
                    size += 8 + number.unpack_from(header, orig_offs + size)[0]
            else:
                size += plain().itemsize * length
            if orig_offs + size > len(self.data):
                raise ValueError("it ends within its header")
            return size, [], [], [gguf.GGUFValueType.ARRAY]

    try:
        reader = Header(path)
        for tensor in reader.tensors:
            yield str(tensor.name), (tuple(int(n) for n in reversed(tensor.shape)), tensor.tensor_type.name)
    except (ValueError, KeyError, IndexError, TypeError, OverflowError, MemoryError, OSError, struct.error) as error:
        raise _fault(name, f"a damaged file: {_first_line(error)}") from None


def _not_installed(name: str, what: str) -> SpecError:
    return _fault(name, f"{what}, which reads such files, is not installed", help="pip install 'costmodel[weights]'")


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


_READERS = {".safetensors": _safetensors, ".gguf": _gguf}
