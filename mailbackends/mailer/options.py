"""The options of a Mailer: read from arguments, mappings and URLs, and checked."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from mailbackends.errors import ConfigurationError
from mailbackends.mailer.option_table import Option, OptionTable, hide_secrets, unknown_option
from mailbackends.mailer.rate import parse_rates
from mailbackends.mailer.url import SCHEMES, SecretURL, hide_urls, parsed
from mailbackends.oauth.settings import OAuthSettings, provider_from
from mailbackends.protocol.sasl import MECHANISMS, Credentials
from mailbackends.secret import NotText, Secret
from mailbackends.texts import did_you_mean

__all__ = ["Options"]

_PORTS = {"none": 25, "starttls": 587, "tls": 465}
_LMTP_PORT = 24
_OAUTH = tuple(
    each.name for each in fields(OAuthSettings) if each.name not in ("oauth", "username")
)


@dataclass(frozen=True, kw_only=True)
class Options(OptionTable):
    """How a Mailer reaches its server and treats its connections. Times are in seconds.

    Equal options have equal hashes: they can be the key to a Mailer. `table` describes each
    option. Options with a password cannot be pickled.

    Raises:
        ConfigurationError: a value is unusable or contradicts another. The text names the
            option, the value (unless it is a secret) and a fix.
    """

    def __post_init__(self) -> None:
        for option in self.table().values():
            value = getattr(self, option.name)
            if value is None and option.accepts_none:
                continue
            if value is None:
                raise ConfigurationError(
                    f"{option.name} must not be None: leave it out for {option.default!r}"
                )
            checked = option.kind.check(option.name, value)
            if checked is not value:
                object.__setattr__(self, option.name, checked)
        self._check_oauth()
        self._check_credentials()
        self._check_tls()
        self._check_sending()

    @classmethod
    def known(cls) -> tuple[str, ...]:
        """The names of all options."""
        return tuple(cls.table())

    @classmethod
    def from_mapping(cls, options: Mapping[str, Any]) -> Options:
        """The options in a mapping of names to values.

        Raises:
            ConfigurationError: also for a name that is unknown; it suggests the nearest.
        """
        options = hide_secrets(options)
        return cls(**options)

    @classmethod
    def from_url(cls, url: str | SecretURL, **options: Any) -> Options:
        """The options in a URL, and further ones, which take precedence.

        See `mailbackends.mailer.url`.
        """
        url, options = hide_urls(url), hide_secrets(options)
        return cls.from_mapping({**cls.parse_url(url), **options})

    @classmethod
    def parse_url(cls, url: str | SecretURL) -> dict[str, Any]:
        """The options in a URL by name; secrets are a `Secret`. They may not suffice for a Mailer.

        Raises:
            ConfigurationError: it is not the URL of a server, or names an unknown option.
        """
        url = hide_urls(url)
        if not isinstance(url, SecretURL):
            kind = url.kind if isinstance(url, NotText) else type(url).__name__
            raise ConfigurationError(
                f"a URL must be text, got {kind}: write smtp+starttls://user:password@host"
            )
        table = cls.table()
        secret = {name for name, option in table.items() if option.kind.is_secret}
        found = parsed(url, known=table, secret=secret)
        if found.problem:
            raise ConfigurationError(f"the URL {str(url)!r} {found.problem}")
        options: dict[str, Any] = dict(SCHEMES[found.scheme])
        for name in ("host", "port", "socket_path", "username", "password"):
            if (value := getattr(found, name)) not in (None, ""):
                options[name] = value
        if found.username == "" and found.password is not None:
            options["username"] = ""
        given: set[str] = set()
        for name, value in found.query:
            if name not in table:
                raise ConfigurationError(unknown_option(name))
            if name in given or name in options:
                raise ConfigurationError(f"the URL sets {name} more than once: set it once")
            given.add(name)
            options[name] = _from_text(table[name], value)
        return options

    def replace(self, **changes: Any) -> Options:
        """These options with changes.

        Raises:
            ConfigurationError: as for new ones.
        """
        changes = hide_secrets(changes)
        return replace(self, **changes)

    @property
    def server_port(self) -> int:
        """The port to connect to."""
        if self.port is not None:
            return self.port
        return _LMTP_PORT if self.protocol == "lmtp" else _PORTS[self.security]

    @property
    def server(self) -> str:
        """The server for people: ``host:port``, or the path of the socket."""
        return self.socket_path or f"{self.host}:{self.server_port}"

    @functools.cached_property
    def credentials(self) -> Credentials | None:
        """What to log in with, or None where there is no login."""
        if self.username is None and not self.auth_mechanisms:
            return None
        return Credentials(self.username, self.password, self.tokens)

    @functools.cached_property
    def tokens(self) -> Callable[[], str] | None:
        """The token provider: ``token_provider``, or that of ``oauth``, or None."""
        if self.oauth is None:
            return self.token_provider
        names = (each.name for each in fields(OAuthSettings))
        return provider_from(OAuthSettings(**{name: getattr(self, name) for name in names}))

    def _check_oauth(self) -> None:
        given = [name for name in _OAUTH if getattr(self, name)]
        if self.oauth is None:
            if given:
                raise ConfigurationError(
                    f"{given[0]} is given without oauth: set oauth='microsoft', 'google' or "
                    "'refresh_token'"
                )
            return
        for name in ("password", "token_provider"):
            if getattr(self, name) is not None:
                raise ConfigurationError(f"oauth and {name} are both set: set one of them")
        if self.username is None:
            raise ConfigurationError("oauth is given without username: set the mailbox's address")
        _ = self.tokens  # raises if an option is missing

    def _check_credentials(self) -> None:
        for name in self.auth_mechanisms or ():
            known = tuple(mechanism.name for mechanism in MECHANISMS)
            if name not in known:
                raise ConfigurationError(
                    f"auth_mechanisms: unknown mechanism {name!r}: {did_you_mean(name, known)}"
                )
        if self.username is None:
            for name in ("password", "token_provider"):
                if getattr(self, name) is not None:
                    raise ConfigurationError(f"{name} is given without username: give both")
            return
        if self.password is None and self.tokens is None and not self.auth_mechanisms:
            raise ConfigurationError(
                "username is given without password, token_provider or oauth: give one of them, "
                "or leave out username"
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

    def _check_sending(self) -> None:
        if self.socket_path is not None and self.protocol != "lmtp":
            raise ConfigurationError("socket_path is for LMTP only: set protocol='lmtp'")
        if self.rate is not None:
            parse_rates(self.rate)
        elif self.rate_storage is not None:
            raise ConfigurationError("rate_storage is given without rate: give both")
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

    def _is_local(self) -> bool:
        if self.socket_path is not None or self.host.lower() in ("localhost", "localhost."):
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False


def _from_text(option: Option, value: str | Secret) -> Any:
    if option.kind.is_object:
        raise ConfigurationError(
            f"{option.name} is an object: give it as an argument, not in a URL"
        )
    text = value.reveal() if isinstance(value, Secret) else value
    if option.accepts_none and text.lower() in ("", "none"):
        return None
    if isinstance(value, Secret) or option.kind.from_text is None:
        return value
    return option.kind.from_text(option.name, text)


def _without_secrets(generated: Callable[..., None]) -> Callable[..., None]:
    """The generated ``__init__``, called with the secrets hidden: see `hide_secrets`."""

    @functools.wraps(generated)
    def __init__(self: Options, **options: Any) -> None:
        options = hide_secrets(options)
        for name in options:
            if name not in Options.table():
                raise ConfigurationError(unknown_option(name))
        generated(self, **options)

    return __init__


if not TYPE_CHECKING:
    Options.__init__ = _without_secrets(Options.__init__)
