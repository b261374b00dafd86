"""Opening a connection for messages: connect, greeting, TLS and login."""

from __future__ import annotations

import contextlib
import functools
import logging
import socket
import ssl
from collections.abc import Callable

from mailbackends.errors import SMTPConnectionError, SMTPException, SMTPTimeoutError
from mailbackends.mailer.options import Options
from mailbackends.protocol import dialogue
from mailbackends.protocol.session import Session
from mailbackends.protocol.state import Dialogue
from mailbackends.transport.dial import address_literal, dial, dial_unix, own_name
from mailbackends.transport.driver import Driver
from mailbackends.transport.stream import Stream
from mailbackends.transport.tls import client_context
from mailbackends.transport.waiting import BLOCKING, Deadline, Timeouts, Waiter

__all__ = ["connected", "context_of", "open_driver", "timeouts_of"]

_BLOCKED = (
    "check {host} and {port}: a firewall may drop the packets, as many networks do for port 25"
)

logger: logging.Logger = logging.getLogger("mailbackends.wire")

# This host's name after the first lookup, which may take seconds; it does not change.
_known_names: list[str] = []

# After this many seconds an address is used instead: the server is waiting for EHLO.
_NAME_SECONDS = 5.0


async def open_driver(
    options: Options, context: ssl.SSLContext | None, latest: float | None, waiter: Waiter
) -> Driver:
    """A connection on which MAIL can follow, before ``latest`` on the clock.

    Raises:
        SMTPConnectionError: no connection could be made.
        SMTPException: greeting, TLS or login failed.
    """
    timeouts = timeouts_of(options, latest)
    stream = await _dial(options, timeouts, waiter)
    try:
        trace = _trace(options.server) if logger.isEnabledFor(logging.DEBUG) else None
        session = Session(is_lmtp=options.protocol == "lmtp", trace=trace)
        driver = Driver(session, stream, tls_context=context, tls_hostname=options.host)
        if options.security == "tls" and context is not None:
            await stream.start_tls(context, options.host, timeouts.for_handshake())
            session.is_tls = True
        name = options.local_hostname or await _own_name(stream, timeouts)
        await driver.run(_introduction(session, options, name), timeouts)
        if (credentials := options.credentials) is not None:
            login = dialogue.login(session, credentials, options.auth_mechanisms)
            if options.tokens is not None or _derives_keys(session):
                await driver.run_in_thread(login, timeouts)
            else:
                await driver.run(login, timeouts)
    except BaseException:
        stream.abort()
        raise
    return driver


async def _own_name(stream: Stream, timeouts: Timeouts) -> str:
    """This host's name, or an address literal where the resolver takes too long."""
    if not _known_names:
        seconds = timeouts.for_reply().remaining()
        with contextlib.suppress(TimeoutError, RuntimeError):
            name = await stream.waiter.call(
                functools.partial(own_name, stream.sock),
                _NAME_SECONDS if seconds is None else min(_NAME_SECONDS, max(0.0, seconds / 2)),
            )
            _known_names.append(name)
    return _known_names[0] if _known_names else address_literal(stream.sock)


def _introduction(session: Session, options: Options, name: str) -> Dialogue[None]:
    yield from dialogue.greeting(session)
    yield from dialogue.hello(session, name)
    if options.security == "starttls":
        yield from dialogue.starttls(session, name)


def _derives_keys(session: Session) -> bool:
    """True if the login may take long here: the server sets SCRAM's iteration count."""
    return any(name.startswith("SCRAM-") for name in session.extensions.auth_mechanisms)


async def _dial(options: Options, timeouts: Timeouts, waiter: Waiter) -> Stream:
    deadline = timeouts.for_connect()
    try:
        return Stream(await connected(options, deadline, waiter), waiter)
    except SMTPTimeoutError as error:
        raise error.suggesting(_BLOCKED)  # noqa: B904 - it is the same error
    except SMTPException:
        raise
    except TimeoutError as error:
        timeout = SMTPTimeoutError(f"{deadline.exceeded()} to {options.server}")
        raise timeout.suggesting(_BLOCKED) from error
    except OSError as error:
        raise SMTPConnectionError.because_of(error, options.server) from error


async def connected(
    options: Options, deadline: Deadline, waiter: Waiter = BLOCKING
) -> socket.socket:
    """A socket that is connected to the server.

    Raises:
        OSError: no connection could be made before the deadline.
    """
    if options.socket_path is not None:
        return await dial_unix(options.socket_path, deadline, waiter)
    return await dial(
        options.host.strip("[]"),
        options.server_port,
        deadline,
        source_address=options.source_address,
        waiter=waiter,
    )


def context_of(options: Options) -> ssl.SSLContext | None:
    """How TLS is used with these options; None if it is not.

    Raises:
        ConfigurationError: a file of certificates cannot be read.
    """
    if options.security == "none":
        return None
    return options.ssl_context or client_context(
        cafile=options.ssl_cafile,
        certfile=options.ssl_certfile,
        keyfile=options.ssl_keyfile,
        minimum_version=options.tls_minimum_version,
        wording=options.wording,
    )


def timeouts_of(options: Options, latest: float | None = None) -> Timeouts:
    """The limits for each kind of wait that the options set, before ``latest`` on the clock."""
    return Timeouts(
        connect=options.connect_timeout or options.timeout,
        command=options.timeout,
        content=options.content_timeout,
        latest=latest,
    )


def _trace(server: str) -> Callable[[str], None]:
    return functools.partial(logger.debug, "%s %s", server)
