"""Which recipients get mail on a staging system: the options of the backend."""

from __future__ import annotations

from collections.abc import Mapping
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
    try:
        return Staging.of(redirect or None, allowed, bare=prep_address)
    except ConfigurationError as error:
        raise configuration_error(str(error), alias) from error
