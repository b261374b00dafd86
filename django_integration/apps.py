"""``"django_integration"`` in ``INSTALLED_APPS``: system checks and ``mail_doctor``."""

from django.apps import AppConfig


class DjangoIntegrationConfig(AppConfig):
    """Registers the system checks."""

    name = "django_integration"
    verbose_name = "mailbackends"

    def ready(self) -> None:
        """Called by Django once all is loaded."""
        from django_integration import checks

        checks.register()
