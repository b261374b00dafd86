"""`EmailBackend`: sends mail over SMTP to the mailbox in this process, and nowhere else."""

from __future__ import annotations

from typing import Any

from django_integration import backend
from django_integration.mailbox.settings import get_mailbox, is_allowed
from django_integration.registry import MailerKey
from django_integration.suppression.lists import list_of
from mailbackends import Options

__all__ = ["EmailBackend"]

_LIMITS = ("timeout", "content_timeout", "deadline", "pool_size", "pool_timeout")


class EmailBackend(backend.EmailBackend):
    """As `django_integration.EmailBackend`, but the server and login in the settings are not used.

    Raises:
        SettingsError: DEBUG is False, and ``outside_debug`` is not set.
    """

    is_for_development = True

    @staticmethod
    def check_settings() -> None:
        """Raise SettingsError for an unknown name in ``MAILBACKENDS_MAILBOX``."""
        is_allowed()

    def __init__(self, host: str | None = None, *args: Any, **kwargs: Any) -> None:
        # The OPTIONS of other mailers must name a server; here they need not.
        if not {"url", "socket_path"} & kwargs.keys():
            host = host or "localhost"
        super().__init__(host, *args, **kwargs)

    @property
    def options(self) -> Options:
        """The mailbox's server, with the time limits of the project."""
        server = get_mailbox().listen()
        options = dict(self._configuration.other_options)
        if self.timeout:
            options["timeout"] = self.timeout
        limits = {name: options[name] for name in _LIMITS if name in options}
        suppression = list_of(options.get("suppression"))
        return Options(host=server.host, port=server.port, suppression=suppression, **limits)

    @property
    def mailer_key(self) -> MailerKey:
        """The key of a Mailer for the mailbox, without fallbacks."""
        return MailerKey((self.options,))
