"""mailbackends' Mailer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.clients.base import Client, Work
from bench.samples import SENDER, SENDER_NAME, WARM_UP, Sample
from mailbackends import Email, Mailer, Receipt, Submission

__all__ = ["make"]

_CONNECTIONS = 4
_IN_FLIGHT = 16


def make(manner: str) -> Client:
    """Words of: ``cold`` (a new Mailer for each message), ``batch`` (else one call for each
    message), ``connections`` (four of them), ``pipelined`` (sixteen messages in flight),
    ``bytes`` (in place of message objects), ``email`` (an `Email`, created when it is sent),
    ``pipelining`` (without CHUNKING), ``upkeep`` (``min_idle=1``)."""
    return _Core(manner)


class _Core(Client):
    def __init__(self, manner: str) -> None:
        super().__init__(manner)
        self.words = set(manner.split())
        self.mailer: Mailer | None = None

    def prepare(self, work: Work) -> int:
        self.options: dict[str, Any] = {
            "host": work.host,
            "port": work.port,
            "security": work.security,
            "local_hostname": work.local_hostname,
            "chunking": "pipelining" not in self.words,
        }
        if work.login:
            self.options["username"], self.options["password"] = work.login
        if "connections" in self.words:
            self.options["batch_connections"] = _CONNECTIONS
        if "pipelined" in self.words:
            self.options["batch_pipeline"] = _IN_FLIGHT
        if "upkeep" in self.words:
            self.options["min_idle"] = 1
        if work.max_idle:
            self.options["max_idle"] = work.max_idle
        if "cold" in self.words:
            return 0
        self.mailer = Mailer(**self.options)
        connections: int = self.options.get("batch_connections", 1)
        self.send(work, self._made(WARM_UP, connections))
        return connections

    def make(self, work: Work, count: int) -> Sequence[Any]:
        return self._made(work.sample, count)

    def _made(self, sample: Sample, count: int) -> list[Any]:
        if "email" in self.words:
            return [sample] * count
        if "bytes" not in self.words:
            return [Submission(sample.email_message()) for _ in range(count)]
        return [Submission(sample.wire_bytes(), SENDER, sample.recipients)] * count

    def send(self, work: Work, messages: Sequence[Any]) -> None:
        if self.mailer is None:
            for message in messages:
                with Mailer(**self.options) as mailer:
                    mailer.send_message(message.message)
        elif "email" in self.words:
            for sample in messages:
                self.mailer.send_message(_email(sample))
        elif "batch" in self.words:
            for outcome in self.mailer.stream_messages(messages):
                if not isinstance(outcome, Receipt):
                    raise outcome
        else:
            for message in messages:
                self.mailer.send_message(message.message, message.from_addr, message.to_addrs)

    def finish(self) -> None:
        if self.mailer is not None:
            self.mailer.close()
            self.mailer = None


def _email(sample: Sample) -> Email:
    return Email(
        subject=sample.subject,
        sender=(SENDER_NAME, SENDER),
        to=sample.recipients,
        text=sample.text,
        html=sample.html or None,
    )
