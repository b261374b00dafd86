"""`EmailBackend`: Django's interface to the pool."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from operator import attrgetter, is_
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

from django_integration import options, third_party
from django_integration.addresses import prep_address
from django_integration.compat import HAS_MAILERS, configuration_error, warn_of_construction
from django_integration.configuration import configuration
from django_integration.connection import PooledConnection
from django_integration.delivery import Delivery
from django_integration.logs import logger, sending
from django_integration.registry import Route, registry
from mailbackends import Options

__all__ = ["EmailBackend"]


class EmailBackend(BaseEmailBackend):
    """Sends Django's messages through pooled connections that outlive it.

    Takes the place of ``django.core.mail.backends.smtp.EmailBackend``: the same arguments
    and attributes, and beside them any option of `mailbackends.Options`. Each message gets
    ``receipt`` and ``send_error``, one of which is None.

    Raises:
        SettingsError, InvalidMailer: a setting or an argument is unknown or contradicts
            another. Without an alias, what only the Mailer can judge is found by
            ``manage.py check``, or before the first connection is made: a subclass may
            still complete it.
    """

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
    connection: Any
    """None while closed; else a `PooledConnection`, or what a subclass has put here."""
    _partial_connection = None  # what Django's own keeps where open() failed: never anything

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
        given: dict[str, Any] = {
            "host": host or None,
            "port": port or None,
            "username": username,
            "password": password,
            "use_tls": use_tls,
            "use_ssl": use_ssl,
            "timeout": timeout,
            "ssl_keyfile": ssl_keyfile,
            "ssl_certfile": ssl_certfile,
        }
        for name in [name for name in kwargs if name in options.KNOWN]:
            given[name] = kwargs.pop(name)
        self._init_base(kwargs)
        self.fail_silently = fail_silently
        self.connection = None
        said = self._configuration = configuration(
            given,
            alias=self.alias,
            per_call=frozenset(kwargs.get("_ignore_unknown_kwargs") or ()),
        )
        for name, value in said.attributes.items():
            setattr(self, name, value)
        self.staging = said.staging
        self.on_partial_refusal = said.on_partial_refusal
        if self.alias is not None:
            _ = self.route  # InvalidMailer now and not with the first message

    def _init_base(self, kwargs: dict[str, Any]) -> None:
        """What is unknown goes to Django 6.1's base class; below, it is refused here."""
        if not HAS_MAILERS:
            if kwargs:
                raise configuration_error(options.unknown(kwargs), None)
            super().__init__()
            self.alias = None
            return
        if "alias" not in kwargs:
            warn_of_construction(type(self))
        try:
            super().__init__(**kwargs)
        except ImproperlyConfigured as error:
            error.args = (f"{error}{options.hint(kwargs)}",)
            raise

    # What it is configured to

    @property
    def options(self) -> Options:
        """What the attributes say now: a subclass may have set them after the constructor.

        Raises:
            SettingsError, InvalidMailer: with this, no mail can be sent.
        """
        return options.make_options(self._said(), alias=self.alias)

    @property
    def route(self) -> Route:
        """The server of `options`, and those for what it does not take for now.

        Raises: as `options`.
        """
        configured = self._configuration
        if self._is_as_configured():
            return configured.route
        return configured.route_by(self.options, self._said())

    def _is_as_configured(self) -> bool:
        """True where neither a subclass nor anybody else has changed what `options` says."""
        return all(map(is_, _attributes(self), self._configuration.values)) and not self._overrides(
            "options", "ssl_context"
        )

    def _said(self) -> dict[str, Any]:
        said = dict(self._configuration.further)
        said |= {name: getattr(self, name) for name in options.ATTRIBUTES}
        if self._overrides("ssl_context"):
            for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
                said.pop(name, None)
            if self.use_tls or self.use_ssl:
                said["ssl_context"] = self.ssl_context
        return said

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """The TLS context. A subclass may give another; make it once, not per instance,
        for connections are shared by those whose context is the same object."""
        context: ssl.SSLContext | None = self._configuration.further.get("ssl_context")
        return context or third_party.default_context(self)

    @property
    def connection_class(self) -> Any:
        """A subclass that gives another is served by one connection of its own, unpooled."""
        return third_party.connection_class(self)

    def prep_address(self, address: Any, force_ascii: bool = True) -> str:
        """The bare address; see `django_integration.addresses.prep_address`."""
        return prep_address(address, force_ascii)

    # Django's interface

    def open(self) -> bool | None:
        """Make sure that the server can be reached and takes the login.

        Returns True where this backend was closed, False where it was open, and None where
        that failed silently. Nothing is withheld from the pool until `close`.

        Raises:
            SMTPException: as the first message would.
        """
        if self.connection:
            return False
        try:
            if self._overrides("connection_class"):
                self.connection = third_party.connect(self)
            else:
                self.connection = PooledConnection(self.route)
                self.connection.open()
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
        """The opposite of `open`. The pool keeps its connections for whoever comes next."""
        connection, self.connection = self.connection, None
        if connection is not None and not isinstance(connection, PooledConnection):
            third_party.hang_up(connection, silently=self.fail_silently)

    def send_messages(self, email_messages: Iterable[EmailMessage]) -> int:
        """Send all, and return how many were accepted for at least one recipient.

        A message that is refused does not stop the others. ``message.receipt`` and
        ``message.send_error`` tell what became of each.

        Raises:
            SMTPException, ValueError: the one message could not be sent.
            BatchError: one of several could not.
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

    def _send_all(self, email_messages: Iterable[EmailMessage]) -> int:
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

    def _send(self, email_message: EmailMessage) -> bool:
        """Send one message, and say whether it was sent. For subclasses to extend."""
        if self.connection and not third_party.is_ours(self.connection):
            return bool(self._send_through(self.connection, [email_message]))
        return bool(self._send_pooled([email_message]))

    def _send_pooled(self, messages: Iterable[EmailMessage]) -> int:
        delivery = Delivery(self)
        with registry.mailer(self.route) as mailer:
            delivery.by_mailer(mailer, messages)
        return delivery.finish()

    def _send_through(self, connection: Any, messages: Iterable[EmailMessage]) -> int:
        if third_party.is_ours(connection):
            return self._send_pooled(messages)
        delivery = Delivery(self)
        delivery.one_by_one(third_party.sender(connection), messages)
        return delivery.finish()

    def _is_extended(self) -> bool:
        """True where a subclass or a test has a hand in how a message is sent."""
        if self.connection is not None and not third_party.is_ours(self.connection):
            return True
        return self._overrides("open", "_send", "connection_class")

    def _overrides(self, *names: str) -> bool:
        """True where this instance or its class has one of these in a way of its own."""
        kind = type(self)
        if kind is not EmailBackend:
            for name in names:
                if getattr(kind, name) is not getattr(EmailBackend, name):
                    return True
        return not vars(self).keys().isdisjoint(names)


_attributes = attrgetter(*options.ATTRIBUTES)
