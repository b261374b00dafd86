"""Sending messages by the blocking and by the asyncio face, in each of three ways."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from faults.accounts import Letter

from mailbackends import AsyncMailer, Mailer, Options, Receipt, SMTPException, Submission
from mailbackends.mailer.base import MailerStats
from support.turns import Network, TurnsLoop

__all__ = ["CALLS", "FACES", "Face", "Results"]

Results: TypeAlias = list[tuple[Letter, Receipt | Exception]]
Face: TypeAlias = Callable[[Network, list[Options], str, list[Letter]], tuple[Results, MailerStats]]


def _singly(mailer: Any, letters: list[Letter]) -> Results:
    results: Results = []
    for one in letters:
        try:
            got = mailer.send_message(one.content, one.sender, one.recipients)
        except SMTPException as error:
            results.append((one, error))
        else:
            results.append((one, got))
    return results


def _batch(mailer: Mailer, letters: list[Letter]) -> Results:
    return list(zip(letters, mailer.stream_messages(map(_submission, letters)), strict=True))


def _held(mailer: Mailer, letters: list[Letter]) -> Results:
    with mailer.hold() as held:
        return _singly(held, letters)


CALLS: dict[str, Callable[[Mailer, list[Letter]], Results]] = {
    "single": _singly,
    "batch": _batch,
    "held": _held,
}


async def _async_singly(mailer: Any, letters: list[Letter]) -> Results:
    results: Results = []
    for one in letters:
        try:
            got = await mailer.send_message(one.content, one.sender, one.recipients)
        except SMTPException as error:
            results.append((one, error))
        else:
            results.append((one, got))
    return results


async def _async_batch(mailer: AsyncMailer, letters: list[Letter]) -> Results:
    outcomes = [each async for each in mailer.stream_messages(map(_submission, letters))]
    return list(zip(letters, outcomes, strict=True))


async def _async_held(mailer: AsyncMailer, letters: list[Letter]) -> Results:
    async with mailer.hold() as held:
        return await _async_singly(held, letters)


_ASYNC_CALLS: dict[str, Callable[[AsyncMailer, list[Letter]], Awaitable[Results]]] = {
    "single": _async_singly,
    "batch": _async_batch,
    "held": _async_held,
}


def _submission(one: Letter) -> Submission:
    return Submission(one.content, one.sender, one.recipients)


def _blocking(
    network: Network, options: list[Options], call: str, letters: list[Letter]
) -> tuple[Results, MailerStats]:
    with Mailer(options) as mailer:
        return CALLS[call](mailer, letters), mailer.stats()


def _asyncio(
    network: Network, options: list[Options], call: str, letters: list[Letter]
) -> tuple[Results, MailerStats]:
    async def send() -> tuple[Results, MailerStats]:
        async with AsyncMailer(options) as mailer:
            return await _ASYNC_CALLS[call](mailer, letters), mailer.stats()

    with asyncio.Runner(loop_factory=lambda: TurnsLoop(network)) as runner:
        return runner.run(send())


FACES: dict[str, Face] = {"blocking": _blocking, "asyncio": _asyncio}
