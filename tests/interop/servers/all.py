"""All servers of the table, each started when it is first asked for."""

from __future__ import annotations

import json
from importlib import metadata
from typing import Any

from interop.install import CACHE, NODE
from interop.servers.base import Server, free_ports
from interop.servers.dovecot import Dovecot, DovecotLMTP, DovecotSubmission
from interop.servers.exim import Exim
from interop.servers.haraka import Haraka
from interop.servers.opensmtpd import OpenSMTPD
from interop.servers.own import AioSmtpd, Nodemailer
from interop.servers.postfix import Postfix
from interop.servers.sendmail import Sendmail
from interop.servers.sink import SmtpSink

__all__ = ["SERVERS", "AllServers", "versions"]

SERVERS = (
    "Postfix",
    "Exim",
    "sendmail",
    "OpenSMTPD",
    "Haraka",
    "Dovecot LMTP (TCP)",
    "Dovecot LMTP (Unix)",
    "Dovecot submission",
    "smtp-sink",
    "aiosmtpd",
    "Nodemailer",
)


class AllServers:
    """The servers, from the first that is asked for to `close`."""

    def __init__(self) -> None:
        relay = free_ports(1)[0]
        self.dovecot = Dovecot(relay)
        self.postfix = Postfix(f"{self.dovecot.base}/auth", relay)
        views: list[Server] = [
            self.postfix,
            Exim(),
            Sendmail(),
            OpenSMTPD(),
            Haraka(),
            DovecotLMTP(self.dovecot, is_unix=False),
            DovecotLMTP(self.dovecot, is_unix=True),
            DovecotSubmission(self.dovecot, self.postfix),
            SmtpSink(),
            AioSmtpd(),
            Nodemailer(),
        ]
        self._servers = {server.name: server for server in views}
        assert tuple(self._servers) == SERVERS
        # The running programs: Dovecot's three services are one.
        self._programs: list[Any] = [
            self.dovecot,
            *(one for one in views if not hasattr(one, "dovecot")),
        ]
        self._started: list[object] = []

    def server(self, name: str) -> Server:
        """One of `SERVERS`, running, and those that it needs."""
        server = self._servers[name]
        needed: list[object] = [getattr(server, "dovecot", server)]
        if name in ("Postfix", "Dovecot submission"):
            needed = [self.dovecot, self.postfix]
        for program in self._programs:
            if program in needed and program not in self._started:
                program.start()
                self._started.append(program)
        return server

    def close(self) -> None:
        """End all, and delete what they stored."""
        for program in self._programs:
            if program in self._started:
                program.stop()
            program.remove()


def versions() -> dict[str, str]:
    """What was installed, for people."""
    stamp = (CACHE / "stamp").read_text().splitlines()
    debian = dict(line.split("_")[:2] for line in stamp)
    return {
        "Postfix and smtp-sink": debian["postfix"],
        "Exim": debian["exim4-daemon-light"],
        "sendmail": debian["sendmail-bin"],
        "OpenSMTPD": debian["opensmtpd"],
        "Haraka": _npm_version("Haraka"),
        "Dovecot": debian["dovecot-core"].replace("1%3a", ""),
        "aiosmtpd": metadata.version("aiosmtpd"),
        "Nodemailer's smtp-server": _npm_version("smtp-server"),
    }


def _npm_version(package: str) -> str:
    described = json.loads((NODE / "node_modules" / package / "package.json").read_text())
    return str(described["version"])
