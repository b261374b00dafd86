"""The mailbox inside of a project, for development.

``path("mailbox/", include("django_integration.mailbox.urls"))`` shows it, and
``EMAIL_BACKEND = "django_integration.mailbox.EmailBackend"`` sends all mail there. Needs the
extra ``mailbox``; refused where DEBUG is off. The setting ``MAILBACKENDS_MAILBOX`` is in
`django_integration.mailbox.settings`.
"""

from django_integration.mailbox.backend import EmailBackend
from django_integration.mailbox.settings import get_mailbox, is_allowed

__all__ = ["EmailBackend", "get_mailbox", "is_allowed"]
