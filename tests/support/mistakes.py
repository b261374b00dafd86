"""The mistakes of ``mistakes.toml``: what a new user does wrong, and what the error says.

Each interface's own tests make each mistake for real (`server_for`), and compare the text. The
page docs/troubleshooting.md is written from the same table.
"""

from __future__ import annotations

import contextlib
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from support.ports import free_port
from support.scripted import ScriptedServer
from support.server import MailServer

__all__ = [
    "Case",
    "Place",
    "cases",
    "check",
    "filled",
    "mistakes",
    "place_for",
    "steps_that_say_something",
]

TABLE = Path(__file__).with_name("mistakes.toml")


@dataclass(frozen=True)
class Case:
    """One mistake in one interface."""

    mistake: str
    """The title."""
    server: str
    setup: dict[str, Any]
    """``options``, ``config``, ``args``, ``do`` and the like: see each interface's test."""
    says: dict[str, str]
    """The exact text, by the way of setting the options where that matters, else under ``says``."""

    def prepare(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Skip the test where a library is missing that the case needs; hide others."""
        for module in self.setup.get("needs", ()):
            pytest.importorskip(module)
        for module in self.setup.get("without", ()):
            for name in list(sys.modules):
                if name.partition(".")[0] == module or name.startswith(_IMPORTERS):
                    monkeypatch.delitem(sys.modules, name)
            monkeypatch.setitem(sys.modules, module, None)


# Modules that have imported what is hidden.
_IMPORTERS = (
    "mailbackends.mailbox",
    "mailbackends.testing",
    "django_integration.mailbox",
    "flask_integration.mailbox",
)


@dataclass(frozen=True)
class Place:
    """Where the mistake is made: a server on loopback, or a port on which nothing listens."""

    host: str
    port: int
    cafile: str


@cache
def mistakes() -> list[dict[str, Any]]:
    """The table, in the order of the page."""
    found: list[dict[str, Any]] = tomllib.loads(TABLE.read_text(encoding="utf-8"))["mistake"]
    return found


def cases(interface: str) -> list[Case]:
    """The mistakes that can be made in this interface."""
    found = []
    for each in mistakes():
        for given in each.get(interface, ()):
            setup = {name: value for name, value in given.items() if not name.startswith("says")}
            says = {name: value for name, value in given.items() if name.startswith("says")}
            found.append(Case(each["title"], each.get("server", "none"), setup, says))
    return found


@contextlib.contextmanager
def place_for(kind: str) -> Iterator[Place]:
    """A server of a kind in the table, until the block ends."""
    if kind == "none":
        yield Place("127.0.0.1", free_port(), "")
        return
    tls, _, more = kind.partition(" ")
    if tls == "says":  # another service
        with ScriptedServer([(None, f"{more}\r\n".encode())]) as other:
            yield Place(other.host, other.port, "")
        return
    has_login = more.startswith("login")
    password = more.partition("=")[2] or "secret"
    with MailServer(
        tls={"clear": "none"}.get(tls, tls),  # type: ignore[arg-type]
        login=("shop", password) if has_login else None,
        require_login=has_login,
    ) as server:
        if more.startswith(("MAIL ", "RCPT ")):
            verb, _, reply = more.partition(" ")
            server.answer(verb, reply, times=None)
        yield Place(server.host, server.port, server.cafile if tls != "clear" else "")


def filled(value: Any, place: Place) -> Any:
    """The value with ``{host}``, ``{port}`` and ``{cafile}`` replaced; ``"{port}"`` is a number."""
    if isinstance(value, dict):
        return {name: filled(each, place) for name, each in value.items()}
    if isinstance(value, list):
        return [filled(each, place) for each in value]
    if value == "{port}":
        return place.port
    if isinstance(value, str):
        for name in ("host", "port", "cafile"):
            value = value.replace(f"{{{name}}}", str(getattr(place, name)))
    return value


def check(case: Case, actual: str, place: Place, way: str = "says") -> None:
    """Compare what the interface said with the table: the text for this way, or for all."""
    expected = case.says.get(f"says_{way}", case.says.get("says"))
    # What the resolver says where it cannot reach a name server.
    actual = actual.replace("Temporary failure in name resolution", "Name or service not known")
    expected = filled(expected, place)
    assert actual == expected, f"the table has {expected!r}, and the text is {actual!r}"


def steps_that_say_something(steps: list[dict[str, Any]]) -> str:
    """The failures and warnings of a doctor's steps, each with the name of its step."""
    lines = []
    for step in steps:
        lines += [f"{step['name']}: warning: {warning}" for warning in step["warnings"]]
        if step["error"]:
            lines.append(f"{step['name']}: {step['error']}")
    return "\n".join(lines)
