"""Our own AsyncMailer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from bench.clients.base import Client, Work
from bench.samples import WARM_UP
from mailbackends import AsyncMailer

__all__ = ["make"]

_CONNECTIONS = 4


def make(manner: str) -> Client:
    """``each``, one after the other, or ``tasks``: all at once over four connections."""
    return _Async(manner)


class _Async(Client):
    def __init__(self, manner: str) -> None:
        super().__init__(manner)
        self.runner = asyncio.Runner()
        self.mailer: AsyncMailer | None = None

    def prepare(self, work: Work) -> int:
        options: dict[str, Any] = {
            "host": work.host,
            "port": work.port,
            "security": work.security,
            "local_hostname": work.local_hostname,
            "pool_size": _CONNECTIONS,
            "pool_timeout": None,
            "deadline": None,
        }
        if work.login:
            options["username"], options["password"] = work.login
        self.mailer = AsyncMailer(**options)
        connections = _CONNECTIONS if self.manner == "tasks" else 1
        self.send(work, [WARM_UP.email_message() for _ in range(connections)])
        return connections

    def send(self, work: Work, messages: Sequence[Any]) -> None:
        self.runner.run(self._send(messages))

    async def _send(self, messages: Sequence[Any]) -> None:
        if self.mailer is None:
            raise RuntimeError("prepare() comes first")
        if self.manner == "tasks":
            await asyncio.gather(*map(self.mailer.send_message, messages))
        else:
            for message in messages:
                await self.mailer.send_message(message)

    def finish(self) -> None:
        if self.mailer is not None:
            self.runner.run(self.mailer.close())
            self.mailer = None
