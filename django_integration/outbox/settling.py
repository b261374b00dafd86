"""Delivery status notifications, which resolve unknown outcomes."""

from __future__ import annotations

import logging
from typing import Any

from django_integration.bounces import bounced
from django_integration.outbox.operations import outbox_store
from mailbackends.bounces import BounceReport
from mailbackends.outbox import settle_by_report

__all__ = ["connect"]

logger: logging.Logger = logging.getLogger("mailbackends.outbox")


def connect() -> None:
    """Have the reports that ``manage.py mail_bounces`` reads resolve what they are about."""
    bounced.connect(_bounced, dispatch_uid="mailbackends_outbox")


def _bounced(sender: Any, report: BounceReport, **kwargs: Any) -> None:
    if settle_by_report(outbox_store(), report):
        logger.info("a delivery status notification has settled %s", report.envelope_id)
