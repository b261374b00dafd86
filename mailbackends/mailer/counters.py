"""What became of messages: counted, and told to the event hook."""

from __future__ import annotations

import os
import time
from collections import Counter

from mailbackends.errors import Outcome
from mailbackends.events import EventSink, MessageFailed, MessageSent
from mailbackends.mailer.lock import ProcessLock
from mailbackends.mailer.submission import Job
from mailbackends.protocol.transaction import Delivery

__all__ = ["Counters"]


class Counters:
    """Messages by outcome, since it was made or, as the pool's counts, since the fork.

    Thread-safe. Times are seconds of the monotonic clock.
    """

    def __init__(self, tell: EventSink) -> None:
        self._tell = tell
        self._lock = ProcessLock()
        # By process id, so that a forked child does not count its parent's messages again.
        self._outcomes: dict[int, Counter[Outcome]] = {}

    @property
    def outcomes(self) -> dict[Outcome, int]:
        """How many messages came to which end so far."""
        with self._lock.here:
            return dict(self._outcomes.get(os.getpid(), ()))

    def count(self, error: Exception | None = None) -> None:
        """Count a message that was accepted, or what became of one that failed with `error`."""
        outcome = Outcome.ACCEPTED
        if error is not None:
            outcome = getattr(error, "outcome", None) or Outcome.NOT_SENT
        with self._lock.here:
            mine = self._outcomes.get(os.getpid())
            if mine is None:
                mine = self._outcomes[os.getpid()] = Counter()
            mine[outcome] += 1

    def sent(self, delivery: Delivery, job: Job, started: float, *, is_final: bool = True) -> None:
        """Count and tell that a server took a message."""
        self.count()
        if self._tell.is_heard:
            self._tell(
                MessageSent(
                    accepted=len(delivery.accepted),
                    refused=len(delivery.refused),
                    size=job.size,
                    duration=time.monotonic() - started,
                    is_final=is_final,
                )
            )

    def failed(
        self,
        error: Exception,
        job: Job | None,
        started: float,
        *,
        recipients: int = 0,
        is_final: bool = True,
    ) -> None:
        """Count and tell that a message was not taken; ``job`` is None where it is not fit."""
        self.count(error)
        self._tell(
            MessageFailed.because_of(
                error,
                duration=time.monotonic() - started,
                recipients=recipients,
                size=job.size if job else None,
                is_final=is_final,
            )
        )
