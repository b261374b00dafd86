"""Load on one Mailer whose server is killed and started again, for an hour::

    PYTHONPATH=.:tests python -m interop.soak [SECONDS]

Threads send over TLS, logged in, without a pause, and every few seconds the server is killed
in the midst of it. Then the threads are held, and each message is accounted for: what was
accepted arrived once, what was refused or not sent did not arrive, what is unknown arrived
at most once. At the end open files and threads are as many as at the beginning, and memory
has not grown.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from interop.letters import Letter, check
from interop.servers import certificates
from interop.servers.own import Nodemailer, Own
from mailbackends import Mailer, SMTPException

__all__ = ["Soak", "main"]

THREADS = 4
LOAD = 2.0
"""Seconds of load before a restart, and after it half of that."""
WARM = 3
"""Rounds after which nothing may grow."""
MEMORY = 12 * 1024
"""KiB that the process may have grown by after that: the interpreter's own doing."""


@dataclass(frozen=True)
class Usage:
    """Of this process, between two rounds."""

    files: int
    threads: int
    memory: int
    """Resident, in KiB."""

    @classmethod
    def now(cls) -> Usage:
        """As the kernel counts."""
        gc.collect()
        resident = Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0]
        return cls(len(os.listdir("/proc/self/fd")), threading.active_count(), int(resident))

    def __str__(self) -> str:
        return f"{self.files} files, {self.threads} threads, {self.memory / 1024:.1f} MiB"


class Soak:
    """One run of load. ``outcomes`` and ``restarts`` count, ``samples`` are one per round."""

    def __init__(self, server: Own, cafile: str) -> None:
        self.server = server
        self.outcomes: Counter[str] = Counter()
        self.restarts = 0
        self.samples: list[Usage] = []
        self._cafile = cafile
        self._told: dict[Letter, str] = {}
        self._failures: list[BaseException] = []
        self._may_send = threading.Event()
        self._is_over = False
        self._idle = threading.Semaphore(0)

    def run(self, seconds: float, *, progress: bool = False) -> None:
        """Send for at least so long.

        Raises:
            AssertionError: a message is not accounted for, or something grew.
        """
        end = time.monotonic() + seconds
        with Mailer(
            host="127.0.0.1", port=self.server.port, local_hostname="client.test",
            security="starttls", ssl_cafile=self._cafile, username="user", password="secret",
            pool_size=3, timeout=10.0, max_messages=50,
        ) as mailer:  # fmt: skip
            senders = [threading.Thread(target=self._send, args=(mailer,)) for _ in range(THREADS)]
            for sender in senders:
                sender.start()
            try:
                while time.monotonic() < end and not self._failures:
                    self._round()
                    pool = mailer.stats().pool
                    assert (pool.in_use, pool.opening, pool.waiters) == (0, 0, 0)
                    self.samples.append(Usage.now())
                    if progress and len(self.samples) % 20 == 0:
                        print(self, flush=True)
            finally:
                self._is_over = True
                self._may_send.set()
                for sender in senders:
                    sender.join()
        if self._failures:
            raise self._failures[0]
        self._see_it_flat()

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
        letter = Letter(".\nOne of many.\n" * 20)
        try:
            mailer.send_message(letter.raw, letter.sender, letter.recipients)
        except SMTPException as error:
            self._told[letter] = str(error.outcome)
            time.sleep(0.02)  # the server is down: do not ask it in a tight loop
        else:
            self._told[letter] = "accepted"

    def _account(self) -> None:
        """Hold what the callers were told against what is stored, and forget both."""
        stored = self.server.stored()
        times = Counter(one.recipients for one in stored)
        contents = {one.recipients: one for one in stored}
        for letter, outcome in self._told.items():
            there = times.pop(letter.recipients, 0)
            allowed = {"accepted": {1}, "unknown": {0, 1}, "not sent": {0}}[outcome]
            assert there in allowed, f"{letter.token}: {outcome}, and is there {there} times"
            if there:
                check(contents[letter.recipients], letter, letter.raw)
        assert not times, f"nobody sent these: {times}"
        self.outcomes.update(self._told.values())
        self._told.clear()
        self.server.forget()

    def _see_it_flat(self) -> None:
        warm, end = self.samples[min(WARM, len(self.samples) - 1)], self.samples[-1]
        assert end.threads == warm.threads, (warm, end)
        # The pool may hold more connections at the one moment than at the other.
        assert end.files <= warm.files + 3, (warm, end)
        assert end.memory - warm.memory <= MEMORY, (warm, end)

    def __str__(self) -> str:
        told = ", ".join(f"{name} {count:,}" for name, count in self.outcomes.most_common())
        places = sorted({min(WARM, len(self.samples) - 1), len(self.samples) // 2, -1})
        usage = "; ".join(str(self.samples[place]) for place in [*places[1:], places[0]])
        return (
            f"{self.restarts} restarts, {self.outcomes.total():,} messages ({told}). "
            f"Warm, in the middle, at the end: {usage}."
        )


def main() -> None:
    """Soak for as many seconds as were given, or for an hour."""
    logging.disable(logging.CRITICAL)
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3600.0
    server = Nodemailer()
    server.start()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(server, certificates.authority(Path(folder)))
        try:
            soak.run(seconds, progress=True)
        finally:
            server.stop()
            server.remove()
            print(f"{time.monotonic() - started:.0f} s: {soak}")


if __name__ == "__main__":
    main()
