"""The standard library's smtplib, and mailbackends as its replacement."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Sequence
from typing import Any

import mailbackends
from bench.clients.base import Client, Work
from bench.samples import WARM_UP

__all__ = ["make"]


def make(manner: str) -> Client:
    """``each`` or ``kept``, ``ours kept``, or ``built kept``, which creates each message when it
    is sent."""
    return _Smtplib(manner)


class _Smtplib(Client):
    def __init__(self, manner: str) -> None:
        super().__init__(manner)
        self.library: Any = mailbackends if manner.startswith("ours") else smtplib
        self.builds = manner.startswith("built")
        self.kept: Any = None

    def make(self, work: Work, count: int) -> Sequence[Any]:
        return [work.sample] * count if self.builds else super().make(work, count)

    def prepare(self, work: Work) -> int:
        self.context = ssl.create_default_context()
        if not self.manner.endswith("kept"):
            return 0
        self.kept = self._connected(work)
        self.kept.send_message(WARM_UP.email_message())
        return 1

    def send(self, work: Work, messages: Sequence[Any]) -> None:
        if self.kept is not None:
            for message in messages:
                self.kept.send_message(message.email_message() if self.builds else message)
            return
        for message in messages:
            with self._connected(work) as client:
                client.send_message(message)

    def finish(self) -> None:
        if self.kept is not None:
            self.kept.quit()
            self.kept = None

    def _connected(self, work: Work) -> Any:
        client = self.library.SMTP(work.host, work.port, local_hostname=work.local_hostname)
        if work.security == "starttls":
            client.starttls(context=self.context)
        if work.login:
            client.login(*work.login)
        return client
