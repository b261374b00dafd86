"""When a message is tried again, in which order messages are sent, and what a key stands for.

Pure functions, as in `decisions`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf

from mailbackends.errors import (
    ConfigurationError,
    InvalidMessageError,
    RateLimited,
)
from mailbackends.outbox.values import (
    Priority,
)

__all__ = [
    "DEFAULT_POLICY",
    "Jitter",
    "KeyReusedError",
    "RetryPolicy",
    "check_same_content",
    "order_of_priorities",
    "pause_after",
    "retry_delay",
]


class KeyReusedError(InvalidMessageError):
    """The outbox has another message under this key. Nothing was stored."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When to try again, and when to give up. Times are in seconds."""

    first: float = 30.0
    """The longest wait before the second attempt; it doubles with each further one."""
    longest: float = 3600.0
    """The longest wait between two attempts."""
    max_attempts: int | None = None
    """The number of attempts after which a message expires; None for no limit but its time."""
    lifetime: float = 3 * 86400.0
    """How long a message is tried that was enqueued without ``expires``."""
    max_lost_leases: int = 5
    """A message is parked after so many workers in a row died while they had claimed it."""
    longest_pause: float = 300.0
    """The longest time for which all mail of an alias waits that has no connection."""

    def __post_init__(self) -> None:
        for name in ("first", "longest", "lifetime", "longest_pause"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 < value < inf:
                raise ConfigurationError(
                    f"{name} must be a number of seconds above 0, got {value!r}"
                )
        for name in ("max_attempts", "max_lost_leases"):
            value = getattr(self, name)
            if name == "max_attempts" and value is None:
                continue
            if not isinstance(value, int) or value < 1:
                raise ConfigurationError(f"{name} must be an integer of 1 or more, got {value!r}")


Jitter = Callable[[], float]
"""Returns a number from 0 to 1, as `random.random` does."""
DEFAULT_POLICY = RetryPolicy()


def retry_delay(
    attempts: int, policy: RetryPolicy = DEFAULT_POLICY, jitter: Jitter = random.random
) -> float:
    """Seconds until the next attempt after so many: exponential, with full jitter.

    Any time between now and the limit is as likely: messages that failed together do not come
    back together.
    """
    # 2.0 ** 1024 overflows, and no limit is that high.
    limit = min(policy.longest, policy.first * 2.0 ** min(max(attempts, 1) - 1, 64))
    return limit * jitter()


def pause_after(
    error: Exception,
    failures: int,
    policy: RetryPolicy = DEFAULT_POLICY,
    jitter: Jitter = random.random,
) -> float | None:
    """Seconds for which all mail of the alias should wait; None where others may do better.

    ``failures`` counts the attempts in a row without a connection, this one included. So there
    is no storm of retries at a server that is down, or over its rate.
    """
    if isinstance(error, RateLimited):
        return max(error.retry_after, 0.1)
    if isinstance(error, ConfigurationError) or getattr(error, "no_connection", False):
        limit = min(policy.longest_pause, 2.0 ** min(max(failures, 1) - 1, 64))
        # Half of it for certain: the others ask too.
        return limit * (0.5 + jitter() / 2)
    return None


def order_of_priorities(
    waiting: Mapping[Priority, float], head_start: float = 300.0
) -> list[Priority]:
    """The priorities in the order in which to claim from them.

    ``waiting`` has, for each that has due messages, the seconds for which the oldest is due. A
    priority is worth ``head_start`` seconds more than the one below: so none waits for ever.
    """
    return sorted(waiting, key=lambda each: waiting[each] + each * head_start, reverse=True)


def check_same_content(key: str, first: str, second: str) -> None:
    """Check that two messages with the same key have the same fingerprint.

    Raises:
        KeyReusedError: they do not.
    """
    if first != second:
        raise KeyReusedError(
            f"the key {key!r} was used before, for a message with another content: use one key "
            "for each message, and the same only to enqueue the same message again"
        )
