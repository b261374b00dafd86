"""Tokens in the logins of an AsyncMailer: what `test_login.py` shows for a Mailer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mailbackends import AsyncMailer, Outcome, SMTPAuthenticationError, TokenError
from mailbackends.oauth import AccessToken, TokenProvider
from support.token_endpoint import TokenEndpoint

from .test_login import Issuer, Server, message, server

__all__ = ["server"]  # a fixture


def mailer(server: Server, **options: Any) -> AsyncMailer:
    return AsyncMailer(server.sink.url, username="shop@example.com", **options)


def test_a_thousand_tasks_that_need_a_token_cause_one_request(server: Server) -> None:
    issuer = Issuer(server)

    async def main() -> list[Outcome]:
        async with mailer(server, token_provider=issuer.provider, pool_size=20) as sending:
            found = await asyncio.gather(*(sending.send_message(message()) for _ in range(1000)))
        return [each.outcome for each in found]

    assert asyncio.run(main()) == [Outcome.ACCEPTED] * 1000
    assert issuer.issued == 1


def test_the_event_loop_is_not_blocked_while_a_token_is_fetched(
    server: Server, tmp_path: Path
) -> None:
    may_answer = threading.Event()
    waited: list[bool] = []
    (tmp_path / "refresh-token").write_text("refresh-me\n")
    server.valid.add("token-1")

    async def main() -> Outcome:
        with TokenEndpoint() as endpoint:
            endpoint.answers.append(lambda: waited.append(may_answer.wait(10)))
            sending = mailer(
                server,
                oauth="refresh_token",
                token_url=endpoint.url,
                client_id="shop",
                refresh_token_file=str(tmp_path / "refresh-token"),
            )
            task = asyncio.create_task(sending.send_message(message()))
            while not endpoint.forms:  # noqa: ASYNC110 - it is filled by another thread
                await asyncio.sleep(0.01)
            # Only a loop that is not blocked gets here before the endpoint has answered.
            may_answer.set()
            outcome = (await task).outcome
            await sending.close()
            return outcome

    assert asyncio.run(main()) is Outcome.ACCEPTED
    assert waited == [True]


def test_a_token_that_expires_in_the_middle_of_a_batch_is_replaced(server: Server) -> None:
    issuer = Issuer(server)

    async def messages() -> AsyncIterator[Any]:
        for number in range(6):
            if number == 3:
                issuer.now += 3600
                server.valid.clear()
            yield message()

    async def main() -> list[Outcome | None]:
        async with mailer(
            server, token_provider=issuer.provider, max_messages_per_connection=1
        ) as sending:
            return [each.outcome async for each in sending.stream_messages(messages())]

    assert asyncio.run(main()) == [Outcome.ACCEPTED] * 6
    assert server.seen == ["token-1"] * 3 + ["token-2"] * 3


def test_a_revoked_token_costs_one_more_attempt(server: Server) -> None:
    issuer = Issuer(server)

    async def main() -> None:
        async with mailer(
            server, token_provider=issuer.provider, max_messages_per_connection=1
        ) as sending:
            await sending.send_message(message())
            server.valid.clear()
            issuer.now += 120
            await sending.send_message(message())

    asyncio.run(main())
    assert server.seen == ["token-1", "token-1", "token-2"]


def test_a_login_refused_with_a_new_token_does_not_ask_for_more_tokens(server: Server) -> None:
    issuer = Issuer(server)
    issuer.provider()
    server.valid.clear()

    async def main() -> None:
        async with mailer(server, token_provider=issuer.provider) as sending:
            for _ in range(3):
                with pytest.raises(SMTPAuthenticationError, match=r"as shop@example\.com refused"):
                    await sending.send_message(message())

    asyncio.run(main())
    assert issuer.issued == 1


def test_after_a_failure_there_is_no_request_until_the_pause_is_over(server: Server) -> None:
    issuer = Issuer(server)
    calls: list[None] = []

    def fetch() -> AccessToken:
        calls.append(None)
        raise TokenError("no access token for shop: the endpoint is busy", "slow_down")

    provider = TokenProvider(fetch, identity="shop", clock=lambda: issuer.now)

    async def main() -> None:
        async with mailer(server, token_provider=provider) as sending:
            for _ in range(3):
                with pytest.raises(TokenError, match="busy") as caught:
                    await sending.send_message(message())
                assert (caught.value.outcome, caught.value.is_transient) == ("not_sent", True)
            issuer.now += 1.5
            with pytest.raises(TokenError):
                await sending.send_message(message())
            assert sending.stats().pool.in_use == 0

    asyncio.run(main())
    assert len(calls) == 2


def test_an_endpoint_that_hangs_costs_no_more_than_the_timeout(server: Server) -> None:
    ended = threading.Event()

    def fetch() -> AccessToken:
        ended.wait(10)
        raise TokenError("too late")

    provider = TokenProvider(fetch, identity="shop", timeout=0.2)

    async def main() -> None:
        async with mailer(server, token_provider=provider) as sending:
            with pytest.raises(TokenError, match=r"did not answer within 0\.2 s") as caught:
                await sending.send_message(message())
            assert caught.value.code == "timeout"
            assert sending.stats().pool.in_use == 0

    asyncio.run(main())
    ended.set()
    assert server.seen == []
