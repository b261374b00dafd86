"""``"django_integration.outbox"`` in ``INSTALLED_APPS``: tables, admin, checks and command."""

from django.apps import AppConfig


class OutboxConfig(AppConfig):
    """The application with the tables of the outbox."""

    name = "django_integration.outbox"
    label = "mailbackends_outbox"
    verbose_name: str = "Mail outbox"
    default_auto_field: str = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the checks once Django has loaded all applications."""
        from django_integration.outbox import checks, settling

        checks.register()
        settling.connect()
