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
from interop.servers.base import Arrival, Endpoint, Process, Server, free_ports

__all__ = ["TOKEN", "AioSmtpd", "Nodemailer", "Own"]

_PROGRAMS = Path(__file__).parents[1] / "programs"
TOKEN = "a-token-that-is-good"


class Own(Server):
    keeps_line_ends = True
    ports: tuple[str, ...]
    command: tuple[str, ...]

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="mailbackends-own-"))
        (self._folder / "mail").mkdir()
        cert, key = certificates.write(self._folder)
        self._ports = dict(zip(self.ports, free_ports(len(self.ports)), strict=True))
        self.endpoints = {name: Endpoint(port) for name, port in self._ports.items()}
        config = {
            "folder": str(self._folder / "mail"),
            "cert": str(cert),
            "key": str(key),
            "ports": self._ports,
            "module": str(NODE / "node_modules/smtp-server"),
            "token": TOKEN,
        }
        self._config = self._folder / "config.json"
        self._config.write_text(json.dumps(config))
        self._read: dict[str, Arrival] = {}

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
                self._read[path] = Arrival(tuple(json.loads(head)["recipients"]), content)
        return list(self._read.values())

    def _paths(self) -> list[str]:
        # As texts: pathlib interns each name, and the table of those is memory that grows.
        with os.scandir(self._folder / "mail") as entries:
            return [one.path for one in entries if one.name.endswith(".eml")]


class AioSmtpd(Own):
    """aiosmtpd."""

    name = "aiosmtpd"
    mechanisms = ("PLAIN", "LOGIN")
    ports = ("plain", "tls", "over SIZE", "too many messages", "idle")
    command = (sys.executable, str(_PROGRAMS / "aio.py"))
    lacks = {  # noqa: RUF012
        "421": "it has no limit of connections",
        "long lines": "refused with 500: it keeps to the 1,000 of RFC 5321",
        "too many errors": "it counts unknown commands only, and none is sent",
    }


class Nodemailer(Own):
    """Nodemailer's smtp-server."""

    name = "Nodemailer"
    mechanisms = ("PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2")
    ports = ("plain", "tls", "over SIZE", "421", "idle")
    command = ("node", str(_PROGRAMS / "nodemailer.js"))
    lacks = {  # noqa: RUF012
        "too many errors": "it counts unknown commands only, and none is sent",
        "too many messages": "it has no such limit",
    }
