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

_STARTS = 3


def make(manner: str) -> Client:
    """``kept`` only."""
    return _SmtpSource(manner)


class _SmtpSource(Client):
    def prepare(self, work: Work) -> int:
        with tempfile.NamedTemporaryFile(suffix=".eml", delete=False) as self.file:
            self.file.write(work.sample.wire_bytes().replace(b"\r\n", b"\n"))
        return 0

    def make(self, work: Work, count: int) -> Sequence[Any]:
        return [None] * count

    def send(self, work: Work, messages: Sequence[Any]) -> None:
        self.taken = self._run(work, len(messages))

    def measure(self, work: Work, count: int) -> dict[str, float]:
        """The time of ``count`` further messages, without that of starting and sending one."""
        starts = [self._run(work, 1) for _ in range(_STARTS)]
        self.send(work, [None] * (count + 1))
        # The shortest start is the least disturbed by other processes.
        wall, cpu = (max(t - min(s), 1e-6) for t, *s in zip(self.taken, *starts, strict=True))
        return {"wall": wall, "cpu": cpu, "sent": _STARTS + count + 1}

    def memory(self, work: Work) -> dict[str, float]:
        """Not measured."""
        self.send(work, [None])
        return {}

    def finish(self) -> None:
        os.unlink(self.file.name)

    def _run(self, work: Work, count: int) -> tuple[float, float]:
        recipients = work.sample.recipients
        command = [_program(), "-d", "-s", "1", "-m", str(count), "-f", SENDER, "-t", recipients[0]]
        if len(recipients) > 1:
            command += ["-r", str(len(recipients))]
        command += ["-M", work.local_hostname, "-F", self.file.name, f"{work.host}:{work.port}"]
        return _timed(command)


def _program() -> str:
    program = smtp_source()
    assert program is not None
    return program


def _timed(command: Sequence[str]) -> tuple[float, float]:
    """The seconds that a program takes: elapsed, and of processor time."""
    start = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    with process.stderr as stream:
        errors = stream.read()
    _, status, usage = os.wait4(process.pid, 0)
    taken = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise ChildProcessError(errors.strip() or f"exit status {process.returncode}")
    return taken, usage.ru_utime + usage.ru_stime
