"""The differences between Django 5.2, 6.0 and 6.1, in one place."""

from __future__ import annotations

import email.policy
from collections.abc import Iterator, Mapping
from email.message import Message
from email.policy import Policy
from functools import lru_cache
from typing import Any

import django
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.functional import LazyObject, Promise, empty

from django_integration.errors import SettingsError

__all__ = [
    "HAS_MAILERS",
    "HAS_MODERN_EMAIL",
    "LAZY",
    "PART_POLICY",
    "backend_for",
    "backends_configured",
    "configuration_error",
    "current_settings",
    "is_overridden",
    "mailer_options",
    "mailers_configured",
    "misspelled_mailers",
    "resolve_lazy",
    "warn_of_construction",
]

HAS_MODERN_EMAIL = django.VERSION >= (6, 0)
"""``EmailMessage.message()`` takes a policy and returns the email package's modern classes."""

PART_POLICY: Policy[Any] = email.policy.default if HAS_MODERN_EMAIL else email.policy.compat32
"""The policy of the messages that Django makes, for parts that go into them."""

HAS_MAILERS = django.VERSION >= (6, 1)
"""``settings.MAILERS`` and ``BaseEmailBackend(alias=...)``."""


def parsed_message(content: bytes, policy: Policy[Any] | None = None) -> Message[Any, Any]:
    """A message as ``EmailMessage.message()`` returns it to backends, from its bytes.

    Django 5.2's backend for SMTP calls ``as_bytes(linesep=...)``, which only Django's own
    classes have there.
    """
    if HAS_MODERN_EMAIL:
        return email.message_from_bytes(content, policy=policy or email.policy.default)
    from django.core.mail.message import MIMEMixin  # type: ignore[attr-defined, unused-ignore]

    made = type("ParsedMessage", (MIMEMixin, Message), {})
    return email.message_from_bytes(content, made, policy=policy or email.policy.default)


def mailers_configured() -> bool:
    """True if ``MAILERS`` is set: Django does not read ``EMAIL_*`` then."""
    return HAS_MAILERS and hasattr(settings, "MAILERS")


def current_settings() -> Any:
    """The settings or Django's defaults, including ``EMAIL_*``, without a warning.

    Django 6.1 warns when code outside Django reads ``EMAIL_*``. It has already warned
    where the application set them; a warning from here would point at the wrong line, and
    be an error under ``-W error``. The object that `LazySettings` wraps does not warn.
    """
    found = settings._wrapped
    if found is empty:
        _ = settings.DEFAULT_CHARSET  # loads the settings module
        found = settings._wrapped
    return found


def is_overridden(name: str) -> bool:
    """True if the application has set this setting, False if it has Django's default."""
    return bool(settings.is_overridden(name))


def configuration_error(message: str, alias: str | None) -> ImproperlyConfigured:
    """The exception for an unusable configuration: ``InvalidMailer`` with ``MAILERS``."""
    if alias is None or not HAS_MAILERS:
        return SettingsError(message)
    from django.core.mail import InvalidMailer

    return InvalidMailer(message, alias=alias)


LAZY = (Promise, LazyObject)
"""The types of ``gettext_lazy()``, ``SimpleLazyObject`` and the like."""


def resolve_lazy(value: Any) -> Any:
    """The value of a lazy object; other values are returned unchanged."""
    while issubclass(type(value), LAZY):
        if issubclass(type(value), Promise):
            return str(value)
        if value._wrapped is empty:
            value._setup()
        value = value._wrapped
    return value


def backend_for(using: str | None = None) -> Any:
    """A new backend for an alias, or for the default one, as Django makes it.

    Raises:
        ImproperlyConfigured: the alias does not exist.
    """
    if HAS_MAILERS:
        from django.core.mail import mailers

        return mailers[using or "default"]
    if using not in (None, "default"):
        raise SettingsError(
            f"The mailer {using!r} does not exist: MAILERS needs Django 6.1, and this is "
            f"Django {django.get_version()}. Leave the alias out."
        )
    from django.core.mail import get_connection

    return get_connection()


def backends_configured() -> dict[str | None, tuple[str, dict[str, Any]]]:
    """Path and OPTIONS of the backend of each alias; the alias None is ``EMAIL_BACKEND``."""
    if not mailers_configured():
        return {None: (str(current_settings().EMAIL_BACKEND), {})}
    smtp = "django.core.mail.backends.smtp.EmailBackend"
    return {
        alias: (str(config.get("BACKEND", smtp)), _options_of(config))
        for alias, config in settings.MAILERS.items()
    }


def _options_of(config: Any) -> dict[str, Any]:
    options = config.get("OPTIONS") or {}
    return dict(options) if isinstance(options, Mapping) else {}


def misspelled_mailers() -> Iterator[tuple[str, str]]:
    """An alias and what is wrong with its entry in ``MAILERS``, as a sentence, for each mistake."""
    for alias, config in settings.MAILERS.items() if mailers_configured() else ():
        if not isinstance(config.get("OPTIONS") or {}, Mapping):
            yield alias, "OPTIONS must be a dictionary: write {'host': '...'}."
        for name in config:
            if name not in ("BACKEND", "OPTIONS"):
                yield alias, f"the key {name!r} is not read: move it into OPTIONS."


def mailer_options(alias: str | None) -> dict[str, Any]:
    """The OPTIONS of an alias in ``MAILERS``; empty without an alias."""
    return {} if alias is None else backends_configured().get(alias, ("", {}))[1]


def warn_of_construction(backend_class: type) -> None:
    """Give Django 6.1's warning if application code makes a backend without an alias.

    Not if Django makes it, directly or through constructors of subclasses: then the
    application has nothing to change beyond the settings it was already warned about.
    """
    from django.utils.deprecation import (  # type: ignore[attr-defined, unused-ignore]
        RemovedInDjango2028Warning,
        warn_about_external_use,
    )

    warn_about_external_use(
        "Directly creating EmailBackend instances is deprecated. Use mail.mailers instead.",
        RemovedInDjango2028Warning,
        skip_name_prefixes=_constructors(backend_class),
    )


@lru_cache(maxsize=64)
def _constructors(backend_class: type) -> tuple[str, ...]:
    return tuple(f"{cls.__module__}.{cls.__qualname__}._" for cls in backend_class.__mro__)
