"""An example application in a separate process, called over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

__all__ = ["Application", "ApplicationFailed", "Response"]


class ApplicationFailed(Exception):
    """The application did not start, or returned an error; the text contains its output."""


@dataclass(frozen=True)
class Response:
    """The response of a view."""

    body: dict[str, Any]
    seconds: float
    """The time from the request to the end of the response."""


class Application:
    """Runs ``command`` inside a ``with`` block.

    ``{port}`` in the command is replaced by the port on loopback to listen on.
    """

    host = "127.0.0.1"

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], cwd: str) -> None:
        self.port = _free_port()
        self.command = [part.format(port=self.port) for part in command]
        self.environment = {**os.environ, **environment}
        # The application imports modules beside its main file.
        self.environment.pop("PYTHONSAFEPATH", None)
        self.cwd = cwd

    def __enter__(self) -> Application:
        self._output: BinaryIO = tempfile.TemporaryFile()
        self._process = subprocess.Popen(  # noqa: S603 - the command is written in this folder
            [sys.executable, *self.command],
            cwd=self.cwd,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )
        try:
            self._wait_until_it_listens()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()

    def post(self, path: str, fields: Mapping[str, str] | None = None) -> Response:
        """Call a view. Raises `ApplicationFailed` for any answer but 2xx with JSON."""
        started = time.perf_counter()
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        try:
            connection.request(
                "POST",
                path,
                body=json.dumps(dict(fields or {})),
                headers={"Content-Type": "application/json", "Accept": "application/json"},
            )
            answer = connection.getresponse()
            data = answer.read()
        except OSError as error:
            raise ApplicationFailed(self._explain(f"POST {path}: {error}")) from error
        finally:
            connection.close()
        seconds = time.perf_counter() - started
        text = data.decode("utf-8", "replace")
        if not 200 <= answer.status < 300:
            raise ApplicationFailed(
                self._explain(f"POST {path} returned {answer.status}: {text[:300]}")
            )
        try:
            return Response(json.loads(text), seconds)
        except ValueError as error:
            raise ApplicationFailed(
                self._explain(f"POST {path} did not return JSON: {text[:300]}")
            ) from error

    def _wait_until_it_listens(self, seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise ApplicationFailed(self._explain("the application ended during its start"))
            try:
                socket.create_connection((self.host, self.port), 1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise ApplicationFailed(self._explain(f"it did not listen within {seconds:.0f} s"))

    def _explain(self, what: str) -> str:
        self._output.seek(0)
        written = self._output.read().decode("utf-8", "replace").strip().splitlines()
        tail = "\n".join(f"    {line}" for line in written[-12:])
        return f"{' '.join(self.command)}: {what}" + (f"\n  Its output:\n{tail}" if tail else "")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
