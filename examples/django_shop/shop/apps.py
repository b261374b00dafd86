"""The shop as Django sees it."""

from django.apps import AppConfig


class ShopConfig(AppConfig):
    """Connects the receivers of mail's signals."""

    name = "shop"

    def ready(self) -> None:
        """Called by Django once all is loaded."""
        from . import journal

        journal.connect()
