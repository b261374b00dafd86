"""All servers of the table, each started when it is first asked for."""

from __future__ import annotations

from importlib import metadata

from interop.install import CACHE, NODE
from interop.servers.base import Server, free_ports
from interop.servers.dovecot import Dovecot, DovecotLMTP, DovecotSubmission
from interop.servers.own import AioSmtpd, Nodemailer
from interop.servers.postfix import Postfix
from interop.servers.sink import SmtpSink

__all__ = ["SERVERS", "World", "versions"]

SERVERS = (
    "Postfix",
    "Dovecot LMTP (TCP)",
    "Dovecot LMTP (Unix)",
    "Dovecot submission",
    "smtp-sink",
    "aiosmtpd",
    "Nodemailer",
)


class World:
    """The servers, from the first that is asked for to `close`."""

    def __init__(self) -> None:
        relay = free_ports(1)[0]
        self.dovecot = Dovecot(relay)
        self.postfix = Postfix(f"{self.dovecot.base}/auth", relay)
        self.sink, self.aiosmtpd, self.nodemailer = SmtpSink(), AioSmtpd(), Nodemailer()
        self._parts = (self.dovecot, self.postfix, self.sink, self.aiosmtpd, self.nodemailer)
        self._started: list[object] = []
        views: list[Server] = [
            self.postfix,
            DovecotLMTP(self.dovecot, is_unix=False),
            DovecotLMTP(self.dovecot, is_unix=True),
            DovecotSubmission(self.dovecot, self.postfix),
            self.sink,
            self.aiosmtpd,
            self.nodemailer,
        ]
        self._servers = {server.name: server for server in views}
        assert tuple(self._servers) == SERVERS

    def server(self, name: str) -> Server:
        """One of `SERVERS`, running, and those that it needs."""
        server = self._servers[name]
        needed: list[object] = [getattr(server, "dovecot", server)]
        if name in ("Postfix", "Dovecot submission"):
            needed = [self.dovecot, self.postfix]
        for part in self._parts:
            if part in needed and part not in self._started:
                part.start()
                self._started.append(part)
        return server

    def close(self) -> None:
        """End all, and forget what they stored."""
        for part in self._parts:
            if part in self._started:
                part.stop()
            part.remove()


def versions() -> dict[str, str]:
    """What was installed, for people."""
    stamp = (CACHE / "stamp").read_text().splitlines()[1:]
    debian = dict(line.split("_")[:2] for line in stamp)
    npm = (NODE / "node_modules/smtp-server/package.json").read_text()
    return {
        "Postfix and smtp-sink": debian["postfix"],
        "Dovecot": debian["dovecot-core"].replace("1%3a", ""),
        "aiosmtpd": metadata.version("aiosmtpd"),
        "Nodemailer's smtp-server": npm.partition('"version": "')[2].partition('"')[0],
    }
