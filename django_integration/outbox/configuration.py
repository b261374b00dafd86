"""The settings of the outbox: ``MAILBACKENDS["outbox"]``, and the OPTIONS of its backend.

=====================  ==================================================================
``via``                the mailer that delivers: an alias in ``MAILERS`` (Django 6.1), also
                       an option of the backend
``backend``            without ``MAILERS``: the path of the backend that delivers, by default
                       ``"django_integration.EmailBackend"``
``database``           the alias of the database; by default what the routers say
``priority``           ``"low"``, ``"normal"``, ``"high"`` or ``"urgent"``; also an option of
                       the backend
``on_unknown``         ``"hold"``, ``"resend"`` or ``"ask"``; also an option of the backend
``erase_content``      True erases the content as soon as a message was accepted
``keep``               days after which ``manage.py outbox prune`` deletes, by state
``retry``              the fields of `mailbackends.outbox.RetryPolicy`
``lease``              seconds for which a worker has a message
``blobs``              a directory, shared by web processes and workers, for attachments above
                       ``inline_limit`` bytes (262144); without it they are in the row
``notify``             False: no NOTIFY on PostgreSQL; workers look every few seconds
``engine``             the path of a function that is called with the ids of queued messages
                       once their transaction is committed
=====================  ==================================================================
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.db import router

from django_integration.compat import mailers_configured
from django_integration.errors import SettingsError
from mailbackends import ConfigurationError
from mailbackends.integration import nearest
from mailbackends.outbox import INLINE_LIMIT, OnUnknown, Priority, RetryPolicy, State

__all__ = ["DELIVERING_ALIAS", "OutboxSettings", "outbox_database", "outbox_settings"]

NAME = "MAILBACKENDS['outbox']"
DELIVERING_ALIAS = "outbox"
"""The alias in rows without ``MAILERS``, where there is one backend that delivers."""

_KEEP = {"accepted": 30, "refused": 90, "cancelled": 30, "expired": 90, "suppressed": 30}


@dataclass(frozen=True, slots=True)
class OutboxSettings:
    """The settings, checked."""

    via: str | None = None
    backend: str = "django_integration.EmailBackend"
    database: str | None = None
    priority: Priority = Priority.NORMAL
    on_unknown: OnUnknown = OnUnknown.HOLD
    erase_content: bool = False
    keep: Mapping[State, float] = field(default_factory=dict)
    """Days for each state; a state that is missing is kept."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    lease: float = 300.0
    blobs: str | os.PathLike[str] | None = None
    inline_limit: int = INLINE_LIMIT
    notify: bool = True
    engine: str | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> OutboxSettings:
        """From the dictionary in the settings.

        Raises:
            SettingsError: a name is unknown, or a value is unusable.
        """
        known = [each.name for each in fields(cls)]
        for name in given:
            if name not in known:
                near = nearest(str(name), known)
                hint = f"Did you mean {near!r}?" if near else f"Use one of {', '.join(known)}."
                raise SettingsError(f"{NAME}: unknown name {name!r}. {hint}")
        values = dict(given)
        try:
            values["priority"] = Priority.of(values.get("priority", Priority.NORMAL))
            values["on_unknown"] = OnUnknown.of(values.get("on_unknown", OnUnknown.HOLD))
            values["keep"] = _keep(values.get("keep", _KEEP))
            values["retry"] = _retry(values.get("retry") or {})
            for name, kinds, what in _KINDS:
                if name in values and (
                    not isinstance(values[name], kinds)
                    or (isinstance(values[name], bool) and kinds is not bool)
                ):
                    raise ConfigurationError(f"{name} must be {what}, got {values[name]!r}")
            if not values.get("lease", 300.0) >= 10:
                raise ConfigurationError(
                    f"lease must be 10 seconds or more, got {values['lease']!r}: a message is "
                    "sent within it"
                )
        except ConfigurationError as error:
            raise SettingsError(f"{NAME}: {error}") from error
        return cls(**values)


_KINDS: tuple[tuple[str, Any, str], ...] = (
    ("via", str | None, "an alias in MAILERS"),
    ("backend", str, "the path of a backend's class"),
    ("database", str | None, "an alias in DATABASES"),
    ("erase_content", bool, "True or False"),
    ("lease", int | float, "a number of seconds"),
    ("blobs", str | os.PathLike | None, "the path of a directory"),
    ("inline_limit", int, "a number of bytes"),
    ("notify", bool, "True or False"),
    ("engine", str | None, "the path of a function"),
)


def _keep(given: Any) -> dict[State, float]:
    if not isinstance(given, Mapping):
        raise ConfigurationError(
            f"keep must be a dictionary of states and days such as {_KEEP}, got {given!r}"
        )
    found: dict[State, float] = {}
    for state, days in given.items():
        if state not in _KEEP and state not in ("unknown", "parked"):
            raise ConfigurationError(
                f"keep: unknown state {state!r}. Use {', '.join((*_KEEP, 'unknown', 'parked'))}."
            )
        if isinstance(days, bool) or not isinstance(days, int | float) or days < 0:
            raise ConfigurationError(f"keep: {state!r} must be a number of days, got {days!r}")
        found[State(state)] = days
    return found


def _retry(given: Any) -> RetryPolicy:
    if isinstance(given, RetryPolicy):
        return given
    known = [each.name for each in fields(RetryPolicy)]
    if not isinstance(given, Mapping) or not set(given) <= set(known):
        raise ConfigurationError(
            f"retry must be a dictionary with {', '.join(known)}, got {given!r}"
        )
    return RetryPolicy(**given)


def outbox_settings() -> OutboxSettings:
    """The settings of this process.

    Raises: as `OutboxSettings.of`.
    """
    return _cached_settings()


@lru_cache(maxsize=1)
def _cached_settings() -> OutboxSettings:
    more = getattr(settings, "MAILBACKENDS", None) or {}
    given = more.get("outbox") or {} if isinstance(more, Mapping) else {}
    if not isinstance(given, Mapping):
        raise SettingsError(
            f"{NAME} must be a dictionary, got {type(given).__name__}: write "
            "MAILBACKENDS = {'outbox': {'on_unknown': 'hold'}}."
        )
    found = OutboxSettings.of(given)
    if mailers_configured() and "backend" in given:
        raise SettingsError(
            f"{NAME}: 'backend' is not read, since MAILERS is set: name a mailer in 'via'."
        )
    if not mailers_configured() and found.via is not None:
        raise SettingsError(
            f"{NAME}: 'via' names an alias in MAILERS, which is not set: give the path of the "
            "backend that delivers in 'backend'."
        )
    return found


def outbox_database() -> str:
    """The alias of the database with the outbox's tables."""
    from django_integration.outbox.models import Message

    return outbox_settings().database or router.db_for_write(Message)


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting in ("MAILBACKENDS", "MAILERS"):
        _cached_settings.cache_clear()


setting_changed.connect(_forget, dispatch_uid="mailbackends_outbox")
