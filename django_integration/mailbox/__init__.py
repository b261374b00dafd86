"""A mailbox inside the project, for development.

``path("mailbox/", include("django_integration.mailbox.urls"))`` shows it, and
``EMAIL_BACKEND = "django_integration.mailbox.EmailBackend"`` sends all mail there. It needs the
extra ``mailbox``, and is refused if DEBUG is False. See
`django_integration.mailbox.settings` for the setting ``MAILBACKENDS_MAILBOX``.
"""

from django_integration.mailbox.backend import EmailBackend
from django_integration.mailbox.settings import get_mailbox, is_allowed

__all__ = ["EmailBackend", "get_mailbox", "is_allowed"]
