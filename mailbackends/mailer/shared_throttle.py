"""The wait until a message may go, for many processes that share a store.

The library `limits` keeps the count, in Redis for example.
"""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mailbackends.errors import ConfigurationError
from mailbackends.mailer.circuit import Circuit
from mailbackends.mailer.rate import Rate
from mailbackends.mailer.throttle import LocalThrottle, too_many
from mailbackends.mailer.url import masked
from mailbackends.pool.process import ProcessLock

if TYPE_CHECKING:
    from limits import RateLimitItem
    from limits.strategies import RateLimiter

__all__ = ["SharedThrottle"]

logger = logging.getLogger("mailbackends.mailer")

# Seconds for one answer of the store. A message must not wait for long for a mere number.
_TIMEOUT = 2.0

# Seconds after which a store that failed is asked again.
_PAUSE = 30.0

# Where the store cannot tell exactly when the next message may go, it is asked again after
# so many seconds at the soonest.
_SOONEST = 0.02


class SharedThrottle:
    """For all processes that name the same store, server and user.

    Where the store fails, messages go all the same, held back by each process for itself,
    until it answers again.
    """

    def __init__(self, rates: Sequence[Rate], text: str, storage: str, key: str) -> None:
        """``storage`` is a URL that `limits` knows; ``text`` is the rate as the user wrote it.

        Raises:
            ConfigurationError: the library is not there, or cannot use that store.
        """
        self._text = text
        self._key = key
        self._storage = masked(storage)
        self._limiter, self._failures = _limiter(storage)
        # The longest first: what it lets through waits only shortly for the others.
        ordered = sorted(rates, key=lambda rate: rate.seconds, reverse=True)
        self._items = [_item(rate) for rate in ordered]
        self._fallback = LocalThrottle(rates, text)
        self._circuit = Circuit(1, _PAUSE)
        self._lock = ProcessLock()

    def wait(self, latest: float | None) -> None:
        """See `Throttle.wait`."""
        with self._lock.here:
            is_worth_asking = self._circuit.admits(time.monotonic())
        if is_worth_asking:
            try:
                for item in self._items:
                    self._wait_for(item, latest)
            except self._failures as error:
                self._failed(error)
            else:
                with self._lock.here:
                    self._circuit.succeeded()
                return
        self._fallback.wait(latest)

    def _wait_for(self, item: RateLimitItem, latest: float | None) -> None:
        while not self._limiter.hit(item, self._key):
            # The store counts by the time of day, which all processes share. Meanwhile a
            # place may have become free: then the time it tells is that of another message.
            stats = self._limiter.get_window_stats(item, self._key)
            seconds = _SOONEST
            if not stats.remaining:
                seconds = max(stats.reset_time - time.time(), _SOONEST)
            if latest is not None and time.monotonic() + seconds > latest:
                raise too_many(self._text, seconds)
            time.sleep(seconds)

    def _failed(self, error: BaseException) -> None:
        with self._lock.here:
            self._circuit.failed(time.monotonic())
        logger.warning(
            "the rate's store %s failed: for %g s each process holds its messages back by "
            "itself: %s",
            self._storage,
            _PAUSE,
            error,
        )


def _limiter(storage: str) -> tuple[RateLimiter, type[Exception]]:
    try:
        from limits import errors, strategies
        from limits.storage import storage_from_string
    except ImportError:
        raise ConfigurationError(
            "rate_storage needs the library limits: pip install 'mailbackends[rate]'"
        ) from None
    try:
        store: Any = storage_from_string(storage, wrap_exceptions=True, **_options(storage))
    except Exception as error:
        # Its own text may show the URL with the password.
        raise ConfigurationError(
            f"rate_storage={masked(storage)!r} cannot be used ({type(error).__name__}): write a "
            "URL that limits knows, as in redis://localhost:6379/0, and install its client"
        ) from None
    # From exact to rough: what counts each message, a weighted count, a count that starts
    # anew with each window.
    for kind in (
        strategies.MovingWindowRateLimiter,
        strategies.SlidingWindowCounterRateLimiter,
    ):
        try:
            return kind(store), errors.StorageError
        except NotImplementedError:
            continue
    return strategies.FixedWindowRateLimiter(store), errors.StorageError


def _options(storage: str) -> Mapping[str, Any]:
    """What a client of Redis needs to be told, lest it wait for ever for a server that hangs."""
    scheme = storage.partition(":")[0].lower()
    client = "valkey" if scheme.startswith("valkey") else "redis"
    if not scheme.startswith(client):
        return {}
    retry = importlib.import_module(f"{client}.retry").Retry
    backoff = importlib.import_module(f"{client}.backoff").NoBackoff
    return {
        "socket_timeout": _TIMEOUT,
        "socket_connect_timeout": _TIMEOUT,
        "retry": retry(backoff(), 0),
    }


def _item(rate: Rate) -> RateLimitItem:
    from limits import RateLimitItemPerSecond

    return RateLimitItemPerSecond(rate.amount, rate.seconds, namespace="mailbackends")
