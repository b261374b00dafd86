"""``manage.py serve``: the shop with its database and a customer, in one process."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser


class Command(BaseCommand):
    """Starts Django's development server with a new database."""

    help = "Start the shop. The customer ada (ada@example.com) can reset her password."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the address to listen on."""
        parser.add_argument("address", nargs="?", default="127.0.0.1:8000")

    def handle(self, *args: Any, address: str, **options: Any) -> None:
        """Make the database and start the server."""
        call_command("migrate", verbosity=0)
        if not User.objects.filter(username="ada").exists():
            User.objects.create_user("ada", "ada@example.com", "a-password-to-forget")
        call_command("runserver", address, use_reloader=False, skip_checks=True)
