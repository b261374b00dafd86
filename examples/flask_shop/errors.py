"""The responses to requests whose mail could not be sent."""

from __future__ import annotations

from typing import Any

from flask import Flask, jsonify
from werkzeug.exceptions import HTTPException

from mailbackends import InvalidAddressError, InvalidMessageError, SMTPException

from .shop import BadOrder

__all__ = ["register"]


def register(app: Flask) -> None:
    """Respond to errors with JSON."""
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(SMTPException, _not_sent)
    for kind in (InvalidAddressError, InvalidMessageError, BadOrder):
        app.register_error_handler(kind, _bad_request)


def _http(error: HTTPException) -> Any:
    return jsonify(error=error.description), error.code or 500


def _bad_request(error: Exception) -> Any:
    return jsonify(error=str(error)), 400


def _not_sent(error: SMTPException) -> Any:
    """Report the outcome: a message whose outcome is "unknown" must not be sent again blindly."""
    return (
        jsonify(
            error="the mail could not be sent",
            outcome=str(error.outcome) if error.outcome else None,
            try_again=error.is_transient,
        ),
        503 if error.is_transient else 502,
    )
