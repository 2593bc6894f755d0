"""A published config.json as a spec: what `costmodel import` writes, and what a `.json` as SPEC is read as."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from costmodel.importer import dense, fixed, mixtures
from costmodel.importer.config import Config, shown
from costmodel.importer.draft import Draft
from costmodel.importer.family import FAMILIES, Family
from costmodel.importer.json_text import Json, Member, parse_json
from costmodel.importer.precision import precision
from costmodel.names import is_reserved, listed, near_help
from costmodel.source import Diagnostic, Report, Source, Span, SpecError

STRUCTURES = (dense, mixtures, fixed)
"""The modules whose families are registered when they are imported."""

# the part of a model for several kinds of input that is a language model, and what it is where it does not say so
_TEXT_PARTS = ("text_config", "llm_config", "language_config")
_TEXT_TYPES = {"gemma3": "gemma3_text", "llama4": "llama4_text", "llava": "llama", "mistral3": "mistral"}


class Imported(NamedTuple):
    """A spec's text, with what there is to say of it: notes, and keys that no count depends on."""

    text: str
    family: str
    notes: tuple[str, ...]
    passed: tuple[str, ...]


def import_config(source: Source, ignored: Iterable[str] = ()) -> Imported:
    """The spec of the model that a config.json describes.

    Keys in `ignored` are passed over whatever they say.

    Raises:
        SpecError: it is no JSON, of a family that is not known, or says something that is not understood.
    """
    root = parse_json(source)
    if not isinstance(root.value, dict):
        message = "a config.json is an object: `{ … }`"
        raise SpecError(Diagnostic("config", message, source.span(root.span.start, root.span.start + 1)))
    outer: Mapping[str, Member] = root.value
    known, inner, span, part = _family(outer, root)
    member = inner.get("model_type")
    kind = _plain(member.json.value) if member is not None else known.types[0]
    report = Report()
    around = outer if part is not None else {}
    config = Config(inner, span, known.config_class, known.defaults, report, known.aliases, around, frozenset(ignored))
    if part is not None:
        others = [key for key in outer if isinstance(outer[key].json.value, dict) and key.endswith("_config")]
        left_out = [key for key in others if key not in (part, "quantization_config", "generation_config")]
        config.note(
            f"The text part of a model for several kinds of input (`{part}`); "
            + (f"{', '.join(map(_plain, left_out))} and what belongs to it are left out." if left_out else "no other.")
        )
        config.inherit("tie_word_embeddings")
    draft = Draft()
    found = precision(config)
    draft.dtypes = list(found.lines)
    known.build(config, draft, found)
    passed = config.leftovers(known.harmless)
    report.raise_errors()
    title = _title(outer, source, known)
    head = [f"{title}, from its config.json: model_type {kind}, read as {known.config_class} of transformers reads it."]
    head += config.notes
    if passed:
        head.append(f"No count depends on {', '.join(map(_plain, passed))}.")
    text = draft.text(f"{source.name}, imported", head, f'model {_identifier(title)} "{title}"')
    return Imported(text, known.title, tuple(config.notes), tuple(passed))


def as_spec(source: Source) -> Source:
    """A config.json as the spec that it describes, which uses shipped files only."""
    return Source(f"{source.name}, imported", import_config(source).text)


def _family(outer: Mapping[str, Member], root: Json) -> tuple[Family, Mapping[str, Member], Span, str | None]:
    """The family of a config, its keys, the place of its object, and the key of the part that was taken."""
    member = outer.get("model_type")
    kind = member.json.value if member is not None else None
    if isinstance(kind, str) and kind in FAMILIES:
        return FAMILIES[kind], outer, _start(root), None
    for part in _TEXT_PARTS:
        inside = outer[part].json if part in outer else None
        if inside is None or not isinstance(inside.value, dict):
            continue
        of_part = inside.value.get("model_type")
        name = of_part.json.value if of_part is not None else _TEXT_TYPES.get(kind) if isinstance(kind, str) else None
        if isinstance(name, str) and name in FAMILIES:
            return FAMILIES[name], inside.value, _start(inside), part
        if of_part is not None:
            raise _unknown(of_part)
    if member is None:
        raise SpecError(
            Diagnostic(
                "config",
                "`model_type` is missing, which says how the other keys are read",
                _start(root),
                facts=(f"known are {listed(sorted(FAMILIES), 60)}",),
            )
        )
    raise _unknown(member)


def _unknown(member: Member) -> SpecError:
    kind = member.json.value
    near = near_help(kind, FAMILIES) if isinstance(kind, str) and len(kind) < 80 else ""
    message = f"`model_type` is {shown(member)}, and no such family is known"
    facts = (f"known are {listed(sorted(FAMILIES), 60)}",)
    return SpecError(Diagnostic("config", message, member.json.span, facts=facts, help=near))


def _start(json: Json) -> Span:
    """The place of an object as a whole: its first character."""
    return json.span.source.span(json.span.start, json.span.start + 1)


_TITLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]{0,60}")
_HASH = re.compile(r"[0-9a-f]{16,}")


def _title(outer: Mapping[str, Member], source: Source, known: Family) -> str:
    """What to call the model: by its name, its file, the folder of that, or its family; plain letters only."""
    member = outer.get("_name_or_path")
    path = Path(source.origin or source.name)
    name = member.json.value if member is not None else ""
    candidates = [name.rstrip("/").rpartition("/")[2] if isinstance(name, str) else ""]
    candidates += [path.stem] if path.stem != "config" else [path.parent.name]
    for candidate in candidates:
        if _TITLE.fullmatch(candidate) and not _HASH.fullmatch(candidate):
            return candidate
    return known.title


def _identifier(title: str) -> str:
    """A name of the language from a title: `Llama-3.1-8B` is llama_3_1_8b."""
    name = re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")
    return f"model_{name}" if not name[:1].isalpha() or is_reserved(name) else name


def _plain(key: str) -> str:
    """A key in a comment: nothing that could end it."""
    return re.sub(r"[^A-Za-z0-9_.-]", "?", key)[:80]
