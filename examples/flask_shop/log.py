"""A line in the log for each mail, from the extension's signals."""

from __future__ import annotations

import logging
from typing import Any

from flask import Flask

from flask_integration import email_failed, email_sent
from mailbackends import Receipt, RecipientsSuppressed

__all__ = ["listen"]


def listen(app: Flask) -> None:
    """Log the outcome of each mail of this application."""
    email_sent.connect(_sent, app)
    email_failed.connect(_failed, app)


def _sent(app: Flask, message: Any, receipt: Receipt) -> None:
    if receipt.refused:
        app.logger.warning("some recipients were refused: %s", receipt)
    else:
        app.logger.info("sent: %s", receipt)


def _failed(app: Flask, message: Any, error: Exception) -> None:
    # It is not an error that a recipient has unsubscribed.
    level = logging.INFO if isinstance(error, RecipientsSuppressed) else logging.ERROR
    app.logger.log(level, "not sent: %s: %s", type(error).__name__, error)
