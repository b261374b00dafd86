"""A rate that many processes share, through a store of the library `limits`."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any
from unittest.mock import patch

import pytest

from mailbackends import ConfigurationError, Mailer, Outcome, RateLimited
from mailbackends.mailer.rate import Rate
from mailbackends.mailer.throttle import SharedThrottle
from mailbackends.mailer.url import SecretURL
from support.redis_server import redis_server
from support.sink import Sink

WITHOUT = "the library limits is not installed here: it comes with mailbackends[rate]"


def message() -> EmailMessage:
    made = EmailMessage()
    made["From"] = "from@example.com"
    made["To"] = "to@example.com"
    made.set_content("Hello.\n")
    return made


@pytest.fixture
def limits() -> None:
    pytest.importorskip("limits", reason=WITHOUT)


@pytest.fixture
def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture
def redis(limits: None) -> Iterator[str]:
    """The URL of a real Redis on loopback without persistence."""
    pytest.importorskip("redis", reason="the client of Redis is not installed here")
    with redis_server() as url:
        yield url


def throttle(storage: str, rate: Rate, key: str = "one") -> SharedThrottle:
    return SharedThrottle([rate], f"{rate.amount}/{rate.seconds}", SecretURL(storage), key)


def soon() -> float:
    return time.monotonic() + 0.2


# --- the store in memory --------------------------------------------------------------


@pytest.mark.usefixtures("limits")
def test_a_mailer_limits_its_rate_with_a_store() -> None:
    with Sink() as sink:
        with Mailer(sink.url, rate="3/hour", rate_storage="memory://", deadline=5.0) as mailer:
            for _ in range(3):
                mailer.send_message(message())
            with pytest.raises(RateLimited) as raised:
                mailer.send_message(message())
            assert mailer.stats().messages == {Outcome.ACCEPTED: 3, Outcome.NOT_SENT: 1}
        assert len(sink.messages) == 3
    assert 3500 < raised.value.retry_after <= 3600


@pytest.mark.usefixtures("limits")
def test_a_caller_that_can_wait_waits_for_its_turn() -> None:
    limit = throttle("memory://", Rate(2, 1))
    for _ in range(5):
        limit.wait(time.monotonic() + 10.0)


def two_rates(short: Rate, long: Rate, storage: str = "memory://") -> SharedThrottle:
    return SharedThrottle([long, short], "two rates", SecretURL(storage), "one")


@pytest.mark.usefixtures("limits")
@pytest.mark.parametrize("storage", ["memory://", "redis"])
def test_a_message_that_one_window_refuses_uses_up_no_place_in_another(
    storage: str, request: pytest.FixtureRequest
) -> None:
    if storage == "redis":
        storage = request.getfixturevalue("redis")
    limit = two_rates(Rate(1, 2), Rate(3, 3600), storage)
    limit.wait(soon())
    for _ in range(5):
        with pytest.raises(RateLimited) as refused:
            limit.wait(soon())
        assert refused.value.retry_after <= 2
    limit.wait(time.monotonic() + 10.0)
    limit.wait(time.monotonic() + 10.0)
    with pytest.raises(RateLimited) as refused:
        limit.wait(time.monotonic() + 10.0)
    assert refused.value.retry_after > 3000


@pytest.mark.usefixtures("limits")
def test_several_rates_all_apply_in_the_store() -> None:
    limit = two_rates(Rate(9, 1), Rate(2, 3600))
    limit.wait(soon())
    limit.wait(soon())
    with pytest.raises(RateLimited):
        limit.wait(soon())


# --- stores that cannot be used -------------------------------------------------------------------


@pytest.mark.usefixtures("limits")
@pytest.mark.parametrize("storage", ["floppy://a", "localhost", "memcached+redis://x"])
def test_a_store_that_limits_does_not_know_is_refused_without_its_password(storage: str) -> None:
    with pytest.raises(ConfigurationError, match="redis://localhost"):
        Mailer("smtp://one", rate="1/second", rate_storage=storage)
    with pytest.raises(ConfigurationError) as raised:
        Mailer("smtp://one", rate="1/second", rate_storage="floppy://user:hunter2@host")
    assert "hunter2" not in str(raised.value)


def test_without_the_library_the_error_names_the_extra() -> None:
    with (
        patch.dict(sys.modules, {"limits": None}),
        pytest.raises(ConfigurationError, match=r'python -m pip install "mailbackends\[rate\]"'),
    ):
        Mailer("smtp://one", rate="1/second", rate_storage="memory://")


def test_without_a_store_the_library_is_not_needed() -> None:
    with patch.dict(sys.modules, {"limits": None}), Sink() as sink:
        with Mailer(sink.url, rate="1/second") as mailer:
            mailer.send_message(message())
        assert len(sink.messages) == 1


def test_making_a_mailer_does_not_connect_to_the_store(limits: None, free_port: int) -> None:
    pytest.importorskip("redis", reason="the client of Redis is not installed here")
    Mailer("smtp://one", rate="1/second", rate_storage=f"redis://127.0.0.1:{free_port}").close()


def test_if_the_store_is_down_the_process_limits_the_rate_by_itself(
    limits: None, free_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("redis", reason="the client of Redis is not installed here")
    limit = throttle(f"redis://:hunter2@127.0.0.1:{free_port}", Rate(2, 3600))
    with caplog.at_level(logging.WARNING, "mailbackends"):
        limit.wait(soon())
        limit.wait(soon())
        with pytest.raises(RateLimited):
            limit.wait(soon())
    assert len(caplog.records) == 1, "the store is not asked again for each message"
    assert "limits the rate by itself" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_store_that_never_answers_does_not_delay_a_message_without_limit(limits: None) -> None:
    pytest.importorskip("redis", reason="the client of Redis is not installed here")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        limit = throttle(f"redis://127.0.0.1:{silent.getsockname()[1]}", Rate(2, 3600))
        limit.wait(soon())


# --- a real Redis -----------------------------------------------------------------------


def test_mailers_with_the_same_server_user_and_store_share_the_rate(redis: str) -> None:
    with Sink() as sink, Sink() as other:
        options: dict[str, Any] = {"rate": "3/hour", "rate_storage": redis, "deadline": 5.0}
        with Mailer(sink.url, **options) as one, Mailer(sink.url, **options, pool_size=2) as two:
            one.send_message(message())
            two.send_message(message())
            one.send_message(message())
            for mailer in (one, two):
                with pytest.raises(RateLimited):
                    mailer.send_message(message())
        with Mailer(other.url, **options) as mailer:
            mailer.send_message(message())
        assert (len(sink.messages), len(other.messages)) == (3, 1)


WORKER = """
import sys
from email.message import EmailMessage
from mailbackends import Mailer

