"""The worker: it claims messages, sends them, and records the outcome of each by itself."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from types import FrameType

from mailbackends.errors import (
    ConfigurationError,
    Outcome,
    RecipientsSuppressed,
    SMTPException,
)
from mailbackends.mailer.submission import Receipt
from mailbackends.outbox.decisions import (
    expired,
    lease_expired,
)
from mailbackends.outbox.delivery import Deliver, Hooks, Result
from mailbackends.outbox.outcomes import OutcomeRecorder
from mailbackends.outbox.policy import RetryPolicy, pause_after
from mailbackends.outbox.renewal import Renewal
from mailbackends.outbox.store import Store
from mailbackends.outbox.suppressing import with_suppressed
from mailbackends.outbox.values import Change, OutboxMessage

__all__ = ["Worker"]

logger: logging.Logger = logging.getLogger("mailbackends.outbox")

# After so many leases in a row that expired, a message is sent alone: if it is what kills the
# workers, it takes no others along.
_SUSPECT = 2
_ROWS = 100


class Worker:
    """Sends what is in the outbox, until `stop`. Any number of workers may share a store.

    Each of its ``threads`` claims up to ``batch`` messages for ``lease`` seconds, and renews the
    leases while it sends. ``poll`` is the longest time in seconds between two looks into the
    outbox, ``sweep_every`` between two sweeps. ``on_change`` is called with the message and each
    change that was recorded.

    Raises:
        ConfigurationError: a number is not above 0.
    """

    def __init__(
        self,
        store: Store,
        deliver: Deliver,
        *,
        policy: RetryPolicy | None = None,
        batch: int = 50,
        lease: float = 60.0,
        poll: float = 1.0,
        sweep_every: float = 10.0,
        threads: int = 1,
        name: str | None = None,
        on_change: Callable[[OutboxMessage, Change], object] | None = None,
    ) -> None:
        numbers = {"batch": batch, "lease": lease, "poll": poll, "sweep_every": sweep_every}
        for option, value in {**numbers, "threads": threads}.items():
            if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
                raise ConfigurationError(f"{option} must be a number above 0, got {value!r}")
        self.name: str = (
            name or f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"[-100:]
        )
        """What its lease tokens begin with, and what is in the log: no two have the same."""
        self._store = store
        self._deliver = deliver
        self._policy = policy or RetryPolicy()
        self._batch = int(batch)
        self._lease = float(lease)
        self._poll = float(poll)
        self._sweep_every = float(sweep_every)
        self._threads = int(threads)
        self._stopping = threading.Event()
        self._outcomes = OutcomeRecorder(
            store, self._policy, worker=self.name, lease=self._lease, on_change=on_change
        )
        self._hooks = Hooks(self._begin, self._outcomes.note_part)
        self._failures: dict[str, int] = {}
        self._swept_at = float("-inf")

    def run(self) -> None:
        """Work until `stop` is called. A database that is down is tried again."""
        with self._renewing():
            others = [
                threading.Thread(target=self._work_until_stopped, name=f"mailbackends-outbox-{n}")
                for n in range(2, self._threads + 1)
            ]
            for thread in others:
                thread.start()
            try:
                self._work_until_stopped()
            finally:
                self.stop()
                for thread in others:
                    thread.join()

    def run_once(self) -> int:
        """Sweep, deliver what is due, and return how many messages were handled.

        Raises:
            Exception: whatever the store raises.
        """
        before = self._outcomes.handled
        with self._renewing():
            self.sweep()
            while not self._stopping.is_set() and self._work():
                pass
        return self._outcomes.handled - before

    def stop(self) -> None:
        """Claim nothing more, and end when what is being sent is finished; from any thread.

        Messages that are claimed and not yet being sent are released.
        """
        self._stopping.set()

    def stop_on_signals(self, *signals: int) -> None:
        """Call `stop` on SIGTERM and SIGINT, or these; the second one has its usual effect."""

        def stop(number: int, frame: FrameType | None) -> None:
            logger.info("%s: finishing what is being sent", signal.Signals(number).name)
            self.stop()
            signal.signal(number, signal.SIG_DFL)

        for number in signals or (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)

    def sweep(self) -> int:
        """Decide about messages whose lease or time has expired; returns how many changed."""
        self._swept_at = time.monotonic()
        lost = self._decide_all(self._store.lost, partial(lease_expired, policy=self._policy))
        return lost + self._decide_all(self._store.overdue, expired)

    def _decide_all(
        self,
        find: Callable[[int], Sequence[OutboxMessage]],
        decide: Callable[[OutboxMessage], Change],
    ) -> int:
        changed = 0
        while found := find(_ROWS):
            swept = sum(self._outcomes.apply(message, decide(message)) for message in found)
            changed += swept
            if not swept or len(found) < _ROWS:
                break
        return changed

    # --- The loop -----------------------------------------------------------------------------

    def _work_until_stopped(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                if time.monotonic() >= self._swept_at + self._sweep_every:
                    self.sweep()
                if not self._work():
                    self._store.wait(self._poll)
            except Exception:
                failures += 1
                # It goes on: nothing is lost, and a database comes back.
                logger.exception("the outbox cannot be read; trying again")
                self._stopping.wait(min(2.0 ** min(failures, 5), 30.0))
            else:
                failures = 0

    def _work(self) -> bool:
        """Claim and send one batch; False where nothing was due."""
        messages = self._store.claim(
            self._batch, lease=self._lease, worker=self.name, aliases=self._deliver.aliases
        )
        if not messages:
            return False
        messages, failed = with_suppressed(messages, self._deliver)
        for alias, group, failure in failed:
            self._store.release(group)
            self._pause(alias, failure)
        suspects = [each for each in messages if each.lost_leases >= _SUSPECT]
        if suspects and len(messages) > 1:
            self._store.release([m for m in messages if m is not suspects[0]])
            messages = suspects[:1]
        self._send_all(messages)
        return True

    def _send_all(self, messages: Sequence[OutboxMessage]) -> None:
        self._outcomes.hold(messages)
        try:
            by_alias = sorted(messages, key=lambda each: each.alias)
            for alias, group in groupby(by_alias, key=lambda each: each.alias):
                self._send_group(alias, list(group))
        finally:
            self._outcomes.release(messages)

    def _send_group(self, alias: str, group: list[OutboxMessage]) -> None:
        is_paused = False
        gone = [each for each in group if each.suppressed and not each.pending]
        if gone:
            self._outcomes.note([(m, RecipientsSuppressed(m.suppressed or {})) for m in gone])
            group = [each for each in group if each.pending or not each.suppressed]
        if not group:
            return

        def each() -> Iterator[OutboxMessage]:
            for message in group:
                if is_paused or self._stopping.is_set():
                    return
                yield message

        for results in self._results(alias, each()):
            self._outcomes.note(results)
            for _, result in results:
                try:
                    is_paused = self._pause(alias, result) or is_paused
                except Exception:
                    logger.warning("the pause of %r was not stored", alias, exc_info=True)
                    is_paused = True

    def _results(self, alias: str, messages: Iterator[OutboxMessage]) -> Iterator[Sequence[Result]]:
        try:
            yield from self._deliver.deliver(alias, messages, self._hooks)
        except Exception as error:  # only the mail of this alias waits
            logger.exception("the mailer %r cannot be used", alias)
            failure = SMTPException(f"the mailer cannot be used: {type(error).__name__}")
            failure.outcome, failure.no_connection = Outcome.NOT_SENT, True
            self._pause(alias, failure)

    def _begin(self, messages: Sequence[OutboxMessage]) -> None:
        self._store.begin(messages, lease=self._lease)

    def _pause(self, alias: str, result: Receipt | Exception) -> bool:
        """Pause the alias where the result says that no other message would go either."""
        failures = self._failures.get(alias)
        if failures is None:
            # Those that workers before this one have counted.
            known = {each.alias: each.failures for each in self._store.pauses()}
            failures = self._failures[alias] = known.get(alias, 0)
        if isinstance(result, Receipt):
            self._forget_failures(alias)
            return False
        seconds = pause_after(result, failures + 1, self._policy)
        if seconds is None:
            if getattr(result, "outcome", None) == Outcome.REFUSED:
                self._forget_failures(alias)
            return False
        self._failures[alias] = failures + 1
        self._store.pause(alias, seconds, failures=failures + 1, reason=str(result))
        logger.warning("all mail of %r waits for %.1f s: %s", alias, seconds, result)
        return True

    def _forget_failures(self, alias: str) -> None:
        if self._failures.get(alias):
            self._failures[alias] = 0
            self._store.resume(alias)

    # --- Leases -------------------------------------------------------------------------------

    def _renewing(self) -> Renewal:
        return Renewal(self._renew, self._lease / 3)

    def _renew(self) -> None:
        held = self._outcomes.held
        if not held:
            return
        try:
            self._store.renew(held, lease=self._lease)
        except Exception:
            # `begin` finds out whether they were lost.
            logger.warning("leases on %d messages were not renewed", len(held), exc_info=True)
