"""Previews: an application's messages with sample data, shown without being sent.

    from mailbackends.previews import preview

    @preview("Order confirmation", group="Orders")
    def order_confirmation():
        return mails.order_confirmation(sample_order())

`mailbackends.mailbox` shows them, also in Django and Flask.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.generator import BytesGenerator
from email.message import Message
from inspect import getdoc
from io import BytesIO
from typing import Any, TypeVar, overload

__all__ = ["Preview", "Previews", "as_content", "preview"]

Function = TypeVar("Function", bound=Callable[[], Any])


@dataclass(frozen=True, slots=True)
class Preview:
    """One message of an application, with sample data."""

    name: str
    """Its name in the URL: the function's name."""
    title: str
    group: str
    description: str
    """The function's docstring."""
    function: Callable[[], Any]

    def content(self) -> bytes:
        """The message as it would be sent. Raises what the function raises."""
        return as_content(self.function())


class Previews:
    """The previews of one application. A call registers a function, as a decorator."""

    def __init__(self) -> None:
        self._known: dict[str, Preview] = {}

    @overload
    def __call__(self, title: Function, /) -> Function: ...

    @overload
    def __call__(
        self, title: str | None = None, /, *, group: str = "", name: str | None = None
    ) -> Callable[[Function], Function]: ...

    def __call__(
        self,
        title: Any = None,
        /,
        *,
        group: str = "",
        name: str | None = None,
    ) -> Any:
        """Register a function without arguments that returns a message.

        The message is one of the email package, of Django or of Flask, or bytes. A function
        with the same name replaces the registered one, because modules may be reloaded.
        """
        if callable(title):
            return self._add(title, None, group, name)
        return lambda function: self._add(function, title, group, name)

    def _add(self, function: Function, title: str | None, group: str, name: str | None) -> Function:
        called = getattr(function, "__name__", type(function).__name__)
        slug = re.sub(r"[^a-z0-9_-]+", "-", (name or called).casefold()).strip("-") or "mail"
        self._known[slug] = Preview(
            name=slug,
            title=title or called.replace("_", " ").capitalize(),
            group=group,
            description=getdoc(function) or "",
            function=function,
        )
        return function

    def get(self, name: str) -> Preview | None:
        """The preview with this name, or None."""
        return self._known.get(name)

    def __iter__(self) -> Iterator[Preview]:
        """The previews by group, in the order of registration."""
        groups = list(dict.fromkeys(preview.group for preview in self._known.values()))
        return iter(sorted(self._known.values(), key=lambda one: groups.index(one.group)))

    def __len__(self) -> int:
        return len(self._known)


preview: Previews = Previews()
"""The default registry."""


def as_content(message: Any) -> bytes:
    """The bytes of a message of any framework, with CRLF.

    Raises:
        TypeError: it is not a message.
    """
    if isinstance(message, bytes | bytearray):
        return bytes(message)
    if isinstance(message, Message):
        return _written(message)
    if callable(made := getattr(message, "message", None)):  # Django's
        return as_content(made())
    if callable(made := getattr(message, "as_bytes", None)):  # Flask's
        return re.sub(rb"\r?\n", b"\r\n", made())
    raise TypeError(f"a preview must return a message, got {type(message).__name__}")


def _written(message: Message) -> bytes:
    # Not as_bytes(), which takes other arguments in older versions of Django.
    written = BytesIO()
    policy = message.policy.clone(linesep="\r\n")
    BytesGenerator(written, mangle_from_=False, policy=policy).flatten(message)
    return written.getvalue()
