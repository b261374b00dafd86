"""Load on one Mailer whose server is killed and started again, for an hour::

    PYTHONPATH=.:tests python -m interop.soak [SECONDS [PAGE]]

Threads send over TLS, logged in, without a pause, while the server is killed every few seconds.
Then the threads pause, and each message is accounted for: what was accepted arrived once, what was
refused or not sent did not arrive, what is unknown arrived at most once. It fails if a message is
not accounted for, if open files, threads or memory grow (see `interop.usage`), or if a connection
or an exception still exists after the Mailer was closed. The result is printed, and written to
``PAGE``.
"""

from __future__ import annotations

import gc
import logging
import os
import ssl
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from interop.mails import Mail, check
from interop.sections import with_section
from interop.servers import certificates
from interop.servers.own import Nodemailer, Own
from interop.usage import ALLOWED, TUNABLES, WARM, Usage
from mailbackends import Mailer, SMTPException
from mailbackends.mailer.connection import Connection
from mailbackends.protocol.session import Session
from mailbackends.transport.stream import Stream

__all__ = ["Soak", "main"]

THREADS = 4
LOAD = 2.0
"""Seconds of load before a restart; after it there is half of that."""
OF_A_CONNECTION = (Connection, Session, Stream, ssl.SSLSocket, SMTPException)
TITLE = "Under load"
_ABOUT = f"""
{THREADS} threads send over TLS, logged in, through one `Mailer` to Nodemailer's smtp-server,
which is killed every few seconds meanwhile. Each message is accounted for: what was
accepted arrived once and as it was sent, what was not sent did not arrive, what is unknown
arrived at most once. Written by

    PYTHONPATH=.:tests python -m interop.soak 3600 docs/compatibility.md

"""
_FLAT = f"""
Between two restarts, while all threads pause, the resources of the process are counted: open
files (without those of the pool's connections), threads, blocks of Python's allocator, bytes of
malloc, and resident memory. The first {WARM} rounds do not count. The run fails if the median of
the last quarter is above that of the first quarter by more than is allowed here, or if a
connection, a session or an exception is left after the `Mailer` was closed. malloc's caches are
off in this run: they keep freed memory for each thread and size, and resident memory would
grow for hours without a leak.
"""


