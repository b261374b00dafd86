"""Values as JSON has them: what `as_dict` on receipts, errors, statistics and events returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

__all__ = ["fields_as_dict", "jsonable"]


def jsonable(value: Any) -> Any:
    """The same value made of `dict`, `list`, `str`, `int`, `float`, `bool` and None.

    What has a method ``as_dict`` is asked for it; any other dataclass becomes a dictionary of
    its fields; of what JSON cannot express, the text is taken.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Enum):
        return jsonable(value.value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, Mapping):
        return {str(jsonable(key)): jsonable(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [jsonable(each) for each in value]
    if not isinstance(value, type) and callable(as_dict := getattr(value, "as_dict", None)):
        return as_dict()
    if is_dataclass(value) and not isinstance(value, type):
        return fields_as_dict(value)
    return str(value)


def fields_as_dict(value: Any) -> dict[str, Any]:
    """The fields of a dataclass by name, each as `jsonable` gives it."""
    return {field.name: jsonable(getattr(value, field.name)) for field in fields(value)}
