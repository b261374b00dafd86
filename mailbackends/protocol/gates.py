"""The end of a content: what must happen before it is sent, and whether it was sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = ["Buffer", "ContentSent", "Gate", "marking_the_last"]

Buffer: TypeAlias = bytes | bytearray | memoryview


@dataclass(slots=True)
class Gate:
    """What must happen before the end of a content may be sent."""

    before_end: Callable[[list[Any]], object]
    """Called with the messages whose ends are about to be sent. It may return an awaitable."""
    message: Any
    """The message, as ``before_end`` knows it."""


@dataclass(slots=True)
class ContentSent:
    """The content of one transaction while it is sent, for `Session.was_sent`."""

    end: int | None = None
    """The bytes sent in the whole session at the content's end; None until that is known."""
    gate: Gate | None = None
    is_ending: bool = False
    """True once the last buffer of a content with a gate was taken, if ``end`` is not known."""


def marking_the_last(buffers: Iterable[Buffer], content: ContentSent) -> Iterator[Buffer]:
    """The same buffers; ``content.is_ending`` is set when the last one is taken."""
    iterator = iter(buffers)
    last = next(iterator)
    for buffer in iterator:
        yield last
        last = buffer
    content.is_ending = True
    yield last
