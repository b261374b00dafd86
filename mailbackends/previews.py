"""An application lists its mails here, so that they can be looked at without being sent.

    from mailbackends.previews import preview

    @preview("Order confirmation", group="Orders")
    def order_confirmation():
        return mails.order_confirmation(sample_order())

The page of `mailbackends.mailbox` shows them, in Django and in Flask too.
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
    """One mail of an application, with sample data."""

    name: str
    """Its place in the page's address: the function's name."""
    title: str
    group: str
    description: str
    """The function's docstring."""
    function: Callable[[], Any]

    def content(self) -> bytes:
        """The message as it would go over the wire. Raises what the function raises."""
        return as_content(self.function())


class Previews:
    """The mails of one application. Calling it registers a function, as a decorator does."""

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
        """Register the function, which takes nothing and returns a message.

        That is a message of the email package, of Django or of Flask, or bytes. With the
        name of one that is registered it takes its place: modules may be loaded anew.
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
        """The one of this name, or None."""
        return self._known.get(name)

    def __iter__(self) -> Iterator[Preview]:
        """Group by group, in the order in which they were registered."""
        groups = list(dict.fromkeys(preview.group for preview in self._known.values()))
        return iter(sorted(self._known.values(), key=lambda one: groups.index(one.group)))

    def __len__(self) -> int:
        return len(self._known)


preview = Previews()
"""The registry that the pages show unless they are given another."""


def as_content(message: Any) -> bytes:
    """A message of any framework as bytes with CRLF.

    Raises:
        TypeError: it is no message.
    """
    if isinstance(message, bytes | bytearray):
        return bytes(message)
    if isinstance(message, Message):
        return _written(message)
    if callable(made := getattr(message, "message", None)):  # Django's
        return as_content(made())
    if callable(made := getattr(message, "as_bytes", None)):  # Flask's
        return re.sub(rb"\r?\n", b"\r\n", made())
    raise TypeError(f"a preview returns a message, not {type(message).__name__}")


def _written(message: Message) -> bytes:
    # Not as_bytes(): that of Django's older messages takes other arguments.
    written = BytesIO()
    policy = message.policy.clone(linesep="\r\n")
    BytesGenerator(written, mangle_from_=False, policy=policy).flatten(message)
    return written.getvalue()
