"""Options as a key under which to remember what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["Told"]


class Told(tuple[Any, ...]):
    """Names, values, and the types of these: 1 and True are equal, and one of them is no port.

    Not to be read by people, for one of the values may be a password. It has no hash where a
    value has none, save for a list.
    """

    __slots__ = ()

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Told:
        """The key for what is said, in this order."""
        values = tuple([tuple(v) if type(v) is list else v for v in said.values()])
        return cls((tuple(said), values, tuple(map(type, said.values()))))

    def said(self) -> dict[str, Any]:
        """What it was made of."""
        return {
            name: list(value) if kind is list else value
            for name, value, kind in zip(*self, strict=True)
        }

    def __repr__(self) -> str:
        return f"<Told {', '.join(self[0])}>"
