"""Which recipients get mail on a staging system: the options of the backend."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from django_integration.addresses import prep_address
from django_integration.compat import configuration_error
from mailbackends import ConfigurationError
from mailbackends.integration import ORIGINAL_RECIPIENTS, Staging

__all__ = ["ORIGINAL_RECIPIENTS", "Staging", "staging_from"]


def staging_from(options: Mapping[str, Any], alias: str | None) -> Staging:
    """The values of ``redirect_all_to`` and ``allowed_recipients``.

    Raises:
        SettingsError: a value is not an address. InvalidMailer: the same, with an alias.
    """
    redirect, allowed = options.get("redirect_all_to"), options.get("allowed_recipients")
    if not redirect and allowed is None:
        return Staging()
    try:
        return _parsed(_hashable(redirect), _hashable(allowed))
    except ConfigurationError as error:
        raise configuration_error(str(error), alias) from error


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | set) else value


@lru_cache(maxsize=64)  # Django makes a backend for each message, from the same settings
def _parsed(redirect: Any, allowed: Any) -> Staging:
    return Staging.of(redirect, allowed, bare=prep_address)
