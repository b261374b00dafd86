"""The shop's pages. Those that send mail respond with its receipt, as JSON."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, current_app, jsonify, render_template, request
from itsdangerous import BadData, URLSafeTimedSerializer

from mailbackends import Receipt

from . import mails, orders
from .extensions import bulk, mail
from .shop import CATALOGUE, place_order

__all__ = ["blueprint"]

_RESET_SECONDS = 3600

blueprint = Blueprint("shop", __name__)


@blueprint.get("/")
def index() -> str:
    """List the products."""
    return render_template("index.html", products=CATALOGUE.values())


@blueprint.post("/api/orders/")
def order() -> Any:
    """Take an order, and confirm it by mail."""
    given = _given("email")
    placed = place_order(
        given.get("name") or "",
        given["email"],
        given.get("product") or "tea",
        given.get("quantity") or 1,
    )
    confirmation = mails.order_confirmation(placed)
    if orders.database() is not None:
        receipt = orders.store(placed, confirmation).as_dict()
    else:
        receipt = _shown(mail.send(confirmation))
    return jsonify(order=placed.number, total=str(placed.total), receipt=receipt), 201


@blueprint.post("/api/password-reset/")
def password_reset() -> Any:
    """Send a link to set a new password."""
    email = _given("email")["email"]
    receipt = mail.send(mails.password_reset(email, _tokens().dumps(email)))
    return jsonify(receipt=_shown(receipt)), 202


@blueprint.get("/password-reset/<token>")
def new_password(token: str) -> Any:
    """Handle that link."""
    try:
        email = _tokens().loads(token, max_age=_RESET_SECONDS)
    except BadData:
        abort(404)
    return jsonify(email=email)


@blueprint.post("/api/newsletter/")
def newsletter() -> Any:
    """Send a message to each recipient, over another mailer; report each outcome."""
    addresses = [part.strip() for part in _given("recipients")["recipients"].split(",")]
    results = [
        {"to": address, "receipt": _shown(outcome), "error": None}
        if isinstance(outcome, Receipt)
        else {"to": address, "receipt": None, "error": str(outcome)}
        for address, outcome in zip(
            addresses, bulk.send_many(map(mails.newsletter, addresses)), strict=True
        )
    ]
    return jsonify(results=results), 207 if any(result["error"] for result in results) else 200


@blueprint.post("/api/question/")
async def question() -> Any:
    """Forward a question, from an ``async def`` view; Flask needs `asgiref` for these."""
    given = _given("email", "text")
    receipt = await mail.asend(mails.question(given["email"], given["text"]))
    return jsonify(receipt=_shown(receipt)), 202


def _given(*required: str) -> dict[str, Any]:
    given = request.get_json(silent=True) or request.form.to_dict()
    for name in required:
        if not given.get(name):
            abort(400, f"the field {name!r} is missing")
    return dict(given)


def _tokens() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(current_app.secret_key or "", salt="password-reset")


def _shown(receipt: Receipt) -> dict[str, Any]:
    return {
        "message_id": receipt.message_id,
        "accepted": list(receipt.accepted),
        "refused": {to: str(reply) for to, reply in receipt.refused.items()},
        "reply": str(receipt.reply),
        "seconds": round(receipt.duration, 6),
    }
