"""What all servers have in common: ports, child processes, and the messages that arrived."""

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

__all__ = [
    "HOST", "ONLY_UNKNOWN_COMMANDS", "Arrival", "Endpoint", "Process", "Server", "free_ports",
    "from_mailbox", "wait_until",
]  # fmt: skip

HOST = "127.0.0.1"
ONLY_UNKNOWN_COMMANDS = "it counts unknown commands only, and none is sent"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server listens, and the user to log in as, if it requires one."""

    port: int = 0
    path: str | None = None
    user: str | None = None


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message as the server stored it, without the trace fields in front."""

    recipients: tuple[str, ...]
    """The recipients that the server stored: all of the envelope, or the owner of the mailbox."""
    content: bytes
    """With the line ends as they are stored."""


class Server(ABC):
    """A server that runs between `start` and `stop`; a column of the table.

    ``lacks`` has the reasons why scenarios cannot be played here, by the name of their need.
    """

    name: str
    version = ""
    protocol = "smtp"
    mechanisms: tuple[str, ...] = ()
    announced_in_vain: tuple[str, ...] = ()
    """Mechanisms that no login ever succeeds with."""
    announces_tls_in_vain = False
    """True if STARTTLS is announced and no handshake ever succeeds."""
    room = 1
    """Connections that may be open at the endpoint ``421``."""
    messages_per_connection: int | None = None
    """Messages that one connection may carry at the endpoint ``too many messages``."""
    recipients_per_message: int | None = None
    """Recipients of one transaction; each further one is refused with 452."""
    needs_login = False
    has_mailboxes = False
    """True if each recipient gets a separate copy."""
    counts_refusals = ""
    """Whether refused recipients add up to too many errors: ``always``, or ``pipelined`` where
    only a DATA counts that came with them in one write."""
    counts_unknown_commands = True
    long_lines = "stored"
    """What happens to lines of 5,000 bytes: also ``refused``, or ``folded``."""
    lone_line_ends = "stored"
    """What happens to a lone CR or LF: also ``refused``."""
    adds_fields = False
    """True if Date, From and Message-ID are added when they are missing."""
    keeps_line_ends = False
    """True if the store has the bytes as they came."""
    local_parts: dict[str, str]
    """The recipients for needs that depend on the mailbox; all other needs have ``a``."""
    lacks: dict[str, str]
    endpoints: dict[str, Endpoint]

    def local_part(self, need: str) -> str:
        """The local part of the recipient for this need, without its extension."""
        local_parts: dict[str, str] = getattr(self, "local_parts", {})
        return local_parts.get(need, "a")

    def endpoint(self, need: str = "plain") -> Endpoint:
        """The endpoint for this need; most needs have no separate one."""
        return self.endpoints.get(need, self.endpoints["plain"])

    @abstractmethod
    def start(self) -> None:
        """Listen at all endpoints."""

    @abstractmethod
    def stop(self, *, at_once: bool = False) -> None:
        """End all processes, ``at_once`` without letting them finish anything."""

    @abstractmethod
    def stored(self) -> list[Arrival]:
        """All messages that have arrived."""

    def arrived(self, token: str, recipients: Iterable[str]) -> list[Arrival]:
        """Wait for the copies of the message with this ``token`` in it, and return them.

        That is one for each recipient where they are delivered to mailboxes, else one for each
        transaction. A message without content is known by its one recipient.

        Raises:
            AssertionError: not so many came, or more, or for others.
        """
        wanted = set(recipients)
        copies = len(wanted) if self.has_mailboxes else 1
        if self.recipients_per_message is not None:
            copies = -(-len(wanted) // self.recipients_per_message)
        found: list[Arrival] = []

        def is_complete() -> bool:
            found[:] = self.found(token, wanted)
            return len(found) >= copies

        wait_until(is_complete, f"{copies} messages at {self.name}", lambda: len(found))
        assert len(found) == copies, f"{len(found)} messages instead of {copies}"
        named = [one for arrival in found for one in arrival.recipients]
        assert not named or sorted(named) == sorted(wanted), f"they came for {named}"
        return found

    def found(self, token: str, recipients: Iterable[str] = ()) -> list[Arrival]:
        """The messages that have arrived with this token in them, or for any of these."""
        wanted = set(recipients)
        return [
            one
            for one in self.stored()
            if (token and token.encode() in one.content[:4000])
            or not wanted.isdisjoint(one.recipients)
        ]

    @abstractmethod
    def forget(self) -> None:
        """Delete all stored messages, so that later ones are found faster."""

    def restart(self) -> None:
        """Kill it, as when the machine crashes, and start it again on the same ports."""
        self.stop(at_once=True)
        self.start()


class Process:
    """A child process that leads its own session and is ended by its id."""

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
        """The id of the child, which is also the session of its children."""
        return self._child.pid

    def wait_for(self, port: int = 0, path: str | None = None) -> None:
        """Wait until it listens.

        Raises:
            AssertionError: it does not; with its output.
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
        """End it and its descendants; return when they are gone."""
        if self._child.poll() is None and not at_once:
            self._child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(5)
        # What is left of its session, if anything.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait(10)
        # A living one may still listen, and be taken for the next process.
        wait_until(lambda: not self.descendants(), "the end of its children")

    def descendants(self, name: str | None = None) -> list[int]:
        """The ids of the living processes of its session, or of those that run ``name``."""
        found = []
        # Not with pathlib, which interns each name: the soak counts memory.
        for process in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError), open(f"/proc/{process}/stat") as file:
                command, _, rest = file.read().partition("(")[2].rpartition(")")
                state, _, _, session = rest.split()[:4]
                if session == str(self.pid) and state not in "ZX" and name in (None, command):
                    found.append(int(process))
        return found

    def _log(self, what: str) -> str:
        return f"{self._child.args!r} {what}: {self.log.read_text(errors='replace')[-2000:]}"


# All ports that were chosen: a server binds its ports only when it starts, and until then no other
# server may get them.
_drawn: set[int] = set()


def free_ports(count: int) -> list[int]:
    """Ports of loopback that are not in use, and that no earlier call returned.

    They are below the ephemeral ports: a server that is started again must find its port free,
    and not used by an outgoing connection.
    """
    ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports: list[int] = []
    while len(ports) < count:
        port = random.SystemRandom().randrange(8192, max(ephemeral, 16384))
        if port in _drawn:
            continue
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind((HOST, port))
            ports.append(port)
            _drawn.add(port)
    return ports


def wait_until(
    holds: Callable[[], bool], what: str, seen: Callable[[], object] = str, seconds: float = 30
) -> None:
    """Return when ``holds()`` is true; raise AssertionError after ``seconds``."""
    end = time.monotonic() + seconds
    pause = 0.005
    while not holds():
        assert time.monotonic() < end, f"{what}: not within {seconds} seconds. {seen()}"
        time.sleep(pause)
        pause = min(pause * 1.5, 0.2)


_TRACE = re.compile(
    rb"(?:(?:Return-Path|Return-path|X-Original-To|Delivered-To|Envelope-to|Received):"
    rb"[^\n]*\n(?:[ \t][^\n]*\n)*)*"
)


def from_mailbox(content: bytes) -> Arrival:
    """A message of a maildir: its recipients, and the content after the trace fields."""
    head = _TRACE.match(content)
    assert head is not None
    trace = head[0]
    rest = content[head.end() :]
    # Exim names all recipients in one field.
    if found := re.search(rb"(?m)^Envelope-to: (.*(?:\n[ \t].*)*)", trace):
        return Arrival(tuple(one.strip().decode() for one in found[1].split(b",")), rest)
    fields = re.findall(
        rb"(?m)^(?:X-Original-To|Delivered-To): <?([^>\n]*)|^\tfor <([^>\n]*)>", trace
    )
    # Postfix first names the address as it was given, then as it was rewritten.
    return Arrival((b"".join(fields[0]).decode(),) if fields else (), rest)
