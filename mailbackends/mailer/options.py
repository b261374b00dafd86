"""The options of a Mailer: names, defaults, and what contradicts what."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache, cached_property
from typing import Any, Literal, get_args

from mailbackends.errors import ConfigurationError
from mailbackends.mailer import option_values
from mailbackends.mailer.option_values import unknown_option
from mailbackends.mailer.rate import parse_rates
from mailbackends.mailer.url import parse
from mailbackends.protocol.sasl import MECHANISMS, Credentials

__all__ = ["Options"]

Security = Literal["none", "starttls", "tls"]
Protocol = Literal["smtp", "lmtp"]

_PORTS = {"none": 25, "starttls": 587, "tls": 465}
_LMTP_PORT = 24


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a Mailer reaches its server and treats its connections. Times are in seconds.

    Equal options have equal hashes: they can be the key to a Mailer.

    Raises:
        ConfigurationError: a value is unusable or contradicts another. The text names
            the option, the value (secrets excepted) and the mend.
    """

    host: str = "localhost"
    port: int | None = None
    """None: 25, 587 (``starttls``), 465 (``tls``), or 24 for LMTP."""
    security: Security = "none"
    """``none``, ``starttls``, or ``tls`` from the first byte. Certificates are verified."""
    protocol: Protocol = "smtp"
    socket_path: str | None = None
    """A Unix socket in place of host and port, for LMTP."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token_provider: Callable[[], str] | None = field(default=None, repr=False)
    """Returns an OAuth 2.0 access token; asked for each login, and once more after a 535."""
    auth_mechanisms: tuple[str, ...] | None = None
    """The mechanisms allowed; None: all that fit, from strong to weak."""
    allow_cleartext_auth: bool = False
    """Log in without TLS also to a server that is not on this machine."""

    local_hostname: str | None = None
    """Our name in EHLO; None: this machine's full name, or its address."""
    source_address: tuple[str, int] | None = None

    timeout: float | None = 30.0
    """The longest wait for one reply."""
    connect_timeout: float | None = None
    """The longest wait for the TCP connection, and for the TLS handshake; None: ``timeout``."""
    content_timeout: float | None = 120.0
    """The longest wait for the reply to the content."""
    deadline: float | None = 180.0
    """The longest time for one message, all waits included."""

    pool_size: int = 4
    pool_timeout: float | None = 30.0
    """The longest wait for a connection while all are busy."""
    max_messages_per_connection: int = 100
    """Messages on one connection, after which it is closed."""
    max_lifetime: float = 600.0
    max_idle: float = 60.0
    """Time unused after which a connection is closed, before the server does it."""

    ssl_context: ssl.SSLContext | None = None
    """Used as it is; the other ``ssl_`` options then have no meaning and are refused."""
    ssl_cafile: str | None = None
    """A file of CA certificates (PEM) to trust in place of the system's."""
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    tls_minimum_version: str = "TLSv1.2"

    pipelining: bool = True
    """Send commands in groups where the server announces it (RFC 2920)."""
    chunking: bool = True
    """Send content by BDAT where the server announces it (RFC 3030)."""
    fast_paths: bool = True
    """Serialise plain messages with our own code, which gives the same bytes as the email
    package; False leaves all to that package."""
    batch_connections: int = 1
    """How many connections `Mailer.stream_messages` may use side by side."""

    batch_pipeline: int = 1
    """How many messages `Mailer.stream_messages` may send over one connection before the first
    of them was answered. More than 1 only for a server that is known to take that."""

    rate: str | None = None
    """How many messages may go in which time: ``"100/minute"``, ``"14/second; 50000/day"``."""
    rate_storage: str | None = field(default=None, repr=False)
    """A store that many processes share to hold the rate, such as ``"redis://localhost"``."""

    circuit_failures: int = 3
    """With several servers: faults in a row after which this one is tried last."""
    circuit_pause: float = 30.0
    """The time after which a message is tried there again."""

    def __post_init__(self) -> None:
        for option in fields(self):
            value = getattr(self, option.name)
            checked = option_values.checked(option.name, value, option.type)
            if checked is not value:
                object.__setattr__(self, option.name, checked)
        self._check_choices()
        self._check_credentials()
        self._check_tls()
        self._check_rate()
        if self.batch_connections > self.pool_size:
            raise ConfigurationError(
                f"batch_connections={self.batch_connections} is more than "
                f"pool_size={self.pool_size}: raise pool_size"
            )
        if self.batch_connections > 1 and self.batch_pipeline > 1:
            raise ConfigurationError(
                f"batch_connections={self.batch_connections} and "
                f"batch_pipeline={self.batch_pipeline} exclude each other: set one of them"
            )

    @classmethod
    @cache
    def known(cls) -> tuple[str, ...]:
        """The names of all options."""
        return tuple(option.name for option in fields(cls))

    @classmethod
    def from_mapping(cls, options: Mapping[str, Any]) -> Options:
        """The options in a mapping of names to values.

        Raises:
            ConfigurationError: also for a name that is unknown; it tells the nearest.
        """
        for name in options:
            if name not in cls.known():
                raise ConfigurationError(unknown_option(name, cls.known()))
        return cls(**options)

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Options:
        """The options in a URL, and further ones, which take precedence.

        See `mailbackends.mailer.url`.
        """
        return cls.from_mapping({**cls.parse_url(url), **options})

    @classmethod
    def parse_url(cls, url: str) -> dict[str, Any]:
        """What a URL says, by the names of the options; it may not be enough for a Mailer.

        Raises:
            ConfigurationError: it is no URL of a server, or names what is no option.
        """
        return parse(url, {option.name: str(option.type) for option in fields(cls)})

    def replace(self, **changes: Any) -> Options:
        """These options with changes.

        Raises:
            ConfigurationError: as for new ones.
        """
        for name in changes:
            if name not in self.known():
                raise ConfigurationError(unknown_option(name, self.known()))
        return replace(self, **changes)

    @property
    def server_port(self) -> int:
        """The port to connect to."""
        if self.port is not None:
            return self.port
        return _LMTP_PORT if self.protocol == "lmtp" else _PORTS[self.security]

    @property
    def server(self) -> str:
        """Where the server is, for people: ``host:port``, or the path of the socket."""
        return self.socket_path or f"{self.host}:{self.server_port}"

    @cached_property
    def credentials(self) -> Credentials | None:
        """What to log in with, or None where there is no login."""
        if self.username is None and not self.auth_mechanisms:
            return None
        return Credentials(self.username, self.password, self.token_provider)

    def _check_choices(self) -> None:
        for name, choices in (("security", get_args(Security)), ("protocol", get_args(Protocol))):
            value = getattr(self, name)
            if value not in choices:
                raise ConfigurationError(
                    f"{name}={value!r} is none of {', '.join(map(repr, choices))}"
                )
        if self.socket_path is not None and self.protocol != "lmtp":
            raise ConfigurationError("socket_path is for LMTP only: set protocol='lmtp'")

    def _check_credentials(self) -> None:
        for name in self.auth_mechanisms or ():
            known = tuple(mechanism.name for mechanism in MECHANISMS)
            if name not in known:
                raise ConfigurationError(unknown_option(name, known, label="mechanism"))
        if self.username is None:
            for name in ("password", "token_provider"):
                if getattr(self, name) is not None:
                    raise ConfigurationError(f"{name} is given without username: give both")
            return
        if self.password is None and self.token_provider is None and not self.auth_mechanisms:
            raise ConfigurationError(
                "username is given without password or token_provider: give one of them, or neither"
            )
        if self.security == "none" and not self.allow_cleartext_auth and not self._is_local():
            raise ConfigurationError(
                f"username is given, and the password would go to {self.host} in clear: "
                "set security='starttls' or 'tls', or allow_cleartext_auth=True if you mean it"
            )

    def _check_tls(self) -> None:
        given = [n for n in ("ssl_cafile", "ssl_certfile", "ssl_keyfile") if getattr(self, n)]
        if self.ssl_context is not None and given:
            raise ConfigurationError(
                f"ssl_context and {given[0]} contradict each other: load the file into the context"
            )
        if self.ssl_keyfile and not self.ssl_certfile:
            raise ConfigurationError("ssl_keyfile is given without ssl_certfile: give both")
        if self.security == "none" and (given or self.ssl_context is not None):
            name = given[0] if given else "ssl_context"
            raise ConfigurationError(
                f"{name}={getattr(self, name)!r} is given with security='none', which is without "
                "TLS: set security='starttls' or 'tls', or leave it out"
            )

    def _check_rate(self) -> None:
        if self.rate is not None:
            parse_rates(self.rate)
        elif self.rate_storage is not None:
            raise ConfigurationError("rate_storage is given without rate: give both")

    def _is_local(self) -> bool:
        if self.socket_path is not None or self.host.lower() in ("localhost", "localhost."):
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False
