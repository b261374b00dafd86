"""aiosmtplib, one message after the other."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any

import aiosmtplib

from bench.clients.base import Client, Work
from bench.samples import WARM_UP

__all__ = ["make"]


def make(manner: str) -> Client:
    """``each`` or ``kept``."""
    return _Aiosmtplib(manner)


class _Aiosmtplib(Client):
    def __init__(self, manner: str) -> None:
        super().__init__(manner)
        self.runner = asyncio.Runner()
        self.kept: aiosmtplib.SMTP | None = None

    def prepare(self, work: Work) -> int:
        self.options: dict[str, Any] = {
            "hostname": work.host,
            "port": work.port,
            "local_hostname": work.local_hostname,
            "start_tls": work.security == "starttls",
            "tls_context": ssl.create_default_context() if work.security == "starttls" else None,
        }
        if work.login:
            self.options["username"], self.options["password"] = work.login
        if self.manner != "kept":
            return 0
        self.runner.run(self._open(work))
        return 1

    async def _open(self, work: Work) -> None:
        self.kept = aiosmtplib.SMTP(**self.options)
        await self.kept.connect()
        await self.kept.send_message(WARM_UP.email_message())

    def send(self, work: Work, messages: Sequence[Any]) -> None:
        self.runner.run(self._send(messages))

    async def _send(self, messages: Sequence[Any]) -> None:
        for message in messages:
            if self.kept is not None:
                await self.kept.send_message(message)
            else:
                await aiosmtplib.send(message, **self.options)

    def finish(self) -> None:
        if self.kept is not None:
            self.runner.run(self.kept.quit())
            self.kept = None
