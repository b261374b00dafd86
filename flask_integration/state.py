"""`MailState`: one application's mail, its settings in force and its backend."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Mapping
from concurrent.futures import Executor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, Literal

from flask import Flask
from flask.logging import default_handler

from flask_integration.addresses import Address
from flask_integration.backends import Backend, MemoryBackend, SmtpBackend
from flask_integration.config import Settings, unknown_key, without_secrets
from flask_integration.leases import BackendLease, CurrentBackend
from flask_integration.marks import ADDRESS_KEY, recipient_sender
from flask_integration.rendering import Rendering
from flask_integration.sending import Sender, current_application
from flask_integration.server_config import flag
from flask_integration.unsubscribe import add_unsubscribe
from mailbackends import ConfigurationError, Options, Secret
from mailbackends.integration import Staging, hide_secrets
from mailbackends.suppression import SuppressionList

__all__ = ["MailState"]

# Not one per state: states with the same settings are equal in all attributes.
_lock = threading.RLock()


class _OptionAttribute:
    """An option of the Mailer under Flask-Mail's name for it."""

    def __init__(self, option: str, source: str | None = None) -> None:
        self.option: str = option
        self.source: str = source or option

    def __get__(self, state: MailState | None, owner: type[MailState]) -> Any:
        if state is None:
            return self
        value = getattr(state.settings.options, self.source)
        if self.option in state._changes:
            value = state._changes[self.option]
        return value.reveal() if isinstance(value, Secret) else value

    def __set__(self, state: MailState, value: Any) -> None:
        state._change(self.option, value)


class _SecurityAttribute:
    """``use_tls`` and ``use_ssl``, of which at most one is true."""

    def __init__(self, security: str) -> None:
        self.security: str = security

    def __get__(self, state: MailState | None, owner: type[MailState]) -> Any:
        if state is None:
            return self
        security = state._changes.get("security", state.settings.options.security)
        return security == self.security

    def __set__(self, state: MailState, value: bool) -> None:
        if value:
            state._change("security", self.security)
        elif self.__get__(state, type(state)):
            state._change("security", "none")


