"""One token for all threads: how often it is requested, and what happens without one."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest

from mailbackends.errors import Outcome, TokenError
from mailbackends.oauth.provider import AccessToken, TokenProvider
from mailbackends.secret import Secret


class Endpoint:
    """Issues numbered tokens, or raises; counts the requests."""

    def __init__(self, lifetime: float = 3600.0) -> None:
        self.lifetime = lifetime
        self.requests = 0
        self.error: Exception | None = None
        self.gate: threading.Event | None = None
        self.asked = threading.Event()

    def __call__(self) -> AccessToken:
        self.requests += 1
        number = self.requests
        self.asked.set()
        if self.gate is not None:
            self.gate.wait(10)
        if self.error is not None:
            raise self.error
        return AccessToken(Secret(f"token-{number}"), self.lifetime)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def provider(endpoint: Callable[[], AccessToken], clock: Clock, **options: float) -> TokenProvider:
    return TokenProvider(endpoint, identity="test", clock=clock, **options)


def settled(tokens: TokenProvider) -> None:
    """Wait for a renewal in the background."""
    with tokens._changed:
        assert tokens._changed.wait_for(lambda: not tokens._is_requesting, 10)


def test_a_thousand_threads_that_need_a_token_cause_one_request() -> None:
    endpoint, clock = Endpoint(), Clock()
    endpoint.gate = threading.Event()
    tokens = provider(endpoint, clock)
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(tokens())) for _ in range(1000)]
    for thread in threads:
        thread.start()
    endpoint.gate.set()
    for thread in threads:
        thread.join()
    assert (len(found), set(found), endpoint.requests) == (1000, {"token-1"}, 1)


def test_a_token_is_renewed_in_the_background_before_it_expires() -> None:
    endpoint, clock = Endpoint(), Clock()
    tokens = provider(endpoint, clock)
    assert tokens() == "token-1"
    clock.now += 3600 - 301
    assert (tokens(), endpoint.requests) == ("token-1", 1)
    clock.now += 2
    endpoint.gate = threading.Event()
    assert tokens() == "token-1", "the caller does not wait"
    assert tokens() == "token-1"
    endpoint.gate.set()
    settled(tokens)
    assert (tokens(), endpoint.requests) == ("token-2", 2)


def test_a_thousand_threads_at_expiry_cause_one_request() -> None:
    endpoint, clock = Endpoint(), Clock()
    tokens = provider(endpoint, clock)
    tokens()
    clock.now += 3600
    endpoint.gate = threading.Event()
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(tokens())) for _ in range(1000)]
    for thread in threads:
        thread.start()
    endpoint.gate.set()
    for thread in threads:
        thread.join()
    assert (set(found), endpoint.requests) == ({"token-2"}, 2)


def test_a_token_is_not_used_in_its_last_minute() -> None:
    endpoint, clock = Endpoint(), Clock()
    tokens = provider(endpoint, clock)
    tokens()
    clock.now += 3600 - 59
    assert tokens() == "token-2"


def test_tokens_with_a_very_short_life_are_used_for_half_of_it() -> None:
    endpoint, clock = Endpoint(lifetime=20.0), Clock()
    tokens = provider(endpoint, clock)
    assert tokens() == "token-1"
    clock.now += 4
    assert tokens() == "token-1"
    clock.now += 7
    assert tokens() == "token-2"


def test_a_refused_token_is_replaced_once_it_is_a_minute_old() -> None:
    endpoint, clock = Endpoint(), Clock()
    tokens = provider(endpoint, clock)
    tokens()
    tokens.reject()
    assert (tokens(), endpoint.requests) == ("token-1", 1), "a new one would be refused as well"
    clock.now += 61
    tokens.reject()
    assert (tokens(), endpoint.requests) == ("token-2", 2)


def test_after_a_failure_callers_get_its_error_without_a_request_until_the_pause_is_over() -> None:
    endpoint, clock = Endpoint(), Clock()
    endpoint.error = TokenError("the endpoint is down", "server_error")
    tokens = provider(endpoint, clock)
    seen = []
    for _ in range(5):
        with pytest.raises(TokenError, match="the endpoint is down") as caught:
            tokens()
        seen.append(caught.value)
    assert endpoint.requests == 1
    assert len(set(map(id, seen))) == 5, "threads do not share an exception"
    assert all(error.is_transient and error.outcome is Outcome.NOT_SENT for error in seen)
    pauses = []
    for _ in range(8):
        before, waited = endpoint.requests, 0
        while endpoint.requests == before:
            clock.now += 1
            waited += 1
            with pytest.raises(TokenError):
                tokens()
        pauses.append(waited)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    endpoint.error = None
    clock.now += 60
    assert tokens().startswith("token-")


def test_a_failed_renewal_does_not_disturb_while_the_token_is_valid() -> None:
    endpoint, clock = Endpoint(), Clock()
    tokens = provider(endpoint, clock)
    tokens()
    clock.now += 3400
    endpoint.error = TokenError("down", "server_error")
    assert tokens() == "token-1"
    settled(tokens)
    assert tokens() == "token-1"
    assert endpoint.requests == 2


def test_an_endpoint_that_hangs_costs_each_caller_no_more_than_the_timeout() -> None:
    endpoint, clock = Endpoint(), Clock()
    endpoint.gate = threading.Event()
    tokens = provider(endpoint, clock, timeout=0.05)
    with pytest.raises(TokenError, match=r"did not answer within 0\.05 s") as caught:
        tokens()
    assert (caught.value.code, caught.value.is_transient) == ("timeout", True)
    with pytest.raises(TokenError):
        tokens()
    assert endpoint.requests == 1, "no second request during the pause"
    endpoint.gate.set()
    clock.now += 2
    endpoint.gate = None
    assert tokens() == "token-2", "the late answer of the first request is not used"


def test_an_unexpected_error_is_a_token_error_that_shows_no_text() -> None:
    endpoint, clock = Endpoint(), Clock()
    endpoint.error = RuntimeError("client_secret=S3CRET")
    with pytest.raises(TokenError, match="RuntimeError") as caught:
        provider(endpoint, clock)()
    assert "S3CRET" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_forked_during_a_request_makes_its_own() -> None:
    endpoint, clock = Endpoint(), Clock()
    endpoint.gate = threading.Event()
    tokens = provider(endpoint, clock, timeout=5.0)
    waiting = threading.Thread(target=tokens)
    waiting.start()
    endpoint.asked.wait(5)
    child = os.fork()
    if child == 0:
        endpoint.gate = None
        os._exit(0 if tokens() == "token-2" else 1)
    _, status = os.waitpid(child, 0)
    endpoint.gate.set()
    waiting.join()
    assert os.waitstatus_to_exitcode(status) == 0
    assert tokens() == "token-1"


def test_without_threads_the_request_is_made_by_the_caller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    tokens = provider(Endpoint(), Clock())
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert tokens() == "token-1"


def test_its_repr_shows_no_token() -> None:
    tokens = provider(Endpoint(), Clock())
    tokens()
    assert repr(tokens) == "<TokenProvider test>"
    assert "token-1" not in repr(tokens._token)
