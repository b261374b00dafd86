"""What all servers have in common: ports, child processes, and what arrived."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["HOST", "Arrival", "Endpoint", "Process", "Server", "free_ports", "wait_until"]

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server listens, and as whom one has to log in there, if at all."""

    port: int = 0
    path: str | None = None
    user: str | None = None


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message as the server stored it, without the lines that it put in front."""

    recipients: tuple[str, ...]
    """Those that the server names: all of the envelope, or the one whose mailbox it is."""
    content: bytes
    """With the line ends of the store."""


class Server(ABC):
    """A server that runs between `start` and `stop`; a column of the table.

    ``lacks`` says why a scenario cannot be played here, by the name of what it needs.
    """

    name: str
    version = ""
    protocol = "smtp"
    mechanisms: tuple[str, ...] = ()
    announced_in_vain: tuple[str, ...] = ()
    """Mechanisms that no login ever succeeds with."""
    room = 1
    """Connections that may stand at the endpoint ``421``."""
    needs_login = False
    has_mailboxes = False
    """True where each recipient gets a copy of his own."""
    counts_unknown_commands = True
    keeps_line_ends = False
    """True where the store has the bytes as they came."""
    people: dict[str, str]
    """The recipient for what a server decides by its mailboxes; else it is ``a``."""
    lacks: dict[str, str]
    endpoints: dict[str, Endpoint]

    def person(self, need: str) -> str:
        """The local part, without its extension, of who is to get what ``need`` names."""
        people: dict[str, str] = getattr(self, "people", {})
        return people.get(need, "a")

    def endpoint(self, need: str = "plain") -> Endpoint:
        """Where to go for what ``need`` names; most of it is to be had where all else is."""
        return self.endpoints.get(need, self.endpoints["plain"])

    @abstractmethod
    def start(self) -> None:
        """Listen at all endpoints."""

    @abstractmethod
    def stop(self, *, at_once: bool = False) -> None:
        """End all processes, ``at_once`` without letting them finish anything."""

    @abstractmethod
    def stored(self) -> list[Arrival]:
        """All that is there now."""

    def arrived(self, token: str, recipients: Iterable[str]) -> list[Arrival]:
        """The copies of the message with this ``token`` in it, once they are there.

        That is one for each of the recipients where they are delivered to mailboxes, else
        one. A message without content is known by its one recipient.

        Raises:
            AssertionError: not so many came, or more, or for others.
        """
        wanted = set(recipients)
        copies = len(wanted) if self.has_mailboxes else 1
        found: list[Arrival] = []

        def is_complete() -> bool:
            found[:] = self.found(token, wanted)
            return len(found) >= copies

        wait_until(is_complete, f"{copies} messages at {self.name}", lambda: len(found))
        assert len(found) == copies, f"{len(found)} messages in place of {copies}"
        named = {one for arrival in found for one in arrival.recipients}
        assert not named or named == wanted, f"they came for {named}"
        return found

    def found(self, token: str, recipients: Iterable[str] = ()) -> list[Arrival]:
        """What is there now with this token in it, or for any of these."""
        wanted = set(recipients)
        return [
            one
            for one in self.stored()
            if (token and token.encode() in one.content[:4000])
            or not wanted.isdisjoint(one.recipients)
        ]

    @abstractmethod
    def forget(self) -> None:
        """Remove all that is stored: what comes later is found the sooner."""

    def restart(self) -> None:
        """End it as it ends when the machine does, and start it again on the same ports."""
        self.stop(at_once=True)
        self.start()


class Process:
    """A child process, the leader of a session of its own, that is ended by its id."""

    def __init__(self, *command: str, log: Path) -> None:
        with log.open("ab") as output:
            self._child = subprocess.Popen(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.log = log

    @property
    def pid(self) -> int:
        """Of the child; its own children have it as their session."""
        return self._child.pid

    def wait_for(self, port: int = 0, path: str | None = None) -> None:
        """Wait until it listens.

        Raises:
            AssertionError: it does not; with what it wrote.
        """

        def listens() -> bool:
            assert self._child.poll() is None, self._log("ended")
            family = socket.AF_INET if path is None else socket.AF_UNIX
            with contextlib.suppress(OSError), socket.socket(family) as probe:
                probe.settimeout(1)
                probe.connect((HOST, port) if path is None else path)
                return True
            return False

        wait_until(listens, self._log(f"does not listen at port {port}"))

    def end(self, *, at_once: bool = False) -> None:
        """End it and all it has begun; returns when that is done."""
        if self._child.poll() is None and not at_once:
            self._child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(5)
        # What is left of its session; an empty one is no error.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait(10)
        # As long as one lives it may listen, and be taken for what is started next.
        wait_until(lambda: not self.descendants(), "the end of its children")

    def descendants(self, name: str | None = None) -> list[int]:
        """The ids of the living processes of its session, or of those that run ``name``."""
        found = []
        # As texts: pathlib interns each name, and the soak counts what is held.
        for process in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError), open(f"/proc/{process}/stat") as file:
                command, _, rest = file.read().partition("(")[2].rpartition(")")
                state, _, _, session = rest.split()[:4]
                if session == str(self.pid) and state not in "ZX" and name in (None, command):
                    found.append(int(process))
        return found

    def _log(self, what: str) -> str:
        return f"{self._child.args!r} {what}: {self.log.read_text(errors='replace')[-2000:]}"


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody uses now.

    They are below those that the kernel deals out: a server that is started again has to find
    its port as it left it, and not under another's connection.
    """
    dealt_out = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    with contextlib.ExitStack() as stack:
        ports: list[int] = []
        while len(ports) < count:
            one = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                one.bind((HOST, random.SystemRandom().randrange(8192, max(dealt_out, 16384))))
                ports.append(one.getsockname()[1])
        return ports


def wait_until(
    holds: Callable[[], bool], what: str, seen: Callable[[], object] = str, seconds: float = 30
) -> None:
    """Return once ``holds()``; raises AssertionError after ``seconds``."""
    end = time.monotonic() + seconds
    pause = 0.005
    while not holds():
        assert time.monotonic() < end, f"waited in vain for {what} {seen()}"
        time.sleep(pause)
        pause = min(pause * 1.5, 0.2)


_TRACE = re.compile(
    rb"(?:(?:Return-Path|X-Original-To|Delivered-To|Received):[^\n]*\n(?:[ \t][^\n]*\n)*)*"
)


def from_mailbox(content: bytes) -> Arrival:
    """A message of a maildir: whose it is, and the content behind the trace fields."""
    head = _TRACE.match(content)
    assert head is not None
    fields = re.findall(
        rb"(?m)^(?:X-Original-To|Delivered-To): <?([^>\n]*)|^\tfor <([^>\n]*)>", head[0]
    )
    # Postfix names the address as it was given first, and how it was rewritten.
    return Arrival((b"".join(fields[0]).decode(),) if fields else (), content[head.end() :])
