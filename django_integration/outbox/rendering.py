"""Django messages that are made by a function just before they are sent."""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage
from django.db import connections

from django_integration.messages import as_submission
from django_integration.outbox.delivering import delivering_backend
from django_integration.outbox.stored import StoredEmailMessage
from django_integration.rendering import Rendering, rendered
from django_integration.staging import Staging
from mailbackends import InvalidMessageError, Submission
from mailbackends.outbox.rendering import Template

__all__ = ["check_has_no_content", "render_django_message"]


def render_django_message(template: Template, alias: str | None = None) -> Submission:
    """Call the function with an `EmailMultiAlternatives` that has the header fields.

    It sets the body, and may set the subject and attach; or it returns another message.
    """
    _close_broken_connections()
    stored = StoredEmailMessage(template.header + b"\r\n", "", ())
    message = stored.without_content()
    result = template.function(message, **template.context)
    made = message if result is None else result
    if not isinstance(made, EmailMessage):
        raise TypeError(f"it must return an EmailMessage or None, got {type(made).__name__}")
    return as_submission(rendered(made, _rendering_of(alias)), Staging(), fast=True)


def _close_broken_connections() -> None:
    """Have the function connect again to a database that was restarted, as a request would."""
    for connection in connections.all(initialized_only=True):
        # Not those that are only old: without CONN_MAX_AGE each message would need a new one.
        if connection.errors_occurred and not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()


def _rendering_of(alias: str | None) -> Rendering:
    """What the mailer that delivers adds to messages, such as inlined styles."""
    try:
        backend = None if alias is None else delivering_backend(alias)
    except (ImproperlyConfigured, ImportError):
        backend = None  # `DjangoDelivery` says what is wrong.
    found: Rendering = getattr(backend, "rendering", Rendering())
    return found


def check_has_no_content(message: EmailMessage) -> None:
    """Check that nothing is lost if the content is made later.

    Raises:
        InvalidMessageError: the message has a body or an attachment.
    """
    if message.body or message.attachments or getattr(message, "alternatives", None):
        raise InvalidMessageError(
            "the message has a body or attachments, and 'render' makes them later: leave them out, "
            "or leave 'render' out"
        )
