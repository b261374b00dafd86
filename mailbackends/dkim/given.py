"""Settings for `DKIM` as they are given, with their secrets hidden before anything can fail.

Tracebacks, debug pages and error reporters show the variables of every function.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mailbackends.secret import NotText, Secret, SecretCallable
from mailbackends.texts import plain_text

__all__ = ["KNOWN", "GivenKey", "HidesSecrets", "hidden", "hide_dkim"]


class HidesSecrets:
    """The base of settings that hide their own secrets."""


@dataclass(frozen=True)
class GivenKey(HidesSecrets):
    """A dictionary of settings for `DKIM`, not checked yet, in which secrets are hidden."""

    items: tuple[tuple[str, Any], ...]


KNOWN = ("domain", "selector", "key", "key_file", "sign", "algorithm", "senders",
          "canonicalization", "fields")  # fmt: skip
"""The names of the settings of one key."""


def hide_dkim(value: Any) -> Any:
    """The value of the option ``dkim``, hashable and with its secrets hidden. Never raises."""
    if value is None or isinstance(value, HidesSecrets | NotText):
        return value
    if isinstance(value, Mapping):
        return GivenKey(tuple((str(name), hidden(name, each)) for name, each in value.items()))
    if isinstance(value, list | tuple):
        return tuple(hide_dkim(each) for each in value)
    return NotText(type(value).__name__)


def hidden(name: object, value: Any) -> Any:
    """The value of one name, hashable, and hidden if it is or may be a secret. Never raises."""
    if value is None or isinstance(value, Secret | SecretCallable | NotText):
        return value
    if name == "key" or name not in KNOWN:
        # An unknown name may be a misspelled "key".
        if isinstance(value, bytes):
            return Secret(value.decode("utf-8", "replace"))
        if (text := plain_text(value)) is not None:
            return Secret(text)
        if isinstance(value, os.PathLike):
            return value
        return SecretCallable(value) if callable(value) else NotText(type(value).__name__)
    if name == "sign" and callable(value):
        return SecretCallable(value)
    if isinstance(value, list | tuple):
        return tuple(_plain(each) for each in value)
    return value if isinstance(value, os.PathLike) else _plain(value)


def _plain(value: Any) -> Any:
    text = str(value) if type(value) is int else plain_text(value)
    if text is None:
        return NotText(type(value).__name__)
    # Pasted into the wrong place: the error text would show it.
    return NotText("a private key") if "-----BEGIN" in text else text
