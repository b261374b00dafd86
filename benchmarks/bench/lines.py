"""The protocol between the processes of the benchmark: one line of JSON each way."""

from __future__ import annotations

import importlib.util
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["Failed", "Handler", "Process", "python", "serve"]

Handler = Callable[[dict[str, Any]], Mapping[str, Any]]

ROOT = Path(__file__).resolve().parents[1]


class Failed(Exception):
    """A process reported an error, ended, or took too long."""


def serve(handle: Handler) -> None:
    """Answer each line of standard input, until it ends."""
    # Output of a library must not be mixed with the replies.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        try:
            answer = dict(handle(json.loads(line)))
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of this package as a process."""
    return [sys.executable, "-P", "-W", "ignore", "-m", module, *arguments]


def _path() -> str:
    """The path of modules: this package, and mailbackends if it is not installed."""
    path = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    if importlib.util.find_spec("mailbackends") is None:
        path.append(str(ROOT.parent))
    return os.pathsep.join(filter(None, path))


class Process:
    """Another process of the benchmark. It answers one request at a time."""

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
            env={
                **os.environ,
                **(environment or {}),
                "PYTHONPATH": _path(),
            },
        )
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def ask(self, question: Mapping[str, Any], *, timeout: float = 120.0) -> dict[str, Any]:
        """The answer.

        Raises:
            Failed: there is none within ``timeout`` seconds, or it is an error. After a timeout the
            process cannot be used again.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise Failed(f"{self.name} has ended: {self._last_words()}") from error
        try:
            line = self._answers.get(timeout=timeout)
        except queue.Empty:
            self._process.kill()
            raise Failed(f"{self.name} took longer than {timeout:.0f} seconds") from None
        if not line:
            raise Failed(f"{self.name} has ended: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise Failed(f"{self.name}: {answer['error']}\n{answer.get('trace', '')}".strip())
        return answer

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            self._process.wait(5)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as answers:
            for line in answers:
                self._answers.put(line)
        self._answers.put("")

    def _last_words(self) -> str:
        self._errors.seek(0)
        return self._errors.read()[-2000:].strip() or f"exit status {self._process.poll()}"