url, store, count = sys.argv[1:]
message = EmailMessage()
message["From"], message["To"] = "from@example.com", "to@example.com"
message.set_content("Hello.")
with Mailer(url, rate="20/hour", rate_storage=store, deadline=3.0) as mailer:
    for _ in mailer.stream_messages(message for _ in range(int(count))):
        pass
"""


def test_processes_share_the_rate(redis: str) -> None:
    with Sink() as sink:
        workers = [
            subprocess.Popen([sys.executable, "-c", WORKER, sink.url, redis, "15"])  # noqa: S603
            for _ in range(3)
        ]
        assert [worker.wait(60) for worker in workers] == [0, 0, 0]
        assert len(sink.messages) == 20


def test_a_caller_that_can_wait_gets_the_next_turn_in_redis(redis: str) -> None:
    limit = throttle(redis, Rate(2, 1))
    for _ in range(5):
        limit.wait(time.monotonic() + 10.0)


def test_no_user_name_is_in_the_store(redis: str) -> None:
    import redis as client

    with (
        Sink(login=("somebody@example.com", "secret")) as sink,
        Mailer(sink.url, rate="3/hour", rate_storage=redis) as mailer,
    ):
        mailer.send_message(message())
    with client.Redis.from_url(redis) as store:
        keys = [key.decode() for key in store.keys("*")]
    assert len(keys) == 1
    assert "mailbackends" in keys[0]
    assert "somebody" not in keys[0]
