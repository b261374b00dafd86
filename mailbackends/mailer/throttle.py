"""The wait until a message may go: for the threads of one process, or for many processes."""

from __future__ import annotations

import hashlib
import importlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from mailbackends.errors import ConfigurationError, RateLimited
from mailbackends.mailer.circuit import Circuit
from mailbackends.mailer.options import Options
from mailbackends.mailer.rate import Rate, Windows, parse_rates
from mailbackends.mailer.url import SecretURL
from mailbackends.pool.process import ProcessLock

if TYPE_CHECKING:
    from limits import RateLimitItem
    from limits.strategies import RateLimiter

__all__ = ["LocalThrottle", "SharedThrottle", "Throttle", "throttle_of"]

logger: logging.Logger = logging.getLogger("mailbackends.mailer")

# Seconds to wait for the store: a message must not be delayed long for one number.
_TIMEOUT = 2.0

# Seconds after which a store that failed is asked again.
_PAUSE = 30.0

# Where the store cannot say exactly when the next message may go, it is asked again after
# this many seconds at the earliest.
_SOONEST = 0.02


class Throttle(Protocol):
    """Holds messages back. Thread-safe."""

    def wait(self, latest: float | None) -> None:
        """Return when a message may go; it counts from now on.

        Raises:
            RateLimited: that would be later than ``latest`` on the monotonic clock. It is
                raised at once, and the message does not count.
        """


class LocalThrottle:
    """For the threads of one process, in the order of their calls."""

    def __init__(
        self, rates: Sequence[Rate], text: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``text`` is the rate as the user wrote it."""
        self._windows = Windows(rates)
        self._text = text
        self._clock = clock
        self._lock = ProcessLock()

    def wait(self, latest: float | None) -> None:
        """See `Throttle.wait`."""
        if (seconds := self.reserve(latest)) > 0:
            time.sleep(seconds)

    def reserve(self, latest: float | None) -> float:
        """Seconds until the next message may go, which then counts; see `wait`."""
        with self._lock.here:
            # Read under the lock, so that it never goes backwards.
            now = self._clock()
            at, is_promised = self._windows.reserve(now, latest)
        if not is_promised:
            raise too_many(self._text, at - now)
        return at - now


def too_many(text: str, seconds: float) -> RateLimited:
    """The error for a message that could go only in so many seconds."""
    error = RateLimited(
        f"the rate of {text} is used up, and the deadline is too short to wait: "
        f"the next message may go in {seconds:.1f} s"
    )
    error.retry_after = max(0.0, seconds)
    return error


class SharedThrottle:
    """For all processes that name the same store, server and user.

    Where the store fails, each process limits the rate by itself until it answers again.
    """

    def __init__(
        self,
        rates: Sequence[Rate],
        text: str,
        storage: SecretURL,
        key: str,
        *,
        name: str = "rate_storage",
    ) -> None:
        """``storage`` is a URL that `limits` knows; ``text`` is the rate as the user wrote it.

        ``name`` is what error texts call the setting of the store.

        Raises:
            ConfigurationError: the library is not installed, or cannot use that store.
        """
        self._text = text
        self._key = key
        self._storage = storage
        self._limiter, self._failures = _limiter(storage, name)
        # The shortest first: a message that loses a race for a longer window has used up a
        # place in a shorter one, which is soon free again.
        ordered = sorted(rates, key=lambda rate: rate.seconds)
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
                while seconds := self._reserve():
                    if latest is not None and time.monotonic() + seconds > latest:
                        raise too_many(self._text, seconds)
                    time.sleep(seconds)
            except self._failures as error:
                self._failed(error)
            else:
                with self._lock.here:
                    self._circuit.succeeded()
                return
        self._fallback.wait(latest)

    def _reserve(self) -> float:
        """Count a message in all windows, and return 0; or return the seconds to wait first.

        All windows are asked before one counts: what is refused uses up no place.
        """
        if len(self._items) > 1:
            full = [item for item in self._items if not self._limiter.test(item, self._key)]
            if full:
                return max(map(self._seconds_until_free, full))
        for item in self._items:
            if not self._limiter.hit(item, self._key):
                return self._seconds_until_free(item)
        return 0.0

    def _seconds_until_free(self, item: RateLimitItem) -> float:
        # The store counts by the time of day, which all processes share. If a place has
        # become free meanwhile, the time it gives is that of another message.
        stats = self._limiter.get_window_stats(item, self._key)
        return _SOONEST if stats.remaining else max(stats.reset_time - time.time(), _SOONEST)

    def _failed(self, error: BaseException) -> None:
        with self._lock.here:
            self._circuit.failed(time.monotonic())
        logger.warning(
            "the rate's store %s failed: for %g s each process limits the rate by itself: %s",
            self._storage,
            _PAUSE,
            self._storage.masked_in(str(error)),
        )


def _limiter(storage: SecretURL, name: str) -> tuple[RateLimiter, type[Exception]]:
    problem: str
    try:
        from limits import errors, strategies
        from limits.storage import storage_from_string

        store: Any = storage_from_string(
            storage.reveal(), wrap_exceptions=True, **_client_options(storage)
        )
    except ImportError as error:
        problem = f'{name} needs limits: python -m pip install "mailbackends[rate]"'
        if error.name != "limits":
            problem = f"{name}={str(storage)!r} needs the library {error.name}: install it"
    except Exception as error:
        problem = (
            f"{name}={str(storage)!r} cannot be used ({type(error).__name__}): write a "
            "URL that limits knows, as in redis://localhost:6379/0, and install its client"
        )
    else:
        problem = ""
    if problem:
        # Not in the except clauses: the frames and the text of the error show the password.
        raise ConfigurationError(problem)
    # From exact to rough: each message, a weighted count, a count that restarts with each window.
    for kind in (
        strategies.MovingWindowRateLimiter,
        strategies.SlidingWindowCounterRateLimiter,
    ):
        try:
            return kind(store), errors.StorageError
        except NotImplementedError:
            continue
    return strategies.FixedWindowRateLimiter(store), errors.StorageError


def _client_options(storage: SecretURL) -> Mapping[str, Any]:
    """Timeouts for a Redis client, which would otherwise wait without limit."""
    scheme = str(storage).partition(":")[0].lower()
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


def throttle_of(servers: tuple[Options, ...]) -> Throttle | None:
    """The throttle for the messages to these servers, or None without a ``rate``.

    Raises:
        ConfigurationError: the store for the rate cannot be used.
    """
    options = servers[0]
    if options.rate is None:
        return None
    rates = parse_rates(options.rate)
    if not isinstance(options.rate_storage, SecretURL):
        return LocalThrottle(rates, options.rate)
    # Servers limit an account. Its name may be a person's address, which the store need not know.
    accounts = (f"{each.server} {each.username or ''}" for each in servers)
    key = hashlib.sha256("\n".join(accounts).encode()).hexdigest()[:32]
    name = options.wording.name("rate_storage")
    return SharedThrottle(rates, options.rate, options.rate_storage, key, name=name)
