"""The suppression list of a Flask application, in its database.

``MAIL_SUPPRESSION = True`` has each mailer ask it before it sends; people who unsubscribe, and the
reports that ``flask mail bounces`` reads, are added by themselves. `suppression_of` is for
everything else.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import click
from flask import Flask
from flask.cli import with_appcontext

from flask_integration.addresses import bare_addresses
from flask_integration.backend import Backend
from flask_integration.database import LateGroup, database_of, for_command
from flask_integration.posting import Posting
from flask_integration.unsubscribe import unsubscribed
from mailbackends import ConfigurationError, RecipientsSuppressed
from mailbackends.integration import did_you_mean
from mailbackends.suppression import (
    Exempt,
    Suppression,
    SuppressionList,
    SuppressionLookup,
    SuppressionPolicy,
    from_replies,
)

# Loaded when it is used: it needs SQLAlchemy.
if TYPE_CHECKING:
    from mailbackends.suppression.sqlalchemy_store import SQLAlchemySuppressionStore

__all__ = [
    "for_backend", "is_suppressing", "note_refusals", "prefetched", "set_up_suppression",
    "suppression_group", "suppression_of", "with_answers", "without_suppressed",
]  # fmt: skip

logger: logging.Logger = logging.getLogger("mailbackends.suppression")

_EXTENSION = "mail_suppression"


def suppression_of(app: Flask) -> SQLAlchemySuppressionStore:
    """The list of an application: to ask, to add, to remove; see `mailbackends.suppression`.

    It is in MAIL_SUPPRESSION_DATABASE or MAIL_OUTBOX_DATABASE (a SQLAlchemy engine or its URL), or
    in the database of Flask-SQLAlchemy.

    Raises:
        ConfigurationError: no database is configured, a setting cannot be used, or SQLAlchemy is
            not installed.
    """
    found = app.extensions.get(_EXTENSION)
    if found is None:
        found = app.extensions[_EXTENSION] = _made(app)
    made: SQLAlchemySuppressionStore = found
    return made


def set_up_suppression(app: Flask) -> None:
    """Put the application's list in place of ``MAIL_SUPPRESSION = True``.

    Raises:
        ConfigurationError: MAIL_SUPPRESSION_EXEMPT or MAIL_SUPPRESSION_POLICY cannot be used.
    """
    if app.config.get("MAIL_SUPPRESSION") is not True:
        return
    _exempt(app.config)  # raises now, and not with the first message
    _policy(app.config)
    app.config["MAIL_SUPPRESSION"] = _AppList(app)
    unsubscribed.connect(_unsubscribed, sender=app)


def is_suppressing(app: Flask) -> bool:
    """True if the application has a suppression list."""
    return isinstance(app.config.get("MAIL_SUPPRESSION"), _AppList)


def _unsubscribed(app: Flask, address: str, stream: str, **kwargs: Any) -> None:
    suppression_of(app).unsubscribe(address, stream)


class _AppList:
    """The list of an application that may not have its database yet."""

    def __init__(self, app: Flask) -> None:
        self._app = weakref.ref(app)

    def suppressed(
        self, addresses: Collection[str], stream: str | None
    ) -> Mapping[str, Suppression]:
        """See `mailbackends.suppression.SuppressionList`."""
        app = self._app()
        if app is None:
            raise RuntimeError("the application of this suppression list is gone")
        return suppression_of(app).suppressed(addresses, stream)

    def __repr__(self) -> str:
        return "<the application's suppression list>"


def _made(app: Flask) -> SQLAlchemySuppressionStore:
    try:
        from mailbackends.suppression.sqlalchemy_store import SQLAlchemySuppressionStore
    except ImportError as error:
        raise ConfigurationError(
            f"the suppression list needs SQLAlchemy ({error}): install 'mailbackends[outbox]'"
        ) from error
    config = app.config
    more: dict[str, Any] = {"exempt": _exempt(config), "policy": _policy(config)}
    names = ("MAIL_SUPPRESSION_DATABASE", "MAIL_OUTBOX_DATABASE")
    database, metadata = database_of(app, "the suppression list", *names)
    return SQLAlchemySuppressionStore(database, metadata=metadata, **more)


def _exempt(config: Mapping[str, Any]) -> Exempt:
    try:
        return Exempt(config.get("MAIL_SUPPRESSION_EXEMPT"))
    except ConfigurationError as error:
        raise ConfigurationError(f"MAIL_SUPPRESSION_EXEMPT: {error}") from None


def _policy(config: Mapping[str, Any]) -> SuppressionPolicy:
    given = config.get("MAIL_SUPPRESSION_POLICY") or {}
    known = [each.name for each in fields(SuppressionPolicy)]
    if not isinstance(given, Mapping):
        raise ConfigurationError(
            f"MAIL_SUPPRESSION_POLICY must be a dictionary, got {type(given).__name__}: write "
            "{'refusals': True}"
        )
    for name in given:
        if name not in known:
            near = did_you_mean(str(name), known)
            raise ConfigurationError(f"MAIL_SUPPRESSION_POLICY: unknown name {name!r}: {near}")
    try:
        return SuppressionPolicy(**given)
    except ConfigurationError as error:
        raise ConfigurationError(f"MAIL_SUPPRESSION_POLICY: {error}") from None


# --- Sending --------------------------------------------------------------------------------


def prefetched(listed: SuppressionList, messages: Iterable[Any]) -> SuppressionLookup:
    """The answers for the recipients of all messages that show them without being built.

    If the list cannot be asked, each message asks by itself, and gets the error.
    """
    lookup = SuppressionLookup(listed)
    asked: list[tuple[str | None, Iterable[str]]] = []
    for message in messages:
        recipients = getattr(message, "send_to", ())
        with suppress(ValueError, TypeError):  # Its own error says so when it is sent.
            asked.append((stream_of(message), bare_addresses(recipients, "recipient")))
    try:
        lookup.prefetch(asked)
    except OSError:  # SuppressionError
        logger.debug("the suppression list cannot be asked for all messages at once")
    return lookup


def stream_of(message: Any) -> str | None:
    """The stream that a message names."""
    return getattr(message, "stream", None) or getattr(message, "unsubscribe", None)


def with_answers(posting: Posting, lookup: SuppressionLookup | None) -> Posting:
    """The posting with the answers for its recipients, if they are known."""
    if lookup is None or not lookup.knows(posting.to_addrs, posting.stream):
        return posting
    return replace(posting, suppressed=lookup.suppressed(posting.to_addrs, posting.stream))


def without_suppressed(posting: Posting, listed: SuppressionList | None) -> Posting:
    """The posting for a backend that does not ask the list by itself.

    Raises:
        RecipientsSuppressed: nobody is left.
        SuppressionError: the list could not be asked.
    """
    found = posting.suppressed
    if found is None:
        if listed is None:
            return posting
        found = SuppressionLookup(listed).suppressed(posting.to_addrs, posting.stream)
    left = tuple(address for address in posting.to_addrs if address not in found)
    if not left:
        raise RecipientsSuppressed(found)
    return replace(posting, to_addrs=left, suppressed=found)


def for_backend(posting: Posting, backend: Backend, listed: SuppressionList | None) -> Posting:
    """The posting for this backend.

    Raises:
        RecipientsSuppressed, SuppressionError: as `without_suppressed`.
    """
    if listed is None or backend.asks_suppression_list:
        return posting
    return without_suppressed(posting, listed)


def note_refusals(app: Flask, result: Any) -> None:
    """Add the addresses that our own server refused, if the policy says so."""
    refused = getattr(result, "refused", None)
    if not refused or not is_suppressing(app):
        return
    try:
        store = suppression_of(app)
        if entries := from_replies(refused, store.policy):
            store.note(entries)
    except Exception:  # The message has its outcome.
        logger.exception("refused addresses could not be suppressed")


# --- Commands -------------------------------------------------------------------------------


def _add_commands(group: click.Group) -> None:
    from mailbackends.suppression.commands import add_suppression_commands

    add_suppression_commands(group, _store, with_appcontext)


def _store() -> SQLAlchemySuppressionStore:
    return for_command(suppression_of)


suppression_group: click.Group = LateGroup(
    "suppression",
    "The suppression list",
    _add_commands,
    help="Show and change who gets no mail.",
)
