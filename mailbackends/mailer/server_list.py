"""From what a Mailer is given to the options of each of its servers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from mailbackends.errors import ConfigurationError
from mailbackends.mailer.options import Options

__all__ = ["ServerOrServers", "options_of"]

ServerOrServers: TypeAlias = str | Options | Iterable[str | Options] | None

# What concerns a message and not a server: it cannot differ from one server to the next.
_OF_THE_MAILER = ("deadline", "connections")


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
            values = getattr(servers[0], name), getattr(each, name)
            if values[0] != values[1]:
                raise ConfigurationError(
                    f"{name} is {values[0]!r} for {servers[0].server} and {values[1]!r} for "
                    f"{each.server}, but one message may go to both: give {name} to the Mailer"
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
