"""Values as text for errors and logs, and as JSON for `as_dict`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

__all__ = [
    "FORMULA_STARTS", "did_you_mean", "fields_as_dict", "jsonable", "nearest", "one_line",
    "plain_text",
]  # fmt: skip

# A server's text may be shown in a log or a terminal: one line, and nothing that hides or
# reorders the text next to it (controls, U+2028, the marks for bidirectional text, tags).
_UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    r"\ud800-\udfff\ufeff\ufff0-\uffff\U000e0000-\U0010ffff]+"
)
# A reply may have 256 KiB, too much for a log.
_SHOWN = 2000

FORMULA_STARTS = tuple("=+-@\t\r\n＝＋－＠")  # noqa: RUF001
"""A spreadsheet would run a cell that begins with one of these as a formula. The full-width forms
work in some locales."""


def one_line(text: str) -> str:
    """The text for people: one line of at most 2000 characters that cannot disturb a log."""
    if len(text) > _SHOWN:
        text = f"{text[:_SHOWN]} ..."
    return _UNPRINTABLE.sub(" ", text).strip()


def count_of(count: int, noun: str = "message") -> str:
    """A number of things in words, such as ``"1 message"``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def plain_text(value: Any) -> str | None:
    """The string that ``value`` is or represents, or None if it is something else.

    Lazy strings (Django's ``gettext_lazy`` and ``SimpleLazyObject``, Flask-Babel's) represent
    one: they have the methods of a string, and ``str()`` evaluates them.
    """
    if type(value) is str:
        return value
    if isinstance(value, type) or not (
        hasattr(value, "casefold") and hasattr(value, "isprintable")
    ):
        return None
    text = str(value)
    return str.__str__(text)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that ``name`` is probably a misspelling of, or None."""
    found = difflib.get_close_matches(name, sorted(known), n=1)
    return found[0] if found else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of an error text for a name that is not among the known ones.

    ``"did you mean 'pool_size'?"``, or where none is near, ``"choose from 'a', 'b'"``.
    """
    choices = sorted(known)
    meant = nearest(name, choices)
    return f"did you mean {meant!r}?" if meant else f"choose from {', '.join(map(repr, choices))}"


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
