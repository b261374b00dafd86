"""``"django_integration.suppression"`` in ``INSTALLED_APPS``: table, admin, checks and command."""

from django.apps import AppConfig


class SuppressionConfig(AppConfig):
    """The application with the table of suppressed addresses."""

    name = "django_integration.suppression"
    label: str = "mailbackends_suppression"
    verbose_name: str = "Mail suppression"
    default_auto_field: str = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the checks, and connect what adds addresses."""
        from django_integration.suppression import checks, receivers

        checks.register()
        receivers.connect()
