"""Django's mail over the pooled connections of `mailbackends`.

One setting: ``EMAIL_BACKEND = "django_integration.EmailBackend"``, or from Django 6.1 on
``"BACKEND": "django_integration.EmailBackend"`` in ``MAILERS``. System checks and
``manage.py mail_doctor`` come with ``"django_integration"`` in ``INSTALLED_APPS``.
"""

from django_integration.attachments import attach_path
from django_integration.backend import EmailBackend
from django_integration.delivery import receipt_of
from django_integration.errors import BatchError, PartialRefusal, SendCancelled, SettingsError
from django_integration.related import attach_inline_image
from django_integration.signals import post_send, pre_send, send_failed

__all__ = [
    "BatchError",
    "EmailBackend",
    "PartialRefusal",
    "SendCancelled",
    "SettingsError",
    "attach_inline_image",
    "attach_path",
    "post_send",
    "pre_send",
    "receipt_of",
    "send_failed",
]
