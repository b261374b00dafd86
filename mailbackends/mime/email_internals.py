"""Private names of the email package, in this file only.

A message or a header object may be of a class with its own methods. The package's own classes
can be read without calling their methods, which is faster; all others have to be asked.
"""

from __future__ import annotations

import email.message
from collections.abc import Callable, Iterable
from email import _header_value_parser as parser
from email import headerregistry
from email.message import Message
from email.policy import Policy
from functools import lru_cache
from typing import Any

__all__ = [
    "ComputedPayload",
    "class_and_name",
    "header_class",
    "header_name",
    "is_one_group_each",
    "is_standard",
    "message_with",
    "parsed_text",
    "payload_of",
    "source_text",
]

# The methods that the generator calls on a message, and that we call to find out who sends
# and who receives it.
_METHODS = frozenset(
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
# The most derived class first: a class is compared with its nearest base in the standard library.
_STANDARD = (email.message.EmailMessage, email.message.MIMEPart, Message)


# --- Messages -------------------------------------------------------------------------------


def is_standard(message: object) -> bool:
    """True for a message that behaves as the email package's own classes do."""
    kind: Any = type(message)
    return _is_standard_class(kind) and _METHODS.isdisjoint(vars(message))


@lru_cache(maxsize=256)
def _is_standard_class(kind: type) -> bool:
    base = next((base for base in _STANDARD if issubclass(kind, base)), None)
    return base is not None and all(
        getattr(kind, name, None) is getattr(base, name, None) for name in _METHODS
    )


def payload_of(message: Message[Any, Any]) -> Any:
    """The body as the message has it: text, a list of parts, or None."""
    return message._payload  # type: ignore[attr-defined]


def message_with(fields: Iterable[tuple[str, Any]], policy: Policy) -> Message[Any, Any]:
    """A message with these header fields, taken as they are, and without a body."""
    made: Message[Any, Any] = Message(policy)
    made._headers = list(fields)  # type: ignore[attr-defined]
    return made


class ComputedPayload:
    """A base class for a part whose body is made each time it is read.

    It comes before the email package's class among the bases.
    """

    fixed_payload: Any = None
    """Another body in place of the one that is made."""

    def read_payload(self) -> Any:
        """The body: text in its transfer encoding, or a list of messages."""
        raise NotImplementedError

    @property
    def _payload(self) -> Any:
        return self.read_payload() if self.fixed_payload is None else self.fixed_payload

    @_payload.setter
    def _payload(self, value: object) -> None:
        # The constructor of the email package's class sets None.
        if value is not None:
            raise TypeError("the content of a FileAttachment comes from its file, cannot be set")


# --- Header objects -------------------------------------------------------------------------


def header_class(value: object) -> type | None:
    """The class in `email.headerregistry` of a header object, or None for any other value.

    The registry makes a new type for each object, from such a class and BaseHeader, so none
    of its attributes is in the interpreter's cache: read few, and use unbound methods of str.
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


# An attribute of such a type is looked for in all its bases, so this goes around them.
_vars: Callable[[Any], dict[str, Any]] = vars(headerregistry.BaseHeader)["__dict__"].__get__


def header_name(value: Any) -> str:
    """The field name of a header object, in the case in which it was given."""
    name: str = _vars(value)["_name"]
    return name


def class_and_name(value: object) -> tuple[type, str] | None:
    """The `header_class` and the `header_name` of a header object, or None for any other value."""
    kind = type(value)
    bases: tuple[type, ...] = kind.__bases__
    if bases in _HEADER_BASES and kind.__module__ == _REGISTRY:
        return bases[0], _vars(value)["_name"]
    return None


def is_one_group_each(value: Any, count: int) -> bool:
    """True if an address header object was parsed into ``count`` addresses without a defect."""
    known = _vars(value)
    return not known["_defects"] and len(known["_groups"]) == count


def source_text(value: Any) -> str:
    """The text that an address header object was parsed from, or the text of any other value."""
    return str(getattr(value, "_parse_tree", value))


def parsed_text(value: Any) -> str:
    """``str()`` of the tree that a header object was parsed into, in a fifth of the time."""
    found: list[str] = []
    _gather(_vars(value)["_parse_tree"], found.append)
    return "".join(found)


def _gather(tree: Any, found: Callable[[str], None]) -> None:
    for token in tree:
        kind = type(token)
        # Most lists have one token, which is a list again.
        while kind in _BRANCHES and len(token) == 1:
            token = token[0]
            kind = type(token)
        if kind in _LEAVES:
            found(token)
        elif kind in _BRANCHES:
            _gather(token, found)
        else:
            found(str(token))


_LEAVES = frozenset({parser.ValueTerminal, parser.WhiteSpaceTerminal})
# All token lists but those with their own __str__, such as quoted strings and comments.
_BRANCHES = frozenset(
    kind
    for kind in vars(parser).values()
    if isinstance(kind, type)
    and issubclass(kind, parser.TokenList)
    and kind.__str__ is parser.TokenList.__str__
)
