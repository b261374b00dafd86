"""What `Mailer` and `AsyncMailer` have in common: servers, options and statistics."""

from __future__ import annotations

import functools
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from mailbackends.errors import ConfigurationError, Outcome
from mailbackends.events import EventHook
from mailbackends.mailer.connection import Connection
from mailbackends.mailer.option_table import hide_secrets
from mailbackends.mailer.options import Options
from mailbackends.mailer.router import Router, Strategy
from mailbackends.mailer.server import Server, ServerStats
from mailbackends.mailer.throttle import throttle_of
from mailbackends.mailer.upkeep import Keeper, Upkeep, keep
from mailbackends.mailer.url import SecretURL, hide_urls
from mailbackends.pool import PoolStats
from mailbackends.pool.base import BasePool
from mailbackends.secret import NotText
from mailbackends.texts import fields_as_dict
from mailbackends.transport.waiting import Waiter

__all__ = ["BaseMailer", "MailerStats", "ServerOrServers", "hide_servers", "options_of"]

ServerOrServers: TypeAlias = str | Options | Iterable[str | Options] | None

# These concern a message and not a server: they cannot differ between servers.
_OF_THE_MAILER = ("deadline", "batch_connections", "rate", "rate_storage", "suppression")


@dataclass(frozen=True, slots=True)
class MailerStats:
    """A snapshot of a Mailer: its connections, and its messages since it was created."""

    pool: PoolStats
    """The connections to all servers together."""
    messages: dict[Outcome, int]
    """The messages by outcome."""
    servers: tuple[ServerStats, ...] = ()
    """Each server by itself, in the order given."""

    def as_dict(self) -> dict[str, Any]:
        """The fields in JSON's types."""
        return fields_as_dict(self)


K = TypeVar("K", bound=Keeper)


class BaseMailer(ABC, Generic[K]):
    """What `Mailer` and `AsyncMailer` have in common: servers, options and statistics."""

    # The default is for the repr of a Mailer whose options are wrong: tracebacks show it.
    servers: tuple[Options, ...] = ()
    """The options of each server, in the order given."""

    def __init__(
        self,
        server: ServerOrServers = None,
        *,
        strategy: Strategy = "ordered",
        on_event: EventHook | None = None,
        **options: Any,
    ) -> None:
        # First, so that a traceback shows no secret.
        server, options = hide_servers(server), hide_secrets(options)
        self.servers = options_of(server, options)
        waiter, pool, keeper = self._set_up()
        self._servers = tuple(Server(each, on_event, waiter, pool) for each in self.servers)
        self._router = Router(self._servers, strategy, throttle_of(self.servers), on_event)
        self._keeper: K | None = None
        if any(each.min_idle for each in self.servers):
            self._keeper = keeper(Upkeep(self._servers, is_ordered=strategy == "ordered"))
            keep(self._servers, self._keeper)

    @abstractmethod
    def _set_up(self) -> tuple[Waiter, type[BasePool[Connection]], Callable[[Upkeep], K]]:
        """How the subclass waits, its class of pools, and what keeps their connections ready.

        `__init__` calls it once.
        """

    def _keeper_for_warm_up(self) -> K:
        if self._keeper is None:
            raise ConfigurationError(
                "warm_up() needs min_idle: set min_idle=1, or call open() instead"
            )
        return self._keeper

    @property
    def options(self) -> Options:
        """The options of the server, or of the first of several."""
        return self.servers[0]

    def stats(self) -> MailerStats:
        """The connections and messages so far."""
        servers = tuple(server.stats() for server in self._servers)
        pool = functools.reduce(operator.add, (server.pool for server in servers))
        return MailerStats(pool, self._router.outcomes, servers)

    def __repr__(self) -> str:
        servers = (f"{each.protocol} {each.security} {each.server}" for each in self.servers)
        return f"<{type(self).__name__} {', '.join(servers)}>"

    @property
    def _may_pipeline(self) -> bool:
        options = self.servers[0]
        # With a rate each message waits until it may go, and so would those in flight.
        return options.batch_pipeline > 1 and len(self.servers) == 1 and options.rate is None


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
