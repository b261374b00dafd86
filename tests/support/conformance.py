"""The same calls on the standard library's `smtplib` and on ours, side by side."""

from __future__ import annotations

import contextlib
import io
import re
import smtplib
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mailbackends.client
import mailbackends.errors
from support.peer import Peer
from support.talk import Talk, TalkServer

__all__ = ["OURS", "THEIRS", "Library", "Raised", "Scenario", "World", "on_client"]


class Library:
    """The names of one of the two libraries."""

    def __init__(self, name: str, *modules: object) -> None:
        self.name = name
        self._modules = modules

    def __getattr__(self, name: str) -> Any:
        for module in self._modules:
            if hasattr(module, name):
                return getattr(module, name)
        raise AttributeError(f"{self.name} has no {name}")


OURS = Library("mailbackends", mailbackends.client, mailbackends.errors)
THEIRS = Library("smtplib", smtplib)


@dataclass(frozen=True)
class Raised:
    """An exception: the name of its class, its arguments, its text."""

    kind: str
    args: tuple[Any, ...]
    text: str

    @classmethod
    def by(cls, call: Callable[[], Any]) -> Any:
        """The result of ``call``, or its exception as a value."""
        try:
            return call()
        except Exception as error:
            # For exceptions that are not SMTP's, the text is enough.
            args = error.args if isinstance(error, smtplib.SMTPException) else ()
            text = _as_of_313(str(error).encode()).decode()
            return cls(type(error).__name__, args, text)


class World:
    """What a scenario can use."""

    def __init__(self, lib: Library, server: TalkServer) -> None:
        self.lib = lib
        self.server = server
        self.host, self.port = server.host, server.port
        self.path = server.path
        self.clients: list[Any] = []

    def keep(self, client: Any) -> Any:
        """Compare this client's attributes after the scenario, and close it."""
        self.clients.append(client)
        return client

    def client(self, **changes: Any) -> Any:
        """A connected client."""
        return self.keep(self.lib.SMTP(**self.options(changes)))

    def options(self, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The arguments with which a constructor connects."""
        given = {
            "host": self.host,
            "port": self.port,
            "local_hostname": "client.test",
            "timeout": 5,
        }
        return {**given, **(changes or {})}


_STATE = (
    "esmtp_features",
    "does_esmtp",
    "ehlo_resp",
    "helo_resp",
    "local_hostname",
    "command_encoding",
    "source_address",
    "default_port",
    "ehlo_msg",
    "debuglevel",
)


@dataclass(frozen=True)
class Scenario:
    """Calls that must have the same results with both, except for what ``ours`` names.

    ``call`` gets a `World`; what it returns or raises is compared, with what the server
    saw, the attributes of the clients afterwards, and what was written to stderr.
    ``differs`` is the id of a deliberate difference in docs/smtplib.md; ``ours`` then maps
    ``result``, ``wire``, ``closed``, ``stderr`` or an attribute to the value with ours: the other
    library's value must differ, and everything else must be equal.
    """

    name: str
    call: Callable[[World], Any]
    talk: Callable[[Peer], None] | tuple[Callable[[Peer], None], ...] = field(default_factory=Talk)
    differs: str | None = None
    ours: Mapping[str, Any] = field(default_factory=dict)
    unix: bool = False

    def __str__(self) -> str:
        return self.name.replace(" ", "-")

    def check(self) -> None:
        """Run it with both, and compare."""
        theirs, ours = self.play(THEIRS), self.play(OURS)
        assert bool(self.differs) == bool(self.ours), "a difference has an id, and shows"
        for key in {**theirs, **ours}:
            if key in self.ours:
                assert ours[key] == self.ours[key]
                assert theirs[key] != ours[key], f"{self.differs}: {key} does not differ"
            else:
                assert ours[key] == theirs[key], key
        assert self.ours.keys() <= ours.keys()

    def play(self, lib: Library) -> dict[str, Any]:
        """What happens with one library."""
        talks = self.talk if isinstance(self.talk, tuple) else (self.talk,)
        with contextlib.ExitStack() as stack:
            path = None
            if self.unix:
                folder = stack.enter_context(tempfile.TemporaryDirectory())
                path = str(Path(folder) / "socket")
            server = stack.enter_context(TalkServer(*talks, path=path))
            stderr = stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
            world = World(lib, server)
            seen: dict[str, Any] = {"result": Raised.by(lambda: self.call(world))}
            for number, client in enumerate(world.clients):
                prefix = f"{number}." if number else ""
                for name in _STATE:
                    seen[prefix + name] = getattr(client, name)
                seen[prefix + "closed"] = client.sock is None
                client.close()
            seen["wire"] = [_as_of_313(data) for data in server.received()]
            # Ports and the names of sockets change from run to run.
            shown = _as_of_313(stderr.getvalue().encode()).decode()
            seen["stderr"] = shown.replace(str(server.port), "PORT")
        return seen


def on_client(call: Callable[[Any], Any]) -> Callable[[World], Any]:
    """A scenario's call that needs only a connected client."""
    return lambda world: call(world.client())


def _as_of_313(data: bytes) -> bytes:
    """Until 3.12 the standard library wrote FROM and TO in capitals (RFC 5321 takes both)."""
    if sys.version_info >= (3, 13):
        return data
    return re.sub(
        rb"(?im)^(send: '|command and .*: |)(mail |rcpt )(from:|to:)",
        lambda m: m[1] + m[2] + m[3].lower(),
        data,
    )
