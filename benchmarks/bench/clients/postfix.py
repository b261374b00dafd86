"""Postfix's smtp-source, in C: one session, lock-step, no TLS. It builds nothing and encodes
nothing, but sends a file of ready lines again and again."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from bench.clients.base import Client, Work
from bench.installed import smtp_source
from bench.samples import SENDER

__all__ = ["make"]


def make(manner: str) -> Client:
    """``kept`` only."""
    return _SmtpSource(manner)


class _SmtpSource(Client):
    def prepare(self, work: Work) -> int:
        with tempfile.NamedTemporaryFile(suffix=".eml", delete=False) as self.file:
            self.file.write(work.sample.wire_bytes().replace(b"\r\n", b"\n"))
        # Starting the program, connecting and one message: no work done for the others.
        self.start = self._run(work, 1)
        return 2  # with the one that `measure` sends beyond its count

    def make(self, work: Work, count: int) -> Sequence[Any]:
        return [None] * count

    def send(self, work: Work, messages: Sequence[Any]) -> None:
        self.total = self._run(work, len(messages))

    def measure(self, work: Work, count: int) -> dict[str, float]:
        """What one message more than ``count`` take in one run, less what one takes in its own."""
        self.send(work, [None] * (count + 1))
        wall, cpu = (
            max(total - start, 1e-9) for total, start in zip(self.total, self.start, strict=True)
        )
        return {"wall": wall, "cpu": cpu}

    def memory(self, work: Work) -> dict[str, float]:
        """Nothing is known of it."""
        self.measure(work, 1)
        return {}

    def finish(self) -> None:
        os.unlink(self.file.name)

    def _run(self, work: Work, count: int) -> tuple[float, float]:
        recipients = work.sample.recipients
        # It numbers them itself.
        reader = recipients[0].lstrip("0123456789")
        program = smtp_source()
        assert program is not None
        command = [program, "-d", "-s", "1", "-m", str(count), "-f", SENDER, "-t", reader]
        if len(recipients) > 1:
            command += ["-r", str(len(recipients))]
        command += ["-M", work.local_hostname, "-F", self.file.name, f"{work.host}:{work.port}"]
        start = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        errors = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        taken = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stderr.close()
        if process.returncode:
            raise ChildProcessError(errors.strip() or f"exit status {process.returncode}")
        return taken, usage.ru_utime + usage.ru_stime
