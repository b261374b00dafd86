"""Event loops of the kinds that are installed: asyncio's and uvloop's."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

__all__ = ["KINDS", "run", "use"]

T = TypeVar("T")

_HAS_UVLOOP = importlib.util.find_spec("uvloop") is not None
KINDS = [
    "asyncio",
    pytest.param("uvloop", marks=pytest.mark.skipif(not _HAS_UVLOOP, reason="needs uvloop")),
]
"""The parameters of a test that is for all kinds."""

_factories: list[Callable[[], asyncio.AbstractEventLoop] | None] = [None]


def use(kind: str) -> None:
    """Let `run` make loops of this kind from now on."""
    _factories[0] = None
    if kind == "uvloop":
        import uvloop

        _factories[0] = uvloop.new_event_loop


def run(main: Coroutine[Any, Any, T], *, debug: bool = False) -> T:
    """As `asyncio.run`, in a loop of the kind that is in use."""
    with asyncio.Runner(debug=debug, loop_factory=_factories[0]) as runner:
        return runner.run(main)
