"""`SMTPServer`: aiosmtpd in a thread, the base of every SMTP server that this project starts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from ssl import SSLContext
from typing import Any, AnyStr, Self

try:
    from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(
        'mailbackends.testing needs aiosmtpd: python -m pip install "mailbackends[testing]"',
        name="aiosmtpd",
    ) from _error

__all__ = ["SMTP", "Envelope", "SMTPServer", "ServerConnection", "Session"]


class SMTPServer:
    """Listens on ``host`` from `start` to `stop`, or inside a ``with`` block.

    A subclass returns its own `ServerConnection` from `make_connection`. Every connection
    that is still open is closed by `stop`.

    Args:
        port: 0 takes a free port; ``port`` then has its number.
        tls_context: the server speaks TLS from the first byte.

    Raises:
        OSError: from `start`, if the port is in use.
    """

    def __init__(
        self, *, host: str = "127.0.0.1", port: int = 0, tls_context: SSLContext | None = None
    ) -> None:
        self.host = host
        self.port: int = port
        self.connections: int = 0
        """The number of connections accepted so far."""
        self._tls_context = tls_context
        self._open: set[ServerConnection] = set()
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=type(self).__name__, daemon=True)

    def make_connection(self, number: int) -> ServerConnection:
        """The protocol object for one connection; ``number`` counts from 0."""
        raise NotImplementedError

    def start(self) -> None:
        """Start to listen; returns once connections are accepted."""
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Close all connections and release the port."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        listener = await self._loop.create_server(
            self._accept, self.host, self.port, ssl=self._tls_context
        )
        self.port = listener.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stopping.wait()
        listener.close()
        left = list(self._open)
        for connection in left:
            connection.abort()
        await asyncio.gather(*(connection.ended.wait() for connection in left))

    def _accept(self) -> ServerConnection:
        connection = self.make_connection(self.connections)
        connection.open_connections = self._open
        self.connections += 1
        return connection


class _Session(Session):
    # aiosmtpd sets this attribute itself and then logs at each login that it is deprecated.
    login_data = None


class ServerConnection(SMTP):
    """One connection to an `SMTPServer`.

    Args:
        handler: aiosmtpd's handler, whose ``handle_...`` methods answer the commands.
        authenticate: called with user name and password, as text; whether they are right.
        delay: the delay of each reply in seconds, as from a distant server.
        options: further arguments of `aiosmtpd.smtp.SMTP`.
    """

    open_connections: set[ServerConnection]
    """The server's open connections; this one adds and removes itself."""

    def __init__(
        self,
        handler: object,
        *,
        authenticate: Callable[[str, str], bool],
        delay: float = 0.0,
        **options: Any,
    ) -> None:
        self.ended: asyncio.Event = asyncio.Event()
        self._is_right = authenticate
        self._delay = delay
        super().__init__(handler, enable_SMTPUTF8=True, authenticator=self._check_login, **options)

    @property
    def is_tls(self) -> bool:
        """True once the connection is encrypted."""
        return self._ssl_object is not None

    @property
    def tls_version(self) -> str | None:
        """Such as ``"TLSv1.3"``, or None without TLS."""
        return None if self._ssl_object is None else self._ssl_object.version()

    @property
    def user(self) -> str | None:
        """The user name of the login, or None."""
        session = self.session
        return session.auth_data if session is not None and session.authenticated else None

    def abort(self) -> None:
        """Close the connection without a reply."""
        transport: Any = self.transport
        if transport is not None:
            transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio, and once more after STARTTLS."""
        self.open_connections.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Called by asyncio."""
        self.open_connections.discard(self)
        self.ended.set()
        super().connection_lost(error)

    async def push(self, status: AnyStr) -> None:
        """Send a line of a reply; the last one after the delay."""
        is_last = status[3:4] not in ("-", b"-")
        if self._delay and is_last:
            await asyncio.sleep(self._delay)
        await super().push(status)

    @property
    def _ssl_object(self) -> Any:
        return self.transport.get_extra_info("ssl_object") if self.transport else None

    def _create_session(self) -> Session:
        return _Session(self.loop)

    def _check_login(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        user, password = (_text(getattr(data, name, "")) for name in ("login", "password"))
        is_right = self._is_right(user, password)
        return AuthResult(success=is_right, handled=False, auth_data=user)


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
