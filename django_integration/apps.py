"""``"django_integration"`` in ``INSTALLED_APPS``: system checks and ``mail_doctor``."""

from django.apps import AppConfig


class DjangoIntegrationConfig(AppConfig):
    """The application that brings the system checks and the command."""

    name = "django_integration"
    verbose_name: str = "mailbackends"

    def ready(self) -> None:
        """Register the checks, and give each message its attributes."""
        from django_integration import checks, messages  # noqa: F401

        checks.register()
