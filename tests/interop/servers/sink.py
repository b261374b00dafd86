"""Postfix's smtp-sink: a server for measurements, which can fail at each command."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

from interop.install import ROOT, USERS
from interop.servers.base import HOST, Arrival, Endpoint, Process, Server, free_ports

__all__ = ["SmtpSink"]

# One process for each, by what it is for; all else is fixed when it starts.
_FLAGS = {
    "plain": (),
    "all refused": ("-f", "RCPT"),
    "temporary refusal": ("-r", "RCPT"),
    "refused content": ("-f", "."),
    "421": ("-Q", "CONNECT"),
    "idle": ("-t", "1"),
}
_HEAD = re.compile(rb"(?:X-[A-Za-z-]+: [^\n]*\n)+Received: [^\n]*\n(?:[ \t][^\n]*\n)*")


class SmtpSink(Server):
    """Several smtp-sinks."""

    name = "smtp-sink"
    announced_in_vain = ("PLAIN", "LOGIN")
    counts_unknown_commands = False
    lacks = {  # noqa: RUF012
        "STARTTLS": "not announced; nothing is sent in clear",
        "implicit TLS": "it has no TLS",
        "AUTH": "it announces AUTH and takes no login",
        "SMTPUTF8": "not announced",
        "one refused": "it refuses a command always or never",
        "SIZE": "it has no limit of size",
        "too many errors": "it has no such limit",
        "too many messages": "it has no such limit",
        "too many messages in a minute": "it has no such limit",
    }

    def __init__(self, flags: dict[str, tuple[str, ...]] | None = None) -> None:
        """``flags`` are those of each, by what it is for."""
        self._folder = Path(tempfile.mkdtemp(prefix="sink-", dir=ROOT / "srv"))
        os.chown(self._folder, USERS["mail"], USERS["mail"])
        self._flags = flags or _FLAGS
        self._ports = dict(zip(self._flags, free_ports(len(self._flags)), strict=True))
        self.endpoints = {name: Endpoint(port) for name, port in self._ports.items()}
        self._read: dict[str, Arrival] = {}

    def start(self) -> None:
        base = "/" + str(self._folder.relative_to(ROOT))
        self._processes = [
            Process(
                "chroot", str(ROOT), "/usr/sbin/smtp-sink", "-u", "mail", *self._flags[name],
                "-d", f"{base}/%H%M%S.", f"{HOST}:{port}", "64", log=self._folder / "log",
            )
            for name, port in self._ports.items()
        ]  # fmt: skip
        for process, port in zip(self._processes, self._ports.values(), strict=True):
            process.wait_for(port)

    def stop(self, *, at_once: bool = False) -> None:
        for process in self._processes:
            process.end(at_once=at_once)

    def remove(self) -> None:
        """Forget all that it has stored."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def forget(self) -> None:
        for path in self._folder.glob("*.*"):
            path.unlink()
        self._read.clear()

    def stored(self) -> list[Arrival]:
        for path in self._folder.glob("*.*"):
            if path.name not in self._read:
                try:
                    data = path.read_bytes()
                except FileNotFoundError:
                    continue  # smtp-sink removes messages that it did not accept.
                head = _HEAD.match(data)
                # It is written as it comes: without its last empty line it is not whole.
                if head is None or not data.endswith(b"\n\n"):
                    continue
                local_parts = re.findall(rb"(?m)^X-Rcpt-Args: <([^>]*)>", head[0])
                self._read[path.name] = Arrival(
                    tuple(one.decode() for one in local_parts), data[head.end() : -1]
                )
        return list(self._read.values())
