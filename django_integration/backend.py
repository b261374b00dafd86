"""`EmailBackend`: Django's interface to the pool."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from operator import attrgetter, is_
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.mail import DNS_NAME, EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

from django_integration.addresses import prep_address
from django_integration.async_delivery import AsyncSending
from django_integration.compat import (
    HAS_MAILERS,
    configuration_error,
    warn_of_construction,
)
from django_integration.configuration import InvalidConfiguration, configuration, make_options
from django_integration.connection import (
    PooledConnection,
    connect,
    default_context,
    is_pooled,
    quit_connection,
    send_through,
)
from django_integration.copies import Copyable
from django_integration.delivery import Delivery
from django_integration.logs import logger, sending
from django_integration.registry import MailerKey, registry
from django_integration.rendering import Rendering
from django_integration.settings import (
    ATTRIBUTES,
    KNOWN,
    did_you_mean,
    hide,
    unknown_options,
)
from django_integration.staging import Staging
from mailbackends import SMTP, SMTP_SSL, ConfigurationError, Email, Options

__all__ = ["EmailBackend"]


class EmailBackend(Copyable, AsyncSending, BaseEmailBackend):
    """Sends Django's messages through pooled connections that outlive the backend.

    A replacement for ``django.core.mail.backends.smtp.EmailBackend``: it has the same
    arguments and attributes, and accepts any option of `mailbackends.Options` as well.
    After sending, each message has ``receipt`` and ``send_error``, one of which is None.

    Raises:
        SettingsError, InvalidMailer: a setting or an argument is unknown or contradicts
            another. Without an alias, combinations that only `mailbackends.Options` checks
            are reported by ``manage.py check`` and before the first connection is made,
            since a subclass may still complete them. So are all errors of OPTIONS that
            contain a password as text: Django's error page would show it otherwise.
    """

    is_for_development = False
    """True for a backend from which mail reaches nobody; `check --deploy` reports it."""

    alias: str | None
    host: str | None
    port: int | None
    username: str | None
    password: str | None
    use_tls: bool
    use_ssl: bool
    timeout: float | None
    ssl_keyfile: str | None
    ssl_certfile: str | None
    staging: Staging
    rendering: Rendering
    on_partial_refusal: str
    on_suppressed: str
    connection: Any
    """None while closed; else a `PooledConnection`, or the connection of a subclass."""
    _partial_connection = None  # Django's backend has a connection here after open() failed

    def __init__(
        self,
        host: str | None = None,
        port: int | None = None,
        username: str | None = None,
        password: str | None = None,
        use_tls: bool | None = None,
        fail_silently: bool = False,
        use_ssl: bool | None = None,
        timeout: float | None = None,
        ssl_keyfile: str | None = None,
        ssl_certfile: str | None = None,
        **kwargs: Any,
    ) -> None:
        given = hide(
            {
                "host": host or None,
                "port": port or None,
                "username": username,
                "password": password,
                "use_tls": use_tls,
                "use_ssl": use_ssl,
                "timeout": timeout,
                "ssl_keyfile": ssl_keyfile,
                "ssl_certfile": ssl_certfile,
                **kwargs,
            }
        )
        kwargs = {name: given.pop(name) for name in kwargs if name not in KNOWN}
        host, password = given["host"], given["password"]
        self.fail_silently = fail_silently
        self.connection = None
        self._given = given
        self._per_call = frozenset(kwargs.get("_ignore_unknown_kwargs") or ())
        try:
            self._init_base(kwargs)
            self._configuration = configuration(given, alias=self.alias, per_call=self._per_call)
            is_usual = type(self) is EmailBackend
            if is_usual:
                vars(self).update(self._configuration.of_backend)
            else:  # a subclass may have properties with these names
                for name, value in self._configuration.of_backend.items():
                    setattr(self, name, value)
            for name, secret in self._configuration.secrets:
                setattr(self, name, secret.reveal())
            self._configured = tuple(map(vars(self).get, ATTRIBUTES))
            if self.alias is not None:  # raise InvalidMailer now and not with the first message
                _ = self._configuration.mailer_key if is_usual else self.mailer_key
        except ImproperlyConfigured as error:
            self._configuration = InvalidConfiguration.instead_of(error, kwargs.get("alias"))
            vars(self).update(dict.fromkeys(ATTRIBUTES), alias=kwargs["alias"])

    def _init_base(self, kwargs: dict[str, Any]) -> None:
        """Leave unknown arguments to Django 6.1's base class; refuse them on older versions."""
        if not HAS_MAILERS:
            if kwargs:
                raise configuration_error(unknown_options(kwargs), None)
            super().__init__()
            self.alias = None
            return
        if "alias" not in kwargs:
            warn_of_construction(type(self))
        try:
            super().__init__(**kwargs)
        except ImproperlyConfigured as error:
            error.args = (f"{error}{did_you_mean(kwargs)}",)
            raise

    @staticmethod
    def check_settings() -> None:
        """Check what the constructor does not; for backends with other settings.

        Raises:
            SettingsError: a setting is unknown or unusable.
        """

    # Configuration

    @property
    def options(self) -> Options:
        """The options by the current attributes: a subclass may have changed them.

        Raises:
            SettingsError, InvalidMailer: mail cannot be sent with these options.
        """
        return make_options(self._current_options(), self._configuration.wording, self.alias)

    @property
    def mailer_key(self) -> MailerKey:
        """The key of this backend's Mailer: the server of `options`, and its fallbacks.

        Raises: as `options`.
        """
        if self._is_as_configured():
            return self._configuration.mailer_key
        return self._configuration.mailer_key_for(self.options, self._current_options())

    def _is_as_configured(self) -> bool:
        """True unless a subclass or a caller has changed something that `options` reads."""
        return all(map(is_, _attributes(self), self._configured)) and not self._overrides(
            "options", "ssl_context"
        )

    def _current_options(self) -> dict[str, Any]:
        current = dict(self._configuration.other_options)
        current |= hide({name: getattr(self, name) for name in ATTRIBUTES})
        if self._overrides("ssl_context"):
            for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
                current.pop(name, None)
            if self.use_tls or self.use_ssl:
                current["ssl_context"] = self.ssl_context
        return current

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """The TLS context. A subclass may return another one, which it should make only once:
        backends share connections only if their context is the same object."""
        other = self._configuration.other_options
        context: ssl.SSLContext | None = other.get("ssl_context")
        return context or default_context(
            other.get("ssl_cafile"), self.ssl_certfile, self.ssl_keyfile
        )

    @property
    def connection_class(self) -> Any:
        """A subclass that returns another class gets one connection of it, without a pool."""
        return SMTP_SSL if self.use_ssl else SMTP

    def prep_address(self, address: Any, force_ascii: bool = True) -> str:
        """The bare address: see `django_integration.addresses.prep_address`."""
        return prep_address(address, force_ascii)

    # Django's interface

    def open(self) -> bool | None:
        """Make sure that the server can be reached and accepts the login.

        Returns True if this backend was closed, False if it was open, and None if opening
        failed silently. The connection stays in the pool, for all backends.

        Raises:
            SMTPException: as the first message would.
        """
        if self.connection:
            return False
        try:
            if self._overrides("connection_class"):
                self.connection = connect(
                    self, local_hostname=DNS_NAME.get_fqdn(), timeout=self.options.timeout
                )
            else:
                self.connection = PooledConnection(self.mailer_key)
                self.connection.open()
        except ConfigurationError:
            self.connection = None
            raise
        except OSError as error:
            self.connection = None
            if not self.fail_silently:
                raise
            logger.warning("Cannot send (%s): %s", type(error).__name__, error)
            return None
        except BaseException:
            self.connection = None
            raise
        return True

    def close(self) -> None:
        """Close this backend. The pool keeps its connections open for the next one."""
        connection, self.connection = self.connection, None
        if connection is not None and not isinstance(connection, PooledConnection):
            quit_connection(connection, silently=self.fail_silently)

    def send_messages(self, email_messages: Iterable[EmailMessage | Email]) -> int:
        """Send all messages; return how many were accepted for at least one recipient.

        A failed message does not stop the others. The outcome of each is in
        ``message.receipt`` and ``message.send_error``, except that of a `mailbackends.Email`,
        which cannot change: make a message of it by `as_django_message` to have its receipt.

        Raises:
            SMTPException, ValueError: the only message could not be sent.
            BatchError: one of several messages could not be sent.
        """
        if not email_messages:
            return 0
        with sending() as silently:
            try:
                return self._send_all(email_messages)
            except Exception:
                if silently:
                    return 0
                raise

    def _send_all(self, email_messages: Iterable[EmailMessage | Email]) -> int:
        if not self._is_extended():
            return self._send_pooled(email_messages)
        opened = self.open()
        if not self.connection or opened is None:
            return 0
        try:
            if self._overrides("_send"):
                return sum(bool(self._send(message)) for message in email_messages)
            return self._send_through(self.connection, email_messages)
        finally:
            if opened:
                self.close()

    def _send(self, email_message: EmailMessage | Email) -> bool:
        """Send one message; True if it was accepted. For subclasses to extend."""
        if self.connection and not is_pooled(self.connection):
            return bool(self._send_through(self.connection, [email_message]))
        return bool(self._send_pooled([email_message]))

    def _send_pooled(self, messages: Iterable[EmailMessage | Email]) -> int:
        delivery = Delivery(self)
        with registry.mailer(self.mailer_key) as mailer:
            delivery.send_by_mailer(mailer, messages)
        return delivery.finish()

    def _send_through(self, connection: Any, messages: Iterable[EmailMessage | Email]) -> int:
        if is_pooled(connection):
            return self._send_pooled(messages)
        delivery = Delivery(self)
        delivery.send_one_by_one(send_through(connection), messages)
        return delivery.finish()

    def _is_extended(self) -> bool:
        """True if a subclass or a test has changed how messages are sent."""
        if self.connection is not None and not is_pooled(self.connection):
            return True
        return self._overrides("open", "_send", "connection_class")

    def _overrides(self, *names: str) -> bool:
        """True if this instance or its class replaces one of these attributes."""
        kind = type(self)
        if kind is not EmailBackend:
            for name in names:
                if getattr(kind, name) is not getattr(EmailBackend, name):
                    return True
        return not vars(self).keys().isdisjoint(names)


_attributes = attrgetter(*ATTRIBUTES)
