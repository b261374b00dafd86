"""Servers that are libraries, run by small programs of ours: aiosmtpd and Nodemailer's."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from interop.install import NODE
from interop.servers import certificates
from interop.servers.base import (
    ONLY_UNKNOWN_COMMANDS,
    Arrival,
    Endpoint,
    Process,
    Server,
    free_ports,
)

__all__ = ["PROGRAMS", "TOKEN", "AioSmtpd", "Nodemailer", "Own"]

PROGRAMS = Path(__file__).parents[1] / "programs"
TOKEN = "a-token-that-is-good"


class Own(Server):
    keeps_line_ends = True
    ports: tuple[str, ...]
    command: tuple[str, ...]

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="mailbackends-own-"))
        (self._folder / "mail").mkdir()
        self._ports = dict(zip(self.ports, free_ports(len(self.ports)), strict=True))
        self.endpoints = {name: Endpoint(port) for name, port in self._ports.items()}
        self._config = self._configure()
        self._read: dict[str, Arrival] = {}

    def _configure(self) -> Path:
        """Write the configuration, and return the argument that names it."""
        cert, key = certificates.write(self._folder)
        config = {
            "folder": str(self._folder / "mail"),
            "cert": str(cert),
            "key": str(key),
            "ports": self._ports,
            "module": str(NODE / "node_modules/smtp-server"),
            "token": TOKEN,
        }
        path = self._folder / "config.json"
        path.write_text(json.dumps(config))
        return path

    @property
    def port(self) -> int:
        """Where it listens without TLS."""
        return self._ports["plain"]

    def start(self) -> None:
        self._process = Process(*self.command, str(self._config), log=self._folder / "log")
        for port in self._ports.values():
            self._process.wait_for(port)

    def stop(self, *, at_once: bool = False) -> None:
        self._process.end(at_once=at_once)

    def remove(self) -> None:
        """Forget all that it has stored."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def forget(self) -> None:
        for path in self._paths():
            os.unlink(path)
        self._read.clear()

    def stored(self) -> list[Arrival]:
        for path in self._paths():
            if path not in self._read:
                with open(path, "rb") as file:
                    head, _, content = file.read().partition(b"\n")
                recipients = tuple(json.loads(head)["recipients"])
                self._read[path] = Arrival(recipients, self._without_trace(content))
        return list(self._read.values())

    def _without_trace(self, content: bytes) -> bytes:
        return content

    def _paths(self) -> list[str]:
        # As texts: pathlib interns each name, and the table of those is memory that grows.
        with os.scandir(self._folder / "mail") as entries:
            return [one.path for one in entries if one.name.endswith(".eml")]


class AioSmtpd(Own):
    """aiosmtpd."""

    name = "aiosmtpd"
    mechanisms = ("PLAIN", "LOGIN")
    ports = ("plain", "tls", "over SIZE", "too many messages", "idle")
    command = (sys.executable, str(PROGRAMS / "aio.py"))
    messages_per_connection = 2
    long_lines = "refused"
    lacks = {  # noqa: RUF012
        "421": "it has no limit of connections",
        "too many errors": ONLY_UNKNOWN_COMMANDS,
        "too many messages in a minute": "it has no such limit",
    }


class Nodemailer(Own):
    """Nodemailer's smtp-server."""

    name = "Nodemailer"
    mechanisms = ("PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2")
    ports = ("plain", "tls", "over SIZE", "421", "idle")
    command = ("node", str(PROGRAMS / "nodemailer.js"))
    lacks = {  # noqa: RUF012
        "too many errors": ONLY_UNKNOWN_COMMANDS,
        "too many messages": "it has no such limit",
        "too many messages in a minute": "it has no such limit",
    }