class MailState(Sender):
    """The value of ``app.extensions["mail"]``, with Flask-Mail's attributes.

    They may be set at any time and take effect with the next message. Setting one that says
    where to deliver opens a new pool and closes the old one.
    """

    server: _OptionAttribute = _OptionAttribute("host")
    port: _OptionAttribute = _OptionAttribute("port", "server_port")
    username: _OptionAttribute = _OptionAttribute("username")
    password: _OptionAttribute = _OptionAttribute("password")
    use_tls: _SecurityAttribute = _SecurityAttribute("starttls")
    use_ssl: _SecurityAttribute = _SecurityAttribute("tls")
    timeout: _OptionAttribute = _OptionAttribute("timeout")
    ssl_certfile: _OptionAttribute = _OptionAttribute("ssl_certfile")
    ssl_keyfile: _OptionAttribute = _OptionAttribute("ssl_keyfile")

    default_sender: Address | None

    def __init__(
        self,
        settings: Settings,
        config: Mapping[str, Any],
        *,
        testing: bool = False,
        parent: MailState | None = None,
    ) -> None:
        self.settings = settings
        self.rendering: Rendering = settings.rendering
        self.default_sender = settings.default_sender
        self.debug: int = settings.debug
        self._max_emails = settings.max_emails
        self.mail_options: tuple[str, ...] = settings.mail_options
        self.file_path: str | None = settings.file_path
        self._changes: dict[str, Any] = dict(settings.client_certificate)
        self._config = config
        self._testing = testing
        self._parent = parent
        self._suppress = settings.suppress
        self._backends = CurrentBackend()
        self._named: dict[str, MailState] = {}
        # When the application is garbage-collected, or the process ends: QUIT, and close.
        weakref.finalize(self, self._backends.close_all)
        if self.debug:
            _log_conversations()

    @property
    def options(self) -> Options:
        """Where and how to deliver.

        Raises:
            ConfigurationError: an attribute was set to a value that cannot be used.
        """
        changes = dict(self._changes)
        if changes:
            # They were set by the names of the attributes.
            wording = self.settings.options.wording
            names = {**wording.names, **{name: name for name in changes}}
            changes["wording"] = replace(wording, names=names)
        if changes.get("security", self.settings.options.security) == "none":
            changes |= {"ssl_certfile": None, "ssl_keyfile": None}
        try:
            return self.settings.options.replace(**changes)
        except ConfigurationError as error:
            raised = without_secrets(error)
        del changes
        raise raised

    @property
    def fallbacks(self) -> tuple[Options, ...]:
        """The servers to try when the first cannot take a message."""
        return self.settings.fallbacks

    @property
    def suppression(self) -> SuppressionList | None:
        """The suppression list that mail is checked against."""
        return self.settings.options.suppression

    @property
    def strategy(self) -> Literal["ordered", "round_robin"]:
        """MAIL_STRATEGY: which server comes first."""
        return self.settings.strategy

    @property
    def staging(self) -> Staging:
        """MAIL_REDIRECT_ALL_TO and MAIL_ALLOWED_RECIPIENTS."""
        return self.settings.staging

    @property
    def ascii_attachments(self) -> bool:
        """Whether attachments get file names without non-ASCII characters."""
        return self.rendering.ascii_filenames

    @ascii_attachments.setter
    def ascii_attachments(self, value: bool) -> None:
        self.rendering = replace(self.rendering, ascii_filenames=value)

    def add_unsubscribe(self, message: Any, recipients: tuple[str, ...]) -> None:
        """Give a message its link for unsubscribing."""
        add_unsubscribe(message, recipients, self._config)

    def bounce_sender(self, recipients: tuple[str, ...]) -> str | None:
        """The envelope sender for reports about the one recipient: see MAIL_BOUNCE_ADDRESS."""
        if len(recipients) != 1 or not self._config.get(ADDRESS_KEY):
            return None
        return recipient_sender(self._config, recipients[0])

    @property
    def suppress(self) -> bool:
        """Whether messages are not sent: MAIL_SUPPRESS_SEND, or else TESTING as it is now.

        A named mailer without SUPPRESS_SEND follows the application's.
        """
        if self._suppress is not None:
            return self._suppress
        if self._parent is not None:
            return self._parent.suppress
        explicit = flag("MAIL_SUPPRESS_SEND", self._config.get("MAIL_SUPPRESS_SEND"))
        if explicit is not None:
            return explicit
        return self._testing or bool(self._config.get("TESTING"))

    @suppress.setter
    def suppress(self, value: bool | None) -> None:
        self._suppress = value

    @property
    def max_emails(self) -> int | None:
        """MAIL_MAX_EMAILS: the number of messages on one connection; None if it was not set."""
        return self._max_emails

    @max_emails.setter
    def max_emails(self, value: int | None) -> None:
        self._max_emails = value
        self._change(
            "max_messages_per_connection",
            value or self.settings.options.max_messages_per_connection,
        )

    @property
    def backend(self) -> Backend:
        """Where messages go; created for the first one."""
        return self._backends.get(self._make_backend)

    def lease_backend(self) -> AbstractContextManager[Backend | None]:
        """Return a context manager for using the backend; None if sending is suppressed.

        If `close` is called meanwhile, or an attribute is set, the backend stays open until
        the block ends.
        """
        if self.settings.backend.delivers and self.suppress:
            return nullcontext()
        return BackendLease(self._backends, self._make_backend)

    @property
    def executor(self) -> Executor:
        """The threads of `Mail.asend`: as many as the pool may have connections."""
        return self._backends.executor(
            lambda: sum(each.pool_size for each in (self.options, *self.fallbacks))
        )

    @property
    def is_fast(self) -> bool:
        """Whether the backend is `SmtpBackend` itself, which takes plain messages as bytes."""
        backend = self._backends.peek()
        return type(backend) is SmtpBackend and backend.mailer.options.fast_paths

    @property
    def outbox(self) -> list[Any]:
        """The messages that the memory backend collected.

        Raises:
            ConfigurationError: MAIL_BACKEND is another backend.
        """
        backend = self.backend
        if not isinstance(backend, MemoryBackend):
            raise ConfigurationError(
                "there is no outbox: set MAIL_BACKEND = 'memory', or use mail.record_messages()"
            )
        return backend.outbox

    def named(self, name: str) -> MailState:
        """Return the mailer of that name in MAIL_MAILERS; ``"default"`` is this one.

        Raises:
            ConfigurationError: there is no mailer of that name.
        """
        if name == "default" and name not in self.settings.mailers:
            return self
        if name not in self.settings.mailers:
            text = unknown_key(name, prefix="", known=["default", *self.settings.mailers])
            raise ConfigurationError(f"MAIL_MAILERS: {text}")
        with _lock:
            if name not in self._named:
                state = MailState(self.settings.mailers[name], self._config, parent=self)
                self._named[name] = state
            return self._named[name]

    def warm_up(self, timeout: float = 0.0) -> int:
        """See `Mail.warm_up`."""
        ready = 0
        for state in [self, *map(self.named, self.settings.mailers)]:
            with state.lease_backend() as backend:
                if isinstance(backend, SmtpBackend) and backend.has_upkeep:
                    ready += backend.mailer.warm_up(timeout)
        return ready

    def close(self) -> None:
        """Close all connections, also of named mailers. The next message opens a new one.

        Messages that are being sent, or that wait for a connection, are sent first.
        """
        for state in [*self._named.values(), self]:
            state._backends.drop()

    def _target(self) -> tuple[Flask, MailState]:
        return current_application(), self

    @property
    def _alias(self) -> str:
        named = self._parent._named if self._parent is not None else {}
        return next((name for name, state in named.items() if state is self), "default")

    def _change(self, option: str, value: Any) -> None:
        # The changes are checked together with the next message: a user name without its
        # password, between two assignments, is not an error.
        self._changes |= hide_secrets({option: value})
        self._backends.drop()

    def _make_backend(self) -> Backend:
        return self.settings.backend(self)


def _log_conversations() -> None:
    """Show the SMTP conversations on Flask's log handler, secrets masked."""
    logger = logging.getLogger("mailbackends")
    logger.setLevel(logging.DEBUG)
    if not logger.hasHandlers():
        logger.addHandler(default_handler)
