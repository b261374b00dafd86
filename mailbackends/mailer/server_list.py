"""From what a Mailer is given as its server or servers to the options of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from mailbackends.errors import ConfigurationError
from mailbackends.mailer.options import Options
from mailbackends.mailer.url import SecretURL, hide_urls
from mailbackends.secret import NotText

__all__ = ["ServerOrServers", "hide_servers", "options_of"]

ServerOrServers: TypeAlias = str | Options | Iterable[str | Options] | None

# These concern a message and not a server: they cannot differ between servers.
_OF_THE_MAILER = ("deadline", "batch_connections", "rate", "rate_storage")


def hide_servers(given: Any) -> Any:
    """The same servers, with each URL as a `SecretURL`: see `option_table.hide_secrets`."""
    return hide_urls(given, other=(Options,))


def options_of(server: Any, options: Mapping[str, Any]) -> tuple[Options, ...]:
    """The options of each server; ``options`` are for all of them, and take precedence.

    ``server`` is the result of `hide_servers`, and ``options`` that of `hide_secrets`.

    Raises:
        ConfigurationError: one is unusable, or they do not fit together.
    """
    if not isinstance(server, list):
        return (_options(server, options),)
    servers = tuple(_options(each, options) for each in server if _is_one(each))
    if not servers:
        raise ConfigurationError("the list of servers is empty: give at least one")
    for index, each in enumerate(servers):
        if each in servers[:index]:
            raise ConfigurationError(f"the server {each.server} is listed twice: remove one")
        for name in _OF_THE_MAILER:
            if getattr(servers[0], name) != getattr(each, name):
                # The values are not shown: that of rate_storage may contain a password.
                raise ConfigurationError(
                    f"{name} differs between {servers[0].server} and {each.server}, but one "
                    f"message may go to both: give {name} to the Mailer, for all servers"
                )
    return servers


def _is_one(server: object) -> bool:
    if server is None or isinstance(server, list):
        raise ConfigurationError(_wrong(type(server).__name__))
    return True


def _options(server: SecretURL | Options | NotText | None, options: Mapping[str, Any]) -> Options:
    if isinstance(server, NotText):
        raise ConfigurationError(_wrong(server.kind))
    if isinstance(server, Options):
        return server.replace(**options)
    if isinstance(server, SecretURL):
        return Options.from_url(server, **options)
    return Options.from_mapping(options)


def _wrong(kind: str) -> str:
    return f"a Mailer takes a URL, Options, or a list of them, got {kind}"
