"""The setting ``MAILBACKENDS_SUPPRESSION``: a dictionary.

===========================  ============================================================
``exempt``                   streams that reach people in spite of entries for all mail: a
                             list, or a dictionary of streams and reasons
``refusals``                 True adds addresses that our own server refuses with 5.1.x
``hard_bounces``             False: reports of failed delivery add nobody
``complaints``               False: complaints add nobody
``soft_bounces``             how many failures that may pass add an address; None for never
``soft_bounce_days``         ... within so many days
``soft_bounce_expiry_days``  ... for so many days
``database``                 the alias of the database; by default what the routers say
===========================  ============================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed

from django_integration.errors import SettingsError
from mailbackends import ConfigurationError
from mailbackends.integration import did_you_mean
from mailbackends.suppression import Exempt, SuppressionPolicy

__all__ = ["SETTING", "SuppressionSettings", "suppression_settings"]

SETTING = "MAILBACKENDS_SUPPRESSION"


@dataclass(frozen=True, slots=True)
class SuppressionSettings:
    """The setting, checked."""

    exempt: Exempt = field(default_factory=Exempt)
    policy: SuppressionPolicy = field(default_factory=SuppressionPolicy)
    database: str | None = None


def suppression_settings() -> SuppressionSettings:
    """The settings of this process.

    Raises:
        SettingsError: a name is unknown, or a value is unusable.
    """
    return _cached()


@lru_cache(maxsize=1)
def _cached() -> SuppressionSettings:
    given: Any = getattr(settings, SETTING, None) or {}
    if not isinstance(given, Mapping):
        raise SettingsError(
            f"{SETTING} must be a dictionary, got {type(given).__name__}: write "
            f"{SETTING} = {{'exempt': ['password_reset']}}."
        )
    policy = [each.name for each in fields(SuppressionPolicy)]
    known = ["exempt", "database", *policy]
    for name in given:
        if name not in known:
            raise SettingsError(
                f"{SETTING}: unknown name {name!r}: {did_you_mean(str(name), known)}"
            )
    database = given.get("database")
    try:
        if database is not None and database not in settings.DATABASES:
            raise ConfigurationError(
                f"database must be an alias in DATABASES, got {database!r}: "
                f"{did_you_mean(str(database), settings.DATABASES)}"
            )
        return SuppressionSettings(
            Exempt(given.get("exempt")),
            SuppressionPolicy(**{name: given[name] for name in policy if name in given}),
            database,
        )
    except ConfigurationError as error:
        raise SettingsError(f"{SETTING}: {error}") from error


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == SETTING:
        _cached.cache_clear()


setting_changed.connect(_forget, dispatch_uid="mailbackends_suppression")
