"""The options of a Mailer: read from arguments, mappings and URLs, and checked."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from mailbackends.dkim import Signer
from mailbackends.errors import ConfigurationError
from mailbackends.mailer.option_table import Option, OptionTable, hide_secrets, unknown_option
from mailbackends.mailer.rate import parse_rates
from mailbackends.mailer.url import SCHEMES, SecretURL, hide_urls, is_loopback, parsed
from mailbackends.mime.content import Content, marked_as_automatic
from mailbackends.oauth.settings import OAuthSettings, provider_from
from mailbackends.pool.upkeep import MIN_SECONDS
from mailbackends.protocol.sasl import MECHANISMS, Credentials
from mailbackends.secret import NotText, Secret
from mailbackends.texts import did_you_mean
from mailbackends.wording import MAILER, URL, Wording

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

    wording: Wording = field(default=MAILER, repr=False, compare=False)
    """What the interface in use calls the options, for the texts of errors."""

    def __post_init__(self) -> None:
        for option in self.table().values():
            value = getattr(self, option.name)
            if value is None and option.accepts_none:
                continue
            name = self.wording.name(option.name)
            if value is None:
                raise ConfigurationError(
                    f"{name} must not be None: leave it out for {option.default!r}"
                )
            checked = option.kind.check(name, value)
            if checked is not value:
                object.__setattr__(self, option.name, checked)
        self._check_oauth()
        self._check_credentials()
        self._check_tls()
        self._check_sending()
        if self.min_idle:
            self._check_upkeep()

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
        return cls.from_mapping({**cls.parse_url(url), "wording": URL, **options})

    @classmethod
    def preset(cls, provider: str, **options: Any) -> Options:
        """The host, port and TLS of a known mail provider, and further options.

        ``Options.preset("postmark", username=token, password=token)``. docs/providers.md lists
        the providers. Some need a ``region`` or the ``host``. Options given here take
        precedence over those of the preset.

        Raises:
            ConfigurationError: the provider is unknown, or needs a region or host; or as for
                `from_mapping`.
        """
        # Few programs use one: the others do not load the parser of the data.
        from mailbackends.providers import providers

        region = options.pop("region", None)
        options = hide_secrets(options)
        known = providers().get(provider)
        if known is None:
            raise ConfigurationError(
                f"unknown provider {provider!r}: {did_you_mean(provider, providers())}"
            )
        for name, value in (("region", region), ("host", options.get("host"))):
            if f"{{{name}}}" in known.host and not value:
                raise ConfigurationError(
                    f"the preset {provider!r} needs {name}: "
                    f"Options.preset({provider!r}, {name}='...')"
                )
        if region is not None and "{region}" not in known.host:
            raise ConfigurationError(f"the preset {provider!r} takes no region: remove it")
        values: dict[str, Any] = {
            "host": known.host.replace("{region}", str(region)),
            "port": known.port,
            "security": known.security,
            **known.options,
        }
        if known.username is not None and "password" in options:
            values["username"] = known.username
        return cls.from_mapping({**values, **options})

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
                raise ConfigurationError(unknown_option(name, in_url=True))
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

    @property
    def is_local(self) -> bool:
        """True for a server on this machine, to which a password may go without TLS."""
        return self.socket_path is not None or is_loopback(self.host)

    @functools.cached_property
    def credentials(self) -> Credentials | None:
        """What to log in with, or None if there is no login."""
        if self.username is None and not self.auth_mechanisms:
            return None
        return Credentials(self.username, self.password, self.tokens)

    @functools.cached_property
    def tokens(self) -> Callable[[], str] | None:
        """The token provider: ``token_provider``, or that of ``oauth``, or None."""
        if self.oauth is None:
            return self.token_provider
        names = (each.name for each in fields(OAuthSettings))
        settings = OAuthSettings(**{name: getattr(self, name) for name in names})
        return provider_from(settings, self.wording)

    @functools.cached_property
    def signer(self) -> Signer | None:
        """What signs the content of each message, or None without ``dkim``."""
        return Signer(self.dkim) if self.dkim else None

    @functools.cached_property
    def finish(self) -> Callable[[Content], Content] | None:
        """The last change to each content: marks of automatic mail, and then signatures."""
        signer, word = self.signer, self.auto_submitted
        if word is None:
            return signer
        if signer is None:
            return functools.partial(marked_as_automatic, word)
        return lambda content: signer(marked_as_automatic(word, content))

    def _check_oauth(self) -> None:
        given = [name for name in _OAUTH if getattr(self, name)]
        if self.oauth is None:
            if given:
                raise self._error(
                    f"{{{given[0]}}} is given without {{oauth}}: set {{oauth}}='microsoft', "
                    "'google' or 'refresh_token'"
                )
            return
        for name in ("password", "token_provider"):
            if getattr(self, name) is not None:
                raise self._error(f"{{oauth}} and {{{name}}} are both set: set one of them")
        if self.username is None:
            raise self._error(
                "{oauth} is given without {username}: set {username} to the mailbox's address"
            )
        _ = self.tokens  # raises if an option is missing

    def _check_credentials(self) -> None:
        for name in self.auth_mechanisms or ():
            known = tuple(mechanism.name for mechanism in MECHANISMS)
            if name not in known:
                raise ConfigurationError(
                    f"{self.wording.name('auth_mechanisms')}: unknown mechanism {name!r}: "
                    f"{did_you_mean(name, known)}"
                )
        if self.username is None:
            for name in ("password", "token_provider"):
                if getattr(self, name) is not None:
                    raise self._error(f"{{{name}}} is given without {{username}}: give both")
            return
        if self.password is None and self.tokens is None and not self.auth_mechanisms:
            raise self._error(
                "{username} is given without {credentials}: give it, or leave out {username}"
            )
        if self.security == "none" and not (self.allow_cleartext_auth or self.is_local):
            raise self._error(
                f"{{username}} is given, and the password would go to {self.host} in clear: "
                "{use_any_tls}, or set {allow_cleartext_auth} to True if you mean it"
            )

    def _check_tls(self) -> None:
        given = [n for n in ("ssl_cafile", "ssl_certfile", "ssl_keyfile") if getattr(self, n)]
        if self.ssl_context is not None and given:
            raise self._error(
                f"{{ssl_context}} and {{{given[0]}}} contradict each other: load the file into the "
                "context"
            )
        if self.ssl_keyfile and not self.ssl_certfile:
            raise self._error("{ssl_keyfile} is given without {ssl_certfile}: give both")
        if self.security == "none" and (given or self.ssl_context is not None):
            name = given[0] if given else "ssl_context"
            raise ConfigurationError(
                f"{self.wording.name(name)}={getattr(self, name)!r} has no effect without TLS: "
                + self.wording.render("{use_any_tls}, or leave it out")
            )

    def _check_sending(self) -> None:
        if self.socket_path is not None and self.protocol != "lmtp":
            raise self._error("{socket_path} is for LMTP only: set {protocol}='lmtp'")
        if self.rate is not None:
            parse_rates(self.rate, name=self.wording.name("rate"))
        elif self.rate_storage is not None:
            raise self._error("{rate_storage} is given without {rate}: give both")
        if self.batch_connections > self.pool_size:
            raise self._error(
                f"{{batch_connections}}={self.batch_connections} is more than "
                f"{{pool_size}}={self.pool_size}: raise {{pool_size}}"
            )
        if self.batch_connections > 1 and self.batch_pipeline > 1:
            raise self._error(
                f"{{batch_connections}}={self.batch_connections} and "
                f"{{batch_pipeline}}={self.batch_pipeline} exclude each other: set one of them"
            )

    def _check_upkeep(self) -> None:
        if self.min_idle > self.pool_size:
            counts = f"={self.min_idle} is more than {{pool_size}}={self.pool_size}"
            raise self._error(f"{{min_idle}}{counts}: raise {{pool_size}}")
        for name in ("max_idle", "max_lifetime"):
            if (value := getattr(self, name)) < MIN_SECONDS:
                fix = f"set {{{name}}} to {MIN_SECONDS:g} or more"
                raise self._error(f"{{{name}}}={value:g} is too short for {{min_idle}}: {fix}")

    def _error(self, text: str) -> ConfigurationError:
        """The error with the names in braces in the words of the interface in use."""
        return ConfigurationError(self.wording.render(text))


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
            if name not in Options.table() and name != "wording":
                raise ConfigurationError(unknown_option(name))
        generated(self, **options)

    return __init__


if not TYPE_CHECKING:
    Options.__init__ = _without_secrets(Options.__init__)
