"""The shop's application."""

from django.apps import AppConfig


class ShopConfig(AppConfig):
    """Connects the receivers of the mail signals."""

    name = "shop"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect them once Django has loaded all applications."""
        from . import journal

        journal.connect()
