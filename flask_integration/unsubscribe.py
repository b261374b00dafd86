"""Mailings that can be left by one click (RFC 8058).

``Message(..., unsubscribe="newsletter")`` has the header fields, with a signed token for its one
recipient; ``app.register_blueprint(blueprint)`` serves the page at ``/unsubscribe/``, which is at
MAIL_UNSUBSCRIBE_URL for the world; receivers of `unsubscribed` act.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from blinker import NamedSignal, Namespace
from flask import Blueprint, Response, current_app, render_template, render_template_string
from itsdangerous import BadData, URLSafeTimedSerializer
from jinja2 import TemplateNotFound

from mailbackends import ConfigurationError
from mailbackends.integration import (
    UNSUBSCRIBE_HEADERS,
    UNSUBSCRIBE_PAGE,
    UNSUBSCRIBE_TEMPLATE,
    InvalidToken,
    Subscription,
    check_unsubscribe_stream,
    check_unsubscribe_url,
    only_recipient,
    unsubscribe_page_values,
    with_unsubscribe_fields,
)

__all__ = [
    "InvalidToken", "Subscription", "add_unsubscribe", "blueprint", "read_token",
    "unsubscribe_url", "unsubscribed",
]  # fmt: skip

URL_KEY, AGE_KEY = "MAIL_UNSUBSCRIBE_URL", "MAIL_UNSUBSCRIBE_MAX_AGE"

_SALT = "flask_integration.unsubscribe"

blueprint: Blueprint = Blueprint("mailbackends_unsubscribe", __name__, url_prefix="/unsubscribe")

unsubscribed: NamedSignal = Namespace().signal(
    "unsubscribed",
    doc="""Somebody has unsubscribed; receivers get ``address``, ``stream`` and ``subscription``.

    A mail program may send the same request several times, so that acting twice must do no
    harm. If a receiver raises, the others are called all the same, and the request fails: it can
    be sent again.""",
)


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
    check_unsubscribe_stream(stream)
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
    url = unsubscribe_url(config, only_recipient(recipients), message.unsubscribe)
    message.extra_headers = with_unsubscribe_fields(message.extra_headers or {}, url)


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
    values = unsubscribe_page_values(state, subscription)
    try:
        text = render_template(UNSUBSCRIBE_TEMPLATE, **values)
    except TemplateNotFound:
        text = render_template_string(UNSUBSCRIBE_PAGE, **values)
    headers = {**UNSUBSCRIBE_HEADERS, "Cache-Control": "no-store"}
    return Response(text, status=status, mimetype="text/html", headers=headers)
