"""Mailings that can be left by one click (RFC 8058).

``Message(..., unsubscribe="newsletter")`` has the header fields, with a signed token for its one
recipient; ``app.register_blueprint(blueprint)`` serves the page at ``/unsubscribe/``, which is at
MAIL_UNSUBSCRIBE_URL for the world; receivers of `unsubscribed` act.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from blinker import Namespace
from flask import Blueprint, Response, current_app, render_template, render_template_string
from itsdangerous import BadData, URLSafeTimedSerializer
from jinja2 import TemplateNotFound

from mailbackends import ConfigurationError, InvalidMessageError
from mailbackends.integration import check_unsubscribe_url, unsubscribe_fields

__all__ = [
    "InvalidToken", "Subscription", "add_unsubscribe", "blueprint", "read_token",
    "unsubscribe_url", "unsubscribed",
]  # fmt: skip

URL_KEY, AGE_KEY = "MAIL_UNSUBSCRIBE_URL", "MAIL_UNSUBSCRIBE_MAX_AGE"
TEMPLATE = "mailbackends/unsubscribe.html"
"""An application's own page; it gets ``state`` (ask, done, invalid), ``address`` and ``stream``."""

_SALT = "flask_integration.unsubscribe"
_LONGEST_STREAM = 50

blueprint = Blueprint("mailbackends_unsubscribe", __name__, url_prefix="/unsubscribe")

unsubscribed = Namespace().signal(
    "unsubscribed",
    doc="""Somebody has unsubscribed; receivers get ``address``, ``stream`` and ``subscription``.

    A mail program may send the same request several times, so that acting twice must do no
    harm. If a receiver raises, the others are called all the same, and the request fails: it can
    be sent again.""",
)


class InvalidToken(ValueError):
    """The token was not made here, or it has expired."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a token names: one recipient of one stream of mail, such as ``"newsletter"``."""

    address: str
    stream: str


def unsubscribe_url(config: Mapping[str, Any], address: str, stream: str) -> str:
    """The link for one recipient. The token in it is signed, not encrypted.

    Raises:
        ConfigurationError: MAIL_UNSUBSCRIBE_URL or SECRET_KEY is not set or not usable.
    """
    base = config.get(URL_KEY)
    if not base:
        raise ConfigurationError(
            f"{URL_KEY} is not set: set it to the public URL of the blueprint, such as "
            "'https://www.example.com/unsubscribe/'"
        )
    if not isinstance(stream, str) or not 0 < len(stream) <= _LONGEST_STREAM:
        raise ConfigurationError(
            f"a stream must be a name of 1 to {_LONGEST_STREAM} characters such as 'newsletter', "
            f"got {stream!r}"
        )
    token = _serializer(config).dumps([address, stream])
    return f"{check_unsubscribe_url(str(base), URL_KEY).rstrip('/')}/{token}/"


def read_token(config: Mapping[str, Any], token: str) -> Subscription:
    """The subscription that the token of a link names.

    Raises:
        InvalidToken: it is forged, damaged or older than MAIL_UNSUBSCRIBE_MAX_AGE seconds (None:
            no limit).
    """
    try:
        address, stream = _serializer(config).loads(token, max_age=config.get(AGE_KEY))
    except (BadData, ValueError, TypeError) as error:
        raise InvalidToken("this link is not valid, or no longer") from error
    return Subscription(str(address), str(stream))


def _serializer(config: Mapping[str, Any]) -> URLSafeTimedSerializer:
    key = config.get("SECRET_KEY")
    if not key:
        raise ConfigurationError("SECRET_KEY is not set: links for unsubscribing are signed by it")
    # As Flask's sessions: keys that were replaced are still accepted.
    keys = [*(config.get("SECRET_KEY_FALLBACKS") or ()), key]
    return URLSafeTimedSerializer(keys, salt=_SALT)


def add_unsubscribe(message: Any, recipients: tuple[str, ...], config: Mapping[str, Any]) -> None:
    """Give the message the fields for its one recipient, by its attribute ``unsubscribe``.

    Raises:
        InvalidMessageError: it has several recipients, who would share one link.
        ConfigurationError: as `unsubscribe_url`.
    """
    if len(recipients) != 1:
        raise InvalidMessageError(
            f"a message with unsubscribe must have exactly one recipient, got {len(recipients)}: "
            "the link is for one person; send a message to each"
        )
    fields = unsubscribe_fields(unsubscribe_url(config, recipients[0], message.unsubscribe))
    names = {name.lower() for name in fields}
    given = dict(message.extra_headers or {})
    kept = {k: v for k, v in given.items() if str(k).lower() not in names}
    message.extra_headers = {**kept, **fields}


# A mail program posts without cookies, and so without a CSRF token (RFC 8058 section 3.1). No
# other site can post in somebody's name: nobody else knows the signed token in the URL. With
# Flask-WTF's CSRFProtect, write csrf.exempt(blueprint).
@blueprint.route("/<token>/", methods=["GET", "POST"], strict_slashes=False)
def unsubscribe(token: str) -> Response:
    """Ask on GET, which scanners of mail send too, and act on POST. Sets and reads no cookie.

    The body of the request is not read. A token that is not valid gets 400, and nothing happens.
    """
    from flask import request

    try:
        subscription = read_token(current_app.config, token)
    except InvalidToken:
        return _page("invalid", None, 400)
    if request.method != "POST":
        return _page("ask", subscription)
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    failed: Exception | None = None
    receivers = list(unsubscribed.receivers_for(app))
    for receiver in receivers:
        try:
            receiver(
                app,
                address=subscription.address,
                stream=subscription.stream,
                subscription=subscription,
            )
        except Exception as error:
            failed = failed or error
            app.logger.exception("the receiver %r of unsubscribed failed", receiver)
    if failed is not None:
        # Not 200: the mail program, or the reader, can send it again.
        raise failed
    if not receivers:
        app.logger.error("somebody unsubscribed, and no receiver of unsubscribed is connected")
    return _page("done", subscription)


def _page(state: str, subscription: Subscription | None, status: int = 200) -> Response:
    values = {
        "state": state,
        "address": subscription.address if subscription else "",
        "stream": subscription.stream if subscription else "",
    }
    try:
        text = render_template(TEMPLATE, **values)
    except TemplateNotFound:
        text = render_template_string(_PAGE, **values)
    response = Response(text, status=status, mimetype="text/html")
    # The token is in the URL: it must not reach another site, or a search engine.
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Robots-Tag"] = "noindex"
    response.headers["Cache-Control"] = "no-store"
    return response


_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>Unsubscribe</title>
<style>body { font: 1.1em/1.5 system-ui, sans-serif; max-width: 34em; margin: 4em auto;
padding: 0 1em; } button { font: inherit; padding: .5em 1.2em; }</style>
{% if state == "ask" %}
<h1>Unsubscribe</h1>
<p>Stop sending “{{ stream }}” to {{ address }}?</p>
<form method="post"><button>Unsubscribe</button>
<input type="hidden" name="List-Unsubscribe" value="One-Click"></form>
{% elif state == "done" %}
<h1>You are unsubscribed</h1>
<p>We no longer send “{{ stream }}” to {{ address }}.</p>
{% else %}
<h1>This link is not valid</h1>
<p>It is incomplete or too old. Use the link in the newest message that you have.</p>
{% endif %}
</html>
"""
