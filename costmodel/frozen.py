"""Immutable records made without generated code.

A module of a hundred dataclasses takes longer to import than a spec to compile: each runs `exec` for its methods. These
records have the same form to read and to type-check, are told apart by identity, and cost nothing to define.
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar, dataclass_transform

_Record = TypeVar("_Record", bound="Frozen")
NEEDED = object()


@dataclass_transform(frozen_default=True, eq_default=False)
class Frozen:
    """A base class: annotated attributes are fields, in their order; one with a value may be left out."""

    _fields: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        fields = dict(cls._fields)
        for name, annotation in vars(cls).get("__annotations__", {}).items():
            if not str(annotation).startswith("ClassVar"):
                fields[name] = vars(cls).get(name, NEEDED)
        cls._fields = fields

    def __init__(self, *values: Any, **named: Any) -> None:
        fields = type(self)._fields
        if len(values) == len(fields) and not named:
            self.__dict__.update(zip(fields, values, strict=True))
            return
        if len(values) > len(fields):
            raise TypeError(f"{type(self).__name__} takes {len(fields)} values, not {len(values)}")
        given = dict(zip(fields, values, strict=False))
        for name, value in named.items():
            if name not in fields or name in given:
                raise TypeError(f"{type(self).__name__} has no field {name!r}, or it is given twice")
            given[name] = value
        for name, default in fields.items():
            if name not in given:
                if default is NEEDED:
                    raise TypeError(f"{type(self).__name__} needs {name!r}")
                given[name] = default
        self.__dict__.update(given)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={self.__dict__[name]!r}" for name in type(self)._fields)
        return f"{type(self).__name__}({shown})"


def changed(record: _Record, **values: Any) -> _Record:
    """The same record with other values."""
    kept = {name: record.__dict__[name] for name in type(record)._fields}
    return type(record)(**{**kept, **values})
