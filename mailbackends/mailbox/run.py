"""`run`: the mailbox as a program, until it is interrupted."""

from __future__ import annotations

import errno
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import FrameType

from mailbackends.mailbox.mailbox import Mailbox
from mailbackends.mailbox.wsgi import WebServer, is_loopback

__all__ = ["NotLoopback", "PortUnavailable", "run", "serve"]


class NotLoopback(ValueError):
    """The mailbox was to listen where others could read all mail."""

    def __init__(self, host: str) -> None:
        super().__init__(host)
        self.host = host

    def __str__(self) -> str:
        return self.explained("expose=True")

    def explained(self, option: str) -> str:
        """The error, with the option of the caller's interface that allows it."""
        return (
            f"{self.host} is not a loopback address: anyone who can reach it could read all mail. "
            f"Use 127.0.0.1, or allow it with {option}"
        )


class PortUnavailable(OSError):
    """A port is in use or needs privileges. ``option`` is the argument with the port."""

    def __init__(self, error: OSError, option: str, port: int) -> None:
        super().__init__(error.errno, error.strerror)
        self.option = option
        self.port = port

    def __str__(self) -> str:
        return self.explained(self.option)

    def explained(self, option: str) -> str:
        """The error, with the port's option in the words of the caller's interface."""
        reason = "needs privileges" if self.errno == errno.EACCES else "is in use"
        return f"port {self.port} {reason}: choose another {option}, or 0 for a free one"


@contextmanager
def _port(option: str, port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise PortUnavailable(error, option, port) from error
        raise


@contextmanager
def serve(
    *,
    smtp_port: int = 1025,
    http_port: int = 8025,
    host: str = "127.0.0.1",
    path: str | Path | None = None,
    keep: int = 1000,
    hosts: Iterable[str] = (),
    previews: Iterable[str] = (),
    expose: bool = False,
) -> Iterator[tuple[Mailbox, WebServer]]:
    """A mailbox that listens for mail and for browsers within the block.

    Args:
        smtp_port, http_port: 0 takes a free port.
        path: an SQLite file; None keeps the mail in memory.
        keep: the number of messages kept.
        hosts: further host names that browsers may use, beside those of loopback.
        previews: modules to import, which register previews.
        expose: allow a ``host`` that is not a loopback address: anyone who can reach it can read
            all mail.

    Raises:
        NotLoopback: ``host`` is not a loopback address, and ``expose`` is False.
        PortUnavailable: a port is in use, or needs privileges.
        ImportError: a module of ``previews`` does not exist.
        OSError, sqlite3.Error: the file cannot be used.
    """
    if not (expose or is_loopback(host)):
        raise NotLoopback(host)
    for module in previews:
        import_module(module)
    box = Mailbox(path, keep=keep, hosts=tuple(hosts))
    try:
        with _port("smtp_port", smtp_port):
            box.listen(smtp_port, host=host)
        with _port("http_port", http_port):
            page = WebServer(box, host=host, port=http_port)
        page.start()
        try:
            yield box, page
        finally:
            page.stop()
    finally:
        box.close()


def run(
    *,
    smtp_port: int = 1025,
    http_port: int = 8025,
    host: str = "127.0.0.1",
    path: str | Path | None = None,
    keep: int = 1000,
    hosts: Iterable[str] = (),
    previews: Iterable[str] = (),
    expose: bool = False,
    say: Callable[[str], object] = print,
) -> None:
    """Run the mailbox until Ctrl+C or SIGTERM. The arguments and errors are those of `serve`.

    ``say`` is called with each line of output.
    """
    stopped = threading.Event()
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(number)
        stopped.set()

    with serve(
        smtp_port=smtp_port,
        http_port=http_port,
        host=host,
        path=path,
        keep=keep,
        hosts=hosts,
        previews=previews,
        expose=expose,
    ) as (box, page):
        server = box.listen()
        say(f"Mail    smtp://{server.host}:{server.port}  (any login, nothing is delivered)")
        say(f"Page    {page.url}")
        say(f"Kept    {path if path else 'in memory'}, the newest {keep}")
        # No KeyboardInterrupt: raised in the code of a lock, it could leave it locked, and raised
        # in a finalizer, it would be lost.
        previous = {each: signal.signal(each, stop) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            say("Press Ctrl+C to end.")
            _follow(box, stopped, say)
            if signal.SIGINT in received:
                say("")
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def _follow(box: Mailbox, stopped: threading.Event, say: Callable[[str], object]) -> None:
    """Print a line for each message that arrives."""
    newest = max((line.id for line in box.store.find(limit=1)), default=0)
    version = box.store.version
    while not stopped.is_set():
        # Short: a signal's handler runs only between the waits.
        version = box.store.wait(version, 0.5)
        for line in reversed(box.store.find(limit=100)):
            if line.id > newest:
                newest = line.id
                came = time.strftime("%H:%M:%S", time.localtime(line.received))
                subject = line.subject or "(no subject)"
                say(f"{came}  {line.addressees}  {subject}  ({line.size} bytes, {line.outcome})")