class Soak:
    """One run of load: counts of ``outcomes`` and ``restarts``, and a sample of usage per round."""

    def __init__(self, server: Own, cafile: str) -> None:
        self.server = server
        self.outcomes: Counter[str] = Counter()
        self.restarts = 0
        self.usage = Usage()
        self.seconds = 0.0
        self._cafile = cafile
        self._outcomes: dict[Mail, str] = {}
        self._failures: list[BaseException] = []
        self._may_send = threading.Event()
        self._is_over = False
        self._idle = threading.Semaphore(0)

    def run(self, seconds: float, *, progress: bool = False) -> None:
        """Send for at least this many seconds, and for enough rounds to compare.

        Raises:
            AssertionError: a message is not accounted for, or something grew.
        """
        started = time.monotonic()
        end = started + seconds
        with Mailer(
            host="127.0.0.1", port=self.server.port, local_hostname="client.test",
            security="starttls", ssl_cafile=self._cafile, username="user", password="secret",
            pool_size=3, timeout=10.0, max_messages_per_connection=50,
        ) as mailer:  # fmt: skip
            senders = [threading.Thread(target=self._send, args=(mailer,)) for _ in range(THREADS)]
            for sender in senders:
                sender.start()
            try:
                while not self._failures and (time.monotonic() < end or len(self.usage) < WARM + 2):
                    self._round()
                    pool = mailer.stats().pool
                    assert (pool.in_use, pool.opening, pool.waiters) == (0, 0, 0)
                    self.usage.take(connections=pool.open)
                    self.seconds = time.monotonic() - started
                    if progress and len(self.usage) % 20 == 0:
                        print(self, flush=True)
            finally:
                self._is_over = True
                self._may_send.set()
                for sender in senders:
                    sender.join()
        if self._failures:
            raise self._failures[0]
        self.usage.check_flat()
        gc.collect()
        left = Counter(
            type(one).__name__ for one in gc.get_objects() if isinstance(one, OF_A_CONNECTION)
        )
        assert not left, f"left after the Mailer was closed: {left}"

    def _round(self) -> None:
        self._may_send.set()
        time.sleep(LOAD)
        self.server.restart()
        self.restarts += 1
        time.sleep(LOAD / 2)
        self._may_send.clear()
        for _ in range(THREADS):
            assert self._idle.acquire(timeout=60), "a thread did not come back"
        self._account()

    def _send(self, mailer: Mailer) -> None:
        try:
            while True:
                self._may_send.wait()
                while self._may_send.is_set() and not self._is_over:
                    self._send_one(mailer)
                self._idle.release()
                if self._is_over:
                    return
                while self._may_send.is_set():
                    time.sleep(0.001)
        except BaseException as error:
            self._failures.append(error)
            self._idle.release()

    def _send_one(self, mailer: Mailer) -> None:
        mail = Mail(".\nOne of many.\n" * 20)
        try:
            mailer.send_message(mail.raw, mail.sender, mail.recipients)
        except SMTPException as error:
            self._outcomes[mail] = str(error.outcome)
            time.sleep(0.02)  # the server is down: do not ask it in a tight loop
        else:
            self._outcomes[mail] = "accepted"

    def _account(self) -> None:
        """Compare the outcomes of all messages with what is stored, and delete both."""
        stored = self.server.stored()
        times = Counter(one.recipients for one in stored)
        contents = {one.recipients: one for one in stored}
        for mail, outcome in self._outcomes.items():
            there = times.pop(mail.recipients, 0)
            allowed = {"accepted": {1}, "unknown": {0, 1}, "not_sent": {0}}[outcome]
            assert there in allowed, f"{mail.token}: {outcome}, and is there {there} times"
            if there:
                check(contents[mail.recipients], mail, mail.raw, exactly=True)
        assert not times, f"messages that were not sent: {times}"
        self.outcomes.update(self._outcomes.values())
        self._outcomes.clear()
        self.server.forget()

    def __str__(self) -> str:
        outcomes = ", ".join(f"{name} {count:,}" for name, count in self.outcomes.most_common())
        sums = (
            f"{self.seconds:,.0f} s, {self.restarts:,} restarts, "
            f"{self.outcomes.total():,} messages ({outcomes})"
        )
        has_enough_rounds = len(self.usage) >= WARM + 2
        return f"{sums}. {self.usage}." if has_enough_rounds else f"{sums}."

    def section(self) -> str:
        """The section of the page."""
        sums = str(self).partition(". ")[0]
        rows = "".join(
            f"| {name} | {first:,.0f} | {last:,.0f} | {ALLOWED[name]:,} |\n"
            for name, (first, last) in self.usage.growth().items()
        )
        return (
            f"{_ABOUT}**{sums}.**\n\n| resource | first quarter | last quarter | allowed growth |\n"
            f"| --- | --- | --- | --- |\n{rows}{_FLAT}"
        )


def main() -> None:
    """Soak for as many seconds as were given, or for an hour."""
    if os.environ.get("GLIBC_TUNABLES") != TUNABLES:  # They are read when a process starts.
        os.environ["GLIBC_TUNABLES"] = TUNABLES
        os.execv(sys.executable, [sys.executable, "-m", "interop.soak", *sys.argv[1:]])  # noqa: S606
    logging.disable(logging.CRITICAL)
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3600.0
    server = Nodemailer()
    server.start()
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(server, certificates.authority(Path(folder)))
        try:
            soak.run(seconds, progress=True)
        finally:
            server.stop()
            server.remove()
            print(soak)
    for page in map(Path, sys.argv[2:]):
        page.write_text(with_section(page.read_text(), TITLE, soak.section()))


if __name__ == "__main__":
    main()
