"""Where reports come in: a Maildir, or LMTP from the mail server of this machine."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mailbackends.errors import ConfigurationError

__all__ = ["LARGEST", "from_maildir", "serve_lmtp"]

logger: logging.Logger = logging.getLogger("mailbackends.bounces")

LARGEST = 10 * 1024 * 1024
"""Messages with more bytes are not taken; reports are a few kilobytes."""


def from_maildir(folder: Path, handle: Callable[[bytes], None]) -> int:
    """Call ``handle`` with each new message of a Maildir, and mark it as seen.

    One whose handling raises is logged, stays new and comes again; the others are read all the
    same. Returns how many those are.

    Raises:
        ConfigurationError: it is not a Maildir.
    """
    new, seen = folder / "new", folder / "cur"
    if not new.is_dir() or not seen.is_dir():
        raise ConfigurationError(f"{folder} is not a Maildir: it has no folders new and cur")
    failed = 0
    for path in sorted(new.iterdir()):
        if path.name.startswith(".") or not path.is_file():
            continue
        try:
            with path.open("rb") as file:
                data = file.read(LARGEST)
            handle(data)
            os.replace(path, seen / f"{path.name}:2,S")
        except FileNotFoundError:  # another process took it
            continue
        except Exception:
            logger.exception("the message %s cannot be handled, and stays new", path)
            failed += 1
    return failed


def serve_lmtp(host: str, port: int, handle: Callable[[bytes], None]) -> None:
    """Take reports by LMTP (RFC 2033) until interrupted; ``handle`` is called with each.

    If it raises, the server is asked to try again later (451). Listen on loopback only: there
    is no login.

    Raises:
        ConfigurationError: aiosmtpd is not installed.
        OSError: the port is in use.
    """
    try:
        from aiosmtpd.lmtp import LMTP
    except ImportError:
        raise ConfigurationError(
            'LMTP needs aiosmtpd: python -m pip install "mailbackends[cli]"'
        ) from None

    class Handler:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            try:
                await asyncio.to_thread(handle, bytes(envelope.content))
            except Exception as error:
                logger.exception("a message cannot be handled")
                return f"451 4.3.0 {type(error).__name__}, try again later"
            return "250 2.0.0 Ok"

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: LMTP(Handler(), data_size_limit=LARGEST, enable_SMTPUTF8=True), host, port
        )
        async with server:
            await server.serve_forever()

    asyncio.run(serve())
