"""``"django_integration"`` in ``INSTALLED_APPS``: system checks and ``mail_doctor``."""

from django.apps import AppConfig


class DjangoIntegrationConfig(AppConfig):
    """The application that brings the system checks and the command."""

    name = "django_integration"
    verbose_name = "mailbackends"

    def ready(self) -> None:
        """Register the checks once Django has loaded all applications."""
        from django_integration import checks

        checks.register()
