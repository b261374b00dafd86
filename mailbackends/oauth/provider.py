"""`TokenProvider`: one valid access token for all threads, with one request at a time."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass

from mailbackends.errors import TokenError
from mailbackends.secret import Secret

__all__ = ["AccessToken", "TokenProvider"]

logger: logging.Logger = logging.getLogger("mailbackends.oauth")

# A token is renewed in the background this long before it expires, in seconds...
_RENEW_AHEAD = 300.0
# ... and not used any more this long before, because clocks differ and a login takes time.
_SKEW = 60.0
# A token that is refused right after it was issued is not at fault: another one would be
# refused as well, and every login would cost a request.
_FRESH = 60.0
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0


@dataclass(frozen=True, slots=True)
class AccessToken:
    """An access token (RFC 6749 section 1.4), and when it expires."""

    value: Secret
    expires_in: float
    """Seconds from the moment it was received."""


class TokenProvider:
    """Returns a valid access token when called. Thread-safe, and safe after a fork.

    However many threads wait, ``fetch`` runs once at a time. A token is renewed in the
    background before it expires, so that no login waits for it. After a failure, ``fetch``
    is not called again before a pause, which doubles from 1 to 60 seconds; until then
    callers get the same error at once.

    Args:
        fetch: requests a new token. Called in a separate thread.
        identity: what the token is for, without secrets; shown in errors and logs.
        timeout: the longest wait of a caller, in seconds.

    Raises:
        TokenError: when called: no token could be obtained.
    """

    def __init__(
        self,
        fetch: Callable[[], AccessToken],
        *,
        identity: str,
        timeout: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.identity = identity
        self._fetch = fetch
        self._timeout = timeout
        self._clock = clock
        self._token: AccessToken | None = None
        self._received = 0.0
        self._failures = 0
        self._retry_at = 0.0
        self._error: TokenError | None = None
        self._after_fork()
        _providers.add(self)

    def __repr__(self) -> str:
        return f"<TokenProvider {self.identity}>"

    def __call__(self) -> str:
        """A token that is valid for at least another minute, if the endpoint grants that long."""
        with self._changed:
            if not self._is_usable():
                self._wait_for_a_token()
            elif self._remaining() < self._renew_ahead() and self._may_request():
                self._request()
            if self._token is None or not self._is_usable():
                raise self._failure()
            return self._token.value.reveal()

    def reject(self) -> None:
        """The server refused the token: the next call requests another one.

        A token that is younger than a minute is kept, because a new one would not help.
        """
        with self._changed:
            if self._token is not None and self._clock() - self._received >= _FRESH:
                self._token = None

    def _remaining(self) -> float:
        token = self._token
        return 0.0 if token is None else self._received + token.expires_in - self._clock()

    def _is_usable(self) -> bool:
        token = self._token
        # An endpoint may issue tokens that live for less than the skew: half of their life.
        return token is not None and self._remaining() > min(_SKEW, token.expires_in / 2)

    def _renew_ahead(self) -> float:
        token = self._token
        return 0.0 if token is None else min(_RENEW_AHEAD, token.expires_in * 0.75)

    def _may_request(self) -> bool:
        return not self._is_requesting and self._clock() >= self._retry_at

    def _wait_for_a_token(self) -> None:
        """Request a token unless somebody does, and wait. Call it with the lock."""
        request = self._number
        if not self._is_requesting:
            if not self._may_request():
                return
            self._request()
        if not self._changed.wait_for(lambda: request != self._number, self._timeout):
            # The request may hang for ever: its result, if any comes, is ignored.
            self._finish(request, self._timed_out())

    def _request(self) -> None:
        """Start a request. Call it with the lock."""
        self._is_requesting = True
        number = self._number
        thread = threading.Thread(
            target=self._run, args=(number,), name="mailbackends-token", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:
            # At interpreter shutdown, or when the system has no more threads.
            self._changed.release()
            try:
                self._run(number)
            finally:
                self._changed.acquire()

    def _run(self, number: int) -> None:
        try:
            result: AccessToken | TokenError = self._fetch()
        except TokenError as error:
            result = error
        except Exception as error:
            # Its text and traceback may hold a secret: only the class is logged.
            logger.warning("%s: the request failed: %s", self.identity, type(error).__name__)
            result = TokenError(
                f"no access token for {self.identity}: the request failed with "
                f"{type(error).__name__}"
            )
        with self._changed:
            self._finish(number, result)

    def _finish(self, number: int, result: AccessToken | TokenError) -> None:
        if number != self._number:
            return
        self._number += 1
        self._is_requesting = False
        if isinstance(result, AccessToken):
            self._token, self._received = result, self._clock()
            self._failures, self._retry_at, self._error = 0, 0.0, None
            logger.debug("%s: a token for %.0f s", self.identity, result.expires_in)
        else:
            pause = min(_FIRST_PAUSE * 2**self._failures, _LONGEST_PAUSE)
            self._failures += 1
            self._error, self._retry_at = result, self._clock() + pause
            logger.warning("%s (no new request for %.0f s)", result, pause)
        self._changed.notify_all()

    def _timed_out(self) -> TokenError:
        return TokenError(
            f"no access token for {self.identity}: the token endpoint did not answer within "
            f"{self._timeout:g} s: check the network, and that this machine may reach it",
            "timeout",
        )

    def _failure(self) -> TokenError:
        known = self._error
        if known is None:
            return TokenError(f"no usable access token for {self.identity}: it expires too soon")
        # A new exception for each caller: tracebacks of several threads must not mix.
        return TokenError(*known.args)

    def _after_fork(self) -> None:
        self._changed = threading.Condition()
        self._is_requesting = False
        self._number = 0


_providers: weakref.WeakSet[TokenProvider] = weakref.WeakSet()


def _reset_after_fork() -> None:
    for provider in _providers:
        provider._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)
