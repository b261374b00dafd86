"""`run`: the mailbox by itself, until it is interrupted."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from mailbackends.mailbox.mailbox import Mailbox
from mailbackends.mailbox.wsgi import WebServer, is_loopback

__all__ = ["run", "serve"]


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
        smtp_port, http_port: 0 takes one that is free.
        path: an SQLite file; None keeps mail in memory.
        keep: how many messages are kept.
        hosts: names by which browsers may call it beside those of loopback.
        previews: modules to import, which register previews.
        expose: ``host`` may be another address than one of loopback: everybody who
            reaches it reads all mail.

    Raises:
        ValueError: ``host`` is not of loopback.
        ImportError: a module of ``previews`` is not there.
        OSError, sqlite3.Error: a port is taken, or the file cannot be used.
    """
    if not (expose or is_loopback(host)):
        raise ValueError(
            f"the mailbox listens on loopback, and {host} is not: everybody who reaches it "
            "could read all mail. With expose=True it listens there all the same"
        )
    for module in previews:
        import_module(module)
    box = Mailbox(path, keep=keep, hosts=tuple(hosts))
    try:
        box.listen(smtp_port, host=host)
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
    """The mailbox, until Ctrl+C or SIGTERM. The arguments and errors are those of `serve`.

    ``say`` is given each line that is for people to read.
    """
    stopped = threading.Event()
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
        say(f"Mail    smtp://{server.host}:{server.port}  (any login, nothing goes out)")
        say(f"Page    {page.url}")
        say(f"Kept    {path if path else 'in memory'}, the newest {keep}")
        say("Ctrl+C ends it.")
        previous = signal.signal(signal.SIGTERM, lambda number, frame: stopped.set())
        try:
            _follow(box, stopped, say)
        except KeyboardInterrupt:
            say("")
        finally:
            signal.signal(signal.SIGTERM, previous)


def _follow(box: Mailbox, stopped: threading.Event, say: Callable[[str], object]) -> None:
    """A line for each message that comes."""
    newest = max((line.id for line in box.store.find(limit=1)), default=0)
    version = box.store.version
    while not stopped.is_set():
        # Short, for a signal's handler only runs between the waits.
        version = box.store.wait(version, 0.5)
        for line in reversed(box.store.find(limit=100)):
            if line.id > newest:
                newest = line.id
                came = time.strftime("%H:%M:%S", time.localtime(line.received))
                subject = line.subject or "(no subject)"
                say(f"{came}  {line.addressees}  {subject}  ({line.size} bytes, {line.outcome})")
