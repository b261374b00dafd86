"""`EmailBackend`: mail goes over SMTP to the mailbox in this process, and nowhere else."""

from __future__ import annotations

from typing import Any

from django_integration import backend
from django_integration.mailbox.settings import get_mailbox
from django_integration.registry import Route
from mailbackends import Options

__all__ = ["EmailBackend"]

_LIMITS = ("timeout", "content_timeout", "deadline", "pool_size", "pool_timeout")


class EmailBackend(backend.EmailBackend):
    """As `django_integration.EmailBackend`, whatever server and login the settings name.

    Raises:
        SettingsError: DEBUG is off, and nothing says that the mailbox may be used then.
    """

    def __init__(self, host: str | None = None, *args: Any, **kwargs: Any) -> None:
        # OPTIONS of MAILERS must name a server; here they need not.
        if not {"url", "socket_path"} & kwargs.keys():
            host = host or "localhost"
        super().__init__(host, *args, **kwargs)

    @property
    def options(self) -> Options:
        """The mailbox's own server."""
        server = get_mailbox().listen()
        # How long a view waits is the project's own: a delay shows what comes of it.
        said = dict(self._configuration.further)
        if self.timeout:
            said["timeout"] = self.timeout
        limits = {name: said[name] for name in _LIMITS if name in said}
        return Options(host=server.host, port=server.port, **limits)

    @property
    def route(self) -> Route:
        """The mailbox alone."""
        return Route((self.options,))
