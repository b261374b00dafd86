"""From what a Mailer is given to the options of each server, and to what concerns them all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from mailbackends.errors import ConfigurationError
from mailbackends.mailer.options import Options
from mailbackends.mailer.rate import parse_rates
from mailbackends.mailer.shared_throttle import SharedThrottle
from mailbackends.mailer.throttle import LocalThrottle, Throttle

__all__ = ["ServerOrServers", "options_of", "throttle_of"]

ServerOrServers: TypeAlias = str | Options | Iterable[str | Options] | None

# What concerns a message and not a server: it cannot differ from one server to the next.
_OF_THE_MAILER = ("deadline", "batch_connections", "rate", "rate_storage")


def options_of(server: ServerOrServers, options: Mapping[str, Any]) -> tuple[Options, ...]:
    """The options of each server; ``options`` are for all of them, and take precedence.

    Raises:
        ConfigurationError: one is unusable, or they do not fit together.
    """
    if server is None or isinstance(server, str | Options):
        return (_options(server, options),)
    if not isinstance(server, Iterable):
        raise ConfigurationError(_wrong(server))
    servers = tuple(_options(_known(each), options) for each in server)
    if not servers:
        raise ConfigurationError("the list of servers is empty: give at least one")
    for index, each in enumerate(servers):
        if each in servers[:index]:
            raise ConfigurationError(
                f"the server {each.server} stands twice in the list: take one out"
            )
        for name in _OF_THE_MAILER:
            if getattr(servers[0], name) != getattr(each, name):
                # The values are not shown: that of rate_storage may hold a password.
                raise ConfigurationError(
                    f"{name} differs between {servers[0].server} and {each.server}, but one "
                    f"message may go to both: give {name} to the Mailer, for all servers"
                )
    return servers


def _known(server: object) -> str | Options:
    if not isinstance(server, str | Options):
        raise ConfigurationError(_wrong(server))
    return server


def _options(server: str | Options | None, options: Mapping[str, Any]) -> Options:
    if isinstance(server, Options):
        return server.replace(**options)
    if isinstance(server, str):
        return Options.from_url(server, **options)
    return Options.from_mapping(options)


def _wrong(server: object) -> str:
    return f"a Mailer takes a URL, Options, or a list of them, not {type(server).__name__}"


def throttle_of(servers: tuple[Options, ...]) -> Throttle | None:
    """What holds the messages to these servers back, or None where nothing does.

    Raises:
        ConfigurationError: the store for the rate cannot be used.
    """
    options = servers[0]
    if options.rate is None:
        return None
    rates = parse_rates(options.rate)
    if options.rate_storage is None:
        return LocalThrottle(rates, options.rate)
    # What servers limit is an account. Its name may be somebody's address: not for the store.
    accounts = (f"{each.server} {each.username or ''}" for each in servers)
    key = hashlib.sha256("\n".join(accounts).encode()).hexdigest()[:32]
    return SharedThrottle(rates, options.rate, options.rate_storage, key)
