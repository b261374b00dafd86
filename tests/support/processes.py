"""Other processes for the tests: a program run by itself, and a forked child."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mailbackends

__all__ = ["fork", "in_child", "run_program"]

_PATHS = [str(Path(__file__).parents[1]), str(Path(mailbackends.__file__).parents[1])]


def run_program(source: str, *arguments: str, timeout: float = 30) -> str:
    """The output of a Python program in a separate process, which can import `support` too.

    A program that fails, or prints anything to standard error, fails the test.
    """
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-X", "dev", "-c", textwrap.dedent(source), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(_PATHS)},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr or done.stdout
    return done.stdout


def fork() -> int:
    """`os.fork`, also while other threads run: that is what is tested."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=".* is multi-threaded, use of fork", category=DeprecationWarning
        )
        return os.fork()


def in_child(act: Callable[[], Any], seconds: int = 20) -> Any:
    """The result of `act` (as JSON) in a forked child, which exits without any clean-up.

    A child that raises, or hangs for `seconds`, fails the test.
    """
    reading, writing = os.pipe()
    pid = fork()
    if pid == 0:
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(seconds)
            os.write(writing, json.dumps(act()).encode())
            os._exit(0)
        except BaseException:
            os.write(writing, traceback.format_exc().encode())
        finally:
            os._exit(1)
    os.close(writing)
    with open(reading, "rb") as answer:
        data = answer.read()
    _, status = os.waitpid(pid, 0)
    assert status == 0, data.decode() or f"the child ended with status {status}"
    return json.loads(data)
