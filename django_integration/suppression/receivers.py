"""What adds addresses to the list by itself: unsubscribing, reports, refusals, and the events of
django-anymail."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.apps import apps
from django.utils.module_loading import import_string

from django_integration.bounces import bounced
from django_integration.signals import post_send, send_failed
from django_integration.suppression.lists import suppression_list
from django_integration.unsubscribe import unsubscribed
from mailbackends import InvalidAddressError
from mailbackends.bounces import BounceReport
from mailbackends.suppression import Suppression, from_event, from_replies, from_report

__all__ = ["connect"]

logger: logging.Logger = logging.getLogger("mailbackends.suppression")

_UID = "mailbackends_suppression"


def connect() -> None:
    """Connect the receivers."""
    unsubscribed.connect(_unsubscribed, dispatch_uid=_UID)
    bounced.connect(_bounced, dispatch_uid=_UID)
    post_send.connect(_sent, dispatch_uid=_UID)
    send_failed.connect(_failed, dispatch_uid=_UID)
    try:
        from anymail.signals import tracking
    except ImportError:
        return
    tracking.connect(_tracked, dispatch_uid=_UID)


def _unsubscribed(sender: Any, address: str, stream: str, **kwargs: Any) -> None:
    suppression_list().unsubscribe(address, stream)
    logger.info("somebody has left the stream %r", stream)


def _bounced(sender: Any, report: BounceReport, **kwargs: Any) -> None:
    store = suppression_list()
    entries = from_report(report, store.policy, _recipients_of(report.reference))
    if not entries and report.reference is None and report.recipients:
        logger.info("a report without a reference of ours was ignored: anybody can send one")
    _note(entries)


def _recipients_of(reference: str | None) -> Collection[str]:
    """The recipients of the message in the outbox with this id."""
    if reference is None or not apps.is_installed("django_integration.outbox"):
        return ()
    try:
        id = UUID(reference)
    except ValueError:
        return ()
    # By name: the outbox itself asks the suppression list.
    database = import_string("django_integration.outbox.configuration.outbox_database")()
    recipients: Any = apps.get_model("mailbackends_outbox", "Recipient")
    rows = recipients.objects.using(database).filter(message_id=id)
    return list(rows.values_list("address", flat=True))


def _sent(sender: Any, receipt: Any, **kwargs: Any) -> None:
    _note_refused(receipt)


def _failed(sender: Any, error: Any, **kwargs: Any) -> None:
    _note_refused(error)


def _note_refused(result: Any) -> None:
    if refused := getattr(result, "refused", None):
        _note(from_replies(refused, suppression_list().policy))


def _tracked(sender: Any, event: Any, esp_name: str, **kwargs: Any) -> None:
    """django-anymail's signal; it checks the webhook's secret."""
    metadata = event.metadata if isinstance(event.metadata, dict) else {}
    stream = metadata.get("stream")
    try:
        entry = from_event(
            str(event.event_type),
            str(event.recipient or ""),
            suppression_list().policy,
            reject_reason=event.reject_reason,
            stream=stream if isinstance(stream, str) else None,
            source=f"{esp_name} (anymail)",
            detail=" ".join(filter(None, (event.description, event.mta_response))),
        )
    except InvalidAddressError as error:
        # An exception would have the provider send the event again, for days.
        logger.warning("an event of %s cannot be used: %s", esp_name, error)
        return
    _note([] if entry is None else [entry])


def _note(entries: list[Suppression]) -> None:
    if entries:
        for entry in suppression_list().note(entries):
            logger.info("an address was suppressed: %s", entry)
