"""What the email package has made by itself, and so can be read without asking it.

A message or a header object may be of a class with methods of its own. Then those have to be
asked, by the email package; what is told here about the package's own classes does not hold.
"""

from __future__ import annotations

import email.message
from collections.abc import Callable
from email import _header_value_parser as parser
from email import headerregistry
from email.message import Message
from functools import lru_cache
from typing import Any

__all__ = ["header_class", "is_standard", "tree_text"]

# What the generator asks of a message, and what we ask of one to know who sends and receives.
_ASKED = frozenset(
    {
        "__getitem__",
        "__delitem__",
        "get",
        "get_all",
        "get_boundary",
        "get_content_maintype",
        "get_content_subtype",
        "get_content_type",
        "get_param",
        "get_payload",
        "is_multipart",
        "items",
        "raw_items",
        "set_boundary",
        "walk",
    }
)
# The most special class first: what is checked is the nearest base of the standard library.
_STANDARD = (email.message.EmailMessage, email.message.MIMEPart, Message)


def is_standard(message: object) -> bool:
    """True for a message that answers as the email package's own classes do."""
    kind: Any = type(message)
    return _is_standard_class(kind) and _ASKED.isdisjoint(vars(message))


@lru_cache(maxsize=256)
def _is_standard_class(kind: type) -> bool:
    base = next((base for base in _STANDARD if issubclass(kind, base)), None)
    return base is not None and all(
        getattr(kind, name, None) is getattr(base, name, None) for name in _ASKED
    )


def header_class(value: object) -> type | None:
    """The class in `email.headerregistry` of a header object, or None for any other value.

    The registry makes a type of its own for each object, of such a class and BaseHeader. So
    none of its attributes is in the interpreter's cache: take few, and unbound methods of str.
    """
    kind = type(value)
    bases: tuple[type, ...] = kind.__bases__
    return bases[0] if bases in _HEADER_BASES and kind.__module__ == _REGISTRY else None


_REGISTRY = headerregistry.__name__
_HEADER_BASES = frozenset(
    (kind, headerregistry.BaseHeader)
    for kind in vars(headerregistry).values()
    if isinstance(kind, type) and kind.__module__ == _REGISTRY
)


def tree_text(tree: Any) -> str:
    """``str()`` of the tree that a header object was parsed into, in a third of the time."""
    found: list[str] = []
    _gather(tree, found.append)
    return "".join(found)


def _gather(tree: Any, found: Callable[[str], None]) -> None:
    for token in tree:
        kind = type(token)
        if kind in _LEAVES:
            found(token)
        elif kind in _BRANCHES:
            _gather(token, found)
        else:
            found(str(token))


_LEAVES = frozenset({parser.ValueTerminal, parser.WhiteSpaceTerminal})
# All but those that write themselves in their own way, such as quoted strings and comments.
_BRANCHES = frozenset(
    kind
    for kind in vars(parser).values()
    if isinstance(kind, type)
    and issubclass(kind, parser.TokenList)
    and kind.__str__ is parser.TokenList.__str__
)
