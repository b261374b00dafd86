"""The events of a Mailer: small values for logs, metrics and traces.

An application passes one callable, an `EventHook`; it is called with each event in the
thread that did the work, with no lock held. Names follow OpenTelemetry's semantic
conventions for messaging where they fit (``server.address``, ``error.type``). No event
contains a person's address, text of a message, or a secret.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from mailbackends.errors import Outcome, SMTPException
from mailbackends.texts import fields_as_dict

__all__ = [
    "ConnectionChecked",
    "ConnectionOpened",
    "ConnectionRetired",
    "ConnectionReused",
    "Event",
    "EventHook",
    "EventSink",
    "MessageFailed",
    "MessageSent",
    "UpkeepFailed",
    "error_type",
    "guarded",
    "subscribe",
]

logger: logging.Logger = logging.getLogger("mailbackends.pool")


@dataclass(frozen=True, slots=True, kw_only=True)
class _AtServer:
    server_address: str | None = None
    """Host name or address of the server as configured, or the path of its Unix socket."""
    server_port: int | None = None
    """TCP port; None for a Unix socket."""

    def as_dict(self) -> dict[str, Any]:
        """The event in JSON's types: its fields, and its class as ``event``."""
        return {"event": type(self).__name__, **fields_as_dict(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOpened(_AtServer):
    """A new connection is ready for its first message."""

    duration: float
    """Seconds for all of it: name resolution, TCP, greeting, TLS and login."""
    is_ahead: bool = False
    """True if upkeep opened it, before anybody asked for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionChecked(_AtServer):
    """Upkeep has asked the server whether an idle connection still works."""

    is_alive: bool
    """False if the server closed it, or did not answer in time."""
    duration: float
    """Seconds until the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpkeepFailed(_AtServer):
    """Upkeep could not open a connection."""

    error_type: str
    """Name of the exception's class, see `error_type`."""
    failures: int
    """The attempts that failed in a row."""
    retry_in: float
    """Seconds until the next attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionReused(_AtServer):
    """A connection that was used before was taken from the pool again."""

    messages: int
    """Messages sent over it so far."""
    idle: float
    """Seconds since it was last used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionRetired(_AtServer):
    """A connection was closed, and will not be used again."""

    reason: str
    """``"messages"``, ``"age"``, ``"idle"``, ``"renewed"``, ``"dead"``, ``"error"``,
    ``"refusals"`` or ``"closed"``, or another reason given when it was released."""
    messages: int
    """Messages sent over it."""
    age: float
    """Seconds since it was opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSent(_AtServer):
    """A server took responsibility for a message, for at least one recipient.

    A message that is tried at several servers has an event from each.
    """

    accepted: int
    """Number of recipients that were accepted."""
    refused: int = 0
    """Number of recipients that were refused."""
    suppressed: int = 0
    """Number of recipients that the suppression list has: the message was not sent to them."""
    size: int | None = None
    """Bytes of the content, as counted for the SIZE extension (RFC 1870)."""
    duration: float
    """Seconds from the call to the outcome, the wait for a connection included."""
    is_reused: bool = False
    """True if the connection had been used before."""
    is_final: bool = True
    """False if the message goes on to another server, for recipients refused here."""

    @property
    def outcome(self) -> Outcome:
        """Always `Outcome.ACCEPTED`."""
        return Outcome.ACCEPTED

    def as_dict(self) -> dict[str, Any]:
        """As that of the other events, with the ``outcome``."""
        # By name: super() does not work in a class that is made anew for its slots.
        return {**_AtServer.as_dict(self), "outcome": str(self.outcome)}


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFailed(_AtServer):
    """A message was not accepted, or its outcome is unknown."""

    outcome: Outcome | None
    """The exception's outcome."""
    error_type: str
    """Name of the exception's class, see `error_type`. Never its text, which may hold addresses."""
    reply_code: int | None = None
    """Code of the reply that refused it, if one did."""
    enhanced_status: str | None = None
    """Its enhanced status code such as ``"5.1.1"`` (RFC 3463), if it had one."""
    is_transient: bool = False
    """True if the same message may succeed if it is sent again later."""
    recipients: int = 0
    """Number of recipients it had."""
    size: int | None = None
    """Bytes of the content; None if it was not made."""
    duration: float
    """Seconds from the call to the failure."""
    is_reused: bool = False
    """True if the connection had been used before."""
    is_final: bool = True
    """False if the message goes on to another server."""

    @classmethod
    def because_of(
        cls,
        error: BaseException,
        *,
        duration: float,
        recipients: int = 0,
        size: int | None = None,
        is_reused: bool = False,
        is_final: bool = True,
    ) -> MessageFailed:
        """The event for a message that failed with `error`."""
        known = error if isinstance(error, SMTPException) else None
        reply = known.reply if known else None
        return cls(
            outcome=getattr(error, "outcome", None),
            error_type=error_type(error),
            reply_code=reply.code if reply else None,
            enhanced_status=str(reply.enhanced) if reply and reply.enhanced else None,
            is_transient=known.is_transient if known else False,
            recipients=recipients,
            size=size,
            duration=duration,
            is_reused=is_reused,
            is_final=is_final,
        )


Event: TypeAlias = (
    ConnectionOpened
    | ConnectionReused
    | ConnectionChecked
    | ConnectionRetired
    | UpkeepFailed
    | MessageSent
    | MessageFailed
)
EventHook: TypeAlias = Callable[[Event], None]


def error_type(error: BaseException) -> str:
    """The class of `error` in the form of OpenTelemetry's ``error.type``.

    The bare name for a builtin (``"TimeoutError"``), else with its module.
    """
    kind = type(error)
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


class EventSink:
    """A hook that passes the events of one server to `hook` and to all subscribers.

    A hook that raises affects neither the message nor the other hooks: see `guarded`.
    """

    __slots__ = ("_address", "_own", "_port")

    def __init__(
        self, hook: EventHook | None, address: str | None = None, port: int | None = None
    ) -> None:
        self._own = () if hook is None else (guarded(hook),)
        self._address = address
        self._port = port

    @property
    def is_heard(self) -> bool:
        """False if there is no hook: the event need not be created."""
        return bool(self._own or _subscribers)

    def __call__(self, event: Event) -> None:
        hooks = self._own + _subscribers
        if hooks and self._address is not None:
            event = replace(event, server_address=self._address, server_port=self._port)
        for each in hooks:
            each(event)


# Replaced whole, never changed: it is read without a lock.
_subscribers: tuple[EventHook, ...] = ()
_lock = threading.Lock()


def subscribe(hook: EventHook) -> Callable[[], None]:
    """Call `hook` with the events of all Mailers of this process, also a framework's.

    Returns a function that ends the subscription.
    """
    global _subscribers
    harmless = guarded(hook)
    with _lock:
        _subscribers = (*_subscribers, harmless)

    def unsubscribe() -> None:
        global _subscribers
        with _lock:
            _subscribers = tuple(each for each in _subscribers if each is not harmless)

    return unsubscribe


def guarded(hook: EventHook | None) -> EventHook:
    """A hook that never raises an `Exception`, whatever `hook` does; None is no hook.

    Reporting a message must not change its outcome. The first failure is logged with its
    traceback at WARNING, by the logger ``mailbackends.pool``; later ones are dropped, since
    a hook that fails usually fails for each message.
    """
    if hook is None:
        return _ignore

    has_failed = False

    def call(event: Event) -> None:
        nonlocal has_failed
        try:
            hook(event)
        except Exception:
            if not has_failed:
                has_failed = True
                logger.warning(
                    "the event hook %r raised at %s; its further failures are not logged",
                    hook,
                    type(event).__name__,
                    exc_info=True,
                )

    return call


def _ignore(event: Event) -> None:
    pass
