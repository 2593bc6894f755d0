"""What the importer knows of each `model_type`: one function a family, registered with what its class leaves out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from costmodel.importer.config import Config
from costmodel.importer.draft import Draft
from costmodel.importer.precision import Precision

Build = Callable[[Config, Draft, Precision], None]


class Family(NamedTuple):
    """A structure that configs describe.

    `config_class` is the class of transformers that reads such a config, and `defaults` what that class has for keys
    that are left out. `aliases` are other names of keys that the class knows; `harmless` are keys that change no count.
    """

    types: tuple[str, ...]
    title: str
    config_class: str
    defaults: Mapping[str, Any]
    build: Build
    aliases: Mapping[str, str]
    harmless: frozenset[str]


FAMILIES: dict[str, Family] = {}


def family(
    *types: str,
    title: str,
    config: str,
    defaults: Mapping[str, Any],
    aliases: Mapping[str, str] | None = None,
    harmless: str = "",
) -> Callable[[Build], Build]:
    """Register a function that writes the spec of these model types."""

    def register(build: Build) -> Build:
        known = Family(types, title, config, defaults, build, aliases or {}, frozenset(harmless.split()))
        FAMILIES.update(dict.fromkeys(types, known))
        return build

    return register
