"""Which suppression list a backend asks, and what it asks about a message. Loads no models."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.conf import settings
from django.core.mail import EmailMessage
from django.utils.module_loading import import_string

from django_integration.addresses import envelope_address
from mailbackends import ConfigurationError, Submission
from mailbackends.suppression import SuppressionList, SuppressionLookup, recipient_reference

if TYPE_CHECKING:
    from django_integration.suppression.store import DjangoSuppressionStore

__all__ = ["checked", "list_for", "list_of", "marked", "recipients_of", "suppression_list"]

APP = "django_integration.suppression"


def suppression_list() -> DjangoSuppressionStore:
    """The project's list: to ask, to add, to remove; see `mailbackends.suppression`.

    Raises:
        ConfigurationError: the application is not in INSTALLED_APPS.
    """
    if not _is_installed():
        raise ConfigurationError(
            f"the suppression list has no table: add {APP!r} to INSTALLED_APPS, and run "
            "manage.py migrate"
        )
    from django_integration.suppression.store import STORE

    return STORE


def list_of(given: Any) -> SuppressionList | None:
    """The list that the option ``suppression`` of a mailer means.

    True, or nothing, is the project's, if the application is installed; False is none. A text is
    the path of a list.

    Raises:
        ConfigurationError: it is True without the application, or cannot be imported.
    """
    if given is None:
        return suppression_list() if _is_installed() else None
    if given is True:
        return suppression_list()
    if given is False:
        return None
    if isinstance(given, str):
        try:
            found: Any = import_string(given)
        except ImportError as error:
            raise ConfigurationError(
                f"suppression={given!r} cannot be imported ({error}): write the path of a list"
            ) from error
        return found() if isinstance(found, type) else found  # type: ignore[no-any-return]
    return given  # type: ignore[no-any-return]


def list_for(backend: Any) -> SuppressionList | None:
    """The list that the mail of a backend is checked against; also of a third party's."""
    options = getattr(backend, "options", None)
    if hasattr(options, "suppression"):
        return options.suppression  # type: ignore[union-attr, no-any-return]
    return list_of(None)


def recipients_of(message: EmailMessage) -> tuple[str | None, list[str]]:
    """The stream and recipients of a message, before anything is built."""
    found = []
    for address in message.recipients():
        try:
            found.append(envelope_address(address))
        except ValueError:
            continue  # Its own error says so when it is built.
    stream = getattr(message, "stream", None) or getattr(message, "unsubscribe", None)
    return stream, found


def checked(message: EmailMessage, submission: Submission, lookup: SuppressionLookup) -> Submission:
    """The submission with those of its recipients who get no mail.

    Raises:
        SuppressionError: the list cannot be asked.
    """
    addresses: Iterable[str] = submission.to_addrs or ()
    found = lookup.suppressed(addresses, submission.stream)
    return replace(marked(message, submission), suppressed=found)


def marked(message: EmailMessage, submission: Submission) -> Submission:
    """The submission with an envelope sender that names its one recipient, so that a report about
    it is known to be genuine; where MAILBACKENDS_BOUNCE_ADDRESS is set.

    Messages with a ``bounce_reference``, a null reverse-path or several recipients stay as they
    are.
    """
    if not getattr(settings, "MAILBACKENDS_BOUNCE_ADDRESS", None) or not submission.from_addr:
        return submission
    recipients = tuple(submission.to_addrs or ())
    if getattr(message, "bounce_reference", None) or len(recipients) != 1:
        return submission
    from django_integration.bounces import envelope_sender

    return replace(submission, from_addr=envelope_sender(recipient_reference(recipients[0])))


def _is_installed() -> bool:
    return apps.apps_ready and apps.is_installed(APP)
